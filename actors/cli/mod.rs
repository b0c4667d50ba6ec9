//! The command line: arguments to subcommand to exit code.

mod args;
mod demo;
mod healthcheck;
mod look;
mod mock;
mod package;
mod progress;
mod rebuild;
mod serve;
mod token;
mod validate;
mod verify;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use api_log::config::{Config, Warning};
use args::{Args, Command};

/// The configuration or the command line is wrong; nothing was started.
const USAGE: u8 = 2;

/// Does what the arguments (the program's own name first) say.
/// Exit codes: 0 = done, 1 = it failed while running, 2 = wrong usage or configuration.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::parse(arguments) {
        Ok(args) => args,
        Err(exit) => return exit.show(),
    };
    match args.command.unwrap_or(Command::Serve) {
        Command::Serve => match load(args.config.as_deref()) {
            Ok(config) => serve::run(config, args.config),
            Err(exit) => exit,
        },
        Command::Demo(demo) => demo::run(demo),
        Command::Validate => match load(args.config.as_deref()) {
            Ok(config) => validate::run(&config),
            Err(exit) => exit,
        },
        Command::Rebuild(asked) => match load(args.config.as_deref()) {
            Ok(config) => rebuild::run(&config, asked),
            Err(exit) => exit,
        },
        Command::Mock(mock) => mock::run(mock),
        Command::Tail(asked) => match load(args.config.as_deref()) {
            Ok(config) => look::tail(*asked, &config),
            Err(exit) => exit,
        },
        Command::Show(asked) => match load(args.config.as_deref()) {
            Ok(config) => look::show(asked, &config),
            Err(exit) => exit,
        },
        Command::Replay(asked) => match load(args.config.as_deref()) {
            Ok(config) => look::replay(asked, &config),
            Err(exit) => exit,
        },
        Command::Package(asked) => match load(args.config.as_deref()) {
            Ok(config) => package::run(asked, &config),
            // Every error of it is a 1, as its users know it.
            Err(_) => ExitCode::FAILURE,
        },
        Command::Token(asked) => match load(args.config.as_deref()) {
            Ok(config) => token::run(asked, &config),
            Err(exit) => exit,
        },
        Command::Verify(asked) => match load(args.config.as_deref()) {
            Ok(config) => verify::run(asked, &config),
            Err(exit) => exit,
        },
        Command::Healthcheck(asked) => match &asked.url {
            Some(url) => healthcheck::run(&asked, url),
            None => match load(args.config.as_deref()) {
                Ok(config) => healthcheck::run(&asked, &format!("http://{}/readyz", config.api.listen.from_here())),
                Err(exit) => exit,
            },
        },
    }
}

/// Reads the configuration of file and environment. What is wrong or odd is told on standard error.
fn load(file: Option<&Path>) -> Result<Config, ExitCode> {
    match read(file) {
        Ok((config, warnings)) => {
            for warning in warnings {
                complain(format_args!("warning: {warning}"));
            }
            Ok(config)
        }
        Err(complaints) => {
            complaints.into_iter().for_each(complain);
            Err(ExitCode::from(USAGE))
        }
    }
}

/// The same, with whatever is wrong or odd.
fn read(file: Option<&Path>) -> Result<(Config, Vec<Warning>), Vec<String>> {
    let mut variables = Vec::new();
    let mut complaints = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Ok(name), value) = (name.into_string(), value.into_string()) else { continue };
        if name == look::TOKEN_VARIABLE {
            // A client's, and no setting of the recorder.
            continue;
        }
        match value {
            Ok(value) => variables.push((name, value)),
            Err(_) if name.starts_with("APILOG_") => {
                complaints.push(format!("{name}: not UTF-8 text"));
            }
            Err(_) => {}
        }
    }
    match Config::load(file, variables.into_iter()) {
        Ok(loaded) if complaints.is_empty() => Ok(loaded),
        Ok(_) => Err(complaints),
        Err(more) => {
            complaints.extend(more.to_string().lines().map(str::to_owned));
            Err(complaints)
        }
    }
}

/// One line on standard error, in the program's one style. A closed standard error is no reason to fail.
fn complain(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "api-log: {what}");
}

/// Text on standard output; a reader that has gone is no reason to fail.
fn say(text: impl Display) {
    let _ = write!(std::io::stdout(), "{text}");
}
