//! A browser as small as a sign-in needs: loopback alone, cookies by host and port, redirects one at a time.
//!
//! Not for what pages look like: that is for a real browser. Blocking.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::http::Client;

/// How long somebody may say nothing. Longer than any limit at which the gateway itself gives up on a silent peer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One person's browser.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    ca: Option<String>,
}

/// A page, or where it sends.
#[derive(Debug)]
pub struct Page {
    /// Where it came from.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// The text.
    pub body: String,
}

impl Browser {
    /// A browser whose user trusts this authority (PEM), for what is `https`.
    #[must_use]
    pub fn trusting(ca: &str) -> Self {
        Self {
            ca: Some(ca.to_owned()),
            ..Self::default()
        }
    }

    /// What it sends as `Cookie` to this host and port.
    #[must_use]
    pub fn cookies(&self, authority: &str) -> String {
        let jar = self.cookies.get(authority).into_iter().flatten();
        let cookies: Vec<String> = jar.map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }

    /// Opens `url` and follows redirects until a page comes or an address that begins with `stop`.
    ///
    /// # Errors
    /// No answer, or more than twenty redirects.
    pub fn open(&mut self, url: &str, stop: &str) -> anyhow::Result<Page> {
        let mut url = url.to_owned();
        for _ in 0..20 {
            let page = self.request("GET", &url, "")?;
            let Some(location) = &page.location else {
                return Ok(page);
            };
            url = absolute(&url, location)?;
            if url.starts_with(stop) {
                return Ok(Page {
                    location: Some(url),
                    ..page
                });
            }
        }
        bail!("{url} redirects without end")
    }

    /// Sends one request; `form` is a form's body.
    ///
    /// # Errors
    /// No answer within a minute, or no HTTP.
    pub fn request(&mut self, method: &str, url: &str, form: &str) -> anyhow::Result<Page> {
        let (scheme, authority, target) = split(url)?;
        let mut head =
            format!("{method} {target} HTTP/1.0\r\nHost: {authority}\r\nAccept: text/html,application/json;q=0.9\r\n");
        let cookies = self.cookies(&authority);
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {cookies}\r\n"));
        }
        let jar = self.cookies.entry(authority.clone()).or_default();
        if method == "POST" {
            head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n{form}", form.len()));
        let answer = match scheme {
            "https" => {
                let ca = self
                    .ca
                    .as_deref()
                    .with_context(|| format!("nobody vouches for {url}"))?;
                Client::new(authority.parse()?, ca, None)?.exchange(head.as_bytes())
            }
            _ => plainly(&authority, head.as_bytes()),
        };
        let answer = answer.with_context(|| format!("read the answer of {url}"))?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .with_context(|| format!("{url} answers no HTTP: {answer:?}"))?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .context("a status line")?;
        let mut location = None;
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "location" => location = Some(value.trim().to_owned()),
                "set-cookie" => keep_cookie(jar, value.trim()),
                _ => {}
            }
        }
        Ok(Page {
            url: url.to_owned(),
            status,
            location,
            body: body.to_owned(),
        })
    }
}

fn keep_cookie(jar: &mut BTreeMap<String, String>, line: &str) {
    let mut parts = line.split(';');
    let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
        return;
    };
    let gone = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0"));
    if gone || value.is_empty() {
        jar.remove(name);
    } else {
        jar.insert(name.to_owned(), value.to_owned());
    }
}

fn plainly(authority: &str, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Every name below `localhost` is this machine (RFC 6761 §6.3), and not every resolver knows it.
    let address = match authority.split_once(".localhost:") {
        Some((_, port)) => format!("127.0.0.1:{port}"),
        None => authority.to_owned(),
    };
    let mut stream = TcpStream::connect(&address).with_context(|| format!("connect to {authority}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Scheme, authority and target.
fn split(url: &str) -> anyhow::Result<(&str, String, String)> {
    let (scheme, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
    anyhow::ensure!(matches!(scheme, "http" | "https"), "{url} is nothing for a browser");
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((scheme, authority.to_owned(), format!("{slash}{target}")))
}

fn absolute(from: &str, location: &str) -> anyhow::Result<String> {
    if location.starts_with('/') {
        let (scheme, authority, _) = split(from)?;
        return Ok(format!("{scheme}://{authority}{location}"));
    }
    Ok(location.to_owned())
}
