//! One direction of a tunnel: read, shown, written, and its end passed on while the other direction keeps flowing (H-10).

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one direction holds at most: four TLS records, so that they leave in one write.
const ROOM: usize = 64 * 1024;
/// What it holds until that was once too little: most terminals never send as much. Less room than this, which is a TLS
/// record's, is not worth another read before what is there is written.
const RECORD: usize = 16 * 1024;

/// Where a direction broke.
#[derive(Debug)]
pub(super) enum Broken {
    /// Whoever sends is gone.
    Reading(io::Error),
    /// Whoever receives is gone.
    Writing(io::Error),
    /// A piece was read that may not pass.
    Withheld,
}

/// The bytes between one reader and one writer.
#[derive(Debug)]
pub(super) struct Half {
    buffer: Vec<u8>,
    held: Range<usize>,
    stage: Stage,
    unflushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flowing,
    /// The sender has said that no more comes; the receiver does not know yet.
    Ended,
    /// The receiver knows.
    Closed,
}

impl Half {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; RECORD],
            held: 0..0,
            stage: Stage::Flowing,
            unflushed: false,
        }
    }

    /// Whether its sender has said that no more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.stage != Stage::Flowing
    }

    /// Moves bytes until nothing more can be done now. Ready when the receiver has the end. Each piece is shown to `see`
    /// once, in order, after it was read and before any of it is written; where that says no, nothing of it is. Without `may_read`
    /// only what is held moves.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        may_read: bool,
        see: &mut impl FnMut(&[u8]) -> bool,
    ) -> Poll<Result<(), Broken>> {
        loop {
            match self.stage {
                Stage::Closed => return Poll::Ready(Ok(())),
                Stage::Ended => {
                    ready!(self.poll_write(cx, to))?;
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Broken::Writing)?;
                    self.stage = Stage::Closed;
                }
                Stage::Flowing if !may_read => {
                    ready!(self.poll_rest(cx, to))?;
                    return Poll::Pending;
                }
                Stage::Flowing => {
                    let read = self.poll_read(cx, from, see)?;
                    ready!(self.poll_write(cx, to))?;
                    if read.is_pending() {
                        ready!(self.poll_flush(cx, to))?;
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Writes what is held and nothing more; ready when the receiver has it.
    pub(super) fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), Broken>> {
        ready!(self.poll_write(cx, to))?;
        self.poll_flush(cx, to)
    }

    /// Fills the room as far as bytes are there at once. Pending: none were there the last time, and the reader wakes.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        see: &mut impl FnMut(&[u8]) -> bool,
    ) -> Result<Poll<()>, Broken> {
        if !self.held.is_empty() {
            return Ok(Poll::Ready(()));
        }
        if self.held.end == self.buffer.len() {
            self.buffer.resize(ROOM, 0);
        }
        self.held = 0..0;
        loop {
            let Some(room) = self.buffer.get_mut(self.held.end..).filter(|room| room.len() >= RECORD) else {
                return Ok(Poll::Ready(()));
            };
            let mut read = ReadBuf::new(room);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(error)) if self.held.is_empty() => return Err(Broken::Reading(error)),
                // What came before is passed on; the next read says it again.
                Poll::Ready(Err(_)) => return Ok(Poll::Ready(())),
                Poll::Ready(Ok(())) => {}
            }
            let piece = read.filled();
            if piece.is_empty() {
                self.stage = Stage::Ended;
                return Ok(Poll::Ready(()));
            }
            if !see(piece) {
                return Err(Broken::Withheld);
            }
            self.held.end += piece.len();
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<Result<(), Broken>> {
        while let Some(rest) = self.buffer.get(self.held.clone()).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, rest)).map_err(Broken::Writing)?;
            if written == 0 {
                return Poll::Ready(Err(Broken::Writing(io::ErrorKind::WriteZero.into())));
            }
            self.held.start += written;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Poll<Result<(), Broken>> {
        if self.unflushed {
            ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Broken::Writing)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
