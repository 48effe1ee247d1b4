//! Sessions: exec, attach, port-forward and what else became something other than HTTP, while they go on and afterwards.
//!
//! - `GET /api/v1/sessions?live=&q=&since=&until=&limit=&after=` → `{sessions: […], scope, …}`, those that go on first
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

mod stream;
mod verdict;

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::live::LiveSession;
use model::subject::SubjectId;
use model::time::Timestamp;
use recording::{Anchor, Recording};
use search::{Found, Kept, Outcome, Row, Scope, SealedPart, Shown, View};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use stream::recording;

use super::Api;
use super::asker::Asker;
use super::parameters::Parameters;
use super::parts::{self, COMMAND};
use super::read::AuditAct;
use super::records::{Wanted, blocking, count, look_up, run};
use super::why::rule_in_words;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::reason::readable;
use crate::record::What;
use crate::whole::whole;
use verdict::Verdict;

/// The records that begin a session.
const SESSIONS: &str = "kind:open";
const MOST: u64 = 500;
const USUAL: u64 = 50;

/// Sessions under way and recordings, as the composition root knows them.
pub trait Sessions: Send + Sync {
    /// Those that go on now, oldest first.
    fn live(&self) -> Vec<LiveSession>;

    /// One of them.
    fn one(&self, id: &str) -> Option<LiveSession>;

    /// Ends one; the person is told `why`. False when it does not go on any more.
    fn end(&self, id: &str, why: &str) -> bool;

    /// Opens the recording of a session of this subject and verifies it against what the ledger says. Blocks.
    ///
    /// # Errors
    /// There is nothing that could be read.
    fn recording(&self, subject: &SubjectId, session: &str, anchors: &[Anchor]) -> Result<Recording, CannotOpen>;
}

/// Why a recording cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// The store does not have its key.
    #[error("its key is not in the gateway's store: it was erased, or the store is not the one that it was made with")]
    Erased,
    /// The file is not in its place.
    #[error("its file is not there: look in the folder of recordings (`recording.dir`), and restore it from a backup")]
    Missing,
    /// The file is no recording.
    #[error("its file is not readable: {0}")]
    Unreadable(String),
    /// The gateway cannot look now.
    #[error("the gateway cannot look it up: {0}")]
    NotNow(String),
}

/// A session in an answer.
#[derive(Debug, Serialize)]
struct Item {
    id: String,
    t: Timestamp,
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Whose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stated_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    /// From its request to its end, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_us: Option<u64>,
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    refused: bool,
}

#[derive(Debug, Serialize)]
struct Whose {
    id: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

impl Item {
    fn of_live(live: LiveSession, now: Timestamp) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            t: live.since,
            live: true,
            who: Some(Whose {
                id: live.subject.to_string(),
                user: live.user,
                email: live.email,
            }),
            cluster: some(live.cluster),
            namespace: some(live.namespace),
            resource: some(live.resource),
            name: some(live.name),
            container: live.container,
            node: live.node,
            action: some(live.action),
            stated_reason: live.stated_reason,
            bytes_in: Some(live.bytes_in),
            bytes_out: Some(live.bytes_out),
            took_us: u64::try_from(now.since(live.since).as_micros()).ok(),
            recorded: live.is_recorded,
            recording: None,
            outcome: None,
            refused: false,
            id: live.id,
        }
    }

    fn of_row(row: Row) -> Self {
        Self {
            t: row.t,
            live: false,
            who: row.who.map(|who| Whose {
                id: who.id,
                user: who.user,
                email: who.email,
            }),
            cluster: row.cluster,
            namespace: row.namespace,
            resource: row.resource,
            name: row.name,
            container: row.container,
            node: row.node,
            action: row.action,
            stated_reason: row.decision.and_then(|decision| decision.stated_reason),
            bytes_in: row.passed.map(|passed| passed.bytes_in),
            bytes_out: row.passed.map(|passed| passed.bytes_out),
            took_us: row.outcome.as_ref().and_then(|outcome| outcome.took_us),
            recorded: row.recording.is_some(),
            recording: row.recording,
            outcome: row.outcome,
            refused: row.refused,
            id: row.id,
        }
    }

    /// What the ledger knows, and what is true at this moment where it goes on.
    fn of(row: Row, live: Option<LiveSession>, now: Timestamp) -> Self {
        let Some(live) = live else { return Self::of_row(row) };
        let recording = row.recording.clone();
        Self {
            recording,
            ..Self::of_live(live, now)
        }
    }
}

