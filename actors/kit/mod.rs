//! Supervision on ractor: what starts actors, ends them, bounds them and shows how they fare.
//!
//! It knows nothing of exchanges and traces. Read in this order:
//!
//! | part | what it is for |
//! |---|---|
//! | [`Supervisor`], [`Child`], [`Patience`] | a table of children: started in order, drained in reverse, started again one for one |
//! | [`Root`] | the whole tree, as the process holds it |
//! | [`Nursery`] | short-lived children under an actor: bounded, counted, never started again |
//! | [`Slot`] | an address that outlives restarts |
//! | [`Budget`], [`Permit`] | the bound that ractor's mailboxes lack |
//! | [`beside()`] | a task that lives and dies with its actor |
//! | [`Registry`], [`ChildHealth`] | what can be read of all this without asking an actor |
//! | [`BoundReport`] | how full each queue is, in one form |
//! | [`Condition`] | what is wrong though every actor runs |
//! | [`Pulse`] | a sign of life of threads that serve many |
//! | [`Watchdog`] | kills what hangs, and says what cannot be killed |
//! | [`Escalation`] | the way out when only a new process helps |
//!
//! Facts about ractor 0.16 that this stands on: a mailbox is unbounded and is lost with its actor; `drain` goes
//! behind the queued messages while `stop` overtakes them; `post_stop` runs after these two only; a parent that ends
//! kills the children it left, and one that drains or stops can be given no new ones; a kill takes effect where the
//! actor next awaits; a failed start is an error to whoever spawned and never an event.

mod beside;
mod bound;
mod budget;
mod child;
mod condition;
mod ending;
mod escalation;
mod nursery;
mod probe;
mod pulse;
mod registry;
mod root;
mod row;
mod slot;
mod supervisor;
mod watchdog;

pub(crate) use self::beside::{Beside, beside, beside_local};
pub(crate) use self::bound::{BoundReport, Depth, Dropped, Level};
pub(crate) use self::budget::{Budget, BudgetReport, Permit};
pub(crate) use self::child::{Child, Restart, Starting, spawn_on};
pub(crate) use self::condition::{Condition, Raised};
pub(crate) use self::ending::Ending;
pub(crate) use self::escalation::Escalation;
pub(crate) use self::nursery::{Ended, NotStarted, Nursery, NurseryHealth, NurseryReport};
pub(crate) use self::probe::{ChildHealth, ChildReport, ChildState, LastError, Pending};
pub(crate) use self::pulse::{Pulse, PulseReport};
pub(crate) use self::registry::{Registry, Report, Trouble};
pub(crate) use self::root::{EndedUnasked, NotDrained, Root};
pub(crate) use self::slot::{NoAnswer, NobodyThere, Slot};
pub(crate) use self::supervisor::{GaveUp, Patience, Plan, StartFailed, Supervisor};
pub(crate) use self::watchdog::{Excuse, Watchdog, WatchdogArgs, WatchdogMsg};

#[cfg(test)]
mod tests;
