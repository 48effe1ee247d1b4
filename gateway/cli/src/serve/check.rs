//! `gatescribe serve --check`: everything that a start would need, looked at without starting. It may run beside a gateway on
//! the same configuration: it takes no lock, writes no record, makes no file and binds no configured port.
//!
//! What would end a start is wrong; whoever is only silent now (an issuer, a cluster) would be waited for by a running
//! gateway, and is told as a note, and so is what there is to say about a rule that counts.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use console::GatewayUrl;
use model::cluster::ClusterId;
use proxy::listener::tls::{CertificatePair, ClientAuthorities};
use reach::{ClusterConnection, Security, Tuning};

use super::account_issuers::{self, Known, Refused};
use super::books::{ledger_dir, recordings_dir};
use super::data::{self, DataDir};
use super::{cluster, identity, providers, trust_domains, unrecorded};
use crate::config::{self, Config};
use crate::terminal::{fail, say};
use crate::{Exit, config_command};

/// How long a cluster may take to say who issues its ServiceAccount tokens.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Default)]
struct Found {
    wrong: Vec<anyhow::Error>,
    notes: Vec<String>,
}

impl Found {
    fn take<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|error| self.wrong.push(error)).ok()
    }
}

/// Looks at everything and says all of it at once.
pub(super) async fn run(file: &Path, config: &Config) -> Exit {
    let found = look(config).await;
    for note in &found.notes {
        say(&format!("! {note}"));
    }
    for wrong in &found.wrong {
        match wrong.downcast_ref::<Refused>() {
            Some(refused) => drop(config_command::explain(config::account_issuer(
                file,
                refused.place,
                &refused.cluster,
            ))),
            None => fail(wrong),
        }
    }
    if !found.wrong.is_empty() {
        return Exit::No;
    }
    say("✔ the configuration and every file that it names can be used; ports and the ledger's lock were not tried");
    Exit::Done
}

async fn look(config: &Config) -> Found {
    let mut found = Found::default();
    found.take(folders(config));
    found.take(super::witnesses::look(&config.ledger).context("witnesses cannot be asked"));
    found.take(
        data::listed_token_keys(&config.identity.token_key_files).context("the gateway's tokens cannot be signed"),
    );
    found.notes.extend(unrecorded::warning(&config.ledger));
    let rules: Vec<PathBuf> = config.policy.rules.iter().map(PathBuf::from).collect();
    let files = found.take(feeds::rules::read(&rules).context("the rule files have mistakes"));
    let known: Vec<ClusterId> = (config.clusters.iter())
        .filter_map(|cluster| ClusterId::new(&cluster.name).ok())
        .collect();
    if let Some(files) = &files {
        let known: Vec<&ClusterId> = known.iter().collect();
        found.take(super::services::has_clusters_of(&files.policy, &known).context("services cannot be published"));
    }
    let remarks = files.iter().flat_map(|files| &files.policy.remarks);
    found.notes.extend(remarks.map(ToString::to_string));
    let policy = found.take(super::audit_file::read(config).context("the audit policy has mistakes"));
    let remarks = policy.flatten().map(|policy| policy.remarks());
    found.notes.extend(remarks.into_iter().flatten());
    for listener in &config.listeners {
        found.take(certificates(listener).with_context(|| format!("listener `{}`", listener.name)));
    }
    let addresses = config.listeners.iter().map(|listener| &listener.address);
    for address in addresses.chain([&config.admin.address]) {
        found.take(belongs_here(address));
    }
    let mut accounts = Known::said(&config.clusters);
    for cluster in &config.clusters {
        look_at_cluster(&mut found, &mut accounts, cluster).await;
    }
    let sources = GatewayUrl::parse(&config.url)
        .map_err(anyhow::Error::new)
        .and_then(|url| identity::sources(config, &url, &accounts));
    for source in found.take(sources).into_iter().flat_map(|sources| sources.feed) {
        if let Some(why) = providers::trouble(&source).await {
            found.notes.push(format!("issuer `{}`: {why}", source.issuer.url()));
        }
    }
    found
}

fn folders(config: &Config) -> anyhow::Result<()> {
    let data = DataDir::look(Path::new(&config.data_dir))?;
    state::inspect(&data.at("state.sqlite")).context("the session store cannot be opened")?;
    let ledger = ledger_dir(config, &data);
    data::can_be_made(&ledger).context("the ledger cannot be opened")?;
    if ledger.exists() {
        ledger::Reader::open(&ledger).context("the ledger cannot be read")?;
    }
    data::can_be_made(&recordings_dir(config, &data)).context("sessions cannot be recorded")?;
    Ok(())
}

