//! The members of leaf v1, in their fixed order. Absent members are left out, never `null`.

use std::sync::Arc;

use serde::Serialize;

use super::writer::{NotPlain, RecordWriter};
use crate::cluster::ClusterId;
use crate::decision::RuleRef;
use crate::erasure::{Actor, Scope};
use crate::subject::SubjectId;
use crate::time::Timestamp;

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The gateway saw it happen.
    #[default]
    Gateway,
    /// Read from another system's log.
    Ingested,
    /// An answer to another proxy's question.
    Verdict,
    /// Made for the demo; never evidence.
    Sample,
}

impl Source {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
    fn is_gateway(&self) -> bool {
        *self == Self::Gateway
    }
}

/// The body of a record of any kind.
///
/// `id` joins the records of one request and is its `Audit-ID` (UUIDv7); `pair` is the sequence number of the record
/// that this one ends. `t` is wall time; `mono` is nanoseconds since the process began, so that the order inside one
/// `boot` survives a clock that jumps.
#[derive(Clone, Debug, Serialize, Default)]
pub struct Record<'a> {
    /// Joins the records of one request.
    pub id: &'a str,
    /// The record that this one ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<u64>,
    /// Wall time, UTC.
    pub t: Timestamp,
    /// Nanoseconds since the process began.
    pub mono: u64,
    /// Which run of the process.
    pub boot: &'a str,
    /// Which cluster; absent for the gateway host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<&'a ClusterId>,
    /// Where the record comes from, when not from the gateway itself.
    #[serde(skip_serializing_if = "Source::is_gateway")]
    pub source: Source,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By<'a>>,
    /// Who it was evaluated and forwarded as, when the caller asked for nested impersonation.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective<'a>>,
    /// Workloads that acted for the person, nearest last (RFC 8693 §4.1 `act`).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub act: &'a [Workload<'a>],
    /// What was presented, where it proved nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presented: Option<Presented<'a>>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<Network<'a>>,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub req: Option<Request<'a>>,
    /// What was decided and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decided<'a>>,
    /// How much of it is kept, where an audit policy says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audited<'a>>,
    /// How it went upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Served<'a>>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome<'a>>,
    /// The object in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object<'a>>,
    /// A list in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemsSeen<'a>>,
    /// What stands for the recording of a session, as far as it is on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recorded<'a>>,
    /// What has passed in a call that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
    /// What happened to a session, when that is what the record says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person<'a>>,
    /// Counts of what was summed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Summed<'a>>,
    /// Calls that went on without a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Unrecorded<'a>>,
    /// A credential that the answer handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<Issued<'a>>,
    /// A set of rules that took effect or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyChange<'a>>,
    /// The configuration that took effect or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigChange<'a>>,
    /// The run that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Started<'a>>,
    /// A step of the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStep>,
    /// An erasure that somebody asks for, or that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasing<'a>>,
    /// A legal hold that begins or ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Held<'a>>,
    /// What somebody read of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Reading<'a>>,
    /// The body: of the request in the record that begins a call, of the answer in the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'a BodySeen>,
    /// What the answer changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<&'a DiffSeen>,
    /// What another system's log said, where the record was read from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingested: Option<Ingested<'a>>,
    /// Records that nobody had signed before this run, and that take something away: the gateway signs them with the rest, and believes none of them.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub refused: &'a [u64],
    /// Commitments to what is kept beside the leaf.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub parts: &'a [Part],
    /// One sentence for a human, where the members above do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
}

