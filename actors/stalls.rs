//! Whether the world outside keeps threads of this process: a disk that does not answer.
//!
//! A thread in uninterruptible sleep waits for a device. One that is found so at two looks, and was not awake in between,
//! waits for one that is stalled. Nobody here can mend that, nor would a new process: it would wait for the same disk.
//! A file system in user space makes its callers sleep in another way, which is not told from a hang.

use std::collections::HashMap;
use std::path::Path;

use parking_lot::Mutex;

/// Threads as they were at the last look.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<HashMap<String, u64>>);

/// A thread in uninterruptible sleep.
#[derive(Debug, PartialEq, Eq)]
struct Asleep {
    name: String,
    /// How often it has gone to sleep so far.
    sleeps: u64,
}

impl Stalls {
    /// Looks at every thread: why nothing may get on, if that is for a stalled disk.
    pub(crate) fn look(&self) -> Option<String> {
        let mut before = self.0.lock();
        let mut now = HashMap::new();
        let mut stalled = Vec::new();
        // Without this file system nobody is excused.
        for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let Some(Asleep { name, sleeps }) = status(&thread.path()) else { continue };
            let id = thread.file_name().to_string_lossy().into_owned();
            if before.get(&id) == Some(&sleeps) {
                stalled.push(name);
            }
            now.insert(id, sleeps);
        }
        *before = now;
        stalled.sort();
        stalled.dedup();
        (!stalled.is_empty()).then(|| format!("a disk does not answer: waiting for it are {}", stalled.join(", ")))
    }
}

fn status(thread: &Path) -> Option<Asleep> {
    asleep(&std::fs::read_to_string(thread.join("status")).ok()?)
}

/// What the text of a thread's `status` says, if it is in uninterruptible sleep.
fn asleep(status: &str) -> Option<Asleep> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let is_asleep = field("State")?.starts_with('D');
    let sleeps = field("voluntary_ctxt_switches")?.parse().ok()?;
    is_asleep.then(|| Asleep { name: field("Name").unwrap_or_default().to_owned(), sleeps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_in_uninterruptible_sleep_is_told_from_others() {
        let status = |state: &str| {
            format!(
                "Name:\trecording\nState:\t{state}\nTgid:\t7\nvoluntary_ctxt_switches:\t41\nnonvoluntary_ctxt_switches:\t2\n"
            )
        };
        assert_eq!(asleep(&status("D (disk sleep)")), Some(Asleep { name: "recording".into(), sleeps: 41 }));
        for state in ["S (sleeping)", "R (running)"] {
            assert_eq!(asleep(&status(state)), None);
        }
        assert_eq!(asleep("State:\tD (disk sleep)\n"), None);
    }

    #[test]
    fn a_process_that_waits_for_no_disk_is_not_excused() {
        let stalls = Stalls::default();
        assert_eq!((stalls.look(), stalls.look()), (None, None));
    }
}
