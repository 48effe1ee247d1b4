//! What an object was when it last passed, masked, so that the record of a change says what changed.
//!
//! Only what passed through the gateway to the same subject and was kept is known here, up to a bound in bytes. When that is reached, the
//! least used of what is remembered of whoever has most goes, so that nobody can make the gateway forget what others saw by looking at much
//! (promise 8). So a diff says since which version it counts: what others changed meanwhile is among the changes. Of what is not remembered,
//! "unknown before" is said.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use model::cluster::ClusterId;
use model::event::DiffSeen;
use model::subject::SubjectId;
use payload::{Document, Node};

use super::{MOST_DOCUMENT, Of};
use crate::audit::Trail;

/// Bytes of all objects that are remembered.
const MOST: usize = 32 << 20;
/// What an object takes beside its text, in the tables here.
const EACH: usize = 512;

/// Which object, in which of its forms: the subresource `scale` is another document of the same object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Which {
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

/// Masked objects that passed.
pub(super) struct Before {
    shelves: Mutex<Shelves>,
}

/// What each subject was shown: nobody's record shows what only another one was shown (promise 7).
struct Shelves {
    of: HashMap<SubjectId, Shelf>,
    /// All of them with the bytes on them, the heaviest last.
    by_weight: BTreeSet<(usize, SubjectId)>,
    bytes: usize,
    most: usize,
    /// Counts the uses.
    uses: u64,
}

#[derive(Default)]
struct Shelf {
    seen: HashMap<Arc<Which>, (u64, Arc<Seen>)>,
    /// By the last use, the longest ago first.
    by_use: BTreeMap<u64, Arc<Which>>,
    bytes: usize,
}

impl Shelf {
    fn take(&mut self, which: &Which) -> Option<Arc<Seen>> {
        let (used, seen) = self.seen.remove(which)?;
        self.by_use.remove(&used);
        self.bytes = self.bytes.saturating_sub(weight(which, &seen));
        Some(seen)
    }

    fn put(&mut self, which: Arc<Which>, seen: Arc<Seen>, used: u64) -> Option<Arc<Seen>> {
        let gone = self.take(&which);
        self.bytes = self.bytes.saturating_add(weight(&which, &seen));
        self.by_use.insert(used, Arc::clone(&which));
        self.seen.insert(which, (used, seen));
        gone
    }

    fn take_least_used(&mut self) -> Option<Arc<Seen>> {
        let least = self.by_use.first_key_value().map(|(_, which)| Arc::clone(which))?;
        self.take(&least)
    }
}

/// What is remembered no more: up to megabytes at once, which are freed by whoever holds this, after the lock.
#[must_use = "it is dropped where no lock is held"]
#[derive(Default)]
struct Gone(Vec<Arc<Seen>>);

impl Gone {
    fn extend(&mut self, seen: Option<Arc<Seen>>) {
        self.0.extend(seen);
    }
}

fn weight(which: &Which, seen: &Seen) -> usize {
    [seen.json.len(), which.place.len(), EACH]
        .into_iter()
        .fold(0, usize::saturating_add)
}

impl Shelves {
    fn of(most: usize) -> Self {
        Self {
            of: HashMap::new(),
            by_weight: BTreeSet::new(),
            bytes: 0,
            most,
            uses: 0,
        }
    }

    fn get(&mut self, subject: &SubjectId, which: &Which) -> Option<Arc<Seen>> {
        self.uses = self.uses.saturating_add(1);
        let shelf = self.of.get_mut(subject)?;
        let (which, (used, seen)) = shelf.seen.get_key_value(which)?;
        let (which, used, seen) = (Arc::clone(which), *used, Arc::clone(seen));
        shelf.by_use.remove(&used);
        shelf.by_use.insert(self.uses, Arc::clone(&which));
        shelf.seen.insert(which, (self.uses, Arc::clone(&seen)));
        Some(seen)
    }

