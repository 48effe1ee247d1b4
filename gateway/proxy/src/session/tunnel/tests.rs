//! What a tunnel does to bytes and when it ends, between two sides in memory and with a clock that is set.

mod keys;
mod recorded;

use std::sync::Arc;
use std::time::Duration;

use ::recording::tap::{Protocol, Version};
use access::decide::Authorization;
use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::audit::Trail;
use crate::clock::Clock;
use crate::identity::{Credential, for_bench};
use crate::session::bench::{BEGIN, World};

struct Stage {
    world: World,
    call: LongCall,
    folder: tempfile::TempDir,
    ledger: Arc<ledger::Ledger>,
    /// An exec.
    trail: Arc<Trail>,
    bytes_per_day: u64,
}

impl Stage {
    fn new() -> Self {
        Self::with_a_day_of(u64::MAX)
    }

    /// Whose person may have so many bytes recorded a day.
    fn with_a_day_of(bytes_per_day: u64) -> Self {
        let exec = "/api/v1/namespaces/shop/pods/web/exec?command=sh&stdout=true";
        Self::asking(exec, bytes_per_day)
    }

    fn asking(path: &str, bytes_per_day: u64) -> Self {
        Self::of("al", path, bytes_per_day)
    }

    fn of(user: &str, path: &str, bytes_per_day: u64) -> Self {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench(user, &["dev"], Credential::GatewayToken));
        let trail = world.call(person, path, true);
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(ledger::RealDisk::new(folder.path()));
        let options = ledger::Options {
            queue_records: 4_096,
            ..ledger::Options::default()
        };
        let (ledger, _) = ledger::Ledger::open_by_hand(folder.path(), options, disk).unwrap();
        Self {
            call: world.enter(&trail),
            ledger: Arc::new(ledger),
            world,
            folder,
            trail,
            bytes_per_day,
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
        self.observed(room, bounds, Observer::new(None, None))
    }

    fn observed(
        &self,
        room: usize,
        bounds: Bounds,
        observer: Observer,
    ) -> (Carried<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        let (person, client) = duplex(room);
        let (upstream, pod) = duplex(room);
        let carried = Carried::new(client, upstream, observer, bounds, self.beats());
        (carried, person, pod)
    }

    fn beats(&self) -> Heartbeats {
        let clock = Clock::Manual(Arc::clone(&self.world.hand));
        Heartbeats::into_ledger(&self.ledger, clock, Arc::clone(&self.trail), self.bytes_per_day)
    }
}

const WEBSOCKET: Protocol = Protocol::WebSocketCommand {
    base64: false,
    version: Version::V5,
};
const SPDY: Protocol = Protocol::SpdyCommand { version: Version::V4 };

fn tap(protocol: Protocol) -> Tap {
    Tap::new(protocol, Vec::new())
}

/// What a server says on its output, as a WebSocket message (RFC 6455 §5.2).
fn stdout(bytes: &[u8]) -> Vec<u8> {
    let length = u64::try_from(bytes.len() + 1).unwrap();
    [&[0x82, 127], &length.to_be_bytes()[..], &[1], bytes].concat()
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

/// Rules that come to demand an idle limit count for what is under way, at once and from the last byte on.
#[tokio::test(start_paused = true)]
async fn a_shorter_idle_counts_for_an_open_session_and_a_longer_one_does_not() {
    for (at_first, by_now, after, words) in [
        (4 * 3_600, "20m", 20 * 60, "20 min"),
        // It has been idle for longer than that already.
        (4 * 3_600, "90s", 10 * 60, "90 s"),
        (15 * 60, "2h", 15 * 60, "15 min"),
    ] {
        let stage = Stage::new();
        let bounds = Bounds {
            idle: Duration::from_secs(at_first),
            longest: None,
        };
        let (mut carried, _person, _pod) = stage.tunnel(64, bounds);
        let began = Instant::now();
        let changing = async {
            tokio::time::sleep(Duration::from_secs(10 * 60)).await;
            let rule = json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": "idle"},
                "spec": {"effect": "allow", "subjects": {"groups": ["*"]}, "kubernetes": {"actions": ["enter"]},
                         "obligations": {"idle": by_now}}});
            stage.world.rules(&["dev"], &[rule]);
            stage.world.keeper.rules_changed(&stage.world.cluster).await;
            std::future::pending::<()>().await;
        };
        let over = tokio::select! {
            over = carried.carry(&stage.call, stage.over()) => over,
            () = changing => panic!("it waits for ever"),
        };
        let expected = format!("ended by the gateway: nothing has passed for {words}, its limit");
        assert_eq!(ours(&over), expected);
        assert_eq!(began.elapsed().as_secs(), after, "{by_now}");
    }
}

