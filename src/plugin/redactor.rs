//! The redactions of one exchange: headers and target before its line is made, bodies while it is.
//!
//! What fails, fails towards silence: a value that could not be replaced is left out, with all that stands beside it.

use std::borrow::Cow;
use std::sync::Arc;

use super::kinds::Kind;
use super::note::{Hook, Note};
use super::set::{Active, Budget};
use crate::exchange::Exchange;
use crate::headers::Headers;
use crate::redact::Redaction;

/// The instances that redact one exchange, in order.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    actives: Vec<Active>,
    secret: Arc<str>,
}

/// A redactor at work on bodies, and what it has to tell.
#[derive(Debug)]
pub struct Redacting<'r> {
    redactor: &'r Redactor,
    bytes: u64,
    notes: Vec<Note>,
}

/// A body's text after redaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Redacted<'t> {
    /// Nothing in it is to be replaced.
    Same,
    /// This stands in its place.
    Replaced(Cow<'t, str>),
    /// Nothing may stand in its place.
    LeftOut,
}

impl Redactor {
    /// One more instance, if it is about this exchange: its headers, trailers and target are redacted now.
    pub(super) fn add(&mut self, active: &Active, secret: &Arc<str>, exchange: &mut Exchange) {
        let Kind::Redact(redact) = active.kind() else { return };
        if !redact.routes.matches(&exchange.target) {
            return;
        }
        let redaction = &redact.redaction;
        let mut budget = Budget::for_bytes(0);
        let redacted = active.run(&mut budget, || {
            let target = changed(redaction.target(&exchange.target, secret));
            Ok((fields_of(exchange).map(|it| changed(redaction.headers(it, secret))), target))
        });
        match redacted {
            Ok((fields, target)) => {
                let is_changed = target.is_some() || fields.iter().any(Option::is_some);
                for (field, redacted) in fields_of(exchange).into_iter().zip(fields) {
                    if let Some(redacted) = redacted {
                        *field = redacted;
                    }
                }
                if let Some(target) = target {
                    exchange.target = target.into();
                }
                if is_changed {
                    active.counts().mutated();
                    exchange.applied.notes.push(Note::acted(active, Hook::Record, ACTION));
                }
            }
            Err(reason) => {
                fields_of(exchange).into_iter().for_each(|it| *it = Headers::new());
                exchange.target = exchange.target.split('?').next().unwrap_or_default().into();
                exchange.applied.notes.push(Note::failed(active, Hook::Record, &reason));
            }
        }
        self.secret = secret.clone();
        self.actives.push(active.clone());
    }

    /// Whether something in bodies is to be replaced. Then what cannot be read is left out.
    pub fn reads_bodies(&self) -> bool {
        self.redactions().any(|(_, redaction)| !redaction.paths.is_empty())
    }

    /// Begins with bodies of so many bytes.
    pub fn begin(&self, bytes: u64) -> Redacting<'_> {
        Redacting { redactor: self, bytes, notes: Vec::new() }
    }

    fn redactions(&self) -> impl Iterator<Item = (&Active, &Redaction)> {
        self.actives.iter().filter_map(|active| match active.kind() {
            Kind::Redact(redact) => Some((active, &redact.redaction)),
            _ => None,
        })
    }
}

impl Redacting<'_> {
    /// One JSON text with everything replaced that is to be.
    pub fn json<'t>(&mut self, text: &'t str) -> Redacted<'t> {
        let mut redacted = Cow::Borrowed(text);
        for (active, redaction) in self.redactor.redactions().filter(|(_, it)| !it.paths.is_empty()) {
            let secret = &*self.redactor.secret;
            let replaced =
                active.run(&mut Budget::of_same_call(self.bytes), || Ok(changed(redaction.json(&redacted, secret))));
            let note = match replaced {
                Ok(None) => continue,
                Ok(Some(text)) => {
                    redacted = Cow::Owned(text);
                    Note::acted(active, Hook::Record, ACTION)
                }
                Err(reason) => {
                    self.note(active, Note::failed(active, Hook::Record, &reason));
                    return Redacted::LeftOut;
                }
            };
            self.note(active, note);
        }
        match redacted {
            Cow::Borrowed(_) => Redacted::Same,
            redacted => Redacted::Replaced(redacted),
        }
    }

    /// What there is to tell, beside what is told of the exchange already.
    pub fn into_notes(self, told: &[Note]) -> Vec<Note> {
        self.notes.into_iter().filter(|note| !told.contains(note)).collect()
    }

    fn note(&mut self, active: &Active, note: Note) {
        if !self.notes.contains(&note) {
            active.counts().mutated();
            self.notes.push(note);
        }
    }
}

/// How notes tell it.
const ACTION: &str = "redact";

fn fields_of(exchange: &mut Exchange) -> [&mut Headers; 4] {
    [
        &mut exchange.request_headers,
        &mut exchange.response_headers,
        &mut exchange.request_trailers,
        &mut exchange.response_trailers,
    ]
}

fn changed<T: ToOwned + ?Sized>(redacted: Cow<'_, T>) -> Option<T::Owned> {
    match redacted {
        Cow::Borrowed(_) => None,
        Cow::Owned(redacted) => Some(redacted),
    }
}
