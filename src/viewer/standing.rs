//! What is told of the viewer: where it comes from, or why it is not there.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::release::Release;
use super::site::Site;
use crate::ids::UnixMillis;

/// Where the viewer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ViewerSource")]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A release that had been fetched before.
    Cache,
    /// A release that was fetched in this life.
    Fetched,
    /// The operator's own folder.
    Local,
    /// It is switched off.
    Disabled,
    /// It is not there, or not yet.
    Error,
}

/// How it stands with the viewer.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Where it comes from.
    pub source: Source,
    /// What is served.
    pub site: Option<Arc<Site>>,
    /// The release that is served, or wanted.
    pub release: Option<Release>,
    /// Why it is not there.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_try: Option<UnixMillis>,
}

/// As health shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ViewerHealth")]
pub struct Report {
    /// Whether it is to be served.
    enabled: bool,
    /// Where it comes from.
    source: Source,
    /// The repository of its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<String>,
    /// Its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The digest of its archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Why it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_try: Option<String>,
    /// Where it is served.
    public_path: String,
}

impl Standing {
    /// Nothing is there, for this reason.
    pub fn without(source: Source, release: Option<Release>, error: Option<String>) -> Standing {
        Standing { source, site: None, release, error, next_try: None }
    }

    /// This is served.
    pub fn serving(source: Source, site: Site, release: Option<Release>) -> Standing {
        Standing { source, site: Some(Arc::new(site)), release, error: None, next_try: None }
    }

    /// What health shows of it; `public_path` is where it is served.
    pub fn report(&self, public_path: &str) -> Report {
        let release = self.release.clone();
        let (repo, version, sha256) = match release {
            Some(Release { repo, version, sha256 }) => (Some(repo), Some(version), Some(sha256)),
            None => (None, None, None),
        };
        Report {
            enabled: self.source != Source::Disabled,
            source: self.source,
            repo,
            version,
            sha256,
            error: self.error.clone(),
            next_try: self.next_try.map(|it| it.to_string()),
            public_path: public_path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_shows_what_there_is_and_leaves_out_what_is_not() {
        let shown = |standing: &Standing| serde_json::to_value(standing.report("/viewer")).unwrap();
        let off = Standing::without(Source::Disabled, None, None);
        assert_eq!(shown(&off), serde_json::json!({"enabled": false, "source": "disabled", "public_path": "/viewer"}));
        let release = Release { repo: "a/b".into(), version: "v1".into(), sha256: "ab".into() };
        let failed = Standing {
            next_try: Some(UnixMillis(0)),
            ..Standing::without(Source::Error, Some(release), Some("no".into()))
        };
        assert_eq!(
            shown(&failed),
            serde_json::json!({"enabled": true, "source": "error", "repo": "a/b", "version": "v1", "sha256": "ab",
                "error": "no", "next_try": "1970-01-01T00:00:00.000Z", "public_path": "/viewer"})
        );
    }
}
