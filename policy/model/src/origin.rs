//! Where browsers find what the gateway publishes: scheme, host and port.
//!
//! One rule of ports for whoever sends a browser to a service and for whoever asks where a browser came from: a service has no
//! port of its own, because the listener that serves the gateway's URL serves it, too. So its port is that of the gateway's URL.

use std::fmt;

use crate::service::HostName;

/// The longest path with query, in bytes, that a sign-in leads back to. It is kept for each sign-in under way, which strangers can
/// begin; whoever sends a browser to the sign-in leaves away what is longer.
pub const LONGEST_RETURN_BYTES: usize = 4096;

/// How the gateway's URL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Everywhere but on a laptop.
    Https,
    /// On this machine only: the demo and tests.
    Http,
}

/// Scheme and port of the gateway's URL, which are those of every published service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    scheme: Scheme,
    port: u16,
}

impl Front {
    /// Without a port it is the scheme's own (RFC 9110 §4.2).
    #[must_use]
    pub const fn new(scheme: Scheme, port: Option<u16>) -> Self {
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => 80,
        };
        Self { scheme, port }
    }

    /// The origin of what is published under a host. None where plain http would leave this machine: there only `localhost` and
    /// the names below it lead to it without being asked for (RFC 6761 §6.3).
    #[must_use]
    pub fn origin_of(self, host: &HostName) -> Option<Origin> {
        let name = host.as_str();
        let stays = name == "localhost" || name.ends_with(".localhost");
        let text = match (self.scheme, self.port) {
            (Scheme::Http, _) if !stays => return None,
            (Scheme::Https, 443) => format!("https://{name}"),
            (Scheme::Https, port) => format!("https://{name}:{port}"),
            (Scheme::Http, 80) => format!("http://{name}"),
            (Scheme::Http, port) => format!("http://{name}:{port}"),
        };
        Some(Origin(text.into()))
    }
}

/// A web origin, in the one way in which browsers write it: lower case, no path, the scheme's own port left out (RFC 6454 §6.2,
/// HTML "serialization of an origin"). So two of them are the same when their bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// `https://grafana.example.com`, no slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_the_port_of_the_gateways_url_and_the_schemes_own_is_left_out() {
        let host = HostName::new("grafana.example.com").unwrap();
        for (port, origin) in [
            (None, "https://grafana.example.com"),
            (Some(443), "https://grafana.example.com"),
            (Some(80), "https://grafana.example.com:80"),
            (Some(8443), "https://grafana.example.com:8443"),
        ] {
            let found = Front::new(Scheme::Https, port).origin_of(&host).unwrap();
            assert_eq!(found.to_string(), origin);
        }
    }

    #[test]
    fn plain_http_leads_to_this_machine_only() {
        let origin = |port, host: &str| Front::new(Scheme::Http, port).origin_of(&HostName::new(host).unwrap());
        for (port, host, expected) in [
            (Some(8080), "shop.localhost", Some("http://shop.localhost:8080")),
            (Some(80), "localhost", Some("http://localhost")),
            (None, "a.b.localhost", Some("http://a.b.localhost")),
            (Some(8080), "shop.example.com", None),
            (Some(8080), "notlocalhost", None),
            (Some(8080), "localhost.example.com", None),
        ] {
            assert_eq!(origin(port, host).as_ref().map(Origin::as_str), expected, "{host}");
        }
    }
}
