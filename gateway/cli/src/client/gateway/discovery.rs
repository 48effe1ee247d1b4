//! `/.well-known/gatescribe`: one address is all that a person types.
//!
//! Invariant: handles and tokens go to the origin that vouched for itself, and nowhere else. A Kubernetes listener may
//! name its gateway host; that host is then asked itself, and has to name itself.

use bytes::Bytes;
use console::GatewayUrl;
use http::Request;
use serde::{Deserialize, Serialize};

use crate::Exit;
use crate::client::http::{Client, HttpError, is_loopback};
use crate::client::trouble::Trouble;

/// A cluster behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// Its name; the audience of its tokens.
    pub(crate) name: String,
    /// Where kubectl sends its requests.
    pub(crate) server: String,
    /// PEM in base64, as a kubeconfig has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_data: Option<String>,
}

/// Where the gateway is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Endpoints {
    /// For the browser.
    pub(crate) authorization: String,
    /// For codes and handles.
    pub(crate) token: String,
    /// For terminals without a browser.
    pub(crate) device: String,
    /// For signing out.
    pub(crate) revocation: String,
    /// For `whoami`.
    pub(crate) userinfo: String,
    /// For everything else: `/api/v1`.
    pub(crate) api: String,
}

/// What the gateway says about itself, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// Its origin, and the `iss` of its answers.
    pub(crate) gateway: GatewayUrl,
    /// Its program version.
    pub(crate) version: String,
    /// Where to speak to it.
    pub(crate) endpoints: Endpoints,
    /// What is behind it.
    pub(crate) clusters: Vec<Cluster>,
}

/// The document as it is written; new members may come.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: String,
    url: String,
    issuer: String,
    clusters: Vec<Cluster>,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: String,
    revocation_endpoint: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
}

/// Why an address is not a gateway's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Another answer than a gateway's.
    #[error("{url} answered {status} and no description of a gateway")]
    NotThere {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// Some JSON, but not ours.
    #[error("{url} describes no gateway")]
    Foreign {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// It speaks for somebody else.
    #[error("{asked} says that {about} is at `{named}`, which is another host")]
    Elsewhere {
        /// Who said it.
        asked: String,
        /// Of what.
        about: &'static str,
        /// Where it leads.
        named: String,
    },
    /// A cluster's address is unusable.
    #[error("the gateway names `{server}` as the address of cluster `{name}`; https is needed")]
    Cluster {
        /// The cluster.
        name: String,
        /// Its address.
        server: String,
    },
}

impl From<DiscoveryError> for Trouble {
    fn from(error: DiscoveryError) -> Self {
        match error {
            DiscoveryError::Http(error) => error.into(),
            DiscoveryError::NotThere { .. } | DiscoveryError::Foreign { .. } => {
                Self::new(Exit::NotFound, "there is no gateway at this address")
                    .because(crate::client::trouble::chain(&error))
                    .remedy("check the address; it is the `url:` of the gateway's configuration")
            }
            DiscoveryError::Elsewhere { .. } | DiscoveryError::Cluster { .. } => {
                Self::new(Exit::Fault, "the gateway's description of itself is not accepted")
                    .because(error.to_string())
                    .remedy(
                        "tell whoever administers the gateway; `url:` and `clusters:` in its configuration decide this",
                    )
            }
        }
    }
}

/// Reads what a person typed as a gateway's address; `https` when it has no scheme.
pub(crate) fn url_of(text: &str) -> Result<GatewayUrl, Trouble> {
    let typed = text.trim().to_ascii_lowercase();
    let whole = if typed.contains("://") {
        typed
    } else {
        format!("https://{typed}")
    };
    GatewayUrl::parse(&whole).map_err(|error| {
        Trouble::new(Exit::Usage, "this is no gateway's address")
            .because(error.to_string())
            .remedy("gatescribe login https://gate.example.com")
    })
}

/// Asks the address, and where it names another as the gateway, asks that one.
pub(crate) async fn discover(client: &Client, typed: &GatewayUrl) -> Result<Discovery, DiscoveryError> {
    let document = fetch(client, typed).await?;
    let (gateway, document) = match GatewayUrl::parse(&document.url) {
        Ok(named) if named == *typed => (named, document),
        Ok(named) => {
            let document = fetch(client, &named).await?;
            (named, document)
        }
        Err(_) => return Err(elsewhere(typed, "its own address", document.url)),
    };
    check(gateway, document)
}

async fn fetch(client: &Client, at: &GatewayUrl) -> Result<Document, DiscoveryError> {
    let url = at.at("/.well-known/gatescribe");
    let request = Request::get(&url)
        .body(Bytes::new())
        .map_err(|_| HttpError::Address(url.clone()))?;
    let answer = client.send(request).await?;
    if !answer.status().is_success() {
        return Err(DiscoveryError::NotThere {
            url,
            status: answer.status().as_u16(),
        });
    }
    serde_json::from_slice(answer.body()).map_err(|cause| DiscoveryError::Foreign { url, cause })
}

fn check(gateway: GatewayUrl, document: Document) -> Result<Discovery, DiscoveryError> {
    let Document {
        version,
        url,
        issuer,
        clusters,
        authorization_endpoint,
        token_endpoint,
        device_authorization_endpoint,
        revocation_endpoint,
        userinfo_endpoint,
    } = document;
    let own = |about, named: String| {
        let inside = named
            .strip_prefix(gateway.as_str())
            .is_some_and(|path| path.starts_with('/'));
        if inside {
            Ok(named)
        } else {
            Err(elsewhere(&gateway, about, named))
        }
    };
    if url != gateway.as_str() {
        return Err(elsewhere(&gateway, "its own address", url));
    }
    if issuer != gateway.as_str() {
        return Err(elsewhere(&gateway, "the issuer of its tokens", issuer));
    }
    let endpoints = Endpoints {
        authorization: own("its sign-in page", authorization_endpoint)?,
        token: own("its token endpoint", token_endpoint)?,
        device: own("its device endpoint", device_authorization_endpoint)?,
        revocation: own("its revocation endpoint", revocation_endpoint)?,
        userinfo: own(
            "its userinfo endpoint",
            userinfo_endpoint.unwrap_or_else(|| gateway.at("/userinfo")),
        )?,
        api: gateway.at("/api/v1"),
    };
    if let Some(wrong) = clusters.iter().find(|cluster| !is_usable(&cluster.server)) {
        return Err(DiscoveryError::Cluster {
            name: wrong.name.clone(),
            server: wrong.server.clone(),
        });
    }
    Ok(Discovery {
        gateway,
        version,
        endpoints,
        clusters,
    })
}

fn is_usable(server: &str) -> bool {
    let Ok(uri) = server.parse::<http::Uri>() else {
        return false;
    };
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback(&host),
        _ => false,
    }
}

