//! Talking to the token and revocation endpoints, as requests and answers (RFC 6749 §4.1.3, §6; RFC 7009).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::{Client, ClientAuthentication, StartError, library};
use crate::encoding::object;
use crate::http_values::{escape, form};
use crate::{Answer, Discovery, Outgoing};

const MAX_ANSWER_BYTES: usize = 256 * 1024;
const MAX_TOKEN_BYTES: usize = 64 * 1024;

impl Client {
    /// Asks for new tokens with a refresh token (RFC 6749 §6). Only one may be under way per session: a provider that
    /// rotates takes a second use of the same token for theft.
    ///
    /// # Errors
    /// The provider has no token endpoint.
    pub fn refresh_request(&self, discovery: &Discovery, refresh_token: &SecretString) -> Result<Outgoing, StartError> {
        let endpoint = discovery
            .token
            .as_ref()
            .ok_or(StartError::NoEndpoint("token_endpoint"))?;
        library::refresh_request(self, endpoint, refresh_token)
    }

    /// Takes a refresh token back (RFC 7009); `None` when the provider cannot. Made here: the library refuses every
    /// revocation endpoint on http, also a loopback one.
    #[must_use]
    pub fn revocation_request(&self, discovery: &Discovery, refresh_token: &SecretString) -> Option<Outgoing> {
        let fields = [
            ("token", refresh_token.expose_secret()),
            ("token_type_hint", "refresh_token"),
        ];
        discovery
            .revocation
            .as_ref()
            .map(|endpoint| self.post(endpoint, &fields))
    }

    /// A form post with the client's proof.
    pub(super) fn post(&self, endpoint: &Uri, fields: &[(&str, &str)]) -> Outgoing {
        let mut fields = fields.to_vec();
        match &self.authentication {
            ClientAuthentication::Basic(_) => {}
            ClientAuthentication::Post(secret) => {
                fields.extend([
                    ("client_id", self.client_id.as_str()),
                    ("client_secret", secret.expose_secret()),
                ]);
            }
            ClientAuthentication::None => fields.push(("client_id", &self.client_id)),
        }
        let mut request = http::Request::new(Bytes::from(form(fields)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = endpoint.clone();
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let ClientAuthentication::Basic(secret) = &self.authentication
            && let Some(value) = self.basic(secret)
        {
            headers.insert(AUTHORIZATION, value);
        }
        request
    }

    /// Both halves are form-encoded before they are joined (RFC 6749 §2.3.1).
    fn basic(&self, secret: &SecretString) -> Option<HeaderValue> {
        let pair = format!("{}:{}", escape(&self.client_id), escape(secret.expose_secret()));
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// What a token endpoint gave.
pub struct Tokens {
    /// For `at_hash` and userinfo; the gateway needs it for nothing else.
    pub access_token: SecretString,
    /// Not verified yet: see [`super::Code::purpose`].
    pub id_token: Option<SecretString>,
    /// Store it before anything else: a provider that rotates has ended the old one.
    pub refresh_token: Option<SecretString>,
    /// Life of the access token.
    pub expires_in: Option<Duration>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// An error that a provider names (RFC 6749 §4.1.2.1, §5.2; OIDC Core §3.1.2.6). A closed list: free text of the other
/// side is never shown or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The grant is used up, expired, revoked, or another client's: the session is over.
    #[error("`invalid_grant`: the sign-in at the provider has ended; sign in again")]
    InvalidGrant,
    /// Wrong client id or secret.
    #[error(
        "`invalid_client`: the gateway's client id or secret is wrong or has expired; the administrator must correct it"
    )]
    InvalidClient,
    /// The client may not do this.
    #[error(
        "`unauthorized_client`: the provider does not allow this grant to the gateway's client; the administrator must allow it"
    )]
    UnauthorizedClient,
    /// The person or the provider's policy said no.
    #[error("`access_denied`: the person or the provider's policy said no")]
    AccessDenied,
    /// A parameter is wrong, often the redirect URI.
    #[error(
        "`invalid_request`: the provider does not understand the request; compare the redirect URI registered there"
    )]
    InvalidRequest,
    /// An unknown scope.
    #[error("`invalid_scope`: the provider does not know one of the configured scopes")]
    InvalidScope,
    /// The person must do something first.
    #[error("the provider needs the person to sign in or consent; start the sign-in again")]
    InteractionRequired,
    /// The wanted authentication class cannot be had.
    #[error("`unmet_authentication_requirements`: the provider cannot do the demanded kind of sign-in")]
    UnmetRequirements,
    /// Try again later.
    #[error("the provider is busy (`temporarily_unavailable` or `server_error`); try again in a minute")]
    Temporary,
    /// Something else.
    #[error("the provider named an error that is not known here; its log says more")]
    Other,
}

