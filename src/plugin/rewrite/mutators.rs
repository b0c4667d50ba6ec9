//! The mutators of one exchange, from the set that it began under.

use std::borrow::Cow;

use super::answer::answer;
use super::flow::Work;
use super::request::request;
use super::sight::is_known;
use super::streams::Streams;
use super::{Framing, Rewriter};
use crate::plugin::kinds::Kind;
use crate::plugin::kinds::text_append::{DownTarget, UpTarget};
use crate::plugin::note::{Hook, Note};
use crate::plugin::set::{Active, Budget, Set};
use crate::protocol::Protocol;
use crate::recording::Recording;
use crate::wire::decode::{self, Coding, Decoder, Limits};
use crate::wire::media_type::MediaType;
use crate::wire::sse;

/// Those mutators whose routes mean the exchange, and what each is to do.
pub struct Mutators {
    protocol: Protocol,
    asks_for_stream: bool,
    is_head: bool,
    up: Vec<Mutator<UpTarget>>,
    down: Vec<Mutator<DownTarget>>,
}

/// One instance's work in one direction.
struct Mutator<T> {
    active: Active,
    work: Work,
    target: T,
}

/// How an answer would be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At once, when all of it is there.
    Whole,
    /// As it comes.
    Streamed(Framing),
}

impl Mutators {
    /// Those that an exchange has to do with; `None` if there are none: then nothing was allocated but for routes that fit
    /// and a protocol that does not. Chance is asked here, once for each direction.
    pub fn of(set: &Set, method: &str, target: &str) -> Option<Mutators> {
        if !set.has_mutator() {
            return None;
        }
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for active in set.mutators() {
            match active.kind() {
                Kind::TextReplace(replace) if replace.routes.matches(target) => {
                    let work = |rules: &std::sync::Arc<[super::Rule]>| Work::Replace(rules.clone());
                    if !replace.up.is_empty() {
                        up.push(Mutator::new(active, work(&replace.up), UpTarget::default()));
                    }
                    if !replace.down.is_empty() {
                        down.push(Mutator::new(active, work(&replace.down), DownTarget::default()));
                    }
                }
                Kind::TextAppend(append) if append.routes.matches(target) => {
                    let is_drawn = || append.probability.is_none_or(|it| rand::random::<f64>() < it);
                    let work = |suffix: &str| Work::Append(suffix.into());
                    if !append.up.suffix.is_empty() && is_drawn() {
                        up.push(Mutator::new(active, work(&append.up.suffix), append.up.target));
                    }
                    if !append.down.suffix.is_empty() && is_drawn() {
                        down.push(Mutator::new(active, work(&append.down.suffix), append.down.target));
                    }
                }
                _ => {}
            }
        }
        if up.is_empty() && down.is_empty() {
            return None;
        }
        let protocol = Protocol::of(method, target);
        let asks_for_stream = protocol == Protocol::Gemini && Protocol::asks_for_stream(target);
        is_known(protocol).then(|| Mutators { protocol, asks_for_stream, is_head: method == "HEAD", up, down })
    }

    /// Whether requests with a body of this type are rewritten. Clients post JSON under any type but those of files.
    pub fn want_request(&self, content_type: Option<&[u8]>) -> bool {
        let kind = content_type.unwrap_or_default().trim_ascii_start().to_ascii_lowercase();
        let is_text = [b"application/x-www-form-urlencoded".as_slice(), b"text/plain"];
        let may_be_json = kind.is_empty() || is_text.iter().any(|it| kind.starts_with(it));
        !self.up.is_empty() && (may_be_json || MediaType::of(&kind) == MediaType::Json)
    }

    /// How an answer with this head would be rewritten; `None` if it is to pass untouched.
    ///
    /// Never touched are answers to `HEAD`, errors, those without a body (1xx, 204, 205, 304), parts (206), and what is
    /// neither JSON nor an event stream.
    pub fn shape(&self, status: u16, content_type: Option<&[u8]>) -> Option<Shape> {
        if self.is_head || !(200..300).contains(&status) || matches!(status, 204..=206) {
            return None;
        }
        let shape = match MediaType::of(content_type.unwrap_or_default()) {
            MediaType::Json if self.asks_for_stream => Shape::Streamed(Framing::Array),
            MediaType::Json => Shape::Whole,
            MediaType::Events => Shape::Streamed(Framing::Events),
            MediaType::Other => return None,
        };
        let is_of_work = match shape {
            Shape::Whole => !self.down.is_empty(),
            Shape::Streamed(_) => self.down.iter().any(|it| it.target == DownTarget::Content),
        };
        is_of_work.then_some(shape)
    }

