//! What a list is asked for: typed, and read from query parameters once.

mod passes;

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use schemars::{Schema, json_schema};

use crate::described::{Param, count, one_of, text, time, truth, up_to};
use crate::exchange::End;
use crate::ids::{KeyHash, ShortKey, TraceId, UnixMillis};
use crate::index::texts::TextQuery;

/// A query parameter that cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {param}: {detail}")]
pub struct BadParam {
    /// Its name.
    pub param: String,
    /// What is wrong with it.
    pub detail: String,
}

impl BadParam {
    /// A parameter whose value is not one.
    pub fn new(param: &str, detail: &str) -> BadParam {
        BadParam { param: param.to_owned(), detail: detail.to_owned() }
    }

    /// A parameter that nobody knows: ignoring it would pretend that it filtered.
    pub fn unknown(param: &str) -> BadParam {
        BadParam::new(param, "unknown parameter")
    }
}

/// Which traces. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Begun at or after.
    pub since: Option<UnixMillis>,
    /// Begun before.
    pub until: Option<UnixMillis>,
    /// By status.
    pub status: Option<StatusFilter>,
    /// Of this model.
    pub model: Option<String>,
    /// By target.
    pub path: Option<PathFilter>,
    /// By key.
    pub key: Option<KeyFilter>,
    /// Of this session.
    pub session_root: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// With this label.
    pub tag: Option<String>,
    /// Of this kind of client.
    pub client_kind: Option<String>,
    /// Whether a stream was asked for; who did not say passes neither way.
    pub stream: Option<bool>,
    /// Ended so.
    pub end: Option<End>,
    /// Whether there are attachments.
    pub has_media: Option<bool>,
    /// Took at least so many milliseconds.
    pub min_ms: Option<i64>,
    /// At least so many tokens in all.
    pub min_tokens: Option<i64>,
}

/// Which statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// This one.
    Exactly(i32),
    /// From 100 times this up to the next hundred.
    Class(i32),
}

/// Which targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFilter {
    /// This path with any query.
    AnyQuery(String),
    /// This path with just this query.
    Target {
        /// Before the `?`.
        path: String,
        /// Behind it.
        query: String,
    },
    /// Any target that begins with this. Case counts; nothing in it is a wildcard.
    Prefix(String),
}

/// Which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFilter {
    /// This one.
    Whole(KeyHash),
    /// Those whose hash begins so.
    Short(ShortKey),
    /// Those from this one to that one, both included.
    Between(KeyHash, KeyHash),
    /// Text of the right length that is no hash: no key's.
    Nobody,
}

impl KeyFilter {
    /// Those whose hash begins with these digits; `None` if there are none, which is every key's beginning.
    pub fn beginning_with(digits: &str) -> Option<KeyFilter> {
        let filled = |with: char| -> Option<KeyHash> {
            let rest = 16_usize.checked_sub(digits.len())?;
            let text = digits.to_ascii_lowercase() + &String::from(with).repeat(rest);
            text.parse().ok()
        };
        let between = || Some(KeyFilter::Between(filled('0')?, filled('f')?));
        (!digits.is_empty()).then(|| between().unwrap_or(KeyFilter::Nobody))
    }
}

impl PathFilter {
    /// Just this target if it has a query, else the path with any. Nothing in it is a wildcard.
    pub fn exactly(target: &str) -> PathFilter {
        match target.split_once('?') {
            Some((path, query)) => PathFilter::Target { path: path.to_owned(), query: query.to_owned() },
            None => PathFilter::AnyQuery(target.to_owned()),
        }
    }
}

