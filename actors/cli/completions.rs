//! `api-log completions`: what a shell needs to complete the command line.

use std::io::Write;

use clap_complete::Shell;

use super::exit::Code;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Writes them to standard output.
pub(crate) fn run(asked: &Completions) -> Code {
    let mut text = Vec::new();
    clap_complete::generate(asked.shell, &mut super::args::command(), "api-log", &mut text);
    match std::io::stdout().write_all(&text) {
        Ok(()) => Code::Done,
        Err(error) => super::out_failed(&error),
    }
}
