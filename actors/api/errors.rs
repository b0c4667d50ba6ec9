//! What a caller is told when something is wrong: always `{"error": code, "message": sentence, …}`.

use std::time::Duration;

use api_log::access::{Refused, Scope};
use api_log::index::filter::BadParam;
use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

/// What a problem may tell beside code and sentence.
const MEMBERS: [(&str, &str); 14] = [
    ("param", "The parameter that is wrong."),
    ("detail", "What is wrong, in a few words."),
    ("needed_scope", "The scope that a token must have."),
    ("scope", "The scope that the token has."),
    ("field", "The member of the body that is wrong."),
    ("index", "The place in the list that is wrong, from 0."),
    ("id", "The instance that is wrong."),
    ("matched", "How many traces match, at least."),
    ("cap", "How many traces are given at most."),
    ("limit", "Which limit it is."),
    ("matched_bytes", "How many bytes the files of the traces have."),
    ("cap_bytes", "How many bytes there may be at most."),
    ("hint", "What can be done."),
    ("note", "How it is counted."),
];

/// The schema of every problem.
pub(super) fn schema() -> Schema {
    let mut properties = json!({
        "error": {"type": "string", "description": "What is wrong, in a word for programs."},
        "message": {"type": "string", "description": "What is wrong, in a sentence for people."},
    });
    for (name, about) in MEMBERS {
        properties[name] = json!({"type": "string", "description": about});
    }
    json_schema!({
        "type": "object",
        "description": "Why there is no answer. Flat, and all of it text.",
        "required": ["error", "message"],
        "properties": properties,
    })
}

/// A failure with its status, code, a sentence for a person and further members.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of this code.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Problem {
        let mut members = Map::new();
        members.insert("error".into(), code.into());
        members.insert("message".into(), message.into().into());
        Problem { status, members }
    }

    /// With a further member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Problem {
        debug_assert!(MEMBERS.iter().any(|it| it.0 == name), "{name} is described nowhere");
        self.members.insert(name.into(), Value::String(value.into()));
        self
    }

    /// A query parameter that is unknown or out of form.
    pub(crate) fn bad_param(param: &str, detail: &str) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_param", format!("parameter {param}: {detail}"))
            .with("param", param)
            .with("detail", detail)
    }

    /// No such trace.
    pub(crate) fn not_found(detail: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail).with("detail", detail)
    }

    /// The body is not what the route takes.
    pub(crate) fn bad_body(detail: impl Into<String>) -> Problem {
        let detail = detail.into();
        Problem::new(StatusCode::BAD_REQUEST, "bad_body", format!("the body is not what this route takes: {detail}"))
            .with("detail", detail)
    }

    /// The token is missing, wrong or over.
    pub(crate) fn unauthorized(refused: Refused) -> Problem {
        let message = format!(
            "{refused}: send Authorization: Bearer <token>, with the one in admin_token in the data dir or one that \
             api-log token has made"
        );
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// The token is not good for this.
    pub(crate) fn forbidden(needed: Scope, given: Scope) -> Problem {
        let detail = format!("this needs a token of scope {needed}, and this one has scope {given}");
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail.clone())
            .with("needed_scope", needed.name())
            .with("scope", given.name())
            .with("detail", detail)
    }

    /// The request's target is longer than anything that is meant.
    pub(crate) fn target_too_long(most: usize) -> Problem {
        let detail = format!("path and query have more than {most} bytes");
        Problem::new(StatusCode::URI_TOO_LONG, "target_too_long", detail.clone())
            .with("cap_bytes", most.to_string())
            .with("detail", detail)
    }

    /// The request's header block is larger than anything that is meant.
    pub(crate) fn header_too_large(most: usize) -> Problem {
        let detail = format!("the header fields have more than {most} bytes");
        Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_too_large", detail.clone())
            .with("cap_bytes", most.to_string())
            .with("detail", detail)
    }

    /// There are as many connections as there may be.
    pub(crate) fn too_many_connections(most: usize) -> Problem {
        let detail = format!("{most} connections are open, and api.max_connections allows no more; try again");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", detail.clone())
            .with("param", "api.max_connections")
            .with("detail", detail)
    }

    /// Too many ask at once.
    pub(crate) fn busy() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many queries at once; ask again in a second")
    }

    /// A question took longer than it may. Asked again, it would again: so no word of when.
    pub(crate) fn query_timeout(after: Duration) -> Problem {
        let detail = format!("stopped after api.query_timeout ({after:?}); ask for less, a shorter time say");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "query_timeout", format!("the question was {detail}"))
            .with("param", "api.query_timeout")
            .with("detail", detail)
    }

    /// Something of ours failed. The inside goes to the log, not to the caller.
    pub(crate) fn server_error(inside: &dyn std::fmt::Display) -> Problem {
        tracing::error!(error = %inside, "an API request failed");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "the recorder could not answer; its log says why",
        )
    }

    /// A handler panicked; the process lives on.
    pub(crate) fn server_panic() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_panic",
            "the recorder failed to answer; its log says why",
        )
    }
}

impl From<BadParam> for Problem {
    fn from(bad: BadParam) -> Problem {
        Problem::bad_param(&bad.param, &bad.detail)
    }
}

/// A body that could not be had.
impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        let detail = rejection.body_text();
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            _ => "bad_body",
        };
        Problem::new(rejection.status(), code, format!("the body cannot be taken: {detail}")).with("detail", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Answer(Value::Object(self.members))).into_response();
        let headers = answer.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api-log\""));
            }
            _ => {}
        }
        answer
    }
}

/// A JSON answer that ends with a newline.
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: serde::Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(mut body) => {
                body.push(b'\n');
                ([(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written as JSON");
                (StatusCode::INTERNAL_SERVER_ERROR, Json(Value::Null)).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::readers::ReadError;

    #[tokio::test]
    async fn a_question_that_was_stopped_names_what_stopped_it() {
        let answer = Problem::from(ReadError::Timeout(Duration::from_millis(1500))).into_response();
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["error"], &body["param"]), (&"query_timeout".into(), &"api.query_timeout".into()));
        assert!(body["detail"].as_str().unwrap().contains("1.5s"), "{body}");
    }
}
