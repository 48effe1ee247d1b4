//! Signing a person in: by a browser on this machine, or by a code that is typed elsewhere.
//!
//! A sign-in is kept (`keep`) before anybody is told that it worked: a page that says "signed in" over a session that
//! could not be written would be a lie, and the handle would be lost.

mod browser;
mod device;
mod loopback;
mod random;
mod way;

pub(crate) use random::random;
pub(crate) use way::{Surroundings, Way};

use console::GatewayUrl;

use super::gateway::{Cluster, Endpoints, Given, escape};
use super::http::Client;
use super::trouble::Trouble;

/// Where a person signs in, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignIn<'a> {
    /// The gateway.
    pub(crate) gateway: &'a GatewayUrl,
    /// Its endpoints.
    pub(crate) endpoints: &'a Endpoints,
    /// Its clusters, for the page.
    pub(crate) clusters: &'a [Cluster],
    /// How, and for what.
    pub(crate) wish: Wish<'a>,
}

/// How a person wants to sign in, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// The provider, where the person chose one.
    pub(crate) provider: Option<&'a str>,
    /// Whether the provider must ask again.
    pub(crate) fresh: Option<Fresh<'a>>,
    /// For what the first token is.
    pub(crate) audience: &'a str,
}

impl<'a> Wish<'a> {
    /// As the gateway and its provider want it.
    pub(crate) const fn for_audience(audience: &'a str) -> Self {
        Self {
            provider: None,
            fresh: None,
            audience,
        }
    }
}

/// The person proves anew who they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh<'a> {
    /// In which ways; empty for any.
    pub(crate) acr: &'a [String],
}

impl Fresh<'_> {
    /// As parameters of `/authorize` and `/device` (OpenID Connect Core §3.1.2.1). `prompt=login` makes the provider ask.
    /// `max_age` makes it say when it did; it is as long as a sign-in stays open, so that nobody is refused who takes
    /// their time.
    pub(crate) fn parameters(self) -> String {
        let mut parameters = "prompt=login&max_age=600".to_owned();
        if !self.acr.is_empty() {
            let classes: Vec<String> = self.acr.iter().map(|class| escape(class)).collect();
            parameters.push_str("&acr_values=");
            parameters.push_str(&classes.join("%20"));
        }
        parameters
    }
}

/// Writes down what came of a sign-in.
pub(crate) type Keep<'a> = &'a mut dyn FnMut(&Given) -> Result<(), Trouble>;

/// Signs in and keeps the session.
pub(crate) async fn sign_in(client: &Client, wish: &SignIn<'_>, way: Way, keep: Keep<'_>) -> Result<Given, Trouble> {
    match way {
        Way::Browser { open } => browser::sign_in(client, wish, open, keep).await,
        Way::Device => device::sign_in(client, wish, keep).await,
    }
}
