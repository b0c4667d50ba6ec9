//! What the viewer's answers tell a browser to keep it from. All of it stands here, for whoever sets headers of answers.

use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// Scripts of its own only, none within the page; calls to its own origin only. Styles may stand within the page, for
/// programs put them there; images may be data, for that is what recorded ones are shown as. What it saves, it
/// makes as a blob.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; \
                      connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; \
                      form-action 'self'; frame-ancestors 'none'";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The fields and what they say.
pub(super) fn fields() -> [(HeaderName, HeaderValue); 5] {
    [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // For browsers that do not know `frame-ancestors`.
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}

/// Puts them on an answer, in place of others of the same name.
pub(super) fn put_on(headers: &mut HeaderMap) {
    for (name, value) in fields() {
        headers.insert(name, value);
    }
}

/// An answer with them.
pub(super) async fn protect(mut answer: Response) -> Response {
    put_on(answer.headers_mut());
    answer
}
