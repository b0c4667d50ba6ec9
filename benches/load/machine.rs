//! Where and of what a run was taken.

use std::path::Path;
use std::process::Command;

use api_log::ids::UnixMillis;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of the last minute, when the run began: what else there was to do.
    pub(crate) load_average: f64,
    pub(crate) nginx: String,
    pub(crate) nginx_workers: usize,
    pub(crate) wrk: String,
    /// Empty if there is none.
    pub(crate) oha: String,
    pub(crate) binary_bytes: u64,
}

impl Machine {
    pub(crate) fn here(binary: &Path, oha: Option<&Path>, nginx_workers: usize) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        let memory = read("/proc/meminfo");
        let memory = memory.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
        let changed =
            if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() { "" } else { ", changed" };
        Machine {
            date: UnixMillis::now().to_string(),
            commit: said("git", &["rev-parse", "--short=12", "HEAD"]) + changed,
            cpu: cpu.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0),
            nginx: said("nginx", &["-v"]),
            nginx_workers,
            wrk: said("wrk", &["-v"]),
            oha: oha.map(|it| said(&it.display().to_string(), &["--version"])).unwrap_or_default(),
            binary_bytes: std::fs::metadata(binary).map_or(0, |it| it.len()),
        }
    }
}

/// The first line that a program says; nothing if it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
