//! The count's disk and the ledger's, each in trouble of its own: a record that is there and not there, a file that is taken away, a
//! disk that hangs, one that comes and goes.

use std::pin::Pin;

use super::*;

/// A record whose sync failed may be on the disk all the same, and after a kill it is found there.
#[tokio::test]
async fn promise_4_what_is_counted_behind_a_gap_record_that_was_written_and_not_synced_is_there_after_a_kill() {
    let mut stood = 0;
    for (at, mode) in (0..8).flat_map(|at| [(at, FailMode::Bounded), (at, FailMode::Open)]) {
        let world = World::new(chosen(FailMode::Closed, mode)).await;
        world.fills_up();
        let mut went = 0;
        for who in ["a", "b"] {
            went += u64::from(world.calls(CallClass::Effects, who).await == Went::Counted);
        }
        world.has_room();
        // From here on nothing works any more on the ledger's disk.
        world.ledger_disk.fail_after(at, Fault::Crash);
        world.driven(world.station.write_gap()).await;
        for who in ["c", "d", "e"] {
            went += u64::from(world.calls(CallClass::Effects, who).await == Went::Counted);
        }
        let world = world.killed().await;
        assert_eq!(
            world.counted(),
            ByClass {
                reads: 0,
                effects: went
            },
            "{at}: {:#?}",
            world.gaps()
        );
        let gaps = world.gaps();
        stood += u64::from(went == 5 && gaps.len() == 2);
        let ids: std::collections::HashSet<_> = gaps.iter().map(|gap| gap["id"].to_string()).collect();
        assert_eq!(ids.len(), gaps.len(), "{gaps:#?}");
        let world = world.killed().await;
        assert_eq!(
            world.counted(),
            ByClass {
                reads: 0,
                effects: went
            },
            "{at}: once"
        );
    }
    assert!(stood > 0, "no record that was written and not synced was found");
}

/// Well for a moment, ill for an hour in which nobody calls: that heals nothing.
#[tokio::test]
async fn a_moment_of_health_makes_no_bound_whole_however_long_ago_it_was() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    let mut went = 0;
    for _ in 0..5 {
        world.fills_up();
        for who in ["a", "b", "c", "d", "e", "f"] {
            for _ in 0..3 {
                went += u64::from(world.calls(CallClass::Reads, who).await == Went::Counted);
            }
        }
        world.has_room();
        world.tends().await;
        world.fills_up();
        world.pass(100_000);
    }
    assert_eq!(went, 8);
}

#[tokio::test]
async fn a_count_whose_file_is_taken_away_or_overwritten_while_the_process_runs_is_written_anew() {
    for how in ["removed", "overwritten", "replaced"] {
        for mode in [FailMode::Bounded, FailMode::Open] {
            let world = World::new(chosen(FailMode::Closed, mode)).await;
            world.fills_up();
            for who in ["a", "b"] {
                assert_eq!(world.calls(CallClass::Effects, who).await, Went::Counted);
            }
            match how {
                "removed" => world.count_disk.remove(tally::FILE).unwrap(),
                "overwritten" => world.count_disk.put(tally::FILE, b"nothing"),
                _ => {
                    let zeros = vec![0; world.count_disk.bytes(tally::FILE).unwrap().len()];
                    world.count_disk.put(tally::FILE, &zeros);
                }
            }
            assert_eq!(world.calls(CallClass::Effects, "c").await, Went::Counted, "{how}");
            world.count_disk.power_cut();
            let world = world.killed().await;
            assert_eq!(
                world.counted(),
                ByClass { reads: 0, effects: 3 },
                "{how}: {:#?}",
                world.gaps()
            );
        }
    }
}

