//! Draws what the model knows into a buffer.

use api_log::index::query::TraceRow;
use api_log::transcript::Ink;
use api_log::transcript::layout::harmless;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::super::row_line::bytes;
use super::health::Health;
use super::model::{Inflight, Model, Pane, View};

/// Columns of the pane of actors, and the width from which on it is shown.
const HEALTH_COLUMNS: u16 = 40;
const WIDE: u16 = 110;

const HELP: &[&str] = &[
    "j k, arrows, PgUp PgDn, g G   move",
    "Tab          other pane",
    "Enter        open a trace as a conversation, or follow what is under way",
    "f            follow the selected stream; in it: the end again",
    "e            in a stream: events as they are, or what they say",
    "c            copy a curl command of the trace (clipboard, and a file)",
    "/            filter: words, and the API's filters as name=value,",
    "             such as status=4xx model=gpt-4o; empty for none",
    "p            pause the lists, go on",
    "Esc, q       back, and out; Ctrl-C out",
];

/// Draws all of it.
pub(super) fn draw(model: &mut Model, area: Rect, buffer: &mut Buffer, is_coloured: bool) {
    if area.height < 3 || area.width < 4 {
        return;
    }
    let mut pen = Pen { buffer, is_coloured };
    let [top, middle, bottom] = [
        Rect { height: 2, ..area },
        Rect { y: area.y + 2, height: area.height - 3, ..area },
        Rect { y: area.bottom() - 1, height: 1, ..area },
    ];
    head(model, top, &mut pen);
    let mut view = std::mem::take(&mut model.view);
    match &mut view {
        View::Lists => lists(model, middle, &mut pen),
        View::Help => {
            pen.rule(middle, "keys", true);
            for (row, line) in HELP.iter().enumerate() {
                pen.line(below(middle), row, line, Ink::Plain, false);
            }
        }
        View::Reading(reading) => {
            pen.rule(middle, &reading.title, true);
            let place = below(middle);
            let (lines, scroll) = reading.lines(usize::from(place.width));
            let first = scroll.first_of(lines.len(), usize::from(place.height));
            pen.text(place, lines, first);
        }
        View::Stream(stream) => {
            let state = if stream.ended.is_some() { "ended" } else { "following" };
            pen.rule(middle, &format!("{state} {}: {} events", stream.title, stream.heard), true);
            let place = below(middle);
            let (lines, scroll) = stream.lines(usize::from(place.width));
            let first = scroll.first_of(lines.len(), usize::from(place.height));
            pen.text(place, lines, first);
        }
    }
    model.view = view;
    foot(model, bottom, &mut pen);
}

