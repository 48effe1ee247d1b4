//! Sealed names (`ledger.names: sealed`): the state file gives out pseudonyms and keeps the keys under which names lie beside records.
//!
//! Invariant: a ledger names people in one way from its first record to its last ([`begin`]).
//!
//! Bounded: what is held in memory of pseudonyms and keys; when it is full, it begins anew.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use ledger::{Ledger, NotSealed, Reader};
use model::event::names::{Known, NAME_CLASS, Pseudonyms, Split, Whose, erased_name, join, sealed_name, split};
use model::event::{Part, RecordKind};
use model::subject::SubjectId;
use proxy::audit::{Class, PartKey, open_part, seal_part};
use serde::Deserialize;
use state::{StateError, Store};

use crate::config::Names as Wanted;

/// Among so many records stands the one that says how the ledger names people.
const FIRST_RECORDS: u64 = 16;
/// Of each sort, so many are held in memory.
const MOST_HELD: usize = 50_000;
/// Whose key seals words about people in records that are nobody's, as of a sign-in that was refused: no subject has this id.
const NOBODY: [u8; 16] = [0; 16];

/// How this ledger names people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// There are no records yet.
    New,
    Clear,
    Sealed,
}

/// Has names sealed where that is configured, and gives what opens them.
///
/// # Errors
/// The ledger cannot be read, or names people in another way than is configured.
pub(super) fn begin(
    wanted: Wanted,
    ledger: &Ledger,
    dir: &Path,
    store: &Arc<Store>,
) -> anyhow::Result<Option<Arc<dyn ledger::Names>>> {
    match (wanted, found(dir, ledger.durable().size)?) {
        (Wanted::Clear, Found::New | Found::Clear) => Ok(None),
        (Wanted::Sealed, Found::New | Found::Sealed) => {
            let names: Arc<dyn ledger::Names> = Arc::new(SealedNames::new(Arc::clone(store)));
            ledger.seal_names(Arc::clone(&names));
            Ok(Some(names))
        }
        (Wanted::Sealed, Found::Clear) => anyhow::bail!(
            "`ledger.names` is `sealed`, and the ledger in `{}` has records that name people in the clear: a ledger never changes how it names \
             them. Leave `ledger.names` out, or begin a new ledger in another folder (`ledger.dir`) and keep this one as it is",
            dir.display()
        ),
        (Wanted::Clear, Found::Sealed) => anyhow::bail!(
            "`ledger.names` is not `sealed`, and the ledger in `{}` was begun with sealed names: a ledger never changes how it names people, and \
             nobody would expect names in it. Set `ledger.names: sealed`, or begin a new ledger in another folder (`ledger.dir`)",
            dir.display()
        ),
    }
}

fn found(dir: &Path, size: u64) -> anyhow::Result<Found> {
    #[derive(Deserialize)]
    struct Leaf {
        start: Option<Start>,
    }
    #[derive(Deserialize)]
    struct Start {
        names: Option<String>,
    }
    let reader = Reader::open(dir).context("how the ledger names people cannot be read")?;
    for record in reader.records_from(0).until(size).take(usize::try_from(FIRST_RECORDS)?) {
        let record = record.context("how the ledger names people cannot be read")?;
        if record.kind != RecordKind::Start {
            continue;
        }
        let start = serde_json::from_slice::<Leaf>(&record.leaf)
            .ok()
            .and_then(|leaf| leaf.start);
        let is_sealed = start.and_then(|start| start.names).as_deref() == Some(SEALED);
        return Ok(if is_sealed { Found::Sealed } else { Found::Clear });
    }
    // Whoever appends says first that a run begins: before that there are the ledger's own records at most.
    Ok(if size < FIRST_RECORDS { Found::New } else { Found::Clear })
}

/// What `start.names` says where names are sealed.
pub(super) const SEALED: &str = "sealed";

/// Seals and opens names with what the state file keeps.
#[derive(Debug)]
struct SealedNames {
    store: Arc<Store>,
    pseudonyms: Held<SubjectId, SubjectId>,
    subjects: Held<String, Option<SubjectId>>,
    /// Those in use, by whose they are.
    keys: Held<SubjectId, Arc<PartKey>>,
    /// Any, by their public names; none that was asked for in vain.
    opening: Held<String, Arc<PartKey>>,
}

