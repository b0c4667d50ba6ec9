//! OpenAI's small endpoints: the model list (in the asking vendor's form) and embeddings.

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::Call;
use super::question::{count_tokens, text_at};
use super::reply::{self, Vendor};

/// The models that the mock lists. It answers for any other name, too.
const MODELS: [&str; 3] = ["mock", "mock-embedding", "mock-image"];

/// Values in an embedding unless the request says otherwise.
const DIMENSIONS: usize = 8;

/// The most values that an embedding may be asked for.
const MAX_DIMENSIONS: u64 = 4096;

/// Answers `…/models`.
pub(super) fn models(call: &Call) -> Response {
    if call.headers.contains_key("anthropic-version") {
        let data: Vec<_> = MODELS.iter().map(|id| anthropic_model(id)).collect();
        let body = json!({"data": data, "has_more": false, "first_id": MODELS[0], "last_id": MODELS[MODELS.len() - 1]});
        return reply::json(call, &body);
    }
    if call.headers.contains_key("x-goog-api-key") {
        let models: Vec<_> = MODELS.iter().map(|id| gemini_model(id)).collect();
        return reply::json(call, &json!({"models": models}));
    }
    let data: Vec<_> = MODELS.iter().map(|id| openai_model(id)).collect();
    reply::json(call, &json!({"object": "list", "data": data}))
}

/// Answers `…/models/{id}`.
pub(super) fn model(call: &Call, id: &str) -> Response {
    let vendor = match () {
        () if call.headers.contains_key("anthropic-version") => Vendor::Anthropic,
        () if call.headers.contains_key("x-goog-api-key") => Vendor::Gemini,
        () => Vendor::OpenAi,
    };
    if !MODELS.contains(&id) {
        return reply::error(call, vendor, StatusCode::NOT_FOUND, &format!("The model '{id}' does not exist."));
    }
    let body = match vendor {
        Vendor::OpenAi => openai_model(id),
        Vendor::Anthropic => anthropic_model(id),
        Vendor::Gemini => gemini_model(id),
    };
    reply::json(call, &body)
}

fn openai_model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"})
}

fn anthropic_model(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "2023-11-14T22:13:20Z"})
}

fn gemini_model(id: &str) -> Value {
    json!({"name": format!("models/{id}"), "version": "001", "displayName": id,
        "inputTokenLimit": 1_000_000, "outputTokenLimit": 8192,
        "supportedGenerationMethods": ["generateContent", "countTokens"]})
}

/// Answers `…/embeddings`, as floats or as base64 of little-endian 32-bit floats.
pub(super) fn embeddings(call: &Call, model: &str, asked: &Value) -> Response {
    let inputs: Vec<String> = match &asked["input"] {
        Value::String(text) => vec![text.clone()],
        // A list of numbers is one text as tokens; a list of anything else is several texts.
        Value::Array(items) if items.iter().all(Value::is_number) => vec![asked["input"].to_string()],
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    if inputs.is_empty() {
        let message = "Missing required parameter: 'input'.";
        return reply::error(call, Vendor::OpenAi, StatusCode::BAD_REQUEST, message);
    }
    let dimensions = asked["dimensions"].as_u64().map_or(DIMENSIONS, |wished| wished.min(MAX_DIMENSIONS) as usize);
    let as_base64 = text_at(asked, "encoding_format") == "base64";
    let embed = |text: &str| -> Value {
        let vector = embed(text, dimensions);
        if as_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            return Value::String(STANDARD.encode(bytes));
        }
        json!(vector)
    };
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"object": "embedding", "index": index, "embedding": embed(text)}))
        .collect();
    let tokens: u64 = inputs.iter().map(|text| count_tokens(text)).sum();
    reply::json(
        call,
        &json!({"object": "list", "data": data, "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}),
    )
}

/// A vector that depends on the text alone; its values are exact in 32 bits.
pub(super) fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    // FNV-1a over the text and the index, reduced to -1 … 1 in steps of 1/128.
    (0..dimensions)
        .map(|index| {
            let bytes = text.bytes().chain(index.to_le_bytes());
            let hash = bytes
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            f32::from((hash >> 56) as u8) / 128.0 - 1.0
        })
        .collect()
}
