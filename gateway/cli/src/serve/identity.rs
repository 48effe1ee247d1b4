//! Identity's part of the composition: issuers from the configuration, their keys from the feeds, and the console's view
//! of both.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use console::{Fetch, GatewayUrl, HyperFetch};
use feeds::issuers::{IssuerFeed, IssuerSource};
use futures::future::BoxFuture;
use model::ask::{CookieAnswer, CookieQuestion, KeyAnswer, KeyQuestion, SessionAnswer};
use model::chain::chain;
use oidc::login::{Client, ClientAuthentication};
use oidc::{Issuer, Issuers, Trust};
use proxy::ask::{Ask, Asked};
use proxy::identity::{Acceptance, CertificateNames, Questions, Station};
use tokio::sync::{mpsc, watch};

use super::account_issuers::{self, Known};
use super::cluster::Joined;
use crate::config::shared_names::{self, Named};
use crate::config::{self, Config};

/// A provider at which people sign in, without what only the network knows.
struct Configured {
    name: Arc<str>,
    issuer: Arc<Issuer>,
    client: Client,
    fetch: Arc<HyperFetch>,
}

/// Issuers and how each is asked.
pub(super) struct Sources {
    pub(super) issuers: Arc<Issuers>,
    pub(super) feed: Vec<IssuerSource>,
    providers: Vec<Configured>,
}

/// Whom the gateway believes, and how it learns their keys.
pub(super) struct Believed {
    pub(super) feed: Arc<IssuerFeed>,
    pub(super) trust: watch::Receiver<Arc<Trust>>,
    /// The console's view of them.
    pub(super) ready: Arc<Ready>,
}

impl Believed {
    /// Reads the issuers from the configuration and begins to keep their keys fresh; `own` accepts the gateway's tokens.
    ///
    /// # Errors
    /// An issuer cannot be believed as it is configured.
    pub(super) async fn begin(
        config: &Config,
        url: &GatewayUrl,
        own: Arc<oidc::gateway::GatewayVerifier>,
        clusters: &[Joined],
    ) -> anyhow::Result<Self> {
        let accounts = Known::learnt(&config.clusters, clusters).await;
        let sources = sources(config, url, &accounts)?;
        let (feed, trust) = IssuerFeed::new(Arc::clone(&sources.issuers), sources.feed.clone(), own);
        tokio::spawn(Arc::clone(&feed).keep_fresh());
        account_issuers::disown_later(clusters, &feed);
        let ready = Arc::new(Ready::new(sources, trust.clone(), &feed));
        Ok(Self { feed, trust, ready })
    }
}

/// Reads issuers and providers from the configuration. None may be one of `accounts`, the clusters' own.
pub(super) fn sources(config: &Config, url: &GatewayUrl, accounts: &Known) -> anyhow::Result<Sources> {
    let identity = &config.identity;
    accounts.check(&identity.providers)?;
    let mut compiled: Vec<Issuer> = Vec::new();
    let mut ways: HashMap<String, Arc<HyperFetch>> = HashMap::new();
    for provider in &identity.providers {
        let issuer = provider_issuer(provider)?;
        ways.insert(
            issuer.url().to_owned(),
            Arc::new(fetch(provider.ca_file.as_deref(), &provider.name)?),
        );
        compiled.push(issuer);
    }
    if let Some(path) = &identity.authentication_configuration_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `authenticationConfigurationFile` `{path}`"))?;
        let read = oidc::issuer::read_authentication_configuration(&text, &accounts.urls());
        for issuer in read
            .map_err(|problems| {
                anyhow::anyhow!(
                    "`{path}`:\n  {}",
                    problems
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("\n  ")
                )
            })?
            .issuers
        {
            let pem = issuer.certificate_authority().map(str::as_bytes);
            let way = HyperFetch::new(pem).with_context(|| format!("the authorities of issuer `{}`", issuer.url()))?;
            ways.insert(issuer.url().to_owned(), Arc::new(way));
            compiled.push(issuer);
        }
    }
    names_apart(identity, &compiled, shared_names::certificates(&config.listeners))?;
    let issuers =
        Arc::new(Issuers::new(compiled).map_err(|error| anyhow::anyhow!("two issuers have the URL `{}`", error.0))?);
    let mut feed = Vec::new();
    for issuer in issuers.iter() {
        let way = Arc::clone(ways.get(issuer.url()).context("an issuer without a way to it")?);
        feed.push(IssuerSource {
            issuer: Arc::clone(issuer),
            fetch: sender(way),
        });
    }
    let mut providers = Vec::new();
    for provider in &identity.providers {
        let issuer = Arc::clone(
            issuers
                .find(&provider.issuer)
                .context("a provider without its issuer")?,
        );
        let way = Arc::clone(ways.get(&provider.issuer).context("a provider without a way to it")?);
        providers.push(Configured {
            name: provider.name.as_str().into(),
            client: client(provider, url, identity.providers.len())?,
            issuer,
            fetch: way,
        });
    }
    Ok(Sources {
        issuers,
        feed,
        providers,
    })
}

