//! The members of leaf v1, in their fixed order. Absent members are left out, never `null`.
//!
//! Here: the record, who calls, what is asked and decided. How it went stands in `answered`, what is not about a call in `happened`.

use std::sync::Arc;

use serde::Serialize;

use super::answered::{BodySeen, DiffSeen, ItemsSeen, Object, Outcome, Passed, Recorded, Served};
use super::happened::{
    ClockStep, ConfigChange, Erasing, Held, Ingested, Issued, Person, PolicyChange, Reading, Started, Summed,
    Unrecorded, Unsigned,
};
use super::writer::{NotPlain, RecordWriter};
use crate::cluster::ClusterId;
use crate::decision::RuleRef;
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
    /// Which HTTP service was called; absent for clusters and the gateway host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Called<'a>>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub act: Vec<Workload<'a>>,
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
    /// Records that stood behind what was signed when this run began: whether the gateway wrote them is not proved. In a record of kind `damage`: the run
    /// before had signed all of its records and ended, so that somebody else did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<Unsigned>,
    /// Commitments to what is kept beside the leaf.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub parts: &'a [Part],
    /// One sentence for a human, where the members above do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'a str>,
}

/// The HTTP service of a call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Called<'a> {
    /// The published service that the path leads to; absent where it leads to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The host under which it was asked for.
    pub host: &'a str,
    /// Whoever asked had not signed in, and a rule lets the public do this.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
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
    /// `none`, `gatewayToken`, `providerToken`, `token` (of no issuer that counts here), `certificate`, `svid`, `otherScheme`,
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
    /// The query's keys, decoded, in order, each once.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub query_keys: &'a [&'a str],
    /// How many parameters the query has, where that is more than there are keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_count: Option<usize>,
    /// Query parameters of Kubernetes whose value is a number or a fixed word: `limit=500&watch=true`. What says what a call does stands
    /// first; where Kubernetes takes one value of a key, it is the one that it takes.
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
pub(super) const MOST_TEXT: [usize; 3] = [1_024, 256, 64];

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
