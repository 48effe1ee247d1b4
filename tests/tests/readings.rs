//! Who read what of the records stands in the records: each way of reading once, with what was asked and how much came of it, and
//! each answer names that record.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::field;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

/// An answer of the gateway host.
struct Told {
    status: u16,
    record: Option<String>,
    body: String,
}

/// What is sent to a target, where it is more than a question; a body asks by POST. `erasures` by itself is asked what there are.
fn body_for(target: &str) -> Option<&'static str> {
    match target {
        "/api/v1/users/lock" => Some(r#"{"who":"nobody","reason":"TICKET-1"}"#),
        "/api/v1/erasures?" => Some(r#"{"who":"nobody","classes":["command"],"reason":"TICKET-1"}"#),
        "/api/v1/service-test" => Some(r#"{"host":"web.example.com","target":"/a?secret=1"}"#),
        _ => None,
    }
}

/// Asks the gateway host by HTTP/1.0; a stream is left after its first line.
fn ask(gateway: &Gateway, token: &str, target: &str) -> anyhow::Result<Told> {
    let host = gateway.url.strip_prefix("http://").context("plain HTTP")?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (method, body) = body_for(target).map_or(("GET", ""), |body| ("POST", body));
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    let is_stream = target.contains("/tail") || target.contains("follow=true");
    loop {
        let count = stream.read(&mut piece)?;
        read.extend(piece.iter().take(count));
        let begun = String::from_utf8_lossy(&read).contains("\"begin\"");
        if count == 0 || is_stream && begun {
            break;
        }
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").context("a head")?;
    let status = head.split(' ').nth(1).context("a status")?.parse()?;
    Ok(Told {
        status,
        record: field(head, "gatescribe-record").map(str::to_owned),
        body: body.to_owned(),
    })
}

#[test]
fn each_way_of_reading_leaves_a_record_with_the_query_and_the_number_of_results_and_its_answer_names_it()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    for _ in 0..3 {
        let answer = gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?;
        ensure!(answer.status == 200, "{}", answer.head);
    }
    let closed = |records: &[Value]| records.iter().filter(|record| record["kind"] == "close").count() >= 3;
    let records = gateway.records_with("three reads have ended", closed)?;
    let read = records.iter().find(|record| record["kind"] == "access");
    let id = read
        .and_then(|record| record["id"].as_str())
        .context("a read")?
        .to_owned();

    let carol = gateway
        .renew(&gateway.sign_in("carol")?.handle, "gatescribe-api")?
        .token;
    let alice = gateway
        .renew(&gateway.sign_in("alice")?.handle, "gatescribe-api")?
        .token;
    let told = |token: &str, target: &str, status: u16| -> anyhow::Result<Told> {
        try_until(target, PATIENCE, || {
            let told = ask(&gateway, token, &format!("/api/v1/{target}"))?;
            ensure!(told.status == status, "{target}: {} {}", told.status, told.body);
            Ok(told)
        })
    };
    // Target, status, what the record says: what was done, the query, results.
    let nowhere = "0192f0c1-7c3e-7d00-a000-0000000007f3";
    let ways = [
        (
            "audit/records?q=verb:list&since=1h".to_owned(),
            200,
            "searched",
            "verb:list since:1h",
            3,
        ),
        (
            "audit/records?q=name:nobody".to_owned(),
            200,
            "searched",
            "name:nobody",
            0,
        ),
        (format!("audit/records/{id}"), 200, "viewed", &id, 1),
        (format!("audit/records/{nowhere}"), 404, "viewed", nowhere, 0),
        (format!("audit/records/{id}/receipt"), 200, "tookReceipt", &id, 1),
        (format!("why/{id}"), 200, "askedWhy", &id, 1),
        ("why/last".to_owned(), 404, "askedWhy", "last", 0),
        ("audit/can".to_owned(), 200, "askedRights", "", 0),
        (
            "evidence?q=verb:list&since=1h&sample=2&seed=s".to_owned(),
            200,
            "packedEvidence",
            "verb:list since:1h sample:2 seed:s",
            2,
        ),
        (
            "ledger/tile/entries/000.p/5".to_owned(),
            200,
            "readEntries",
            "tile/entries/000.p/5",
            5,
        ),
        ("sessions".to_owned(), 200, "listedSessions", "", 0),
        ("sessions?id=abcd".to_owned(), 200, "lookedForSession", "abcd", 0),
        (format!("sessions/{nowhere}"), 404, "viewedSession", nowhere, 0),
        (
            format!("sessions/{nowhere}/recording?format=text"),
            404,
            "exportedRecording",
            nowhere,
            0,
        ),
        (
            format!("sessions/{nowhere}/recording"),
            404,
            "playedRecording",
            nowhere,
            0,
        ),
        (
            format!("sessions/{nowhere}/recording?follow=true"),
            404,
            "watchedSession",
            nowhere,
            0,
        ),
        ("audit/tail?q=verb:list".to_owned(), 200, "tailBegan", "verb:list", 0),
        ("users/locks".to_owned(), 200, "listedLocks", "", 0),
        ("users/lock".to_owned(), 404, "lookedForUser", "user:\"nobody\"", 0),
        ("erasures".to_owned(), 200, "listedErasures", "", 0),
        ("erasures?".to_owned(), 404, "lookedForSubject", "user:\"nobody\"", 0),
        ("holds".to_owned(), 200, "listedHolds", "", 0),
        ("services".to_owned(), 200, "listedServices", "", 0),
        ("services/web".to_owned(), 404, "viewedService", "web", 0),
        (
            "service-test".to_owned(),
            200,
            "testedService",
            "HEAD web.example.com/a",
            1,
        ),
    ];
    let mut names = Vec::new();
    for (target, status, what, query, results) in &ways {
        let answer = told(&carol, target, *status)?;
        let record = answer.record.with_context(|| format!("{target} names its record"))?;
        names.push((
            record,
            *what,
            json!({"what": what, "scope": "all", "query": query, "results": results}),
        ));
    }
    // Of their own they read by the same rules, and it says so.
    let answer = told(&alice, "audit/records?q=verb:list", 200)?;
    let record = answer.record.context("her search names its record")?;
    names.push((
        record,
        "searched",
        json!({"what": "searched", "scope": "own", "query": "verb:list", "results": 3}),
    ));
    let answer = told(&alice, &format!("audit/records/{nowhere}"), 404)?;
    let record = answer.record.context("what is not there is recorded, too")?;
    names.push((
        record,
        "viewed",
        json!({"what": "viewed", "scope": "own", "query": nowhere, "results": 0}),
    ));
    // The end of the tail has a record of its own.
    let records = gateway.records_with("the tail has ended", |records| {
        records.iter().any(|record| record["read"]["what"] == "tailEnded")
    })?;
    for (id, what, read) in names {
        let record = records.iter().find(|record| record["id"] == id.as_str());
        let record = record.with_context(|| format!("the record {id} of {what}"))?;
        assert_eq!(
            (&record["kind"], &record["read"]),
            (&json!("auditread"), &read),
            "{record}"
        );
        assert!(
            record["by"]["user"].is_string() && record["note"].is_string(),
            "{record}"
        );
    }
    let ended = records.iter().find(|record| record["read"]["what"] == "tailEnded");
    assert_eq!(ended.map(|record| &record["read"]["query"]), Some(&json!("verb:list")));
    // Whoever reads no record leaves none: the signed tree's head and its hashes hold none.
    let checkpoint = told(&alice, "ledger/checkpoint", 200)?;
    assert_eq!(checkpoint.record, None);
    let all: Vec<&Value> = records.iter().filter(|record| record["kind"] == "auditread").collect();
    assert!(all.iter().all(|record| record["read"]["results"].is_u64()), "{all:?}");
    // Nobody read there, and the answer says so by a record of its own.
    let strange = told("nonsense", "audit/records", 401)?;
    let nowhere = told(&carol, "nothing-here", 404)?;
    for (answer, what) in [(strange, "credentialRefused"), (nowhere, "requestRefused")] {
        let id = answer.record.with_context(|| format!("{what} names its record"))?;
        gateway.records_with(what, |records| {
            let mut named = records.iter().filter(|record| record["id"] == id.as_str());
            named.any(|record| record["kind"] == "session" && record["person"]["what"] == what)
        })?;
    }
    Ok(())
}
