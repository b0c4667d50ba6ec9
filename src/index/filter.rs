//! What a list is asked for: typed, and read from query parameters once.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::{KeyHash, ShortKey, TraceId, UnixMillis};

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

impl Filter {
    /// Reads query parameters. An empty value is an absent parameter; of repeated ones the first counts.
    /// `other` names those that the route reads itself.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, other: &[&str]) -> Result<Filter, BadParam> {
        let mut filter = Filter::default();
        for (name, value) in first_of_each(pairs) {
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
}

impl ListParams {
    /// Reads query parameters: those of [`Filter::parse`], `limit` (1 to 500, default 100), and `cursor`.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<ListParams, BadParam> {
        let pairs = first_of_each(pairs);
        let filter = Filter::parse(pairs.iter().copied(), &["limit", "cursor"])?;
        let value = |wanted: &str| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        let limit = value("limit").map_or(Some(100), |text| text.parse().ok().filter(|it| (1..=500).contains(it)));
        let limit = limit.ok_or_else(|| BadParam::new("limit", "must be an integer from 1 to 500"))?;
        let cursor = value("cursor").map(str::parse).transpose();
        let cursor =
            cursor.map_err(|NotACursor| BadParam::new("cursor", "must be a next_cursor of an earlier page"))?;
        Ok(ListParams { filter, limit, cursor })
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
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<ListParams, String> {
        ListParams::parse(pairs.iter().copied()).map_err(|error| error.param)
    }

    #[test]
    fn nothing_asked_is_everything_a_hundred_at_a_time() {
        let params = parse(&[("model", ""), ("cursor", ""), ("whatever", "")]);
        assert_eq!(params.unwrap(), ListParams { filter: Filter::default(), limit: 100, cursor: None });
        assert_eq!(parse(&[("path", "*")]).unwrap().filter, Filter::default());
    }

    #[test]
    fn every_filter_is_read_and_the_first_of_repeated_ones_counts() {
        let id = "01J00000000000000000000000".parse().unwrap();
        let cursor = Cursor { ts_start: UnixMillis(-5), id };
        let params = parse(&[
            ("since", "2026-05-27T10:00:00+02:00"),
            ("until", "2026-05-27T10:00:00Z"),
            ("status", "4XX"),
            ("status", "nonsense that is not looked at"),
            ("model", "m"),
            ("path", "/v1/*"),
            ("key_hash", "ABCDEF01"),
            ("session_root_id", "anything"),
            ("project", "p"),
            ("tag", "t"),
            ("limit", "500"),
            ("cursor", &cursor.to_string()),
        ])
        .unwrap();
        let filter = Filter {
            since: Some(UnixMillis(1_779_868_800_000)),
            until: Some(UnixMillis(1_779_876_000_000)),
            status: Some(StatusFilter::Class(4)),
            model: Some("m".into()),
            path: Some(PathFilter::Prefix("/v1/".into())),
            key: Some(KeyFilter::Short(ShortKey([0xab, 0xcd, 0xef, 0x01]))),
            session_root: Some("anything".into()),
            project: Some("p".into()),
            tag: Some("t".into()),
        };
        assert_eq!(params, ListParams { filter, limit: 500, cursor: Some(cursor) });
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, value) in [
            ("since", "yesterday"),
            ("until", "2026-05-27"),
            ("status", "3xx"),
            ("status", "2x"),
            ("key_hash", "abc"),
            ("limit", "0"),
            ("limit", "501"),
            ("limit", "ten"),
            ("cursor", "!!"),
            ("cursor", "MTI6eHg"),
            ("nonsense", "1"),
        ] {
            assert_eq!(parse(&[(name, value)]), Err(name.to_owned()), "{value}");
        }
    }

    #[test]
    fn a_key_hash_of_the_right_length_is_never_a_wildcard() {
        let key = |value| parse(&[("key_hash", value)]).unwrap().filter.key.unwrap();
        assert_eq!(key("%%%%%%%%"), KeyFilter::Nobody);
        assert_eq!(key("________________"), KeyFilter::Nobody);
        assert_eq!(key("00000000000000ff"), KeyFilter::Whole(KeyHash([0, 0, 0, 0, 0, 0, 0, 255])));
    }

    #[test]
    fn a_key_may_be_given_by_any_beginning() {
        let between = |first: &str, last: &str| KeyFilter::Between(first.parse().unwrap(), last.parse().unwrap());
        assert_eq!(KeyFilter::beginning_with(""), None);
        assert_eq!(KeyFilter::beginning_with("A"), Some(between("a000000000000000", "afffffffffffffff")));
        assert_eq!(
            KeyFilter::beginning_with("a1b2c3d4e5f60718"),
            Some(between("a1b2c3d4e5f60718", "a1b2c3d4e5f60718"))
        );
        for nobody in ["a1b2c3d4e5f607181", "%", "g", "é"] {
            assert_eq!(KeyFilter::beginning_with(nobody), Some(KeyFilter::Nobody), "{nobody}");
        }
    }

    #[test]
    fn a_path_with_a_query_means_just_that() {
        let path = |value| parse(&[("path", value)]).unwrap().filter.path.unwrap();
        assert_eq!(path("/a"), PathFilter::AnyQuery("/a".into()));
        assert_eq!(path("/a?b=1?"), PathFilter::Target { path: "/a".into(), query: "b=1?".into() });
        assert_eq!(path("/a?b*"), PathFilter::Prefix("/a?b".into()));
    }

    #[test]
    fn other_names_are_the_routes_own() {
        assert!(Filter::parse([("all", "1"), ("model", "m")], &["all"]).is_ok());
        assert!(Filter::parse([("all", "1")], &[]).is_err());
    }
}
