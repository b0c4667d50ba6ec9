//! `/api/tail`: traces as they go into the index, for as long as the caller listens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use api_log::index::filter::Filter;
use api_log::index::query::TraceRow;
use api_log::index::query::tail::{self, Bounds, Position, Tailed};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use tokio::sync::watch;

use super::State as Api;
use super::endpoint::Schemas;
use super::errors::Problem;
use super::params::Query;
use super::readers::Load;
use super::streams::{self, EventStream, Events, LastEventId};
use crate::kit::Permit;

/// Those who follow at once: each asks the index after each of its transactions.
pub(super) const AT_ONCE: usize = 64;
/// Whoever is more rows behind than this skips all but the last of them.
const BOUNDS: Bounds = Bounds { page: 200, most_behind: 10_000, kept: 1_000, counted: 200_000 };
/// Between two questions to the index at least.
const PAUSE: Duration = Duration::from_millis(100);
/// And at most: an index that was replaced under its readers does not say so.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a caller that has nothing to hear is told that it is still connected.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is told.
pub(crate) struct Told;

/// The caller was too slow: traces were passed over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SkippedTraces")]
struct Skipped {
    /// How many.
    skipped: u64,
    /// There were more than that.
    at_least: bool,
}

/// The place to go on from is not known any more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LostPlace")]
struct Lost {
    /// Why, and what comes now.
    reason: &'static str,
}

impl Events for Told {
    fn events(schemas: &mut Schemas) -> Vec<(&'static str, Schema)> {
        vec![("trace", schemas.of::<TraceRow>()), ("skipped", schemas.of::<Skipped>()), ("lost", schemas.of::<Lost>())]
    }
}

/// `GET /api/tail`.
pub(crate) async fn tail(
    State(api): State<Arc<Api>>,
    Query(filter): Query<Filter>,
    LastEventId(last): LastEventId,
) -> Result<EventStream<Told>, Problem> {
    let known = last.as_ref().map(|it| it.to_str().ok().and_then(|it| it.parse::<Position>().ok()));
    let place = api.tails.try_take(0).ok_or_else(Problem::busy)?;
    // Before the end is looked up, so that nothing is missed in between.
    let grown = api.parts.shared.index.status().grown();
    let end = api.readers.read(Load::Light, |index| tail::end(index)).await?;
    let mut follower = Follower {
        api: api.clone(),
        filter,
        position: known.flatten().unwrap_or(end),
        events: VecDeque::new(),
        grown,
        is_behind: last.is_some(),
        _place: place,
    };
    if known == Some(None) {
        // Of another index, or of somebody else.
        follower.tell_lost();
    }
    let events = futures_util::stream::unfold(follower, Follower::next);
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"));
    Ok(streams::events(&api, events.into_response().into_body()))
}

/// Somebody who follows. Nothing is read from the index before the caller has taken what was read before.
struct Follower {
    api: Arc<Api>,
    filter: Filter,
    position: Position,
    events: VecDeque<Event>,
    grown: watch::Receiver<u64>,
    /// There may be more behind the position already.
    is_behind: bool,
    _place: Permit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Follower)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some((Ok(event), self));
            }
            if !std::mem::take(&mut self.is_behind) {
                tokio::time::sleep(PAUSE).await;
                // An error means that nothing will grow any more; then the API ends soon.
                let _ = tokio::time::timeout(LOOK_EVERY, self.grown.changed()).await;
            }
            let (filter, position) = (self.filter.clone(), self.position);
            match self.api.readers.read(Load::Light, move |index| tail::behind(index, &filter, position, BOUNDS)).await
            {
                Ok(tailed) => self.take(tailed),
                // It is busy, locked or being replaced: that passes.
                Err(error) => tracing::debug!(%error, "the index cannot be followed at the moment"),
            }
        }
    }

    fn take(&mut self, tailed: Tailed) {
        let Tailed { skipped, skipped_more, is_lost, rows, position } = tailed;
        self.position = position;
        self.is_behind = rows.len() == BOUNDS.page;
        if is_lost {
            self.tell_lost();
        }
        if skipped > 0 || skipped_more {
            self.events.push_back(told("skipped", &Skipped { skipped, at_least: skipped_more }));
        }
        for (position, row) in rows {
            match Event::default().event("trace").id(position.to_string()).json_data(&row) {
                Ok(event) => self.events.push_back(event),
                Err(error) => tracing::error!(%error, "a row cannot be written as JSON"),
            }
        }
    }

    fn tell_lost(&mut self) {
        let reason = "the index was made anew, or the trace is deleted; going on with what comes now";
        self.events.push_back(told("lost", &Lost { reason }));
    }
}

fn told(name: &str, what: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::json!(what).to_string())
}
