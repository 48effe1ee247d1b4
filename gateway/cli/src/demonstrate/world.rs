//! The stand-ins for the world outside, and the configuration that leads the gateway to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use demo::identity::{Client, Options as ProviderOptions, Provider};
use demo::kubernetes::{Credentials, Options as ClusterOptions, Server};
use serde_json::{Value, json};

use super::place::{Files, Ports, private};
use crate::config;

/// The identity provider, with the gateway as its client.
pub(super) struct People {
    provider: Provider,
    secret: String,
}

impl People {
    pub(super) async fn start(ports: &Ports) -> anyhow::Result<Self> {
        let secret = random()?;
        let url = format!("http://{}", ports.gateway);
        let client = Client {
            id: "gatescribe".to_owned(),
            secret: Some(secret.clone()),
            redirect_uris: vec![format!("{url}/callback")],
            post_logout_redirect_uris: vec![format!("{url}/signed-out")],
        };
        let provider = Provider::start(ProviderOptions {
            clients: vec![client],
            ..ProviderOptions::on(ports.provider)
        })
        .await?;
        Ok(Self { provider, secret })
    }

    pub(super) fn issuer(&self) -> &str {
        self.provider.issuer()
    }

    pub(super) async fn stop(self) {
        self.provider.stop().await;
    }
}

/// The embedded Kubernetes API, with the gateway's two credentials.
pub(super) struct Cluster {
    server: Server,
    credentials: Credentials,
}

impl Cluster {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let credentials = Credentials {
            impersonator: random()?,
            observer: random()?,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(ClusterOptions::on(address, credentials.clone())).await?;
        Ok(Self { server, credentials })
    }

    /// The cluster as the gateway's configuration names it.
    pub(super) fn configured(&self, folder: &Path) -> anyhow::Result<Value> {
        let kept = |name: &str, secret: &str| written(folder, name, secret);
        Ok(json!({
            "name": "demo", "servers": [self.server.url()],
            "impersonator": { "tokenFile": kept("impersonator", &self.credentials.impersonator)? },
            "observer": { "tokenFile": kept("observer", &self.credentials.observer)? },
        }))
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

/// The gateway's configuration, written and checked like anybody's.
pub(super) fn configuration(
    folder: &Path,
    ports: &Ports,
    people: &People,
    files: &Files,
    (cluster, prefix): (&Value, &str),
    service: SocketAddr,
) -> anyhow::Result<config::Config> {
    let secret = written(folder, "client-secret", &people.secret)?;
    let rules = written(folder, "services.yaml", &published(service))?;
    let text = json!({
        "apiVersion": "gatescribe.dev/v1",
        "url": format!("http://{}", ports.gateway),
        "dataDir": folder.join("data"),
        "listeners": [
            { "name": "gateway", "address": ports.gateway.to_string(), "serves": ["gateway", "services"] },
            { "name": "kubernetes", "address": ports.kubernetes.to_string(), "serves": ["kubernetes"],
              "tls": { "certFile": files.cert, "keyFile": files.key, "caFile": files.ca } },
        ],
        "admin": { "address": ports.admin.to_string() },
        "identity": { "auditGroups": [format!("{prefix}audit")], "providers": [{
            "name": "demo", "issuer": people.issuer(), "clientId": "gatescribe",
            "clientSecret": format!("${{file:{}}}", secret.display()),
            "claims": { "userPrefix": prefix, "groupPrefix": prefix },
        }] },
        "policy": { "rules": [rules] },
        "clusters": [cluster],
    });
    config::parse("the demo's configuration", &text.to_string())
        .map_err(|problems| anyhow::anyhow!("{}", problems.for_a_person(false, 100)))
}

/// The host under which the sample service is published: browsers find names below `localhost` on this machine.
pub(super) const SHOP: &str = "shop.localhost";

/// The sample service behind the sign-in, for everybody who has signed in.
fn published(service: SocketAddr) -> String {
    format!(
        "apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{name: shop}}
spec: {{hosts: [{SHOP}], upstream: {{url: 'http://{service}'}}, identityHeaders: {{user: X-Remote-User}}}}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{name: shop-for-everybody}}
spec:
  effect: allow
  subjects: {{groups: ['*']}}
  services: [{{hosts: [{SHOP}], methods: ['*'], paths: ['/*']}}]
"
    )
}

/// Writes a secret into the folder and says where it is.
pub(super) fn written(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    private(&path, text.as_bytes())?;
    Ok(path)
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 24];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
