//! A disk that fills up, fails, gets well and a process that is killed, in every order, against what went on meanwhile.

mod disks;
mod hangs;
mod once;
mod signed;

use std::future::Future;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::task::Poll;

use http::{HeaderMap, Method};
use ledger::sim::{Fault, SimDisk};
use ledger::{Options, Reader};
use model::decision::Obligations;
use model::event::RecordKind;
use model::request::{RequestFacts, Target, Wire};
use proptest::prelude::*;
use serde_json::Value;

use self::hangs::Hangs;
use super::*;
use crate::audit::{End, Evidence, Limits, Peer, Stands, Station, Trail};
use crate::clock::Clock;
use crate::decision::{Effect, Permit, PureRead};
use crate::identity::{Credential, for_bench};
use crate::listener::Upgrade;
use crate::refusal::Refusal;

const SECOND: u64 = 1_000_000_000;
const PODS: &str = "/api/v1/namespaces/a/pods";

/// A gateway's ledger and count, each on a disk of its own.
struct World {
    ledger_disk: SimDisk,
    count_disk: SimDisk,
    /// What stands between the gateway and the count's disk.
    gate: Hangs,
    /// What stands between whoever looks for a gap's record and the ledger's disk.
    looks: Hangs,
    ledger: Arc<Ledger>,
    station: Arc<Station>,
    hand: Arc<AtomicI64>,
    /// So many of its records are signed.
    signed: Arc<AtomicU64>,
    chosen: FailModes,
}

fn chosen(reads: FailMode, effects: FailMode) -> FailModes {
    FailModes {
        modes: ByClass { reads, effects },
        most: 8,
        within: Duration::from_secs(60),
    }
}

impl World {
    async fn new(chosen: FailModes) -> Self {
        Self::on(SimDisk::new(1), SimDisk::new(2), chosen).await
    }

    async fn on(ledger_disk: SimDisk, count_disk: SimDisk, chosen: FailModes) -> Self {
        let world = Self::begun(ledger_disk, count_disk, chosen);
        let now = world.station.clock().read();
        if let Some(unkept) = world.opened(now) {
            world.driven(world.station.goes_on_by(unkept)).await.unwrap();
        }
        world
    }

    fn opened(&self, now: Reading) -> Option<Arc<Unkept>> {
        let count: Arc<dyn Disk> = Arc::new(self.gate.clone());
        let ledger: Arc<dyn Disk> = Arc::new(self.looks.clone());
        let signed = Arc::clone(&self.signed);
        let signed = SignedSize::new(move || signed.load(Ordering::SeqCst));
        Unkept::open(&count, (ledger, self.ledger.durable().size), signed, self.chosen, now).unwrap()
    }

