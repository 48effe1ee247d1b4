//! A tunnel with a real recording: what the ledger is told of it while it grows, what a slow or full disk does to the bytes, and
//! what ends a session that has to be recorded.

use std::path::{Path, PathBuf};

use ::recording::tap::Channel;
use ::recording::{Anchor, Frame, Noted, Recording as Read, SessionKey, Tail};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::subject::SubjectId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::time::sleep;

use super::super::writers::MOST_OF_ONE;
use super::*;
use crate::session::bench::BEGIN;

pub(super) const KEY: [u8; 32] = [7; 32];
const CHUNK: usize = 1 << 20;

#[derive(Debug)]
struct OneKey;

impl RecordingKeys for OneKey {
    fn new_key(&self, _: &SubjectId, _: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        async { Ok(SessionKey::new(KEY)) }.boxed()
    }

    fn forget(&self, _: &SubjectId, _: &str) {}
}

impl Stage {
    /// How sessions are recorded here.
    pub(super) fn recordings(&self) -> Recordings {
        Recordings {
            folder: self.folder.path().to_owned(),
            keys: Arc::new(OneKey),
            which: SessionsToRecord::All,
            keeps_free: 0,
            metrics: RecordingMetrics::default(),
            writers: Writers::default(),
        }
    }

    /// The recording of an exec whose session has begun.
    async fn recording(&self) -> Recording {
        self.recording_by(&self.recordings()).await
    }

    async fn recording_by(&self, recordings: &Recordings) -> Recording {
        let mut recording = recordings.begin(&self.trail, self.trail.received.mono).await.unwrap();
        recording.begins(&self.beats());
        recording
    }

    /// The recording of an exec that is about to begin.
    async fn begun(&self) -> Recording {
        let recordings = self.recordings();
        recordings.begin(&self.trail, self.trail.received.mono).await.unwrap()
    }

    async fn recorded(&self, protocol: Protocol) -> (Carried<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        self.recorded_by(&self.recordings(), protocol).await
    }

    async fn recorded_by(
        &self,
        recordings: &Recordings,
        protocol: Protocol,
    ) -> (Carried<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        let recording = self.recording_by(recordings).await;
        let observer = Observer::new(Some(tap(protocol)), Some(recording));
        self.observed(4 * CHUNK, Bounds::default(), observer)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.rec", self.trail.id.as_str()))
    }

    /// The heartbeats in the ledger.
    fn heartbeats(&self) -> Vec<Value> {
        self.ledger.drive();
        let reader = ledger::Reader::open(self.folder.path()).unwrap();
        let records = reader
            .records_from(0)
            .map(|record| serde_json::from_slice::<Value>(&record.unwrap().leaf).unwrap());
        records.filter(|record| record["kind"] == "heartbeat").collect()
    }

    /// The clock of the records follows the one that timers wait for.
    fn set_clock(&self, began: Instant) {
        let now = BEGIN.plus(began.elapsed()).unix_nanos();
        self.world.hand.store(now, Ordering::Relaxed);
    }

    async fn finish(&self, carried: &mut Carried<DuplexStream, DuplexStream>) -> (crate::audit::Anchor, bool) {
        let recording = carried.observer.recording.take().unwrap();
        let (how, why) = ("ended".to_owned(), None);
        recording.finish(Ended { how, why }, &carried.heartbeats).await
    }
}

/// What the process wrote, as it is in the file, and the file's end.
fn output(path: &Path, anchors: &[Anchor]) -> (Vec<u8>, Tail, Vec<Noted>) {
    let recording = Read::open(path, &SessionKey::new(KEY), anchors).unwrap();
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut frames = recording.frames();
    while let Some(stamped) = frames.next().unwrap() {
        match stamped.frame {
            Frame::Data {
                channel: Channel::Stdout,
                bytes,
                ..
            } => out.extend_from_slice(bytes),
            Frame::Note { noted, .. } => notes.push(noted),
            _ => {}
        }
    }
    (out, recording.tail(), notes)
}

