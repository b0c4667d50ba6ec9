//! What a run says of itself at its end.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::readers::Answers;
use crate::schedule::POINTS;
use crate::stand::{Peak, Takes};

pub(crate) struct Summary {
    pub(crate) acts: u64,
    pub(crate) recovered: u64,
    pub(crate) asked: Answers,
    pub(crate) base: Takes,
    pub(crate) peak: Peak,
    pub(crate) after: Takes,
    pub(crate) restarts: BTreeMap<String, u64>,
    pub(crate) seen: BTreeMap<String, (u64, u64)>,
    pub(crate) health: Value,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ledger, recording) = (&self.health["ledger"], &self.health["recording"]);
        let struck: u64 = self.seen.values().map(|it| it.1).sum();
        writeln!(f, "{} acts, {struck} faults", self.acts)?;
        writeln!(f, "  ledger      {ledger}")?;
        writeln!(f, "  incidents   {recording}")?;
        writeln!(f, "  recovered   {} after the kill", self.recovered)?;
        write!(f, "  restarts   ")?;
        for (row, restarts) in self.restarts.iter().filter(|it| *it.1 > 0) {
            write!(f, " {row} {restarts}")?;
        }
        for nursery in self.health["supervision"]["nurseries"].as_array().into_iter().flatten() {
            write!(f, "; {} of {} failed", nursery["failed"], nursery["name"])?;
        }
        writeln!(f, "\n  read API    {:?} (status: answers; 0: none)", self.asked)?;
        let (base, peak, after) = (self.base, self.peak.0, self.after);
        writeln!(f, "  memory      {} MiB before, {} at most, {} after", base.mib(), peak.mib(), after.mib())?;
        let [base, peak, after] = [base, peak, after].map(|it| (it.descriptors, it.threads));
        writeln!(f, "  descriptors {} before, {} at most, {} after", base.0, peak.0, after.0)?;
        writeln!(f, "  threads     {} before, {} at most, {} after", base.1, peak.1, after.1)?;
        write!(f, "  points      ")?;
        for (point, _) in POINTS {
            let (passed, struck) = self.seen.get(*point).copied().unwrap_or_default();
            write!(f, "{point} {struck}/{passed}, ")?;
        }
        let silent: Vec<&str> = POINTS.iter().map(|it| it.0).filter(|it| self.never(it)).collect();
        write!(f, "\n  never struck {silent:?}")
    }
}

impl Summary {
    fn never(&self, point: &str) -> bool {
        self.seen.get(point).is_none_or(|it| it.1 == 0)
    }
}
