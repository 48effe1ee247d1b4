//! Sessions over a real ledger and real recordings in temporary folders; the clock of the reader stands still where it waits.

mod cost;
mod listing;
mod watching;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use ledger::OutcomeSlot;
use model::event::RecordKind;
use recording::tap::{Channel, Event, Way};
use recording::{Chunk, Ended, Head, Kind, Recorder, Rules, Sealer, SessionKey};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::api::tests::{World, follow, subject, world};
use crate::record::{NotRecorded, SessionEvent};

const KEY: [u8; 32] = [9; 32];

/// What the composition root would know.
pub(in crate::api) struct Known {
    pub(in crate::api) live: Mutex<Vec<LiveSession>>,
    pub(in crate::api) ended: Mutex<Vec<(String, String)>>,
    folder: tempfile::TempDir,
    has_key: AtomicBool,
    store_is_silent: AtomicBool,
    /// No recording comes to an end.
    is_endless: AtomicBool,
    /// As many threads are in one.
    at_work: AtomicUsize,
    /// The places of ends that have not come yet.
    slots: Mutex<HashMap<String, (u64, OutcomeSlot)>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            ended: Mutex::default(),
            folder: tempfile::tempdir().unwrap(),
            has_key: true.into(),
            store_is_silent: false.into(),
            is_endless: false.into(),
            at_work: 0.into(),
            slots: Mutex::default(),
        }
    }
}

impl Known {
    fn file(&self, session: Uuid) -> PathBuf {
        self.folder.path().join(format!("{session}.rec"))
    }
}

impl Sessions for Known {
    fn live(&self) -> Vec<LiveSession> {
        self.live.lock().unwrap().clone()
    }

    fn one(&self, id: &str) -> Option<LiveSession> {
        self.live().into_iter().find(|one| one.id == id)
    }

    fn end(&self, id: &str, why: &str) -> bool {
        let mut live = self.live.lock().unwrap();
        let before = live.len();
        live.retain(|one| one.id != id);
        self.ended.lock().unwrap().push((id.to_owned(), why.to_owned()));
        live.len() < before
    }

    fn recording(
        &self,
        _: &SubjectId,
        session: &str,
        anchors: &[Anchor],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Recording, CannotOpen> {
        if self.is_endless.load(Ordering::SeqCst) {
            self.at_work.fetch_add(1, Ordering::SeqCst);
            let began = std::time::Instant::now();
            // Nobody waits for ever for a thread that nobody can end.
            while go_on() && began.elapsed().as_secs() < 60 {
                std::thread::yield_now();
            }
            self.at_work.fetch_sub(1, Ordering::SeqCst);
        }
        if self.store_is_silent.load(Ordering::SeqCst) {
            return Err(CannotOpen::NotNow("the store does not answer".to_owned()));
        }
        if !self.has_key.load(Ordering::SeqCst) {
            return Err(CannotOpen::NoKey);
        }
        let path = self.folder.path().join(format!("{session}.rec"));
        Recording::open_while(&path, &SessionKey::new(KEY), anchors, go_on).map_err(|error| match error {
            recording::ReadError::GivenUp => CannotOpen::GivenUp,
            recording::ReadError::Io(_) => CannotOpen::Missing,
            other => CannotOpen::Unreadable(other.to_string()),
        })
    }
}

/// What is written down of what people do.
#[derive(Default)]
pub(in crate::api) struct Events(Mutex<Vec<SessionEvent>>, AtomicBool, tokio::sync::RwLock<()>);

impl Events {
    /// What happened and the sentence about it.
    pub(in crate::api) fn said(&self) -> Vec<(&'static str, String)> {
        let events = self.0.lock().unwrap();
        let said = |event: &SessionEvent| (event.what.name(), event.note.clone().unwrap());
        events.iter().map(said).collect()
    }

    /// From now on nothing can be written down, or can again.
    pub(in crate::api) fn fails(&self, fails: bool) {
        self.1.store(fails, Ordering::SeqCst);
    }

    /// Somebody asks for something, and goes away when its record is written and nobody has heard of that yet.
    pub(in crate::api) async fn left_behind_the_record(&self, asked: impl Future) {
        let heard = self.2.write().await;
        let mut asked = Box::pin(asked);
        let written = std::future::poll_fn(|cx| {
            assert!(
                asked.as_mut().poll(cx).is_pending(),
                "it is answered without its record"
            );
            if self.said().is_empty() {
                cx.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        });
        written.await;
        drop(asked);
        drop(heard);
    }
}

impl crate::record::Recorder for Events {
    fn record(&self, event: SessionEvent) -> futures::future::BoxFuture<'_, Result<Option<String>, NotRecorded>> {
        if self.1.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(NotRecorded("disk full".to_owned()))));
        }
        Box::pin(async move {
            self.0.lock().unwrap().push(event);
            drop(self.2.read().await);
            Ok(None)
        })
    }

    fn count(&self, _: Option<&SubjectId>) {}
}

