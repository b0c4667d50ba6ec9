//! A disk that is full or fails: in which steps recording comes down, and when it comes up again.
//!
//! The clock is given to every function, so that this is a table of rules and nothing else.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long a disk that begins to refuse is expected back. Until then traces wait whole in memory.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long it must not have refused anything before it is trusted again.
pub const CALM: Duration = Duration::from_secs(3);

/// What is wrong with the disk as a whole. Troubles of single files (another user's, a folder in their place, too many
/// of them open) are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskTrouble {
    /// No room: `ENOSPC`, `EDQUOT`, or less than is kept free.
    Full,
    /// It fails (`EIO`), is gone, or takes no writes.
    Failing,
}

impl DiskTrouble {
    /// What an error says of the disk.
    pub fn of(error: &io::Error) -> Option<DiskTrouble> {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => return Some(DiskTrouble::Full),
            Some(Errno::IO | Errno::ROFS | Errno::NXIO | Errno::NODEV | Errno::STALE | Errno::TIMEDOUT) => {
                return Some(DiskTrouble::Failing);
            }
            #[cfg(target_os = "linux")]
            Some(Errno::UCLEAN) => return Some(DiskTrouble::Failing),
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(DiskTrouble::Full),
            io::ErrorKind::ReadOnlyFilesystem => Some(DiskTrouble::Failing),
            _ => None,
        }
    }
}

/// How far recording has come down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The disk has just begun to refuse: traces wait for it.
    Waiting,
    /// Lines are written without their bodies.
    BodiesDropped,
    /// Not even those can be written.
    LinesDropped,
}

impl Step {
    /// What it means, for people.
    pub fn text(self) -> &'static str {
        match self {
            Step::Waiting => "traces wait for it in memory",
            Step::BodiesDropped => "bodies are dropped",
            Step::LinesDropped => "traces are dropped",
        }
    }
}

/// What to do with a line that the disk refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again.
    Wait,
    /// Try again without the bodies.
    DropBodies,
    /// Give the trace up.
    DropLine,
}

/// What is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// With the disk.
    pub trouble: DiskTrouble,
    /// What recording does about it.
    pub step: Step,
    /// Why, in a few words.
    pub reason: String,
}

/// The disk as recording has met it.
#[derive(Debug)]
pub struct DiskState {
    /// Below so many free bytes bodies are dropped, so that there is room for lines; 0 for never.
    reserve: u64,
    /// The free bytes, if they are too few.
    low: Option<u64>,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    trouble: DiskTrouble,
    reason: String,
    since: Instant,
    refused: Instant,
    /// Since when it refuses lines without bodies too.
    refuses_lines: Option<Instant>,
    drops_lines: bool,
}

impl DiskState {
    /// Nothing is known to be wrong.
    pub fn new(reserve: u64) -> DiskState {
        DiskState { reserve, low: None, outage: None }
    }

    /// The disk refused a write.
    pub fn refused(&mut self, trouble: DiskTrouble, reason: String, now: Instant) {
        match &mut self.outage {
            Some(outage) => {
                (outage.trouble, outage.reason, outage.refused) = (trouble, reason, now);
            }
            None => {
                let outage =
                    Outage { trouble, reason, since: now, refused: now, refuses_lines: None, drops_lines: false };
                self.outage = Some(outage);
            }
        }
    }

    /// The disk took a line.
    pub fn accepted(&mut self) {
        if let Some(outage) = &mut self.outage {
            (outage.refuses_lines, outage.drops_lines) = (None, false);
        }
    }

    /// What to do with a line that was refused. `may_wait` says whether there is memory for it meanwhile.
    pub fn verdict(&mut self, has_bodies: bool, may_wait: bool, now: Instant) -> Verdict {
        // The trouble passed between the refusal and this question.
        let Some(outage) = &mut self.outage else { return Verdict::Wait };
        let is_expected_back = |since: Instant| may_wait && now.saturating_duration_since(since) < PATIENCE;
        if has_bodies {
            return if is_expected_back(outage.since) { Verdict::Wait } else { Verdict::DropBodies };
        }
        let since = *outage.refuses_lines.get_or_insert(now);
        if is_expected_back(since) {
            return Verdict::Wait;
        }
        outage.drops_lines = true;
        Verdict::DropLine
    }

    /// Why new traces are recorded without their bodies, if they are.
    pub fn leaves_out_bodies(&self, now: Instant) -> Option<DiskTrouble> {
        let outage = self.outage.as_ref().filter(|it| now.saturating_duration_since(it.since) >= PATIENCE);
        outage.map(|it| it.trouble).or(self.low.map(|_| DiskTrouble::Full))
    }

    /// Whether to try a write ([`probe`]) before the next [`DiskState::looked`]: only that tells when an outage is over.
    pub fn wants_probe(&self) -> bool {
        self.outage.is_some()
    }

    /// Somebody looked: how much is free, if that could be told, and how the probe went, if there was one.
    pub fn looked(&mut self, free: Option<u64>, probed: Option<io::Result<()>>, now: Instant) {
        if let Some(free) = free {
            // A quarter more to come up again than to go down, so that nothing flickers.
            let enough = if self.low.is_some() { self.reserve.saturating_add(self.reserve / 4) } else { self.reserve };
            self.low = (free < enough).then_some(free);
        }
        match probed {
            Some(Ok(())) => {
                self.accepted();
                let is_calm = |it: &Outage| now.saturating_duration_since(it.refused) >= CALM;
                if self.outage.as_ref().is_some_and(is_calm) {
                    self.outage = None;
                }
            }
            Some(Err(error)) => {
                self.refused(DiskTrouble::of(&error).unwrap_or(DiskTrouble::Failing), error.to_string(), now);
            }
            None => {}
        }
    }

