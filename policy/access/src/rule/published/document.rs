//! `Service` documents as they are written. Nothing here is checked but the names of members; [`super::Published`] is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A document of kind `Service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDocument {
    /// Always `gatescribe.dev/v1`.
    pub api_version: String,
    /// Always `Service`.
    pub kind: String,
    /// Its name: a label, which records, assertions and the command line use.
    pub metadata: ServiceMeta,
    /// What it says.
    pub spec: ServiceSpec,
}

/// The name of a service, and what rules may choose it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceMeta {
    /// A label (RFC 1123).
    pub name: String,
    /// A service of a file has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, for `services[].selector` of rules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What is published, where it is, and what passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How long a call of it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutSpec>,
    /// How large a call of it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitSpec>,
    /// What of its addresses is written anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<RewriteSpec>,
    /// Which `Host` it sees; absent: `keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSpec>,
    /// Whether it is told by `X-Forwarded-For`, `-Host`, `-Proto` and `Forwarded` what the caller's address is and what was asked
    /// for; absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<bool>,
    /// Headers that are set or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderSpec>,
    /// How the signed assertion of who calls comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<AssertionSpec>,
    /// Plain headers that say who calls; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_headers: Option<IdentityHeaderSpec>,
    /// The workloads that it is: `<namespace>/<service account>`, `<cluster>:<namespace>/<service account>` or `spiffe://…`. They
    /// alone may act by what was asserted to it; absent: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<String>,
}

/// Where a service is: exactly one of `url`, `kubernetes`, `unix` and `ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSpec {
    /// `http://host[:port][/path]` or `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Service of a cluster, by the addresses of its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesServiceSpec>,
    /// The path of a socket on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<String>,
    /// `true`: an ingress of your own forwards its calls and asks the gateway about each (forward-auth). Nothing of them passes the gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ingress: bool,
    /// Of `kubernetes` and `unix`, which have no URL; absent: `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<UpstreamScheme>,
    /// Absent: `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<UpstreamProtocol>,
    /// A file with the certificate authorities that vouch for it, PEM; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The name in its certificate, where that is not the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The certificate that it is shown where it asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateSpec>,
}

/// A Service of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesServiceSpec {
    /// The cluster's name in the gateway's configuration.
    pub cluster: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The Service's port, by number or name, as `kubectl get service` shows it.
    pub port: PortSpec,
}

/// A port by number or name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortSpec {
    /// Such as 80.
    Number(u32),
    /// Such as `http`.
    Name(String),
}

/// Whether TLS is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamScheme {
    /// Clear text.
    #[default]
    Http,
    /// TLS.
    Https,
}

/// Which HTTP is spoken to a service. A connection that is to be switched to a WebSocket speaks HTTP/1.1 whatever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// Over TLS what the service chooses (ALPN), in clear text HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 over TLS, and nothing else.
    H2,
    /// HTTP/2 in clear text with prior knowledge (RFC 9113 §3.3), as gRPC speaks it.
    H2c,
}

/// A client certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// The file of the certificate, with what leads to its authority.
    pub cert_file: String,
    /// The file of its key.
    pub key_file: String,
}

/// Lengths of time, such as `30s`, `15m`, `8h`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutSpec {
    /// Until a connection stands; absent: 8 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<String>,
    /// From the end of the request to the head of the answer; absent: 1 m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Without a byte in either direction; absent: 4 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// A call's longest life, whatever passes; absent: as long as the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest: Option<String>,
}

/// Sizes, such as `64KiB`, `10MiB`, `1GiB`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitSpec {
    /// The largest body of a request; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What is written anew between the address that is asked for and the service's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RewriteSpec {
    /// The service does not see `path`: on `/app`, `/app/x` is `/x` to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strip_path: bool,
    /// `Location` and the `Path` of cookies, which say the service's own address, say the published one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redirects: bool,
}

/// Which `Host` a service sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostSpec {
    /// The published one, as it was asked for: what pages compare `Origin` with, and what services build links from.
    #[default]
    Keep,
    /// That of the upstream.
    Upstream,
}

/// Headers that are set or removed in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderSpec {
    /// Of requests to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<HeaderChangeSpec>,
    /// Of its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HeaderChangeSpec>,
}

/// Headers that are set or removed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderChangeSpec {
    /// Names and values; what was there is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// How the signed assertion of who calls comes to the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssertionSpec {
    /// The header's name; absent: `X-Gatescribe-Assertion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// Names of plain headers that say who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityHeaderSpec {
    /// The user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The groups, joined by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// The address of mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}