/// Nobody calls any more: the timer notices, and has the ends of calls written, too.
#[tokio::test]
async fn a_count_whose_file_is_taken_away_is_there_again_soon_also_when_nobody_calls() {
    let world = World::new(chosen(FailMode::Open, FailMode::Bounded)).await;
    world.fills_up();
    for who in ["a", "b"] {
        assert_eq!(world.calls(CallClass::Effects, who).await, Went::Counted);
    }
    world.count_disk.remove(tally::FILE).unwrap();
    world.tends().await;
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while world.count_disk.bytes(tally::FILE).is_none() {
        assert!(std::time::Instant::now() < patience, "nobody notices");
        tokio::task::yield_now().await;
    }
    world.kept().await.unwrap();
    world.count_disk.power_cut();
    let world = world.killed().await;
    assert_eq!(world.counted(), ByClass { reads: 0, effects: 2 });
    assert_eq!(world.gaps()[0]["gap"]["ended"], serde_json::json!({ "answered": 2 }));
}

type Admission<'w> = Pin<Box<dyn Future<Output = Option<Pass>> + 'w>>;

impl World {
    fn admission(&self, class: CallClass, number: u16) -> Admission<'_> {
        let now = self.station.clock().read();
        let mut digest = [0; 16];
        digest[..2].copy_from_slice(&number.to_le_bytes());
        Box::pin(async move {
            let subject = SubjectId::from_digest(digest);
            self.unkept()
                .admit((class, Some(&subject)), Why::DiskFull, 0, now)
                .await
        })
    }
}

/// However long the count's disk takes: who waits for it holds no thread, and what has come meanwhile is one writing.
#[test]
fn calls_that_wait_for_a_disk_that_hangs_hold_no_thread_and_share_one_writing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let modes = FailModes {
            most: 10_000,
            ..chosen(FailMode::Bounded, FailMode::Open)
        };
        let world = World::new(modes).await;
        world.fills_up();
        world.kept().await.unwrap();
        let syncs = world.count_disk.syncs();
        world.gate.shut();
        let mut waiting: Vec<_> = (0..500)
            .map(|number| {
                let class = if number % 2 == 0 {
                    CallClass::Reads
                } else {
                    CallClass::Effects
                };
                world.admission(class, number)
            })
            .collect();
        for each in &mut waiting {
            assert!(matches!(futures::poll!(each), Poll::Pending));
        }
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(
            world.station.unkept().unwrap().passed,
            ByClass::default(),
            "none has gone on"
        );
        world.gate.open();
        let went = futures::future::join_all(waiting).await;
        assert!(went.iter().all(Option::is_some));
        let shared = world.count_disk.syncs() - syncs;
        assert!((1..=2).contains(&shared), "{shared} writings");
        let world = world.killed().await;
        assert_eq!(
            world.counted(),
            ByClass {
                reads: 250,
                effects: 250
            }
        );
    });
}

/// Whoever comes while a writing is under way is not in it, and waits for the next.
#[tokio::test]
async fn a_call_goes_on_only_when_a_writing_that_it_is_in_is_done() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    world.fills_up();
    world.kept().await.unwrap();
    world.gate.shut();
    let mut first = world.admission(CallClass::Reads, 1);
    assert!(matches!(futures::poll!(&mut first), Poll::Pending));
    // It is being written: nothing else is.
    while world.unkept().keeper.has_more_to_write() {
        tokio::task::yield_now().await;
    }
    let mut second = world.admission(CallClass::Reads, 2);
    assert!(matches!(futures::poll!(&mut second), Poll::Pending));
    world.gate.lets_one();
    assert!(first.await.is_some());
    assert!(matches!(futures::poll!(&mut second), Poll::Pending));
    world.gate.open();
    assert!(second.await.is_some());
}

