//! Erasing what is sealed: members of an audit group ask for it, and it is done when a second human among them agrees.
//!
//! - `POST /api/v1/erasures {"who"|"recording": …, "classes": […], "from": …, "to": …, "reason": …}` → `{id, of, keys, until}`
//! - `POST /api/v1/erasures/{id}/agree` → `{request, record, of, keys, recordings}`
//! - `POST /api/v1/erasures/{id}/withdraw` → `{withdrawn}`
//! - `GET /api/v1/erasures` → `{erasures: […]}`, newest first
//! - holds: see `holds.rs`; new keys: see `rotate.rs`
//!
//! Invariants:
//! - Two different humans, neither of them the one whose data go ([`Actor::is_another_than`], [`Actor::may_decide`]), nor one who acted as
//!   the account whose data go ([`Actor::may_decide_about_acts_of`]); both in an audit group when they say so, and whoever asked is not
//!   locked out since.
//! - Nothing that a hold covers goes, and no hold ends by the word of whoever set it or of the one it is on. Holds and agreements are
//!   looked at and written one after the other.
//! - The record that names the keys is durable before the first of them is destroyed; before it is written they are out of use.
//! - A refusal to agree is recorded, too.

pub(super) mod holds;
pub(super) mod rotate;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::StatusCode;
use model::erasure::{Actor, Erased, Hold, RECORDINGS, Request, Scope as Of, recording_class, session_of};
use model::live::LiveSession;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use search::Scope;
use serde::Deserialize;
use serde_json::json;
use state::{PartKeyName, SessionId, StateError, Store};

use super::Api;
use super::asker::Asker;
use super::read::AuditAct;
use super::records::count;
use super::users::find;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::reason::readable;
use crate::record::{NotRecorded, Peer, Who};
use crate::whole::whole;

/// For how long somebody can agree to what was asked.
const OPEN_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Keys that one record names: it has 16 KiB.
const KEYS_IN_RECORD: usize = 100;
/// Classes that one request names, and characters of each.
const MOST_CLASSES: usize = 16;
const LONGEST_CLASS: usize = 32;

/// A step that is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErasureAct {
    /// Somebody asks.
    Asked(Request),
    /// Nobody asks any more.
    Withdrawn(Request),
    /// It is not done.
    Refused {
        /// What was asked.
        request: Request,
        /// Why it is not done.
        why: String,
        /// The hold that forbids it.
        hold: Option<String>,
    },
    /// These keys go.
    Erased {
        /// What was asked.
        request: Request,
        /// Who agreed.
        agreed: Actor,
        /// The keys: name and class.
        keys: Vec<(String, String)>,
        /// How many go besides, by records that follow.
        more: u64,
    },
    /// A hold begins.
    Held(Hold),
    /// A hold ends.
    Released {
        /// Which.
        hold: Hold,
        /// Why.
        why: String,
    },
    /// A hold does not end.
    NotReleased {
        /// Which.
        hold: Hold,
        /// Why it does not.
        why: String,
    },
}

impl ErasureAct {
    /// The sentence for the record's `note`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Asked(request) => format!("asked to erase {}: {}", request.of.in_words(), request.why),
            Self::Withdrawn(request) => format!(
                "withdrew the request {} of {} to erase {}",
                request.id,
                request.asked.user,
                request.of.in_words()
            ),
            Self::Refused { request, why, .. } => {
                format!("was refused to erase {} ({}): {why}", request.of.in_words(), request.id)
            }
            Self::Erased {
                request, keys, more, ..
            } => {
                let of = if *more > 0 {
                    format!(" of {}", *more + count(keys.len()))
                } else {
                    String::new()
                };
                format!(
                    "erased {} as {} asked: {}{of} keys destroyed: {}",
                    request.of.in_words(),
                    request.asked.user,
                    keys.len(),
                    request.why
                )
            }
            Self::Held(hold) => format!("holds {}: {}", hold.of.in_words(), hold.why),
            Self::Released { hold, why } => {
                format!("released the hold {} on {}: {why}", hold.id, hold.of.in_words())
            }
            Self::NotReleased { hold, why } => {
                format!(
                    "was refused to release the hold {} on {}: {why}",
                    hold.id,
                    hold.of.in_words()
                )
            }
        }
    }
}

