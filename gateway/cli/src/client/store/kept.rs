//! The content of the file of one gateway, version 1.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::client::gateway::{Cluster, Endpoints};
use crate::client::http::Trust;

/// How often a person may be bothered without having asked.
const PROMPT_EVERY: Duration = Duration::from_secs(15 * 60);

/// Text that no log, message or `Debug` shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything that is kept of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kept {
    version: Version,
    /// Its origin.
    pub(crate) gateway: String,
    /// How its certificate is checked.
    pub(crate) trust: Trust,
    /// Where it is spoken to; kept so that a renewal is one request.
    pub(crate) endpoints: Endpoints,
    /// Its clusters as they were at the last sign-in: what tokens are bound to (protocol X-04).
    pub(crate) clusters: Vec<Cluster>,
    /// The session, while there is one.
    pub(crate) session: Option<Session>,
    /// The key of an exchange that was begun; the one that finishes it uses the same key (see crate `state`, handle).
    pub(crate) exchange_under_way: Option<Secret>,
    /// Tokens by audience.
    pub(crate) tokens: BTreeMap<String, Token>,
    /// When a sign-in was last put before the person unasked, since the last one that succeeded.
    prompted_at: Option<Timestamp>,
    /// Results "no" stood here before they had a file of their own ([`super::told`]); dropped where there are some.
    #[serde(default, skip_serializing, deserialize_with = "dropped")]
    refusals: (),
}

/// A session as this side knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Session {
    /// Rotates with each use.
    pub(crate) handle: Secret,
    /// The Kubernetes user name, for words; the gateway alone decides with it.
    pub(crate) username: Option<String>,
    /// When the session ends unless it is used.
    pub(crate) ends: Option<String>,
}

/// A gateway token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Token {
    token: Secret,
    /// Until when it is handed out: its end less a margin, as clients do not ask again for a call under way.
    usable_until: Timestamp,
}

impl Token {
    /// A token that was asked for at `asked` and is good for `lifetime`. Its end is reckoned from our own clock before
    /// the question: a wrong clock here cannot make it look longer, and kubectl compares with the same clock.
    pub(crate) fn new(token: Secret, asked: Timestamp, lifetime: Duration) -> Self {
        let margin = Duration::from_secs(30).max(lifetime / 20);
        Self {
            token,
            usable_until: asked.plus(lifetime.saturating_sub(margin)),
        }
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.token
    }

    pub(crate) const fn usable_until(&self) -> Timestamp {
        self.usable_until
    }

    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        now < self.usable_until
    }
}

impl Kept {
    /// Of a gateway that was just discovered, without a session.
    pub(crate) const fn new(gateway: String, trust: Trust, endpoints: Endpoints, clusters: Vec<Cluster>) -> Self {
        Self {
            version: Version,
            gateway,
            trust,
            endpoints,
            clusters,
            session: None,
            exchange_under_way: None,
            tokens: BTreeMap::new(),
            prompted_at: None,
            refusals: (),
        }
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// A token that can be handed out now.
    pub(crate) fn usable(&self, audience: &str, now: Timestamp) -> Option<&Token> {
        self.tokens.get(audience).filter(|token| token.is_usable(now))
    }

    /// Begins a session: what was of an earlier one goes.
    pub(crate) fn begin(&mut self, session: Session) {
        self.end();
        self.session = Some(session);
        self.prompted_at = None;
    }

    /// Forgets every secret; trust and addresses stay.
    pub(crate) fn end(&mut self) {
        self.session = None;
        self.exchange_under_way = None;
        self.tokens.clear();
    }

    /// Whether a person may be asked to sign in without having typed `login`.
    pub(crate) fn may_prompt(&self, now: Timestamp) -> bool {
        // A time in the future is a clock that was set back; it must not close the door for years.
        self.prompted_at
            .is_none_or(|at| at > now || now.since(at) >= PROMPT_EVERY)
    }

    pub(crate) const fn prompted(&mut self, now: Timestamp) {
        self.prompted_at = Some(now);
    }
}

fn dropped<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(drop)
}

/// The number 1. Another number is a file of another program version and is not guessed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version;

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format!("its format is {other}, known is 1"))),
        }
    }
}
