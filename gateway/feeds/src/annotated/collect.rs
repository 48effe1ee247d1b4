//! Gathers annotated Services. No watch and no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::rule::{ANNOTATIONS, AnnotatedService};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use model::cluster::ClusterId;
use model::time::Timestamp;
use serde::Deserialize;

use super::Annotated;

/// Annotated Services of one namespace; more are left out, and the trouble says so. It harms nobody but that namespace.
const MOST_SERVICES: usize = 1_024;
/// Annotations of ours that are kept of one Service: one more than there are is enough to say that it is unknown.
const MOST_ANNOTATIONS: usize = 8;
/// Of so many labels a Service is known.
const MOST_LABELS: usize = 64;
/// The longest text that is kept of an annotation, in characters. No host name is longer, and no path that anybody types.
const LONGEST: usize = 512;
/// Ports that are kept of one Service.
const MOST_PORTS: usize = 64;

type Table = BTreeMap<String, AnnotatedService>;

/// The annotated Services of a namespace as they were last said.
pub(super) struct Collected {
    cluster: ClusterId,
    namespace: String,
    standing: Table,
    /// What a listing under way has brought so far.
    listing: Option<Table>,
    is_listed: bool,
    /// There were more than are kept.
    is_over: bool,
    silent: Option<String>,
    /// Something has changed since it was last told.
    is_news: bool,
}

impl Collected {
    pub(super) fn new(cluster: ClusterId, namespace: String) -> Self {
        Self {
            cluster,
            namespace,
            standing: Table::new(),
            listing: None,
            is_listed: false,
            is_over: false,
            silent: None,
            is_news: false,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn apply(&mut self, event: Event<DynamicObject>) {
        // That a listing begins says nothing yet.
        if !matches!(event, Event::Init) {
            self.works();
        }
        match event {
            Event::Init => {
                self.listing = Some(Table::new());
                self.is_over = false;
            }
            Event::InitApply(object) => {
                let (name, read) = self.read(object);
                if let Some(read) = read {
                    self.is_over |= !put(self.listing.get_or_insert_default(), name, read);
                }
            }
            Event::InitDone => {
                self.standing = self.listing.take().unwrap_or_default();
                self.is_listed = true;
                self.is_news = true;
            }
            Event::Apply(object) => {
                let (name, read) = self.read(object);
                match read {
                    Some(read) => {
                        self.is_over |= !put(&mut self.standing, name, read);
                        self.is_news = true;
                    }
                    // Most Services are none of ours.
                    None => self.is_news |= self.standing.remove(&name).is_some(),
                }
            }
            Event::Delete(object) => {
                let name = object.metadata.name.unwrap_or_default();
                self.is_news |= self.standing.remove(&name).is_some();
            }
        }
    }

    /// The watch broke.
    pub(super) fn failed(&mut self, is_forbidden: bool, why: &str) {
        self.is_news = true;
        self.silent = Some(if is_forbidden {
            "the observer may not list `services` there: apply deploy/kubernetes/observer-services.yaml".to_owned()
        } else {
            format!("the cluster does not say its `services`: {why}")
        });
    }

    /// The watch goes on.
    pub(super) fn works(&mut self) {
        self.is_news |= self.silent.take().is_some();
    }

    /// What is known now, where that has changed since it was asked for last.
    pub(super) fn news(&mut self) -> Option<Annotated> {
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        let over = || {
            format!(
                "more than {MOST_SERVICES} Services of namespace `{}` are annotated, and not all of them are looked at",
                self.namespace
            )
        };
        let trouble = match (&self.silent, self.is_listed) {
            (Some(silent), true) => Some(format!("{silent}; what was last known counts")),
            (Some(silent), false) => Some(silent.clone()),
            (None, _) => self.is_over.then(over),
        };
        Some(Annotated {
            services: self.standing.values().cloned().collect(),
            is_known: self.is_listed,
            trouble: trouble.map(Arc::from),
        })
    }

    /// Its name, and what it says where it bears an annotation of ours.
    fn read(&self, object: DynamicObject) -> (String, Option<AnnotatedService>) {
        let DynamicObject { metadata, data, .. } = object;
        let name = metadata.name.unwrap_or_default();
        let ours = metadata.annotations.into_iter().flatten();
        let ours = ours.filter_map(|(key, value)| {
            let key = key.strip_prefix(ANNOTATIONS)?;
            Some((short(key), short(&value)))
        });
        let annotations: BTreeMap<_, _> = ours.take(MOST_ANNOTATIONS).collect();
        if annotations.is_empty() {
            return (name, None);
        }
        let created = metadata.creation_timestamp.map(|time| time.0.as_second());
        let service = AnnotatedService {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            name: name.clone(),
            // One that says no time is nobody's elder.
            created: Timestamp::from_unix_seconds(created.unwrap_or(i64::MAX)),
            annotations,
            // What its owner leaves off it is as if it were not written: a rule that goes by labels trusts them in any case.
            labels: metadata.labels.into_iter().flatten().take(MOST_LABELS).collect(),
            ports: ports(data),
        };
        (name, Some(service))
    }
}

/// Whether there was room for it.
fn put(table: &mut Table, name: String, service: AnnotatedService) -> bool {
    let has_room = table.len() < MOST_SERVICES || table.contains_key(&name);
    if has_room {
        table.insert(name, service);
    }
    has_room
}

/// A text that is too long for what it should be ends in a character that none of them has, so that it is refused and not taken for
/// another one.
fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Its TCP ports; those of a Service that cannot be read are none.
fn ports(data: serde_json::Value) -> Vec<(u16, Option<String>)> {
    let service = Service::deserialize(data).unwrap_or_default();
    let all = service.spec.ports.into_iter().flatten();
    let tcp = all.filter(|port| matches!(port.protocol.as_deref(), None | Some("TCP")));
    tcp.map(|port| (port.port, port.name)).take(MOST_PORTS).collect()
}

// What is read of the API's objects; the API's own defaults.

#[derive(Default, Deserialize)]
struct Service {
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Port {
    port: u16,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
}
