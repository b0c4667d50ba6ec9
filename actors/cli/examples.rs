//! Examples for each command, for its help and its manual page. A test shows that each is understood.

use clap::Command;

use super::exit::Code;

/// A command line, and what it is good for.
pub(crate) struct Example {
    /// What for, in a few words.
    pub(crate) why: &'static str,
    /// What to type.
    pub(crate) line: &'static str,
}

/// Configuration beside the file, in the root's help.
pub(crate) const ENVIRONMENT: &str = "Each configuration key is a variable too, which wins over the file: proxy.upstream\n\
     is APILOG_PROXY_UPSTREAM. `api-log config explain` tells what is in force, and why.";

/// A command by its words, the program's name left out; `why: line`.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            ("record what goes to a gateway on port 7860", "api-log"),
            ("see it work, with made-up traffic", "api-log demo"),
            ("with a file of settings", "api-log --config /etc/api-log/api-log.yaml"),
        ],
    ),
    (
        "serve",
        &[
            ("with the defaults", "api-log serve"),
            ("with a file of settings", "api-log serve --config /etc/api-log/api-log.yaml"),
            ("in front of another gateway", "APILOG_PROXY_UPSTREAM=https://gateway.example api-log serve"),
        ],
    ),
    (
        "demo",
        &[
            ("five seconds of traffic, then what was recorded", "api-log demo"),
            ("go on serving what was recorded, to look at it", "api-log demo --keep --data-dir ./demo"),
        ],
    ),
    (
        "validate",
        &[
            ("before a start or a reload", "api-log validate --config api-log.yaml"),
            ("where neither gateway nor ports are", "api-log validate --config api-log.yaml --offline"),
            ("in a pipeline: warnings fail too", "api-log validate --strict --json | jq .findings"),
        ],
    ),
    (
        "config schema",
        &[
            ("for editors", "api-log config schema > api-log.schema.json"),
            ("which values a key takes", "api-log config schema | jq .properties.logging.properties.level.enum"),
        ],
    ),
    (
        "config defaults",
        &[
            ("begin a file of your own", "api-log config defaults > api-log.yaml"),
            ("look a key up", "api-log config defaults | grep -B 4 max_body_bytes"),
        ],
    ),
    (
        "config explain",
        &[
            ("everything that is in force", "api-log config explain --config api-log.yaml"),
            ("one key, with what it is for", "api-log config explain proxy.listen"),
            (
                "what is not the default",
                "api-log config explain --json | jq '.keys[] | select(.source != \"default\")'",
            ),
        ],
    ),
    (
        "config validate",
        &[
            ("a file that is meant for another machine", "api-log config validate --config api-log.yaml"),
            ("its mistakes for a program", "api-log config validate --config api-log.yaml --json"),
        ],
    ),
    (
        "rebuild",
        &[
            ("of the configured data dir", "api-log rebuild --config /etc/api-log/api-log.yaml"),
            ("of a copy, and what came of it as JSON", "api-log rebuild --data-dir ./copy --json"),
        ],
    ),
    (
        "tail",
        &[
            ("the last 10 traces, and all that come", "api-log tail"),
            ("what failed in the last hour", "api-log tail --status 4xx --since 1h --no-follow"),
            ("the files of a data dir", "api-log tail --data-dir ./data --no-follow --json | jq .model"),
        ],
    ),
    (
        "show",
        &[
            ("as a conversation", "api-log show 01M84C6AGF"),
            ("the recorded line", "api-log show 01M84C6AGF --raw | jq .req"),
            ("what changed since the request before", "api-log show 01M84C6AGF --diff parent"),
        ],
    ),
    (
        "replay",
        &[("at the pace it came", "api-log replay 01M84C6AGF"), ("at once", "api-log replay 01M84C6AGF --nodelay")],
    ),
    (
        "mock",
        &[
            ("a gateway to try clients against", "api-log mock"),
            ("on a free port, which it tells", "api-log mock --listen 127.0.0.1:0"),
        ],
    ),
    (
        "package",
        &[
            ("a day", "api-log package --from 2026-05-27 --to 2026-05-28 --out day.zip"),
            ("what failed, of one model", "api-log package --model gpt-4o-mini --status 5xx --out failed.zip"),
            ("to another machine", "api-log package --limit 100 --out - | ssh host tee some.zip"),
        ],
    ),
    (
        "verify",
        &[
            ("look only; a recorder may run", "api-log verify --config /etc/api-log/api-log.yaml"),
            ("mend, with the recorder stopped", "api-log verify --repair"),
            ("for a program", "api-log verify --json | jq ."),
        ],
    ),
    (
        "token new",
        &[
            ("for a dashboard", "api-log token new --name grafana --scope viewer"),
            ("for a while", "api-log token new --name audit --scope viewer --expires 90d"),
        ],
    ),
    (
        "token list",
        &[
            ("names, scopes, until when", "api-log token list"),
            ("of another file", "api-log token list --file /etc/api-log/tokens"),
        ],
    ),
    (
        "token revoke",
        &[
            ("from now on", "api-log token revoke grafana"),
            ("in another file", "api-log token revoke grafana --file /etc/api-log/tokens"),
        ],
    ),
    (
        "healthcheck",
        &[
            ("the recorder of this configuration", "api-log healthcheck --config /etc/api-log/api-log.yaml"),
            ("any address, with less patience", "api-log healthcheck --url http://127.0.0.1:7862/healthz --timeout 1s"),
        ],
    ),
    (
        "completions",
        &[
            ("for this shell", "source <(api-log completions bash)"),
            ("for good", "api-log completions zsh > ~/.zfunc/_api-log"),
        ],
    ),
    (
        "man",
        &[
            ("read the page of a command", "api-log man config explain | man -l -"),
            ("install all of them", "api-log man --out /usr/local/share/man/man1"),
        ],
    ),
];

