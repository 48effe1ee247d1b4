//! The way out: to the provider.

use axum::extract::{Query, State};
use axum::response::Response;
use http::{StatusCode, header};
use state::{NewAttempt, Secret};

use super::{Attempt, Back, Purpose, onward};
use crate::answer::{see_other, too_often_page, unavailable_page};
use crate::app::{App, Inner};
use crate::caller::Caller;
use crate::cookie::{self, Cookie};
use crate::form::{Fields, with_query};
use crate::limit::Act;
use crate::loopback::LoopbackRedirect;
use crate::page::{Mood, Page};
use crate::upstream::{Provider, Wishes, depart};

/// The only client of our own authorization endpoint.
pub(crate) const CLI_CLIENT: &str = "gatescribe-cli";

type Pairs = Query<Vec<(String, String)>>;

/// What `/authorize` was asked for, checked.
struct Asked {
    purpose: Purpose,
    provider: Option<String>,
    wishes: Wishes,
}

/// What is wrong with it, and whom to tell: the person while the redirect address is not known to be good, the command
/// line afterwards (RFC 6749 §4.1.2.1).
enum Wrong {
    Page(Page),
    Client {
        redirect: LoopbackRedirect,
        state: String,
        error: &'static str,
        description: &'static str,
    },
}

/// `GET /authorize`: our command line begins a sign-in.
pub(crate) async fn authorize(State(app): State<App>, caller: Caller, Query(pairs): Pairs) -> Response {
    match read(&pairs) {
        Ok(asked) => go(&app, &caller, asked, ("/authorize", &pairs)).await,
        Err(Wrong::Page(page)) => page.into_response(),
        Err(Wrong::Client {
            redirect,
            state,
            error,
            description,
        }) => see_other(&with_query(
            redirect.as_str(),
            &[
                ("error", error),
                ("error_description", description),
                ("state", &state),
                ("iss", app.parts.url.as_str()),
            ],
        )),
    }
}

/// `GET /signin`: a browser wants a session.
pub(crate) async fn browser(State(app): State<App>, caller: Caller, Query(pairs): Pairs) -> Response {
    let Ok(fields) = Fields::read(pairs.clone()) else {
        return bad_address("A parameter stands twice or is too long.").into_response();
    };
    // A link that leads elsewhere still signs in: the person wanted to, and whoever made the link gains nothing.
    let back = Back::asked(&fields, &app.parts.url, &*app.parts.is_published).unwrap_or_else(|_| Back::home());
    let wishes = Wishes::read(&fields);
    let provider = fields.find("provider").map(str::to_owned);
    if provider.is_none()
        && let Some(answer) = onward::at_once(&app, &caller, &back, &wishes).await
    {
        return answer;
    }
    let asked = Asked {
        purpose: Purpose::Browser(back),
        provider,
        wishes,
    };
    go(&app, &caller, asked, ("/signin", &pairs)).await
}

/// A person typed the code of a device that waits.
pub(crate) async fn leave_for_device(app: &Inner, caller: &Caller, user_code: String, fields: &Fields) -> Response {
    let wished = ["prompt", "max_age", "acr_values"];
    let wished = wished.map(|name| Some((name.to_owned(), fields.find(name)?.to_owned())));
    let pairs: Vec<_> = std::iter::once(("user_code".to_owned(), user_code.clone()))
        .chain(wished.into_iter().flatten())
        .collect();
    let asked = Asked {
        purpose: Purpose::Device { user_code },
        provider: fields.find("provider").map(str::to_owned),
        wishes: Wishes::read(fields),
    };
    go(app, caller, asked, ("/device", &pairs)).await
}

/// `GET /`: what this host is, for whoever types its address.
pub(crate) async fn home(State(app): State<App>) -> Response {
    let command = format!("gatescribe login {}", app.parts.url.as_str());
    Page::new(StatusCode::OK, Mood::Plain, "Access gateway")
        .text("This gateway stands in front of Kubernetes clusters. Sign in from your terminal:")
        .facts(&[("Command", &command)])
        .small("To answer a device that shows a code, open /device.")
        .into_response()
}

async fn go(app: &Inner, caller: &Caller, asked: Asked, here: (&str, &[(String, String)])) -> Response {
    let providers = app.parts.issuers.providers();
    let provider = match (&asked.provider, &*providers) {
        (Some(name), all) => all.iter().find(|provider| *provider.name == **name),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, all) => return choose(all, here).into_response(),
    };
    let not_now = || not_now_page(&with_query(here.0, &borrowed(here.1))).into_response();
    let Some(provider) = provider else {
        return not_now();
    };
    if let Err(wait) = app.limiter.take(Act::SignIn, &caller.source(), app.now()) {
        return too_often_page(wait).into_response();
    }
    if !app.there.has(provider).await {
        return not_now();
    }
    match leave(app, caller, provider, asked.purpose, &asked.wishes).await {
        Ok(response) => response,
        Err(page) => page.into_response(),
    }
}

