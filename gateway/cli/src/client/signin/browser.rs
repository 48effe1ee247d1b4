//! By a browser on this machine: authorization code with PKCE over a loopback redirect (RFC 8252, RFC 7636).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::loopback::{Loopback, Reply, Returned};
use super::{Keep, SignIn, random};
use crate::Exit;
use crate::client::gateway::{CLIENT, Given, Grant, escape, redeem};
use crate::client::http::Client;
use crate::client::store::Secret;
use crate::client::trouble::{Trouble, clean};
use crate::terminal::say;

/// Half of what the gateway keeps a sign-in open for, so that it is ours that ends first, with a reason.
const WAIT: Duration = Duration::from_secs(5 * 60);

pub(super) async fn sign_in(client: &Client, to: &SignIn<'_>, open: bool, keep: Keep<'_>) -> Result<Given, Trouble> {
    let (state, verifier) = (random()?, random()?);
    let mut loopback = Loopback::bind(&state).await.map_err(no_loopback)?;
    let url = address(to, loopback.redirect(), &state, &verifier);
    say(&format!("Sign in with your browser:\n\n  {url}\n"));
    if open {
        open_browser(url);
    }
    let returned = tokio::time::timeout(WAIT, loopback.returned()).await;
    let returned = returned.ok().flatten().ok_or_else(nobody_came)?;
    let Returned { answer, reply } = returned;
    let finished = finish(client, to, loopback.redirect(), &verifier, answer.as_ref(), keep).await;
    reply.send(match &finished {
        Ok(given) => signed_in(to, given),
        Err(trouble) => Reply::failed(trouble),
    });
    // The browser reads the page from this process; it must not be gone before.
    loopback.close().await;
    finished
}

async fn finish(
    client: &Client,
    to: &SignIn<'_>,
    redirect: &str,
    verifier: &Secret,
    answer: &super::loopback::Answer,
    keep: Keep<'_>,
) -> Result<Given, Trouble> {
    if answer.issuer.as_deref() != Some(to.gateway.as_str()) {
        return Err(Trouble::new(Exit::SignIn, "the sign-in was not finished")
            .because("the answer came from another issuer than the gateway that was asked (RFC 9207)")
            .remedy("run the command again; if it happens again, tell whoever administers the gateway"));
    }
    let code = match (&answer.code, &answer.error) {
        (Some(code), None) => code,
        (_, error) => return Err(refused(error.as_deref(), answer.description.as_deref())),
    };
    let grant = Grant::Code {
        code,
        verifier,
        redirect,
    };
    let given = redeem(client, to.endpoints, &grant, to.wish.audience).await?;
    keep(&given)?;
    Ok(given)
}

fn address(to: &SignIn<'_>, redirect: &str, state: &Secret, verifier: &Secret) -> String {
    let challenge = digest::digest(&digest::SHA256, verifier.reveal().as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(challenge.as_ref());
    let provider = to.wish.provider;
    let provider = provider.map(|name| format!("&provider={}", escape(name)));
    let fresh = to.wish.fresh.map(|fresh| format!("&{}", fresh.parameters()));
    format!(
        "{}?response_type=code&client_id={CLIENT}&redirect_uri={}&state={}&code_challenge={challenge}\
         &code_challenge_method=S256{}{}",
        to.endpoints.authorization,
        escape(redirect),
        state.reveal(),
        provider.unwrap_or_default(),
        fresh.unwrap_or_default(),
    )
}

/// On a thread of its own: a browser in the terminal runs until the person leaves it.
fn open_browser(url: String) {
    std::thread::spawn(move || {
        if webbrowser::open(&url).is_err() {
            say("  (no browser could be opened; open the address above yourself)");
        }
    });
}

fn signed_in(to: &SignIn<'_>, given: &Given) -> Reply {
    let clusters: Vec<String> = to.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let facts = console::SignedIn {
        username: given.session.username.as_deref().unwrap_or("yourself"),
        groups: given.groups,
        clusters: &clusters,
        ends: given.session.ends.clone().unwrap_or_else(|| "you sign out".to_owned()),
    };
    let (html, policy) = console::signed_in_page(&facts);
    Reply::page(html, policy)
}

fn refused(error: Option<&str>, description: Option<&str>) -> Trouble {
    let words = description
        .or(error)
        .unwrap_or("the answer holds neither a code nor a reason");
    let trouble = Trouble::new(Exit::SignIn, "you are not signed in").because(clean(words));
    match error {
        Some("access_denied") => trouble.remedy("run the command again if you cancelled by mistake"),
        Some("temporarily_unavailable" | "server_error") => trouble.remedy("try again in a minute"),
        _ => trouble.remedy("run the command again; if it stays so, show this to whoever administers the gateway"),
    }
}

fn nobody_came() -> Trouble {
    Trouble::new(Exit::SignIn, "the sign-in was not finished")
        .because(format!(
            "no answer came from the browser within {} minutes",
            WAIT.as_secs() / 60
        ))
        .remedy("run the command again; on a machine without a browser add --device")
}

fn no_loopback(error: std::io::Error) -> Trouble {
    Trouble::new(Exit::Fault, "the browser's answer cannot be received")
        .because(format!("no port on 127.0.0.1 or [::1] can be opened: {error}"))
        .remedy("gatescribe login URL --device")
}
