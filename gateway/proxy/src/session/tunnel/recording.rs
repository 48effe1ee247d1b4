//! The recording of one tunnel: what the tap saw goes into chunks, chunks to the disk on a thread that may block, and their
//! newest hash into the ledger.
//!
//! Invariants: a session begins only when its file is there (promise 3); a chunk is never dropped: while one is being written
//! and the next one is full, nothing more is read from either side; what cannot be kept ends the session.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use model::request::{Action, RequestFacts};
use model::subject::SubjectId;
use recording::tap::{Event, Torn, Way};
use recording::{Chunk, Ended, Head, Kind, Recorder, Root, Rules, SealError, Sealer, SessionKey};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::unrecorded::{KeyError, Missing, RecordingMetrics, Unrecorded};
use super::writers::{Share, Writers};
use crate::audit::{Anchor, Heartbeats, Trail};
use crate::entered::{Entered, of_kubelet};

/// A failing disk is given so long before the session ends.
const WRITES_WITHIN: Duration = Duration::from_secs(5);
/// A disk that neither takes a chunk nor refuses it is waited for so long. Longer than one that refuses: under load a sync takes
/// seconds, and then it is done.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The store of keys is a table with an index.
const KEY_WITHIN: Duration = Duration::from_secs(5);
/// Between two attempts.
const TRIES_AGAIN: Duration = Duration::from_millis(250);
/// The newest hash stands in the ledger at least this often while something passes.
const ANCHORED_EVERY: Duration = Duration::from_secs(10);
/// Where the ledger did not take it.
const ANCHORS_AGAIN: Duration = Duration::from_secs(1);
/// For the last chunks, at the end.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// Which sessions are recorded besides those that a rule wants recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionsToRecord {
    /// None.
    #[default]
    ByRule,
    /// Every one: whatever asks to switch protocols, but watches and logs.
    All,
}

/// Where the keys of recordings are kept.
pub trait RecordingKeys: Send + Sync + std::fmt::Debug {
    /// A new key for this session of this subject, durable before it is given out.
    ///
    /// # Errors
    /// It cannot be had; the session is refused then.
    fn new_key(&self, subject: &SubjectId, session: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>>;

    /// The session never began, so that its key opens nothing: it may be forgotten. Does not block.
    fn forget(&self, subject: &SubjectId, session: &str);
}

/// How sessions are recorded.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// The folder of their files.
    pub folder: PathBuf,
    /// Their keys.
    pub keys: Arc<dyn RecordingKeys>,
    /// Which ones.
    pub which: SessionsToRecord,
    /// Bytes of the disk that recordings leave alone: it may be the ledger's too, and a full ledger stops everybody (promise 8).
    pub keeps_free: u64,
    /// Where those are counted that could not be recorded.
    pub metrics: RecordingMetrics,
    /// Who may write at the same time.
    pub writers: Writers,
}

