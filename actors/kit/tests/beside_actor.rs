//! Promises of a task beside an actor.

use ractor::Actor;
use tokio::sync::oneshot;

use super::{Args, Order, Told, Worker, worker};
use crate::kit::{Patience, Plan, Registry, Root, Slot, beside, beside_local};

#[tokio::test(start_paused = true)]
async fn a_panic_beside_an_actor_is_the_actors_failure() {
    let (tell, mut told) = Told::channel();
    let (registry, slot) = (Registry::new(), Slot::new());
    let plan =
        Plan { patience: Patience::default(), registry: registry.clone(), children: vec![worker("it", &slot, &tell)] };
    let _root = Root::start(plan).await.unwrap();
    told.until("it started").await;
    assert!(slot.cast(Order::PanicBeside).is_ok());
    assert_eq!(told.next().await.0, "it stopped");
    assert_eq!(told.next().await.0, "it started");
    let error = registry.child("it").report().last_error.unwrap().message;
    assert_eq!(error, "the task beside it panicked: beside, as ordered");
}

#[tokio::test(start_paused = true)]
async fn an_actor_can_tell_a_panic_beside_it_from_an_orderly_end() {
    let (tell, mut told) = Told::channel();
    let (actor, _) = Worker::spawn(None, Worker, Args { name: "it", told: tell }).await.unwrap();
    let task = beside(actor.get_cell(), async { panic!("beside") });
    told.until("it stopped").await;
    assert!(task.has_failed());
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_with_its_actor_however_that_ends() {
    for ending in [Order::Stop, Order::Panic, Order::Fail] {
        let (tell, _told) = Told::channel();
        let (actor, _) = Worker::spawn(None, Worker, Args { name: "it", told: tell }).await.unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let task = beside(actor.get_cell(), async move {
            let _held = held;
            std::future::pending().await
        });
        actor.cast(ending).unwrap();
        assert!(dropped.await.is_err());
        task.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_leaves_its_actor_alone_and_so_does_an_abort() {
    let (tell, mut told) = Told::channel();
    let (actor, _) = Worker::spawn(None, Worker, Args { name: "it", told: tell }).await.unwrap();
    beside(actor.get_cell(), async {}).ended().await;
    let endless = beside(actor.get_cell(), std::future::pending());
    endless.abort();
    assert!(!endless.has_failed());
    endless.ended().await;
    actor.cast(Order::Work(1)).unwrap();
    told.until("it did 1").await;
}

/// A thread with a `LocalRuntime`, as a forwarding lane has, and on it a task that cannot leave the thread.
fn local_task_beside(actor: ractor::ActorCell, panics: bool) -> (std::thread::JoinHandle<()>, oneshot::Receiver<()>) {
    let (held, dropped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let lane = tokio::runtime::LocalRuntime::new().unwrap();
        lane.block_on(async move {
            let not_send = std::rc::Rc::new(held);
            let task = async move {
                let _not_send = not_send;
                assert!(!panics, "on the lane, as ordered");
                std::future::pending().await
            };
            beside_local(actor, task).ended().await;
        });
    });
    (thread, dropped)
}

#[tokio::test]
async fn a_local_task_on_another_thread_ends_with_its_actor() {
    let (tell, _told) = Told::channel();
    let (actor, _) = Worker::spawn(None, Worker, Args { name: "it", told: tell }).await.unwrap();
    let (thread, dropped) = local_task_beside(actor.get_cell(), false);
    actor.cast(Order::Panic).unwrap();
    assert!(dropped.await.is_err());
    thread.join().unwrap();
}

#[tokio::test]
async fn a_panic_of_a_local_task_on_another_thread_fails_its_actor() {
    let (tell, mut told) = Told::channel();
    let (actor, _) = Worker::spawn(None, Worker, Args { name: "it", told: tell }).await.unwrap();
    let (thread, _dropped) = local_task_beside(actor.get_cell(), true);
    told.until("it stopped").await;
    thread.join().unwrap();
}
