//! Station 2: who is it? A credential becomes [`Authenticated`], or a refusal that says what to do.
//!
//! Verification is strict and comes from the crate `oidc`; this station picks the verifier by the unverified issuer (and
//! asks no network for an unknown one), remembers what was verified, and looks up the session behind a token of ours.
//! Invariant: a credential that is present and bad never falls back to another identity, and nobody is anonymous
//! (promise 1). A client certificate that verifies counts before a token; both bad is bad, and so is a bad X.509-SVID beside
//! anything.

mod asserted;
mod audience;
mod cache;
mod certificate;
mod cookie;
mod credential;
mod locked;
mod newcomers;
mod public;
mod standing;
mod svid;
#[cfg(test)]
mod tests;
mod told;
mod vouched;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http::HeaderMap;
use model::ask::{
    CookieAnswer, CookieQuestion, KeyAnswer, KeyQuestion, SessionAnswer, SessionQuestion, TokenAnswer, TokenQuestion,
};
use model::cluster::ClusterId;
use model::event::By;
use model::lock::Locks;
use model::spiffe::TrustDomain;
use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::{Purpose, TokenError, Trust, Unverified, VerifiedToken};
use tokio::sync::watch;

pub use self::audience::{AtService, Audience};
use self::cache::{Fingerprint, Known};
pub use self::cache::{Lookup, NoRandom, TokenCache};
pub use self::certificate::CertificateNames;
use self::credential::Presented;
use self::locked::{LockedOut, Turned};
use self::newcomers::Newcomers;
pub use self::public::CALLERS;
pub(crate) use self::public::public;
#[cfg(any(test, feature = "bench"))]
pub(crate) use self::standing::for_bench;
pub(crate) use self::standing::holds_at_first;
#[cfg(test)]
pub(crate) use self::standing::{by_another_token, expiring, proved};
pub(crate) use self::vouched::Vouched;
pub use self::workload::{AccountIssuers, NoAccounts};
use crate::ask::Ask;
use crate::clock::Reading;
use crate::listener::{ClientCertificate, Conn};
use crate::observe::{Review, Tally};
use crate::refusal::Refusal;

/// What kind of credential proved the caller, as a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token that the gateway issued at sign-in.
    GatewayToken,
    /// An ID token of an accepted provider, as it came.
    ProviderToken,
    /// A ServiceAccount token with our audience.
    ServiceAccount,
    /// A client certificate.
    Certificate,
    /// The cookie of a browser on the host of a service.
    Cookie,
    /// None: what the public may do at a service.
    Public,
    /// What the gateway said of a person to a service, which acts for them by its own proof.
    Assertion,
    /// An X.509-SVID of a workload.
    Svid,
}

impl Credential {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::GatewayToken,
        Self::ProviderToken,
        Self::ServiceAccount,
        Self::Certificate,
        Self::Cookie,
        Self::Public,
        Self::Assertion,
        Self::Svid,
    ];

    /// Whether a sign-in at this gateway stands behind it, which can be looked up by its id.
    #[must_use]
    pub const fn is_of_sign_in(self) -> bool {
        matches!(self, Self::GatewayToken | Self::Cookie | Self::Assertion)
    }

    /// The name in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayToken => "gatewayToken",
            Self::ProviderToken => "providerToken",
            Self::ServiceAccount => "serviceAccount",
            Self::Certificate => "certificate",
            Self::Cookie => "cookie",
            Self::Public => "none",
            Self::Assertion => "assertion",
            Self::Svid => "svid",
        }
    }
}

/// Who was proved, and how. Shared by all requests that present the same credential.
#[derive(Clone, Debug)]
pub struct Identity {
    subject: Subject,
    sign_in: Arc<str>,
    credential: Credential,
    credential_id: Option<Arc<str>>,
    auth_time: Option<Timestamp>,
    acr: Option<Arc<str>>,
    groups_hash: Arc<str>,
    stated_reason: Option<(Arc<str>, Timestamp)>,
    /// When the sign-in ends as it stands now.
    sign_in_ends: Option<Timestamp>,
    expires_at: Timestamp,
    /// RFC 7638 thumbprint of the provider's key behind it.
    signed_by: Option<[u8; 32]>,
    vouched: Vouched,
}

impl Identity {
    /// The identity of these parts; no other way leads to one.
    fn of(mut parts: Self) -> Self {
        parts.vouched = Vouched::of(&parts);
        parts
    }

