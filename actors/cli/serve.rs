//! `api-log` and `api-log serve`: the daemon.

use std::process::ExitCode;

use api_log::config::Config;

/// Runs the proxy and the API until a signal ends them.
pub(crate) fn run(_config: Config) -> ExitCode {
    super::complain("serve: not available in this build");
    ExitCode::FAILURE
}
