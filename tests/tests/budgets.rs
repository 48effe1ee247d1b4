//! Promise 8 in small: above a budget calls are refused and counted, exactly, whatever is wrong with them, and somebody
//! else's budget is not touched. In bulk and with times: `cargo xtask soak flood`.

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::hostile::signed_part;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const SENT: usize = 40;

/// One record a second, five seconds' worth at once: far less than is sent.
fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        more: Some(json!({ "limits": { "recordsPerSecond": 1, "strangersPerSecond": 1 } })),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

/// Sends the same call again and again and says how many were answered with each of `statuses`.
fn send<const N: usize>(
    gateway: &Gateway,
    headers: &[(&str, &str)],
    times: usize,
    statuses: [u16; N],
) -> anyhow::Result<[usize; N]> {
    let client = gateway.client()?;
    let mut seen = [0; N];
    for _ in 0..times {
        let status = client.get(TARGET, headers)?.status;
        let known = statuses.iter().position(|known| *known == status);
        seen[known.with_context(|| format!("status {status}"))?] += 1;
    }
    Ok(seen)
}

/// Records of calls and counts in summaries, of the person with this address, or of strangers.
fn accounted(gateway: &mut Gateway, who: Option<&str>) -> anyhow::Result<(usize, usize)> {
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;
    let records = gateway.records()?;
    let calls: Vec<&Value> = records
        .iter()
        .filter(|record| {
            ["access", "intent", "refusal"]
                .iter()
                .any(|kind| record["kind"] == *kind)
        })
        .filter(|record| record["by"]["user"].as_str() == who)
        .collect();
    let subject = match who {
        None => "strangers".to_owned(),
        Some(_) => calls
            .first()
            .and_then(|record| record["by"]["id"].as_str())
            .context("a subject")?
            .to_owned(),
    };
    let counts = records.iter().filter(|record| {
        record["sum"]["what"]
            .as_str()
            .is_some_and(|what| what.ends_with(&subject))
    });
    let counted = counts.filter_map(|record| record["sum"]["count"].as_u64()).sum::<u64>();
    Ok((calls.len(), usize::try_from(counted)?))
}

#[test]
fn k_07_calls_above_a_persons_budget_are_refused_and_counted_and_nobody_elses() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let bearer = |person: &str| Ok::<_, anyhow::Error>(format!("Bearer {}", gateway.sign_in(person)?.token));
    let (alice, bob) = (bearer("alice")?, bearer("bob")?);
    let [served, limited] = send(&gateway, &[("Authorization", &alice)], SENT, [200, 429])?;
    assert!(served >= 5 && limited > 0, "{served} were served, {limited} were not");
    let [served_bob] = send(&gateway, &[("Authorization", &bob)], 3, [200])?;
    assert_eq!(served_bob, 3, "bob feels nothing of it");
    let (recorded, counted) = accounted(&mut gateway, Some("alice@example.com"))?;
    assert_eq!((recorded, counted), (served, limited));
    Ok(())
}

#[test]
fn a_persons_malformed_calls_cost_the_same_budget() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let alice = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let headers = [("Authorization", alice.as_str()), ("Impersonate-Nobody", "x")];
    let [malformed, limited] = send(&gateway, &headers, SENT, [400, 429])?;
    assert!(
        malformed >= 5 && limited > 0,
        "{malformed} were told what is wrong, {limited} were not"
    );
    let (recorded, counted) = accounted(&mut gateway, Some("alice@example.com"))?;
    assert_eq!((recorded, counted), (malformed, limited));
    Ok(())
}

#[test]
fn strangers_are_all_refused_and_all_counted_and_people_feel_nothing() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let bob = format!("Bearer {}", gateway.sign_in("bob")?.token);
    let [nothing] = send(&gateway, &[], SENT / 2, [401])?;
    let [junk] = send(&gateway, &[("Authorization", "Bearer not.a.token")], SENT / 2, [401])?;
    assert_eq!(nothing + junk, SENT);
    let [served] = send(&gateway, &[("Authorization", &bob)], 3, [200])?;
    assert_eq!(served, 3);
    // Their budget fills again while time passes, so that on a slow machine a call may be recorded in between.
    let mut more = 0;
    try_until("one is only counted", PATIENCE, || {
        more += 1;
        let text = String::from_utf8(gateway.client()?.get(TARGET, &[])?.body)?;
        ensure!(
            !text.contains("decision") && !text.contains("GatescribeDecision"),
            "nobody could look it up: {text}"
        );
        Ok(())
    })?;
    let (recorded, counted) = accounted(&mut gateway, None)?;
    let sent = SENT + more;
    assert_eq!(recorded + counted, sent, "{recorded} recorded, {counted} counted");
    assert!(counted > 0, "their budget is full");
    Ok(())
}

