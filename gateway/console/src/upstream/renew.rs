//! Asking again with the refresh token (OIDC Core §12).

use std::sync::Arc;

use oidc::login::Tokens;
use oidc::{Purpose, TokenError};
use secrecy::{ExposeSecret as _, SecretString};
use state::{Identity, ProviderTokens, Session};

use super::{Provider, answer, person, verified};
use crate::app::Inner;

/// The provider vouches, again.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) tokens: ProviderTokens,
    pub(crate) identity: Identity,
}

/// It does not, or it cannot be told.
#[derive(Debug)]
pub(crate) enum RenewalError {
    /// It said no, or what it says now allows no session: the session ends.
    Refused(&'static str),
    /// It gave a new refresh token, but with an ID token that could not be verified.
    Unverified { tokens: ProviderTokens, why: &'static str },
    /// It did not answer, or not about the person: nothing is known, nothing changes.
    NoAnswer(&'static str),
}

pub(crate) async fn renew(
    app: &Inner,
    provider: &Arc<Provider>,
    session: &Session,
    held: &ProviderTokens,
) -> Result<Renewed, RenewalError> {
    let refresh = held
        .refresh
        .as_deref()
        .ok_or(RenewalError::NoAnswer("no refresh token"))?;
    let request = provider
        .client
        .refresh_request(&provider.discovery, &SecretString::from(refresh))
        .map_err(|_| RenewalError::NoAnswer("no token endpoint"))?;
    let response = provider.send(request).await.map_err(|error| {
        tracing::warn!(provider = &*provider.name, error = %error, "renewal not answered");
        RenewalError::NoAnswer("unreachable")
    })?;
    let given = Tokens::read(&answer(&response)).map_err(|error| {
        tracing::warn!(provider = &*provider.name, error = %error, "renewal refused or unusable");
        if error.ends_session() {
            RenewalError::Refused("invalid_grant")
        } else {
            RenewalError::NoAnswer("error answer")
        }
    })?;
    let mut tokens = held.clone();
    if let Some(rotated) = &given.refresh_token {
        tokens.refresh = Some(rotated.expose_secret().to_owned());
    }
    // A provider need not send an ID token with a renewal: then it vouches for whom it vouched before.
    let Some(id_token) = &given.id_token else {
        return Ok(Renewed {
            tokens,
            identity: session.identity.clone(),
        });
    };
    judge(app, provider, session, tokens, id_token.expose_secret()).await
}

async fn judge(
    app: &Inner,
    provider: &Arc<Provider>,
    session: &Session,
    mut tokens: ProviderTokens,
    id_token: &str,
) -> Result<Renewed, RenewalError> {
    let purpose = Purpose::Renewal {
        client_id: &provider.client.client_id,
        subject: &session.identity.subject,
        nonce: &tokens.nonce,
    };
    match verified(app, provider, id_token, purpose).await {
        Ok(token) => {
            let (_, identity) = person(&token).map_err(|_| RenewalError::Refused("unusable_identity"))?;
            tokens.id_token = Some(id_token.to_owned());
            tokens.claims = serde_json::Value::Object((*token.claims).clone()).to_string();
            Ok(Renewed { tokens, identity })
        }
        Err(error) if speaks_of_the_person(&error) => Err(RenewalError::Refused(error.code())),
        Err(error) => Err(RenewalError::Unverified {
            tokens,
            why: error.code(),
        }),
    }
}

/// Whether a refusal is about the person as the provider describes them now, so that yesterday's description must not
/// count on. The others are about keys, clocks and form, and may pass.
fn speaks_of_the_person(error: &TokenError) -> bool {
    matches!(
        error,
        TokenError::SubjectChanged
            | TokenError::Nonce
            | TokenError::EmailNotVerified
            | TokenError::EmailSyntax
            | TokenError::EmailDomain { .. }
            | TokenError::EmptyUsername
            | TokenError::NameCharacters(_)
            | TokenError::SystemName(_)
            | TokenError::TooManyGroups { .. }
            | TokenError::GroupsTooLarge { .. }
            | TokenError::GroupsOverage
            | TokenError::DistributedClaim(_)
            | TokenError::RequiredClaim(_)
            | TokenError::RuleRefused { .. }
            | TokenError::RuleFailed { .. }
            | TokenError::RuleType { .. }
    )
}
