//! `POST /token`, `/device_authorization` and `/revoke`.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use model::time::Timestamp;
use serde::Deserialize;

use super::{CLIENT, Endpoints, Refused};
use crate::Exit;
use crate::client::http::{Client, HttpError, now};
use crate::client::store::{Secret, Session, Token};
use crate::client::trouble::{Trouble, clean};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8628 §3.5: the interval where none is said.
const DEFAULT_INTERVAL: u64 = 5;

/// What is given for a token.
#[derive(Debug)]
pub(crate) enum Grant<'a> {
    /// The one-time code from the browser.
    Code {
        /// The code.
        code: &'a Secret,
        /// Proves that we asked for it (RFC 7636).
        verifier: &'a Secret,
        /// Where it was sent to.
        redirect: &'a str,
    },
    /// The handle of a session.
    Handle {
        /// The handle.
        handle: &'a Secret,
        /// Names this one exchange, so that its answer can be asked for again when it was lost.
        exchange: &'a Secret,
    },
}

/// What came for it.
#[derive(Debug)]
pub(crate) struct Given {
    /// A token for the audience that was asked for.
    pub(crate) token: Token,
    /// The session as it goes on; the handle that was given is used up.
    pub(crate) session: Session,
    /// How many groups the gateway counts, for words.
    pub(crate) groups: usize,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// No answer: nothing is known, the session stays.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The grant is over (`invalid_grant`): only a new sign-in helps.
    #[error("{0}")]
    Over(String),
    /// Not now; the session stays.
    #[error("{0}")]
    NotNow(String),
    /// A refusal that a new sign-in does not change.
    #[error("{0}")]
    Refused(String),
    /// An answer that is none.
    #[error("the answer is not understood: {0}")]
    Strange(String),
}

impl From<TokenError> for Trouble {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Http(error) => error.into(),
            TokenError::Over(why) => Self::new(Exit::SignIn, "your sign-in is over")
                .because(why)
                .remedy("gatescribe login URL"),
            TokenError::NotNow(why) => Self::new(Exit::Unreachable, "the gateway cannot renew your sign-in now")
                .because(why)
                .remedy("try again in a minute; your session stays"),
            TokenError::Refused(why) => Self::new(Exit::NotPermitted, "the gateway gives no token")
                .because(why)
                .remedy("gatescribe login URL writes the clusters anew"),
            TokenError::Strange(why) => Self::new(Exit::Fault, "the gateway's answer is not understood")
                .because(why)
                .remedy("check that the address is the gateway's own, and that no proxy answers in its place"),
        }
    }
}

/// The answer as it is written.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: u64,
    refresh_token: String,
    #[serde(default)]
    session_expires_at: Option<String>,
}

/// The claims of a token that are shown; nothing is decided by them.
#[derive(Deserialize)]
struct Shown {
    gs: ShownIdentity,
}

