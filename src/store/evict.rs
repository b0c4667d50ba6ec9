//! Deleting what retention chose, so that a crash at any point leaves something that the next look finishes.
//!
//! The order: a mark, then (by others) the rows, then attachments, lines, mark, folders. As long as the mark stands the
//! segment is half deleted; as long as its lines stand it is known whose the attachments are.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ids::{BucketId, SegmentId, TraceId};
use crate::jsonl::read::{id_of, open_at};
use crate::jsonl::scan::{Content, Scanner};
use crate::store::inventory::bytes_below;
use crate::store::layout::{Form, Layout};

/// Longer lines are passed over: no recorder writes them.
const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Bytes of lines, attachments and torn lines.
    pub bytes: u64,
    /// The traces whose attachments went.
    pub media: Vec<TraceId>,
    /// How many traces there were, if they were counted.
    pub traces: Option<u64>,
}

/// What is to be known of a segment that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Files may still come into its bucket: folders stay, and attachments that are not its traces'.
    pub may_grow: bool,
    /// Its traces are to be counted.
    pub counts: bool,
}

/// Marks a segment's deletion as begun. Whoever deletes holds its exclusive lease.
///
/// # Errors
/// The mark cannot be made. Where the disk is full that must not hinder the deletion, which is then only not finished
/// after a crash.
pub fn begin(layout: &Layout, segment: SegmentId) -> io::Result<()> {
    let mark = layout.deletion_mark(segment);
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(mark)?;
    sync(&layout.day(segment.bucket.date))
}

/// Deletes a segment in all its forms with its traces' attachments; the bucket's folder with its last segment, and the
/// day's folder when nothing is left in it. What is gone already is passed over.
///
/// # Errors
/// Something could not be deleted. The mark stays.
pub fn segment(layout: &Layout, segment: SegmentId, asked: Asked) -> io::Result<Evicted> {
    let (bucket, day) = (segment.bucket, layout.day(segment.bucket.date));
    let mut evicted = Evicted::default();
    let stored = traces_in(&layout.attachments(bucket));
    let is_alone = || Ok::<bool, io::Error>(layout.named_segments_of(bucket)?.iter().all(|other| *other == segment));
    let takes_all = !asked.may_grow && is_alone()?;
    let owned = if asked.counts || (!takes_all && !stored.is_empty()) { read_ids(layout, segment) } else { None };
    evicted.traces = owned.as_ref().map(|ids| ids.len() as u64);
    if takes_all {
        evicted.bytes += bytes_below(&layout.bucket(bucket));
        absent_is_fine(fs::remove_dir_all(layout.bucket(bucket)))?;
        evicted.media = stored;
    } else {
        let owned: std::collections::HashSet<TraceId> = owned.unwrap_or_default().into_iter().collect();
        for trace in stored.into_iter().filter(|it| owned.contains(it)) {
            evicted.bytes += media(layout, bucket, trace)?;
            evicted.media.push(trace);
        }
    }
    let forms = Form::ALL.map(|form| layout.segment(segment, form));
    let half_sealed = [Form::Zstd, Form::Gzip].map(|form| layout.sealing(segment, form));
    for file in forms.iter().chain([&layout.torn_line(segment)]).chain(&half_sealed) {
        let bytes = fs::metadata(file).map_or(0, |it| it.len());
        absent_is_fine(fs::remove_file(file))?;
        evicted.bytes += bytes;
    }
    // On the disk before the mark goes.
    absent_is_fine(sync(&day))?;
    absent_is_fine(fs::remove_file(layout.deletion_mark(segment)))?;
    if !asked.may_grow {
        remove_if_empty(&layout.bucket(bucket));
        remove_if_empty(&day);
    }
    Ok(evicted)
}

/// Deletes a trace's attachments; says how many bytes they had.
///
/// # Errors
/// Something could not be deleted.
pub fn media(layout: &Layout, bucket: BucketId, trace: TraceId) -> io::Result<u64> {
    let folder = layout.media(bucket, trace);
    let bytes = bytes_below(&folder);
    absent_is_fine(fs::remove_dir_all(folder))?;
    Ok(bytes)
}

/// Deletes the folder of a bucket that has no lines; says how many bytes it had.
///
/// # Errors
/// It has lines after all: who counted missed a file that was being sealed. Something could not be deleted.
pub fn leftover(layout: &Layout, bucket: BucketId) -> io::Result<u64> {
    if !layout.named_segments_of(bucket)?.is_empty() {
        return Err(io::Error::other("its traces are there"));
    }
    let folder = layout.bucket(bucket);
    let bytes = bytes_below(&folder);
    absent_is_fine(fs::remove_dir_all(folder))?;
    let day = layout.day(bucket.date);
    absent_is_fine(sync(&day))?;
    remove_if_empty(&day);
    Ok(bytes)
}

/// Removes a folder if nothing is in it. What hinders that shows again at the next look.
pub fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