/// Those that go on, newest first, then those that have ended, newest first.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let parameters = Parameters::read(pairs, &["live", "q", "since", "until", "limit", "after"])?;
    let only_live = parameters.truth("live")?;
    let (said, query) = parameters.query_and(SESSIONS)?;
    let limit = match parameters.number("limit")?.unwrap_or(USUAL) {
        limit @ 1..=MOST => usize::try_from(limit).unwrap_or(1),
        _ => return Err(Refused::request(format!("`limit` takes 1 to {MOST}"))),
    };
    let after = parameters.number("after")?;
    let mut live = live_ones(&api, &asker, &query, parameters.text("q")).await?;
    let going_on = live.len();
    // Those that go on stand on the first page, as far as there is room, and in no row of a later one.
    let mut rest = live.split_off(live.len().min(limit));
    let on_first: HashSet<String> = live.iter().map(|one| one.id.clone()).collect();
    if after.is_some() {
        live.clear();
    }
    let now = api.now();
    let mut answer = json!({"scope": asker.scope.name(), "live": going_on});
    let mut items: Vec<Item> = Vec::new();
    if !only_live {
        let wanted = Wanted {
            query,
            view: View::Sessions,
            limit,
            after,
        };
        let page = run(&api, &asker, asker.scope.clone(), wanted).await?;
        let rows = page.rows.into_iter().filter(|row| !on_first.contains(&row.id));
        let mut still_live = |id: &str| {
            let at = rest.iter().position(|one| one.id == id)?;
            Some(rest.swap_remove(at))
        };
        items = rows
            .map(|row| {
                let live = still_live(&row.id);
                Item::of(row, live, now)
            })
            .collect();
        for (name, value) in [
            ("note", json!(page.note)),
            ("next", json!(page.next)),
            ("stopped", json!(page.stopped)),
            ("range", json!(page.range)),
            ("trouble", json!(page.trouble)),
        ] {
            if !value.is_null()
                && let Some(members) = answer.as_object_mut()
            {
                members.insert(name.to_owned(), value);
            }
        }
    }
    let items: Vec<Item> = live
        .into_iter()
        .map(|one| Item::of_live(one, now))
        .chain(items)
        .collect();
    api.record(asker.reads(&api, AuditAct::ListedSessions, &said, count(items.len())))
        .await?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("sessions".to_owned(), json!(items));
    }
    Ok(Json(answer).into_response())
}

/// Those of the sessions that go on which the asker may see and asks for, newest first.
async fn live_ones(
    api: &Api,
    asker: &Asker,
    query: &search::Query,
    words: Option<&str>,
) -> Result<Vec<LiveSession>, Refused> {
    let (from, until) = query.times(api.now());
    let mut live = api.parts.sessions.live();
    live.retain(|one| may_see(&asker.scope, &one.subject));
    live.retain(|one| from.is_none_or(|from| one.since >= from) && until.is_none_or(|until| one.since < until));
    live.reverse();
    if words.is_none_or(|words| words.trim().is_empty()) {
        return Ok(live);
    }
    // The words are about records, so the records are looked at.
    let (archive, scope, query) = (Arc::clone(&api.parts.archive), asker.scope.clone(), query.clone());
    let matches = blocking(api, asker, move |go_on| {
        let mut found = Vec::new();
        for one in live {
            if !go_on() {
                break;
            }
            if let Found::Yes(shown) = archive.show(&one.id, &scope, go_on)?
                && query.matches(&shown.record)
            {
                found.push(one);
            }
        }
        Ok(found)
    });
    matches.await
}

