//! One exchange: a request on its way to the upstream and the answer on its way back.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use api_log::exchange::End;
use api_log::plugin::rewrite::Mutators;
use api_log::plugin::set::Set;
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, PathAndQuery};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use super::answers::Refusal;
use super::body::Source;
use super::capture::Capture;
use super::client::{Client, Open};
use super::hops::{self, Upgrade};
use super::lane::Lane;
use super::mutation;
use super::tap::{RequestBody, ResponseBody, Sent, Tapped};
use super::upgrade::{self, Copying};
use super::upstream::{Borrowed, Sending, Wants};

/// An exchange that has begun. Dropped before it was answered, it tells its capture that the client left.
struct Under {
    lane: Rc<Lane>,
    client: Arc<Client>,
    capture: Option<Arc<Capture>>,
    /// Those of the plugins that it began under which may change it.
    mutators: Option<Mutation>,
    open: Rc<Open>,
    /// The answer's body or a tunnel tells the end from now on.
    is_answered: Cell<bool>,
}

/// What mutators an exchange has, and the request's head as it came.
struct Mutation {
    mutators: Mutators,
    head: Vec<u8>,
}

impl Mutation {
    /// Nearly always there are none. Tunnels and what asks for one are never rewritten.
    fn of(plugins: &Set, request: &Request<Incoming>, head: Vec<u8>) -> Option<Mutation> {
        let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
        let mutators = Mutators::of(plugins, request.method().as_str(), target)?;
        (hops::upgrade_of(request.headers()) == Upgrade::None).then_some(Mutation { mutators, head })
    }
}

/// Forwards a request and answers with what the upstream says, or with the reason why it cannot. On a
/// connection too many the reason is that.
pub(crate) async fn forward(
    lane: Rc<Lane>,
    client: Arc<Client>,
    request: Request<Incoming>,
    is_one_too_many: bool,
) -> Response<ResponseBody> {
    let open = client.open();
    let head = request_head(&client, &request);
    let refusal = match is_one_too_many {
        true => Some((Refusal::TooManyConnections, "too many client connections")),
        false => refuse(&request, &head),
    };
    let plugins = lane.plugins(&request);
    let capture = lane.captures(&plugins).then(|| {
        let plugins = plugins.clone().unwrap_or_default();
        Capture::begin(&lane.recorder, plugins, client.peer, &head)
    });
    let mutators = plugins.and_then(|it| Mutation::of(&it, &request, head));
    let under = Under { lane, client, capture, mutators, open, is_answered: Cell::new(false) };
    match refusal {
        Some((refusal, message)) => under.refuse(refusal, End::Rejected, message),
        None => under.forward(request).await,
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        // An end told already stands.
        if let Some(capture) = &self.capture
            && !self.is_answered.get()
        {
            capture.ended(self.client.ending().unwrap_or(End::ClientGone));
        }
    }
}

