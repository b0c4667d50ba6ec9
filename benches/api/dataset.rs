//! A data dir as a busy gateway would have left it: so many small traces over some days.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Days that the lines are spread over, from 2026-05-10 on.
pub(crate) const DAYS: u64 = 5;
/// Keys that send at the same time.
pub(crate) const KEYS: u64 = 40;
/// Requests of a conversation.
const REQUESTS: u64 = 8;
/// What makes a line as long as it should be, and about what it has without.
const FILLER: &str = "Then it goes on, at some length. ";
const SMALL_LINE_BYTES: usize = 1_100;
/// One trace in so many has an attachment.
const MEDIA_EVERY: u64 = 997;

pub(crate) const PROJECTS: u64 = 23;
pub(crate) const MODELS: [&str; 7] =
    ["gpt-5", "gpt-5-mini", "claude-opus-4-5", "claude-sonnet-4-5", "gemini-3-pro", "o5", "text-embedding-3"];
/// `User-Agent` and the kind of client that it stands for.
pub(crate) const CLIENTS: [(&str, &str); 4] = [
    ("claude-cli/2.0.1 (external, cli)", "claude-cli"),
    ("OpenAI/Python 2.1.0", "openai-sdk-python"),
    ("curl/8.5.0", "curl"),
    ("Mozilla/5.0", "browser"),
];
const ENDS: [&str; 4] = ["complete", "client_gone", "upstream_gone", "idle_timeout"];

/// Writes so many traces of at least so many bytes each, and says how many bytes their lines have.
pub(crate) fn generate(root: &Path, traces: u64, least_bytes: usize) -> std::io::Result<u64> {
    let per_file = traces.div_ceil(KEYS * DAYS);
    let mut bytes = 0;
    let mut line = String::new();
    for day in 0..DAYS {
        let folder = root.join(date(day));
        std::fs::create_dir_all(&folder)?;
        for key in 0..KEYS {
            let name = key8(key);
            let mut file = BufWriter::new(std::fs::File::create(folder.join(format!("{name}.jsonl")))?);
            for at in 0..per_file {
                let number = (day * per_file + at) * KEYS + key;
                line.clear();
                put(&mut line, [day, key, at, per_file, number], least_bytes);
                file.write_all(line.as_bytes())?;
                bytes += line.len() as u64;
                if number.is_multiple_of(MEDIA_EVERY) {
                    let media = folder.join(&name).join("media").join(id(number));
                    std::fs::create_dir_all(&media)?;
                    std::fs::write(media.join("0.png"), "not a picture")?;
                }
            }
            file.flush()?;
        }
    }
    Ok(bytes)
}

/// The date of a day.
pub(crate) fn date(day: u64) -> String {
    format!("2026-05-{:02}", 10 + day)
}

/// The id of a trace.
pub(crate) fn id(number: u64) -> String {
    format!("01J{number:023}")
}

/// The first eight digits of a key's hash.
pub(crate) fn key8(key: u64) -> String {
    format!("{:08x}", 0x0600_0001 * (key + 1))
}

