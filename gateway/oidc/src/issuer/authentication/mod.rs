//! Kubernetes' `AuthenticationConfiguration` (apiserver.config.k8s.io/v1 and v1beta1; KEP-3331), read strictly.
//!
//! Accepted and refused as the API server does, with these differences, each on the strict side or told as a notice:
//! - http is allowed on loopback, for a provider on the same machine.
//! - `email` as user name needs `email_verified: true`; the API server lets it be absent.
//! - An expression whose type can never fit is refused at load, there when first used.
//! - A prefix may not begin with `system:`.
//! - `egressSelectorType` has no effect here and is told as a notice; `anonymous` may only say that there is none.
//!
//! Unknown fields and wrong types end the reading at the first one; all other problems are told at once.

mod document;

use std::fmt;
use std::sync::Arc;

use condition::{LoadError, Program};
use serde_saphyr::Spanned;

use self::document::{
    Anonymous, Authenticator, ClaimRule, Document, ExtraSource, IssuerSection, Mappings, PlainSource, PrefixedSource,
    UserRule,
};
use super::{DEFAULT_LEEWAY, DEFAULT_MAX_GROUPS, Issuer, Mapping, Rule, Source, checks, compile};
use crate::Algorithm;

const MAX_AUTHENTICATORS: usize = 64;

/// What a file says.
#[derive(Debug)]
pub struct AuthenticationConfiguration {
    /// Its issuers.
    pub issuers: Vec<Issuer>,
    /// What is written and has no effect here.
    pub notices: Vec<Problem>,
}

/// A place in the file and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column in characters, from 1; 0 when unknown.
    pub column: u64,
    /// Path of the field, such as `jwt[0].issuer.url`.
    pub path: String,
    /// To be read behind the path.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "`{}` ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Reads a file.
///
/// `disallowed` are issuer URLs that must not be configured: those of the clusters' own ServiceAccount issuers, whose
/// tokens have their own way in.
///
/// # Errors
/// All problems, each with its place.
pub fn read_authentication_configuration(
    text: &str,
    disallowed: &[&str],
) -> Result<AuthenticationConfiguration, Vec<Problem>> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| vec![syntax(&error)])?;
    let mut reader = Reader {
        problems: Vec::new(),
        notices: Vec::new(),
    };
    let issuers = reader.document(&document, disallowed);
    if reader.problems.is_empty() {
        Ok(AuthenticationConfiguration {
            issuers,
            notices: reader.notices,
        })
    } else {
        reader.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(reader.problems)
    }
}

fn syntax(error: &serde_saphyr::Error) -> Problem {
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    // The place stands in front already.
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
    Problem {
        line,
        column,
        path: String::new(),
        message,
    }
}

fn problem<T>(at: &Spanned<T>, path: &str, message: impl Into<String>) -> Problem {
    Problem {
        line: at.referenced.line(),
        column: at.referenced.column(),
        path: path.to_owned(),
        message: message.into(),
    }
}

/// A field that is there and not empty: Kubernetes does not tell the two apart.
fn given(field: Option<&Spanned<String>>) -> Option<&Spanned<String>> {
    field.filter(|field| !field.value.is_empty())
}

struct Reader {
    problems: Vec<Problem>,
    notices: Vec<Problem>,
}

impl Reader {
    fn add<T>(&mut self, at: &Spanned<T>, path: &str, message: impl Into<String>) {
        self.problems.push(problem(at, path, message));
    }

    fn check<T, V>(&mut self, at: &Spanned<T>, path: &str, result: Result<V, String>) -> Option<V> {
        result.map_err(|message| self.add(at, path, message)).ok()
    }

    fn document(&mut self, document: &Document, disallowed: &[&str]) -> Vec<Issuer> {
        if !matches!(
            document.api_version.value.as_str(),
            "apiserver.config.k8s.io/v1" | "apiserver.config.k8s.io/v1beta1"
        ) {
            let message = "must be `apiserver.config.k8s.io/v1` or `apiserver.config.k8s.io/v1beta1`";
            self.add(&document.api_version, "apiVersion", message);
        }
        if document.kind.value != "AuthenticationConfiguration" {
            self.add(&document.kind, "kind", "must be `AuthenticationConfiguration`");
        }
        self.anonymous(document.anonymous.as_ref());
        if let Some(first_over) = document.jwt.get(MAX_AUTHENTICATORS) {
            self.add(
                first_over,
                "jwt",
                format!("must have at most {MAX_AUTHENTICATORS} entries"),
            );
            return Vec::new();
        }
        self.duplicates(&document.jwt);
        let jwt = document.jwt.iter().enumerate();
        jwt.filter_map(|(index, entry)| self.authenticator(&entry.value, &format!("jwt[{index}]"), disallowed))
            .collect()
    }