impl Recordings {
    /// Begins the recording of a session that is about to be asked for: its file is on the disk when this returns. `now` is the
    /// time on the clock that the request was received by, in nanoseconds. In a task of its own: dropped meanwhile, it goes on, so
    /// that a key which is being made is known here and forgotten again, with the file.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn begin(&self, trail: &Arc<Trail>, now: u64) -> Result<Recording, Unrecorded> {
        let (recordings, trail) = (self.clone(), Arc::clone(trail));
        tokio::spawn(async move { recordings.make(&trail, now).await }).await?
    }

    async fn make(&self, trail: &Trail, now: u64) -> Result<Recording, Unrecorded> {
        let since = Duration::from_nanos(now.saturating_sub(trail.received.mono));
        let missing = |what| move || Unrecorded::Missing(what);
        let began = Instant::now().checked_sub(since).ok_or_else(missing(Missing::Clock))?;
        let identity = trail.identity.as_deref().ok_or_else(missing(Missing::Caller))?;
        let subject = identity.subject().id().clone();
        let session = uuid::Uuid::from_bytes(trail.id.bytes());
        let head = head(trail, session).ok_or_else(missing(Missing::Request))?;
        let key = self.key(&subject, trail.id.as_str()).await?;
        let share = self.writers.share(&subject);
        let keys = Arc::clone(&self.keys);
        // From here on, so that nothing is left behind either when nobody waits any more or the first chunk cannot be sealed.
        let unless_begun = RemovedUnlessBegun {
            path: None,
            key: Some(Box::new(move || keys.forget(&subject, &session.to_string()))),
        };
        let rules = Rules::default();
        let mut recorder = Recorder::new(head, rules);
        // Who it is, where and why is on the disk before anything passes.
        let first: Vec<Chunk> = std::iter::from_fn(|| recorder.take(0)).collect();
        let is_over = Arc::<AtomicBool>::default();
        let making = self.made(
            session,
            key,
            first,
            (Arc::clone(&share), Arc::clone(&is_over)),
            unless_begun,
        );
        let made = timeout(ANSWERS_WITHIN, making).await;
        let (sealer, unless_begun) = made.unwrap_or(Err(Unrecorded::Slow))?;
        let metrics = self.metrics.clone();
        Ok(Recording::new(
            began,
            rules,
            recorder,
            sealer,
            (share, is_over),
            unless_begun,
            metrics,
        ))
    }

    /// Asked for in a task of its own: a store that answers too late has made a key all the same, which is durable then and
    /// nobody's.
    async fn key(&self, subject: &SubjectId, session: &str) -> Result<SessionKey, Unrecorded> {
        let (keys, subject, session) = (Arc::clone(&self.keys), subject.clone(), session.to_owned());
        let mut asking = {
            let (keys, subject, session) = (Arc::clone(&keys), subject.clone(), session.clone());
            tokio::spawn(async move { keys.new_key(&subject, &session).await })
        };
        if let Ok(asked) = timeout(KEY_WITHIN, &mut asking).await {
            return Ok(asked??);
        }
        tokio::spawn(async move {
            if let Ok(Ok(_late)) = asking.await {
                keys.forget(&subject, &session);
            }
        });
        Err(KeyError::Silent.into())
    }

    /// The file with its first chunks, on the disk.
    async fn made(
        &self,
        session: uuid::Uuid,
        key: SessionKey,
        first: Vec<Chunk>,
        (share, is_over): (Arc<Share>, Arc<AtomicBool>),
        mut unless_begun: RemovedUnlessBegun,
    ) -> Result<(Box<Sealer>, RemovedUnlessBegun), Unrecorded> {
        let (folder, keeps_free) = (self.folder.clone(), self.keeps_free);
        let make = move || {
            let sealer = Sealer::create(&folder, session, &key)?.keeping_free(keeps_free);
            unless_begun.path = Some(sealer.path().to_owned());
            Ok::<_, SealError>((Box::new(sealer), unless_begun))
        };
        let (sealer, unless_begun) = share.write(make).await??;
        let sealed = seal(&share, sealer, first, is_over).await?;
        sealed.outcome?;
        Ok((sealed.sealer, unless_begun))
    }
}

