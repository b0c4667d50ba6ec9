//! Who sent a request: key hash, client kind and version, address.

mod address;
mod credential;
mod kind;

pub use address::address;
pub use credential::{key_hash, redacted_target};
pub use kind::{ClientKind, identify};
