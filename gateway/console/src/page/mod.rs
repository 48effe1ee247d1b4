//! The pages of the gateway host: small, whole in one answer, without script, readable by screen readers, dark and light.
//!
//! Invariant: text that did not come from this file goes through [`escape`]; the content security policy allows one
//! style sheet by its digest, forms to ourselves (and to providers where a form leads there), and nothing else.

mod refused;

pub use refused::{ServiceRefusal, service_refusal_page};

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Response, StatusCode, header};

use crate::door::Tally;

const STYLE: &str = include_str!("style.css");

static STYLE_DIGEST: LazyLock<String> =
    LazyLock::new(|| STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()).as_ref()));

/// How a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Plain,
    Good,
    Bad,
}

/// A page under construction: heading and escaped content.
#[derive(Debug)]
pub(crate) struct Page {
    status: StatusCode,
    mood: Mood,
    title: String,
    body: String,
    form_targets: Vec<String>,
    tally: Option<Tally>,
    retry_after_s: Option<u64>,
}

impl Page {
    pub(crate) fn new(status: StatusCode, mood: Mood, title: &str) -> Self {
        Self {
            status,
            mood,
            title: title.to_owned(),
            body: String::new(),
            tally: None,
            retry_after_s: None,
            form_targets: Vec::new(),
        }
    }

    /// An error: what happened, why, what to do now.
    pub(crate) fn error(status: StatusCode, what: &str, why: &str, now: &str) -> Self {
        Self::new(status, Mood::Bad, what).text(why).text(now)
    }

    /// What the ledger is to learn of it.
    pub(crate) fn tally(mut self, tally: Tally) -> Self {
        self.tally = Some(tally);
        self
    }

    /// Nothing is wrong with what was asked: it may be asked again after so many seconds.
    pub(crate) const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.body, "<p>{}</p>", prose(text));
        self
    }

    pub(crate) fn small(mut self, text: &str) -> Self {
        let _ = write!(self.body, "<p class=\"small\">{}</p>", prose(text));
        self
    }

    /// Pairs of a name and a value.
    pub(crate) fn facts(mut self, facts: &[(&str, &str)]) -> Self {
        self.body.push_str("<dl>");
        for (name, value) in facts {
            let _ = write!(self.body, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
        self.body.push_str("</dl>");
        self
    }

    /// A link that looks like a button.
    pub(crate) fn choice(mut self, label: &str, href: &str) -> Self {
        let _ = write!(
            self.body,
            "<a class=\"button\" href=\"{}\">{}</a>",
            escape(href),
            escape(label)
        );
        self
    }

    /// A form with one hidden field, and one button each for the given values of `answer`.
    pub(crate) fn buttons(mut self, action: &str, hidden: (&str, &str), answers: &[(&str, &str)]) -> Self {
        let _ = write!(
            self.body,
            "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"{}\" value=\"{}\">",
            escape(action),
            escape(hidden.0),
            escape(hidden.1)
        );
        for (place, (value, label)) in answers.iter().enumerate() {
            let class = if place == 0 { "" } else { " class=\"quiet\"" };
            let (value, label) = (escape(value), escape(label));
            let _ = write!(
                self.body,
                "<button name=\"answer\" value=\"{value}\"{class}>{label}</button>"
            );
        }
        self.body.push_str("</form>");
        self
    }

    /// The form for the code of a device.
    pub(crate) fn user_code_form(mut self, typed: &str, kept: &[(&str, &str)]) -> Self {
        let kept: String = kept.iter().fold(String::new(), |mut all, (name, value)| {
            let (name, value) = (escape(name), escape(value));
            let _ = write!(all, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
            all
        });
        let _ = write!(
            self.body,
            "<form method=\"post\" action=\"/device\"><label for=\"user_code\">Code</label>\
             <input id=\"user_code\" name=\"user_code\" value=\"{}\" required maxlength=\"16\" autocomplete=\"off\" \
             autocapitalize=\"characters\" spellcheck=\"false\" placeholder=\"XXXX-XXXX\">\
             {kept}<button>Continue</button></form>",
            escape(typed)
        );
        self
    }

    /// Where a form's answer may lead on to: some browsers hold `form-action` against redirects too.
    pub(crate) fn leads_to(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.form_targets.extend(origins);
        self
    }

    pub(crate) fn html(&self) -> String {
        let mood = match self.mood {
            Mood::Plain => "plain",
            Mood::Good => "good",
            Mood::Bad => "bad",
        };
        let (title, body) = (escape(&self.title), &self.body);
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title} · Gatescribe</title><style>{STYLE}</style></head>\
             <body><main class=\"{mood}\"><header>Gatescribe</header><h1>{title}</h1>{body}</main></body></html>"
        )
    }

    pub(crate) fn into_response(mut self) -> Response<Body> {
        let tally = self.tally.take();
        let mut response = self.respond().map(|()| Body::from(self.html()));
        if let Some(tally) = tally {
            response.extensions_mut().insert(tally);
        }
        response
    }

    /// Status and headers.
    fn respond(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy());
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn policy(&self) -> HeaderValue {
        let targets: String = self.form_targets.iter().fold(String::new(), |mut all, origin| {
            let _ = write!(all, " {origin}");
            all
        });
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{targets}; frame-ancestors 'none'; base-uri 'none'",
            *STYLE_DIGEST
        );
        // Origins were parsed before; if one still is no header text, the strictest policy goes out instead.
        HeaderValue::from_str(&policy).unwrap_or(STRICTEST)
    }
}

