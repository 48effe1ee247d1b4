//! A gap is recorded once, whatever of the ledger cannot be read and however many calls wait for its record.

use super::*;

/// A world that was killed when the record of its gap was durable and nobody had noted that, or (`stands` is false) just before it was
/// written; other records stand around it, over some files.
async fn killed_beside_the_record(stands: bool) -> World {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.fills_up();
    for who in ["a", "b", "c"] {
        assert_eq!(world.calls(CallClass::Reads, who).await, Went::Counted);
    }
    world.kept().await.unwrap();
    let count = world.count_disk.copy(4);
    world.has_room();
    let more = || {
        let body = format!("{{\"id\":\"more\",\"note\":\"{}\"}}", "n".repeat(4_000)).into_bytes();
        for _ in 0..40 {
            let body = body.clone();
            world
                .ledger
                .append_forget(RecordKind::Heartbeat, body, Vec::new())
                .unwrap();
            world.ledger.drive();
        }
    };
    more();
    if stands {
        world.driven(world.station.write_gap()).await;
        assert_eq!(world.gaps().len(), 1);
    }
    more();
    World::begun(world.ledger_disk.copy(3), count, world.chosen)
}

#[tokio::test]
async fn promise_4_a_gap_is_recorded_exactly_once_whichever_read_of_the_ledger_fails() {
    for stands in [true, false] {
        let (mut fails, mut refused) = (0, 0);
        loop {
            let world = killed_beside_the_record(stands).await;
            let unkept = world.opened(world.station.clock().read()).unwrap();
            world.looks.read_fails_after(fails);
            let begun = world.driven(world.station.goes_on_by(Arc::clone(&unkept))).await;
            let is_over = world.looks.has_read_all();
            if begun.is_err() {
                refused += 1;
                assert_eq!(
                    world.gaps().len(),
                    usize::from(stands),
                    "read {fails}: nothing is written unseen"
                );
                assert!(matches!(world.calls(CallClass::Reads, "d").await, Went::Recorded(_)));
            }
            world.driven(world.station.goes_on_by(unkept)).await.unwrap();
            assert_eq!(world.gaps().len(), 1, "read {fails}: {:#?}", world.gaps());
            assert_eq!(world.counted(), ByClass { reads: 3, effects: 0 });
            if is_over {
                break;
            }
            fails += 1;
        }
        assert!(fails > 8 && refused > 8, "{fails} reads, {refused} refused");
    }
}

/// Who waits has no task of its own, and who leaves takes nothing along.
#[test]
fn promise_8_on_a_ledger_that_hangs_one_task_settles_for_all_who_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let world = World::new(chosen(FailMode::Open, FailMode::Open)).await;
        world.fills_up();
        for who in ["a", "b"] {
            assert_eq!(world.calls(CallClass::Effects, who).await, Went::Counted);
        }
        world.has_room();
        let before = tasks();
        // Nobody drives the ledger: its disk takes as long as it likes.
        let mut waiting: Vec<_> = (0..200).map(|_| Box::pin(world.station.write_gap())).collect();
        for _ in 0..5 {
            for each in &mut waiting {
                assert!(matches!(futures::poll!(each), Poll::Pending));
            }
            tokio::task::yield_now().await;
        }
        assert!(tasks() <= before + 1, "{} tasks", tasks() - before);
        // The first one, whose task it is, and many others leave.
        drop(waiting.drain(..150));
        world.driven(futures::future::join_all(waiting)).await;
        assert_eq!(world.gaps().len(), 1);
        assert_eq!(world.counted(), ByClass { reads: 0, effects: 2 });
        assert!(!world.unkept().is_troubled());
        assert_eq!(tasks(), before);
    });
}
