//! OpenAI images: a tiny PNG, whole or as a stream of partial ones.

use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::question::{count_tokens, text_at};
use super::reply::{self, EVENT_STREAM, Script, Vendor};
use super::wish::Fault;

/// One transparent pixel.
const PNG_BASE64: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The most images in one answer.
const MAX_IMAGES: u64 = 10;

/// Tokens of one image.
const IMAGE_TOKENS: u64 = 272;

/// Answers `…/images/generations` and `…/images/edits`.
pub(super) fn answer(call: &Call, asked: &Value) -> Response {
    // A form has its numbers as text.
    let count = asked["n"].as_u64().or_else(|| text_at(asked, "n").parse().ok()).unwrap_or(1).clamp(1, MAX_IMAGES);
    let prompt = text_at(asked, "prompt");
    let (input, output) = (count_tokens(prompt), IMAGE_TOKENS * count);
    let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        "input_tokens_details": {"text_tokens": input, "image_tokens": 0}});
    let wants_stream = asked["stream"] == true || text_at(asked, "stream") == "true";
    if wants_stream && call.wish.fault != Some(Fault::JsonForStream) {
        return reply::stream(call, script(call, &usage));
    }
    let image = json!({"b64_json": PNG_BASE64, "revised_prompt": format!("A pixel of: {prompt}")});
    let data = vec![image; count as usize];
    reply::json(
        call,
        &json!({"created": call.created(), "data": data, "usage": usage,
            "background": "transparent", "output_format": "png", "quality": "low", "size": "1024x1024"}),
    )
}

fn script(call: &Call, usage: &Value) -> Script {
    let image = |kind: &str| {
        json!({"type": kind, "b64_json": PNG_BASE64, "created_at": call.created(), "background": "transparent",
            "output_format": "png", "quality": "low", "size": "1024x1024"})
    };
    let mut partial = image("image_generation.partial_image");
    partial["partial_image_index"] = json!(0);
    let mut completed = image("image_generation.completed");
    completed["usage"] = usage.clone();
    let frame = |value: &Value| reply::event(call, text_at(value, "type"), value);
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    let error = reply::error_body(call, Vendor::OpenAi, status, "The mock fails in mid-stream as wished.");
    Script {
        content_type: EVENT_STREAM,
        events: vec![frame(&partial)],
        terminator: vec![frame(&completed)],
        error: reply::event(call, "error", &error),
    }
}
