//! Every fixture of the protocols that talk, as a conversation.

use std::path::Path;

use api_log::jsonl::line::{read_kept, read_row};
use api_log::trace::{FinalizeSettings, finalize};
use api_log::transcript::Transcript;
use api_log::transcript::layout;

use crate::fixture;

/// A test for each protocol: all of its cases.
macro_rules! conversations {
    ($($name:ident of $family:literal),+) => {
        $(
            #[test]
            fn $name() {
                check($family);
            }
        )+
    };
}

conversations!(
    chat_conversations of "chat",
    completions_conversations of "completions",
    responses_conversations of "responses",
    messages_conversations of "messages",
    gemini_conversations of "gemini",
    embeddings_conversations of "embeddings",
    images_conversations of "images",
    audio_conversations of "audio"
);

fn check(family: &str) {
    let mut differ = Vec::new();
    for case in crate::folders(&crate::wire().join(family)) {
        if std::panic::catch_unwind(|| check_case(family, &case)).is_err() {
            differ.push(case);
        }
    }
    assert!(differ.is_empty(), "{family}: {}", differ.join(", "));
}

fn check_case(family: &str, case: &str) {
    let exchange = fixture::exchange(&crate::wire().join(family).join(case));
    let line = finalize(&exchange, &FinalizeSettings::default()).line;
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transcripts"));
    let _scope = settings.bind_to_scope();
    insta::assert_snapshot!(format!("{family}-{case}"), shown(&line));
}

/// As `api-log show` has it.
fn shown(line: &[u8]) -> String {
    let row = read_row(line).unwrap();
    let kept = read_kept(line).unwrap();
    let head = layout::head(&row).plain() + &layout::unshown(&kept).plain();
    let said = layout::conversation(&Transcript::of(line).unwrap()).plain();
    let duration_ms = u64::try_from(row.ts_end.0 - row.ts_start.0).unwrap();
    head + &said + &layout::stream(kept.response.body.events(), duration_ms).plain()
}
