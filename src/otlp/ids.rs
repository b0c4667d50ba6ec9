//! A span's ids: made of the trace's own, or below the caller's span where the request tells of one.

use super::proto::{HAS_IS_REMOTE, IS_REMOTE};
use crate::headers::Headers;
use crate::ids::TraceId;

/// The longest `tracestate` that is passed on; vendors must keep 512 characters (W3C Trace Context, 3.3.1.5).
const MOST_STATE: usize = 512;
/// The flag of a sampled trace, which every exported one is.
const SAMPLED: u32 = 1;

/// Where a span stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    /// The caller's span.
    pub(super) parent: Option<[u8; 8]>,
    /// The caller's `tracestate`, `""` for none.
    pub(super) state: String,
    pub(super) flags: u32,
}

impl Context {
    /// The context of a trace. Without a parent its 16 bytes are the trace's id too; its span's are always the last 8,
    /// which look random and are no other trace's of the same millisecond.
    pub(super) fn of(id: TraceId, request: &Headers) -> Context {
        let bytes = id.to_bytes();
        let [.., a, b, c, d, e, f, g, h] = bytes;
        let span_id = match [a, b, c, d, e, f, g, h] {
            // What no span may have.
            [0, 0, 0, 0, 0, 0, 0, 0] => [0, 0, 0, 0, 0, 0, 0, 1],
            last => last,
        };
        match request.get_str("traceparent").and_then(parent) {
            Some((trace_id, parent, flags)) => Context {
                trace_id,
                span_id,
                parent: Some(parent),
                state: request.get_str("tracestate").filter(|it| it.len() <= MOST_STATE).unwrap_or_default().to_owned(),
                flags: flags | SAMPLED | HAS_IS_REMOTE | IS_REMOTE,
            },
            None => {
                Context { trace_id: bytes, span_id, parent: None, state: String::new(), flags: SAMPLED | HAS_IS_REMOTE }
            }
        }
    }
}

/// Trace, span and flags of a `traceparent` (W3C Trace Context, 3.2). Of a later version the fields that this one has.
fn parent(text: &str) -> Option<([u8; 16], [u8; 8], u32)> {
    let text = text.trim();
    let mut fields = text.splitn(5, '-');
    let [version] = hex(fields.next()?)?;
    let trace_id: [u8; 16] = hex(fields.next()?)?;
    let span_id: [u8; 8] = hex(fields.next()?)?;
    let [flags] = hex(fields.next()?)?;
    let more = fields.next();
    let is_known = version != 0xff && (version != 0 || more.is_none());
    let is_valid = trace_id.iter().any(|it| *it != 0) && span_id.iter().any(|it| *it != 0);
    (is_known && is_valid).then_some((trace_id, span_id, flags.into()))
}

/// So many bytes in lower-case hex, and nothing else.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |it: u8| match it {
        b'0'..=b'9' => Some(it - b'0'),
        b'a'..=b'f' => Some(it - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    fn of(fields: &[(&str, &str)]) -> Context {
        let id = TraceId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        Context::of(id, &fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect())
    }

    #[test]
    fn a_trace_alone_has_its_own_ids_and_always_the_same() {
        let context = of(&[]);
        assert_eq!(context.trace_id, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(context.span_id, [9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!((context.parent, context.flags), (None, 0x101));
        assert_eq!(context, of(&[]));
        assert_eq!(Context::of(TraceId::from_bytes([0; 16]), &Headers::new()).span_id, [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_traceparent_makes_it_a_child() {
        let context = of(&[("Traceparent", PARENT), ("tracestate", "a=b")]);
        assert_eq!(context.trace_id[..2], [0x4b, 0xf9]);
        assert_eq!(context.parent, Some([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        assert_eq!((context.span_id[0], context.state.as_str(), context.flags), (9, "a=b", 0x301));
        let later = PARENT.replacen("00-", "cc-", 1) + "-more";
        assert!(of(&[("traceparent", &later)]).parent.is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(&[("traceparent", text)]).parent, None, "{text}");
        }
    }
}
