//! `APILOG_*` variables as configuration values.

use super::complaint::{Complaint, Origin, Warning, excerpt};
use super::keys::keys;
use super::sources::Sources;
use super::suggestion::nearest;
use super::table::variable_of;

impl Sources {
    /// Adds the `APILOG_*` ones of the variables; one that is set but empty is given, as an empty text.
    /// One that stands for no key is warned about: it may belong to another program or a newer version.
    pub fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let known: Vec<_> = keys()
            .iter()
            .flat_map(|key| key.spellings().map(move |spelling| (variable_of(&spelling), spelling, key)))
            .collect();
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with("APILOG_")).collect();
        // The environment has no order of its own; complaints shall have one.
        ours.sort();
        for (name, value) in ours {
            match known.iter().find(|(variable, _, _)| *variable == name) {
                Some((_, spelling, key)) => {
                    self.give(key, spelling.clone(), key.raw(&value), Origin::Variable(name));
                }
                None => {
                    let text = match nearest(&name, known.iter().map(|(variable, _, _)| &**variable)) {
                        Some(variable) => format!("no such setting, ignored (did you mean {variable}?)"),
                        None => "no such setting, ignored".to_owned(),
                    };
                    let origin = Origin::Variable(excerpt(&name));
                    self.warnings.push(Warning(Complaint { origin, key: None, text }));
                }
            }
        }
    }
}
