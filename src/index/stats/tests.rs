//! Statistics are those of the rows, whatever is asked, however the rows came, and after some have gone.

use proptest::prelude::*;
use rusqlite::Connection;

use super::distribution::Distribution;
use super::rollup::HOUR;
use super::*;
use crate::ids::{KeyHash, Place, UnixMillis};
use crate::index::filter::{Filter, KeyFilter};
use crate::index::testing::{dump, new_index, row};
use crate::index::{WriterState, insert_batch, remove_segment};
use crate::store::layout::Layout;
use crate::trace::Row;

const SEGMENTS: [&str; 2] = ["2026-05-27/01010101.jsonl", "2026-05-28/01010101.jsonl"];

/// What of a row matters here: when, how long, the first event, and which model, key, client, project and status.
type Made = (i64, i64, Option<u64>, usize, u8, usize, usize, i32);

fn made() -> impl Strategy<Value = Vec<Made>> {
    let status = prop_oneof![Just(200), Just(302), Just(404), Just(500), Just(-1)];
    let times = (0..40 * HOUR, 0..100_000i64, proptest::option::of(0..5000u64));
    let one = (times, 0..3usize, 1..3u8, 0..2usize, 0..2usize, status).prop_map(
        |((at, took, first), model, key, kind, project, status)| {
            (at - 3 * HOUR, took, first, model, key, kind, project, status)
        },
    );
    proptest::collection::vec(one, 1..80)
}

fn rows_of(made: &[Made]) -> Vec<(Row, Place)> {
    let mut ends = [0; 2];
    let of = |names: [Option<&str>; 3], at: usize| names[at].map(str::to_owned);
    let one = |(n, &(at, took, first, model, key, kind, project, status)): (usize, &Made)| {
        let mut row = row(n as u64, at);
        row.ts_end = UnixMillis(at + took);
        row.first_event_ms = first;
        row.model = of([None, Some("m-1"), Some("m-2")], model);
        row.key = KeyHash([key; 8]);
        row.client_kind = of([None, Some("codex"), None], kind);
        row.client_project = of([None, Some("p"), None], project);
        row.status = status;
        row.disconnected = status == 500;
        row.usage.total = (status == 200).then_some(took);
        let segment = SEGMENTS[n % 2].parse().unwrap();
        let place = Place { segment, offset: ends[n % 2], bytes: 9 };
        ends[n % 2] += 10;
        (row, place)
    };
    made.iter().enumerate().map(one).collect()
}

fn index_of(rows: &[(Row, Place)], batch: usize) -> (tempfile::TempDir, Connection, WriterState) {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, mut state) = new_index(&Layout::new(dir.path()));
    for batch in rows.chunks(batch) {
        assert_eq!(insert_batch(&mut index, &mut state, batch).unwrap().inserted, batch.len());
    }
    (dir, index, state)
}

/// The series of a row, by name.
fn series_of(row: &Row, params: &StatsParams) -> Vec<Option<String>> {
    let hours = params.bucket.map(|it| if it == Bucket::Hour { HOUR } else { 24 * HOUR });
    let begin = hours.map(|it| UnixMillis(row.ts_start.0.div_euclid(it) * it).to_string());
    let names = params.by.iter().map(|by| match by {
        By::Model => row.model.clone(),
        By::Key => Some(row.key.to_string()),
        By::Client => row.client_kind.clone(),
        By::Project => row.client_project.clone(),
    });
    std::iter::once(begin).chain(names).collect()
}

fn name_of(series: &Series, by: &[By]) -> Vec<Option<String>> {
    let names = by.iter().map(|by| match by {
        By::Model => series.model.clone().unwrap(),
        By::Key => series.key_hash.clone().unwrap(),
        By::Client => series.client_kind.clone().unwrap(),
        By::Project => series.project.clone().unwrap(),
    });
    std::iter::once(series.bucket.map(|it| it.0.to_string())).chain(names).collect()
}