    /// The same sign-in of whom the provider names as `now`; none where that is what it said before.
    pub(crate) fn renamed(&self, now: &Subject) -> Option<Self> {
        self.subject.differs_from(now).then(|| {
            Self::of(Self {
                groups_hash: groups_hash(now.groups()),
                subject: now.clone(),
                ..self.clone()
            })
        })
    }

    /// See [`Vouched`].
    pub(crate) const fn vouched(&self) -> &Vouched {
        &self.vouched
    }

    /// Who.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Which sign-in; for credentials without one, an id derived from the credential's own.
    #[must_use]
    pub fn sign_in(&self) -> &str {
        &self.sign_in
    }

    /// What was presented.
    #[must_use]
    pub const fn credential(&self) -> Credential {
        self.credential
    }

    /// The mapped groups, hashed as [`groups_hash`] does.
    #[must_use]
    pub fn groups_hash(&self) -> &str {
        &self.groups_hash
    }

    /// When the person last proved who they are.
    #[must_use]
    pub const fn auth_time(&self) -> Option<Timestamp> {
        self.auth_time
    }

    /// In which authentication context.
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.acr.as_deref()
    }

    /// The reason that the person stated, while it counts.
    #[must_use]
    pub fn stated_reason(&self, now: Timestamp) -> Option<&Arc<str>> {
        self.stated_reason
            .as_ref()
            .filter(|(_, until)| now < *until)
            .map(|(reason, _)| reason)
    }

    /// The identity holds no longer than this.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The members of a record.
    #[must_use]
    pub fn by(&self) -> By<'_> {
        By {
            id: self.subject.id(),
            kind: self.subject.kind(),
            iss: self.subject.issuer(),
            sub: self.subject.subject(),
            user: self.subject.username(),
            email: self.subject.email(),
            groups_hash: &self.groups_hash,
            session: Some(&self.sign_in),
            credential: self.credential.as_str(),
            credential_id: self.credential_id.as_deref(),
            auth_time: self.auth_time.map(Timestamp::unix_seconds),
            origin: None,
            acr: self.acr.as_deref(),
        }
    }
}

/// Proof that a request's credential was verified. Made only here.
#[derive(Debug)]
pub struct Authenticated {
    identity: Arc<Identity>,
}

impl Authenticated {
    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}

/// What this station needs of the outside world.
#[derive(Debug)]
pub struct Questions {
    /// Newer keys of an issuer.
    pub keys: Ask<KeyQuestion, KeyAnswer>,
    /// The sign-in behind a token of ours.
    pub sign_ins: Ask<SessionQuestion, SessionAnswer>,
    /// The sign-in behind a cookie on the host of a service.
    pub cookies: Ask<CookieQuestion, CookieAnswer>,
    /// ServiceAccount tokens, by cluster; empty where they are not accepted.
    pub tokens: BTreeMap<ClusterId, Ask<TokenQuestion, TokenAnswer>>,
    /// Who issues them; none where nobody can say.
    pub issuers: Option<Arc<dyn AccountIssuers>>,
}

/// How tokens are accepted.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The audience for which ServiceAccount tokens must be issued.
    pub service_account_audience: String,
    /// Verified tokens that are remembered.
    pub cache_entries: usize,
    /// How long a verified token counts without another look at its sign-in.
    pub sign_in_check: Duration,
    /// How long a sign-in lasts at most; calls of who has none go on no longer.
    pub longest_sign_in: Duration,
    /// By the listener that took a client certificate: with what the names in it begin.
    pub certificates: HashMap<String, CertificateNames>,
    /// Trust domains whose workloads prove themselves by X.509-SVIDs; their names come from nobody else.
    pub workloads: Vec<TrustDomain>,
}

/// The identity station.
#[derive(Debug)]
pub struct Station {
    trust: watch::Receiver<Arc<Trust>>,
    locks: watch::Receiver<Arc<Locks>>,
    questions: Questions,
    acceptance: Acceptance,
    cache: Arc<TokenCache>,
    newcomers: Newcomers,
    reviews: Tally<{ Review::ALL.len() }>,
}

/// A ServiceAccount's answer counts no longer than this.
const TOKEN_REVIEW_COUNTS: Duration = Duration::from_secs(10);
/// A refused token is remembered no longer than this.
const REFUSAL_COUNTS: Duration = Duration::from_secs(10);

