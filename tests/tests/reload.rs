//! The configuration while the gateway runs: what can be taken is, what cannot says so by name, a bad file changes nothing,
//! and new certificates cost nobody a connection. Through the real process, by SIGHUP and by changing files.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::Credential;
use tests::pki::Ca;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: reload }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: reload }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: reload }
"#;

const FORBID: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-secrets }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [secrets] }
"#;

fn change(gateway: &Gateway, edit: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
    let file = gateway.file("gatescribe.yaml");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    edit(&mut config);
    replace(&file, &config.to_string())
}

/// As editors and projected volumes do: another file under the same name.
fn replace(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, file)?)
}

fn page(gateway: &Gateway, path: &str) -> anyhow::Result<String> {
    Ok(Browser::default()
        .request("GET", &format!("http://{}{path}", gateway.admin()), "")?
        .body)
}

fn says(gateway: &Gateway, path: &'static str, words: &str) -> anyhow::Result<()> {
    try_until(words, PATIENCE, || {
        let found = page(gateway, path)?;
        anyhow::ensure!(found.contains(words), "no `{words}` in {found}");
        Ok(())
    })
}

#[test]
fn what_can_be_taken_is_and_what_cannot_says_so_by_name() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(WORLD)?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let secrets = ["get", "secrets", "-n", "reload"];
    alice.ok(&secrets)?;
    says(&gateway, "/readyz", "[+] configuration ok\n")?;
    assert!(!gateway.log().contains("\"level\":\"DEBUG\""));

    // A good file, taken by its change alone: a rule file, the level of logs.
    std::fs::write(gateway.file("more-rules.yaml"), FORBID)?;
    let rules = gateway.file("more-rules.yaml").display().to_string();
    change(&gateway, |config| {
        config["policy"] = json!({ "rules": [rules] });
        config["log"] = json!({ "level": "debug" });
    })?;
    try_until("the new rule forbids", PATIENCE, || {
        let refused = alice.run(&secrets)?;
        anyhow::ensure!(refused.stderr.contains("AccessRule no-secrets"), "{refused}");
        Ok(())
    })?;
    try_until("debug lines are written", PATIENCE, || {
        anyhow::ensure!(gateway.log().contains("\"level\":\"DEBUG\""), "none yet");
        Ok(())
    })?;

    // Mistakes: nothing of the file counts, not even its good part.
    change(&gateway, |config| {
        config["policy"] = json!({});
        config["limits"] = json!({ "inFligth": 7 });
    })?;
    says(
        &gateway,
        "/readyz",
        "the configuration file cannot be used, the old one stays in force",
    )?;
    says(&gateway, "/readyz", "inFligth")?;
    says(&gateway, "/metrics", "gateway_config_file_in_force 0")?;
    says(&gateway, "/metrics", "gateway_config_reloads_refused_total 1")?;
    assert!(
        alice.run(&secrets)?.stderr.contains("AccessRule no-secrets"),
        "the old rules stay"
    );
    assert!(
        gateway.log().contains("the new configuration cannot be used"),
        "{}",
        gateway.log()
    );

    // The schema is satisfied, but a file that it names has mistakes: refused as a whole, too.
    replace(&gateway.file("broken.yaml"), "kind: AccessRule\n")?;
    let broken = gateway.file("broken.yaml").display().to_string();
    change(&gateway, |config| {
        config["policy"] = json!({ "rules": [broken] });
        config["limits"] = json!({});
    })?;
    says(&gateway, "/readyz", "the rule files have mistakes")?;
    assert!(
        alice.run(&secrets)?.stderr.contains("AccessRule no-secrets"),
        "the old rules stay"
    );

    // What needs a restart is named, and the rest of the file counts. SIGHUP asks at once.
    change(&gateway, |config| {
        config["policy"] = json!({});
        config["admin"] = json!({ "address": "127.0.0.1:1" });
        config["limits"] = json!({ "streams": 5, "connections": 100 });
    })?;
    gateway.process().signal(Signal::SIGHUP)?;
    says(
        &gateway,
        "/readyz",
        "[+] configuration ok, but: these changes need a restart: admin.address, limits.connections",
    )?;
    says(&gateway, "/metrics", "gateway_config_changes_waiting 2")?;
    try_until("the rule is gone", PATIENCE, || alice.ok(&secrets).map(drop))?;
    Ok(())
}

const SHELLS: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-shells }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [pods/exec] }
"#;

