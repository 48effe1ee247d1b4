//! Audit roles of the configuration, as the gateway's API knows them.

use std::sync::Arc;

use console::api::RoleOf;
use search::{Hides, May};

use crate::config::{AuditHidden, AuditMay, AuditRole};

pub(super) fn of(role: &AuditRole) -> RoleOf {
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
    RoleOf {
        groups: role.groups.clone(),
        role: Arc::new(search::AuditRole {
            name: role.name.clone(),
            clusters: role.clusters.clone(),
            namespaces: role.namespaces.clone(),
            hides: hides.collect(),
            may: may.collect(),
        }),
    }
}
