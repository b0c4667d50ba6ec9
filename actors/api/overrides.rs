//! Changing what is set at run time: one at a time, persisted first, then in force, whatever becomes of the caller.

use std::sync::Arc;

use api_log::store::overrides::{Overrides, OverridesError};
use axum::http::StatusCode;

use super::State as Api;
use super::errors::Problem;

/// Changes the overrides on the disk, then what runs. Gives back what the latter says.
pub(crate) async fn change<T: Send + 'static>(
    api: Arc<Api>,
    set: impl FnOnce(&mut Overrides) + Send + 'static,
    apply: impl FnOnce(&Api, &Overrides) -> T + Send + 'static,
) -> Result<T, Problem> {
    // A task of its own: a caller that leaves must not leave a change that is kept and not in force.
    let changing = tokio::spawn(async move {
        let written = tokio::task::spawn_blocking(move || {
            let file = api.parts.overrides.clone();
            file.change(set, |overrides| apply(&api, overrides))
        });
        let written = written.await.map_err(|error| Problem::server_error(&error))?;
        written.map_err(|error| not_written(&error))
    });
    changing.await.map_err(|error| Problem::server_error(&error))?
}

fn not_written(error: &OverridesError) -> Problem {
    tracing::error!(%error, "the overrides could not be written");
    let detail = match error {
        OverridesError::Io { .. } => "runtime_overrides.json could not be written; nothing has changed",
        OverridesError::Malformed { .. } => {
            "runtime_overrides.json is malformed; mend or delete it; nothing has changed"
        }
    };
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "override_write_failed", detail).with("detail", detail)
}
