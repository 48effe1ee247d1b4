//! What an object was when it last passed, masked, so that the record of a change says what changed.
//!
//! Only what passed through the gateway to the same subject and was kept is known here, up to a bound in bytes; the oldest goes. So a diff says since
//! which version it counts: what others changed meanwhile is among the changes. Of what is not remembered, "unknown before" is said.

use std::sync::Arc;

use http::StatusCode;
use model::cluster::ClusterId;
use model::event::DiffSeen;
use model::subject::SubjectId;
use payload::{Document, Node};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{MOST_DOCUMENT, Of};
use crate::audit::Trail;

/// Bytes of all objects that are remembered.
const MOST: u64 = 32 << 20;
const ABOUT: usize = 10_000;

/// Which object, in which of its forms: the subresource `scale` is another document of the same object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Which {
    /// Who was answered: nobody's record shows what only another one was shown (promise 7).
    subject: SubjectId,
    cluster: ClusterId,
    place: Box<str>,
    is_without_managed: bool,
}

#[derive(Debug)]
struct Seen {
    uid: Box<str>,
    version: Box<str>,
    json: Box<str>,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Which, Arc<Seen>> for Bytes {
    fn weight(&self, which: &Which, seen: &Arc<Seen>) -> u64 {
        let bytes = seen.json.len().saturating_add(which.place.len()).saturating_add(256);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Masked objects that passed.
pub(super) struct Before {
    seen: Cache<Which, Arc<Seen>, Bytes>,
}

/// What a change changed.
pub(super) struct Changed {
    pub(super) seen: DiffSeen,
    pub(super) changes: Option<String>,
}

impl Default for Before {
    fn default() -> Self {
        Self {
            seen: Cache::with_weighter(ABOUT, MOST, Bytes),
        }
    }
}

impl Before {
    /// An answer has passed. Gives what it changed, if it is that to a change; remembers what it shows of an object.
    pub(super) fn pass(
        &self,
        trail: &Trail,
        of: &Of,
        status: StatusCode,
        document: Option<&Document>,
    ) -> Option<Changed> {
        if !status.is_success() {
            return None;
        }
        let verb = of.facts.verb().as_str();
        let is_change = matches!(verb, "update" | "patch");
        if !is_change && !matches!(verb, "get" | "create" | "delete") {
            return None;
        }
        let why = |why| is_change.then(|| Changed::unknown(why));
        let Some(document) = document else {
            return why("unread");
        };
        let Some((name, now)) = object(document) else {
            return why("noObject");
        };
        let Some(which) = which(trail, of, name) else {
            return why("unknownBefore");
        };
        // What nothing may have come of is no state of the object, whichever server was told so, and whether it obeys.
        let is_real = !trail.asks_for_a_dry_run();
        if verb == "delete" {
            if is_real {
                self.seen.remove(&which);
            }
            return None;
        }
        let changed = is_change.then(|| match self.seen.get(&which) {
            Some(before) if before.uid == now.uid => Changed::between(&before, document.root()),
            _ => Changed::unknown("unknownBefore"),
        });
        if is_real {
            self.seen.insert(which, Arc::new(now));
        }
        changed
    }
}

impl Changed {
    fn unknown(why: &'static str) -> Self {
        let seen = DiffSeen {
            why: Some(why),
            ..DiffSeen::default()
        };
        Self { seen, changes: None }
    }

    fn between(before: &Seen, now: &Node) -> Self {
        let Some(then) = Node::of_json(&before.json) else {
            return Self::unknown("unknownBefore");
        };
        let diff = payload::diff(&then, now);
        let seen = DiffSeen {
            changes: Some(diff.changes.len().saturating_add(diff.more)),
            since: Some(before.version.clone()),
            why: None,
        };
        let json = in_json(&diff);
        if json.len() > MOST_DOCUMENT {
            let why = Some("tooLong");
            return Self {
                seen: DiffSeen { why, ..seen },
                changes: None,
            };
        }
        Self {
            seen,
            changes: Some(json),
        }
    }
}

/// `[{"path":…,"before":…,"after":…},…]`; a member that is not there was not there.
fn in_json(diff: &payload::Diff) -> String {
    let changes = diff.changes.iter().map(|change| {
        let mut members = vec![format!("\"path\":{}", serde_json::Value::from(change.path.as_str()))];
        for (name, node) in [("before", &change.before), ("after", &change.after)] {
            members.extend(node.as_ref().map(|node| format!("\"{name}\":{}", node.to_json())));
        }
        format!("{{{}}}", members.join(","))
    });
    format!("[{}]", changes.collect::<Vec<_>>().join(","))
}

fn which(trail: &Trail, of: &Of, name: &str) -> Option<Which> {
    let subject = trail.identity.as_deref()?.subject().id().clone();
    let facts = &of.facts;
    let subresource = match facts.subresource() {
        "status" => "",
        other => other,
    };
    let place = [
        facts.api_group(),
        facts.api_version(),
        facts.resource(),
        subresource,
        facts.namespace(),
        name,
    ];
    Some(Which {
        subject,
        cluster: of.cluster.clone(),
        place: place.join("/").into(),
        is_without_managed: of.omit_managed,
    })
}

/// Forms of an answer that are not the object (`Accept: …;as=`): they show a part of it, and whoever asks chooses them.
const OTHER_FORMS: [&str; 3] = ["PartialObjectMetadata", "Table", "Status"];

/// The name of the object that the document is, and what is to be remembered of it. A document that was cut compares with none.
fn object(document: &Document) -> Option<(&str, Seen)> {
    match document.root().member("kind") {
        Some(Node::Text(kind)) if !OTHER_FORMS.contains(&&**kind) => {}
        _ => return None,
    }
    let metadata = document
        .root()
        .member("metadata")
        .filter(|_| document.cut_at().is_none())?;
    let text = |name| match metadata.member(name) {
        Some(Node::Text(text)) => Some(&**text),
        _ => None,
    };
    let seen = Seen {
        uid: text("uid")?.into(),
        version: text("resourceVersion")?.into(),
        json: document.json().into(),
    };
    Some((text("name")?, seen))
}
