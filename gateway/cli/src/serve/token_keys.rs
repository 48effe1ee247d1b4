//! The keys of the gateway's own tokens while it runs: read again with the configuration, recorded before they count. A key
//! that signs no more and is still listed goes on to be accepted, so nobody notices a change; one that is listed no more counts
//! for nothing. What is open stands on its sign-in and not on a token, and stays.

use std::sync::Arc;

use anyhow::Context as _;
use console::{GatewayKeys, GatewayUrl};
use feeds::issuers::IssuerFeed;
use proxy::audit::Station;

use super::data::{self, DataDir};
use super::recorder;
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

    /// Records other keys and lets them count. The same again are no change.
    ///
    /// # Errors
    /// The ledger cannot take the record: what was in force stays so.
    pub(super) async fn put(
        &mut self,
        audit: &Station,
        feed: &IssuerFeed,
        config: &Config,
        next: Next,
    ) -> anyhow::Result<()> {
        if next.names == self.names {
            return Ok(());
        }
        let said = in_words(&next.names);
        recorder::token_keys(audit, config, &said).await?;
        // First what accepts: no token is refused because it is new.
        feed.set_gateway(next.keys.verifier());
        self.keys.replace(&next.keys);
        tracing::info!(keys = said, "the keys of the gateway's tokens are other ones");
        self.names = next.names;
        Ok(())
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
