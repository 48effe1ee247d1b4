//! Records from a ledger's files, without a gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ledger::Receipt;
use search::{Archive, Budget, Found, Hole, Query, Scope, Search, SearchError, Shown, Tail, View};
use serde::Serialize;
use serde_json::{Map, Value};

use super::follow::Written;
use super::{Lines, SearchArguments};
use crate::Exit;
use crate::client::http::now;
use crate::client::trouble::{Trouble, chain};
use crate::terminal::Reader;

/// How often files are looked at again; nobody tells us when they grow.
const EVERY: Duration = Duration::from_millis(500);
const ROWS: usize = 100;
const RECORDS: usize = 10_000;

pub(super) fn find(dir: &Path, arguments: &SearchArguments) -> Result<Map<String, Value>, Trouble> {
    let query = query(&arguments.query.join(" "))?;
    let bound = |text: &Option<String>| text.as_deref().and_then(search::read_time);
    let query = query
        .within(bound(&arguments.since), bound(&arguments.until))
        .map_err(|twice| wrong_query(format!("`{twice}` stands both in the query and beside it; say it once")))?;
    let search = Search {
        query: &query,
        scope: &Scope::All,
        view: view(arguments.all),
        limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
        after: None,
        now: now(),
    };
    // The person at the keyboard ends a search that takes too long.
    let budget = Budget {
        bytes: u64::MAX,
        go_on: &mut || true,
    };
    let page = Archive::of_dir(dir)
        .search(&search, budget)
        .map_err(|error| unreadable(&error))?;
    members(&page)
}

pub(super) fn show(dir: &Path, id: &str) -> Result<Map<String, Value>, Trouble> {
    members(&look_up(dir, id)?)
}

/// The receipt of one record of an act, out of the folder's newest checkpoint.
pub(super) fn receipt(dir: &Path, id: &str, of_end: bool) -> Result<String, Trouble> {
    let shown = look_up(dir, id)?;
    if !shown.others.is_empty() {
        let ids = std::iter::once(&shown)
            .chain(&shown.others)
            .map(|one| one.record.id.as_str());
        let ids: Vec<&str> = ids.collect();
        return Err(
            Trouble::new(Exit::Usage, format!("`{id}` stands for {} acts", ids.len()))
                .because(format!("callers choose it; the acts' own ids are {}", ids.join(", ")))
                .remedy("name one of these"),
        );
    }
    let found = if of_end { shown.end() } else { shown.begin() };
    let spot =
        found.ok_or_else(|| Trouble::new(Exit::NotFound, format!("`{id}` has no such record in this folder")))?;
    let receipt = Receipt::from_dir(dir, spot.seq).map_err(|error| {
        Trouble::new(Exit::Integrity, "there is no receipt of this record")
            .because(chain(&error))
            .remedy("gatescribe ledger verify DIR --key KEY says what holds")
    })?;
    Ok(receipt.to_string())
}

fn look_up(dir: &Path, id: &str) -> Result<Shown, Trouble> {
    let found = Archive::of_dir(dir)
        .show(id, &Scope::All, &mut || true)
        .map_err(|error| unreadable(&error))?;
    match found {
        Found::Yes(shown) => Ok(*shown),
        Found::Unread(holes) => Err(unread(id, &holes)),
        Found::No | Found::NotYet => Err(Trouble::new(
            Exit::NotFound,
            format!("there is no record `{id}` in this folder"),
        )
        .remedy("gatescribe audit search --dir DIR lists what there is")),
    }
}

pub(super) fn follow(dir: &Path, words: &str, output: Lines, all: bool) -> Result<Exit, Trouble> {
    let archive = Arc::new(Archive::of_dir(dir));
    let begun = Tail::new(archive, query(words)?, Scope::All, view(all), None);
    let mut tail = begun.map_err(|error| unreadable(&error))?;
    let mut written = Written::new(output);
    loop {
        let rows = tail.poll(now(), ROWS, RECORDS).map_err(|error| unreadable(&error))?;
        for row in &rows {
            if written.record(&Value::Object(members(row)?))? == Reader::Gone {
                return Ok(Exit::Done);
            }
        }
        if rows.is_empty() {
            written.folded(&Value::Object(members(&tail.folded())?));
            std::thread::sleep(EVERY);
        }
    }
}

fn query(words: &str) -> Result<Query, Trouble> {
    Query::parse(words).map_err(|error| wrong_query(error.to_string()))
}

const fn view(all: bool) -> View {
    if all { View::All } else { View::Acts }
}

fn members(value: &impl Serialize) -> Result<Map<String, Value>, Trouble> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(Trouble::new(Exit::Fault, "the records cannot be shown").remedy("update gatescribe")),
    }
}

fn wrong_query(why: String) -> Trouble {
    Trouble::new(Exit::Usage, "the query is not understood")
        .because(why)
        .remedy("see gatescribe audit search --help")
}

/// That it is nowhere cannot be said.
fn unread(id: &str, holes: &[Hole]) -> Trouble {
    let holes: Vec<String> = holes.iter().map(Hole::in_words).collect();
    let what = format!("there is no record `{id}` among what can be read of this folder");
    Trouble::new(Exit::Integrity, what)
        .because(format!("part of it cannot be read: {}", holes.join("; ")))
        .remedy("gatescribe ledger verify DIR --key KEY says where it is damaged; look in a copy of the folder")
}

fn unreadable(error: &SearchError) -> Trouble {
    Trouble::new(Exit::Fault, "the ledger cannot be read")
        .because(chain(error))
        .remedy("name the ledger's folder (`ledger` in the gateway's dataDir), as somebody who may read it")
}
