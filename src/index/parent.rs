//! Which trace another one continues: candidates from the index, and the choice among them.
//!
//! The parent is a function of the set of traces: it does not matter in which order they were inserted.

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::{TraceId, UnixMillis};
use crate::session::Method;
use crate::trace::Row;

/// Of more equal candidates, only so many are compared, the latest by start.
const MAX_CANDIDATES: usize = 64;

/// What a trace looks for in others of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) id: TraceId,
    pub(super) ts_start: UnixMillis,
    pub(super) key: i64,
    pub(super) previous_response: Option<i64>,
    pub(super) conversation: Option<i64>,
    /// Its strict prefixes, longest first.
    pub(super) prefixes: Vec<Prefix>,
}

/// A row that is being linked: what it counts as, and what others may know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) id: TraceId,
    pub(super) ts_start: UnixMillis,
    pub(super) ts_end: UnixMillis,
    pub(super) status: i32,
    /// The hash of all its turns.
    pub(super) prefix: Option<i64>,
    /// The fingerprint of its answer.
    pub(super) answer: Option<i64>,
    /// Its answer's own id.
    pub(super) response: Option<i64>,
    pub(super) conversation: Option<i64>,
}

impl Newcomer {
    /// Of a row that is inserted.
    pub(super) fn of(row: &Row) -> Newcomer {
        let links = &row.conversation;
        Newcomer {
            id: row.id,
            ts_start: row.ts_start,
            ts_end: row.ts_end,
            status: row.status,
            prefix: links.prefixes.last().copied().map(as_integer),
            answer: links.answer.map(as_integer),
            response: links.response_id.map(as_integer),
            conversation: links.conversation_id.map(as_integer),
        }
    }
}

/// A strict prefix of a request's turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// How many turns.
    pub(super) length: u32,
    pub(super) hash: i64,
    /// The fingerprint of the turn behind it, if an assistant spoke it.
    pub(super) reply: Option<i64>,
}

/// A parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) id: String,
    pub(super) session: i64,
    pub(super) method: Method,
    /// The turns it shares with the child, if found by them.
    pub(super) length: u32,
}

/// One of several possible parents of equal length.
#[derive(Clone, Debug)]
struct Candidate {
    id: String,
    ts_start: i64,
    answer: Option<i64>,
    session: i64,
}

/// The index keeps hashes as integers of the same bits.
pub(super) fn as_integer(hash: [u8; 8]) -> i64 {
    i64::from_be_bytes(hash)
}

impl Child {
    /// Whether it looks for anything.
    pub(super) fn has_links(&self) -> bool {
        !self.prefixes.is_empty() || self.previous_response.is_some() || self.conversation.is_some()
    }

    /// What a row looks for.
    pub(super) fn of(row: &Row, key: i64) -> Child {
        let links = &row.conversation;
        let strict = links.prefixes.len().saturating_sub(1);
        let prefix = |index: usize| Prefix {
            length: u32::try_from(index + 1).unwrap_or(u32::MAX),
            hash: as_integer(links.prefixes[index]),
            reply: links.replies.get(index + 1).copied().flatten().map(as_integer),
        };
        Child {
            id: row.id,
            ts_start: row.ts_start,
            key,
            previous_response: links.previous_response_id.map(as_integer),
            conversation: links.conversation_id.map(as_integer),
            prefixes: (0..strict).rev().map(prefix).collect(),
        }
    }

    /// Finds the parent among the rows of the index: the one whose answer it names; else the latest of its
    /// conversation; else the one with the most turns in common (ties: the one whose answer was sent back,
    /// then the later start, then the greater id). It must have begun before, and ended before or when the
    /// child began, unless the child names it or sends its answer back.
    pub(super) fn find_parent(&self, index: &Connection) -> rusqlite::Result<Option<Parent>> {
        if let Some(found) = self.find_named(index)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.find_in_conversation(index)? {
            return Ok(Some(found));
        }
        self.find_by_prefix(index)
    }

    fn find_named(&self, index: &Connection) -> rusqlite::Result<Option<Parent>> {
        let Some(response) = self.previous_response else { return Ok(None) };
        index
            .prepare_cached(
                "SELECT id, session FROM rows WHERE response = ?1 AND key = ?2 AND fresh IS NULL \
                 AND ts_start <= ?3 AND (ts_start < ?3 OR id < ?4) ORDER BY ts_start DESC, id DESC LIMIT 1",
            )?
            .query_row(params![response, self.key, self.ts_start.0, self.id.to_string()], |row| {
                Ok(Parent { id: row.get(0)?, session: row.get(1)?, method: Method::PreviousResponseId, length: 0 })
            })
            .optional()
    }