/// Nobody was proved.
#[derive(Debug)]
pub struct Unproved {
    /// What the caller is told.
    pub refusal: Refusal,
    /// What was presented, as [`model::event::Presented`] names it.
    pub credential: &'static str,
    /// The configured issuer that the token names.
    pub issuer: Option<Arc<str>>,
    /// Whom the credential does prove, but who is locked out.
    pub known: Option<Arc<Identity>>,
}

impl Unproved {
    /// A browser sent a cookie of ours that counts no longer.
    #[must_use]
    pub fn is_stale_cookie(&self) -> bool {
        self.credential == Credential::Cookie.as_str() && matches!(self.refusal, Refusal::SignInEnded(_))
    }

    const fn by(credential: &'static str, refusal: Refusal) -> Self {
        Self {
            refusal,
            credential,
            issuer: None,
            known: None,
        }
    }
}

impl Station {
    /// # Errors
    /// There are no random bytes for the cache's key.
    pub fn new(
        trust: watch::Receiver<Arc<Trust>>,
        locks: watch::Receiver<Arc<Locks>>,
        questions: Questions,
        acceptance: Acceptance,
    ) -> Result<Self, NoRandom> {
        let cache = Arc::new(TokenCache::new(acceptance.cache_entries)?);
        Ok(Self {
            trust,
            locks,
            questions,
            acceptance,
            cache,
            newcomers: Newcomers::new(),
            reviews: Tally::default(),
        })
    }

    /// TokenReviews that clusters answered so.
    #[must_use]
    pub fn token_reviews(&self, answer: Review) -> u64 {
        self.reviews.of(answer as usize)
    }

    /// Proves who sends this request. At a service a cookie counts where nothing else is presented that could prove somebody.
    ///
    /// # Errors
    /// A refusal with words for the caller, and what was presented; none of it contains the credential.
    pub async fn authenticate(
        &self,
        conn: &Conn,
        audience: Audience<'_>,
        headers: &mut HeaderMap,
        now: Reading,
    ) -> Result<Authenticated, Unproved> {
        let presented = credential::read(headers)
            .map_err(|error| Unproved::by("unreadable", Refusal::Headers(error.to_string())))?;
        let by_certificate = match conn.client_certificate() {
            ClientCertificate::Absent => None,
            ClientCertificate::Verified(chain) => {
                let names = self.acceptance.certificates.get(&**conn.listener());
                Some(certificate::identity(&chain, names).and_then(|person| self.is_no_workload(person)))
            }
            ClientCertificate::Rejected(_, problem) => Some(Err(Refusal::BadCredential(problem.to_string()))),
            ClientCertificate::Workload(svid) => Some(Ok(svid::identity(&svid)?)),
            ClientCertificate::NoWorkload(problem) => return Err(svid::no_workload(&problem)),
        };
        if let Some(Ok(identity)) = by_certificate {
            return self.admit(Arc::new(identity), now.wall).map_err(Unproved::from);
        }
        match (presented, by_certificate) {
            (Presented::Bearer(token), _) => {
                let proved = self.token(audience, &token, conn.peer().ip(), now.wall).await;
                match proved.and_then(|identity| self.admit(identity, now.wall).map_err(Turned::Locked)) {
                    Ok(proved) => Ok(proved),
                    Err(Turned::Locked(out)) => Err(out.into()),
                    Err(Turned::Refused(refusal)) => Err(self.named_by(&token, refusal)),
                }
            }
            (_, Some(Err(refusal))) => Err(Unproved::by("certificate", refusal)),
            (other, _) => match audience {
                Audience::Service(at) if at.cookie(headers).is_some() => self.by_cookie(at, headers, now.wall).await,
                _ => Err(nobody(other)),
            },
        }
    }

    /// Whether this says that it is a token of this gateway's, good or bad.
    pub(crate) fn is_own_token(&self, token: &str) -> bool {
        let trust = Arc::clone(&self.trust.borrow());
        Unverified::parse(token).is_ok_and(|token| trust.gateway.is_ours(&token))
    }