async fn leave(
    app: &Inner,
    caller: &Caller,
    provider: &Provider,
    purpose: Purpose,
    wishes: &Wishes,
) -> Result<Response, Page> {
    let (source, now) = (caller.source(), app.now());
    let secure = app.parts.url.is_secure();
    let browser = match caller.cookies.find(Cookie::Browser, secure) {
        Some(known) => known,
        None => Secret::random().map_err(|_| unavailable_page())?,
    };
    let departure = depart(app, provider, wishes)?;
    let attempt = Attempt {
        upstream: departure.attempt,
        purpose,
    };
    let payload = serde_json::to_vec(&attempt).map_err(|_| unavailable_page())?;
    let expires_at = now.plus(app.parts.lifetimes.attempt);
    let (location, state) = (departure.location, departure.state);
    let cookie = cookie::set(
        Cookie::Browser,
        browser.reveal(),
        app.parts.lifetimes.attempt.as_secs(),
        secure,
    );
    app.store(move |store| {
        let new = NewAttempt {
            state: &state,
            browser: &browser,
            source: &source,
            payload: &payload,
            expires_at,
        };
        store.begin_attempt(&new, now)
    })
    .await
    .map_err(|_| unavailable_page())?;
    let mut response = see_other(&location);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Nobody can sign in there at the moment. `again`: where to try once more.
pub(super) fn not_now_page(again: &str) -> Page {
    Page::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "Nobody can sign in right now",
        "The identity provider does not answer the gateway, or it is none of those that the gateway knows.",
        "Try again in a minute. Who is signed in already stays so. If it lasts, tell the administrator; the gateway's log says more.",
    )
    .choice("Try again", again)
    .retry_after(5)
}

fn choose(providers: &[std::sync::Arc<Provider>], (path, pairs): (&str, &[(String, String)])) -> Page {
    providers.iter().fold(
        Page::new(StatusCode::OK, Mood::Plain, "Where do you have your account?"),
        |page, provider| {
            let mut pairs: Vec<(&str, &str)> = pairs
                .iter()
                .filter(|(name, _)| name != "provider")
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            pairs.push(("provider", &provider.name));
            page.choice(&provider.title, &with_query(path, &pairs))
        },
    )
}

fn read(pairs: &[(String, String)]) -> Result<Asked, Wrong> {
    let page = |why: &str| Wrong::Page(bad_address(why));
    let fields = Fields::read(pairs.to_vec()).map_err(|error| page(&format!("{error}.")))?;
    if fields.find("client_id") != Some(CLI_CLIENT) {
        return Err(page(
            "The program that opened this page is not known here (`client_id`).",
        ));
    }
    let redirect = fields
        .find("redirect_uri")
        .and_then(LoopbackRedirect::parse)
        .ok_or_else(|| page("The answer would not go to a program on this machine (`redirect_uri`)."))?;
    let state = fields
        .find("state")
        .filter(|state| is_plain(state, 512))
        .unwrap_or_default()
        .to_owned();
    let wrong = |error, description| Wrong::Client {
        redirect: redirect.clone(),
        state: state.clone(),
        error,
        description,
    };
    if state.is_empty() {
        return Err(wrong(
            "invalid_request",
            "state is required: up to 512 printable characters",
        ));
    }
    if fields.find("response_type") != Some("code") {
        return Err(wrong("unsupported_response_type", "response_type must be code"));
    }
    if fields.find("code_challenge_method") != Some("S256") {
        return Err(wrong("invalid_request", "code_challenge_method must be S256"));
    }
    let challenge = fields
        .find("code_challenge")
        .filter(|challenge| challenge.len() == 43 && is_base64url(challenge))
        .ok_or_else(|| wrong("invalid_request", "code_challenge must be 43 characters of base64url"))?;
    Ok(Asked {
        purpose: Purpose::Cli {
            redirect: redirect.clone(),
            state: state.clone(),
            challenge: challenge.to_owned(),
        },
        provider: fields.find("provider").map(str::to_owned),
        wishes: Wishes::read(&fields),
    })
}

fn bad_address(why: &str) -> Page {
    Page::error(
        StatusCode::BAD_REQUEST,
        "This sign-in cannot begin",
        why,
        "Start again in the terminal with `gatescribe login`; if it happens again, update the program.",
    )
}

fn is_plain(text: &str, most: usize) -> bool {
    text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_base64url(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
