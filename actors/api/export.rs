//! `/api/export`: many traces in one answer, made on a thread of their own as fast as the caller takes them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api_log::described::{self, Param};
use api_log::export::profile::{Hidden, Profiles};
use api_log::export::{self, Chosen, ExportError, Format, Request};
use api_log::ids::UnixMillis;
use api_log::index::filter::Filter;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::work::Work;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use schemars::{Schema, json_schema};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::State as Api;
use super::endpoint::{Output, Reply, Schemas};
use super::errors::Problem;
use super::params::{FromQuery, Params, Query};
use super::streams::{self, Holding};

/// Exports at once: each has a thread, a connection to the index, and a snapshot of it.
pub(super) const AT_ONCE: usize = 4;
/// Without `all=1` no more traces are given.
const MOST_TRACES: u64 = 50_000;
/// Without `bytes_all=1` no more bytes of files are read, unless `api.export_byte_hardcap` says otherwise.
const MOST_BYTES: u64 = 2 << 30;
/// Bytes gathered before they are handed over, and so many hand-overs may wait for the caller.
const CHUNK: usize = 256 * 1024;
const CHUNKS_WAITING: usize = 4;
/// A caller that takes nothing for so long has left: meanwhile the index's journal cannot be cut back.
const STALL: Duration = Duration::from_secs(60);

/// So long what was handed over has to go out before an answer is broken off.
const FLUSH: Duration = Duration::from_millis(100);

/// What was asked for.
pub(crate) struct Asked {
    filter: Filter,
    format: Format,
    /// No cap in number.
    all: bool,
    /// No cap in bytes.
    bytes_all: bool,
    /// The profile of what is hidden.
    hidden: Option<Hidden>,
}

/// The parameters beside the filters.
const PARAMS: &[Param] = &[
    Param::new("all", described::switch, "More than 50,000 traces too."),
    Param::new("bytes_all", described::switch, "However many bytes the files of these traces have."),
    Param::new("format", || described::one_of(Format::ALL.map(Format::extension)), "In which form; `zip` if not said."),
    Param::new("redact", described::text, "What is hidden: `credentials`, or a profile of `api.redact_profiles`."),
    // The viewer sends the list's along.
    Param::new("limit", described::text, "Of no meaning here."),
    Param::new("cursor", described::text, "Of no meaning here."),
];

impl FromQuery for Asked {
    fn params() -> Vec<Param> {
        [Filter::PARAMS, PARAMS].concat()
    }

    fn read(params: &Params, api: &Api) -> Result<Asked, Problem> {
        Asked::parse(params, &api.parts.redact_profiles, &api.tokens.secret())
    }
}

/// Traces on their way to their caller.
pub(crate) struct Package(Response);