/// Who made the call.
#[derive(Clone, Debug, Serialize)]
pub struct By<'a> {
    /// Opaque and stable.
    pub id: &'a SubjectId,
    /// `person`, `serviceAccount`, `workload` or `public`.
    pub kind: crate::subject::SubjectKind,
    /// Who vouches.
    pub iss: &'a str,
    /// The issuer's name for the subject.
    pub sub: &'a str,
    /// The Kubernetes user name.
    pub user: &'a str,
    /// For display and search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<&'a str>,
    /// SHA-256 over all mapped groups, sorted, each followed by 0x00; hexadecimal, first 16 bytes.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub groups_hash: &'a str,
    /// Which sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<&'a str>,
    /// What was presented: `gatewayToken`, `providerToken`, `serviceAccount`, `certificate`, `svid`, `cookie`, `breakGlass`.
    pub credential: &'static str,
    /// The id of the credential (`JTI=…`, `SN=…`), never the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_id: Option<&'a str>,
    /// Unix seconds of the sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The person a laundered credential was issued to, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'a str>,
    /// In which authentication context the sign-in was, as the provider calls it (OpenID Connect Core §2 `acr`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<&'a str>,
}

/// A credential that proved nobody; never the credential itself.
#[derive(Clone, Debug, Serialize)]
pub struct Presented<'a> {
    /// `none`, `gatewayToken`, `providerToken`, `token` (of no issuer that counts here), `certificate`, `otherScheme`,
    /// `unreadable`.
    pub credential: &'static str,
    /// The issuer that a token names, where it is a configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<&'a str>,
}

/// Who the call was evaluated as.
#[derive(Clone, Debug, Serialize)]
pub struct Effective<'a> {
    /// `Impersonate-User`.
    pub user: &'a str,
    /// `Impersonate-Uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// `Impersonate-Group`: the first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub groups: &'a [String],
    /// How many there were, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_count: Option<usize>,
    /// All of them, hashed as [`By::groups_hash`] is, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_hash: Option<Arc<str>>,
    /// Names of the extra keys: the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_keys: Vec<&'a str>,
    /// How many there were, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_count: Option<usize>,
}

/// A workload that acts for a person.
#[derive(Clone, Debug, Serialize)]
pub struct Workload<'a> {
    /// The workload's own subject id.
    pub id: &'a SubjectId,
    /// Its name.
    pub user: &'a str,
}

/// Where the call came from.
#[derive(Clone, Debug, Serialize)]
pub struct Network<'a> {
    /// The socket peer, or the right-most untrusted hop behind a trusted proxy.
    pub ip: &'a str,
    /// Its port.
    pub port: u16,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: &'static str,
    /// Which listener.
    pub listener: &'a str,
}

/// What was asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request<'a> {
    /// The HTTP method.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: &'a str,
    /// The path as received, percent-encoding kept; the query's values are a part, its keys stand in `query_keys`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub path: &'a str,
    /// The query's keys, decoded, in order.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub query_keys: &'a [&'a str],
    /// Query parameters of Kubernetes whose value is a number or a fixed word: `limit=500&watch=true`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub options: &'a str,
    /// The Kubernetes verb.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub verb: &'a str,
    /// `exec`, `log`, … where the verb alone misleads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'a str>,
    /// API group; empty for core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    /// API version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// Resource, plural.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'a str>,
    /// Subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<&'a str>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Object name as the path or selector gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// Content type of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// A create, update or patch with `dryRun=All`, which stores nothing. A deletion is never marked: what its body says is
    /// not read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Products and remarks of `User-Agent`, at most 256 bytes. What it says beyond that is kept whole as a sealed part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
    /// `Kubectl-Command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl_command: Option<&'a str>,
    /// `Kubectl-Session`: joins the calls of one kubectl run; the client's word, not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl_session: Option<&'a str>,
    /// The client's own `Audit-ID`, at most 64 printable characters; untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_audit_id: Option<&'a str>,
    /// The container that is entered, where the call names one: `container` of the query for exec and attach, a word of the path
    /// for a node's kubelet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    /// `NAMESPACE/NAME` of the pod that is entered through a node's kubelet, whose path says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<&'a str>,
    /// Id of the WebSocket attempt that led nowhere and that this call repeats over SPDY/3.1 (KEP-4006).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_of: Option<&'a str>,
}

