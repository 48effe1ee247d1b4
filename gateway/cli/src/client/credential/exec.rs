//! `KUBERNETES_EXEC_INFO` in, `ExecCredential` out; v1 and v1beta1 differ in their name only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use console::GatewayUrl;
use serde::Deserialize;
use serde_json::json;

use super::told_end;
use crate::Exit;
use crate::client::gateway::Cluster;
use crate::client::store::Token;
use crate::client::trouble::Trouble;

const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];

/// What kubectl says when it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecCall {
    version: &'static str,
    /// Whether a person is there.
    pub(super) interactive: bool,
    server: String,
    ca_data: Option<String>,
    skips_verification: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    api_version: String,
    kind: String,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    interactive: bool,
    #[serde(default)]
    cluster: Option<ClusterInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterInfo {
    server: String,
    #[serde(default)]
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
}

impl ExecCall {
    pub(super) fn of_environment() -> Result<Self, Trouble> {
        let text = std::env::var("KUBERNETES_EXEC_INFO").map_err(|_| {
            Trouble::new(Exit::Usage, "this command is called by kubectl")
                .because("KUBERNETES_EXEC_INFO is not set")
                .remedy("kubectl get pods; a token for other programs: gatescribe api GET /version")
        })?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            Trouble::new(Exit::Usage, "kubectl's question is not understood")
                .because(why)
                .remedy("gatescribe login URL writes the kubeconfig entry anew")
        };
        let Info {
            api_version,
            kind,
            spec,
        } = serde_json::from_str(text).map_err(|error| wrong(format!("KUBERNETES_EXEC_INFO: {error}")))?;
        let version = VERSIONS
            .into_iter()
            .find(|known| *known == api_version)
            .filter(|_| kind == "ExecCredential");
        let version = version.ok_or_else(|| wrong(format!("`{api_version}` `{kind}` is neither v1 nor v1beta1")))?;
        let cluster = spec.cluster.ok_or_else(|| {
            wrong("it does not say which server the token is for; set `provideClusterInfo: true`".to_owned())
        })?;
        Ok(Self {
            version,
            interactive: spec.interactive,
            server: cluster.server,
            ca_data: cluster.certificate_authority_data.filter(|data| !data.is_empty()),
            skips_verification: cluster.insecure_skip_tls_verify,
        })
    }

    /// Whether the server that will get the token is the one that it is for: address and CA (protocol X-04).
    pub(super) fn is_for(&self, cluster: &Cluster) -> bool {
        let bare = |server: &str| server.trim_end_matches('/').to_ascii_lowercase();
        !self.skips_verification
            && bare(&self.server) == bare(&cluster.server)
            && certificates(self.ca_data.as_deref()) == certificates(cluster.ca_data.as_deref())
    }

    pub(super) fn refusal(&self, cluster: &Cluster, gateway: &GatewayUrl) -> Trouble {
        let trouble = Trouble::new(Exit::NotPermitted, "no token is given to this server");
        let login = format!("gatescribe login {} writes the entry anew", gateway.as_str());
        if self.skips_verification {
            return trouble
                .because("the kubeconfig says insecure-skip-tls-verify: whoever answers would get it")
                .remedy(login);
        }
        let why = format!(
            "it is for `{}` with its own CA; kubectl asks for `{}`{}",
            cluster.server,
            self.server,
            if self.ca_data.is_some() {
                ""
            } else {
                " without a CA of its own"
            }
        );
        trouble.because(why).remedy(login)
    }

    pub(super) fn credential(&self, token: &Token) -> String {
        let credential = json!({
            "apiVersion": self.version,
            "kind": "ExecCredential",
            "status": {"token": token.secret().reveal(), "expirationTimestamp": told_end(token)},
        });
        format!("{credential}\n")
    }
}

/// The bytes: kubectl writes base64 its own way.
fn certificates(data: Option<&str>) -> Option<Vec<u8>> {
    let data: String = data?.split_ascii_whitespace().collect();
    Some(STANDARD.decode(&data).unwrap_or_else(|_| data.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::store::Secret;
    use model::time::Timestamp;
    use std::time::Duration;

    fn info(version: &str, cluster: &str) -> String {
        format!(
            r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}","spec":{{"interactive":true,"cluster":{cluster}}}}}"#
        )
    }

    fn prod() -> Cluster {
        Cluster {
            name: "prod".to_owned(),
            server: "https://prod.gate.example".to_owned(),
            ca_data: Some("Q0E=".to_owned()),
        }
    }

    #[test]
    fn both_versions_are_answered_in_their_own_name() {
        for version in ["v1", "v1beta1"] {
            let call = ExecCall::parse(&info(version, r#"{"server":"https://x","config":null}"#)).unwrap();
            let token = Token::new(
                Secret::new("a.b.c"),
                Timestamp::from_unix_seconds(1000),
                Duration::from_secs(600),
            );
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&call.credential(&token)).unwrap(),
                json!({
                    "apiVersion": format!("client.authentication.k8s.io/{version}"), "kind": "ExecCredential",
                    "status": {"token": "a.b.c", "expirationTimestamp": "1970-01-01T00:26:10Z"},
                })
            );
        }
        assert!(ExecCall::parse(&info("v1alpha1", r#"{"server":"https://x"}"#)).is_err());
    }

    #[test]
    fn a_token_is_bound_to_server_and_ca() {
        let call = |cluster| ExecCall::parse(&info("v1", cluster)).unwrap();
        assert!(call(r#"{"server":"https://prod.gate.example/","certificate-authority-data":"Q0E="}"#).is_for(&prod()));
        for other in [
            r#"{"server":"https://evil.example","certificate-authority-data":"Q0E="}"#,
            r#"{"server":"https://prod.gate.example","certificate-authority-data":"RXZpbA=="}"#,
            r#"{"server":"https://prod.gate.example"}"#,
            r#"{"server":"http://prod.gate.example","certificate-authority-data":"Q0E="}"#,
            r#"{"server":"https://prod.gate.example","certificate-authority-data":"Q0E=","insecure-skip-tls-verify":true}"#,
        ] {
            assert!(!call(other).is_for(&prod()), "{other}");
        }
    }

    #[test]
    fn a_question_without_a_server_gets_no_token() {
        let text =
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#;
        let trouble = ExecCall::parse(text).unwrap_err();
        assert!(
            trouble.text().contains("provideClusterInfo: true"),
            "{}",
            trouble.text()
        );
    }
}
