//! The provider's side of a sign-in: drives the values of crate `oidc` and sends what they say.

mod arrive;
mod goodbye;
mod renew;
mod there;

pub(crate) use arrive::{ArrivalError, arrive};
pub(crate) use goodbye::{LogoutToken, end_session_url, revoke, verify_logout};
pub(crate) use renew::{RenewalError, Renewed, renew};
pub(crate) use there::There;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use http::{Response, StatusCode};
use model::subject::{Subject, SubjectError, SubjectId, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::login::{Client, LoginAttempt, LoginOptions, LoginSecrets, StartError};
use oidc::{Answer, Discovery, Issuer, KeySet, Outgoing, Purpose, TokenError, Unverified, VerifiedToken};
use serde::{Deserialize, Serialize};
use state::Identity;

use crate::app::Inner;
use crate::fetch::{Fetch, FetchError};
use crate::form::Fields;
use crate::page::Page;

/// Kubernetes' name for the id of the presented token. It would change with each renewal, and extras are constant per
/// session, or the API server's caches would miss each time.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// A provider that people can sign in at now: its discovery document and keys are known.
pub struct Provider {
    /// The configured name.
    pub name: Arc<str>,
    /// For the page that lets people choose.
    pub title: String,
    /// What is demanded of its tokens, and how claims become a person.
    pub issuer: Arc<Issuer>,
    /// The gateway as its client. The redirect address is `/callback`, or `/callback/<name>` for a provider that does
    /// not name itself in its answers while there are others (security OIDC-14).
    pub client: Client,
    /// `prompt` of each sign-in; some providers give refresh tokens only with `consent` (OIDC Core §11).
    pub prompt: Option<String>,
    /// Its endpoints.
    pub discovery: Arc<Discovery>,
    /// Its keys.
    pub keys: Arc<KeySet>,
    /// Requests to it, under the certificates that are configured for it.
    pub fetch: Arc<dyn Fetch>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The providers, as the feeds know them.
pub trait Issuers: Send + Sync {
    /// Those that are ready, in the configured order. Cheap: a snapshot.
    fn providers(&self) -> Arc<[Arc<Provider>]>;

    /// A token names a key that is not in the snapshot. Resolves when a newer snapshot may have it, or at once when
    /// there is nothing to wait for (cool-down); single flight and cool-down are the implementation's.
    fn newer_keys<'a>(&'a self, issuer: &'a str, kid: &'a str) -> BoxFuture<'a, ()>;
}

impl Provider {
    pub(crate) fn issuer_url(&self) -> &str {
        self.issuer.url()
    }

    /// Scheme and host of its sign-in page.
    pub(crate) fn origin(&self) -> String {
        let uri = self.discovery.authorization.as_ref();
        uri.and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)))
            .unwrap_or_default()
    }

    async fn send(&self, request: Outgoing) -> Result<Response<Bytes>, FetchError> {
        self.fetch.fetch(request).await
    }
}

/// What the beginner of a sign-in may wish for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wishes {
    max_age: Option<u64>,
    acr_values: Vec<String>,
    prompt: Option<String>,
    login_hint: Option<String>,
}

impl Wishes {
    /// Only what is well-formed; a wish that is not is not passed on.
    pub(crate) fn read(fields: &Fields) -> Self {
        let plain = |name: &str| {
            let text = fields.find(name)?;
            let fits = text.len() <= 256 && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
        };
        Self {
            max_age: plain("max_age").and_then(|text| text.parse().ok()),
            acr_values: plain("acr_values")
                .map(|text| text.split(' ').map(str::to_owned).collect())
                .unwrap_or_default(),
            prompt: plain("prompt").filter(|prompt| matches!(prompt.as_str(), "login" | "select_account" | "consent")),
            login_hint: plain("login_hint"),
        }
    }

    /// Whether somebody who has signed in like this need not sign in once more.
    pub(crate) fn are_met_by(&self, session: &state::Session, now: Timestamp) -> bool {
        let authenticated = session.auth_time.map(Timestamp::from_unix_seconds);
        let is_young = |most: u64| authenticated.is_some_and(|at| now.since(at) <= Duration::from_secs(most));
        self.prompt.is_none()
            && self.login_hint.is_none()
            && self.max_age.is_none_or(is_young)
            && self.is_context(session.acr.as_deref())
    }

    /// Whether nothing stricter was wished for than any sign-in.
    pub(crate) fn is_none(&self) -> bool {
        let Self {
            max_age,
            acr_values,
            prompt,
            login_hint,
        } = self;
        max_age.is_none() && acr_values.is_empty() && prompt.is_none() && login_hint.is_none()
    }

    /// As parameters, to be read again by [`Wishes::read`].
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let acr_values = Some(self.acr_values.join(" ")).filter(|values| !values.is_empty());
        [
            ("max_age", self.max_age.map(|seconds| seconds.to_string())),
            ("acr_values", acr_values),
            ("prompt", self.prompt.clone()),
            ("login_hint", self.login_hint.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The wished authentication contexts.
    pub(crate) fn contexts(&self) -> &[String] {
        &self.acr_values
    }

    /// Whether this is the wished authentication context. Where several are, each is owed by a rule of its own, so that none is as good as
    /// another.
    pub(crate) fn is_context(&self, acr: Option<&str>) -> bool {
        self.acr_values.iter().all(|wished| Some(wished.as_str()) == acr)
    }

    /// Whether the provider was to ask once more, although it knows the browser.
    pub(crate) fn is_anew(&self) -> bool {
        self.prompt.as_deref() == Some("login")
    }

    fn options(&self, provider: &Provider) -> LoginOptions {
        LoginOptions {
            max_age: self.max_age.map(Duration::from_secs),
            acr_values: self.acr_values.clone(),
            prompt: self.prompt.clone().or_else(|| provider.prompt.clone()),
            login_hint: self.login_hint.clone(),
        }
    }
}

/// What is needed to go on when the browser comes back. `oidc` makes the same attempt of it again: state, nonce and
/// verifier are derived from the entropy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpstreamAttempt {
    pub(crate) provider: String,
    issuer: String,
    entropy: String,
    wishes: Wishes,
    started: Timestamp,
}

/// Ready to leave for the provider.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) location: String,
    pub(crate) state: state::Secret,
    pub(crate) attempt: UpstreamAttempt,
}

