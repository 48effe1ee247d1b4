//! Signing out, in both directions.

use model::time::Timestamp;
use oidc::{TokenError, Unverified};
use secrecy::SecretString;
use state::ProviderTokens;

use super::{Provider, with_newer_keys};
use crate::app::Inner;

/// A verified word of a provider that sessions are over.
#[derive(Debug)]
pub(crate) struct LogoutToken {
    pub(crate) issuer: String,
    pub(crate) id: String,
    pub(crate) session: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) remember_until: Timestamp,
}

/// Why it is none.
#[derive(Debug)]
pub(crate) struct LogoutRefused {
    pub(crate) code: &'static str,
    pub(crate) shown: String,
}

impl From<TokenError> for LogoutRefused {
    fn from(error: TokenError) -> Self {
        Self {
            code: error.code(),
            shown: error.to_string(),
        }
    }
}

/// Takes the provider's refresh token back. Says what became of it.
pub(crate) async fn revoke(_app: &Inner, provider: &Provider, tokens: &ProviderTokens) -> &'static str {
    let Some(refresh) = tokens.refresh.as_deref().map(SecretString::from) else {
        return "nothingHeld";
    };
    let Some(request) = provider.client.revocation_request(&provider.discovery, &refresh) else {
        return "notSupported";
    };
    match provider.send(request).await {
        Ok(response) if response.status().is_success() => "revoked",
        Ok(response) => {
            tracing::warn!(
                provider = &*provider.name,
                status = response.status().as_u16(),
                "revocation refused"
            );
            "failed"
        }
        Err(error) => {
            tracing::warn!(provider = &*provider.name, error = %error, "revocation not answered");
            "failed"
        }
    }
}

/// Where the browser signs out of the provider, too.
pub(crate) fn end_session_url(provider: &Provider, tokens: Option<&ProviderTokens>, return_to: &str) -> Option<String> {
    let hint = tokens
        .and_then(|tokens| tokens.id_token.as_deref())
        .map(SecretString::from);
    provider
        .client
        .logout_url(&provider.discovery, hint.as_ref(), Some(return_to), None)
}

/// Verifies a logout token with the provider that its `iss` names, and no other.
pub(crate) async fn verify_logout(app: &Inner, text: &str) -> Result<LogoutToken, LogoutRefused> {
    let parsed = Unverified::parse(text)?;
    let issuer = parsed.issuer()?.to_owned();
    let providers = app.parts.issuers.providers();
    let provider = providers
        .iter()
        .find(|provider| provider.issuer_url() == issuer)
        .ok_or(TokenError::UnknownIssuer)?;
    let verify = |provider: &Provider| {
        provider
            .issuer
            .verify_logout(&parsed, &provider.keys, &provider.client.client_id, app.now())
    };
    let token = match verify(provider) {
        Err(TokenError::UnknownKey { kid }) => verify(&*with_newer_keys(app, provider, &kid).await)?,
        other => other?,
    };
    Ok(LogoutToken {
        issuer: token.issuer,
        id: token.token_id,
        session: token.session,
        subject: token.subject,
        remember_until: token.remember_until,
    })
}