/// A client that only shows that it is there keeps no session open: pings of both transports, both ways.
#[tokio::test(start_paused = true)]
async fn h_11_pings_are_no_data_and_end_nothing_later() {
    let spdy = b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01".as_slice();
    let (asked, answered) = (b"\x89\x80\x00\x00\x00\x00".as_slice(), b"\x8a\x00".as_slice());
    for (protocol, up, down) in [(WEBSOCKET, asked, answered), (SPDY, spdy, spdy)] {
        let stage = Stage::new();
        let observer = Observer::new(Some(tap(protocol)), None);
        let (mut carried, mut person, mut pod) = stage.observed(64, Bounds::default(), observer);
        let began = Instant::now();
        let pinging = async {
            loop {
                tokio::time::sleep(Duration::from_secs(300)).await;
                person.write_all(up).await.unwrap();
                pod.write_all(down).await.unwrap();
                pod.read_exact(&mut vec![0; up.len()]).await.unwrap();
                person.read_exact(&mut vec![0; down.len()]).await.unwrap();
            }
        };
        let over = tokio::select! {
            over = carried.carry(&stage.call, stage.over()) => over,
            () = pinging => unreachable!(),
        };
        assert_eq!(
            ours(&over),
            "ended by the gateway: nothing has passed for 4 h, its limit",
            "{protocol:?}"
        );
        assert_eq!(began.elapsed().as_secs(), 4 * 3_600, "{protocol:?}");
        assert!(!carried.observer.is_torn(), "{protocol:?}");
    }
}

#[test]
fn what_a_rule_demands_makes_bounds_shorter_and_never_longer() {
    let hour = Duration::from_secs(3_600);
    let bounds = |idle: Duration, longest: Option<Duration>| Bounds { idle, longest };
    let owed = |idle: Option<Duration>, longest: Option<Duration>| Obligations {
        idle_seconds: idle.map(|idle| idle.as_secs()),
        longest_seconds: longest.map(|longest| longest.as_secs()),
        ..Obligations::default()
    };
    let usual = Bounds::default();
    assert_eq!((usual.idle, usual.longest), (4 * hour, None));
    for (before, owed, after) in [
        (usual, owed(None, None), usual),
        (usual, owed(Some(hour), Some(8 * hour)), bounds(hour, Some(8 * hour))),
        (usual, owed(Some(9 * hour), None), usual),
        (
            bounds(hour, Some(hour)),
            owed(Some(hour * 2), Some(hour * 2)),
            bounds(hour, Some(hour)),
        ),
        (
            bounds(hour, Some(2 * hour)),
            owed(None, Some(hour)),
            bounds(hour, Some(hour)),
        ),
    ] {
        assert_eq!(before.within(&owed), after, "{before:?} with {owed:?}");
    }
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
    stage
        .world
        .registry
        .end_sign_in(stage.call.entry.sign_in().unwrap(), "signed out", BEGIN);
    let over = carried.carry(&stage.call, stage.over()).await;
    assert_eq!(ours(&over), "ended by the gateway: signed out");
    assert!(
        timeout(FAREWELL_WITHIN, carried.say_farewell("signed out", CloseCode::Policy))
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
    let (answer, why) = carried.outcome(&over);
    assert_eq!(answer, Answer::ClientGone);
    assert_eq!(why.as_deref(), Some("the client left: broken pipe"));
    let library = "peer closed connection without sending TLS close_notify: https://docs.rs/…";
    let unasked = Over::Client(io::Error::new(io::ErrorKind::UnexpectedEof, library));
    assert_eq!(
        carried.outcome(&unasked).1.as_deref(),
        Some("the client left: its connection ended without a farewell")
    );
}

/// One side has said something and gone; the other has not taken it all yet and says something itself. What reaches it: the command
/// has ended and its person still types, or the person has left and the command goes on.
#[tokio::test(start_paused = true)]
async fn what_was_said_before_a_side_broke_reaches_the_other() {
    for way in [Way::Down, Way::Up] {
        let stage = Stage::new();
        let rooms = if way == Way::Down { (16, 64) } else { (64, 16) };
        let ((person, client), (upstream, pod)) = (duplex(rooms.0), duplex(rooms.1));
        let observer = Observer::new(None, None);
        let mut carried = Carried::new(client, upstream, observer, Bounds::default(), stage.beats());
        let (mut goes, mut stays) = if way == Way::Down { (pod, person) } else { (person, pod) };
        goes.write_all(&[7; 64]).await.unwrap();
        let carrying = async {
            let over = carried.carry(&stage.call, stage.over()).await;
            carried.hand_over_the_rest().await;
            over
        };
        let talking = async {
            // Read by the gateway as far as there is room, by the time that all sleep.
            tokio::time::sleep(Duration::from_millis(10)).await;
            drop(goes);
            stays.write_all(b"to nobody").await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            let mut read = [0; 64];
            let all = timeout(Duration::from_secs(30), stays.read_exact(&mut read)).await;
            assert!(all.is_ok_and(|read| read.is_ok()), "{way:?}");
            read
        };
        let (over, read) = tokio::join!(carrying, talking);
        assert_eq!(read, [7; 64], "{way:?}");
        match way {
            Way::Down => assert!(matches!(over, Over::Upstream(_)), "{over:?}"),
            Way::Up => assert!(matches!(over, Over::Client(_)), "{over:?}"),
        }
    }
}

/// The record of an end may wait for the disk and for a node's name; the pod does not.
#[tokio::test(start_paused = true)]
async fn the_pod_s_side_is_closed_at_the_end_and_not_behind_its_record() {
    let stage = Stage::new();
    let (carried, mut person, mut pod) = stage.tunnel(64, Bounds::default());
    let (end, place) = carried.heartbeats.duties();
    let over = stage.over();
    over.cancel();
    let session = Session {
        node: Some(tokio::spawn(std::future::pending())),
        end,
        call: stage.world.enter(&stage.trail),
        place,
    };
    let mut running = pin!(session.run(carried, over));
    let mut said = Vec::new();
    tokio::select! {
        biased;
        () = &mut running => panic!("its record is not written yet"),
        read = pod.read_to_end(&mut said) => assert_eq!(read.unwrap(), 0),
    }
    assert!(person.write_all(b"x").await.is_ok(), "the person has still to read why");
}

/// A frame of a server with this text (RFC 6455 §5.2).
fn text(words: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(words.len()).unwrap()], words.as_bytes()].concat()
}

