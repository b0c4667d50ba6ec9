//! Which path speaks which protocol, and what a path says beside it.

use std::borrow::Cow;

use super::Protocol::{self, *};

/// The table: which path speaks which protocol, and whether asking there is asking for a stream. The first row that
/// fits counts.
///
/// A row's segments are looked for in the path without its query, wherever they stand, so that mounts
/// (`/openrouter/api/v1/…`, `/openai/deployments/D/…`) and what lies below an endpoint (`/v1/responses/{id}`) are of
/// its family. `*` is any segment; `*:verb` is one that ends in `:verb`, and only the path's last. A row of one
/// plain segment is too common a word to be taken anywhere: it fits at the path's start or end, or behind a version
/// (`v1`), `openai` or a deployment's name.
const PATHS: &[(&[&str], Protocol, Asks)] = &[
    // Vertex: the vendor's own body behind Google's verbs.
    (&["publishers", "anthropic", "models", "*:rawPredict"], Messages, Asks::ByBody),
    (&["publishers", "anthropic", "models", "*:streamRawPredict"], Messages, Asks::Stream),
    (&["publishers", "mistralai", "models", "*:rawPredict"], Chat, Asks::ByBody),
    (&["publishers", "mistralai", "models", "*:streamRawPredict"], Chat, Asks::Stream),
    // Gemini, on its own API, on Vertex, and on the one of its command line (`/v1internal:generateContent`).
    (&["*:generateContent"], Gemini, Asks::ByBody),
    (&["*:streamGenerateContent"], Gemini, Asks::Stream),
    (&["*:countTokens"], Gemini, Asks::ByBody),
    (&["*:embedContent"], Embeddings, Asks::ByBody),
    (&["*:batchEmbedContents"], Embeddings, Asks::ByBody),
    // Bedrock's shape. Its bodies are the vendors' own; Anthropic's are the ones that clients send there, and other
    // vendors' have no field of that name. The model may be an alias, so that it does not tell.
    (&["model", "*", "invoke"], Messages, Asks::ByBody),
    (&["model", "*", "invoke-with-response-stream"], Messages, Asks::Stream),
    (&["chat", "completions"], Chat, Asks::ByBody),
    (&["images", "generations"], Images, Asks::ByBody),
    (&["images", "edits"], Images, Asks::ByBody),
    (&["images", "variations"], Images, Asks::ByBody),
    (&["audio", "speech"], Audio, Asks::ByBody),
    (&["audio", "transcriptions"], Audio, Asks::ByBody),
    (&["audio", "translations"], Audio, Asks::ByBody),
    (&["completions"], Completions, Asks::ByBody),
    (&["embeddings"], Embeddings, Asks::ByBody),
    (&["embed"], Embeddings, Asks::ByBody),
    (&["responses", "compact"], Responses, Asks::ByBody),
    (&["responses"], Responses, Asks::ByBody),
    // The messages of an Assistants thread are records, not the Messages API.
    (&["threads", "*", "messages"], Unknown, Asks::ByBody),
    (&["messages", "count_tokens"], Messages, Asks::ByBody),
    (&["messages", "batches"], Messages, Asks::ByBody),
    (&["messages"], Messages, Asks::ByBody),
    (&["realtime"], Realtime, Asks::ByBody),
    (&["models"], Models, Asks::ByBody),
    // Whatever else Gemini's own version holds (files, caches) is of its family, but not its OpenAI mount.
    (&["v1beta", "openai"], Unknown, Asks::ByBody),
    (&["v1beta", "*"], Gemini, Asks::ByBody),
];

/// How a request says that it wants a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// By a member of its body, if at all.
    ByBody,
    /// By its path.
    Stream,
}

/// The protocol that is spoken at this target.
pub(super) fn protocol(target: &str) -> Protocol {
    row(target).map_or(Unknown, |(protocol, _)| protocol)
}

/// Whether the path itself asks for a stream.
pub(super) fn asks_for_stream(target: &str) -> bool {
    row(target).is_some_and(|(_, asks)| asks == Asks::Stream)
}

/// The model or deployment that the path names: `/deployments/D/…`, `/models/M:verb`, `/tunedModels/T:verb`,
/// `/model/M/invoke`.
pub(super) fn model(target: &str) -> Option<String> {
    let segments = segments(target);
    let named = segments.windows(2).find_map(|pair| match pair[0] {
        "deployments" | "model" => Some(pair[1]),
        "models" | "tunedModels" => split_verb(pair[1]).map(|(model, _)| model),
        _ => None,
    })?;
    Some(percent_decoded(named).into_owned()).filter(|model| !model.is_empty())
}

