//! People who have signed in by browser, and workloads with tokens of their own: who calls services in a bench.
//!
//! Sessions are begun in the state file before the gateway opens it, with the key under which it seals: a hundred thousand
//! sign-ins by browser would take longer than what is measured.

use super::crew::{Asks, Proof};
use super::world::name;
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::service::HostName;
use model::subject::SubjectId;
use model::time::Timestamp;
use serde_json::json;
use state::{ClientKind, Identity, Limits, NewSession, ProviderTokens, SealingKey, SealingKeys, SessionSecrets, Store};
use std::fmt::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// The group of all of them.
pub const GROUP: &str = "dev";
/// The namespace of the workloads.
pub const NAMESPACE: &str = "shop";
/// How many workloads there are.
const WORKLOADS: usize = 100;
/// Requests that a connection makes for one of them before it goes on to the next.
const TURN: usize = 64;

/// Makes the state file of a gateway in its data folder, which it has not seen yet, with so many people signed in. Gives the
/// cookie of each on each of `hosts`.
///
/// # Errors
/// The disk refuses, or the folder has a state file already.
pub fn sign_in(data: &Path, count: usize, issuer: &str, hosts: &[&str]) -> anyhow::Result<Vec<Arc<[String]>>> {
    let made = data.join("state.sqlite");
    ensure!(!made.exists(), "somebody has signed in there");
    let key = sealing_key(data)?;
    let keys = || Ok::<_, anyhow::Error>(SealingKeys::new(SealingKey::new(&key).context("a key")?, Vec::new()));
    let hosts: Vec<HostName> = hosts.iter().map(|host| HostName::new(host)).collect::<Result<_, _>>()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = Timestamp::from_unix_nanos(i64::try_from(now.as_nanos())?);
    // Each begin is synced: in memory, where there is such a place, that costs nothing.
    let memory = Path::new("/dev/shm");
    let draft = tempfile::tempdir_in(if memory.is_dir() { memory } else { data })?;
    let file = draft.path().join("state.sqlite");
    let mut people = Vec::with_capacity(count);
    {
        let store = Store::open(&file, keys()?, Limits::default())?;
        for person in 0..count {
            let SessionSecrets::Begun { session, .. } = store.begin_session(&session(person, issuer)?, now)? else {
                bail!("somebody is locked out");
            };
            let cookies = hosts.iter().map(|host| store.service_cookie(host, &session.id));
            people.push(cookies.collect::<Result<_, _>>()?);
        }
    }
    for left in std::fs::read_dir(draft.path())? {
        let left = left?;
        let to = data.join(left.file_name());
        std::fs::copy(left.path(), to)?;
    }
    Ok(people)
}

/// The key under which the gateway will seal, made as it makes it.
fn sealing_key(data: &Path) -> anyhow::Result<[u8; 32]> {
    let keys = data.join("keys");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&keys)?;
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| anyhow::anyhow!("no random bytes"))?;
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(keys.join("seal"))?;
    std::io::Write::write_all(&mut file, &key)?;
    Ok(key)
}

fn session(person: usize, issuer: &str) -> anyhow::Result<NewSession> {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(u64::try_from(person)?.to_be_bytes()) {
        *to = from;
    }
    let mut groups: Vec<String> = (0..7).map(|n| format!("department-{n}-{}", person % 10)).collect();
    groups.push(GROUP.to_owned());
    let day = Duration::from_secs(86_400);
    Ok(NewSession {
        subject_id: SubjectId::from_digest(id),
        provider: "bench".to_owned(),
        provider_sid: None,
        identity: Identity {
            issuer: issuer.to_owned(),
            subject: format!("subject-{person:06}"),
            username: format!("person-{person:06}@example.com"),
            uid: None,
            groups,
            extra: std::collections::BTreeMap::new(),
            email: Some(format!("person-{person:06}@example.com")),
        },
        client: ClientKind::Browser,
        source: "127.0.0.1".to_owned(),
        auth_time: None,
        acr: None,
        tokens: ProviderTokens {
            refresh: None,
            id_token: None,
            claims: "{}".to_owned(),
            nonce: "bench".to_owned(),
        },
        first_use: day,
        idle: day,
        absolute: day,
    })
}

/// Tokens of ServiceAccounts for `audience`, as a projected volume has them. Who knows whose they are is the cluster.
#[must_use]
pub fn workloads(audience: &str) -> Vec<String> {
    let token = |number: usize| {
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(json!({ "alg": "RS256", "kid": "cluster" }));
        let claims = encode(json!({
            "iss": "https://kubernetes.default.svc", "aud": [audience], "exp": 4_102_444_800_u64, "iat": 1_700_000_000, "nbf": 1_700_000_000,
            "sub": format!("system:serviceaccount:{NAMESPACE}:workload-{number:03}"), "jti": format!("{number:08}"),
            "kubernetes.io": {
                "namespace": NAMESPACE,
                "pod": { "name": format!("workload-{number:03}-0"), "uid": format!("2d1c9a1e-0d53-4a4c-9c57-0f2d9d2f{number:04}") },
                "serviceaccount": { "name": format!("workload-{number:03}"), "uid": format!("8a1c9a1e-0d53-4a4c-9c57-0f2d9d2f{number:04}") },
            },
        }));
        // As long as one by RSA with 2,048 bits.
        format!("{header}.{claims}.{}A", "s".repeat(341))
    };
    (0..WORKLOADS).map(token).collect()
}