impl IntoResponse for Package {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Package {
    fn replies(_: &mut Schemas) -> Vec<Reply> {
        let har = json_schema!({"type": "object", "description": "HAR 1.2.", "required": ["log"]});
        let reply = Format::ALL.into_iter().fold(
            Reply::new(200, "The traces. Broken off without its end if something fails on the way."),
            |reply, format| {
                let schema = match format {
                    // Any bytes.
                    Format::Zip => Schema::default(),
                    Format::Jsonl => described::text(),
                    Format::Har => har.clone(),
                };
                reply.of(format.media_type(), schema)
            },
        );
        let left_out = "Traces that match and are left out, for their files are gone.";
        let reply = reply
            .with(Param::new("content-disposition", described::text, "A name for the file."))
            .with(Param::new("x-api-log-left-out", described::count, left_out));
        vec![reply]
    }
}

impl Asked {
    fn parse(params: &Params, profiles: &Profiles, secret: &str) -> Result<Asked, Problem> {
        let own: Vec<&str> = PARAMS.iter().map(|it| it.name).collect();
        let filter = Filter::parse(params.pairs(), &own)?;
        let mut asked = Asked { filter, format: Format::Zip, all: false, bytes_all: false, hidden: None };
        for (name, value) in params.first_of_each() {
            let switch = || match value {
                "1" | "true" => Ok(true),
                "0" | "false" => Ok(false),
                _ => Err(Problem::bad_param(name, "must be 1 or 0")),
            };
            match name {
                "all" => asked.all = switch()?,
                "bytes_all" => asked.bytes_all = switch()?,
                "format" => {
                    let format = Format::named(value);
                    asked.format = format
                        .ok_or_else(|| Problem::bad_param(name, &format!("must be one of {}", Format::names())))?;
                }
                "redact" => {
                    let redaction = profiles.get(value);
                    let redaction = redaction.ok_or_else(|| {
                        Problem::bad_param(name, "must be credentials, or a profile of api.redact_profiles")
                    })?;
                    // With the token the placeholders change too.
                    asked.hidden =
                        Some(Hidden { profile: value.to_owned(), redaction, secret: format!("export {secret}") });
                }
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The most bytes of files that an export reads; `None` for any number. From `api.export_byte_hardcap`.
pub(crate) fn byte_cap(configured: i64) -> Option<u64> {
    match configured {
        0 => Some(MOST_BYTES),
        cap => u64::try_from(cap).ok(),
    }
}

/// From the thread that makes it.
enum Told {
    /// It is allowed, and the first of it follows; so many of the chosen traces stand in files that are gone and are left out.
    Begins { left_out: u64 },
    /// It is not given. Nothing was sent before.
    Refused(Problem),
    /// More of it.
    Bytes(Bytes),
    /// All of it was sent.
    Whole,
}

/// `GET /api/export`.
pub(crate) async fn export(State(api): State<Arc<Api>>, Query(asked): Query<Asked>) -> Result<Package, Problem> {
    let place = api.exports.try_take(0).ok_or_else(Problem::busy)?;
    let (tell, mut told) = mpsc::channel(CHUNKS_WAITING);
    let format = asked.format;
    let order = Arc::new(Order::default());
    let maker = Maker {
        asked,
        layout: api.parts.layout.clone(),
        leases: api.parts.leases.clone(),
        byte_cap: api.parts.export_byte_cap,
        order: order.clone(),
        tell,
    };
    // Dropped with the answer, whether it was sent whole or the caller left.
    let held = (CallOff(order), place);
    tokio::task::spawn_blocking(move || maker.run());
    let left_out = match told.recv().await {
        Some(Told::Begins { left_out }) => left_out,
        Some(Told::Refused(problem)) => return Err(problem),
        Some(Told::Bytes(_) | Told::Whole) | None => return Err(failed("the export ended before it began")),
    };
    let body = futures_util::stream::unfold(Some(told), |told| async move {
        let mut told = told?;
        match told.recv().await {
            Some(Told::Bytes(bytes)) => Some((Ok(bytes), Some(told))),
            Some(Told::Whole) => None,
            // Broken off without its end, so that nobody takes it for whole; but what there is goes out first.
            _ => {
                tokio::time::sleep(FLUSH).await;
                Some((Err(io::Error::other("the export failed")), None))
            }
        }
    });
    let body = streams::until_the_end(&api, Holding::body(Body::from_stream(body), held));
    let name = export::export_name(UnixMillis::now(), format);
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut answer = (headers, body).into_response();
    if left_out > 0 {
        answer.headers_mut().insert(HeaderName::from_static("x-api-log-left-out"), HeaderValue::from(left_out));
    }
    Ok(Package(answer))
}

/// How an export is called off from outside.
#[derive(Default)]
struct Order {
    work: Work,
    interrupt: Mutex<Option<Box<dyn Fn() + Send>>>,
}

/// Calls an export off when it is dropped.
struct CallOff(Arc<Order>);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.work.cancel();
        if let Some(interrupt) = &*self.0.interrupt.lock() {
            interrupt();
        }
    }
}

/// Makes an export, on a thread where it may wait.
struct Maker {
    asked: Asked,
    layout: Layout,
    leases: Leases,
    byte_cap: Option<u64>,
    order: Arc<Order>,
    tell: mpsc::Sender<Told>,
}

impl Maker {
    fn run(self) {
        let has_begun = AtomicBool::new(false);
        let outcome = self.make(&has_begun);
        let last = match outcome {
            Ok(None) => Told::Whole,
            Ok(Some(refusal)) => Told::Refused(refusal),
            Err(ExportError::Interim) => Told::Refused(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "index_rebuilding",
                "the index does not hold all traces yet; see GET /api/index",
            )),
            // Nobody is there to be told.
            Err(_) if self.order.work.check().is_err() => return,
            Err(error) => {
                tracing::error!(%error, "an export failed");
                if has_begun.load(Ordering::Relaxed) {
                    return;
                }
                Told::Refused(failed("the traces cannot be read; the recorder's log says why"))
            }
        };
        drop(send(&self.tell, last));
    }

    /// A refusal, or `None` for one that was sent whole.
    fn make(&self, has_begun: &AtomicBool) -> Result<Option<Problem>, ExportError> {
        let index = match export::open_index(&self.layout) {
            // Recorded is nothing yet, or the index is just being made.
            Err(ExportError::NoIndex(_)) => return Ok(Some(failed("there is no index yet"))),
            opened => opened?,
        };
        *self.order.interrupt.lock() = Some(Box::new(export::interrupt(&index)));
        self.order.work.check()?;
        let Asked { filter, format, .. } = &self.asked;
        let cap = (!self.asked.all).then_some(MOST_TRACES);
        let mut chosen = Chosen::of(&self.layout, &index, filter, cap)?;
        if chosen.is_limited() {
            return Ok(Some(too_many()));
        }
        let bytes = chosen.source_bytes();
        if let Some(cap) = self.byte_cap.filter(|cap| bytes > *cap && !self.asked.bytes_all) {
            return Ok(Some(too_large(bytes, cap)));
        }
        // The other forms say so themselves.
        let left_out = if *format == Format::Jsonl { chosen.leave_out_gone() } else { 0 };
        let request = Request {
            filter: filter.clone(),
            limit: None,
            leases: Some(self.leases.clone()),
            hidden: self.asked.hidden.clone(),
        };
        let mut out = Chunks { tell: &self.tell, gathered: Vec::with_capacity(CHUNK), left_out, has_begun };
        let report = chosen.write(*format, &request, &mut out, &self.order.work)?;
        out.begin()?;
        out.flush()?;
        if !report.skipped.is_empty() {
            tracing::warn!(skipped = report.skipped.traces, "an export lacks traces whose files are gone or damaged");
        }
        Ok(None)
    }
}

/// Hands over what is written to it.
struct Chunks<'t> {
    tell: &'t mpsc::Sender<Told>,
    gathered: Vec<u8>,
    left_out: u64,
    /// Nothing was handed over before: until then a failure can still be told with a status.
    has_begun: &'t AtomicBool,
}

impl Chunks<'_> {
    fn begin(&self) -> io::Result<()> {
        if self.has_begun.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        send(self.tell, Told::Begins { left_out: self.left_out })
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let full = std::mem::replace(&mut self.gathered, Vec::with_capacity(CHUNK));
        send(self.tell, Told::Bytes(full.into()))
    }
}

