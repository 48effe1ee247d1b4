//! A recording as the gateway sends it: lines of JSON, from `begin` to `end` (`gateway/console/src/api/sessions/stream.rs`).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::ask::{path_of, refused};
use crate::Exit;
use crate::client::ask::query;
use crate::client::gateway::authorized;
use crate::client::http::HttpError;
use crate::client::lines::{Lines, Live, NoLine, Source, stopped};
use crate::client::session::Ready;
use crate::client::spool::Spool;
use crate::client::trouble::{Trouble, clean};

/// A chunk has at most 2 MiB; no text of JSON is more than six times as long.
const LONGEST: usize = 16 << 20;
/// A refusal is short.
const REFUSAL: usize = 1 << 20;

/// One recording on its way.
pub(super) struct Stream {
    lines: Coming,
    begin: Value,
}

/// What goes on is shown as it comes. What was is taken whole at once and shown at leisure: the gateway gives up a reader that
/// does not read, and a person who plays or pages may do nothing for hours.
enum Coming {
    Live(Lines<Live>),
    Kept(Lines<Spool>),
}

impl Coming {
    async fn next(&mut self) -> Result<Option<Value>, Trouble> {
        match self {
            Self::Live(lines) => value(lines).await,
            Self::Kept(lines) => value(lines).await,
        }
    }
}

/// What comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The process wrote, so long after the session began.
    Out(Duration, Vec<u8>),
    /// Something was sent to its standard input and is kept.
    In,
    /// The person's terminal has this size from then on: columns and lines.
    Size(Duration, u16, u16),
    /// A note, a file, a connection, how it exited.
    Words(String),
    /// The next piece of a cast or text.
    Text(String),
    /// The end, and how the recording stands.
    End(Standing),
}

/// How a recording stands, in the gateway's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Whole,
    GoesOn,
    Closed(String),
    Incomplete(String),
    Nothing(String),
    Damaged(String),
    /// There is no file.
    Missing(String),
    Erased(String),
    Unknown(String),
}

impl Standing {
    /// From an object with `standing` and `why`. What is not known is no proof of being whole.
    pub(super) fn of(value: &Value) -> Self {
        let why = value.get("why").and_then(Value::as_str).map(clean);
        let why = why.unwrap_or_else(|| "the gateway does not say more".to_owned());
        match value.get("standing").and_then(Value::as_str) {
            Some("whole") => Self::Whole,
            Some("goesOn") => Self::GoesOn,
            Some("closed") => Self::Closed(why),
            Some("incomplete") => Self::Incomplete(why),
            Some("erased") => Self::Erased(why),
            Some("nothing") => Self::Nothing(why),
            Some("unknown") => Self::Unknown(why),
            _ if value.get("missing").and_then(Value::as_bool) == Some(true) => Self::Missing(why),
            _ => Self::Damaged(why),
        }
    }

    /// What a command that came to the end says and ends with.
    pub(super) fn judged(&self) -> Result<Exit, Trouble> {
        match self {
            Self::Whole | Self::GoesOn => Ok(Exit::Done),
            Self::Closed(why) => {
                crate::terminal::say(&format!("! the recording is closed; {why}"));
                Ok(Exit::Partly)
            }
            Self::Incomplete(why) => {
                crate::terminal::say(&format!("! the recording has no end: {why}"));
                Ok(Exit::Partly)
            }
            Self::Nothing(why) => Err(Trouble::new(Exit::NotFound, "nothing was recorded")
                .because(why)
                .remedy("gatescribe session show ID says how it ended")),
            Self::Unknown(why) => Err(
                Trouble::new(Exit::Unreachable, "how the recording stands cannot be told now")
                    .because(why)
                    .remedy("try again in a minute; if it stays so, tell whoever runs the gateway"),
            ),
            Self::Damaged(why) => Err(Trouble::new(Exit::Integrity, "the recording is damaged")
                .because(why)
                .remedy("keep the file as it is, and tell whoever runs the gateway")),
            Self::Missing(why) => Err(Trouble::new(Exit::Integrity, "the recording is missing")
                .because(why)
                .remedy("tell whoever runs the gateway to restore it from a backup")),
            Self::Erased(why) => Err(Trouble::new(Exit::NotFound, "the recording is erased")
                .because(why)
                .remedy("gatescribe session show ID says what the ledger still knows")),
        }
    }
}

