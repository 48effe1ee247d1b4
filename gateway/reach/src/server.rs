//! One address of an API server or a service as configured: scheme, host, port, path prefix. Parsed once; what exists is usable.

use std::net::IpAddr;

use http::HeaderValue;
use http::uri::{Authority, Uri};
use rustls_pki_types::ServerName;

use crate::ReachError;

/// How bytes travel to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS with a verified name.
    Https,
    /// Clear text; to a cluster on loopback only.
    Http,
}

/// One API server, or one service.
#[derive(Clone, Debug)]
pub struct Server {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: Authority,
    host_header: HeaderValue,
    prefix: String,
    name: ServerName<'static>,
}

impl Server {
    /// Parses `https://host[:port][/prefix]`; `name` overrides the name that the certificate must carry
    /// (kubeconfig `tls-server-name`).
    ///
    /// # Errors
    /// No such URL; user information, query or fragment in it; plain http to anything but loopback.
    pub fn parse(url: &str, name: Option<&str>) -> Result<Self, ReachError> {
        let server = Self::read(url, name)?;
        if server.scheme == Scheme::Http && !server.names_this_machine() {
            return Err(ReachError::ServerUrl {
                url: shown(url),
                reason: "plain http is accepted for loopback only: use https",
            });
        }
        Ok(server)
    }

    /// The same for the address of a service, which may be plain http: no credential goes there that would open anything else.
    ///
    /// # Errors
    /// As [`Server::parse`], but for plain http.
    pub fn of_service(url: &str, name: Option<&str>) -> Result<Self, ReachError> {
        Self::read(url, name)
    }

    fn read(url: &str, name: Option<&str>) -> Result<Self, ReachError> {
        let refused = |reason| ReachError::ServerUrl {
            url: shown(url),
            reason,
        };
        let uri: Uri = url.parse().map_err(|_| refused("it is no URL"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(refused("it must begin with `https://` or `http://`")),
        };
        let given = uri.authority().ok_or_else(|| refused("it names no host"))?;
        if given.as_str().contains('@') {
            return Err(refused("it carries user information; credentials go in files"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(refused("it carries a query or fragment"));
        }
        let host = given.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = given
            .port_u16()
            .unwrap_or(if scheme == Scheme::Https { 443 } else { 80 });
        let name = ServerName::try_from(name.unwrap_or(&host).to_owned())
            .map_err(|_| refused("its host is no DNS name and no address"))?;
        let host_header = HeaderValue::from_str(given.as_str()).map_err(|_| refused("its host is no header value"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            host,
            port,
            authority: given.clone(),
            host_header,
            prefix,
            name,
        })
    }

    /// Whether the host is `localhost` or a loopback address.
    pub(crate) fn names_this_machine(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as written, for `:authority`.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Host and port as written, for `Host`.
    #[must_use]
    pub fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// What stands before each request path, without a slash at its end; mostly empty.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name the certificate is checked against.
    #[must_use]
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL as it may be shown: whatever stands before an `@` could be a password.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    }
}