    fn begun(ledger_disk: SimDisk, count_disk: SimDisk, chosen: FailModes) -> Self {
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 16,
            outcome_bytes: 512,
            probe_every: Duration::MAX,
            ..Options::default()
        };
        let disk = Arc::new(ledger_disk.clone());
        let (ledger, _) = Ledger::open_by_hand(Path::new("ledger"), options, disk).unwrap();
        let ledger = Arc::new(ledger);
        let (clock, hand) = Clock::manual(1_790_000_000_000_000_000);
        let station = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        Self {
            looks: Hangs::new(&ledger_disk),
            ledger_disk,
            gate: Hangs::new(&count_disk),
            count_disk,
            ledger,
            station,
            hand,
            signed: Arc::default(),
            chosen,
        }
    }

    /// The process is killed and another one begins with what is on the disks; the old one goes on where nobody sees it.
    async fn killed(&self) -> Self {
        let (ledger, count) = (self.ledger_disk.copy(3), self.count_disk.copy(4));
        let world = Self::on(ledger, count, self.chosen).await;
        world.hand.store(self.hand.load(Ordering::Relaxed), Ordering::Relaxed);
        world
    }

    fn unkept(&self) -> &Arc<Unkept> {
        self.station.unkept.get().unwrap()
    }

    /// Waits for it while the ledger's writer goes on.
    async fn driven<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        loop {
            if let Poll::Ready(done) = futures::poll!(&mut future) {
                return done;
            }
            self.ledger.drive();
            tokio::task::yield_now().await;
        }
    }

    fn pass(&self, seconds: u64) {
        let nanos = i64::try_from(seconds * SECOND).unwrap();
        self.hand.fetch_add(nanos, Ordering::Relaxed);
    }

    fn fills_up(&self) {
        self.ledger_disk.set_space(Some(self.ledger_disk.used()));
        let big = format!("{{\"id\":\"fill\",\"note\":\"{}\"}}", "n".repeat(4_000)).into_bytes();
        while self.ledger.trouble().is_none() {
            let _ = self
                .ledger
                .append_forget(RecordKind::Heartbeat, big.clone(), Vec::new());
            self.ledger.drive();
        }
        // What is left has room for no shorter one either.
        assert_eq!(self.ledger.trouble(), Some(AppendError::DiskFull));
    }

    /// There is room again, and what had died is alive; nobody has called yet.
    fn has_room(&self) {
        self.ledger_disk.set_space(None);
        self.ledger_disk.restart();
        self.ledger.probe();
        self.ledger.drive();
        assert_eq!(self.ledger.trouble(), None);
    }

    fn trail(&self, who: &str, method: Method, target: &str, upgrade: Option<Upgrade>) -> Arc<Trail> {
        let peer = Peer {
            ip: "127.0.0.1".into(),
            port: 1,
            listener: "test".into(),
        };
        let target = Target::parse(target.as_bytes()).unwrap();
        let wire = Wire {
            method: method.as_str(),
            wants_upgrade: upgrade.is_some(),
            impersonates: false,
        };
        let facts = RequestFacts::classify(&target, wire).unwrap();
        let now = self.station.clock().read();
        let mut trail = Trail::new(now, peer, "HTTP/1.1", method, &HeaderMap::new());
        trail.facts = Some(facts);
        trail.target = Some(target);
        trail.upgrade = upgrade;
        trail.identity = Some(Arc::new(for_bench(who, &["dev"], Credential::GatewayToken)));
        Arc::new(trail)
    }

    /// What the timer does.
    async fn tends(&self) {
        self.driven(self.station.tend_gap()).await;
    }

    /// Waits until all that is counted was written, and says whether it could be.
    async fn kept(&self) -> Kept {
        let told = {
            let state = self.unkept().state();
            self.unkept().keeper.keep_and_tell(&state.in_file()).unwrap()
        };
        told.await.unwrap()
    }

    /// A read up to the opening of its answer.
    async fn reads(&self, who: &str) -> Result<(Evidence, End), Refusal> {
        let trail = self.trail(who, Method::GET, PODS, None);
        let permit = Permit::<PureRead>::for_tests(Obligations::default());
        let (access, end) = self.driven(self.station.access(&trail, &permit)).await?;
        let opened = self.driven(access.hold(()).open()).await;
        match opened {
            Ok(((), evidence)) => Ok((evidence, end)),
            Err(refusal) => {
                end.withdraw();
                Err(refusal)
            }
        }
    }

    /// An effect up to its sending.
    async fn changes(&self, who: &str) -> Result<(Option<u64>, End), Refusal> {
        let trail = self.trail(who, Method::POST, PODS, None);
        let permit = Permit::<Effect>::for_tests(Obligations::default());
        let (recorded, end) = self.driven(self.station.intend(&trail, permit)).await?;
        Ok((recorded.sequence(), end))
    }

    /// Whether it goes on, and whether on a record; it is answered then.
    async fn calls(&self, class: CallClass, who: &str) -> Went {
        let (sequence, mut end) = match class {
            CallClass::Effects => match self.changes(who).await {
                Ok(went) => went,
                Err(_) => return Went::Nowhere,
            },
            CallClass::Reads => match self.reads(who).await {
                Ok((evidence, mut end)) => {
                    let on = match &evidence.0 {
                        Stands::On(sequence) => Some(*sequence),
                        Stands::Counted(_) | Stands::CountedBefore => None,
                    };
                    end.stands_on(evidence);
                    (on, end)
                }
                Err(_) => return Went::Nowhere,
            },
        };
        end.sent();
        end.answered(200);
        end.settle(Answer::Answered, None);
        self.ledger.drive();
        sequence.map_or(Went::Counted, Went::Recorded)
    }

    fn records(&self) -> Vec<Value> {
        let reader = Reader::open_on(Arc::new(self.ledger_disk.clone())).unwrap();
        let leaves = reader.records_from(0).map(|record| record.unwrap().leaf);
        leaves.map(|leaf| serde_json::from_slice(&leaf).unwrap()).collect()
    }

    /// Records of gaps with calls that went on.
    fn gaps(&self) -> Vec<Value> {
        let gaps = self.records().into_iter().filter(|record| record["kind"] == "gap");
        gaps.filter(|record| record["gap"].get("passed").is_some()).collect()
    }

    fn holds_each_gap_once(&self) {
        let mut ids: Vec<String> = self.gaps().iter().map(|gap| gap["id"].to_string()).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "a gap is recorded once: {:#?}", self.gaps());
    }

    fn counted(&self) -> ByClass<u64> {
        let mut sum = ByClass::default();
        for gap in self.gaps() {
            let of = |name: &str| gap["gap"]["passed"][name].as_u64().unwrap();
            sum.reads += of("reads");
            sum.effects += of("effects");
        }
        sum
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Nowhere,
    Counted,
    Recorded(u64),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Reads(u8),
    Changes(u8),
    FillsUp,
    HasRoom,
    IsKilled,
    /// The next changing operation on the count's disk fails.
    CountFails,
    Settles,
    /// While the gap is recorded, the ledger's disk dies at this operation, and what it had done stays.
    DiesSettling(u64),
    Ticks,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Step::Reads),
        4 => (0..6_u8).prop_map(Step::Changes),
        2 => Just(Step::FillsUp),
        2 => Just(Step::HasRoom),
        1 => Just(Step::IsKilled),
        1 => Just(Step::CountFails),
        1 => Just(Step::Settles),
        1 => (0..5_u64).prop_map(Step::DiesSettling),
        1 => Just(Step::Ticks),
    ]
}

