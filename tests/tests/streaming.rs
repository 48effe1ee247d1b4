//! Answers that come piece by piece, over both protocols on both sides: what the cluster says passes at once and as it was
//! said, and who reads slowly harms nobody else. The API server's stand-in says each piece when the story wants it to.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::fed::{Fed, Feed, PIECE, Speaks, long_piece};
use tests::frames::{DATA, END_STREAM, HEADERS, Http2, RST_STREAM};
use tests::gateway::{Gateway, Options};
use tests::http::Stream;
use tests::metrics::Scrape;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const CONFIGMAPS: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const WATCH: &str = "/clusters/bench/api/v1/namespaces/default/configmaps?watch=1";
const LOG: &str = "/clusters/bench/api/v1/namespaces/default/pods/p/log?follow=true";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway before a stand-in, and somebody who may do everything.
struct Stage {
    fed: Fed,
    gateway: Gateway,
    bearer: String,
}

impl Stage {
    fn new(speaks: Speaks, more: Option<Value>) -> anyhow::Result<Self> {
        let fed = Fed::start(speaks)?;
        let options = Options {
            authorization: Some("observe"),
            more,
            ..Options::default()
        };
        let gateway = Gateway::before(&fed.upstream(), &options)?;
        let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
        Ok(Self { fed, gateway, bearer })
    }

    fn authority(&self) -> String {
        self.gateway.address.to_string()
    }

    fn http1(&self, target: &str) -> anyhow::Result<Reader> {
        let stream = self.gateway.client()?.open()?;
        Old::ask(stream, &self.authority(), &self.bearer, target).map(Reader::Http1)
    }

    fn http2(&self, target: &str) -> anyhow::Result<Reader> {
        let mut http2 = Http2::begin(self.gateway.client()?.http2()?)?;
        http2.get(1, &self.authority(), target, &[("authorization", &self.bearer)])?;
        Ok(Reader::Http2(http2))
    }

    fn scrape(&self) -> anyhow::Result<Scrape> {
        Scrape::of(self.gateway.admin())
    }
}

/// Reads one answer, over either protocol.
enum Reader {
    Http1(Old),
    Http2(Http2),
}

impl Reader {
    /// The answer has begun: its status line or its first HEADERS frame.
    fn head(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Http1(old) => old.head().map(drop),
            Self::Http2(http2) => {
                let frame = http2.next_frame()?;
                ensure!(frame.kind == HEADERS && frame.flags & END_STREAM == 0, "{frame:?}");
                Ok(())
            }
        }
    }

    /// The next bytes of the body as they came; `None` at its clean end.
    fn piece(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Http1(old) => old.chunk(),
            Self::Http2(http2) => {
                let frame = http2.next_frame()?;
                ensure!(frame.kind == DATA, "the stream ended with frame {}", frame.kind);
                if frame.payload.is_empty() && frame.flags & END_STREAM != 0 {
                    return Ok(None);
                }
                http2.takes(1, u32::try_from(frame.payload.len())?)?;
                Ok(Some(frame.payload))
            }
        }
    }

    /// Waits until exactly these bytes have come.
    fn says(&mut self, wanted: &[u8]) -> anyhow::Result<()> {
        let mut said = Vec::new();
        while said.len() < wanted.len() {
            said.extend(self.piece()?.context("it has ended")?);
        }
        ensure!(
            said == wanted,
            "{} instead of {}",
            said.escape_ascii(),
            wanted.escape_ascii()
        );
        Ok(())
    }
}

/// One answer over HTTP/1.1, chunk by chunk.
struct Old {
    stream: Stream,
    held: Vec<u8>,
}

