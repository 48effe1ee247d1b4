//! What a backend saw of a request: the same for all of them, as bytes.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Names and values of fields.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The method.
    pub method: Vec<u8>,
    /// The target as it stood in the request line, as far as the server keeps that.
    pub target: Vec<u8>,
    /// The lines of the head. What a server keeps of names and order says [`super::echo::Kind::keeps`].
    pub headers: Fields,
    /// The lines behind the last chunk, where the server tells them apart from the head's.
    pub trailers: Fields,
    /// The variables that an application goes by (CGI, WSGI), where the server makes some: in `HTTP_A_B` nobody sees
    /// whether it was `A-B` or `A_B`.
    pub environment: Fields,
    /// What came behind the head.
    pub body: Body,
}

/// A body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// In bytes.
    pub length: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether all came that was announced.
    pub complete: bool,
}

/// A line of a journal. Bytes are in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    method: String,
    target: String,
    #[serde(default)]
    headers: Option<Vec<(String, String)>>,
    /// HAProxy's: the whole head as one text.
    #[serde(default)]
    block: String,
    #[serde(default)]
    trailers: Vec<(String, String)>,
    #[serde(default)]
    environment: Vec<(String, String)>,
    body: Body,
}

impl Seen {
    /// Reads a line of a journal, or an answer's body.
    ///
    /// # Errors
    /// It is none.
    pub fn read(line: &[u8]) -> anyhow::Result<Self> {
        let told = || String::from_utf8_lossy(line).into_owned();
        let line: Line = serde_json::from_slice(line).with_context(told)?;
        let mut headers = fields(&line.headers.unwrap_or_default())?;
        headers.extend(lines(&bytes(&line.block)?));
        Ok(Self {
            method: bytes(&line.method)?,
            target: bytes(&line.target)?,
            headers,
            trailers: fields(&line.trailers)?,
            environment: fields(&line.environment)?,
            body: line.body,
        })
    }

    /// The values of all head lines of this name, in whatever case, in their order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self
            .headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// The value of a variable of the environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.environment.iter().filter(|(found, _)| found == name.as_bytes());
        named.next().map(|(_, value)| value.as_slice())
    }
}

fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    STANDARD.decode(text).with_context(|| format!("`{text}` is no base64"))
}

fn fields(pairs: &[(String, String)]) -> anyhow::Result<Fields> {
    let decoded = pairs.iter().map(|(name, value)| Ok((bytes(name)?, bytes(value)?)));
    decoded.collect()
}

/// The lines of a head as HAProxy writes it out anew: `name: value`, each ended by CRLF.
fn lines(block: &[u8]) -> Fields {
    let lines = block.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines
        .filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let (name, value) = line.split_at(colon);
            let value = value.strip_prefix(b": ").or_else(|| value.strip_prefix(b":"))?;
            Some((name.to_vec(), value.to_vec()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_journal_is_read_as_bytes_and_a_block_as_lines() {
        let encoded = |text: &[u8]| STANDARD.encode(text);
        let line = serde_json::json!({
            "method": encoded(b"GET"), "target": encoded(b"/\xff"),
            "headers": [[encoded(b"X-One"), encoded(b"\xfe")]],
            "block": encoded(b"x-one: a: b\r\nempty:\r\n\r\n"),
            "environment": [[encoded(b"HTTP_X"), encoded(b"y")]],
            "body": {"length": 3, "sha256": "00", "complete": false},
        });
        let seen = Seen::read(line.to_string().as_bytes()).unwrap();
        assert_eq!(
            (seen.method.as_slice(), seen.target.as_slice()),
            (&b"GET"[..], &b"/\xff"[..])
        );
        assert_eq!(seen.values("x-ONE"), [&b"\xfe"[..], b"a: b"]);
        assert_eq!(seen.values("empty"), [b""]);
        assert_eq!(seen.variable("HTTP_X"), Some(&b"y"[..]));
        assert_eq!((seen.body.length, seen.body.complete), (3, false));
        assert!(Seen::read(b"{}").is_err());
    }
}