    fn anonymous(&mut self, anonymous: Option<&Spanned<Anonymous>>) {
        let Some(anonymous) = anonymous else { return };
        if anonymous.value.enabled {
            let message =
                "must be false: the gateway forwards nothing without an identity; publish a path as public instead";
            self.add(anonymous, "anonymous.enabled", message);
        } else if !anonymous.value.conditions.is_empty() {
            self.add(
                anonymous,
                "anonymous.conditions",
                "must be empty unless `enabled` is true",
            );
        }
    }

    fn duplicates(&mut self, jwt: &[Spanned<Authenticator>]) {
        for (index, entry) in jwt.iter().enumerate() {
            let issuer = &entry.value.issuer.value;
            let mut earlier = jwt.iter().take(index).map(|entry| &entry.value.issuer.value);
            if earlier.clone().any(|other| other.url.value == issuer.url.value) {
                self.add(
                    &issuer.url,
                    &format!("jwt[{index}].issuer.url"),
                    "is configured twice; list both audiences in one entry",
                );
            }
            if let Some(url) = given(issuer.discovery_url.as_ref())
                && earlier
                    .any(|other| given(other.discovery_url.as_ref()).is_some_and(|other| other.value == url.value))
            {
                self.add(url, &format!("jwt[{index}].issuer.discoveryURL"), "is configured twice");
            }
        }
    }

    fn authenticator(&mut self, entry: &Authenticator, path: &str, disallowed: &[&str]) -> Option<Issuer> {
        let before = self.problems.len();
        let section = &entry.issuer.value;
        let discovery = self.issuer(&entry.issuer, &format!("{path}.issuer"), disallowed);
        let (required_claims, claim_rules) =
            self.claim_rules(&entry.claim_validation_rules, &format!("{path}.claimValidationRules"));
        let mapping = self.mappings(&entry.claim_mappings, &format!("{path}.claimMappings"), &claim_rules);
        let user_rules = self.user_rules(&entry.user_validation_rules, &format!("{path}.userValidationRules"));
        let (true, Some(discovery), Some(mapping)) = (self.problems.len() == before, discovery, mapping) else {
            return None;
        };
        let url: Arc<str> = Arc::from(section.url.value.as_str());
        let issuer = Issuer {
            name: Arc::clone(&url),
            url,
            discovery,
            certificate_authority: given(section.certificate_authority.as_ref()).map(|pem| pem.value.clone()),
            audiences: section
                .audiences
                .iter()
                .map(|audience| audience.value.clone())
                .collect(),
            authorized_parties: Vec::new(),
            algorithms: Algorithm::KUBERNETES.to_vec(),
            leeway: DEFAULT_LEEWAY,
            access_tokens: true,
            mapping,
            required_claims,
            claim_rules,
            user_rules,
            max_groups: DEFAULT_MAX_GROUPS,
            fingerprint: [0; 32],
        };
        Some(issuer.sealed())
    }

    fn issuer(&mut self, at: &Spanned<IssuerSection>, path: &str, disallowed: &[&str]) -> Option<http::Uri> {
        let section = &at.value;
        let url_path = format!("{path}.url");
        if disallowed.contains(&section.url.value.as_str()) {
            let message =
                "is the issuer of a cluster's ServiceAccount tokens, which have their own way in; remove it here";
            self.add(&section.url, &url_path, message);
        }
        self.check(&section.url, &url_path, checks::url(&section.url.value));
        self.audiences(at, path);
        if let Some(pem) = given(section.certificate_authority.as_ref()) {
            self.check(
                pem,
                &format!("{path}.certificateAuthority"),
                checks::certificates(&pem.value),
            );
        }
        if let Some(selector) = given(section.egress_selector_type.as_ref()) {
            self.egress_selector(selector, &format!("{path}.egressSelectorType"));
        }
        let Some(discovery) = given(section.discovery_url.as_ref()) else {
            return checks::discovery(&section.url.value).ok();
        };
        let discovery_path = format!("{path}.discoveryURL");
        if discovery.value.trim_end_matches('/') == section.url.value.trim_end_matches('/') {
            self.add(discovery, &discovery_path, "must be different from `url`");
        }
        self.check(discovery, &discovery_path, checks::url(&discovery.value))
    }

    fn egress_selector(&mut self, selector: &Spanned<String>, path: &str) {
        if matches!(selector.value.as_str(), "controlplane" | "cluster") {
            self.notices.push(problem(
                selector,
                path,
                "has no effect in the gateway, which dials the issuer itself",
            ));
        } else {
            self.add(selector, path, "must be `controlplane` or `cluster`");
        }
    }

