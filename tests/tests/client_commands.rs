//! The commands of people against the real parts: kubectl with our credential plugin, `gatescribe serve`, a certified
//! provider, a browser by script. What a refusal tells a person to run is run, as it is printed.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts::repository;
use tests::gateway::{Gateway, Options};
use tests::kubectl::Running;
use tests::person::Person;
use tests::terminal::terminal;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shop-dev }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: shop-dev }
rules:
- apiGroups: [""]
  resources: [configmaps, pods]
  verbs: [get, list, watch, create, update, patch, delete]
"#;

const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: pods-stay }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: [delete, deletecollection], resources: [pods] }
"#;

fn member(text: &str, name: &str) -> anyhow::Result<Value> {
    let document: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
    Ok(document[name].clone())
}

#[test]
fn a_person_signs_in_works_asks_why_and_signs_out_by_commands_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(WORLD)?;
    let gateway = Gateway::start(&cluster, &Options::ruled(RULES))?;
    let login = format!("gatescribe login {}", gateway.url);
    let alice = Person::new(&gateway, "alice")?;
    alice.signs_in(&login)?;

    // kubectl has no credential of its own: the plugin gives one for each call.
    let kubeconfig = std::fs::read_to_string(alice.kubeconfig())?;
    assert!(
        kubeconfig.contains("credential") && !kubeconfig.contains("token:"),
        "{kubeconfig}"
    );
    alice.ok("kubectl create configmap first -n shop --from-literal=a=b")?;
    let read = alice.ok("kubectl get configmap first -n shop -o jsonpath={.data.a}")?;
    assert_eq!(read.stdout, "b");
    let event = cluster.audit_event("the server's own word on it", |event| {
        event.verb == "create" && event.request_uri.starts_with("/api/v1/namespaces/shop/configmaps")
    })?;
    assert_eq!(event.person(), "alice@example.com");

    let told = alice.ok("gatescribe whoami --claims -o json")?.stdout;
    assert_eq!(member(&told, "username")?, "alice@example.com");
    assert_eq!(member(&told, "groups")?, serde_json::json!(["dev"]));
    assert_eq!(member(&told, "claims")?["sub"], "alice", "{told}");
    let bindings = &member(&told, "clusters")?[0]["bindings"];
    let by_group = |binding: &serde_json::Value| binding["by"]["group"] == "dev" && binding["namespace"] == "shop";
    ensure!(
        bindings.as_array().is_some_and(|all| all.iter().any(by_group)),
        "the binding that names her group: {bindings}"
    );
    alice.ok("gatescribe can create configmaps -n shop")?;
    assert_eq!(alice.types("gatescribe can list secrets -n shop")?.code, 1);
    assert_eq!(
        alice.types("gatescribe can delete pods -n shop")?.code,
        1,
        "a rule forbids it"
    );

    searches(&alice, &event.audit_id)?;
    refusals(&gateway, &alice)?;
    signs_out(&cluster, &alice, &login)
}

/// What was done is found by the one who did it, and by an auditor; not by others.
fn searches(alice: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let found = try_until("the call is found", PATIENCE, || {
        let found = alice.ok("gatescribe audit search --since 10m name:first verb:get")?;
        ensure!(found.stdout.contains("alice@example.com"), "{found}");
        Ok(found)
    })?;
    assert!(found.stdout.contains("kubectl get configmaps first -n shop"), "{found}");
    let shown = alice.ok(&format!("gatescribe audit show {id}"))?;
    assert!(
        shown.stdout.contains("configmaps") && shown.stdout.contains("201"),
        "{shown}"
    );
    for (name, sees) in [("bob", false), ("carol", true)] {
        let other = Person::signed_in(alice.gateway(), name)?;
        let found = other.types("gatescribe audit search --since 10m user:alice@example.com")?;
        assert_eq!(found.code, i32::from(!sees), "{name}: {found}");
        assert_eq!(found.stdout.contains("alice@example.com"), sees, "{name}: {found}");
        assert_eq!(
            other.types(&format!("gatescribe audit show {id}"))?.code == 0,
            sees,
            "{name}"
        );
    }
    Ok(())
}

/// Each refusal names a command; it is run as printed and succeeds.
fn refusals(gateway: &Gateway, alice: &Person<'_>) -> anyhow::Result<()> {
    for (line, because) in [
        ("kubectl get secrets -n shop", "no role allows it"),
        ("kubectl delete pod any -n shop", "a rule forbids it"),
        ("kubectl get configmaps -n shop --as=bob@example.com", "may not act as"),
    ] {
        let refused = alice.types(line)?;
        assert!(
            refused.code == 1 && refused.stderr.contains(because),
            "{line}: {refused}"
        );
        let next = Person::next(&refused)?;
        let told = try_until("the refusal is explained", PATIENCE, || alice.ok(&next))?;
        assert!(told.stdout.contains("refused"), "{next}: {told}");
        let decision = refused
            .stderr
            .lines()
            .find_map(|line| line.trim().strip_prefix("decision "));
        let id = decision
            .and_then(|rest| rest.split_whitespace().next())
            .context("a decision id")?;
        let told = alice.ok(&format!("gatescribe why {id}"))?;
        assert!(told.stdout.contains(because), "{told}");
    }
    let dave = Person::signed_in(gateway, "dave")?;
    let refused = dave.types("kubectl get configmaps -n shop")?;
    assert!(refused.stderr.contains("gives you no group"), "{refused}");
    let told = dave.ok(&Person::next(&refused)?)?;
    assert!(
        told.stdout.contains("dave@example.com") && told.stdout.contains("none"),
        "{told}"
    );
    Ok(())
}