/// Promise 8: what waits is bounded, and whoever has left makes room.
#[tokio::test]
async fn promise_8_more_than_may_wait_for_a_disk_that_hangs_are_refused() {
    let most = u16::try_from(keeper::MOST_WAITING).unwrap();
    let world = World::new(chosen(FailMode::Open, FailMode::Bounded)).await;
    world.fills_up();
    world.gate.shut();
    let mut waiting: Vec<_> = (0..most)
        .map(|number| world.admission(CallClass::Reads, number))
        .collect();
    for each in &mut waiting {
        assert!(matches!(futures::poll!(each), Poll::Pending));
    }
    for class in [CallClass::Reads, CallClass::Effects] {
        let refused = futures::poll!(world.admission(class, most));
        assert!(matches!(refused, Poll::Ready(None)), "{class:?}");
    }
    assert_eq!(
        world.station.unkept().unwrap().gap.unwrap().0,
        ByClass {
            reads: most.into(),
            effects: 0
        }
    );
    waiting.truncate(1_000);
    let mut effect = world.admission(CallClass::Effects, most);
    assert!(
        matches!(futures::poll!(&mut effect), Poll::Pending),
        "whoever has left makes room"
    );
    waiting.push(effect);
    world.gate.open();
    let went = futures::future::join_all(waiting).await;
    assert!(went.iter().all(Option::is_some));
    let world = world.killed().await;
    assert_eq!(
        world.counted(),
        ByClass {
            reads: 1_000,
            effects: 1
        }
    );
}

/// The count's disk hangs, the ledger's is well again: calls are recorded, and what waits for its count is counted once; one that
/// leaves then stays counted, as its record may have been written.
#[tokio::test]
async fn a_gap_is_recorded_while_the_disk_of_the_count_hangs_and_nobody_is_counted_twice() {
    for leaves in [false, true] {
        let world = World::new(chosen(FailMode::Closed, FailMode::Bounded)).await;
        world.fills_up();
        world.gate.shut();
        let mut waits = world.admission(CallClass::Effects, 1);
        assert!(matches!(futures::poll!(&mut waits), Poll::Pending));
        world.has_room();
        assert!(matches!(world.calls(CallClass::Effects, "b").await, Went::Recorded(_)));
        assert_eq!(world.counted(), ByClass { reads: 0, effects: 1 });
        if leaves {
            drop(waits);
            world.gate.open();
        } else {
            world.gate.open();
            let pass = waits.await.unwrap();
            pass.ended(Answer::Answered);
        }
        world.tends().await;
        world.kept().await.unwrap();
        let world = world.killed().await;
        assert_eq!(world.counted(), ByClass { reads: 0, effects: 1 }, "{leaves}");
        assert_eq!(world.gaps().len(), 1);
    }
}

/// Each way in which the ledger stops and goes on again between two looks counts as trouble, also where no call has met with it.
#[tokio::test]
async fn trouble_between_two_looks_is_seen_by_the_next() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    world.fills_up();
    for who in ["a", "b", "c", "d"] {
        for _ in 0..2 {
            assert_eq!(world.calls(CallClass::Reads, who).await, Went::Counted);
        }
    }
    world.has_room();
    world.tends().await;
    world.pass(1_800);
    world.fills_up();
    world.has_room();
    world.pass(1_800);
    world.tends().await;
    // A sync that fails once, whereupon the ledger goes on in a new file.
    world.pass(1_800);
    let before = world.ledger.counts().troubles;
    let stopped = (0..8).any(|at| {
        world.ledger_disk.fail_after(at, Fault::Io);
        let body = b"{\"id\":\"one\"}".to_vec();
        world
            .ledger
            .append_forget(RecordKind::Heartbeat, body, Vec::new())
            .unwrap();
        world.ledger.drive();
        world.ledger_disk.heal();
        world.ledger.counts().troubles > before
    });
    assert!(stopped);
    assert_eq!(world.ledger.trouble(), None);
    world.pass(1_800);
    world.tends().await;
    world.fills_up();
    assert_eq!(world.calls(CallClass::Reads, "e").await, Went::Nowhere);
    world.has_room();
    world.tends().await;
    world.pass(3_600);
    world.tends().await;
    world.fills_up();
    assert_eq!(world.calls(CallClass::Reads, "e").await, Went::Counted, "the control");
}

