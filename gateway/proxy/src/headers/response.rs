//! What of an upstream's answer may reach the client (protocol D-14, HDR-11).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, SET_COOKIE, UPGRADE},
};

use super::{HOP_BY_HOP, nominated};

/// Whose answer it is; services may set cookies of their own, the Kubernetes API may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// An answer of a Kubernetes API server.
    Kubernetes,
    /// An answer of a published service.
    Service,
}

/// Removes hop-by-hop headers, nominated ones and orders to other proxies from an answer, in place.
///
/// Kept is everything else, among it `Warning`, `Audit-Id`, `Retry-After`, `Etag`, `Cache-Control`,
/// `Strict-Transport-Security` and `X-Kubernetes-Pf-…`. A nomination cannot remove `Content-…` or a kept header of these.
pub fn strip_response(headers: &mut HeaderMap, kind: ResponseKind) {
    for name in nominated(headers) {
        if !is_needed(&name) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP.iter().chain(&ORDERS_TO_PROXIES) {
        headers.remove(name);
    }
    if kind == ResponseKind::Kubernetes {
        headers.remove(SET_COOKIE);
    }
}

/// The same for a Kubernetes API server's 101, which the sender has compared with what was asked: its switch and the protocols
/// that it chose stay.
pub fn strip_response_to_upgrade(headers: &mut HeaderMap) {
    let upgrade = headers.get(UPGRADE).cloned();
    strip_response(headers, ResponseKind::Kubernetes);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
}

fn is_needed(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-")
        || matches!(
            name,
            "audit-id" | "cache-control" | "retry-after" | "strict-transport-security" | "warning" | "www-authenticate"
        )
}

/// Orders that proxies in front of us might carry out.
pub(super) static ORDERS_TO_PROXIES: [HeaderName; 4] = [
    HeaderName::from_static("x-accel-redirect"),
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-sendfile"),
    HeaderName::from_static("x-reproxy-url"),
];
