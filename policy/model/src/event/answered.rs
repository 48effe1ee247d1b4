//! Members that say how a call went: at the upstream, in the answer, and what is kept of bodies.

use std::sync::Arc;

use serde::Serialize;

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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
pub(super) const fn is_zero(value: &u64) -> bool {
    *value == 0
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

#[cfg(test)]
mod tests {
    use super::super::Record;
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
