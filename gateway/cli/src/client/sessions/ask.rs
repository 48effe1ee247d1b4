//! Questions to the gateway about sessions, and what its refusals mean for the person.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use crate::Exit;
use crate::client::GatewayArgument;
use crate::client::ask::query;
use crate::client::gateway::{API, Refused, authorized, escape, refused_api};
use crate::client::home::Home;
use crate::client::reason::request;
use crate::client::session::{Ready, block_on, ready};
use crate::client::trouble::{Trouble, clean};
use crate::terminal::say;

/// Length of a whole id.
const WHOLE: usize = 36;
/// The gateway takes no shorter end of one.
const SHORTEST: usize = 4;

/// A GET below `/sessions`.
pub(super) async fn get(ready: &Ready, path: &str) -> Result<Map<String, Value>, Trouble> {
    let url = format!("{}/sessions{path}", ready.kept.endpoints.api);
    let answer = ready.client.send(authorized(&url, ready.token.reveal())?).await?;
    if !answer.status().is_success() {
        return Err(refused(&answer));
    }
    serde_json::from_slice(answer.body()).map_err(|error| {
        Trouble::new(Exit::Fault, "the gateway's answer is not understood")
            .because(error.to_string())
            .remedy("update gatescribe on the older side: `gatescribe version`")
    })
}

/// What a no means.
pub(super) fn refused(answer: &Response<Bytes>) -> Trouble {
    let said = Refused::read(answer);
    let words = said.words(answer.status());
    match said.error.as_str() {
        "not_recorded" => Trouble::new(Exit::NotFound, "this session was not recorded")
            .because(words)
            .remedy("gatescribe session show ID says what the ledger knows of it"),
        "not_found" | "no_session" => Trouble::new(Exit::NotFound, "there is no such session")
            .because(words)
            .remedy("gatescribe session ls lists those that you may see"),
        "over" => Trouble::new(Exit::Conflict, "the session has ended already")
            .because(words)
            .remedy("gatescribe session show ID says how"),
        _ => refused_api(answer),
    }
}

/// The whole id: as given, or that of the one session whose id ends so.
pub(super) async fn whole_id(ready: &Ready, id: &str) -> Result<String, Trouble> {
    let is_of_an_id = id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if id.len() >= WHOLE || id.len() < SHORTEST || !is_of_an_id {
        return Ok(id.to_owned());
    }
    let found = get(ready, &query(&[("id", Some(id))])).await?;
    only_one(id, &found)
}

fn only_one(ending: &str, found: &Map<String, Value>) -> Result<String, Trouble> {
    let sessions = found.get("sessions").and_then(Value::as_array);
    let ids = sessions.into_iter().flatten().filter_map(|one| one.get("id")?.as_str());
    let ids: Vec<&str> = ids.collect();
    let none = format!("no session's id ends in `{ending}`");
    match (ids.as_slice(), found.get("stopped").and_then(Value::as_str)) {
        ([only], _) => Ok((*only).to_owned()),
        ([], Some("limit")) => Err(Trouble::new(Exit::NotFound, none)
            .because("the newest 500 that you may see were looked at, and there are older ones")
            .remedy("gatescribe session ls lists them; an older one is found by its whole id")),
        ([], Some("budget")) => Err(
            Trouble::new(Exit::Unreachable, format!("{none} as far as could be looked"))
                .because("the gateway had no time to look at the newest 500")
                .remedy("try again, or name it by its whole id"),
        ),
        ([], _) => Err(Trouble::new(Exit::NotFound, none)
            .because("all that you may see were looked at")
            .remedy("gatescribe session ls lists them")),
        (several, _) => Err(
            Trouble::new(Exit::Usage, format!("several sessions' ids end in `{ending}`"))
                .because(several.join(", "))
                .remedy("name one by its whole id, or by more of its end"),
        ),
    }
}

/// The path of one session below `/sessions`.
pub(super) fn path_of(id: &str) -> String {
    format!("/{}", escape(id))
}

pub(super) fn end(id: &str, reason: &str, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let id = whole_id(&ready, id).await?;
        let url = format!("{}/sessions{}/end", ready.kept.endpoints.api, path_of(&id));
        let body = json!({ "reason": reason }).to_string();
        let answer = request(&ready.client, Method::POST, &url, ready.token.reveal(), &body).await?;
        if !answer.status().is_success() {
            return Err(refused(&answer));
        }
        let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let who = told.get("who").and_then(Value::as_str).map(clean).unwrap_or_default();
        say(&format!(
            "✔ session {} of {who} is ended; they read your name and reason",
            clean(&id)
        ));
        Ok(Exit::Done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_id_names_one_session_or_it_is_said_why_not() {
        let ids = |ids: &[&str], stopped: &str| {
            let sessions: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
            let found = json!({"sessions": sessions, "stopped": stopped});
            only_one("07f3", found.as_object().unwrap())
        };
        assert_eq!(ids(&["1-07f3"], "limit").unwrap(), "1-07f3");
        for (found, stopped, exit, words) in [
            (
                &[][..],
                "complete",
                Exit::NotFound,
                "all that you may see were looked at",
            ),
            (&[][..], "limit", Exit::NotFound, "there are older ones"),
            (&[][..], "budget", Exit::Unreachable, "no time to look"),
            (&["1-07f3", "2-07f3"][..], "complete", Exit::Usage, "1-07f3, 2-07f3"),
        ] {
            let trouble = ids(found, stopped).unwrap_err();
            assert_eq!(trouble.exit, exit, "{stopped}");
            assert!(trouble.text().contains(words), "{}", trouble.text());
        }
    }
}
