//! Sessions: a person signed in, until an end.
//!
//! Not here: what a session may do. Provider tokens stay sealed in here and leave only through [`Store::provider_tokens`].

mod handle;
mod row;

use std::collections::BTreeMap;
use std::time::Duration;

use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

pub use handle::{Exchange, Exchanged};

use crate::lock::refuses;
use crate::revocation::{IDENTITY_CHANGED, Revoked, raise};
use crate::{Secret, SessionId, StateError, Store};
use row::{SELECT, read_session};

/// The mapped person, as of the last time the provider vouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The provider's issuer URL.
    pub issuer: String,
    /// The provider's name for the person (`sub`).
    pub subject: String,
    /// Kubernetes user name.
    pub username: String,
    /// Kubernetes UID, when mapped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<String>,
    /// Kubernetes groups.
    pub groups: Vec<String>,
    /// Kubernetes extra.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub extra: BTreeMap<String, Vec<String>>,
    /// Verified e-mail address; display only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub email: Option<String>,
}

impl Identity {
    /// Whether the person is another to Kubernetes. The order in which a provider names groups means nothing, and neither does an
    /// address.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let compared = |identity: &Self| {
            let mut identity = identity.clone();
            identity.groups.sort_unstable();
            identity.groups.dedup();
            identity.email = None;
            identity
        };
        compared(self) != compared(other)
    }
}

/// What the provider gave us. Sealed at rest.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct ProviderTokens {
    /// To ask again; absent when the provider gives none.
    pub refresh: Option<String>,
    /// The last ID token; the hint of RP-initiated logout.
    pub id_token: Option<String>,
    /// The claims of the last ID token, JSON; shown to their owner by `whoami --claims`.
    pub claims: String,
    /// The `nonce` of the sign-in: a renewed ID token may repeat it and must not have another (OIDC Core §12.2).
    pub nonce: String,
}

impl std::fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProviderTokens(…)")
    }
}

/// Who holds the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// The command line on the same machine as the browser.
    Cli,
    /// A device or terminal without a browser.
    Device,
    /// A browser.
    Browser,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// The person signed out.
    SignedOut,
    /// Not used for too long.
    Idle,
    /// As old as a session may get.
    TooOld,
    /// An older handle came back: two parties hold the same handle.
    HandleReused,
    /// A one-time code came twice.
    CodeReused,
    /// The provider refuses to vouch any longer (`invalid_grant`).
    ProviderRefused,
    /// The provider said that the person signed out (back-channel logout).
    ProviderLogout,
    /// An operator ended it, or locked the person out.
    Locked,
    /// The person began more sessions than one may have; this was the longest unused.
    Replaced,
    /// The sign-in could not be written down, so it did not happen.
    NotRecorded,
}

impl EndReason {
    const ALL: [Self; 10] = [
        Self::SignedOut,
        Self::Idle,
        Self::TooOld,
        Self::HandleReused,
        Self::CodeReused,
        Self::ProviderRefused,
        Self::ProviderLogout,
        Self::Locked,
        Self::Replaced,
        Self::NotRecorded,
    ];

    /// The stable name in the database and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signedOut",
            Self::Idle => "idle",
            Self::TooOld => "tooOld",
            Self::HandleReused => "handleReused",
            Self::CodeReused => "codeReused",
            Self::ProviderRefused => "providerRefused",
            Self::ProviderLogout => "providerLogout",
            Self::Locked => "locked",
            Self::Replaced => "replaced",
            Self::NotRecorded => "notRecorded",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// Whether a session still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Live,
    /// It does not.
    Ended(EndReason),
}

/// A session that begins.
#[derive(Debug)]
pub struct NewSession {
    /// Who.
    pub subject_id: SubjectId,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's session (`sid` of the ID token), for back-channel logout.
    pub provider_sid: Option<String>,
    /// The mapped person.
    pub identity: Identity,
    /// Who holds it.
    pub client: ClientKind,
    /// Where from.
    pub source: String,
    /// When the person authenticated at the provider, Unix seconds; absent when the provider does not say.
    pub auth_time: Option<i64>,
    /// How the person authenticated, in the provider's words.
    pub acr: Option<String>,
    /// The provider's tokens.
    pub tokens: ProviderTokens,
    /// How long until somebody must make first use of it.
    pub first_use: Duration,
    /// How long it lasts without use.
    pub idle: Duration,
    /// How long it lasts at most.
    pub absolute: Duration,
}