/// What was decided.
#[derive(Clone, Debug, Serialize)]
pub struct Decided<'a> {
    /// Whether it was allowed.
    pub allowed: bool,
    /// `gateway` or `cluster`: who said so.
    pub who: &'static str,
    /// Stable code of the reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The rules that mattered: the first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub rules: &'a [RuleRef],
    /// How many there were, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_count: Option<usize>,
    /// Digest of the policy that decided.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub policy: &'a str,
    /// Groups that were sent upstream, hashed like `groups_hash`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub sent_groups_hash: &'a str,
    /// The stated reason of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_reason: Option<&'a str>,
}

/// How much of a call is kept, as an audit policy says (`audit.k8s.io/v1`), for all records of the call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Audited<'a> {
    /// The level that is kept.
    pub level: &'static str,
    /// The level that the policy asks for, where another one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<&'static str>,
    /// Which rule of the policy decided, from 1; absent where none matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// Digest of the policy file.
    pub policy: &'a str,
}

/// The upstream side of the call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Served<'a> {
    /// Address that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<&'a str>,
    /// Our local port on that connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// How often the request was sent, if more than once: only where it provably had no effect before, and a pure read
    /// once more where nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The answer carried another `Audit-Id` than ours.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub audit_id_differs: bool,
    /// HTTP status of the answer from upstream, where the caller was told another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The node of the pod that is entered, as the cluster said it to the gateway's observer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<&'a str>,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome<'a> {
    /// `answered`, `refused`, `notSent`, `unknown`, `clientGone`, `upstreamLost`, `ended`.
    pub end: Answer,
    /// HTTP status that the caller was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `reason` of a Kubernetes `Status` in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Request body bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Response body bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Durations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<Span>,
    /// In older records: SHA-256 of the request body, hexadecimal. With all else of the body known it tells a short secret to whoever tries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<&'a str>,
    /// HMAC-SHA-256 of the SHA-256 of the request body, hexadecimal, under a key of the cluster and the resource ([`BodySeen::key`] names what
    /// they are made of). There is none of what is made of secrets, and of what goes to no API object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_hmac: Option<&'a str>,
    /// The exit code of a session's command, where the cluster said one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why the answer's fields were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<&'a str>,
    /// Our yes met the cluster's no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub diverged: bool,
    /// Why it ended, in words, when it did not simply answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// How a call ended, as a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Upstream answered and the answer was passed on; or one of ours instead, and [`Served::status`] has upstream's.
    Answered,
    /// Refused by the gateway.
    Refused,
    /// Nothing left the gateway.
    NotSent,
    /// It was sent and no answer came: it may or may not have had its effect.
    Unknown,
    /// The client went away.
    ClientGone,
    /// Upstream broke off in the middle of its answer.
    UpstreamLost,
    /// The gateway ended it: drain, revocation, limit.
    Ended,
}

impl Answer {
    /// The name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::NotSent => "notSent",
            Self::Unknown => "unknown",
            Self::ClientGone => "clientGone",
            Self::UpstreamLost => "upstreamLost",
            Self::Ended => "ended",
        }
    }
}

/// Durations in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    /// From the request's head to the head of the answer.
    pub first: u64,
    /// From the request's head to the end.
    pub total: u64,
}

/// The object in an answer, as far as a bounded scan found it.
#[derive(Clone, Debug, Serialize)]
pub struct Object<'a> {
    /// `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// `metadata.namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// `metadata.uid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// `metadata.resourceVersion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<&'a str>,
}

/// A list in an answer.
#[derive(Clone, Debug, Serialize)]
pub struct ItemsSeen<'a> {
    /// How many items.
    pub count: u64,
    /// Name of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<&'a str>,
    /// Name of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<&'a str>,
}

