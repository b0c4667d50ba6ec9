//! A stream is rewritten the same whole and in pieces, and passes as it is where there is nothing to do.
#![no_main]

use api_log::plugin::rewrite::{Framing, Rewriter, Rule, Work};
use api_log::protocol::Protocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, size], stream)) = input.split_first_chunk() else { return };
    let speakers = [Protocol::Chat, Protocol::Messages, Protocol::Responses, Protocol::Gemini];
    let protocol = speakers[usize::from(kind % 4)];
    let framing = if kind & 4 != 0 && protocol == Protocol::Gemini { Framing::Array } else { Framing::Events };
    let rewritten = |work: &Work, size: usize| {
        let mut rewriter = Rewriter::new(protocol, framing, work.clone()).unwrap();
        let mut out = Vec::new();
        for piece in stream.chunks(size.max(1)) {
            // Having given up it passes on.
            let _ = rewriter.push(piece, &mut out);
        }
        rewriter.finish(&mut out);
        out
    };
    let rules = [("aba", "x"), ("x", ""), ("\n\u{e9}\"", "ab")];
    let replace = Work::Replace(rules.iter().map(|(wanted, new)| Rule::new(wanted, new).unwrap()).collect());
    for work in [replace, Work::Append("!".into())] {
        assert_eq!(rewritten(&work, size.into()), rewritten(&work, stream.len()));
    }
    assert_eq!(rewritten(&Work::Replace([].into()), size.into()), stream);
});
