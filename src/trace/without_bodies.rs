//! A trace whose bodies are not recorded though there was room for them in memory: why, and its line.

use super::finalize::{FinalizeSettings, Finished, raw};
use super::socket::membership;
use super::write;
use crate::client;
use crate::exchange::Exchange;
use crate::plugin::note::Applied;
use crate::socket::SocketTrace;
use crate::store::pressure::DiskTrouble;

/// Why a trace has no bodies (the line's `bodies_dropped`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodiesDropped {
    /// The disk is full, or nearly so.
    DiskFull,
    /// The disk fails.
    DiskError,
    /// The key has used up its share of the day.
    OverBudget,
}

impl BodiesDropped {
    /// Its name on the line.
    pub fn name(self) -> &'static str {
        match self {
            BodiesDropped::DiskFull => "disk_full",
            BodiesDropped::DiskError => "disk_error",
            BodiesDropped::OverBudget => "over_budget",
        }
    }
}

impl From<DiskTrouble> for BodiesDropped {
    fn from(trouble: DiskTrouble) -> BodiesDropped {
        match trouble {
            DiskTrouble::Full => BodiesDropped::DiskFull,
            DiskTrouble::Failing => BodiesDropped::DiskError,
        }
    }
}

/// The line and row of an exchange without its bodies. Both sides say how much passed, and a side that had a body is
/// marked as truncated. As [`finalize()`](super::finalize()), it never fails.
pub fn finalize_without_bodies(mut exchange: Exchange, settings: &FinalizeSettings, why: BodiesDropped) -> Finished {
    leave_out(&mut exchange);
    let client = client::address(&exchange.request_headers, exchange.peer, &settings.trusted_proxies);
    let finished = raw(&exchange, client, |line| mark(line, why));
    Finished { bodies_dropped: Some(why), ..finished }
}

/// The same of a piece of a socket: what was sent is left out, what is known about it is not.
pub fn finalize_piece_without_bodies(
    trace: &SocketTrace,
    applied: Applied,
    settings: &FinalizeSettings,
    why: BodiesDropped,
) -> Finished {
    let mut exchange = Exchange { applied, ..trace.exchange() };
    leave_out(&mut exchange);
    let client = client::address(&exchange.request_headers, exchange.peer, &settings.trusted_proxies);
    let finished = raw(&exchange, client, |line| {
        membership(line, trace);
        mark(line, why);
    });
    Finished { bodies_dropped: Some(why), ..finished }
}

fn leave_out(exchange: &mut Exchange) {
    for recording in [&mut exchange.request, &mut exchange.response] {
        recording.is_cut |= recording.wire_bytes > 0;
        recording.bytes = Vec::new();
        recording.marks = Vec::new();
    }
}

fn mark(line: &mut String, why: BodiesDropped) {
    write::string_member(line, "bodies_dropped", why.name());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::exchange::End;
    use crate::headers::Headers;
    use crate::ids::{TraceIds, UnixMillis};
    use crate::jsonl::line::read_row;
    use crate::recording::{Mark, Recording};

    fn exchange() -> Exchange {
        let fields = |list: &[(&str, &str)]| {
            let mut headers = Headers::new();
            list.iter().for_each(|(name, value)| headers.push(name, value.as_bytes()));
            headers
        };
        let body = |bytes: &[u8]| Recording {
            bytes: bytes.to_vec(),
            marks: vec![Mark { offset: 0, at_us: 7 }],
            wire_bytes: bytes.len() as u64,
            is_cut: false,
        };
        Exchange {
            id: TraceIds::new(1).next(UnixMillis(1_779_877_425_810)),
            ts_start: UnixMillis(1_779_877_425_810),
            ts_end: UnixMillis(1_779_877_425_910),
            peer: ([127, 0, 0, 1], 5000).into(),
            method: "POST".into(),
            target: "/v1/chat/completions".into(),
            upstream: "http://gateway".into(),
            status: Some(200),
            request_headers: fields(&[("Content-Type", "application/json"), ("X-Forwarded-For", "192.0.2.9")]),
            response_headers: fields(&[("content-type", "text/event-stream")]),
            request_trailers: Headers::new(),
            response_trailers: Headers::new(),
            request: body(br#"{"model":"m","stream":true}"#),
            response: body(b""),
            end: End::Complete,
            ttfb_ms: Some(3),
            error: None,
            applied: Default::default(),
        }
    }

    #[test]
    fn a_line_without_bodies_says_so_and_what_passed_and_its_row_is_that_of_the_line() {
        let settings = FinalizeSettings { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..Default::default() };
        for why in [BodiesDropped::DiskFull, BodiesDropped::DiskError, BodiesDropped::OverBudget] {
            let finished = finalize_without_bodies(exchange(), &settings, why);
            let line: Value = serde_json::from_slice(&finished.line).unwrap();
            assert_eq!(line["bodies_dropped"], why.name());
            assert_eq!((&line["truncated_req"], &line["truncated_resp"]), (&true.into(), &false.into()), "{line}");
            assert_eq!((&line["req"]["bytes"], &line["req"]["body"]), (&27.into(), &Value::Null));
            assert_eq!(line["req"].get("sha256"), None);
            assert_eq!(line["req"]["headers"]["Content-Type"], "application/json");
            assert_eq!(line["client"], "192.0.2.9");
            assert_eq!(finished.bodies_dropped, Some(why));
            assert_eq!(*finished.row, read_row(&finished.line).unwrap());
            assert!(finished.row.truncated_req && finished.row.model.is_none());
        }
    }
}
