//! For what project a request was sent: the title of the instruction file that coding tools put into a request.

use memchr::{memchr2, memmem};

use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::asked::Asked;

/// A project, and what told its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name: at most [`MAX_NAME_CHARS`] characters, never empty.
    pub name: String,
    /// What told it.
    pub evidence: Evidence,
}

/// What told a project's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The heading behind a reference to `AGENTS.md`.
    AgentsMd,
    /// The heading behind a reference to `CLAUDE.md`.
    ClaudeMd,
    /// The heading that the system text begins with: weak.
    FirstHeading,
}

impl Evidence {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Evidence::AgentsMd => "agents-md",
            Evidence::ClaudeMd => "claude-md",
            Evidence::FirstHeading => "first-heading",
        }
    }
}

/// Names are cut behind this many characters.
pub const MAX_NAME_CHARS: usize = 200;

/// How far behind a reference its heading may stand, in bytes.
const WINDOW_BYTES: usize = 400;

/// The instruction files that are looked for.
const FILES: [(&str, Evidence); 4] = [
    ("AGENTS.md", Evidence::AgentsMd),
    ("CLAUDE.md", Evidence::ClaudeMd),
    ("agents.md", Evidence::AgentsMd),
    ("claude.md", Evidence::ClaudeMd),
];

/// How Claude Code marks the file of a user's own habits, whose title is no project's.
const OWN_FILE_MARK: &str = " (user's private global instructions";

/// Headings with which coding tools open their own instructions.
const TOOL_HEADINGS: [&str; 20] = [
    "System",
    "System Prompt",
    "Tone and style",
    "Doing tasks",
    "Task Management",
    "Tool usage policy",
    "Using your tools",
    "Executing actions with care",
    "Environment",
    "claudeMd",
    "important-instruction-reminders",
    "Instructions",
    "Important Instructions",
    "Identity",
    "Personality",
    "Role",
    "Overview",
    "General",
    "How you work",
    "Context",
];

/// The project's name, found in the request's system text.
pub fn project_name(protocol: Protocol, request_json: &str) -> Option<String> {
    project(protocol, request_json).map(|it| it.name)
}

/// The project that a request of Chat, Messages or Responses is about.
///
/// In the system text (also `developer` messages), else in the first user turn, the first reference to an
/// instruction file is looked for: a path that ends in `AGENTS.md` or `CLAUDE.md`, or such a name behind
/// `Contents of`. The first Markdown heading in the 400 bytes that follow names the project. Where the system text
/// has none, it may itself begin with a heading, unless that is one that coding tools use for their own.
pub fn project(protocol: Protocol, request_json: &str) -> Option<Project> {
    project_of(protocol, &Asked::of_text(Some(request_json)))
}

/// As [`project`], of a request that has been read.
pub(crate) fn project_of(protocol: Protocol, asked: &Asked<'_>) -> Option<Project> {
    let (system, user_turn) = match protocol {
        Protocol::Chat => {
            let messages = asked.messages?;
            (spoken_as_system(messages), user_turn(messages))
        }
        Protocol::Messages => (asked.system.map(text_of).unwrap_or_default(), asked.messages.and_then(user_turn)),
        Protocol::Responses => {
            let mut system = asked.instructions.and_then(Json::string).unwrap_or_default().into_owned();
            let input = asked.input.unwrap_or(Json::new("null"));
            add_piece(&mut system, &spoken_as_system(input));
            (system, if input.is_string() { Some(input) } else { user_turn(input) })
        }
        _ => return None,
    };
    let system = system.trim();
    by_reference(system)
        .or_else(|| {
            // A long conversation's text is made only where it can tell something.
            let content = user_turn.filter(|it| memmem::find(it.text().as_bytes(), b".md").is_some())?;
            by_reference(text_of(content).trim())
        })
        .or_else(|| by_opening(system))
}

/// The text of all messages that a system or developer speaks.
fn spoken_as_system(messages: Json<'_>) -> String {
    let mut text = String::new();
    for message in messages.elements() {
        let [role, content] = message.pick(["role", "content"]);
        let is_system = role.and_then(Json::string).is_some_and(|role| role == "system" || role == "developer");
        if let Some(content) = content.filter(|_| is_system) {
            add_piece(&mut text, &text_of(content));
        }
    }
    text
}

