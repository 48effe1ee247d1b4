//! Where a service is, checked: what can be seen without knowing the network. Whoever opens connections reads addresses once more.

use model::cluster::ClusterId;

use super::document::{KubernetesServiceSpec, PortSpec, UpstreamProtocol, UpstreamScheme, UpstreamSpec};
use crate::rule::compile::Wrong;

/// Where a service is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    place: UpstreamPlace,
    protocol: UpstreamProtocol,
    tls: Option<UpstreamTls>,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamPlace {
    /// At `http://host[:port][/path]` or `https://…`.
    Url(Box<str>),
    /// At the addresses of a Service of a cluster.
    Kubernetes(KubernetesService),
    /// At a socket of this machine, by its absolute path.
    Unix(Box<str>),
    /// Behind an ingress that is not ours: it forwards, and asks here whether it may.
    Ingress,
}

/// A port of a Service of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KubernetesService {
    cluster: ClusterId,
    namespace: Box<str>,
    name: Box<str>,
    port: ServicePort,
}

/// A Service's port as the Service itself has it, which is not the port of its pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServicePort {
    /// By number.
    Number(u16),
    /// By name.
    Name(Box<str>),
}

/// Of TLS to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A file with authorities, PEM; `None`: those of the system.
    pub ca_file: Option<String>,
    /// The name that its certificate must carry; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// The files of our certificate and of its key, PEM.
    pub client_certificate: Option<(String, String)>,
}

impl Upstream {
    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &UpstreamPlace {
        &self.place
    }

    /// Which HTTP it is spoken to by.
    #[must_use]
    pub const fn protocol(&self) -> UpstreamProtocol {
        self.protocol
    }

    /// What counts for TLS; `None`: clear text.
    #[must_use]
    pub const fn tls(&self) -> Option<&UpstreamTls> {
        self.tls.as_ref()
    }

    /// The URL that it is asked as: its own, or, of pods and sockets, one that names what they serve and is not dialled.
    #[must_use]
    pub fn asked_as(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.place {
            UpstreamPlace::Url(url) => url.to_string(),
            UpstreamPlace::Kubernetes(service) => match service.port {
                ServicePort::Number(port) => format!("{scheme}://{}:{port}", service.dns_name()),
                ServicePort::Name(_) => format!("{scheme}://{}", service.dns_name()),
            },
            UpstreamPlace::Unix(_) | UpstreamPlace::Ingress => format!("{scheme}://localhost"),
        }
    }

    pub(super) fn read(spec: &UpstreamSpec, wrong: &mut Wrong) -> Option<Self> {
        let place = place(spec, wrong)?;
        if place == UpstreamPlace::Ingress {
            let protocol = UpstreamProtocol::default();
            return Some(Self {
                place,
                protocol,
                tls: None,
            });
        }
        let scheme = scheme(&place, spec.scheme, wrong);
        let protocol = spec.protocol.unwrap_or_default();
        let tls = match scheme {
            UpstreamScheme::Https => tls(&place, spec, wrong),
            UpstreamScheme::Http => {
                in_vain_without_tls(spec, wrong);
                None
            }
        };
        let misfit = match (protocol, scheme) {
            (UpstreamProtocol::H2, UpstreamScheme::Http) => {
                Some("`h2` is HTTP/2 over TLS: write `h2c` for HTTP/2 in clear text, or `https`")
            }
            (UpstreamProtocol::H2c, UpstreamScheme::Https) => {
                Some("`h2c` is HTTP/2 in clear text: write `h2` for HTTP/2 over TLS, or `http`")
            }
            _ => None,
        };
        if let Some(what) = misfit {
            wrong.say("spec.upstream.protocol", what);
        }
        Some(Self { place, protocol, tls })
    }
}

impl KubernetesService {
    /// Of which cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// In which namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of its ports.
    #[must_use]
    pub const fn port(&self) -> &ServicePort {
        &self.port
    }

    /// The name that pods of the cluster know it by, such as `web.shop.svc`: what its certificate carries, and its `Host`.
    #[must_use]
    pub fn dns_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    fn read(spec: &KubernetesServiceSpec, wrong: &mut Wrong) -> Option<Self> {
        const NAME: &str = "lower-case letters, digits and inner `-`, at most 63 characters";
        let label = |text: &str, what: &str| match ClusterId::new(text) {
            Ok(_) => Ok(Box::<str>::from(text)),
            Err(_) => Err(format!("`{text}` is no name of {what}: {NAME}")),
        };
        let cluster = ClusterId::new(&spec.cluster).map_err(|error| error.to_string());
        let cluster = wrong.keep("spec.upstream.kubernetes.cluster", cluster);
        let namespace = wrong.keep(
            "spec.upstream.kubernetes.namespace",
            label(&spec.namespace, "a namespace"),
        );
        let name = wrong.keep("spec.upstream.kubernetes.name", label(&spec.name, "a Service"));
        let port = wrong.keep("spec.upstream.kubernetes.port", port(&spec.port));
        Some(Self {
            cluster: cluster?,
            namespace: namespace?,
            name: name?,
            port: port?,
        })
    }
}

impl std::fmt::Display for KubernetesService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} of {}", self.namespace, self.name, self.cluster)
    }
}

impl std::fmt::Display for ServicePort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// IANA service names (RFC 6335 §5.1), as Kubernetes has them for ports.
fn port(spec: &PortSpec) -> Result<ServicePort, String> {
    match spec {
        PortSpec::Number(number) => match u16::try_from(*number) {
            Ok(number) if number > 0 => Ok(ServicePort::Number(number)),
            _ => Err(format!("`{number}` is no port: 1 to 65535, or the port's name")),
        },
        PortSpec::Name(name) => {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let is_name = !name.is_empty() && name.len() <= 63 && name.bytes().all(fits);
            if is_name && name.bytes().any(|byte| byte.is_ascii_lowercase()) {
                Ok(ServicePort::Name(name.as_str().into()))
            } else {
                Err(format!(
                    "`{name}` is neither a port's number (without quotes) nor its name in the Service"
                ))
            }
        }
    }
}

