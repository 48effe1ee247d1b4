//! The request target, parsed once and strictly.
//!
//! Not a URL library: nothing is normalised, resolved or written anew. What could be read in two ways is refused,
//! except in the tail behind `…/proxy/`, which belongs to the backend and is forwarded as it came.

use std::borrow::Cow;

use super::query::Pairs;
use super::service_path;

/// The longest target that is read: above it, 414.
pub const MAX_TARGET_BYTES: usize = 64 * 1024;

/// The most query parameters that are read. Go's `net/url` treats a longer query as empty, so classification could
/// differ from what a handler sees; such a target is refused instead.
pub const MAX_PARAMETERS: usize = 10_000;

/// An accepted request target in origin form (RFC 9112 §3.2.1).
///
/// Invariants: the raw bytes are visible ASCII without `#` and `\`; every `%` begins a valid escape; in front of a
/// proxy tail no escape decodes to a byte that path readers disagree about, no segment is empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    raw: Box<str>,
    /// Length of the path within `raw`.
    path_len: usize,
    /// The decoded path where it differs from the raw one.
    decoded: Option<Box<[u8]>>,
    /// Where the proxy tail begins within the raw path.
    tail: Option<usize>,
}

/// Why a target is refused. All are the client's fault: 400, or 414 where it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not begin with `/`.
    #[error("the request target is not in origin form (`/path?query`)")]
    NotOriginForm,
    /// It is longer than [`MAX_TARGET_BYTES`].
    #[error("the request target is longer than 65536 bytes")]
    TooLong,
    /// It has more than [`MAX_PARAMETERS`] query parameters.
    #[error("the query has more than 10000 parameters")]
    TooManyParameters,
    /// A control byte, a space, or a byte above 126.
    #[error("the request target holds a byte that is not visible ASCII, at offset {at}")]
    NotVisibleAscii {
        /// Offset in bytes.
        at: usize,
    },
    /// A `#`, which no client sends and which some servers cut at.
    #[error("the request target holds `#` at offset {at}")]
    Fragment {
        /// Offset in bytes.
        at: usize,
    },
    /// A `\`, which some servers read as `/`.
    #[error("the request target holds `\\` at offset {at}")]
    Backslash {
        /// Offset in bytes.
        at: usize,
    },
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("the request target holds an invalid percent sequence at offset {at}")]
    InvalidEscape {
        /// Offset in bytes.
        at: usize,
    },
    /// An escape for a byte that readers of the path disagree about: `/`, `\`, `%`, `;`, `?`, `#`, control bytes and
    /// all above 126.
    #[error("the path holds an escaped byte 0x{byte:02x} at offset {at}, which could be read in two ways")]
    EscapedByte {
        /// The byte it stands for.
        byte: u8,
        /// Offset in bytes.
        at: usize,
    },
    /// A segment `.` or `..`, plain or escaped.
    #[error("the path holds a dot segment at offset {at}")]
    DotSegment {
        /// Offset in bytes.
        at: usize,
    },
    /// `//` in the part that is authorised.
    #[error("the path holds an empty segment at offset {at}")]
    EmptySegment {
        /// Offset in bytes.
        at: usize,
    },
    /// A `;` in the path of a service, behind which some servers read parameters that are no part of the path.
    #[error("the path holds `;` at offset {at}")]
    Parameter {
        /// Offset in bytes.
        at: usize,
    },
    /// Escapes in the path of a service that stand for no text in UTF-8.
    #[error("the path holds escapes at or behind offset {at} that are no UTF-8")]
    NotUtf8 {
        /// Where the segment begins, in bytes.
        at: usize,
    },
    /// A character in the path of a service that some servers take for another one with a meaning, or that cannot be seen.
    #[error(
        "the path holds {:?} at or behind offset {at}, which some servers take for something else",
        character
    )]
    Folded {
        /// Which.
        character: char,
        /// Where the segment begins, in bytes.
        at: usize,
    },
}

