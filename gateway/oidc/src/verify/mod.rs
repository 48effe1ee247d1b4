//! Judging a token: who signed it, for whom, when, and whom it names. Each refusal is one [`TokenError`].

mod explain;
mod mapping;
mod names;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::time::Timestamp;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use crate::claims::Claims;
use crate::crypto::half_hash;
use crate::encoding::encode;
use crate::keys::Key;
use crate::preparse::Kind;
use crate::{Algorithm, Issuer, KeySet, TokenError, Unverified, algorithm};

pub use explain::{DroppedGroup, Explanation};
pub(crate) use names::is_deceptive;

/// The member of `events` that makes a logout token (OIDC Back-Channel Logout §2.4).
pub(crate) const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a token is presented for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// As a credential with a request.
    Bearer,
    /// As the ID token of a sign-in that the gateway started.
    SignIn {
        /// The gateway's client id; must be an audience.
        client_id: &'a str,
        /// What the sign-in sent.
        nonce: &'a str,
        /// The access token that came along; checked against `at_hash` where the ID token has one.
        access_token: Option<&'a str>,
        /// How old the sign-in at the provider may be; `auth_time` is demanded then.
        max_age: Option<Duration>,
    },
    /// As the ID token of a renewal (OIDC Core §12.2).
    Renewal {
        /// The gateway's client id; must be an audience.
        client_id: &'a str,
        /// `sub` of the first ID token.
        subject: &'a str,
        /// `nonce` of the first ID token; the renewed one may leave it out.
        nonce: &'a str,
    },
}

/// A token that holds, and whom it names.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// `iss`.
    pub issuer: Arc<str>,
    /// `sub`.
    pub subject: String,
    /// The Kubernetes user name: never empty, never `system:`.
    pub username: String,
    /// The Kubernetes uid, where mapped.
    pub uid: Option<String>,
    /// The Kubernetes groups: no `system:` among them, none twice.
    pub groups: Vec<String>,
    /// The Kubernetes extras, with `authentication.kubernetes.io/credential-id` where the token has an id.
    pub extra: BTreeMap<String, Vec<String>>,
    /// The address, only if the provider says that it is verified. For display, never for deciding.
    pub email: Option<String>,
    /// `name`, for display.
    pub display_name: Option<String>,
    /// `jti`.
    pub token_id: Option<String>,
    /// `auth_time`: when the person last proved who they are.
    pub auth_time: Option<Timestamp>,
    /// `acr`: how.
    pub acr: Option<String>,
    /// `amr`: by which means.
    pub amr: Vec<String>,
    /// `sid`: the provider's session, for back-channel logout.
    pub session: Option<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `exp`. A cached result must not be served at or after it; the leeway is not in it.
    pub expires_at: Timestamp,
    /// RFC 7638 thumbprint of the key that signed it: when the key goes, so does a cached result (O-15).
    pub key: [u8; 32],
    /// All claims.
    pub claims: Arc<Map<String, Value>>,
}

impl Issuer {
    /// Verifies a token of this issuer.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] is the one that a fetch of keys may cure (see [`crate::KeyState::on_unknown_kid`]); all
    /// others are final for this token, now.
    pub fn verify(
        &self,
        token: &Unverified<'_>,
        keys: &KeySet,
        now: Timestamp,
        purpose: Purpose<'_>,
    ) -> Result<VerifiedToken, TokenError> {
        self.check_kind(token)?;
        let (algorithm, key) = self.check_signature(token, keys)?;
        let claims = &token.claims;
        if *claims.required_text("iss")? != *self.url {
            return Err(TokenError::UnknownIssuer);
        }
        refuse_logout_token(claims)?;
        let times = self.check_times(claims, now)?;
        let subject = names::subject(claims)?;
        self.check_audience(claims, purpose)?;
        self.check_purpose(claims, algorithm, now, purpose, &subject)?;
        let person = self.map(claims)?;
        let texts = |name| {
            claims
                .texts(name)
                .map(|texts| texts.unwrap_or_default().into_iter().map(str::to_owned).collect())
        };
        let text = |name| claims.text(name).map(|text| text.map(str::to_owned));
        Ok(VerifiedToken {
            issuer: Arc::clone(&self.url),
            subject,
            username: person.username,
            uid: person.uid,
            groups: person.groups,
            extra: person.extra,
            email: mapping::verified_email(claims)?,
            display_name: text("name")?.filter(|name| !name.chars().any(is_deceptive) && name.len() <= 256),
            token_id: text("jti")?,
            auth_time: claims.time("auth_time")?,
            acr: text("acr")?,
            amr: texts("amr")?,
            session: text("sid")?,
            issued_at: times.issued_at,
            not_before: times.not_before,
            expires_at: times.expires_at,
            key: key.thumbprint,
            claims: Arc::clone(claims.members()),
        })
    }

    fn check_kind(&self, token: &Unverified<'_>) -> Result<(), TokenError> {
        match token.header.kind {
            Kind::Plain => {}
            Kind::Access if self.access_tokens => {}
            Kind::Logout => return Err(TokenError::LogoutToken),
            Kind::Assertion => return Err(TokenError::Assertion),
            Kind::Access | Kind::Other => {
                return Err(TokenError::Type {
                    access_tokens: self.access_tokens,
                });
            }
        }
        if token.header.has_nonce {
            Err(TokenError::ForeignApi)
        } else {
            Ok(())
        }
    }

