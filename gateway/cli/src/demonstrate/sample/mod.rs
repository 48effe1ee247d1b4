//! The sample history, written through the ordinary ledger before the gateway opens it.
//!
//! Every record of it carries `source: sample` and the boot id `sample`; it is never evidence, and search marks it. Who may
//! do what in it was asked of the embedded cluster's own bindings. Records have times of their own, so they come first.
//! Invariant: each beginning has its end, so that a later start finds nothing open.

mod members;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use demo::history::{Actor, Decision, Happening, Plan, SOURCE};
use demo::identity::Person as DemoPerson;
use ledger::{Ledger, OutcomeSlot, RealDisk, Ticket};
use model::cluster::ClusterId;
use model::event::{Answer, By, Outcome, Person, Record, RecordKind, Span};
use model::subject::SubjectKind;
use model::time::Timestamp;
use proxy::identity::{groups_hash, subject_id};

use members::{Who, by, decided, id, kind, made, name_of, network, query_keys, refused, request};

/// Names the records' run.
const BOOT: &str = "sample";
/// Beginnings that are written before their ends: the number of each must be known, and one sync serves them all.
const TOGETHER: usize = 4_096;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) acts: usize,
    pub(super) days: u32,
}

/// Seconds before now in which nothing of the history lies.
const QUIET: i64 = 20 * 60;

/// Writes the history of the days before `now` into the ledger in `dir`, unless there is a ledger already. Blocks.
///
/// # Errors
/// The ledger cannot be made or written.
pub(super) fn write(dir: &Path, issuer: &str, now: Timestamp) -> anyhow::Result<Option<Written>> {
    if dir.exists() {
        return Ok(None);
    }
    make_private(dir)?;
    let options = ledger::Options {
        boot: BOOT.into(),
        ..ledger::Options::default()
    };
    let disk = Arc::new(RealDisk::new(dir));
    let (ledger, _) = Ledger::open(dir, options, disk).context("the sample history has no ledger")?;
    // A search of the last minutes shows what was done here, and nothing that was made up: at ten past nine on a workday people had acts in it.
    let plan = Plan::until(Timestamp::from_unix_seconds(now.unix_seconds().saturating_sub(QUIET)));
    let entries = in_order(plan);
    let began = entries.first().map_or(now, Entry::at);
    let scribe = Scribe::new(&ledger, issuer, began)?;
    let acts = entries.iter().filter(|entry| matches!(entry, Entry::Did(_))).count();
    for together in entries.chunks(TOGETHER) {
        scribe.write(together)?;
    }
    ledger.close();
    Ok(Some(Written { acts, days: plan.days }))
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot make `{}`", dir.display()))
}

/// One line of the history.
#[derive(Debug)]
enum Entry {
    SignedIn {
        person: &'static DemoPerson,
        session: u32,
        at: Timestamp,
        address: &'static str,
    },
    Did(Box<Happening>),
}

impl Entry {
    fn at(&self) -> Timestamp {
        match self {
            Self::SignedIn { at, .. } => *at,
            Self::Did(happening) => happening.at,
        }
    }
}

/// All acts, with the sign-in of each session before its first one.
fn in_order(plan: Plan) -> Vec<Entry> {
    let (mut entries, mut known) = (Vec::new(), HashSet::new());
    for happening in plan.happenings() {
        if let Actor::Person {
            person,
            session,
            signed_in,
        } = happening.actor
            && known.insert(session)
        {
            entries.push(Entry::SignedIn {
                person,
                session,
                at: signed_in,
                address: happening.address,
            });
        }
        entries.push(Entry::Did(Box::new(happening)));
    }
    entries.sort_by_key(Entry::at);
    entries
}

/// A beginning whose end is still to be written.
struct Begun<'e> {
    id: String,
    happening: &'e Happening,
    ticket: Ticket,
    slot: Option<OutcomeSlot>,
}

struct Scribe<'l> {
    ledger: &'l Ledger,
    issuer: &'l str,
    cluster: ClusterId,
    /// The history's first moment, from which `mono` counts.
    began: Timestamp,
}

impl<'l> Scribe<'l> {
    fn new(ledger: &'l Ledger, issuer: &'l str, began: Timestamp) -> anyhow::Result<Self> {
        let cluster = ClusterId::new("demo").context("the demo's cluster has no name")?;
        Ok(Self {
            ledger,
            issuer,
            cluster,
            began,
        })
    }

