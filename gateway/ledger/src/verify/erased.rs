//! What the records say was erased, and what stands beside the records under those keys.
//!
//! The check opens nothing: it knows a part by the digest of its sealed bytes and by the name of its key, both in the leaf. A record of
//! kind `erasure` counts only where a signature covers it: whoever can write the files can also append one. One that was appended so, and that a start signed
//! with the rest of the end that it found, does not count where that start said so before: a record of kind `damage` refuses it. A refusal counts as
//! an erasure does, where no later one refuses it, and where no start says that it found it unsigned: it could be appended as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::event::RecordKind;
use serde::Deserialize;

use super::stretches::Stretches;
use super::unsigned::{Statements, Unsigned};
use super::{Fault, Finding};
use crate::parts::{Declared, PartsFault};

/// A key that goes, as a record says it.
#[derive(Clone, Debug)]
struct Gone {
    seq: u64,
    is_of_recording: bool,
}

/// Keys that are gone, to be kept: by which record, and whether it was a recording's.
pub(super) type GoneKeys = BTreeMap<String, (u64, bool)>;
/// Parts by their key, to be kept.
pub(super) type SealedParts = BTreeMap<String, u64>;

/// Parts that do not stand beside their leaf.
#[derive(Debug)]
struct Detached {
    finding: Finding,
    count: usize,
    keys: Vec<String>,
}

/// What one segment, or several, say of erasures, and of other records.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// By the name of the key: all records that say so, since the first of them may be refused.
    gone: HashMap<String, Vec<Gone>>,
    /// Which records a record refuses.
    refusals: BTreeMap<u64, Vec<u64>>,
    /// How many parts stand under each key.
    parts: HashMap<String, u64>,
    detached: Vec<Detached>,
    /// What is said of records that nobody had signed.
    unsigned: Statements,
}

/// What was erased, with proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// The records that say so.
    pub records: BTreeSet<u64>,
    /// Parts that nobody can open any more.
    pub parts: u64,
    /// How many of them do not stand there any more either.
    pub detached: u64,
    /// Recordings that nobody can play any more.
    pub recordings: u64,
    /// Records that were found behind what was signed, and that the gateway refused to believe before it signed them: nothing was erased or released by them.
    pub refused: BTreeSet<u64>,
}

/// What a record of kind `erasure` says. Whoever counts what is erased, destroys keys again or keeps them out of a restore reads it here, so that what the one
/// takes for erased the others do, too. What no verifier needs is looked at only where it is asked for: a member that is not understood changes nothing of what
/// is erased.
#[derive(Clone, Debug, Deserialize)]
pub struct SaidErasure {
    what: String,
    #[serde(default)]
    keys: Vec<SaidKey>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// A key, as a record names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SaidKey {
    /// Its public name.
    pub id: String,
    /// For what it was.
    pub class: String,
}

impl SaidErasure {
    /// Reads a leaf, as it stands or with the names that lie beside it; `None` where it says nothing of an erasure that this release reads.
    #[must_use]
    pub fn read(leaf: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Leaf {
            erasure: SaidErasure,
        }
        serde_json::from_slice::<Leaf>(leaf).ok().map(|leaf| leaf.erasure)
    }

    /// Which step it is: `asked`, `refused`, `withdrawn`, `erased`, or one of a later release.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The keys that are no more by it: none where it is another step.
    #[must_use]
    pub fn erased(&self) -> &[SaidKey] {
        if self.what == "erased" { &self.keys } else { &[] }
    }

    /// Whether it is the last record of its erasure; `None` where that cannot be read.
    #[must_use]
    pub fn is_last(&self) -> Option<bool> {
        match self.rest.get("more") {
            None => Some(true),
            Some(more) => more.as_u64().map(|more| more == 0),
        }
    }

    /// Another member of it; `None` where it is absent or something else.
    #[must_use]
    pub fn member<T: serde::de::DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.rest.get(name)?.clone()).ok()
    }
}

/// The records that are refused, of these refusals by the number of the record that refuses: whoever reads them has made sure that each is signed. The later
/// one is judged first, since it may refuse the earlier one. None refuses what came behind it.
#[must_use]
pub fn refused(refusals: &BTreeMap<u64, Vec<u64>>) -> BTreeSet<u64> {
    let mut refused = BTreeSet::new();
    for (by, which) in refusals.iter().rev() {
        if !refused.contains(by) {
            refused.extend(which.iter().filter(|seq| *seq < by));
        }
    }
    refused
}

/// Which records this one of kind `damage` refuses; most refuse none.
#[must_use]
pub fn refuses(leaf: &[u8]) -> Vec<u64> {
    #[derive(Deserialize)]
    struct Leaf {
        #[serde(default)]
        refused: Vec<u64>,
    }
    serde_json::from_slice::<Leaf>(leaf).map_or_else(|_| Vec::new(), |leaf| leaf.refused)
}