/// The anchor of a recording: its file cannot be changed up to here without the change being found. At the end, all zero: the
/// session never began, and what stood ready for it was taken away.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recorded<'a> {
    /// Chunks on the disk.
    pub chunks: u64,
    /// Frames in them.
    pub frames: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the newest chunk, which covers all before it; of the file's header while there is none. Hexadecimal.
    pub hash: &'a str,
    /// At the end: not all that passed is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// Bytes of a call that goes on, framing included.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Passed {
    /// From the client.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
}

/// What happened to a session.
#[derive(Clone, Debug, Serialize)]
pub struct Person<'a> {
    /// `signedIn`, `renewed`, `signedOut`, `revoked`, `handleReused`, `signInRefused`, `deviceApproved`, …
    pub what: &'a str,
    /// The session's public id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<&'a str>,
    /// Which configured provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// Why, when refused or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    /// By which means the person proved who they are, in the provider's words (RFC 8176): the first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub amr: &'a [String],
}

/// What somebody read of the ledger: as they asked for it, and how much came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Reading<'a> {
    /// `searched`, `viewed`, `tookReceipt`, `packedEvidence`, `playedRecording`, …
    pub what: &'a str,
    /// Whose records were looked at: `own`, `roles`, `all`.
    pub scope: &'a str,
    /// The audit roles that showed others', joined by `+`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<&'a str>,
    /// The query with its bounds in time, or the id, as it was asked; empty where everything is asked for.
    pub query: &'a str,
    /// How many rows, acts or entries were handed out; of a tail that begins, none yet.
    pub results: u64,
}

/// Exact counts of records that were summed up instead of written one by one.
#[derive(Clone, Debug, Serialize)]
pub struct Summed<'a> {
    /// How many.
    pub count: u64,
    /// First of them.
    pub from: Timestamp,
    /// Last of them.
    pub to: Timestamp,
    /// What they had in common, such as the refusal's code.
    pub what: &'a str,
    /// Counts by sub-class.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub by: &'a [(&'a str, u64)],
}

/// Calls that went on without a record, because the operator had chosen that (`ledger.dangerFailModes`). The record's `id` is the
/// gap's: one that stands twice is one gap.
#[derive(Clone, Debug, Serialize)]
pub struct Unrecorded<'a> {
    /// Why the ledger took no record: `diskFull`, `diskFailed`; `countDamaged` where the file that counts them cannot be read.
    pub why: &'a str,
    /// First of them.
    pub from: Timestamp,
    /// Last of them.
    pub to: Timestamp,
    /// How many, by class.
    pub passed: ByClass<u64>,
    /// How each class was to be treated: `closed`, `bounded`, `open`.
    pub modes: ByClass<&'a str>,
    /// How those ended whose end is known, by the names of [`Answer`].
    pub ended: Ends,
    /// Those that go on still, or whose end nobody knows.
    pub unfinished: u64,
    /// There may have been more: the process ended before it could say how many.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// Something of each class of call that may go on without a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByClass<T> {
    /// Of pure reads.
    pub reads: T,
    /// Of calls that may change something.
    pub effects: T,
}

/// How many calls ended how; what never happened is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// [`Answer::Answered`].
    #[serde(skip_serializing_if = "is_zero")]
    pub answered: u64,
    /// [`Answer::Refused`].
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// [`Answer::NotSent`].
    #[serde(skip_serializing_if = "is_zero")]
    pub not_sent: u64,
    /// [`Answer::Unknown`].
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown: u64,
    /// [`Answer::ClientGone`].
    #[serde(skip_serializing_if = "is_zero")]
    pub client_gone: u64,
    /// [`Answer::UpstreamLost`].
    #[serde(skip_serializing_if = "is_zero")]
    pub upstream_lost: u64,
    /// [`Answer::Ended`].
    #[serde(skip_serializing_if = "is_zero")]
    pub ended: u64,
}

