//! Where a sign-in that a browser began leads back to: a page of the gateway, or a page of a published service.
//!
//! It comes from whoever made the link, so nothing of it is trusted to be an address (security WEB-01, WEB-02; protocol N-04).
//! It is read as two things that no URL has to be parsed for: a host that is compared, and a target that must be what a request
//! could have asked that host for. The address is then written anew: the origin by us, the target behind it byte for byte. The
//! origin ends with a host or a port and the target begins with one `/`, so no browser reads the border elsewhere.
//!
//! What is published may change while somebody signs in: whether the host still is, is asked again when the address is written.
//!
//! A browser that comes back to a service has to be the one that left it: see [`Arrival`].

mod arrival;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tests;

use model::origin::{LONGEST_RETURN_BYTES, Origin};
use model::request::{Target, TargetError};
use model::service::{HostName, HostNameError};
use serde::{Deserialize, Serialize};
use state::Secret;

pub(crate) use self::arrival::Arrival;
use crate::form::{Fields, with_query};
use crate::settings::GatewayUrl;
use crate::upstream::Wishes;

/// On the host of a service: here a browser comes back from the sign-in.
pub(crate) const ARRIVE: &str = "/.gatescribe/arrive";

/// Where to come back to. Its target is one that a service could be asked for, in the bytes in which it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(crate) struct Back {
    /// None: the gateway's own.
    host: Option<HostName>,
    target: Box<str>,
    /// The browser that left the service. Without it nobody is led to one.
    arrival: Option<Arrival>,
    /// Whether this is the second time: the cookie was another one when the browser came back.
    again: bool,
}

/// Where a browser that has a session goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// To this address, which is ours.
    Here(String),
    /// To the host of a service, where it has to arrive first. Its origin.
    Service(Origin),
}