impl Old {
    fn ask(mut stream: Stream, host: &str, bearer: &str, target: &str) -> anyhow::Result<Self> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes())?;
        stream.sock.set_read_timeout(Some(PATIENCE))?;
        let held = Vec::new();
        Ok(Self { stream, held })
    }

    /// What stands before `end`, which is taken with it.
    fn until(&mut self, end: &[u8]) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.held.windows(end.len()).position(|part| part == end) {
                let rest = self.held.split_off(at + end.len());
                let mut taken = std::mem::replace(&mut self.held, rest);
                taken.truncate(at);
                return Ok(taken);
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> anyhow::Result<()> {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece)?;
        ensure!(read > 0, "the connection ended");
        self.held.extend(piece.iter().take(read));
        Ok(())
    }

    fn head(&mut self) -> anyhow::Result<String> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?)?;
        ensure!(
            head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("transfer-encoding: chunked"),
            "{head}"
        );
        Ok(head)
    }

    fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(std::str::from_utf8(&self.until(b"\r\n")?)?, 16)?;
        while self.held.len() < length + 2 {
            self.more()?;
        }
        let rest = self.held.split_off(length + 2);
        let mut chunk = std::mem::replace(&mut self.held, rest);
        ensure!(chunk.ends_with(b"\r\n"), "a chunk without its end");
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }
}

/// How a reader is made.
type Ask = fn(&Stage, &str) -> anyhow::Result<Reader>;
const BOTH: [Ask; 2] = [Stage::http1, Stage::http2];

/// Informers wait for the head, and people for the next line: with a threshold anywhere on the way, each of these would wait
/// for ever, as nothing follows.
#[test]
fn g_01_g_02_g_05_a_head_and_each_single_byte_pass_at_once_whichever_protocols_are_spoken() -> anyhow::Result<()> {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let stage = Stage::new(speaks, None)?;
        for (target, ask) in [WATCH, LOG]
            .into_iter()
            .flat_map(|target| BOTH.map(|ask| (target, ask)))
        {
            let mut reader = ask(&stage, target)?;
            let feed = stage.fed.next()?.begin(200, &[JSON])?;
            reader.head().with_context(|| format!("{speaks:?} {target}"))?;
            for byte in b"{\"one\":1}\n" {
                feed.say(vec![*byte])?;
                reader.says(&[*byte]).with_context(|| format!("{speaks:?} {target}"))?;
            }
            let open = stage.scrape()?.sum("gateway_session_long_calls_open", &[]);
            ensure!(open >= 1.0, "{target} is no call that goes on");
            drop(feed);
            ensure!(reader.piece()?.is_none(), "its end is a clean one");
        }
    }
    Ok(())
}

/// Two gzip members, as an API server makes one for each flush of a watch (RFC 1952 §2.2).
const MEMBERS: [&[u8]; 2] = [
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x72\x74\x71\x71\x75\x51\xd2\x51\xca\x4f\xca\x4a\x4d\x2e\x51\xb2\xaa\x56\xca\x4d\x2d\x49\x4c\x49\x2c\x49\x04\xb1\xf3\x12\x73\x41\x8a\xf2\xf3\x52\x95\x6a\x6b\x6b\xb9\x00\x9a\xae\x5a\x28\x36\x00\x00\x00",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x72\x74\x71\x71\x75\x51\xd2\x51\xca\x4f\xca\x4a\x4d\x2e\x51\xb2\xaa\x56\xca\x4d\x2d\x49\x4c\x49\x2c\x49\x04\xb1\xf3\x12\x73\x41\x8a\x4a\xca\xf3\x95\x6a\x6b\x6b\xb9\x00\x9c\x79\x56\x5a\x36\x00\x00\x00",
];

#[test]
fn g_13_each_gzip_member_of_a_watch_passes_at_once_and_as_it_is() -> anyhow::Result<()> {
    let stage = Stage::new(Speaks::Http2, None)?;
    for ask in BOTH {
        let mut reader = ask(&stage, WATCH)?;
        let feed = stage.fed.next()?.begin(200, &[JSON, ("content-encoding", "gzip")])?;
        match &mut reader {
            Reader::Http1(old) => {
                let head = old.head()?;
                ensure!(head.to_lowercase().contains("content-encoding: gzip"), "{head}");
            }
            Reader::Http2(_) => reader.head()?,
        }
        for member in MEMBERS {
            feed.say(member)?;
            reader.says(member)?;
        }
        drop(feed);
        ensure!(reader.piece()?.is_none(), "its end is a clean one");
    }
    Ok(())
}

/// What a stream's window takes, in pieces, and what may lie ready behind it.
const WINDOW: u64 = 256 * 1024 / PIECE as u64;
const READY: u64 = 4;

