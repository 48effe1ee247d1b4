//! The provider's two pages: the picker and the word of goodbye. No script, no external resource, dark and light.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::people::PEOPLE;

const STYLE: &str = ":root{color-scheme:light dark;--line:light-dark(#d6dae1,#343b46);--ink:light-dark(#1c2430,#e8ebf0);\
--soft:light-dark(#566173,#9aa5b5);--paper:light-dark(#fff,#1b2028);--back:light-dark(#f3f5f8,#12161c);\
--mark:light-dark(#1f5fd0,#7fb0ff)}*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;\
background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif;padding:1rem}main{width:min(26rem,100%);\
background:var(--paper);border:1px solid var(--line);border-radius:14px;padding:1.75rem}h1{font-size:1.3rem;margin:0 0 .25rem}\
p{margin:0 0 1.25rem;color:var(--soft)}ul{list-style:none;margin:0;padding:0;display:grid;gap:.6rem}\
a{display:grid;grid-template-columns:2.6rem 1fr;gap:0 .9rem;align-items:center;padding:.75rem .9rem;border:1px solid var(--line);\
border-radius:10px;color:inherit;text-decoration:none}a:hover{border-color:var(--mark)}\
a:focus-visible{outline:3px solid var(--mark);outline-offset:2px}i{grid-row:span 2;width:2.6rem;height:2.6rem;border-radius:50%;\
display:grid;place-items:center;font-style:normal;font-weight:600;background:var(--mark);color:var(--paper)}\
b{line-height:1.3}span{color:var(--soft);font-size:.875rem}footer{margin-top:1.25rem;color:var(--soft);font-size:.875rem}";

/// The picker: one link per person, each the same request again with that person chosen.
pub(super) fn picker(client: &str, again: &str, hint: Option<&str>) -> Response {
    let mut people = String::new();
    for person in &PEOPLE {
        let focus = if hint == Some(person.username) {
            " autofocus"
        } else {
            ""
        };
        let initial: String = person.name.chars().take(1).collect();
        // Writing to a String cannot fail.
        let _written = write!(
            people,
            "<li><a href=\"/authorize?{}&amp;login_hint={}&amp;prompt=none\"{focus}><i aria-hidden=\"true\">{initial}</i>\
             <b>{}</b><span>{} · {}</span></a></li>",
            escape(again),
            person.username,
            person.name,
            person.role,
            person.email,
        );
    }
    let body = format!(
        "<h1>Who are you today?</h1><p>Sign in to <strong>{}</strong>. No password: this is the demo's own identity \
         provider.</p><ul>{people}</ul><footer>Three made-up people. Nothing here is safe for real use.</footer>",
        escape(client),
    );
    page(StatusCode::OK, "Sign in · demo", &body)
}

/// A page with one sentence, for what cannot be sent back to the client.
pub(super) fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    page(
        status,
        title,
        &format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text)),
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><main>{body}</main></body></html>",
        escape(title),
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// HTML-escapes text for content and for double-quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
