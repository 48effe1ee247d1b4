//! One cluster's part of the composition: how it is reached, what is known of it, who decides, who asks it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::decide::Authorization;
use access::rbac::Snapshot;
use access::rule::{Consequence, LoadProblem, RuleSet, load_objects};
use anyhow::Context as _;
use feeds::cluster::ClusterView;
use feeds::observer::Heard;
use feeds::rules::RuleFiles;
use model::ask::{AccessAnswer, TokenAnswer, TokenQuestion};
use model::cluster::ClusterId;
use proxy::ask::Ask;
use proxy::decision::{self, Rules};
use proxy::request::ClusterGate;
use proxy::upstream::{Limits as PoolLimits, Pool, UpstreamMetrics};
use reach::{Authorities, ClusterConnection, ClusterSource, CredentialSource, Explicit, InCluster, Tuning};
use tokio::sync::watch;

use super::metrics::PolicyMetrics;
use super::recorder::{PolicySet, short_digest};
use crate::config;

/// How long the cluster may take to answer a review.
const REVIEW_WITHIN: Duration = Duration::from_secs(5);
/// Reviews that may wait for the cluster; more are answered "unknown".
const REVIEWS_WAITING: usize = 1_024;
/// Without event, bookmark or listing for so long, what the cluster grants is not believed (DESIGN, "Policy").
const STALE_AFTER: Duration = Duration::from_secs(90);
/// Verdicts that are remembered for one cluster.
const REMEMBERED: usize = 200_000;

/// What the other stations need of a cluster.
pub(super) struct Joined {
    pub(super) id: ClusterId,
    pub(super) gate: Arc<ClusterGate>,
    pub(super) tokens: Option<Ask<TokenQuestion, TokenAnswer>>,
    /// What the rules consist of, for the record of their changes.
    pub(super) policies: watch::Receiver<Arc<PolicySet>>,
    pub(super) view: watch::Receiver<Arc<ClusterView>>,
}

/// Joins a cluster's feeds and stations and starts what keeps them fresh. Within a tokio runtime.
pub(super) fn join(
    cluster: &config::Cluster,
    limits: &config::Limits,
    accept_accounts: bool,
    files: &watch::Receiver<Arc<RuleFiles>>,
    metrics: &UpstreamMetrics,
    policy: &PolicyMetrics,
) -> anyhow::Result<Joined> {
    let id = ClusterId::new(&cluster.name)?;
    let connection = ClusterConnection::new(id.clone(), source(cluster)?, Tuning::default());
    let connection = Arc::new(connection.with_context(|| format!("cluster `{id}`"))?);
    tokio::spawn(Arc::clone(&connection).keep_fresh());
    let heard = Heard::new(Arc::new(super::now));
    let client = feeds::observer::client(&connection);
    let (views, view) = feeds::cluster::channel(id.clone());
    tokio::spawn(feeds::cluster::observe(Arc::clone(&connection), heard.clone(), views));
    let (confirm, asked) = Ask::new(REVIEWS_WAITING, REVIEW_WITHIN, |why| AccessAnswer::Unknown { why });
    tokio::spawn(feeds::answers::access(client.clone(), asked));
    let tokens = accept_accounts.then(|| {
        let (ask, asked) = Ask::new(REVIEWS_WAITING, REVIEW_WITHIN, |why| TokenAnswer::Unknown { why });
        tokio::spawn(feeds::answers::tokens(client, asked));
        ask
    });
    let settings = decision::Settings {
        cluster: id.clone(),
        authorization: match cluster.authorization {
            config::Authorization::Confirm => Authorization::Confirm,
            config::Authorization::Enforce => Authorization::Enforce,
            config::Authorization::Observe => Authorization::Observe,
        },
        max_groups: usize::try_from(limits.groups).unwrap_or(64),
        stale_after: STALE_AFTER,
        cache_entries: REMEMBERED,
    };
    let (publish, policies) = watch::channel(Arc::default());
    let decision = decision::Station::new(
        settings,
        compile(id.clone(), policy.clone(), view.clone(), files.clone(), publish),
        Arc::new(move || heard.last()),
        confirm,
    );
    let pool = Pool::new(connection, PoolLimits::default(), metrics.clone());
    Ok(Joined {
        id,
        gate: Arc::new(ClusterGate {
            pool,
            decision: Arc::new(decision),
        }),
        tokens,
        policies,
        view,
    })
}

