//! Which request paths a filter means: whole paths, or everything below a prefix.

use std::fmt;

/// A filter's patterns. `/a/b` means that path, `/a/*` everything that begins with `/a/`; a `*` elsewhere is itself.
///
/// Compared with the request target without its query, case-sensitively.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPatterns {
    patterns: Vec<PathPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PathPattern {
    Whole(Box<str>),
    Prefix(Box<str>),
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Nothing but white space.
    #[error("the pattern is empty")]
    Empty,
    /// `*` alone.
    #[error("the pattern would match every path")]
    MatchesAll,
    /// It does not begin with `/`, as every path does.
    #[error("the pattern can never match, for it does not begin with '/'")]
    NoSlash,
    /// It has a `?`, which no path without its query has.
    #[error("the pattern can never match, for paths are compared without their query")]
    Query,
}

impl PathPatterns {
    /// No pattern: matches nothing.
    pub fn new() -> PathPatterns {
        PathPatterns::default()
    }

    /// Adds a pattern; white space around it is not part of it.
    ///
    /// # Errors
    /// The pattern is empty, matches every path, or can match none.
    pub fn add(&mut self, pattern: &str) -> Result<(), BadPattern> {
        let pattern = pattern.trim();
        match pattern {
            "" => return Err(BadPattern::Empty),
            "*" => return Err(BadPattern::MatchesAll),
            _ if pattern.contains('?') => return Err(BadPattern::Query),
            _ if !pattern.starts_with('/') => return Err(BadPattern::NoSlash),
            _ => {}
        }
        self.patterns.push(match pattern.strip_suffix('*') {
            Some(prefix) => PathPattern::Prefix(prefix.into()),
            None => PathPattern::Whole(pattern.into()),
        });
        Ok(())
    }

    /// Whether a pattern means this request target; its query, if any, is not looked at.
    pub fn matches(&self, target: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        self.patterns.iter().any(|pattern| match pattern {
            PathPattern::Whole(whole) => path == &**whole,
            PathPattern::Prefix(prefix) => path.starts_with(&**prefix),
        })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns as they are written, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = impl fmt::Display> {
        self.patterns.iter()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathPattern::Whole(whole) => f.write_str(whole),
            PathPattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(texts: &[&str]) -> PathPatterns {
        let mut patterns = PathPatterns::new();
        for text in texts {
            patterns.add(text).unwrap();
        }
        patterns
    }

    #[test]
    fn a_pattern_without_a_star_means_the_path_itself() {
        let patterns = patterns(&[" /v1/models "]);
        assert!(patterns.matches("/v1/models"));
        assert!(!patterns.matches("/v1/models/"));
        assert!(!patterns.matches("/v1/model"));
        assert!(!patterns.matches("/V1/models"));
    }

    #[test]
    fn a_final_star_means_everything_below() {
        let patterns = patterns(&["/health/*", "/ping*"]);
        assert!(patterns.matches("/health/"));
        assert!(patterns.matches("/health/live/x"));
        assert!(!patterns.matches("/health"));
        assert!(patterns.matches("/pingpong"));
    }

    #[test]
    fn a_star_elsewhere_is_itself() {
        let patterns = patterns(&["/a/*/b", "/c**"]);
        assert!(patterns.matches("/a/*/b"));
        assert!(!patterns.matches("/a/x/b"));
        assert!(patterns.matches("/c*d"));
        assert!(!patterns.matches("/cd"));
    }

    #[test]
    fn the_query_is_not_compared() {
        let patterns = patterns(&["/v1/models"]);
        assert!(patterns.matches("/v1/models?limit=1?x"));
        assert!(!patterns.matches("/other?/v1/models"));
    }

    #[test]
    fn no_pattern_matches_nothing() {
        assert!(!PathPatterns::new().matches("/"));
        assert!(!PathPatterns::new().matches(""));
    }

    #[test]
    fn patterns_for_all_or_nothing_are_refused() {
        for (text, why) in [
            ("", BadPattern::Empty),
            (" \t", BadPattern::Empty),
            ("*", BadPattern::MatchesAll),
            (" * ", BadPattern::MatchesAll),
            ("v1/models", BadPattern::NoSlash),
            ("/a?b=c", BadPattern::Query),
        ] {
            assert_eq!(PathPatterns::new().add(text), Err(why), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_matches_exactly_what_begins_with_it(prefix in "/[a-z*]{0,4}", target in "/[a-z*]{0,6}(\\?.*)?") {
            let path = target.split('?').next().unwrap();
            prop_assert_eq!(patterns(&[&format!("{prefix}*")]).matches(&target), path.starts_with(&prefix));
        }
    }
}
