//! The streams of one SPDY connection and what each of them carries.
//!
//! Invariants: an id means one stream for the life of the connection (Go's server answers a second SYN_STREAM of the same or a
//! lower id with a reset and stays with the first); a client cannot make what comes Down untold, by the end or a reset of the
//! stream either, behind which Go's server goes on writing to it (spdystream `Stream.Write` asks nothing). So a stream goes only
//! when the server has ended it; what comes Down and is not told, of no stream that is known, is an error. So is what a client sends
//! where it may arrive or not: what is told as sent to the pod has a reader there, and what is not told is dropped by the server.

use std::collections::{HashMap, VecDeque};

use super::super::{Channel, Version, Way, Why};
use super::Meaning;
use super::headers::{Opening, StreamKind};

/// All streams that are known.
#[derive(Debug)]
pub(super) struct Streams {
    meaning: Meaning,
    known: HashMap<u32, Stream>,
    /// Those of a port-forward that the client gave up and the server did not end since; it owes them no end.
    given_up: VecDeque<u32>,
    /// Those of a port-forward that are over. The newest stay known: what a server writes for a moment behind its own end is told.
    over: VecDeque<u32>,
    /// That the client opened.
    last: u32,
    /// The lowest that the server takes (spdystream `validateStreamId`).
    next: u32,
    /// How many are opened that the server has neither taken nor refused.
    waiting: usize,
    /// Halves of a port-forward's connections whose other half has not come, by request id.
    halves: HashMap<Box<[u8]>, Half>,
    connections: u32,
}

#[derive(Debug)]
struct Stream {
    /// None if nobody reads it.
    channel: Option<Channel>,
    /// The server has not replied to its opening.
    waits: bool,
    is_open: PerWay<bool>,
    /// The client ended it behind the server's end: then the server knows it no more.
    is_gone: bool,
    /// Each side may do so; told once for each.
    is_reset: PerWay<bool>,
    /// Under which request it waits, or once waited, for its other half.
    request: Option<Box<[u8]>>,
}

#[derive(Debug)]
struct Half {
    stream: u32,
    is_data: bool,
    connection: u32,
}

/// One of a thing for each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PerWay<T> {
    pub(super) up: T,
    pub(super) down: T,
}