/// What the begin of a session gives.
#[derive(Debug)]
pub enum SessionSecrets {
    /// It began. Nobody holds anything of it until the secret, or a first handle, is handed out.
    Begun {
        /// The session.
        session: Box<Session>,
        /// The browser's cookie value; the public id is its hash.
        secret: Secret,
    },
    /// The person is locked out.
    Locked {
        /// In the operator's words.
        why: String,
    },
}

/// A session as stored.
#[derive(Clone, Debug)]
pub struct Session {
    /// Public name.
    pub id: SessionId,
    /// Who.
    pub subject_id: SubjectId,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's name of the session.
    pub provider_sid: Option<String>,
    /// The mapped person.
    pub identity: Identity,
    /// Who holds it.
    pub client: ClientKind,
    /// Where it began.
    pub source: String,
    /// When the person authenticated at the provider, Unix seconds.
    pub auth_time: Option<i64>,
    /// How.
    pub acr: Option<String>,
    /// Counts changes of the provider's tokens.
    pub tokens_version: i64,
    /// When the provider last vouched.
    pub checked_at: Timestamp,
    /// Its begin.
    pub created_at: Timestamp,
    /// Its last use.
    pub last_used_at: Timestamp,
    /// When it ends if not used.
    pub idle_end: Timestamp,
    /// When it ends whatever happens.
    pub absolute_end: Timestamp,
    /// Counts handles handed out.
    pub generation: i64,
    /// The reason that the person has stated, and until when it holds; absent at the time asked about, when it is over.
    pub stated_reason: Option<(String, Timestamp)>,
    /// Whether it still counts, at the time that was asked about.
    pub standing: Standing,
}

impl Store {
    /// Begins a session with a new random secret. Over the number a person may have, the longest unused one ends.
    ///
    /// # Errors
    /// The database failed.
    pub fn begin_session(&self, new: &NewSession, now: Timestamp) -> Result<SessionSecrets, StateError> {
        let secret = Secret::random()?;
        let id = SessionId::of(&secret);
        let tokens = self.seal_tokens(&id, &new.tokens)?;
        let identity = serde_json::to_string(&new.identity).map_err(|_| row::broken("identity"))?;
        let limit = self.limits.sessions_per_subject;
        let session = self.write(|transaction| {
            if let Some(why) = refuses(transaction, &new.subject_id, &new.identity.username, now)? {
                return Ok(Err(why));
            }
            make_place(transaction, &new.subject_id, limit, now)?;
            row::insert(transaction, &id, new, &identity, &tokens, now)?;
            find(transaction, &id, now)?.map(Ok).ok_or_else(|| row::broken("id"))
        })?;
        Ok(match session {
            Ok(session) => SessionSecrets::Begun {
                session: Box::new(session),
                secret,
            },
            Err(why) => SessionSecrets::Locked { why },
        })
    }

    /// The session of this public name, ended ones included.
    ///
    /// # Errors
    /// The database failed or the row is unreadable.
    pub fn session(&self, id: &SessionId, now: Timestamp) -> Result<Option<Session>, StateError> {
        self.read(|connection| find(connection, id, now))
    }

    /// The session of a browser's secret; its idle end moves on, written at most once a minute.
    ///
    /// # Errors
    /// The database failed or the row is unreadable.
    pub fn session_of_secret(&self, secret: &Secret, now: Timestamp) -> Result<Option<Session>, StateError> {
        self.used(&SessionId::of(secret), now)
    }

    /// The session of this name, which somebody uses: its idle end moves on, written at most once a minute.
    pub(crate) fn used(&self, id: &SessionId, now: Timestamp) -> Result<Option<Session>, StateError> {
        const TOUCH: Duration = Duration::from_secs(60);
        let found = self.session(id, now)?;
        match &found {
            Some(session) if session.standing == Standing::Live && now.since(session.last_used_at) >= TOUCH => {
                self.write(|transaction| touch(transaction, id, now))?;
            }
            _ => {}
        }
        Ok(found)
    }

