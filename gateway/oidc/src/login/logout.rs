//! Logging out, in both directions: the browser to the provider, and the provider to us.

use std::collections::BTreeMap;

use model::time::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::{Client, library};
use crate::preparse::Kind;
use crate::verify::{LOGOUT_EVENT, check_times};
use crate::{Discovery, Issuer, KeySet, TokenError, Unverified};

/// A logout token older than this is refused: it could have been kept and played back later.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(300);
/// Remembered ids. All of them belong to properly signed tokens, so only the provider itself can fill the table; when it
/// is full further ones are refused, and the provider tries again.
const MAX_SEEN: usize = 10_000;

impl Client {
    /// Where to send the browser so that the provider ends its own session, too (RP-Initiated Logout §2); `None` when the
    /// provider cannot. `return_to` must be registered there exactly so.
    #[must_use]
    pub fn logout_url(
        &self,
        discovery: &Discovery,
        id_token: Option<&SecretString>,
        return_to: Option<&str>,
        state: Option<&str>,
    ) -> Option<String> {
        library::logout_url(self, discovery.end_session.as_ref()?, id_token, return_to, state)
    }
}

/// A provider's word that sessions are over (OIDC Back-Channel Logout 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// `iss`.
    pub issuer: String,
    /// `sub`: end all sessions of this account, unless a session is named.
    pub subject: Option<String>,
    /// `sid`: end this session of the provider.
    pub session: Option<String>,
    /// `jti`.
    pub token_id: String,
    /// Until when the id must be remembered.
    pub remember_until: Timestamp,
}

impl Issuer {
    /// Verifies a logout token (§2.6). Remember its id afterwards with [`SeenLogouts::admit`].
    ///
    /// # Errors
    /// As for any token; and what a logout token must have or must not have.
    pub fn verify_logout(
        &self,
        token: &Unverified<'_>,
        keys: &KeySet,
        client_id: &str,
        now: Timestamp,
    ) -> Result<LogoutToken, TokenError> {
        if !matches!(token.header.kind, Kind::Logout | Kind::Plain) {
            return Err(TokenError::Logout("has another type (`typ`)"));
        }
        self.check_signature(token, keys)?;
        let claims = &token.claims;
        let issuer = claims.required_text("iss")?;
        if *issuer != *self.url {
            return Err(TokenError::UnknownIssuer);
        }
        if !claims.audiences()?.contains(&client_id) {
            return Err(TokenError::Audience {
                accepted: client_id.to_owned(),
            });
        }
        let times = check_times(claims, now, self.leeway)?;
        let issued = times.issued_at.ok_or_else(|| TokenError::MissingClaim("iat".into()))?;
        if now > issued.plus(MAX_AGE).plus(self.leeway) {
            return Err(TokenError::Expired);
        }
        match claims.value("events") {
            Some(Value::Object(events)) if events.get(LOGOUT_EVENT).is_some_and(Value::is_object) => {}
            _ => return Err(TokenError::Logout("does not name the logout event (`events`)")),
        }
        if claims.has("nonce") {
            return Err(TokenError::Logout(
                "has a `nonce`, which an ID token in disguise would have",
            ));
        }
        let text = |name| {
            claims
                .text(name)
                .map(|text| text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let (subject, session) = (text("sub")?, text("sid")?);
        if subject.is_none() && session.is_none() {
            return Err(TokenError::Logout(
                "names neither an account (`sub`) nor a session (`sid`)",
            ));
        }
        Ok(LogoutToken {
            issuer: issuer.to_owned(),
            subject,
            session,
            token_id: claims.required_text("jti")?.to_owned(),
            remember_until: issued.plus(MAX_AGE).plus(self.leeway).plus(self.leeway),
        })
    }
}

/// Ids of logout tokens that were acted upon.
#[derive(Debug, Default)]
pub struct SeenLogouts(BTreeMap<(String, String), Timestamp>);

impl SeenLogouts {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits a verified logout token once.
    ///
    /// # Errors
    /// It was seen, or the table is full.
    pub fn admit(&mut self, token: &LogoutToken, now: Timestamp) -> Result<(), TokenError> {
        self.0.retain(|_, until| now <= *until);
        let key = (token.issuer.clone(), token.token_id.clone());
        if self.0.contains_key(&key) {
            return Err(TokenError::Logout("was used before (`jti`)"));
        }
        if self.0.len() >= MAX_SEEN {
            return Err(TokenError::Logout(
                "came together with too many others; send it again later",
            ));
        }
        self.0.insert(key, token.remember_until);
        Ok(())
    }
}
