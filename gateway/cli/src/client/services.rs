//! `gatescribe svc`: members of an audit group see which HTTP services are published, how each stands, and what a call of one would meet.

use clap::Subcommand;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use super::document::document;
use super::gateway::{API, Refused, authorized, escape, refused_api};
use super::home::Home;
use super::reason::request;
use super::session::{Ready, block_on, ready};
use super::table::{facts, table};
use super::trouble::{Trouble, clean};
use super::{GatewayArgument, Output};
use crate::Exit;
use crate::terminal::{data, say};

/// List, show, test.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List the published services: hosts, where each is, how it stands, and who publishes it.
    #[command(
        after_help = "Examples:\n  gatescribe svc ls\n  gatescribe svc ls -o json\n\nAnnotated Services that are not published are listed \
        with the reason. Only members of `identity.auditGroups` list services, and it is recorded.\n\nExit codes: 0 listed, 1 nothing is \
        published, 3 not signed in, 4 not permitted\nSee also: gatescribe svc show, gatescribe svc test"
    )]
    Ls {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Show one service: what its document says, its pods, and the rules that reach it.
    #[command(
        after_help = "Examples:\n  gatescribe svc show grafana\n  gatescribe svc show shop-web -o json\n\nAn annotated Service is called \
        NAMESPACE-NAME; of one that is not published the reason is shown.\n\nExit codes: 0 shown, 1 it is not published, 3 not signed in, 4 \
        not permitted, 5 there is none of this name\nSee also: gatescribe svc ls, gatescribe svc test"
    )]
    Show {
        /// Its name, as `gatescribe svc ls` lists it.
        name: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Have the gateway call a service, with nobody's credential, and say what each station of the way says.
    #[command(
        after_help = "Examples:\n  gatescribe svc test grafana.example.com\n  gatescribe svc test grafana.example.com/api/health --get\n  \
        gatescribe svc test shop.example.com/cart --as alice@example.com --group dev\n\nIt says which service has the host and path, who \
        may, where it is and whether that may be dialled, the connection with its certificate, and the status of the answer. The call is \
        recorded before it is made; of the answer nothing but its status is told. What access rules say is about a person who has just \
        signed in, or without --as about the public.\n\nExit codes: 0 every station is well, 1 one is not, 2 no host, 3 not signed in, 4 \
        not permitted\nSee also: gatescribe svc show, gatescribe can"
    )]
    Test {
        /// Host and path, such as web.example.com/health; a scheme before it means nothing.
        #[arg(value_name = "HOST[/PATH]")]
        place: String,
        /// Ask by GET; HEAD otherwise.
        #[arg(long)]
        get: bool,
        /// Say whether this Kubernetes user name may.
        #[arg(long = "as", value_name = "USER")]
        who: Option<String>,
        /// A group of that user. May be repeated.
        #[arg(long = "group", value_name = "GROUP", requires = "who")]
        groups: Vec<String>,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
}

pub(super) fn run(command: &ServiceCommand) -> Result<Exit, Trouble> {
    match command {
        ServiceCommand::Ls { output, gateway } => list(*output, gateway),
        ServiceCommand::Show { name, output, gateway } => show(name, *output, gateway),
        ServiceCommand::Test {
            place,
            get,
            who,
            groups,
            output,
            gateway,
        } => {
            let (host, target) = split(place);
            let method = if *get { "GET" } else { "HEAD" };
            let mut body = json!({"host": host, "target": target, "method": method, "groups": groups});
            if let (Some(who), Some(body)) = (who, body.as_object_mut()) {
                body.insert("as".to_owned(), json!(who));
            }
            test(&body, *output, gateway)
        }
    }
}

/// Host and target of what was typed: `https://web.example.com/a?b`, or less of it. A port is the gateway's own, and means nothing.
fn split(place: &str) -> (String, String) {
    let bare = ["https://", "http://"]
        .iter()
        .find_map(|scheme| place.strip_prefix(scheme))
        .unwrap_or(place);
    let end = bare.find(['/', '?']).unwrap_or(bare.len());
    let (host, rest) = bare.split_at(end);
    let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let target = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    (host, target)
}

