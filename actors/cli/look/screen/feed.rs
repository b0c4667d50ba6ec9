//! What asks the recorder, beside the keys: each question a task that tells the model by a bounded channel, and asks
//! again when the recorder is gone.

use std::time::Duration;

use api_log::curl::{self, Credentials};
use api_log::ids::TraceId;
use api_log::index::query::TraceRow;
use api_log::jsonl::line::read_kept;
use api_log::transcript::layout::Page;
use api_log::wire::sse::{Event, Splitter};
use axum::body::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use super::super::error::LookError;
use super::super::recorder::Recorder;
use super::super::show;
use super::super::source;
use super::super::tail_recorder::{self, FIRST_PAUSE, LONGEST_PAUSE};
use super::model::{Inflight, News, Order};
use super::reading::Reading;

/// How often it is asked what is under way, and how it fares.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Exchanges under way, and traces, that are asked for at once.
const MOST_INFLIGHT: usize = 200;
const EARLIER: usize = 200;

#[derive(Debug, serde::Deserialize)]
struct Listed {
    total: usize,
    inflight: Vec<Inflight>,
}

/// The questions that are being asked. They end with it.
pub(super) struct Feed {
    recorder: Recorder,
    news: Sender<News>,
    constant: [AbortHandle; 2],
    follows: Option<AbortHandle>,
    /// The last thing that was asked for.
    fetches: Option<AbortHandle>,
}

