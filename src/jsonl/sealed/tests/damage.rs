//! Damaged files: an error that names file and block, and never other bytes than were sealed.

use super::*;

const BLOCK: u64 = 400;

fn text() -> Vec<u8> {
    (0..60).flat_map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", n * 7919).into_bytes()).collect()
}

#[test]
fn any_flipped_bit_is_found_or_changes_nothing() {
    let text = text();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a1b2c3d4.jsonl");
    for codec in CODECS {
        let (bytes, blocks) = packed(&text, codec, BLOCK);
        assert!(blocks > 3);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, &damaged).unwrap();
            match from(&path, codec, 0) {
                // Gzip's heads have bytes that mean nothing; a table that is not known for one is not needed.
                Ok(found) => assert!(found == text, "{codec:?}, byte {at}"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
                    assert!(error.to_string().contains("a1b2c3d4.jsonl"), "{error}");
                }
            }
            let mut found = Vec::new();
            let verified = verify_sealed(&path, codec, |part| {
                found.extend_from_slice(part);
                Ok(())
            });
            assert!(verified.is_err() || found == text, "{codec:?}, byte {at}");
        }
    }
}

#[test]
fn the_block_that_is_damaged_is_named_and_those_beside_it_are_read() {
    let text = text();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealed");
    for codec in CODECS {
        let (mut bytes, _) = packed(&text, codec, BLOCK);
        let table = Table::read(&mut Cursor::new(&bytes), codec).unwrap().unwrap();
        let bad = table.blocks()[2];
        bytes[(bad.at + u64::from(bad.packed) - 6) as usize] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let error = verify_sealed(&path, codec, |_| Ok(())).unwrap_err();
        assert!(matches!(error, SealedError::Block { block: 2, .. }), "{error}");
        let mut behind = open_at(&path, File::open(&path).unwrap(), codec, table.blocks()[3].offset).unwrap();
        let mut found = Vec::new();
        behind.read_to_end(&mut found).unwrap();
        assert!(found == text[table.blocks()[3].offset as usize..]);
        let mut before = vec![0; bad.offset as usize];
        open_at(&path, File::open(&path).unwrap(), codec, 0).unwrap().read_exact(&mut before).unwrap();
        assert!(before == text[..bad.offset as usize]);
    }
}

#[test]
fn a_table_that_lies_is_an_error_and_takes_no_memory() {
    let (bytes, _) = packed(&text(), Codec::Zstd, BLOCK);
    let entry = |bytes: &mut Vec<u8>, from_end: usize, value: u32| {
        let at = bytes.len() - from_end;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    for (from_end, value) in [(9, u32::MAX), (9, 1), (9, 0), (9 + 12, 1), (9 + 12, u32::MAX)] {
        let mut damaged = bytes.clone();
        entry(&mut damaged, from_end, value);
        let outcome = Table::read(&mut Cursor::new(damaged), Codec::Zstd);
        assert!(matches!(outcome, Err(TableError::Damaged(_))), "{from_end}: {outcome:?}");
    }
    let (bytes, _) = packed(&text(), Codec::Gzip, BLOCK);
    for from_end in [10 + 24, 10 + 16, 10 + 8, 10 + 32 + 26] {
        let mut damaged = bytes.clone();
        entry(&mut damaged, from_end, u32::MAX);
        let outcome = Table::read(&mut Cursor::new(damaged), Codec::Gzip);
        assert!(matches!(outcome, Err(TableError::Damaged(_))), "{from_end}: {outcome:?}");
    }
}

#[test]
fn a_checksum_in_the_table_is_looked_at_by_who_checks() {
    let text = text();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealed");
    let (mut bytes, blocks) = packed(&text, Codec::Zstd, BLOCK);
    let checked = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        open_checked(&path, File::open(&path).unwrap(), Codec::Zstd)?.read_to_end(&mut found).map(|_| found)
    };
    assert!(checked(&bytes).unwrap() == text);
    // The second block's: entries of 12 bytes end with it, and 9 bytes stand behind them.
    let at = bytes.len() - 9 - 12 * (blocks - 1) + 8;
    bytes[at] ^= 1;
    let error = checked(&bytes).unwrap_err();
    assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("block 1 of"), "{error}");
    assert!(from(&path, Codec::Zstd, 0).unwrap() == text, "each block has its own, which is right");
}

#[test]
fn plain_lengths_that_are_wrong_are_found_where_they_are_read() {
    let text = text();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealed");
    let (bytes, blocks) = packed(&text, Codec::Zstd, BLOCK);
    for (change, reason) in [(1i64, "lacks"), (-1, "more than")] {
        let mut damaged = bytes.clone();
        // The plain length of the first block.
        let at = bytes.len() - 9 - blocks * 12 + 4;
        let told = u32::from_le_bytes(damaged[at..at + 4].try_into().unwrap());
        damaged[at..at + 4].copy_from_slice(&((i64::from(told) + change) as u32).to_le_bytes());
        std::fs::write(&path, &damaged).unwrap();
        let error = from(&path, Codec::Zstd, 0).unwrap_err().to_string();
        assert!(error.contains("block 0 of") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_table_larger_than_one_extra_field_is_read_back() {
    let text = "a\n".repeat(20_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sealed");
    let (bytes, blocks) = packed(text.as_bytes(), Codec::Gzip, 2);
    assert_eq!(blocks, 20_000);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(from(&path, Codec::Gzip, 39_990).unwrap(), b"a\na\na\na\na\n");
    let mut whole = String::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut whole).unwrap();
    assert_eq!(whole, text);
}

#[test]
fn the_fuzzers_seeds_have_tables() {
    for (codec, name) in [(Codec::Zstd, "zstd"), (Codec::Gzip, "gzip")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/table").join(name);
        if std::env::var_os("WRITE_SEEDS").is_some() {
            std::fs::write(&path, packed(&text(), codec, BLOCK).0).unwrap();
        }
        let table = Table::read(&mut File::open(&path).unwrap(), codec).unwrap();
        assert!(table.unwrap().blocks().len() > 2, "run this test with WRITE_SEEDS=1 to write them anew");
    }
}
