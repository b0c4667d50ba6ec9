//! Children on another runtime than their supervisor's. These run in real time: a paused clock would not wait for the
//! other runtime's threads.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{Args, Order, Told, Worker, worker};
use crate::kit::{Patience, Plan, Registry, Root, Slot, spawn_on};

fn lane() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name("lane").enable_time().build().unwrap()
}

#[tokio::test]
async fn a_child_on_another_runtime_is_supervised_restarted_there_and_drained() {
    let lane = lane();
    let (tell, mut told) = Told::channel();
    let slot = Slot::new();
    let patience = Patience { first_delay: Duration::from_millis(1), ..Patience::default() };
    let children = vec![worker("it", &slot, &tell).on(lane.handle().clone())];
    let root = Root::start(Plan { patience, registry: Registry::new(), children }).await.unwrap();
    assert_eq!(slot.ask(Order::WhereAreYou).await.unwrap(), "lane");
    assert!(slot.cast(Order::Panic).is_ok());
    told.until("it started").await;
    told.until("it started").await;
    slot.cast_when_there(Order::Work(1)).await;
    assert_eq!(slot.ask(Order::WhereAreYou).await.unwrap(), "lane");
    root.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!(told.so_far(), ["it did 1", "it stopped"]);
    lane.shutdown_background();
}

#[tokio::test]
async fn a_runtime_that_has_ended_is_a_failed_start() {
    let (tell, _told) = Told::channel();
    let lane = lane();
    let handle = lane.handle().clone();
    lane.shutdown_background();
    let (owner, _) = Worker::spawn(None, Worker, Args { name: "owner", told: tell.clone() }).await.unwrap();
    let start = spawn_on(&handle, Worker, Args { name: "it", told: tell }, owner.get_cell()).await;
    assert!(start.err().unwrap().to_string().contains("has ended"));
}

/// An actor whose start tells that it has begun and never ends.
struct Endless;

impl Actor for Endless {
    type Msg = ();
    type State = ();
    type Arguments = (oneshot::Sender<()>, oneshot::Sender<()>);

    async fn pre_start(&self, _: ActorRef<()>, (begun, _held): Self::Arguments) -> Result<(), ActorProcessingErr> {
        let _ = begun.send(());
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_any_more_is_given_up() {
    let lane = lane();
    let (tell, _told) = Told::channel();
    let (owner, _) = Worker::spawn(None, Worker, Args { name: "owner", told: tell }).await.unwrap();
    let ((begun, has_begun), (held, dropped)) = (oneshot::channel(), oneshot::channel());
    tokio::select! {
        _ = spawn_on(lane.handle(), Endless, (begun, held), owner.get_cell()) => panic!("it never starts"),
        begun = has_begun => begun.unwrap(),
    }
    assert!(dropped.await.is_err(), "the start was dropped");
    assert!(owner.get_children().is_empty());
    lane.shutdown_background();
}
