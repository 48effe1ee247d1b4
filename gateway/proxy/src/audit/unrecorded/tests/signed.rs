//! A gap whose record no signature covers when the process is killed: nothing proves that record afterwards, so it is written again.

use std::ops::Range;

use ledger::verify::Statements;

use super::*;

impl World {
    fn size(&self) -> u64 {
        self.ledger.durable().size
    }

    /// What the signer does, and the timer.
    async fn signs(&self) {
        self.signed.store(self.size(), Ordering::SeqCst);
        self.tends().await;
        self.kept().await.unwrap();
    }

    /// What somebody puts in, or what a start says.
    async fn append(&self, kind: RecordKind, body: &Value) {
        let ticket = self.ledger.append(kind, body.to_string().into_bytes(), Vec::new());
        self.driven(ticket.unwrap()).await.unwrap();
    }

    /// What a start says before anything is signed.
    async fn says(&self, kind: RecordKind, records: Range<u64>) {
        let unsigned = serde_json::json!({ "from": records.start, "until": records.end });
        self.append(kind, &serde_json::json!({ "id": "", "unsigned": unsigned }))
            .await;
    }

    /// The disks that a kill leaves, on which nobody has written anything yet.
    async fn left(&self) -> Self {
        self.kept().await.unwrap();
        Self::begun(self.ledger_disk.copy(3), self.count_disk.copy(4), self.chosen)
    }

    /// Killed, and what nobody had signed is said and signed by the next start before it looks at the count.
    async fn killed_unsigned(&self) -> Self {
        let world = self.left().await;
        let (signed, found) = (self.signed.load(Ordering::SeqCst), world.size());
        if signed < found {
            world.says(RecordKind::Recovery, signed..found).await;
        }
        world.signed.store(world.size(), Ordering::SeqCst);
        world.begins_to_serve().await;
        world
    }

    async fn begins_to_serve(&self) {
        let unkept = self.opened(self.station.clock().read()).unwrap();
        self.driven(self.station.goes_on_by(unkept)).await.unwrap();
        self.kept().await.unwrap();
    }

    /// So many reads go on without a record, and the ledger is well again.
    async fn gap_of(&self, calls: usize) {
        self.fills_up();
        for _ in 0..calls {
            assert_eq!(self.calls(CallClass::Reads, "al").await, Went::Counted);
        }
        self.has_room();
        self.driven(self.station.write_gap()).await;
    }

    /// The calls of each gap whose record counts to whoever reads the ledger now, by its id.
    fn proved(&self) -> Vec<(String, u64)> {
        let mut statements = Statements::default();
        let reader = Reader::open_on(Arc::new(self.ledger_disk.clone())).unwrap();
        for record in reader.records_from(0).map(Result::unwrap) {
            statements.read(record.kind, &record.leaf, record.seq);
        }
        let unsigned = statements.counting(u64::MAX).all();
        let is_proved = |gap: &&Value| !unsigned.has(gap["seq"].as_u64().unwrap());
        let gaps = self.gaps();
        let proved = gaps.iter().filter(is_proved);
        let said = |gap: &Value| {
            let calls = gap["gap"]["passed"]["reads"].as_u64().unwrap();
            (gap["id"].as_str().unwrap().to_owned(), calls)
        };
        proved.map(said).collect()
    }

