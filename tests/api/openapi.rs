//! The API's document and the API: every route and every member of the one is in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use serde_json::{Value, json};

use crate::inflight::{EVENTS, Gateway, ask};
use crate::schema::Schemas;
use crate::seed::{Line, id, text, write, write_texts};
use crate::stack::{Recorder, Reply, call, open, until};
use crate::tail::{Heard, Listener};
use crate::tokens::make;

const TARGET: &str = "/api/openapi.json";

/// What no recorder shows unless something breaks, or that takes more than a test can spend; and where it is held.
const UNSEEN: &[(&str, &str)] = &[
    // What only a failure shows is held against its schema by `what_only_a_failure_shows_fits_its_schema` in
    // actors/api/openapi.rs.
    ("Child.hung_since", "a thread blocks"),
    ("Child.last_error", "an actor fails"),
    ("DegradedChild.", "an actor fails"),
    ("IndexError.", "the database fails"),
    ("LastError.", "an actor fails"),
    ("Nursery.last_error", "an actor fails"),
    ("Pulse.stopped_since", "a thread blocks"),
    ("Reason.", "the recorder ends, or an actor fails"),
    ("Trouble.", "an actor fails"),
    ("UnreadableSegment.", "a disk fails"),
    ("Problem.cap", "more than 50,000 traces; tests/api/export.rs"),
    ("Problem.matched", "more than 50,000 traces; tests/api/export.rs"),
    ("SkippedMessages.", "a message of a megabyte; tests/api/inflight.rs"),
    ("SkippedTraces.", "more than 10,000 traces; tests/api/tail.rs"),
    // Each of them stands on a line that the library writes: tests/line_schema.rs.
    ("Trace.", "lines of every kind"),
    ("Event.", "lines of every kind"),
];

/// The document, and whatever was held against it.
struct Book {
    document: Value,
    schemas: Schemas,
}

impl Book {
    fn of(recorder: &Recorder) -> Book {
        let reply = call(recorder.api, "GET", TARGET, &[], b"");
        assert_eq!((reply.status, reply.field("content-type")), (200, Some("application/json")));
        let document = reply.json();
        let schemas = Schemas::new(document["components"]["schemas"].as_object().unwrap());
        Book { document, schemas }
    }

    /// Every path, method and operation.
    fn operations(&self) -> Vec<(String, String, Value)> {
        let paths = self.document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let item = item.as_object().unwrap().clone();
            let path = path.clone();
            item.into_iter().map(move |(method, it)| (path.clone(), method.to_uppercase(), it)).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of).collect()
    }

    fn response(&self, path: &str, method: &str, status: u16) -> Value {
        let found = &self.document["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
        assert!(found.is_object(), "{method} {path}: no word of {status}");
        found.clone()
    }

    /// Asks, and holds the answer against what the document says of this route.
    fn ask(&mut self, recorder: &Recorder, method: &str, path: &str, target: &str, body: &str) -> Reply {
        let reply = recorder.api(method, target, body);
        self.hold(method, path, target, reply)
    }

    /// Reads, with the token, the route that stands in the document just so.
    fn get(&mut self, recorder: &Recorder, path: &str, query: &str) -> Reply {
        self.ask(recorder, "GET", path, &format!("{path}{query}"), "")
    }

    fn hold(&mut self, method: &str, path: &str, target: &str, reply: Reply) -> Reply {
        let response = self.response(path, method, reply.status);
        let media_type = reply.field("content-type");
        let content = response["content"].as_object();
        let named = |kind: &str| content.and_then(|it| it.get(kind)).map(|it| it["schema"].clone());
        let schema = media_type.and_then(named).or_else(|| named("*/*"));
        let Some(schema) = schema else {
            assert!(content.is_none() && reply.body.is_empty(), "{target}: {media_type:?} of {response}");
            return reply;
        };
        let is_json = media_type == Some("application/json") && !target.contains("format=har");
        if is_json {
            self.schemas.check(&schema, &reply.json(), &format!("{method} {target}"));
        }
        reply
    }

    /// Holds an event of a stream against what the document says of it.
    fn hear(&mut self, path: &str, heard: &Heard) {
        let told = self.response(path, "GET", 200)["x-api-log-events"][&heard.event].clone();
        assert!(told.is_object(), "{path}: no word of {heard:?}");
        self.schemas.check(&told["data"], &heard.data, path);
    }

    /// Every schema of an answer or an event.
    fn answers(&self) -> Vec<Value> {
        let operations = self.operations();
        let responses = operations.iter().flat_map(|it| it.2["responses"].as_object().unwrap().values());
        let of = |response: &Value| {
            let content = response["content"].as_object().into_iter().flatten();
            let events = response["x-api-log-events"].as_object().into_iter().flatten();
            let content = content.map(|(_, it)| it["schema"].clone());
            content.chain(events.map(|(_, it)| it["data"].clone())).collect::<Vec<_>>()
        };
        responses.flat_map(of).collect()
    }
}

