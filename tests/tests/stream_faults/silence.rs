//! Somebody who says nothing, takes nothing, or is gone without a word: the node, the person, a reader.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use tests::channels::{LAST, PING, PONG, of_client, typed};
use tests::fake::Then;
use tests::http::Stream;
use tests::wait::{PATIENCE, try_until};

use super::stage::{Neighbour, Stage, V5, part};

/// What one session may cost the gateway in memory of its own, whatever the other side does not take. Generous: what it
/// guards against has no end at all.
pub(crate) const MOST_KIB: f64 = 48.0 * 1024.0;
/// More than the systems between a client and its node hold for it; a quarter of what is poured.
const MOST_UNDER_WAY: u64 = 256 << 20;
const NOTHING_PASSED: &str = "ended by the gateway: nothing has passed for 10 s, its limit";

/// What a writer is told whom nobody listens to any more.
const STOPPED: [ErrorKind; 4] = [
    ErrorKind::WouldBlock,
    ErrorKind::TimedOut,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionReset,
];

/// The end of a session that the gateway ended, with these words.
fn is_ended(end: &Value, why: &str) {
    assert_eq!(end["outcome"]["end"], "ended", "{end}");
    assert_eq!(end["outcome"]["why"], why, "{end}");
    assert!(
        end["recording"].is_object() && end["recording"].get("incomplete").is_none(),
        "{end}"
    );
}

/// What is written to somebody who may not take it.
#[derive(Debug, Default)]
pub(crate) struct Pour {
    /// What is left of the piece that was begun.
    rest: Vec<u8>,
    pub(crate) taken: usize,
}

impl Pour {
    /// Writes one piece after another until nothing is taken for that long, the connection is gone, or there are no more.
    pub(crate) fn pours(
        &mut self,
        stream: &mut Stream,
        patience: Duration,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        // Both: a TLS client that cannot write reads meanwhile.
        stream.sock.set_read_timeout(Some(patience))?;
        stream.sock.set_write_timeout(Some(patience))?;
        loop {
            if self.rest.is_empty() {
                let Some(piece) = next() else { return Ok(()) };
                self.rest = piece;
            }
            match stream.write(&self.rest) {
                Ok(taken) => {
                    self.rest.drain(..taken);
                    self.taken += taken;
                }
                Err(error) if STOPPED.contains(&error.kind()) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Pours until nothing is taken any more, though the neighbour's lines go there and back meanwhile: somebody who is only
    /// slow takes something in that time.
    pub(crate) fn is_stopped(
        &mut self,
        stream: &mut Stream,
        neighbour: &mut Neighbour,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) -> anyhow::Result<()> {
        try_until("the writer is stopped", PATIENCE, || {
            let before = self.taken;
            self.pours(stream, Duration::from_millis(500), &mut next)?;
            for _ in 0..50 {
                neighbour.echoes()?;
            }
            let more = self.taken - before;
            ensure!(before > 0 && more == 0, "{more} bytes more than {before}");
            Ok(())
        })
    }
}

#[test]
fn a_node_that_takes_nothing_stops_its_own_client_and_the_idle_limit_ends_it() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let before = stage.peak_kib()?;
    let mut client = stage.exec("idle/stalled", V5, b"", Then::Stall)?;
    let line = typed(false, 0, &[b'x'; 32 << 10]);
    let mut lines = std::iter::repeat_n(line, 1 << 15);
    Pour::default().is_stopped(&mut client.stream, &mut neighbour, || lines.next())?;
    let end = stage.end_of(&client.id()?)?;
    is_ended(&end, NOTHING_PASSED);
    // What is poured behind the end is read for a second and dropped, so that the words of the end arrive: the record
    // tells, and not the client, how much the session took.
    let taken = end["outcome"]["bytes_in"].as_u64();
    assert!(taken > Some(0) && taken < Some(MOST_UNDER_WAY), "{end}");
    let grown = stage.peak_kib()? - before;
    assert!(grown < MOST_KIB, "{grown} KiB more");
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

/// To the gateway a client that vanished without a word and one that has nothing to say look the same until the system's
/// probes fail, which a loopback never lets them. What holds for both: its session ends at its limit, alone.
#[test]
fn a_client_that_says_nothing_any_more_ends_at_the_idle_limit_and_takes_nobody_with_it() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let mut client = stage.exec("idle/silent", V5, b"", Then::Cat)?;
    client.write(&typed(false, 0, b"last words"))?;
    assert_eq!(client.frame()?.payload, b"\x01last words");
    let id = client.id()?;
    // From here on its socket is open and nobody is behind it.
    is_ended(&stage.end_of(&id)?, NOTHING_PASSED);
    stage.has_open(1)?;
    neighbour.echoes()?;
    drop(client);
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

#[test]
fn h_11_pings_pass_and_keep_no_session_alive() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut client = stage.exec("idle/pings", V5, b"", Then::Cat)?;
    let told = loop {
        // Whoever is ended while it writes is told all the same.
        let _ = client.write(&of_client(LAST | PING, b"there?"));
        let frame = client.frame()?;
        match frame.kind() {
            PONG => assert_eq!(frame.payload, b"there?"),
            _ => break String::from_utf8(frame.payload)?,
        }
    };
    assert!(told.contains(NOTHING_PASSED), "{told}");
    is_ended(&stage.end_of(&client.id()?)?, NOTHING_PASSED);
    Ok(())
}

/// Waits until the cluster cannot say more, though the neighbour's lines go there and back meanwhile.
fn is_stopped(stage: &Stage, place: &str, neighbour: &mut Neighbour) -> anyhow::Result<u64> {
    try_until("the pod is stopped by its reader", PATIENCE, || {
        let poured = stage.fake.poured(&part(place));
        for _ in 0..50 {
            neighbour.echoes()?;
        }
        let more = stage.fake.poured(&part(place)) - poured;
        ensure!(poured > 0 && more == 0, "{more} bytes more than {poured}");
        Ok(poured)
    })
}

#[test]
fn a_reader_that_pauses_stops_its_pod_alone_and_misses_nothing() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let before = stage.peak_kib()?;
    let mut client = stage.exec("kept/pours", V5, b"", Then::Pour)?;
    let poured = is_stopped(&stage, "kept/pours", &mut neighbour)?;
    let grown = stage.peak_kib()? - before;
    println!("peak_grown_kib={grown} poured_kib={}", poured >> 10);
    assert!(grown < MOST_KIB, "{grown} KiB more");
    // It reads on: every message is there, once and in order, those that waited and those behind them.
    let messages = u32::try_from(poured / 16_384)? + 500;
    for number in 0..messages {
        let frame = client.frame()?;
        assert_eq!(
            frame.payload.get(1..5),
            Some(number.to_be_bytes().as_slice()),
            "message {number}"
        );
    }
    let id = client.id()?;
    drop(client);
    let end = stage.end_of(&id)?;
    assert_eq!(end["outcome"]["end"], "clientGone", "{end}");
    assert!(end["recording"].get("incomplete").is_none(), "{end}");
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

#[test]
fn a_reader_that_never_comes_back_cannot_hold_its_session_beyond_its_limit() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let client = stage.exec("short/pours", V5, b"", Then::Pour)?;
    let warning = client.field("warning").unwrap_or_default();
    assert!(
        warning.contains("the rules that allow this end it at"),
        "{}",
        client.head
    );
    // The words cannot be said to somebody who does not read, and the session ends without them.
    let end = stage.end_of(&client.id()?)?;
    is_ended(&end, "ended by the gateway: it has lasted 5 s, its limit");
    stage.has_open(1)?;
    neighbour.echoes()?;
    drop(client);
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}
