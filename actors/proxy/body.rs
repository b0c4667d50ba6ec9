//! What a body is made of: the other side's own bytes as they come, or what plugins made of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use api_log::plugin::note::Note;
use api_log::plugin::rewrite::Streams;
use api_log::wire::decode::DecodeError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::HeaderMap;
use hyper::body::Incoming;

use super::mutation;
use crate::record::Share;

/// A body on its way.
pub(crate) enum Source {
    /// As it comes: nothing is held, nothing is looked at.
    Passing(Incoming),
    /// The same, whose first bytes are here, or whatever came instead.
    Begun(Option<First>, Incoming),
    /// It was gathered to be rewritten, whether it was or not.
    Held(Box<Held>),
    /// A stream that is rewritten as it comes.
    Rewriting(Box<Rewriting>),
}

/// What a body begins with.
pub(crate) enum First {
    /// As nearly always.
    Bytes(Bytes),
    /// Trailers, or a break. Boxed, for every body would be as large.
    Other(Box<Result<Frame<Bytes>, hyper::Error>>),
}

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The other side broke off.
    #[error(transparent)]
    Wire(#[from] hyper::Error),
    /// A stream's coding cannot be undone any further.
    #[error("the answer cannot be decoded: {0}")]
    Coding(#[from] DecodeError),
}

/// Bytes that have come, and what follows them.
pub(crate) struct Held {
    first: Option<Bytes>,
    rest: Rest,
    /// The other side is told the length, as it was here.
    is_sized: bool,
    pause: Pause,
    _share: Share,
}

/// What follows bytes that were gathered.
pub(crate) enum Rest {
    /// Nothing but trailers.
    Trailers(Option<HeaderMap>),
    /// More, as it comes.
    Incoming(Incoming),
    /// The break that came.
    Broken(Option<hyper::Error>),
}

/// A stream, its codings and its mutators.
pub(crate) struct Rewriting {
    incoming: Incoming,
    streams: Streams,
    ready: Vec<u8>,
    last: Last,
    pause: Pause,
    share: Share,
}

/// One turn that whoever reads has to send what it was given, before it hears of a break and drops that.
#[derive(Default)]
struct Pause {
    was_taken: bool,
}

impl Pause {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.was_taken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How a stream goes on behind what is ready.
enum Last {
    Open,
    Trailers(HeaderMap),
    Ended,
    Broken(BodyError),
}

impl Rewriting {
    fn end(&mut self, last: Last) {
        let rest = match last {
            Last::Broken(_) => self.streams.break_off(),
            _ => self.streams.finish(),
        };
        self.ready.extend(rest);
        self.last = last;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready).into()))));
            }
            if matches!(self.last, Last::Broken(_)) {
                ready!(self.pause.poll(cx));
            }
            match std::mem::replace(&mut self.last, Last::Ended) {
                Last::Open => self.last = Last::Open,
                Last::Trailers(fields) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Last::Ended => return Poll::Ready(None),
                Last::Broken(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        match self.streams.push(&chunk) {
                            Ok(rewritten) => self.ready = rewritten,
                            Err(error) => self.end(Last::Broken(error.into())),
                        }
                        self.share.set(self.streams.held_bytes() as u64);
                        // Whoever reads may stop at the end without asking for it.
                        if matches!(self.last, Last::Open) && self.incoming.is_end_stream() {
                            self.end(Last::Ended);
                        }
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(mut fields) => {
                            mutation::without(&mut fields, &mutation::OF_BYTES);
                            self.end(Last::Trailers(fields));
                        }
                        Err(_) => self.end(Last::Ended),
                    },
                },
                Some(Err(error)) => self.end(Last::Broken(error.into())),
                None => self.end(Last::Ended),
            }
        }
    }
}

impl Source {
    /// Gathered bytes, and what follows. `share` is their memory.
    pub(crate) fn held(first: Vec<u8>, rest: Rest, is_sized: bool, share: Share) -> Source {
        let first = (!first.is_empty()).then(|| Bytes::from(first));
        Source::Held(Box::new(Held { first, rest, is_sized, pause: Pause::default(), _share: share }))
    }