/// All issuers together, those of the `AuthenticationConfiguration`, too, and `certificates` of clients.
fn names_apart(identity: &config::Identity, issuers: &[Issuer], certificates: Vec<Named>) -> anyhow::Result<()> {
    let named = issuers.iter().map(|issuer| Named {
        url: issuer.url().to_owned(),
        vouches: issuer.url().to_owned(),
        names: issuer.name_space(),
    });
    let named: Vec<Named> = named.chain(certificates).collect();
    let found = shared_names::findings(identity, &named);
    let told: Vec<String> = found
        .iter()
        .map(|finding| format!("{finding}: {}", finding.help()))
        .collect();
    anyhow::ensure!(told.is_empty(), "{}", told.join("\n  "));
    if !identity.danger_shared_names.is_empty() {
        let issuers = identity.danger_shared_names.join(", ");
        tracing::warn!(
            issuers,
            "these issuers may name people and groups of other issuers, as `dangerSharedNames` says"
        );
    }
    Ok(())
}

fn provider_issuer(provider: &config::Provider) -> anyhow::Result<Issuer> {
    let claims = &provider.claims;
    let mut audiences = vec![provider.client_id.clone()];
    audiences.extend(provider.accept_audiences.iter().cloned());
    let raw = serde_json::json!({
        "name": provider.name,
        "issuer": provider.issuer,
        "clientID": provider.client_id,
        "audiences": audiences,
        "usernameClaim": claims.user,
        "usernamePrefix": if claims.user_prefix.is_empty() { "-" } else { &claims.user_prefix },
        "groupsClaim": claims.groups,
        "groupsPrefix": claims.group_prefix,
        "requireVerifiedEmail": claims.require_verified_email,
    });
    let compiled: oidc::issuer::Provider =
        serde_json::from_value(raw).with_context(|| format!("provider `{}`", provider.name))?;
    compiled.compile().map_err(|problems| {
        let all = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n  ");
        anyhow::anyhow!("provider `{}`:\n  {all}", provider.name)
    })
}

fn client(provider: &config::Provider, url: &GatewayUrl, providers: usize) -> anyhow::Result<Client> {
    let authentication = match &provider.client_secret {
        Some(reference) => ClientAuthentication::Basic(config::secret(reference)?.into()),
        None => ClientAuthentication::None,
    };
    let path = if providers > 1 {
        format!("/callback/{}", provider.name)
    } else {
        "/callback".to_owned()
    };
    Ok(Client {
        issuer: provider.issuer.as_str().into(),
        client_id: provider.client_id.clone(),
        authentication,
        redirect_uri: url.at(&path),
        scopes: provider.scopes.clone(),
    })
}

fn fetch(ca_file: Option<&str>, name: &str) -> anyhow::Result<HyperFetch> {
    let pem = ca_file
        .map(std::fs::read)
        .transpose()
        .with_context(|| format!("provider `{name}`: cannot read `caFile`"))?;
    HyperFetch::new(pem.as_deref()).with_context(|| format!("provider `{name}`"))
}

fn sender(way: Arc<HyperFetch>) -> feeds::issuers::Fetch {
    Arc::new(
        move |request: http::Request<Bytes>| -> BoxFuture<'static, Result<http::Response<Bytes>, String>> {
            let way = Arc::clone(&way);
            Box::pin(async move { way.fetch(request).await.map_err(|error| chain(&error)) })
        },
    )
}

/// The identity station, and what is asked of others for it.
pub(super) struct Proving {
    pub(super) station: Arc<Station>,
    /// Rises with each end of access.
    pub(super) revisions: watch::Receiver<u64>,
    /// Whose cookies are: answered once the console is there.
    pub(super) cookies: mpsc::Receiver<Asked<CookieQuestion, CookieAnswer>>,
}

