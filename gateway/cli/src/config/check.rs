//! What the words of a configuration mean together: names that must be unique, URLs, addresses, what excludes what.
//!
//! Every finding names the place of the value it is about. Nothing outside the file is looked at here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use model::cluster::ClusterId;
use oidc::issuer::Reach;

use super::problem::Problem;
use super::shared_names::{self, Finding, certificates_of};
use super::tree::Node;
use super::types::{AuditMay, AuditRole, Cluster, Config, Credential, FailMode, Listener, Provider, Serves};
use super::value::Size;

/// Everything in `config` that cannot work.
pub(super) fn problems(config: &Config, root: &Node) -> Vec<Problem> {
    let mut check = Check {
        root,
        found: Vec::new(),
    };
    check.url(config);
    check.listeners(config);
    check.forward_auth(config);
    check.identity(config);
    check.clusters(config);
    check.sizes(config);
    check.witnesses(config);
    check.witness_for(config);
    check.fail_modes(config);
    check.telemetry(config);
    check.found
}

pub(super) struct Check<'a> {
    root: &'a Node,
    found: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn say(&mut self, path: &str, what: impl Into<String>, label: &str, help: impl Into<String>) {
        self.found.push(Problem::new(what, label, self.root.place(path), help));
    }

    fn telemetry(&mut self, config: &Config) {
        let Some(otlp) = &config.telemetry.otlp else { return };
        let uri = otlp.endpoint.parse::<http::Uri>().ok();
        let origin = uri.as_ref().and_then(|uri| {
            let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
            Origin::parse(&format!("{scheme}://{authority}"))
        });
        if !origin.is_some_and(|origin| origin.https || origin.loopback) {
            self.say(
                "/telemetry/otlp/endpoint",
                "`endpoint` is no https URL of a collector",
                "this value",
                "write for example `https://otel.example.com:4318/v1/traces`; plain http is accepted on loopback only",
            );
        } else if uri.is_some_and(|uri| uri.path() == "/") {
            self.say(
                "/telemetry/otlp/endpoint",
                "`endpoint` has no path",
                "no collector takes traces at `/`",
                "most collectors take them at `/v1/traces`",
            );
        }
        for (i, header) in otlp.headers.iter().enumerate() {
            if header.name.parse::<http::HeaderName>().is_err() {
                self.say(
                    &format!("/telemetry/otlp/headers/{i}/name"),
                    "this is no name of a header",
                    "this value",
                    "write for example `authorization`",
                );
            }
        }
    }

    fn fail_modes(&mut self, config: &Config) {
        let Some(modes) = &config.ledger.danger_fail_modes else {
            return;
        };
        let Some(bound) = &modes.bounded else { return };
        if ![modes.reads, modes.effects].contains(&FailMode::Bounded) {
            self.say(
                "/ledger/dangerFailModes/bounded",
                "`bounded` has no effect: no class is bounded",
                "this bound",
                "write `reads: bounded` or `effects: bounded`, or remove it",
            );
        }
        let lasts = bound.r#for.duration();
        if lasts.is_zero() || lasts > MOST_BOUND {
            self.say(
                "/ledger/dangerFailModes/bounded/for",
                "`for` has to be at least a second and at most a day",
                "this duration",
                "write for example `10m`",
            );
        }
    }

    fn url(&mut self, config: &Config) {
        match Origin::parse(&config.url) {
            None => self.say(
                "/url",
                "`url` is no URL of a host",
                "this value",
                "write `https://host` or `https://host:port`, without a path",
            ),
            Some(origin) if !origin.https && !origin.loopback => {
                self.say(
                    "/url",
                    "`url` must be https",
                    "plain http",
                    "use https; plain http is accepted on loopback only",
                );
            }
            Some(_) => {}
        }
    }

    fn listeners(&mut self, config: &Config) {
        if config.listeners.is_empty() {
            self.say(
                "/listeners",
                "no listener is configured",
                "this list is empty",
                "add one with `name`, `address`, `serves`",
            );
        }
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for (i, listener) in config.listeners.iter().enumerate() {
            if !names.insert(&listener.name) {
                self.say(
                    &format!("/listeners/{i}/name"),
                    format!("two listeners are named `{}`", listener.name),
                    "the second one",
                    "give each its own name",
                );
            }
            if !addresses.insert(&listener.address) {
                self.say(
                    &format!("/listeners/{i}/address"),
                    "two listeners have this address",
                    "the second one",
                    "give each its own port",
                );
            }
            self.listener(i, listener);
        }
        let hands_on = config
            .listeners
            .iter()
            .position(|one| one.serves.contains(&Serves::Kubernetes));
        for (i, listener) in config.listeners.iter().enumerate() {
            if Some(i) != hands_on && listener.tls.as_ref().is_some_and(|tls| tls.ca_file.is_some()) {
                self.say(
                    &format!("/listeners/{i}/tls/caFile"),
                    "`caFile` has no effect on this listener",
                    "never read",
                    "`login` hands on that of the first listener that serves `kubernetes`: remove this one",
                );
            }
        }
        let served = |what| config.listeners.iter().any(|listener| listener.serves.contains(&what));
        for (what, name) in [(Serves::Gateway, "gateway"), (Serves::Kubernetes, "kubernetes")] {
            if !config.listeners.is_empty() && !served(what) {
                self.say(
                    "/listeners",
                    format!("no listener serves `{name}`"),
                    "none of these",
                    format!("add `{name}` to `serves` of one of them"),
                );
            }
        }
        if config.admin.address.parse::<SocketAddr>().is_err() {
            self.say(
                "/admin/address",
                "`address` is no IP address with a port",
                "this value",
                "write for example `127.0.0.1:9464`",
            );
        }
    }

    fn listener(&mut self, i: usize, listener: &Listener) {
        let at = |key: &str| format!("/listeners/{i}/{key}");
        let Ok(address) = listener.address.parse::<SocketAddr>() else {
            return self.say(
                &at("address"),
                "`address` is no IP address with a port",
                "this value",
                "write for example `0.0.0.0:8443`",
            );
        };
        if listener.serves.is_empty() {
            self.say(
                &at("serves"),
                "this listener serves nothing",
                "an empty list",
                "write `gateway`, `kubernetes`, `services` or several of them, or `verdict` or `witness`",
            );
        }
        if listener.tls.is_none() && !address.ip().is_loopback() {
            self.say(
                &at("address"),
                "a listener without `tls` must be on a loopback address",
                "reachable from outside",
                "add `tls: {certFile, keyFile}`, or bind 127.0.0.1",
            );
        }
        if listener.tls.is_none() && listener.serves.contains(&Serves::Kubernetes) {
            self.say(
                &at("serves"),
                "Kubernetes needs `tls`: kubectl sends no credential over plain http",
                "`kubernetes` without tls",
                "add `tls: {certFile, keyFile}`",
            );
        }
        if listener.client_certificates.is_some()
            && (listener.tls.is_none() || listener.serves.iter().any(|what| *what != Serves::Kubernetes))
        {
            self.say(
                &at("clientCertificates"),
                "client certificates need a TLS listener that serves `kubernetes` alone",
                "not possible here",
                "move `gateway` to a listener of its own: browsers would ask for a certificate there",
            );
        }
        self.workloads(i, listener);
    }

    fn identity(&mut self, config: &Config) {
        let identity = &config.identity;
        if identity.providers.is_empty() && identity.authentication_configuration_file.is_none() {
            self.say(
                "/identity",
                "nobody could sign in",
                "no provider",
                "add one under `providers`, or `authenticationConfigurationFile`",
            );
        }
        let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::new());
        for (i, provider) in identity.providers.iter().enumerate() {
            if !names.insert(&provider.name) {
                self.say(
                    &format!("/identity/providers/{i}/name"),
                    "two providers have this name",
                    "the second one",
                    "give each its own name",
                );
            }
            if !issuers.insert(&provider.issuer) {
                self.say(
                    &format!("/identity/providers/{i}/issuer"),
                    "two providers have this issuer",
                    "the second one",
                    "one provider per issuer",
                );
            }
            self.provider(i, provider);
        }
        self.shared_names(config);
        self.audit_roles(config);
        if identity.service_accounts.audience.is_some() && !identity.service_accounts.accept {
            self.say(
                "/identity/serviceAccounts/audience",
                "`audience` has no effect without `accept: true`",
                "never read",
                "add `accept: true`, or remove it",
            );
        }
        let session = &identity.session;
        if session.idle.duration().as_secs() < 60 {
            self.say(
                "/identity/session/idle",
                "`idle` must be at least 1m",
                "everybody would be signed out at once",
                "8h is the default",
            );
        }
        if session.token.duration().as_secs() > 600 || session.token.duration().as_secs() < 60 {
            self.say(
                "/identity/session/token",
                "`token` must be between 1m and 10m",
                "out of range",
                "10m is the longest: revocation rests on it",
            );
        }
        if session.recheck.duration().as_secs() == 0 {
            self.say(
                "/identity/session/recheck",
                "`recheck` must be at least 1s",
                "the provider would be asked all the time",
                "5m is the default",
            );
        }
        if session.idle > session.max {
            self.say(
                "/identity/session/idle",
                "`idle` is longer than `max`",
                "this would never count",
                "make `idle` at most `max`",
            );
        }
    }

    fn audit_roles(&mut self, config: &Config) {
        let mut names = BTreeSet::new();
        for (i, role) in config.identity.audit_roles.iter().enumerate() {
            let at = |member: &str| format!("/identity/auditRoles/{i}/{member}");
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if role.name.is_empty() || role.name.len() > 63 || !role.name.bytes().all(is_plain) {
                self.say(
                    &at("name"),
                    "the name of an audit role has 1 to 63 letters, digits, `-`, `_` and `.`",
                    "not a name",
                    "the record of each reading says it",
                );
            } else if !names.insert(&role.name) {
                self.say(
                    &at("name"),
                    "two audit roles have this name",
                    "the second one",
                    "give each its own name",
                );
            }
            self.audit_role_reaches_something(role, &at);
            self.audit_role_names_what_is_there(config, role, &at);
            self.audit_role_may(role, &at);
        }
    }

    fn audit_role_reaches_something(&mut self, role: &AuditRole, at: &dyn Fn(&str) -> String) {
        for (member, list) in [
            ("groups", Some(&role.groups)),
            ("clusters", role.clusters.as_ref()),
            ("namespaces", role.namespaces.as_ref()),
        ] {
            let Some(list) = list else { continue };
            if list.is_empty() || list.iter().any(String::is_empty) {
                self.say(
                    &at(member),
                    format!("`{member}` names nothing, so this role shows nothing"),
                    "nothing",
                    if member == "groups" {
                        "name who has it"
                    } else {
                        "name some, or leave it out for all"
                    },
                );
            }
        }
    }

    fn audit_role_names_what_is_there(&mut self, config: &Config, role: &AuditRole, at: &dyn Fn(&str) -> String) {
        for cluster in role.clusters.iter().flatten() {
            if !cluster.is_empty() && !config.clusters.iter().any(|one| one.name == *cluster) {
                self.say(
                    &at("clusters"),
                    format!("there is no cluster `{cluster}`"),
                    "which one?",
                    "a name under `clusters`",
                );
            }
        }
        for name in role.namespaces.iter().flatten() {
            if name.strip_suffix('*').unwrap_or(name).contains('*') {
                self.say(
                    &at("namespaces"),
                    format!("`{name}` has a `*` elsewhere than at its end"),
                    "not read as a pattern",
                    "a name, or the beginning of names with one `*` behind it",
                );
            }
        }
    }

    /// What a role may do beside reading records has to go together with what it shows.
    fn audit_role_may(&mut self, role: &AuditRole, at: &dyn Fn(&str) -> String) {
        let may = |one| role.may.contains(&one);
        if may(AuditMay::Recordings) && !may(AuditMay::Details) {
            self.say(
                &at("may"),
                "`recordings` needs `details`",
                "a recording begins with the command that is sealed in the record",
                "add `details`",
            );
        }
        if !role.hide.is_empty() && !role.may.is_empty() {
            self.say(
                &at("may"),
                "a role that hides something can have no `may`",
                "it would show what `hide` hides",
                "make two roles, for two groups",
            );
        }
    }

    /// What providers alone show; issuers of an `AuthenticationConfiguration` are seen when that file is read.
    fn shared_names(&mut self, config: &Config) {
        let identity = &config.identity;
        for finding in shared_names::findings(identity, &config.named()) {
            let (path, label) = match &finding {
                Finding::Unsaid { issuer, reach, .. } => {
                    (place_of_names(config, issuer, *reach), "whose names may these be?")
                }
                Finding::Needless { .. } if identity.authentication_configuration_file.is_some() => continue,
                Finding::Needless { issuer } => {
                    let listed = identity.danger_shared_names.iter().position(|listed| listed == issuer);
                    let path = format!("/identity/dangerSharedNames/{}", listed.unwrap_or_default());
                    (path, "without effect")
                }
            };
            self.say(&path, finding.to_string(), label, finding.help());
        }
    }

    fn sizes(&mut self, config: &Config) {
        let ledger = &config.ledger;
        if !(Duration::from_secs(3_600)..=Duration::from_secs(366 * 86_400)).contains(&ledger.part_key_age.duration()) {
            self.say(
                "/ledger/partKeyAge",
                "`partKeyAge` must be at least 1h and at most 366d",
                "out of range",
                "leave it out for the default",
            );
        }
        for (path, size, least, most) in [
            (
                "/ledger/segmentSize",
                ledger.segment_size,
                Size::mebibytes(1),
                Size::mebibytes(1024),
            ),
            (
                "/ledger/queueSize",
                ledger.queue_size,
                Size::mebibytes(1),
                Size::mebibytes(4096),
            ),
            (
                "/limits/bytesPerDay",
                config.limits.bytes_per_day,
                Size::mebibytes(1),
                Size::MAX,
            ),
        ] {
            let key = path.rsplit('/').next().unwrap_or_default();
            if size < least || size > most {
                let until = if most == Size::MAX {
                    String::new()
                } else {
                    format!(" and at most {most}")
                };
                self.say(
                    path,
                    format!("`{key}` must be at least {least}{until}"),
                    "out of range",
                    "leave it out for the default",
                );
            }
        }
    }

    fn provider(&mut self, i: usize, provider: &Provider) {
        let at = |key: &str| format!("/identity/providers/{i}/{key}");
        let issuer = provider.issuer.split_once("://").and_then(|(scheme, rest)| {
            Origin::parse(&format!("{scheme}://{}", rest.split('/').next().unwrap_or_default()))
        });
        match issuer {
            None => self.say(
                &at("issuer"),
                "`issuer` is no URL",
                "this value",
                "write it byte for byte as the provider's tokens name it",
            ),
            Some(origin) if !origin.https && !origin.loopback => {
                self.say(
                    &at("issuer"),
                    "`issuer` must be https",
                    "plain http",
                    "use https; plain http is accepted on loopback only",
                );
            }
            Some(_) => {}
        }
        if provider.claims.user != "email" && self.root.has(&at("claims/requireVerifiedEmail")) {
            self.say(
                &at("claims/requireVerifiedEmail"),
                "`requireVerifiedEmail` has no effect unless `user` is `email`",
                "never read",
                "remove it, or make `user` the claim `email`",
            );
        }
        for (key, prefix) in [
            ("userPrefix", &provider.claims.user_prefix),
            ("groupPrefix", &provider.claims.group_prefix),
        ] {
            if prefix.starts_with("system:") {
                self.say(
                    &at(&format!("claims/{key}")),
                    format!("`{key}` makes reserved names"),
                    "begins with `system:`",
                    "choose another prefix: such names belong to the cluster",
                );
            }
        }
    }

    fn clusters(&mut self, config: &Config) {
        if config.clusters.is_empty() {
            self.say(
                "/clusters",
                "no cluster is configured",
                "this list is empty",
                "add one with `name`, `servers` and credentials",
            );
        }
        let mut names = BTreeSet::new();
        for (i, cluster) in config.clusters.iter().enumerate() {
            if !names.insert(&cluster.name) {
                self.say(
                    &format!("/clusters/{i}/name"),
                    "two clusters have this name",
                    "the second one",
                    "give each its own name",
                );
            }
            self.cluster(i, cluster);
            for (provider, _) in providers_of(config, &cluster.service_account_issuers) {
                self.found.push(account_issuer(self.root, provider, &cluster.name));
            }
        }
    }

    fn cluster(&mut self, i: usize, cluster: &Cluster) {
        let at = |key: &str| format!("/clusters/{i}/{key}");
        if let Err(error) = ClusterId::new(&cluster.name) {
            self.say(
                &at("name"),
                error.to_string(),
                "this name",
                "it becomes a host name and a path segment",
            );
        }
        if cluster.name == console::API_AUDIENCE {
            self.say(
                &at("name"),
                format!("`{}` is the gateway's own API", cluster.name),
                "this name",
                "choose another: tokens name what they are for, and one for the API would be good for this cluster",
            );
        }
        if cluster.in_cluster {
            let cert = |of: &Option<Credential>| of.as_ref().is_some_and(|of| of.cert_file.is_some());
            let key = |of: &Option<Credential>| of.as_ref().is_some_and(|of| of.key_file.is_some());
            let written = [
                ("servers", !cluster.servers.is_empty()),
                ("caFile", cluster.ca_file.is_some()),
                ("tlsServerName", cluster.tls_server_name.is_some()),
                ("impersonator/certFile", cert(&cluster.impersonator)),
                ("impersonator/keyFile", key(&cluster.impersonator)),
                ("observer/certFile", cert(&cluster.observer)),
                ("observer/keyFile", key(&cluster.observer)),
            ];
            for (key, _) in written.into_iter().filter(|(_, is)| *is) {
                let name = key.rsplit('/').next().unwrap_or_default();
                self.say(
                    &at(key),
                    format!("`{name}` has no effect beside `inCluster`"),
                    "never read",
                    "remove one of the two",
                );
            }
            return;
        }
        if cluster.servers.is_empty() {
            self.say(
                &at("servers"),
                "no server is named",
                "where is the API server?",
                "add `servers: [https://…]`, or `inCluster: true` in a pod",
            );
        }
        for (j, server) in cluster.servers.iter().enumerate() {
            let fits =
                Origin::parse(server.trim_end_matches('/')).is_some_and(|origin| origin.https || origin.loopback);
            if !fits {
                self.say(
                    &at(&format!("servers/{j}")),
                    "this is no https URL of an API server",
                    "this value",
                    "write `https://host:port`",
                );
            }
        }
        for (key, credential) in [("impersonator", &cluster.impersonator), ("observer", &cluster.observer)] {
            let fits = credential.as_ref().is_some_and(|credential| {
                let pair = credential.cert_file.is_some() && credential.key_file.is_some();
                let half = credential.cert_file.is_some() != credential.key_file.is_some();
                !half && (credential.token_file.is_some() != pair)
            });
            if !fits {
                self.say(
                    &at(key),
                    format!("`{key}` needs either `tokenFile`, or `certFile` and `keyFile`"),
                    "one credential",
                    "see deploy/kubernetes for the two accounts",
                );
            }
        }
    }
}