fn mode() -> impl Strategy<Value = FailMode> {
    prop_oneof![Just(FailMode::Closed), Just(FailMode::Bounded), Just(FailMode::Open)]
}

async fn every_order(modes: ByClass<FailMode>, steps: Vec<Step>) {
    let most = 8;
    let mut world = World::new(chosen(modes.reads, modes.effects)).await;
    let (mut went, mut is_exact) = (ByClass::<u64>::default(), true);
    for step in steps {
        match step {
            Step::Reads(who) | Step::Changes(who) => {
                let class = match step {
                    Step::Reads(_) => CallClass::Reads,
                    _ => CallClass::Effects,
                };
                let is_well = world.ledger.trouble().is_none();
                match world.calls(class, &format!("p{who}")).await {
                    Went::Counted => *class.of_mut(&mut went) += 1,
                    Went::Recorded(_) => assert!(is_well),
                    Went::Nowhere => assert!(!is_well),
                }
            }
            Step::FillsUp if world.ledger.trouble().is_none() => world.fills_up(),
            Step::HasRoom if world.ledger.trouble().is_some() => world.has_room(),
            Step::IsKilled => {
                if !is_exact {
                    return; // what the file could not take dies with the process, and the gap says `at_least`
                }
                world = world.killed().await;
            }
            Step::CountFails if world.ledger.trouble().is_some() => {
                world.count_disk.fail_after(0, Fault::Io);
                is_exact = false;
            }
            Step::Settles => world.driven(world.station.write_gap()).await,
            Step::DiesSettling(at) => {
                world.ledger_disk.fail_after(at, Fault::Crash);
                world.driven(world.station.write_gap()).await;
                world.ledger_disk.heal();
            }
            Step::Ticks => world.tends().await,
            Step::FillsUp | Step::HasRoom | Step::CountFails => {}
        }
    }
    world.count_disk.heal();
    if world.ledger.trouble().is_some() {
        world.has_room();
    }
    world.driven(world.station.write_gap()).await;
    assert_eq!(world.counted(), went, "{:#?}", world.gaps());
    for (mode, went) in [(modes.reads, went.reads), (modes.effects, went.effects)] {
        match mode {
            FailMode::Closed => assert_eq!(went, 0),
            // Time stands still, so there is one bound, whatever was killed or got well in between.
            FailMode::Bounded => assert!(went <= most, "{went}"),
            FailMode::Open => {}
        }
    }
    world.holds_each_gap_once();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn promise_4_in_every_order_of_trouble_the_gaps_count_what_went_on_and_never_above_the_bound(
        reads in mode(),
        effects in mode(),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(every_order(ByClass { reads, effects }, steps));
    }
}

