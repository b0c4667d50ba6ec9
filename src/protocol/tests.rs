//! What every protocol's answers give: whole, streamed, cut and failed.

use proptest::prelude::*;

use super::samples::{Stream, read, read_status, read_stream, sample, view};
use super::*;
use crate::headers::Headers;
use crate::trace::view::{EventData, EventView};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// Prompt, completion, total, cached, cache creation, reasoning.
fn counts(said: &Extracted) -> [Option<i64>; 6] {
    let usage = said.usage;
    [usage.prompt, usage.completion, usage.total, usage.cached, usage.cache_creation, usage.reasoning]
}

/// Model, stream, finish, error.
fn words(said: &Extracted) -> (Option<&str>, Option<bool>, Option<&str>, Option<&str>) {
    (said.model.as_deref(), said.stream, said.finish_reason.as_deref(), said.error_type.as_deref())
}

fn ends(said: &Extracted) -> (bool, bool) {
    (said.stream_done, said.answer_was_whole)
}

#[test]
fn names_are_their_own_way_back() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
    }
    assert_eq!(Protocol::from_name("Chat"), None);
}

mod chat {
    use super::*;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(CHAT, r#"{"model":"gpt-4.1","stream":false}"#, Answer::Json(sample!("chat.json")));
        assert_eq!(counts(&said), [Some(19), Some(10), Some(29), Some(4), None, Some(3)]);
        assert_eq!(words(&said), (Some("gpt-4.1-2025-04-14"), Some(false), Some("stop"), None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_stream_gives_every_column() {
        let said =
            read_stream(CHAT, r#"{"model":"gpt-4o-mini","stream":true}"#, &Stream::of(sample!("chat.sse")), true);
        assert_eq!(counts(&said), [Some(19), Some(10), Some(29), Some(4), None, Some(3)]);
        assert_eq!(words(&said), (Some("gpt-4o-mini-2024-07-18"), Some(true), Some("stop"), None));
        assert_eq!(ends(&said), (true, true));
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(CHAT, "", &Stream::of(sample!("chat.sse")).cut(3), false);
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("gpt-4o-mini-2024-07-18"), Some(true), Some("stop"), None));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream(CHAT, r#"{"model":"asked"}"#, &Stream::of("").cut(0), false);
        assert_eq!(words(&said), (Some("asked"), Some(true), None, None));
    }

    #[test]
    fn vendors_places_for_usage_are_known() {
        for chunk in [
            r#"{"choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":5,"completion_tokens":2}}}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":2}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":""}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
            r#"{"\u0075sage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        ] {
            let first = r#"data: {"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}"#;
            let text = format!("{first}\n\ndata: {chunk}\n\n");
            let said = read_stream(CHAT, "", &Stream::of(&text), true);
            assert_eq!(counts(&said)[..3], [Some(5), Some(2), Some(7)], "{chunk}");
        }
    }

    #[test]
    fn of_several_reports_the_last_counts() {
        let text = "data: {\"model\":\"\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"total_tokens\":6}}\n\n\
                    data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"total_tokens\":14}}\n\n\
                    data: {\"model\":\"n\",\"usage\":null}\n\n";
        let said = read_stream(CHAT, "", &Stream::of(text), true);
        assert_eq!(counts(&said)[..3], [Some(5), Some(9), Some(14)]);
        assert_eq!(said.model.as_deref(), Some("m"));
    }

    #[test]
    fn the_first_choice_says_why_it_ended() {
        let text = "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"length\"}]}\n\n\
                    data: {\"choices\":[{\"index\":0,\"finish_reason\":\"tool_calls\"}]}\n\n\
                    data: {\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"},{\"finish_reason\":\"\"}]}\n\n";
        let said = read_stream(CHAT, "", &Stream::of(text), true);
        assert_eq!(said.finish_reason.as_deref(), Some("tool_calls"));
    }

    #[test]
    fn an_error_in_a_stream_ends_it_without_making_it_done() {
        for event in [
            r#"data: {"error":{"message":"m","type":"None","code":"503"}}"#,
            "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"503\"}}",
            r#"data: {"object":"error","message":"m","code":503}"#,
        ] {
            let text = format!("data: {{\"model\":\"m\",\"choices\":[]}}\n\n{event}\n\n");
            let said = read_stream(CHAT, "", &Stream::of(&text), true);
            assert_eq!(said.error_type.as_deref(), Some("503"), "{event}");
            assert_eq!(ends(&said), (false, true), "{event}");
        }
    }

    #[test]
    fn azure_has_its_model_from_the_answer_else_from_the_path() {
        let target = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
        let said = read(target, r#"{"messages":[]}"#, Answer::Json(sample!("chat.json")));
        assert_eq!(said.model.as_deref(), Some("gpt-4.1-2025-04-14"));
        let error = r#"{"error":{"code":"DeploymentNotFound","message":"m"}}"#;
        let said = read_status(target, r#"{"messages":[]}"#, Answer::Json(error), 404);
        assert_eq!(words(&said), (Some("my-gpt"), None, None, Some("DeploymentNotFound")));
    }

    #[test]
    fn wrong_types_are_absent_and_spoil_nothing() {
        let odd = r#"{"model":7,"choices":[3,null,{"finish_reason":{}}],"usage":{"prompt_tokens":"1","completion_tokens":2.5,
            "total_tokens":3},"x_groq":1e400,"error":"\ud800","model":"\ud800"}"#;
        let said = read(CHAT, r#"{"model":"asked","stream":"yes"}"#, Answer::Json(odd));
        assert_eq!(counts(&said), [None, None, Some(3), None, None, None]);
        assert_eq!(words(&said), (Some("asked"), None, None, None));
    }

    #[test]
    fn legacy_completions_are_read_alike() {
        let said = read("/v1/completions", "", Answer::Json(sample!("completions.json")));
        assert_eq!(counts(&said)[..3], [Some(5), Some(7), Some(12)]);
        assert_eq!(words(&said), (Some("gpt-3.5-turbo-instruct"), None, Some("length"), None));
        let stream = Stream::of(sample!("completions.sse"));
        let said = read_stream("/v1/completions", r#"{"stream":true}"#, &stream, true);
        assert_eq!(counts(&said)[..3], [Some(5), Some(7), Some(12)]);
        assert_eq!(words(&said), (Some("gpt-3.5-turbo-instruct"), Some(true), Some("length"), None));
        assert_eq!(ends(&said), (true, true));
    }
}

mod responses {
    use super::*;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(RESPONSES, r#"{"model":"gpt-4.1","input":"x"}"#, Answer::Json(sample!("responses.json")));
        assert_eq!(counts(&said), [Some(36), Some(87), Some(123), Some(8), None, Some(20)]);
        assert_eq!(words(&said), (Some("gpt-4.1"), None, Some("completed"), None));
    }

    #[test]
    fn a_stream_gives_every_column_with_and_without_names() {
        let named = Stream::of(sample!("responses.sse"));
        let nameless = Stream::of(sample!("responses.sse")).nameless();
        for stream in [named, nameless] {
            let said = read_stream(RESPONSES, r#"{"model":"gpt-4.1","stream":true}"#, &stream, true);
            assert_eq!(counts(&said), [Some(37), Some(11), Some(48), Some(8), None, Some(2)]);
            assert_eq!(words(&said), (Some("gpt-4.1"), Some(true), Some("completed"), None));
            assert_eq!(ends(&said), (true, true));
        }
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(RESPONSES, "", &Stream::of(sample!("responses.sse")).cut(3), false);
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("gpt-4.1-2025-04-14"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_failed_or_incomplete_stream_tells_its_status_and_is_whole_but_not_done() {
        let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\
            \"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"},\"model\":\"m\",\"usage\":null}}\n\n";
        let said = read_stream(RESPONSES, "", &Stream::of(failed), true);
        assert_eq!(words(&said), (Some("m"), Some(true), Some("failed"), Some("server_error")));
        assert_eq!(ends(&said), (false, true));

        let incomplete = "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"error\":null,\
            \"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\n\n\
            data: {\"type\":\"unrelated\"}\n\n";
        let said = read_stream(RESPONSES, "", &Stream::of(incomplete), true);
        assert_eq!(counts(&said)[..3], [Some(3), Some(4), Some(7)]);
        assert_eq!(said.finish_reason.as_deref(), Some("incomplete"));
        assert_eq!(ends(&said), (false, true));
    }

    #[test]
    fn error_events_are_read_flat_and_nested() {
        for event in [
            r#"data: {"type":"error","code":"rate_limit","message":"m","param":null,"sequence_number":1}"#,
            r#"data: {"type":"error","status":400,"error":{"type":"rate_limit","message":"m"}}"#,
            r#"data: {"error":{"code":"rate_limit","message":"m"}}"#,
        ] {
            let text = format!("{event}\n\n");
            let said = read_stream(RESPONSES, "", &Stream::of(&text), true);
            assert_eq!(said.error_type.as_deref(), Some("rate_limit"), "{event}");
            assert_eq!(ends(&said), (false, true));
        }
    }

    #[test]
    fn a_sockets_request_may_nest_its_model() {
        let request = r#"{"type":"response.create","response":{"model":"gpt-5"}}"#;
        let said = read_stream(RESPONSES, request, &Stream::of(sample!("responses.sse")), true);
        assert_eq!(said.model.as_deref(), Some("gpt-5"));
    }
}

mod messages {
    use super::*;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(MESSAGES, r#"{"model":"claude-sonnet-4-5"}"#, Answer::Json(sample!("messages.json")));
        assert_eq!(counts(&said), [Some(12), Some(6), Some(18), Some(200), Some(30), None]);
        assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), None, Some("end_turn"), None));
    }

    #[test]
    fn a_stream_gives_every_column_with_and_without_names() {
        let named = Stream::of(sample!("messages.sse"));
        let nameless = Stream::of(sample!("messages.sse")).nameless();
        for stream in [named, nameless] {
            let said = read_stream(MESSAGES, r#"{"stream":true}"#, &stream, true);
            assert_eq!(counts(&said), [Some(25), Some(15), Some(40), Some(200), Some(30), None]);
            assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), Some(true), Some("end_turn"), None));
            assert_eq!(ends(&said), (true, true));
        }
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(MESSAGES, "", &Stream::of(sample!("messages.sse")).cut(4), false);
        assert_eq!(counts(&said), [Some(25), None, None, Some(200), Some(30), None]);
        assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn the_last_count_that_is_not_zero_counts() {
        let late = "data: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0,\"cache_read_input_tokens\":9}}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"input_tokens\":25,\"output_tokens\":7,\"cache_read_input_tokens\":0}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":0}}\n\n";
        let said = read_stream(MESSAGES, "", &Stream::of(late), true);
        assert_eq!(counts(&said), [Some(25), Some(7), Some(32), Some(9), None, None]);
        assert_eq!(said.finish_reason.as_deref(), Some("tool_use"));
    }

    #[test]
    fn errors_are_named_in_bodies_and_in_streams() {
        let body =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        let said = read_status(MESSAGES, r#"{"model":"claude","stream":true}"#, Answer::Json(body), 529);
        assert_eq!(words(&said), (Some("claude"), Some(true), None, Some("overloaded_error")));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream(MESSAGES, "", &Stream::of(sample!("messages-error.sse")), true);
        assert_eq!(counts(&said)[..2], [Some(25), None]);
        assert_eq!(said.error_type.as_deref(), Some("overloaded_error"));
        assert_eq!(ends(&said), (false, true));
    }

    #[test]
    fn sub_resources_have_null_fields() {
        let said = read("/v1/messages/count_tokens", r#"{"model":"claude"}"#, Answer::Json(r#"{"input_tokens":14}"#));
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("claude"), None, None, None));
    }

    #[test]
    fn bedrock_and_vertex_shapes_carry_the_same_bodies() {
        for (target, stream) in [
            ("/model/anthropic.claude-v2%3A1/invoke", None),
            ("/model/anthropic.claude-v2%3A1/invoke-with-response-stream", Some(true)),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude@1:rawPredict", None),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude@1:streamRawPredict", Some(true)),
        ] {
            let said = read(target, "{}", Answer::Json(sample!("messages.json")));
            assert_eq!(counts(&said)[..3], [Some(12), Some(6), Some(18)], "{target}");
            assert_eq!(said.stream, stream, "{target}");
        }
        let mut headers = Headers::new();
        headers.push("X-Amzn-ErrorType", b"ValidationException:http://internal.amazon.com/coral/");
        let target = "/model/anthropic.claude-v2%3A1/invoke";
        let trace = view(target, "{}", Answer::Json(r#"{"message":"m"}"#), 400, &headers);
        let said = extract(Protocol::Messages, &trace, false, true);
        assert_eq!(words(&said), (Some("anthropic.claude-v2:1"), None, None, Some("ValidationException")));
    }
}

mod gemini {
    use super::*;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let target = "/v1beta/models/gemini-2.5-flash:generateContent";
        let said = read(target, "{}", Answer::Json(sample!("gemini.json")));
        assert_eq!(counts(&said), [Some(8), Some(5), Some(713), Some(3), None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), None, Some("STOP"), None));
    }

