//! How much room the data dir's disk has, and when that is little.

use std::io;
use std::path::Path;

const GIB: u64 = 1 << 30;

/// A disk's room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// How large it is.
    pub total: u64,
    /// What is left for this process.
    pub free: u64,
}

/// How little room is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Enough.
    Ample,
    /// Less than a tenth and less than 10 GiB: somebody should look.
    Little,
    /// Less than three hundredths and less than 2 GiB: recording will soon be refused.
    AlmostNone,
}

impl DiskSpace {
    /// The room of the disk that holds `path`.
    ///
    /// # Errors
    /// The path cannot be looked at.
    pub fn of(path: &Path) -> io::Result<DiskSpace> {
        let found = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// How many hundredths of the disk are free, rounded down.
    pub fn free_percent(self) -> u64 {
        let percent = 100 * u128::from(self.free) / u128::from(self.total.max(1));
        u64::try_from(percent).unwrap_or(100)
    }

    /// How little is left. What was little before stays so until there is a tenth more than the threshold, so that
    /// nothing flickers.
    pub fn room(self, before: Room) -> Room {
        let is_below = |hundredths: u64, most: u64, level: Room| {
            let threshold = (self.total / 100 * hundredths).min(most);
            self.free <= if before >= level { threshold + threshold / 10 } else { threshold }
        };
        if is_below(3, 2 * GIB, Room::AlmostNone) {
            Room::AlmostNone
        } else if is_below(10, 10 * GIB, Room::Little) {
            Room::Little
        } else {
            Room::Ample
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_tells_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let space = DiskSpace::of(dir.path()).unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
        assert!(DiskSpace::of(&dir.path().join("none")).is_err());
    }

    #[test]
    fn little_is_a_share_of_small_disks_and_a_size_on_large_ones() {
        let room = |total, free| DiskSpace { total, free }.room(Room::Ample);
        assert_eq!(room(100 * GIB, 11 * GIB), Room::Ample);
        assert_eq!(room(100 * GIB, 9 * GIB), Room::Little);
        assert_eq!(room(100 * GIB, GIB), Room::AlmostNone);
        assert_eq!(room(10_000 * GIB, 100 * GIB), Room::Ample);
        assert_eq!(room(10_000 * GIB, 10 * GIB), Room::Little);
        assert_eq!(room(1000, 100), Room::Little);
        assert_eq!(room(1000, 0), Room::AlmostNone);
        assert_eq!(DiskSpace { total: 1000, free: 109 }.free_percent(), 10);
        assert_eq!(DiskSpace { total: 0, free: 0 }.free_percent(), 0);
    }

    #[test]
    fn what_was_little_stays_so_a_while() {
        let room = |free, before| DiskSpace { total: 1000, free }.room(before);
        assert_eq!(room(105, Room::Ample), Room::Ample);
        assert_eq!(room(105, Room::Little), Room::Little);
        assert_eq!(room(111, Room::Little), Room::Ample);
        assert_eq!(room(32, Room::AlmostNone), Room::AlmostNone);
        assert_eq!(room(32, Room::Little), Room::Little);
    }
}
