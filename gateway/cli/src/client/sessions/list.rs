//! Sessions for a person: the list, and one of them.

use serde_json::{Map, Value};

use super::LsArguments;
use super::ask::{get, path_of, whole_id};
use super::stream::{Standing, passes_messages};
use crate::Exit;
use crate::client::ask::query;
use crate::client::audit::{is_public, source, via};
use crate::client::document::document;
use crate::client::gateway::API;
use crate::client::home::Home;
use crate::client::session::{block_on, in_seconds, ready};
use crate::client::table::{facts, table};
use crate::client::trouble::{Trouble, clean};
use crate::client::whoami::plain;
use crate::client::{GatewayArgument, Output};
use crate::terminal::{data, say};

const HEADS: [&str; 9] = [
    "TIME (UTC)",
    "WHO",
    "WHERE",
    "WHAT",
    "HOW LONG",
    "BYTES",
    "RECORDED",
    "RESULT",
    "ID",
];

/// Columns that a small terminal goes without, the first to go first; `-o json` has all that they say.
const GIVE_WAY: [&str; 3] = ["BYTES", "HOW LONG", "RECORDED"];
/// Of a time: the year and its dash.
const YEAR: usize = 5;

pub(super) fn list(arguments: &LsArguments) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let (words, limit) = (arguments.query.join(" "), arguments.limit.to_string());
    let asked = query(&[
        ("live", arguments.live.then_some("true")),
        ("q", Some(words.as_str()).filter(|words| !words.is_empty())),
        ("since", arguments.since.as_deref()),
        ("until", arguments.until.as_deref()),
        ("limit", Some(&limit)),
    ]);
    let found = block_on(async {
        let ready = ready(&home, arguments.gateway.url.as_deref(), API).await?;
        get(&ready, &asked).await
    })?;
    let sessions = found.get("sessions").and_then(Value::as_array).map(Vec::as_slice);
    let sessions = sessions.unwrap_or_default();
    match arguments.output {
        Output::Json => drop(data(&document("SessionList", &found))?),
        Output::Table if !sessions.is_empty() => {
            let rows: Vec<Vec<String>> = sessions.iter().map(cells).collect();
            data(&fitting(&rows, super::super::audit::width()))?;
        }
        Output::Table => {}
    }
    say_around(&found, sessions, arguments.live);
    Ok(match (sessions.is_empty(), was_cut(&found)) {
        (false, _) => Exit::Done,
        // That there is none is not known.
        (true, true) => Exit::Partly,
        (true, false) => Exit::No,
    })
}

/// The rows as a table. In a small terminal some columns and the year give way to whole names and times: nine pieces of nine words say
/// nothing.
fn fitting(rows: &[Vec<String>], width: Option<usize>) -> String {
    let fits = |text: &str, width: usize| text.lines().all(|line| line.chars().count() <= width);
    let whole = table(&HEADS, rows, None);
    let Some(width) = width.filter(|width| !fits(&whole, *width)) else {
        return whole;
    };
    let mut gone = 0;
    loop {
        let left_out = GIVE_WAY.get(..gone).unwrap_or_default();
        let heads: Vec<&str> = HEADS.into_iter().filter(|head| !left_out.contains(head)).collect();
        let without = |row: &Vec<String>| -> Vec<String> {
            let cells = HEADS.iter().zip(row).filter(|(head, _)| !left_out.contains(head));
            let short = |(head, cell): (&&str, &String)| match *head == HEADS[0] {
                true => cell.chars().skip(YEAR).collect(),
                false => cell.clone(),
            };
            cells.map(short).collect()
        };
        let rows: Vec<Vec<String>> = rows.iter().map(without).collect();
        if gone == GIVE_WAY.len() || fits(&table(&heads, &rows, None), width) {
            return table(&heads, &rows, Some(width));
        }
        gone += 1;
    }
}

/// Whether the gateway gave up before all was looked at.
fn was_cut(found: &Map<String, Value>) -> bool {
    found.get("stopped").and_then(Value::as_str) == Some("budget")
}

