//! What recent rows look for in rows that may come after them.
//!
//! A child's line can overtake its parent's: each is finished on its own, and each day has its own file.
//! So that links do not depend on the order of insertion, a new row is also offered, as a parent, to those
//! recent rows that would take it.

use std::collections::{HashMap, VecDeque};

use rusqlite::{Connection, params};

use crate::ids::{TraceId, UnixMillis};
use crate::index::parent::{Child, Newcomer, Parent, Prefix};

/// How many rows back a child is remembered. Order within a key is kept by the checkpoints; what remains
/// are lines finished at the same time, and the first ones of a day.
pub(super) const WINDOW_ROWS: i64 = 8192;

/// How many strict prefixes of a child are remembered, the longest ones. A child that overtakes is the
/// next request of a conversation: its parent is a few turns shorter.
const MAX_PREFIXES: usize = 32;

/// The children that may still find a better parent.
///
/// *Invariant:* holds what the table `awaiting` holds of merged rows.
#[derive(Debug, Default)]
pub(super) struct Awaiting {
    children: HashMap<i64, Child>,
    /// Who awaits what, oldest first, with the instant from which it may end no later.
    by_link: HashMap<Link, VecDeque<(i64, UnixMillis)>>,
    oldest_first: VecDeque<i64>,
}

/// Something that a parent has and a child looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Link {
    Prefix { key: i64, hash: i64 },
    Response { key: i64, hash: i64 },
    Conversation { key: i64, hash: i64 },
}

impl Awaiting {
    pub(super) fn load(index: &Connection) -> rusqlite::Result<Awaiting> {
        let mut awaiting = Awaiting::default();
        let mut statement = index.prepare(
            "SELECT awaiting.row, links, id, ts_start, key FROM awaiting JOIN rows USING (row) WHERE fresh IS NULL \
             ORDER BY awaiting.row",
        )?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let id: String = row.get(2)?;
            let Ok(id) = id.parse::<TraceId>() else { continue };
            let child = decode(&row.get::<_, Vec<u8>>(1)?, id, UnixMillis(row.get(3)?), row.get(4)?);
            awaiting.remember(row.get(0)?, child);
        }
        Ok(awaiting)
    }

    /// Remembers a row that was just inserted, if it may still find a better parent than this one, and
    /// forgets those that are too far back.
    pub(super) fn push(
        &mut self,
        index: &Connection,
        row: i64,
        mut child: Child,
        parent: Option<&Parent>,
    ) -> rusqlite::Result<()> {
        let shared = parent.map_or(0, |parent| parent.length);
        child.prefixes.retain(|prefix| prefix.length >= shared);
        child.prefixes.truncate(MAX_PREFIXES);
        if parent.is_some_and(|parent| parent.length == 0) {
            // Found by name: common turns count for nothing then.
            child.prefixes.clear();
        }
        if child.has_links() {
            store(index, row, &child)?;
            self.remember(row, child);
        }
        Ok(())
    }

    /// Forgets the rows that are too far behind the last one that was linked, `next_row` being the next.
    pub(super) fn forget_old(&mut self, index: &Connection, next_row: i64) -> rusqlite::Result<()> {
        let horizon = next_row - WINDOW_ROWS;
        if self.oldest_first.front().is_none_or(|&row| row >= horizon) {
            return Ok(());
        }
        while let Some(&row) = self.oldest_first.front().filter(|row| **row < horizon) {
            self.oldest_first.pop_front();
            self.forget(row);
        }
        index.prepare_cached("DELETE FROM awaiting WHERE row < ?")?.execute([horizon])?;
        Ok(())
    }

    /// The remembered rows that might take `row` as their parent, in the order of their insertion.
    pub(super) fn possible_children(&self, row: &Newcomer, key: i64) -> Vec<(i64, Child)> {
        let offered = [
            row.prefix.map(|hash| Link::Prefix { key, hash }),
            row.response.map(|hash| Link::Response { key, hash }),
            row.conversation.map(|hash| Link::Conversation { key, hash }),
        ];
        let mut rows = Vec::new();
        let answer = row.answer;
        for link in offered.into_iter().flatten() {
            // Whose answer came back, or whose id is named, was known to the child, ended or not.
            let is_known = |child: i64| match link {
                Link::Response { .. } => true,
                Link::Conversation { .. } => false,
                Link::Prefix { hash, .. } => self.children.get(&child).is_some_and(|child| {
                    answer.is_some() && child.prefixes.iter().any(|it| it.hash == hash && it.reply == answer)
                }),
            };
            let waiting = self.by_link.get(&link).into_iter().flatten();
            rows.extend(
                waiting.filter(|(child, begins)| row.ts_end <= *begins || is_known(*child)).map(|&(row, _)| row),
            );
        }
        rows.sort_unstable();
        rows.dedup();
        let child = |row: i64| self.children.get(&row).map(|child| (row, child.clone()));
        let begins_later = |(_, child): &(i64, Child)| (row.ts_start, row.id) < (child.ts_start, child.id);
        rows.into_iter().filter_map(child).filter(begins_later).collect()
    }

    fn remember(&mut self, row: i64, child: Child) {
        for link in links(&child) {
            self.by_link.entry(link).or_default().push_back((row, child.ts_start));
        }
        self.children.insert(row, child);
        self.oldest_first.push_back(row);
    }

    fn forget(&mut self, row: i64) {
        let Some(child) = self.children.remove(&row) else { return };
        for link in links(&child) {
            if let Some(waiting) = self.by_link.get_mut(&link) {
                // Rows come and go in the same order, so it is the first one.
                debug_assert!(waiting.front().is_some_and(|(first, _)| *first == row));
                waiting.pop_front();
                if waiting.is_empty() {
                    self.by_link.remove(&link);
                }
            }
        }
    }
}

