//! `/api/export`: many traces at once, whole or visibly not.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;
use zip::ZipArchive;

use crate::seed::{Line, id, text, write, write_texts};
use crate::stack::{Recorder, Reply, open, unchunk, until};

const FILE: &str = "2026-05-27/aaaaaaaa.jsonl";
const FIXED: [&str; 3] = ["agent/CLAUDE.md", "agent/jq-cheatsheet.md", "README.md"];

/// Names and contents of an archive's entries.
fn entries(bytes: Vec<u8>) -> Vec<(String, String)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut entries = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.push((entry.name().unwrap().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    entries
}

fn export(recorder: &Recorder, query: &str) -> Reply {
    recorder.api("GET", &format!("/api/export?{query}"), "")
}

fn exported(recorder: &Recorder, query: &str) -> Vec<u8> {
    let reply = export(recorder, query);
    assert_eq!(reply.status, 200, "{query}: {}", String::from_utf8_lossy(&reply.body));
    reply.whole()
}

fn file(data_dir: &Path) -> String {
    std::fs::read_to_string(data_dir.join(FILE)).unwrap()
}

/// How many exports are under way.
fn under_way(recorder: &Recorder) -> u64 {
    let health = recorder.get("/healthz");
    let bounds = health["bounds"].as_array().unwrap();
    bounds.iter().find(|it| it["name"] == "api_exports").unwrap()["count"]["depth"].as_u64().unwrap()
}

#[test]
fn an_archive_holds_what_passed_the_filters() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<Line> = (0..4).map(|number| Line::new(number, number)).collect();
    lines[2].model = "other";
    write(dir.path(), &lines);
    let media = dir.path().join("2026-05-27/aaaaaaaa/media").join(id(1));
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("0.txt"), "attached").unwrap();
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 4);

    let reply = export(&recorder, "limit=1&cursor=x");
    assert_eq!(reply.field("content-type"), Some("application/zip"));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let disposition = reply.field("content-disposition").unwrap();
    let moment = disposition.strip_prefix("attachment; filename=\"api-log-export-").unwrap();
    assert_eq!(moment.len(), "20260527T100000.000Z.zip\"".len(), "{disposition}");
    assert!(moment.ends_with("Z.zip\"") && !moment.contains([':', '-']), "{disposition}");
    let all = entries(reply.whole());
    assert_eq!(all[0], (format!("data/{FILE}"), file(dir.path())));
    assert_eq!(all[1], (format!("media/{}/0.txt", id(1)), "attached".into()));
    assert_eq!(all[2..].iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), FIXED);

    let some = entries(exported(&recorder, "model=m-1"));
    let expected: String =
        file(dir.path()).lines().filter(|it| !it.contains("other")).map(|it| format!("{it}\n")).collect();
    assert_eq!(some[0], ("data/2026-05-27/aaaaaaaa.partial.jsonl".into(), expected));
    assert!(some.last().unwrap().1.contains("`model`: m-1"));

    let none = entries(exported(&recorder, "model=nobody"));
    assert_eq!(none.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), FIXED);
    assert!(none[2].1.contains("nothing matched"));
}

#[test]
fn lines_alone_are_given_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &(0..4).map(|number| Line::new(number, number)).collect::<Vec<_>>());
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 4);
    let reply = export(&recorder, "format=jsonl");
    assert_eq!(reply.field("content-type"), Some("application/x-ndjson"));
    assert!(reply.field("content-disposition").unwrap().ends_with(".jsonl\""));
    assert_eq!(reply.unchunked(), file(dir.path()));
    assert_eq!(exported(&recorder, "format=jsonl&model=nobody"), b"");
}

