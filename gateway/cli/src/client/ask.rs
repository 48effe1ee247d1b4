//! `gatescribe can` and `gatescribe why`: the gateway's own evaluator, asked under one's own name.

use clap::Args;
use serde_json::{Map, Value};
use url::Url;

use super::api::{client_for, pick};
use super::document::document;
use super::gateway::{API, escape, read_json};
use super::home::Home;
use super::resources::{self, Known};
use super::session::{block_on, chosen, ready, sign_in_needed};
use super::table::facts;
use super::trouble::{Trouble, clean};
use super::whoami::plain;
use super::{GatewayArgument, Output};
use crate::Exit;
use crate::terminal::{data, say};

/// What is asked about.
#[derive(Args, Debug)]
pub(crate) struct CanArguments {
    /// A Kubernetes verb: get, list, create, delete, …; of a service an HTTP method: GET, POST, …
    verb: String,
    /// A resource as kubectl names it (deploy, deployment, deployments.apps), with the name of an object behind a slash if
    /// it is about one; or a path that begins with a slash, such as /metrics; or the URL of a page of a service, such as
    /// https://grafana.example.com/d/7.
    #[arg(value_name = "RESOURCE[/NAME] or URL")]
    resource: String,
    /// The namespace; without it, the whole cluster is asked about.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The cluster; needed where there are several.
    #[arg(long)]
    cluster: Option<String>,
    /// The subresource, for example log or exec.
    #[arg(long)]
    subresource: Option<String>,
    /// Of a service: may whoever has not signed in do it?
    #[arg(long)]
    public: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    gateway: GatewayArgument,
}

pub(super) fn can(arguments: &CanArguments) -> Result<Exit, Trouble> {
    let question = match at_service(arguments)? {
        Some(question) => question,
        None => at_cluster(arguments)?,
    };
    let told = ask(&arguments.gateway, &format!("/can{question}"))?;
    let allowed = told.get("allowed").and_then(Value::as_bool).ok_or_else(|| {
        Trouble::new(Exit::Fault, "the gateway's answer is not understood")
            .because("it holds no `allowed`")
            .remedy("update gatescribe on the older side: `gatescribe version`")
    })?;
    show(
        "Access",
        &told,
        arguments.output,
        if allowed { "✔ yes" } else { "✖ no" },
    )?;
    Ok(if allowed { Exit::Done } else { Exit::No })
}

/// The question about a page of a service; `None`: it is about a cluster.
fn at_service(arguments: &CanArguments) -> Result<Option<String>, Trouble> {
    let wrong = |what: &str, remedy: &str| Trouble::new(Exit::Usage, what).remedy(remedy);
    if !["http://", "https://"]
        .iter()
        .any(|scheme| arguments.resource.starts_with(scheme))
    {
        return match arguments.public {
            true => Err(wrong(
                "`--public` is for pages of services",
                "give the URL of one, such as https://grafana.example.com/",
            )),
            false => Ok(None),
        };
    }
    let others = [&arguments.namespace, &arguments.cluster, &arguments.subresource];
    if others.iter().any(|other| other.is_some()) {
        return Err(wrong(
            "a service stands in no cluster and no namespace",
            "leave `--namespace`, `--cluster` and `--subresource` out",
        ));
    }
    // As a browser reads it, so that it is asked about what a browser would send.
    let url = Url::parse(&arguments.resource);
    let url = url.map_err(|error| Trouble::new(Exit::Usage, "that is no URL").because(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "the URL names a user",
            "leave out what stands before the `@`: it is asked about you",
        ));
    }
    // Methods are written in capitals; whoever asks seldom writes them so.
    let method = arguments.verb.to_ascii_uppercase();
    let pairs = [
        ("host", url.host_str()),
        ("method", Some(method.as_str())),
        ("path", Some(url.path())),
        ("public", arguments.public.then_some("true")),
    ];
    Ok(Some(query(&pairs)))
}

fn at_cluster(arguments: &CanArguments) -> Result<String, Trouble> {
    let asked = Asked::read(&arguments.resource);
    let meant = meant(arguments, &asked)?;
    let meant = meant.as_ref();
    let pairs = [
        ("verb", Some(arguments.verb.as_str())),
        (
            "group",
            meant.map_or(asked.group, |known| {
                Some(&known.group).filter(|group| !group.is_empty()).map(String::as_str)
            }),
        ),
        ("resource", meant.map_or(asked.resource, |known| Some(&known.plural))),
        ("name", asked.name),
        ("path", asked.path),
        ("namespace", arguments.namespace.as_deref()),
        ("subresource", arguments.subresource.as_deref()),
        ("cluster", arguments.cluster.as_deref()),
    ];
    Ok(query(&pairs))
}