/// Keeps what a fresh row looks for until it is merged.
pub(super) fn keep(index: &Connection, row: i64, child: &Child) -> rusqlite::Result<()> {
    if child.has_links() { store(index, row, child) } else { Ok(()) }
}

/// Forgets it again.
pub(super) fn discard(index: &Connection, row: i64, child: &Child) -> rusqlite::Result<()> {
    if child.has_links() {
        index.prepare_cached("DELETE FROM awaiting WHERE row = ?")?.execute([row])?;
    }
    Ok(())
}

fn store(index: &Connection, row: i64, child: &Child) -> rusqlite::Result<()> {
    index.prepare_cached("INSERT INTO awaiting (row, links) VALUES (?, ?)")?.execute(params![row, encode(child)])?;
    Ok(())
}

fn links(child: &Child) -> Vec<Link> {
    let key = child.key;
    let named = child.previous_response.map(|hash| Link::Response { key, hash });
    let conversation = child.conversation.map(|hash| Link::Conversation { key, hash });
    let prefixes = child.prefixes.iter().map(|prefix| Link::Prefix { key, hash: prefix.hash });
    prefixes.chain(named).chain(conversation).collect()
}

/// Fixed-size parts: a byte that says which optional ones follow, then each prefix with its length, hash,
/// and reply with a byte before it that says whether there is one.
pub(super) fn encode(child: &Child) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17 + child.prefixes.len() * 21);
    bytes.push(u8::from(child.previous_response.is_some()) | u8::from(child.conversation.is_some()) << 1);
    for hash in [child.previous_response, child.conversation].into_iter().flatten() {
        bytes.extend_from_slice(&hash.to_be_bytes());
    }
    for prefix in &child.prefixes {
        bytes.extend_from_slice(&prefix.length.to_be_bytes());
        bytes.extend_from_slice(&prefix.hash.to_be_bytes());
        bytes.push(u8::from(prefix.reply.is_some()));
        bytes.extend_from_slice(&prefix.reply.unwrap_or(0).to_be_bytes());
    }
    bytes
}

/// The reverse of [`encode`]; what cannot be read is left out.
pub(super) fn decode(bytes: &[u8], id: TraceId, ts_start: UnixMillis, key: i64) -> Child {
    let mut rest = bytes;
    let flags = take::<1>(&mut rest).map_or(0, |it| it[0]);
    let mut optional = |bit: u8| if flags & bit != 0 { take::<8>(&mut rest).map(i64::from_be_bytes) } else { None };
    let (previous_response, conversation) = (optional(1), optional(2));
    let mut prefixes = Vec::new();
    while let (Some(length), Some(hash), Some(has_reply), Some(reply)) =
        (take::<4>(&mut rest), take::<8>(&mut rest), take::<1>(&mut rest), take::<8>(&mut rest))
    {
        prefixes.push(Prefix {
            length: u32::from_be_bytes(length),
            hash: i64::from_be_bytes(hash),
            reply: (has_reply[0] != 0).then_some(i64::from_be_bytes(reply)),
        });
    }
    Child { id, ts_start, key, previous_response, conversation, prefixes }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_was_awaited() {
        let id = "01J00000000000000000000000".parse().unwrap();
        for (previous_response, conversation) in [(None, None), (Some(-5), None), (None, Some(6)), (Some(1), Some(2))] {
            let prefixes =
                vec![Prefix { length: 3, hash: -1, reply: Some(0) }, Prefix { length: 2, hash: i64::MAX, reply: None }];
            let child = Child { id, ts_start: UnixMillis(9), key: 4, previous_response, conversation, prefixes };
            assert_eq!(decode(&encode(&child), id, UnixMillis(9), 4), child);
        }
        assert_eq!(decode(&[1, 2], id, UnixMillis(9), 4).prefixes, []);
    }
}
