//! Judging the gateway's own tokens, as strictly as anybody else's.

use std::time::Duration;

use model::time::Timestamp;
use serde::Deserialize as _;

use super::{GatewayClaims, MAX_LIFETIME, ProviderIdentity};
use crate::claims::wrong_type;
use crate::preparse::Kind;
use crate::verify::{check_signature, check_times, equal};
use crate::{Algorithm, KeySet, TokenError, Unverified};

/// Verifies gateway tokens.
#[derive(Debug)]
pub struct GatewayVerifier {
    issuer: String,
    keys: KeySet,
    leeway: Duration,
}

/// A gateway token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayToken {
    /// What it says.
    pub claims: GatewayClaims,
    /// RFC 7638 thumbprint of the key that signed it.
    pub key: [u8; 32],
}

impl GatewayVerifier {
    /// For the gateway of this URL, with the public halves of its current and previous keys. One host's clock judges its
    /// own tokens, so there is no leeway for one replica; give the clock difference of several.
    #[must_use]
    pub fn new(issuer: &str, keys: KeySet, leeway: Duration) -> Self {
        Self {
            issuer: issuer.to_owned(),
            keys,
            leeway,
        }
    }

    /// Whether a token says that it is the gateway's.
    #[must_use]
    pub fn is_ours(&self, token: &Unverified<'_>) -> bool {
        token.issuer().is_ok_and(|issuer| issuer == self.issuer)
    }

    /// Verifies a token for exactly this audience.
    ///
    /// # Errors
    /// See [`TokenError`]. That the session still lives is for the caller to ask.
    pub fn verify(&self, token: &Unverified<'_>, audience: &str, now: Timestamp) -> Result<GatewayToken, TokenError> {
        match token.header.kind {
            Kind::Access => {}
            Kind::Assertion => return Err(TokenError::Assertion),
            Kind::Plain | Kind::Logout | Kind::Other => return Err(TokenError::Type { access_tokens: true }),
        }
        let (_, key) = check_signature(token, &self.keys, &[Algorithm::ES256]).map_err(|error| match error {
            TokenError::UnknownKey { .. } => TokenError::RetiredKey,
            error => error,
        })?;
        let claims = &token.claims;
        if claims.required_text("iss")? != self.issuer {
            return Err(TokenError::UnknownIssuer);
        }
        if !claims.text("aud")?.is_some_and(|found| equal(found, audience)) {
            return Err(TokenError::Audience {
                accepted: audience.to_owned(),
            });
        }
        let times = check_times(claims, now, self.leeway)?;
        let issued_at = times.issued_at.ok_or_else(|| TokenError::MissingClaim("iat".into()))?;
        if times.not_before.is_none() {
            return Err(TokenError::MissingClaim("nbf".into()));
        }
        if times.expires_at > issued_at.plus(MAX_LIFETIME) {
            return Err(TokenError::Lifetime);
        }
        let text = |name| claims.required_text(name).map(str::to_owned);
        let identity = claims
            .value("gs")
            .ok_or_else(|| TokenError::MissingClaim("gs".into()))?;
        let identity = ProviderIdentity::deserialize(identity).map_err(|_| wrong_type("gs", "an identity"))?;
        if identity.username.is_empty() {
            return Err(TokenError::EmptyUsername);
        }
        let claims = GatewayClaims {
            issuer: self.issuer.clone(),
            audience: audience.to_owned(),
            subject: text("sub")?,
            session: text("sid")?,
            token_id: text("jti")?,
            issued_at,
            expires_at: times.expires_at,
            auth_time: claims.required_time("auth_time")?,
            acr: claims.text("acr")?.map(str::to_owned),
            identity,
        };
        Ok(GatewayToken {
            claims,
            key: key.thumbprint,
        })
    }
}
