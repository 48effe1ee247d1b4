//! What the gateway's API says of published services.

use std::sync::Arc;

use access::decide::{ServiceQuery, decide_service};
use access::rule::{HostSpec, NamespaceLabels, Published, Situation, UpstreamPlace, UpstreamProtocol};
use console::api::services::{Published as Asked, ServiceList, Step, Trial};
use futures::future::BoxFuture;
use model::request::Target;
use model::service::HostName;
use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
use proxy::audit::TargetWords;
use proxy::services::ServiceSide;
use reach::Endpoints;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::standing::Standing;
use super::trial;

/// Addresses of pods that one answer names.
const MOST_ADDRESSES: usize = 64;

/// Answers by what stands now.
pub(in super::super) struct Told {
    pub(in super::super) standing: watch::Receiver<Arc<Standing>>,
    pub(in super::super) side: ServiceSide,
}

impl Asked for Told {
    fn list(&self) -> ServiceList {
        let standing = Arc::clone(&self.standing.borrow());
        let services = standing.services.iter().map(|published| standing.row(published));
        let unpublished = standing.unpublished.iter().map(|one| {
            members(json!({
                "name": format!("{}-{}", one.namespace, one.name), "by": format!("{}/{} of {}", one.namespace, one.name, one.cluster),
                "why": one.what,
            }))
        });
        ServiceList {
            services: services.collect(),
            unpublished: unpublished.collect(),
            refused: standing.refused.as_deref().map(str::to_owned),
        }
    }

    fn show(&self, name: &str) -> Option<Map<String, Value>> {
        let standing = Arc::clone(&self.standing.borrow());
        let refused = standing
            .unpublished
            .iter()
            .find(|one| format!("{}-{}", one.namespace, one.name) == name);
        let Some(published) = standing.services.named(name) else {
            let refused = refused?;
            return Some(members(json!({"name": name, "unpublished": refused.to_string()})));
        };
        let mut shown = standing.row(published);
        shown.extend(details(published));
        shown.insert("rules".to_owned(), json!(self.rules(published)));
        if let Some(pods) = standing.pods.get(published.name()) {
            let pods = pods.borrow();
            shown.insert("pods".to_owned(), of_pods(&pods));
        }
        if let Some(refused) = refused {
            // Another one that would be called so.
            shown.insert("unpublished".to_owned(), json!(refused.to_string()));
        }
        Some(shown)
    }

    fn recordable(&self, target: &Target) -> String {
        TargetWords::of(target.raw()).path.to_owned()
    }

    fn test<'a>(&'a self, asked: &'a Trial) -> BoxFuture<'a, Vec<Step>> {
        Box::pin(self.tried(asked))
    }
}

impl Told {
    /// The rules that reach some calls of it, whoever makes them.
    fn rules(&self, published: &Published) -> Vec<String> {
        let rules = Arc::clone(&self.side.station.rules().borrow());
        let path = published.path();
        let reaches =
            |host: &HostName, rule: &access::rule::Rule| rule.reaches_some(&published.call(host, "", &path).any());
        let all = rules.rules.rules().iter();
        let found = all.filter(|rule| published.hosts().iter().any(|host| reaches(host, rule)));
        found.map(|rule| rule.as_ref(None).to_string()).collect()
    }

    async fn tried(&self, asked: &Trial) -> Vec<Step> {
        let standing = Arc::clone(&self.standing.borrow());
        let Trial { host, target, .. } = asked;
        let path = std::str::from_utf8(target.path()).unwrap_or_default();
        let Some(published) = standing.services.find(host, path) else {
            return vec![step("published", false, standing.nothing_at(host))];
        };
        let place = published.path();
        let below = if place.is_empty() { "/" } else { &place };
        let mut steps = vec![
            step(
                "published",
                true,
                format!(
                    "service `{}` has `{below}` of {host}, by {}",
                    published.name(),
                    standing.by(published)
                ),
            ),
            self.access(published, asked, path),
        ];
        let Some(connection) = standing.connections.get(published.name()) else {
            let what = "an ingress of yours forwards its calls: nothing goes there from here";
            steps.push(step("address", true, what.to_owned()));
            return steps;
        };
        let origin = self.side.origin_of(host);
        trial::along(&mut steps, published, connection, asked, origin.as_ref()).await;
        steps
    }

    /// What access rules say to somebody, or to the public. Whether a call goes on is about that person alone: the test goes on.
    fn access(&self, published: &Published, asked: &Trial, path: &str) -> Step {
        let rules = Arc::clone(&self.side.station.rules().borrow());
        let subject = match asked
            .who
            .as_ref()
            .map(|(user, groups)| somebody(user, groups))
            .transpose()
        {
            Ok(subject) => subject,
            Err(why) => return step("access", false, format!("nobody can be called so: {why}")),
        };
        let call = published.call(&asked.host, asked.method.as_str(), path);
        let labels = NamespaceLabels::new();
        let now = super::super::now();
        let situation = Situation {
            now,
            source: None,
            signed_in: subject.as_ref().map(|_| now),
            acr: None,
            namespaces: &labels,
            reason_stated: false,
            approved_by: &[],
        };
        let decision = decide_service(&ServiceQuery {
            call: &call,
            subject: subject.as_ref(),
            situation: &situation,
            rules: &rules.rules,
        });
        let who = asked.who.as_ref().map_or("the public", |(user, _)| user.as_str());
        let by = |rules: &[model::decision::RuleRef]| match rules {
            [] => "no rule is about it".to_owned(),
            rules => rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        match decision.verdict {
            Ok(allowed) => step("access", true, format!("{who} may: {}", by(&allowed.rules))),
            Err(denied) => step("access", false, format!("{who} may not: {}", by(&denied.rules))),
        }
    }
}

impl Standing {
    /// What is said of each in a list.
    fn row(&self, published: &Published) -> Map<String, Value> {
        let name = published.name();
        let path = published.path();
        let pods = self.pods.get(name).map(|pods| pods.borrow().clone());
        let trouble = pods.as_ref().and_then(|pods| pods.trouble.clone());
        let last = || self.connections.get(name).and_then(|connection| connection.trouble());
        members(json!({
            "name": name.as_str(),
            "hosts": published.hosts().iter().map(HostName::as_str).collect::<Vec<_>>(),
            "path": if path.is_empty() { "/" } else { &path },
            "upstream": place(published),
            "ready": pods.as_ref().map(|pods| pods.ready.len()),
            "ending": pods.as_ref().map(|pods| pods.ending.len()),
            "trouble": trouble.or_else(last).as_deref(),
            "by": self.by(published),
        }))
    }

