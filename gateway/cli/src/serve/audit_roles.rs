//! Audit roles of the configuration, as the gateway's API knows them.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use console::api::RoleOf;
use search::{Hides, May, Pseudonyms};

use crate::config::{AuditHidden, AuditMay, AuditRole};

/// # Errors
/// There is no randomness to be had.
pub(super) fn of(role: &AuditRole) -> anyhow::Result<RoleOf> {
    // Of this start: who reads without names has nothing that goes beyond it.
    let mut key = [0; 32];
    if SystemRandom::new().fill(&mut key).is_err() {
        anyhow::bail!("the system gives no random bytes");
    }
    let hides = role.hide.iter().map(|one| match one {
        AuditHidden::People => Hides::People,
        AuditHidden::Addresses => Hides::Addresses,
        AuditHidden::Agents => Hides::Agents,
        AuditHidden::Texts => Hides::Texts,
    });
    let may = role.may.iter().map(|one| match one {
        AuditMay::Details => May::Details,
        AuditMay::Receipts => May::Receipts,
        AuditMay::Recordings => May::Recordings,
    });
    Ok(RoleOf {
        groups: role.groups.clone(),
        role: Arc::new(search::AuditRole {
            name: role.name.clone(),
            clusters: role.clusters.clone(),
            namespaces: role.namespaces.clone(),
            hides: hides.collect(),
            may: may.collect(),
            pseudonyms: Pseudonyms::new(key),
        }),
    })
}