/// One of the record kinds `erasure` and `hold`.
#[derive(Clone, Debug)]
pub struct ErasureEvent {
    /// What.
    pub act: ErasureAct,
    /// When.
    pub at: Timestamp,
    /// Under which sign-in.
    pub session: SessionId,
    /// Who.
    pub who: Who,
    /// From where.
    pub peer: Option<Peer>,
    /// With which program.
    pub agent: Option<String>,
}

/// What erasing needs of the rest of the gateway.
pub trait Erases: Send + Sync {
    /// A new id for a record.
    fn id(&self) -> String;

    /// Writes a step down under this id; resolves when it is durable.
    fn record(&self, id: &str, event: ErasureEvent) -> BoxFuture<'_, Result<(), NotRecorded>>;

    /// How many records are durable.
    fn records(&self) -> u64;

    /// Whether records name people by pseudonyms.
    fn seals_names(&self) -> bool;

    /// Keys were taken out of use: nothing is sealed with one that is still in memory.
    fn forget_keys(&self);

    /// The same, of this subject, so that what is sealed under them can be erased: nothing of it is remembered that would be sealed anew. `take` takes them out of
    /// use; where names are sealed no record is sealed from then on until all is forgotten, or it could have the pseudonym of before and a key of since. Calls
    /// `take` once. Blocking.
    fn forget_what_passed_and(&self, subject: &SubjectId, take: &mut dyn FnMut());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    recording: Option<String>,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    from: Option<Timestamp>,
    #[serde(default)]
    to: Option<Timestamp>,
    reason: String,
}

/// Asks for an erasure.
pub(super) async fn ask(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = readable(&asked.reason)?;
    let of = scope(&api, &asker, &asked).await?;
    let now = api.now();
    let request = Request {
        id: api.parts.erases.id(),
        of,
        asked: actor(&asker),
        why,
        at: now,
        until: now.plus(OPEN_FOR),
    };
    may_decide(&api, &request.asked, &request.of)
        .await?
        .map_err(|why| conflict("yourself", why))?;
    whole(async move { begin(&api, &asker, request).await }).await
}

/// The record, then the request.
async fn begin(api: &Api, asker: &Asker, request: Request) -> Result<Response, Refused> {
    let _alone = api.erasing.lock().await;
    let keys = there(api, &request).await?;
    is_alone(api, &request).await?;
    free(api, asker, &request, &keys).await?;
    let id = request.id.clone();
    stored(api, move |store| store.has_room_for_erasure(&id)).await?;
    note(api, asker, &request.id, ErasureAct::Asked(request.clone())).await?;
    let (id, of, until) = (request.id.clone(), request.of.clone(), request.until);
    let asked = request.clone();
    out_of_use(api, &of.subject, move |store| store.ask_erasure(&asked)).await?;
    let through = stored(api, move |store| match request.of.kind {
        SubjectKind::Person if request.of.recording.is_none() => store.acted_through(&request.of.user),
        _ => Ok(Vec::new()),
    })
    .await?;
    let through: Vec<_> = through
        .into_iter()
        .map(|(subject, user)| json!({"subject": subject, "user": user}))
        .collect();
    Ok(Json(json!({"id": id, "of": of, "keys": keys.len(), "until": until, "through": through})).into_response())
}

/// What is asked for and not done, the newest first.
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let erasures = stored(&api, Store::erasures).await?;
    api.record(asker.reads(&api, AuditAct::ListedErasures, "", count(erasures.len())))
        .await?;
    Ok(Json(json!({"erasures": erasures})).into_response())
}

/// Nobody asks for it any more.
pub(super) async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    whole(async move {
        let _alone = api.erasing.lock().await;
        let request = one(&api, &id).await?;
        has_not_begun(&api, &id).await?;
        note(&api, &asker, &api.parts.erases.id(), ErasureAct::Withdrawn(request)).await?;
        stored(&api, move |store| store.forget_erasure(&id)).await?;
        Ok(Json(json!({"withdrawn": true})).into_response())
    })
    .await
}