impl Feed {
    pub(super) fn start(recorder: Recorder, filters: Vec<(&'static str, String)>, news: Sender<News>) -> Feed {
        let tail = tokio::spawn(tail(recorder.clone(), filters, news.clone()));
        let look = tokio::spawn(look(recorder.clone(), news.clone()));
        let constant = [tail.abort_handle(), look.abort_handle()];
        Feed { recorder, news, constant, follows: None, fetches: None }
    }

    /// Carries out what the model wants of the recorder.
    pub(super) fn carry_out(&mut self, order: Order) {
        let (recorder, news) = (self.recorder.clone(), self.news.clone());
        match order {
            Order::Quit => {}
            Order::LetGo => end(&mut self.follows),
            Order::Follow(id) => {
                end(&mut self.follows);
                self.follows = Some(tokio::spawn(follow(recorder, id, news)).abort_handle());
            }
            Order::Open(id) => self.fetch(async move { told(&news, read(recorder, &id).await).await }),
            Order::Curl(id) => self.fetch(async move { told(&news, command(recorder, id).await).await }),
        }
    }

    fn fetch(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        end(&mut self.fetches);
        self.fetches = Some(tokio::spawn(work).abort_handle());
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.constant.iter().for_each(AbortHandle::abort);
        end(&mut self.follows);
        end(&mut self.fetches);
    }
}

fn end(task: &mut Option<AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

async fn told(news: &Sender<News>, came: Result<News, LookError>) {
    let _ = news.send(came.unwrap_or_else(|error| News::Failed(error.to_string()))).await;
}

/// Traces as they are indexed, for as long as somebody hears. Each connection begins with those that are there, so
/// that none is missed between two; the model knows them again by their ids.
async fn tail(recorder: Recorder, filters: Vec<(&'static str, String)>, news: Sender<News>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match tail_once(&recorder, &filters, &news, &mut pause).await {
            Ok(()) => "it ended the connection".to_owned(),
            Err(error) => error.to_string(),
        };
        if news.send(News::Lost(lost)).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn tail_once(
    recorder: &Recorder,
    filters: &[(&'static str, String)],
    news: &Sender<News>,
    pause: &mut Duration,
) -> Result<(), LookError> {
    let open = tail_recorder::connect(recorder, filters, None).await?;
    let page = recorder.list(filters, EARLIER, None).await?;
    *pause = FIRST_PAUSE;
    for told in [News::Connected, News::Earlier(page.traces)] {
        let _ = news.send(told).await;
    }
    let mut events = Events::of(open);
    while let Some(event) = events.next(recorder).await? {
        let data = event.data.as_deref().unwrap_or("null");
        let heard = match &*event.name {
            "trace" => {
                let row: TraceRow = serde_json::from_str(data).map_err(|error| recorder.unreadable(&error))?;
                News::Trace(Box::new(row))
            }
            "skipped" => News::Skipped(format!("too far behind: {}", tail_recorder::skipped(data))),
            _ => continue,
        };
        let _ = news.send(heard).await;
    }
    Ok(())
}

/// The events of an answer.
struct Events {
    pieces: BoxStream<'static, reqwest::Result<Bytes>>,
    splitter: Splitter,
    /// Whole, and not given yet; the next one stands last.
    ready: Vec<Event<'static>>,
}

impl Events {
    fn of(open: Response) -> Events {
        Events { pieces: open.bytes_stream().boxed(), splitter: Splitter::new(), ready: Vec::new() }
    }

    async fn next(&mut self, recorder: &Recorder) -> Result<Option<Event<'static>>, LookError> {
        while self.ready.is_empty() {
            let Some(piece) = self.pieces.next().await else { return Ok(None) };
            self.splitter.push(&piece.map_err(|error| recorder.unreachable(&error))?, &mut self.ready);
            self.ready.reverse();
        }
        Ok(self.ready.pop())
    }
}

/// What is under way, and how the recorder fares. A failure is told by those who follow traces.
async fn look(recorder: Recorder, news: Sender<News>) {
    while !news.is_closed() {
        if let Ok(Listed { total, inflight }) = recorder.json(&format!("/api/inflight?limit={MOST_INFLIGHT}")).await {
            let _ = news.send(News::Inflight(total, inflight)).await;
        }
        if let Ok(health) = recorder.json("/healthz").await {
            let _ = news.send(News::Health(Box::new(health))).await;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The events of one under way, then how it ended. A connection that breaks is made anew, from the last event on.
async fn follow(recorder: Recorder, id: String, news: Sender<News>) {
    let mut position: Option<String> = None;
    let mut has_begun = false;
    let mut pause = FIRST_PAUSE;
    let how = loop {
        let mut is_open = false;
        match follow_once(&recorder, &id, &news, &mut position, &mut is_open).await {
            Ok(Some(how)) => break how,
            // It was there before: nobody has said how it ended meanwhile.
            Err(LookError::Refused { status: 404, .. }) if has_begun => break "while nobody heard".to_owned(),
            // A recorder that starts or is busy may give it later; whatever else it says, it will say again.
            Err(LookError::Refused { status: 500.., .. }) if has_begun => {}
            Err(error @ LookError::Refused { .. }) => break error.to_string(),
            Ok(None) | Err(_) if news.is_closed() => return,
            Ok(None) | Err(_) => {}
        }
        has_begun |= is_open;
        pause = if is_open { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(pause).await;
    };
    let _ = news.send(News::Ended(id, how)).await;
}

/// One connection: how the exchange ended, or nothing if the connection ended first.
async fn follow_once(
    recorder: &Recorder,
    id: &str,
    news: &Sender<News>,
    position: &mut Option<String>,
    is_open: &mut bool,
) -> Result<Option<String>, LookError> {
    let mut fields = HeaderMap::new();
    if let Some(position) = position.as_deref().and_then(|it| HeaderValue::try_from(it).ok()) {
        fields.insert("last-event-id", position);
    }
    let open = recorder.open(&format!("/api/inflight/{id}/events?dir=both"), fields).await?;
    *is_open = true;
    let mut events = Events::of(open);
    while let Some(event) = events.next(recorder).await? {
        if let Some(at) = event.field("id") {
            *position = Some(at.to_owned());
        }
        let data = event.data.map(|it| it.into_owned()).unwrap_or_default();
        if &*event.name == "api-log.end" {
            let told: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
            return Ok(Some(told["end"].as_str().unwrap_or("unknown").to_owned()));
        }
        let _ = news.send(News::Event(id.to_owned(), event.name.into_owned(), data)).await;
    }
    Ok(None)
}

async fn found(recorder: Recorder, id: &str) -> Result<source::Found, LookError> {
    let id: TraceId = id.parse().map_err(|_| recorder.unreadable(&format_args!("an id {id}")))?;
    source::fetched(&recorder, id).await
}

async fn read(recorder: Recorder, id: &str) -> Result<News, LookError> {
    let found = found(recorder, id).await?;
    let pages = source::blocking(move || show::conversation(&found)).await??;
    let page = Page(pages.into_iter().flat_map(|it| it.0).collect());
    Ok(News::Read(Reading::new(id.to_owned(), format!("trace {id}"), page)))
}

async fn command(recorder: Recorder, id: String) -> Result<News, LookError> {
    let found = found(recorder, &id).await?;
    let command =
        source::blocking(move || read_kept(&found.line).map(|kept| curl::command(&kept, Credentials::Variables)));
    Ok(News::Curl(id, command.await??))
}

/// Whether there is a recorder that answers: asked before the screen is taken.
pub(super) async fn greet(recorder: &Recorder) -> Result<(), LookError> {
    recorder.json::<Listed>("/api/inflight?limit=1").await?;
    Ok(())
}
