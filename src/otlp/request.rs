//! Spans as the body of a request.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::attributes::Attributes;
use super::proto::{Request, Resource, ResourceSpans, Scope, ScopeSpans, Span};
use super::{SCHEMA_URL, Shape, span};
use crate::jsonl::line::BadLine;

/// Spans gathered for one request.
pub struct Spans<'s> {
    shape: &'s Shape,
    spans: Vec<Span>,
    bytes: usize,
}

impl<'s> Spans<'s> {
    /// None yet; they will have this shape.
    pub fn new(shape: &'s Shape) -> Spans<'s> {
        Spans { shape, spans: Vec::new(), bytes: 0 }
    }

    /// Adds the span of a line.
    ///
    /// # Errors
    /// It is no trace's line.
    pub fn add(&mut self, line: &[u8]) -> Result<(), BadLine> {
        let span = span::of(line, self.shape)?;
        self.bytes += span.encoded_len();
        self.spans.push(span);
        Ok(())
    }

    /// How many bytes they have, or so, before they are compressed.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The request's body, compressed if the shape says so.
    pub fn into_body(self) -> Vec<u8> {
        let mut resource = Attributes::default();
        resource.text("service.name", self.shape.service_name.clone());
        resource.text("service.version", env!("CARGO_PKG_VERSION"));
        let scope = Scope { name: "api-log".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = ScopeSpans { scope: Some(scope), spans: self.spans, schema_url: SCHEMA_URL.to_owned() };
        let resource_spans = ResourceSpans {
            resource: Some(Resource { attributes: resource.0 }),
            scope_spans: vec![scope_spans],
            schema_url: SCHEMA_URL.to_owned(),
        };
        let plain = Request { resource_spans: vec![resource_spans] }.encode_to_vec();
        if !self.shape.gzip {
            return plain;
        }
        let mut packed = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        // Writing to memory does not fail.
        let _ = packed.write_all(&plain);
        packed.finish().unwrap_or_default()
    }
}
