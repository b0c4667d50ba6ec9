//! A nursery: the short-lived children of an actor, by key.
//!
//! It is a part of its owner's state, not an actor: starting a child costs no further message. A child's end reaches the
//! owner as a supervision event, which the nursery turns into news.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_log::ids::UnixMillis;
use futures_util::future::join_all;
use parking_lot::Mutex;
use ractor::concurrency::JoinHandle;
use ractor::{ActorId, ActorRef, Message, SpawnErr, SupervisionEvent};
use schemars::JsonSchema;
use serde::Serialize;

use super::ending::{Drained, drain_or_kill};
use super::{ChildHealth, ChildState, Ending, LastError};

/// Children under one actor: at most so many, one per key, never started again.
///
/// *Invariant:* whoever is here is linked to the owner and has not been told of as ended.
pub(crate) struct Nursery<K, M> {
    limit: usize,
    children: HashMap<K, Nursling<M>>,
    keys: HashMap<ActorId, K>,
    health: Arc<NurseryHealth>,
}

struct Nursling<M> {
    actor: ActorRef<M>,
    running: Running,
    watched: Option<Watched>,
}

/// A nursling's own health, which stops to be watched when the nursery loses the nursling.
struct Watched(Arc<ChildHealth>);

/// Counts a child as running until dropped, however the nursery loses it.
struct Running(Arc<NurseryHealth>);

/// News: a child of a nursery has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended<K> {
    /// Which.
    pub key: K,
    /// How.
    pub how: Ending,
}

/// Why a child was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    /// As many run as may.
    #[error("the nursery is full")]
    Full,
    /// The one before with this key has not ended yet.
    #[error("the key is in use")]
    KeyInUse,
    /// The start itself failed.
    #[error("the start failed: {0}")]
    Failed(#[from] SpawnErr),
}

/// A nursery's figures, readable by anyone.
pub(crate) struct NurseryHealth {
    name: Arc<str>,
    limit: AtomicU64,
    running: AtomicU64,
    high_water: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    last_error: Mutex<Option<LastError>>,
    watched: Mutex<Vec<Weak<ChildHealth>>>,
}

/// A nursery as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Nursery")]
pub(crate) struct NurseryReport {
    /// Its name.
    pub name: String,
    /// How many may run.
    pub limit: u64,
    /// How many do.
    pub running: u64,
    /// The most that ever did at once.
    pub high_water: u64,
    /// How many have ended, in whatever way.
    pub ended: u64,
    /// How many of them failed; failed starts count too.
    pub failed: u64,
    /// How many were not started because it was full.
    pub refused: u64,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

impl<K: Clone + Eq + Hash, M: Message> Nursery<K, M> {
    /// An empty one. What its predecessor, lost in a crash of the owner, left running has been killed by ractor.
    pub(crate) fn new(limit: usize, health: Arc<NurseryHealth>) -> Nursery<K, M> {
        health.limit.store(limit as u64, Ordering::Relaxed);
        Nursery { limit, children: HashMap::new(), keys: HashMap::new(), health }
    }

    /// Whether a further child would be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.children.len() >= self.limit
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether none runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The child of this key, which may be about to end: a cast to it can come back.
    pub(crate) fn get(&self, key: &K) -> Option<&ActorRef<M>> {
        self.children.get(key).map(|it| &it.actor)
    }

    /// All children.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &ActorRef<M>)> {
        self.children.iter().map(|(key, it)| (key, &it.actor))
    }

    /// Starts a child by awaiting `start`, which is `spawn_linked` or [`spawn_on`](super::spawn_on) with the owner's cell.
    /// The owner hears nothing else meanwhile, so the child's `pre_start` should be short.
    ///
    /// # Errors
    /// [`NotStarted`]; where it is `Full` or `KeyInUse`, `start` is dropped unpolled with all it holds: who wants that
    /// back asks [`is_full`](Nursery::is_full) and [`get`](Nursery::get) first.
    pub(crate) async fn start(
        &mut self,
        key: K,
        start: impl Future<Output = Result<(ActorRef<M>, JoinHandle<()>), SpawnErr>>,
    ) -> Result<&ActorRef<M>, NotStarted> {
        self.admit(&key)?;
        let actor = self.started(start.await)?;
        Ok(self.insert(key, actor, None))
    }

    /// As [`start`](Nursery::start), for a child that the [`Watchdog`](super::Watchdog) looks after: who sends to it, or
    /// it itself, [begins](ChildHealth::begin) each piece of work on the health given to `start`.
    ///
    /// # Errors
    /// As [`start`](Nursery::start).
    pub(crate) async fn start_watched<S>(
        &mut self,
        key: K,
        start: impl FnOnce(Arc<ChildHealth>) -> S,
    ) -> Result<&ActorRef<M>, NotStarted>
    where
        S: Future<Output = Result<(ActorRef<M>, JoinHandle<()>), SpawnErr>>,
    {
        self.admit(&key)?;
        let health = self.health.watch();
        let actor = self.started(start(health.clone()).await)?;
        health.running(actor.get_cell());
        Ok(self.insert(key, actor, Some(Watched(health))))
    }

