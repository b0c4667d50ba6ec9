//! The plugins' part of `runtime_overrides.json`: the list of instances, and where in the file one stands.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::overrides::Overrides;
use crate::plugin::instance::Instance;

/// The block is there and says no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// It is no object.
    #[error("plugins is no object")]
    NoObject,
    /// Its list is none.
    #[error("plugins.instances is no list")]
    NoList,
}

/// Where something stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1.
    pub column: usize,
}

impl Overrides {
    /// The list of instances; `None` if it is not overridden. A block without a list, or with null, is an empty one.
    ///
    /// # Errors
    /// The block is there and out of form.
    pub fn plugins(&self) -> Result<Option<&[Value]>, BadBlock> {
        let block = match self.0.get("plugins") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(block)) => block,
            Some(_) => return Err(BadBlock::NoObject),
        };
        match block.get("instances") {
            None | Some(Value::Null) => Ok(Some(&[])),
            Some(Value::Array(instances)) => Ok(Some(instances)),
            Some(_) => Err(BadBlock::NoList),
        }
    }

    /// Overrides the list. Members that are not known, of the block and of an instance that was there before, are kept.
    pub fn set_plugins(&mut self, instances: &[Instance]) {
        let before: Vec<Value> = self.plugins().ok().flatten().unwrap_or_default().to_vec();
        let with_unknown = |instance: &Instance| {
            let mut members = before.iter().filter_map(Value::as_object);
            let earlier = members.find(|it| it.get("id").and_then(Value::as_str) == Some(&instance.id));
            let mut shown = json!(instance.shown());
            if let (Some(earlier), Value::Object(shown)) = (earlier, &mut shown) {
                for (name, value) in earlier {
                    shown.entry(name).or_insert_with(|| value.clone());
                }
            }
            shown
        };
        let list: Vec<Value> = instances.iter().map(with_unknown).collect();
        let block = self.0.entry("plugins").or_insert_with(|| Value::Object(Map::new()));
        if !block.is_object() {
            *block = Value::Object(Map::new());
        }
        block["instances"] = list.into();
    }

    /// Takes the block away; `false` if there was none.
    pub fn remove_plugins(&mut self) -> bool {
        self.0.remove("plugins").is_some()
    }
}

/// Where an instance of the list stands in the file's text.
pub fn place_of_instance(text: &[u8], index: usize) -> Option<Place> {
    #[derive(Deserialize)]
    struct File<'t> {
        #[serde(borrow)]
        plugins: Block<'t>,
    }
    #[derive(Deserialize)]
    struct Block<'t> {
        #[serde(borrow)]
        instances: Vec<&'t RawValue>,
    }
    let text = std::str::from_utf8(text).ok()?;
    let file: File<'_> = serde_json::from_str(text).ok()?;
    let instance = file.plugins.instances.get(index)?.get();
    let before = text.get(..(instance.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Some(Place { line: before.matches('\n').count() + 1, column: before.len() - line_start + 1 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn overrides(text: &str) -> Overrides {
        Overrides::parse(Path::new("x"), text.as_bytes()).unwrap()
    }

    #[test]
    fn a_list_is_overridden_by_the_presence_of_its_block() {
        let plugins = |text| overrides(text).plugins().map(|it| it.map(<[Value]>::len));
        assert_eq!((plugins("{}"), plugins(r#"{"plugins":null}"#)), (Ok(None), Ok(None)));
        for text in [r#"{"plugins":{}}"#, r#"{"plugins":{"instances":null}}"#, r#"{"plugins":{"instances":[]}}"#] {
            assert_eq!(plugins(text), Ok(Some(0)), "{text}");
        }
        assert_eq!(plugins(r#"{"plugins":[]}"#), Err(BadBlock::NoObject));
        assert_eq!(plugins(r#"{"plugins":{"instances":{}}}"#), Err(BadBlock::NoList));
    }

    #[test]
    fn what_is_not_known_is_kept_and_the_rest_of_the_file_too() {
        let mut some = overrides(
            r#"{"media":{"later":1},"plugins":{"note":"mine","instances":[{"type":"text-append","id":"a","owner":"me","config":{"x":1}},{"type":"text-append","id":"b"}]}}"#,
        );
        let list = [json!({"type": "text-append", "id": "a", "enabled": true})];
        let (instances, bad) = Instance::read_list(&list);
        assert_eq!(bad, []);
        some.set_plugins(&instances);
        let expected = json!({"media": {"later": 1}, "plugins": {"note": "mine", "instances": [
            {"type": "text-append", "id": "a", "enabled": true, "config": {}, "owner": "me"}]}});
        assert_eq!(Value::Object(some.0.clone()), expected);
        assert!(some.remove_plugins() && !some.remove_plugins());
        assert_eq!(Value::Object(some.0), json!({"media": {"later": 1}}));
    }

    #[test]
    fn an_instance_is_found_in_the_text() {
        let text = b"{\n \"plugins\": {\"instances\": [{},\n   {\"id\": 1}\n]}}";
        assert_eq!(place_of_instance(text, 0), Some(Place { line: 2, column: 28 }));
        assert_eq!(place_of_instance(text, 1), Some(Place { line: 3, column: 4 }));
        assert_eq!(place_of_instance(text, 2), None);
        assert_eq!(place_of_instance(b"{", 0), None);
    }
}
