//! Why a token is refused. One closed list; each text says what, why, and what to do, and holds nothing of the token:
//! names in it are ours (claims that the configuration asks for, limits, algorithms).

use std::sync::Arc;

use condition::Fault;

/// A part of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first part.
    Header,
    /// The second part.
    Payload,
    /// The third part.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than anything a provider issues.
    #[error("the token is longer than {limit} bytes; ask the provider's administrator to put fewer groups into it")]
    TooLarge {
        /// Most bytes.
        limit: usize,
    },
    /// Not three parts between dots.
    #[error("the credential is not a signed token (three parts between dots); sign in again")]
    NotThreeParts,
    /// Five parts: encrypted (RFC 7516).
    #[error("the token is encrypted (JWE); have the provider issue signed tokens to this client")]
    Encrypted,
    /// Not canonical base64url.
    #[error("the token's {0} is not canonical base64url; sign in again")]
    Encoding(Part),
    /// Not one JSON object with one meaning.
    #[error("the token's {part} {fault}; the provider's tokens must be plain JSON objects")]
    Json {
        /// Which part.
        part: Part,
        /// What is wrong with it.
        fault: JsonProblem,
    },
    /// A header member has another type than its standard says.
    #[error("the token's header member `{0}` is missing or of the wrong type; the provider does not follow RFC 7515")]
    Header(&'static str),
    /// `alg` is none of the issuer's.
    #[error(
        "the token's signature algorithm is not accepted from this issuer (accepted: {accepted}); change the client's signing algorithm at the provider, or the issuer's list here"
    )]
    Algorithm {
        /// The accepted ones.
        accepted: String,
    },
    /// `typ` is none that may sign in.
    #[error("the token's type (`typ`) is not accepted here; present an ID token{}", if *access_tokens { " or an access token" } else { ", or allow access tokens of this issuer in the configuration" })]
    Type {
        /// Whether access tokens are accepted of this issuer.
        access_tokens: bool,
    },
    /// `crit` names an extension (RFC 7515 §4.1.11).
    #[error("the token's header marks an extension as critical that is not known here; have the provider leave it out")]
    CriticalExtension,
    /// `b64: false` (RFC 7797).
    #[error("the token's payload is not encoded (`b64`); have the provider issue ordinary tokens")]
    UnencodedPayload,
    /// A logout token (OIDC Back-Channel Logout §2.4) as a login token.
    #[error("this is a logout token; it ends sessions and never starts one")]
    LogoutToken,
    /// What the gateway asserts to a service about a caller, as a login token.
    #[error("this is an assertion of the gateway to a service about who calls it; it signs nobody in")]
    Assertion,
    /// A claim that every token must have is absent.
    #[error("the token has no claim `{0}`; have the provider put it in")]
    MissingClaim(Arc<str>),
    /// A claim has another type than its standard or the mapping says.
    #[error("the token's claim `{claim}` must be {expected}; correct the claim at the provider")]
    WrongType {
        /// Its name.
        claim: Arc<str>,
        /// What it must be.
        expected: &'static str,
    },
    /// No configured issuer has this `iss`.
    #[error(
        "the token's issuer is not configured here; sign in with `gatescribe login`, or ask the administrator to add the issuer"
    )]
    UnknownIssuer,
    /// The issuer's keys were never fetched yet.
    #[error("the issuer is not ready: its keys could not be fetched yet; try again in a minute")]
    IssuerNotReady,
    /// `kid` names none of the issuer's keys.
    #[error("the token is signed with a key that the issuer does not publish; sign in again")]
    UnknownKey {
        /// For [`crate::KeyState::on_unknown_kid`]; not part of the text.
        kid: Box<str>,
    },
    /// `kid` names none of the gateway's own keys: taken away by now, or never one.
    #[error("the token is signed with a key that is none of the gateway's any more; sign in again")]
    RetiredKey,
    /// No `kid`, and more than one key would do.
    #[error("the token does not say which of the issuer's keys signed it (`kid`); have the provider add it")]
    KeyNotNamed,
    /// The key exists and is not for this algorithm.
    #[error("the token's algorithm does not fit the key it names; the provider's key set is wrong or the token forged")]
    KeyMismatch,
    /// The signature is wrong.
    #[error("the token's signature is wrong; sign in again")]
    Signature,
    /// An access token that only its own API can check (Entra ID marks it by `nonce` in the header).
    #[error(
        "this access token is meant for the provider's own API (its header has a `nonce`); request a token whose audience is this gateway's client"
    )]
    ForeignApi,
    /// `exp` is past.
    #[error("the token has expired; sign in again (if it is fresh, compare the clocks)")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet (`nbf`); compare this host's clock with the provider's")]
    NotYetValid,
    /// `iat` lies ahead.
    #[error("the token was issued in the future (`iat`); compare this host's clock with the provider's")]
    IssuedInFuture,
    /// None of the token's audiences is accepted.
    #[error("the token is for another audience (accepted: {accepted}); request it for this gateway's client")]
    Audience {
        /// The accepted ones, from the configuration.
        accepted: String,
    },
    /// More audiences than ours, and `azp` is none of ours.
    #[error(
        "the token has further audiences and was not requested by an accepted client (`azp`); request it with this gateway's client alone"
    )]
    AuthorizedParty,
    /// More groups than fit into a token: they were left out (Entra ID: above 200).
    #[error(
        "the provider left the groups out of the token because there are too many (`_claim_names`; Entra ID does so above 200 groups); assign groups to the application, or use app roles"
    )]
    GroupsOverage,
    /// A mapped claim is only pointed at (OIDC Core §5.6.2); such pointers are never followed.
    #[error(
        "the token only points at the claim `{0}` (`_claim_names`), and such pointers are not followed; have the provider put the claim in"
    )]
    DistributedClaim(Arc<str>),
    /// `email` is the user name and not verified.
    #[error("the e-mail address is not verified (`email_verified` must be true); verify it at the provider")]
    EmailNotVerified,
    /// `email` is the user name and no plain address.
    #[error("the claim `email` is not one plain ASCII address; correct it at the provider")]
    EmailSyntax,
    /// The address lies outside the allowed domains.
    #[error("the e-mail address is outside the allowed domains ({allowed}); use an account of one of them")]
    EmailDomain {
        /// From the configuration.
        allowed: String,
    },
    /// The mapping gave an empty user name.
    #[error("the mapping gives an empty user name; correct the claim at the provider, or the mapping")]
    EmptyUsername,
    /// A name holds characters that could deceive a person or split a header.
    #[error(
        "the {0} holds a control, invisible or direction-changing character, begins or ends with a space, or is too long; correct it at the provider"
    )]
    NameCharacters(NameKind),
    /// A name begins with `system:`.
    #[error(
        "the {0} begins with `system:`, which is reserved for the cluster itself; rename it at the provider, or set a prefix in the mapping"
    )]
    SystemName(NameKind),
    /// More groups than allowed.
    #[error(
        "the token has more than {limit} groups; assign only the needed groups to the client, or raise `maxGroups`"
    )]
    TooManyGroups {
        /// Most groups.
        limit: usize,
    },
    /// The groups' names are too long together.
    #[error("the token's groups are longer than {limit} bytes together; assign only the needed groups to the client")]
    GroupsTooLarge {
        /// Most bytes.
        limit: usize,
    },
    /// A required claim has another value.
    #[error("the token's claim `{0}` has not the value that the configuration requires")]
    RequiredClaim(Arc<str>),
    /// A validation rule said no.
    #[error("the rule `{rule}` of the configuration refuses this token{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    RuleRefused {
        /// The expression, from the configuration.
        rule: Arc<str>,
        /// Its message, from the configuration.
        message: Arc<str>,
    },
    /// A rule or mapping came to no value.
    #[error("the expression `{rule}` of the configuration failed on this token: {fault}")]
    RuleFailed {
        /// The expression, from the configuration.
        rule: Arc<str>,
        /// What went wrong.
        fault: Fault,
    },
    /// A mapping gave a value of another type.
    #[error("the expression `{rule}` of the configuration must give {expected}")]
    RuleType {
        /// The expression, from the configuration.
        rule: Arc<str>,
        /// What it must give.
        expected: &'static str,
    },
    /// The `nonce` is not the one this sign-in sent.
    #[error("the ID token belongs to another sign-in (`nonce`); start the sign-in again")]
    Nonce,
    /// `at_hash` does not fit the access token.
    #[error("the ID token does not belong to the access token that came with it (`at_hash`); start the sign-in again")]
    AccessTokenHash,
    /// A recent sign-in was asked for and `auth_time` does not prove one.
    #[error("the provider did not prove a recent enough sign-in (`auth_time`); sign in again")]
    SignInTooOld,
    /// The renewed ID token is somebody else's.
    #[error("the renewed token is for another account; sign in again")]
    SubjectChanged,
    /// A logout token lacks what makes it one.
    #[error("the logout token {0}")]
    Logout(&'static str),
    /// A gateway token that lives longer than the gateway issues.
    #[error("the gateway token lives longer than allowed; sign in again")]
    Lifetime,
}

