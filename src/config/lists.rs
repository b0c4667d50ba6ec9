//! The kinds of values that are lists: networks, path patterns, plugins and profiles.

use std::net::IpAddr;

use ipnet::IpNet;

use super::kinds::Kind;
use super::sources::{Flaw, Raw, quoted};
use super::table::Rules;
use crate::export::profile::Profiles;
use crate::plugin::instance::{BadInstance, Instance};
use crate::plugin::path_patterns::PathPatterns;

/// Address ranges; a single address is the range of itself.
pub(super) struct Networks;

impl Kind for Networks {
    type Value = Vec<IpNet>;
    const NAME: &'static str = "a list of networks";
    const IS_LIST: bool = true;

    fn read(raw: &Raw, rules: Rules) -> Result<Vec<IpNet>, Vec<Flaw>> {
        let mut networks = Vec::new();
        read_items::<Networks>(raw, rules, |text| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            networks.push(network.map_err(|_| "is not a network".to_owned())?);
            Ok(())
        })?;
        Ok(networks)
    }

    fn allowed(_: Rules) -> String {
        "a list of networks like 10.0.0.0/8 or fd00::/8, or of addresses".to_owned()
    }

    fn show(value: &Vec<IpNet>) -> String {
        value.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Path patterns.
pub(super) struct Patterns;

impl Kind for Patterns {
    type Value = PathPatterns;
    const NAME: &'static str = "a list of path patterns";
    const IS_LIST: bool = true;

    fn read(raw: &Raw, rules: Rules) -> Result<PathPatterns, Vec<Flaw>> {
        let mut patterns = PathPatterns::new();
        read_items::<Patterns>(raw, rules, |text| {
            patterns.add(text).map_err(|why| format!("is not a path pattern: {why}"))
        })?;
        Ok(patterns)
    }

    fn allowed(_: Rules) -> String {
        "a list of paths like /v1/models, or prefixes like /health/*".to_owned()
    }

    fn show(value: &PathPatterns) -> String {
        value.iter().map(|it| it.to_string()).collect::<Vec<_>>().join(",")
    }
}

/// Plugins.
pub(super) struct Instances;

impl Kind for Instances {
    type Value = Vec<Instance>;
    const NAME: &'static str = "a list of plugins";
    const HAS_ITEMS: bool = true;

    fn read(raw: &Raw, rules: Rules) -> Result<Vec<Instance>, Vec<Flaw>> {
        let allowed = Instances::allowed(rules);
        let items = match raw {
            Raw::Items(items) => items,
            Raw::One { text, .. } if text.trim().is_empty() => return Ok(Vec::new()),
            Raw::One { text, .. } => {
                return Err(vec![Flaw {
                    at: None,
                    text: format!("{} is not a list; allowed: {allowed}", quoted(text)),
                }]);
            }
            Raw::Many(_) => {
                return Err(vec![Flaw { at: None, text: format!("not a list of objects; allowed: {allowed}") }]);
            }
        };
        let values: Vec<serde_json::Value> = items.iter().map(|(value, _)| value.clone()).collect();
        let (instances, bad) = Instance::read_list(&values);
        let flaw = |bad: BadInstance| Flaw { at: items.get(bad.index).and_then(|(_, at)| *at), text: bad.to_string() };
        if bad.is_empty() { Ok(instances) } else { Err(bad.into_iter().map(flaw).collect()) }
    }

    fn allowed(_: Rules) -> String {
        "a list of objects with type, id, enabled and config; in a variable, as JSON".to_owned()
    }

    fn show(value: &Vec<Instance>) -> String {
        serde_json::json!(value.iter().map(Instance::shown).collect::<Vec<_>>()).to_string()
    }
}

/// Profiles of what an export hides.
pub(super) struct RedactProfiles;

impl Kind for RedactProfiles {
    type Value = Profiles;
    const NAME: &'static str = "a list of profiles";
    const IS_LIST: bool = true;

    fn read(raw: &Raw, rules: Rules) -> Result<Profiles, Vec<Flaw>> {
        let mut profiles = Profiles::new();
        read_items::<RedactProfiles>(raw, rules, |text| {
            profiles.add(text).map_err(|why| format!("is not a profile: {why}"))
        })?;
        Ok(profiles)
    }

    fn allowed(_: Rules) -> String {
        "a list of profiles like \"support: header=x-team query=user json=$..email\"".to_owned()
    }

    fn show(value: &Profiles) -> String {
        value.iter().collect::<Vec<_>>().join(",")
    }
}

/// Reads every item and collects what is wrong with any of them.
fn read_items<K: Kind>(
    raw: &Raw,
    rules: Rules,
    mut read: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), Vec<Flaw>> {
    let flaw = |at, what: String| Flaw { at, text: format!("{what}; allowed: {}", K::allowed(rules)) };
    let items = match raw {
        Raw::Many(items) => items,
        Raw::One { text, .. } => return Err(vec![flaw(None, format!("{} is not a list", quoted(text)))]),
        Raw::Items(_) => return Err(vec![flaw(None, "an item of the list must be plain text".to_owned())]),
    };
    let mut flaws = Vec::new();
    for (text, at) in items {
        if let Err(why) = read(text) {
            flaws.push(flaw(*at, format!("{} {why}", quoted(text))));
        }
    }
    if flaws.is_empty() { Ok(()) } else { Err(flaws) }
}
