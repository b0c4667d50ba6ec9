//! Statistics of what was recorded.

use std::sync::Arc;

use api_log::index::stats::{self, Stats, StatsParams, TooManySeries};
use axum::extract::State;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::params::Query;
use super::readers::Load;

/// `GET /api/stats`.
pub(crate) async fn stats(
    State(api): State<Arc<Api>>,
    Query(params): Query<StatsParams>,
) -> Result<Answer<Stats>, Problem> {
    let summed = api.readers.read(Load::Heavy, move |index| stats::stats(index, &params)).await?;
    let too_many =
        |error: TooManySeries| Problem::bad_param("by", &format!("{error}: ask for fewer, or a shorter time"));
    Ok(Answer(summed.map_err(too_many)?))
}