/// The resource as the cluster names it. What RBAC knows and no cluster lists is asked as typed: all resources, and whom one
/// may act as.
fn meant(arguments: &CanArguments, asked: &Asked<'_>) -> Result<Option<Known>, Trouble> {
    let Some(resource) = asked.resource.filter(|resource| *resource != "*") else {
        return Ok(None);
    };
    if arguments.verb.starts_with("impersonate") {
        return Ok(None);
    }
    let home = Home::find()?;
    let gateway = chosen(&home, arguments.gateway.url.as_deref())?;
    let kept = home.place(&gateway).read()?;
    let kept = kept.ok_or_else(|| sign_in_needed(&gateway, None))?;
    let cluster = pick(&kept, arguments.cluster.as_deref())?;
    let known = block_on(async {
        let ready = ready(&home, Some(gateway.as_str()), &cluster.name).await?;
        let client = client_for(&ready, &cluster)?;
        Ok::<_, Trouble>(resources::read(&client, &cluster.server, ready.token.reveal()).await?)
    });
    match known {
        Ok(known) if !known.is_empty() => resources::find(&known, resource, asked.group).cloned().map(Some),
        Err(trouble) if trouble.exit == Exit::SignIn => Err(trouble),
        // The gateway can still be asked: it decides by names and needs no list of them.
        Ok(_) | Err(_) => {
            say("! the cluster did not say what its resources are called; asked as typed");
            Ok(None)
        }
    }
}

/// `deployments.apps/web` or `/metrics`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked<'a> {
    group: Option<&'a str>,
    resource: Option<&'a str>,
    name: Option<&'a str>,
    path: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn read(text: &'a str) -> Self {
        if text.starts_with('/') {
            return Self {
                path: Some(text),
                ..Self::default()
            };
        }
        let (kind, name) = text
            .split_once('/')
            .map_or((text, None), |(kind, name)| (kind, Some(name)));
        let (resource, group) = kind
            .split_once('.')
            .map_or((kind, None), |(kind, group)| (kind, Some(group)));
        Self {
            group,
            resource: Some(resource),
            name,
            path: None,
        }
    }
}

pub(super) fn why(id: &str, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let told = ask(gateway, &format!("/why/{}", escape(id)))?;
    let head = match told.get("allowed").and_then(Value::as_bool) {
        Some(true) => "✔ allowed",
        Some(false) => "✖ refused",
        None => "recorded",
    };
    show("Decision", &told, output, head)?;
    Ok(Exit::Done)
}

fn ask(gateway: &GatewayArgument, path: &str) -> Result<Map<String, Value>, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let url = format!("{}{path}", ready.kept.endpoints.api);
        read_json(&ready.client, &url, ready.token.reveal()).await
    })
}

/// `?a=b&c=d` of what is there.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={}", escape(value))))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

fn show(kind: &str, told: &Map<String, Value>, output: Output, head: &str) -> Result<(), Trouble> {
    data(&match output {
        Output::Json => document(kind, told),
        Output::Table => format!("{head}\n{}", sentences(told)),
    })?;
    Ok(())
}

