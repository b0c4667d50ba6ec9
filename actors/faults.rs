//! Faults on demand: a named point in an actor, or before a call to the world, fails as it was told to.
//!
//! Compiled for tests, and into a program built with the feature `faults`, which is never a default: elsewhere
//! `fault!` is nothing at all, not even its name. Unit tests arm points themselves; a built program does as the file
//! named by `API_LOG_FAULTS` says (see `actors/faults/file.rs`).
//!
//! The points are the process's. Tests that run a whole recorder take turns (`alone`), so that none meets a
//! fault that another asked for.

#[cfg(feature = "faults")]
pub(crate) mod file;

/// Passes a point of the list `POINTS`: one line at the place that may fail.
///
/// | form | where | what may happen |
/// |---|---|---|
/// | `fault!("point");` | anywhere | a panic; the thread is held up |
/// | `fault!(await "point");` | in a handler | a panic; the handler is held up, or its thread |
/// | `fault!(io "point")?` | before a call to the world | the same as the first, or an error instead of the call |
/// | `fault!(is "point")` | anywhere | `true`: it fails in a way of its own |
macro_rules! fault {
    (await $point:literal) => {{
        #[cfg(any(test, feature = "faults"))]
        $crate::faults::strike_here($point).await;
    }};
    (io $point:literal) => {{
        #[cfg(any(test, feature = "faults"))]
        let outcome = $crate::faults::io($point);
        #[cfg(not(any(test, feature = "faults")))]
        let outcome = Ok::<(), std::io::Error>(());
        outcome
    }};
    (is $point:literal) => {{
        #[cfg(any(test, feature = "faults"))]
        let is_due = $crate::faults::is_due($point);
        #[cfg(not(any(test, feature = "faults")))]
        let is_due = false;
        is_due
    }};
    ($point:literal) => {{
        #[cfg(any(test, feature = "faults"))]
        $crate::faults::strike($point);
    }};
}

#[cfg(any(test, feature = "faults"))]
pub(crate) use armed::*;

#[cfg(any(test, feature = "faults"))]
mod armed {
    use std::collections::HashMap;
    use std::io;
    use std::time::Duration;

    use parking_lot::Mutex;

