//! The whole recorder in this process, under traffic and under faults: what a crash may cost, and what never.
//!
//! Every test asserts the same two things of whatever it breaks: each client has its whole right answer, and
//! each exchange is in the files once or counted under the cause of its loss ([`rig::Rig::settled`]).

mod allocations;
mod counting;
mod disk;
mod ending;
mod index;
mod killed;
mod memory;
mod plugins;
mod recovery;
mod retention;
mod rig;
mod sealing;
mod segments;
mod traffic;
mod upstream;

pub(crate) use counting::Counting;
