//! What becomes of an index that is lost, damaged, locked or refused by its disk, while the recorder runs.
//!
//! | What happens | What is done |
//! |---|---|
//! | its file is deleted or replaced | what stands there now is opened, or made, and brought up to date |
//! | it is damaged | it is set aside, and a new one is made |
//! | it is locked, or its disk refuses | rows are let go at once, and read back when it is well again |
//! | it is empty and much is to be read | it takes new rows at once, and a whole one is made beside it |
//! | a whole one stands beside it | that one takes its place, and catches up |

use std::time::{Duration, Instant};

use api_log::ids::UnixMillis;
use api_log::index::check::{Checked, Trouble, check};
use api_log::index::files::{self, Look};
use api_log::index::texts::{self, Prepared};
use api_log::index::{self, IndexError, WriterState, rebuild as from_files, schema};
use api_log::jsonl::line::read_row;
use ractor::ActorRef;

use super::index::{Msg, State};
use super::index_open::{Done, Open, Undone, go_last};
use super::rebuild::{Priority, build, install};

/// An empty index that has more than this to read gets a whole one made beside it, which is several times faster.
const BESIDE_FROM_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 64 << 20 };
/// How long an index that was refused is left alone.
const REST: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(1) };
/// After how long a rebuild that failed is tried again.
const REBUILD_AGAIN_AFTER: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(60) };
/// How often the index is looked through though nothing is suspected: damage may come while its own writer writes, and
/// lie where nobody looks for long.
const CHECK_EVERY: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(3600) };
/// Looking through the index takes at most one part in so many of the time.
const CHECK_SHARE: u32 = 20;

/// What is remembered of troubles.
#[derive(Default)]
pub(super) struct Healing {
    rest_until: Option<Instant>,
    /// Since when, and which file.
    check: Option<(Instant, Option<Look>)>,
    next_check: Option<Instant>,
    regular_check: Option<Instant>,
    rebuild_again: Option<Instant>,
    /// Rows lack the texts that are wanted.
    lacks_texts: bool,
}

impl Healing {
    /// Whether it was refused just now.
    pub(super) fn is_resting(&self) -> bool {
        self.rest_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it is time to look through it, whatever is suspected.
    fn is_check_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.regular_check.is_some_and(|at| now >= at);
        if is_due || self.regular_check.is_none() {
            self.regular_check = Some(now + CHECK_EVERY);
        }
        is_due
    }

    fn rest(&mut self) {
        self.rest_until = Some(Instant::now() + REST);
    }
}

impl State {
    /// At every look: notices what has become of the file, and goes on with what is under way.
    pub(super) async fn heal(&mut self, myself: &ActorRef<Msg>) {
        if self.healing.is_resting() {
            return;
        }
        if let Some((number, report)) = self.status().is_built() {
            self.switch_over(myself, number, report).await;
        }
        // Work that does nothing notices what has become of the file; so does giving back memory.
        let is_idle = self.has_become_idle();
        let look = move |index: &mut rusqlite::Connection, _: &mut WriterState| {
            if is_idle { schema::release_memory(index).map_err(IndexError::from) } else { Ok(()) }
        };
        if self.do_on(myself, look).await.is_err() {
            return;
        }
        if self.healing.is_check_due() | self.status().is_suspect() {
            self.begin_check();
        }
        self.make_corrections(myself).await;
        self.begin_rebuild();
    }

    /// Runs work that writes. What fails is told, and what helps is done.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        myself: &ActorRef<Msg>,
        work: impl FnOnce(&mut rusqlite::Connection, &mut WriterState) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, ()> {
        fault!(io "index.write").map_err(|error| tracing::warn!(%error, "the index could not be written"))?;
        let done = self.do_on(myself, work).await?;
        if self.status().locked.clear() | self.status().unwritable.clear() {
            tracing::info!("the index can be written again; it is caught up from the files");
        }
        Ok(done)
    }

