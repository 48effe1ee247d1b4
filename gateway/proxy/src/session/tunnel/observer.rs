//! What passes, as the tap reads it: when data passed last, and how the command ended.

use std::task::Context;

use recording::tap::{Channel, Event, Farewell, Protocol, Tap, Torn, Way};
use recording::{Exit as Said, StatusReader};
use tokio::time::Instant;

use super::half::Seen;
use super::recording::{Flow, Recording};
use super::unrecorded::Unrecorded;
use super::websocket::{CloseCode, ServerFrames};
use crate::audit::Heartbeats;

/// Looks at the bytes of one tunnel.
#[derive(Debug)]
pub(super) struct Observer {
    tap: Option<Tap>,
    /// Of a service's WebSocket, which nobody reads: where words of ours may stand.
    frames: Option<ServerFrames>,
    pub(super) recording: Option<Recording>,
    /// Why what passes can no longer be recorded, though it has to be.
    unrecorded: Option<Unrecorded>,
    /// When data passed last; a ping is none. Where nobody can tell what is data, all of it is.
    active: Instant,
    status: StatusReader,
    said: Option<Said>,
    /// Who said first that it ends.
    ended_by: Option<Way>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// It was not run, or not to its end. The cluster's words went to the person, and masked into the recording.
    Failed,
    /// In a version of the protocol that says nothing after success, the cluster ended it without a word.
    Silent,
}

impl Observer {
    pub(super) fn new(tap: Option<Tap>, recording: Option<Recording>) -> Self {
        let unread = recording.is_some() && tap.is_none();
        Self {
            tap,
            frames: None,
            recording,
            unrecorded: unread.then_some(Unrecorded::Protocol),
            active: Instant::now(),
            status: StatusReader::default(),
            said: None,
            ended_by: None,
        }
    }

    /// What passes between a client and a service, which is read by nobody; of a WebSocket its frames are followed.
    pub(super) fn of_service(frames: Option<ServerFrames>) -> Self {
        Self {
            frames,
            ..Self::new(None, None)
        }
    }

    pub(super) const fn active(&self) -> Instant {
        self.active
    }

    /// Takes a piece that was read. Withheld: it has to be recorded and cannot be. After the last for now [`Observer::poll`] has to be
    /// asked before more is read.
    pub(super) fn see(&mut self, way: Way, piece: &[u8]) -> Seen {
        let Some(tap) = &mut self.tap else {
            self.active = Instant::now();
            if let Some(frames) = self.frames.as_mut().filter(|_| way == Way::Down) {
                frames.follow(piece);
            }
            return self.seen();
        };
        let (mut has_data, recording) = (false, &mut self.recording);
        let (status, said, ended_by) = (&mut self.status, &mut self.said, &mut self.ended_by);
        let fed = tap.feed(way, piece, &mut |way, event| {
            if let Some(recording) = recording {
                recording.event(way, event);
            }
            match (event, way) {
                (Event::Data { channel, bytes }, _) => {
                    has_data = true;
                    if (channel, way) == (Channel::Status, Way::Down) {
                        *said = said.take().or_else(|| status.read(bytes));
                    }
                }
                (Event::Farewell, _) => _ = ended_by.get_or_insert(way),
                (Event::Closed { channel } | Event::Reset { channel }, Way::Down) if channel == Channel::Status => {
                    ended_by.get_or_insert(way);
                }
                _ => {}
            }
        });
        let is_torn = tap.is_torn();
        if let Err(torn) = fed {
            self.lost(torn);
        }
        if has_data || is_torn {
            self.active = Instant::now();
        }
        self.seen()
    }

    /// Takes a piece that goes down while words of ours wait for their place: as much as there is before that.
    pub(super) fn see_last(&mut self, piece: &[u8]) -> Seen {
        match &mut self.frames {
            Some(frames) => Seen::PassesUntil(frames.finish_frame(piece)),
            None => self.see(Way::Down, piece),
        }
    }

    /// From here on nobody can tell what is data. The tap is shown the rest all the same: it knows where words may be said.
    fn lost(&mut self, torn: Torn) {
        tracing::warn!(error = %torn, "the bytes of a session could not be read");
        if let Some(recording) = &mut self.recording {
            recording.torn(&torn);
            self.unrecorded = Some(Unrecorded::Damaged(torn));
        }
    }

