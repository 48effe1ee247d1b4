//! Certificates of callers: of people by their authorities, and of workloads (X.509-SVIDs) by the bundles of their trust domains.

use std::collections::BTreeSet;
use std::path::Path;

use model::spiffe::{SpiffePattern, TrustDomain};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::types::{Listener, Serves};

/// Client certificates as credentials.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file of the authorities that may vouch for people.
    pub ca_file: String,
    /// Put in front of the common name to make the user. Keep it apart from the prefixes of issuers.
    #[serde(default)]
    pub user_prefix: String,
    /// Put in front of each organisation to make a group.
    #[serde(default)]
    pub group_prefix: String,
}

/// The workloads of one SPIFFE trust domain, proved by their X.509-SVIDs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workloads {
    /// The trust domain, such as `example.org`. Its own bundle alone vouches for its workloads.
    pub trust_domain: String,
    /// File with its bundle: PEM, or a SPIFFE bundle in JSON. Watched; a broken new one leaves the old one in force. Either this or
    /// `workloadApi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_file: Option<String>,
    /// Socket of the agent that knows its bundle and every change of it (SPIFFE Workload API): `unix:///run/spire/agent.sock`. While
    /// the agent is away, what it said last counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_api: Option<String>,
    /// Which of its workloads may call here: SPIFFE IDs, or `spiffe://example.org/ns/prod/*` for all below a path. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Vec<String>>,
}

/// The path of a `unix:` URI without authority (SPIFFE Workload Endpoint §4).
pub(crate) fn socket(uri: &str) -> Option<&Path> {
    let path = uri.strip_prefix("unix://")?;
    let is_plain = path.starts_with('/') && !path.ends_with('/') && !path.contains(['?', '#', '%', '\0']);
    is_plain.then(|| Path::new(path))
}