impl Erasures {
    /// Reads a record of kind `erasure`. One that says that it was asked for, or refused, erases nothing.
    pub(super) fn read(&mut self, leaf: &[u8], seq: u64) {
        let said = SaidErasure::read(leaf);
        for key in said.iter().flat_map(SaidErasure::erased) {
            self.gone.entry(key.id.clone()).or_default().push(Gone {
                seq,
                is_of_recording: key.class.starts_with("recording:"),
            });
        }
    }

    /// Reads a record of any kind, as far as it says something of others.
    pub(super) fn read_of_others(&mut self, kind: RecordKind, leaf: &[u8], seq: u64) {
        match kind {
            RecordKind::Erasure => self.read(leaf, seq),
            RecordKind::Damage => {
                self.read_refusal(leaf, seq);
                self.unsigned.read(kind, leaf, seq);
            }
            RecordKind::Recovery => self.unsigned.read(kind, leaf, seq),
            _ => {}
        }
    }

    /// Reads a record of kind `damage`.
    pub(super) fn read_refusal(&mut self, leaf: &[u8], seq: u64) {
        let refused = refuses(leaf);
        if !refused.is_empty() {
            self.refusals.insert(seq, refused);
        }
    }

    /// Forgets what these records say.
    pub(super) fn pass_over(&mut self, is_so: impl Fn(u64) -> bool) {
        self.gone.retain(|_, said| {
            said.retain(|gone| !is_so(gone.seq));
            !said.is_empty()
        });
        self.refusals.retain(|seq, _| !is_so(*seq));
        self.unsigned.pass_over(is_so);
    }

    /// Counts the parts that a leaf declares, by their keys.
    pub(super) fn count(&mut self, declared: &[Declared]) {
        for key in declared.iter().filter_map(|part| part.key.as_deref()) {
            match self.parts.get_mut(key) {
                Some(count) => *count = count.saturating_add(1),
                None => drop(self.parts.insert(key.to_owned(), 1)),
            }
        }
    }