/// Its record may stand already: to forget the request would leave the keys that the ledger calls erased.
async fn has_not_begun(api: &Api, id: &str) -> Result<(), Refused> {
    let asked = id.to_owned();
    if !stored(api, move |store| store.has_begun(&asked)).await? {
        return Ok(());
    }
    Err(conflict(
        "begun",
        format!(
            "the erasure `{id}` has begun, and the ledger may say already that it was done: agree once more (`gatescribe ledger erase --agree {id}`), or start the \
             gateway again, which finishes it, or has it open again where no record says so"
        ),
    ))
}

/// A second human agrees: it is done.
pub(super) async fn agree(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    whole(async move { carry_out(&api, &asker, &id).await }).await
}

async fn carry_out(api: &Api, asker: &Asker, id: &str) -> Result<Response, Refused> {
    let _alone = api.erasing.lock().await;
    let request = one(api, id).await?;
    let agreed = actor(asker);
    may_agree(api, asker, &request, &agreed).await?;
    let keys = there(api, &request).await?;
    free(api, asker, &request, &keys).await?;
    quiet(api, &request, &keys)?;
    // Whatever breaks off from here on.
    let _forgets = ForgetsKeys(api);
    let (begun, records, now) = (request.clone(), api.parts.erases.records(), api.now());
    let begin = move |store: &Store| store.begin_erasure(&begun, records, now);
    let keys = out_of_use(api, &request.of.subject, begin).await?;
    let mut record = String::new();
    let mut left = keys.len();
    for some in keys.chunks(KEYS_IN_RECORD) {
        let gone = keys.len() - left;
        left -= some.len();
        let done = destroy(api, asker, (&request, &agreed), some, left).await;
        record = done.map_err(|broke| broke.behind([gone, some.len(), left], id))?;
    }
    let recordings = keys.iter().filter(|key| session_of(&key.class).is_some()).count();
    let told = json!({"request": request.id, "record": record, "of": request.of, "keys": keys.len(), "recordings": recordings});
    Ok(Json(told).into_response())
}

/// What opens names may have been looked up while it was done, also where it broke off.
struct ForgetsKeys<'a>(&'a Api);

impl Drop for ForgetsKeys<'_> {
    fn drop(&mut self) {
        self.0.parts.erases.forget_keys();
    }
}

/// Why keys are not known to be gone.
enum Broke {
    /// No record says that they are, and they are there.
    NotRecorded(Refused),
    /// A record says that they are.
    NotDestroyed,
}

impl Broke {
    /// For whoever agreed: so many keys are destroyed, these are not known to be, and of those left nothing was said.
    fn behind(self, [gone, these, left]: [usize; 3], id: &str) -> Refused {
        let all = gone + these + left;
        match self {
            Self::NotRecorded(refused) if gone == 0 => refused,
            Self::NotRecorded(_) => Refused::unavailable(format!(
                "{gone} of {all} keys are destroyed, and the others are not: their end could not be recorded. Agree once more (`gatescribe ledger erase --agree {id}`)"
            )),
            Self::NotDestroyed => Refused::unavailable(format!(
                "of {all} keys {gone} are destroyed, the end of {these} is recorded and not all of their bytes are known to be gone, and {left} are there: agree once \
                 more if it is still asked for (`gatescribe ledger erase --list`), or start the gateway again, which finishes what is recorded"
            )),
        }
    }
}

/// The record that names these keys, then their end. `left` others come behind them.
async fn destroy(
    api: &Api,
    asker: &Asker,
    (request, agreed): (&Request, &Actor),
    keys: &[PartKeyName],
    left: usize,
) -> Result<String, Broke> {
    let keys: Vec<(String, String)> = keys.iter().map(|key| (key.id.clone(), key.class.clone())).collect();
    let (record, at) = (api.parts.erases.id(), api.now());
    let act = ErasureAct::Erased {
        request: request.clone(),
        agreed: agreed.clone(),
        keys: keys.clone(),
        more: count(left),
    };
    note(api, asker, &record, act).await.map_err(Broke::NotRecorded)?;
    let said = Erased {
        record: record.clone(),
        at,
        asked: request.asked.user.clone(),
        agreed: agreed.user.clone(),
    };
    let (subject, is_over) = (request.of.subject.clone(), (left == 0).then(|| request.id.clone()));
    let done = stored(api, move |store| {
        store.erased(&subject, &keys, &said, is_over.as_deref())
    })
    .await;
    done.map(|_| record).map_err(|_| Broke::NotDestroyed)
}

