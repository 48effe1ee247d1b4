//! The guard as a byte stream: hyper reads from it and writes through it.
//!
//! In the common case bytes are read straight into hyper's buffer and scanned there; only a head that arrives in pieces
//! is held back and copied. Invariant: hyper never sees a byte that the machine has not let pass, save the stand-in for
//! a refused head; and no wait on this connection is without a deadline, except inside a granted tunnel.

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::{io::poll_read_buf, sync::WaitForCancellationFutureOwned};

use super::super::{
    config::Deadlines,
    conn::{Conn, Wire},
    metrics::CloseReason,
    shared::{Parts, Shared, UpgradeDecision},
    timer::{Deadline, WriteWatch},
};
use super::machine::{Machine, Scan, Stop, Waiting};

/// A guarded HTTP/1 connection. Dropped while an answer is under way that only its end would tell the end of, it is reset: a client that takes the
/// end for the answer's would keep half of it for the whole.
#[derive(Debug)]
pub(crate) struct GuardedIo<S: Wire, L> {
    wire: S,
    machine: Machine,
    mode: Mode,
    /// Bytes read but not yet given on; the first `cleared` of them may be.
    held: BytesMut,
    cleared: usize,
    /// Held bytes wait for room in the queue of heads, not for more bytes.
    rescan: bool,
    conn: Arc<Conn>,
    shared: Arc<Shared>,
    deadlines: Arc<Deadlines>,
    times: Times,
    read_deadline: Deadline,
    write_watch: WriteWatch,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    linger: Linger,
    /// Counts the connection as open for as long as its bytes can flow, upgraded or not.
    _lease: L,
}

#[derive(Debug)]
enum Mode {
    Http,
    /// The stand-in for a refused head is being given out; afterwards nothing.
    Refused(&'static [u8]),
    /// The framing of a body is lost: reading fails.
    Broken,
    /// An upgrade was asked for; the answer decides.
    Undecided,
    /// The upgrade was granted: bytes of the tunnel.
    Tunnel,
}

#[derive(Debug)]
struct Times {
    opened: Instant,
    last_read: Option<Instant>,
    head_began: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Linger {
    NotNeeded,
    Until(Option<Instant>, usize),
}

impl<S: Wire, L> Drop for GuardedIo<S, L> {
    fn drop(&mut self) {
        if self.shared.owes_end() {
            self.wire.breaks_off();
        }
    }
}

impl<S: Wire, L> GuardedIo<S, L> {
    pub(crate) fn new(wire: S, machine: Machine, parts: Parts, cut: WaitForCancellationFutureOwned, lease: L) -> Self {
        let Parts {
            conn,
            shared,
            deadlines,
        } = parts;
        let now = Instant::now();
        Self {
            wire,
            machine,
            mode: Mode::Http,
            held: BytesMut::new(),
            cleared: 0,
            rescan: false,
            conn,
            shared,
            deadlines,
            times: Times {
                opened: now,
                last_read: None,
                head_began: None,
            },
            read_deadline: Deadline::default(),
            write_watch: WriteWatch::default(),
            cut: Box::pin(cut),
            linger: Linger::NotNeeded,
            _lease: lease,
        }
    }

    /// Gives out held bytes that may pass; true when some were given.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let len = self.cleared.min(buffer.remaining());
        buffer.put_slice(self.held.get(..len).unwrap_or_default());
        self.held.advance(len);
        self.cleared -= len;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        len > 0
    }

    fn poll_http(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<Step>> {
        if self.held.is_empty() {
            return self.poll_direct(cx, buffer);
        }
        if self.rescan {
            self.shared.wait_as_reader(cx);
            if !self.shared.has_room() {
                return Poll::Pending;
            }
            self.rescan = false;
        } else {
            match poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.held) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Step::EndOfInput)),
                Poll::Ready(Ok(len)) => self.note_read(len),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
        let scan = self.shared.with_heads(|heads| self.machine.scan(&self.held, heads));
        self.cleared = scan.passed;
        self.after_scan(&scan);
        Poll::Ready(Ok(Step::Again))
    }

