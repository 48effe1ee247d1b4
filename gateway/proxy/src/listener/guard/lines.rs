//! One request head of HTTP/1, read line by line as its bytes arrive and never twice (RFC 9112 §2–§3, §6).
//!
//! It reads what frames and routes a message and checks the shape of all else; meaning of other headers is not its
//! business. Invariant: a head that it completes has exactly one reading, and hyper's reading is the same.

use bytes::Bytes;

use super::{
    super::{
        head::{Head, HeadLimits, Upgrade},
        host::Host,
        violation::Violation,
    },
    target::{self, Scheme},
};
use crate::headers::name::{Reduced, is_plain};

/// What is known of a head of which not all lines have arrived.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    line_start: usize,
    scanned: usize,
    header_lines: usize,
    request: Option<RequestLine>,
    host: Option<Host>,
    content_length: Option<u64>,
    is_chunked: bool,
    connection_names_upgrade: bool,
    upgrade: Option<Upgrade>,
    expects_continue: bool,
}

#[derive(Debug)]
struct RequestLine {
    origin: Bytes,
    authority: Option<Host>,
    is_http_10: bool,
    method_has_body: bool,
}

/// How the bytes behind a head are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    Upgrade,
}

/// How far a head was read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// All lines so far are sound; more bytes are needed.
    Partial,
    /// The head ends before the byte at this offset.
    Complete(usize, Head, Framing),
    /// The head must be refused.
    Refused(Violation),
}

impl HeadReader {
    /// Reads on in `head`, the bytes from the first one of the request line; earlier bytes must be the same as before.
    pub(crate) fn advance(&mut self, head: &[u8], limits: &HeadLimits, scheme: Scheme) -> Reading {
        loop {
            let unread = head.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'\n', unread) else {
                self.scanned = head.len();
                return match self.check_partial(head, limits) {
                    Ok(()) => Reading::Partial,
                    Err(violation) => Reading::Refused(violation),
                };
            };
            let line_feed = self.scanned + found;
            let line = head.get(self.line_start..line_feed).unwrap_or_default();
            let is_end = match self.line(line, limits, scheme) {
                _ if line_feed >= limits.head_bytes => return Reading::Refused(Violation::HeadTooLarge),
                Ok(is_end) => is_end,
                Err(violation) => return Reading::Refused(violation),
            };
            if is_end {
                return self.finish(line_feed + 1, scheme).unwrap_or_else(Reading::Refused);
            }
            self.scanned = line_feed + 1;
            self.line_start = self.scanned;
        }
    }

    /// The target as far as it was read, for the record of a refusal.
    pub(crate) fn seen_target(&self) -> Bytes {
        self.request
            .as_ref()
            .map(|request| request.origin.clone())
            .unwrap_or_default()
    }

    /// The host as far as it was read, for the record of a refusal.
    pub(crate) fn seen_host(&self) -> Option<Host> {
        self.host.clone()
    }

    /// Refuses early what no further byte could mend, so that nobody fills a buffer with it.
    fn check_partial(&self, head: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
        let line = head.get(self.line_start..).unwrap_or_default();
        if self.request.is_none() {
            if !line.is_empty() {
                check_first_byte(line)?;
            }
            if line.len() > limits.target_bytes + MAX_METHOD_BYTES + VERSION_BYTES {
                return Err(Violation::TargetTooLong);
            }
        } else if line.len() > limits.header_line_bytes {
            return Err(Violation::HeaderLineTooLarge);
        }
        if head.len() >= limits.head_bytes {
            Err(Violation::HeadTooLarge)
        } else {
            Ok(())
        }
    }

    /// Takes one line without its LF; true at the empty line.
    fn line(&mut self, line: &[u8], limits: &HeadLimits, scheme: Scheme) -> Result<bool, Violation> {
        if self.request.is_none() {
            check_first_byte(line)?;
        }
        let line = line.strip_suffix(b"\r").ok_or(Violation::BareLineFeed)?;
        if memchr::memchr(b'\r', line).is_some() {
            return Err(Violation::BareCarriageReturn);
        }
        if self.request.is_none() {
            self.request = Some(RequestLine::read(line, limits, scheme)?);
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.header(line, limits)?;
        Ok(false)
    }

    fn header(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Violation> {
        self.header_lines += 1;
        if self.header_lines > limits.header_lines {
            return Err(Violation::TooManyHeaders);
        }
        if line.len() > limits.header_line_bytes {
            return Err(Violation::HeaderLineTooLarge);
        }
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Violation::FoldedHeader);
        }
        let colon = memchr::memchr(b':', line).ok_or(Violation::HeaderNameInvalid)?;
        let (name, value) = (
            line.get(..colon).unwrap_or_default(),
            line.get(colon + 1..).unwrap_or_default(),
        );
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(Violation::HeaderNameInvalid);
        }
        if !value.iter().fold(true, |sound, byte| sound & is_value_byte(*byte)) {
            return Err(Violation::HeaderValueInvalid);
        }
        self.meaning(name, value)
    }

    /// Reads the few headers that frame or route; the length of a name tells most others apart at once.
    fn meaning(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(trim(value)),
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(trim(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade(trim(value)),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_names_upgrade |= lists_upgrade(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(trim(value)),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => check_alias(name),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.host.is_some() {
            return Err(Violation::HostRepeated);
        }
        self.host = Some(Host::parse(value)?);
        Ok(())
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Violation> {
        let known = value.eq_ignore_ascii_case(b"100-continue") && !self.expects_continue;
        self.expects_continue = true;
        if known {
            Ok(())
        } else {
            Err(Violation::ExpectationUnknown)
        }
    }

    fn upgrade(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.upgrade.is_some() {
            return Err(Violation::UpgradeUnknown);
        }
        self.upgrade = Some(Upgrade::parse(value).ok_or(Violation::UpgradeUnknown)?);
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.content_length.is_some() {
            return Err(Violation::ContentLengthRepeated);
        }
        self.content_length = Some(parse_length(value)?);
        Ok(())
    }

    /// `chunked` alone, with the usual single space: other white space is where lenient readers begin to differ.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.is_chunked {
            return Err(Violation::TransferEncodingRepeated);
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Violation::TransferEncodingUnsupported);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn finish(&mut self, len: usize, scheme: Scheme) -> Result<Reading, Violation> {
        let framing = self.framing()?;
        self.check_host(scheme)?;
        let target = self.request.take().map(|request| request.origin).unwrap_or_default();
        let head = Head {
            target,
            host: self.host.take(),
            violation: None,
            header_lines: self.header_lines,
            header_bytes: len,
            upgrade: self.upgrade,
        };
        Ok(Reading::Complete(len, head, framing))
    }

    fn check_host(&self, scheme: Scheme) -> Result<(), Violation> {
        let host = self.host.as_ref().ok_or(Violation::HostMissing)?;
        let authority = self.request.as_ref().and_then(|request| request.authority.as_ref());
        if authority.is_some_and(|authority| !authority.equals(host, scheme.default_port())) {
            return Err(Violation::TargetHostMismatch);
        }
        Ok(())
    }

    fn framing(&self) -> Result<Framing, Violation> {
        let request = self.request.as_ref().ok_or(Violation::RequestLineMalformed)?;
        let framing = match (self.is_chunked, self.content_length) {
            (true, Some(_)) => return Err(Violation::LengthAndTransferEncoding),
            (true, None) if request.is_http_10 => return Err(Violation::TransferEncodingOnHttp10),
            (true, None) => Framing::Chunked,
            (false, None) if request.is_http_10 && request.method_has_body => return Err(Violation::LengthRequired),
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        if self.upgrade.is_none() {
            return Ok(framing);
        }
        match framing {
            _ if request.is_http_10 => Err(Violation::UpgradeOnHttp10),
            _ if !self.connection_names_upgrade => Err(Violation::UpgradeWithoutConnection),
            Framing::None => Ok(Framing::Upgrade),
            Framing::Length(_) | Framing::Chunked | Framing::Upgrade => Err(Violation::UpgradeWithBody),
        }
    }
}

impl RequestLine {
    fn read(line: &[u8], limits: &HeadLimits, scheme: Scheme) -> Result<Self, Violation> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Violation::RequestLineMalformed);
        };
        let is_http_10 = check_version(version)?;
        check_method(method)?;
        if target.len() > limits.target_bytes {
            return Err(Violation::TargetTooLong);
        }
        let checked = target::check(target, method == b"OPTIONS", scheme)?;
        Ok(Self {
            origin: Bytes::copy_from_slice(checked.origin),
            authority: checked.authority,
            is_http_10,
            method_has_body: matches!(method, b"POST" | b"PUT" | b"PATCH"),
        })
    }
}

