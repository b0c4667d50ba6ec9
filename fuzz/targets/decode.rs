//! Any bytes under any codings are decoded within the limits, with marks that fit.
#![no_main]

use api_log::recording::{Mark, Recording};
use api_log::wire::decode::{Limits, codings, decode};
use libfuzzer_sys::fuzz_target;

const FIELDS: [&str; 8] =
    ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip", "deflate,deflate", "x-gzip , identity"];
const MAX_DECODED_BYTES: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let &[field, size, ref bytes @ ..] = input else { return };
    let size = usize::from(size).max(1);
    let marks = (0..bytes.len()).step_by(size).map(|at| Mark { offset: at as u64, at_us: at as u64 });
    let body = Recording {
        bytes: bytes.to_vec(),
        marks: marks.collect(),
        wire_bytes: bytes.len() as u64,
        is_cut: false,
    };
    let field = FIELDS[usize::from(field) % FIELDS.len()];
    let codings = codings([field.as_bytes()].into_iter()).expect("the field names codings that exist");
    let limits = Limits { max_decoded_bytes: MAX_DECODED_BYTES, ..Limits::default() };
    if let Ok(decoded) = decode(&body, &codings, limits) {
        assert!(decoded.bytes.len() as u64 <= MAX_DECODED_BYTES);
        assert!(decoded.marks.is_sorted_by_key(|mark| mark.offset));
        assert!(decoded.marks.iter().all(|mark| mark.offset < decoded.bytes.len() as u64));
    }
});
