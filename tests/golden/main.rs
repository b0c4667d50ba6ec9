//! The line and the row of every protocol, streamed or not, in every ending and coding, pinned.
//!
//! Each folder of `tests/fixtures/wire/<protocol>/` is a case (`fixture.rs` says what it holds), and has its
//! snapshot in `tests/golden/snapshots/`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

mod fixture;
mod shown;
mod spans;
mod transcripts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use api_log::exchange::Exchange;
use api_log::jsonl::line::read_row;
use api_log::trace::{FinalizeSettings, Finished, finalize};
use sha2::{Digest, Sha256};
use shown::Members;

/// A test for each protocol: all of its cases.
macro_rules! families {
    ($($family:ident),+) => {
        const FAMILIES: &[&str] = &[$(stringify!($family)),+];
        $(
            #[test]
            fn $family() {
                check_family(stringify!($family));
            }
        )+
    };
}

families!(chat, completions, responses, messages, gemini, embeddings, images, audio, models, codings);

fn wire() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire")
}

fn folders(of: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(of).unwrap().map(Result::unwrap);
    entries.filter(|it| it.path().is_dir()).map(|it| it.file_name().into_string().unwrap()).collect()
}

fn check_family(family: &str) {
    let cases = folders(&wire().join(family));
    let mut differ = Vec::new();
    for case in &cases {
        // All cases of a family are told at once.
        if std::panic::catch_unwind(|| check_case(family, case)).is_err() {
            differ.push(case.as_str());
        }
    }
    assert!(differ.is_empty(), "{family}: {}", differ.join(", "));
    assert!(!cases.is_empty());
}

