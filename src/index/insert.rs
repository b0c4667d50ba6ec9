//! Rows into the index: once each, in their segments' order, linked to their parents.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::{Place, SegmentId, TraceId};
use crate::index::fresh::Fresh;
use crate::index::parent::{Child, Newcomer, Parent, as_integer};
use crate::index::sessions::{SessionSums, session_of_root, sum_anew};
use crate::index::state::{Memory, WriterState};
use crate::index::stats::rollup::{Facts, Group, Rollups};
use crate::index::{IndexError, awaiting, correct, texts};
use crate::trace::Row;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Rows that were inserted.
    pub inserted: usize,
    /// Rows that were in the index already.
    pub known: usize,
    /// Rows that were refused because lines before them are not indexed yet.
    pub refused: usize,
    /// The segments of the refused rows: [`super::catch_up()`] reads them.
    pub behind: BTreeSet<SegmentId>,
    /// How many rows of the index are fresh now, at most: [`super::merge_fresh`] merges them.
    pub fresh: u64,
}

/// Inserts rows whose lines stand at these places, in one transaction that also moves the checkpoints.
///
/// A row goes in only if its line is its segment's next one; then checkpoints tell exactly what is missing.
/// One that stands further on is refused and its segment is behind until it was caught up, and so are
/// later segments of its key. Any row may be sent again.
///
/// # Errors
/// The database fails: nothing of the batch is in, and it may be sent again.
pub fn insert_batch<R: Borrow<Row>>(
    connection: &mut Connection,
    state: &mut WriterState,
    rows: &[(R, Place)],
) -> Result<BatchReport, IndexError> {
    insert_rows(connection, state, rows, false)
}

/// The same into few of the indexes: the rows are fresh, until they are merged. So is every row that is inserted before
/// all of them are, in whichever way.
///
/// # Errors
/// See [`insert_batch`].
pub fn insert_fresh<R: Borrow<Row>>(
    connection: &mut Connection,
    state: &mut WriterState,
    rows: &[(R, Place)],
) -> Result<BatchReport, IndexError> {
    insert_rows(connection, state, rows, true)
}

fn insert_rows<R: Borrow<Row>>(
    connection: &mut Connection,
    state: &mut WriterState,
    rows: &[(R, Place)],
    is_rush: bool,
) -> Result<BatchReport, IndexError> {
    // Which may go in is known beforehand only by what is behind; the rest the checkpoints tell.
    let waits: Vec<bool> = rows.iter().map(|(_, place)| state.must_wait(place.segment)).collect();
    let report = state.transact(connection, |index, memory| -> Result<BatchReport, IndexError> {
        let mut report = BatchReport::default();
        let mut batch = Insertion { is_rush, ..Insertion::new(index, memory) };
        for ((row, place), waits) in rows.iter().zip(waits) {
            let next = batch.memory.checkpoint(index, place.segment)?.indexed_to;
            let key = place.segment.bucket.key;
            let earlier_is_behind = || report.behind.range(..=place.segment).any(|it| it.bucket.key == key);
            if place.offset < next {
                // It was read back from its file meanwhile, perhaps before its attachments stood beside it.
                correct::raise_media_count(index, row.borrow())?;
                report.known += 1;
            } else if waits || place.offset > next || earlier_is_behind() {
                report.refused += 1;
                report.behind.insert(place.segment);
            } else {
                let end = place.offset + u64::from(place.bytes) + 1;
                let is_new = batch.insert(row.borrow(), *place)?;
                batch.advance(place.segment, end, 0, false)?;
                if is_new { report.inserted += 1 } else { report.known += 1 }
            }
        }
        batch.finish()?;
        report.fresh = memory.fresh_left();
        Ok(report)
    })?;
    report.behind.iter().for_each(|&segment| state.mark_behind(segment));
    Ok(report)
}

/// One transaction's rows.
pub(super) struct Insertion<'a> {
    index: &'a Connection,
    pub(super) memory: &'a mut Memory,
    sums: SessionSums,
    rollups: Rollups,
    texts: texts::Pending,
    /// Checkpoints to store at the end: the last of each segment counts.
    ends: std::collections::BTreeMap<SegmentId, (u64, u64, bool)>,
    /// Rows are to be fresh.
    is_rush: bool,
    /// What the database says of fresh rows.
    fresh: Option<Fresh>,
}