/// Why a return address is not used. Whoever signs in is then led to the gateway's own first page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BackError {
    #[error("it would not lead to a host name")]
    Host(#[from] HostNameError),
    #[error("no service is published under `{0}`, or none that this gateway may send a browser to")]
    NotPublished(HostName),
    #[error("its path and query are longer than {LONGEST_RETURN_BYTES} bytes")]
    TooLong,
    #[error("its path and query are none that a service could be asked for")]
    Target(#[from] TargetError),
    #[error("it does not say which browser has left the service (`arrival`)")]
    NoArrival,
}

impl Back {
    /// The gateway's own first page.
    pub(crate) fn home() -> Self {
        Self {
            host: None,
            target: "/".into(),
            arrival: None,
            again: false,
        }
    }

    /// Reads what `/signin` was asked for. A service is returned to by the browser that left it only.
    pub(crate) fn asked(
        fields: &Fields,
        url: &GatewayUrl,
        is_published: impl Fn(&HostName) -> bool,
    ) -> Result<Self, BackError> {
        let (host, target) = (fields.find("return_host"), fields.find("return_to").unwrap_or("/"));
        let mut back = Self::read(host, target, url, is_published)?;
        back.again = fields.find("again").is_some();
        if back.host.is_some() {
            let arrival = fields.find("arrival").and_then(Arrival::read);
            back.arrival = Some(arrival.ok_or(BackError::NoArrival)?);
        }
        Ok(back)
    }

    /// Reads the two parameters of `/signin`. Without a host it is the gateway's own.
    pub(crate) fn read(
        host: Option<&str>,
        target: &str,
        url: &GatewayUrl,
        is_published: impl Fn(&HostName) -> bool,
    ) -> Result<Self, BackError> {
        let host = match host.filter(|host| *host != url.host()) {
            Some(host) => Some(HostName::new(host)?),
            None => None,
        };
        let back = Self::to(host, target)?;
        match back.address_if(url, is_published) {
            Ok(_) => Ok(back),
            Err(host) => Err(BackError::NotPublished(host.clone())),
        }
    }

    /// The address, written by us. A host that is published no more leads to the gateway's own first page.
    pub(crate) fn address(&self, url: &GatewayUrl, is_published: impl Fn(&HostName) -> bool) -> String {
        self.address_if(url, is_published).unwrap_or_else(|_| url.at("/"))
    }

    /// Whether a service is returned to.
    pub(crate) const fn is_to_service(&self) -> bool {
        self.host.is_some()
    }

    /// Where a browser with a session goes now.
    pub(crate) fn next(&self, url: &GatewayUrl, is_published: impl Fn(&HostName) -> bool) -> Next {
        let Some(host) = &self.host else {
            return Next::Here(url.at(&self.target));
        };
        let origin = self.arrival.as_ref().filter(|_| is_published(host));
        match origin.and_then(|_| url.front().origin_of(host)) {
            Some(origin) => Next::Service(origin),
            None => Next::Here(url.at("/")),
        }
    }

    /// Where to begin again by hand: the page of the service, which sends whoever is not signed in on their way, or our own sign-in.
    pub(crate) fn again(&self, url: &GatewayUrl, is_published: impl Fn(&HostName) -> bool) -> String {
        match self.host {
            Some(_) => self.address(url, is_published),
            None => with_query(&url.at("/signin"), &[("return_to", &self.target)]),
        }
    }

    /// The browser that left this host; none where another one was left.
    pub(crate) fn arrival_at(&self, host: &HostName) -> Option<&Arrival> {
        self.arrival.as_ref().filter(|_| self.host.as_ref() == Some(host))
    }

    /// The address of the sign-in, once more, for a browser that holds another cookie by now: tabs that left at the same time were given
    /// one each, and the last one stays. `arrival`: the cookie that it holds on the host that it left, where that is the other one. A second
    /// time there is none, so that nobody is led in circles.
    pub(crate) fn once_more(&self, arrival: Option<&Secret>, wishes: &Wishes, url: &GatewayUrl) -> Option<String> {
        if self.again {
            return None;
        }
        let arrival = arrival.map(Arrival::of).or_else(|| self.arrival.clone());
        let mut pairs = vec![("return_to", self.target.to_string()), ("again", "1".to_owned())];
        pairs.extend(self.host.as_ref().map(|host| ("return_host", host.to_string())));
        pairs.extend(arrival.map(|arrival| ("arrival", arrival.as_str().to_owned())));
        pairs.extend(wishes.pairs());
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Some(with_query(&url.at("/signin"), &pairs))
    }

    fn address_if(&self, url: &GatewayUrl, is_published: impl Fn(&HostName) -> bool) -> Result<String, &HostName> {
        let Some(host) = &self.host else {
            return Ok(url.at(&self.target));
        };
        let origin = Some(host).filter(|host| is_published(host));
        let origin = origin.and_then(|host| url.front().origin_of(host)).ok_or(host)?;
        Ok(format!("{origin}{}", self.target))
    }

    fn to(host: Option<HostName>, target: &str) -> Result<Self, BackError> {
        if target.len() > LONGEST_RETURN_BYTES {
            return Err(BackError::TooLong);
        }
        let target = Target::of_service(target.as_bytes())?;
        Ok(Self {
            host,
            target: target.raw().into(),
            arrival: None,
            again: false,
        })
    }
}

/// How it is kept, sealed, while a sign-in is under way; a gateway of before knew `return_to` alone.
#[derive(Serialize, Deserialize)]
struct Kept {
    return_to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    return_host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrival: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

impl From<Back> for Kept {
    fn from(back: Back) -> Self {
        Self {
            return_to: back.target.into(),
            return_host: back.host.map(|host| host.as_str().to_owned()),
            arrival: back.arrival.map(|arrival| arrival.as_str().to_owned()),
            again: back.again,
        }
    }
}

/// What does not read any more, because the rules became stricter meanwhile, leads home: the sign-in itself is good.
impl From<Kept> for Back {
    fn from(kept: Kept) -> Self {
        let host = kept.return_host.as_deref().map(HostName::new).transpose();
        host.map_err(BackError::from)
            .and_then(|host| Self::to(host, &kept.return_to))
            .map(|back| Self {
                arrival: kept.arrival.as_deref().and_then(Arrival::read),
                again: kept.again,
                ..back
            })
            .unwrap_or_else(|_| Self::home())
    }
}

/// Whatever is asked for, the address that comes of it begins with an origin of ours and leads nowhere else. Takes a host and
/// a target with a line feed between them; the gateway's own host is `gate.example.com`, and one service is published.
///
/// # Panics
/// An accepted address does not.
pub fn fuzz_return_address(data: &[u8]) {
    let Ok(url) = GatewayUrl::parse("https://gate.example.com:8443") else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    let (host, target) = match text.split_once('\n') {
        Some((host, target)) => (Some(host), target),
        None => (None, &*text),
    };
    let is_published = |host: &HostName| host.as_str() == "grafana.example.com";
    let Ok(back) = Back::read(host, target, &url, is_published) else {
        return;
    };
    let address = back.address(&url, is_published);
    let own = match host {
        Some("grafana.example.com") => "https://grafana.example.com:8443",
        _ => "https://gate.example.com:8443",
    };
    assert_eq!(
        address,
        format!("{own}{target}"),
        "an origin of ours, and the target as it came"
    );
    assert!(target.starts_with('/') && !target.starts_with("//"), "{target:?}");
    assert!(
        address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'),
        "{address:?}"
    );
    let kept = serde_json::to_vec(&back).unwrap_or_default();
    assert_eq!(serde_json::from_slice::<Back>(&kept).ok(), Some(back), "kept as it was");
}
