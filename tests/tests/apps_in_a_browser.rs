//! Applications that people put behind single sign-on, in Debian's Chromium: Prometheus answers a query on its page and JupyterLab
//! computes in a kernel over its WebSocket, after one sign-in at a certified provider. Pictures lie below `target/screenshots/apps/`.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::apps::{Jupyter, prometheus};
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

/// One cell, which nobody has run.
fn notebook() -> Value {
    json!({
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": { "kernelspec": { "name": "python3", "display_name": "Python 3", "language": "python" } },
        "cells": [{ "cell_type": "code", "id": "answer", "metadata": {}, "source": "6*7", "outputs": [], "execution_count": null }],
    })
}

#[test]
fn prometheus_and_jupyterlab_answer_in_a_browser_after_one_sign_in() -> anyhow::Result<()> {
    let prometheus = prometheus(None)?;
    let jupyter = Jupyter::start("/", None, None)?;
    jupyter.server.folder().write("answer.ipynb", notebook().to_string())?;
    let documents = [
        service("prometheus", &prometheus.url()),
        service("jupyter", &jupyter.server.url()),
    ]
    .concat();
    let gateway = Gateway::before(
        &FakeApiServer::start()?.upstream(),
        &Options::ruled(format!("{documents}{RULE}")),
    )?;
    gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
    let (_, port) = gateway.url.rsplit_once(':').context("a port")?;
    let chromium = Chromium::start()?;
    let tab = chromium.tab("alice")?;
    let at_provider = |page: &String| page.starts_with(&gateway.provider.issuer);

    // The deep link is kept over the sign-in: the query stands in it.
    tab.go(&format!(
        "http://prometheus.localhost:{port}/classic/graph?g0.expr=6*7&g0.tab=1"
    ))?;
    tab.until(
        "location.host.startsWith('prometheus.') && [...document.querySelectorAll('td')].some(cell => cell.textContent.trim() === '42')",
    )?;
    let visited = tab.visited()?;
    ensure!(
        visited.iter().any(at_provider),
        "nobody was asked to sign in: {visited:#?}"
    );
    tab.pictured("apps", "prometheus")?;

    tab.go(&format!("http://jupyter.localhost:{port}/lab/tree/answer.ipynb"))?;
    // The kernel's messages come over a WebSocket: until then it is `Connecting`, and a click runs nothing.
    tab.until("[...document.querySelectorAll('#jp-main-statusbar *')].some(told => told.textContent === 'Python 3 (ipykernel) | Idle')")?;
    tab.click("[data-jp-item-name='run'] jp-button")?;
    tab.until(
        "[...document.querySelectorAll('.jp-OutputArea-output')].some(output => output.textContent.trim() === '42')",
    )?;
    let visited = tab.visited()?;
    ensure!(!visited.iter().any(at_provider), "a second sign-in: {visited:#?}");
    tab.pictured("apps", "jupyterlab")?;

    recorded(&gateway)
}

/// All of it is alice's, the WebSocket of the kernel, too.
fn recorded(gateway: &Gateway) -> anyhow::Result<()> {
    let at = |record: &Value, kind: &str, service: &str| record["kind"] == kind && record["service"]["name"] == service;
    let records = gateway.records_with("the query and the kernel", |records| {
        let asked = |record: &&Value| at(record, "intent", "prometheus") && record["req"]["path"] == "/api/v1/query";
        records.iter().any(|record| asked(&record)) && records.iter().any(|record| at(record, "open", "jupyter"))
    })?;
    let is_call = |record: &&Value| {
        ["intent", "open"].iter().any(|kind| record["kind"] == *kind) && record.get("service").is_some()
    };
    for call in records.iter().filter(is_call) {
        let by = &call["by"];
        ensure!(
            by["email"] == "alice@example.com" && by["credential"] == "cookie",
            "{call:#}"
        );
    }
    Ok(())
}
