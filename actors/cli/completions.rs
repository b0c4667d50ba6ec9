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
    if asked.shell == Shell::Bash {
        // clap_complete spells the program's own dash in two ways, so that no name of a subcommand is found again.
        text = String::from_utf8_lossy(&text).replace("api__subcmd__log", "api__log").into_bytes();
    }
    match std::io::stdout().write_all(&text) {
        Ok(()) => Code::Done,
        Err(error) => super::out_failed(&error),
    }
}