/// Which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// The user name.
    Username,
    /// A group.
    Group,
    /// The uid.
    Uid,
    /// A value of an extra.
    Extra,
    /// `sub`.
    Subject,
}

impl std::fmt::Display for NameKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Username => "user name",
            Self::Group => "name of a group",
            Self::Uid => "uid",
            Self::Extra => "value of an extra",
            Self::Subject => "subject",
        })
    }
}

/// What is wrong with a token's JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JsonProblem {
    /// Syntax, UTF-8, a number out of range, or bytes behind the end.
    #[error("is not JSON")]
    Syntax,
    /// A member stands twice, so that two readers could differ.
    #[error("has a member twice")]
    Duplicate,
    /// Nested too deep, or too many members.
    #[error("is nested too deep or has too many members")]
    TooComplex,
    /// Some other JSON value.
    #[error("is not a JSON object")]
    NotAnObject,
}

impl From<crate::encoding::JsonFault> for JsonProblem {
    fn from(fault: crate::encoding::JsonFault) -> Self {
        use crate::encoding::JsonFault;
        match fault {
            JsonFault::Syntax => Self::Syntax,
            JsonFault::Duplicate => Self::Duplicate,
            JsonFault::TooComplex => Self::TooComplex,
            JsonFault::NotAnObject => Self::NotAnObject,
        }
    }
}

