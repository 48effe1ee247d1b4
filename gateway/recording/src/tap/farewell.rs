//! What a person is told when a session is ended on purpose.

use serde_json::json;

/// The words of an end, in the two forms that clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// A `Status` in JSON.
    pub status: String,
    /// A text. A WebSocket close frame has room for 123 bytes of it (RFC 6455 §5.5).
    pub text: String,
}

impl Farewell {
    /// Says `message`.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "Forbidden",
            "details": { "causes": [{ "reason": "ExitCode", "message": "1" }] },
            "code": 403,
        });
        Self {
            status: status.to_string(),
            text: message.to_owned(),
        }
    }
}
