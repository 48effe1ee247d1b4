//! Which tap reads a tunnel, from what was asked and what the cluster's 101 chose.

use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName};
use model::request::Action;
use recording::tap::{self, Act, Protocol, Tap};

use crate::audit::Trail;

/// The tap for a call whose answer has these headers. None: nobody can read what follows.
pub(crate) fn tap(trail: &Trail, answered: &HeaderMap) -> Option<Tap> {
    let text = |name: &HeaderName| answered.get(name).and_then(|value| value.to_str().ok());
    let act = match trail.facts.as_ref()?.action() {
        Action::Exec | Action::Attach => Act::Command,
        Action::PortForward => Act::Forward,
        _ => Act::Other,
    };
    let protocol = Protocol::of(&tap::Upgrade {
        act,
        upgrade: text(&UPGRADE)?,
        subprotocol: text(&SEC_WEBSOCKET_PROTOCOL),
        stream_version: text(&STREAM_PROTOCOL),
    })?;
    let ports = match protocol {
        Protocol::WebSocketForward { .. } => {
            let query = trail.target.as_ref()?.query();
            tap::ports(
                query
                    .filter(|(name, _)| name.as_ref() == b"ports")
                    .map(|(_, value)| value),
            )?
        }
        _ => Vec::new(),
    };
    Some(Tap::new(protocol, ports))
}

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
