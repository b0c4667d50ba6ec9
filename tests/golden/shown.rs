//! A line and its row as a person reads them: each member on a line of its own, its JSON verbatim.

use std::fmt::{self, Write};

use api_log::trace::{Row, Usage};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members in their order, each with its verbatim text.
pub(crate) struct Members(pub(crate) Vec<(String, Box<RawValue>)>);

impl Members {
    /// Of an object's text.
    pub(crate) fn of(json: &str) -> Members {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    /// The text of the member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it == name).map(|(_, value)| value.get())
    }

    /// The object again, with no white space between its members.
    fn together(&self) -> String {
        let members: Vec<String> = self.0.iter().map(|(name, value)| format!("\"{name}\":{}", value.get())).collect();
        format!("{{{}}}", members.join(","))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// The line. Nothing of it is lost: put together again, the shown members are the line.
pub(crate) fn line(line: &str) -> String {
    let mut shown = String::new();
    let members = Members::of(line);
    assert_eq!(members.together(), line, "a line has no white space between its members");
    for (name, value) in &members.0 {
        if !matches!(name.as_str(), "req" | "resp") {
            writeln!(shown, "{name}: {value}").unwrap();
            continue;
        }
        writeln!(shown, "{name}:").unwrap();
        let side = Members::of(value.get());
        assert_eq!(side.together(), value.get());
        for (name, value) in &side.0 {
            match name.as_str() {
                "events" => {
                    writeln!(shown, "  events:").unwrap();
                    let events: Vec<Box<RawValue>> = serde_json::from_str(value.get()).unwrap();
                    events.iter().for_each(|event| writeln!(shown, "    {event}").unwrap());
                }
                _ => writeln!(shown, "  {name}: {value}").unwrap(),
            }
        }
    }
    shown
}

/// The row. What it does not know is told in one line.
pub(crate) fn row(row: &Row) -> String {
    // Named one by one, so that nothing new in a row goes unseen.
    let Row {
        id,
        ts_start,
        ts_end,
        client,
        method,
        path,
        upstream,
        status,
        end,
        disconnected,
        truncated_req,
        truncated_resp,
        protocol,
        model,
        stream,
        usage: Usage { prompt, completion, total, cached, cache_creation, reasoning },
        finish_reason,
        error_type,
        key,
        conversation,
        client_kind,
        client_version,
        client_project,
        media_count,
        ttfb_ms,
        first_event_ms,
        req_bytes,
        resp_bytes,
        tags,
        // Made when it is asked for.
        texts: _,
    } = row;
    let mut shown = Shown::default();
    shown.known("id", id);
    shown.known("ts_start", ts_start);
    shown.known("ts_end", ts_end);
    shown.known("client", client);
    shown.known("method", method);
    shown.known("path", path);
    shown.known("upstream", upstream);
    shown.known("status", status);
    shown.known("end", end.name());
    shown.known("disconnected", disconnected);
    shown.known("truncated", format_args!("{truncated_req} {truncated_resp}"));
    shown.known("protocol", protocol.name());
    shown.maybe("model", model);
    shown.maybe("stream", stream);
    shown.maybe("prompt_tokens", prompt);
    shown.maybe("completion_tokens", completion);
    shown.maybe("total_tokens", total);
    shown.maybe("cached_tokens", cached);
    shown.maybe("cache_creation_tokens", cache_creation);
    shown.maybe("reasoning_tokens", reasoning);
    shown.maybe("finish_reason", finish_reason);
    shown.maybe("error_type", error_type);
    shown.known("key_hash", key);
    let turns = conversation.prefixes.len();
    shown.known("turns", format_args!("{turns}, answered {}", conversation.answer.is_some()));
    shown.maybe("client_kind", client_kind);
    shown.maybe("client_version", client_version);
    shown.maybe("client_project", client_project);
    shown.known("media_count", media_count);
    shown.maybe("ttfb_ms", ttfb_ms);
    shown.maybe("first_event_ms", first_event_ms);
    shown.maybe("req_bytes", req_bytes);
    shown.maybe("resp_bytes", resp_bytes);
    shown.known("tags", tags.join(", "));
    shown.text + "unknown: " + &shown.unknown.join(", ") + "\n"
}

#[derive(Default)]
struct Shown {
    text: String,
    unknown: Vec<&'static str>,
}

impl Shown {
    fn known(&mut self, name: &str, value: impl fmt::Display) {
        writeln!(self.text, "{}", format!("{name}: {value}").trim_end()).unwrap();
    }

    fn maybe(&mut self, name: &'static str, value: &Option<impl fmt::Display>) {
        match value {
            Some(value) => self.known(name, value),
            None => self.unknown.push(name),
        }
    }
}