#[derive(Deserialize)]
struct ShownIdentity {
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

/// A code for a terminal without a browser (RFC 8628 §3.2).
#[derive(Debug)]
pub(crate) struct DeviceCode {
    /// For us.
    pub(crate) device_code: Secret,
    /// For the person.
    pub(crate) user_code: String,
    /// Where it is typed.
    pub(crate) uri: String,
    /// The same with the code filled in.
    pub(crate) complete_uri: Option<String>,
    /// How long it is good.
    pub(crate) lifetime: Duration,
    /// How often may be asked.
    pub(crate) interval: Duration,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum DevicePoll {
    /// The person said yes.
    Given(Box<Given>),
    /// Nobody answered yet.
    Pending,
    /// Ask less often; the interval, if one is said.
    SlowDown(Option<Duration>),
    /// The person said no.
    Denied,
    /// Too late.
    Expired,
}

/// A code or handle for a token and the next handle. Sent once.
pub(crate) async fn redeem(
    client: &Client,
    endpoints: &Endpoints,
    grant: &Grant<'_>,
    audience: &str,
) -> Result<Given, TokenError> {
    let mut pairs = match grant {
        Grant::Code {
            code,
            verifier,
            redirect,
        } => vec![
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", code.reveal()),
            ("code_verifier", verifier.reveal()),
            ("redirect_uri", redirect),
        ],
        Grant::Handle { handle, exchange } => vec![
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT),
            ("refresh_token", handle.reveal()),
            ("request_id", exchange.reveal()),
        ],
    };
    pairs.push(("audience", audience));
    let asked = now();
    let answer = post(client, &endpoints.token, &pairs).await?;
    if answer.status().is_success() {
        given(&answer, asked)
    } else {
        Err(judge(&answer))
    }
}

/// Asks for a device code.
pub(crate) async fn ask_for_device(
    client: &Client,
    endpoints: &Endpoints,
    name: &str,
) -> Result<DeviceCode, TokenError> {
    #[derive(Deserialize)]
    struct Answer {
        device_code: String,
        user_code: String,
        verification_uri: String,
        #[serde(default)]
        verification_uri_complete: Option<String>,
        expires_in: u64,
        #[serde(default)]
        interval: Option<u64>,
    }
    let answer = post(
        client,
        &endpoints.device,
        &[("client_id", CLIENT), ("device_name", name)],
    )
    .await?;
    if !answer.status().is_success() {
        return Err(judge(&answer));
    }
    let answer: Answer =
        serde_json::from_slice(answer.body()).map_err(|error| TokenError::Strange(error.to_string()))?;
    Ok(DeviceCode {
        device_code: Secret::new(answer.device_code),
        user_code: clean(&answer.user_code),
        uri: clean(&answer.verification_uri),
        complete_uri: answer.verification_uri_complete.as_deref().map(clean),
        lifetime: Duration::from_secs(answer.expires_in),
        interval: Duration::from_secs(answer.interval.unwrap_or(DEFAULT_INTERVAL)),
    })
}

/// Asks whether the person has answered.
pub(crate) async fn poll_device(
    client: &Client,
    endpoints: &Endpoints,
    code: &Secret,
    audience: &str,
) -> Result<DevicePoll, TokenError> {
    let pairs = [
        ("grant_type", DEVICE_GRANT),
        ("client_id", CLIENT),
        ("device_code", code.reveal()),
        ("audience", audience),
    ];
    let asked = now();
    let answer = post(client, &endpoints.token, &pairs).await?;
    if answer.status().is_success() {
        return given(&answer, asked).map(|given| DevicePoll::Given(Box::new(given)));
    }
    let refused = Refused::read(&answer);
    match refused.error.as_str() {
        "authorization_pending" => Ok(DevicePoll::Pending),
        "slow_down" => Ok(DevicePoll::SlowDown(refused.interval.map(Duration::from_secs))),
        "access_denied" => Ok(DevicePoll::Denied),
        "expired_token" => Ok(DevicePoll::Expired),
        _ => Err(judge(&answer)),
    }
}

/// Ends the session of a handle (RFC 7009); what became of the provider's own tokens.
pub(crate) async fn revoke(client: &Client, endpoints: &Endpoints, handle: &Secret) -> Result<bool, TokenError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        provider: String,
    }
    let answer = post(client, &endpoints.revocation, &[("token", handle.reveal())]).await?;
    if !answer.status().is_success() {
        return Err(judge(&answer));
    }
    let told = serde_json::from_slice::<Answer>(answer.body()).is_ok_and(|answer| answer.provider == "revoked");
    Ok(told)
}

async fn post(client: &Client, url: &str, pairs: &[(&str, &str)]) -> Result<Response<Bytes>, HttpError> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(Bytes::from(form(pairs)))
        .map_err(|_| HttpError::Address(url.to_owned()))?;
    client.send(request).await
}

