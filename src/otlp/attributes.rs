//! A span's attributes, put together one by one. What is unknown is left out.

use super::proto::{AnyValue, KeyValue, List, Value};

/// The attributes gathered so far.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, key: &str, text: impl Into<String>) {
        self.add(key, Value::Text(text.into()));
    }

    pub(super) fn text_if(&mut self, key: &str, text: Option<impl Into<String>>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    pub(super) fn number(&mut self, key: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.add(key, Value::Number(number));
        }
    }

    pub(super) fn count(&mut self, key: &str, count: Option<u64>) {
        self.number(key, count.map(|it| i64::try_from(it).unwrap_or(i64::MAX)));
    }

    pub(super) fn real(&mut self, key: &str, number: Option<f64>) {
        if let Some(number) = number.filter(|it| it.is_finite()) {
            self.add(key, Value::Real(number));
        }
    }

    /// Only if it is so.
    pub(super) fn flag(&mut self, key: &str, is_so: bool) {
        if is_so {
            self.add(key, Value::Flag(true));
        }
    }

    /// Only if there are any.
    pub(super) fn texts(&mut self, key: &str, texts: impl IntoIterator<Item = String>) {
        let values: Vec<AnyValue> = texts.into_iter().map(|it| AnyValue { value: Some(Value::Text(it)) }).collect();
        if !values.is_empty() {
            self.add(key, Value::List(List { values }));
        }
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
    }
}