impl<T> PerWay<T> {
    pub(super) fn of(&mut self, way: Way) -> &mut T {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Streams {
    pub(super) fn new(meaning: Meaning) -> Self {
        Self {
            meaning,
            known: HashMap::new(),
            given_up: VecDeque::new(),
            over: VecDeque::new(),
            last: 0,
            next: 1,
            waiting: 0,
            halves: HashMap::new(),
            connections: 0,
        }
    }

    /// Opens the stream `id` of the client; says what it carries.
    pub(super) fn open(&mut self, id: u32, opening: &Opening<'_>) -> Result<Option<Channel>, Why> {
        if id < self.next {
            return Err("a SPDY stream id that its server refuses");
        }
        (self.last, self.next) = (id, id.saturating_add(2));
        while self.known.len() >= MAX_KNOWN {
            let oldest = self.over.pop_front().or_else(|| self.given_up.pop_front());
            self.forget(oldest.ok_or("more than 4096 SPDY streams at once")?);
        }
        let mut request = None;
        let channel = match self.meaning {
            Meaning::Command { version } => {
                let channel = command_channel(opening.kind, version);
                // Which of two the pod reads is for its runtime to choose.
                if channel.is_some() && self.known.values().any(|stream| stream.channel == channel) {
                    return Err("a second SPDY stream for the same channel");
                }
                channel
            }
            Meaning::Forward => self.forward_channel(id, opening, &mut request),
        };
        self.waiting += 1;
        let stream = Stream {
            channel,
            waits: true,
            is_open: PerWay { up: true, down: true },
            is_gone: false,
            is_reset: PerWay::default(),
            request,
        };
        self.known.insert(id, stream);
        Ok(channel)
    }

    /// Passes over an opening that the server refuses, because it has said farewell.
    pub(super) fn refused(&mut self, id: u32) {
        self.next = self.next.max(id.saturating_add(2));
    }

    /// The server has taken stream `id`.
    pub(super) fn taken(&mut self, id: u32) {
        if let Some(stream) = self.known.get_mut(&id)
            && std::mem::take(&mut stream.waits)
        {
            self.waiting -= 1;
        }
    }

    /// The channel that `bytes` more of stream `id` are for; None if the server drops them.
    pub(super) fn data(&mut self, way: Way, id: u32) -> Result<Option<Channel>, Why> {
        match way {
            Way::Up => self.data_up(id),
            Way::Down => {
                let stream = self.known.get(&id).ok_or("SPDY data of a stream that is not known")?;
                let channel = stream.channel.filter(|channel| channel.flows(Way::Down));
                channel.ok_or("SPDY data of a server that nobody reads").map(Some)
            }
        }
    }

    fn data_up(&self, id: u32) -> Result<Option<Channel>, Why> {
        let Some(stream) = self.known.get(&id) else {
            return self.is_past(id).map(|()| None);
        };
        // kubectl may write on to a stream that was given up by it or by the server, and to standard input that it has ended because
        // the server had (client-go `copyStdin`): servers drop that.
        if stream.is_reset.up || stream.is_reset.down || stream.is_gone {
            return Ok(None);
        }
        // Go's reader may deliver it or not: nobody could say what the pod was sent.
        if !stream.is_open.up {
            return Err("SPDY data behind the end of its stream");
        }
        // Clients wait for the reply, those of a command for all replies. The runtime takes as many streams as the query asks for,
        // whichever they are: one more is never read, nor are others that Go's server reads after it (cri-streaming `waitForStreams`,
        // spdystream `FRAME_WORKERS`).
        let waits = match self.meaning {
            Meaning::Command { .. } => self.waiting > 0,
            Meaning::Forward => stream.waits,
        };
        if waits {
            return Err("SPDY data in front of its server's reply");
        }
        // As if there were one more: its reader waits for a reader of this.
        let channel = stream.channel.filter(|channel| channel.flows(Way::Up));
        channel.ok_or("SPDY data of a client that nobody reads").map(Some)
    }

    /// Go's server sorts what waits for a worker: it may take what comes in front of its stream for that stream.
    fn is_past(&self, id: u32) -> Result<(), Why> {
        if id < self.next {
            Ok(())
        } else {
            Err("a SPDY frame of a client in front of its stream")
        }
    }

    /// No more of stream `id` comes this way; says what it carried, once.
    pub(super) fn end(&mut self, way: Way, id: u32) -> Result<Option<Channel>, Why> {
        if way == Way::Up {
            self.is_past(id)?;
        }
        let Some(stream) = self.known.get_mut(&id) else {
            return Ok(None);
        };
        let was_open = std::mem::take(stream.is_open.of(way));
        stream.is_gone |= way == Way::Up && was_open && !stream.is_open.down;
        let channel = stream.channel.filter(|_| was_open);
        if was_open && !stream.is_open.up && !stream.is_open.down {
            self.is_over(id);
        }
        Ok(channel)
    }

    /// Stream `id` was given up; says what it carried.
    pub(super) fn reset(&mut self, way: Way, id: u32) -> Result<Option<Channel>, Why> {
        match way {
            Way::Up => self.is_past(id)?,
            Way::Down => self.taken(id), // no longer waited for
        }
        let Some(stream) = self.known.get_mut(&id) else {
            return Ok(None);
        };
        // Behind the server's reset its client has nothing more to say.
        let was_over = stream.is_reset.down || (!stream.is_open.up && !stream.is_open.down);
        let was_reset = std::mem::replace(stream.is_reset.of(way), true);
        let channel = stream.channel.filter(|_| !was_over && !was_reset);
        stream.is_open.up = false;
        stream.is_open.down &= way == Way::Up;
        match (was_over, stream.is_open.down) {
            (true, _) => {}
            (false, false) => self.is_over(id),
            (false, true) if was_reset => {}
            (false, true) => self.give_up(id),
        }
        Ok(channel)
    }

    /// Lets stream `id` be forgotten when room is needed. Those of a command stay: there are five.
    fn give_up(&mut self, id: u32) {
        if matches!(self.meaning, Meaning::Command { .. }) {
            return;
        }
        if self.given_up.len() >= 2 * MAX_KNOWN {
            self.given_up.retain(|id| self.known.contains_key(id));
        }
        self.given_up.push_back(id);
    }

    /// Nothing more comes of stream `id`. It waits for no other half, and is forgotten as soon as enough others are over.
    fn is_over(&mut self, id: u32) {
        self.waits_no_more(id);
        if matches!(self.meaning, Meaning::Command { .. }) {
            return;
        }
        self.over.push_back(id);
        if self.over.len() > MAX_OVER
            && let Some(oldest) = self.over.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, id: u32) {
        self.waits_no_more(id);
        self.taken(id);
        self.known.remove(&id);
    }

    fn waits_no_more(&mut self, id: u32) {
        let request = self.known.get_mut(&id).and_then(|stream| stream.request.take());
        if let Some(request) = request
            && self.halves.get(&request).is_some_and(|half| half.stream == id)
        {
            self.halves.remove(&request);
        }
    }

    /// The streams that may still carry something Down, in the order in which they were opened.
    pub(super) fn open_down(&self) -> Vec<(u32, Channel)> {
        let open = self.known.iter().filter(|(_, stream)| stream.is_open.down);
        let mut open: Vec<_> = open.filter_map(|(id, stream)| Some((*id, stream.channel?))).collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        open
    }

    /// The last stream that the client opened.
    pub(super) fn last_up(&self) -> u32 {
        self.last
    }

    pub(super) fn held_bytes(&self) -> usize {
        let requests = self.known.values().filter_map(|stream| stream.request.as_ref());
        self.known.capacity() * size_of::<(u32, Stream)>()
            + self.halves.capacity() * size_of::<(Box<[u8]>, Half)>()
            + (self.given_up.capacity() + self.over.capacity()) * size_of::<u32>()
            + requests.map(|request| 2 * request.len()).sum::<usize>()
    }

    /// Finds the connection of a stream by its request, as k8s.io/cri-streaming/pkg/streaming/portforward does.
    fn forward_channel(&mut self, id: u32, opening: &Opening<'_>, waits: &mut Option<Box<[u8]>>) -> Option<Channel> {
        let port = opening.port?;
        let is_data = match opening.kind? {
            StreamKind::Data => true,
            StreamKind::Error => false,
            StreamKind::Stdin | StreamKind::Stdout | StreamKind::Stderr | StreamKind::Resize => return None,
        };
        let request = request(id, is_data, opening.request);
        let connection = match self.halves.get(&request) {
            Some(half) if half.is_data != is_data => {
                let connection = half.connection;
                self.halves.remove(&request);
                connection
            }
            // The server refuses it; what it carries is told all the same, as a connection of its own.
            Some(_) => self.next_connection(),
            None => {
                let connection = self.next_connection();
                let half = Half {
                    stream: id,
                    is_data,
                    connection,
                };
                self.halves.insert(request.clone(), half);
                *waits = Some(request);
                connection
            }
        };
        Some(if is_data {
            Channel::Forward { connection, port }
        } else {
            Channel::ForwardError { connection, port }
        })
    }

    fn next_connection(&mut self) -> u32 {
        let connection = self.connections;
        self.connections = connection.saturating_add(1);
        connection
    }
}

/// Clients without request ids open the error stream first and the data stream next.
fn request(id: u32, is_data: bool, said: &[u8]) -> Box<[u8]> {
    if !said.is_empty() {
        return said.into();
    }
    let id = if is_data { i64::from(id) - 2 } else { i64::from(id) };
    id.to_string().into_bytes().into_boxed_slice()
}

/// The runtime looks at no sizes before v3 (cri-streaming `v2ProtocolHandler`), nor does a client tell them.
fn command_channel(kind: Option<StreamKind>, version: Version) -> Option<Channel> {
    Some(match kind? {
        StreamKind::Stdin => Channel::Stdin,
        StreamKind::Stdout => Channel::Stdout,
        StreamKind::Stderr => Channel::Stderr,
        StreamKind::Error => Channel::Status,
        StreamKind::Resize if version >= Version::V3 => Channel::Resize,
        StreamKind::Resize | StreamKind::Data => return None,
    })
}

/// At once. A port-forward opens two for each connection.
const MAX_KNOWN: usize = 4096;
/// Of a port-forward's streams that are over so many stay known.
const MAX_OVER: usize = 256;
