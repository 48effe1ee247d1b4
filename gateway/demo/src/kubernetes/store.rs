//! The objects and their history: what a list reads and a watch follows.
//!
//! A write works on a copy and is swapped in whole, so a refused write leaves nothing behind and a dry run is the same
//! code. Bounded: [`Limits::objects`] objects (a further one is refused with 403) and [`CHANGES`] remembered changes (a
//! watch or page older than that is told 410 and starts again).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::json::{At as _, set};
use super::kinds::{EVENTS, KindId};
use super::status::Refusal;

/// Changes kept for watches and pages.
pub(super) const CHANGES: usize = 2048;
/// Events kept; the oldest makes room for the newest, as the API server's one hour does.
const EVENTS_KEPT: usize = 500;

/// An object as stored. Shared by lists, watches and pages.
pub(super) type Object = Arc<Value>;

/// The place of an object. Orders by kind, namespace, name: the order of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) kind: KindId,
    /// Empty for kinds of the whole cluster.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(kind: KindId, namespace: &str, name: &str) -> Self {
        let namespace = if kind.row().is_namespaced { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One change of one object.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) key: Key,
    pub(super) before: Option<Object>,
    /// None: it was deleted.
    pub(super) after: Option<Object>,
}

/// Everything there is at one revision.
#[derive(Debug, Clone)]
pub(super) struct World {
    objects: BTreeMap<Key, Object>,
    changes: VecDeque<Change>,
    revision: u64,
    /// Changes up to and including this revision are no longer known.
    forgotten: u64,
    limit: usize,
    /// The time of the write that is being done.
    pub(super) now: Timestamp,
}

/// What a place selects: one kind, in one namespace or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) kind: KindId,
    /// None: all namespaces.
    pub(super) namespace: Option<String>,
}

