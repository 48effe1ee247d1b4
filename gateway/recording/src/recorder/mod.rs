//! The recorder: what a tap says becomes frames.
//!
//! It is called in the task that carries the bytes and does no more there than it must: it copies what is kept into the open
//! chunk, masks it there, and digests what is not kept. Compressing, encrypting and writing are the [`crate::Sealer`]'s, elsewhere.
//!
//! What is kept:
//!
//! | Session | Kept | Not kept |
//! |---|---|---|
//! | a command with a terminal | what it writes, sizes of the terminal, its exit | what is typed: counted by chunk, since a terminal that does not echo reads passwords, and what does echo is in the output |
//! | a command without one | stdin, stdout, stderr, each byte; its exit | |
//! | `cp` (the command is `tar` from stdin or to stdout) | name, mode, size, SHA-256 of each file; what its headers say in words besides | contents; as soon as the stream is no tar, it is kept as any other |
//! | port-forward | connections, ports, bytes and SHA-256 each way, the pod's error | contents |
//! | other upgrades | messages, what control frames carry, bytes and SHA-256 of the messages each way | |
//!
//! Invariants: the open chunk never exceeds its limit, full ones wait in [`Recorder::take`]; any way of cutting the same bytes into
//! events gives the same content; time never goes back; nothing leaves unmasked.

mod connections;
mod copy;
mod sizes;
#[cfg(test)]
mod tests;
mod writer;

use crate::chunk::Chunk;
use crate::frame::{Frame, Noted, TarFile};
use crate::head::{Ended, Finish, Head, Kind, Masking, Rules, Totals};
use crate::mask::{Counts, mask_text};
use crate::status::{Exit, StatusReader};
use crate::tap::{Channel, Control, Event, Torn, Way};
use crate::tar::{Entry, TarReader};
use connections::Connections;
use sizes::SizeReader;
use writer::Writer;

/// Records one session. See the module for what is kept.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    typed: Typed,
    /// The output ended in a carriage return.
    after_return: bool,
    /// The output has not shown yet whether there is a terminal.
    is_judged: bool,
    input_was_noted: bool,
    copy: Option<Copying>,
    sizes: SizeReader,
    status: StatusReader,
    connections: Connections,
    totals: Totals,
}

/// What becomes of what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Typed {
    /// It is kept: nothing echoes it, or nobody can say.
    Kept,
    /// It is counted: it goes to a terminal, which echoes what may be seen.
    Counted,
    /// Whether an attached process has a terminal only its pod knows; a client may say so falsely. Its output tells: a terminal
    /// puts a carriage return in front of each line feed. One such line settles it, because a terminal in raw mode has bare ones,
    /// too; until it comes, a bare one says that there is none.
    Waits(Vec<u8>),
}

impl Typed {
    fn of(head: &Head) -> Self {
        match (head.terminal && !head.input_kept, head.kind) {
            (false, _) => Self::Kept,
            (true, Kind::Attach) => Self::Waits(Vec::new()),
            (true, _) => Self::Counted,
        }
    }
}

/// So much of what is typed waits for a line of output; then it is counted, since it may be a password.
const MOST_WAITING: usize = 64 << 10;

/// The stream of a `cp` that is being read.
#[derive(Debug)]
struct Copying {
    way: Way,
    channel: Channel,
    tar: TarReader,
}

impl Recorder {
    /// Begins a recording; its head is the first frame of the first chunk.
    #[must_use]
    pub fn new(mut head: Head, rules: Rules) -> Self {
        let copy = if head.terminal { None } else { copy::of(&head.command) };
        let mut found = Counts::default();
        if rules.masking == Masking::On {
            mask_head(&mut head, &mut found);
        }
        copy::shorten(&mut head.command);
        let typed = Typed::of(&head);
        let mut recorder = Self {
            writer: Writer::new(rules, found),
            after_return: false,
            is_judged: matches!(typed, Typed::Waits(_)),
            typed,
            input_was_noted: false,
            copy: copy.map(|(way, channel)| Copying {
                way,
                channel,
                tar: TarReader::new(),
            }),
            sizes: SizeReader::default(),
            status: StatusReader::default(),
            connections: Connections::default(),
            totals: Totals::default(),
        };
        let json = serde_json::to_vec(&head).unwrap_or_default();
        recorder.writer.frame(0, &Frame::Head(&json));
        recorder
    }