    fn write(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut begun = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let id = id(entry.at(), number);
            match entry {
                Entry::SignedIn {
                    person,
                    session,
                    at,
                    address,
                } => self.signed_in(&id, person, *session, *at, address)?,
                Entry::Did(happening) => begun.extend(self.begin(id, happening)?),
            }
        }
        for begun in begun {
            self.end(begun)?;
        }
        Ok(())
    }

    fn head<'a>(&'a self, id: &'a str, at: Timestamp) -> Record<'a> {
        Record {
            id,
            t: at,
            mono: u64::try_from(at.since(self.began).as_nanos()).unwrap_or(u64::MAX),
            boot: BOOT,
            source: SOURCE,
            ..Record::default()
        }
    }

    fn signed_in(
        &self,
        id: &str,
        person: &DemoPerson,
        session: u32,
        at: Timestamp,
        address: &str,
    ) -> anyhow::Result<()> {
        let (subject, session) = (subject_id(self.issuer, person.subject), name_of(session));
        let by = By {
            credential: "signIn",
            ..by(
                &subject,
                SubjectKind::Person,
                (self.issuer, person.subject),
                person.email,
            )
        };
        let record = Record {
            by: Some(By {
                email: Some(person.email),
                session: Some(&session),
                auth_time: Some(at.unix_seconds()),
                ..by
            }),
            net: Some(network(address, "gateway")),
            person: Some(Person {
                what: "signedIn",
                session: Some(&session),
                provider: Some("demo"),
                why: None,
                amr: &[],
            }),
            ..self.head(id, at)
        };
        self.ledger
            .append_forget(RecordKind::Session, record.body()?, Vec::new())?;
        Ok(())
    }

    /// Writes an act's first record; a refusal is whole with it.
    fn begin<'e>(&self, id: String, happening: &'e Happening) -> anyhow::Result<Option<Begun<'e>>> {
        let (kind, body) = self.opening(&id, happening)?;
        let (ticket, slot) = match kind {
            RecordKind::Refusal => {
                self.ledger.append_forget(kind, body, Vec::new())?;
                return Ok(None);
            }
            RecordKind::Intent => self
                .ledger
                .append_intent(body, Vec::new())
                .map(|(ticket, slot)| (ticket, Some(slot)))?,
            RecordKind::Open => self
                .ledger
                .append_open(body, Vec::new())
                .map(|(ticket, slot)| (ticket, Some(slot)))?,
            kind => (self.ledger.append(kind, body, Vec::new())?, None),
        };
        Ok(Some(Begun {
            id,
            happening,
            ticket,
            slot,
        }))
    }

    fn opening(&self, id: &str, happening: &Happening) -> anyhow::Result<(RecordKind, Vec<u8>)> {
        let act = &happening.act;
        let (path, keys) = (act.path(), query_keys(act));
        let groups: Vec<Arc<str>> = happening.groups().iter().map(|group| (*group).into()).collect();
        let hash = groups_hash(&groups);
        let actor = self.actor(happening.actor);
        let record = Record {
            cluster: Some(&self.cluster),
            by: Some(By {
                groups_hash: &hash,
                ..actor.by()
            }),
            net: Some(network(happening.address, "kubernetes")),
            req: Some(request(act, &path, &keys, happening.client)),
            decision: Some(decided(&happening.decision)),
            outcome: (happening.decision == Decision::Refused).then(refused),
            note: happening.chapter,
            ..self.head(id, happening.at)
        };
        Ok((kind(happening), record.body()?))
    }

    fn end(&self, begun: Begun<'_>) -> anyhow::Result<()> {
        let Begun {
            id,
            happening,
            ticket,
            slot,
        } = begun;
        let durable = ticket.wait().context("the sample history was not written")?;
        let took = u64::try_from(happening.took.as_micros()).unwrap_or(u64::MAX);
        let outcome = Outcome {
            end: Answer::Answered,
            status: Some(happening.status),
            took: Some(Span {
                first: took,
                total: took,
            }),
            ..refused()
        };
        let record = Record {
            pair: Some(durable.seq),
            cluster: Some(&self.cluster),
            outcome: Some(Outcome {
                reason: None,
                ..outcome
            }),
            object: made(&happening.act, happening.status),
            ..self.head(&id, happening.at.plus(happening.took))
        };
        let body = record.body()?;
        match (slot, kind(happening)) {
            (Some(slot), RecordKind::Intent) => drop(slot.fill(RecordKind::Outcome, body)?),
            (Some(slot), _) => drop(slot.fill(RecordKind::Close, body)?),
            (None, _) => self.ledger.append_forget(RecordKind::Close, body, Vec::new())?,
        }
        Ok(())
    }

    fn actor(&self, actor: Actor) -> Who {
        match actor {
            Actor::Person {
                person,
                session,
                signed_in,
            } => Who {
                id: subject_id(self.issuer, person.subject),
                kind: SubjectKind::Person,
                issuer: self.issuer.to_owned(),
                subject: person.subject,
                user: person.email,
                email: Some(person.email),
                session: Some(name_of(session)),
                credential: "gatewayToken",
                auth_time: Some(signed_in.unix_seconds()),
            },
            Actor::Controller(account) => {
                let issuer = format!("cluster:{}", self.cluster);
                Who {
                    id: subject_id(&issuer, account),
                    kind: SubjectKind::ServiceAccount,
                    issuer,
                    subject: account,
                    user: account,
                    email: None,
                    session: None,
                    credential: "serviceAccount",
                    auth_time: None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// A Saturday noon.
    const NOW: i64 = 1_795_262_400;

    fn history() -> (tempfile::TempDir, Written, Vec<Value>) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ledger");
        let now = Timestamp::from_unix_seconds(NOW);
        let written = write(&dir, "http://127.0.0.1:7001", now).unwrap().unwrap();
        let reader = ledger::Reader::open(&dir).unwrap();
        let leaves = reader
            .records_from(0)
            .map(|record| serde_json::from_slice(&record.unwrap().leaf).unwrap())
            .collect();
        (folder, written, leaves)
    }

    #[test]
    fn every_record_of_the_history_is_marked_and_every_beginning_has_its_end() {
        let (folder, written, leaves) = history();
        let own = |leaf: &&Value| leaf["kind"] != "checkpoint";
        assert!(leaves.iter().filter(own).all(|leaf| leaf["source"] == "sample"));
        assert!(leaves.iter().filter(own).all(|leaf| leaf["boot"] == BOOT));
        let count = |kind: &str| leaves.iter().filter(|leaf| leaf["kind"] == kind).count();
        assert_eq!(count("intent"), count("outcome"));
        assert_eq!(count("access") + count("open"), count("close"));
        assert_eq!(
            written.acts,
            count("intent") + count("access") + count("open") + count("refusal")
        );
        assert!(count("session") > 80);
        // What opens it next finds nothing unfinished.
        let dir = folder.path().join("ledger");
        let disk = Arc::new(RealDisk::new(&dir));
        let (_ledger, recovery) = Ledger::open(&dir, ledger::Options::default(), disk).unwrap();
        assert_eq!((recovery.dropped_bytes, recovery.unfinished.len()), (0, 0));
    }

    #[test]
    fn a_person_of_the_history_is_the_one_who_signs_in_to_the_demo() {
        let (_folder, _, leaves) = history();
        let alice = leaves
            .iter()
            .find(|leaf| leaf["by"]["user"] == "alice@demo.example")
            .unwrap();
        let id = subject_id("http://127.0.0.1:7001", "d7c1a9e0-alice");
        assert_eq!(alice["by"]["id"], id.as_str());
    }

    #[test]
    fn ids_are_unique_and_tell_the_time() {
        let (_folder, _, leaves) = history();
        let begins = |leaf: &&Value| leaf["pair"].is_null() && leaf["kind"] != "checkpoint";
        let ids: HashSet<&str> = leaves
            .iter()
            .filter(begins)
            .filter_map(|leaf| leaf["id"].as_str())
            .collect();
        assert_eq!(ids.len(), leaves.iter().filter(begins).count());
        assert!(ids.iter().all(|id| id.as_bytes()[14] == b'7'));
    }

    #[test]
    fn a_ledger_that_is_there_is_left_alone() {
        let (folder, _, leaves) = history();
        let dir = folder.path().join("ledger");
        let again = write(&dir, "http://127.0.0.1:7001", Timestamp::from_unix_seconds(NOW)).unwrap();
        assert_eq!(again, None);
        assert_eq!(
            ledger::Reader::open(&dir).unwrap().records_from(0).count(),
            leaves.len()
        );
    }
}
