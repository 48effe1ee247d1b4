//! Erasures and holds for the gateway's own API: they are written into the ledger, and what the ledger says of them is so.
//!
//! Invariant: after a start, no key is in the store that a record of this ledger says was erased, and the holds in the store are those
//! that the ledger says stand: whatever was interrupted, and whichever older state of the store was put back. A record counts that is under a signature
//! and that no start refused (`unsigned`); what is less takes nothing away.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use console::NotRecorded;
use console::api::{Erases, ErasureAct, ErasureEvent};
use futures::future::BoxFuture;
use ledger::verify::{refused, refuses};
use ledger::{Frontier, Head, Ledger, ProvedSpot, Reader};
use model::erasure::{Actor, Erased, Hold, Scope};
use model::event::names::NAME_CLASS;
use model::event::{ErasedKey, Erasing, Held, Network, Record, RecordKind, Request};
use model::subject::SubjectId;
use model::time::Timestamp;
use proxy::audit::{RequestId, Station};
use serde::Deserialize;
use state::Store;

use super::api;

/// The audit station and the ledger, as far as erasing needs them.
#[derive(Debug)]
pub(super) struct Erasures {
    pub(super) audit: Arc<Station>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<Store>,
}

impl Erases for Erasures {
    fn id(&self) -> String {
        RequestId::new().as_str().to_owned()
    }

    fn record<'a>(&'a self, id: &str, event: ErasureEvent) -> BoxFuture<'a, Result<(), NotRecorded>> {
        let id = id.to_owned();
        Box::pin(async move { self.write(&id, &event).await })
    }

    fn records(&self) -> u64 {
        self.ledger.durable().size
    }

    fn forget_keys(&self) {
        self.audit.forget_part_keys();
    }

    fn forget_what_passed(&self, subject: &SubjectId) {
        self.audit.forget_what_passed(subject);
    }
}

impl Erasures {
    async fn write(&self, id: &str, event: &ErasureEvent) -> Result<(), NotRecorded> {
        let keys = match &event.act {
            ErasureAct::Erased { keys, .. } => keys.as_slice(),
            _ => &[],
        };
        let keys: Vec<ErasedKey<'_>> = keys.iter().map(|(id, class)| ErasedKey { id, class }).collect();
        let ip = event.peer.as_ref().map(|peer| peer.ip.to_string()).unwrap_or_default();
        let net = event.peer.as_ref().map(|peer| Network {
            ip: &ip,
            port: peer.port,
            http: "",
            listener: &peer.listener,
        });
        let agent = event.agent.as_deref().map(proxy::audit::agent);
        let req = agent.filter(|agent| !agent.is_empty()).map(|agent| Request {
            agent: Some(agent),
            ..Request::default()
        });
        let (erasure, hold) = (erasing(&event.act, &keys), held(&event.act));
        let kind = if hold.is_some() {
            RecordKind::Hold
        } else {
            RecordKind::Erasure
        };
        let note = event.act.sentence();
        let record = Record {
            id,
            t: event.at,
            mono: self.audit.clock().read().mono,
            boot: self.audit.boot(),
            by: Some(api::by(&event.who, event.session.as_str())),
            net,
            req,
            erasure,
            hold,
            note: Some(&note),
            ..Record::default()
        };
        if matches!(
            event.act,
            ErasureAct::Erased { .. } | ErasureAct::Withdrawn(_) | ErasureAct::Released { .. }
        ) {
            self.remember(&record).await?;
        }
        let written = self.audit.write(kind, &record).await;
        written.map(drop).map_err(|refusal| NotRecorded(refusal.in_words()))
    }
}

impl Erasures {
    /// What takes something away is known to the state file before it is written, so that it counts where a crash comes before its signature.
    async fn remember(&self, record: &Record<'_>) -> Result<(), NotRecorded> {
        let body = record.body().map_err(|error| NotRecorded(error.to_string()))?;
        let store = Arc::clone(&self.store);
        let kept = tokio::task::spawn_blocking(move || store.remember_words(&body)).await;
        let kept = kept.map_err(|error| NotRecorded(error.to_string()))?;
        kept.map_err(|error| NotRecorded(error.to_string()))
    }
}

