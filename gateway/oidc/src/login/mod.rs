//! Signing a person in at a provider: authorization code with PKCE, state and nonce (OIDC Core §3.1, RFC 7636, 9207, 9700).
//!
//! All steps are values. Whoever drives them keeps a [`LoginAttempt`] under its `state` until the browser comes back, and
//! gives it away by value, so that an attempt can be used once only.

mod exchange;
mod library;
mod logout;

pub use exchange::{ExchangeError, ProviderError, Tokens};
pub use logout::{LogoutToken, SeenLogouts};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use http::Uri;
use model::time::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::encoding::encode;
use crate::verify::equal;
use crate::{Discovery, Purpose};

/// How long a person may take at the provider.
pub const ATTEMPT_LIFETIME: Duration = Duration::from_secs(600);
const MAX_PARAMETER_BYTES: usize = 4096;

/// The gateway as the client of one provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// Issuer URL.
    pub issuer: Arc<str>,
    /// Client id at the provider.
    pub client_id: String,
    /// How the client proves itself.
    pub authentication: ClientAuthentication,
    /// Exactly as registered at the provider.
    pub redirect_uri: String,
    /// `openid` is added when it is missing.
    pub scopes: Vec<String>,
}

/// How the client proves itself at the token endpoint (OIDC Core §9).
#[derive(Clone, Debug)]
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic(SecretString),
    /// `client_secret_post`.
    Post(SecretString),
    /// A public client: PKCE alone.
    None,
}

/// What a sign-in asks for beyond the ordinary.
#[derive(Clone, Debug, Default)]
pub struct LoginOptions {
    /// The provider must ask again when its own session is older (`max_age`); demanded of `auth_time` afterwards.
    pub max_age: Option<Duration>,
    /// Wanted authentication classes (`acr_values`).
    pub acr_values: Vec<String>,
    /// `prompt`, such as `login` or `select_account`.
    pub prompt: Option<String>,
    /// `login_hint`.
    pub login_hint: Option<String>,
}

/// Three unguessable values of 256 bits each.
#[derive(Clone)]
pub struct LoginSecrets {
    state: String,
    nonce: String,
    verifier: SecretString,
}

impl LoginSecrets {
    /// From the system's generator; `None` when that fails.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let mut entropy = [0; 96];
        SystemRandom::new().fill(&mut entropy).ok()?;
        Some(Self::from_entropy(&entropy))
    }

    /// From 96 bytes that nobody else can know.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 96]) -> Self {
        let (state, rest) = entropy.split_at(32);
        let (nonce, verifier) = rest.split_at(32);
        Self {
            state: encode(state),
            nonce: encode(nonce),
            verifier: encode(verifier).into(),
        }
    }
}

impl fmt::Debug for LoginSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginSecrets")
    }
}

/// A sign-in under way. Bound to one provider, one client, one redirect URI.
pub struct LoginAttempt {
    client: Client,
    secrets: LoginSecrets,
    token_endpoint: Uri,
    issuer_in_answer: bool,
    max_age: Option<Duration>,
    started: Timestamp,
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAttempt")
            .field("issuer", &self.client.issuer)
            .finish_non_exhaustive()
    }
}

/// The provider cannot do this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// No endpoint for it in the discovery document.
    #[error("the provider's discovery document has no `{0}`")]
    NoEndpoint(&'static str),
    /// The document is another issuer's.
    #[error("the discovery document is not the one of this client's issuer")]
    OtherIssuer,
    /// An endpoint or the redirect URI is no URL that a request can be made for.
    #[error("no request can be made for the provider's endpoints or the redirect URI")]
    Unusable,
}

impl Client {
    /// Starts a sign-in: where to send the browser, and what to keep until it comes back.
    ///
    /// # Errors
    /// The provider lacks an endpoint.
    pub fn begin(
        &self,
        discovery: &Discovery,
        options: &LoginOptions,
        secrets: LoginSecrets,
        now: Timestamp,
    ) -> Result<(String, LoginAttempt), StartError> {
        if *discovery.issuer != *self.issuer {
            return Err(StartError::OtherIssuer);
        }
        let endpoint = discovery
            .authorization
            .as_ref()
            .ok_or(StartError::NoEndpoint("authorization_endpoint"))?;
        let token_endpoint = discovery
            .token
            .clone()
            .ok_or(StartError::NoEndpoint("token_endpoint"))?;
        let url = library::authorization_url(self, (endpoint, &token_endpoint), options, &secrets)?;
        let attempt = LoginAttempt {
            client: self.clone(),
            secrets,
            token_endpoint,
            issuer_in_answer: discovery.answers_with_issuer,
            max_age: options.max_age,
            started: now,
        };
        Ok((url, attempt))
    }
}

