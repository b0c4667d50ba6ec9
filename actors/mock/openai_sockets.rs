//! OpenAI Responses over a WebSocket: a turn per `response.create`, several per socket.

use axum::RequestExt;
use axum::extract::Request;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::call::Call;
use super::openai_responses::Turn;
use super::question::text_at;
use super::wish::Fault;

/// True if the client wants to speak WebSocket (RFC 6455 §4.2.1).
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get("upgrade").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Accepts the socket and serves its turns.
pub(super) async fn accept(call: Call, mut request: Request) -> Response {
    // A fault in the head of the request is one of the handshake.
    if let Some(Fault::Error(status)) = call.wish.fault {
        return super::reply::error(
            &call,
            super::reply::Vendor::OpenAi,
            status,
            "The mock refuses the upgrade as wished.",
        );
    }
    match request.extract_parts::<WebSocketUpgrade>().await {
        Ok(upgrade) => upgrade.on_upgrade(|socket| serve(call, socket)),
        Err(rejection) => rejection.into_response(),
    }
}

/// How a turn left its socket.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Open,
    Over,
}

async fn serve(mut call: Call, mut socket: WebSocket) {
    let gateway = call.gateway.clone();
    loop {
        let message = tokio::select! {
            () = gateway.closed() => {
                let goodbye = CloseFrame { code: close_code::AWAY, reason: "the mock is shutting down".into() };
                // The client may be gone already.
                let _ = socket.send(Message::Close(Some(goodbye))).await;
                return;
            }
            message = socket.recv() => message,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            // Pings are answered by the socket itself; binary messages mean nothing here.
            Some(Ok(_)) => continue,
        };
        let turn = tokio::select! {
            () = gateway.closed() => return,
            turn = take_turn(&mut call, &mut socket, text.as_str()) => turn,
        };
        if turn.unwrap_or(After::Over) == After::Over {
            return;
        }
        call.begin_next();
    }
}

async fn take_turn(call: &mut Call, socket: &mut WebSocket, text: &str) -> Result<After, axum::Error> {
    let asked: Value = match serde_json::from_str(text) {
        Ok(asked) => asked,
        Err(error) => return refuse(socket, &Value::Null, &format!("The message is not valid JSON: {error}")).await,
    };
    if text_at(&asked, "type") != "response.create" {
        return refuse(socket, &asked, &format!("Unknown message type: '{}'", text_at(&asked, "type"))).await;
    }
    let model = text_at(&asked, "model").to_owned();
    let fault = call.wish.fault.or_else(|| Fault::named(&model));
    if let Some(Fault::Error(status)) = fault {
        let error =
            json!({"message": "The mock fails as wished.", "type": "server_error", "code": null, "param": null});
        return send_error(socket, &asked, status, error).await;
    }
    let turn = match Turn::take(call, model, &asked) {
        Ok(turn) => turn,
        Err(mut body) => {
            let error = body["error"].take();
            return send_error(socket, &asked, StatusCode::BAD_REQUEST, error).await;
        }
    };
    let mut events = turn.events();
    match fault {
        Some(Fault::CutMidStream | Fault::CloseMidStream | Fault::Stall | Fault::ErrorMidStream) => {
            events.truncate(events.len() / 2);
        }
        Some(Fault::NoTerminator) => events.truncate(events.len() - 1),
        _ => {}
    }
    for mut event in events {
        if !call.pause().is_zero() {
            tokio::time::sleep(call.pause()).await;
        }
        send(socket, &asked, &mut event).await?;
    }
    match fault {
        Some(Fault::ErrorMidStream) => {
            let message = "The mock fails in mid-stream as wished.";
            let error = json!({"message": message, "type": "server_error", "code": "server_error", "param": null});
            send_error(socket, &asked, StatusCode::INTERNAL_SERVER_ERROR, error).await
        }
        Some(Fault::CutMidStream) => {
            call.cut.demand();
            Ok(After::Over)
        }
        Some(Fault::CloseMidStream) => Ok(After::Over),
        Some(Fault::Stall) => std::future::pending().await,
        _ => Ok(After::Open),
    }
}

async fn refuse(socket: &mut WebSocket, asked: &Value, message: &str) -> Result<After, axum::Error> {
    let error = json!({"message": message, "type": "invalid_request_error", "code": null, "param": null});
    send_error(socket, asked, StatusCode::BAD_REQUEST, error).await
}

async fn send_error(
    socket: &mut WebSocket,
    asked: &Value,
    status: StatusCode,
    error: Value,
) -> Result<After, axum::Error> {
    let mut event = json!({"type": "error", "status": status.as_u16(), "error": error});
    send(socket, asked, &mut event).await?;
    Ok(After::Open)
}

/// Sends one event, marked with the `stream_id` that the turn was asked with.
async fn send(socket: &mut WebSocket, asked: &Value, event: &mut Value) -> Result<(), axum::Error> {
    if let Some(stream_id) = asked.get("stream_id") {
        event["stream_id"] = stream_id.clone();
    }
    socket.send(Message::text(event.to_string())).await
}
