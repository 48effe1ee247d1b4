//! The keys of the gateway's own tokens while it runs: read again with the configuration, recorded before they count. A key
//! that signs no more and is still listed goes on to be accepted, so nobody notices a change; one that is listed no more counts
//! for nothing. What is open stands on its sign-in and not on a token, and stays.

use std::sync::Arc;

use anyhow::Context as _;
use console::{GatewayKeys, GatewayUrl};
use feeds::issuers::IssuerFeed;

use super::data::{self, DataDir};
use crate::config::Config;

/// The keys in force.
#[derive(Debug)]
pub(super) struct TokenKeys {
    data: DataDir,
    url: GatewayUrl,
    keys: Arc<GatewayKeys>,
    names: Vec<String>,
}

/// Other keys, not in force yet.
#[derive(Debug)]
pub(super) struct Next {
    keys: GatewayKeys,
    names: Vec<String>,
}

impl TokenKeys {
    /// The keys of the start; with them what signs and accepts.
    ///
    /// # Errors
    /// One cannot be used.
    pub(super) fn begin(config: &Config, data: &DataDir, url: &GatewayUrl) -> anyhow::Result<(Self, Arc<GatewayKeys>)> {
        let read = data.token_keys(&config.identity.token_key_files)?;
        let Next { keys, names } = ready(url, read)?;
        let keys = Arc::new(keys);
        let this = Self {
            data: data.clone(),
            url: url.clone(),
            keys: Arc::clone(&keys),
            names,
        };
        Ok((this, keys))
    }

    /// Those that the configuration names now.
    ///
    /// # Errors
    /// One cannot be used.
    pub(super) fn read(&self, config: &Config) -> anyhow::Result<Next> {
        ready(&self.url, self.data.token_keys_again(&config.identity.token_key_files)?)
    }

    /// What a record says of other keys than those in force; `None`: they are the same.
    pub(super) fn change(&self, next: &Next) -> Option<String> {
        (next.names != self.names).then(|| in_words(&next.names))
    }

    /// Lets them count: a change is recorded. The same again are no change.
    pub(super) fn take(&mut self, feed: &IssuerFeed, next: Next) {
        let Some(said) = self.change(&next) else { return };
        // First what accepts: no token is refused because it is new.
        feed.set_gateway(next.keys.verifier());
        self.keys.replace(&next.keys);
        tracing::info!(keys = said, "the keys of the gateway's tokens are other ones");
        self.names = next.names;
    }
}

fn ready(url: &GatewayUrl, read: data::TokenKeys) -> anyhow::Result<Next> {
    let names = read.names();
    let keys = GatewayKeys::new(url, read.signs, &read.others).context("the token keys cannot be used")?;
    Ok(Next { keys, names })
}

fn in_words(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [signs] => format!("tokens are signed with key {signs}, and no other one is accepted"),
        [signs, others @ ..] => {
            format!(
                "tokens are signed with key {signs}, and accepted of {}, too",
                others.join(", ")
            )
        }
    }
}
