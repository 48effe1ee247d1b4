//! Applications that people put behind single sign-on, in Debian's Chromium: Prometheus answers a query on its page, and a kernel of JupyterLab computes over
//! its WebSocket, each after one sign-in at a certified provider. Pictures lie below `target/screenshots/apps/`.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::apps::{Jupyter, prometheus};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::window::Chromium;

const NOTEBOOK: &str = r#"{
 "cells": [{"cell_type": "code", "id": "one", "execution_count": null, "metadata": {}, "outputs": [], "source": ["6*7"]}],
 "metadata": {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}},
 "nbformat": 4, "nbformat_minor": 5
}"#;

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
fn prometheus_and_a_kernel_of_jupyterlab_work_in_a_browser_after_one_sign_in() -> anyhow::Result<()> {
    let (prometheus, jupyter) = (prometheus(None)?, Jupyter::start("/", None, None)?);
    jupyter.server.folder().write("answer.ipynb", NOTEBOOK)?;
    let documents = [
        service("prometheus", &prometheus.url()),
        service("lab", &jupyter.server.url()),
    ];
    let gateway = Gateway::before(
        &FakeApiServer::start()?.upstream(),
        &Options::ruled(format!("{}{RULE}", documents.concat())),
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
        "location.host.startsWith('prometheus.') && document.querySelector('.data_table')?.innerText.includes('42')",
    )?;
    let visited = tab.visited()?;
    let at_provider = |page: &String| page.starts_with(&gateway.provider.issuer);
    ensure!(
        visited.iter().any(at_provider),
        "nobody was asked to sign in: {visited:#?}"
    );
    tab.pictured("apps", "prometheus")?;

    tab.go(&format!("http://lab.localhost:{port}/lab/tree/answer.ipynb"))?;
    let run = "[data-command=\"notebook:run-cell-and-select-next\"]";
    tab.until(&format!(
        "document.querySelector('{run}') && document.querySelector('.jp-Notebook .jp-CodeCell') !== null"
    ))?;
    tab.click(run)?;
    tab.until("document.querySelector('.jp-OutputArea-output')?.innerText.trim() === '42'")?;
    let visited = tab.visited()?;
    ensure!(!visited.iter().any(at_provider), "a second sign-in: {visited:#?}");
    tab.pictured("apps", "jupyterlab")?;
    recorded(&gateway)
}

/// All of it is alice's, and the kernel's connection stands as one that goes on.
fn recorded(gateway: &Gateway) -> anyhow::Result<()> {
    let records = gateway.records_with("the kernel's connection", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "open" && record["service"]["name"] == "lab")
    })?;
    let calls = records
        .iter()
        .filter(|record| matches!(record["kind"].as_str(), Some("intent" | "open")) && !record["service"].is_null());
    let calls: Vec<&Value> = calls.collect();
    for call in &calls {
        ensure!(
            call["by"]["email"] == "alice@example.com" && call["by"]["credential"] == "cookie",
            "{call:#}"
        );
    }
    let kernel = calls.iter().any(|call| {
        let path = call["req"]["path"].as_str().unwrap_or_default();
        call["kind"] == "open" && path.starts_with("/api/kernels/")
    });
    ensure!(kernel, "no kernel's connection among {} calls", calls.len());
    Ok(())
}
