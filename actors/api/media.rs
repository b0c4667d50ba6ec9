//! `/api/media/…`: attachments as they were saved. Nothing in them runs in a caller's browser as the API's own.

use std::convert::Infallible;
use std::sync::Arc;

use api_log::described::{self, Param};
use api_log::media;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LAST_MODIFIED, RANGE,
};
use axum::response::{IntoResponse, Response};
use schemars::{Schema, json_schema};
use tower_http::services::ServeFile;

use super::State as Api;
use super::endpoint::{Input, Output, Reply, Schemas, Sketch};
use super::errors::Problem;
use super::lines;
use super::params::{Nothing, Query};
use super::streams::Holding;

/// What a browser would run if it were shown in its own right.
const ACTIVE: [&str; 3] = ["svg", "html", "xml"];

/// Which part of the file is wanted.
pub(crate) struct Wanted(Request);

impl FromRequest<Arc<Api>> for Wanted {
    type Rejection = Infallible;

    async fn from_request(mut request: Request, _: &Arc<Api>) -> Result<Wanted, Infallible> {
        // Of a unit that is not known here the whole is given (RFC 9110, 14.2); who serves the file would refuse it.
        if request.headers().get(RANGE).is_some_and(|it| !it.as_bytes().starts_with(b"bytes=")) {
            request.headers_mut().remove(RANGE);
        }
        Ok(Wanted(request))
    }
}

impl Input for Wanted {
    fn sketch(sketch: &mut Sketch, _: &mut Schemas) {
        sketch.headers.push(Param::new("Range", described::text, "A part of it, in bytes."));
    }
}

/// A file, or a part of one.
pub(crate) struct Attachment(Response);

impl IntoResponse for Attachment {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Attachment {
    fn replies(_: &mut Schemas) -> Vec<Reply> {
        let name =
            Param::new("content-disposition", described::text, "Its name, and whether it may be shown in place.");
        let range = Param::new("content-range", described::text, "Which part of how much it is.");
        let length = || json_schema!({"type": "string", "pattern": "^bytes \\*/[0-9]+$"});
        vec![
            Reply::new(200, "The attachment.").of("*/*", Schema::default()).with(name),
            Reply::new(206, "The part that was asked for.").of("*/*", Schema::default()).with(name).with(range),
            Reply::new(304, "It was not changed since."),
            Reply::new(412, "It was changed since."),
            Reply::new(416, "There is no such part.").with(Param { schema: length, ..range }),
        ]
    }
}

/// `GET /api/media/{trace_id}/{idx}`, whole or in part.
pub(crate) async fn attachment(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
    _: Query<Nothing>,
    Wanted(request): Wanted,
) -> Result<Attachment, Problem> {
    let Path((id, number)) = path.map_err(|_| Problem::not_found("no trace has this id"))?;
    number.parse::<u64>().map_err(|_| Problem::bad_param("idx", "must be a number, from 0"))?;
    let id = lines::id(Ok(Path(id)))?;
    let row = lines::row(&api, id).await?;
    let none = || Problem::not_found("the trace has no attachment of this number");
    let place = row.place().ok_or_else(none)?;
    let lease = api.parts.leases.shared(place.segment).map_err(|_| lines::deleted())?;
    let folder = api.parts.layout.media(place.segment.bucket, id);
    let find = {
        let folder = folder.clone();
        move || media::find(&folder, &number)
    };
    let name = tokio::task::spawn_blocking(find)
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?
        .ok_or_else(none)?;
    let served = ServeFile::new(folder.join(&name)).try_call(request).await.map_err(|error| failed(&error))?;
    // It can go between the look and the opening.
    if served.status() == axum::http::StatusCode::NOT_FOUND {
        return Err(none());
    }
    let (mut head, body) = served.into_parts();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if head.headers.contains_key(CONTENT_TYPE) {
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::mime_of(extension)));
    }
    let manner = if ACTIVE.contains(&extension) { "attachment" } else { "inline" };
    if let Ok(disposition) = HeaderValue::from_str(&format!("{manner}; filename=\"{name}\"")) {
        head.headers.insert(CONTENT_DISPOSITION, disposition);
    }
    head.headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // Who may store nothing has nothing to ask about later.
    head.headers.remove(LAST_MODIFIED);
    Ok(Attachment(Response::from_parts(head, Holding::body(Body::new(body), lease))))
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    Problem::server_error(error).with("detail", "the attachment cannot be read; the recorder's log says why")
}