fn fills(taken: &[Arc<AtomicU64>]) -> anyhow::Result<()> {
    try_until("each has what its window takes", PATIENCE, || {
        let least = taken.iter().map(|taken| taken.load(Ordering::Acquire)).min();
        ensure!(least >= Some(WINDOW - 1), "{least:?} of {WINDOW}");
        Ok(())
    })
}

/// A hundred answers to `target` on one connection of a client that takes nothing; what of each the stand-in has handed over.
fn hundred_stalled(stage: &Stage, target: &str) -> anyhow::Result<(Http2, Vec<Arc<AtomicU64>>)> {
    let mut stalled = Http2::begin_without_window(stage.gateway.client()?.http2()?)?;
    let mut taken = Vec::new();
    for number in 0..100_u32 {
        let fields = [("authorization", stage.bearer.as_str())];
        stalled.get(2 * number + 1, &stage.authority(), target, &fields)?;
        taken.push(stage.fed.next()?.answer_long(64)?);
        while stalled.next_frame()?.kind != HEADERS {}
    }
    Ok((stalled, taken))
}

/// Two hundred pieces of one answer, each said when the one before was read; how long all but the slowest two took to come, in
/// milliseconds. For a person to read: nothing here is judged by a clock.
fn events(feed: &Feed, reader: &mut Reader) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    for number in 0..200 {
        let event = long_piece(number);
        let began = Instant::now();
        feed.say(event.clone())?;
        reader.says(&event)?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    took.sort_by(f64::total_cmp);
    took.iter().rev().nth(2).copied().context("two hundred events")
}

/// Watches share a connection to the API server. Whoever reads theirs there gets each event, though a hundred beside it, of
/// somebody else and of their own, are read by nobody.
#[test]
fn g_08_i_04_a_hundred_stalled_watches_harm_none_of_those_who_share_their_connection() -> anyhow::Result<()> {
    const HERS: u32 = 201;
    let mut stage = Stage::new(Speaks::Http2, None)?;
    let alice = stage.bearer.clone();
    stage.bearer = format!("Bearer {}", stage.gateway.sign_in("bob")?.token);
    let mut his = stage.http1(WATCH)?;
    let his_feed = stage.fed.next()?.begin(200, &[JSON])?;
    his.head()?;
    let alone = events(&his_feed, &mut his)?;

    stage.bearer = alice;
    let (mut stalled, taken) = hundred_stalled(&stage, WATCH)?;
    fills(&taken)?;
    let beside = events(&his_feed, &mut his)?;

    // One more on the very connection of the client on which the others stall: it alone is given room.
    stalled.get(HERS, &stage.authority(), WATCH, &[("authorization", &stage.bearer)])?;
    let her_feed = stage.fed.next()?.begin(200, &[JSON])?;
    while stalled.next_frame()?.stream != HERS {}
    for number in 0..50 {
        let event = long_piece(number);
        stalled.takes(HERS, u32::try_from(event.len())?)?;
        her_feed.say(event.clone())?;
        let mut said = Vec::new();
        while said.len() < event.len() {
            let frame = stalled.next_frame()?;
            ensure!(
                (frame.kind, frame.stream) == (DATA, HERS),
                "frame {} of stream {}",
                frame.kind,
                frame.stream
            );
            said.extend(frame.payload);
        }
        ensure!(said == event, "event {number} is another");
    }
    println!("stalled=100 class=Watch p99_alone_ms={alone:.3} p99_beside_ms={beside:.3}");
    let open = stage
        .scrape()?
        .sum("gateway_upstream_open_connections", &[("class", "Watch")]);
    ensure!((open - 1.0).abs() < f64::EPSILON, "{open} connections: they share none");
    // And each of the hundred holds its window and not all that is there for it.
    for taken in &taken {
        let taken = taken.load(Ordering::Acquire);
        ensure!(taken <= WINDOW + READY, "{taken} pieces of {PIECE} bytes");
    }
    Ok(())
}

