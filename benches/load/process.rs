//! Processes: started, looked at in `/proc`, and ended.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Why something could not be measured: what, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Trouble(String);

impl Trouble {
    pub(crate) fn said(text: impl Into<String>) -> Trouble {
        Trouble(text.into())
    }

    /// What was being done, before the reason.
    pub(crate) fn at(what: &str, error: impl std::fmt::Display) -> Trouble {
        Trouble(format!("{what}: {error}"))
    }
}

/// A program that runs until this is dropped, its children with it.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Memory of a program, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// All of it: `VmRSS`.
    pub(crate) rss_kib: u64,
    /// What it allocated.
    pub(crate) anon_kib: u64,
    /// Shared memory: the arena of captures.
    pub(crate) shared_kib: u64,
}

impl Running {
    /// Starts a program whose words go to `NAME.log` in the folder.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Result<Running, Trouble> {
        let log = folder.join(format!("{name}.log"));
        let told = File::create(&log).map_err(|error| Trouble::at(&log.display().to_string(), error))?;
        let also = told.try_clone().map_err(|error| Trouble::at("the log", error))?;
        // However this process ends, nothing stays behind. It is the starting thread's end that counts, which is `main`'s.
        // SAFETY: between fork and exec nothing but a plain system call.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            })
        };
        let child = command.stdin(Stdio::null()).stdout(told).stderr(also).spawn();
        let child = child.map_err(|error| {
            Trouble::said(format!("{name} cannot be started ({error}): {}", command.get_program().display()))
        })?;
        Ok(Running { name: name.to_owned(), child, log })
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it does something; an error with its last words if it ends before, or takes a minute.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Running) -> Option<T>) -> Result<T, Trouble> {
        let began = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return Ok(seen);
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || began.elapsed() > Duration::from_secs(60) {
                let why = ended.map_or_else(|| "it takes too long".to_owned(), |status| status.to_string());
                let said = self.said();
                let tail = said.lines().rev().take(5).collect::<Vec<_>>();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                return Err(Trouble::said(format!("{} does not {what}: {why}\n{}", self.name, tail.join("\n"))));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until somebody listens there.
    pub(crate) fn until_listening(&mut self, address: SocketAddr) -> Result<(), Trouble> {
        self.until(&format!("listen on {address}"), |_| TcpStream::connect(address).ok()).map(drop)
    }

    /// The program and its children.
    fn processes(&self) -> Vec<u32> {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = all.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let own = self.child.id();
        numbers.filter(|pid| *pid == own || stat(*pid).is_some_and(|it| it.parent == own)).collect()
    }

    /// CPU time that program and children have used so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.processes().into_iter().filter_map(stat).map(|it| it.cpu).sum()
    }

    /// Memory of program and children; what they share is counted for each.
    pub(crate) fn memory(&self) -> Memory {
        let mut sum = Memory::default();
        for pid in self.processes() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let field = |name: &str| {
                let line = status.lines().find_map(|it| it.strip_prefix(name));
                line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            sum.rss_kib += field("VmRSS:");
            sum.anon_kib += field("RssAnon:");
            sum.shared_kib += field("RssShmem:");
        }
        sum
    }

    /// Asks it to end in order, and waits for that.
    pub(crate) fn end(mut self) {
        self.terminate(Duration::from_secs(60));
    }

    fn terminate(&mut self, patience: Duration) {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > patience {
                eprintln!("load: {} does not end; it is killed", self.name);
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate(Duration::from_secs(10));
        }
    }
}

struct Stat {
    parent: u32,
    cpu: Duration,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // SAFETY: a plain system call.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    let cpu = Duration::from_micros((number(11)? + number(12)?) * 1_000_000 / ticks);
    Some(Stat { parent: number(1)? as u32, cpu })
}

/// A port that nobody listened on a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, Trouble> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    bound.map_err(|error| Trouble::at("no free port", error))
}

/// This many descriptors may be open, here and in what is started; thousands of streams take two each.
pub(crate) fn allow_descriptors(wanted: u64) -> Result<(), Trouble> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a struct of our own.
    let is_set = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_cur.max(wanted);
        limit.rlim_max = limit.rlim_max.max(limit.rlim_cur);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
    };
    if is_set {
        return Ok(());
    }
    Err(Trouble::said(format!("{wanted} open files are not allowed: run `ulimit -Hn {wanted}` as root, or be root")))
}
