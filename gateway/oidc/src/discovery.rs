//! The provider's description of itself (OpenID Connect Discovery 1.0 §3, §4).

use http::Uri;
use serde_json::{Map, Value};

use crate::encoding::object;
use crate::http_values::{endpoint, get_json};
use crate::{Answer, Issuer, Outgoing};

const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// What the gateway needs of a discovery document. A change between two fetches shows by `==`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Equal to the configured issuer, byte for byte.
    pub issuer: String,
    /// Where keys are fetched.
    pub jwks: Uri,
    /// Where a browser is sent to sign in.
    pub authorization: Option<Uri>,
    /// Where codes and refresh tokens are exchanged.
    pub token: Option<Uri>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation: Option<Uri>,
    /// Where a browser is sent to sign out (RP-Initiated Logout).
    pub end_session: Option<Uri>,
    /// Whether authorization answers carry `iss` (RFC 9207).
    pub answers_with_issuer: bool,
}

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Another status than 200; a redirect is one, too.
    #[error("the discovery document was answered with status {0}")]
    Status(u16),
    /// Over 1 MiB.
    #[error("the discovery document is longer than 1 MiB")]
    TooLarge,
    /// Not a JSON object.
    #[error("the discovery document is not a JSON object")]
    Malformed,
    /// `issuer` is another: a mix-up, or a wrong `url` in the configuration.
    #[error(
        "the discovery document names the issuer `{found}`, configured is `{configured}`; they must be equal byte for byte"
    )]
    Issuer {
        /// What the document says, at most 200 characters of it.
        found: String,
        /// What the configuration says.
        configured: String,
    },
    /// An endpoint is missing, no URL, or on plain http. Only an issuer that is itself on loopback http may name such
    /// endpoints: else an issuer far away could make the gateway call services of its own machine.
    #[error("the discovery document's `{0}` is missing or not an https URL")]
    Endpoint(&'static str),
    /// S256 is not among the offered challenge methods.
    #[error("the provider announces PKCE without S256; the gateway uses no other method")]
    ChallengeMethod,
}

impl Discovery {
    /// The request for an issuer's document.
    #[must_use]
    pub fn request(issuer: &Issuer) -> Outgoing {
        get_json(issuer.discovery_uri())
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    pub fn read(issuer: &Issuer, answer: &Answer<'_>) -> Result<Self, DiscoveryError> {
        if answer.status != http::StatusCode::OK {
            return Err(DiscoveryError::Status(answer.status.as_u16()));
        }
        if answer.body.len() > MAX_DOCUMENT_BYTES {
            return Err(DiscoveryError::TooLarge);
        }
        let members = object(answer.body).map_err(|_| DiscoveryError::Malformed)?;
        let found = members.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if found != issuer.url() {
            let found = found.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(DiscoveryError::Issuer {
                found,
                configured: issuer.url().to_owned(),
            });
        }
        check_challenge_methods(&members)?;
        let uri = |name| uri(&members, name, issuer.url().starts_with("http://"));
        Ok(Self {
            issuer: found.to_owned(),
            jwks: uri("jwks_uri")?.ok_or(DiscoveryError::Endpoint("jwks_uri"))?,
            authorization: uri("authorization_endpoint")?,
            token: uri("token_endpoint")?,
            revocation: uri("revocation_endpoint")?,
            end_session: uri("end_session_endpoint")?,
            answers_with_issuer: members.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }

    /// The request for the key set.
    #[must_use]
    pub fn keys_request(&self) -> Outgoing {
        get_json(&self.jwks)
    }
}

fn check_challenge_methods(members: &Map<String, Value>) -> Result<(), DiscoveryError> {
    match members
        .get("code_challenge_methods_supported")
        .and_then(Value::as_array)
    {
        Some(methods) if !methods.iter().any(|method| method == "S256") => Err(DiscoveryError::ChallengeMethod),
        _ => Ok(()),
    }
}

fn uri(members: &Map<String, Value>, name: &'static str, on_loopback: bool) -> Result<Option<Uri>, DiscoveryError> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => {
            let uri = value
                .as_str()
                .and_then(endpoint)
                .filter(|uri| on_loopback || uri.scheme_str() == Some("https"))
                .ok_or(DiscoveryError::Endpoint(name))?;
            Ok(Some(uri))
        }
    }
}