/// What the request says about the session.
fn head(trail: &Trail, session: uuid::Uuid) -> Option<Head> {
    let (facts, target) = (trail.facts.as_ref()?, trail.target.as_ref()?);
    let kubelets = of_kubelet(facts, target);
    let kind = match (facts.action(), kubelets) {
        (Action::Exec, _) | (Action::Proxy, Some("exec")) => Kind::Exec,
        (Action::Attach, _) | (Action::Proxy, Some("attach")) => Kind::Attach,
        (Action::PortForward, _) | (Action::Proxy, Some("portForward")) => Kind::PortForward,
        (Action::Proxy, _) => Kind::Proxy,
        _ => Kind::Other,
    };
    let query = target.query();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = |name: &str| {
        let wanted = query.clone().filter(|(key, _)| key.as_ref() == name.as_bytes());
        wanted.map(|(_, value)| text(&value)).collect::<Vec<_>>()
    };
    // A kubelet has parameters of its own and takes nothing but `1` (k8s.io/kubernetes `pkg/apis/core/types.go`,
    // k8s.io/cri-streaming `NewOptions`).
    let (output, says_yes): (_, fn(&[u8]) -> bool) = match kubelets {
        Some(_) => ("output", |value| value == b"1"),
        None => ("stdout", is_true),
    };
    let asked = |name: &str| query.first(name).is_some_and(|value| says_yes(&value));
    let runs = matches!(kind, Kind::Exec | Kind::Attach);
    let entered: Option<&Entered> = trail.entered();
    Some(Head {
        session,
        kind,
        cluster: trail.cluster.as_ref()?.as_str().to_owned(),
        who: trail.identity.as_deref()?.subject().username().to_owned(),
        namespace: entered.map_or(facts.namespace(), |pod| &pod.namespace).to_owned(),
        pod: entered.map_or_else(|| place(facts), |pod| pod.pod.to_string()),
        container: entered.and_then(|pod| pod.container.as_deref()).map(str::to_owned),
        // Nothing else runs one. The caller chooses the query, and what is read as a `cp` is kept without its contents (promise 3).
        command: if kind == Kind::Exec { all("command") } else { Vec::new() },
        terminal: runs && asked("tty"),
        // What is typed is not kept where a terminal echoes it, and only who reads the output lets the echo pass.
        input_kept: !runs || !asked(output),
        reason: trail.stated_reason.as_deref().map(str::to_owned),
        started: trail.received.wall,
    })
}

/// `service/name`, `node/name` behind a `proxy` subresource; a pod whose name is none, which no cluster has.
fn place(facts: &RequestFacts) -> String {
    match facts.resource() {
        "pods" => facts.name().to_owned(),
        other => format!("{}/{}", other.trim_end_matches('s'), facts.name()),
    }
}

/// As Go's conversion reads a parameter: anything but these is true (k8s.io/apimachinery `Convert_Slice_string_To_bool`).
fn is_true(value: &[u8]) -> bool {
    !value.eq_ignore_ascii_case(b"false") && value != b"0"
}

/// One recording under way.
#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Recorder,
    /// When the request came: the times of all frames count from there, as the head says.
    began: Instant,
    /// When a chunk is due that is not full.
    chunk_within: Duration,
    /// So many bytes of chunks may wait in memory at the end.
    most_waiting: usize,
    sealing: Sealing,
    /// What its person may write at the same time.
    share: Arc<Share>,
    /// Its end is told: what is not on the disk by now stays away from it.
    is_over: Arc<AtomicBool>,
    /// When the open chunk has to go to the disk though it is not full.
    due: Option<Pin<Box<Sleep>>>,
    /// Nobody is woken at that time yet: a timer wakes whoever polled it.
    is_due_new: bool,
    root: Root,
    /// As many bytes of it count against its person's day already.
    charged: u64,
    anchored: Option<Instant>,
    /// When the ledger is told of what came to the disk since.
    anchor_due: Option<Pin<Box<Sleep>>>,
    unless_begun: RemovedUnlessBegun,
    metrics: RecordingMetrics,
}

#[derive(Debug)]
enum Sealing {
    Idle(Box<Sealer>),
    /// Until then at most.
    Busy(JoinHandle<Sent>, Pin<Box<Sleep>>),
    Over,
}

/// What comes back, unless the thread panicked.
type Sent = Result<Back, JoinError>;

#[derive(Debug)]
struct Back {
    sealer: Box<Sealer>,
    /// Those that are on the disk, and those that could not be brought there.
    chunks: Vec<Chunk>,
    outcome: Result<(), SealError>,
}

