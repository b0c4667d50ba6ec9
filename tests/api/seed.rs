//! A data dir with lines in it, as an earlier run would have left them.

use std::io::Write;
use std::path::Path;

/// What matters of a line to a list.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) id: String,
    /// Without the `Z`.
    pub(crate) ts_start: String,
    pub(crate) key_hash: &'static str,
    pub(crate) status: i32,
    pub(crate) path: String,
    pub(crate) model: &'static str,
    pub(crate) project: &'static str,
    pub(crate) took_ms: usize,
    pub(crate) end: &'static str,
    pub(crate) user_agent: &'static str,
    pub(crate) stream: Option<bool>,
    pub(crate) total_tokens: Option<u32>,
    pub(crate) at_ms: usize,
}

impl Line {
    /// The trace of this number, begun so many milliseconds after 10:00 on 2026-05-27.
    pub(crate) fn new(number: usize, at_ms: usize) -> Line {
        Line {
            id: id(number),
            ts_start: time(at_ms),
            key_hash: "aaaaaaaa00000001",
            status: 200,
            path: "/v1/chat/completions".into(),
            model: "m-1",
            project: "",
            took_ms: 0,
            end: "complete",
            user_agent: "",
            stream: None,
            total_tokens: None,
            at_ms,
        }
    }

    fn text(&self) -> String {
        let Line { id, ts_start, key_hash, status, path, model, project, end, user_agent, .. } = self;
        // On the same day, whichever that is.
        let ts_end = ts_start[..10].to_owned() + &time(self.at_ms + self.took_ms)[10..];
        let stream = self.stream.map_or(String::new(), |it| format!(r#""stream":{it},"#));
        let usage = self.total_tokens.map_or(String::new(), |it| format!(r#","usage":{{"total_tokens":{it}}}"#));
        let system = match *project {
            "" => String::new(),
            name => format!(r#"{{"role":"system","content":"Contents of /src/AGENTS.md:\n\n# {name}\n"}},"#),
        };
        format!(
            r#"{{"id":"{id}","v":1,"ts_start":"{ts_start}Z","ts_end":"{ts_end}Z","client":"192.0.2.1","method":"POST","path":"{path}","upstream":"http://gateway.example","status":{status},"end":"{end}","key_hash":"{key_hash}","protocol":"chat","req":{{"headers":{{"User-Agent":"{user_agent}"}},"bytes":0,"body":{{{stream}"messages":[{system}{{"role":"user","content":"{id}"}}]}}}},"resp":{{"headers":{{}},"bytes":0,"body":{{"model":"{model}"{usage}}}}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#
        )
    }
}

/// So many milliseconds after 10:00.
fn time(at_ms: usize) -> String {
    format!(
        "2026-05-27T{:02}:{:02}:{:02}.{:03}",
        10 + at_ms / 3_600_000,
        at_ms / 60_000 % 60,
        at_ms / 1000 % 60,
        at_ms % 1000
    )
}

/// The id of this number. Numbers sort as their ids do.
pub(crate) fn id(number: usize) -> String {
    format!("01J{number:023}")
}

/// Writes lines into the files of their keys.
pub(crate) fn write(data_dir: &Path, lines: &[Line]) {
    for line in lines {
        let day = data_dir.join(&line.ts_start[..10]);
        std::fs::create_dir_all(&day).unwrap();
        let path = day.join(format!("{}.jsonl", &line.key_hash[..8]));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{}", line.text()).unwrap();
    }
}

/// Appends lines of any text to a file of the data dir.
pub(crate) fn write_texts(data_dir: &Path, file: &str, lines: &[String]) {
    let path = data_dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    lines.iter().for_each(|line| writeln!(file, "{line}").unwrap());
}

/// The line of a trace with this path and this answer, both as they stand on it.
pub(crate) fn text(number: usize, path: &str, resp: &str) -> String {
    let id = id(number);
    format!(
        r#"{{"id":"{id}","v":1,"ts_start":"2026-05-27T10:00:00.000Z","ts_end":"2026-05-27T10:00:01.000Z","client":"192.0.2.1","method":"POST","path":"{path}","upstream":"http://gateway.example","status":200,"end":"complete","key_hash":"aaaaaaaa00000001","protocol":"chat","req":{{"headers":{{"Authorization":"Bearer sk-secret"}},"bytes":0,"body":{{"model":"m","messages":[{{"role":"user","content":"{id}"}}]}}}},"resp":{{"headers":{{"content-type":"text/event-stream"}},"bytes":0,{resp}}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#
    )
}
