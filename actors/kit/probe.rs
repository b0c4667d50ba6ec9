//! How a child fares, readable by anyone without asking it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use ractor::{ActorCell, ActorId};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// What stage a child is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChildState {
    /// Its first start, or a further one, is under way.
    Starting,
    /// It takes messages.
    Running,
    /// It failed, or ended though it should not have, and waits to be started again.
    BackingOff,
    /// It finishes what it has been sent.
    Stopping,
    /// It ended as it should.
    Stopped,
    /// It failed and will not be started again.
    Failed,
}

/// A failure and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct LastError {
    /// What it said.
    pub message: String,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: UnixMillis,
}

/// One supervised child's health: its supervisor writes state, whoever sends to it writes the queue.
pub(crate) struct ChildHealth {
    name: Arc<str>,
    queue_depth: AtomicU64,
    queue_high_water: AtomicU64,
    progress: AtomicU64,
    /// What waits for it outside of mailboxes.
    elsewhere: OnceLock<Box<dyn Fn() -> usize + Send + Sync>>,
    told: Mutex<Told>,
}

/// What its supervisor and the watchdog told.
struct Told {
    state: ChildState,
    since: UnixMillis,
    restarts: u64,
    last_error: Option<LastError>,
    hung_since: Option<UnixMillis>,
    /// Who to kill, and why it was killed if it was.
    cell: Option<ActorCell>,
    killed_for: Option<String>,
}

/// A piece of work that waits for a child or is under way in it. Made by the sender and carried in the message, or
/// made in a handler; when it is dropped, done or lost, the child has made progress.
pub(crate) struct Pending(Arc<ChildHealth>);

/// What the watchdog compares from look to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) actor: ActorId,
    pub(super) progress: u64,
    pub(super) waiting: u64,
}

/// One child in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Child")]
pub(crate) struct ChildReport {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub state: ChildState,
    /// Since when it is at that stage.
    #[serde(serialize_with = "as_text")]
    pub since: UnixMillis,
    /// How often it was started again since the program began.
    pub restarts: u64,
    /// Its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Since when it blocks so that not even a kill reaches it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
    pub hung_since: Option<UnixMillis>,
    /// Work that waits or is under way.
    pub queue_depth: u64,
    /// The most that ever was.
    pub queue_high_water: u64,
    /// Work done since the program began.
    pub progress: u64,
}

impl ChildReport {
    /// What is wrong with it, if anything is; `since` (or `hung_since`) says for how long.
    pub(crate) fn trouble(&self) -> Option<(&'static str, UnixMillis)> {
        match (self.hung_since, self.state) {
            (Some(since), _) => Some(("hung", since)),
            (None, ChildState::BackingOff) => Some(("backing_off", self.since)),
            (None, ChildState::Failed) => Some(("failed", self.since)),
            (None, ChildState::Starting | ChildState::Running | ChildState::Stopping | ChildState::Stopped) => None,
        }
    }
}

impl ChildHealth {
    pub(super) fn new(name: Arc<str>) -> ChildHealth {
        ChildHealth {
            name,
            queue_depth: AtomicU64::new(0),
            queue_high_water: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            elsewhere: OnceLock::new(),
            told: Mutex::new(Told {
                state: ChildState::Starting,
                since: UnixMillis::now(),
                restarts: 0,
                last_error: None,
                hung_since: None,
                cell: None,
                killed_for: None,
            }),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Work begins to wait for the child, or begins in it. From here to the drop of the last such piece the watchdog
    /// expects progress.
    pub(crate) fn begin(self: &Arc<ChildHealth>) -> Pending {
        let depth = self.queue_depth.fetch_add(1, Ordering::Relaxed) + 1;
        self.queue_high_water.fetch_max(depth, Ordering::Relaxed);
        Pending(self.clone())
    }

    /// Work waits for the child in a queue beside its mailbox too, so much; it [got on](ChildHealth::progressed) when it
    /// took some. The first queue that is named stays.
    pub(crate) fn also_waits(&self, waiting: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.elsewhere.set(Box::new(waiting));
    }

    /// A long piece of work got on, or some was taken: tells the watchdog that this is not a hang.
    pub(crate) fn progressed(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// How it stands.
    pub(crate) fn report(&self) -> ChildReport {
        let told = self.told.lock();
        ChildReport {
            name: self.name.to_string(),
            state: told.state,
            since: told.since,
            restarts: told.restarts,
            last_error: told.last_error.clone(),
            hung_since: told.hung_since,
            queue_depth: self.waiting(),
            queue_high_water: self.queue_high_water.load(Ordering::Relaxed),
            progress: self.progress.load(Ordering::Relaxed),
        }
    }

    /// It is at this stage from now on; ended stages forget the actor.
    pub(super) fn enter(&self, state: ChildState) {
        let mut told = self.told.lock();
        (told.state, told.since) = (state, UnixMillis::now());
        if !matches!(state, ChildState::Running | ChildState::Stopping) {
            (told.cell, told.hung_since, told.killed_for) = (None, None, None);
        }
    }

    /// It runs, as this actor.
    pub(super) fn running(&self, cell: ActorCell) {
        self.enter(ChildState::Running);
        self.told.lock().cell = Some(cell);
    }

    /// It gets one more start.
    pub(super) fn starts_again(&self) {
        self.enter(ChildState::Starting);
        self.told.lock().restarts += 1;
    }

    /// Notes a failure, with the watchdog's reason where it had one; gives back the whole text.
    pub(super) fn failed(&self, reason: &str) -> String {
        let mut told = self.told.lock();
        let message = match told.killed_for.take() {
            Some(why) => format!("{reason}: {why}"),
            None => reason.to_owned(),
        };
        told.last_error = Some(LastError { message: message.clone(), at: UnixMillis::now() });
        message
    }

    /// Whoever supervised this actor is gone, and so ractor killed it.
    pub(super) fn orphaned(&self, cell: &ActorCell) {
        if self.told.lock().cell.as_ref() == Some(cell) {
            self.enter(ChildState::Stopped);
        }
    }

    /// What the watchdog looks at, while there is an actor.
    pub(super) fn sample(&self) -> Option<Sample> {
        let actor = self.told.lock().cell.as_ref()?.get_id();
        Some(Sample { actor, progress: self.progress.load(Ordering::Relaxed), waiting: self.waiting() })
    }

    fn waiting(&self) -> u64 {
        let elsewhere = self.elsewhere.get().map_or(0, |it| it() as u64);
        self.queue_depth.load(Ordering::Relaxed) + elsewhere
    }

    /// Kills the actor and keeps the reason for [`ChildHealth::failed`].
    pub(super) fn kill(&self, why: String) {
        let mut told = self.told.lock();
        if let Some(cell) = &told.cell {
            cell.kill();
            told.killed_for = Some(why);
        }
    }

    /// Marks it hung from now on, or not hung; `true` if that is news.
    pub(super) fn set_hung(&self, hung: bool) -> bool {
        let mut told = self.told.lock();
        if told.hung_since.is_some() == hung {
            return false;
        }
        told.hung_since = hung.then(UnixMillis::now);
        true
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.progress.fetch_add(1, Ordering::Relaxed);
        self.0.queue_depth.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A time as the API writes it.
pub(super) fn as_text<S: Serializer>(at: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

pub(super) fn as_text_if_any<S: Serializer>(at: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => as_text(at, serializer),
        None => serializer.serialize_none(),
    }
}