fn erasing<'a>(act: &'a ErasureAct, keys: &'a [ErasedKey<'a>]) -> Option<Erasing<'a>> {
    let step = |what: &'static str, request: &'a model::erasure::Request| Erasing {
        what,
        request: &request.id,
        of: &request.of,
        asked: &request.asked,
        agreed: None,
        why: &request.why,
        refused: None,
        hold: None,
        until: None,
        keys: &[],
        more: 0,
    };
    match act {
        ErasureAct::Asked(request) => Some(Erasing {
            until: Some(request.until),
            ..step("asked", request)
        }),
        ErasureAct::Withdrawn(request) => Some(step("withdrawn", request)),
        ErasureAct::Refused { request, why, hold } => Some(Erasing {
            refused: Some(why),
            hold: hold.as_deref(),
            ..step("refused", request)
        }),
        ErasureAct::Erased {
            request, agreed, more, ..
        } => Some(Erasing {
            agreed: Some(agreed),
            keys,
            more: *more,
            ..step("erased", request)
        }),
        ErasureAct::Held(_) | ErasureAct::Released { .. } | ErasureAct::NotReleased { .. } => None,
    }
}

fn held(act: &ErasureAct) -> Option<Held<'_>> {
    let (what, hold, released, refused) = match act {
        ErasureAct::Held(hold) => ("created", hold, None, None),
        ErasureAct::Released { hold, why } => ("released", hold, Some(why.as_str()), None),
        ErasureAct::NotReleased { hold, why } => ("refused", hold, None, Some(why.as_str())),
        _ => return None,
    };
    Some(Held {
        what,
        id: &hold.id,
        of: &hold.of,
        set_by: &hold.by,
        why: &hold.why,
        released,
        refused,
    })
}

/// What the records say that the store may not know. Blocking.
///
/// `known` is how many records the store stands on: those of a store that is new, or was put back from a backup, are read again. Whoever can write the
/// ledger's files can exchange a record, or append one: so those up to `before` have to lead to what was signed there, and of those behind it count
/// that were not refused. Where they do not lead to it nothing goes and no hold ends; it is tried again at each start.
///
/// # Errors
/// The store or the ledger cannot be read, or a key cannot be destroyed.
pub(super) fn finish(
    (dir, names): (&Path, Option<&Arc<dyn ledger::Names>>),
    known: u64,
    before: &Before,
    store: &Store,
) -> anyhow::Result<Finished> {
    let unproved = store.unproved_from()?;
    let from = [store.erasures_begun()?, unproved]
        .into_iter()
        .flatten()
        .fold(known, u64::min);
    let reader = Reader::open(dir)?;
    let mut finished = Finished::default();
    match reader.proved(from, &before.signed, &KINDS)? {
        Some(proved) => {
            let refused = refused_in(&reader, &proved)?;
            for proved in &proved {
                let record = reader.proved_record(proved)?;
                let is_believed = !refused.contains(&record.seq);
                obey(record, names, is_believed, store, &mut finished)?;
            }
        }
        None => {
            finished.is_unproved = true;
            for record in reader.records_from(from).until(before.signed.size) {
                obey(record?, names, false, store, &mut finished)?;
            }
        }
    }
    for record in reader.records_from(from.max(before.signed.size)) {
        let record = record?;
        let is_believed = !before.refused.contains(&record.seq);
        obey(record, names, is_believed, store, &mut finished)?;
    }
    store.keep_unproved_from(finished.is_unproved.then_some(from))?;
    Ok(finished)
}

/// With its names, where they are sealed beside it. Only behind the proof, which is over the leaf as it stands.
fn named(mut record: ledger::Record, names: Option<&Arc<dyn ledger::Names>>) -> ledger::Record {
    if let Some(names) = names {
        record.leaf = names.open(record.leaf, &record.parts);
    }
    record
}

/// The kinds of records that are read at a start.
const KINDS: [RecordKind; 3] = [RecordKind::Erasure, RecordKind::Hold, RecordKind::Damage];

