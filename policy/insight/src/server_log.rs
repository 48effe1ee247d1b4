//! The API server's audit log, as far as joining needs it: `audit.k8s.io/v1` `Event`, one to a line as its log backend writes
//! them, or an `EventList` as its webhook backend sends them.

use model::time::Timestamp;
use serde::Deserialize;
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

/// One event.
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

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Event>,
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
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

impl From<Event> for ServerEvent {
    fn from(event: Event) -> Self {
        Self {
            audit_id: event.audit_id,
            stage: event.stage,
            verb: event.verb,
            uri: event.request_uri,
            user: event.user.username,
            impersonated: event.impersonated_user.map(|user| user.username),
            code: event
                .response_status
                .and_then(|status| status.code)
                .filter(|code| *code != 0),
            received: event.request_received_timestamp,
            at: event.stage_timestamp,
            peer: event.source_ips.and_then(|mut all| all.pop()),
            agent: event.user_agent,
        }
    }
}

/// Reads one line: an event, or a list of them. A blank line holds none.
///
/// # Errors
/// It is something else.
pub fn read_line(line: &[u8]) -> Result<Vec<ServerEvent>, ServerLogError> {
    if line.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let malformed = |error: serde_json::Error| ServerLogError::Malformed(error.to_string());
    let kind: Kind = serde_json::from_slice(line).map_err(malformed)?;
    match (kind.api_version.as_str(), kind.kind.as_str()) {
        ("audit.k8s.io/v1", "Event") => {
            let event: Event = serde_json::from_slice(line).map_err(malformed)?;
            Ok(vec![event.into()])
        }
        ("audit.k8s.io/v1", "EventList") => {
            let list: List = serde_json::from_slice(line).map_err(malformed)?;
            Ok(list.items.into_iter().map(ServerEvent::from).collect())
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

/// Fuzz target: no bytes make it panic, and a path never has a query.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_server_log(data: &[u8]) {
    for event in read_line(data).unwrap_or_default() {
        assert!(!event.path().contains('?'), "{event:?}");
    }
}