fn anchor(heartbeat: &Value) -> Anchor {
    let kept = &heartbeat["recording"];
    let hash = hex::decode(kept["hash"].as_str().unwrap()).unwrap();
    Anchor::of_root(kept["chunks"].as_u64().unwrap(), hash.try_into().unwrap()).unwrap()
}

/// Seconds since the session began.
fn second(record: &Value) -> u64 {
    let at = model::time::Timestamp::parse(record["t"].as_str().unwrap()).unwrap();
    at.since(BEGIN).as_secs()
}

/// The words of a session that ended because it could no longer be recorded; its cause was counted, once.
fn cut(carried: &Carried<DuplexStream, DuplexStream>, over: &Over, cause: UnrecordedCause) -> String {
    assert!(matches!(over, Over::Unrecorded), "{over:?}");
    let recording = carried.observer.recording.as_ref().unwrap();
    for other in UnrecordedCause::ALL {
        let expected = u64::from(*other == cause);
        assert_eq!(recording.metrics().counted(*other), (0, expected), "{other:?}");
    }
    let (answer, why) = carried.outcome(over);
    assert_eq!(answer, Answer::Ended);
    why.unwrap()
}

/// Reads and forgets. Polled behind the tunnel, so that nothing but the tunnel itself wakes it.
async fn unread(mut stream: DuplexStream) {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_something_passes_the_ledger_is_told_every_ten_seconds_what_is_kept() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    let began = Instant::now();
    let talking = async {
        for _ in 0..100 {
            pod.write_all(&stdout(b"x")).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            stage.set_clock(began);
        }
        // Nothing for 40 minutes.
        for pause in [1; 20].into_iter().chain([60; 40]) {
            sleep(Duration::from_secs(pause)).await;
            stage.set_clock(began);
        }
    };
    tokio::select! {
        biased;
        () = talking => {}
        over = carried.carry(&stage.call, stage.over()) => panic!("{over:?}"),
        () = unread(person) => unreachable!(),
    }
    let (anchors, alive): (Vec<Value>, Vec<Value>) = stage
        .heartbeats()
        .into_iter()
        .partition(|record| record["recording"].is_object());
    let told: Vec<u64> = anchors.iter().map(second).collect();
    assert!(
        told.first().is_some_and(|first| *first <= 3),
        "after the first chunk: {told:?}"
    );
    for pair in told.windows(2) {
        assert!((10..=13).contains(&(pair[1] - pair[0])), "{told:?}");
    }
    let last = *told.last().unwrap();
    assert!(
        (90..=113).contains(&last),
        "to the end of what passed, and not beyond: {told:?}"
    );
    let kept = carried.observer.recording.as_ref().unwrap().anchor();
    assert_eq!(
        Some(anchors.last().unwrap()["recording"]["chunks"].as_u64().unwrap()),
        serde_json::to_value(kept.recorded(false)).unwrap()["chunks"].as_u64(),
        "what the silence began with is anchored, too: {told:?}"
    );
    assert_eq!(
        alive.iter().map(second).collect::<Vec<_>>().len(),
        (100 + 20 + 2_400) / 300,
        "that it goes on is said all the time"
    );
    for heartbeat in anchors.iter().chain(&alive) {
        assert_eq!(heartbeat["id"], stage.trail.id.as_str(), "{heartbeat}");
        assert!(heartbeat["passed"]["bytes_out"].as_u64() > Some(0), "{heartbeat}");
    }
    // Each of them holds for the file as it became.
    let (_, is_whole) = stage.finish(&mut carried).await;
    assert!(is_whole);
    let anchors: Vec<Anchor> = anchors.iter().map(anchor).collect();
    assert!(
        anchors.windows(2).all(|pair| pair[0].number < pair[1].number),
        "{anchors:?}"
    );
    let (out, tail, _) = output(&stage.file(), &anchors);
    assert_eq!((out, tail), (vec![b'x'; 100], Tail::Closed));
    let forged = Anchor {
        hash: [0; 32],
        ..anchors[0]
    };
    assert!(
        matches!(
            Read::open(&stage.file(), &SessionKey::new(KEY), &[forged])
                .unwrap()
                .tail(),
            Tail::Damaged(_)
        ),
        "an anchor that is not the file's is seen"
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_session_that_is_not_recorded_the_ledger_is_told_every_five_minutes_that_it_goes_on() {
    let stage = Stage::new();
    let observer = Observer::new(Some(tap(WEBSOCKET)), None);
    let (mut carried, person, mut pod) = stage.observed(4 * CHUNK, Bounds::default(), observer);
    let began = Instant::now();
    let talking = async {
        // Something all the time, then nothing; half a minute beside what is told, so that neither waits for the other.
        sleep(Duration::from_secs(30)).await;
        for minute in 0..31 {
            if minute < 12 {
                pod.write_all(&stdout(b"x")).await.unwrap();
            }
            sleep(Duration::from_mins(1)).await;
            stage.set_clock(began);
        }
    };
    tokio::select! {
        biased;
        () = talking => {}
        over = carried.carry(&stage.call, stage.over()) => panic!("{over:?}"),
        () = unread(person) => unreachable!(),
    }
    let alive = stage.heartbeats();
    // The clock of the records stands still within a minute.
    let told: Vec<u64> = alive.iter().map(|beat| second(beat).div_ceil(60)).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    for (number, minute) in (1..).zip(told) {
        assert!((5 * number - 1..=5 * number).contains(&minute), "{number}: {minute}");
    }
    let whole = stdout(b"x").len();
    for (beat, pieces) in alive.iter().zip([5, 10, 12, 12, 12, 12]) {
        assert_eq!(beat["id"], stage.trail.id.as_str(), "{beat}");
        assert_eq!(beat["passed"]["bytes_out"], pieces * whole, "{beat}");
        assert!(beat.get("recording").is_none(), "nothing is kept: {beat}");
    }
}

/// promise_8: whoever has more to write than their share of the turns waits for their own, on a clock of their own.
#[tokio::test(start_paused = true)]
async fn promise_8_a_recording_whose_turn_does_not_come_is_refused_as_on_a_slow_disk_and_another_persons_begins() {
    let stage = Stage::new();
    let recordings = stage.recordings();
    let subject = |stage: &Stage| stage.trail.identity.as_deref().unwrap().subject().id().clone();
    let share = recordings.writers.share(&subject(&stage));
    let mut turns = Vec::new();
    for _ in 0..MOST_OF_ONE {
        turns.push(share.turn().await);
    }
    let now = stage.trail.received.mono;
    let refused = recordings.begin(&stage.trail, now).await.unwrap_err();
    assert!(matches!(refused, Unrecorded::Slow), "{refused:?}");
    let other = Stage::of(
        "bo",
        "/api/v1/namespaces/shop/pods/web/exec?command=sh&stdout=true",
        u64::MAX,
    );
    assert_ne!(subject(&other), subject(&stage));
    let recording = recordings.begin(&other.trail, now).await;
    assert!(recording.is_ok(), "{recording:?}");
    drop(turns);
    let recording = recordings.begin(&stage.trail, now).await;
    assert!(recording.is_ok(), "{recording:?}");
}

/// A ledger whose queue is full takes no record that nobody waits for. What is on the disk is told as soon as it takes some again.
#[tokio::test(start_paused = true)]
async fn an_anchor_that_the_ledger_did_not_take_is_told_again_soon() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    let began = Instant::now();
    let filler = || {
        stage
            .ledger
            .append_forget(model::event::RecordKind::Access, b"{\"id\":\"a\"}".to_vec(), Vec::new())
    };
    while filler().is_ok() {}
    let talking = async {
        pod.write_all(&stdout(b"x")).await.unwrap();
        sleep(Duration::from_secs(20)).await;
        assert!(stage.heartbeats().is_empty(), "it was full until now");
        for _ in 0..50 {
            sleep(Duration::from_millis(100)).await;
            stage.set_clock(began);
            if !stage.heartbeats().is_empty() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = talking => {}
        over = carried.carry(&stage.call, stage.over()) => panic!("{over:?}"),
        () = unread(person) => unreachable!(),
    }
    let told = stage.heartbeats();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        (20..=22).contains(&second(told)) && told["recording"].is_object(),
        "{told}"
    );
}

/// Who was asked about the caller, and a slow disk, take their time before the session begins.
#[tokio::test(start_paused = true)]
async fn the_times_of_a_recording_count_from_when_the_request_came() {
    let stage = Stage::new();
    let recordings = stage.recordings();
    let waited = Duration::from_secs(7);
    let now = stage.trail.received.mono + u64::try_from(waited.as_nanos()).unwrap();
    let mut recording = recordings.begin(&stage.trail, now).await.unwrap();
    recording.begins(&stage.beats());
    let channel = Channel::Stdout;
    recording.event(Way::Down, ::recording::tap::Event::Data { channel, bytes: b"$ " });
    let (how, why) = ("ended".to_owned(), None);
    assert!(recording.finish(Ended { how, why }, &stage.beats()).await.1);
    let read = Read::open(&stage.file(), &SessionKey::new(KEY), &[]).unwrap();
    let mut frames = read.frames();
    let mut at = None;
    while let Some(stamped) = frames.next().unwrap() {
        if matches!(stamped.frame, Frame::Data { .. }) {
            at = Some(Duration::from_micros(stamped.at_micros));
        }
    }
    assert!(at >= Some(waited), "{at:?}");
}

/// A process that somebody attaches to runs what it ran before: a command in the request is the caller's word and no more. It
/// would have what is typed read as the files of a `cp`, whose contents are not kept.
#[tokio::test(start_paused = true)]
async fn promise_3_what_is_typed_into_an_attached_process_is_kept_whatever_command_the_request_names() {
    for pod in [
        "namespaces/shop/pods/web/attach?stdin=true&",
        "nodes/n/proxy/attach/shop/web/main?input=1&",
    ] {
        let copy = "command=tar&command=xmf&command=-";
        let stage = Stage::asking(&format!("/api/v1/{pod}{copy}"), u64::MAX);
        let mut recording = stage.recording().await;
        let typed = tar_of(b"rm -rf /srv; ");
        let channel = Channel::Stdin;
        let data = ::recording::tap::Event::Data { channel, bytes: &typed };
        recording.event(Way::Up, data);
        let (how, why) = ("ended".to_owned(), None);
        assert!(recording.finish(Ended { how, why }, &stage.beats()).await.1);
        let read = Read::open(&stage.file(), &SessionKey::new(KEY), &[]).unwrap();
        assert!(read.head().unwrap().unwrap().command.is_empty(), "{pod}");
        let mut frames = read.frames();
        let mut kept = Vec::new();
        while let Some(stamped) = frames.next().unwrap() {
            if let Frame::Data { bytes, .. } = stamped.frame {
                kept.extend_from_slice(bytes);
            }
        }
        assert!(kept == typed, "{pod}: {} of {} bytes are kept", kept.len(), typed.len());
    }
}

/// An archive with one file (POSIX.1-1988 `ustar`).
fn tar_of(contents: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..1].copy_from_slice(b"x");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(contents);
    archive.resize(4 * 512, 0);
    archive
}

