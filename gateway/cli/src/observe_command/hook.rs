//! The webhook backend: the API server posts lists of events, and hears `200` when all of them are durable.
//!
//! An answer that is lost makes the API server send the list again: what is there already is not written twice. One that cannot be
//! kept is answered with 503, and so comes again. One that is no list of events, or too long, is counted once and refused: the API server
//! sends it again whatever the answer is (five times, then it drops it), and it may have been torn on its way. Of a list in which single
//! events cannot be read all others are taken, and the answer is `200`, as nothing more could be had.
//!
//! **When it is full:** [`PLACES`] requests are read at once, each up to [`MOST_BODY`]; the others get 503 and come again. Only
//! whom the certificate or the token proves takes a place. Events of a list are read and made durable some thousand at a time, so that a
//! list of however many small items takes no more memory than its bytes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::Digest;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use proxy::listener::{ClientCertificate, Conn, Handler, Head, Inbound, InboundError, Refused};
use tokio::sync::Semaphore;

use super::intake::Intake;
use crate::server_log::TooLong;

/// Lists that are read at once.
const PLACES: usize = 8;
/// The API server sends at most 10 MB at once (`--audit-webhook-truncate-max-batch-size`), more only where it was told to.
const MOST_BODY: usize = 32 << 20;
/// By so much of a longer one it is told from others.
const MOST_HASHED: usize = 8 * MOST_BODY;
/// What is said of a longer one.
const TOO_LONG: &str = "a list is longer than 32 MiB: have the API server send smaller ones (--audit-webhook-batch-max-size, \
                        --audit-webhook-truncate-enabled), or follow its log file";
/// From the head of a request to the last byte of its body.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Who may post events.
#[derive(Debug)]
pub(super) struct Allowed {
    /// Whoever the client CA vouches for.
    pub(super) certificates: bool,
    /// Digests of bearer tokens, so that a comparison says nothing of them.
    pub(super) token: Option<[u8; 32]>,
}

impl Allowed {
    fn knows(&self, conn: &Conn, headers: &HeaderMap) -> bool {
        let proved = self.certificates && matches!(conn.client_certificate(), ClientCertificate::Verified(_));
        let token = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = token.and_then(|value| value.strip_prefix(b"Bearer "));
        proved
            || self
                .token
                .is_some_and(|known| token.is_some_and(|token| digest(token) == known))
    }
}

/// What stands for a token.
pub(super) fn digest(token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let whole = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token);
    bytes.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// Answers requests.
pub(super) struct Hook {
    intake: Arc<Mutex<Intake>>,
    allowed: Allowed,
    places: Semaphore,
    /// Called when events were taken.
    told: Box<dyn Fn() + Send + Sync>,
}

type Answer = Response<Full<Bytes>>;

/// A list as it comes.
#[derive(Default)]
struct Listed {
    bytes: Vec<u8>,
    /// Of one that is too long what stands for its first [`MOST_BODY`] bytes, and for all of them.
    long: Option<(Digest, TooLong)>,
}

impl Listed {
    /// Reads it to its end, or as far as [`MOST_HASHED`]. What is too long is held no longer.
    async fn read(&mut self, mut body: Inbound) -> Result<(), InboundError> {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            read += data.len();
            self.push(&data);
            if read > MOST_HASHED {
                break;
            }
        }
        Ok(())
    }

    fn push(&mut self, data: &[u8]) {
        if let Some((_, long)) = &mut self.long {
            long.push(data);
            return;
        }
        let (fits, over) = data.split_at(data.len().min(MOST_BODY - self.bytes.len()));
        self.bytes.extend_from_slice(fits);
        if !over.is_empty() {
            let mut long = TooLong::default();
            long.push(&std::mem::take(&mut self.bytes));
            let begin = long.digest();
            long.push(over);
            self.long = Some((begin, long));
        }
    }
}

impl Hook {
    pub(super) fn new(intake: Arc<Mutex<Intake>>, allowed: Allowed, told: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            intake,
            allowed,
            places: Semaphore::new(PLACES),
            told: Box::new(told),
        }
    }

    async fn answer(&self, conn: &Conn, request: Request<Inbound>) -> Answer {
        if !self.allowed.knows(conn, request.headers()) {
            return said(StatusCode::UNAUTHORIZED, "nobody is known by this certificate or token");
        }
        if request.method() != Method::POST {
            let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "events are posted");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let Ok(_place) = self.places.try_acquire() else {
            return again("too many lists at once");
        };
        let peer = conn.peer_ip().to_string();
        let mut listed = Listed::default();
        let read = tokio::time::timeout(BODY_WITHIN, listed.read(request.into_body())).await;
        match (read, listed.long) {
            (Ok(Ok(())), None) => self.take(peer, Ok(listed.bytes.into())).await,
            // The same list, sent again, is the same one, however much of its end comes.
            (Ok(Ok(())), Some((_, whole))) => self.take(peer, Err(whole.digest())).await,
            (_, Some((begin, _))) => self.take(peer, Err(begin)).await,
            // Nothing was taken: the API server sends it again.
            (Ok(Err(_)) | Err(_), None) => again("the request did not come whole in time"),
        }
    }

    /// Answered only when all that can be read is durable; `Err` stands for a list that is too long.
    async fn take(&self, peer: String, body: Result<Bytes, Digest>) -> Answer {
        let intake = Arc::clone(&self.intake);
        let taken = tokio::task::spawn_blocking(move || {
            let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            let place = |number| match number {
                0 => format!("{peer}: a list"),
                _ => format!("{peer}: event {number} of a list"),
            };
            let mut waiting = Vec::new();
            let answer = match body {
                Ok(body) => {
                    let wrong = intake.line(&mut waiting, 0, &body, &place)?;
                    wrong.map(|why| (StatusCode::BAD_REQUEST, why))
                }
                Err(list) => {
                    intake.unreadable(&place(0), (0, 0), &list, TOO_LONG);
                    Some((StatusCode::PAYLOAD_TOO_LARGE, TOO_LONG.to_owned()))
                }
            };
            intake.take(&waiting)?;
            anyhow::Ok(answer)
        });
        match taken.await {
            Ok(Ok(None)) => {
                (self.told)();
                said(StatusCode::OK, "durable")
            }
            Ok(Ok(Some((status, why)))) => said(status, &why),
            Ok(Err(error)) => {
                crate::terminal::fail(&error);
                again("it cannot be kept at the moment")
            }
            Err(_) => again("a fault of ours"),
        }
    }
}

fn said(status: StatusCode, why: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{why}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

fn again(why: &str) -> Answer {
    let mut answer = said(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

impl Handler for Hook {
    type Body = Full<Bytes>;

    async fn handle(&self, conn: Arc<Conn>, head: Head, request: Request<Inbound>) -> Answer {
        match head.violation {
            Some(violation) => said(violation.status(), violation.text()),
            None => self.answer(&conn, request).await,
        }
    }

    /// The listener counts them.
    fn connection_refused(&self, _: &Conn, _: Refused) {}
}