fn may_see(scope: &Scope, subject: &SubjectId) -> bool {
    match scope {
        Scope::All => true,
        Scope::Own(own) => own == subject,
    }
}

/// One session, and whether its recording is what the ledger says it is.
pub(super) async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let mut known = Known::find(&api, &asker, &id, AuditAct::ViewedSession).await?;
    let live = api.parts.sessions.one(&known.row.id);
    let command = known.command(&api).await?;
    let decision = known.row.decision.as_mut();
    let rules = decision.map_or_else(Vec::new, |decision| std::mem::take(&mut decision.rules));
    let kept = match known.row.recording {
        Some(_) => Some(known.examine(&api, &asker).await?),
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

impl Known {
    /// Finds it and records that the asker looked.
    async fn find(api: &Api, asker: &Asker, id: &str, act: AuditAct) -> Result<Self, Refused> {
        let shown = look_up(api, asker, id, act).await?;
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
            note: shown.note,
        }
    }

    /// Whose it is; only of a session with a name in the record.
    fn subject(&self) -> Option<SubjectId> {
        self.row.who.as_ref().and_then(|who| SubjectId::parse(&who.id))
    }

    /// Opens the recording on this thread, which may block.
    fn open(&self, sessions: &dyn Sessions) -> Result<Recording, CannotOpen> {
        let subject = self
            .subject()
            .ok_or_else(|| CannotOpen::Unreadable("whose it is does not stand in the record".to_owned()))?;
        sessions.recording(&subject, &self.row.id, &self.anchors)
    }

    /// The words of its command, where its record has them: a list, or why they cannot be told.
    async fn command(&mut self, api: &Api) -> Result<Option<Value>, Refused> {
        let mut sealed = std::mem::take(&mut self.sealed);
        sealed.retain(|part| part.name == COMMAND);
        Ok(parts::opened(api, &self.row, sealed).await?.remove(COMMAND))
    }

    async fn examine(&self, api: &Api, asker: &Asker) -> Result<Examined, Refused> {
        let known = Self {
            row: self.row.clone(),
            anchors: self.anchors.clone(),
            sealed: Vec::new(),
            note: self.note.clone(),
        };
        let sessions = Arc::clone(&api.parts.sessions);
        blocking(api, asker, move |_| {
            let opened = known.open(&*sessions);
            let verdict = Verdict::of(&opened, &known);
            let Ok(recording) = opened else {
                return Ok(Examined {
                    verdict,
                    chunks: None,
                    head: None,
                    finish: None,
                });
            };
            let (head, finish) = (recording.head(), recording.finish());
            let broken = head.as_ref().err().or(finish.as_ref().err());
            let verdict = broken.map_or(verdict, Verdict::broken);
            Ok(Examined {
                verdict,
                chunks: Some(recording.survey().root.chunks),
                head: head.ok().flatten(),
                finish: finish.ok().flatten(),
            })
        })
        .await
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
        let known = Known::find(&api, &asker, &id, AuditAct::ViewedSession).await?;
        return Err(over(&known.row.id));
    };
    whole(async move { cut(&api, &asker, &live, &reason).await }).await
}

/// The record, then the end.
async fn cut(api: &Api, asker: &Asker, live: &LiveSession, reason: &str) -> Result<Response, Refused> {
    let mut event = asker.does(api, What::SessionCut);
    let (id, user, place) = (&live.id, &live.user, place(live));
    event.note = Some(format!("ended session {id} of {user} ({place}): {reason}"));
    if let Err(error) = api.parts.events.record(event).await {
        tracing::error!(error = %error, "the end of a session was not recorded");
        let why = "that you end it could not be recorded, so it goes on; try again";
        return Err(Refused::unavailable(why));
    }
    let who = &asker.session.identity.username;
    if !api.parts.sessions.end(id, &format!("ended by {who}: {reason}")) {
        return Err(over(id));
    }
    Ok(Json(json!({"id": id, "who": user})).into_response())
}

/// `exec shop/web-0 at prod`.
fn place(live: &LiveSession) -> String {
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
