//! What the conventions for generative AI want to know: operation, provider, models, settings, tokens.

use super::attributes::Attributes;
use crate::json::Json;
use crate::protocol::{self, Protocol};
use crate::session;
use crate::trace::asked::Asked;
use crate::trace::view::{Answer, TraceView};
use crate::trace::{Row, Usage};

/// A stream says its model and id in one of its first events.
const OPENING_EVENTS: usize = 16;

/// What an exchange asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// The word of the conventions where they have one (`gen_ai.operation.name`).
    pub(super) name: &'static str,
    /// The model asked for.
    pub(super) model: Option<String>,
}

/// Adds everything that is known; `None` if the exchange is none with a model.
pub(super) fn describe(attributes: &mut Attributes, row: &Row, trace: &TraceView<'_>) -> Option<Operation> {
    let name = operation(row.protocol, trace.target)?;
    let body = trace.request_json.map(|text| session::unwrapped_request(row.protocol, Json::new(text)));
    let asked = trace.request_json.map_or_else(Asked::default, |_| body.map_or_else(Asked::default, Asked::of));
    let model = protocol::model_wanted(trace.target, &asked);
    attributes.text("gen_ai.operation.name", name);
    attributes.text("gen_ai.provider.name", provider(row.protocol, trace.target));
    attributes.text_if("gen_ai.request.model", model.clone());
    attributes.flag("gen_ai.request.stream", row.stream == Some(true));
    attributes.text_if("gen_ai.output.type", output_type(row.protocol, trace.target));
    attributes.text_if("gen_ai.conversation.id", asked.conversation.and_then(conversation));
    if let Some(body) = body {
        settings(attributes, body);
    }
    let (id, answering) = answered(trace.answer);
    attributes.text_if("gen_ai.response.id", id);
    attributes.text_if("gen_ai.response.model", answering);
    attributes.texts("gen_ai.response.finish_reasons", row.finish_reason.clone());
    attributes.real("gen_ai.response.time_to_first_chunk", row.first_event_ms.map(|it| it as f64 / 1000.0));
    usage(attributes, row.protocol, &row.usage);
    Some(Operation { name, model })
}

/// `chat`, `generate_content`, `text_completion` and `embeddings` are the conventions' own; `count_tokens` is ours.
fn operation(protocol: Protocol, target: &str) -> Option<&'static str> {
    let path = path(target);
    Some(match protocol {
        Protocol::Messages if path.ends_with("/count_tokens") => "count_tokens",
        Protocol::Gemini if path.ends_with(":countTokens") => "count_tokens",
        Protocol::Gemini if !path.to_ascii_lowercase().ends_with("generatecontent") => return None,
        Protocol::Chat | Protocol::Responses | Protocol::Messages | Protocol::Realtime => "chat",
        Protocol::Completions => "text_completion",
        Protocol::Embeddings => "embeddings",
        Protocol::Gemini | Protocol::Images | Protocol::Audio => "generate_content",
        Protocol::Models | Protocol::Unknown => return None,
    })
}

/// Whose form the exchange has, which need not be who answers: `server.address` says to whom it was sent.
fn provider(protocol: Protocol, target: &str) -> &'static str {
    let path = path(target);
    let is_vertex = path.contains("/publishers/") || (path.contains("/projects/") && path.contains("/locations/"));
    let is_bedrock = path.contains("/model/") && path.contains("/invoke");
    match protocol {
        _ if is_vertex => "gcp.vertex_ai",
        _ if is_bedrock => "aws.bedrock",
        _ if path.contains("/openai/deployments/") => "azure.ai.openai",
        Protocol::Messages => "anthropic",
        Protocol::Gemini => "gcp.gemini",
        Protocol::Embeddings if path.ends_with("mbedContent") || path.ends_with("mbedContents") => "gcp.gemini",
        _ => "openai",
    }
}

fn output_type(protocol: Protocol, target: &str) -> Option<&'static str> {
    match protocol {
        Protocol::Images => Some("image"),
        Protocol::Audio if path(target).ends_with("/speech") => Some("speech"),
        Protocol::Audio => Some("text"),
        _ => None,
    }
}

fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

fn conversation(of: Json<'_>) -> Option<String> {
    let id = if of.is_object() { of.get("id")? } else { of };
    id.string().filter(|it| !it.is_empty()).map(Into::into)
}

/// How the model was set, in any protocol's spelling.
fn settings(attributes: &mut Attributes, body: Json<'_>) {
    let nested = body.get("generationConfig").or_else(|| body.get("generation_config"));
    let find = |names: [&str; 2]| {
        let within = |of: Json<'_>| of.pick(names).into_iter().flatten().find_map(|it| it.text().parse::<f64>().ok());
        within(body).or_else(|| nested.and_then(within))
    };
    let whole = |number: Option<f64>| number.filter(|it| it.fract() == 0.0 && it.abs() < 9e15).map(|it| it as i64);
    let most_tokens = find(["max_tokens", "max_completion_tokens"]).or(find(["max_output_tokens", "maxOutputTokens"]));
    attributes.number("gen_ai.request.max_tokens", whole(most_tokens));
    attributes.real("gen_ai.request.temperature", find(["temperature", "temperature"]));
    attributes.real("gen_ai.request.top_p", find(["top_p", "topP"]));
    attributes.real("gen_ai.request.top_k", find(["top_k", "topK"]));
    attributes.real("gen_ai.request.frequency_penalty", find(["frequency_penalty", "frequencyPenalty"]));
    attributes.real("gen_ai.request.presence_penalty", find(["presence_penalty", "presencePenalty"]));
    attributes.number("gen_ai.request.seed", whole(find(["seed", "seed"])));
    attributes.number("gen_ai.request.choice.count", whole(find(["n", "candidateCount"])).filter(|it| *it != 1));
}