impl Scope {
    pub(super) fn holds(&self, key: &Key) -> bool {
        key.kind == self.kind
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

impl World {
    pub(super) fn empty(limit: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            changes: VecDeque::new(),
            revision: 0,
            forgotten: 0,
            limit,
            now: Timestamp::EPOCH,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn object(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The objects of a scope, in the order of lists.
    pub(super) fn scope<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a Key, &'a Object)> + 'a {
        let first = Key::new(scope.kind, scope.namespace.as_deref().unwrap_or_default(), "");
        self.objects
            .range(first..)
            .take_while(|(key, _)| key.kind == scope.kind)
            .filter(|(key, _)| scope.holds(key))
    }

    /// The objects of a kind in one namespace.
    pub(super) fn within(&self, kind: KindId, namespace: &str) -> Vec<Object> {
        let scope = Scope {
            kind,
            namespace: Some(namespace.to_owned()),
        };
        self.scope(&scope).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The uids of everything there is.
    pub(super) fn uids(&self) -> impl Iterator<Item = &str> {
        self.objects
            .values()
            .filter_map(|object| object.at("metadata").at("uid").as_str())
    }

    /// All keys of a namespace.
    pub(super) fn keys_within(&self, namespace: &str) -> Vec<Key> {
        self.objects
            .keys()
            .filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// Writes an object under a new resource version. An unchanged object is not written again.
    ///
    /// # Errors
    /// 403 when the demo is full.
    pub(super) fn put(&mut self, key: Key, mut object: Value) -> Result<Object, Refusal> {
        let before = self.objects.get(&key).cloned();
        match &before {
            Some(before) => {
                set(
                    &mut object,
                    &["metadata", "resourceVersion"],
                    before.at("metadata").at("resourceVersion").clone(),
                );
                if object == **before {
                    return Ok(Arc::clone(before));
                }
            }
            None => self.make_room(&key)?,
        }
        self.revision += 1;
        set(
            &mut object,
            &["metadata", "resourceVersion"],
            json!(self.revision.to_string()),
        );
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Arc::clone(&object));
        self.remember(key, before, Some(Arc::clone(&object)));
        Ok(object)
    }

    fn make_room(&mut self, key: &Key) -> Result<(), Refusal> {
        if key.kind == EVENTS {
            let events = Scope {
                kind: EVENTS,
                namespace: None,
            };
            if self.scope(&events).count() >= EVENTS_KEPT {
                let age = |object: &Object| object.at("lastTimestamp").as_str().unwrap_or_default().to_owned();
                let oldest = self
                    .scope(&events)
                    .min_by_key(|(_, object)| age(object))
                    .map(|(key, _)| key.clone());
                if let Some(oldest) = oldest {
                    self.remove(&oldest);
                }
            }
        }
        if self.objects.len() >= self.limit {
            return Err(Refusal::forbidden(format!(
                "the demo holds at most {} objects; delete some first",
                self.limit
            )));
        }
        Ok(())
    }

    /// Deletes an object for good.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Object> {
        let before = self.objects.remove(key)?;
        self.revision += 1;
        self.remember(key.clone(), Some(Arc::clone(&before)), None);
        Some(before)
    }

    fn remember(&mut self, key: Key, before: Option<Object>, after: Option<Object>) {
        self.changes.push_back(Change {
            revision: self.revision,
            key,
            before,
            after,
        });
        if self.changes.len() > CHANGES
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.revision;
        }
    }

    /// What happened in a scope after a revision.
    ///
    /// # Errors
    /// 410 when that is no longer known.
    pub(super) fn since(&self, scope: &Scope, revision: u64) -> Result<Vec<Change>, Refusal> {
        if revision < self.forgotten {
            return Err(Refusal::expired(format!(
                "too old resource version: {revision} ({})",
                self.forgotten
            )));
        }
        let later = self
            .changes
            .iter()
            .rev()
            .take_while(|change| change.revision > revision);
        let mut found: Vec<_> = later.filter(|change| scope.holds(&change.key)).cloned().collect();
        found.reverse();
        Ok(found)
    }

    /// The scope as it was at a revision, so that all pages of one list agree.
    ///
    /// # Errors
    /// 410 when that is no longer known; 400 when it has not happened yet.
    pub(super) fn at(&self, scope: &Scope, revision: u64) -> Result<Vec<(Key, Object)>, Refusal> {
        if revision > self.revision {
            let message = format!("Too large resource version: {revision}, current: {}", self.revision);
            return Err(Refusal::bad_request(message));
        }
        let mut then: BTreeMap<Key, Object> = self
            .scope(scope)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        for change in self.since(scope, revision)?.into_iter().rev() {
            match change.before {
                Some(before) => then.insert(change.key, before),
                None => then.remove(&change.key),
            };
        }
        Ok(then.into_iter().collect())
    }
}

/// The world behind a lock, and the news of its changes.
#[derive(Debug)]
pub(super) struct Store {
    world: Mutex<World>,
    latest: watch::Sender<u64>,
}

/// Whether a write is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Kept,
    DryRun,
}

impl Store {
    pub(super) fn new(world: World) -> Self {
        let latest = watch::Sender::new(world.revision);
        Self {
            world: Mutex::new(world),
            latest,
        }
    }

    /// Reads under the lock; must not wait for anything inside.
    pub(super) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Does a write on a copy, and swaps it in when it is done and meant.
    ///
    /// # Errors
    /// Those of `act`; then nothing has changed.
    pub(super) fn write<T>(
        &self,
        effect: Effect,
        now: Timestamp,
        act: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut world = self.lock();
        let mut next = world.clone();
        next.now = now;
        let done = act(&mut next)?;
        if effect == Effect::Kept {
            *world = next;
            self.latest.send_replace(world.revision);
        }
        Ok(done)
    }

    /// Wakes at each new revision.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic while writing leaves the old world: the copy is swapped in only at the end.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::PODS;
    use super::*;

    fn pods() -> Scope {
        Scope {
            kind: PODS,
            namespace: None,
        }
    }

    fn put(world: &mut World, name: &str, number: usize) {
        let object = json!({"metadata": {"name": name}, "number": number});
        world.put(Key::new(PODS, "shop", name), object).unwrap();
    }

    #[test]
    fn a_page_sees_the_world_of_its_revision() {
        let mut world = World::empty(100);
        put(&mut world, "a", 1);
        put(&mut world, "b", 1);
        let then = world.revision();
        put(&mut world, "b", 2);
        put(&mut world, "c", 1);
        world.remove(&Key::new(PODS, "shop", "a"));
        let seen = world.at(&pods(), then).unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|(key, object)| (key.name.as_str(), object["number"].as_u64()))
            .collect();
        assert_eq!(seen, [("a", Some(1)), ("b", Some(1))]);
        assert!(world.at(&pods(), world.revision() + 1).is_err());
    }

    #[test]
    fn a_watch_older_than_what_is_remembered_is_expired() {
        let mut world = World::empty(100);
        for number in 0..=CHANGES {
            put(&mut world, "a", number);
        }
        assert_eq!(world.since(&pods(), 0).unwrap_err().code, 410);
        assert_eq!(world.since(&pods(), 1).unwrap().len(), CHANGES);
        assert_eq!(world.since(&pods(), world.revision()).unwrap().len(), 0);
    }

    #[test]
    fn a_full_world_refuses_new_objects_but_not_changes() {
        let mut world = World::empty(1);
        put(&mut world, "a", 1);
        let another = world.put(Key::new(PODS, "shop", "b"), json!({"metadata": {"name": "b"}}));
        assert_eq!(another.unwrap_err().code, 403);
        put(&mut world, "a", 2);
    }

    #[test]
    fn a_dry_run_and_a_refused_write_leave_nothing() {
        let store = Store::new(World::empty(100));
        let act = |world: &mut World| {
            put(world, "a", 1);
            Ok(world.revision())
        };
        assert_eq!(store.write(Effect::DryRun, Timestamp::EPOCH, act), Ok(1));
        let refused = store.write(Effect::Kept, Timestamp::EPOCH, |world| {
            put(world, "a", 1);
            Err::<(), _>(Refusal::method())
        });
        assert!(refused.is_err());
        assert_eq!(store.read(World::revision), 0);
    }

    #[test]
    fn writing_the_same_again_is_no_change() {
        let mut world = World::empty(100);
        put(&mut world, "a", 1);
        put(&mut world, "a", 1);
        assert_eq!(world.revision(), 1);
    }
}
