//! What is trusted: issuers in one compiled form, whichever configuration they were written in.

mod authentication;
mod checks;
mod compile;
mod names;
mod provider;

pub use authentication::{AuthenticationConfiguration, Problem, read_authentication_configuration};
pub use names::{NameSpace, Reach};
pub use provider::{Field, FieldProblem, Provider, Rule as ProviderRule};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use condition::Program;
use http::Uri;

use crate::{Algorithm, TokenError, Unverified};

/// An issuer of tokens and all that is demanded of them.
#[derive(Debug)]
pub struct Issuer {
    pub(crate) name: Arc<str>,
    pub(crate) url: Arc<str>,
    pub(crate) discovery: Uri,
    pub(crate) certificate_authority: Option<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) authorized_parties: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) leeway: Duration,
    pub(crate) access_tokens: bool,
    pub(crate) mapping: Mapping,
    pub(crate) required_claims: Vec<(Arc<str>, Arc<str>)>,
    pub(crate) claim_rules: Vec<Rule>,
    pub(crate) user_rules: Vec<Rule>,
    pub(crate) max_groups: usize,
    pub(crate) fingerprint: [u8; 32],
}

/// How claims become a person.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) username: Source,
    pub(crate) groups: Option<Source>,
    pub(crate) uid: Option<Source>,
    pub(crate) extra: Vec<(String, Program)>,
    pub(crate) require_verified_email: bool,
    pub(crate) email_domains: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Claim { name: Arc<str>, prefix: String },
    Expression(Program),
}

/// A validation rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) program: Program,
    pub(crate) message: Arc<str>,
}

/// Most groups of one person unless configured otherwise.
pub const DEFAULT_MAX_GROUPS: usize = 1_000;
/// Longest sum of all names of groups in bytes.
pub const MAX_GROUP_BYTES: usize = 64 * 1024;
/// Clock difference that is forgiven unless configured otherwise.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(10);
/// Most clock difference that may be configured.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

impl Issuer {
    /// The configuration's name for it, or its URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `iss`, byte for byte.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its discovery document is.
    #[must_use]
    pub fn discovery_uri(&self) -> &Uri {
        &self.discovery
    }

    /// PEM certificates to trust for it instead of the system's.
    #[must_use]
    pub fn certificate_authority(&self) -> Option<&str> {
        self.certificate_authority.as_deref()
    }

    /// Accepted audiences.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// SHA-256 of all that decides about a token: results cached under another value must go (O-25).
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

/// All issuers of one configuration, by URL.
#[derive(Clone, Debug, Default)]
pub struct Issuers(BTreeMap<Arc<str>, Arc<Issuer>>);

/// Two issuers with one URL: a token could be judged by either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer `{0}` is configured twice; merge the two, for example by listing both audiences")]
pub struct DuplicateIssuer(pub String);

impl Issuers {
    /// Joins issuers from all sources.
    ///
    /// # Errors
    /// Two have the same URL.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Result<Self, DuplicateIssuer> {
        let mut known = BTreeMap::new();
        for issuer in issuers {
            if known.contains_key(&issuer.url) {
                return Err(DuplicateIssuer(issuer.url.to_string()));
            }
            known.insert(Arc::clone(&issuer.url), Arc::new(issuer));
        }
        Ok(Self(known))
    }

    /// The verifier for a token, by its unverified `iss` and by nothing else. Costs no network call, ever.
    ///
    /// # Errors
    /// `iss` is absent, of the wrong type, or not configured; compared byte for byte.
    pub fn select(&self, token: &Unverified<'_>) -> Result<&Arc<Issuer>, TokenError> {
        self.0.get(token.issuer()?).ok_or(TokenError::UnknownIssuer)
    }

    /// By URL.
    #[must_use]
    pub fn find(&self, url: &str) -> Option<&Arc<Issuer>> {
        self.0.get(url)
    }

    /// All but one: whoever has its tokens is no longer vouched for.
    #[must_use]
    pub fn without(&self, url: &str) -> Self {
        let others = self.0.iter().filter(|(known, _)| ***known != *url);
        Self(
            others
                .map(|(url, issuer)| (Arc::clone(url), Arc::clone(issuer)))
                .collect(),
        )
    }

    /// All of them, by URL.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.0.values()
    }
}
