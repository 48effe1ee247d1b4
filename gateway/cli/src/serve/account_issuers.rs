//! Issuers of the clusters' own ServiceAccount tokens: none of them may vouch for people (O-24). Such a token
//! would be believed without TokenReview, and a deleted account's would be good until it expires.
//!
//! They are known from the configuration, from the gateway's own tokens, and from what the API server publishes. What is
//! known at the start ends it; what is learnt later makes the issuer believed no more. Not here: asking the cluster
//! (`feeds::account_issuer`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use feeds::account_issuer::AccountIssuer;
use feeds::issuers::IssuerFeed;
use model::cluster::ClusterId;
use proxy::identity::AccountIssuers;
use serde_json::Value;
use tokio::sync::watch;

use super::admin::Health;
use super::cluster::Joined;
use crate::config;

/// How long a start waits for what the clusters publish. Whoever is silent is heard later.
const WITHIN: Duration = Duration::from_secs(3);

/// Which issuer belongs to which cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<(Arc<str>, String)>);

/// A provider whose issuer is a cluster's.
#[derive(Debug, thiserror::Error)]
#[error(
    "`identity.providers[{place}].issuer` is `{issuer}`, the issuer of the ServiceAccount tokens of cluster `{cluster}`: \
     remove the provider"
)]
pub(crate) struct Refused {
    /// Its place in `identity.providers`.
    pub(crate) place: usize,
    issuer: String,
    /// Whose it is.
    pub(crate) cluster: String,
}

impl Known {
    /// What configuration and files say, without any cluster's answer.
    pub(super) fn said(clusters: &[config::Cluster]) -> Self {
        let mut known = Self::default();
        for cluster in clusters {
            for issuer in of_cluster(cluster) {
                known.add(issuer, &cluster.name);
            }
        }
        known
    }

    /// With what the clusters publish, as far as they answer in time.
    pub(super) async fn learnt(clusters: &[config::Cluster], joined: &[Joined]) -> Self {
        let mut known = Self::said(clusters);
        let answers = joined.iter().map(|joined| heard(joined.account_issuer.clone()));
        for (joined, answer) in joined.iter().zip(futures::future::join_all(answers).await) {
            match answer.known {
                Some(issuer) => known.add(issuer, joined.id.as_str()),
                None if known.has_cluster(joined.id.as_str()) => {}
                None => tracing::warn!(
                    cluster = joined.id.as_str(),
                    why = answer.trouble.as_deref().unwrap_or("no answer yet"),
                    "who issues this cluster's ServiceAccount tokens is not known yet: write `serviceAccountIssuers` if it stays so"
                ),
            }
        }
        known
    }

    pub(super) fn add(&mut self, issuer: Arc<str>, cluster: &str) {
        self.0.push((issuer, cluster.to_owned()));
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.0.iter().any(|(_, cluster)| cluster == name)
    }

    /// All of them, for whoever reads issuers from another file.
    pub(super) fn urls(&self) -> Vec<&str> {
        self.0.iter().map(|(issuer, _)| &**issuer).collect()
    }

