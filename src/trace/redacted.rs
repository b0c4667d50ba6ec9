//! Bodies on their way to the line, with what is redacted replaced, and what cannot be read for it left out.

use std::borrow::Cow;

use super::body::Form;
use crate::plugin::note::Note;
use crate::plugin::redactor::{Redacted, Redacting, Redactor};
use crate::recording::Recording;
use crate::socket::{SocketData, SocketEvent};
use crate::wire::json;

/// How a body stands on the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BodyState {
    /// As it was recorded.
    #[default]
    Verbatim,
    /// With values replaced or events without their data.
    Redacted,
    /// Not at all.
    LeftOut,
}

/// The redaction of a trace's bodies; does nothing where nothing is redacted in bodies.
pub(super) struct Bodies<'r>(Option<Redacting<'r>>);

impl<'r> Bodies<'r> {
    /// Of bodies of so many bytes.
    pub(super) fn of(redactor: &'r Redactor, bytes: usize) -> Bodies<'r> {
        Bodies(redactor.reads_bodies().then(|| redactor.begin(bytes as u64)))
    }

    /// A body's form, redacted.
    pub(super) fn form<'b>(&mut self, form: Form<'b>) -> (Form<'b>, BodyState) {
        let Some(redacting) = &mut self.0 else { return (form, BodyState::Verbatim) };
        match form {
            Form::Json(text) => match redacting.json(&text) {
                Redacted::Same => (Form::Json(text), BodyState::Verbatim),
                Redacted::Replaced(redacted) => (Form::Json(redacted.into_owned().into()), BodyState::Redacted),
                Redacted::LeftOut => (Form::Empty, BodyState::LeftOut),
            },
            Form::Events(mut streamed) => {
                let mut state = BodyState::Verbatim;
                for event in &mut streamed.events {
                    let Some(data) = event.data.as_deref().filter(|it| !it.is_empty()) else { continue };
                    let redacted = match json::value(data) {
                        Ok(json) => redacting.json(json),
                        Err(_) => Redacted::LeftOut,
                    };
                    event.data = match redacted {
                        Redacted::Same => continue,
                        Redacted::Replaced(text) => Some(Cow::Owned(text.into_owned())),
                        Redacted::LeftOut => None,
                    };
                    state = BodyState::Redacted;
                }
                (Form::Events(streamed), state)
            }
            Form::Raw { problem, .. } => (Form::Raw { bytes: &[], problem }, BodyState::LeftOut),
            form @ (Form::Empty | Form::EmptyStream) => (form, BodyState::Verbatim),
        }
    }

    /// A message of a socket, redacted; `None` if it stays.
    pub(super) fn message(&mut self, data: &SocketData) -> Option<SocketData> {
        let redacting = self.0.as_mut()?;
        let left_out = Some(SocketData::Binary(Vec::new()));
        match data {
            SocketData::Json(text) => match redacting.json(text) {
                Redacted::Same => None,
                Redacted::Replaced(text) => Some(SocketData::Json(text.into_owned())),
                Redacted::LeftOut => left_out,
            },
            SocketData::Text(_) | SocketData::Binary(_) => left_out,
            SocketData::Close { .. } => None,
        }
    }

    /// The messages of a socket, redacted.
    pub(super) fn messages<'e>(&mut self, events: &'e [SocketEvent]) -> (Cow<'e, [SocketEvent]>, BodyState) {
        let mut redacted = Cow::Borrowed(events);
        for (at, event) in events.iter().enumerate() {
            if let Some(data) = self.message(&event.data) {
                redacted.to_mut()[at].data = data;
            }
        }
        let state = if matches!(redacted, Cow::Owned(_)) { BodyState::Redacted } else { BodyState::Verbatim };
        (redacted, state)
    }

    /// What there is to tell of it, beside what is told already.
    pub(super) fn into_notes(self, told: &[Note]) -> Vec<Note> {
        self.0.map(|redacting| redacting.into_notes(told)).unwrap_or_default()
    }
}

/// What becomes of a body that nobody reads.
pub(super) fn state_of_raw(redactor: &Redactor, recording: &Recording) -> BodyState {
    let is_left_out = !recording.bytes.is_empty() && redactor.reads_bodies();
    if is_left_out { BodyState::LeftOut } else { BodyState::Verbatim }
}