    /// The provider's tokens and their version; `None` when the session is unknown or ended.
    ///
    /// # Errors
    /// The database failed, or the tokens do not open.
    pub fn provider_tokens(&self, id: &SessionId) -> Result<Option<(ProviderTokens, i64)>, StateError> {
        let row: Option<(Vec<u8>, i64)> = self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT tokens, tokens_version FROM sessions WHERE id = ?1 AND revoked_at IS NULL")?
                .query_row(params![id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })?;
        let Some((sealed, version)) = row else {
            return Ok(None);
        };
        let plain = self.keys.open("sessions", id.as_str(), &sealed)?;
        let tokens = serde_json::from_slice(&plain).map_err(|_| row::broken("tokens"))?;
        Ok(Some((tokens, version)))
    }

    /// Stores what a refresh gave, before any of it is used (protocol W-04). `identity` is the person as mapped now;
    /// without one only the tokens are kept, and the provider's last word stays as old as it is. A person of another name or of other
    /// groups than before is told in the order of ends ([`IDENTITY_CHANGED`]), for what is open. False when another refresh was stored meanwhile or the session ended: then what was given must not be used.
    ///
    /// # Errors
    /// The database failed.
    pub fn store_provider_tokens(
        &self,
        id: &SessionId,
        expected_version: i64,
        tokens: &ProviderTokens,
        identity: Option<&Identity>,
        now: Timestamp,
    ) -> Result<bool, StateError> {
        let sealed = self.seal_tokens(id, tokens)?;
        let named = identity;
        let identity = identity
            .map(serde_json::to_string)
            .transpose()
            .map_err(|_| row::broken("identity"))?;
        let checked_at = identity.as_ref().map(|_| now.unix_nanos());
        self.write(|transaction| {
            let before: Option<String> = transaction
                .prepare_cached("SELECT identity FROM sessions WHERE id = ?1")?
                .query_row(params![id.as_str()], |row| row.get(0))
                .optional()?;
            let before = before.and_then(|text| serde_json::from_str::<Identity>(&text).ok());
            let changed = transaction
                .prepare_cached(
                    "UPDATE sessions SET tokens = ?3, identity = coalesce(?4, identity),
                       checked_at = coalesce(?5, checked_at), tokens_version = tokens_version + 1
                     WHERE id = ?1 AND tokens_version = ?2 AND revoked_at IS NULL",
                )?
                .execute(params![id.as_str(), expected_version, sealed, identity, checked_at])?;
            let is_another = named.is_some_and(|named| before.is_none_or(|before| named.differs_from(&before)));
            if changed == 1 && is_another {
                raise(transaction, &Revoked::Session(id.clone()), IDENTITY_CHANGED, now)?;
            }
            Ok(changed == 1)
        })
    }

    /// Keeps the reason that the person states for what comes next, and until when it holds, in place of the one before;
    /// `None` takes it back. False when the session is unknown or has ended. Whoever remembers the session asks again.
    ///
    /// # Errors
    /// The database failed.
    pub fn state_reason(&self, id: &SessionId, reason: Option<(&str, Timestamp)>) -> Result<bool, StateError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE sessions SET reason = ?2, reason_until = ?3 WHERE id = ?1 AND revoked_at IS NULL",
                )?
                .execute(params![
                    id.as_str(),
                    reason.map(|(text, _)| text),
                    reason.map(|(_, until)| until.unix_nanos())
                ])?;
            transaction
                .prepare_cached("UPDATE meta SET revision = revision + 1")?
                .execute([])?;
            Ok(changed == 1)
        })
    }

    /// Ends a session; false when it was unknown or ended before. Its provider tokens are overwritten.
    ///
    /// # Errors
    /// The database failed: then the session still counts, and the caller must say so (security SES-02).
    pub fn end_session(&self, id: &SessionId, why: EndReason, now: Timestamp) -> Result<bool, StateError> {
        self.write(|transaction| end(transaction, id, why, now))
    }

    /// Ends the sessions that an issuer names so; answers which.
    ///
    /// # Errors
    /// The database failed: nothing ended.
    pub fn end_by_provider_session(
        &self,
        issuer: &str,
        provider_sid: &str,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, StateError> {
        // Whoever likes can ask, so what is not there costs a look into an index and no write.
        let ids = self.read(|connection| {
            let mut statement = connection.prepare_cached(BY_PROVIDER_SID)?;
            let ids = statement.query_map(params![issuer, provider_sid], |row| row.get::<_, String>(0))?;
            Ok(ids.collect::<Result<Vec<_>, _>>()?)
        })?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|transaction| end_all(transaction, &ids, EndReason::ProviderLogout, now))
    }

    fn seal_tokens(&self, id: &SessionId, tokens: &ProviderTokens) -> Result<Vec<u8>, StateError> {
        let plain = serde_json::to_vec(tokens).map_err(|_| row::broken("tokens"))?;
        self.keys.seal("sessions", id.as_str(), &plain)
    }
}

