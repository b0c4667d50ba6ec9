//! A recorded stream made ready to be sent again: its events as they go over the wire, each with its moment.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::Protocol;
use crate::wire::json;
use crate::wire::websocket::Side;

/// No pause is longer than this.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a Chat stream ends.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// The events of one trace, as server-sent events.
#[derive(Debug)]
pub struct Script {
    frames: Bytes,
    cues: Vec<Cue>,
    /// The last frame is the protocol's nameless `[DONE]`, which is no event.
    ends_with_done: bool,
}

/// One event.
#[derive(Clone, Copy, Debug)]
struct Cue {
    /// Where its frame ends.
    end: usize,
    /// When it came, in milliseconds since the exchange began.
    at_ms: Option<u64>,
    side: Side,
}

/// A trace that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The line is no trace.
    #[error("not a trace line: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It has no events.
    #[error("the answer was not recorded as a stream of events")]
    NotStreaming,
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    method: Cow<'l, str>,
    #[serde(borrow)]
    path: Cow<'l, str>,
    #[serde(borrow)]
    resp: Answer<'l>,
}

#[derive(Deserialize)]
struct Answer<'l> {
    #[serde(borrow, default)]
    events: Option<Vec<Recorded<'l>>>,
    #[serde(borrow, default)]
    body: Option<&'l RawValue>,
    #[serde(default)]
    stream_done: Option<bool>,
}

/// An event as it stands on the line.
#[derive(Deserialize)]
pub(crate) struct Recorded<'l> {
    #[serde(borrow, default)]
    event: Option<Cow<'l, str>>,
    /// Its payload; `None` for `null` too.
    #[serde(borrow, default)]
    pub(crate) data: Option<&'l RawValue>,
    /// When it came, in milliseconds since the exchange began.
    #[serde(default)]
    pub(crate) t_delta_ms: Option<u64>,
    #[serde(borrow, default)]
    dir: Option<Cow<'l, str>>,
}

impl Recorded<'_> {
    /// Who sent it.
    pub(crate) fn side(&self) -> Side {
        if self.dir.as_deref() == Some(Side::Client.name()) { Side::Client } else { Side::Server }
    }

    /// Appends it as the standard writes it.
    pub(crate) fn push_frame(&self, frames: &mut String) {
        push_frame(frames, self.event.as_deref().unwrap_or_default(), self.data.map(RawValue::get));
    }
}

impl Script {
    /// The events that a line tells: those of an event stream, the messages of a socket's turn or part, the elements
    /// of a JSON array that was streamed.
    ///
    /// # Errors
    /// It is no trace's line, or has no events.
    pub fn of(line: &[u8]) -> Result<Script, ScriptError> {
        match std::str::from_utf8(line) {
            Ok(text) => Script::of_line(serde_json::from_str(text)?),
            // Earlier lines may hold a body's bytes that are no text.
            Err(_) => Script::of_line(serde_json::from_str(&String::from_utf8_lossy(line))?),
        }
    }

    fn of_line(line: Line<'_>) -> Result<Script, ScriptError> {
        let protocol = Protocol::of(&line.method, &line.path);
        let mut frames = String::new();
        let mut cues = Vec::new();
        for event in line.resp.events.unwrap_or_default() {
            event.push_frame(&mut frames);
            cues.push(Cue { end: frames.len(), at_ms: event.t_delta_ms, side: event.side() });
        }
        // Earlier lines hold Gemini's array streams as one body.
        let body = line.resp.body.map(RawValue::get).filter(|_| cues.is_empty() && protocol == Protocol::Gemini);
        for element in body.and_then(json::elements).map(|it| it.elements).unwrap_or_default() {
            push_frame(&mut frames, "", Some(element.text));
            cues.push(Cue { end: frames.len(), at_ms: None, side: Side::Server });
        }
        if cues.is_empty() {
            return Err(ScriptError::NotStreaming);
        }
        let ends_with_done = protocol == Protocol::Chat && line.resp.stream_done == Some(true);
        if ends_with_done {
            frames.push_str(DONE);
        }
        Ok(Script { frames: frames.into(), cues, ends_with_done })
    }

