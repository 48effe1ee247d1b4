//! A stand-in for an API server where the real one would be the slower half: for soaks and meters of the gateway alone.
//!
//! It answers every list with nothing, keeps every watch open, answers all else with the same small object, and remembers
//! of each effect under which `Audit-ID` it arrived and how often. It is no Kubernetes: what depends on one is told by the
//! stories that run against the real server. Plain HTTP/1.1 on loopback, one thread per connection.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::captured::{Arrived, Kept};
use crate::channels;
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
    reads_no_bodies: Mutex<bool>,
    reads_on: Condvar,
    refuses: AtomicBool,
    asked_in_vain: AtomicU64,
    rights: Mutex<Rights>,
    captures: AtomicBool,
    arrived: Kept,
    upgrades: Mutex<Upgrades>,
}

/// What is answered to requests to switch protocols, and what came behind them.
#[derive(Debug, Default)]
struct Upgrades {
    plays: Vec<Play>,
    asked: u64,
}

/// What becomes of those whose target has this in it.
#[derive(Debug)]
struct Play {
    part: String,
    answer: Vec<u8>,
    then: Then,
    came: Vec<u8>,
    poured: u64,
    ended: u64,
}

/// What follows a switch of protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// All that comes is sent back, until it ends.
    Echo,
    /// A command that writes what it reads, on channels in a WebSocket: see [`crate::channels::serve_cat`].
    Cat,
    /// All that comes is read and nothing is said.
    Listen,
    /// Nothing is read and nothing is said.
    Stall,
    /// The connection ends.
    Leave,
    /// Messages of output without end, as fast as they are taken, each with its number: [`crate::channels::numbered`].
    Pour,
}

/// What is said to a SubjectAccessReview, and how many came.
#[derive(Debug, Default)]
struct Rights {
    allowed: Option<bool>,
    asked: u64,
}

/// What was asked, as far as it matters here.
struct Asked {
    method: String,
    target: String,
    audit_id: Option<String>,
    wants_upgrade: bool,
    arrived: Arrived,
}

const BOOKMARK_EVERY: Duration = Duration::from_secs(20);

const OBJECT: &str =
    r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"default","resourceVersion":"7"}}"#;

const UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;

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

    /// Whether of what people send the heads alone are read from now on, as by a server that stands still.
    pub fn read_no_bodies(&self, stands_still: bool) {
        *self.seen.reads_no_bodies.lock().unwrap_or_else(PoisonError::into_inner) = stands_still;
        self.seen.reads_on.notify_all();
    }

    /// From now on no SubjectAccessReview and no TokenReview is answered.
    pub fn keep_silent_in_reviews(&self) {
        self.seen.keeps_silent.store(true, Ordering::Relaxed);
    }

    /// Whether calls for people are answered 401 from now on, as by a server that does not know who impersonates.
    pub fn refuse_the_gateway(&self, refuses: bool) {
        self.seen.refuses.store(refuses, Ordering::Relaxed);
    }

    /// How many of those were not answered.
    #[must_use]
    pub fn asked_in_vain(&self) -> u64 {
        self.seen.asked_in_vain.load(Ordering::Relaxed)
    }

    /// From now on SubjectAccessReviews are answered with yes or no.
    pub fn answer_rights(&self, allowed: bool) {
        self.rights().allowed = Some(allowed);
    }

    /// How many SubjectAccessReviews came since [`FakeApiServer::answer_rights`], answered or not.
    #[must_use]
    pub fn asked_rights(&self) -> u64 {
        self.rights().asked
    }

    /// From now on a request to switch protocols gets these very bytes; all that comes behind it is sent back, until it ends.
    pub fn answer_upgrades(&self, answer: &[u8]) {
        self.answer_upgrades_of("", answer, Then::Echo);
    }

    /// As [`FakeApiServer::answer_upgrades`] for targets with `part` in them; of several that fit the latest counts.
    pub fn answer_upgrades_of(&self, part: &str, answer: &[u8], then: Then) {
        self.seen.upgrades().plays.push(Play {
            part: part.to_owned(),
            answer: answer.to_vec(),
            then,
            came: Vec::new(),
            poured: 0,
            ended: 0,
        });
    }

    /// How many requests to switch protocols came, and what came behind those that were echoed.
    #[must_use]
    pub fn upgraded(&self) -> (u64, Vec<u8>) {
        let asked = self.seen.upgrades().asked;
        (asked, self.came(""))
    }

    /// What came behind the switches of targets with `part` in them, one after another.
    #[must_use]
    pub fn came(&self, part: &str) -> Vec<u8> {
        let upgrades = self.seen.upgrades();
        let of_it = upgrades.plays.iter().filter(|play| play.part == part);
        of_it.flat_map(|play| play.came.iter().copied()).collect()
    }

    /// How many of the upgraded connections for `part` were read to their ends.
    #[must_use]
    pub fn ended(&self, part: &str) -> u64 {
        let upgrades = self.seen.upgrades();
        let of_it = upgrades.plays.iter().filter(|play| play.part == part);
        of_it.map(|play| play.ended).sum()
    }

    /// How many bytes of [`Then::Pour`] have been taken for `part`.
    #[must_use]
    pub fn poured(&self, part: &str) -> u64 {
        let upgrades = self.seen.upgrades();
        let of_it = upgrades.plays.iter().filter(|play| play.part == part);
        of_it.map(|play| play.poured).sum()
    }

    fn rights(&self) -> MutexGuard<'_, Rights> {
        self.seen.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the calls for people are kept as they arrive.
    pub fn capture(&self) {
        self.seen.captures.store(true, Ordering::Relaxed);
    }

    /// The calls for people that arrived since the last call, byte for byte.
    #[must_use]
    pub fn take_arrived(&self) -> Vec<Arrived> {
        self.seen.arrived.take()
    }

    /// How many reads arrived with an `Audit-ID`: those for people.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.seen.reads.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn upgrades(&self) -> MutexGuard<'_, Upgrades> {
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upgrades {
    /// The place of the play for a target, and what is answered.
    fn asked(&mut self, target: &str) -> Option<(usize, Vec<u8>)> {
        self.asked += 1;
        let at = self.plays.iter().rposition(|play| target.contains(&play.part))?;
        Some((at, self.plays.get(at)?.answer.clone()))
    }

    fn play(&mut self, at: usize) -> anyhow::Result<&mut Play> {
        self.plays.get_mut(at).context("what was ordered stays")
    }
}

