//! An exchange on its way to its line: its log, and how that becomes an exchange again.

use std::sync::Arc;
use std::time::Instant;

use api_log::capture::read::Told;
use api_log::counters::InFlight;
use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{KeyHash, TraceId, UnixMillis};
use api_log::plugin::note::Applied;
use api_log::plugin::set::Set;

use super::log::Log;
use super::recovered::RecoveredLog;

/// What an exchange says that has no end because its recorder had none.
const INTERRUPTED: &str = "the recorder ended before the exchange did";

/// An ended exchange as its lane leaves it, or one found after a crash: nothing parsed.
///
/// Dropped, its log is forgotten: whoever drops it has counted its outcome.
pub(crate) struct Captured {
    /// Its log.
    pub(crate) log: CapturedLog,
    /// The plugins that it began under; `None` if they ended with an earlier process.
    pub(crate) plugins: Option<Arc<Set>>,
    /// When it was handed over.
    pub(crate) handed_over: Instant,
    /// Counts it as in flight until it has an outcome.
    pub(crate) in_flight: Option<InFlight>,
}

/// The log of an exchange.
pub(crate) enum CapturedLog {
    /// Written by this process.
    Live(Arc<Log>),
    /// Left by an earlier one.
    Recovered(Box<RecoveredLog>),
}

impl Captured {
    /// Its identity.
    pub(crate) fn id(&self) -> TraceId {
        match &self.log {
            CapturedLog::Live(log) => log.id,
            CapturedLog::Recovered(log) => log.id,
        }
    }

    /// Whose it is. Reads the head only, unless that is a long one (blocking).
    pub(crate) fn key(&self) -> KeyHash {
        let head = match &self.log {
            CapturedLog::Live(log) => log.first_told(),
            CapturedLog::Recovered(log) => log.first_told(),
        };
        let head = head.map(|told| told.request_head).filter(|head| head.ends_with(b"\r\n\r\n"));
        let head = head.unwrap_or_else(|| self.told().request_head);
        let headers = Headers::parse(&head).unwrap_or_default();
        api_log::client::key_hash(&headers, &request_line(&head).1)
    }

    /// The exchange as the library knows it. Spooled bytes are read back here (blocking).
    pub(crate) fn exchange(&self) -> Exchange {
        exchange(self.told())
    }

    fn told(&self) -> Told {
        let (told, error) = match &self.log {
            CapturedLog::Live(log) => log.told(),
            CapturedLog::Recovered(log) => log.told(),
        };
        if let Some(error) = error {
            tracing::warn!(trace = %self.id(), %error, "not all of a spool can be read back; what there is is recorded");
        }
        told
    }

    /// Sees to it that the next start finds its log if this process ends without forgetting it; `false` if it cannot
    /// be had so. Writes to the spool what stands on the heap (blocking).
    pub(super) fn outlives(&self) -> bool {
        match &self.log {
            CapturedLog::Live(log) => log.outlives(),
            CapturedLog::Recovered(_) => true,
        }
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        match &self.log {
            CapturedLog::Live(log) => log.forget(),
            CapturedLog::Recovered(log) => log.forget(),
        }
    }
}

/// What a log tells as the library knows it.
pub(super) fn exchange(told: Told) -> Exchange {
    let (method, target) = request_line(&told.request_head);
    let mut request_headers = Headers::parse(&told.request_head).unwrap_or_default();
    crate::proxy::strip_recorded(&mut request_headers);
    let response_headers = told.answer.as_ref().and_then(|(_, head)| Headers::parse(head)).unwrap_or_default();
    let (end, error) = match told.ended {
        Some(ended) => (ended.end, ended.error),
        None => (End::Interrupted, Some(INTERRUPTED.into())),
    };
    Exchange {
        id: told.begin.id,
        ts_start: told.begin.ts_start,
        ts_end: UnixMillis(told.begin.ts_start.0.saturating_add((told.last_us / 1000) as i64)),
        peer: told.begin.peer,
        method,
        target,
        upstream: told.begin.upstream.into(),
        status: told.answer.as_ref().map(|(status, _)| *status),
        request_headers,
        response_headers,
        request_trailers: told.request_trailers,
        response_trailers: told.response_trailers,
        request: told.request,
        response: told.response,
        end,
        ttfb_ms: told.ttfb_ms,
        error,
        applied: Applied { notes: told.notes, ..Applied::default() },
    }
}

/// Method and target of a head. A target in absolute form is reduced to its path and query, as it was sent on.
fn request_line(head: &[u8]) -> (Box<str>, Box<str>) {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    (method.into(), origin_form(target).into())
}

/// The path and query of a target.
fn origin_form(target: &str) -> &str {
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if target.starts_with('/') || !scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it)) {
        return target;
    }
    match rest.find(['/', '?']) {
        Some(at) => &rest[at..],
        None => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_is_reduced_and_others_stay() {
        for (target, expected) in [
            ("/a//b?x=http://y", "/a//b?x=http://y"),
            ("http://h:1/a?b", "/a?b"),
            ("http://h", "/"),
            ("http://h?q", "?q"),
            ("*", "*"),
        ] {
            assert_eq!(origin_form(target), expected);
        }
    }
}
