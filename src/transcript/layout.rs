//! A transcript as lines to be shown.

use std::fmt::Write;

use super::{Media, Message, Part, Transcript, timing};
use crate::jsonl::line::{Kept, KeptBody, KeptEvent};
use crate::trace::Row;
use crate::wire::websocket::Side;

/// What a line is, for whoever gives it a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text as it was said.
    Plain,
    /// The trace's own head.
    Title,
    /// Who speaks.
    Heading,
    /// What may be passed over.
    Dim,
    /// Thoughts.
    Reasoning,
    /// Tools: calls and results.
    Tool,
    /// Attachments.
    Media,
    /// What went wrong.
    Bad,
    /// What went well.
    Good,
}

/// One line. Without line breaks or any other control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it is.
    pub ink: Ink,
    /// Its text.
    pub text: String,
}

/// Lines being gathered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(pub Vec<Shown>);

impl Page {
    /// Adds a line.
    pub fn line(&mut self, ink: Ink, text: impl AsRef<str>) {
        self.0.push(Shown { ink, text: harmless(text.as_ref()) });
    }

    /// Adds a text of any number of lines, indented.
    pub fn text(&mut self, ink: Ink, indent: usize, text: &str) {
        for line in text.trim_end_matches(['\n', '\r']).split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            self.line(ink, format!("{:indent$}{line}", ""));
        }
    }

    /// Adds an empty line.
    pub fn gap(&mut self) {
        self.line(Ink::Plain, "");
    }

    /// The texts, each with its line break.
    pub fn plain(&self) -> String {
        self.0.iter().map(|it| format!("{}\n", it.text.trim_end())).collect()
    }
}

