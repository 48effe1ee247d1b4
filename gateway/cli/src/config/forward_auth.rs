//! Ingresses that ask about each call: `forwardAuth` as it is written, and what of it cannot work.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::check::Check;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Config, Listener, Serves};

/// Ingresses that forward by themselves, and ask here whether they may. A verdict is recorded as `verdict` and never counts as coverage: what
/// becomes of the call the gateway does not see.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardAuth {
    /// PEM file of the authorities that vouch for the certificates of ingresses. They vouch for nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Who may ask. Each is known by its certificate or by a secret.
    #[serde(default)]
    pub peers: Vec<IngressPeer>,
}

/// An ingress that may ask.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressPeer {
    /// A name for records.
    pub name: String,
    /// DNS names, of which its client certificate carries one.
    #[serde(default)]
    pub certificate_names: Vec<String>,
    /// Files with a secret that it sends as `X-Gatescribe-Ingress-Secret`: 32 visible characters at least. Two while it is changed, either counts.
    /// They are watched.
    #[serde(default)]
    pub secret_files: Vec<String>,
}

/// Ingresses. A gateway has a handful.
const MOST_PEERS: usize = 64;

impl Check<'_> {
    /// Who may ask, and where.
    pub(super) fn forward_auth(&mut self, config: &Config) {
        let forward_auth = &config.forward_auth;
        let peers = &forward_auth.peers;
        let is_asked = |listener: &Listener| listener.serves.contains(&Serves::Verdict);
        if !peers.is_empty() && !config.listeners.iter().any(is_asked) {
            self.say(
                "/forwardAuth/peers",
                "no listener serves `verdict`: no ingress could ask",
                "these peers",
                "add a listener with `serves: [verdict]`",
            );
        }
        if peers.len() > MOST_PEERS {
            let what = format!("more than {MOST_PEERS} ingresses");
            self.say(
                "/forwardAuth/peers",
                what,
                "this list",
                "let several share a name and a secret",
            );
        }
        let by_certificate = peers.iter().any(|peer| !peer.certificate_names.is_empty());
        if by_certificate != forward_auth.ca_file.is_some() {
            let (at, what, help) = match by_certificate {
                true => (
                    "/forwardAuth",
                    "nobody vouches for the certificates of ingresses",
                    "add `caFile`, or know them by `secretFiles`",
                ),
                false => (
                    "/forwardAuth/caFile",
                    "`caFile` has no effect: no ingress is known by a certificate",
                    "add `certificateNames` to a peer, or remove it",
                ),
            };
            self.say(at, what, "this one", help);
        }
        let mut names = BTreeSet::new();
        for (i, peer) in peers.iter().enumerate() {
            self.ingress_peer(&format!("/forwardAuth/peers/{i}"), peer, names.insert(&peer.name));
        }
        for (i, listener) in config.listeners.iter().enumerate().filter(|(_, one)| is_asked(one)) {
            self.verdict_listener(i, listener, peers.is_empty(), by_certificate);
        }
    }

    fn ingress_peer(&mut self, at: &str, peer: &IngressPeer, is_new: bool) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !is_new {
            self.say(
                &format!("{at}/name"),
                "two ingresses have this name",
                "the second one",
                "give each its own name",
            );
        }
        if peer.name.is_empty() || peer.name.len() > 64 || !peer.name.bytes().all(fits) {
            self.say(
                &format!("{at}/name"),
                "this is no name of an ingress",
                "this text",
                "write up to 64 letters, digits, `-`, `.` and `_`",
            );
        }
        if peer.certificate_names.is_empty() == peer.secret_files.is_empty() {
            self.say(
                at,
                "an ingress is known in one way",
                "none or both",
                "write either `certificateNames` or `secretFiles`",
            );
        }
        if peer.secret_files.len() > 2 {
            self.say(
                &format!("{at}/secretFiles"),
                "an ingress has one secret, or two while it is changed",
                "more than two",
                "remove those that it sends no more",
            );
        }
        for (n, name) in peer.certificate_names.iter().enumerate() {
            if model::service::HostName::new(name).is_err() {
                self.say(
                    &format!("{at}/certificateNames/{n}"),
                    "this is no DNS name that a certificate carries",
                    "this text",
                    "write the whole name in lower case, without `*`",
                );
            }
        }
    }

    fn verdict_listener(&mut self, i: usize, listener: &Listener, nobody_asks: bool, by_certificate: bool) {
        let at = format!("/listeners/{i}/serves");
        if listener.serves.len() > 1 {
            self.say(
                &at,
                "a listener that serves `verdict` serves nothing else",
                "not only `verdict`",
                "give it a listener of its own, which no browser reaches",
            );
        }
        if nobody_asks {
            self.say(
                &at,
                "`verdict` has no effect: no ingress may ask",
                "nobody is answered",
                "name the ingresses in `forwardAuth.peers`, or remove it",
            );
        }
        let is_plain = listener.tls.is_none() && listener.address.parse::<SocketAddr>().is_ok();
        if is_plain && by_certificate {
            self.say(
                &at,
                "ingresses prove themselves by a certificate, and this listener has no `tls`",
                "no certificate is asked for here",
                "add `tls: {certFile, keyFile}`",
            );
        }
    }
}
