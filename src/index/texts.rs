//! Full text: what was asked and answered, found by any characters that follow each other, in the order of lists.
//!
//! An index has texts or not ([`prepare`]). Rows bring theirs, whichever way they come; what a row does not say is not
//! searched. Removed rows take theirs with them.

mod query;
mod snippet;
mod store;

pub use query::{Search, TextQuery, search};
pub use snippet::Snippet;
#[cfg(test)]
pub(super) use store::texts_of;
pub(super) use store::{Pending, create, remove};
pub use store::{Prepared, bytes_kept, prepare};

#[cfg(test)]
mod tests;
