//! A request's query parameters, decoded, and read as what a route takes.

use std::sync::Arc;

use api_log::described::Param;
use api_log::index::filter::{Filter, ListParams};
use api_log::index::sessions::SessionParams;
use api_log::index::stats::StatsParams;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::State as Api;
use super::endpoint::{Input, Schemas, Sketch};
use super::errors::Problem;

/// Names and values in the order they came.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a query string (`application/x-www-form-urlencoded`).
    pub(crate) fn of(query: Option<&str>) -> Params {
        Params(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Those with a value, the first of each name.
    pub(crate) fn first_of_each(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_first = |at: usize, name: &str| !self.0[..at].iter().any(|(it, _)| it == name);
        let pairs =
            self.pairs().enumerate().filter(move |(at, (name, value))| is_first(*at, name) && !value.is_empty());
        pairs.map(|(_, pair)| pair)
    }
}

/// Something that query parameters ask for. An empty value is an absent parameter; of repeated ones the first counts.
pub(crate) trait FromQuery: Sized {
    /// All that are read: no other is taken.
    fn params() -> Vec<Param>;

    /// Reads them.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    fn read(params: &Params, api: &Api) -> Result<Self, Problem>;
}

/// The query as what it asks for.
pub(crate) struct Query<Q>(pub(crate) Q);

impl<Q: FromQuery> FromRequestParts<Arc<Api>> for Query<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Query<Q>, Problem> {
        Q::read(&Params::of(parts.uri.query()), api).map(Query)
    }
}

impl<Q: FromQuery> Input for Query<Q> {
    fn sketch(sketch: &mut Sketch, _: &mut Schemas) {
        sketch.params.extend(Q::params());
        sketch.faults.push((400, "bad_param"));
    }
}

/// For routes that take no parameters.
pub(crate) struct Nothing;

impl FromQuery for Nothing {
    fn params() -> Vec<Param> {
        Vec::new()
    }

    fn read(params: &Params, _: &Api) -> Result<Nothing, Problem> {
        match params.0.first() {
            None => Ok(Nothing),
            Some((name, _)) => Err(Problem::bad_param(name, "unknown parameter")),
        }
    }
}

impl FromQuery for ListParams {
    fn params() -> Vec<Param> {
        [Filter::PARAMS, ListParams::PARAMS].concat()
    }

    fn read(params: &Params, _: &Api) -> Result<ListParams, Problem> {
        Ok(ListParams::parse(params.pairs())?)
    }
}

impl FromQuery for Filter {
    fn params() -> Vec<Param> {
        Filter::PARAMS.into()
    }

    fn read(params: &Params, _: &Api) -> Result<Filter, Problem> {
        Ok(Filter::parse(params.pairs(), &[])?)
    }
}

impl FromQuery for SessionParams {
    fn params() -> Vec<Param> {
        SessionParams::PARAMS.into()
    }

    fn read(params: &Params, _: &Api) -> Result<SessionParams, Problem> {
        Ok(SessionParams::parse(params.pairs())?)
    }
}

impl FromQuery for StatsParams {
    fn params() -> Vec<Param> {
        StatsParams::params().collect()
    }

    fn read(params: &Params, _: &Api) -> Result<StatsParams, Problem> {
        Ok(StatsParams::parse(params.pairs())?)
    }
}