/// One piece and then silence: nobody else wakes the tunnel, and it is on the disk after two seconds all the same.
#[tokio::test(start_paused = true)]
async fn what_is_followed_by_silence_is_kept_in_time() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    let talking = async {
        pod.write_all(&stdout(b"only this")).await.unwrap();
        sleep(Duration::from_secs(3)).await;
    };
    tokio::select! {
        biased;
        () = talking => {}
        over = carried.carry(&stage.call, stage.over()) => panic!("{over:?}"),
        () = unread(person) => unreachable!(),
    }
    assert_eq!(output(&stage.file(), &[]).0, b"only this");
    assert_eq!(stage.heartbeats().len(), 1, "and the ledger knows");
}

/// What fills one person's day ends that person's session before it fills the disk that all are recorded on.
#[tokio::test(start_paused = true)]
async fn promise_8_a_session_ends_where_its_recording_fills_its_person_s_day() {
    let stage = Stage::with_a_day_of(3 << 20);
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    let pouring = async {
        for _ in 0..64 {
            pod.write_all(&stdout(&noise(256 << 10))).await.unwrap();
        }
    };
    let over = tokio::select! {
        biased;
        over = carried.carry(&stage.call, stage.over()) => over,
        () = async { tokio::join!(pouring, unread(person)); } => unreachable!(),
    };
    let why = cut(&carried, &over, UnrecordedCause::Day);
    assert!(why.contains("limits.bytesPerDay"), "{why}");
    let (anchor, is_whole) = stage.finish(&mut carried).await;
    assert!(is_whole, "what passed is kept");
    let kept = serde_json::to_value(anchor.recorded(false)).unwrap()["bytes"]
        .as_u64()
        .unwrap();
    assert!(((3 << 20)..(6 << 20)).contains(&kept), "{kept}");
}

