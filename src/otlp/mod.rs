//! Traces as OpenTelemetry spans, for collectors that speak OTLP over HTTP.
//!
//! A span is made of its trace's line and of nothing else: whenever and however often a trace is exported, it is the same
//! span with the same ids. What follows from other lines (sessions, parents) is therefore not on it. The names of its
//! attributes are those of the semantic conventions in the version that [`SCHEMA_URL`] names; docs/otlp.md lists them.
//!
//! [`Spans`] gathers spans to a request's body, and [`answer`] reads what a collector makes of it. Sending is the program's.

pub mod answer;
mod attributes;
mod content;
mod gen_ai;
mod ids;
mod proto;
mod request;
mod span;

pub use request::Spans;

use crate::export::profile::Hidden;

/// The semantic conventions that names and values follow: the last version that holds those for generative AI beside
/// all others.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Where a collector takes traces, below its endpoint (OTLP/HTTP, "OTLP/HTTP Request").
pub const TRACES_PATH: &str = "/v1/traces";

/// What the body of a request is.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// How spans are made.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The resource's `service.name`.
    pub service_name: String,
    /// Whether spans hold what was said.
    pub with_text: bool,
    /// What is hidden before a line is looked at, if anything is.
    pub hidden: Option<Hidden>,
    /// Whether bodies of requests are compressed.
    pub gzip: bool,
}