/// The values of `status`.
fn status() -> Schema {
    json_schema!({"anyOf": [
        {"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX},
        {"type": "string", "pattern": "^[245][xX][xX]$"},
    ]})
}

/// The values of `key_hash`.
fn key_hash() -> Schema {
    json_schema!({"type": "string", "pattern": "^([0-9a-fA-F]{8}|[0-9a-fA-F]{16})$"})
}

/// The values of a list's `cursor`.
fn cursor() -> Schema {
    json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"})
}

/// The values of `q`.
fn searched() -> Schema {
    json_schema!({"type": "string", "minLength": 2, "maxLength": 1000})
}

impl Filter {
    /// The parameters that [`Filter::parse`] reads; no other.
    pub const PARAMS: &[Param] = &[
        Param::new("since", time, "Begun at or after."),
        Param::new("until", time, "Begun before."),
        Param::new("status", status, "The status, or the class of it as `4xx`; -1 for none."),
        Param::new("model", text, "The model."),
        Param::new("path", text, "The target. Without a query, that path with any; with a final `*`, what begins so."),
        Param::new("key_hash", key_hash, "Whose: 16 hex digits, or the first 8."),
        Param::new("session_root_id", text, "The session, by the id of its first trace."),
        Param::new("project", text, "The project that the client worked on."),
        Param::new("tag", text, "A label."),
        Param::new("client_kind", text, "The kind of client."),
        Param::new("stream", truth, "Whether a stream was asked for; who did not say passes neither way."),
        Param::new("end", || one_of(End::ALL.map(End::name)), "How it ended."),
        Param::new("has_media", truth, "Whether there are attachments."),
        Param::new("min_ms", count, "At least so many milliseconds from start to end."),
        Param::new("min_tokens", count, "At least so many tokens in all."),
    ];

    /// Reads query parameters. An empty value is an absent parameter; of repeated ones the first counts.
    /// `other` names those that the route reads itself.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, other: &[&str]) -> Result<Filter, BadParam> {
        let mut filter = Filter::default();
        for (name, value) in first_of_each(pairs) {
            if !Param::is_among(Filter::PARAMS, name) && !other.contains(&name) {
                return Err(BadParam::unknown(name));
            }
            match name {
                "since" => filter.since = Some(parse_time(name, value)?),
                "until" => filter.until = Some(parse_time(name, value)?),
                "status" => {
                    let bad = || BadParam::new(name, "must be an integer, 2xx, 4xx or 5xx");
                    filter.status = Some(value.parse().map_err(|NotAStatus| bad())?);
                }
                "model" => filter.model = Some(value.to_owned()),
                "path" => filter.path = parse_path(value),
                "key_hash" => {
                    let bad = || BadParam::new(name, "must have 8 or 16 hex digits");
                    filter.key = Some(parse_key(value).ok_or_else(bad)?);
                }
                "session_root_id" => filter.session_root = Some(value.to_owned()),
                "project" => filter.project = Some(value.to_owned()),
                "tag" => filter.tag = Some(value.to_owned()),
                "client_kind" => filter.client_kind = Some(value.to_owned()),
                "stream" => filter.stream = Some(parse_bool(name, value)?),
                "end" => filter.end = Some(parse_end(name, value)?),
                "has_media" => filter.has_media = Some(parse_bool(name, value)?),
                "min_ms" => filter.min_ms = Some(parse_count(name, value)?),
                "min_tokens" => filter.min_tokens = Some(parse_count(name, value)?),
                name if other.contains(&name) => {}
                unknown => return Err(BadParam::unknown(unknown)),
            }
        }
        Ok(filter)
    }
}

/// What `/api/traces` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {
    /// Which traces.
    pub filter: Filter,
    /// At most so many.
    pub limit: usize,
    /// Those behind this one.
    pub cursor: Option<Cursor>,
    /// Those in whose texts this stands.
    pub text: Option<TextQuery>,
}

impl ListParams {
    /// The parameters of a list beside those of [`Filter::PARAMS`].
    pub const PARAMS: &[Param] = &[
        Param::new("limit", || up_to(500), "At most so many; 100 if nothing is said."),
        Param::new("cursor", cursor, "Goes on behind an earlier page: its `next_cursor`."),
        Param::new(
            "q",
            searched,
            "What the texts of requests and answers must hold: words between spaces, or in double quotes as one. Each \
             has at least two characters. Only where `index.full_text` is set.",
        ),
    ];

