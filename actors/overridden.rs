//! What an earlier run was told at run time, read at the start.

use api_log::store::layout::Layout;
use api_log::store::overrides::Overrides;
use api_log::store::retention_change::RetentionChange;

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