impl ProviderError {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "invalid_grant" => Self::InvalidGrant,
            "invalid_client" => Self::InvalidClient,
            "unauthorized_client" => Self::UnauthorizedClient,
            "access_denied" => Self::AccessDenied,
            "invalid_request" => Self::InvalidRequest,
            "invalid_scope" => Self::InvalidScope,
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
                Self::InteractionRequired
            }
            "unmet_authentication_requirements" => Self::UnmetRequirements,
            "temporarily_unavailable" | "server_error" => Self::Temporary,
            _ => Self::Other,
        }
    }
}

/// Why a token endpoint gave no tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// It said no.
    #[error("{0}")]
    Refused(ProviderError),
    /// It is broken or busy; the session lives on until its own end.
    #[error("the provider's token endpoint answered with status {0}; try again in a minute")]
    Unavailable(u16),
    /// It said yes and sent something else.
    #[error("the provider's token endpoint sent something that cannot be used ({0})")]
    Malformed(&'static str),
}

impl ExchangeError {
    /// Whether the session must end now. Only `invalid_grant` says so; all else may pass (W-04).
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(self, Self::Refused(ProviderError::InvalidGrant))
    }
}

impl Tokens {
    /// Reads a token endpoint's answer (RFC 6749 §5).
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub fn read(answer: &Answer<'_>) -> Result<Self, ExchangeError> {
        if answer.body.len() > MAX_ANSWER_BYTES {
            return Err(ExchangeError::Malformed("too long"));
        }
        let members = object(answer.body);
        if answer.status != StatusCode::OK {
            return Err(match members.ok().as_ref().and_then(library::named_error) {
                Some(error) if answer.status.is_client_error() => ExchangeError::Refused(error),
                _ => ExchangeError::Unavailable(answer.status.as_u16()),
            });
        }
        let mut members = members.map_err(|_| ExchangeError::Malformed("no JSON object"))?;
        if members.contains_key("error") {
            return Err(ExchangeError::Refused(
                library::named_error(&members).unwrap_or(ProviderError::Other),
            ));
        }
        put_right(&mut members)?;
        library::granted(members)
    }
}

/// What the library would read too widely, refuse without saying what, or not take from providers that exist.
fn put_right(members: &mut Map<String, Value>) -> Result<(), ExchangeError> {
    let is_bearer = |value: &Value| value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    if !members.get("token_type").is_some_and(is_bearer) {
        return Err(ExchangeError::Malformed("`token_type` is not Bearer"));
    }
    let is_token = |value: &Value| {
        value
            .as_str()
            .is_some_and(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES)
    };
    for name in ["access_token", "id_token", "refresh_token"] {
        if members.get(name).is_some_and(|value| !is_token(value)) {
            return Err(ExchangeError::Malformed(name));
        }
    }
    if let Some(value) = members.get_mut("expires_in") {
        let life = seconds(value).ok_or(ExchangeError::Malformed("expires_in"))?;
        *value = Value::from(life.as_secs());
    }
    // Nobody here asks which scopes were granted, and some providers send them as a list.
    members.remove("scope");
    Ok(())
}

/// A number of seconds, or its text: some providers quote it.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    (seconds <= 10 * 365 * 86_400).then(|| Duration::from_secs(seconds))
}
