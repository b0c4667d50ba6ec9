//! The mock seen from outside, over real sockets.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::coding::{Coding, Encoder};

use super::{Mock, Options, start};

fn client() -> Client {
    crate::tls::choose_provider();
    Client::new()
}

async fn mock() -> Mock {
    start(&"127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap()
}

fn post(mock: &Mock, path: &str, body: &Value) -> RequestBuilder {
    client().post(format!("http://{}{path}", mock.address())).json(body)
}

fn chat(said: &str) -> Value {
    json!({"model": "mock", "messages": [{"role": "user", "content": said}]})
}

async fn body(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// The JSON of every `data:` line, and whether `[DONE]` closed them.
fn events(text: &str) -> (Vec<Value>, bool) {
    let lines = || text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = lines().filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap());
    (events.collect(), lines().next_back() == Some("[DONE]"))
}

async fn stream(request: RequestBuilder) -> (Vec<Value>, bool) {
    let response = request.send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    events(&response.text().await.unwrap())
}

#[tokio::test]
async fn a_chat_answer_is_the_same_streamed_or_not() {
    let mock = mock().await;
    let whole = body(post(&mock, "/v1/chat/completions", &chat("hi there")).send().await.unwrap()).await;
    assert_eq!(whole["choices"][0]["message"]["content"], "You said: hi there");
    assert_eq!(whole["usage"]["total_tokens"], 2 + 4);

    let mut asked = chat("hi there");
    asked["stream"] = json!(true);
    asked["stream_options"] = json!({"include_usage": true});
    let (events, done) = stream(post(&mock, "/chat/completions", &asked)).await;
    let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "You said: hi there");
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    assert!(done);
    mock.shutdown().await;
}

#[tokio::test]
async fn every_vendor_streams_the_same_echo_to_its_own_end() {
    let mock = mock().await;
    let asked = json!({"model": "mock", "input": "hi", "stream": true});
    let (responses, _) = stream(post(&mock, "/v1/responses", &asked)).await;
    let numbers: Vec<_> = responses.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..responses.len() as u64).collect::<Vec<_>>());
    let last = responses.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "You said: hi");

    let mut asked = chat("hi");
    asked["stream"] = json!(true);
    asked["max_tokens"] = json!(100);
    let (messages, _) = stream(post(&mock, "/v1/messages", &asked)).await;
    let kinds: Vec<_> = messages.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(kinds[kinds.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);

    let asked = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
    let path = "/v1beta/models/mock:streamGenerateContent";
    let (gemini, _) = stream(post(&mock, &format!("{path}?alt=sse"), &asked)).await;
    assert_eq!(gemini.last().unwrap()["candidates"][0]["finishReason"], "STOP");
    let array = body(post(&mock, path, &asked).send().await.unwrap()).await;
    assert_eq!(array.as_array().unwrap().len(), gemini.len());
    assert_eq!(array[0]["candidates"], gemini[0]["candidates"]);
}

#[tokio::test]
async fn the_same_question_in_each_protocol_calls_the_same_tool() {
    let mock = mock().await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let said = "call get_weather";
    let mut asked = chat(said);
    asked["tools"] = json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
    let chat_answer = body(post(&mock, "/v1/chat/completions", &asked).send().await.unwrap()).await;
    let function = &chat_answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(*function, json!({"name": "get_weather", "arguments": "{\"city\":\"mock\"}"}));

    asked["tools"] = json!([{"name": "get_weather", "input_schema": schema}]);
    asked["max_tokens"] = json!(100);
    let message = body(post(&mock, "/v1/messages", &asked).send().await.unwrap()).await;
    assert_eq!(message["content"][0]["input"], json!({"city": "mock"}));
    assert_eq!(message["stop_reason"], "tool_use");

    let asked = json!({"model": "mock", "input": said,
        "tools": [{"type": "function", "name": "get_weather", "parameters": schema}]});
    let response = body(post(&mock, "/v1/responses", &asked).send().await.unwrap()).await;
    assert_eq!(response["output"][0]["arguments"], "{\"city\":\"mock\"}");

    let asked = json!({"contents": [{"role": "user", "parts": [{"text": said}]}],
        "tools": [{"functionDeclarations": [{"name": "get_weather", "parameters": schema}]}]});
    let content = body(post(&mock, "/v1/models/m:generateContent", &asked).send().await.unwrap()).await;
    assert_eq!(content["candidates"][0]["content"]["parts"][0]["functionCall"]["args"], json!({"city": "mock"}));
}

#[tokio::test]
async fn a_response_follows_its_predecessor_or_says_that_there_is_none() {
    let mock = mock().await;
    let ask = |previous: Value| {
        let asked = json!({"model": "mock", "input": "hi", "previous_response_id": previous});
        let request = post(&mock, "/v1/responses", &asked);
        async move { body(request.send().await.unwrap()).await }
    };
    let first = ask(Value::Null).await;
    let second = ask(first["id"].clone()).await;
    assert_eq!(second["output"][0]["content"][0]["text"], "You said: hi [turn 2]");
    assert_eq!(second["previous_response_id"], first["id"]);
    assert_eq!(ask(json!("resp_unknown")).await["error"]["code"], "previous_response_not_found");
}

