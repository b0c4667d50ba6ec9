//! Promises of the nursery, as a part of an owner's state.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Args, Order, Told, Worker};
use crate::kit::{
    ChildHealth, Ended, Ending, NotStarted, Nursery, NurseryHealth, Registry, Slot, Watchdog, WatchdogArgs,
};

/// An actor with a nursery of two.
struct Owner;

enum OwnerMsg {
    Start(u32, RpcReplyPort<Result<(), NotStarted>>),
    StartWatched(u32, RpcReplyPort<Arc<ChildHealth>>),
    Send(u32, Order),
    WhoRuns(RpcReplyPort<Vec<u32>>),
    DrainNow(RpcReplyPort<usize>),
    Panic,
}

struct OwnerArgs {
    health: Arc<NurseryHealth>,
    news: UnboundedSender<Ended<u32>>,
    workers: Args,
}

struct OwnerState {
    nursery: Nursery<u32, Order>,
    news: UnboundedSender<Ended<u32>>,
    workers: Args,
}

impl Actor for Owner {
    type Msg = OwnerMsg;
    type State = OwnerState;
    type Arguments = OwnerArgs;

    async fn pre_start(&self, _: ActorRef<OwnerMsg>, args: OwnerArgs) -> Result<OwnerState, ActorProcessingErr> {
        Ok(OwnerState { nursery: Nursery::new(2, args.health), news: args.news, workers: args.workers })
    }

    async fn handle(
        &self,
        myself: ActorRef<OwnerMsg>,
        msg: OwnerMsg,
        state: &mut OwnerState,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            OwnerMsg::Start(key, reply) => {
                let start = Worker::spawn_linked(None, Worker, state.workers.clone(), myself.get_cell());
                let _ = reply.send(state.nursery.start(key, start).await.map(|_| ()));
            }
            OwnerMsg::StartWatched(key, reply) => {
                let workers = state.workers.clone();
                let start = |health| {
                    let _ = reply.send(health);
                    Worker::spawn_linked(None, Worker, workers, myself.get_cell())
                };
                state.nursery.start_watched(key, start).await?;
            }
            OwnerMsg::Send(key, order) => state.nursery.get(&key).unwrap().cast(order)?,
            OwnerMsg::WhoRuns(reply) => {
                let keys: Vec<_> = state.nursery.iter().map(|(key, _)| *key).collect();
                assert_eq!((keys.len(), keys.is_empty()), (state.nursery.len(), state.nursery.is_empty()));
                let _ = reply.send(keys);
            }
            OwnerMsg::DrainNow(reply) => {
                let _ = reply.send(state.nursery.drain(Duration::from_secs(5)).await);
            }
            OwnerMsg::Panic => panic!("the owner, as ordered"),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<OwnerMsg>,
        event: SupervisionEvent,
        state: &mut OwnerState,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(news) = state.nursery.ended(event) {
            let _ = state.news.send(news);
        }
        Ok(())
    }
}

struct Stage {
    owner: Slot<OwnerMsg>,
    actor: ActorRef<OwnerMsg>,
    health: Arc<NurseryHealth>,
    news: UnboundedReceiver<Ended<u32>>,
    told: Told,
    registry: Registry,
}

impl Stage {
    async fn new() -> Stage {
        let (tell, told) = Told::channel();
        let (tell_news, news) = unbounded_channel();
        let registry = Registry::new();
        let health = registry.nursery("workers");
        let workers = Args { name: "worker", told: tell };
        let args = OwnerArgs { health: health.clone(), news: tell_news, workers };
        let (actor, _) = Owner::spawn(None, Owner, args).await.unwrap();
        let owner = Slot::new();
        owner.fill(actor.clone());
        Stage { owner, actor, health, news, told, registry }
    }

    async fn start(&self, key: u32) -> Result<(), NotStarted> {
        self.owner.ask(|reply| OwnerMsg::Start(key, reply)).await.unwrap()
    }

