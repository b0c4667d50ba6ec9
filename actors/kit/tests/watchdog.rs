//! Promises of the watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Order, Told, worker};
use crate::kit::watchdog::WatchdogState;
use crate::kit::{Child, Escalation, Patience, Plan, Registry, Root, Slot, Watchdog, WatchdogArgs};

const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn watchdog(registry: &Registry) -> (WatchdogArgs, Child) {
    let args = WatchdogArgs {
        registry: registry.clone(),
        period: PERIOD,
        patience: PATIENCE,
        limit: LIMIT,
        escalation: Escalation::default(),
        excuse: Arc::new(|| None),
        excused: registry.condition("excused"),
    };
    let again = args.clone();
    (args, Child::actor("watchdog", &Slot::new(), move || (Watchdog, again.clone())))
}

async fn root_of(registry: &Registry, children: Vec<Child>) -> Root {
    let patience = Patience { first_delay: Duration::from_millis(1), ..Patience::default() };
    Root::start(Plan { patience, registry: registry.clone(), children }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_while_work_waits_is_killed_and_started_again() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let _root = root_of(&registry, vec![worker("it", &slot, &tell), watchdog(&registry).1]).await;
    let began = told.until("it started").await;
    assert!(slot.cast(Order::Hang(registry.child("it").begin())).is_ok());
    let waited = told.until("it started").await - began;
    assert!(waited >= PATIENCE && waited < PATIENCE + Duration::from_secs(3), "{waited:?}");
    let it = registry.child("it").report();
    assert_eq!(it.last_error.unwrap().message, "killed: no progress for 30s while 1 waited");
    assert_eq!((it.restarts, it.queue_depth, it.queue_high_water, it.hung_since), (1, 0, 1, None));
}

#[tokio::test(start_paused = true)]
async fn idle_children_and_those_that_get_on_are_left_alone() {
    let (tell, mut told) = Told::channel();
    let (registry, busy, idle) = (Registry::new(), Slot::new(), Slot::new());
    let children = vec![worker("busy", &busy, &tell), worker("idle", &idle, &tell), watchdog(&registry).1];
    let _root = root_of(&registry, children).await;
    let health = registry.child("busy");
    assert!(busy.cast(Order::Hang(health.begin())).is_ok());
    for _ in 0..10 {
        tokio::time::sleep(PATIENCE - Duration::from_secs(3)).await;
        health.progressed();
    }
    assert_eq!(told.so_far(), ["busy started", "idle started"]);
    assert_eq!((health.report().restarts, registry.child("idle").report().restarts), (0, 0));
}

/// In real time, because a thread is blocked; the looks are taken at made-up times.
#[tokio::test]
async fn a_child_that_blocks_its_thread_is_shown_as_hung_until_it_comes_back_and_dies() {
    let lane = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let root = root_of(&registry, vec![worker("it", &slot, &tell).on(lane.handle().clone())]).await;
    let mut state = WatchdogState::new(watchdog(&registry).0);
    let health = registry.child("it");
    let (release, blocked) = std::sync::mpsc::channel();
    assert!(slot.cast(Order::Block(health.begin(), blocked)).is_ok());
    told.until("it blocks").await;

    let mut looks = Looks::new(&mut state);
    looks.go_on_for(PATIENCE);
    assert_eq!(health.report().trouble(), None, "it has only just been told to die");
    looks.go_on_for(LIMIT - PERIOD);
    assert_eq!(health.report().trouble().unwrap().0, "hung");
    assert_eq!(looks.0.escalation().reason(), None, "it may come back");
    looks.go_on_for(PERIOD);
    let reason = looks.0.escalation().raised().await;
    assert_eq!(reason, "it hangs and cannot be killed, for more than 90s");

    drop(release);
    told.until("it started").await;
    // The new one is told of here before its supervisor has noted it.
    slot.cast_when_there(Order::Work(1)).await;
    told.until("it did 1").await;
    looks.go_on_for(PERIOD);
    assert_eq!(health.report().hung_since, None);
    root.drain(Duration::from_secs(60)).await.unwrap();
    lane.shutdown_background();
}

/// Looks at made-up times, a period apart.
struct Looks<'w>(&'w mut WatchdogState, Instant);