fn play(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream, seen: &Seen, at: usize) -> anyhow::Result<()> {
    let (then, answer) = {
        let mut upgrades = seen.upgrades();
        let play = upgrades.play(at)?;
        (play.then, String::from_utf8_lossy(&play.answer).into_owned())
    };
    let says_status = ["v4.", "v5."]
        .iter()
        .any(|version| answer.contains(&format!(": {version}")));
    match then {
        Then::Echo => echo(reader, writer, seen, at),
        Then::Cat => {
            let mut keep = |piece: &[u8]| seen.upgrades().play(at).map(|play| play.came.extend_from_slice(piece));
            channels::serve_cat(reader, writer, says_status, &mut keep)
        }
        Then::Listen => {
            let mut piece = [0; 4096];
            loop {
                let read = reader.read(&mut piece)?;
                let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
                    return Ok(());
                };
                seen.upgrades().play(at)?.came.extend_from_slice(piece);
            }
        }
        Then::Leave => Ok(()),
        Then::Stall => loop {
            std::thread::park(); // the socket stays open for as long as the process lives
        },
        Then::Pour => {
            for number in 0_u32.. {
                let message = channels::numbered(number);
                writer.write_all(&message)?;
                seen.upgrades().play(at)?.poured += u64::try_from(message.len())?;
            }
            Ok(())
        }
    }
}

/// Sends back what comes. When nothing more comes it says so, and only then it ends.
fn echo(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream, seen: &Seen, at: usize) -> anyhow::Result<()> {
    let mut piece = [0; 4096];
    loop {
        let read = reader.read(&mut piece)?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else {
            return Ok(writer.write_all(LAST_WORDS)?);
        };
        seen.upgrades().play(at)?.came.extend_from_slice(piece);
        writer.write_all(piece)?;
    }
}

/// What an echo says when it was told that no more comes.
pub const LAST_WORDS: &[u8] = b"that was all";

