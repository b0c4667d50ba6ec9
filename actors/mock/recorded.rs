//! The mock gateway that makes nothing up: answers from recordings, at their pace.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api_log::recordings::{Answer, Match, Piece, Recordings};
use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::json;
use tokio::time::Instant;

use super::body;
use super::call::Cut;

/// Time for what was written to leave, before a connection is broken off.
const BEFORE_BREAK: Duration = Duration::from_millis(50);
/// Paths that a refusal names.
const MOST_NAMED: usize = 20;

/// Recordings, and how fast they are played.
#[derive(Debug)]
pub(crate) struct Recorded {
    recordings: Arc<Recordings>,
    /// So many times as fast as recorded; `None` for without pauses.
    speed: Option<f64>,
}

impl Recorded {
    pub(crate) fn new(recordings: Recordings, speed: Option<f64>) -> Recorded {
        Recorded { recordings: Arc::new(recordings), speed }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, parts: &Parts, body: Body, cut: Cut) -> Response {
        let began = Instant::now();
        let asked = match body::plain(&parts.headers, body).await {
            Ok(asked) => asked,
            Err(error) => {
                return problem(StatusCode::BAD_REQUEST, "unreadable_request", &error.to_string(), parts);
            }
        };
        let target = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let (recordings, method) = (self.recordings.clone(), parts.method.to_string());
        let found = tokio::task::spawn_blocking(move || recordings.answer(&method, &target, &asked)).await;
        match found {
            Ok(Ok(Some((answer, by)))) => self.play(answer, by, parts, began, cut).await,
            Ok(Ok(None)) => self.nothing(parts),
            Ok(Err(error)) => problem(
                StatusCode::BAD_GATEWAY,
                "unreadable_recording",
                &format!("the recording is gone: {error}"),
                parts,
            ),
            Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "panic", "the answer could not be made", parts),
        }
    }

    async fn play(&self, answer: Answer, by: Match, parts: &Parts, began: Instant, cut: Cut) -> Response {
        tokio::time::sleep_until(began + self.paced(answer.head_at)).await;
        let length = answer.body_bytes();
        let mut fields = answer.fields;
        fields.push(("x-api-log-trace".to_owned(), answer.id.to_string().into_bytes()));
        fields.push(("x-api-log-match".to_owned(), by.name().as_bytes().to_vec()));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in fields {
            let field = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            if let Some((name, value)) = field {
                response.headers_mut().append(name, value);
            }
        }
        let has_body = parts.method != Method::HEAD && !answer.pieces.is_empty();
        if answer.tells_length && has_body {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if has_body || answer.is_broken_off {
            let due = |piece: Piece| (began + self.paced(piece.at), piece.bytes);
            let pieces: Vec<_> = answer.pieces.into_iter().map(due).collect();
            let play = Play { pieces: pieces.into_iter(), cut: answer.is_broken_off.then_some(cut) };
            *response.body_mut() = Body::from_stream(futures_util::stream::try_unfold(play, |mut play| async move {
                let piece = play.next().await?;
                Ok::<_, io::Error>(piece.map(|piece| (piece, play)))
            }));
        }
        response
    }

    fn paced(&self, at: Duration) -> Duration {
        self.speed.map_or(Duration::ZERO, |speed| at.div_f64(speed))
    }

    fn nothing(&self, parts: &Parts) -> Response {
        let paths = self.recordings.paths();
        let mut named = paths.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
        if paths.len() > MOST_NAMED {
            named += &format!(" and {} more", paths.len() - MOST_NAMED);
        }
        let (method, path) = (&parts.method, parts.uri.path());
        let detail = format!("no recording answers {method} {path}, with any body; recorded are: {named}");
        problem(StatusCode::NOT_FOUND, "not_recorded", &detail, parts)
    }
}

/// A refusal of the mock's own: a problem of RFC 9457, with the member that SDKs of OpenAI's and Anthropic's read.
fn problem(status: StatusCode, code: &str, detail: &str, parts: &Parts) -> Response {
    let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail,
        "method": parts.method.as_str(),
        "target": target,
        "error": {"type": code, "message": detail},
    });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// A body under way: each piece with the moment that it is due.
struct Play {
    pieces: std::vec::IntoIter<(Instant, bytes::Bytes)>,
    /// It breaks off behind the last piece.
    cut: Option<Cut>,
}

impl Play {
    async fn next(&mut self) -> io::Result<Option<bytes::Bytes>> {
        if let Some((due, piece)) = self.pieces.next() {
            tokio::time::sleep_until(due).await;
            return Ok(Some(piece));
        }
        let Some(cut) = self.cut.take() else { return Ok(None) };
        tokio::time::sleep(BEFORE_BREAK).await;
        cut.demand();
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "broken off as recorded"))
    }
}
