//! A request's query parameters, decoded.

use super::errors::Problem;

/// Names and values in the order they came.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a query string (`application/x-www-form-urlencoded`).
    pub(crate) fn of(query: Option<&str>) -> Params {
        Params(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Those with a value, the first of each name.
    pub(crate) fn first_of_each(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_first = |at: usize, name: &str| !self.0[..at].iter().any(|(it, _)| it == name);
        let pairs =
            self.pairs().enumerate().filter(move |(at, (name, value))| is_first(*at, name) && !value.is_empty());
        pairs.map(|(_, pair)| pair)
    }

    /// For routes that take none.
    pub(crate) fn expect_none(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_param(name, "unknown parameter")),
        }
    }
}