const BY_PROVIDER_SID: &str = "SELECT id FROM sessions WHERE issuer = ?1 AND provider_sid = ?2 AND revoked_at IS NULL";

pub(crate) fn find(
    connection: &rusqlite::Connection,
    id: &SessionId,
    now: Timestamp,
) -> Result<Option<Session>, StateError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE s.id = ?1"))?;
    let mut rows = statement.query(params![id.as_str()])?;
    rows.next()?.map(|row| read_session(row, now)).transpose()
}

pub(crate) fn end(
    transaction: &Transaction<'_>,
    id: &SessionId,
    why: EndReason,
    now: Timestamp,
) -> Result<bool, StateError> {
    let ended = transaction
        .prepare_cached(
            "UPDATE sessions SET revoked_at = ?2, revoked_why = ?3, tokens = x'', rotation_reply = NULL
             WHERE id = ?1 AND revoked_at IS NULL",
        )?
        .execute(params![id.as_str(), now.unix_nanos(), why.name()])?;
    if ended == 1 {
        raise(transaction, &Revoked::Session(id.clone()), why.name(), now)?;
    }
    Ok(ended == 1)
}

/// Ends the sessions that an issuer names by its own session id, by subject, or by both. Answers which ended.
pub(crate) fn end_by_issuer(
    transaction: &Transaction<'_>,
    issuer: &str,
    provider_sid: Option<&str>,
    subject: Option<&str>,
    why: EndReason,
    now: Timestamp,
) -> Result<Vec<SessionId>, StateError> {
    if provider_sid.is_none() && subject.is_none() {
        return Ok(Vec::new());
    }
    let ids = transaction
        .prepare_cached(
            "SELECT id FROM sessions WHERE issuer = ?1 AND (?2 IS NULL OR provider_sid = ?2)
             AND (?3 IS NULL OR subject = ?3) AND revoked_at IS NULL",
        )?
        .query_map(params![issuer, provider_sid, subject], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    end_all(transaction, &ids, why, now)
}

pub(crate) fn end_all(
    transaction: &Transaction<'_>,
    ids: &[String],
    why: EndReason,
    now: Timestamp,
) -> Result<Vec<SessionId>, StateError> {
    let mut ended = Vec::with_capacity(ids.len());
    for id in ids.iter().filter_map(|id| SessionId::parse(id)) {
        if end(transaction, &id, why, now)? {
            ended.push(id);
        }
    }
    Ok(ended)
}

fn touch(transaction: &Transaction<'_>, id: &SessionId, now: Timestamp) -> Result<(), StateError> {
    transaction
        .prepare_cached(
            "UPDATE sessions SET last_used_at = ?2, idle_end = min(?2 + idle_nanos, absolute_end)
             WHERE id = ?1 AND revoked_at IS NULL",
        )?
        .execute(params![id.as_str(), now.unix_nanos()])?;
    Ok(())
}

fn make_place(
    transaction: &Transaction<'_>,
    subject: &SubjectId,
    limit: u32,
    now: Timestamp,
) -> Result<(), StateError> {
    let keep = i64::from(limit) - 1;
    let over = transaction
        .prepare_cached(
            "SELECT id FROM sessions WHERE subject_id = ?1 AND revoked_at IS NULL AND idle_end > ?2
             ORDER BY last_used_at DESC LIMIT -1 OFFSET ?3",
        )?
        .query_map(params![subject.as_str(), now.unix_nanos(), keep], |row| {
            row.get::<_, String>(0)
        })?
        .collect::<Result<Vec<_>, _>>()?;
    end_all(transaction, &over, EndReason::Replaced, now).map(drop)
}

#[cfg(test)]
pub(crate) mod tests;
