//! Bytes that cannot be read with certainty, through the whole gate: torn and oversized SPDY frames, a bomb of headers,
//! WebSocket frames against the rules; from the person's side and from the cluster's. Where the session has to be recorded it
//! ends, and nothing of the piece that could not be read passes; where not, the bytes are none of the gateway's business.

use anyhow::ensure;
use tests::channels::{BINARY, CLOSE, CONTINUATION, LAST, PING, TEXT, of_client, of_server, typed};
use tests::fake::Then;
use tests::upgraded::{Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

use super::stage::{FORWARD, SPDY, Stage, TUNNEL, V5};

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Person,
    Cluster,
}

struct Row {
    name: &'static str,
    switch: Switch<'static>,
    from: From,
    bytes: Vec<u8>,
    why: &'static str,
}

/// Bytes of SPDY as they travel: as they are, or as a message of a tunnel.
fn travelling(switch: Switch<'_>, from: From, spdy: &[u8]) -> Vec<u8> {
    match (switch, from) {
        (Switch::Spdy(_), _) => spdy.to_vec(),
        (Switch::WebSocket(_), From::Person) => of_client(LAST | BINARY, spdy),
        (Switch::WebSocket(_), From::Cluster) => of_server(LAST | BINARY, spdy),
    }
}

/// What everybody may say before, in each protocol: a ping in SPDY, where every other frame has a meaning.
fn harmless(switch: Switch<'_>, from: From) -> Vec<u8> {
    match (switch, from) {
        (Switch::Spdy(_), _) | (TUNNEL, _) => {
            travelling(switch, from, b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01")
        }
        (Switch::WebSocket(_), From::Person) => typed(false, 0, b"echo before"),
        (Switch::WebSocket(_), From::Cluster) => of_server(LAST | BINARY, b"\x01before"),
    }
}

/// What comes in the same piece right behind: a command to whoever reads on, a secret to whoever is shown it.
fn behind(switch: Switch<'_>, from: From) -> Vec<u8> {
    match (switch, from) {
        (Switch::Spdy(_), _) | (TUNNEL, _) => travelling(switch, from, b"\x00\x00\x00\x01\x00\x00\x00\x06behind"),
        (Switch::WebSocket(_), From::Person) => typed(false, 0, b"behind"),
        (Switch::WebSocket(_), From::Cluster) => of_server(LAST | BINARY, b"\x01behind"),
    }
}

/// A SPDY control frame (draft-mbelshe-httpbis-spdy-00 §2.2.1) that says to be so long.
fn control(kind: u8, length: usize, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).expect("a length").to_be_bytes();
    [&[0x80, 3, 0, kind, 0], &length[1..], body].concat()
}

