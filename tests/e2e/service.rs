//! What the service manager is told, and when.

use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::recorder::{DataDir, Recorder, until};
use crate::wire::{DEADLINE, Gateway};

/// A service manager's end of the notification socket.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: UnixDatagram) -> Manager {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager(socket)
    }

    /// Waits for a message with this assignment; all of it.
    fn hears(&self, assignment: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("{assignment} is not told: {error}"));
            let message = std::str::from_utf8(&bytes[..length]).unwrap();
            if message.lines().any(|it| it == assignment) {
                return message.to_owned();
            }
        }
    }

    /// What was told until now, and nobody has heard.
    fn has_heard(&self) -> String {
        self.0.set_nonblocking(true).unwrap();
        let mut heard = String::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = self.0.recv(&mut bytes) {
            heard += std::str::from_utf8(&bytes[..length]).unwrap();
        }
        self.0.set_nonblocking(false).unwrap();
        heard
    }
}

fn recorder(gateway: &Gateway, variables: &[(&str, &str)]) -> Recorder {
    let upstream = format!("http://{}", gateway.address());
    Recorder::on(DataDir::new(), &[("PROXY_UPSTREAM", upstream.as_str())], variables)
}

#[test]
fn the_service_manager_hears_of_start_reload_signs_of_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let gateway = Gateway::new();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut recorder = recorder(&gateway, &variables);
    let ready = manager.hears("READY=1");
    assert!(ready.lines().any(|it| it.starts_with("STATUS=recording: 0 recorded")), "{ready}");
    assert!(TcpStream::connect(recorder.proxy).is_ok() && recorder.api("/readyz").0 == 200);
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    recorder.signal(libc::SIGHUP);
    let reloading = manager.hears("RELOADING=1");
    let micros = reloading.lines().find_map(|it| it.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    manager.hears("READY=1");
    recorder.signal(libc::SIGTERM);
    manager.hears("STOPPING=1");
    assert_eq!(recorder.wait().code(), Some(0));
}

/// A thread of another process, held still until this is dropped. Made and dropped by one thread, as the system wants it.
struct Held(libc::pid_t);

impl Held {
    fn named(process: u32, name: &str) -> Held {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|it| it.unwrap().path());
        let is_it = |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm")).unwrap().trim() == name;
        let task = tasks.into_iter().find(is_it).unwrap_or_else(|| panic!("no thread {name}"));
        let id = task.file_name().unwrap().to_str().unwrap().parse().unwrap();
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            trace(request, id);
        }
        let mut status = 0;
        // SAFETY: it writes into `status`, which is ours.
        assert_eq!(unsafe { libc::waitpid(id, &raw mut status, libc::__WALL) }, id);
        Held(id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        trace(libc::PTRACE_DETACH, self.0);
    }
}

fn trace(request: libc::c_uint, thread: libc::pid_t) {
    // SAFETY: none of the requests made here looks at the two zeros.
    let done = unsafe { libc::ptrace(request, thread, 0_usize, 0_usize) };
    assert_eq!(done, 0, "ptrace {request}: {}", std::io::Error::last_os_error());
}

#[test]
fn the_service_manager_gets_no_sign_of_life_while_a_lane_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::new(UnixDatagram::bind(&path).unwrap());
    let gateway = Gateway::new();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let recorder = recorder(&gateway, &variables);
    manager.hears("WATCHDOG=1");
    let held = Held::named(recorder.pid(), "lane-0");
    let missed = || recorder.log().matches("the service manager gets no sign of life").count();
    until("the lane is missed", || (missed() > 0).then_some(()));
    manager.has_heard();
    let (before, most) = (missed(), missed() + 5);
    until("it is missed for some time", || (missed() >= most).then_some(()));
    let heard = manager.has_heard();
    assert!(!heard.contains("WATCHDOG=1"), "after {before} times: {heard}");
    drop(held);
    manager.hears("WATCHDOG=1");
    assert_eq!(recorder.finish().len(), 0);
}

#[test]
fn a_socket_in_the_abstract_namespace_is_heard_as_well() {
    let name = format!("api-log-{}-{}", std::process::id(), line!());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let gateway = Gateway::new();
    let _recorder = recorder(&gateway, &[("NOTIFY_SOCKET", &format!("@{name}"))]);
    manager.hears("READY=1");
}

#[test]
fn a_service_manager_that_is_not_there_changes_nothing() {
    let gateway = Gateway::new();
    let variables = [("NOTIFY_SOCKET", "/nowhere/notify"), ("WATCHDOG_USEC", "100000"), ("WATCHDOG_PID", "1")];
    let recorder = recorder(&gateway, &variables);
    recorder.signal(libc::SIGHUP);
    assert_eq!(recorder.finish().len(), 0);
}
