//! Whom a name means. Never a guess: a name of several subjects, also of one user name that two providers vouch for, is refused with all of them and
//! who vouches for each; and an unknown one with what is like it.
//!
//! To lock somebody out has to be quick and counts by user name: there it is somebody with a session here, else somebody whose calls stand in the ledger
//! ([`one`]). What is erased, or held, is one subject's: there each subject of that name counts, with a session or without ([`one_of_all`]).

use http::StatusCode;
use model::erasure;
use model::lock::Lock;
use model::spiffe::SpiffeId;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use search::{Page, Query, Scope, Stopped, View, Who};
use serde_json::json;
use state::Identity;

use super::super::Api;
use super::super::asker::Asker;
use super::super::read::AuditAct;
use super::super::records::{Wanted, count, run};
use super::stored;
use crate::answer::Refused;

/// Characters of a name.
const LONGEST: usize = 256;
/// Newest acts that are looked at for a name.
const ACTS: usize = 500;
/// Subjects that are told apart for one name: those that have it, and those that are only found by it.
const SUBJECTS: usize = 20;

/// Somebody who can be locked out, or whose data can be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Person {
    id: SubjectId,
    kind: SubjectKind,
    user: String,
    email: Option<String>,
    /// Who vouches.
    issuer: String,
}

impl Person {
    pub(super) fn locked(&self, until: Timestamp, why: String, by: String, at: Timestamp) -> Lock {
        Lock {
            subject: self.id.clone(),
            kind: self.kind,
            user: self.user.clone(),
            email: self.email.clone(),
            until,
            why,
            by,
            at,
        }
    }

    /// All that is sealed of them.
    pub(in crate::api) fn scope(&self) -> erasure::Scope {
        erasure::Scope {
            subject: self.id.clone(),
            kind: self.kind,
            user: self.user.clone(),
            email: self.email.clone(),
            classes: Vec::new(),
            recording: None,
            from: None,
            to: None,
        }
    }

    /// Whether a lock on it would be one on the asker.
    pub(super) fn is(&self, asker: &Asker) -> bool {
        let session = &asker.session;
        self.id == session.subject_id || (self.kind == SubjectKind::Person && self.user == session.identity.username)
    }

    fn of_record(who: &Who) -> Option<Self> {
        let kind = match who.kind.as_str() {
            "person" => SubjectKind::Person,
            "serviceAccount" => SubjectKind::ServiceAccount,
            "workload" => SubjectKind::Workload,
            "public" => SubjectKind::Public,
            _ => return None,
        };
        Some(Self {
            id: SubjectId::parse(&who.id)?,
            kind,
            user: who.user.clone(),
            email: who.email.clone(),
            issuer: who.iss.clone(),
        })
    }

    /// One of whom nothing is known but that something is sealed under keys of theirs.
    fn of_keys(id: SubjectId) -> Self {
        Self {
            kind: SubjectKind::Person,
            user: id.to_string(),
            email: None,
            issuer: "nobody that is known here".to_owned(),
            id,
        }
    }

