//! Codings and chains, whole, in pieces, cut, broken and hostile.

use std::io::Write;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

const TEXT: &[u8] = b"data: {\"a\":1}\n\ndata: {\"b\":2}\n\n";
const ROOMY: Limits = Limits { max_decoded_bytes: 1 << 24, max_ratio: 10_000 };

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => zlib(plain),
        Coding::Brotli => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            encoder.write_all(plain).unwrap();
            encoder.into_inner()
        }
        Coding::Zstd => zstd::encode_all(plain, 3).unwrap(),
    }
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bare(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A recording of `bytes` in chunks of `chunk` bytes, the n-th of which arrived at n milliseconds.
fn recording(bytes: Vec<u8>, chunk: usize) -> Recording {
    let starts = (0..bytes.len()).step_by(chunk.max(1));
    let marks = starts.enumerate().map(|(n, at)| Mark { offset: at as u64, at_us: n as u64 * 1000 }).collect();
    Recording { wire_bytes: bytes.len() as u64, bytes, marks, is_cut: false }
}

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

#[test]
fn every_coding_is_undone_in_pieces_of_any_size() {
    let long: Vec<u8> = TEXT.iter().copied().cycle().take(300_000).collect();
    for coding in ALL {
        for plain in [TEXT, &long, b""] {
            for chunk in [1, 2, 7, 4096, usize::MAX] {
                let body = recording(encode(coding, plain), chunk);
                let decoded = decode(&body, &[coding], ROOMY).unwrap();
                assert_eq!(*decoded.bytes, *plain, "{coding:?} by {chunk}");
                assert!(!decoded.is_partial, "{coding:?} by {chunk}");
                assert_eq!(decoded.undone, [coding]);
            }
        }
    }
}

#[test]
fn deflate_is_zlib_or_bare() {
    for coded in [zlib(TEXT), bare(TEXT)] {
        for chunk in [1, 2, 5, usize::MAX] {
            let body = recording(coded.clone(), chunk);
            assert_eq!(*decode(&body, &[Coding::Deflate], ROOMY).unwrap().bytes, *TEXT);
        }
    }
}

#[test]
fn chains_are_undone_from_the_right() {
    let coded = encode(Coding::Brotli, &encode(Coding::Gzip, &encode(Coding::Zstd, TEXT)));
    let chain = codings([b"zstd, x-gzip".as_slice(), b" , identity,BR"].into_iter()).unwrap();
    assert_eq!(chain, [Coding::Zstd, Coding::Gzip, Coding::Brotli]);
    let body = recording(coded, 3);
    let decoded = decode(&body, &chain, ROOMY).unwrap();
    assert_eq!(*decoded.bytes, *TEXT);
    assert_eq!(decoded.undone, chain);
}

#[test]
fn nothing_to_undo_borrows() {
    let body = recording(TEXT.to_vec(), 4);
    let decoded = decode(&body, &codings([b"identity".as_slice(), b""].into_iter()).unwrap(), ROOMY).unwrap();
    assert!(matches!(decoded.bytes, Cow::Borrowed(_)));
    assert_eq!(*decoded.marks, *body.marks);
    let empty = recording(Vec::new(), 1);
    assert_eq!(decode(&empty, &[Coding::Gzip], ROOMY).unwrap(), Decoded::untouched(&empty));
}

#[test]
fn unknown_codings_and_long_chains_are_refused() {
    let unknown = codings([b"gzip, compress".as_slice()].into_iter()).unwrap_err();
    assert_eq!(unknown.to_string(), "Content-Encoding \"compress\" is unknown");
    assert!(codings([b"\xff".as_slice()].into_iter()).is_err());
    let long = [b"gzip".as_slice(); 9];
    assert_eq!(codings(long.into_iter()), Err(DecodeError::TooMany(9)));
}

#[test]
fn decoded_bytes_arrive_with_the_chunk_that_lets_them_be_decoded() {
    type Flushing = fn(&[&[u8]]) -> Vec<Vec<u8>>;
    fn collect<W: Write>(
        pieces: &[&[u8]],
        mut writer: W,
        so_far: impl Fn(&W) -> usize,
        finish: impl FnOnce(W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut ends = Vec::new();
        for piece in pieces {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
            ends.push(so_far(&writer));
        }
        let all = finish(writer);
        let mut start = 0;
        let mut chunks: Vec<Vec<u8>> = ends
            .into_iter()
            .map(|end| {
                let chunk = all[start..end].to_vec();
                start = end;
                chunk
            })
            .collect();
        chunks.push(all[start..].to_vec());
        chunks
    }
    let makers: [(Coding, Flushing); 4] = [
        (Coding::Gzip, |pieces| {
            let writer = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            collect(pieces, writer, |it| it.get_ref().len(), |it| it.finish().unwrap())
        }),
        (Coding::Deflate, |pieces| {
            let writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            collect(pieces, writer, |it| it.get_ref().len(), |it| it.finish().unwrap())
        }),
        (Coding::Brotli, |pieces| {
            let writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            collect(pieces, writer, |it| it.get_ref().len(), |it| it.into_inner())
        }),
        (Coding::Zstd, |pieces| {
            let writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
            collect(pieces, writer, |it| it.get_ref().len(), |it| it.finish().unwrap())
        }),
    ];
    let pieces: [&[u8]; 3] = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"];
    for (coding, make) in makers {
        let mut body = Recording::default();
        for (n, chunk) in make(&pieces).into_iter().enumerate() {
            body.marks.push(Mark { offset: body.bytes.len() as u64, at_us: 1000 * n as u64 });
            body.bytes.extend(chunk);
        }
        let decoded = decode(&body, &[coding], ROOMY).unwrap();
        let expected = [(0, 0), (11, 1000), (22, 2000)].map(|(offset, at_us)| Mark { offset, at_us });
        assert_eq!(*decoded.marks, expected, "{coding:?}");
    }
}

#[test]
fn a_cut_stream_yields_what_came() {
    let plain: Vec<u8> = (0..60_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for coding in ALL {
        let mut coded = encode(coding, &plain);
        coded.truncate(coded.len() * 9 / 10);
        let body = recording(coded, 1000);
        let decoded = decode(&body, &[coding], ROOMY).unwrap();
        assert!(decoded.is_partial, "{coding:?}");
        assert!(decoded.bytes.len() > plain.len() / 3, "{coding:?}: {}", decoded.bytes.len());
        assert!(plain.starts_with(&decoded.bytes));
    }
}

#[test]
fn bombs_are_stopped() {
    let zeros = vec![0; 2 << 20];
    for coding in ALL {
        let body = recording(encode(coding, &zeros), 1 << 14);
        let large = decode(&body, &[coding], Limits { max_decoded_bytes: 1 << 20, max_ratio: u32::MAX });
        assert_eq!(large, Err(DecodeError::TooLarge { coding, limit_bytes: 1 << 20 }));
        let dense = decode(&body, &[coding], Limits { max_decoded_bytes: 1 << 30, max_ratio: 100 });
        assert_eq!(dense, Err(DecodeError::TooDense { coding, max_ratio: 100 }));
        let exact = decode(&body, &[coding], Limits { max_decoded_bytes: 2 << 20, max_ratio: u32::MAX });
        assert_eq!(exact.unwrap().bytes.len(), 2 << 20);
        // The inner of two layers is bounded as well as the outer one.
        let twice = recording(encode(coding, &body.bytes), 1 << 14);
        assert!(decode(&twice, &[coding, coding], Limits { max_decoded_bytes: 1 << 20, max_ratio: u32::MAX }).is_err());
    }
}

#[test]
fn broken_bytes_are_an_error() {
    for coding in ALL {
        let mut coded = encode(coding, TEXT);
        coded.extend_from_slice(b"more");
        let body = recording(coded, 5);
        assert!(matches!(decode(&body, &[coding], ROOMY), Err(DecodeError::Corrupt { .. })), "{coding:?}");
    }
    let body = recording(b"{\"not\":\"coded\"}".to_vec(), 5);
    for coding in [Coding::Gzip, Coding::Zstd] {
        assert!(matches!(decode(&body, &[coding], ROOMY), Err(DecodeError::Corrupt { .. })), "{coding:?}");
    }
}

#[test]
fn gzip_members_and_zstd_frames_follow_each_other() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = recording([encode(coding, b"one "), encode(coding, b"two")].concat(), 4);
        assert_eq!(*decode(&body, &[coding], ROOMY).unwrap().bytes, *b"one two");
    }
    let padded = recording([encode(Coding::Gzip, b"one"), vec![0; 9]].concat(), 4);
    assert_eq!(*decode(&padded, &[Coding::Gzip], ROOMY).unwrap().bytes, *b"one");
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_decode_or_fail(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        chunk in 1_usize..50,
        which in 0_usize..4,
    ) {
        let body = recording(bytes, chunk);
        let small = Limits { max_decoded_bytes: 1 << 16, max_ratio: 1000 };
        if let Ok(decoded) = decode(&body, &[ALL[which]], small) {
            prop_assert!(decoded.marks.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        }
    }

    #[test]
    fn any_body_comes_back_from_any_chunks(
        plain in proptest::collection::vec(any::<u8>(), 0..2000),
        chunk in 1_usize..300,
        which in 0_usize..4,
    ) {
        let coding = ALL[which];
        let body = recording(encode(coding, &plain), chunk);
        let decoded = decode(&body, &[coding], ROOMY).unwrap();
        prop_assert_eq!(&*decoded.bytes, &*plain);
        prop_assert!(!decoded.is_partial);
    }
}

#[test]
fn a_body_that_is_not_kept_is_undone_as_it_comes() {
    let long: Vec<u8> = TEXT.iter().copied().cycle().take(300_000).collect();
    for coding in ALL {
        for size in [1, 7, 4096] {
            let mut decoder = Decoder::of_pieces(&[coding], 100_000).unwrap();
            let mut out = Vec::new();
            for piece in encode(coding, TEXT).chunks(size) {
                decoder.push(piece, &mut out).unwrap();
            }
            assert_eq!(out, TEXT, "{coding:?} by {size}");
        }
        // What comes at once is bounded, not what comes in all.
        let mut decoder = Decoder::of_pieces(&[coding], 100_000).unwrap();
        let error = decoder.push(&encode(coding, &long), &mut Vec::new()).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { coding, limit_bytes: 100_000 });
        let mut decoder = Decoder::of_pieces(&[coding], 100_000).unwrap();
        assert!(decoder.push(b"no such coding, by far", &mut Vec::new()).is_err() || coding == Coding::Brotli);
    }
    let twice = encode(Coding::Brotli, &encode(Coding::Gzip, TEXT));
    let mut out = Vec::new();
    Decoder::of_pieces(&[Coding::Gzip, Coding::Brotli], 100_000).unwrap().push(&twice, &mut out).unwrap();
    assert_eq!(out, TEXT);
}
