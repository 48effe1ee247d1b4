//! What a person sees whose browser asked a service and was refused.
//!
//! It says what the refusal may say and nothing else: whoever makes it decides that. Paths, names of people and of services come from
//! outside and may hold markup; all of it is text here.

use axum::body::Bytes;
use http::{Response, StatusCode};

use super::{Mood, Page};
use crate::answer::harden;

/// A refusal, as far as its person may know it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRefusal<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// Why, as one sentence.
    pub why: &'a str,
    /// What to do about it, as one sentence.
    pub remedy: Option<&'a str>,
    /// Which service.
    pub service: Option<&'a str>,
    /// As whom they are signed in.
    pub user: Option<&'a str>,
    /// The request's `Audit-ID`.
    pub id: Option<&'a str>,
    /// Where to sign in and come back: `https://…`, or `http://…` on loopback.
    pub sign_in: Option<&'a str>,
}

/// The page, with the headers of our own pages. `secure`: the gateway's URL is https.
#[must_use]
pub fn service_refusal_page(told: &ServiceRefusal<'_>, secure: bool) -> Response<Bytes> {
    let ServiceRefusal {
        status,
        why,
        remedy,
        service,
        user,
        id,
        sign_in,
    } = *told;
    let mut page = Page::new(status, Mood::Bad, title(status)).text(&sentence(why));
    if let Some(remedy) = remedy {
        page = page.text(&sentence(remedy));
    }
    let facts = [("Service", service), ("Signed in as", user), (number(status), id)];
    let facts: Vec<_> = facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    if !facts.is_empty() {
        page = page.facts(&facts);
    }
    // The address is ours; that it leads nowhere else is held here, too.
    let leads = |address: &&str| address.starts_with("https://") || address.starts_with("http://");
    if let Some(address) = sign_in.filter(leads) {
        page = page.choice("Sign in", address);
    }
    if matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    ) {
        page = page.retry_after(5);
    }
    if id.is_some() {
        page = page.small("Whoever runs the gateway finds all of it under this number.");
    }
    let (head, _) = harden(page.respond(), secure).into_parts();
    Response::from_parts(head, Bytes::from(page.html()))
}

/// What the number is called: whoever was refused names the decision, as `kubectl` tells it, too.
fn number(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "Decision",
        _ => "Request",
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Sign in first",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "The service does not answer",
        StatusCode::SERVICE_UNAVAILABLE => "Not possible right now",
        _ => "This was not passed on",
    }
}

/// Messages of ours begin small and have no dot at their end. A name at the beginning stays as it is.
fn sentence(text: &str) -> String {
    const MOST: usize = 1_000;
    let mut kept: String = text.trim().chars().take(MOST).collect();
    if text.trim().chars().nth(MOST).is_some() {
        kept.push('…');
    }
    let is_word = kept
        .split(' ')
        .next()
        .is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let mut characters = kept.chars();
    let mut text = match characters.next() {
        Some(first) if is_word => format!("{}{}", first.to_ascii_uppercase(), characters.as_str()),
        _ => kept,
    };
    if !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn page(told: &ServiceRefusal<'_>) -> (Response<Bytes>, String) {
        let page = service_refusal_page(told, true);
        let text = String::from_utf8(page.body().to_vec()).unwrap();
        (page, text)
    }

    const PLAIN: ServiceRefusal<'static> = ServiceRefusal {
        status: StatusCode::FORBIDDEN,
        why: "no rule lets you `GET /admin` of this service",
        remedy: None,
        service: None,
        user: None,
        id: None,
        sign_in: None,
    };

    #[test]
    fn a_refusal_is_told_in_sentences_with_its_next_step() {
        let (page, text) = page(&ServiceRefusal {
            remedy: Some("ask for the group `ops`"),
            service: Some("grafana"),
            user: Some("alice@example.com"),
            id: Some("0190"),
            sign_in: Some("https://gate.example/signin?a=b&c=d"),
            ..PLAIN
        });
        assert_eq!(page.status(), StatusCode::FORBIDDEN);
        for part in [
            "<h1>You may not do this</h1>",
            "<p>No rule lets you <code>GET /admin</code> of this service.</p>",
            "<p>Ask for the group <code>ops</code>.</p>",
            "<dt>Service</dt><dd>grafana</dd><dt>Signed in as</dt><dd>alice@example.com</dd><dt>Decision</dt><dd>0190</dd>",
            "<a class=\"button\" href=\"https://gate.example/signin?a=b&amp;c=d\">Sign in</a>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn what_may_not_be_said_is_not_there() {
        let (_, text) = page(&PLAIN);
        for word in [
            "<dl>",
            "Service",
            "Signed in as",
            "Request",
            "Decision",
            "class=\"button\"",
            "number",
        ] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    /// WEB-09.
    #[test]
    fn web_09_markup_in_whatever_is_told_is_text() {
        let attack = "</code></p><script>alert(1)</script><img src=x onerror=\"a\"> '` {{7*7}} \u{202e}";
        let (response, text) = page(&ServiceRefusal {
            why: attack,
            remedy: Some(attack),
            service: Some(attack),
            user: Some(attack),
            id: Some(attack),
            sign_in: Some(&format!("https://gate.example/\"{attack}")),
            ..PLAIN
        });
        let body = text.split("</style>").nth(1).unwrap();
        for mark in ["<script", "<img", "onerror=\"", "\u{202e}", "'"] {
            assert!(!body.contains(mark), "{mark} in {body}");
        }
        assert_eq!(
            body.matches("<p>").count() + body.matches("<p class").count(),
            3,
            "{body}"
        );
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    }

    #[test]
    fn a_link_leads_to_an_address_of_the_web_only() {
        for address in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil.example",
            "/signin",
            "",
        ] {
            let (_, text) = page(&ServiceRefusal {
                sign_in: Some(address),
                ..PLAIN
            });
            assert!(!text.contains("href"), "{address}");
        }
    }

    #[test]
    fn its_headers_are_those_of_our_own_pages() {
        let (response, _) = page(&ServiceRefusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..PLAIN
        });
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("retry-after"), "5");
    }

    #[test]
    fn a_sentence_begins_large_and_ends_with_a_dot_and_has_an_end() {
        for (text, expected) in [
            ("no rule allows it", "No rule allows it."),
            ("alice@example.com may not", "alice@example.com may not."),
            ("`x` is unknown", "`x` is unknown."),
            ("Done.", "Done."),
            ("is it so?", "Is it so?"),
        ] {
            assert_eq!(sentence(text), expected);
        }
        let long = sentence(&format!("too {}", "long ".repeat(1_000)));
        assert!(long.chars().count() <= 1_001 && long.ends_with('…'), "{long}");
    }
}