    fn in_file(&self) -> Counted {
        let disk: Arc<dyn Disk> = Arc::new(self.count_disk.clone());
        match Tally::look(&disk).unwrap().1 {
            Found::Counts(counted) => *counted,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn promise_4_a_gap_whose_record_nobody_had_signed_before_a_kill_is_recorded_again_under_its_id() {
    for mode in [FailMode::Open, FailMode::Bounded] {
        let world = World::new(chosen(mode, FailMode::Closed)).await;
        world.gap_of(2).await;
        assert!(
            matches!(world.calls(CallClass::Reads, "al").await, Went::Recorded(_)),
            "nobody waits for a signature"
        );
        let first = world.proved();
        assert_eq!(first.len(), 1);
        let mut world = world.killed_unsigned().await;
        assert_eq!(world.proved(), first, "it counts again, once");
        // And so it does where the next one is killed before it signs it.
        for gaps in [3, 4] {
            world = world.killed_unsigned().await;
            assert_eq!((world.proved(), world.gaps().len()), (first.clone(), gaps));
        }
        world.signs().await;
        for _ in 0..2 {
            world = world.killed_unsigned().await;
            assert_eq!((world.proved(), world.gaps().len()), (first.clone(), 4));
        }
        assert!(!world.in_file().has_gap());
    }
}

/// The start that says what nobody had signed may be killed before it looks at the count, and the next one too.
#[tokio::test]
async fn promise_4_a_gap_is_recorded_again_also_by_a_start_behind_the_one_that_found_it_unsigned() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(2).await;
    let first = world.proved();
    let unsigned = world.left().await;
    let found = unsigned.size();
    unsigned.says(RecordKind::Recovery, 0..found).await;
    // It signs that, and dies.
    let world = World::begun(
        unsigned.ledger_disk.copy(3),
        unsigned.count_disk.copy(4),
        unsigned.chosen,
    );
    world.begins_to_serve().await;
    assert_eq!((world.proved(), world.gaps().len()), (first.clone(), 2));
    // It dies before it signs that, so the next one speaks of it, too.
    let world = World::begun(
        unsigned.ledger_disk.copy(3),
        unsigned.count_disk.copy(4),
        unsigned.chosen,
    );
    world.says(RecordKind::Recovery, 0..world.size()).await;
    world.begins_to_serve().await;
    assert_eq!((world.proved(), world.gaps().len()), (first, 2));
}

/// It ends in order: all is signed, and nobody has noted that the record is.
#[tokio::test]
async fn a_gap_whose_record_was_signed_at_an_orderly_end_is_not_recorded_again() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(2).await;
    let first = world.proved();
    world.kept().await.unwrap();
    assert!(world.in_file().has_gap(), "it waits for a signature");
    world.signed.store(world.size(), Ordering::SeqCst);
    let world = world.killed_unsigned().await;
    assert_eq!((world.proved(), world.gaps().len()), (first, 1));
    assert!(!world.in_file().has_gap());
}

/// Whoever begins a new ledger behind a kill has the gap in it once, however few records that has.
#[tokio::test]
async fn a_gap_that_is_recorded_in_a_new_ledger_is_found_there_by_the_next_start() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(2).await;
    let first = world.proved();
    world.kept().await.unwrap();
    let new = World::begun(SimDisk::new(5), world.count_disk.copy(4), world.chosen);
    new.begins_to_serve().await;
    assert_eq!((new.size(), new.proved()), (1, first.clone()));
    // It ends in order.
    new.signed.store(new.size(), Ordering::SeqCst);
    let new = new.killed_unsigned().await;
    assert_eq!((new.gaps().len(), new.proved()), (1, first));
}

/// Whoever can write the ledger's files knows the gap's id from its record.
#[tokio::test]
async fn promise_5_a_record_that_somebody_put_in_under_the_id_of_a_gap_does_not_stand_for_it() {
    for kind in [RecordKind::Damage, RecordKind::Recovery] {
        let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
        world.fills_up();
        for who in ["al", "bo"] {
            assert_eq!(world.calls(CallClass::Reads, who).await, Went::Counted);
        }
        world.kept().await.unwrap();
        world.ledger_disk.set_space(None);
        let world = world.left().await;
        let signed = world.size();
        let id = uuid::Uuid::from_bytes(world.in_file().gap.unwrap().id).to_string();
        let none = serde_json::json!({ "why": "diskFull", "passed": { "reads": 0, "effects": 0 } });
        for _ in 0..3 {
            world
                .append(RecordKind::Gap, &serde_json::json!({ "id": id, "gap": none }))
                .await;
        }
        // He says of himself that all is well, or of the records before him that they are not.
        world.says(RecordKind::Damage, 0..signed).await;
        world.says(kind, signed..world.size()).await;
        world.begins_to_serve().await;
        assert_eq!(world.proved(), [(id, 2)], "{kind:?}");
    }
}

#[tokio::test]
async fn promise_4_gaps_in_a_row_are_each_recorded_again_where_none_was_signed() {
    // The second one is recorded; it is still open; the ledger's disk dies while it is recorded.
    for how in ["recorded", "open", "sealed"] {
        let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
        world.gap_of(2).await;
        match how {
            "recorded" => world.gap_of(1).await,
            _ => {
                world.fills_up();
                assert_eq!(world.calls(CallClass::Reads, "al").await, Went::Counted);
            }
        }
        if how == "sealed" {
            world.has_room();
            world.ledger_disk.fail_after(0, Fault::Crash);
            world.driven(world.station.write_gap()).await;
            assert!(world.unkept().state().counted.sealed.is_some());
            world.kept().await.unwrap();
            world.ledger_disk.restart();
        }
        world.ledger_disk.set_space(None);
        let mut world = world.killed_unsigned().await;
        for _ in 0..2 {
            let mut calls: Vec<u64> = world.proved().into_iter().map(|(_, calls)| calls).collect();
            calls.sort_unstable();
            assert_eq!(calls, [1, 2], "{how}: {:#?}", world.gaps());
            world.signs().await;
            world = world.killed_unsigned().await;
        }
        assert!(!world.in_file().has_gap());
    }
}