    /// Whose token it says that it is: only a name that was configured here goes into a record.
    fn named_by(&self, token: &str, refusal: Refusal) -> Unproved {
        let trust = Arc::clone(&self.trust.borrow());
        let unverified = Unverified::parse(token).ok();
        let is_ours = |token: &Unverified<'_>| trust.gateway.is_ours(token);
        let issuer = unverified.as_ref().and_then(|token| trust.issuers.select(token).ok());
        match (unverified.as_ref().is_some_and(is_ours), issuer) {
            (true, _) => Unproved::by("gatewayToken", refusal),
            (false, Some(issuer)) => Unproved {
                issuer: Some(issuer.url().into()),
                ..Unproved::by("providerToken", refusal)
            },
            (false, None) => Unproved::by("token", refusal),
        }
    }

    async fn token(
        &self,
        audience: Audience<'_>,
        token: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Arc<Identity>, Turned> {
        let fingerprint = self.cache.fingerprint(&audience.text(), token);
        let generation = self.trust.borrow().generation;
        match self.cache.get(&fingerprint, now, generation) {
            Some(Known::Good { identity, .. }) => return Ok(identity),
            Some(Known::Bad { why, .. }) => return Err(Refusal::BadCredential(why.to_string()).into()),
            None => {}
        }
        let began = self.cache.epoch();
        let verified = self.verify(audience, token, (fingerprint, from), now).await;
        match verified.and_then(|(identity, until)| Ok((self.is_no_workload(identity)?, until))) {
            Ok((identity, until)) => {
                let identity = Arc::new(identity);
                let until = until.min(identity.expires_at);
                self.cache.put(
                    fingerprint,
                    Known::Good {
                        identity: Arc::clone(&identity),
                        until,
                        generation,
                    },
                    began,
                );
                Ok(identity)
            }
            Err(Turned::Refused(Refusal::BadCredential(why))) => {
                let until = now.plus(REFUSAL_COUNTS);
                self.cache.put(
                    fingerprint,
                    Known::Bad {
                        why: why.as_str().into(),
                        until,
                        generation,
                    },
                    began,
                );
                Err(Refusal::BadCredential(why).into())
            }
            Err(turned) => Err(turned),
        }
    }

    /// The identity and until when it counts without another look.
    async fn verify(
        &self,
        audience: Audience<'_>,
        token: &str,
        presented: (Fingerprint, IpAddr),
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), Turned> {
        let bad = |error: TokenError| Refusal::BadCredential(error.to_string());
        let unverified = Unverified::parse(token).map_err(bad)?;
        let trust = Arc::clone(&self.trust.borrow());
        if trust.gateway.is_ours(&unverified) {
            return self.gateway_token(&trust, &audience.text(), &unverified, now).await;
        }
        let account = self.account_at(audience, &unverified).map_err(Refusal::BadCredential);
        match (trust.issuers.select(&unverified), account) {
            (Ok(_), _) => Ok(self.provider_token(&trust, token, now).await?),
            (Err(_), Err(refusal)) => Err(refusal.into()),
            (Err(_), Ok(Some(cluster))) => {
                let audience = &self.acceptance.service_account_audience;
                if !may_be_account(&unverified, audience) {
                    let why = format!(
                        "the token is no sign-in of the gateway, and no ServiceAccount's for the audience `{audience}`"
                    );
                    return Err(Refusal::BadCredential(why).into());
                }
                Ok(self.service_account(cluster, token, presented, now).await?)
            }
            (Err(error), Ok(None)) => Err(bad(error).into()),
        }
    }

    async fn gateway_token(
        &self,
        trust: &Trust,
        audience: &str,
        token: &Unverified<'_>,
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), Turned> {
        let claims = trust
            .gateway
            .verify(token, audience, now)
            .map_err(|error| Refusal::BadCredential(error.to_string()))?
            .claims;
        let sign_in: Arc<str> = claims.session.as_str().into();
        let person = claims.identity;
        let subject = Subject::new(SubjectParts {
            id: subject_id(&person.iss, &person.sub),
            kind: SubjectKind::Person,
            issuer: person.iss,
            subject: person.sub,
            username: person.username,
            uid: person.uid,
            groups: person.groups,
            extra: person.extra,
            email: person.email,
        });
        let subject = subject.map_err(|error| Refusal::BadCredential(error.to_string()))?;
        let mut identity = Identity {
            groups_hash: groups_hash(subject.groups()),
            subject,
            sign_in,
            credential: Credential::GatewayToken,
            credential_id: Some(format!("JTI={}", claims.token_id).into()),
            auth_time: Some(claims.auth_time),
            acr: claims.acr.map(Into::into),
            stated_reason: None,
            sign_in_ends: None,
            expires_at: claims.expires_at,
            signed_by: None,
            vouched: Vouched::default(),
        };
        // A lock ends the sign-in, too; of the two reasons the person reads the one that helps.
        if let Some(lock) = self.lock_on(&identity.subject, now) {
            return Err(Turned::Locked(LockedOut::by(&lock, Arc::new(Identity::of(identity)))));
        }
        match self.questions.sign_ins.ask(self.about_sign_in(&identity.sign_in)).await {
            SessionAnswer::Live {
                ends_at,
                stated_reason,
                subject,
            } => {
                // A group that the provider has taken since counts no longer, however long the token says it.
                if let Some(renamed) = subject.and_then(|subject| identity.renamed(&subject)) {
                    identity = renamed;
                }
                identity.sign_in_ends = Some(ends_at);
                identity.stated_reason = stated_reason.map(|(reason, until)| (reason.into(), until));
            }
            SessionAnswer::Ended { why } => {
                return Err(Refusal::SignInEnded(format!("your sign-in has ended: {why}")).into());
            }
            SessionAnswer::Unknown { why } => {
                return Err(Refusal::CannotVerify(format!("your sign-in cannot be looked up: {why}")).into());
            }
        }
        Ok((Identity::of(identity), now.plus(self.acceptance.sign_in_check)))
    }

    /// Asked after an end, it is another question than before it: none joins an answer that was on its way then.
    fn about_sign_in(&self, sign_in: &Arc<str>) -> SessionQuestion {
        SessionQuestion {
            session: Arc::clone(sign_in),
            after: self.cache.epoch().ends(),
        }
    }

    async fn provider_token(
        &self,
        trust: &Trust,
        text: &str,
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), Refusal> {
        let bad = |error: TokenError| Refusal::BadCredential(error.to_string());
        let verified = match verify_with(trust, text, now) {
            Err(TokenError::UnknownKey { kid }) => {
                self.newer_keys(trust, text, &kid).await?;
                let trust = Arc::clone(&self.trust.borrow());
                verify_with(&trust, text, now)
            }
            verified => verified,
        };
        let verified = verified.map_err(|error| match error {
            TokenError::IssuerNotReady => Refusal::CannotVerify("the provider's keys are not known yet".to_owned()),
            error => bad(error),
        })?;
        let until = verified.expires_at;
        person(verified, Credential::ProviderToken).map(|identity| (identity, until))
    }

    async fn newer_keys(&self, trust: &Trust, text: &str, kid: &str) -> Result<(), Refusal> {
        let unverified = Unverified::parse(text).map_err(|error| Refusal::BadCredential(error.to_string()))?;
        let issuer = trust
            .issuers
            .select(&unverified)
            .map_err(|error| Refusal::BadCredential(error.to_string()))?;
        let question = KeyQuestion {
            issuer: issuer.url().into(),
            kid: kid.into(),
        };
        let before = trust.generation;
        match self.questions.keys.ask(question).await {
            KeyAnswer::Fetched => {
                let mut trust = self.trust.clone();
                // The answer may overtake the snapshot that it speaks of; a moment is enough, and no newer one means no new key.
                let newer = trust.wait_for(|trust| trust.generation != before);
                let _ = tokio::time::timeout(Duration::from_millis(200), newer).await;
                Ok(())
            }
            KeyAnswer::Unknown => Err(Refusal::BadCredential(
                "the token is signed with a key that its issuer does not publish".to_owned(),
            )),
        }
    }

    async fn service_account(
        &self,
        cluster: &ClusterId,
        token: &str,
        (fingerprint, from): (Fingerprint, IpAddr),
        now: Timestamp,
    ) -> Result<(Identity, Timestamp), Refusal> {
        let Some(ask) = self.questions.tokens.get(cluster) else {
            return Err(Refusal::BadCredential(
                "ServiceAccount tokens are not accepted here".to_owned(),
            ));
        };
        let audiences = vec![self.acceptance.service_account_audience.clone()];
        let question = TokenQuestion {
            cluster: cluster.clone(),
            token: token.into(),
            audiences,
        };
        let place = self.newcomers.pass(&fingerprint, from, now).await.map_err(|_| {
            Refusal::CannotVerify(
                "too many tokens that nobody has verified yet come from your address, or all together".to_owned(),
            )
        })?;
        let answer = ask.ask_keeping(question, place).await;
        self.reviews.add(match &answer {
            TokenAnswer::Authenticated { .. } => Review::Yes,
            TokenAnswer::Refused { .. } => Review::No,
            TokenAnswer::Unknown { .. } => Review::Unknown,
        } as usize);
        if matches!(answer, TokenAnswer::Authenticated { .. }) {
            self.newcomers.is_known(fingerprint);
        }
        match answer {
            TokenAnswer::Authenticated {
                username,
                uid,
                groups,
                extra,
            } => {
                let until = now.plus(TOKEN_REVIEW_COUNTS);
                workload::account(cluster, username, uid, groups, extra, until).map(|identity| (identity, until))
            }
            TokenAnswer::Refused { why } => Err(Refusal::BadCredential(format!(
                "the token is no sign-in of the gateway and no ServiceAccount's: {why}"
            ))),
            TokenAnswer::Unknown { why } => Err(Refusal::CannotVerify(format!(
                "the cluster could not be asked about the token: {why}"
            ))),
        }
    }

    /// The table of verified tokens, for whoever learns of revocations.
    #[must_use]
    pub fn cache(&self) -> Arc<TokenCache> {
        Arc::clone(&self.cache)
    }
}

/// Why what was presented proves nobody.
fn nobody(presented: Presented) -> Unproved {
    match presented {
        Presented::UnknownScheme(scheme) => Unproved::by(
            "otherScheme",
            Refusal::BadCredential(format!(
                "`Authorization` uses {scheme}; only bearer tokens are accepted"
            )),
        ),
        Presented::Nothing | Presented::Bearer(_) => Unproved::by("none", Refusal::NoCredential),
    }
}

/// What a ServiceAccount's token says of itself, if the cluster could accept it for `audience`. Tokens that stand in secrets
/// name no audience; their issuer is always the same.
fn may_be_account(token: &Unverified<'_>, audience: &str) -> bool {
    token.names_audience(audience) || token.issuer().is_ok_and(|issuer| issuer == "kubernetes/serviceaccount")
}

fn verify_with(trust: &Trust, text: &str, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let unverified = Unverified::parse(text)?;
    let issuer = trust.issuers.select(&unverified)?;
    let keys = trust.keys.get(issuer.url()).ok_or(TokenError::IssuerNotReady)?;
    issuer.verify(&unverified, keys, now, Purpose::Bearer)
}

fn person(verified: VerifiedToken, credential: Credential) -> Result<Identity, Refusal> {
    let subject = Subject::new(SubjectParts {
        id: subject_id(&verified.issuer, &verified.subject),
        kind: SubjectKind::Person,
        issuer: verified.issuer.to_string(),
        subject: verified.subject,
        username: verified.username,
        uid: verified.uid,
        groups: verified.groups,
        extra: verified.extra,
        email: verified.email,
    });
    let subject = subject.map_err(|error| Refusal::BadCredential(error.to_string()))?;
    let sign_in = verified
        .session
        .or_else(|| verified.token_id.clone())
        .unwrap_or_else(|| subject.id().to_string());
    Ok(Identity::of(Identity {
        groups_hash: groups_hash(subject.groups()),
        subject,
        sign_in: sign_in.into(),
        credential,
        credential_id: verified.token_id.map(|id| format!("JTI={id}").into()),
        auth_time: verified.auth_time,
        acr: verified.acr.map(Into::into),
        stated_reason: None,
        sign_in_ends: None,
        expires_at: verified.expires_at,
        signed_by: Some(verified.key),
        vouched: Vouched::default(),
    }))
}

/// The opaque id of an issuer's subject; see [`SubjectId`].
#[must_use]
pub fn subject_id(issuer: &str, subject: &str) -> SubjectId {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [issuer.as_bytes(), &[0], subject.as_bytes()] {
        context.update(part);
    }
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    SubjectId::from_digest(half)
}

/// SHA-256 over sorted group names, each followed by 0x00; the first 16 bytes in hexadecimal.
#[must_use]
pub fn groups_hash<G: AsRef<str>>(groups: &[G]) -> Arc<str> {
    let mut sorted: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    for group in sorted {
        context.update(group.as_bytes());
        context.update(&[0]);
    }
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    SubjectId::from_digest(half).as_str().into()
}