    fn audiences(&mut self, at: &Spanned<IssuerSection>, path: &str) {
        let audiences = &at.value.audiences;
        if audiences.is_empty() {
            self.add(at, &format!("{path}.audiences"), "must name at least one audience");
        }
        for (index, audience) in audiences.iter().enumerate() {
            let path = format!("{path}.audiences[{index}]");
            if audience.value.is_empty() {
                self.add(audience, &path, "must not be empty");
            } else if audiences
                .iter()
                .take(index)
                .any(|earlier| earlier.value == audience.value)
            {
                self.add(audience, &path, "stands twice");
            }
        }
        let policy = given(at.value.audience_match_policy.as_ref());
        let path = format!("{path}.audienceMatchPolicy");
        match policy {
            Some(policy) if policy.value != "MatchAny" => self.add(policy, &path, "must be `MatchAny`"),
            None if audiences.len() > 1 => self.add(at, &path, "must be `MatchAny` when there are several audiences"),
            _ => {}
        }
    }

    fn expression(
        &mut self,
        at: &Spanned<String>,
        path: &str,
        read: fn(&str) -> Result<Program, LoadError>,
        check: fn(&Program) -> Result<(), String>,
    ) -> Option<Program> {
        let program = read(&at.value).map_err(|error| format!("cannot be used: {error}"));
        self.check(at, path, program.and_then(|program| check(&program).map(|()| program)))
    }

