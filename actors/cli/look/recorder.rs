//! A running recorder, asked through its read API.

use std::path::Path;
use std::time::Duration;

use api_log::config::Config;
use api_log::index::query::TraceRow;
use api_log::store::layout::Layout;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::args::From;
use super::error::LookError;

/// Where a recorder listens if nobody says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:7862";
/// The variable that holds a token.
pub(in crate::cli) const TOKEN_VARIABLE: &str = "APILOG_TOKEN";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A stream says something every 15 s, if only that it is still there.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// The most rows that the API gives at once.
pub(super) const PAGE: usize = 500;

/// A recorder's API.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    client: Client,
    /// Without a slash at its end.
    pub(super) url: String,
}

/// A page of a list.
#[derive(serde::Deserialize)]
pub(super) struct Listed {
    pub(super) traces: Vec<TraceRow>,
    pub(super) next_cursor: Option<String>,
}

impl Recorder {
    pub(super) fn new(from: &From, config: &Config) -> Result<Recorder, LookError> {
        let url = from.url.clone().unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = url.trim_end_matches('/').to_owned();
        let wrong = |detail: &str| LookError::Url { url: url.clone(), detail: detail.to_owned() };
        if url.starts_with("https://") {
            return Err(wrong(
                "this command speaks plain HTTP only; for another machine: ssh -L 7862:localhost:7862 HOST",
            ));
        }
        if !url.starts_with("http://") {
            return Err(wrong("not a URL that begins with http://"));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token(from, config)? {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| LookError::Usage("the token holds characters that no header can carry".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        // What is asked is this machine or one that was named: no proxy of the environment knows the way better.
        let client = Client::builder().no_proxy().default_headers(headers).connect_timeout(CONNECT_WITHIN);
        let client = client.read_timeout(SILENT_FOR).build();
        let client = client.map_err(|error| LookError::Unreachable { url: url.clone(), reason: told(&error) })?;
        Ok(Recorder { client, url })
    }

    /// A route's answer, whose status is a good one.
    pub(super) async fn open(&self, target: &str, fields: HeaderMap) -> Result<Response, LookError> {
        let answer = self.client.get(format!("{}{target}", self.url)).headers(fields).send().await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(LookError::Unauthorized { url: self.url.clone() }),
            status => {
                let body = answer.text().await.unwrap_or_default();
                let message = serde_json::from_str::<serde_json::Value>(&body).ok();
                let message = message.and_then(|it| it["message"].as_str().map(str::to_owned));
                let advice = if status.is_server_error() { "; its log says more" } else { "" };
                let message = message.map_or_else(String::new, |it| format!(": {it}"));
                let message = format!("{status}{message}{advice}");
                Err(LookError::Refused { url: self.url.clone(), status: status.as_u16(), message })
            }
        }
    }

    /// A route's answer as text.
    pub(super) async fn text(&self, target: &str) -> Result<String, LookError> {
        let answer = self.open(target, HeaderMap::new()).await?;
        answer.text().await.map_err(|error| self.unreachable(&error))
    }

    /// A route's answer, read from JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, target: &str) -> Result<T, LookError> {
        let text = self.text(target).await?;
        serde_json::from_str(&text).map_err(|error| self.unreadable(&error))
    }

    /// A page of the list.
    pub(super) async fn list(
        &self,
        filters: &[(&str, String)],
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Listed, LookError> {
        // Gone before the answer is waited for: it cannot go from thread to thread.
        let target = {
            let mut query = query(filters);
            query.append_pair("limit", &limit.clamp(1, PAGE).to_string());
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
            format!("/api/traces?{}", query.finish())
        };
        self.json(&target).await
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> LookError {
        LookError::Unreachable { url: self.url.clone(), reason: told(error) }
    }

    pub(super) fn unreadable(&self, reason: &dyn std::fmt::Display) -> LookError {
        LookError::Answer { url: self.url.clone(), reason: reason.to_string() }
    }
}

/// Filters as query parameters.
pub(super) fn query(filters: &[(&str, String)]) -> form_urlencoded::Serializer<'static, String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filters);
    query
}

/// An error with what caused it, which says more.
fn told(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The token that was given, else that of the environment, else that of the configured data dir if it can be read.
fn token(from: &From, config: &Config) -> Result<Option<String>, LookError> {
    let read = |path: &Path| std::fs::read_to_string(path).map(|it| it.trim().to_owned());
    if let Some(token) = &from.token {
        return Ok(Some(token.clone()));
    }
    if let Some(path) = &from.token_file {
        return read(path).map(Some).map_err(|source| LookError::Token { path: path.clone(), source });
    }
    let of_environment = std::env::var(TOKEN_VARIABLE).ok().filter(|it| !it.is_empty());
    Ok(of_environment.or_else(|| read(&Layout::new(&config.storage.data_dir).token()).ok()))
}
