//! A streamed answer rewritten as it passes.
//!
//! Events keep their order, and leave as soon as they are whole: what is held back of a text is left out of its event
//! and put into a later one. Where none comes that could carry it before something else does, an event is added.
//! Whatever is not rewritten keeps its bytes.

use super::answer::answer;
use super::array::{Token, Tokens};
use super::flow::Work;
use super::frame::{BlockEnds, Frame};
use super::sight::{self, Item};
use super::texts::{Outcome, Texts, TooManyTexts};
use crate::json::Json;
use crate::plugin::kinds::text_append::DownTarget;
use crate::protocol::Protocol;
use crate::wire::json::value;

/// The longest event that is rewritten, in bytes.
pub const MOST_EVENT_BYTES: usize = 16 << 20;

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// An event stream.
    Events,
    /// One JSON array that comes piece by piece (Gemini without `alt=sse`).
    Array,
}

/// Why the rest of a stream passes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// An event is longer than [`MOST_EVENT_BYTES`].
    #[error("an event is longer than {MOST_EVENT_BYTES} bytes")]
    LongEvent,
    /// The answer has too many texts to be told apart.
    #[error("the answer has too many texts at once")]
    TooManyTexts,
    /// It is no JSON array, though the request asked for one.
    #[error("the answer is no JSON array")]
    NoArray,
}

impl From<TooManyTexts> for GaveUp {
    fn from(_: TooManyTexts) -> GaveUp {
        GaveUp::TooManyTexts
    }
}

/// Rewrites one stream for one instance.
///
/// Holds the event under way and of each text less than the longest match; nothing else of the stream.
#[derive(Debug)]
pub struct Rewriter {
    protocol: Protocol,
    frames: Frames,
    texts: Texts,
    /// What has come; of it what has gone.
    pending: Vec<u8>,
    gone: usize,
    /// All goes as it comes, from now on.
    is_passing: bool,
    /// Something has gone.
    has_begun: bool,
    /// How lines of event streams are written: name, end of line, space behind the colon.
    style: Style,
}

#[derive(Debug)]
enum Frames {
    Events(BlockEnds),
    /// Whether a comma, or nothing yet, was the last that was no white space.
    Array {
        tokens: Tokens,
        is_after_comma: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Style {
    is_named: bool,
    line_end: &'static str,
    space: &'static str,
}

impl Rewriter {
    /// Before the first byte. `None` if texts of this protocol cannot be told.
    pub fn new(protocol: Protocol, framing: Framing, work: Work) -> Option<Rewriter> {
        let frames = match framing {
            Framing::Events => Frames::Events(BlockEnds::default()),
            Framing::Array if protocol == Protocol::Gemini => {
                Frames::Array { tokens: Tokens::default(), is_after_comma: true }
            }
            Framing::Array => return None,
        };
        sight::is_known(protocol).then(|| Rewriter {
            protocol,
            frames,
            texts: Texts::new(protocol, work),
            pending: Vec::new(),
            gone: 0,
            is_passing: false,
            has_begun: false,
            style: Style { is_named: false, line_end: "\n", space: " " },
        })
    }

    /// How many matches were replaced and suffixes appended, later copies of a text included.
    pub fn changes(&self) -> u64 {
        self.texts.changes
    }

    /// How many bytes are held for the event under way.
    pub fn held_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Takes the next bytes; appends to `out` what goes on.
    ///
    /// Should it panic, `out` and the rewriter are as they were between two events: [`pass_on`](Rewriter::pass_on)
    /// then gives the rest.
    ///
    /// # Errors
    /// It has given up, and passes the rest on: `out` is right all the same. Told once.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), GaveUp> {
        if self.is_passing {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        let given_up = match self.frames {
            Frames::Events(_) => self.push_events(out),
            Frames::Array { .. } => self.push_array(out),
        };
        self.pending.drain(..std::mem::take(&mut self.gone));
        let is_long = self.pending.len() > MOST_EVENT_BYTES;
        let given_up = given_up.and(if is_long { Err(GaveUp::LongEvent) } else { Ok(()) });
        if given_up.is_err() {
            self.pass_on(out);
        }
        given_up
    }

    /// The stream has ended in order: appends the rest, with what the end brings.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.is_passing || matches!(self.frames, Frames::Array { .. }) {
            // An array is finished by its bracket; without it, it was cut.
            return self.pass_on(out);
        }
        let rest = std::mem::take(&mut self.pending);
        if !self.has_begun
            && let Some(whole) = self.whole(&rest)
        {
            // Gateways announce a stream and send one JSON value.
            out.extend_from_slice(whole.as_bytes());
        } else if rest.is_empty() {
            let added = self.texts.finish();
            self.style.write(added, out);
        } else {
            // An event without its empty line: nothing can follow it.
            let event = self.event(&rest, End::OfStream).unwrap_or_else(|_| rest.clone());
            out.extend_from_slice(&event);
        }
        self.is_passing = true;
    }

