//! Media types and the file name extensions that stand for them.

/// What is known of nothing.
pub(super) const OCTET_STREAM: &str = "application/octet-stream";

/// Each type with its extension; of types that share one, the first is the one to serve it as.
const TYPES: [(&str, &str); 31] = [
    ("image/png", "png"),
    ("image/jpeg", "jpg"),
    ("image/jpg", "jpg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
    ("image/svg+xml", "svg"),
    ("image/bmp", "bmp"),
    ("image/tiff", "tiff"),
    ("image/heic", "heic"),
    ("image/heif", "heif"),
    ("application/pdf", "pdf"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/webm", "webm"),
    ("audio/flac", "flac"),
    ("audio/aac", "aac"),
    ("audio/opus", "opus"),
    ("video/mp4", "mp4"),
    ("video/webm", "webm"),
    ("video/quicktime", "mov"),
    ("text/plain", "txt"),
    ("text/html", "html"),
    ("text/csv", "csv"),
    ("text/markdown", "md"),
    ("application/json", "json"),
    ("application/xml", "xml"),
    ("text/xml", "xml"),
    ("application/zip", "zip"),
];

/// The extension for a media type, in any case; `bin` for all that is not in the table.
pub fn extension_of(mime: &str) -> &'static str {
    let mime = mime.trim();
    TYPES.iter().find(|(it, _)| it.eq_ignore_ascii_case(mime)).map_or("bin", |(_, extension)| extension)
}

/// The media type for an extension; `application/octet-stream` for all that is not in the table.
pub fn mime_of(extension: &str) -> &'static str {
    // Both sound and film are called `webm`: a browser plays either as film.
    if extension == "webm" {
        return "video/webm";
    }
    TYPES.iter().find(|(_, it)| *it == extension).map_or(OCTET_STREAM, |(mime, _)| mime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_extensions_stand_for_each_other() {
        for (mime, extension) in TYPES {
            assert_eq!(extension_of(mime), extension);
            assert_eq!(extension_of(mime_of(extension)), extension, "{extension}");
        }
        assert_eq!(extension_of(" IMAGE/JPG "), "jpg");
        assert_eq!((mime_of("jpg"), mime_of("mp3"), mime_of("wav")), ("image/jpeg", "audio/mpeg", "audio/wav"));
        for unknown in ["", OCTET_STREAM, "audio/pcm16", "../etc"] {
            assert_eq!((extension_of(unknown), mime_of(unknown)), ("bin", OCTET_STREAM));
        }
    }
}
