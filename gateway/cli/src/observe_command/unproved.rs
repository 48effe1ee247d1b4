//! Which records of a ledger nothing proves to be this command's, and what of them counts all the same when it is asked what was recorded.
//!
//! Whoever could write to the ledger's files while no `observe` ran could have put a record in to have an event taken for recorded that is not. Of a run that had
//! ended in order it is known which those are ([`Doubt::foreign`]): they count for nothing. After a kill nothing tells them from those of the killed run, and an event
//! that is recorded twice would be told as a call that arrived twice. So such a record counts by what it says ([`Unproved`]): where an event comes again and the
//! record is to the byte what is written of it, the event stands in the ledger, whoever wrote that; where it says anything else, the event is written.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use aws_lc_rs::digest;
use insight::{ServerEvent, Stage};
use ledger::verify::{Statements, Stretches};
use ledger::{Reader, Tail};
use model::cluster::ClusterId;
use model::event::RecordKind;
use model::time::Timestamp;
use serde::Deserialize;

use super::intake::sha256;
use super::record::{self, Digest, Here};

/// Of one event so many records are looked at. **Of more** the event is written again.
const MOST_OF_ONE: usize = 8;

/// Which records of a ledger are not believed to be this command's.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt {
    foreign: Stretches,
    unproved: Stretches,
}

impl Doubt {
    /// What earlier starts said in records that are signed, and what this one has found.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) fn of(folder: &Path, tail: &Tail) -> anyhow::Result<Self> {
        let reader = Reader::open(folder)?;
        let first = reader.segments().first().map_or(0, |segment| segment.first_seq);
        let mut said = Statements::default();
        let proved = reader.proved(first, &tail.signed, &[RecordKind::Damage, RecordKind::Recovery])?;
        let is_signed = proved.is_some();
        for proved in proved.iter().flatten() {
            let record = reader.proved_record(proved)?;
            said.read(record.kind, &record.leaf, record.seq);
        }
        let said = said.counting(tail.signed.size);
        // Somebody changed what was signed: then nothing is proved by standing there.
        let changed = (!is_signed).then_some(0..tail.signed.size);
        let of_others = said.more.into_iter().map(|more| more.records);
        let unproved = said.unproved.into_iter().chain(of_others).chain(changed);
        let foreign = said.foreign.into_iter().map(|(records, _)| records);
        Ok(Self {
            foreign: Stretches::of(foreign.chain([tail.foreign.clone()])),
            unproved: Stretches::of(unproved.chain([tail.unproved.clone()])),
        })
    }

    /// Whether somebody put this record in.
    pub(super) fn is_foreign(&self, seq: u64) -> bool {
        self.foreign.has(seq)
    }

    /// Whether nothing proves who wrote this record.
    pub(super) fn is_unproved(&self, seq: u64) -> bool {
        self.unproved.has(seq)
    }
}

/// A record of an event, as far as it takes to write it again.
#[derive(Debug)]
struct Said {
    boot: uuid::Uuid,
    read: Timestamp,
    stamped: Timestamp,
    kind: RecordKind,
    body: digest::Digest,
}

impl Said {
    /// Whether it is what is written of this event; `begun` where the beginning of its call was there.
    fn is_of(&self, cluster: &ClusterId, event: &ServerEvent, known: Digest, begun: bool) -> bool {
        let here = Here {
            cluster,
            boot: &self.boot.to_string(),
            now: self.read,
        };
        let written = record::write(here, event, known, begun);
        written.is_ok_and(|written| written.kind == self.kind && sha256(&written.body).as_ref() == self.body.as_ref())
    }
}