/// The service was in the middle of a sentence, and has more to say behind it: the sentence reaches its end, then come our words, and then nothing.
#[tokio::test(start_paused = true)]
async fn a_service_s_websocket_that_is_ended_says_why_behind_the_frame_that_was_open() {
    for (is_drain, code, why) in [
        (false, [3, 0xf0], "ended by the gateway: you have signed out"),
        (true, [3, 0xe9], "ended by the gateway: it stops"),
    ] {
        let stage = Stage::new();
        let observer = Observer::of_service(Some(ServerFrames::new()));
        let (mut carried, mut person, mut pod) = stage.observed(4_096, Bounds::default(), observer);
        let (first, second) = (text("how are you?"), text("not a word of this"));
        let (begun, rest) = first.split_at(5);
        pod.write_all(begun).await.unwrap();
        let mut read = vec![0; begun.len()];
        let over = stage.over();
        tokio::select! {
            _ = carried.carry(&stage.call, over.clone()) => panic!("it goes on"),
            read = person.read_exact(&mut read) => {
                read.unwrap();
            }
        }
        let registry = &stage.world.registry;
        if is_drain {
            stage.world.draining.cancel();
        } else {
            assert_eq!(
                registry.end_sign_in(stage.call.entry.sign_in().unwrap(), "you have signed out", BEGIN),
                1
            );
        }
        let (end, place) = carried.heartbeats.duties();
        let session = Session {
            node: None,
            end,
            call: stage.call,
            place,
        };
        let talking = async {
            pod.write_all(&[rest, &second].concat()).await.unwrap();
            let mut told = Vec::new();
            person.read_to_end(&mut told).await.unwrap();
            person.shutdown().await.unwrap();
            told
        };
        let ((), told) = tokio::join!(session.run(carried, over), talking);
        let goodbye = [&[0x88, u8::try_from(why.len() + 2).unwrap()], &code[..], why.as_bytes()].concat();
        // At a drain it goes on for a while first.
        let between = if is_drain { second.as_slice() } else { &[] };
        assert_eq!(
            told,
            [rest, between, &goodbye].concat(),
            "{}",
            String::from_utf8_lossy(&told)
        );
    }
}