    fn forget(&mut self, subject: &SubjectId) -> Shelf {
        let mut gone = Shelf::default();
        self.change(subject, |shelf, _| gone = std::mem::take(shelf));
        gone
    }

    fn remove(&mut self, subject: &SubjectId, which: &Which) -> Gone {
        let mut gone = Gone::default();
        self.change(subject, |shelf, _| gone.extend(shelf.take(which)));
        gone
    }

    fn insert(&mut self, subject: &SubjectId, which: Which, seen: Seen) -> Gone {
        let mut gone = Gone::default();
        self.uses = self.uses.saturating_add(1);
        self.change(subject, |shelf, uses| {
            gone.extend(shelf.put(Arc::new(which), Arc::new(seen), uses));
        });
        while self.bytes > self.most {
            let Some((_, heaviest)) = self.by_weight.last().cloned() else {
                break;
            };
            self.change(&heaviest, |shelf, _| gone.extend(shelf.take_least_used()));
        }
        gone
    }

    /// Does that on the subject's shelf, and weighs it anew.
    fn change(&mut self, subject: &SubjectId, act: impl FnOnce(&mut Shelf, u64)) {
        let shelf = self.of.entry(subject.clone()).or_default();
        let before = shelf.bytes;
        act(shelf, self.uses);
        let after = shelf.bytes;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
        self.by_weight.remove(&(before, subject.clone()));
        if after > 0 {
            self.by_weight.insert((after, subject.clone()));
        } else {
            self.of.remove(subject);
        }
    }
}

/// What a change changed.
pub(super) struct Changed {
    pub(super) seen: DiffSeen,
    pub(super) changes: Option<String>,
}

impl Default for Before {
    fn default() -> Self {
        Self {
            shelves: Mutex::new(Shelves::of(MOST)),
        }
    }
}

impl Before {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers nothing of what passed to this subject.
    pub(super) fn forget(&self, subject: &SubjectId) {
        let gone = self.shelves().forget(subject);
        drop(gone);
    }

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
        let Some(subject) = trail.identity.as_deref().map(|identity| identity.subject().id()) else {
            return why("unknownBefore");
        };
        let which = which(of, name);
        // What nothing may have come of is no state of the object, whichever server was told so, and whether it obeys.
        let is_real = !trail.asks_for_a_dry_run();
        if verb == "delete" {
            if is_real {
                let gone = self.shelves().remove(subject, &which);
                drop(gone);
            }
            return None;
        }
        // The lock is not held while two documents are compared.
        let before = is_change.then(|| self.shelves().get(subject, &which));
        let changed = before.map(|before| match before {
            Some(before) if before.uid == now.uid => Changed::between(&before, document.root()),
            _ => Changed::unknown("unknownBefore"),
        });
        if is_real {
            let gone = self.shelves().insert(subject, which, now);
            drop(gone);
        }
        changed
    }
}

