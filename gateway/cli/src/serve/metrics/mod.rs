//! What only the composition root can count: policy in effect and reloads of the configuration.
//!
//! Labels: cluster names come from the configuration, all else from closed enums.

mod parts;
mod process;

use access::rule::{Consequence, LoadProblem};
use model::cluster::ClusterId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(super) use self::parts::{Parts, Watched};
pub(super) use self::process::Process;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCluster {
    cluster: String,
}

/// Policy in effect. Cheap to clone, shared.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicyMetrics {
    rules: Family<ByCluster, Gauge>,
    granting_nothing: Family<ByCluster, Gauge>,
    forbidding: Family<ByCluster, Gauge>,
}

impl PolicyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_policy_access_rules",
            "Access rules in effect, of files and of the cluster",
            self.rules.clone(),
        );
        registry.register(
            "gateway_policy_invalid_granting_nothing",
            "Mistakes in access rules of the cluster that therefore grant nothing",
            self.granting_nothing.clone(),
        );
        registry.register(
            "gateway_policy_invalid_forbidding",
            "Mistakes in forbids of the cluster that therefore forbid all that their readable part reaches",
            self.forbidding.clone(),
        );
    }

    pub(super) fn in_effect(&self, cluster: &ClusterId, rules: usize, problems: &[LoadProblem]) {
        let label = ByCluster {
            cluster: cluster.to_string(),
        };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let with = |effect| count(problems.iter().filter(|problem| problem.effect == effect).count());
        self.rules.get_or_create(&label).set(count(rules));
        self.granting_nothing
            .get_or_create(&label)
            .set(with(Consequence::GrantsNothing).saturating_add(with(Consequence::Demands)));
        self.forbidding.get_or_create(&label).set(with(Consequence::Forbids));
    }
}

/// Reloads of the configuration. Cheap to clone, shared.
#[derive(Clone, Debug, Default)]
pub(super) struct ReloadMetrics {
    good: Gauge,
    refused: Counter,
    waiting: Gauge,
}

impl ReloadMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_config_file_in_force",
            "1 when the configuration file as it is now is in force, 0 when it has mistakes and an older one is",
            self.good.clone(),
        );
        registry.register(
            "gateway_config_reloads_refused",
            "Changes of the configuration file that were refused as a whole",
            self.refused.clone(),
        );
        registry.register(
            "gateway_config_changes_waiting",
            "Changed keys of the configuration file that need a restart",
            self.waiting.clone(),
        );
    }

    /// The file is in force, but for so many keys.
    pub(super) fn in_force(&self, waiting: usize) {
        self.good.set(1);
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self) {
        self.good.set(0);
        self.refused.inc();
    }
}