/// A number that looks random and is the same each time.
pub(crate) fn mixed(number: u64, salt: u64) -> u64 {
    let mixed = (number ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17
}

/// A word of request and answer: some are in every other trace, most in few.
pub(crate) fn word(number: u64) -> String {
    match number % 8 {
        0 => "rename".to_owned(),
        1 => "函数返回值".to_owned(),
        _ => format!("w{:x}", number / 8 % 50_000),
    }
}

fn put(line: &mut String, [day, key, at, per_file, number]: [u64; 5], least_bytes: usize) {
    let pick = |from: u64, salt: u64| mixed(number, salt) % from;
    let (conversation, request) = (at / REQUESTS, at % REQUESTS);
    let of_conversation = |from: u64, salt: u64| mixed(conversation * KEYS + key, salt) % from;
    let begin = at * 86_000_000 / per_file;
    // Most take a second or so, some minutes: each step doubles half as often.
    let took = (200 << pick(1 << 12, 1).trailing_zeros()) + pick(150, 2);
    let model = MODELS[(of_conversation(100, 3) * of_conversation(100, 4) / 1429) as usize % MODELS.len()];
    let (agent, _) = CLIENTS[[0, 0, 0, 0, 0, 1, 1, 1, 2, 3][of_conversation(10, 5) as usize]];
    let status = match pick(1000, 6) {
        0..20 => 429,
        20..25 => 500,
        25..27 => -1,
        _ => 200,
    };
    let end = if pick(100, 7) < 3 { ENDS[1 + pick(3, 8) as usize] } else { ENDS[0] };
    let path = match pick(1000, 9) {
        0..300 => "/v1/chat/completions?beta=true".to_owned(),
        300..305 => format!("/v1/files/{number}/content"),
        _ => "/v1/chat/completions".to_owned(),
    };
    let stream = match pick(10, 10) {
        0..7 => "\"stream\":true,",
        7 => "\"stream\":false,",
        _ => "",
    };
    let project = match of_conversation(3, 11) {
        0 => format!(
            r#"{{"role":"system","content":"Contents of /src/AGENTS.md:\n\n# project-{}\n"}},"#,
            of_conversation(PROJECTS, 12)
        ),
        _ => String::new(),
    };
    let mut messages = String::new();
    for turn in 0..=request * 2 {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        let comma = if turn == 0 { "" } else { "," };
        let _ = write!(messages, r#"{comma}{{"role":"{role}","content":"{}"}}"#, text(conversation * KEYS + key, turn));
    }
    let mut answer = text(conversation * KEYS + key, request * 2 + 1);
    let missing = least_bytes.saturating_sub(messages.len() + SMALL_LINE_BYTES);
    answer.extend(std::iter::repeat_n(FILLER, missing / FILLER.len()));
    let (date, time_begin, time_end) = (date(day), time(begin), time((begin + took).min(86_399_999)));
    let (prompt, completion) = ((500 + pick(200, 13)) << pick(8, 14), 20 + pick(2000, 15));
    let first_event =
        if stream.contains("true") { format!(r#","first_event_ms":{}"#, 50 + took / 5) } else { String::new() };
    let _ = writeln!(
        line,
        concat!(
            r#"{{"id":"{}","v":1,"ts_start":"{}T{}Z","ts_end":"{}T{}Z","client":"192.0.2.1:5000","#,
            r#""method":"POST","path":"{}","upstream":"http://gateway:4000","status":{},"end":"{}","#,
            r#""key_hash":"{}00000000","protocol":"chat","ttfb_ms":40,"req":{{"headers":{{"Content-Type":"application/json","#,
            r#""User-Agent":"{}"}},"bytes":1000,"body":{{{}"model":"{}","messages":[{}{}]}}}},"#,
            r#""resp":{{"headers":{{"content-type":"application/json"}},"bytes":500{},"body":{{"id":"chatcmpl-{}","object":"chat.completion","#,
            r#""model":"{}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"#,
            r#""usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{}}}}}}},"#,
            r#""disconnected":{},"truncated_req":false,"truncated_resp":false}}"#
        ),
        id(number),
        date,
        time_begin,
        date,
        time_end,
        path,
        status,
        end,
        key8(key),
        agent,
        stream,
        model,
        project,
        messages,
        first_event,
        number,
        model,
        answer,
        prompt,
        completion,
        prompt + completion,
        end != ENDS[0],
    );
}

fn time(millis: u64) -> String {
    let second = millis / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", second / 3600, second / 60 % 60, second % 60, millis % 1000)
}

/// Words of one turn: the same whenever it is sent.
fn text(conversation: u64, turn: u64) -> String {
    (0..6).map(|at| word(mixed(conversation * 64 + turn, at)) + " ").collect()
}