#[tokio::test]
async fn promise_4_closed_lets_nothing_go_on_and_makes_no_file() {
    let world = World::new(FailModes::default()).await;
    assert_eq!(world.station.unkept(), None);
    assert!(world.count_disk.list().unwrap().is_empty());
    world.fills_up();
    for class in [CallClass::Reads, CallClass::Effects] {
        assert_eq!(world.calls(class, "al").await, Went::Nowhere);
    }
    world.has_room();
    assert!(matches!(world.calls(CallClass::Reads, "al").await, Went::Recorded(_)));
    assert!(world.gaps().is_empty());
}

#[tokio::test]
async fn promise_4_a_class_that_is_closed_stays_closed_beside_one_that_is_open() {
    for (reads, effects) in [(FailMode::Open, FailMode::Closed), (FailMode::Closed, FailMode::Open)] {
        let world = World::new(chosen(reads, effects)).await;
        world.fills_up();
        let went = |mode| {
            if mode == FailMode::Open {
                Went::Counted
            } else {
                Went::Nowhere
            }
        };
        assert_eq!(world.calls(CallClass::Reads, "al").await, went(reads));
        assert_eq!(world.calls(CallClass::Effects, "al").await, went(effects));
    }
}

#[tokio::test]
async fn the_gap_says_how_many_how_they_ended_and_stands_before_what_comes_after() {
    let world = World::new(chosen(FailMode::Open, FailMode::Bounded)).await;
    world.fills_up();
    let from = world.station.clock().read().wall;
    for _ in 0..3 {
        assert_eq!(world.calls(CallClass::Reads, "al").await, Went::Counted);
    }
    world.pass(5);
    let (_, mut unknown) = world.changes("al").await.unwrap();
    unknown.sent();
    drop(unknown);
    let (_, goes_on) = world.changes("bo").await.unwrap();
    let standing = world.station.unkept().unwrap();
    assert_eq!(standing.gap, Some((ByClass { reads: 3, effects: 2 }, from)));
    assert_eq!(standing.passed, ByClass { reads: 3, effects: 2 });
    let to = world.station.clock().read().wall;
    world.pass(5);
    world.has_room();
    let Went::Recorded(next) = world.calls(CallClass::Effects, "al").await else {
        panic!("it takes records again")
    };
    let gaps = world.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let seq = gaps[0]["seq"].as_u64().unwrap();
    assert!(seq < next, "{seq} {next}");
    let says = serde_json::json!({
        "why": "diskFull", "from": from.to_string(), "to": to.to_string(),
        "passed": { "reads": 3, "effects": 2 }, "modes": { "reads": "open", "effects": "bounded" },
        "ended": { "answered": 3, "unknown": 1 }, "unfinished": 1,
    });
    assert_eq!(gaps[0]["gap"], says);
    assert_eq!(world.station.unkept().unwrap().gap, None);
    let before = world.records().len();
    drop(goes_on);
    world.ledger.drive();
    assert_eq!(
        world.records().len(),
        before,
        "the end of what has no beginning is no record"
    );
}

/// What a client can bring about opens nothing.
#[tokio::test]
async fn promise_8_no_client_brings_it_about_that_a_call_goes_on_without_a_record() {
    for error in [
        AppendError::Full,
        AppendError::TooManyOpen { limit: 1 },
        AppendError::TooLong { len: 2, limit: 1 },
        AppendError::EmptyPart,
        AppendError::NotAnObject,
        AppendError::NeedsSlot,
        AppendError::Corrupt,
        AppendError::Closed,
    ] {
        assert_eq!(Why::of_append(&error), None, "{error}");
    }
    assert_eq!(Why::of_lost(Lost::Closed), None);

    let world = World::new(chosen(FailMode::Open, FailMode::Open)).await;
    let mut open = Vec::new();
    let refused = loop {
        match world.changes("al").await {
            Ok((sequence, end)) => {
                assert!(sequence.is_some());
                open.push(end);
            }
            Err(refusal) => break refusal,
        }
        assert!(open.len() <= 16);
    };
    assert!(
        matches!(&refused, Refusal::LedgerRefuses(why) if why.contains("too many calls")),
        "{refused:?}"
    );
    assert_eq!(world.station.unkept().unwrap().passed, ByClass::default());
}

