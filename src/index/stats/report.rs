//! Statistics as the read API shows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::distribution::Distribution;
use super::params::{Bucket, By, StatsParams};
use super::rollup::{COLUMNS, Group, HOUR, STORED, Sums, read};
use crate::ids::UnixMillis;
use crate::index::filter::Filter;
use crate::index::query::{Kind, Names, conditions};

/// Series that are summed at once.
const MOST_SERIES: usize = 20_000;

/// More series than are summed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST_SERIES} series")]
pub struct TooManySeries;

/// What was asked for, summed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stats {
    /// From when on; `None` for everything before the end.
    pub since: Option<Text<UnixMillis>>,
    /// Until when.
    pub until: Option<Text<UnixMillis>>,
    /// Into what times are cut.
    pub bucket: Option<&'static str>,
    /// By what traces are told apart.
    pub by: Vec<&'static str>,
    /// All of them.
    pub total: Totals,
    /// Those with most traces, in order of time, then of traces. None if traces are told apart by nothing.
    pub series: Vec<Series>,
    /// What the limit left out.
    pub others: Option<Others>,
}

/// The traces that have something in common.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Series {
    /// When their hour or day begins; absent if times are not told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Text<UnixMillis>>,
    /// Their model, `null` for none; absent if models are not told apart, and so for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Option<String>>,
    /// Whose they are: 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_hash: Option<Option<String>>,
    /// Their kind of client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_kind: Option<Option<String>>,
    /// Their project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Option<String>>,
    /// What they come to.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Series that are not shown.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Others {
    /// How many.
    pub series: usize,
    /// What they come to together.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What some traces come to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Totals {
    /// How many.
    pub traces: i64,
    /// Of status 200 to 299.
    pub ok_count: i64,
    /// Of status 400 and above.
    pub err_count: i64,
    /// Of status 400 to 499.
    pub client_errors: i64,
    /// Of status 500 and above.
    pub server_errors: i64,
    /// Without an answer of the gateway.
    pub unanswered: i64,
    /// Of which either side ended before its time.
    pub disconnected: i64,
    /// Tokens of requests. As those below, of the traces that tell.
    pub prompt_tokens: i64,
    /// Tokens of answers.
    pub completion_tokens: i64,
    /// All tokens.
    pub total_tokens: i64,
    /// Prompt tokens read from a cache.
    pub cached_tokens: i64,
    /// Prompt tokens written to a cache.
    pub cache_creation_tokens: i64,
    /// Tokens of reasoning.
    pub reasoning_tokens: i64,
    /// From start to end, in milliseconds.
    pub duration_ms: Spread,
    /// From start to the first event of streams, in milliseconds.
    pub first_event_ms: Spread,
}

/// How times are spread. Percentiles are at most a sixteenth too high; `None` if there is no time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Spread {
    /// How many there are.
    pub count: i64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Half of them are not above.
    pub p50: Option<i64>,
    /// Nine of ten.
    pub p90: Option<i64>,
    /// 95 of 100.
    pub p95: Option<i64>,
    /// 99 of 100.
    pub p99: Option<i64>,
}

/// A value that is written as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<T>(pub T);

impl<T: JsonSchema> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// When a series begins, and the numbers of what its traces have in common, in the order of [`StatsParams::by`].
type SeriesKey = (Option<i64>, Vec<i64>);

/// Sums what is asked for. Opens no file of lines.
///
/// # Errors
/// The database fails, or the query was interrupted. Inside, too many series.
pub fn stats(connection: &Connection, params: &StatsParams) -> rusqlite::Result<Result<Stats, TooManySeries>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut summed = Summed { params, series: BTreeMap::new(), is_too_many: false };
    let of_no_time = Filter { since: None, until: None, ..params.filter.clone() };
    let span = params.span();
    if let Some((first, end)) = span.hours
        && let Some(passes) = conditions(&snapshot, &of_no_time)?
    {
        let sql = format!(
            "SELECT hour, model, key, client_kind, client_project, {STORED} FROM rollups WHERE hour >= ? AND hour < ?{}",
            passes.text
        );
        let bound = [first, end].map(Value::Integer).into_iter().chain(passes.bound);
        let mut statement = snapshot.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(bound))?;
        while let Some(row) = rows.next()?
            && !summed.is_too_many
        {
            let group = Group {
                hour: row.get(0)?,
                model: row.get(1)?,
                key: row.get(2)?,
                client_kind: row.get(3)?,
                project: row.get(4)?,
            };
            summed.of(&group, |sums| sums.merge_stored(row, 5))?;
        }
    }
    for (since, until) in span.rests {
        let Some(passes) = conditions(&snapshot, &Filter { since, until, ..params.filter.clone() })? else { continue };
        let sql = format!("SELECT {COLUMNS} FROM rows INDEXED BY rows_by_time WHERE 1{}", passes.text);
        let mut statement = snapshot.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(passes.bound))?;
        while let Some(row) = rows.next()?
            && !summed.is_too_many
        {
            let (group, facts) = read(row, 0)?;
            summed.of(&group, |sums| {
                sums.count(&facts, 1);
                Ok(())
            })?;
        }
    }
    if summed.is_too_many {
        return Ok(Err(TooManySeries));
    }
    summed.told(&snapshot).map(Ok)
}