    /// Runs work on the connection, opening it if need be.
    async fn do_on<T: Send + 'static>(
        &mut self,
        myself: &ActorRef<Msg>,
        work: impl FnOnce(&mut rusqlite::Connection, &mut WriterState) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, ()> {
        let open = self.open(myself).await?;
        let outcome = open.run(work).await;
        self.args.health.progressed();
        match outcome {
            Ok(Done { value, was_touched }) => {
                if was_touched {
                    tracing::warn!("somebody else has written to the index; it is looked through");
                    self.status().suspect();
                }
                Ok(value)
            }
            Err(Undone::Closed) => {
                tracing::warn!("the index connection is gone; it is opened anew");
                self.open = None;
                Err(())
            }
            Err(Undone::Index(error)) => {
                self.status().failed(&error);
                self.help_against(myself, error.trouble(), &error).await;
                Err(())
            }
        }
    }

    async fn help_against(&mut self, myself: &ActorRef<Msg>, trouble: Trouble, error: &IndexError) {
        match trouble {
            Trouble::Gone => {
                tracing::warn!("the index was deleted or replaced; what stands in its place is brought up to date");
                if let Some(open) = self.open.take() {
                    open.bury().await;
                }
                let _ = myself.cast(Msg::Look);
            }
            Trouble::Damaged => self.set_aside(myself, &error.to_string()).await,
            Trouble::Locked => self.locked(error),
            Trouble::Unwritable => {
                self.refused(error);
                if let Some(open) = self.open.take() {
                    open.close().await;
                }
            }
            Trouble::Other => {
                self.status().suspect();
                self.refused(error);
                if let Some(open) = self.open.take() {
                    open.close().await;
                }
            }
        }
    }

    fn locked(&mut self, error: &dyn std::fmt::Display) {
        if self.status().locked.raise(error.to_string()) {
            tracing::warn!(%error, "the index is locked by somebody; rows are read back when it is free");
        }
        self.healing.rest();
    }

    fn refused(&mut self, error: &dyn std::fmt::Display) {
        if self.status().unwritable.raise(error.to_string()) {
            tracing::warn!(%error, "the index cannot be written; rows are read back when it can");
        }
        self.healing.rest();
    }

    /// A damaged index is put out of the way, and a new one takes its place.
    async fn set_aside(&mut self, myself: &ActorRef<Msg>, damage: &str) {
        // Closed before: a connection that closes later removes the journal of the next one.
        if let Some(open) = self.open.take() {
            open.forsake().await;
        }
        let path = self.args.layout.index();
        let aside = tokio::task::spawn_blocking(move || files::set_aside(&path, UnixMillis::now())).await;
        match aside {
            Ok(Ok(aside)) => {
                tracing::warn!(damage, path = %aside.display(), "the index is damaged; it is set aside and made anew");
                self.prune_aside().await;
                self.missed();
                let _ = myself.cast(Msg::Look);
            }
            Ok(Err(error)) => self.refused(&error),
            Err(error) => self.refused(&error),
        }
    }

