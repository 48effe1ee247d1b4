//! The bodies of frames, by kind. Numbers of kinds are never used again for something else.

use super::{Connection, Cursor, Frame, FrameError, Noted, TarFile, put_varint};
use crate::mask::Secret;
use crate::tap::{Channel, Control, Way};

const HEAD: u8 = 1;
const DATA: u8 = 2;
const COUNTED: u8 = 3;
const OPENED: u8 = 4;
const CLOSED: u8 = 5;
const RESET: u8 = 6;
const FAREWELL: u8 = 7;
const RESIZE: u8 = 8;
const STATUS: u8 = 9;
const NOTE: u8 = 10;
const FILE: u8 = 11;
const CONNECTION: u8 = 12;
const END: u8 = 13;
const CONTROL: u8 = 14;

/// The bit of a channel's first byte that says `Up`.
const UP: u8 = 0x80;

/// Appends a frame that passed `after` microseconds after the one before.
pub(crate) fn encode(frame: &Frame<'_>, after: u64, out: &mut Vec<u8>) {
    if let Frame::Data { way, channel, bytes } = frame {
        encode_data(*way, *channel, bytes, after, out);
        return;
    }
    let mut body = Vec::new();
    let kind = put_body(frame, &mut body);
    out.push(kind);
    put_varint(out, after);
    put_varint(out, length(&body));
    out.extend_from_slice(&body);
}

/// Appends a data frame without a detour; says where its bytes begin.
pub(crate) fn encode_data(way: Way, channel: Channel, bytes: &[u8], after: u64, out: &mut Vec<u8>) -> usize {
    out.push(DATA);
    put_varint(out, after);
    put_varint(out, channel_length(channel).saturating_add(length(bytes)));
    put_channel(out, way, channel);
    let start = out.len();
    out.extend_from_slice(bytes);
    start
}

fn put_body(frame: &Frame<'_>, out: &mut Vec<u8>) -> u8 {
    match *frame {
        Frame::Head(json) => put_all(HEAD, json, out),
        Frame::End(json) => put_all(END, json, out),
        Frame::Unknown { kind, body } => put_all(kind, body, out),
        Frame::Data { way, channel, bytes } => {
            put_channel(out, way, channel);
            put_all(DATA, bytes, out)
        }
        Frame::Counted { way, channel, bytes } => {
            put_channel(out, way, channel);
            put_varint(out, bytes);
            COUNTED
        }
        Frame::Opened { way, channel } => put_stream(OPENED, way, channel, out),
        Frame::Closed { way, channel } => put_stream(CLOSED, way, channel, out),
        Frame::Reset { way, channel } => put_stream(RESET, way, channel, out),
        Frame::Farewell { way } => {
            out.push(way_bit(way));
            FAREWELL
        }
        Frame::Resize { columns, rows } => {
            put_varint(out, columns.into());
            put_varint(out, rows.into());
            RESIZE
        }
        Frame::Status { code, text } => {
            put_varint(out, code.map_or(0, |code| u64::from(code).saturating_add(1)));
            put_all(STATUS, text, out)
        }
        Frame::Note { noted, count, text } => {
            let (what, which) = note_codes(noted);
            out.extend_from_slice(&[what, which]);
            put_varint(out, count);
            put_all(NOTE, text, out)
        }
        Frame::Control { way, kind, bytes } => {
            out.extend_from_slice(&[way_bit(way), opcode(kind)]);
            put_all(CONTROL, bytes, out)
        }
        Frame::File(file) => put_file(&file, out),
        Frame::Connection(connection) => put_connection(&connection, out),
    }
}

fn put_all(kind: u8, bytes: &[u8], out: &mut Vec<u8>) -> u8 {
    out.extend_from_slice(bytes);
    kind
}

fn put_stream(kind: u8, way: Way, channel: Channel, out: &mut Vec<u8>) -> u8 {
    put_channel(out, way, channel);
    kind
}