fn say_around(found: &Map<String, Value>, sessions: &[Value], live: bool) {
    if sessions.is_empty() {
        say(match (was_cut(found), live) {
            (true, _) => "no session was found among those that were looked at",
            (false, true) => "no session goes on",
            (false, false) => "no session was found",
        });
    }
    if let Some(words) = left_out(found, sessions) {
        say(&words);
    }
    if let Some(words) = uncompared(found) {
        say(&words);
    }
    if found.get("scope").and_then(Value::as_str) == Some("own") {
        say("You see your own sessions only: you have no audit role.");
    }
    if let Some(trouble) = found.get("trouble").and_then(Value::as_str) {
        say(&format!("! {}", clean(trouble)));
    }
    match (found.get("stopped").and_then(Value::as_str), found.get("next")) {
        // All of them were looked at that are told by name; the others were counted above.
        (Some("budget"), None) if uncompared(found).is_some() => {}
        (Some("budget"), _) => say("! not all was searched in the time there is; narrow it with --since, user: or ns:"),
        (_, Some(Value::Number(_))) => say("there is more; narrow the query or raise --limit"),
        _ => {}
    }
}

/// Those that go on and stand in no row, because there are more of them than rows.
fn left_out(found: &Map<String, Value>, sessions: &[Value]) -> Option<String> {
    let shown = sessions.iter().filter(|session| is(session, "live")).count();
    let all = found.get("live").and_then(Value::as_u64).unwrap_or(0);
    let is_cut = u64::try_from(shown).is_ok_and(|shown| shown < all);
    is_cut.then(|| {
        let are = if shown == 1 { "is" } else { "are" };
        format!(
            "! {all} sessions go on and {shown} of them {are} shown; narrow the query or raise --limit (500 at most)"
        )
    })
}

/// Those that go on and of which nobody can tell whether they are asked for.
fn uncompared(found: &Map<String, Value>) -> Option<String> {
    let count = found
        .get("live_unread")
        .and_then(Value::as_u64)
        .filter(|count| *count > 0)?;
    let these = if count == 1 {
        "1 session goes on that was".to_owned()
    } else {
        format!("{count} sessions go on that were")
    };
    Some(format!(
        "! {these} not compared with the query: ask again, or list all that go on (gatescribe session ls --live)"
    ))
}

fn cells(session: &Value) -> Vec<String> {
    let id = word(session, "id");
    let short = id.len().saturating_sub(8);
    vec![
        time(session),
        who(session),
        place(session),
        what(session),
        how_long(session),
        bytes(session),
        if is(session, "recorded") { "yes" } else { "no" }.to_owned(),
        result(session),
        id.get(short..).unwrap_or_default().to_owned(),
    ]
}

fn is(session: &Value, name: &str) -> bool {
    session.get(name).and_then(Value::as_bool) == Some(true)
}

fn word(session: &Value, name: &str) -> String {
    session.get(name).map_or_else(String::new, plain)
}

fn time(session: &Value) -> String {
    word(session, "t").trim_end_matches('Z').replace('T', " ")
}

fn who(session: &Value) -> String {
    let part = |name: &str| {
        let part = session.pointer("/who")?.get(name)?.as_str()?;
        Some(part.to_owned()).filter(|part| !part.is_empty())
    };
    if is_public(session) {
        return "(public)".to_owned();
    }
    let name = part("user").or_else(|| part("email"));
    format!("{}{}", name.unwrap_or_else(|| "-".to_owned()), via(session))
}

