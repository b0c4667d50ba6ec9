//! The sealer: compresses finished segments, one after the other, on a thread that lets everybody else go first.
//!
//! It is a reconciler: whatever it is told, it looks at the data dir and does what is left to do. A crash costs the
//! segment being sealed, which is begun anew; its plain file stands until the sealed one is checked.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_log::counters::Counters;
use api_log::ids::{SegmentId, UnixMillis};
use api_log::jsonl::sealed::{Codec, Outcome, SealError, Step, due, seal};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::open_segments::OpenSegments;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::kit::{ChildHealth, Condition, Slot};

/// How often it looks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(120);
/// How long a segment rests after a failure; twice as long after each further one, up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 });
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

pub(crate) struct Sealer;

pub(crate) enum Msg {
    /// A segment may have been finished.
    Look,
    /// A thread is done with what it found, or failed.
    Ended(Result<(), String>),
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    /// Which segments writers have open.
    pub(crate) segments: OpenSegments,
    /// `None`: nothing is sealed.
    pub(crate) codec: Option<Codec>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
    /// Raised while a segment cannot be sealed.
    pub(crate) failing: Condition,
    pub(crate) slot: Slot<Msg>,
    pub(crate) across: Arc<Across>,
}

/// What outlives a restart.
#[derive(Default)]
pub(crate) struct Across {
    /// A thread is at work, perhaps a predecessor's: two must not seal the same segment.
    is_busy: AtomicBool,
    resting: Mutex<HashMap<SegmentId, Rest>>,
}

/// A segment that failed.
#[derive(Clone, Copy)]
struct Rest {
    until: Instant,
    pause: Duration,
}

pub(crate) struct State {
    args: Args,
    looks_again: bool,
    running: Option<Running>,
}

/// The thread at work. It stops soon after this is dropped, however that comes.
struct Running {
    stop: Arc<AtomicBool>,
    done: oneshot::Receiver<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Actor for Sealer {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        myself.cast(Msg::Look)?;
        myself.send_interval(LOOK_EVERY, || Msg::Look);
        Ok(State { args, looks_again: false, running: None })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look => {
                fault!(await "sealer");
                state.begin()?;
            }
            Msg::Ended(outcome) => {
                outcome?;
                if std::mem::take(&mut state.looks_again) {
                    state.begin()?;
                }
            }
        }
        Ok(())
    }

    /// What is being sealed is left, and begun anew at the next start.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(mut running) = state.running.take() {
            running.stop.store(true, Ordering::Relaxed);
            // An error means that the thread is gone already.
            let _ = (&mut running.done).await;
        }
        Ok(())
    }
}

impl State {
    fn begin(&mut self) -> std::io::Result<()> {
        let Some(codec) = self.args.codec else { return Ok(()) };
        if self.args.across.is_busy.swap(true, Ordering::AcqRel) {
            self.looks_again = true;
            return Ok(());
        }
        let busy = Busy(self.args.across.clone());
        let (args, stop) = (self.args.clone(), Arc::new(AtomicBool::new(false)));
        let (told, done) = oneshot::channel();
        self.running = Some(Running { stop: stop.clone(), done });
        std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            go_last();
            let outcome = catch_unwind(AssertUnwindSafe(|| args.pass(codec, &stop)));
            drop(busy);
            drop(told);
            let outcome = outcome.map_err(|_| "the thread that seals panicked".to_owned());
            // Nobody there: whoever comes looks by itself.
            let _ = args.slot.cast(Msg::Ended(outcome));
        })?;
        Ok(())
    }
}

/// A thread is at work while this lives.
struct Busy(Arc<Across>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Args {
    /// Seals all that is finished.
    fn pass(&self, codec: Codec, stop: &AtomicBool) {
        let _pending = self.health.begin();
        let found = match self.layout.segments() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the data dir cannot be listed; nothing is sealed for now");
                return;
            }
        };
        let due = due(&found, UnixMillis::now().date());
        self.across.resting.lock().retain(|segment, _| due.contains(segment));
        for segment in due {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if !self.is_resting(segment) {
                self.seal_one(segment, codec, stop);
            }
        }
        if self.across.resting.lock().is_empty() && self.failing.clear() {
            tracing::info!("every finished segment could be sealed again");
        }
    }

    fn is_resting(&self, segment: SegmentId) -> bool {
        self.across.resting.lock().get(&segment).is_some_and(|rest| Instant::now() < rest.until)
    }

    fn seal_one(&self, segment: SegmentId, codec: Codec, stop: &AtomicBool) {
        // Open in a writer, or being deleted: not ours.
        if !self.segments.finish(segment) {
            return;
        }
        let Ok(_lease) = self.leases.shared(segment) else { return };
        // Half deleted, and left so by a crash: it is not kept from being finished.
        if self.layout.deletion_mark(segment).exists() {
            return;
        }
        let mut watch = |step: Step| {
            self.health.progressed();
            if step == Step::Written {
                fault!("sealer.written");
            }
            match stop.load(Ordering::Relaxed) && step != Step::InPlace {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let begun = Instant::now();
        match self.seal(segment, codec, &mut watch) {
            Ok(Outcome::Sealed(sealed)) => {
                let recording = &self.counters.recording;
                recording.sealed_segments.increment();
                recording.sealed_bytes_in.add(sealed.plain_bytes);
                recording.sealed_bytes_out.add(sealed.packed_bytes);
                if sealed.cut_bytes > 0 {
                    recording.torn_lines.increment();
                    tracing::warn!(%segment, bytes = sealed.cut_bytes, "a torn last line was cut off and kept aside");
                }
                let (from, to, ms) = (sealed.plain_bytes, sealed.packed_bytes, begun.elapsed().as_millis() as u64);
                tracing::info!(%segment, from, to, ms, "a segment was sealed");
            }
            Ok(Outcome::WasSealed) => tracing::info!(%segment, "a plain file left beside its sealed one was removed"),
            Ok(Outcome::NotPlain) | Err(SealError::Stopped) => {}
            Err(error) => return self.failed(segment, &error),
        }
        self.across.resting.lock().remove(&segment);
    }

    fn failed(&self, segment: SegmentId, error: &SealError) {
        self.counters.recording.seal_errors.increment();
        let mut resting = self.across.resting.lock();
        let pause = resting.get(&segment).map_or(FIRST_PAUSE, |rest| (rest.pause * 2).min(LONGEST_PAUSE));
        resting.insert(segment, Rest { until: Instant::now() + pause, pause });
        drop(resting);
        self.failing.raise(format!("{segment} cannot be sealed and stays plain: {error}"));
        tracing::warn!(%segment, %error, ?pause, "a segment could not be sealed; it stays plain and is tried again");
    }

    fn seal(
        &self,
        segment: SegmentId,
        codec: Codec,
        watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
    ) -> Result<Outcome, SealError> {
        fault!(io "sealer.refused").map_err(|source| SealError::Io { path: self.layout.root().into(), source })?;
        seal(&self.layout, segment, codec, watch)
    }
}

/// Lets forwarding, recording and the index go before this thread: nobody waits for it.
fn go_last() {
    const NICENESS: libc::c_int = 19;
    // SAFETY: a plain system call; 0 is the calling thread. A refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
