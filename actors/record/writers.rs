//! The writers: one for each bucket that is being written, started by its first line.
//!
//! A crash costs nothing: the finalizers still hold their traces and ask again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_log::counters::Counters;
use api_log::ids::{BucketId, SegmentId, UnixMillis};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::trace::Finished;
use parking_lot::Mutex;
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
    pub(crate) open_files: OpenFiles,
    pub(crate) index: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) nursery: Arc<NurseryHealth>,
    /// How long writers may take when the recorder ends.
    pub(crate) grace: Duration,
}

/// Which buckets have a writer, across restarts.
///
/// A crash of this actor kills its writers, but ractor does not wait for them: one may be in the midst of an append.
/// Two that append to one file would give wrong places for their lines, and take the other's half-written line for torn.
#[derive(Clone, Default)]
pub(crate) struct OpenFiles(Arc<Mutex<HashSet<BucketId>>>);

/// The right to open a bucket's file for appending; given up when dropped.
pub(crate) struct SoleWriter {
    files: OpenFiles,
    bucket: BucketId,
}

impl OpenFiles {
    /// The right to this bucket's file, unless somebody has it.
    pub(crate) fn take(&self, bucket: BucketId) -> Option<SoleWriter> {
        self.0.lock().insert(bucket).then(|| SoleWriter { files: self.clone(), bucket })
    }
}

impl Drop for SoleWriter {
    fn drop(&mut self) {
        self.files.0.lock().remove(&self.bucket);
    }
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
        // A predecessor's writers may have ended between an append and its offer to the index.
        args.index.mark_missed();
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
            state.args.index.mark_missed();
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
        #[cfg(test)]
        crate::faults::strike("writers");
        let bucket = BucketId { date: UnixMillis::now().date(), key: finished.row.key.short() };
        let writer = match self.open.get(&bucket) {
            Some(writer) => writer.clone(),
            None => match self.open_writer(myself, bucket).await {
                Ok(Some(writer)) => writer,
                // Dropping the reply port makes the finalizer ask again: a predecessor is just ending.
                Ok(None) => return,
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
    ) -> Result<Option<ActorRef<writer::Msg>>, ActorProcessingErr> {
        let Some(sole) = self.args.open_files.take(bucket) else { return Ok(None) };
        let args = writer::Args {
            bucket,
            _lease: self.args.leases.shared(SegmentId { bucket, number: 0 })?,
            layout: self.args.layout.clone(),
            index: self.args.index.clone(),
            counters: self.args.counters.clone(),
            writers: myself.clone(),
            sole,
        };
        let start = Writer::spawn_linked(None, Writer, args, myself.get_cell());
        Ok(Some(self.open.start(bucket, start).await?.clone()))
    }

    /// What it has been sent until now it still appends; what comes later finds it ending, and asks again.
    fn close(&self, bucket: BucketId) {
        if let Some(writer) = self.open.get(&bucket) {
            // An error means that it has ended already.
            let _ = writer.drain();
        }
    }
}

#[cfg(test)]
mod tests {
    use api_log::ids::{Date, ShortKey};

    use super::*;

    #[test]
    fn a_bucket_has_one_writer_until_that_one_is_gone() {
        let files = OpenFiles::default();
        let bucket = |key| BucketId { date: Date(20_000), key: ShortKey([key; 4]) };
        let sole = files.take(bucket(1)).unwrap();
        assert!(files.clone().take(bucket(1)).is_none(), "also after a restart, which keeps the table");
        assert!(files.take(bucket(2)).is_some());
        drop(sole);
        assert!(files.take(bucket(1)).is_some());
    }
}
