//! The terminal while it is ours: raw, on its other screen, without a cursor, and given back however this ends.

use std::io::{self, Stdout, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

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

/// Best effort: a terminal that is gone needs nothing back.
fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