impl Recording {
    fn new(
        began: Instant,
        rules: Rules,
        recorder: Recorder,
        sealer: Box<Sealer>,
        (share, is_over): (Arc<Share>, Arc<AtomicBool>),
        unless_begun: RemovedUnlessBegun,
        metrics: RecordingMetrics,
    ) -> Self {
        Self {
            recorder,
            began,
            chunk_within: Duration::from_micros(rules.chunk_micros),
            most_waiting: rules.chunk_bytes.saturating_mul(2),
            root: sealer.root(),
            charged: 0,
            unless_begun,
            sealing: Sealing::Idle(sealer),
            share,
            is_over,
            due: None,
            is_due_new: false,
            anchored: None,
            anchor_due: None,
            metrics,
        }
    }

    /// Where it is counted if it breaks off.
    pub(super) const fn metrics(&self) -> &RecordingMetrics {
        &self.metrics
    }

    /// What stands for what is on the disk.
    pub(crate) fn anchor(&self) -> Anchor {
        Anchor::of(&self.root)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn event(&mut self, way: Way, event: Event<'_>) {
        let at = self.micros();
        self.recorder.event(at, way, event);
        if self.due.is_none() {
            self.due = Some(Box::pin(sleep_until(Instant::now() + self.chunk_within)));
            self.is_due_new = true;
        }
    }

    /// Whether a chunk is full, or old enough, and has to go to the disk before more is read.
    pub(super) fn has_a_chunk(&self) -> bool {
        self.recorder.is_due(self.micros())
    }

    /// Whether two full chunks wait in memory.
    pub(super) fn is_full(&self) -> bool {
        self.recorder.waiting_bytes() >= self.most_waiting
    }

    /// What passed could not be read.
    pub(super) fn torn(&mut self, torn: &Torn) {
        let at = self.micros();
        self.recorder.torn(at, torn);
    }

    /// Moves chunks to the disk. Ready when nothing more may be read until one is there.
    ///
    /// # Errors
    /// The session has to end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heartbeats: &Heartbeats) -> Result<Flow, Unrecorded> {
        loop {
            while self
                .anchor_due
                .as_mut()
                .is_some_and(|due| due.as_mut().poll(cx).is_ready())
            {
                self.anchors(heartbeats);
            }
            let is_due = self.is_due(cx);
            match &mut self.sealing {
                Sealing::Over => return Err(Unrecorded::Missing(Missing::Sealer)),
                Sealing::Busy(sent, until) => match Pin::new(sent).poll(cx) {
                    Poll::Pending if until.as_mut().poll(cx).is_ready() => return Err(Unrecorded::Slow),
                    Poll::Pending => return Ok(if is_due { Flow::Waits } else { Flow::Goes }),
                    Poll::Ready(sent) => self.arrived(sent, heartbeats)?,
                },
                Sealing::Idle(_) if !is_due => return Ok(Flow::Goes),
                Sealing::Idle(_) => self.send_off(),
            }
        }
    }

    /// Whether nobody is woken yet when what has passed has to go to the disk.
    pub(super) const fn has_a_new_timer(&self) -> bool {
        self.is_due_new
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.is_due_new = false;
        let by_time = self.due.as_mut().is_some_and(|due| due.as_mut().poll(cx).is_ready());
        by_time || self.recorder.is_due(self.micros())
    }

    fn send_off(&mut self) {
        self.due = None;
        let Some(chunk) = self.recorder.take(self.micros()) else {
            return;
        };
        if self.recorder.waiting_bytes() > 0 {
            // What came behind the edge of a full chunk has to be kept in time, too.
            self.due = Some(Box::pin(sleep_until(Instant::now() + self.chunk_within)));
            self.is_due_new = true;
        }
        match std::mem::replace(&mut self.sealing, Sealing::Over) {
            Sealing::Idle(sealer) => {
                let (share, is_over) = (Arc::clone(&self.share), Arc::clone(&self.is_over));
                let sealing = async move { seal(&share, sealer, vec![chunk], is_over).await };
                self.sealing = busy(tokio::spawn(sealing));
            }
            other => self.sealing = other,
        }
    }

