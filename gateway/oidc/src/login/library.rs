//! The messages of a sign-in, made by the openidconnect crate: the authorization URL, the token requests, and how the
//! answers read. What this crate adds around them: requests are values for somebody else to send, an answer is read with
//! one reading only ([`object`]), and no text of the other side is kept.

use std::fmt;

use bytes::Bytes;
use http::Uri;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue};
use openidconnect::core::{
    CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreRequestTokenError, CoreTokenType,
};
use openidconnect::{
    AuthType, AuthUrl, AuthenticationContextClass, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndSessionUrl,
    EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, IssuerUrl, JsonWebKeySet, LoginHint,
    LogoutRequest, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl,
    RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardErrorResponse, StandardTokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Client, ClientAuthentication, ExchangeError, LoginOptions, LoginSecrets, ProviderError, StartError, Tokens,
};
use crate::Outgoing;

type Ready = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet>;

/// The library's client, ready for both endpoints. It gets no keys: it never verifies a token.
fn ready(client: &Client, authorization: &Uri, token: &Uri) -> Result<Ready, StartError> {
    let unusable = |_| StartError::Unusable;
    let issuer = IssuerUrl::new(client.issuer.to_string()).map_err(unusable)?;
    let mut ready = CoreClient::new(
        ClientId::new(client.client_id.clone()),
        issuer,
        JsonWebKeySet::default(),
    )
    .set_redirect_uri(RedirectUrl::new(client.redirect_uri.clone()).map_err(unusable)?)
    .set_auth_uri(AuthUrl::new(authorization.to_string()).map_err(unusable)?)
    .set_token_uri(TokenUrl::new(token.to_string()).map_err(unusable)?);
    let secret = |secret: &SecretString| ClientSecret::new(secret.expose_secret().to_owned());
    ready = match &client.authentication {
        ClientAuthentication::Basic(text) => ready.set_auth_type(AuthType::BasicAuth).set_client_secret(secret(text)),
        ClientAuthentication::Post(text) => ready
            .set_auth_type(AuthType::RequestBody)
            .set_client_secret(secret(text)),
        ClientAuthentication::None => ready.set_auth_type(AuthType::RequestBody),
    };
    Ok(ready)
}

/// Where to send the browser.
pub(super) fn authorization_url(
    client: &Client,
    (authorization, token): (&Uri, &Uri),
    options: &LoginOptions,
    secrets: &LoginSecrets,
) -> Result<String, StartError> {
    let ready = ready(client, authorization, token)?;
    let verifier = PkceCodeVerifier::new(secrets.verifier.expose_secret().to_owned());
    let (state, nonce) = (CsrfToken::new(secrets.state.clone()), Nonce::new(secrets.nonce.clone()));
    let mut request = ready
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    // The library names `openid` itself.
    for scope in client.scopes.iter().filter(|scope| *scope != "openid") {
        request = request.add_scope(Scope::new(scope.clone()));
    }
    if let Some(age) = options.max_age {
        request = request.set_max_age(age);
    }
    for class in &options.acr_values {
        request = request.add_auth_context_value(AuthenticationContextClass::new(class.clone()));
    }
    if let Some(prompt) = &options.prompt {
        request = request.add_prompt(prompt_named(prompt));
    }
    if let Some(hint) = &options.login_hint {
        request = request.set_login_hint(LoginHint::new(hint.clone()));
    }
    Ok(request.url().0.into())
}

fn prompt_named(name: &str) -> CoreAuthPrompt {
    match name {
        "none" => CoreAuthPrompt::None,
        "login" => CoreAuthPrompt::Login,
        "consent" => CoreAuthPrompt::Consent,
        "select_account" => CoreAuthPrompt::SelectAccount,
        other => CoreAuthPrompt::Extension(other.to_owned()),
    }
}

