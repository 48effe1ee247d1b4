//! A recording as it is read: lines of JSON (`application/x-ndjson`), each an object with one of these members:
//!
//! - `begin`: `{id, live, standing, why?, head?, note?}`, the first line: who did what where, how the recording stands, and what of
//!   the ledger was not read;
//! - with `format=frames`, by `at` (microseconds since the session began): `out` (base64 of what the process wrote), `in` (how many
//!   bytes were sent to its standard input and are kept), `size` (`[columns, rows]` of the person's terminal), `words` (notes, files,
//!   connections, how it exited);
//! - with the other formats `text`: the next piece of the cast or transcript;
//! - `alive`: nothing came for a while;
//! - `end`: `{standing, why?, upto?, missing?}`, the last line. `damaged` and `incomplete` say with `upto` which chunk is the last
//!   that a hash in the ledger covers, and `damaged` with `missing` that there is no file;
//! - `stopped`: why the reader may not read on, the last line, with `code`, the error that a new question would be answered with:
//!   `invalid_token` where the session has ended, `scope_changed`, or something that passes (`busy`, `temporarily_unavailable`).
//!
//! What is not the ledger's is never sent: each chunk is authenticated before a byte of it is, and the chain is held against the
//! ledger when the file is opened. With `follow` what is sealed later follows at most a second after it is on the disk, and when the
//! session ends it is all held against the ledger again.
//!
//! A reader that does not read costs one chunk (at most 2 MiB, as text) with `frames`; with the others a thread, for at most
//! [`UNREAD`], and 64 KiB. That thread asks every few KiB of the session, whether or not they came to any text, if somebody still
//! reads and still may.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use http::{StatusCode, header};
use recording::{CastVersion, Frame, FrameIter, ReadError, Recording, Stamped, Tail, ViewError, in_words};
use search::{Found, May};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::verdict::Verdict;
use super::{CannotOpen, Known};
use crate::answer::Refused;
use crate::api::Api;
use crate::api::asker::Asker;
use crate::api::parameters::Parameters;
use crate::api::places::{BUSY, Place};
use crate::api::read::AuditAct;
use crate::api::records::{blocking, in_place};
use crate::caller::Caller;

/// How often a file that grows is looked at.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// How often the reader is looked up again where the store says nothing of a change: time ends sessions, too.
const ASKS_EVERY: Duration = Duration::from_secs(15);
/// A sign of life after so many looks without anything new.
const QUIET_LOOKS: u32 = 15;
/// A session that has ended writes its last chunk within this many looks, and its end into the ledger.
const LAST_LOOKS: u32 = 15;
/// A reader of a cast or text that takes nothing for so long is given up.
const UNREAD: Duration = Duration::from_secs(30);
/// A piece of a cast or text.
const PIECE: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Frames,
    Cast(CastVersion),
    Text,
}

