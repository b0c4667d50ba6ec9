//! The hosted viewer's files, for anyone: what it shows, it asks the API for, with the token.

use std::sync::Arc;

use api_log::ids::UnixMillis;
use api_log::viewer::INDEX;
use api_log::viewer::site::{Site, caching};
use api_log::viewer::standing::{Source, Standing};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

use super::State as Api;
use super::errors::Problem;
use super::routes::open;
use super::viewer_headers;

/// The routes below `public_path`.
pub(super) fn routes(public_path: &str) -> Router<Arc<Api>> {
    Router::new()
        .route(public_path, open(with_slash))
        .route(&format!("{public_path}/"), open(file))
        .route(&format!("{public_path}/{{*path}}"), open(file))
        .layer(axum::middleware::map_response(viewer_headers::protect))
}

/// The page's addresses are relative to its folder.
async fn with_slash(State(api): State<Arc<Api>>, uri: Uri) -> Response {
    let query = uri.query().map_or(String::new(), |it| format!("?{it}"));
    redirect(&format!("{}/{query}", api.parts.viewer.public_path))
}

fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]).into_response(),
        Err(_) => not_found(),
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

/// A file of the site.
async fn file(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let viewer = &api.parts.viewer;
    let standing = viewer.standing();
    let Some(site) = &standing.site else { return Ok(absent(&standing)) };
    let path = match request.uri().path().strip_prefix(&viewer.public_path) {
        Some("/") => format!("/{INDEX}"),
        Some("/index.html") => return Ok(redirect("./")),
        // A file has one address: relative ones within it would lead elsewhere from another.
        Some(path) if path.ends_with('/') || path.contains("//") => return Ok(not_found()),
        Some(path) => path.to_owned(),
        None => return Ok(not_found()),
    };
    let tag = site.tag(&path).and_then(|tag| HeaderValue::from_str(&format!("\"{tag}\"")).ok());
    let mut asked = request.headers().clone();
    if let Some(known) = asked.remove(IF_NONE_MATCH) {
        if tag.as_ref().is_some_and(|tag| names(&known, tag)) {
            let mut answer = StatusCode::NOT_MODIFIED.into_response();
            tell_how_long(answer.headers_mut(), &path, tag);
            return Ok(answer);
        }
        // Of two questions the exact one counts (RFC 9110 §13.1.3).
        asked.remove(IF_MODIFIED_SINCE);
    }
    serve(site, &path, request.method().clone(), asked, tag).await
}

async fn serve(
    site: &Site,
    path: &str,
    method: Method,
    mut asked: HeaderMap,
    tag: Option<HeaderValue>,
) -> Result<Response, Problem> {
    // Who has a part of another version gets the whole; a date does not tell versions apart (RFC 9110 §13.1.5).
    if asked.remove(IF_RANGE).is_some_and(|it| Some(&it) != tag.as_ref()) {
        asked.remove(RANGE);
    }
    let Ok(uri) = Uri::builder().path_and_query(path).build() else { return Ok(not_found()) };
    let mut inner = Request::new(Body::empty());
    (*inner.method_mut(), *inner.uri_mut(), *inner.headers_mut()) = (method, uri, asked);
    let served = ServeDir::new(site.root()).append_index_html_on_directories(false).try_call(inner).await;
    let mut answer = match served {
        Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(not_found()),
        Ok(answer) => answer.map(Body::new),
        Err(error) => return Err(Problem::server_error(&error)),
    };
    if matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        tell_how_long(answer.headers_mut(), path, tag);
    }
    Ok(answer)
}

fn tell_how_long(headers: &mut HeaderMap, path: &str, tag: Option<HeaderValue>) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching(path)));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
}

/// Whether a list of tags, or `*`, names this one; the weak form of a tag is as good here.
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    list.as_bytes()
        .split(|it| *it == b',')
        .map(<[u8]>::trim_ascii)
        .any(|it| it == b"*" || it.strip_prefix(b"W/").unwrap_or(it) == tag.as_bytes())
}

/// Why there is nothing to serve.
fn absent(standing: &Standing) -> Response {
    if standing.source == Source::Disabled {
        let off = "the web viewer is switched off; see viewer.enabled";
        return without_retry(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "disabled", off));
    }
    let detail = standing.error.as_deref().unwrap_or("it is being looked for");
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "viewer_unavailable",
        format!("the web viewer is not there: {detail}"),
    );
    let mut answer = without_retry(problem.with("detail", detail));
    let wait = standing.next_try.map(|it| (it.0 - UnixMillis::now().0).max(0) / 1000 + 1);
    if let Some(wait) = wait {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    answer
}

/// A second is no time to ask again here.
fn without_retry(problem: Problem) -> Response {
    let mut answer = problem.into_response();
    answer.headers_mut().remove(RETRY_AFTER);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = HeaderValue::from_static("\"ab\"");
        for list in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*"] {
            assert!(names(&HeaderValue::from_static(list), &tag), "{list}");
        }
        for list in ["", "\"abc\"", "ab", "\"x\",W/\"y\""] {
            assert!(!names(&HeaderValue::from_static(list), &tag), "{list}");
        }
    }
}
