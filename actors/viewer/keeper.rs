//! The keeper: owns the viewer's cache folder, and sees to it that there is something to serve.
//!
//! It looks, and has fetched what is missing; a failure is tried again when the library says so. A crash costs the try
//! under way, which leaves nothing behind; what is served outlives it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_log::ids::UnixMillis;
use api_log::viewer::cache::{Cache, Found};
use api_log::viewer::failure::{Failure, Schedule};
use api_log::viewer::release::{Release, Wanted};
use api_log::viewer::site::Site;
use api_log::viewer::standing::{Source, Standing};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::Hosted;
use super::fetch::Releases;
use crate::kit::{ChildHealth, beside};

/// How often to look whether what is served is still there.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Keeper;

pub(crate) enum Msg {
    /// It is time to look.
    Look,
    /// A try to have the release has ended.
    Tried(Result<(Source, Site), Failure>),
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) health: Arc<ChildHealth>,
}

pub(crate) struct State {
    args: Args,
    schedule: Schedule,
}

impl Actor for Keeper {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        myself.cast(Msg::Look)?;
        Ok(State { args, schedule: Schedule::default() })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look => {
                let _pending = state.args.health.begin();
                fault!(await "viewer");
                state.look(&myself).await?;
            }
            Msg::Tried(outcome) => state.settle(&myself, outcome),
        }
        Ok(())
    }
}

impl State {
    async fn look(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        let hosted = self.args.hosted.clone();
        match &hosted.wanted {
            Ok(Wanted::Nothing) => {}
            Err(refused) => tracing::warn!(error = %refused, "there is no viewer"),
            Ok(Wanted::Folder(folder)) => {
                let looked = tokio::task::spawn_blocking({
                    let folder = folder.clone();
                    move || Site::local(&folder)
                });
                let site = looked.await?.map(|site| (Source::Local, site));
                self.settle(myself, site.map_err(|source| Failure::Folder { path: folder.clone(), source }));
            }
            Ok(Wanted::Release(release)) => {
                if let Some(site) = hosted.standing().site.clone() {
                    if tokio::task::spawn_blocking(move || site.is_there()).await? {
                        myself.send_after(LOOK_EVERY, || Msg::Look);
                        return Ok(());
                    }
                    tracing::warn!("the viewer's files are gone; it is fetched again");
                }
                self.begin(myself, release.clone());
            }
        }
        Ok(())
    }

    /// Begins a try. It goes on beside the mailbox, for a network may take its time.
    fn begin(&self, myself: &ActorRef<Msg>, release: Release) {
        let (hosted, to) = (self.args.hosted.clone(), myself.clone());
        beside(myself.get_cell(), async move {
            let outcome = hosted.obtain(release).await;
            // An error means that the keeper ends.
            let _ = to.cast(Msg::Tried(outcome));
        });
    }

    fn settle(&mut self, myself: &ActorRef<Msg>, outcome: Result<(Source, Site), Failure>) {
        let hosted = &self.args.hosted;
        let before = hosted.standing();
        let release = before.release.clone();
        match outcome {
            Ok((source, site)) => {
                self.schedule = Schedule::default();
                if before.source != source {
                    tracing::info!(?source, path = hosted.public_path, "the viewer is there");
                }
                hosted.standing.store(Arc::new(Standing::serving(source, site, release)));
                myself.send_after(LOOK_EVERY, || Msg::Look);
            }
            Err(failure) => {
                let pause = self.schedule.pause(&failure);
                let text = failure.to_string();
                // Once for each reason: a closed network must not fill the log.
                if before.error.as_ref() != Some(&text) {
                    let path: Option<&PathBuf> = failure.path();
                    tracing::warn!(error = text, ?path, again_in = ?pause, "there is no viewer");
                }
                let next_try = Some(UnixMillis(UnixMillis::now().0 + pause.as_millis() as i64));
                let without = Standing::without(Source::Error, release, Some(text));
                hosted.standing.store(Arc::new(Standing { next_try, ..without }));
                myself.send_after(pause, || Msg::Look);
            }
        }
    }
}

impl Hosted {
    /// The release from the cache, else from the service.
    async fn obtain(&self, release: Release) -> Result<(Source, Site), Failure> {
        let cache = Cache::new(self.cache_dir.clone(), release);
        let looked = on_a_thread(&cache, Cache::find).await?;
        match looked {
            Found::Whole(site) => return Ok((Source::Cache, site)),
            Found::Damaged(damage) => {
                tracing::warn!(%damage, "the viewer in the cache is not as it was; it is fetched again");
            }
            Found::Nothing => {}
        }
        let releases = Releases::new(&self.settings)?;
        let asset = releases.find(cache.release()).await?;
        let (scratch, download) = on_a_thread(&cache, Cache::begin).await??;
        let download = releases.download(&asset, download).await?;
        let site = on_a_thread(&cache, move |cache| cache.keep(scratch, download)).await??;
        Ok((Source::Fetched, site))
    }
}

/// The disk may take its time as well.
async fn on_a_thread<T: Send + 'static>(
    cache: &Cache,
    work: impl FnOnce(&Cache) -> T + Send + 'static,
) -> Result<T, Failure> {
    let cache = cache.clone();
    let done = tokio::task::spawn_blocking(move || work(&cache)).await;
    done.map_err(|error| Failure::Client(format!("the thread for it ended early: {error}")))
}
