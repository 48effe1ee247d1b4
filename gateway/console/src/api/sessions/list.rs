//! The list of sessions: those that go on, then those that have ended.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use model::live::LiveSession;
use search::{Found, View};
use serde_json::json;

use super::item::Item;
use super::may_see;
use crate::answer::Refused;
use crate::api::Api;
use crate::api::asker::Asker;
use crate::api::parameters::Parameters;
use crate::api::read::AuditAct;
use crate::api::records::{Wanted, blocking, count, run};
use crate::caller::Caller;

/// The records that begin a session.
const SESSIONS: &str = "kind:open";
const MOST: u64 = 500;
const USUAL: u64 = 50;

/// Those that go on, newest first, then those that have ended, newest first.
pub(in crate::api) async fn list(
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