impl Ends {
    /// The count of this end.
    pub const fn of(&mut self, end: Answer) -> &mut u64 {
        match end {
            Answer::Answered => &mut self.answered,
            Answer::Refused => &mut self.refused,
            Answer::NotSent => &mut self.not_sent,
            Answer::Unknown => &mut self.unknown,
            Answer::ClientGone => &mut self.client_gone,
            Answer::UpstreamLost => &mut self.upstream_lost,
            Answer::Ended => &mut self.ended,
        }
    }

    /// All of them, in the order of their fields.
    #[must_use]
    pub const fn counts(&self) -> [u64; 7] {
        let Self {
            answered,
            refused,
            not_sent,
            unknown,
            client_gone,
            upstream_lost,
            ended,
        } = *self;
        [answered, refused, not_sent, unknown, client_gone, upstream_lost, ended]
    }

    /// As [`Ends::counts`] gives them.
    #[must_use]
    pub const fn from_counts(counts: [u64; 7]) -> Self {
        let [answered, refused, not_sent, unknown, client_gone, upstream_lost, ended] = counts;
        Self {
            answered,
            refused,
            not_sent,
            unknown,
            client_gone,
            upstream_lost,
            ended,
        }
    }
}

/// A credential that was handed out, by its id; never the credential.
#[derive(Clone, Debug, Serialize)]
pub struct Issued<'a> {
    /// `JTI=…` or `X509SHA256=…`, as the API server names it (`authentication.kubernetes.io/credential-id`).
    pub id: &'a str,
    /// `token` or `certificate`.
    pub what: &'static str,
    /// The account that a token is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'a str>,
    /// Serial number of a certificate, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<&'a str>,
    /// Unix seconds of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// Who holds it from now on: the person behind the call, through any number of issued credentials.
    pub origin: &'a str,
}

/// A set of rules that took effect or was refused. Counts are exact; names are the first few.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyChange<'a> {
    /// Digest of the set, as decisions name it in `decision.policy`.
    pub digest: &'a str,
    /// Digest of the set before it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub before: &'a str,
    /// How many objects are new.
    #[serde(skip_serializing_if = "is_zero")]
    pub added: u64,
    /// How many have another content.
    #[serde(skip_serializing_if = "is_zero")]
    pub changed: u64,
    /// How many are gone.
    #[serde(skip_serializing_if = "is_zero")]
    pub removed: u64,
    /// `+kind namespace/name`, `~…`, `-…`: the first of them, in order.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub names: &'a [String],
    /// Why it was refused, when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'a str>,
}

/// The configuration that took effect or was refused.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigChange<'a> {
    /// SHA-256 of the effective configuration as `config show --effective` prints it, so without secrets; hexadecimal,
    /// first 16 bytes.
    pub digest: &'a str,
    /// Why it was refused, when it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'a str>,
}

/// A run of the process begins.
#[derive(Clone, Debug, Serialize)]
pub struct Started<'a> {
    /// The release.
    pub version: &'a str,
    /// The gateway's own URL: whose log this is.
    pub origin: &'a str,
    /// How many records stood in the log before this run; rises with each. All records of the run carry its `boot`.
    pub epoch: u64,
    /// `sealed` where this log names nobody in the clear ([`super::names`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<&'static str>,
}

/// The wall clock was stepped. `mono` of the records around it goes on as if nothing had happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockStep {
    /// What it would have said without the step.
    pub from: Timestamp,
    /// What it says.
    pub to: Timestamp,
    /// The difference in milliseconds; negative where it went back.
    pub millis: i64,
}

/// A step of an erasure. Durable before the keys that it names are destroyed.
#[derive(Clone, Debug, Serialize)]
pub struct Erasing<'a> {
    /// `asked`, `refused`, `withdrawn`, `erased`.
    pub what: &'static str,
    /// The id of the record that asked for it.
    pub request: &'a str,
    /// Whose data, and which.
    pub of: &'a Scope,
    /// Who asked.
    pub asked: &'a Actor,
    /// Who agreed, or was refused to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<&'a Actor>,
    /// Why, in the words of whoever asked.
    pub why: &'a str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'a str>,
    /// The hold that forbids it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<&'a str>,
    /// Nobody can agree any more then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The keys that go.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub keys: &'a [ErasedKey<'a>],
    /// How many keys the records of this erasure name that follow this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: u64,
}

