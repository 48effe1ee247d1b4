//! The gateway as its clients know it: what it publishes about itself, and its token endpoint.

mod discovery;
mod tokens;

pub(crate) use discovery::{Cluster, Discovery, Endpoints, discover, url_of};
pub(crate) use tokens::{
    DeviceCode, DevicePoll, Given, Grant, TokenError, ask_for_device, escape, poll_device, redeem, revoke,
};

/// The one client of the gateway's authorization endpoint.
pub(crate) const CLIENT: &str = "gatescribe-cli";
/// The audience of tokens for the gateway's own API.
pub(crate) const API: &str = console::API_AUDIENCE;
/// How long an answer may take for which the gateway reads much of its ledger, and proves it.
const LONG_ANSWER_WITHIN: Duration = Duration::from_secs(120);

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use super::http::{Client, HttpError};
use super::trouble::{Trouble, clean};
use crate::Exit;

/// An answer that says no, in OAuth's form (RFC 6749 §5.2), which is that of the whole gateway host.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Refused {
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: String,
    #[serde(default)]
    pub(crate) interval: Option<u64>,
}

impl Refused {
    /// Whatever came, as a refusal: a proxy in between answers with pages.
    pub(crate) fn read(answer: &Response<Bytes>) -> Self {
        serde_json::from_slice(answer.body()).unwrap_or_else(|_| Self {
            error: String::new(),
            error_description: String::new(),
            interval: None,
        })
    }

    /// The gateway's own words, or what the status says.
    pub(crate) fn words(&self, status: StatusCode) -> String {
        if self.error_description.is_empty() {
            let reason = status.canonical_reason().unwrap_or("no reason given");
            format!("the answer was {} {reason}", status.as_u16())
        } else {
            clean(&self.error_description)
        }
    }
}

/// A GET with a bearer token, and the JSON that comes; the one way in which commands read the gateway's API.
pub(crate) async fn read_json<T: DeserializeOwned>(client: &Client, url: &str, token: &str) -> Result<T, Trouble> {
    serde_json::from_slice(&read(client, url, token).await?).map_err(|error| not_understood(&error))
}

/// The same of an answer that is text.
pub(crate) async fn read_text(client: &Client, url: &str, token: &str) -> Result<String, Trouble> {
    String::from_utf8(read(client, url, token).await?.to_vec()).map_err(|error| not_understood(&error))
}

/// The same of a long one, that takes its time.
pub(crate) async fn read_text_up_to(most: usize, client: &Client, url: &str, token: &str) -> Result<String, Trouble> {
    let answer = client
        .send_for(LONG_ANSWER_WITHIN, most, authorized(url, token)?)
        .await?;
    if !answer.status().is_success() {
        return Err(refused_api(&answer));
    }
    String::from_utf8(answer.into_body().to_vec()).map_err(|error| not_understood(&error))
}

async fn read(client: &Client, url: &str, token: &str) -> Result<Bytes, Trouble> {
    let answer = client.send(authorized(url, token)?).await?;
    if answer.status().is_success() {
        Ok(answer.into_body())
    } else {
        Err(refused_api(&answer))
    }
}

fn not_understood(error: &dyn std::error::Error) -> Trouble {
    Trouble::new(Exit::Fault, "the gateway's answer is not understood")
        .because(error.to_string())
        .remedy("update gatescribe on the older side: `gatescribe version`")
}

/// A GET request with a bearer token.
pub(crate) fn authorized(url: &str, token: &str) -> Result<Request<Bytes>, HttpError> {
    Request::get(url)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| HttpError::Address(url.to_owned()))
}

/// What an answer of the gateway's API that is none means for the person.
pub(crate) fn refused_api(answer: &Response<Bytes>) -> Trouble {
    let status = answer.status();
    let words = Refused::read(answer).words(status);
    let request = answer
        .headers()
        .get("x-request-id")
        .or_else(|| answer.headers().get("audit-id"));
    let request = request
        .and_then(|id| id.to_str().ok())
        .map(|id| format!(" (request {id})"))
        .unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED => Trouble::new(Exit::SignIn, "you are not signed in")
            .because(words)
            .remedy("gatescribe login URL"),
        StatusCode::FORBIDDEN => Trouble::new(Exit::NotPermitted, "you may not do this")
            .because(words)
            .remedy("ask whoever administers the gateway for the role; `gatescribe whoami` shows who you are to it"),
        StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::new(Exit::NotFound, "not found")
            .because(words)
            .remedy("check the name; `gatescribe audit search` lists what there is"),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Trouble::new(Exit::Conflict, "it changed meanwhile")
            .because(words)
            .remedy("look at it again, then repeat"),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Trouble::new(Exit::Usage, "the gateway does not understand the question")
                .because(words)
                .remedy("see the command's --help")
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Trouble::new(Exit::Unreachable, "the gateway cannot answer now")
                .because(words)
                .remedy("try again in a minute")
        }
        _ => Trouble::new(Exit::Fault, "the gateway could not answer")
            .because(format!("{words}{request}"))
            .remedy("try again; if it stays so, show this to whoever administers the gateway"),
    }
}