/// The text with every control character shown as its picture, and tabs as they are: recorded texts must not be able
/// to move a cursor, set a title, or paste.
pub fn harmless(text: &str) -> String {
    let picture = |it: char| match it {
        '\t' => it,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(it)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        // C1 controls, and marks that turn the direction of what follows.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(picture).collect()
}

/// How wide the bar of a stream is.
const BAR_COLUMNS: usize = 60;

/// The trace's head: what it was, whose, how it ended, what it cost.
pub fn head(row: &Row) -> Page {
    let mut page = Page::default();
    let duration_ms = row.ts_end.0.saturating_sub(row.ts_start.0);
    let status = if row.status < 0 { "no answer".to_owned() } else { row.status.to_string() };
    let is_good = (200..400).contains(&row.status) && !row.disconnected;
    page.line(Ink::Title, format!("{}  {}", row.id, row.ts_start));
    page.line(Ink::Title, format!("{} {}", row.method, row.path));
    let ink = if is_good { Ink::Good } else { Ink::Bad };
    let mut ended = format!("{status} {} after {}", row.end.name(), milliseconds(duration_ms.unsigned_abs()));
    let times = [("head", row.ttfb_ms), ("first event", row.first_event_ms)];
    for (name, at_ms) in times.into_iter().filter_map(|(name, at)| Some((name, at?))) {
        let _ = write!(ended, ", {name} after {}", milliseconds(at_ms));
    }
    page.line(ink, ended);
    let mut whose = format!("key {} client {}", row.key, row.client);
    for word in [&row.client_kind, &row.client_version].into_iter().flatten() {
        let _ = write!(whose, " {word}");
    }
    if let Some(project) = &row.client_project {
        let _ = write!(whose, " project {project}");
    }
    page.line(Ink::Dim, whose);
    let mut cost = row.model.as_ref().map_or_else(String::new, |model| format!("model {model}  "));
    cost += &tokens(row);
    if let Some(reason) = &row.finish_reason {
        let _ = write!(cost, "  finish {reason}");
    }
    if !cost.trim().is_empty() {
        page.line(Ink::Dim, cost.trim());
    }
    if let Some(error) = &row.error_type {
        page.line(Ink::Bad, format!("error {error}"));
    }
    let cut = [("request", row.truncated_req), ("answer", row.truncated_resp)];
    for (side, _) in cut.iter().filter(|(_, is_cut)| *is_cut) {
        page.line(Ink::Bad, format!("the {side} is longer than what is recorded of it"));
    }
    page
}

/// What of the bodies cannot be shown, and why.
pub fn unshown(kept: &Kept) -> Page {
    let mut page = Page::default();
    for (name, side) in [("request", &kept.request), ("answer", &kept.response)] {
        if let KeptBody::Raw(bytes) = &side.body {
            let kind = side.headers.get_str("content-type").map_or_else(String::new, |kind| format!(" of {kind}"));
            page.line(
                Ink::Dim,
                format!("the {name} is {} bytes{kind}, not to be shown as a conversation", bytes.len()),
            );
        }
        if side.is_redacted {
            page.line(Ink::Dim, format!("values of the {name} were redacted when it was recorded"));
        }
    }
    if let Some(why) = &kept.bodies_dropped {
        page.line(Ink::Bad, format!("the bodies were not recorded: {why}"));
    }
    page
}

/// `tokens 14 in (1200 cached, 30 written) 7 out (3 reasoning)`.
fn tokens(row: &Row) -> String {
    let within = |pairs: [(Option<i64>, &str); 2]| {
        let told: Vec<String> =
            pairs.iter().filter_map(|(count, word)| Some(format!("{} {word}", (*count)?))).collect();
        if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
    };
    let usage = &row.usage;
    let mut text = String::new();
    if let Some(prompt) = usage.prompt {
        let _ = write!(text, "{prompt} in{}", within([(usage.cached, "cached"), (usage.cache_creation, "written")]));
    }
    if let Some(completion) = usage.completion {
        let _ = write!(text, " {completion} out{}", within([(usage.reasoning, "reasoning"), (None, "")]));
    }
    if text.is_empty() { text } else { format!("tokens {}", text.trim()) }
}

/// The conversation: settings, tools, what was said by whom.
pub fn conversation(transcript: &Transcript) -> Page {
    let mut page = Page::default();
    if !transcript.tools.is_empty() {
        page.line(Ink::Dim, format!("tools {}", transcript.tools.join(", ")));
    }
    let settings: Vec<String> =
        transcript.settings.iter().map(|(name, value)| format!("{name}={}", shortened(value, 60))).collect();
    if !settings.is_empty() {
        page.line(Ink::Dim, format!("settings {}", settings.join(" ")));
    }
    for message in transcript.request.iter() {
        say(&mut page, message, "");
    }
    for message in &transcript.answer {
        say(&mut page, message, "▶ ");
    }
    page
}

/// A message, its heading behind a mark.
fn say(page: &mut Page, message: &Message, mark: &str) {
    page.gap();
    let note = message.note.as_ref().map_or_else(String::new, |note| format!("  ({note})"));
    let ink = if message.role == "error" { Ink::Bad } else { Ink::Heading };
    page.line(ink, format!("{mark}{}{note}", message.role));
    parts(page, &message.parts, 2);
}

/// Parts of a message, indented.
fn parts(page: &mut Page, parts: &[Part], indent: usize) {
    for part in parts {
        match part {
            Part::Text(text) => page.text(Ink::Plain, indent, text),
            Part::Reasoning(text) => {
                page.text(Ink::Dim, indent, "reasoning");
                page.text(Ink::Reasoning, indent + 2, text);
            }
            Part::Call { name, id, arguments } => {
                page.text(Ink::Tool, indent, &format!("call {name}{}", suffix(id)));
                page.text(Ink::Plain, indent + 2, arguments);
            }
            Part::Result { of, is_error, parts: given } => {
                let ink = if *is_error { Ink::Bad } else { Ink::Tool };
                let failed = if *is_error { " failed" } else { "" };
                page.text(ink, indent, &format!("result{}{failed}", suffix(of)));
                self::parts(page, given, indent + 2);
            }
            Part::Media(media) => page.text(Ink::Media, indent, &named(media)),
            Part::Other { kind, text } if text.contains('\n') => {
                page.text(Ink::Dim, indent, kind);
                page.text(Ink::Plain, indent + 2, text);
            }
            Part::Other { kind, text } => page.text(Ink::Dim, indent, format!("{kind} {text}").trim_end()),
        }
    }
}

fn suffix(id: &str) -> String {
    if id.is_empty() { String::new() } else { format!("  [{id}]") }
}

fn named(media: &Media) -> String {
    let Media { name, mime, bytes } = media;
    let mime = if mime.is_empty() { String::new() } else { format!(" {mime}") };
    let size = bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
    format!("[{name}{mime}{size}]")
}

/// How the stream came, if the answer is one.
pub fn stream(events: &[KeptEvent], duration_ms: u64) -> Page {
    let mut page = Page::default();
    let times: Vec<u64> = events.iter().filter(|it| it.side == Side::Server).filter_map(|it| it.at_ms).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return page };
    page.gap();
    let mut told = format!(
        "stream of {} {} in {}, the first after {}",
        times.len(),
        if times.len() == 1 { "event" } else { "events" },
        milliseconds(last.saturating_sub(*first)),
        milliseconds(*first)
    );
    if let Some((gap, after)) = timing::longest_gap(&times) {
        let _ = write!(told, "; longest silence {} after {}", milliseconds(gap), milliseconds(after));
    }
    page.line(Ink::Dim, told);
    page.line(Ink::Dim, format!("|{}| {}", timing::bar(&times, duration_ms, BAR_COLUMNS), milliseconds(duration_ms)));
    page
}

/// Each event with its time.
pub fn events(events: &[KeptEvent]) -> Page {
    let mut page = Page::default();
    for event in events {
        let at = event.at_ms.map_or_else(|| "?".to_owned(), milliseconds);
        let from = if event.side == Side::Client { " >" } else { "" };
        let name = if event.name.is_empty() { String::new() } else { format!(" {}", event.name) };
        let data = event.data.as_deref().unwrap_or("null");
        let fields: String = event.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        page.line(Ink::Plain, format!("{at:>9}{from}{name}{fields} {data}"));
    }
    page
}

/// `993 ms`, `12.3 s`, `5 min 7 s`.
pub fn milliseconds(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// The beginning of a text that is longer than so many characters.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_recorded_text_steers_the_terminal() {
        let mut page = Page::default();
        page.text(Ink::Plain, 1, "a\u{1b}]0;title\u{7}\r\nb\r\u{9b}31m\tc\u{202e}");
        assert_eq!(page.plain(), " a␛]0;title␇\n b␍\u{fffd}31m\tc\u{fffd}\n");
        assert!(page.0.iter().all(|it| !it.text.contains(|c: char| c.is_control() && c != '\t')));
    }

    #[test]
    fn times_and_texts_are_short() {
        let told: Vec<String> = [0, 9_999, 10_000, 119_999, 307_000].map(milliseconds).into();
        assert_eq!(told, ["0 ms", "9999 ms", "10.0 s", "119.9 s", "5 min 7 s"]);
        assert_eq!((shortened("äöü", 2).as_str(), shortened("äö", 2).as_str()), ("äö…", "äö"));
    }
}
