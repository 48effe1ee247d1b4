//! `bench bodies`: resident memory of the gateway before and while many bodies of 3 MiB are on their way at once, at audit level
//! RequestResponse: uploads that say how long they are, uploads that do not (of those the beginning is read before the intent), and answers
//! (of those a copy is begun). The cluster, a stand-in in TLS by HTTP/2, takes no byte of an upload, and the readers take none of their answers,
//! so that as much as can be is on the way.

use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tests::fed::{Fed, PIECE, Speaks};
use tests::frames::Http2;
use tests::gateway::{Gateway, Options};
use tests::http::Stream;
use tests::measure::cpu;
use tests::metrics::Scrape;
use tests::wait::{PATIENCE, try_until};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Twenty bodies, to see that it works.
    #[arg(long)]
    quick: bool,
    /// How many bodies at once.
    #[arg(long, default_value_t = 1_000)]
    count: usize,
}

/// Bytes of each: the most that an API server takes.
const LENGTH: usize = 3 << 20;
const OBJECT: &str = "/clusters/bench/api/v1/namespaces/default/configmaps/large";
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";
const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: works }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, update] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: works }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: works }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bodies {
    /// Uploads with a length.
    Declared,
    /// Uploads without.
    Chunked,
    Answers,
}

/// KiB that one body may take of the gateway's memory, of 3,072 that it has, as the gateway's own bounds add up on its way: what is read
/// ahead of a client by HTTP/1.1 (a head of 192 and 64 behind it) or, of an answer, the window of its stream (256); what waits to be
/// sent on (64); the copy for the audit (64); and a connection with its TLS (64, where a watch has 40 in all).
const MOST_KIB_EACH: f64 = 256.0 + 64.0 + 64.0 + 64.0;
/// KiB beside them, whatever their number: what the first ones allocate for everybody.
const MOST_KIB_BESIDE: f64 = 8_192.0;

/// What was seen of one sort.
struct Seen {
    before_kib: f64,
    with_kib: f64,
    /// Held for what is to be written down, and the most that may be.
    held: f64,
    most: f64,
}

