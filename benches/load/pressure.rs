//! Recording under pressure: the disk stands still, somebody locks the index, an export or a rebuild runs.
//!
//! Requests come at a set rate all the while, so that a wait is seen by all who came meanwhile. Windows without and
//! with the pressure take turns.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::books::Books;
use crate::client::{Kind, What};
use crate::plan::Plan;
use crate::process::Trouble;
use crate::result::{Outcome, Peer, PeerRuns, Windows};
use crate::rounds::{Holds, Recorders, Site};
use crate::stand::{Answers, Stand};
use crate::tools::Tool;

const CONNECTIONS: usize = 16;
/// Rounds of quiet and pressed windows.
const ROUNDS: usize = 3;

/// While it is held there is pressure.
type Pressure<'p> = Box<dyn Send + 'p>;

/// Nothing can be written to the disk for a while.
pub(crate) fn disk_stalled(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    let mounted = Mounted::on(&stand.fresh("on")?, &stand.folder.join("disk.img"))?;
    let folder = mounted.at.clone();
    let outcome =
        windows(plan, stand, Holds::Nothing, |_| Ok(Box::new(Frozen::now(&folder, plan.pressure_seconds())?)))?;
    drop(mounted);
    Ok(outcome)
}

/// Another program has a write transaction open.
pub(crate) fn index_locked(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    windows(plan, stand, Holds::Nothing, |recorders| {
        let index = recorders.on.data_dir.join("index.sqlite");
        let at = |error| Trouble::at(&index.display().to_string(), error);
        let connection = Connection::open(&index).map_err(at)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(at)?;
        // Ends with the connection, which is closed when dropped.
        connection.execute_batch("BEGIN EXCLUSIVE").map_err(at)?;
        Ok(Box::new(connection))
    })
}

/// Somebody takes out half a day, again and again.
pub(crate) fn export(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    const HALF_A_DAY: &str = "/api/export?all=1&bytes_all=1&since=2026-05-10T00:00:00Z&until=2026-05-10T12:00:00Z";
    windows(plan, stand, Holds::Stored, |recorders| {
        let stop = Arc::new(AtomicBool::new(false));
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (stopped, api) = (stop.clone(), recorders.on.api.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let told = api.ask("GET", HALF_A_DAY, |_| {
                    let _ = begun.send(Ok(()));
                    !stopped.load(Ordering::Relaxed)
                });
                match told {
                    Ok(200) => {}
                    Ok(status) => drop(begun.send(Err(Trouble::said(format!("the export is answered with {status}"))))),
                    Err(error) => drop(begun.send(Err(error))),
                }
            }
        });
        let task = Task { stop, thread: Some(thread) };
        has_begun
            .recv_timeout(Duration::from_secs(60))
            .map_err(|_| Trouble::said("the export does not begin"))
            .flatten()?;
        Ok(Box::new(task))
    })
}

/// The index is made anew.
pub(crate) fn rebuild(plan: &Plan, stand: &Stand) -> Result<Outcome, Trouble> {
    windows(plan, stand, Holds::Stored, |recorders| {
        recorders.on.api.get("POST", "/api/index/rebuild")?;
        Ok(Box::new(Rebuilt { recorders, limit: plan.settle_limit() }))
    })
}

