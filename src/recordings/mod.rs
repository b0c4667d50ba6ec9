//! Recorded exchanges as a store of answers: which of them answers a request.
//!
//! A request is answered by the exchange whose method, path and body were the same: bodies by their meaning (order of
//! keys, white space and the spelling of numbers do not count). Where none was, the exchanges of that path answer one
//! after the other, in the order in which they began, and then from the first on again; so do several with the same
//! body. A target with the same query goes before one with another; credentials in queries do not count.

mod answer;
mod framing;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::client;
use crate::ids::{Place, TraceId, UnixMillis};
use crate::json::Json;
use crate::jsonl::follow::Follower;
use crate::jsonl::line::{BadLine, Kept, KeptBody, read_kept};
use crate::jsonl::read::{self, ReadError};
use crate::session;
use crate::store::layout::Layout;
use crate::wire::json;

pub use answer::{Answer, Piece};

/// Why there is no answer although one was found.
#[derive(Debug, thiserror::Error)]
pub enum Unanswerable {
    /// Its line cannot be had.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its line is no trace.
    #[error(transparent)]
    Line(#[from] BadLine),
}

/// By what an exchange was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Its request's body was the same.
    Body,
    /// It was that path's turn.
    Order,
}

impl Match {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Match::Body => "body",
            Match::Order => "order",
        }
    }
}

/// What an exchange is found by. The body's digest is of its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    method: String,
    target: String,
    body: Option<[u8; 32]>,
}

/// Those found by the same key, in order, and whose turn it is.
#[derive(Debug, Default)]
struct Group {
    members: Vec<u32>,
    next: AtomicUsize,
}

/// A recorded exchange.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    id: TraceId,
    place: Place,
}

/// The exchanges of a data dir that can be answered with. Their bodies stay in the files.
#[derive(Debug)]
pub struct Recordings {
    layout: Layout,
    recorded: Vec<Recorded>,
    groups: HashMap<Key, Group>,
    left_out: u64,
}

impl Recordings {
    /// Reads what a data dir holds.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(layout: Layout) -> io::Result<Recordings> {
        let mut found: Vec<(UnixMillis, Recorded, String, String, [u8; 32])> = Vec::new();
        let mut left_out = 0;
        let look = |place: Place, line: &[u8]| {
            match read_kept(line) {
                Ok(kept) if is_answer(&kept) => {
                    let body = digest(&bytes_of(&kept.request.body));
                    let recorded = Recorded { id: kept.id, place };
                    found.push((kept.ts_start, recorded, kept.method, normal(&kept.target), body));
                }
                _ => left_out += 1,
            }
            None::<()>
        };
        Follower::at_end(layout.clone())?.last(usize::MAX, None, look)?;
        found.sort_by_key(|(start, recorded, ..)| (*start, recorded.id.to_bytes()));
        let mut recordings = Recordings { layout, recorded: Vec::new(), groups: HashMap::new(), left_out };
        for (number, (_, recorded, method, target, body)) in found.into_iter().enumerate() {
            recordings.recorded.push(recorded);
            for key in keys(&method, &target, body) {
                let members = &mut recordings.groups.entry(key).or_default().members;
                // A target without a query is its own path.
                if members.last() != Some(&(number as u32)) {
                    members.push(number as u32);
                }
            }
        }
        Ok(recordings)
    }

    /// How many exchanges can be answered with.
    pub fn len(&self) -> usize {
        self.recorded.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }

    /// How many lines were left out: sockets, exchanges without an answer, lines that are no traces or have no bodies.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Every method and path that something was recorded of, in order.
    pub fn paths(&self) -> Vec<String> {
        let of_paths = self.groups.keys().filter(|key| key.body.is_none() && !key.target.contains('?'));
        let mut paths: Vec<String> = of_paths.map(|key| format!("{} {}", key.method, key.target)).collect();
        paths.sort();
        paths
    }

    /// The exchange that answers a request, whose body is without its codings; `None` if nothing was recorded of its
    /// method and path. Takes its turn.
    pub fn find(&self, method: &str, target: &str, body: &[u8]) -> Option<(TraceId, Match)> {
        self.turn_of(method, target, body).map(|(recorded, by)| (recorded.id, by))
    }

    /// The same with what it answers.
    ///
    /// # Errors
    /// The line cannot be had any more, or is no trace.
    pub fn answer(&self, method: &str, target: &str, body: &[u8]) -> Result<Option<(Answer, Match)>, Unanswerable> {
        let Some((Recorded { id, place }, by)) = self.turn_of(method, target, body) else { return Ok(None) };
        let line = read::line(&self.layout, place, id)?;
        Ok(Some((Answer::of(read_kept(&line)?), by)))
    }

    fn turn_of(&self, method: &str, target: &str, body: &[u8]) -> Option<(Recorded, Match)> {
        let keys = keys(method, &normal(target), digest(body));
        let group = keys.iter().find_map(|key| self.groups.get(key).map(|group| (key, group)));
        let (key, group) = group?;
        let turn = group.next.fetch_add(1, Ordering::Relaxed) % group.members.len();
        let by = if key.body.is_some() { Match::Body } else { Match::Order };
        Some((self.recorded[group.members[turn] as usize], by))
    }
}

/// What a request may be found by, the closest first.
fn keys(method: &str, target: &str, body: [u8; 32]) -> [Key; 4] {
    let path = target.split('?').next().unwrap_or_default();
    let key = |target: &str, body| Key { method: method.to_owned(), target: target.to_owned(), body };
    [key(target, Some(body)), key(path, Some(body)), key(&format!("{path}?{}", query(target)), None), key(path, None)]
}

fn query(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

fn normal(target: &str) -> String {
    client::redacted_target(target).into_owned()
}

/// The digest of what a body means.
fn digest(body: &[u8]) -> [u8; 32] {
    let json = std::str::from_utf8(body).ok().and_then(|text| json::value(text.trim()).ok());
    match json {
        Some(text) => Sha256::digest(session::canonical(Json::new(text))).into(),
        None => Sha256::digest(body).into(),
    }
}

fn bytes_of(body: &KeptBody) -> Vec<u8> {
    match body {
        KeptBody::Json(text) => text.clone().into_bytes(),
        KeptBody::Raw(bytes) => bytes.clone(),
        KeptBody::None | KeptBody::Events(..) => Vec::new(),
    }
}

/// Whether it can be answered with: a gateway gave it, over HTTP, and it was kept.
fn is_answer(kept: &Kept) -> bool {
    (200..1000).contains(&kept.status) && kept.bodies_dropped.is_none()
}

#[cfg(test)]
mod tests;
