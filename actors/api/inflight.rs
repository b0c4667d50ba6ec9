//! `/api/inflight`: what is being forwarded now, and the events of one as they arrive.
//!
//! All of it is read from captures, on threads where waiting is allowed. No lane waits for it, or is asked.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use api_log::capture::underway::{Codings, Underway};
use api_log::described::{self, Param};
use api_log::exchange::End;
use api_log::ids::{TraceId, UnixMillis};
use api_log::protocol::Protocol;
use api_log::wire::websocket::Side;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};

use super::State as Api;
use super::endpoint::Schemas;
use super::errors::{Answer, Problem};
use super::params::{FromQuery, Params, Query};
use super::streams::{self, EventStream, Events, LastEventId};
use super::tail::HEARTBEAT;
use super::{lines, replay};
use crate::kit::{Budget, Permit};
use crate::record::{Heard, LetGo, Log, LogShared, LookedAt};

/// Exchanges that are shown, unless the caller says otherwise, and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;
/// Lists made at once.
const LISTS_AT_ONCE: usize = 2;
/// For so long a list reads what it has not read yet.
const PATIENCE: Duration = Duration::from_millis(250);
/// Exchanges followed at once.
const FOLLOWERS: usize = 64;
/// Pieces of a log that are read in one go.
const PIECES: usize = 4;
/// How often a follower looks whether something has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// For so long a trace that has ended is waited for, and so often looked for.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
const RECORDED_EVERY: Duration = Duration::from_millis(100);

/// Places for those who look.
pub(crate) struct Lookers {
    lists: Semaphore,
    pub(super) followers: Budget,
}

impl Default for Lookers {
    fn default() -> Lookers {
        Lookers { lists: Semaphore::new(LISTS_AT_ONCE), followers: Budget::new(0, FOLLOWERS) }
    }
}

/// How many are wanted.
pub(crate) struct Limit(usize);

impl FromQuery for Limit {
    fn params() -> Vec<Param> {
        vec![Param::new("limit", || described::up_to(MOST), "At most so many; 100 if nothing is said.")]
    }

    fn read(params: &Params, _: &Api) -> Result<Limit, Problem> {
        let mut limit = USUAL;
        for (name, value) in params.first_of_each() {
            if name != "limit" {
                return Err(Problem::bad_param(name, "unknown parameter"));
            }
            let number = value.parse().ok().filter(|it| (1..=MOST).contains(it));
            limit = number.ok_or_else(|| Problem::bad_param(name, "must be an integer from 1 to 1000"))?;
        }
        Ok(Limit(limit))
    }
}

/// What is being forwarded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Inflight")]
pub(crate) struct Listed {
    /// How many exchanges are under way.
    total: usize,
    /// Those that began first, the oldest first.
    inflight: Vec<Shown>,
}

/// An exchange under way.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InflightExchange")]
struct Shown {
    /// The id that its trace will have.
    #[schemars(with = "TraceId")]
    id: String,
    /// When its request's head had been received.
    #[schemars(with = "UnixMillis")]
    ts_start: String,
    /// Since then.
    age_ms: u64,
    /// The method.
    method: String,
    /// The target with its query, credentials in it replaced.
    path: String,
    /// What it speaks.
    #[schemars(extend("enum" = Protocol::ALL.map(Protocol::name)))]
    protocol: &'static str,
    /// Whose it is: 16 hex digits.
    key_hash: String,
    /// The answer's status; null before there is one.
    status: Option<u16>,
    /// Request body bytes that have passed.
    req_bytes: u64,
    /// Response body bytes that have passed.
    resp_bytes: u64,
    /// Events that have arrived; null for what is no stream of events.
    events: Option<u64>,
    /// It has become a socket.
    socket: bool,
}

/// `GET /api/inflight`: those that began first stand first.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Query(Limit(limit)): Query<Limit>,
) -> Result<Answer<Listed>, Problem> {
    let _place = api.lookers.lists.acquire().await;
    let logs = api.parts.logs.clone();
    let look = move || look_at_all(&logs, limit);
    tokio::task::spawn_blocking(look).await.map(Answer).map_err(|error| Problem::server_error(&error))
}

fn look_at_all(logs: &LogShared, limit: usize) -> Listed {
    let began = Instant::now();
    let open = logs.open_logs();
    let looked = open.iter().take(limit).filter_map(|log| log.looked_at(|| began.elapsed() < PATIENCE));
    Listed { total: open.len(), inflight: looked.map(shown).collect() }
}

