//! Asciicast: a recording as a player of terminal sessions wants it (asciinema's formats, versions 2 and 3).
//!
//! A view, not the evidence: it is text, so bytes that are no UTF-8 become U+FFFD; stdout and stderr are one. Events: `o` output,
//! `i` input (of commands without a terminal; what is typed into one is not kept), `r` size, `m` what a reader should know, and in
//! version 3 `x` the exit code. Times are exact to the microsecond in both versions, and differences in version 3 add up without drift.
//!
//! Without a terminal no line discipline has put a carriage return in front of each line feed, as a screen needs it; it is added.

mod file;
mod utf8;

use std::io::{self, Write};

use serde::Serialize;

use crate::frame::{Frame, Noted, Stamped};
use crate::head::Head;
use crate::reader::{ReadError, Recording, Tail};
use crate::tap::{Channel, Way};
use crate::transcript::in_words;
pub(crate) use file::file_text;
pub(crate) use utf8::Utf8;

/// The size of a terminal that never said its size.
const USUAL_SIZE: (u16, u16) = (80, 24);
/// How long after the first frame behind the head a first size may come and still be the header's: clients send it after the upgrade.
const SIZE_WITHIN_MICROS: u64 = 500_000;

/// Which asciicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CastVersion {
    /// Times since the beginning.
    V2,
    /// Times since the event before; exit codes.
    V3,
}

