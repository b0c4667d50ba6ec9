//! What is told at run time and kept: read at the start and whenever it was edited, and replaced by one at a time.
//!
//! Plugins have their own part of the file ([`crate::plugins`]); the rest, attachments and retention, is put in force here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api_log::config::Config;
use api_log::store::layout::Layout;
use api_log::store::overrides::{self, Overrides, OverridesError};
use api_log::store::retention_change::RetentionChange;
use parking_lot::{Mutex, MutexGuard};

use crate::kit::{Condition, Registry};
use crate::retention::{Gauge, Limits, Live, Source};

/// What stands above file and environment, beside the plugins' list.
pub(crate) struct Overridden {
    file: Arc<OverridesFile>,
    /// Whether attachments are saved.
    pub(crate) media: Arc<MediaSwitch>,
    /// The limits of what is kept.
    pub(crate) retention: Arc<Live>,
    /// Raised while the file cannot be read.
    malformed: Condition,
    doubt: Mutex<Doubt>,
}

/// What the file says.
struct Found {
    saves_attachments: Option<bool>,
    retention: Option<RetentionChange>,
}

impl Overridden {
    /// Reads it for the first time. What is malformed is not in force; it is told, for as long as it stands.
    pub(crate) fn begin(config: &Config, file: &Arc<OverridesFile>, gauge: Gauge, registry: &Registry) -> Overridden {
        let malformed = registry.condition("overrides_malformed");
        let (_, found) = read(file.path());
        let (saves, retention) = match found {
            Ok(found) => (found.saves_attachments, Ok(found.retention)),
            Err(error) => {
                tracing::error!(error, "overrides are not in force; nothing is deleted until they are mended");
                malformed.raise(format!("{error}; what is configured is in force, and nothing is deleted"));
                (None, Err(()))
            }
        };
        Overridden {
            file: file.clone(),
            media: Arc::new(MediaSwitch::new(config.media.save_attachments, saves)),
            retention: Arc::new(Live::new((&config.retention).into(), &retention, gauge)),
            malformed,
            doubt: Mutex::default(),
        }
    }

    /// The file may have been edited (blocking): what it says is in force from here on. If it cannot be read, what was
    /// in force stays. Whether a second look is wanted, for it may still be written at.
    pub(crate) fn look(&self) -> Looked {
        let _writing = self.file.lock();
        let (text, found) = read(self.file.path());
        let is_any = self.media.source() == Source::Override || self.retention.limits().source == Source::Override;
        // Who writes in place makes it empty first, and who replaces it may remove it first.
        let is_doubtful = found.is_err() || (is_any && text.trim_ascii().is_empty());
        if !self.doubt.lock().is_settled(&text, is_doubtful) {
            return Looked::Doubtful;
        }
        match found {
            Ok(Found { saves_attachments, retention }) => {
                if self.media.set(saves_attachments) {
                    tracing::info!(save_attachments = self.media.saves(), "set by an edit of runtime_overrides.json");
                }
                if self.retention.take(retention.as_ref()) {
                    tracing::info!(?retention, "retention was set by an edit of runtime_overrides.json");
                }
                self.malformed.clear();
            }
            Err(error) => {
                let stays = if self.retention.limits().is_doubtful { ", and nothing is deleted" } else { "" };
                if self.malformed.raise(format!("{error}; what was in force stays{stays}")) {
                    tracing::error!(error, "an edit of runtime_overrides.json is not taken over");
                }
            }
        }
        Looked::Settled
    }

    /// The limits that were just written are in force from here on.
    pub(crate) fn wrote_retention(&self, written: &Overrides) -> Limits {
        // What was just written is in form.
        let overridden = written.retention().ok().flatten().unwrap_or_default();
        let limits = self.retention.set(Some(&overridden));
        self.malformed.clear();
        tracing::info!(?overridden, "retention was set at run time");
        limits
    }
}

/// The file's text, or why there is none, and what it says.
fn read(path: &Path) -> (Vec<u8>, Result<Found, String>) {
    let text = match overrides::text(path) {
        Ok(text) => text,
        Err(error) => return (error.to_string().into(), Err(error.to_string())),
    };
    let parsed = Overrides::parse(path, &text).map_err(|error| error.to_string());
    let found = parsed.and_then(|it| {
        let retention = it.retention().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Found { saves_attachments: it.save_attachments(), retention })
    });
    (text, found)
}

/// Whether a look at a file was enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// What stands there has been taken, or told.
    Settled,
    /// It wants a second look.
    Doubtful,
}

/// What was missing, empty or broken at the last look: it is believed when the next one finds the same.
#[derive(Clone, Default)]
pub(crate) struct Doubt(Option<Vec<u8>>);

impl Doubt {
    /// Notes what was found, and tells whether that is to be believed.
    pub(crate) fn is_settled(&mut self, text: &[u8], is_doubtful: bool) -> bool {
        let before = std::mem::replace(&mut self.0, is_doubtful.then(|| text.to_vec()));
        !is_doubtful || before.as_deref() == Some(text)
    }
}

/// Whether attachments are written beside the lines: as configured, unless somebody said otherwise at run time.
pub(crate) struct MediaSwitch {
    /// What holds.
    saves: AtomicBool,
    said: Mutex<Said>,
}

struct Said {
    configured: bool,
    overridden: Option<bool>,
}

impl MediaSwitch {
    /// With what is configured, and what was said at run time.
    pub(crate) fn new(configured: bool, overridden: Option<bool>) -> MediaSwitch {
        let saves = AtomicBool::new(overridden.unwrap_or(configured));
        MediaSwitch { saves, said: Mutex::new(Said { configured, overridden }) }
    }

    /// Whether they are saved.
    pub(crate) fn saves(&self) -> bool {
        self.saves.load(Ordering::Relaxed)
    }

    /// Who says so.
    pub(crate) fn source(&self) -> Source {
        if self.said.lock().overridden.is_some() { Source::Override } else { Source::Yaml }
    }

    /// Takes over a configuration that was read again.
    pub(crate) fn configure(&self, saves: bool) {
        self.change(|said| said.configured = saves);
    }

    /// Takes over what is said at run time. Whether that is news.
    pub(crate) fn set(&self, overridden: Option<bool>) -> bool {
        self.change(|said| std::mem::replace(&mut said.overridden, overridden) != overridden)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        let mut said = self.said.lock();
        let changed = change(&mut said);
        self.saves.store(said.overridden.unwrap_or(said.configured), Ordering::Relaxed);
        changed
    }
}

/// `runtime_overrides.json`, and the right to replace it: one at a time reads, changes and replaces the whole file.
pub(crate) struct OverridesFile {
    path: PathBuf,
    writing: Mutex<()>,
}

impl OverridesFile {
    /// That of a data dir.
    pub(crate) fn new(layout: &Layout) -> Arc<OverridesFile> {
        Arc::new(OverridesFile { path: layout.overrides(), writing: Mutex::new(()) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The right to replace it. It is held while the disk is written to: only where that may block.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// Changes the file (blocking), then what runs, so that the last one that is kept is the one in force.
    ///
    /// # Errors
    /// The file cannot be read or replaced: it is as it was, and nothing was applied.
    pub(crate) fn change<T>(
        &self,
        set: impl FnOnce(&mut Overrides),
        apply: impl FnOnce(&Overrides) -> T,
    ) -> Result<T, OverridesError> {
        let _writing = self.lock();
        let mut overrides = Overrides::read(&self.path)?;
        set(&mut overrides);
        overrides.write(&self.path)?;
        Ok(apply(&overrides))
    }
}