fn certificates(listener: &config::Listener) -> anyhow::Result<()> {
    let read = |file: &str| std::fs::read(file).with_context(|| format!("cannot read `{file}`"));
    if let Some(tls) = &listener.tls {
        CertificatePair::from_pem(&read(&tls.cert_file)?, &read(&tls.key_file)?)?;
        tls.ca_file.as_deref().map(read).transpose()?;
    }
    if let Some(clients) = &listener.client_certificates {
        ClientAuthorities::load(&read(&clients.ca_file)?)?;
    }
    trust_domains::look(listener)
}

/// The address without its port: that one a running gateway may hold. Bound to any free port and let go at once.
fn belongs_here(address: &str) -> anyhow::Result<()> {
    let address: SocketAddr = address.parse().with_context(|| format!("`{address}` is no address"))?;
    TcpListener::bind((address.ip(), 0))
        .with_context(|| format!("`{}` is no address of this machine", address.ip()))?;
    Ok(())
}

async fn look_at_cluster(found: &mut Found, accounts: &mut Known, cluster: &config::Cluster) {
    let name = || format!("cluster `{}`", cluster.name);
    let connection = cluster::source(cluster).and_then(|source| {
        let id = ClusterId::new(&cluster.name)?;
        Ok(ClusterConnection::new(id, source, Tuning::default())?)
    });
    let Some(connection) = found.take(connection.with_context(name)) else {
        return;
    };
    for identity in [connection.impersonator(), connection.observer()] {
        if let Err(error) = connection.dial(identity, Security::Either).await {
            found.notes.push(format!("{}: {:#}", name(), anyhow::Error::new(error)));
            return;
        }
    }
    let client = feeds::observer::client(&Arc::new(connection));
    match tokio::time::timeout(ANSWERS_WITHIN, feeds::account_issuer::ask(&client)).await {
        Ok(Ok(issuer)) => accounts.add(issuer, &cluster.name),
        _ if !account_issuers::of_cluster(cluster).is_empty() => {}
        Ok(Err(why)) => found.notes.push(format!(
            "{}: who issues its ServiceAccount tokens is not known: {why}",
            name()
        )),
        Err(_) => found.notes.push(format!("{}: no answer", name())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::serve) fn config(folder: &Path) -> Config {
        let text = format!(
            r#"{{ "apiVersion": "gatescribe.dev/v1", "url": "http://127.0.0.1:9443", "dataDir": "{0}/data",
              "listeners": [
                {{ "name": "gateway", "address": "127.0.0.1:9443", "serves": ["gateway"] }},
                {{ "name": "kubernetes", "address": "127.0.0.1:9444", "serves": ["kubernetes"],
                  "tls": {{ "certFile": "{0}/tls.crt", "keyFile": "{0}/tls.key" }} }} ],
              "identity": {{ "providers": [ {{ "name": "corp", "issuer": "http://127.0.0.1:1", "clientId": "us",
                "clientSecret": "${{file:{0}/secret}}" }} ] }},
              "policy": {{ "rules": ["{0}/rules.yaml"] }},
              "clusters": [ {{ "name": "prod", "servers": ["http://127.0.0.1:1"],
                "impersonator": {{ "tokenFile": "{0}/impersonator" }}, "observer": {{ "tokenFile": "{0}/observer" }} }} ] }}"#,
            folder.display()
        );
        config::parse("check.yaml", &text)
            .map_err(|problems| problems.for_a_person(false, 100))
            .unwrap()
    }

    fn texts(found: &Found) -> Vec<String> {
        found.wrong.iter().map(|error| format!("{error:#}")).collect()
    }

    #[tokio::test]
    async fn everything_that_would_end_a_start_is_said_at_once_and_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let found = look(&config(folder.path())).await;
        let wrong = texts(&found);
        for file in ["rules.yaml", "tls.crt", "impersonator", "secret"] {
            let about = wrong.iter().filter(|text| text.contains(file)).count();
            assert_eq!(about, 1, "{file} in {wrong:#?}");
        }
        assert_eq!(wrong.len(), 4, "{wrong:#?}");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "something was made"
        );
    }

    #[tokio::test]
    async fn who_is_silent_now_is_a_note_and_no_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        write("tls.crt", &made.cert.pem());
        write("tls.key", &made.signing_key.serialize_pem());
        write("rules.yaml", "");
        for name in ["impersonator", "observer", "secret"] {
            write(name, "text");
        }
        let found = look(&config(folder.path())).await;
        assert_eq!(texts(&found), Vec::<String>::new());
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].starts_with("cluster `prod`: "), "{:?}", found.notes);
        assert!(
            found.notes[1].starts_with("issuer `http://127.0.0.1:1`: "),
            "{:?}",
            found.notes
        );
        assert!(!folder.path().join("data").exists(), "something was made");
    }

    #[tokio::test]
    async fn what_is_to_say_about_a_rule_that_counts_is_a_note_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let rules = folder.path().join("rules.yaml");
        let rule = "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: { name: no-shells }\nspec:\n  effect: forbid\n  \
                    subjects: { groups: [\"*\"] }\n  kubernetes: { actions: [exec] }\n";
        std::fs::write(&rules, rule).unwrap();
        let found = look(&config(folder.path())).await;
        let place = format!(
            "{}:7:17: rule `no-shells`: spec.kubernetes.actions: `nodes/proxy` ",
            rules.display()
        );
        let notes: Vec<_> = found.notes.iter().filter(|note| note.contains("rules.yaml")).collect();
        assert!(
            matches!(notes.as_slice(), [note] if note.starts_with(&place)),
            "{notes:?}"
        );
        assert!(texts(&found).iter().all(|wrong| !wrong.contains("rules.yaml")));
    }

    #[tokio::test]
    async fn a_cluster_that_a_service_names_and_the_configuration_does_not_have_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let of = |cluster: &str| {
            format!(
                "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], upstream: \
                 {{kubernetes: {{cluster: {cluster}, namespace: shop, name: web, port: 80}}}}}}\n"
            )
        };
        for (cluster, is_known) in [("prod", true), ("other", false)] {
            std::fs::write(folder.path().join("rules.yaml"), of(cluster)).unwrap();
            let found = look(&config(folder.path())).await;
            let told = "services cannot be published: service `web`: there is no cluster `other`; the configuration has `prod`";
            assert_eq!(
                texts(&found).iter().any(|wrong| wrong == told),
                !is_known,
                "{:?}",
                texts(&found)
            );
        }
    }

    #[tokio::test]
    async fn an_audit_policy_is_looked_at_and_what_asks_for_bodies_is_told_loudly() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.yaml");
        let mut config = config(folder.path());
        config.audit.policy_file = Some(file.display().to_string());
        let about = |texts: Vec<String>| {
            texts
                .into_iter()
                .filter(|text| text.contains("audit.yaml"))
                .collect::<Vec<_>>()
        };
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";
        std::fs::write(&file, format!("{head}- level: All\n- level: None\n  user: [x]\n")).unwrap();
        let found = look(&config).await;
        let wrong = about(texts(&found));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        for place in [
            ":4:10: rule 1: there is no level `All`",
            ":6:3: rule 2: a rule has no member `user`",
        ] {
            assert!(wrong[0].contains(place), "{wrong:?}");
        }
        std::fs::write(
            &file,
            format!("{head}- level: Request\n  verbs: [delete]\n  omitStages: [ResponseComplete]\n- level: Metadata\n"),
        )
        .unwrap();
        let found = look(&config).await;
        assert_eq!(about(texts(&found)), Vec::<String>::new());
        let notes = about(found.notes);
        let told = "audit.yaml:4:10: level Request asks for bodies, and `omitStages` leaves out ResponseComplete";
        assert!(notes.iter().any(|note| note.contains(told)), "{notes:?}");
    }

    /// What `identity.tokenKeyFiles` names is read as a start would read it, and nothing is made.
    #[tokio::test]
    async fn token_keys_that_no_start_would_take_are_said() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode: u32| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let key = || rcgen::KeyPair::generate().unwrap().serialize_pem();
        let (first, second) = (key(), key());
        write("first.pem", &first, 0o600);
        write("again.pem", &first, 0o600);
        write("second.pem", &second, 0o600);
        write("open.pem", &second, 0o644);
        write("text.pem", "no key", 0o600);
        for (files, why) in [
            (&["first.pem", "second.pem"][..], None),
            (&["first.pem", "missing.pem"], Some("there is no token key")),
            (&["text.pem"], Some("is no P-256 key in PKCS#8")),
            (&["first.pem", "open.pem"], Some("open.pem")),
            (&["first.pem", "again.pem"], Some("are the same key: name it once")),
        ] {
            let mut config = config(folder.path());
            let path = |name: &&str| folder.path().join(name).display().to_string();
            config.identity.token_key_files = files.iter().map(path).collect();
            let found = look(&config).await;
            let wrong: Vec<String> = texts(&found)
                .into_iter()
                .filter(|text| text.contains("the gateway's tokens cannot be signed"))
                .collect();
            match why {
                None => assert_eq!(wrong, Vec::<String>::new()),
                Some(why) => assert!(
                    matches!(wrong.as_slice(), [one] if one.contains(why)),
                    "{files:?}: {wrong:?}"
                ),
            }
        }
        assert!(!folder.path().join("data").exists(), "something was made");
    }

    #[test]
    fn an_address_of_another_machine_is_found_without_its_port() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        belongs_here(&held.local_addr().unwrap().to_string()).unwrap();
        belongs_here("192.0.2.1:443").unwrap_err();
    }
}
