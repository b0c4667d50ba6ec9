//! Promises of the slot, and of a budget whose permits are queued in a crashing actor.

use std::time::Duration;

use super::{Order, Told, worker};
use crate::kit::{Budget, Child, NoAnswer, NobodyThere, Patience, Plan, Registry, Root, Slot};

async fn root_of(child: Child) -> Root {
    let plan = Plan { patience: Patience::default(), registry: Registry::new(), children: vec![child] };
    Root::start(plan).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_empty_slot_hands_the_message_back() {
    let slot = Slot::new();
    let Err(NobodyThere(Order::Work(number))) = slot.cast(Order::Work(7)) else { panic!("taken by nobody") };
    assert_eq!(number, 7);
    assert_eq!(slot.ask(Order::WhereAreYou).await, Err(NoAnswer::NobodyThere));
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_valid_across_a_restart_and_hands_back_between() {
    let (tell, mut told) = Told::channel();
    let slot = Slot::new();
    let _root = root_of(worker("it", &slot, &tell)).await;
    told.until("it started").await;
    assert!(slot.cast(Order::Panic).is_ok());
    // Lost behind the panic, or handed back: the two things that can happen until the restart.
    while slot.cast(Order::Work(0)).is_ok() {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let slot = slot.clone();
        async move { slot.cast_when_there(Order::Work(1)).await }
    });
    assert_eq!(told.next().await.0, "it started");
    assert_eq!(told.next().await.0, "it did 1");
    waiting.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_the_first_start() {
    let (tell, mut told) = Told::channel();
    let slot = Slot::new();
    let waiting = tokio::spawn({
        let slot = slot.clone();
        async move { slot.cast_when_there(Order::Work(1)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let _root = root_of(worker("it", &slot, &tell)).await;
    told.until("it did 1").await;
}

#[tokio::test(start_paused = true)]
async fn a_question_ends_with_the_actor_it_was_put_to() {
    let (tell, mut told) = Told::channel();
    let slot = Slot::new();
    let _root = root_of(worker("it", &slot, &tell)).await;
    told.until("it started").await;
    assert!(slot.ask(Order::WhereAreYou).await.is_ok());
    assert!(slot.cast(Order::Panic).is_ok());
    assert_eq!(slot.ask(Order::WhereAreYou).await, Err(NoAnswer::Dropped));
}

#[tokio::test(start_paused = true)]
async fn a_crash_gives_back_the_permits_of_its_queue() {
    let (tell, mut told) = Told::channel();
    let (slot, budget) = (Slot::new(), Budget::new(100, 10));
    let _root = root_of(worker("it", &slot, &tell)).await;
    told.until("it started").await;
    assert!(slot.cast(Order::Panic).is_ok());
    for _ in 0..4 {
        assert!(slot.cast(Order::Hold(budget.try_take(25).unwrap())).is_ok());
    }
    assert!(budget.try_take(1).is_none());
    told.until("it started").await;
    let report = budget.report();
    assert_eq!((report.used_bytes, report.used_count, report.refused), (0, 0, 1));
    assert_eq!((report.high_water_bytes, report.high_water_count), (100, 4));
    let _whole = tokio::time::timeout(Duration::from_secs(1), budget.take(100)).await.unwrap();
}
