//! Which path is which endpoint, and the way from a request to its answer.

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::question::text_at;
use super::reply::{self, Vendor};
use super::wish::Fault;
use super::{anthropic, body, gemini, openai_audio, openai_chat, openai_images, openai_lists};
use super::{openai_responses, openai_sockets};

/// Something that the mock can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint<'a> {
    Health,
    Models,
    Model(&'a str),
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Images,
    Speech,
    Transcriptions,
    Messages,
    CountTokens,
    Gemini { model: &'a str, method: gemini::Method },
}

impl<'a> Endpoint<'a> {
    /// Recognised by the end of the path, so that every mount serves.
    fn at(path: &'a str) -> Option<Self> {
        if let Some((model, method)) = gemini::model_and_method(path) {
            return Some(Self::Gemini { model, method });
        }
        if let Some((_, model)) = path.split_once("/models/") {
            return Some(Self::Model(model));
        }
        const SUFFIXES: [(&str, Endpoint<'static>); 13] = [
            ("/models", Endpoint::Models),
            ("/chat/completions", Endpoint::ChatCompletions),
            ("/completions", Endpoint::Completions),
            ("/responses", Endpoint::Responses),
            ("/embeddings", Endpoint::Embeddings),
            ("/images/generations", Endpoint::Images),
            ("/images/edits", Endpoint::Images),
            ("/audio/speech", Endpoint::Speech),
            ("/audio/transcriptions", Endpoint::Transcriptions),
            ("/audio/translations", Endpoint::Transcriptions),
            ("/messages", Endpoint::Messages),
            ("/messages/count_tokens", Endpoint::CountTokens),
            ("/health", Endpoint::Health),
        ];
        if path == "/" {
            return Some(Self::Health);
        }
        SUFFIXES.iter().find(|(suffix, _)| path.ends_with(suffix)).map(|(_, endpoint)| *endpoint)
    }

    fn vendor(self) -> Vendor {
        match self {
            Self::Messages | Self::CountTokens => Vendor::Anthropic,
            Self::Gemini { .. } => Vendor::Gemini,
            _ => Vendor::OpenAi,
        }
    }

    fn is_read_only(self) -> bool {
        matches!(self, Self::Health | Self::Models | Self::Model(_))
    }
}

/// Answers one request.
pub(super) async fn answer(mut call: Call, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let Some(endpoint) = Endpoint::at(&path) else {
        let message = format!("Unknown request URL: {} {path}", request.method());
        return reply::error(&call, Vendor::OpenAi, StatusCode::NOT_FOUND, &message);
    };
    if call.wish.fault == Some(Fault::EarlyAnswer) {
        return reply::error(
            &call,
            endpoint.vendor(),
            StatusCode::PAYLOAD_TOO_LARGE,
            "answered before the upload's end",
        );
    }
    if endpoint == Endpoint::Responses && openai_sockets::is_upgrade(request.headers()) {
        return openai_sockets::accept(call, request).await;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read != endpoint.is_read_only() {
        let message = format!("Not allowed: {} {path}", request.method());
        return reply::error(&call, endpoint.vendor(), StatusCode::METHOD_NOT_ALLOWED, &message);
    }
    let asked = match body::read(request).await {
        Ok(asked) => asked,
        Err(error) => return reply::error(&call, endpoint.vendor(), StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let model = model_of(endpoint, &path, &asked);
    call.wish.heed_model(&model);
    if let Some(Fault::Error(status)) = call.wish.fault {
        return reply::error(
            &call,
            endpoint.vendor(),
            status,
            &format!("The mock fails with {} as wished.", status.as_u16()),
        );
    }
    answer_endpoint(&call, endpoint, model, &asked)
}

fn answer_endpoint(call: &Call, endpoint: Endpoint<'_>, model: String, asked: &Value) -> Response {
    match endpoint {
        Endpoint::Health => reply::json(call, &json!({"status": "ok"})),
        Endpoint::Models => openai_lists::models(call),
        Endpoint::Model(id) => openai_lists::model(call, id),
        Endpoint::ChatCompletions => openai_chat::chat(call, model, asked),
        Endpoint::Completions => openai_chat::completion(call, model, asked),
        Endpoint::Responses => openai_responses::answer(call, model, asked),
        Endpoint::Embeddings => openai_lists::embeddings(call, &model, asked),
        Endpoint::Images => openai_images::answer(call, asked),
        Endpoint::Speech => openai_audio::speech(call, asked),
        Endpoint::Transcriptions => openai_audio::transcription(call, asked),
        Endpoint::Messages => anthropic::messages(call, model, asked),
        Endpoint::CountTokens => anthropic::count_tokens(call, model, asked),
        Endpoint::Gemini { method, .. } => gemini::answer(call, model, method, asked),
    }
}

/// The model asked for: in Gemini's and Azure's paths, else in the body.
fn model_of(endpoint: Endpoint<'_>, path: &str, asked: &Value) -> String {
    if let Endpoint::Gemini { model, .. } = endpoint {
        return model.to_owned();
    }
    let deployment = path.split_once("/deployments/").and_then(|(_, rest)| rest.split('/').next());
    match (text_at(asked, "model"), deployment) {
        ("", Some(deployment)) => deployment.to_owned(),
        ("", None) => "mock".to_owned(),
        (model, _) => model.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mount_of_an_endpoint_is_that_endpoint() {
        for path in ["/v1/chat/completions", "/chat/completions", "/openai/deployments/gpt/chat/completions"] {
            assert_eq!(Endpoint::at(path), Some(Endpoint::ChatCompletions), "{path}");
        }
        assert_eq!(Endpoint::at("/v1/completions"), Some(Endpoint::Completions));
        assert_eq!(Endpoint::at("/v1/models/mock"), Some(Endpoint::Model("mock")));
        assert_eq!(Endpoint::at("/v1/nothing"), None);
        let stream = Endpoint::Gemini { model: "m", method: gemini::Method::StreamGenerateContent };
        assert_eq!(Endpoint::at("/v1beta/models/m:streamGenerateContent"), Some(stream));
    }

    #[test]
    fn an_azure_deployment_is_the_model_where_the_body_names_none() {
        let path = "/openai/deployments/gpt-x/chat/completions";
        assert_eq!(model_of(Endpoint::ChatCompletions, path, &json!({})), "gpt-x");
        assert_eq!(model_of(Endpoint::ChatCompletions, path, &json!({"model": "m"})), "m");
    }
}
