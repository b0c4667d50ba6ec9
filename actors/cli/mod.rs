//! The command line: arguments to subcommand to exit code.

mod args;
mod completions;
mod config;
mod demo;
mod examples;
mod exit;
mod healthcheck;
mod look;
mod man;
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

use api_log::config::{Complaint, Config, Origin, Sources, Warning};
use args::{Args, Command};
use exit::Code;

/// Does what the arguments (the program's own name first) say.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let code = match Args::parse(arguments) {
        Ok(args) => obey(args).unwrap_or_else(|code| code),
        Err(exit) => exit.show(),
    };
    code.into()
}

/// # Errors
/// The code of a configuration that cannot be used; what is wrong with it is told.
fn obey(args: Args) -> Result<Code, Code> {
    let file = args.config.as_deref();
    Ok(match args.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(load(file)?, args.config),
        Command::Demo(demo) => demo::run(demo),
        Command::Validate(asked) => validate::run(file, &asked),
        Command::Config(asked) => config::run(&asked, file),
        Command::Rebuild(asked) => rebuild::run(&load(file)?, asked),
        Command::Mock(mock) => mock::run(mock),
        Command::Tail(asked) => look::tail(*asked, &load(file)?),
        Command::Show(asked) => look::show(asked, &load(file)?),
        Command::Replay(asked) => look::replay(asked, &load(file)?),
        // Every error of it is a 1, as its users know it.
        Command::Package(asked) => package::run(asked, &load(file).map_err(|_| Code::Failed)?),
        Command::Token(asked) => token::run(asked, &load(file)?),
        Command::Verify(asked) => verify::run(asked, &load(file)?),
        Command::Healthcheck(asked) => match &asked.url {
            Some(url) => healthcheck::run(&asked, url),
            None => healthcheck::run(&asked, &format!("http://{}/readyz", load(file)?.api.listen.from_here())),
        },
        Command::Completions(asked) => completions::run(&asked),
        Command::Man(asked) => man::run(&asked),
    })
}

/// Reads the configuration of file and environment. What is wrong or odd is told on standard error.
fn load(file: Option<&Path>) -> Result<Config, Code> {
    read_with_sources(file).map(|(_, config)| config)
}

/// The same, with what it was read from.
fn read_with_sources(file: Option<&Path>) -> Result<(Sources, Config), Code> {
    let (sources, complaints) = gather(file);
    match check(sources.clone(), &complaints) {
        Ok((config, warnings)) => {
            for warning in warnings {
                complain(format_args!("warning: {warning}"));
            }
            Ok((sources, config))
        }
        Err(complaints) => {
            complaints.into_iter().for_each(complain);
            Err(Code::Usage)
        }
    }
}

/// The configuration, with whatever is wrong or odd.
fn read(file: Option<&Path>) -> Result<(Config, Vec<Warning>), Vec<String>> {
    let (sources, complaints) = gather(file);
    check(sources, &complaints)
}

fn check(sources: Sources, complaints: &[Complaint]) -> Result<(Config, Vec<Warning>), Vec<String>> {
    let mut told: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    match sources.into_config() {
        Ok(loaded) if told.is_empty() => Ok(loaded),
        Ok(_) => Err(told),
        Err(more) => {
            told.extend(more.to_string().lines().map(str::to_owned));
            Err(told)
        }
    }
}

/// What file and environment say, not checked yet; and the variables of ours that are no text.
fn gather(file: Option<&Path>) -> (Sources, Vec<Complaint>) {
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
                let text = "not UTF-8 text".to_owned();
                complaints.push(Complaint { origin: Origin::Variable(name), key: None, text });
            }
            Err(_) => {}
        }
    }
    let mut sources = Sources::new();
    if let Some(file) = file {
        sources.add_file(file);
    }
    sources.add_environment(variables.into_iter());
    (sources, complaints)
}

/// One line on standard error, in the program's one style. A closed standard error is no reason to fail.
fn complain(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "api-log: {what}");
}

/// Text on standard output; a reader that has gone is no reason to fail.
fn say(text: impl Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Standard output could not be written to. A reader that has gone had all it wanted.
fn out_failed(error: &std::io::Error) -> Code {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Code::Done;
    }
    complain(format_args!("cannot write to standard output: {error}"));
    Code::Failed
}
