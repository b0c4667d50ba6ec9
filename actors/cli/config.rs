//! `api-log config`: the schema of the file, the defaults, and what is in force.

use std::path::Path;

use api_log::config::{self, Explained, Explanation, Key};
use api_log::store::layout::Layout;
use serde::Serialize;

use super::exit::Code;
use super::validate::FileCheck;

/// What is asked of the configuration.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Asked {
    /// Print the JSON Schema of the file, for editors
    Schema,
    /// Print every key with its default, as YAML
    Defaults,
    /// Tell what is in force, and where each value comes from
    Explain(Explain),
    /// Check file and environment, and nothing around them
    Validate(FileCheck),
}

/// Which keys, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "Later wins: default, file, variable, and for some keys what was set at run time, which is\n\
                        read from runtime_overrides.json in the data dir. Secrets are shown as ***.")]
pub(crate) struct Explain {
    /// A key, a section, or a variable, with what it is for; without it: every key
    key: Option<String>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Answers.
pub(crate) fn run(asked: &Asked, file: Option<&Path>) -> Code {
    match asked {
        Asked::Schema => super::say(format_args!("{:#}\n", config::schema())),
        Asked::Defaults => super::say(config::example()),
        Asked::Explain(explain) => return self::explain(explain, file),
        Asked::Validate(check) => return super::validate::file_alone(file, check),
    }
    Code::Done
}

/// A key as `--json` shows it.
#[derive(Serialize)]
struct Shown {
    key: &'static str,
    value: serde_json::Value,
    source: String,
    /// Sources that give it too, in vain.
    instead_of: Vec<String>,
    default: &'static str,
    variable: String,
    reloadable: bool,
    secret: bool,
    allowed: String,
    description: String,
}

fn explain(asked: &Explain, file: Option<&Path>) -> Code {
    let wanted: Option<Vec<&str>> = match asked.key.as_deref().map(|word| (word, config::named(word))) {
        None => None,
        Some((_, Ok(keys))) => Some(keys.iter().map(|key| key.path).collect()),
        Some((word, Err(near))) => {
            let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
            super::complain(format_args!("there is no key {word:?}{hint}; `api-log config explain` names all"));
            return Code::Usage;
        }
    };
    let (sources, config) = match super::read_with_sources(file) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let overrides = Layout::new(&config.storage.data_dir).overrides();
    let mut explanation = Explanation::of(&sources, &config, Some(&overrides));
    for flaw in &explanation.flaws {
        super::complain(format_args!("warning: {flaw}; it is not in force"));
    }
    if let Some(wanted) = &wanted {
        explanation.keys.retain(|it| wanted.contains(&it.key.path));
    }
    if asked.json {
        let keys: Vec<Shown> = explanation.keys.iter().map(shown).collect();
        super::say(format_args!("{:#}\n", serde_json::json!({"keys": keys, "not_in_force": explanation.flaws})));
    } else {
        for (number, explained) in explanation.keys.iter().enumerate() {
            let text = line(explained);
            match wanted {
                None => super::say(text),
                Some(_) => {
                    super::say(format_args!("{}{text}{}", if number > 0 { "\n" } else { "" }, details(explained.key)));
                }
            }
        }
    }
    Code::Done
}

fn shown(explained: &Explained) -> Shown {
    let key = explained.key;
    Shown {
        key: key.path,
        value: explained.json(),
        source: explained.origin.to_string(),
        instead_of: explained.instead_of.iter().map(ToString::to_string).collect(),
        default: key.default,
        variable: key.variable(),
        reloadable: key.rules.reloadable,
        secret: key.rules.secret,
        allowed: key.allowed(),
        description: key.documentation(),
    }
}

/// `key = value  # source`.
fn line(explained: &Explained) -> String {
    let Explained { key, value, origin, instead_of } = explained;
    let value = if value.is_empty() { "\"\"" } else { value };
    let instead: Vec<String> = instead_of.iter().map(ToString::to_string).collect();
    let instead = if instead.is_empty() { String::new() } else { format!(", instead of {}", instead.join(", ")) };
    format!("{} = {value}  # {origin}{instead}\n", key.path)
}

fn details(key: &Key) -> String {
    let default = if key.default.is_empty() { "\"\"" } else { key.default };
    let when = if key.rules.reloadable { "SIGHUP takes it over" } else { "wants a restart" };
    format!(
        "  {}\n  default   {default}\n  allowed   {}\n  variable  {}\n  a change  {when}\n",
        key.documentation(),
        key.allowed(),
        key.variable(),
    )
}