/// Words of ours come behind the message that is under way. One that never ends is not waited for in memory.
#[tokio::test(start_paused = true)]
async fn promise_8_a_farewell_reads_no_more_than_two_chunks_of_a_message_without_an_end() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    let endless = [&[0x82, 127], &(1_u64 << 40).to_be_bytes()[..], &[1]].concat();
    pod.write_all(&endless).await.unwrap();
    let begun = poll_fn(|cx| Poll::Ready(carried.poll(cx))).await;
    assert!(begun.is_pending(), "{begun:?}");
    let pouring = async {
        let noise = noise(CHUNK);
        for _ in 0..64 {
            pod.write_all(&noise).await.unwrap();
        }
    };
    let telling = async {
        carried
            .say_farewell("ended by the gateway: enough", CloseCode::Policy)
            .await;
        let waiting = carried.observer.recording.as_ref().unwrap().waiting_bytes();
        assert!((CHUNK..4 * CHUNK).contains(&waiting), "{waiting}");
    };
    tokio::select! {
        biased;
        () = telling => {}
        () = async { tokio::join!(pouring, unread(person)); } => unreachable!(),
    }
    assert!(stage.finish(&mut carried).await.1, "what was read is kept");
}

/// The first chunk, the last ones, and one that is on its way to the disk when the session ends: whoever opens sessions and
/// lets them end at once fills the disk with them, too.
#[tokio::test]
async fn promise_8_each_byte_of_a_recording_counts_against_its_person_s_day() {
    let stage = Stage::new();
    for busy in [false, true] {
        let beats = stage.beats();
        assert_eq!(beats.charged(), 0);
        std::fs::remove_file(stage.file()).ok();
        let mut recording = stage.begun().await;
        assert_eq!(beats.charged(), 0, "a session that never begins leaves no file");
        recording.begins(&beats);
        let first = std::fs::metadata(stage.file()).unwrap().len();
        assert_eq!(beats.charged(), first);
        let noise = noise(if busy { CHUNK + 4_096 } else { 4_096 });
        for bytes in noise.chunks(32_768) {
            let channel = Channel::Stdout;
            recording.event(Way::Down, ::recording::tap::Event::Data { channel, bytes });
        }
        assert_eq!(recording.has_a_chunk(), busy);
        poll_fn(|cx| Poll::Ready(recording.poll(cx, &beats))).await.unwrap();
        assert_eq!(recording.is_busy(), busy);
        let (how, why) = ("ended".to_owned(), None);
        assert!(recording.finish(Ended { how, why }, &beats).await.1);
        let all = std::fs::metadata(stage.file()).unwrap().len();
        assert!(all >= first + noise.len() as u64, "{all}");
        assert_eq!(beats.charged(), all, "busy: {busy}");
    }
}