/// The content of the first message that the user speaks.
fn user_turn(messages: Json<'_>) -> Option<Json<'_>> {
    let first = messages.elements().find(|message| message.get("role").is_some_and(|role| role.is("user")));
    first?.get("content")
}

/// The text of a content value: a string, or the `text` members of a list's objects with blank lines between.
fn text_of(content: Json<'_>) -> String {
    if let Some(text) = content.string() {
        return text.into_owned();
    }
    let mut text = String::new();
    for part in content.elements() {
        add_piece(&mut text, &part.get("text").and_then(Json::string).unwrap_or_default());
    }
    text
}

fn add_piece(text: &mut String, piece: &str) {
    if !text.is_empty() && !piece.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(piece);
}

/// The heading behind the first reference to an instruction file.
fn by_reference(text: &str) -> Option<Project> {
    let mut from = 0;
    while let Some((end, evidence)) = next_reference(text, from) {
        let rest = &text[end..];
        if rest.starts_with(OWN_FILE_MARK) {
            from = end;
            continue;
        }
        let window = &rest[..rest.floor_char_boundary(WINDOW_BYTES)];
        let name = window.split('\n').find_map(heading).and_then(cleaned)?;
        return Some(Project { name, evidence });
    }
    None
}

/// The end of the first reference at or behind `from`, and what file it is to.
fn next_reference(text: &str, mut from: usize) -> Option<(usize, Evidence)> {
    let is_space = |it: char| it.is_ascii_whitespace();
    // One needle, and each word is looked at once: the time does not grow faster than the text.
    while let Some(found) = memmem::find(&text.as_bytes()[from..], b".md").map(|step| from + step) {
        let start = text[from..found].rfind(is_space).map_or(from, |at| from + at + 1);
        let end = text[found..].find(is_space).map_or(text.len(), |at| found + at);
        let word = &text[start..end];
        let before = text[..start].trim_end_matches(is_space);
        let is_announced = before.len() < start && before.ends_with("Contents of");
        let path_at = if is_announced { Some(0) } else { memchr2(b'/', b'\\', word.as_bytes()) };
        if let Some(reference) = path_at.and_then(|at| file_in(word, at)) {
            return Some((start + reference.0, reference.1));
        }
        from = end;
    }
    None
}

/// The first file's name in `word` at or behind `from` that is a word of its own, as the offset of its end.
fn file_in(word: &str, from: usize) -> Option<(usize, Evidence)> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_');
    let bytes = word.as_bytes();
    let found = FILES.iter().filter_map(|(file, evidence)| {
        let of_its_own = memmem::find_iter(&bytes[from..], file.as_bytes()).map(|at| from + at).find(|&at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            !is_word(before) && !is_word(bytes.get(at + file.len()))
        })?;
        Some((of_its_own + file.len(), *evidence))
    });
    found.min_by_key(|(end, _)| *end)
}

/// The text of a Markdown heading, if the line is one.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let marks = line.len() - text.len();
    ((1..=6).contains(&marks) && text.starts_with([' ', '\t'])).then_some(text)
}

/// The heading that opens the system text, perhaps behind a closing tag.
fn by_opening(text: &str) -> Option<Project> {
    let text = behind_closing_tag(text).trim_start();
    let name = heading(text.lines().next()?).and_then(cleaned)?;
    let is_tools_own = TOOL_HEADINGS.iter().any(|it| it.eq_ignore_ascii_case(&name));
    (!is_tools_own).then_some(Project { name, evidence: Evidence::FirstHeading })
}

/// What follows a closing tag that the text begins with, else the text.
fn behind_closing_tag(text: &str) -> &str {
    let tag = text.strip_prefix("</").and_then(|rest| rest.split_once('>'));
    let is_name = |name: &str| {
        name.starts_with(|it: char| it.is_ascii_alphabetic())
            && name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
    };
    tag.filter(|(name, _)| is_name(name)).map_or(text, |(_, rest)| rest)
}