#[tokio::test]
async fn promise_3_what_enters_owes_a_recording_or_hands_out_a_credential_stays_closed() {
    let world = World::new(chosen(FailMode::Open, FailMode::Open)).await;
    world.fills_up();
    let get = || Method::GET;
    let post = || Method::POST;
    let spdy = Some(Upgrade::Spdy31);
    let closed = [
        (post(), "/api/v1/namespaces/a/pods/web/exec?command=id", spdy),
        (post(), "/api/v1/namespaces/a/pods/web/attach", None),
        (post(), "/api/v1/namespaces/a/services/web/proxy/x", None),
        (Method::PATCH, "/api/v1/namespaces/a/pods/web/ephemeralcontainers", None),
        (get(), "/api/v1/namespaces/a/pods?watch=true", spdy),
        (post(), "/api/v1/namespaces/a/serviceaccounts/robot/token", None),
        (post(), "/apis/certificates.k8s.io/v1/certificatesigningrequests", None),
        (
            Method::PUT,
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval",
            None,
        ),
        (
            Method::PATCH,
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/a/status",
            None,
        ),
        (
            post(),
            "/apis/certificates.k8s.io/v1beta1/namespaces/a/podcertificaterequests",
            None,
        ),
        // Of which type a Secret is stands in its body: a token of an account, or one that joins nodes.
        (post(), "/api/v1/namespaces/a/secrets", None),
        (Method::PUT, "/api/v1/namespaces/a/secrets/one", None),
        (Method::PATCH, "/api/v1/namespaces/a/secrets/one", None),
        (Method::DELETE, "/api/v1/namespaces/a/secrets", None),
    ];
    for (method, target, upgrade) in closed {
        let trail = world.trail("al", method, target, upgrade);
        let permit = Permit::<Effect>::for_tests(Obligations::default());
        let refused = world.driven(world.station.intend(&trail, permit)).await;
        assert!(refused.is_err(), "{target}");
        assert!(!trail.is_unrecorded());
    }
    let owes = || Obligations {
        record: true,
        ..Obligations::default()
    };
    let trail = world.trail("al", post(), PODS, None);
    let permit = Permit::<Effect>::for_tests(owes());
    assert!(world.driven(world.station.intend(&trail, permit)).await.is_err());
    for (target, owed) in [
        (PODS, owes()),
        (
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/one",
            Obligations::default(),
        ),
        (
            "/apis/certificates.k8s.io/v1/certificatesigningrequests?watch=true",
            Obligations::default(),
        ),
        (
            "/apis/certificates.k8s.io/v1beta1/namespaces/a/podcertificaterequests",
            Obligations::default(),
        ),
        ("/api/v1/secrets", Obligations::default()),
        ("/api/v1/namespaces/a/secrets/one", Obligations::default()),
        ("/api/v1/namespaces/a/secrets?watch=true", Obligations::default()),
        ("/api/v1/watch/namespaces/a/secrets/one", Obligations::default()),
    ] {
        let trail = world.trail("al", get(), target, None);
        let permit = Permit::<PureRead>::for_tests(owed);
        assert!(
            world.driven(world.station.access(&trail, &permit)).await.is_err(),
            "{target}"
        );
    }
    assert_eq!(world.station.unkept().unwrap().passed, ByClass::default());
    assert_eq!(
        world.calls(CallClass::Effects, "al").await,
        Went::Counted,
        "the control"
    );
}

#[tokio::test]
async fn promise_8_nobody_uses_up_what_others_need() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Bounded)).await;
    world.fills_up();
    let mut went = 0;
    for _ in 0..20 {
        went += usize::from(world.calls(CallClass::Reads, "greedy").await == Went::Counted);
    }
    assert_eq!(went, 2, "a quarter of eight");
    for who in ["a", "b", "c"] {
        for _ in 0..2 {
            assert_eq!(world.calls(CallClass::Reads, who).await, Went::Counted, "{who}");
        }
    }
    assert_eq!(
        world.calls(CallClass::Reads, "d").await,
        Went::Nowhere,
        "all eight are gone"
    );
    assert_eq!(
        world.calls(CallClass::Effects, "d").await,
        Went::Counted,
        "the other class has its own"
    );
}

