//! The one line that a trace has, as tcpdump gives a packet one.

use api_log::index::query::TraceRow;
use api_log::transcript::Ink;
use api_log::transcript::layout::harmless;

use super::paint::Out;

/// `05-27 10:23:45.007 192.0.2.1:5000 343cff7c gpt-5 200 993ms first 150ms in 14 cached 1200 out 7 215B/879B complete
/// 01J…`, with its line break.
pub(super) fn line(row: &TraceRow, out: Out) -> String {
    let at = row.ts_start.to_string();
    // `2026-05-27T10:23:45.007Z` without year and zone.
    let at = at.get(5..23).unwrap_or(&at).replace('T', " ");
    let status = if row.status < 0 { "---".to_owned() } else { row.status.to_string() };
    let is_good = (200..400).contains(&row.status) && !row.disconnected;
    let ink = if is_good { Ink::Good } else { Ink::Bad };
    let count = |tokens: Option<i64>| tokens.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let first = row.first_event_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms}ms"));
    let model = harmless(row.model.as_deref().unwrap_or(&row.path));
    let key = row.key_hash.get(..8).unwrap_or(&row.key_hash);
    let tokens = format!(
        "in {} cached {} out {}",
        count(row.prompt_tokens),
        count(row.cached_tokens),
        count(row.completion_tokens)
    );
    let size = format!("{}/{}", bytes(row.req_bytes), bytes(row.resp_bytes));
    let error = row.error_type.as_ref().map_or_else(String::new, |error| format!(" {}", harmless(error)));
    let end = if row.end == "complete" { out.paint(Ink::Dim, &row.end) } else { out.paint(Ink::Bad, &row.end) };
    format!(
        "{} {:<21} {} {} {} {:>8} {:<14} {:<32} {size:>15} {end}{} {}\n",
        out.paint(Ink::Dim, &at),
        harmless(&row.client),
        out.paint(Ink::Dim, key),
        out.paint(Ink::Heading, &format!("{model:<24}")),
        out.paint(ink, &status),
        format!("{}ms", row.duration_ms),
        format!("first {first}"),
        tokens,
        out.paint(Ink::Bad, &error),
        out.paint(Ink::Dim, &row.id),
    )
}

/// `215B`, `12.3K`, `4.0M`.
pub(super) fn bytes(count: Option<u64>) -> String {
    match count {
        None => "-".to_owned(),
        Some(count @ 0..10_000) => format!("{count}B"),
        Some(count @ 10_000..10_000_000) => format!("{}.{}K", count / 1000, count % 1000 / 100),
        Some(count) => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let told: Vec<String> = [None, Some(0), Some(9_999), Some(10_000), Some(12_345_678)].map(bytes).into();
        assert_eq!(told, ["-", "0B", "9999B", "10.0K", "12.3M"]);
    }
}
