//! The browser is back: from the provider's answer to a person it vouches for.

use std::sync::Arc;

use oidc::TokenError;
use oidc::login::{CallbackError, Code, ExchangeError, ProviderError, Tokens};
use secrecy::ExposeSecret as _;
use state::ProviderTokens;

use super::{Provider, UpstreamAttempt, answer, person, verified};
use crate::app::Inner;
use crate::signin::Vouched;

/// Why nobody is signed in.
#[derive(Debug)]
pub(crate) struct ArrivalError {
    /// Stable, for the record.
    pub(crate) code: &'static str,
    /// For the command line (RFC 6749 §4.1.2.1).
    pub(crate) oauth: &'static str,
    /// For the person; no text of the provider's in it.
    pub(crate) shown: String,
    /// For the record.
    pub(crate) note: Option<String>,
}

impl ArrivalError {
    fn denied(code: &'static str, shown: impl Into<String>) -> Self {
        let shown = shown.into();
        Self {
            code,
            oauth: "access_denied",
            note: Some(shown.clone()),
            shown,
        }
    }

    /// Whether the person did all right, and it may go well the next time.
    pub(crate) fn is_ours_to_mend(&self) -> bool {
        matches!(
            self.code,
            "provider_gone" | "provider_busy" | "provider_unreachable" | "exchange_failed"
        )
    }

    fn failed(code: &'static str, shown: impl Into<String>) -> Self {
        Self {
            oauth: "server_error",
            ..Self::denied(code, shown)
        }
    }
}

/// Judges the answer, exchanges the code, verifies the ID token. `callback` is the path that was answered to; the
/// attempt's provider must be the one that it belongs to, or a code could reach another provider's token endpoint.
pub(crate) async fn arrive(
    app: &Inner,
    attempt: &UpstreamAttempt,
    callback: &str,
    query: &str,
) -> Result<Vouched, ArrivalError> {
    let providers = app.parts.issuers.providers();
    let provider = providers
        .iter()
        .find(|provider| *provider.name == *attempt.provider && provider.issuer_url() == attempt.issuer)
        .ok_or_else(|| ArrivalError::failed("provider_gone", "the provider is not configured or not ready any more"))?;
    if provider.client.redirect_uri != app.parts.url.at(callback) {
        return Err(ArrivalError::denied(
            "wrong_callback",
            "the answer came to another provider's address",
        ));
    }
    let Some(Ok((_, begun))) = attempt.begin(provider) else {
        return Err(ArrivalError::failed(
            "provider_changed",
            "the provider changed meanwhile; start the sign-in again",
        ));
    };
    let code = begun.finish(query, app.now()).map_err(|error| not_finished(&error))?;
    let tokens = exchange(provider, &code).await?;
    vouched(app, provider, &code, &tokens).await
}

fn not_finished(error: &CallbackError) -> ArrivalError {
    let code = match error {
        CallbackError::Malformed => "malformed_answer",
        CallbackError::State => "state",
        CallbackError::TooLate => "too_late",
        CallbackError::Issuer => "issuer_mixed_up",
        CallbackError::Refused(ProviderError::Temporary) => {
            return ArrivalError::failed("provider_busy", error.to_string());
        }
        CallbackError::Refused(_) => "provider_refused",
        CallbackError::NoCode => "no_code",
    };
    ArrivalError::denied(code, error.to_string())
}

async fn exchange(provider: &Provider, code: &Code) -> Result<Tokens, ArrivalError> {
    let request = code
        .token_request()
        .map_err(|error| ArrivalError::failed("provider_unusable", error.to_string()))?;
    let response = provider.send(request).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(provider = &*provider.name, error = %error, cause, "code not exchanged");
        ArrivalError::failed(
            "provider_unreachable",
            "the provider did not answer the gateway; try again in a minute",
        )
    })?;
    Tokens::read(&answer(&response)).map_err(|error| {
        tracing::warn!(provider = &*provider.name, error = %error, "code not exchanged");
        match error {
            ExchangeError::Refused(ProviderError::InvalidGrant) => {
                ArrivalError::denied("code_refused", "the provider refused the code; start the sign-in again")
            }
            ExchangeError::Refused(_) | ExchangeError::Unavailable(_) | ExchangeError::Malformed(_) => {
                ArrivalError::failed("exchange_failed", error.to_string())
            }
        }
    })
}

async fn vouched(app: &Inner, provider: &Arc<Provider>, code: &Code, tokens: &Tokens) -> Result<Vouched, ArrivalError> {
    let id_token = tokens.id_token.as_ref().ok_or_else(|| {
        ArrivalError::failed("no_id_token", "the provider sent no ID token; check the scope `openid`")
    })?;
    let token = verified(app, provider, id_token.expose_secret(), code.purpose(tokens))
        .await
        .map_err(|error: TokenError| ArrivalError::denied(error.code(), error.to_string()))?;
    let (subject_id, identity) =
        person(&token).map_err(|error| ArrivalError::denied("unusable_identity", error.to_string()))?;
    Ok(Vouched {
        subject_id,
        provider: provider.name.to_string(),
        provider_sid: token.session.clone(),
        identity,
        auth_time: token.auth_time.map(model::time::Timestamp::unix_seconds),
        acr: token.acr.clone(),
        amr: token.amr.clone(),
        tokens: ProviderTokens {
            refresh: tokens
                .refresh_token
                .as_ref()
                .map(|token| token.expose_secret().to_owned()),
            id_token: Some(id_token.expose_secret().to_owned()),
            claims: serde_json::Value::Object((*token.claims).clone()).to_string(),
            nonce: code.nonce().to_owned(),
        },
    })
}