    /// Reads query parameters: those of [`Filter::parse`], `limit` (1 to 500, default 100), `cursor`, and `q`.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<ListParams, BadParam> {
        let pairs = first_of_each(pairs);
        let own: Vec<&str> = ListParams::PARAMS.iter().map(|it| it.name).collect();
        let filter = Filter::parse(pairs.iter().copied(), &own)?;
        let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let limit = value("limit").map_or(Some(100), |text| text.parse().ok().filter(|it| (1..=500).contains(it)));
        let limit = limit.ok_or_else(|| BadParam::new("limit", "must be an integer from 1 to 500"))?;
        let cursor = value("cursor").map(str::parse).transpose();
        let cursor =
            cursor.map_err(|NotACursor| BadParam::new("cursor", "must be a next_cursor of an earlier page"))?;
        let text = value("q").map(|text| TextQuery::parse("q", text)).transpose()?;
        Ok(ListParams { filter, limit, cursor, text })
    }
}

/// A place in a list: the next page begins behind it. As text, unpadded URL-safe base64 of `<ts ms>:<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The start of the trace there.
    pub ts_start: UnixMillis,
    /// Its id.
    pub id: TraceId,
}

/// A text that is no [`Cursor`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor")]
pub struct NotACursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{}:{}", self.ts_start.0, self.id)))
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Cursor, NotACursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotACursor)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| NotACursor)?;
        let (ts_start, id) = text.split_once(':').ok_or(NotACursor)?;
        let ts_start = UnixMillis(ts_start.parse().map_err(|_| NotACursor)?);
        Ok(Cursor { ts_start, id: id.parse().map_err(|_| NotACursor)? })
    }
}

/// A text that is no [`StatusFilter`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a status")]
pub struct NotAStatus;

impl FromStr for StatusFilter {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<StatusFilter, NotAStatus> {
        match text.to_ascii_lowercase().as_str() {
            "2xx" => Ok(StatusFilter::Class(2)),
            "4xx" => Ok(StatusFilter::Class(4)),
            "5xx" => Ok(StatusFilter::Class(5)),
            number => number.parse().map(StatusFilter::Exactly).map_err(|_| NotAStatus),
        }
    }
}

/// The pairs with a value, the first of each name.
pub(super) fn first_of_each<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut seen: Vec<&str> = Vec::new();
    let mut kept = Vec::new();
    for (name, value) in pairs {
        if !seen.contains(&name) {
            seen.push(name);
            kept.push((name, value));
        }
    }
    kept.retain(|(_, value)| !value.is_empty());
    kept
}

pub(super) fn parse_time(name: &str, value: &str) -> Result<UnixMillis, BadParam> {
    value.parse().map_err(|_| BadParam::new(name, "must be an RFC 3339 time, such as 2026-05-27T10:23:45Z"))
}

fn parse_bool(name: &str, value: &str) -> Result<bool, BadParam> {
    value.parse().map_err(|_| BadParam::new(name, "must be true or false"))
}

fn parse_count(name: &str, value: &str) -> Result<i64, BadParam> {
    let count = value.parse().ok().filter(|it| *it >= 0);
    count.ok_or_else(|| BadParam::new(name, "must be an integer of at least 0"))
}

fn parse_end(name: &str, value: &str) -> Result<End, BadParam> {
    End::from_name(value).ok_or_else(|| {
        let names: Vec<&str> = End::ALL.into_iter().map(End::name).collect();
        BadParam::new(name, &format!("must be one of {}", names.join(", ")))
    })
}

/// `None` for a filter that lets everything through.
fn parse_path(value: &str) -> Option<PathFilter> {
    match value.strip_suffix('*') {
        Some("") => None,
        Some(prefix) => Some(PathFilter::Prefix(prefix.to_owned())),
        None => Some(PathFilter::exactly(value)),
    }
}

fn parse_key(value: &str) -> Option<KeyFilter> {
    let lower = value.to_ascii_lowercase();
    match value.chars().count() {
        16 => Some(lower.parse().map_or(KeyFilter::Nobody, KeyFilter::Whole)),
        8 => Some(lower.parse().map_or(KeyFilter::Nobody, KeyFilter::Short)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