fn shown(it: LookedAt) -> Shown {
    let [req_bytes, resp_bytes] = it.passed;
    Shown {
        id: it.id.to_string(),
        ts_start: it.asked.ts_start.to_string(),
        age_ms: u64::try_from(it.age.as_millis()).unwrap_or(u64::MAX),
        method: it.asked.method,
        path: it.asked.path,
        protocol: it.asked.protocol.name(),
        key_hash: it.asked.key.to_string(),
        status: it.status,
        req_bytes,
        resp_bytes,
        events: it.events,
        socket: it.is_socket,
    }
}

/// Whose messages of a socket are wanted: the server's, unless the caller says otherwise.
pub(crate) struct Whose(Option<Side>);

impl FromQuery for Whose {
    fn params() -> Vec<Param> {
        vec![replay::SIDE]
    }

    fn read(params: &Params, _: &Api) -> Result<Whose, Problem> {
        let mut side = Some(Side::Server);
        for (name, value) in params.first_of_each() {
            if name != "dir" {
                return Err(Problem::bad_param(name, "unknown parameter"));
            }
            let named = replay::side(value);
            side = named.ok_or_else(|| Problem::bad_param(name, "must be server, client or both"))?;
        }
        Ok(Whose(side))
    }
}

/// Events as they arrive, by whatever name, and what is told of them.
pub(crate) struct Arriving;

/// How the exchange ended.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InflightEnd")]
struct Ended<'e> {
    /// How, as on the line; null if that is not known.
    #[schemars(extend("enum" = End::ALL.map(End::name).into_iter().map(Some).chain([None]).collect::<Vec<_>>()))]
    end: Option<&'e str>,
    /// How many events there were.
    events: u64,
}

/// The caller was too slow, or a message too long: so many were passed over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SkippedMessages")]
struct Skipped {
    /// How many.
    skipped: u64,
}

