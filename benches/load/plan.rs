//! What a run is asked for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::process::Trouble;
use crate::scenario::SCENARIOS;

/// The program under load, beside nginx.
#[derive(Parser, Clone)]
#[command(name = "benches/load/run", subcommand_negates_reqs = true)]
pub(crate) struct Plan {
    /// Shows that everything works, in a few minutes; the figures mean nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// These scenarios only, with commas between; results of others stay.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Rounds of each scenario (5; 1 with --quick).
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each round and program (4; 1 with --quick).
    #[arg(long)]
    seconds: Option<u64>,
    /// Where the results go, after each scenario.
    #[arg(long, default_value = "target/load/results.json")]
    pub(crate) json: PathBuf,
    /// Leaves out the scenarios that the results hold already without an error, of the same commit and settings.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Lists the scenarios.
    #[arg(long)]
    pub(crate) list: bool,
    /// Prints the tables of the results there are, and runs nothing.
    #[arg(long)]
    pub(crate) table: bool,
    /// Worker processes of nginx as the reverse proxy.
    #[arg(long, default_value_t = 1)]
    pub(crate) nginx_workers: usize,
    /// Rows of the index that is there already (1,000,000; 20,000 with --quick).
    #[arg(long)]
    rows: Option<u64>,
    /// GiB of lines that are there already (10; next to none with --quick).
    #[arg(long)]
    stored_gib: Option<u64>,
    /// Data dirs, logs and configurations of the run; on the disk that is to be measured.
    #[arg(long, default_value = "target/load/work")]
    pub(crate) work: PathBuf,
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// A part that the harness starts.
#[derive(Subcommand, Clone)]
pub(crate) enum Role {
    /// Makes a load.
    #[command(hide = true)]
    Client {
        /// As JSON.
        load: String,
    },
    /// Answers as a gateway would.
    #[command(hide = true)]
    Gateway {
        /// Where.
        listen: SocketAddr,
    },
}

impl Plan {
    fn of<T>(&self, asked: Option<T>, whole: T, quick: T) -> T {
        asked.unwrap_or(if self.quick { quick } else { whole })
    }

    pub(crate) fn rounds(&self) -> usize {
        self.of(self.rounds, 5, 1).max(1)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.of(self.seconds, 4, 1).max(1) as f64
    }

    pub(crate) fn rows(&self) -> u64 {
        self.of(self.rows, 1_000_000, 20_000)
    }

    /// Bytes of lines that a data dir holds already.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.of(self.stored_gib, 10, 0) << 30
    }

    /// How long the run that shows whether it keeps up takes.
    pub(crate) fn sustained(&self) -> f64 {
        self.of(None, 60.0, 3.0)
    }

    /// How many streams are open at once.
    pub(crate) fn streams(&self) -> usize {
        self.of(None, 5_000, 200)
    }

    /// Events of each of them, one a second.
    pub(crate) fn stream_events(&self) -> u64 {
        self.of(None, 40, 4)
    }

    /// Bytes of a large transfer.
    pub(crate) fn transfer_bytes(&self) -> u64 {
        self.of(None, 64, 4) << 20
    }

    /// How long a disk stands still, or an index is locked.
    pub(crate) fn pressure_seconds(&self) -> f64 {
        self.of(None, 10.0, 2.0)
    }

    /// Requests a second that are sent meanwhile.
    pub(crate) fn pressure_rate(&self) -> f64 {
        self.of(None, 2_000.0, 500.0)
    }

    /// From the end of a load until its memory should be given back.
    pub(crate) fn rest(&self) -> Duration {
        Duration::from_secs(self.of(None, 30, 1))
    }

    /// How long a recorder may take until everything is indexed.
    pub(crate) fn settle_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// The names of the scenarios that are asked for.
    pub(crate) fn wanted(&self) -> Result<Vec<&'static str>, Trouble> {
        let all: Vec<&str> = SCENARIOS.iter().map(|it| it.name).collect();
        if let Some(unknown) = self.only.iter().find(|it| !all.contains(&it.as_str())) {
            return Err(Trouble::said(format!("there is no scenario {unknown}; there are {}", all.join(", "))));
        }
        Ok(all.into_iter().filter(|it| self.only.is_empty() || self.only.iter().any(|only| only == it)).collect())
    }
}
