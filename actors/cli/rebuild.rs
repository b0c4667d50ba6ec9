//! `api-log rebuild`: the index made anew from the files, by itself or by the recorder that has the data dir.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use api_log::config::Config;
use api_log::ids::UnixMillis;
use api_log::index::rebuild::Report;
use api_log::store::layout::Layout;
use api_log::store::lock::{DataDirLock, Holder, LockError};
use api_log::work::Work;
use serde_json::{Value, json};

use super::args::Rebuild;
use super::exit::Code;
use super::progress::{self, Interrupted, Unit};
use crate::record::rebuild::{BuildError, Priority, build, install, known_step};

/// How often a running recorder is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a running recorder may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Segments that cannot be read which are named; of the rest only the number is.
const MOST_NAMED: usize = 20;

/// What came of it.
struct Outcome {
    rows: u64,
    repeated: u64,
    bad_lines: u64,
    unreadable: Vec<(String, String)>,
    by_recorder: bool,
}

/// Why the index is as it was.
#[derive(Debug, thiserror::Error)]
enum RebuildError {
    #[error("there is no data dir at {0}; name it with --data-dir, or as storage.data_dir")]
    NoDataDir(std::path::PathBuf),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{0}; the old index stays; see that its disk is well and has room (api-log verify), then try again")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error("another command (pid {0}) is at work on the data dir; try again when it has ended")]
    Busy(u32),
    #[error("cannot read the token of the running recorder: {0}; run this as the recorder's user")]
    Token(std::io::Error),
    #[error(
        "cannot ask the running recorder at {address}: {reason}; look at its log, or stop it and rebuild without it"
    )]
    Ask { address: SocketAddr, reason: String },
    #[error("the running recorder could not rebuild the index: {0}; the index stays as it was, and its log says more")]
    Failed(String),
    #[error("no longer watched; the running recorder goes on with it, and tells how far it is at /api/index")]
    LeftAlone,
}

/// Makes the index anew. Exit codes: 0 = done, 1 = failed or interrupted; the old index stays then.
pub(crate) fn run(config: &Config, asked: Rebuild) -> Code {
    let layout = Layout::new(asked.data_dir.as_deref().unwrap_or(&config.storage.data_dir));
    let began = Instant::now();
    match rebuild(layout, config.index.text_bytes()) {
        Ok(outcome) => {
            tell(&outcome, began.elapsed(), asked.json);
            Code::Done
        }
        Err(error) => {
            super::complain(&error);
            Code::Failed
        }
    }
}

fn rebuild(layout: Layout, text_bytes: Option<usize>) -> Result<Outcome, RebuildError> {
    if !layout.root().is_dir() {
        return Err(RebuildError::NoDataDir(layout.root().to_owned()));
    }
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let myself = Holder {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: UnixMillis::now(),
        proxy: nowhere,
        api: nowhere,
    };
    match DataDirLock::acquire(&layout, &myself) {
        Ok(lock) => {
            lock.warnings.iter().for_each(|warning| super::complain(format_args!("warning: {warning}")));
            let built = progress::run(Unit::Bytes, move |work| {
                let _held = lock;
                let report = build(&layout, text_bytes, Priority::Usual, work)?;
                install(&layout)?;
                Ok::<Report, BuildError>(report)
            });
            Ok(Outcome::of(built??))
        }
        Err(LockError::InUse { holder, .. }) if holder.api.port() == 0 => Err(RebuildError::Busy(holder.pid)),
        Err(LockError::InUse { holder, .. }) => {
            let token = std::fs::read_to_string(layout.token()).map_err(RebuildError::Token)?;
            progress::run(Unit::Bytes, move |work| ask(reachable(holder.api), token.trim(), work))?
        }
        Err(error) => Err(error.into()),
    }
}

