//! The archive's `README.md`: what was asked for, what is here, and what had to be skipped.

use std::fmt::Write;

use super::{Report, Request};
use crate::ids::{KeyHash, UnixMillis};
use crate::index::filter::{Filter, KeyFilter, PathFilter, StatusFilter};

/// The same layout for every archive, and a first look at it.
const LAYOUT: &str = include_str!("templates/layout.md");

/// What it says of lines in which nothing is hidden.
const VERBATIM: &str = "The lines are exactly as they were recorded. They hold credentials in clear.";

/// The whole text.
pub(super) fn text(request: &Request, report: &Report, made: UnixMillis) -> String {
    let mut text = format!("# api-log package\n\n- made: {made}, by api-log {}\n", env!("CARGO_PKG_VERSION"));
    put(&mut text, format_args!("- traces: {}", report.traces));
    if report.attachments > 0 {
        put(&mut text, format_args!("- attachments: {}", report.attachments));
    }
    match report.range {
        Some((first, last)) => put(&mut text, format_args!("- time range: {first} to {last}")),
        None => put(&mut text, "- time range: none, nothing matched"),
    }
    if report.is_limited {
        put(&mut text, "- more traces matched: the limit let only the newest through");
    }
    if report.behind > 0 {
        put(
            &mut text,
            format_args!("- not here: lines of {} files that were not indexed when this was made", report.behind),
        );
    }
    if let Some(hidden) = &request.hidden {
        let told = "- hidden by the profile `{}`: what it names is replaced by `[redacted:…]`, equal values alike; attachments are left out";
        put(&mut text, told.replace("{}", &hidden.profile));
    }
    text.push_str("\nfilters:\n\n");
    let filters = filters(request);
    if filters.is_empty() {
        put(&mut text, "- none");
    }
    filters.iter().for_each(|filter| put(&mut text, format_args!("- {filter}")));
    text.push_str("\nskipped:\n\n");
    let skipped = &report.skipped;
    if skipped.is_empty() {
        put(&mut text, "- nothing");
    } else {
        skipped.told.iter().for_each(|what| put(&mut text, format_args!("- {what}")));
        if skipped.untold > 0 {
            put(&mut text, format_args!("- and {} more", skipped.untold));
        }
        let (traces, attachments) = (skipped.traces, skipped.attachments);
        put(
            &mut text,
            format_args!("\nIn all {traces} traces and {attachments} attachments that matched are not here."),
        );
    }
    text.push('\n');
    match &request.hidden {
        None => text.push_str(LAYOUT),
        Some(_) => {
            text.push_str(&LAYOUT.replace(VERBATIM, "The lines are as they were recorded, but for what is hidden."))
        }
    }
    text
}

