//! A gateway whose every answer follows from the request, so that a client can tell a whole right one.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// The pieces of a streamed answer.
const PIECES: u64 = 6;
/// The bytes of one piece of a blob.
const PIECE_BYTES: usize = 16 * 1024;

/// A gateway that runs until it is dropped.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    gate: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub(super) async fn start() -> Upstream {
        let (gate, is_open) = watch::channel(false);
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let routes = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/files", post(upload))
            .route("/blob/{seed}/{bytes}", get(download))
            .route("/gated/{seed}", post(gated))
            .layer(DefaultBodyLimit::disable())
            .with_state(is_open);
        let server = tokio::spawn(async move { axum::serve(socket, routes).await.unwrap() });
        Upstream { address, gate, server }
    }

    /// Lets the second half of every gated stream go.
    pub(super) fn open_gate(&self) {
        self.gate.send_replace(true);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The answer to a question that is not streamed.
pub(super) fn chat_answer(seed: u64) -> String {
    json!({
        "id": format!("chatcmpl-{seed}"),
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": format!("answer {seed}")}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    })
    .to_string()
}

/// The events of a streamed answer.
pub(super) fn events(seed: u64) -> Vec<String> {
    let piece = |number| {
        let event = json!({
            "id": format!("chatcmpl-{seed}"),
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": format!("{seed}.{number} ")}, "finish_reason": null}],
        });
        format!("data: {event}\n\n")
    };
    (0..PIECES).map(piece).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// Text that does not compress to nothing and has no lines.
pub(super) fn blob(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// The answer to an upload.
pub(super) fn receipt(body: &[u8]) -> String {
    json!({"bytes": body.len(), "sha256": sha256(body)}).to_string()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn chat(body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let seed = asked["seed"].as_u64().unwrap();
    if asked["stream"] == true { event_stream(events(seed)) } else { json_text(chat_answer(seed)) }
}

async fn upload(body: Bytes) -> Response {
    json_text(receipt(&body))
}

async fn download(Path((seed, bytes)): Path<(u64, usize)>) -> Response {
    let pieces: Vec<Vec<u8>> = blob(seed, bytes).chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    ([(CONTENT_TYPE, "text/plain")], body).into_response()
}

/// Half the events at once, the others when the gate is open.
async fn gated(Path(seed): Path<u64>, State(gate): State<watch::Receiver<bool>>) -> Response {
    let events = events(seed).into_iter().enumerate();
    let body = stream::unfold((events, gate), |(mut events, mut gate)| async {
        let (number, event) = events.next()?;
        if number as u64 == PIECES / 2 {
            gate.wait_for(|it| *it).await.ok()?;
        }
        Some((Ok::<_, Infallible>(event), (events, gate)))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

fn event_stream(events: Vec<String>) -> Response {
    let body = stream::unfold(events.into_iter(), |mut events| async {
        tokio::task::yield_now().await;
        Some((Ok::<_, Infallible>(events.next()?), events))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
