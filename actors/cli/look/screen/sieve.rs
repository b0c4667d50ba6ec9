//! The filter that is typed: `name=value` words are the API's filters, all others are looked for in what a line shows.

use api_log::index::filter::Filter;
use api_log::index::query::TraceRow;

use super::model::Inflight;

/// What a filter lets through.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    /// As it was typed.
    pub(super) text: String,
    filter: Option<Filter>,
    /// In small letters; all must be found.
    words: Vec<String>,
}

impl Sieve {
    pub(super) fn parse(text: &str) -> Result<Sieve, String> {
        let (pairs, words): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|it| it.contains('='));
        let pairs: Vec<(&str, &str)> = pairs.iter().filter_map(|it| it.split_once('=')).collect();
        let filter = match pairs[..] {
            [] => None,
            _ => Some(Filter::parse(pairs.iter().copied(), &[]).map_err(|error| error.to_string())?),
        };
        Ok(Sieve { text: text.trim().to_owned(), filter, words: words.iter().map(|it| it.to_lowercase()).collect() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn passes(&self, row: &TraceRow) -> bool {
        let shown = [
            Some(row.id.as_str()),
            Some(&row.path),
            row.model.as_deref(),
            Some(&row.client),
            row.client_kind.as_deref(),
            Some(&row.key_hash),
            Some(&row.end),
            row.error_type.as_deref(),
        ];
        self.filter.as_ref().is_none_or(|it| it.passes(row)) && self.finds(&shown)
    }

    /// Of what is under way only words are asked: the API's filters are about traces.
    pub(super) fn passes_inflight(&self, it: &Inflight) -> bool {
        self.finds(&[Some(&it.id), Some(&it.path), Some(&it.protocol), Some(&it.key_hash)])
    }

    fn finds(&self, shown: &[Option<&str>]) -> bool {
        let has = |word: &String| shown.iter().flatten().any(|it| it.to_lowercase().contains(word));
        self.words.iter().all(has)
    }
}
