//! An exchange that is followed: its last events, as they are and as what they say.

use std::collections::VecDeque;

use api_log::headers::Headers;
use api_log::protocol::Protocol;
use api_log::trace::view::{Answer, EventData, EventView, TraceView};
use api_log::transcript::layout::{Page, conversation};
use api_log::transcript::{Ink, Transcript};

use super::model::Inflight;
use super::reading::{Scroll, wrapped};

/// Events and bytes of them that are kept: the last ones.
const MOST_EVENTS: usize = 5_000;
const MOST_BYTES: usize = 4 << 20;

/// What has been heard of it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: String,
    pub(super) title: String,
    protocol: Protocol,
    events: VecDeque<(String, String)>,
    bytes: usize,
    /// Heard in all.
    pub(super) heard: u64,
    /// How it ended.
    pub(super) ended: Option<String>,
    /// Events as they are, not what they say.
    pub(super) shows_events: bool,
    pub(super) scroll: Scroll,
    /// What was last shown, and of what: reading thousands of events again at each draw would keep keys waiting.
    shown: Option<(Shown, Vec<(Ink, String)>)>,
}

/// What the lines of a stream depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    heard: u64,
    has_ended: bool,
    shows_events: bool,
    width: usize,
}

impl Stream {
    pub(super) fn new(of: &Inflight) -> Stream {
        let protocol = Protocol::from_name(&of.protocol).unwrap_or(Protocol::Unknown);
        let mut scroll = Scroll::default();
        scroll.keep_to_end();
        Stream {
            id: of.id.clone(),
            title: format!("{} {}", of.method, of.path),
            protocol,
            events: VecDeque::new(),
            bytes: 0,
            heard: 0,
            ended: None,
            shows_events: false,
            scroll,
            shown: None,
        }
    }

    pub(super) fn push(&mut self, name: String, data: String) {
        self.heard += 1;
        self.bytes += name.len() + data.len();
        self.events.push_back((name, data));
        while self.events.len() > MOST_EVENTS || (self.bytes > MOST_BYTES && self.events.len() > 1) {
            if let Some((name, data)) = self.events.pop_front() {
                self.bytes -= name.len() + data.len();
            }
        }
    }

    /// Its lines at this width.
    pub(super) fn lines(&mut self, width: usize) -> (&[(Ink, String)], &mut Scroll) {
        let (heard, shows_events) = (self.heard, self.shows_events);
        let wanted = Shown { heard, has_ended: self.ended.is_some(), shows_events, width };
        if self.shown.as_ref().is_none_or(|(of, _)| *of != wanted) {
            self.shown = Some((wanted, wrapped(&self.page(), width)));
        }
        (self.shown.as_ref().map_or(&[], |(_, lines)| lines), &mut self.scroll)
    }

    /// What is shown of it.
    pub(super) fn page(&self) -> Page {
        let mut page = Page::default();
        let kept = self.events.len() as u64;
        if self.heard > kept {
            page.line(Ink::Dim, format!("{} earlier events are left out", self.heard - kept));
        }
        if self.shows_events {
            for (name, data) in &self.events {
                page.line(Ink::Plain, format!("{name} {data}").trim_start());
            }
        } else {
            page.0.extend(conversation(&self.said()).0);
        }
        if let Some(how) = &self.ended {
            page.gap();
            page.line(if how == "complete" { Ink::Good } else { Ink::Bad }, format!("ended: {how}"));
        }
        page
    }

    fn said(&self) -> Transcript {
        let views: Vec<EventView<'_>> = self.events.iter().map(|(name, data)| view(name, data)).collect();
        let none = Headers::default();
        let trace = TraceView {
            method: "",
            target: "",
            status: None,
            request_headers: &none,
            response_headers: &none,
            request_json: None,
            answer: Answer::Events(&views),
        };
        Transcript::of_view(self.protocol, &trace)
    }
}

fn view<'a>(name: &'a str, data: &'a str) -> EventView<'a> {
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(data).is_ok();
    let data = if is_json { EventData::Json(data) } else { EventData::Text(data) };
    EventView { name, data }
}
