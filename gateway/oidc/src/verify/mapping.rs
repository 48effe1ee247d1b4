//! From claims to a person, as the API server does it: mappings, then required claims, then rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use condition::{Budget, Context, Program, Value};

use super::names;
use crate::claims::Claims;
use crate::error::NameKind;
use crate::issuer::{MAX_GROUP_BYTES, Rule, Source};
use crate::{Issuer, TokenError};

/// The extra that the API server sets, too, so that its audit joins by the token's id.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Whom a token names.
pub(super) struct Person {
    pub(super) username: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl Issuer {
    pub(super) fn map(&self, claims: &Claims) -> Result<Person, TokenError> {
        let context = if self.needs_context() {
            claims_context(claims)
        } else {
            Context::new()
        };
        let person = Person {
            username: self.username(claims, &context)?,
            groups: self.groups(claims, &context)?,
            uid: self.uid(claims, &context)?,
            extra: self.extra(claims, &context)?,
        };
        self.check_required(claims)?;
        run_rules(&self.claim_rules, &context)?;
        if !self.user_rules.is_empty() {
            run_rules(&self.user_rules, &user_context(&person))?;
        }
        Ok(person)
    }

    /// Claims become values of the language only where an expression reads them.
    fn needs_context(&self) -> bool {
        let is_expression = |source: Option<&Source>| matches!(source, Some(Source::Expression(_)));
        let mapping = &self.mapping;
        is_expression(Some(&mapping.username))
            || is_expression(mapping.groups.as_ref())
            || is_expression(mapping.uid.as_ref())
            || !mapping.extra.is_empty()
            || !self.claim_rules.is_empty()
    }

    fn username(&self, claims: &Claims, context: &Context) -> Result<String, TokenError> {
        let username = match &self.mapping.username {
            Source::Claim { name, prefix } => {
                let value = self.username_claim(claims, name)?;
                format!("{prefix}{value}")
            }
            Source::Expression(program) => text_of(program, context)?,
        };
        if username.is_empty() {
            return Err(TokenError::EmptyUsername);
        }
        names::check_outside(NameKind::Username, &username)?;
        Ok(username)
    }

    fn username_claim<'c>(&self, claims: &'c Claims, name: &Arc<str>) -> Result<&'c str, TokenError> {
        present(claims, name)?;
        let value = claims.text(name)?.unwrap_or_default();
        if value.is_empty() {
            return Err(TokenError::EmptyUsername);
        }
        if **name == *"email" {
            self.check_email(claims, value)?;
        }
        Ok(value)
    }

    fn check_email(&self, claims: &Claims, email: &str) -> Result<(), TokenError> {
        let verified = claims.boolean("email_verified")?;
        if self.mapping.require_verified_email && verified != Some(true) {
            return Err(TokenError::EmailNotVerified);
        }
        let domain = domain_of(email).ok_or(TokenError::EmailSyntax)?;
        let domains = &self.mapping.email_domains;
        if !domains.is_empty() && !domains.contains(&domain) {
            return Err(TokenError::EmailDomain {
                allowed: domains.join(", "),
            });
        }
        Ok(())
    }

    fn groups(&self, claims: &Claims, context: &Context) -> Result<Vec<String>, TokenError> {
        let groups = match &self.mapping.groups {
            None => return Ok(Vec::new()),
            Some(Source::Claim { name, prefix }) => {
                refuse_pointer(claims, name)?;
                let groups = claims.texts(name)?.unwrap_or_default();
                groups
                    .into_iter()
                    .filter(|group| !group.is_empty())
                    .map(|group| format!("{prefix}{group}"))
                    .collect()
            }
            Some(Source::Expression(program)) => {
                if program.mentions("claims", "groups") {
                    refuse_pointer(claims, "groups")?;
                }
                texts_of(program, context)?
            }
        };
        self.check_groups(groups)
    }

    fn check_groups(&self, groups: Vec<String>) -> Result<Vec<String>, TokenError> {
        if groups.len() > self.max_groups {
            return Err(TokenError::TooManyGroups { limit: self.max_groups });
        }
        if groups.iter().map(String::len).sum::<usize>() > MAX_GROUP_BYTES {
            return Err(TokenError::GroupsTooLarge { limit: MAX_GROUP_BYTES });
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut kept = Vec::with_capacity(groups.len());
        for group in groups {
            names::check_outside(NameKind::Group, &group)?;
            if seen.insert(group.clone()) {
                kept.push(group);
            }
        }
        Ok(kept)
    }

    fn uid(&self, claims: &Claims, context: &Context) -> Result<Option<String>, TokenError> {
        let uid = match &self.mapping.uid {
            None => return Ok(None),
            Some(Source::Claim { name, .. }) => {
                present(claims, name)?;
                claims.text(name)?.unwrap_or_default().to_owned()
            }
            Some(Source::Expression(program)) => text_of(program, context)?,
        };
        names::check(NameKind::Uid, &uid)?;
        Ok(Some(uid).filter(|uid| !uid.is_empty()))
    }

    fn extra(&self, claims: &Claims, context: &Context) -> Result<BTreeMap<String, Vec<String>>, TokenError> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims.text("jti")?.filter(|id| !id.is_empty()) {
            names::check(NameKind::Extra, id)?;
            extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
        }
        for (key, program) in &self.mapping.extra {
            let values = texts_of(program, context)?;
            values
                .iter()
                .try_for_each(|value| names::check(NameKind::Extra, value))?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }

    fn check_required(&self, claims: &Claims) -> Result<(), TokenError> {
        for (name, value) in &self.required_claims {
            present(claims, name)?;
            if claims.text(name)? != Some(&**value) {
                return Err(TokenError::RequiredClaim(Arc::clone(name)));
            }
        }
        Ok(())
    }
}