fn below(area: Rect) -> Rect {
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

fn head(model: &Model, area: Rect, pen: &mut Pen<'_>) {
    let link = match (&model.lost, model.is_connected) {
        (Some(why), _) => format!("NOT CONNECTED, trying again: {why}"),
        (None, true) => "connected".to_owned(),
        (None, false) => "connecting".to_owned(),
    };
    let mut title = format!("api-log {}  {link}", model.url);
    if model.is_paused {
        title += &format!("  PAUSED, {} traces wait", model.held.len());
    }
    if !model.sieve.is_empty() {
        title += &format!("  filter {}", model.sieve.text);
    }
    pen.line(area, 0, &title, if model.lost.is_some() { Ink::Bad } else { Ink::Title }, false);
    let Some(health) = &model.health else { return };
    let ledger = &health.ledger;
    let rate = model.rate.per_second().map_or_else(|| "-".to_owned(), |it| format!("{it:.1}"));
    let mut told =
        format!("{rate}/s  {} under way  {} recorded  {} dropped", ledger.in_flight, ledger.recorded, ledger.lost());
    let drops = ledger.dropped.iter().filter(|(_, count)| **count > 0);
    told += &drops.map(|(cause, count)| format!(" {cause}={count}")).collect::<String>();
    for it in &health.degraded {
        told += &format!("  DEGRADED {}: {}", it.child, it.reason);
    }
    told += &format!("  {} accepted  {} filtered", ledger.accepted, ledger.filtered);
    let is_bad = ledger.lost() > 0 || !health.degraded.is_empty();
    pen.line(area, 1, &told, if is_bad { Ink::Bad } else { Ink::Good }, false);
}

fn foot(model: &Model, area: Rect, pen: &mut Pen<'_>) {
    let (text, ink) = match (&model.notice, &model.typing) {
        (Some(notice), _) => (notice.clone(), Ink::Heading),
        (None, Some(typed)) => (format!("filter: {typed}▏"), Ink::Heading),
        (None, None) => {
            let keys = match model.view {
                View::Lists => "q quit  ? help  / filter  Tab pane  Enter open  f follow  c curl  p pause",
                View::Stream(_) => "q back  ? help  e events  f end  Enter trace  c curl",
                View::Reading(_) => "q back  ? help  j k move  c curl",
                View::Help => "any key: back",
            };
            (keys.to_owned(), Ink::Dim)
        }
    };
    pen.line(area, 0, &text, ink, false);
}

fn lists(model: &Model, area: Rect, pen: &mut Pen<'_>) {
    let mut area = area;
    if area.width >= WIDE {
        area.width -= HEALTH_COLUMNS + 1;
        let beside = Rect { x: area.right() + 1, width: HEALTH_COLUMNS, ..area };
        actors(model.health.as_ref(), beside, pen);
    }
    let upper = (area.height * 2 / 5).max(2).min(area.height);
    let above = Rect { height: upper, ..area };
    let under = Rect { y: area.y + upper, height: area.height - upper, ..area };
    let title = format!("under way: {}", model.total);
    pen.rule(above, &title, model.pane == Pane::Inflight);
    let rows = model.inflight().map(|it| (inflight_line(it), Ink::Plain));
    pen.list(below(above), rows, model.place(Pane::Inflight), model.pane == Pane::Inflight);
    if under.height == 0 {
        return;
    }
    pen.rule(under, "traces", model.pane == Pane::Traces);
    let rows = model.traces().map(|it| (trace_line(it), ink_of(it)));
    pen.list(below(under), rows, model.place(Pane::Traces), model.pane == Pane::Traces);
}

fn inflight_line(it: &Inflight) -> String {
    let status = it.status.map_or_else(|| "---".to_owned(), |it| it.to_string());
    let events = it.events.map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!(
        "{status} {:>6} {events:>5} events {:>7} > {:<7} {} {} {}",
        format!("{}.{}s", it.age_ms / 1000, it.age_ms % 1000 / 100),
        bytes(Some(it.req_bytes)),
        bytes(Some(it.resp_bytes)),
        it.key_hash.get(..8).unwrap_or(&it.key_hash),
        it.method,
        it.path,
    )
}

fn trace_line(row: &TraceRow) -> String {
    let at = row.ts_start.to_string();
    let status = if row.status < 0 { "---".to_owned() } else { row.status.to_string() };
    let count = |tokens: Option<i64>| tokens.map_or_else(|| "-".to_owned(), |it| it.to_string());
    format!(
        "{} {status} {:>8} {:<22} {:>6}>{:<6} {} {}",
        at.get(11..19).unwrap_or(&at),
        format!("{}ms", row.duration_ms),
        row.model.as_deref().unwrap_or(&row.path),
        count(row.prompt_tokens),
        count(row.completion_tokens),
        row.end,
        row.error_type.as_deref().unwrap_or(&row.path),
    )
}

fn ink_of(row: &TraceRow) -> Ink {
    if (200..400).contains(&row.status) && row.end == "complete" { Ink::Plain } else { Ink::Bad }
}

fn actors(health: Option<&Health>, area: Rect, pen: &mut Pen<'_>) {
    pen.rule(area, "actors", false);
    let Some(health) = health else { return };
    let place = below(area);
    let up = format!("version {}, up {} s", health.version, health.uptime_seconds);
    pen.line(place, 0, &up, Ink::Dim, false);
    let is_well = |state: &str| ["running", "starting"].contains(&state);
    let mut lines: Vec<(bool, String)> = Vec::new();
    for it in &health.supervision.children {
        let state = if it.hung_since.is_some() { "hung" } else { &it.state };
        let mut line = format!("{} {state}", it.name);
        if it.restarts > 0 {
            line += &format!(", restarts {}", it.restarts);
        }
        if it.queue_depth > 0 {
            line += &format!(", {} wait", it.queue_depth);
        }
        lines.push((is_well(state) && it.restarts == 0, line));
    }
    for it in &health.supervision.nurseries {
        lines.push((it.failed == 0, format!("{} {} run, {} failed", it.name, it.running, it.failed)));
    }
    // What is wrong stands where it is seen.
    lines.sort_by_key(|(is_well, _)| *is_well);
    for (row, (is_well, line)) in lines.iter().enumerate() {
        pen.line(place, row + 1, line, if *is_well { Ink::Plain } else { Ink::Bad }, false);
    }
}

/// What writes into the buffer: harmless texts only.
struct Pen<'b> {
    buffer: &'b mut Buffer,
    is_coloured: bool,
}

