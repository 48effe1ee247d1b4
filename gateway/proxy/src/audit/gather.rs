//! When the ledger writes: as soon as the runtime has nothing else that is ready, so that the records of requests that came
//! together share one sync. No fixed delay: an idle gateway writes at once.
//!
//! Without it each record wakes the writer's thread, which takes the processor from the very thread that is about to bring the
//! next record: on one core every request had a sync of its own.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, Pending};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Records that nobody waits for go with the next that somebody waits for, or after this.
const UNAWAITED: Duration = Duration::from_millis(2);

/// Gathers until `stop`; afterwards each record is written as it comes. Within a tokio runtime.
pub fn gather(ledger: &Arc<Ledger>, stop: CancellationToken) {
    let signals = Arc::new([Notify::new(), Notify::new()]);
    let told = Arc::clone(&signals);
    let gathering = ledger.gather(move |pending| {
        let [awaited, unawaited] = &*told;
        match pending {
            Pending::Awaited => awaited.notify_one(),
            Pending::Unawaited => unawaited.notify_one(),
        }
    });
    let ledger = Arc::clone(ledger);
    tokio::spawn(async move {
        let _gathering = gathering;
        let [awaited, unawaited] = &*signals;
        loop {
            tokio::select! {
                biased;
                () = awaited.notified() => {}
                () = unawaited.notified() => tokio::select! {
                    biased;
                    () = awaited.notified() => {}
                    () = tokio::time::sleep(UNAWAITED) => {}
                },
                () = stop.cancelled() => return,
            }
            // Goes on when every task that is ready has run and the sockets were looked at, at the latest after 61 polls
            // (tokio, `Builder::event_interval`).
            tokio::task::yield_now().await;
            ledger.nudge();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ledger::RealDisk;
    use model::event::RecordKind;

    use super::*;

    fn open(folder: &std::path::Path) -> Arc<Ledger> {
        let disk = Arc::new(RealDisk::new(folder));
        Arc::new(Ledger::open(folder, ledger::Options::default(), disk).unwrap().0)
    }

    #[tokio::test]
    async fn records_that_come_together_share_one_sync() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let batches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&batches);
        ledger.on_durable(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        gather(&ledger, CancellationToken::new());
        let callers: Vec<_> = (0..50)
            .map(|n| {
                let ledger = Arc::clone(&ledger);
                tokio::spawn(async move {
                    let body = format!("{{\"id\":\"{n}\"}}").into_bytes();
                    ledger
                        .append(RecordKind::Access, body, Vec::new())
                        .unwrap()
                        .await
                        .unwrap()
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(batches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_too_and_so_is_what_comes_after_the_stop() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = open(folder.path());
        let stop = CancellationToken::new();
        let (sizes, mut size) = tokio::sync::watch::channel(ledger.durable().size);
        ledger.on_durable(move |size| {
            sizes.send_replace(size);
        });
        gather(&ledger, stop.clone());
        for last in [false, true] {
            let wanted = ledger.durable().size + 1;
            if last {
                stop.cancel();
            }
            ledger
                .append_forget(RecordKind::Access, b"{\"id\":\"a\"}".to_vec(), Vec::new())
                .unwrap();
            size.wait_for(|size| *size >= wanted).await.unwrap();
        }
    }
}
