//! A stand-in for a collector of traces: takes OTLP over HTTP in protobuf, keeps every byte that came and every span in it.
//! Plain HTTP/1.1 on loopback, one thread per connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// A running stand-in. Its threads end with the process.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    bytes: Vec<u8>,
    heads: Vec<String>,
    spans: Vec<Span>,
}

impl Collector {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let taken = Arc::new(Mutex::new(Taken::default()));
        let shared = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                // A message that cannot be read is not kept, and the test that waits for it says so.
                std::thread::spawn(move || drop(take(stream, &taken)));
            }
        });
        Ok(Self { address, taken })
    }

    /// What a gateway's configuration calls it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// The spans that came so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.read(|taken| taken.spans.clone())
    }

    /// The heads of the messages.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.read(|taken| taken.heads.clone())
    }

    /// Every byte of every body.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.read(|taken| taken.bytes.clone())
    }

    fn read<T>(&self, what: impl FnOnce(&Taken) -> T) -> T {
        what(&self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A span's attribute as text.
#[must_use]
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn take(mut stream: TcpStream, taken: &Mutex<Taken>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "the head ends early");
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.context("a length")?.trim().parse()?];
    reader.read_exact(&mut body)?;
    let message = ExportTraceServiceRequest::decode(body.as_slice())?;
    {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.heads.push(head);
        taken.bytes.extend_from_slice(&body);
        let scopes = message
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        taken.spans.extend(scopes.flat_map(|scope| scope.spans));
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    Ok(stream.write_all(answer.as_bytes())?)
}
