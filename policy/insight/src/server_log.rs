//! The API server's audit log, as far as joining needs it: `audit.k8s.io/v1` `Event`, one to a line as its log backend writes
//! them, or an `EventList` as its webhook backend sends them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use model::time::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// At which moment of a call an event was written (`audit.k8s.io/v1` `Stage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// Before the call is handed on.
    RequestReceived,
    /// The head of a long-running call's answer has gone.
    ResponseStarted,
    /// Nothing more will be sent.
    ResponseComplete,
    /// The server's handler failed.
    Panic,
}

impl Stage {
    /// Whether no other event of the call is due.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Self::ResponseComplete | Self::Panic)
    }
}

impl Stage {
    /// As it stands in an event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// One event. Of `requestObject` and `responseObject` nothing is read, at whatever level it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// `auditID`; what the gateway sent as `Audit-ID`, or the server's own.
    pub audit_id: String,
    /// `stage`.
    pub stage: Stage,
    /// `verb`.
    pub verb: String,
    /// `requestURI`: path and query.
    pub uri: String,
    /// `user.username`: who connected.
    pub user: String,
    /// `impersonatedUser.username`: whom they spoke for.
    pub impersonated: Option<String>,
    /// `responseStatus.code`, from the head of the answer on.
    pub code: Option<u16>,
    /// `requestReceivedTimestamp`, by the server's clock.
    pub received: Timestamp,
    /// `stageTimestamp`, by the server's clock.
    pub at: Timestamp,
    /// The last of `sourceIPs`, which is the socket's peer; the others are the caller's word.
    pub peer: Option<String>,
    /// `userAgent`, the caller's word.
    pub agent: Option<String>,
    /// What else it says.
    pub more: Box<More>,
}

/// What joining two logs does not need, and a record of the call does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// `level`: how much of the call the API server's own policy has it write.
    pub level: Option<String>,
    /// Who connected, beside the name.
    pub user: Person,
    /// Whom they spoke for, beside the name.
    pub impersonated: Person,
    /// `authentication.kubernetes.io/credential-id` of who connected.
    pub credential: Option<String>,
    /// `objectRef`.
    pub object: Option<ObjectRef>,
    /// `responseStatus.reason`.
    pub reason: Option<String>,
    /// `authorization.k8s.io/decision`: what the API server's authorizers said. A 403 may come from admission, too.
    pub allowed: Option<bool>,
    /// `sourceIPs` but for the last: the caller's word, or a proxy's.
    pub forwarded: Vec<String>,
}

/// A user as the API server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// `uid`.
    pub uid: Option<String>,
    /// `groups`, those that the API server adds among them.
    pub groups: Vec<String>,
    /// Names and values of `extra`.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The object of a call. Of one that was made, the server learned the name from its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Its name.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its UID.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
}

impl ServerEvent {
    /// The path of the request, as it was sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&self.uri, |(path, _)| path)
    }
}