/// The value of a query parameter of this name, decoded; an empty one counts as absent.
pub(super) fn parameter(target: &str, wanted: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == wanted)?;
    Some(percent_decoded(found.1).into_owned()).filter(|value| !value.is_empty())
}

fn row(target: &str) -> Option<(Protocol, Asks)> {
    let path = segments(target);
    let found = PATHS.iter().find(|(pattern, ..)| fits(pattern, &path))?;
    Some((found.1, found.2))
}

fn segments(target: &str) -> Vec<&str> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn fits(wanted: &[&str], path: &[&str]) -> bool {
    // Nearly all rows end here.
    let [first, ..] = wanted else { return false };
    if !first.starts_with('*') && !path.contains(first) {
        return false;
    }
    path.windows(wanted.len()).enumerate().any(|(at, found)| {
        let is_last = at + wanted.len() == path.len();
        wanted.iter().zip(found).all(|(wanted, found)| match wanted.strip_prefix('*') {
            None => wanted == found,
            Some("") => true,
            // Left of the verb's colon there may be other colons: `ft:gpt-4o:org::id`.
            Some(verb) => is_last && split_verb(found).is_some_and(|(_, it)| it == &verb[1..]),
        }) && (wanted.len() > 1 || first.starts_with('*') || is_last || is_anchored(path, at))
    })
}

/// Whether an endpoint may start here, with more behind it.
fn is_anchored(path: &[&str], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    let is_version =
        path[before].strip_prefix('v').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
    is_version || path[before] == "openai" || (before > 0 && path[before - 1] == "deployments")
}

/// `M:verb` as model and verb. Some clients encode the colon.
fn split_verb(segment: &str) -> Option<(&str, &str)> {
    let encoded = || segment.rsplit_once("%3A").or_else(|| segment.rsplit_once("%3a"));
    segment.rsplit_once(':').or_else(|| if segment.contains('%') { encoded() } else { None })
}

