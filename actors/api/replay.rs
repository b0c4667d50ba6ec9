//! Recorded streams sent again, as they were or faster. A stream costs a timer; who plays the same trace shares it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_log::described::{self, Param};
use api_log::ids::TraceId;
use api_log::replay::{Pace, Playback, Script, ScriptError};
use api_log::wire::websocket::Side;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use parking_lot::Mutex;
use schemars::{Schema, json_schema};
use tokio::time::Instant;

use super::State as Api;
use super::endpoint::Schemas;
use super::errors::Problem;
use super::lines;
use super::params::{FromQuery, Params, Query};
use super::streams::{self, EventStream, Events};
use crate::kit::{Budget, Permit};

/// What all scripts under way may take together, in bytes, and how many there may be.
const MOST_BYTES: u64 = 256 << 20;
const MOST_SCRIPTS: usize = 1024;
/// A caller that was so much slower than the record is not hurried after it.
const SLACK: Duration = Duration::from_millis(250);

/// The scripts that somebody plays.
pub(crate) struct Scripts {
    open: Mutex<HashMap<TraceId, Weak<Loaded>>>,
    /// The memory they take.
    pub(super) room: Budget,
}

/// A script, and its memory.
struct Loaded {
    script: Arc<Script>,
    _permit: Permit,
}

impl Default for Scripts {
    fn default() -> Scripts {
        Scripts { open: Mutex::default(), room: Budget::new(MOST_BYTES, MOST_SCRIPTS) }
    }
}

impl Scripts {
    fn get(&self, id: TraceId) -> Option<Arc<Loaded>> {
        self.open.lock().get(&id)?.upgrade()
    }

    fn keep(&self, id: TraceId, script: Script) -> Result<Arc<Loaded>, Problem> {
        // One that is larger than all room takes all of it.
        let permit = self.room.try_take(script.bytes().min(MOST_BYTES)).ok_or_else(Problem::busy)?;
        let loaded = Arc::new(Loaded { script: Arc::new(script), _permit: permit });
        let mut open = self.open.lock();
        open.retain(|_, it| it.strong_count() > 0);
        open.insert(id, Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

/// `GET /api/traces/{id}/replay`. The parameters are looked at before the trace.
pub(crate) async fn replay(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    Query(pace): Query<Pace>,
) -> Result<EventStream<Recorded>, Problem> {
    let id = lines::id(id)?;
    let loaded = match api.scripts.get(id) {
        Some(loaded) => loaded,
        None => load(&api, id).await?,
    };
    let playing = Playing { frames: Playback::new(loaded.script.clone(), pace), due: None, _loaded: loaded };
    Ok(streams::events(&api, Body::from_stream(futures_util::stream::unfold(playing, Playing::next))))
}

/// A trace's script, for whoever needs it for a moment.
pub(super) async fn script(api: &Api, id: TraceId) -> Result<Arc<Script>, Problem> {
    match api.scripts.get(id) {
        Some(loaded) => Ok(loaded.script.clone()),
        None => Ok(load(api, id).await?.script.clone()),
    }
}

async fn load(api: &Api, id: TraceId) -> Result<Arc<Loaded>, Problem> {
    let row = lines::row(api, id).await?;
    let line = lines::line(api, id, &row).await?;
    // Somebody may have had it read meanwhile.
    if let Some(loaded) = api.scripts.get(id) {
        return Ok(loaded);
    }
    let script = Script::of(&line).map_err(|error| match error {
        ScriptError::NotStreaming => {
            Problem::new(StatusCode::BAD_REQUEST, "not_streaming", "this trace has no stream of events to replay")
        }
        ScriptError::Unreadable(error) => {
            tracing::warn!(trace = %id, %error, "a line cannot be read as a trace");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "trace_parse_failed", "the line is no trace")
        }
    })?;
    api.scripts.keep(id, script)
}

/// A playback on its way to its caller. It is asked for the next frame only when the caller takes it.
struct Playing {
    frames: Playback,
    /// When the frame before was due.
    due: Option<Instant>,
    _loaded: Arc<Loaded>,
}

impl Playing {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Playing)> {
        let (pause, frame) = self.frames.next()?;
        if !pause.is_zero() {
            let now = Instant::now();
            // Counted from when the one before was due, so that pauses do not add up their lateness.
            let before = self.due.filter(|due| *due + SLACK >= now).unwrap_or(now);
            self.due = Some(before + pause);
            tokio::time::sleep_until(before + pause).await;
        } else if self.due.is_none() {
            self.due = Some(Instant::now());
        }
        Some((Ok(frame), self))
    }
}

/// Events as they were recorded, by whatever name.
pub(crate) struct Recorded;

impl Events for Recorded {
    fn events(_: &mut Schemas) -> Vec<(&'static str, Schema)> {
        vec![]
    }
}

impl FromQuery for Pace {
    fn params() -> Vec<Param> {
        let speed = || json_schema!({"type": "number", "exclusiveMinimum": 0, "maximum": 100});
        let event = || json_schema!({"type": "integer", "minimum": 0, "maximum": usize::MAX});
        vec![
            Param::new("speed", speed, "So many times as fast as it was; 1 if nothing is said."),
            Param::new("nodelay", described::text, "`1` or `true`: as fast as can be. Anything else is off."),
            Param::new("from", event, "The first event, by its number from 0."),
            Param::new("to", event, "The event to stop before."),
            SIDE,
        ]
    }

