//! What an assertion says, written and read.
//!
//! Flat claims by the names of the standards, because services read them with whatever library they have: RFC 7519 (`iss`,
//! `aud`, `sub`, `jti`, `iat`, `exp`), OpenID Connect Core §2 and §5.1 (`auth_time`, `acr`, `preferred_username`, `email`,
//! `email_verified`) and its logout (`sid`), RFC 9068 §2.2.3.1 (`groups`), RFC 8693 §4.1 (`act`). No `nbf`: it would be `iat`
//! again, and services whose clock is a second behind would refuse.

use model::service::ServiceName;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::{
    AUDIENCE_PREFIX, Actor, AssertedGroups, AssertionError, Chain, ChainFault, MAX_ASSERTION_LIFETIME, service_audience,
};
use crate::claims::Claims;

/// Whom an assertion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertedIdentity {
    /// The subject's opaque id: `sub`. The one name that is nobody else's, and never another one's later.
    pub id: SubjectId,
    /// Person, service account or workload; `public` is never asserted.
    pub kind: SubjectKind,
    /// Who vouches: the provider's issuer URL, or `certificate:<CA name>`.
    pub issuer: String,
    /// The issuer's name for the subject.
    pub subject: String,
    /// The Kubernetes user name: `preferred_username`.
    pub username: String,
    /// A verified address.
    pub email: Option<String>,
    /// The mapped groups.
    pub groups: AssertedGroups,
}

/// What an assertion says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionClaims {
    /// For which service: `aud` is `service:NAME`.
    pub audience: ServiceName,
    /// About whom.
    pub identity: AssertedIdentity,
    /// Which sign-in: `sid`. Without it the assertion is worth nothing; whoever takes one back asks whether it lives.
    pub session: String,
    /// The assertion's own id: `jti`.
    pub token_id: String,
    /// When the person last proved who they are; `None` where nobody says, and of workloads.
    pub auth_time: Option<Timestamp>,
    /// How.
    pub acr: Option<String>,
    /// Through which workloads the call comes: `act`.
    pub chain: Chain,
    /// No later than this: the end of the sign-in, and of what is made from another assertion also that one's. One that was
    /// verified ends at it (`exp`).
    pub ends: Timestamp,
}

impl AssertionClaims {
    /// Whether its chain may act for this caller and come to this service.
    pub(super) fn check_chain(&self) -> Result<(), ChainFault> {
        self.chain.check_caller(&self.identity.id)?;
        self.chain.check_audience(&self.audience)
    }
}

/// The payload as it is signed.
#[derive(Serialize)]
pub(crate) struct Payload<'c> {
    iss: &'c str,
    aud: String,
    sub: &'c SubjectId,
    sid: &'c str,
    jti: &'c str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'c str>,
    preferred_username: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'c str>,
    /// The gateway keeps no other address than a verified one; libraries look for the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'c [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_hash: Option<&'c str>,
    gs: Source<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) act: Option<Box<Act<'c>>>,
}

/// Who vouches for whom, as in the gateway's tokens.
#[derive(Serialize)]
struct Source<'c> {
    kind: SubjectKind,
    iss: &'c str,
    sub: &'c str,
}

/// One that acts, and through whom (RFC 8693 §4.1).
#[derive(Serialize)]
pub(super) struct Act<'c> {
    sub: &'c SubjectId,
    preferred_username: &'c str,
    service: &'c ServiceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Act<'c>>>,
}

impl<'c> Payload<'c> {
    pub(crate) fn new(issuer: &'c str, claims: &'c AssertionClaims, issued: i64, expires: i64) -> Self {
        let identity = &claims.identity;
        let groups = &identity.groups;
        Self {
            iss: issuer,
            aud: service_audience(&claims.audience),
            sub: &identity.id,
            sid: &claims.session,
            jti: &claims.token_id,
            iat: issued,
            exp: expires,
            auth_time: claims.auth_time.map(Timestamp::unix_seconds),
            acr: claims.acr.as_deref(),
            preferred_username: &identity.username,
            email: identity.email.as_deref(),
            email_verified: identity.email.as_ref().map(|_| true),
            groups: groups.named(),
            groups_count: groups.hash().map(|_| groups.count()),
            groups_hash: groups.hash(),
            gs: Source {
                kind: identity.kind,
                iss: &identity.issuer,
                sub: &identity.subject,
            },
            act: act(&claims.chain),
        }
    }
}

