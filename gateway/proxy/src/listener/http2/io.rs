//! An HTTP/2 connection as a byte stream with deadlines for what hyper waits for without end.
//!
//! Bytes pass unchanged. Invariant: an unfinished preface, SETTINGS exchange, frame or header block, a connection that
//! never opens a stream and a peer that takes nothing all end, each by a deadline of its own.

use std::{
    io::{ErrorKind, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::super::{
    config::Deadlines,
    conn::{Conn, Wire},
    metrics::CloseReason,
    shared::{Parts, Shared},
    timer::{Deadline, WriteWatch},
};
use super::frames::Frames;

/// A watched HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct WatchedIo<S, L> {
    wire: S,
    frames: Frames,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    deadlines: Arc<Deadlines>,
    opened: Instant,
    read_deadline: Deadline,
    write_watch: WriteWatch,
    _lease: L,
}

impl<S: Wire, L> WatchedIo<S, L> {
    pub(crate) fn new(wire: S, idle_frames: u32, parts: Parts, lease: L) -> Self {
        let Parts {
            conn,
            shared,
            deadlines,
        } = parts;
        Self {
            wire,
            frames: Frames::new(idle_frames),
            conn,
            shared,
            deadlines,
            opened: Instant::now(),
            read_deadline: Deadline::default(),
            write_watch: WriteWatch::default(),
            _lease: lease,
        }
    }

    fn deadline(&self) -> (Option<Instant>, CloseReason) {
        if !self.frames.is_open() {
            return (
                self.opened.checked_add(self.deadlines.first_byte),
                CloseReason::FirstByte,
            );
        }
        if let Some(since) = self.frames.unfinished_since() {
            return (since.checked_add(self.deadlines.http2_frame), CloseReason::Http2Frame);
        }
        if self.frames.streams_opened() == 0 {
            return (
                self.opened.checked_add(self.deadlines.http2_first_stream),
                CloseReason::Http2FirstStream,
            );
        }
        (None, CloseReason::Http2Idle)
    }

    fn observe_write<T>(&mut self, result: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        // What has to end is a stream here, which is watched by itself.
        if self
            .write_watch
            .observe(&result, self.deadlines.write_progress, None, cx)
        {
            self.shared.close_because(CloseReason::WriteProgress);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: Wire, L: Unpin> AsyncRead for WatchedIo<S, L> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read
            && this.write_watch.explains(error)
        {
            this.shared.close_because(CloseReason::WriteProgress);
        }
        if read?.is_ready() {
            let fresh = buffer.filled().get(before..).unwrap_or_default();
            this.conn.counters().add_read(fresh.len());
            if this.frames.advance(fresh, Instant::now()).is_err() {
                this.shared.close_because(CloseReason::Http2Flood);
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            return Poll::Ready(Ok(()));
        }
        let (target, reason) = this.deadline();
        if this.read_deadline.poll(target, cx) {
            this.shared.close_because(reason);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: Wire, L: Unpin> AsyncWrite for WatchedIo<S, L> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let result = this
            .conn
            .counters()
            .count_write(Pin::new(&mut this.wire).poll_write(cx, bytes));
        this.observe_write(result, cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let result = this
            .conn
            .counters()
            .count_write(Pin::new(&mut this.wire).poll_write_vectored(cx, bytes));
        this.observe_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.wire).poll_flush(cx);
        this.observe_write(result, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.wire).poll_shutdown(cx);
        ready!(this.observe_write(result, cx))?;
        Poll::Ready(Ok(()))
    }
}