    /// A stream of which `ready` has been rewritten already.
    pub(crate) fn rewriting(incoming: Incoming, streams: Streams, ready: Vec<u8>, share: Share) -> Source {
        let mut stream = Rewriting { incoming, streams, ready, last: Last::Open, pause: Pause::default(), share };
        if stream.incoming.is_end_stream() {
            stream.end(Last::Ended);
        }
        Source::Rewriting(Box::new(stream))
    }

    /// Waits a turn for what came together with its head, so that both are sent on together; what is not here then is not
    /// waited for.
    pub(crate) async fn begun(self) -> Source {
        let Source::Passing(mut incoming) = self else { return self };
        let mut pause = Pause::default();
        let first = poll_fn(|cx| match Pin::new(&mut incoming).poll_frame(cx) {
            Poll::Pending => pause.poll(cx).map(|()| None),
            Poll::Ready(frame) => Poll::Ready(frame),
        });
        let first = match first.await {
            None => return Source::Passing(incoming),
            Some(Ok(frame)) => frame.into_data().map_or_else(|other| First::Other(Box::new(Ok(other))), First::Bytes),
            Some(broken) => First::Other(Box::new(broken)),
        };
        Source::Begun(Some(first), incoming)
    }

    /// Whether it is the other side's own, as it comes.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Source::Passing(_))
    }

    /// Whether bytes are yet to come from the other side.
    pub(crate) fn is_coming(&self) -> bool {
        match self {
            Source::Passing(_) | Source::Begun(..) | Source::Rewriting(_) => true,
            Source::Held(held) => matches!(held.rest, Rest::Incoming(_)),
        }
    }

    /// What is new to be told of plugins.
    pub(crate) fn notes(&mut self) -> Vec<Note> {
        match self {
            Source::Rewriting(stream) => stream.streams.notes(),
            Source::Passing(_) | Source::Begun(..) | Source::Held(_) => Vec::new(),
        }
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let held = match self.get_mut() {
            Source::Passing(incoming) => return Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Source::Begun(first, incoming) => {
                let frame = match first.take() {
                    Some(First::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                    Some(First::Other(other)) => Poll::Ready(Some(*other)),
                    None => Pin::new(incoming).poll_frame(cx),
                };
                return frame.map_err(BodyError::from);
            }
            Source::Rewriting(stream) => return stream.poll_frame(cx),
            Source::Held(held) => held,
        };
        if let Some(first) = held.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut held.rest {
            Rest::Trailers(fields) => Poll::Ready(fields.take().map(|fields| Ok(Frame::trailers(fields)))),
            Rest::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::from),
            Rest::Broken(_) if held.pause.poll(cx).is_pending() => Poll::Pending,
            Rest::Broken(error) => Poll::Ready(error.take().map(|error| Err(error.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Source::Passing(incoming) => incoming.is_end_stream(),
            Source::Begun(first, incoming) => first.is_none() && incoming.is_end_stream(),
            Source::Rewriting(stream) => stream.ready.is_empty() && matches!(stream.last, Last::Ended),
            Source::Held(held) => {
                held.first.is_none()
                    && match &held.rest {
                        Rest::Trailers(fields) => fields.is_none(),
                        Rest::Incoming(incoming) => incoming.is_end_stream(),
                        Rest::Broken(error) => error.is_none(),
                    }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Source::Passing(incoming) => incoming.size_hint(),
            Source::Begun(first, incoming) => {
                let first = if let Some(First::Bytes(bytes)) = first { bytes.len() as u64 } else { 0 };
                sized(first, incoming)
            }
            Source::Rewriting(_) => SizeHint::default(),
            Source::Held(held) => {
                let first = held.first.as_ref().map_or(0, |it| it.len() as u64);
                match &held.rest {
                    Rest::Trailers(_) if held.is_sized => SizeHint::with_exact(first),
                    Rest::Incoming(incoming) => sized(first, incoming),
                    Rest::Trailers(_) | Rest::Broken(_) => SizeHint::default(),
                }
            }
        }
    }
}

/// The length of so many bytes and what follows them, if that is known.
fn sized(first: u64, rest: &Incoming) -> SizeHint {
    rest.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(first + rest))
}