    pub(crate) fn check_signature<'k>(
        &self,
        token: &Unverified<'_>,
        keys: &'k KeySet,
    ) -> Result<(Algorithm, &'k Key), TokenError> {
        check_signature(token, keys, &self.algorithms)
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<Times, TokenError> {
        check_times(claims, now, self.leeway)
    }

    /// Any accepted audience will do. With audiences besides ours the party that asked for the token must be known, or a
    /// token made for somebody else's client would be good here (OIDC Core §3.1.3.7).
    fn check_audience(&self, claims: &Claims, purpose: Purpose<'_>) -> Result<(), TokenError> {
        let audiences = claims.audiences()?;
        let party = claims.text("azp")?;
        let client = match purpose {
            Purpose::Bearer => None,
            Purpose::SignIn { client_id, .. } | Purpose::Renewal { client_id, .. } => Some(client_id),
        };
        if let Some(client) = client {
            if !audiences.contains(&client) {
                return Err(TokenError::Audience {
                    accepted: client.to_owned(),
                });
            }
            let trusted = party.map_or(audiences.len() == 1, |party| party == client);
            return if trusted {
                Ok(())
            } else {
                Err(TokenError::AuthorizedParty)
            };
        }
        let is_ours = |audience: &str| self.audiences.iter().any(|ours| ours == audience);
        if !audiences.iter().any(|audience| is_ours(audience)) {
            return Err(TokenError::Audience {
                accepted: self.audiences.join(", "),
            });
        }
        let trusted = |party: &str| is_ours(party) || self.authorized_parties.iter().any(|known| known == party);
        if audiences.iter().all(|audience| is_ours(audience)) || party.is_some_and(trusted) {
            Ok(())
        } else {
            Err(TokenError::AuthorizedParty)
        }
    }

    fn check_purpose(
        &self,
        claims: &Claims,
        algorithm: Algorithm,
        now: Timestamp,
        purpose: Purpose<'_>,
        subject: &str,
    ) -> Result<(), TokenError> {
        match purpose {
            Purpose::Bearer => Ok(()),
            Purpose::SignIn {
                nonce,
                access_token,
                max_age,
                ..
            } => {
                if !claims.text("nonce")?.is_some_and(|found| equal(found, nonce)) {
                    return Err(TokenError::Nonce);
                }
                check_access_token(claims, algorithm, access_token)?;
                self.check_age(claims, now, max_age)
            }
            Purpose::Renewal {
                subject: expected,
                nonce,
                ..
            } => {
                if !claims.text("nonce")?.is_none_or(|found| equal(found, nonce)) {
                    return Err(TokenError::Nonce);
                }
                if subject == expected {
                    Ok(())
                } else {
                    Err(TokenError::SubjectChanged)
                }
            }
        }
    }

    fn check_age(&self, claims: &Claims, now: Timestamp, max_age: Option<Duration>) -> Result<(), TokenError> {
        let Some(max_age) = max_age else { return Ok(()) };
        let proved = claims.time("auth_time")?.ok_or(TokenError::SignInTooOld)?;
        let in_time = now <= proved.plus(max_age).plus(self.leeway) && proved <= now.plus(self.leeway);
        if in_time { Ok(()) } else { Err(TokenError::SignInTooOld) }
    }
}

/// The algorithm must be allowed, the key must be for it, and the signature right; in this order.
pub(crate) fn check_signature<'k>(
    token: &Unverified<'_>,
    keys: &'k KeySet,
    allowed: &[Algorithm],
) -> Result<(Algorithm, &'k Key), TokenError> {
    let refused = || TokenError::Algorithm {
        accepted: algorithm::list(allowed),
    };
    let algorithm = token
        .header
        .algorithm
        .filter(|algorithm| allowed.contains(algorithm))
        .ok_or_else(refused)?;
    let key = keys.choose(&token.header, algorithm)?;
    key.verify(algorithm, token.signed.as_bytes(), &token.signature)?;
    Ok((algorithm, key))
}

/// The times of a token that is valid now.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
}

/// `exp` is demanded; `nbf` and `iat` are judged where they stand. One leeway for all three.
pub(crate) fn check_times(claims: &Claims, now: Timestamp, leeway: Duration) -> Result<Times, TokenError> {
    let times = Times {
        expires_at: claims.required_time("exp")?,
        not_before: claims.time("nbf")?,
        issued_at: claims.time("iat")?,
    };
    if now >= times.expires_at.plus(leeway) {
        return Err(TokenError::Expired);
    }
    if times.not_before.is_some_and(|start| start > now.plus(leeway)) {
        return Err(TokenError::NotYetValid);
    }
    if times.issued_at.is_some_and(|issued| issued > now.plus(leeway)) {
        return Err(TokenError::IssuedInFuture);
    }
    Ok(times)
}

/// A logout token may have no `typ`; its event gives it away.
fn refuse_logout_token(claims: &Claims) -> Result<(), TokenError> {
    match claims.value("events") {
        Some(Value::Object(events)) if events.contains_key(LOGOUT_EVENT) => Err(TokenError::LogoutToken),
        _ => Ok(()),
    }
}

fn check_access_token(claims: &Claims, algorithm: Algorithm, token: Option<&str>) -> Result<(), TokenError> {
    match (claims.text("at_hash")?, token) {
        (Some(hash), Some(token)) if !equal(hash, &encode(&half_hash(algorithm, token.as_bytes()))) => {
            Err(TokenError::AccessTokenHash)
        }
        _ => Ok(()),
    }
}

/// In a time that does not tell where two texts differ.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}
