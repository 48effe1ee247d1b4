//! Sessions: exec, attach, port-forward and what else became something other than HTTP, while they go on and afterwards.
//!
//! - `GET /api/v1/sessions?live=&q=&since=&until=&limit=&after=&after_live=` → `{sessions: […], scope, …}`, those that go on first
//! - `GET /api/v1/sessions?id=` → the same, of those whose id ends so
//! - `GET /api/v1/sessions/{id}` → `{session, rules, words, command?, recording?, scope}`: `rules` as they were recorded, `words` is
//!   one sentence of each, `command` its words, also where nothing was recorded
//! - `GET /api/v1/sessions/{id}/recording?format=frames|asciicast|asciicast-v2|text&follow=` → lines of JSON, see `stream.rs`
//! - `POST /api/v1/sessions/{id}/end {"reason": …}` → `{id, who}`; the person reads who ended it and why
//!
//! Invariants:
//! - One sees and ends one's own sessions, with an audit group everybody's; somebody else's look as if they were not there.
//! - What is shown of a session, and each end, is recorded before it happens; what was recorded as an end is one, also when whoever
//!   asked for it has gone.
//! - A recording is shown as far as it is what the ledger says it is, and where it is not, that is said.
//! - To hold a recording against the ledger takes as long as its file is long: that ends when whoever asked has gone, takes no longer
//!   than `EXAMINE_TIME` for a view and `OPEN_TIME` for a reading, and no search waits for it.

mod ending;
mod item;
mod list;
mod stream;
mod verdict;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::erasure::Erased;
use model::live::LiveSession;
use model::subject::SubjectId;
use recording::{Anchor, Recording};
use search::{Kept, May, Row, Scope, SealedPart, Shown, Sight};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use list::list;
pub(super) use stream::recording;

use super::Api;
use super::asker::Asker;
use super::parts::{self, COMMAND};
use super::read::AuditAct;
use super::records::{in_place, look_up};
use super::why::rule_in_words;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::named;
use crate::reason::readable;
use crate::record::What;
use crate::whole::whole;
use item::Item;
use verdict::Verdict;

/// Sessions under way and recordings, as the composition root knows them.
pub trait Sessions: Send + Sync {
    /// Those that go on now, oldest first.
    fn live(&self) -> Vec<LiveSession>;

    /// One of them.
    fn one(&self, id: &str) -> Option<LiveSession>;

    /// Ends one; the person is told `why`. False when it does not go on any more.
    fn end(&self, id: &str, why: &str) -> bool;

    /// Opens the recording of a session of this subject and verifies it against what the ledger says. Blocks, for as long as `go_on`
    /// allows it, which is asked at each chunk of the file.
    ///
    /// # Errors
    /// There is nothing that could be read, or it was not read to its end.
    fn recording(
        &self,
        subject: &SubjectId,
        session: &str,
        anchors: &[Anchor],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Recording, CannotOpen>;
}

/// Why a recording cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// Its key was destroyed, and a record says so.
    #[error("{}", .0.in_words())]
    Erased(Erased),
    /// The store does not have its key, and no record says that it was erased.
    #[error(
        "{}: restore the state file from a backup, or look whether it is the one that the recording was made with",
        super::parts::NO_KEY
    )]
    NoKey,
    /// The file is not in its place.
    #[error("its file is not there: look in the folder of recordings (`recording.dir`), and restore it from a backup")]
    Missing,
    /// The file is no recording.
    #[error("its file is not readable: {0}")]
    Unreadable(String),
    /// The gateway cannot look now.
    #[error("the gateway cannot look it up: {0}")]
    NotNow(String),
    /// It was not read to its end.
    #[error("its file is so long that it could not be held against the ledger in the time there is")]
    GivenUp,
}

fn may_see(scope: &Scope, subject: &SubjectId) -> bool {
    match scope {
        Scope::All => true,
        Scope::Own(own) => own == subject,
        // What a role shows is looked up in the records, where the place is.
        Scope::Roles(reach) => reach.own == *subject,
    }
}

