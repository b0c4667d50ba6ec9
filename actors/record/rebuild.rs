//! The threads of a rebuild: some parse the files in pieces, one loads what they made into a new database.
//!
//! Memory is bounded by what is under way: a few pieces, each of which is parsed by one thread and handed over in
//! batches. They are loaded in the files' order, whoever is done first.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use api_log::ids::UnixMillis;
use api_log::index::files;
use api_log::index::rebuild::{FinishError, Loader, Parsed, Piece, Plan, Report, Step, parse};
use api_log::index::schema::OpenError;
use api_log::jsonl::line::read_row_with;
use api_log::store::layout::Layout;
use api_log::work::{Cancelled, Work};
use parking_lot::Mutex;

use super::index_open::go_last;
use crate::runtimes;

/// Batches of one piece that wait for the loader.
const WAITING_BATCHES: usize = 2;
/// Pieces under way for each parsing thread.
const PIECES_EACH: usize = 2;
/// How often a work that may be called off is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Who goes first when there is not enough processor time for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Nobody else is there to be let go first.
    Usual,
    /// Forwarding and recording.
    Last,
}

/// Why there is no new index. The old one is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The data dir cannot be listed.
    #[error("cannot list the data dir: {0}")]
    List(std::io::Error),
    /// The new database cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] FinishError),
    /// It cannot be put in place.
    #[error("cannot put the new index in place: {0}")]
    Install(std::io::Error),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Makes a new index beside the one in use, of all lines that stand in the files now, with so many bytes of each one's
/// texts, if any; `work` is told how far it is, in bytes. It is for [`install`] then. One that does not become whole
/// is removed: it may be what fills the disk.
pub(crate) fn build(
    layout: &Layout,
    text_bytes: Option<usize>,
    priority: Priority,
    work: &Work,
) -> Result<Report, BuildError> {
    let outcome = build_beside(layout, text_bytes, priority, work);
    if outcome.is_err()
        && let Err(error) = files::remove_leftovers(&layout.index(), &layout.new_index())
    {
        tracing::warn!(%error, "what was made of a new index cannot be removed");
    }
    outcome
}

fn build_beside(
    layout: &Layout,
    text_bytes: Option<usize>,
    priority: Priority,
    work: &Work,
) -> Result<Report, BuildError> {
    let plan = Plan::of(layout).map_err(BuildError::List)?;
    work.begin(READING, plan.bytes());
    let mut loader = Loader::create(&layout.new_index(), text_bytes)?;
    let stopper = loader.stopper();
    let (over, is_over) = sync_channel::<()>(0);
    let outcome = thread::scope(|threads| {
        // A single statement of the last steps may take long: who calls the work off stops that too.
        threads.spawn(move || {
            while is_over.recv_timeout(ASK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if work.check().is_err() {
                    stopper.interrupt();
                }
            }
        });
        let outcome = load_all(layout, text_bytes, priority, work, &plan, &mut loader).and_then(|()| {
            let report = loader.finish(|step| work.begin(name_of(step), 0))?;
            Ok(report)
        });
        drop(over);
        outcome
    });
    // What was stopped says so, and not how SQLite tells it.
    work.check()?;
    outcome
}

/// Puts the new index in the place of the old one, whose writer must be closed.
pub(crate) fn install(layout: &Layout) -> Result<(), BuildError> {
    files::install(&layout.new_index(), &layout.index(), UnixMillis::now()).map_err(BuildError::Install)
}

fn load_all(
    layout: &Layout,
    text_bytes: Option<usize>,
    priority: Priority,
    work: &Work,
    plan: &Plan,
    loader: &mut Loader,
) -> Result<(), BuildError> {
    let parsers = runtimes::cores();
    if priority == Priority::Last {
        go_last();
    }
    let (give, take) = sync_channel::<(Piece, SyncSender<Parsed>)>(parsers * PIECES_EACH);
    let take = Mutex::new(take);
    thread::scope(|threads| {
        // Dropped on every way out, so that nobody waits for more.
        let give = give;
        for _ in 0..parsers {
            threads.spawn(|| parse_some(layout, text_bytes, priority, &take));
        }
        let mut pieces = plan.pieces();
        let mut under_way: VecDeque<Receiver<Parsed>> = VecDeque::new();
        loop {
            while under_way.len() < parsers * PIECES_EACH
                && let Some(piece) = pieces.next()
            {
                let (parsed, receiver) = sync_channel(WAITING_BATCHES);
                if give.send((piece, parsed)).is_err() {
                    break; // every parser has panicked, which the scope tells
                }
                under_way.push_back(receiver);
            }
            let Some(next) = under_way.pop_front() else { return Ok(()) };
            for parsed in next {
                work.check()?;
                let bytes = parsed.bytes();
                loader.load(parsed).map_err(FinishError::from)?;
                work.advance(bytes);
            }
        }
    })
}

/// Parses piece after piece, until there are no more or nobody wants what comes of them.
fn parse_some(
    layout: &Layout,
    text_bytes: Option<usize>,
    priority: Priority,
    pieces: &Mutex<Receiver<(Piece, SyncSender<Parsed>)>>,
) {
    if priority == Priority::Last {
        go_last();
    }
    loop {
        // The lock is given back before the piece is parsed.
        let next = pieces.lock().recv();
        let Ok((piece, parsed)) = next else { return };
        parse(
            layout,
            &piece,
            |line| read_row_with(line, text_bytes),
            |batch| match parsed.send(batch) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            },
        );
    }
}

/// What is done, step after step, as [`Work`] tells it.
const READING: &str = "reading the files";
const SORTING: &str = "sorting the rows";
const LINKING: &str = "finding parents and sessions";
const INDEXING: &str = "indexing for lists";
const SYNCING: &str = "forcing it to the disk";

fn name_of(step: Step) -> &'static str {
    match step {
        Step::Sort => SORTING,
        Step::Link => LINKING,
        Step::Index => INDEXING,
        Step::Sync => SYNCING,
    }
}

/// A step's name as another process told it.
pub(crate) fn known_step(name: &str) -> &'static str {
    let known = [READING, SORTING, LINKING, INDEXING, SYNCING].into_iter().find(|it| *it == name);
    known.unwrap_or("rebuilding")
}