    /// Takes what a tap saw `at_micros` microseconds after the session began. Never blocks; copies at most the event's bytes.
    pub fn event(&mut self, at_micros: u64, way: Way, event: Event<'_>) {
        match event {
            Event::Data { channel, bytes } => self.data(at_micros, way, channel, bytes),
            Event::Opened { channel } => self.opened(at_micros, way, channel),
            Event::Closed { channel } => self.closed(at_micros, way, channel),
            Event::Reset { channel } => self.reset(at_micros, way, channel),
            Event::Control { kind, bytes } => self.control(at_micros, way, kind, bytes),
            Event::Farewell => self.writer.frame(at_micros, &Frame::Farewell { way }),
        }
    }

    /// A tap could not read on in one direction: the record says so. Whether the session goes on is the carrier's to decide.
    pub fn torn(&mut self, at_micros: u64, torn: &Torn) {
        self.note(at_micros, Noted::Torn(torn.way), 1, torn.why.as_bytes());
    }

    /// Whether a chunk should be taken now: one is full, or the open one is as old as the rules let it become.
    #[must_use]
    pub fn is_due(&self, at_micros: u64) -> bool {
        self.writer.is_due(at_micros)
    }

    /// The next chunk to seal: a full one, else whatever the open one holds. More than one may wait: ask until none comes, or
    /// until [`Recorder::is_due`] says no.
    pub fn take(&mut self, at_micros: u64) -> Option<Chunk> {
        if self.writer.is_next() {
            self.connections.tell_counts(at_micros, &mut self.writer);
        }
        self.writer.take(at_micros)
    }

    /// A chunk that is sealed: its room is used again. Whoever does not give it back only makes the next cost more.
    pub fn give_back(&mut self, chunk: Chunk) {
        self.writer.give_back(chunk.bytes);
    }