impl SealedNames {
    fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            pseudonyms: Held::default(),
            subjects: Held::default(),
            keys: Held::default(),
            opening: Held::default(),
        }
    }

    fn split(&self, kind: RecordKind, body: &[u8]) -> Result<Option<Split>, StateError> {
        split(kind, body, &mut Asked(self))
    }

    fn sealing_key(&self, whose: &Whose) -> Result<Option<Arc<PartKey>>, StateError> {
        let in_use = |subject: &SubjectId| {
            self.keys.get_or(subject, || {
                let kept = self.store.part_key(subject.as_str(), NAME_CLASS, super::now())?;
                Ok(PartKey::new(&kept.id, &kept.bytes).map(Arc::new))
            })
        };
        match whose {
            Whose::Subject(subject) => in_use(subject),
            Whose::Nobody => in_use(&SubjectId::from_digest(NOBODY)),
            Whose::Leaving(subject) => {
                let kept = self
                    .store
                    .leaving_part_key(subject.as_str(), NAME_CLASS, super::now())?;
                Ok(PartKey::new(&kept.id, &kept.bytes).map(Arc::new))
            }
        }
    }

    fn opening_key(&self, id: &str) -> Option<Arc<PartKey>> {
        let find = || {
            let kept = self.store.part_key_of_id(id)?;
            Ok(kept.and_then(|kept| PartKey::new(&kept.id, &kept.bytes)).map(Arc::new))
        };
        self.opening.get_or(&id.to_owned(), find).unwrap_or_else(|error| {
            tracing::warn!(error = %error, "a key of a name cannot be looked up: the name is shown as sealed");
            None
        })
    }

    fn sealed(
        &self,
        kind: RecordKind,
        body: &[u8],
        parts: Option<Vec<ledger::Part>>,
    ) -> Result<(Vec<u8>, Vec<ledger::Part>), String> {
        let request = id_of(body);
        let split = self.split(kind, body).map_err(|error| error.to_string())?;
        let split = split.ok_or("it is no JSON object")?;
        let Some(mut parts) = parts else {
            return Ok((split.body(&[]), Vec::new()));
        };
        let mut named: Vec<Part> = Vec::new();
        for (whose, aside) in &split.asides {
            let key = self.sealing_key(whose).map_err(|error| error.to_string())?;
            let sealed = key.and_then(|key| seal_part(&key, &request, Class::Name, aside));
            let (part, bytes) = sealed.ok_or("it cannot be encrypted")?;
            named.push(part);
            parts.push(bytes);
        }
        let said = packed(kind, body);
        let whole = noted(split.body(&named), said.as_deref());
        // Where a crash comes before the signature, the start believes the words that this file knows, as they stand in the ledger (`unsigned`).
        if matches!(kind, RecordKind::Erasure | RecordKind::Hold) {
            self.store.remember_words(&whole).map_err(|error| error.to_string())?;
        }
        Ok((whole, parts))
    }
}

impl ledger::Names for SealedNames {
    fn seal(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        parts: Option<Vec<ledger::Part>>,
    ) -> Result<(Vec<u8>, Vec<ledger::Part>), NotSealed> {
        self.sealed(kind, &body, parts).map_err(|why| {
            tracing::error!(
                record.kind = kind.name(),
                why,
                "a record is refused: the names in it cannot be sealed"
            );
            NotSealed
        })
    }

    fn open(&self, leaf: Vec<u8>, parts: &[Vec<u8>]) -> Vec<u8> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Leaf {
            id: String,
            parts: Vec<Named>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Named {
            class: String,
            key: String,
            commitment: String,
        }
        let read: Leaf = serde_json::from_slice(&leaf).unwrap_or_default();
        let (mut asides, mut is_erased) = (Vec::new(), false);
        for (named, bytes) in read
            .parts
            .iter()
            .zip(parts)
            .filter(|(named, _)| named.class == NAME_CLASS)
        {
            match self.opening_key(&named.key) {
                Some(key) => asides.extend(open_part(&key, &read.id, Class::Name, &named.commitment, bytes)),
                None => is_erased |= matches!(self.store.erased_key(&named.key), Ok(Some(_))),
            }
        }
        let behind = Behind { names: self, is_erased };
        let whole = if asides.is_empty() { None } else { unnoted(&leaf) };
        join(whole.as_deref().unwrap_or(&leaf), &asides, &behind).unwrap_or(leaf)
    }

    fn forget(&self) {
        self.pseudonyms.forget();
        self.subjects.forget();
        self.keys.forget();
        self.opening.forget();
    }

