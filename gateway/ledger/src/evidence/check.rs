//! Checking evidence with the public key alone: what does not hold, and where.

use std::collections::{BTreeMap, BTreeSet};

use model::event::RecordKind;
use serde::Deserialize;
use thiserror::Error;

use super::statement::{MAX_POPULATION, NotAStatement, Statement, draw, told};
use super::{Evidence, Proven, head};
use crate::leaf;
use crate::note::{KeyChain, Note, VerifierKey, Vouched};
use crate::receipt::NotProved;
use crate::tree::{check_inclusion, leaf_hash};

/// Findings that are told one by one; of a file that is wrong throughout the first ones say enough.
const MOST_FAULTS: usize = 1_000;

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Nobody vouches for the root.
    #[error("checkpoint: {}", .0.in_words())]
    Checkpoint(NotProved),
    /// It is not in the tree.
    #[error("record {seq}: it is not the record that was signed, or its proof was changed")]
    Record {
        /// Which.
        seq: u64,
    },
    /// What stands there is a record of another number, or none.
    #[error("record {seq}: another record stands in its place")]
    Other {
        /// Which.
        seq: u64,
    },
    /// The statement names it and it is not here.
    #[error("record {seq}: it was taken out")]
    Missing {
        /// Which.
        seq: u64,
    },
    /// It is here and the statement does not name it.
    #[error("record {seq}: it was put in; the statement does not name it")]
    Added {
        /// Which.
        seq: u64,
    },
    /// No statement.
    #[error(transparent)]
    Statement(#[from] NotAStatement),
    /// It is not what the ledger's own record of it says.
    #[error("statement: {what} not what record {seq} of the ledger says was packed")]
    Untold {
        /// That record.
        seq: u64,
        /// What of it, as far as that record tells.
        what: &'static str,
    },
    /// The record that is to vouch for the statement is none that could.
    #[error("statement: record {seq} is not the gateway's record of making it")]
    NotTold {
        /// That record.
        seq: u64,
    },
    /// A count, or the sample, is not what follows from the rest of the statement.
    #[error("statement: {0}")]
    Counts(&'static str),
}

impl NotProved {
    fn in_words(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// The recording of a session among the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecording {
    /// The record that says the newest of it.
    pub seq: u64,
    /// The session.
    pub session: String,
    /// Hash of the newest chunk, which covers all; hexadecimal.
    pub root: String,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What a check found.
#[derive(Debug)]
pub struct Checked<'a> {
    /// What does not hold; where it is empty, all of it holds. The first thousand.
    pub faults: Vec<Fault>,
    /// Records that are not what was signed, all of them counted.
    pub bad_records: usize,
    /// Whether everything but single records holds: the statement, what vouches for it, which records there are.
    pub all_but_records_hold: bool,
    /// Who vouches for the checkpoint, among the keys that were given.
    pub vouched: Vec<Vouched<'a>>,
    /// What was asked and counted.
    pub statement: Option<Statement>,
    /// The record that vouches for it, where there is one.
    pub told: Option<u64>,
    /// Records that are here.
    pub records: usize,
    /// Recordings of sessions among them.
    pub recordings: Vec<KeptRecording>,
}

impl Evidence {
    /// These keys, and those that the changes of the key in it, and these further ones, lead to.
    #[must_use]
    pub fn chain(&self, keys: &[VerifierKey], further: &[Note]) -> KeyChain {
        KeyChain::follow(keys, self.changes.iter().chain(further))
    }

    /// Checks everything against these keys ([`Evidence::chain`]). The keys of witnesses may be among them.
    #[must_use]
    pub fn check<'a>(&self, keys: &'a KeyChain) -> Checked<'a> {
        let mut faults = Vec::new();
        let vouched = self.check_signature(keys).unwrap_or_else(|fault| {
            faults.push(Fault::Checkpoint(fault));
            Vec::new()
        });
        faults.extend(self.records.iter().filter_map(|record| self.check_record(record)));
        let statement = match Statement::parse(&self.statement) {
            Ok(statement) => {
                self.check_members(&statement, &mut faults);
                faults.extend(check_counts(&statement).map(Fault::Counts));
                Some(statement)
            }
            Err(error) => {
                faults.push(error.into());
                None
            }
        };
        faults.extend(self.told.and_then(|seq| self.check_told(seq, statement.as_ref())));
        let is_of_a_record = |fault: &Fault| matches!(fault, Fault::Record { .. } | Fault::Other { .. });
        let bad_records = faults.iter().filter(|fault| is_of_a_record(fault)).count();
        let all_but_records_hold = faults.iter().all(|fault| matches!(fault, Fault::Record { .. }));
        // What is said of the whole is never behind what is said of a thousand records.
        if faults.len() > MOST_FAULTS {
            faults.sort_by_key(is_of_a_record);
            faults.truncate(MOST_FAULTS);
        }
        Checked {
            faults,
            bad_records,
            all_but_records_hold,
            vouched,
            statement,
            told: self.told,
            records: self.records.len(),
            recordings: self.recordings(),
        }
    }

    fn check_signature<'a>(&self, keys: &'a KeyChain) -> Result<Vec<Vouched<'a>>, NotProved> {
        let vouched = self.note.verify(keys.keys())?;
        keys.admit(&self.checkpoint, &vouched)?;
        if vouched.iter().any(|by| by.key.is_of_log(&self.checkpoint.origin)) {
            return Ok(vouched);
        }
        let origin = self.checkpoint.origin.clone();
        Err(NotProved::Origin { origin })
    }

    fn check_record(&self, record: &Proven) -> Option<Fault> {
        let seq = record.seq;
        let proved = check_inclusion(&leaf_hash(&record.leaf), seq, &head(&self.checkpoint), &record.path);
        match proved {
            // What was signed as this record is this record, whatever stands in it.
            Ok(()) => None,
            Err(_) if leaf::is_of(&record.leaf, seq) => Some(Fault::Record { seq }),
            Err(_) => Some(Fault::Other { seq }),
        }
    }

    /// Each record that the statement names is here, and no other but the one that vouches for it.
    fn check_members(&self, statement: &Statement, faults: &mut Vec<Fault>) {
        let named: BTreeSet<u64> = statement.records.iter().flatten().copied().chain(self.told).collect();
        let here: BTreeSet<u64> = self.records.iter().map(|record| record.seq).collect();
        faults.extend(named.difference(&here).map(|seq| Fault::Missing { seq: *seq }));
        faults.extend(here.difference(&named).map(|seq| Fault::Added { seq: *seq }));
    }

    fn check_told(&self, seq: u64, statement: Option<&Statement>) -> Option<Fault> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Noted {
            note: String,
        }
        // That it is missing is said already.
        let at = self.records.binary_search_by_key(&seq, |record| record.seq).ok()?;
        let leaf = &self.records.get(at)?.leaf;
        let noted: Noted = serde_json::from_slice(leaf).unwrap_or_default();
        // Only this sentence begins so: what somebody typed stands further on, in others, too.
        if !leaf::begins_with(leaf, RecordKind::AuditRead, seq) || !noted.note.starts_with("packed ") {
            return Some(Fault::NotTold { seq });
        }
        if noted.note.ends_with(&told(&self.statement)) {
            return None;
        }
        let says = |what: String| noted.note.contains(&what);
        let what = match statement {
            Some(statement) if !says(format!(" for `{}", statement.query)) => "the query is",
            Some(statement) if !says(format!("packed {} acts", statement.acts.packed)) => "the number of acts is",
            _ => "its counts, its bounds, its sample or its list of records are",
        };
        Some(Fault::Untold { seq, what })
    }

    /// By the newest word on each session.
    fn recordings(&self) -> Vec<KeptRecording> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Leaf {
            id: String,
            recording: Option<Recording>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Recording {
            chunks: u64,
            bytes: u64,
            hash: String,
        }
        let mut newest = BTreeMap::new();
        for record in &self.records {
            let Ok(leaf) = serde_json::from_slice::<Leaf>(&record.leaf) else {
                continue;
            };
            let Some(recording) = leaf.recording else { continue };
            newest.insert(
                leaf.id.clone(),
                KeptRecording {
                    seq: record.seq,
                    session: leaf.id,
                    root: recording.hash,
                    chunks: recording.chunks,
                    bytes: recording.bytes,
                },
            );
        }
        newest.into_values().collect()
    }
}