impl Under {
    async fn forward(self, mut request: Request<Incoming>) -> Response<ResponseBody> {
        let upgrade = hops::upgrade_of(request.headers());
        let on_client = (upgrade == Upgrade::Tunnelled).then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        hops::strip(&mut parts.headers, upgrade);
        let Some(target) = self.lane.settings.target(&parts.uri) else {
            return self.refuse(Refusal::BadTarget, End::Rejected, "the request target is not a path");
        };
        let body = match self.rewritten(&mut parts.headers, body).await {
            Ok(body) => body,
            Err(error) => return self.broken_off(&super::reason(&error)),
        };
        let wants = if upgrade == Upgrade::Tunnelled { Wants::Http1 } else { Wants::Any };
        let mut upstream = match self.lane.pool.borrow(wants).await {
            Ok(upstream) => upstream,
            Err(error) => return self.unreachable(Refusal::Unreachable, &error.to_string()),
        };
        let (body, mut sent) = self.tapped(body);
        let outgoing = self.outgoing(&upstream, &parts, &target, body);
        let mut sending = self.send(&mut upstream, outgoing, &sent).await;
        if upstream.is_reused
            && matches!(sending, Some(Sending::Failed(_)))
            && !upstream.has_begun_to_answer()
            && let Some(body) = sent.untouched()
        {
            // The pooled connection had been closed; nothing of this request's body is lost yet.
            upstream = match self.lane.pool.borrow_new(wants).await {
                Ok(upstream) => upstream,
                Err(error) => return self.unreachable(Refusal::Unreachable, &error.to_string()),
            };
            let (body, sent_again) = self.tapped(body);
            sent = sent_again;
            let outgoing = self.outgoing(&upstream, &parts, &target, body);
            sending = self.send(&mut upstream, outgoing, &sent).await;
        }
        match sending {
            Some(Sending::Answer(answer, head)) => {
                let (answer, head) = self.rewritten_answer(*answer, head).await;
                self.answer(answer, head, upstream, on_client)
            }
            Some(Sending::Failed(error)) => self.failed(&error, &sent),
            None => self.unreachable(Refusal::Timeout, "the upstream gave no answer in time"),
        }
    }

    /// The request's body as its mutators want it sent on; as it comes, if there are none.
    async fn rewritten(&self, fields: &mut HeaderMap, body: Incoming) -> Result<Source, hyper::Error> {
        let Some(Mutation { mutators, head }) = &self.mutators else {
            let body = Source::Passing(body);
            // To ask for the body of such a request is to tell its client to go on.
            return Ok(if fields.contains_key(EXPECT) { body } else { body.begun().await });
        };
        let passed = mutation::request(mutators, body, fields, head, &self.lane, &self.client).await?;
        if let Some(capture) = &self.capture {
            passed.head.iter().for_each(|head| capture.sent_head(head));
            passed.notes.iter().for_each(|note| capture.note(note));
        }
        Ok(passed.message)
    }

    /// The same of the answer, whose head is here.
    async fn rewritten_answer(
        &self,
        answer: Response<Incoming>,
        head: Option<Vec<u8>>,
    ) -> (Response<Source>, Option<Vec<u8>>) {
        self.client.touch(std::time::Instant::now());
        self.open.answered();
        let content_type = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let shape = |it: &Mutation| it.mutators.shape(answer.status().as_u16(), content_type);
        let Some((Mutation { mutators, .. }, shape)) = self.mutators.as_ref().and_then(|it| Some((it, shape(it)?)))
        else {
            return (answer.map(Source::Passing), head);
        };
        let passed = mutation::answer(mutators, shape, answer, head.as_deref(), &self.lane, &self.client).await;
        if let Some(capture) = &self.capture {
            passed.notes.iter().for_each(|note| capture.note(note));
        }
        (passed.message, passed.head.or(head))
    }

    fn tapped(&self, body: Source) -> (RequestBody, Sent) {
        RequestBody::new(body, self.capture.clone(), self.client.clone(), self.open.clone())
    }

    /// Sends and waits for the head of the answer; `None` if that takes longer than it may once the whole
    /// request has been sent.
    async fn send(&self, upstream: &mut Borrowed, request: Request<RequestBody>, sent: &Sent) -> Option<Sending> {
        let Some(limit) = self.lane.settings.response_header else { return Some(upstream.send(request).await) };
        let mut sending = pin!(upstream.send(request));
        loop {
            let waited = sent.ended().map_or(Duration::ZERO, |ended| ended.elapsed());
            match tokio::time::timeout(limit.saturating_sub(waited), sending.as_mut()).await {
                Ok(sending) => return Some(sending),
                Err(_) if sent.ended().is_some_and(|ended| ended.elapsed() >= limit) => return None,
                Err(_) => {}
            }
        }
    }