/// The request that somebody means.
async fn one(api: &Api, id: &str) -> Result<Request, Refused> {
    let open = stored(api, Store::erasures).await?;
    open.into_iter().find(|request| request.id == id).ok_or_else(|| {
        let why = format!("nobody asks for an erasure `{id}`: it was done, withdrawn, or never asked for");
        Refused::new(StatusCode::NOT_FOUND, "no_such_request", why)
    })
}

/// A second human, in time, and the first one still counts.
async fn may_agree(api: &Api, asker: &Asker, request: &Request, agreed: &Actor) -> Result<(), Refused> {
    let now = api.now();
    // The first one, too, may have acted as that account since.
    let (first, second) = (
        may_decide(api, &request.asked, &request.of).await?,
        may_decide(api, agreed, &request.of).await?,
    );
    let judged = agreed
        .is_another_than(&request.asked)
        .and(second)
        .map_err(|why| ("not_another", why.to_owned()))
        .and(first.map_err(|_| {
            let why = "whoever asked acted as that account, so that those are their own data, too: ask anew";
            ("not_another", why.to_owned())
        }));
    let id = request.id.clone();
    // Somebody agreed in time, and its record may stand already: it is finished, however late.
    let has_begun = stored(api, move |store| store.has_begun(&id)).await?;
    let judged = judged.and_then(|()| {
        if now < request.until || has_begun {
            return Ok(());
        }
        let why = format!("the request has expired at {}: ask anew", request.until);
        Err(("expired", why))
    });
    let judged = match judged {
        Ok(()) => is_locked_out(api, &request.asked).await?,
        refused => refused,
    };
    let Err((code, why)) = judged else { return Ok(()) };
    refuse(api, asker, request, &why, None).await?;
    Err(conflict(code, why))
}

/// Whether they decide about nothing of their own: neither their data, nor those of an account as which they acted.
async fn may_decide(api: &Api, actor: &Actor, of: &Of) -> Result<Result<(), &'static str>, Refused> {
    let subject = of.subject.clone();
    let origins = stored(api, move |store| store.origins_of(&subject)).await?;
    Ok(actor
        .may_decide(of)
        .and_then(|()| actor.may_decide_about_acts_of(&origins)))
}

async fn is_locked_out(api: &Api, asked: &Actor) -> Result<Result<(), (&'static str, String)>, Refused> {
    let now = api.now();
    let locks = stored(api, move |store| store.locks(now)).await?;
    let locked = locks
        .into_iter()
        .find(|lock| lock.subject == asked.subject || (lock.is_by_name() && lock.user == asked.user));
    Ok(match locked {
        Some(lock) => Err((
            "locked",
            format!("whoever asked does not count any more: {}", lock.in_words()),
        )),
        None => Ok(()),
    })
}

/// The keys that are asked for; there is one at least.
async fn there(api: &Api, request: &Request) -> Result<Vec<PartKeyName>, Refused> {
    let (asked, subject) = (request.clone(), request.of.subject.clone());
    let (keys, all) = stored(api, move |store| {
        Ok((store.asked_for(&asked)?, store.part_keys_of(&subject)?))
    })
    .await?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let mut classes: Vec<&str> = all
        .iter()
        .map(|key| session_of(&key.class).map_or(key.class.as_str(), |_| RECORDINGS))
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let has = if classes.is_empty() {
        "nothing of theirs is sealed under a key that is here".to_owned()
    } else {
        format!("of theirs there is {}", classes.join(", "))
    };
    let why = format!("there is nothing to erase of {}: {has}", request.of.in_words());
    Err(Refused::new(StatusCode::NOT_FOUND, "nothing_sealed", why))
}