    fn arrived(&mut self, sent: Result<Sent, JoinError>, heartbeats: &Heartbeats) -> Result<(), Unrecorded> {
        self.sealing = Sealing::Over;
        let back = sent.flatten()?;
        back.outcome?;
        self.root = back.sealer.root();
        let is_full = self.charges(heartbeats);
        self.sealing = Sealing::Idle(back.sealer);
        for chunk in back.chunks {
            self.recorder.give_back(chunk);
        }
        if is_full {
            return Err(Unrecorded::Day);
        }
        match self.anchored.map(|at| at + ANCHORED_EVERY) {
            Some(due) if Instant::now() < due => {
                self.anchor_due.get_or_insert_with(|| Box::pin(sleep_until(due)));
            }
            _ => self.anchors(heartbeats),
        }
        Ok(())
    }

    /// Tells the ledger what is on the disk.
    fn anchors(&mut self, heartbeats: &Heartbeats) {
        self.anchor_due = if heartbeats.recorded(&self.anchor()) {
            self.anchored = Some(Instant::now());
            None
        } else {
            Some(Box::pin(sleep_until(Instant::now() + ANCHORS_AGAIN)))
        };
    }

    /// Has what came to the disk since then count against its person's day; whether that is full.
    fn charges(&mut self, heartbeats: &Heartbeats) -> bool {
        let more = self.root.bytes.saturating_sub(self.charged);
        self.charged = self.root.bytes;
        heartbeats.fills_the_day(more)
    }

    /// Writes the rest. What stands for the whole, and whether the whole is there.
    pub(super) async fn finish(self, ended: Ended, heartbeats: &Heartbeats) -> (Anchor, bool) {
        let at = self.micros();
        let Self {
            recorder,
            sealing,
            share,
            is_over,
            root,
            charged,
            ..
        } = self;
        let chunks = recorder.finish(at, ended);
        let stops = Arc::clone(&is_over);
        let rest = async move {
            let sealer = match sealing {
                Sealing::Idle(sealer) => sealer,
                Sealing::Busy(sent, _) => {
                    let back = sent.await.flatten().ok()?;
                    back.outcome.ok()?;
                    back.sealer
                }
                Sealing::Over => return None,
            };
            let Back { sealer, outcome, .. } = seal(&share, sealer, chunks, stops).await.ok()?;
            let root = sealer.root();
            let closed = share.write(move || sealer.close().is_ok());
            let is_whole = outcome.is_ok() && closed.await.is_ok_and(|is_closed| is_closed);
            Some((root, is_whole))
        };
        let (root, is_whole) = match timeout(ENDS_WITHIN, rest).await {
            Ok(Some(kept)) => kept,
            Ok(None) | Err(_) => (root, false),
        };
        // The record says what is kept. A thread that still hangs in a write adds no chunk to that one.
        is_over.store(true, Ordering::Release);
        // A full day is for what its person begins next.
        let _ = heartbeats.fills_the_day(root.bytes.saturating_sub(charged));
        (Anchor::of(&root), is_whole)
    }

    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.recorder.waiting_bytes()
    }

    /// Whether a chunk is on its way to the disk.
    #[cfg(test)]
    pub(super) const fn is_busy(&self) -> bool {
        matches!(self.sealing, Sealing::Busy(..))
    }

    /// There is a session: from here on the file stays, however it ends.
    pub(super) fn begins(&mut self, heartbeats: &Heartbeats) {
        (self.unless_begun.path, self.unless_begun.key) = (None, None);
        // As above; a session has passed nothing yet that would have to end it.
        let _ = self.charges(heartbeats);
    }

    /// From here on its disk neither takes anything nor says so.
    #[cfg(test)]
    pub(super) fn disk_stalls(&mut self) {
        self.sealing = busy(tokio::spawn(std::future::pending()));
    }
}

