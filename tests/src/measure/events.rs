//! Watches as clients hold them, each event noted with the time it came, and the comparison of two watches on the same
//! objects. Invariant: what is compared is the bytes of the events in their order, so that one that is lost, doubled, swapped
//! or changed by a single byte is a difference.

use super::load;
use super::real::Way;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::task::JoinSet;

/// One event as it came.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What stands for its bytes. Events differ in their resource versions, so no two of one watch are the same.
    pub digest: u64,
    /// When its last byte was read.
    pub at: Instant,
}

/// What one watch has brought so far.
#[derive(Debug, Default)]
pub struct Watch {
    events: Mutex<Vec<Event>>,
}

impl Watch {
    /// The events so far, in the order in which they came.
    pub fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How two watches on the same objects differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The event at this place never came.
    Lost(usize),
    /// The event at this place had come before.
    Doubled(usize),
    /// The event at this place belongs behind others that came later.
    OutOfOrder(usize),
    /// The event at this place is none of the other watch's.
    Changed(usize),
}

/// Holds one watch against the direct one.
///
/// # Errors
/// The first difference.
pub fn compare(direct: &[u64], through: &[u64]) -> Result<(), Difference> {
    let at = direct
        .iter()
        .zip(through)
        .take_while(|(one, other)| one == other)
        .count();
    match (direct.get(at), through.get(at)) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(Difference::Lost(at)),
        (_, Some(found)) if through.iter().take(at).any(|before| before == found) => Err(Difference::Doubled(at)),
        (missing, Some(found)) => {
            let comes_later = missing.is_some_and(|missing| through.iter().skip(at).any(|later| later == missing));
            match direct.contains(found) {
                true if comes_later => Err(Difference::OutOfOrder(at)),
                true => Err(Difference::Lost(at)),
                false => Err(Difference::Changed(at)),
            }
        }
    }
}

/// Opens one connection with a watch for each target and notes what they bring, until `tasks` is ended. A watch that ends
/// is an error of its task.
///
/// # Errors
/// A watch does not begin.
pub async fn follow(
    way: &Way,
    source: Option<std::net::IpAddr>,
    is_http2: bool,
    targets: &[String],
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Vec<Arc<Watch>>> {
    let tls = load::client_config(&way.ca, is_http2)?;
    let io = TokioIo::new(load::connect(way.address, &tls, source).await?);
    let mut sender = if is_http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tasks.spawn(async move { connection.await.context("the connection of watches broke") });
        Sender::Two(sender)
    } else {
        ensure!(targets.len() == 1, "one watch on each connection of HTTP/1.1");
        let (sender, connection) = http1::handshake(io).await?;
        tasks.spawn(async move { connection.await.context("the connection of a watch broke") });
        Sender::One(sender)
    };
    let mut watches = Vec::new();
    for target in targets {
        let uri = format!("{}{target}", way.prefix);
        let request = Request::get(if is_http2 {
            format!("https://{}{uri}", way.address)
        } else {
            uri
        })
        .header("authorization", format!("Bearer {}", way.token))
        .header("accept", "application/json");
        let request = if is_http2 {
            request
        } else {
            request.header("host", way.address.to_string())
        };
        let answer = sender.send(request.body(Empty::new())?).await?;
        ensure!(answer.status() == 200, "{target}: {}", answer.status());
        let watch = Arc::new(Watch::default());
        watches.push(Arc::clone(&watch));
        let target = target.clone();
        tasks.spawn(async move {
            note(answer.into_body(), &watch).await?;
            anyhow::bail!("the watch {target} ended")
        });
    }
    // Without a sender a connection of HTTP/2 would end with its last stream.
    tasks.spawn(async move {
        let _held = sender;
        std::future::pending().await
    });
    Ok(watches)
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<hyper::Response<Incoming>> {
        match self {
            Self::One(sender) => sender.send_request(request).await,
            Self::Two(sender) => sender.send_request(request).await,
        }
    }
}

async fn note(mut body: Incoming, watch: &Watch) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            let at = Instant::now();
            let mut events = watch.events();
            lines.feed(&piece, |digest| events.push(Event { digest, at }));
        }
    }
    Ok(())
}

/// Digests of lines that come in pieces.
#[derive(Debug, Default)]
struct Lines {
    open: DefaultHasher,
}

impl Lines {
    fn feed(&mut self, mut piece: &[u8], mut line: impl FnMut(u64)) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (last, rest) = piece.split_at(end + 1);
            self.take(last);
            line(std::mem::take(&mut self.open).finish());
            piece = rest;
        }
        self.take(piece);
    }

    /// Byte by byte, so that it does not matter where pieces end.
    fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            byte.hash(&mut self.open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_watches_that_brought_the_same_are_the_same() {
        assert_eq!(compare(&[], &[]), Ok(()));
        assert_eq!(compare(&[1, 2, 3], &[1, 2, 3]), Ok(()));
    }

    #[test]
    fn a_lost_doubled_swapped_or_changed_event_is_found_with_its_place() {
        let direct = [1, 2, 3, 4];
        for (through, found) in [
            (&[2, 3, 4][..], Difference::Lost(0)),
            (&[1, 2, 4], Difference::Lost(2)),
            (&[1, 2, 3], Difference::Lost(3)),
            (&[], Difference::Lost(0)),
            (&[1, 1, 2, 3, 4], Difference::Doubled(1)),
            (&[1, 2, 3, 4, 4], Difference::Doubled(4)),
            (&[1, 2, 3, 4, 2], Difference::Doubled(4)),
            (&[1, 3, 2, 4], Difference::OutOfOrder(1)),
            (&[4, 1, 2, 3], Difference::OutOfOrder(0)),
            (&[1, 2, 9, 4], Difference::Changed(2)),
            (&[1, 2, 3, 4, 9], Difference::Changed(4)),
        ] {
            assert_eq!(compare(&direct, through), Err(found), "{through:?}");
        }
    }

    #[test]
    fn a_line_is_the_same_however_it_was_cut_and_another_with_one_byte_changed() {
        let read = |pieces: &[&[u8]]| {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            pieces
                .iter()
                .for_each(|piece| lines.feed(piece, |digest| found.push(digest)));
            found
        };
        let whole = read(&[b"{\"a\":1}\n{\"a\":2}\n"]);
        assert_eq!(whole.len(), 2);
        assert_ne!(whole[0], whole[1]);
        assert_eq!(read(&[b"{\"a\"", b":1", b"}\n{\"a\":2", b"}\n"]), whole);
        assert_eq!(
            read(&[b"{\"a\":1}\n{\"a\":2}"]),
            whole[..1],
            "a line without its end is none yet"
        );
        assert_ne!(read(&[b"{\"a\":1}\n{\"a\":3}\n"])[1], whole[1]);
    }
}