/// What was signed when the process began, and which records behind that are not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// The newest tree that was signed.
    pub(super) signed: Head,
    /// Records behind it.
    pub(super) refused: BTreeSet<u64>,
}

/// What came of reading the records again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Finished {
    /// Keys that had been erased and were there all the same.
    pub(super) destroyed: usize,
    /// The records are not those that were signed: nothing was done by them.
    pub(super) is_unproved: bool,
}

fn refused_in(reader: &Reader, proved: &[ProvedSpot]) -> anyhow::Result<BTreeSet<u64>> {
    let mut refusals = BTreeMap::new();
    for proved in proved {
        let record = reader.proved_record(proved)?;
        if record.kind == RecordKind::Damage {
            refusals.insert(record.seq, refuses(&record.leaf));
        }
    }
    Ok(refused(&refusals))
}

fn obey(
    record: ledger::Record,
    names: Option<&Arc<dyn ledger::Names>>,
    is_believed: bool,
    store: &Store,
    finished: &mut Finished,
) -> anyhow::Result<()> {
    let pseudonym = names.and_then(|_| pseudonym_in(&record));
    let record = named(record, names);
    match record.kind {
        RecordKind::Erasure if is_believed => {
            erase_again(&record.leaf, store, finished)?;
            // A store from before it was asked for has it in use, and gave it out again.
            Ok(pseudonym.map_or(Ok(()), |pseudonym| store.forget_pseudonym(&pseudonym))?)
        }
        RecordKind::Hold => hold_again(&record.leaf, is_believed, store),
        _ => Ok(()),
    }
}

/// How many records are signed, as the newest checkpoint beside them says; whether it is so, is for whoever signs next.
pub(crate) fn signed(dir: &Path) -> u64 {
    let text = std::fs::read(dir.join(ledger::NEWEST_CHECKPOINT)).unwrap_or_default();
    let note = ledger::note::Note::parse(&text).ok();
    let checkpoint = note.and_then(|note| ledger::Checkpoint::parse(note.text()).ok());
    checkpoint.map_or(0, |checkpoint| checkpoint.size)
}

/// The names of all keys that a record of this ledger says were erased, signed or not: nothing is destroyed by them here. `size` records have to
/// be there, from the first one on: who takes away those that say it would have the keys back; and those up to `signed` have to be the ones that were
/// signed, or an erasure could be exchanged for something else. One that a start refused did not erase; a refusal is believed where it is signed. Blocking.
///
/// # Errors
/// The ledger cannot be read, has not all of these records or others than were signed, or has one of an erasure that cannot be read.
pub(crate) fn erased_keys(dir: &Path, size: u64, signed: &Head) -> anyhow::Result<HashSet<String>> {
    let (mut erased, mut refusals) = (Vec::new(), BTreeMap::new());
    let mut tree = Frontier::default();
    for record in Reader::open(dir)?.records_from(0) {
        let record = record?;
        is_signed(&tree, signed)?;
        let next = tree.size();
        anyhow::ensure!(
            record.seq == next,
            "the records from {next} to before {} are missing",
            record.seq
        );
        tree.push(ledger::leaf_hash(&record.leaf));
        match record.kind {
            RecordKind::Erasure => erased.push((record.seq, erased_by(&record))),
            RecordKind::Damage if record.seq < signed.size => {
                refusals.insert(record.seq, refuses(&record.leaf));
            }
            _ => {}
        }
    }
    is_signed(&tree, signed)?;
    let (next, size) = (tree.size(), size.max(signed.size));
    anyhow::ensure!(next >= size, "the records from {next} to before {size} are missing");
    let refused = refused(&refusals);
    erased.retain(|(seq, _)| !refused.contains(seq));
    let keys: Vec<Vec<String>> = erased.into_iter().map(|(_, keys)| keys).collect::<Result<_, _>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// At the signed size the tree has the root that was signed.
fn is_signed(tree: &Frontier, signed: &Head) -> anyhow::Result<()> {
    anyhow::ensure!(
        tree.size() != signed.size || tree.root() == signed.root,
        "the first {} records are not those that were signed: `gatescribe ledger verify` says where they differ",
        signed.size
    );
    Ok(())
}

/// The keys that this record says were erased. What else it says is not asked: where names are sealed nobody has to be able to tell, and whoever could have
/// the ledger's files refused for what one record lacks would have a switch.
fn erased_by(record: &ledger::Record) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Leaf {
        erasure: Says,
    }
    #[derive(Deserialize)]
    struct Says {
        what: String,
        #[serde(default)]
        keys: Vec<SaidKey>,
    }
    let unread = || {
        format!(
            "record {} is of an erasure, and this release does not read what it says",
            record.seq
        )
    };
    let Leaf { erasure } = serde_json::from_slice(&record.leaf).with_context(unread)?;
    match erasure.what.as_str() {
        "erased" => Ok(erasure.keys.into_iter().map(|key| key.id).collect()),
        "asked" | "withdrawn" | "refused" => Ok(Vec::new()),
        _ => Err(anyhow::anyhow!(unread())),
    }
}