    /// Every point there is, and where it stands. `tests/tidy.rs` holds the list and the code together.
    #[cfg_attr(
        not(feature = "faults"),
        expect(dead_code, reason = "the built program refuses a point that is not here")
    )]
    pub(crate) const POINTS: &[(&str, &str)] = &[
        ("access_log", "before lines of the access log are taken"),
        ("access_log.write", "before lines of the access log are appended"),
        ("api", "every answer of the read API, before it is made"),
        ("api.accept", "a caller of the read API is accepted: the API's actor fails"),
        ("api.read", "before a query of the index for the API"),
        ("arena", "before the arena is tended"),
        ("connection", "a connection's actor fails after its start"),
        ("disk", "a look whether the disk is well"),
        ("finalizer", "a trace's first try"),
        ("finalizer.raw", "a trace's further tries"),
        ("finalizers", "before the queue of ended exchanges is looked at"),
        ("finalizers.took", "a trace is held and has no finalizer yet"),
        ("index", "before a transaction of rows"),
        ("index.write", "before any work on the index's connection"),
        ("intake.wake", "a wake is lost"),
        ("lane", "a lane's loop"),
        ("listener", "before a connection gets its actor"),
        ("listener.accept", "before a connection is accepted"),
        ("media.write", "before attachments are written"),
        ("otlp", "before spans are sent"),
        ("otlp.send", "before a request of spans is sent"),
        ("plugins", "before the plugins' files are looked at"),
        ("plugins.persist", "before a changed list of plugins is written"),
        ("plugins.persisted", "a changed list of plugins is written and not yet in force"),
        ("recovery", "before captures of an earlier run are handed over"),
        ("recovery.hold", "recovery waits a moment"),
        ("sealer", "a look for what can be sealed"),
        ("sealer.refused", "the disk refuses a sealed file"),
        ("sealer.written", "a sealed file is written and not yet checked"),
        ("socket", "a socket's reader, before it reads"),
        ("sockets", "before the queue of upgraded connections is looked at"),
        ("spool", "before an order to spill is carried out"),
        ("spool.write", "before a capture is written to its spool"),
        ("sweeper", "a look at what retention deletes"),
        ("sweeper.marked", "a segment's deletion has begun"),
        ("sweeper.unindexed", "its rows are gone, its files are not"),
        ("viewer", "a look at the hosted viewer"),
        ("watchdog", "a look"),
        ("writer", "before lines are appended"),
        ("writer.appended", "lines stand and nobody knows yet"),
        ("writer.refused", "the append itself"),
        ("writers", "before a line is passed to its writer"),
    ];

    /// What happens at a point.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) enum What {
        /// It fails in the way of its form: a panic, a refusal, `true`.
        Fail,
        /// It panics, whatever its form.
        Panic,
        /// It is held up for so long: the handler where it awaits, else the thread.
        #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "unit tests need none but the others"))]
        Hang(Duration),
        /// Its thread is held up for so long, whatever its form.
        #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "unit tests need none but the others"))]
        Block(Duration),
        /// The call fails with this error of the system; at other points nothing happens.
        #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "unit tests need none but the others"))]
        Io(i32),
    }

    /// A point that was armed.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub(crate) struct Armed {
        /// What happens,
        pub(crate) what: What,
        /// at most so often,
        pub(crate) times: u32,
        /// and with which chance each time it is passed.
        pub(crate) chance: f64,
    }

    /// What came of a point.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Seen {
        /// How often it was passed.
        pub(crate) passed: u64,
        /// How often it struck.
        pub(crate) struck: u64,
    }

    #[derive(Default)]
    struct Points {
        seed: u64,
        armed: HashMap<String, Armed>,
        seen: HashMap<&'static str, Seen>,
    }

    static POINTS_NOW: Mutex<Option<Points>> = Mutex::new(None);

    /// What is armed was changed.
    #[cfg(test)]
    static CHANGED: parking_lot::Condvar = parking_lot::Condvar::new();

    /// Arms these points and no others; which passes strike follows from the seed.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "what the file says"))]
    pub(crate) fn arm_all(seed: u64, points: HashMap<String, Armed>) {
        let mut now = POINTS_NOW.lock();
        let now = now.get_or_insert_default();
        (now.seed, now.armed) = (seed, points);
    }

    /// What came of every point that was passed, by name.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "told beside the file"))]
    pub(crate) fn seen() -> Vec<(&'static str, Seen)> {
        let mut seen: Vec<_> =
            POINTS_NOW.lock().as_ref().map(|it| it.seen.clone()).unwrap_or_default().into_iter().collect();
        seen.sort_unstable_by_key(|(point, _)| *point);
        seen
    }

    fn pass(point: &'static str) -> Option<What> {
        let mut points = POINTS_NOW.lock();
        let Points { seed, armed, seen } = points.get_or_insert_default();
        let seen = seen.entry(point).or_default();
        seen.passed += 1;
        let armed =
            armed.get_mut(point).filter(|it| it.times > 0 && is_chosen(*seed, point, seen.passed, it.chance))?;
        armed.times -= 1;
        seen.struck += 1;
        Some(armed.what)
    }

    /// Whether this pass of the point is one of those that strike: the same for the same seed.
    fn is_chosen(seed: u64, point: &str, pass: u64, chance: f64) -> bool {
        let text = [&seed.to_le_bytes()[..], point.as_bytes(), &pass.to_le_bytes()].concat();
        let drawn = xxhash_rust::xxh3::xxh3_64(&text) >> 11;
        (drawn as f64) / ((1_u64 << 53) as f64) < chance
    }

    /// Passes a point; whether it should fail, in a way of its own.
    pub(crate) fn is_due(point: &'static str) -> bool {
        match pass(point) {
            None | Some(What::Io(_)) => false,
            Some(What::Fail) => true,
            Some(What::Panic) => panic_at(point),
            Some(What::Hang(time) | What::Block(time)) => {
                std::thread::sleep(time);
                false
            }
        }
    }

    /// Passes a point; panics, or holds the thread up, if it is armed.
    pub(crate) fn strike(point: &'static str) {
        if is_due(point) {
            panic_at(point);
        }
    }

    /// As [`strike`], but a hang is one of the handler alone: it can be killed.
    pub(crate) async fn strike_here(point: &'static str) {
        match pass(point) {
            None | Some(What::Io(_)) => {}
            Some(What::Fail | What::Panic) => panic_at(point),
            Some(What::Hang(time)) => tokio::time::sleep(time).await,
            Some(What::Block(time)) => std::thread::sleep(time),
        }
    }

    /// Passes a point before a call to the world.
    ///
    /// # Errors
    /// What the call shall fail with.
    pub(crate) fn io(point: &'static str) -> io::Result<()> {
        match pass(point) {
            None => Ok(()),
            Some(What::Fail) => Err(io::ErrorKind::StorageFull.into()),
            Some(What::Io(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(What::Panic) => panic_at(point),
            Some(What::Hang(time) | What::Block(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }

    #[expect(clippy::panic, reason = "it was asked for")]
    fn panic_at(point: &str) -> ! {
        panic!("the fault {point} was asked for")
    }

    #[cfg(test)]
    mod for_tests {
        use tokio::sync::{Mutex as Turn, MutexGuard};

        use std::io;

        use super::{Armed, CHANGED, POINTS_NOW, What, is_due};

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
                *POINTS_NOW.lock() = None;
                CHANGED.notify_all();
            }
        }

        /// The next `times` passes of this point fail.
        pub(crate) fn arm(point: &'static str, times: u32) {
            arm_to(point, What::Fail, times);
        }

        /// The same happens at the next `times` passes of this point.
        pub(crate) fn arm_to(point: &'static str, what: What, times: u32) {
            let mut points = POINTS_NOW.lock();
            points.get_or_insert_default().armed.insert(point.to_owned(), Armed { what, times, chance: 1.0 });
            CHANGED.notify_all();
        }

        /// How many failures of this point are still to come.
        pub(crate) fn left(point: &'static str) -> u32 {
            POINTS_NOW.lock().as_ref().and_then(|it| it.armed.get(point)).map_or(0, |it| it.times)
        }

        const REFUSALS: [(&str, i32); 2] = [("disk.full", libc::ENOSPC), ("disk.failing", libc::EIO)];

        /// What the disk says to a write, if it was told to refuse: full at `disk.full` (of lines with bodies only at
        /// `disk.full.bodies`), failing at `disk.failing`. Each write that is refused is one pass.
        pub(crate) fn refuse(has_bodies: bool) -> Option<io::Error> {
            if has_bodies && is_due("disk.full.bodies") {
                return Some(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let due = REFUSALS.iter().find(|(point, _)| is_due(point));
            due.map(|(_, number)| io::Error::from_raw_os_error(*number))
        }

        /// The same without a pass.
        pub(crate) fn refusal() -> Option<io::Error> {
            let due = REFUSALS.iter().find(|(point, _)| left(point) > 0);
            due.map(|(_, number)| io::Error::from_raw_os_error(*number))
        }

        /// Waits at a point for as long as it is armed, as on a disk that stalls.
        pub(crate) fn stall(point: &'static str) {
            let mut now = POINTS_NOW.lock();
            while now.as_ref().and_then(|it| it.armed.get(point)).is_some_and(|it| it.times > 0) {
                CHANGED.wait(&mut now);
            }
        }
    }

    #[cfg(test)]
    pub(crate) use for_tests::*;

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn which_passes_strike_follows_from_the_seed() {
            let chosen = |seed| (0..1000).filter(|pass| is_chosen(seed, "writer", *pass, 0.25)).collect::<Vec<_>>();
            assert_eq!(chosen(7), chosen(7));
            assert_ne!(chosen(7), chosen(8));
            assert!((150..350).contains(&chosen(7).len()), "{}", chosen(7).len());
            assert!((0..100).all(|pass| is_chosen(7, "writer", pass, 1.0)));
            assert!(!(0..100).any(|pass| is_chosen(7, "writer", pass, 0.0)));
        }
    }
}
