//! What a run found: what is written as JSON, and what the tables are made of.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::books::Books;
use crate::client::Measured;
use crate::machine::Machine;
use crate::process::{Memory, Trouble};
use crate::targets::Verdict;

/// Whom a load is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// The upstream, with nothing before it.
    Upstream,
    /// nginx as a plain reverse proxy.
    Nginx,
    /// Our program with capture off.
    Off,
    /// Our program, recording.
    On,
}

impl Peer {
    pub(crate) const ALL: [Peer; 4] = [Peer::Upstream, Peer::Nginx, Peer::Off, Peer::On];

    pub(crate) fn about(self) -> &'static str {
        match self {
            Peer::Upstream => "upstream directly",
            Peer::Nginx => "nginx as plain proxy",
            Peer::Off => "api-log, capture off",
            Peer::On => "**api-log, recording**",
        }
    }
}

/// A whole run, or as much of it as there is yet.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) command: String,
    /// A smoke run, whose figures mean nothing.
    pub(crate) quick: bool,
    /// How long and how often: what results must have in common to stand in one table.
    pub(crate) settings: String,
    pub(crate) machine: Machine,
    pub(crate) scenarios: BTreeMap<String, Outcome>,
    pub(crate) targets: Vec<Verdict>,
}

/// A scenario.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) about: String,
    pub(crate) ended: String,
    /// Why there are no figures.
    pub(crate) error: Option<String>,
    /// Requests a second, where they are set.
    pub(crate) rate: Option<f64>,
    pub(crate) peers: BTreeMap<Peer, PeerRuns>,
    pub(crate) books: Option<Books>,
    pub(crate) windows: Option<Windows>,
    /// From the start of the process to the first forwarded byte, each start.
    pub(crate) starts_ms: Vec<f64>,
    /// What should be known with the figures.
    pub(crate) notes: Vec<String>,
}

/// What one of the four did.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct PeerRuns {
    pub(crate) runs: Vec<Run>,
    /// Before the first request.
    pub(crate) idle: Memory,
    /// The most under load.
    pub(crate) steady: Memory,
    /// Some time after the last.
    pub(crate) after: Memory,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    /// CPU time of the program under test, in µs; when it records, until everything is indexed.
    pub(crate) cpu_us: f64,
}

/// The same load with and without something in the recording's way.
#[derive(Serialize, Deserialize)]
pub(crate) struct Windows {
    pub(crate) quiet: Vec<Measured>,
    pub(crate) pressed: Vec<Measured>,
}

impl Run {
    /// Events a second where there are any, else requests.
    pub(crate) fn rate(&self) -> f64 {
        let Measured { requests, events, seconds, .. } = self.measured;
        (if events > 0 { events } else { requests }) as f64 / seconds
    }

    pub(crate) fn cpu_per_request(&self) -> f64 {
        self.cpu_us / self.measured.requests.max(1) as f64
    }
}

impl Outcome {
    /// The median over rounds; `None` without any.
    pub(crate) fn median(&self, peer: Peer, of: impl Fn(&Run) -> f64) -> Option<f64> {
        median(self.peers.get(&peer)?.runs.iter().map(of))
    }

    pub(crate) fn median_of_some(&self, peer: Peer, of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        median(self.peers.get(&peer)?.runs.iter().filter_map(of))
    }

    /// The median of what each round gave for one over what it gave for the other.
    pub(crate) fn ratio(&self, peer: Peer, over: Peer, of: impl Fn(&Run) -> f64) -> Option<f64> {
        let (own, others) = (&self.peers.get(&peer)?.runs, &self.peers.get(&over)?.runs);
        median(own.iter().zip(others).map(|(own, other)| of(own) / of(other)))
    }

    /// The same as a difference.
    pub(crate) fn added(&self, peer: Peer, over: Peer, of: impl Fn(&Run) -> f64) -> Option<f64> {
        let (own, others) = (&self.peers.get(&peer)?.runs, &self.peers.get(&over)?.runs);
        median(own.iter().zip(others).map(|(own, other)| of(own) - of(other)))
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[values.len() / 2 - 1] + upper) / 2.0 })
}

impl Results {
    /// What is there; nothing if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Results, Trouble> {
        if !path.exists() {
            return Ok(Results::default());
        }
        let at = |error: &dyn std::fmt::Display| Trouble::at(&path.display().to_string(), error);
        let text = std::fs::read(path).map_err(|error| at(&error))?;
        serde_json::from_slice(&text)
            .map_err(|error| at(&format_args!("no results of this program ({error}): remove it")))
    }

    /// Replaces the file as a whole.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Trouble> {
        let new = path.with_extension("new");
        let folder = path.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_string_pretty(self).map_err(|error| Trouble::at("the results", error))?;
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| Trouble::at(&path.display().to_string(), error))
    }
}
