//! Our own, shorter way to configure a provider. Lowers to the same compiled form as Kubernetes' file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{
    DEFAULT_LEEWAY, DEFAULT_MAX_GROUPS, Issuer, MAX_LEEWAY, Mapping, Rule as CompiledRule, Source, checks, compile,
};
use crate::Algorithm;

/// An OpenID provider people sign in at.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// A short name, shown to people and used in the CLI's `--provider`.
    pub name: String,
    /// The issuer's URL, exactly as its tokens carry it in `iss`.
    pub issuer: String,
    /// Where the discovery document is, when not under the issuer's URL.
    #[serde(default, rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// PEM certificates to trust for this provider instead of the system's.
    #[serde(default)]
    pub certificate_authority: Option<String>,
    /// The client that the gateway is at the provider.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Audiences accepted in tokens; the client's id by default.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Other clients whose tokens for several audiences are accepted (`azp`).
    #[serde(default)]
    pub authorized_parties: Vec<String>,
    /// The claim that names the person. `sub` by default: unlike an address it is never given to somebody else.
    #[serde(default = "default_username_claim")]
    pub username_claim: String,
    /// Stands before user names. By default the issuer and `#`, for `email` nothing; `-` means nothing.
    #[serde(default)]
    pub username_prefix: Option<String>,
    /// The claim that lists groups; none by default.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Stands before the names of groups.
    #[serde(default)]
    pub groups_prefix: Option<String>,
    /// With `usernameClaim: email`, demand `email_verified: true`.
    #[serde(default = "yes")]
    pub require_verified_email: bool,
    /// With `usernameClaim: email`, the domains that addresses may have; any by default.
    #[serde(default)]
    pub email_domains: Vec<String>,
    /// Accepted signature algorithms.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Accept access tokens (`typ: at+jwt`) as well as ID tokens.
    #[serde(default)]
    pub access_tokens: bool,
    /// Clock difference in seconds that is forgiven, 0 to 60.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u64,
    /// Most groups of one person.
    #[serde(default = "default_max_groups")]
    pub max_groups: usize,
    /// Conditions on `claims`, in CEL.
    #[serde(default)]
    pub claim_rules: Vec<Rule>,
    /// Conditions on `user`, in CEL.
    #[serde(default)]
    pub user_rules: Vec<Rule>,
}

/// A condition that must hold, and what to tell when it does not.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// In CEL; must come to true or false.
    pub expression: String,
    /// For the person who is refused.
    #[serde(default)]
    pub message: String,
}

fn default_username_claim() -> String {
    "sub".to_owned()
}

fn yes() -> bool {
    true
}

fn default_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::PS256]
}

fn default_leeway() -> u64 {
    DEFAULT_LEEWAY.as_secs()
}

fn default_max_groups() -> usize {
    DEFAULT_MAX_GROUPS
}

/// A field of [`Provider`], by its key, with an index for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key as written.
    pub key: &'static str,
    /// Which element, from 0.
    pub index: Option<usize>,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}[{index}]", self.key),
            None => f.write_str(self.key),
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {message}")]
pub struct FieldProblem {
    /// Which field.
    pub field: Field,
    /// What is wrong, to be read behind the field's name.
    pub message: String,
}

#[derive(Default)]
struct Problems(Vec<FieldProblem>);

impl Problems {
    fn add(&mut self, key: &'static str, message: impl Into<String>) {
        self.0.push(FieldProblem {
            field: Field { key, index: None },
            message: message.into(),
        });
    }

    fn at(&mut self, key: &'static str, index: usize, message: impl Into<String>) {
        self.0.push(FieldProblem {
            field: Field {
                key,
                index: Some(index),
            },
            message: message.into(),
        });
    }

    fn check<T>(&mut self, key: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }
}

