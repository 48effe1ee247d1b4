//! What an answer means for its connection, and what the end of a connection is called.
//!
//! Invariant: behind a refusal, and behind an upgrade that did not happen, no further request of that connection is read.

use std::error::Error as _;

use http::{HeaderValue, Response, StatusCode, header};

use super::{
    metrics::CloseReason,
    shared::{Shared, UpgradeDecision},
};

/// What a request asked for, as far as its answer depends on it.
pub(super) struct Asked {
    pub(super) is_upgrade: bool,
    pub(super) is_violation: bool,
}

/// Closes behind a refusal and behind an upgrade that did not happen: what follows is nobody's request.
pub(super) fn settle_http1<B>(response: &mut Response<Option<B>>, asked: &Asked, shared: &Shared) {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches && asked.is_upgrade && !asked.is_violation {
        shared.decide_upgrade(UpgradeDecision::Granted);
        return;
    }
    if switches {
        forbid_switch(response);
    }
    if asked.is_upgrade {
        shared.decide_upgrade(UpgradeDecision::Denied);
    }
    if asked.is_upgrade || asked.is_violation || switches {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if asked.is_violation {
        shared.close_because(CloseReason::Violation);
    }
}

/// Ends the connection behind a refusal, so that nobody without identity keeps one (protocol A-18).
pub(super) fn settle_http2<B>(response: &mut Response<Option<B>>, asked: &Asked, shared: &Shared) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        forbid_switch(response);
    }
    if asked.is_violation || response.status() == StatusCode::UNAUTHORIZED {
        shared.go_away.notify_one();
    }
}

/// A 101 that was not asked for would turn the rest of the connection into bytes that nobody decides about.
fn forbid_switch<B>(response: &mut Response<Option<B>>) {
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    *response.body_mut() = None;
    response.headers_mut().clear();
}

/// Why a connection ended, as far as hyper knows.
pub(super) fn reason_of(result: &hyper::Result<()>, was_idle: bool) -> CloseReason {
    match result {
        Ok(()) if was_idle => CloseReason::Http2Idle,
        Ok(()) => CloseReason::Finished,
        Err(error) if error.is_timeout() => CloseReason::Http2Ping,
        // An answer broke off, which its own record tells. The client broke nothing.
        Err(error) if error.is_user() => CloseReason::Finished,
        Err(error) if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            CloseReason::Disconnected
        }
        Err(error) if error.source().is_some_and(|source| source.is::<std::io::Error>()) => CloseReason::Disconnected,
        Err(error) => match error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
            Some(h2) if h2.is_io() => CloseReason::Disconnected,
            Some(h2) if h2.reason() == Some(h2::Reason::NO_ERROR) => CloseReason::Finished,
            _ => CloseReason::ProtocolError,
        },
    }
}

/// Whether a reason tells of a peer that the record should know, and no request can.
pub(super) fn is_refusal(reason: CloseReason) -> bool {
    match reason {
        CloseReason::ProtocolError
        | CloseReason::FirstByte
        | CloseReason::RequestHead
        | CloseReason::WriteProgress
        | CloseReason::Http2Frame
        | CloseReason::Http2FirstStream
        | CloseReason::Http2Flood => true,
        // A violation was a request of its own, and the others are ordinary ends.
        CloseReason::Violation
        | CloseReason::Finished
        | CloseReason::Disconnected
        | CloseReason::KeepAliveIdle
        | CloseReason::Http2Idle
        | CloseReason::Http2Ping
        | CloseReason::DrainDeadline => false,
    }
}
