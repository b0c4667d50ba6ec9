//! A log looked at while its lane writes it: no lane waits for whoever looks.
//!
//! Chunks are followed by the links in them, from the first, under the lock that keeps them from being given back. A
//! lane never waits for that one: it takes the writer's, which nobody here takes.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api_log::capture::spool;
use api_log::capture::underway::{AskedFor, Codings, Underway};
use api_log::ids::TraceId;

use super::{Log, LogShared};

/// What lookers have read of a log.
pub(super) struct Seen(Underway);

/// What stands at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// These bytes from there on: whole records.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// What stood there cannot be had any more; it goes on here.
    GoneUntil(u64),
    /// The trace has its outcome, and the log is let go.
    Forgotten,
}

/// An exchange as it stands.
pub(crate) struct LookedAt {
    pub(crate) id: TraceId,
    /// What was asked for.
    pub(crate) asked: AskedFor,
    /// How long ago it began.
    pub(crate) age: Duration,
    /// The answer's status, if it has come.
    pub(crate) status: Option<u16>,
    /// Bytes of the request's and of the answer's body that passed.
    pub(crate) passed: [u64; 2],
    /// Events of the answer, if it is a stream that can be read.
    pub(crate) events: Option<u64>,
    /// Whether it has become a socket.
    pub(crate) is_socket: bool,
}

impl LogShared {
    /// The logs of all exchanges that have not ended.
    pub(crate) fn open_logs(&self) -> Vec<Arc<Log>> {
        let mut open: Vec<Arc<Log>> = (0..self.arena.heads()).filter_map(|head| self.arena.log(head)).collect();
        open.extend(self.strays.lock().iter().filter_map(std::sync::Weak::upgrade));
        open.retain(|log| !log.has_ended.load(Ordering::Relaxed));
        // A log may have been noted more than once.
        open.sort_unstable_by_key(|log| log.id);
        open.dedup_by_key(|log| log.id);
        open
    }

    /// The log of this exchange, if that has not ended.
    pub(crate) fn open_log(&self, id: TraceId) -> Option<Arc<Log>> {
        self.open_logs().into_iter().find(|log| log.id == id)
    }
}

impl Log {
    /// What stands at this offset, which is where a record begins (blocking).
    pub(crate) fn look(&self, at: u64) -> Look {
        let spooled = self.spooled.lock();
        let mut next = Some(self.head);
        while let Some(view) = next {
            // SAFETY: nobody gives a chunk back that the first one leads to but under the lock held here, or when nobody
            // has the log any more.
            let (offset, payload) = unsafe { view.payload() };
            if payload.is_empty() && offset == 0 {
                return Look::Forgotten;
            }
            if at < offset {
                let is_there = |it: &&spool::Frame| (it.offset..it.offset + u64::from(it.bytes)).contains(&at);
                let Some(frame) = spooled.frames.iter().find(is_there).copied() else { return Look::GoneUntil(offset) };
                // The disk is waited for by nobody else.
                drop(spooled);
                let skipped = (at - frame.offset) as u32;
                let mut bytes = Vec::new();
                let read = File::open(self.shared.layout.spool(self.id))
                    .and_then(|file| spool::read_frame(&file, frame, skipped, &mut bytes));
                let end = frame.offset + u64::from(frame.bytes);
                return if read.is_ok() { Look::Bytes(bytes) } else { Look::GoneUntil(end) };
            }
            if let Some(rest) = payload.get((at - offset) as usize..).filter(|it| !it.is_empty()) {
                return Look::Bytes(rest.to_vec());
            }
            // SAFETY: as above.
            next = unsafe { view.next() };
        }
        Look::Nothing
    }

    /// Reads on behind what an earlier look has read; `each` is given every event. `false` if there is no more for now
    /// (blocking).
    pub(crate) fn look_on(&self, underway: &mut Underway, each: impl FnMut(&str)) -> Result<bool, LetGo> {
        match self.look(underway.at()) {
            Look::Bytes(bytes) => underway.push(&bytes, each),
            Look::GoneUntil(at) => underway.skip_to(at),
            Look::Nothing => return Ok(false),
            Look::Forgotten => return Err(LetGo),
        }
        Ok(true)
    }

    /// The exchange as it stands; `None` if it has ended. What was read before is not read again, and `may_go_on` is
    /// asked before each piece; events are counted as far as that goes (blocking).
    pub(crate) fn looked_at(&self, may_go_on: impl Fn() -> bool) -> Option<LookedAt> {
        let mut seen = self.seen.lock();
        let Seen(underway) = &mut **seen.get_or_insert_with(|| Box::new(Seen(Underway::new(Codings::Left))));
        // The heads at least.
        let mut is_known = underway.asked().is_some();
        while (!is_known || may_go_on()) && self.look_on(underway, |_| ()).ok()? {
            is_known = underway.asked().is_some();
        }
        if underway.end().is_some() {
            return None;
        }
        Some(LookedAt {
            id: self.id,
            asked: underway.asked()?.clone(),
            age: self.began.elapsed(),
            status: underway.status(),
            passed: [0, 1].map(|body| self.passed[body].load(Ordering::Relaxed)),
            events: underway.events(),
            is_socket: underway.is_socket(),
        })
    }
}

/// The trace has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LetGo;