/// Reads a recording.
pub(in crate::api) async fn recording(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let parameters = Parameters::read(pairs, &["format", "follow"])?;
    let format = format(parameters.text("format"))?;
    let follow = parameters.truth("follow")?;
    let act = match (format, follow) {
        (Format::Frames, true) => AuditAct::WatchedSession,
        (Format::Frames, false) => AuditAct::PlayedRecording,
        (_, false) => AuditAct::ExportedRecording,
        (_, true) => return Err(Refused::request("only `format=frames` can be followed")),
    };
    let place = Arc::new(api.plays.take(&asker.session.subject_id)?);
    let known = Known::find(&api, &asker, &id, act, Some(May::Recordings)).await?;
    if known.row.recording.is_none() {
        return Err(not_recorded(&known));
    }
    let (opened, known) = open(&api, known, &place).await?;
    let live = api.parts.sessions.one(&known.row.id).is_some();
    let verdict = Verdict::of(&opened, &known);
    let head = opened
        .as_ref()
        .ok()
        .and_then(|recording| recording.head().ok().flatten());
    let mut begin = json!({"id": known.row.id, "live": live, "head": head, "note": known.note});
    add(&mut begin, &verdict);
    let begin = line(&json!({"begin": begin}));
    let body = match (opened, format) {
        (Ok(_), _) if matches!(verdict, Verdict::Nothing { .. }) => Body::from([begin, end(&verdict)].concat()),
        (Err(_), _) => Body::from([begin, end(&verdict)].concat()),
        (Ok(recording), Format::Frames) => {
            let playing = Playing {
                reader: Reader::new(api, asker),
                known,
                recording: Some(recording),
                next: 0,
                follow,
                begin: Some(begin),
                is_ending: false,
                is_over: false,
                place,
            };
            Body::from_stream(playing.lines())
        }
        (Ok(recording), format) => {
            let writing = Writing {
                recording,
                known,
                format,
                verdict,
                begin,
            };
            Body::from_stream(written(writing, Reader::new(api, asker), place))
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn format(said: Option<&str>) -> Result<Format, Refused> {
    Ok(match said {
        None | Some("frames") => Format::Frames,
        Some("asciicast") => Format::Cast(CastVersion::V3),
        Some("asciicast-v2") => Format::Cast(CastVersion::V2),
        Some("text") => Format::Text,
        Some(_) => {
            return Err(Refused::request(
                "`format` takes frames, asciicast, asciicast-v2 or text",
            ));
        }
    })
}

fn not_recorded(known: &Known) -> Refused {
    let why = format!(
        "session {} was not recorded: that needs a rule with `obligations: {{record: true}}` that matches it, or `recording.sessions: all` \
         in the gateway's configuration",
        known.row.id
    );
    Refused::new(StatusCode::NOT_FOUND, "not_recorded", why)
}

type Opened = (Result<Recording, CannotOpen>, Known);

/// In the place of who reads it, also while they have gone and the file is not let go yet.
async fn open(api: &Api, known: Known, place: &Arc<Place>) -> Result<Opened, Refused> {
    let sessions = Arc::clone(&api.parts.sessions);
    let opened = in_place(Arc::clone(place), api.open_time, move |go_on| {
        let opened = known.open(&*sessions, go_on);
        (opened, known)
    })
    .await?;
    match &opened.0 {
        Err(CannotOpen::NotNow(why)) => Err(Refused::unavailable(format!(
            "the recording cannot be looked up: {why}"
        ))),
        Err(error @ CannotOpen::GivenUp) => Err(Refused::unavailable(error.to_string())),
        _ => Ok(opened),
    }
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

fn stopped(refused: &Refused) -> Bytes {
    line(&json!({"stopped": refused.description, "code": refused.error}))
}

/// A thread that read in the file has ended badly.
fn unreadable() -> Bytes {
    stopped(&Refused::unavailable("the recording could not be read on; begin again"))
}

fn end(verdict: &Verdict) -> Bytes {
    line(&json!({ "end": verdict }))
}

fn add(to: &mut Value, verdict: &Verdict) {
    if let (Some(members), Ok(Value::Object(more))) = (to.as_object_mut(), serde_json::to_value(verdict)) {
        members.extend(more);
    }
}

/// Whoever reads.
struct Reader {
    api: Api,
    asker: Asker,
    /// Of the store, when they were last looked up in it.
    revision: u64,
    asked: Instant,
}

impl Reader {
    fn new(api: Api, asker: Asker) -> Self {
        Self {
            revision: api.parts.store.revision(),
            asked: Instant::now(),
            api,
            asker,
        }
    }

    /// Whether there is a reason to look them up again.
    fn is_to_be_asked(&self) -> bool {
        self.revision != self.api.parts.store.revision() || self.asked.elapsed() >= ASKS_EVERY
    }

    /// A person who may see less than before reads no further.
    async fn may_still(&mut self) -> Result<(), Refused> {
        let revision = self.api.parts.store.revision();
        if !self.is_to_be_asked() {
            return Ok(());
        }
        let asker = self.asker.still(&self.api).await?;
        (self.asker, self.revision, self.asked) = (asker, revision, Instant::now());
        Ok(())
    }
}

/// Frames under way to one reader.
struct Playing {
    reader: Reader,
    known: Known,
    /// Away while a thread reads in it; for good when that thread panicked.
    recording: Option<Recording>,
    /// The chunk that comes next.
    next: u64,
    follow: bool,
    begin: Option<Bytes>,
    /// Nothing more is expected but how it stands.
    is_ending: bool,
    is_over: bool,
    place: Arc<Place>,
}

/// What one look at the file came to.
enum Look {
    /// A chunk, as lines.
    Chunk(Vec<u8>),
    /// Nothing more is there.
    Nothing(Tail),
    /// It cannot be read on.
    Broken(ReadError),
}

impl Playing {
    fn lines(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        futures::stream::unfold(self, |mut playing| async move {
            let bytes = playing.next().await?;
            Some((Ok(bytes), playing))
        })
    }

    /// The next lines; none after the last.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        if self.is_over {
            return None;
        }
        let mut looks = 0;
        loop {
            if let Err(refused) = self.reader.may_still().await {
                self.is_over = true;
                return Some(stopped(&refused));
            }
            let goes_on = self.follow && self.reader.api.parts.sessions.one(&self.known.row.id).is_some();
            match self.look().await {
                Some(Look::Chunk(lines)) => {
                    self.next += 1;
                    if !lines.is_empty() {
                        return Some(lines.into());
                    }
                }
                Some(Look::Nothing(Tail::Open | Tail::Torn { .. }))
                    if goes_on || (self.may_grow() && looks < LAST_LOOKS && !self.is_ending) =>
                {
                    looks += 1;
                    if goes_on && looks >= QUIET_LOOKS {
                        return Some(line(&json!({"alive": true})));
                    }
                    tokio::time::sleep(LOOKS_EVERY).await;
                }
                // What its end is takes up to half a minute more, and no reader waits that long behind another one in silence.
                Some(Look::Nothing(_)) if self.follow && !std::mem::replace(&mut self.is_ending, true) => {
                    return Some(line(&json!({"alive": true})));
                }
                Some(Look::Nothing(_)) => return Some(self.end().await),
                Some(Look::Broken(error)) => {
                    self.is_over = true;
                    let verdict = |recording| Verdict::broken(&error, &self.known, recording);
                    return Some(
                        self.recording
                            .as_ref()
                            .map(verdict)
                            .map_or_else(unreadable, |one| end(&one)),
                    );
                }
                None => {
                    self.is_over = true;
                    return Some(unreadable());
                }
            }
        }
    }

    /// Whether it went on when the reader came, so that its last chunk may be under way.
    fn may_grow(&self) -> bool {
        let outcome = self.known.row.outcome.as_ref();
        self.follow && outcome.is_none_or(|outcome| outcome.end == "inFlight")
    }

    /// The next chunk, on a thread that may block. None when that thread panicked.
    async fn look(&mut self) -> Option<Look> {
        let (mut recording, number, follow) = (self.recording.take()?, self.next, self.follow);
        let task = tokio::task::spawn_blocking(move || {
            let look = look(&mut recording, number, follow);
            (recording, look)
        });
        let (recording, look) = task.await.ok()?;
        self.recording = Some(recording);
        Some(look)
    }

    /// How it stands at the end. What grew meanwhile is held against what the ledger says now.
    async fn end(&mut self) -> Bytes {
        self.is_over = true;
        match &self.recording {
            None => unreadable(),
            // What is damaged is so, whatever the ledger comes to say.
            Some(recording) if !self.follow || matches!(recording.tail(), Tail::Damaged(_)) => {
                end(&Verdict::of_opened(recording, &self.known))
            }
            Some(_) => self.end_of_what_grew().await,
        }
    }

    async fn end_of_what_grew(&self) -> Bytes {
        for _ in 0..LAST_LOOKS {
            match self.verdict_now().await {
                Ok(Some(verdict)) => return end(&verdict),
                Ok(None) => tokio::time::sleep(LOOKS_EVERY).await,
                Err(refused) if refused.error == BUSY => tokio::time::sleep(LOOKS_EVERY).await,
                Err(refused) => return stopped(&refused),
            }
        }
        end(&Verdict::Unknown {
            why: "the ledger does not have its end yet, which was waited for".to_owned(),
        })
    }

    /// None while the ledger does not have the session's end.
    async fn verdict_now(&self) -> Result<Option<Verdict>, Refused> {
        let Reader { api, asker, .. } = &self.reader;
        let (archive, sessions) = (Arc::clone(&api.parts.archive), Arc::clone(&api.parts.sessions));
        let (id, scope) = (self.known.row.id.clone(), asker.scope.clone());
        let found = blocking(api, asker, move |go_on| {
            let Found::Yes(shown) = archive.show(&id, &scope, go_on)? else {
                return Ok(None);
            };
            Ok(Some(Known::of(*shown)))
        });
        let gone = || Refused::unavailable("its record could not be found again");
        let known = found.await?.ok_or_else(gone)?;
        // The ledger's own word of the end is waited for.
        let outcome = known.row.outcome.as_ref();
        if outcome.is_none_or(|outcome| outcome.end == "inFlight") {
            return Ok(None);
        }
        let verdict = move |go_on: &mut dyn FnMut() -> bool| Verdict::of(&known.open(&*sessions, go_on), &known);
        in_place(Arc::clone(&self.place), api.examine_time, verdict)
            .await
            .map(Some)
    }
}

fn look(recording: &mut Recording, number: u64, follow: bool) -> Look {
    let mut found = recording.chunk(number);
    if follow && matches!(found, Ok(None)) {
        if let Err(error) = recording.refresh() {
            return Look::Broken(error);
        }
        found = recording.chunk(number);
    }
    match found {
        Ok(Some(plain)) => match lines_of(&plain) {
            Ok(lines) => Look::Chunk(lines),
            Err(error) => Look::Broken(error),
        },
        Ok(None) => Look::Nothing(recording.tail()),
        Err(error) => Look::Broken(error),
    }
}

fn lines_of(plain: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut lines = Vec::new();
    for stamped in FrameIter::new(plain).map_err(ReadError::Frame)? {
        if let Some(value) = value_of(&stamped.map_err(ReadError::Frame)?) {
            lines.extend_from_slice(value.to_string().as_bytes());
            lines.push(b'\n');
        }
    }
    Ok(lines)
}

/// A frame as a player wants it; none for what it does not show.
fn value_of(stamped: &Stamped<'_>) -> Option<Value> {
    use recording::tap::Channel;
    let at = stamped.at_micros;
    match stamped.frame {
        Frame::Data {
            channel: Channel::Stdout | Channel::Stderr,
            bytes,
            ..
        } => Some(json!({"at": at, "out": STANDARD.encode(bytes)})),
        Frame::Data {
            channel: Channel::Stdin,
            bytes,
            ..
        } => Some(json!({"at": at, "in": bytes.len()})),
        Frame::Resize { columns, rows } => Some(json!({"at": at, "size": [columns, rows]})),
        ref other => in_words(other).map(|words| json!({"at": at, "words": words})),
    }
}

/// A cast or text that is to be written.
struct Writing {
    recording: Recording,
    known: Known,
    format: Format,
    verdict: Verdict,
    begin: Bytes,
}

/// A cast or text, written by a thread of its own.
fn written(
    writing: Writing,
    reader: Reader,
    place: Arc<Place>,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    let Writing {
        recording,
        known,
        format,
        verdict,
        begin,
    } = writing;
    let (sender, mut receiver) = mpsc::channel(1);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let out = Out(RefCell::new(Lines {
            sent: Instant::now(),
            sender,
            runtime,
            reader,
            text: Vec::new(),
        }));
        let go_on = &mut || out.0.borrow_mut().goes_on();
        let without_end = match verdict {
            Verdict::GoesOn => "the session goes on",
            _ => "the recording has no end",
        };
        let done = match format {
            Format::Cast(version) => recording.write_cast_while(version, &out, without_end, go_on).map(drop),
            Format::Text | Format::Frames => recording.write_text_while(&out, without_end, go_on).map(drop),
        };
        let verdict = match done {
            Ok(()) => verdict,
            Err(ViewError::Read(error)) => Verdict::broken(&error, &known, &recording),
            // The reader has gone, or was told that they may not read on.
            Err(ViewError::Write(_) | ViewError::GivenUp) => return,
        };
        let mut lines = out.0.into_inner();
        let all = lines.text.len();
        let _ = lines.send_text(all).and_then(|()| lines.send(end(&verdict)));
    });
    let first = futures::stream::once(std::future::ready(begin));
    let rest = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    futures::StreamExt::map(futures::StreamExt::chain(first, rest), Ok)
}