#[test]
fn a_rule_file_counts_as_soon_as_it_is_written_and_a_bad_one_changes_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    let rules = Some(SHELLS.to_owned());
    let gateway = Gateway::start(
        cluster,
        &Options {
            rules,
            ..Options::default()
        },
    )?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let (secrets, watched) = (
        ["get", "secrets", "-n", "reload"],
        ["get", "configmaps", "-n", "reload", "--watch", "-o", "name"],
    );
    alice.ok(&secrets)?;
    // The rule counts, and is said to leave a way round it: once, also where the file changes.
    let remarks = || {
        let log = gateway.log();
        let said = log
            .lines()
            .filter(|line| line.contains("a rule counts, and may not do what it seems to say"));
        said.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let places = [
        "\"line\":8,\"column\":31",
        "`nodes/proxy` is not among these calls",
        "no-shells",
    ];
    let said = remarks();
    assert!(
        said.len() == 1 && places.iter().all(|part| said.iter().all(|line| line.contains(part))),
        "{said:#?}"
    );
    let mut watch = alice.start(&watched)?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    let file = gateway.file("rules.yaml");
    let refused_by = |rule: &'static str| {
        try_until(rule, PATIENCE, || {
            let refused = alice.run(&secrets)?;
            anyhow::ensure!(refused.code == 1 && refused.stderr.contains(rule), "{refused}");
            Ok(())
        })
    };

    // The file itself, without a word to the gateway: secrets are shut, and the watch of other things goes on.
    replace(&file, &format!("{SHELLS}---{FORBID}"))?;
    refused_by("AccessRule no-secrets")?;
    assert_eq!(remarks().len(), 1);
    admin.ok(&["create", "configmap", "rules-changed", "-n", "reload"])?;
    watch.line("the watch goes on", |line| line == "configmap/rules-changed")?;

    // One misspelt member: nothing of the new file counts, also not that it lacks the rule.
    replace(&file, &SHELLS.replace("subjects", "subject"))?;
    try_until("the mistake is told", PATIENCE, || {
        anyhow::ensure!(
            gateway
                .log()
                .contains("the rule files have mistakes; the old rules stay in effect"),
            "not yet"
        );
        Ok(())
    })?;
    refused_by("AccessRule no-secrets")?;

    // Emptied, as a full disk or a shell's `>` leaves it: what was forbidden stays so.
    std::fs::write(&file, "")?;
    try_until("the emptiness is told", PATIENCE, || {
        anyhow::ensure!(gateway.log().contains("had rules and is empty now"), "not yet");
        Ok(())
    })?;
    refused_by("AccessRule no-secrets")?;

    // Written in place, as a shell does; the rule now shuts what the watch is about, and ends it.
    std::fs::write(
        &file,
        FORBID
            .replace("no-secrets", "no-configs")
            .replace("[secrets]", "[configmaps]"),
    )?;
    try_until("secrets are open again", PATIENCE, || alice.ok(&secrets).map(drop))?;
    watch.end()?;
    let refused = alice.run(&watched)?;
    assert!(
        refused.code == 1 && refused.stderr.contains("AccessRule no-configs"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn a_new_certificate_serves_new_connections_and_cuts_no_old_one() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let mut watch = alice.start(&["get", "configmaps", "-n", "reload", "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    says(&gateway, "/metrics", "gateway_session_long_calls_open 1\n")?;
    let before = gateway.client()?.certificate()?;

    // A pair that does not fit keeps the old one.
    replace(&gateway.file("tls.key"), "no key at all")?;
    try_until("the misfit is told", PATIENCE, || {
        anyhow::ensure!(
            gateway.log().contains("the new serving certificate cannot be used"),
            "not yet"
        );
        Ok(())
    })?;
    assert_eq!(gateway.client()?.certificate()?, before);

    let next = gateway.next_certificate()?;
    replace(&gateway.file("tls.crt"), &next.certificate)?;
    replace(&gateway.file("tls.key"), &next.key)?;
    try_until("new connections see the new certificate", PATIENCE, || {
        anyhow::ensure!(gateway.client()?.certificate()? != before, "still the old one");
        Ok(())
    })?;
    alice.ok(&["get", "configmaps", "-n", "reload"])?;
    admin.ok(&["create", "configmap", "later", "-n", "reload"])?;
    watch.line("the old connection goes on", |line| line == "configmap/later")?;
    assert!(
        !gateway
            .records()?
            .iter()
            .any(|record| record["outcome"]["end"] == "ended")
    );
    Ok(())
}

#[test]
fn an_authority_that_is_withdrawn_ends_the_watches_of_its_people() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    let mut gateway = Gateway::start(cluster, &Options::default())?;
    let (old, new) = (Ca::new("people")?, Ca::new("other people")?);
    let authorities = gateway.file("people.crt");
    std::fs::write(&authorities, format!("{}{}", old.certificate(), new.certificate()))?;
    change(&gateway, |config| {
        config["listeners"][1]["clientCertificates"] = json!({ "caFile": authorities });
        // The provider of the tests has no prefixes, and neither have these certificates.
        let provider = config["identity"]["providers"][0]["issuer"].clone();
        config["identity"]["dangerSharedNames"] = json!([provider, "certificates:kubernetes"]);
    })?;
    says(&gateway, "/readyz", "listeners[1].clientCertificates")?;
    says(&gateway, "/readyz", "need a restart: identity.dangerSharedNames")?;
    gateway.process().signal(Signal::SIGTERM)?;
    try_until("the gateway has stopped", PATIENCE, || {
        anyhow::ensure!(page(&gateway, "/livez").is_err(), "it answers");
        Ok(())
    })?;
    gateway.start_again()?;

    let mut watches = Vec::new();
    for (name, ca) in [("withdrawn", &old), ("kept", &new)] {
        let person = ca.client(&format!("{name}@example.com"), &["dev"])?;
        let kubectl = gateway.kubectl_with(name, &Credential::Certificate(&person))?;
        let mut watch = kubectl.start(&["get", "configmaps", "-n", "reload", "--watch", "-o", "name"])?;
        watch.line("the list before the watch", |line| line == "configmap/here")?;
        watches.push((kubectl, watch));
    }
    says(&gateway, "/metrics", "gateway_session_long_calls_open 2\n")?;
    replace(&authorities, new.certificate())?;
    let [(withdrawn, ended), (_, kept)] = watches.as_mut_slice() else {
        anyhow::bail!("two watches");
    };
    ended.end()?;
    let refused = withdrawn.run(&["get", "configmaps", "-n", "reload"])?;
    assert!(refused.stderr.contains("signed by no trusted authority"), "{refused}");
    admin.ok(&["create", "configmap", "after-the-authority", "-n", "reload"])?;
    kept.line("the other watch goes on", |line| {
        line == "configmap/after-the-authority"
    })?;
    let why = "ended by the gateway: the client certificate is signed by no trusted authority";
    gateway.records_with("the close says why", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "close" && record["outcome"]["why"] == why)
    })?;
    Ok(())
}
