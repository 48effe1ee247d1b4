//! `gatescribe ledger erase` and `gatescribe hold`: members of an audit group have sealed data erased, two of them for each, and hold
//! what must stay.

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Response};
use model::erasure::Scope;
use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::document::document;
use super::gateway::{API, Refused, read_json, refused_api};
use super::home::Home;
use super::reason::request;
use super::session::{Ready, block_on, in_seconds, ready};
use super::table::table;
use super::trouble::{Trouble, clean};
use super::{GatewayArgument, Output};
use crate::Exit;
use crate::terminal::{data, say};

/// What is to be erased, or what becomes of a request.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["subject", "recording", "agree", "withdraw", "list"]))]
pub(crate) struct EraseArguments {
    /// Whose data: Kubernetes user name, e-mail address or subject id.
    #[arg(long, value_name = "WHO", requires = "reason")]
    subject: Option<String>,
    /// One recording, by the id of its session.
    #[arg(long, value_name = "ID", requires = "reason", conflicts_with = "class")]
    recording: Option<String>,
    /// Which class of it: query, agent, command, path, …, recording; again for more. All when left out.
    #[arg(long, value_name = "CLASS", requires = "subject")]
    class: Vec<String>,
    /// Of recordings: those that began then or later (RFC 3339).
    #[arg(long, value_name = "TIME", requires = "subject", value_parser = time)]
    from: Option<Timestamp>,
    /// Of recordings: those that began before (RFC 3339).
    #[arg(long, value_name = "TIME", requires = "subject", value_parser = time)]
    to: Option<Timestamp>,
    /// Why; one line. It stands in the record.
    #[arg(long, conflicts_with_all = ["agree", "withdraw", "list"])]
    reason: Option<String>,
    /// Agree to what somebody else asked for: it is done at once.
    #[arg(long, value_name = "ID")]
    agree: Option<String>,
    /// Take a request back.
    #[arg(long, value_name = "ID")]
    withdraw: Option<String>,
    /// List what is asked for.
    #[arg(long)]
    list: bool,
    /// Output format of the list.
    #[arg(short, long, value_enum, default_value_t = Output::Table, requires = "list")]
    output: Output,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// New keys for parts.
#[derive(Args, Debug)]
pub(crate) struct RotateArguments {
    /// Whose: Kubernetes user name, e-mail address or subject id; everybody's when left out.
    #[arg(long, value_name = "WHO")]
    subject: Option<String>,
    /// Why; one line. It stands in the record.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// Legal holds.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Hold what is sealed of a person, or one recording: while the hold stands, none of it is erased.
    #[command(
        after_help = "Examples:\n  gatescribe hold create --subject alice@example.com --reason 'case 4711'\n  gatescribe hold create --recording \
        0192f0c1-7c3e-7d00-a000-0000000007f3 --reason 'case 4711'\n\nWith --from or --to it covers the recordings that began in between, and every \
        other part of that person: one key of theirs is for all times. It stands in the ledger before it counts. Only members of \
        `identity.auditGroups` hold and release.\n\nExit codes: 0 held, 2 no reason, 3 not signed in, 4 not permitted, 5 nobody has that name, or \
        there is no such recording, 6 several have it\nSee also: gatescribe hold ls, gatescribe hold release, gatescribe ledger erase"
    )]
    Create {
        /// Whose data: Kubernetes user name, e-mail address or subject id.
        #[arg(
            long,
            value_name = "WHO",
            required_unless_present = "recording",
            conflicts_with = "recording"
        )]
        subject: Option<String>,
        /// One recording, by the id of its session.
        #[arg(long, value_name = "ID")]
        recording: Option<String>,
        /// Of recordings: those that began then or later (RFC 3339).
        #[arg(long, value_name = "TIME", requires = "subject", value_parser = time)]
        from: Option<Timestamp>,
        /// Of recordings: those that began before (RFC 3339).
        #[arg(long, value_name = "TIME", requires = "subject", value_parser = time)]
        to: Option<Timestamp>,
        /// Why; one line. It stands in the record, and whoever is refused to erase reads it.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// List the holds that stand; newest first.
    #[command(
        after_help = "Examples:\n  gatescribe hold ls\n  gatescribe hold ls -o json\n\nThose that were released are not listed; the ledger keeps \
        them: `gatescribe audit search kind:hold --all`.\n\nExit codes: 0 listed, 1 nothing is held, 3 not signed in, 4 not permitted\nSee also: \
        gatescribe hold create"
    )]
    Ls {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// End a hold. What it covered stays as it is, until two people erase it.
    #[command(
        after_help = "Examples:\n  gatescribe hold release 0192f0c1-7c3e-7d00-a000-0000000007f3 --reason 'case 4711 is closed'\n  gatescribe hold release 0192f0c1-7c3e-7d00-a000-0000000007f3 --reason 'case 4711 is closed' --gateway https://gw.example.com\n\nNeither whoever set it nor the one \
        it is on releases it. It stands in the ledger before it counts.\n\nExit codes: 0 released, 2 no reason, 3 not signed in, 4 not permitted, 5 there is \
        no such hold, 6 somebody else has to release it\nSee also: gatescribe hold ls"
    )]
    Release {
        /// The hold's id.
        id: String,
        /// Why; one line. It stands in the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// `gatescribe ledger erase`.
pub(crate) fn erase(arguments: &EraseArguments) -> Exit {
    erased(arguments).unwrap_or_else(|trouble| trouble.said())
}

/// `gatescribe ledger rotate-part-keys`.
pub(crate) fn rotate(arguments: &RotateArguments) -> Exit {
    let body = json!({"who": arguments.subject, "reason": arguments.reason});
    let told = send("part-keys/rotate", &body, &arguments.gateway);
    let done = told.map(|told| {
        let keys = counted(number(&told, "keys"), "key");
        say(&format!(
            "✔ {keys} out of use: what comes is sealed under new ones, and what was sealed stays readable"
        ));
        Exit::Done
    });
    done.unwrap_or_else(|trouble| trouble.said())
}

fn erased(arguments: &EraseArguments) -> Result<Exit, Trouble> {
    let gateway = &arguments.gateway;
    if arguments.list {
        return list_requests(arguments.output, gateway);
    }
    if let Some(id) = &arguments.agree {
        let told = send(&format!("erasures/{}/agree", path_of(id)?), &json!({}), gateway)?;
        say(&format!(
            "✔ erased {}: {} destroyed, {} of recordings; record {}",
            scope_of(&told),
            counted(number(&told, "keys"), "key"),
            number(&told, "recordings"),
            text(&told, "record")
        ));
        return Ok(Exit::Done);
    }
    if let Some(id) = &arguments.withdraw {
        send(&format!("erasures/{}/withdraw", path_of(id)?), &json!({}), gateway)?;
        say("✔ withdrawn: nobody can agree to it any more");
        return Ok(Exit::Done);
    }
    let EraseArguments {
        subject,
        recording,
        class,
        from,
        to,
        reason,
        ..
    } = arguments;
    let body =
        json!({"who": subject, "recording": recording, "classes": class, "from": from, "to": to, "reason": reason});
    let told = send("erasures", &body, gateway)?;
    let id = text(&told, "id");
    say(&format!(
        "✔ asked to erase {} ({} now): nothing is erased yet. Until {} another member of the audit groups can agree:\n  gatescribe ledger erase \
         --agree {id}",
        scope_of(&told),
        counted(number(&told, "keys"), "key"),
        seconds_of(&text(&told, "until")),
    ));
    for one in told.get("through").and_then(Value::as_array).into_iter().flatten() {
        let (user, subject) = (text(one, "user"), text(one, "subject"));
        say(&format!(
            "  they also acted as {user}: what that sealed is not meant, and is asked for with --subject {subject}"
        ));
    }
    data(&format!("{id}\n"))?;
    Ok(Exit::Done)
}

fn list_requests(output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let cells = |one: &Value| {
        vec![
            seconds_of(&text(one, "at")),
            nested(one, "asked", "user"),
            scope_of(one),
            seconds_of(&text(one, "until")),
            text(one, "why"),
            text(one, "id"),
        ]
    };
    let heads = ["SINCE", "BY", "WHAT", "UNTIL", "WHY", "ID"];
    list(
        "erasures",
        ("ErasureList", &heads, "nobody asks for an erasure"),
        &cells,
        (output, gateway),
    )
}

/// `gatescribe hold`.
pub(super) fn run(command: &HoldCommand) -> Result<Exit, Trouble> {
    match command {
        HoldCommand::Create {
            subject,
            recording,
            from,
            to,
            reason,
            gateway,
        } => {
            let body = json!({"who": subject, "recording": recording, "from": from, "to": to, "reason": reason});
            let told = send("holds", &body, gateway)?;
            let id = text(&told, "id");
            say(&format!(
                "✔ held: {} is not erased until the hold is released",
                scope_of(&told)
            ));
            data(&format!("{id}\n"))?;
            Ok(Exit::Done)
        }
        HoldCommand::Ls { output, gateway } => {
            let cells = |one: &Value| {
                vec![
                    seconds_of(&text(one, "at")),
                    text(one, "by"),
                    scope_of(one),
                    text(one, "why"),
                    text(one, "id"),
                ]
            };
            let heads = ["SINCE", "BY", "WHAT", "WHY", "ID"];
            list(
                "holds",
                ("HoldList", &heads, "nothing is held"),
                &cells,
                (*output, gateway),
            )
        }
        HoldCommand::Release { id, reason, gateway } => {
            let told = send(
                &format!("holds/{}/release", path_of(id)?),
                &json!({"reason": reason}),
                gateway,
            )?;
            say(&format!(
                "✔ released: {} can be erased by two people again",
                scope_of(&told)
            ));
            Ok(Exit::Done)
        }
    }
}

fn list(
    what: &str,
    (kind, heads, none): (&str, &[&str], &str),
    cells: &dyn Fn(&Value) -> Vec<String>,
    (output, gateway): (Output, &GatewayArgument),
) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let found: Map<String, Value> = block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        read_json(&ready.client, &url(&ready, what), ready.token.reveal()).await
    })?;
    let all = found.get(what).and_then(Value::as_array).map(Vec::as_slice);
    let all = all.unwrap_or_default();
    match output {
        Output::Json => drop(data(&document(kind, &found))?),
        Output::Table if all.is_empty() => say(none),
        Output::Table => {
            let rows: Vec<Vec<String>> = all.iter().map(cells).collect();
            data(&table(heads, &rows, super::audit::width()))?;
        }
    }
    Ok(if all.is_empty() { Exit::No } else { Exit::Done })
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(clean).unwrap_or_default()
}