    /// How many events there are.
    pub fn events(&self) -> usize {
        self.cues.len()
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> u64 {
        (self.frames.len() + self.cues.len() * size_of::<Cue>()) as u64
    }

    /// The event of this number as the standard writes it; `None` behind the last.
    pub fn event(&self, number: usize) -> Option<Bytes> {
        (number < self.cues.len()).then(|| self.frame(number))
    }

    fn frame(&self, at: usize) -> Bytes {
        let start = at.checked_sub(1).map_or(0, |before| self.cues[before].end);
        self.frames.slice(start..self.cues[at].end)
    }
}

/// Appends an event as the standard writes it. An event without data has no `data` line, unless nothing else would
/// be left of it.
pub(crate) fn push_frame(frames: &mut String, name: &str, data: Option<&str>) {
    if !name.is_empty() {
        frames.push_str("event: ");
        // A line break would end the field.
        frames.extend(name.chars().map(|it| if matches!(it, '\n' | '\r') { ' ' } else { it }));
        frames.push('\n');
    }
    match data.filter(|it| *it != "null") {
        Some(data) => {
            frames.push_str("data: ");
            json::embed(frames, data);
            frames.push('\n');
        }
        None if name.is_empty() => frames.push_str("data: null\n"),
        None => {}
    }
    frames.push('\n');
}

/// How a script is to be played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// So many times as fast as it was recorded; `None` for without pauses.
    pub speed: Option<f64>,
    /// The first event, counted from 0 as they were recorded.
    pub from: usize,
    /// The event before which it ends; `None` for all.
    pub to: Option<usize>,
    /// Whose messages; `None` for both sides'. Only sockets have messages of the client.
    pub side: Option<Side>,
}

/// A script being played, by as many as like at a time.
#[derive(Debug)]
pub struct Playback {
    script: Arc<Script>,
    pace: Pace,
    next: usize,
    to: usize,
    last_ms: Option<u64>,
    /// The frame behind the last event is still to come.
    owes_done: bool,
}

impl Playback {
    /// Before the first event.
    pub fn new(script: Arc<Script>, pace: Pace) -> Playback {
        let to = pace.to.unwrap_or(usize::MAX).min(script.cues.len());
        let owes_done = script.ends_with_done && to == script.cues.len() && pace.side != Some(Side::Client);
        Playback { script, pace, next: pace.from, to, last_ms: None, owes_done }
    }
}

/// Each pause and what comes behind it. There is none before the first event, nor where times are unknown.
impl Iterator for Playback {
    type Item = (Duration, Bytes);