/// Followed logs share none: each has a connection of its own, also where their client has one for all. Whoever reads one gets
/// each line, and so does whoever watches.
#[test]
fn g_08_a_hundred_stalled_logs_harm_neither_another_log_nor_a_watch() -> anyhow::Result<()> {
    let mut stage = Stage::new(Speaks::Http2, None)?;
    let alice = stage.bearer.clone();
    stage.bearer = format!("Bearer {}", stage.gateway.sign_in("bob")?.token);
    let begin = |target| {
        let mut reader = stage.http1(target)?;
        let feed = stage.fed.next()?.begin(200, &[("content-type", "text/plain")])?;
        reader.head()?;
        anyhow::Ok((feed, reader))
    };
    let (log_feed, mut log) = begin(LOG)?;
    let (watch_feed, mut watch) = begin(WATCH)?;
    let alone = events(&log_feed, &mut log)?;

    stage.bearer = alice;
    let (_stalled, taken) = hundred_stalled(&stage, LOG)?;
    let beside = events(&log_feed, &mut log)?;
    events(&watch_feed, &mut watch)?;
    println!("stalled=100 class=FollowLog p99_alone_ms={alone:.3} p99_beside_ms={beside:.3}");
    let scrape = stage.scrape()?;
    let open = |class| scrape.sum("gateway_upstream_open_connections", &[("class", class)]);
    assert_eq!((open("FollowLog"), open("Watch")), (101.0, 1.0));
    ensure!(
        taken.iter().all(|taken| taken.load(Ordering::Acquire) > 0),
        "each of the hundred has begun"
    );
    Ok(())
}

/// Behind a `proxy` subresource somebody else than the API server chooses the pieces of an answer. On a connection of HTTP/2 that
/// watches share, the smallest ones of a reader who stalls would end it with all of them.
#[test]
fn g_08_i_05_who_reads_nothing_of_a_backends_events_ends_nobodys_watch() -> anyhow::Result<()> {
    const EVENTS: &str = "/clusters/bench/api/v1/namespaces/default/services/x/proxy/events";
    // Above what `h2` lets wait in frames so small.
    const PIECES: u64 = 140_000;
    let mut stage = Stage::new(Speaks::Http2, None)?;
    let mut stalled = Http2::begin_without_window(stage.gateway.client()?.http2()?)?;
    stalled.get(1, &stage.authority(), EVENTS, &[("authorization", &stage.bearer)])?;
    let events = stage.fed.next()?;

    stage.bearer = format!("Bearer {}", stage.gateway.sign_in("bob")?.token);
    let mut watch = stage.http1(WATCH)?;
    let feed = stage.fed.next()?.begin(200, &[JSON])?;
    watch.head()?;

    let taken = events.answer_in_bytes(PIECES)?;
    while stalled.next_frame()?.kind != HEADERS {}
    try_until("all of them are on their way", PATIENCE, || {
        let taken = taken.load(Ordering::Acquire);
        ensure!(taken == PIECES, "{taken} of {PIECES}");
        Ok(())
    })?;
    // By the time that short calls have come and gone, what was on its way has arrived.
    calls(&stage)?;
    let event = long_piece(1);
    feed.say(event.clone())?;
    watch.says(&event)?;
    let open = |class| {
        let scrape = stage.scrape()?;
        anyhow::Ok(scrape.sum("gateway_upstream_open_connections", &[("class", class)]))
    };
    assert_eq!((open("Proxied")?, open("Watch")?), (1.0, 1.0));
    Ok(())
}

/// Two hundred short calls, one after another; how long all but the slowest two took, in milliseconds.
fn calls(stage: &Stage) -> anyhow::Result<f64> {
    let mut connection = stage.gateway.client()?.connect()?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        connection.ask("GET", CONFIGMAPS, &[("Authorization", &stage.bearer)])?;
        stage.fed.next()?.answer(200, &[JSON], "{}")?;
        let answer = connection.answer()?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
        ensure!(answer.status == 200 && answer.body == b"{}", "{answer:?}");
    }
    took.sort_by(f64::total_cmp);
    took.iter().rev().nth(2).copied().context("two hundred calls")
}

