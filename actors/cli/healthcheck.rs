//! `api-log healthcheck`: whether a recorder is ready, as an exit code, for containers that hold nothing but this program.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::args::Healthcheck;
use super::exit::Code;

/// What `/readyz` says.
#[derive(Deserialize)]
struct Readiness {
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    detail: String,
}

/// Asks once. Exit codes: 0 = a 2xx came in time, 1 = it did not; why stands on standard error.
pub(crate) fn run(asked: &Healthcheck, url: &str) -> Code {
    match ask(url, asked.timeout.into()) {
        Ok(()) => {
            super::say("ok\n");
            Code::Done
        }
        Err(reason) => {
            super::complain(format_args!("not healthy: {reason}"));
            Code::Failed
        }
    }
}

/// Why a recorder is not healthy, or why that is not known.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("--url {url}: {reason}; give http://HOST:PORT/PATH, as http://127.0.0.1:7862/readyz")]
    Url { url: String, reason: String },
    #[error("cannot ask {url}: {reason}; look at this machine's limits (ulimit -a)")]
    Start { url: String, reason: String },
    #[error("{reason}; start the recorder, or name its address with --url")]
    Unreachable { reason: String },
    #[error("{url}: {answer}; what listens there says more in its log, a recorder also at /healthz")]
    Refused { url: String, answer: String },
}

fn ask(url: &str, within: Duration) -> Result<(), Unhealthy> {
    let wrong = |reason: String| Unhealthy::Url { url: url.to_owned(), reason };
    let target = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(wrong("not a URL that begins with http:// or https://".to_owned()));
    }
    let cannot_start = |reason: &dyn std::error::Error| Unhealthy::Start { url: url.to_owned(), reason: why(reason) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| cannot_start(&error))?;
    runtime.block_on(async {
        // It is this machine that is asked about: no proxy of the environment knows the way.
        let client = reqwest::Client::builder().no_proxy().timeout(within).build();
        let client = client.map_err(|error| cannot_start(&error))?;
        let answer = client.get(target).send().await;
        let answer = answer.map_err(|error| Unhealthy::Unreachable { reason: why(&error) })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let details: Vec<String> = match answer.json::<Readiness>().await {
            Ok(readiness) => readiness.reasons.into_iter().map(|it| it.detail).collect(),
            Err(_) => Vec::new(),
        };
        let answer = format!("{status} {}", details.join("; ")).trim_end().to_owned();
        Err(Unhealthy::Refused { url: url.to_owned(), answer })
    })
}

/// The error with its causes; by itself it only tells that there was one.
fn why(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text = format!("{text}: {it}");
        cause = it.source();
    }
    text
}