impl Seen {
    /// # Errors
    /// More is held for the audit than its budget, or more of the memory than so many bodies may take.
    fn is_bounded(&self, name: &str, count: usize) -> anyhow::Result<()> {
        ensure!(self.held <= self.most, "{name}: more is held than may be");
        let (took, most) = (
            self.with_kib - self.before_kib,
            MOST_KIB_EACH * count as f64 + MOST_KIB_BESIDE,
        );
        ensure!(
            took <= most,
            "{name}: {took:.0} KiB are taken by {count} bodies, and at most {most:.0} may be"
        );
        Ok(())
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let count = if arguments.quick { 20 } else { arguments.count };
    ensure!(count > 0, "there is nothing to measure");
    let mut line = format!("bodies count={count} mib_each={}", LENGTH >> 20);
    let mut most = 0.0;
    for (name, bodies) in [
        ("declared", Bodies::Declared),
        ("chunked", Bodies::Chunked),
        ("answers", Bodies::Answers),
    ] {
        let seen = measure(bodies, count)?;
        let each = (seen.with_kib - seen.before_kib) / count as f64;
        println!(
            "{name}: {:.0} KiB before, {:.0} KiB with {count} bodies, {each:.1} KiB each; {:.0} bytes held for the audit of {:.0}",
            seen.before_kib, seen.with_kib, seen.held, seen.most
        );
        seen.is_bounded(name, count)?;
        line.push_str(&format!(
            " before_{name}_kib={:.0} with_{name}_kib={:.0} kib_each_{name}={each:.1} held_{name}={:.0}",
            seen.before_kib, seen.with_kib, seen.held
        ));
        most = seen.most;
    }
    println!("{line} budget={most:.0}");
    Ok(())
}

/// A gateway of its own for each sort: what was once resident is not given back.
fn measure(bodies: Bodies, count: usize) -> anyhow::Result<Seen> {
    let fed = Fed::start(Speaks::Http2)?;
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("audit.yaml");
    std::fs::write(&policy, POLICY)?;
    let more = serde_json::json!({
        "audit": { "policyFile": policy.display().to_string() },
        "limits": { "inFlight": count + 100 },
    });
    let options = Options {
        authorization: Some("enforce"),
        more: Some(more),
        ..Options::ruled(ROLES)
    };
    let gateway = Gateway::before(&fed.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    warm_up(&gateway, &fed, &bearer)?;
    let resident = || cpu::resident_kib(gateway.process().pid()?.as_raw());
    let before_kib = resident()?;
    let mut calls = Vec::new();
    let on_the_way = Arc::<AtomicU64>::default();
    let mut readers = Vec::new();
    let mut taken = Vec::new();
    for _ in 0..count {
        match bodies {
            Bodies::Declared | Bodies::Chunked => upload(&gateway, &bearer, bodies, &on_the_way)?,
            Bodies::Answers => readers.push(reader(&gateway, &bearer)?),
        }
        let call = fed.next()?;
        match bodies {
            Bodies::Answers => taken.push(call.answer_long((LENGTH / PIECE) as u64)?),
            _ => calls.push(call),
        }
    }
    settled(|| {
        let answered: u64 = taken.iter().map(|taken| taken.load(Ordering::Acquire)).sum();
        on_the_way.load(Ordering::Acquire) + answered
    })?;
    let scrape = Scrape::of(gateway.admin())?;
    let seen = Seen {
        before_kib,
        with_kib: resident()?,
        held: scrape.sum("gateway_audit_body_bytes", &[]),
        most: scrape.sum("gateway_audit_body_bytes_limit", &[]),
    };
    if bodies != Bodies::Answers {
        are_above_their_bound(&scrape, count)?;
    }
    ensure!(calls.len() + taken.len() == count, "a call was lost");
    Ok(seen)
}

/// Of each upload it was found that it is not kept, and why.
fn are_above_their_bound(scrape: &Scrape, count: usize) -> anyhow::Result<()> {
    let of = |kept| scrape.sum("gateway_audit_bodies_total", &[("body", "request"), ("kept", kept)]);
    // On a machine that is busy with all of them a beginning may take longer than it is waited for.
    // One person sends all of them, and has a share of what may be held: above it a body passes without being looked at.
    let found = of("tooLong") + of("slow") + of("ownBudget") + of("budget");
    let all = scrape
        .series
        .iter()
        .filter(|(series, count)| series.contains("bodies_total") && **count > 0.0);
    let all: Vec<_> = all.collect();
    ensure!(
        found == count as f64 && of("tooLong") > 0.0,
        "of {count} bodies not all were found to be too long, or above what may be held: {all:?}"
    );
    Ok(())
}

/// What the first calls allocate for everybody is no price of a body.
fn warm_up(gateway: &Gateway, fed: &Fed, bearer: &str) -> anyhow::Result<()> {
    let client = gateway.client()?;
    for _ in 0..20 {
        let (client, bearer) = (client.clone(), bearer.to_owned());
        let asking = std::thread::spawn(move || client.get(OBJECT, &[("Authorization", &bearer)]));
        let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large"}}"#;
        fed.next()?
            .answer(200, &[("content-type", "application/json")], object)?;
        let answer = asking.join().ok().context("a caller")??;
        ensure!(answer.status == 200, "{}", answer.status);
    }
    Ok(())
}

/// Begins an upload, and has a thread send as much of it as is taken. It ends with the gateway.
fn upload(gateway: &Gateway, bearer: &str, bodies: Bodies, sent: &Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut stream = gateway.client()?.open()?;
    let framing = match bodies {
        Bodies::Chunked => "Transfer-Encoding: chunked".to_owned(),
        _ => format!("Content-Length: {LENGTH}"),
    };
    write!(
        stream,
        "PUT {OBJECT} HTTP/1.1\r\nHost: {}\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n",
        gateway.address
    )?;
    let sent = Arc::clone(sent);
    // So many of them need no more than what a write takes.
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    thread.spawn(move || send(&mut stream, bodies, &sent))?;
    Ok(())
}

fn send(stream: &mut Stream, bodies: Bodies, sent: &AtomicU64) -> anyhow::Result<()> {
    let piece = [b'1'; PIECE];
    for _ in 1..LENGTH / PIECE {
        if bodies == Bodies::Chunked {
            write!(stream, "{PIECE:x}\r\n")?;
        }
        stream.write_all(&piece)?;
        if bodies == Bodies::Chunked {
            stream.write_all(b"\r\n")?;
        }
        sent.fetch_add(1, Ordering::AcqRel);
    }
    // Whoever leaves breaks the body off: the last byte of it never comes, and no answer.
    stream.read_exact(&mut [0])?;
    Ok(())
}

fn reader(gateway: &Gateway, bearer: &str) -> anyhow::Result<Http2> {
    let mut reader = Http2::begin_without_window(gateway.client()?.http2()?)?;
    let authority = gateway.address.to_string();
    reader.get(1, &authority, OBJECT, &[("authorization", bearer)])?;
    Ok(reader)
}

/// Waits until no more comes: twice the same, with time between.
fn settled(count: impl Fn() -> u64) -> anyhow::Result<()> {
    let mut last = u64::MAX;
    try_until("nothing more is on its way", PATIENCE, || {
        let now = count();
        let is_same = std::mem::replace(&mut last, now) == now;
        ensure!(is_same, "{now} pieces, and more come");
        Ok(())
    })
}
