//! A small file system mounted on a data dir, and the traffic over it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::recorder::{DataDir, Recorder, until};
use crate::wire::Gateway;

/// A mount, taken off when dropped.
pub(crate) struct Mounted {
    pub(crate) data_dir: DataDir,
    /// What the file system is in, if it is in a file.
    image: Option<tempfile::NamedTempFile>,
}

impl Mounted {
    /// A file system in memory.
    pub(crate) fn tmpfs(bytes: u64) -> Option<Mounted> {
        let data_dir = DataDir::new();
        let size = format!("size={bytes},mode=0700");
        mount(data_dir.path(), &["-t", "tmpfs", "-o", &size, "tmpfs"]).then_some(Mounted { data_dir, image: None })
    }

    /// A journaling file system in a file.
    pub(crate) fn ext4(bytes: u64) -> Option<Mounted> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(bytes).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(image.path()).output();
        if !made.is_ok_and(|it| it.status.success()) {
            eprintln!("SKIPPED: mkfs.ext4 cannot be used here");
            return None;
        }
        let mounted = Mounted { data_dir: DataDir::new(), image: Some(image) };
        mounted.mount_image().then_some(mounted)
    }

    fn mount_image(&self) -> bool {
        let image = self.image.as_ref().unwrap().path().to_str().unwrap();
        mount(self.data_dir.path(), &["-o", "loop", image])
    }

    /// Makes the file system refuse writes, as it does by itself when its disk fails.
    pub(crate) fn fail(&self) {
        assert!(mount(self.data_dir.path(), &["-o", "remount,abort"]));
    }

    /// Takes it off and on again: then it is well.
    pub(crate) fn heal(&self) {
        assert!(run(Command::new("umount").arg(self.data_dir.path())));
        assert!(self.mount_image());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that fails may have left something open.
        run(Command::new("umount").arg("-l").arg(self.data_dir.path()));
    }
}

fn mount(at: &Path, arguments: &[&str]) -> bool {
    let is_mounted = run(Command::new("mount").args(arguments).arg(at));
    if !is_mounted {
        eprintln!("SKIPPED: mounting is refused here; that takes root");
    }
    is_mounted
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|it| it.status.success())
}

/// A recorder on a mount.
pub(crate) fn recorder(gateway: &Gateway, mounted: &Mounted, settings: &[(&str, &str)]) -> Recorder {
    let upstream = format!("http://{}", gateway.address());
    // On a data dir in memory, captures would take of the room that the tests measure.
    let mut all = vec![("PROXY_UPSTREAM", upstream.as_str()), ("CAPTURE_ARENA_DIR", "/dev/shm")];
    all.extend(settings);
    Recorder::on(mounted.data_dir.clone(), &all, &[])
}

/// One exchange with an answer of so many bytes, which the client has whole.
pub(crate) fn exchange(gateway: &Gateway, recorder: &Recorder, bytes: usize) {
    let mut client = recorder.ask("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let (mut upstream, _) = gateway.request();
    let body = "x".repeat(bytes);
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n{body}");
    upstream.send(answer);
    let (got, _) = client.rest();
    assert!(got.ends_with(&body) && got.starts_with("HTTP/1.1 200 OK"), "the client has its whole answer");
}

/// Waits until nothing is under way; the health document then, whose ledger balances.
pub(crate) fn settled(recorder: &Recorder, accepted: u64) -> Value {
    until("every exchange has its outcome", || {
        let (_, health) = recorder.api("/healthz");
        let ledger = &health["ledger"];
        assert_eq!(ledger["balanced"], true, "{ledger}");
        (ledger["accepted"] == accepted && ledger["in_flight"] == 0).then_some(health)
    })
}

/// Waits until health tells of this condition with a reason that holds `reason`, or, without one, does not tell of it.
pub(crate) fn is_told(recorder: &Recorder, condition: &str, reason: Option<&str>) {
    until(&format!("{condition} is told with {reason:?}"), || {
        let (_, health) = recorder.api("/healthz");
        let raised = health["degraded"].as_array().unwrap().iter().find(|it| it["condition"] == condition);
        match (raised.map(|it| it["reason"].as_str().unwrap().to_owned()), reason) {
            (None, None) => Some(()),
            (Some(said), Some(wanted)) => said.contains(wanted).then_some(()),
            _ => None,
        }
    });
}
