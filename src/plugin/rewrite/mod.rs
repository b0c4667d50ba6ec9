//! Texts inside requests and answers rewritten, and nothing else of them.
//!
//! Everything here works on the original JSON text: strings are changed where they stand, and whatever is not one of
//! them keeps its bytes. A whole body goes through [`request()`] or [`answer()`], a streamed one through a [`Rewriter`],
//! which finds a match wherever deltas cut it.

mod answer;
mod array;
mod edits;
mod flow;
mod frame;
mod mutators;
mod request;
mod rule;
mod sight;
mod stream;
mod streams;
mod template;
#[cfg(test)]
mod testing;
mod texts;

pub use answer::answer;
pub use flow::Work;
pub use mutators::{Mutators, Rewritten, Shape};
pub use request::request;
pub use rule::Rule;
pub use stream::{Framing, GaveUp, MOST_EVENT_BYTES, Rewriter};
pub use streams::Streams;
