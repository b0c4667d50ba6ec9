//! `api-log mock`: the mock gateway.

use tokio::signal::unix::{SignalKind, signal};

use super::args::Mock;
use super::exit::Code;
use crate::mock::{Options, start};
use crate::runtimes;

/// Runs the mock gateway until a signal ends it.
pub(crate) fn run(mock: Mock) -> Code {
    let served = runtimes::control().and_then(|runtime| {
        runtime.block_on(async {
            let mut term = signal(SignalKind::terminate())?;
            let gateway = start(&mock.listen, Options::default()).await?;
            super::say(format_args!("mock gateway listening on http://{}\n", gateway.address()));
            tokio::select! {
                _ = term.recv() => {}
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            gateway.shutdown().await;
            Ok(())
        })
    });
    match served {
        Ok(()) => Code::Done,
        Err(error) => {
            super::complain(format_args!("the mock gateway cannot run on {}: {error}", mock.listen));
            Code::Failed
        }
    }
}