    /// The same once the beginning of the body (decoded) is known: gateways send streams under the name of JSON.
    pub fn shape_seen(&self, shape: Shape, beginning: &[u8]) -> Shape {
        match shape {
            Shape::Whole if sse::looks_like_events(beginning) => Shape::Streamed(Framing::Events),
            _ => shape,
        }
    }

    /// A request's body, of these codings, rewritten. No more than `most_bytes` are decoded.
    pub fn request(&self, body: &[u8], codings: &[Coding], most_bytes: u64) -> Rewritten {
        let Some(plain) = decoded(body, codings, most_bytes) else {
            return Rewritten { body: None, notes: self.passed_over(Hook::Before, UNDECODABLE) };
        };
        whole(&self.up, Hook::Before, &plain, |it, text| request(self.protocol, &it.work, it.target, text))
    }

    /// The same of an answer's.
    pub fn answer(&self, body: &[u8], codings: &[Coding], most_bytes: u64) -> Rewritten {
        let Some(plain) = decoded(body, codings, most_bytes) else {
            return Rewritten { body: None, notes: self.passed_over(Hook::After, UNDECODABLE) };
        };
        whole(&self.down, Hook::After, &plain, |it, text| answer(self.protocol, &it.work, it.target, text))
    }

    /// Begins to rewrite a streamed answer; `None` if there is no decoder for its codings.
    pub fn stream(&self, framing: Framing, codings: &[Coding]) -> Option<Streams> {
        let of_content = self.down.iter().filter(|it| it.target == DownTarget::Content);
        let rewriters = of_content
            .filter_map(|it| Some((it.active.clone(), Rewriter::new(self.protocol, framing, it.work.clone())?)));
        let decoder = match codings {
            [] => None,
            codings => Some(Decoder::of_pieces(codings, Streams::MOST_AT_ONCE).ok()?),
        };
        Some(Streams::new(decoder, rewriters.collect()))
    }

    /// What is to be told of a body that they cannot have: it passes as it came. Counted, but no fault of theirs.
    pub fn passed_over(&self, hook: Hook, why: &str) -> Vec<Note> {
        let tell = |active: &Active| {
            active.counts().failed();
            Note::failed(active, hook, why)
        };
        match hook {
            Hook::Before => self.up.iter().map(|it| tell(&it.active)).collect(),
            _ => self.down.iter().map(|it| tell(&it.active)).collect(),
        }
    }
}

/// Why a coded body passes as it came.
const UNDECODABLE: &str = "the body cannot be decoded";

impl<T> Mutator<T> {
    fn new(active: &Active, work: Work, target: T) -> Mutator<T> {
        Mutator { active: active.clone(), work, target }
    }
}

/// What became of a whole body.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// The new body, without codings; `None` if nothing changed.
    pub body: Option<Vec<u8>>,
    /// Who did it, and who failed.
    pub notes: Vec<Note>,
}

fn decoded<'b>(body: &'b [u8], codings: &[Coding], most_bytes: u64) -> Option<Cow<'b, [u8]>> {
    if codings.is_empty() {
        return Some(body.into());
    }
    let recording = Recording { bytes: body.to_vec(), ..Recording::default() };
    let limits = Limits { max_decoded_bytes: most_bytes, ..Limits::default() };
    let decoded = decode::decode(&recording, codings, limits).ok().filter(|it| !it.is_partial)?;
    Some(decoded.bytes.into_owned().into())
}

fn whole<T>(
    mutators: &[Mutator<T>],
    hook: Hook,
    body: &[u8],
    rewrite: impl Fn(&Mutator<T>, &str) -> Option<String>,
) -> Rewritten {
    let mut outcome = Rewritten::default();
    let Ok(text) = std::str::from_utf8(body) else { return outcome };
    let (mark, text) = text.split_at(if text.starts_with('\u{feff}') { 3 } else { 0 });
    let mut new: Option<String> = None;
    for mutator in mutators {
        let before = new.as_deref().unwrap_or(text);
        let mut budget = Budget::for_bytes(before.len() as u64);
        match mutator.active.run(&mut budget, || Ok(rewrite(mutator, before))) {
            Ok(None) => {}
            Ok(Some(after)) => {
                mutator.active.counts().mutated();
                outcome.notes.push(Note::acted(&mutator.active, hook, ACTION));
                new = Some(after);
            }
            Err(reason) => outcome.notes.push(Note::failed(&mutator.active, hook, &reason)),
        }
    }
    outcome.body = new.map(|new| [mark, &new].concat().into_bytes());
    outcome
}

/// What mutators do, on the line.
pub(super) const ACTION: &str = "mutate";

#[cfg(test)]
mod tests;