/// No hold is in the way.
async fn free(api: &Api, asker: &Asker, request: &Request, keys: &[PartKeyName]) -> Result<(), Refused> {
    let subject = request.of.subject.clone();
    let (holds, origins) = stored(api, move |store| Ok((store.holds()?, store.origins_of(&subject)?))).await?;
    let covers = |hold: &&Hold| {
        let mut keys = keys.iter();
        hold.is_on_acts_of(&origins) || keys.any(|key| hold.covers(&request.of, &key.class, key.made))
    };
    let Some(hold) = holds.iter().find(covers) else {
        return Ok(());
    };
    let why = format!("the legal hold {} of {} forbids it: {}", hold.id, hold.by, hold.why);
    refuse(api, asker, request, &why, Some(hold.id.clone())).await?;
    let mut refused = conflict("held", why);
    refused.more = Some(("hold", json!(hold.id)));
    Err(refused)
}

/// Where names are sealed, an erasure of all that is sealed of somebody is recorded under the pseudonym that it ends. Another one beside it would name keys of
/// before and of since, or be asked for under the one pseudonym and ended under the other: either tells for ever that both are of one person.
async fn is_alone(api: &Api, request: &Request) -> Result<(), Refused> {
    if !api.parts.erases.seals_names() {
        return Ok(());
    }
    let open = stored(api, Store::erasures).await?;
    let is_beside = |one: &&Request| one.of.subject == request.of.subject && (one.of.is_all() || request.of.is_all());
    let Some(first) = open.iter().rev().find(is_beside) else {
        return Ok(());
    };
    let (id, of) = (&first.id, &first.of);
    let what = match &of.recording {
        _ if of.is_all() => "all that is sealed of them already, and their name with it".to_owned(),
        Some(session) => format!("the recording of session {session} of theirs already"),
        None => format!("{} of them already", of.classes.join(", ")),
    };
    let mut refused = conflict(
        "already_asked",
        format!(
            "{id} asks for {what}: agree to it or withdraw it first (`gatescribe ledger erase --list`). Two at once would tell that what came before and what came \
             since is of one person"
        ),
    );
    refused.more = Some(("request", json!(id)));
    Err(refused)
}

/// No recording whose key is asked for is still being made: its end would be sealed under a key that is no more. By the key and not by the
/// time, since a key is made some time after its session was asked for.
fn quiet(api: &Api, request: &Request, keys: &[PartKeyName]) -> Result<(), Refused> {
    let live = api.parts.sessions.live().into_iter();
    let mut live = live.filter(|one| one.subject == request.of.subject);
    let is_meant = |one: &LiveSession| {
        let class = recording_class(&one.id);
        keys.iter().any(|key| key.class == class)
    };
    match live.find(is_meant) {
        None => Ok(()),
        Some(one) => Err(conflict(
            "still_recorded",
            format!(
                "session {} still goes on and is recorded: end it first, or name recordings that are over",
                one.id
            ),
        )),
    }
}

/// Whose data, and which.
async fn scope(api: &Api, asker: &Asker, asked: &Asked) -> Result<Of, Refused> {
    let Asked {
        who,
        recording,
        classes,
        from,
        to,
        ..
    } = asked;
    let is_class = |name: &String| name.len() <= LONGEST_CLASS && name.bytes().all(|byte| byte.is_ascii_lowercase());
    if classes.len() > MOST_CLASSES || !classes.iter().all(is_class) {
        return Err(Refused::request(
            "`classes` are names of classes, such as `command`, `query` and `recording`",
        ));
    }
    let only_recordings = classes.iter().all(|class| class == RECORDINGS) && !classes.is_empty();
    if (from.is_some() || to.is_some()) && !only_recordings {
        return Err(Refused::request(
            "`from` and `to` are for recordings alone (`classes: [\"recording\"]`): each other class of a person has one key for all times",
        ));
    }
    if recording.is_some() && !(classes.is_empty() && from.is_none() && to.is_none()) {
        return Err(Refused::request("`recording` goes with nothing else but a reason"));
    }
    let mut of = whose(api, asker, (who.as_deref(), recording.as_deref())).await?;
    of.classes.clone_from(classes);
    of.classes.sort_unstable();
    of.classes.dedup();
    (of.from, of.to) = (*from, *to);
    Ok(of)
}