fn busy(sent: JoinHandle<Sent>) -> Sealing {
    Sealing::Busy(sent, Box::pin(sleep_until(Instant::now() + ANSWERS_WITHIN)))
}

/// Without a session there is nothing to keep: the call was refused, or its caller left before it began.
struct RemovedUnlessBegun {
    path: Option<PathBuf>,
    /// Forgets its key.
    key: Option<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for RemovedUnlessBegun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemovedUnlessBegun")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Drop for RemovedUnlessBegun {
    fn drop(&mut self) {
        if let Some(forget) = self.key.take() {
            forget();
        }
        let Some(path) = self.path.take() else { return };
        let remove = move || {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(error = %error, path = %path.display(), "an empty recording could not be removed");
            }
        };
        // A disk that hangs must not hold those up who have nothing to do with it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Whether bytes may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Goes,
    Waits,
}

/// Writes chunks on a thread that may block. A disk that is full or slow for a moment ends no session: what it does not take is
/// tried again, for [`WRITES_WITHIN`]. Once it `is_over` no more of them is begun with.
async fn seal(share: &Arc<Share>, mut sealer: Box<Sealer>, mut chunks: Vec<Chunk>, is_over: Arc<AtomicBool>) -> Sent {
    // From the first failure on: the time before it may have been spent in wait for a turn.
    let mut until = None;
    loop {
        let is_over = Arc::clone(&is_over);
        let writing = share.write(move || {
            let mut write = |chunk| {
                if is_over.load(Ordering::Acquire) {
                    return Err(SealError::GivenUp);
                }
                sealer.seal(chunk)
            };
            let mut written = chunks.iter().enumerate();
            let failed = written.find_map(|(place, chunk)| Some((place, write(chunk).err()?)));
            (sealer, chunks, failed)
        });
        let failed;
        (sealer, chunks, failed) = writing.await?;
        let outcome = match failed {
            Some((done, SealError::Write(_) | SealError::Room { .. }))
                if Instant::now() < *until.get_or_insert_with(|| Instant::now() + WRITES_WITHIN) =>
            {
                chunks.drain(..done);
                tokio::time::sleep(TRIES_AGAIN).await;
                continue;
            }
            Some((_, error)) => Err(error),
            None => Ok(()),
        };
        return Ok(Back {
            sealer,
            chunks,
            outcome,
        });
    }
}

#[cfg(test)]
mod tests {
    use access::decide::Authorization;

    use super::*;
    use crate::identity::{Credential, for_bench};
    use crate::session::bench::World;

    #[test]
    fn a_terminal_is_what_the_server_that_is_asked_takes_for_one() {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let of = |path: &str| {
            let head = head(&world.call(Arc::clone(&person), path, true), uuid::Uuid::nil()).unwrap();
            (head.kind, head.terminal, head.input_kept)
        };
        let kubelet = |path: &str| of(&format!("/api/v1/nodes/n/proxy/{path}"));
        for (path, found) in [
            ("exec/shop/web/main?input=1&output=1&tty=1", (Kind::Exec, true, false)),
            ("exec/shop/web/main?output=1&tty=1&output=0", (Kind::Exec, true, false)),
            ("attach/shop/web/main?output=1&tty=1", (Kind::Attach, true, false)),
            // Nobody reads the echo.
            ("exec/shop/web/main?input=1&tty=1", (Kind::Exec, true, true)),
            ("exec/shop/web/main?stdout=true&tty=1", (Kind::Exec, true, true)),
            // No terminal, to a kubelet.
            ("exec/shop/web/main?output=1&tty=true", (Kind::Exec, false, false)),
            ("portForward/shop/web?port=80", (Kind::PortForward, false, true)),
            ("metrics?tty=1&output=1", (Kind::Proxy, false, true)),
        ] {
            assert_eq!(kubelet(path), found, "{path}");
        }
        // What listens elsewhere on the node says not what it is.
        for path in [
            "exec/a/b/c?output=1&tty=1",
            "attach/a/b/c?output=1&tty=1",
            "portForward/a/b",
        ] {
            let found = of(&format!("/api/v1/nodes/n:31234/proxy/{path}"));
            assert_eq!(found, (Kind::Proxy, false, true), "{path}");
        }
        let pods = |path: &str| of(&format!("/api/v1/namespaces/shop/pods/{path}"));
        assert_eq!(pods("web/exec?stdout=true&tty=true"), (Kind::Exec, true, false));
        assert_eq!(pods("web/attach?stdout=0&tty=true"), (Kind::Attach, true, true));
        assert_eq!(pods("web/exec?output=1&tty=true"), (Kind::Exec, true, true));
        assert_eq!(pods("web:80/proxy/exec?tty=1&output=1"), (Kind::Proxy, false, true));
    }

