//! What the configuration comes to, key by key, and where each value is from.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::complaint::Origin;
use super::keys::{Config, keys};
use super::sources::Sources;
use super::suggestion::nearest;
use super::table::{Key, variable_of};
use crate::plugin::instance::Instance;
use crate::store::overrides::Overrides;

/// A key's value that is in force.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The key.
    pub key: &'static Key,
    /// Its value as text; a secret is `***`.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it is given too, in vain; the nearest first. The default is not named.
    pub instead_of: Vec<Origin>,
}

/// The whole configuration, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Every key, in the order of the table.
    pub keys: Vec<Explained>,
    /// What was set at run time and cannot be in force, in words.
    pub flaws: Vec<String>,
}

impl Explained {
    /// The value as the file's YAML would hold it: a number, a switch, a list, or text.
    pub fn json(&self) -> Value {
        let one = |text: &str| match serde_json::from_str(text) {
            Ok(plain @ (Value::Bool(_) | Value::Number(_))) => plain,
            _ => text.into(),
        };
        if self.key.has_items {
            serde_json::from_str(&self.value).unwrap_or_else(|_| self.value.as_str().into())
        } else if self.key.is_list {
            self.value.split(',').filter(|it| !it.is_empty()).map(Value::from).collect()
        } else {
            one(&self.value)
        }
    }
}

impl Explanation {
    /// Of a configuration and what it was read from; with the file at `path` of what was set at run time, if one is
    /// to be looked at.
    pub fn of(sources: &Sources, config: &Config, overrides: Option<&Path>) -> Explanation {
        let mut in_force = config.clone();
        let (overridden, flaws) = match overrides {
            None => Default::default(),
            Some(path) => match Overrides::read(path) {
                Ok(overrides) => override_with(&mut in_force, &overrides, path),
                Err(error) => (Vec::new(), vec![error.to_string()]),
            },
        };
        let shown = in_force.shown();
        let explained = keys().iter().zip(shown).map(|(key, (_, value))| {
            let (mut origin, mut instead_of) = (sources.origin(key.path), sources.instead_of(key.path).to_vec());
            if let Some(path) = overrides.filter(|_| overridden.contains(&key.path)) {
                if origin != Origin::Default {
                    instead_of.insert(0, origin);
                }
                origin = Origin::Overrides(Arc::from(path.to_string_lossy()));
            }
            let value = if key.rules.secret && !value.is_empty() { "***".to_owned() } else { value };
            Explained { key, value, origin, instead_of }
        });
        Explanation { keys: explained.collect(), flaws }
    }
}

/// Puts what was set at run time above the configuration: which keys that are, and what is out of form.
fn override_with(config: &mut Config, overrides: &Overrides, path: &Path) -> (Vec<&'static str>, Vec<String>) {
    let (mut keys, mut flaws) = (Vec::new(), Vec::new());
    let flaw = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    if let Some(saves) = overrides.save_attachments() {
        config.media.save_attachments = saves;
        keys.push("media.save_attachments");
    }
    match overrides.retention() {
        Ok(Some(change)) => {
            let settings = change.applied_to((&config.retention).into());
            for (is_set, key) in [
                (change.max_bytes.is_some(), "retention.max_bytes"),
                (change.max_age_days.is_some(), "retention.max_age"),
                (change.warn_at_percent.is_some(), "retention.warn_at_percent"),
                (change.per_key_max_bytes.is_some(), "retention.per_key_max_bytes"),
                (change.media_max_bytes.is_some(), "retention.media_max_bytes"),
            ] {
                if is_set {
                    keys.push(key);
                }
            }
            let retention = &mut config.retention;
            retention.max_bytes = settings.max_bytes;
            retention.max_age = settings.max_age;
            retention.warn_at_percent = settings.warn_at_percent;
            retention.per_key_max_bytes = settings.per_key_max_bytes;
            retention.media_max_bytes = settings.media_max_bytes;
        }
        Ok(None) => {}
        Err(error) => flaws.push(flaw(&format_args!("retention: {error}"))),
    }
    match overrides.plugins() {
        Ok(Some(values)) => {
            let (instances, bad) = Instance::read_list(values);
            config.plugins.instances = instances;
            keys.push("plugins.instances");
            flaws.extend(bad.iter().map(|it| flaw(it)));
        }
        Ok(None) => {}
        Err(error) => flaws.push(flaw(&error)),
    }
    (keys, flaws)
}