impl TargetError {
    /// The HTTP status to answer: 414 for length, else 400.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLong => 414,
            Self::NotOriginForm
            | Self::TooManyParameters
            | Self::NotVisibleAscii { .. }
            | Self::Fragment { .. }
            | Self::Backslash { .. }
            | Self::InvalidEscape { .. }
            | Self::EscapedByte { .. }
            | Self::DotSegment { .. }
            | Self::EmptySegment { .. }
            | Self::Parameter { .. }
            | Self::NotUtf8 { .. }
            | Self::Folded { .. } => 400,
        }
    }

    /// Why the gateway refuses it, in one clause.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::NotOriginForm => "only a path can be authorised and forwarded as it came",
            Self::TooLong => "no client of Kubernetes sends so long a target, and reading it must stay cheap",
            Self::TooManyParameters => "some servers read such a query as empty",
            Self::NotVisibleAscii { .. } | Self::InvalidEscape { .. } => "servers disagree about what such bytes mean",
            Self::Fragment { .. } => "some servers cut the target there, others do not",
            Self::Backslash { .. } => "some servers read it as a slash",
            Self::NotUtf8 { .. } => "servers disagree about what such bytes mean",
            Self::EscapedByte { .. }
            | Self::DotSegment { .. }
            | Self::EmptySegment { .. }
            | Self::Parameter { .. }
            | Self::Folded { .. } => {
                "what is authorised must be what is forwarded, and servers disagree about such a path"
            }
        }
    }

    /// What the caller can do.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotOriginForm => "send the path alone, such as `/api/v1/namespaces`",
            Self::TooLong => "shorten the command or selector, or send it in the request's body",
            Self::TooManyParameters => "send fewer query parameters",
            Self::NotVisibleAscii { .. } => "percent-encode the value in the query, or remove it from the path",
            Self::Fragment { .. } => "encode it as `%23` in the query, or remove it",
            Self::Backslash { .. } => "encode it as `%5C` in the query, or remove it",
            Self::InvalidEscape { .. } => "write `%` itself as `%25` in the query",
            Self::EscapedByte { .. } => "use names without this character",
            Self::DotSegment { .. } => "send the resolved path",
            Self::EmptySegment { .. } => "remove the doubled slash; a name may be missing in the command",
            Self::Parameter { .. } => "send what stands behind `;` in the query",
            Self::NotUtf8 { .. } => "percent-encode the path as UTF-8",
            Self::Folded { .. } => "use names without this character",
        }
    }
}

impl Target {
    /// Reads a target as it stood in the request line or `:path`, after the removal of a cluster prefix.
    ///
    /// # Errors
    /// See [`TargetError`]; the first offence in the order whole target, escapes, path segments.
    pub fn parse(raw: &[u8]) -> Result<Self, TargetError> {
        Self::read(raw, check_path)
    }

    /// Reads the target of a call to an HTTP service. Its decoded path is text in UTF-8, and there is no proxy tail.
    ///
    /// # Errors
    /// See [`TargetError`]; the first offence in the order whole target, then segment by segment.
    pub fn of_service(raw: &[u8]) -> Result<Self, TargetError> {
        Self::read(raw, |path| service_path::check(path).map(|()| None))
    }

    /// `check_path` says where the proxy tail begins.
    fn read(
        raw: &[u8],
        check_path: impl FnOnce(&str) -> Result<Option<usize>, TargetError>,
    ) -> Result<Self, TargetError> {
        if raw.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        if raw.first() != Some(&b'/') {
            return Err(TargetError::NotOriginForm);
        }
        let has_escape = check_bytes(raw)?;
        // Visible ASCII by now; `from_utf8` costs one pass and spares an `unsafe`.
        let text = std::str::from_utf8(raw).map_err(|_| TargetError::NotVisibleAscii { at: 0 })?;
        let (path, query) = text
            .split_once('?')
            .map_or((text, None), |(path, query)| (path, Some(query)));
        if query.is_some_and(|query| query.bytes().filter(|byte| *byte == b'&').count() >= MAX_PARAMETERS) {
            return Err(TargetError::TooManyParameters);
        }
        let tail = check_path(path)?;
        let decoded = (has_escape && path.contains('%')).then(|| decode(path.as_bytes()).into_owned().into());
        Ok(Self {
            path_len: path.len(),
            raw: text.into(),
            decoded,
            tail,
        })
    }

