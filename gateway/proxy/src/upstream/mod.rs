//! Station 5: connect and forward. An own connection pool for one cluster.
//!
//! hyper's pooled client opens one HTTP/2 connection per host and queues silently once its streams are used up
//! (I-03), and its HTTP/2 body reader takes a peer's `RST_STREAM(CANCEL)` for a clean end (G-07). So this pool
//! stands on `hyper::client::conn::http1` and, for HTTP/2, on the crate hyper itself uses for it, `h2`: that is where the live
//! stream limit, exact reset and GOAWAY causes and interim answers can be seen.
//!
//! What holds here, and the test ids that try to break it:
//! - A request waits behind no watch: classes have connections of their own, streams are counted against the peer's
//!   limit, and a further connection is opened instead of queueing on a full one (I-03).
//! - A stalled reader harms itself only: stream window × streams ≤ connection window (I-04); follow-logs, and what a backend
//!   answers through a `proxy` subresource, are HTTP/1.1 (I-05).
//! - A request goes out again only if it provably was not processed, or, where the caller says it is a pure read, if
//!   nothing was answered (I-06, I-07, UPS-03, UPS-04). Everything else is [`SendError::Unknown`].
//! - An HTTP/1.1 connection serves the next request only after a clean end on both sides (H1-29, promise 7), and one to a service
//!   none behind a body, which the service may not have read.
//! - A truncated answer ends in an error, never cleanly (UPS-01, G-07).
//!
//! And when it is full? Sockets per class, requests waiting and the time they wait are bounded ([`Limits`]); beyond that
//! the request comes back unsent as [`Why::QueueFull`] or [`Why::WaitedTooLong`].

mod answer;
mod body;
mod error;
mod gate;
mod http1;
mod http2;
mod identity;
mod lane;
mod metrics;
mod outgoing;
mod pool;
mod socket;
mod taken;
mod upload;

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderValue;

use crate::observe::listed;

pub use body::{BodyError, UpstreamBody};
pub use error::{BadAnswer, Fault, NoAnswer, SendError, Why};
pub use gate::{NoEffectAnswer, effect, read};
pub use identity::{IdentityBroken, assert_identity};
pub use metrics::UpstreamMetrics;
pub use outgoing::{BoxError, SendBody};
pub use pool::{Facts, Limits, MOST_SOCKETS, Pool};

listed! {
    /// What kind of stream a request opens; each has connections of its own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum StreamClass {
        /// Answers and ends.
        Short,
        /// Stays open; HTTP/2 where offered.
        Watch,
        /// `log?follow` and whatever else sends many tiny chunks: HTTP/1.1, one stream per connection.
        FollowLog,
        /// Plain requests through a `proxy` subresource, whose answers somebody else writes in pieces of any size: HTTP/1.1, one
        /// stream per connection.
        Proxied,
        /// exec, attach, port-forward, WebSockets: HTTP/1.1 on a connection never used again.
        Upgrade,
    }
}

/// When a request may be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Only if it provably was not processed. Right for everything that may have an effect.
    IfUnprocessed,
    /// Also if the connection was lost before anything was answered; for pure reads. Takes effect for GET and HEAD
    /// without a body and once per request.
    IfUnanswered,
}

/// Whom the identity headers of a request must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Exactly one `Impersonate-User` with this value.
    User(HeaderValue),
    /// No impersonation at all: services, never the Kubernetes API with the impersonator's credential.
    Nobody,
}

/// How one request is to be sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which of the pool's connections may carry it.
    pub class: StreamClass,
    /// Whom its identity headers must name; looked at once more when it is sent.
    pub expected: Expected,
    /// When it may be sent a second time.
    pub repeat: Repeat,
    /// The host that the request names; `None`: the server's own.
    pub host: Option<HeaderValue>,
    /// How long the answer's head may take once the other side has all of the request, and how long it may take nothing of what there
    /// is of one; `None`: as long as the caller waits. The caller adds the request's own `timeout` (G-04).
    pub answer_within: Option<Duration>,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(75);

impl Call {
    /// A call that repeats only what was not processed, with a minute and a quarter for the answer's head, above the API server's own
    /// minute so that its 504 arrives and not ours; long-running classes have no such limit.
    #[must_use]
    pub fn new(class: StreamClass, expected: Expected) -> Self {
        let answer_within = match class {
            StreamClass::Short => Some(ANSWER_WITHIN),
            StreamClass::Watch | StreamClass::FollowLog | StreamClass::Proxied | StreamClass::Upgrade => None,
        };
        Self {
            class,
            expected,
            repeat: Repeat::IfUnprocessed,
            host: None,
            answer_within,
        }
    }

    /// The same, for an upgrade: on a connection of its own. The answer's head may take as long as a short request's: what
    /// goes on is what follows it.
    #[must_use]
    pub fn upgraded(mut self) -> Self {
        self.class = StreamClass::Upgrade;
        self.answer_within = Some(ANSWER_WITHIN);
        self
    }

    /// The same, naming this host.
    #[must_use]
    pub fn of_host(mut self, host: HeaderValue) -> Self {
        self.host = Some(host);
        self
    }

    /// Whether nobody can know where the next request begins on an HTTP/1.1 connection that carried this one. A service may answer
    /// without having read the body and take it for the next request, then under whatever name that one is sent (promise 7); nothing
    /// in its answer says whether it has. The Kubernetes API is known to read what it is sent, or to close.
    const fn leaves_in_doubt(&self, is_bodiless: bool) -> bool {
        matches!(self.expected, Expected::Nobody) && !is_bodiless && !matches!(self.class, StreamClass::Upgrade)
    }

    /// The same, for a pure read.
    #[must_use]
    pub fn pure_read(mut self) -> Self {
        self.repeat = Repeat::IfUnanswered;
        self
    }
}