fn present(claims: &Claims, name: &str) -> Result<(), TokenError> {
    if claims.has(name) {
        return Ok(());
    }
    refuse_pointer(claims, name)?;
    Err(TokenError::MissingClaim(name.into()))
}

/// A claim that is only pointed at is not an absent one: the person may well be in those groups, and a rule that forbids
/// by group would not see it. The place pointed at is never called (O-20, O-21).
fn refuse_pointer(claims: &Claims, name: &str) -> Result<(), TokenError> {
    if claims.has(name) {
        return Ok(());
    }
    let named = match claims.value("_claim_names") {
        None => false,
        Some(serde_json::Value::Object(names)) => names.contains_key(name),
        Some(_) => return Err(crate::claims::wrong_type("_claim_names", "an object")),
    };
    let is_groups = name == "groups";
    let marked = is_groups
        && claims
            .value("hasgroups")
            .is_some_and(|value| value != &serde_json::Value::Bool(false));
    match (named || marked, is_groups) {
        (false, _) => Ok(()),
        (true, true) => Err(TokenError::GroupsOverage),
        (true, false) => Err(TokenError::DistributedClaim(name.into())),
    }
}

/// The address, if the provider says that it is verified.
pub(super) fn verified_email(claims: &Claims) -> Result<Option<String>, TokenError> {
    let email = claims.text("email")?.filter(|email| domain_of(email).is_some());
    let verified = matches!(claims.value("email_verified"), Some(serde_json::Value::Bool(true)));
    Ok(email.filter(|_| verified).map(str::to_owned))
}

/// The domain of a plain ASCII address with exactly one `@`, in lower case.
fn domain_of(email: &str) -> Option<String> {
    let (local, domain) = email.split_once('@')?;
    let plain = |c: char| {
        c.is_ascii_graphic()
            && !matches!(
                c,
                '"' | '(' | ')' | ',' | ':' | ';' | '<' | '>' | '@' | '[' | '\\' | ']'
            )
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let fits = !local.is_empty() && email.len() <= 254 && local.chars().all(plain) && domain.split('.').all(is_label);
    fits.then(|| domain.to_ascii_lowercase())
}

fn claims_context(claims: &Claims) -> Context {
    let members = claims.members().iter();
    Context::new().with(
        "claims",
        Value::record(members.map(|(name, value)| (name.as_str(), Value::from_json(value)))),
    )
}

fn user_context(person: &Person) -> Context {
    let texts = |list: &[String]| Value::texts(list.iter().map(String::as_str));
    let extra = person.extra.iter().map(|(key, values)| (key.as_str(), texts(values)));
    let user = Value::record([
        ("username", Value::text(&person.username)),
        ("uid", Value::text(person.uid.as_deref().unwrap_or_default())),
        ("groups", texts(&person.groups)),
        ("extra", Value::record(extra)),
    ]);
    Context::new().with("user", user)
}

fn evaluate(program: &Program, context: &Context) -> Result<Value, TokenError> {
    program
        .evaluate(context, Budget::default())
        .map_err(|error| TokenError::RuleFailed {
            rule: Arc::from(program.source()),
            fault: error.fault,
        })
}

fn text_of(program: &Program, context: &Context) -> Result<String, TokenError> {
    match evaluate(program, context)? {
        Value::String(text) => Ok(text.to_string()),
        _ => Err(TokenError::RuleType {
            rule: Arc::from(program.source()),
            expected: "text",
        }),
    }
}

/// Text, a list of texts, or null; empty texts count as absent.
fn texts_of(program: &Program, context: &Context) -> Result<Vec<String>, TokenError> {
    let wrong = || TokenError::RuleType {
        rule: Arc::from(program.source()),
        expected: "text or a list of texts",
    };
    let texts: Vec<String> = match evaluate(program, context)? {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.to_string()],
        Value::List(items) => items
            .iter()
            .map(|item| item.as_text().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn run_rules(rules: &[Rule], context: &Context) -> Result<(), TokenError> {
    for rule in rules {
        match evaluate(&rule.program, context)? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                let (rule, message) = (Arc::from(rule.program.source()), Arc::clone(&rule.message));
                return Err(TokenError::RuleRefused { rule, message });
            }
            _ => {
                return Err(TokenError::RuleType {
                    rule: Arc::from(rule.program.source()),
                    expected: "true or false",
                });
            }
        }
    }
    Ok(())
}