/// A target of this path, with ids that nobody has.
fn nowhere(path: &str) -> String {
    let ids = path.replace("/plugins/{id}", "/plugins/nobody").replace("{id}", &id(99));
    ids.replace("{trace_id}", &id(99)).replace("{idx}", "0")
}

#[test]
fn every_route_of_the_document_answers_as_it_says_to_everybody_and_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let book = Book::of(&recorder);
    assert_eq!(book.document["openapi"], "3.1.0");
    assert_eq!(book.document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (path, method, operation) in book.operations() {
        assert!(names.insert(operation["operationId"].to_string()), "{operation}");
        let taken = methods.entry(path.clone()).or_default();
        taken.insert(method.clone());
        if method == "GET" {
            taken.insert("HEAD".into());
        }
        let told: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["in"] == "path")
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        let in_path = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(told, in_path.collect(), "{path}");
        // Without the token.
        let reply = call(recorder.api, if method == "GET" { "HEAD" } else { &method }, &nowhere(&path), &[], b"");
        let scope = if method == "GET" { "viewer" } else { "admin" };
        let is_protected = operation["security"] == json!([{"token": [scope]}]);
        assert_eq!(reply.status == 401, is_protected, "{method} {path}: {}", reply.status);
        assert!(is_protected == operation["responses"]["401"].is_object() || path == "/metrics", "{path}");
        assert_eq!(operation["responses"]["403"].is_object(), method != "GET", "{path}");
    }
    for (path, methods) in methods {
        let reply = call(recorder.api, "OPTIONS", &nowhere(&path), &[], b"");
        let allowed: Vec<&str> = methods.iter().map(String::as_str).collect();
        assert_eq!((reply.status, reply.field("allow")), (405, Some(allowed.join(", ").as_str())), "{path}");
    }
}

#[test]
fn every_parameter_of_the_document_is_read_and_every_other_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let book = Book::of(&recorder);
    let told = book.operations().into_iter().filter(|it| it.2["responses"]["400"].is_object() && it.1 == "GET");
    for (path, _, operation) in told {
        let parameters = operation["parameters"].as_array().unwrap().iter().filter(|it| it["in"] == "query");
        let names = parameters.map(|it| it["name"].as_str().unwrap()).chain(["nonsense"]);
        for name in names {
            let problem = recorder.api("GET", &format!("{}?{name}=%01&nonsense=1", nowhere(&path)), "").json();
            let is_known = problem["detail"] != "unknown parameter" || problem["param"] != name;
            assert_eq!(is_known, name != "nonsense", "{path}: {name}: {problem}");
        }
    }
}

#[test]
fn every_answer_has_the_members_that_the_document_tells_of_and_no_others() {
    let gateway = Gateway::start(EVENTS);
    let dir = tempfile::tempdir().unwrap();
    seed(dir.path());
    let settings = [
        ("APILOG_INDEX_FULL_TEXT", "true"),
        ("APILOG_API_EXPORT_BYTE_HARDCAP", "1"),
        // Of a service that is not there.
        ("APILOG_VIEWER_ENABLED", "true"),
        ("APILOG_VIEWER_RELEASES_API_BASE", "http://127.0.0.1:1"),
    ];
    let viewer = make(dir.path(), "v", "viewer");
    let recorder = gateway.recorder(dir.path(), &settings);
    recorder.await_rows("", 4);
    let mut book = Book::of(&recorder);
    read_everything(&mut book, &recorder);
    follow_one(&mut book, &recorder, &gateway);
    be_refused(&mut book, &recorder, &viewer);
    change_everything(&mut book, &recorder);

    let unseen = book.schemas.unseen(&book.answers());
    let excused =
        |it: &str| UNSEEN.iter().any(|(name, _)| it == *name || (name.ends_with('.') && it.starts_with(name)));
    let missing: Vec<&String> = unseen.iter().filter(|it| !excused(it)).collect();
    assert!(missing.is_empty(), "nobody has seen {missing:#?}");
    for (name, why) in UNSEEN {
        let is_unseen = unseen.iter().any(|it| it == name || (name.ends_with('.') && it.starts_with(name)));
        assert!(is_unseen, "{name} is excused ({why}) and was seen");
    }
}