/// The answer's own id, and the model that it names.
fn answered(answer: Answer<'_>) -> (Option<String>, Option<String>) {
    match answer {
        Answer::None => (None, None),
        Answer::Json(text) => of_answer(Json::new(text)),
        Answer::Events(events) => {
            let said =
                events.iter().take(OPENING_EVENTS).filter_map(|it| it.data.json()).map(|it| of_answer(Json::new(it)));
            said.fold((None, None), |(id, model), next| (id.or(next.0), model.or(next.1)))
        }
    }
}

fn of_answer(answer: Json<'_>) -> (Option<String>, Option<String>) {
    // Messages and Responses nest it in their opening events.
    let [message, response] = answer.pick(["message", "response"]);
    let nested = message.or(response).filter(|it| it.is_object());
    let [id, model, response_id, version] =
        nested.unwrap_or(answer).pick(["id", "model", "responseId", "modelVersion"]);
    let text = |value: Option<Json<'_>>| value.and_then(Json::string).filter(|it| !it.is_empty()).map(Into::into);
    // An event's own id is another thing; one of an answer stands beside its model.
    let model = text(model.or(version));
    (text(id.or(response_id)).filter(|_| model.is_some()), model)
}

/// The conventions count cached tokens as part of the input, and those of reasoning as part of the output.
fn usage(attributes: &mut Attributes, protocol: Protocol, usage: &Usage) {
    let more = |more: Option<i64>| more.unwrap_or(0);
    let (input, output) = match protocol {
        // Anthropic tells the three apart.
        Protocol::Messages => (
            usage.prompt.map(|it| it.saturating_add(more(usage.cached)).saturating_add(more(usage.cache_creation))),
            usage.completion,
        ),
        // Gemini's candidates are without thoughts.
        Protocol::Gemini => (usage.prompt, usage.completion.map(|it| it.saturating_add(more(usage.reasoning)))),
        _ => (usage.prompt, usage.completion),
    };
    attributes.number("gen_ai.usage.input_tokens", input);
    attributes.number("gen_ai.usage.output_tokens", output);
    attributes.number("gen_ai.usage.cache_read.input_tokens", usage.cached);
    attributes.number("gen_ai.usage.cache_creation.input_tokens", usage.cache_creation);
    attributes.number("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_and_provider_follow_from_the_path() {
        for (target, expected, provider_name) in [
            ("/v1/chat/completions", Some("chat"), "openai"),
            ("/v1/responses", Some("chat"), "openai"),
            ("/v1/completions", Some("text_completion"), "openai"),
            ("/v1/embeddings", Some("embeddings"), "openai"),
            ("/v1/images/generations", Some("generate_content"), "openai"),
            ("/openai/deployments/d/chat/completions?api-version=1", Some("chat"), "azure.ai.openai"),
            ("/v1/messages?beta=true", Some("chat"), "anthropic"),
            ("/v1/messages/count_tokens", Some("count_tokens"), "anthropic"),
            ("/model/anthropic.claude/invoke", Some("chat"), "aws.bedrock"),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
                Some("generate_content"),
                "gcp.vertex_ai",
            ),
            ("/v1beta/models/g:streamGenerateContent?alt=sse", Some("generate_content"), "gcp.gemini"),
            ("/v1beta/models/g:countTokens", Some("count_tokens"), "gcp.gemini"),
            ("/v1beta/models/g:embedContent", Some("embeddings"), "gcp.gemini"),
            ("/v1beta/files", None, "gcp.gemini"),
            ("/v1/models", None, "openai"),
            ("/elsewhere", None, "openai"),
        ] {
            let protocol = Protocol::of("POST", target);
            assert_eq!(
                (operation(protocol, target), provider(protocol, target)),
                (expected, provider_name),
                "{target}"
            );
        }
    }

    #[test]
    fn settings_are_read_in_any_spelling_and_never_guessed() {
        let read = |body: &str| {
            let mut attributes = Attributes::default();
            settings(&mut attributes, Json::new(body));
            attributes.0.iter().map(|it| format!("{} {:?}", it.key, it.value)).collect::<Vec<_>>().join("\n")
        };
        let chat = read(r#"{"max_completion_tokens":5,"temperature":0.5,"n":2,"seed":7,"top_p":"x","stop":["a"]}"#);
        assert_eq!(chat.lines().count(), 4, "{chat}");
        let gemini =
            read(r#"{"generationConfig":{"maxOutputTokens":5,"temperature":0.5,"candidateCount":2,"seed":7}}"#);
        assert_eq!(gemini, chat);
        assert_eq!(read(r#"{"n":1,"max_tokens":1.5,"seed":null}"#), "");
    }
}
