//! The terminal while it is ours: raw, on its other screen, without a cursor, and given back however this ends.

use std::fs::OpenOptions;
use std::io::{self, Stdout, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::fs::OFlags;
use rustix::termios::{Action, QueueSelector, tcflow, tcflush};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::Code;
use crate::cli::serve::Signals;

/// How long the screen has to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// And once more, when the terminal has room again.
const LAST_PATIENCE: Duration = Duration::from_millis(500);
/// Ends whatever control sequence was cut off (CAN, ECMA-48 8.3.6).
const CANCEL: &[u8] = b"\x18";

/// The terminal. When it is dropped it is as it was before.
pub(super) struct Screen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
    panicked: Arc<AtomicBool>,
}

/// Gives the terminal back when it is dropped.
struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        give_back();
    }
}

impl Screen {
    pub(super) fn take() -> io::Result<Screen> {
        let panicked = Arc::new(AtomicBool::new(false));
        let told = panicked.clone();
        let before = std::panic::take_hook();
        // On whichever thread: its message would be lost on the other screen.
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            told.store(true, Ordering::Relaxed);
            before(panic);
        }));
        enable_raw_mode()?;
        let taken = GivesBack;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        // From here on `Screen` does it.
        std::mem::forget(taken);
        Ok(Screen { terminal, panicked })
    }

    /// Some thread has panicked: the terminal is no longer ours.
    pub(super) fn is_lost(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    /// Asks the terminal to put a text into its clipboard (OSC 52).
    pub(super) fn copy(&self, base64: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        write!(out, "\x1b]52;c;{base64}\x07")?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Ends the program some time after a signal that ends it, if it has not ended by itself: a terminal that reads no more
/// (a stopped ssh, a paused pane) holds whoever writes to it, signals or not. What it has not read yet is thrown away
/// then, for it is of a screen that goes. On a thread of its own, which waits for no terminal.
pub(super) fn end_if_stuck() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || {
        runtime.block_on(async {
            let (Ok(mut ends), Ok(mut hang_up), Ok(mut quit)) =
                (Signals::new(), signal(SignalKind::hangup()), signal(SignalKind::quit()))
            else {
                // The loop itself listens to the same ones, and says why it cannot.
                return;
            };
            tokio::select! {
                _ = ends.next() => {}
                _ = hang_up.recv() => {}
                _ = quit.recv() => {}
            }
            tokio::time::sleep(PATIENCE).await;
            make_room();
            tokio::time::sleep(LAST_PATIENCE).await;
            give_back_at_once();
            std::process::exit(i32::from(Code::Done as u8));
        });
    };
    std::thread::Builder::new().name("screen-end".to_owned()).spawn(work).map(drop)
}

/// Throws away what the terminal has not read yet. Who is held in a write to it is woken by stopping and starting its
/// output, goes on with that, and ends as it should; emptying alone wakes nobody.
fn make_room() {
    let _ = tcflush(stdout(), QueueSelector::OFlush);
    let _ = tcflow(stdout(), Action::OOff);
    let _ = tcflow(stdout(), Action::OOn);
}

/// The same as [`give_back`], by a way to the terminal on which nobody waits. Best effort, too.
fn give_back_at_once() {
    make_room();
    let flags = OFlags::NONBLOCK.bits() as i32;
    if let Ok(mut terminal) = OpenOptions::new().write(true).custom_flags(flags).open("/dev/tty") {
        let _ = terminal.write_all(CANCEL);
        let _ = execute!(terminal, LeaveAlternateScreen, Show);
    }
    let _ = disable_raw_mode();
}

/// Best effort: a terminal that is gone needs nothing back.
fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