/// Between what the upstream has handed over and what the client has read lie the windows of both sides, whatever the size
/// of the whole.
#[test]
fn j_08_g_08_fifty_mebibytes_pass_and_the_gateway_holds_what_the_windows_take() -> anyhow::Result<()> {
    const PIECES: u64 = 3_200;
    const CLIENTS_WINDOW: u32 = 1 << 20;
    let stage = Stage::new(Speaks::Http2, None)?;
    let mut client = Http2::begin_without_window(stage.gateway.client()?.http2()?)?;
    client.get(1, &stage.authority(), CONFIGMAPS, &[("authorization", &stage.bearer)])?;
    let taken = stage.fed.next()?.answer_long(PIECES)?;
    while client.next_frame()?.kind != HEADERS {}
    fills(std::slice::from_ref(&taken))?;
    let without_reading = taken.load(Ordering::Acquire);
    ensure!(
        without_reading <= WINDOW + READY,
        "{without_reading} pieces were taken for nobody"
    );

    client.takes(1, CLIENTS_WINDOW)?;
    let most = WINDOW + READY + u64::from(CLIENTS_WINDOW) / PIECE as u64 + 16;
    let (mut received, mut unsaid, mut held) = (0_u64, 0_u32, Vec::new());
    loop {
        let frame = client.next_frame()?;
        ensure!(frame.kind == DATA, "it ended with frame {}", frame.kind);
        unsaid += u32::try_from(frame.payload.len())?;
        held.extend_from_slice(&frame.payload);
        while held.len() >= PIECE {
            let rest = held.split_off(PIECE);
            ensure!(held == long_piece(received), "piece {received} differs");
            (received, held) = (received + 1, rest);
        }
        let between = taken.load(Ordering::Acquire) - received;
        ensure!(between <= most, "{between} pieces are on the way");
        if frame.flags & END_STREAM != 0 {
            break;
        }
        if unsaid >= CLIENTS_WINDOW / 2 {
            client.takes(1, unsaid)?;
            unsaid = 0;
        }
    }
    assert_eq!((received, held.len()), (PIECES, 0));
    Ok(())
}

/// The limit is a minute, and this waits for it.
#[test]
fn g_09_who_takes_nothing_of_an_answer_for_a_minute_is_cut_and_the_record_says_stalled() -> anyhow::Result<()> {
    const WHY: &str = "ended by the gateway: stalled: the client takes no more of the answer";
    let stage = Stage::new(Speaks::Http2, None)?;
    let client = Http2::begin_without_window(stage.gateway.client()?.http2()?)?;
    let mut client = client.patient(PATIENCE)?;
    let fields = [("authorization", stage.bearer.as_str())];
    client.get(1, &stage.authority(), WATCH, &fields)?;
    let taken = stage.fed.next()?.answer_long(64)?;
    client.get(3, &stage.authority(), WATCH, &fields)?;
    let feed = stage.fed.next()?.begin(200, &[JSON])?;
    client.takes(3, 1 << 16)?;
    fills(&[taken])?;

    let cut = loop {
        let frame = client.next_frame()?;
        if frame.kind == RST_STREAM {
            break frame.stream;
        }
    };
    assert_eq!(cut, 1);
    feed.say("{\"goes\":\"on\"}\n")?;
    let event = loop {
        let frame = client.next_frame()?;
        if frame.kind == DATA {
            break frame;
        }
    };
    assert_eq!(
        (event.stream, event.payload.as_slice()),
        (3, b"{\"goes\":\"on\"}\n".as_slice())
    );
    let ended = |records: &[Value]| -> Vec<Value> {
        let closes = records.iter().filter(|record| record["kind"] == "close");
        closes
            .map(|close| json!([close["outcome"]["end"], close["outcome"]["why"]]))
            .collect()
    };
    let records = stage
        .gateway
        .records_with("the close", |records| !ended(records).is_empty())?;
    assert_eq!(ended(&records), [json!(["ended", WHY])]);
    assert!((stage.scrape()?.sum("gateway_listener_streams_stalled_total", &[]) - 1.0).abs() < f64::EPSILON);
    Ok(())
}

