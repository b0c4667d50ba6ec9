//! Lists are right whatever is asked, and never walk what they need not.

use proptest::prelude::*;

use super::*;
use crate::exchange::End;
use crate::ids::{KeyHash, Place, ShortKey, TraceId, UnixMillis};
use crate::index::query::selection::Selection;
use crate::index::query::{TraceRow, list, rows_of, tail};
use crate::index::testing::{id, new_index, row};
use crate::index::{WriterState, insert_batch, insert_fresh};
use crate::store::layout::Layout;
use crate::trace::Row;

const STATUSES: [i32; 6] = [200, 201, 404, 429, 500, -1];
const MODELS: [Option<&str>; 4] = [None, Some("gpt"), Some("gpt-mini"), Some("claude")];
const PROJECTS: [Option<&str>; 3] = [None, Some("one"), Some("two")];
const PATHS: [&str; 7] =
    ["/v1/messages", "/v1/messages?beta=true", "/v1/messages?x=%2A", "/v1/models", "/v1", "/V1/models", "/v1%"];

/// So little at once that several filters meet in many windows, or that nothing is gathered.
const SMALL: [Measures; 3] = [
    Measures {
        few_rows: 1,
        entries: [1, 4],
        entries_per_look: 8,
        looks_per_row: 2,
        few_words: 3,
        walked: 8,
        most_gathered: 1000,
    },
    Measures {
        few_rows: 1,
        entries: [16, 256],
        entries_per_look: 0,
        looks_per_row: 30,
        few_words: 0,
        walked: 1,
        most_gathered: 0,
    },
    Measures {
        few_rows: 20,
        entries: [64, 64],
        entries_per_look: usize::MAX,
        looks_per_row: 1,
        few_words: 40,
        walked: 9999,
        most_gathered: 50,
    },
];

/// On both sides of classes' borders, and in the middle of classes.
const NUMBERS: [i64; 11] = [0, 3, 15, 16, 17, 900, 1447, 1448, 40_000, 1_048_576, 5_000_000];

/// Row `n` of a varied lot; `spread` paths beside the usual ones.
fn varied(n: u64, spread: u64) -> Row {
    let pick =
        |from: usize, salt: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(salt as u32) as usize) % from;
    let mut row = row(n, 1000 + pick(40, 1) as i64);
    row.status = STATUSES[pick(6, 7)];
    row.model = MODELS[pick(4, 13)].map(str::to_owned);
    row.client_project = PROJECTS[pick(3, 19)].map(str::to_owned);
    row.path = match pick(8, 23) {
        7 if spread > 0 => format!("/v1/files/{}?n={n}", n % spread),
        other => PATHS[other % 7].to_owned(),
    };
    row.key = KeyHash([[1, 1, 1, 1, 5, 5, 5, 5], [1, 1, 1, 1, 6, 6, 6, 6], [2; 8]][pick(3, 29)]);
    row.tags = (0..pick(3, 37)).map(|at| ["red", "blue"][at].to_owned()).collect();
    row.client_kind = [None, Some("codex"), Some("claude-code")][pick(3, 37)].map(str::to_owned);
    row.stream = [None, Some(true), Some(false)][pick(3, 41)];
    row.end = [End::Complete, End::ClientGone, End::Rejected][pick(3, 43)];
    row.media_count = [0, 0, 0, 2][pick(4, 47)];
    row.ts_end = UnixMillis(row.ts_start.0 + NUMBERS[pick(NUMBERS.len(), 53)]);
    row.usage.total = Some(NUMBERS[pick(NUMBERS.len(), 59)]).filter(|it| *it != 3);
    row.conversation.prefixes = (0..pick(3, 31)).map(|at| [at as u8; 8]).collect();
    row
}

fn index_of(rows: impl Iterator<Item = Row>) -> (tempfile::TempDir, Connection, WriterState) {
    index_with_fresh(rows, usize::MAX)
}

/// The same, where so many rows are merged and the others fresh.
fn index_with_fresh(rows: impl Iterator<Item = Row>, merged: usize) -> (tempfile::TempDir, Connection, WriterState) {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, mut state) = new_index(&Layout::new(dir.path()));
    let segment = "2026-05-27/01010101.jsonl".parse().unwrap();
    let placed = rows.enumerate().map(|(at, row)| (row, Place { segment, offset: at as u64 * 10, bytes: 9 }));
    let placed: Vec<(Row, Place)> = placed.collect();
    let (merged, fresh) = placed.split_at(placed.len().min(merged));
    let report = insert_batch(&mut index, &mut state, merged).unwrap();
    assert_eq!((report.inserted, report.fresh), (merged.len(), 0));
    let report = insert_fresh(&mut index, &mut state, fresh).unwrap();
    assert_eq!((report.inserted, report.fresh), (fresh.len(), fresh.len() as u64));
    (dir, index, state)
}

