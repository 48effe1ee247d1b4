//! Sessions whose id ends so: a person types the end of an id that they read in a list.
//!
//! Looked at are those that go on and the newest of the others, as many as the longest list has. What is recorded says what was looked
//! for, and not that a list was read.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use search::{Query, View};

use super::list::{GoingOn, MOST, SESSIONS};
use crate::answer::Refused;
use crate::api::Api;
use crate::api::asker::Asker;
use crate::api::parameters::Parameters;
use crate::api::read::AuditAct;
use crate::api::records::{Wanted, count, run};

/// Shorter ones are ends of too many ids.
const SHORTEST: usize = 4;
/// Of a whole id (RFC 9562 §4).
const LONGEST: usize = 36;

pub(super) async fn find(api: &Api, asker: &Asker, pairs: Vec<(String, String)>) -> Result<Response, Refused> {
    let ending = read(pairs)?;
    let query = Query::parse(SESSIONS).map_err(|error| Refused::request(error.to_string()))?;
    let wanted = Wanted {
        query,
        view: View::Sessions,
        limit: usize::try_from(MOST).unwrap_or(1),
        after: None,
    };
    let mut page = run(api, asker, asker.scope.clone(), wanted).await?;
    page.rows.retain(|row| row.id.ends_with(&ending));
    let mut list = GoingOn::ending_in(&ending, api, asker).and(Some(page), api.now());
    list.scope = asker.scope.name();
    let shown = count(list.sessions.len());
    api.record(asker.reads(api, AuditAct::LookedForSession, &ending, shown))
        .await?;
    Ok(Json(list).into_response())
}

/// As ids are written.
fn read(pairs: Vec<(String, String)>) -> Result<String, Refused> {
    if pairs.iter().any(|(name, _)| name != "id") {
        return Err(Refused::request("`id` goes with nothing else"));
    }
    let parameters = Parameters::read(pairs, &["id"])?;
    let ending = parameters.text("id").unwrap_or_default().to_ascii_lowercase();
    let is_of_an_id = ending
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    if is_of_an_id && (SHORTEST..=LONGEST).contains(&ending.len()) {
        return Ok(ending);
    }
    Err(Refused::request(format!(
        "`id` takes the last {SHORTEST} to {LONGEST} characters of an id"
    )))
}
