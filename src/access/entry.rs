//! A line of the access log: one request that handed out what was recorded.

use serde::Serialize;

use crate::ids::{TraceId, UnixMillis};

/// Longest query that is kept, in bytes.
const LONGEST_QUERY: usize = 2048;

/// Who read what.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'e> {
    /// When the request came.
    pub at: UnixMillis,
    /// The token's name.
    pub token: &'e str,
    /// What the token may do.
    pub scope: &'static str,
    /// From where.
    pub client: &'e str,
    /// How.
    pub method: &'e str,
    /// What for: the route, with the names of its parts.
    pub route: &'e str,
    /// The trace that it is about, where it is about one.
    pub trace: Option<TraceId>,
    /// What was asked for, as it was spelt.
    pub query: Option<&'e str>,
    /// What it was answered with.
    pub status: u16,
    /// Bytes of the answer's body that were handed to the connection.
    pub bytes: u64,
    /// Until the end of the answer, in milliseconds.
    pub ms: u64,
    /// Whether that was the answer's own end, and not that of its connection.
    pub whole: bool,
}

impl Entry<'_> {
    /// Its line, with the line's end.
    pub fn line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'e> {
            ts: String,
            token: &'e str,
            scope: &'e str,
            client: &'e str,
            method: &'e str,
            route: &'e str,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            query: Option<&'e str>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            query_cut: bool,
            status: u16,
            bytes: u64,
            ms: u64,
            whole: bool,
        }
        let query = self.query.filter(|it| !it.is_empty());
        let kept = query.map(|it| &it[..it.floor_char_boundary(LONGEST_QUERY)]);
        let line = Line {
            ts: self.at.to_string(),
            token: self.token,
            scope: self.scope,
            client: self.client,
            method: self.method,
            route: self.route,
            trace: self.trace.map(|it| it.to_string()),
            query: kept,
            query_cut: kept.map(str::len) != query.map(str::len),
            status: self.status,
            bytes: self.bytes,
            ms: self.ms,
            whole: self.whole,
        };
        // Texts and numbers cannot fail to be written.
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_was_asked() {
        let entry = Entry {
            at: UnixMillis(0),
            token: "grafana",
            scope: "viewer",
            client: "10.0.0.1:5",
            method: "GET",
            route: "/api/traces",
            trace: None,
            query: Some("q=\"a\nb\"&status=4xx"),
            status: 200,
            bytes: 7,
            ms: 3,
            whole: true,
        };
        let line = String::from_utf8(entry.line()).unwrap();
        assert_eq!(
            line,
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"token\":\"grafana\",\"scope\":\"viewer\",\"client\":\"10.0.0.1:5\",\
             \"method\":\"GET\",\"route\":\"/api/traces\",\"query\":\"q=\\\"a\\nb\\\"&status=4xx\",\"status\":200,\
             \"bytes\":7,\"ms\":3,\"whole\":true}\n"
        );
        let long = format!("q={}", "é".repeat(LONGEST_QUERY));
        let cut: serde_json::Value = serde_json::from_slice(&Entry { query: Some(&long), ..entry }.line()).unwrap();
        assert!(cut["query"].as_str().unwrap().len() <= LONGEST_QUERY && cut["query_cut"] == true);
    }
}
