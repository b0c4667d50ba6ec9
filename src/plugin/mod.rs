//! Observers and mutators of traffic: what instances there are, what each may be told, and the set of them that an
//! exchange keeps from its beginning to its line.

pub mod path_patterns;
pub mod routes;

mod flaw;
mod members;

pub mod instance;
pub mod kinds;

pub mod counts;
pub mod note;
pub mod record;
pub mod set;

pub use flaw::Flaw;
