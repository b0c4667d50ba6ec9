//! The web viewer that is hosted beside the read API: which release it is, and how it is checked, unpacked and kept.
//!
//! | Module | What it says |
//! |---|---|
//! | [`release`] | what the configuration wants: nothing, a folder, or a release with its digest |
//! | [`download`] | an archive on its way to the disk: bounded, and digested as it comes |
//! | [`unpack`] | what an archive may hold, and where that goes |
//! | [`manifest`] | what was unpacked, so that a damaged copy is noticed |
//! | [`cache`] | where unpacked releases are kept; a release is there whole or not at all |
//! | [`site`] | the files that are served, and how long callers may keep them |
//! | [`failure`] | what goes wrong, and when that is tried again |
//! | [`standing`] | what is told of it |

pub mod cache;
pub mod download;
pub mod failure;
pub mod manifest;
pub mod release;
pub mod site;
pub mod standing;
pub mod unpack;

/// The page that a site begins with.
pub const INDEX: &str = "index.html";

/// A digest as text.
fn hex(digest: &[u8]) -> String {
    crate::ids::hex(digest, &mut [0; 64]).to_owned()
}
