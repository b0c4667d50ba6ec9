//! The writers: one for each bucket that is being written, started by its first line.
//!
//! A crash costs nothing: the finalizers still hold their traces and ask again.

use std::sync::Arc;
use std::time::Duration;

use api_log::counters::Counters;
use api_log::ids::{BucketId, UnixMillis};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::trace::Finished;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::held::HeldTrace;
use super::index::Door;
use super::writer::{self, AppendFailed, Appended, Writer};
use crate::kit::{Ended, Ending, Nursery, NurseryHealth};

/// Files open at once. A key more waits until an idle one is closed; the service's file limit is far above.
const MOST_OPEN: usize = 8192;

pub(crate) struct Writers;

pub(crate) enum Msg {
    /// Appends a line to today's file of its key.
    Append { trace: Arc<HeldTrace>, finished: Arc<Finished>, reply: RpcReplyPort<Result<Appended, AppendFailed>> },
    /// A writer had nothing to do for a while.
    Idle(BucketId),
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) index: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) nursery: Arc<NurseryHealth>,
    /// How long writers may take when the recorder ends.
    pub(crate) grace: Duration,
}

pub(crate) struct State {
    args: Args,
    open: Nursery<BucketId, writer::Msg>,
}

impl Actor for Writers {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let open = Nursery::new(MOST_OPEN, args.nursery.clone());
        Ok(State { args, open })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Append { trace, finished, reply } => state.append(&myself, trace, finished, reply).await,
            Msg::Idle(bucket) => state.close(bucket),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(Ended { key: bucket, how: Ending::Failed(reason) }) = state.open.ended(event) {
            tracing::warn!(%bucket, reason, "a writer failed; its lines are asked for again");
        }
        Ok(())
    }

    /// Drained: every writer appends what it has been sent.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.open.drain(state.args.grace).await;
        Ok(())
    }
}

impl State {
    async fn append(
        &mut self,
        myself: &ActorRef<Msg>,
        trace: Arc<HeldTrace>,
        finished: Arc<Finished>,
        reply: RpcReplyPort<Result<Appended, AppendFailed>>,
    ) {
        let bucket = BucketId { date: UnixMillis::now().date(), key: finished.row.key.short() };
        let writer = match self.open.get(&bucket) {
            Some(writer) => writer.clone(),
            None => match self.open_writer(myself, bucket).await {
                Ok(writer) => writer,
                Err(error) => {
                    tracing::warn!(%bucket, %error, "cannot open a segment");
                    let _ = reply.send(Err(AppendFailed));
                    return;
                }
            },
        };
        // A writer that is just ending drops the reply port, and the finalizer asks again.
        let _ = writer.cast(writer::Msg::Append { trace, finished, reply });
    }

    async fn open_writer(
        &mut self,
        myself: &ActorRef<Msg>,
        bucket: BucketId,
    ) -> Result<ActorRef<writer::Msg>, ActorProcessingErr> {
        let args = writer::Args {
            bucket,
            _lease: self.args.leases.shared(bucket)?,
            layout: self.args.layout.clone(),
            index: self.args.index.clone(),
            counters: self.args.counters.clone(),
            writers: myself.clone(),
        };
        Ok(self.open.start(bucket, Writer::spawn_linked(None, Writer, args, myself.get_cell())).await?.clone())
    }

    /// What it has been sent until now it still appends; what comes later finds it ending, and asks again.
    fn close(&self, bucket: BucketId) {
        if let Some(writer) = self.open.get(&bucket) {
            // An error means that it has ended already.
            let _ = writer.drain();
        }
    }
}
