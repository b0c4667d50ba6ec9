//! `api-log tail --inflight`: the full screen. [`model`] is what is known, [`view`] draws it, [`feed`] asks the recorder,
//! [`terminal`] takes the terminal and gives it back; here the loop between them.

mod feed;
mod health;
mod model;
mod reading;
mod sieve;
mod stream;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use api_log::transcript::Ink;
use api_log::transcript::layout::Page;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::channel;
use tokio::time::{MissedTickBehavior, interval};

use super::error::LookError;
use super::paint::Out;
use super::recorder::Recorder;
use crate::cli::serve::Signals;
use feed::Feed;
use model::{Key, Model, News, Order};
use reading::Reading;
use terminal::Screen;

/// News that wait to be heard; whoever has more waits.
const MOST_NEWS: usize = 256;
/// So often the screen is drawn at most, which an ssh connection bears.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Longer texts are not offered to the terminal's clipboard: many take no more.
const MOST_COPIED: usize = 70_000;

/// Shows the screen until it is left.
pub(super) async fn run(recorder: Recorder, filters: Vec<(&'static str, String)>, out: Out) -> Result<(), LookError> {
    let streams = [("standard input", io::stdin().is_terminal()), ("standard output", io::stdout().is_terminal())];
    if let Some((name, _)) = streams.into_iter().find(|(_, is_terminal)| !is_terminal) {
        return Err(LookError::NoTerminal(name));
    }
    feed::greet(&recorder).await?;
    let mut signals = Signals::new()?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let (news, mut heard) = channel(MOST_NEWS);
    let mut model = Model::new(recorder.url.clone());
    terminal::end_if_stuck()?;
    // By itself it asks NO_COLOR, over which the command line goes.
    crossterm::style::force_color_output(out.is_coloured());
    let mut screen = Screen::take()?;
    let mut feed = Feed::start(recorder, filters, news);
    let mut keys = EventStream::new();
    let mut ticks = interval(DRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stale = true;
    loop {
        tokio::select! {
            // Keys first: no flood of news may keep them waiting.
            biased;
            _ = signals.next() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            _ = quit.recv() => return Ok(()),
            event = keys.next() => {
                let Some(event) = event else { return Ok(()) };
                if let Some(order) = pressed(event?, &mut model, &screen) {
                    if order == Order::Quit {
                        return Ok(());
                    }
                    feed.carry_out(order);
                }
                is_stale = true;
            }
            _ = ticks.tick() => {
                if screen.is_lost() {
                    return Err(LookError::Panicked);
                }
                if is_stale {
                    screen.terminal.draw(|frame| view::draw(&mut model, frame.area(), frame.buffer_mut(), out.is_coloured()))?;
                    is_stale = false;
                }
            }
            news = heard.recv() => match news {
                Some(News::Curl(id, command)) => {
                    let offered = offer(&screen, &id, &command);
                    model.hear(News::Read(as_text(&id, &command)));
                    model.notice = Some(offered);
                    is_stale = true;
                }
                Some(news) => {
                    model.hear(news);
                    is_stale = true;
                }
                None => return Err(LookError::Panicked),
            },
        }
    }
}

/// What a key means; other events mean that the screen is to be drawn again.
fn pressed(event: Event, model: &mut Model, screen: &Screen) -> Option<Order> {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return None };
    if kind == KeyEventKind::Release {
        return None;
    }
    let is_control = modifiers.contains(KeyModifiers::CONTROL);
    let key = match code {
        KeyCode::Char('c' | 'd') if is_control => Key::Interrupt,
        KeyCode::Char('h') if is_control => Key::Erase,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Tab | KeyCode::BackTab => Key::Tab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Erase,
        _ => return None,
    };
    let rows = screen.terminal.size().map_or(20, |it| usize::from(it.height).saturating_sub(4));
    model.press(key, rows)
}

/// Offers a command to the clipboard of the terminal, and writes it to a file, since nobody says whether it was taken.
fn offer(screen: &Screen, id: &str, command: &str) -> String {
    let copied = command.len() <= MOST_COPIED && screen.copy(&STANDARD.encode(command)).is_ok();
    let clipboard = if copied { "given to the terminal's clipboard" } else { "too long for a clipboard" };
    match to_file(id, command) {
        Ok(path) => format!("{clipboard}; also in {}", path.display()),
        Err(error) => format!("{clipboard}; no file was written: {error}"),
    }
}

/// A file that nobody else may read, and that follows no link which somebody has laid.
fn to_file(id: &str, command: &str) -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("api-log-{id}-{}.curl.sh", std::process::id()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(command.as_bytes())?;
    Ok(path)
}

fn as_text(id: &str, command: &str) -> Reading {
    let mut page = Page::default();
    page.text(Ink::Plain, 0, command);
    Reading::new(id.to_owned(), format!("curl {id}"), page)
}
