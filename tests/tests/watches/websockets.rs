//! Watches and logs over WebSockets, which a browser may use for them.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::gateway::Options;
use tests::http::{Client, field};
use tests::wait::PATIENCE;

use super::{MAPS, Sides, changes, revision, until_told, world};

/// What a WebSocket says after its handshake, to its end; the handshake's head comes first.
fn websocket(client: &Client, host: &str, target: &str, more: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let mut stream = client.open()?;
    stream.sock.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://{host}\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    let end = received
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("a head")?;
    let said = received.split_off(end + 4);
    Ok((String::from_utf8(received)?, said))
}

#[test]
fn g_12_watches_and_logs_over_websockets_say_the_same_through_the_gate() -> anyhow::Result<()> {
    let cluster = world()?;
    let sides = Sides::new(cluster, &Options::default())?;
    let from = revision(cluster, MAPS)?;
    changes(cluster, MAPS, json!({}), "over-websocket")?;
    let watch = format!("{MAPS}?watch=true&resourceVersion={from}&fieldSelector=metadata.name%3Dover-websocket");
    let log = "/api/v1/namespaces/forms/pods/told/log".to_owned();
    let cases = [
        (&watch, "", "DELETED"),
        // The server takes the offer and writes events as text all the same, without a choice of its own.
        (&watch, "binary.k8s.io", "DELETED"),
        (&watch, "base64.binary.k8s.io", "DELETED"),
        (&log, "", "told\n"),
        (&log, "binary.k8s.io", "told\n"),
        // BASE64("told\n")
        (&log, "base64.binary.k8s.io", "dG9sZAo="),
    ];
    let hosts = [cluster.address().to_string(), sides.gateway.address.to_string()];
    for (target, protocol, last) in cases {
        let is_log = *target == log;
        says_the_same(&sides, &hosts, (target, is_log), (protocol, last))?;
    }
    Ok(())
}

/// One of them, at the server and at the gate, with this protocol on offer (or none), to where both have said what comes last.
fn says_the_same(
    sides: &Sides,
    [at_server, at_gate]: &[String; 2],
    (target, is_log): (&str, bool),
    (protocol, last): (&str, &str),
) -> anyhow::Result<()> {
    let offer = match protocol {
        "" => String::new(),
        offered => format!("Sec-WebSocket-Protocol: {offered}\r\n"),
    };
    let with_token = format!("{offer}Authorization: {}\r\n", sides.bearer);
    let [direct, through] = until_told(last, |limit| {
        // A log ends by itself.
        let target = if is_log {
            target.to_owned()
        } else {
            format!("{target}&{limit}")
        };
        let gated = format!("/clusters/bench{target}");
        Ok([
            websocket(&sides.direct, at_server, &target, &offer)?,
            websocket(&sides.through, at_gate, &gated, &with_token)?,
        ])
    })?;
    let chosen = |head: &str| field(head, "sec-websocket-protocol").map(str::to_owned);
    for (head, _) in [&direct, &through] {
        ensure!(head.starts_with("HTTP/1.1 101 "), "{target} {protocol}: {head}");
        ensure!(
            protocol.is_empty() || !is_log || chosen(head).as_deref() == Some(protocol),
            "{protocol}: {head}"
        );
    }
    ensure!(
        chosen(&direct.0) == chosen(&through.0),
        "{target} {protocol}:\n{}\n{}",
        direct.0,
        through.0
    );
    ensure!(
        unframed(&direct.1)? == unframed(&through.1)?,
        "{target} {protocol}:\n{}\n{}",
        direct.1.escape_ascii(),
        through.1.escape_ascii()
    );
    Ok(())
}

/// What is in the messages that a server sends (RFC 6455 §5.2), the close frame left out.
fn unframed(mut said: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let [first, second, rest @ ..] = said {
        let (length, rest) = match (second, rest) {
            (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (127, _) => anyhow::bail!("a message of more than 64 KiB"),
            (short, rest) => (usize::from(*short), rest),
        };
        let (payload, next) = rest.split_at_checked(length).context("a message that broke off")?;
        if first & 0x0f != 8 {
            all.extend_from_slice(payload);
        }
        said = next;
    }
    Ok(all)
}
