//! `sample`: of some traffic only a share is recorded, decided by a hash, so that the same is decided again.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::Flaw;
use super::super::members::Members;
use super::super::routes::Routes;
use super::{Field, FieldType};
use crate::ids::{KeyHash, TraceId};

/// What an instance keeps of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// On which paths.
    pub routes: Routes,
    /// Of which keys: the beginnings of their hashes; empty: all.
    pub keys: Vec<String>,
    /// The share that is recorded.
    pub rate: f64,
    /// What is kept or left out as one.
    pub by: By,
}

/// What is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Each trace by itself.
    #[default]
    Trace,
    /// All traffic of a key is recorded, or none.
    Key,
    /// All traffic of a path, without its query, is recorded, or none.
    Path,
}

const BY: &[(&str, By)] = &[("trace", By::Trace), ("key", By::Key), ("path", By::Path)];

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "rate",
        label: "Share",
        kind: FieldType::Number,
        description: "from 0 to 1: which share of the traffic is recorded; the rest is counted as filtered",
        required: true,
        ..Field::NONE
    },
    Field {
        name: "by",
        label: "By",
        kind: FieldType::Enum,
        default: "\"trace\"",
        choices: &["trace", "key", "path"],
        description: "what is kept or left out as one: a trace, all of a key, all of a path",
        ..Field::NONE
    },
    Field::routes(),
    Field {
        name: "keys",
        label: "Keys",
        kind: FieldType::StringArray,
        default: "[]",
        description: "only traffic of these keys: the first hex digits of their hashes; empty: of all",
        ..Field::NONE
    },
];

impl Sample {
    pub(super) fn read(config: &Members<'_>) -> Result<Sample, Flaw> {
        config.only(&["rate", "by", "routes", "keys"])?;
        let rate = config.share("rate")?.ok_or_else(|| config.flaw("rate", "is missing"))?;
        let mut keys = Vec::new();
        for (at, text) in config.texts("keys")?.into_iter().enumerate() {
            let is_hash = (4..=16).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit());
            if !is_hash {
                return Err(config.flaw(&format!("keys[{at}]"), "must be the first 4 to 16 hex digits of a key's hash"));
            }
            keys.push(text.to_ascii_lowercase());
        }
        let by = config.choice("by", BY)?.unwrap_or_default();
        Ok(Sample { routes: Routes::read(config)?, keys, rate, by })
    }

    /// Whether this is about such an exchange at all.
    pub fn is_about(&self, target: &str, key: KeyHash) -> bool {
        self.routes.matches(target)
            && (self.keys.is_empty() || {
                let key = key.to_string();
                self.keys.iter().any(|it| key.starts_with(it.as_str()))
            })
    }

    /// Whether a trace belongs to the share; only asked of those that this is about.
    pub fn keeps(&self, id: TraceId, target: &str, key: KeyHash) -> bool {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let hash = match self.by {
            By::Trace => xxh3_64_with_seed(&id.to_bytes(), SEED),
            By::Key => xxh3_64_with_seed(key.to_string().as_bytes(), SEED),
            By::Path => xxh3_64_with_seed(path.as_bytes(), SEED),
        };
        // 53 bits are what a double holds: 0 keeps nothing, 1 everything.
        ((hash >> 11) as f64) < self.rate * (1_u64 << 53) as f64
    }
}

/// Another seed would decide otherwise: who raises a rate must keep all that was kept before.
const SEED: u64 = 0x6170_696c_6f67;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{TraceIds, UnixMillis};

    fn sample(config: serde_json::Value) -> Result<Sample, String> {
        Sample::read(&Members::of(config.as_object().unwrap(), "config")).map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn about_the_rate_is_kept_and_more_of_it_keeps_what_less_kept() {
        let ids = TraceIds::new(7);
        let ids: Vec<TraceId> = (0..4000).map(|at| ids.next(UnixMillis(at))).collect();
        let kept = |rate: f64| -> Vec<TraceId> {
            let sample = sample(json!({"rate": rate})).unwrap();
            ids.iter().copied().filter(|id| sample.keeps(*id, "/", KeyHash::NONE)).collect()
        };
        assert_eq!((kept(0.0).len(), kept(1.0).len()), (0, 4000));
        let (fewer, more) = (kept(0.25), kept(0.5));
        assert!(
            (800..1200).contains(&fewer.len()) && (1800..2200).contains(&more.len()),
            "{} {}",
            fewer.len(),
            more.len()
        );
        assert!(fewer.iter().all(|id| more.contains(id)));
    }

    #[test]
    fn a_path_is_kept_or_left_out_whole() {
        let sample = sample(json!({"rate": 0.5, "by": "path"})).unwrap();
        let ids = TraceIds::new(7);
        let keeps = |path: &str| sample.keeps(ids.next(UnixMillis(1)), path, KeyHash::NONE);
        for path in ["/a", "/b", "/c", "/d"] {
            let first = keeps(path);
            assert!((0..20).all(|_| keeps(path) == first) && keeps(&format!("{path}?x=1")) == first);
        }
    }

    #[test]
    fn what_it_is_not_about_is_told() {
        let some = sample(json!({"rate": 0, "keys": ["ABCD"], "routes": ["/v1/*"]})).unwrap();
        let key = |hex: &str| hex.parse::<KeyHash>().unwrap();
        assert!(some.is_about("/v1/x", key("abcd000000000000")));
        assert!(!some.is_about("/v1/x", key("abce000000000000")));
        assert!(!some.is_about("/v2/x", key("abcd000000000000")));
        for (config, expected) in [
            (json!({}), "config.rate: is missing"),
            (json!({"rate": 1.1}), "config.rate: must be from 0 to 1"),
            (json!({"rate": "1"}), "config.rate: must be a number"),
            (json!({"rate": 1, "by": "user"}), "config.by: must be one of trace, key, path"),
            (
                json!({"rate": 1, "keys": ["xyz"]}),
                "config.keys[0]: must be the first 4 to 16 hex digits of a key's hash",
            ),
            (json!({"rate": 1, "share": 1}), "config.share: unknown; known are rate, by, routes, keys"),
        ] {
            assert_eq!(sample(config).unwrap_err(), expected);
        }
    }
}
