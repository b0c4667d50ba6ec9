//! `api-log demo`: made-up traffic, and what was recorded of it.

use std::process::ExitCode;

use super::args::Demo;

/// Runs the demonstration.
pub(crate) fn run(_demo: Demo) -> ExitCode {
    super::complain("demo: not available in this build");
    ExitCode::FAILURE
}
