//! The API server's own audit log: the independent witness that our records are compared with.

use anyhow::Context;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One `audit.k8s.io/v1` Event, as far as stories look at it; `rest` has the other fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `Audit-ID`.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseStarted`, `ResponseComplete` or `Panic`.
    pub stage: String,
    /// The request target.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// The API verb.
    pub verb: String,
    /// Who connected.
    pub user: User,
    /// Whom they spoke for.
    pub impersonated_user: Option<User>,
    /// What it was about.
    pub object_ref: Option<ObjectRef>,
    /// The answer.
    pub response_status: Option<ResponseStatus>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// A user as the API server saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct User {
    /// Name.
    pub username: String,
    /// Unique id.
    pub uid: String,
    /// Groups, with those that the server added.
    pub groups: Vec<String>,
    /// Extra fields.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The object of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectRef {
    /// Plural resource.
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// API group.
    pub api_group: String,
    /// Subresource.
    pub subresource: String,
}

/// The answer's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ResponseStatus {
    /// HTTP status code.
    pub code: u16,
    /// Message of a refusal.
    pub message: String,
}

impl Event {
    /// The name of the person it was done for: the impersonated one if there is one.
    #[must_use]
    pub fn person(&self) -> &str {
        self.impersonated_user
            .as_ref()
            .map_or(&self.user.username, |user| &user.username)
    }

    /// The status code of the answer, if it is known.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.response_status.as_ref().map(|status| status.code)
    }
}

/// Reads all whole lines; the last one may still be being written.
///
/// # Errors
/// The file cannot be read, or a whole line is no event.
pub fn read(path: &Path) -> anyhow::Result<Vec<Event>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}