/// The file has room for two: what is counted comes first, and of the others the latest. All that a start finds there, it records.
#[tokio::test]
async fn of_three_gaps_that_nobody_signs_the_file_keeps_what_is_counted_and_the_latest() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(1).await;
    world.gap_of(2).await;
    world.fills_up();
    for _ in 0..3 {
        assert_eq!(world.calls(CallClass::Reads, "al").await, Went::Counted);
    }
    world.ledger_disk.set_space(None);
    world.kept().await.unwrap();
    let in_file = world.in_file();
    let calls = [in_file.sealed, in_file.gap].map(|gap| gap.unwrap().passed.reads);
    assert_eq!(calls, [2, 3]);
    let killed = world.killed_unsigned().await;
    let calls: Vec<u64> = killed.proved().into_iter().map(|(_, calls)| calls).collect();
    assert_eq!(calls, [2, 3]);
}

/// Others are signed in the meantime: those before it, and not it.
#[tokio::test]
async fn a_gap_is_in_the_file_until_a_signature_covers_its_own_record() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(2).await;
    let seq = world.gaps()[0]["seq"].as_u64().unwrap();
    for (signed, stays) in [(0, true), (seq - 1, true), (seq, true), (seq + 1, false)] {
        world.signed.store(signed, Ordering::SeqCst);
        world.tends().await;
        world.kept().await.unwrap();
        assert_eq!(world.in_file().has_gap(), stays, "{signed} of {seq}");
    }
}

/// Each second while it waits: a file that is taken away is there again.
#[tokio::test]
async fn a_gap_that_waits_for_its_signature_is_in_the_file_also_when_somebody_takes_that_away() {
    let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    world.gap_of(2).await;
    let first = world.proved();
    world.kept().await.unwrap();
    world.count_disk.remove(tally::FILE).unwrap();
    world.tends().await;
    let world = world.killed_unsigned().await;
    assert_eq!((world.proved(), world.gaps().len()), (first, 2));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Reads,
    FillsUp,
    HasRoom,
    /// While the gap is recorded, the ledger's disk dies at this operation, and what it had done stays.
    DiesSettling(u64),
    Signs,
    IsKilled,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Reads),
        2 => Just(Act::FillsUp),
        2 => Just(Act::HasRoom),
        1 => (0..5_u64).prop_map(Act::DiesSettling),
        1 => Just(Act::Signs),
        2 => Just(Act::IsKilled),
    ]
}

/// How many gaps nobody has signed: more than two have no room.
fn unsigned(world: &World) -> usize {
    let state = world.unkept().state();
    let waiting = [state.counted.sealed, state.counted.gap].into_iter().flatten();
    let signed = world.signed.load(Ordering::SeqCst);
    let recorded = world
        .gaps()
        .into_iter()
        .filter(|gap| gap["seq"].as_u64() >= Some(signed));
    waiting.count() + recorded.count()
}

async fn every_order_of(acts: Vec<Act>) {
    let mut world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
    let mut went = 0;
    for act in acts {
        match act {
            Act::Reads => went += u64::from(world.calls(CallClass::Reads, "al").await == Went::Counted),
            Act::FillsUp if world.ledger.trouble().is_none() => world.fills_up(),
            Act::HasRoom if world.ledger.trouble().is_some() => {
                world.has_room();
                world.driven(world.station.write_gap()).await;
            }
            Act::DiesSettling(at) => {
                world.ledger_disk.fail_after(at, Fault::Crash);
                world.driven(world.station.write_gap()).await;
                world.ledger_disk.heal();
            }
            Act::Signs if world.ledger.trouble().is_none() => world.signs().await,
            Act::IsKilled => {
                world = world.killed_unsigned().await;
                let proved = world.proved();
                assert_eq!(
                    proved.iter().map(|(_, calls)| calls).sum::<u64>(),
                    went,
                    "{:#?}",
                    world.gaps()
                );
                let ids: std::collections::HashSet<_> = proved.iter().map(|(id, _)| id).collect();
                assert_eq!(ids.len(), proved.len(), "none counts twice");
            }
            Act::FillsUp | Act::HasRoom | Act::Signs => {}
        }
        if unsigned(&world) > 2 {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn promise_4_in_every_order_of_trouble_signatures_and_kills_each_gap_counts_once(acts in proptest::collection::vec(act(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(every_order_of(acts));
    }
}