    #[test]
    fn promise_3_only_what_runs_a_command_has_one() {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        let copy = ["tar", "xmf", "-"].map(str::to_owned).to_vec();
        for (path, command) in [
            ("namespaces/shop/pods/web/exec", copy.clone()),
            ("nodes/n/proxy/exec/shop/web/main", copy),
            ("namespaces/shop/pods/web/attach", Vec::new()),
            ("nodes/n/proxy/attach/shop/web/main", Vec::new()),
            ("namespaces/shop/pods/web/portforward", Vec::new()),
            ("nodes/n/proxy/portForward/shop/web", Vec::new()),
            ("nodes/n:31234/proxy/exec/shop/web/main", Vec::new()),
            ("namespaces/shop/pods/web/proxy/exec", Vec::new()),
            ("namespaces/shop/pods", Vec::new()),
        ] {
            let asked = format!("/api/v1/{path}?command=tar&command=xmf&command=-");
            let head = head(&world.call(Arc::clone(&person), &asked, true), uuid::Uuid::nil()).unwrap();
            assert_eq!(head.command, command, "{path}");
        }
    }

    #[test]
    fn promise_3_the_pod_and_the_container_of_a_recording_are_those_that_the_server_goes_by() {
        let world = World::new(8, Authorization::Enforce);
        let person = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
        for (path, found) in [
            ("nodes/n/proxy/exec/shop/web/main", ("shop", "web", Some("main"))),
            ("nodes/n/proxy/portForward/shop/web", ("shop", "web", None)),
            ("nodes/n/proxy/metrics", ("", "node/n", None)),
            ("nodes/n:8080/proxy/exec/shop/web/main", ("", "node/n:8080", None)),
            ("namespaces/shop/pods/web/exec", ("shop", "web", Some("false"))),
            ("namespaces/shop/pods/web/portforward", ("shop", "web", None)),
            ("namespaces/shop/pods/web:80/proxy/x", ("shop", "web:80", None)),
            ("namespaces/shop/services/web/proxy/x", ("shop", "service/web", None)),
        ] {
            let asked = format!("/api/v1/{path}?container=false");
            let trail = world.call(Arc::clone(&person), &asked, true);
            let head = head(&trail, uuid::Uuid::nil()).unwrap();
            let told = (&*head.namespace, &*head.pod, head.container.as_deref());
            assert_eq!(told, found, "{path}");
        }
    }

    #[test]
    fn h_19_a_parameter_is_true_unless_it_is_a_zero_or_false() {
        for value in ["true", "TRUE", "1", "t", "yes", "", "00", "no", "false "] {
            assert!(is_true(value.as_bytes()), "{value:?}");
        }
        for value in ["0", "false", "False", "FALSE"] {
            assert!(!is_true(value.as_bytes()), "{value:?}");
        }
    }
}