    fn find_in_conversation(&self, index: &Connection) -> rusqlite::Result<Option<Parent>> {
        let Some(conversation) = self.conversation else { return Ok(None) };
        index
            .prepare_cached(
                "SELECT id, session FROM rows WHERE conversation = ?1 AND key = ?2 AND fresh IS NULL \
                 AND ts_start <= ?3 AND (ts_start < ?3 OR id < ?4) AND ts_start + duration_ms <= ?3 \
                 ORDER BY ts_start DESC, id DESC LIMIT 1",
            )?
            .query_row(params![conversation, self.key, self.ts_start.0, self.id.to_string()], |row| {
                Ok(Parent { id: row.get(0)?, session: row.get(1)?, method: Method::Conversation, length: 0 })
            })
            .optional()
    }

    fn find_by_prefix(&self, index: &Connection) -> rusqlite::Result<Option<Parent>> {
        // The parent of a living conversation is a few turns shorter; only strangers are asked for to the end.
        let (near, far) = self.prefixes.split_at(self.prefixes.len().min(4));
        for chunk in [near].into_iter().chain(far.chunks(32)) {
            for prefix in self.known_among(index, chunk)? {
                if let Some(parent) = self.find_at(index, prefix)? {
                    return Ok(Some(parent));
                }
            }
        }
        Ok(None)
    }

    /// Those of a few prefixes that are some row's whole request, in the same order.
    fn known_among(&self, index: &Connection, chunk: &[Prefix]) -> rusqlite::Result<Vec<Prefix>> {
        if chunk.len() <= 4 {
            return Ok(chunk.to_vec());
        }
        let wanted = vec!["(?)"; 32].join(",");
        let mut statement = index.prepare_cached(&format!(
            "WITH wanted (hash) AS (VALUES {wanted}) SELECT hash FROM wanted WHERE EXISTS \
             (SELECT 1 FROM rows WHERE prefix = hash AND key = ? AND ts_start <= ? AND fresh IS NULL)"
        ))?;
        let hashes = (0..32).map(|at| chunk.get(at).map(|prefix| prefix.hash));
        let given = hashes.chain([Some(self.key), Some(self.ts_start.0)]);
        let found: Vec<i64> = statement
            .query_map(rusqlite::params_from_iter(given), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(chunk.iter().filter(|prefix| found.contains(&prefix.hash)).copied().collect())
    }

    /// The best of the candidates whose whole request is this prefix.
    fn find_at(&self, index: &Connection, prefix: Prefix) -> rusqlite::Result<Option<Parent>> {
        let mut statement = index.prepare_cached(
            "SELECT id, ts_start, answer, session FROM rows WHERE prefix = ?1 AND key = ?2 AND fresh IS NULL \
             AND ts_start <= ?3 AND (ts_start < ?3 OR id < ?4) AND (ts_start + duration_ms <= ?3 OR answer = ?6) \
             ORDER BY ts_start DESC, id DESC LIMIT ?5",
        )?;
        // Whose answer came back was known to the client, even if its connection ended a little later.
        let given =
            params![prefix.hash, self.key, self.ts_start.0, self.id.to_string(), MAX_CANDIDATES as i64, prefix.reply];
        let candidates: Vec<Candidate> = statement
            .query_map(given, |row| {
                Ok(Candidate { id: row.get(0)?, ts_start: row.get(1)?, answer: row.get(2)?, session: row.get(3)? })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(choose(candidates, prefix.reply).map(|(chosen, is_answer)| Parent {
            id: chosen.id,
            session: chosen.session,
            method: if is_answer { Method::PrefixAnswer } else { Method::Prefix },
            length: prefix.length,
        }))
    }
}

/// The parent among candidates of equal length: the one whose answer the child sent back, then the later
/// start, then the greater id. Says also whether the answers agree.
fn choose(candidates: Vec<Candidate>, reply: Option<i64>) -> Option<(Candidate, bool)> {
    let is_answer = |it: &Candidate| it.answer.is_some() && it.answer == reply;
    let chosen = candidates.into_iter().max_by(|a, b| {
        is_answer(a).cmp(&is_answer(b)).then(a.ts_start.cmp(&b.ts_start)).then_with(|| a.id.cmp(&b.id))
    })?;
    let agrees = is_answer(&chosen);
    Some((chosen, agrees))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, ts_start: i64, answer: Option<i64>) -> Candidate {
        Candidate { id: id.into(), ts_start, answer, session: 0 }
    }

    fn chosen(candidates: &[Candidate], reply: Option<i64>) -> (String, bool) {
        let (it, agrees) = choose(candidates.to_vec(), reply).unwrap();
        (it.id, agrees)
    }

    #[test]
    fn the_answer_that_was_sent_back_decides_then_the_start_then_the_id() {
        let all = [candidate("a", 1, Some(7)), candidate("b", 2, Some(8)), candidate("c", 2, None)];
        assert_eq!(chosen(&all, Some(7)), ("a".into(), true));
        assert_eq!(chosen(&all, Some(9)), ("c".into(), false));
        assert_eq!(chosen(&all, None), ("c".into(), false));
        assert_eq!(chosen(&all[..2], None), ("b".into(), false));
        assert!(choose(Vec::new(), None).is_none());
    }
}