/// `ns/pod/container`; a node or service by its kind, and what was entered through its kubelet; of an HTTP service host and path.
fn place(session: &Value) -> String {
    if let Some(host) = session.pointer("/service/host").and_then(Value::as_str) {
        return format!("{host}{}", word(session, "path"));
    }
    let name = match word(session, "resource").as_str() {
        "pods" | "" => word(session, "name"),
        other => format!("{}:{}", other.trim_end_matches('s'), word(session, "name")),
    };
    let parts = [
        word(session, "namespace"),
        name,
        word(session, "pod"),
        word(session, "container"),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

fn what(session: &Value) -> String {
    match word(session, "action").as_str() {
        "portforward" => "port-forward".to_owned(),
        // What asks a service for another protocol is a WebSocket nearly always, and what it is then nobody looks at.
        "" if session.get("service").is_some() => "upgrade".to_owned(),
        other => other.to_owned(),
    }
}

fn how_long(session: &Value) -> String {
    let micros = session.get("took_us").and_then(Value::as_u64);
    micros.map_or_else(String::new, |micros| in_words(micros / 1_000))
}

fn in_words(millis: u64) -> String {
    let seconds = millis / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{millis} ms"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn bytes(session: &Value) -> String {
    let count = |name: &str| session.get(name).and_then(Value::as_u64);
    match (count("bytes_in"), count("bytes_out")) {
        (None, None) => String::new(),
        (up, down) => format!("↑{} ↓{}", size(up.unwrap_or(0)), size(down.unwrap_or(0))),
    }
}

fn size(bytes: u64) -> String {
    let mut whole = (bytes, 0);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if whole.0 < 1_024 {
            let (number, rest) = whole;
            return match (number < 10 && unit != "B", rest * 10 / 1_024) {
                (true, tenth) if tenth > 0 => format!("{number}.{tenth} {unit}"),
                _ => format!("{number} {unit}"),
            };
        }
        whole = (whole.0 / 1_024, whole.0 % 1_024);
    }
    format!("{} TiB", whole.0)
}

/// In words: `live`, `exit 3`, `ended: …`, what the cluster said.
fn result(session: &Value) -> String {
    if is(session, "live") {
        return "live".to_owned();
    }
    let result = session_result(session.get("outcome"), is(session, "refused"));
    format!("{result}{}", source(session))
}

/// How a session ended, for tables.
pub(in crate::client) fn session_result(outcome: Option<&Value>, refused: bool) -> String {
    let of = |name: &str| outcome.and_then(|outcome| outcome.get(name));
    let text = |name: &str| of(name).map_or_else(String::new, plain);
    let (end, status, why) = (text("end"), text("status"), text("why"));
    if refused {
        return format!("✖ refused {status}").trim_end().to_owned();
    }
    if let Some(code) = of("exit_code").and_then(Value::as_i64) {
        return if code == 0 {
            "✔ exit 0".to_owned()
        } else {
            format!("exit {code}")
        };
    }
    let ours = why.strip_prefix("ended by the gateway: ");
    match end.as_str() {
        "answered" if status != "101" => format!("✖ {status}"),
        "answered" if why.is_empty() => "✔".to_owned(),
        "ended" => match ours {
            Some(by) if by.starts_with("ended by ") => by.to_owned(),
            Some(other) => format!("ended: {other}"),
            None => "ended".to_owned(),
        },
        "inFlight" => "… runs".to_owned(),
        "" => "unknown".to_owned(),
        _ if !why.is_empty() => why,
        other => other.to_owned(),
    }
}

pub(super) fn show(id: &str, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let found = block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let id = whole_id(&ready, id).await?;
        get(&ready, &path_of(&id)).await
    })?;
    let nothing = Value::Null;
    let session = found.get("session").unwrap_or(&nothing);
    let recording = found.get("recording").filter(|recording| recording.is_object());
    data(&match output {
        Output::Json => document("Session", &found),
        Output::Table => facts(&told(session, recording, &found)),
    })?;
    if let Some(note) = found.get("note").and_then(Value::as_str) {
        say(&format!("! {}", clean(note)));
    }
    match recording.map(Standing::of) {
        Some(bad @ (Standing::Damaged(_) | Standing::Missing(_) | Standing::Unknown(_))) => bad.judged(),
        Some(
            Standing::Whole
            | Standing::GoesOn
            | Standing::Closed(_)
            | Standing::Incomplete(_)
            | Standing::Erased(_)
            | Standing::Nothing(_),
        )
        | None => Ok(Exit::Done),
    }
}

