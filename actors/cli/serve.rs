//! `api-log` and `api-log serve`: the daemon.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use api_log::config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::exit::Code;
use crate::kit::EndedUnasked;
use crate::system::{System, SystemError};
use crate::{notify, runtimes};

/// How long to wait for a sign that the system gets on, before the service manager is told.
const SIGN_WITHIN: Duration = Duration::from_secs(1);
/// How often the service manager's one line is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Runs the proxy and the API until a signal ends them. SIGHUP reads the file again.
pub(crate) fn run(config: Config, file: Option<PathBuf>) -> Code {
    crate::log::start(config.logging.level);
    match runtimes::control().map_err(SystemError::from).and_then(|it| it.block_on(serve(config, file.as_deref()))) {
        Ok(()) => Code::Done,
        Err(error) => {
            super::complain(error);
            Code::Failed
        }
    }
}

async fn serve(mut config: Config, file: Option<&Path>) -> Result<(), SystemError> {
    let mut signals = Signals::new()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut system = System::start(&config).await?;
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
    notify::tell(&format!("READY=1\n{}", status(&system)));
    let unasked = watch_over(&mut system, &mut config, file, &mut signals, &mut hang_up).await;
    notify::tell("STOPPING=1\nSTATUS=ending");
    let drained = end(system, &mut signals).await;
    tracing::info!(drained, "ended");
    match unasked {
        Some(ended) => Err(ended.into()),
        None if drained => Ok(()),
        None => Err(SystemError::NotDrained),
    }
}

/// Until a signal asks for the end, or the system ends by itself: then with the reason.
async fn watch_over(
    system: &mut System,
    config: &mut Config,
    file: Option<&Path>,
    signals: &mut Signals,
    hang_up: &mut Signal,
) -> Option<EndedUnasked> {
    let mut snapshot = every(config.diagnostics.snapshot_interval);
    let mut status_due = every(Some(STATUS_EVERY));
    let mut sign_due = every(notify::watchdog().map(|it| it / 2));
    loop {
        tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "ending: streams under way may finish; a second signal hurries");
                return None;
            }
            ended = system.ended() => return Some(ended),
            Some(()) = hang_up.recv() => {
                notify::reloading();
                system.reload(config, read_again(file));
                snapshot = every(config.diagnostics.snapshot_interval);
                notify::tell(&format!("READY=1\n{}", status(system)));
            }
            () = tick(&mut sign_due) => {
                if system.gets_on(SIGN_WITHIN).await {
                    notify::tell("WATCHDOG=1");
                } else {
                    tracing::error!("the service manager gets no sign of life: something does not get on");
                }
            }
            () = tick(&mut status_due) => notify::tell(&status(system)),
            () = tick(&mut snapshot) => log_counters(system),
        }
    }
}

/// Ends it in order; a second signal hurries, a third is the end. Whether everything was finished.
async fn end(system: System, signals: &mut Signals) -> bool {
    let (hurry, hurried) = watch::channel(false);
    let mut draining = pin!(system.drain_unless_hurried(hurried));
    loop {
        tokio::select! {
            drained = &mut draining => return drained,
            name = signals.next() => {
                if hurry.send_replace(true) {
                    tracing::error!(signal = name, "ending at once: what is not written is lost");
                    std::process::exit(1);
                }
                tracing::warn!(signal = name, "hurrying: streams are cut, what was captured is written; a third signal ends at once");
            }
        }
    }
}

/// The configuration as file and environment have it now. What is odd is told, and changes nothing.
fn read_again(file: Option<&Path>) -> Result<Config, Vec<String>> {
    let (config, warnings) = super::read(file)?;
    for warning in warnings {
        tracing::warn!(%warning, "odd in the configuration");
    }
    Ok(config)
}

/// The service manager's one line.
fn status(system: &System) -> String {
    let ledger = system.counters.ledger.snapshot();
    format!(
        "STATUS=recording: {} recorded, {} under way, {} dropped",
        ledger.recorded,
        ledger.in_flight,
        ledger.dropped.total()
    )
}

/// Ticks so often, for the first time when that time is over.
fn every(interval: Option<Duration>) -> Option<Interval> {
    interval.map(|it| {
        let mut ticks = interval_at(Instant::now() + it, it);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    })
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn log_counters(system: &System) {
    let counters = serde_json::to_string(&system.counters.snapshot()).unwrap_or_default();
    let ledger = serde_json::to_string(&system.counters.ledger.snapshot()).unwrap_or_default();
    tracing::info!(counters, ledger, "counter snapshot");
}

/// SIGTERM and SIGINT: they ask for the end.
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