/// Takes text and sends it as lines of JSON; cut at the ends of its own lines.
struct Lines {
    /// When something was sent last.
    sent: Instant,
    sender: mpsc::Sender<Bytes>,
    runtime: tokio::runtime::Handle,
    reader: Reader,
    text: Vec<u8>,
}

/// The lines of one view, to which it writes and of which it asks whether to go on.
struct Out(RefCell<Lines>);

impl Lines {
    /// Whether somebody still reads, and still may. They are told that it goes on where it has nothing to show for a while: of a client
    /// that is gone, its silence alone says nothing.
    fn goes_on(&mut self) -> bool {
        if self.sender.is_closed() || (self.reader.is_to_be_asked() && self.may_still().is_err()) {
            return false;
        }
        let is_quiet = self.sent.elapsed() >= self.reader.api.sign_of_life;
        !is_quiet || self.send(line(&json!({"alive": true}))).is_ok()
    }

    fn may_still(&mut self) -> std::io::Result<()> {
        let Err(refused) = self.runtime.block_on(self.reader.may_still()) else {
            return Ok(());
        };
        self.send(stopped(&refused))?;
        Err(std::io::ErrorKind::PermissionDenied.into())
    }

    fn send(&mut self, bytes: Bytes) -> std::io::Result<()> {
        let sent = self
            .runtime
            .block_on(tokio::time::timeout(UNREAD, self.sender.send(bytes)));
        self.sent = Instant::now();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn send_text(&mut self, upto: usize) -> std::io::Result<()> {
        let rest = self.text.split_off(upto);
        let text = std::mem::replace(&mut self.text, rest);
        if text.is_empty() {
            return Ok(());
        }
        self.may_still()?;
        self.send(line(&json!({"text": String::from_utf8_lossy(&text)})))
    }
}

impl std::io::Write for &Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.borrow_mut();
        lines.text.extend_from_slice(bytes);
        if lines.text.len() >= PIECE
            && let Some(end) = lines.text.iter().rposition(|byte| *byte == b'\n')
        {
            lines.send_text(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let mut lines = self.0.borrow_mut();
        let all = lines.text.len();
        lines.send_text(all)
    }
}

#[cfg(test)]
mod tests {
    use recording::tap::{Channel, Way};

    use super::*;

    #[test]
    fn of_what_was_sent_to_standard_input_a_player_hears_how_much() {
        let value = |channel| {
            let (way, bytes) = (Way::Up, b"rm -rf".as_slice());
            value_of(&Stamped {
                number: 1,
                at_micros: 9,
                frame: Frame::Data { way, channel, bytes },
            })
        };
        assert_eq!(value(Channel::Stdin), Some(json!({"at": 9, "in": 6})));
        assert_eq!(value(Channel::Message { is_text: true }), None);
    }
}