/// Why a line is no event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServerLogError {
    /// It is not JSON, or a member is missing or of another type.
    #[error("it is no audit event in JSON: {0}")]
    Malformed(String),
    /// It is another kind of object.
    #[error("it is `{kind}` of `{api_version}`, and only `Event` and `EventList` of `audit.k8s.io/v1` are read")]
    Other {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// Takes an item of a list as it was written.
type TakeItem<'t> = dyn FnMut(&RawValue) -> ControlFlow<()> + 't;

/// A list, whose items are handed on one after another. Each by itself, so that one that cannot be read takes no other with it; and
/// none is kept, so that a list of however many small items takes no more memory than its text.
struct List<'t, 'i>(&'i mut TakeItem<'t>);

/// What stands in `items`.
struct Items<'t, 'i>(&'i mut TakeItem<'t>);

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        let mut had = false;
        while let Some(key) = members.next_key::<String>()? {
            if key != "items" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if std::mem::replace(&mut had, true) {
                return Err(M::Error::duplicate_field("items"));
            }
            members.next_value_seed(Items(&mut *self.0))?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// As Go writes an empty list that was never made.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            if (self.0)(item).is_break() {
                return Err(S::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: Stage,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    #[serde(default, rename = "sourceIPs")]
    source_ips: Option<Vec<String>>,
    user_agent: Option<String>,
    level: Option<String>,
    object_ref: Option<ObjectRef>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
    reason: Option<String>,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self {
            uid: user.uid.filter(|uid| !uid.is_empty()),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }
    }
}

/// By what the API server names a credential: the id of a token, the digest of a certificate.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
const DECISION: &str = "authorization.k8s.io/decision";

impl From<Event> for ServerEvent {
    fn from(mut event: Event) -> Self {
        let mut sources = event.source_ips.unwrap_or_default();
        let peer = sources.pop();
        let user = std::mem::take(&mut event.user.username);
        let by = Person::from(event.user);
        let (impersonated, whom) = match event.impersonated_user {
            Some(mut whom) => (Some(std::mem::take(&mut whom.username)), Person::from(whom)),
            None => (None, Person::default()),
        };
        let (code, reason) = event
            .response_status
            .map_or((None, None), |said| (said.code, said.reason));
        let decision = event.annotations.unwrap_or_default().remove(DECISION);
        let more = More {
            level: event.level,
            credential: by.extra.get(CREDENTIAL).and_then(|ids| ids.first()).cloned(),
            user: by,
            impersonated: whom,
            object: event.object_ref,
            reason,
            allowed: decision.and_then(|decision| match decision.as_str() {
                "allow" => Some(true),
                "forbid" => Some(false),
                _ => None,
            }),
            forwarded: sources,
        };
        Self {
            audit_id: event.audit_id,
            stage: event.stage,
            verb: event.verb,
            uri: event.request_uri,
            user,
            impersonated,
            code: code.filter(|code| *code != 0),
            received: event.request_received_timestamp,
            at: event.stage_timestamp,
            peer,
            agent: event.user_agent,
            more: Box::new(more),
        }
    }
}

/// Reads one line: an event, or a list of them. A blank line holds none.
///
/// # Errors
/// It is something else, or one of a list is.
pub fn read_line(line: &[u8]) -> Result<Vec<ServerEvent>, ServerLogError> {
    read_each(line)?.into_iter().collect()
}

/// As [`read_line`], each event of a list by itself.
///
/// # Errors
/// It is neither an event nor a list.
pub fn read_each(line: &[u8]) -> Result<Vec<Result<ServerEvent, ServerLogError>>, ServerLogError> {
    let mut all = Vec::new();
    for_each(line, &mut |_, read| {
        all.push(read);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

/// What takes the events of a line: each with its text, until it says that it is enough.
pub type TakeEvent<'t> = dyn FnMut(&str, Result<ServerEvent, ServerLogError>) -> ControlFlow<()> + 't;

/// Hands on the events of a line, one after another and in their order. Of a list only one is held at a time, beside the text.
///
/// # Errors
/// It is neither an event nor a list. Where that shows in the middle of a list only, those before it were handed on.
pub fn for_each(line: &[u8], take: &mut TakeEvent<'_>) -> Result<(), ServerLogError> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let malformed = |error: serde_json::Error| ServerLogError::Malformed(error.to_string());
    // The server writes bytes of a caller's body as they came, and a list is read as one text: whoever sends a byte that is none would take
    // everybody's events with theirs. Of what is kept, such a byte becomes the character for it.
    let line = String::from_utf8_lossy(line);
    let kind: Kind = serde_json::from_str(&line).map_err(malformed)?;
    match (kind.api_version.as_str(), kind.kind.as_str()) {
        ("audit.k8s.io/v1", "Event") => {
            let event: Event = serde_json::from_str(&line).map_err(malformed)?;
            let _ = take(&line, Ok(event.into()));
            Ok(())
        }
        ("audit.k8s.io/v1", "EventList") => {
            let mut stopped = false;
            let mut each = |item: &RawValue| {
                let event = serde_json::from_str::<Event>(item.get());
                let flow = take(item.get(), event.map(Into::into).map_err(malformed));
                stopped = flow.is_break();
                flow
            };
            let read = List(&mut each).deserialize(&mut serde_json::Deserializer::from_str(&line));
            match read {
                Err(error) if !stopped => Err(malformed(error)),
                Ok(()) | Err(_) => Ok(()),
            }
        }
        _ => Err(ServerLogError::Other {
            api_version: shortened(&kind.api_version),
            kind: shortened(&kind.kind),
        }),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Fuzz target: no bytes make it panic, a path never has a query, and what is read of an address has the event's own verb.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_server_log(data: &[u8]) {
    for event in read_each(data).unwrap_or_default().into_iter().flatten() {
        assert!(!event.path().contains('?'), "{event:?}");
        if let Ok(facts) = crate::facts_of(&event) {
            assert_eq!(facts.verb().as_str(), event.verb, "{event:?}");
        }
    }
}
