//! A data dir followed by its files alone: lines as they are appended, whatever becomes of the files meanwhile.
//!
//! No index is needed, and nothing is locked or leased: sealing gives a segment another form with the same offsets, and
//! one that is deleted is simply over. A recorder may run, or none.

use std::collections::BTreeMap;
use std::io;

use crate::ids::{Date, Place, SegmentId};
use crate::jsonl::read::{open_at, segment_bytes};
use crate::jsonl::scan::{Content, Scanned, Scanner};
use crate::store::layout::{Form, FoundSegment, Layout};

/// Lines longer than this are passed over.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;
/// How much of a file's end is read at first to find its last lines.
const FIRST_WINDOW: u64 = 256 * 1024;

/// How far a segment has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// Where the next line begins.
    offset: u64,
    /// It is sealed and read to its end: nothing will be added.
    is_over: bool,
}

/// Who follows a data dir.
#[derive(Debug)]
pub struct Follower {
    layout: Layout,
    known: BTreeMap<SegmentId, Known>,
}

impl Follower {
    /// Behind all that is there now.
    ///
    /// # Errors
    /// The data dir cannot be read.
    pub fn at_end(layout: Layout) -> io::Result<Follower> {
        let mut known = BTreeMap::new();
        for FoundSegment { id, .. } in layout.segments()? {
            let (bytes, form) = match segment_bytes(&layout, id) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let offset = if form == Form::Plain { end_of_lines(&layout, id, bytes)? } else { bytes };
            known.insert(id, Known { offset, is_over: form != Form::Plain });
        }
        Ok(Follower { layout, known })
    }

    /// The last lines that `keep` makes something of, oldest day first and, within a segment, in the order of the file:
    /// at least `most` of them if there are as many, for the days are read from the last one back until there are.
    /// Looked at are those before the follower's place, of days from `since` on.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn last<T>(
        &self,
        most: usize,
        since: Option<Date>,
        mut keep: impl FnMut(Place, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut days: Vec<Vec<T>> = Vec::new();
        let mut count = 0;
        let mut segments =
            self.known.iter().rev().filter(|(id, _)| since.is_none_or(|it| id.bucket.date >= it)).peekable();
        while count < most {
            let Some(date) = segments.peek().map(|(id, _)| id.bucket.date) else { break };
            let mut of_day = Vec::new();
            while let Some((&id, known)) = segments.next_if(|(id, _)| id.bucket.date == date) {
                of_day.extend(self.last_of(id, known.offset, most, &mut keep)?);
            }
            count += of_day.len();
            days.push(of_day);
        }
        Ok(days.into_iter().rev().flatten().collect())
    }

