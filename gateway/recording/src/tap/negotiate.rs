//! Which protocol an upgraded connection speaks, from the heads of its request and its answer.
//!
//! The answer decides among the protocols of what was asked for: a client offers, the server chooses (RFC 6455 §4.2.2;
//! `X-Stream-Protocol-Version` of k8s.io/streaming/pkg/httpstream). Invariant: total; a name that is not known here is never taken for one that is.

use super::{Protocol, Version};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `exec` or `attach`, of the API server or of a node's kubelet.
    Command,
    /// `portforward`, of either.
    Forward,
    /// A `proxy` subresource, a watch, anything else that upgrades.
    Other,
}

/// What the heads of an upgrade say.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'a> {
    /// What was asked for.
    pub act: Act,
    /// `Upgrade` of the answer.
    pub upgrade: &'a str,
    /// `Sec-WebSocket-Protocol` of the answer.
    pub subprotocol: Option<&'a str>,
    /// `X-Stream-Protocol-Version` of the answer.
    pub stream_version: Option<&'a str>,
}

impl Protocol {
    /// The protocol that was agreed upon; None when nobody can read it: a command, a port-forward or SPDY in a version that is not known here, or no known upgrade at all.
    #[must_use]
    pub fn of(agreed: &Upgrade<'_>) -> Option<Self> {
        if agreed.upgrade.eq_ignore_ascii_case("websocket") {
            return Self::of_websocket(agreed.act, agreed.subprotocol.unwrap_or_default());
        }
        if agreed.upgrade.eq_ignore_ascii_case("SPDY/3.1") {
            return Self::of_spdy(agreed.act, agreed.stream_version.unwrap_or_default());
        }
        None
    }

    /// What is behind a `proxy` subresource chooses the name itself, and may be the caller's own: no name of it says how it is read.
    fn of_websocket(act: Act, subprotocol: &str) -> Option<Self> {
        let command = |base64, version| Some(Self::WebSocketCommand { base64, version });
        match (act, subprotocol) {
            (Act::Command, "" | "channel.k8s.io") => command(false, Version::V1),
            (Act::Command, "base64.channel.k8s.io") => command(true, Version::V1),
            (Act::Command, "v4.channel.k8s.io") => command(false, Version::V4),
            (Act::Command, "v4.base64.channel.k8s.io") => command(true, Version::V4),
            (Act::Command, "v5.channel.k8s.io") => command(false, Version::V5),
            (Act::Forward, "" | "v4.channel.k8s.io") => Some(Self::WebSocketForward { base64: false }),
            (Act::Forward, "v4.base64.channel.k8s.io") => Some(Self::WebSocketForward { base64: true }),
            (Act::Forward, "SPDY/3.1+portforward.k8s.io") => Some(Self::WebSocketTunnel),
            (Act::Other, _) => Some(Self::WebSocketPlain),
            (Act::Command | Act::Forward, _) => None,
        }
    }

    fn of_spdy(act: Act, version: &str) -> Option<Self> {
        let command = |version| Some(Self::SpdyCommand { version });
        match (act, version) {
            (Act::Command, "" | "channel.k8s.io") => command(Version::V1),
            (Act::Command, "v2.channel.k8s.io") => command(Version::V2),
            (Act::Command, "v3.channel.k8s.io") => command(Version::V3),
            (Act::Command, "v4.channel.k8s.io") => command(Version::V4),
            (Act::Command, "v5.channel.k8s.io") => command(Version::V5),
            (Act::Forward, "" | "portforward.k8s.io") => Some(Self::SpdyForward),
            _ => None,
        }
    }
}

/// The ports of a port-forward from the values of its parameters, each decoded: a list with commas, or one port each. The API server
/// calls them `ports`, a node's kubelet `port`.
///
/// None when there is none, one is no port, or there are too many: without its ports no channel could be told from another, so there is
/// no tap. Both servers refuse these too (k8s.io/apimachinery/pkg/runtime `Convert_Slice_string_To_Slice_int32`,
/// k8s.io/cri-streaming/pkg/streaming/portforward `NewV4Options`).
#[must_use]
pub fn ports(values: impl Iterator<Item: AsRef<[u8]>>) -> Option<Vec<u16>> {
    let mut ports = Vec::new();
    for value in values {
        for text in value.as_ref().split(|byte| *byte == b',') {
            if ports.len() == MAX_PORTS {
                return None;
            }
            ports.push(port(text)?);
        }
    }
    (!ports.is_empty()).then_some(ports)
}

/// A port as Go's `strconv.ParseUint` reads it: digits alone, and not 0.
pub(super) fn port(text: &[u8]) -> Option<u16> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port: u16 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (port > 0).then_some(port)
}

/// Two channels each must fit below the close signal, 255.
const MAX_PORTS: usize = 127;
