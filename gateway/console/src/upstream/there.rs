//! Whether a provider is there at all, looked at before a browser is sent to it: where nothing answers, people would stand before an
//! error of their browser's own, which says nothing of a gateway and offers no next step.
//!
//! The gateway has to reach the provider anyway before a sign-in is over, so nobody is kept back who would have got through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oidc::Discovery;
use tokio::time::Instant;

use super::Provider;
use crate::fetch::FetchError;

/// How long somebody waits before a provider counts as silent. Its own answer to them would be no faster.
const WITHIN: Duration = Duration::from_secs(3);
/// How long a yes counts: a busy morning asks once in this time, and who comes within it when the provider goes stands before nothing.
const YES_FOR: Duration = Duration::from_secs(1);
/// How long a no counts, less than whoever is told to try again is told to wait.
const NO_FOR: Duration = Duration::from_secs(2);

/// What is known of the providers, by their names, of which a configuration has a few.
#[derive(Debug, Default)]
pub(crate) struct There(Mutex<HashMap<Arc<str>, Turn>>);

type Turn = Arc<tokio::sync::Mutex<Option<Known>>>;

/// A monotone clock: one that was set back must not make a no count for longer.
#[derive(Clone, Copy, Debug)]
struct Known {
    since: Instant,
    is_there: bool,
}

impl Known {
    fn counts(self) -> bool {
        let counts_for = if self.is_there { YES_FOR } else { NO_FOR };
        self.since.elapsed() < counts_for
    }
}

impl There {
    /// Asks for its discovery document where that was not done a moment ago; several who want to know wait for one answer. Safe to be
    /// dropped: whoever is next asks then.
    pub(crate) async fn has(&self, provider: &Provider) -> bool {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(Arc::clone(&provider.name)).or_default())
        };
        let mut known = turn.lock().await;
        if let Some(known) = known.filter(|known| known.counts()) {
            return known.is_there;
        }
        let is_there = answers(provider).await;
        let since = Instant::now();
        *known = Some(Known { since, is_there });
        is_there
    }
}

/// Any answer is one, save those by which what stands in front of a provider says that it is not there.
async fn answers(provider: &Provider) -> bool {
    let asked = tokio::time::timeout(WITHIN, provider.send(Discovery::request(&provider.issuer)));
    let why = match asked.await {
        Ok(Ok(answer)) if !answer.status().is_server_error() => return true,
        Ok(Err(FetchError::TooLong)) => return true,
        Ok(Ok(answer)) => answer.status().to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(
        provider = &*provider.name,
        why,
        "nobody can sign in at a provider that does not answer"
    );
    false
}
