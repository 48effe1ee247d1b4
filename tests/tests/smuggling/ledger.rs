//! What the ledger says of the calls of a service, compared with what the service saw.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tests::backends::echo::Kind;
use tests::backends::seen::Seen;
use tests::gateway::Gateway;

use super::corpus::{FORGED, HIDDEN_PATH};

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Its id.
    pub(super) id: String,
    service: String,
    method: String,
    path: String,
    by: Value,
    /// The status of its answer, where there was one.
    status: Option<u64>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Recorded>);

impl Recorded {
    /// All calls of services that were sent, once each of them has ended.
    ///
    /// # Errors
    /// The ledger cannot be read, or one never ends.
    pub(super) fn all(gateway: &Gateway) -> anyhow::Result<Ledger> {
        let begins = |record: &Value| {
            matches!(record["kind"].as_str(), Some("intent" | "open")) && !record["service"]["name"].is_null()
        };
        let ends = |record: &Value| matches!(record["kind"].as_str(), Some("outcome" | "close"));
        let records = gateway.records_with("all calls have ended", |records| {
            let ended: HashSet<u64> = records
                .iter()
                .filter(|record| ends(record))
                .filter_map(|record| record["pair"].as_u64())
                .collect();
            records
                .iter()
                .filter(|record| begins(record))
                .all(|record| record["seq"].as_u64().is_some_and(|seq| ended.contains(&seq)))
        })?;
        let status: HashMap<u64, Option<u64>> = records
            .iter()
            .filter(|record| ends(record))
            .filter_map(|record| Some((record["pair"].as_u64()?, record["outcome"]["status"].as_u64())))
            .collect();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let recorded = records.iter().filter(|record| begins(record)).map(|record| Self {
            id: text(&record["id"]),
            service: text(&record["service"]["name"]),
            method: text(&record["req"]["method"]),
            path: text(&record["req"]["path"]),
            by: record["by"].clone(),
            status: record["seq"]
                .as_u64()
                .and_then(|seq| status.get(&seq).copied().flatten()),
        });
        Ok(Ledger(recorded.collect()))
    }
}

impl Ledger {
    /// Those of one service.
    pub(super) fn of(&self, service: &str) -> Vec<&Recorded> {
        self.0.iter().filter(|one| one.service == service).collect()
    }
}

/// What differs between the records of a service and what it saw.
pub(super) fn differences(kind: Kind, recorded: &[&Recorded], seen: &[Seen]) -> Vec<String> {
    let by_id: HashMap<&[u8], &Recorded> = recorded.iter().map(|one| (one.id.as_bytes(), *one)).collect();
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for request in seen {
        let told = || {
            format!(
                "{} {}",
                String::from_utf8_lossy(&request.method),
                String::from_utf8_lossy(&request.target)
            )
        };
        let one = match request.values("audit-id")[..] {
            [id] => by_id.get(id),
            _ => None,
        };
        let Some(one) = one else {
            found.push(format!(
                "seen and not recorded: {} {:?}",
                told(),
                request.values("audit-id")
            ));
            continue;
        };
        *times.entry(one.id.as_str()).or_default() += 1;
        if let Err(error) = is_same(kind, one, request) {
            found.push(format!("{}: {error:#}", told()));
        }
    }
    for one in recorded {
        let times = times.get(one.id.as_str()).copied().unwrap_or(0);
        let answered = one.status == Some(200);
        if times > 1 || answered && times == 0 {
            found.push(format!("seen {times} times: {one:?}"));
        }
        if one.path.starts_with(HIDDEN_PATH) {
            found.push(format!("what was hidden was let in: {one:?}"));
        }
    }
    found
}

fn is_same(kind: Kind, one: &Recorded, seen: &Seen) -> anyhow::Result<()> {
    let (method, target) = (
        String::from_utf8_lossy(&seen.method),
        String::from_utf8_lossy(&seen.target),
    );
    ensure!(method == one.method, "recorded as {}", one.method);
    let path = target.split('?').next().unwrap_or_default();
    // A record names a path up to the first segment that may be a secret.
    let kept = one.path.strip_suffix('…');
    let is_cut = kept.is_some_and(|kept| kept.ends_with('/') && path.starts_with(kept));
    ensure!(path == one.path || is_cut, "recorded as {}", one.path);
    let Asserted { token, claims } = asserted(seen)?;
    ensure!(
        claims["email"] == one.by["email"] && claims["sub"] == one.by["id"],
        "{claims} is not {}",
        one.by
    );
    ensure!(claims["aud"] == format!("service:{}", kind.name()), "{claims}");
    let user = one.by["user"].as_str().context("a user")?;
    ensure!(seen.values("x-remote-user") == [user.as_bytes()], "{seen:?}");
    if !seen.environment.is_empty() {
        ensure!(seen.variable("HTTP_X_REMOTE_USER") == Some(user.as_bytes()), "{seen:?}");
        ensure!(
            seen.variable("HTTP_X_GATESCRIBE_ASSERTION") == Some(token.as_bytes()),
            "{seen:?}"
        );
    }
    let all = seen.headers.iter().chain(&seen.trailers).chain(&seen.environment);
    for (name, value) in all {
        let holds = |text: &[u8]| memchr::memmem::find(text, FORGED.as_bytes()).is_some();
        ensure!(
            !holds(name) && !holds(value),
            "a word of the client's: {}",
            String::from_utf8_lossy(name)
        );
    }
    Ok(())
}

/// An assertion that came, and what it says. It is not verified here.
#[derive(Debug)]
pub(super) struct Asserted {
    token: String,
    /// What it says.
    pub(super) claims: Value,
}

/// The one assertion.
///
/// # Errors
/// There is none, more than one, or none that could be read.
pub(super) fn asserted(seen: &Seen) -> anyhow::Result<Asserted> {
    let token = said(seen, "x-gatescribe-assertion").context("not one assertion")?;
    let token = String::from_utf8(token)?;
    let payload = token.split('.').nth(1).context("a payload")?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    Ok(Asserted { token, claims })
}

/// The value of the one field of this name. A program behind Apache is told of fields as variables alone.
pub(super) fn said(seen: &Seen, name: &str) -> Option<Vec<u8>> {
    if seen.headers.is_empty() {
        let variable = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
        return seen.variable(&variable).map(<[u8]>::to_vec);
    }
    match seen.values(name)[..] {
        [one] => Some(one.to_vec()),
        _ => None,
    }
}
