//! A change of retention's limits at run time: what a caller sends, and what is kept in the overrides.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use crate::store::retention::Settings;

/// The longest age, in days.
const MOST_DAYS: u64 = 36_500;
const DEFAULT_PERCENT: u64 = 80;

/// New values of some of the limits; what is left out, or `null`, stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, transform = limited)]
pub struct RetentionChange {
    /// The most bytes that are kept; 0 = no limit.
    pub max_bytes: Option<u64>,
    /// For so many days they are kept; 0 = no limit.
    pub max_age_days: Option<u64>,
    /// From so much of `max_bytes` on there is a warning; 0 = 80.
    pub warn_at_percent: Option<u64>,
    /// The most bytes of one key; 0 = no limit.
    pub per_key_max_bytes: Option<u64>,
    /// The most bytes of attachments; 0 = no limit.
    pub media_max_bytes: Option<u64>,
}

/// A change that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Something is not of its type, or unknown.
    #[error("{0}")]
    Form(String),
    /// A number is out of its range.
    #[error("{0}")]
    Range(String),
}

/// Each member's name and the most that it may be.
const MEMBERS: [(&str, u64); 5] = [
    ("max_bytes", i64::MAX as u64),
    ("max_age_days", MOST_DAYS),
    ("warn_at_percent", 100),
    ("per_key_max_bytes", i64::MAX as u64),
    ("media_max_bytes", i64::MAX as u64),
];

/// Says of each member how much it may be.
fn limited(schema: &mut Schema) {
    for (name, most) in MEMBERS {
        let member = schema.get_mut("properties").and_then(|it| it.get_mut(name));
        if let Some(member) = member.and_then(Value::as_object_mut) {
            member.remove("format");
            member.insert("maximum".to_owned(), most.into());
        }
    }
}

impl RetentionChange {
    /// From members of which all must be known.
    ///
    /// # Errors
    /// See [`BadChange`].
    pub fn of(members: &Map<String, Value>) -> Result<RetentionChange, BadChange> {
        match members.keys().find(|name| MEMBERS.iter().all(|(it, _)| it != name)) {
            Some(unknown) => Err(BadChange::Form(format!("unknown member {unknown}"))),
            None => RetentionChange::of_known(members),
        }
    }

    /// From those of the members that are known.
    ///
    /// # Errors
    /// See [`BadChange`].
    pub fn of_known(members: &Map<String, Value>) -> Result<RetentionChange, BadChange> {
        let mut change = RetentionChange::default();
        for ((name, most), value) in MEMBERS.into_iter().zip(change.values()) {
            *value = number(name, most, members.get(name))?;
        }
        Ok(change)
    }

    /// Takes members out that [`RetentionChange::of_known`] would complain of.
    pub(crate) fn drop_malformed(members: &mut Map<String, Value>) {
        for (name, most) in MEMBERS {
            if number(name, most, members.get(name)).is_err() {
                members.remove(name);
            }
        }
    }

    /// Writes what is changed over what stands there.
    pub(crate) fn write_to(mut self, members: &mut Map<String, Value>) {
        for ((name, _), value) in MEMBERS.into_iter().zip(self.values()) {
            if let Some(value) = value {
                members.insert(name.to_owned(), (*value).into());
            }
        }
    }

    /// The settings with this change.
    pub fn applied_to(&self, settings: Settings) -> Settings {
        let max_age = match self.max_age_days {
            // So that who sends back the days that were shown changes nothing.
            Some(days) if days != settings.max_age_days() => {
                (days > 0).then(|| Duration::from_secs(days.min(MOST_DAYS) * 86_400))
            }
            _ => settings.max_age,
        };
        let percent = self.warn_at_percent.map(|it| if it == 0 { DEFAULT_PERCENT } else { it });
        Settings {
            max_bytes: self.max_bytes.unwrap_or(settings.max_bytes),
            max_age,
            warn_at_percent: percent.unwrap_or(settings.warn_at_percent),
            per_key_max_bytes: self.per_key_max_bytes.unwrap_or(settings.per_key_max_bytes),
            media_max_bytes: self.media_max_bytes.unwrap_or(settings.media_max_bytes),
        }
    }

    /// In the order of [`MEMBERS`].
    fn values(&mut self) -> [&mut Option<u64>; MEMBERS.len()] {
        [
            &mut self.max_bytes,
            &mut self.max_age_days,
            &mut self.warn_at_percent,
            &mut self.per_key_max_bytes,
            &mut self.media_max_bytes,
        ]
    }
}

fn number(name: &str, most: u64, value: Option<&Value>) -> Result<Option<u64>, BadChange> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(BadChange::Form(format!("{name} must be a whole number"))),
    };
    match number.as_u64() {
        Some(number) if number <= most => Ok(Some(number)),
        None if !number.is_i64() => Err(BadChange::Form(format!("{name} must be a whole number"))),
        _ => Err(BadChange::Range(format!("{name} must be from 0 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<RetentionChange, BadChange> {
        RetentionChange::of(&serde_json::from_str(text).unwrap())
    }

    const SETTINGS: Settings = Settings {
        max_bytes: 5,
        max_age: Some(Duration::from_secs(36 * 3600)),
        warn_at_percent: 70,
        per_key_max_bytes: 6,
        media_max_bytes: 7,
    };

    #[test]
    fn what_is_not_named_is_kept() {
        assert_eq!(of("{}").unwrap().applied_to(SETTINGS), SETTINGS);
        let all =
            of(r#"{"max_bytes":1,"max_age_days":3,"warn_at_percent":0,"per_key_max_bytes":2,"media_max_bytes":0}"#);
        let expected = Settings {
            max_bytes: 1,
            max_age: Some(Duration::from_secs(3 * 86_400)),
            warn_at_percent: 80,
            per_key_max_bytes: 2,
            media_max_bytes: 0,
        };
        assert_eq!(all.unwrap().applied_to(SETTINGS), expected);
        assert_eq!(of(r#"{"max_age_days":0}"#).unwrap().applied_to(SETTINGS).max_age, None);
        assert_eq!(of(r#"{"max_age_days":2}"#).unwrap().applied_to(SETTINGS).max_age, SETTINGS.max_age);
    }

    #[test]
    fn form_and_range_are_told_apart() {
        for text in
            [r#"{"max_bytes":"1"}"#, r#"{"max_bytes":1.5}"#, r#"{"max_bytes":1e3}"#, r#"{"x":1}"#, r#"{"max_age":1}"#]
        {
            assert!(matches!(of(text), Err(BadChange::Form(_))), "{text}");
        }
        for text in [
            r#"{"max_bytes":-1}"#,
            r#"{"warn_at_percent":101}"#,
            r#"{"max_age_days":36501}"#,
            r#"{"media_max_bytes":18446744073709551615}"#,
        ] {
            assert!(matches!(of(text), Err(BadChange::Range(_))), "{text}");
        }
    }
}
