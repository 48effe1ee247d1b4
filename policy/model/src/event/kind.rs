//! The closed list of record kinds; the number stands in each frame, the name in each leaf.

use serde::{Deserialize, Serialize};

/// What a record says. Numbers and names are part of the ledger format v1 and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum RecordKind {
    /// An effect is about to be sent upstream; durable before its first byte leaves.
    Intent = 1,
    /// How an intent ended; `pair` names the intent's sequence number.
    Outcome = 2,
    /// A pure read: who, what, why allowed; durable before the first byte of the answer is released.
    Access = 3,
    /// How a pure read or a stream ended: status, bytes, reason.
    Close = 4,
    /// A session in a pod begins, or another call that asks to switch protocols.
    Open = 5,
    /// A long-running call still runs.
    Heartbeat = 6,
    /// A call was refused; nothing went upstream.
    Refusal = 7,
    /// An answer given to another proxy's forward-auth question; never counted as coverage.
    Verdict = 8,
    /// Sign-ins and what hangs on them, reasons, locks, keys of parts, credentials that do not count, a session in a pod that a person
    /// ended: `person.what` says which.
    Session = 9,
    /// A grant was asked for, approved, denied, used or ended.
    Grant = 10,
    /// A policy version took effect or was refused.
    Policy = 11,
    /// A credential was issued through the gate (`serviceaccounts/token`, certificates).
    Issued = 12,
    /// Records are known to be missing: how many, why.
    Gap = 13,
    /// What was counted and not recorded one by one, with exact counts: `sum.what` says what.
    Summary = 14,
    /// A statement about the tree: size and root.
    Checkpoint = 15,
    /// A process began to write.
    Start = 16,
    /// What a start found of an unclean end.
    Recovery = 17,
    /// Somebody searched, viewed or exported records.
    AuditRead = 18,
    /// The process's configuration took effect or was refused.
    Config = 19,
    /// Something is, or may be, wrong with the ledger itself: `note` says what, and `refused` which records
    /// a start does not believe.
    Damage = 20,
    /// The key that signs the ledger changes: both keys say so.
    Key = 21,
    /// The machine's wall clock was stepped: times before and after it do not compare.
    Clock = 22,
    /// Somebody asks that sealed data be erased, takes it back or is refused; or their keys go, by two people's word.
    Erasure = 23,
    /// A legal hold begins or ends: while it stands, nothing that it covers is erased.
    Hold = 24,
    /// What the answer to a call held, masked, where the audit policy asks for it; `pair` names the record that began the call.
    Answer = 25,
}

impl RecordKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Intent,
        Self::Outcome,
        Self::Access,
        Self::Close,
        Self::Open,
        Self::Heartbeat,
        Self::Refusal,
        Self::Verdict,
        Self::Session,
        Self::Grant,
        Self::Policy,
        Self::Issued,
        Self::Gap,
        Self::Summary,
        Self::Checkpoint,
        Self::Start,
        Self::Recovery,
        Self::AuditRead,
        Self::Config,
        Self::Damage,
        Self::Key,
        Self::Clock,
        Self::Erasure,
        Self::Hold,
        Self::Answer,
    ];

    /// The number in the frame.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Intent => 1,
            Self::Outcome => 2,
            Self::Access => 3,
            Self::Close => 4,
            Self::Open => 5,
            Self::Heartbeat => 6,
            Self::Refusal => 7,
            Self::Verdict => 8,
            Self::Session => 9,
            Self::Grant => 10,
            Self::Policy => 11,
            Self::Issued => 12,
            Self::Gap => 13,
            Self::Summary => 14,
            Self::Checkpoint => 15,
            Self::Start => 16,
            Self::Recovery => 17,
            Self::AuditRead => 18,
            Self::Config => 19,
            Self::Damage => 20,
            Self::Key => 21,
            Self::Clock => 22,
            Self::Erasure => 23,
            Self::Hold => 24,
            Self::Answer => 25,
        }
    }

    /// The kind with this number, if there is one in this version.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name in the leaf.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Access => "access",
            Self::Close => "close",
            Self::Open => "open",
            Self::Heartbeat => "heartbeat",
            Self::Refusal => "refusal",
            Self::Verdict => "verdict",
            Self::Session => "session",
            Self::Grant => "grant",
            Self::Policy => "policy",
            Self::Issued => "issued",
            Self::Gap => "gap",
            Self::Summary => "summary",
            Self::Checkpoint => "checkpoint",
            Self::Start => "start",
            Self::Recovery => "recovery",
            Self::AuditRead => "auditread",
            Self::Config => "config",
            Self::Damage => "damage",
            Self::Key => "key",
            Self::Clock => "clock",
            Self::Erasure => "erasure",
            Self::Hold => "hold",
            Self::Answer => "answer",
        }
    }

    /// Whether a record of this kind promises a second one that names it in `pair`; without that one a later start
    /// lists it as "outcome unknown" (promise 4). A pure read is not among them: its record is whole without its close.
    #[must_use]
    pub const fn promises_an_end(self) -> bool {
        matches!(self, Self::Intent | Self::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_lead_back_to_the_kind() {
        for kind in RecordKind::ALL {
            assert_eq!(RecordKind::from_code(kind.code()), Some(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
        assert_eq!(RecordKind::from_code(0), None);
        assert_eq!(RecordKind::from_code(26), None);
    }
}