/// A SYN_STREAM whose header block is this.
fn syn_stream(block: &[u8]) -> Vec<u8> {
    let body = [b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", block].concat();
    control(1, body.len(), &body)
}

/// 48 MiB of zeros in less than 64 KiB. A zlib stream that names no dictionary is one for every reader of SPDY.
pub(crate) fn bomb() -> Vec<u8> {
    syn_stream(&bomb_block())
}

/// In the only frame of each side that may carry some: the opening of a stream, and the reply to that.
fn headers(from: From, block: &[u8]) -> Vec<u8> {
    match from {
        From::Person => syn_stream(block),
        From::Cluster => {
            let body = [b"\x00\x00\x00\x01", block].concat();
            control(2, body.len(), &body)
        }
    }
}

fn bomb_block() -> Vec<u8> {
    let plain = vec![0; 48 << 20];
    let mut block = Vec::with_capacity(64 << 10);
    flate2::Compress::new(flate2::Compression::best(), true)
        .compress_vec(&plain, &mut block, flate2::FlushCompress::Sync)
        .expect("zeros compress");
    assert!(block.len() < 64_000, "{} bytes are no bomb", block.len());
    block
}

fn rows() -> Vec<Row> {
    let mut rows = websocket();
    for switch in [SPDY, FORWARD, TUNNEL] {
        rows.extend(spdy(switch, From::Person));
        rows.extend(spdy(switch, From::Cluster));
    }
    rows.extend(tunnel());
    rows
}

fn spdy(switch: Switch<'static>, from: From) -> Vec<Row> {
    let row = |name, bytes: Vec<u8>, why| Row {
        name,
        switch,
        from,
        bytes: travelling(switch, from, &bytes),
        why,
    };
    vec![
        row(
            "a frame of HTTP/2",
            b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01".to_vec(),
            "a SPDY frame of another version",
        ),
        row(
            "data of no stream",
            b"\0\0\0\0\0\0\0\x01x".to_vec(),
            "SPDY data of stream 0",
        ),
        row(
            "a ping with a tail",
            control(6, 5, b"\0\0\0\x01x"),
            "a SPDY frame of another length than its kind has",
        ),
        row(
            "a reset that is cut short",
            control(3, 4, b"\0\0\0\x01"),
            "a SPDY frame of another length than its kind has",
        ),
        row(
            "16 MiB of headers",
            control(1, 0xff_ffff, b""),
            "a SPDY header block of more than 64 KiB",
        ),
        row(
            "16 MiB of settings",
            control(4, 0xff_ffff, b""),
            "too many SPDY settings",
        ),
        row(
            "headers that are none",
            headers(from, b"\xff\xff\xff\xff"),
            "a SPDY header block that does not inflate",
        ),
        row(
            "a bomb of headers",
            headers(from, &bomb_block()),
            "a SPDY header block that inflates to more than 64 KiB",
        ),
    ]
}

fn websocket() -> Vec<Row> {
    let row = |from, name, bytes, why| Row {
        name,
        switch: V5,
        from,
        bytes,
        why,
    };
    let in_fragments = [
        of_client(BINARY, b"\x04{}"),
        of_client(LAST | CONTINUATION, b"\x00rm -rf /\n"),
    ];
    let person = |name, bytes, why| row(From::Person, name, bytes, why);
    let cluster = |name, bytes, why| row(From::Cluster, name, bytes, why);
    vec![
        person(
            "a command in fragments",
            in_fragments.concat(),
            "a message of a client in fragments, which servers take for several messages",
        ),
        person(
            "no mask",
            of_server(LAST | BINARY, b"\0x"),
            "an unmasked WebSocket frame of a client",
        ),
        person(
            "an extension",
            of_client(0xc0 | BINARY, b"\0x"),
            "a WebSocket frame with reserved bits",
        ),
        person(
            "a kind of tomorrow",
            of_client(LAST | 3, b"\0x"),
            "a WebSocket frame of a reserved kind",
        ),
        person(
            "a continuation alone",
            of_client(LAST | CONTINUATION, b"\0x"),
            "a WebSocket continuation of nothing",
        ),
        person(
            "half a ping",
            of_client(PING, b""),
            "a WebSocket control frame in fragments",
        ),
        person(
            "a ping of 126 bytes",
            of_client(LAST | PING, &[b'x'; 126]),
            "a WebSocket control frame of more than 125 bytes",
        ),
        person(
            "a frame of 2^63 bytes",
            b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            "a WebSocket frame of 2^63 bytes or more",
        ),
        cluster(
            "a mask",
            of_client(LAST | BINARY, b"\x01x"),
            "a masked WebSocket frame of a server",
        ),
        cluster(
            "a message in a message",
            [of_server(TEXT, b"\x01x"), of_server(LAST | BINARY, b"\x01x")].concat(),
            "a WebSocket message within a message",
        ),
        cluster(
            "a close of 126 bytes",
            of_server(LAST | CLOSE, &[b'x'; 126]),
            "a WebSocket control frame of more than 125 bytes",
        ),
    ]
}

/// The messages themselves, of a tunnel.
fn tunnel() -> Vec<Row> {
    let row = |from, name, bytes, why| Row {
        name,
        switch: TUNNEL,
        from,
        bytes,
        why,
    };
    vec![
        row(
            From::Person,
            "no mask in a tunnel",
            of_server(LAST | BINARY, b"x"),
            "an unmasked WebSocket frame of a client",
        ),
        row(
            From::Person,
            "a tunnelled frame of 2^63 bytes",
            b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            "a WebSocket frame of 2^63 bytes or more",
        ),
        row(
            From::Cluster,
            "a mask in a tunnel",
            of_client(LAST | BINARY, b"x"),
            "a masked WebSocket frame of a server",
        ),
    ]
}

/// Sends the row's bytes, whoever has to.
fn begin(stage: &Stage, place: &str, row: &Row) -> anyhow::Result<Upgraded> {
    let before = harmless(row.switch, row.from);
    let piece = [row.bytes.as_slice(), &behind(row.switch, row.from)].concat();
    if row.from == From::Cluster {
        return stage.exec(place, row.switch, &[before, piece].concat(), Then::Listen);
    }
    let mut client = stage.exec(place, row.switch, b"", Then::Listen)?;
    // A piece of its own: what came in time passes.
    client.write(&before)?;
    try_until("what can be read passes", PATIENCE, || {
        ensure!(stage.came(place) == before, "not yet");
        Ok(())
    })?;
    // Where it has to be recorded the session may end while this is written; what arrived is looked at.
    let _ = client.write(&piece);
    Ok(client)
}

#[test]
fn h_17_res_14_what_cannot_be_recorded_ends_and_nothing_of_it_passes() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let mut ids = vec![neighbour.id()?];
    for (number, row) in rows().iter().enumerate() {
        let place = format!("kept/row-{number}");
        let mut client = begin(&stage, &place, row)?;
        let told = client.rest()?;
        let id = client.id()?;
        let end = stage.end_of(&id)?;
        let name = format!("{} of the {:?}: {end}", row.name, row.from);
        assert_eq!(end["outcome"]["end"], "ended", "{name}");
        let way = match row.from {
            From::Person => "to the pod",
            From::Cluster => "to the person",
        };
        let words = format!(
            "what passes cannot be recorded: what went {way} could not be read: {}",
            row.why
        );
        assert_eq!(
            end["outcome"]["why"],
            format!("ended by the gateway: {words}"),
            "{name}"
        );
        let kept = &end["recording"];
        assert!(
            kept["chunks"].as_u64() >= Some(2) && kept.get("incomplete").is_none(),
            "{name}"
        );
        stage.upstream_is_over(&place)?;
        let (came, before) = (stage.came(&place), harmless(row.switch, row.from));
        match row.from {
            From::Person => {
                // A frame of several pieces has a beginning that can be read; its end never arrives.
                let is_one_piece = row.bytes.len() < 1024;
                assert!(came.starts_with(&before) && !contains(&came, b"behind"), "{name}");
                assert!(came.len() < before.len() + row.bytes.len(), "{name}");
                assert!(came == before || !is_one_piece, "{name}: {came:?}");
                // The words have a place as long as the cluster's side can be read: a GOAWAY, or a Status and a close.
                let is_told = match row.switch {
                    Switch::Spdy(_) => told.starts_with(GOAWAY),
                    // A close has room for 123 bytes.
                    TUNNEL => contains(&told, GOAWAY) && contains(&told, &words.as_bytes()[..100.min(words.len())]),
                    Switch::WebSocket(_) => contains(&told, words.as_bytes()),
                };
                assert!(is_told, "{name}: {told:?}");
            }
            From::Cluster => {
                assert!(came.is_empty() && !contains(&told, b"behind"), "{name}: {told:?}");
            }
        }
        ids.push(id);
        neighbour.echoes()?;
    }
    neighbour.leaves(&stage.gateway)?;
    let ends = stage.each_session_has_one_end()?;
    assert_eq!(ends.len(), ids.len(), "no other sessions");
    Ok(())
}

