//! Gathers a Service and its EndpointSlices into addresses. No watch and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use access::rule::{KubernetesService, ServicePort};
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use reach::Endpoints;
use serde::Deserialize;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Service,
    Slices,
}

impl Part {
    /// Group, kind, plural; the version of both is `v1`.
    pub(super) const fn resource(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Service => ("", "Service", "services"),
            Self::Slices => ("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        }
    }
}

/// Addresses of one Service; more are left out. A list of ten thousand is a mistake or an attack, and each dial looks at all.
const MOST_ADDRESSES: usize = 1_024;

/// One Service and its slices as they were last said.
pub(super) struct Collected {
    wanted: KubernetesService,
    service: Table<Service>,
    slices: Table<Slice>,
}

/// What stands, by name, and what a listing under way has brought so far.
struct Table<T> {
    standing: BTreeMap<String, Option<T>>,
    listing: Option<BTreeMap<String, Option<T>>>,
    is_listed: bool,
    trouble: Option<Arc<str>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            standing: BTreeMap::new(),
            listing: None,
            is_listed: false,
            trouble: None,
        }
    }
}

impl<T: for<'de> Deserialize<'de>> Table<T> {
    fn apply(&mut self, event: Event<DynamicObject>) {
        // That a listing begins says nothing yet.
        if !matches!(event, Event::Init) {
            self.trouble = None;
        }
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let (name, read) = read(object);
                self.listing.get_or_insert_default().insert(name, read);
            }
            Event::InitDone => {
                self.standing = self.listing.take().unwrap_or_default();
                self.is_listed = true;
            }
            Event::Apply(object) => {
                let (name, read) = read(object);
                self.standing.insert(name, read);
            }
            Event::Delete(object) => drop(self.standing.remove(&object.metadata.name.unwrap_or_default())),
        }
    }
}

/// `None`: it cannot be read, and hides nothing of the others.
fn read<T: for<'de> Deserialize<'de>>(object: DynamicObject) -> (String, Option<T>) {
    (
        object.metadata.name.unwrap_or_default(),
        T::deserialize(object.data).ok(),
    )
}

impl Collected {
    pub(super) fn new(wanted: KubernetesService) -> Self {
        Self {
            wanted,
            service: Table::default(),
            slices: Table::default(),
        }
    }

    pub(super) fn apply(&mut self, part: Part, event: Event<DynamicObject>) {
        match part {
            Part::Service => self.service.apply(event),
            Part::Slices => self.slices.apply(event),
        }
    }

    /// The watch of a part broke.
    pub(super) fn failed(&mut self, part: Part, is_forbidden: bool, why: &str) {
        let plural = part.resource().2;
        let what = if is_forbidden {
            format!("the observer may not list `{plural}` there: apply deploy/kubernetes/observer-services.yaml")
        } else {
            format!("the cluster does not say its `{plural}`: {why}")
        };
        let trouble = Some(what.into());
        match part {
            Part::Service => self.service.trouble = trouble,
            Part::Slices => self.slices.trouble = trouble,
        }
    }

    /// The watch of a part goes on where it broke.
    pub(super) fn works(&mut self, part: Part) {
        match part {
            Part::Service => self.service.trouble = None,
            Part::Slices => self.slices.trouble = None,
        }
    }

    /// What is known now.
    pub(super) fn endpoints(&self) -> Endpoints {
        let is_known = self.service.is_listed && self.slices.is_listed;
        let silent = self.service.trouble.as_ref().or(self.slices.trouble.as_ref());
        if !is_known {
            return Endpoints {
                trouble: silent.cloned(),
                ..Endpoints::default()
            };
        }
        let (mut endpoints, empty) = match self.port() {
            Ok(port) => self.addresses(port),
            Err(why) => (Endpoints::default(), Some(why)),
        };
        endpoints.is_known = true;
        endpoints.trouble = match (silent, empty) {
            (Some(silent), None) => Some(format!("{silent}; the addresses that were last known count").into()),
            (Some(silent), Some(empty)) => Some(format!("{empty}, when it was last known; {silent}").into()),
            (None, empty) => empty.map(Into::into),
        };
        endpoints
    }