fn place(spec: &UpstreamSpec, wrong: &mut Wrong) -> Option<UpstreamPlace> {
    if spec.ingress {
        return behind_an_ingress(spec, wrong);
    }
    match (&spec.url, &spec.kubernetes, &spec.unix) {
        (Some(url), None, None) => match is_url(url) {
            Ok(()) => Some(UpstreamPlace::Url(url.as_str().into())),
            Err(what) => {
                wrong.say("spec.upstream.url", what);
                None
            }
        },
        (None, Some(service), None) => KubernetesService::read(service, wrong).map(UpstreamPlace::Kubernetes),
        (None, None, Some(path)) => {
            let path = wrong.keep(
                "spec.upstream.unix",
                is_socket_path(path).map(|()| path.as_str().into()),
            );
            path.map(UpstreamPlace::Unix)
        }
        (None, None, None) => {
            wrong.say(
                "spec.upstream",
                "it says nowhere to go: write `url`, `kubernetes`, `unix` or `ingress`",
            );
            None
        }
        _ => {
            wrong.say(
                "spec.upstream",
                "a service is in one place: keep one of `url`, `kubernetes`, `unix` and `ingress`",
            );
            None
        }
    }
}

/// How it is reached is the ingress's to know.
fn behind_an_ingress(spec: &UpstreamSpec, wrong: &mut Wrong) -> Option<UpstreamPlace> {
    if spec.url.is_some() || spec.kubernetes.is_some() || spec.unix.is_some() {
        wrong.say(
            "spec.upstream",
            "a service is in one place: keep one of `url`, `kubernetes`, `unix` and `ingress`",
        );
        return None;
    }
    for (member, is_there) in [
        ("spec.upstream.scheme", spec.scheme.is_some()),
        ("spec.upstream.protocol", spec.protocol.is_some()),
        ("spec.upstream.caFile", spec.ca_file.is_some()),
        ("spec.upstream.serverName", spec.server_name.is_some()),
        ("spec.upstream.clientCertificate", spec.client_certificate.is_some()),
    ] {
        if is_there {
            wrong.say(
                member,
                "it has no effect: your ingress speaks to the service; leave it out",
            );
        }
    }
    Some(UpstreamPlace::Ingress)
}

/// What the place says of TLS, or what stands beside it.
fn scheme(place: &UpstreamPlace, written: Option<UpstreamScheme>, wrong: &mut Wrong) -> UpstreamScheme {
    let UpstreamPlace::Url(url) = place else {
        return written.unwrap_or_default();
    };
    if written.is_some() {
        wrong.say("spec.upstream.scheme", "the URL says it: leave it out");
    }
    if url.starts_with("https://") {
        UpstreamScheme::Https
    } else {
        UpstreamScheme::Http
    }
}

fn tls(place: &UpstreamPlace, spec: &UpstreamSpec, wrong: &mut Wrong) -> Option<UpstreamTls> {
    const EMPTY: &str = "it is empty; leave it out";
    let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
    if is_empty(&spec.ca_file) {
        wrong.say("spec.upstream.caFile", EMPTY);
    }
    if is_empty(&spec.server_name) {
        wrong.say("spec.upstream.serverName", EMPTY);
    }
    let pair = spec.client_certificate.as_ref();
    if pair.is_some_and(|pair| pair.cert_file.is_empty() || pair.key_file.is_empty()) {
        wrong.say(
            "spec.upstream.clientCertificate",
            "name both files: `certFile` and `keyFile`",
        );
    }
    let server_name = match (place, &spec.server_name) {
        (UpstreamPlace::Kubernetes(service), None) => Some(service.dns_name()),
        (UpstreamPlace::Unix(_), None) => {
            let what = "the path of a socket is no name that a certificate carries: say which name it carries";
            wrong.say("spec.upstream.serverName", what);
            None
        }
        (_, name) => name.clone(),
    };
    Some(UpstreamTls {
        ca_file: spec.ca_file.clone(),
        server_name,
        client_certificate: pair.map(|pair| (pair.cert_file.clone(), pair.key_file.clone())),
    })
}

fn in_vain_without_tls(spec: &UpstreamSpec, wrong: &mut Wrong) {
    for (member, is_there) in [
        ("spec.upstream.caFile", spec.ca_file.is_some()),
        ("spec.upstream.serverName", spec.server_name.is_some()),
        ("spec.upstream.clientCertificate", spec.client_certificate.is_some()),
    ] {
        if is_there {
            let what = "it has no effect: no certificate is looked at in clear text; write `https`, or leave it out";
            wrong.say(member, what);
        }
    }
}

/// An absolute path in one spelling, short enough for a socket's address (108 bytes with a zero at the end).
fn is_socket_path(path: &str) -> Result<(), String> {
    let says = |what: &str| Err(format!("`{path}` {what}"));
    let Some(rest) = path.strip_prefix('/') else {
        return says("is no absolute path");
    };
    if path.len() > 107 {
        return says("is too long for a socket: at most 107 bytes");
    }
    if path.chars().any(char::is_control) {
        return says("holds a control character");
    }
    match rest.split('/').find(|segment| matches!(*segment, "" | "." | "..")) {
        Some(segment) => Err(format!("`{path}`: leave the segment `{segment}` out")),
        None => Ok(()),
    }
}

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
