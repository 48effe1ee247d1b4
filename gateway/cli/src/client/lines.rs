//! Lines of JSON from the gateway, as they come.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::http::HttpError;

/// The lines of one answer.
pub(crate) struct Lines {
    body: Incoming,
    host: String,
    longest: usize,
    held: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no line end.
    seen: usize,
}

/// Why no line comes.
#[derive(Debug)]
pub(crate) enum NoLine {
    /// The connection broke.
    Broken(HttpError),
    /// A line has no end.
    TooLong,
}

impl Lines {
    /// The lines of an answer's body; none is longer than `longest` bytes.
    pub(crate) fn of(body: Incoming, host: &str, longest: usize) -> Self {
        Self {
            body,
            host: host.to_owned(),
            longest,
            held: Vec::new(),
            start: 0,
            seen: 0,
        }
    }

    /// The next line without its end; none at the end of the answer, where a piece without a line end is no line.
    ///
    /// Cancel-safe: what was read stays.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, NoLine> {
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
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map(|bytes| &**bytes).unwrap_or_default();
                    self.held.extend_from_slice(bytes);
                }
                Some(Err(cause)) => {
                    return Err(NoLine::Broken(HttpError::Broken {
                        host: self.host.clone(),
                        cause,
                    }));
                }
            }
        }
    }
}