fn given(answer: &Response<Bytes>, asked: Timestamp) -> Result<Given, TokenError> {
    let strange = |why: &str| TokenError::Strange(why.to_owned());
    // The parser's message could quote the answer; the answer holds secrets.
    let answer: Answer = serde_json::from_slice(answer.body()).map_err(|_| strange("it is no token"))?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(strange("it is no bearer token"));
    }
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain(&answer.access_token) || !is_plain(&answer.refresh_token) {
        return Err(strange("the token holds characters that no header can carry"));
    }
    let shown = shown(&answer.access_token);
    let lifetime = Duration::from_secs(answer.expires_in);
    Ok(Given {
        groups: shown.as_ref().map_or(0, |shown| shown.gs.groups.len()),
        session: Session {
            handle: Secret::new(answer.refresh_token),
            username: shown.map(|shown| clean(&shown.gs.username)),
            ends: answer.session_expires_at.as_deref().map(clean),
        },
        token: Token::new(Secret::new(answer.access_token), asked, lifetime),
    })
}

fn shown(token: &str) -> Option<Shown> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Only `invalid_grant` ends a session (protocol X-08); whatever else went wrong may go right the next time.
fn judge(answer: &Response<Bytes>) -> TokenError {
    let refused = Refused::read(answer);
    let words = refused.words(answer.status());
    match (answer.status(), refused.error.as_str()) {
        (StatusCode::BAD_REQUEST, "invalid_grant") => TokenError::Over(words),
        (StatusCode::TOO_MANY_REQUESTS, _) => TokenError::NotNow(words),
        (status, _) if status.is_server_error() => TokenError::NotNow(words),
        (_, "") => TokenError::Strange(words),
        _ => TokenError::Refused(words),
    }
}

/// `application/x-www-form-urlencoded`; all but unreserved characters are escaped.
fn form(pairs: &[(&str, &str)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                escaped.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
            escaped
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        Response::builder()
            .status(status)
            .body(Bytes::from(body.to_owned()))
            .unwrap()
    }

    #[test]
    fn only_invalid_grant_ends_a_session() {
        let over = judge(&answer(
            400,
            r#"{"error":"invalid_grant","error_description":"the session has ended"}"#,
        ));
        assert!(matches!(over, TokenError::Over(why) if why == "the session has ended"));
        for (status, body) in [
            (502, "<html>"),
            (503, r#"{"error":"temporarily_unavailable"}"#),
            (429, "{}"),
        ] {
            assert!(
                matches!(judge(&answer(status, body)), TokenError::NotNow(_)),
                "{status}"
            );
        }
        assert!(matches!(
            judge(&answer(400, r#"{"error":"invalid_target"}"#)),
            TokenError::Refused(_)
        ));
        assert!(matches!(judge(&answer(403, "<html>no</html>")), TokenError::Strange(_)));
        // A captive portal or proxy that says "invalid_grant" with another status is not the gateway.
        assert!(!matches!(
            judge(&answer(502, r#"{"error":"invalid_grant"}"#)),
            TokenError::Over(_)
        ));
    }

    #[test]
    fn an_answer_that_is_no_token_is_never_quoted() {
        let error = given(
            &answer(200, r#"{"access_token":7,"refresh_token":"gsh1.geheim"}"#),
            Timestamp::EPOCH,
        );
        assert!(!error.unwrap_err().to_string().contains("geheim"));
        let forged = r#"{"access_token":"a\r\nX: y","refresh_token":"h","token_type":"Bearer","expires_in":600}"#;
        assert!(given(&answer(200, forged), Timestamp::EPOCH).is_err());
    }

    #[test]
    fn a_token_is_handed_out_until_its_margin() {
        let body = r#"{"access_token":"a","refresh_token":"h","token_type":"Bearer","expires_in":600}"#;
        let given = given(&answer(200, body), Timestamp::from_unix_seconds(1000)).unwrap();
        assert_eq!(given.token.usable_until(), Timestamp::from_unix_seconds(1570));
        let long = Token::new(Secret::new("a"), Timestamp::EPOCH, Duration::from_secs(2000));
        assert_eq!(long.usable_until(), Timestamp::from_unix_seconds(1900));
    }
}