/// One session, and whether its recording is what the ledger says it is.
pub(super) async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let mut known = Known::find(&api, &asker, &id, AuditAct::ViewedSession, None).await?;
    let live = api.parts.sessions.one(&known.row.id);
    let live = live.filter(|_| known.sight.hides.is_empty());
    let command = if known.sight.may.contains(&May::Details) {
        known.command(&api).await?
    } else {
        None
    };
    let decision = known.row.decision.as_mut();
    let rules = decision.map_or_else(Vec::new, |decision| std::mem::take(&mut decision.rules));
    let kept = match known.row.recording {
        Some(_) if known.sight.may.contains(&May::Recordings) => Some(known.examine(&api, &asker).await),
        Some(_) => {
            let why = format!("it is for audit roles with `may: [{}]`", May::Recordings.name());
            Some(Examined::nothing_but(Verdict::Unknown { why }))
        }
        None => None,
    };
    let scope = asker.scope.name();
    Ok(Json(json!({
        "session": Item::of(known.row, live, api.now()),
        "words": rules.iter().map(rule_in_words).collect::<Vec<_>>(),
        "rules": rules,
        "command": command,
        "recording": kept,
        "note": known.note,
        "scope": scope,
    }))
    .into_response())
}

/// A session that the asker may see, as the ledger knows it.
struct Known {
    row: Row,
    anchors: Vec<Anchor>,
    sealed: Vec<SealedPart>,
    sight: Sight,
    note: Option<String>,
}

/// What is said of a recording beside the session.
#[derive(Debug, Serialize)]
struct Examined {
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<recording::Head>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<recording::Finish>,
}

impl Examined {
    const fn nothing_but(verdict: Verdict) -> Self {
        Self {
            verdict,
            chunks: None,
            head: None,
            finish: None,
        }
    }
}

impl Known {
    /// Finds it and records that the asker looked.
    async fn find(api: &Api, asker: &Asker, id: &str, act: AuditAct, need: Option<May>) -> Result<Self, Refused> {
        let shown = look_up(api, asker, id, act, need).await?;
        if !shown.record.is_session() {
            let why = format!("`{id}` is no session: `{}`", shown.record.act);
            return Err(Refused::new(StatusCode::NOT_FOUND, "no_session", why));
        }
        Ok(Self::of(shown))
    }

    fn of(shown: Shown) -> Self {
        let anchors = anchors(&shown);
        Self {
            row: shown.record,
            anchors,
            sealed: shown.sealed,
            sight: shown.sight,
            note: shown.note,
        }
    }

    /// Whose it is; only of a session with a name in the record.
    fn subject(&self) -> Option<SubjectId> {
        self.row.who.as_ref().and_then(|who| SubjectId::parse(&who.id))
    }

    /// Opens the recording on this thread, which may block.
    fn open(&self, sessions: &dyn Sessions, go_on: &mut dyn FnMut() -> bool) -> Result<Recording, CannotOpen> {
        let subject = self
            .subject()
            .ok_or_else(|| CannotOpen::Unreadable("whose it is does not stand in the record".to_owned()))?;
        sessions.recording(&subject, &self.row.id, &self.anchors, go_on)
    }

    /// The last of a file's first `chunks` chunks that a hash in the ledger covers. Opening compared all of those hashes.
    fn covered(&self, chunks: u64) -> Option<u64> {
        let numbers = self.anchors.iter().map(|anchor| anchor.number);
        numbers.filter(|number| *number < chunks).max()
    }

