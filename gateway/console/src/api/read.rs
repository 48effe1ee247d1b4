//! The audit of the audit: who read what.

use std::fmt;

use futures::future::BoxFuture;
use model::time::Timestamp;
use search::Scope;
use state::SessionId;

use crate::record::{NotRecorded, Peer, Who};

/// What somebody did with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAct {
    /// Searched.
    Searched,
    /// Looked at one act with its records.
    Viewed,
    /// Took the receipt of a record away.
    TookReceipt,
    /// Read records as entries of the tree.
    ReadEntries,
    /// Made a pack of records with the proof of each, to be handed out.
    PackedEvidence,
    /// Was told how many acts match, and that no pack is made of them.
    CountedForEvidence,
    /// A pack that is recorded as made was not handed out.
    WithheldEvidence,
    /// Asked why something was decided.
    AskedWhy,
    /// Began to follow.
    TailBegan,
    /// Followed until now.
    TailEnded,
    /// Looked at the list of sessions.
    ListedSessions,
    /// Looked for a session by the end of its id.
    LookedForSession,
    /// Looked at one session.
    ViewedSession,
    /// Played a recording.
    PlayedRecording,
    /// Took a recording away as a cast or as text.
    ExportedRecording,
    /// Watched a session while it went on.
    WatchedSession,
    /// Looked in records for whoever has a name, to lock them out.
    LookedForUser,
    /// Looked at the list of who is locked out.
    ListedLocks,
    /// Looked in records for whoever has a name, to erase what is sealed of them, or to hold it.
    LookedForSubject,
    /// Looked at the list of erasures that are asked for.
    ListedErasures,
    /// Looked at the list of legal holds.
    ListedHolds,
    /// Was told which records they may read, and an auditor who else may.
    AskedRights,
    /// Looked at the list of published services.
    ListedServices,
    /// Looked at one of them.
    ViewedService,
    /// Had the gateway call one, with nobody's credential.
    TestedService,
}

impl AuditAct {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Searched => "searched",
            Self::Viewed => "viewed",
            Self::TookReceipt => "tookReceipt",
            Self::ReadEntries => "readEntries",
            Self::PackedEvidence => "packedEvidence",
            Self::CountedForEvidence => "countedForEvidence",
            Self::WithheldEvidence => "withheldEvidence",
            Self::AskedWhy => "askedWhy",
            Self::TailBegan => "tailBegan",
            Self::TailEnded => "tailEnded",
            Self::ListedSessions => "listedSessions",
            Self::LookedForSession => "lookedForSession",
            Self::ViewedSession => "viewedSession",
            Self::PlayedRecording => "playedRecording",
            Self::ExportedRecording => "exportedRecording",
            Self::WatchedSession => "watchedSession",
            Self::LookedForUser => "lookedForUser",
            Self::ListedLocks => "listedLocks",
            Self::LookedForSubject => "lookedForSubject",
            Self::ListedErasures => "listedErasures",
            Self::ListedHolds => "listedHolds",
            Self::AskedRights => "askedRights",
            Self::ListedServices => "listedServices",
            Self::ViewedService => "viewedService",
            Self::TestedService => "testedService",
        }
    }

    /// By which HTTP method it came.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::LookedForUser | Self::LookedForSubject | Self::TestedService => "POST",
            Self::Searched
            | Self::Viewed
            | Self::TookReceipt
            | Self::ReadEntries
            | Self::PackedEvidence
            | Self::CountedForEvidence
            | Self::WithheldEvidence
            | Self::AskedWhy
            | Self::TailBegan
            | Self::TailEnded
            | Self::ListedSessions
            | Self::LookedForSession
            | Self::ViewedSession
            | Self::PlayedRecording
            | Self::ExportedRecording
            | Self::WatchedSession
            | Self::ListedLocks
            | Self::ListedErasures
            | Self::ListedHolds
            | Self::AskedRights
            | Self::ListedServices
            | Self::ViewedService => "GET",
        }
    }

    /// The route that it came through.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Searched => "/api/v1/audit/records",
            Self::Viewed => "/api/v1/audit/records/{id}",
            Self::TookReceipt => "/api/v1/audit/records/{id}/receipt",
            Self::ReadEntries => "/api/v1/ledger/tile/entries/{n}",
            Self::PackedEvidence | Self::CountedForEvidence | Self::WithheldEvidence => "/api/v1/evidence",
            Self::AskedWhy => "/api/v1/why/{id}",
            Self::TailBegan | Self::TailEnded => "/api/v1/audit/tail",
            Self::ListedSessions | Self::LookedForSession => "/api/v1/sessions",
            Self::ViewedSession => "/api/v1/sessions/{id}",
            Self::PlayedRecording | Self::ExportedRecording | Self::WatchedSession => "/api/v1/sessions/{id}/recording",
            Self::LookedForUser => "/api/v1/users/lock",
            Self::ListedLocks => "/api/v1/users/locks",
            Self::LookedForSubject | Self::ListedErasures => "/api/v1/erasures",
            Self::ListedHolds => "/api/v1/holds",
            Self::AskedRights => "/api/v1/audit/can",
            Self::ListedServices => "/api/v1/services",
            Self::ViewedService => "/api/v1/services/{name}",
            Self::TestedService => "/api/v1/service-test",
        }
    }
}

