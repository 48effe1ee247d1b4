//! `Service` documents: which HTTP services are published under which names, and where they are.

mod document;
mod header_rules;
mod passing;
#[cfg(test)]
mod passing_tests;
mod publication;
#[cfg(test)]
mod publication_tests;
#[cfg(test)]
mod tests;
mod upstream;

use std::borrow::Cow;
use std::collections::HashMap;

use model::request::{Target, TargetError};
use model::service::{HostName, ServiceName};
use model::subject::Subject;

pub use self::document::{
    AssertionSpec, ClientCertificateSpec, HeaderChangeSpec, HeaderSpec, HostSpec, IdentityHeaderSpec,
    KubernetesServiceSpec, LimitSpec, PortSpec, RewriteSpec, ServiceDocument, ServiceMeta, ServiceSpec, TimeoutSpec,
    UpstreamProtocol, UpstreamScheme, UpstreamSpec,
};
pub use self::header_rules::{ASSERTION_HEADER, HeaderChanges, HeaderRules};
pub use self::passing::{Passing, Timeouts};
pub use self::publication::{
    ANNOTATIONS, AnnotatedService, Publication, PublicationDocument, PublicationSpec, Unpublished,
};
pub use self::upstream::{KubernetesService, ServicePort, Upstream, UpstreamPlace, UpstreamTls};
use super::compile::{Point, Wrong};
use super::document::API_VERSION;
use super::runs_as::RunsAs;
use super::service::{ServiceCall, ServiceLabels};

/// A checked service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    name: ServiceName,
    /// Empty: it is of a file and stands in none.
    namespace: Box<str>,
    labels: ServiceLabels,
    hosts: Vec<HostName>,
    /// The segments of its path, none of them empty.
    path: Vec<Box<str>>,
    /// Whether the service does not see its path.
    strips_path: bool,
    upstream: Upstream,
    passing: Passing,
    workloads: RunsAs,
}

impl Published {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &ServiceName {
        &self.name
    }

    /// The namespace of the annotated Service; empty where a file publishes it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A call of it, as rules see it.
    #[must_use]
    pub fn call<'a>(&'a self, host: &'a HostName, method: &'a str, path: &'a str) -> ServiceCall<'a> {
        ServiceCall {
            service: &self.name,
            namespace: &self.namespace,
            labels: &self.labels,
            host,
            method,
            path,
        }
    }

    /// Its host names.
    #[must_use]
    pub fn hosts(&self) -> &[HostName] {
        &self.hosts
    }

    /// Where it is.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Whether an ingress that is not ours forwards its calls, so that of it there are verdicts and nothing else.
    #[must_use]
    pub fn is_behind_ingress(&self) -> bool {
        *self.upstream.place() == UpstreamPlace::Ingress
    }

    /// What of a call of it passes.
    #[must_use]
    pub const fn passing(&self) -> &Passing {
        &self.passing
    }

    /// Whether the service does not see the path below which it stands.
    #[must_use]
    pub const fn strips_path(&self) -> bool {
        self.strips_path
    }

    /// The target as the service sees it: the one that was decided and is recorded, or, where it does not see its path, the rest
    /// of that one, byte for byte (promise 2).
    ///
    /// # Errors
    /// The target is not below the path of this service.
    pub fn forwarded<'t>(&self, target: &'t Target) -> Result<Cow<'t, Target>, TargetError> {
        if self.strips_path {
            target.without_first(self.path.len()).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(target))
        }
    }

    /// The path below which it stands, with a slash at its beginning and none at its end; empty: all of the host.
    #[must_use]
    pub fn path(&self) -> String {
        self.path
            .iter()
            .fold(String::new(), |path, segment| format!("{path}/{segment}"))
    }

    /// Whether this workload is the service, and may act by what was asserted to it. `only`: the one cluster whose accounts are
    /// taken; where there are several, an account counts only where the document names its cluster.
    #[must_use]
    pub fn runs_as(&self, workload: &Subject, only: Option<&str>) -> bool {
        self.workloads.covers(workload, only)
    }

    /// Whether it answers for this decoded path: its own, or one below it.
    fn covers(&self, path: &str) -> bool {
        let mut asked = path.strip_prefix('/').unwrap_or(path).split('/');
        self.path.iter().all(|own| asked.next() == Some(own.as_ref()))
    }

    /// # Errors
    /// All that is wrong with the document, each with the member it is about.
    pub(super) fn read(document: &ServiceDocument) -> Result<Self, Vec<Point>> {
        let mut wrong = Wrong::default();
        let ServiceDocument {
            api_version,
            kind: _,
            metadata,
            spec,
        } = document;
        if api_version != API_VERSION {
            wrong.say("apiVersion", format!("`{api_version}` is not `{API_VERSION}`"));
        }
        if metadata.namespace.is_some() {
            wrong.say(
                "metadata.namespace",
                "a service of a file stands in no namespace: leave it out",
            );
        }
        let name = ServiceName::new(&metadata.name).map_err(|error| error.to_string());
        let name = wrong.keep("metadata.name", name);
        let hosts = read_hosts(&spec.hosts, &mut wrong);
        let path = wrong.keep("spec.path", segments(spec.path.as_deref().unwrap_or("/")));
        let upstream = Upstream::read(&spec.upstream, &mut wrong);
        // A path that cannot be read is said once.
        let has_path = path.as_ref().is_none_or(|path| !path.is_empty());
        let passing = Passing::read(spec, has_path, &mut wrong);
        if spec.upstream.ingress {
            in_vain_behind_an_ingress(spec, &mut wrong);
        }
        let workloads = RunsAs::read(&spec.workloads).unwrap_or_else(|told| {
            wrong.0.extend(told.into_iter().map(|(item, what)| Point {
                member: "spec.workloads",
                item: Some(item),
                what,
            }));
            RunsAs::default()
        });
        match (name, path, upstream) {
            (Some(name), Some(path), Some(upstream)) if wrong.0.is_empty() => Ok(Self {
                name,
                namespace: "".into(),
                labels: metadata.labels.clone(),
                hosts,
                path,
                strips_path: spec.rewrite.as_ref().is_some_and(|rewrite| rewrite.strip_path),
                upstream,
                passing,
                workloads,
            }),
            _ => Err(wrong.0),
        }
    }
}

/// What happens to a call that does not pass here is nothing of ours (promise 9).
fn in_vain_behind_an_ingress(spec: &ServiceSpec, wrong: &mut Wrong) {
    for (member, is_there) in [
        ("spec.timeouts", spec.timeouts.is_some()),
        ("spec.limits", spec.limits.is_some()),
        ("spec.rewrite", spec.rewrite.is_some()),
        ("spec.host", spec.host.is_some()),
        ("spec.forwarded", spec.forwarded.is_some()),
        ("spec.headers", spec.headers.is_some()),
    ] {
        if is_there {
            wrong.say(
                member,
                "it has no effect: its calls pass your ingress and not the gateway; leave it out, and say it there",
            );
        }
    }
}

fn read_hosts(written: &[String], wrong: &mut Wrong) -> Vec<HostName> {
    if written.is_empty() {
        wrong.say("spec.hosts", "nobody could ask for it: name a host");
    }
    let mut hosts = Vec::with_capacity(written.len());
    for (item, host) in written.iter().enumerate() {
        match HostName::new(host) {
            Ok(host) if hosts.contains(&host) => {
                wrong.say_of("spec.hosts", Some(item), format!("`{host}` stands twice"));
            }
            Ok(host) => hosts.push(host),
            Err(error) => wrong.say_of("spec.hosts", Some(item), error.to_string()),
        }
    }
    hosts
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