/// The longest record, as docs/explanation/ledger-format.md promises it.
const LONGEST: usize = 16 << 10;

/// The records of refusals, once there are so many, with their lengths as JSON.
fn refusals(gateway: &Gateway, most: usize) -> anyhow::Result<Vec<(Value, usize)>> {
    let is_refusal = |record: &&Value| record["kind"] == "refusal";
    let records = gateway.records_with("the refusals", |records| {
        records.iter().filter(is_refusal).count() >= most
    })?;
    let refusals = records.into_iter().filter(|record| is_refusal(&record));
    Ok(refusals
        .map(|record| (record.clone(), record.to_string().len()))
        .collect())
}

#[test]
fn a_strangers_target_of_60_000_bytes_makes_a_short_record_that_says_its_length() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let path = format!("/api/v1/namespaces/{}/pods", "a".repeat(60_000));
    let answer = gateway.client()?.get(&format!("/clusters/bench{path}"), &[])?;
    assert_eq!(answer.status, 401);
    let refusals = refusals(&gateway, 1)?;
    let (record, length) = refusals.first().context("a refusal")?;
    assert!(*length <= LONGEST, "{length} bytes");
    let recorded = record["req"]["path"].as_str().context("a path")?;
    let (beginning, said) = recorded.split_at(1_024);
    assert!(path.starts_with(beginning));
    assert_eq!(said, format!("… ({} bytes)", path.len()));
    Ok(())
}

#[test]
fn a_refused_call_as_somebody_in_255_long_groups_is_recorded_with_their_count_and_hash() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let alice = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let groups: Vec<String> = (0..255).map(|n| format!("{n:03}{}", "g".repeat(297))).collect();
    let mut headers = vec![("Authorization", alice.as_str()), ("Impersonate-User", "admin")];
    headers.extend(groups.iter().map(|group| ("Impersonate-Group", group.as_str())));
    let answer = gateway.client()?.get(TARGET, &headers)?;
    assert_eq!(answer.status, 403);
    let refusals = refusals(&gateway, 1)?;
    let (record, length) = refusals.first().context("a refusal")?;
    assert!(*length <= LONGEST, "{length} bytes");
    let named = record["as"]["groups"].as_array().context("groups")?;
    assert_eq!(
        named.first().and_then(Value::as_str),
        groups.first().map(String::as_str)
    );
    assert_eq!(record["as"]["groups_count"], 255);
    assert_eq!(record["as"]["groups_hash"].as_str().map(str::len), Some(32));
    Ok(())
}

#[test]
fn who_leaves_before_its_call_is_decided_leaves_one_record_of_it() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = Gateway::before(&upstream.upstream(), &Options::default())?;
    let alice = format!("Bearer {}", gateway.sign_in("alice")?.token);
    upstream.keep_silent_in_reviews();
    let mut connection = gateway.client()?.connect()?;
    connection.ask("GET", TARGET, &[("Authorization", &alice)])?;
    try_until("the cluster is asked", PATIENCE, || {
        ensure!(upstream.asked_in_vain() == 1, "not yet");
        Ok(())
    })?;
    drop(connection);
    let refusals = refusals(&gateway, 1)?;
    let (record, _) = refusals.first().context("a refusal")?;
    assert_eq!(refusals.len(), 1);
    assert_eq!(record["decision"]["reason"], "clientLeft");
    assert_eq!(record["outcome"]["end"], "clientGone");
    assert_eq!(record["by"]["user"], "alice@example.com");
    assert_eq!(record["req"]["resource"], "configmaps");
    Ok(())
}