    #[test]
    fn a_stream_gives_every_column_as_events_and_as_an_array() {
        let stream = Stream::of(sample!("gemini.sse"));
        let said = read_stream(GEMINI, "{}", &stream, true);
        assert_eq!(counts(&said), [Some(8), Some(5), Some(713), Some(3), None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), Some(true), Some("STOP"), None));
        assert_eq!(ends(&said), (true, true));

        let array = stream.events.iter().filter_map(|event| event.data.json()).collect::<Vec<_>>().join(",\n");
        let from_array = read(GEMINI, "{}", Answer::Json(&format!("[{array}]")));
        assert_eq!(counts(&from_array), counts(&said));
        assert_eq!(words(&from_array), words(&said));
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(GEMINI, "{}", &Stream::of(sample!("gemini.sse")).cut(2), false);
        assert_eq!(counts(&said), [Some(8), Some(3), Some(711), None, None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_stream_is_done_only_if_it_told_why_and_ended_in_order() {
        let stream = Stream::of(sample!("gemini.sse"));
        assert_eq!(ends(&read_stream(GEMINI, "{}", &stream, false)), (false, false));
        let cut = Stream::of(sample!("gemini.sse")).cut(2);
        assert_eq!(ends(&read_stream(GEMINI, "{}", &cut, true)), (false, false));
    }

    #[test]
    fn a_blocked_prompt_ends_with_its_reason() {
        let blocked =
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;
        let text = format!("data: {blocked}\n\n");
        let said = read_stream(GEMINI, "{}", &Stream::of(&text), true);
        assert_eq!(said.finish_reason.as_deref(), Some("SAFETY"));
        assert_eq!(ends(&said), (true, true));
    }

    #[test]
    fn a_missing_total_counts_the_thoughts() {
        let body = r#"{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1,"thoughtsTokenCount":7}}"#;
        assert_eq!(read(GEMINI, "{}", Answer::Json(body)).usage.total, Some(12));
    }

    #[test]
    fn snake_case_and_wrapped_elements_are_understood() {
        let snake = r#"{"candidates":[{"finish_reason":"STOP"}],"usage_metadata":{"prompt_token_count":4,"candidates_token_count":1}}"#;
        let wrapped = format!(r#"{{"response":{snake},"traceId":"t"}}"#);
        for body in [snake, &wrapped] {
            let said = read("/v1internal:generateContent", r#"{"model":"gemini-2.5-pro"}"#, Answer::Json(body));
            assert_eq!(counts(&said)[..3], [Some(4), Some(1), Some(5)], "{body}");
            assert_eq!(words(&said), (Some("gemini-2.5-pro"), None, Some("STOP"), None));
        }
    }

    #[test]
    fn errors_are_named_by_their_status_wherever_they_stand() {
        let error = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#;
        let array = format!("[{error}]");
        for body in [error, &array] {
            let said = read_status(GEMINI, "{}", Answer::Json(body), 429);
            assert_eq!(said.error_type.as_deref(), Some("RESOURCE_EXHAUSTED"), "{body}");
        }
        let text = format!("data: {error}\n\n");
        let said = read_stream(GEMINI, "{}", &Stream::of(&text), true);
        assert_eq!(said.error_type.as_deref(), Some("RESOURCE_EXHAUSTED"));
        assert_eq!(ends(&said), (false, true));
    }
}

mod others {
    use super::*;

    #[test]
    fn embeddings_of_every_vendor_are_counted() {
        let said = read("/v1/embeddings", r#"{"model":"ada"}"#, Answer::Json(sample!("embeddings.json")));
        assert_eq!(counts(&said)[..3], [Some(8), None, Some(8)]);
        assert_eq!(words(&said), (Some("text-embedding-ada-002"), None, None, None));

        let cohere = r#"{"id":"i","embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":3}}}"#;
        assert_eq!(read("/v2/embed", "", Answer::Json(cohere)).usage.prompt, Some(3));
        let ollama = r#"{"model":"all-minilm","embeddings":[[0.01]],"prompt_eval_count":8}"#;
        assert_eq!(read("/api/embed", "", Answer::Json(ollama)).usage.prompt, Some(8));
        let request = r#"{"model":"models/gemini-embedding-001"}"#;
        let target = "/v1beta/models/gemini-embedding-001:embedContent";
        let said = read(target, request, Answer::Json(r#"{"embedding":{"values":[0.1]}}"#));
        assert_eq!(said.model.as_deref(), Some("gemini-embedding-001"));
    }

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

    #[test]
    fn a_realtime_socket_sums_its_answers() {
        let stream = Stream::of(sample!("realtime.sse"));
        let said = read_stream("/v1/realtime?model=gpt-realtime", "", &stream, true);
        assert_eq!(counts(&said), [Some(152), Some(131), Some(283), Some(70), None, None]);
        assert_eq!(words(&said), (Some("gpt-realtime"), Some(true), Some("cancelled"), None));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream("/v1/realtime", "", &stream, true);
        assert_eq!(said.model.as_deref(), Some("gpt-realtime-2025-08-28"));
    }

    #[test]
    fn lists_of_models_say_nothing_but_their_errors() {
        let said = read("/v1/models", "", Answer::Json(sample!("models.json")));
        assert_eq!(said, Extracted::default());
        let said = read_status("/v1/models", "", Answer::Json(r#"{"error":{"type":"invalid_api_key"}}"#), 401);
        assert_eq!(said.error_type.as_deref(), Some("invalid_api_key"));
    }

    #[test]
    fn any_path_may_carry_the_common_terminators() {
        for sse in [sample!("messages.sse"), sample!("responses.sse")] {
            for target in ["/proxy/anything", CHAT, "/v1/embeddings"] {
                assert_eq!(ends(&read_stream(target, "", &Stream::of(sse), true)), (true, true), "{target}");
            }
            assert_eq!(ends(&read_stream("/any", "", &Stream::of(sse).nameless(), true)), (true, true));
        }
        assert_eq!(ends(&read_stream("/any", "", &Stream::of("data: [DONE]\n\n"), true)), (true, true));
    }
}

/// Any JSON value, with the names that the readers look for at every depth.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(|it| it.to_string()),
        ".*".prop_map(|it| serde_json::to_string(&it).unwrap()),
        prop_oneof![
            Just("\"error\""),
            Just("\"message_start\""),
            Just("\"message_delta\""),
            Just("\"response.failed\"")
        ]
        .prop_map(str::to_owned),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "model",
            "usage",
            "choices",
            "type",
            "error",
            "response",
            "message",
            "delta",
            "candidates",
            "usageMetadata",
            "finish_reason",
            "finishReason",
            "index",
            "status",
            "code",
            "prompt_tokens",
            "input_tokens",
            "total_tokens",
            "output_tokens",
            "promptFeedback",
            "blockReason",
            "x_groq",
            "object",
            "stop_reason",
            "session",
            "meta",
        ])
        .prop_map(|name| format!("{name:?}")),
        ".*".prop_map(|it| serde_json::to_string(&it).unwrap()),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|items| {
                let members: Vec<_> = items.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

const TARGETS: [&str; 11] = [
    CHAT,
    "/v1/completions",
    RESPONSES,
    MESSAGES,
    GEMINI,
    "/v1/embeddings",
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/realtime",
    "/v1/models",
    "/any",
];

proptest! {
    #[test]
    fn no_json_makes_a_reader_panic(bodies in prop::collection::vec(any_json(), 1..6), request in any_json()) {
        let events: Vec<_> =
            bodies.iter().map(|body| EventView { name: "", data: EventData::Json(body) }).collect();
        for target in TARGETS {
            read_status(target, &request, Answer::Json(&bodies[0]), 500);
            read(target, &request, Answer::Events(&events));
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".*", name in ".*") {
        let events = [
            EventView { name: &name, data: EventData::Json(&text) },
            EventView { name: "error", data: EventData::Text(&text) },
            EventView { name: "message_start", data: EventData::Json(&text) },
            EventView { name: "response.failed", data: EventData::Json(&text) },
        ];
        for target in TARGETS {
            read(target, &text, Answer::Json(&text));
            read(target, &text, Answer::Events(&events));
        }
    }

    #[test]
    fn an_odd_value_beside_the_usage_does_not_hide_it(odd in any_json(), name in "[a-z]{1,8}") {
        let known = ["error", "model", "usage", "choices", "object"];
        prop_assume!(!known.contains(&name.as_str()));
        let body = format!(r#"{{"{name}":{odd},"choices":{odd},"model":{odd},"usage":{{"{name}":{odd},"prompt_tokens":5,"total_tokens":6}}}}"#);
        let stream = Stream { events: vec![EventView { name: "", data: EventData::Json(&body) }], saw_done: false };
        for said in [read(CHAT, "", Answer::Json(&body)), read_stream(CHAT, "", &stream, true)] {
            // What the odd value says by itself (it may hold counts of its own) is replaced by the top's.
            prop_assert_eq!((said.usage.prompt, said.usage.total), (Some(5), Some(6)));
        }
    }

    #[test]
    fn a_cut_anywhere_gives_no_more_than_the_whole(kept in 0usize..9) {
        for (target, sse) in [
            (CHAT, sample!("chat.sse")), (RESPONSES, sample!("responses.sse")), (MESSAGES, sample!("messages.sse")),
        ] {
            let whole = Stream::of(sse);
            let is_cut = kept < whole.events.len();
            let said = read_stream(target, "", &Stream::of(sse).cut(kept), false);
            prop_assert!(!is_cut || !said.stream_done);
        }
    }
}
