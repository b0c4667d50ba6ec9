//! What the command line says.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use api_log::ids::{Date, UnixMillis};
use api_log::index::filter::StatusFilter;
use clap::{CommandFactory, FromArgMatches, Parser};

use super::completions::Completions;
use super::exit::Code;
use super::look;
use super::man::Manual;
use super::token::Token;
use super::validate::Validate;
use super::{config, examples};

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(
    name = "api-log",
    version,
    about = "tcpdump for LLM gateways: a transparent recording proxy",
    max_term_width = 80,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    /// YAML configuration; without it: defaults and environment
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run the proxy and the API; the same as no command
    Serve,
    /// Record made-up traffic and show what was recorded
    Demo(Demo),
    /// Check the configuration and what it needs here
    Validate(Validate),
    /// Explain the configuration: schema, defaults, what is in force
    #[command(subcommand)]
    Config(config::Asked),
    /// Make the index anew from the files
    Rebuild(Rebuild),
    /// Show traffic as it is recorded, a line for each trace
    Tail(Box<look::args::Tail>),
    /// Show a trace as a conversation
    Show(look::args::Show),
    /// Send a recorded stream again, to standard output
    Replay(look::args::Replay),
    /// Run a mock gateway that speaks every protocol
    Mock(Mock),
    /// Pack recorded traces into a zip archive
    Package(Package),
    /// Check the data dir against itself
    Verify(Verify),
    /// Make, list and revoke tokens of the read API
    #[command(subcommand)]
    Token(Token),
    /// Ask whether a running recorder is ready
    Healthcheck(Healthcheck),
    /// Write what a shell needs to complete commands
    Completions(Completions),
    /// Write the manual pages
    Man(Manual),
}

/// How the index is made anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Beside a running recorder it asks that one to do it, and shows how far it is.\n\
                        It may be interrupted: the old index stays until the new one is whole.")]
pub(crate) struct Rebuild {
    /// Of this data dir, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Say what came of it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the demonstration shall do.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Keep proxy and API running afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to record; without it: a new temporary folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// For how long to send traffic
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
}

/// How the mock gateway runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Mock {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7860")]
    pub(crate) listen: api_log::config::ListenAddress,
    /// Answer from the recordings of this data dir; never asks an upstream
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// So many times as fast as it was recorded, up to 100
    #[arg(long, value_name = "N", default_value = "1", requires = "from")]
    pub(crate) speed: look::args::Speed,
    /// Without pauses
    #[arg(long, requires = "from")]
    pub(crate) nodelay: bool,
}

/// What to pack. All that is given must hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Package {
    /// Where to; `-` is standard output [default: a new file here]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Begun at or after: RFC 3339 or YYYY-MM-DD (UTC)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Moment>,
    /// Begun before
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Moment>,
    /// Of this path, with any query unless one is given
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Of paths that begin so
    #[arg(long, value_name = "TEXT", conflicts_with = "path")]
    pub(crate) path_prefix: Option<String>,
    /// Of this model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Of keys whose hash begins so
    #[arg(long, value_name = "HEX")]
    pub(crate) key_prefix: Option<String>,
    /// With this status: 404, 2xx, 4xx or 5xx
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) status: Option<StatusFilter>,
    /// Of the session with this first trace
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Of this project
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// With this label
    #[arg(long, value_name = "LABEL")]
    pub(crate) tag: Option<String>,
    /// At most so many, the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) limit: u64,
}

/// How to check.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "Exit code 0: nothing is wrong. 1: something is, or the check failed.")]
pub(crate) struct Verify {
    /// Mend what can be mended without losing a byte; needs the recorder stopped
    #[arg(long)]
    pub(crate) repair: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whom to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: it answered with 2xx. 1: it did not, and why stands on standard error.\n\
                        Made for containers, which need no curl then.")]
pub(crate) struct Healthcheck {
    /// This URL, http only [default: /readyz of the configured api.listen]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "4s")]
    pub(crate) timeout: humantime::Duration,
}

/// A time, or the UTC midnight that a day begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) UnixMillis);

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Moment, &'static str> {
        let midnight = || text.parse().ok().map(|Date(days)| UnixMillis(i64::from(days) * 86_400_000));
        text.parse().ok().or_else(midnight).map(Moment).ok_or("not a time such as 2026-05-27T10:23:45Z, nor a day")
    }
}

/// The command line was answered already (help, version) or is wrong.
#[derive(Debug)]
pub(crate) struct Exit {
    said: clap::Error,
    is_of_package: bool,
}

/// All commands, with examples in the long help.
pub(crate) fn command() -> clap::Command {
    examples::teach(Args::command())
}

impl Args {
    /// Reads the arguments, the program's own name first.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Args, Exit> {
        let arguments: Vec<OsString> = with_two_dashes(arguments).collect();
        let is_of_package = names_package(&arguments);
        let parsed = command().try_get_matches_from(arguments);
        parsed
            .and_then(|mut matches| Args::from_arg_matches_mut(&mut matches))
            .map_err(|said| Exit { said, is_of_package })
    }
}

impl Exit {
    /// Says what is to be said and tells the exit code: 0 for help and version, 2 for wrong usage; but 1 for wrong
    /// usage of `package`, as its users know it.
    pub(crate) fn show(&self) -> Code {
        let text = self.said.render().to_string();
        if self.said.use_stderr() {
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            if self.is_of_package {
                super::complain(format_args!("package: {text}"));
                return Code::Failed;
            }
            super::complain(text);
            Code::Usage
        } else {
            super::say(text);
            Code::Done
        }
    }
}

