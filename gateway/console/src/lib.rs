//! The gateway host: sign-in, tokens, device flow, sign-out.
//!
//! An axum router over values of crate `oidc` and the store of crate `state`. It holds no state of its own but rate
//! limits. What it does with the outside goes through traits that the composition root fills: [`Fetch`] (requests to
//! providers), [`Recorder`] (the ledger), [`Issuers`] (providers and their keys), [`Workloads`] (services that act for people).
//!
//! Who trusts whom here:
//! - The browser is bound to its sign-in by `state` (the store, once), a cookie, `nonce` and PKCE (`oidc`).
//! - Our command line is a public client: loopback redirect, PKCE always, codes once and within a minute.
//! - Provider tokens never leave this host; clients hold a token of ours for minutes and a handle that rotates.
//!
//! Invariants: a sign-in that is not recorded did not happen; an end of access is in the store before anybody is told;
//! every page is escaped, without script, uncached and unframeable; each table that strangers can fill is bounded.
//!
//! [`api`] is the gateway's own API: audit records, `can`, `why`. It and the single-page console are merged in by
//! [`hosts`]'s second argument.
//!
//! On the hosts of published services it answers for paths of ours: there a sign-in arrives, and from there one leaves. Its cookie there
//! is another one for each host, and no service is sent it.

pub mod api;

mod answer;
mod app;
mod at_service;
mod caller;
mod cookie;
mod device;
mod discovery;
mod door;
mod exchange;
mod fetch;
mod form;
mod limit;
mod logout;
mod loopback;
mod minting;
mod named;
mod page;
mod reason;
mod record;
mod renewal;
mod settings;
mod signin;
mod token;
mod upstream;
mod userinfo;
mod whole;
mod workloads;

#[cfg(test)]
mod tests;

pub use app::{AtHost, Hosts, Parts, hosts};
pub use discovery::gatescribe_document;
pub use fetch::{Fetch, FetchError, FetchSetupError, HyperFetch};
pub use minting::{API_AUDIENCE, GatewayKeys};
pub use page::{ServiceRefusal, SignedIn, service_refusal_page, signed_in_page};
pub use record::{NotRecorded, Peer, Recorder, SessionEvent, What, Who};
pub use renewal::{Renewals, Word};
pub use settings::{ClusterEntry, GatewayUrl, Lifetimes, SettingsError};
pub use signin::fuzz_return_address;
pub use upstream::{Issuers, Provider};
pub use workloads::{ActsFor, Leave, NoLeave, NotProved, Workloads};