/// A session of alice that is recorded.
struct Taped {
    id: Uuid,
    recorder: Option<Recorder>,
    sealer: Sealer,
    at: u64,
}

impl Taped {
    fn begin(world: &World) -> Self {
        let id = Uuid::now_v7();
        let head = Head {
            session: id,
            kind: Kind::Exec,
            cluster: "prod".to_owned(),
            who: "alice".to_owned(),
            namespace: "shop".to_owned(),
            pod: "web-0".to_owned(),
            container: Some("nginx".to_owned()),
            command: vec!["sh".to_owned()],
            terminal: true,
            input_kept: false,
            reason: None,
            started: world.time(),
        };
        let sealer = Sealer::create(world.sessions.folder.path(), id, &SessionKey::new(KEY)).unwrap();
        let mut taped = Self {
            id,
            recorder: Some(Recorder::new(head, Rules::default())),
            sealer,
            at: 0,
        };
        // As the gateway does it: the head is on the disk before the session is asked for.
        let head = taped.recorder.as_mut().unwrap().take(0).unwrap();
        taped.seal(&head);
        world.session(&taped.id.to_string(), 1, "alice", Some(taped.kept()));
        taped
    }

    fn says(&mut self, seconds: u64, text: &str) {
        self.carries(seconds, Channel::Stdout, text.as_bytes());
    }

    fn carries(&mut self, seconds: u64, channel: Channel, bytes: &[u8]) {
        self.at = seconds * 1_000_000;
        let data = Event::Data { channel, bytes };
        let recorder = self.recorder.as_mut().unwrap();
        recorder.event(self.at, Way::Down, data);
        let chunk = recorder.take(self.at).unwrap();
        self.seal(&chunk);
    }

    fn seal(&mut self, chunk: &Chunk) {
        self.sealer.seal(chunk).unwrap();
    }

    fn finish(&mut self) {
        let ended = Ended {
            how: "answered".to_owned(),
            why: None,
        };
        for chunk in self.recorder.take().unwrap().finish(self.at, ended) {
            self.seal(&chunk);
        }
    }

    fn kept(&self) -> Value {
        let root = self.sealer.root();
        let hash: String = root.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"chunks": root.chunks, "frames": root.frames, "bytes": root.bytes, "hash": hash})
    }

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/sessions/{}{rest}", self.id)
    }
}

impl World {
    fn opening(&self, id: &str, number: u8, name: &str) -> Value {
        json!({"id": id, "t": self.time(), "boot": "b", "cluster": "prod", "by": super::super::tests::by(number, name),
            "req": {"method": "POST", "path": "/api/v1/namespaces/shop/pods/web-0/exec", "verb": "create", "action": "exec", "group": "",
                    "resource": "pods", "subresource": "exec", "namespace": "shop", "name": "web-0"},
            "decision": {"allowed": true, "who": "gateway"}})
    }

    pub(in crate::api) fn session(&self, id: &str, number: u8, name: &str, recording: Option<Value>) {
        let mut open = self.opening(id, number, name);
        if let Some(recording) = recording {
            open["recording"] = recording;
        }
        self.open(id, &open, Vec::new());
    }

    fn open(&self, id: &str, open: &Value, parts: Vec<ledger::Part>) {
        let (ticket, slot) = self.ledger.append_open(open.to_string().into_bytes(), parts).unwrap();
        let seq = ticket.wait().unwrap().seq;
        self.sessions.slots.lock().unwrap().insert(id.to_owned(), (seq, slot));
    }

    pub(in crate::api) fn closed(&self, id: &str, code: i32, recording: Option<Value>) {
        let outcome = json!({"end": "answered", "status": 101, "exit_code": code, "bytes_in": 5, "bytes_out": 7, "took": {"total": 9}});
        let mut close = json!({"id": id, "t": self.time(), "boot": "b", "outcome": outcome});
        if let Some(recording) = recording {
            close["recording"] = recording;
        }
        let (pair, slot) = self.sessions.slots.lock().unwrap().remove(id).unwrap();
        close["pair"] = json!(pair);
        slot.fill(RecordKind::Close, close.to_string().into_bytes())
            .unwrap()
            .wait()
            .unwrap();
    }

