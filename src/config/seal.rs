//! How finished files are sealed, as a value of the configuration.

use std::fmt;

use serde_json::{Value as Schema, json};

use super::kinds::Scalar;
use super::table::Rules;
use crate::jsonl::sealed::Codec;

/// What becomes of finished segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// They are sealed with zstd.
    Zstd,
    /// They are sealed with gzip.
    Gzip,
    /// They stay as they are.
    Off,
}

impl Seal {
    const ALL: [Seal; 3] = [Seal::Zstd, Seal::Gzip, Seal::Off];

    /// How to seal; `None` for not at all.
    pub fn codec(self) -> Option<Codec> {
        match self {
            Seal::Zstd => Some(Codec::Zstd),
            Seal::Gzip => Some(Codec::Gzip),
            Seal::Off => None,
        }
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Seal::Zstd => "zstd",
            Seal::Gzip => "gzip",
            Seal::Off => "off",
        })
    }
}

impl Scalar for Seal {
    type Value = Seal;
    const NAME: &'static str = "a way to seal files";

    fn parse(text: &str) -> Result<Seal, String> {
        let wanted = text.trim().to_ascii_lowercase();
        Seal::ALL.into_iter().find(|it| it.to_string() == wanted).ok_or_else(String::new)
    }

    fn choices(_: Rules) -> String {
        "zstd, gzip, off".to_owned()
    }

    fn text(value: &Seal) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"enum": Seal::ALL.map(|it| it.to_string())})
    }
}
