//! The list of sessions: those that go on, then those that have ended.
//!
//! Those that go on come from the gateway's memory and stand on the first page, before all others. On a later page one of them stands
//! among the others only where the first page had no room for it: `next_live` says so from page to page, as sessions come and go
//! meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use model::live::LiveSession;
use model::time::Timestamp;
use search::{Archive, Begun, Page, Range, Scope, SearchError, Stopped, View};
use serde::Serialize;

use super::item::Item;
use super::{ending, may_see};
use crate::answer::Refused;
use crate::api::Api;
use crate::api::asker::Asker;
use crate::api::parameters::Parameters;
use crate::api::read::AuditAct;
use crate::api::records::{Wanted, blocking, count, run};
use crate::caller::Caller;

/// The records that begin a session.
pub(super) const SESSIONS: &str = "kind:open";
pub(super) const MOST: u64 = 500;
const USUAL: u64 = 50;

/// What is asked.
struct Asked {
    only_live: bool,
    /// As typed, for the record.
    said: String,
    query: search::Query,
    /// It has words besides its times: those that go on are compared with them.
    has_words: bool,
    limit: usize,
    after: Option<u64>,
    after_live: Option<u64>,
}

impl Asked {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Refused> {
        let known = ["live", "q", "since", "until", "limit", "after", "after_live"];
        let parameters = Parameters::read(pairs, &known)?;
        let only_live = parameters.truth("live")?;
        let (said, query) = parameters.query_and(SESSIONS)?;
        let limit = match parameters.number("limit")?.unwrap_or(USUAL) {
            limit @ 1..=MOST => usize::try_from(limit).unwrap_or(1),
            _ => return Err(Refused::request(format!("`limit` takes 1 to {MOST}"))),
        };
        let (after, after_live) = (parameters.number("after")?, parameters.number("after_live")?);
        if after.is_none() && after_live.is_some() {
            return Err(Refused::request("`after_live` goes with `after`"));
        }
        if only_live && after.is_some() {
            return Err(Refused::request(
                "there are no pages of those that go on alone: leave `after` out",
            ));
        }
        Ok(Self {
            only_live,
            said,
            query,
            has_words: parameters.text("q").is_some_and(|words| !words.trim().is_empty()),
            limit,
            after,
            after_live,
        })
    }
}

/// The answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct List {
    pub(super) sessions: Vec<Item>,
    pub(super) scope: &'static str,
    /// How many go on and are asked for.
    live: usize,
    /// How many go on besides and were not compared with the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    live_unread: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// `after_live` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_live: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<Stopped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<Range>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holes: Vec<search::Hole>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// Those that go on, newest first, then those that have ended, newest first.
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    if pairs.iter().any(|(name, _)| name == "id") {
        return ending::find(&api, &asker, pairs).await;
    }
    let asked = Asked::read(pairs)?;
    let going_on = GoingOn::find(&api, &asker, &asked).await?;
    let page = if asked.only_live {
        None
    } else {
        let wanted = Wanted {
            query: asked.query,
            view: View::Sessions,
            limit: asked.limit,
            after: asked.after,
        };
        Some(run(&api, &asker, asker.scope.clone(), wanted).await?)
    };
    let mut list = going_on.and(page, api.now());
    list.scope = asker.scope.name();
    let shown = count(list.sessions.len());
    api.record(asker.reads(&api, AuditAct::ListedSessions, &asked.said, shown))
        .await?;
    Ok(Json(list).into_response())
}

/// The sessions that go on, for one page.
#[derive(Default)]
pub(super) struct GoingOn {
    /// All that the asker may see, by id.
    all: HashMap<String, LiveSession>,
    /// How many of them are asked for.
    found: usize,
    /// How many could not be compared with what is asked for.
    unread: usize,
    /// Those that stand on this page before all others; none but on the first one.
    first: Vec<LiveSession>,
    is_first_page: bool,
    /// Of those that go on and are asked for, the first page has all that began later than this many microseconds after 1970.
    told_after: Option<u64>,
}

