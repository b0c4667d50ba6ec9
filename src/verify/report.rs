//! What a check found: for a person, and as JSON whose members only ever grow in number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::{Serialize, Serializer};

use super::Repeated;
use crate::ids::{SegmentId, TraceId, UnixMillis};
use crate::store::layout::Layout;

/// Findings of a kind that are kept; beyond, they are counted only.
pub const MOST_SHOWN: usize = 100;

/// Findings of a kind that a person is shown.
const MOST_TOLD: usize = 10;

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident, $name:literal, $grade:ident, $advice:literal;)*) => {
        /// What can be wrong, or worth knowing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$meta])* $kind,)*
        }

        impl Kind {
            /// Every kind, in the order in which they are told.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// Its name in the JSON report.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Kind::$kind => $advice,)* }
            }

            fn grade(self) -> Grade {
                match self { $(Kind::$kind => Grade::$grade,)* }
            }
        }
    };
}

/// Whether something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Wrong,
    Note,
}

kinds! {
    /// A file that cannot be read to its end.
    DamagedFile, "damaged_file", Wrong, "restore it from a copy; what stands before the damage can be read";
    /// A line that is no trace.
    BadLine, "bad_line", Wrong, "verify --repair moves it into a .torn file beside";
    /// A trace behind the torn half of another, in one line.
    GluedLine, "glued_line", Wrong, "verify --repair makes it a line of its own and keeps the original in a .torn file beside";
    /// A line whose id stands in an earlier one.
    RepeatedId, "repeated_id", Wrong, "verify --repair moves the later line into a .torn file beside";
    /// A last line without its newline.
    TornTail, "torn_tail", Wrong, "the next recorder cuts it, and so does verify --repair; it is kept in a .torn file beside";
    /// There are traces and no index.
    IndexMissing, "index_missing", Wrong, "start the recorder, or run api-log rebuild";
    /// The index cannot be opened, or is damaged.
    IndexUnusable, "index_unusable", Wrong, "run api-log rebuild, or verify --repair";
    /// A row whose place is not its line's.
    RowWithoutLine, "row_without_line", Wrong, "run api-log rebuild, or verify --repair";
    /// Rows of a segment that is gone.
    RowsWithoutFile, "rows_without_file", Wrong, "the next recorder removes them, and so does verify --repair";
    /// A line before the checkpoint without a row.
    LineWithoutRow, "line_without_row", Wrong, "run api-log rebuild, or verify --repair";
    /// A row that does not say what its line says.
    RowDiffers, "row_differs", Wrong, "run api-log rebuild, or verify --repair";
    /// Sums of a session that are not those of its rows.
    SessionSums, "session_sums", Wrong, "run api-log rebuild, or verify --repair";
    /// Rollups of an hour that do not count its rows.
    Rollups, "rollups", Wrong, "run api-log rebuild, or verify --repair";
    /// Lines behind the checkpoint, and nobody who indexes them.
    NotIndexed, "not_indexed", Wrong, "the next recorder indexes them, and so does verify --repair";
    /// A segment in two forms.
    BothForms, "both_forms", Wrong, "verify --repair removes the sealed one if it holds nothing that the plain one does not";
    /// A sealed file that was not finished.
    UnfinishedFile, "unfinished_file", Wrong, "verify --repair removes it: it was being made of what is still there";
    /// Attachments of a trace that has no line here.
    OrphanMedia, "orphan_media", Wrong, "their line is lost or was deleted; delete them when they are not needed";
    /// Others on this machine can get at it.
    OpenMode, "open_mode", Wrong, "it holds credentials in clear; verify --repair keeps it to its owner";
    /// Torn or bad lines that were kept aside.
    KeptAside, "kept_aside", Note, "delete it when it is not needed";
    /// An index that was set aside.
    IndexSetAside, "index_set_aside", Note, "delete it when it is not needed";
    /// An index that does not hold older traces yet.
    IndexInterim, "index_interim", Note, "the running recorder makes it anew; verify again when it has";
    /// A capture that was not finished.
    SpoolLeft, "spool_left", Note, "the next recorder makes a trace of it";
    /// A segment whose deletion was begun.
    HalfDeleted, "half_deleted", Note, "the next recorder ends its deletion";
    /// An empty folder or file.
    Empty, "empty", Note, "verify --repair removes empty folders";
    /// A file that is not api-log's.
    ForeignFile, "foreign_file", Note, "nobody counts or deletes it; move it elsewhere";
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Kind {
    /// Whether it is only worth knowing.
    pub fn is_note(self) -> bool {
        self.grade() == Grade::Note
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// Which file, relative to the data dir.
    pub path: String,
    /// Where in its uncompressed bytes, if in one place.
    pub offset: Option<u64>,
    /// Which trace, if it is known.
    pub id: Option<String>,
    /// What is the matter.
    pub what: String,
}

impl Finding {
    /// About a file as a whole.
    pub fn new(kind: Kind, path: String, what: String) -> Finding {
        Finding { kind, path, offset: None, id: None, what }
    }

    /// About one place in a segment.
    pub fn at(kind: Kind, segment: SegmentId, offset: u64, what: String) -> Finding {
        Finding { kind, path: segment.to_string(), offset: Some(offset), id: None, what }
    }

    /// The same, of this trace.
    pub fn of(self, id: TraceId) -> Finding {
        Finding { id: Some(id.to_string()), ..self }
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Segments read.
    pub segments: u64,
    /// Lines in them.
    pub lines: u64,
    /// Their uncompressed bytes.
    pub bytes: u64,
    /// Rows in the index.
    pub rows: u64,
    /// Lines that the running recorder had not indexed yet.
    pub not_yet_indexed: u64,
    /// Rows of segments that were deleted, which a running recorder is about to remove.
    pub not_yet_removed: u64,
    /// Traces with attachments.
    pub media: u64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The data dir.
    pub data_dir: String,
    /// When the check began.
    pub checked_at: UnixMillis,
    /// How much was looked at.
    pub totals: Totals,
    /// How often each kind was found.
    pub counts: BTreeMap<Kind, u64>,
    /// The first few of each kind, by kind.
    pub findings: BTreeMap<Kind, Vec<Finding>>,
    pub(super) mend: Mend,
}

/// What a repair has to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mend {
    /// Segments with lines that are to be moved aside.
    pub(super) rewrite: BTreeSet<SegmentId>,
    /// In these, the lines at these offsets repeat others.
    pub(super) repeated: Repeated,
    pub(super) torn: BTreeSet<SegmentId>,
    pub(super) both_forms: BTreeSet<SegmentId>,
}

impl Report {
    pub(super) fn new(layout: &Layout) -> Report {
        Report {
            data_dir: layout.root().display().to_string(),
            checked_at: UnixMillis::now(),
            totals: Totals::default(),
            counts: BTreeMap::new(),
            findings: BTreeMap::new(),
            mend: Mend::default(),
        }
    }

    /// Whether nothing is wrong. Notes do not count.
    pub fn is_clean(&self) -> bool {
        self.counts.keys().all(|kind| kind.is_note())
    }

    /// How often something of this kind was found.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Adds what another part of the same check found.
    pub fn merge(&mut self, other: Report) {
        let Report { totals, counts, findings, mend, .. } = other;
        let sums = &mut self.totals;
        sums.segments += totals.segments;
        sums.lines += totals.lines;
        sums.bytes += totals.bytes;
        sums.rows += totals.rows;
        sums.not_yet_indexed += totals.not_yet_indexed;
        sums.not_yet_removed += totals.not_yet_removed;
        sums.media += totals.media;
        counts.into_iter().for_each(|(kind, count)| *self.counts.entry(kind).or_default() += count);
        for (kind, mut found) in findings {
            let kept = self.findings.entry(kind).or_default();
            kept.append(&mut found);
            kept.sort_by(|one, other| (&one.path, one.offset).cmp(&(&other.path, other.offset)));
            kept.truncate(MOST_SHOWN);
        }
        self.mend.rewrite.extend(mend.rewrite);
        self.mend.torn.extend(mend.torn);
        self.mend.both_forms.extend(mend.both_forms);
        for (segment, offsets) in mend.repeated {
            self.mend.repeated.entry(segment).or_default().extend(offsets);
        }
    }

    pub(super) fn find(&mut self, finding: Finding) {
        *self.counts.entry(finding.kind).or_default() += 1;
        let kept = self.findings.entry(finding.kind).or_default();
        if kept.len() < MOST_SHOWN {
            kept.push(finding);
        }
    }

    /// A line whose id stands in an earlier one.
    pub(super) fn find_repeated(&mut self, segment: SegmentId, offset: u64, id: TraceId, first: &str) {
        self.find(Finding::at(Kind::RepeatedId, segment, offset, format!("the same id as {first}")).of(id));
        self.mend.rewrite.insert(segment);
        self.mend.repeated.entry(segment).or_default().push(offset);
    }

    /// The report as one JSON object. Members are only ever added; `schema` is raised if one changes its meaning.
    pub fn to_json(&self, repairs: &[super::Repair], recorder: Option<String>) -> String {
        #[derive(Serialize)]
        struct Told<'r> {
            schema: u32,
            data_dir: &'r str,
            checked_at: String,
            /// The recorder at work meanwhile.
            recorder: Option<String>,
            is_clean: bool,
            totals: Totals,
            /// How often each kind was found; kinds that were not are left out.
            counts: BTreeMap<&'static str, u64>,
            /// The first 100 of each kind.
            findings: Vec<ToldFinding<'r>>,
            /// What was repaired before this check.
            repairs: &'r [super::Repair],
        }
        #[derive(Serialize)]
        struct ToldFinding<'r> {
            #[serde(flatten)]
            finding: &'r Finding,
            is_note: bool,
            advice: &'static str,
        }
        let told = |finding: &'_ Finding| -> (bool, &'static str) { (finding.kind.is_note(), finding.kind.advice()) };
        let report = Told {
            schema: 1,
            data_dir: &self.data_dir,
            checked_at: self.checked_at.to_string(),
            recorder,
            is_clean: self.is_clean(),
            totals: self.totals,
            counts: self.counts.iter().map(|(kind, count)| (kind.name(), *count)).collect(),
            findings: self
                .findings
                .values()
                .flatten()
                .map(|finding| {
                    let (is_note, advice) = told(finding);
                    ToldFinding { finding, is_note, advice }
                })
                .collect(),
            repairs,
        };
        // Only texts and numbers are in it.
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// For a person.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { segments, lines, bytes, rows, not_yet_indexed, not_yet_removed, media } = self.totals;
        writeln!(f, "{lines} lines ({bytes} bytes) in {segments} files, {rows} rows, attachments of {media} traces")?;
        if not_yet_indexed > 0 {
            writeln!(
                f,
                "{not_yet_indexed} lines are newer than the index: the running recorder is about to index them"
            )?;
        }
        if not_yet_removed > 0 {
            writeln!(f, "{not_yet_removed} rows are of deleted files: the running recorder is about to remove them")?;
        }
        for (is_note, title) in [(false, "wrong"), (true, "worth knowing")] {
            let kinds: Vec<_> = self.counts.iter().filter(|(kind, _)| kind.is_note() == is_note).collect();
            if kinds.is_empty() {
                continue;
            }
            writeln!(f, "\n{title}:")?;
            for (kind, count) in kinds {
                writeln!(f, "  {} {}: {}", count, kind.name(), kind.advice())?;
                let found = self.findings.get(kind).map(Vec::as_slice).unwrap_or_default();
                for finding in found.iter().take(MOST_TOLD) {
                    writeln!(f, "    {finding}")?;
                }
                let untold = count.saturating_sub(found.len().min(MOST_TOLD) as u64);
                if untold > 0 {
                    writeln!(f, "    and {untold} more")?;
                }
            }
        }
        if self.is_clean() { writeln!(f, "nothing is wrong") } else { Ok(()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        put(f, &self.path)?;
        if let Some(offset) = self.offset {
            write!(f, " at {offset}")?;
        }
        if let Some(id) = &self.id {
            f.write_str(" (")?;
            put(f, id)?;
            f.write_str(")")?;
        }
        f.write_str(": ")?;
        put(f, &self.what)
    }
}

/// What a file is called or holds shall not move a terminal's cursor.
fn put(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|it| f.write_char(if it.is_control() { ' ' } else { it }))
}