fn serve(stream: TcpStream, seen: &Seen) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some((asked, length)) = head(&mut reader)? {
        // The head is what went upstream: it counts whether or not the rest comes.
        note(&asked, seen);
        if asked.audit_id.is_some() && asked.method != "GET" {
            let stands_still = seen.reads_no_bodies.lock().unwrap_or_else(PoisonError::into_inner);
            drop(seen.reads_on.wait_while(stands_still, |stands_still| *stands_still));
        }
        let trailers = body(&mut reader, length)?;
        if asked.audit_id.is_some() && seen.captures.load(Ordering::Relaxed) {
            let arrived = Arrived {
                trailers,
                ..asked.arrived.clone()
            };
            seen.arrived.keep(arrived);
        }
        if asked.target.contains("watch=") {
            writer.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            return watched(&mut reader, &mut writer);
        }
        let is_review = ["/subjectaccessreviews", "/tokenreviews"]
            .iter()
            .any(|review| asked.target.ends_with(review));
        if is_review && seen.keeps_silent.load(Ordering::Relaxed) {
            seen.asked_in_vain.fetch_add(1, Ordering::Relaxed);
            std::io::copy(&mut reader, &mut std::io::sink())?; // until the asker goes
            return Ok(());
        }
        if asked.audit_id.is_some() {
            let held = seen.held.lock().unwrap_or_else(PoisonError::into_inner);
            drop(seen.released.wait_while(held, |held| *held));
        }
        let upgrade = asked.wants_upgrade.then(|| seen.upgrades().asked(&asked.target));
        if let Some((at, answer)) = upgrade.flatten() {
            writer.write_all(&answer)?;
            let played = play(&mut reader, &mut writer, seen, at);
            seen.upgrades().play(at)?.ended += 1;
            return played;
        }
        let (status, text) = match review(&asked, seen) {
            Some(reviewed) => reviewed,
            None if asked.audit_id.is_some() && seen.refuses.load(Ordering::Relaxed) => {
                ("401 Unauthorized", UNAUTHORIZED.to_owned())
            }
            None => answer(&asked.method, &asked.target),
        };
        // Said back, as the real one does.
        let id = asked
            .audit_id
            .map(|id| format!("Audit-Id: {id}\r\n"))
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {status}\r\n{id}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The answer to a SubjectAccessReview, if it was said what that is.
fn review(asked: &Asked, seen: &Seen) -> Option<(&'static str, String)> {
    if !asked.target.ends_with("/subjectaccessreviews") {
        return None;
    }
    let mut rights = seen.rights.lock().unwrap_or_else(PoisonError::into_inner);
    let allowed = rights.allowed?;
    rights.asked += 1;
    let text = format!(
        r#"{{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{{}},"status":{{"allowed":{allowed}}}}}"#
    );
    Some(("201 Created", text))
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

/// What any stand-in answers: lists with nothing in them, and the same small object for all else.
pub(crate) fn answer(method: &str, target: &str) -> (&'static str, String) {
    let path = target.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let kind = match last {
        "roles" => "Role",
        "rolebindings" => "RoleBinding",
        "clusterroles" => "ClusterRole",
        "clusterrolebindings" => "ClusterRoleBinding",
        "namespaces" => "Namespace",
        "accessrules" => "AccessRule",
        "clusteraccessrules" => "ClusterAccessRule",
        "openid-configuration" => return ("200 OK", r#"{"issuer":"https://kubernetes.default.svc"}"#.to_owned()),
        _ if method == "GET" => return ("200 OK", OBJECT.to_owned()),
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
    let line = raw_line(reader)?;
    if line.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    let mut words = text.split(' ');
    let mut word = || words.next().map(str::to_owned).context("no request line");
    let mut asked = Asked {
        method: word()?,
        target: word()?,
        audit_id: None,
        wants_upgrade: false,
        arrived: Arrived {
            first: vec![shown(&line)],
            ..Arrived::default()
        },
    };
    let mut framing = Framing::Length(0);
    loop {
        let field = raw_line(reader)?;
        if field.is_empty() {
            bail!("the head was cut off");
        }
        let text = String::from_utf8_lossy(&field);
        let Some((name, value)) = text.trim_end().split_once(':') else {
            return Ok(Some((asked, framing)));
        };
        match name.to_ascii_lowercase().as_str() {
            "audit-id" => asked.audit_id = Some(value.trim().to_owned()),
            "upgrade" => asked.wants_upgrade = true,
            "content-length" => framing = Framing::Length(value.trim().parse()?),
            "transfer-encoding" => framing = Framing::Chunked,
            _ => {}
        }
        asked.arrived.fields.push(shown(&field));
    }
}

/// One line with its end; nothing at the end of the connection.
fn raw_line(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(line)
}

/// A line without its end. Only the very bytes CR LF are its end.
fn shown(line: &[u8]) -> String {
    line.strip_suffix(b"\r\n").unwrap_or(line).escape_ascii().to_string()
}

/// Reads past a body; what is given back are the lines of its trailers.
fn body(reader: &mut BufReader<TcpStream>, framing: Framing) -> anyhow::Result<Vec<String>> {
    if let Framing::Length(length) = framing {
        skip(reader, length)?;
        return Ok(Vec::new());
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).context("a chunk's length")?;
        if length == 0 {
            return trailers(reader);
        }
        skip(reader, length + 2)?;
    }
}

fn trailers(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let line = raw_line(reader)?;
        if line.trim_ascii_end().is_empty() {
            return Ok(lines);
        }
        lines.push(shown(&line));
    }
}

fn skip(reader: &mut BufReader<TcpStream>, length: u64) -> anyhow::Result<()> {
    let read = std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    anyhow::ensure!(read == length, "the body was cut off");
    Ok(())
}