#[test]
fn har_is_read_by_others() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        text(
            1,
            "/v1/chat/completions?a=1&b=%20",
            r#""events":[{"event":"x","data":{"n":1},"t_delta_ms":5}],"stream_done":true"#,
        ),
        text(2, "/v1/files", r#""body_b64":"AAEC""#),
        text(3, "/v1/models", r#""body":{"data":"é"}"#).replace("\"status\":200", "\"status\":-1"),
        text(
            4,
            "/v1/responses",
            r#""events":[{"event":"","dir":"client","data":{"q":1}},{"event":"","dir":"server","data":{"a":2}}]"#,
        )
        .replace("\"disconnected\"", "\"ws\":{\"socket\":\"x\",\"turn\":1},\"disconnected\""),
    ];
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 4);
    let bytes = exported(&recorder, "format=har");
    let har::Spec::V1_2(log) = har::from_slice(&bytes).unwrap().log else { panic!("not 1.2") };
    assert_eq!(log.entries.len(), 4);
    let [chat, file, none, _] = &log.entries[..] else { unreachable!() };
    assert_eq!(chat.request.url, "http://gateway.example/v1/chat/completions?a=1&b=%20");
    assert_eq!(chat.request.query_string.len(), 2);
    assert_eq!((chat.request.query_string[1].name.as_str(), chat.request.query_string[1].value.as_str()), ("b", " "));
    assert!(chat.request.headers.iter().any(|it| it.name == "Authorization" && it.value == "Bearer sk-secret"));
    let asked = chat.request.post_data.as_ref().unwrap().text.as_deref().unwrap();
    assert_eq!(serde_json::from_str::<Value>(asked).unwrap()["messages"][0]["content"], id(1));
    assert_eq!(chat.response.content.text.as_deref(), Some("event: x\ndata: {\"n\":1}\n\ndata: [DONE]\n\n"));
    assert_eq!(chat.response.content.mime_type.as_deref(), Some("text/event-stream"));
    assert_eq!((file.response.content.encoding.as_deref(), file.response.content.size), (Some("base64"), 3));
    assert_eq!((none.response.status, none.response.content.text.as_deref()), (0, Some(r#"{"data":"é"}"#)));
    // What the format has no word for.
    let raw: Value = serde_json::from_slice(&bytes).unwrap();
    let entry = &raw["log"]["entries"][3];
    assert_eq!((&entry["_id"], &entry["_end"]), (&id(4).into(), &"complete".into()));
    assert_eq!(entry["_webSocketMessages"][0]["type"], "send");
    assert_eq!(entry["_webSocketMessages"][1]["data"], r#"{"a":2}"#);
    assert_eq!(raw["log"]["comment"], "4 traces recorded by api-log");
    let none: Value = serde_json::from_slice(&exported(&recorder, "format=har&model=nobody")).unwrap();
    assert_eq!(none["log"]["entries"], Value::Array(Vec::new()));
}

#[test]
fn what_is_too_large_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..50_001).map(|number| text(number, "/v1/x", r#""body":0"#)).collect();
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_EXPORT_BYTE_HARDCAP", "1000")]);
    until("all is indexed", || recorder.get("/api/index")["state"] == "current");
    let refused = |query: &str| {
        let reply = export(&recorder, query);
        assert_eq!((reply.status, reply.field("content-disposition")), (413, None), "{query}");
        let body = reply.json();
        assert_eq!(body["error"], "export_too_large");
        body
    };
    let rows = refused("");
    assert_eq!((&rows["matched"], &rows["cap"]), (&">50000".into(), &"50000".into()));
    assert!(rows["hint"].as_str().unwrap().contains("all=1"));
    let bytes = refused("all=1");
    let size = std::fs::metadata(dir.path().join(FILE)).unwrap().len().to_string();
    assert_eq!((&bytes["limit"], &bytes["cap_bytes"]), (&"bytes".into(), &"1000".into()));
    assert_eq!(bytes["matched_bytes"], size);
    assert!(bytes["hint"].as_str().unwrap().contains("bytes_all=1") && bytes["note"].is_string());
    // Each cap is lifted by itself.
    assert_eq!(refused("bytes_all=1")["cap"], "50000");
    assert_eq!(refused("until=2026-05-27T10:00:00.001Z")["cap"], "50000");
    assert_eq!(exported(&recorder, "all=1&bytes_all=1&format=jsonl").len().to_string(), size);
    // Nothing matched, nothing counted.
    exported(&recorder, "until=2026-05-27T09:00:00Z");
}

#[test]
fn what_is_missing_is_told_and_ends_no_archive() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<Line> = (0..4).map(|number| Line::new(number, number)).collect();
    lines[3].key_hash = "bbbbbbbb00000001";
    write(dir.path(), &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 4);
    std::fs::remove_file(dir.path().join("2026-05-27/bbbbbbbb.jsonl")).unwrap();
    let readme = entries(exported(&recorder, "")).pop().unwrap().1;
    assert!(readme.contains("bbbbbbbb.jsonl: 1 trace, the file is gone"), "{readme}");
    let reply = export(&recorder, "format=jsonl");
    assert_eq!(reply.field("x-api-log-left-out"), Some("1"));
    assert_eq!(reply.unchunked(), file(dir.path()));
    let har: Value = serde_json::from_slice(&exported(&recorder, "format=har")).unwrap();
    assert!(har["log"]["comment"].as_str().unwrap().contains("the file is gone"));

    // A line that is another one.
    let second = file(dir.path()).lines().next().unwrap().len() as u64 + 1;
    let mut damaged = std::fs::OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
    damaged.seek(SeekFrom::Start(second)).unwrap();
    damaged.write_all(format!("{{\"id\":\"{}\"", id(9)).as_bytes()).unwrap();
    let archive = entries(exported(&recorder, ""));
    assert_eq!((archive[0].0.as_str(), archive[0].1.lines().count()), ("data/2026-05-27/aaaaaaaa.partial.jsonl", 2));
    // Lines alone cannot tell it.
    let reply = export(&recorder, "format=jsonl");
    assert_eq!((reply.status, &reply.json()["error"]), (500, &"export_failed".into()), "nothing was sent yet");
    until("it has let go", || under_way(&recorder) == 0);
}

#[test]
fn what_fails_behind_its_beginning_is_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(1 << 20);
    let lines = [text(1, "/v1/x", &format!(r#""body":"{long}""#)), text(2, "/v1/x", r#""body":0"#)];
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 2);
    let mut damaged = std::fs::OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
    damaged.seek(SeekFrom::Start(lines[0].len() as u64 + 1)).unwrap();
    damaged.write_all(format!("{{\"id\":\"{}\"", id(9)).as_bytes()).unwrap();
    let reply = export(&recorder, "format=jsonl");
    assert_eq!((reply.status, unchunk(&reply.body)), (200, None));
    // The archive says so, and is whole.
    let archive = entries(exported(&recorder, ""));
    assert!(archive.last().unwrap().1.contains("no such line where the index says"));
    until("it has let go", || under_way(&recorder) == 0);
}

#[test]
fn who_leaves_in_the_middle_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Much more than sockets hold, and hard to compress.
    let mut random = 1_u64;
    let mut noise = || -> String {
        let mut draw = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (random >> 58) as u8)
        };
        (0..1 << 20).map(|_| draw()).filter(|it| *it != '\\').collect()
    };
    let lines: Vec<String> = (0..48).map(|number| text(number, "/v1/x", &format!(r#""body":"{}""#, noise()))).collect();
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 48);
    let opened = |recorder: &Recorder| -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", recorder.pid())).unwrap();
        let targets = descriptors.flatten().filter_map(|it| std::fs::read_link(it.path()).ok());
        targets.filter(|it| it.ends_with(FILE)).count()
    };
    assert_eq!(opened(&recorder), 0);
    for format in ["zip", "jsonl", "har"] {
        let mut streams: Vec<_> = (0..4).map(|_| open(&recorder, &format!("/api/export?format={format}"))).collect();
        for stream in &mut streams {
            stream.read_exact(&mut [0; 1000]).unwrap();
        }
        assert_eq!((under_way(&recorder), opened(&recorder)), (4, 4), "{format}");
        // There is no fifth, and nobody waits.
        let reply = export(&recorder, "");
        assert_eq!((reply.status, &reply.json()["error"]), (503, &"busy".into()));
        drop(streams);
        until("they are called off", || under_way(&recorder) == 0 && opened(&recorder) == 0);
    }
    assert_eq!(exported(&recorder, "format=jsonl").len(), file(dir.path()).len());
    recorder.stop();
}

#[test]
fn what_is_to_be_hidden_leaves_in_no_form_and_stays_in_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> =
        (1..=2).map(|number| text(number, "/v1/x?key=sk-query", r#""body":{"user":{"email":"a@b"}}"#)).collect();
    write_texts(dir.path(), FILE, &lines);
    let media = dir.path().join("2026-05-27/aaaaaaaa/media").join(id(1));
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("0.txt"), "attached sk-secret").unwrap();
    let profile = [("APILOG_API_REDACT_PROFILES", "support: json=$..email, other: header=x")];
    let recorder = Recorder::with(dir.path(), &profile);
    recorder.await_rows("", 2);
    let stored = file(dir.path());
    for (profile, secrets) in
        [("credentials", &["sk-secret", "sk-query"][..]), ("support", &["sk-secret", "sk-query", "a@b"])]
    {
        let archive = entries(exported(&recorder, &format!("redact={profile}")));
        assert_eq!(archive.len(), 4, "no attachments: {:?}", archive.iter().map(|it| &it.0).collect::<Vec<_>>());
        assert!(archive[3].1.contains(&format!("profile `{profile}`")) && !archive[3].1.contains("in clear"));
        let jsonl = String::from_utf8(exported(&recorder, &format!("format=jsonl&redact={profile}"))).unwrap();
        assert_eq!(archive[0], (format!("data/{FILE}"), jsonl.clone()));
        let har = String::from_utf8(exported(&recorder, &format!("format=har&redact={profile}"))).unwrap();
        for text in [&jsonl, &har] {
            secrets.iter().for_each(|secret| assert!(!text.contains(secret), "{secret}: {text}"));
        }
        har::from_slice(har.as_bytes()).unwrap();
        // Equal values are hidden alike, today and tomorrow.
        let token =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["req"]["headers"]["Authorization"].to_string();
        let tokens: Vec<String> = jsonl.lines().map(token).collect();
        assert!(tokens[0].starts_with("\"[redacted:") && tokens[0] == tokens[1], "{tokens:?}");
        assert_eq!(exported(&recorder, &format!("format=jsonl&redact={profile}")), jsonl.as_bytes());
    }
    assert_eq!(file(dir.path()), stored);
    let reply = export(&recorder, "redact=nothing");
    assert_eq!((reply.status, &reply.json()["param"]), (400, &"redact".into()));
}
