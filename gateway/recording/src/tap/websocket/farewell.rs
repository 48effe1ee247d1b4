//! The end of a WebSocket on purpose.
//!
//! What a person sees, tried with kubectl v1.36 (k8s.io/client-go/tools/remotecommand, tools/portforward):
//!
//! - a command from v4 on: a `Status` on channel 3, then close 1000. kubectl reads channel 3 to its end and drops what it read if
//!   the end is anything but a normal closure: with 1008 it logs an error for each stream and then prints what it says of the
//!   close frame. With 1000 it prints `error: MESSAGE` and exits with 1.
//! - a command before v4: the text on channel 3, then close 1000: `error: error executing remote command: TEXT`.
//! - a tunnel: see [`super::super::spdy`], then close 1008 if no connection is open.
//! - ports without a tunnel: the text on each error channel, then close 1008 with the text (RFC 6455 §7.4.1, policy violation).
//! - anything else: close 1008 with the text.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

use super::super::Farewell;
use super::channels::Meaning;
use super::{Content, WebSocket};

impl WebSocket {
    /// The bytes that end the session behind what was read Down; None within a message or behind a close frame.
    pub(in super::super) fn farewell(&self, words: &Farewell) -> Option<Vec<u8>> {
        if !self.down.is_between_messages() {
            return None;
        }
        let mut bytes = Vec::new();
        match &self.content {
            Content::Channels {
                meaning: Meaning::Command { version },
                is_base64,
                ..
            } => {
                let has_status = version.ends_with_status();
                let said = if has_status { &words.status } else { &words.text };
                message(&mut bytes, *is_base64, STATUS, said.as_bytes());
                close(&mut bytes, NORMAL_CLOSURE, &words.text);
            }
            Content::Channels {
                meaning: Meaning::Forward { ports },
                is_base64,
                down,
                ..
            } => {
                let errors = (1..=u8::MAX).step_by(2).take(ports.len());
                for number in errors.filter(|number| down.is_greeted(*number)) {
                    message(&mut bytes, *is_base64, number, words.text.as_bytes());
                }
                close(&mut bytes, POLICY_VIOLATION, &words.text);
            }
            Content::Tunnel(spdy) => {
                let said = spdy.farewell(words)?;
                frame(&mut bytes, BINARY, &said.bytes);
                if said.is_last {
                    close(&mut bytes, POLICY_VIOLATION, &words.text);
                }
            }
            Content::Plain { .. } => close(&mut bytes, POLICY_VIOLATION, &words.text),
        }
        Some(bytes)
    }
}

/// A message of a channel.
fn message(bytes: &mut Vec<u8>, is_base64: bool, number: u8, said: &[u8]) {
    if is_base64 {
        let text = [[b'0'.wrapping_add(number)].as_slice(), STANDARD.encode(said).as_bytes()].concat();
        frame(bytes, TEXT, &text);
    } else {
        frame(bytes, BINARY, &[[number].as_slice(), said].concat());
    }
}

fn close(bytes: &mut Vec<u8>, code: u16, text: &str) {
    let mut room = text.len().min(CLOSE_TEXT_BYTES);
    while !text.is_char_boundary(room) {
        room -= 1;
    }
    let text = text.as_bytes().get(..room).unwrap_or_default();
    frame(bytes, CLOSE, &[code.to_be_bytes().as_slice(), text].concat());
}

/// A whole frame of a server.
fn frame(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    bytes.push(LAST | kind);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(short),
        (_, Ok(middle)) => {
            bytes.push(126);
            bytes.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
}

const STATUS: u8 = 3;
const NORMAL_CLOSURE: u16 = 1000;
const POLICY_VIOLATION: u16 = 1008;
/// RFC 6455 §5.5, less the code.
const CLOSE_TEXT_BYTES: usize = 123;
const LAST: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
