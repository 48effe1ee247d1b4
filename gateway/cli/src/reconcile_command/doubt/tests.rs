//! Somebody who has the ledger's folder and no key, beside a gateway that runs, has ended, or was killed. Each run, his as well, ends with a record of its own.

use std::fs;

use model::event::RecordKind;
use serde_json::{Value, json};

use super::super::tests::{Line, answered, appended, gap_at, ledger};
use super::super::{Unread, exit_of, reconcile, show};
use super::*;
use crate::Exit;

const TIME: &str = "2026-11-22T10:00:00Z";

/// A gateway's ledger, an API server's log and one of `observe`, in a folder.
struct Place(tempfile::TempDir);

impl Place {
    /// The ledger has one honest call, and so has the API server's log; a call of a stolen credential is in the log alone.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["ledger", "observed"] {
            fs::create_dir(place.at(name)).unwrap();
        }
        ledger(
            &place.at("ledger"),
            &[&[start()], &answered("honest", "get", TIME)[..]].concat(),
        );
        let log = ["honest", "stolen"].map(logged).concat();
        fs::write(place.at("audit.log"), log).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Somebody puts records in behind the end.
    fn thief(&self, name: &str, records: &[(RecordKind, Value)]) {
        appended(&self.at(name), records).close();
    }

    /// The exit code, the calls that are found, and what is not believed or not signed.
    fn compared(&self, log: &str) -> (Exit, Vec<String>, Unread) {
        let [ledger, log] = ["ledger", log].map(|name| self.at(name).display().to_string());
        let line = ["reconcile", &ledger, &log, "--cluster", "prod", "--account", "gate"];
        let asked = <Line as clap::Parser>::try_parse_from(line).unwrap().asked;
        let (report, unread) = reconcile(&asked, &mut || false).unwrap();
        let found = report.findings.iter().map(|finding| finding.id.clone()).collect();
        (exit_of(&report, &unread), found, unread)
    }
}

fn start() -> (RecordKind, Value) {
    (RecordKind::Start, json!({ "t": "2026-11-22T09:00:00Z" }))
}

fn logged(id: &str) -> String {
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete", "verb": "get",
        "requestURI": "/version", "user": {"username": "gate"}, "impersonatedUser": {"username": "alice"},
        "requestReceivedTimestamp": "2026-11-22T10:00:00.000000Z", "stageTimestamp": "2026-11-22T10:00:00.000000Z"});
    format!("{event}\n")
}

/// What a start says of what it finds.
fn said(kind: RecordKind, from: u64, until: u64) -> (RecordKind, Value) {
    let said = json!({"id": "", "t": TIME, "unsigned": {"from": from, "until": until}});
    (kind, said)
}

#[test]
fn promise_5_a_call_that_is_put_in_behind_the_end_of_the_last_run_is_counted_and_said() {
    let place = Place::new();
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!((exit, found), (Exit::Integrity, vec!["stolen".to_owned()]));
    assert_eq!(unread.behind, Behind::default());
    place.thief("ledger", &answered("stolen", "get", TIME));
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!((exit, found), (Exit::Partly, vec![]));
    assert_eq!(unread.behind, Behind { records: 3, gaps: 0 });
    let calls = insight::Calls::of("prod");
    let report = insight::reconcile::Reconciliation::of(&calls, insight::reconcile::Given::default()).finish();
    let words = show::in_words(&report, &unread, "prod");
    let wanted = "  not compared: who wrote 3 records that no checkpoint is over, 0 of them gaps; they are compared like all others. What runs signs \
        them within a second; what was killed says at its next start which they were\n";
    assert!(words.ends_with(wanted), "{words}");
    let json: Value = serde_json::from_str(&show::as_json(&report, &unread)).unwrap();
    assert_eq!(json["unread"]["underNoCheckpoint"], 3);
    // The next start finds it, and the call is the thief's again.
    ledger(&place.at("ledger"), &[said(RecordKind::Damage, 4, 7)]);
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!(
        (exit, found, unread.foreign),
        (Exit::Integrity, vec!["stolen".to_owned()], 3)
    );
    assert_eq!(unread.behind, Behind::default());
}

