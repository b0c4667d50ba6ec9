//! The kinds of values that keys take, and those of them that are numbers, switches and addresses.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value as Schema, json};

use super::address::{ListenAddress, Upstream};
use super::quantities::{parse_duration, parse_integer, parse_size, show_duration, show_size};
use super::schema;
use super::sources::{Flaw, Raw, quoted};
use super::table::Rules;

/// How the values of a key are read, checked and shown.
pub(super) trait Kind {
    /// What comes of it.
    type Value;
    /// What a value is, for people: "a size".
    const NAME: &'static str;
    /// Whether the value is a list.
    const IS_LIST: bool = false;
    /// Whether its items have members of their own; in a variable they are one JSON list.
    const HAS_ITEMS: bool = false;

    /// The value, or everything that is wrong with it.
    fn read(raw: &Raw, rules: Rules) -> Result<Self::Value, Vec<Flaw>>;
    /// What a value may be.
    fn allowed(rules: Rules) -> String;
    /// The value as a text that is read as the same value, unless it is a secret.
    fn show(value: &Self::Value) -> String;
    /// What JSON Schema can say of a value in the file.
    fn schema(_: Rules) -> Schema {
        json!({"type": "array", "items": schema::text()})
    }
}

/// A kind whose value is one text.
pub(super) trait Scalar {
    type Value;
    const NAME: &'static str;
    /// Whether the value may stand in quotes, which make it text in YAML.
    const IS_TEXT: bool = true;

    /// The value, or why it is none (empty if the text speaks for itself).
    fn parse(text: &str) -> Result<Self::Value, String>;
    /// The number that the range is about.
    fn measure(_: &Self::Value) -> Option<i64> {
        None
    }
    fn choices(rules: Rules) -> String;
    fn text(value: &Self::Value) -> String;
    /// What JSON Schema can say of a value in the file.
    fn schema(_: Rules) -> Schema {
        schema::text()
    }
}

impl<S: Scalar> Kind for S {
    type Value = S::Value;
    const NAME: &'static str = S::NAME;

    fn read(raw: &Raw, rules: Rules) -> Result<S::Value, Vec<Flaw>> {
        let flaw = |what: String| vec![Flaw { at: None, text: format!("{what}; allowed: {}", S::choices(rules)) }];
        let (text, in_quotes) = match raw {
            Raw::One { text, quoted } => (text, *quoted),
            Raw::Many(_) | Raw::Items(_) => return Err(flaw(format!("a list is not {}", S::NAME))),
        };
        if in_quotes && !S::IS_TEXT {
            return Err(flaw(format!("the quoted text {} is not {}", quoted(text), S::NAME)));
        }
        let text_shown = if rules.secret { "the value (hidden)".to_owned() } else { quoted(text) };
        let value = S::parse(text).map_err(|why| {
            let colon = if why.is_empty() { "" } else { ": " };
            flaw(format!("{text_shown} is not {}{colon}{why}", S::NAME))
        })?;
        match S::measure(&value) {
            Some(number) if !rules.holds(number) => Err(flaw(format!("{text_shown} is out of range"))),
            _ => Ok(value),
        }
    }

    fn allowed(rules: Rules) -> String {
        S::choices(rules)
    }

    fn show(value: &S::Value) -> String {
        S::text(value)
    }

    fn schema(rules: Rules) -> Schema {
        S::schema(rules)
    }
}

/// A whole number in a `T`.
pub(super) struct Count<T>(PhantomData<T>);

impl<T: TryFrom<i64> + TryInto<i64> + Copy> Scalar for Count<T> {
    type Value = T;
    const NAME: &'static str = "a whole number";
    const IS_TEXT: bool = false;

    fn parse(text: &str) -> Result<T, String> {
        parse_integer(text).and_then(|it| T::try_from(it).ok()).ok_or_else(String::new)
    }

    fn measure(&value: &T) -> Option<i64> {
        value.try_into().ok()
    }

    fn choices(rules: Rules) -> String {
        within(rules, "a whole number", |it| it.to_string())
    }

    fn text(&value: &T) -> String {
        value.try_into().map_or_else(|_| i64::MAX.to_string(), |it| it.to_string())
    }

    fn schema(rules: Rules) -> Schema {
        schema::whole_number(rules.range)
    }
}

/// A number of bytes in a `T`.
pub(super) struct Size<T>(PhantomData<T>);

impl<T: TryFrom<i64> + TryInto<i64> + Copy> Scalar for Size<T> {
    type Value = T;
    const NAME: &'static str = "a size";

    fn parse(text: &str) -> Result<T, String> {
        parse_size(text).and_then(|it| T::try_from(it).ok()).ok_or_else(String::new)
    }

    fn measure(&value: &T) -> Option<i64> {
        value.try_into().ok()
    }

    fn choices(rules: Rules) -> String {
        within(rules, "bytes, or a size like 500MB or 5GiB,", show_size)
    }

