//! One event as the body of one record: what it says, never what its call carried.
//!
//! A call is one `access` record with its end in it, whatever it did: nothing of it has waited for us. One that goes on (a watch, a
//! session in a pod) is an `access` when it begins and a `close` when it ends. All of them have `source: ingested` and the members
//! of `ingested`; their ids are UUIDv8, made of the event, so that none is ever an id of the gateway's own (UUIDv7), and nobody
//! chooses one by choosing an `Audit-ID`.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use insight::{ServerEvent, Stage};
use model::cluster::ClusterId;
use model::event::{
    Answer, By, Decided, Effective, Ingested, Network, Object, Outcome, Record, RecordKind, Request, Source, Span,
};
use model::request::{Action, RequestFacts};
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use proxy::audit::TargetWords;

/// Groups, keys and addresses that are named.
const MOST_NAMED: usize = 32;
const MOST_FORWARDED: usize = 8;
/// Of an agent so much is looked at, as of the gateway's own callers.
const MOST_AGENT: usize = 256;
/// No call is older: the first public version of Kubernetes.
const FIRST: Timestamp = Timestamp::from_unix_seconds(1_401_580_800);
/// A server's clock that is ahead by more is not believed.
const AHEAD: Duration = Duration::from_secs(86_400);

/// What an event is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(pub(super) [u8; 16]);