fn list(output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let found = get("services", gateway)?;
    let rows = |member: &str| {
        found
            .get(member)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let (services, unpublished) = (rows("services"), rows("unpublished"));
    match output {
        Output::Json => drop(data(&document("ServiceList", &found))?),
        Output::Table if services.is_empty() && unpublished.is_empty() => say("no service is published"),
        Output::Table => {
            let rows: Vec<Vec<String>> = services
                .iter()
                .map(cells)
                .chain(unpublished.iter().map(refused_cells))
                .collect();
            data(&table(&HEADS, &rows, super::audit::width()))?;
        }
    }
    if let Some(refused) = found.get("refused").and_then(Value::as_str) {
        say(&format!(
            "! the rule files are not in force as they are now: {}",
            clean(refused)
        ));
    }
    Ok(if services.is_empty() { Exit::No } else { Exit::Done })
}

const HEADS: [&str; 6] = ["NAME", "HOSTS", "PATH", "UPSTREAM", "HEALTH", "BY"];

fn cells(service: &Value) -> Vec<String> {
    let text = |name: &str| text(service, name);
    vec![
        text("name"),
        joined(service.get("hosts")),
        text("path"),
        text("upstream"),
        health(service),
        text("by"),
    ]
}

fn refused_cells(service: &Value) -> Vec<String> {
    let text = |name: &str| text(service, name);
    let none = || "-".to_owned();
    let health = format!("✖ not published: {}", text("why"));
    vec![
        text("name"),
        none(),
        none(),
        none(),
        health,
        format!("the annotations of {}", text("by")),
    ]
}

/// How it stands, never by a colour alone.
fn health(service: &Value) -> String {
    let trouble = text(service, "trouble");
    let count = |name: &str| service.get(name).and_then(Value::as_u64);
    let pods = match (count("ready"), count("ending")) {
        (Some(ready), Some(ending)) if ending > 0 => Some(format!("{ready} of {} ready", ready.saturating_add(ending))),
        (Some(ready), _) => Some(format!("{ready} ready")),
        _ => None,
    };
    match (trouble.as_str(), pods) {
        ("", Some(pods)) => format!("✔ {pods}"),
        ("", None) => "✔".to_owned(),
        (trouble, Some(pods)) => format!("! {pods}: {trouble}"),
        (trouble, None) => format!("! {trouble}"),
    }
}

fn show(name: &str, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let found = get(&format!("services/{}", escape(name)), gateway)?;
    let is_published = found.contains_key("hosts");
    data(&match output {
        Output::Json => document("Service", &found),
        Output::Table => shown(&found),
    })?;
    Ok(if is_published { Exit::Done } else { Exit::No })
}

fn shown(found: &Map<String, Value>) -> String {
    let whole = Value::Object(found.clone());
    let mut lines: Vec<(&str, String)> = vec![("name", text(&whole, "name"))];
    if found.contains_key("hosts") {
        lines.extend([
            ("hosts", joined(whole.get("hosts"))),
            ("path", text(&whole, "path")),
            ("upstream", text(&whole, "upstream")),
            ("health", health(&whole)),
            ("by", text(&whole, "by")),
        ]);
    }
    let told = [
        "name",
        "hosts",
        "path",
        "upstream",
        "trouble",
        "ready",
        "ending",
        "by",
        "rules",
        "unpublished",
    ];
    let rest = found.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    lines.extend(rest.filter_map(|(name, value)| Some((name.as_str(), in_words(value)?))));
    for rule in found.get("rules").and_then(Value::as_array).into_iter().flatten() {
        lines.push(("rule", rule.as_str().unwrap_or_default().to_owned()));
    }
    if let Some(why) = found.get("unpublished").and_then(Value::as_str) {
        lines.push(("not published", why.to_owned()));
    }
    facts(&lines)
}

/// A value as people read it; nothing where there is nothing to say.
fn in_words(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items.iter().filter_map(in_words).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let told = members
                .iter()
                .filter_map(|(name, value)| Some(format!("{name} {}", in_words(value)?)));
            Some(told.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
        }
    }
}

