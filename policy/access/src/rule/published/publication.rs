//! Services that their owners publish by annotations of a Kubernetes Service, within what a `ServicePublication` of a file lets
//! their namespace have.
//!
//! Who may annotate a Service in a namespace is a tenant and no operator. So a document says for each namespace which hosts; a host
//! that a file has, and the gateway's own, is never given away; and a host is one namespace's, because all that stands on it is one
//! origin to a browser: scripts of one would act as the person at the other. Of two that want the same the older one keeps it, as
//! the Gateway API has it: nobody takes a place by a name that sorts first. Publishing lets nobody in: that, access rules say.

use std::collections::BTreeMap;
use std::fmt;

use model::cluster::ClusterId;
use model::service::HostName;
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Published;
use super::document::{KubernetesServiceSpec, PortSpec, ServiceDocument, ServiceMeta, ServiceSpec, UpstreamSpec};
use super::{Services, Wrong};
use crate::rule::compile::Point;
use crate::rule::document::{API_VERSION, RuleMeta};
use crate::rule::service::HostPattern;

/// A document of kind `ServicePublication`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicationDocument {
    /// Always `gatescribe.dev/v1`.
    pub api_version: String,
    /// Always `ServicePublication`.
    pub kind: String,
    /// Its name, for people.
    pub metadata: RuleMeta,
    /// What it says.
    pub spec: PublicationSpec,
}

/// Which namespaces may publish which hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicationSpec {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The cluster's name in the gateway's configuration.
    pub cluster: String,
    /// Namespaces, each by itself.
    pub namespaces: Vec<String>,
    /// Host names, or `*.apps.example.com` for every name below.
    pub hosts: Vec<String>,
}

/// A checked `ServicePublication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    cluster: ClusterId,
    namespaces: Vec<Box<str>>,
    hosts: Vec<HostPattern>,
}

impl Publication {
    /// Of which cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// Whose Services may be published: what is to be watched.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(AsRef::as_ref)
    }

    /// The hosts that they may have, as they are written.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(ToString::to_string)
    }

    /// Whether a namespace of it may publish this host.
    #[must_use]
    pub fn covers(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|pattern| pattern.covers(host.as_str()))
    }

    fn lets(&self, service: &AnnotatedService, host: &HostName) -> bool {
        self.cluster == service.cluster
            && self.namespaces().any(|namespace| namespace == service.namespace)
            && self.covers(host)
    }

    /// # Errors
    /// All that is wrong with the document, each with the member it is about.
    pub(in crate::rule) fn read(document: &PublicationDocument) -> Result<Self, Vec<Point>> {
        let mut wrong = Wrong::default();
        let PublicationDocument {
            api_version,
            kind: _,
            metadata,
            spec,
        } = document;
        if api_version != API_VERSION {
            wrong.say("apiVersion", format!("`{api_version}` is not `{API_VERSION}`"));
        }
        if metadata.namespace.is_some() {
            wrong.say("metadata.namespace", "it is no object of a namespace: leave it out");
        }
        let cluster = ClusterId::new(&spec.cluster).map_err(|error| error.to_string());
        let cluster = wrong.keep("spec.cluster", cluster);
        if spec.namespaces.is_empty() {
            wrong.say("spec.namespaces", "nobody could publish anything: name a namespace");
        }
        if spec.hosts.is_empty() {
            wrong.say(
                "spec.hosts",
                "nothing could be published: name a host, or `*.apps.example.com`",
            );
        }
        let mut namespaces = Vec::with_capacity(spec.namespaces.len());
        for (item, namespace) in spec.namespaces.iter().enumerate() {
            match ClusterId::new(namespace) {
                Ok(_) => namespaces.push(namespace.as_str().into()),
                Err(_) => wrong.say_of(
                    "spec.namespaces",
                    Some(item),
                    format!("`{namespace}` is no namespace: each is named by itself, without a star"),
                ),
            }
        }
        let mut hosts = Vec::with_capacity(spec.hosts.len());
        for (item, host) in spec.hosts.iter().enumerate() {
            match HostPattern::parse(host) {
                Ok(HostPattern::Any) => wrong.say_of(
                    "spec.hosts",
                    Some(item),
                    "`*` would give every host away: name those below a domain, such as `*.apps.example.com`",
                ),
                Ok(pattern) => hosts.push(pattern),
                Err(what) => wrong.say_of("spec.hosts", Some(item), what),
            }
        }
        match cluster {
            Some(cluster) if wrong.0.is_empty() => Ok(Self {
                cluster,
                namespaces,
                hosts,
            }),
            _ => Err(wrong.0),
        }
    }
}

