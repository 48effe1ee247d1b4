//! A ledger's records as a story reads them: what began, how it ended, and waiting for that. Nothing is judged here but that
//! ends belong to beginnings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ledger::{Ledger, RealDisk};
use model::event::RecordKind;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::metrics::Scrape;
use crate::wait::{PATIENCE, try_until};

/// A session that has ended, or another call that goes on for long.
#[derive(Debug, Clone)]
pub struct Session {
    /// The record of its beginning.
    pub open: Value,
    /// The record of its end.
    pub close: Value,
}

/// The records of the kind `open` for which `is` holds.
pub fn opens(records: &[Value], is: impl Fn(&Value) -> bool) -> impl Iterator<Item = &Value> {
    records
        .iter()
        .filter(move |record| record["kind"] == "open" && is(record))
}

/// The record of this kind with this id.
///
/// # Errors
/// There is none.
pub fn find<'r>(records: &'r [Value], kind: &str, id: &str) -> anyhow::Result<&'r Value> {
    let mut of_kind = records.iter().filter(|record| record["kind"] == kind);
    let found = of_kind.find(|record| record["id"] == id);
    found.with_context(|| format!("no {kind} of {id}"))
}

/// What ended the call that a record began.
#[must_use]
pub fn close_of<'r>(records: &'r [Value], begun: &Value) -> Option<&'r Value> {
    let mut closes = records.iter().filter(|record| record["kind"] == "close");
    closes.find(|close| close["pair"] == begun["seq"])
}

/// Why the gateway ended calls of a user, for each that it ended.
#[must_use]
pub fn ended_of<'r>(records: &'r [Value], user: &str) -> Vec<&'r str> {
    let of_user = records.iter().filter(|record| record["by"]["user"] == user);
    let closes = of_user.filter_map(|begun| close_of(records, begun));
    closes
        .filter(|close| close["outcome"]["end"] == "ended")
        .filter_map(|close| close["outcome"]["why"].as_str())
        .collect()
}

/// Does what somebody can who can write the ledger's folder and has no key, while the gateway is stopped: puts a call in behind its end. Gives the numbers
/// of the records.
///
/// # Errors
/// The ledger cannot be opened, or does not take them.
pub fn put_in(dir: &Path) -> anyhow::Result<Range<u64>> {
    let (writer, _) = Ledger::open(dir, ledger::Options::default(), Arc::new(RealDisk::new(dir)))?;
    let from = writer.found();
    let id = "019a0000-0000-7000-8000-000000000001";
    let call = json!({"id": id, "t": "2026-11-23T10:00:00Z", "mono": 1, "boot": "forged",
        "cluster": "bench", "by": {"id": "x", "kind": "person", "iss": "i", "sub": "s", "user": "alice"},
        "req": {"verb": "delete", "path": "/clusters/bench/api/v1/namespaces/default/secrets"}});
    let (ticket, slot) = writer.append_intent(call.to_string().into_bytes(), Vec::new())?;
    ticket.wait()?;
    let end = json!({"id": id, "pair": from, "t": "2026-11-23T10:00:00Z", "mono": 2, "boot": "forged",
        "outcome": {"end": "answered", "status": 200}});
    slot.fill(RecordKind::Outcome, end.to_string().into_bytes())?;
    writer.close();
    Ok(from..writer.durable().size)
}

/// The end of each session by its id.
///
/// # Errors
/// One has none or more than one, or there were no sessions.
pub fn one_end_each(records: &[Value]) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut ends = BTreeMap::new();
    for open in opens(records, |_| true) {
        let of_it = |record: &&Value| record["kind"] == "close" && record["pair"] == open["seq"];
        let found: Vec<&Value> = records.iter().filter(of_it).collect();
        let [end] = found.as_slice() else {
            anyhow::bail!("{} ends of {open}: {found:?}", found.len());
        };
        let id = open["id"].as_str().context("an id")?;
        ensure!(end["id"] == *id, "{end} ends {open}");
        ends.insert(id.to_owned(), (*end).clone());
    }
    ensure!(!ends.is_empty(), "there were no sessions");
    Ok(ends)
}

impl Gateway {
    /// The sessions whose `open` is so, once there are `count` of them and each has ended.
    ///
    /// # Errors
    /// There are others, or one does not end.
    pub fn sessions(&self, count: usize, is: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Session>> {
        try_until("the sessions have ended", PATIENCE, || {
            let records = self.records()?;
            let found = opens(&records, &is).map(|open| {
                let close = close_of(&records, open).with_context(|| format!("it goes on: {open}"))?;
                ensure!(close["id"] == open["id"], "{close} ends {open}");
                Ok(Session {
                    open: open.clone(),
                    close: close.clone(),
                })
            });
            let found: Vec<Session> = found.collect::<anyhow::Result<_>>()?;
            ensure!(found.len() == count, "{} of {count} sessions", found.len());
            Ok(found)
        })
    }

    /// The end of the session with this id, once it is recorded; some end at a limit only.
    ///
    /// # Errors
    /// It does not end.
    pub fn end_of(&self, id: &str) -> anyhow::Result<Value> {
        try_until("the end of the session", PATIENCE, || {
            find(&self.records()?, "close", id).cloned()
        })
    }

    /// Waits until so many calls that go on for long stand in its table: a watch is asked for after its list.
    ///
    /// # Errors
    /// There are others.
    pub fn has_open(&self, calls: u32) -> anyhow::Result<()> {
        try_until("the long calls are in the table", PATIENCE, || {
            let open = Scrape::of(self.admin())?
                .series
                .get("gateway_session_long_calls_open")
                .copied();
            ensure!(open == Some(f64::from(calls)), "{open:?} and not {calls}");
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(seq: u64, kind: &str, id: &str, user: &str) -> Value {
        json!({ "seq": seq, "kind": kind, "id": id, "by": { "user": user } })
    }

    fn close(seq: u64, pair: u64, id: &str, end: &str) -> Value {
        json!({ "seq": seq, "kind": "close", "id": id, "pair": pair, "outcome": { "end": end, "why": id } })
    }

    #[test]
    fn what_was_ended_is_told_of_its_own_user_and_of_nobody_else() {
        let records = [
            record(1, "open", "a", "alice"),
            record(2, "access", "b", "alice"),
            record(3, "open", "c", "bob"),
            close(4, 2, "b", "ended"),
            close(5, 1, "a", "answered"),
            close(6, 3, "c", "ended"),
        ];
        assert_eq!(ended_of(&records, "alice"), ["b"]);
        assert_eq!(ended_of(&records, "bob"), ["c"]);
        assert_eq!(ended_of(&records, "carol"), Vec::<&str>::new());
        assert!(find(&records, "open", "b").is_err() && find(&records, "close", "b").is_ok());
    }

    #[test]
    fn a_session_has_exactly_one_end_of_its_own() {
        let open = record(1, "open", "a", "alice");
        let ends = one_end_each(&[open.clone(), close(2, 1, "a", "answered")]).unwrap();
        assert_eq!(ends["a"]["seq"], 2);
        for records in [
            vec![],
            vec![open.clone()],
            vec![open.clone(), close(2, 1, "a", "answered"), close(3, 1, "a", "ended")],
            vec![open.clone(), close(2, 1, "b", "answered")],
        ] {
            assert!(one_end_each(&records).is_err(), "{records:?}");
        }
    }
}