/// A heading's text without its Markdown and entities; `None` if nothing is left.
fn cleaned(text: &str) -> Option<String> {
    let name = text.trim().replace('`', "");
    let name = name.trim().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let name: String = name.chars().take(MAX_NAME_CHARS).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of_system(text: &str) -> Option<(String, &'static str)> {
        let request = json!({"messages": [{"role": "system", "content": text}]}).to_string();
        project(Protocol::Chat, &request).map(|it| (it.name, it.evidence.name()))
    }

    #[test]
    fn a_project_is_the_title_of_its_instruction_file() {
        for (text, name, evidence) in [
            ("Contents of /w/acme/CLAUDE.md (project):\n\n# acme", "acme", "claude-md"),
            ("</env>\n# `tool-box`", "tool-box", "first-heading"),
            ("see src/AGENTS.md:\n###\t a &lt;b&gt; &amp;amp; `c` \r\nrest", "a <b> &amp; c", "agents-md"),
            ("C:\\w\\agents.md\n# win", "win", "agents-md"),
            ("Contents of\n  CLAUDE.md\n# announced", "announced", "claude-md"),
            ("x/yCLAUDE.md x/CLAUDE.mdx ./CLAUDE.md-2\n# third", "third", "claude-md"),
            ("CLAUDE.md /w/AGENTS.md\n# a\nb/CLAUDE.md\n# b", "a", "agents-md"),
            ("/w/CLAUDE.md: # not\n#neither\n####### nor\n ## nor\n###### this", "this", "claude-md"),
            ("# Tools\n/w/CLAUDE.md without a heading", "Tools", "first-heading"),
            (
                "Contents of /h/CLAUDE.md (user's private global instructions for all projects):\n# me\n\
                 Contents of /w/CLAUDE.md (project instructions):\n# them",
                "them",
                "claude-md",
            ),
            ("  \n# First\n", "First", "first-heading"),
        ] {
            assert_eq!(of_system(text), Some((name.to_owned(), evidence)), "{text}");
        }
    }

    #[test]
    fn mentions_and_tools_own_headings_name_nothing() {
        for text in [
            "Follow CLAUDE.md files.",
            "Follow CLAUDE.md files.\n# Later",
            "Text first\n# Later heading",
            "# Tone and style\nBe brief",
            "# system",
            "</env # x",
            "</1>\n# x",
            "#",
            "# ``",
            "",
        ] {
            assert_eq!(of_system(text), None, "{text}");
        }
        let far = format!("/w/CLAUDE.md{}\n# far", "é".repeat(250));
        assert_eq!(of_system(&far), None, "and the window ends between characters");
    }

    #[test]
    fn every_protocol_has_its_places() {
        let text = "Contents of /w/CLAUDE.md\n# acme";
        let part = json!([7, {"type": "text", "text": text}]);
        for (protocol, request) in [
            (Protocol::Chat, json!({"messages": [{"role": "developer", "content": part}]})),
            (
                Protocol::Chat,
                json!({"messages": [{"role": "system", "content": "# Role"}, {"role": "user", "content": text}]}),
            ),
            (Protocol::Messages, json!({"system": part, "messages": []})),
            (Protocol::Messages, json!({"system": "# Other", "messages": [{"role": "user", "content": part}]})),
            (Protocol::Responses, json!({"instructions": text})),
            (Protocol::Responses, json!({"instructions": "# Other", "input": text})),
            (Protocol::Responses, json!({"input": [{"role": "developer", "content": part}]})),
            (Protocol::Responses, json!({"input": [{"type": "reasoning"}, {"role": "user", "content": part}]})),
        ] {
            assert_eq!(project_name(protocol, &request.to_string()).as_deref(), Some("acme"), "{request}");
        }
        for (protocol, request) in [
            (Protocol::Gemini, json!({"systemInstruction": {"parts": [{"text": text}]}})),
            (Protocol::Chat, json!({"messages": [{"role": "assistant", "content": text}]})),
            (
                Protocol::Chat,
                json!({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": text}]}),
            ),
            (Protocol::Chat, json!({"messages": [{"role": "user", "content": "# heading"}]})),
            (Protocol::Messages, json!([])),
        ] {
            assert_eq!(project_name(protocol, &request.to_string()), None, "{request}");
        }
    }

    #[test]
    fn a_name_is_never_endless() {
        let name = of_system(&format!("# {}", "é".repeat(5000))).unwrap().0;
        assert_eq!(name.chars().count(), MAX_NAME_CHARS);
    }

    proptest! {
        #[test]
        fn odd_text_never_panics(
            text in "([é# \\n/\\\\`<>&]|</|CLAUDE\\.md|agents\\.md|Contents of |\\PC){0,40}"
        ) {
            of_system(&text);
            project(Protocol::Responses, &text);
        }
    }
}