/// A Service of a cluster that bears an annotation of ours, as the cluster says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotatedService {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// In which namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, by which rules may choose it.
    pub labels: BTreeMap<String, String>,
    /// When it was made, as the API server says.
    pub created: Timestamp,
    /// Its annotations that begin with [`ANNOTATIONS`], without that beginning.
    pub annotations: BTreeMap<String, String>,
    /// Its TCP ports: number and name.
    pub ports: Vec<(u16, Option<String>)>,
}

/// How annotations of ours begin.
pub const ANNOTATIONS: &str = "gatescribe.dev/";

/// Why an annotated Service is not published. The others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublished {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// In which namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why, and what to do.
    pub what: String,
}

impl fmt::Display for Unpublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            namespace,
            name,
            what,
        } = self;
        write!(
            f,
            "the annotated Service {namespace}/{name} of {cluster} is not published: {what}"
        )
    }
}

impl Services {
    /// These, which stand in files, and the annotated ones that `publications` let their namespaces have. `refused`: why nobody can
    /// have a host, in words; the gateway's own, for one. Each annotated Service is judged alone but for those that are older.
    #[must_use]
    pub fn with_annotated(
        &self,
        publications: &[Publication],
        annotated: &[AnnotatedService],
        refused: impl Fn(&HostName) -> Option<String>,
    ) -> (Self, Vec<Unpublished>) {
        let mut all = self.clone();
        let mut unpublished = Vec::new();
        let mut owners: BTreeMap<String, &AnnotatedService> = BTreeMap::new();
        let mut oldest_first: Vec<&AnnotatedService> = annotated.iter().collect();
        oldest_first.sort_by_key(|service| (service.created, &service.cluster, &service.namespace, &service.name));
        let mut counts: BTreeMap<(&ClusterId, &str), usize> = BTreeMap::new();
        for service in oldest_first {
            // Of each namespace, and only those that are published: no tenant takes the place of another's.
            let count = counts
                .entry((&service.cluster, service.namespace.as_str()))
                .or_default();
            let read = if *count < MOST_OF_A_NAMESPACE {
                service.read(self, publications, &refused)
            } else {
                Err(format!(
                    "{MOST_OF_A_NAMESPACE} older ones of this namespace are, and that is the limit"
                ))
            };
            let taken = read.and_then(|published| {
                let host = published.hosts().first().map(ToString::to_string).unwrap_or_default();
                fits(&all, &published, owners.get(&host).copied(), service)?;
                owners.entry(host).or_insert(service);
                all.push(published);
                *count = count.saturating_add(1);
                Ok(())
            });
            if let Err(what) = taken {
                unpublished.push(Unpublished {
                    cluster: service.cluster.clone(),
                    namespace: service.namespace.clone(),
                    name: service.name.clone(),
                    what,
                });
            }
        }
        (all, unpublished)
    }
}

