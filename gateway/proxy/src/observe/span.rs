//! What a trace says of one request, and the bounded way to whoever sends traces.
//!
//! **When the queue is full:** the trace is dropped and counted. Nobody waits for a collector. Invariants: a client chooses
//! neither whether its request is traced nor the trace's id; of its `traceparent` a link is kept, once it is known who
//! sent it; no credential, header, value of a query or name of an object is in a trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use model::time::Timestamp;
use tokio::sync::mpsc;

use super::Act;

/// One request that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// The request's id, which is its `Audit-ID`, as 16 bytes: the id of the trace.
    pub id: [u8; 16],
    /// The name of the cluster.
    pub cluster: Arc<str>,
    /// What it wanted.
    pub act: Act,
    /// The HTTP method.
    pub method: http::Method,
    /// The kind of object, once it was known who asks: a stranger's words are not passed on.
    pub resource: Box<str>,
    /// The status that the caller got.
    pub status: Option<u16>,
    /// The opaque id of who asked.
    pub subject: Option<Box<str>>,
    /// What proved them.
    pub credential: Option<&'static str>,
    /// Why it was refused or failed.
    pub reason: Option<&'static str>,
    /// Where a caller's own trace is.
    pub link: Option<Link>,
    /// When its head was whole.
    pub received: Timestamp,
    /// When it passed the stations.
    pub moments: Moments,
}

/// Nanoseconds since the head of a request was whole; nothing where it did not come so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Its sender was proved.
    pub proved: Option<u64>,
    /// It was decided.
    pub decided: Option<u64>,
    /// It was sent; for an effect that is when its intent was durable.
    pub sent: Option<u64>,
    /// The head of the cluster's answer came.
    pub answered: Option<u64>,
    /// The answer was released: the record of a read was durable.
    pub opened: Option<u64>,
    /// It ended.
    pub ended: u64,
}

/// A span of somebody else's trace (W3C Trace Context §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Their trace.
    pub trace: [u8; 16],
    /// Their span.
    pub span: [u8; 8],
}

/// The way to whoever sends traces.
#[derive(Debug)]
pub struct Spans {
    queue: mpsc::Sender<Span>,
    one_in: u32,
    dropped: AtomicU64,
}

impl Spans {
    /// A way with room for so many finished requests; one in `one_in` goes it.
    #[must_use]
    pub fn channel(one_in: u32, room: usize) -> (Arc<Self>, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(room);
        let way = Self {
            queue,
            one_in: one_in.max(1),
            dropped: AtomicU64::new(0),
        };
        (Arc::new(way), spans)
    }

    /// Traces for which there was no room, so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// By the last 32 bits of the id, which are random and ours (RFC 9562 §5.7).
    pub(super) fn takes(&self, id: [u8; 16]) -> bool {
        let [.., a, b, c, d] = id;
        u32::from_be_bytes([a, b, c, d]).is_multiple_of(self.one_in)
    }

    pub(super) fn offer(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Link {
    /// The caller's `traceparent`, if there is one and it is well-formed. Its flags are not looked at.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all("traceparent").iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.as_bytes())
    }

    /// Version 00, and the same members of any later one.
    fn parse(text: &[u8]) -> Option<Self> {
        let head = text.get(..55)?;
        let is_whole = text.len() == 55 || (text.get(55) == Some(&b'-') && !head.starts_with(b"00"));
        let mut parts = head.split(|byte| *byte == b'-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version]: [u8; 1] = bytes(version)?;
        let _: [u8; 1] = bytes(flags)?;
        let link = Self {
            trace: bytes(trace)?,
            span: bytes(span)?,
        };
        let is_real = version != 0xff && link.trace != [0; 16] && link.span != [0; 8];
        (is_whole && is_real && parts.next().is_none()).then_some(link)
    }
}

/// Lower-case hexadecimal digits, as many as there must be.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Entry for the fuzzer: any bytes are a link or none.
pub fn fuzz_traceparent(data: &[u8]) {
    if let Some(link) = Link::parse(data) {
        assert!(link.trace != [0; 16] && link.span != [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_is_taken_as_the_standard_writes_it_and_not_otherwise() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let link = Link::parse(good.as_bytes()).unwrap();
        assert_eq!((link.trace[0], link.span[7]), (0x0a, 0x31));
        assert!(Link::parse(format!("01-{TRACE}-{SPAN}-00-more").as_bytes()).is_some());
        for bad in [
            String::new(),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}{SPAN}--01"),
        ] {
            assert_eq!(Link::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", format!("00-{TRACE}-{SPAN}-01").parse().unwrap());
        assert!(Link::of(&headers).is_some());
        headers.append("traceparent", format!("00-{TRACE}-{SPAN}-01").parse().unwrap());
        assert!(Link::of(&headers).is_none());
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (spans, mut queue) = Spans::channel(1, 1);
        let span = Span {
            id: [7; 16],
            cluster: "prod".into(),
            act: Act::Get,
            method: http::Method::GET,
            resource: "pods".into(),
            status: Some(200),
            subject: None,
            credential: None,
            reason: None,
            link: None,
            received: Timestamp::EPOCH,
            moments: Moments::default(),
        };
        assert!(spans.takes(span.id));
        spans.offer(span.clone());
        spans.offer(span.clone());
        spans.offer(span);
        assert_eq!(spans.dropped(), 2);
        assert!(queue.try_recv().is_ok() && queue.try_recv().is_err());
    }

    #[test]
    fn one_in_so_many_is_taken() {
        let (spans, _queue) = Spans::channel(4, 1);
        let id = |last: u8| {
            let mut id = [9; 16];
            id[12..].copy_from_slice(&[0, 0, 0, last]);
            id
        };
        let taken = (0..=255).filter(|last| spans.takes(id(*last))).count();
        assert_eq!(taken, 64);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_link_or_none(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            fuzz_traceparent(&data);
        }

        #[test]
        fn what_is_written_is_read(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let text = format!("00-{}-{}-{flags:02x}", hex::encode(trace), hex::encode(span));
            prop_assert_eq!(Link::parse(text.as_bytes()), Some(Link { trace, span }));
        }
    }
}