fn windows<'p>(
    plan: &'p Plan,
    stand: &Stand,
    holds: Holds,
    press: impl for<'r> Fn(&'r Recorders) -> Result<Pressure<'r>, Trouble>,
) -> Result<Outcome, Trouble> {
    let recorders = Recorders::start(plan, stand, Answers::Same, holds)?;
    let site = Site { plan, stand, answers: Answers::Same, recorders: &recorders };
    let (seconds, rate) = (plan.pressure_seconds(), plan.pressure_rate());
    let tool = Tool::Own { connections: CONNECTIONS, kind: Kind::Open { what: What::Chat, seconds, rate } };
    let mut books = Books::default();
    let mut outcome = Outcome { rate: Some(rate), ..Outcome::default() };
    let mut memory = PeerRuns { idle: recorders.on.memory(), ..PeerRuns::default() };
    site.run(Peer::On, tool.short(), &mut books)?;
    books = Books { indexed_after_s: Vec::new(), lag_s: 0.0, ..books };
    let mut windows = Windows { quiet: Vec::new(), pressed: Vec::new() };
    for round in 0..if plan.quick { 1 } else { ROUNDS } {
        let (run, _) = site.run(Peer::On, tool, &mut books)?;
        windows.quiet.push(run.measured);
        let pressure = press(&recorders)?;
        let (measured, watched) = site.load(Peer::On, tool)?;
        drop(pressure);
        let began = Instant::now();
        recorders.on.settled(plan.settle_limit())?;
        books.ran(&measured, &watched, began.elapsed());
        if watched.most.rss_kib > memory.steady.rss_kib {
            memory.steady = watched.most;
        }
        windows.pressed.push(measured);
        eprintln!("load:   round {}", round + 1);
    }
    std::thread::sleep(plan.rest());
    memory.after = recorders.on.memory();
    outcome.peers.insert(Peer::On, memory);
    books.close(&recorders.on, &recorders.before)?;
    outcome.books = Some(books);
    outcome.windows = Some(windows);
    recorders.end();
    Ok(outcome)
}

/// A thread that goes on until this is dropped.
struct Task {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The rebuild that is under way is waited for, so that the next window is quiet.
struct Rebuilt<'r> {
    recorders: &'r Recorders,
    limit: Duration,
}

impl Drop for Rebuilt<'_> {
    fn drop(&mut self) {
        let began = Instant::now();
        while began.elapsed() < self.limit {
            match self.recorders.on.api.get("GET", "/api/index") {
                Ok(index) if index["state"] == "rebuilding" => std::thread::sleep(Duration::from_millis(100)),
                _ => return,
            }
        }
    }
}

/// A file system of its own in a file, for a data dir.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn on(at: &Path, image: &Path) -> Result<Mounted, Trouble> {
        const BYTES: u64 = 4 << 30;
        let file = std::fs::File::create(image).and_then(|file| file.set_len(BYTES));
        file.map_err(|error| Trouble::at(&image.display().to_string(), error))?;
        done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        done(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        let mounted = Mounted { at: at.to_owned() };
        // The program wants its data dir for itself.
        let _ = std::fs::remove_dir(at.join("lost+found"));
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = done(Command::new("fsfreeze").arg("-u").arg(&self.at));
        if let Err(error) = done(Command::new("umount").arg("-l").arg(&self.at)) {
            eprintln!("load: {error}");
        }
    }
}

/// A file system on which every write waits.
struct Frozen {
    at: PathBuf,
    /// Thaws it should this process end before.
    watchman: Child,
}

impl Frozen {
    fn now(at: &Path, seconds: f64) -> Result<Frozen, Trouble> {
        let script = format!("sleep {}; fsfreeze -u \"$0\"", (seconds + 30.0).ceil());
        let watchman = Command::new("sh").args(["-c", &script]).arg(at).spawn();
        let watchman = watchman.map_err(|error| Trouble::at("sh", error))?;
        let frozen = Frozen { at: at.to_owned(), watchman };
        done(Command::new("fsfreeze").arg("-f").arg(at))?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = done(Command::new("fsfreeze").arg("-u").arg(&self.at)) {
            eprintln!("load: {error}");
        }
        let _ = self.watchman.kill();
        let _ = self.watchman.wait();
    }
}

/// Runs a command that takes root.
fn done(command: &mut Command) -> Result<(), Trouble> {
    let name = command.get_program().display().to_string();
    let output = command.output().map_err(|error| Trouble::at(&name, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::said(format!("{name} is refused; it takes root, and loop devices: {}", said.trim())))
}