/// How a row is linked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Linked<'p> {
    /// It is fresh: when it is merged.
    Later,
    /// Into this session, behind its parent if it has one.
    To { session: i64, parent: Option<&'p Parent> },
}

/// Where a row belongs.
struct Belonging {
    parent: Option<Parent>,
    session: i64,
    /// Set if it begins the session.
    root: Option<TraceId>,
}

impl<'a> Insertion<'a> {
    pub(super) fn new(index: &'a Connection, memory: &'a mut Memory) -> Insertion<'a> {
        Insertion {
            index,
            fresh: memory.fresh,
            memory,
            is_rush: false,
            sums: SessionSums::default(),
            rollups: Rollups::default(),
            texts: texts::Pending::default(),
            ends: std::collections::BTreeMap::new(),
        }
    }

    /// Notes that a segment is indexed up to here, with so many more bad lines.
    pub(super) fn advance(
        &mut self,
        segment: SegmentId,
        indexed_to: u64,
        bad_lines: u64,
        is_done: bool,
    ) -> rusqlite::Result<()> {
        self.memory.checkpoint(self.index, segment)?;
        if let Some(checkpoint) = self.memory.segments.get_mut(&segment) {
            checkpoint.indexed_to = indexed_to;
        }
        let end = self.ends.entry(segment).or_insert((0, 0, false));
        *end = (indexed_to, end.1 + bad_lines, is_done);
        Ok(())
    }

    /// Stores what was gathered; call it before the transaction ends.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.sums.flush(self.index)?;
        self.rollups.flush(self.index)?;
        self.texts.flush(self.index)?;
        for (segment, (indexed_to, bad_lines, is_done)) in self.ends {
            self.memory.advance(self.index, segment, indexed_to, bad_lines, is_done)?;
        }
        if self.memory.fresh != self.fresh {
            Fresh::store(self.index, self.memory.fresh)?;
        }
        let next_linked = self.memory.fresh.map_or(self.memory.next_row, |fresh| fresh.first_row);
        self.memory.awaiting.forget_old(self.index, next_linked)
    }

    /// Inserts a row and links it and the rows that it is the better parent of. `false` if its id is there
    /// already; of a line written twice the first one counts.
    pub(super) fn insert(&mut self, row: &Row, place: Place) -> rusqlite::Result<bool> {
        if place.offset == 0 {
            self.memory.begin_with(self.index, place.segment, row.id)?;
        }
        let key = self.memory.key(self.index, row.key)?;
        let child = Child::of(row, key);
        let is_fresh = self.is_rush || self.memory.fresh.is_some();
        let belonging = if is_fresh { None } else { Some(self.find_belonging(&child)?) };
        let linked = belonging
            .as_ref()
            .map_or(Linked::Later, |it| Linked::To { session: it.session, parent: it.parent.as_ref() });
        if !self.store(row, place, key, linked)? {
            self.prefer_first_line(row, place)?;
            return Ok(false);
        }
        let inserted = self.memory.next_row;
        self.memory.next_row += 1;
        match belonging {
            Some(belonging) => self.join(inserted, &Newcomer::of(row), child, belonging)?,
            None => {
                let fresh = self.memory.fresh.get_or_insert(Fresh { first_row: inserted, since: row.ts_start.0 });
                fresh.since = fresh.since.min(row.ts_start.0);
                awaiting::keep(self.index, inserted, &child)?;
            }
        }
        Ok(true)
    }

    /// Merges the first fresh row.
    pub(super) fn merge(&mut self, number: i64, row: &Newcomer, child: Child) -> rusqlite::Result<()> {
        let belonging = self.find_belonging(&child)?;
        let parent = belonging.parent.as_ref();
        let method = self.memory.word_of(self.index, parent.map(|parent| parent.method.name()))?;
        self.index
            .prepare_cached(
                "UPDATE rows SET fresh = NULL, parent = ?2, session = ?3, session_method = ?4 WHERE row = ?1",
            )?
            .execute(params![number, parent.map(|parent| &parent.id), belonging.session, method])?;
        awaiting::discard(self.index, number, &child)?;
        if let Some(fresh) = &mut self.memory.fresh {
            fresh.first_row = number + 1;
        }
        self.join(number, row, child, belonging)
    }

    fn find_belonging(&self, child: &Child) -> rusqlite::Result<Belonging> {
        // What is summed so far is not stored, but sessions of rows are.
        let parent = child.find_parent(self.index)?;
        let (session, root) = match &parent {
            Some(parent) => (parent.session, None),
            None => match session_of_root(self.index, child.id)? {
                Some(session) => (session, None),
                None => (self.memory.next_session, Some(child.id)),
            },
        };
        Ok(Belonging { parent, session, root })
    }

    /// Counts a row that is stored where it belongs, and links those that it is the better parent of.
    fn join(&mut self, number: i64, row: &Newcomer, child: Child, belonging: Belonging) -> rusqlite::Result<()> {
        let Belonging { parent, session, root } = belonging;
        let key = child.key;
        self.memory.next_session += i64::from(root.is_some());
        self.sums.add(session, root, row);
        self.memory.awaiting.push(self.index, number, child, parent.as_ref())?;
        for (row, child) in self.memory.awaiting.possible_children(row, key) {
            self.link_anew(row, &child)?;
        }
        Ok(())
    }

    /// Stores a row as it is said to be linked, and counts it in its rollup.
    pub(super) fn store(&mut self, row: &Row, place: Place, key: i64, linked: Linked<'_>) -> rusqlite::Result<bool> {
        let (index, memory) = (self.index, &mut *self.memory);
        let (fresh, session, parent) = match linked {
            Linked::Later => (Some(1), 0, None),
            Linked::To { session, parent } => (None, session, parent),
        };
        let (path, query) = match row.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (row.path.as_str(), None),
        };
        let links = &row.conversation;
        let number = |count: Option<u64>| count.map(u64::cast_signed);
        let tags = if row.tags.is_empty() { None } else { serde_json::to_string(&row.tags).ok() };
        let inserted = memory.next_row;
        let method = memory.word(index, &row.method)?;
        let path = memory.word(index, path)?;
        let upstream = memory.word(index, &row.upstream)?;
        let end = memory.word(index, row.end.name())?;
        let protocol = memory.word(index, row.protocol.name())?;
        let model = memory.word_of(index, row.model.as_deref())?;
        let finish_reason = memory.word_of(index, row.finish_reason.as_deref())?;
        let error_type = memory.word_of(index, row.error_type.as_deref())?;
        let session_method = memory.word_of(index, parent.map(|parent| parent.method.name()))?;
        let client_kind = memory.word_of(index, row.client_kind.as_deref())?;
        let client_version = memory.word_of(index, row.client_version.as_deref())?;
        let client_project = memory.word_of(index, row.client_project.as_deref())?;
        let segment = memory.checkpoint(index, place.segment)?.segment;
        let stored = index.prepare_cached(INSERT)?.execute(params![
            inserted,
            row.id.to_string(),
            row.ts_start.0,
            row.ts_end.0.saturating_sub(row.ts_start.0),
            row.client,
            method,
            path,
            query,
            upstream,
            row.status,
            end,
            row.disconnected,
            row.truncated_req,
            row.truncated_resp,
            protocol,
            model,
            row.stream,
            row.usage.prompt,
            row.usage.completion,
            row.usage.total,
            row.usage.cached,
            row.usage.cache_creation,
            row.usage.reasoning,
            finish_reason,
            error_type,
            key,
            (!links.prefixes.is_empty()).then_some(links.prefixes.len() as i64),
            links.prefixes.last().copied().map(as_integer),
            links.answer.map(as_integer),
            links.response_id.map(as_integer),
            links.conversation_id.map(as_integer),
            parent.map(|parent| &parent.id),
            session,
            session_method,
            client_kind,
            client_version,
            client_project,
            row.media_count,
            number(row.ttfb_ms),
            number(row.first_event_ms),
            number(row.req_bytes),
            number(row.resp_bytes),
            tags,
            segment,
            place.offset.cast_signed(),
            place.bytes,
            fresh,
        ])?;
        if stored == 1 {
            for tag in &row.tags {
                let tag = memory.word(index, tag)?;
                let labelled = "INSERT OR IGNORE INTO tags (tag, ts_start, row) VALUES (?, ?, ?)";
                index.prepare_cached(labelled)?.execute(params![tag, row.ts_start.0, inserted])?;
            }
            let group = Group::of(row.ts_start.0, model, key, client_kind, client_project);
            self.rollups.add(group, &Facts::of(row));
            if self.memory.keeps_texts {
                self.texts.add(inserted, row);
            }
        }
        Ok(stored == 1)
    }

    /// Points a row that is there already at this line, if it stands before the one known.
    fn prefer_first_line(&mut self, row: &Row, place: Place) -> rusqlite::Result<()> {
        let id = row.id.to_string();
        let known: Option<(String, i64)> = self
            .index
            .prepare_cached("SELECT segments.path, jsonl_offset FROM rows JOIN segments USING (segment) WHERE id = ?")?
            .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let known = known.and_then(|(path, offset)| Some((path.parse::<SegmentId>().ok()?, offset.cast_unsigned())));
        if known.is_some_and(|known| known <= (place.segment, place.offset)) {
            return Ok(());
        }
        let segment = self.memory.checkpoint(self.index, place.segment)?.segment;
        self.index
            .prepare_cached("UPDATE rows SET segment = ?, jsonl_offset = ?, jsonl_bytes = ? WHERE id = ?")?
            .execute(params![segment, place.offset.cast_signed(), place.bytes, id])?;
        Ok(())
    }

    /// Finds the parent of a row again, now that there is one more, and moves it and what follows from it.
    fn link_anew(&mut self, row: i64, child: &Child) -> rusqlite::Result<()> {
        let Some(parent) = child.find_parent(self.index)? else { return Ok(()) };
        let now: Option<(Option<String>, i64)> = self
            .index
            .prepare_cached("SELECT parent, session FROM rows WHERE row = ?")?
            .query_row([row], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((parent_now, session_now)) = now else { return Ok(()) };
        if parent_now.as_ref() == Some(&parent.id) {
            return Ok(());
        }
        let method = self.memory.word(self.index, parent.method.name())?;
        self.index
            .prepare_cached("UPDATE rows SET parent = ?, session_method = ? WHERE row = ?")?
            .execute(params![parent.id, method, row])?;
        if session_now != parent.session {
            self.sums.flush(self.index)?;
            self.move_descendants(child, session_now, parent.session)?;
            sum_anew(self.index, session_now)?;
            sum_anew(self.index, parent.session)?;
        }
        Ok(())
    }

    /// Moves a row and all that descend from it to another session. A parent always stands before its
    /// children in the order of start and id, so one pass finds them.
    fn move_descendants(&mut self, child: &Child, from: i64, to: i64) -> rusqlite::Result<()> {
        let mut members = self.index.prepare_cached(
            "SELECT row, id, parent FROM rows WHERE session = ? AND fresh IS NULL ORDER BY ts_start, id",
        )?;
        let members: Vec<(i64, String, Option<String>)> = members
            .query_map([from], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let first = child.id.to_string();
        let mut moved = HashSet::new();
        let mut update = self.index.prepare_cached("UPDATE rows SET session = ? WHERE row = ?")?;
        for (row, id, parent) in members {
            if id == first || parent.is_some_and(|parent| moved.contains(&parent)) {
                update.execute([to, row])?;
                moved.insert(id);
            }
        }
        Ok(())
    }
}

const INSERT: &str = "INSERT OR IGNORE INTO rows (row, id, ts_start, duration_ms, client, method, path, query, \
    upstream, status, \"end\", disconnected, truncated_req, truncated_resp, protocol, model, stream, prompt_tokens, \
    completion_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens, finish_reason, \
    error_type, key, prefix_len, prefix, answer, response, conversation, parent, session, session_method, \
    client_kind, client_version, client_project, media_count, ttfb_ms, first_event_ms, req_bytes, resp_bytes, tags, \
    segment, jsonl_offset, jsonl_bytes, fresh) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