    /// Nothing is rewritten any more, be it that the stream broke off: appends what is held back, and passes on
    /// whatever comes.
    pub fn pass_on(&mut self, out: &mut Vec<u8>) {
        if !self.is_passing {
            self.is_passing = true;
            let added = self.texts.release();
            match self.frames {
                Frames::Events(_) => self.style.write(added, out),
                Frames::Array { is_after_comma, .. } => {
                    for (_, json) in added {
                        let (before, behind) = if is_after_comma { ("", ",") } else { (",", "") };
                        out.extend_from_slice([before, &json, behind].concat().as_bytes());
                    }
                }
            }
        }
        out.extend_from_slice(&self.pending[self.gone..]);
        self.pending = Vec::new();
        self.gone = 0;
    }

    fn whole(&mut self, body: &[u8]) -> Option<String> {
        let body = std::str::from_utf8(body).ok().filter(|it| it.trim_ascii_start().starts_with('{'))?;
        let rewritten = answer(self.protocol, self.texts.work(), DownTarget::Content, body)?;
        self.texts.changes += 1;
        Some(rewritten)
    }

    fn push_events(&mut self, out: &mut Vec<u8>) -> Result<(), GaveUp> {
        while let Frames::Events(ends) = &mut self.frames
            && let Some(length) = ends.next(&self.pending[self.gone..])
        {
            let block = self.pending[self.gone..self.gone + length].to_vec();
            let rewritten = self.event(&block, End::NotYet)?;
            out.extend_from_slice(&rewritten);
            self.gone += length;
            self.has_begun = true;
        }
        Ok(())
    }

    /// What becomes of an event. All of it is made before anything is remembered.
    fn event(&mut self, block: &[u8], end: End) -> Result<Vec<u8>, GaveUp> {
        let frame = Frame::of(block);
        let data = frame.as_ref().and_then(Frame::data);
        if frame.is_some() && data.is_none() && end == End::NotYet {
            return Ok(block.to_vec());
        }
        let mut texts = self.texts.clone();
        let mut style = self.style;
        let (before, edited) = match (&frame, data.map(value)) {
            (Some(frame), Some(Ok(json))) => {
                style = Style { is_named: !frame.name.is_empty(), line_end: frame.line_end, space: frame.space };
                let json = Json::new(json);
                let mut sight = sight::event(self.protocol, frame.name, json);
                if end == End::OfStream {
                    sight.items.push(Item::OverAll);
                }
                let Outcome { before, edits } = texts.event(json, &sight)?;
                // Places are counted from the value's beginning.
                let start = data.and_then(|data| json.place_in(data)).map_or(0, |it| it.start);
                (before, (!edits.is_empty()).then(|| frame.edited(block, edits.moved(start))))
            }
            _ if end == End::OfStream || data == Some("[DONE]") => (texts.finish(), None),
            _ => (texts.release(), None),
        };
        let mut out = Vec::with_capacity(block.len());
        style.write(before, &mut out);
        out.extend_from_slice(edited.as_deref().unwrap_or(block));
        self.texts = texts;
        self.style = style;
        Ok(out)
    }

    fn push_array(&mut self, out: &mut Vec<u8>) -> Result<(), GaveUp> {
        while let Frames::Array { tokens, is_after_comma } = &mut self.frames
            && let Some(token) = tokens.next(&self.pending[self.gone..])
        {
            let rest = &self.pending[self.gone..];
            match token {
                Token::Between(length) => {
                    *is_after_comma |= rest[..length].contains(&b',');
                    out.extend_from_slice(&rest[..length]);
                    self.gone += length;
                }
                Token::Element(length) => {
                    *is_after_comma = false;
                    let element = rest[..length].to_vec();
                    let rewritten = self.element(&element)?;
                    out.extend_from_slice(&rewritten);
                    self.gone += length;
                }
                Token::Close => {
                    for (_, json) in self.texts.finish() {
                        out.push(b',');
                        out.extend_from_slice(json.as_bytes());
                    }
                    out.push(b']');
                    self.gone += 1;
                }
                Token::Foreign => return Err(GaveUp::NoArray),
            }
        }
        Ok(())
    }

    fn element(&mut self, element: &[u8]) -> Result<Vec<u8>, GaveUp> {
        let mut texts = self.texts.clone();
        let json = std::str::from_utf8(element).ok().and_then(|text| value(text).ok()).map(Json::new);
        let outcome = match json {
            Some(json) => texts.event(json, &sight::event(self.protocol, "", json))?,
            None => Outcome { before: texts.release(), ..Outcome::default() },
        };
        let mut out = Vec::new();
        for (_, added) in outcome.before {
            out.extend_from_slice(added.as_bytes());
            out.push(b',');
        }
        match json.and_then(|json| outcome.edits.applied(json.text())) {
            Some(edited) => out.extend_from_slice(edited.as_bytes()),
            None => out.extend_from_slice(element),
        }
        self.texts = texts;
        Ok(out)
    }
}

/// Whether the stream ends with the event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    OfStream,
}

impl Style {
    fn write(self, events: Vec<(Option<&'static str>, String)>, out: &mut Vec<u8>) {
        for (name, json) in events {
            if let Some(name) = name.filter(|_| self.is_named) {
                out.extend_from_slice(["event:", self.space, name, self.line_end].concat().as_bytes());
            }
            out.extend_from_slice(["data:", self.space, &json, self.line_end, self.line_end].concat().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