/// The gateway's own sentences, or the rules by their text; where there is neither, every member.
fn sentences(told: &Map<String, Value>) -> String {
    let list = |name: &str| {
        told.get(name)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let mut words: Vec<String> = list("words").iter().map(plain).collect();
    if words.is_empty() {
        words = list("rules")
            .iter()
            .filter_map(|rule| rule.get("text").map(plain))
            .collect();
    }
    if words.is_empty() {
        return lines(told, 1);
    }
    let nearest = told.get("nearest").and_then(Value::as_object).map(|nearest| {
        let word = |name: &str| nearest.get(name).map_or_else(String::new, plain);
        match word("namespace") {
            everywhere if everywhere.is_empty() => format!("nearest role: {}", word("role")),
            namespace => format!("nearest role: {} in {namespace}", word("role")),
        }
    });
    let act = told.get("act").map(plain);
    act.into_iter()
        .chain(words)
        .chain(nearest)
        .map(|line| format!("  {}\n", clean(&line)))
        .collect()
}

/// The members of an answer, nested ones indented; `allowed` is the headline already.
fn lines(told: &Map<String, Value>, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let is_tree = |value: &Value| match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => items.iter().any(Value::is_object),
        _ => false,
    };
    let flat: Vec<(&str, String)> = told
        .iter()
        .filter(|(name, value)| *name != "allowed" && !is_tree(value))
        .map(|(name, value)| (name.as_str(), plain(value)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let mut text: String = facts(&flat).lines().map(|line| format!("{indent}{line}\n")).collect();
    for (name, value) in told.iter().filter(|(_, value)| is_tree(value)) {
        text.push_str(&format!("{indent}{}\n", clean(name)));
        text.push_str(&branch(value, depth + 1));
    }
    text
}

fn branch(value: &Value, depth: usize) -> String {
    match value {
        Value::Object(members) => lines(members, depth),
        Value::Array(items) => items
            .iter()
            .map(|item| branch(item, depth))
            .collect::<Vec<_>>()
            .join(&format!("{}-\n", "  ".repeat(depth))),
        other => format!("{}{}\n", "  ".repeat(depth), clean(&plain(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_cannot_leave_its_place_in_the_address() {
        assert_eq!(
            query(&[
                ("verb", Some("get")),
                ("name", Some("a&cluster=b#/../")),
                ("namespace", None)
            ]),
            "?verb=get&name=a%26cluster%3Db%23%2F..%2F"
        );
        assert_eq!(query(&[("a", None)]), "");
    }

    fn about(line: &[&str]) -> Result<Option<String>, String> {
        use clap::Parser as _;

        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: CanArguments,
        }
        let line = Line::try_parse_from([&["can"], line].concat()).unwrap();
        at_service(&line.arguments).map_err(|trouble| trouble.text())
    }

    #[test]
    fn of_a_service_it_is_asked_what_a_browser_would_send() {
        for (line, asked) in [
            (
                &["GET", "https://grafana.example.com/d/7"][..],
                "?host=grafana.example.com&method=GET&path=%2Fd%2F7",
            ),
            (
                &["post", "https://Grafana.example.com:8443"],
                "?host=grafana.example.com&method=POST&path=%2F",
            ),
            (
                &["GET", "http://bücher.example/a b?x=1#y"],
                "?host=xn--bcher-kva.example&method=GET&path=%2Fa%2520b",
            ),
            (
                &["GET", "https://a.example/b/../c"],
                "?host=a.example&method=GET&path=%2Fc",
            ),
            (
                &["GET", "https://a.example/x&public=true"],
                "?host=a.example&method=GET&path=%2Fx%26public%3Dtrue",
            ),
            (
                &["GET", "https://a.example/", "--public"],
                "?host=a.example&method=GET&path=%2F&public=true",
            ),
        ] {
            assert_eq!(about(line), Ok(Some(asked.to_owned())), "{line:?}");
        }
        for line in [
            &["get", "pods"][..],
            &["get", "/metrics"],
            &["get", "https.example.com/x"],
        ] {
            assert_eq!(about(line), Ok(None), "{line:?}");
        }
    }

    #[test]
    fn what_means_nothing_of_a_service_is_refused_and_not_left_out() {
        for (line, what) in [
            (
                &["GET", "https://a.example/", "-n", "shop"][..],
                "stands in no cluster and no namespace",
            ),
            (
                &["GET", "https://a.example/", "--cluster", "prod"],
                "stands in no cluster and no namespace",
            ),
            (
                &["GET", "https://a.example/", "--subresource", "log"],
                "stands in no cluster and no namespace",
            ),
            (&["GET", "https://bob:x@a.example/"], "names a user"),
            (&["GET", "https://"], "no URL"),
            (&["get", "pods", "--public"], "`--public` is for pages of services"),
        ] {
            let told = about(line).unwrap_err();
            assert!(told.contains(what) && !told.contains("bob"), "{line:?}: {told}");
        }
    }

    #[test]
    fn what_is_asked_about_is_read_as_kubectl_reads_it() {
        let asked = Asked::read("deployments.apps/web");
        assert_eq!(
            (asked.group, asked.resource, asked.name),
            (Some("apps"), Some("deployments"), Some("web"))
        );
        assert_eq!(
            Asked::read("pods"),
            Asked {
                resource: Some("pods"),
                ..Asked::default()
            }
        );
        assert_eq!(
            Asked::read("/metrics"),
            Asked {
                path: Some("/metrics"),
                ..Asked::default()
            }
        );
    }

    #[test]
    fn the_gateways_own_sentences_come_first() {
        let told = json!({
            "allowed": false, "act": "kubectl delete pod web-0", "words": ["The gateway refused it.", "No rule matched."],
            "nearest": {"role": "edit", "namespace": "payments"}, "rules": [],
        });
        assert_eq!(
            sentences(told.as_object().unwrap()),
            "  kubectl delete pod web-0\n  The gateway refused it.\n  No rule matched.\n  nearest role: edit in payments\n"
        );
    }

    #[test]
    fn a_yes_names_the_rule_that_says_so() {
        let told = json!({"allowed": true, "words": [], "rules": [{"kind": "x", "text": "RoleBinding a → Role b"}], "policy": "p"});
        assert_eq!(sentences(told.as_object().unwrap()), "  RoleBinding a → Role b\n");
    }

    #[test]
    fn a_decision_is_shown_as_a_tree() {
        let told = json!({
            "allowed": false, "decision": "7F3K", "because": "no binding grants it",
            "rules": [{"rule": "RoleBinding dev/view", "verdict": "no match"}, {"rule": "b"}], "empty": null,
        });
        assert_eq!(
            lines(told.as_object().unwrap(), 1),
            "  because   no binding grants it\n  decision  7F3K\n  rules\n    rule     RoleBinding dev/view\n    verdict  no \
             match\n    -\n    rule  b\n"
        );
    }
}
