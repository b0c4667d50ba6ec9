//! Faults on demand, for tests: a named point in an actor fails as often as it was told to.
//!
//! The points are the process's. Tests that run a whole recorder take turns ([`alone`]), so that none meets a
//! fault that another asked for.

use std::collections::HashMap;

use parking_lot::Mutex;
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
    }
}

/// The next `times` passes of this point fail.
pub(crate) fn arm(point: &'static str, times: u32) {
    ARMED.lock().get_or_insert_default().insert(point, times);
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