fn nested(value: &Value, outer: &str, inner: &str) -> String {
    value.get(outer).map(|value| text(value, inner)).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// What it is about, in words.
fn scope_of(value: &Value) -> String {
    let of = value.get("of").cloned().unwrap_or_default();
    let scope: Option<Scope> = serde_json::from_value(of).ok();
    clean(&scope.map(|scope| scope.in_words()).unwrap_or_default())
}

fn seconds_of(time: &str) -> String {
    Timestamp::parse(time).map_or_else(|_| time.to_owned(), in_seconds)
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// An id as it stands in a path: nothing else gets there.
fn path_of(id: &str) -> Result<&str, Trouble> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !id.is_empty() && id.bytes().all(is_plain) {
        return Ok(id);
    }
    Err(Trouble::new(Exit::Usage, "that is no id")
        .because(format!(
            "`{}` has other characters than letters, digits and `-`",
            clean(id)
        ))
        .remedy("gatescribe ledger erase --list and gatescribe hold ls show ids"))
}

fn url(ready: &Ready, what: &str) -> String {
    format!("{}/{what}", ready.kept.endpoints.api)
}

fn send(what: &str, body: &Value, gateway: &GatewayArgument) -> Result<Value, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let (url, token) = (url(&ready, what), ready.token.reveal());
        let answer = request(&ready.client, Method::POST, &url, token, &body.to_string()).await?;
        if !answer.status().is_success() {
            return Err(refused(&answer));
        }
        serde_json::from_slice(answer.body()).map_err(|error| {
            Trouble::new(Exit::Fault, "the gateway's answer is not understood")
                .because(error.to_string())
                .remedy("gatescribe ledger erase --list says what is still asked for")
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
        "nothing_sealed" => (
            Exit::NotFound,
            "there is nothing to erase or hold",
            "gatescribe audit show ID -o json names the parts of a record; gatescribe session ls shows what was recorded",
        ),
        "no_such_request" => (
            Exit::NotFound,
            "there is no such request",
            "gatescribe ledger erase --list shows what is asked for",
        ),
        "no_such_hold" => (
            Exit::NotFound,
            "there is no such hold",
            "gatescribe hold ls shows those that stand",
        ),
        "ambiguous" => (
            Exit::Conflict,
            "that name is several people's",
            "repeat it with one of these subject ids",
        ),
        "held" => (
            Exit::Conflict,
            "a legal hold forbids it",
            "gatescribe hold ls shows what is held and by whom",
        ),
        "yourself" | "not_another" => (
            Exit::Conflict,
            "somebody else has to say so",
            "another member of the audit groups, who is not the one whose data go, runs gatescribe ledger erase --agree ID",
        ),
        "not_released" => (
            Exit::Conflict,
            "somebody else has to release it",
            "another member of the audit groups, who neither set it nor is the one it is on, runs gatescribe hold release ID --reason …",
        ),
        "expired" | "locked" => (
            Exit::Conflict,
            "the request does not count any more",
            "gatescribe ledger erase --withdraw ID, then ask anew",
        ),
        "still_recorded" => (
            Exit::Conflict,
            "a session that is meant still goes on",
            "gatescribe session end ID --reason …, then agree again",
        ),
        _ => return refused_api(answer),
    };
    Trouble::new(exit, what).because(words).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_is_about_is_told_in_words_and_without_control_characters() {
        let of = json!({"of": {"subject": "5f6c4d66a1e1b6ef2d5aab76b3a1f001", "kind": "person", "user": "ali\u{1b}ce", "classes": ["command"]}});
        assert_eq!(
            scope_of(&of),
            "command of ali\u{fffd}ce (5f6c4d66a1e1b6ef2d5aab76b3a1f001)"
        );
        assert_eq!(scope_of(&json!({})), "");
    }

    #[test]
    fn an_id_is_no_path() {
        assert!(path_of("0192f0c1-7c3e-7d00-a000-0000000007f3").is_ok());
        for other in ["", "..", "a/b", "a?b", "a%2fb"] {
            assert!(path_of(other).is_err(), "{other}");
        }
    }
}