fn check_case(family: &str, case: &str) {
    let exchange = fixture::exchange(&wire().join(family).join(case));
    let finished = finalize(&exchange, &FinalizeSettings::default());
    let line = std::str::from_utf8(&finished.line).expect("a line is UTF-8");
    assert!(!line.contains(['\n', '\r']), "{line}");
    let members = Members::of(line);
    assert_eq!(read_row(line.as_bytes()).expect("a line reads back"), *finished.row);
    for (name, recorded) in [("req", &exchange.request), ("resp", &exchange.response)] {
        let side = Members::of(members.get(name).unwrap());
        let digest: String = Sha256::digest(&recorded.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(side.get("bytes").unwrap(), recorded.bytes.len().to_string());
        assert_eq!(side.get("sha256").unwrap(), format!("\"{digest}\""));
        is_verbatim(&side, &recorded.bytes);
    }
    let settings = insta::Settings::clone_current();
    let _scope = {
        let mut settings = settings;
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind_to_scope()
    };
    let shown = format!("{}--\n{}", shown::line(line), shown::row(&finished.row));
    insta::assert_snapshot!(format!("{family}-{case}"), shown);
}

/// What stands as JSON without a line end is the wire's own text, and every event has its time.
fn is_verbatim(side: &Members, wire: &[u8]) {
    if let (Some(body), None, Ok(text)) =
        (side.get("body"), side.get("content_decoded"), std::str::from_utf8(wire.trim_ascii()))
        && !text.is_empty()
        && !text.contains(['\n', '\r'])
    {
        assert_eq!(body, text);
    }
    let events: Vec<serde_json::Value> =
        side.get("events").map_or_else(Vec::new, |it| serde_json::from_str(it).unwrap());
    assert!(events.iter().all(|event| event["t_delta_ms"].is_u64()), "an event without its time");
}

#[test]
fn every_protocol_has_a_case_of_every_ending() {
    assert_eq!(folders(&wire()), FAMILIES.iter().map(|it| (*it).to_owned()).collect());
    let streams = ["complete", "client-gone", "client-gone-after-end", "upstream-gone", "error-event"];
    let wholes = ["complete", "upstream-gone", "error-status"];
    for (family, form, endings) in [
        ("chat", "stream", &streams[..]),
        ("chat", "json", &wholes),
        ("completions", "stream", &streams),
        ("completions", "json", &wholes),
        ("responses", "stream", &streams),
        ("responses", "json", &wholes),
        ("messages", "stream", &streams),
        ("messages", "json", &wholes),
        ("gemini", "sse", &streams),
        ("gemini", "array", &streams),
        ("gemini", "json", &wholes),
        ("embeddings", "json", &wholes),
        ("images", "stream", &streams),
        ("images", "json", &wholes),
        ("audio", "speech", &wholes),
        ("audio", "transcription", &wholes),
        ("audio", "transcription-sse", &streams),
        ("models", "json", &wholes),
    ] {
        let cases = folders(&wire().join(family));
        for ending in endings {
            assert!(cases.contains(&format!("{form}-{ending}")), "{family} {form} {ending}");
        }
    }
}

#[test]
fn every_snapshot_belongs_to_a_case() {
    let of_cases: BTreeSet<String> = FAMILIES
        .iter()
        .flat_map(|family| folders(&wire().join(family)).into_iter().map(move |case| format!("{family}-{case}.snap")))
        .collect();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshots");
    let names = std::fs::read_dir(snapshots).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let strays: Vec<String> = names.filter(|it| it.ends_with(".snap") && !of_cases.contains(it)).collect();
    assert_eq!(strays, Vec::<String>::new());
}

fn coded(case: &str) -> (Exchange, Finished) {
    let exchange = fixture::exchange(&wire().join("codings").join(case));
    let finished = finalize(&exchange, &FinalizeSettings::default());
    (exchange, finished)
}

/// The events of a line, with their times.
fn events(finished: &Finished) -> String {
    let line = Members::of(std::str::from_utf8(&finished.line).unwrap());
    Members::of(line.get("resp").unwrap()).get("events").unwrap().to_owned()
}

/// The arrivals of a line's events.
fn times(finished: &Finished) -> Vec<u64> {
    let events: Vec<serde_json::Value> = serde_json::from_str(&events(finished)).unwrap();
    events.iter().map(|event| event["t_delta_ms"].as_u64().unwrap()).collect()
}

#[test]
fn a_stream_in_any_coding_has_the_events_and_times_of_the_plain_one() {
    let (_, plain) = coded("chat-stream-identity");
    for coding in ["gzip", "deflate", "deflate-raw", "br", "zstd"] {
        let (exchange, finished) = coded(&format!("chat-stream-{coding}"));
        assert!(exchange.response.marks.len() > 5, "{coding}: it came in pieces");
        assert_eq!(events(&finished), events(&plain), "{coding}");
        let facts =
            |it: &Finished| (it.row.model.clone(), it.row.usage, it.row.finish_reason.clone(), it.row.first_event_ms);
        assert_eq!(facts(&finished), facts(&plain), "{coding}");
    }
    // Whatever the borders, an event's time is that of the piece which its first byte came in.
    let (exchange, finished) = coded("chat-stream-identity-odd-borders");
    let wire = String::from_utf8(exchange.response.bytes.clone()).unwrap();
    let begins = wire.match_indices("data: {").map(|(at, _)| exchange.response.arrival_us(at as u64).unwrap() / 1000);
    assert_eq!(times(&finished), begins.collect::<Vec<u64>>());
    let (_, finished) = coded("chat-stream-gzip-odd-borders");
    let odd = times(&finished);
    assert!(odd.is_sorted() && odd.len() == times(&plain).len(), "{odd:?}");
    assert!(odd.first() < odd.last(), "{odd:?}");
    for cut in ["chat-stream-zstd-upstream-gone", "chat-stream-gzip-client-gone"] {
        let (_, finished) = coded(cut);
        let seen = events(&finished);
        assert!(events(&plain).starts_with(seen.strip_suffix(']').unwrap()), "{cut}: {seen}");
        assert!(finished.row.disconnected, "{cut}");
    }
}

#[test]
fn a_coded_request_says_what_it_says_uncoded() {
    let (_, coded) = coded("responses-request-zstd");
    let plain = fixture::exchange(&wire().join("responses/stream-complete"));
    let plain = finalize(&plain, &FinalizeSettings::default());
    assert_eq!(coded.row.model, plain.row.model);
    assert_eq!(coded.row.conversation, plain.row.conversation);
}