    /// The name by which slices know the Service's port.
    fn port(&self) -> Result<&str, String> {
        let wanted = &self.wanted;
        let service = match self.service.standing.get(wanted.name()) {
            None => return Err(format!("there is no Service {wanted}")),
            Some(None) => return Err(format!("the Service {wanted} cannot be read")),
            Some(Some(service)) => &service.spec,
        };
        if service.kind.as_deref() == Some("ExternalName") {
            return Err(format!(
                "the Service {wanted} is of type ExternalName, which leads to another host: write that one as `url`"
            ));
        }
        let is_wanted = |port: &&Port| {
            is_tcp(port.protocol.as_deref())
                && match wanted.port() {
                    ServicePort::Number(number) => port.port == Some(*number),
                    ServicePort::Name(name) => port.name.as_deref() == Some(name),
                }
        };
        if let Some(port) = service.ports.iter().flatten().find(is_wanted) {
            return Ok(port.name.as_deref().unwrap_or_default());
        }
        let shown = service.ports.iter().flatten().filter_map(|port| {
            let number = port.port?;
            Some(match &port.name {
                Some(name) => format!("{number} (`{name}`)"),
                None => number.to_string(),
            })
        });
        let has = shown.collect::<Vec<_>>().join(", ");
        let has = if has.is_empty() { "none" } else { &has };
        Err(format!(
            "the Service {wanted} has no port {}; it has {has}",
            wanted.port()
        ))
    }

    /// The addresses of a port, and why there are none.
    fn addresses(&self, port: &str) -> (Endpoints, Option<String>) {
        let mut found = Endpoints::default();
        let (mut seen, mut others) = (BTreeSet::new(), 0_usize);
        for slice in self.slices.standing.values().flatten() {
            let number = slice.ports.iter().flatten().find_map(|own| {
                let is_it = own.name.as_deref().unwrap_or_default() == port && is_tcp(own.protocol.as_deref());
                own.port.filter(|number| is_it && *number > 0)
            });
            let Some(number) = number else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let address = endpoint.addresses.first().and_then(|text| slice.address(text));
                let (Some(address), Some(list)) = (address, endpoint.list(&mut found)) else {
                    others += 1;
                    continue;
                };
                let address = SocketAddr::new(address, number);
                if seen.len() < MOST_ADDRESSES && seen.insert(address) {
                    list.push(address);
                }
            }
        }
        let wanted = &self.wanted;
        let why = (found.ready.is_empty() && found.ending.is_empty()).then(|| match others {
            0 => format!("the Service {wanted} has no pods"),
            1 => format!("the only pod of the Service {wanted} is not ready"),
            others => format!("none of the {others} pods of the Service {wanted} is ready"),
        });
        (found, why)
    }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("TCP"))
}

// What is read of the API's objects; the API's own defaults.