impl Provider {
    /// Checks everything and compiles.
    ///
    /// # Errors
    /// All problems at once.
    pub fn compile(&self) -> Result<Issuer, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        let discovery = self.check_urls(&mut problems);
        self.check_names(&mut problems);
        self.check_email(&mut problems);
        self.check_limits(&mut problems);
        let claim_rules = rules("claimRules", &self.claim_rules, compile::claims, &mut problems);
        let user_rules = rules("userRules", &self.user_rules, compile::user_info, &mut problems);
        let (true, Some(discovery)) = (problems.0.is_empty(), discovery) else {
            return Err(problems.0);
        };
        let audiences = if self.audiences.is_empty() {
            vec![self.client_id.clone()]
        } else {
            self.audiences.clone()
        };
        let mut authorized_parties = self.authorized_parties.clone();
        authorized_parties.push(self.client_id.clone());
        let issuer = Issuer {
            name: Arc::from(self.name.as_str()),
            url: Arc::from(self.issuer.as_str()),
            discovery,
            certificate_authority: self.certificate_authority.clone(),
            audiences,
            authorized_parties,
            algorithms: self.algorithms.clone(),
            leeway: Duration::from_secs(self.leeway_seconds),
            access_tokens: self.access_tokens,
            mapping: self.mapping(),
            required_claims: Vec::new(),
            claim_rules,
            user_rules,
            max_groups: self.max_groups,
            fingerprint: [0; 32],
        };
        Ok(issuer.sealed())
    }

    fn mapping(&self) -> Mapping {
        let prefix = match self.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
            None if self.username_claim == "email" => String::new(),
            None => format!("{}#", self.issuer),
        };
        let groups = self.groups_claim.as_deref().map(|name| Source::Claim {
            name: Arc::from(name),
            prefix: self
                .groups_prefix
                .clone()
                .filter(|prefix| prefix != "-")
                .unwrap_or_default(),
        });
        Mapping {
            username: Source::Claim {
                name: Arc::from(self.username_claim.as_str()),
                prefix,
            },
            groups,
            uid: None,
            extra: Vec::new(),
            require_verified_email: self.require_verified_email,
            email_domains: self
                .email_domains
                .iter()
                .map(|domain| domain.to_ascii_lowercase())
                .collect(),
        }
    }

    fn check_urls(&self, problems: &mut Problems) -> Option<http::Uri> {
        problems.check("issuer", checks::url(&self.issuer));
        if let Some(pem) = &self.certificate_authority {
            problems.check("certificateAuthority", checks::certificates(pem));
        }
        match &self.discovery_url {
            None => checks::discovery(&self.issuer).ok(),
            Some(url) if url.trim_end_matches('/') == self.issuer.trim_end_matches('/') => {
                problems.add(
                    "discoveryURL",
                    "must be different from the issuer's URL; leave it out for the usual place",
                );
                None
            }
            Some(url) => problems.check("discoveryURL", checks::url(url)),
        }
    }

    fn check_names(&self, problems: &mut Problems) {
        for (key, value) in [
            ("name", &self.name),
            ("clientID", &self.client_id),
            ("usernameClaim", &self.username_claim),
        ] {
            if value.is_empty() {
                problems.add(key, "must not be empty");
            }
        }
        if self.groups_claim.as_deref() == Some("") {
            problems.add(
                "groupsClaim",
                "must not be empty; leave it out when there are no groups",
            );
        }
        if self.groups_prefix.is_some() && self.groups_claim.is_none() {
            problems.add("groupsPrefix", "has no effect without `groupsClaim`");
        }
        for (key, prefix) in [
            ("usernamePrefix", &self.username_prefix),
            ("groupsPrefix", &self.groups_prefix),
        ] {
            if let Some(prefix) = prefix {
                problems.check(key, checks::prefix(prefix));
            }
        }
        for (key, list) in [
            ("audiences", &self.audiences),
            ("authorizedParties", &self.authorized_parties),
        ] {
            for (index, value) in list.iter().enumerate() {
                if value.is_empty() {
                    problems.at(key, index, "must not be empty");
                } else if list.iter().take(index).any(|earlier| earlier == value) {
                    problems.at(key, index, "stands twice");
                }
            }
        }
    }

    fn check_email(&self, problems: &mut Problems) {
        if self.username_claim != "email" && !self.email_domains.is_empty() {
            problems.add("emailDomains", "has no effect unless `usernameClaim` is `email`");
        }
        for (index, domain) in self.email_domains.iter().enumerate() {
            if domain.is_empty() || !domain.is_ascii() || domain.contains('@') || domain.ends_with('.') {
                problems.at(
                    "emailDomains",
                    index,
                    "must be a domain such as `corp.example`, in ASCII form",
                );
            }
        }
    }

    fn check_limits(&self, problems: &mut Problems) {
        if self.algorithms.is_empty() {
            problems.add("algorithms", "must name at least one algorithm");
        }
        if self.leeway_seconds > MAX_LEEWAY.as_secs() {
            problems.add("leewaySeconds", "must lie between 0 and 60");
        }
        if !(1..=10_000).contains(&self.max_groups) {
            problems.add("maxGroups", "must lie between 1 and 10000");
        }
    }
}

fn rules(
    key: &'static str,
    rules: &[Rule],
    read: fn(&str) -> Result<condition::Program, condition::LoadError>,
    problems: &mut Problems,
) -> Vec<CompiledRule> {
    let mut compiled = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let program = read(&rule.expression).map_err(|error| format!("cannot be used: {error}"));
        match program.and_then(|program| compile::must_be_boolean(&program).map(|()| program)) {
            Ok(program) => compiled.push(CompiledRule {
                program,
                message: Arc::from(rule.message.as_str()),
            }),
            Err(message) => problems.at(key, index, message),
        }
    }
    compiled
}