fn told(session: &Value, recording: Option<&Value>, found: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let head = |name: &str| recording.and_then(|recording| recording.pointer(name));
    let command = head("/head/command").or_else(|| found.get("command")).map(command);
    let allowed = found.get("words").and_then(Value::as_array).map(|words| joined(words));
    let began = session.get("t").and_then(Value::as_str);
    let began = began
        .and_then(|text| model::time::Timestamp::parse(text).ok())
        .map(in_seconds);
    let place = match (place(session), head("/head/container").and_then(Value::as_str)) {
        (place, Some(container)) if word(session, "container").is_empty() => format!("{place}/{container}"),
        (place, _) => place,
    };
    let finish = |name: &str| {
        head(&format!("/finish/{name}"))
            .and_then(Value::as_u64)
            .filter(|count| *count > 0)
    };
    let counted = [
        ("masked", "secrets masked"),
        ("files", "files copied"),
        ("connections", "connections"),
    ];
    let messages = recording.is_some_and(passes_messages);
    let messages = messages.then(|| "messages, shown by session export --format text".to_owned());
    let counted = counted
        .iter()
        .filter_map(|(name, words)| Some(format!("{} {words}", finish(name)?)));
    let counted = messages.into_iter().chain(counted);
    let mut all = vec![
        ("session", word(session, "id")),
        ("who", who(session)),
        ("where", place),
        ("node", word(session, "node")),
        ("cluster", word(session, "cluster")),
        (
            "service",
            session.pointer("/service/name").map_or_else(String::new, plain),
        ),
        ("what", what(session)),
        ("command", command.unwrap_or_default()),
        ("allowed by", allowed.unwrap_or_default()),
        ("reason", word(session, "stated_reason")),
        ("began", began.unwrap_or_default()),
        ("how long", how_long(session)),
        ("bytes", bytes(session)),
        ("result", result(session)),
        ("recording", kept(session, recording)),
        ("root hash", root(session)),
        ("in it", counted.collect::<Vec<_>>().join(", ")),
    ];
    all.retain(|(_, value)| !value.is_empty());
    all
}

fn joined(words: &[Value]) -> String {
    words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
}

/// Its words, or why they cannot be told.
fn command(command: &Value) -> String {
    let why = |name: &str| Some(format!("{name}: {}", command.get(name)?.as_str()?));
    match command.as_array() {
        Some(words) => joined(words),
        None => why("erased").or_else(|| why("unreadable")).unwrap_or_default(),
    }
}

/// Of the recording, as the ledger has it.
fn root(session: &Value) -> String {
    let of = |name: &str| session.pointer("/recording").and_then(|recording| recording.get(name));
    match (of("hash").and_then(Value::as_str), of("chunks").and_then(Value::as_u64)) {
        (Some(hash), Some(chunks)) if !hash.is_empty() => format!("{hash} (SHA-256, after {chunks} chunks)"),
        _ => String::new(),
    }
}