    /// Moves the recording along; whether bytes may be read. None: the session has to end, and [`Observer::unrecorded`] says why.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heartbeats: &Heartbeats) -> Option<Flow> {
        if self.unrecorded.is_some() {
            return None;
        }
        let Some(recording) = &mut self.recording else {
            return Some(Flow::Goes);
        };
        let flow = recording.poll(cx, heartbeats);
        flow.map_err(|why| self.unrecorded = Some(why)).ok()
    }

    /// Why what passes can no longer be recorded, though it has to be.
    pub(super) fn unrecorded(&self) -> Option<&Unrecorded> {
        self.unrecorded.as_ref()
    }

    /// Counts and logs that the session ends because it can no longer be recorded.
    pub(super) fn is_cut(&self, id: &str) {
        if let (Some(recording), Some(why)) = (&self.recording, &self.unrecorded) {
            recording.metrics().cut(id, why);
        }
    }

    /// Whether so much waits for the disk that nothing should be added to it.
    pub(super) fn is_full(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::is_full)
    }

    fn seen(&self) -> Seen {
        if self.unrecorded.is_some() {
            Seen::Withheld
        } else if self.recording.as_ref().is_some_and(Recording::has_a_chunk) {
            Seen::PassesLast
        } else {
            Seen::Passes
        }
    }

    /// Whether something has passed whose time to be kept wakes nobody before [`Observer::poll`].
    pub(super) fn has_a_new_timer(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::has_a_new_timer)
    }

    /// Whether there are words at all that could be said in this protocol.
    pub(super) fn can_speak(&self) -> bool {
        self.tap.is_some() || self.frames.as_ref().is_some_and(ServerFrames::can_speak)
    }

    /// Whether it is a service's WebSocket.
    pub(super) const fn is_websocket_of_service(&self) -> bool {
        self.frames.is_some()
    }

    /// The bytes that tell the person, if they may be said here.
    pub(super) fn farewell(&self, words: &Farewell, code: CloseCode) -> Option<Vec<u8>> {
        match (&self.tap, &self.frames) {
            (Some(tap), _) => tap.farewell(words),
            (None, Some(frames)) => frames.farewell(code, &words.text),
            (None, None) => None,
        }
    }

    /// Whether a command runs whose end the cluster tells, to somebody who reads it.
    pub(super) fn awaits_exit(&self) -> bool {
        let protocol = self.tap.as_ref().map(Tap::protocol);
        matches!(
            protocol,
            Some(Protocol::SpdyCommand { .. } | Protocol::WebSocketCommand { .. })
        )
    }

    #[cfg(test)]
    pub(super) fn is_torn(&self) -> bool {
        self.tap.as_ref().is_some_and(Tap::is_torn)
    }

    /// The client's side has ended; what the cluster does after that is its answer to it.
    pub(super) fn client_left(&mut self) {
        self.ended_by.get_or_insert(Way::Up);
    }

    /// How the command ended, if the cluster has said so.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.said.clone().or_else(|| self.status.clone().finish()) {
            Some(said) => exit(&said),
            None => (self.ended_by == Some(Way::Down) && self.says_nothing_after_success()).then_some(Exit::Silent),
        }
    }

    fn says_nothing_after_success(&self) -> bool {
        match self.tap.as_ref().map(Tap::protocol) {
            Some(Protocol::SpdyCommand { version } | Protocol::WebSocketCommand { version, .. }) => {
                !version.ends_with_status()
            }
            _ => false,
        }
    }
}

/// None where nobody knows what would have been said.
fn exit(said: &Said) -> Option<Exit> {
    if said.is_cut {
        return None;
    }
    let code = said.code.and_then(|code| i32::try_from(code).ok());
    Some(code.map_or(Exit::Failed, Exit::Code))
}

#[cfg(test)]
mod tests {
    use recording::tap::Version;

    use super::*;

    fn said(code: Option<u32>, text: &str) -> Said {
        Said {
            code,
            text: text.into(),
            is_cut: false,
        }
    }

    #[test]
    fn an_end_is_a_code_or_a_failure_and_nothing_where_the_words_are_cut() {
        assert_eq!(exit(&said(Some(3), "m")), Some(Exit::Code(3)));
        assert_eq!(exit(&said(None, "no such file\nmore")), Some(Exit::Failed));
        assert_eq!(exit(&said(None, "\n")), Some(Exit::Failed));
        let cut = Said {
            is_cut: true,
            ..said(None, "{")
        };
        assert_eq!(exit(&cut), None);
    }

    /// A message of a server on this channel, and its farewell (RFC 6455 §5.2).
    fn message(channel: u8, text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len() + 1).unwrap();
        [&[0x82, length, channel], text].concat()
    }

    const FAREWELL: &[u8] = &[0x88, 2, 3, 232];
    const CLIENTS_FAREWELL: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 3, 232];

    fn observed(version: Version, pieces: &[(Way, &[u8])]) -> Option<Exit> {
        let protocol = Protocol::WebSocketCommand { base64: false, version };
        let mut observer = Observer::new(Some(Tap::new(protocol, Vec::new())), None);
        for (way, piece) in pieces {
            observer.see(*way, piece);
        }
        observer.exit()
    }

    #[test]
    fn before_the_fourth_version_an_end_without_a_word_is_a_good_one() {
        let output = message(1, b"done");
        let good = [(Way::Down, output.as_slice()), (Way::Down, FAREWELL)];
        for old in [Version::V1, Version::V2, Version::V3] {
            assert_eq!(observed(old, &good), Some(Exit::Silent), "{old:?}");
            assert_eq!(observed(old, &good[..1]), None, "{old:?}: it goes on");
            let left = [(Way::Up, CLIENTS_FAREWELL), (Way::Down, FAREWELL)];
            assert_eq!(observed(old, &left), None, "{old:?}: its client left");
            let words = message(3, b"exit status 2");
            let failed = [(Way::Down, words.as_slice()), (Way::Down, FAREWELL)];
            assert_eq!(observed(old, &failed), Some(Exit::Failed), "{old:?}");
        }
        for new in [Version::V4, Version::V5] {
            assert_eq!(observed(new, &good), None, "{new:?} says how it ended");
            let status = message(3, br#"{"status":"Success"}"#);
            assert_eq!(observed(new, &[(Way::Down, status.as_slice())]), Some(Exit::Code(0)));
        }
    }

    #[test]
    fn a_status_that_breaks_off_says_nothing() {
        let begun = message(3, br#"{"status":"Fail"#);
        assert_eq!(observed(Version::V4, &[(Way::Down, begun.as_slice())]), None);
    }
}