/// The keys that a word names: one by its path, its other spelling or its variable, or all of a section.
///
/// # Errors
/// It names none: the name that is nearest, if one is near.
pub fn named(word: &str) -> Result<Vec<&'static Key>, Option<String>> {
    let is_named = |key: &Key| {
        let below = key.path.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'));
        below || key.spellings().any(|it| it == word || variable_of(&it) == word)
    };
    let found: Vec<&Key> = keys().iter().filter(|it| is_named(it)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let mut known: Vec<String> = keys().iter().flat_map(Key::spellings).collect();
    known.extend(keys().iter().map(Key::variable));
    Err(nearest(word, known.iter().map(String::as_str)).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str, variables: &[(&str, &str)], overrides: Option<&Path>) -> Explanation {
        let mut sources = Sources::new();
        sources.add_text("config.yaml", text);
        sources.add_environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (config, _) = sources.clone().into_config().unwrap();
        Explanation::of(&sources, &config, overrides)
    }

    fn of<'e>(explanation: &'e Explanation, path: &str) -> &'e Explained {
        explanation.keys.iter().find(|it| it.key.path == path).unwrap()
    }

    #[test]
    fn each_value_names_its_source_and_what_it_stands_in_place_of() {
        let text = "proxy:\n  listen: ':1'\n  lanes: 2\nviewer:\n  releases_auth_token: hush\n";
        let variables = [("APILOG_PROXY_LISTEN", ":2"), ("APILOG_TIMEOUTS_IDLE_SECONDS", "7")];
        let explanation = explained(text, &variables, None);
        let listen = of(&explanation, "proxy.listen");
        assert_eq!((listen.value.as_str(), listen.origin.to_string()), (":2", "APILOG_PROXY_LISTEN".into()));
        assert_eq!(listen.instead_of.iter().map(ToString::to_string).collect::<Vec<_>>(), ["config.yaml:2:11"]);
        let lanes = of(&explanation, "proxy.lanes");
        assert_eq!((lanes.json(), lanes.origin.to_string()), (2.into(), "config.yaml:3:10".into()));
        let idle = of(&explanation, "timeouts.idle");
        assert_eq!((idle.value.as_str(), idle.origin.to_string()), ("7s", "APILOG_TIMEOUTS_IDLE_SECONDS".into()));
        let token = of(&explanation, "viewer.releases_auth_token");
        assert_eq!((token.value.as_str(), token.origin.to_string()), ("***", "config.yaml:5:24".into()));
        assert!(!format!("{explanation:?}").contains("hush"));
        assert_eq!(explanation.keys.len(), keys().len());
        assert_eq!(of(&explanation, "proxy.upstream").origin, Origin::Default);
    }

    #[test]
    fn what_was_set_at_run_time_wins_and_what_is_out_of_form_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime_overrides.json");
        let text = r#"{"media": {"save_attachments": false}, "retention": {"max_age_days": 3},
            "plugins": {"instances": [{"type": "tag", "id": "a", "config": {"tags": ["x"]}}, {"type": "no", "id": "b"}]}}"#;
        std::fs::write(&path, text).unwrap();
        let explanation = explained("media: {save_attachments: true}\n", &[], Some(&path));
        let from_here = Origin::Overrides(Arc::from(path.to_str().unwrap()));
        let saves = of(&explanation, "media.save_attachments");
        assert_eq!((saves.json(), &saves.origin), (false.into(), &from_here));
        assert_eq!(saves.instead_of.len(), 1);
        let age = of(&explanation, "retention.max_age");
        assert_eq!((age.value.as_str(), &age.origin), ("3d", &from_here));
        assert_eq!(of(&explanation, "retention.max_bytes").origin, Origin::Default);
        let plugins = of(&explanation, "plugins.instances");
        assert_eq!((plugins.json()[0]["id"].as_str(), &plugins.origin), (Some("a"), &from_here));
        assert_eq!(explanation.flaws.len(), 1);
        assert!(explanation.flaws[0].contains("instances[1] (b): unknown type"), "{:?}", explanation.flaws);

        std::fs::write(&path, "{").unwrap();
        let explanation = explained("", &[], Some(&path));
        assert_eq!(of(&explanation, "media.save_attachments").origin, Origin::Default);
        assert!(explanation.flaws[0].contains(":1:"), "{:?}", explanation.flaws);
    }

    #[test]
    fn a_word_names_a_key_a_section_or_a_variable() {
        let paths = |word: &str| named(word).map(|keys| keys.iter().map(|it| it.path).collect::<Vec<_>>());
        assert_eq!(paths("proxy.listen").unwrap(), ["proxy.listen"]);
        assert_eq!(paths("APILOG_TIMEOUTS_IDLE_SECONDS").unwrap(), ["timeouts.idle"]);
        assert_eq!(paths("logging").unwrap(), ["logging.level"]);
        assert_eq!(paths("plugins.path_filter").unwrap(), ["plugins.path_filter.patterns"]);
        assert_eq!(paths("proxy.listn").unwrap_err().as_deref(), Some("proxy.listen"));
        assert_eq!(paths("nothing like it").unwrap_err(), None);
    }
}
