//! What a request carries: its body as an object, its options, and whether its fields exist.

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::json::At as _;
use super::kinds::KindId;
use super::operations::{Deletion, PatchFormat};
use super::serve::Call;
use super::status::Refusal;
use super::{reviews, schema};

/// The API server's own limit.
const BODY: usize = 3 * 1024 * 1024;
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

impl Call<'_> {
    /// The body as an object; None if it is empty.
    pub(super) async fn object(&self, body: Body) -> Result<Option<Value>, Refusal> {
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let kind = self.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        match kind {
            "" | "application/json" => parse(&bytes).map(Some),
            PROTOBUF => {
                let message = |api_version: &str, kind: &str| match kind {
                    "DeleteOptions" => Some("meta.DeleteOptions"),
                    "Scale" => Some("autoscaling.Scale"),
                    _ => KindId::by_kind(api_version, kind)
                        .map(|id| id.row().message)
                        .or_else(|| reviews::message(api_version, kind)),
                };
                schema::decode(&bytes, message)
                    .map(Some)
                    .map_err(|error| Refusal::bad_request(error.to_string()))
            }
            other => Err(Refusal::media(format!(
                "the body of media type `{other}` is not in the demo; use application/json"
            ))),
        }
    }

    pub(super) async fn deletion(&self, body: Body) -> Result<Deletion, Refusal> {
        let options = self.object(body).await?.unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let policy = options
            .at("propagationPolicy")
            .as_str()
            .unwrap_or_else(|| self.query.text("propagationPolicy"));
        let dry_run = options.at("dryRun").as_array().map_or(&[][..], Vec::as_slice);
        if let Some(other) = dry_run.iter().find(|value| *value != "All") {
            return Err(Refusal::bad_request(format!(
                "dryRun: unsupported value {other}: supported is \"All\""
            )));
        }
        Ok(Deletion {
            is_dry_run: !dry_run.is_empty(),
            is_orphaning: policy == "Orphan" || options.at("orphanDependents") == true,
            uid: text(options.at("preconditions").at("uid")),
            resource_version: text(options.at("preconditions").at("resourceVersion")),
        })
    }

    pub(super) fn patch_format(&self) -> Result<PatchFormat, Refusal> {
        match self.header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Ok(PatchFormat::Merge),
            "application/json-patch+json" => Ok(PatchFormat::Json),
            "application/strategic-merge-patch+json" => Ok(PatchFormat::Strategic),
            kind if kind.starts_with("application/apply-patch") => Err(Refusal::media(
                "server-side apply is not in the demo; use `kubectl apply` without --server-side",
            )),
            other => Err(Refusal::media(format!(
                "the body of media type `{other}` is no patch that the demo knows"
            ))),
        }
    }

    /// `fieldValidation`: refuses unknown fields, or warns of them, or is silent.
    pub(super) fn validate(&self, kind: KindId, object: &Value) -> Result<Option<String>, Refusal> {
        let unknown: Vec<String> = schema::unknown_fields(object, kind.row().message)
            .iter()
            .map(|path| format!("unknown field '{path}'"))
            .collect();
        match (self.query.text("fieldValidation"), unknown.is_empty()) {
            (_, true) | ("Ignore", _) => Ok(None),
            ("Strict", _) => Err(Refusal::bad_request(format!(
                "strict decoding error: {}",
                unknown.join(", ").replace('\'', "\"")
            ))),
            _ => Ok(Some(unknown.join(", "))),
        }
    }
}

/// A strategic patch without its `$` directives, so that only real fields are validated.
pub(super) fn without_directives(change: &Value) -> Value {
    match change {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !name.starts_with('$'))
            .map(|(name, value)| (name.clone(), without_directives(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.iter().map(without_directives).collect(),
        other => other.clone(),
    }
}

pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, BODY).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|_| Refusal::too_large(BODY))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::bad_request(format!("the body is no JSON: {error}")))
}