/// Has a running recorder do it, and follows it to its end.
fn ask(address: SocketAddr, token: &str, work: &Work) -> Result<Outcome, RebuildError> {
    let failed = |reason: String| RebuildError::Ask { address, reason };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    runtime.block_on(async {
        // Its address is this machine's: no proxy of the environment is to be asked for the way.
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        let client = client.map_err(|error| failed(error.to_string()))?;
        let url = |path: &str| format!("http://{address}{path}");
        let begun = send(client.post(url("/api/index/rebuild")).bearer_auth(token)).await.map_err(failed)?;
        let number = begun["rebuild"]["number"].clone();
        let mut step = "";
        let mut done = 0;
        loop {
            work.check().map_err(|_| RebuildError::LeftAlone)?;
            let seen = send(client.get(url("/api/index")).bearer_auth(token)).await.map_err(failed)?;
            let rebuild = &seen["rebuild"];
            if rebuild["number"] != number {
                return Err(RebuildError::Failed("it has begun another one".into()));
            }
            match rebuild["state"].as_str() {
                Some("done") => return Ok(Outcome::from_answer(rebuild)),
                Some("failed") => {
                    return Err(RebuildError::Failed(
                        rebuild["error"].as_str().unwrap_or("it does not say why").into(),
                    ));
                }
                _ => {}
            }
            let now = known_step(rebuild["step"].as_str().unwrap_or_default());
            if now != step {
                (step, done) = (now, 0);
                work.begin(step, rebuild["total_bytes"].as_u64().unwrap_or(0));
            }
            let done_now = rebuild["done_bytes"].as_u64().unwrap_or(0);
            work.advance(done_now.saturating_sub(done));
            done = done.max(done_now);
            tokio::time::sleep(ASK_EVERY).await;
        }
    })
}

/// A JSON answer, or what is wrong in words.
async fn send(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|error| format!("{status}: {error}"))?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(format!("{status}: {}", body["message"].as_str().unwrap_or("it does not say why")))
    }
}

/// Where a listener is reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

impl Outcome {
    fn of(report: Report) -> Outcome {
        let Report { rows, known, bad_lines, unreadable } = report;
        let unreadable = unreadable.into_iter().map(|(segment, error)| (segment.to_string(), error)).collect();
        Outcome { rows, repeated: known, bad_lines, unreadable, by_recorder: false }
    }

    fn from_answer(rebuild: &Value) -> Outcome {
        let number = |name: &str| rebuild[name].as_u64().unwrap_or(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let unreadable = rebuild["unreadable"].as_array().into_iter().flatten();
        Outcome {
            rows: number("rows"),
            repeated: number("repeated"),
            bad_lines: number("bad_lines"),
            unreadable: unreadable.map(|it| (text(&it["segment"]), text(&it["error"]))).collect(),
            by_recorder: true,
        }
    }
}

fn tell(outcome: &Outcome, took: Duration, as_json: bool) {
    let Outcome { rows, repeated, bad_lines, unreadable, by_recorder } = outcome;
    if as_json {
        let unreadable: Vec<Value> =
            unreadable.iter().map(|(segment, error)| json!({"segment": segment, "error": error})).collect();
        let told = json!({
            "rows": rows,
            "repeated": repeated,
            "bad_lines": bad_lines,
            "unreadable": unreadable,
            "seconds": took.as_secs_f64(),
            "by": if *by_recorder { "recorder" } else { "command" },
        });
        return super::say(format_args!("{told}\n"));
    }
    super::say(format_args!(
        "{rows} rows in {:.1} s{}\n",
        took.as_secs_f64(),
        if *by_recorder { ", by the running recorder" } else { "" }
    ));
    if *repeated > 0 {
        super::say(format_args!("{repeated} lines repeat a trace that has an earlier one\n"));
    }
    if *bad_lines > 0 {
        super::say(format_args!("{bad_lines} lines are no traces\n"));
    }
    for (segment, error) in unreadable.iter().take(MOST_NAMED) {
        super::say(format_args!("{segment} cannot be read to its end: {error}\n"));
    }
    if unreadable.len() > MOST_NAMED {
        super::say(format_args!("and {} more\n", unreadable.len() - MOST_NAMED));
    }
}