#[tokio::test]
async fn a_bound_ends_with_its_time_and_is_whole_again_after_an_hour_without_trouble() {
    let world = World::new(chosen(FailMode::Bounded, FailMode::Closed)).await;
    let goes_on = async |who: &str| world.calls(CallClass::Reads, who).await == Went::Counted;
    world.fills_up();
    assert!(goes_on("a").await);
    world.pass(59);
    assert!(goes_on("a").await);
    world.pass(1);
    assert!(!goes_on("b").await, "its time is over");
    assert_eq!(world.station.unkept().unwrap().goes_on, ByClass::default());
    // A disk that comes and goes has no second one.
    for _ in 0..3 {
        world.has_room();
        world.tends().await;
        world.pass(3_599);
        world.tends().await;
        world.fills_up();
        assert!(!goes_on("b").await);
    }
    for _ in 0..2 {
        world.pass(10_000);
        world.tends().await;
    }
    assert!(!goes_on("b").await, "time alone heals nothing");
    world.has_room();
    world.tends().await;
    world.pass(3_600);
    world.tends().await;
    world.fills_up();
    assert!(goes_on("b").await);
    assert!(goes_on("a").await, "shares are whole again, too");
}

#[tokio::test]
async fn a_bound_that_is_used_up_stays_so_when_the_process_is_killed() {
    let mut world = World::new(chosen(FailMode::Closed, FailMode::Bounded)).await;
    let mut went = 0;
    for _ in 0..6 {
        world.fills_up();
        for who in ["a", "b", "c", "d", "e", "f"] {
            went += u64::from(world.calls(CallClass::Effects, who).await == Went::Counted);
        }
        world.ledger_disk.set_space(None);
        world = world.killed().await;
    }
    assert_eq!(went, 8);
    assert_eq!(world.counted(), ByClass { reads: 0, effects: 8 });
}

#[tokio::test]
async fn after_a_kill_the_start_records_the_gap_and_says_where_there_may_have_been_more() {
    for (effects, at_least) in [(FailMode::Bounded, None), (FailMode::Open, Some(true))] {
        let world = World::new(chosen(FailMode::Closed, effects)).await;
        world.fills_up();
        for who in ["a", "b", "c"] {
            assert_eq!(world.calls(CallClass::Effects, who).await, Went::Counted);
        }
        world.ledger_disk.set_space(None);
        let mut world = world.killed().await;
        for _ in 0..2 {
            let gaps = world.gaps();
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert_eq!(gaps[0]["gap"]["passed"]["effects"], 3);
            assert_eq!(gaps[0]["gap"].get("at_least").and_then(Value::as_bool), at_least);
            world = world.killed().await;
        }
    }
}

/// Killed at each step of the noting that it is recorded: it is there once.
#[tokio::test]
async fn a_gap_whose_recording_is_interrupted_is_recorded_once() {
    for dies in 0..7 {
        let world = World::new(chosen(FailMode::Open, FailMode::Closed)).await;
        world.fills_up();
        assert_eq!(world.calls(CallClass::Reads, "a").await, Went::Counted);
        world.has_room();
        // The count is written behind the record.
        world.count_disk.fail_after(dies, Fault::Crash);
        world.driven(world.station.write_gap()).await;
        let _ = world.kept().await;
        world.count_disk.power_cut();
        world.count_disk.restart();
        let world = world.killed().await;
        let gaps = world.gaps();
        assert_eq!(gaps.len(), 1, "at {dies}: {gaps:?}");
        assert!(gaps.iter().all(|gap| gap["gap"]["passed"]["reads"] == 1));
    }
}

#[tokio::test]
async fn where_the_count_cannot_be_written_a_bounded_class_is_closed_and_an_open_one_is_counted_in_memory() {
    let world = World::new(chosen(FailMode::Open, FailMode::Bounded)).await;
    world.fills_up();
    for step in 0..2 {
        world.count_disk.fail_after(step, Fault::Io);
        assert_eq!(world.calls(CallClass::Effects, "a").await, Went::Nowhere);
        world.count_disk.fail_after(step, Fault::Io);
        assert_eq!(world.calls(CallClass::Reads, "a").await, Went::Counted);
    }
    assert_eq!(
        world.calls(CallClass::Effects, "a").await,
        Went::Counted,
        "it is well again"
    );
    world.has_room();
    world.driven(world.station.write_gap()).await;
    assert_eq!(world.counted(), ByClass { reads: 2, effects: 1 });
}