/// Bytes that neither compress nor look like a secret.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// A limit on the size of files holds for a whole process: such a test runs itself in one of its own. True in there.
fn is_alone(name: &str) -> bool {
    const ALONE: &str = "GATESCRIBE_TEST_LIMITED";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    // Whoever ignores the signal is told by the write.
    let run = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("session::tunnel::tests::recorded::{name}"),
            "--nocapture",
        ])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// No file grows beyond so many bytes; without a number beyond what it could before.
fn disk_takes(bytes: Option<u64>) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, bytes.unwrap_or(hard), hard).unwrap();
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

#[test]
fn while_the_disk_takes_nothing_nothing_is_read_and_no_chunk_is_lost() {
    if !is_alone("while_the_disk_takes_nothing_nothing_is_read_and_no_chunk_is_lost") {
        return;
    }
    paused().block_on(async {
        let stage = Stage::new();
        let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
        let passed = Arc::clone(&carried.heartbeats.bytes_out);
        let passed = || passed.load(Ordering::Relaxed);
        let noise = noise(5 * CHUNK);
        let messages: Vec<Vec<u8>> = noise.chunks(32_768).map(stdout).collect();
        let all: u64 = messages.iter().map(|message| message.len() as u64).sum();
        disk_takes(Some(std::fs::metadata(stage.file()).unwrap().len() + 100));
        let talking = async {
            for message in &messages {
                pod.write_all(message).await.unwrap();
            }
        };
        // The first full chunk is tried in vain, and the next one is full as well.
        let looking = async {
            sleep(Duration::from_secs(3)).await;
            let stalled = passed();
            let most = 2 * CHUNK + 4 * 64 * 1024;
            assert!((CHUNK as u64..=most as u64).contains(&stalled), "{stalled} of {all}");
            sleep(Duration::from_secs(1)).await;
            assert_eq!(passed(), stalled, "nothing more is read");
            disk_takes(None);
            while passed() < all {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            biased;
            _ = async { tokio::join!(talking, looking) } => {}
            over = carried.carry(&stage.call, stage.over()) => panic!("{over:?}"),
            () = unread(person) => unreachable!(),
        }
        let (_, is_whole) = stage.finish(&mut carried).await;
        assert!(is_whole);
        let (out, tail, _) = output(&stage.file(), &[]);
        assert!(out == noise, "every byte is kept");
        assert_eq!(tail, Tail::Closed);
    });
}

#[test]
fn a_disk_that_fails_for_longer_than_five_seconds_ends_the_session_with_words() {
    if !is_alone("a_disk_that_fails_for_longer_than_five_seconds_ends_the_session_with_words") {
        return;
    }
    paused().block_on(async {
        let stage = Stage::new();
        let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
        let began = Instant::now();
        disk_takes(Some(std::fs::metadata(stage.file()).unwrap().len() + 10));
        let talking = async {
            pod.write_all(&stdout(b"what cannot be kept")).await.unwrap();
            std::future::pending::<()>().await;
        };
        let over = tokio::select! {
            biased;
            () = talking => unreachable!(),
            over = carried.carry(&stage.call, stage.over()) => over,
            () = unread(person) => unreachable!(),
        };
        assert_eq!(
            cut(&carried, &over, UnrecordedCause::DiskFull),
            "ended by the gateway: the disk of recordings is full"
        );
        // Two seconds until the chunk is due, five in which it is tried again.
        assert!((7..=8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        let (anchor, is_whole) = stage.finish(&mut carried).await;
        assert!(!is_whole, "the record says that not all is kept");
        assert!(stage.heartbeats().is_empty(), "nothing is anchored that is not there");
        disk_takes(None);
        let kept = serde_json::to_value(format!("{anchor:?}")).unwrap();
        assert!(kept.as_str().is_some_and(|kept| kept.contains("chunks: 1")), "{kept}");
        assert_eq!(output(&stage.file(), &[]).1, Tail::Open, "what was there is whole");
    });
}

#[test]
fn a_disk_that_takes_nothing_at_the_beginning_leaves_no_file_and_no_session() {
    if !is_alone("a_disk_that_takes_nothing_at_the_beginning_leaves_no_file_and_no_session") {
        return;
    }
    paused().block_on(async {
        let stage = Stage::new();
        let recordings = stage.recordings();
        // Room for the file's own header, and for nothing behind it.
        disk_takes(Some(40));
        let why = recordings
            .begin(&stage.trail, stage.trail.received.mono)
            .await
            .unwrap_err();
        disk_takes(None);
        assert_eq!(why.cause(), UnrecordedCause::DiskFull, "{why:?}");
        while stage.file().exists() {
            // It is removed on a thread that may block.
            sleep(Duration::from_millis(1)).await;
        }
    });
}

/// A write that hangs for longer than the end is waited for: the record says then that not all is there, and so it stays.
#[test]
fn nothing_is_sealed_behind_the_record_of_the_end() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let stage = Stage::new();
        let mut recording = stage.recording().await;
        let channel = Channel::Stdout;
        let bytes = b"what cannot be kept".as_slice();
        recording.event(Way::Down, ::recording::tap::Event::Data { channel, bytes });
        let before = std::fs::metadata(stage.file()).unwrap().len();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hanging = tokio::task::spawn_blocking(move || held.recv());
        let (how, why) = ("ended".to_owned(), None);
        let beats = stage.beats();
        let mut finishing = pin!(recording.finish(Ended { how, why }, &beats));
        assert!(finishing.as_mut().now_or_never().is_none(), "it waits for the disk");
        tokio::time::advance(Duration::from_secs(9)).await;
        let (_, is_whole) = finishing.await;
        assert!(!is_whole);
        drop(release);
        hanging.await.unwrap().unwrap_err();
        // The only thread takes one after another.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        assert_eq!(std::fs::metadata(stage.file()).unwrap().len(), before);
        assert_eq!(output(&stage.file(), &[]).1, Tail::Open);
    });
}

