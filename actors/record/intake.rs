//! Where lanes leave what they captured.
//!
//! A queue without locks and a flag: a lane pushes and, only if the recording side sleeps, wakes it.
//! What is in here survives the crash of any actor, for no mailbox holds it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use super::held::Content;
use super::log::Log;
use super::open_socket::OpenSocket;
use crate::kit::Slot;

/// How often a consumer looks though nobody woke it. A wake is lost if it comes when the consumer sleeps already and
/// its address is not yet known, as happens right after a restart; those who push later would take it for awake.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Orders that may wait for the spool. It looks at all logs once a second, ordered or not.
pub(crate) const MOST_SPILLS: usize = 65_536;

/// What a lane asks of the spool. One that waits keeps no memory.
pub(crate) enum SpoolOrder {
    /// This log has outgrown its share of memory.
    Spill(Weak<Log>),
    /// This log began outside the arena: the spool has no other way to know of it.
    Watch(Weak<Log>),
    /// This log is done with, and may have a file, which no lane removes.
    Discard(Arc<Log>),
}

/// A queue whose consumer sleeps when it is empty.
pub(crate) struct Queue<T> {
    items: SegQueue<T>,
    count: AtomicUsize,
    high_water: AtomicUsize,
    is_asleep: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<T> Queue<T> {
    /// An empty queue; `wake` tells the consumer that it should look.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Queue<T> {
        Queue {
            items: SegQueue::new(),
            count: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            is_asleep: AtomicBool::new(true),
            wake: Box::new(wake),
        }
    }

    /// An empty queue for the actor in `slot`.
    pub(crate) fn to<M: ractor::Message>(slot: &Slot<M>, wake: fn() -> M) -> Queue<T> {
        let slot = slot.clone();
        // Nobody there: the actor looks at its queue when it starts.
        Queue::new(move || drop(slot.cast(wake())))
    }

    /// Leaves an item.
    pub(crate) fn push(&self, item: T) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.high_water.fetch_max(count, Ordering::Relaxed);
        self.items.push(item);
        // Sequentially consistent with `sleep`: either this sees the flag, or `sleep` sees the item.
        if self.is_asleep.swap(false, Ordering::SeqCst) {
            if fault!(is "intake.wake") {
                return;
            }
            (self.wake)();
        }
    }

    /// Takes the oldest item.
    pub(crate) fn pop(&self) -> Option<T> {
        let item = self.items.pop();
        if item.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        item
    }

    /// The consumer is about to sleep; `false` if something came in and it must look again.
    pub(crate) fn sleep(&self) -> bool {
        self.is_asleep.store(true, Ordering::SeqCst);
        self.items.is_empty() || !self.is_asleep.swap(false, Ordering::SeqCst)
    }

    /// Items waiting.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The most items that ever waited.
    pub(crate) fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }
}

/// The queues between the lanes and the recording side.
pub(crate) struct Intake {
    /// Ended exchanges, and pieces of sockets.
    pub(crate) ended: Queue<Content>,
    /// Connections that were upgraded. What passes on them goes through a queue of their own.
    pub(crate) sockets: Queue<Arc<OpenSocket>>,
    /// What the spool is asked for.
    pub(crate) spills: Queue<SpoolOrder>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consumer_is_woken_once_per_sleep() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let seen = wakes.clone();
        let queue = Queue::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        queue.push(1);
        queue.push(2);
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert!(!queue.sleep(), "there is something to do");
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(2), None));
        assert!(queue.sleep());
        queue.push(3);
        assert_eq!((wakes.load(Ordering::Relaxed), queue.len(), queue.high_water()), (2, 1, 2));
    }
}
