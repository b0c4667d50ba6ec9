//! A trace as recorded: an exchange and what it says.
//!
//! [`finalize()`] turns an exchange into its line and its row; [`view`] is what the extractors look at. A view is
//! made from a fresh line or from one read back, by the same functions, so that both give the same [`Row`].

pub mod view;

mod applied;
pub(crate) mod asked;
mod body;
pub(crate) mod derive;
mod described;
mod finalize;
mod redacted;
mod row;
mod socket;
mod text;
mod without_bodies;
mod write;

pub use described::{Line, LineEvent};
pub use finalize::{FinalizeSettings, Finished, finalize, finalize_raw};
pub use row::{Row, Usage};
pub use socket::{finalize_piece, finalize_piece_raw};
pub use text::Texts;
pub(crate) use text::texts_of;
pub use without_bodies::{BodiesDropped, finalize_piece_without_bodies, finalize_without_bodies};
