//! Traces as HAR 1.2: an entry for each, with what the format has no member for in members that begin with `_`.

use std::borrow::Cow;
use std::io::Write;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Chosen, ExportError, Report, Request, lines};
use crate::headers::{Headers, value_text};
use crate::ids::UnixMillis;
use crate::jsonl::line::fields::{Fields, FieldsList};
use crate::replay::{DONE, Recorded};
use crate::wire::websocket::Side;
use crate::work::Work;

/// What the line does not tell.
const UNKNOWN_SIZE: i64 = -1;
/// Lines do not tell it, and the format wants one.
const HTTP_VERSION: &str = "HTTP/1.1";

/// Writes the chosen traces. What cannot be had is told in the log's comment, which stands at its end.
pub(super) fn write<W: Write>(
    chosen: &Chosen<'_>,
    request: &Request,
    mut out: W,
    work: &Work,
    report: &mut Report,
) -> Result<(), ExportError> {
    let version = env!("CARGO_PKG_VERSION");
    write!(out, r#"{{"log":{{"version":"1.2","creator":{{"name":"api-log","version":"{version}"}},"entries":["#)?;
    let mut is_first = true;
    for segment in &chosen.segments {
        if lines::lease(request, segment, report).is_err() {
            continue;
        }
        let mut odd = 0;
        let copied = lines::each(chosen.layout, &chosen.selection, segment, request, work, |line| {
            let text = String::from_utf8_lossy(line);
            match serde_json::from_str::<Line<'_>>(&text) {
                Ok(line) => {
                    out.write_all(if std::mem::replace(&mut is_first, false) { b"\n" } else { b",\n" })?;
                    serde_json::to_writer(&mut out, &line.entry()).map_err(std::io::Error::from)?;
                }
                Err(_) => odd += 1,
            }
            Ok(())
        })?;
        copied.tell(segment, report);
        if odd > 0 {
            report.skipped.traces += odd;
            report.skipped.tell(format!("{}: {odd} lines that are no traces", segment.segment));
        }
    }
    out.write_all(b"\n],\"comment\":")?;
    serde_json::to_writer(&mut out, &comment(report)).map_err(std::io::Error::from)?;
    out.write_all(b"}}\n")?;
    Ok(out.flush()?)
}

fn comment(report: &Report) -> String {
    let mut comment = format!("{} traces recorded by api-log", report.traces);
    let skipped = &report.skipped;
    if !skipped.is_empty() {
        comment.push_str("; skipped: ");
        comment.push_str(&skipped.told.join("; "));
        if skipped.untold > 0 {
            comment.push_str(&format!("; and {} more", skipped.untold));
        }
    }
    comment
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    id: Cow<'l, str>,
    #[serde(borrow)]
    ts_start: Cow<'l, str>,
    #[serde(borrow)]
    ts_end: Cow<'l, str>,
    #[serde(borrow, default)]
    client: Cow<'l, str>,
    #[serde(borrow)]
    method: Cow<'l, str>,
    #[serde(borrow)]
    path: Cow<'l, str>,
    #[serde(borrow, default)]
    upstream: Cow<'l, str>,
    status: i64,
    #[serde(borrow, default)]
    end: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    error: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    key_hash: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    protocol: Option<Cow<'l, str>>,
    #[serde(default)]
    ttfb_ms: Option<u64>,
    #[serde(borrow)]
    req: Half<'l>,
    #[serde(borrow)]
    resp: Half<'l>,
    #[serde(borrow, default)]
    ws: Option<&'l RawValue>,
}

#[derive(Deserialize)]
struct Half<'l> {
    #[serde(default)]
    headers: Fields,
    #[serde(default)]
    headers_list: Option<FieldsList>,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(borrow, default)]
    body: Option<&'l RawValue>,
    #[serde(borrow, default)]
    body_b64: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    events: Option<Vec<Recorded<'l>>>,
    #[serde(default)]
    stream_done: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'l> {
    started_date_time: &'l str,
    time: i64,
    request: Asked<'l>,
    response: Answered<'l>,
    cache: Cache,
    timings: Timings,
    #[serde(rename = "_id")]
    id: &'l str,
    #[serde(rename = "_client")]
    client: &'l str,
    #[serde(rename = "_end", skip_serializing_if = "Option::is_none")]
    end: Option<&'l str>,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    error: Option<&'l str>,
    #[serde(rename = "_key_hash", skip_serializing_if = "Option::is_none")]
    key_hash: Option<&'l str>,
    #[serde(rename = "_protocol", skip_serializing_if = "Option::is_none")]
    protocol: Option<&'l str>,
    #[serde(rename = "_ws", skip_serializing_if = "Option::is_none")]
    ws: Option<&'l RawValue>,
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Message<'l>>>,
}

#[derive(Serialize)]
struct Cache {}

#[derive(Serialize)]
struct Timings {
    send: i64,
    wait: i64,
    receive: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'l> {
    method: &'l str,
    url: String,
    http_version: &'static str,
    cookies: [(); 0],
    headers: Vec<Pair>,
    query_string: Vec<Pair>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData<'l>>,
    headers_size: i64,
    body_size: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'l> {
    status: i64,
    status_text: &'static str,
    http_version: &'static str,
    cookies: [(); 0],
    headers: Vec<Pair>,
    content: Content<'l>,
    #[serde(rename = "redirectURL")]
    redirect_url: String,
    headers_size: i64,
    body_size: i64,
}

