//! `capture-filter` and `path-filter`: paths that are not recorded.

use super::super::Flaw;
use super::super::members::Members;
use super::super::path_patterns::PathPatterns;
use super::{Field, FieldType};

pub(super) const FIELDS: &[Field] = &[Field {
    name: "patterns",
    label: "Paths",
    kind: FieldType::StringArray,
    description: "/a/b is that path, /a/* everything below; compared without the query",
    required: true,
    ..Field::NONE
}];

/// The member `patterns`.
pub(super) fn read(config: &Members<'_>) -> Result<PathPatterns, Flaw> {
    config.only(&["patterns"])?;
    let mut patterns = PathPatterns::new();
    for (at, text) in config.texts("patterns")?.into_iter().enumerate() {
        patterns.add(text).map_err(|why| config.flaw(&format!("patterns[{at}]"), why.to_string()))?;
    }
    if patterns.is_empty() {
        return Err(config.flaw("patterns", "is empty"));
    }
    Ok(patterns)
}
