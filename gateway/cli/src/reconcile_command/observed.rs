//! The ledger of `gatescribe observe` as the API server's side.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use insight::reconcile::Reconciliation;
use insight::{Observed, ObservedError, ObservedLog, ServerEvent};

use super::doubt::{Doubt, End};
use super::{Unread, opened};

/// So many events are held of records that nothing proves, and of one id, which is its caller's choice.
const MOST_DOUBTFUL: usize = 200_000;
const MOST_OF_ONE_ID: usize = 64;

/// A ledger of `gatescribe observe` stands for the log that it was made of.
pub(super) fn read(
    folder: &Path,
    cluster: &str,
    both: &mut Reconciliation<'_>,
    unread: &mut Unread,
) -> anyhow::Result<()> {
    let reader = opened(folder)?;
    let (mut log, mut doubtful) = (ObservedLog::of(cluster), Doubtful::default());
    let first = reader.segments().first().map_or(0, |segment| segment.first_seq);
    let (doubt, mut end) = (Doubt::of(&reader, first, folder)?, End::of(folder, first));
    for record in reader.records_from(first) {
        let record = record.with_context(|| format!("cannot read the ledger in `{}`", folder.display()))?;
        end.reach(record.seq);
        // Before it is read: one that is no event would end all of it.
        if unread.is_put_in(&doubt, record.seq) {
            continue;
        }
        let observed = log.push(record.kind, &record.leaf);
        unread.tell(&doubt, record.seq);
        // Also one that nothing proves: `observe` tells a gap once, and a kill may have followed at once. Without it the gateway's calls of that time would be
        // told as such that never arrived; with it they are unknown.
        if matches!(observed, Ok(Some(Observed::Gap(..)))) {
            end.excuses(record.seq);
        }
        match observed {
            Ok(Some(Observed::Event(event))) => {
                if !doubtful.has(&event, doubt.is_unsigned(record.seq)) {
                    both.push(*event);
                }
            }
            Ok(Some(Observed::Unreadable(lines))) => unread.lines += lines,
            Ok(Some(Observed::Gap(from, to))) => both.gap(from, to),
            Ok(None) => {}
            // By one that somebody may have put in the rest is no other ledger: it is counted, and named.
            Err(error @ (ObservedError::NotIngested | ObservedError::OtherCluster(_)))
                if !doubt.is_doubtful(record.seq) =>
            {
                anyhow::bail!(
                    "the ledger in `{}` cannot stand for the audit log of `{cluster}`: {error} (record {})",
                    folder.display(),
                    record.seq
                )
            }
            Err(error) => unread.line(folder, record.seq, &error.to_string()),
        }
    }
    unread.ends.push(end);
    Ok(())
}

/// Events of records that nothing proves to be those of `observe`. It writes one again that it cannot tell from one that was put in, as where a build of another
/// release killed it: to the microsecond the same event is no second call.
#[derive(Debug, Default)]
struct Doubtful {
    by_id: HashMap<String, Vec<ServerEvent>>,
    count: usize,
}

impl Doubtful {
    /// Whether this event was there already; it is kept where it is of such a record. **Of too many** the rest counts each time.
    fn has(&mut self, event: &ServerEvent, is_unproved: bool) -> bool {
        let of_id = self.by_id.get(&event.audit_id);
        if of_id.is_some_and(|all| all.contains(event)) {
            return true;
        }
        let is_full = self.count >= MOST_DOUBTFUL || of_id.is_some_and(|all| all.len() >= MOST_OF_ONE_ID);
        if is_unproved && !is_full {
            self.count += 1;
            self.by_id
                .entry(event.audit_id.clone())
                .or_default()
                .push(event.clone());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use insight::Calls;
    use insight::reconcile::Given;
    use model::event::RecordKind;

    use super::super::exit_of;
    use super::super::tests::ledger;
    use super::*;
    use crate::Exit;

    /// The attack: what the API server logged of a stolen credential is excused by a gap of its log, and an honest call is made one that arrived twice.
    #[test]
    fn promise_5_what_somebody_put_into_a_ledger_of_observe_is_nothing_that_the_api_server_logged() {
        let folder = tempfile::tempdir().unwrap();
        let time = "2026-11-22T10:00:00Z";
        let event = |user: &str| {
            let event = serde_json::json!({"id": "0192f0c1-7c3e-8d00-a000-000000000001", "source": "ingested", "cluster": "prod", "by": {"user": user},
                "req": {"verb": "get", "path": "/version"}, "outcome": {"status": 200},
                "ingested": {"audit_id": "a", "stage": "ResponseComplete", "received": time, "stamped": time}});
            (RecordKind::Access, event)
        };
        let gap = serde_json::json!({"source": "ingested", "cluster": "prod", "sum": {"count": 1, "from": time, "to": time, "what": "logGap"}});
        let said = serde_json::json!({"id": "", "unsigned": {"from": 1, "until": 3}});
        let gap = (RecordKind::Summary, gap);
        ledger(
            folder.path(),
            &[event("alice"), event("mallory"), gap, (RecordKind::Damage, said)],
        );
        let calls = Calls::of("prod");
        let mut both = Reconciliation::of(&calls, Given::default());
        let mut unread = Unread::default();
        read(folder.path(), "prod", &mut both, &mut unread).unwrap();
        let report = both.finish();
        assert_eq!((report.events, report.gaps.len(), unread.foreign), (1, 0, 2));
        assert_eq!(
            report
                .around
                .iter()
                .map(|around| around.user.as_str())
                .collect::<Vec<_>>(),
            ["alice"]
        );
        assert_eq!(exit_of(&report, &unread), Exit::Partly);
    }

    /// What `observe` had recorded in its last second and cannot tell from what was put in, it records again.
    #[test]
    fn promise_4_an_event_that_observe_recorded_again_after_a_kill_is_no_second_call() {
        let folder = tempfile::tempdir().unwrap();
        let event = |user: &str, second: u8| {
            let time = format!("2026-11-22T10:00:0{second}Z");
            let event = serde_json::json!({"id": "0192f0c1-7c3e-8d00-a000-000000000001", "source": "ingested", "cluster": "prod", "by": {"user": user},
                "req": {"verb": "get", "path": "/version"}, "outcome": {"status": 200},
                "ingested": {"audit_id": "a", "stage": "ResponseComplete", "received": time, "stamped": time}});
            (RecordKind::Access, event)
        };
        let said = (
            RecordKind::Recovery,
            serde_json::json!({"id": "", "unsigned": {"from": 1, "until": 3}}),
        );
        // One that nothing speaks of, two of the killed run, and again: one of them, one at another time, one of somebody else.
        let again = [event("alice", 1), event("alice", 4), event("bob", 2)];
        let before = [event("alice", 0), event("alice", 1), event("alice", 2), said];
        ledger(folder.path(), &[&before[..], &again[..], &[event("alice", 0)]].concat());
        let calls = Calls::of("prod");
        let mut both = Reconciliation::of(&calls, Given::default());
        read(folder.path(), "prod", &mut both, &mut Unread::default()).unwrap();
        assert_eq!(both.finish().events, 6);
    }
}