#[test]
fn promise_5_an_older_checkpoint_that_is_put_back_hides_nothing() {
    let place = Place::new();
    let folder = place.at("ledger");
    let of_now = place.at("of-now");
    let older = fs::read(folder.join(ledger::NEWEST_CHECKPOINT)).unwrap();
    place.thief("ledger", &answered("stolen", "get", TIME));
    ledger(&folder, &[said(RecordKind::Damage, 4, 7)]);
    fs::rename(folder.join(ledger::NEWEST_CHECKPOINT), &of_now).unwrap();
    fs::write(folder.join(ledger::NEWEST_CHECKPOINT), &older).unwrap();
    let stolen = || vec!["stolen".to_owned()];
    // Also by whatever stands among those that are kept: nobody has checked who signed it.
    let forged = folder.join("99999999999999999999.checkpoints");
    for kept in [
        None,
        Some(fs::read_to_string(&of_now).unwrap().replace("\n9\n", "\n99999\n")),
    ] {
        if let Some(kept) = kept {
            assert!(kept.contains("\n99999\n"), "{kept}");
            fs::write(&forged, kept).unwrap();
        }
        let (exit, found, unread) = place.compared("audit.log");
        assert_eq!((exit, found), (Exit::Partly, vec![]));
        assert_eq!((unread.claimed, unread.behind), (3, Behind { records: 5, gaps: 0 }));
    }
    // And where there is no checkpoint at all, none of it is the gateway's word.
    fs::remove_file(folder.join(ledger::NEWEST_CHECKPOINT)).unwrap();
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!((exit, found, unread.foreign), (Exit::Integrity, stolen(), 3));
    assert_eq!(unread.behind, Behind { records: 9, gaps: 0 });
}

#[test]
fn promise_5_a_gap_behind_the_newest_checkpoint_is_told_with_what_it_excuses() {
    let place = Place::new();
    place.thief("ledger", &[gap_at(TIME)]);
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!((exit, found), (Exit::Partly, vec![]));
    assert_eq!((unread.gaps, unread.behind), (0, Behind { records: 2, gaps: 1 }));
    ledger(&place.at("ledger"), &[said(RecordKind::Recovery, 4, 6)]);
    let (exit, found, unread) = place.compared("audit.log");
    assert_eq!((exit, found), (Exit::Integrity, vec!["stolen".to_owned()]));
    assert_eq!((unread.gaps, unread.behind), (1, Behind::default()));
}

#[test]
fn a_gateway_that_runs_signs_what_was_read_while_it_is_waited_for_and_no_longer_than_that() {
    let place = Place::new();
    let folder = place.at("ledger");
    place.thief("ledger", &answered("next", "get", TIME));
    let mut end = End::of(&folder, 0);
    end.reach(6);
    let ends = [end];
    let mut looks = 0;
    let settled = Behind::settled(&ends, &mut || {
        looks += 1;
        if looks == 3 {
            ledger(&folder, &[]);
        }
        true
    });
    assert_eq!((settled.unwrap(), looks), (Behind::default(), 3));
    place.thief("ledger", &answered("last", "get", TIME));
    let mut end = End::of(&folder, 0);
    end.reach(9);
    let (mut left, ends) = (5, [end]);
    let settled = Behind::settled(&ends, &mut || {
        left -= 1;
        left > 0
    });
    assert_eq!((settled.unwrap(), left), (Behind { records: 3, gaps: 0 }, 0));
}

fn ingested(id: &str, at: &str) -> (RecordKind, Value) {
    let event = json!({"id": id, "t": at, "source": "ingested", "cluster": "prod", "by": {"user": "gate"}, "as": {"user": "alice"},
        "req": {"verb": "get", "path": "/version"}, "outcome": {"status": 200},
        "ingested": {"audit_id": id, "stage": "ResponseComplete", "received": at, "stamped": at}});
    (RecordKind::Access, event)
}