    fn read(params: &Params, _: &Api) -> Result<Pace, Problem> {
        pace(params)
    }
}

/// Whose messages of a socket are wanted.
pub(super) const SIDE: Param = Param::new(
    "dir",
    || described::one_of(Side::ALL.map(Side::name).into_iter().chain(["both"])),
    "Whose messages of a socket; the server's if nothing is said.",
);

fn pace(params: &Params) -> Result<Pace, Problem> {
    let mut pace = Pace { speed: Some(1.0), from: 0, to: None, side: Some(Side::Server) };
    let mut has_no_delay = false;
    for (name, value) in params.first_of_each() {
        let bad = |detail: &str| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_param", format!("parameter {name}: {detail}"))
                .with("param", name)
                .with("detail", detail)
        };
        let number = || value.parse::<usize>().map_err(|_| bad("must be the number of an event, from 0"));
        match name {
            "speed" => {
                let speed = value.parse().ok().filter(|speed: &f64| *speed > 0.0 && *speed <= 100.0);
                pace.speed = Some(speed.ok_or_else(|| bad("must be a number above 0 and up to 100"))?);
            }
            "nodelay" => has_no_delay = matches!(value, "1" | "true"),
            "from" => pace.from = number()?,
            "to" => pace.to = Some(number()?),
            "dir" => pace.side = side(value).ok_or_else(|| bad("must be server, client or both"))?,
            unknown => return Err(Problem::bad_param(unknown, "unknown parameter")),
        }
    }
    if has_no_delay {
        pace.speed = None;
    }
    Ok(pace)
}

/// Whose messages of a socket: one side's, or (`None` within) both.
pub(super) fn side(named: &str) -> Option<Option<Side>> {
    match named {
        "both" => Some(None),
        side => Side::ALL.into_iter().find(|it| it.name() == side).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_refused_by_name() {
        let read = |query: &str| pace(&Params::of(Some(query)));
        let server = Some(Side::Server);
        assert_eq!(
            read("speed=0.5&speed=x&from=").unwrap(),
            Pace { speed: Some(0.5), from: 0, to: None, side: server }
        );
        assert_eq!(read("nodelay=true&speed=3&from=2&to=9&dir=both").unwrap().speed, None);
        assert_eq!(read("nodelay=yes").unwrap().speed, Some(1.0), "any other value is off");
        for bad in ["speed=0", "speed=101", "speed=NaN", "speed=-1", "from=-1", "to=x", "dir=up", "pace=1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
