//! A gateway that is told to stop: it says so first, takes no new requests on connections that are there, and lets those
//! under way end. Through the real program; the API server's stand-in holds its answers, so that nothing depends on time.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use tests::browser::Browser;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::Stream;
use tests::wait::try_until;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps/x";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// HTTP/2 by hand: a library would stop asking at the first GOAWAY, and would answer the PING behind it.
struct Http2(Stream);

impl Http2 {
    fn begin(mut stream: Stream) -> anyhow::Result<Self> {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        let mut this = Self(stream);
        this.write(4, 0, 0, &[])?; // SETTINGS
        Ok(this)
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)?;
        Ok(self.0.flush()?)
    }

    /// A GET whose fields are literals without indexing (RFC 7541 §6.2.2).
    fn get(&mut self, stream: u32, authority: &str, token: &str) -> anyhow::Result<()> {
        let bearer = format!("Bearer {token}");
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", authority),
            (":path", TARGET),
            ("authorization", &bearer),
        ];
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                integer(&mut block, text.len());
                block.extend(text.as_bytes());
            }
        }
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &block)
    }

    fn read(&mut self) -> anyhow::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length)?];
        self.0.read_exact(&mut payload)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The whole body of a stream's answer; what else comes is passed over.
    fn body(&mut self, stream: u32) -> anyhow::Result<String> {
        let mut body = Vec::new();
        loop {
            let frame = self.read()?;
            if frame.stream != stream {
                continue;
            }
            ensure!(
                frame.kind == DATA || frame.kind == HEADERS,
                "stream {stream} ended with frame {}",
                frame.kind
            );
            if frame.kind == DATA {
                body.extend(frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                return Ok(String::from_utf8(body)?);
            }
        }
    }
}

/// RFC 7541 §5.1 with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    let mut rest = match u8::try_from(number) {
        Ok(small) if small < 127 => return block.push(small),
        _ => number - 127,
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or_default());
}

fn readyz(gateway: &Gateway) -> anyhow::Result<(u16, String)> {
    let page = Browser::default().request("GET", &format!("http://{}/readyz", gateway.admin()), "")?;
    Ok((page.status, page.body))
}

#[test]
fn told_to_stop_it_says_so_refuses_new_requests_and_lets_the_others_end() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&fake.upstream(), &options)?;
    let alice = gateway.sign_in("alice")?;
    let (status, text) = readyz(&gateway)?;
    ensure!(status == 200 && text.contains("[+] shutdown ok\n"), "{text}");
    fake.hold();
    let authority = gateway
        .server()
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let client = gateway.client()?;
    let mut modern = Http2::begin(client.http2()?)?;
    modern.get(1, &authority, &alice.token)?;
    let mut old = client.connect()?;
    old.ask("GET", TARGET, &[("Authorization", &format!("Bearer {}", alice.token))])?;
    try_until("both calls arrived upstream", Duration::from_secs(60), || {
        ensure!(fake.reads() == 2, "{} did", fake.reads());
        Ok(())
    })?;

    gateway.process().signal(Signal::SIGTERM)?;
    let text = try_until("it says that it stops", Duration::from_secs(60), || {
        let (status, text) = readyz(&gateway)?;
        ensure!(status == 503, "{status}");
        Ok(text)
    })?;
    ensure!(text.contains("[-] shutdown not ready: told to stop"), "{text}");
    ensure!(
        text.contains("[+] ledger ok\n") && text.ends_with("readyz check failed\n"),
        "{text}"
    );
    while modern.read()?.kind != GO_AWAY {}
    modern.get(3, &authority, &alice.token)?;
    let refused: serde_json::Value = serde_json::from_str(&modern.body(3)?)?;
    ensure!(refused["code"] == 503, "{refused}");
    let message = refused["message"].as_str().context("no message")?;
    ensure!(message.starts_with("the gateway is about to stop"), "{message}");
    ensure!(fake.reads() == 2, "the refused call was sent");

    fake.release();
    ensure!(modern.body(1)?.contains("ConfigMap"));
    let answer = old.answer()?;
    ensure!(answer.status == 200, "{}", answer.head);
    ensure!(
        answer.head.to_ascii_lowercase().contains("connection: close"),
        "{}",
        answer.head
    );
    drop((modern, old));
    gateway.wait()?;
    let records = gateway.records()?;
    let of = |kind: &str| {
        records
            .iter()
            .filter(|record| record["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let [refusal] = of("refusal")[..] else {
        anyhow::bail!("{} refusals", of("refusal").len());
    };
    ensure!(refusal["by"]["user"] == "alice@example.com", "{refusal}");
    ensure!(refusal.to_string().contains("draining"), "{refusal}");
    let answered = of("access").len();
    ensure!(answered == 2, "{answered} reads");
    Ok(())
}

#[test]
fn an_effect_whose_client_has_left_is_waited_for_and_gets_its_end() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&fake.upstream(), &options)?;
    let alice = gateway.sign_in("alice")?;
    fake.hold();
    let mut client = gateway.client()?.connect()?;
    client.ask(
        "DELETE",
        TARGET,
        &[("Authorization", &format!("Bearer {}", alice.token))],
    )?;
    let sent = try_until("the call arrived upstream", Duration::from_secs(60), || {
        let effects = fake.take_effects();
        effects.keys().find(|id| !id.is_empty()).cloned().context("not yet")
    })?;
    drop(client);
    gateway.process().signal(Signal::SIGTERM)?;
    // Nothing is open any more: only the sending keeps the gateway.
    try_until("both listeners have drained", Duration::from_secs(60), || {
        let drained = gateway.log().matches("a listener has drained").count();
        ensure!(drained == 2, "{drained}");
        Ok(())
    })?;
    fake.release();
    gateway.wait()?;
    let records = gateway.records()?;
    let of = |kind: &str| {
        records
            .iter()
            .find(|record| record["kind"] == kind && record.to_string().contains(&sent))
    };
    ensure!(of("intent").is_some(), "no intent of {sent}");
    let end = of("outcome").with_context(|| format!("no outcome of {sent} in {records:#?}"))?;
    ensure!(end["outcome"]["status"] == 201, "{end}");
    Ok(())
}
