//! What statistics are asked for.

use schemars::{Schema, json_schema};

use crate::described::{Param, one_of, up_to};
use crate::ids::UnixMillis;
use crate::index::filter::{BadParam, Filter, first_of_each};

/// By what traces are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The model.
    Model,
    /// The key.
    Key,
    /// The kind of client.
    Client,
    /// The project.
    Project,
}

/// Into what times are cut, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Whole hours.
    Hour,
    /// Whole days.
    Day,
}

/// What `/api/stats` was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsParams {
    /// Which traces: by time, model, key, kind of client and project.
    pub filter: Filter,
    /// By what they are told apart; in the order that was asked for, each once.
    pub by: Vec<By>,
    /// By what time they are told apart; `None` for not at all.
    pub bucket: Option<Bucket>,
    /// At most so many series.
    pub limit: usize,
}

/// So many series are given if nothing is said of it, and at most.
const DEFAULT_LIMIT: usize = 1000;
const MOST_LIMIT: usize = 10_000;

impl By {
    /// Every one, in the order of the documentation.
    pub const ALL: [By; 4] = [By::Model, By::Key, By::Client, By::Project];

    /// Its name as a parameter.
    pub fn name(self) -> &'static str {
        match self {
            By::Model => "model",
            By::Key => "key",
            By::Client => "client",
            By::Project => "project",
        }
    }
}

impl Bucket {
    /// Both.
    pub const ALL: [Bucket; 2] = [Bucket::Hour, Bucket::Day];

    /// Its name as a parameter.
    pub fn name(self) -> &'static str {
        match self {
            Bucket::Hour => "hour",
            Bucket::Day => "day",
        }
    }

    /// How many hours it has.
    pub(super) fn hours(self) -> i64 {
        match self {
            Bucket::Hour => 1,
            Bucket::Day => 24,
        }
    }
}

/// The values of `by`.
fn by() -> Schema {
    let names = By::ALL.map(By::name).join("|");
    json_schema!({"type": "string", "pattern": format!("^({names})(,({names}))*$")})
}

/// Those of a list's filters that rollups can answer.
const FILTERS: [&str; 6] = ["since", "until", "model", "key_hash", "client_kind", "project"];

impl StatsParams {
    /// The parameters that are read beside the filters; no other.
    pub const PARAMS: &[Param] = &[
        Param::new("by", by, "By what traces are told apart, between commas: `model`, `key`, `client`, `project`."),
        Param::new("bucket", || one_of(Bucket::ALL.map(Bucket::name)), "Into what times are cut, in UTC."),
        Param::new("limit", || up_to(MOST_LIMIT), "At most so many series; 1000 if nothing is said."),
    ];

    /// All of them.
    pub fn params() -> impl Iterator<Item = Param> {
        let filters = Filter::PARAMS.iter().filter(|it| FILTERS.contains(&it.name));
        filters.chain(StatsParams::PARAMS).copied()
    }

    /// Reads query parameters: `since`, `until`, `model`, `key_hash`, `client_kind` and `project` as lists do, `by` (names
    /// between commas), `bucket` and `limit` (1 to 10,000, default 1,000).
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<StatsParams, BadParam> {
        let mut params = StatsParams { limit: DEFAULT_LIMIT, ..StatsParams::default() };
        let mut filters = Vec::new();
        for (name, value) in first_of_each(pairs) {
            if !StatsParams::params().any(|it| it.name == name) {
                return Err(BadParam::unknown(name));
            }
            match name {
                "by" => params.by = parse_by(value)?,
                "bucket" => {
                    let found = Bucket::ALL.into_iter().find(|it| it.name() == value);
                    params.bucket = Some(found.ok_or_else(|| BadParam::new(name, "must be hour or day"))?);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|it| (1..=MOST_LIMIT).contains(it));
                    let bad = || BadParam::new(name, "must be an integer from 1 to 10000");
                    params.limit = limit.ok_or_else(bad)?;
                }
                name if FILTERS.contains(&name) => filters.push((name, value)),
                unknown => return Err(BadParam::unknown(unknown)),
            }
        }
        params.filter = Filter::parse(filters, &[])?;
        Ok(params)
    }

    /// The whole hours of the time that is asked for, and what there is of others at its ends.
    pub(super) fn span(&self) -> Span {
        let hour = super::rollup::HOUR;
        let first =
            self.filter.since.map_or(i64::MIN, |it| it.0.div_euclid(hour) + i64::from(it.0.rem_euclid(hour) > 0));
        let end = self.filter.until.map_or(i64::MAX, |it| it.0.div_euclid(hour));
        let (since, until) = (self.filter.since, self.filter.until);
        if first >= end {
            return Span { hours: None, rests: vec![(since, until)] };
        }
        let begin_of = |number: i64| UnixMillis(number.saturating_mul(hour));
        let before = since.map(|since| (since, begin_of(first)));
        let behind = until.map(|until| (begin_of(end), until));
        let rests = before.into_iter().chain(behind).filter(|(from, to)| from < to);
        let rests = rests.map(|(from, to)| (Some(from), Some(to))).collect();
        Span { hours: Some((first, end)), rests }
    }
}

/// A time in hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// From this hour up to that one.
    pub(super) hours: Option<(i64, i64)>,
    /// What lies in none of them: begun at or after, and before.
    pub(super) rests: Vec<(Option<UnixMillis>, Option<UnixMillis>)>,
}

fn parse_by(value: &str) -> Result<Vec<By>, BadParam> {
    let mut by = Vec::new();
    for name in value.split(',').map(str::trim) {
        let found = By::ALL.into_iter().find(|it| it.name() == name);
        let bad = || BadParam::new("by", "must be names between commas, of model, key, client and project");
        let found = found.ok_or_else(bad)?;
        if !by.contains(&found) {
            by.push(found);
        }
    }
    Ok(by)
}
