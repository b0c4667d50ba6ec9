//! An event stream gives the same events whole and in pieces.
#![no_main]

use api_log::wire::sse::{Splitter, looks_like_events, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    looks_like_events(bytes);
    let mut splitter = Splitter::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(usize::from(size).max(1)) {
        splitter.push(piece, &mut events);
    }
    events.extend(splitter.finish());
    // Where bytes are replaced, offsets in the text are not those in the bytes.
    if let Ok(text) = std::str::from_utf8(bytes) {
        let whole = parse(text);
        assert_eq!(events, whole.events);
        assert_eq!(splitter.saw_done(), whole.saw_done);
    }
});
