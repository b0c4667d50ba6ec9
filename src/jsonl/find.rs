//! A trace found in the files by its id, or by the beginning of one, without an index.

use std::io;

use crate::ids::{Place, TraceId, UnixMillis};
use crate::jsonl::follow::MAX_LINE_BYTES;
use crate::jsonl::read::{id_of, open_at};
use crate::jsonl::scan::{Content, Scanned, Scanner};
use crate::store::layout::Layout;

/// The beginning of an id, or all of it. As text in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix(String);

/// A text that no id begins with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the beginning of a trace id, which has 26 digits and letters such as 01J0ABCDEFGHJKMNPQRSTVWXYZ")]
pub struct NotAPrefix(String);

impl std::str::FromStr for IdPrefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<IdPrefix, NotAPrefix> {
        let prefix = IdPrefix(text.to_ascii_uppercase());
        let is_prefix = !text.is_empty() && prefix.filled('0').is_some();
        if is_prefix { Ok(prefix) } else { Err(NotAPrefix(text.to_owned())) }
    }
}

impl std::fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl IdPrefix {
    /// The id, if it is whole.
    pub fn whole(&self) -> Option<TraceId> {
        self.0.parse().ok()
    }

    /// Whether an id begins so.
    pub fn begins(&self, id: &str) -> bool {
        id.starts_with(&self.0)
    }

    /// The first and the last moment that an id which begins so can be of.
    pub fn moments(&self) -> (UnixMillis, UnixMillis) {
        let moment = |with| self.filled(with).map_or(UnixMillis(0), TraceId::moment);
        (moment('0'), moment('Z'))
    }

    fn filled(&self, with: char) -> Option<TraceId> {
        const LENGTH: usize = 26;
        let missing = LENGTH.checked_sub(self.0.len())?;
        (self.0.clone() + &String::from(with).repeat(missing)).parse().ok()
    }
}

/// A trace in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: TraceId,
    /// Where its line stands.
    pub place: Place,
    /// Its line, without the newline.
    pub line: Vec<u8>,
}

/// The traces whose ids begin so, at most two of them: one more is as ambiguous as many. The days that they may have
/// been written on are read first, then, if nothing was found, those after.
///
/// # Errors
/// A file cannot be read.
pub fn find(layout: &Layout, prefix: &IdPrefix) -> io::Result<Vec<Found>> {
    let (first, last) = prefix.moments();
    // A line goes into the file of the day on which it was written: that of its end, or a later one.
    let (first, last) = (first.date(), last.date());
    let segments: Vec<_> =
        layout.segments()?.into_iter().map(|it| it.id).filter(|it| it.bucket.date >= first).collect();
    let (likely, late): (Vec<_>, Vec<_>) = segments.into_iter().partition(|it| it.bucket.date.0 <= last.0 + 1);
    let mut found: Vec<Found> = Vec::new();
    for (rank, segment) in likely.iter().map(|it| (0, *it)).chain(late.iter().map(|it| (1, *it))) {
        if found.len() > 1 || (rank > 0 && !found.is_empty()) {
            break;
        }
        let reader = match open_at(layout, segment, 0) {
            Ok((reader, _)) => reader,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut lines = Scanner::new(reader, 0, MAX_LINE_BYTES);
        while let Some(Scanned { offset, content, .. }) = lines.next_line()? {
            let Content::Line(line) = content else { continue };
            let Some(id) = id_of(line).filter(|id| prefix.begins(&id.to_string())) else { continue };
            // The same line may stand twice after a crash.
            if found.iter().any(|it| it.id == id) {
                continue;
            }
            let bytes = u32::try_from(line.len()).unwrap_or(u32::MAX);
            found.push(Found { id, place: Place { segment, offset, bytes }, line: line.to_vec() });
            if prefix.whole().is_some() {
                return Ok(found);
            }
        }
    }
    found.truncate(2);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonl::file::JsonlFile;

    fn write(layout: &Layout, segment: &str, ids: &[&str]) {
        let lines: Vec<String> = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}")).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        JsonlFile::open(layout, segment.parse().unwrap()).unwrap().append(&lines).unwrap();
    }

    #[test]
    fn an_id_is_found_by_its_beginning_if_only_one_begins_so() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        // 01J0… is of June 2024.
        let (a, b, c) = ("01J00000000000000000000001", "01J00000000000000000000002", "01J0000000000000000000A003");
        write(&layout, "2024-06-10/a1b2c3d4.jsonl", &[a, b]);
        write(&layout, "2024-06-19/a1b2c3d4.jsonl", &[c]);
        let ids = |prefix: &str| -> Vec<String> {
            let found = find(&layout, &prefix.parse().unwrap()).unwrap();
            found.into_iter().map(|it| it.id.to_string()).collect()
        };
        assert_eq!(ids(a), [a]);
        assert_eq!(ids("01j00000000000000000000002"), [b]);
        assert_eq!(ids("01J000000000000000000000"), [a, b]);
        assert_eq!(ids("01J0000000000000000000A"), [c], "written days later");
        assert!(ids("01J0000000000000000000B").is_empty());
        assert_eq!(find(&layout, &b.parse().unwrap()).unwrap()[0].place.offset, a.len() as u64 + 10);
        for bad in ["", "é", "U", "01J0-", "01J000000000000000000000011"] {
            assert!(bad.parse::<IdPrefix>().is_err(), "{bad}");
        }
    }
}
