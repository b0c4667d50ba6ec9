//! Bodies of requests: taken whole before their route sees them, up to so many bytes and within some time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::errors::Problem;

/// Largest body of any request, in bytes.
pub(super) const MOST_BYTES: usize = 64 * 1024;
/// Of a larger one so much is read and thrown away, so that its sender gets to see the answer.
const MOST_PASSED_OVER: usize = 4 << 20;

/// The request with its body at hand.
pub(super) async fn gather(request: Request, within: Duration) -> Result<Request, Box<Response>> {
    let told = request.headers().get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    // Who asks first whether to send it is told not to.
    if request.headers().contains_key(EXPECT) && told.is_some_and(|it| it > MOST_BYTES as u64) {
        return Err(closing(too_large()));
    }
    let (head, mut body) = request.into_parts();
    let deadline = Instant::now() + within;
    let (mut gathered, mut passed_over) = (Vec::new(), 0);
    loop {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if passed_over == 0 && gathered.len() + data.len() <= MOST_BYTES {
                    gathered.extend_from_slice(&data);
                    continue;
                }
                passed_over += data.len();
                if passed_over > MOST_PASSED_OVER {
                    return Err(closing(too_large()));
                }
            }
            Ok(None) if passed_over == 0 => return Ok(Request::from_parts(head, Body::from(gathered))),
            Ok(None) => return Err(Box::new(too_large().into_response())),
            Ok(Some(Err(error))) => return Err(closing(Problem::bad_body(format!("it breaks off: {error}")))),
            Err(_) if passed_over > 0 => return Err(closing(too_large())),
            Err(_) => return Err(closing(too_late(within))),
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("it has more than {MOST_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("the body cannot be taken: {detail}"))
        .with("detail", detail)
        .with("cap_bytes", MOST_BYTES.to_string())
}

fn too_late(within: Duration) -> Problem {
    let detail = format!("it was not there within timeouts.read_header ({within:?})");
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", format!("the body cannot be taken: {detail}"))
        .with("param", "timeouts.read_header")
        .with("detail", detail)
}

/// The answer to a request whose rest nobody reads.
fn closing(problem: Problem) -> Box<Response> {
    let mut answer = problem.into_response();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Box::new(answer)
}