/// A request's are dropped at the listener (`h1_13_…`).
#[test]
fn g_16_a_trailer_of_an_answer_reaches_a_client_of_http2() -> anyhow::Result<()> {
    let stage = Stage::new(Speaks::Http2, None)?;
    let mut client = Http2::begin(stage.gateway.client()?.http2()?)?;
    client.get(1, &stage.authority(), CONFIGMAPS, &[("authorization", &stage.bearer)])?;
    stage.fed.next()?.answer_with_trailer("body", "grpc-status", "0")?;
    while client.next_frame()?.kind != HEADERS {}
    let mut body = Vec::new();
    let trailer = loop {
        let frame = client.next_frame()?;
        match frame.kind {
            DATA => body.extend_from_slice(&frame.payload),
            HEADERS => break frame,
            _ => {}
        }
    };
    assert_eq!(body, b"body");
    ensure!(trailer.flags & END_STREAM == END_STREAM, "{trailer:?}");
    Ok(())
}

/// Who takes nothing is not asked whether the answer has to end; it ends all the same, and the record says why.
#[test]
fn g_10_a_lock_ends_the_watches_of_who_does_not_read() -> anyhow::Result<()> {
    let stage = Stage::new(Speaks::Http2, None)?;
    let carol = Person::signed_in(&stage.gateway, "carol")?;
    let client = Http2::begin_without_window(stage.gateway.client()?.http2()?)?;
    let mut client = client.patient(PATIENCE)?;
    client.get(1, &stage.authority(), WATCH, &[("authorization", &stage.bearer)])?;
    let by_http2 = stage.fed.next()?.answer_long(3_200)?;
    while client.next_frame()?.kind != HEADERS {}
    let old = stage.http1(WATCH)?;
    let by_http1 = stage.fed.next()?.answer_long(3_200)?;
    fills(&[Arc::clone(&by_http2), Arc::clone(&by_http1)])?;
    let mut before = None;
    try_until("nothing more is taken", PATIENCE, || {
        let now = Some([&by_http2, &by_http1].map(|taken| taken.load(Ordering::Acquire)));
        let same = before == now;
        before = now;
        ensure!(same, "{now:?} pieces");
        Ok(())
    })?;

    carol.ok("gatescribe user lock alice@example.com --reason TICKET-4711")?;
    let cut = loop {
        let frame = client.next_frame()?;
        if frame.kind == RST_STREAM {
            break frame.stream;
        }
    };
    assert_eq!(cut, 1);
    let ended = |records: &[Value]| -> Vec<Value> {
        let of_alice = |record: &&Value| record["kind"] == "close" && record["by"]["user"] != "carol@example.com";
        let closes = records.iter().filter(of_alice);
        closes.map(|close| close["outcome"].clone()).collect()
    };
    let records = stage.gateway.records_with("both closes", |records| {
        let locked = |outcome: &&Value| outcome["why"].as_str().is_some_and(|why| why.contains("is locked by"));
        ended(records).iter().filter(locked).count() == 2
    })?;
    ensure!(
        ended(&records).iter().all(|outcome| outcome["end"] == "ended"),
        "{records:?}"
    );
    drop(old);
    Ok(())
}

/// An answer without a body: what it says of the body that would be there stays.
#[test]
fn j_10_answers_without_a_body_have_none_and_keep_their_headers() -> anyhow::Result<()> {
    let cases = [
        ("HEAD", 200, vec![("content-length", "1234"), ("etag", "\"x\"")]),
        ("GET", 204, vec![("x-kind", "none")]),
        ("GET", 304, vec![("etag", "\"x\""), ("cache-control", "max-age=7")]),
    ];
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let stage = Stage::new(speaks, None)?;
        for (method, status, headers) in &cases {
            let client = stage.gateway.client()?;
            let answer = std::thread::scope(|scope| {
                let asking = scope.spawn(|| client.send(method, CONFIGMAPS, &[("Authorization", &stage.bearer)], b""));
                stage.fed.next()?.answer(*status, headers, "")?;
                asking.join().map_err(|_| anyhow::anyhow!("the client panicked"))?
            })?;
            let head = answer.head.to_lowercase();
            ensure!(
                answer.status == *status && answer.body.is_empty(),
                "{method} {status}: {answer:?}"
            );
            for (name, value) in headers {
                ensure!(
                    head.contains(&format!("{name}: {value}")),
                    "{method} {status}: no {name} in {head}"
                );
            }
        }
    }
    Ok(())
}