    /// Those set aside shall not fill the disk.
    async fn prune_aside(&self) {
        let path = self.args.layout.index();
        match tokio::task::spawn_blocking(move || files::prune_aside(&path)).await {
            Ok(Ok(deleted)) => {
                for path in deleted {
                    tracing::warn!(path = %path.display(), "deleted: a damaged index that had been set aside earlier");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "older indexes that were set aside cannot be deleted"),
            Err(error) => tracing::warn!(%error, "older indexes that were set aside cannot be deleted"),
        }
    }

    async fn open(&mut self, myself: &ActorRef<Msg>) -> Result<Open, ()> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let (path, new) = (self.args.layout.index(), self.args.layout.new_index());
        let is_rebuilding = self.status().is_rebuilding();
        let opened = tokio::task::spawn_blocking(move || {
            if !is_rebuilding && let Err(error) = files::remove_leftovers(&path, &new) {
                tracing::warn!(%error, "what an interrupted rebuild left cannot be removed");
            }
            let was_left_open = files::was_left_open(&path);
            schema::open_or_replace(&path, UnixMillis::now())
                .map(|(connection, aside)| (connection, aside, was_left_open))
        });
        match opened.await {
            Ok(Ok((connection, aside, was_left_open))) => {
                if let Some(aside) = aside {
                    tracing::warn!(path = %aside.display(), "the index was unusable; it is set aside and rebuilt from the files");
                    self.prune_aside().await;
                } else if was_left_open {
                    self.status().suspect();
                }
                let open = Open::new(connection, self.args.layout.index(), self.args.leases.clone()).await;
                self.learn_what_is_missing(myself, &open).await?;
                self.begin_to_catch_up(myself);
                self.merging.ask();
                Ok(self.open.insert(open).clone())
            }
            Ok(Err(error)) => {
                self.status().failed(&error);
                match error.trouble() {
                    Trouble::Locked => self.locked(&error),
                    _ => self.refused(&error),
                }
                Err(())
            }
            Err(error) => {
                self.refused(&error);
                Err(())
            }
        }
    }

    /// Before the first row: which segments hold lines that are not indexed. Reads none of them. If that is all of
    /// them, and much, new rows are taken at once, and a whole index is made beside this one.
    async fn learn_what_is_missing(&mut self, myself: &ActorRef<Msg>, open: &Open) -> Result<(), ()> {
        let (layout, text_bytes) = (self.args.layout.clone(), self.args.text_bytes);
        let budget = index::Budget { bytes: 0 };
        let looked = open
            .run(move |connection, memory| {
                let prepared = texts::prepare(connection, text_bytes)?;
                let progress = index::catch_up(connection, memory, &layout, read_row, budget)?;
                let is_new = progress.behind_bytes >= BESIDE_FROM_BYTES && from_files::is_empty(connection)?;
                let is_interim = is_new || from_files::is_interim(connection)?;
                if is_new {
                    from_files::make_interim(connection, memory, &layout)?;
                }
                Ok((progress, is_interim, prepared))
            })
            .await;
        match looked {
            Ok(Done { value: (progress, is_interim, prepared), .. }) => {
                self.healing.lacks_texts = prepared == Prepared::WantsRebuild;
                self.status().caught_up_to(&progress);
                self.status().set_interim(is_interim);
                Ok(())
            }
            Err(Undone::Index(error)) => {
                self.status().failed(&error);
                match error.trouble() {
                    Trouble::Locked => self.locked(&error),
                    // The damage is not where an opening looks.
                    Trouble::Damaged => {
                        self.open = Some(open.clone());
                        self.set_aside(myself, &error.to_string()).await;
                    }
                    _ => self.refused(&error),
                }
                Err(())
            }
            Err(Undone::Closed) => Err(()),
        }
    }

    /// Looks through the index, on a thread of its own. Not all the time: it reads all of it.
    fn begin_check(&mut self) {
        let is_early = self.healing.next_check.is_some_and(|at| Instant::now() < at);
        if is_early || self.healing.check.is_some() {
            return;
        }
        self.status().clear_suspicion();
        let path = self.args.layout.index();
        self.healing.check = Some((Instant::now(), Look::at(&path)));
        let slot = self.args.door.slot.clone();
        let look = std::thread::Builder::new().name("index check".into()).spawn(move || {
            go_last();
            // If nobody is there any more, the next one who opens it looks through it.
            let _ = slot.cast(Msg::Checked(check(&path)));
        });
        if let Err(error) = look {
            tracing::warn!(%error, "the index cannot be looked through now");
            self.healing.check = None;
            self.status().suspect();
        }
    }

