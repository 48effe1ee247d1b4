//! Members of records that are not about one call: sessions, rules, the run itself, erasures, readers, counts, and what another
//! system's log said.

use serde::Serialize;

use super::answered::{Answer, is_zero};
use crate::erasure::{Actor, Scope};
use crate::time::Timestamp;

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

/// Records that nobody had signed when a run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsigned {
    /// The first of them.
    pub from: u64,
    /// The number behind the last of them.
    pub until: u64,
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
