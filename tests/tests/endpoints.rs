//! The pods of Services as a real API server says them, to the account that `deploy/kubernetes/observer-services.yaml` gives.

use std::sync::Arc;

use access::rule::{KubernetesService, UpstreamPlace};
use anyhow::Context as _;
use model::cluster::ClusterId;
use reach::{Authorities, ClusterConnection, ClusterSource, CredentialSource, Endpoints, Explicit, Tuning};
use tests::cluster::{Cluster, Options};
use tests::once::Once;
use tests::wait::PATIENCE;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9100}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: other-1, namespace: shop, labels: {kubernetes.io/service-name: other}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.9.9]}]
"#;

/// A slice of `web` with these lines of endpoints.
fn slice(name: &str, family: &str, endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{kubernetes.io/service-name: web}}}}\naddressType: {family}\nports: [{{name: http, port: 8080}}, {{name: metrics, port: \
         9090}}]\nendpoints: [{endpoints}]\n"
    )
}

fn service(port: &str) -> anyhow::Result<KubernetesService> {
    let text = format!(
        "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], upstream: {{kubernetes: \
         {{cluster: c, namespace: shop, name: web, port: {port}}}}}}}\n"
    );
    let policy = access::rule::load_files([("a.yaml", text.as_str())]).map_err(|wrong| anyhow::anyhow!("{wrong:?}"))?;
    match policy.services.named("web").context("it is there")?.upstream().place() {
        UpstreamPlace::Kubernetes(service) => Ok(service.clone()),
        other => anyhow::bail!("{other:?}"),
    }
}

/// The way to the cluster by a token of one of its accounts.
fn connection(cluster: &Cluster, account: &str) -> anyhow::Result<Arc<ClusterConnection>> {
    let token = cluster.service_account_token("gatescribe", account)?;
    let source = ClusterSource::Explicit(Explicit {
        servers: vec![cluster.url()],
        authorities: Authorities::Pem(cluster.ca().certificate().as_bytes().to_vec()),
        tls_server_name: None,
        impersonator: CredentialSource::Token(token.clone()),
        observer: CredentialSource::Token(token),
    });
    Ok(Arc::new(ClusterConnection::new(
        ClusterId::new("c")?,
        source,
        Tuning::default(),
    )?))
}

fn prepared() -> anyhow::Result<&'static Cluster> {
    static PREPARED: Once<Cluster> = Once::new();
    PREPARED.get(|| {
        let cluster = Cluster::start(Options::default())?;
        cluster.apply_gateway_rights()?;
        cluster.admin()?.apply(OBJECTS)?;
        Ok(cluster)
    })
}

fn ready(endpoints: &Endpoints) -> Vec<String> {
    let mut ready: Vec<_> = endpoints.ready.iter().map(ToString::to_string).collect();
    ready.sort();
    ready
}

#[test]
fn the_pods_of_a_service_are_known_as_they_come_and_go() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let admin = cluster.admin()?;
    admin.apply(&slice(
        "web-1",
        "IPv4",
        "{addresses: [10.0.0.1]}, {addresses: [10.0.0.2], conditions: {ready: false}}",
    ))?;
    let connection = connection(cluster, "observer")?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (says, mut heard) = feeds::endpoints::channel();
        let (says_by_name, mut by_name) = feeds::endpoints::channel();
        tokio::spawn(feeds::endpoints::observe(Arc::clone(&connection), service("80")?, says));
        tokio::spawn(feeds::endpoints::observe(connection, service("metrics")?, says_by_name));
        let mut until = async |what: &str, wanted: &[&str]| {
            let found = heard.wait_for(|endpoints| endpoints.is_known && ready(endpoints) == wanted);
            let found = tokio::time::timeout(PATIENCE, found).await;
            anyhow::Ok(found.with_context(|| what.to_owned())??.clone())
        };
        let first = until("the first listing", &["10.0.0.1:8080"]).await?;
        assert_eq!((first.ending.len(), first.trouble), (0, None));
        let named = by_name.wait_for(|endpoints| endpoints.is_known);
        assert_eq!(
            ready(&*tokio::time::timeout(PATIENCE, named).await??),
            ["10.0.0.1:9090"]
        );

        admin.apply(&slice("web-2", "IPv6", "{addresses: ['fd00::7']}"))?;
        until("another family", &["10.0.0.1:8080", "[fd00::7]:8080"]).await?;

        let ends = "{addresses: [10.0.0.1], conditions: {ready: false, serving: true, terminating: true}}";
        admin.apply(&slice("web-1", "IPv4", ends))?;
        let ending = until("one that ends", &["[fd00::7]:8080"]).await?;
        assert_eq!(ending.ending, ["10.0.0.1:8080".parse()?]);

        admin.ok(&["-n", "shop", "delete", "endpointslice", "web-1", "web-2"])?;
        let none = until("none", &[]).await?;
        assert_eq!(none.trouble.as_deref(), Some("the Service shop/web of c has no pods"));

        admin.apply(&slice("web-1", "IPv4", "{addresses: [10.0.0.3]}"))?;
        until("a new one", &["10.0.0.3:8080"]).await?;
        admin.ok(&["-n", "shop", "delete", "service", "web"])?;
        let gone = until("the Service is gone", &[]).await?;
        assert_eq!(gone.trouble.as_deref(), Some("there is no Service shop/web of c"));
        Ok(())
    })
}

#[test]
fn an_account_without_the_right_is_told_which_file_gives_it() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let connection = connection(cluster, "impersonator")?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (says, mut heard) = feeds::endpoints::channel();
        tokio::spawn(feeds::endpoints::observe(connection, service("80")?, says));
        let said = heard.wait_for(|endpoints| endpoints.trouble.is_some());
        let said = tokio::time::timeout(PATIENCE, said).await??.clone();
        assert!(!said.is_known, "{said:?}");
        let trouble = said.trouble.context("it says why")?;
        assert!(
            trouble.ends_with("apply deploy/kubernetes/observer-services.yaml"),
            "{trouble}"
        );
        Ok(())
    })
}