    fn next(&mut self) -> Option<(Duration, Bytes)> {
        while self.next < self.to {
            let at = self.next;
            self.next += 1;
            let cue = self.script.cues[at];
            if self.pace.side.is_some_and(|side| side != cue.side) {
                continue;
            }
            let gap_ms = self.last_ms.zip(cue.at_ms).map_or(0, |(last, now)| now.saturating_sub(last));
            self.last_ms = cue.at_ms.or(self.last_ms);
            let pause = self.pace.speed.map_or(Duration::ZERO, |speed| {
                let seconds = gap_ms as f64 / 1000.0 / speed;
                Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
            });
            return Some((pause, self.script.frame(at)));
        }
        if std::mem::take(&mut self.owes_done) {
            let last = self.script.cues.last().map_or(0, |it| it.end);
            return Some((Duration::ZERO, self.script.frames.slice(last..)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sse;

    const ALL: Pace = Pace { speed: Some(1.0), from: 0, to: None, side: None };

    fn script(path: &str, resp: &str) -> Result<Script, ScriptError> {
        Script::of(format!(r#"{{"id":"x","method":"POST","path":"{path}","resp":{resp}}}"#).as_bytes())
    }

    /// Pauses in milliseconds, and frames.
    fn played(script: Script, pace: Pace) -> Vec<(u128, String)> {
        let frames = Playback::new(Arc::new(script), pace);
        frames.map(|(pause, frame)| (pause.as_millis(), String::from_utf8(frame.to_vec()).unwrap())).collect()
    }

    const CHAT: &str = r#"{"events":[
        {"event":"","data":{"a": 1},"t_delta_ms":900},{"event":"ping","data":null,"t_delta_ms":1000},
        {"event":"","data":"text","t_delta_ms":950},{"event":"late\nname","data":[2]},
        {"event":"","data":null,"t_delta_ms":400000}],"stream_done":true}"#;

    #[test]
    fn events_come_as_recorded_with_the_pauses_between_them() {
        let frames = played(script("/v1/chat/completions", CHAT).unwrap(), ALL);
        let expected = [
            (0, "data: {\"a\": 1}\n\n"),
            (100, "event: ping\n\n"),
            (0, "data: \"text\"\n\n"),
            (0, "event: late name\ndata: [2]\n\n"),
            (60_000, "data: null\n\n"),
            (0, "data: [DONE]\n\n"),
        ];
        assert_eq!(frames, expected.map(|(pause, frame)| (pause, frame.to_owned())));
        let text: String = frames.iter().map(|(_, frame)| frame.as_str()).collect();
        let read = sse::parse(&text);
        assert_eq!((read.events.len(), read.saw_done), (5, true));
    }

    #[test]
    fn speed_and_range_are_obeyed() {
        let pauses = |pace| played(script("/v1/chat/completions", CHAT).unwrap(), pace);
        let double = pauses(Pace { speed: Some(2.0), ..ALL });
        assert_eq!(double[1].0, 50);
        assert!(pauses(Pace { speed: None, ..ALL }).iter().all(|(pause, _)| *pause == 0));
        let middle = pauses(Pace { from: 1, to: Some(3), ..ALL });
        assert_eq!(middle.iter().map(|(pause, _)| *pause).collect::<Vec<_>>(), [0, 0], "no pause before the first");
        assert!(pauses(Pace { from: 5, to: Some(2), ..ALL }).is_empty());
        assert_eq!(pauses(Pace { from: 9, ..ALL }).len(), 1, "the end is behind the last event");
    }

    #[test]
    fn of_a_socket_either_side_or_both_are_played() {
        let turn = r#"{"events":[{"event":"","dir":"client","data":1,"t_delta_ms":0},{"event":"","dir":"server","data":2,"t_delta_ms":70}]}"#;
        let sides = |side| played(script("/v1/responses", turn).unwrap(), Pace { side, ..ALL });
        assert_eq!(sides(Some(Side::Server)), [(0, "data: 2\n\n".to_owned())]);
        assert_eq!(sides(Some(Side::Client)), [(0, "data: 1\n\n".to_owned())]);
        assert_eq!(sides(None)[1], (70, "data: 2\n\n".to_owned()));
    }

    #[test]
    fn an_array_that_an_earlier_line_holds_as_a_body_is_a_stream_too() {
        let path = "/v1beta/models/g:streamGenerateContent";
        let frames = played(script(path, r#"{"body":[{"a":1},{"b":2}]}"#).unwrap(), ALL);
        assert_eq!(
            frames.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(),
            ["data: {\"a\":1}\n\n", "data: {\"b\":2}\n\n"]
        );
    }

    #[test]
    fn what_has_no_events_is_told_from_what_is_no_trace() {
        for resp in [r#"{"body":{}}"#, r#"{"events":[]}"#, r#"{"body":[1]}"#, r#"{"body":null}"#] {
            let outcome = script("/v1/chat/completions", resp);
            assert!(matches!(outcome, Err(ScriptError::NotStreaming)), "{resp}");
        }
        assert!(matches!(Script::of(b"{}"), Err(ScriptError::Unreadable(_))));
        assert!(matches!(Script::of(b"\xff"), Err(ScriptError::Unreadable(_))));
    }
}
