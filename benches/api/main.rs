//! How fast the read API answers on a million rows while recording goes on.
//!
//! `cargo bench --bench api [-- ROWS]` makes a data set, indexes it with the shipped program, and asks;
//! `cargo bench --bench api -- generate DIR ROWS` only makes the data set, for `api-log rebuild` and `api-log serve`.
//! `FULL_TEXT=true` indexes texts too, and asks for them.

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

mod dataset;
mod recorder;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dataset::{CLIENTS, DAYS, KEYS, MODELS, PROJECTS, date, id, key8, mixed, word};
use recorder::{Recorder, Traffic, command};

/// Questions of each kind.
const ROUNDS: u64 = 200;
/// Requests a second that are recorded meanwhile.
const TRAFFIC: u64 = 200;

/// A kind of question: its name, how long the slowest of a hundred may take, and what is asked in a round.
type Kind = (&'static str, u64, Box<dyn Fn(u64) -> String>);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    // Anything but `cargo bench` only wants to know that it builds.
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    let rows = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(1_000_000);
    if let [what, dir, ..] = &arguments[..]
        && what == "generate"
    {
        let bytes = dataset::generate(Path::new(dir), rows, 0).expect("a data set");
        println!("{rows} traces, {} MB in {dir}", bytes / 1_000_000);
        return;
    }
    // A folder that is kept spares the next run the making of it.
    let (_temporary, root) = match std::env::var_os("DATA_SET") {
        Some(root) => (None, PathBuf::from(root)),
        None => {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let root = dir.path().to_owned();
            (Some(dir), root)
        }
    };
    let full_text = std::env::var("FULL_TEXT").unwrap_or_else(|_| "false".into());
    let variables = [("APILOG_INDEX_FULL_TEXT", full_text.as_str())];
    let first_day = root.join(date(0));
    if !first_day.exists() {
        let bytes = dataset::generate(&root, rows, 0).expect("a data set");
        println!("{rows} traces, {} MB", bytes / 1_000_000);
    }
    let began = Instant::now();
    let told = command(&variables).args(["rebuild", "--json", "--data-dir"]).arg(&root).output().expect("the command");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let index = std::fs::metadata(root.join("index.sqlite")).map_or(0, |it| it.len());
    println!("rebuild {:.1} s, index {} bytes a row", began.elapsed().as_secs_f64(), index / rows);

    let recorder = Recorder::start(&root, &variables);
    let traffic = Traffic::begin(recorder.proxy, TRAFFIC);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut kinds = kinds(rows);
        if full_text != "false" {
            kinds.extend(searches());
        }
        for (name, target_ms, ask) in kinds {
            measure(&recorder, name, target_ms, ask).await;
        }
    });
    println!("recorded meanwhile: {:.0} requests a second", traffic.rate());
}

