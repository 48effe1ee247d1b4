//! The gateway's own tokens: signed here from a session, verified here for our own API.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::time::Timestamp;
use oidc::gateway::assertion::{
    AssertionClaims, AssertionKey, AssertionMint, AssertionMintError, AssertionVerifier, SignedAssertion,
};
use oidc::gateway::{GatewayClaims, GatewayVerifier, Mint, MintError, ProviderIdentity, SigningKey};
use oidc::{TokenError, Unverified};
use state::Session;

use crate::answer::Refused;
use crate::app::Inner;
use crate::settings::GatewayUrl;

/// The audience of tokens for the gateway's own API.
pub const API_AUDIENCE: &str = "gatescribe-api";

/// The gateway's keys: one signs, all are published and accepted. They change while the gateway runs.
#[derive(Debug)]
pub struct GatewayKeys(RwLock<Arc<Keys>>);

#[derive(Debug)]
struct Keys {
    mint: Mint,
    verifier: Arc<GatewayVerifier>,
    jwks: String,
    assertions: Assertions,
}

/// The same for what is asserted to services: keys of their own, one for each key of tokens.
#[derive(Debug)]
struct Assertions {
    mint: AssertionMint,
    verifier: Arc<AssertionVerifier>,
    jwks: String,
}

impl Assertions {
    fn new(url: &GatewayUrl, current: &SigningKey, previous: &[SigningKey]) -> Result<Self, MintError> {
        let current = AssertionKey::of(current)?;
        let previous: Vec<AssertionKey> = previous.iter().map(AssertionKey::of).collect::<Result<_, _>>()?;
        let all = || std::iter::once(&current).chain(&previous);
        let keys = AssertionKey::key_set(all())?;
        Ok(Self {
            jwks: AssertionKey::render_jwks(all()),
            verifier: Arc::new(AssertionVerifier::new(url.as_str(), keys, Duration::ZERO)),
            mint: AssertionMint::new(url.as_str(), current),
        })
    }
}

impl GatewayKeys {
    /// `current` signs. `previous` are accepted, too: for ten minutes after a change at least, the longest life of a token.
    ///
    /// # Errors
    /// The keys make no key set.
    pub fn new(url: &GatewayUrl, current: SigningKey, previous: &[SigningKey]) -> Result<Self, MintError> {
        let all = || std::iter::once(&current).chain(previous);
        let jwks = SigningKey::render_jwks(all());
        let verifier = GatewayVerifier::new(url.as_str(), SigningKey::key_set(all())?, Duration::ZERO);
        Ok(Self(RwLock::new(Arc::new(Keys {
            assertions: Assertions::new(url, &current, previous)?,
            jwks,
            verifier: Arc::new(verifier),
            mint: Mint::new(current),
        }))))
    }

    /// What accepts their tokens, for whoever else does.
    #[must_use]
    pub fn verifier(&self) -> Arc<GatewayVerifier> {
        Arc::clone(&self.in_force().verifier)
    }

    /// Signs what a service is told of who calls.
    ///
    /// # Errors
    /// As [`AssertionMint::sign`].
    pub fn assert(&self, claims: &AssertionClaims, now: Timestamp) -> Result<SignedAssertion, AssertionMintError> {
        self.in_force().assertions.mint.sign(claims, now)
    }

    /// What takes assertions back. It changes with the keys: ask for it anew each time.
    #[must_use]
    pub fn assertion_verifier(&self) -> Arc<AssertionVerifier> {
        Arc::clone(&self.in_force().assertions.verifier)
    }

    /// From now on the keys of `next` sign and count, and no others.
    pub fn replace(&self, next: &Self) {
        let next = next.in_force();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn in_force(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Verifies a token for our own API; the session it names.
    pub(crate) fn session_of(&self, token: &str, now: Timestamp) -> Result<String, TokenError> {
        let parsed = Unverified::parse(token)?;
        let verified = self.in_force().verifier.verify(&parsed, API_AUDIENCE, now)?;
        Ok(verified.claims.session)
    }
}

/// A signed token and its life.
#[derive(Debug)]
pub(crate) struct Minted {
    pub(crate) token: String,
    /// Never more than is left: a client that trusts it never holds a dead token.
    pub(crate) expires_in: Duration,
}

/// Signs a token for a live session; it never outlives the session.
pub(crate) fn mint(app: &Inner, session: &Session, audience: &str) -> Result<Minted, Refused> {
    let now = app.now();
    let expires_at = now.plus(app.parts.lifetimes.access_token).min(session.absolute_end);
    let identity = &session.identity;
    let claims = GatewayClaims {
        issuer: app.parts.url.as_str().to_owned(),
        audience: audience.to_owned(),
        subject: session.subject_id.to_string(),
        session: session.id.to_string(),
        token_id: random_id()?,
        issued_at: now,
        expires_at,
        // A provider that does not say when the person proved who they are proves nothing about it: the oldest time
        // there is satisfies no demand for a recent sign-in.
        auth_time: session.auth_time.map_or(Timestamp::EPOCH, Timestamp::from_unix_seconds),
        acr: session.acr.clone(),
        identity: ProviderIdentity {
            iss: identity.issuer.clone(),
            sub: identity.subject.clone(),
            username: identity.username.clone(),
            groups: identity.groups.clone(),
            uid: identity.uid.clone(),
            email: identity.email.clone(),
            extra: identity.extra.clone(),
        },
    };
    let token = app.parts.keys.in_force().mint.sign(&claims).map_err(|error| {
        tracing::error!(error = %error, "gateway token not signed");
        Refused::unavailable("the gateway could not sign a token; try again")
    })?;
    let whole_seconds = expires_at
        .unix_seconds()
        .saturating_sub(now.unix_seconds())
        .saturating_sub(1);
    Ok(Minted {
        token,
        expires_in: Duration::from_secs(u64::try_from(whole_seconds).unwrap_or(0)),
    })
}

/// Verifies a token for our own API; the session it names.
pub(crate) fn verify(app: &Inner, token: &str) -> Result<String, TokenError> {
    app.parts.keys.session_of(token, app.now())
}

pub(crate) fn jwks(app: &Inner) -> String {
    app.parts.keys.in_force().jwks.clone()
}

/// The public keys of assertions.
pub(crate) fn assertion_jwks(app: &Inner) -> String {
    app.parts.keys.in_force().assertions.jwks.clone()
}

/// 16 random bytes, as base64url.
pub(crate) fn random_id() -> Result<String, Refused> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Refused::unavailable("no random numbers; try again"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