/// Waits for the caller to make room.
fn send(tell: &mpsc::Sender<Told>, told: Told) -> io::Result<()> {
    use mpsc::error::SendTimeoutError::{Closed, Timeout};
    match Handle::current().block_on(tell.send_timeout(told, STALL)) {
        Ok(()) => Ok(()),
        Err(Timeout(_)) => Err(io::Error::new(io::ErrorKind::TimedOut, "the caller takes nothing")),
        Err(Closed(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the caller has left")),
    }
}

fn failed(detail: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "export_failed", detail).with("detail", detail)
}

fn too_many() -> Problem {
    let hint = "narrow the filters, or ask for all of them with all=1";
    too_large_for(format!("more than {MOST_TRACES} traces match: {hint}"))
        .with("matched", format!(">{MOST_TRACES}"))
        .with("cap", MOST_TRACES.to_string())
        .with("hint", hint)
}

fn too_large(bytes: u64, cap: u64) -> Problem {
    let hint = "narrow the filters, ask for all of it with bytes_all=1, or raise api.export_byte_hardcap";
    too_large_for(format!("the files that hold these traces have {bytes} bytes, more than {cap}: {hint}"))
        .with("limit", "bytes")
        .with("matched_bytes", bytes.to_string())
        .with("cap_bytes", cap.to_string())
        .with("hint", hint)
        .with("note", "whole files are counted, as they stand on disk, even if few of their lines match")
}

fn too_large_for(message: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "export_too_large", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_cap_is_the_built_in_one_a_configured_one_or_none() {
        assert_eq!([0, 5, -1].map(byte_cap), [Some(MOST_BYTES), Some(5), None]);
    }

    #[test]
    fn parameters_are_read_and_refused_by_name() {
        let asked = |query: &str| Asked::parse(&Params::of(Some(query)), &Profiles::new(), "s");
        let read = asked("limit=any&cursor=any&all=1&bytes_all=true&format=har&model=m").unwrap();
        assert!(read.all && read.bytes_all && read.format == Format::Har && read.filter.model.is_some());
        assert_eq!(asked("").unwrap().format, Format::Zip);
        assert_eq!(asked("redact=credentials").unwrap().hidden.unwrap().profile, "credentials");
        for bad in ["redact=other", "all=yes", "bytes_all=2", "format=tar", "status=3xx", "everything=1"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
