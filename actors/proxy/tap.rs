//! Bodies that are recorded as they pass.
//!
//! What is recorded is what passes on: of a body that plugins rewrote, what they made of it. A frame is passed on in
//! the same poll that records it. Size and end of the stream are passed through,
//! so the framing on the other side stays what it was.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use api_log::exchange::End;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::body::{BodyError, Source};
use super::capture::{Capture, Direction};
use super::client::{Client, Open};
use super::upstream::Borrowed;

/// The request body on its way to the upstream.
///
/// The body waits in a slot that the exchange keeps too: if the connection it was given to proves dead
/// before the body was touched, it can be sent again on another.
pub(crate) struct RequestBody {
    slot: Arc<Mutex<Slot>>,
    capture: Option<Arc<Capture>>,
    client: Arc<Client>,
    /// The upstream's connection lets go of the body when it gets round to it; the exchange is under way until then.
    _open: Rc<Open>,
}

struct Slot {
    body: Option<Source>,
    is_touched: bool,
    has_failed: bool,
    ended: Option<Instant>,
}

/// The exchange's hold on the body that it sends.
pub(crate) struct Sent(Arc<Mutex<Slot>>);

impl Sent {
    /// Whether the client's side of the body broke.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().has_failed
    }

    /// When the body came to its end, in order or not.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.0.lock().ended
    }

    /// The body again, if no byte of it was ever asked for.
    pub(crate) fn untouched(&self) -> Option<Source> {
        let mut slot = self.0.lock();
        if slot.is_touched { None } else { slot.body.take() }
    }
}

impl RequestBody {
    /// Wraps a client's body, or what plugins made of it.
    pub(crate) fn new(
        body: Source,
        capture: Option<Arc<Capture>>,
        client: Arc<Client>,
        open: Rc<Open>,
    ) -> (RequestBody, Sent) {
        // One that is empty from the start is never polled.
        let ended = body.is_end_stream().then(Instant::now);
        let slot = Arc::new(Mutex::new(Slot { body: Some(body), is_touched: false, has_failed: false, ended }));
        (RequestBody { slot: slot.clone(), capture, client, _open: open }, Sent(slot))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut slot = this.slot.lock();
        slot.is_touched = true;
        let Some(body) = &mut slot.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => record(frame, Direction::Request, this.capture.as_deref(), &this.client),
            Some(Err(_)) => {
                slot.has_failed = true;
                slot.ended = Some(Instant::now());
            }
            None => {}
        }
        if frame.as_ref().is_none_or(|it| it.as_ref().is_ok_and(Frame::is_trailers))
            || slot.body.as_ref().is_some_and(Body::is_end_stream)
        {
            slot.ended.get_or_insert_with(Instant::now);
            // Of one that was gathered the client's end came earlier, and was told then.
            if slot.body.as_ref().is_none_or(Source::is_coming) {
                this.client.expect_head();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.slot.lock().body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.slot.lock().body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// The answer's body on its way to the client.
pub(crate) enum ResponseBody {
    /// From the upstream.
    Tapped(Tapped),
    /// The recorder's own words.
    Own(Option<Bytes>),
}

/// An upstream's body, the capture that records it and the connection it comes by.
pub(crate) struct Tapped {
    body: Source,
    capture: Option<Arc<Capture>>,
    client: Arc<Client>,
    /// Given back to its pool at the end of the body; closed if that never comes.
    upstream: Option<Borrowed>,
    /// How much of what was read from that connection has been taken, as far as it is known.
    taken: u64,
    /// A break that has come and is yet to be passed on.
    broken: Option<BodyError>,
    /// Keeps the exchange counted as under way.
    _open: Rc<Open>,
}

impl Tapped {
    /// Wraps an upstream's body, or what plugins make of it. One that is empty from the start is never polled, so it ends here.
    pub(crate) fn new(
        body: Source,
        capture: Option<Arc<Capture>>,
        client: Arc<Client>,
        upstream: Borrowed,
        open: Rc<Open>,
    ) -> Tapped {
        let mut tapped =
            Tapped { body, capture, client, upstream: Some(upstream), taken: 0, broken: None, _open: open };
        if tapped.body.is_end_stream() {
            tapped.complete();
        }
        tapped
    }

    fn complete(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            upstream.give_back();
            if let Some(capture) = &self.capture {
                capture.ended(End::Complete);
            }
        }
    }

    fn poll_tapped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(self.poll_body(cx));
        if let Some(capture) = &self.capture {
            self.body.notes().iter().for_each(|note| capture.note(note));
        }
        match &frame {
            Some(Ok(frame)) => {
                record(frame, Direction::Response, self.capture.as_deref(), &self.client);
                // Whoever reads may stop here and never ask for the `None`. Nothing follows trailers.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.complete();
                }
            }
            Some(Err(error)) => {
                if let Some(capture) = &self.capture {
                    capture.failed(self.client.ending().unwrap_or(End::UpstreamGone), &super::reason(error));
                }
            }
            None => self.complete(),
        }
        match frame {
            // Whoever reads drops what it was given and has not sent yet when it hears of a break: it has a turn for that.
            Some(Err(error)) if self.body.is_passing() => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    /// The body's next frame. What is passing on is read for as long as there is something, so that what came together
    /// is sent together.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(upstream) = &self.upstream
            && self.body.is_passing()
        {
            if frame.is_pending() && upstream.go_on_behind(self.taken) {
                frame = Pin::new(&mut self.body).poll_frame(cx);
                if frame.is_pending() {
                    self.taken = upstream.read_bytes();
                }
            }
            if let Poll::Ready(Some(Ok(frame))) = &frame {
                self.taken += self.bytes_of(frame);
            }
        }
        frame
    }

    /// What a frame took on the wire: a chunk its length and two line ends, if nobody wrote more than was needed.
    fn bytes_of(&self, frame: &Frame<Bytes>) -> u64 {
        let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
        let is_chunk = self.body.size_hint().exact().is_none();
        if is_chunk { bytes + u64::from(bytes.checked_ilog(16).map_or(1, |it| it + 1)) + 4 } else { bytes }
    }
}

/// Not asked for to its end: the client has gone, or the connection was ended.
impl Drop for Tapped {
    fn drop(&mut self) {
        if self.upstream.is_some()
            && let Some(capture) = &self.capture
        {
            capture.ended(self.client.ending().unwrap_or(End::ClientGone));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            ResponseBody::Tapped(tapped) => tapped.poll_tapped(cx),
            ResponseBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Tapped(tapped) => tapped.body.is_end_stream(),
            ResponseBody::Own(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Tapped(tapped) => tapped.body.size_hint(),
            ResponseBody::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64)),
        }
    }
}

fn record(frame: &Frame<Bytes>, direction: Direction, capture: Option<&Capture>, client: &Client) {
    let now = Instant::now();
    client.touch(now);
    let Some(capture) = capture else { return };
    if let Some(chunk) = frame.data_ref() {
        capture.chunk(direction, chunk, now);
    } else if let Some(fields) = frame.trailers_ref() {
        capture.trailers(direction, fields);
    }
}
