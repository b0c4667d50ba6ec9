//! `api-log replay`: a recorded stream to standard output, at its pace.

use std::sync::Arc;

use api_log::config::Config;
use api_log::replay::{Pace, Playback, Script};
use api_log::wire::websocket::Side;
use tokio::time::Instant;

use super::args::{Replay, Sides};
use super::error::LookError;
use super::paint::{Out, When};
use super::source::Source;
use crate::cli::serve::Signals;

pub(super) async fn run(asked: Replay, config: &Config) -> Result<(), LookError> {
    let mut signals = Signals::new()?;
    let out = Out::new(When::Never);
    tokio::select! {
        played = play(&asked, config, out) => played,
        // Whoever watched has seen enough.
        _ = signals.next() => Ok(()),
    }
}

async fn play(asked: &Replay, config: &Config, out: Out) -> Result<(), LookError> {
    let found = Source::of(&asked.from, config)?.find(&asked.id).await?;
    let pace = Pace {
        speed: (!asked.nodelay).then_some(asked.speed.0),
        from: asked.first,
        to: asked.end,
        side: match asked.dir {
            Sides::Server => Some(Side::Server),
            Sides::Client => Some(Side::Client),
            Sides::Both => None,
        },
    };
    // Counted from when the one before was due, so that pauses do not add up their lateness.
    let mut due = Instant::now();
    for (pause, frame) in Playback::new(Arc::new(Script::of(&found.line)?), pace) {
        due += pause;
        tokio::time::sleep_until(due).await;
        out.write(&frame)?;
    }
    Ok(())
}
