//! Any file has a table of blocks, none, or a damaged one; what is held of it is bounded by the file.
#![no_main]

use std::io::Cursor;

use api_log::jsonl::sealed::{Codec, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for codec in [Codec::Zstd, Codec::Gzip] {
        let Ok(Some(table)) = Table::read(&mut Cursor::new(file), codec) else { continue };
        // An entry has eight bytes, and what it tells of lies in the file.
        assert!(table.blocks().len() <= file.len() / 8);
        assert!(table.packed_bytes() <= file.len() as u64);
        for offset in [0, 1, table.plain_bytes() / 2, table.plain_bytes(), u64::MAX] {
            match table.blocks().get(table.find(offset)) {
                Some(block) => assert!(block.offset <= offset && offset - block.offset < u64::from(block.plain)),
                None => assert!(offset >= table.plain_bytes()),
            }
        }
    }
});