/// Why a browser's return starts no session. The attempt is gone in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// A parameter twice, too long, or not percent-encoded text.
    #[error("the answer of the provider cannot be read; start the sign-in again")]
    Malformed,
    /// `state` is absent or another attempt's.
    #[error("this answer belongs to another sign-in (`state`); start the sign-in again in this browser")]
    State,
    /// After ten minutes.
    #[error("the sign-in took longer than ten minutes; start it again")]
    TooLate,
    /// `iss` is absent where announced, or another issuer's (RFC 9207): the answer may come from a hostile provider.
    #[error("the answer is not from the provider that was asked (`iss`); start the sign-in again")]
    Issuer,
    /// The provider said no.
    #[error("the provider refused the sign-in: {0}")]
    Refused(ProviderError),
    /// Neither code nor error.
    #[error("the answer of the provider has no code; start the sign-in again")]
    NoCode,
}

/// A code to exchange, once.
pub struct Code {
    attempt: LoginAttempt,
    code: SecretString,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

impl LoginAttempt {
    /// Under which to keep the attempt until the browser comes back.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.secrets.state
    }

    /// The provider's issuer URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.client.issuer
    }

    /// When the attempt is worthless.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.started.plus(ATTEMPT_LIFETIME)
    }

    /// Judges what the browser brought back: the callback's query, or the form of `response_mode=form_post`.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub fn finish(self, parameters: &str, now: Timestamp) -> Result<Code, CallbackError> {
        let parameters = Parameters::read(parameters)?;
        if !parameters
            .find("state")
            .is_some_and(|state| equal(state, &self.secrets.state))
        {
            return Err(CallbackError::State);
        }
        if now >= self.expires_at() || now < self.started.minus(ATTEMPT_LIFETIME) {
            return Err(CallbackError::TooLate);
        }
        let issuer_fits = match parameters.find("iss") {
            Some(issuer) => issuer == &*self.client.issuer,
            None => !self.issuer_in_answer,
        };
        if !issuer_fits {
            return Err(CallbackError::Issuer);
        }
        if let Some(error) = parameters.find("error") {
            return Err(CallbackError::Refused(ProviderError::named(error)));
        }
        let code = parameters
            .find("code")
            .filter(|code| !code.is_empty())
            .ok_or(CallbackError::NoCode)?;
        let code = SecretString::from(code);
        Ok(Code { attempt: self, code })
    }
}

/// The `state` of a callback, to find its attempt by.
///
/// # Errors
/// The parameters cannot be read, or have no `state`.
pub fn callback_state(parameters: &str) -> Result<String, CallbackError> {
    Parameters::read(parameters)?
        .find("state")
        .map(str::to_owned)
        .ok_or(CallbackError::State)
}

impl Code {
    /// The token request (RFC 6749 §4.1.3, RFC 7636 §4.5). Send it once.
    ///
    /// # Errors
    /// The endpoint is no URL that a request can be made for.
    pub fn token_request(&self) -> Result<crate::Outgoing, StartError> {
        let attempt = &self.attempt;
        library::code_request(
            &attempt.client,
            &attempt.token_endpoint,
            &self.code,
            &attempt.secrets.verifier,
        )
    }

    /// What to verify the ID token for; its issuer is [`Self::issuer`], no other.
    #[must_use]
    pub fn purpose<'a>(&'a self, tokens: &'a Tokens) -> Purpose<'a> {
        Purpose::SignIn {
            client_id: &self.attempt.client.client_id,
            nonce: &self.attempt.secrets.nonce,
            access_token: Some(tokens.access_token.expose_secret()),
            max_age: self.attempt.max_age,
        }
    }

    /// The provider's issuer URL.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.attempt.client.issuer
    }

    /// The nonce, to keep for renewals.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.attempt.secrets.nonce
    }
}

/// Form parameters, each at most once (RFC 6749 §3.1).
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(text: &str) -> Result<Self, CallbackError> {
        if text.len() > 4 * MAX_PARAMETER_BYTES {
            return Err(CallbackError::Malformed);
        }
        let mut pairs = Vec::<(String, String)>::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (unescape(name)?, unescape(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(CallbackError::Malformed);
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

fn unescape(text: &str) -> Result<String, CallbackError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| CallbackError::Malformed)?;
    let fits = decoded.len() <= MAX_PARAMETER_BYTES && !decoded.chars().any(char::is_control);
    if fits {
        Ok(decoded.into_owned())
    } else {
        Err(CallbackError::Malformed)
    }
}
