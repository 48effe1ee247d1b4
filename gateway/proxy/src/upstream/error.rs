//! How sending can fail, what that says about the effect, and by whose fault.

use std::fmt;
use std::time::Duration;

use http::Request;
use reach::ReachError;

use super::IdentityBroken;
use crate::whom::Whom;

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

/// Why a request has no answer. As text it is of a cluster; [`Why::in_words`] says it of either.
#[derive(Debug)]
pub enum Why {
    /// No connection could be opened.
    Reach(ReachError),
    /// As many requests wait for a connection as may.
    QueueFull,
    /// No connection became free in time.
    WaitedTooLong { within: Duration },
    /// The identity headers are not what was decided. Never sent.
    Identity(IdentityBroken),
    /// The head cannot be written in the upstream's protocol. Never sent.
    Head,
    /// Connection after connection closed before it took the request.
    Closed,
    /// The upstream refused the stream each time.
    Refused,
    /// The connection ended while the request was in the open.
    Lost,
    /// The connection went silent: pings were not answered.
    Silent,
    /// The upstream reset the stream.
    Reset { reason: h2::Reason },
    /// No answer in time.
    AnswerTimedOut { within: Duration },
    /// The request's own body ended in an error.
    RequestBody,
    /// Something came that must not be passed on.
    BadAnswer(BadAnswer),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(Whom::Cluster))
    }
}

impl std::error::Error for Why {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Reach(error) => Some(error),
            Self::Identity(error) => Some(error),
            Self::BadAnswer(error) => Some(error),
            Self::QueueFull
            | Self::WaitedTooLong { .. }
            | Self::Head
            | Self::Closed
            | Self::Refused
            | Self::Lost
            | Self::Silent
            | Self::Reset { .. }
            | Self::AnswerTimedOut { .. }
            | Self::RequestBody => None,
        }
    }
}

impl From<IdentityBroken> for Why {
    fn from(broken: IdentityBroken) -> Self {
        Self::Identity(broken)
    }
}

impl From<BadAnswer> for Why {
    fn from(bad: BadAnswer) -> Self {
        Self::BadAnswer(bad)
    }
}

impl Why {
    /// The same of whom it was sent to; the cause is no part of it.
    #[must_use]
    pub fn in_words(&self, whom: Whom) -> String {
        match self {
            Self::Reach(_) => format!("{whom} cannot be reached"),
            Self::QueueFull => format!("too many requests wait for a connection to {whom}"),
            Self::WaitedTooLong { within } => format!("no connection to {whom} became free within {within:?}"),
            Self::Identity(_) => "the request's identity headers are wrong".to_owned(),
            Self::Head => "the request's head cannot be sent upstream".to_owned(),
            Self::Closed => format!("{whom} closed each connection before it took the request"),
            Self::Refused => format!("{whom} refused the request before processing it"),
            Self::Lost => format!("the connection to {whom} was lost"),
            Self::Silent => format!("the connection to {whom} went silent"),
            Self::Reset { reason } => format!("{whom} reset the request: {reason}"),
            Self::AnswerTimedOut { within } => format!("{whom} did not answer within {within:?}"),
            Self::RequestBody => "the request's body broke off".to_owned(),
            Self::BadAnswer(_) => format!("{whom}'s answer is not usable"),
        }
    }
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
