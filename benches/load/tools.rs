//! What makes a load: wrk, oha, or our own client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{Kind, Load, Measured};
use crate::process::Trouble;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Small chats, as fast as answers come.
    Wrk {
        connections: usize,
        seconds: f64,
    },
    /// Small chats at a rate; late is late from when a request was due.
    Oha {
        connections: usize,
        seconds: f64,
        rate: f64,
    },
    Own {
        connections: usize,
        kind: Kind,
    },
}

/// A small chat, of 1 KB.
fn small_request() -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(190))
}

/// Where `cargo install` leaves it for us, or wherever it is.
pub(crate) fn oha() -> Option<PathBuf> {
    let ours = Path::new("target/load/bin/oha");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours.to_owned())
        .chain(std::env::split_paths(&path).map(|it| it.join("oha")))
        .find(|it| it.is_file())
}

impl Tool {
    /// The same for a moment, so that connections, caches and pages are there.
    pub(crate) fn short(self) -> Tool {
        const SECONDS: f64 = 0.5;
        match self {
            Tool::Wrk { connections, .. } => Tool::Wrk { connections, seconds: 1.0 },
            Tool::Oha { connections, rate, .. } => Tool::Oha { connections, seconds: 1.0, rate },
            Tool::Own { connections, kind } => {
                let kind = match kind {
                    Kind::Closed { what, .. } => Kind::Closed { what, seconds: SECONDS },
                    Kind::Open { what, rate, .. } => Kind::Open { what, seconds: SECONDS, rate },
                    Kind::Paced { .. } => Kind::Paced { events: 1 },
                    Kind::Sockets { .. } => Kind::Sockets { seconds: SECONDS },
                };
                Tool::Own { connections, kind }
            }
        }
    }

    /// Sends the load there.
    pub(crate) fn run(self, address: SocketAddr, folder: &Path) -> Result<Measured, Trouble> {
        let measured = match self {
            Tool::Wrk { connections, seconds } => wrk(address, folder, connections, seconds)?,
            Tool::Oha { connections, seconds, rate } => with_oha(address, connections, seconds, rate)?,
            Tool::Own { connections, kind } => own(&Load { address, connections, kind })?,
        };
        if measured.requests == 0 {
            let why = measured.first_failure.as_deref().unwrap_or("no reason is known");
            return Err(Trouble::said(format!("not one answer from {address}: {why}")));
        }
        Ok(measured)
    }
}

fn own(load: &Load) -> Result<Measured, Trouble> {
    let text = serde_json::to_string(load).map_err(|error| Trouble::at("the load", error))?;
    let own = std::env::current_exe().map_err(|error| Trouble::at("this program", error))?;
    let said = output(Command::new(own).args(["client", &text]))?;
    serde_json::from_str(said.trim()).map_err(|error| Trouble::at(&format!("the client said {said:?}"), error))
}

fn wrk(address: SocketAddr, folder: &Path, connections: usize, seconds: f64) -> Result<Measured, Trouble> {
    let script = folder.join("chat.lua");
    let body = small_request();
    let text = format!(
        "wrk.method = 'POST'
         wrk.headers['Content-Type'] = 'application/json'
         wrk.headers['Authorization'] = 'Bearer bench'
         wrk.body = '{body}'
         done = function(summary, latency, requests)
             local e = summary.errors
             io.write(string.format('RESULT %d %d %d %.1f %.1f %.1f %d\\n', summary.requests, summary.duration,
                 summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
                 e.connect + e.read + e.write + e.status + e.timeout))
         end\n"
    );
    std::fs::write(&script, text).map_err(|error| Trouble::at(&script.display().to_string(), error))?;
    let duration = format!("{}s", seconds.ceil());
    let url = format!("http://{address}/v1/chat/completions");
    let said = output(
        Command::new("wrk")
            .args(["-t1", "--latency", "--timeout", "60s", "-c", &connections.to_string(), "-d", &duration, "-s"])
            .arg(script)
            .arg(url),
    )?;
    let result = said.lines().find_map(|it| it.strip_prefix("RESULT "));
    let figures: Option<Vec<f64>> = result.and_then(|it| it.split(' ').map(|it| it.parse().ok()).collect());
    let Some([requests, micros, bytes, p50_us, p99_us, max_us, failed]) = figures.as_deref() else {
        return Err(Trouble::said(format!("wrk gives no result: {said}")));
    };
    let failure = format!("wrk counts {failed} errors");
    Ok(Measured {
        requests: *requests as u64,
        failed: *failed as u64,
        first_failure: (*failed > 0.0).then_some(failure),
        // It hangs up when its time is over.
        broken_off_at_most: connections as u64,
        seconds: micros / 1e6,
        p50_us: *p50_us,
        p99_us: *p99_us,
        max_us: *max_us,
        sent_bytes: *requests as u64 * (body.len() as u64 + HEAD_BYTES),
        received_bytes: *bytes as u64,
        ..Measured::default()
    })
}

/// Of a request by wrk or oha, about.
const HEAD_BYTES: u64 = 145;

fn with_oha(address: SocketAddr, connections: usize, seconds: f64, rate: f64) -> Result<Measured, Trouble> {
    let oha = oha().ok_or_else(|| Trouble::said("there is no oha: `cargo install oha --locked --root target/load`"))?;
    let (duration, rate) = (format!("{seconds}s"), format!("{}", rate.round()));
    let said = output(
        Command::new(oha)
            .args(["--no-tui", "--output-format", "json", "--latency-correction", "-w", "-z", &duration, "-q", &rate])
            .args(["-c", &connections.to_string(), "-m", "POST", "-T", "application/json"])
            .args(["-H", "Authorization: Bearer bench", "-d", &small_request()])
            .arg(format!("http://{address}/v1/chat/completions")),
    )?;
    let told: Value = serde_json::from_str(&said).map_err(|error| Trouble::at(&format!("oha said {said:?}"), error))?;
    let counts = |name: &str| {
        let counts = told[name].as_object().into_iter().flatten();
        counts.map(|(key, count)| (key.clone(), count.as_u64().unwrap_or(0))).collect::<Vec<_>>()
    };
    let statuses = counts("statusCodeDistribution");
    let errors = counts("errorDistribution");
    let requests = statuses.iter().filter(|(status, _)| status == "200").map(|(_, count)| count).sum();
    let wrong = statuses.iter().filter(|(status, _)| status != "200");
    let (cut, broken): (Vec<_>, Vec<_>) = errors.iter().partition(|(error, _)| error.contains("deadline"));
    let failures: Vec<_> = wrong.chain(broken).collect();
    let micros = |part: &str| told["latencyPercentiles"][part].as_f64().unwrap_or(f64::NAN) * 1e6;
    Ok(Measured {
        requests,
        failed: failures.iter().map(|(_, count)| count).sum(),
        first_failure: failures.first().map(|(what, count)| format!("{what}, {count} times")),
        broken_off_at_most: cut.iter().map(|(_, count)| count).sum::<u64>().max(connections as u64),
        seconds: told["summary"]["total"].as_f64().unwrap_or(seconds),
        p50_us: micros("p50"),
        p99_us: micros("p99"),
        max_us: told["summary"]["slowest"].as_f64().unwrap_or(f64::NAN) * 1e6,
        sent_bytes: requests * (small_request().len() as u64 + HEAD_BYTES),
        received_bytes: told["summary"]["totalData"].as_u64().unwrap_or(0),
        ..Measured::default()
    })
}

fn output(command: &mut Command) -> Result<String, Trouble> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| Trouble::at(&name, error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Trouble::said(format!("{name} ended with {}: {}", output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