fn put_file(file: &TarFile<'_>, out: &mut Vec<u8>) -> u8 {
    out.extend_from_slice(&[way_bit(file.way), file.kind]);
    for number in [file.mode.into(), file.size, file.seen, length(file.name)] {
        put_varint(out, number);
    }
    out.extend_from_slice(file.name);
    out.push(file.sha256.is_some().into());
    out.extend_from_slice(file.sha256.as_ref().map_or(&[], |hash| hash.as_slice()));
    put_all(FILE, file.link, out)
}

fn put_connection(connection: &Connection<'_>, out: &mut Vec<u8>) -> u8 {
    put_channel(out, Way::Down, connection.channel);
    for number in [connection.opened_micros, connection.up, connection.down] {
        put_varint(out, number);
    }
    out.extend_from_slice(&connection.up_sha256);
    out.extend_from_slice(&connection.down_sha256);
    out.push(connection.was_reset.into());
    put_all(CONNECTION, connection.error, out)
}

/// Reads the body of a frame of `kind`.
pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Frame<'_>, FrameError> {
    let mut rest = Cursor(body);
    let frame = match kind {
        HEAD => Frame::Head(rest.rest()),
        END => Frame::End(rest.rest()),
        DATA => {
            let (way, channel) = channel(&mut rest, kind)?;
            let bytes = rest.rest();
            Frame::Data { way, channel, bytes }
        }
        COUNTED => {
            let (way, channel) = channel(&mut rest, kind)?;
            let bytes = rest.varint()?;
            Frame::Counted { way, channel, bytes }
        }
        OPENED | CLOSED | RESET => stream(kind, channel(&mut rest, kind)?),
        FAREWELL => Frame::Farewell {
            way: way(rest.byte()?, kind)?,
        },
        RESIZE => Frame::Resize {
            columns: rest.number()?,
            rows: rest.number()?,
        },
        STATUS => status(&mut rest)?,
        NOTE => note(&mut rest)?,
        FILE => Frame::File(file(&mut rest)?),
        CONNECTION => Frame::Connection(connection(&mut rest)?),
        CONTROL => Frame::Control {
            way: way(rest.byte()?, kind)?,
            kind: control(rest.byte()?)?,
            bytes: rest.rest(),
        },
        _ => Frame::Unknown {
            kind,
            body: rest.rest(),
        },
    };
    if rest.is_empty() {
        Ok(frame)
    } else {
        Err(FrameError::Body(kind))
    }
}

fn stream(kind: u8, (way, channel): (Way, Channel)) -> Frame<'static> {
    match kind {
        OPENED => Frame::Opened { way, channel },
        CLOSED => Frame::Closed { way, channel },
        _ => Frame::Reset { way, channel },
    }
}

fn status<'a>(rest: &mut Cursor<'a>) -> Result<Frame<'a>, FrameError> {
    let code = match rest.varint()?.checked_sub(1) {
        Some(code) => Some(u32::try_from(code).map_err(|_| FrameError::Number)?),
        None => None,
    };
    Ok(Frame::Status {
        code,
        text: rest.rest(),
    })
}

fn note<'a>(rest: &mut Cursor<'a>) -> Result<Frame<'a>, FrameError> {
    let noted = match (rest.byte()?, rest.byte()?) {
        (1, 0) => Noted::InputNotKept,
        (2, which) => Noted::Masked(Secret::from_code(which).ok_or(FrameError::Body(NOTE))?),
        (3, which) => Noted::Torn(way(which, NOTE)?),
        (4, 0) => Noted::TarUnread,
        (5, 0) => Noted::SizeUnread,
        (6, 0) => Noted::ConnectionsUnlisted,
        (what @ 7.., 0) => Noted::Other(what),
        _ => return Err(FrameError::Body(NOTE)),
    };
    Ok(Frame::Note {
        noted,
        count: rest.varint()?,
        text: rest.rest(),
    })
}

fn note_codes(noted: Noted) -> (u8, u8) {
    match noted {
        Noted::InputNotKept => (1, 0),
        Noted::Masked(secret) => (2, secret.code()),
        Noted::Torn(way) => (3, way_bit(way)),
        Noted::TarUnread => (4, 0),
        Noted::SizeUnread => (5, 0),
        Noted::ConnectionsUnlisted => (6, 0),
        Noted::Other(what) => (what.max(7), 0),
    }
}