/// Traces of an earlier run, an attachment, and overrides with which something is wrong.
fn seed(dir: &std::path::Path) {
    write(dir, &[Line { model: "other", project: "p", ..Line::new(1, 0) }, Line::new(2, 10)]);
    let events = r#""events":[{"event":"","data":1,"t_delta_ms":1}],"stream_done":true"#;
    write_texts(dir, "2026-05-27/aaaaaaaa.jsonl", &[text(3, "/v1/chat/completions", events)]);
    let said = r#""body":{"choices":[{"message":{"role":"assistant","content":"needles in hay"}}]}"#;
    write_texts(dir, "2026-05-27/aaaaaaaa.jsonl", &[text(4, "/v1/chat/completions", said)]);
    let media = dir.join("2026-05-27/aaaaaaaa/media").join(id(1));
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("0.png"), "png").unwrap();
    let overrides = json!({"plugins": {"instances": [{"type": "warp", "id": "w"}]}});
    std::fs::write(dir.join("runtime_overrides.json"), serde_json::to_string_pretty(&overrides).unwrap()).unwrap();
}

fn read_everything(book: &mut Book, recorder: &Recorder) {
    for path in ["/", "/readyz", "/metrics", TARGET, "/api/index", "/api/plugins/types", "/api/config/plugins"] {
        assert_eq!(book.get(recorder, path, "").status, 200);
    }
    assert!(!book.get(recorder, "/healthz", "").json()["plugins"]["last_error"].is_null());
    assert!(book.get(recorder, "/api/traces", "?limit=2").json()["next_cursor"].is_string());
    assert!(book.get(recorder, "/api/traces", "?q=needles").json()["traces"][0]["snippet"].is_object());
    for (path, query) in [
        ("/api/sessions", ""),
        ("/api/stats", ""),
        ("/api/stats", "?by=model,key,client,project&bucket=hour&limit=1"),
        ("/api/inflight", ""),
        ("/api/export", "?bytes_all=1"),
        ("/api/export", "?bytes_all=1&format=jsonl"),
        ("/api/export", "?bytes_all=1&format=har"),
        ("/api/config/media", ""),
        ("/api/config/retention", ""),
    ] {
        assert_eq!(book.get(recorder, path, query).status, 200, "{path}{query}");
    }
    for number in 1..=4 {
        let target = format!("/api/traces/{}", id(number));
        assert_eq!(book.ask(recorder, "GET", "/api/traces/{id}", &target, "").status, 200);
    }
    let replay = "/api/traces/{id}/replay";
    assert_eq!(book.ask(recorder, "GET", replay, &format!("/api/traces/{}/replay?nodelay=1", id(3)), "").status, 200);
    let target = format!("/api/media/{}/0", id(1));
    let bearer = format!("Bearer {}", recorder.token);
    for (field, value, status) in [
        ("Accept", "*/*", 200),
        ("Range", "bytes=1-", 206),
        ("Range", "bytes=9-", 416),
        ("If-Modified-Since", "Fri, 31 Dec 2100 00:00:00 GMT", 304),
        ("If-Unmodified-Since", "Fri, 31 Dec 1999 00:00:00 GMT", 412),
    ] {
        let reply = recorder.api_with("GET", &target, &[("Authorization", &bearer), (field, value)], "");
        assert_eq!(reply.status, status, "{field}: {value}");
        book.hold("GET", "/api/media/{trace_id}/{idx}", &target, reply);
    }
}

/// An exchange is under way, and is followed to its end and into the index.
fn follow_one(book: &mut Book, recorder: &Recorder, gateway: &Gateway) {
    let mut tail = Listener::new(recorder, "/api/tail", "Last-Event-ID: nonsense\r\n");
    book.hear("/api/tail", &tail.next().unwrap());
    let client = ask(recorder, "/v1/chat/completions");
    let stream = gateway.next();
    until("it is shown", || recorder.get("/api/inflight")["total"] == 1);
    let shown = book.get(recorder, "/api/inflight", "").json()["inflight"][0].clone();
    let target = format!("/api/inflight/{}/events", shown["id"].as_str().unwrap());
    let mut events = Listener::new(recorder, &target, "");
    stream.send("data: 1\n\n".into()).unwrap();
    assert_eq!(events.next().unwrap().data, 1);
    drop(stream);
    let mut heard = events.next().unwrap();
    while heard.event.is_empty() {
        heard = events.next().unwrap();
    }
    book.hear("/api/inflight/{id}/events", &heard);
    drop(client);
    let heard = tail.next().unwrap();
    assert_eq!(heard.data["id"], shown["id"]);
    book.hear("/api/tail", &heard);
}