/// The examples of a command, by its words without the program's name.
pub(crate) fn of(path: &str) -> impl Iterator<Item = Example> {
    let found = EXAMPLES.iter().find(|(it, _)| *it == path).map_or(&[][..], |(_, examples)| examples);
    found.iter().map(|&(why, line)| Example { why, line })
}

/// What is said of a command below its options, without examples.
pub(crate) fn notes(command: &Command) -> Option<String> {
    command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string)
}

/// The same command and all below it, with examples in the long help; the root's also tells the exit codes.
pub(crate) fn teach(command: Command) -> Command {
    let notes = notes(&command);
    let root = [ENVIRONMENT.to_owned(), exit_codes()];
    let command = taught(command, "");
    let parts = notes.into_iter().chain(long(&command)).chain(root);
    command.after_long_help(parts.collect::<Vec<_>>().join("\n\n"))
}

fn long(command: &Command) -> Option<String> {
    command.get_after_long_help().map(ToString::to_string)
}

fn taught(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |it| taught(it, path.trim_start()))
    });
    let examples: Vec<String> = of(path).map(|Example { why, line }| format!("  # {why}\n  {line}")).collect();
    if examples.is_empty() {
        return command;
    }
    let examples = format!("Examples:\n{}", examples.join("\n"));
    let notes = if path.is_empty() { None } else { notes(&command) };
    command.after_long_help(notes.into_iter().chain([examples]).collect::<Vec<_>>().join("\n\n"))
}

fn exit_codes() -> String {
    let lines = Code::ALL.map(|code| format!("  {}  {}", code as u8, code.meaning()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::args::Args;
    use super::*;

    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        if !command.has_subcommands() {
            found.push(path.to_owned());
        }
        for below in command.get_subcommands() {
            leaves(below, format!("{path} {}", below.get_name()).trim_start(), found);
        }
    }

    fn every_leaf() -> Vec<String> {
        let mut found = Vec::new();
        leaves(&super::super::args::command(), "", &mut found);
        found
    }

    /// What the shell hands to the program: from its name to whatever ends a simple command.
    fn arguments(line: &str) -> Vec<OsString> {
        let from_name = line.split_whitespace().skip_while(|it| it.trim_start_matches("<(") != "api-log").skip(1);
        let own = from_name.take_while(|it| !["|", ">"].contains(it)).map(|it| it.trim_end_matches(')'));
        std::iter::once("api-log").chain(own).map(OsString::from).collect()
    }

    #[test]
    fn every_command_has_two_to_four_examples_that_are_understood() {
        let leaves = every_leaf();
        for path in leaves.iter().map(String::as_str).chain([""]) {
            let examples: Vec<Example> = of(path).collect();
            assert!((2..=4).contains(&examples.len()), "{path}: {} examples", examples.len());
            for Example { line, .. } in examples {
                let arguments = arguments(line);
                let words: Vec<&str> = arguments.iter().skip(1).map(|it| it.to_str().unwrap()).collect();
                assert!(words.join(" ").starts_with(path), "{path}: {line}");
                assert!(Args::parse(arguments.into_iter()).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn each_help_shows_its_examples_once() {
        for path in every_leaf() {
            let mut command = super::super::args::command();
            let command = path.split_whitespace().fold(&mut command, |it, name| it.find_subcommand_mut(name).unwrap());
            let help = command.render_long_help().to_string();
            let headings = help.lines().filter(|it| it.trim_start().starts_with("Example")).count();
            assert_eq!(headings, 1, "{path}: {help}");
        }
    }

    #[test]
    fn no_example_is_of_a_command_that_is_gone() {
        let leaves = every_leaf();
        for (path, _) in EXAMPLES {
            assert!(path.is_empty() || leaves.iter().any(|it| it == path), "{path}");
        }
    }
}