/// Why a view cannot be made, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The recording cannot be read on; what came before is written.
    #[error("the recording cannot be shown further")]
    Read(#[from] ReadError),
    /// The view cannot be written.
    #[error("the view of the recording cannot be written")]
    Write(#[from] io::Error),
    /// Whoever wanted the view says that it should not go on.
    #[error("the view of the recording was given up")]
    GivenUp,
}

pub(crate) fn given_up_unless(go_on: &mut dyn FnMut() -> bool) -> Result<(), ViewError> {
    if go_on() { Ok(()) } else { Err(ViewError::GivenUp) }
}

/// Writes a cast, frame by frame.
pub struct CastWriter<W> {
    out: W,
    version: CastVersion,
    is_terminal: bool,
    size: (u16, u16),
    last_micros: u64,
    stdin: Text,
    stdout: Text,
    stderr: Text,
}

/// One stream on its way to text.
#[derive(Debug, Default)]
struct Text {
    utf8: Utf8,
    ends_in_return: bool,
}

impl<W: Write> CastWriter<W> {
    /// Writes the header. `size`: columns and lines at the beginning.
    ///
    /// # Errors
    /// `out` does.
    pub fn new(mut out: W, version: CastVersion, head: &Head, size: Option<(u16, u16)>) -> io::Result<Self> {
        let size = size.unwrap_or(USUAL_SIZE);
        let header = Header::of(version, head, size);
        serde_json::to_writer(&mut out, &header)?;
        out.write_all(b"\n")?;
        Ok(Self {
            out,
            version,
            is_terminal: head.terminal,
            size,
            last_micros: 0,
            stdin: Text::default(),
            stdout: Text::default(),
            stderr: Text::default(),
        })
    }

    /// Writes what a frame shows, if anything.
    ///
    /// # Errors
    /// `out` does.
    pub fn frame(&mut self, stamped: &Stamped<'_>) -> io::Result<()> {
        let at = stamped.at_micros;
        match stamped.frame {
            Frame::Data { channel, bytes, .. } => self.data(at, channel, bytes),
            Frame::Resize { columns, rows } => {
                if self.size == (columns, rows) {
                    return Ok(());
                }
                self.size = (columns, rows);
                self.event(at, "r", &format!("{columns}x{rows}"))
            }
            Frame::Status { code: Some(code), .. } if self.version == CastVersion::V3 => {
                self.event(at, "x", &code.to_string())
            }
            // An exit code is version 3's own event, and in version 2 there is none.
            Frame::Status { code: Some(_), .. } => Ok(()),
            ref other => match in_words(other) {
                Some(words) if !words.is_empty() => self.event(at, "m", &words),
                _ => Ok(()),
            },
        }
    }

    /// Writes what is left of characters that broke off; gives `out` back.
    ///
    /// # Errors
    /// `out` does.
    pub fn finish(mut self) -> io::Result<W> {
        self.break_off()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn break_off(&mut self) -> io::Result<()> {
        for channel in [Channel::Stdin, Channel::Stdout, Channel::Stderr] {
            let text = self.stream(channel).map(|(_, stream)| stream.utf8.finish());
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                self.text(self.last_micros, channel, &text)?;
            }
        }
        Ok(())
    }

    fn data(&mut self, at: u64, channel: Channel, bytes: &[u8]) -> io::Result<()> {
        let Some((_, stream)) = self.stream(channel) else {
            return Ok(());
        };
        let text = stream.utf8.text(bytes);
        self.text(at, channel, &text)
    }

    fn text(&mut self, at: u64, channel: Channel, text: &str) -> io::Result<()> {
        let is_terminal = self.is_terminal;
        let Some((code, stream)) = self.stream(channel) else {
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        if is_terminal || code == "i" {
            return self.event(at, code, text);
        }
        let text = stream.with_returns(text);
        self.event(at, code, &text)
    }

    fn stream(&mut self, channel: Channel) -> Option<(&'static str, &mut Text)> {
        match channel {
            Channel::Stdin => Some(("i", &mut self.stdin)),
            Channel::Stdout => Some(("o", &mut self.stdout)),
            Channel::Stderr => Some(("o", &mut self.stderr)),
            _ => None,
        }
    }

    fn event(&mut self, at: u64, code: &str, data: &str) -> io::Result<()> {
        let at = at.max(self.last_micros);
        let time = match self.version {
            CastVersion::V2 => at,
            CastVersion::V3 => at.saturating_sub(self.last_micros),
        };
        self.last_micros = at;
        let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
        write!(self.out, "[{seconds}.{micros:06}, \"{code}\", ")?;
        serde_json::to_writer(&mut self.out, data)?;
        self.out.write_all(b"]\n")
    }
}

impl<W> std::fmt::Debug for CastWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CastWriter")
            .field("version", &self.version)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Text {
    fn with_returns(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter == '\n' && !self.ends_in_return {
                out.push('\r');
            }
            out.push(letter);
            self.ends_in_return = letter == '\r';
        }
        out
    }
}

impl Recording {
    /// Writes the whole recording as a cast. `without_end` is its last mark where the recording has no end.
    ///
    /// # Errors
    /// The recording is damaged or cannot be read; what came before is written, and a mark that says so. Or `out` fails.
    pub fn write_cast<W: Write>(&self, version: CastVersion, out: W, without_end: &str) -> Result<W, ViewError> {
        self.write_cast_while(version, out, without_end, &mut || true)
    }

    /// As [`Recording::write_cast`], for as long as `go_on` says so, which is asked before each frame.
    ///
    /// # Errors
    /// As there, or it was given up ([`ViewError::GivenUp`]).
    pub fn write_cast_while<W: Write>(
        &self,
        version: CastVersion,
        out: W,
        without_end: &str,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<W, ViewError> {
        let head = self.head()?.ok_or(ReadError::NotARecording)?;
        let mut cast = CastWriter::new(out, version, &head, self.first_size(go_on)?)?;
        let mut frames = self.frames();
        let read = loop {
            match frames.next() {
                Ok(Some(stamped)) => {
                    given_up_unless(go_on)?;
                    cast.frame(&stamped)?;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(words) = self.last_words(&read, without_end) {
            cast.break_off()?;
            cast.event(cast.last_micros, "m", &words)?;
        }
        let out = cast.finish()?;
        read?;
        Ok(out)
    }

    /// What stands last in a view that does not end with the recording's end.
    pub(crate) fn last_words(&self, read: &Result<(), ReadError>, without_end: &str) -> Option<String> {
        match (read, self.tail()) {
            (Err(error), _) => Some(format!("the recording cannot be shown further: {error}")),
            (Ok(()), Tail::Closed) => None,
            (Ok(()), Tail::Open | Tail::Torn { .. } | Tail::Damaged(_)) => Some(without_end.to_owned()),
        }
    }

    /// The size that the terminal had when it began to be used.
    fn first_size(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Option<(u16, u16)>, ViewError> {
        let mut frames = self.frames();
        let mut until = None;
        while let Some(stamped) = frames.next()? {
            given_up_unless(go_on)?;
            if matches!(stamped.frame, Frame::Head(_)) {
                continue;
            }
            let within = || stamped.at_micros.saturating_add(SIZE_WITHIN_MICROS);
            match stamped.frame {
                _ if stamped.at_micros > *until.get_or_insert_with(within) => return Ok(None),
                Frame::Resize { columns, rows } => return Ok(Some((columns, rows))),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// What a note says, for people.
pub(crate) fn note_text(noted: Noted, count: u64, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match noted {
        Noted::InputNotKept => "what is typed is not kept".to_owned(),
        Noted::Masked(secret) => format!("masked: {} ({count})", secret.name()),
        Noted::Torn(Way::Up) => format!("what the person sends cannot be read from here on: {text}"),
        Noted::Torn(Way::Down) => format!("what the pod sends cannot be read from here on: {text}"),
        Noted::TarUnread => format!("not read as tar from here on: {text}"),
        Noted::SizeUnread => "the terminal's size cannot be read from here on".to_owned(),
        Noted::ConnectionsUnlisted => format!("{count} more connections were open at once than are listed"),
        Noted::Other(kind) => format!("a note of kind {kind} of a later release"),
    }
}

#[derive(Serialize)]
struct Header<'a> {
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<Term>,
    timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    command: String,
    title: &'a str,
}

#[derive(Serialize)]
struct Term {
    cols: u16,
    rows: u16,
}

impl<'a> Header<'a> {
    fn of(version: CastVersion, head: &'a Head, (cols, rows): (u16, u16)) -> Self {
        let is_old = version == CastVersion::V2;
        Self {
            version: if is_old { 2 } else { 3 },
            width: is_old.then_some(cols),
            height: is_old.then_some(rows),
            term: (!is_old).then_some(Term { cols, rows }),
            timestamp: head.started.unix_seconds(),
            command: head.command.join(" "),
            title: &head.pod,
        }
    }
}

/// Fuzz entry: any frames make lines of JSON, each an event of a known kind whose time is no step back.
pub fn fuzz_asciicast(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let head = Head {
        session: uuid::Uuid::nil(),
        kind: crate::head::Kind::Exec,
        cluster: String::new(),
        who: String::new(),
        namespace: String::new(),
        pod: String::from_utf8_lossy(rest.get(..rest.len().min(8)).unwrap_or_default()).into_owned(),
        container: None,
        command: Vec::new(),
        terminal: first & 1 == 1,
        input_kept: false,
        reason: None,
        started: model::time::Timestamp::EPOCH,
    };
    let version = if first & 2 == 2 {
        CastVersion::V2
    } else {
        CastVersion::V3
    };
    let Ok(mut cast) = CastWriter::new(Vec::new(), version, &head, None) else {
        return;
    };
    let frames = crate::frame::FrameIter::resume(rest, 0, 0);
    for stamped in frames.map_while(Result::ok) {
        assert!(cast.frame(&stamped).is_ok(), "memory takes everything");
    }
    let out = cast.finish().unwrap_or_default();
    let text = String::from_utf8(out).unwrap_or_default();
    let mut lines = text.split_terminator('\n');
    let header = lines.next().map(serde_json::from_str::<serde_json::Value>);
    assert!(matches!(header, Some(Ok(_))), "the first line is a header");
    let mut last = 0.0;
    for line in lines {
        let event = serde_json::from_str::<(f64, String, String)>(line);
        let Ok((time, code, _)) = event else {
            assert!(line.is_empty() && !line.is_empty(), "`{line}` is no event");
            return;
        };
        assert!(
            ["o", "i", "r", "m", "x"].contains(&code.as_str()),
            "`{code}` is a kind of event"
        );
        let least = if version == CastVersion::V2 { last } else { 0.0 };
        assert!(time >= least, "time never goes back");
        last = time;
    }
}
