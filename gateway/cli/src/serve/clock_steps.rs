//! The machine's wall clock is set by others: by a person, by a time service that was far off, by a host that slept. Times of
//! records on both sides of such a step do not compare, so the step is a record of its own. What lasts inside the process is
//! measured by the monotone clock and feels nothing of it.

use std::sync::Arc;
use std::time::Duration;

use model::event::{ClockStep, Record, RecordKind};
use proxy::audit::{RequestId, Station};
use proxy::clock::Reading;
use tokio_util::sync::CancellationToken;

/// How often the two clocks are compared.
const EVERY: Duration = Duration::from_secs(1);
/// A step of the wall clock. A time service that slews moves it by less than a millisecond in that time.
const LEAST_NANOS: i128 = 500_000_000;

/// How far wall time is ahead of monotone time, at the last look.
#[derive(Clone, Copy, Debug)]
struct Steps {
    ahead: i128,
}

impl Steps {
    fn new(now: Reading) -> Self {
        Self { ahead: ahead(now) }
    }

    /// The step since the last one that was taken, if there was one. It is not taken yet.
    fn look(&self, now: Reading) -> Option<ClockStep> {
        let by = ahead(now) - self.ahead;
        let from = i64::try_from(i128::from(now.wall.unix_nanos()) - by).ok()?;
        let millis = i64::try_from(by / 1_000_000).ok()?;
        (by.abs() >= LEAST_NANOS).then_some(ClockStep {
            from: model::time::Timestamp::from_unix_nanos(from),
            to: now.wall,
            millis,
        })
    }
}

fn ahead(now: Reading) -> i128 {
    i128::from(now.wall.unix_nanos()) - i128::from(now.mono)
}

/// Compares wall and monotone time each second until the gateway stops, and records each step of the wall clock. While the
/// ledger takes nothing the step waits, and several are one.
pub(super) async fn watch(audit: Arc<Station>, stop: CancellationToken) {
    let mut steps = Steps::new(audit.clock().read());
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = audit.clock().read();
        let Some(step) = steps.look(now) else {
            // What a time service slews away slowly is no step later.
            steps = Steps::new(now);
            continue;
        };
        if write(&audit, now, step).await {
            steps = Steps::new(now);
        }
    }
}

async fn write(audit: &Station, now: Reading, step: ClockStep) -> bool {
    let way = if step.millis < 0 { "back" } else { "forward" };
    let by = step.millis.unsigned_abs();
    let note = format!(
        "the machine's clock was set {way} by {}.{:03} s",
        by / 1_000,
        by % 1_000
    );
    tracing::warn!(clock.millis = step.millis, "the machine's clock was stepped");
    let id = RequestId::new();
    let record = Record {
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot: audit.boot(),
        clock: Some(step),
        note: Some(&note),
        ..Record::default()
    };
    audit.write(RecordKind::Clock, &record).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use ledger::{Ledger, Options, Reader, RealDisk};
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use serde_json::Value;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    struct World {
        folder: tempfile::TempDir,
        audit: Arc<Station>,
        ledger: Arc<Ledger>,
        hand: Arc<AtomicI64>,
        ahead: Arc<AtomicI64>,
        stop: CancellationToken,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open(folder.path(), Options::default(), disk).unwrap();
        let ledger = Arc::new(ledger);
        let (hand, ahead) = (Arc::new(AtomicI64::new(1_790_000_000 * SECOND)), Arc::default());
        let clock = Clock::Stepped {
            hand: Arc::clone(&hand),
            ahead: Arc::clone(&ahead),
        };
        let audit = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        World {
            folder,
            audit,
            ledger,
            hand,
            ahead,
            stop: CancellationToken::new(),
        }
    }

    impl World {
        /// A second goes by, in which the wall clock is set by so much.
        async fn second(&self, stepped: i64) {
            self.ahead.fetch_add(stepped, Ordering::Relaxed);
            self.hand.fetch_add(SECOND, Ordering::Relaxed);
            tokio::time::advance(EVERY).await;
            tokio::task::yield_now().await;
        }

        async fn records(&self, count: u64) -> Vec<Value> {
            let ledger = Arc::clone(&self.ledger);
            let waiting = tokio::task::spawn_blocking(move || {
                let mut size = ledger.durable().size;
                while size < count {
                    size = ledger.wait_beyond(size, Duration::from_secs(60));
                }
            });
            waiting.await.unwrap();
            let reader = Reader::open(self.folder.path()).unwrap();
            let leaves = reader.records_from(0).map(|record| record.unwrap().leaf);
            leaves.map(|leaf| serde_json::from_slice(&leaf).unwrap()).collect()
        }
    }

    #[test]
    fn what_a_time_service_slews_is_no_step_and_what_it_steps_is() {
        let at = |seconds: i64, ahead: i64| Reading {
            wall: model::time::Timestamp::from_unix_nanos(seconds * SECOND + ahead),
            mono: u64::try_from(seconds * SECOND).unwrap(),
        };
        let mut steps = Steps::new(at(0, 0));
        // 500 parts in a million, which is as fast as Linux slews, for an hour.
        for second in 1..3_600 {
            assert_eq!(steps.look(at(second, second * 500_000)), None);
            steps = Steps::new(at(second, second * 500_000));
        }
        let steps = Steps::new(at(10, 0));
        let step = steps.look(at(11, -SECOND)).unwrap();
        assert_eq!(
            (step.from, step.to, step.millis),
            (at(11, 0).wall, at(11, -SECOND).wall, -1_000)
        );
        assert_eq!(steps.look(at(11, SECOND / 2)).unwrap().millis, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_and_forward_is_a_record_each_and_mono_goes_on() {
        let world = world();
        let chore = tokio::spawn(watch(Arc::clone(&world.audit), world.stop.clone()));
        tokio::task::yield_now().await;
        for _ in 0..3 {
            world.second(0).await;
        }
        world.second(-3_600 * SECOND).await;
        let back = world.records(1).await;
        world.second(0).await;
        world.second(7_200 * SECOND).await;
        let both = world.records(2).await;
        world.stop.cancel();
        chore.await.unwrap();
        assert_eq!((back.len(), both.len()), (1, 2), "{both:?}");
        let told = |record: &Value| {
            (
                record["kind"].clone(),
                record["clock"]["millis"].clone(),
                record["note"].clone(),
            )
        };
        assert_eq!(
            told(&both[0]),
            (
                "clock".into(),
                (-3_600_000).into(),
                "the machine's clock was set back by 3600.000 s".into()
            )
        );
        assert_eq!(both[1]["clock"]["millis"], 7_200_000);
        assert!(
            both[0]["t"].as_str() < both[0]["clock"]["from"].as_str(),
            "wall time went back: {}",
            both[0]
        );
        assert_eq!(both[0]["t"], both[0]["clock"]["to"]);
        assert!(
            both[0]["mono"].as_u64() < both[1]["mono"].as_u64(),
            "mono did not: {both:?}"
        );
        assert_eq!(both[0]["boot"], both[1]["boot"]);
    }
}