impl Stream {
    /// Begins to read.
    pub(super) async fn open(ready: &Ready, id: &str, format: &str, follow: bool) -> Result<Self, Trouble> {
        let asked = query(&[("format", Some(format)), ("follow", follow.then_some("true"))]);
        let url = format!("{}/sessions{}/recording{asked}", ready.kept.endpoints.api, path_of(id));
        let answer = ready.client.open(authorized(&url, ready.token.reveal())?).await?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, REFUSAL).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(refused(&http::Response::from_parts(head, body)));
        }
        let host = &ready.kept.gateway;
        let mut lines = if follow {
            Coming::Live(Lines::of(Live::new(body, host), LONGEST))
        } else {
            let broken = host.clone();
            let body = body.map_err(move |cause| HttpError::Broken {
                host: broken.clone(),
                cause,
            });
            Coming::Kept(Lines::of(Spool::take(body, host)?, LONGEST))
        };
        let first = lines.next().await?;
        let begin = first.as_ref().and_then(|first| first.get("begin")).cloned();
        Ok(Self {
            lines,
            begin: begin.ok_or_else(broken_off)?,
        })
    }

    /// Whether the process had a terminal.
    pub(super) fn is_terminal(&self) -> bool {
        self.begin
            .pointer("/head/terminal")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// Whether what passed were messages of a WebSocket behind a `proxy` subresource, or something else that is no session in a pod.
    pub(super) fn is_of_messages(&self) -> bool {
        passes_messages(&self.begin)
    }

    /// What of the ledger was not read, if not all was.
    pub(super) fn note(&self) -> Option<String> {
        self.begin.get("note").and_then(Value::as_str).map(clean)
    }

    /// Whether the session goes on.
    pub(super) fn is_live(&self) -> bool {
        self.begin.get("live").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The next event. After [`Event::End`] nothing comes. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Event, Trouble> {
        loop {
            let line = self.lines.next().await?.ok_or_else(broken_off)?;
            if let Some(event) = event(&line)? {
                return Ok(event);
            }
        }
    }
}

/// Of what has a `head`.
pub(super) fn passes_messages(recording: &Value) -> bool {
    let kind = recording.pointer("/head/kind").and_then(Value::as_str);
    matches!(kind, Some("proxy" | "other"))
}

async fn value<S: Source<Error: Into<Trouble>>>(lines: &mut Lines<S>) -> Result<Option<Value>, Trouble> {
    match lines.next().await {
        Ok(Some(line)) => Ok(Some(serde_json::from_slice(&line).unwrap_or_default())),
        Ok(None) => Ok(None),
        Err(NoLine::Broken(error)) => Err(error.into()),
        Err(NoLine::TooLong) => Err(Trouble::new(Exit::Fault, "the gateway sends no recording")
            .because("a line has no end")
            .remedy("check that the address is the gateway's own")),
    }
}

/// None for signs of life and for what a later gateway says.
pub(super) fn event(line: &Value) -> Result<Option<Event>, Trouble> {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    if let Some(why) = text("stopped") {
        return Err(stopped("the gateway does not go on", why, text("code")));
    }
    if let Some(end) = line.get("end") {
        return Ok(Some(Event::End(Standing::of(end))));
    }
    let at = Duration::from_micros(line.get("at").and_then(Value::as_u64).unwrap_or(0));
    if let Some(out) = text("out") {
        let bytes = STANDARD.decode(out).map_err(|_| broken_off())?;
        return Ok(Some(Event::Out(at, bytes)));
    }
    if line.get("in").is_some() {
        return Ok(Some(Event::In));
    }
    if let Some(size) = line.get("size").and_then(Value::as_array) {
        let number = |place: usize| size.get(place).and_then(Value::as_u64)?.try_into().ok();
        return Ok(Some(Event::Size(at, number(0).unwrap_or(0), number(1).unwrap_or(0))));
    }
    let words = text("words").map(|words| Event::Words(clean(words)));
    Ok(words.or_else(|| text("text").map(|text| Event::Text(text.to_owned()))))
}

fn broken_off() -> Trouble {
    Trouble::new(Exit::Unreachable, "the recording breaks off")
        .because("the gateway closed the connection before it said how the recording ends")
        .remedy("begin again; `gatescribe session show ID` says how it stands")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_line_says_one_thing_and_what_is_not_known_is_passed_over() {
        let read = |line: Value| event(&line).unwrap();
        assert_eq!(
            read(json!({"at": 1_500_000, "out": "G1toaQ=="})),
            Some(Event::Out(Duration::from_millis(1_500), b"\x1b[hi".to_vec()))
        );
        assert_eq!(
            read(json!({"at": 1_000, "size": [100, 24]})),
            Some(Event::Size(Duration::from_millis(1), 100, 24))
        );
        assert_eq!(
            read(json!({"at": 0, "size": [65_536, -1]})),
            Some(Event::Size(Duration::ZERO, 0, 0)),
            "what is no size of a window is none"
        );
        assert_eq!(
            read(json!({"at": 1, "words": "exit 3"})),
            Some(Event::Words("exit 3".to_owned()))
        );
        assert_eq!(read(json!({"at": 1, "in": 7})), Some(Event::In));
        assert_eq!(read(json!({"alive": true})), None);
        assert_eq!(read(json!({"at": 9, "later": 1})), None);
        for (code, exit, remedy) in [
            (json!("invalid_token"), Exit::SignIn, "gatescribe login"),
            (json!("scope_changed"), Exit::NotPermitted, "gatescribe session ls"),
            (json!("temporarily_unavailable"), Exit::Unreachable, "begin again"),
            (json!("busy"), Exit::Unreachable, "begin again"),
            (Value::Null, Exit::Unreachable, "begin again"),
        ] {
            let trouble = event(&json!({"stopped": "it is so", "code": code})).unwrap_err();
            assert_eq!(trouble.exit, exit, "{code}");
            assert!(trouble.text().contains("because  it is so"), "{}", trouble.text());
            assert!(trouble.text().contains(remedy), "{code}: {}", trouble.text());
        }
        assert!(event(&json!({"out": "%"})).is_err());
    }

    #[test]
    fn nothing_but_the_word_whole_makes_a_recording_whole() {
        let end = |standing: &str| Standing::of(&json!({"standing": standing, "why": "because"}));
        assert_eq!(end("whole").judged().unwrap(), Exit::Done);
        assert_eq!(end("incomplete").judged().unwrap(), Exit::Partly);
        assert_eq!(end("closed").judged().unwrap(), Exit::Partly);
        for (standing, exit) in [
            ("damaged", Exit::Integrity),
            ("erased", Exit::NotFound),
            ("nothing", Exit::NotFound),
            ("unknown", Exit::Unreachable),
            ("", Exit::Integrity),
        ] {
            assert_eq!(end(standing).judged().unwrap_err().exit, exit, "{standing}");
        }
        let gone = Standing::of(&json!({"standing": "damaged", "missing": true, "why": "its file is not there"}));
        let gone = gone.judged().unwrap_err();
        assert_eq!(gone.exit, Exit::Integrity);
        assert!(gone.text().contains("restore it from a backup") && !gone.text().contains("keep the file"));
    }
}
