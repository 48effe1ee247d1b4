//! Header hygiene: what of a client's headers may reach an upstream, and of an upstream's a client.
//!
//! Order of work (protocol D-01): read nested impersonation, [`strip`], and only then add ours. It decides nothing about
//! permission and adds no identity. Invariant: after [`strip`], no header is left that an upstream could take for an
//! identity, a hop's or the gateway's own word, however it was spelt, and nothing is left to process that could remove
//! a header which is added later.

mod impersonation;
pub(crate) mod name;
mod protocols;
mod published;
mod readable;
mod response;
mod rewrite;
mod service;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, COOKIE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use model::header::{MANAGED_NAMES, MANAGED_PREFIXES};

pub use impersonation::{ImpersonationError, RequestedImpersonation};
use name::{Reduced, is_plain};
pub(crate) use protocols::{Shown, strip_own_protocols};
pub use published::{Came, Named, NoHeader, ServiceHeaders, Unsayable};
pub use readable::{NotReadable, ask_readably};
pub use response::{ResponseKind, strip_response, strip_response_to_upgrade};
pub use rewrite::{Rewriting, fuzz_rewrite};
pub use service::{confine_response, confine_switch, strip_own_cookies, strip_trailers};

use crate::listener::Upgrade;

/// What was taken out of a request's headers; the kept ones are still in their map.
#[derive(Debug, Default)]
pub struct Stripped {
    /// Names that were removed, each once, in no particular order. Values are not kept.
    pub dropped: Vec<HeaderName>,
    /// Names that `Connection` nominated, whether they were there or not, each once; at most 64.
    pub nominated: Vec<HeaderName>,
    /// The client's own `Audit-ID`, untrusted; ours takes its place (protocol D-10).
    pub client_audit_id: Option<HeaderValue>,
}

/// Names the record of a request on its answer, for a receipt; only where there is one. Nobody else's word of that name passes.
pub static RECORD: HeaderName = HeaderName::from_static("gatescribe-record");

/// Removes from a request's headers everything that must not go upstream, in place and without a copy of the map.
///
/// Removed are: hop-by-hop headers and those nominated by any `Connection` line (RFC 9110 §7.6.1), save that a nomination
/// of `Host` or a `Content-…` header has no effect; identity and forwarding headers in every spelling that some server
/// takes for them; every other name with `_`; `Authorization`, `Audit-ID`, and what `extra_managed` names (in any
/// spelling), such as configured request-header names. `Cookie` stays: what of it is ours only the route knows.
#[must_use]
pub fn strip(headers: &mut HeaderMap, extra_managed: &[HeaderName]) -> Stripped {
    let mut stripped = Stripped {
        nominated: nominated(headers),
        client_audit_id: headers.get("audit-id").cloned(),
        ..Stripped::default()
    };
    stripped.dropped = headers
        .keys()
        .filter(|name| is_forbidden(name, extra_managed) || may_be_nominated(name) && stripped.nominated.contains(name))
        .cloned()
        .collect();
    for name in &stripped.dropped {
        headers.remove(name);
    }
    stripped
}

/// Removes what on a call to an API server could only be somebody's credential (protocol D-11): no API server takes a
/// cookie, and outside an upgrade to a WebSocket none reads a subprotocol, which may hold a bearer token; of an upgrade's, the
/// identity station has taken the token out. Not for a service behind a route, whose own cookies pass.
pub fn strip_credentials(headers: &mut HeaderMap, upgrade: Option<Upgrade>) {
    headers.remove(COOKIE);
    if upgrade != Some(Upgrade::WebSocket) {
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
    }
}

/// Asks the next hop to switch protocols, in our own words; after [`strip`], which took the client's.
pub fn ask_upgrade(headers: &mut HeaderMap, upgrade: Upgrade) {
    let protocol = match upgrade {
        Upgrade::WebSocket => "websocket",
        Upgrade::Spdy31 => "SPDY/3.1",
    };
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
}

/// Whether `name` may never pass from a client, in whatever spelling; the last check before a request is sent.
#[must_use]
pub fn is_forbidden(name: &HeaderName, extra_managed: &[HeaderName]) -> bool {
    MANAGED.forbids(name, extra_managed)
}

/// What may never pass from a client. There is one in the program; tests leave entries out to see that each is needed.
#[derive(Clone, Copy)]
struct Managed<'a> {
    /// Beginnings of reduced names.
    prefixes: &'a [&'a str],
    /// Reduced names.
    names: &'a [&'a str],
    hops: &'a [HeaderName],
}

/// Whether `name` is of one connection, which no hop hands on.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

static MANAGED: Managed<'static> = Managed {
    prefixes: &MANAGED_PREFIXES,
    names: &MANAGED_NAMES,
    hops: &HOP_BY_HOP,
};

impl Managed<'_> {
    fn forbids(&self, name: &HeaderName, extra: &[HeaderName]) -> bool {
        let bytes = name.as_str().as_bytes();
        if is_plain(bytes) {
            return self.covers(bytes) || self.hops.contains(name) || extra.contains(name);
        }
        if memchr::memchr(b'_', bytes).is_some() {
            return true;
        }
        let reduced = Reduced::of(bytes);
        self.covers(reduced.as_bytes())
            || self
                .hops
                .iter()
                .chain(extra)
                .any(|managed| managed.as_str().as_bytes() == reduced.as_bytes())
    }

    /// Whether a reduced name is one whose word only the gateway may give.
    fn covers(&self, reduced: &[u8]) -> bool {
        self.prefixes
            .iter()
            .any(|prefix| reduced.starts_with(prefix.as_bytes()))
            || self.names.iter().any(|managed| managed.as_bytes() == reduced)
    }
}

/// All names in all `Connection` lines; `HeaderMap::remove` alone would show only the first line (protocol D-03).
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for line in headers.get_all(CONNECTION) {
        for token in line.as_bytes().split(|byte| *byte == b',') {
            let Ok(name) = HeaderName::from_bytes(token.trim_ascii()) else {
                continue;
            };
            if names.len() < MAX_NOMINATED && name != "close" && name != "keep-alive" && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// A nomination must not take away what the request is framed, routed or read by (HDR-07).
fn may_be_nominated(name: &HeaderName) -> bool {
    let name = name.as_str();
    name != "host" && name != COOKIE.as_str() && !name.starts_with("content-")
}

/// RFC 9110 §7.6.1, and what RFC 9113 §8.2.2 adds.
static HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

const MAX_NOMINATED: usize = 64;

/// Builds a header map from lines of data, runs every reader and stripper over it and checks what is left; for fuzzing.
pub fn fuzz_header_strip(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(512) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Some(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = RequestedImpersonation::read(&headers);
    let mut answer = headers.clone();
    strip_response(&mut answer, ResponseKind::Kubernetes);
    confine_response(&mut headers.clone(), true);
    strip_own_cookies(&mut headers.clone());
    let _ = strip(&mut headers, &[]);
    assert!(
        headers.keys().all(|name| !is_forbidden(name, &[])),
        "a forbidden header is left"
    );
    assert!(
        strip(&mut headers, &[]).dropped.is_empty(),
        "stripping is not idempotent"
    );
}

#[cfg(test)]
mod tests;
