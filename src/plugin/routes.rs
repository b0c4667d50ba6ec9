//! Which paths an instance is about.

use super::Flaw;
use super::members::Members;

/// Paths: all, or those that are named. `/a/b` means that path, a final `*` everything that begins so, `*` every path.
///
/// Compared with the request target without its query, case-sensitively.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Empty: all.
    routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Whole(Box<str>),
    Prefix(Box<str>),
}

impl Routes {
    /// All paths.
    pub fn all() -> Routes {
        Routes::default()
    }

    /// The member `routes`.
    pub(super) fn read(config: &Members<'_>) -> Result<Routes, Flaw> {
        let mut routes = Vec::new();
        let mut is_all = false;
        for (at, text) in config.texts("routes")?.into_iter().enumerate() {
            match text.trim() {
                "" => return Err(config.flaw(&format!("routes[{at}]"), "is empty")),
                "*" => is_all = true,
                text => routes.push(match text.strip_suffix('*') {
                    Some(prefix) => Route::Prefix(prefix.into()),
                    None => Route::Whole(text.into()),
                }),
            }
        }
        if is_all {
            routes.clear();
        }
        Ok(Routes { routes })
    }

    /// Whether this request target is meant; its query, if any, is not looked at.
    pub fn matches(&self, target: &str) -> bool {
        if self.routes.is_empty() {
            return true;
        }
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        self.routes.iter().any(|route| match route {
            Route::Whole(whole) => path == &**whole,
            Route::Prefix(prefix) => path.starts_with(&**prefix),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn routes(list: serde_json::Value) -> Result<Routes, String> {
        let config = json!({"routes": list});
        Routes::read(&Members::of(config.as_object().unwrap(), "config")).map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn routes_mean_paths_prefixes_or_all_and_never_look_at_the_query() {
        let some = routes(json!([" /v1/messages ", "/v1/chat/*"])).unwrap();
        for (target, expected) in [
            ("/v1/messages", true),
            ("/v1/messages?beta=true", true),
            ("/v1/messages/count", false),
            ("/v1/chat/completions", true),
            ("/v1/chat", false),
            ("/x?/v1/messages", false),
        ] {
            assert_eq!(some.matches(target), expected, "{target}");
        }
        for all in [json!([]), json!(null), json!(["/a", "*"])] {
            assert!(routes(all).unwrap().matches("/anything"));
        }
    }

    #[test]
    fn a_route_that_is_none_is_named() {
        assert_eq!(routes(json!(["/a", " "])).unwrap_err(), "config.routes[1]: is empty");
        assert_eq!(routes(json!(["/a", 1])).unwrap_err(), "config.routes[1]: must be a text");
        assert_eq!(routes(json!("/a")).unwrap_err(), "config.routes: must be a list");
    }
}