/// Providers whose issuer is one of `issuers`, with their places in the list.
fn providers_of<'a>(config: &'a Config, issuers: &'a [String]) -> impl Iterator<Item = (usize, &'a Provider)> {
    let providers = config.identity.providers.iter().enumerate();
    providers.filter(|(_, provider)| issuers.contains(&provider.issuer))
}

/// The provider at this place of the list is the issuer of a cluster's own ServiceAccount tokens.
pub(super) fn account_issuer(root: &Node, provider: usize, cluster: &str) -> Problem {
    Problem::new(
        format!("this issuer is that of the ServiceAccount tokens of cluster `{cluster}`"),
        "no provider of people",
        root.place(&format!("/identity/providers/{provider}/issuer")),
        "remove the provider: a deleted account's token would be good until it expires; ServiceAccounts have their own way in, \
         `identity.serviceAccounts`",
    )
}

/// Where the prefix that reaches too far is written, or else the issuer without one.
fn place_of_names(config: &Config, issuer: &str, reach: Reach) -> String {
    let mut listeners = config.listeners.iter();
    if let Some(i) = listeners.position(|listener| certificates_of(listener) == issuer) {
        return format!("/listeners/{i}/clientCertificates");
    }
    let providers = config.identity.providers.iter();
    let found = providers.enumerate().find(|(_, provider)| provider.issuer == issuer);
    let Some((i, provider)) = found else {
        return "/identity/providers".to_owned();
    };
    let key = match reach {
        Reach::Groups if !provider.claims.group_prefix.is_empty() => "claims/groupPrefix",
        Reach::Users | Reach::UsersAndGroups if !provider.claims.user_prefix.is_empty() => "claims/userPrefix",
        _ => "issuer",
    };
    format!("/identity/providers/{i}/{key}")
}

/// A bound that lasts longer is none.
const MOST_BOUND: Duration = Duration::from_hours(24);

/// Whether it can stand in metrics, logs and records without being quoted.
pub(super) fn is_label(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Whether requests may be posted below this URL.
pub(super) fn is_https_or_loopback(url: &str) -> bool {
    let uri = url.parse::<http::Uri>().ok();
    let origin = uri.as_ref().filter(|uri| uri.query().is_none()).and_then(|uri| {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Origin::parse(&format!("{scheme}://{authority}"))
    });
    origin.is_some_and(|origin| origin.https || origin.loopback)
}

/// A URL without a path.
#[derive(Debug)]
struct Origin {
    https: bool,
    loopback: bool,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let bare = uri.path() == "/" && uri.query().is_none() && !text.ends_with('/');
        let host = uri.host()?;
        let no_user = !uri.authority()?.as_str().contains('@');
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        (bare && no_user).then_some(Self { https, loopback })
    }
}