/// Whom a record says that all was erased of, as it stands in the ledger, with the last record of that erasure and where the name went, too.
fn pseudonym_in(record: &ledger::Record) -> Option<String> {
    #[derive(Deserialize)]
    struct Leaf {
        erasure: Says,
    }
    #[derive(Deserialize)]
    struct Says {
        what: String,
        of: Of,
        #[serde(default)]
        keys: Vec<SaidKey>,
        #[serde(default)]
        more: u64,
    }
    #[derive(Deserialize)]
    struct Of {
        subject: String,
    }
    let Leaf { erasure } = serde_json::from_slice(&record.leaf).ok()?;
    let is_whole = erasure.keys.iter().any(|key| key.class == NAME_CLASS);
    (erasure.what == "erased" && erasure.more == 0 && is_whole).then_some(erasure.of.subject)
}

#[derive(Deserialize)]
struct ErasureLeaf {
    id: String,
    t: Timestamp,
    erasure: Said,
}

#[derive(Deserialize)]
struct Said {
    what: String,
    request: String,
    of: Scope,
    asked: Actor,
    agreed: Option<Actor>,
    #[serde(default)]
    keys: Vec<SaidKey>,
    #[serde(default)]
    more: u64,
}

#[derive(Deserialize)]
struct SaidKey {
    id: String,
    class: String,
}

fn erase_again(leaf: &[u8], store: &Store, finished: &mut Finished) -> anyhow::Result<()> {
    let Ok(leaf) = serde_json::from_slice::<ErasureLeaf>(leaf) else {
        return Ok(()); // written by a later version in a way that this one does not know
    };
    let (said, is_over) = (leaf.erasure, leaf.id);
    match said.what.as_str() {
        "erased" => {}
        "withdrawn" => return Ok(store.forget_erasure(&said.request).map(drop)?),
        _ => return Ok(()),
    }
    let keys: Vec<(String, String)> = said.keys.into_iter().map(|key| (key.id, key.class)).collect();
    let erased = Erased {
        record: is_over,
        at: leaf.t,
        asked: said.asked.user,
        agreed: said.agreed.map(|agreed| agreed.user).unwrap_or_default(),
    };
    let is_over = (said.more == 0).then_some(said.request.as_str());
    finished.destroyed += store.erased(&said.of.subject, &keys, &erased, is_over)?;
    Ok(())
}

