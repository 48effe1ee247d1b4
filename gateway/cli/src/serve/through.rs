//! Who acted as which account before the state file kept it, or since the one was made that was put back: from the ledger's records, at a start. Without it nobody would
//! know whose own traces stand under an account's keys, and they could have them erased.
//!
//! Holds at most [`MOST`] pairs, and one record. What was read is kept on the way, so that a start that is interrupted goes on.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ledger::Reader;
use model::subject::SubjectId;
use serde::Deserialize;
use state::{ActedThrough, StateError, Store};

use super::unsigned::Foreign;

/// Pairs that are held, so that not each act is a question to the store.
const MOST: usize = 10_000;
/// How often it is kept, and told, how far it has come.
const RECORDS_BETWEEN: u64 = 1_000_000;
/// What stands in each record of such an act.
const MARK: &[u8] = b"\"origin\":";

/// The first record that [`fill`] reads, where the store stands on `known` records.
///
/// # Errors
/// The store cannot be read.
pub(super) fn begins(known: u64, store: &Store) -> Result<u64, StateError> {
    Ok(store.through_read()?.map_or(known, |read| read.min(known)))
}

/// Reads what is not known. `known` is how many records the store stands on, of the `size` that there are: what came before them was kept before it was recorded,
/// unless it is older than this is kept; those among `foreign` are not the gateway's. To be called before anybody acts. Blocking.
///
/// # Errors
/// The store or the ledger cannot be read.
pub(super) fn fill(
    (dir, names, foreign): (&Path, Option<&Arc<dyn ledger::Names>>, &Foreign),
    known: u64,
    size: u64,
    store: &Store,
) -> anyhow::Result<()> {
    let from = begins(known, store)?;
    let mut all = Pairs::default();
    let is_long = size.saturating_sub(from) >= RECORDS_BETWEEN;
    if is_long {
        tracing::info!(
            from,
            to = size,
            "who acted as which account is read from the ledger's records, once"
        );
    }
    let mut kept = from;
    for record in Reader::open(dir)?.naming(names.cloned()).records_from(from).until(size) {
        let record = record?;
        if !foreign.has(record.seq) {
            all.read(&record.leaf);
        }
        let next = record.seq.saturating_add(1);
        if all.new.len() >= MOST || next.saturating_sub(kept) >= RECORDS_BETWEEN {
            store.acted_through_all(&all.take_new(), next)?;
            kept = next;
            tracing::info!(read = next, to = size, "who acted as which account is still being read");
        }
    }
    store.acted_through_all(&all.take_new(), size)?;
    store.through_is_read()?;
    store.forget_through_without_keys()?;
    if is_long {
        tracing::info!(read = size, "who acted as which account is known");
    }
    Ok(())
}

#[derive(Default)]
struct Pairs {
    known: HashSet<ActedThrough>,
    new: Vec<ActedThrough>,
}

impl Pairs {
    fn read(&mut self, leaf: &[u8]) {
        #[derive(Deserialize)]
        struct Leaf {
            by: By,
        }
        #[derive(Deserialize)]
        struct By {
            id: SubjectId,
            user: String,
            origin: Option<String>,
        }
        // Most records say nothing of it, and are not taken apart.
        if !leaf.windows(MARK.len()).any(|window| window == MARK) {
            return;
        }
        let Ok(Leaf { by }) = serde_json::from_slice(leaf) else {
            return; // nobody's, or a later version's
        };
        let Some(origin) = by.origin else { return };
        let pair = ActedThrough {
            subject: by.id,
            user: by.user,
            origin,
        };
        if self.known.insert(pair.clone()) {
            self.new.push(pair);
        }
    }

    fn take_new(&mut self) -> Vec<ActedThrough> {
        if self.known.len() >= MOST {
            self.known.clear();
        }
        std::mem::take(&mut self.new)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use ledger::{Ledger, Options, RealDisk};
    use model::event::RecordKind;
    use model::time::Timestamp;
    use serde_json::{Value, json};
    use state::{SealingKey, SealingKeys};

    use super::*;

    fn store() -> Store {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        Store::in_memory(keys, state::Limits::default()).unwrap()
    }

    fn robot(number: u8) -> SubjectId {
        SubjectId::from_digest([number; 16])
    }

    fn writes(dir: &Path, bodies: &[Value]) -> u64 {
        let (ledger, _) = Ledger::open(dir, Options::default(), Arc::new(RealDisk::new(dir))).unwrap();
        for body in bodies {
            let body = serde_json::to_vec(body).unwrap();
            drop(ledger.append(RecordKind::Config, body, Vec::new()).unwrap());
        }
        ledger.close();
        ledger.durable().size
    }

    fn act(number: u8, origin: &str) -> Value {
        json!({"id": "a", "by": {"id": robot(number), "user": format!("robot-{number}"), "origin": origin}})
    }

    fn with_keys(numbers: Range<u8>) -> Store {
        let store = store();
        for number in numbers {
            store
                .part_key(robot(number).as_str(), "query", Timestamp::EPOCH)
                .unwrap();
        }
        store
    }

    /// As after an upgrade from a release that kept nothing of it, or with a state file that is new.
    #[test]
    fn who_acted_as_an_account_is_known_after_a_start_also_from_records_of_before_that_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut bodies = vec![
            act(1, "alice"),
            json!({"id": "b", "note": "\"origin\": of nobody"}),
            act(1, "alice"),
            act(2, "bob"),
        ];
        bodies.push(json!({"id": "c", "by": {"id": robot(3), "user": "robot-3"}, "issued": {"origin": "eve"}}));
        bodies.push(act(4, "dave"));
        let size = writes(folder.path(), &bodies);
        let store = with_keys(1..4);
        // The number of records that the store stands on is of other things.
        fill((folder.path(), None, &Foreign::default()), size, size, &store).unwrap();
        let of = |number| store.origins_of(&robot(number)).unwrap();
        assert_eq!((of(1), of(2)), (vec!["alice".to_owned()], vec!["bob".to_owned()]));
        assert!(
            of(3).is_empty() && of(4).is_empty(),
            "nothing is sealed of the last one"
        );
        assert_eq!(store.acted_through("bob").unwrap(), [(robot(2), "robot-2".to_owned())]);
        assert_eq!(store.through_read().unwrap(), None);
    }

    #[test]
    fn a_later_start_reads_the_records_alone_that_the_store_may_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let size = writes(folder.path(), &[act(1, "alice"), act(2, "bob")]);
        let store = with_keys(1..3);
        store.through_is_read().unwrap();
        fill((folder.path(), None, &Foreign::default()), 1, size, &store).unwrap();
        assert!(store.origins_of(&robot(1)).unwrap().is_empty());
        assert_eq!(store.origins_of(&robot(2)).unwrap(), ["bob"]);
        // A backup of keys was put back: those who acted since it was made stand in the ledger alone.
        let store = with_keys(1..3);
        store.acted_through_all(&[], 1).unwrap();
        fill((folder.path(), None, &Foreign::default()), size, size, &store).unwrap();
        assert!(store.origins_of(&robot(1)).unwrap().is_empty(), "so far it had come");
        assert_eq!(store.origins_of(&robot(2)).unwrap(), ["bob"]);
    }

    #[test]
    fn more_pairs_than_are_held_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<Value> = (0..2 * MOST + 3)
            .map(|number| act(1, &format!("person-{number}")))
            .collect();
        let size = writes(folder.path(), &many);
        let store = with_keys(1..2);
        fill((folder.path(), None, &Foreign::default()), 0, size, &store).unwrap();
        assert_eq!(store.origins_of(&robot(1)).unwrap().len(), many.len());
    }
}
