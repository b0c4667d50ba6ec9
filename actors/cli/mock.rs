//! `api-log mock`: the mock gateway, whose answers are made up or recorded.

use std::io;
use std::sync::Arc;

use api_log::config::ListenAddress;
use api_log::recordings::Recordings;
use api_log::store::layout::Layout;
use tokio::signal::unix::{SignalKind, signal};

use super::args::Mock;
use super::exit::Code;
use crate::mock::{Options, Recorded, start};
use crate::runtimes;

/// Why there is no mock gateway.
#[derive(Debug, thiserror::Error)]
enum MockError {
    #[error("the mock gateway cannot run on {listen}: {source}")]
    Run { listen: ListenAddress, source: io::Error },
    #[error("the mock gateway cannot read {path}: {source}; give a data dir of api-log with --from")]
    Read { path: std::path::PathBuf, source: io::Error },
    #[error("the mock gateway has nothing to answer with: {0} holds no recorded answers")]
    Nothing(std::path::PathBuf),
}

/// Runs the mock gateway until a signal ends it.
pub(crate) fn run(mock: Mock) -> Code {
    match serve(mock) {
        Ok(()) => Code::Done,
        Err(error) => {
            super::complain(error);
            Code::Failed
        }
    }
}

fn serve(mock: Mock) -> Result<(), MockError> {
    let recorded = recorded(&mock)?;
    let options = Options { recorded, ..Options::default() };
    let served = runtimes::control().and_then(|runtime| {
        runtime.block_on(async {
            let mut term = signal(SignalKind::terminate())?;
            let gateway = start(&mock.listen, options).await?;
            super::say(format_args!("mock gateway listening on http://{}\n", gateway.address()));
            tokio::select! {
                _ = term.recv() => {}
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            gateway.shutdown().await;
            Ok(())
        })
    });
    served.map_err(|source| MockError::Run { listen: mock.listen, source })
}

/// The recordings that it answers from, if it shall.
fn recorded(mock: &Mock) -> Result<Option<Arc<Recorded>>, MockError> {
    let Some(path) = &mock.from else { return Ok(None) };
    // A data dir without days is one; what is not there, or no folder, is none.
    let recordings = std::fs::read_dir(path).and_then(|_| Recordings::load(Layout::new(path)));
    let recordings = recordings.map_err(|source| MockError::Read { path: path.clone(), source })?;
    if recordings.is_empty() {
        return Err(MockError::Nothing(path.clone()));
    }
    let left_out = match recordings.left_out() {
        0 => String::new(),
        count => format!("; {count} left out: sockets, and what has no answer"),
    };
    super::complain(format_args!("{} recorded exchanges answer{left_out}", recordings.len()));
    Ok(Some(Arc::new(Recorded::new(recordings, (!mock.nodelay).then_some(mock.speed.0)))))
}
