//! What the full screen knows: requests under way, traces, health, what is selected and what is open. No terminal here.

use std::collections::VecDeque;

use api_log::index::query::TraceRow;

use super::health::{Health, Rate};
use super::reading::Reading;
use super::sieve::Sieve;
use super::stream::Stream;

/// Traces that are remembered.
pub(super) const MOST_TRACES: usize = 1000;
/// Traces that wait while the lists stand still.
const MOST_HELD: usize = MOST_TRACES;

/// An exchange under way, as `/api/inflight` gives it.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub(super) struct Inflight {
    pub(super) id: String,
    pub(super) age_ms: u64,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) protocol: String,
    pub(super) key_hash: String,
    pub(super) status: Option<u16>,
    pub(super) req_bytes: u64,
    pub(super) resp_bytes: u64,
    /// `None` if it is no stream.
    pub(super) events: Option<u64>,
}

/// What comes from the recorder.
#[derive(Debug)]
pub(super) enum News {
    /// The stream of traces is open.
    Connected,
    /// It, or another question, failed.
    Lost(String),
    /// Traces that were there, newest first.
    Earlier(Vec<TraceRow>),
    /// A trace that came.
    Trace(Box<TraceRow>),
    /// The recorder passed over traces, since it is faster than this terminal.
    Skipped(String),
    /// All that is under way, and how many of those are listed.
    Inflight(usize, Vec<Inflight>),
    /// How it fares.
    Health(Box<Health>),
    /// An event of the exchange that is followed: its id, the event's name and data.
    Event(String, String, String),
    /// The followed one ended so, or cannot be followed.
    Ended(String, String),
    /// A trace as a conversation, or a command: its title and text.
    Read(Reading),
    /// A command to be copied.
    Curl(String, String),
    /// What was asked for cannot be had.
    Failed(String),
}

/// A key, as far as it means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    Enter,
    Escape,
    Erase,
    /// Ctrl-C.
    Interrupt,
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Quit,
    /// Fetch a trace as a conversation.
    Open(String),
    /// Follow an exchange under way.
    Follow(String),
    /// Follow nothing any more.
    LetGo,
    /// Fetch a trace's curl command.
    Curl(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Inflight,
    Traces,
}

/// What fills the screen.
#[derive(Debug, Default)]
pub(super) enum View {
    #[default]
    Lists,
    Stream(Stream),
    Reading(Reading),
    Help,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The recorder's URL.
    pub(super) url: String,
    pub(super) is_connected: bool,
    /// Why it is not.
    pub(super) lost: Option<String>,
    pub(super) total: usize,
    inflight: Vec<Inflight>,
    /// Newest first.
    traces: VecDeque<TraceRow>,
    /// Came while the lists stood still, oldest first.
    pub(super) held: VecDeque<TraceRow>,
    pub(super) is_paused: bool,
    pub(super) health: Option<Health>,
    pub(super) rate: Rate,
    pub(super) sieve: Sieve,
    /// The filter as it is being typed.
    pub(super) typing: Option<String>,
    pub(super) pane: Pane,
    /// Ids, so that what comes moves no selection.
    selected: [Option<String>; 2],
    pub(super) view: View,
    /// Told at the bottom until the next key.
    pub(super) notice: Option<String>,
}

impl Model {
    pub(super) fn new(url: String) -> Model {
        Model { url, ..Model::default() }
    }

    /// What passes the filter.
    pub(super) fn inflight(&self) -> impl Iterator<Item = &Inflight> {
        self.inflight.iter().filter(|it| self.sieve.passes_inflight(it))
    }

    /// What passes the filter, newest first.
    pub(super) fn traces(&self) -> impl Iterator<Item = &TraceRow> {
        self.traces.iter().filter(|it| self.sieve.passes(it))
    }

    /// The selection's place among what is shown of a pane.
    pub(super) fn place(&self, pane: Pane) -> usize {
        let Some(id) = &self.selected[pane as usize] else { return 0 };
        self.ids(pane).iter().position(|it| it == id).unwrap_or(0)
    }

    fn ids(&self, pane: Pane) -> Vec<&str> {
        match pane {
            Pane::Inflight => self.inflight().map(|it| it.id.as_str()).collect(),
            Pane::Traces => self.traces().map(|it| it.id.as_str()).collect(),
        }
    }

    fn selected(&self) -> Option<String> {
        self.ids(self.pane).get(self.place(self.pane)).map(|it| (*it).to_owned())
    }