fn put(text: &mut String, line: impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// What was asked for, in the words of the read API.
fn filters(request: &Request) -> Vec<String> {
    // Named one by one, so that nothing new in a filter goes untold.
    let Filter {
        since,
        until,
        status,
        model,
        path,
        key,
        session_root,
        project,
        tag,
        client_kind,
        stream,
        end,
        has_media,
        min_ms,
        min_tokens,
    } = &request.filter;
    let mut told = Vec::new();
    told.extend(since.map(|it| format!("`since`: {it}")));
    told.extend(until.map(|it| format!("`until`: {it}")));
    told.extend(status.map(|it| match it {
        StatusFilter::Exactly(status) => format!("`status`: {status}"),
        StatusFilter::Class(class) => format!("`status_bucket`: {class}xx"),
    }));
    told.extend(model.as_ref().map(|it| format!("`model`: {it}")));
    told.extend(path.as_ref().map(|it| match it {
        PathFilter::AnyQuery(path) => format!("`path`: {path}"),
        PathFilter::Target { path, query } => format!("`path`: {path}?{query}"),
        PathFilter::Prefix(prefix) => format!("`path_prefix`: {prefix}*"),
    }));
    told.extend(key.map(|it| match it {
        KeyFilter::Whole(hash) => format!("`key_hash`: {hash}"),
        KeyFilter::Short(short) => format!("`key_hash`: {short}*"),
        KeyFilter::Between(first, last) => format!("`key_hash`: {}", range(first, last)),
        KeyFilter::Nobody => "`key_hash`: no key's".to_owned(),
    }));
    told.extend(session_root.as_ref().map(|it| format!("`session_root_id`: {it}")));
    told.extend(project.as_ref().map(|it| format!("`project`: {it}")));
    told.extend(tag.as_ref().map(|it| format!("`tag`: {it}")));
    told.extend(client_kind.as_ref().map(|it| format!("`client_kind`: {it}")));
    told.extend(stream.map(|it| format!("`stream`: {it}")));
    told.extend(end.map(|it| format!("`end`: {}", it.name())));
    told.extend(has_media.map(|it| format!("`has_media`: {it}")));
    told.extend(min_ms.map(|it| format!("`min_ms`: {it}")));
    told.extend(min_tokens.map(|it| format!("`min_tokens`: {it}")));
    told.extend(request.limit.map(|it| format!("`limit`: the newest {it}")));
    told
}

/// `a1b*`, or where the two have no beginning that says it all, both.
fn range(first: KeyHash, last: KeyHash) -> String {
    let (first, last) = (first.to_string(), last.to_string());
    let shared = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let (stem, rest) = first.split_at(shared);
    let is_beginning = rest.bytes().all(|digit| digit == b'0') && last[shared..].bytes().all(|digit| digit == b'f');
    if is_beginning { format!("{stem}*") } else { format!("{first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::End;
    use crate::export::profile::Hidden;
    use crate::redact::Redaction;

    #[test]
    fn every_filter_is_told() {
        let filter = Filter {
            since: Some(UnixMillis(0)),
            until: Some(UnixMillis(1)),
            status: Some(StatusFilter::Class(4)),
            model: Some("m".into()),
            path: Some(PathFilter::Prefix("/v1/".into())),
            key: KeyFilter::beginning_with("a"),
            session_root: Some("s".into()),
            project: Some("p".into()),
            tag: Some("t".into()),
            client_kind: Some("c".into()),
            stream: Some(true),
            end: Some(End::Rejected),
            has_media: Some(false),
            min_ms: Some(5),
            min_tokens: Some(6),
        };
        let request = Request { filter, limit: Some(7), leases: None, hidden: None };
        assert_eq!(
            filters(&request),
            [
                "`since`: 1970-01-01T00:00:00.000Z",
                "`until`: 1970-01-01T00:00:00.001Z",
                "`status_bucket`: 4xx",
                "`model`: m",
                "`path_prefix`: /v1/*",
                "`key_hash`: a*",
                "`session_root_id`: s",
                "`project`: p",
                "`tag`: t",
                "`client_kind`: c",
                "`stream`: true",
                "`end`: rejected",
                "`has_media`: false",
                "`min_ms`: 5",
                "`min_tokens`: 6",
                "`limit`: the newest 7",
            ]
        );
    }

    #[test]
    fn what_is_hidden_is_said_and_nothing_is_said_to_be_in_clear() {
        let hidden = Hidden { profile: "support".into(), redaction: Redaction::default(), secret: String::new() };
        let request = Request { hidden: Some(hidden), ..Request::default() };
        let told = text(&request, &Report::default(), UnixMillis(0));
        assert!(told.contains("profile `support`") && !told.contains("in clear"), "{told}");
        assert!(text(&Request::default(), &Report::default(), UnixMillis(0)).contains(VERBATIM));
    }

    #[test]
    fn nothing_and_everything_missing_is_said() {
        let request = Request::default();
        let empty = text(&request, &Report::default(), UnixMillis(0));
        assert!(empty.contains("nothing matched") && empty.contains("filters:\n\n- none\n"), "{empty}");
        assert!(empty.contains("skipped:\n\n- nothing\n"), "{empty}");
        let mut report = Report { traces: 3, is_limited: true, behind: 2, ..Report::default() };
        (0..1500).for_each(|n| report.skipped.tell(format!("thing {n}")));
        let told = text(&request, &report, UnixMillis(0));
        assert!(told.contains("- thing 999\n- and 500 more\n") && !told.contains("thing 1000"));
        assert!(told.contains("only the newest") && told.contains("lines of 2 files"));
    }
}
