//! A crash at any moment: what is found of the logs, in any interleaving of appends, moves and frees.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::capture::arena::{Geometry, SIZES};
use crate::capture::chunk::{COMMITTED_AT, Header};
use crate::capture::record::{Head, Kind};

/// An arena and spools as a process leaves them, step by step, with each step as small as its stores.
struct Left {
    arena: File,
    geometry: Geometry,
    free: Vec<Vec<u32>>,
    logs: BTreeMap<u8, Log>,
}

#[derive(Default)]
struct Log {
    /// All that was ever committed.
    bytes: Vec<u8>,
    chunks: Vec<Used>,
    spooled: Vec<(Frame, Vec<u8>)>,
}

struct Used {
    class: usize,
    index: u32,
    offset: u64,
    committed: u32,
}

fn id(log: u8) -> TraceId {
    TraceId::from_bytes([log; 16])
}

impl Left {
    fn new() -> Left {
        let arena = tempfile::tempfile().unwrap();
        let geometry = Geometry::for_bytes(1 << 20);
        arena.set_len(geometry.file_bytes()).unwrap();
        arena.write_all_at(&geometry.page(), 0).unwrap();
        // So few that each is used again and again.
        let free = (0..SIZES.len()).map(|class| (0..geometry.count(class).min(3)).collect()).collect();
        Left { arena, geometry, free, logs: BTreeMap::new() }
    }

    fn commit(&self, used: &Used) {
        let at = self.geometry.at(used.class, used.index) + COMMITTED_AT as u64;
        self.arena.write_all_at(&used.committed.to_le_bytes(), at).unwrap();
    }

    /// Appends a record; in a new chunk if it does not fit.
    fn append(&mut self, key: u8, length: usize) {
        let payload: Vec<u8> = (0..length).map(|at| key ^ at as u8).collect();
        let head = Head::new(Kind::ResponseBody, 7, length as u32);
        let record = [head.as_bytes(), &payload].concat();
        let log = self.logs.entry(key).or_default();
        let room = |used: &Used| SIZES[used.class] - chunk::HEADER_BYTES - used.committed as usize;
        if log.chunks.last().is_none_or(|it| room(it) < record.len()) {
            let wanted = log.chunks.len().min(2);
            let Some((class, index)) = (wanted..3).find_map(|it| Some((it, self.free[it].pop()?))) else { return };
            let mut header = [0; chunk::HEADER_BYTES];
            let at = self.geometry.at(class, index);
            self.arena.read_exact_at(&mut header, at).unwrap();
            let offset = log.bytes.len() as u64;
            Header::write(&mut header, id(key), offset);
            self.arena.write_all_at(&header, at).unwrap();
            log.chunks.push(Used { class, index, offset, committed: 0 });
        }
        let used = log.chunks.last_mut().unwrap();
        let at = self.geometry.at(used.class, used.index) + chunk::HEADER_BYTES as u64;
        self.arena.write_all_at(&record, at + u64::from(used.committed)).unwrap();
        used.committed += record.len() as u32;
        log.bytes.extend_from_slice(&record);
        let used = self.logs[&key].chunks.last().unwrap();
        self.commit(used);
    }

    /// Appends to the spool what is committed, one frame for each chunk.
    fn spool(&mut self, key: u8) {
        let Some(log) = self.logs.get_mut(&key) else { return };
        let mut end = log.spooled.last().map_or(0, |(frame, _)| frame.offset + u64::from(frame.bytes));
        for used in &log.chunks {
            let until = used.offset + u64::from(used.committed);
            if until > end {
                let bytes = log.bytes[end as usize..until as usize].to_vec();
                log.spooled.push((Frame { offset: end, at: 0, bytes: bytes.len() as u32 }, bytes));
                end = until;
            }
        }
    }

    /// Gives back what the spool has, but for the first and the last chunk.
    fn shed(&mut self, key: u8) {
        self.spool(key);
        let Some(log) = self.logs.get_mut(&key) else { return };
        let last = log.chunks.len().saturating_sub(1).max(1);
        for mut used in log.chunks.drain(1.min(log.chunks.len())..last.min(log.chunks.len())).collect::<Vec<_>>() {
            used.committed = 0;
            let at = self.geometry.at(used.class, used.index) + COMMITTED_AT as u64;
            self.arena.write_all_at(&0_u32.to_le_bytes(), at).unwrap();
            self.free[used.class].push(used.index);
        }
    }

