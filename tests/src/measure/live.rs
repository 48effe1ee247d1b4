//! Streams of a person as they stay open for hours: watches, commands in a pod and forwarded ports, over each protocol, each with
//! a way to see that it lives, and the moment of its end. Blocking, one thread each while an end is waited for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::channels::{BINARY, CLOSE, Frame, typed};
use crate::gateway::Gateway;
use crate::http::{Stream, field};
use crate::spdy::{Carried, Spdy};
use crate::upgraded::{Switch, Upgraded};

/// What sort of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A watch of ConfigMaps.
    Watch,
    /// A command in a pod over a WebSocket.
    ExecWebSocket,
    /// A command in a pod over SPDY.
    ExecSpdy,
    /// A forwarded port, SPDY in the messages of a WebSocket.
    ForwardTunnel,
    /// A forwarded port over SPDY.
    ForwardSpdy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Watch,
        Self::ExecWebSocket,
        Self::ExecSpdy,
        Self::ForwardTunnel,
        Self::ForwardSpdy,
    ];

    /// Whether its person is told words at its end: a watch has no place for them, nor has a port through which nothing goes.
    #[must_use]
    pub const fn is_told(self) -> bool {
        matches!(self, Self::ExecWebSocket | Self::ExecSpdy)
    }
}

/// Where they lead.
#[derive(Debug, Clone)]
pub struct Place {
    /// The namespace.
    pub namespace: &'static str,
    /// A pod in it, with a container of the same name.
    pub pod: &'static str,
    /// A port that says everything back.
    pub port: u16,
}

/// A port of this machine, which is one of every pod's of the stand-in node, that says everything back.
///
/// # Errors
/// The system refuses.
pub fn says_back() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                std::io::copy(&mut &stream, &mut &stream)?;
                stream.shutdown(std::net::Shutdown::Write)
            });
        }
    });
    Ok(port)
}

/// A stream that goes on.
#[derive(Debug)]
pub struct Live {
    /// What sort.
    pub kind: Kind,
    /// The id that it is recorded under.
    pub id: String,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Watch {
        stream: Stream,
        received: Vec<u8>,
    },
    Messages(Upgraded),
    /// And the streams that are written to and read from.
    Spdy(Box<Spdy<Upgraded>>, [u32; 2]),
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// When its client knew.
    pub at: Instant,
    /// What came before that and had not been read.
    pub said: Vec<u8>,
}

impl Live {
    /// Begins one.
    ///
    /// # Errors
    /// It is refused.
    pub fn open(gateway: &Gateway, token: &str, kind: Kind, place: &Place) -> anyhow::Result<Self> {
        let (exec, forward) = ("v4.channel.k8s.io", "portforward.k8s.io");
        let switch = match kind {
            Kind::Watch => return Self::watch(gateway, token, place),
            Kind::ExecWebSocket => Switch::WebSocket("v5.channel.k8s.io"),
            Kind::ExecSpdy => Switch::Spdy(exec),
            Kind::ForwardTunnel => Switch::WebSocket("SPDY/3.1+portforward.k8s.io"),
            Kind::ForwardSpdy => Switch::Spdy(forward),
        };
        let pod = format!(
            "/clusters/bench/api/v1/namespaces/{}/pods/{}",
            place.namespace, place.pod
        );
        let target = match kind {
            Kind::ForwardTunnel | Kind::ForwardSpdy => format!("{pod}/portforward"),
            _ => format!("{pod}/exec?container={}&command=cat&stdin=true&stdout=true", place.pod),
        };
        let client = Upgraded::ask(gateway, token, &target, switch, b"")?;
        ensure!(client.is_granted(), "{kind:?}: {}", client.head);
        let id = client.id()?;
        let carrier = match kind {
            Kind::Watch | Kind::ExecWebSocket => Carrier::Messages(client),
            Kind::ExecSpdy => {
                let mut spdy = Spdy::new(client, Carried::Bare);
                let [_, stdin, stdout] = ["error", "stdin", "stdout"].map(|of| spdy.open(&[("streamtype", of)]));
                Carrier::Spdy(Box::new(spdy), [stdin?, stdout?])
            }
            Kind::ForwardTunnel | Kind::ForwardSpdy => {
                let carried = match kind {
                    Kind::ForwardTunnel => Carried::Messages,
                    _ => Carried::Bare,
                };
                let mut spdy = Spdy::new(client, carried);
                let port = place.port.to_string();
                let fields = |of| [("streamtype", of), ("port", &*port), ("requestid", "0")];
                // As kubectl does: nothing will be said on the one for errors.
                let error = spdy.open(&fields("error"))?;
                spdy.close(error)?;
                let data = spdy.open(&fields("data"))?;
                Carrier::Spdy(Box::new(spdy), [data, data])
            }
        };
        Ok(Self { kind, id, carrier })
    }

