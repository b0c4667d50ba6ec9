//! Releases asked for and fetched. The token goes to the configured service and to nobody else.

use std::time::Duration;

use api_log::config::{Secret, Viewer};
use api_log::viewer::download::{Download, DownloadError};
use api_log::viewer::failure::Failure;
use api_log::viewer::release::{self, Asset, Release};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, USER_AGENT};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, Url};

use crate::proxy::reason;

const OURSELVES: &str = "api-log/viewerhost";
/// What the service is asked for a release's description with, and for its bytes.
const DESCRIPTION: &str = "application/vnd.github+json";
const BYTES: &str = "application/octet-stream";
/// How long a connection may take,
const CONNECT: Duration = Duration::from_secs(10);
/// an answer or a part of it,
const READ: Duration = Duration::from_secs(30);
/// and the whole of it.
const WHOLE: Duration = Duration::from_secs(600);
/// The longest description of a release, in bytes.
const MOST_DESCRIPTION: u64 = 4 << 20;
/// Redirections that are followed.
const MOST_REDIRECTS: usize = 5;

const THE_RELEASE: &str = "the release's description";
const THE_ARCHIVE: &str = "the release's archive";

/// A service that is asked for releases.
pub(super) struct Releases {
    client: Client,
    base: Url,
    token: Option<Secret>,
}

impl Releases {
    /// The one that is configured. The environment's proxies are used, unless it says otherwise.
    pub(super) fn new(viewer: &Viewer) -> Result<Releases, Failure> {
        let base = viewer.releases_api_base.as_ref().map_or(release::DEFAULT_BASE, |it| &it.text);
        let base = Url::parse(base.trim_end_matches('/'))
            .map_err(|error| Failure::Client(format!("viewer.releases_api_base: {error}")))?;
        let tls = crate::tls::http1_client(base.scheme() == "https").map_err(Failure::Client)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .timeout(WHOLE)
            .referer(false)
            .redirect(Policy::custom(follow))
            .build()
            .map_err(|error| Failure::Client(reason(&error)))?;
        Ok(Releases { client, base, token: viewer.releases_auth_token.clone() })
    }

    /// Where the release's archive is.
    pub(super) async fn find(&self, release: &Release) -> Result<Asset, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), release.path()));
        let mut answer = self.ask(THE_RELEASE, url.clone(), DESCRIPTION).await?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(THE_RELEASE, &url, error))? {
            text.extend_from_slice(&chunk);
            if text.len() as u64 > MOST_DESCRIPTION {
                return Err(Failure::TooLong { what: THE_RELEASE, host: host(&url), most: MOST_DESCRIPTION });
            }
        }
        Ok(release::asset_of(&text)?)
    }

    /// Fetches the archive.
    pub(super) async fn download(&self, asset: &Asset, mut into: Download) -> Result<Download, Failure> {
        let url = self.url_of(asset)?;
        let mut answer = self.ask(THE_ARCHIVE, url.clone(), BYTES).await?;
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(THE_ARCHIVE, &url, error))? {
            let wrote = tokio::task::spawn_blocking(move || into.write(&chunk).map(|()| into));
            let wrote = wrote.await.map_err(|error| Failure::Client(error.to_string()))?;
            into = wrote.map_err(|error| match error {
                DownloadError::TooLong(most) => Failure::TooLong { what: THE_ARCHIVE, host: host(&url), most },
                DownloadError::Disk(source) => Failure::Cache { path: "the download".into(), source },
            })?;
        }
        Ok(into)
    }

    /// From where to fetch: what only a token opens is asked of the service itself, if it offers that.
    fn url_of(&self, asset: &Asset) -> Result<Url, Failure> {
        let parse = |text: &str| {
            let url = Url::parse(text).ok().filter(|it| matches!(it.scheme(), "http" | "https"));
            url.ok_or_else(|| Failure::Client("the release's archive has no address that can be asked".to_owned()))
        };
        let url = parse(&asset.url)?;
        let by_api = asset.by_api.as_deref().and_then(|it| parse(it).ok()).filter(|it| self.is_service(it));
        Ok(by_api.filter(|_| self.token.is_some() && !self.is_service(&url)).unwrap_or(url))
    }

    fn is_service(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    async fn ask(&self, what: &'static str, url: Url, accept: &'static str) -> Result<Response, Failure> {
        let mut request = self.client.get(url.clone()).header(USER_AGENT, OURSELVES).header(ACCEPT, accept);
        // What it redirects to elsewhere goes without: the client takes it off.
        if let Some(token) = self.token.as_ref().filter(|_| self.is_service(&url)) {
            let mut token = HeaderValue::from_str(&format!("token {}", token.reveal()))
                .map_err(|_| Failure::Client("viewer.releases_auth_token cannot be sent in a header".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        let answer = request.send().await.map_err(|error| unreachable(what, &url, error))?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            status => Err(Failure::Status { what, host: host(answer.url()), status }),
        }
    }
}

/// Follows a few redirections, and none that gives up TLS.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let gives_up_tls =
        attempt.previous().last().is_some_and(|it| it.scheme() == "https") && attempt.url().scheme() != "https";
    if gives_up_tls {
        attempt.error("it redirects from https to http")
    } else if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("it redirects on and on")
    } else {
        attempt.follow()
    }
}

/// Whom a failure is about. The rest of an address may hold a key.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn unreachable(what: &'static str, url: &Url, error: reqwest::Error) -> Failure {
    let at = error.url().cloned().unwrap_or_else(|| url.clone());
    Failure::Unreachable { what, host: host(&at), reason: reason(&error.without_url()) }
}
