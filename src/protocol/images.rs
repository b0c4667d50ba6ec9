//! OpenAI Images: generations, edits, variations; whole, or as a stream of partial images.

use super::{Extracted, closing};
use crate::trace::view::Answer;

/// Reads an answer's counts; of a stream, those of its completed image.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    closing::read(answer, &["image_generation.completed", "image_edit.completed"])
}

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{Stream, counts, ends, read, read_stream, sample, words};
    use crate::trace::view::Answer;

    #[test]
    fn images_are_counted_whole_and_streamed() {
        let request = r#"{"model":"gpt-image-1","prompt":"x"}"#;
        let said = read("/v1/images/generations", request, Answer::Json(sample!("images.json")));
        assert_eq!(counts(&said)[..3], [Some(50), Some(50), Some(100)]);
        assert_eq!(words(&said), (Some("gpt-image-1"), None, None, None));
        for stream in [Stream::of(sample!("images.sse")), Stream::of(sample!("images.sse")).nameless()] {
            let said = read_stream("/v1/images/edits", request, &stream, true);
            assert_eq!(counts(&said)[..3], [Some(50), Some(50), Some(100)]);
            assert_eq!(ends(&said), (true, true));
        }
        let said = read_stream("/v1/images/edits", request, &Stream::of(sample!("images.sse")).cut(1), false);
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(ends(&said), (false, false));
    }
}
