//! The actor of one client's connection.
//!
//! It owns the connection's orders: draining it lets the exchange under way finish. The connection itself is
//! served by a task on its lane. A crash here costs nothing: the task serves on, under its lane's orders.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::lane::Order;

/// How long a connection that has been cut may take to end.
const CUT_GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Connection;

pub(crate) enum Msg {
    /// The connection has ended.
    Ended,
    /// Fails on purpose: nobody sends this but a fault.
    Fail,
}

pub(crate) struct Args {
    /// What the lane's task hears.
    pub(crate) orders: watch::Sender<Order>,
    /// Turns true when the lane's task has ended.
    pub(crate) ended: watch::Receiver<bool>,
    /// How long the exchange under way may take once the connection drains.
    pub(crate) grace: Duration,
}

impl Actor for Connection {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        if fault!(is "connection") {
            myself.cast(Msg::Fail)?;
        }
        Ok(args)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, _: &mut Args) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Ended => myself.stop(None),
            Msg::Fail => return Err("asked to".into()),
        }
        Ok(())
    }

    /// Drained: the exchange under way finishes; at the end of the grace it is cut.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut Args) -> Result<(), ActorProcessingErr> {
        for (order, grace) in [(Order::Drain, state.grace), (Order::Cut, CUT_GRACE)] {
            if *state.ended.borrow() {
                return Ok(());
            }
            state.orders.send_replace(order);
            // An error means that the task is gone, which is an end as well.
            let _ = tokio::time::timeout(grace, state.ended.wait_for(|ended| *ended)).await;
        }
        Ok(())
    }
}