#[tokio::test]
async fn a_count_that_nobody_can_read_is_a_gap_that_says_so() {
    let count = SimDisk::new(2);
    count.put(tally::FILE, b"something else");
    for modes in [
        FailModes::default(),
        chosen(FailMode::Open, FailMode::Closed),
        chosen(FailMode::Bounded, FailMode::Bounded),
    ] {
        let world = World::on(SimDisk::new(1), count.copy(5), modes).await;
        let gaps = world.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!(
            (&gaps[0]["gap"]["why"], &gaps[0]["gap"]["at_least"]),
            (&"countDamaged".into(), &true.into())
        );
        let world = world.killed().await;
        assert!(world.gaps().len() == 1, "it is said once");
        if modes.modes.reads == FailMode::Bounded {
            world.fills_up();
            for class in [CallClass::Reads, CallClass::Effects] {
                assert_eq!(
                    world.calls(class, "a").await,
                    Went::Nowhere,
                    "what was spent is not known"
                );
            }
        }
    }
}

/// A read whose record was taken and is then lost: its answer is there, and is held until it is counted.
#[tokio::test]
async fn an_answer_whose_record_is_lost_is_opened_when_it_is_counted_and_else_not() {
    for mode in [FailMode::Open, FailMode::Closed] {
        let world = World::new(chosen(mode, FailMode::Closed)).await;
        let trail = world.trail("al", Method::GET, PODS, None);
        let permit = Permit::<PureRead>::for_tests(Obligations::default());
        let (access, mut end) = world.station.access(&trail, &permit).await.unwrap();
        world.ledger_disk.fail_after(1, Fault::Io);
        let opened = world.driven(access.hold("the answer").open()).await;
        if mode == FailMode::Closed {
            assert!(opened.is_err());
            end.withdraw();
            continue;
        }
        let (answer, evidence) = opened.unwrap();
        assert_eq!(answer, "the answer");
        assert!(trail.is_unrecorded());
        end.stands_on(evidence);
        end.answered(200);
        end.settle(Answer::Answered, None);
        world.driven(world.station.write_gap()).await;
        let gaps = world.gaps();
        assert_eq!(gaps[0]["gap"]["why"], "diskFailed");
        assert_eq!(world.counted(), ByClass { reads: 1, effects: 0 });
    }
}

/// Whoever leaves while being counted did not go on.
#[tokio::test]
async fn whoever_leaves_while_being_counted_is_not_counted() {
    let world = World::new(chosen(FailMode::Closed, FailMode::Bounded)).await;
    world.fills_up();
    for who in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        let trail = world.trail(who, Method::POST, PODS, None);
        let permit = Permit::<Effect>::for_tests(Obligations::default());
        let mut leaves = Box::pin(world.station.intend(&trail, permit));
        // Its count is not on the disk before it has left.
        world.gate.shut();
        while world.unkept().state().counted.gap.is_none() {
            assert!(matches!(futures::poll!(&mut leaves), Poll::Pending));
            world.ledger.drive();
            tokio::task::yield_now().await;
        }
        drop(leaves);
        assert!(!world.unkept().has_gap());
        world.gate.open();
    }
    assert_eq!(
        world.calls(CallClass::Effects, "j").await,
        Went::Counted,
        "nothing of the bound is spent"
    );
    world.has_room();
    world.driven(world.station.write_gap()).await;
    assert_eq!(world.counted(), ByClass { reads: 0, effects: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_the_same_time_are_counted_each_and_share_their_writing() {
    let modes = FailModes {
        most: 64,
        ..chosen(FailMode::Bounded, FailMode::Open)
    };
    let world = World::new(modes).await;
    world.fills_up();
    let now = world.station.clock().read();
    let admitted = (0..200).map(|number| {
        let unkept = Arc::clone(world.unkept());
        let subject = SubjectId::from_digest([u8::try_from(number % 50).unwrap(); 16]);
        tokio::spawn(async move {
            unkept
                .admit((CallClass::Reads, Some(&subject)), Why::DiskFull, 0, now)
                .await
                .is_some()
        })
    });
    let mut went = 0;
    for one in futures::future::join_all(admitted).await {
        went += u64::from(one.unwrap());
    }
    assert_eq!(went, 64);
    let world = {
        world.ledger_disk.set_space(None);
        world.killed().await
    };
    assert_eq!(world.counted(), ByClass { reads: 64, effects: 0 });
}
