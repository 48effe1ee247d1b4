//! The body of an answer to an ingress: whole, with trailers where gRPC ends by them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};

/// A body, and what comes behind it.
#[derive(Debug)]
pub struct Said {
    bytes: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Said {
    pub(super) fn of(bytes: Bytes) -> Self {
        Self {
            bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
            trailers: None,
        }
    }

    /// The answer to a call of gRPC that came to its end, whatever it says (grpc/grpc `doc/PROTOCOL-HTTP2.md`).
    pub(super) fn grpc(frame: Bytes) -> Response<Self> {
        let ended = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        let mut response = Response::new(Self {
            bytes: Some(frame),
            trailers: Some(HeaderMap::from_iter([ended])),
        });
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take().map(Frame::data);
        let next = bytes.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
