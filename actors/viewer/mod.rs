//! The hosted viewer: the keeper sees to it that there is something to serve, and the API serves it.
//!
//! What is served stands in [`Hosted`], which outlives the [`Keeper`]: callers read a pointer, and ask no actor. The
//! keeper looks into the cache, or at the operator's folder, and else has the release [fetched](fetch); nobody waits
//! for it, least of all the start.

mod fetch;
mod keeper;

use std::path::PathBuf;
use std::sync::Arc;

use api_log::config::{Config, Viewer};
use api_log::store::layout::Layout;
use api_log::viewer::release::{Refused, Wanted};
use api_log::viewer::standing::{Report, Source, Standing};
use arc_swap::ArcSwap;

pub(crate) use keeper::{Args, Keeper, Msg};

/// The viewer as callers see it.
pub(crate) struct Hosted {
    /// Where it stands on the API's listener.
    pub(crate) public_path: String,
    settings: Viewer,
    wanted: Result<Wanted, Refused>,
    cache_dir: PathBuf,
    standing: ArcSwap<Standing>,
}

impl Hosted {
    /// As the configuration wants it; nothing is there yet.
    pub(crate) fn new(config: &Config, layout: &Layout) -> Hosted {
        let settings = config.viewer.clone();
        let wanted = Wanted::of(&settings);
        let standing = match &wanted {
            Ok(Wanted::Nothing) => Standing::without(Source::Disabled, None, None),
            Ok(Wanted::Folder(_)) => {
                Standing::without(Source::Error, None, Some("viewer.local_path was not looked at yet".to_owned()))
            }
            Ok(Wanted::Release(release)) => {
                let text = format!("{} {} is being looked for", release.repo, release.version);
                Standing::without(Source::Error, Some(release.clone()), Some(text))
            }
            Err(refused) => Standing::without(Source::Error, None, Some(refused.to_string())),
        };
        Hosted {
            public_path: settings.public_path.clone(),
            cache_dir: settings.cache_dir.clone().unwrap_or_else(|| layout.viewer_cache()),
            settings,
            wanted,
            standing: ArcSwap::from_pointee(standing),
        }
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// What health shows.
    pub(crate) fn report(&self) -> Report {
        self.standing.load().report(&self.public_path)
    }
}