    /// The same of one segment: its end is read, and more of it until there is enough.
    fn last_of<T>(
        &self,
        id: SegmentId,
        end: u64,
        most: usize,
        keep: &mut impl FnMut(Place, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut window = FIRST_WINDOW;
        loop {
            let start = if most == usize::MAX { 0 } else { end.saturating_sub(window) };
            // The byte before tells whether a line begins there.
            let from = start.saturating_sub(1);
            let reader = match open_at(&self.layout, id, from) {
                Ok((reader, _)) => reader,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let mut lines = Scanner::new(io::Read::take(reader, end - from), from, MAX_LINE_BYTES);
            let mut found = Vec::new();
            let mut is_first = start > 0;
            while let Some(scanned) = lines.next_line()? {
                if std::mem::take(&mut is_first) && scanned.offset == from {
                    continue;
                }
                found.extend(whole(id, scanned).and_then(|(place, line)| keep(place, line)));
            }
            if start == 0 || found.len() >= most {
                return Ok(found);
            }
            window = window.saturating_mul(8);
        }
    }

    /// Gives `take` every line that came since, segment by segment.
    ///
    /// # Errors
    /// The data dir cannot be read. What was given counts as read.
    pub fn poll(&mut self, mut take: impl FnMut(Place, &[u8])) -> io::Result<()> {
        let segments = self.layout.segments()?;
        self.known.retain(|id, _| segments.binary_search_by_key(id, |it| it.id).is_ok());
        for FoundSegment { id, forms } in segments {
            let known = self.known.entry(id).or_insert(Known { offset: 0, is_over: false });
            if known.is_over || (forms[0] == Form::Plain && !has_grown(&self.layout, id, known.offset)) {
                continue;
            }
            let (reader, form) = match open_at(&self.layout, id, known.offset) {
                Ok(opened) => opened,
                // Deleted just now; or cut: what it held behind the place is gone.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut lines = Scanner::new(reader, known.offset, MAX_LINE_BYTES);
            while let Some(scanned) = lines.next_line()? {
                known.offset = scanned.next_offset;
                if let Some((place, line)) = whole(id, scanned) {
                    take(place, line);
                }
            }
            known.is_over = form != Form::Plain;
        }
        Ok(())
    }
}

fn has_grown(layout: &Layout, id: SegmentId, offset: u64) -> bool {
    // One that cannot be looked at is opened, which tells why.
    std::fs::metadata(layout.segment(id, Form::Plain)).map_or(true, |it| it.len() > offset)
}

fn whole(segment: SegmentId, scanned: Scanned<'_>) -> Option<(Place, &[u8])> {
    let Scanned { offset, content: Content::Line(line), .. } = scanned else { return None };
    Some((Place { segment, offset, bytes: u32::try_from(line.len()).ok()? }, line))
}

/// Behind the last whole line of a plain file of so many bytes.
fn end_of_lines(layout: &Layout, id: SegmentId, bytes: u64) -> io::Result<u64> {
    let mut window = FIRST_WINDOW;
    loop {
        let start = bytes.saturating_sub(window);
        let mut end = Vec::new();
        let (reader, _) = open_at(layout, id, start)?;
        io::Read::read_to_end(&mut io::Read::take(reader, bytes - start), &mut end)?;
        if let Some(at) = memchr::memrchr(b'\n', &end) {
            return Ok(start + at as u64 + 1);
        }
        if start == 0 {
            return Ok(0);
        }
        window = window.saturating_mul(8);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    const SEGMENT: &str = "2026-05-27/a1b2c3d4.jsonl";

    struct Fixture {
        dir: tempfile::TempDir,
        layout: Layout,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            Fixture { dir, layout }
        }

        fn append(&self, segment: &str, text: &str) {
            let path = self.dir.path().join(segment);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn seal(&self, segment: &str) {
            let plain = self.dir.path().join(segment);
            let bytes = std::fs::read(&plain).unwrap();
            std::fs::write(format!("{}.zst", plain.display()), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
            std::fs::remove_file(plain).unwrap();
        }
    }

    fn text(line: &[u8]) -> String {
        String::from_utf8(line.to_vec()).unwrap()
    }

    fn polled(follower: &mut Follower) -> Vec<String> {
        let mut lines = Vec::new();
        follower.poll(|place, line| lines.push(format!("{}:{}", place.offset, text(line)))).unwrap();
        lines
    }

    #[test]
    fn lines_come_once_through_growth_sealing_and_new_files() {
        let fixture = Fixture::new();
        fixture.append(SEGMENT, "old\nha");
        let mut follower = Follower::at_end(fixture.layout.clone()).unwrap();
        assert!(polled(&mut follower).is_empty());
        fixture.append(SEGMENT, "lf\n\nnext\ntor");
        assert_eq!(polled(&mut follower), ["4:half", "10:next"]);
        fixture.append(SEGMENT, "n\n");
        // Sealed before it was read to the end, and another one begun.
        fixture.seal(SEGMENT);
        fixture.append("2026-05-27/a1b2c3d4.1.jsonl", "second\n");
        fixture.append("2026-05-28/00000000.jsonl", "third\n");
        assert_eq!(polled(&mut follower), ["15:torn", "0:second", "0:third"]);
        assert!(polled(&mut follower).is_empty());
        std::fs::remove_dir_all(fixture.dir.path().join("2026-05-27")).unwrap();
        fixture.append("2026-05-28/00000000.jsonl", "fourth\n");
        assert_eq!(polled(&mut follower), ["6:fourth"]);
    }

    #[test]
    fn a_data_dir_that_is_not_there_yet_is_followed_too() {
        let fixture = Fixture::new();
        let layout = Layout::new(fixture.dir.path().join("later"));
        let mut follower = Follower::at_end(layout).unwrap();
        fixture.append(&format!("later/{SEGMENT}"), "first\n");
        assert_eq!(polled(&mut follower), ["0:first"]);
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let fixture = Fixture::new();
        let long = "x".repeat(1000);
        let lines: String = (0..2000).map(|n| format!("{n} {long}\n")).collect();
        fixture.append(SEGMENT, &lines);
        fixture.append("2026-05-26/a1b2c3d4.jsonl", "earlier\n");
        fixture.append("2026-05-28/a1b2c3d4.jsonl", "later\nto");
        let follower = Follower::at_end(fixture.layout.clone()).unwrap();
        let number = |line: &[u8]| text(line).split(' ').next().unwrap().to_owned();
        assert_eq!(follower.last(1, None, |_, line| Some(number(line))).unwrap(), ["later"]);
        let two = follower.last(2, None, |_, line| Some(number(line))).unwrap();
        assert_eq!(two[two.len() - 2..], ["1999", "later"]);
        // Far back in the file.
        let odd = |_: Place, line: &[u8]| Some(number(line)).filter(|it| it.starts_with("7") && it.len() == 1);
        assert_eq!(follower.last(1, None, odd).unwrap(), ["7"]);
        fixture.seal(SEGMENT);
        let all = follower.last(usize::MAX, None, |place, line| Some((place.offset, number(line)))).unwrap();
        assert_eq!((all.len(), all[1].clone()), (2002, (0, "0".to_owned())));
        let since = follower.last(usize::MAX, Some(Date(20_601)), |_, line| Some(number(line))).unwrap();
        assert_eq!(since, ["later"]);
    }
}
