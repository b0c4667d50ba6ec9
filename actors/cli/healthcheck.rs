//! `api-log healthcheck`: whether a recorder is ready, as an exit code, for containers that hold nothing but this program.

use std::time::Duration;

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

fn ask(url: &str, within: Duration) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|it| it.to_string())?;
    runtime.block_on(async {
        // It is this machine that is asked about: no proxy of the environment knows the way.
        let client = reqwest::Client::builder().no_proxy().timeout(within).build().map_err(|it| it.to_string())?;
        let advice = "start the recorder, or name its address with --url";
        let answer = client.get(url).send().await.map_err(|error| format!("{}; {advice}", why(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let details: Vec<String> = match answer.json::<Readiness>().await {
            Ok(readiness) => readiness.reasons.into_iter().map(|it| it.detail).collect(),
            Err(_) => Vec::new(),
        };
        Err(format!("{url}: {status} {}", details.join("; ")).trim_end().to_owned())
    })
}

/// The error with its causes; by itself it only tells that there was one.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(it) = cause {
        text = format!("{text}: {it}");
        cause = it.source();
    }
    text
}