impl Check<'_> {
    pub(super) fn workloads(&mut self, i: usize, listener: &Listener) {
        if listener.workloads.is_empty() {
            return;
        }
        if listener.tls.is_none() || listener.serves.iter().any(|what| *what != Serves::Kubernetes) {
            self.say(
                &format!("/listeners/{i}/workloads"),
                "workloads need a TLS listener that serves `kubernetes` alone",
                "not possible here",
                "move `gateway` to a listener of its own: browsers would ask for a certificate there",
            );
        }
        let mut known = BTreeSet::new();
        for (j, workloads) in listener.workloads.iter().enumerate() {
            let at = |key: &str| format!("/listeners/{i}/workloads/{j}/{key}");
            match TrustDomain::parse(&workloads.trust_domain) {
                Err(error) => {
                    let help = "write its name alone, such as `example.org`";
                    self.say(&at("trustDomain"), error.to_string(), "this value", help);
                }
                Ok(domain) => {
                    if !known.insert(domain.clone()) {
                        let what = "this trust domain is named twice";
                        self.say(&at("trustDomain"), what, "the second one", "write one entry for each");
                    }
                    self.accepted(workloads, &domain, &at);
                }
            }
            self.source(workloads, &at);
        }
    }

    fn source(&mut self, workloads: &Workloads, at: &dyn Fn(&str) -> String) {
        if workloads.bundle_file.is_some() == workloads.workload_api.is_some() {
            self.say(
                &at("trustDomain"),
                "a trust domain needs either `bundleFile` or `workloadApi`",
                "who vouches for it?",
                "name one of the two",
            );
        }
        if workloads
            .workload_api
            .as_deref()
            .is_some_and(|uri| socket(uri).is_none())
        {
            self.say(
                &at("workloadApi"),
                "`workloadApi` is no unix socket",
                "this value",
                "write for example `unix:///run/spire/agent.sock`",
            );
        }
    }

    fn accepted(&mut self, workloads: &Workloads, domain: &TrustDomain, at: &dyn Fn(&str) -> String) {
        let Some(accept) = &workloads.accept else { return };
        let help = format!(
            "write SPIFFE IDs such as `{0}/ns/prod/sa/web`, or `{0}/ns/prod/*`",
            domain.id()
        );
        if accept.is_empty() {
            let what = "an empty list accepts nobody";
            self.say(
                &at("accept"),
                what,
                "this list",
                format!("{help}; leave it out for all"),
            );
        }
        for (k, text) in accept.iter().enumerate() {
            let at = at(&format!("accept/{k}"));
            match SpiffePattern::parse(text) {
                Err(error) => self.say(&at, error.to_string(), "this value", help.clone()),
                Ok(pattern) if !pattern.is_of(domain) => {
                    self.say(
                        &at,
                        format!("this is not of the trust domain `{domain}`"),
                        "this value",
                        help.clone(),
                    );
                }
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, told};
    use super::*;

    /// `GOOD` with a second listener that has these lines about workloads.
    fn with(workloads: &str) -> String {
        let listener = "  - name: k8s\n    address: 0.0.0.0:6443\n    serves: [kubernetes]\n    tls: { certFile: /tls/tls.crt, keyFile: /tls/tls.key }\n    workloads:\n";
        GOOD.replace("serves: [gateway, kubernetes]", "serves: [gateway]")
            .replace("identity:\n", &format!("{listener}{workloads}identity:\n"))
    }

    #[test]
    fn trust_domains_are_named_with_who_vouches_for_them() {
        let good = with(
            "    - { trustDomain: example.org, workloadApi: 'unix:///run/spire/agent.sock' }\n    - { trustDomain: partner.example, bundleFile: /b.json, accept: ['spiffe://partner.example/a', 'spiffe://partner.example/b/*'] }\n",
        );
        let config = super::super::parse("gw.yaml", &good).map_err(|problems| problems.for_a_person(false, 100));
        let config = config.unwrap();
        assert_eq!(config.listeners[1].workloads.len(), 2);
    }

    #[test]
    fn what_cannot_work_about_workloads_is_said_all_at_once_at_its_place() {
        let text = with(
            "    - { trustDomain: 'spiffe://example.org', bundleFile: /a }\n    - { trustDomain: a.example }\n    - { trustDomain: a.example, bundleFile: /a, workloadApi: 'unix:///a' }\n    - { trustDomain: b.example, workloadApi: 'tcp://127.0.0.1:8081', accept: [] }\n    - { trustDomain: c.example, bundleFile: /c, accept: ['spiffe://b.example/x', 'spiffe://c.example/', 'spiffe://c.example.evil/*'] }\n",
        );
        let found: Vec<_> = told(&text)
            .into_iter()
            .map(|(line, column, what, _)| (line, column, what))
            .collect();
        let expected = [
            (
                14,
                22,
                "a trust domain is made of lower-case letters, digits, dots, dashes and underscores, without user and port",
            ),
            (15, 22, "a trust domain needs either `bundleFile` or `workloadApi`"),
            (16, 22, "this trust domain is named twice"),
            (16, 22, "a trust domain needs either `bundleFile` or `workloadApi`"),
            (17, 46, "`workloadApi` is no unix socket"),
            (17, 70, "an empty list accepts nobody"),
            (18, 58, "this is not of the trust domain `c.example`"),
            (
                18,
                82,
                "the path of a SPIFFE ID has no empty segment and no slash at its end",
            ),
            (18, 105, "this is not of the trust domain `c.example`"),
        ];
        let mut expected: Vec<_> = expected
            .map(|(line, column, what)| (line, column, what.to_owned()))
            .into();
        let mut found = found;
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_browser_is_never_asked_for_a_certificate_of_a_workload() {
        for serves in ["[gateway, kubernetes]", "[gateway]"] {
            let text = with("    - { trustDomain: example.org, bundleFile: /b }\n")
                .replace("serves: [kubernetes]", &format!("serves: {serves}"));
            assert!(
                told(&text)
                    .iter()
                    .any(|(_, _, what, _)| what == "workloads need a TLS listener that serves `kubernetes` alone"),
                "{serves}"
            );
        }
    }

    #[test]
    fn a_socket_is_named_by_its_path_alone() {
        assert_eq!(socket("unix:///run/agent.sock"), Some(Path::new("/run/agent.sock")));
        for bad in [
            "/run/agent.sock",
            "unix:/run/agent.sock",
            "unix://agent.sock",
            "unix://host/run/agent.sock",
            "unix:///",
            "unix:///a?b",
        ] {
            assert_eq!(socket(bad), None, "{bad}");
        }
    }
}
