//! A socket that is counted for as long as it is open, wherever it travels: into hyper, into h2, into an upgraded session.

use std::io;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use reach::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lane::Lane;
use super::outgoing::SendBody;

/// One of the sockets a lane may have. Given back when dropped.
pub(super) struct Slot<B: SendBody> {
    lane: Weak<Lane<B>>,
}

impl<B: SendBody> Slot<B> {
    pub(super) fn new(lane: Weak<Lane<B>>) -> Self {
        Self { lane }
    }
}

impl<B: SendBody> Drop for Slot<B> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.upgrade() {
            lane.socket_closed();
        }
    }
}

/// The socket and its place.
pub(super) struct Socket<B: SendBody> {
    stream: Stream,
    _slot: Slot<B>,
}

impl<B: SendBody> Socket<B> {
    pub(super) fn new(stream: Stream, slot: Slot<B>) -> Self {
        Self { stream, _slot: slot }
    }

    #[cfg(test)]
    pub(super) fn tcp(&self) -> &tokio::net::TcpStream {
        self.stream.tcp().unwrap()
    }
}

impl<B: SendBody> AsyncRead for Socket<B> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<B: SendBody> AsyncWrite for Socket<B> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