    /// What is wrong, if something is.
    pub fn pressed(&self, now: Instant) -> Option<Pressed> {
        if let Some(outage) = &self.outage {
            let is_young = now.saturating_duration_since(outage.since) < PATIENCE;
            let step = match outage.drops_lines {
                true => Step::LinesDropped,
                false if is_young && self.low.is_none() => Step::Waiting,
                false => Step::BodiesDropped,
            };
            return Some(Pressed { trouble: outage.trouble, step, reason: outage.reason.clone() });
        }
        let reason = format!("{} bytes free are less than the {} of storage.min_free_bytes", self.low?, self.reserve);
        Some(Pressed { trouble: DiskTrouble::Full, step: Step::BodiesDropped, reason })
    }
}

/// Writes a little to a file in this folder, forces it to the disk and removes it.
///
/// # Errors
/// Any step of that.
pub fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(".probe");
    let written =
        std::fs::File::create(&path).and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.sync_data()));
    // One that stays is overwritten by the next.
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    fn step(state: &DiskState, now: Instant) -> Option<Step> {
        state.pressed(now).map(|it| it.step)
    }

    #[test]
    fn errors_of_the_disk_are_told_from_those_of_a_file() {
        for (number, expected) in [
            (28, Some(DiskTrouble::Full)),
            (122, Some(DiskTrouble::Full)),
            (5, Some(DiskTrouble::Failing)),
            (30, Some(DiskTrouble::Failing)),
            (13, None),
            (20, None),
            (24, None),
        ] {
            assert_eq!(DiskTrouble::of(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
        assert_eq!(DiskTrouble::of(&full()), Some(DiskTrouble::Full));
    }

    #[test]
    fn an_outage_goes_down_step_by_step_and_comes_up_by_itself() {
        let begin = Instant::now();
        let mut state = DiskState::new(0);
        assert_eq!((step(&state, begin), state.wants_probe()), (None, false));
        state.refused(DiskTrouble::Full, "full".into(), begin);
        // Whole lines wait as long as the disk is expected back.
        assert_eq!(state.verdict(true, true, begin + SECOND), Verdict::Wait);
        assert_eq!(step(&state, begin + SECOND), Some(Step::Waiting));
        assert_eq!(state.leaves_out_bodies(begin + SECOND), None);
        // Then bodies go, of those that wait and of new ones.
        assert_eq!(state.verdict(true, true, begin + PATIENCE), Verdict::DropBodies);
        assert_eq!(state.leaves_out_bodies(begin + PATIENCE), Some(DiskTrouble::Full));
        assert_eq!(step(&state, begin + PATIENCE), Some(Step::BodiesDropped));
        // Lines without bodies wait once more, and then go at once.
        assert_eq!(state.verdict(false, true, begin + PATIENCE), Verdict::Wait);
        let late = begin + 2 * PATIENCE;
        state.refused(DiskTrouble::Full, "full".into(), late);
        assert_eq!(state.verdict(false, true, late), Verdict::DropLine);
        assert_eq!(step(&state, late), Some(Step::LinesDropped));
        // Room for lines.
        state.accepted();
        assert_eq!(step(&state, late), Some(Step::BodiesDropped));
        // Calm.
        state.looked(None, Some(Ok(())), late + SECOND);
        assert_eq!(step(&state, late + SECOND), Some(Step::BodiesDropped));
        state.looked(None, Some(Ok(())), late + CALM);
        assert_eq!(step(&state, late + CALM), None);
        assert_eq!(state.leaves_out_bodies(late + CALM), None);
    }

    #[test]
    fn without_memory_nothing_waits() {
        let now = Instant::now();
        let mut state = DiskState::new(0);
        state.refused(DiskTrouble::Failing, "broken".into(), now);
        assert_eq!(state.verdict(true, false, now), Verdict::DropBodies);
        assert_eq!(state.verdict(false, false, now), Verdict::DropLine);
    }

    #[test]
    fn a_probe_that_fails_keeps_the_outage_and_says_why_now() {
        let now = Instant::now();
        let mut state = DiskState::new(0);
        state.refused(DiskTrouble::Full, "full".into(), now);
        state.looked(None, Some(Err(io::Error::from_raw_os_error(30))), now + CALM);
        assert_eq!(state.pressed(now + CALM).unwrap().trouble, DiskTrouble::Failing);
        state.looked(None, Some(Ok(())), now + CALM + SECOND);
        assert!(state.pressed(now + CALM + SECOND).is_some(), "not calm for long enough");
    }

    #[test]
    fn bodies_go_when_little_is_free_and_come_back_with_a_quarter_more() {
        let now = Instant::now();
        let mut state = DiskState::new(1000);
        state.looked(Some(1000), None, now);
        assert_eq!(step(&state, now), None);
        state.looked(Some(999), None, now);
        assert_eq!(step(&state, now), Some(Step::BodiesDropped));
        assert_eq!(state.leaves_out_bodies(now), Some(DiskTrouble::Full));
        assert!(!state.wants_probe());
        state.looked(Some(1249), None, now);
        assert!(state.pressed(now).unwrap().reason.contains("1249 bytes"));
        state.looked(None, None, now);
        assert!(state.pressed(now).is_some(), "what cannot be told changes nothing");
        state.looked(Some(1250), None, now);
        assert_eq!(step(&state, now), None);
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        probe(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(probe(&dir.path().join("missing")).is_err());
    }
}