    /// Forgets a log, or only begins to.
    fn forget(&mut self, key: u8, chunks: usize) {
        let Some(mut log) = self.logs.remove(&key) else { return };
        for mut used in log.chunks.drain(..).take(chunks) {
            used.committed = 0;
            self.commit(&used);
            self.free[used.class].push(used.index);
        }
    }

    fn found(&self) -> BTreeMap<TraceId, Vec<u8>> {
        let logs = by_log(self.geometry.chunks(&self.arena).unwrap());
        let mut found = BTreeMap::new();
        for (trace, chunks) in logs {
            if first_chunk(&chunks).is_none() {
                continue;
            }
            let log = &self.logs.get(&trace.to_bytes()[0]);
            let spooled = log.map(|it| it.spooled.as_slice()).unwrap_or_default();
            let frames: Vec<Frame> = spooled.iter().map(|(frame, _)| *frame).collect();
            let mut bytes = Vec::new();
            for piece in assemble(&chunks, &frames) {
                match piece {
                    Piece::Arena(at, length) => {
                        let mut piece = vec![0; length as usize];
                        self.arena.read_exact_at(&mut piece, at).unwrap();
                        bytes.extend(piece);
                    }
                    Piece::Covered(_) => panic!("nothing is"),
                    Piece::Spool(frame) => {
                        bytes.extend(&spooled.iter().find(|(it, _)| *it == frame).unwrap().1);
                    }
                }
            }
            found.insert(trace, bytes);
        }
        found
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8, usize),
    Spool(u8),
    Shed(u8),
    Forget(u8),
    BeginToForget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let log = || 1..5_u8;
    prop_oneof![
        6 => (log(), prop_oneof![0..200_usize, 2_000..3_900_usize]).prop_map(|(log, length)| Step::Append(log, length)),
        1 => log().prop_map(Step::Spool),
        2 => log().prop_map(Step::Shed),
        1 => log().prop_map(Step::Forget),
        1 => log().prop_map(Step::BeginToForget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_crash_after_any_step_leaves_each_log_whole_and_nothing_of_those_that_were_let_go(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut left = Left::new();
        for step in steps {
            match step {
                Step::Append(log, length) => left.append(log, length),
                Step::Spool(log) => left.spool(log),
                Step::Shed(log) => left.shed(log),
                Step::Forget(log) => left.forget(log, usize::MAX),
                // Its other chunks stay behind, as if the crash had come in between.
                Step::BeginToForget(log) => left.forget(log, 1),
            }
        }
        let expected: BTreeMap<_, _> = left.logs.iter()
            .filter(|(_, log)| !log.chunks.is_empty())
            .map(|(key, log)| (id(*key), log.bytes.clone()))
            .collect();
        prop_assert_eq!(left.found(), expected);
    }
}

#[test]
fn lines_that_stand_are_found_whatever_their_length_and_torn_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let line = |log: u8, length: usize| format!("{{\"id\":\"{}\",\"x\":\"{}\"}}\n", id(log), "y".repeat(length));
    let day = dir.path().join("2026-01-01");
    std::fs::create_dir(&day).unwrap();
    std::fs::write(day.join("00000000.jsonl"), [line(1, 0), "{}\n".into(), line(2, 700_000), line(3, 9)].concat())
        .unwrap();
    let torn = line(4, 100);
    std::fs::write(day.join("00000001.jsonl"), &torn[..torn.len() - 1]).unwrap();
    let packed = zstd::encode_all(line(6, 5).as_bytes(), 1).unwrap();
    std::fs::write(day.join("00000002.jsonl.zst"), packed).unwrap();
    let ids: HashSet<_> = [2, 3, 4, 5, 6].map(id).into();
    let found = |since| with_a_line(&layout, &ids, since).unwrap();
    assert_eq!(found(UnixMillis(0)), [2, 3, 6].map(id).into());
    assert_eq!(found(UnixMillis(i64::MAX)), HashSet::new(), "files that were not touched since are not read");
}

#[test]
fn whole_lines_end_behind_the_last_newline_however_long_the_torn_one_is() {
    for (whole, torn) in [(0, 0), (0, 200_000), (10, 0), (10, 1), (200_000, 65_536), (70_000, 200_000)] {
        let mut text = vec![b'x'; whole];
        text.last_mut().into_iter().for_each(|last| *last = b'\n');
        text.resize(whole + torn, b'y');
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&text, 0).unwrap();
        assert_eq!(end_of_whole_lines(&file).unwrap(), whole as u64);
    }
}