#[test]
fn who_leaves_while_their_token_is_reviewed_leaves_one_record_of_it() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        identity: Some(json!({ "serviceAccounts": { "accept": true } })),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    upstream.keep_silent_in_reviews();
    let claims = json!({
        "iss": "https://kubernetes.default.svc", "aud": [gateway.url], "exp": 4_000_000_000_u64,
        "sub": "system:serviceaccount:shop:robot",
    });
    let token = format!(
        "{}.c2lnbmF0dXJl",
        signed_part(&json!({ "alg": "RS256", "kid": "k" }), &claims)
    );
    let mut connection = gateway.client()?.connect()?;
    connection.ask("GET", TARGET, &[("Authorization", &format!("Bearer {token}"))])?;
    try_until("the cluster is asked", PATIENCE, || {
        ensure!(upstream.asked_in_vain() == 1, "not yet");
        Ok(())
    })?;
    drop(connection);
    let refusals = refusals(&gateway, 1)?;
    let (record, _) = refusals.first().context("a refusal")?;
    assert_eq!(refusals.len(), 1);
    assert_eq!(record["decision"]["reason"], "clientLeft");
    assert_eq!(record["outcome"]["end"], "clientGone");
    assert!(record.get("by").is_none(), "nobody was proved: {record}");
    assert_eq!(record["req"]["path"], "/api/v1/namespaces/default/configmaps");
    assert!(
        !record.to_string().contains("robot"),
        "what it said of itself is nobody's word: {record}"
    );
    Ok(())
}

/// A log takes a connection to the cluster for itself: one person holds an eighth of those, and others read theirs.
#[test]
fn one_persons_logs_leave_room_for_those_of_others() -> anyhow::Result<()> {
    const LOGS_OF_ONE: u64 = 128;
    const LOG: &str = "/clusters/bench/api/v1/namespaces/default/pods/p/log?follow=true";
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    let (alice, bob) = (gateway.sign_in("alice")?.token, gateway.sign_in("bob")?.token);
    let bearer = |token: &str| format!("Bearer {token}");
    upstream.hold();
    let client = gateway.client()?;
    let mut open = Vec::new();
    for _ in 0..LOGS_OF_ONE {
        let mut connection = client.connect()?;
        connection.ask("GET", LOG, &[("Authorization", &bearer(&alice))])?;
        open.push(connection);
    }
    try_until("all of alice's logs are asked for", PATIENCE, || {
        ensure!(upstream.reads() == LOGS_OF_ONE, "{}", upstream.reads());
        Ok(())
    })?;
    let refused = client.get(LOG, &[("Authorization", &bearer(&alice))])?;
    let words = refused.json()?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(
        refused.status == 429 && words.contains("128"),
        "{}: {words}",
        refused.status
    );
    // Other calls of hers are none of those, and somebody else's log is none of hers.
    let mut others = [client.connect()?, client.connect()?];
    others[0].ask("GET", TARGET, &[("Authorization", &bearer(&alice))])?;
    others[1].ask("GET", LOG, &[("Authorization", &bearer(&bob))])?;
    try_until("both are asked for", PATIENCE, || {
        ensure!(upstream.reads() == LOGS_OF_ONE + 2, "{}", upstream.reads());
        Ok(())
    })?;
    upstream.release();
    for connection in &mut others {
        let answer = connection.answer()?;
        ensure!(answer.status == 200, "{}", answer.head);
    }
    Ok(())
}

/// Watches have a limit of their own: whoever holds as many as they may still gets answers to everything else.
#[test]
fn k_07_watches_are_counted_apart_from_short_calls() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        more: Some(json!({ "limits": { "streams": 2, "inFlight": 2 } })),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    let alice = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let (client, headers) = (gateway.client()?, [("Authorization", alice.as_str())]);
    let watch = format!("{TARGET}?watch=true");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut connection = client.connect()?;
        connection.ask("GET", &watch, &headers)?;
        held.push(connection);
    }
    try_until("both watches are open", PATIENCE, || {
        ensure!(upstream.reads() == 2, "{}", upstream.reads());
        Ok(())
    })?;
    let refused = client.get(&watch, &headers)?;
    let told = refused.json()?;
    let words = told["message"].as_str().unwrap_or_default();
    ensure!(
        refused.status == 429 && words.contains("2 watches"),
        "{}: {words}",
        refused.status
    );
    ensure!(told["reason"] == "TooManyRequests" && told["code"] == 429, "{told}");
    ensure!(
        !refused.head.to_ascii_lowercase().contains("retry-after"),
        "{}",
        refused.head
    );
    for _ in 0..3 {
        ensure!(client.get(TARGET, &headers)?.status == 200, "short calls are others");
    }
    Ok(())
}