#[tokio::test]
async fn compressed_requests_are_understood_and_json_is_gzipped_on_request() {
    let mock = mock().await;
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd] {
        let mut encoder = Encoder::new(Some(coding)).unwrap();
        let mut bytes = encoder.push(chat("packed").to_string().into()).unwrap().to_vec();
        bytes.extend_from_slice(&encoder.finish().unwrap());
        let request = client().post(format!("http://{}/v1/chat/completions", mock.address()));
        let request = request.header("content-encoding", coding.name()).header("accept-encoding", "br, gzip;q=0.5");
        let response = request.body(bytes).send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let answer = Coding::Gzip.decode(&response.bytes().await.unwrap(), 10_000).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], "You said: packed", "{coding:?}");
    }
    let refused = post(&mock, "/v1/chat/completions", &chat("x")).header("content-encoding", "snappy");
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_encoded_stream_decodes_to_the_plain_one() {
    let mock = mock().await;
    let mut asked = chat("one two three");
    asked["stream"] = json!(true);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let request = post(&mock, "/v1/chat/completions", &asked).header("x-mock-encoding", coding);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], coding);
        let bytes = response.bytes().await.unwrap();
        let plain = Coding::named(coding).unwrap().decode(&bytes, 100_000).unwrap();
        assert!(events(std::str::from_utf8(&plain).unwrap()).1, "{coding}");
    }
}

