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

/// What is to become of a piece that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It passes.
    Passes,
    /// It passes, and nothing more is to be read for now.
    PassesLast,
    /// So many bytes of it pass, and nothing behind them.
    PassesUntil(usize),
    /// It must not pass, and nothing behind it.
    Withheld,
}

impl Seen {
    /// What passes of the piece that it was said of.
    pub(super) fn passing(self, piece: &[u8]) -> &[u8] {
        match self {
            Self::Passes | Self::PassesLast => piece,
            Self::PassesUntil(bytes) => piece.get(..bytes).unwrap_or(piece),
            Self::Withheld => &[],
        }
    }
}

/// The bytes between one reader and one writer.
#[derive(Debug)]
pub(super) struct Half {
    buffer: Vec<u8>,
    held: Range<usize>,
    stage: Stage,
    unflushed: bool,
    /// Whoever was shown the last piece wants no more for now.
    is_held_up: bool,
    /// Why nothing more comes behind what is held. A socket says it once: a reset, asked again, looks like a clean end.
    failed: Option<io::Error>,
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
            is_held_up: false,
            failed: None,
        }
    }

    /// Whether its sender has said that no more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.stage != Stage::Flowing
    }

    /// Moves bytes until nothing more can be done now. Ready when the receiver has the end. Each piece is shown to `see`
    /// once, in order, after it was read and before any of it is written. Without `may_read` only what is held moves. What
    /// [`Seen`] says then: after a piece that is the last for now, what was read is written and nothing more is read;
    /// [`Half::was_held_up`] says so, and no waker stands for what could be read.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        may_read: bool,
        see: &mut impl FnMut(&[u8]) -> Seen,
    ) -> Poll<Result<(), Broken>> {
        self.is_held_up = false;
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
                    if read.is_pending() || self.is_held_up {
                        ready!(self.poll_flush(cx, to))?;
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Whether it stopped reading because whoever was shown the last piece wanted no more.
    pub(super) const fn was_held_up(&self) -> bool {
        self.is_held_up
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
        see: &mut impl FnMut(&[u8]) -> Seen,
    ) -> Result<Poll<()>, Broken> {
        if !self.held.is_empty() {
            return Ok(Poll::Ready(()));
        }
        if let Some(error) = self.failed.take() {
            return Err(Broken::Reading(error));
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
                Poll::Ready(Err(error)) => {
                    // What came before is passed on first.
                    self.failed = Some(error);
                    return Ok(Poll::Ready(()));
                }
                Poll::Ready(Ok(())) => {}
            }
            let piece = read.filled();
            if piece.is_empty() {
                self.stage = Stage::Ended;
                return Ok(Poll::Ready(()));
            }
            let (passes, is_last) = match see(piece) {
                Seen::Withheld => return Err(Broken::Withheld),
                Seen::PassesUntil(bytes) => (bytes.min(piece.len()), true),
                Seen::PassesLast => (piece.len(), true),
                Seen::Passes => (piece.len(), false),
            };
            self.is_held_up = is_last;
            self.held.end += passes;
            if self.is_held_up {
                return Ok(Poll::Ready(()));
            }
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use super::*;

    /// Says each thing once, and that nothing more comes for ever after: as a socket does that was reset.
    struct Socket(VecDeque<io::Result<&'static [u8]>>);

    impl AsyncRead for Socket {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(Ok(bytes)) => room.put_slice(bytes),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {}
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_reset_behind_bytes_is_no_clean_end() {
        let reset = || Err(io::ErrorKind::ConnectionReset.into());
        for before in [
            vec![],
            vec![Ok(b"before".as_slice())],
            vec![Ok(b"be".as_slice()), Ok(b"fore")],
        ] {
            let sent: Vec<u8> = before.iter().flatten().copied().flatten().copied().collect();
            let mut from = Socket(before.into_iter().chain([reset()]).collect());
            let (mut half, mut to) = (Half::new(), Vec::new());
            let moved = poll_fn(|cx| half.poll(cx, &mut from, &mut to, true, &mut |_| Seen::Passes)).await;
            assert!(
                matches!(&moved, Err(Broken::Reading(error)) if error.kind() == io::ErrorKind::ConnectionReset),
                "{moved:?}"
            );
            assert_eq!(to, sent, "what came before it is passed on");
        }
    }
}
