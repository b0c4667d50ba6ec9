//! OpenAI Audio: speech, transcriptions, translations.

use super::{Extracted, closing};
use crate::trace::view::Answer;

/// Reads a transcription's counts, or those of the event that ends a stream. Speech as plain audio has none, and what
/// is billed by its duration has no tokens.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    closing::read(answer, &["transcript.text.done", "speech.audio.done"])
}

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{Stream, counts, ends, read, read_stream, sample};
    use crate::trace::view::Answer;

    #[test]
    fn audio_is_counted_whole_and_streamed() {
        let said = read("/v1/audio/transcriptions", "", Answer::Json(sample!("audio.json")));
        assert_eq!(counts(&said)[..3], [Some(14), Some(101), Some(115)]);
        let said = read_stream("/v1/audio/transcriptions", "", &Stream::of(sample!("audio.sse")), true);
        assert_eq!(counts(&said)[..3], [Some(14), Some(45), Some(59)]);
        assert_eq!((said.stream, ends(&said)), (Some(true), (true, true)));
        let said = read_stream("/v1/audio/transcriptions", "", &Stream::of(sample!("audio.sse")).cut(1), false);
        assert_eq!(ends(&said), (false, false));
        let said = read("/v1/audio/speech", r#"{"model":"gpt-4o-mini-tts"}"#, Answer::None);
        assert_eq!((counts(&said), said.model.as_deref()), ([None; 6], Some("gpt-4o-mini-tts")));
        let duration = r#"{"text":"x","usage":{"type":"duration","seconds":9}}"#;
        assert_eq!(counts(&read("/v1/audio/translations", "", Answer::Json(duration))), [None; 6]);
    }
}
