//! What plugins did, as members of the line: who acted, who answered in place of the upstream, who failed, which labels.

use super::write;
use crate::plugin::note::{Applied, Did, MOST_FAILURES, MOST_NOTES, Note};

/// Appends `plugins`, `plugin_intercepted`, `plugin_errors` and `tags`; those of them that say something.
pub(super) fn write(line: &mut String, applied: &Applied) {
    let notes = &applied.notes;
    let acted = notes.iter().filter_map(|note| match &note.did {
        Did::Act(action) => Some((note, Some(("action", action.as_str())))),
        Did::Intercept => Some((note, Some(("action", "intercept")))),
        Did::Fail(_) => None,
    });
    list(line, "plugins", acted.take(MOST_NOTES));
    // Who answers AFTER replaces what was there.
    if let Some(note) = notes.iter().rev().find(|note| note.did == Did::Intercept) {
        write::member(line, "plugin_intercepted");
        object(line, note, None);
    }
    let failed = notes.iter().filter_map(|note| match &note.did {
        Did::Fail(message) => Some((note, Some(("msg", message.as_str())))),
        Did::Act(_) | Did::Intercept => None,
    });
    list(line, "plugin_errors", failed.take(MOST_FAILURES));
    if !applied.tags.is_empty() {
        write::strings(line, "tags", &applied.tags);
    }
}

fn list<'n>(line: &mut String, name: &str, notes: impl Iterator<Item = (&'n Note, Option<(&'static str, &'n str)>)>) {
    let mut is_open = false;
    for (note, more) in notes {
        if is_open {
            line.push(',');
        } else {
            write::member(line, name);
            line.push('[');
            is_open = true;
        }
        object(line, note, more);
    }
    if is_open {
        line.push(']');
    }
}

fn object(line: &mut String, note: &Note, more: Option<(&str, &str)>) {
    line.push_str("{\"id\":");
    crate::wire::json::write_string(line, &note.id);
    write::string_member(line, "type", &note.kind);
    write::string_member(line, "hook", note.hook.name());
    if let Some((name, text)) = more {
        write::string_member(line, name, text);
    }
    line.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::note::Hook;

    fn note(id: &str, hook: Hook, did: Did) -> Note {
        Note { kind: "text-replace".into(), id: id.into(), hook, did }
    }

    fn written(applied: &Applied) -> Value {
        let mut line = String::from("{\"x\":0");
        write(&mut line, applied);
        line.push('}');
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn who_acted_answered_and_failed_is_told_apart() {
        let applied = Applied {
            notes: vec![
                note("a", Hook::Before, Did::Act("mutate".into())),
                note("b", Hook::Before, Did::Intercept),
                note("\"c\"", Hook::After, Did::Fail("no \"luck\"".into())),
            ],
            tags: vec!["x".into()],
        };
        let expected = json!({
            "x": 0,
            "plugins": [
                {"id": "a", "type": "text-replace", "hook": "before", "action": "mutate"},
                {"id": "b", "type": "text-replace", "hook": "before", "action": "intercept"},
            ],
            "plugin_intercepted": {"id": "b", "type": "text-replace", "hook": "before"},
            "plugin_errors": [{"id": "\"c\"", "type": "text-replace", "hook": "after", "msg": "no \"luck\""}],
            "tags": ["x"],
        });
        assert_eq!(written(&applied), expected);
        assert_eq!(written(&Applied::default()), json!({"x": 0}));
    }

    #[test]
    fn a_line_tells_of_eight_failures_at_most() {
        let notes = (0..20).map(|_| note("a", Hook::After, Did::Fail("x".into()))).collect();
        let written = written(&Applied { notes, tags: Vec::new() });
        assert_eq!(written["plugin_errors"].as_array().unwrap().len(), 8);
        assert!(written.get("plugins").is_none());
    }
}