    /// Who publishes it.
    fn by(&self, published: &Published) -> String {
        match published.upstream().place() {
            UpstreamPlace::Kubernetes(service) if self.of_files.named(published.name().as_str()).is_none() => {
                format!("the annotations of {service}")
            }
            _ => "rule files".to_owned(),
        }
    }

    /// Why nothing is at a host, and who could publish there.
    fn nothing_at(&self, host: &HostName) -> String {
        let may: Vec<String> = self
            .publications
            .iter()
            .filter(|publication| publication.covers(host))
            .map(|publication| {
                let namespaces: Vec<&str> = publication.namespaces().collect();
                format!("{} of {}", namespaces.join(", "), publication.cluster())
            })
            .collect();
        let nothing = if self.services.has_host(host) {
            format!("no service has this path of {host}")
        } else {
            format!("no service is published on {host}")
        };
        match may.as_slice() {
            [] => format!("{nothing}, and no `ServicePublication` lets a namespace have it"),
            may => format!(
                "{nothing}; annotated Services of these namespaces may have it, and those of others are not looked at: {}",
                may.join("; ")
            ),
        }
    }
}

fn place(published: &Published) -> String {
    match published.upstream().place() {
        UpstreamPlace::Url(url) => url.to_string(),
        UpstreamPlace::Kubernetes(service) => format!("{service}, port {}", service.port()),
        UpstreamPlace::Unix(path) => format!("unix:{path}"),
        UpstreamPlace::Ingress => "an ingress".to_owned(),
    }
}

/// What its document says, the usual values included.
fn details(published: &Published) -> Map<String, Value> {
    let passing = published.passing();
    let upstream = published.upstream();
    let (timeouts, headers) = (passing.timeouts, &passing.headers);
    let changes = |changes: &access::rule::HeaderChanges| {
        let set = changes.set.iter().map(|(name, value)| format!("{name}: {value}"));
        json!({"set": set.collect::<Vec<_>>(), "remove": changes.remove.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>()})
    };
    let tls = upstream.tls().map(|tls| {
        json!({"authorities": tls.ca_file.as_deref().unwrap_or("the system's"), "serverName": tls.server_name,
            "clientCertificate": tls.client_certificate.as_ref().map(|(certificate, _)| certificate)})
    });
    members(json!({
        "protocol": protocol(upstream.protocol()),
        "tls": tls,
        "timeouts": {
            "connect": seconds(timeouts.connect), "answer": seconds(timeouts.answer), "idle": seconds(timeouts.idle),
            "longest": timeouts.longest.map(seconds),
        },
        "largestBody": passing.largest_body,
        "stripPath": published.strips_path(),
        "rewritesRedirects": passing.rewrites_redirects,
        "host": match passing.host { HostSpec::Keep => "keep", HostSpec::Upstream => "upstream" },
        "forwarded": passing.says_forwarded,
        "headers": {"request": changes(headers.request()), "response": changes(headers.response())},
        "assertionHeader": headers.assertion(),
        "identityHeaders": {"user": headers.user(), "groups": headers.groups(), "email": headers.email()},
    }))
}

fn seconds(time: std::time::Duration) -> String {
    format!("{}s", time.as_secs())
}

const fn protocol(protocol: UpstreamProtocol) -> &'static str {
    match protocol {
        UpstreamProtocol::Auto => "auto",
        UpstreamProtocol::Http1 => "http1",
        UpstreamProtocol::H2 => "h2",
        UpstreamProtocol::H2c => "h2c",
    }
}

fn of_pods(pods: &Endpoints) -> Value {
    let texts = |all: &[std::net::SocketAddr]| -> Vec<String> {
        all.iter().take(MOST_ADDRESSES).map(ToString::to_string).collect()
    };
    json!({"ready": texts(&pods.ready), "ending": texts(&pods.ending)})
}

/// Somebody of this name who has just signed in, for a question: no such person has to be known.
fn somebody(user: &str, groups: &[String]) -> Result<Subject, model::subject::SubjectError> {
    Subject::new(SubjectParts {
        id: SubjectId::from_digest([0; 16]),
        kind: SubjectKind::Person,
        issuer: "asked about".to_owned(),
        subject: user.to_owned(),
        username: user.to_owned(),
        uid: None,
        groups: groups.to_vec(),
        extra: std::collections::BTreeMap::new(),
        email: None,
    })
}

pub(super) fn step(name: &'static str, is_well: bool, what: String) -> Step {
    Step { name, is_well, what }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