impl Digest {
    pub(super) fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Over texts, each with its length in front, so that no two lists of them are the same.
    fn of(what: &str, texts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for text in std::iter::once(&what).chain(texts) {
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut first = [0; 16];
        let whole = context.finish();
        first.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
        Self(first)
    }
}

/// The event, by all that makes it another one: an `Audit-ID` is its caller's choice and says nothing by itself.
pub(super) fn digest_of(cluster: &ClusterId, event: &ServerEvent) -> Digest {
    let (received, at) = (
        event.received.unix_nanos().to_string(),
        event.at.unix_nanos().to_string(),
    );
    let code = event.code.map_or_else(String::new, |code| code.to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let texts = [
        cluster.as_str(),
        &event.audit_id,
        event.stage.as_str(),
        &event.verb,
        &event.uri,
        &event.user,
        &text(&event.impersonated),
        &code,
        &received,
        &at,
        &text(&event.peer),
        &text(&event.agent),
    ];
    Digest::of("gatescribe observe: event, version 1", &texts)
}

/// The call of the event, the same for all its stages.
pub(super) fn call_of(cluster: &ClusterId, event: &ServerEvent) -> Digest {
    let received = event.received.unix_nanos().to_string();
    let impersonated = event.impersonated.clone().unwrap_or_default();
    let texts = [
        cluster.as_str(),
        &event.audit_id,
        &event.verb,
        &event.uri,
        &event.user,
        &impersonated,
        &received,
    ];
    Digest::of("gatescribe observe: call, version 1", &texts)
}

/// Something that could not be read, by the SHA-256 of all its bytes and where it stood: at which byte of its file, as which event of its list.
pub(super) fn digest_of_text(cluster: &ClusterId, (at, number): (u64, u64), whole: &digest::Digest) -> Digest {
    let whole = hex::encode(whole);
    let (at, number) = (at.to_string(), number.to_string());
    let texts = [cluster.as_str(), &at, &number, &whole];
    Digest::of("gatescribe observe: unreadable, version 1", &texts)
}

/// The id of the records of a call.
pub(super) fn id_of(call: Digest) -> String {
    let id = uuid::Builder::from_bytes(call.0)
        .with_version(uuid::Version::Custom)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid();
    id.to_string()
}

/// What is written of an event.
pub(super) struct Written {
    pub(super) kind: RecordKind,
    pub(super) body: Vec<u8>,
}

/// Where and when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here<'a> {
    pub(super) cluster: &'a ClusterId,
    pub(super) boot: &'a str,
    pub(super) now: Timestamp,
}

/// The record of an event; `begun` where the ledger has the beginning of its call already, or all of it.
pub(super) fn write(here: Here<'_>, event: &ServerEvent, known: Digest, begun: bool) -> anyhow::Result<Written> {
    let id = id_of(call_of(here.cluster, event));
    let digest = known.to_hex();
    let more = &event.more;
    let (groups, groups_count) = first_few(&more.user.groups, MOST_NAMED);
    let forwarded: Vec<String> = more
        .forwarded
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .take(MOST_FORWARDED)
        .map(|ip| ip.to_string())
        .collect();
    // As of the gateway's own callers: it is the client's word.
    let audit_id: String = event.audit_id.chars().filter(char::is_ascii_graphic).take(64).collect();
    let ingested = Ingested {
        format: "audit.k8s.io/v1",
        audit_id: &audit_id,
        stage: event.stage.as_str(),
        level: level(more.level.as_deref()),
        event: &digest,
        received: event.received,
        stamped: event.at,
        read: here.now,
        groups,
        groups_count,
        forwarded: &forwarded,
    };
    let closes = begun && event.stage.is_last();
    let (t, note) = time(if closes { event.at } else { event.received }, here.now);
    let record = Record {
        id: &id,
        t,
        boot: here.boot,
        cluster: Some(here.cluster),
        source: Source::Ingested,
        outcome: event.stage.is_last().then(|| outcome(event)),
        ingested: Some(ingested),
        note,
        ..Record::default()
    };
    if closes {
        let body = record.body()?;
        return Ok(Written {
            kind: RecordKind::Close,
            body,
        });
    }
    Ok(Written {
        kind: RecordKind::Access,
        body: whole(here, event, record)?,
    })
}

/// With who, what and from where.
fn whole(here: Here<'_>, event: &ServerEvent, record: Record<'_>) -> anyhow::Result<Vec<u8>> {
    let more = &event.more;
    let issuer = format!("observed:{}", here.cluster);
    let subject = SubjectId::from_digest(Digest::of("", &[&issuer, &event.user]).0);
    let ip = event.peer.as_deref().and_then(|peer| peer.parse::<IpAddr>().ok());
    let ip = ip.map(|ip| ip.to_string());
    let facts = insight::facts_of(event);
    let method = insight::method_of(event);
    let words = TargetWords::of(&event.uri);
    let keys: Vec<&str> = words.keys.iter().map(String::as_str).collect();
    let (as_groups, as_count) = first_few(&more.impersonated.groups, MOST_NAMED);
    let mut extra_keys: Vec<&str> = more.impersonated.extra.keys().map(String::as_str).collect();
    let extra_count = (extra_keys.len() > MOST_NAMED).then_some(extra_keys.len());
    extra_keys.truncate(MOST_NAMED);
    let object = more.object.as_ref().map(|object| Object {
        name: object.name.as_deref(),
        namespace: object.namespace.as_deref(),
        uid: object.uid.as_deref(),
        resource_version: object.resource_version.as_deref(),
    });
    let record = Record {
        by: (!event.user.is_empty()).then(|| By {
            id: &subject,
            kind: kind_of(&event.user),
            iss: &issuer,
            sub: &event.user,
            user: &event.user,
            email: None,
            groups_hash: "",
            session: None,
            credential: "notSeen",
            credential_id: more.credential.as_deref().filter(|id| is_credential_id(id)),
            auth_time: None,
            origin: None,
            acr: None,
        }),
        effective: event.impersonated.as_deref().map(|user| Effective {
            user,
            uid: more.impersonated.uid.as_deref(),
            groups: as_groups,
            groups_count: as_count,
            groups_hash: None,
            extra_keys,
            extra_count,
        }),
        net: ip.as_deref().map(|ip| Network {
            ip,
            port: 0,
            http: "",
            listener: "",
        }),
        req: Some(request(event, facts.as_ref().ok(), (&words, &keys, &method))),
        decision: more.allowed.map(|allowed| Decided {
            allowed,
            who: "cluster",
            reason: None,
            rules: &[],
            rules_count: None,
            policy: "",
            sent_groups_hash: "",
            stated_reason: None,
        }),
        object,
        ..record
    };
    Ok(record.body()?)
}

fn request<'a>(
    event: &'a ServerEvent,
    facts: Option<&'a RequestFacts>,
    (words, keys, method): (&'a TargetWords<'a>, &'a [&'a str], &'a str),
) -> Request<'a> {
    let resource = facts.filter(|facts| facts.is_resource_request());
    let some = |text: &'a str| (!text.is_empty()).then_some(text);
    let agent = event.agent.as_deref().unwrap_or_default();
    let agent = agent.get(..agent.floor_char_boundary(MOST_AGENT)).unwrap_or_default();
    let is_word = |text: &str| text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    Request {
        method: if is_word(method) { method } else { "" },
        path: words.path,
        query_keys: keys,
        query_count: words.count,
        options: &words.options,
        verb: if is_word(&event.verb) { &event.verb } else { "" },
        action: facts
            .map(RequestFacts::action)
            .filter(|action| *action != Action::Plain)
            .map(Action::as_str),
        group: resource.map(RequestFacts::api_group),
        version: resource.map(RequestFacts::api_version),
        resource: resource.map(RequestFacts::resource),
        subresource: resource.and_then(|facts| some(facts.subresource())),
        namespace: resource.and_then(|facts| some(facts.namespace())),
        name: resource.and_then(|facts| some(facts.name())),
        agent: some(proxy::audit::agent(agent)),
        ..Request::default()
    }
}

