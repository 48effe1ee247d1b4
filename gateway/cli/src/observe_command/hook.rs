//! The webhook backend: the API server posts lists of events, and hears `200` when all of them are durable.
//!
//! An answer that is lost makes the API server send the list again: what is there already is not written twice. One that cannot be
//! kept is answered with 503, and so comes again; one that cannot be read would never be readable, and is counted and told instead.
//!
//! **When it is full:** [`PLACES`] requests are read at once, each up to [`MOST_BODY`]; the others get 503 and come again. Only
//! whom the certificate or the token proves takes a place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use proxy::listener::{ClientCertificate, Conn, Handler, Head, Inbound, Refused};
use tokio::sync::Semaphore;

use super::intake::Intake;

/// Lists that are read at once.
const PLACES: usize = 8;
/// The API server sends at most 10 MB at once (`--audit-webhook-truncate-max-batch-size`), more only where it was told to.
const MOST_BODY: usize = 32 << 20;
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
        let collected = Limited::new(request.into_body(), MOST_BODY).collect();
        let body = match tokio::time::timeout(BODY_WITHIN, collected).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return self
                    .unread(&peer, "a list is too long", StatusCode::PAYLOAD_TOO_LARGE)
                    .await;
            }
            // Nothing was taken: the API server sends it again.
            Ok(Err(_)) | Err(_) => return again("the request did not come whole in time"),
        };
        match insight::read_each(&body) {
            Ok(events) => self.take(peer, events).await,
            Err(error) => self.unread(&peer, &error.to_string(), StatusCode::BAD_REQUEST).await,
        }
    }

    /// Answered only when all that can be read is durable.
    async fn take(&self, peer: String, read: Vec<Result<insight::ServerEvent, insight::ServerLogError>>) -> Answer {
        let intake = Arc::clone(&self.intake);
        let taken = tokio::task::spawn_blocking(move || {
            let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            let mut events = Vec::with_capacity(read.len());
            for (at, event) in read.into_iter().enumerate() {
                match event {
                    Ok(event) => events.push(event),
                    Err(error) => intake.unreadable(&format!("{peer}: event {at} of a list"), &error.to_string()),
                }
            }
            intake.take(&events)
        });
        match taken.await {
            Ok(Ok(())) => {
                (self.told)();
                said(StatusCode::OK, "durable")
            }
            Ok(Err(error)) => {
                crate::terminal::fail(&error);
                again("it cannot be kept at the moment")
            }
            Err(_) => again("a fault of ours"),
        }
    }

    /// Counts what will never be readable, and records that there was something.
    async fn unread(&self, peer: &str, why: &str, status: StatusCode) -> Answer {
        let (intake, place, why) = (Arc::clone(&self.intake), format!("{peer}: a list"), why.to_owned());
        let words = why.clone();
        let told = tokio::task::spawn_blocking(move || {
            let mut intake = intake.lock().unwrap_or_else(PoisonError::into_inner);
            intake.unreadable(&place, &why);
            intake.take(&[])
        });
        match told.await {
            Ok(Ok(())) => said(status, &words),
            _ => again("it cannot be kept at the moment"),
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