    /// Bytes that wait in memory to be taken. A carrier that cannot seal stops reading when this grows.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.writer.waiting_bytes()
    }

    /// What passed up to now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            masked: self.writer.masked(),
            connections: self.connections.opened(),
            ..self.totals
        }
    }

    /// Ends the recording: all chunks that are left, the last of them with the end.
    #[must_use]
    pub fn finish(mut self, at_micros: u64, ended: Ended) -> Vec<Chunk> {
        if let Some(exit) = self.status.finish() {
            self.exited(at_micros, exit);
        }
        self.count_held(at_micros);
        self.finish_copy(at_micros);
        self.connections.finish(at_micros, &mut self.writer);
        self.writer.flush_notes(at_micros);
        let finish = Finish {
            ended,
            totals: self.totals(),
        };
        let json = serde_json::to_vec(&finish).unwrap_or_default();
        self.writer.frame(at_micros, &Frame::End(&json));
        self.writer.finish()
    }

    fn data(&mut self, at: u64, way: Way, channel: Channel, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match channel {
            Channel::Resize => return self.sizes(at, bytes),
            Channel::Status => return self.status(at, bytes),
            Channel::ForwardError { connection, port } => {
                return self.connections.error(at, connection, port, bytes, &mut self.writer);
            }
            Channel::Stdin | Channel::Stdout | Channel::Stderr | Channel::Forward { .. } | Channel::Message { .. } => {
                self.count(way, length)
            }
        }
        if channel == Channel::Stdout && self.is_judged {
            self.judge(at, bytes);
        }
        match channel {
            Channel::Stdin => self.typed(at, way, bytes),
            Channel::Forward { .. } => self.connections.data(at, way, channel, bytes, &mut self.writer),
            Channel::Message { .. } => {
                self.connections.data(at, way, channel, bytes, &mut self.writer);
                self.writer.data(at, way, channel, bytes);
            }
            _ => self.stream(at, way, channel, bytes),
        }
    }

    fn count(&mut self, way: Way, length: u64) {
        let total = match way {
            Way::Up => &mut self.totals.up,
            Way::Down => &mut self.totals.down,
        };
        *total = total.saturating_add(length);
    }

    fn typed(&mut self, at: u64, way: Way, bytes: &[u8]) {
        match &mut self.typed {
            Typed::Kept => self.stream(at, way, Channel::Stdin, bytes),
            Typed::Counted => self.input(at, u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Typed::Waits(held) => {
                held.extend_from_slice(bytes);
                self.writer.touch(at);
                if held.len() > MOST_WAITING {
                    self.count_held(at);
                }
            }
        }
    }

    /// Looks at how lines of an attached process end.
    fn judge(&mut self, at: u64, bytes: &[u8]) {
        for byte in bytes {
            match (byte, self.after_return) {
                (b'\n', true) => {
                    self.count_held(at);
                    self.typed = Typed::Counted;
                    self.is_judged = false;
                    return;
                }
                (b'\n', false) => self.keep_typed(at),
                _ => {}
            }
            self.after_return = *byte == b'\r';
        }
    }

    fn keep_typed(&mut self, at: u64) {
        if let Some(held) = self.held() {
            self.typed = Typed::Kept;
            self.stream(at, Way::Up, Channel::Stdin, &held);
        }
    }

    fn count_held(&mut self, at: u64) {
        if let Some(held) = self.held().filter(|held| !held.is_empty()) {
            self.input(at, u64::try_from(held.len()).unwrap_or(u64::MAX));
        }
    }

    /// What waits, if anything may.
    fn held(&mut self) -> Option<Vec<u8>> {
        match &mut self.typed {
            Typed::Waits(held) => Some(std::mem::take(held)),
            Typed::Kept | Typed::Counted => None,
        }
    }

    /// What was typed into a terminal: how much, not what. The count of a chunk and no finer one, because the rhythm of single
    /// keys tells a password's length.
    fn input(&mut self, at: u64, length: u64) {
        if !self.input_was_noted {
            self.input_was_noted = true;
            self.note(at, Noted::InputNotKept, 1, b"");
        }
        self.writer.input(at, length);
    }

    fn stream(&mut self, at: u64, way: Way, channel: Channel, bytes: &[u8]) {
        match &mut self.copy {
            Some(copying) if (copying.way, copying.channel) == (way, channel) => self.copied(at, bytes),
            _ => self.writer.data(at, way, channel, bytes),
        }
    }

    fn copied(&mut self, at: u64, bytes: &[u8]) {
        let Some(Copying { way, channel, tar }) = &mut self.copy else {
            return;
        };
        let (way, channel) = (*way, *channel);
        let (writer, files) = (&mut self.writer, &mut self.totals.files);
        let unread = tar.read(bytes, &mut |entry| tell_file(at, (way, channel), &entry, writer, files));
        if let Err(unread) = unread {
            self.copy = None;
            self.note(at, Noted::TarUnread, 1, unread.why.as_bytes());
            self.writer.data(at, way, channel, &unread.held);
            self.writer.data(at, way, channel, unread.rest);
        }
    }

    fn finish_copy(&mut self, at: u64) {
        let Some(Copying { way, channel, tar }) = self.copy.take() else {
            return;
        };
        let (entry, held) = tar.finish();
        if let Some(entry) = entry {
            tell_file(at, (way, channel), &entry, &mut self.writer, &mut self.totals.files);
        }
        if !held.is_empty() {
            self.note(
                at,
                Noted::TarUnread,
                1,
                b"the archive ends within the headers of an entry",
            );
            self.writer.data(at, way, channel, &held);
        }
    }

    fn sizes(&mut self, at: u64, bytes: &[u8]) {
        let writer = &mut self.writer;
        self.sizes.read(bytes, |size| match size {
            Some((columns, rows)) => writer.frame(at, &Frame::Resize { columns, rows }),
            None => writer.frame(at, &note(Noted::SizeUnread, 1, b"")),
        });
    }

    fn status(&mut self, at: u64, bytes: &[u8]) {
        if let Some(exit) = self.status.read(bytes) {
            self.exited(at, exit);
        }
    }

    fn exited(&mut self, at: u64, mut exit: Exit) {
        self.totals.exit = exit.code;
        self.writer.mask_text(&mut exit.text);
        let status = Frame::Status {
            code: exit.code,
            text: &exit.text,
        };
        self.writer.frame(at, &status);
    }

    fn control(&mut self, at: u64, way: Way, kind: Control, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.writer.mask_text(&mut bytes);
        let bytes = &bytes;
        self.writer.frame(at, &Frame::Control { way, kind, bytes });
    }

    fn opened(&mut self, at: u64, way: Way, channel: Channel) {
        match channel {
            Channel::Forward { .. } | Channel::Message { .. } => {
                self.connections.open(at, way, channel, &mut self.writer);
            }
            Channel::ForwardError { .. } => {}
            _ => self.writer.frame(at, &Frame::Opened { way, channel }),
        }
    }

    fn closed(&mut self, at: u64, way: Way, channel: Channel) {
        match channel {
            Channel::ForwardError { .. } => return,
            Channel::Status => {
                if let Some(exit) = self.status.finish() {
                    self.exited(at, exit);
                }
            }
            _ => {}
        }
        self.writer.frame(at, &Frame::Closed { way, channel });
        self.connections.closed(at, way, channel, &mut self.writer);
    }

    fn reset(&mut self, at: u64, way: Way, channel: Channel) {
        self.writer.frame(at, &Frame::Reset { way, channel });
        self.connections.reset(at, way, channel, &mut self.writer);
    }

    fn note(&mut self, at: u64, noted: Noted, count: u64, text: &[u8]) {
        self.writer.frame(at, &note(noted, count, text));
    }
}

