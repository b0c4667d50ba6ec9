//! What a collector makes of a request, and when it is asked again (OTLP specification, "OTLP/HTTP Response").

use std::time::Duration;

use prost::Message;

use super::proto::Response;
use crate::ids::UnixMillis;

/// The first pause between two tries; it doubles,
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that a collector may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(600);

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The collector has the spans, but for some that it will never take.
    Taken {
        /// So many.
        rejected: u64,
        /// Why, or what else it wants to be known; `""` for nothing.
        message: String,
    },
    /// It takes none now, and may later.
    Later {
        /// After so long, if it says.
        after: Option<Duration>,
    },
    /// It takes none of them, ever.
    Refused,
}

impl Verdict {
    /// What an answer says: its status, its `Retry-After` and its body.
    pub fn of(status: u16, retry_after: Option<&str>, body: &[u8]) -> Verdict {
        match status {
            200..=299 => {
                // Whoever answers in another form, or not at all, has said that all is well.
                let said = Response::decode(body).ok().and_then(|it| it.partial_success).unwrap_or_default();
                Verdict::Taken {
                    rejected: u64::try_from(said.rejected_spans).unwrap_or(0),
                    message: said.error_message,
                }
            }
            429 | 502 | 503 | 504 => Verdict::Later { after: retry_after.and_then(|it| wish(it, UnixMillis::now())) },
            _ => Verdict::Refused,
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn wish(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    let after = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let moment = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_millisecond();
            Duration::from_millis(u64::try_from(moment.saturating_sub(now.0)).unwrap_or(0))
        }
    };
    Some(after.min(LONGEST_WISH))
}

/// How long to wait before the next try, after so many in vain; `chance` is from 0 to 1, so that recorders that failed
/// together do not come back together.
pub fn pause(tries: u32, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    doubled.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::proto::PartialSuccess;
    use super::*;

    #[test]
    fn only_what_the_specification_names_is_tried_again() {
        for status in [429, 502, 503, 504] {
            assert_eq!(Verdict::of(status, None, b""), Verdict::Later { after: None });
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert_eq!(Verdict::of(status, Some("1"), b""), Verdict::Refused, "{status}");
        }
        let after = Some(Duration::from_secs(7));
        assert_eq!(Verdict::of(503, Some(" 7 "), b""), Verdict::Later { after });
    }

    #[test]
    fn what_was_rejected_is_told() {
        let taken = |rejected, message: &str| Verdict::Taken { rejected, message: message.to_owned() };
        assert_eq!(Verdict::of(200, None, b""), taken(0, ""));
        assert_eq!(Verdict::of(202, None, b"{\"partialSuccess\":{}}"), taken(0, ""));
        let partial = |rejected_spans| {
            let said = PartialSuccess { rejected_spans, error_message: "odd".to_owned() };
            Response { partial_success: Some(said) }.encode_to_vec()
        };
        assert_eq!(Verdict::of(200, None, &partial(3)), taken(3, "odd"));
        assert_eq!(Verdict::of(200, None, &partial(-3)), taken(0, "odd"));
    }

    #[test]
    fn a_wish_is_seconds_or_a_date_and_bounded() {
        let now: UnixMillis = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(wish("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wish("Thu, 01 Jan 2026 00:00:05 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(wish("Wed, 31 Dec 2025 00:00:05 GMT", now), Some(Duration::ZERO));
        assert_eq!(wish("99999999999", now), Some(LONGEST_WISH));
        assert_eq!(wish("soon", now), None);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        assert_eq!((pause(1, 0.5), pause(2, 0.5), pause(3, 0.5)), (FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4));
        assert_eq!(pause(u32::MAX, 0.5), LONGEST_PAUSE);
        assert!(pause(1, 0.0) < FIRST_PAUSE && FIRST_PAUSE < pause(1, 1.0));
    }
}
