//! The faults of a built program: armed by a file that whoever breaks it writes, and told beside it.
//!
//! The file named by `API_LOG_FAULTS` is looked at every 20 ms; what it says replaces what it said before. A line each:
//!
//! ```text
//! seed 42
//! finalizer panic times=3
//! writers hang for=2s chance=0.01
//! spool.write io error=enospc
//! ```
//!
//! `panic`, `hang` (the handler, where it can be), `block` (the thread), `io` (`enospc`, `eio`, `erofs`, `emfile`) and
//! `fail`, each point's own way. The file of the same name with `.seen` behind has a line `point passed struck` for each
//! point, and `loaded` with a number that grows each time the file was taken over; a line that is no fault is told in
//! the log, and the whole file is left alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Armed, POINTS, What, arm_all, seen};

/// The variable that names the file.
pub(crate) const VARIABLE: &str = "API_LOG_FAULTS";

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often the watchdog looks, when it kills and when it gives up, as `API_LOG_WATCHDOG="1s 5s 20s"` says.
pub(crate) fn watchdog_times() -> Option<(Duration, Duration, Duration)> {
    let times = std::env::var("API_LOG_WATCHDOG").ok()?;
    let mut times = times.split_whitespace().map(|it| humantime::parse_duration(it).ok());
    Some((times.next()??, times.next()??, times.next()??))
}

/// How many restarts are borne within the supervisor's time, as `API_LOG_PATIENCE` says: whoever breaks everything at once
/// wants it to go on.
pub(crate) fn patience() -> Option<usize> {
    std::env::var("API_LOG_PATIENCE").ok()?.parse().ok()
}

/// Follows the file from now on, if there is to be one.
pub(crate) fn follow() {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let followed = std::thread::Builder::new().name("faults".into()).spawn(move || {
        let (mut said, mut loaded) = (String::new(), 0_u64);
        loop {
            let says = std::fs::read_to_string(&path).unwrap_or_default();
            if says != said {
                match read(&says) {
                    Ok((seed, points)) => {
                        arm_all(seed, points);
                        loaded += 1;
                    }
                    Err(line) => tracing::error!(line, "not a fault; the file is left alone"),
                }
                said = says;
            }
            tell(&path, loaded);
            std::thread::sleep(LOOK_EVERY);
        }
    });
    if let Err(error) = followed {
        tracing::error!(%error, "faults cannot be followed");
    }
}

fn tell(path: &Path, loaded: u64) {
    use std::fmt::Write;
    let mut text = format!("loaded {loaded}\n");
    for (point, seen) in seen() {
        let _ = writeln!(text, "{point} {} {}", seen.passed, seen.struck);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".seen");
    let mut part = name.clone();
    part.push(".part");
    // Whoever reads it looks again.
    let _ = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &name));
}

/// The seed and the points of such a text, or the first line that is wrong.
fn read(text: &str) -> Result<(u64, HashMap<String, Armed>), &str> {
    let (mut seed, mut points) = (0, HashMap::new());
    for line in text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("seed"), Some(number)) => seed = number.parse().map_err(|_| line)?,
            (Some(point), Some(what)) if POINTS.iter().any(|(it, _)| *it == point) => {
                points.insert(point.to_owned(), armed(what, words).ok_or(line)?);
            }
            _ => return Err(line),
        }
    }
    Ok((seed, points))
}

fn armed<'a>(what: &str, rules: impl Iterator<Item = &'a str>) -> Option<Armed> {
    let (mut times, mut chance, mut time, mut error) = (u32::MAX, 1.0, Duration::from_secs(3600), libc::EIO);
    for rule in rules {
        match rule.split_once('=')? {
            ("times", it) => times = it.parse().ok()?,
            ("chance", it) => chance = it.parse().ok()?,
            ("for", it) => time = humantime::parse_duration(it).ok()?,
            ("error", "enospc") => error = libc::ENOSPC,
            ("error", "eio") => error = libc::EIO,
            ("error", "erofs") => error = libc::EROFS,
            ("error", "emfile") => error = libc::EMFILE,
            _ => return None,
        }
    }
    let what = match what {
        "fail" => What::Fail,
        "panic" => What::Panic,
        "hang" => What::Hang(time),
        "block" => What::Block(time),
        "io" => What::Io(error),
        _ => return None,
    };
    Some(Armed { what, times, chance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_which_points_fail_how_and_how_often() {
        let text = "# none of these is ever meant well\nseed 42\n\nfinalizer panic times=3 chance=0.5\nwriters hang for=2s\nspool.write io error=enospc\n";
        let (seed, points) = read(text).unwrap();
        assert_eq!(seed, 42);
        assert_eq!(points["finalizer"], Armed { what: What::Panic, times: 3, chance: 0.5 });
        assert_eq!(points["writers"].what, What::Hang(Duration::from_secs(2)));
        assert_eq!(points["spool.write"].what, What::Io(libc::ENOSPC));
    }

    #[test]
    fn a_line_that_is_no_fault_is_named() {
        for line in ["nobody panic", "writer explode", "writer", "writer panic times=some", "seed x"] {
            assert_eq!(read(&format!("writer panic\n{line}")).unwrap_err(), line);
        }
    }
}