/// The request that exchanges a code.
pub(super) fn code_request(
    client: &Client,
    token: &Uri,
    code: &SecretString,
    verifier: &SecretString,
) -> Result<Outgoing, StartError> {
    let ready = ready(client, token, token)?;
    let request = ready
        .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
    unsent(request.request(&keep))
}

/// The request that renews tokens.
pub(super) fn refresh_request(
    client: &Client,
    token: &Uri,
    refresh_token: &SecretString,
) -> Result<Outgoing, StartError> {
    let ready = ready(client, token, token)?;
    let refresh_token = RefreshToken::new(refresh_token.expose_secret().to_owned());
    unsent(ready.exchange_refresh_token(&refresh_token).request(&keep))
}

/// Where to send the browser to sign out. The library takes a hint only as a token that it has parsed into its own types;
/// a hint need not be one any more, so it is put behind as text.
pub(super) fn logout_url(
    client: &Client,
    endpoint: &Uri,
    id_token: Option<&SecretString>,
    return_to: Option<&str>,
    state: Option<&str>,
) -> Option<String> {
    let endpoint = EndSessionUrl::new(endpoint.to_string()).ok()?;
    let mut request = LogoutRequest::from(endpoint).set_client_id(ClientId::new(client.client_id.clone()));
    if let Some(url) = return_to {
        request = request.set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(url.to_owned()).ok()?);
    }
    if let Some(state) = state {
        request = request.set_state(CsrfToken::new(state.to_owned()));
    }
    let mut url = request.http_get_url();
    if let Some(token) = id_token {
        url.query_pairs_mut()
            .append_pair("id_token_hint", token.expose_secret());
    }
    Some(url.into())
}

/// A "sending" that keeps the request instead: the library gives a request away only to a client that answers it.
fn keep(request: HttpRequest) -> Result<HttpResponse, Unsent> {
    Err(Unsent(Box::new(request)))
}

struct Unsent(Box<HttpRequest>);

/// Nothing of the request: it holds secrets.
impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsent")
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is for somebody else to send")
    }
}

impl std::error::Error for Unsent {}

fn unsent<T>(result: Result<T, CoreRequestTokenError<Unsent>>) -> Result<Outgoing, StartError> {
    let Err(RequestTokenError::Request(Unsent(request))) = result else {
        return Err(StartError::Unusable);
    };
    let (mut head, body) = request.into_parts();
    mark(&mut head.headers);
    Ok(Outgoing::from_parts(head, Bytes::from(body)))
}

fn mark(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(proof) = headers.get_mut(AUTHORIZATION) {
        proof.set_sensitive(true);
    }
}

/// The ID token of an answer, as text: it is verified elsewhere, from its own bytes.
#[derive(Deserialize, Serialize)]
struct IdTokenText {
    id_token: Option<String>,
}

impl fmt::Debug for IdTokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenText")
    }
}

impl ExtraTokenFields for IdTokenText {}

/// Reads an answer of status 200 that was read once already, so that no member stands twice.
pub(super) fn granted(members: Map<String, Value>) -> Result<Tokens, ExchangeError> {
    let unusable = |_| ExchangeError::Malformed("`access_token` is missing or a member has another type");
    let answer =
        StandardTokenResponse::<IdTokenText, CoreTokenType>::deserialize(Value::Object(members)).map_err(unusable)?;
    let text = |text: &String| SecretString::from(text.as_str());
    Ok(Tokens {
        access_token: text(answer.access_token().secret()),
        id_token: answer.extra_fields().id_token.as_ref().map(text),
        refresh_token: answer.refresh_token().map(|token| text(token.secret())),
        expires_in: answer.expires_in(),
    })
}

/// The error that an answer names, if it names one.
pub(super) fn named_error(members: &Map<String, Value>) -> Option<ProviderError> {
    let error = members.get("error")?;
    let only = Map::from_iter([("error".to_owned(), error.clone())]);
    let named = StandardErrorResponse::<CoreErrorResponseType>::deserialize(Value::Object(only)).ok()?;
    Some(ProviderError::named(named.error().as_ref()))
}
