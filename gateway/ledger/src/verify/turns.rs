//! Which keys a log had, one after the other: from those that are believed, along the changes that both keys of each signed, in both directions.
//!
//! A key that was followed by another signs nothing beyond the size at which that was stated. Up to that size it may have been stolen since, and
//! sign another history: so what only such keys signed proves nothing by itself, and is compared all the same. The same records have to lead on
//! to a root that the newest key signed, or a witness ([`Unsettled`]).

use std::collections::BTreeMap;
use std::ops::Range;

use super::heads::Head;
use super::{FINDINGS_MAX, Fault, Finding, Report};
use crate::note::{KeyTurn, Note, VerifierKey, Vouched};

/// A change of the log's key that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The last size that the old key signs.
    pub size: u64,
    /// Which signed until then, `NAME+ID`.
    pub from: String,
    /// Which signs since.
    pub to: VerifierKey,
    /// What both keys signed: a checkpoint, to be remembered by who knows the first key alone.
    pub statement: Note,
    /// The record that says so.
    pub record: Option<u64>,
}

/// The keys that are believed, and how they follow one another.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    known: Vec<VerifierKey>,
    turns: Vec<KeyTurn>,
}

/// A record of a change.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) seq: u64,
    /// The statement in it, if there is one.
    pub(super) turn: Option<KeyTurn>,
    pub(super) file: String,
    pub(super) offset: u64,
}

/// The change that a record of the kind `key` holds, if both keys signed it.
pub(crate) fn stated_in(leaf: &[u8]) -> Option<KeyTurn> {
    #[derive(serde::Deserialize)]
    struct Leaf {
        key: Member,
    }
    #[derive(serde::Deserialize)]
    struct Member {
        note: String,
    }
    let leaf = serde_json::from_slice::<Leaf>(leaf).ok()?;
    KeyTurn::read(&Note::parse(leaf.key.note.as_bytes()).ok()?)
}

/// So many records of changes are told one by one.
const TOLD_MAX: usize = FINDINGS_MAX;

/// The records of changes, as much of them as is needed: whoever serves or writes a log can fill it with statements that keys of theirs signed.
#[derive(Debug, Default)]
pub(super) struct AllTold {
    list: Vec<Told>,
    /// Those that are not kept.
    more: Option<Finding>,
}

impl AllTold {
    /// Takes further ones. A statement is kept where one of its keys is known: each pass over a log follows one change more, and what leads from none that is
    /// known would be followed by nobody.
    pub(super) fn take(&mut self, keys: &Keys, told: Vec<Told>) {
        for mut told in told {
            told.turn = told.turn.filter(|turn| keys.knows(&turn.old) || keys.knows(&turn.next));
            if self.list.len() < TOLD_MAX {
                self.list.push(told);
                continue;
            }
            let more = self.more.get_or_insert_with(|| told.finding(Fault::More { count: 0 }));
            if let Fault::More { count } = &mut more.fault {
                *count = count.saturating_add(1);
            }
            more.records.end = more.records.end.max(told.seq.saturating_add(1));
        }
    }
}

impl Told {
    /// Reads a record of the kind `key`.
    pub(super) fn read(leaf: &[u8], seq: u64, file: &str, offset: u64) -> Self {
        Self {
            seq,
            turn: stated_in(leaf),
            file: file.to_owned(),
            offset,
        }
    }

    /// Number, place and statement, to be kept.
    pub(super) fn kept(&self) -> (u64, u64, Option<String>) {
        let note = self.turn.as_ref().map(|turn| turn.note().to_string());
        (self.seq, self.offset, note)
    }

    /// What was kept. A statement that both keys did not sign is none, as in a record.
    pub(super) fn recalled(seq: u64, note: Option<&str>, file: &str, offset: u64) -> Self {
        let note = note.and_then(|note| Note::parse(note.as_bytes()).ok());
        Self {
            seq,
            turn: note.as_ref().and_then(KeyTurn::read),
            file: file.to_owned(),
            offset,
        }
    }

    fn finding(&self, fault: Fault) -> Finding {
        Finding {
            fault,
            records: self.seq..self.seq.saturating_add(1),
            file: self.file.clone(),
            offset: self.offset,
        }
    }
}

