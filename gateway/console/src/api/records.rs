//! Searching and viewing records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use search::{Budget, Found, May, Page, Scope, Search, SearchError, Shown, View};
use serde_json::json;

use super::asker::Asker;
use super::parameters::Parameters;
use super::parts;
use super::read::AuditAct;
use super::{Api, SEARCH_BYTES, unreadable};
use crate::answer::Refused;
use crate::caller::Caller;

const MOST_ROWS: u64 = 500;
const ROWS: u64 = 50;

pub(super) async fn search(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let parameters = Parameters::read(pairs, &["q", "since", "until", "limit", "after", "all"])?;
    let (said, query) = parameters.query()?;
    let limit = match parameters.number("limit")?.unwrap_or(ROWS) {
        limit @ 1..=MOST_ROWS => usize::try_from(limit).unwrap_or(1),
        _ => return Err(Refused::request(format!("`limit` takes 1 to {MOST_ROWS}"))),
    };
    let wanted = Wanted {
        query,
        view: parameters.view()?,
        limit,
        after: parameters.number("after")?,
    };
    let page = run(&api, &asker, asker.scope.clone(), wanted).await?;
    api.record(asker.reads(&api, AuditAct::Searched, &said, count(page.rows.len())))
        .await?;
    Ok(Json(page).into_response())
}

pub(super) async fn show(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let Shown {
        record,
        records,
        sealed,
        sight,
        note,
        ..
    } = look_up(&api, &asker, &id, AuditAct::Viewed, None).await?;
    let (parts, note) = if sight.may.contains(&May::Details) || sealed.is_empty() {
        (parts::opened(&api, &record, sealed).await?, note)
    } else {
        let why = format!(
            "what stands sealed beside it is for audit roles with `may: [{}]`",
            May::Details.name()
        );
        (
            serde_json::Map::new(),
            Some(note.map_or_else(|| why.clone(), |note| format!("{note}; {why}"))),
        )
    };
    let scope = asker.scope.name();
    let answer = json!({"record": record, "parts": parts, "records": records, "note": note, "scope": scope});
    Ok(Json(answer).into_response())
}

/// What is searched for.
pub(super) struct Wanted {
    pub(super) query: search::Query,
    pub(super) view: View,
    pub(super) limit: usize,
    pub(super) after: Option<u64>,
}

pub(super) async fn run(api: &Api, asker: &Asker, scope: Scope, wanted: Wanted) -> Result<Page, Refused> {
    let now = api.now();
    let archive = Arc::clone(&api.parts.archive);
    blocking(api, asker, move |go_on| {
        let Wanted {
            query,
            view,
            limit,
            after,
        } = &wanted;
        let search = Search {
            query,
            scope: &scope,
            view: *view,
            limit: *limit,
            after: *after,
            now,
        };
        archive.search(
            &search,
            Budget {
                bytes: SEARCH_BYTES,
                go_on,
            },
        )
    })
    .await
}

/// Finds one act that the asker may see, and do this with, and records that they looked.
pub(super) async fn look_up(
    api: &Api,
    asker: &Asker,
    id: &str,
    act: AuditAct,
    need: Option<May>,
) -> Result<Shown, Refused> {
    if id.len() > 64 {
        return Err(Refused::request("an id has at most 64 characters"));
    }
    let (archive, scope, wanted) = (Arc::clone(&api.parts.archive), asker.scope.clone(), id.to_owned());
    let found = blocking(api, asker, move |go_on| archive.show(&wanted, &scope, go_on)).await?;
    let lacks = |shown: &Shown| need.filter(|need| !shown.sight.may.contains(need));
    let lacking = match &found {
        Found::Yes(shown) => lacks(shown),
        Found::No | Found::Unread(_) | Found::NotYet => None,
    };
    let results = u64::from(matches!(found, Found::Yes(_)) && lacking.is_none());
    api.record(asker.reads(api, act, id, results)).await?;
    if let Some(need) = lacking {
        let why = format!(
            "your audit role shows `{id}`, and does not say `may: [{}]`",
            need.name()
        );
        return Err(Refused::new(StatusCode::FORBIDDEN, "insufficient_scope", why));
    }
    match found {
        Found::Yes(shown) => Ok(*shown),
        Found::No => Err(not_found(asker, id)),
        Found::Unread(holes) => Err(unread(id, &holes)),
        Found::NotYet => Err(Refused::unavailable("looking for this record took too long; try again")),
    }
}

fn not_found(asker: &Asker, id: &str) -> Refused {
    let why = match asker.scope {
        Scope::All => format!("there is no record `{id}`"),
        Scope::Roles(_) => {
            format!("there is no record `{id}` that your audit role shows; `gatescribe audit can` says what it shows")
        }
        Scope::Own(_) => format!("there is no record `{id}` of yours; without an audit role you see your own only"),
    };
    Refused::new(StatusCode::NOT_FOUND, "not_found", why)
}

/// It may stand among what cannot be read: the same words for whatever is not shown.
fn unread(id: &str, holes: &[search::Hole]) -> Refused {
    let holes: Vec<String> = holes.iter().map(search::Hole::in_words).collect();
    let why = format!(
        "there is no record `{id}` for you among what can be read, and part of the ledger cannot be read: {}; `gatescribe ledger verify` \
         says where it is damaged",
        holes.join("; ")
    );
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "ledger_damaged", why)
}

/// Works on a thread that may block, in one of few places, until the time is over or the asker has gone.
pub(super) async fn blocking<T: Send + 'static>(
    api: &Api,
    asker: &Asker,
    work: impl FnOnce(&mut dyn FnMut() -> bool) -> Result<T, SearchError> + Send + 'static,
) -> Result<T, Refused> {
    let place = api.searches.take(&asker.session.subject_id)?;
    let done = in_place(place, api.search_time, work).await?;
    done.map_err(|error| unreadable(&error))
}

/// Works on a thread that may block and holds `place` until it ends, for so long at most, or until the asker has gone.
pub(super) async fn in_place<T: Send + 'static>(
    place: impl Send + 'static,
    time: Duration,
    work: impl FnOnce(&mut dyn FnMut() -> bool) -> T + Send + 'static,
) -> Result<T, Refused> {
    let gone = Arc::new(AtomicBool::new(false));
    let _cancel = Cancel(Arc::clone(&gone));
    let deadline = Instant::now() + time;
    let task = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&mut || !gone.load(Ordering::Relaxed) && Instant::now() < deadline)
    });
    task.await.map_err(|_| {
        tracing::error!("a search panicked");
        Refused::unavailable("the search failed; the gateway's log says more")
    })
}

/// Ends the work of whoever stops waiting for it.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