/// `%XX` undone (RFC 3986 §2.1). What is no UTF-8 afterwards stays as it was.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                // Two hex digits: at most 255.
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_speak_the_protocol_of_their_endpoint() {
        for (target, expected) in [
            ("/v1/chat/completions", Chat),
            ("/chat/completions", Chat),
            ("/api/v1/chat/completions?x=1", Chat),
            ("/openai/v1/chat/completions/", Chat),
            ("//v1//chat/completions", Chat),
            ("http://gateway:4000/v1/chat/completions", Chat),
            ("/openai/deployments/D/chat/completions?api-version=2024-10-21", Chat),
            ("/v1beta/openai/chat/completions", Chat),
            ("/v1/projects/P/locations/L/endpoints/openapi/chat/completions", Chat),
            ("/hf-inference/models/org/M/v1/chat/completions", Chat),
            ("/models/chat/completions?api-version=2024-05-01-preview", Chat),
            ("/v1/chat/completions/chatcmpl-1/messages", Chat),
            ("/v1/projects/P/locations/L/publishers/mistralai/models/M:rawPredict", Chat),
            ("/v1/completions", Completions),
            ("/openai/deployments/D/completions", Completions),
            ("/v1/responses", Responses),
            ("/responses", Responses),
            ("/v1/responses/resp_1", Responses),
            ("/v1/responses/resp_1/input_items?limit=3", Responses),
            ("/openai/responses?api-version=x", Responses),
            ("/openai/v1/responses/resp_1/cancel", Responses),
            ("/backend-api/codex/responses", Responses),
            ("/backend-api/codex/responses/compact", Responses),
            ("/v1/messages", Messages),
            ("/anthropic/v1/messages?beta=true", Messages),
            ("/messages", Messages),
            ("/v1/messages/count_tokens", Messages),
            ("/v1/messages/batches/b1/results", Messages),
            ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", Messages),
            ("/bedrock/model/anthropic.claude-3-haiku-20240307-v1:0/invoke-with-response-stream", Messages),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude-x@001:rawPredict", Messages),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude-x@001:streamRawPredict", Messages),
            ("/v1/threads/t1/messages", Unknown),
            ("/v1beta/models/gemini-x:generateContent", Gemini),
            ("/v1/models/gemini-x:generateContent", Gemini),
            ("/v1alpha/models/gemini-x:streamGenerateContent?alt=sse", Gemini),
            ("/v1beta/tunedModels/T:generateContent", Gemini),
            ("/v1beta/models/gemini-x%3AstreamGenerateContent", Gemini),
            ("/v1/projects/P/locations/L/publishers/google/models/M:streamGenerateContent", Gemini),
            ("/v1internal:streamGenerateContent?alt=sse", Gemini),
            ("/v1beta/models/gemini-x:countTokens", Gemini),
            ("/v1beta/cachedContents", Gemini),
            ("/upload/v1beta/files", Gemini),
            ("/v1beta/models/e:embedContent", Embeddings),
            ("/v1beta/models/e:batchEmbedContents", Embeddings),
            ("/v1/embeddings", Embeddings),
            ("/openai/deployments/D/embeddings?api-version=x", Embeddings),
            ("/api/embed", Embeddings),
            ("/v1/images/generations", Images),
            ("/v1/images/edits", Images),
            ("/v1/images/variations", Images),
            ("/openai/deployments/D/images/generations", Images),
            ("/v1/audio/speech", Audio),
            ("/v1/audio/transcriptions", Audio),
            ("/openai/deployments/D/audio/translations", Audio),
            ("/v1/realtime?model=gpt-realtime", Realtime),
            ("/openai/realtime?deployment=D", Realtime),
            ("/v1/realtime/client_secrets", Realtime),
            ("/v1/models", Models),
            ("/models", Models),
            ("/v1/models/ft:gpt-4o:org::id", Models),
            ("/v1beta/models?pageSize=50", Models),
            ("/v1beta/openai/models", Models),
            ("/v1beta/openai/files", Unknown),
            ("/v1/messagesque", Unknown),
            ("/v1/files?next=/v1/messages", Unknown),
            ("/responses/of/something/else", Responses),
            ("/blog/responses/latest", Unknown),
            ("/", Unknown),
            ("", Unknown),
            ("*", Unknown),
        ] {
            assert_eq!(protocol(target), expected, "{target}");
        }
    }

    #[test]
    fn only_streaming_verbs_ask_for_a_stream_by_path() {
        assert!(asks_for_stream("/v1beta/models/M:streamGenerateContent"));
        assert!(asks_for_stream("/model/M/invoke-with-response-stream"));
        assert!(asks_for_stream("/v1/p/publishers/anthropic/models/M:streamRawPredict"));
        assert!(!asks_for_stream("/v1beta/models/M:generateContent?alt=sse"));
        assert!(!asks_for_stream("/v1/chat/completions"));
    }

    #[test]
    fn models_are_read_from_paths_that_name_them() {
        for (target, expected) in [
            ("/openai/deployments/my-gpt/chat/completions?api-version=1", Some("my-gpt")),
            ("/v1beta/models/gemini-2.5-pro:generateContent", Some("gemini-2.5-pro")),
            ("/v1beta/tunedModels/t-1:streamGenerateContent", Some("t-1")),
            ("/v1/projects/P/locations/L/publishers/google/models/M:streamGenerateContent", Some("M")),
            ("/model/anthropic.claude-v2%3A1/invoke", Some("anthropic.claude-v2:1")),
            ("/model/anthropic.claude-v2:1/invoke", Some("anthropic.claude-v2:1")),
            ("/models/chat/completions", None),
            ("/v1/models", None),
            ("/v1/chat/completions", None),
            ("/v1beta/models/:generateContent", None),
        ] {
            assert_eq!(model(target).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(parameter("/v1/realtime?a=b&model=gpt%2Drealtime", "model").as_deref(), Some("gpt-realtime"));
        assert_eq!(parameter("/v1/realtime?model=", "model"), None);
        assert_eq!(parameter("/v1/realtime", "model"), None);
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
        assert_eq!(percent_decoded("%ff"), "%ff");
    }

    proptest! {
        #[test]
        fn any_target_is_read_without_a_panic(target in ".*") {
            let _ = (protocol(&target), asks_for_stream(&target), model(&target), parameter(&target, "model"));
        }

        #[test]
        fn a_mount_changes_nothing(mount in "(/[a-z]{1,8}){0,3}") {
            prop_assume!(!mount.contains("threads"));
            prop_assert_eq!(protocol(&format!("{mount}/v1/chat/completions")), Chat);
            prop_assert_eq!(protocol(&format!("{mount}/v1/messages")), Messages);
            prop_assert_eq!(protocol(&format!("{mount}/v1/responses")), Responses);
        }
    }
}
