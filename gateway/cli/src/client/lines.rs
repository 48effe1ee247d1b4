//! Lines of JSON from the gateway, as they come.
//!
//! A gateway that has nothing to say says so every 15 seconds (`alive`). One that says nothing at all is behind a network that
//! lets nothing through, and nobody would be told by the connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::http::HttpError;
use super::trouble::Trouble;
use crate::Exit;

/// Three signs of life have not come.
const SILENCE: Duration = Duration::from_secs(45);

/// What comes from a gateway, unless it has said nothing for too long. Cancel-safe where the future is.
pub(crate) async fn heard<T>(host: &str, comes: impl Future<Output = T>) -> Result<T, HttpError> {
    let come = tokio::time::timeout(SILENCE, comes).await;
    come.map_err(|_| HttpError::Silent {
        host: host.to_owned(),
        seconds: SILENCE.as_secs(),
    })
}

/// Why a gateway says no more, and what to do: `code` is the error that a new question would be answered with. An older gateway says
/// none.
pub(crate) fn stopped(what: &str, why: &str, code: Option<&str>) -> Trouble {
    match code {
        Some("invalid_token") => Trouble::new(Exit::SignIn, what).because(why).remedy("gatescribe login"),
        Some("scope_changed") => Trouble::new(Exit::NotPermitted, what)
            .because(why)
            .remedy("begin again; gatescribe session ls and gatescribe audit search say what you may see by now"),
        _ => Trouble::new(Exit::Unreachable, what).because(why).remedy("begin again"),
    }
}

/// An answer's body in pieces.
pub(crate) trait Source {
    /// Why there is no more.
    type Error;

    /// The next piece; none at the end. Cancel-safe.
    async fn piece(&mut self) -> Option<Result<Bytes, Self::Error>>;
}

/// An answer as it comes: whoever does not read holds up the sender.
pub(crate) struct Live {
    body: Incoming,
    host: String,
}

impl Live {
    /// The body of an answer of this host.
    pub(crate) fn new(body: Incoming, host: &str) -> Self {
        let host = host.to_owned();
        Self { body, host }
    }
}

impl Source for Live {
    type Error = HttpError;

    async fn piece(&mut self) -> Option<Result<Bytes, HttpError>> {
        loop {
            let frame = match heard(&self.host, self.body.frame()).await {
                Ok(frame) => frame?,
                Err(silent) => return Some(Err(silent)),
            };
            return Some(match frame {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => Ok(bytes),
                    Err(_) => continue,
                },
                Err(cause) => Err(HttpError::Broken {
                    host: self.host.clone(),
                    cause,
                }),
            });
        }
    }
}

/// The lines of one answer.
pub(crate) struct Lines<S> {
    source: S,
    longest: usize,
    held: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no line end.
    seen: usize,
}

/// Why no line comes.
#[derive(Debug)]
pub(crate) enum NoLine<E> {
    /// Nothing comes any more.
    Broken(E),
    /// A line has no end.
    TooLong,
}

impl<S: Source> Lines<S> {
    /// The lines of an answer's body; none is longer than `longest` bytes.
    pub(crate) fn of(source: S, longest: usize) -> Self {
        Self {
            source,
            longest,
            held: Vec::new(),
            start: 0,
            seen: 0,
        }
    }

    /// The next line without its end; none at the end of the answer, where a piece without a line end is no line.
    ///
    /// Cancel-safe: what was read stays.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, NoLine<S::Error>> {
        loop {
            let fresh = self.held.get(self.seen..).unwrap_or_default();
            if let Some(length) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = self.seen + length;
                let line = self.held.get(self.start..end).unwrap_or_default().to_vec();
                (self.start, self.seen) = (end + 1, end + 1);
                return Ok(Some(line));
            }
            self.held.drain(..self.start);
            (self.start, self.seen) = (0, self.held.len());
            if self.held.len() > self.longest {
                return Err(NoLine::TooLong);
            }
            match self.source.piece().await {
                None => return Ok(None),
                Some(Ok(bytes)) => self.held.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(NoLine::Broken(error)),
            }
        }
    }
}