/// The members of such a record that cannot be made of its event.
#[derive(Deserialize)]
struct Leaf {
    id: String,
    boot: String,
    ingested: Ingested,
    outcome: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Ingested {
    event: String,
    read: Timestamp,
    stamped: Timestamp,
}

/// What records say of which nothing proves that this command wrote them.
#[derive(Debug, Default)]
pub(super) struct Unproved {
    /// By their event.
    said: HashMap<Digest, Vec<Said>>,
    /// The events that begin a call, by the id of its records.
    begun: HashMap<Digest, Vec<Digest>>,
    /// What could not be read. Apart from the events: whoever names an event here hides none.
    unreadable: HashSet<Digest>,
    count: usize,
}

impl Unproved {
    /// Takes such a record, and at most so many of them: what is not held is written again.
    pub(super) fn learn(&mut self, kind: RecordKind, body: &[u8], most: usize) {
        let Ok(leaf) = serde_json::from_slice::<Leaf>(body) else {
            return;
        };
        let call = uuid::Uuid::parse_str(&leaf.id).map(|id| Digest(id.into_bytes()));
        // Of another form no run of this command has one; so all that is held of a record has one size.
        let boot = uuid::Uuid::parse_str(&leaf.boot);
        let (Ok(call), Ok(boot), Some(event)) = (call, boot, Digest::parse(&leaf.ingested.event)) else {
            return;
        };
        if self.count >= most || self.said.get(&event).is_some_and(|all| all.len() >= MOST_OF_ONE) {
            return;
        }
        self.count += 1;
        self.said.entry(event).or_default().push(Said {
            boot,
            read: leaf.ingested.read,
            stamped: leaf.ingested.stamped,
            kind,
            body: sha256(body),
        });
        if kind == RecordKind::Access && leaf.outcome.is_none() {
            let of_call = self.begun.entry(call).or_default();
            if of_call.len() < MOST_OF_ONE {
                of_call.push(event);
            }
        }
    }

    /// Takes what such a record says that could not be read.
    pub(super) fn learn_unreadable(&mut self, all: Vec<Digest>, most: usize) {
        for one in all {
            if self.count < most && self.unreadable.insert(one) {
                self.count += 1;
            }
        }
    }

    /// Whether the ledger says that this could not be read.
    pub(super) fn has_unreadable(&self, one: Digest) -> bool {
        self.unreadable.contains(&one)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the ledger has this event: one of them is what is written of it. `begun` where it has the beginning of its call.
    pub(super) fn has(&self, cluster: &ClusterId, event: &ServerEvent, known: Digest, begun: bool) -> bool {
        let mut of_event = self.said.get(&known).into_iter().flatten();
        of_event.any(|said| said.is_of(cluster, event, known, said.kind == RecordKind::Close && begun))
    }

    /// Whether the ledger has the beginning of the call that this event ends: one of them is what was written of that.
    pub(super) fn has_begun(&self, cluster: &ClusterId, call: Digest, event: &ServerEvent) -> bool {
        let mut of_call = self.begun.get(&call).into_iter().flatten();
        of_call.any(|known| {
            let mut of_event = self.said.get(known).into_iter().flatten();
            of_event.any(|said| {
                let beginning = ServerEvent {
                    stage: Stage::ResponseStarted,
                    at: said.stamped,
                    ..event.clone()
                };
                said.is_of(cluster, &beginning, *known, false)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_the_record_of_no_event(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut unproved = Unproved::default();
            unproved.learn(RecordKind::Access, &data, 10);
            prop_assert!(unproved.is_empty() && unproved.said.is_empty());
        }
    }

    /// Whoever puts records in chooses what stands in them, and not how much is held of each.
    #[test]
    fn of_a_record_whose_boot_is_none_nothing_is_held() {
        let of = |boot: &str| {
            let leaf = serde_json::json!({"id": "0192f0c1-7c3e-8d00-a000-000000000001", "boot": boot,
                "ingested": {"event": "00112233445566778899aabbccddeeff", "read": "2026-11-22T10:00:00Z", "stamped": "2026-11-22T10:00:00Z"}});
            let mut unproved = Unproved::default();
            unproved.learn(RecordKind::Access, leaf.to_string().as_bytes(), 10);
            unproved.count
        };
        assert_eq!(of("0192f0c1-7c3e-7d00-a000-000000000002"), 1);
        assert_eq!(of(&"x".repeat(60_000)), 0);
    }
}
