//! What the recorder says to a client by itself, in the shape that OpenAI's and Anthropic's SDKs read.

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::tap::ResponseBody;

/// The reasons the recorder has to answer by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `CONNECT`: this is a proxy to one upstream, not a forward proxy.
    Connect,
    /// Two framings in one request (RFC 9112 §6.1).
    AmbiguousFraming,
    /// A target that is no path (an authority, or unparsable with the upstream's prefix).
    BadTarget,
    /// The client's body broke off or is no body (RFC 9112 §7.1).
    BadBody,
    /// The upstream cannot be reached.
    Unreachable,
    /// The upstream closed before its answer.
    Closed,
    /// The upstream gave no answer head in time.
    Timeout,
    /// Too many client connections.
    TooManyConnections,
}

impl Refusal {
    /// The status and the code in the body.
    pub(crate) fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Refusal::Connect => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Refusal::AmbiguousFraming => (StatusCode::BAD_REQUEST, "ambiguous_framing"),
            Refusal::BadTarget => (StatusCode::BAD_REQUEST, "bad_target"),
            Refusal::BadBody => (StatusCode::BAD_REQUEST, "bad_body"),
            Refusal::Unreachable => (StatusCode::BAD_GATEWAY, "upstream_unreachable"),
            Refusal::Closed => (StatusCode::BAD_GATEWAY, "upstream_closed"),
            Refusal::Timeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            Refusal::TooManyConnections => (StatusCode::SERVICE_UNAVAILABLE, "too_many_connections"),
        }
    }

    /// The body: `{"error":{"type":"api_log_proxy_error","code":…,"message":…}}`.
    pub(crate) fn body(self, message: &str) -> String {
        let (_, code) = self.status_and_code();
        serde_json::json!({"error": {"type": "api_log_proxy_error", "code": code, "message": message}}).to_string()
    }

    /// The whole answer.
    pub(crate) fn answer(self, message: &str) -> Response<ResponseBody> {
        let (status, _) = self.status_and_code();
        let mut answer = Response::new(ResponseBody::Own(Some(Bytes::from(self.body(message)))));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Refusal::AmbiguousFraming | Refusal::BadBody => {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Refusal::TooManyConnections => {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                // One that stayed would take the place that it was told there is not.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        answer
    }
}