/// A request begins with the first byte of a method; what begins otherwise is a leftover, TLS or noise.
fn check_first_byte(line: &[u8]) -> Result<(), Violation> {
    match line.first() {
        None | Some(b'\r' | b'\n') => Err(Violation::LeadingBlankLine),
        Some(byte) if is_token(*byte) => Ok(()),
        Some(_) => Err(Violation::RequestLineMalformed),
    }
}

/// True for HTTP/1.0.
fn check_version(version: &[u8]) -> Result<bool, Violation> {
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Violation::VersionUnsupported)
        }
        _ => Err(Violation::RequestLineMalformed),
    }
}

/// Checks a method against the list of those that any rule could allow.
pub(crate) fn check_method(method: &[u8]) -> Result<(), Violation> {
    match method {
        b"GET" | b"HEAD" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"OPTIONS" => Ok(()),
        b"CONNECT" | b"TRACE" | b"TRACK" => Err(Violation::MethodForbidden),
        _ if !method.is_empty() && method.iter().all(|byte| is_token(*byte)) => Err(Violation::MethodUnknown),
        _ => Err(Violation::RequestLineMalformed),
    }
}

/// Refuses names that a lenient reader takes for one that frames or routes a message.
pub(crate) fn check_alias(name: &[u8]) -> Result<(), Violation> {
    if is_plain(name) {
        return Ok(());
    }
    let reduced = Reduced::of(name);
    if FRAMING_HEADERS
        .iter()
        .any(|framing| framing.as_bytes() == reduced.as_bytes())
    {
        return Err(Violation::FramingHeaderAlias);
    }
    Ok(())
}

/// Parses `Content-Length` as digits without sign, list or leading zeros.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, Violation> {
    let plain =
        value.iter().all(u8::is_ascii_digit) && (value == b"0" || value.first().is_some_and(|first| *first != b'0'));
    if !plain || value.len() > MAX_LENGTH_DIGITS {
        return Err(Violation::ContentLengthInvalid);
    }
    let text = std::str::from_utf8(value).map_err(|_| Violation::ContentLengthInvalid)?;
    text.parse().map_err(|_| Violation::ContentLengthInvalid)
}

fn lists_upgrade(value: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|token| trim(token).eq_ignore_ascii_case(b"upgrade"))
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `field-vchar`, space and tab of RFC 9110 §5.5.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 || byte == b'\t') & (byte != 0x7f)
}

/// Names whose look-alikes change framing or routing in a lenient reader.
const FRAMING_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Eighteen nines lie below both signed and unsigned 64-bit limits.
const MAX_LENGTH_DIGITS: usize = 18;
const MAX_METHOD_BYTES: usize = 32;
/// Two spaces, `HTTP/1.1` and CR.
const VERSION_BYTES: usize = 11;