/// Neither room nor an error: a disk whose other end is gone.
#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_a_chunk_and_never_says_so_ends_the_session_in_time() {
    let stage = Stage::new();
    let (mut carried, person, mut pod) = stage.recorded(WEBSOCKET).await;
    carried.observer.recording.as_mut().unwrap().disk_stalls();
    let began = Instant::now();
    let talking = async {
        for _ in 0..30 {
            pod.write_all(&stdout(b"x")).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let over = tokio::select! {
        biased;
        () = talking => unreachable!(),
        over = carried.carry(&stage.call, stage.over()) => over,
        () = unread(person) => unreachable!(),
    };
    assert_eq!(
        cut(&carried, &over, UnrecordedCause::Slow),
        "ended by the gateway: the disk of recordings does not take it in time"
    );
    assert_eq!(began.elapsed().as_secs(), 30);
    let (_, is_whole) = stage.finish(&mut carried).await;
    assert!(!is_whole);
}

/// A store of keys that answers so, or never.
#[derive(Debug, Default)]
struct NoKey {
    answer: std::sync::Mutex<Option<KeyError>>,
}

impl RecordingKeys for NoKey {
    fn new_key(&self, _: &SubjectId, _: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        match self.answer.lock().unwrap().take() {
            Some(error) => async { Err(error) }.boxed(),
            None => std::future::pending().boxed(),
        }
    }

    fn forget(&self, _: &SubjectId, _: &str) {
        panic!("there is none");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_key_no_session_begins_and_a_store_that_never_answers_is_not_waited_for() {
    let io = || Box::new(io::Error::other("/data/state.sqlite"));
    for (answer, cause, seconds) in [
        (Some(KeyError::Store(io())), UnrecordedCause::KeyStore, 0),
        (Some(KeyError::Unopened(io())), UnrecordedCause::Key, 0),
        (None, UnrecordedCause::KeyStore, 5),
    ] {
        let stage = Stage::new();
        let keys = Arc::new(NoKey::default());
        *keys.answer.lock().unwrap() = answer;
        let recordings = Recordings {
            keys: Arc::<NoKey>::clone(&keys),
            ..stage.recordings()
        };
        let began = Instant::now();
        let why = recordings
            .begin(&stage.trail, stage.trail.received.mono)
            .await
            .unwrap_err();
        assert_eq!((why.cause(), began.elapsed().as_secs()), (cause, seconds), "{why:?}");
        assert!(!stage.file().exists());
        recordings.metrics.refused(&stage.trail, &why);
        assert_eq!(recordings.metrics.counted(cause), (1, 0));
        assert_eq!(stage.trail.unrecordable.get(), Some(&cause), "the record says no more");
    }
}

/// H-17: what cannot be read is passed on where nobody has to keep it, and ends the session where somebody does.
#[tokio::test(start_paused = true)]
async fn h_17_bytes_that_cannot_be_read_end_a_session_that_has_to_be_recorded_and_no_other() {
    let garbage = b"\xff\xffthis is no frame of either protocol".as_slice();
    for protocol in [SPDY, WEBSOCKET] {
        let stage = Stage::new();
        let (mut carried, _person, mut pod) = stage.recorded(protocol).await;
        pod.write_all(garbage).await.unwrap();
        let over = carried.carry(&stage.call, stage.over()).await;
        let why = cut(&carried, &over, UnrecordedCause::Damaged);
        assert!(
            why.starts_with(
                "ended by the gateway: what passes cannot be recorded: what went to the person could not be read: "
            ),
            "{protocol:?}: {why}"
        );
        let (_, is_whole) = stage.finish(&mut carried).await;
        assert!(is_whole, "up to there it is kept, and the file says why it ends");
        let (_, tail, notes) = output(&stage.file(), &[]);
        assert_eq!(
            (tail, notes),
            (Tail::Closed, vec![Noted::Torn(Way::Down)]),
            "{protocol:?}"
        );

        let stage = Stage::new();
        let observer = Observer::new(Some(tap(protocol)), None);
        let (mut carried, mut person, mut pod) = stage.observed(4_096, Bounds::default(), observer);
        let talking = async {
            pod.write_all(garbage).await.unwrap();
            pod.write_all(b"and more").await.unwrap();
            let mut read = vec![0; garbage.len() + 8];
            person.read_exact(&mut read).await.unwrap();
            read
        };
        let read = tokio::select! {
            over = carried.carry(&stage.call, stage.over()) => panic!("{protocol:?}: {over:?}"),
            read = talking => read,
        };
        assert_eq!(read, [garbage, b"and more"].concat(), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn h_17_a_protocol_that_nobody_can_read_ends_a_session_that_has_to_be_recorded() {
    let stage = Stage::new();
    let observer = Observer::new(None, Some(stage.recording().await));
    let (mut carried, _person, _pod) = stage.observed(64, Bounds::default(), observer);
    let over = carried.carry(&stage.call, stage.over()).await;
    assert_eq!(
        cut(&carried, &over, UnrecordedCause::Protocol),
        "ended by the gateway: what passes cannot be recorded: its protocol is not known"
    );
}
