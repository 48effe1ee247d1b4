//! Who calls, from one request's head: peer, agent, cookies, origin of the page.

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::FromRequestParts;
use http::request::Parts as Head;
use http::{HeaderMap, header};

use crate::cookie::{self, Cookies};
use crate::record::Peer;

/// What the handlers need of a request's head.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Option<Peer>,
    pub(crate) agent: Option<String>,
    pub(crate) cookies: Cookies,
    pub(crate) page: PageOrigin,
    pub(crate) bearer: Option<state::Secret>,
}

/// What the browser says about the page that sent a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PageOrigin {
    /// `Sec-Fetch-Site: same-origin`; no page can forge it.
    SameOrigin,
    /// Some other page, or a browser that says nothing of it but an `Origin`.
    Other(Option<String>),
}

impl Caller {
    /// For bounds per source: an IPv4 address, or the /64 that one IPv6 customer has.
    pub(crate) fn source(&self) -> String {
        match self.peer.as_ref().map(|peer| peer.ip) {
            None => "unknown".to_owned(),
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => address.to_string(),
                None => network_of(address),
            },
        }
    }

    /// A form that changes something must come from a page of ours (security WEB-03).
    pub(crate) fn is_own_page(&self, origin: &str) -> bool {
        match &self.page {
            PageOrigin::SameOrigin => true,
            PageOrigin::Other(said) => said.as_deref() == Some(origin),
        }
    }
}

fn network_of(address: Ipv6Addr) -> String {
    let [a, b, c, d, ..] = address.segments();
    format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(head: &mut Head, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self {
            peer: head.extensions.get::<Peer>().cloned(),
            agent: agent(&head.headers),
            cookies: cookie::read(&head.headers),
            page: page_origin(&head.headers),
            bearer: bearer(&head.headers),
        })
    }
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(256).collect())
}

/// `Sec-Fetch-Site` decides where it is sent; older browsers send `Origin` with each POST.
fn page_origin(headers: &HeaderMap) -> PageOrigin {
    match single(headers, "sec-fetch-site") {
        Some("same-origin") => PageOrigin::SameOrigin,
        Some(_) => PageOrigin::Other(None),
        None => PageOrigin::Other(single(headers, header::ORIGIN.as_str()).map(str::to_owned)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<state::Secret> {
    let (scheme, token) = single(headers, header::AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| state::Secret::presented(token.trim()))
}

/// One value or none: two could be read in two ways.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
