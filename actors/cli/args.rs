//! What the command line says.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(
    name = "api-log",
    version,
    about = "tcpdump for LLM gateways: a transparent recording proxy",
    after_help = "Each configuration key is an environment variable too, which wins over the file:\n\
                  proxy.upstream is APILOG_PROXY_UPSTREAM. See config/api-log.example.yaml for all.",
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
    /// Check the configuration and exit
    Validate,
    /// Make the index anew from the files
    Rebuild(Rebuild),
    /// Run a mock gateway that speaks every protocol
    Mock(Mock),
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
}

/// The command line was answered already (help, version) or is wrong.
#[derive(Debug)]
pub(crate) struct Exit(clap::Error);

impl Args {
    /// Reads the arguments, the program's own name first.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Args, Exit> {
        Args::try_parse_from(with_two_dashes(arguments)).map_err(Exit)
    }
}

impl Exit {
    /// Says what is to be said and tells the exit code: 0 for help and version, 2 for wrong usage.
    pub(crate) fn show(&self) -> ExitCode {
        let text = self.0.render().to_string();
        if self.0.use_stderr() {
            super::complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            ExitCode::from(super::USAGE)
        } else {
            super::say(text);
            ExitCode::SUCCESS
        }
    }
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

    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Args, Exit> {
        Args::parse(std::iter::once("api-log").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
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
        assert!(!parse(&["-version"]).unwrap_err().0.use_stderr());
        assert!(!parse(&["-h"]).unwrap_err().0.use_stderr());
        assert!(!parse(&["-V"]).unwrap_err().0.use_stderr());
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

        let Some(Command::Mock(mock)) = parse(&["mock", "--listen", ":0"]).unwrap().command else {
            panic!("not a mock")
        };
        assert_eq!(mock.listen.port, 0);
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
        ] {
            assert!(parse(arguments).unwrap_err().0.use_stderr(), "{arguments:?}");
        }
    }

    #[test]
    fn help_fits_a_screen() {
        let mut command = Args::command();
        command.build();
        let helps = std::iter::once(&mut command.clone())
            .map(|it| it.render_help().to_string())
            .chain(command.get_subcommands_mut().map(|it| it.render_help().to_string()))
            .collect::<Vec<_>>();
        assert_eq!(helps.len(), 6);
        for help in helps {
            assert!(help.lines().count() <= 24, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
        }
    }
}