/// What the contract says, on one row.
fn passes(row: &TraceRow, filter: &Filter) -> bool {
    let key = |key: KeyFilter| match key {
        KeyFilter::Whole(hash) => row.key_hash == hash.to_string(),
        KeyFilter::Short(short) => row.key_hash.starts_with(&short.to_string()),
        KeyFilter::Between(first, last) => (first..=last).contains(&row.key_hash.parse().unwrap()),
        KeyFilter::Nobody => false,
    };
    let path = |path: &PathFilter| match path {
        PathFilter::AnyQuery(path) => row.path.split('?').next() == Some(path),
        PathFilter::Target { path, query } => row.path == format!("{path}?{query}"),
        PathFilter::Prefix(prefix) => row.path.starts_with(prefix),
    };
    let status = |status: StatusFilter| match status {
        StatusFilter::Exactly(status) => row.status == status,
        StatusFilter::Class(class) => (class * 100..class * 100 + 100).contains(&row.status),
    };
    filter.since.is_none_or(|since| row.ts_start >= since)
        && filter.until.is_none_or(|until| row.ts_start < until)
        && filter.status.is_none_or(status)
        && filter.model.as_ref().is_none_or(|model| row.model.as_ref() == Some(model))
        && filter.path.as_ref().is_none_or(path)
        && filter.key.is_none_or(key)
        && filter.session_root.as_ref().is_none_or(|root| row.session_root_id == *root)
        && filter.project.as_ref().is_none_or(|project| row.client_project.as_ref() == Some(project))
        && filter.tag.as_ref().is_none_or(|tag| row.tags.contains(tag))
        && filter.client_kind.as_ref().is_none_or(|kind| row.client_kind.as_ref() == Some(kind))
        && filter.stream.is_none_or(|stream| row.stream == Some(stream))
        && filter.end.is_none_or(|end| row.end == end.name())
        && filter.has_media.is_none_or(|has| (row.media_count > 0) == has)
        && filter.min_ms.is_none_or(|least| row.duration_ms >= least)
        && filter.min_tokens.is_none_or(|least| row.total_tokens.is_some_and(|it| it >= least))
}

fn optional<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(0.3, proptest::sample::select(values))
}

