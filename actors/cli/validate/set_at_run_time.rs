//! `runtime_overrides.json`: whether what was set at run time can be in force.

use api_log::config::{Config, Explanation, Sources};
use api_log::store::layout::Layout;

use super::{Check, Finding, Severity};

/// Reads it as a start would.
pub(super) fn check(layout: &Layout, findings: &mut Vec<Finding>) {
    // Of a data dir that is none, that is told.
    if !layout.root().is_dir() {
        return;
    }
    let path = layout.overrides();
    let explanation = Explanation::of(&Sources::new(), &Config::default(), Some(&path));
    findings.extend(explanation.flaws.into_iter().map(|what| Finding {
        check: Check::RuntimeOverrides,
        severity: Severity::Error,
        place: path.display().to_string(),
        what,
        advice: "mend it, set it anew by the API, or delete the file; until then it is not in force, and while the file \
                 or its retention cannot be read nothing is deleted"
            .to_owned(),
    }));
}
