//! A gateway that is told to stop: it says so first, takes no new requests on connections that are there, and lets those
//! under way end. Through the real program; the API server's stand-in holds its answers, so that nothing depends on time.

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use tests::browser::Browser;
use tests::fake::FakeApiServer;
use tests::frames::{GO_AWAY, Http2};
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps/x";

fn readyz(gateway: &Gateway) -> anyhow::Result<(u16, String)> {
    let page = Browser::default().request("GET", &format!("http://{}/readyz", gateway.admin()), "")?;
    Ok((page.status, page.body))
}

#[test]
fn told_to_stop_it_says_so_refuses_new_requests_and_lets_the_others_end() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&fake.upstream(), &options)?;
    let alice = gateway.sign_in("alice")?;
    let (status, text) = readyz(&gateway)?;
    ensure!(status == 200 && text.contains("[+] shutdown ok\n"), "{text}");
    fake.hold();
    let authority = gateway
        .server()
        .trim_start_matches("https://")
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let client = gateway.client()?;
    let bearer = format!("Bearer {}", alice.token);
    let mut modern = Http2::begin(client.http2()?)?;
    modern.get(1, &authority, TARGET, &[("authorization", &bearer)])?;
    let mut old = client.connect()?;
    old.ask("GET", TARGET, &[("Authorization", &bearer)])?;
    try_until("both calls arrived upstream", PATIENCE, || {
        ensure!(fake.reads() == 2, "{} did", fake.reads());
        Ok(())
    })?;

    gateway.process().signal(Signal::SIGTERM)?;
    let text = try_until("it says that it stops", PATIENCE, || {
        let (status, text) = readyz(&gateway)?;
        ensure!(status == 503, "{status}");
        Ok(text)
    })?;
    ensure!(text.contains("[-] shutdown not ready: told to stop"), "{text}");
    ensure!(
        text.contains("[+] ledger ok\n") && text.ends_with("readyz check failed\n"),
        "{text}"
    );
    while modern.read()?.kind != GO_AWAY {}
    modern.get(3, &authority, TARGET, &[("authorization", &bearer)])?;
    let refused: serde_json::Value = serde_json::from_str(&modern.body(3)?)?;
    ensure!(refused["code"] == 503, "{refused}");
    let message = refused["message"].as_str().context("no message")?;
    ensure!(message.starts_with("the gateway is about to stop"), "{message}");
    ensure!(fake.reads() == 2, "the refused call was sent");

    fake.release();
    ensure!(modern.body(1)?.contains("ConfigMap"));
    let answer = old.answer()?;
    ensure!(answer.status == 200, "{}", answer.head);
    ensure!(
        answer.head.to_ascii_lowercase().contains("connection: close"),
        "{}",
        answer.head
    );
    drop((modern, old));
    gateway.wait()?;
    let records = gateway.records()?;
    let of = |kind: &str| {
        records
            .iter()
            .filter(|record| record["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let [refusal] = of("refusal")[..] else {
        anyhow::bail!("{} refusals", of("refusal").len());
    };
    ensure!(refusal["by"]["user"] == "alice@example.com", "{refusal}");
    ensure!(refusal.to_string().contains("draining"), "{refusal}");
    let answered = of("access").len();
    ensure!(answered == 2, "{answered} reads");
    Ok(())
}

#[test]
fn an_effect_whose_client_has_left_is_waited_for_and_gets_its_end() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&fake.upstream(), &options)?;
    let alice = gateway.sign_in("alice")?;
    fake.hold();
    let mut client = gateway.client()?.connect()?;
    client.ask(
        "DELETE",
        TARGET,
        &[("Authorization", &format!("Bearer {}", alice.token))],
    )?;
    let sent = try_until("the call arrived upstream", PATIENCE, || {
        let effects = fake.take_effects();
        effects.keys().find(|id| !id.is_empty()).cloned().context("not yet")
    })?;
    drop(client);
    gateway.process().signal(Signal::SIGTERM)?;
    // Nothing is open any more: only the sending keeps the gateway.
    try_until("both listeners have drained", PATIENCE, || {
        let drained = gateway.log().matches("a listener has drained").count();
        ensure!(drained == 2, "{drained}");
        Ok(())
    })?;
    fake.release();
    gateway.wait()?;
    let records = gateway.records()?;
    let of = |kind: &str| {
        records
            .iter()
            .find(|record| record["kind"] == kind && record.to_string().contains(&sent))
    };
    ensure!(of("intent").is_some(), "no intent of {sent}");
    let end = of("outcome").with_context(|| format!("no outcome of {sent} in {records:#?}"))?;
    ensure!(end["outcome"]["status"] == 201, "{end}");
    Ok(())
}