fn filters() -> impl Strategy<Value = Filter> {
    let status = optional(vec![
        StatusFilter::Exactly(200),
        StatusFilter::Exactly(-1),
        StatusFilter::Exactly(999),
        StatusFilter::Class(2),
        StatusFilter::Class(4),
    ]);
    let model = optional(vec!["gpt".to_owned(), "gpt-mini".into(), "nobody".into()]);
    let target = |path: &str, query: &str| PathFilter::Target { path: path.into(), query: query.into() };
    let path = optional(vec![
        PathFilter::AnyQuery("/v1/messages".into()),
        PathFilter::AnyQuery("/nowhere".into()),
        target("/v1/messages", "beta=true"),
        target("/v1/messages", "other"),
        PathFilter::Prefix("/v1/m".into()),
        PathFilter::Prefix("/v1/messages?".into()),
        PathFilter::Prefix("/v1%".into()),
        PathFilter::Prefix("/v1/files/".into()),
        PathFilter::Prefix("g".into()),
    ]);
    let key = optional(vec![
        KeyFilter::Short(ShortKey([1; 4])),
        KeyFilter::Whole(KeyHash([2; 8])),
        KeyFilter::Whole(KeyHash([9; 8])),
        KeyFilter::Nobody,
    ]);
    let root = optional((0..5).map(|n| id(n).to_string()).chain(["nonsense".to_owned()]).collect());
    let project = optional(vec!["one".to_owned(), "none".into()]);
    let tag = optional(vec!["red".to_owned(), "blue".into(), "none".into()]);
    let time = || proptest::option::weighted(0.3, (990..1050i64).prop_map(UnixMillis));
    let kind = optional(vec!["codex".to_owned(), "nobody's".into()]);
    let end = optional(vec![End::Complete, End::Rejected, End::Shutdown]);
    let flag = || proptest::option::weighted(0.2, proptest::bool::ANY);
    let least = || optional(vec![0, 1, 16, 100, 1447, 1448, 1449, 50_000, 5_000_000, 5_000_001]);
    let first = (time(), time(), status, model, path, key, root, project);
    (first, (tag, kind, end, flag(), flag(), least(), least())).prop_map(
        |((since, until, status, model, path, key, session_root, project), further)| {
            let (tag, client_kind, end, stream, has_media, min_ms, min_tokens) = further;
            let first = Filter { since, until, status, model, path, key, session_root, project, ..Filter::default() };
            Filter { tag, client_kind, end, stream, has_media, min_ms, min_tokens, ..first }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn pages_hold_exactly_what_passes_in_order(
        spread in prop_oneof![Just(0u64), Just(5), Just(200)],
        merged in prop_oneof![Just(600usize), Just(0), 0..600usize],
        asked in proptest::collection::vec((filters(), 1..60usize), 40),
    ) {
        let (_dir, index, _) = index_with_fresh((0..600).map(|n| varied(n, spread)), merged);
        let all = list(&index, &Filter::default(), 1000, None).unwrap();
        prop_assert_eq!(all.rows.len(), 600);
        prop_assert!(all.next_cursor.is_none());
        prop_assert!(all.rows.windows(2).all(|it| (it[0].ts_start, &it[0].id) > (it[1].ts_start, &it[1].id)));
        for (filter, limit) in asked {
            let expected: Vec<&str> =
                all.rows.iter().filter(|row| passes(row, &filter)).map(|row| row.id.as_str()).collect();
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = list(&index, &filter, limit, cursor).unwrap();
                prop_assert!(page.rows.len() <= limit);
                // However little is looked at at once, it is the same.
                for measures in SMALL {
                    let asked = Asked { index: &index, filter: &filter, cursor, limit: limit + 1 };
                    let picked = pick_measured(asked, measures).unwrap();
                    let picked = rows_of(&index, &picked, limit).unwrap();
                    prop_assert_eq!(&picked, &page, "{:?} {:?}", filter, measures);
                }
                found.extend(page.rows.into_iter().map(|row| row.id));
                // The text form is what travels.
                cursor = page.next_cursor.map(|cursor| cursor.to_string().parse::<Cursor>().unwrap());
                if cursor.is_none() {
                    break;
                }
            }
            prop_assert_eq!(&found, &expected, "{:?}", filter);
            // Exports and followers choose the same.
            let chosen = |most| {
                let selection = Selection::new(&index, &filter, most).unwrap();
                let traces: u64 = selection.segments().unwrap().iter().map(|it| it.traces).sum();
                (traces as usize, selection.is_limited())
            };
            prop_assert_eq!(chosen(None), (expected.len(), false), "{:?}", filter);
            let limited = (expected.len().min(limit), expected.len() > limit);
            prop_assert_eq!(chosen(Some(limit as u64)), limited, "{:?}", filter);
            let all = tail::Bounds { page: 1000, most_behind: 1000, kept: 0, counted: 0 };
            let tailed = tail::behind(&index, &filter, "0".parse().unwrap(), all).unwrap();
            prop_assert_eq!(tailed.rows.len(), expected.len(), "{:?}", filter);
        }
    }
}

/// The steps of a list's query.
fn steps(index: &Connection, filter: &Filter, cursor: Option<Cursor>) -> Vec<String> {
    let sql = walk(index, filter, 101, cursor).unwrap().unwrap();
    let mut statement = index.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.text)).unwrap();
    let found = statement.query_map(params_from_iter(sql.bound), |row| row.get(3)).unwrap();
    found.map(Result::unwrap).collect()
}

