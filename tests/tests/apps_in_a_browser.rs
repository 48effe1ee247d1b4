//! An application that people put behind single sign-on, in Debian's Chromium: Prometheus answers a query on its page, after one sign-in at a certified
//! provider. Pictures lie below `target/screenshots/apps/`.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::apps::prometheus;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::window::Chromium;

fn service(name: &str, url: &str) -> String {
    format!(
        "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: {name} }}
spec:
  hosts: [{name}.localhost]
  upstream: {{ url: '{url}' }}
---"
    )
}

const RULE: &str = "
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: developers }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: ['*.localhost'], methods: ['*'], paths: ['/*'] }]
";

#[test]
fn prometheus_answers_a_query_in_a_browser_after_one_sign_in() -> anyhow::Result<()> {
    let prometheus = prometheus(None)?;
    let document = service("prometheus", &prometheus.url());
    let gateway = Gateway::before(
        &FakeApiServer::start()?.upstream(),
        &Options::ruled(format!("{document}{RULE}")),
    )?;
    gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
    let (_, port) = gateway.url.rsplit_once(':').context("a port")?;
    let chromium = Chromium::start()?;
    let tab = chromium.tab("alice")?;

    // The deep link is kept over the sign-in: the query stands in it.
    tab.go(&format!(
        "http://prometheus.localhost:{port}/classic/graph?g0.expr=6*7&g0.tab=1"
    ))?;
    tab.until(
        "location.host.startsWith('prometheus.') && [...document.querySelectorAll('td')].some(cell => cell.textContent.trim() === '42')",
    )?;
    let visited = tab.visited()?;
    let at_provider = |page: &String| page.starts_with(&gateway.provider.issuer);
    ensure!(
        visited.iter().any(at_provider),
        "nobody was asked to sign in: {visited:#?}"
    );
    tab.pictured("apps", "prometheus")?;

    recorded(&gateway)
}

/// All of it is alice's.
fn recorded(gateway: &Gateway) -> anyhow::Result<()> {
    let is_call = |record: &Value| record["kind"] == "intent" && record["service"]["name"] == "prometheus";
    let records = gateway.records_with("the query", |records| {
        let mut calls = records.iter().filter(|record| is_call(record));
        calls.any(|call| call["req"]["path"] == "/api/v1/query")
    })?;
    for call in records.iter().filter(|record| is_call(record)) {
        let by = &call["by"];
        ensure!(
            by["email"] == "alice@example.com" && by["credential"] == "cookie",
            "{call:#}"
        );
    }
    Ok(())
}