impl<'w> Looks<'w> {
    fn new(watchdog: &'w mut WatchdogState) -> Looks<'w> {
        let now = Instant::now();
        watchdog.look(now);
        Looks(watchdog, now)
    }

    fn go_on_for(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / PERIOD.as_secs() {
            self.1 += PERIOD;
            self.0.look(self.1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_killed_though_its_work_waits_outside_of_its_mailbox() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let queue = Arc::new(AtomicUsize::new(0));
    let waiting = queue.clone();
    registry.child("it").also_waits(move || waiting.load(Ordering::Relaxed));
    let _root = root_of(&registry, vec![worker("it", &slot, &tell), watchdog(&registry).1]).await;
    let began = told.until("it started").await;
    tokio::time::sleep(PATIENCE * 2).await;
    queue.store(5, Ordering::Relaxed);
    assert_eq!(registry.child("it").report().queue_depth, 5);
    let waited = told.until("it started").await - began;
    assert!(waited >= PATIENCE * 3 && waited < PATIENCE * 3 + Duration::from_secs(3), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_finds_nobody_guilty_when_it_goes_on() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let _root = root_of(&registry, vec![worker("it", &slot, &tell)]).await;
    let pulse = registry.pulse("threads");
    told.until("it started").await;
    let _work = registry.child("it").begin();
    let mut watchdog = WatchdogState::new(watchdog(&registry).0);
    let mut looks = Looks::new(&mut watchdog);
    for _ in 0..10 {
        looks.1 += Duration::from_secs(3600);
        looks.0.look(looks.1);
    }
    assert_eq!((registry.child("it").report().last_error, pulse.report().stopped_since), (None, None));
    assert_eq!(looks.0.escalation().reason(), None);
}

#[tokio::test(start_paused = true)]
async fn threads_whose_pulse_is_missed_are_shown_and_end_the_system_beyond_the_limit() {
    let registry = Registry::new();
    let (quick, slow) = (registry.pulse("quick"), registry.pulse("slow"));
    let mut watchdog = WatchdogState::new(watchdog(&registry).0);
    let mut looks = Looks::new(&mut watchdog);
    for _ in 0..PATIENCE.as_secs() {
        quick.beat();
        looks.go_on_for(PERIOD);
    }
    let troubles = registry.snapshot().troubles;
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert_eq!((troubles[0].name.as_str(), troubles[0].reason), ("slow", "blocked"));
    slow.beat();
    quick.beat();
    looks.go_on_for(PERIOD);
    assert_eq!(registry.snapshot().troubles, [], "it beats again");
    looks.go_on_for(PATIENCE + LIMIT - PERIOD);
    assert_eq!(looks.0.escalation().reason(), None);
    looks.go_on_for(PERIOD);
    assert!(looks.0.escalation().reason().unwrap().contains("blocked, for more than 90s"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_killed_or_given_up_while_the_world_outside_is_the_reason() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let _root = root_of(&registry, vec![worker("it", &slot, &tell)]).await;
    registry.pulse("threads");
    told.until("it started").await;
    let _work = registry.child("it").begin();
    let is_stalled = Arc::new(AtomicBool::new(true));
    let stalled = is_stalled.clone();
    let excuse = move || stalled.load(Ordering::Relaxed).then(|| "the disk".to_owned());
    let args = WatchdogArgs { excuse: Arc::new(excuse), ..watchdog(&registry).0 };
    let mut watchdog = WatchdogState::new(args);
    let mut looks = Looks::new(&mut watchdog);
    looks.go_on_for((PATIENCE + LIMIT) * 10);
    let raised = registry.snapshot().conditions;
    assert_eq!((raised[0].condition, raised[0].reason.as_str()), ("excused", "the disk"));
    assert_eq!((registry.child("it").report().restarts, looks.0.escalation().reason()), (0, None));
    is_stalled.store(false, Ordering::Relaxed);
    looks.go_on_for(PATIENCE - PERIOD);
    assert_eq!((registry.snapshot().conditions, registry.snapshot().troubles), (vec![], vec![]));
    looks.go_on_for(PERIOD);
    told.until("it started").await;
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_to_give_up_stands() {
    let escalation = Escalation::default();
    assert!(escalation.raise("one"));
    assert!(!escalation.clone().raise("another"));
    assert_eq!(escalation.raised().await, "one");
}