/// What some rows come to, counted one by one.
fn totals_of<'r>(rows: impl Iterator<Item = &'r Row>) -> Totals {
    let rows: Vec<&Row> = rows.collect();
    let count = |passes: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| passes(row)).count() as i64;
    let spread = |times: Vec<i64>| {
        let mut all = Distribution::default();
        times.iter().for_each(|time| all.count(*time, 1));
        let mean = times.iter().sum::<i64>() as f64 / times.len() as f64;
        let mean = (!times.is_empty()).then_some((mean * 10.0).round() / 10.0);
        let [p50, p90, p95, p99] = [500, 900, 950, 990].map(|it| all.per_mille(it));
        Spread { count: times.len() as i64, mean, p50, p90, p95, p99 }
    };
    Totals {
        traces: rows.len() as i64,
        ok_count: count(&|row| row.status == 200),
        err_count: count(&|row| row.status >= 400),
        client_errors: count(&|row| row.status == 404),
        server_errors: count(&|row| row.status == 500),
        unanswered: count(&|row| row.status == -1),
        disconnected: count(&|row| row.disconnected),
        prompt_tokens: 0,
        completion_tokens: 0,
        total_tokens: rows.iter().filter_map(|row| row.usage.total).sum(),
        cached_tokens: 0,
        cache_creation_tokens: 0,
        reasoning_tokens: 0,
        duration_ms: spread(rows.iter().map(|row| row.ts_end.0 - row.ts_start.0).collect()),
        first_event_ms: spread(rows.iter().filter_map(|row| row.first_event_ms).map(|it| it as i64).collect()),
    }
}

fn asked() -> impl Strategy<Value = StatsParams> {
    let time = || {
        proptest::option::of((-4..38i64, prop_oneof![Just(0), 0..HOUR]).prop_map(|(h, ms)| UnixMillis(h * HOUR + ms)))
    };
    let by = proptest::sample::subsequence(By::ALL.to_vec(), 0..=4).prop_shuffle();
    let bucket = proptest::option::of(prop_oneof![Just(Bucket::Hour), Just(Bucket::Day)]);
    let optional = |name: &str| proptest::option::weighted(0.3, Just(name.to_owned()));
    let key = proptest::option::weighted(0.3, Just(KeyFilter::Whole(KeyHash([1; 8]))));
    (time(), time(), by, bucket, (optional("m-1"), key, optional("codex"), optional("nobody's")), 1..12usize).prop_map(
        |(since, until, by, bucket, (model, key, client_kind, project), limit)| {
            let filter = Filter { since, until, model, key, client_kind, project, ..Filter::default() };
            StatsParams { filter, by, bucket, limit }
        },
    )
}

fn passes(row: &Row, filter: &Filter) -> bool {
    filter.since.is_none_or(|since| row.ts_start >= since)
        && filter.until.is_none_or(|until| row.ts_start < until)
        && filter.model.as_ref().is_none_or(|it| row.model.as_ref() == Some(it))
        && filter.key.is_none_or(|it| it == KeyFilter::Whole(row.key))
        && filter.client_kind.as_ref().is_none_or(|it| row.client_kind.as_ref() == Some(it))
        && filter.project.as_ref().is_none_or(|it| row.client_project.as_ref() == Some(it))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn they_are_those_of_the_rows(made in made(), batch in 1..40usize, asked in proptest::collection::vec(asked(), 20)) {
        let rows = rows_of(&made);
        let (_dir, index, _) = index_of(&rows, batch);
        for params in asked {
            let found = stats(&index, &params).unwrap().unwrap();
            let chosen: Vec<&Row> = rows.iter().map(|it| &it.0).filter(|row| passes(row, &params.filter)).collect();
            prop_assert_eq!(&found.total, &totals_of(chosen.iter().copied()), "{:?}", params);
            let mut shown = 0;
            for series in &found.series {
                let name = name_of(series, &params.by);
                let of_it = chosen.iter().copied().filter(|row| series_of(row, &params) == name);
                prop_assert_eq!(&series.totals, &totals_of(of_it), "{:?} {:?}", name, params);
                shown += series.totals.traces;
            }
            let others = found.others.as_ref().map_or(0, |it| it.totals.traces);
            if params.by.is_empty() && params.bucket.is_none() {
                prop_assert!(found.series.is_empty() && others == 0);
            } else {
                prop_assert_eq!(shown + others, found.total.traces);
                prop_assert!(found.series.len() <= params.limit);
                let order: Vec<_> = found.series.iter().map(|it| (it.bucket.map(|it| it.0), -it.totals.traces)).collect();
                prop_assert!(order.is_sorted());
            }
        }
    }

    #[test]
    fn what_is_removed_is_taken_off(made in made(), batch in 1..40usize) {
        let rows = rows_of(&made);
        let (_dir, mut index, mut state) = index_of(&rows, batch);
        remove_segment(&mut index, &mut state, SEGMENTS[0].parse().unwrap()).unwrap();
        let rest: Vec<(Row, Place)> =
            rows.into_iter().filter(|(_, place)| place.segment.to_string() == SEGMENTS[1]).collect();
        let (_dir, fresh, _) = index_of(&rest, 1000);
        prop_assert_eq!(dump(&index), dump(&fresh));
    }
}