impl Events for Arriving {
    fn events(schemas: &mut Schemas) -> Vec<(&'static str, Schema)> {
        vec![("api-log.skipped", schemas.of::<Skipped>()), ("api-log.end", schemas.of::<Ended<'_>>())]
    }
}

/// `GET /api/inflight/{id}/events`: those that have arrived, then those that arrive, then how it ended.
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    Query(Whose(side)): Query<Whose>,
    LastEventId(last): LastEventId,
) -> Result<EventStream<Arriving>, Problem> {
    let none =
        || Problem::not_found("no exchange under way has this id; what has ended is at /api/traces/{id} and …/replay");
    let id = lines::id(id).map_err(|_| none())?;
    let last = last.as_ref().and_then(|it| it.to_str().ok()).and_then(|it| it.parse::<u64>().ok());
    let place = api.lookers.followers.try_take(0).ok_or_else(Problem::busy)?;
    let logs = api.parts.logs.clone();
    let limits = api.parts.shared.settings.limits;
    let find = move || {
        let log = logs.open_log(id)?;
        let mut underway = Underway::new(Codings::Undone(limits));
        let looked = look(&log, &mut underway, 1);
        Some((Arc::downgrade(&log), underway, looked))
    };
    let found = tokio::task::spawn_blocking(find).await.map_err(|error| Problem::server_error(&error))?;
    let (log, underway, looked) = found.ok_or_else(none)?;
    let mut follower = Follower {
        api: api.clone(),
        id,
        log,
        step: Step::Following(Box::new(underway)),
        side,
        given: 0,
        skip: last.map_or(0, |last| last.saturating_add(1)),
        ready: VecDeque::new(),
        heard: Instant::now(),
        _place: place,
    };
    follower.take(looked);
    follower.notice_socket();
    let events = futures_util::stream::unfold(follower, Follower::next);
    Ok(streams::events(&api, Body::from_stream(events)))
}

/// What a look found: events, and whether to look again at once, later, or not any more.
struct Looked {
    frames: Vec<String>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    AtOnce,
    Later,
    Ended(&'static str),
    LetGo,
}

fn look(log: &Log, underway: &mut Underway, pieces: usize) -> Looked {
    let mut frames = Vec::new();
    for _ in 0..pieces {
        let more = log.look_on(underway, |frame| frames.push(frame.to_owned()));
        if let Some(end) = underway.end() {
            return Looked { frames, then: Then::Ended(end.name()) };
        }
        match more {
            Ok(true) => {}
            Ok(false) => return Looked { frames, then: Then::Later },
            Err(LetGo) => return Looked { frames, then: Then::LetGo },
        }
    }
    Looked { frames, then: Then::AtOnce }
}

/// Somebody who follows an exchange. Nothing is read before the caller has taken what was read before, and the capture
/// is held for a look only: a slow caller costs it no memory.
struct Follower {
    api: Arc<Api>,
    id: TraceId,
    log: Weak<Log>,
    step: Step,
    /// Events given or skipped.
    given: u64,
    /// The caller has so many already.
    skip: u64,
    /// Whose messages, of a socket.
    side: Option<Side>,
    ready: VecDeque<Bytes>,
    heard: Instant,
    _place: Permit,
}

enum Step {
    Following(Box<Underway>),
    /// It is a socket: its messages come as its reader tells them.
    Listening(broadcast::Receiver<Arc<Heard>>),
    /// The capture is gone; what is left is read from the trace.
    Recorded,
    Over,
}

impl Follower {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Follower)> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.heard = Instant::now();
                return Some((Ok(frame), self));
            }
            match std::mem::replace(&mut self.step, Step::Over) {
                Step::Following(mut underway) => {
                    let log = self.log.clone();
                    let look = move || match log.upgrade() {
                        Some(log) => {
                            let looked = look(&log, &mut underway, PIECES);
                            (underway, looked)
                        }
                        None => (underway, Looked { frames: Vec::new(), then: Then::LetGo }),
                    };
                    let Ok((underway, looked)) = tokio::task::spawn_blocking(look).await else { return None };
                    let then = looked.then;
                    self.step = Step::Following(underway);
                    self.take(looked);
                    self.notice_socket();
                    if then == Then::Later && self.ready.is_empty() {
                        if self.heard.elapsed() >= HEARTBEAT {
                            self.ready.push_back(Bytes::from_static(b": heartbeat\n\n"));
                        } else {
                            tokio::time::sleep(LOOK_EVERY).await;
                        }
                    }
                }
                Step::Listening(listening) => self.hear(listening).await,
                Step::Recorded => self.take_recorded().await,
                Step::Over => return None,
            }
        }
    }

    fn take(&mut self, Looked { frames, then }: Looked) {
        frames.iter().for_each(|frame| self.give(frame.as_bytes()));
        match then {
            Then::AtOnce | Then::Later => {}
            Then::Ended(end) => self.end(Some(end)),
            Then::LetGo => self.step = Step::Recorded,
        }
    }

    /// An exchange that has become a socket goes on as one. What its messages were before is not known any more.
    fn notice_socket(&mut self) {
        if matches!(&self.step, Step::Following(underway) if underway.is_socket())
            && let Some(socket) = self.api.parts.open_sockets.get(self.id)
        {
            (self.step, self.skip) = (Step::Listening(socket.listen()), 0);
        }
    }

    async fn hear(&mut self, mut listening: broadcast::Receiver<Arc<Heard>>) {
        match tokio::time::timeout(HEARTBEAT, listening.recv()).await {
            Err(_) => self.ready.push_back(Bytes::from_static(b": heartbeat\n\n")),
            Ok(Ok(heard)) if self.side.is_none_or(|side| side == heard.side) => match &heard.frame {
                Some(frame) => self.give(frame.as_bytes()),
                None => self.tell_skipped(1),
            },
            Ok(Ok(_)) => {}
            Ok(Err(RecvError::Lagged(missed))) => self.tell_skipped(missed),
            // Its pieces are traces of their own: how it ended stands in the last of them.
            Ok(Err(RecvError::Closed)) => return self.end(None),
        }
        self.step = Step::Listening(listening);
    }

    fn tell_skipped(&mut self, messages: u64) {
        let told = json!(Skipped { skipped: messages });
        self.ready.push_back(format!("event: api-log.skipped\ndata: {told}\n\n").into());
    }

    /// Takes the events that had no time to be read from the capture from the line.
    async fn take_recorded(&mut self) {
        let deadline = Instant::now() + RECORDED_WITHIN;
        while Instant::now() < deadline {
            if let Ok(row) = lines::row(&self.api, self.id).await {
                // What is no stream has no events.
                if let Ok(script) = replay::script(&self.api, self.id).await {
                    let rest = (self.given as usize..).map_while(|number| script.event(number));
                    rest.for_each(|frame| self.give(&frame));
                }
                return self.end(Some(&row.end));
            }
            tokio::time::sleep(RECORDED_EVERY).await;
        }
        // It was filtered or dropped, or the index is far behind.
        self.end(None);
    }

    fn give(&mut self, frame: &[u8]) {
        if self.given >= self.skip {
            self.ready.push_back([format!("id: {}\n", self.given).as_bytes(), frame].concat().into());
        }
        self.given += 1;
    }

    fn end(&mut self, end: Option<&str>) {
        let told = json!(Ended { end, events: self.given });
        self.ready.push_back(format!("event: api-log.end\ndata: {told}\n\n").into());
        self.step = Step::Over;
    }
}
