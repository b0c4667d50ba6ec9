//! `api-log` and `api-log serve`: the daemon.

use std::process::ExitCode;
use std::time::Duration;

use api_log::config::{Config, Level};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::runtimes;
use crate::system::{System, SystemError};

/// Runs the proxy and the API until a signal ends them.
pub(crate) fn run(config: Config) -> ExitCode {
    start_log(config.logging.level);
    match runtimes::control().map_err(SystemError::from).and_then(|it| it.block_on(serve(&config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::complain(error);
            ExitCode::FAILURE
        }
    }
}

/// JSON lines on standard error: `time`, `level`, `msg` and fields.
pub(crate) fn start_log(level: Level) {
    let level = match level {
        Level::Debug => tracing::Level::DEBUG,
        Level::Info => tracing::Level::INFO,
        Level::Warn => tracing::Level::WARN,
        Level::Error => tracing::Level::ERROR,
    };
    crate::log::start(level);
}

async fn serve(config: &Config) -> Result<(), SystemError> {
    let mut signals = Signals::new()?;
    let mut system = System::start(config).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        proxy = %system.proxy_address,
        api = %system.api_address,
        upstream = %config.proxy.upstream.text,
        data_dir = %config.storage.data_dir.display(),
        "recording"
    );
    if !system.api_address.ip().is_loopback() {
        tracing::warn!(api = %system.api_address, "the read API can be reached from other machines; only its token protects it");
    }
    let mut snapshot = config.diagnostics.snapshot_interval.map(tokio::time::interval);
    if let Some(interval) = &mut snapshot {
        interval.tick().await;
    }
    let unasked = loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "ending: streams under way may finish; a second signal ends at once");
                break None;
            }
            ended = system.ended() => break Some(ended),
            () = tick(&mut snapshot) => log_counters(&system),
        }
    };
    let drained = tokio::select! {
        drained = system.drain() => drained,
        name = signals.next() => {
            tracing::warn!(signal = name, "ending at once");
            false
        }
    };
    tracing::info!(drained, "ended");
    match unasked {
        Some(ended) => Err(ended.into()),
        None if drained => Ok(()),
        None => Err(SystemError::NotDrained),
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => tokio::time::sleep(Duration::MAX).await,
    }
}

fn log_counters(system: &System) {
    let counters = serde_json::to_string(&system.counters.snapshot()).unwrap_or_default();
    let ledger = serde_json::to_string(&system.counters.ledger.snapshot()).unwrap_or_default();
    tracing::info!(counters, ledger, "counter snapshot");
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Signals> {
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