    fn watch(gateway: &Gateway, token: &str, place: &Place) -> anyhow::Result<Self> {
        let mut stream = gateway.client()?.open()?;
        // Who does not say for how long is sent away by the API server itself after half an hour to an hour.
        let target = format!(
            "/clusters/bench/api/v1/namespaces/{}/configmaps?watch=true&timeoutSeconds=86400",
            place.namespace
        );
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            gateway.address
        );
        stream.write_all(head.as_bytes())?;
        let mut received = Vec::new();
        until(&mut stream, &mut received, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&received).into_owned();
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(Self {
            kind: Kind::Watch,
            id: field(&head, "audit-id").context("no id")?.to_owned(),
            carrier: Carrier::Watch { stream, received },
        })
    }

    /// Whether it lives: a command and a port say this word back, byte for byte; a watch has seen the object of this name, which
    /// somebody has made.
    ///
    /// # Errors
    /// It does not, within a minute.
    pub fn lives(&mut self, word: &str) -> anyhow::Result<()> {
        let kind = self.kind;
        self.says(word).with_context(|| format!("{kind:?} {}", self.id))
    }

    fn says(&mut self, word: &str) -> anyhow::Result<()> {
        match &mut self.carrier {
            Carrier::Watch { stream, received } => {
                until(stream, received, format!("\"{word}\"").as_bytes())?;
                received.clear();
                Ok(())
            }
            Carrier::Messages(client) => {
                client.write(&typed(false, 0, word.as_bytes()))?;
                let mut said = Vec::new();
                while said.len() < word.len() {
                    let frame = client.frame()?;
                    match (frame.kind(), frame.payload.split_first()) {
                        (BINARY, Some((1, bytes))) => said.extend(bytes),
                        // The server begins with an empty message on each channel.
                        (BINARY, Some((_, []))) => {}
                        _ => bail!("{:x}: {}", frame.first, String::from_utf8_lossy(&frame.payload)),
                    }
                }
                ensure!(said == word.as_bytes(), "{:?}", String::from_utf8_lossy(&said));
                Ok(())
            }
            Carrier::Spdy(spdy, [to, from]) => {
                spdy.write(*to, word.as_bytes())?;
                spdy.says(*from, word.as_bytes())
            }
        }
    }

    /// Waits until its client takes it for ended, which closes then: the end of an answer, of a stream or of the connection, a
    /// closing message.
    ///
    /// # Errors
    /// It goes on, and nothing comes for a minute.
    pub fn ended(self) -> anyhow::Result<Ended> {
        let mut said = Vec::new();
        let end = match self.carrier {
            Carrier::Watch { mut stream, .. } => read_on(&mut stream, &mut said, |said| said.ends_with(b"0\r\n\r\n")),
            Carrier::Messages(client) => messages(client, &mut said),
            Carrier::Spdy(mut spdy, _) => ended(spdy.until_over(&mut said)),
        };
        end.with_context(|| format!("{:?} {} goes on", self.kind, self.id))?;
        Ok(Ended {
            at: Instant::now(),
            said,
        })
    }
}

/// Reads until this has come.
fn until(stream: &mut Stream, received: &mut Vec<u8>, what: &[u8]) -> anyhow::Result<()> {
    let mut piece = [0; 16 * 1024];
    while memchr::memmem::find(received, what).is_none() {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "it ended: {}", String::from_utf8_lossy(received));
        received.extend(piece.iter().take(read));
    }
    Ok(())
}

fn read_on(
    from: &mut impl std::io::Read,
    said: &mut Vec<u8>,
    is_over: impl Fn(&[u8]) -> bool,
) -> Result<(), std::io::Error> {
    let mut piece = [0; 16 * 1024];
    while !is_over(said) {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => said.extend(piece.iter().take(read)),
            Err(error) if waits(&error) => return Err(error),
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn messages(mut client: Upgraded, said: &mut Vec<u8>) -> Result<(), std::io::Error> {
    loop {
        match Frame::read(&mut client) {
            Ok(frame) => {
                said.extend(&frame.payload);
                if frame.kind() == CLOSE {
                    return Ok(());
                }
            }
            Err(error) => return ended(Err(error)),
        }
    }
}

/// Every failure but that of waiting is an end.
fn ended(read: anyhow::Result<()>) -> Result<(), std::io::Error> {
    match read.map_err(|error| error.downcast::<std::io::Error>()) {
        Err(Ok(error)) if waits(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Nothing came for as long as was waited, which is no end.
fn waits(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
