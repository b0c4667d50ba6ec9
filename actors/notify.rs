//! Tells the service manager how the recorder is, by the protocol of `sd_notify(3)`.
//!
//! Without `NOTIFY_SOCKET` nobody wants to know. Nothing here can fail in a way that matters: what cannot be told is
//! left out, and a manager that hears nothing does what it was told to do then.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells it these assignments, one a line.
pub(crate) fn tell(assignments: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else { return };
    if let Err(error) = send(&socket, assignments) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Reads its configuration again; when that is done, ready again.
pub(crate) fn reloading() {
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros()));
}

/// How often the manager wants a sign of life, if it does: it acts when one is missing for this long.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = number("WATCHDOG_PID").is_none_or(|it| it == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|it| is_for_us && *it > 0).map(Duration::from_micros)
}

fn send(socket: &OsStr, assignments: &str) -> io::Result<()> {
    let us = UnixDatagram::unbound()?;
    // A manager that does not listen must not hold anything up.
    us.set_nonblocking(true)?;
    us.send_to_addr(assignments.as_bytes(), &address(socket)?)?;
    Ok(())
}

/// A path, or after `@` a name in the abstract namespace.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(socket),
    }
}

fn monotonic_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes into `time`, which is ours; that clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}