    fn pseudonym(&self, subject: &SubjectId) -> Option<String> {
        Asked(self).pseudonym(subject, false).ok()
    }
}

/// Gives out pseudonyms from the state file.
struct Asked<'n>(&'n SealedNames);

impl Pseudonyms for Asked<'_> {
    type Error = StateError;

    fn pseudonym(&mut self, subject: &SubjectId, leaving: bool) -> Result<String, StateError> {
        let Self(names) = self;
        if leaving && let Some(leaving) = names.store.leaving_pseudonym(subject)? {
            return Ok(leaving.to_string());
        }
        let make = || names.store.pseudonym(subject, super::now()).map(Some);
        let known = names.pseudonyms.get_or(subject, make)?;
        Ok(known.map(|known| known.to_string()).unwrap_or_default())
    }
}

/// Who stands behind the pseudonyms of a record.
struct Behind<'n> {
    names: &'n SealedNames,
    /// A key of it was erased.
    is_erased: bool,
}

impl Known for Behind<'_> {
    fn subject(&self, pseudonym: &str) -> Option<SubjectId> {
        let find = || self.names.store.subject_of_pseudonym(pseudonym).map(Some);
        let known = self.names.subjects.get_or(&pseudonym.to_owned(), find);
        known.ok().flatten().flatten()
    }

    fn unnamed(&self, pseudonym: &str) -> String {
        if self.is_erased {
            erased_name(pseudonym)
        } else {
            sealed_name(pseudonym)
        }
    }
}

/// What a verifier of evidence has to read of the sentence that says it was made: how much, and the digest of what it states. Without
/// what was searched for.
fn packed(kind: RecordKind, body: &[u8]) -> Option<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Noted {
        note: String,
    }
    if kind != RecordKind::AuditRead {
        return None;
    }
    let note = serde_json::from_slice::<Noted>(body).ok()?.note;
    let (acts, _) = note.strip_prefix("packed ")?.split_once(" acts ")?;
    let (_, digest) = note.rsplit_once(", statement sha256:")?;
    let is_plain = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_count = !acts.is_empty() && acts.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && is_count).then(|| format!("packed {acts} acts as evidence, statement sha256:{digest}"))
}

/// How such a sentence begins behind all other members; what it says needs no escape.
const NOTED: &str = ",\"note\":\"packed ";

/// With this sentence behind all other members.
fn noted(mut body: Vec<u8>, note: Option<&str>) -> Vec<u8> {
    if let Some(said) = note.and_then(|note| note.strip_prefix("packed "))
        && body.pop() == Some(b'}')
    {
        body.extend_from_slice(format!("{NOTED}{said}\"}}").as_bytes());
    }
    body
}

/// Without it: what lies beside the record has the whole of it.
fn unnoted(leaf: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(leaf).ok()?;
    let (before, said) = text.rsplit_once(NOTED)?;
    let is_last = said.strip_suffix("\"}").is_some_and(|said| !said.contains('"'));
    is_last.then(|| format!("{before}}}").into_bytes())
}

/// The id by which the records of a request are joined, and to which their parts are bound.
fn id_of(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        id: String,
    }
    serde_json::from_slice::<Named>(body).unwrap_or_default().id
}

/// What was looked up, as long as there is room, and how often all of it was forgotten.
#[derive(Debug)]
struct Held<K, V>(Mutex<(u64, HashMap<K, V>)>);

impl<K, V> Default for Held<K, V> {
    fn default() -> Self {
        Self(Mutex::new((0, HashMap::new())))
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Held<K, V> {
    /// What is held, or what `find` finds, which is then held.
    fn get_or(&self, key: &K, find: impl FnOnce() -> Result<Option<V>, StateError>) -> Result<Option<V>, StateError> {
        let before = {
            let held = self.all();
            if let Some(held) = held.1.get(key) {
                return Ok(Some(held.clone()));
            }
            held.0
        };
        let found = find()?;
        if let Some(found) = &found {
            let mut held = self.all();
            // What was found before all was forgotten may be what was to be forgotten.
            if held.0 == before {
                if held.1.len() >= MOST_HELD {
                    held.1.clear();
                }
                held.1.insert(key.clone(), found.clone());
            }
        }
        Ok(found)
    }

    fn forget(&self) {
        let mut held = self.all();
        held.0 = held.0.wrapping_add(1);
        held.1.clear();
    }

    fn all(&self) -> std::sync::MutexGuard<'_, (u64, HashMap<K, V>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