#[derive(Serialize)]
struct Pair {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData<'l> {
    mime_type: String,
    text: Cow<'l, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'l> {
    size: i64,
    mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'l, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

/// A message of a socket, as Chromium writes it.
#[derive(Serialize)]
struct Message<'l> {
    r#type: &'static str,
    /// Seconds since 1970.
    time: f64,
    opcode: u8,
    data: &'l str,
}

impl Line<'_> {
    fn entry(&self) -> Entry<'_> {
        let moment = |text: &str| text.parse::<UnixMillis>().ok().map(|it| it.0);
        let started = moment(&self.ts_start);
        let time = started.zip(moment(&self.ts_end)).map_or(0, |(start, end)| end.saturating_sub(start).max(0));
        let wait = self.ttfb_ms.map_or(time, |it| it.min(time.cast_unsigned()).cast_signed());
        // Of a socket the events are messages, and none of them a body.
        let messages = self.ws.is_some().then(|| messages(&self.resp, started.unwrap_or(0)));
        Entry {
            started_date_time: &self.ts_start,
            time,
            request: self.asked(),
            response: self.answered(messages.is_some()),
            cache: Cache {},
            timings: Timings { send: 0, wait, receive: time - wait },
            id: &self.id,
            client: &self.client,
            end: self.end.as_deref(),
            error: self.error.as_deref(),
            key_hash: self.key_hash.as_deref(),
            protocol: self.protocol.as_deref(),
            ws: self.ws,
            messages,
        }
    }

    fn asked(&self) -> Asked<'_> {
        let headers = self.req.headers();
        let mime_type = content_type(headers);
        let post_data = match (self.req.body, &self.req.body_b64) {
            (Some(body), _) => Some(PostData { mime_type, text: Cow::Borrowed(body.get()), comment: None }),
            (None, Some(bytes)) => {
                // The format has no word for bytes here.
                Some(PostData { mime_type, text: Cow::Borrowed(&**bytes), comment: Some("the text is base64") })
            }
            (None, None) => None,
        };
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let pairs = form_urlencoded::parse(query.as_bytes());
        let separator = if self.path.starts_with('/') { "" } else { "/" };
        Asked {
            method: &self.method,
            url: format!("{}{separator}{}", self.upstream.trim_end_matches('/'), self.path),
            http_version: HTTP_VERSION,
            cookies: [],
            headers: pairs_of(headers),
            query_string: pairs
                .map(|(name, value)| Pair { name: name.into_owned(), value: value.into_owned() })
                .collect(),
            post_data,
            headers_size: UNKNOWN_SIZE,
            body_size: self.req.size(),
        }
    }

    fn answered(&self, is_socket: bool) -> Answered<'_> {
        let headers = self.resp.headers();
        let mime_type = content_type(headers);
        let (text, encoding, comment) = match (&self.resp.events, self.resp.body, &self.resp.body_b64) {
            (Some(events), ..) if !is_socket => {
                let mut text = String::new();
                events.iter().for_each(|event| event.push_frame(&mut text));
                if self.resp.stream_done == Some(true) && self.protocol.as_deref() == Some("chat") {
                    text.push_str(DONE);
                }
                (Some(Cow::Owned(text)), None, Some("written anew from the recorded events"))
            }
            (_, Some(body), _) => (Some(Cow::Borrowed(body.get())), None, None),
            (_, None, Some(bytes)) => (Some(Cow::Borrowed(&**bytes)), Some("base64"), None),
            _ => (None, None, None),
        };
        let size = match (&text, encoding) {
            (Some(text), Some(_)) => text.trim_end_matches('=').len() * 3 / 4,
            (Some(text), None) => text.len(),
            (None, _) => 0,
        };
        let location = headers.get("location").map(|it| value_text(it).into_owned());
        Answered {
            // What browsers write for no answer.
            status: self.status.max(0),
            status_text: "",
            http_version: HTTP_VERSION,
            cookies: [],
            headers: pairs_of(headers),
            content: Content { size: i64::try_from(size).unwrap_or(i64::MAX), mime_type, text, encoding, comment },
            redirect_url: location.unwrap_or_default(),
            headers_size: UNKNOWN_SIZE,
            body_size: self.resp.size(),
        }
    }
}

impl Half<'_> {
    /// The exact sequence if the line has it.
    fn headers(&self) -> &Headers {
        self.headers_list.as_ref().map_or(&self.headers.0, |list| &list.0)
    }

    fn size(&self) -> i64 {
        self.bytes.map_or(UNKNOWN_SIZE, |it| i64::try_from(it).unwrap_or(i64::MAX))
    }
}

fn messages<'l>(side: &Half<'l>, started_ms: i64) -> Vec<Message<'l>> {
    let events = side.events.iter().flatten();
    let message = |event: &Recorded<'l>| Message {
        r#type: if event.side() == Side::Client { "send" } else { "receive" },
        time: (started_ms as f64 + event.t_delta_ms.unwrap_or(0) as f64) / 1000.0,
        opcode: 1,
        data: event.data.map_or("null", RawValue::get),
    };
    events.map(message).collect()
}

fn pairs_of(headers: &Headers) -> Vec<Pair> {
    headers.iter().map(|(name, value)| Pair { name: name.to_owned(), value: value_text(value).into_owned() }).collect()
}

fn content_type(headers: &Headers) -> String {
    headers.get("content-type").map_or_else(String::new, |it| value_text(it).into_owned())
}
