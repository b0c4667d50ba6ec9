//! Rows in the order in which they went into the index, for who follows it.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::{Names, SELECT, TraceRow, plan};
use crate::ids::TraceId;
use crate::index::filter::Filter;

/// A place behind a row. As text, the row's number and its trace: `12-01J…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    row: i64,
    /// Of which trace; `None` before the first row.
    id: Option<TraceId>,
}

/// A text that is no [`Position`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a position")]
pub struct NotAPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}-{id}", self.row),
            None => write!(f, "{}", self.row),
        }
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Position, NotAPosition> {
        let (row, id) = match text.split_once('-') {
            Some((row, id)) => (row, Some(id.parse().map_err(|_| NotAPosition)?)),
            None => (text, None),
        };
        match row.parse().map_err(|_| NotAPosition)? {
            row if row > 0 && id.is_some() => Ok(Position { row, id }),
            0 if id.is_none() => Ok(Position { row: 0, id: None }),
            _ => Err(NotAPosition),
        }
    }
}

/// How much is given at once, and how far one may be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many rows are given.
    pub page: usize,
    /// Who is behind by more rows of the index than this …
    pub most_behind: u64,
    /// … skips all but so many of them.
    pub kept: u64,
    /// Of those skipped, at most so many rows of the index are looked at to count the ones that pass.
    pub counted: u64,
}

/// What came behind a position.
#[derive(Debug, PartialEq)]
pub struct Tailed {
    /// How many rows that pass were skipped before these.
    pub skipped: u64,
    /// They were more than could be counted.
    pub skipped_more: bool,
    /// The position does not stand in this index: it was made anew, or the row is deleted. What is given begins at its
    /// present end.
    pub is_lost: bool,
    /// The rows that pass, each with the position behind it.
    pub rows: Vec<(Position, TraceRow)>,
    /// Behind all that was looked at.
    pub position: Position,
}

/// The present end.
///
/// # Errors
/// The database fails.
pub fn end(connection: &Connection) -> rusqlite::Result<Position> {
    let last: Option<(i64, String)> = connection
        .prepare_cached("SELECT row, id FROM rows ORDER BY row DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match last {
        Some((row, id)) => Position { row, id: id.parse().ok() },
        None => Position { row: 0, id: None },
    })
}

/// The rows behind a position that pass the filter, by their order of coming.
///
/// # Errors
/// The database fails, or the query was interrupted.
pub fn behind(
    connection: &Connection,
    filter: &Filter,
    position: Position,
    bounds: Bounds,
) -> rusqlite::Result<Tailed> {
    let snapshot = connection.unchecked_transaction()?;
    let end = end(&snapshot)?;
    let nothing = |is_lost| Tailed { skipped: 0, skipped_more: false, is_lost, rows: Vec::new(), position: end };
    if !stands(&snapshot, position)? {
        return Ok(nothing(true));
    }
    // Looked up each time: the texts in it may have come since.
    let Some(passes) = plan::conditions(&snapshot, filter)? else { return Ok(nothing(false)) };
    let bound = |values: [i64; 2]| values.into_iter().map(Value::Integer).chain(passes.bound.iter().cloned());
    let within = format!("FROM rows NOT INDEXED WHERE row > ? AND row <= ?{}", passes.text);
    let mut from = position.row;
    let (mut skipped, mut skipped_more) = (0, false);
    if end.row.saturating_sub(from).cast_unsigned() > bounds.most_behind {
        from = end.row.saturating_sub_unsigned(bounds.kept);
        let counted_from = position.row.max(from.saturating_sub_unsigned(bounds.counted));
        skipped_more = counted_from > position.row;
        let count = format!("SELECT count(*) {within}");
        let values = params_from_iter(bound([counted_from, from]));
        skipped = snapshot.prepare_cached(&count)?.query_row(values, |row| row.get::<_, i64>(0))?.cast_unsigned();
    }
    let pick = format!("SELECT row {within} ORDER BY row LIMIT {}", bounds.page);
    let mut statement = snapshot.prepare_cached(&pick)?;
    let picked = statement.query_map(params_from_iter(bound([from, end.row])), |row| row.get(0))?;
    let picked: Vec<i64> = picked.collect::<rusqlite::Result<_>>()?;
    let mut names = Names::new(&snapshot);
    let mut rows = Vec::with_capacity(picked.len());
    let mut statement = snapshot.prepare_cached(&format!("{SELECT} WHERE rows.row = ?"))?;
    for &row in &picked {
        let trace = statement.query_row([row], |found| names.trace_row(found))?;
        rows.push((Position { row, id: trace.id.parse().ok() }, trace));
    }
    let is_all = picked.len() < bounds.page;
    let position = rows.last().map(|it| it.0).filter(|_| !is_all).unwrap_or(end);
    Ok(Tailed { skipped, skipped_more, is_lost: false, rows, position })
}

