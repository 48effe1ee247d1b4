//! One cluster's part of the composition: how it is reached, what is known of it, who decides, who asks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::decide::Authorization;
use anyhow::Context as _;
use feeds::account_issuer::AccountIssuer;
use feeds::cluster::ClusterView;
use feeds::observer::Heard;
use feeds::rules::RuleFiles;
use model::ask::{AccessAnswer, PodAnswer, TokenAnswer, TokenQuestion};
use model::cluster::ClusterId;
use proxy::ask::Ask;
use proxy::decision;
use proxy::observe::Requests;
use proxy::request::ClusterGate;
use proxy::upstream::{Limits as PoolLimits, Pool, UpstreamMetrics};
use reach::{Authorities, ClusterConnection, ClusterSource, CredentialSource, Explicit, InCluster, Tuning};
use tokio::sync::watch;

use super::account_issuers;
use super::metrics::PolicyMetrics;
use super::outline::PolicySet;
use super::policy::compile;
use crate::config;

/// How long the cluster may take to answer a review.
const REVIEW_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to say where a pod runs: the end of a short session waits for it.
const NODE_WITHIN: Duration = Duration::from_secs(2);
/// Reviews that may wait for the cluster; more are answered "unknown".
const REVIEWS_WAITING: usize = 1_024;
/// Without event, bookmark or listing for so long, what the cluster grants is not believed.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(90);
/// Verdicts that are remembered for one cluster.
const REMEMBERED: usize = 200_000;

/// What the other stations need of a cluster.
pub(super) struct Joined {
    pub(super) id: ClusterId,
    pub(super) gate: Arc<ClusterGate>,
    pub(super) connection: Arc<ClusterConnection>,
    pub(super) tokens: Option<Ask<TokenQuestion, TokenAnswer>>,
    /// What the rules consist of, for the record of their changes.
    pub(super) policies: watch::Receiver<Arc<PolicySet>>,
    pub(super) view: watch::Receiver<Arc<ClusterView>>,
    /// When each kind was last heard of.
    pub(super) heard: Heard,
    /// Who issues its ServiceAccount tokens, as it publishes it.
    pub(super) account_issuer: watch::Receiver<AccountIssuer>,
    /// The same is written in the configuration or in the gateway's own token for it.
    pub(super) says_account_issuer: bool,
}

/// Joins a cluster's feeds and stations and starts what keeps them fresh. Within a tokio runtime.
pub(super) fn join(
    cluster: &config::Cluster,
    limits: &config::Limits,
    accept_accounts: bool,
    files: &watch::Receiver<Arc<RuleFiles>>,
    metrics: &UpstreamMetrics,
    policy: &PolicyMetrics,
    requests: &Requests,
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
    let confirm = confirm.lingering(decision::CONFIRMING);
    tokio::spawn(feeds::answers::access(client.clone(), asked));
    let (pods, asked) = Ask::new(REVIEWS_WAITING, NODE_WITHIN, |why| PodAnswer::Unknown { why });
    tokio::spawn(feeds::answers::pods(client.clone(), asked));
    let (publish, account_issuer) = watch::channel(AccountIssuer::default());
    tokio::spawn(feeds::account_issuer::keep_fresh(client.clone(), publish));
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
    let series = requests.of(&id);
    let decision = decision::Station::new(
        settings,
        compile(id.clone(), policy.clone(), view.clone(), files.clone(), publish),
        Arc::new({
            let heard = heard.clone();
            move || heard.last()
        }),
        confirm,
    );
    let pool = Pool::new(Arc::clone(&connection), PoolLimits::default(), metrics.clone());
    Ok(Joined {
        id,
        connection,
        gate: Arc::new(ClusterGate {
            pool,
            decision: Arc::new(decision),
            pods,
            series,
        }),
        tokens,
        policies,
        view,
        heard,
        account_issuer,
        says_account_issuer: !account_issuers::of_cluster(cluster).is_empty(),
    })
}

pub(super) fn source(cluster: &config::Cluster) -> anyhow::Result<ClusterSource> {
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