#[test]
fn the_rollups_of_an_earlier_index_are_those_of_its_rows() {
    let made: Vec<Made> = (0..50)
        .map(|n| (i64::from(n) * 700_000, i64::from(n), Some(3), n as usize % 3, n as u8 % 2, 1, 0, 200))
        .collect();
    let (_dir, index, _) = index_of(&rows_of(&made), 10);
    let expected = dump(&index);
    index.execute_batch("DELETE FROM rollups").unwrap();
    rollup::fill(&index).unwrap();
    assert_eq!(dump(&index), expected);
}

#[test]
fn more_series_than_can_be_told_apart_are_refused() {
    let mut rows: Vec<(Row, Place)> = Vec::new();
    for n in 0..20_001_u64 {
        let mut row = row(n, 0);
        row.model = Some(format!("m-{n}"));
        rows.push((row, Place { segment: SEGMENTS[0].parse().unwrap(), offset: n * 10, bytes: 9 }));
    }
    let (_dir, index, _) = index_of(&rows, 4096);
    let by_model = StatsParams { by: vec![By::Model], limit: 3, ..StatsParams::default() };
    assert_eq!(stats(&index, &by_model).unwrap(), Err(TooManySeries));
    let all = StatsParams { limit: 3, ..StatsParams::default() };
    assert_eq!(stats(&index, &all).unwrap().unwrap().total.traces, 20_001);
}

#[test]
fn a_time_is_read_by_whole_hours_and_rests() {
    let steps = |params: &StatsParams| params.span();
    let of = |since: Option<i64>, until: Option<i64>| {
        let filter = Filter { since: since.map(UnixMillis), until: until.map(UnixMillis), ..Filter::default() };
        let span = steps(&StatsParams { filter, ..StatsParams::default() });
        let rests: Vec<_> = span.rests.iter().map(|(from, to)| (from.map(|it| it.0), to.map(|it| it.0))).collect();
        (span.hours, rests)
    };
    assert_eq!(of(None, None), (Some((i64::MIN, i64::MAX)), vec![]));
    assert_eq!(of(Some(HOUR), Some(3 * HOUR)), (Some((1, 3)), vec![]));
    let uneven = of(Some(HOUR - 1), Some(3 * HOUR + 1));
    let rests = vec![(Some(HOUR - 1), Some(HOUR)), (Some(3 * HOUR), Some(3 * HOUR + 1))];
    assert_eq!(uneven, (Some((1, 3)), rests));
    assert_eq!(of(Some(5), Some(7)), (None, vec![(Some(5), Some(7))]));
    assert_eq!(of(Some(7), Some(5)), (None, vec![(Some(7), Some(5))]));
}

#[test]
fn parameters_are_read_or_refused_by_name() {
    let parse =
        |pairs: &[(&'static str, &'static str)]| StatsParams::parse(pairs.iter().copied()).map_err(|bad| bad.param);
    assert_eq!(parse(&[]).unwrap(), StatsParams { limit: 1000, ..StatsParams::default() });
    let found = parse(&[("by", "client, model,client"), ("bucket", "day"), ("limit", "5"), ("project", "p")]).unwrap();
    assert_eq!((found.by, found.bucket, found.limit), (vec![By::Client, By::Model], Some(Bucket::Day), 5));
    assert_eq!(found.filter.project.as_deref(), Some("p"));
    for (name, value) in [
        ("by", "path"),
        ("by", "model,,"),
        ("bucket", "minute"),
        ("limit", "0"),
        ("limit", "10001"),
        ("since", "x"),
        ("key_hash", "abc"),
        ("status", "200"),
        ("cursor", "x"),
    ] {
        assert_eq!(parse(&[(name, value)]), Err(name.to_owned()), "{value}");
    }
}
