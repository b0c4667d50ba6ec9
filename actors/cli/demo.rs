//! `api-log demo`: made-up traffic, and what was recorded of it.
//!
//! [`traffic`] sends, [`dialect`] knows how each protocol asks and answers, [`client`] is one client with its key,
//! [`recorded`] reads back through the read API as any tool would, [`report`] lays it out.

mod client;
mod dialect;
mod recorded;
mod report;
mod traffic;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use api_log::config::{Complaints, Config, Level, ListenAddress, ListenHost};
use api_log::ids::UnixMillis;
use api_log::store::layout::Layout;

use super::args::Demo;
use super::serve::Signals;
use crate::kit::EndedUnasked;
use crate::mock::{self, Mock};
use crate::runtimes;
use crate::system::{StartError, System, SystemError};
use recorded::{ReadBackError, Recorded};
use report::Places;
use traffic::Sent;

/// The pause before each event of the mock's streams, so that the times recorded are worth looking at.
const PACE: Duration = Duration::from_millis(15);

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("demo: cannot make a folder in {folder}: {source}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("demo: {0:?} is not UTF-8 text; give another --data-dir")]
    NotText(PathBuf),
    #[error("demo: {0}")]
    Config(#[from] Complaints),
    #[error("demo: the mock gateway cannot run: {0}")]
    Mock(io::Error),
    #[error("demo: {0}")]
    Start(#[from] StartError),
    #[error("demo: {0}")]
    Io(#[from] io::Error),
    #[error("demo: cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    #[error(transparent)]
    ReadBack(#[from] ReadBackError),
    #[error("demo: not everything went as it should:\n  {}", .0.join("\n  "))]
    Wrong(Vec<String>),
    #[error("demo: interrupted")]
    Interrupted,
    #[error("demo: {0}")]
    Unasked(#[from] EndedUnasked),
    #[error("demo: {0}")]
    NotDrained(SystemError),
}

/// Runs the demonstration. 0 only if every exchange sent was recorded and the ledger balances.
pub(crate) fn run(demo: Demo) -> ExitCode {
    // What the recorder has to say in good order would bury the report.
    crate::log::start(Level::Warn);
    match runtimes::control().map_err(DemoError::from).and_then(|it| it.block_on(show(&demo))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn show(demo: &Demo) -> Result<(), DemoError> {
    let mut signals = Signals::new()?;
    let loopback = ListenAddress { port: 0, host: ListenHost::Ip([127, 0, 0, 1].into()) };
    let gateway = mock::start(&loopback, mock::Options { pause: PACE, ..mock::Options::default() })
        .await
        .map_err(DemoError::Mock)?;
    let data_dir = data_dir(demo.data_dir.as_deref())?;
    let config = config(&gateway, &data_dir)?;
    let mut system = System::start(&config).await?;
    let places = Places {
        gateway: gateway.address(),
        proxy: system.proxy_address,
        api: system.api_address,
        layout: Layout::new(&data_dir),
    };
    super::say(report::opening(&places));

    let shown = tokio::select! {
        shown = send_and_read_back(&places, Duration::from_secs(demo.seconds)) => shown,
        _ = signals.next() => Err(DemoError::Interrupted),
        ended = system.ended() => Err(ended.into()),
    };
    if shown.is_ok() && demo.keep {
        super::say(report::further(&places, true));
        tokio::select! {
            _ = signals.next() => super::say("\nending\n"),
            ended = system.ended() => return Err(ended.into()),
        }
    }
    let drained = system.drain().await;
    gateway.shutdown().await;
    shown?;
    if !drained {
        return Err(DemoError::NotDrained(SystemError::NotDrained));
    }
    if !demo.keep {
        super::say(report::further(&places, false));
    }
    Ok(())
}

/// The demonstration itself; all of its text but the opening and the last lines.
async fn send_and_read_back(places: &Places, time: Duration) -> Result<(), DemoError> {
    let since = UnixMillis::now();
    super::say(format_args!("Sending for {}:\n", report::seconds(time)));
    let sent: Sent = traffic::send(places.proxy, time).await.map_err(DemoError::Client)?;
    super::say(report::sent(&sent));

    let recorded = Recorded::read(places, since, &sent).await?;
    super::say(report::recorded(&recorded, &sent));
    let mut wrong = sent.surprises.clone();
    wrong.extend(recorded.wrong(&sent));
    if wrong.is_empty() { Ok(()) } else { Err(DemoError::Wrong(wrong)) }
}

/// What the recorder is told, in the way that an operator tells it.
fn config(gateway: &Mock, data_dir: &Path) -> Result<Config, DemoError> {
    let data_dir = data_dir.to_str().ok_or_else(|| DemoError::NotText(data_dir.to_owned()))?;
    let variables = [
        ("APILOG_PROXY_UPSTREAM", format!("http://{}", gateway.address())),
        ("APILOG_PROXY_LISTEN", "127.0.0.1:0".to_owned()),
        ("APILOG_API_LISTEN", "127.0.0.1:0".to_owned()),
        ("APILOG_STORAGE_DATA_DIR", data_dir.to_owned()),
        ("APILOG_SHUTDOWN_GRACE", "5s".to_owned()),
        ("APILOG_LOGGING_LEVEL", "warn".to_owned()),
        // It asks nobody outside for anything.
        ("APILOG_VIEWER_ENABLED", "false".to_owned()),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    Ok(Config::load(None, variables)?.0)
}

/// The folder asked for, else a new one among the system's temporary files; absolute, so that the lines printed can be
/// pasted anywhere.
fn data_dir(asked: Option<&Path>) -> Result<PathBuf, DemoError> {
    match asked {
        Some(folder) => {
            std::path::absolute(folder).map_err(|source| DemoError::Folder { folder: folder.to_owned(), source })
        }
        None => {
            let folder = std::env::temp_dir();
            new_folder(&folder, UnixMillis::now()).map_err(|source| DemoError::Folder { folder, source })
        }
    }
}

/// Makes a folder that was not there before, and is its owner's alone: others can write where it stands.
fn new_folder(parent: &Path, now: UnixMillis) -> io::Result<PathBuf> {
    let digits: String = now.to_string().chars().take(19).filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at(8);
    let mut path = parent.join(format!("api-log-demo-{day}-{time}"));
    for number in 2.. {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                path = parent.join(format!("api-log-demo-{day}-{time}-{number}"));
            }
            made => return made.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_never_takes_a_folder_that_is_there() {
        let parent = tempfile::tempdir().unwrap();
        let now: UnixMillis = "2026-05-27T10:23:45.810Z".parse().unwrap();
        let names: Vec<PathBuf> = (0..3).map(|_| new_folder(parent.path(), now).unwrap()).collect();
        let named = |name: &str| parent.path().join(name);
        assert_eq!(
            names,
            [
                named("api-log-demo-20260527-102345"),
                named("api-log-demo-20260527-102345-2"),
                named("api-log-demo-20260527-102345-3")
            ]
        );
        assert!(new_folder(&parent.path().join("missing"), now).is_err());
    }
}