fn source(cluster: &config::Cluster) -> anyhow::Result<ClusterSource> {
    let observer = cluster.observer.as_ref().map(credential).transpose()?;
    if cluster.in_cluster {
        return in_cluster(cluster);
    }
    let impersonator = cluster.impersonator.as_ref().map(credential).transpose()?;
    let (Some(impersonator), Some(observer)) = (impersonator, observer) else {
        anyhow::bail!(
            "cluster `{}` needs both credentials, `impersonator` and `observer`",
            cluster.name
        );
    };
    Ok(ClusterSource::Explicit(Explicit {
        servers: cluster.servers.clone(),
        authorities: cluster
            .ca_file
            .as_ref()
            .map_or(Authorities::System, |file| Authorities::File(file.into())),
        tls_server_name: cluster.tls_server_name.clone(),
        impersonator,
        observer,
    }))
}

fn in_cluster(cluster: &config::Cluster) -> anyhow::Result<ClusterSource> {
    const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("`inCluster: true`, but `{name}` is not set: this is no pod"))
    };
    let token = |credential: Option<&config::Credential>| {
        credential
            .and_then(|credential| credential.token_file.as_ref())
            .map(PathBuf::from)
    };
    let observer = token(cluster.observer.as_ref());
    Ok(ClusterSource::InCluster(InCluster {
        host: variable("KUBERNETES_SERVICE_HOST")?,
        port: variable("KUBERNETES_SERVICE_PORT")?
            .parse()
            .context("`KUBERNETES_SERVICE_PORT` is no port")?,
        ca_file: Path::new(ACCOUNT).join("ca.crt"),
        token_file: token(cluster.impersonator.as_ref()).unwrap_or_else(|| Path::new(ACCOUNT).join("token")),
        observer_token_file: observer.with_context(|| {
            format!(
                "cluster `{}`: `observer.tokenFile` is needed beside `inCluster`",
                cluster.name
            )
        })?,
    }))
}

fn credential(credential: &config::Credential) -> anyhow::Result<CredentialSource> {
    match (&credential.token_file, &credential.cert_file, &credential.key_file) {
        (Some(token), None, None) => Ok(CredentialSource::TokenFile(token.into())),
        (None, Some(certificate), Some(key)) => Ok(CredentialSource::CertificateFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        _ => anyhow::bail!("a credential is either `tokenFile`, or `certFile` with `keyFile`"),
    }
}

/// Compiles views and rule files into rules, off the request path, one after the other; a request sees the old ones until
/// the new ones are whole.
fn compile(
    cluster: ClusterId,
    policy: PolicyMetrics,
    mut view: watch::Receiver<Arc<ClusterView>>,
    mut files: watch::Receiver<Arc<RuleFiles>>,
    publish: watch::Sender<Arc<PolicySet>>,
) -> watch::Receiver<Arc<Rules>> {
    let nothing = Rules {
        snapshot: Snapshot::new(access::rbac::Objects::default()),
        namespaces: access::rule::NamespaceLabels::new(),
        rules: RuleSet::new(access::rule::Rules::default()),
        digest: "".into(),
        version: 0,
        complete: false,
    };
    let (compiled, rules) = watch::channel(Arc::new(nothing));
    tokio::spawn(async move {
        let mut version = 0_u64;
        let mut told = Vec::new();
        loop {
            version = version.wrapping_add(1);
            let (newest, newest_files) = (
                Arc::clone(&view.borrow_and_update()),
                Arc::clone(&files.borrow_and_update()),
            );
            let work = tokio::task::spawn_blocking(move || rules_of(&newest, &newest_files, version));
            match work.await {
                Ok((rules, set, problems)) => {
                    policy.in_effect(&cluster, rules.rules.rules().len(), &problems);
                    tell(&cluster, &problems, &mut told);
                    if rules.complete {
                        // Nobody writes them down in a run without a recorder.
                        let _ = publish.send(Arc::new(set));
                    }
                    if compiled.send(Arc::new(rules)).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::error!(error = %error, "rules could not be compiled; the old ones stay"),
            }
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                changed = files.changed() => if changed.is_err() { return },
            }
        }
    });
    rules
}

/// Says each invalid object once, and again when it has changed.
fn tell(cluster: &ClusterId, problems: &[LoadProblem], told: &mut Vec<LoadProblem>) {
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        let meaning = match problem.effect {
            Consequence::Forbids => "it forbids all that its readable part reaches",
            Consequence::GrantsNothing => "it grants nothing",
            Consequence::NothingLoaded => "nothing of it is loaded",
        };
        tracing::error!(
            cluster = %cluster,
            kind = problem.source,
            rule = problem.rule,
            problem = problem.what,
            meaning,
            "an access rule of the cluster is invalid"
        );
    }
    *told = problems.to_vec();
}

