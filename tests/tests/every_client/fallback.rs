//! Clients that start with WebSockets before an API server that knows none for streams: the attempt is refused, the second
//! one over SPDY carries the stream, and all comes out as it does direct.

use std::collections::HashSet;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::cluster::audit::Event;
use tests::person::Person;

use super::libraries::streams_that_fall_back;
use super::world::World;

const NO_WEBSOCKETS: &str = "--feature-gates=TranslateStreamCloseWebsocketRequests=false,PortForwardWebsockets=false";

#[test]
fn h_24_a_stream_that_falls_back_to_spdy_is_the_same() -> anyhow::Result<()> {
    let world = World::with(vec![NO_WEBSOCKETS.to_owned()], false)?;
    super::kubectl::streams_that_fall_back(&world)?;
    streams_that_fall_back(&world)?;
    both_attempts_are_one_session(&world)?;
    let events = world.cluster.audit_events()?;
    for (way, person) in [("direct", "alice@example.com"), ("gate", IMPERSONATOR)] {
        let answered = |accepted: bool| {
            let of_exec = events
                .iter()
                .filter(|event| event.user.username == person && event.request_uri.contains("/exec?"));
            let codes = of_exec.filter_map(Event::code);
            codes.filter(|code| (*code == 101) == accepted).count()
        };
        ensure!(
            answered(false) > 0 && answered(true) > 0,
            "{way}: {} attempts refused, {} streams",
            answered(false),
            answered(true)
        );
    }
    Ok(())
}

/// In whose name the gateway calls.
const IMPERSONATOR: &str = "system:serviceaccount:gatescribe:impersonator";

/// The record of each stream names the attempt by WebSocket that led nowhere, and each attempt is named once.
fn both_attempts_are_one_session(world: &World) -> anyhow::Result<()> {
    let closed = |records: &[Value], id: &Value| {
        let mut closes = records
            .iter()
            .filter(|record| record["kind"] == "close" && record["id"] == *id);
        closes.next().and_then(|close| close["outcome"]["status"].as_u64())
    };
    let streams = |records: &[Value]| -> Vec<Value> {
        let opens = records.iter().filter(|record| record["kind"] == "open");
        opens
            .filter(|open| closed(records, &open["id"]) == Some(101))
            .cloned()
            .collect()
    };
    let records = world
        .gateway
        .records_with("the ends of the streams", |records| streams(records).len() >= 2)?;
    let mut named = HashSet::new();
    for stream in streams(&records) {
        let first = &stream["req"]["fallback_of"];
        ensure!(named.insert(first.to_string()), "one attempt is named twice: {first}");
        let mut opens = records.iter().filter(|record| record["kind"] == "open");
        let attempt = opens.find(|open| open["id"] == *first);
        let attempt = attempt.with_context(|| format!("no attempt is named by {stream}"))?;
        ensure!(attempt["req"]["path"] == stream["req"]["path"], "{attempt} {stream}");
        ensure!(closed(&records, first).is_some_and(|status| status >= 400), "{attempt}");
    }
    // And whoever looks sees one act and one session, under the id of the stream.
    let carol = Person::signed_in(&world.gateway, "carol")?;
    let told = carol
        .ok("gatescribe audit search user:alice kind:open --limit 500 -o json")?
        .json()?;
    let acts = told["records"].as_array().cloned().context("acts")?;
    let listed = carol.sessions("user:alice --limit 500")?;
    for (what, rows) in [("act", acts), ("session", listed)] {
        for stream in streams(&records) {
            // `kubectl cp` opens more than one, which are one act, too.
            let is_of = |row: &&Value, id: &Value| {
                let calls = row["calls"].as_array();
                row["id"] == *id || calls.is_some_and(|calls| calls.iter().any(|call| call["id"] == *id))
            };
            let told = rows.iter().filter(|row| is_of(row, &stream["id"])).count();
            let alone = rows.iter().any(|row| row["id"] == stream["req"]["fallback_of"]);
            ensure!(
                told == 1 && !alone,
                "{what}: {told} of {stream}, its attempt apart: {alone}"
            );
        }
    }
    Ok(())
}
