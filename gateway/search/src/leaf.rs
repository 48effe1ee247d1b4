//! A leaf as search reads it: the members that rows are made of, all optional, since older and newer gateways write other
//! ones. Members that are not listed here are kept in the ledger and shown by [`crate::Archive::show`] as they stand.

use model::event::RecordKind;
use model::event::names::sealed_name;
use model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Leaf {
    pub(crate) id: String,
    pub(crate) pair: Option<u64>,
    pub(crate) t: Option<Timestamp>,
    pub(crate) boot: String,
    pub(crate) cluster: Option<String>,
    pub(crate) service: Option<Called>,
    pub(crate) source: Option<String>,
    pub(crate) by: Option<By>,
    #[serde(rename = "as")]
    pub(crate) effective: Option<Effective>,
    #[serde(rename = "act")]
    pub(crate) via: Vec<Acting>,
    pub(crate) net: Option<Net>,
    pub(crate) req: Option<Request>,
    pub(crate) upstream: Option<Served>,
    pub(crate) decision: Option<Decided>,
    pub(crate) audit: Option<Audited>,
    pub(crate) outcome: Option<Ended>,
    pub(crate) object: Option<Object>,
    pub(crate) recording: Option<Kept>,
    pub(crate) passed: Option<Passed>,
    pub(crate) person: Option<Person>,
    pub(crate) sum: Option<Summed>,
    pub(crate) gap: Option<Gap>,
    pub(crate) recovery: Option<Recovered>,
    pub(crate) unsigned: Option<Unsigned>,
    pub(crate) ingested: Option<Ingested>,
    pub(crate) note: Option<String>,
}

/// The HTTP service of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Called {
    /// The published service that the path leads to; absent where it leads to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The host under which it was asked for.
    pub host: String,
    /// Whoever asked had not signed in, and a rule lets the public do this.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
}

/// What was read from another system's log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ingested {
    pub(crate) audit_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct By {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) user: String,
    pub(crate) email: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) credential: String,
    pub(crate) origin: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Effective {
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
}

/// A workload that acted for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Acting {
    /// Opaque and stable.
    pub id: String,
    /// Its user name.
    pub user: String,
}

impl Acting {
    /// `NAMESPACE/NAME` of a ServiceAccount; of any other its user name.
    #[must_use]
    pub fn short(&self) -> String {
        let account = self.user.strip_prefix("system:serviceaccount:");
        let account = account.and_then(|account| account.split_once(':'));
        account.map_or_else(|| self.user.clone(), |(namespace, name)| format!("{namespace}/{name}"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Net {
    pub(crate) ip: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query_keys: Vec<String>,
    pub(crate) verb: String,
    pub(crate) action: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) subresource: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) agent: Option<String>,
    pub(crate) kubectl_command: Option<String>,
    pub(crate) kubectl_session: Option<String>,
    pub(crate) container: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) fallback_of: Option<String>,
}

/// How much of the call the audit policy has kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Audited {
    pub(crate) level: String,
}

impl Leaf {
    /// Whether `req.query_keys` are all keys that there were. At level None there is none; a longer query is cut.
    pub(crate) fn has_all_keys(&self) -> bool {
        let is_least = self.audit.as_ref().is_some_and(|audit| audit.level == "None");
        let keys = self.req.as_ref().map_or(0, |req| req.query_keys.len());
        !is_least && keys < MOST_KEYS
    }
}

/// The gateway records no more keys of a query.
const MOST_KEYS: usize = 32;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Served {
    pub(crate) node: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Decided {
    pub(crate) allowed: bool,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    pub(crate) rules: Vec<Value>,
    pub(crate) policy: String,
    pub(crate) stated_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ended {
    pub(crate) end: String,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) took: Option<Took>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) diverged: bool,
    pub(crate) why: Option<String>,
}

/// Of a recording, as far as it was on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Kept {
    /// Chunks.
    pub chunks: u64,
    /// Frames in them.
    pub frames: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the newest chunk, which covers all; of the file's header while there is none. Hexadecimal.
    pub hash: String,
    /// The session has ended and not all of it is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

/// Bytes of a session, framing included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Passed {
    /// From the person.
    pub bytes_in: u64,
    /// To the person.
    pub bytes_out: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Took {
    pub(crate) total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Object {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Person {
    pub(crate) what: String,
    pub(crate) session: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) why: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Summed {
    pub(crate) count: u64,
    pub(crate) what: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Gap {
    pub(crate) why: String,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    pub(crate) passed: Option<PassedUnrecorded>,
    pub(crate) at_least: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PassedUnrecorded {
    pub(crate) reads: u64,
    pub(crate) effects: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Unsigned {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Recovered {
    pub(crate) dropped_bytes: u64,
}

impl Leaf {
    /// `None`: no JSON, or a member has another type than in version 1.
    pub(crate) fn read(leaf: &[u8]) -> Option<Self> {
        let mut leaf: Self = serde_json::from_slice(leaf).ok()?;
        // Names are sealed in this ledger, and whoever reads it here does not open them.
        if let Some(by) = leaf.by.as_mut().filter(|by| by.user.is_empty() && !by.id.is_empty()) {
            by.user = sealed_name(&by.id);
        }
        for acting in leaf.via.iter_mut().filter(|acting| acting.user.is_empty()) {
            acting.user = sealed_name(&acting.id);
        }
        Some(leaf)
    }
}

/// The time alone, for the map of blocks; the rest of the leaf is skipped.
pub(crate) fn time_of(leaf: &[u8]) -> Option<Timestamp> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct OnlyTime {
        t: Option<Timestamp>,
    }
    serde_json::from_slice::<OnlyTime>(leaf).ok()?.t
}

/// Whether the record says that its ledger holds what was read from other logs: their times are theirs, and follow no order.
pub(crate) fn begins_a_copy(leaf: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Start {
        kind: String,
        source: Option<String>,
    }
    let start: Start = serde_json::from_slice(leaf).unwrap_or_default();
    start.kind == RecordKind::Start.name() && start.source.as_deref() == Some("ingested")
}

/// The id, from the fixed place where the gateway writes it; `None` when it does not stand there plainly.
pub(crate) fn id_of(leaf: &[u8]) -> Option<&str> {
    const BEFORE: &[u8] = b"\"id\":\"";
    let head = leaf.get(..leaf.len().min(96)).unwrap_or_default();
    let start = memchr::memmem::find(head, BEFORE)? + BEFORE.len();
    let rest = leaf.get(start..)?;
    let id = rest.get(..memchr::memchr(b'"', rest)?)?;
    std::str::from_utf8(id).ok().filter(|id| !id.contains('\\'))
}
