//! Alarms on their way into the ledger. An alarm is raised when the ledger, of all things, may be unwell: a record of it that is
//! refused now waits here and is written later, until it is durable.
//!
//! Not here: what is an alarm, and that each is told once; a queue is as long as its owner's alarms are.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proxy::audit::Station;

use super::recorder;

/// What has to become `damage` records. One task writes.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    waiting: Mutex<VecDeque<String>>,
    is_refused: AtomicBool,
}

impl Alarms {
    /// Another one, in words.
    pub(super) fn put(&self, words: String) {
        self.waiting().push_back(words);
    }

    /// Writes what waits, the oldest first, as far as the ledger takes it. What it refuses stays for the next time.
    pub(super) async fn record(&self, audit: &Station) {
        loop {
            let Some(words) = self.waiting().front().cloned() else {
                return;
            };
            if let Err(error) = recorder::alarm(audit, &words).await {
                if !self.is_refused.swap(true, Ordering::Relaxed) {
                    tracing::error!(why = %error, alarm = words, "an alarm cannot be recorded now; it is tried again until it is");
                }
                return;
            }
            self.is_refused.store(false, Ordering::Relaxed);
            self.waiting().pop_front();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use ledger::sim::SimDisk;
    use ledger::{Disk, Ledger, Options, Reader};
    use model::event::RecordKind;
    use model::time::Timestamp;
    use proxy::audit::Limits;
    use proxy::clock::Clock;

    use super::*;

    /// A ledger whose disk is full until it is let.
    pub(in crate::serve) struct Full {
        disk: SimDisk,
        pub(in crate::serve) audit: Arc<Station>,
    }

    impl Full {
        pub(in crate::serve) fn new() -> Self {
            let disk = SimDisk::new(1);
            let options = Options {
                segment_bytes: 64 << 10,
                max_open: 32,
                outcome_bytes: 512,
                probe_every: Duration::from_millis(1),
                ..Options::default()
            };
            let (ledger, _) = Ledger::open(Path::new("full"), options, Arc::new(disk.clone())).unwrap();
            disk.set_space(Some(disk.used()));
            let fill = || {
                let body = format!("{{\"id\":\"fill\",\"note\":\"{}\"}}", "n".repeat(9_000)).into_bytes();
                let ticket = ledger.append(RecordKind::Access, body, Vec::new());
                ticket.is_ok_and(|ticket| ticket.wait().is_ok())
            };
            while fill() {}
            let (clock, _) = Clock::manual(Timestamp::from_unix_seconds(1_000_000).unix_nanos());
            let audit = Station::new(Arc::new(ledger), clock, "boot".into(), Limits::default());
            Self { disk, audit }
        }

        pub(in crate::serve) fn give_room(&self) {
            self.disk.set_space(None);
        }

        /// The notes of the alarms that are records.
        pub(in crate::serve) fn alarms(&self) -> Vec<String> {
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let records = Reader::open_on(disk).unwrap().records_from(0).map(Result::unwrap);
            let alarms = records.filter(|record| record.kind == RecordKind::Damage);
            let notes = alarms.map(|record| serde_json::from_slice::<serde_json::Value>(&record.leaf).unwrap());
            notes
                .map(|record| record["note"].as_str().unwrap().to_owned())
                .collect()
        }
    }

    #[tokio::test]
    async fn an_alarm_that_the_ledger_refuses_is_recorded_once_it_takes_it_and_not_twice() {
        let full = Full::new();
        let alarms = Alarms::default();
        alarms.put("first".to_owned());
        alarms.put("second".to_owned());
        for _ in 0..3 {
            alarms.record(&full.audit).await;
        }
        assert_eq!(full.alarms(), Vec::<String>::new());
        full.give_room();
        while !alarms.waiting().is_empty() {
            alarms.record(&full.audit).await;
            tokio::task::yield_now().await;
        }
        alarms.record(&full.audit).await;
        assert_eq!(full.alarms(), ["first", "second"]);
    }
}