fn stands(index: &Connection, position: Position) -> rusqlite::Result<bool> {
    let Some(id) = position.id else { return Ok(true) };
    let found: Option<String> = index
        .prepare_cached("SELECT id FROM rows WHERE row = ?")?
        .query_row([position.row], |row| row.get(0))
        .optional()?;
    Ok(found.is_some_and(|found| found == id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BucketId, Date, Place, SegmentId, ShortKey};
    use crate::index::testing::{new_index, row};
    use crate::index::{WriterState, insert_batch, remove_segment};
    use crate::store::layout::Layout;

    const WIDE: Bounds = Bounds { page: 100, most_behind: 1000, kept: 10, counted: 1000 };

    struct Fixture {
        _dir: tempfile::TempDir,
        index: Connection,
        state: WriterState,
        segment: SegmentId,
        end: u64,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let (index, state) = new_index(&Layout::new(dir.path()));
            let segment = SegmentId { bucket: BucketId { date: Date(20_000), key: ShortKey([1; 4]) }, number: 0 };
            Fixture { _dir: dir, index, state, segment, end: 0 }
        }

        /// Inserts a trace of this number, begun at this time, with this model.
        fn insert(&mut self, number: u64, ts: i64, model: &str) {
            let mut row = row(number, ts);
            row.model = Some(model.into());
            let place = Place { segment: self.segment, offset: self.end, bytes: 9 };
            self.end += 10;
            assert_eq!(insert_batch(&mut self.index, &mut self.state, &[(row, place)]).unwrap().inserted, 1);
        }

        fn behind(&self, filter: &Filter, position: Position, bounds: Bounds) -> (Vec<u64>, Tailed) {
            let tailed = behind(&self.index, filter, position, bounds).unwrap();
            let number = |it: &TraceRow| u128::from_be_bytes(it.id.parse::<TraceId>().unwrap().to_bytes()) as u64;
            (tailed.rows.iter().map(|(_, row)| number(row)).collect(), tailed)
        }
    }

    fn of_model(model: &str) -> Filter {
        Filter { model: Some(model.into()), ..Filter::default() }
    }

    #[test]
    fn rows_come_in_the_order_they_went_in_once_each() {
        let mut fixture = Fixture::new();
        let start = end(&fixture.index).unwrap();
        assert_eq!(start.to_string(), "0");
        // Later ones may have begun earlier.
        for (number, ts) in [(5, 50), (3, 30), (4, 40)] {
            fixture.insert(number, ts, "m");
        }
        let (first, tailed) = fixture.behind(&Filter::default(), start, Bounds { page: 2, ..WIDE });
        assert_eq!(first, [5, 3]);
        let (rest, tailed) = fixture.behind(&Filter::default(), tailed.position, Bounds { page: 2, ..WIDE });
        assert_eq!((rest.as_slice(), tailed.position), ([4].as_slice(), end(&fixture.index).unwrap()));
        assert!(fixture.behind(&Filter::default(), tailed.position, WIDE).0.is_empty());
        // Any row's own position can be come back to.
        let text = tailed.rows[0].0.to_string();
        assert_eq!(text.parse::<Position>().unwrap(), tailed.rows[0].0);
    }

    #[test]
    fn filters_hold_also_for_what_was_unknown_before() {
        let mut fixture = Fixture::new();
        let start = end(&fixture.index).unwrap();
        fixture.insert(1, 10, "m");
        let (none, tailed) = fixture.behind(&of_model("new"), start, WIDE);
        assert_eq!((none.len(), tailed.position), (0, end(&fixture.index).unwrap()));
        fixture.insert(2, 20, "new");
        fixture.insert(3, 30, "m");
        let (found, tailed) = fixture.behind(&of_model("new"), tailed.position, WIDE);
        assert_eq!((found.as_slice(), tailed.position), ([2].as_slice(), end(&fixture.index).unwrap()));
    }

    #[test]
    fn who_is_far_behind_is_told_how_many_were_skipped() {
        let mut fixture = Fixture::new();
        let start = end(&fixture.index).unwrap();
        for number in 0..20 {
            fixture.insert(number + 1, 10, if number % 2 == 0 { "even" } else { "odd" });
        }
        let bounds = Bounds { page: 100, most_behind: 19, kept: 4, counted: 16 };
        let (all, tailed) = fixture.behind(&Filter::default(), start, bounds);
        assert_eq!((all.as_slice(), tailed.skipped), ([17, 18, 19, 20].as_slice(), 16));
        let (even, tailed) = fixture.behind(&of_model("even"), start, bounds);
        assert_eq!((even.as_slice(), tailed.skipped), ([17, 19].as_slice(), 8));
        assert!(!tailed.skipped_more);
        let (_, tailed) = fixture.behind(&Filter::default(), start, Bounds { counted: 15, ..bounds });
        assert_eq!((tailed.skipped, tailed.skipped_more), (15, true));
        assert_eq!(fixture.behind(&Filter::default(), start, Bounds { most_behind: 20, ..bounds }).1.skipped, 0);
    }

    #[test]
    fn a_position_of_another_index_is_lost() {
        let mut fixture = Fixture::new();
        fixture.insert(1, 10, "m");
        fixture.insert(2, 20, "m");
        let position = end(&fixture.index).unwrap();
        let mut other = Fixture::new();
        for number in [7, 8, 9] {
            other.insert(number, 10, "m");
        }
        let (rows, tailed) = other.behind(&Filter::default(), position, WIDE);
        assert_eq!((rows.len(), tailed.is_lost, tailed.position), (0, true, end(&other.index).unwrap()));
        let segment = fixture.segment;
        remove_segment(&mut fixture.index, &mut fixture.state, segment).unwrap();
        assert!(fixture.behind(&Filter::default(), position, WIDE).1.is_lost);
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            "-1",
            "1",
            "0-01J00000000000000000000000",
            "1-x",
            "x-01J00000000000000000000000",
            "01J00000000000000000000000",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text}");
        }
    }
}