fn file<'a>(rest: &mut Cursor<'a>) -> Result<TarFile<'a>, FrameError> {
    let (way, kind) = (way(rest.byte()?, FILE)?, rest.byte()?);
    let (mode, size, seen) = (rest.number()?, rest.varint()?, rest.varint()?);
    let name = rest.number()?;
    Ok(TarFile {
        way,
        kind,
        mode,
        size,
        seen,
        name: rest.take(name)?,
        sha256: if flag(rest.byte()?, FILE)? {
            Some(rest.array()?)
        } else {
            None
        },
        link: rest.rest(),
    })
}

fn connection<'a>(rest: &mut Cursor<'a>) -> Result<Connection<'a>, FrameError> {
    let (_, channel) = channel(rest, CONNECTION)?;
    Ok(Connection {
        channel,
        opened_micros: rest.varint()?,
        up: rest.varint()?,
        down: rest.varint()?,
        up_sha256: rest.array()?,
        down_sha256: rest.array()?,
        was_reset: flag(rest.byte()?, CONNECTION)?,
        error: rest.rest(),
    })
}

/// Kinds of control frames have their opcodes of RFC 6455.
const fn opcode(kind: Control) -> u8 {
    match kind {
        Control::Close => 8,
        Control::Ping => 9,
        Control::Pong => 10,
    }
}

fn control(opcode: u8) -> Result<Control, FrameError> {
    Ok(match opcode {
        8 => Control::Close,
        9 => Control::Ping,
        10 => Control::Pong,
        _ => return Err(FrameError::Body(CONTROL)),
    })
}

fn flag(byte: u8, kind: u8) -> Result<bool, FrameError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FrameError::Body(kind)),
    }
}

fn way(byte: u8, kind: u8) -> Result<Way, FrameError> {
    match byte {
        0 => Ok(Way::Down),
        UP => Ok(Way::Up),
        _ => Err(FrameError::Body(kind)),
    }
}

const fn way_bit(way: Way) -> u8 {
    match way {
        Way::Up => UP,
        Way::Down => 0,
    }
}

/// Channels 0 to 4 have the numbers of Kubernetes' own protocol.
fn put_channel(out: &mut Vec<u8>, way: Way, channel: Channel) {
    let (code, numbers) = match channel {
        Channel::Stdin => (0, None),
        Channel::Stdout => (1, None),
        Channel::Stderr => (2, None),
        Channel::Status => (3, None),
        Channel::Resize => (4, None),
        Channel::Forward { connection, port } => (5, Some((connection, port))),
        Channel::ForwardError { connection, port } => (6, Some((connection, port))),
        Channel::Message { is_text: false } => (7, None),
        Channel::Message { is_text: true } => (8, None),
    };
    out.push(code | way_bit(way));
    if let Some((connection, port)) = numbers {
        put_varint(out, connection.into());
        put_varint(out, port.into());
    }
}

fn channel(rest: &mut Cursor<'_>, kind: u8) -> Result<(Way, Channel), FrameError> {
    let first = rest.byte()?;
    let channel = match first & !UP {
        0 => Channel::Stdin,
        1 => Channel::Stdout,
        2 => Channel::Stderr,
        3 => Channel::Status,
        4 => Channel::Resize,
        5 => Channel::Forward {
            connection: rest.number()?,
            port: rest.number()?,
        },
        6 => Channel::ForwardError {
            connection: rest.number()?,
            port: rest.number()?,
        },
        7 => Channel::Message { is_text: false },
        8 => Channel::Message { is_text: true },
        _ => return Err(FrameError::Body(kind)),
    };
    Ok((way(first & UP, kind)?, channel))
}

fn channel_length(channel: Channel) -> u64 {
    let mut out = Vec::new();
    match channel {
        Channel::Forward { .. } | Channel::ForwardError { .. } => put_channel(&mut out, Way::Down, channel),
        Channel::Stdin
        | Channel::Stdout
        | Channel::Stderr
        | Channel::Status
        | Channel::Resize
        | Channel::Message { .. } => return 1,
    }
    length(&out)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