/// What was said is whole, and then the answer ends as a whole one does.
#[test]
fn g_10_told_to_stop_the_gateway_ends_watches_between_two_events() -> anyhow::Result<()> {
    let stage = Stage::new(Speaks::Http2, None)?;
    let mut readers = Vec::new();
    for ask in BOTH {
        let mut reader = ask(&stage, WATCH)?;
        let feed = stage.fed.next()?.begin(200, &[JSON])?;
        reader.head()?;
        feed.say("{\"event\":1}\n")?;
        reader.says(b"{\"event\":1}\n")?;
        readers.push((reader, feed));
    }
    stage.gateway.process().signal(nix::sys::signal::Signal::SIGTERM)?;
    for (mut reader, feed) in readers {
        ensure!(reader.piece()?.is_none(), "a clean end");
        drop(feed);
    }
    let why = "ended by the gateway: it stops";
    stage.gateway.records_with("both closes", |records| {
        let closes = records.iter().filter(|record| record["outcome"]["why"] == why);
        closes.count() == 2
    })?;
    Ok(())
}

/// JSON, and protobuf with a line feed where no event ends: a whole event, and half of one.
const FRAMINGS: [(&str, &[u8], &[u8]); 2] = [
    ("application/json", b"{\"event\":1}\n", b"{\"event\":"),
    (
        "application/vnd.kubernetes.protobuf;stream=watch",
        b"\0\0\0\x02ab",
        b"\0\0\0\x05he\n",
    ),
];

/// What `rustls` says of a connection that ends without its last word.
const TLS_CUT: &str = "peer closed connection without sending TLS close_notify";

/// Where the rest of an event does not come, nobody is told that the answer is whole.
#[test]
fn g_10_a_watch_that_has_to_end_within_an_event_breaks_off_and_one_between_two_ends() -> anyhow::Result<()> {
    let stage = Stage::new(Speaks::Http2, None)?;
    let mut readers = Vec::new();
    for (kind, whole, half) in FRAMINGS {
        for ask in BOTH {
            for (said, is_whole) in [(whole.to_vec(), true), ([whole, half].concat(), false)] {
                let mut reader = ask(&stage, WATCH)?;
                let feed = stage.fed.next()?.begin(200, &[("content-type", kind)])?;
                reader.head()?;
                feed.say(said.clone())?;
                reader.says(&said)?;
                readers.push((reader, feed, is_whole));
            }
        }
    }
    stage.gateway.process().signal(nix::sys::signal::Signal::SIGTERM)?;
    for (mut reader, feed, is_whole) in readers {
        match reader.piece() {
            Ok(None) => ensure!(is_whole, "half an event, and a clean end"),
            Ok(Some(piece)) => anyhow::bail!("more: {}", piece.escape_ascii()),
            Err(error) => {
                let broke_off = [
                    format!("the stream ended with frame {RST_STREAM}"),
                    "the connection ended".into(),
                    // Over HTTP/1.1 the connection is cut within a chunk, and TLS says so first.
                    TLS_CUT.into(),
                ];
                let said = error.to_string();
                let is_one = broke_off.iter().any(|words| said.starts_with(words));
                ensure!(!is_whole && is_one, "{is_whole}: {error}");
            }
        }
        drop(feed);
    }
    let records = stage.gateway.records_with("all closes", |records| {
        let closes = records.iter().filter(|record| record["kind"] == "close");
        closes.count() == 4 * FRAMINGS.len()
    })?;
    let ended = |why: &str| records.iter().filter(|record| record["outcome"]["why"] == why).count();
    let (whole, half) = (
        ended("ended by the gateway: it stops"),
        ended("ended by the gateway: it stops, within an event whose rest did not come"),
    );
    ensure!((whole, half) == (4, 4), "{whole} whole, {half} not");
    // The clients of those have broken no protocol.
    let blamed = records
        .iter()
        .find(|record| record.to_string().contains("the bytes were not the protocol"));
    ensure!(blamed.is_none(), "{blamed:?}");
    Ok(())
}
