//! The configuration file that documents every key and states its default.

use std::fmt::Write as _;

use super::keys::{SECTIONS, keys};
use super::table::{Key, variable_of};

/// Columns of a line, comment sign included.
const WIDTH: usize = 100;

const HEAD: &str = "\
# Every key of api-log, with its default. All are optional; unknown keys are refused.
#
# Later wins: default, this file (api-log --config FILE), environment variable (named above each key).
# Durations: 10m, 1h 30m, 250ms, or whole seconds. Sizes: 500MB, 5GiB, or bytes.
# Lists in a variable stand between commas. `api-log validate --config FILE` checks a file.
# SIGHUP reads this file again and changes the keys that say so; the others want a restart.
";

/// The whole file, made from the table of keys.
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    for &(section, doc) in SECTIONS {
        text.push('\n');
        comment(&mut text, "", &doc.iter().map(|it| it.trim()).collect::<Vec<_>>().join(" "));
        text.push_str(section);
        text.push_str(":\n");
        let mut of_section = keys().iter().filter(|it| it.path.split('.').next() == Some(section)).peekable();
        while let Some(key) = of_section.next() {
            entry(&mut text, key);
            if of_section.peek().is_some() {
                text.push('\n');
            }
        }
    }
    text
}

fn entry(text: &mut String, key: &Key) {
    // The section's line stands already; what lies between it and the key's own name is one more level each.
    let mut names: Vec<&str> = key.path.split('.').skip(1).collect();
    let name = names.pop().unwrap_or_default();
    let mut indent = "  ".to_owned();
    for between in names {
        let _ = writeln!(text, "{indent}{between}:");
        indent.push_str("  ");
    }
    comment(text, &indent, &key.documentation());
    let reloadable = if key.rules.reloadable { " SIGHUP changes it." } else { "" };
    comment(text, &indent, &format!("Allowed: {}.{reloadable}", key.allowed()));
    let variables: Vec<_> = key.spellings().map(|it| variable_of(&it)).collect();
    let also = if variables.len() > 1 { format!(" (or {name}_seconds here)") } else { String::new() };
    comment(text, &indent, &format!("{}{also}", variables.join(" or ")));
    if key.is_list && !key.default.is_empty() {
        let _ = writeln!(text, "{indent}{name}:");
        for item in key.default.split(',') {
            let _ = writeln!(text, "{indent}  - \"{item}\"");
        }
    } else {
        let _ = writeln!(text, "{indent}{name}: {}", value(key));
    }
}

fn comment(text: &mut String, indent: &str, sentences: &str) {
    let mut line = format!("{indent}#");
    for word in sentences.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

fn value(key: &Key) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_./-".contains(&it);
    match key.default {
        "" if key.is_list => "[]".to_owned(),
        "" => "\"\"".to_owned(),
        default if key.has_items => default.to_owned(),
        default if default.bytes().all(plain) => default.to_owned(),
        default => format!("\"{default}\""),
    }
}
