//! What asking for a route needs, and whether its answer hands out traffic.

use api_log::access::Scope;
use axum::http::Method;

/// What a request must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Anyone may ask.
    Nothing,
    /// A token of any scope, if `api.metrics_auth` says so.
    TokenIfConfigured,
    /// A token of this scope, or of a larger one.
    Scope(Scope),
}

/// What of the recorded traffic an answer hands out; the access log notes all but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Nothing: settings, figures.
    Nothing,
    /// Traces, or something of them.
    Traffic,
    /// The same for as long as the caller likes: it ends with the token, too.
    Stream,
}

/// A row of the table of routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// How it is asked. A HEAD needs what a GET needs.
    pub(crate) method: &'static str,
    /// The path, with the names of its parts in braces.
    pub(crate) path: &'static str,
    /// What a request must show.
    pub(crate) needs: Needs,
    /// What its answer hands out.
    pub(crate) gives: Gives,
}

/// Every route. What is not here asks for an admin's token, whoever added it.
pub(crate) const ROUTES: &[Route] = &[
    Route::get("/", Needs::Nothing, Gives::Nothing),
    Route::get("/healthz", Needs::Nothing, Gives::Nothing),
    Route::get("/readyz", Needs::Nothing, Gives::Nothing),
    Route::get("/metrics", Needs::TokenIfConfigured, Gives::Nothing),
    Route::get("/api/openapi.json", Needs::Nothing, Gives::Nothing),
    Route::get("/api/traces", VIEWER, Gives::Traffic),
    Route::get("/api/traces/{id}", VIEWER, Gives::Traffic),
    Route::get("/api/traces/{id}/replay", VIEWER, Gives::Stream),
    Route::get("/api/tail", VIEWER, Gives::Stream),
    Route::get("/api/export", VIEWER, Gives::Traffic),
    Route::get("/api/media/{trace_id}/{idx}", VIEWER, Gives::Traffic),
    Route::get("/api/sessions", VIEWER, Gives::Traffic),
    Route::get("/api/stats", VIEWER, Gives::Nothing),
    Route::get("/api/inflight", VIEWER, Gives::Traffic),
    Route::get("/api/inflight/{id}/events", VIEWER, Gives::Stream),
    Route::get("/api/index", VIEWER, Gives::Nothing),
    Route::change("POST", "/api/index/rebuild"),
    // How the recorder is set is no secret to who sees what it records.
    Route::get("/api/config/media", VIEWER, Gives::Nothing),
    Route::change("PUT", "/api/config/media"),
    Route::get("/api/config/retention", VIEWER, Gives::Nothing),
    Route::change("PUT", "/api/config/retention"),
    Route::get("/api/plugins/types", VIEWER, Gives::Nothing),
    Route::get("/api/config/plugins", VIEWER, Gives::Nothing),
    Route::change("PUT", "/api/config/plugins"),
    Route::change("DELETE", "/api/config/plugins"),
    Route::change("PUT", "/api/config/plugins/"),
    Route::change("PUT", "/api/config/plugins/{id}"),
];

const VIEWER: Needs = Needs::Scope(Scope::Viewer);

impl Route {
    const fn get(path: &'static str, needs: Needs, gives: Gives) -> Route {
        Route { method: "GET", path, needs, gives }
    }

    const fn change(method: &'static str, path: &'static str) -> Route {
        Route { method, path, needs: Needs::Scope(Scope::Admin), gives: Gives::Nothing }
    }
}

/// The row of a request, by its method and the path that it matched.
pub(super) fn of(method: &Method, path: &str) -> Option<&'static Route> {
    row(if method == Method::HEAD { "GET" } else { method.as_str() }, path)
}

/// The row of a method and a path.
pub(super) fn row(method: &str, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|it| it.path == path && it.method == method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::endpoint::Verb;
    use crate::api::routes;

    #[test]
    fn every_route_stands_in_the_table_once() {
        let endpoints = routes::endpoints();
        let of = |endpoint: &'static str, verb: Verb| (verb.name(), endpoint);
        let routed = endpoints.iter().flat_map(|it| it.operations.iter().map(|op| of(it.path, op.verb)));
        let listed = ROUTES.iter().map(|it| (it.method, it.path));
        assert_eq!(routed.collect::<BTreeSet<_>>(), listed.collect());
        for endpoint in &endpoints {
            // Whether a token is asked for goes by the path.
            let is_open = |needs| needs == Needs::Nothing;
            let rows = ROUTES.iter().filter(|it| it.path == endpoint.path);
            assert!(rows.into_iter().all(|it| is_open(it.needs) == is_open(endpoint.needs())), "{}", endpoint.path);
        }
        let rows: BTreeSet<(&str, &str)> = ROUTES.iter().map(|it| (it.method, it.path)).collect();
        assert_eq!(rows.len(), ROUTES.len());
    }

    #[test]
    fn who_only_reads_changes_nothing() {
        for route in ROUTES {
            let is_change = route.method != "GET";
            assert_eq!(route.needs == Needs::Scope(Scope::Admin), is_change, "{route:?}");
            assert!(!is_change || route.gives == Gives::Nothing, "{route:?}");
        }
        assert_eq!(of(&Method::HEAD, "/api/traces").unwrap().method, "GET");
        assert!(of(&Method::PUT, "/api/traces").is_none());
    }
}
