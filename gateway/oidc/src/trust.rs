//! What is trusted at one point in time: the snapshot that the feeds make and the request path verifies with.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::gateway::GatewayVerifier;
use crate::{Discovery, Issuers, KeySet};

/// Issuers, their keys as last fetched, and the gateway's own. Immutable; a change is a new one with another generation.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Who may vouch for people.
    pub issuers: Arc<Issuers>,
    /// Key sets by issuer URL; an issuer without one is not ready.
    pub keys: BTreeMap<Arc<str>, Arc<KeySet>>,
    /// Discovery documents by issuer URL.
    pub discoveries: BTreeMap<Arc<str>, Arc<Discovery>>,
    /// The gateway's own tokens.
    pub gateway: Arc<GatewayVerifier>,
    /// Another number whenever any key or issuer changed: results under the old one count no longer.
    pub generation: u64,
}
