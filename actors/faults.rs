//! Faults on demand, for tests: a named point in an actor fails as often as it was told to.
//!
//! The points are the process's. Tests that run a whole recorder take turns ([`alone`]), so that none meets a
//! fault that another asked for.

use std::collections::HashMap;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Mutex as Turn, MutexGuard};

static ARMED: Mutex<Option<HashMap<&'static str, u32>>> = Mutex::new(None);
static TURN: Turn<()> = Turn::const_new(());

/// The right to arm points; when it is dropped none is armed any more.
pub(crate) struct Alone(#[expect(dead_code, reason = "held until dropped")] MutexGuard<'static, ()>);

/// Waits until no other test may arm points.
pub(crate) async fn alone() -> Alone {
    let turn = TURN.lock().await;
    Alone(turn)
}

impl Drop for Alone {
    fn drop(&mut self) {
        *ARMED.lock() = None;
        CHANGED.notify_all();
    }
}

/// The next `times` passes of this point fail.
pub(crate) fn arm(point: &'static str, times: u32) {
    ARMED.lock().get_or_insert_default().insert(point, times);
    CHANGED.notify_all();
}

/// How many failures of this point are still to come.
pub(crate) fn left(point: &'static str) -> u32 {
    ARMED.lock().as_ref().and_then(|armed| armed.get(point)).copied().unwrap_or(0)
}

/// Passes a point; whether it should fail, in a way of its own.
pub(crate) fn is_due(point: &'static str) -> bool {
    ARMED.lock().as_mut().and_then(|armed| armed.get_mut(point)).is_some_and(|left| {
        let is_due = *left > 0;
        *left = left.saturating_sub(1);
        is_due
    })
}

/// Passes a point; panics if it is armed.
pub(crate) fn strike(point: &'static str) {
    if is_due(point) {
        panic!("the fault {point} was asked for");
    }
}

/// What the disk says to a write, if it was told to refuse: full at `disk.full` (of lines with bodies only at
/// `disk.full.bodies`), failing at `disk.failing`. Each write that is refused is one pass.
pub(crate) fn refuse(has_bodies: bool) -> Option<std::io::Error> {
    if has_bodies && is_due("disk.full.bodies") {
        return Some(std::io::Error::from_raw_os_error(libc::ENOSPC));
    }
    let due = REFUSALS.iter().find(|(point, _)| is_due(point));
    due.map(|(_, number)| std::io::Error::from_raw_os_error(*number))
}

/// The same without a pass.
pub(crate) fn refusal() -> Option<std::io::Error> {
    let due = REFUSALS.iter().find(|(point, _)| left(point) > 0);
    due.map(|(_, number)| std::io::Error::from_raw_os_error(*number))
}

const REFUSALS: [(&str, i32); 2] = [("disk.full", libc::ENOSPC), ("disk.failing", libc::EIO)];

/// Waits at a point for as long as it is armed, as on a disk that stalls.
pub(crate) fn stall(point: &'static str) {
    let mut armed = ARMED.lock();
    while armed.as_ref().and_then(|it| it.get(point)).is_some_and(|left| *left > 0) {
        CHANGED.wait(&mut armed);
    }
}

static CHANGED: Condvar = Condvar::new();
