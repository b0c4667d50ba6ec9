//! The writers: one for each bucket that is being written, started by its first line.
//!
//! A crash costs nothing: the finalizers still hold their traces and ask again.

use std::sync::Arc;
use std::time::Duration;

use api_log::ids::{BucketId, Date, UnixMillis};
use api_log::jsonl::bucket::BucketFile;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::open_segments::OpenSegments;
use api_log::trace::Finished;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::held::HeldTrace;
use super::writer::{self, AppendFailed, Appended, Shared, Writer};
use crate::kit::{Ended, Ending, Nursery, NurseryHealth};

/// Files open at once. A key more waits until an idle one is closed; the service's file limit is far above.
const MOST_OPEN: usize = 8192;
/// How often it looks whether a day is over.
const LOOK_AT_THE_DAY: Duration = Duration::from_secs(60);

pub(crate) struct Writers;

pub(crate) enum Msg {
    /// Appends a line to today's file of its key.
    Append { trace: Arc<HeldTrace>, finished: Arc<Finished>, reply: RpcReplyPort<Result<Appended, AppendFailed>> },
    /// A writer had nothing to do for a while.
    Idle(BucketId),
    /// Days before this one are over: their writers close.
    CloseBefore(Date),
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) segments: OpenSegments,
    /// From this length on a segment is full.
    pub(crate) segment_bytes: u64,
    pub(crate) shared: Arc<Shared>,
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

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let open = Nursery::new(MOST_OPEN, args.nursery.clone());
        // A predecessor's writers may have ended between an append and its offer to the index.
        args.shared.index.mark_missed();
        myself.send_interval(LOOK_AT_THE_DAY, || Msg::CloseBefore(UnixMillis::now().date()));
        Ok(State { args, open })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Append { trace, finished, reply } => state.append(&myself, trace, finished, reply).await,
            Msg::Idle(bucket) => state.close(bucket),
            Msg::CloseBefore(today) => state.close_before(today),
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
            state.args.shared.index.mark_missed();
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
        fault!(await "writers");
        let bucket = BucketId { date: UnixMillis::now().date(), key: finished.row.key.short() };
        let writer = match self.open.get(&bucket) {
            Some(writer) => writer.clone(),
            None => match self.open_writer(myself, bucket).await {
                Ok(Some(writer)) => writer,
                // Dropping the reply port makes the finalizer ask again: a predecessor is just ending.
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%bucket, %error, "cannot start a writer");
                    let _ = reply.send(Err(AppendFailed(None)));
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
    ) -> Result<Option<ActorRef<writer::Msg>>, ActorProcessingErr> {
        let Args { layout, leases, segments, segment_bytes, shared, .. } = &self.args;
        let Some(sole) = segments.take(bucket) else { return Ok(None) };
        let file = BucketFile::new(layout.clone(), leases.clone(), sole, *segment_bytes);
        let args = |health| writer::Args { file, shared: shared.clone(), health, writers: myself.clone() };
        let start = |health| Writer::spawn_linked(None, Writer, args(health), myself.get_cell());
        Ok(Some(self.open.start_watched(bucket, start).await?.clone()))
    }

    /// Their files are whole from soon after midnight on, and can be sealed.
    fn close_before(&self, today: Date) {
        self.open.iter().map(|(bucket, _)| *bucket).filter(|bucket| bucket.date < today).for_each(|it| self.close(it));
        // A day longer, in case the clock is set back.
        self.args.segments.forget_before(Date(today.0 - 1));
    }

    /// What it has been sent until now it still appends; what comes later finds it ending, and asks again.
    fn close(&self, bucket: BucketId) {
        if let Some(writer) = self.open.get(&bucket) {
            // An error means that it has ended already.
            let _ = writer.drain();
        }
    }
}