fn be_refused(book: &mut Book, recorder: &Recorder, viewer: &str) {
    let nobody = recorder.api_with("GET", "/api/traces", &[], "");
    book.hold("GET", "/api/traces", "/api/traces", nobody);
    let bearer = format!("Bearer {viewer}");
    let forbidden = recorder.api_with("POST", "/api/index/rebuild", &[("Authorization", &bearer)], "");
    assert_eq!(forbidden.status, 403);
    book.hold("POST", "/api/index/rebuild", "/api/index/rebuild", forbidden);
    for (path, query, status) in [
        ("/api/traces", "?limit=0", 400),
        ("/api/export", "", 413),
        ("/api/traces/{id}", "", 404),
        ("/api/traces/{id}/replay", "?speed=0", 400),
        ("/api/media/{trace_id}/{idx}", "", 404),
        ("/api/inflight/{id}/events", "", 404),
    ] {
        let reply = book.ask(recorder, "GET", path, &format!("{}{query}", nowhere(path)), "");
        assert_eq!(reply.status, status, "{path}");
    }
    let long = format!("{{\"save_attachments\":true{}}}", " ".repeat(2 << 20));
    for (path, body, status) in [
        ("/api/config/media", "{}", 400),
        ("/api/config/media", long.as_str(), 413),
        ("/api/config/retention", r#"{"max_bytes":-1}"#, 400),
        ("/api/config/plugins", r#"{"instances":[{"type":"tag","id":"a","config":{"tags":7}}]}"#, 400),
        // The overrides cannot be read.
        ("/api/config/plugins/{id}", "{}", 500),
    ] {
        assert_eq!(book.ask(recorder, "PUT", path, &nowhere(path), body).status, status, "{path} {body}");
    }
}

fn change_everything(book: &mut Book, recorder: &Recorder) {
    // Something that is degraded meanwhile: the plugins of the overrides.
    let degraded = book.get(recorder, "/healthz", "").json()["degraded"].clone();
    assert!(degraded.to_string().contains("plugins_malformed"), "{degraded}");
    let plugin = json!({"type": "tag", "id": "a", "enabled": true, "config": {"tags": ["x"]}});
    for (method, path, target, body) in [
        ("PUT", "/api/config/media", "/api/config/media", json!({"save_attachments": true})),
        ("PUT", "/api/config/plugins", "/api/config/plugins", json!({"instances": [plugin]})),
        ("PUT", "/api/config/plugins/{id}", "/api/config/plugins/a", json!({"enabled": true})),
    ] {
        let reply = book.ask(recorder, method, path, target, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let nobody = book.ask(recorder, "PUT", "/api/config/plugins/{id}", "/api/config/plugins/nobody", "{}");
    assert_eq!(nobody.status, 404);
    book.get(recorder, "/api/config/plugins", "");
    book.get(recorder, "/healthz", "");
    assert_eq!(book.ask(recorder, "DELETE", "/api/config/plugins", "/api/config/plugins", "").status, 200);
    let rebuild = "/api/index/rebuild";
    assert_eq!(book.ask(recorder, "POST", rebuild, rebuild, "").status, 202);
    until("it is made anew", || recorder.get("/api/index")["rebuild"]["state"] == "done");
    book.get(recorder, "/api/index", "");
    // A tail is a stream: its head is enough here.
    let mut head = [0; 12];
    open(recorder, "/api/tail").read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let asked = std::process::Command::new("kill").args(["-HUP", &recorder.pid().to_string()]).status().unwrap();
    assert!(asked.success());
    let retention = "/api/config/retention";
    assert_eq!(book.ask(recorder, "PUT", retention, retention, r#"{"max_age_days":1}"#).status, 200);
    until("what is old is deleted, and the configuration read again", || {
        let health = recorder.get("/healthz");
        health["storage"]["last_evicted_bytes"].is_u64()
            && !health["reload"].is_null()
            && health["viewer"]["next_try"].is_string()
            && health["supervision"]["looked_at"].is_string()
    });
    book.get(recorder, "/healthz", "");
}
