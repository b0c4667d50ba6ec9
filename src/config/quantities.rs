//! Sizes and durations as people write them.

use std::time::Duration;

/// Bytes: an integer, or a number with a unit (`5GiB`, `500MB`, `1.5 MiB`). `None` if it is neither, or too large.
pub(super) fn parse_size(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let unit_at = text.find(|it: char| it.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: i128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.contains('.') && (fraction.is_empty() || factor == 1) {
        return None;
    }
    let whole = i128::from(parse_digits(whole)?);
    let fraction = match fraction {
        "" => 0,
        // Nine digits are a billionth: finer than a byte in every unit that people write fractions of.
        _ if fraction.len() > 9 => return None,
        _ => i128::from(parse_digits(fraction)?) * factor / 10_i128.pow(fraction.len() as u32),
    };
    i64::try_from(sign * (whole * factor + fraction)).ok()
}

/// An integer with a sign and `_` between its digits. `None` if it is none, or too large.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix('-') {
        Some(digits) => parse_digits(digits).map(|it| -it),
        None => parse_digits(text.strip_prefix('+').unwrap_or(text)),
    }
}

fn parse_digits(text: &str) -> Option<i64> {
    let separated = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    let only_digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit() || it == b'_');
    if separated || !only_digits {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// The shortest exact form: `5GiB`, `1500`.
pub(super) fn show_size(bytes: i64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let factor = 1_i64 << shift;
        if bytes != 0 && bytes % factor == 0 {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// An integer of seconds, or a duration with units (`10m`, `1h 30m`). Negative seconds are 0: "off" in older files.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    match parse_integer(text) {
        Some(seconds) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        None => humantime::parse_duration(text).ok(),
    }
}

/// Days, hours and so on, each a whole number, in the form that [`parse_duration`] reads. Months and years are not used:
/// they have no fixed length.
pub(super) fn show_duration(duration: Duration) -> String {
    let (mut seconds, mut nanos) = (duration.as_secs(), u64::from(duration.subsec_nanos()));
    let mut parts = Vec::new();
    for (length, unit) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        parts.push((seconds / length, unit));
        seconds %= length;
    }
    for (length, unit) in [(1_000_000, "ms"), (1000, "us"), (1, "ns")] {
        parts.push((nanos / length, unit));
        nanos %= length;
    }
    let shown: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("33554432", 33_554_432),
            ("1_000", 1000),
            ("5GiB", 5 << 30),
            ("5 gib", 5 << 30),
            ("500MB", 500_000_000),
            ("1.5KiB", 1536),
            ("7b", 7),
            ("-1", -1),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "-",
            "GiB",
            "5G",
            "5k",
            "1.5",
            "1.GiB",
            ".5MiB",
            "1..5MiB",
            "0x10",
            "1__0",
            "_1",
            "5 G iB",
            "9000000TiB",
            "99999999999999999999",
            "1e3",
            "5é",
            "1.0000000001GiB",
            "--1",
            "+-1",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("120", 120_000),
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("0", 0),
            ("-1", 0),
            (" 4s ", 4000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "abc", "-5m", "10 fortnights", "99999999999999999999y", "ten"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_as_people_write_them() {
        for (millis, text) in [(0, "0s"), (120_000, "2m"), (5_400_000, "1h 30m"), (1500, "1s 500ms")] {
            assert_eq!(show_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(show_duration(Duration::from_secs(365 * 86_400)), "365d");
        for (bytes, text) in [(0, "0"), (5 << 30, "5GiB"), (1500, "1500"), (-1, "-1")] {
            assert_eq!(show_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_back(bytes: i64) {
            // The most negative number has no positive twin and is refused.
            prop_assume!(bytes != i64::MIN);
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }

        #[test]
        fn a_shown_duration_reads_back(seconds in 0_u64..1 << 40, nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}|[0-9._ +-]{0,25}[a-zA-Z]{0,4}") {
            let _ = (parse_size(&text), parse_integer(&text), parse_duration(&text));
        }
    }
}