/// What is summed so far.
struct Summed<'p> {
    params: &'p StatsParams,
    series: BTreeMap<SeriesKey, Sums>,
    is_too_many: bool,
}

impl Summed<'_> {
    /// Adds to the series of a group.
    fn of(&mut self, group: &Group, add: impl FnOnce(&mut Sums) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let hours = self.params.bucket.map(Bucket::hours);
        let begin = hours.map(|hours| group.hour.div_euclid(hours) * hours);
        let numbers = self.params.by.iter().map(|by| match by {
            By::Model => group.model,
            By::Key => group.key,
            By::Client => group.client_kind,
            By::Project => group.project,
        });
        let count = self.series.len();
        match self.series.entry((begin, numbers.collect())) {
            Entry::Occupied(known) => add(known.into_mut()),
            Entry::Vacant(_) if count >= MOST_SERIES => {
                self.is_too_many = true;
                Ok(())
            }
            Entry::Vacant(new) => add(new.insert(Sums::default())),
        }
    }

    fn told(self, connection: &Connection) -> rusqlite::Result<Stats> {
        let StatsParams { filter, by, bucket, limit } = self.params;
        let mut total = Sums::default();
        self.series.values().for_each(|sums| total.merge(sums));
        let mut ranked: Vec<(SeriesKey, Sums)> = match by.is_empty() && bucket.is_none() {
            true => Vec::new(),
            false => self.series.into_iter().collect(),
        };
        ranked.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.traces()));
        let rest = ranked.split_off(ranked.len().min(*limit));
        ranked.sort_by_key(|((begin, _), sums)| (*begin, std::cmp::Reverse(sums.traces())));
        let mut names = Names::new(connection);
        let series = ranked.iter().map(|((begin, numbers), sums)| one_series(&mut names, by, *begin, numbers, sums));
        let series = series.collect::<rusqlite::Result<_>>()?;
        let others = (!rest.is_empty()).then(|| {
            let mut sums = Sums::default();
            rest.iter().for_each(|(_, it)| sums.merge(it));
            Others { series: rest.len(), totals: Totals::of(&sums) }
        });
        Ok(Stats {
            since: filter.since.map(Text),
            until: filter.until.map(Text),
            bucket: bucket.map(Bucket::name),
            by: by.iter().map(|it| it.name()).collect(),
            total: Totals::of(&total),
            series,
            others,
        })
    }
}

fn one_series(
    names: &mut Names<'_>,
    by: &[By],
    begin: Option<i64>,
    numbers: &[i64],
    sums: &Sums,
) -> rusqlite::Result<Series> {
    let mut series = Series {
        bucket: begin.map(|hour| Text(UnixMillis(hour.saturating_mul(HOUR)))),
        model: None,
        key_hash: None,
        client_kind: None,
        project: None,
        totals: Totals::of(sums),
    };
    for (by, number) in by.iter().zip(numbers) {
        let (slot, kind) = match by {
            By::Model => (&mut series.model, Kind::Word),
            By::Key => (&mut series.key_hash, Kind::Key),
            By::Client => (&mut series.client_kind, Kind::Word),
            By::Project => (&mut series.project, Kind::Word),
        };
        *slot = Some(match number {
            0 => None,
            number => Some(names.text(kind, *number)?),
        });
    }
    Ok(series)
}

impl Totals {
    fn of(sums: &Sums) -> Totals {
        let [
            traces,
            ok_count,
            client_errors,
            server_errors,
            unanswered,
            disconnected,
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_creation_tokens,
            reasoning_tokens,
            duration_ms,
            first_event_ms,
        ] = sums.numbers;
        Totals {
            traces,
            ok_count,
            err_count: client_errors + server_errors,
            client_errors,
            server_errors,
            unanswered,
            disconnected,
            prompt_tokens,
            completion_tokens,
            total_tokens,
            cached_tokens,
            cache_creation_tokens,
            reasoning_tokens,
            duration_ms: Spread::of(duration_ms, &sums.durations),
            first_event_ms: Spread::of(first_event_ms, &sums.first_events),
        }
    }
}

impl Spread {
    fn of(sum: i64, distribution: &Distribution) -> Spread {
        let count = distribution.total();
        let mean = (count > 0).then(|| (sum as f64 / count as f64 * 10.0).round() / 10.0);
        let [p50, p90, p95, p99] = [500, 900, 950, 990].map(|it| distribution.per_mille(it));
        Spread { count, mean, p50, p90, p95, p99 }
    }
}