/// Which of them call.
#[derive(Clone, Debug)]
pub enum Who {
    /// People, by their cookies of this place among the hosts: the first so many, each for a turn of requests.
    Turns(Arc<[Arc<[String]>]>, usize, usize),
    /// The same, each request by another one.
    Scattered(Arc<[Arc<[String]>]>, usize, usize),
    /// The same, each of them once.
    Once(Arc<[Arc<[String]>]>, usize, usize, Arc<AtomicUsize>),
    /// Workloads, by turns.
    Workloads(Arc<[String]>),
}

/// Calls of a service, on one connection.
#[derive(Debug)]
pub struct Calls {
    who: Who,
    host: String,
    target: String,
    state: u64,
    now: usize,
    left: usize,
}

impl Calls {
    /// On the connection of this number.
    #[must_use]
    pub const fn new(number: usize, who: Who, host: String) -> Self {
        Self {
            who,
            host,
            target: String::new(),
            state: 0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 17),
            now: 0,
            left: 0,
        }
    }

    fn random(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 20) as usize
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<usize> {
        let any = self.random();
        let (of, turn) = match &self.who {
            Who::Once(_, _, count, begun) => {
                let next = begun.fetch_add(1, Ordering::Relaxed);
                return (next < *count).then_some(next);
            }
            Who::Turns(_, _, count) => (*count, TURN),
            Who::Scattered(_, _, count) => (*count, 1),
            Who::Workloads(tokens) => (tokens.len(), TURN),
        };
        if self.left > 0 {
            self.left -= 1;
            return Some(self.now);
        }
        self.left = turn - 1;
        Some(any % of.max(1))
    }
}

impl Asks for Calls {
    fn advance(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = next;
        let (namespace, pod) = (self.random() % super::world::NAMESPACES, self.random() % 2);
        self.target.clear();
        // Writing into a string cannot fail.
        let _ = write!(self.target, "/api/v1/namespaces/{}/pods/pod-{pod}", name(namespace));
        true
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn proof(&self) -> Proof<'_> {
        match &self.who {
            Who::Turns(people, host, _) | Who::Scattered(people, host, _) | Who::Once(people, host, _, _) => {
                let cookies = people.get(self.now);
                Proof::Cookie(
                    cookies
                        .and_then(|cookies| cookies.get(*host))
                        .map_or("", String::as_str),
                )
            }
            Who::Workloads(tokens) => Proof::Bearer(tokens.get(self.now).map_or("", String::as_str)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_was_made_beside_the_gateway_leads_to_its_session() {
        let data = tempfile::tempdir().unwrap();
        let people = sign_in(
            data.path(),
            3,
            "http://127.0.0.1/people",
            &["a.localhost", "b.localhost"],
        )
        .unwrap();
        let key: [u8; 32] = std::fs::read(data.path().join("keys/seal"))
            .unwrap()
            .try_into()
            .unwrap();
        let keys = SealingKeys::new(SealingKey::new(&key).unwrap(), Vec::new());
        let store = Store::open(&data.path().join("state.sqlite"), keys, Limits::default()).unwrap();
        let found = |host: &str, value: &str| {
            let host = HostName::new(host).unwrap();
            store
                .session_of_cookie(&host, value, Timestamp::from_unix_seconds(1))
                .unwrap()
        };
        let whose = |session: Option<state::Session>| session.map(|session| session.identity.subject);
        assert_eq!(
            whose(found("b.localhost", &people[2][1])).as_deref(),
            Some("subject-000002")
        );
        assert_eq!(whose(found("a.localhost", &people[2][1])), None);
    }

    #[test]
    fn each_is_asked_for_once_and_then_nobody() {
        let people: Arc<[Arc<[String]>]> = (0..5).map(|n| Arc::from([format!("cookie-{n}")])).collect();
        let begun = Arc::new(AtomicUsize::new(0));
        let calls = |number| {
            Calls::new(
                number,
                Who::Once(Arc::clone(&people), 0, 5, Arc::clone(&begun)),
                String::new(),
            )
        };
        let (mut one, mut other, mut seen) = (calls(0), calls(1), Vec::new());
        while one.advance() {
            let Proof::Cookie(value) = one.proof() else {
                panic!("a cookie")
            };
            seen.push(value.to_owned());
            if other.advance() {
                let Proof::Cookie(value) = other.proof() else {
                    panic!("a cookie")
                };
                seen.push(value.to_owned());
            }
        }
        assert_eq!(seen, ["cookie-0", "cookie-1", "cookie-2", "cookie-3", "cookie-4"]);
    }
}