fn elsewhere(asked: &GatewayUrl, about: &'static str, named: String) -> DiscoveryError {
    DiscoveryError::Elsewhere {
        asked: asked.as_str().to_owned(),
        about,
        named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(change: impl FnOnce(&mut serde_json::Value)) -> Document {
        let mut value = serde_json::json!({
            "version": "0.1.0", "url": "https://gate.example", "issuer": "https://gate.example",
            "clusters": [{"name": "prod", "server": "https://prod.gate.example"}],
            "authorizationEndpoint": "https://gate.example/authorize",
            "tokenEndpoint": "https://gate.example/token",
            "deviceAuthorizationEndpoint": "https://gate.example/device_authorization",
            "revocationEndpoint": "https://gate.example/revoke",
            "somethingNew": true,
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn gate() -> GatewayUrl {
        GatewayUrl::parse("https://gate.example").unwrap()
    }

    #[test]
    fn a_whole_description_is_accepted_and_new_members_do_not_matter() {
        let found = check(gate(), document(|_| {})).unwrap();
        assert_eq!(found.endpoints.userinfo, "https://gate.example/userinfo");
        assert_eq!(found.clusters.len(), 1);
    }

    #[test]
    fn a_gateway_cannot_send_secrets_to_another_host() {
        for (member, wrong) in [
            ("tokenEndpoint", "https://gate.example.evil/token"),
            ("revocationEndpoint", "https://evil/revoke"),
            ("authorizationEndpoint", "https://gate.example@evil/authorize"),
            ("deviceAuthorizationEndpoint", "https://gate.example"),
            ("userinfoEndpoint", "http://gate.example/userinfo"),
            ("issuer", "https://other.example"),
            ("url", "https://other.example"),
        ] {
            let error = check(gate(), document(|value| value[member] = wrong.into())).unwrap_err();
            assert!(matches!(error, DiscoveryError::Elsewhere { .. }), "{member}: {error}");
        }
    }

    #[test]
    fn a_cluster_without_encryption_is_refused() {
        let change = |value: &mut serde_json::Value| value["clusters"][0]["server"] = "http://prod.gate.example".into();
        let error = check(gate(), document(change)).unwrap_err();
        assert!(matches!(error, DiscoveryError::Cluster { .. }), "{error}");
    }

    #[test]
    fn an_address_without_scheme_is_https() {
        assert_eq!(url_of("Gate.Example").unwrap().as_str(), "https://gate.example");
        assert_eq!(
            url_of("gate.example:8443/").unwrap().as_str(),
            "https://gate.example:8443"
        );
        assert!(url_of("http://gate.example").is_err() && url_of("https://gate.example/path").is_err());
    }
}