    /// To be called from the owner's `handle_supervisor_evt`: the news, if the event tells of the end of a child here.
    pub(crate) fn ended(&mut self, event: SupervisionEvent) -> Option<Ended<K>> {
        let (cell, how) = Ending::of(event)?;
        let key = self.keys.remove(&cell.get_id())?;
        let watched = self.children.remove(&key).and_then(|it| it.watched);
        let how = match (how, watched) {
            (Ending::Failed(reason), Some(watched)) => Ending::Failed(watched.0.failed(&reason)),
            (how, _) => how,
        };
        if let Ending::Failed(reason) = &how {
            self.health.failed(reason.clone());
        }
        Some(Ended { key, how })
    }

    /// Lets all children finish what they have been sent, all at once, and kills those that take longer than the grace.
    /// There is no news of these ends; the number of the killed is given back.
    pub(crate) async fn drain(&mut self, grace: Duration) -> usize {
        self.keys.clear();
        let drained = join_all(self.children.drain().map(|(_, Nursling { actor, running, watched })| {
            let health = &self.health;
            async move {
                let drained = drain_or_kill(&actor, grace).await;
                drop((running, watched));
                if drained == Drained::Killed {
                    health.failed(format!("killed: not drained within {grace:?}"));
                }
                drained
            }
        }));
        drained.await.into_iter().filter(|it| *it == Drained::Killed).count()
    }
}

impl<K: Clone + Eq + Hash, M: Message> Nursery<K, M> {
    fn admit(&self, key: &K) -> Result<(), NotStarted> {
        if self.children.contains_key(key) {
            return Err(NotStarted::KeyInUse);
        }
        if self.is_full() {
            self.health.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NotStarted::Full);
        }
        Ok(())
    }

    fn started<T>(&self, outcome: Result<(ActorRef<M>, T), SpawnErr>) -> Result<ActorRef<M>, SpawnErr> {
        let (actor, _) = outcome.inspect_err(|error| self.health.failed(error.to_string()))?;
        Ok(actor)
    }

    fn insert(&mut self, key: K, actor: ActorRef<M>, watched: Option<Watched>) -> &ActorRef<M> {
        self.keys.insert(actor.get_id(), key.clone());
        let nursling = Nursling { actor, running: Running::new(&self.health), watched };
        &self.children.entry(key).or_insert(nursling).actor
    }
}

impl<K, M> Drop for Nursery<K, M> {
    /// Ractor kills the children of an owner that crashed.
    fn drop(&mut self) {
        for _ in 0..self.children.len() {
            self.health.failed("killed: its owner failed".to_owned());
        }
    }
}

impl NurseryHealth {
    pub(super) fn new(name: Arc<str>) -> NurseryHealth {
        NurseryHealth {
            name,
            limit: AtomicU64::new(0),
            running: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            last_error: Mutex::new(None),
            watched: Mutex::new(Vec::new()),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it stands.
    pub(crate) fn report(&self) -> NurseryReport {
        NurseryReport {
            name: self.name.to_string(),
            limit: self.limit.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            high_water: self.high_water.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            last_error: self.last_error.lock().clone(),
        }
    }

    /// The health of a child that is about to start, under the nursery's name.
    fn watch(&self) -> Arc<ChildHealth> {
        let health = Arc::new(ChildHealth::new(self.name.clone()));
        let mut watched = self.watched.lock();
        // Many come and go between two looks; whenever the list has doubled, those that are gone leave it.
        if watched.len() == watched.capacity() {
            watched.retain(|it| it.strong_count() > 0);
            let room = watched.len() + 16;
            watched.reserve(room);
        }
        watched.push(Arc::downgrade(&health));
        health
    }

    /// Those of its children that are watched.
    pub(super) fn watched(&self) -> Vec<Arc<ChildHealth>> {
        let mut watched = self.watched.lock();
        watched.retain(|it| it.strong_count() > 0);
        watched.iter().filter_map(Weak::upgrade).collect()
    }

    fn failed(&self, message: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(LastError { message, at: UnixMillis::now() });
    }
}

impl Running {
    fn new(health: &Arc<NurseryHealth>) -> Running {
        let running = health.running.fetch_add(1, Ordering::Relaxed) + 1;
        health.high_water.fetch_max(running, Ordering::Relaxed);
        Running(health.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watched {
    /// Messages under way may hold the health for longer.
    fn drop(&mut self) {
        self.0.enter(ChildState::Stopped);
    }
}