/// A key that goes.
#[derive(Clone, Debug, Serialize)]
pub struct ErasedKey<'a> {
    /// Its public name, as in `parts[].key`.
    pub id: &'a str,
    /// Of which class: that of a part, or `recording:` and the session's id.
    pub class: &'a str,
}

/// A legal hold begins or ends.
#[derive(Clone, Debug, Serialize)]
pub struct Held<'a> {
    /// `created`, `released` or `refused` (to be released).
    pub what: &'static str,
    /// The id of the record that began it.
    pub id: &'a str,
    /// Whose data, and which.
    pub of: &'a Scope,
    /// The user name of whoever set it.
    pub set_by: &'a str,
    /// Why it was set.
    pub why: &'a str,
    /// Why it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<&'a str>,
    /// Why it is not released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'a str>,
}

/// What is kept of a body, where the audit policy asks for bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BodySeen {
    /// `document`: masked, sealed beside the record as part `body` or `answer`. `opaque`: it was there and could not be read.
    /// `none`: it was not looked at, or not to its end.
    pub kept: &'static str,
    /// The media type, without parameters.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<str>>,
    /// As what a document was read: `json`, `yaml`, `protobuf`, `jsonPatch`, `mergePatch`, `strategicPatch`, `applyPatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<&'static str>,
    /// Stable code: why there is no document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// Its length, where that was known when this was written; `outcome.bytes_in` and `bytes_out` know it in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `apiVersion/kind` of what was not read, as the envelope of protobuf says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Box<str>>,
    /// How many values and keys are masked.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub masked: usize,
    /// Of those, values that look like a secret in a place that is shown else.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub alarms: usize,
    /// In older records: keys that stand twice in one object, of which the last one counted. Such a body is not read any more.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub duplicates: usize,
    /// It was too long: below this depth a digest stands for each object and list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<usize>,
    /// Public name of the key of the digests in it: those of two documents compare where it is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_none_of_them(count: &usize) -> bool {
    *count == 0
}

/// What an answer changed, against what the gateway had seen of the object before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiffSeen {
    /// How many places differ, where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<usize>,
    /// `metadata.resourceVersion` of the object as it was last seen: what other ways than the gateway changed since is among the
    /// changes, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Box<str>>,
    /// Stable code: why there is no diff. `unknownBefore`: nothing of the object has passed that is still remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

/// An event of another system's log, as far as it has no place among the other members.
#[derive(Clone, Debug, Serialize)]
pub struct Ingested<'a> {
    /// The log's format: `audit.k8s.io/v1`.
    pub format: &'static str,
    /// `auditID`: the log's own id of the call, which its caller may have chosen.
    pub audit_id: &'a str,
    /// `stage` of the event.
    pub stage: &'static str,
    /// `level` at which it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<&'static str>,
    /// SHA-256 over what was read of the event, hexadecimal, first 16 bytes: by it the same event is known when it comes again.
    pub event: &'a str,
    /// When the server received the call, by its clock.
    pub received: Timestamp,
    /// When the server wrote the event, by its clock.
    pub stamped: Timestamp,
    /// When it was read here, by this machine's clock.
    pub read: Timestamp,
    /// Groups of who connected: the first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub groups: &'a [String],
    /// How many there were, where not all are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_count: Option<usize>,
    /// Addresses that stood before the server's peer, where they are addresses: the caller's word, or a proxy's. The first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub forwarded: &'a [String],
}