    /// Takes what came.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Connected => {
                if self.lost.take().is_some() {
                    self.notice = Some("connected again".to_owned());
                }
                self.is_connected = true;
            }
            News::Lost(why) => {
                self.is_connected = false;
                self.lost = Some(why);
                // Nobody knows whether they still are.
                self.inflight.clear();
                self.total = 0;
                self.rate = Rate::default();
            }
            News::Earlier(rows) => rows.into_iter().rev().for_each(|row| self.keep(row)),
            News::Trace(row) if self.is_paused => {
                if self.held.len() == MOST_HELD {
                    self.held.pop_front();
                }
                self.held.push_back(*row);
            }
            News::Trace(row) => self.keep(*row),
            News::Skipped(what) => self.notice = Some(what),
            News::Inflight(..) if self.is_paused => {}
            News::Inflight(total, inflight) => (self.total, self.inflight) = (total, inflight),
            News::Health(health) => {
                self.rate.note(&health);
                self.health = Some(*health);
            }
            News::Event(id, name, data) => {
                if let View::Stream(stream) = &mut self.view
                    && stream.id == id
                {
                    stream.push(name, data);
                }
            }
            News::Ended(id, how) => {
                if let View::Stream(stream) = &mut self.view
                    && stream.id == id
                {
                    stream.ended = Some(how);
                }
            }
            News::Read(reading) => {
                self.notice = None;
                self.view = View::Reading(reading);
            }
            News::Curl(..) => {}
            News::Failed(why) => self.notice = Some(why),
        }
    }

    fn keep(&mut self, row: TraceRow) {
        if self.traces.iter().any(|it| it.id == row.id) {
            return;
        }
        self.traces.push_front(row);
        self.traces.truncate(MOST_TRACES);
    }

    /// Takes a key; `rows` is how many rows a page has.
    pub(super) fn press(&mut self, key: Key, rows: usize) -> Option<Order> {
        if key == Key::Interrupt {
            return Some(Order::Quit);
        }
        self.notice = None;
        if self.typing.is_some() {
            self.type_on(key);
            return None;
        }
        match (&mut self.view, key) {
            (View::Help, _) => self.view = View::Lists,
            (View::Lists, Key::Char('q') | Key::Escape) if self.sieve.is_empty() || key != Key::Escape => {
                return Some(Order::Quit);
            }
            (View::Lists, Key::Escape) => self.sieve = Sieve::default(),
            (View::Stream(_), Key::Char('q') | Key::Escape) => {
                self.view = View::Lists;
                return Some(Order::LetGo);
            }
            (View::Reading(_), Key::Char('q') | Key::Escape) => self.view = View::Lists,
            (_, Key::Char('?')) => {
                let is_stream = matches!(self.view, View::Stream(_));
                self.view = View::Help;
                return is_stream.then_some(Order::LetGo);
            }
            (View::Lists, key) => return self.in_lists(key, rows),
            (View::Stream(stream), Key::Enter | Key::Char('c')) => {
                let id = stream.id.clone();
                if stream.ended.is_none() {
                    self.notice = Some("its trace is written when it has ended".to_owned());
                    return None;
                }
                return Some(if key == Key::Enter { Order::Open(id) } else { Order::Curl(id) });
            }
            (View::Stream(stream), Key::Char('e')) => stream.shows_events ^= true,
            (View::Stream(stream), Key::Char('f')) => stream.scroll.keep_to_end(),
            (View::Stream(stream), key) => stream.scroll.press(key, rows),
            (View::Reading(reading), Key::Char('c')) => return Some(Order::Curl(reading.id.clone())),
            (View::Reading(reading), key) => reading.scroll.press(key, rows),
        }
        None
    }

    fn type_on(&mut self, key: Key) {
        let Some(typed) = &mut self.typing else { return };
        match key {
            Key::Char(character) if typed.len() < 200 => typed.push(character),
            Key::Erase => {
                typed.pop();
            }
            Key::Escape => self.typing = None,
            Key::Enter => match Sieve::parse(typed) {
                Ok(sieve) => (self.sieve, self.typing) = (sieve, None),
                Err(wrong) => self.notice = Some(wrong),
            },
            _ => {}
        }
    }

    fn in_lists(&mut self, key: Key, rows: usize) -> Option<Order> {
        let place = self.place(self.pane);
        match key {
            Key::Up | Key::Char('k') => self.select(place.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(place + 1),
            Key::PageUp => self.select(place.saturating_sub(rows)),
            Key::PageDown => self.select(place + rows),
            Key::Home | Key::Char('g') => self.select(0),
            Key::End | Key::Char('G') => self.select(usize::MAX),
            Key::Tab => self.pane = if self.pane == Pane::Inflight { Pane::Traces } else { Pane::Inflight },
            Key::Char('/') => self.typing = Some(self.sieve.text.clone()),
            Key::Char('p') => {
                self.is_paused ^= true;
                if !self.is_paused {
                    std::mem::take(&mut self.held).into_iter().for_each(|row| self.keep(row));
                }
            }
            Key::Char('f') => {
                self.pane = Pane::Inflight;
                return self.follow();
            }
            Key::Enter if self.pane == Pane::Inflight => return self.follow(),
            Key::Enter => return self.chosen(Order::Open),
            Key::Char('c') if self.pane == Pane::Inflight => {
                self.notice = Some("its trace is written when it has ended".to_owned());
            }
            Key::Char('c') => return self.chosen(Order::Curl),
            _ => {}
        }
        None
    }

    fn select(&mut self, place: usize) {
        let ids = self.ids(self.pane);
        let chosen = ids.get(place.min(ids.len().saturating_sub(1))).map(|it| (*it).to_owned());
        self.selected[self.pane as usize] = chosen;
    }

    fn chosen(&mut self, order: fn(String) -> Order) -> Option<Order> {
        let id = self.selected()?;
        self.selected[self.pane as usize] = Some(id.clone());
        self.notice = Some("asking the recorder…".to_owned());
        Some(order(id))
    }

    fn follow(&mut self) -> Option<Order> {
        let Some(id) = self.selected() else {
            self.notice = Some("nothing is under way".to_owned());
            return None;
        };
        let of = self.inflight.iter().find(|it| it.id == id)?;
        self.view = View::Stream(Stream::new(of));
        self.selected[Pane::Inflight as usize] = Some(id.clone());
        Some(Order::Follow(id))
    }
}