/// Before the gap of an earlier run is recorded, nothing is added to it: its record may be there.
#[tokio::test]
async fn nothing_is_counted_before_the_gap_of_an_earlier_run_is_recorded() {
    let world = World::new(chosen(FailMode::Open, FailMode::Open)).await;
    world.fills_up();
    assert_eq!(world.calls(CallClass::Reads, "a").await, Went::Counted);
    let next = World::begun(world.ledger_disk.copy(3), world.count_disk.copy(4), world.chosen);
    next.ledger_disk.set_space(None);
    let now = next.station.clock().read();
    let unkept = next.opened(now).unwrap();
    let admit = async |unkept: &Arc<Unkept>| {
        unkept
            .admit((CallClass::Reads, None), Why::DiskFull, 0, now)
            .await
            .is_some()
    };
    assert!(!admit(&unkept).await);
    next.driven(next.station.goes_on_by(Arc::clone(&unkept))).await.unwrap();
    assert_eq!(next.counted(), ByClass { reads: 1, effects: 0 });
    assert!(admit(&unkept).await);
}

/// Health ends with a call that met with trouble also where the ledger does not call it one.
#[tokio::test]
async fn a_call_that_met_with_trouble_ends_the_health_that_was_seen() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    for number in 1..4 {
        if number < 3 {
            // The second one comes when the bound's time is over: it is refused, and met with trouble all the same.
            let went = world.admission(CallClass::Reads, number).await.is_some();
            assert_eq!(went, number == 1);
        }
        world.tends().await;
        assert!(world.unkept().state().counted.window.is_some(), "{number}");
        world.pass(1_800);
    }
    world.tends().await;
    assert!(world.unkept().state().counted.window.is_none());
}

/// No bound is whole while what went on of it has no record, however well the ledger is.
#[tokio::test]
async fn while_a_gap_waits_for_its_record_no_health_is_seen() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    assert!(world.admission(CallClass::Reads, 1).await.is_some());
    for _ in 0..3 {
        world.unkept().look(&world.ledger, world.station.clock().read());
        assert!(world.unkept().state().counted.window.is_some());
        world.pass(3_600);
    }
    for _ in 0..2 {
        world.tends().await;
        world.pass(3_600);
    }
    assert!(world.unkept().state().counted.window.is_none(), "the control");
}

/// A call that outlives its gap ends in no other one.
#[tokio::test]
async fn the_end_of_a_call_is_counted_by_its_own_gap_alone() {
    let world = World::new(chosen(FailMode::Closed, FailMode::Open)).await;
    world.fills_up();
    let (_, mut outlives) = world.changes("a").await.unwrap();
    outlives.sent();
    world.has_room();
    world.tends().await;
    world.fills_up();
    assert_eq!(world.calls(CallClass::Effects, "b").await, Went::Counted);
    outlives.answered(200);
    outlives.settle(Answer::Answered, None);
    world.has_room();
    world.tends().await;
    assert!(!world.unkept().is_troubled());
    let gaps = world.gaps();
    let ends: Vec<_> = gaps
        .iter()
        .map(|gap| (&gap["gap"]["ended"], &gap["gap"]["unfinished"]))
        .collect();
    let (none, one) = (serde_json::json!({}), serde_json::json!({ "answered": 1 }));
    assert_eq!(ends, [(&none, &1.into()), (&one, &0.into())]);
}

/// Whoever is told yes forwards by itself: nothing could be counted in the place of the record. A disk that fails between the writing and the sync is no record either.
#[tokio::test]
async fn promise_4_no_ingress_is_told_yes_without_a_record_whatever_lets_other_calls_go_on() {
    let refused = |told: Result<_, Refusal>| matches!(told, Err(Refusal::LedgerRefuses(_)));
    for mode in [FailMode::Bounded, FailMode::Open] {
        let world = World::new(chosen(mode, mode)).await;
        let trail = world.trail("al", Method::GET, PODS, None);
        assert!(world.driven(world.station.verdict(&trail)).await.is_ok());
        world.fills_up();
        assert!(refused(world.driven(world.station.verdict(&trail)).await), "{mode:?}");
        world.has_room();
        world.tends().await;
        assert!(world.driven(world.station.verdict(&trail)).await.is_ok(), "{mode:?}");
        world.ledger_disk.fail_after(0, Fault::Crash);
        assert!(refused(world.driven(world.station.verdict(&trail)).await), "{mode:?}");
        assert_eq!(
            world.counted(),
            ByClass::default(),
            "{mode:?}: it is nothing that went on"
        );
    }
}
