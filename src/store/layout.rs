//! Every path under the data dir, made and parsed here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::{BucketId, Date, SegmentId, ShortKey, TraceId};

/// How a segment's file is written on disk. Offsets always count uncompressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `<key8>.jsonl`: what is being appended to. Stands above the others if several exist.
    Plain,
    /// `<key8>.jsonl.zst`.
    Zstd,
    /// `<key8>.jsonl.gz`.
    Gzip,
}

impl Form {
    /// Every form, in the order in which a reader prefers them.
    pub const ALL: [Form; 3] = [Form::Plain, Form::Zstd, Form::Gzip];

    /// What it adds to the plain name.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Plain => "",
            Form::Zstd => ".zst",
            Form::Gzip => ".gz",
        }
    }
}

/// What names of torn lines end with.
const TORN: &str = ".torn";
/// What marks of a deletion end with.
const DELETING: &str = ".deleting";

/// The paths of one data dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths of the data dir at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Layout {
        Layout { root: root.into() }
    }

    /// The data dir itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }

    /// An index that is being made, to stand in the place of the other once it is whole.
    pub fn new_index(&self) -> PathBuf {
        self.root.join("index.sqlite.new")
    }

    /// The bearer of the read API.
    pub fn token(&self) -> PathBuf {
        self.root.join("admin_token")
    }

    /// Further bearers, by their digests, unless configured elsewhere.
    pub fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    /// Who read what, unless configured elsewhere. Those set aside have a number behind.
    pub fn access_log(&self) -> PathBuf {
        self.root.join("access.jsonl")
    }

    /// Held by the recorder that owns the data dir.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Settings changed while running.
    pub fn overrides(&self) -> PathBuf {
        self.root.join("runtime_overrides.json")
    }

    /// Captures under way.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The spool of a capture.
    pub fn spool(&self, trace: TraceId) -> PathBuf {
        self.tmp().join(format!("{trace}.spool"))
    }

    /// The traces that have a spool, by their ids.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn spools(&self) -> io::Result<BTreeSet<TraceId>> {
        let names = names_in(&self.tmp())?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(".spool")?.parse().ok()).collect())
    }

    /// The secret that placeholders of redacted values are made with.
    pub fn redaction_secret(&self) -> PathBuf {
        self.root.join("redaction_secret")
    }

    /// What tells this data dir from others.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// The hosted viewer's files, unless configured elsewhere.
    pub fn viewer_cache(&self) -> PathBuf {
        self.root.join("viewer-cache")
    }

    /// The folder of one day.
    pub fn day(&self, date: Date) -> PathBuf {
        self.root.join(date.to_string())
    }

    /// A segment's file in one form.
    pub fn segment(&self, segment: SegmentId, form: Form) -> PathBuf {
        self.root.join(format!("{segment}{}", form.suffix()))
    }

    /// Where a segment's sealed file is written until it is whole and checked.
    pub fn sealing(&self, segment: SegmentId, form: Form) -> PathBuf {
        self.root.join(format!("{segment}{}.new", form.suffix()))
    }

    /// Whether a segment is on disk in any form. Unlike a listing it never misses one that is being sealed.
    ///
    /// # Errors
    /// The disk does not say.
    pub fn has_segment(&self, segment: SegmentId) -> io::Result<bool> {
        // Twice, as a sealed form comes before the plain one goes.
        for form in Form::ALL.into_iter().chain(Form::ALL) {
            if self.segment(segment, form).try_exists()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the torn last line of a segment, cut when it was opened, is kept.
    pub fn torn_line(&self, segment: SegmentId) -> PathBuf {
        torn_line_beside(&self.segment(segment, Form::Plain))
    }

    /// The mark of a segment whose deletion has begun: made first, removed last. Hidden, so that no pattern over the
    /// trace files finds it.
    pub fn deletion_mark(&self, segment: SegmentId) -> PathBuf {
        let name = self.segment(segment, Form::Plain).file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.day(segment.bucket.date).join(format!(".{name}{DELETING}"))
    }

    /// The segment that the name of a file in a day's folder belongs to, and as what.
    pub fn parse_name(&self, date: Date, name: &str) -> Option<(SegmentId, NamedFile)> {
        let of_segment = |name: &str| format!("{date}/{name}").parse().ok();
        if let Some(plain) = name.strip_prefix('.') {
            return Some((of_segment(plain.strip_suffix(DELETING)?)?, NamedFile::Deleting));
        }
        if let Some(plain) = name.strip_suffix(TORN) {
            return Some((of_segment(plain)?, NamedFile::Torn));
        }
        let (segment, form) = parse_segment_text(&format!("{date}/{name}"))?;
        Some((segment, NamedFile::Form(form)))
    }

    /// The segments of a bucket that have any file: lines, torn ones, or the mark of a deletion. None is missed that is
    /// being sealed.
    ///
    /// # Errors
    /// Its day's folder cannot be read.
    pub fn named_segments_of(&self, bucket: BucketId) -> io::Result<BTreeSet<SegmentId>> {
        let names = names_of_day(&self.day(bucket.date))?;
        let ids = names.iter().filter_map(|name| self.parse_name(bucket.date, name));
        Ok(ids.map(|(id, _)| id).filter(|id| id.bucket == bucket).collect())
    }

    /// The folder of everything beside a bucket's lines.
    pub fn bucket(&self, bucket: BucketId) -> PathBuf {
        self.root.join(bucket.to_string())
    }

    /// The folder of all attachments of a bucket.
    pub fn attachments(&self, bucket: BucketId) -> PathBuf {
        self.bucket(bucket).join("media")
    }

    /// The folder of a trace's attachments.
    pub fn media(&self, bucket: BucketId, trace: TraceId) -> PathBuf {
        self.attachments(bucket).join(trace.to_string())
    }

    /// The segment and form that a path names, absolute under the root or relative to it.
    pub fn parse_segment(&self, path: &Path) -> Option<(SegmentId, Form)> {
        let relative = path.strip_prefix(&self.root).unwrap_or(path).to_str()?;
        parse_segment_text(relative)
    }

    /// Every segment on disk with the forms it has, ordered by date, key and number.
    ///
    /// A data dir that does not exist yet holds none; a day folder that vanishes meanwhile is passed over.
    ///
    /// # Errors
    /// The data dir or one of its day folders cannot be read: then nothing may be concluded from absence.
    pub fn segments(&self) -> io::Result<Vec<FoundSegment>> {
        let mut found: Vec<FoundSegment> = Vec::new();
        for date in self.days()? {
            let mut of_day: BTreeSet<(SegmentId, Form)> = BTreeSet::new();
            for name in names_of_day(&self.day(date))? {
                of_day.extend(parse_segment_text(&format!("{date}/{name}")));
            }
            for (id, form) in of_day {
                match found.last_mut() {
                    Some(last) if last.id == id => last.forms.push(form),
                    _ => found.push(FoundSegment { id, forms: vec![form] }),
                }
            }
        }
        Ok(found)
    }

    /// The segments of one bucket with the forms they have, ordered by number.
    ///
    /// # Errors
    /// The day's folder cannot be read. One that does not exist holds none.
    pub fn segments_of(&self, bucket: BucketId) -> io::Result<Vec<FoundSegment>> {
        let date = bucket.date;
        let mut found: BTreeMap<SegmentId, BTreeSet<Form>> = BTreeMap::new();
        for name in names_of_day(&self.day(date))? {
            if let Some((id, form)) = parse_segment_text(&format!("{date}/{name}")).filter(|it| it.0.bucket == bucket) {
                found.entry(id).or_default().insert(form);
            }
        }
        Ok(found.into_iter().map(|(id, forms)| FoundSegment { id, forms: forms.into_iter().collect() }).collect())
    }

    /// Every bucket on disk, those that have only a folder (attachments) included, by date and key.
    ///
    /// # Errors
    /// The data dir or one of its day folders cannot be read.
    pub fn buckets(&self) -> io::Result<Vec<BucketId>> {
        let mut found = BTreeSet::new();
        for date in self.days()? {
            for name in names_of_day(&self.day(date))? {
                let segment = parse_segment_text(&format!("{date}/{name}")).map(|(id, _)| id.bucket);
                let folder = || name.parse::<ShortKey>().ok().map(|key| BucketId { date, key });
                found.extend(segment.or_else(folder));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The days that have a folder, oldest first.
    fn days(&self) -> io::Result<BTreeSet<Date>> {
        let names = names_in(&self.root)?;
        let canonical = |name: &String| name.parse().ok().filter(|date: &Date| date.to_string() == *name);
        Ok(names.iter().filter_map(canonical).collect())
    }
}

/// What a file that belongs to a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFile {
    /// Its lines, in this form.
    Form(Form),
    /// Torn lines that were cut off.
    Torn,
    /// The mark that its deletion has begun.
    Deleting,
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSegment {
    /// Which.
    pub id: SegmentId,
    /// The forms it has, preferred first; never empty.
    pub forms: Vec<Form>,
}

impl FoundSegment {
    /// Whether its plain file exists, so that it may still grow.
    pub fn is_plain(&self) -> bool {
        self.forms.contains(&Form::Plain)
    }
}

/// Where the torn last line of the segment at `plain` is kept.
pub(crate) fn torn_line_beside(plain: &Path) -> PathBuf {
    let mut name = plain.as_os_str().to_owned();
    name.push(TORN);
    name.into()
}

fn parse_segment_text(relative: &str) -> Option<(SegmentId, Form)> {
    Form::ALL.into_iter().find_map(|form| {
        let plain = relative.strip_suffix(form.suffix())?;
        plain.parse().ok().map(|id| (id, form))
    })
}

/// The names in a day's folder, with none missed that was there all the while under one name or another.
///
/// A listing that meets a rename may show neither name. A sealed form comes before the plain one goes: a second listing,
/// begun after a first one that saw neither, shows it. What only the first saw may be gone.
fn names_of_day(folder: &Path) -> io::Result<BTreeSet<String>> {
    /// Coarser than any clock that file systems stamp with.
    const SETTLED: Duration = Duration::from_secs(2);
    let changed = || std::fs::metadata(folder).and_then(|it| it.modified()).ok();
    let before = changed();
    let mut names: BTreeSet<String> = names_in(folder)?.into_iter().collect();
    let is_settled = before.is_some_and(|it| it.elapsed().is_ok_and(|age| age > SETTLED)) && changed() == before;
    if !is_settled {
        names.extend(names_in(folder)?);
    }
    Ok(names)
}

/// The names in a folder that are UTF-8; none if the folder does not exist.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // A stray file named like a day holds nothing of ours.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_parsed_back() {
        let layout = Layout::new("/data");
        for text in ["2026-05-27/a1b2c3d4.jsonl", "2026-05-27/a1b2c3d4.7.jsonl"] {
            let id: SegmentId = text.parse().unwrap();
            for form in Form::ALL {
                let path = layout.segment(id, form);
                assert_eq!(layout.parse_segment(&path), Some((id, form)));
            }
            assert_eq!(layout.parse_segment(Path::new(text)), Some((id, Form::Plain)));
            assert_eq!(layout.parse_segment(&layout.torn_line(id)), None);
            let named = |path: PathBuf| layout.parse_name(id.bucket.date, path.file_name().unwrap().to_str().unwrap());
            assert_eq!(named(layout.segment(id, Form::Zstd)), Some((id, NamedFile::Form(Form::Zstd))));
            assert_eq!(named(layout.torn_line(id)), Some((id, NamedFile::Torn)));
            assert_eq!(named(layout.deletion_mark(id)), Some((id, NamedFile::Deleting)));
            assert_eq!(layout.parse_segment(&layout.sealing(id, Form::Zstd)), None);
        }
        assert_eq!(layout.parse_segment(Path::new("/data/index.sqlite")), None);
        assert_eq!(layout.parse_segment(Path::new("/other/2026-05-27/a1b2c3d4.jsonl")), None);
    }

    #[test]
    fn media_stands_beside_its_bucket() {
        let bucket = "2026-05-27/a1b2c3d4.jsonl".parse::<SegmentId>().unwrap().bucket;
        let trace: TraceId = "01J00000000000000000000000".parse().unwrap();
        let path = Layout::new("/data").media(bucket, trace);
        assert_eq!(path, Path::new("/data/2026-05-27/a1b2c3d4/media/01J00000000000000000000000"));
    }

    #[test]
    fn segments_are_listed_by_date_key_and_number_and_strays_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for name in [
            "2026-05-28/00000000.jsonl",
            "2026-05-27/a1b2c3d4.10.jsonl",
            "2026-05-27/a1b2c3d4.2.jsonl.zst",
            "2026-05-27/a1b2c3d4.jsonl",
            "2026-05-27/a1b2c3d4.jsonl.gz",
            "2026-05-27/a1b2c3d4.jsonl.torn",
            "2026-05-27/notes.txt",
            "2026-5-27/a1b2c3d4.jsonl",
            "tmp/x",
            "index.sqlite",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::create_dir_all(dir.path().join("2026-05-26/ffffffff/media")).unwrap();
        std::fs::write(dir.path().join("2026-05-25"), "a file, not a day").unwrap();
        let found: Vec<String> =
            layout.segments().unwrap().into_iter().map(|it| format!("{} {:?}", it.id, it.forms)).collect();
        assert_eq!(
            found,
            [
                "2026-05-27/a1b2c3d4.jsonl [Plain, Gzip]",
                "2026-05-27/a1b2c3d4.2.jsonl [Zstd]",
                "2026-05-27/a1b2c3d4.10.jsonl [Plain]",
                "2026-05-28/00000000.jsonl [Plain]",
            ]
        );
        let buckets: Vec<String> = layout.buckets().unwrap().iter().map(BucketId::to_string).collect();
        assert_eq!(buckets, ["2026-05-26/ffffffff", "2026-05-27/a1b2c3d4", "2026-05-28/00000000"]);
    }

    #[test]
    fn a_data_dir_that_is_not_there_yet_is_empty() {
        assert_eq!(Layout::new("/nonexistent/for/sure").segments().unwrap(), []);
    }
}