/// Whether the command is `package`: the first argument that is neither a flag nor its value.
fn names_package(arguments: &[OsString]) -> bool {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            rest.next();
        } else if !argument.as_encoded_bytes().starts_with(b"-") {
            return argument == "package";
        }
    }
    false
}

/// `-config FILE`, `-config=FILE` and `-version` mean the same with one dash as with two. There are no bundles of
/// one-letter flags that this could take apart wrongly.
fn with_two_dashes(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut only_values = false;
    arguments.enumerate().map(move |(at, argument)| {
        only_values |= argument == "--";
        if at > 0 && !only_values && is_long_flag_with_one_dash(&argument) {
            let mut longer = OsString::from("-");
            longer.push(argument);
            longer
        } else {
            argument
        }
    })
}

fn is_long_flag_with_one_dash(argument: &OsStr) -> bool {
    matches!(argument.as_encoded_bytes(), [b'-', first, second, ..]
        if first.is_ascii_alphabetic() && (second.is_ascii_alphanumeric() || *second == b'-'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, Exit> {
        Args::parse(std::iter::once("api-log").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        for arguments in [
            &["-config", "a b.yaml"][..],
            &["--config", "a b.yaml"],
            &["-config=a b.yaml"],
            &["--config=a b.yaml"],
            &["validate", "-config", "a b.yaml"],
            &["-config", "a b.yaml", "serve"],
        ] {
            assert_eq!(parse(arguments).unwrap().config.as_deref(), Some(Path::new("a b.yaml")), "{arguments:?}");
        }
        assert!(!parse(&["-version"]).unwrap_err().said.use_stderr());
        assert!(!parse(&["-h"]).unwrap_err().said.use_stderr());
        assert!(!parse(&["-V"]).unwrap_err().said.use_stderr());
    }

    #[test]
    fn no_command_is_the_daemon() {
        assert!(parse(&[]).unwrap().command.is_none());
        assert!(matches!(parse(&["serve"]).unwrap().command, Some(Command::Serve)));
    }

    #[test]
    fn the_commands_take_their_flags() {
        let Some(Command::Demo(demo)) = parse(&["demo", "--keep", "-data-dir", "/d", "--seconds=9"]).unwrap().command
        else {
            panic!("not a demo")
        };
        assert!(demo.keep);
        assert_eq!((demo.data_dir.as_deref(), demo.seconds), (Some(Path::new("/d")), 9));

        let Some(Command::Rebuild(rebuild)) = parse(&["rebuild", "-data-dir", "/d", "--json"]).unwrap().command else {
            panic!("not a rebuild")
        };
        assert_eq!((rebuild.data_dir.as_deref(), rebuild.json), (Some(Path::new("/d")), true));
        let day = ["package", "-from", "2026-05-27", "--to=2026-05-27T01:00:00+01:00", "-out", "-", "-status", "-1"];
        let Some(Command::Package(package)) = parse(&day).unwrap().command else { panic!("not a package") };
        let midnight = Some(Moment(UnixMillis(1_779_840_000_000)));
        assert_eq!((package.from, package.to), (midnight, midnight));
        assert_eq!((package.out.as_deref(), package.limit), (Some(Path::new("-")), 100_000));
        assert_eq!(package.status, Some(StatusFilter::Exactly(-1)));

        let Some(Command::Mock(mock)) = parse(&["mock", "--listen", ":0"]).unwrap().command else {
            panic!("not a mock")
        };
        assert_eq!(mock.listen.port, 0);

        let Some(Command::Healthcheck(asked)) = parse(&["healthcheck", "-timeout", "250ms"]).unwrap().command else {
            panic!("not a healthcheck")
        };
        assert_eq!((asked.url, asked.timeout.as_millis()), (None, 250));
    }

    #[test]
    fn wrong_usage_is_an_error() {
        for arguments in [
            &["bogus"][..],
            &["--bogus"],
            &["-bogus"],
            &["--config"],
            &["demo", "--seconds", "0"],
            &["mock", "--listen", "x"],
            &["package", "-path", "/a", "-path-prefix", "/b"],
            &["package", "-from", "yesterday"],
            &["package", "-status", "3xx"],
        ] {
            assert!(parse(arguments).unwrap_err().said.use_stderr(), "{arguments:?}");
        }
    }

    #[test]
    fn wrong_usage_of_package_is_told_apart() {
        for (arguments, expected) in [
            (&["package", "-bogus"][..], true),
            (&["-config", "x", "package", "-limit", "x"], true),
            (&["-config=x", "package", "-limit", "x"], true),
            (&["-config", "package"], false),
            (&["mock", "--bogus", "package"], false),
        ] {
            let exit = parse(arguments).err();
            assert_eq!(exit.is_some_and(|it| it.is_of_package), expected, "{arguments:?}");
        }
    }

    /// Every command's short and long help.
    fn helps(command: &mut clap::Command, into: &mut Vec<(String, String)>) {
        into.push((command.render_help().to_string(), command.render_long_help().to_string()));
        command.get_subcommands_mut().for_each(|it| helps(it, into));
    }

    #[test]
    fn short_help_fits_a_screen_and_long_help_its_width() {
        let mut command = command();
        command.build();
        let mut all = Vec::new();
        helps(&mut command, &mut all);
        assert!(all.len() > 15);
        for (number, (short, long)) in all.iter().enumerate() {
            // The root's names every command.
            let most = if number == 0 { 28 } else { 24 };
            assert!(short.lines().count() <= most, "{short}");
            assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
            assert!(long.lines().all(|line| line.chars().count() <= 100), "{long}");
        }
    }
}