    /// The request in the form that the upstream's connection needs.
    fn outgoing(
        &self,
        upstream: &Borrowed,
        parts: &hyper::http::request::Parts,
        target: &PathAndQuery,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let settings = &self.lane.settings;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.extensions_mut() = parts.extensions.clone();
        *request.headers_mut() = parts.headers.clone();
        let host = settings.preserve_host.then(|| client_host(parts)).flatten();
        let uri = if upstream.is_http2() {
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
            let authority = host.and_then(|it| Authority::try_from(it.as_bytes()).ok());
            let authority = authority.unwrap_or_else(|| settings.authority.clone());
            Uri::builder().scheme("https").authority(authority).path_and_query(target.clone()).build()
        } else {
            *request.version_mut() = Version::HTTP_11;
            // hyper takes a request of some methods for one without a body unless it is told otherwise.
            if request.body().size_hint().exact().is_none() {
                request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            request.headers_mut().insert(HOST, host.unwrap_or_else(|| settings.host.clone()));
            Uri::builder().path_and_query(target.clone()).build()
        };
        // Both parts are valid by their types; the default, `/`, is never reached.
        *request.uri_mut() = uri.unwrap_or_default();
        request
    }

    fn answer(
        self,
        mut answer: Response<Source>,
        head: Option<Vec<u8>>,
        upstream: Borrowed,
        on_client: Option<hyper::upgrade::OnUpgrade>,
    ) -> Response<ResponseBody> {
        let odd_reason = head.as_deref().and_then(|head| odd_reason(&answer, head));
        if let Some(capture) = &self.capture {
            let head = head.unwrap_or_else(|| written_head("HTTP/2", &answer.status(), answer.headers()));
            capture.answered(answer.status().as_u16(), &head);
        }
        self.is_answered.set(true);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(on_client) = on_client else {
                return self.unreachable(Refusal::Closed, "the upstream switched protocols unasked");
            };
            let on_upstream = hyper::upgrade::on(&mut answer);
            let (mut parts, _) = answer.into_parts();
            hops::strip(&mut parts.headers, Upgrade::Tunnelled);
            upgrade::tunnel(
                Copying::of(self.capture.as_ref(), &self.client, hops::is_websocket(&parts.headers)),
                self.client.clone(),
                self.open.clone(),
                upstream,
                on_client,
                on_upstream,
            );
            return Response::from_parts(parts, ResponseBody::Own(None));
        }
        let (mut parts, body) = answer.into_parts();
        if let Some(reason) = odd_reason {
            parts.extensions.insert(reason);
        }
        hops::strip(&mut parts.headers, Upgrade::None);
        // The recorder speaks to the client in the client's version; hyper writes it.
        parts.version = Version::HTTP_11;
        let body = Tapped::new(body, self.capture.clone(), self.client.clone(), upstream, self.open.clone());
        Response::from_parts(parts, ResponseBody::Tapped(body))
    }

    fn failed(&self, error: &hyper::Error, sent: &Sent) -> Response<ResponseBody> {
        let reason = super::reason(error);
        if sent.has_failed() {
            return self.broken_off(&reason);
        }
        self.unreachable(Refusal::Closed, &format!("the upstream closed before its answer: {reason}"))
    }

    fn broken_off(&self, reason: &str) -> Response<ResponseBody> {
        if let Some(capture) = &self.capture {
            capture.failed(self.client.ending().unwrap_or(End::ClientGone), reason);
        }
        Refusal::BadBody.answer("the request's body broke off or is malformed")
    }

    fn unreachable(&self, refusal: Refusal, message: &str) -> Response<ResponseBody> {
        self.lane.recorder.counters.upstream_dial_err.increment();
        self.refuse(refusal, End::UpstreamUnreachable, message)
    }

    fn refuse(&self, refusal: Refusal, end: End, message: &str) -> Response<ResponseBody> {
        if let Some(capture) = &self.capture {
            capture.failed(end, message);
        }
        refusal.answer(message)
    }
}