#[test]
fn h_17_what_need_not_be_recorded_passes_untouched_whatever_it_is() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    for (number, row) in rows().iter().enumerate() {
        let place = format!("free/row-{number}");
        let mut client = begin(&stage, &place, row)?;
        let whole = [
            harmless(row.switch, row.from),
            row.bytes.clone(),
            behind(row.switch, row.from),
        ]
        .concat();
        if row.from == From::Person {
            try_until("all of it arrives", PATIENCE, || {
                ensure!(
                    stage.came(&place).len() >= whole.len(),
                    "{} bytes",
                    stage.came(&place).len()
                );
                Ok(())
            })?;
            assert!(
                stage.came(&place) == whole,
                "{} was changed on its way to the pod",
                row.name
            );
        } else {
            let mut told = vec![0; whole.len()];
            std::io::Read::read_exact(&mut client, &mut told)?;
            assert!(told == whole, "{} was changed on its way to the person", row.name);
        }
        let id = client.id()?;
        drop(client);
        let end = stage.end_of(&id)?;
        assert_eq!(end["outcome"]["status"], 101, "{}: {end}", row.name);
        assert_ne!(end["outcome"]["end"], "ended", "{}: {end}", row.name);
        let counted = match row.from {
            From::Person => &end["outcome"]["bytes_in"],
            From::Cluster => &end["outcome"]["bytes_out"],
        };
        assert_eq!(counted.as_u64(), Some(whole.len() as u64), "{}: {end}", row.name);
        neighbour.echoes()?;
    }
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

