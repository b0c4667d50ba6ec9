//! Promises of the watchdog.

use std::time::Duration;

use tokio::time::Instant;

use super::{Order, Told, worker};
use crate::kit::watchdog::WatchdogState;
use crate::kit::{Child, Patience, Plan, Registry, Root, Slot, Watchdog, WatchdogArgs};

const PATIENCE: Duration = Duration::from_secs(30);

fn watchdog(registry: &Registry) -> (WatchdogArgs, Child) {
    let args = WatchdogArgs { registry: registry.clone(), period: Duration::from_secs(1), patience: PATIENCE };
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

    let now = Instant::now();
    state.look(now);
    state.look(now + PATIENCE);
    assert_eq!(health.report().trouble(), None, "it has only just been told to die");
    state.look(now + PATIENCE * 2);
    assert_eq!(health.report().trouble().unwrap().0, "hung");

    drop(release);
    told.until("it started").await;
    // The new one is told of here before its supervisor has noted it.
    slot.cast_when_there(Order::Work(1)).await;
    told.until("it did 1").await;
    state.look(now + PATIENCE * 3);
    assert_eq!(health.report().hung_since, None);
    root.drain(Duration::from_secs(60)).await.unwrap();
    lane.shutdown_background();
}
