//! The HTTP side: one path, one method, bounded bodies, and the statuses of the specification.
//!
//! **When it is full:** a body is read whole before its request takes one of 32 places, and [`super::waiting`] shares the room for
//! bodies that are still being sent. Who finds no room, is displaced, or finds no place gets 503 with `Retry-After`, and asks again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use ledger::MAX_CONSISTENCY_LEN;
use ledger::witness::{Refused, SIZE_TYPE, Witness};
use model::chain::chain;
use model::time::Timestamp;
use proxy::listener::{Conn, Handler, Head, Inbound, Refused as ConnectionRefused};
use tokio::sync::Semaphore;

use super::metrics::{Counts, Outcome};
use super::unproved::Unproved;
use super::waiting::{Sent, Waiting};

const PATH: &str = "/add-checkpoint";
/// Requests that are judged at once.
const PLACES: usize = 32;
/// From the head of a request to the last byte of its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Front {
    witness: Arc<Witness>,
    counts: Arc<Counts>,
    waiting: Arc<Waiting>,
    places: Semaphore,
    unproved: Unproved,
    clock: fn() -> Timestamp,
}

type Answer = Response<Full<Bytes>>;
type Ended = (Outcome, Answer);

impl Front {
    pub(crate) fn new(witness: Arc<Witness>, counts: Arc<Counts>, clock: fn() -> Timestamp) -> Self {
        Self {
            witness,
            counts,
            waiting: Arc::default(),
            places: Semaphore::new(PLACES),
            unproved: Unproved::default(),
            clock,
        }
    }

    /// How it ended, of which log it said that it is, and what is answered.
    async fn answer(&self, peer: IpAddr, target: &[u8], request: Request<Inbound>) -> (Option<String>, Ended) {
        if target != PATH.as_bytes() {
            let nothing = refuse(StatusCode::NOT_FOUND, "the only thing here is /add-checkpoint");
            return (None, nothing);
        }
        if request.method() != Method::POST {
            let (outcome, mut answer) = refuse(StatusCode::METHOD_NOT_ALLOWED, "checkpoints are posted");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return (None, (outcome, answer));
        }
        let Some(sent) = self.waiting.enter(peer) else {
            return (None, full("too many requests of your network at once"));
        };
        match body(request.into_body(), &sent).await {
            Ok(body) => {
                let log = self.witness.log_of(&body).map(str::to_owned);
                let ended = self.judge(body, log.as_deref()).await;
                (log, ended)
            }
            Err(refused) => (None, refused),
        }
    }

    async fn judge(&self, body: Bytes, log: Option<&str>) -> Ended {
        // Until here it has cost memory and time of its own.
        let Ok(_place) = self.places.try_acquire() else {
            return full("too many requests at once");
        };
        let witness = Arc::clone(&self.witness);
        // It syncs to the disk.
        match tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await {
            Ok(Ok(signature)) => (Outcome::Cosigned, said(StatusCode::OK, format!("{signature}\n"))),
            Ok(Err(refused)) => {
                self.say(&refused, log.unwrap_or_default());
                refused_by(&refused)
            }
            Err(error) => {
                tracing::error!(%error, "a request met a fault of ours");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "a fault of this witness")
            }
        }
    }

    /// Says what a person has to look at. The checkpoint stands there as it was signed, so that the log can be held against it.
    fn say(&self, refused: &Refused, log: &str) {
        let evidence = refused.evidence().unwrap_or_default();
        match outcome(refused) {
            // Nobody without the log's key can cause it.
            Outcome::Contradiction => {
                tracing::error!(log, why = %refused, checkpoint = evidence, "refused: a log contradicts what it showed before")
            }
            Outcome::Unproved if self.unproved.is_new(log, evidence, (self.clock)()) => {
                tracing::error!(log, why = %refused, checkpoint = evidence, "refused: a log's checkpoint came without a proof that it goes on from what was cosigned; hold the log against it, with `ledger verify --remembered`: if it does not hold, the log forked, and else a stranger sent a wrong proof")
            }
            Outcome::Fault => {
                let why = chain(refused);
                tracing::error!(log, why, "nothing can be cosigned");
            }
            _ => tracing::debug!(log, why = %refused, "refused"),
        }
    }
}

/// The whole body, unless it is too long, too slow, or gives way to another's.
async fn body(body: Inbound, sent: &Sent) -> Result<Bytes, Ended> {
    let collected = Limited::new(body, MAX_CONSISTENCY_LEN).collect();
    let collected = tokio::select! {
        collected = tokio::time::timeout(BODY_WITHIN, collected) => collected,
        () = sent.displaced() => return Err(full("another request took the room of this one, which was slow")),
    };
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "no checkpoint is so long"))
        }
        Ok(Err(_)) => Err(refuse(StatusCode::BAD_REQUEST, "the request broke off")),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the request did not come in time")),
    }
}

fn full(why: &str) -> Ended {
    let (_, mut answer) = refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    (Outcome::Full, answer)
}

impl Handler for Front {
    type Body = Full<Bytes>;

    async fn handle(&self, conn: Arc<Conn>, head: Head, request: Request<Inbound>) -> Answer {
        let (log, (outcome, answer)) = match head.violation {
            Some(violation) => (None, refuse(violation.status(), violation.text())),
            None => self.answer(conn.peer().ip(), &head.target, request).await,
        };
        self.counts.count(log.as_deref(), outcome);
        answer
    }

    /// The listener counts them.
    fn connection_refused(&self, _: &Conn, _: ConnectionRefused) {}
}

fn outcome(refused: &Refused) -> Outcome {
    match refused {
        Refused::Malformed(_) | Refused::Shrunk { .. } => Outcome::Malformed,
        Refused::UnknownLog { .. } | Refused::Signature | Refused::NotNewest { .. } | Refused::Changes => {
            Outcome::Unknown
        }
        Refused::Conflict { .. } | Refused::Retired { is_beyond: false, .. } => Outcome::Conflict,
        Refused::Forked { .. } | Refused::Retired { is_beyond: true, .. } => Outcome::Contradiction,
        Refused::Inconsistent { signed: Some(_), .. } => Outcome::Unproved,
        Refused::Inconsistent { signed: None, .. } => Outcome::Malformed,
        Refused::Memory(_) | Refused::Sign(_) => Outcome::Fault,
    }
}

fn refused_by(refused: &Refused) -> Ended {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let outcome = outcome(refused);
    if let Some(size) = refused.known_size() {
        let mut answer = said(status, format!("{size}\n"));
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(SIZE_TYPE));
        return (outcome, answer);
    }
    let words = match outcome {
        // Paths and errors of the disk are for the operator.
        Outcome::Fault => "nothing can be cosigned at the moment\n".to_owned(),
        _ => format!("{}\n", chain(refused)),
    };
    (outcome, said(status, words))
}

fn refuse(status: StatusCode, why: &str) -> Ended {
    (Outcome::Malformed, said(status, format!("{why}\n")))
}

fn said(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