    #[expect(clippy::type_complexity, reason = "two lists, named where they are taken apart")]
    fn claim_rules(&mut self, rules: &[Spanned<ClaimRule>], path: &str) -> (Vec<(Arc<str>, Arc<str>)>, Vec<Rule>) {
        let (mut required, mut compiled) = (Vec::<(Arc<str>, Arc<str>)>::new(), Vec::<Rule>::new());
        for (index, at) in rules.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let rule = &at.value;
            match (given(rule.claim.as_ref()), given(rule.expression.as_ref())) {
                (Some(_), Some(_)) => self.add(at, &path, "must have either `claim` or `expression`, not both"),
                (None, None) => self.add(at, &path, "must have `claim` or `expression`"),
                (Some(claim), None) => {
                    if let Some(message) = given(rule.message.as_ref()) {
                        self.add(
                            message,
                            &format!("{path}.message"),
                            "belongs to `expression` and has no effect with `claim`",
                        );
                    }
                    if required.iter().any(|(known, _)| **known == *claim.value) {
                        self.add(claim, &format!("{path}.claim"), "stands twice");
                    }
                    let value = rule.required_value.as_ref().map_or("", |value| &value.value);
                    required.push((Arc::from(claim.value.as_str()), Arc::from(value)));
                }
                (None, Some(expression)) => {
                    if let Some(value) = given(rule.required_value.as_ref()) {
                        self.add(
                            value,
                            &format!("{path}.requiredValue"),
                            "belongs to `claim` and has no effect with `expression`",
                        );
                    }
                    let message = rule.message.as_ref();
                    self.rule(
                        expression,
                        message,
                        &format!("{path}.expression"),
                        compile::kubernetes_claims,
                        &mut compiled,
                    );
                }
            }
        }
        (required, compiled)
    }

    fn rule(
        &mut self,
        expression: &Spanned<String>,
        message: Option<&Spanned<String>>,
        path: &str,
        read: fn(&str) -> Result<Program, LoadError>,
        compiled: &mut Vec<Rule>,
    ) {
        if compiled.iter().any(|known| known.program.source() == expression.value) {
            self.add(expression, path, "stands twice");
        } else if let Some(program) = self.expression(expression, path, read, compile::must_be_boolean) {
            let message = message.map_or("", |message| &message.value);
            compiled.push(Rule {
                program,
                message: Arc::from(message),
            });
        }
    }

    fn user_rules(&mut self, rules: &[Spanned<UserRule>], path: &str) -> Vec<Rule> {
        let mut compiled = Vec::new();
        for (index, at) in rules.iter().enumerate() {
            let path = format!("{path}[{index}].expression");
            match given(at.value.expression.as_ref()) {
                None => self.add(at, &path, "must not be empty"),
                Some(expression) => {
                    self.rule(
                        expression,
                        at.value.message.as_ref(),
                        &path,
                        compile::kubernetes_user,
                        &mut compiled,
                    );
                }
            }
        }
        compiled
    }

    fn mappings(&mut self, at: &Spanned<Mappings>, path: &str, claim_rules: &[Rule]) -> Option<Mapping> {
        let mappings = &at.value;
        let username = self.prefixed(&mappings.username, &format!("{path}.username"), compile::must_be_text);
        if username.is_none()
            && given(mappings.username.value.claim.as_ref()).is_none()
            && given(mappings.username.value.expression.as_ref()).is_none()
        {
            self.add(
                &mappings.username,
                &format!("{path}.username"),
                "must have `claim` or `expression`",
            );
        }
        let groups = mappings
            .groups
            .as_ref()
            .and_then(|groups| self.prefixed(groups, &format!("{path}.groups"), compile::must_be_texts));
        let uid = mappings
            .uid
            .as_ref()
            .and_then(|uid| self.uid(uid, &format!("{path}.uid")));
        let extra = self.extra(&mappings.extra, &format!("{path}.extra"));
        let username = username?;
        self.email_rule(
            &mappings.username,
            &format!("{path}.username.expression"),
            &username,
            &extra,
            claim_rules,
        );
        Some(Mapping {
            username,
            groups,
            uid,
            extra,
            require_verified_email: true,
            email_domains: Vec::new(),
        })
    }

    fn prefixed(
        &mut self,
        at: &Spanned<PrefixedSource>,
        path: &str,
        check: fn(&Program) -> Result<(), String>,
    ) -> Option<Source> {
        let source = &at.value;
        match (given(source.claim.as_ref()), given(source.expression.as_ref())) {
            (Some(_), Some(_)) => {
                self.add(at, path, "must have either `claim` or `expression`, not both");
                None
            }
            (None, None) => {
                if let Some(prefix) = &source.prefix {
                    self.add(prefix, &format!("{path}.prefix"), "has no effect without `claim`");
                }
                None
            }
            (None, Some(expression)) => {
                if let Some(prefix) = &source.prefix {
                    self.add(
                        prefix,
                        &format!("{path}.prefix"),
                        "has no effect with `expression`; write it into the expression",
                    );
                }
                let path = format!("{path}.expression");
                self.expression(expression, &path, compile::kubernetes_claims, check)
                    .map(Source::Expression)
            }
            (Some(claim), None) => {
                let path = format!("{path}.prefix");
                let Some(prefix) = &source.prefix else {
                    self.add(at, &path, "is required with `claim`; an empty text means no prefix");
                    return None;
                };
                self.check(prefix, &path, checks::prefix(&prefix.value))?;
                Some(Source::Claim {
                    name: Arc::from(claim.value.as_str()),
                    prefix: prefix.value.clone(),
                })
            }
        }
    }

    fn uid(&mut self, at: &Spanned<PlainSource>, path: &str) -> Option<Source> {
        match (given(at.value.claim.as_ref()), given(at.value.expression.as_ref())) {
            (Some(_), Some(_)) => {
                self.add(at, path, "must have either `claim` or `expression`, not both");
                None
            }
            (None, None) => None,
            (Some(claim), None) => Some(Source::Claim {
                name: Arc::from(claim.value.as_str()),
                prefix: String::new(),
            }),
            (None, Some(expression)) => {
                let path = format!("{path}.expression");
                self.expression(expression, &path, compile::kubernetes_claims, compile::must_be_text)
                    .map(Source::Expression)
            }
        }
    }

    fn extra(&mut self, extra: &[Spanned<ExtraSource>], path: &str) -> Vec<(String, Program)> {
        let mut compiled = Vec::<(String, Program)>::new();
        for (index, at) in extra.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let key = &at.value.key;
            self.check(key, &format!("{path}.key"), checks::extra_key(&key.value));
            if extra
                .iter()
                .take(index)
                .any(|earlier| earlier.value.key.value == key.value)
            {
                self.add(key, &format!("{path}.key"), "stands twice");
                continue;
            }
            let path = format!("{path}.valueExpression");
            let Some(expression) = given(at.value.value_expression.as_ref()) else {
                self.add(at, &path, "must not be empty");
                continue;
            };
            if let Some(program) =
                self.expression(expression, &path, compile::kubernetes_claims, compile::must_be_texts)
            {
                compiled.push((key.value.clone(), program));
            }
        }
        compiled
    }

    /// An address that nobody verified must not become a name unnoticed.
    fn email_rule(
        &mut self,
        at: &Spanned<PrefixedSource>,
        path: &str,
        username: &Source,
        extra: &[(String, Program)],
        claim_rules: &[Rule],
    ) {
        let Source::Expression(program) = username else { return };
        if !program.mentions("claims", "email") {
            return;
        }
        let mut programs = [program]
            .into_iter()
            .chain(extra.iter().map(|(_, program)| program))
            .chain(claim_rules.iter().map(|rule| &rule.program));
        if !programs.any(|program| program.mentions("claims", "email_verified")) {
            let message = "uses `claims.email`, so `claims.email_verified` must be used in it, in an extra's `valueExpression`, or in a claim validation rule";
            let place = at
                .value
                .expression
                .as_ref()
                .map_or_else(|| problem(at, path, message), |at| problem(at, path, message));
            self.problems.push(place);
        }
    }
}
