//! The filter asked of one row, for who has no index.

use super::{Filter, KeyFilter, PathFilter, StatusFilter};
use crate::ids::KeyHash;
use crate::index::query::TraceRow;

impl Filter {
    /// Whether a row passes: as a list of the index would have it, or not. A row made of a line alone knows no session
    /// but itself.
    pub fn passes(&self, row: &TraceRow) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|it| Some(it) == found);
        self.since.is_none_or(|it| row.ts_start >= it)
            && self.until.is_none_or(|it| row.ts_start < it)
            && self.status.is_none_or(|it| it.holds(row.status))
            && same(&self.model, row.model.as_deref())
            && self.path.as_ref().is_none_or(|it| it.holds(&row.path))
            && self.key.is_none_or(|it| row.key_hash.parse().is_ok_and(|key| it.holds(key)))
            && same(&self.session_root, Some(&row.session_root_id))
            && same(&self.project, row.client_project.as_deref())
            && self.tag.as_ref().is_none_or(|it| row.tags.contains(it))
            && same(&self.client_kind, row.client_kind.as_deref())
            && self.stream.is_none_or(|it| row.stream == Some(it))
            && self.end.is_none_or(|it| row.end == it.name())
            && self.has_media.is_none_or(|it| (row.media_count > 0) == it)
            && self.min_ms.is_none_or(|it| row.duration_ms >= it)
            && self.min_tokens.is_none_or(|it| row.total_tokens.is_some_and(|tokens| tokens >= it))
    }
}

impl StatusFilter {
    fn holds(self, status: i32) -> bool {
        match self {
            StatusFilter::Exactly(wanted) => status == wanted,
            StatusFilter::Class(hundred) => status.div_euclid(100) == hundred,
        }
    }
}

impl PathFilter {
    fn holds(&self, target: &str) -> bool {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        match self {
            PathFilter::AnyQuery(wanted) => path == wanted,
            PathFilter::Target { path: wanted, query: wanted_query } => path == wanted && query == Some(wanted_query),
            PathFilter::Prefix(prefix) => target.starts_with(prefix),
        }
    }
}

impl KeyFilter {
    fn holds(self, key: KeyHash) -> bool {
        match self {
            KeyFilter::Whole(wanted) => key == wanted,
            KeyFilter::Short(wanted) => key.short() == wanted,
            KeyFilter::Between(first, last) => (first.0..=last.0).contains(&key.0),
            KeyFilter::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BucketId, Date, Place, SegmentId, ShortKey, UnixMillis};
    use crate::index::testing::{new_index, row};
    use crate::index::{insert_batch, query};
    use crate::store::layout::Layout;

    #[test]
    fn a_row_passes_exactly_where_the_index_lists_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut state) = new_index(&Layout::new(dir.path()));
        let segment = SegmentId { bucket: BucketId { date: Date(20_000), key: ShortKey([1; 4]) }, number: 0 };
        let mut rows = Vec::new();
        for number in 0..6_u64 {
            let mut row = row(number + 1, 1_700_000_000_000 + number as i64 * 1000);
            row.status = [200, 204, 404, 500, -1, 299][number as usize];
            row.model = (number != 4).then(|| format!("m{}", number % 2));
            row.path = ["/a", "/a?x=1", "/a/b", "/A", "/a?x=2", "/b"][number as usize].to_owned();
            row.stream = [None, Some(true), Some(false)][number as usize % 3];
            row.tags = if number == 2 { vec!["t".into(), "u".into()] } else { Vec::new() };
            row.usage.total = (number > 2).then_some(number as i64 * 10);
            row.client_project = (number == 1).then(|| "p".to_owned());
            row.ts_end = UnixMillis(row.ts_start.0 + number as i64 * 100);
            let place = Place { segment, offset: number * 10, bytes: 9 };
            insert_batch(&mut index, &mut state, &[(row.clone(), place)]).unwrap();
            rows.push(TraceRow::of_line(row, place, 0));
        }
        let key = rows[0].key_hash.clone();
        for pairs in [
            &[][..],
            &[("status", "2xx")],
            &[("status", "-1")],
            &[("status", "5xx")],
            &[("model", "m1")],
            &[("path", "/a")],
            &[("path", "/a?x=1")],
            &[("path", "/a*")],
            &[("path", "/a?x*")],
            &[("stream", "false")],
            &[("tag", "u")],
            &[("min_tokens", "40")],
            &[("min_ms", "300")],
            &[("project", "p")],
            &[("has_media", "false")],
            &[("end", "complete")],
            &[("key_hash", &key[..8])],
            &[("key_hash", "%%%%%%%%")],
            &[("since", "2023-11-14T22:13:22Z"), ("until", "2023-11-14T22:13:24Z")],
        ] {
            let filter = Filter::parse(pairs.iter().copied(), &[]).unwrap();
            let mut listed: Vec<String> =
                query::list(&index, &filter, 100, None).unwrap().rows.into_iter().map(|it| it.id).collect();
            listed.reverse();
            let passed: Vec<String> = rows.iter().filter(|it| filter.passes(it)).map(|it| it.id.clone()).collect();
            assert_eq!(passed, listed, "{pairs:?}");
        }
    }
}
