//! OpenAI audio: speech out as bytes or events, transcriptions of what comes in as a form.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::Call;
use super::question::{count_tokens, text_at};
use super::reply::{self, EVENT_STREAM, Script, Vendor};

/// Bytes of sound per character of text.
const BYTES_PER_CHARACTER: usize = 16;

/// Bytes of one chunk of sound.
const CHUNK_BYTES: usize = 256;

/// The most characters that are spoken, as OpenAI documents.
const MAX_CHARACTERS: usize = 4096;

/// Answers `…/audio/speech`.
pub(super) fn speech(call: &Call, asked: &Value) -> Response {
    let input = text_at(asked, "input");
    let characters = input.chars().count();
    if characters == 0 || characters > MAX_CHARACTERS {
        let message = format!("Invalid 'input': 1 to {MAX_CHARACTERS} characters, got {characters}.");
        return reply::error(call, Vendor::OpenAi, StatusCode::BAD_REQUEST, &message);
    }
    let content_type = match text_at(asked, "response_format") {
        "opus" => "audio/ogg",
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "pcm" => "audio/pcm",
        _ => "audio/mpeg",
    };
    let sound = Bytes::from(noise(input, characters * BYTES_PER_CHARACTER));
    let chunks = || sound.chunks(CHUNK_BYTES);
    if text_at(asked, "stream_format") != "sse" {
        let events = chunks().map(|chunk| sound.slice_ref(chunk)).collect();
        return reply::stream(call, Script { content_type, events, terminator: Vec::new(), error: Bytes::new() });
    }
    let delta = |chunk: &[u8]| json!({"type": "speech.audio.delta", "audio": STANDARD.encode(chunk)});
    let (input, output) = (count_tokens(input), chunks().count() as u64);
    let done = json!({"type": "speech.audio.done",
        "usage": {"input_tokens": input, "output_tokens": output, "total_tokens": input + output}});
    let events = chunks().map(|chunk| reply::data(&delta(chunk))).collect();
    reply::stream(
        call,
        Script { content_type: EVENT_STREAM, events, terminator: vec![reply::data(&done)], error: failure(call) },
    )
}

/// Bytes that depend on the text alone and do not compress to nothing.
fn noise(text: &str, length: usize) -> Vec<u8> {
    let mut state =
        text.bytes().fold(0x9e37_79b9_u32, |state, byte| (state ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let next = std::iter::repeat_with(move || {
        // xorshift32; the multiplier above is odd and the state is kept from zero.
        state = state.max(1);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    next.take(length).collect()
}

/// Answers `…/audio/transcriptions` and `…/audio/translations`.
pub(super) fn transcription(call: &Call, asked: &Value) -> Response {
    let Some(bytes) = asked["file"]["bytes"].as_u64() else {
        return reply::error(call, Vendor::OpenAi, StatusCode::BAD_REQUEST, "Missing required parameter: 'file'.");
    };
    let text = format!("I heard {bytes} bytes of {}", text_at(&asked["file"], "filename"));
    let (input, output) = (bytes / 100, count_tokens(&text));
    let usage = json!({"type": "tokens", "input_tokens": input, "output_tokens": output,
        "total_tokens": input + output, "input_token_details": {"text_tokens": 0, "audio_tokens": input}});
    if text_at(asked, "stream") == "true" {
        let events = text
            .split_inclusive(' ')
            .map(|piece| reply::data(&json!({"type": "transcript.text.delta", "delta": piece, "logprobs": []})))
            .collect();
        let done = json!({"type": "transcript.text.done", "text": text, "logprobs": [], "usage": usage});
        let terminator = vec![reply::data(&done)];
        return reply::stream(call, Script { content_type: EVENT_STREAM, events, terminator, error: failure(call) });
    }
    match text_at(asked, "response_format") {
        "text" => reply::whole(call, StatusCode::OK, "text/plain; charset=utf-8", format!("{text}\n")),
        _ => reply::json(call, &json!({"text": text, "usage": usage})),
    }
}

fn failure(call: &Call) -> Bytes {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    reply::data(&reply::error_body(call, Vendor::OpenAi, status, "The mock fails in mid-stream as wished."))
}