    /// The words of its command, where its record has them: a list, or why they cannot be told.
    async fn command(&mut self, api: &Api) -> Result<Option<Value>, Refused> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.retain(|part| part.name == COMMAND);
        Ok(parts::opened(api, &self.row, sealed).await?.remove(COMMAND))
    }

    /// What else is known of the session is told also where this cannot be told now.
    async fn examine(&self, api: &Api, asker: &Asker) -> Examined {
        let known = Self {
            row: self.row.clone(),
            anchors: self.anchors.clone(),
            sealed: Vec::new(),
            sight: self.sight.clone(),
            note: self.note.clone(),
        };
        let sessions = Arc::clone(&api.parts.sessions);
        let examined = async {
            let place = api.examinations.take(&asker.session.subject_id)?;
            in_place(place, api.examine_time, move |go_on| known.examined(&*sessions, go_on)).await
        };
        examined.await.unwrap_or_else(|refused: Refused| {
            let why = refused.description;
            Examined::nothing_but(Verdict::Unknown { why })
        })
    }

    fn examined(&self, sessions: &dyn Sessions, go_on: &mut dyn FnMut() -> bool) -> Examined {
        let opened = self.open(sessions, go_on);
        let verdict = Verdict::of(&opened, self);
        let Ok(recording) = opened else {
            return Examined::nothing_but(verdict);
        };
        let (head, finish) = (recording.head(), recording.finish());
        let broken = head.as_ref().err().or(finish.as_ref().err());
        let verdict = broken.map_or(verdict, |error| Verdict::broken(error, self, &recording));
        Examined {
            verdict,
            chunks: Some(recording.survey().root.chunks),
            head: head.ok().flatten(),
            finish: finish.ok().flatten(),
        }
    }
}

/// What the records of a session say of its recording, one for each number of chunks.
fn anchors(shown: &Shown) -> Vec<Anchor> {
    #[derive(Deserialize)]
    struct Says {
        recording: Option<Kept>,
    }
    let said = shown
        .records
        .iter()
        .filter_map(|raw| serde_json::from_str::<Says>(raw.get()).ok());
    let kept = said
        .filter_map(|says| says.recording)
        .chain(shown.record.recording.clone());
    kept.filter_map(|kept| anchor(&kept)).collect()
}

/// None while no chunk is on the disk.
fn anchor(kept: &Kept) -> Option<Anchor> {
    let mut hash = [0; 32];
    let digits = kept.hash.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Anchor::of_root(kept.chunks, hash)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ending {
    reason: String,
}

/// Ends a session. Who did and why is recorded first; the person reads it where the session was.
pub(super) async fn end(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    ending: Result<Json<Ending>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let Json(ending) = ending.map_err(|error| Refused::request(error.body_text()))?;
    let reason = readable(&ending.reason)?;
    let live = api
        .parts
        .sessions
        .one(&id)
        .filter(|one| may_see(&asker.scope, &one.subject));
    let Some(live) = live else {
        let known = Known::find(&api, &asker, &id, AuditAct::ViewedSession, None).await?;
        if api.parts.sessions.one(&known.row.id).is_some() {
            let why = "only members of the groups in `identity.auditGroups` end sessions of others";
            return Err(Refused::new(StatusCode::FORBIDDEN, "forbidden", why));
        }
        return Err(over(&known.row.id));
    };
    whole(async move { cut(&api, &asker, &live, &reason).await }).await
}

/// The record, then the end.
async fn cut(api: &Api, asker: &Asker, live: &LiveSession, reason: &str) -> Result<Response, Refused> {
    let mut event = asker.does(api, What::SessionCut);
    let (id, user, place) = (&live.id, &live.user, place(live));
    event.note = Some(format!("ended session {id} of {user} ({place}): {reason}"));
    let written = api.parts.events.record(event).await.map_err(|error| {
        tracing::error!(error = %error, "the end of a session was not recorded");
        Refused::unavailable("that you end it could not be recorded, so it goes on; try again")
    })?;
    written.into_iter().for_each(named::by);
    let who = &asker.session.identity.username;
    if !api.parts.sessions.end(id, &format!("ended by {who}: {reason}")) {
        return Err(over(id));
    }
    Ok(Json(json!({"id": id, "who": user})).into_response())
}

/// `exec shop/web-0 at prod`, or host and path of a service.
pub(super) fn place(live: &LiveSession) -> String {
    if let Some(service) = &live.service {
        return format!("{}{}", service.host, service.path);
    }
    let LiveSession {
        action,
        namespace,
        name,
        cluster,
        ..
    } = live;
    match namespace.as_str() {
        "" => format!("{action} {name} at {cluster}"),
        namespace => format!("{action} {namespace}/{name} at {cluster}"),
    }
}

fn over(id: &str) -> Refused {
    Refused::new(
        StatusCode::CONFLICT,
        "over",
        format!("session {id} does not go on any more"),
    )
}

#[cfg(test)]
pub(super) mod tests;
