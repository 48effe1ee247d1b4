//! `gatescribe reason` and `gatescribe exec --reason`: why a person does what comes next, for rules that demand it and for
//! whoever reads the records.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use http::{Method, Request, header};
use model::reason::Reason;
use serde_json::{Value, json};

use super::GatewayArgument;
use super::gateway::{API, read_json, refused_api};
use super::home::Home;
use super::http::{Client, HttpError};
use super::session::{Ready, block_on, chosen, ready, sign_in_needed};
use super::trouble::{Trouble, clean};
use crate::Exit;
use crate::config::Span;
use crate::terminal::{data, say};

/// For how long a reason holds where nobody says.
const USUAL: Duration = Duration::from_secs(15 * 60);

/// A reason for what comes next.
#[derive(Args, Debug)]
pub(crate) struct ReasonArguments {
    /// Why; one line. Left out, the one in force is shown.
    text: Option<String>,
    /// For how long it holds, from 1 minute to 8 hours; 15m when left out.
    #[arg(long = "for", value_name = "TIME", requires = "text", conflicts_with = "clear", value_parser = span)]
    lasting: Option<Span>,
    /// Take it back.
    #[arg(long, conflicts_with = "text")]
    clear: bool,
    #[command(flatten)]
    gateway: GatewayArgument,
}

/// kubectl exec with a reason of its own.
#[derive(Args, Debug)]
pub(crate) struct ExecArguments {
    /// Why; one line. It holds for this one session.
    #[arg(long)]
    reason: String,
    /// What `kubectl exec` is given.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "ARGUMENTS OF KUBECTL EXEC"
    )]
    arguments: Vec<String>,
    #[command(flatten)]
    gateway: GatewayArgument,
}

pub(super) fn span(text: &str) -> Result<Span, String> {
    text.parse::<Span>().map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &ReasonArguments) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, arguments.gateway.url.as_deref(), API).await?;
        match &arguments.text {
            Some(text) => {
                let lasting = arguments.lasting.map_or(USUAL, Span::duration);
                state(&ready, text, lasting).await
            }
            None if arguments.clear => take_back(&ready).await,
            None => show(&ready).await,
        }
    })
}

async fn state(ready: &Ready, text: &str, lasting: Duration) -> Result<Exit, Trouble> {
    let body = json!({ "text": text, "seconds": lasting.as_secs() });
    let told = send(ready, Method::POST, &body.to_string()).await?;
    let told: Value = serde_json::from_slice(&told).unwrap_or_default();
    let until = told.get("until").and_then(Value::as_str).map(clean).unwrap_or_default();
    say(&format!(
        "✔ stated until {until}; it stands in each record of what you do until then"
    ));
    Ok(Exit::Done)
}

async fn take_back(ready: &Ready) -> Result<Exit, Trouble> {
    send(ready, Method::DELETE, "").await?;
    say("✔ no reason is stated");
    Ok(Exit::Done)
}

async fn show(ready: &Ready) -> Result<Exit, Trouble> {
    let told: Value = read_json(&ready.client, &ready.kept.endpoints.userinfo, ready.token.reveal()).await?;
    let text = |name: &str| told.pointer(name).and_then(Value::as_str).map(clean);
    match (text("/reason/text"), text("/reason/until")) {
        (Some(reason), Some(until)) => {
            data(&format!("{reason}\n"))?;
            say(&format!("until {until}"));
        }
        _ => say("no reason is stated"),
    }
    Ok(Exit::Done)
}

async fn send(ready: &Ready, method: Method, body: &str) -> Result<bytes::Bytes, Trouble> {
    let url = format!("{}/reason", ready.kept.endpoints.api);
    let answer = request(&ready.client, method, &url, ready.token.reveal(), body).await?;
    if answer.status().is_success() {
        Ok(answer.into_body())
    } else {
        Err(refused_api(&answer))
    }
}

pub(super) async fn request(
    client: &Client,
    method: Method,
    url: &str,
    token: &str,
    body: &str,
) -> Result<http::Response<bytes::Bytes>, HttpError> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(bytes::Bytes::copy_from_slice(body.as_bytes()))
        .map_err(|_| HttpError::Address(url.to_owned()))?;
    client.send(request).await
}

/// Becomes kubectl: its terminal, its signals and its exit code are the person's own.
pub(super) fn exec(arguments: &ExecArguments) -> Result<Exit, Trouble> {
    let reason = Reason::parse(&arguments.reason).map_err(|error| {
        Trouble::new(Exit::Usage, error.to_string())
            .remedy("gatescribe exec --reason 'TICKET-4711: look at the disk' …")
    })?;
    let home = Home::find()?;
    let gateway = chosen(&home, arguments.gateway.url.as_deref())?;
    let kept = home
        .place(&gateway)
        .read()?
        .ok_or_else(|| sign_in_needed(&gateway, None))?;
    let user = kept.session.and_then(|session| session.username);
    let user = user.ok_or_else(|| sign_in_needed(&gateway, None))?;
    let failed = Command::new("kubectl")
        .arg("exec")
        .arg(format!("--as={user}"))
        .arg(format!("--as-user-extra=gatescribe.dev/reason={}", reason.as_str()))
        .args(&arguments.arguments)
        .exec();
    Err(Trouble::new(Exit::Fault, "kubectl cannot be run")
        .because(failed.to_string())
        .remedy("install kubectl 1.36 or newer, or state the reason for all that comes next: `gatescribe reason TEXT`"))
}