/// A commitment to bytes that are kept beside the leaf and can be erased.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// What it is: `query`, `agent`, `command`, `path`, `body`, `answer`, `diff`, `name`.
    pub name: &'static str,
    /// Length of the bytes before encryption.
    pub len: u64,
    /// HMAC-SHA256 of the bytes, keyed by the salt that is sealed with them; hexadecimal.
    pub commitment: String,
    /// Class of the key it is sealed under.
    pub class: &'static str,
    /// Public name of that key.
    pub key: String,
    /// SHA-256 of the sealed bytes as they stand beside the record; hexadecimal. Who has no key sees by it that they are those that
    /// were written.
    pub sealed: String,
}

/// The longest body: a record has 16 KiB, and the ledger writes up to 64 bytes of its own in front.
const MOST_BODY: usize = (16 << 10) - 64;
/// Bytes of each text, from what is usual down to what makes any record fit.
const MOST_TEXT: [usize; 3] = [1_024, 256, 64];

impl Record<'_> {
    /// The compact JSON object that the ledger takes as a body, so that the record has at most 16 KiB. A text of more than 1 KiB
    /// is cut: its beginning, then `… (N bytes)`.
    ///
    /// # Errors
    /// None in practice: every member is a plain value.
    pub fn body(&self) -> Result<Vec<u8>, NotPlain> {
        self.body_within(MOST_BODY)
    }

    /// As [`Record::body`] in at most `most` bytes: texts are cut shorter, down to 64 bytes, until it fits.
    ///
    /// # Errors
    /// As there.
    pub fn body_within(&self, most: usize) -> Result<Vec<u8>, NotPlain> {
        let mut out = Vec::with_capacity(1_536);
        for text in MOST_TEXT {
            out.clear();
            self.serialize(&mut RecordWriter {
                out: &mut out,
                most: text,
            })?;
            if out.len() <= most {
                break;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: Option<&BodySeen>, diff: Option<&DiffSeen>) -> String {
        let record = Record {
            id: "a",
            boot: "b",
            body,
            diff,
            ..Record::default()
        };
        let text = String::from_utf8(record.body().unwrap()).unwrap();
        let (_, members) = text.split_once(r#""boot":"b","#).unwrap();
        members.to_owned()
    }

    /// Frozen: these lines are what ledgers hold; they never change, and a member that is new stands behind them.
    #[test]
    fn the_members_of_bodies_are_written_as_they_were_frozen() {
        let document = BodySeen {
            kept: "document",
            media: Some("application/json".into()),
            read: Some("json"),
            why: None,
            bytes: Some(512),
            kind: None,
            masked: 3,
            alarms: 1,
            duplicates: 2,
            cut_at: Some(6),
            key: Some("00112233aabbccdd".into()),
        };
        let opaque = BodySeen {
            kept: "opaque",
            media: Some("application/vnd.kubernetes.protobuf".into()),
            why: Some("unknownKind"),
            kind: Some("example.com/v1/Widget".into()),
            ..BodySeen::default()
        };
        let none = BodySeen {
            kept: "none",
            why: Some("budget"),
            ..BodySeen::default()
        };
        let since = DiffSeen {
            changes: Some(2),
            since: Some("41".into()),
            why: None,
        };
        let unknown = DiffSeen {
            why: Some("unknownBefore"),
            ..DiffSeen::default()
        };
        for (body, diff, line) in [
            (
                &document,
                Some(&since),
                r#""body":{"kept":"document","type":"application/json","read":"json","bytes":512,"masked":3,"alarms":1,"duplicates":2,"cut_at":6,"key":"00112233aabbccdd"},"diff":{"changes":2,"since":"41"}}"#,
            ),
            (
                &opaque,
                Some(&unknown),
                r#""body":{"kept":"opaque","type":"application/vnd.kubernetes.protobuf","why":"unknownKind","kind":"example.com/v1/Widget"},"diff":{"why":"unknownBefore"}}"#,
            ),
            (&none, None, r#""body":{"kept":"none","why":"budget"}}"#),
        ] {
            assert_eq!(written(Some(body), diff), line);
        }
    }
}
