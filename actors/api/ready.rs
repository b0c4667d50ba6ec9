//! Whether clients should be sent here: forwarding works, and will go on working.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::State as Api;
use super::endpoint::{Output, Reply, Schemas};
use super::errors::Answer;
use crate::kit::ChildState;

/// The row that accepts clients.
const LISTENER: &str = "listener";

/// Why not.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Reason {
    /// One word for machines: `draining`, `ending`, `listener`, `failed`, `hung` or `blocked`.
    #[schemars(extend("enum" = ["draining", "ending", "listener", "failed", "hung", "blocked"]))]
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) detail: String,
}

/// Whether clients should be sent here.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether they should.
    ready: bool,
    /// Why not.
    reasons: Vec<Reason>,
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let status = if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Answer(self)).into_response()
    }
}

impl Output for Readiness {
    fn replies(schemas: &mut Schemas) -> Vec<Reply> {
        let json = "application/json";
        vec![
            Reply::new(200, "They should.").of(json, schemas.of::<Readiness>()),
            Reply::new(503, "They should not.").of(json, schemas.of::<Readiness>()),
        ]
    }
}

/// `GET /readyz`: 200 if clients should be sent here, else 503 with every reason.
pub(crate) async fn readyz(State(api): State<Arc<Api>>) -> Readiness {
    let reasons = reasons(&api);
    Readiness { ready: reasons.is_empty(), reasons }
}

/// Every reason why not. An index that is missing or behind is none, nor a full or stalled disk, nor a part that is being
/// started again: clients are served all the same, and what is not recorded is counted.
pub(crate) fn reasons(api: &Api) -> Vec<Reason> {
    let parts = &api.parts;
    let mut reasons = Vec::new();
    if parts.front.is_closed.load(Ordering::Acquire) {
        let detail = "the recorder ends: it accepts no connections any more".to_owned();
        reasons.push(Reason { reason: "draining", detail });
    }
    if let Some(reason) = parts.escalation.reason() {
        reasons.push(Reason { reason: "ending", detail: format!("the recorder gives up: {reason}") });
    }
    let seen = parts.registry.snapshot();
    let listener = seen.children.iter().find(|it| it.name == LISTENER);
    if listener.is_none_or(|it| it.state != ChildState::Running) {
        reasons.push(Reason { reason: LISTENER, detail: "nobody accepts connections at the moment".to_owned() });
    }
    let rows = |name: &str| seen.children.iter().any(|it| it.name == name);
    for trouble in &seen.troubles {
        match trouble.reason {
            // A hung child of a nursery holds up what it works on, and nothing else.
            "hung" if !rows(&trouble.name) => {}
            "failed" | "hung" | "blocked" => {
                let detail = format!("{} since {}", trouble.name, trouble.since);
                reasons.push(Reason { reason: trouble.reason, detail });
            }
            _ => {}
        }
    }
    reasons
}