    /// What looking through it came to.
    pub(super) async fn checked(&mut self, myself: &ActorRef<Msg>, checked: Checked) {
        let Some((began, looked_at)) = self.healing.check.take() else { return };
        self.healing.next_check = Some(Instant::now() + began.elapsed() * CHECK_SHARE);
        let now = Look::at(&self.args.layout.index());
        let is_this_one = matches!((looked_at, now), (Some(before), Some(now)) if before.is_same_file(&now));
        match checked {
            _ if !is_this_one => {}
            Checked::Whole => tracing::debug!("the index was looked through, and is whole"),
            Checked::Unknown(reason) => tracing::info!(reason, "the index could not be looked through"),
            Checked::Damaged(damage) => {
                self.status().failed(&damage);
                self.set_aside(myself, &damage).await;
            }
        }
    }

    async fn make_corrections(&mut self, myself: &ActorRef<Msg>) {
        if self.status().is_rebuilding() {
            return;
        }
        let corrections = self.status().take_corrections();
        if corrections.is_empty() {
            return;
        }
        let made = corrections.clone();
        let outcome = self.run(myself, move |connection, _| {
            made.iter().try_for_each(|(id, count)| index::set_media_count(connection, *id, *count))
        });
        if outcome.await.is_err() {
            corrections.into_iter().for_each(|(id, count)| self.status().keep_correction(id, count));
        }
    }

    /// Begins a rebuild that is wanted: by somebody, or because older traces or their texts are missing.
    fn begin_rebuild(&mut self) {
        if (self.status().is_interim() || self.healing.lacks_texts) && !self.status().is_rebuilding() {
            let now = Instant::now();
            if self.healing.rebuild_again.is_none_or(|at| now >= at) {
                self.healing.rebuild_again = Some(now + REBUILD_AGAIN_AFTER);
                self.status().want_rebuild();
            }
        }
        let (layout, door) = (self.args.layout.clone(), self.args.door.clone());
        let text_bytes = self.args.text_bytes;
        self.status().begin_wanted(move |number, work| {
            tracing::info!(number, "a new index is made from the files, beside the one in use");
            std::thread::Builder::new().name("rebuild".into()).spawn(move || {
                let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    build(&layout, text_bytes, Priority::Last, &work)
                }));
                let outcome = match built {
                    Ok(outcome) => outcome.map_err(|error| error.to_string()),
                    Err(_) => Err("it panicked".into()),
                };
                if let Err(error) = &outcome {
                    tracing::warn!(number, error, "no new index could be made");
                }
                door.status().built(number, outcome);
                // Lost, it is seen at the next look.
                let _ = door.slot.cast(Msg::Look);
            })
        });
    }

    /// Puts a new index in the place of the old one, and goes on with it.
    async fn switch_over(&mut self, myself: &ActorRef<Msg>, number: u64, report: from_files::Report) {
        if let Some(open) = self.open.take() {
            open.close().await;
        }
        let layout = self.args.layout.clone();
        let installed = tokio::task::spawn_blocking(move || install(&layout)).await;
        let outcome = match installed {
            Ok(Ok(())) => {
                tracing::info!(number, rows = report.rows, "the new index is in place; it is caught up from the files");
                Ok(report)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::warn!(number, error, "the new index could not be put in place");
        }
        self.missed();
        // Told when lists show it: somebody may wait for it.
        if outcome.is_ok() {
            let _ = self.open(myself).await;
        }
        self.args.door.status().installed(number, outcome);
    }

    /// At the end: what is under way is left off, and the connection closed. A new index that nobody put in place yet
    /// goes too: the one in use holds more.
    pub(super) async fn leave_off(&mut self) {
        if let Some(rebuild) = self.status().cancel_rebuild() {
            let (path, new) = (self.args.layout.index(), self.args.layout.new_index());
            let removed = tokio::task::spawn_blocking(move || {
                // Its panic was caught and told.
                let _ = rebuild.join();
                files::remove_leftovers(&path, &new)
            });
            if let Ok(Err(error)) = removed.await {
                tracing::warn!(%error, "what an interrupted rebuild left cannot be removed");
            }
        }
        if let Some(open) = self.open.take() {
            open.close().await;
        }
    }
}