/// After a sign-out nothing passes, and every program says how to come back.
fn signs_out(cluster: &Cluster, alice: &Person<'_>, login: &str) -> anyhow::Result<()> {
    let handed_out = alice.types("gatescribe kube credential --help")?;
    assert_eq!(handed_out.code, 0, "{handed_out}");
    alice.ok("gatescribe logout")?;
    let before = cluster
        .audit_events()?
        .iter()
        .filter(|event| event.person() == "alice@example.com")
        .count();
    let refused = alice.types("kubectl get configmaps -n shop")?;
    assert!(refused.code != 0 && refused.stderr.contains(login), "{refused}");
    let asked = alice.types("gatescribe whoami")?;
    assert!(asked.code == 3 && asked.stderr.contains(login), "{asked}");
    let after = cluster
        .audit_events()?
        .iter()
        .filter(|event| event.person() == "alice@example.com")
        .count();
    assert_eq!(before, after, "nothing reached the cluster");
    alice.signs_in(login)?;
    alice.ok("kubectl get configmaps -n shop").map(drop)
}

/// Which story runs a command that a refusal prints, by the command without its particulars. A command that is not here
/// has no runner.
const RUNNERS: [(&str, &str, &str); 6] = [
    ("gatescribe login URL", include_str!("client_commands.rs"), "signs_out"),
    ("gatescribe why ID", include_str!("client_commands.rs"), "refusals"),
    (
        "gatescribe whoami --claims",
        include_str!("client_commands.rs"),
        "refusals",
    ),
    ("gatescribe login --fresh URL", include_str!("obligations.rs"), STEP_UP),
    (
        "gatescribe login --fresh URL --acr CLASS",
        include_str!("obligations.rs"),
        STEP_UP,
    ),
    (
        "gatescribe reason 'TEXT' --for 15m",
        include_str!("obligations.rs"),
        "a_demanded_reason_is_stated_by_the_printed_command_and_stands_in_the_records",
    ),
];
const STEP_UP: &str = "a_demanded_sign_in_is_done_by_the_printed_command_and_the_call_then_works";

/// A printed command without its particulars; nothing where the next step is words.
fn shape(next: &str) -> Option<String> {
    let command = next.strip_prefix("gatescribe ")?;
    let (command, is_classed) = match command.split_once(" --acr ") {
        Some((before, _)) => (before, true),
        None => (command, false),
    };
    let word = |word: &str| match word {
        url if url.starts_with("https://") => "URL".to_owned(),
        id if id.len() == 36 && id.matches('-').count() == 4 => "ID".to_owned(),
        other => other.to_owned(),
    };
    let words: Vec<String> = command.split(' ').map(word).collect();
    let class = if is_classed { " --acr CLASS" } else { "" };
    Some(format!("gatescribe {}{class}", words.join(" ")))
}

#[test]
fn every_command_that_a_refusal_prints_is_run_by_a_story() -> anyhow::Result<()> {
    let folder = repository().join("gateway/proxy/tests/refusals");
    let mut printed = std::collections::BTreeSet::new();
    for case in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(case?.path())?;
        let next = text.lines().find_map(|line| line.trim().strip_prefix("next "));
        let next = next.with_context(|| format!("a refusal without a next step:\n{text}"))?;
        printed.extend(shape(next.trim()));
    }
    for shape in &printed {
        let runner = RUNNERS.iter().find(|(known, ..)| known == shape);
        let (_, story, name) = runner.with_context(|| format!("no story runs `{shape}`"))?;
        ensure!(
            story.contains(&format!("fn {name}(")),
            "`{shape}`: there is no story `{name}`"
        );
    }
    for (shape, ..) in RUNNERS {
        ensure!(printed.contains(shape), "no refusal prints `{shape}` any more");
    }
    Ok(())
}

/// Commands of twenty terminals at a time, and a browser that only notes what it was to open.
#[test]
fn twenty_kubectl_in_terminals_open_one_browser_and_say_whom_they_wait_for() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(WORLD)?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Person::signed_in(&gateway, "alice")?;
    alice.ok("gatescribe logout")?;
    let (browser, opened) = (alice.folder().join("bin/browser"), alice.folder().join("opened"));
    std::fs::write(&browser, format!("#!/bin/sh\necho \"$1\" >> {}\n", opened.display()))?;
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755))?;
    let start = |_| {
        // kubectl asks nobody who has no terminal; `script` gives it one.
        let like = alice.command("kubectl")?;
        let mut command = terminal(&like, "kubectl get configmaps -n shop -o name && echo done");
        command.env_remove("GATESCRIBE_NO_BROWSER").env("BROWSER", &browser);
        Running::start(command)
    };
    let mut all = (0..20).map(start).collect::<anyhow::Result<Vec<Running>>>()?;
    let addresses = || std::fs::read_to_string(&opened).unwrap_or_default();
    let waits = |line: &String| line.contains("waiting for another gatescribe (pid ");
    let address = try_until("one has a browser, another says that it waits", PATIENCE, || {
        let waiting = all.iter().filter(|one| one.lines().iter().any(waits)).count();
        let addresses = addresses();
        ensure!(waiting > 0 && addresses.ends_with('\n'), "{waiting} wait, {addresses}");
        Ok(addresses.lines().next().unwrap_or_default().to_owned())
    })?;
    let page = gateway
        .browser()
        .open(&format!("{address}&login_hint=alice"), "nowhere:")?;
    assert_eq!(page.status, 200, "{}", page.body);
    for one in &mut all {
        let (code, said) = (one.end()?, one.lines().join("\n"));
        ensure!(code == 0 && said.contains("done"), "{code}: {said}");
    }
    assert_eq!(addresses().lines().count(), 1, "{}", addresses());
    Ok(())
}
