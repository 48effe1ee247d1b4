//! `gatescribe user`: members of an audit group lock somebody out, let them in again, and see who is out.

use bytes::Bytes;
use clap::Subcommand;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use super::document::document;
use super::gateway::{API, Refused, read_json, refused_api};
use super::home::Home;
use super::reason::{request, span};
use super::session::{Ready, block_on, in_seconds, ready};
use super::table::table;
use super::trouble::{Trouble, clean};
use super::{GatewayArgument, Output};
use crate::Exit;
use crate::config::Span;
use crate::terminal::{data, say};

/// Lock out, let in again, list.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Lock a user out: no credential of theirs counts, and what they have open ends at once.
    #[command(
        after_help = "Examples:\n  gatescribe user lock alice@example.com --reason 'TICKET-4711: laptop stolen'\n  gatescribe user lock \
        system:serviceaccount:shop:ci --reason 'token leaked' --for 2h\n\nSign-ins, raw provider tokens, client certificates and \
        ServiceAccount tokens are refused with the reason and your name; sessions, watches and tunnels end with it. A lock on a person \
        counts for everybody who is proved under that Kubernetes user name, one on a ServiceAccount for that account at that cluster. It \
        stands in the ledger before it counts. Only members of `identity.auditGroups` lock.\n\nExit codes: 0 locked, 2 no reason, 3 not \
        signed in, 4 not permitted, 5 nobody has that name, 6 several have it, it is you, or a longer lock is there\nSee also: gatescribe \
        user unlock, gatescribe user locks, gatescribe session end"
    )]
    Lock {
        /// Kubernetes user name, e-mail address or subject id, as records show them.
        who: String,
        /// Why; one line. The person reads it, and it stands in the record.
        #[arg(long)]
        reason: String,
        /// For how long, from 1m to 366d; until it is unlocked when left out.
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        lasting: Option<Span>,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Let a locked user in again. What had ended stays ended.
    #[command(
        after_help = "Examples:\n  gatescribe user unlock alice@example.com\n  gatescribe user unlock alice@example.com --reason 'laptop \
        found'\n\nEvery lock on that user name is lifted. It stands in the ledger before it counts.\n\nExit codes: 0 unlocked, 3 not \
        signed in, 4 not permitted, 5 nobody of that name is locked, 6 several are\nSee also: gatescribe user locks"
    )]
    Unlock {
        /// Kubernetes user name, e-mail address or subject id.
        who: String,
        /// Why; one line, for the record.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// List who is locked out, since when, by whom, until when and why; newest first.
    #[command(
        after_help = "Examples:\n  gatescribe user locks\n  gatescribe user locks -o json\n\nLocks that are over are not listed; the ledger \
        keeps them: `gatescribe audit search locked --all`.\n\nExit codes: 0 listed, 1 nobody is locked out, 3 not signed in, 4 not \
        permitted\nSee also: gatescribe user unlock"
    )]
    Locks {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
}

pub(super) fn run(command: &UserCommand) -> Result<Exit, Trouble> {
    match command {
        UserCommand::Lock {
            who,
            reason,
            lasting,
            gateway,
        } => lock(who, reason, *lasting, gateway),
        UserCommand::Unlock { who, reason, gateway } => unlock(who, reason.as_deref(), gateway),
        UserCommand::Locks { output, gateway } => list(*output, gateway),
    }
}

fn lock(who: &str, reason: &str, lasting: Option<Span>, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let seconds = lasting.map(|span| span.duration().as_secs());
    let body = json!({"who": who, "reason": reason, "seconds": seconds});
    let told = send("lock", &body, gateway)?;
    let text = |name: &str| told.get(name).and_then(Value::as_str).map(clean).unwrap_or_default();
    let count = |name: &str| told.get(name).and_then(Value::as_u64).unwrap_or_default();
    let until = match text("until") {
        none if none.is_empty() => String::new(),
        until => format!(" until {}", seconds_of(&until)),
    };
    say(&format!(
        "✔ {} is locked out{until}; {} and {} ended with your name and reason",
        text("user"),
        counted(count("sessions"), "sign-in"),
        counted(count("calls"), "open call"),
    ));
    Ok(Exit::Done)
}

