//! Texts inside requests and answers rewritten, and nothing else of them.
//!
//! Everything here works on the original JSON text: strings are changed where they stand, and whatever is not one of
//! them keeps its bytes. A whole body goes through [`request`] or [`answer`], a streamed one through a [`Rewriter`],
//! which finds a match wherever deltas cut it.

mod edits;
mod flow;
mod request;
mod rule;
#[cfg(test)]
mod testing;

pub use flow::Work;
pub use request::{Target, request};
pub use rule::Rule;
