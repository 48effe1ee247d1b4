//! Signing in: from our `/authorize` or a page of ours to the provider, and back through `/callback`.
//!
//! What is under way is one row in the store, found by `state`, bound to the browser by a cookie, sealed, taken once.
//! Several tabs are several rows. What comes of it depends on who began: the command line gets a one-time code on its
//! loopback address, a browser a session cookie, a device the question whether it may.

mod arrive;
mod back;
mod finish;
mod leave;
mod onward;

pub use back::fuzz_return_address;

pub(crate) use arrive::callback;
#[cfg(test)]
pub(crate) use back::Arrival;
pub(crate) use back::{ARRIVE, Back};
pub(crate) use finish::{Begun, CodePayload, begin_recorded, locked_page};
pub(crate) use leave::{CLI_CLIENT, authorize, browser, home, leave_for_device};

use model::subject::SubjectId;
use serde::{Deserialize, Serialize};
use state::{ClientKind, Identity, NewSession, ProviderTokens};

use crate::app::Inner;
use crate::loopback::LoopbackRedirect;
use crate::upstream::UpstreamAttempt;

/// What is under way; sealed in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) upstream: UpstreamAttempt,
    pub(crate) purpose: Purpose,
}

/// Who began, and what is to come of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// The command line waits on its loopback address.
    Cli {
        redirect: LoopbackRedirect,
        state: String,
        challenge: String,
    },
    /// A browser wants a session.
    Browser(Back),
    /// A person typed the code of a device.
    Device { user_code: String },
}

/// A person for whom a provider vouched just now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vouched {
    pub(crate) subject_id: SubjectId,
    pub(crate) provider: String,
    pub(crate) provider_sid: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) auth_time: Option<i64>,
    pub(crate) acr: Option<String>,
    /// Absent from what an earlier release kept of a sign-in under way.
    #[serde(default)]
    pub(crate) amr: Vec<String>,
    pub(crate) tokens: ProviderTokens,
}

impl Vouched {
    pub(crate) fn session(&self, app: &Inner, client: ClientKind, source: String) -> NewSession {
        let lifetimes = &app.parts.lifetimes;
        let absolute = match self.tokens.refresh {
            Some(_) => lifetimes.absolute,
            None => lifetimes.absolute.min(lifetimes.absolute_without_refresh),
        };
        NewSession {
            subject_id: self.subject_id.clone(),
            provider: self.provider.clone(),
            provider_sid: self.provider_sid.clone(),
            identity: self.identity.clone(),
            client,
            source,
            auth_time: self.auth_time,
            acr: self.acr.clone(),
            tokens: self.tokens.clone(),
            first_use: match client {
                ClientKind::Cli => lifetimes.code,
                ClientKind::Device => lifetimes.device,
                ClientKind::Browser => lifetimes.idle,
            },
            idle: lifetimes.idle,
            absolute,
        }
    }
}