/// A frame that does not end in time is never finished by words of ours, and neither is a connection whose frames are in doubt.
#[tokio::test(start_paused = true)]
async fn words_never_stand_inside_a_frame_of_a_service() {
    for open in [
        text("half a sentence")[..8].to_vec(),
        b"\x81\x82masked".to_vec(),
        text("x")[..1].to_vec(),
    ] {
        let stage = Stage::new();
        let observer = Observer::of_service(Some(ServerFrames::new()));
        let (mut carried, mut person, mut pod) = stage.observed(4_096, Bounds::default(), observer);
        pod.write_all(&open).await.unwrap();
        let over = stage.over();
        let mut told = vec![0; open.len()];
        tokio::select! {
            _ = carried.carry(&stage.call, over.clone()) => panic!("it goes on"),
            read = person.read_exact(&mut told) => {
                read.unwrap();
            }
        }
        over.cancel();
        let (end, place) = carried.heartbeats.duties();
        let session = Session {
            node: None,
            end,
            call: stage.call,
            place,
        };
        let began = Instant::now();
        let ((), rest) = tokio::join!(session.run(carried, over), async {
            let mut rest = Vec::new();
            person.read_to_end(&mut rest).await.unwrap();
            rest
        });
        assert!(rest.is_empty(), "{rest:x?} behind {open:x?}");
        assert!(began.elapsed() < Duration::from_secs(2), "the end is late");
    }
}

/// A runtime that cannot run a command says which one, with whatever its caller wrote into it.
#[tokio::test]
async fn promise_6_what_the_cluster_says_of_a_failure_stands_in_no_record() {
    let stage = Stage::new();
    let observer = Observer::new(Some(tap(WEBSOCKET)), None);
    let (mut carried, mut person, mut pod) = stage.observed(4_096, Bounds::default(), observer);
    let status = br#"{"status":"Failure","message":"exec: \"mysql -pcanary\": not found","reason":"InternalError"}"#;
    let length = u16::try_from(status.len() + 1).unwrap().to_be_bytes();
    let said = [&[0x82, 126], length.as_slice(), &[3], status].concat();
    let talking = async {
        pod.write_all(&said).await.unwrap();
        pod.shutdown().await.unwrap();
        person.shutdown().await.unwrap();
        let mut told = Vec::new();
        person.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, said, "the person reads it");
    };
    let (over, ()) = tokio::join!(carried.carry(&stage.call, stage.over()), talking);
    let words = "the cluster said that the command was not run, or not to its end";
    assert_eq!(carried.outcome(&over), (Answer::Answered, Some(words.to_owned())));
}

/// Before the fourth version a good end is one without a word: the pod's farewell tells it from an end that came too soon.
#[tokio::test]
async fn an_old_version_that_ends_without_a_word_has_ended_well() {
    let old = Protocol::WebSocketCommand {
        base64: false,
        version: Version::V1,
    };
    let farewell = b"\x88\x02\x03\xe8".as_slice();
    let clients = b"\x88\x82\0\0\0\0\x03\xe8".as_slice();
    for (protocol, pod_says, client_says, answer) in [
        (
            old,
            [stdout(b"done"), farewell.to_vec()].concat(),
            b"".as_slice(),
            Answer::Answered,
        ),
        (old, stdout(b"so far"), b"", Answer::UpstreamLost),
        (
            WEBSOCKET,
            [stdout(b"done"), farewell.to_vec()].concat(),
            b"",
            Answer::UpstreamLost,
        ),
        (old, Vec::new(), clients, Answer::ClientGone),
    ] {
        let stage = Stage::new();
        let observer = Observer::new(Some(tap(protocol)), None);
        let (mut carried, mut person, mut pod) = stage.observed(4_096, Bounds::default(), observer);
        let talking = async {
            if client_says.is_empty() {
                pod.write_all(&pod_says).await.unwrap();
                pod.shutdown().await.unwrap();
                person.read_to_end(&mut Vec::new()).await.unwrap();
                person.shutdown().await.unwrap();
            } else {
                person.write_all(client_says).await.unwrap();
                person.shutdown().await.unwrap();
                pod.read_to_end(&mut Vec::new()).await.unwrap();
                // As a server takes leave of whoever has left.
                pod.write_all(farewell).await.unwrap();
                pod.shutdown().await.unwrap();
            }
        };
        let (over, ()) = tokio::join!(carried.carry(&stage.call, stage.over()), talking);
        assert_eq!(carried.outcome(&over).0, answer, "{protocol:?} {over:?}");
    }
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