/// A frame that is cut off by the end of its connection, on either side.
#[test]
fn h_15_h_16_a_frame_that_its_sender_never_finishes_ends_with_the_connection() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let half: &[u8] = b"\x80\x03\x00\x01\x00\x00\x40\x00half";
    let torn = [
        (SPDY, half.to_vec()),
        (SPDY, b"\x80\x03\x00\x04\x00\x00\x0f\xfcthe beginning of 4 KiB".to_vec()),
        (FORWARD, half.to_vec()),
        // A whole message with half a frame in it, and half a message.
        (TUNNEL, travelling(TUNNEL, From::Person, half)),
        (TUNNEL, travelling(TUNNEL, From::Person, half)[..9].to_vec()),
        (V5, of_client(LAST | BINARY, b"\0all of it")[..7].to_vec()),
    ];
    for (number, (switch, bytes)) in torn.into_iter().enumerate() {
        let place = format!("kept/torn-{number}");
        let mut client = stage.exec(&place, switch, b"", Then::Listen)?;
        client.write(&bytes)?;
        try_until("the piece arrives", PATIENCE, || {
            ensure!(stage.came(&place) == bytes, "not yet");
            Ok(())
        })?;
        // A reset, as of a process that was killed.
        socket2::SockRef::from(&client.stream.sock).set_linger(Some(std::time::Duration::ZERO))?;
        let id = client.id()?;
        drop(client);
        let end = stage.end_of(&id)?;
        assert_eq!(end["outcome"]["end"], "clientGone", "{end}");
        assert!(end["recording"].get("incomplete").is_none(), "{end}");
        neighbour.echoes()?;
    }
    // The same from the cluster: its side ends within a frame.
    let answer = [SPDY.granted().as_slice(), b"\x80\x03\x00\x02\x00\x00\x40\x00half"].concat();
    stage
        .fake
        .answer_upgrades_of(&super::stage::part("kept/cut"), &answer, Then::Leave);
    let target = super::stage::exec_target("bench", "kept/cut");
    let mut client = Upgraded::ask(&stage.gateway, &stage.alice.token, &target, SPDY, b"")?;
    assert!(client.rest()?.ends_with(b"half"));
    let id = client.id()?;
    drop(client);
    let end = stage.end_of(&id)?;
    assert_eq!(end["outcome"]["end"], "upstreamLost", "{end}");
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

/// The beginning of SPDY's frame that ends a connection.
const GOAWAY: &[u8] = b"\x80\x03\x00\x07";

/// How many bombs at once, and what they may cost together: each inflates to 48 MiB.
const BOMBS: usize = 24;
const MOST_KIB: f64 = 64.0 * 1024.0;

#[test]
fn bombs_and_endless_frames_cost_no_memory() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    // The buffers of ordinary sessions belong to no bomb.
    for number in 0..4 {
        drop(stage.exec(&format!("kept/warm-{number}"), V5, b"", Then::Cat)?);
    }
    let before = stage.peak_kib()?;
    let bomb = bomb();
    let mut open = Vec::new();
    for (number, switch) in [SPDY, FORWARD, TUNNEL].into_iter().cycle().take(BOMBS).enumerate() {
        let place = if number % 2 == 0 { "kept" } else { "free" };
        let client = stage.exec(&format!("{place}/bomb-{number}"), switch, b"", Then::Listen)?;
        open.push((client, travelling(switch, From::Person, &bomb)));
    }
    // One client pours a frame that never ends, in a session that is recorded.
    let mut endless = stage.exec("kept/endless", V5, b"", Then::Listen)?;
    endless.write(&[b"\x02\xff".as_slice(), &(u64::MAX >> 2).to_be_bytes(), &[0; 4], &[0]].concat())?;
    for (client, bomb) in &mut open {
        // Those that are recorded may end meanwhile.
        let _ = client.write(bomb);
    }
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..256 {
        endless.write(&piece)?;
    }
    neighbour.echoes()?;
    for (number, (client, _)) in open.into_iter().enumerate() {
        let id = client.id()?;
        drop(client);
        let end = stage.end_of(&id)?;
        let is_recorded = number % 2 == 0;
        assert_eq!(end["outcome"]["end"] == "ended", is_recorded, "{end}");
    }
    let id = endless.id()?;
    drop(endless);
    stage.end_of(&id)?;
    let grown = stage.peak_kib()? - before;
    println!(
        "peak_grown_kib={grown} bombs={BOMBS} bomb_bytes={} inflated_each_kib={}",
        bomb.len(),
        48 << 10
    );
    assert!(grown < MOST_KIB, "{grown} KiB more");
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}