#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Default, Deserialize)]
struct ServiceSpec {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    address_type: String,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Endpoint {
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Option<Conditions>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Slice {
    /// Of an endpoint's addresses all mean the same one, and the first counts (API reference). A name is not resolved.
    fn address(&self, text: &str) -> Option<IpAddr> {
        match self.address_type.as_str() {
            "IPv4" => text.parse().ok().map(IpAddr::V4),
            "IPv6" => text.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    }
}

impl Endpoint {
    /// Where its address belongs; `None`: it takes no calls. What is not said means ready, and not ending (API reference).
    fn list<'e>(&self, endpoints: &'e mut Endpoints) -> Option<&'e mut Vec<SocketAddr>> {
        let Conditions {
            ready,
            serving,
            terminating,
        } = self
            .conditions
            .as_ref()
            .map_or_else(Conditions::default, |said| Conditions { ..*said });
        let is_ready = ready.unwrap_or(true);
        if is_ready {
            Some(&mut endpoints.ready)
        } else if serving.unwrap_or(is_ready) && terminating.unwrap_or(false) {
            Some(&mut endpoints.ending)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn wanted(port: &str) -> KubernetesService {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], upstream: {{kubernetes: \
             {{cluster: c, namespace: shop, name: web, port: {port}}}}}}}\n"
        );
        let policy = access::rule::load_files([("a.yaml", text.as_str())]).unwrap();
        match policy.services.named("web").unwrap().upstream().place() {
            access::rule::UpstreamPlace::Kubernetes(service) => service.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn object(kind: &str, name: &str, mut rest: Value) -> DynamicObject {
        rest["apiVersion"] = json!("v1");
        rest["kind"] = json!(kind);
        rest["metadata"] = json!({ "name": name, "namespace": "shop" });
        serde_json::from_value(rest).unwrap()
    }

    fn service(spec: Value) -> DynamicObject {
        object("Service", "web", json!({ "spec": spec }))
    }

    fn slice(name: &str, kind: &str, endpoints: Value, ports: Value) -> DynamicObject {
        object(
            "EndpointSlice",
            name,
            json!({ "addressType": kind, "endpoints": endpoints, "ports": ports }),
        )
    }

    fn listed(port: &str, service: Option<DynamicObject>, slices: Vec<DynamicObject>) -> Collected {
        let mut collected = Collected::new(wanted(port));
        for (part, objects) in [(Part::Service, service.into_iter().collect()), (Part::Slices, slices)] {
            collected.apply(part, Event::Init);
            for object in objects {
                collected.apply(part, Event::InitApply(object));
            }
            collected.apply(part, Event::InitDone);
        }
        collected
    }

    fn texts(addresses: &[SocketAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    fn ports() -> Value {
        json!([{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9090, "protocol": "TCP" }])
    }

    fn web() -> DynamicObject {
        service(
            json!({ "ports": [{ "name": "http", "port": 80, "targetPort": "web" }, { "name": "metrics", "port": 9100 },
            { "name": "udp", "port": 80, "protocol": "UDP" }] }),
        )
    }

    #[test]
    fn pods_that_are_ready_are_found_by_the_services_port_in_both_families() {
        let slices = || {
            vec![
                slice(
                    "a",
                    "IPv4",
                    json!([
                        { "addresses": ["10.0.0.1"], "conditions": { "ready": true, "serving": true, "terminating": false } },
                        { "addresses": ["10.0.0.2"], "conditions": { "ready": false, "serving": false } },
                        { "addresses": ["10.0.0.3"], "conditions": { "ready": false, "serving": true, "terminating": true } },
                        { "addresses": ["10.0.0.4"], "conditions": { "ready": false, "serving": false, "terminating": true } },
                        { "addresses": ["10.0.0.5"] },
                        { "addresses": ["10.0.0.1"] },
                    ]),
                    ports(),
                ),
                slice(
                    "b",
                    "IPv6",
                    json!([{ "addresses": ["fd00::1"], "conditions": {} }]),
                    ports(),
                ),
                slice("c", "FQDN", json!([{ "addresses": ["evil.example"] }]), ports()),
                slice(
                    "d",
                    "IPv4",
                    json!([{ "addresses": ["10.0.0.9"] }]),
                    json!([{ "name": "http", "port": 80, "protocol": "UDP" }]),
                ),
                slice(
                    "e",
                    "IPv4",
                    json!([{ "addresses": ["evil.example"] }, { "addresses": [] }]),
                    ports(),
                ),
            ]
        };
        for (port, number) in [("80", 8080), ("http", 8080), ("9100", 9090), ("metrics", 9090)] {
            let endpoints = listed(port, Some(web()), slices()).endpoints();
            let ready = [
                format!("10.0.0.1:{number}"),
                format!("10.0.0.5:{number}"),
                format!("[fd00::1]:{number}"),
            ];
            assert_eq!(texts(&endpoints.ready), ready, "{port}");
            assert_eq!(texts(&endpoints.ending), [format!("10.0.0.3:{number}")]);
            assert_eq!((endpoints.is_known, endpoints.trouble), (true, None));
        }
        // A port without a name, of which there is one.
        let unnamed = service(json!({ "ports": [{ "port": 80 }] }));
        let its = slice(
            "a",
            "IPv4",
            json!([{ "addresses": ["10.0.0.1"] }]),
            json!([{ "name": "", "port": 8080 }]),
        );
        assert_eq!(
            texts(&listed("80", Some(unnamed), vec![its]).endpoints().ready),
            ["10.0.0.1:8080"]
        );
    }

    #[test]
    fn why_there_is_no_pod_is_said_in_words() {
        let none = |endpoints: Endpoints| {
            assert!(endpoints.ready.is_empty() && endpoints.ending.is_empty() && endpoints.is_known);
            endpoints.trouble.unwrap().to_string()
        };
        let pods = |conditions: Value| vec![slice("a", "IPv4", conditions, ports())];
        let one = || pods(json!([{ "addresses": ["10.0.0.1"] }]));
        let down = json!({ "addresses": ["10.0.0.1"], "conditions": { "ready": false } });
        for (collected, said) in [
            (listed("80", None, one()), "there is no Service shop/web of c"),
            (
                listed("81", Some(web()), one()),
                "the Service shop/web of c has no port 81; it has 80 (`http`), 9100 (`metrics`), 80 (`udp`)",
            ),
            (
                listed("udp", Some(web()), one()),
                "the Service shop/web of c has no port `udp`; it has 80 (`http`), 9100 (`metrics`), 80 (`udp`)",
            ),
            (
                listed("80", Some(service(json!({}))), one()),
                "the Service shop/web of c has no port 80; it has none",
            ),
            (
                listed(
                    "80",
                    Some(service(
                        json!({ "type": "ExternalName", "externalName": "169.254.169.254", "ports": [{ "port": 80 }] }),
                    )),
                    one(),
                ),
                "the Service shop/web of c is of type ExternalName, which leads to another host: write that one as `url`",
            ),
            (
                listed("80", Some(service(json!({ "ports": "all" }))), one()),
                "the Service shop/web of c cannot be read",
            ),
            (
                listed("80", Some(web()), vec![]),
                "the Service shop/web of c has no pods",
            ),
            (
                listed("80", Some(web()), pods(json!([down]))),
                "the only pod of the Service shop/web of c is not ready",
            ),
            (
                listed("80", Some(web()), pods(json!([down, down]))),
                "none of the 2 pods of the Service shop/web of c is ready",
            ),
        ] {
            assert_eq!(none(collected.endpoints()), said);
        }
    }

    #[test]
    fn what_was_last_known_counts_while_the_cluster_is_silent() {
        let one = slice("a", "IPv4", json!([{ "addresses": ["10.0.0.1"] }]), ports());
        let mut collected = listed("80", Some(web()), vec![one.clone()]);
        collected.failed(Part::Slices, false, "connection refused");
        let endpoints = collected.endpoints();
        assert_eq!(texts(&endpoints.ready), ["10.0.0.1:8080"]);
        assert_eq!(
            endpoints.trouble.as_deref(),
            Some(
                "the cluster does not say its `endpointslices`: connection refused; the addresses that were last known count"
            )
        );
        // It is listed again: until that is done nothing is gone.
        collected.apply(Part::Slices, Event::Init);
        let endpoints = collected.endpoints();
        assert_eq!((texts(&endpoints.ready).len(), endpoints.trouble.is_some()), (1, true));
        collected.apply(Part::Slices, Event::InitDone);
        assert_eq!(texts(&collected.endpoints().ready), Vec::<String>::new());
        collected.apply(Part::Slices, Event::Apply(one.clone()));
        assert_eq!(texts(&collected.endpoints().ready).len(), 1);
        collected.apply(Part::Slices, Event::Delete(one));
        collected.failed(Part::Service, false, "no route");
        assert_eq!(
            collected.endpoints().trouble.as_deref(),
            Some(
                "the Service shop/web of c has no pods, when it was last known; the cluster does not say its `services`: no route"
            )
        );
    }

    #[test]
    fn before_both_were_listed_nothing_is_known_and_a_missing_right_is_named() {
        let mut collected = Collected::new(wanted("80"));
        assert_eq!(collected.endpoints(), Endpoints::default());
        collected.apply(Part::Service, Event::Init);
        collected.apply(Part::Service, Event::InitApply(web()));
        collected.apply(Part::Service, Event::InitDone);
        collected.failed(Part::Slices, true, "forbidden");
        let endpoints = collected.endpoints();
        assert!(!endpoints.is_known);
        assert_eq!(
            endpoints.trouble.as_deref(),
            Some("the observer may not list `endpointslices` there: apply deploy/kubernetes/observer-services.yaml")
        );
    }

    #[test]
    fn a_list_without_end_is_cut() {
        let all: Vec<Value> = (0..2_000)
            .map(|number| json!({ "addresses": [format!("10.1.{}.{}", number / 250, number % 250)] }))
            .collect();
        let slices = vec![slice("a", "IPv4", json!(all), ports())];
        assert_eq!(
            listed("80", Some(web()), slices).endpoints().ready.len(),
            MOST_ADDRESSES
        );
    }

    #[test]
    fn an_unreadable_slice_hides_none_of_the_others() {
        let odd = object(
            "EndpointSlice",
            "b",
            json!({ "addressType": "IPv4", "endpoints": "all" }),
        );
        let one = slice("a", "IPv4", json!([{ "addresses": ["10.0.0.1"] }]), ports());
        let endpoints = listed("80", Some(web()), vec![odd, one]).endpoints();
        assert_eq!(texts(&endpoints.ready), ["10.0.0.1:8080"]);
    }
}