#[tokio::test]
async fn errors_take_the_vendors_form() {
    let mock = mock().await;
    let mut asked = chat("hi");
    asked["model"] = json!("error-429");
    let limited = post(&mock, "/v1/chat/completions", &asked).send().await.unwrap();
    assert_eq!(
        (limited.status(), &limited.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert_eq!(body(limited).await["error"]["code"], "rate_limit_exceeded");

    asked["max_tokens"] = json!(1);
    let anthropic = post(&mock, "/v1/messages?mock-fault=error-500", &asked).send().await.unwrap();
    assert_eq!(body(anthropic).await["error"]["type"], "api_error");
    let gemini = post(&mock, "/v1beta/models/error-503:generateContent", &json!({})).send().await.unwrap();
    assert_eq!(body(gemini).await["error"]["status"], "UNAVAILABLE");
    let unknown = post(&mock, "/v1/nothing", &json!({})).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

/// Sends raw bytes and reads until the end, which may be an error.
async fn raw(mock: &Mock, request: &str) -> (String, Result<(), std::io::ErrorKind>) {
    let mut socket = TcpStream::connect(mock.address()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let end = socket.read_to_end(&mut answer).await.map(drop).map_err(|error| error.kind());
    (String::from_utf8(answer).unwrap(), end)
}

fn raw_chat(fault: &str, stream: bool) -> String {
    let mut asked = chat("one two three four");
    asked["stream"] = json!(stream);
    let asked = asked.to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\nconnection: close\r\nx-mock-fault: {fault}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{asked}",
        asked.len()
    )
}

#[tokio::test]
async fn a_cut_is_a_reset_and_a_close_is_an_end_without_an_end() {
    let mock = mock().await;
    for is_stream in [true, false] {
        let (answer, end) = raw(&mock, &raw_chat("cut-mid-stream", is_stream)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
        let (answer, end) = raw(&mock, &raw_chat("close-mid-stream", is_stream)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(end, Ok(()));
        assert!(!answer.ends_with("0\r\n\r\n") && !answer.ends_with('}'), "{answer}");
    }
}

#[tokio::test]
async fn a_status_of_529_has_an_empty_reason_phrase() {
    let mock = mock().await;
    let (answer, _) = raw(&mock, &raw_chat("error-529", false)).await;
    assert!(answer.starts_with("HTTP/1.1 529 \r\n"), "{answer}");
}

#[tokio::test]
async fn the_milder_faults_end_in_order() {
    let mock = mock().await;
    let ask = async |fault: &str| {
        let (answer, end) = raw(&mock, &raw_chat(fault, true)).await;
        assert_eq!(end, Ok(()));
        assert!(answer.ends_with("0\r\n\r\n") || answer.ends_with('}'), "{fault}: {answer}");
        answer
    };
    assert!(!ask("no-terminator").await.contains("[DONE]"));
    let failed = ask("error-mid-stream").await;
    assert!(failed.contains("\"error\"") && !failed.contains("[DONE]"), "{failed}");
    assert!(ask("json-for-stream").await.contains("application/json"));
    let failed = ask("stream-500").await;
    assert!(failed.starts_with("HTTP/1.1 500") && failed.contains("[DONE]"), "{failed}");
    let (_, whole) = ask("one-chunk").await.split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let length = usize::from_str_radix(whole.split("\r\n").next().unwrap(), 16).unwrap();
    assert!(whole.len() - length < 20, "one chunk holds it all");
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_upload() {
    let mock = mock().await;
    let head = "POST /v1/chat/completions?mock-fault=early-answer HTTP/1.1\r\nhost: mock\r\ncontent-length: 1000\r\n\r\nonly this";
    let (answer, _) = raw(&mock, head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_stall_lasts_until_the_mock_is_shut_down() {
    let mock = mock().await;
    let mut socket = TcpStream::connect(mock.address()).await.unwrap();
    socket.write_all(raw_chat("stall", true).as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("data: ") {
        let mut chunk = [0; 1024];
        let count = socket.read(&mut chunk).await.unwrap();
        assert!(count > 0, "the answer ended");
        answer.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
    mock.shutdown().await;
    let mut rest = String::new();
    // Ends now; whether in order or by a reset does not matter.
    let _ = socket.read_to_string(&mut rest).await;
    assert!(!rest.contains("[DONE]"));
}

#[tokio::test]
async fn a_wished_size_and_pace_are_kept() {
    let mock = mock().await;
    let request = post(&mock, "/v1/chat/completions", &chat("hi")).header("x-mock-size", "100000");
    let answer = body(request.send().await.unwrap()).await;
    assert_eq!(answer["choices"][0]["message"]["content"].as_str().unwrap().len(), 100_000);

    let mut asked = chat("a");
    asked["stream"] = json!(true);
    let began = tokio::time::Instant::now();
    let request = post(&mock, "/v1/chat/completions", &asked).header("x-mock-delay-ms", "5");
    let (events, _) = stream(request).await;
    assert!(began.elapsed() >= Duration::from_millis(5) * events.len() as u32);
}

#[tokio::test]
async fn files_come_in_and_sounds_and_pictures_go_out() {
    let mock = mock().await;
    let form = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nmock\r\n--x\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\n12345\r\n--x--\r\n";
    let request = client().post(format!("http://{}/v1/audio/transcriptions", mock.address()));
    let request = request.header("content-type", "multipart/form-data; boundary=x").body(form);
    assert_eq!(body(request.send().await.unwrap()).await["text"], "I heard 5 bytes of a.wav");

    let spoken = post(&mock, "/v1/audio/speech", &json!({"model": "mock", "input": "hello", "voice": "alloy"}));
    let spoken = spoken.send().await.unwrap();
    assert_eq!(spoken.headers()["content-type"], "audio/mpeg");
    assert_eq!(spoken.bytes().await.unwrap().len(), 5 * 16);

    let drawn = post(&mock, "/v1/images/generations", &json!({"prompt": "a dot", "n": 2})).send().await.unwrap();
    assert_eq!(body(drawn).await["data"].as_array().unwrap().len(), 2);

    let asked = json!({"model": "mock", "input": ["a", "b"], "encoding_format": "base64"});
    let embedded = body(post(&mock, "/v1/embeddings", &asked).send().await.unwrap()).await;
    assert_eq!(embedded["data"][1]["embedding"].as_str().unwrap().len(), (8usize * 4).div_ceil(3) * 4);
}

/// The client's half of a WebSocket, spelled by hand (RFC 6455 §5.2).
struct Socket(TcpStream);

impl Socket {
    async fn open(mock: &Mock, query: &str) -> Self {
        let mut stream = TcpStream::connect(mock.address()).await.unwrap();
        let head = format!(
            "GET /v1/responses{query} HTTP/1.1\r\nhost: mock\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        Self(stream)
    }

    async fn say(&mut self, message: Value) {
        let text = message.to_string();
        // A final text frame, masked with zeros.
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    async fn hear(&mut self) -> std::io::Result<Value> {
        assert_eq!(self.0.read_u8().await?, 0x81, "a whole text frame");
        let length = match self.0.read_u8().await? {
            126 => self.0.read_u16().await?.into(),
            length => usize::from(length),
        };
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).await?;
        Ok(serde_json::from_slice(&text).unwrap())
    }

    async fn hear_until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.hear().await.unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn a_socket_carries_several_turns_and_survives_a_wrong_message() {
    let mock = mock().await;
    let mut socket = Socket::open(&mock, "").await;
    socket.say(json!({"type": "response.create", "model": "mock", "input": "hi", "stream_id": "s1"})).await;
    let first = socket.hear_until("response.completed").await;
    assert_eq!(first["stream_id"], "s1");
    socket.say(json!({"type": "nonsense"})).await;
    assert_eq!(socket.hear_until("error").await["status"], 400);
    let previous = &first["response"]["id"];
    socket
        .say(json!({"type": "response.create", "model": "mock", "input": "more", "previous_response_id": previous}))
        .await;
    let second = socket.hear_until("response.completed").await;
    assert_eq!(second["response"]["output"][0]["content"][0]["text"], "You said: more [turn 2]");
    assert_ne!(second["response"]["id"], *previous);
}

#[tokio::test]
async fn a_socket_can_be_cut_in_the_middle_of_a_turn() {
    let mock = mock().await;
    let mut socket = Socket::open(&mock, "?mock-fault=cut-mid-stream").await;
    socket.say(json!({"type": "response.create", "model": "mock", "input": "hi"})).await;
    socket.hear_until("response.created").await;
    let error = loop {
        if let Err(error) = socket.hear().await {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