/// Whose records were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One's own.
    Own,
    /// One's own, and what these audit roles show.
    Roles(String),
    /// Everybody's.
    All,
}

impl Whose {
    /// Of somebody with this scope.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Own(_) => Self::Own,
            Scope::Roles(reach) => {
                let names: Vec<&str> = reach.roles.iter().map(|role| &*role.name).collect();
                Self::Roles(names.join("+"))
            }
            Scope::All => Self::All,
        }
    }
}

impl Whose {
    /// `own`, `roles` or `all`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Roles(_) => "roles",
            Self::All => "all",
        }
    }

    /// The roles, joined by `+`.
    #[must_use]
    pub fn roles(&self) -> Option<&str> {
        match self {
            Self::Roles(names) => Some(names),
            Self::Own | Self::All => None,
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Roles(names) => write!(f, "own and {names}'s"),
            Self::All => f.write_str("all"),
        }
    }
}

/// One reading of the ledger, of the record kind `auditread`.
#[derive(Clone, Debug)]
pub struct AuditRead {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub act: AuditAct,
    /// The query, or the id; at most 1,000 bytes.
    pub what: String,
    /// Whose records were looked at.
    pub whose: Whose,
    /// How many rows were shown.
    pub results: u64,
    /// What of it is to be found again byte for byte: the digest of what was handed out ([`ledger::evidence::told`]).
    pub told: Option<String>,
    /// Why nothing was handed out.
    pub why: Option<String>,
    /// Under which sign-in.
    pub session: SessionId,
    /// Who.
    pub who: Who,
    /// From where.
    pub peer: Option<Peer>,
    /// With which program.
    pub agent: Option<String>,
}

impl AuditRead {
    /// The sentence for the record's `note`, whole: what was asked, in whose records, and what came of it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let whose = &self.whose;
        let (what, results) = (&self.what, self.results);
        match self.act {
            AuditAct::Searched => format!("searched {whose} records for `{what}`: {results} shown"),
            AuditAct::Viewed => format!("viewed record `{what}` among {whose} records: {results} shown"),
            AuditAct::TookReceipt => {
                format!("took the receipt of record `{what}` among {whose} records: {results} found")
            }
            AuditAct::ReadEntries => format!("read {results} records as `{what}` of the ledger's tree"),
            AuditAct::PackedEvidence => {
                let told = self.told.as_deref().unwrap_or_default();
                format!("packed {results} acts of {whose} records as evidence for `{what}`, {told}")
            }
            AuditAct::CountedForEvidence => {
                let why = self.why.as_deref().unwrap_or_default();
                format!("counted {results} acts of {whose} records for evidence for `{what}`, and packed none: {why}")
            }
            AuditAct::WithheldEvidence => {
                let why = self.why.as_deref().unwrap_or_default();
                format!("did not hand out what record {what} says was packed of {whose} records: {why}")
            }
            AuditAct::AskedWhy => format!("asked why of `{what}` among {whose} records: {results} shown"),
            AuditAct::TailBegan => format!("began to follow {whose} records for `{what}`"),
            AuditAct::TailEnded => format!("followed {whose} records for `{what}`: {results} shown"),
            AuditAct::ListedSessions => format!("listed {whose} sessions for `{what}`: {results} shown"),
            AuditAct::LookedForSession => {
                format!("looked for a session by `…{what}` among {whose} sessions: {results} shown")
            }
            AuditAct::ViewedSession => format!("viewed session `{what}` among {whose} sessions: {results} shown"),
            AuditAct::PlayedRecording => {
                format!("played the recording of session `{what}`, of {whose} sessions: {results}")
            }
            AuditAct::ExportedRecording => {
                format!("exported the recording of session `{what}`, of {whose} sessions: {results}")
            }
            AuditAct::WatchedSession => format!("watched session `{what}`, of {whose} sessions: {results}"),
            AuditAct::LookedForUser => {
                format!("looked in {whose} records for `{what}` to lock them out: {results} found")
            }
            AuditAct::ListedLocks => format!("listed who is locked out: {results} shown"),
            AuditAct::LookedForSubject => {
                format!(
                    "looked in {whose} records for `{what}` to erase or hold what is sealed of them: {results} found"
                )
            }
            AuditAct::ListedErasures => format!("listed the erasures that are asked for: {results} shown"),
            AuditAct::ListedHolds => format!("listed the legal holds: {results} shown"),
            AuditAct::AskedRights => format!("asked which records they may read: {results} roles told"),
            AuditAct::ListedServices => format!("listed the published services: {results} shown"),
            AuditAct::ViewedService => format!("viewed service `{what}`: {results} shown"),
            AuditAct::TestedService => format!("tested a service by `{what}`, with nobody's credential"),
        }
    }
}

/// The record of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub id: String,
}

/// Writes readings down. Resolves when the record is durable.
pub trait AuditRecorder: Send + Sync {
    /// Writes one reading down.
    fn audit_read(&self, read: AuditRead) -> BoxFuture<'_, Result<Written, NotRecorded>>;
}