    /// The common case: no copy, one scan in place.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<Step>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.wire).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return self.poll_deadline(cx),
        }
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(Step::EndOfInput));
        }
        self.times.last_read = Some(Instant::now());
        self.conn.counters().add_read(fresh.len());
        let scan = self.shared.with_heads(|heads| self.machine.scan(fresh, heads));
        self.held
            .extend_from_slice(fresh.get(scan.passed..).unwrap_or_default());
        buffer.set_filled(before + scan.passed);
        self.after_scan(&scan);
        Poll::Ready(Ok(if scan.passed > 0 { Step::Given } else { Step::Again }))
    }

    fn note_read(&mut self, len: usize) {
        self.times.last_read = Some(Instant::now());
        self.conn.counters().add_read(len);
    }

    fn after_scan(&mut self, scan: &Scan) {
        match scan.stop {
            Stop::Exhausted => {}
            Stop::QueueFull => self.rescan = true,
            Stop::PartialHead => {
                if scan.passed > 0 || self.times.head_began.is_none() {
                    self.times.head_began = Some(Instant::now());
                }
                return;
            }
            Stop::Upgrade => {
                self.mode = Mode::Undecided;
                self.linger = Linger::Until(None, 0);
            }
            Stop::Refused => {
                self.held.truncate(self.cleared);
                self.mode = Mode::Refused(STAND_IN);
                self.linger = Linger::Until(None, 0);
            }
            Stop::Broken(violation) => {
                self.held.truncate(self.cleared);
                self.shared.break_body(violation);
                self.mode = Mode::Broken;
                self.linger = Linger::Until(None, 0);
            }
        }
        self.times.head_began = None;
    }

    /// Nothing to read: is a deadline over?
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step>> {
        let (target, reason) = self.deadline();
        if self.read_deadline.poll(target, cx) {
            self.shared.close_because(reason);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    fn deadline(&self) -> (Option<Instant>, CloseReason) {
        let Some(last_read) = self.times.last_read else {
            return (
                self.times.opened.checked_add(self.deadlines.first_byte),
                CloseReason::FirstByte,
            );
        };
        match self.machine.waiting() {
            Waiting::RestOfHead => {
                let whole = self
                    .times
                    .head_began
                    .unwrap_or(last_read)
                    .checked_add(self.deadlines.request_head);
                let next = last_read.checked_add(self.deadlines.head_progress);
                (whole.min(next), CloseReason::RequestHead)
            }
            Waiting::NextRequest => {
                // hyper does not read again when an answer is done, as it has already seen that nothing is there. So the
                // timer must run on while a request is answered; it then only looks again.
                let is_busy = self.shared.in_flight() > 0;
                let idle_since = if is_busy {
                    Instant::now()
                } else {
                    last_read.max(self.shared.idle_since())
                };
                (
                    idle_since.checked_add(self.deadlines.keep_alive_idle),
                    CloseReason::KeepAliveIdle,
                )
            }
            // The handler waits for the body and has a deadline of its own.
            Waiting::Body | Waiting::Nothing => (None, CloseReason::RequestHead),
        }
    }

    /// Reads ahead a little while an upgrade is undecided, so that a client that leaves is noticed.
    fn poll_undecided(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step>> {
        match self.shared.upgrade() {
            UpgradeDecision::Granted => {
                self.mode = Mode::Tunnel;
                self.linger = Linger::NotNeeded;
                self.cleared = self.held.len();
                self.wire.enter_tunnel();
                return Poll::Ready(Ok(Step::Again));
            }
            // The answer says `Connection: close`; what follows the head is nobody's.
            UpgradeDecision::Denied => return Poll::Pending,
            UpgradeDecision::Undecided => self.shared.wait_as_reader(cx),
        }
        if self.held.len() >= MAX_EARLY_TUNNEL_BYTES {
            return Poll::Pending;
        }
        match ready!(poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.held))? {
            0 => Poll::Ready(Ok(Step::EndOfInput)),
            _ => Poll::Ready(Ok(Step::Again)),
        }
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<Step>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            self.shared.close_because(CloseReason::DrainDeadline);
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.wire).poll_read(cx, buffer))?;
        self.conn.counters().add_read(buffer.filled().len() - before);
        Poll::Ready(Ok(Step::Given))
    }

    fn observe_write<T>(&mut self, result: Poll<Result<T>>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if matches!(self.mode, Mode::Tunnel) {
            return result;
        }
        let ending = if result.is_pending() {
            self.shared.ending()
        } else {
            None
        };
        let limit = self.deadlines.write_progress;
        if self.write_watch.observe(&result, limit, ending, cx) {
            self.shared.close_because(CloseReason::WriteProgress);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        result
    }

    /// The system gave the peer up while something waited for it.
    fn noted(&self, error: Error) -> Error {
        if self.write_watch.explains(&error) {
            self.shared.close_because(CloseReason::WriteProgress);
        }
        error
    }

    /// Reads and discards for a short while behind a refusal, else the kernel answers unread bytes with a reset that
    /// destroys our answer on its way (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let Linger::Until(until, discarded) = &mut self.linger else {
                return Poll::Ready(Ok(()));
            };
            let until = *until.get_or_insert_with(|| Instant::now() + self.deadlines.linger);
            self.held.clear();
            let over = match poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.held) {
                Poll::Ready(Ok(0) | Err(_)) => true,
                Poll::Ready(Ok(len)) => {
                    *discarded += len;
                    *discarded > MAX_LINGER_BYTES
                }
                Poll::Pending if self.read_deadline.poll(Some(until), cx) => true,
                Poll::Pending => return Poll::Pending,
            };
            if over {
                self.linger = Linger::NotNeeded;
            }
        }
    }
}

/// What one attempt to read brought.
enum Step {
    Given,
    Again,
    EndOfInput,
}

impl<S: Wire, L: Unpin> AsyncRead for GuardedIo<S, L> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let step = match &mut this.mode {
                Mode::Http => ready!(this.poll_http(cx, buffer)).map_err(|error| this.noted(error))?,
                Mode::Refused([]) => return Poll::Pending,
                Mode::Refused(stand_in) => {
                    let (now, later) = stand_in.split_at(stand_in.len().min(buffer.remaining()));
                    buffer.put_slice(now);
                    *stand_in = later;
                    Step::Given
                }
                Mode::Broken => {
                    let violation = this.shared.broken();
                    let error = violation.map_or_else(
                        || Error::from(ErrorKind::InvalidData),
                        |violation| Error::new(ErrorKind::InvalidData, violation),
                    );
                    return Poll::Ready(Err(error));
                }
                Mode::Undecided => ready!(this.poll_undecided(cx))?,
                Mode::Tunnel => ready!(this.poll_tunnel(cx, buffer))?,
            };
            match step {
                Step::Again => {}
                Step::Given | Step::EndOfInput => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: Wire, L: Unpin> AsyncWrite for GuardedIo<S, L> {
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
        if this.machine.waiting() == Waiting::Body && this.linger == Linger::NotNeeded {
            this.linger = Linger::Until(None, 0);
        }
        this.poll_linger(cx)
    }
}

/// What hyper reads in the place of a refused head. Its answer is the refusal, and the last one of the connection.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";
/// Of a client that sends into a tunnel before it is granted.
const MAX_EARLY_TUNNEL_BYTES: usize = 64 * 1024;
const MAX_LINGER_BYTES: usize = 256 * 1024;