    /// Parts under these keys are not there. Whether that is a fault is known when all records were read.
    pub(super) fn lacks(&mut self, finding: Finding, keys: &[&str]) {
        self.detached.push(Detached {
            finding,
            count: keys.len(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        });
    }

    /// All that can be kept: keys that are gone, by which record and whether they were a recording's, and parts by their key. `None` where parts are
    /// missing, where records refuse others or say that nobody had signed them, and where two records name one key: which of them counts is judged when all records were read.
    pub(super) fn all(&self) -> Option<(GoneKeys, SealedParts)> {
        let gone = self.gone.iter().map(|(id, gone)| match gone.as_slice() {
            [gone] => Some((id.clone(), (gone.seq, gone.is_of_recording))),
            _ => None,
        });
        let gone = gone.collect::<Option<GoneKeys>>()?;
        let parts = self.parts.iter().map(|(key, count)| (key.clone(), *count));
        let is_plain = self.detached.is_empty() && self.refusals.is_empty() && self.unsigned.is_empty();
        is_plain.then(|| (gone, parts.collect()))
    }

    /// What was kept.
    pub(super) fn recalled(gone: &GoneKeys, parts: &SealedParts) -> Self {
        let of = |(id, (seq, is_of_recording)): (&String, &(u64, bool))| {
            let (seq, is_of_recording) = (*seq, *is_of_recording);
            (id.clone(), vec![Gone { seq, is_of_recording }])
        };
        Self {
            gone: gone.iter().map(of).collect(),
            refusals: BTreeMap::new(),
            parts: parts.iter().map(|(key, count)| (key.clone(), *count)).collect(),
            detached: Vec::new(),
            unsigned: Statements::default(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (id, gone) in other.gone {
            self.gone.entry(id).or_default().extend(gone);
        }
        self.refusals.extend(other.refusals);
        for (key, count) in other.parts {
            let all = self.parts.entry(key).or_default();
            *all = all.saturating_add(count);
        }
        self.detached.extend(other.detached);
        self.unsigned.add(other.unsigned);
    }

    /// Which records were not signed when a run ended, as the records up to `proved` say it. No refusal takes that back: a start that refuses a record has
    /// said before that nobody had signed it, so there is nothing for it to take back, and whoever appends one could hide by it what was found.
    pub(super) fn unsigned(&self, proved: u64) -> Unsigned {
        self.unsigned.counting(proved)
    }

    /// Which records are refused, as the records up to `proved` say it. A refusal among records that a start found unsigned refuses nothing: the start
    /// that wrote it died before it signed, and the next one refused all of that again; or somebody put it in.
    fn refused(&self, proved: u64) -> BTreeSet<u64> {
        let Unsigned { unproved, foreign, .. } = self.unsigned(proved);
        let found = Stretches::of(
            unproved
                .into_iter()
                .chain(foreign.into_iter().map(|(records, _)| records)),
        );
        let counting = self.refusals.range(..proved).filter(|(by, _)| !found.has(**by));
        refused(&counting.map(|(by, which)| (*by, which.clone())).collect())
    }

    /// What the records up to `proved` say, and the parts that are missing without that any of them says so.
    pub(super) fn judge(self, proved: u64) -> (Erased, Vec<Finding>) {
        let mut erased = Erased {
            refused: self.refused(proved),
            ..Erased::default()
        };
        // The first record counts: what is said again after a crash is no other erasure.
        let first = |gone: &'_ Vec<Gone>| -> Option<Gone> {
            let counts = |gone: &&Gone| gone.seq < proved && !erased.refused.contains(&gone.seq);
            gone.iter().filter(counts).min_by_key(|gone| gone.seq).cloned()
        };
        let gone: BTreeMap<&str, Gone> = self
            .gone
            .iter()
            .filter_map(|(id, gone)| Some((id.as_str(), first(gone)?)))
            .collect();
        for (id, gone) in &gone {
            erased.records.insert(gone.seq);
            erased.recordings += u64::from(gone.is_of_recording);
            let parts = self.parts.get(*id).copied().unwrap_or_default();
            erased.parts = erased.parts.saturating_add(parts);
        }
        let mut findings = Vec::new();
        for Detached {
            mut finding,
            count,
            keys,
        } in self.detached
        {
            // What was sealed behind the record of an erasure is not what that erased.
            let at = finding.records.start;
            let is_gone = |key: &&String| gone.get(key.as_str()).is_some_and(|gone| at < gone.seq);
            let kept = keys.len() - keys.iter().filter(is_gone).count();
            erased.detached += u64::try_from(count - kept).unwrap_or_default();
            if kept > 0 {
                finding.fault = Fault::Parts(PartsFault::Missing(kept));
                findings.push(finding);
            }
        }
        (erased, findings)
    }
}

/// Entry for the fuzzer: foreign bytes are no erasure, and never a panic.
pub(crate) fn fuzz_erasure(leaf: &[u8]) {
    let mut erasures = Erasures::default();
    erasures.read(leaf, 0);
    erasures.read_refusal(leaf, 7);
    erasures.unsigned.read(RecordKind::Recovery, leaf, 7);
    let unsigned = erasures.unsigned(8);
    debug_assert!(unsigned.ranges().all(|records| !records.is_empty() && records.end <= 7));
    if let Some(said) = SaidErasure::read(leaf) {
        let _ = (said.is_last(), said.member::<String>("request"));
    }
    let declared = crate::parts::declared(leaf);
    erasures.count(&declared);
    let _ = crate::parts::detached(&declared, &[leaf]);
    let (erased, findings) = erasures.judge(1);
    debug_assert!(findings.is_empty() && erased.records.len() <= 1 && erased.refused.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_no_erasure(data in prop::collection::vec(any::<u8>(), 0..300)) {
            fuzz_erasure(&data);
            let mut erasures = Erasures::default();
            erasures.read(&data, 0);
            prop_assert!(erasures.gone.is_empty());
        }

        #[test]
        fn only_a_record_that_says_erased_erases_and_it_erases_what_it_names(
            what in "(erased|asked|refused|withdrawn|[a-z]{0,9})", keys in prop::collection::btree_set("[0-9a-f]{16}", 0..9), more in "x[a-z]{1,9}",
        ) {
            let named: Vec<_> = keys.iter().map(|id| serde_json::json!({"id": id, "class": "query", (&more): 1})).collect();
            let leaf = serde_json::json!({"id": "e", "erasure": {"what": what, "keys": named, "of": {"user": "a"}}});
            let leaf = leaf.to_string().into_bytes();
            fuzz_erasure(&leaf);
            let mut erasures = Erasures::default();
            erasures.read(&leaf, 7);
            let gone: BTreeSet<String> = erasures.gone.into_keys().collect();
            prop_assert_eq!(gone, if what == "erased" { keys } else { BTreeSet::new() });
        }

        #[test]
        fn a_member_that_is_not_understood_changes_nothing_of_what_is_erased(
            member in "(request|of|asked|agreed|more|why|hold)", value in "(null|7|-1|\"x\"|\\[\\]|\\{\"user\":1\\})",
        ) {
            let leaf = format!(r#"{{"erasure":{{"what":"erased","{member}":{value},"keys":[{{"id":"ab","class":"query"}}]}}}}"#);
            fuzz_erasure(leaf.as_bytes());
            let said = SaidErasure::read(leaf.as_bytes()).unwrap();
            prop_assert_eq!(said.erased(), [SaidKey { id: "ab".to_owned(), class: "query".to_owned() }]);
            prop_assert_eq!(said.is_last(), match (member.as_str(), value.as_str()) {
                ("more", "7") => Some(false),
                ("more", _) => None,
                _ => Some(true),
            });
        }
    }
}