/// Asks a kind of question round after round, and prints how long the answers took.
async fn measure(recorder: &Recorder, name: &str, target_ms: u64, ask: Box<dyn Fn(u64) -> String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut times = Vec::new();
    let (mut bytes, mut failed) = (0, 0);
    for round in 0..ROUNDS {
        let url = format!("http://{}{}", recorder.api, ask(round));
        let began = Instant::now();
        let answer = client.get(url).bearer_auth(&recorder.token).send().await.expect("an answer");
        failed += u64::from(!answer.status().is_success());
        bytes += answer.bytes().await.expect("an answer").len();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let millis = |at: usize| times[at.min(times.len() - 1)].as_secs_f64() * 1e3;
    let (p50, p99) = (millis(times.len() / 2), millis(times.len() * 99 / 100));
    let met = if Duration::from_secs_f64(p99 / 1e3) <= Duration::from_millis(target_ms) { "" } else { "  over" };
    let kib = bytes / 1024 / ROUNDS as usize;
    let failed = if failed > 0 { format!("  {failed} failed") } else { String::new() };
    println!("{name:<36} p50 {p50:>7.1} ms  p99 {p99:>7.1} ms  at most {target_ms:>3} ms{met}  {kib:>4} KiB{failed}");
}

fn kinds(rows: u64) -> Vec<Kind> {
    fn list(name: &'static str, ask: impl Fn(u64) -> String + 'static) -> Kind {
        (name, 10, Box::new(move |round| format!("/api/traces?{}", ask(round))))
    }
    fn both(name: &'static str, ask: impl Fn(u64) -> String + 'static) -> Kind {
        (name, 30, Box::new(move |round| format!("/api/traces?{}", ask(round))))
    }
    let model = |round: u64| MODELS[round as usize % MODELS.len()];
    let client = |round: u64| CLIENTS[round as usize % CLIENTS.len()].1;
    let day = |round: u64| date(round % DAYS);
    let status = |round: u64| ["200", "429", "500", "-1", "2xx", "4xx", "5xx", "418"][round as usize % 8];
    let path = |round: u64| {
        ["/v1/chat/completions", "/v1/chat/completions?beta=true", "/v1/*", "/v1/files/*", "/v9/*"][round as usize % 5]
    };
    let end = |round: u64| ["complete", "client_gone", "idle_timeout", "shutdown"][round as usize % 4];
    let least = |round: u64| 100 << (round % 14);
    let conversation = move |round: u64| id(mixed(round, 1) % (rows / KEYS / 8) * 8 * KEYS + round % KEYS);
    let hour = |round: u64| format!("{}T{:02}:30:00Z", date(round % DAYS), round % 24);
    vec![
        list("newest", |_| String::new()),
        list("status", move |it| format!("status={}", status(it))),
        list("model", move |it| format!("model={}", model(it))),
        list("path", move |it| format!("path={}", path(it))),
        list("key_hash", |it| format!("key_hash={}", key8(it % KEYS))),
        list("project", |it| format!("project=project-{}", it % PROJECTS)),
        list("session_root_id", move |it| format!("session_root_id={}", conversation(it))),
        list("since", move |it| format!("since={}", hour(it))),
        list("until", move |it| format!("until={}", hour(it))),
        list("client_kind", move |it| format!("client_kind={}", client(it))),
        list("stream", |it| format!("stream={}", it % 2 == 0)),
        list("end", move |it| format!("end={}", end(it))),
        list("has_media", |it| format!("has_media={}", it % 2 == 0)),
        list("min_ms", move |it| format!("min_ms={}", least(it))),
        list("min_tokens", move |it| format!("min_tokens={}", least(it))),
        both("model, status", move |it| format!("model={}&status={}", model(it), status(it / 7))),
        both("model, client_kind", move |it| format!("model={}&client_kind={}", model(it), client(it / 7))),
        both("min_ms, min_tokens, stream", move |it| {
            format!("min_ms={}&min_tokens={}&stream=true", least(it), least(it / 14))
        }),
        both("key_hash, project, end", move |it| {
            format!("key_hash={}&project=project-{}&end={}", key8(it % KEYS), it % PROJECTS, end(it / 4))
        }),
        both("day, path, status, model", move |it| {
            let (since, until) = (day(it), date(it % DAYS + 1));
            let rest = format!("path={}&status={}&model={}", path(it), status(it / 5), model(it / 3));
            format!("since={since}T00:00:00Z&until={until}T00:00:00Z&{rest}")
        }),
        both("status, client_kind, min_ms, media", move |it| {
            format!("status={}&client_kind={}&min_ms={}&has_media=false", status(it), client(it / 8), least(it))
        }),
        ("sessions", 20, Box::new(|_| "/api/sessions".into())),
        ("sessions, 500", 20, Box::new(|_| "/api/sessions?limit=500".into())),
        ("one trace", 5, Box::new(move |it| format!("/api/traces/{}", id(mixed(it, 2) % rows)))),
        (
            "stats of a day",
            200,
            Box::new(move |it| {
                format!("/api/stats?since={}T00:00:00Z&until={}T00:00:00Z", day(it), date(it % DAYS + 1))
            }),
        ),
        (
            "stats of a day by model, hour",
            200,
            Box::new(move |it| {
                let (since, until) = (day(it), date(it % DAYS + 1));
                format!("/api/stats?since={since}T00:00:00Z&until={until}T00:00:00Z&by=model&bucket=hour")
            }),
        ),
        (
            "stats of a day by key, project",
            200,
            Box::new(move |it| {
                let (since, until) = (day(it), date(it % DAYS + 1));
                format!("/api/stats?since={since}T00:00:00Z&until={until}T00:00:00Z&by=key,project")
            }),
        ),
        (
            "stats of 24 h, not at full hours",
            200,
            Box::new(move |it| {
                let at = |day: u64| format!("{}T{:02}:30:00Z", date(day), it % 24);
                format!("/api/stats?since={}&until={}&by=model", at(it % (DAYS - 1)), at(it % (DAYS - 1) + 1))
            }),
        ),
        ("stats of everything by client", 1000, Box::new(|_| "/api/stats?by=client".into())),
    ]
}

/// Questions for texts.
fn searches() -> Vec<Kind> {
    fn search(name: &'static str, ask: impl Fn(u64) -> String + 'static) -> Kind {
        (name, 100, Box::new(move |round| format!("/api/traces?{}", ask(round))))
    }
    vec![
        search("q, a common word", |_| "q=rename".into()),
        search("q, rare words", |it| format!("q={}", word(mixed(it, 3) | 2))),
        search("q, two characters", |_| "q=%E5%87%BD%E6%95%B0".into()),
        search("q, nothing", |it| format!("q=nowhere-{it}")),
        search("q of a model", |it| format!("q=rename&model={}", MODELS[it as usize % MODELS.len()])),
    ]
}