fn test(body: &Value, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let found: Map<String, Value> = block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let url = url(&ready, "service-test");
        let answer = request(
            &ready.client,
            Method::POST,
            &url,
            ready.token.reveal(),
            &body.to_string(),
        )
        .await?;
        understood(&answer)
    })?;
    let steps = found
        .get("steps")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let is_well = |step: &Value| step.get("ok") == Some(&Value::Bool(true));
    data(&match output {
        Output::Json => document("ServiceTest", &found),
        Output::Table => steps.iter().fold(String::new(), |mut told, step| {
            let sign = if is_well(step) { '✔' } else { '✖' };
            told.push_str(&format!("{sign} {:<12}{}\n", text(step, "step"), text(step, "what")));
            told
        }),
    })?;
    Ok(if steps.iter().all(is_well) {
        Exit::Done
    } else {
        Exit::No
    })
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(clean).unwrap_or_default()
}

fn joined(list: Option<&Value>) -> String {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items
        .filter_map(Value::as_str)
        .map(clean)
        .collect::<Vec<_>>()
        .join(", ")
}

fn url(ready: &Ready, path: &str) -> String {
    format!("{}/{path}", ready.kept.endpoints.api)
}

fn get(path: &str, gateway: &GatewayArgument) -> Result<Map<String, Value>, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let asked = authorized(&url(&ready, path), ready.token.reveal())?;
        understood(&ready.client.send(asked).await?)
    })
}

fn understood(answer: &Response<bytes::Bytes>) -> Result<Map<String, Value>, Trouble> {
    if !answer.status().is_success() {
        return Err(refused(answer));
    }
    serde_json::from_slice(answer.body()).map_err(|error| {
        Trouble::new(Exit::Fault, "the gateway's answer is not understood")
            .because(error.to_string())
            .remedy("update gatescribe on the older side: `gatescribe version`")
    })
}

/// What a no means.
fn refused(answer: &Response<bytes::Bytes>) -> Trouble {
    let said = Refused::read(answer);
    match said.error.as_str() {
        "not_found" => Trouble::new(Exit::NotFound, "there is no such service")
            .because(said.words(answer.status()))
            .remedy("gatescribe svc ls lists those that are published"),
        _ => refused_api(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_a_host_and_a_target() {
        for (typed, host, target) in [
            ("web.example.com", "web.example.com", "/"),
            ("https://Web.example.com/a?b=/c", "web.example.com", "/a?b=/c"),
            ("http://web.localhost:8080/a%20b", "web.localhost", "/a%20b"),
            ("web.example.com?x=1", "web.example.com", "/?x=1"),
            ("", "", "/"),
        ] {
            assert_eq!(split(typed), (host.to_owned(), target.to_owned()), "{typed}");
        }
    }

    #[test]
    fn how_a_service_stands_is_said_in_words_and_signs() {
        for (service, told) in [
            (json!({}), "✔"),
            (json!({"ready": 2, "ending": 0}), "✔ 2 ready"),
            (json!({"ready": 1, "ending": 1}), "✔ 1 of 2 ready"),
            (
                json!({"ready": 0, "ending": 0, "trouble": "no pods\u{1b}[2J"}),
                "! 0 ready: no pods\u{fffd}[2J",
            ),
            (json!({"ready": null, "trouble": "cannot connect"}), "! cannot connect"),
        ] {
            assert_eq!(health(&service), told);
        }
    }

    #[test]
    fn one_that_is_not_published_is_a_row_with_the_reason() {
        let one = json!({"name": "team-thief", "by": "team/thief of prod", "why": "`a.example` is older"});
        assert_eq!(
            refused_cells(&one),
            [
                "team-thief",
                "-",
                "-",
                "-",
                "✖ not published: `a.example` is older",
                "the annotations of team/thief of prod"
            ]
        );
    }

    #[test]
    fn everything_that_the_gateway_says_of_a_service_is_shown() {
        let found = json!({"name": "web", "hosts": ["a.example", "b.example"], "path": "/", "upstream": "http://web", "by": "rule files",
            "timeouts": {"answer": "60s", "longest": null}, "tls": null, "stripPath": false, "new": {"member": [1, 2]},
            "rules": ["allow by AccessRule one", "forbid by AccessRule two"]});
        let text = shown(found.as_object().unwrap());
        for line in [
            "hosts      a.example, b.example",
            "timeouts   answer 60s",
            "stripPath  no",
            "new        member 1, 2",
            "rule       forbid by AccessRule two",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        assert!(!text.contains("tls"), "{text}");
        let refused = json!({"name": "team-thief", "unpublished": "it is older"});
        assert_eq!(
            shown(refused.as_object().unwrap()),
            "name           team-thief\nnot published  it is older\n"
        );
    }
}