fn rules_of(view: &ClusterView, files: &RuleFiles, version: u64) -> (Rules, PolicySet, Vec<LoadProblem>) {
    let mut objects = access::rbac::Objects::clone(&view.objects);
    objects.roles.extend(files.policy.rbac.roles.iter().cloned());
    objects
        .cluster_roles
        .extend(files.policy.rbac.cluster_roles.iter().cloned());
    objects
        .role_bindings
        .extend(files.policy.rbac.role_bindings.iter().cloned());
    objects
        .cluster_role_bindings
        .extend(files.policy.rbac.cluster_role_bindings.iter().cloned());
    let (of_cluster, problems) = load_objects(view.access_rules.iter());
    let mut rules = files.policy.rules.clone();
    rules.extend(of_cluster);
    let all = serde_json::to_vec(&objects).unwrap_or_default();
    let own = serde_json::to_vec(&view.access_rules[..]).unwrap_or_default();
    let digest: Arc<str> = short_digest([all.as_slice(), files.digest.as_bytes(), own.as_slice()]).into();
    let set = PolicySet {
        digest: Arc::clone(&digest),
        objects: outline(&objects, files, &view.access_rules),
    };
    let rules = Rules {
        snapshot: Snapshot::new(objects),
        namespaces: view
            .namespaces
            .iter()
            .map(|namespace| (Arc::clone(&namespace.name), namespace.labels.clone()))
            .collect(),
        rules: RuleSet::new(rules),
        digest,
        version,
        complete: view.complete,
    };
    (rules, set, problems)
}

/// Each object by kind and name with the digest of its content; the rule files count as one.
fn outline(objects: &access::rbac::Objects, files: &RuleFiles, own: &[serde_json::Value]) -> BTreeMap<String, String> {
    fn entry(kind: &str, metadata: &access::rbac::Meta, object: &impl serde::Serialize) -> (String, String) {
        let name = match &metadata.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}", metadata.name),
            None => format!("{kind} {}", metadata.name),
        };
        (
            name,
            short_digest([serde_json::to_vec(object).unwrap_or_default().as_slice()]),
        )
    }
    let roles = [("Role", &objects.roles), ("ClusterRole", &objects.cluster_roles)];
    let bindings = [
        ("RoleBinding", &objects.role_bindings),
        ("ClusterRoleBinding", &objects.cluster_role_bindings),
    ];
    let roles = roles
        .iter()
        .flat_map(|(kind, all)| all.iter().map(move |role| entry(kind, &role.metadata, role)));
    let bindings = bindings
        .iter()
        .flat_map(|(kind, all)| all.iter().map(move |binding| entry(kind, &binding.metadata, binding)));
    let of_files = ("rule files".to_owned(), files.digest.clone());
    let own = own.iter().map(access_rule);
    roles
        .chain(bindings)
        .chain(own)
        .chain(std::iter::once(of_files))
        .collect()
}

/// An access rule of the cluster by kind and name with the digest of its content.
fn access_rule(rule: &serde_json::Value) -> (String, String) {
    let text = |pointer| rule.pointer(pointer).and_then(serde_json::Value::as_str);
    let (kind, name) = (
        text("/kind").unwrap_or_default(),
        text("/metadata/name").unwrap_or_default(),
    );
    let name = match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    (
        name,
        short_digest([serde_json::to_vec(rule).unwrap_or_default().as_slice()]),
    )
}