fn outcome(event: &ServerEvent) -> Outcome<'_> {
    let took = u64::try_from(event.at.since(event.received).as_micros()).unwrap_or(u64::MAX);
    let panicked = event.stage == Stage::Panic;
    Outcome {
        end: if panicked {
            Answer::UpstreamLost
        } else {
            Answer::Answered
        },
        status: event.code,
        reason: event.more.reason.as_deref().and_then(model::status::reason),
        bytes_in: 0,
        bytes_out: 0,
        took: Some(Span {
            first: took,
            total: took,
        }),
        body_sha256: None,
        body_hmac: None,
        exit_code: None,
        unread: None,
        diverged: false,
        why: panicked.then_some("a handler of the API server failed"),
    }
}

/// The server's time, unless nobody can believe it.
fn time(told: Timestamp, now: Timestamp) -> (Timestamp, Option<&'static str>) {
    if (FIRST..=now.plus(AHEAD)).contains(&told) {
        (told, None)
    } else {
        (
            now,
            Some("the server's time of it cannot be: it stands in `ingested`, and here the time at which it was read"),
        )
    }
}

fn kind_of(user: &str) -> SubjectKind {
    match user {
        "system:anonymous" => SubjectKind::Public,
        name if name.starts_with("system:serviceaccount:") => SubjectKind::ServiceAccount,
        name if name.starts_with("system:") => SubjectKind::Workload,
        _ => SubjectKind::Person,
    }
}

fn level(text: Option<&str>) -> Option<&'static str> {
    ["None", "Metadata", "Request", "RequestResponse"]
        .into_iter()
        .find(|level| Some(*level) == text)
}

/// `JTI=…`, `X509SHA256=…`: the id of a credential, and nothing that could be one.
fn is_credential_id(text: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let id = text.strip_prefix("JTI=").or_else(|| text.strip_prefix("X509SHA256="));
    id.is_some_and(|id| (1..=64).contains(&id.len()) && plain(id))
}

fn first_few(all: &[String], most: usize) -> (&[String], Option<usize>) {
    match all.get(..most) {
        Some(first) if first.len() < all.len() => (first, Some(all.len())),
        _ => (all, None),
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