/// What is said in place of a change where nothing is remembered of before.
pub(super) fn unknown_before() -> DiffSeen {
    Changed::unknown("unknownBefore").seen
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

fn which(of: &Of, name: &str) -> Which {
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
    Which {
        cluster: of.cluster.clone(),
        place: place.join("/").into(),
        is_without_managed: of.omit_managed,
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(number: u8) -> SubjectId {
        SubjectId::from_digest([number; 16])
    }

    fn which(number: usize) -> Which {
        Which {
            cluster: ClusterId::new("bench").unwrap(),
            place: format!("{number:05}").into(),
            is_without_managed: false,
        }
    }

    fn seen(length: usize) -> Seen {
        Seen {
            uid: "u".into(),
            version: "1".into(),
            json: "x".repeat(length).into(),
        }
    }

    /// promise_8: what somebody was shown is remembered, however much others look at.
    #[test]
    fn promise_8_nobody_makes_the_gateway_forget_what_others_saw() {
        let (al, bo) = (subject(1), subject(2));
        let mut shelves = Shelves::of(1 << 20);
        for number in 0..100 {
            drop(shelves.insert(&al, which(number), seen(4 << 10)));
        }
        for number in 0..10_000 {
            drop(shelves.insert(&bo, which(number), seen(4 << 10)));
        }
        assert!((0..100).all(|number| shelves.get(&al, &which(number)).is_some()));
        assert!(shelves.get(&bo, &which(9_999)).is_some() && shelves.get(&bo, &which(0)).is_none());
        // And whoever has most forgets what they used least.
        assert!(shelves.get(&bo, &which(9_990)).is_some());
        for number in 10_000..10_100 {
            drop(shelves.insert(&bo, which(number), seen(4 << 10)));
        }
        assert!(shelves.get(&bo, &which(9_990)).is_some() && shelves.get(&bo, &which(9_900)).is_none());
        for number in 0..100 {
            drop(shelves.remove(&al, &which(number)));
        }
        assert!(!shelves.of.contains_key(&al), "nothing is left of who has nothing");
    }

    /// Memory is given back after the lock: freeing thousands of documents takes its time, and everybody who changes something would wait.
    #[test]
    fn what_is_remembered_no_more_is_freed_by_whoever_took_its_place() {
        let al = subject(1);
        let mut shelves = Shelves::of(1 << 20);
        for number in 0..200 {
            let gone = shelves.insert(&al, which(number), seen(4 << 10));
            assert!(gone.0.is_empty());
        }
        let held: Vec<std::sync::Weak<Seen>> = shelves.of[&al]
            .seen
            .values()
            .map(|(_, seen)| Arc::downgrade(seen))
            .collect();
        let there = || held.iter().filter(|seen| seen.upgrade().is_some()).count();
        let gone = [
            shelves.insert(&al, which(0), seen(900 << 10)),
            shelves.remove(&al, &which(199)),
        ];
        assert!(gone[0].0.len() > 100, "a large one takes the place of many");
        assert_eq!((there(), gone[1].0.len()), (200, 1), "all of them are still in memory");
        drop(gone);
        assert!(there() < 100);
    }

    proptest! {
        /// promise_8: whoever has no more than an equal part of all loses nothing by what others do.
        #[test]
        fn promise_8_an_equal_part_is_everybody_s_own(
            acts in prop::collection::vec((0_u8..5, 0_usize..12, 0_usize..6_000, 0_u8..4), 1..200),
        ) {
            let most = 40_000;
            let mut shelves = Shelves::of(most);
            for (who, what, length, act) in acts {
                let actor = subject(who);
                let before: HashMap<SubjectId, (usize, usize)> =
                    shelves.of.iter().map(|(subject, shelf)| (subject.clone(), (shelf.bytes, shelf.seen.len()))).collect();
                match act {
                    0 => drop(shelves.get(&actor, &which(what))),
                    1 => drop(shelves.remove(&actor, &which(what))),
                    _ => drop(shelves.insert(&actor, which(what), seen(length))),
                }
                let subjects = before.len().max(shelves.of.len());
                for (other, (bytes, objects)) in before.into_iter().filter(|(other, _)| *other != actor) {
                    let now = shelves.of.get(&other).map_or(0, |shelf| shelf.seen.len());
                    prop_assert!(now == objects || bytes > most / (subjects + 1), "{bytes} of {most} by {subjects}");
                }
                prop_assert!(shelves.bytes <= most);
                prop_assert_eq!(shelves.bytes, shelves.of.values().map(|shelf| shelf.bytes).sum::<usize>());
                let weights: BTreeSet<_> = shelves.of.iter().map(|(subject, shelf)| (shelf.bytes, subject.clone())).collect();
                prop_assert_eq!(&shelves.by_weight, &weights);
                for shelf in shelves.of.values() {
                    let weighed: usize = shelf.seen.iter().map(|(which, (_, seen))| weight(which, seen)).sum();
                    prop_assert!(weighed == shelf.bytes && weighed > 0 && shelf.by_use.len() == shelf.seen.len());
                }
            }
        }
    }
}
