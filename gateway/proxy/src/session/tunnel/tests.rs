//! What a tunnel does to bytes and when it ends, between two sides in memory and with a clock that is set.

use std::sync::Arc;
use std::time::Duration;

use access::decide::Authorization;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::identity::{Credential, for_bench};
use crate::session::bench::World;

struct Stage {
    world: World,
    call: LongCall,
    folder: tempfile::TempDir,
    trail: Arc<crate::audit::Trail>,
}

impl Stage {
    fn new() -> Self {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let trail = world.watch(person, "shop");
        Self {
            call: world.enter(&trail),
            world,
            folder: tempfile::tempdir().unwrap(),
            trail,
        }
    }

    /// Its call as a session.
    fn over(&self) -> CancellationToken {
        self.call.becomes_session(Counted {
            up: Arc::default(),
            down: Arc::default(),
        })
    }

    /// A tunnel, and the outer ends of its two sides.
    fn tunnel(&self, room: usize, bounds: Bounds) -> (Carried<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        let (person, client) = duplex(room);
        let (upstream, pod) = duplex(room);
        let heartbeats = Heartbeats::into_folder(self.folder.path(), Arc::clone(&self.trail));
        let carried = Carried::new(client, upstream, Observer::new(None, None), bounds, heartbeats);
        (carried, person, pod)
    }
}

fn ours(over: &Over) -> &str {
    match over {
        Over::Ours(why) => why,
        other => panic!("not ended by the gateway: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn h_11_where_nothing_passes_it_ends_at_the_limit_and_not_before() {
    let stage = Stage::new();
    let (mut carried, mut person, _pod) = stage.tunnel(64, Bounds::default());
    let began = Instant::now();
    let writing = async {
        tokio::time::sleep(Duration::from_secs(3 * 3_600)).await;
        person.write_all(b"x").await.unwrap();
        std::future::pending::<()>().await;
    };
    let over = tokio::select! {
        over = carried.carry(&stage.call, stage.over()) => over,
        () = writing => panic!("it waits for ever"),
    };
    assert_eq!(
        ours(&over),
        "ended by the gateway: nothing has passed for 4 h, its limit"
    );
    assert_eq!(began.elapsed().as_secs(), 7 * 3_600, "from the last byte on");
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_ends_what_is_busy() {
    let stage = Stage::new();
    let bounds = Bounds {
        longest: Some(Duration::from_secs(90 * 60)),
        ..Bounds::default()
    };
    let (mut carried, mut person, mut pod) = stage.tunnel(64, bounds);
    let talking = async {
        loop {
            person.write_all(b"x").await.unwrap();
            pod.read_u8().await.unwrap();
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    };
    let over = tokio::select! {
        over = carried.carry(&stage.call, stage.over()) => over,
        () = talking => unreachable!(),
    };
    assert_eq!(ours(&over), "ended by the gateway: it has lasted 90 min, its limit");
}

#[tokio::test(start_paused = true)]
async fn one_direction_alone_has_a_shorter_limit() {
    let stage = Stage::new();
    let (mut carried, mut person, _pod) = stage.tunnel(64, Bounds::default());
    person.shutdown().await.unwrap();
    let began = Instant::now();
    let over = carried.carry(&stage.call, stage.over()).await;
    assert_eq!(began.elapsed(), HALF_CLOSED_IDLE);
    assert_eq!(
        ours(&over),
        "ended by the gateway: nothing has passed for 5 min, its limit"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_some_time_and_then_ends_it() {
    let stage = Stage::new();
    let (mut carried, _person, _pod) = stage.tunnel(64, Bounds::default());
    stage.world.draining.cancel();
    let began = Instant::now();
    let over = carried.carry(&stage.call, stage.over()).await;
    assert_eq!(ours(&over), "ended by the gateway: it stops");
    assert_eq!(began.elapsed(), DRAINS_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn lost_rights_end_it_at_once_while_the_gateway_drains_too() {
    let stage = Stage::new();
    let (mut carried, _person, _pod) = stage.tunnel(64, Bounds::default());
    let over = stage.over();
    stage.world.draining.cancel();
    let began = Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let id = stage.trail.id;
        stage.world.registry.end_one(id.as_str(), "ended by eve").unwrap();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = carried.carry(&stage.call, over) => ended,
        () = ending => unreachable!(),
    };
    assert_eq!(ours(&ended), "ended by the gateway: ended by eve");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn an_end_of_the_session_comes_at_once_though_nobody_reads() {
    let stage = Stage::new();
    let (mut carried, _person, mut pod) = stage.tunnel(16, Bounds::default());
    pod.write_all(&[7; 16]).await.unwrap();
    stage.world.registry.end_session(
        stage.call.entry.session().unwrap(),
        "signed out",
        crate::session::bench::BEGIN,
    );
    let over = carried.carry(&stage.call, stage.over()).await;
    assert_eq!(ours(&over), "ended by the gateway: signed out");
    assert!(
        timeout(FAREWELL_WITHIN, carried.say_farewell("signed out"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_side_that_breaks_is_named() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.tunnel(16, Bounds::default());
    drop(person);
    pod.write_all(b"to nobody").await.unwrap();
    let over = carried.carry(&stage.call, stage.over()).await;
    assert!(matches!(over, Over::Client(_)), "{over:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any pieces through any room arrive whole, and each direction's end arrives behind its last byte.
    #[test]
    fn what_is_sent_arrives_once_and_in_order(
        up in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3_000), 0..20),
        down in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3_000), 0..20),
        room in 1_usize..5_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::new();
            let (mut carried, person, pod) = stage.tunnel(room, Bounds::default());
            let side = |stream: DuplexStream, pieces: Vec<Vec<u8>>| async move {
                let (mut reads, mut writes) = tokio::io::split(stream);
                let writing = async move {
                    for piece in pieces {
                        writes.write_all(&piece).await.unwrap();
                    }
                    writes.shutdown().await.unwrap();
                };
                let mut got = Vec::new();
                tokio::join!(writing, async { reads.read_to_end(&mut got).await.unwrap() });
                got
            };
            let (over, said, sent) = tokio::join!(
                carried.carry(&stage.call, stage.over()),
                side(person, up.clone()),
                side(pod, down.clone()),
            );
            prop_assert!(matches!(over, Over::Both));
            prop_assert_eq!(&sent, &up.concat());
            prop_assert_eq!(&said, &down.concat());
            prop_assert_eq!(carried.heartbeats.bytes_in.load(Ordering::Relaxed), sent.len() as u64);
            prop_assert_eq!(carried.heartbeats.bytes_out.load(Ordering::Relaxed), said.len() as u64);
            Ok(())
        })?;
    }
}
