//! Claims with their types: a claim of the wrong type is an error, never absent.

use std::sync::Arc;

use model::time::Timestamp;
use serde_json::{Map, Value};

use crate::TokenError;

/// Seconds at the end of the year 9999; a time beyond it is a mistake or an attack.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The members of a token's payload.
#[derive(Debug)]
pub(crate) struct Claims(Arc<Map<String, Value>>);

impl Claims {
    pub(crate) fn new(members: Map<String, Value>) -> Self {
        Self(Arc::new(members))
    }

    pub(crate) fn members(&self) -> &Arc<Map<String, Value>> {
        &self.0
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "text")),
        }
    }

    /// Text that is there and not empty.
    pub(crate) fn required_text(&self, name: &str) -> Result<&str, TokenError> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| TokenError::MissingClaim(name.into()))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong_type(name, "true or false")),
        }
    }

    /// A NumericDate (RFC 7519 §2): seconds, whole or with a fraction, not negative.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, TokenError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let wrong = || wrong_type(name, "a number of seconds since 1970");
        if let Some(seconds) = value.as_i64() {
            return if (0..=253_402_300_799).contains(&seconds) {
                Ok(Some(Timestamp::from_unix_seconds(seconds)))
            } else {
                Err(wrong())
            };
        }
        let seconds = value
            .as_f64()
            .filter(|seconds| value.is_f64() && (0.0..=LAST_SECOND).contains(seconds));
        seconds
            .map(whole_seconds)
            .map(|seconds| Some(Timestamp::from_unix_seconds(seconds)))
            .ok_or_else(wrong)
    }

    pub(crate) fn required_time(&self, name: &str) -> Result<Timestamp, TokenError> {
        self.time(name)?.ok_or_else(|| TokenError::MissingClaim(name.into()))
    }

    /// `aud`: one text or a list of them (RFC 7519 §4.1.3).
    pub(crate) fn audiences(&self) -> Result<Vec<&str>, TokenError> {
        let audiences = self.texts("aud")?.filter(|audiences| !audiences.is_empty());
        audiences.ok_or_else(|| TokenError::MissingClaim("aud".into()))
    }

    /// One text, or a list of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, TokenError> {
        let wrong = || wrong_type(name, "text or a list of texts");
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(items)) => items
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<_>>>()
                .map(Some)
                .ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "callers pass numbers from 0 to the year 9999"
)]
fn whole_seconds(seconds: f64) -> i64 {
    seconds.floor() as i64
}

pub(crate) fn wrong_type(claim: &str, expected: &'static str) -> TokenError {
    TokenError::WrongType {
        claim: claim.into(),
        expected,
    }
}
