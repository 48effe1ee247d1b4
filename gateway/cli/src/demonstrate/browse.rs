//! `gatescribe demo browse PERSON URL`: a browser for machines without one, good for the demo's own sign-in and nothing else.
//!
//! It is named in `BROWSER`, follows redirects on loopback alone, and where the demo's provider asks who it is, it is PERSON.
//! No other provider asks so: to a real one it shows nothing and gets nothing.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};

use crate::Exit;
use crate::client::http::{Client, Trust, is_loopback};
use crate::serve::runtime;
use crate::terminal::fail;

/// Redirects of one sign-in: gateway, provider, gateway, command line, with room to spare.
const MOST_STEPS: usize = 12;

/// Who signs in, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// alice, bob or carol.
    #[arg(value_parser = known)]
    person: String,
    /// Where the sign-in begins.
    url: String,
}

fn known(text: &str) -> Result<String, String> {
    match demo::identity::person(text) {
        Some(person) => Ok(person.username.to_owned()),
        None => Err("the people of the demo are alice, bob and carol".to_owned()),
    }
}

/// Runs the command.
pub(super) fn command(arguments: &Arguments) -> Exit {
    let done = runtime().and_then(|runtime| runtime.block_on(sign_in(&arguments.person, &arguments.url)));
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            fail(&error);
            Exit::SignIn
        }
    }
}

async fn sign_in(person: &str, url: &str) -> anyhow::Result<()> {
    let client = Client::new(&Trust::System, false)?;
    let mut cookies = Cookies::default();
    let (mut url, mut has_chosen) = (url.to_owned(), false);
    for _ in 0..MOST_STEPS {
        let at: Uri = url.parse().with_context(|| format!("`{url}` is no address"))?;
        let host = at.host().unwrap_or_default().trim_matches(['[', ']']);
        ensure!(
            at.scheme_str() == Some("http") && is_loopback(host),
            "`{url}` is not on this machine: this browser is for the demo alone"
        );
        let answer = client.send(cookies.request(&at)?).await?;
        cookies.keep(&at, answer.headers());
        let location = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|place| place.to_str().ok());
        url = match (answer.status(), location) {
            (status, Some(place)) if status.is_redirection() => absolute(&at, place),
            (StatusCode::OK, _) if !has_chosen && at.path() == "/authorize" => {
                has_chosen = true;
                format!("{url}&login_hint={person}&prompt=none")
            }
            (StatusCode::OK, _) => return Ok(()),
            (status, _) => bail!("the sign-in ended with {status} at {}", at.path()),
        };
    }
    bail!("the sign-in leads nowhere")
}

/// By host and port, unlike those of real browsers: the parts of the demo differ in the port alone.
#[derive(Default)]
struct Cookies(BTreeMap<String, BTreeMap<String, String>>);

impl Cookies {
    fn request(&self, at: &Uri) -> anyhow::Result<Request<Bytes>> {
        let mut request = Request::builder().uri(at).header(header::ACCEPT, "text/html");
        if let Some(jar) = self.0.get(&authority(at)).filter(|jar| !jar.is_empty()) {
            let all: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, all.join("; "));
        }
        Ok(request.body(Bytes::new())?)
    }

    fn keep(&mut self, at: &Uri, headers: &http::HeaderMap) {
        let jar = self.0.entry(authority(at)).or_default();
        for line in headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok())
        {
            let pair = line.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                jar.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
    }
}

fn authority(at: &Uri) -> String {
    at.authority().map(ToString::to_string).unwrap_or_default()
}

fn absolute(at: &Uri, place: &str) -> String {
    if place.starts_with('/') {
        format!("http://{}{place}", authority(at))
    } else {
        place.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_beyond_this_machine_is_opened() {
        for url in [
            "http://192.0.2.1/authorize",
            "https://127.0.0.1/authorize",
            "file:///etc/passwd",
            "http://localhost.example/authorize",
        ] {
            let error = sign_in("alice", url).await.unwrap_err().to_string();
            assert!(
                error.contains("not on this machine") || error.contains("no address"),
                "{error}"
            );
        }
    }

    #[test]
    fn only_people_of_the_demo_can_be_named() {
        assert_eq!(known("bob").unwrap(), "bob");
        assert!(known("mallory").is_err());
    }
}