    pub(in crate::api) fn live(&self, id: &str, number: u8, name: &str) {
        self.sessions.live.lock().unwrap().push(LiveSession {
            id: id.to_owned(),
            subject: subject(number),
            user: name.to_owned(),
            email: None,
            cluster: "prod".to_owned(),
            service: None,
            namespace: "shop".to_owned(),
            resource: "pods".to_owned(),
            name: "web-0".to_owned(),
            container: None,
            pod: None,
            node: None,
            action: "exec".to_owned(),
            stated_reason: None,
            since: self.time(),
            bytes_in: 1,
            bytes_out: 2,
            is_recorded: true,
        });
    }

    async fn lines(&self, token: &str, target: &str) -> Vec<Value> {
        let mut lines = follow(self, token, target).await;
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    pub(in crate::api) async fn posts(&self, token: &str, target: &str, body: &Value) -> (StatusCode, Value) {
        let (head, body) = self
            .ask(Method::POST, token, target, body.to_string())
            .await
            .into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (head.status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

fn ids(answer: &Value) -> Vec<(&str, bool)> {
    let sessions = answer["sessions"].as_array().unwrap().iter();
    sessions
        .map(|one| (one["id"].as_str().unwrap(), one["live"].as_bool().unwrap()))
        .collect()
}

fn out(lines: &[Value]) -> String {
    use base64::Engine as _;
    let pieces = lines.iter().filter_map(|line| line["out"].as_str());
    let bytes: Vec<u8> = pieces
        .flat_map(|piece| base64::engine::general_purpose::STANDARD.decode(piece).unwrap())
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn one_sees_ones_own_sessions_and_an_auditor_everybodys_those_that_go_on_first() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let (alice, eve) = (world.bearer(&alice), world.bearer(&eve));
    for (id, number, name) in [
        ("a-1", 1, "alice"),
        ("b-1", 2, "bob"),
        ("a-2", 1, "alice"),
        ("b-2", 2, "bob"),
    ] {
        world.session(id, number, name, None);
    }
    world.read("a-read", 1, "alice", "pods");
    world.closed("a-2", 3, None);
    world.closed("b-1", 0, None);
    world.live("a-1", 1, "alice");
    world.live("b-2", 2, "bob");
    let (_, own) = world.get(&alice, "/api/v1/sessions").await;
    assert_eq!(
        (ids(&own), &own["scope"]),
        (vec![("a-1", true), ("a-2", false)], &json!("own"))
    );
    assert_eq!(own["sessions"][1]["outcome"]["exit_code"], 3);
    assert_eq!(
        (&own["sessions"][0]["bytes_out"], &own["sessions"][1]["bytes_out"]),
        (&json!(2), &json!(7))
    );
    let (_, all) = world.get(&eve, "/api/v1/sessions").await;
    assert_eq!(
        ids(&all),
        [("b-2", true), ("a-1", true), ("a-2", false), ("b-1", false)]
    );
    // Page by page each is told once, and as it is.
    let (mut told, mut next) = (Vec::new(), String::new());
    loop {
        let (_, page) = world.get(&eve, &format!("/api/v1/sessions?limit=1{next}")).await;
        told.extend(ids(&page).into_iter().map(|(id, live)| (id.to_owned(), live)));
        let Some(after) = page["next"].as_u64() else { break };
        next = format!("&after={after}");
    }
    told.sort();
    assert_eq!(
        told,
        [("a-1", true), ("a-2", false), ("b-1", false), ("b-2", true)].map(|(id, live)| (id.to_owned(), live))
    );
    let (_, live) = world.get(&eve, "/api/v1/sessions?live=true&q=user:bob").await;
    assert_eq!(ids(&live), [("b-2", true)]);
    let (_, of_bob) = world.get(&eve, "/api/v1/sessions?q=user:bob").await;
    assert_eq!(ids(&of_bob), [("b-2", true), ("b-1", false)]);
    for wrong in ["live=yes", "limit=0", "q=%22", "nothing=1"] {
        assert_eq!(
            world.get(&eve, &format!("/api/v1/sessions?{wrong}")).await.0,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    let (status, _) = world.get(&alice, "/api/v1/sessions/b-1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, read) = world.get(&alice, "/api/v1/sessions/a-read").await;
    assert_eq!((status, &read["error"]), (StatusCode::NOT_FOUND, &json!("no_session")));
    let sentences = world.read_sentences();
    assert!(
        sentences.contains(&"listed all sessions for `user:bob`: 2 shown".to_owned()),
        "{sentences:?}"
    );
}

#[tokio::test]
async fn a_recording_is_shown_played_and_exported_and_each_reading_is_recorded() {
    let world = world();
    let (alice, bob) = (world.signed_in(1, "alice", &[]), world.signed_in(2, "bob", &[]));
    let (token, of_bob) = (world.bearer(&alice), world.bearer(&bob));
    let mut taped = Taped::begin(&world);
    taped.says(1, "\x1b[1mone\r\n");
    taped.says(70, "two\r\n");
    taped.finish();
    world.closed(&taped.name(), 0, Some(taped.kept()));
    let (_, shown) = world.get(&token, &taped.path("")).await;
    assert_eq!(shown["recording"]["standing"], "whole", "{shown}");
    assert_eq!(shown["recording"]["head"]["container"], "nginx");
    assert_eq!(shown["recording"]["finish"]["down"], 14);
    let frames = world.lines(&token, &taped.path("/recording")).await;
    assert_eq!(frames[0]["begin"]["standing"], "whole");
    assert_eq!(out(&frames), "\x1b[1mone\r\ntwo\r\n");
    assert_eq!(
        frames.iter().rfind(|line| line["out"].is_string()).unwrap()["at"],
        70_000_000
    );
    assert_eq!(frames.last().unwrap()["end"]["standing"], "whole");
    let cast = world.lines(&token, &taped.path("/recording?format=asciicast-v2")).await;
    let text: String = cast.iter().filter_map(|line| line["text"].as_str()).collect();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&events[0]["version"], cast.last().unwrap()["end"]["standing"].as_str()),
        (&json!(2), Some("whole"))
    );
    assert!(events.iter().any(|event| event[2] == "two\r\n"), "{text}");
    let plain = world.lines(&token, &taped.path("/recording?format=text")).await;
    assert!(plain[1]["text"].as_str().unwrap().contains("one\ntwo\n"), "{plain:?}");
    assert_eq!(
        world.get(&of_bob, &taped.path("/recording")).await.0,
        StatusCode::NOT_FOUND
    );
    let id = taped.name();
    assert_eq!(
        world.read_sentences(),
        [
            format!("viewed session `{id}` among own sessions: 1 shown"),
            format!("played the recording of session `{id}`, of own sessions: 1"),
            format!("exported the recording of session `{id}`, of own sessions: 1"),
            format!("exported the recording of session `{id}`, of own sessions: 1"),
            format!("played the recording of session `{id}`, of own sessions: 0"),
        ]
    );
    world.notes.fails.store(true, Ordering::SeqCst);
    let (status, _) = world.get(&token, &taped.path("/recording")).await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "what cannot be recorded is not shown"
    );
}

#[tokio::test]
async fn what_is_not_as_the_ledger_says_is_said_and_nothing_behind_it_is_shown() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let mut taped = Taped::begin(&world);
    taped.says(1, "one");
    taped.says(2, "two");
    taped.finish();
    world.closed(&taped.name(), 0, Some(taped.kept()));
    let (path, whole) = (
        world.sessions.file(taped.id),
        std::fs::read(world.sessions.file(taped.id)).unwrap(),
    );
    let standing = async |format: &str| {
        let lines = world
            .lines(&token, &taped.path(&format!("/recording?format={format}")))
            .await;
        (out(&lines), lines.last().unwrap()["end"].clone())
    };
    // Cut behind the second chunk: the first has the head alone.
    let behind = |at: usize| at + 84 + u32::from_le_bytes(*whole[at..].first_chunk().unwrap()) as usize;
    std::fs::write(&path, &whole[..behind(behind(28))]).unwrap();
    for format in ["frames", "asciicast", "text"] {
        let (_, end) = standing(format).await;
        assert_eq!(
            end,
            json!({"standing": "damaged", "upto": 0, "why": match format {
                "frames" => "the file ends after 2 chunks, but the ledger knows chunk 3; up to chunk 0 it is as the ledger says",
                _ => "the recording is damaged: the file ends after 2 chunks, but the ledger knows chunk 3; up to chunk 0 it is as the \
                      ledger says",
            }}),
            "{format}"
        );
    }
    assert_eq!(standing("frames").await.0, "one");
    // A changed byte.
    let mut other = whole.clone();
    other[28 + 84 + 3] ^= 1;
    std::fs::write(&path, &other).unwrap();
    let (shown, end) = standing("frames").await;
    assert_eq!(
        (shown.as_str(), &end["why"]),
        (
            "",
            &json!("the bytes of chunk 0 are damaged; nothing of it is known to be as the ledger says")
        )
    );
    // Away.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        standing("frames").await.1,
        json!({"standing": "damaged", "missing": true, "why": CannotOpen::Missing.to_string()})
    );
    let (_, shown) = world.get(&token, &taped.path("")).await;
    assert_eq!(
        shown["recording"],
        json!({"standing": "damaged", "missing": true, "why": CannotOpen::Missing.to_string()})
    );
    // A store that does not answer says nothing of the recording.
    world.sessions.store_is_silent.store(true, Ordering::SeqCst);
    let (status, shown) = world.get(&token, &taped.path("")).await;
    assert_eq!(
        (status, &shown["recording"]["standing"]),
        (StatusCode::OK, &json!("unknown"))
    );
    let (status, _) = world.get(&token, &taped.path("/recording")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    world.sessions.store_is_silent.store(false, Ordering::SeqCst);
    // Somebody has taken its key away.
    world.sessions.has_key.store(false, Ordering::SeqCst);
    for format in ["text", "frames"] {
        let end = standing(format).await.1;
        let why = end["why"].as_str().unwrap();
        assert_eq!(end["standing"], "damaged", "{end}");
        assert!(
            why.contains("its key is missing") && why.contains("no record says that it was erased"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_recording_whose_end_was_not_read_in_the_ledger_is_called_neither_whole_nor_going_on() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let (mut closed, mut open, gone) = (Taped::begin(&world), Taped::begin(&world), Taped::begin(&world));
    closed.says(1, "one");
    closed.finish();
    open.says(1, "one");
    std::fs::remove_file(world.sessions.file(gone.id)).unwrap();
    world.spoils_the_ledger();
    world.closed(&closed.name(), 0, Some(closed.kept()));
    for taped in [&closed, &open, &gone] {
        let (_, shown) = world.get(&token, &taped.path("")).await;
        let note = shown["note"].as_str().unwrap();
        assert!(note.contains("part of the ledger cannot be read"), "{shown}");
        assert_eq!(shown["recording"]["standing"], "unknown", "{shown}");
        for format in ["frames", "frames&follow=true", "text"] {
            let target = taped.path(&format!("/recording?format={format}"));
            let lines = world.lines(&token, &target).await;
            let begin = &lines[0]["begin"];
            assert_eq!((&begin["standing"], &begin["note"]), (&json!("unknown"), &json!(note)));
            let end = &lines.last().unwrap()["end"];
            assert_eq!(end["standing"], "unknown", "{format} {lines:?}");
            assert!(end["why"].as_str().unwrap().contains(note), "{end}");
        }
    }
}

#[tokio::test]
async fn what_was_not_recorded_says_what_a_rule_would_need() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    world.session("a-1", 1, "alice", None);
    world.closed("a-1", 0, None);
    let (status, answer) = world.get(&token, "/api/v1/sessions/a-1/recording").await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &json!("not_recorded"))
    );
    assert!(
        answer["error_description"]
            .as_str()
            .unwrap()
            .contains("obligations: {record: true}"),
        "{answer}"
    );
    for wrong in ["format=mp4", "format=text&follow=true", "follow=1"] {
        let (status, _) = world
            .get(&token, &format!("/api/v1/sessions/a-1/recording?{wrong}"))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_session_says_why_it_was_allowed_and_what_was_run_also_where_nothing_was_recorded() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let rule = json!({"kind": "roleBinding", "name": "dev", "namespace": "shop", "role": "ClusterRole/edit", "effect": "allow"});
    for (id, sealed, command) in [
        ("a-1", "command=sh&command=-c&command=id", json!(["sh", "-c", "id"])),
        ("a-2", "?", json!({"unreadable": parts::NO_KEY})),
    ] {
        let open = json!({"id": id, "t": world.time(), "boot": "b", "cluster": "prod", "by": super::super::tests::by(1, "alice"),
            "parts": [{"name": "query", "len": 1, "hash": "00", "class": "query"},
                      {"name": "command", "len": sealed.len(), "hash": "00", "class": "command"}],
            "decision": {"allowed": true, "who": "gateway", "rules": [rule], "stated_reason": "TICKET-7"}});
        let part = |text: &str| ledger::Part {
            bytes: text.as_bytes().to_vec(),
        };
        world.open(id, &open, vec![part("container=nginx"), part(sealed)]);
        let (_, shown) = world.get(&token, &format!("/api/v1/sessions/{id}")).await;
        assert_eq!(shown["rules"], json!([rule]), "{shown}");
        let words = shown["words"][0].as_str().unwrap();
        assert!(words.contains("shop/dev") && words.ends_with("allows it."), "{words}");
        assert_eq!((&shown["command"], &shown["recording"]), (&command, &Value::Null));
        assert_eq!(shown["session"]["stated_reason"], "TICKET-7");
    }
}

#[tokio::test]
async fn a_session_that_never_began_has_nothing_and_misses_nothing() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let (refused, left) = (Taped::begin(&world), Taped::begin(&world));
    std::fs::remove_file(world.sessions.file(refused.id)).unwrap();
    for taped in [&refused, &left] {
        let nothing = json!({"chunks": 0, "frames": 0, "bytes": 0, "hash": ""});
        world.closed(&taped.name(), 0, Some(nothing));
        let (_, shown) = world.get(&token, &taped.path("")).await;
        assert_eq!(shown["recording"]["standing"], "nothing", "{shown}");
        for format in ["frames", "text"] {
            let target = taped.path(&format!("/recording?format={format}"));
            let lines = world.lines(&token, &target).await;
            assert_eq!(lines.last().unwrap()["end"]["standing"], "nothing", "{lines:?}");
        }
    }
}

#[tokio::test]
async fn a_session_is_ended_by_its_person_or_an_auditor_and_who_did_is_recorded_first() {
    let world = world();
    let (alice, bob) = (world.signed_in(1, "alice", &[]), world.signed_in(2, "bob", &[]));
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let (alice, bob) = (world.bearer(&alice), world.bearer(&bob));
    for id in ["a-1", "a-2"] {
        world.session(id, 1, "alice", None);
        world.live(id, 1, "alice");
    }
    let reason = json!({"reason": " the change is over "});
    let (status, _) = world.posts(&bob, "/api/v1/sessions/a-1/end", &reason).await;
    assert_eq!(
        status,
        StatusCode::NOT_FOUND,
        "somebody else's looks as if it were not there"
    );
    for wrong in [
        json!({}),
        json!({"reason": "no"}),
        json!({"reason": "two\nlines"}),
        json!({"reason": "ok ok", "more": 1}),
    ] {
        let (status, _) = world.posts(&eve, "/api/v1/sessions/a-1/end", &wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert!(world.sessions.ended.lock().unwrap().is_empty() && world.events.0.lock().unwrap().is_empty());
    let (status, told) = world.posts(&eve, "/api/v1/sessions/a-1/end", &reason).await;
    assert_eq!((status, &told["who"]), (StatusCode::OK, &json!("alice")));
    let (status, _) = world.posts(&alice, "/api/v1/sessions/a-2/end", &reason).await;
    assert_eq!(status, StatusCode::OK);
    let (status, again) = world.posts(&eve, "/api/v1/sessions/a-1/end", &reason).await;
    assert_eq!((status, &again["error"]), (StatusCode::CONFLICT, &json!("over")));
    assert_eq!(
        *world.sessions.ended.lock().unwrap(),
        [
            ("a-1".to_owned(), "ended by eve: the change is over".to_owned()),
            ("a-2".to_owned(), "ended by alice: the change is over".to_owned())
        ]
    );
    assert_eq!(
        world.events.said(),
        [
            (
                "sessionCut",
                "ended session a-1 of alice (exec shop/web-0 at prod): the change is over".to_owned()
            ),
            (
                "sessionCut",
                "ended session a-2 of alice (exec shop/web-0 at prod): the change is over".to_owned()
            )
        ]
    );
}

#[tokio::test]
async fn an_end_that_is_recorded_comes_also_when_whoever_asked_for_it_has_gone() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.session("a-1", 1, "alice", None);
    world.live("a-1", 1, "alice");
    let reason = json!({"reason": "the change is over"});
    let asked = world.posts(&eve, "/api/v1/sessions/a-1/end", &reason);
    world.events.left_behind_the_record(asked).await;
    until(|| !world.sessions.ended.lock().unwrap().is_empty()).await;
    assert_eq!(world.events.said().len(), 1);
}

/// Waits for what another task does.
pub(in crate::api) async fn until(is_so: impl Fn() -> bool) {
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while !is_so() {
        assert!(std::time::Instant::now() < given_up, "it never came");
        tokio::task::yield_now().await;
    }
}