/// What follows from the statement itself: nobody has to be believed for that.
fn check_counts(statement: &Statement) -> impl Iterator<Item = &'static str> {
    let Counted { firsts, rising, whole } = Counted::of(&statement.records);
    let acts = &statement.acts;
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let sampled = statement.sample.as_ref();
    let population = sampled.map_or(firsts.len(), |sample| sample.population.len());
    let drawn_is_right = sampled.is_none_or(|sample| {
        sample.population.len() <= MAX_POPULATION
            && sample.population.is_sorted_by(|one, next| one < next)
            && draw(&sample.seed, &sample.population, sample.size) == firsts
    });
    let span = statement.read;
    let inside = span.is_none_or(|span| {
        let acts = statement.records.iter().flatten();
        let listed = acts.chain(sampled.iter().flat_map(|sample| &sample.population));
        span.first <= span.end
            && span.within <= span.end - span.first
            && listed.into_iter().all(|seq| (span.first..span.end).contains(seq))
    });
    let scope = matches!(
        (statement.scope.as_str(), &statement.subject),
        ("all", None) | ("own", Some(_))
    );
    [
        (rising, "the records of the acts are not in order, each once"),
        (whole, "an act is without a record"),
        (
            acts.packed == count(firsts.len()),
            "another number of acts is here than it says",
        ),
        (
            acts.matched == count(population),
            "another number of acts matched than it lists",
        ),
        (acts.range >= acts.matched, "more acts matched than were in the range"),
        (
            drawn_is_right,
            "the sample is not the one that the seed draws from the population",
        ),
        (inside, "a record is listed that is not among those that were read"),
        (scope, "it does not say whose records were looked at"),
    ]
    .into_iter()
    .filter(|(holds, _)| !holds)
    .map(|(_, what)| what)
}

struct Counted {
    firsts: Vec<u64>,
    rising: bool,
    whole: bool,
}

impl Counted {
    fn of(acts: &[Vec<u64>]) -> Self {
        let firsts: Vec<u64> = acts.iter().filter_map(|act| act.first().copied()).collect();
        let all: Vec<u64> = acts.iter().flatten().copied().collect();
        let once = all.iter().collect::<BTreeSet<_>>().len() == all.len();
        let each = acts.iter().all(|act| act.is_sorted_by(|one, next| one < next));
        Self {
            rising: once && each && firsts.is_sorted_by(|one, next| one < next),
            whole: firsts.len() == acts.len(),
            firsts,
        }
    }
}