/// Whether there is room for one more beside those that are in files or older.
fn fits(
    all: &Services,
    published: &Published,
    owner: Option<&AnnotatedService>,
    service: &AnnotatedService,
) -> Result<(), String> {
    let name = published.name();
    if all.named(name.as_str()).is_some() {
        return Err(format!(
            "another service is called `{name}` already, and calls of one must not count as the other's: give the Service another name"
        ));
    }
    let Some(owner) = owner else { return Ok(()) };
    let host = published.hosts().first().map(ToString::to_string).unwrap_or_default();
    let AnnotatedService { namespace, name, .. } = owner;
    if (&owner.cluster, namespace) != (&service.cluster, &service.namespace) {
        return Err(format!(
            "`{host}` is published by {namespace}/{name}, which is older, and what shares a host shares its origin: take another host"
        ));
    }
    let path = published.path();
    let is_taken = all
        .iter()
        .any(|other| other.hosts() == published.hosts() && other.path() == path);
    if is_taken {
        return Err(format!(
            "an older Service of this namespace has this path of `{host}`: take another path"
        ));
    }
    Ok(())
}

impl AnnotatedService {
    fn read(
        &self,
        files: &Services,
        publications: &[Publication],
        refused: impl Fn(&HostName) -> Option<String>,
    ) -> Result<Published, String> {
        const KNOWN: [&str; 3] = ["host", "path", "port"];
        if let Some(other) = self.annotations.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(format!(
                "`{ANNOTATIONS}{other}` is no annotation that it knows; they are `host`, `path` and `port`"
            ));
        }
        let said = |key: &str| self.annotations.get(key).map(String::as_str);
        let host = said("host").ok_or_else(|| format!("it names no host: add `{ANNOTATIONS}host`"))?;
        let host = HostName::new(host).map_err(|error| error.to_string())?;
        if !publications.iter().any(|publication| publication.lets(self, &host)) {
            return Err(format!(
                "no `ServicePublication` lets namespace `{}` publish `{host}`: ask who writes the gateway's rules",
                self.namespace
            ));
        }
        if let Some(why) = refused(&host) {
            return Err(why);
        }
        if files.has_host(&host) {
            return Err(format!(
                "`{host}` is published by a file of the gateway's: take another host"
            ));
        }
        let document = ServiceDocument {
            api_version: API_VERSION.to_owned(),
            kind: "Service".to_owned(),
            metadata: ServiceMeta {
                name: format!("{}-{}", self.namespace, self.name),
                namespace: None,
                labels: self.labels.clone(),
            },
            spec: ServiceSpec {
                hosts: vec![host.as_str().to_owned()],
                path: said("path").map(ToOwned::to_owned),
                upstream: UpstreamSpec {
                    kubernetes: Some(KubernetesServiceSpec {
                        cluster: self.cluster.as_str().to_owned(),
                        namespace: self.namespace.clone(),
                        name: self.name.clone(),
                        port: self.port(said("port"))?,
                    }),
                    ..UpstreamSpec::default()
                },
                ..ServiceSpec::default()
            },
        };
        let published = Published::read(&document).map_err(|wrong| {
            let told: Vec<String> = wrong.iter().map(|point| point.what.clone()).collect();
            told.join("; ")
        })?;
        Ok(Published {
            namespace: self.namespace.as_str().into(),
            ..published
        })
    }

    fn port(&self, written: Option<&str>) -> Result<PortSpec, String> {
        let shown = || {
            let ports = self.ports.iter().map(|(number, name)| match name {
                Some(name) => format!("{number} (`{name}`)"),
                None => number.to_string(),
            });
            ports.collect::<Vec<_>>().join(", ")
        };
        match (written, self.ports.as_slice()) {
            (Some(text), _) => Ok(match text.parse() {
                Ok(number) => PortSpec::Number(number),
                Err(_) => PortSpec::Name(text.to_owned()),
            }),
            (None, [(number, _)]) => Ok(PortSpec::Number(u32::from(*number))),
            (None, []) => Err("it has no TCP port".to_owned()),
            (None, _) => Err(format!(
                "it has several ports, {}: say which one by `{ANNOTATIONS}port`",
                shown()
            )),
        }
    }
}

/// Annotated Services of one namespace that are published at most: each has watches of its own.
const MOST_OF_A_NAMESPACE: usize = 64;