/// A hold begins also where nobody believes the record: too much is held rather than too little.
fn hold_again(leaf: &[u8], is_believed: bool, store: &Store) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Leaf {
        t: Timestamp,
        by: Option<By>,
        hold: Said,
    }
    #[derive(Deserialize)]
    struct By {
        id: SubjectId,
        iss: String,
        user: String,
        email: Option<String>,
    }
    #[derive(Deserialize)]
    struct Said {
        what: String,
        id: String,
        of: Scope,
        set_by: String,
        why: String,
    }
    let Ok(Leaf { t, by, hold }) = serde_json::from_slice(leaf) else {
        return Ok(()); // as above
    };
    match hold.what.as_str() {
        "created" => store.hold_again(&Hold {
            id: hold.id,
            of: hold.of,
            by: hold.set_by,
            actor: by.map(|by| Actor {
                subject: by.id,
                user: by.user,
                issuer: by.iss,
                email: by.email,
            }),
            why: hold.why,
            at: t,
        })?,
        "released" if is_believed => drop(store.release(&hold.id)?),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ledger::RealDisk;
    use model::erasure;
    use model::subject::SubjectKind;
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use state::{Identity, SealingKey, SealingKeys, SessionId};

    use super::*;

    fn store() -> Arc<Store> {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        Arc::new(Store::in_memory(keys, state::Limits::default()).unwrap())
    }

    /// All that stands there was signed.
    fn all(erases: &Erasures) -> Before {
        Before {
            signed: erases.ledger.durable(),
            refused: BTreeSet::new(),
        }
    }

    fn open(dir: &Path, store: &Arc<Store>) -> Erasures {
        let ledger = Ledger::open(dir, ledger::Options::default(), Arc::new(RealDisk::new(dir)));
        let (ledger, (clock, _)) = (Arc::new(ledger.unwrap().0), Clock::manual(1_000));
        let audit = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        let store = Arc::clone(store);
        Erasures { audit, ledger, store }
    }

    fn actor(number: u8, user: &str) -> Actor {
        Actor {
            subject: SubjectId::from_digest([number; 16]),
            user: user.to_owned(),
            issuer: "https://idp".to_owned(),
            email: None,
        }
    }

    fn alice() -> Scope {
        Scope {
            subject: actor(1, "alice").subject,
            kind: SubjectKind::Person,
            user: "alice".to_owned(),
            email: None,
            classes: vec!["command".to_owned()],
            recording: None,
            from: None,
            to: None,
        }
    }

    fn request(id: &str) -> erasure::Request {
        erasure::Request {
            id: id.to_owned(),
            of: alice(),
            asked: actor(3, "carol"),
            why: "she asked for it".to_owned(),
            at: Timestamp::from_unix_seconds(1),
            until: Timestamp::from_unix_seconds(100),
        }
    }

    async fn said(erases: &Erasures, id: &str, act: ErasureAct) {
        let identity = Identity {
            issuer: "https://idp".to_owned(),
            subject: "u".to_owned(),
            username: "dave".to_owned(),
            uid: None,
            groups: Default::default(),
            extra: Default::default(),
            email: None,
        };
        let event = ErasureEvent {
            act,
            at: Timestamp::from_unix_seconds(2),
            session: SessionId::parse(&"5e".repeat(16)).unwrap(),
            who: console::Who {
                subject_id: actor(4, "dave").subject,
                identity,
                auth_time: None,
                acr: None,
            },
            peer: None,
            agent: None,
        };
        erases.record(id, event).await.unwrap();
    }

    fn erased(keys: &[&str], more: u64) -> ErasureAct {
        ErasureAct::Erased {
            request: request("q"),
            agreed: actor(4, "dave"),
            keys: keys.iter().map(|id| ((*id).to_owned(), "command".to_owned())).collect(),
            more,
        }
    }

    #[tokio::test]
    async fn what_was_interrupted_behind_its_record_is_finished_at_the_next_start() {
        let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
        let erases = open(folder.path(), &store);
        let alice = alice().subject;
        let first = store.part_key(alice.as_str(), "command", now).unwrap();
        store.ask_erasure(&request("q")).unwrap();
        store.begin_erasure(&request("q"), erases.records(), now).unwrap();
        assert_eq!(
            finish((folder.path(), None), 0, &all(&erases), &store)
                .unwrap()
                .destroyed,
            0,
            "no record says so yet"
        );
        assert!(store.part_key_named(alice.as_str(), &first.id).unwrap().is_some());
        said(&erases, "e", erased(&[&first.id], 0)).await;
        let record = Reader::open(folder.path()).unwrap().record(0).unwrap().unwrap();
        let body = String::from_utf8(record.leaf).unwrap();
        let body = body.replacen("\"v\":1,\"kind\":\"erasure\",\"seq\":0,", "", 1);
        assert!(
            store.knows_words(body.as_bytes()).unwrap(),
            "before it was written: {body}"
        );
        // As where the number that the store stands on has grown by other things meanwhile.
        let known = erases.records();
        let unsigned = Before {
            signed: Head {
                size: 0,
                ..erases.ledger.durable()
            },
            refused: BTreeSet::new(),
        };
        assert_eq!(
            finish((folder.path(), None), known, &unsigned, &store)
                .unwrap()
                .destroyed,
            1,
            "nobody had signed it yet, and nothing refused it"
        );
        assert!(store.part_key_named(alice.as_str(), &first.id).unwrap().is_none());
        assert!(store.erasures().unwrap().is_empty());
        let told = store.erased_key(&first.id).unwrap().unwrap().in_words();
        assert_eq!(
            told,
            "erased on 1970-01-01T00:00:02.000000Z by carol and dave, record e"
        );
        assert_eq!(
            finish((folder.path(), None), 0, &all(&erases), &store)
                .unwrap()
                .destroyed,
            0,
            "once"
        );
    }

    #[tokio::test]
    async fn a_store_from_a_backup_loses_again_what_was_erased_and_holds_again_what_is_held() {
        let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
        let erases = open(folder.path(), &store);
        let alice_id = alice().subject;
        // The backup has the key, a request that was withdrawn since, a hold that was released since, and lacks another one.
        let key = store.part_key(alice_id.as_str(), "command", now).unwrap();
        let hold = |id: &str| Hold {
            id: id.to_owned(),
            of: alice(),
            by: "carol".to_owned(),
            actor: None,
            why: "case 7".to_owned(),
            at: Timestamp::from_unix_seconds(2),
        };
        store.ask_erasure(&request("w")).unwrap();
        store.hold(&hold("old")).unwrap();
        let why = "the case is closed".to_owned();
        said(&erases, "w2", ErasureAct::Withdrawn(request("w"))).await;
        said(&erases, "h2", ErasureAct::Released { hold: hold("old"), why }).await;
        said(&erases, "e", erased(&[&key.id, "gone"], 0)).await;
        said(&erases, "new", ErasureAct::Held(hold("new"))).await;
        assert_eq!(
            finish((folder.path(), None), 0, &all(&erases), &store)
                .unwrap()
                .destroyed,
            1
        );
        assert!(store.part_key_named(alice_id.as_str(), &key.id).unwrap().is_none());
        assert!(
            store.erased_key("gone").unwrap().is_some(),
            "also of one that the backup never had"
        );
        let held_again = Hold {
            actor: Some(actor(4, "dave")),
            ..hold("new")
        };
        assert_eq!(store.holds().unwrap(), [held_again], "by whoever the record is of");
        assert!(store.erasures().unwrap().is_empty());
    }

    /// promise_5: whoever can write the ledger's files, and nothing else, destroys nothing.
    #[tokio::test]
    async fn promise_5_a_record_that_nobody_signed_destroys_no_key_and_ends_no_hold() {
        let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
        let erases = open(folder.path(), &store);
        let alice_id = alice().subject;
        let key = store.part_key(alice_id.as_str(), "command", now).unwrap();
        let hold = Hold {
            id: "h".to_owned(),
            of: alice(),
            by: "carol".to_owned(),
            actor: None,
            why: "case 7".to_owned(),
            at: Timestamp::from_unix_seconds(2),
        };
        store.ask_erasure(&request("q")).unwrap();
        store.hold(&hold).unwrap();
        let signed = erases.ledger.durable();
        let why = "the case is closed".to_owned();
        said(
            &erases,
            "h2",
            ErasureAct::Released {
                hold: hold.clone(),
                why,
            },
        )
        .await;
        said(&erases, "e", erased(&[&key.id], 0)).await;
        let before = Before {
            signed,
            refused: [signed.size, signed.size + 1].into(),
        };
        assert_eq!(
            finish((folder.path(), None), 0, &before, &store).unwrap(),
            Finished::default()
        );
        assert!(store.part_key_named(alice_id.as_str(), &key.id).unwrap().is_some());
        assert_eq!(store.holds().unwrap(), [hold]);
        assert_eq!(signed_in_an_empty_folder(), 0);
    }

    fn signed_in_an_empty_folder() -> u64 {
        signed(tempfile::tempdir().unwrap().path())
    }

    #[tokio::test]
    async fn a_request_is_open_until_the_last_of_its_records() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let erases = open(folder.path(), &store);
        store.ask_erasure(&request("q")).unwrap();
        said(&erases, "e1", erased(&["a"], 1)).await;
        finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
        assert_eq!(store.erasures().unwrap().len(), 1);
        said(&erases, "e2", erased(&["b"], 0)).await;
        finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
        assert!(store.erasures().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_record_of_as_many_keys_as_one_names_is_whole() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let erases = open(folder.path(), &store);
        let class = erasure::recording_class("01996f3a-0000-7000-8000-000000000003");
        let keys: Vec<(String, String)> = (0..100).map(|key| (format!("{key:016x}"), class.clone())).collect();
        let act = ErasureAct::Erased {
            request: request("q"),
            agreed: actor(4, "dave"),
            keys: keys.clone(),
            more: 7,
        };
        said(&erases, "e", act).await;
        let record = Reader::open(folder.path())
            .unwrap()
            .records_from(0)
            .next()
            .unwrap()
            .unwrap();
        assert!(record.leaf.len() < 16 << 10, "{}", record.leaf.len());
        let leaf: serde_json::Value = serde_json::from_slice(&record.leaf).unwrap();
        assert_eq!(leaf["erasure"]["keys"].as_array().unwrap().len(), 100);
        assert_eq!(leaf["erasure"]["keys"][99]["class"], class.as_str());
        assert_eq!(leaf["erasure"]["more"], 7);
    }

    /// One of each step. What is frozen never changes; a later release reads it as this one does.
    #[tokio::test]
    async fn records_of_erasures_and_holds_are_those_that_were_frozen() {
        let (folder, store) = (tempfile::tempdir().unwrap(), store());
        let erases = open(folder.path(), &store);
        let held = Hold {
            id: "hold-1".to_owned(),
            of: Scope {
                classes: Vec::new(),
                from: Some(Timestamp::from_unix_seconds(10)),
                to: Some(Timestamp::from_unix_seconds(20)),
                ..alice()
            },
            by: "carol".to_owned(),
            actor: None,
            why: "case 7".to_owned(),
            at: Timestamp::from_unix_seconds(2),
        };
        let refused = ErasureAct::Refused {
            request: request("request-1"),
            why: "the legal hold hold-1 of carol forbids it: case 7".to_owned(),
            hold: Some("hold-1".to_owned()),
        };
        let not_released = ErasureAct::NotReleased {
            hold: held.clone(),
            why: "it takes two people, and that is you as well".to_owned(),
        };
        let released = ErasureAct::Released {
            hold: held.clone(),
            why: "the case is closed".to_owned(),
        };
        said(&erases, "request-1", ErasureAct::Asked(request("request-1"))).await;
        said(&erases, "hold-1", ErasureAct::Held(held)).await;
        said(&erases, "refused-1", refused).await;
        said(&erases, "released-1", released).await;
        said(&erases, "erased-1", erased(&["5f6c4d66a1e1b6ef"], 1)).await;
        said(&erases, "withdrawn-1", ErasureAct::Withdrawn(request("request-2"))).await;
        said(&erases, "not-released-1", not_released).await;
        let records = Reader::open(folder.path()).unwrap().records_from(0);
        let leaves = records.map(|record| String::from_utf8(record.unwrap().leaf).unwrap() + "\n");
        let now: String = leaves.collect();
        let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/erasures/v1.ndjson");
        assert_eq!(now, std::fs::read_to_string(frozen).unwrap_or_default(), "{now}");
    }
}
