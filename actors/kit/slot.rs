//! An address that stays valid when the actor behind it is started again.

use std::sync::Arc;

use ractor::{ActorRef, Message, MessagingErr, RpcReplyPort};
use tokio::sync::{oneshot, watch};

/// Where an actor is reached: whoever sends keeps the slot, never the `ActorRef`, and a restart puts the new one here.
///
/// A message that is accepted may still be lost if the actor crashes before it handles it; what must not be lost is
/// kept by its sender until it is acknowledged.
pub(crate) struct Slot<M>(Arc<watch::Sender<Option<ActorRef<M>>>>);

/// Nobody took the message; here it is again.
#[derive(Debug, thiserror::Error)]
#[error("nobody is there to take the message")]
pub(crate) struct NobodyThere<M>(pub M);

/// Why a question got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Nobody was there to be asked.
    #[error("nobody is there to be asked")]
    NobodyThere,
    /// The actor ended, or dropped the question, before it answered.
    #[error("the question was dropped unanswered")]
    Dropped,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Slot<M> {
        Slot(self.0.clone())
    }
}

impl<M: Message> Default for Slot<M> {
    fn default() -> Slot<M> {
        Slot::new()
    }
}

impl<M: Message> Slot<M> {
    /// A slot with nobody in it yet.
    pub(crate) fn new() -> Slot<M> {
        Slot(Arc::new(watch::Sender::new(None)))
    }

    /// Puts an actor here, in place of the one before.
    pub(crate) fn fill(&self, actor: ActorRef<M>) {
        self.0.send_replace(Some(actor));
    }

    /// Kills who is here.
    #[cfg(test)]
    pub(crate) fn kill(&self) {
        if let Some(actor) = self.0.borrow().as_ref() {
            actor.kill();
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// The message itself, if nobody is there or who is there has begun to end.
    pub(crate) fn cast(&self, message: M) -> Result<(), NobodyThere<M>> {
        cast(self.0.borrow().as_ref(), message)
    }

    /// Sends as soon as somebody is there, for ever if need be: bound it with a timeout. If this is dropped before it
    /// is done, so is the message.
    pub(crate) async fn cast_when_there(&self, mut message: M) {
        let mut slot = self.0.subscribe();
        loop {
            let sent = cast(slot.borrow_and_update().as_ref(), message);
            let Err(NobodyThere(back)) = sent else { return };
            message = back;
            if slot.changed().await.is_err() {
                return; // cannot be: the sender is `self`
            }
        }
    }

    /// Asks whoever is there now and waits for the answer.
    ///
    /// # Errors
    /// [`NoAnswer`]; never waits longer than the actor lives.
    pub(crate) async fn ask<T: Send>(&self, question: impl FnOnce(RpcReplyPort<T>) -> M) -> Result<T, NoAnswer> {
        let (port, answer) = oneshot::channel();
        self.cast(question(port.into())).map_err(|_| NoAnswer::NobodyThere)?;
        answer.await.map_err(|_| NoAnswer::Dropped)
    }
}

fn cast<M: Message>(actor: Option<&ActorRef<M>>, message: M) -> Result<(), NobodyThere<M>> {
    let Some(actor) = actor else { return Err(NobodyThere(message)) };
    match actor.cast(message) {
        Ok(()) => Ok(()),
        Err(MessagingErr::SendErr(message)) => Err(NobodyThere(message)),
        // Ractor gives these for a wrong message type and for reading from a closed port: neither can happen to a cast
        // through a typed reference, and neither has the message any more.
        Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => Ok(()),
    }
}