impl Keys {
    /// From `believed`, along what these notes state. A key that states two changes forked; that is a finding, and the first one is
    /// followed.
    pub(super) fn follow(believed: &[VerifierKey], stated: Vec<(KeyTurn, String, u64)>) -> (Self, Vec<Finding>) {
        let mut keys = Self {
            known: believed.to_vec(),
            turns: Vec::new(),
        };
        let (mut ahead, mut findings) = (stated, Vec::new());
        ahead.sort_by_key(|(turn, ..)| turn.size);
        loop {
            let next = ahead
                .iter()
                .position(|(turn, ..)| keys.knows(&turn.old) || keys.knows(&turn.next));
            let Some(next) = next else { break };
            let (turn, file, offset) = ahead.remove(next);
            if keys.turns.iter().any(|known| is_same(known, &turn)) {
                continue;
            }
            if let Some(other) = keys
                .turns
                .iter()
                .find(|other| other.old == turn.old || other.next == turn.next)
            {
                findings.push(Finding {
                    fault: Fault::TwoTurns {
                        key: turn.old.short(),
                        size: other.size,
                        other: turn.size,
                    },
                    records: 0..0,
                    file,
                    offset,
                });
                continue;
            }
            for key in [&turn.old, &turn.next] {
                if !keys.knows(key) {
                    keys.known.push(key.clone());
                }
            }
            keys.turns.push(turn);
        }
        keys.turns.sort_by_key(|turn| turn.size);
        (keys, findings)
    }

    /// All of them.
    pub(super) fn known(&self) -> &[VerifierKey] {
        &self.known
    }

    fn knows(&self, key: &VerifierKey) -> bool {
        self.known.contains(key)
    }

    /// The last size that this key signs, if another one followed it.
    pub(super) fn last_of(&self, key: &VerifierKey) -> Option<u64> {
        let turn = self.turns.iter().find(|turn| turn.old == *key);
        turn.map(|turn| turn.size)
    }

    /// The first two keys of this log that no other followed; of a log whose key is believed there is one, unless no change leads from one that
    /// was given to another.
    pub(super) fn apart(&self, origin: &str) -> Option<[&VerifierKey; 2]> {
        let mut newest = self
            .known
            .iter()
            .filter(|key| key.is_of_log(origin) && self.last_of(key).is_none());
        Some([newest.next()?, newest.next()?])
    }

    /// Whether these signatures settle which records there are: one is by the newest key of this log, or by a witness.
    pub(super) fn settle(&self, origin: &str, vouched: &[Vouched<'_>]) -> bool {
        let is_newest = |by: &Vouched<'_>| {
            by.key.is_of_log(origin) && self.last_of(by.key).is_none() && self.apart(origin).is_none()
        };
        vouched.iter().any(|by| by.time.is_some() || is_newest(by))
    }

    /// Holds the changes that were followed against the records of changes: each has one record, behind the size at which it was
    /// stated, and there is no other. `there` are the records that were looked at.
    pub(super) fn compare(&self, told: &AllTold, there: &Range<u64>) -> (Vec<Turn>, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut turns: Vec<Turn> = self.turns.iter().map(followed).collect();
        for told in &told.list {
            let stated = told.turn.as_ref();
            let mut pairs = self.turns.iter().zip(&mut turns);
            let found = pairs.find(|(known, _)| stated.is_some_and(|stated| is_same(known, stated)));
            match found {
                Some((_, turn)) if turn.record.is_none() && told.seq >= turn.size => turn.record = Some(told.seq),
                _ => findings.push(told.finding(Fault::Turn)),
            }
        }
        // A change that was stated in the last moment may have its record yet to come: what is signed beyond it is judged.
        for turn in turns
            .iter()
            .filter(|turn| turn.record.is_none() && there.contains(&turn.size))
        {
            findings.push(Finding {
                fault: Fault::Unrecorded { key: turn.to.short() },
                records: turn.size..there.end,
                file: "checkpoint".to_owned(),
                offset: 0,
            });
        }
        findings.extend(told.more.clone());
        (turns, findings)
    }

