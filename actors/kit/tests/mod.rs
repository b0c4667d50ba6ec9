//! What the kit promises, shown with real actors and, wherever one thread is enough, paused time.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Duration, Instant};

use super::{Pending, Permit, Slot, beside};

mod beside_actor;
mod elsewhere;
mod nursery;
mod slot;
mod supervision;
mod watchdog;

/// An actor that does as it is told and tells what it did.
pub(super) struct Worker;

pub(super) enum Order {
    /// Takes 10 ms, then says so.
    Work(u32),
    /// Holds the permit until it is handled.
    Hold(Permit),
    /// Replies with its thread's name.
    WhereAreYou(RpcReplyPort<String>),
    /// Awaits for ever while work is pending.
    Hang(Pending),
    /// Blocks its thread until the sender is gone.
    Block(Pending, std::sync::mpsc::Receiver<()>),
    /// Starts a task beside itself that panics.
    PanicBeside,
    Panic,
    Fail,
    Stop,
}

#[derive(Clone)]
pub(super) struct Args {
    pub(super) name: &'static str,
    pub(super) told: UnboundedSender<(String, Instant)>,
}

/// What workers told, in order.
pub(super) struct Told(UnboundedReceiver<(String, Instant)>);

impl Actor for Worker {
    type Msg = Order;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Order>, args: Args) -> Result<Args, ActorProcessingErr> {
        args.tell("started");
        Ok(args)
    }

    async fn handle(&self, myself: ActorRef<Order>, order: Order, args: &mut Args) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Work(number) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                args.tell(&format!("did {number}"));
            }
            Order::Hold(permit) => drop(permit),
            Order::WhereAreYou(reply) => {
                let _ = reply.send(std::thread::current().name().unwrap_or_default().to_owned());
            }
            Order::Hang(_pending) => std::future::pending().await,
            Order::Block(_pending, until) => {
                args.tell("blocks");
                let _ = until.recv();
            }
            Order::PanicBeside => {
                beside(myself.get_cell(), async { panic!("beside, as ordered") });
            }
            Order::Panic => panic!("as ordered"),
            Order::Fail => return Err("as ordered, without panic".into()),
            Order::Stop => myself.stop(None),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Order>, args: &mut Args) -> Result<(), ActorProcessingErr> {
        args.tell("stopped");
        Ok(())
    }
}

impl Args {
    fn tell(&self, what: &str) {
        let _ = self.told.send((format!("{} {what}", self.name), Instant::now()));
    }
}

impl Told {
    pub(super) fn channel() -> (UnboundedSender<(String, Instant)>, Told) {
        let (told, here) = unbounded_channel();
        (told, Told(here))
    }

    /// Waits for the next word and its time.
    pub(super) async fn next(&mut self) -> (String, Instant) {
        self.0.recv().await.expect("somebody can still tell")
    }

    /// Waits until that is told, skipping what comes before; its time.
    pub(super) async fn until(&mut self, what: &str) -> Instant {
        loop {
            let (told, at) = self.next().await;
            if told == what {
                return at;
            }
        }
    }

    /// All that was told by now.
    pub(super) fn so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|(what, _)| what).collect()
    }
}

/// A row with a worker that is reached through the slot.
pub(super) fn worker(
    name: &'static str,
    slot: &Slot<Order>,
    told: &UnboundedSender<(String, Instant)>,
) -> super::Child {
    let args = Args { name, told: told.clone() };
    super::Child::actor(name, slot, move || (Worker, args.clone()))
}
