//! Faults on demand, for tests: a named point in an actor panics as often as it was told to.

use std::collections::HashMap;

use parking_lot::Mutex;

static ARMED: Mutex<Option<HashMap<&'static str, u32>>> = Mutex::new(None);

/// The next `times` passes of this point panic.
pub(crate) fn arm(point: &'static str, times: u32) {
    ARMED.lock().get_or_insert_default().insert(point, times);
}

/// Passes a point; panics if it is armed.
pub(crate) fn strike(point: &'static str) {
    let is_due = ARMED.lock().as_mut().and_then(|armed| armed.get_mut(point)).is_some_and(|left| {
        let is_due = *left > 0;
        *left = left.saturating_sub(1);
        is_due
    });
    if is_due {
        panic!("the fault {point} was asked for");
    }
}