impl GoingOn {
    async fn find(api: &Api, asker: &Asker, asked: &Asked) -> Result<Self, Refused> {
        let mut live = visible(api, asker);
        let all = by_id(&live);
        let (from, until) = asked.query.times(api.now());
        live.retain(|one| from.is_none_or(|from| one.since >= from) && until.is_none_or(|until| one.since < until));
        let compared = if asked.has_words {
            let (archive, scope, query) = (Arc::clone(&api.parts.archive), asker.scope.clone(), asked.query.clone());
            blocking(api, asker, move |go_on| {
                Compared::of(live, &archive, &scope, &query, go_on)
            })
            .await?
        } else {
            Compared {
                found: live,
                unread: Vec::new(),
            }
        };
        let Compared { mut found, unread } = compared;
        let mut going_on = Self {
            all,
            found: found.len(),
            unread: unread.len(),
            first: Vec::new(),
            is_first_page: asked.after.is_none(),
            told_after: asked.after_live,
        };
        if going_on.is_first_page {
            let without_room = found.split_off(found.len().min(asked.limit));
            let newest = without_room.iter().chain(&unread).map(began).max();
            (going_on.first, going_on.told_after) = (found, newest.or(Some(0)));
        }
        Ok(going_on)
    }

    /// All that the asker may see and whose id ends so, on a first page with room for each.
    pub(super) fn ending_in(ending: &str, api: &Api, asker: &Asker) -> Self {
        let mut first = visible(api, asker);
        first.retain(|one| one.id.ends_with(ending));
        Self {
            all: by_id(&first),
            found: first.len(),
            first,
            is_first_page: true,
            ..Self::default()
        }
    }

    /// With a page of records: those that go on are told as such there, too, and not twice.
    pub(super) fn and(mut self, page: Option<Page>, now: Timestamp) -> List {
        let first: HashSet<String> = self.first.iter().map(|one| one.id.clone()).collect();
        let mut list = List {
            live: self.found,
            live_unread: (self.unread > 0).then_some(self.unread),
            sessions: self.first.drain(..).map(|one| Item::of_live(one, now)).collect(),
            ..List::default()
        };
        if let Some(page) = page {
            let mut rows = page.rows;
            rows.retain(|row| !first.contains(&row.id) && !self.was_told(&row.id));
            let rows = rows.into_iter().map(|row| {
                let live = self.all.remove(&row.id);
                Item::of(row, live, now)
            });
            list.sessions.extend(rows);
            (list.note, list.holes, list.trouble) = (page.note, page.holes, page.trouble);
            (list.range, list.stopped) = (Some(page.range), Some(page.stopped));
            (list.next, list.next_live) = (page.next, self.told_after.filter(|_| page.next.is_some()));
        }
        if self.unread > 0 {
            list.stopped = Some(Stopped::Budget);
        }
        list
    }

    /// Whether this is a later page and the first one had it.
    fn was_told(&self, id: &str) -> bool {
        let live = self.all.get(id).filter(|_| !self.is_first_page);
        live.zip(self.told_after)
            .is_some_and(|(live, after)| began(live) > after)
    }
}

/// Those that go on and that the asker may see, newest first.
fn visible(api: &Api, asker: &Asker) -> Vec<LiveSession> {
    let mut live = api.parts.sessions.live();
    live.retain(|one| may_see(&asker.scope, &one.subject));
    live.sort_by(|one, other| (other.since, &other.id).cmp(&(one.since, &one.id)));
    live
}

fn by_id(live: &[LiveSession]) -> HashMap<String, LiveSession> {
    live.iter().map(|one| (one.id.clone(), one.clone())).collect()
}

/// In microseconds after 1970, which is a whole number in every reader of JSON.
fn began(live: &LiveSession) -> u64 {
    u64::try_from(live.since.unix_nanos() / 1_000).unwrap_or(0)
}

/// What came of comparing those that go on with a query.
struct Compared {
    found: Vec<LiveSession>,
    /// Whoever was not compared: the budget was used up, or their record cannot be read.
    unread: Vec<LiveSession>,
}

impl Compared {
    /// The words are about records, so the records are looked at: those that begin them, as what came after says nothing more that
    /// can be asked for.
    fn of(
        live: Vec<LiveSession>,
        archive: &Archive,
        scope: &Scope,
        query: &search::Query,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Self, SearchError> {
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        let mut is_over = false;
        for one in live {
            is_over |= !go_on();
            if is_over {
                unread.push(one);
                continue;
            }
            match archive.going_on(&one.id, scope, go_on)? {
                Begun::Yes(row) if query.matches(&row) => found.push(one),
                Begun::Yes(_) => {}
                Begun::No | Begun::NotYet => unread.push(one),
            }
        }
        Ok(Self { found, unread })
    }
}
