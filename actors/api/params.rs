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

    /// For routes that take none.
    pub(crate) fn expect_none(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_param(name, "unknown parameter")),
        }
    }
}
