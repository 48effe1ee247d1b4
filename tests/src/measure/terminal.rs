//! A terminal in a pod as kubectl opens it (`exec -it` over WebSocket, v5.channel.k8s.io), written by hand: two hundred of
//! them must not be what is measured. One line is typed, one screenful answers.

use super::load;
use super::real::Way;
use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// One screenful: what many programs write at once, about 1,000 bytes.
const SCREEN_LINES: usize = 20;
/// What ends a screenful has the number of the line that asked for it.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
/// The end of the input, as typed.
const END_OF_TRANSMISSION: u8 = 4;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An open terminal.
#[derive(Debug)]
pub struct Terminal {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
    screen: Vec<u8>,
    lines: usize,
}

impl Terminal {
    /// Opens one in the pod of a namespace and waits until its program reads.
    ///
    /// # Errors
    /// The session does not begin.
    pub async fn open(way: &Way, namespace: &str, pod: &str) -> anyhow::Result<Self> {
        let tls = load::client_config(&way.ca, false)?;
        let mut stream = load::connect(way.address, &tls, None).await?;
        let target = target(way.prefix, namespace, pod);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
            way.address, way.token
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut received = Vec::new();
        let end = loop {
            if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(stream.read_buf(&mut received).await? > 0, "no answer");
        };
        ensure!(
            received.starts_with(b"HTTP/1.1 101 "),
            "no session: {}",
            String::from_utf8_lossy(&received)
        );
        received.drain(..end);
        let mut terminal = Self {
            stream,
            received,
            screen: Vec::new(),
            lines: 0,
        };
        terminal.until(b"ready").await?;
        Ok(terminal)
    }

    /// Types a line and waits for the whole screenful that answers it.
    ///
    /// # Errors
    /// The session ended, or the answer is not what the program writes.
    pub async fn line(&mut self) -> anyhow::Result<()> {
        self.lines += 1;
        let typed = format!("{}\r", self.lines);
        self.screen.clear();
        self.stream.write_all(&frame(STDIN, typed.as_bytes())).await?;
        self.stream.flush().await?;
        self.until(format!("<{}>", self.lines).as_bytes()).await?;
        let rows = memchr::memchr_iter(b'\n', &self.screen).count();
        ensure!(rows >= SCREEN_LINES, "{rows} rows of {SCREEN_LINES}");
        Ok(())
    }

    /// Ends the input, and waits until the other side has ended the session.
    ///
    /// # Errors
    /// The connection broke before.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.stream.write_all(&frame(STDIN, &[END_OF_TRANSMISSION])).await?;
        self.stream.flush().await?;
        while self.frame().await?.is_some() {}
        Ok(())
    }

    async fn until(&mut self, what: &[u8]) -> anyhow::Result<()> {
        while memchr::memmem::find(&self.screen, what).is_none() {
            let (channel, data) = self.frame().await?.context("the session ended")?;
            ensure!(
                channel == STDOUT,
                "channel {channel}: {}",
                String::from_utf8_lossy(&data)
            );
            self.screen.extend(data);
        }
        Ok(())
    }

    /// The next piece of a channel; none at the end of the session.
    async fn frame(&mut self) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((opcode, payload)) = take(&mut self.received)? {
                match (opcode, payload.split_first()) {
                    (BINARY, Some((channel, data))) => return Ok(Some((*channel, data.to_vec()))),
                    (CLOSE, _) => return Ok(None),
                    _ => continue,
                }
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }
}

const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// A binary message of a client (RFC 6455 §5.2): short, so its length is one byte.
fn frame(channel: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len() + 1).unwrap_or(125).min(125);
    let mut frame = vec![0x80 | BINARY, 0x80 | length];
    frame.extend(MASK);
    let payload = std::iter::once(&channel).chain(data).take(length.into());
    frame.extend(payload.zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Takes one whole message of a server off the front.
fn take(received: &mut Vec<u8>) -> anyhow::Result<Option<(u8, Vec<u8>)>> {
    let [first, second, rest @ ..] = received.as_slice() else {
        return Ok(None);
    };
    if first & 0x80 == 0 || second & 0x80 != 0 {
        bail!("a frame that no API server sends: {first:#x} {second:#x}");
    }
    let (extended, short) = match second & 0x7f {
        126 => (2, 0),
        127 => (8, 0),
        short => (0, usize::from(short)),
    };
    let Some(bytes) = rest.get(..extended) else {
        return Ok(None);
    };
    let length = bytes
        .iter()
        .fold(short, |length, byte| length << 8 | usize::from(*byte));
    let (begin, opcode) = (2 + extended, first & 0x0f);
    if received.len() < begin + length {
        return Ok(None);
    }
    let payload = received.drain(..begin + length).skip(begin).collect();
    Ok(Some((opcode, payload)))
}

/// A program that answers each line that it reads with a screenful.
fn target(prefix: &str, namespace: &str, pod: &str) -> String {
    let row = "drwxr-xr-x 2 root root 4096 Nov 21 08:00 folder";
    let screen = [row; SCREEN_LINES].join("\n");
    let script = format!(
        "stty -echo; s='{screen}'; echo ready; while read -r n; do printf '\\033[H\\033[2J%s\\n<%s>\\n' \"$s\" \"$n\"; done"
    );
    let command: String = ["sh", "-c", &script]
        .iter()
        .map(|word| format!("&command={}", escaped(word)))
        .collect();
    format!(
        "{prefix}/api/v1/namespaces/{namespace}/pods/{pod}/exec?container={pod}&stdin=true&stdout=true&tty=true{command}"
    )
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_is_one_masked_message() {
        let sent = frame(STDIN, b"7\r");
        assert_eq!(sent[..6], [0x82, 0x83, 0x37, 0xfa, 0x21, 0x3d]);
        let payload: Vec<u8> = sent[6..].iter().zip(MASK).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(payload, b"\x007\r");
    }

    #[test]
    fn a_message_is_taken_when_it_is_whole_whatever_its_length() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut sent = vec![0x82];
            match length {
                0..126 => sent.push(length as u8),
                126..65_536 => sent.extend([126, (length >> 8) as u8, length as u8]),
                _ => sent.extend([127, 0, 0, 0, 0, 0, 1, 0, 0]),
            }
            sent.extend(std::iter::repeat_n(b'x', length));
            let mut received = sent[..sent.len() - 1].to_vec();
            assert_eq!(take(&mut received).unwrap(), None);
            received.push(sent[sent.len() - 1]);
            received.push(0x88);
            let (opcode, payload) = take(&mut received).unwrap().unwrap();
            assert_eq!((opcode, payload.len(), received.as_slice()), (2, length, &[0x88][..]));
        }
        assert!(take(&mut vec![0x02, 0]).is_err(), "a fragment");
    }

    #[test]
    fn the_command_is_in_the_query_byte_by_byte() {
        assert_eq!(escaped("a b'\n-"), "a%20b%27%0A-");
        assert!(target("/x", "n", "p").starts_with("/x/api/v1/namespaces/n/pods/p/exec?container=p&stdin=true"));
    }
}