    fn text(&value: &T) -> String {
        value.try_into().map_or_else(|_| i64::MAX.to_string(), show_size)
    }

    fn schema(rules: Rules) -> Schema {
        schema::size(rules.range)
    }
}

/// A duration.
pub(super) struct Span;

impl Scalar for Span {
    type Value = Duration;
    const NAME: &'static str = "a duration";

    fn parse(text: &str) -> Result<Duration, String> {
        parse_duration(text).ok_or_else(String::new)
    }

    fn measure(value: &Duration) -> Option<i64> {
        Some(i64::try_from(value.as_millis()).unwrap_or(i64::MAX))
    }

    fn choices(rules: Rules) -> String {
        within(rules, "seconds, or a duration like 10m or 1h 30m,", show_millis)
    }

    fn text(value: &Duration) -> String {
        show_duration(*value)
    }

    fn schema(rules: Rules) -> Schema {
        schema::duration(rules.range)
    }
}

/// A duration that can be switched off.
pub(super) struct OptionalSpan;

impl Scalar for OptionalSpan {
    type Value = Option<Duration>;
    const NAME: &'static str = "a duration";

    fn parse(text: &str) -> Result<Option<Duration>, String> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        Span::parse(text).map(|it| (!it.is_zero()).then_some(it))
    }

    fn measure(value: &Option<Duration>) -> Option<i64> {
        value.as_ref().and_then(Span::measure)
    }

    fn choices(rules: Rules) -> String {
        within(rules, "off (or 0), seconds, or a duration like 10m or 1h 30m,", show_millis)
    }

    fn text(value: &Option<Duration>) -> String {
        value.as_ref().map_or_else(|| "off".to_owned(), Span::text)
    }

    fn schema(rules: Rules) -> Schema {
        schema::either([json!({"enum": ["off", 0]}), schema::duration(rules.range)])
    }
}

fn show_millis(millis: i64) -> String {
    show_duration(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

fn within(rules: Rules, what: &str, show: impl Fn(i64) -> String) -> String {
    let what_alone = what.trim_end_matches(',');
    match rules.range {
        (i64::MIN, i64::MAX) => what_alone.to_owned(),
        (least, i64::MAX) => format!("{what} of at least {}", show(least)),
        (i64::MIN, most) => format!("{what} of at most {}", show(most)),
        (least, most) => format!("{what} from {} to {}", show(least), show(most)),
    }
}

/// Yes or no.
pub(super) struct Switch;

impl Scalar for Switch {
    type Value = bool;
    const NAME: &'static str = "true or false";
    const IS_TEXT: bool = false;

    fn parse(text: &str) -> Result<bool, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "yes" | "on" => Ok(true),
            "0" | "f" | "false" | "no" | "off" => Ok(false),
            _ => Err(String::new()),
        }
    }

    fn choices(_: Rules) -> String {
        "true, false".to_owned()
    }

    fn text(value: &bool) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"enum": [true, false, "yes", "no", "on", "off", "t", "f", 1, 0]})
    }
}

/// How much the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Debug,
    /// Changes of state and worse.
    Info,
    /// Losses and worse.
    Warn,
    /// Only what wants a human.
    Error,
}

impl Level {
    const ALL: [Level; 4] = [Level::Debug, Level::Info, Level::Warn, Level::Error];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        })
    }
}

impl Scalar for Level {
    type Value = Level;
    const NAME: &'static str = "a log level";

    fn parse(text: &str) -> Result<Level, String> {
        let wanted = text.trim().to_ascii_lowercase();
        Level::ALL.into_iter().find(|it| it.to_string() == wanted).ok_or_else(String::new)
    }

    fn choices(_: Rules) -> String {
        "debug, info, warn, error".to_owned()
    }

    fn text(value: &Level) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"enum": Level::ALL.map(|it| it.to_string())})
    }
}

impl Scalar for ListenAddress {
    type Value = ListenAddress;
    const NAME: &'static str = "a listen address";

    fn parse(text: &str) -> Result<ListenAddress, String> {
        ListenAddress::from_str(text).map_err(|why| why.to_string())
    }

    fn choices(_: Rules) -> String {
        ":PORT, HOST:PORT, [IPV6]:PORT".to_owned()
    }

    fn text(value: &ListenAddress) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"type": "string", "pattern": "^[^ ]*:[0-9]{1,5}$"})
    }
}

impl Scalar for Upstream {
    type Value = Upstream;
    const NAME: &'static str = "the URL of a gateway";

    fn parse(text: &str) -> Result<Upstream, String> {
        Upstream::from_str(text).map_err(|why| why.to_string())
    }

    fn choices(_: Rules) -> String {
        "http:// or https://, HOST, perhaps :PORT and /PREFIX".to_owned()
    }

    fn text(value: &Upstream) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#@ ][^?#@ ]*$"})
    }
}