impl UpstreamAttempt {
    /// What was wished for.
    pub(crate) const fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// When it began.
    pub(crate) const fn started(&self) -> Timestamp {
        self.started
    }

    fn begin(&self, provider: &Provider) -> Option<Result<(String, LoginAttempt), StartError>> {
        let entropy: [u8; 96] = URL_SAFE_NO_PAD.decode(&self.entropy).ok()?.try_into().ok()?;
        let options = self.wishes.options(provider);
        let secrets = LoginSecrets::from_entropy(&entropy);
        Some(
            provider
                .client
                .begin(&provider.discovery, &options, secrets, self.started),
        )
    }
}

/// Prepares a sign-in at a provider.
pub(crate) fn depart(app: &Inner, provider: &Provider, wishes: &Wishes) -> Result<Departure, Page> {
    let unusable = || {
        Page::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "This provider cannot be used now",
            "Its description of itself lacks what a sign-in needs, or it could be mistaken for another provider.",
            "Tell the administrator; the gateway's log says more.",
        )
    };
    let alone = app.parts.issuers.providers().len() == 1;
    let own_address = provider.client.redirect_uri != app.parts.url.at("/callback");
    if !alone && !own_address && !provider.discovery.answers_with_issuer {
        tracing::error!(
            provider = &*provider.name,
            "provider does not name itself in its answers (RFC 9207): give it the redirect address /callback/<name>"
        );
        return Err(unusable());
    }
    let mut entropy = [0; 96];
    aws_lc_rs::rand::fill(&mut entropy).map_err(|_| unusable())?;
    let attempt = UpstreamAttempt {
        provider: provider.name.to_string(),
        issuer: provider.issuer_url().to_owned(),
        entropy: URL_SAFE_NO_PAD.encode(entropy),
        wishes: wishes.clone(),
        started: app.now(),
    };
    match attempt.begin(provider) {
        Some(Ok((location, begun))) => Ok(Departure {
            location,
            state: state::Secret::presented(begun.state()),
            attempt,
        }),
        Some(Err(error)) => {
            tracing::error!(provider = &*provider.name, error = %error, "sign-in cannot begin");
            Err(unusable())
        }
        None => Err(unusable()),
    }
}

/// Verifies, once more with newer keys if the token names one that is not known yet (protocol O-13).
async fn verified(
    app: &Inner,
    provider: &Arc<Provider>,
    token: &str,
    purpose: Purpose<'_>,
) -> Result<VerifiedToken, TokenError> {
    let parsed = Unverified::parse(token)?;
    match provider.issuer.verify(&parsed, &provider.keys, app.now(), purpose) {
        Err(TokenError::UnknownKey { kid }) => {
            let newer = with_newer_keys(app, provider, &kid).await;
            newer.issuer.verify(&parsed, &newer.keys, app.now(), purpose)
        }
        other => other,
    }
}

async fn with_newer_keys(app: &Inner, provider: &Arc<Provider>, kid: &str) -> Arc<Provider> {
    app.parts.issuers.newer_keys(provider.issuer_url(), kid).await;
    let providers = app.parts.issuers.providers();
    let same = providers
        .iter()
        .find(|known| known.name == provider.name && known.issuer_url() == provider.issuer_url());
    same.unwrap_or(provider).clone()
}

fn answer(response: &Response<Bytes>) -> Answer<'_> {
    Answer {
        status: response.status(),
        headers: response.headers(),
        body: response.body(),
    }
}

/// The mapped person, with the model's own checks: what no [`Subject`] can be made of gets no session.
fn person(token: &VerifiedToken) -> Result<(SubjectId, Identity), SubjectError> {
    let mut extra = token.extra.clone();
    extra.remove(CREDENTIAL_ID);
    let identity = Identity {
        issuer: token.issuer.to_string(),
        subject: token.subject.clone(),
        username: token.username.clone(),
        uid: token.uid.clone(),
        groups: token.groups.clone(),
        extra,
        email: token.email.clone(),
    };
    let id = subject_id(&identity.issuer, &identity.subject);
    Subject::new(SubjectParts {
        id: id.clone(),
        kind: SubjectKind::Person,
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: identity.username.clone(),
        uid: identity.uid.clone(),
        groups: identity.groups.clone(),
        extra: identity.extra.clone(),
        email: identity.email.clone(),
    })?;
    Ok((id, identity))
}

/// The first 16 bytes of SHA-256(issuer, 0x00, subject), as [`SubjectId`] defines it.
fn subject_id(issuer: &str, subject: &str) -> SubjectId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(issuer.as_bytes());
    context.update(&[0]);
    context.update(subject.as_bytes());
    let digest = context.finish();
    SubjectId::from_digest(digest.as_ref().first_chunk().copied().unwrap_or_default())
}
