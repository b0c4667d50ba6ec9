//! A release service of the test's own: it gives what it is told to, and remembers how it was asked.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

/// How it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) agent: Option<String>,
}

/// What it gives.
#[derive(Default)]
pub(crate) struct Gives {
    /// Refusals, of which each question gets one before anything else is given.
    pub(crate) refusals: VecDeque<u16>,
    /// The archive.
    pub(crate) archive: Vec<u8>,
    /// Names of the release's files; `dist.zip` if there are none.
    pub(crate) names: Vec<&'static str>,
    /// Where `browser_download_url` leads; itself if nowhere.
    pub(crate) download_from: Option<String>,
    /// Whether it tells of an address of its own for the file, too.
    pub(crate) has_own_address: bool,
    /// Where it redirects who asks for the archive.
    pub(crate) redirects_to: Option<String>,
}

/// A service that runs until it is ended or dropped.
pub(crate) struct Releases {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    base: String,
    gives: Mutex<Gives>,
    asked: Mutex<Vec<Asked>>,
}

impl Releases {
    pub(crate) fn start(gives: Gives) -> Releases {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let shared =
            Arc::new(Shared { base: format!("http://{address}"), gives: Mutex::new(gives), asked: Mutex::default() });
        let (end, ended) = oneshot::channel();
        let state = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let socket = tokio::net::TcpListener::from_std(socket).unwrap();
                let routes = axum::Router::new().fallback(answer).with_state(state);
                tokio::select! {
                    served = axum::serve(socket, routes) => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Releases { address, shared, end: Some(end), thread: Some(thread) }
    }

    /// One with this archive.
    pub(crate) fn with(archive: &[u8]) -> Releases {
        Releases::start(Gives { archive: archive.to_vec(), ..Gives::default() })
    }

    /// What `viewer.releases_api_base` says.
    pub(crate) fn base(&self) -> &str {
        &self.shared.base
    }

    /// Every question so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }

    /// The questions for this path.
    pub(crate) fn asked_for(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|it| it.path == path).collect()
    }

    /// The network is gone.
    pub(crate) fn end(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        self.end();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let field = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let path = request.uri().path().to_owned();
    shared.asked.lock().push(Asked {
        path: path.clone(),
        authorization: field("authorization"),
        accept: field("accept"),
        agent: field("user-agent"),
    });
    let mut gives = shared.gives.lock();
    if let Some(refusal) = gives.refusals.pop_front() {
        return StatusCode::from_u16(refusal).unwrap().into_response();
    }
    match path.as_str() {
        "/download/dist.zip" | "/assets/1" => match gives.redirects_to.clone() {
            Some(to) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
            None => gives.archive.clone().into_response(),
        },
        "/moved/dist.zip" => gives.archive.clone().into_response(),
        _ if path.starts_with("/repos/") => {
            let names = if gives.names.is_empty() { vec!["dist.zip"] } else { gives.names.clone() };
            let from = gives.download_from.as_ref().unwrap_or(&shared.base);
            let file = |name: &&str| match gives.has_own_address {
                true => json!({"name": name, "browser_download_url": format!("{from}/download/{name}"),
                               "url": format!("{}/assets/1", shared.base)}),
                false => json!({"name": name, "browser_download_url": format!("{from}/download/{name}")}),
            };
            let files: Vec<_> = names.iter().map(file).collect();
            axum::Json(json!({"tag_name": "v9", "assets": files})).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
