//! `Service` documents: which HTTP services are published under which names, and where they are.

use std::collections::HashMap;

use model::service::{HostName, ServiceName};
use serde::{Deserialize, Serialize};

use super::compile::Point;
use super::document::{API_VERSION, RuleMeta};

/// A document of kind `Service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDocument {
    /// Always `gatescribe.dev/v1`.
    pub api_version: String,
    /// Always `Service`.
    pub kind: String,
    /// Its name: a label, which records, assertions and the command line use.
    pub metadata: RuleMeta,
    /// What it says.
    pub spec: ServiceSpec,
}

/// What is published, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The host names under which it is asked for. They lead to the gateway, and are never the gateway's own.
    pub hosts: Vec<String>,
    /// The path below which it stands on these hosts, by whole segments; absent: all of them. Of services that share a host the
    /// longest path counts; they share an origin, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where it is.
    pub upstream: UpstreamSpec,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSpec {
    /// `http://host[:port][/path]` or `https://…`.
    pub url: String,
    /// A file with the certificate authorities that vouch for it, PEM; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The name in its certificate, where that is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// A checked service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    name: ServiceName,
    hosts: Vec<HostName>,
    /// The segments of its path, none of them empty.
    path: Vec<Box<str>>,
    upstream: UpstreamSpec,
}

impl Published {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Its host names.
    #[must_use]
    pub fn hosts(&self) -> &[HostName] {
        &self.hosts
    }

    /// Where it is.
    #[must_use]
    pub const fn upstream(&self) -> &UpstreamSpec {
        &self.upstream
    }

    /// The path below which it stands, with a slash at its beginning and none at its end; empty: all of the host.
    #[must_use]
    pub fn path(&self) -> String {
        self.path
            .iter()
            .fold(String::new(), |path, segment| format!("{path}/{segment}"))
    }

    /// Whether it answers for this decoded path: its own, or one below it.
    fn covers(&self, path: &str) -> bool {
        let mut asked = path.strip_prefix('/').unwrap_or(path).split('/');
        self.path.iter().all(|own| asked.next() == Some(own.as_ref()))
    }

    /// # Errors
    /// All that is wrong with the document, each with the member it is about.
    pub(super) fn read(document: &ServiceDocument) -> Result<Self, Vec<Point>> {
        let mut wrong = Vec::new();
        let mut say = |member, item, what: String| wrong.push(Point { member, item, what });
        let ServiceDocument {
            api_version,
            kind: _,
            metadata,
            spec,
        } = document;
        if api_version != API_VERSION {
            say("apiVersion", None, format!("`{api_version}` is not `{API_VERSION}`"));
        }
        if metadata.namespace.is_some() {
            let what = "a service of a file stands in no namespace: leave it out";
            say("metadata.namespace", None, what.to_owned());
        }
        let name = ServiceName::new(&metadata.name).map_err(|error| say("metadata.name", None, error.to_string()));
        if spec.hosts.is_empty() {
            say("spec.hosts", None, "nobody could ask for it: name a host".to_owned());
        }
        let mut hosts = Vec::with_capacity(spec.hosts.len());
        for (item, host) in spec.hosts.iter().enumerate() {
            match HostName::new(host) {
                Ok(host) if hosts.contains(&host) => say("spec.hosts", Some(item), format!("`{host}` stands twice")),
                Ok(host) => hosts.push(host),
                Err(error) => say("spec.hosts", Some(item), error.to_string()),
            }
        }
        let path = segments(spec.path.as_deref().unwrap_or("/")).map_err(|what| say("spec.path", None, what));
        if let Err(what) = is_url(&spec.upstream.url) {
            say("spec.upstream.url", None, what);
        }
        for (member, text) in [
            ("spec.upstream.caFile", &spec.upstream.ca_file),
            ("spec.upstream.serverName", &spec.upstream.server_name),
        ] {
            let is_there = text.as_ref();
            if is_there.is_some_and(String::is_empty) {
                say(member, None, "it is empty; leave it out".to_owned());
            } else if is_there.is_some() && !spec.upstream.url.starts_with("https://") {
                let what = "it has no effect: no certificate is looked at where the URL begins with `http://`";
                say(member, None, what.to_owned());
            }
        }
        match (name, path) {
            (Ok(name), Ok(path)) if wrong.is_empty() => Ok(Self {
                name,
                hosts,
                path,
                upstream: spec.upstream.clone(),
            }),
            _ => Err(wrong),
        }
    }
}

