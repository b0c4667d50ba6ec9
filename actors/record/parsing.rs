//! How many traces are parsed at once, and where.

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// As many as recording has threads; a few more while memory is short, for what waits then will soon be lost.
pub(crate) struct Parsing {
    in_turn: Semaphore,
    beside: Semaphore,
}

/// Where a trace is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// On the recording thread if it is small, or else on one of its own.
    BySize,
    /// On a thread of its own, however small it is: the recording threads are busy.
    Beside,
}

/// The right to parse, until it is dropped. It cannot be an error: nobody closes a semaphore here.
pub(super) type Permit<'p> = Result<SemaphorePermit<'p>, AcquireError>;

impl Parsing {
    /// So many in turn, and so many beside them while memory is short.
    pub(crate) fn new(in_turn: usize, beside: usize) -> Parsing {
        Parsing { in_turn: Semaphore::new(in_turn), beside: Semaphore::new(beside) }
    }

    /// Waits for the right to parse. Who begins to wait while memory is short takes whichever comes first.
    pub(super) async fn turn(&self, is_memory_tight: bool) -> (Permit<'_>, Where) {
        if !is_memory_tight {
            return (self.in_turn.acquire().await, Where::BySize);
        }
        tokio::select! {
            biased;
            permit = self.in_turn.acquire() => (permit, Where::BySize),
            permit = self.beside.acquire() => (permit, Where::Beside),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn more_are_parsed_at_once_only_while_memory_is_short() {
        let parsing = Parsing::new(1, 1);
        let turn = |is_memory_tight| parsing.turn(is_memory_tight).now_or_never();
        let (first, place) = turn(true).expect("nobody is before it");
        assert_eq!(place, Where::BySize);
        assert!(turn(false).is_none());
        let (_second, place) = turn(true).expect("there is a place beside");
        assert_eq!(place, Where::Beside);
        assert!(turn(true).is_none());
        drop(first);
        assert!(turn(false).is_some_and(|(_, place)| place == Where::BySize));
    }
}