fn unlock(who: &str, reason: Option<&str>, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let told = send("unlock", &json!({"who": who, "reason": reason}), gateway)?;
    for lock in told.get("unlocked").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| lock.get(name).and_then(Value::as_str).map(clean).unwrap_or_default();
        say(&format!(
            "✔ {} may come in again; it was locked by {}: {}",
            text("user"),
            text("by"),
            text("why")
        ));
    }
    Ok(Exit::Done)
}

fn list(output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let found: Map<String, Value> = block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        read_json(&ready.client, &url(&ready, "locks"), ready.token.reveal()).await
    })?;
    let locks = found.get("locks").and_then(Value::as_array).map(Vec::as_slice);
    let locks = locks.unwrap_or_default();
    match output {
        Output::Json => drop(data(&document("LockList", &found))?),
        Output::Table if locks.is_empty() => say("nobody is locked out"),
        Output::Table => {
            let rows: Vec<Vec<String>> = locks.iter().map(cells).collect();
            data(&table(&HEADS, &rows, super::audit::width()))?;
        }
    }
    Ok(if locks.is_empty() { Exit::No } else { Exit::Done })
}

const HEADS: [&str; 6] = ["SINCE", "WHO", "UNTIL", "BY", "WHY", "SUBJECT"];

fn cells(lock: &Value) -> Vec<String> {
    let text = |name: &str| lock.get(name).and_then(Value::as_str).map(clean).unwrap_or_default();
    let until = match text("until") {
        none if none.is_empty() => "unlocked".to_owned(),
        until => seconds_of(&until),
    };
    vec![
        seconds_of(&text("at")),
        text("user"),
        until,
        text("by"),
        text("why"),
        text("subject"),
    ]
}

fn seconds_of(time: &str) -> String {
    model::time::Timestamp::parse(time).map_or_else(|_| time.to_owned(), in_seconds)
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn url(ready: &Ready, act: &str) -> String {
    format!("{}/users/{act}", ready.kept.endpoints.api)
}

fn send(act: &str, body: &Value, gateway: &GatewayArgument) -> Result<Value, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let (url, token) = (url(&ready, act), ready.token.reveal());
        let answer = request(&ready.client, Method::POST, &url, token, &body.to_string()).await?;
        if !answer.status().is_success() {
            return Err(refused(&answer));
        }
        serde_json::from_slice(answer.body()).map_err(|error| {
            Trouble::new(Exit::Fault, "the gateway's answer is not understood")
                .because(error.to_string())
                .remedy("gatescribe user locks says who is locked out now")
        })
    })
}

/// What a no means.
fn refused(answer: &Response<Bytes>) -> Trouble {
    let said = Refused::read(answer);
    let words = said.words(answer.status());
    let (exit, what, remedy) = match said.error.as_str() {
        "no_such_user" => (
            Exit::NotFound,
            "there is nobody of that name",
            "gatescribe audit search user:NAME --all shows names and subject ids as records have them",
        ),
        "not_locked" => (
            Exit::NotFound,
            "nobody of that name is locked out",
            "gatescribe user locks lists who is",
        ),
        "ambiguous" => (
            Exit::Conflict,
            "that name is several people's",
            "repeat it with one of these subject ids",
        ),
        "yourself" => (
            Exit::Conflict,
            "you cannot lock out yourself",
            "gatescribe logout ends your own sign-in",
        ),
        "locked_for_longer" => (
            Exit::Conflict,
            "they are locked out for longer already",
            "gatescribe user unlock WHO, then lock anew",
        ),
        _ => return refused_api(answer),
    };
    Trouble::new(exit, what).because(words).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_a_row_of_since_when_whom_until_when_by_whom_and_why() {
        let lock = json!({"at": "2026-11-21T10:00:00.123456Z", "user": "alice", "until": "2026-11-21T12:00:00Z", "by": "carol",
            "why": "TICKET-7\u{1b}[2J", "subject": "5f6c4d66a1e1b6ef2d5aab76b3a1f001"});
        let mut for_good = lock.clone();
        for_good.as_object_mut().unwrap().remove("until");
        assert_eq!(
            cells(&lock),
            [
                "2026-11-21T10:00:00Z",
                "alice",
                "2026-11-21T12:00:00Z",
                "carol",
                "TICKET-7\u{fffd}[2J",
                "5f6c4d66a1e1b6ef2d5aab76b3a1f001"
            ]
        );
        assert_eq!(cells(&for_good)[2], "unlocked");
    }
}
