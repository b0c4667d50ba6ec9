//! The registry: owns the plugins' list. It is told of edited files by its watch, and asked for changes by the API; one
//! after the other it carries them out. A crash costs the change under way, which is then kept whole or not at all: it
//! begins by reading what stands in the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::watch::Watch;
use super::{Change, ChangeError, Changed, Plugins};
use crate::kit::{ChildHealth, Pending, Slot};
use crate::overridden::{Looked, Overridden};

/// How long a file may still be written at until it is read. An editor that never rests is not waited for.
const SETTLING: Duration = Duration::from_millis(100);
/// How long what is missing, empty or broken may stay so until that is believed.
const DOUBT: Duration = Duration::from_millis(300);
/// How often to look whether an instance has been switched off.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Until a watch that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Registry;

pub(crate) enum Msg {
    /// A file may have changed.
    Heard,
    /// It has had time to be written.
    Look,
    /// Time has passed.
    Tick,
    /// Changes the list.
    Change { change: Change, reply: RpcReplyPort<Result<Changed, ChangeError>>, pending: Pending },
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) plugins: Arc<Plugins>,
    /// The files of tokens may be other ones, too.
    pub(crate) token_file: PathBuf,
    pub(crate) read_tokens_again: Arc<dyn Fn() + Send + Sync>,
    /// The rest of the overrides stands in the same file.
    pub(crate) overridden: Arc<Overridden>,
    pub(crate) slot: Slot<Msg>,
    pub(crate) health: Arc<ChildHealth>,
}

pub(crate) struct State {
    args: Args,
    /// `None` while it cannot be had, or is in use.
    watch: Option<Watch>,
    /// A look is due already.
    is_settling: bool,
}

impl Actor for Registry {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        // Whatever happened while nobody looked.
        myself.cast(Msg::Look)?;
        myself.send_interval(TELL_EVERY, || Msg::Tick);
        Ok(State { args, watch: None, is_settling: false })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Heard => {
                if !std::mem::replace(&mut state.is_settling, true) {
                    myself.send_after(SETTLING, || Msg::Look);
                }
            }
            Msg::Tick => state.args.plugins.tell_switched_off(),
            Msg::Look => {
                state.is_settling = false;
                let _under_way = state.args.health.begin();
                fault!(await "plugins");
                state.look(&myself).await?;
            }
            Msg::Change { change, reply, pending: _pending } => {
                let plugins = state.args.plugins.clone();
                let changed = tokio::task::spawn_blocking(move || plugins.change(change)).await?;
                // Who asked may have left: it is in force all the same.
                let _ = reply.send(changed);
            }
        }
        Ok(())
    }
}

impl State {
    /// Looks at the files, in whatever way they have changed.
    async fn look(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        let (args, watch) = (self.args.clone(), self.watch.take());
        let looked = tokio::task::spawn_blocking(move || {
            // First the watch: what happens from here on is heard.
            let watch = args.watch(watch);
            let looked = [args.plugins.look(), args.overridden.look()];
            (args.read_tokens_again)();
            (watch, looked)
        });
        let (watch, looked) = looked.await?;
        self.watch = watch;
        if looked.contains(&Looked::Doubtful) {
            myself.send_after(DOUBT, || Msg::Look);
        }
        if self.watch.is_none() {
            myself.send_after(AGAIN, || Msg::Look);
        }
        Ok(())
    }
}

impl Args {
    fn watch(&self, watch: Option<Watch>) -> Option<Watch> {
        let watched = match watch {
            Some(mut watch) => watch.renew().map(|()| watch),
            None => {
                let slot = self.slot.clone();
                let files = vec![
                    self.plugins.overrides.path().to_owned(),
                    self.plugins.layout.token(),
                    self.token_file.clone(),
                ];
                // Nobody there: the next one looks when it starts.
                Watch::new(files, move || drop(slot.cast(Msg::Heard)))
            }
        };
        let unwatched = watched.as_ref().err().map(ToString::to_string);
        let is_news = std::mem::replace(&mut self.plugins.standing.lock().unwatched, unwatched.clone()) != unwatched;
        if let (Some(error), true) = (unwatched, is_news) {
            tracing::error!(error, "edits of runtime_overrides.json and of tokens are not heard of; SIGHUP reads them");
        }
        watched.ok()
    }
}
