//! A request's body as one JSON value, whether it came as JSON or as a form.

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value, json};

use super::coding::Coding;

/// The largest body that is taken, before and after decoding.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("cannot receive the request body: {0}")]
    Receive(String),
    #[error("unsupported content encoding {0:?}")]
    Encoding(String),
    #[error("cannot decode the request body: {0}")]
    Decode(#[from] std::io::Error),
    #[error("the request body is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot read the form: {0}")]
    Form(String),
}

/// Receives and decodes the whole body. A form's texts become members, a file `{"filename", "bytes"}`;
/// an empty body is `null`.
pub(super) async fn read(request: Request) -> Result<Value, BodyError> {
    let (parts, body) = request.into_parts();
    let bytes = plain(&parts.headers, body).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if content_type.starts_with("multipart/form-data") {
        return read_form(Request::from_parts(parts, Body::from(bytes))).await;
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Receives the whole body and undoes its codings.
pub(super) async fn plain(headers: &HeaderMap, body: Body) -> Result<Bytes, BodyError> {
    let bytes = Limited::new(body, MAX_BODY_BYTES)
        .collect()
        .await
        .map_err(|error| BodyError::Receive(error.to_string()))?
        .to_bytes();
    match headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) {
        Some(codings) => decode(codings, bytes),
        None => Ok(bytes),
    }
}

fn decode(codings: &str, mut bytes: Bytes) -> Result<Bytes, BodyError> {
    // The last coding named was applied last (RFC 9110 §8.4).
    for name in codings.rsplit(',').filter(|name| !name.trim().eq_ignore_ascii_case("identity")) {
        let coding = Coding::named(name).ok_or_else(|| BodyError::Encoding(name.trim().to_owned()))?;
        bytes = coding.decode(&bytes, MAX_BODY_BYTES as u64)?.into();
    }
    Ok(bytes)
}

async fn read_form(mut request: Request) -> Result<Value, BodyError> {
    let form_error = |error: &dyn std::fmt::Display| BodyError::Form(error.to_string());
    // The whole body is in memory and bounded already.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| form_error(&error))?;
    let mut members = Map::new();
    while let Some(field) = form.next_field().await.map_err(|error| form_error(&error))? {
        let name = field.name().unwrap_or("").to_owned();
        let filename = field.file_name().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|error| form_error(&error))?;
        let value = match filename {
            Some(filename) => json!({"filename": filename, "bytes": bytes.len()}),
            None => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        };
        members.insert(name, value);
    }
    Ok(Value::Object(members))
}
