//! Which issuers can name the people of others, and whether that was said in words (`identity.dangerSharedNames`).

use std::collections::BTreeSet;

use oidc::issuer::{NameSpace, Reach};

use super::types::{Config, Identity, Listener, Provider};

/// An issuer and whose names it can give.
pub(crate) struct Named {
    /// Its URL; of client certificates `certificates:` and the listener's name.
    pub(crate) url: String,
    /// Who vouches: two listeners with the same authorities speak of the same people.
    pub(crate) vouches: String,
    /// Its names.
    pub(crate) names: NameSpace,
}

/// A finding about one issuer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It can name others' people or groups, and nobody said that it may.
    Unsaid {
        /// Its URL.
        issuer: String,
        /// The first whom it reaches.
        other: String,
        /// What of that one's.
        reach: Reach,
    },
    /// It is listed and reaches nobody.
    Needless {
        /// Its URL as it is listed.
        issuer: String,
    },
}

impl Provider {
    /// The provider as an issuer of names.
    pub(crate) fn named(&self) -> Named {
        Named {
            url: self.issuer.clone(),
            vouches: self.issuer.clone(),
            names: NameSpace {
                users: self.claims.user_prefix.clone(),
                groups: Some(self.claims.group_prefix.clone()),
            },
        }
    }
}

/// The client certificates of all listeners, as issuers of names: a common name is a user as a claim is.
pub(crate) fn certificates(listeners: &[Listener]) -> Vec<Named> {
    let named = |listener: &Listener| {
        let clients = listener.client_certificates.as_ref()?;
        Some(Named {
            url: certificates_of(listener),
            vouches: clients.ca_file.clone(),
            names: NameSpace {
                users: clients.user_prefix.clone(),
                groups: Some(clients.group_prefix.clone()),
            },
        })
    };
    listeners.iter().filter_map(named).collect()
}

/// How the client certificates of a listener are named among issuers.
pub(crate) fn certificates_of(listener: &Listener) -> String {
    format!("certificates:{}", listener.name)
}

impl Config {
    /// Providers and client certificates.
    pub(crate) fn named(&self) -> Vec<Named> {
        let providers = self.identity.providers.iter().map(Provider::named);
        providers.chain(certificates(&self.listeners)).collect()
    }
}

/// Everything that is wrong between `issuers` and what `identity` says about them.
pub(crate) fn findings(identity: &Identity, issuers: &[Named]) -> Vec<Finding> {
    let said: BTreeSet<&str> = identity.danger_shared_names.iter().map(String::as_str).collect();
    let reached = |of: &Named| {
        let others = issuers.iter().filter(|other| other.vouches != of.vouches);
        others
            .filter_map(|other| Some((other.url.clone(), of.names.reaches(&other.names)?)))
            .next()
    };
    let mut found = Vec::new();
    for issuer in issuers.iter().filter(|issuer| !said.contains(issuer.url.as_str())) {
        if let Some((other, reach)) = reached(issuer) {
            let issuer = issuer.url.clone();
            found.push(Finding::Unsaid { issuer, other, reach });
        }
    }
    for listed in &identity.danger_shared_names {
        let known = issuers.iter().find(|issuer| issuer.url == *listed);
        if known.is_none_or(|known| reached(known).is_none()) {
            let issuer = listed.clone();
            found.push(Finding::Needless { issuer });
        }
    }
    found
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsaid { issuer, other, reach } => {
                write!(f, "the issuer `{issuer}` can name {reach} of the issuer `{other}`")
            }
            Self::Needless { issuer } => write!(f, "no issuer `{issuer}` names others' people or groups"),
        }
    }
}

impl Finding {
    /// What to do.
    pub(crate) const fn help(&self) -> &'static str {
        match self {
            Self::Unsaid { .. } => {
                "give each its own prefixes of users and groups, or list it in `identity.dangerSharedNames` if a name shall mean the same person at both"
            }
            Self::Needless { .. } => {
                "remove it from `identity.dangerSharedNames`, or write the issuer's URL byte for byte"
            }
        }
    }
}
