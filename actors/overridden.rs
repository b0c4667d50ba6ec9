//! What is told at run time and kept: read at the start, and replaced by one at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api_log::store::layout::Layout;
use api_log::store::overrides::{Overrides, OverridesError};
use api_log::store::retention_change::RetentionChange;
use parking_lot::{Mutex, MutexGuard};

use crate::kit::Condition;

/// What stands above file and environment.
pub(crate) struct Overridden {
    /// `media.save_attachments`, if it is set.
    pub(crate) saves_attachments: Option<bool>,
    /// The limits of retention, if some are set; `Err` if nobody can tell.
    pub(crate) retention: Result<Option<RetentionChange>, ()>,
}

impl Overridden {
    /// Reads it. What is malformed is not in force; it is told, for as long as it stands.
    pub(crate) fn read(layout: &Layout, malformed: &Condition) -> Overridden {
        let tell = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "overrides are not in force; nothing is deleted until retention is set anew");
            malformed.raise(format!("{error}; what is configured is in force, and nothing is deleted"));
        };
        match Overrides::read(&layout.overrides()) {
            Ok(overrides) => Overridden {
                saves_attachments: overrides.save_attachments(),
                retention: overrides.retention().map_err(|error| tell(&error)),
            },
            Err(error) => {
                tell(&error);
                Overridden { saves_attachments: None, retention: Err(()) }
            }
        }
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
