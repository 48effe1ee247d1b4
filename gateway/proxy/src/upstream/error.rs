//! How sending can fail, what that says about the effect, and by whose fault.

use std::time::Duration;

use http::Request;
use reach::ReachError;

use super::IdentityBroken;

/// A request that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError<B> {
    /// Nothing of it was processed and its body was not touched: here it is again.
    #[error("not sent: {why}")]
    NotSent {
        /// The request as it was given.
        request: Box<Request<B>>,
        /// What kept it.
        why: Why,
    },
    /// The upstream refused it before processing (RFC 9113 §8.7), yet its body is partly gone. There was no effect.
    #[error("not processed: {why}")]
    Unprocessed {
        /// What the upstream said, or how the connection ended.
        why: Why,
    },
    /// It may or may not have had its effect.
    #[error("outcome unknown: {why}")]
    Unknown {
        /// How it was lost, or how long the upstream was silent.
        why: Why,
    },
}

impl<B> SendError<B> {
    /// Why it failed.
    pub fn why(&self) -> &Why {
        match self {
            Self::NotSent { why, .. } | Self::Unprocessed { why } | Self::Unknown { why } => why,
        }
    }
}

/// A request that has no answer, and how often it was tried.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NoAnswer<B> {
    /// What is known about its effect.
    pub error: SendError<B>,
    /// How often it was handed to a connection; 0: none took it.
    pub attempts: u32,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Upstream,
    Operator,
    Us,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// No connection could be opened.
    #[error("the cluster cannot be reached")]
    Reach(#[source] ReachError),
    /// As many requests wait for a connection as may.
    #[error("too many requests wait for a connection to the cluster")]
    QueueFull,
    /// No connection became free in time.
    #[error("no connection to the cluster became free within {within:?}")]
    WaitedTooLong { within: Duration },
    /// The identity headers are not what was decided. Never sent.
    #[error("the request's identity headers are wrong")]
    Identity(#[from] IdentityBroken),
    /// The head cannot be written in the upstream's protocol. Never sent.
    #[error("the request's head cannot be sent upstream")]
    Head,
    /// Connection after connection closed before it took the request.
    #[error("the cluster closed each connection before it took the request")]
    Closed,
    /// The upstream refused the stream each time.
    #[error("the cluster refused the request before processing it")]
    Refused,
    /// The connection ended while the request was in the open.
    #[error("the connection to the cluster was lost")]
    Lost,
    /// The connection went silent: pings were not answered.
    #[error("the connection to the cluster went silent")]
    Silent,
    /// The upstream reset the stream.
    #[error("the cluster reset the request: {reason}")]
    Reset { reason: h2::Reason },
    /// No answer in time.
    #[error("the cluster did not answer within {within:?}")]
    AnswerTimedOut { within: Duration },
    /// The request's own body ended in an error.
    #[error("the request's body broke off")]
    RequestBody,
    /// Something came that must not be passed on.
    #[error("the cluster's answer is not usable")]
    BadAnswer(#[from] BadAnswer),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    #[error("it switches protocols unasked")]
    UnaskedUpgrade,
    #[error("it switches to another protocol than asked for")]
    WrongUpgrade,
    #[error("too many interim answers precede it")]
    TooManyInterim,
    #[error("its status {0} is none of HTTP")]
    Status(u16),
    #[error("its length can be read in two ways")]
    Framing,
    #[error("it cannot be parsed")]
    Malformed,
}

impl Why {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Reach(error) => match error.fault() {
                reach::Fault::Operator => Fault::Operator,
                reach::Fault::Upstream => Fault::Upstream,
            },
            Self::QueueFull
            | Self::WaitedTooLong { .. }
            | Self::Closed
            | Self::Refused
            | Self::Lost
            | Self::Silent
            | Self::Reset { .. }
            | Self::AnswerTimedOut { .. }
            | Self::BadAnswer(_) => Fault::Upstream,
            Self::Identity(_) | Self::Head => Fault::Us,
            Self::RequestBody => Fault::Client,
        }
    }
}

/// One attempt on one connection failed.
pub(super) enum Failed<T> {
    /// Provably not processed.
    Unprocessed { outgoing: T, why: Why },
    /// Sent, and nothing was answered. The request is here if it has no body.
    Unanswered { outgoing: Option<T>, why: Why },
    /// Sent, and the answer is bad or its time is over, or it cannot be sent at all.
    Final { why: Why },
}
