//! Content codings: whole bodies and streams that are flushed piece by piece, both ways.

use std::io::{self, Read, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

/// A content coding of RFC 9110 §8.4.1 or RFC 8878.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Br,
    Zstd,
}

impl Coding {
    /// The coding of this registered name, case ignored.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Br,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// The registered name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Undoes the coding. More than `limit` bytes, or bytes that are not so coded, are an error.
    pub(super) fn decode(self, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let source: Box<dyn Read + '_> = match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Deflate => Box::new(ZlibDecoder::new(bytes)),
            Self::Br => Box::new(brotli::Decompressor::new(bytes, 4096)),
            Self::Zstd => Box::new(zstd::Decoder::new(bytes)?),
        };
        let mut decoded = Vec::new();
        source.take(limit + 1).read_to_end(&mut decoded)?;
        if decoded.len() as u64 > limit {
            return Err(io::Error::other(format!("the decoded body exceeds {limit} bytes")));
        }
        Ok(decoded)
    }
}

/// A stream under encoding; what goes in comes out in the same step, flushed.
pub(super) enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    pub(super) fn new(coding: Option<Coding>) -> io::Result<Self> {
        Ok(match coding {
            None => Self::Identity,
            Some(Coding::Gzip) => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Some(Coding::Deflate) => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::default())),
            Some(Coding::Br) => Self::Br(Box::new(CompressorWriter::new(Vec::new(), 4096, 4, 20))),
            Some(Coding::Zstd) => Self::Zstd(Box::new(zstd::Encoder::new(Vec::new(), 3)?)),
        })
    }

    /// Encodes and flushes one piece, so that the receiver can decode up to its end.
    pub(super) fn push(&mut self, piece: Bytes) -> io::Result<Bytes> {
        fn through<W: Write>(writer: &mut W, piece: &[u8]) -> io::Result<()> {
            writer.write_all(piece)?;
            writer.flush()
        }
        let encoded = match self {
            Self::Identity => return Ok(piece),
            Self::Gzip(writer) => {
                through(writer, &piece)?;
                std::mem::take(writer.get_mut())
            }
            Self::Deflate(writer) => {
                through(writer, &piece)?;
                std::mem::take(writer.get_mut())
            }
            Self::Br(writer) => {
                through(writer.as_mut(), &piece)?;
                std::mem::take(writer.get_mut())
            }
            Self::Zstd(writer) => {
                through(writer.as_mut(), &piece)?;
                std::mem::take(writer.get_mut())
            }
        };
        Ok(encoded.into())
    }

    /// The coding's last bytes.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Identity => Bytes::new(),
            Self::Gzip(writer) => writer.finish()?.into(),
            Self::Deflate(writer) => writer.finish()?.into(),
            Self::Br(writer) => writer.into_inner().into(),
            Self::Zstd(writer) => writer.finish()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];

    #[test]
    fn what_was_pushed_piece_by_piece_decodes_to_the_whole() {
        for coding in ALL {
            let mut encoder = Encoder::new(Some(coding)).unwrap();
            let mut encoded = Vec::new();
            for piece in ["data: one\n\n", "data: two\n\n"] {
                let out = encoder.push(Bytes::from(piece)).unwrap();
                assert!(!out.is_empty(), "{coding:?} holds a piece back");
                encoded.extend_from_slice(&out);
            }
            encoded.extend_from_slice(&encoder.finish().unwrap());
            assert_eq!(coding.decode(&encoded, 1000).unwrap(), b"data: one\n\ndata: two\n\n", "{coding:?}");
            assert_eq!(Coding::named(coding.name()), Some(coding));
        }
    }

    #[test]
    fn decoding_stops_at_the_limit() {
        for coding in ALL {
            let mut encoder = Encoder::new(Some(coding)).unwrap();
            let mut encoded = encoder.push(Bytes::from(vec![b'a'; 10_000])).unwrap().to_vec();
            encoded.extend_from_slice(&encoder.finish().unwrap());
            assert!(coding.decode(&encoded, 9_999).is_err(), "{coding:?}");
            assert_eq!(coding.decode(&encoded, 10_000).unwrap().len(), 10_000, "{coding:?}");
        }
    }
}
