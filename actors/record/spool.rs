//! The spool: appends what captures have to files in `tmp/`, about once a second, and takes large ones out of memory.
//!
//! A log is readable wherever it stands, so a crash, or a disk that refuses, costs nothing but memory and safety.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use api_log::counters::Counters;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::intake::{LOOK_EVERY, SpoolOrder};
use super::log::{Log, LogShared};
use crate::kit::ChildHealth;

/// How often it looks for captures that are old enough.
const EVERY: Duration = Duration::from_secs(1);
/// However much there is to do, so many parts of the time are left to others for each that it takes.
const IDLE_PARTS: u32 = 9;
/// The same for what is spilled though its exchange has ended.
const ENDED_IDLE_PARTS: u32 = 3;
/// Logs spooled in one go; then the mailbox has its turn.
const AT_ONCE: usize = 64;
/// Pause after a refusal, so that a full disk is not asked for each log.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Spool;

pub(crate) enum Msg {
    /// There is something in the queue.
    Wake,
    /// It is time to look at all logs.
    Look,
    /// The look goes on.
    GoOn,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) logs: Arc<LogShared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
}

pub(crate) struct State {
    args: Args,
    /// Logs to be spooled at this look. One that is done with meanwhile keeps no memory for it.
    due: VecDeque<Weak<Log>>,
    looked: Instant,
    /// From when on another log is spilled whose exchange has ended.
    ended_from: Instant,
    buffer: Vec<u8>,
}

impl Actor for Spool {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        myself.cast(Msg::Wake)?;
        myself.send_interval(LOOK_EVERY, || Msg::Wake);
        myself.send_after(EVERY, || Msg::Look);
        Ok(State { args, due: VecDeque::new(), looked: Instant::now(), ended_from: Instant::now(), buffer: Vec::new() })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Wake => state.carry_out(&myself),
            Msg::Look => state.look(&myself),
            Msg::GoOn => state.go_on(&myself),
        }
        Ok(())
    }
}

impl State {
    /// Carries out one order and comes back for the next, so that a drain is not kept waiting by a long queue.
    fn carry_out(&mut self, myself: &ActorRef<Msg>) {
        let spills = &self.args.logs.intake.spills;
        let Some(order) = spills.pop() else {
            if !spills.sleep() {
                wake(myself);
            }
            return;
        };
        self.args.health.progressed();
        match order {
            SpoolOrder::Watch(log) => self.args.logs.strays.lock().push(log),
            SpoolOrder::Discard(log) => drop(log),
            SpoolOrder::Spill(log) => {
                fault!("spool");
                if let Some(log) = log.upgrade().filter(|it| self.is_worth_a_file(it)) {
                    log.take_order();
                    let _pending = self.args.health.begin();
                    let began = Instant::now();
                    if !self.spool(&log) {
                        myself.send_after(REFUSED_PAUSE, || Msg::Wake);
                        return;
                    }
                    if log.has_ended() {
                        self.ended_from = Instant::now() + began.elapsed() * ENDED_IDLE_PARTS;
                    }
                }
            }
        }
        wake(myself);
    }

    /// Whether an order to spill this log is to be carried out. If its exchange has ended, only for much memory, and as
    /// far as it leaves time for lines, which give back all: when more ends than can be written, files for what waits
    /// would be made instead of lines.
    fn is_worth_a_file(&self, log: &Log) -> bool {
        !log.has_ended() || (log.has_to_shed() && Instant::now() >= self.ended_from)
    }

    /// Looks which logs are old enough.
    fn look(&mut self, myself: &ActorRef<Msg>) {
        let logs = &self.args.logs;
        self.looked = Instant::now();
        let if_due = |log: Arc<Log>| log.is_due().then(|| Arc::downgrade(&log));
        self.due.extend((0..logs.arena.heads()).filter_map(|head| logs.arena.log(head)).filter_map(if_due));
        let mut strays = logs.strays.lock();
        strays.retain(|it| it.strong_count() > 0);
        self.due.extend(strays.iter().filter_map(Weak::upgrade).filter_map(if_due));
        drop(strays);
        self.go_on(myself);
    }

    /// Some of those that are due; then it rests, so that of any stretch of time it takes its part and no more.
    fn go_on(&mut self, myself: &ActorRef<Msg>) {
        let began = Instant::now();
        let _pending = self.args.health.begin();
        for _ in 0..AT_ONCE {
            let Some(log) = self.due.pop_front() else { break };
            self.args.health.progressed();
            if log.upgrade().is_some_and(|log| !self.spool(&log)) {
                self.due.clear();
            }
        }
        let rest = began.elapsed() * IDLE_PARTS;
        if self.due.is_empty() {
            myself.send_after(rest.max(EVERY.saturating_sub(self.looked.elapsed())), || Msg::Look);
        } else {
            myself.send_after(rest, || Msg::GoOn);
        }
    }

    /// Appends what is new, and takes a large log out of memory; `false` if the disk refuses.
    fn spool(&mut self, log: &Log) -> bool {
        let counters = &self.args.counters.recording;
        #[cfg(test)]
        crate::faults::stall("disk.stalled");
        match log.spool(&mut self.buffer) {
            Ok(_) => {
                if log.is_large() {
                    counters.spilled_blocks.add(log.shed());
                }
                true
            }
            Err(error) => {
                counters.spill_errors.increment();
                tracing::warn!(%error, "captures cannot be spooled to tmp/ and stay in memory");
                false
            }
        }
    }
}

/// Comes back to the queue. An error means that the recorder ends: what is left is read from memory.
fn wake(myself: &ActorRef<Msg>) {
    let _ = myself.cast(Msg::Wake);
}

#[cfg(test)]
mod tests {
    use api_log::capture::record::Kind;
    use api_log::ids::{TraceId, UnixMillis};

    use super::super::log::Need;
    use super::super::log::tests::shared;
    use super::*;
    use crate::kit::Registry;

    #[test]
    fn of_what_has_ended_only_much_is_worth_a_file_and_not_all_the_time() {
        let (logs, _dir) = shared(4 << 20);
        let args = Args { logs: logs.clone(), counters: Arc::default(), health: Registry::new().child("spool") };
        let ended_from = Instant::now();
        let mut state = State { args, due: VecDeque::new(), looked: ended_from, ended_from, buffer: Vec::new() };
        let log = |id: u8, bytes: usize| {
            let id = TraceId::from_bytes([id; 16]);
            let log = Log::begin(
                &logs,
                id,
                UnixMillis(7),
                ([127, 0, 0, 1], 1).into(),
                "http://gw",
                b"GET / HTTP/1.1\r\n\r\n",
            );
            log.append(Kind::ResponseBody, 1, &vec![b'a'; bytes], Need::WithinBudget);
            log
        };
        let (small, large) = (log(1, 10_000), log(2, 200_000));
        assert!(state.is_worth_a_file(&small) && state.is_worth_a_file(&large), "more may come");
        small.append(Kind::End, 2, &[], Need::Vital);
        large.append(Kind::End, 2, &[], Need::Vital);
        assert!(!state.is_worth_a_file(&small) && state.is_worth_a_file(&large));
        state.ended_from = Instant::now() + Duration::from_secs(3600);
        assert!(!state.is_worth_a_file(&large), "lines have their time");
    }
}