/// The request's head: as it was read, else written out from what hyper tells (HTTP/2, pipelined requests).
fn request_head(client: &Client, request: &Request<Incoming>) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    if request.version() < Version::HTTP_2 {
        let start: &[&[u8]] = if request.uri().scheme().is_some() || path.is_empty() {
            &[request.method().as_str().as_bytes(), b" "]
        } else {
            &[request.method().as_str().as_bytes(), b" ", path.as_bytes()]
        };
        if let Some(head) = client.heads.take(start, request.body().size_hint().exact()) {
            return head;
        }
    }
    written_head(&format!("{} {path}", request.method()), "HTTP", request.headers())
}

/// Whom the client asked: its `Host`, in HTTP/2 mostly `:authority`.
fn client_host(parts: &hyper::http::request::Parts) -> Option<HeaderValue> {
    let host = parts.headers.get(HOST).cloned();
    host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok())
}

/// The reason phrase as it was read, where hyper makes nothing of it: it drops one with bytes beyond ASCII.
fn odd_reason<B>(answer: &Response<B>, head: &[u8]) -> Option<ReasonPhrase> {
    if !answer.extensions().get::<ReasonPhrase>()?.as_bytes().is_empty() {
        return None;
    }
    let line = head.split(|&byte| byte == b'\n').next()?;
    let reason = line.splitn(3, |&byte| byte == b' ').nth(2)?;
    ReasonPhrase::try_from(reason.trim_ascii_end()).ok()
}

fn written_head(start: &str, rest: &(impl std::fmt::Display + ?Sized), fields: &HeaderMap) -> Vec<u8> {
    let mut head = format!("{start} {rest}\r\n").into_bytes();
    for (name, value) in fields {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Why this request cannot be forwarded, if so.
fn refuse(request: &Request<Incoming>, head: &[u8]) -> Option<(Refusal, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((Refusal::Connect, "CONNECT is not for a recorder in front of one upstream"));
    }
    // hyper takes the one and forgets the other; the bytes still tell.
    if request.headers().contains_key(TRANSFER_ENCODING)
        && api_log::headers::Headers::parse(head).is_some_and(|it| it.get(CONTENT_LENGTH.as_str()).is_some())
    {
        return Some((Refusal::AmbiguousFraming, "both Content-Length and Transfer-Encoding"));
    }
    None
}

/// What of the configuration an exchange needs.
pub(crate) struct Settings {
    /// The upstream's authority, as `Host`.
    pub(crate) host: HeaderValue,
    /// The same for HTTP/2.
    pub(crate) authority: Authority,
    /// Put in front of every path; empty or beginning with `/` and not ending with it.
    pub(crate) prefix: String,
    /// Pass the client's own `Host`.
    pub(crate) preserve_host: bool,
    /// Longest wait for an answer's head.
    pub(crate) response_header: Option<Duration>,
}

impl Settings {
    /// The target to ask the upstream for: what the client sent, verbatim, behind the prefix.
    fn target(&self, uri: &Uri) -> Option<PathAndQuery> {
        let target = uri.path_and_query()?;
        if self.prefix.is_empty() {
            return Some(target.clone());
        }
        PathAndQuery::try_from(format!("{}{target}", self.prefix)).ok()
    }
}

impl Lane {
    /// The plugins that a request begins under; none if a capture filter wants it forwarded and nothing else, which is
    /// counted here.
    fn plugins(&self, request: &Request<Incoming>) -> Option<Arc<Set>> {
        let plugins = self.recorder.plugins.pin();
        if plugins.capture_filter(request.uri().path()).is_none() {
            return Some(plugins);
        }
        if self.live.load().is_capturing {
            let ledger = &self.recorder.counters.ledger;
            let _accepted = ledger.accept();
            ledger.count_filtered();
            self.recorder.counters.traces_dropped_capture_filter.increment();
        }
        None
    }

    /// Whether a request is captured at all.
    fn captures(&self, plugins: &Option<Arc<Set>>) -> bool {
        plugins.is_some() && self.live.load().is_capturing
    }
}
