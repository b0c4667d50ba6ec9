//! The YAML file as configuration values.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::complaint::{Origin, excerpt};
use super::keys::keys;
use super::sources::{Raw, Sources};
use super::suggestion::nearest;
use super::table::Key;
use super::yaml::{self, Node, Position, Value};

/// Larger than any sensible configuration, small enough to be read at once.
const LARGEST_BYTES: u64 = 1 << 20;

impl Sources {
    /// Adds what a YAML file says.
    pub fn add_file(&mut self, path: &Path) {
        let name: Arc<str> = excerpt(&path.to_string_lossy()).into();
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = format!("cannot read: {error}; name another file with --config, or none for the defaults");
                return self.complaints.push(Origin::File(name), None, text);
            }
        };
        if bytes.len() as u64 > LARGEST_BYTES {
            let text = format!("too large for a configuration; allowed: {LARGEST_BYTES} bytes");
            return self.complaints.push(Origin::File(name), None, text);
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.add_text(&name, text),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
                let column = String::from_utf8_lossy(before).chars().rev().take_while(|&it| it != '\n').count() + 1;
                self.complaints.push(Origin::Place { file: name, line, column }, None, "not UTF-8 text");
            }
        }
    }

    /// Adds what a YAML text says; complaints name it `file`.
    pub fn add_text(&mut self, file: &str, text: &str) {
        let file: Arc<str> = file.into();
        match yaml::parse(text) {
            Ok(None) => {}
            Ok(Some(Node { value: Value::Mapping(pairs), .. })) => Walk::new(self, file).mapping("", pairs),
            Ok(Some(Node { at, .. })) => {
                let text = format!("the file must be a mapping; allowed here: {}", names_below(""));
                self.complaints.push(place(&file, at), None, text);
            }
            Err(bad) => self.complaints.push(place(&file, bad.at), None, bad.text),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn place(file: &Arc<str>, at: Position) -> Origin {
    Origin::Place { file: file.clone(), line: at.line, column: at.column }
}

/// The way through the file's mappings.
struct Walk<'a> {
    sources: &'a mut Sources,
    file: Arc<str>,
    spelled: HashMap<String, &'static Key>,
}

impl<'a> Walk<'a> {
    fn new(sources: &'a mut Sources, file: Arc<str>) -> Walk<'a> {
        let spelled = keys().iter().flat_map(|key| key.spellings().map(move |it| (it, key))).collect();
        Walk { sources, file, spelled }
    }

    fn mapping(&mut self, section: &str, pairs: Vec<(Node, Node)>) {
        let mut lines = HashMap::new();
        for (key, value) in pairs {
            let Value::Text { text: name, .. } = key.value else {
                self.complain(key.at, section, "a key must be plain text");
                continue;
            };
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            match lines.entry(path.clone()) {
                Entry::Vacant(free) => {
                    free.insert(key.at.line);
                    self.entry(path, key.at, value);
                }
                Entry::Occupied(first) => {
                    self.complain(key.at, &path, &format!("given twice, first on line {}", first.get()));
                }
            }
        }
    }

    fn entry(&mut self, path: String, at: Position, value: Node) {
        if let Some(key) = self.spelled.get(&path) {
            self.value(key, path, value);
        } else if is_section(&path) {
            match value.value {
                Value::Null => {}
                Value::Mapping(pairs) => self.mapping(&path, pairs),
                _ => {
                    self.complain(value.at, &path, &format!("must be a section; allowed in it: {}", names_below(&path)))
                }
            }
        } else {
            if self.sources.complaints.is_full() {
                return self.complain(at, &path, "");
            }
            let text = match nearest(&path, known_paths().iter().map(|it| &**it)) {
                Some(known) => format!("unknown key (did you mean {known}?)"),
                None => {
                    let section = path.rsplit_once('.').map_or("", |(section, _)| section);
                    format!("unknown key; allowed here: {}", names_below(section))
                }
            };
            self.complain(at, &path, &text);
        }
    }

    fn value(&mut self, key: &'static Key, spelling: String, value: Node) {
        let raw = match value.value {
            // Nothing given is the default, as if the key were absent.
            Value::Null => return,
            Value::Text { text, quoted } => Raw::One { text, quoted },
            Value::Mapping(_) => {
                let text = format!("a section is not {}; allowed: {}", key.kind, key.allowed());
                return self.complain(value.at, &spelling, &text);
            }
            Value::List(nodes) if key.has_items => {
                let mut items = Vec::with_capacity(nodes.len());
                for node in nodes {
                    let at = node.at;
                    match node.into_json() {
                        Ok(item) => items.push((item, Some(at))),
                        Err(bad) => return self.complain(bad.at, &spelling, &bad.text),
                    }
                }
                Raw::Items(items)
            }
            Value::List(nodes) => {
                let mut items = Vec::with_capacity(nodes.len());
                for node in nodes {
                    match node.value {
                        Value::Text { text, .. } => items.push((text, Some(node.at))),
                        // An item without text is as bad as an empty one; the kind says so.
                        Value::Null => items.push((String::new(), Some(node.at))),
                        _ => self.complain(node.at, &spelling, "an item of the list must be plain text"),
                    }
                }
                Raw::Many(items)
            }
        };
        self.sources.give(key, spelling, raw, place(&self.file, value.at));
    }

    fn complain(&mut self, at: Position, path: &str, text: &str) {
        self.sources.complaints.push(place(&self.file, at), (!path.is_empty()).then_some(path), text);
    }
}

fn is_section(path: &str) -> bool {
    keys().iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Every spelling of every key, and every section.
fn known_paths() -> Vec<String> {
    let mut paths: Vec<String> = keys().iter().flat_map(Key::spellings).collect();
    for key in keys() {
        let mut path = key.path;
        while let Some((section, _)) = path.rsplit_once('.') {
            if !paths.iter().any(|it| it == section) {
                paths.push(section.to_owned());
            }
            path = section;
        }
    }
    paths
}

/// The names that may stand directly in a section, for a message.
fn names_below(section: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for key in keys() {
        let rest = match section {
            "" => Some(key.path),
            _ => key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        if let Some(name) = rest.and_then(|rest| rest.split('.').next())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names.join(", ")
}
