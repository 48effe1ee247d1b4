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

use super::gateway::{Cluster, Endpoints, Given};
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
    /// The provider, where the person chose one.
    pub(crate) provider: Option<&'a str>,
    /// For what the first token is.
    pub(crate) audience: &'a str,
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