    /// Whether there is a session to end, or a credential to refuse. Parts of a cluster, which an observed log has as workloads, too, do
    /// not come to the gateway.
    fn can_be_locked(&self) -> bool {
        match self.kind {
            SubjectKind::Person | SubjectKind::ServiceAccount => true,
            SubjectKind::Workload => SpiffeId::parse(&self.user).is_ok(),
            SubjectKind::Public => false,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        let is_address = |email: &String| email.eq_ignore_ascii_case(name);
        self.user == name || self.id.as_str() == name || self.email.as_ref().is_some_and(is_address)
    }
}

/// The one whom `who` means; `act` says what for, where records are looked through.
pub(in crate::api) async fn one(api: &Api, asker: &Asker, who: &str, act: AuditAct) -> Result<Person, Refused> {
    let who = name(who)?;
    let mut found = in_sessions(api, who).await?;
    if found.is_empty() {
        let page = in_records(api, asker, who, &[]).await?;
        let said = format!("user:\"{who}\"");
        api.record(asker.reads(api, act, &said, count(page.rows.len()))).await?;
        found = people(&page)
            .filter(|one| one.is_called(who) && one.can_be_locked())
            .collect();
        if found.is_empty() {
            return Err(unknown(who, &page));
        }
    }
    chosen(who, found)
}

/// The same, where another one of that name must not be passed over: sessions end, and who comes with a ServiceAccount's token, a provider's own or a
/// certificate has none. So the records are looked through for each further subject, too; where not all of them could be read, it takes a subject id.
pub(in crate::api) async fn one_of_all(api: &Api, asker: &Asker, who: &str, act: AuditAct) -> Result<Person, Refused> {
    let who = name(who)?;
    let (id, mut found) = (SubjectId::parse(who), in_sessions(api, who).await?);
    if id.is_some() && !found.is_empty() {
        return chosen(who, found);
    }
    let (page, rows) = everywhere(api, asker, (who, id.is_some()), &mut found).await?;
    let said = looked_for(api, who, (&found, id.as_ref())).await?;
    api.record(asker.reads(api, act, &said, rows)).await?;
    let is_all = page.stopped == Stopped::Complete && page.trouble.is_none();
    match (found.is_empty(), id) {
        (false, None) if !is_all => Err(not_all(who, &found)),
        (false, _) => chosen(who, found),
        (true, Some(id)) if is_all => with_keys(api, who, id, &page).await,
        (true, _) => Err(unknown(who, &page)),
    }
}

/// Adds those in the records; gives what was read last, and how many acts in all. An id is one subject's, so that the first one of it is enough.
async fn everywhere(
    api: &Api,
    asker: &Asker,
    (who, is_id): (&str, bool),
    found: &mut Vec<Person>,
) -> Result<(Page, u64), Refused> {
    let (mut apart, mut rows) = (Vec::<SubjectId>::new(), 0);
    loop {
        let page = in_records(api, asker, who, &apart).await?;
        rows += count(page.rows.len());
        let known = apart.len();
        for person in people(&page) {
            if !apart.contains(&person.id) {
                apart.push(person.id.clone());
                let is_new = found.iter().all(|known| known.id != person.id);
                found.extend((is_new && person.is_called(who)).then_some(person));
            }
        }
        let is_found = is_id && !found.is_empty();
        if is_found || apart.len() == known || apart.len() > SUBJECTS {
            return Ok((page, rows));
        }
    }
}

/// What the record of the looking says. It is sealed under the key of whoever looks, and stays when that of the person goes: where names are sealed it says the
/// pseudonym, which leads to nobody then.
async fn looked_for(api: &Api, who: &str, (found, id): (&[Person], Option<&SubjectId>)) -> Result<String, Refused> {
    let ids: Vec<SubjectId> = found.iter().map(|one| &one.id).chain(id).cloned().collect();
    let Some(mut called) = pseudonyms(api, ids).await? else {
        return Ok(format!("user:\"{who}\""));
    };
    called.dedup();
    Ok(match called.as_slice() {
        [] => "somebody who is not known here".to_owned(),
        [one] => format!("user:\"{one}\""),
        // Side by side, the pseudonym of one who stays would say the name of another who is erased.
        _ => "a name that several have".to_owned(),
    })
}

/// For a sentence in a record of somebody else's: the pseudonym where names are sealed, else the user name and the id.
pub(in crate::api) async fn called(api: &Api, of: &erasure::Scope) -> Result<String, Refused> {
    Ok(match pseudonyms(api, vec![of.subject.clone()]).await? {
        Some(called) => called
            .first()
            .map_or_else(|| "somebody".to_owned(), ToString::to_string),
        None => format!("{} ({})", of.user, of.subject),
    })
}

/// Under which names those stand in records that have one; `None` where names are in the clear.
async fn pseudonyms(api: &Api, ids: Vec<SubjectId>) -> Result<Option<Vec<SubjectId>>, Refused> {
    if !api.parts.erases.seals_names() {
        return Ok(None);
    }
    let called = stored(api, move |store| {
        let mut called = Vec::new();
        for id in &ids {
            called.extend(store.leaving_pseudonym(id)?);
        }
        Ok(called)
    });
    called.await.map(Some)
}

/// One of whom no record is here any more, and something that is sealed, or its key, still is.
async fn with_keys(api: &Api, who: &str, id: SubjectId, page: &Page) -> Result<Person, Refused> {
    let subject = id.clone();
    let keys = stored(api, move |store| store.part_keys_of(&subject)).await?;
    if keys.is_empty() {
        return Err(unknown(who, page));
    }
    Ok(Person::of_keys(id))
}

async fn in_sessions(api: &Api, who: &str) -> Result<Vec<Person>, Refused> {
    let wanted = who.to_owned();
    let found = stored(api, move |store| store.people(&wanted)).await?;
    let person = |(id, identity): (SubjectId, Identity)| Person {
        id,
        kind: SubjectKind::Person,
        user: identity.username,
        email: identity.email,
        issuer: identity.issuer,
    };
    Ok(found.into_iter().map(person).collect())
}

fn people(page: &Page) -> impl Iterator<Item = Person> {
    let acts = page.rows.iter().filter_map(|row| row.who.as_ref());
    acts.filter_map(Person::of_record)
}

/// `found` is not empty. Of several under one subject id the newest counts: the same subject under an older name. Two subjects of one
/// user name are two: they may be people of two providers, and each has data of their own.
fn chosen(who: &str, found: Vec<Person>) -> Result<Person, Refused> {
    let mut different: Vec<Person> = Vec::new();
    for one in found {
        if !different.iter().any(|known| known.id == one.id) {
            different.push(one);
        }
    }
    match <[Person; 1]>::try_from(different) {
        Ok([only]) => Ok(only),
        Err(several) => {
            let each = |one: &Person| (one.user.clone(), one.id.to_string(), format!("of {}", one.issuer));
            Err(ambiguous(who, &several.iter().map(each).collect::<Vec<_>>()))
        }
    }
}

/// What those did that this name finds, apart from these. The caller records it.
async fn in_records(api: &Api, asker: &Asker, who: &str, apart: &[SubjectId]) -> Result<Page, Refused> {
    let apart: String = apart.iter().map(|id| format!(" -user:\"{id}\"")).collect();
    let query = Query::parse(&format!("user:\"{who}\"{apart}"));
    let wanted = Wanted {
        query: query.map_err(|error| Refused::request(error.to_string()))?,
        view: View::All,
        limit: ACTS,
        after: None,
    };
    run(api, asker, Scope::All, wanted).await
}

/// One line that can be looked for.
fn name(who: &str) -> Result<&str, Refused> {
    let who = who.trim();
    let is_plain = |character: char| !character.is_control() && character != '"';
    if who.is_empty() || who.chars().count() > LONGEST || !who.chars().all(is_plain) {
        return Err(Refused::request(format!(
            "`who` is a Kubernetes user name, an e-mail address or a subject id, of at most {LONGEST} characters and without quotes"
        )));
    }
    Ok(who)
}

fn unknown(who: &str, page: &Page) -> Refused {
    let mut why = format!(
        "nobody with the user name, e-mail address or subject id `{who}` has a session here or stands in the records"
    );
    if page.stopped == Stopped::Budget {
        why.push_str(" that could be read in the time there is");
    }
    let alike = page.nearest.iter().flat_map(|nearest| &nearest.candidates);
    let alike: Vec<&str> = alike.map(String::as_str).collect();
    if !alike.is_empty() {
        why.push_str(&format!("; like it are {}", alike.join(", ")));
    }
    Refused::new(StatusCode::NOT_FOUND, "no_such_user", why)
}

/// There may be others of that name.
fn not_all(who: &str, found: &[Person]) -> Refused {
    let told: Vec<String> = found
        .iter()
        .map(|one| format!("{} of {}: {}", one.user, one.issuer, one.id))
        .collect();
    let mut refused = Refused::new(
        StatusCode::CONFLICT,
        "not_all_read",
        format!(
            "`{who}` was found ({}), and the records could not all be read for others of that name; name the one you mean by the subject id",
            told.join("; ")
        ),
    );
    let ids: Vec<&str> = found.iter().map(|one| one.id.as_str()).collect();
    refused.more = Some(("subjects", json!(ids)));
    refused
}

fn ambiguous(who: &str, candidates: &[(String, String, String)]) -> Refused {
    let told: Vec<String> = candidates
        .iter()
        .map(|(user, id, about)| format!("{user} ({about}): {id}"))
        .collect();
    let mut refused = Refused::new(
        StatusCode::CONFLICT,
        "ambiguous",
        format!(
            "`{who}` may be any of {}; name one by the subject id behind it",
            told.join("; ")
        ),
    );
    let ids: Vec<&str> = candidates.iter().map(|(_, id, _)| id.as_str()).collect();
    refused.more = Some(("subjects", json!(ids)));
    refused
}

/// The locks on whoever has this name, and all others that count for the same user name: with one of them left the person
/// would stay out.
pub(super) fn locked(locks: &[Lock], who: &str) -> Result<Vec<Lock>, Refused> {
    let who = name(who)?;
    let is_address = |email: &String| email.eq_ignore_ascii_case(who);
    let is_meant =
        |lock: &&Lock| lock.user == who || lock.subject.as_str() == who || lock.email.as_ref().is_some_and(is_address);
    let meant: Vec<&Lock> = locks.iter().filter(is_meant).collect();
    let Some(first) = meant.first() else {
        let why = format!("nobody with the user name, e-mail address or subject id `{who}` is locked");
        return Err(Refused::new(StatusCode::NOT_FOUND, "not_locked", why));
    };
    let same = |one: &Lock, other: &Lock| {
        one.subject == other.subject || (one.is_by_name() && other.is_by_name() && one.user == other.user)
    };
    if meant.iter().any(|lock| !same(lock, first)) {
        let each = |lock: &&Lock| {
            (
                lock.user.clone(),
                lock.subject.to_string(),
                format!("locked by {}", lock.by),
            )
        };
        return Err(ambiguous(who, &meant.iter().map(each).collect::<Vec<_>>()));
    }
    Ok(locks.iter().filter(|lock| same(lock, first)).cloned().collect())
}