    fn send(&self, key: u32, order: Order) {
        assert!(self.owner.cast(OwnerMsg::Send(key, order)).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_nursery_is_bounded_and_has_one_child_per_key() {
    let stage = Stage::new().await;
    stage.start(1).await.unwrap();
    assert!(matches!(stage.start(1).await, Err(NotStarted::KeyInUse)));
    stage.start(2).await.unwrap();
    assert!(matches!(stage.start(3).await, Err(NotStarted::Full)));
    let report = &stage.registry.snapshot().nurseries[0];
    assert_eq!((report.limit, report.running, report.high_water, report.refused), (2, 2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn the_owner_hears_who_ended_and_how_and_the_place_is_free_again() {
    let mut stage = Stage::new().await;
    stage.start(1).await.unwrap();
    stage.start(2).await.unwrap();
    stage.send(2, Order::Panic);
    assert_eq!(stage.news.recv().await.unwrap(), Ended { key: 2, how: Ending::Failed("as ordered".to_owned()) });
    stage.send(1, Order::Stop);
    assert_eq!(stage.news.recv().await.unwrap(), Ended { key: 1, how: Ending::Stopped });
    assert!(stage.owner.ask(OwnerMsg::WhoRuns).await.unwrap().is_empty());
    stage.start(2).await.unwrap();
    assert_eq!(stage.owner.ask(OwnerMsg::WhoRuns).await.unwrap(), [2]);
    let report = stage.health.report();
    assert_eq!((report.running, report.ended, report.failed), (1, 2, 1));
    assert_eq!(report.last_error.unwrap().message, "as ordered");
    assert_eq!(stage.told.so_far(), ["worker started", "worker started", "worker stopped", "worker started"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_all_at_once_and_kills_who_exceeds_the_grace() {
    let mut stage = Stage::new().await;
    let hung = stage.registry.child("hung");
    stage.start(1).await.unwrap();
    stage.start(2).await.unwrap();
    stage.send(1, Order::Hang(hung.begin()));
    (0..3).for_each(|number| stage.send(2, Order::Work(number)));
    let began = tokio::time::Instant::now();
    let killed = stage.owner.ask(OwnerMsg::DrainNow).await.unwrap();
    assert_eq!((killed, began.elapsed().as_secs()), (1, 5));
    assert_eq!(stage.told.so_far()[2..], ["worker did 0", "worker did 1", "worker did 2", "worker stopped"]);
    let report = stage.health.report();
    assert_eq!((report.running, report.ended, report.failed), (0, 2, 1));
    stage.start(1).await.unwrap();
    assert!(stage.news.try_recv().is_err(), "there is no news of a drain");
}

#[tokio::test(start_paused = true)]
async fn children_of_a_crashed_owner_are_killed_and_counted() {
    let stage = Stage::new().await;
    stage.start(1).await.unwrap();
    stage.start(2).await.unwrap();
    assert!(stage.owner.cast(OwnerMsg::Panic).is_ok());
    stage.actor.wait(None).await.unwrap();
    let report = stage.health.report();
    assert_eq!((report.running, report.ended, report.failed), (0, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_watched_child_that_hangs_is_killed_and_the_owner_hears_why() {
    let mut stage = Stage::new().await;
    let patience = Duration::from_secs(30);
    let args = WatchdogArgs { patience, ..super::watchdog::watchdog(&stage.registry).0 };
    let (watchdog, _) = Watchdog::spawn(None, Watchdog, args).await.unwrap();
    let health = stage.owner.ask(|reply| OwnerMsg::StartWatched(1, reply)).await.unwrap();
    stage.start(2).await.unwrap();
    stage.send(1, Order::Hang(health.begin()));
    let news = stage.news.recv().await.unwrap();
    assert_eq!(news.key, 1);
    assert_eq!(news.how, Ending::Failed("killed: no progress for 30s while 1 waited".to_owned()));
    assert_eq!(stage.health.report().running, 1);
    drop(health);
    assert!(stage.health.watched().is_empty());
    watchdog.stop(None);
}