#[test]
fn no_filter_walks_or_sorts_the_whole_table() {
    // Many rows of few kinds, so that counting says nothing and order must come from the index.
    let rows = (0..12_000).map(|n| varied(n, 0));
    let (_dir, index, _) = index_of(rows);
    let last: TraceId = id(5);
    let cursor = Some(Cursor { ts_start: UnixMillis(1030), id: last });
    let parse = |pairs: &[(&'static str, &'static str)]| Filter::parse(pairs.iter().copied(), &[]).unwrap();
    let root: &'static str = id(1).to_string().leak();
    let filters = [
        parse(&[("status", "200")]),
        parse(&[("status", "4xx")]),
        parse(&[("model", "gpt")]),
        parse(&[("path", "/v1/messages")]),
        parse(&[("path", "/v1/messages?beta=true")]),
        parse(&[("path", "/v1/*")]),
        parse(&[("key_hash", "01010101")]),
        parse(&[("key_hash", "0202020202020202")]),
        parse(&[("session_root_id", root)]),
        parse(&[("project", "one")]),
        parse(&[("tag", "red")]),
        parse(&[("tag", "blue"), ("status", "200")]),
        parse(&[("client_kind", "codex")]),
        parse(&[("stream", "true")]),
        parse(&[("stream", "false")]),
        parse(&[("end", "client_gone")]),
        parse(&[("has_media", "true")]),
        parse(&[("min_ms", "1000")]),
        parse(&[("min_ms", "2000000")]),
        parse(&[("min_tokens", "0")]),
        parse(&[("min_tokens", "1500")]),
        parse(&[("min_ms", "1"), ("client_kind", "codex"), ("end", "complete"), ("has_media", "false")]),
        parse(&[("status", "5xx"), ("model", "gpt"), ("key_hash", "01010101")]),
        parse(&[("since", "1970-01-01T00:00:01.010Z"), ("until", "1970-01-01T00:00:01.030Z"), ("model", "gpt")]),
    ];
    for filter in filters {
        for cursor in [None, cursor] {
            let steps = steps(&index, &filter, cursor);
            let is_found = |step: &String| {
                step.starts_with("SEARCH rows USING INDEX") || step.starts_with("SEARCH tags USING PRIMARY KEY")
            };
            assert!(steps.iter().any(is_found), "{filter:?}: {steps:#?}");
            for step in &steps {
                let is_cheap = step.starts_with("SEARCH rows USING INDEX")
                    // Labels in the order of time, each with its row; or a look whether a row has one.
                    || step.starts_with("SEARCH tags USING PRIMARY KEY")
                    || step.starts_with("SEARCH rows USING INTEGER PRIMARY KEY")
                    || step.starts_with("SEARCH tags EXISTS USING PRIMARY KEY")
                    || step.starts_with("MERGE")
                    || ["LEFT", "RIGHT", "UNION ALL"].contains(&step.as_str())
                    // Rows of the same millisecond are put in order of their ids.
                    || step.starts_with("USE TEMP B-TREE FOR LAST TERM OF ORDER BY");
                assert!(is_cheap, "{filter:?}: {steps:#?}");
            }
        }
    }
    // What nearly every row passes is found by walking time too.
    let without_media = parse(&[("has_media", "false")]);
    let nothing_needed = parse(&[("min_ms", "0")]);
    for (filter, cursor) in
        [(&Filter::default(), None), (&Filter::default(), cursor), (&without_media, None), (&nothing_needed, cursor)]
    {
        let steps = steps(&index, filter, cursor);
        assert!(steps[0].contains("USING INDEX rows_by_time"), "{steps:#?}");
        assert!(!steps.iter().any(|step| step.ends_with("FOR ORDER BY")), "{steps:#?}");
    }
}

#[test]
fn a_rare_prefix_of_many_paths_is_gathered_and_a_common_one_walks_time() {
    let many = |count: u64| {
        move |n: u64| {
            let mut row = varied(n, 0);
            if n < count {
                row.path = format!("/many/{n}");
            }
            row
        }
    };
    let filter = Filter::parse([("path", "/many/*")], &[]).unwrap();
    let (_dir, rare, _) = index_of((0..8000).map(many(100)));
    let found = steps(&rare, &filter, None);
    assert!(found[0].contains("rows_by_path"), "{found:#?}");
    assert_eq!(list(&rare, &filter, 500, None).unwrap().rows.len(), 100);
    let (_dir, common, _) = index_of((0..8000).map(many(6000)));
    let found = steps(&common, &filter, None);
    assert!(found[0].contains("rows_by_time"), "{found:#?}");
    assert_eq!(list(&common, &filter, 500, None).unwrap().rows.len(), 500);
}

#[test]
fn of_two_common_filters_the_rarer_one_leads() {
    let rows = (0..12_000).map(|n| {
        let mut row = varied(n, 0);
        row.model = Some("one".into());
        row.client_kind = Some(if n % 3 == 0 { "rarer" } else { "common" }.into());
        row.conversation = Default::default();
        row
    });
    // Both let more through than is counted at first, in either order of the filters.
    let (_dir, index, _) = index_of(rows.clone());
    let filter = Filter::parse([("model", "one"), ("client_kind", "rarer")], &[]).unwrap();
    assert!(steps(&index, &filter, None)[0].contains("rows_by_client_kind"));
    let (_dir, index, _) = index_of(rows.map(|mut row| {
        (row.model, row.client_kind) = (row.client_kind, row.model);
        row
    }));
    let filter = Filter::parse([("model", "common"), ("client_kind", "one")], &[]).unwrap();
    assert!(steps(&index, &filter, None)[0].contains("rows_by_model"));
}