    /// The target of a service without the first `count` segments of its path, byte for byte from there: `/app/a%20b?c` without
    /// one is `/a%20b?c`, and `/app` is `/`. It reads as the rest of this one does, because no escape of a service's path stands for
    /// a slash; that is looked at once more (promise 2).
    ///
    /// # Errors
    /// [`TargetError`], which no target of [`Target::of_service`] leads to; [`TargetError::NotOriginForm`] where there are fewer.
    pub fn without_first(&self, count: usize) -> Result<Self, TargetError> {
        let raw = after_segments(self.path_raw(), count).ok_or(TargetError::NotOriginForm)?;
        let decoded = after_segments(std::str::from_utf8(self.path()).unwrap_or_default(), count);
        let path = if raw.is_empty() { "/" } else { raw };
        let query = self.raw.get(self.path_len..).unwrap_or_default();
        let rest = Self::of_service(format!("{path}{query}").as_bytes())?;
        let expected = decoded.map(|decoded| if decoded.is_empty() { "/" } else { decoded });
        if expected.map(str::as_bytes) == Some(rest.path()) {
            Ok(rest)
        } else {
            Err(TargetError::NotOriginForm)
        }
    }

    /// The whole target, byte for byte as it came.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path, byte for byte as it came.
    #[must_use]
    pub fn path_raw(&self) -> &str {
        self.raw.get(..self.path_len).unwrap_or_default()
    }

    /// The query without its `?`, byte for byte as it came; `Some("")` for a lone `?`.
    #[must_use]
    pub fn query_raw(&self) -> Option<&str> {
        self.raw.get(self.path_len..).and_then(|rest| rest.strip_prefix('?'))
    }

    /// The percent-decoded path. In front of a proxy tail it is visible ASCII or space; within it, anything.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match &self.decoded {
            Some(decoded) => decoded,
            None => self.path_raw().as_bytes(),
        }
    }

    /// What follows `…/proxy`, raw and with its leading slash: the backend's part, never read for a decision.
    #[must_use]
    pub fn proxy_tail_raw(&self) -> Option<&str> {
        self.tail.and_then(|at| self.path_raw().get(at..))
    }

    /// The query's parameters as the API server reads them (Go's `net/url.ParseQuery`).
    #[must_use]
    pub fn query(&self) -> Pairs<'_> {
        Pairs::new(self.query_raw().unwrap_or_default())
    }
}

/// What stands behind the first segments of a path, from the slash on; `None` where there are fewer.
fn after_segments(path: &str, count: usize) -> Option<&str> {
    let mut rest = path;
    for _ in 0..count {
        let segment = rest.strip_prefix('/')?;
        rest = segment.get(segment.find('/').unwrap_or(segment.len())..)?;
    }
    Some(rest)
}

/// Checks what holds for the whole target; says whether it has any escape.
fn check_bytes(raw: &[u8]) -> Result<bool, TargetError> {
    let mut has_escape = false;
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'#' => return Err(TargetError::Fragment { at }),
            b'\\' => return Err(TargetError::Backslash { at }),
            b'%' => {
                has_escape = true;
                let digits = raw.get(at + 1..at + 3).unwrap_or_default();
                if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(TargetError::InvalidEscape { at });
                }
            }
            0x21..=0x7e => {}
            _ => return Err(TargetError::NotVisibleAscii { at }),
        }
    }
    Ok(has_escape)
}