impl TokenError {
    /// A stable short name for records and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "token_too_large",
            Self::NotThreeParts => "not_a_token",
            Self::Encrypted => "encrypted",
            Self::Encoding(_) => "encoding",
            Self::Json { .. } => "json",
            Self::Header(_) => "header",
            Self::Algorithm { .. } => "algorithm",
            Self::Type { .. } => "type",
            Self::CriticalExtension => "critical_extension",
            Self::UnencodedPayload => "unencoded_payload",
            Self::LogoutToken => "logout_token",
            Self::Assertion => "assertion",
            Self::MissingClaim(_) => "missing_claim",
            Self::WrongType { .. } => "wrong_type",
            Self::UnknownIssuer => "unknown_issuer",
            Self::IssuerNotReady => "issuer_not_ready",
            Self::UnknownKey { .. } => "unknown_key",
            Self::RetiredKey => "retired_key",
            Self::KeyNotNamed => "key_not_named",
            Self::KeyMismatch => "key_mismatch",
            Self::Signature => "signature",
            Self::ForeignApi => "foreign_api",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::Audience { .. } => "audience",
            Self::AuthorizedParty => "authorized_party",
            Self::GroupsOverage => "groups_overage",
            Self::DistributedClaim(_) => "distributed_claim",
            Self::EmailNotVerified => "email_not_verified",
            Self::EmailSyntax => "email_syntax",
            Self::EmailDomain { .. } => "email_domain",
            Self::EmptyUsername => "empty_username",
            Self::NameCharacters(_) => "name_characters",
            Self::SystemName(_) => "system_name",
            Self::TooManyGroups { .. } => "too_many_groups",
            Self::GroupsTooLarge { .. } => "groups_too_large",
            Self::RequiredClaim(_) => "required_claim",
            Self::RuleRefused { .. } => "rule_refused",
            Self::RuleFailed { .. } => "rule_failed",
            Self::RuleType { .. } => "rule_type",
            Self::Nonce => "nonce",
            Self::AccessTokenHash => "access_token_hash",
            Self::SignInTooOld => "sign_in_too_old",
            Self::SubjectChanged => "subject_changed",
            Self::Logout(_) => "logout",
            Self::Lifetime => "lifetime",
        }
    }
}
