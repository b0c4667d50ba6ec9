//! Long commands: the work on a thread of its own, how far it is on standard error, and signals that end it.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::work::{Seen, Work};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::serve::Signals;
use crate::runtimes;

/// How often a terminal's bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How often a line is told where there is no terminal. Shorter commands tell none.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a work counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    /// Things, named in the plural.
    #[allow(dead_code, reason = "the commands so far count bytes; tests count these")]
    Things(&'static str),
}

/// Why a command could not be carried through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// The first signal asks the work to stop; a second one does not wait for it.
    #[error("ended at once by a second signal")]
    AtOnce,
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A defect: it is told on standard error by itself.
    #[error("the work ended by a panic")]
    Panicked,
}

/// Runs blocking `work`, and shows how far it is: a bar if standard error is a terminal, else a line every few
/// seconds. SIGINT and SIGTERM cancel it; it is waited for then, until a second signal.
pub(crate) fn run<T: Send + 'static>(
    unit: Unit,
    work: impl FnOnce(&Work) -> T + Send + 'static,
) -> Result<T, Interrupted> {
    let runtime = runtimes::control()?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let watched = Arc::new(Work::new());
        let theirs = watched.clone();
        let mut running = tokio::task::spawn_blocking(move || work(&theirs));
        let mut shown = Shown::new(unit);
        let mut tick = tokio::time::interval(DRAW_EVERY);
        let mut is_cancelled = false;
        loop {
            tokio::select! {
                ended = &mut running => {
                    shown.end();
                    break ended.map_err(|_| Interrupted::Panicked);
                }
                _ = tick.tick() => shown.show(watched.seen()),
                _ = signals.next() => {
                    if is_cancelled {
                        break Err(Interrupted::AtOnce);
                    }
                    is_cancelled = true;
                    watched.cancel();
                    super::complain("stopping; a second signal ends at once");
                }
            }
        }
    });
    // Does not wait for a work that was left behind.
    runtime.shutdown_background();
    outcome
}

/// How it is shown.
struct Shown {
    unit: Unit,
    began: Instant,
    how: How,
}

enum How {
    Bar(ProgressBar),
    Lines { next: Instant },
}

impl Shown {
    fn new(unit: Unit) -> Shown {
        let began = Instant::now();
        let how = if io::stderr().is_terminal() {
            How::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
        } else {
            How::Lines { next: began + TELL_EVERY }
        };
        Shown { unit, began, how }
    }

    fn show(&mut self, seen: Seen) {
        match &mut self.how {
            How::Bar(bar) => {
                if bar.message() != seen.step {
                    bar.set_style(style(self.unit, seen.total));
                    bar.set_message(seen.step);
                    bar.reset();
                }
                if seen.total > 0 {
                    bar.set_length(seen.total);
                }
                bar.set_position(seen.done);
            }
            How::Lines { next } if Instant::now() >= *next => {
                *next += TELL_EVERY;
                super::complain(line(self.unit, seen, self.began.elapsed()));
            }
            How::Lines { .. } => {}
        }
    }

    fn end(&mut self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }
}

fn style(unit: Unit, total: u64) -> ProgressStyle {
    ProgressStyle::with_template(&template(unit, total)).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn template(unit: Unit, total: u64) -> String {
    let counted = match (unit, total) {
        (Unit::Bytes, 0) => "{bytes} {bytes_per_sec}",
        (Unit::Bytes, _) => "{bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Unit::Things(_), 0) => "{human_pos} {per_sec}",
        (Unit::Things(_), _) => "{human_pos}/{human_len} {per_sec} {eta}",
    };
    let bar = if total > 0 { "{wide_bar} " } else { "" };
    format!("{{msg}} {bar}{counted}")
}

/// `reading the files: 12.0 MiB of 1.5 GiB, 0 %, after 10 s`
fn line(unit: Unit, seen: Seen, elapsed: Duration) -> String {
    let counted = |count: u64| match unit {
        Unit::Bytes => indicatif::BinaryBytes(count).to_string(),
        Unit::Things(name) => format!("{count} {name}"),
    };
    let of_all = match seen.total {
        0 => String::new(),
        total => {
            let percent = u128::from(seen.done) * 100 / u128::from(total);
            format!(" of {}, {} %", counted(total), percent.min(100))
        }
    };
    format!("{}: {}{of_all}, after {} s", seen.step, counted(seen.done), elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is() {
        let seen = Seen { step: "reading the files", done: 3 << 20, total: 4 << 20 };
        let told = line(Unit::Bytes, seen, Duration::from_secs(10));
        assert_eq!(told, "reading the files: 3.00 MiB of 4.00 MiB, 75 %, after 10 s");
        let seen = Seen { step: "counting", done: 12, total: 0 };
        assert_eq!(line(Unit::Things("rows"), seen, Duration::ZERO), "counting: 12 rows, after 0 s");
    }

    #[test]
    fn every_bar_can_be_drawn() {
        for unit in [Unit::Bytes, Unit::Things("rows")] {
            for total in [0, 10] {
                assert!(ProgressStyle::with_template(&template(unit, total)).is_ok(), "{unit:?} {total}");
            }
        }
    }

    #[test]
    fn what_the_work_returns_comes_back_and_a_panic_is_told() {
        assert_eq!(run(Unit::Bytes, |work| work.seen().done + 7).unwrap(), 7);
        let panicked = run(Unit::Bytes, |_| -> u64 { std::panic::resume_unwind(Box::new(())) });
        assert!(matches!(panicked, Err(Interrupted::Panicked)));
    }
}
