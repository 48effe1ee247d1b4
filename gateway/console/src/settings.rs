//! The gateway host's own facts, checked once.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use model::origin::{Front, Scheme};

/// Why the gateway's URL is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an absolute URL without path, query and user.
    #[error("`{0}` must be an origin such as `https://gate.example.com`, without path, query or user")]
    NotAnOrigin(String),
    /// Plain http where others can listen.
    #[error("`{0}` must be https; plain http is accepted on loopback only")]
    Insecure(String),
}

/// The gateway's URL: an origin, https, or http on loopback (the demo and tests).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayUrl {
    origin: Arc<str>,
    authority: Arc<str>,
    host: Arc<str>,
    port: Option<u16>,
    secure: bool,
}

impl GatewayUrl {
    /// Reads an origin; a single trailing slash is accepted and dropped.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let bare = text.strip_suffix('/').unwrap_or(text);
        let not_an_origin = || SettingsError::NotAnOrigin(text.chars().take(200).collect());
        let uri: Uri = bare.parse().map_err(|_| not_an_origin())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(not_an_origin());
        };
        if authority.as_str().contains('@')
            || bare != format!("{scheme}://{authority}")
            || bare != bare.to_ascii_lowercase()
        {
            return Err(not_an_origin());
        }
        // `:`, `:0443` and `:99999` would be another text to us than the port is to a browser, or none at all.
        let port = authority.port_u16();
        let written = port.map(|port| format!(":{port}")).unwrap_or_default();
        if authority.as_str() != format!("{}{written}", authority.host()) {
            return Err(not_an_origin());
        }
        let secure = match scheme {
            "https" => true,
            "http" if is_loopback(authority.host()) => false,
            _ => return Err(SettingsError::Insecure(bare.to_owned())),
        };
        Ok(Self {
            origin: bare.into(),
            authority: authority.as_str().into(),
            host: authority.host().into(),
            port,
            secure,
        })
    }

    /// `https://gate.example.com`, no trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.origin
    }

    /// Whether it is https.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The origin with a path behind it.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The host without its port; an address of IPv6 in its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Its scheme and port, which are those of every published service.
    #[must_use]
    pub const fn front(&self) -> Front {
        let scheme = if self.secure { Scheme::Https } else { Scheme::Http };
        Front::new(scheme, self.port)
    }

    /// Whether a `Host` header names this gateway. Ports are compared as written, except the scheme's own.
    pub(crate) fn is_authority(&self, host: &str) -> bool {
        let default_port = if self.secure { ":443" } else { ":80" };
        let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
        bare(host) == bare(&self.authority)
    }
}

/// Only literal addresses and the one reserved name (RFC 6761 §6.3); anything else may resolve elsewhere.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// A gateway token; at most ten minutes by contract with the request path.
    pub access_token: Duration,
    /// Our own one-time code; at most a minute.
    pub code: Duration,
    /// A sign-in under way.
    pub attempt: Duration,
    /// A device code.
    pub device: Duration,
    /// How often a device may ask.
    pub device_interval: Duration,
    /// A session without use.
    pub idle: Duration,
    /// A session at most.
    pub absolute: Duration,
    /// A session whose provider gave no refresh token, so that it cannot be asked again.
    pub absolute_without_refresh: Duration,
    /// The provider is asked again when its last word is older than this (security OIDC-28).
    pub recheck: Duration,
    /// How long the provider's last word counts when it does not answer.
    pub provider_outage: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            access_token: MINUTE * 10,
            code: MINUTE,
            attempt: MINUTE * 10,
            device: MINUTE * 10,
            device_interval: Duration::from_secs(5),
            idle: MINUTE * 60 * 12,
            absolute: MINUTE * 60 * 24 * 7,
            absolute_without_refresh: MINUTE * 60 * 10,
            recheck: MINUTE * 5,
            provider_outage: MINUTE * 60,
        }
    }
}

/// One cluster as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEntry {
    /// Its name; the audience of tokens for it.
    pub name: String,
    /// Where kubectl sends its requests.
    pub server: String,
    /// PEM of the CA, base64, as `certificate-authority-data` in a kubeconfig.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_data: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_accepted_and_anything_more_refused() {
        assert_eq!(
            GatewayUrl::parse("https://gate.example.com/").unwrap().as_str(),
            "https://gate.example.com"
        );
        assert!(!GatewayUrl::parse("http://127.0.0.1:8080").unwrap().is_secure());
        assert!(!GatewayUrl::parse("http://[::1]:8080").unwrap().is_secure());
        for text in [
            "https://u@gate.example",
            "https://gate.example/x",
            "https://gate.example?x",
            "gate.example",
            "https://GATE.example",
            "https://gate.example:",
            "https://gate.example:0443",
            "https://gate.example:99999",
            "",
        ] {
            assert!(
                matches!(GatewayUrl::parse(text), Err(SettingsError::NotAnOrigin(_))),
                "{text}"
            );
        }
        assert!(matches!(
            GatewayUrl::parse("http://gate.example"),
            Err(SettingsError::Insecure(_))
        ));
        assert!(matches!(
            GatewayUrl::parse("http://127.0.0.1.evil.example"),
            Err(SettingsError::Insecure(_))
        ));
    }

    #[test]
    fn the_host_header_is_compared_whole() {
        let url = GatewayUrl::parse("https://gate.example").unwrap();
        assert!(url.is_authority("gate.example") && url.is_authority("GATE.example:443"));
        assert!(
            !url.is_authority("gate.example:80") && !url.is_authority("gate.example.evil") && !url.is_authority("")
        );
    }
}