fn note(noted: Noted, count: u64, text: &[u8]) -> Frame<'_> {
    Frame::Note { noted, count, text }
}

fn tell_file(at: u64, (way, channel): (Way, Channel), entry: &Entry, writer: &mut Writer, files: &mut u64) {
    *files = files.saturating_add(1);
    writer.data(at, way, channel, &entry.unread);
    let file = TarFile {
        way,
        kind: entry.kind,
        mode: entry.mode,
        size: entry.size,
        seen: entry.seen,
        sha256: entry.sha256,
        name: &entry.name,
        link: &entry.link,
    };
    writer.frame(at, &Frame::File(file));
}

/// Replaces known patterns of secrets in the words of a command, as a recording's head does.
pub fn mask_words(words: &mut [String]) {
    mask_command(words, &mut Counts::default());
}

/// Masks the command as one line, since `--password` and what belongs to it are two arguments.
fn mask_command(words: &mut [String], found: &mut Counts) {
    let mut line = words.join(" ").into_bytes();
    mask_text(&mut line, found);
    let mut rest = line.as_slice();
    for argument in words {
        let (masked, behind) = rest.split_at_checked(argument.len()).unwrap_or((rest, &[]));
        *argument = String::from_utf8_lossy(masked).into_owned();
        rest = behind.get(1..).unwrap_or_default();
    }
}

fn mask_head(head: &mut Head, found: &mut Counts) {
    mask_command(&mut head.command, found);
    if let Some(reason) = head.reason.take() {
        let mut reason = reason.into_bytes();
        mask_text(&mut reason, found);
        head.reason = Some(String::from_utf8_lossy(&reason).into_owned());
    }
}