/// Checks the segments up to a proxy tail and says where that begins.
///
/// As no segment in front of the tail can decode to one with a `/`, splitting the raw path here and the decoded path
/// in the classifier gives the same segments.
fn check_path(path: &str) -> Result<Option<usize>, TargetError> {
    let mut walk = TailFinder::default();
    let mut at = 1;
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() && !last {
            return Err(TargetError::EmptySegment { at });
        }
        // One trailing slash is harmless: the API server trims it. A bare `//` at the end was caught above.
        let decoded = check_segment(segment, at)?;
        if decoded == "." || decoded == ".." {
            return Err(TargetError::DotSegment { at });
        }
        at += segment.len();
        if walk.is_proxy(&decoded) && !last {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

/// Refuses escapes of bytes that path readers disagree about, and decodes.
fn check_segment(segment: &str, at: usize) -> Result<Cow<'_, str>, TargetError> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut text = String::with_capacity(segment.len());
    let mut rest = segment.bytes().enumerate();
    while let Some((offset, byte)) = rest.next() {
        let byte = if byte == b'%' {
            let digits = (rest.next(), rest.next());
            let decoded = unhex(digits.0.map(|d| d.1), digits.1.map(|d| d.1));
            if matches!(decoded, 0..=0x1f | 0x7f.. | b'/' | b'\\' | b'%' | b';' | b'?' | b'#') {
                return Err(TargetError::EscapedByte {
                    byte: decoded,
                    at: at + offset,
                });
            }
            decoded
        } else {
            byte
        };
        text.push(char::from(byte));
    }
    Ok(Cow::Owned(text))
}

/// Follows the API server's reading of a path just far enough to know where `resource/name/proxy` ends.
#[derive(Default)]
struct TailFinder {
    state: TailState,
}

#[derive(Clone, Copy, Default)]
enum TailState {
    #[default]
    Prefix,
    Group,
    Version,
    /// The first segment behind the version: a resource, `namespaces`, or the legacy `watch`, `proxy`.
    First,
    /// The same behind `watch`.
    FirstOfWatch,
    NamespaceName,
    /// What follows `namespaces/<name>`: a resource, or a subresource of the namespace itself.
    InNamespace,
    Name,
    Subresource,
    /// No tail can follow any more.
    Settled,
}

impl TailFinder {
    fn is_proxy(&mut self, segment: &str) -> bool {
        use TailState as S;
        let proxy = matches!(self.state, S::Subresource) && segment == "proxy";
        self.state = match (self.state, segment) {
            (S::Prefix, "api") => S::Version,
            (S::Prefix, "apis") => S::Group,
            (S::Group, _) => S::Version,
            (S::Version, _) => S::First,
            // The legacy form has no subresource, and so no tail; everything in it is read strictly.
            (S::First, "proxy") => S::Settled,
            (S::First, "watch") => S::FirstOfWatch,
            (S::First | S::FirstOfWatch, "namespaces") => S::NamespaceName,
            (S::NamespaceName, _) => S::InNamespace,
            (S::InNamespace, "status" | "finalize") => S::Settled,
            (S::First | S::FirstOfWatch | S::InNamespace, _) => S::Name,
            (S::Name, _) => S::Subresource,
            (S::Prefix | S::Subresource | S::Settled, _) => S::Settled,
        };
        proxy
    }
}

/// Percent-decodes bytes whose escapes are known to be valid.
pub(super) fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    percent_encoding::percent_decode(raw).into()
}

fn unhex(high: Option<u8>, low: Option<u8>) -> u8 {
    let digit = |byte: Option<u8>| match byte {
        Some(byte @ b'0'..=b'9') => byte - b'0',
        Some(byte @ b'a'..=b'f') => byte - b'a' + 10,
        Some(byte @ b'A'..=b'F') => byte - b'A' + 10,
        // Cannot be: `check_bytes` saw two digits. Zero is refused by every caller as a control byte.
        _ => 0,
    };
    digit(high) << 4 | digit(low)
}

/// A target whose path began with `/clusters/<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixed<'a> {
    /// The cluster's name: `[a-z0-9-]+`, compared as it stands.
    pub cluster: &'a str,
    /// The target without the prefix; `/` when nothing follows it.
    pub rest: &'a [u8],
}

/// Splits `/clusters/<name>` off a raw target, once and before anything else reads it (C-08).
///
/// `None` when the target has no such prefix. An escaped or upper-case spelling is no prefix, nor is one that a query
/// follows at once: the bytes behind the prefix must themselves be a target.
#[must_use]
pub fn split_cluster_prefix(raw: &[u8]) -> Option<Prefixed<'_>> {
    let behind = raw.strip_prefix(b"/clusters/")?;
    let end = behind.iter().position(|byte| *byte == b'/').unwrap_or(behind.len());
    let (name, rest) = behind.split_at_checked(end)?;
    let fits = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if name.is_empty() || !name.iter().all(fits) {
        return None;
    }
    let cluster = std::str::from_utf8(name).ok()?;
    Some(Prefixed {
        cluster,
        rest: if rest.is_empty() { b"/" } else { rest },
    })
}
