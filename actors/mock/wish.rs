//! How a caller wants the mock to behave: the wishes in headers, query and model name.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};

use super::coding::Coding;

/// The most text an answer is padded to, in bytes.
const MAX_SIZE: usize = 64 << 20;

/// The pause of the fault `slow`.
const SLOW: Duration = Duration::from_millis(250);

/// One way to misbehave; the module documentation says what each does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Error(StatusCode),
    ErrorMidStream,
    CutMidStream,
    CloseMidStream,
    Stall,
    Slow,
    NoTerminator,
    EarlyAnswer,
    OneChunk,
    BareEvents,
    JsonForStream,
    Stream500,
}

impl Fault {
    /// The fault of this name; `None` for any other text, as model names mostly are.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "error-mid-stream" => Self::ErrorMidStream,
            "cut-mid-stream" => Self::CutMidStream,
            "close-mid-stream" => Self::CloseMidStream,
            "stall" => Self::Stall,
            "slow" => Self::Slow,
            "no-terminator" => Self::NoTerminator,
            "early-answer" => Self::EarlyAnswer,
            "one-chunk" => Self::OneChunk,
            "bare-events" => Self::BareEvents,
            "json-for-stream" => Self::JsonForStream,
            "stream-500" => Self::Stream500,
            _ => {
                let status = name.strip_prefix("error-")?.parse::<u16>().ok()?;
                let status = StatusCode::from_u16(status).ok()?;
                return (400..=599).contains(&status.as_u16()).then_some(Self::Error(status));
            }
        })
    }
}

/// Everything a caller may wish for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) fault: Option<Fault>,
    pub(super) coding: Option<Coding>,
    /// Bytes of text that the answer shall at least have.
    pub(super) size: usize,
    /// The pause asked for; `None` leaves the server's own pace.
    pub(super) delay: Option<Duration>,
}

impl Wish {
    /// Reads the wishes in the request's head. What cannot be understood is not wished for.
    pub(super) fn read(headers: &HeaderMap, query: &str) -> Self {
        let told = |name: &str| wish_text(headers, query, name);
        let mut wish = Self {
            fault: told("mock-fault").and_then(Fault::named),
            coding: told("mock-encoding").and_then(Coding::named),
            size: told("mock-size").and_then(|size| size.parse().ok()).unwrap_or(0).min(MAX_SIZE),
            delay: told("mock-delay-ms").and_then(|pause| pause.parse().ok()).map(Duration::from_millis),
        };
        wish.slow_down();
        wish
    }

    /// Takes the model's name for a fault, if it is one and no other was wished for.
    pub(super) fn heed_model(&mut self, model: &str) {
        self.fault = self.fault.or_else(|| Fault::named(model));
        self.slow_down();
    }

    fn slow_down(&mut self) {
        if self.fault == Some(Fault::Slow) {
            self.delay.get_or_insert(SLOW);
        }
    }
}

fn wish_text<'a>(headers: &'a HeaderMap, query: &'a str, name: &str) -> Option<&'a str> {
    if let Some(value) = headers.get(format!("x-{name}")) {
        return value.to_str().ok();
    }
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_stands_above_the_query_and_the_model() {
        let mut headers = HeaderMap::new();
        headers.insert("x-mock-fault", "stall".parse().unwrap());
        let mut wish = Wish::read(&headers, "mock-fault=slow&mock-size=12&mock-delay-ms=7&mock-encoding=br");
        wish.heed_model("error-500");
        assert_eq!(wish.fault, Some(Fault::Stall));
        assert_eq!(wish.size, 12);
        assert_eq!(wish.delay, Some(Duration::from_millis(7)));
        assert_eq!(wish.coding, Some(Coding::Br));
    }

    #[test]
    fn a_model_that_names_a_fault_is_that_fault() {
        let mut wish = Wish::read(&HeaderMap::new(), "");
        wish.heed_model("error-529");
        assert_eq!(wish.fault, Some(Fault::Error(StatusCode::from_u16(529).unwrap())));
        for name in ["mock", "error-200", "error-", "error-6000"] {
            assert_eq!(Fault::named(name), None, "{name}");
        }
    }

    #[test]
    fn an_answer_is_never_padded_beyond_its_bound() {
        assert_eq!(Wish::read(&HeaderMap::new(), "mock-size=99999999999").size, MAX_SIZE);
    }
}
