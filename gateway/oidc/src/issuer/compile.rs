//! Expressions of a configuration, compiled against what they may see.

use condition::{Declarations, LoadError, ObjectType, Program, Type, compile};

use super::{Issuer, Rule, Source};
use crate::crypto::sha256;

/// `claims`, the token's payload, as the API server's own file has it.
pub(crate) fn kubernetes_claims(expression: &str) -> Result<Program, LoadError> {
    let claims = Type::map(Type::String, Type::Any);
    compile(
        expression,
        &Declarations::new().variable("claims", claims).as_kubernetes(),
    )
}

/// `user`, who came out of the mapping, as the API server's own file has it.
pub(crate) fn kubernetes_user(expression: &str) -> Result<Program, LoadError> {
    compile(
        expression,
        &Declarations::new().variable("user", user()).as_kubernetes(),
    )
}

/// `claims` for our own rules: lists can be looped over as they are.
pub(crate) fn claims(expression: &str) -> Result<Program, LoadError> {
    compile(
        expression,
        &Declarations::new().variable("claims", Type::map(Type::String, Type::Dyn)),
    )
}

/// `user` for our own rules.
pub(crate) fn user_info(expression: &str) -> Result<Program, LoadError> {
    compile(expression, &Declarations::new().variable("user", user()))
}

fn user() -> Type {
    Type::object(ObjectType::new(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    ))
}

/// A rule must be known to be true or false: `claims.x` alone may be anything.
pub(crate) fn must_be_boolean(program: &Program) -> Result<(), String> {
    match program.result_type() {
        Type::Bool => Ok(()),
        other => Err(format!(
            "must come to true or false, comes to `{other}`; compare it, for example `… == true`"
        )),
    }
}

/// A mapping to a name.
pub(crate) fn must_be_text(program: &Program) -> Result<(), String> {
    let result = program.result_type();
    if result.fits(&Type::String) {
        Ok(())
    } else {
        Err(format!("must come to text, comes to `{result}`"))
    }
}

/// A mapping to names.
pub(crate) fn must_be_texts(program: &Program) -> Result<(), String> {
    let result = program.result_type();
    let fits = result.fits(&Type::String) || result.fits(&Type::list(Type::String)) || *result == Type::Null;
    if fits {
        Ok(())
    } else {
        Err(format!("must come to text or a list of texts, comes to `{result}`"))
    }
}

impl Issuer {
    /// Fills in the fingerprint, last.
    pub(crate) fn sealed(mut self) -> Self {
        let source = |source: &Source| match source {
            Source::Claim { name, prefix } => format!("claim {name:?} {prefix:?}"),
            Source::Expression(program) => format!("expression {:?}", program.source()),
        };
        let rules = |rules: &[Rule]| {
            rules
                .iter()
                .map(|rule| format!("{:?}", rule.program.source()))
                .collect::<Vec<_>>()
        };
        let mapping = &self.mapping;
        let text = format!(
            "{:?}",
            (
                (
                    &self.url,
                    &self.audiences,
                    &self.authorized_parties,
                    &self.algorithms,
                    self.leeway,
                    self.access_tokens
                ),
                (
                    source(&mapping.username),
                    mapping.groups.as_ref().map(source),
                    mapping.uid.as_ref().map(source)
                ),
                mapping
                    .extra
                    .iter()
                    .map(|(key, program)| (key, program.source()))
                    .collect::<Vec<_>>(),
                (
                    mapping.require_verified_email,
                    &mapping.email_domains,
                    &self.required_claims,
                    self.max_groups
                ),
                (rules(&self.claim_rules), rules(&self.user_rules)),
            )
        );
        self.fingerprint = sha256(text.as_bytes());
        self
    }
}