fn kept(session: &Value, recording: Option<&Value>) -> String {
    let Some(recording) = recording else {
        return if is(session, "recorded") {
            "under way"
        } else {
            "none: no rule and no configuration asked for one"
        }
        .to_owned();
    };
    let length = session.pointer("/recording/bytes").and_then(Value::as_u64).map(size);
    let length = length.map_or_else(String::new, |length| format!(", {length}"));
    match Standing::of(recording) {
        Standing::Whole => format!("whole, as the ledger says{length}"),
        Standing::GoesOn => format!("goes on, as the ledger says up to now{length}"),
        Standing::Closed(why) => format!("closed; {why}{length}"),
        Standing::Incomplete(why) => format!("without its end: {why}"),
        Standing::Unknown(why) => format!("cannot be told now: {why}"),
        Standing::Damaged(why) => format!("DAMAGED: {why}"),
        Standing::Missing(why) => format!("MISSING: {why}"),
        Standing::Erased(why) => why.clone(),
        Standing::Nothing(why) => format!("nothing: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> Value {
        json!({
            "id": "0192f0c1-7c3e-7d00-a000-0000000007f3", "t": "2026-11-21T05:00:00.123456Z", "live": false,
            "who": {"id": "s", "user": "alice@example.com"}, "cluster": "prod", "namespace": "shop", "resource": "pods",
            "name": "web-0", "action": "exec", "bytes_in": 40, "bytes_out": 1_300, "took_us": 63_000_000, "recorded": true,
            "recording": {"chunks": 2, "frames": 9, "bytes": 828, "hash": "22"}, "refused": false,
            "outcome": {"end": "answered", "status": 101, "exit_code": 3},
        })
    }

    #[test]
    fn a_row_says_when_who_where_what_how_long_how_much_and_how_it_ended() {
        let mut live = session();
        live["live"] = json!(true);
        live["container"] = json!("nginx");
        live["action"] = json!("portforward");
        live["recorded"] = json!(false);
        let rows = [cells(&live), cells(&session())];
        assert_eq!(
            table(&HEADS, &rows, None),
            "TIME (UTC)           WHO                WHERE             WHAT          HOW LONG   BYTES           RECORDED  RESULT  ID\n\
             2026-11-21 05:00:00  alice@example.com  shop/web-0/nginx  port-forward  1 min 3 s  ↑40 B ↓1.2 KiB  no        live    000007f3\n\
             2026-11-21 05:00:00  alice@example.com  shop/web-0        exec          1 min 3 s  ↑40 B ↓1.2 KiB  yes       exit 3  000007f3\n"
        );
    }

    #[test]
    fn of_a_service_host_and_path_are_where_it_was() {
        let session = json!({
            "id": "0192f0c1-7c3e-7d00-a000-0000000007f3", "t": "2026-11-21T05:00:00Z", "who": {"user": "alice"}, "path": "/api/live/ws",
            "service": {"name": "grafana", "host": "grafana.example.com"}, "outcome": {"end": "answered", "status": 101},
        });
        let row = cells(&session);
        assert_eq!(
            (row[2].as_str(), row[3].as_str(), row[7].as_str()),
            ("grafana.example.com/api/live/ws", "upgrade", "✔")
        );
        let told = told(&session, None, &Map::new());
        assert!(told.contains(&("service", "grafana".to_owned())), "{told:?}");
        let through =
            json!({"who": {"user": "alice"}, "via": [{"id": "s1", "user": "system:serviceaccount:shop:front"}]});
        assert_eq!(who(&through), "alice via shop/front");
        let public = json!({"service": {"name": "grafana", "host": "g.example", "public": true}});
        assert_eq!(who(&public), "(public)");
    }

    #[test]
    fn a_session_that_the_gateway_did_not_see_says_so() {
        for (source, words) in [
            ("sample", "exit 3 (sample)"),
            ("ingested", "exit 3 (ingested)"),
            ("gateway", "exit 3"),
        ] {
            let mut session = session();
            session["source"] = json!(source);
            assert_eq!(result(&session), words);
        }
    }

    #[test]
    fn a_small_terminal_goes_without_columns_and_not_without_names() {
        let rows = [cells(&session())];
        let whole = table(&HEADS, &rows, None);
        let widest = whole.lines().map(|line| line.chars().count()).max().unwrap();
        assert_eq!(fitting(&rows, None), whole);
        assert_eq!(fitting(&rows, Some(widest)), whole);
        for (width, text) in [
            (
                widest - 5,
                "TIME (UTC)      WHO                WHERE       WHAT  HOW LONG   BYTES           RECORDED  RESULT  ID\n\
                 11-21 05:00:00  alice@example.com  shop/web-0  exec  1 min 3 s  ↑40 B ↓1.2 KiB  yes       exit 3  000007f3\n",
            ),
            (
                80,
                "TIME (UTC)      WHO                WHERE       WHAT  RECORDED  RESULT  ID\n\
                 11-21 05:00:00  alice@example.com  shop/web-0  exec  yes       exit 3  000007f3\n",
            ),
        ] {
            assert_eq!(fitting(&rows, Some(width)), text, "{width}");
        }
        let small = fitting(&rows, Some(60));
        assert!(small.lines().all(|line| line.chars().count() <= 60), "{small}");
        assert!(small.ends_with("  000007f3\n"), "{small}");
    }

    #[test]
    fn every_end_of_a_session_has_its_words() {
        let gateway = |why: &str| json!({"end": "ended", "status": 101, "why": format!("ended by the gateway: {why}")});
        for (outcome, words) in [
            (json!({"end": "answered", "status": 101, "exit_code": 0}), "✔ exit 0"),
            (json!({"end": "answered", "status": 101}), "✔"),
            (json!({"end": "answered", "status": 404}), "✖ 404"),
            (
                gateway("ended by carol: the change is over"),
                "ended by carol: the change is over",
            ),
            (gateway("it stops"), "ended: it stops"),
            (
                json!({"end": "clientGone", "why": "the client left: reset"}),
                "the client left: reset",
            ),
            (json!({"end": "unknown"}), "unknown"),
            (json!({"end": "inFlight"}), "… runs"),
        ] {
            assert_eq!(session_result(Some(&outcome), false), words, "{outcome}");
        }
        assert_eq!(
            session_result(Some(&json!({"end": "answered", "status": 403})), true),
            "✖ refused 403"
        );
    }

    #[test]
    fn one_session_is_told_with_its_command_and_how_its_recording_stands() {
        let recording = json!({
            "standing": "whole", "chunks": 2, "finish": {"masked": 1, "files": 0},
            "head": {"command": ["sh", "-c", "id"], "container": "nginx"},
        });
        let found = json!({"words": ["RoleBinding shop/dev → ClusterRole/edit allows it."], "command": ["sh"]});
        let found = found.as_object().unwrap();
        assert_eq!(
            facts(&told(&session(), Some(&recording), found)),
            "session     0192f0c1-7c3e-7d00-a000-0000000007f3\nwho         alice@example.com\nwhere       shop/web-0/nginx\n\
             cluster     prod\nwhat        exec\ncommand     sh -c id\nallowed by  RoleBinding shop/dev → ClusterRole/edit allows it.\n\
             began       2026-11-21T05:00:00Z\nhow long    1 min 3 s\n\
             bytes       ↑40 B ↓1.2 KiB\nresult      exit 3\nrecording   whole, as the ledger says, 828 B\n\
             root hash   22 (SHA-256, after 2 chunks)\nin it       1 secrets masked\n"
        );
        let damaged = json!({"standing": "damaged", "why": "chunk 1 is missing; chunk 2 stands in its place"});
        assert!(kept(&session(), Some(&damaged)).starts_with("DAMAGED: chunk 1 is missing"));
        let gone = json!({"standing": "damaged", "missing": true, "why": "its file is not there"});
        assert_eq!(kept(&session(), Some(&gone)), "MISSING: its file is not there");
    }

    #[test]
    fn a_session_that_was_not_recorded_has_its_command_from_the_record() {
        for (command, words) in [
            (json!(["sh", "-c", "id"]), "sh -c id"),
            (json!({"erased": "its key is gone"}), "erased: its key is gone"),
            (json!({"unreadable": "it was changed"}), "unreadable: it was changed"),
        ] {
            let found = json!({ "command": command });
            let told = told(&session(), None, found.as_object().unwrap());
            assert!(told.contains(&("command", words.to_owned())), "{told:?}");
        }
    }

    #[test]
    fn a_session_of_messages_says_what_passed_in_it() {
        let recording = json!({"standing": "whole", "head": {"kind": "proxy"}, "finish": {"masked": 2}});
        let told = told(&session(), Some(&recording), &Map::new());
        let in_it = "messages, shown by session export --format text, 2 secrets masked";
        assert!(told.contains(&("in it", in_it.to_owned())), "{told:?}");
    }

    #[test]
    fn sessions_that_go_on_and_are_not_shown_are_counted() {
        let mut live = session();
        live["live"] = json!(true);
        let found = |all: u64| json!({ "live": all }).as_object().unwrap().clone();
        let shown = [live.clone(), live, session()];
        assert_eq!(left_out(&found(2), &shown), None);
        let words = left_out(&found(7), &shown).unwrap();
        assert!(words.contains("7 sessions go on and 2 of them are shown"), "{words}");
        let words = left_out(&found(7), &shown[1..]).unwrap();
        assert!(words.contains("7 sessions go on and 1 of them is shown"), "{words}");
    }
}
