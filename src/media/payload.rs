//! From the text of a payload to its bytes and type.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Attachment;
use super::mime::{OCTET_STREAM, extension_of};

/// Padded or not, and with whatever in the bits that stand for nothing.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const ENGINES: [GeneralPurpose; 2] = [GeneralPurpose::new(&STANDARD, LENIENT), GeneralPurpose::new(&URL_SAFE, LENIENT)];

/// How references begin that point elsewhere.
const REMOTE: [&str; 4] = ["http://", "https://", "gs://", "file:"];

/// The attachment that a payload is: a `data:` URL or bare base64, which is of the `declared` type. `None` if it is
/// empty, refers to something elsewhere, or cannot be decoded.
pub(super) fn decoded(payload: &str, declared: Option<&str>) -> Option<Attachment> {
    let payload = payload.trim();
    if payload.is_empty() || REMOTE.iter().any(|prefix| starts_with(payload, prefix)) {
        return None;
    }
    let (mime, text) = if starts_with(payload, "data:") {
        let (head, text) = payload["data:".len()..].split_once(',')?;
        if !head.contains("base64") {
            return None;
        }
        let mime = head.split(';').next().filter(|it| it.contains('/'));
        (mime.unwrap_or(OCTET_STREAM), text)
    } else {
        (declared.unwrap_or(OCTET_STREAM), payload)
    };
    Some(attachment(mime, bytes_of(text)?))
}

/// Bytes of a type.
pub(super) fn attachment(mime: &str, bytes: Vec<u8>) -> Attachment {
    let mime = Some(mime.trim()).filter(|it| !it.is_empty()).unwrap_or(OCTET_STREAM).to_ascii_lowercase();
    Attachment { extension: extension_of(&mime), mime, bytes }
}

/// The bytes of a base64 text in either alphabet, padded or not, white space ignored; `None` if there are none.
pub(super) fn bytes_of(base64: &str) -> Option<Vec<u8>> {
    let is_space = |it: &u8| matches!(it, b' ' | b'\t' | b'\r' | b'\n');
    let text = base64.as_bytes();
    let text = if text.iter().any(is_space) {
        Cow::Owned(text.iter().copied().filter(|it| !is_space(it)).collect())
    } else {
        Cow::Borrowed(text)
    };
    ENGINES.iter().find_map(|engine| engine.decode(&text).ok()).filter(|bytes| !bytes.is_empty())
}

/// The type that bytes begin like, for payloads that come without one.
pub(super) fn sniffed(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [b'P', b'K', 3, 4, ..] => "application/zip",
        _ => OCTET_STREAM,
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn payloads_are_decoded_by_their_form() {
        for (payload, declared, expected) in [
            (" aGk= ", Some("Image/PNG"), Some(("image/png", "png", "hi"))),
            ("aG k\n", Some(""), Some((OCTET_STREAM, "bin", "hi"))),
            ("aGk", None, Some((OCTET_STREAM, "bin", "hi"))),
            ("77-_", None, Some((OCTET_STREAM, "bin", "\u{ffff}"))),
            ("data:image/jpeg;base64,aGk=", Some("image/png"), Some(("image/jpeg", "jpg", "hi"))),
            ("DATA:text/plain;charset=x;base64,aGk", None, Some(("text/plain", "txt", "hi"))),
            ("data:;base64,aGk=", Some("image/png"), Some((OCTET_STREAM, "bin", "hi"))),
            ("data:base64,aGk=", None, Some((OCTET_STREAM, "bin", "hi"))),
            ("data:text/plain,hello", None, None),
            ("data:image/png;base64", None, None),
            ("https://example.com/a.png", None, None),
            ("HTTP://example.com", None, None),
            ("gs://bucket/file", None, None),
            ("file:///etc/passwd", None, None),
            ("", None, None),
            ("   ", None, None),
            ("data:image/png;base64,", None, None),
            ("no base64!", None, None),
        ] {
            let found = decoded(payload, declared);
            let found = found.map(|it| (it.mime, it.extension, String::from_utf8(it.bytes).unwrap()));
            let expected = expected.map(|(mime, extension, text)| (mime.to_owned(), extension, text.to_owned()));
            assert_eq!(found, expected, "{payload}");
        }
    }

    #[test]
    fn well_known_beginnings_are_known() {
        for (bytes, mime) in [
            (&b"%PDF-1.7"[..], "application/pdf"),
            (b"\x89PNG\r\n", "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"PK\x03\x04", "application/zip"),
            (b"", OCTET_STREAM),
        ] {
            assert_eq!(sniffed(bytes), mime);
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(bytes in prop::collection::vec(any::<u8>(), 1..50)) {
            for text in [
                base64::engine::general_purpose::STANDARD.encode(&bytes),
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes),
            ] {
                prop_assert_eq!(bytes_of(&text), Some(bytes.clone()));
            }
        }

        #[test]
        fn any_payload_is_survived(payload in "(data:|base64|[,;=A-Za-z/]|\\PC){0,30}") {
            decoded(&payload, None);
        }
    }
}