    /// The statements that records hold and that would be followed, were they known.
    pub(super) fn learns(&self, told: &AllTold) -> Vec<Note> {
        let new = |turn: &&KeyTurn| {
            let is_new = !self.turns.iter().any(|known| is_same(known, turn));
            let is_free = !self
                .turns
                .iter()
                .any(|known| known.old == turn.old || known.next == turn.next);
            is_new && is_free && (self.knows(&turn.old) || self.knows(&turn.next))
        };
        let stated = told.list.iter().filter_map(|told| told.turn.as_ref());
        stated.filter(new).map(|turn| turn.note().clone()).collect()
    }
}

/// What held and is signed by keys alone that others followed, since the last root that settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Unsettled {
    signers: BTreeMap<String, u64>,
    /// The largest one, and where it stands.
    last: Option<(u64, String)>,
}

impl Unsettled {
    /// A root that held on the way. One that settles has all before it count: the same records lead to it.
    pub(super) fn take(&mut self, head: &Head, report: &mut Report) {
        for signer in &head.signers {
            let reached = self.signers.entry(signer.clone()).or_default();
            *reached = head.size.max(*reached);
        }
        if !head.is_settled {
            if self.held() <= head.size {
                self.last = Some((head.size, head.file.clone()));
            }
            return;
        }
        report.proved = report.proved.max(head.size);
        for (signer, size) in std::mem::take(&mut self.signers) {
            let reached = report.signers.entry(signer).or_default();
            *reached = size.max(*reached);
        }
        self.last = None;
    }

    /// Up to where roots held, whoever signed them.
    pub(super) fn held(&self) -> u64 {
        self.last.as_ref().map_or(0, |(size, _)| *size)
    }

    /// What is left at the end, or where the records break off: nothing that the newest key signed was reached from there.
    pub(super) fn end(self, keys: &Keys, report: &Report) -> Option<Finding> {
        let (size, file) = self.last?;
        // Where two keys stand apart that is said of both.
        let of = |turn: &&KeyTurn| self.signers.contains_key(&turn.old.short());
        let turn = keys.turns.iter().find(of)?;
        let key = turn.old.short();
        Some(Finding {
            fault: Fault::Unsettled {
                key,
                last: turn.size,
                size,
            },
            records: report.proved.max(report.first).min(size)..size,
            file,
            offset: 0,
        })
    }
}

/// The text says all: a signature more, such as a witness's, makes no other change of it.
fn is_same(one: &KeyTurn, other: &KeyTurn) -> bool {
    one.note().text() == other.note().text()
}

fn followed(turn: &KeyTurn) -> Turn {
    Turn {
        size: turn.size,
        from: turn.old.short(),
        to: turn.next.clone(),
        statement: turn.note().clone(),
        record: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Algorithm, KeyName, Signer, SigningKey};
    use crate::options::to_u64;
    use crate::tree::Head;

    fn change(from: &SigningKey, to: &SigningKey) -> KeyTurn {
        KeyTurn::state(&Head { size: 0, root: [7; 32] }, from, to).unwrap()
    }

    #[test]
    fn promise_5_of_statements_by_keys_that_nobody_knows_none_is_kept_and_what_is_too_much_is_counted() {
        let key = || SigningKey::generate(KeyName::new("gate.example").unwrap(), Algorithm::Ed25519).unwrap();
        let (own, next, strangers) = (key(), key(), change(&key(), &key()));
        let keys = Keys::follow(&[own.key().clone()], Vec::new()).0;
        let told = |seq, turn: &KeyTurn| Told {
            seq,
            turn: Some(turn.clone()),
            file: "f".to_owned(),
            offset: 0,
        };
        let mut all = AllTold::default();
        all.take(&keys, vec![told(0, &change(&own, &next))]);
        let many = to_u64(TOLD_MAX) + 500;
        all.take(&keys, (1..many).map(|seq| told(seq, &strangers)).collect());
        assert_eq!(all.list.len(), TOLD_MAX);
        let kept = all.list.iter().filter(|told| told.turn.is_some());
        assert_eq!(kept.map(|told| told.seq).collect::<Vec<_>>(), [0]);
        assert_eq!(
            keys.learns(&all).len(),
            1,
            "what leads on from the known key is followed"
        );
        let (_, findings) = keys.compare(&all, &(0..many));
        let last = findings.last().unwrap();
        assert_eq!(
            (&last.fault, last.records.clone()),
            (&Fault::More { count: 500 }, to_u64(TOLD_MAX)..many)
        );
    }
}