/// The segments of a path such as `/` or `/app/`; a slash at its end means nothing.
fn segments(path: &str) -> Result<Vec<Box<str>>, String> {
    let Some(path) = path.strip_prefix('/') else {
        return Err(format!("`{path}`: a path begins with `/`"));
    };
    let bare = path.strip_suffix('/').unwrap_or(path);
    if bare.is_empty() {
        return Ok(Vec::new());
    }
    let fits = |character: char| character.is_ascii_alphanumeric() || "-._~".contains(character);
    bare.split('/')
        .map(|segment| match segment {
            "" | "." | ".." => Err(format!("`/{path}`: a segment `{segment}` is in no path")),
            _ if segment.chars().all(fits) => Ok(segment.into()),
            _ => Err(format!(
                "`/{path}`: a segment has letters, digits and `-._~` only, so that it is written in one way"
            )),
        })
        .collect()
}

/// What can be seen without knowing the network; whoever opens connections reads it once more.
fn is_url(url: &str) -> Result<(), String> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    match host {
        None => Err(format!("`{url}` begins with neither `http://` nor `https://`")),
        Some("") => Err(format!("`{url}` names no host")),
        // What stands before an `@` could be a password: it is not said again.
        Some(host) if host.contains('@') => Err("it carries user information: leave it out".to_owned()),
        Some(_) if url.contains(['?', '#', '\\', ' ']) => Err(format!(
            "`{url}`: no query, fragment, backslash or space can stand here"
        )),
        Some(_) => Ok(()),
    }
}

/// All published services, found by host and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    all: Vec<Published>,
    /// Of each host the places of its services, those of longer paths first.
    hosts: HashMap<HostName, Vec<usize>>,
}

impl Services {
    pub(super) fn push(&mut self, service: Published) {
        let at = self.all.len();
        for host in &service.hosts {
            let here = self.hosts.entry(host.clone()).or_default();
            let depth = |at: &usize| self.all.get(*at).map_or(0, |other| other.path.len());
            let behind = here.partition_point(|other| depth(other) >= service.path.len());
            here.insert(behind, at);
        }
        self.all.push(service);
    }

    /// All of them, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = &Published> {
        self.all.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The service of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Published> {
        self.all.iter().find(|service| service.name.as_str() == name)
    }

    /// Whether any stands on this host.
    #[must_use]
    pub fn has_host(&self, host: &HostName) -> bool {
        self.hosts.contains_key(host)
    }

    /// The service that answers for a decoded path on a host: that of the longest path.
    #[must_use]
    pub fn find(&self, host: &HostName, path: &str) -> Option<&Published> {
        let here = self.hosts.get(host)?.iter();
        here.filter_map(|at| self.all.get(*at))
            .find(|service| service.covers(path))
    }

    /// What two of them cannot both have: a name, or a host with a path. The place of the later one, the place of the other one,
    /// and what is wrong.
    pub(super) fn clashes(&self) -> Vec<(usize, usize, Point)> {
        let mut clashes = Vec::new();
        for (at, service) in self.all.iter().enumerate() {
            for (other_at, other) in self.all.iter().enumerate().take(at) {
                let point = |member, item, what| Point { member, item, what };
                if service.name == other.name {
                    let what = "there are two services of this name".to_owned();
                    clashes.push((at, other_at, point("metadata.name", None, what)));
                }
                let shared = service.hosts.iter().position(|host| other.hosts.contains(host));
                if let Some(item) = shared.filter(|_| service.path == other.path) {
                    let path = match service.path().as_str() {
                        "" => "/".to_owned(),
                        path => path.to_owned(),
                    };
                    let what = format!("`{}` has `{path}` of this host too", other.name);
                    clashes.push((at, other_at, point("spec.hosts", Some(item), what)));
                }
            }
        }
        clashes
    }
}