const STRICTEST: HeaderValue =
    HeaderValue::from_static("default-src 'none'; form-action 'none'; frame-ancestors 'none'");

/// For text and for attributes in double quotes. Control characters and characters that change the direction of
/// writing, which could make a page say something else than it holds, become a replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' => escaped.push('\u{FFFD}'),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Escaped text in which what stands between two backticks is code, as in every message of ours. A backtick without a
/// second one stays what it is.
fn prose(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    let mut html = String::with_capacity(text.len());
    for (number, piece) in pieces.iter().enumerate() {
        let (opens, closes) = (number % 2 == 1, number.saturating_add(1) < pieces.len());
        match (opens, closes) {
            (true, true) => {
                let _ = write!(html, "<code>{}</code>", escape(piece));
            }
            (true, false) => {
                let _ = write!(html, "`{}", escape(piece));
            }
            (false, _) => html.push_str(&escape(piece)),
        }
    }
    html
}

/// What the page says after a sign-in; the command line shows it on its own loopback address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn<'a> {
    /// The Kubernetes user name.
    pub username: &'a str,
    /// How many groups.
    pub groups: usize,
    /// Names of the clusters.
    pub clusters: &'a [String],
    /// When the session ends at the latest.
    pub ends: String,
}

/// The whole page after a sign-in, as text, and the content security policy it needs.
#[must_use]
pub fn signed_in_page(facts: &SignedIn<'_>) -> (String, HeaderValue) {
    let clusters = match facts.clusters {
        [] => "none yet".to_owned(),
        names => names.join(", "),
    };
    let page = Page::new(StatusCode::OK, Mood::Good, &format!("Signed in as {}", facts.username))
        .text("You can close this page and go back to the terminal.")
        .facts(&[
            ("Groups", &facts.groups.to_string()),
            ("Clusters", &clusters),
            ("Until", &facts.ends),
        ])
        .small("Not you? Type `gatescribe logout` in the terminal, then sign in again.");
    (page.html(), page.policy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_direction_marks_lose_their_power() {
        assert_eq!(
            escape("<script>\"'&\u{202e}\r\n"),
            "&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn what_stands_between_backticks_is_shown_as_code_and_keeps_no_power() {
        let page = Page::error(
            StatusCode::BAD_REQUEST,
            "No",
            "Run `gatescribe login <URL>` again",
            "or `ask",
        )
        .html();
        assert!(
            page.contains("<p>Run <code>gatescribe login &lt;URL&gt;</code> again</p><p>or `ask</p>"),
            "{page}"
        );
        for (text, html) in [
            ("", ""),
            ("`", "`"),
            ("a``b", "a<code></code>b"),
            ("`</code><b>`", "<code>&lt;/code&gt;&lt;b&gt;</code>"),
            ("`a` and `b`", "<code>a</code> and <code>b</code>"),
            ("`a` and `b", "<code>a</code> and `b"),
        ] {
            assert_eq!(prose(text), html);
        }
    }

    #[test]
    fn the_policy_names_the_style_sheet_that_is_in_the_page() {
        let page = Page::new(StatusCode::OK, Mood::Plain, "x").leads_to(["https://idp.example".to_owned()]);
        let html = page.html();
        let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()).as_ref());
        let response = page.into_response();
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{digest}'")), "{policy}");
        assert!(policy.contains("form-action 'self' https://idp.example;"), "{policy}");
        assert!(!html.contains("<script") && !html.contains(" src=") && !html.contains("style=\""));
    }
}