fn log_gap() -> (RecordKind, Value) {
    let (from, to) = ("2026-11-22T09:00:00Z", "2026-11-22T11:00:00Z");
    let gap = json!({"id": "g", "t": to, "source": "ingested", "cluster": "prod",
        "sum": {"count": 1, "from": from, "to": to, "what": "logGap"}});
    (RecordKind::Summary, gap)
}

#[test]
fn promise_5_an_event_that_somebody_put_into_a_ledger_of_observe_accuses_nobody() {
    let place = Place::new();
    let observed = place.at("observed");
    ledger(&observed, &[ingested("honest", TIME)]);
    assert_eq!(place.compared("observed").0, Exit::Done);
    // One of a gateway's, too: by that none of it would stand for a log.
    let other = (RecordKind::Access, json!({"id": "x", "t": TIME}));
    place.thief("observed", &[ingested("forged", TIME), other]);
    ledger(&observed, &[said(RecordKind::Damage, 2, 5)]);
    let (exit, found, unread) = place.compared("observed");
    assert_eq!((exit, found, unread.foreign), (Exit::Partly, vec![], 3));
    // What nothing proves is compared, and said; and so is what stands behind the newest checkpoint.
    place.thief("observed", &[ingested("stolen", TIME)]);
    for records in [Vec::new(), vec![said(RecordKind::Recovery, 7, 9)]] {
        let is_signed = !records.is_empty();
        if is_signed {
            ledger(&observed, &records);
        }
        let (exit, found, unread) = place.compared("observed");
        assert_eq!((exit, found), (Exit::Integrity, vec!["stolen".to_owned()]));
        let counted = (unread.unproved, unread.behind.records);
        assert_eq!(counted, if is_signed { (2, 0) } else { (0, 2) });
    }
    // One of a gateway's among them ends nothing either, whether a kill left it so or nothing is signed yet.
    let other = || (RecordKind::Access, json!({"id": "x", "t": TIME}));
    for records in [Vec::new(), vec![said(RecordKind::Recovery, 11, 13)]] {
        if records.is_empty() {
            place.thief("observed", &[other()]);
        } else {
            ledger(&observed, &records);
        }
        let (exit, _, unread) = place.compared("observed");
        assert_eq!((exit, unread.lines), (Exit::Integrity, 1), "{:?}", unread.named);
    }
}

#[test]
fn promise_5_a_gap_that_somebody_put_into_a_ledger_of_observe_excuses_nothing_and_one_that_a_kill_left_does() {
    for kind in [RecordKind::Damage, RecordKind::Recovery] {
        let place = Place::new();
        let observed = place.at("observed");
        // The API server's log has other calls around this time, and not the honest one.
        ledger(
            &observed,
            &["2026-11-22T09:30:00Z", "2026-11-22T10:30:00Z"].map(|at| ingested("own", at)),
        );
        let (.., found, _) = place.compared("observed");
        assert!(found.contains(&"honest".to_owned()), "{found:?}");
        place.thief("observed", &[log_gap()]);
        let (exit, without, unread) = place.compared("observed");
        assert!(!without.contains(&"honest".to_owned()), "{without:?}");
        assert_eq!((exit, unread.behind), (Exit::Integrity, Behind { records: 2, gaps: 1 }));
        ledger(&observed, &[said(kind, 3, 5)]);
        let (_, again, unread) = place.compared("observed");
        // What a kill left may be `observe`'s own, which tells a gap once: an honest gateway is not accused for that.
        let (expected, told) = match kind {
            RecordKind::Damage => (found, (2, 0)),
            _ => (without, (0, 2)),
        };
        assert_eq!(
            (again, (unread.foreign, unread.unproved), unread.gaps),
            (expected, told, 0)
        );
    }
}
