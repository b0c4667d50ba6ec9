//! A streamed answer on its way through all its mutators.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::mutators::ACTION;
use super::{GaveUp, Rewriter};
use crate::plugin::note::{Hook, Note};
use crate::plugin::set::{Active, Budget};
use crate::wire::decode::{DecodeError, Decoder};

/// Undoes a stream's codings and rewrites it, one mutator after the other. One that fails passes the rest on as it is.
pub struct Streams {
    decoder: Option<Decoder>,
    running: Vec<Running>,
    notes: Vec<Note>,
}

struct Running {
    active: Active,
    rewriter: Rewriter,
    budget: Budget,
    has_acted: bool,
    has_failed: bool,
}

impl Streams {
    /// The most bytes that may come out of one chunk of a coded stream.
    pub const MOST_AT_ONCE: u64 = 16 << 20;

    pub(super) fn new(decoder: Option<Decoder>, rewriters: Vec<(Active, Rewriter)>) -> Streams {
        let running = rewriters.into_iter().map(|(active, rewriter)| Running {
            active,
            rewriter,
            budget: Budget::for_bytes(0),
            has_acted: false,
            has_failed: false,
        });
        Streams { decoder, running: running.collect(), notes: Vec::new() }
    }

    /// Takes the next bytes as they come from the upstream, gives those that go to the client.
    ///
    /// # Errors
    /// They cannot be decoded: nobody can read what follows either.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let Some(decoder) = &mut self.decoder else { return Ok(self.rewrite(bytes.to_vec())) };
        let mut decoded = Vec::new();
        decoder.push(bytes, &mut decoded)?;
        Ok(self.rewrite(decoded))
    }

    /// The stream has ended in order: gives the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        self.end(|rewriter, out| rewriter.finish(out))
    }

    /// The stream broke off: gives what is held back.
    pub fn break_off(&mut self) -> Vec<u8> {
        self.end(|rewriter, out| rewriter.pass_on(out))
    }

    /// What is new to be told of who acted and who failed.
    pub fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// How many bytes are held for events under way.
    pub fn held_bytes(&self) -> usize {
        self.running.iter().map(|it| it.rewriter.held_bytes()).sum()
    }

    fn rewrite(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Streams { running, notes, .. } = self;
        running.iter_mut().fold(bytes, |bytes, it| it.push(&bytes, notes))
    }

    fn end(&mut self, end: fn(&mut Rewriter, &mut Vec<u8>)) -> Vec<u8> {
        let Streams { running, notes, .. } = self;
        running.iter_mut().fold(Vec::new(), |bytes, it| {
            // What the ones before gave goes through this one before its own end.
            let mut out = it.push(&bytes, notes);
            out.extend(it.run(&[], it.rewriter.held_bytes(), notes, |rewriter, out| {
                end(rewriter, out);
                Ok(())
            }));
            out
        })
    }
}

impl Running {
    fn push(&mut self, bytes: &[u8], notes: &mut Vec<Note>) -> Vec<u8> {
        if bytes.is_empty() {
            return Vec::new();
        }
        self.run(bytes, bytes.len(), notes, |rewriter, out| rewriter.push(bytes, out))
    }

    /// Has the instance do a piece of work on so many bytes. `bytes` is what passes if it does not.
    fn run(
        &mut self,
        bytes: &[u8],
        length: usize,
        notes: &mut Vec<Note>,
        work: impl FnOnce(&mut Rewriter, &mut Vec<u8>) -> Result<(), GaveUp>,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 256);
        let Running { active, rewriter, budget, has_acted, has_failed } = self;
        if *has_failed {
            let _ = work(rewriter, &mut out);
            return out;
        }
        budget.grow(length as u64);
        let mut has_begun = false;
        let outcome = active.run(budget, || {
            has_begun = true;
            Ok(work(rewriter, &mut out))
        });
        let failure = match outcome {
            Ok(Ok(())) => None,
            // The upstream's doing, not the instance's.
            Ok(Err(gave_up)) => Some(gave_up.to_string()),
            Err(reason) => Some(reason),
        };
        if let Some(reason) = failure {
            *has_failed = true;
            notes.push(Note::failed(active, Hook::After, &reason));
            // Should this panic as well, what is held back of texts is lost, and nothing else.
            let mut pass_on = || catch_unwind(AssertUnwindSafe(|| rewriter.pass_on(&mut out)));
            if pass_on().is_err() {
                let _ = pass_on();
            }
            if !has_begun {
                out.extend_from_slice(bytes);
            }
        }
        if rewriter.changes() > 0 && !*has_acted {
            *has_acted = true;
            active.counts().mutated();
            notes.push(Note::acted(active, Hook::After, ACTION));
        }
        out
    }
}
