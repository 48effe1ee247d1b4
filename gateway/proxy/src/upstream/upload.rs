//! The body of a request on its way up an HTTP/2 stream.
//!
//! Invariant: never more than one frame beyond what the peer's window takes is held here, so that a slow upstream slows the
//! caller and fills no memory (UPS-14).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use super::outgoing::{Replayed, SendBody};

/// Why an upload ended early.
pub(super) enum UploadBroken {
    /// The request's own body; the stream was reset.
    Body,
    /// The stream; its answer knows why.
    Stream,
}

/// The request's body on its way, never more than a frame beyond what the peer's window takes.
pub(super) struct Upload<B> {
    stream: SendStream<Bytes>,
    body: Replayed<B>,
    is_bodiless: bool,
    done: bool,
}

impl<B: SendBody> Upload<B> {
    pub(super) fn new(stream: SendStream<Bytes>, body: Replayed<B>) -> Self {
        let is_bodiless = body.is_end_stream();
        Self {
            stream,
            body,
            is_bodiless,
            done: is_bodiless,
        }
    }

    /// Goes on alone, beside an answer that has begun.
    pub(super) async fn run(mut self) {
        // An error of the stream is told by the answer; one of the body has reset the stream.
        let _ = poll_fn(|cx| self.poll(cx)).await;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadBroken>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        let polled = self.advance(cx);
        if let Poll::Ready(result) = &polled {
            self.done = true;
            if let Err(UploadBroken::Body) = result {
                self.stream.send_reset(Reason::CANCEL);
            }
        }
        polled
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// There never was a body.
    pub(super) fn is_bodiless(&self) -> bool {
        self.is_bodiless
    }

    pub(super) fn into_body(self) -> Replayed<B> {
        self.body
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadBroken>> {
        loop {
            if !self.has_room(cx)? {
                return Poll::Pending;
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(sent(self.stream.send_data(Bytes::new(), true))),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(UploadBroken::Body)),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    let ends = self.body.is_end_stream();
                    sent(self.stream.send_data(data, ends))?;
                    if ends {
                        return Poll::Ready(Ok(()));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(sent(self.stream.send_trailers(trailers)));
                    }
                }
            }
        }
    }

    /// Whether the window takes at least a byte, watching for a reset meanwhile.
    fn has_room(&mut self, cx: &mut Context<'_>) -> Result<bool, UploadBroken> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Err(UploadBroken::Stream),
                Poll::Pending => {
                    let is_reset = self.stream.poll_reset(cx).is_ready();
                    return if is_reset { Err(UploadBroken::Stream) } else { Ok(false) };
                }
            }
        }
        if self.stream.poll_reset(cx).is_ready() {
            Err(UploadBroken::Stream)
        } else {
            Ok(true)
        }
    }
}

fn sent(result: Result<(), h2::Error>) -> Result<(), UploadBroken> {
    result.map_err(|_| UploadBroken::Stream)
}