/// The ids of a segment's lines; what cannot be read has none. `None` if there is no such file.
fn read_ids(layout: &Layout, segment: SegmentId) -> Option<Vec<TraceId>> {
    let (reader, _) = open_at(layout, segment, 0).ok()?;
    let mut lines = Scanner::new(reader, 0, MAX_LINE_BYTES);
    let mut ids = Vec::new();
    while let Ok(Some(scanned)) = lines.next_line() {
        if let Content::Line(line) = scanned.content {
            ids.extend(id_of(line));
        }
    }
    Some(ids)
}

/// The traces that have a folder.
fn traces_in(attachments: &Path) -> Vec<TraceId> {
    let Ok(entries) = fs::read_dir(attachments) else { return Vec::new() };
    entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()).collect()
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAST: Asked = Asked { may_grow: false, counts: false };

    fn id(text: &str) -> SegmentId {
        text.parse().unwrap()
    }

    fn trace(number: usize) -> String {
        format!("01J{number:023}")
    }

    /// A bucket of two segments with two traces each, all with attachments.
    fn bucket(root: &Path) {
        for (name, traces) in [("a1b2c3d4.jsonl", [1, 2]), ("a1b2c3d4.1.jsonl", [3, 4])] {
            let day = root.join("2026-05-27");
            let mut lines = String::new();
            for number in traces {
                let folder = day.join(format!("a1b2c3d4/media/{}", trace(number)));
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("0.png"), "12345").unwrap();
                lines += &format!("{{\"id\":\"{}\"}}\n", trace(number));
            }
            fs::write(day.join(name), lines).unwrap();
        }
    }

    fn left(root: &Path) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, root, found),
                    path => found.push(path.strip_prefix(root).unwrap().display().to_string()),
                }
            }
        }
        let mut found = Vec::new();
        walk(root, root, &mut found);
        found.sort();
        found
    }

    #[test]
    fn a_segment_takes_its_own_attachments_and_the_last_one_takes_the_folders() {
        let dir = tempfile::tempdir().unwrap();
        bucket(dir.path());
        let layout = Layout::new(dir.path());
        let first = id("2026-05-27/a1b2c3d4.jsonl");
        begin(&layout, first).unwrap();
        assert!(layout.deletion_mark(first).exists());
        let evicted = segment(&layout, first, Asked { counts: true, ..PAST }).unwrap();
        let line = format!("{{\"id\":\"{}\"}}\n", trace(1)).len() as u64;
        assert_eq!((evicted.bytes, evicted.media.len(), evicted.traces), (2 * line + 10, 2, Some(2)));
        assert_eq!(
            left(dir.path()),
            [
                "2026-05-27/a1b2c3d4.1.jsonl".to_owned(),
                format!("2026-05-27/a1b2c3d4/media/{}/0.png", trace(3)),
                format!("2026-05-27/a1b2c3d4/media/{}/0.png", trace(4)),
            ]
        );
        let evicted = segment(&layout, id("2026-05-27/a1b2c3d4.1.jsonl"), PAST).unwrap();
        assert_eq!((evicted.bytes, evicted.media.len(), evicted.traces), (2 * line + 10, 2, None));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn where_files_may_still_come_folders_stay() {
        let dir = tempfile::tempdir().unwrap();
        bucket(dir.path());
        let layout = Layout::new(dir.path());
        fs::remove_file(dir.path().join("2026-05-27/a1b2c3d4.1.jsonl")).unwrap();
        segment(&layout, id("2026-05-27/a1b2c3d4.jsonl"), Asked { may_grow: true, ..PAST }).unwrap();
        let media = |number| format!("2026-05-27/a1b2c3d4/media/{}/0.png", trace(number));
        assert_eq!(left(dir.path()), [media(3), media(4)]);
    }

    #[test]
    fn every_form_goes_and_what_is_gone_already_hinders_nothing() {
        let dir = tempfile::tempdir().unwrap();
        bucket(dir.path());
        let layout = Layout::new(dir.path());
        let first = id("2026-05-27/a1b2c3d4.jsonl");
        for suffix in [".zst", ".gz", ".torn", ".zst.new", ".gz.new"] {
            fs::write(format!("{}{suffix}", layout.segment(first, Form::Plain).display()), "x").unwrap();
        }
        begin(&layout, first).unwrap();
        // As a crash in the midst would have left it.
        fs::remove_file(layout.segment(first, Form::Plain)).unwrap();
        segment(&layout, first, PAST).unwrap();
        segment(&layout, first, PAST).unwrap();
        let names = left(dir.path());
        assert!(names.iter().all(|it| !it.contains("a1b2c3d4.jsonl")), "{names:?}");
        assert!(leftover(&layout, first.bucket).is_err(), "another segment's attachments are not left over");
        assert!(!traces_in(&layout.attachments(first.bucket)).is_empty());
        segment(&layout, id("2026-05-27/a1b2c3d4.1.jsonl"), PAST).unwrap();
        segment(&layout, id("2026-05-27/a1b2c3d4.1.jsonl"), PAST).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