/// The person whom a request or hold names, by a name of theirs or by a recording.
async fn whose(api: &Api, asker: &Asker, named: (Option<&str>, Option<&str>)) -> Result<Of, Refused> {
    match named {
        (Some(who), None) => Ok(find::one_of_all(api, asker, who, AuditAct::LookedForSubject)
            .await?
            .scope()),
        (None, Some(session)) => {
            let class = recording_class(session);
            let keys = stored(api, move |store| store.part_keys_for(&class)).await?;
            let Some(key) = keys.first() else {
                let why = format!("no recording of a session `{session}` has a key here");
                return Err(Refused::new(StatusCode::NOT_FOUND, "nothing_sealed", why));
            };
            let person = find::one_of_all(api, asker, key.subject.as_str(), AuditAct::LookedForSubject).await?;
            Ok(Of {
                recording: Some(session.to_owned()),
                ..person.scope()
            })
        }
        _ => Err(Refused::request(
            "it takes `who` (a user name, e-mail address or subject id) or `recording` (the id of a session)",
        )),
    }
}

fn actor(asker: &Asker) -> Actor {
    let identity = &asker.session.identity;
    Actor {
        subject: asker.session.subject_id.clone(),
        user: identity.username.clone(),
        issuer: identity.issuer.clone(),
        email: identity.email.clone(),
    }
}

async fn auditor(api: &Api, caller: Caller) -> Result<Asker, Refused> {
    let asker = Asker::of(api, caller).await?;
    match asker.scope {
        Scope::All => Ok(asker),
        Scope::Own(_) | Scope::Roles(_) => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only members of the groups in `identity.auditGroups` erase, hold and release, and see what is asked for and held",
        )),
    }
}

async fn refuse(api: &Api, asker: &Asker, request: &Request, why: &str, hold: Option<String>) -> Result<(), Refused> {
    let act = ErasureAct::Refused {
        request: request.clone(),
        why: why.to_owned(),
        hold,
    };
    note(api, asker, &api.parts.erases.id(), act).await
}

async fn note(api: &Api, asker: &Asker, id: &str, act: ErasureAct) -> Result<(), Refused> {
    let event = asker.erases(api, act);
    api.parts.erases.record(id, event).await.map_err(|error| {
        tracing::error!(error = %error, "a step of an erasure or hold was not recorded");
        Refused::unavailable("it could not be recorded, so nothing was done; try again")
    })
}

async fn stored<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Refused> {
    let store = Arc::clone(&api.parts.store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.map_err(|_| failed("the store's thread broke"))?
        .map_err(|error| match error {
            full @ StateError::Full { .. } => conflict("too_many", full.to_string()),
            error => failed(&error),
        })
}

/// The store takes something of this subject out of use, and it is forgotten in the same moment.
async fn out_of_use<T: Send + 'static>(
    api: &Api,
    subject: &SubjectId,
    work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Refused> {
    let (erases, subject) = (Arc::clone(&api.parts.erases), subject.clone());
    let done = stored(api, move |store| {
        let (mut work, mut done) = (Some(work), None);
        erases.forget_what_passed_and(&subject, &mut || done = work.take().map(|work| work(store)));
        done.transpose()
    });
    done.await?.ok_or_else(|| failed("nothing was taken out of use"))
}

fn failed(error: impl std::fmt::Display) -> Refused {
    tracing::error!(error = %error, "erasures and holds cannot be read or written");
    Refused::unavailable(
        "the gateway's store did not answer; look at what is asked for (GET /api/v1/erasures), then try again",
    )
}

fn conflict(code: &'static str, why: impl Into<String>) -> Refused {
    Refused::new(StatusCode::CONFLICT, code, why)
}

#[cfg(test)]
pub(super) mod tests;
