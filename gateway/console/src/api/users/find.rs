//! Whom a name means: somebody with a session here, else somebody whose calls stand in the ledger. Never a guess: a name of
//! several subjects, also of one user name that two providers vouch for, is refused with all of them and who vouches for each; and an
//! unknown one with what is like it.

use http::StatusCode;
use model::erasure;
use model::lock::Lock;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use search::{Page, Query, Scope, Stopped, View, Who};
use serde_json::json;

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

    fn is_called(&self, name: &str) -> bool {
        let is_address = |email: &String| email.eq_ignore_ascii_case(name);
        self.user == name || self.id.as_str() == name || self.email.as_ref().is_some_and(is_address)
    }
}

/// The one whom `who` means; `act` says what for, where records are looked through.
pub(in crate::api) async fn one(api: &Api, asker: &Asker, who: &str, act: AuditAct) -> Result<Person, Refused> {
    let who = name(who)?;
    let wanted = who.to_owned();
    let found = stored(api, move |store| store.people(&wanted)).await?;
    let mut found: Vec<Person> = found
        .into_iter()
        .map(|(id, identity)| Person {
            id,
            kind: SubjectKind::Person,
            user: identity.username,
            email: identity.email,
            issuer: identity.issuer,
        })
        .collect();
    if found.is_empty() {
        let page = in_records(api, asker, who, act).await?;
        let acts = page.rows.iter().filter_map(|row| row.who.as_ref());
        found = acts
            .filter_map(Person::of_record)
            .filter(|one| one.is_called(who))
            .collect();
        if found.is_empty() {
            return Err(unknown(who, &page));
        }
    }
    chosen(who, found)
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

async fn in_records(api: &Api, asker: &Asker, who: &str, act: AuditAct) -> Result<Page, Refused> {
    let said = format!("user:\"{who}\"");
    let query = Query::parse(&said).map_err(|error| Refused::request(error.to_string()))?;
    let wanted = Wanted {
        query,
        view: View::All,
        limit: ACTS,
        after: None,
    };
    let page = run(api, asker, Scope::All, wanted).await?;
    api.record(asker.reads(api, act, &said, count(page.rows.len()))).await?;
    Ok(page)
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