impl Pen<'_> {
    fn style(&self, ink: Ink) -> Style {
        let style = Style::new();
        let (colour, modifier) = match ink {
            Ink::Plain => return style,
            Ink::Title => return style.add_modifier(Modifier::BOLD),
            Ink::Dim => return style.add_modifier(Modifier::DIM),
            Ink::Reasoning => return style.add_modifier(Modifier::ITALIC),
            Ink::Heading => (Color::Cyan, Modifier::BOLD),
            Ink::Tool => (Color::Magenta, Modifier::empty()),
            Ink::Media => (Color::Blue, Modifier::empty()),
            Ink::Bad => (Color::Red, Modifier::empty()),
            Ink::Good => (Color::Green, Modifier::empty()),
        };
        let style = style.add_modifier(modifier);
        if self.is_coloured { style.fg(colour) } else { style }
    }

    /// One line of an area, cut at its edge; `is_chosen` reverses all of it.
    fn line(&mut self, area: Rect, row: usize, text: &str, ink: Ink, is_chosen: bool) {
        let Some(row) = u16::try_from(row).ok().filter(|row| *row < area.height) else { return };
        let mut style = self.style(ink);
        if is_chosen {
            style = style.add_modifier(Modifier::REVERSED);
            self.buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, style);
        }
        let text = harmless(text).replace('\t', " ");
        self.buffer.set_stringn(area.x, area.y + row, text, usize::from(area.width), style);
    }

    /// The heading of a pane.
    fn rule(&mut self, area: Rect, title: &str, has_keys: bool) {
        let title = format!("── {title} ");
        let wide = usize::from(area.width);
        let rest = wide.saturating_sub(unicode_width::UnicodeWidthStr::width(title.as_str()));
        let ink = if has_keys { Ink::Heading } else { Ink::Dim };
        self.line(area, 0, &format!("{title}{}", "─".repeat(rest)), ink, false);
    }

    fn text(&mut self, area: Rect, lines: &[(Ink, String)], first: usize) {
        for (row, (ink, line)) in lines.iter().skip(first).take(usize::from(area.height)).enumerate() {
            self.line(area, row, line, *ink, false);
        }
    }

    /// A list around its selection.
    fn list(&mut self, area: Rect, rows: impl Iterator<Item = (String, Ink)>, chosen: usize, has_keys: bool) {
        let first = (chosen + 1).saturating_sub(usize::from(area.height));
        for (row, (line, ink)) in rows.skip(first).take(usize::from(area.height)).enumerate() {
            self.line(area, row, &line, ink, has_keys && first + row == chosen);
        }
    }
}