    /// Refuses the first provider that is a cluster's.
    pub(super) fn check(&self, providers: &[config::Provider]) -> Result<(), Refused> {
        for (place, provider) in providers.iter().enumerate() {
            if let Some((_, cluster)) = self.0.iter().find(|(issuer, _)| **issuer == *provider.issuer) {
                return Err(Refused {
                    place,
                    issuer: provider.issuer.clone(),
                    cluster: cluster.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The same for whoever has a token in hand: of which cluster an account is.
#[derive(Debug)]
pub(super) struct OfClusters(Vec<OfCluster>);

#[derive(Debug)]
struct OfCluster {
    cluster: ClusterId,
    /// As the configuration and the gateway's own tokens say.
    written: Vec<Arc<str>>,
    learnt: watch::Receiver<AccountIssuer>,
}

impl OfClusters {
    pub(super) fn new(configured: &[config::Cluster], joined: &[Joined]) -> Self {
        let of = joined.iter().map(|joined| {
            let written = configured.iter().find(|written| written.name == joined.id.as_str());
            OfCluster {
                cluster: joined.id.clone(),
                written: written.map(of_cluster).unwrap_or_default(),
                learnt: joined.account_issuer.clone(),
            }
        });
        Self(of.collect())
    }
}

impl AccountIssuers for OfClusters {
    /// What is written wins: a cluster that publishes another one's issuer would be shown that one's tokens.
    fn issues(&self, cluster: &ClusterId, issuer: &str) -> bool {
        let is_written = |one: &OfCluster| one.written.iter().any(|written| **written == *issuer);
        let somebody_wrote_it = self.0.iter().any(is_written);
        let of = self.0.iter().find(|one| one.cluster == *cluster);
        of.is_some_and(|one| {
            let is_learnt = || one.learnt.borrow().known.as_deref() == Some(issuer);
            is_written(one) || (!somebody_wrote_it && is_learnt())
        })
    }
}

/// The first answer, or what there is when none came in time.
async fn heard(mut state: watch::Receiver<AccountIssuer>) -> AccountIssuer {
    let answered = state.wait_for(|state| *state != AccountIssuer::default());
    if let Ok(Ok(state)) = tokio::time::timeout(WITHIN, answered).await {
        return state.clone();
    }
    AccountIssuer::default()
}

/// What is written of one cluster: in the configuration, and in the gateway's own tokens for it.
pub(super) fn of_cluster(cluster: &config::Cluster) -> Vec<Arc<str>> {
    let credentials = [&cluster.observer, &cluster.impersonator];
    let files = credentials
        .into_iter()
        .flatten()
        .filter_map(|credential| credential.token_file.as_ref());
    let own = files.filter_map(|file| issuer_of(&std::fs::read_to_string(file).ok()?));
    let written = cluster
        .service_account_issuers
        .iter()
        .map(|issuer| issuer.as_str().into());
    written.chain(own).collect()
}

/// The issuer of a ServiceAccount's token; nothing is verified. Another kind of token says nothing about the cluster.
fn issuer_of(token: &str) -> Option<Arc<str>> {
    let claims = URL_SAFE_NO_PAD.decode(token.trim().split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let subject = claims.get("sub")?.as_str()?;
    let issuer = claims.get("iss")?.as_str()?;
    (subject.starts_with("system:serviceaccount:") && !issuer.is_empty()).then(|| issuer.into())
}

/// Keeps looking: an issuer of people that turns out to be a cluster's is believed no more.
pub(super) fn disown_later(clusters: &[Joined], feed: &Arc<IssuerFeed>) {
    for joined in clusters {
        let (state, feed) = (joined.account_issuer.clone(), Arc::clone(feed));
        tokio::spawn(follow(joined.id.to_string(), state, feed));
    }
}

async fn follow(cluster: String, mut state: watch::Receiver<AccountIssuer>, feed: Arc<IssuerFeed>) {
    loop {
        let known = state.borrow_and_update().known.clone();
        if let Some(issuer) = known {
            let why = format!(
                "it is the issuer of the ServiceAccount tokens of cluster `{cluster}`: no token of it is believed as a person's"
            );
            if feed.disown(&issuer, &why) {
                tracing::error!(
                    issuer = &*issuer,
                    cluster,
                    "an issuer of people is a cluster's own: no token of it is believed any more"
                );
            }
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Whether it is known, for `/readyz`.
pub(super) fn health(state: &AccountIssuer, is_said: bool) -> Health {
    if is_said || state.known.is_some() {
        return Health::Good;
    }
    let why = state.trouble.as_deref().unwrap_or("no answer yet");
    Health::But(format!(
        "not known, so that an issuer of people could be it: {why}; write `clusters[].serviceAccountIssuers`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn only_a_service_accounts_token_says_who_the_clusters_issuer_is() {
        let account = r#"{"iss":"https://cluster.example","sub":"system:serviceaccount:gatescribe:observer"}"#;
        assert_eq!(issuer_of(&token(account)).as_deref(), Some("https://cluster.example"));
        for other in [
            r#"{"iss":"https://people.example","sub":"alice"}"#,
            r#"{"iss":"","sub":"system:serviceaccount:a:b"}"#,
            r#"{"sub":"system:serviceaccount:a:b"}"#,
            "[]",
        ] {
            assert_eq!(issuer_of(&token(other)), None, "{other}");
        }
        assert_eq!(issuer_of("opaque"), None);
    }

    #[test]
    fn an_issuer_that_is_written_of_one_cluster_is_no_other_ones_whatever_that_publishes() {
        let of = |cluster: &str, written: &[&str], learnt: Option<&str>| OfCluster {
            cluster: ClusterId::new(cluster).unwrap(),
            written: written.iter().map(|issuer| (*issuer).into()).collect(),
            learnt: watch::channel(AccountIssuer {
                known: learnt.map(Into::into),
                trouble: None,
            })
            .1,
        };
        let (prod, dev) = (ClusterId::new("prod").unwrap(), ClusterId::new("dev").unwrap());
        let issues = |all: &OfClusters, issuer: &str| [&prod, &dev].map(|cluster| all.issues(cluster, issuer));
        let apart = OfClusters(vec![
            of("prod", &["https://prod.example"], None),
            of("dev", &[], Some("https://dev.example")),
        ]);
        assert_eq!(issues(&apart, "https://prod.example"), [true, false]);
        assert_eq!(issues(&apart, "https://dev.example"), [false, true]);
        assert_eq!(issues(&apart, "https://other.example"), [false, false]);
        let claimed = OfClusters(vec![
            of("prod", &["https://prod.example"], None),
            of("dev", &[], Some("https://prod.example")),
        ]);
        assert_eq!(issues(&claimed, "https://prod.example"), [true, false]);
        let same = Some("https://kubernetes.default.svc");
        let alike = OfClusters(vec![of("prod", &[], same), of("dev", &[], same)]);
        assert_eq!(issues(&alike, "https://kubernetes.default.svc"), [true, true]);
    }

    #[test]
    fn a_provider_that_is_a_clusters_issuer_is_refused_with_its_place_and_no_other() {
        let providers: Vec<config::Provider> = serde_json::from_value(serde_json::json!([
            { "name": "corp", "issuer": "https://people.example", "clientId": "us" },
            { "name": "odd", "issuer": "https://cluster.example", "clientId": "us" },
        ]))
        .unwrap();
        let mut known = Known::default();
        known.check(&providers).unwrap();
        known.add("https://cluster.example".into(), "prod");
        let refused = known.check(&providers).unwrap_err();
        assert_eq!((refused.place, refused.cluster.as_str()), (1, "prod"));
        // Byte for byte, as tokens are compared.
        let mut near = Known::default();
        near.add("https://cluster.example/".into(), "prod");
        near.check(&providers).unwrap();
    }

    #[tokio::test]
    async fn an_issuer_that_turns_out_to_be_a_clusters_while_the_gateway_runs_is_believed_no_more() {
        let provider = |name: &str| oidc::issuer::Provider {
            name: name.to_owned(),
            issuer: format!("https://{name}.example"),
            ..serde_json::from_value(
                serde_json::json!({ "name": name, "issuer": "https://x.example", "clientID": "us" }),
            )
            .unwrap()
        };
        let issuers = ["people", "cluster"].map(|name| provider(name).compile().unwrap());
        let issuers = Arc::new(oidc::Issuers::new(issuers).unwrap());
        let fetch: feeds::issuers::Fetch = Arc::new(|_| Box::pin(async { Err("not asked".to_owned()) }));
        let sources = issuers.iter().map(|issuer| feeds::issuers::IssuerSource {
            issuer: Arc::clone(issuer),
            fetch: Arc::clone(&fetch),
        });
        let sources = sources.collect();
        let (key, _) = oidc::gateway::SigningKey::generate().unwrap();
        let own = oidc::gateway::SigningKey::key_set([&key]).unwrap();
        let own = oidc::gateway::GatewayVerifier::new("https://gate.example", own, Duration::ZERO);
        let (feed, mut trust) = IssuerFeed::new(issuers, sources, Arc::new(own));
        let (publish, state) = watch::channel(AccountIssuer::default());
        tokio::spawn(follow("prod".to_owned(), state, Arc::clone(&feed)));

        publish.send_replace(AccountIssuer {
            known: Some("https://cluster.example".into()),
            trouble: None,
        });
        let left = trust.wait_for(|trust| trust.issuers.iter().count() == 1).await.unwrap();
        assert!(left.issuers.find("https://people.example").is_some());
        let why = feed.trouble("https://cluster.example").unwrap();
        assert!(why.contains("cluster `prod`"), "{why}");
    }

    #[test]
    fn what_is_not_known_is_said_and_serves() {
        let silent = AccountIssuer {
            known: None,
            trouble: Some("403".into()),
        };
        assert!(matches!(health(&silent, false), Health::But(text) if text.contains("403")));
        assert_eq!(health(&silent, true), Health::Good);
    }
}
