//! `api-log mock`: the mock gateway.

use std::process::ExitCode;

use super::args::Mock;

/// Runs the mock gateway until a signal ends it.
pub(crate) fn run(_mock: Mock) -> ExitCode {
    super::complain("mock: not available in this build");
    ExitCode::FAILURE
}