/// The one that calls is the outermost.
fn act(chain: &Chain) -> Option<Box<Act<'_>>> {
    let oldest_first = chain.actors().iter().rev();
    oldest_first.fold(None, |through, actor| {
        Some(Box::new(Act {
            sub: &actor.workload,
            preferred_username: &actor.username,
            service: &actor.service,
            act: through,
        }))
    })
}

/// Reads what a mint wrote. Neither signature nor times nor `iss` are looked at here, and `aud` only for its form.
pub(crate) fn read(claims: &Claims) -> Result<(AssertionClaims, Timestamp), AssertionError> {
    let (issued_at, ends) = (whole(claims.required_time("iat")?), whole(claims.required_time("exp")?));
    if ends <= issued_at || ends > issued_at.plus(MAX_ASSERTION_LIFETIME) {
        return Err(AssertionError::Lifetime);
    }
    let text = |name| claims.required_text(name).map(str::to_owned);
    let service = claims.required_text("aud")?.strip_prefix(AUDIENCE_PREFIX);
    let read = AssertionClaims {
        audience: service
            .and_then(|service| ServiceName::new(service).ok())
            .ok_or_else(|| AssertionError::claim("aud"))?,
        identity: identity(claims)?,
        session: text("sid")?,
        token_id: text("jti")?,
        auth_time: claims.time("auth_time")?.map(whole),
        acr: claims.text("acr")?.map(str::to_owned),
        chain: chain(claims)?,
        ends,
    };
    read.check_chain()?;
    Ok((read, issued_at))
}

/// The last second that there is for all that lies beyond it.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_seconds(time.unix_seconds())
}

fn identity(claims: &Claims) -> Result<AssertedIdentity, AssertionError> {
    let wrong = |name: &'static str| move || AssertionError::claim(name);
    let (kind, issuer, subject) = source(claims.value("gs")).ok_or_else(wrong("gs"))?;
    let email = claims.text("email")?.map(str::to_owned);
    if claims.boolean("email_verified")? != email.as_ref().map(|_| true) {
        return Err(AssertionError::claim("email_verified"));
    }
    Ok(AssertedIdentity {
        id: SubjectId::parse(claims.required_text("sub")?).ok_or_else(wrong("sub"))?,
        kind,
        issuer,
        subject,
        username: claims.required_text("preferred_username")?.to_owned(),
        email,
        groups: AssertedGroups::read(claims).ok_or_else(wrong("groups"))?,
    })
}

fn source(value: Option<&Value>) -> Option<(SubjectKind, String, String)> {
    let members = value?.as_object().filter(|members| members.len() == 3)?;
    let kind = SubjectKind::deserialize(members.get("kind")?).ok()?;
    let text = |name: &str| members.get(name)?.as_str().filter(|text| !text.is_empty());
    let (issuer, subject) = (text("iss")?, text("sub")?);
    (kind != SubjectKind::Public).then(|| (kind, issuer.to_owned(), subject.to_owned()))
}

/// As deep as the reader of JSON goes, 16; what is too deep for a chain says [`Chain::new`].
fn chain(claims: &Claims) -> Result<Chain, AssertionError> {
    let mut actors = Vec::new();
    let mut next = claims.value("act");
    while let Some(value) = next {
        let (actor, through) = actor(value).ok_or_else(|| AssertionError::claim("act"))?;
        actors.push(actor);
        next = through;
    }
    Ok(Chain::new(actors)?)
}

/// One that acts, and through whom. A member more than we write is refused: it might be a condition on who acts.
fn actor(value: &Value) -> Option<(Actor, Option<&Value>)> {
    let members = value.as_object()?;
    let through = members.get("act");
    let text = |name: &str| members.get(name)?.as_str().filter(|text| !text.is_empty());
    let actor = Actor {
        workload: SubjectId::parse(text("sub")?)?,
        username: text("preferred_username")?.to_owned(),
        service: ServiceName::new(text("service")?).ok()?,
    };
    (members.len() == 3 + usize::from(through.is_some())).then_some((actor, through))
}
