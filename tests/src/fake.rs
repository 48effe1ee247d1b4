//! A stand-in for an API server where the real one would be the slower half: for soaks and meters of the gateway alone.
//!
//! It answers every list with nothing, keeps every watch open, answers all else with the same small object, and remembers
//! of each effect under which `Audit-ID` it arrived and how often. It is no Kubernetes: what depends on one is told by the
//! stories that run against the real server. Plain HTTP/1.1 on loopback, one thread per connection.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::gateway::Upstream;

/// A running stand-in. Its threads end with the process.
#[derive(Debug)]
pub struct FakeApiServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    effects: Mutex<HashMap<String, u64>>,
    reads: AtomicU64,
    keeps_silent: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
    asked_in_vain: AtomicU64,
}

/// What was asked, as far as it matters here.
struct Asked {
    method: String,
    target: String,
    audit_id: Option<String>,
}

const BOOKMARK_EVERY: Duration = Duration::from_secs(20);

const OBJECT: &str =
    r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"default","resourceVersion":"7"}}"#;

impl FakeApiServer {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                // A connection that breaks is the other side's business: that is what a kill looks like from here.
                std::thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Ok(Self { address, seen })
    }

    /// How a gateway's configuration names it.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        Upstream {
            server: format!("http://{}", self.address),
            ca: None,
            impersonator: "impersonator".to_owned(),
            observer: "observer".to_owned(),
        }
    }

    /// The effects that arrived since the last call: how often under each `Audit-ID`; without one, under `""`.
    #[must_use]
    pub fn take_effects(&self) -> HashMap<String, u64> {
        std::mem::take(&mut *self.seen.effects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on what people ask is answered only after [`FakeApiServer::release`].
    pub fn hold(&self) {
        self.set_held(true);
    }

    /// Answers what was held.
    pub fn release(&self) {
        self.set_held(false);
    }

    fn set_held(&self, held: bool) {
        *self.seen.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        self.seen.released.notify_all();
    }

    /// From now on no SubjectAccessReview is answered.
    pub fn keep_silent_about_rights(&self) {
        self.seen.keeps_silent.store(true, Ordering::Relaxed);
    }

    /// How many SubjectAccessReviews were not answered.
    #[must_use]
    pub fn asked_in_vain(&self) -> u64 {
        self.seen.asked_in_vain.load(Ordering::Relaxed)
    }

    /// How many reads arrived with an `Audit-ID`: those for people.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.seen.reads.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, seen: &Seen) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some((asked, length)) = head(&mut reader)? {
        // The head is what went upstream: it counts whether or not the rest comes.
        note(&asked, seen);
        body(&mut reader, length)?;
        if asked.target.contains("watch=") {
            writer.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            return watched(&mut reader, &mut writer);
        }
        if asked.target.ends_with("/subjectaccessreviews") && seen.keeps_silent.load(Ordering::Relaxed) {
            seen.asked_in_vain.fetch_add(1, Ordering::Relaxed);
            std::io::copy(&mut reader, &mut std::io::sink())?; // until the asker goes
            return Ok(());
        }
        if asked.audit_id.is_some() {
            let held = seen.held.lock().unwrap_or_else(PoisonError::into_inner);
            drop(seen.released.wait_while(held, |held| *held));
        }
        let (status, text) = answer(&asked);
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Until the watcher goes, a bookmark now and then: a watch without any is believed stale (after 90 s).
fn watched(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> anyhow::Result<()> {
    const BOOKMARK: &str =
        r#"{"type":"BOOKMARK","object":{"kind":"Any","apiVersion":"v1","metadata":{"resourceVersion":"1"}}}"#;
    reader.get_ref().set_read_timeout(Some(BOOKMARK_EVERY))?;
    loop {
        match reader.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                write!(writer, "{:x}\r\n{BOOKMARK}\n\r\n", BOOKMARK.len() + 1)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn note(asked: &Asked, seen: &Seen) {
    if asked.method != "GET" {
        let id = asked.audit_id.clone().unwrap_or_default();
        let mut effects = seen.effects.lock().unwrap_or_else(PoisonError::into_inner);
        *effects.entry(id).or_default() += 1;
    } else if asked.audit_id.is_some() {
        seen.reads.fetch_add(1, Ordering::Relaxed);
    }
}

fn answer(asked: &Asked) -> (&'static str, String) {
    let path = asked.target.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let kind = match last {
        "roles" => "Role",
        "rolebindings" => "RoleBinding",
        "clusterroles" => "ClusterRole",
        "clusterrolebindings" => "ClusterRoleBinding",
        "namespaces" => "Namespace",
        "accessrules" => "AccessRule",
        "clusteraccessrules" => "ClusterAccessRule",
        _ if asked.method == "GET" => return ("200 OK", OBJECT.to_owned()),
        _ => return ("201 Created", OBJECT.to_owned()),
    };
    let version = match kind {
        "Namespace" => "v1",
        "AccessRule" | "ClusterAccessRule" => "gatescribe.dev/v1",
        _ => "rbac.authorization.k8s.io/v1",
    };
    let list =
        format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{{"resourceVersion":"1"}},"items":[]}}"#);
    ("200 OK", list)
}

/// How a body is framed.
enum Framing {
    Length(u64),
    Chunked,
}

/// The next head; `None` when the connection ends before one begins.
fn head(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Option<(Asked, Framing)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().map(str::to_owned).context("no request line");
    let mut asked = Asked {
        method: word()?,
        target: word()?,
        audit_id: None,
    };
    let mut framing = Framing::Length(0);
    loop {
        let mut field = String::new();
        if reader.read_line(&mut field)? == 0 {
            bail!("the head was cut off");
        }
        let Some((name, value)) = field.trim_end().split_once(':') else {
            return Ok(Some((asked, framing)));
        };
        match name.to_ascii_lowercase().as_str() {
            "audit-id" => asked.audit_id = Some(value.trim().to_owned()),
            "content-length" => framing = Framing::Length(value.trim().parse()?),
            "transfer-encoding" => framing = Framing::Chunked,
            _ => {}
        }
    }
}

fn body(reader: &mut BufReader<TcpStream>, framing: Framing) -> anyhow::Result<()> {
    if let Framing::Length(length) = framing {
        return skip(reader, length);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).context("a chunk's length")?;
        skip(reader, length + 2)?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn skip(reader: &mut BufReader<TcpStream>, length: u64) -> anyhow::Result<()> {
    let read = std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    anyhow::ensure!(read == length, "the body was cut off");
    Ok(())
}