/// The station that proves callers, by these issuers and clusters.
pub(super) fn station(
    config: &Config,
    url: &GatewayUrl,
    store: &Arc<state::Store>,
    issuers: &Believed,
    clusters: &[Joined],
    locks: watch::Receiver<Arc<model::lock::Locks>>,
) -> anyhow::Result<Proving> {
    let (keys, asked) = super::key_asks();
    tokio::spawn(Arc::clone(&issuers.feed).answer(asked));
    let (sign_ins, asked) = Ask::new(1_024, Duration::from_secs(2), |why| SessionAnswer::Unknown { why });
    tokio::spawn(super::sessions::answer(Arc::clone(store), asked));
    let (ask_cookies, cookies) = Ask::new(1_024, Duration::from_secs(2), |why| CookieAnswer::Unknown { why });
    let tokens = clusters
        .iter()
        .filter_map(|joined| Some((joined.id.clone(), joined.tokens.clone()?)))
        .collect();
    let acceptance = Acceptance {
        service_account_audience: config
            .identity
            .service_accounts
            .audience
            .clone()
            .unwrap_or_else(|| url.as_str().to_owned()),
        cache_entries: 100_000,
        sign_in_check: super::SIGN_IN_CHECK,
        longest_sign_in: config.identity.session.max.duration(),
        certificates: config
            .listeners
            .iter()
            .filter_map(|listener| {
                let clients = listener.client_certificates.as_ref()?;
                let names = CertificateNames {
                    user_prefix: clients.user_prefix.clone(),
                    group_prefix: clients.group_prefix.clone(),
                };
                Some((listener.name.clone(), names))
            })
            .collect(),
        workloads: super::trust_domains::trust_domains(config),
    };
    let questions = Questions {
        keys,
        sign_ins,
        cookies: ask_cookies,
        tokens,
        issuers: Some(Arc::new(account_issuers::OfClusters::new(&config.clusters, clusters))),
    };
    let station = Station::new(issuers.trust.clone(), locks, questions, acceptance)?;
    let revoked = station.cache();
    let (raise, revisions) = watch::channel(store.revision());
    store.watch_revision(move |revision| {
        revoked.clear();
        raise.send_replace(revision);
    });
    Ok(Proving {
        station: Arc::new(station),
        revisions,
        cookies,
    })
}

/// What the console sees of the providers: those that are ready now.
pub(super) struct Ready {
    configured: Vec<Configured>,
    trust: watch::Receiver<Arc<Trust>>,
    keys: Ask<KeyQuestion, KeyAnswer>,
}

impl Ready {
    pub(super) fn new(sources: Sources, trust: watch::Receiver<Arc<Trust>>, feed: &Arc<IssuerFeed>) -> Self {
        let (keys, asked) = super::key_asks();
        tokio::spawn(Arc::clone(feed).answer(asked));
        Self {
            configured: sources.providers,
            trust,
            keys,
        }
    }
}

impl console::Issuers for Ready {
    fn providers(&self) -> Arc<[Arc<console::Provider>]> {
        let trust = Arc::clone(&self.trust.borrow());
        let ready = self.configured.iter().filter_map(|configured| {
            Some(Arc::new(console::Provider {
                name: Arc::clone(&configured.name),
                title: configured.name.to_string(),
                issuer: Arc::clone(&configured.issuer),
                client: configured.client.clone(),
                prompt: None,
                discovery: Arc::clone(trust.discoveries.get(configured.issuer.url())?),
                keys: Arc::clone(trust.keys.get(configured.issuer.url())?),
                fetch: Arc::clone(&configured.fetch) as Arc<dyn Fetch>,
            }))
        });
        ready.collect()
    }

    fn newer_keys<'a>(&'a self, issuer: &'a str, kid: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.keys
                .ask(KeyQuestion {
                    issuer: issuer.into(),
                    kid: kid.into(),
                })
                .await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: { url: https://ci.example, audiences: [gatescribe] }
  claimMappings:
    username: { expression: "USERNAME" }
    groups: { claim: groups, prefix: "ci:" }
"#;

    fn told(username: &str, danger: &[&str]) -> Vec<String> {
        let text = FILE.replace("USERNAME", username);
        let mut issuers = oidc::issuer::read_authentication_configuration(&text, &[])
            .unwrap()
            .issuers;
        let other = text
            .replace("https://ci.example", "https://other.example")
            .replace("USERNAME", "claims.sub");
        let other = other
            .replace(username, "'other:' + claims.sub")
            .replace("prefix: \"ci:\"", "prefix: \"other:\"");
        issuers.extend(
            oidc::issuer::read_authentication_configuration(&other, &[])
                .unwrap()
                .issuers,
        );
        let identity: config::Identity =
            serde_json::from_value(serde_json::json!({ "dangerSharedNames": danger })).unwrap();
        let told = names_apart(&identity, &issuers, Vec::new())
            .err()
            .map(|error| error.to_string());
        told.iter().flat_map(|all| all.lines()).map(str::to_owned).collect()
    }

    #[test]
    fn issuers_of_an_authentication_configuration_are_kept_apart_by_what_their_expressions_give() {
        assert_eq!(told("'ci:' + claims.sub", &[]), Vec::<String>::new());
        let found = told("claims.sub", &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("the issuer `https://ci.example` can name people of the issuer `https://other.example`: give each its own"),
            "{found:?}"
        );
        assert_eq!(told("claims.sub", &["https://ci.example"]), Vec::<String>::new());
        assert!(
            told("'ci:' + claims.sub", &["https://ci.example"])[0].starts_with("no issuer `https://ci.example` names")
        );
    }
}
