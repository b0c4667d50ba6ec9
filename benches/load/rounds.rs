//! A scenario of interleaved rounds: each of the four has the same load in turn, again and again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::books::{Before, Books, Watched};
use crate::client::Measured;
use crate::plan::Plan;
use crate::process::{Memory, Trouble};
use crate::recorder::Recorder;
use crate::result::{Outcome, Peer, PeerRuns, Run};
use crate::stand::{Answers, Stand};
use crate::stored;
use crate::tools::Tool;

/// Until the next one's turn.
const PAUSE: Duration = Duration::from_millis(500);

/// What is measured.
pub(crate) struct Setup<'s> {
    pub(crate) peers: &'s [Peer],
    pub(crate) answers: Answers,
    pub(crate) tool: Tool,
    pub(crate) rounds: usize,
    /// What the recorder's data dir holds already.
    pub(crate) holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing,
    /// Lines and rows of some days.
    Stored,
}

/// Both recorders, one of which records.
pub(crate) struct Recorders {
    pub(crate) off: Recorder,
    pub(crate) on: Recorder,
    pub(crate) before: Before,
    folders: [PathBuf; 2],
}

impl Recorders {
    pub(crate) fn start(plan: &Plan, stand: &Stand, answers: Answers, holds: Holds) -> Result<Recorders, Trouble> {
        let folders = [stand.fresh("off")?, stand.fresh("on")?];
        let upstream = stand.upstream(answers).address;
        let mut settings = Vec::new();
        if holds == Holds::Stored {
            stored::copy(plan, &stand.binary, &folders[1])?;
            // Days of a foreign past would be compressed meanwhile.
            settings.push(("APILOG_STORAGE_SEAL", "off"));
        }
        let before = Before::of(&folders[1])?;
        let start = |name, at: usize, settings: &[(&str, &str)]| {
            Recorder::start(&stand.binary, name, &stand.folder, &folders[at], upstream, settings)
        };
        let off = start("recorder-off", 0, &[("APILOG_CAPTURE_ENABLED", "false")])?;
        let on = start("recorder-on", 1, &settings)?;
        on.settled(plan.settle_limit())?;
        Ok(Recorders { off, on, before, folders })
    }

    pub(crate) fn end(self) {
        self.off.end();
        self.on.end();
        // Gigabytes, that nobody will look at if all went well.
        self.folders.iter().for_each(|it| drop(std::fs::remove_dir_all(it)));
    }
}

/// Runs it.
pub(crate) fn measure(plan: &Plan, stand: &Stand, setup: &Setup<'_>) -> Result<Outcome, Trouble> {
    let recorders = Recorders::start(plan, stand, setup.answers, setup.holds)?;
    let site = Site { plan, stand, answers: setup.answers, recorders: &recorders };
    let mut outcome = Outcome::default();
    let mut books = Books::default();
    std::thread::sleep(PAUSE);
    for &peer in setup.peers {
        let runs = PeerRuns { idle: site.memory(peer), ..PeerRuns::default() };
        outcome.peers.insert(peer, runs);
    }
    for &peer in setup.peers {
        site.run(peer, setup.tool.short(), &mut books)?;
    }
    // What comes up cold or has to warm up is no part of it.
    books = Books { indexed_after_s: Vec::new(), lag_s: 0.0, pace: Vec::new(), ..books };
    for round in 0..setup.rounds {
        // Each is first in its turn.
        let order = setup.peers.iter().cycle().skip(round % setup.peers.len()).take(setup.peers.len());
        for &peer in order {
            let (run, most) = site.run(peer, setup.tool, &mut books)?;
            let runs = outcome.peers.entry(peer).or_default();
            if most.rss_kib > runs.steady.rss_kib {
                runs.steady = most;
            }
            runs.runs.push(run);
            std::thread::sleep(PAUSE);
        }
        eprintln!("load:   round {} of {}", round + 1, setup.rounds);
    }
    std::thread::sleep(plan.rest());
    for (peer, runs) in &mut outcome.peers {
        runs.after = site.memory(*peer);
    }
    books.close(&recorders.on, &recorders.before)?;
    outcome.books = Some(books);
    recorders.end();
    Ok(outcome)
}

/// Where loads go.
pub(crate) struct Site<'s> {
    pub(crate) plan: &'s Plan,
    pub(crate) stand: &'s Stand,
    pub(crate) answers: Answers,
    pub(crate) recorders: &'s Recorders,
}

impl Site<'_> {
    fn address(&self, peer: Peer) -> SocketAddr {
        let upstream = self.stand.upstream(self.answers);
        match peer {
            Peer::Upstream => upstream.address,
            Peer::Nginx => upstream.by_nginx,
            Peer::Off => self.recorders.off.proxy,
            Peer::On => self.recorders.on.proxy,
        }
    }

    fn memory(&self, peer: Peer) -> Memory {
        match peer {
            Peer::Upstream => self.stand.upstream(self.answers).running.memory(),
            Peer::Nginx => self.stand.proxy.memory(),
            Peer::Off => self.recorders.off.memory(),
            Peer::On => self.recorders.on.memory(),
        }
    }

    fn cpu(&self, peer: Peer) -> Duration {
        match peer {
            Peer::Upstream => self.stand.upstream(self.answers).running.cpu(),
            Peer::Nginx => self.stand.proxy.cpu(),
            Peer::Off => self.recorders.off.cpu(),
            Peer::On => self.recorders.on.cpu(),
        }
    }

    /// One load for one of them; what was measured, and the most memory it had.
    pub(crate) fn run(&self, peer: Peer, tool: Tool, books: &mut Books) -> Result<(Run, Memory), Trouble> {
        let before = self.cpu(peer);
        let (measured, watched) = self.load(peer, tool)?;
        if peer == Peer::On {
            let indexed_after = self.recorders.on.settled(self.plan.settle_limit())?;
            books.ran(&measured, &watched, indexed_after);
        }
        let cpu_us = (self.cpu(peer) - before).as_micros() as f64;
        Ok((Run { measured, cpu_us }, watched.most))
    }

    /// The load alone.
    pub(crate) fn load(&self, peer: Peer, tool: Tool) -> Result<(Measured, Watched), Trouble> {
        let stop = AtomicBool::new(false);
        let recorder = (peer == Peer::On).then_some(&self.recorders.on);
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| Watched::until(&stop, recorder, || self.memory(peer)));
            let measured = tool.run(self.address(peer), &self.stand.folder);
            stop.store(true, Ordering::Relaxed);
            let watched = watching.join().expect("it only reads");
            measured.map(|it| (it, watched)).map_err(|error| Trouble::at(peer.about().trim_matches('*'), error))
        })
    }
}
