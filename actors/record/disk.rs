//! The disk, as writers and finalizers meet it: which step recording has come down to, and the actor that looks whether
//! it can come up again.
//!
//! The rules are the library's ([`DiskState`]). Here they meet the clock, the log, health and retention.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_log::store::disk::DiskSpace;
use api_log::store::layout::Layout;
use api_log::store::pressure::{self, DiskState, DiskTrouble, Pressed, Step, Verdict};
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::kit::{ChildHealth, Condition};

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What everybody who writes traces knows of the disk. The lock is held for a few instructions.
pub(crate) struct Disk {
    state: Mutex<Told>,
    /// Something may be wrong: else nobody takes the lock.
    is_pressed: AtomicBool,
    layout: Layout,
    full: Condition,
    failing: Condition,
    /// Called when there is no room, and then with each look: whoever can make room should.
    no_room: Box<dyn Fn() + Send + Sync>,
}

struct Told {
    disk: DiskState,
    /// What was said last. Nothing is said again for each trace.
    last: Option<(DiskTrouble, Step)>,
}

impl Disk {
    /// The disk of a data dir, on which `reserve` bytes are left free.
    pub(crate) fn new(
        layout: Layout,
        reserve: u64,
        (full, failing): (Condition, Condition),
        no_room: impl Fn() + Send + Sync + 'static,
    ) -> Disk {
        Disk {
            state: Mutex::new(Told { disk: DiskState::new(reserve), last: None }),
            is_pressed: AtomicBool::new(false),
            layout,
            full,
            failing,
            no_room: Box::new(no_room),
        }
    }

    /// A write was refused; whether it is the disk's trouble, or only that of a file.
    pub(crate) fn refused(&self, error: &io::Error) -> Option<DiskTrouble> {
        let trouble = DiskTrouble::of(error)?;
        self.is_pressed.store(true, Ordering::Release);
        self.change(|disk, now| disk.refused(trouble, error.to_string(), now));
        Some(trouble)
    }

    /// Lines were written.
    pub(crate) fn accepted(&self) {
        if self.is_pressed.load(Ordering::Acquire) {
            self.change(|disk, _| disk.accepted());
        }
    }

    /// What to do with a line that was refused; `may_wait` says whether there is memory for it meanwhile.
    pub(crate) fn verdict(&self, has_bodies: bool, may_wait: bool) -> Verdict {
        self.change(|disk, now| disk.verdict(has_bodies, may_wait, now))
    }

    /// Why traces are to be recorded without their bodies, if they are.
    pub(crate) fn leaves_out_bodies(&self) -> Option<DiskTrouble> {
        if !self.is_pressed.load(Ordering::Acquire) {
            return None;
        }
        self.state.lock().disk.leaves_out_bodies(Instant::now())
    }

    /// Looks at the disk (blocking): how much is free, and, in an outage, whether it takes a write again.
    fn look(&self) {
        let free = DiskSpace::of(self.layout.root()).ok().map(|it| it.free);
        let wants_probe = self.state.lock().disk.wants_probe();
        let probed = wants_probe.then(|| probe(&self.layout));
        self.change(|disk, now| disk.looked(free, probed, now));
        if self.state.lock().last.is_some_and(|(trouble, _)| trouble == DiskTrouble::Full) {
            (self.no_room)();
        }
    }

    /// Changes the state, and tells what has become of it: the log once, health for as long as it is so.
    fn change<T>(&self, change: impl FnOnce(&mut DiskState, Instant) -> T) -> T {
        let mut told = self.state.lock();
        let now = Instant::now();
        let done = change(&mut told.disk, now);
        let pressed = told.disk.pressed(now);
        let news = pressed.as_ref().map(|it| (it.trouble, it.step));
        let is_news = news != told.last;
        told.last = news;
        self.is_pressed.store(pressed.is_some(), Ordering::Release);
        // Still under the lock, so that health ends with what was said last.
        match &pressed {
            None if is_news => {
                tracing::info!("the disk takes lines again; traces are recorded whole");
                self.full.clear();
                self.failing.clear();
            }
            None => {}
            Some(Pressed { trouble, step, reason }) => {
                let (raised, other) = match trouble {
                    DiskTrouble::Full => (&self.full, &self.failing),
                    DiskTrouble::Failing => (&self.failing, &self.full),
                };
                raised.raise(format!("{reason}: {}", step.text()));
                other.clear();
                if is_news {
                    tracing::warn!(condition = raised.name(), reason, "the disk is in trouble: {}", step.text());
                }
            }
        }
        drop(told);
        if is_news && news.is_some_and(|(trouble, _)| trouble == DiskTrouble::Full) {
            (self.no_room)();
        }
        done
    }
}

#[cfg(not(test))]
fn probe(layout: &Layout) -> io::Result<()> {
    pressure::probe(&layout.tmp())
}

#[cfg(test)]
fn probe(layout: &Layout) -> io::Result<()> {
    match crate::faults::refusal() {
        Some(error) => Err(error),
        None => pressure::probe(&layout.tmp()),
    }
}

/// Looks at the disk, for it tells nobody when it is well again.
pub(crate) struct DiskWatch;

pub(crate) enum Msg {
    /// It is time to look.
    Look,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) disk: Arc<Disk>,
    pub(crate) health: Arc<ChildHealth>,
}

impl Actor for DiskWatch {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        myself.cast(Msg::Look)?;
        Ok(args)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut Args) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look => {
                let _pending = state.health.begin();
                fault!(await "disk");
                let disk = state.disk.clone();
                // A disk that hangs holds up this actor and nobody else.
                tokio::task::spawn_blocking(move || disk.look()).await?;
                myself.send_after(LOOK_EVERY, || Msg::Look);
            }
        }
        Ok(())
    }
}
