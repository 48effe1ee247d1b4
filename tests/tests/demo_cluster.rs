//! `gatescribe demo --cluster`: the real gateway before somebody's real cluster, and nothing of it stays there.

use nix::sys::signal::Signal;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tests::cluster::{Cluster, Options, any_admin};
use tests::counterparts::own_binary;
use tests::demo::{Demo, Surroundings};
use tests::kubectl::{Kubectl, Running, run};
use tests::wait::{PATIENCE, wait_until};

/// Everything that carries the label of any run, by name.
fn created(admin: &Kubectl) -> anyhow::Result<Vec<String>> {
    let kinds = "namespaces,clusterroles,clusterrolebindings,serviceaccounts,rolebindings";
    let found = admin.ok(&["get", kinds, "-A", "-l", "gatescribe.dev/demo", "-o", "name"])?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// The stories that share a cluster come one after the other: each looks at what is in it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was created besides. Without a controller manager a namespace that was deleted stays `Terminating`, so that an
/// earlier story can leave one.
fn created_since(admin: &Kubectl, before: &[String]) -> anyhow::Result<Vec<String>> {
    let mut now = created(admin)?;
    now.retain(|name| !before.contains(name));
    Ok(now)
}

/// Surroundings whose kubectl knows the cluster as its administrator, the kubeconfig and the context's name.
fn surroundings(admin: &Kubectl) -> anyhow::Result<(Surroundings, String, String)> {
    let kubeconfig = admin.kubeconfig().display().to_string();
    let context = admin.ok(&["config", "current-context"])?.trim().to_owned();
    Ok((Surroundings::new(true)?, kubeconfig, context))
}

#[test]
fn a_real_cluster_is_borrowed_and_given_back() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options {
        controller_manager: true,
        ..Options::default()
    })?;
    // A new cluster's controller manager fills `view` and `edit` in a moment.
    let rules = [
        "get",
        "clusterrole",
        "view",
        "edit",
        "-o",
        "jsonpath={.items[*].rules[*].verbs}",
    ];
    wait_until("the cluster's own roles have rules", PATIENCE, || {
        let found = cluster.kubectl(&rules).ok()?.stdout;
        (found.contains("list") && found.contains("create")).then_some(())
    })?;
    let admin = cluster.admin()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (surroundings, kubeconfig, context) = surroundings(&admin)?;
        let demo = Demo::start_with(
            surroundings,
            &["--cluster", &context, "--yes"],
            &[("KUBECONFIG", &kubeconfig)],
        )?;
        let made = created(&admin)?;
        let listed = demo.said().join("\n");
        for kind in [
            "namespace/",
            "clusterrole.",
            "clusterrolebinding.",
            "serviceaccount/",
            "rolebinding.",
        ] {
            assert!(made.iter().any(|name| name.starts_with(kind)), "{kind}: {made:?}");
        }
        for name in made
            .iter()
            .filter_map(|name| name.split_once('/').map(|(_, name)| name))
        {
            assert!(listed.contains(name), "`{name}` was not said:\n{listed}");
        }
        story(&cluster, &demo, &listed)?;
        let (code, left) = demo.end(signal)?;
        assert_eq!((code, left), (0, Vec::new()));
        wait_until("nothing of it is in the cluster", PATIENCE, || {
            created(&admin).is_ok_and(|left| left.is_empty()).then_some(())
        })?;
    }
    Ok(())
}

/// What a person would try, as alice and as bob.
fn story(cluster: &Cluster, demo: &Demo, listed: &str) -> anyhow::Result<()> {
    demo.sign_in("alice")?;
    let read = demo.shell("alice", "kubectl get namespaces")?;
    assert!(read.code == 0 && read.stdout.contains("kube-system"), "{read}");
    let refused = demo.shell("alice", "kubectl get secrets -A")?;
    assert!(
        refused.code == 1
            && refused
                .stderr
                .contains("gatescribe-demo:alice@demo.example may not list secrets"),
        "{refused}"
    );
    demo.sign_in("bob")?;
    let line = listed
        .lines()
        .find(|line| line.contains("kubectl create configmap hi"))
        .expect("bob's line");
    let line = line.trim().split("  ").next().unwrap_or_default();
    let written = demo.shell("bob", line)?;
    assert_eq!(written.code, 0, "{written}");
    let playground = line.rsplit(' ').next().unwrap_or_default();
    let event = cluster.audit_event("the cluster saw bob", |event| {
        event.person() == "gatescribe-demo:bob@demo.example" && event.request_uri.contains(playground)
    })?;
    let shown = demo.shell("bob", &format!("gatescribe audit show {}", event.audit_id))?;
    assert!(shown.code == 0 && shown.stdout.contains("configmaps"), "{shown}");
    Ok(())
}

#[test]
fn told_to_stop_while_it_borrows_it_gives_everything_back() -> anyhow::Result<()> {
    let _alone = alone();
    let admin = any_admin()?;
    let (surroundings, kubeconfig, context) = surroundings(&admin)?;
    let mut command = surroundings.demo(&["--cluster", &context, "--yes"])?;
    command.env("KUBECONFIG", kubeconfig);
    let mut running = Running::start(command)?;
    running.line("it says what it creates", |line| line.contains("ClusterRole view"))?;
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.end()?, 0, "{:?}", running.lines());
    assert_eq!(roles(&admin)?, Vec::<String>::new(), "{:?}", running.lines());
    assert_eq!(surroundings.left_in_the_end()?, Vec::<String>::new());
    Ok(())
}

/// Roles and bindings of any run; without a controller manager a namespace that was deleted stays `Terminating`.
fn roles(admin: &Kubectl) -> anyhow::Result<Vec<String>> {
    let all = created(admin)?;
    Ok(all.into_iter().filter(|name| name.contains("role")).collect())
}

#[test]
fn nothing_is_created_unasked_or_for_a_context_that_is_not_there() -> anyhow::Result<()> {
    let _alone = alone();
    let admin = any_admin()?;
    let (_, _, context) = surroundings(&admin)?;
    let before = created(&admin)?;
    for (arguments, says) in [
        (vec!["--cluster", &context], "add --yes"),
        (vec!["--cluster", "elsewhere", "--yes"], "no such context"),
    ] {
        let (surroundings, kubeconfig, _) = surroundings(&admin)?;
        let mut command: Command = surroundings.demo(&arguments)?;
        command.env("KUBECONFIG", kubeconfig);
        let told = run(command, "y\n", PATIENCE)?;
        assert!(told.code != 0 && told.stderr.contains(says), "{told}");
        assert_eq!(created_since(&admin, &before)?, Vec::<String>::new());
        assert!(
            !surroundings.left()?.iter().any(|left| left.contains("gatescribe")),
            "{:?}",
            surroundings.left()?
        );
    }
    Ok(())
}

/// At a terminal, as `script` gives one, a person is asked: "n" creates nothing, "y" goes on until Ctrl-C.
#[test]
fn at_a_terminal_a_person_is_asked_and_their_answer_counts() -> anyhow::Result<()> {
    let _alone = alone();
    let admin = any_admin()?;
    for (answer, agreed) in [("n\n", false), ("\n", false), ("y\n", true)] {
        let before = created(&admin)?;
        let (surroundings, kubeconfig, context) = surroundings(&admin)?;
        let line = format!("exec {} demo --cluster {context}", own_binary("gatescribe")?.display());
        let mut command = Command::new("/usr/bin/script");
        surroundings.surround(command.args(["-qefc", &line, "/dev/null"]));
        command.env("KUBECONFIG", kubeconfig).env("SHELL", "/bin/sh");
        let mut running = Running::start(command)?;
        running.line("it says what it would create", |line| {
            line.contains("what is bound to them above")
        })?;
        let nothing = Vec::<String>::new();
        assert_eq!(created_since(&admin, &before)?, nothing, "nothing is created unasked");
        running.write(answer)?;
        if agreed {
            running.line("it goes on", |line| line.contains("Ctrl-C stops it"))?;
            assert_ne!(roles(&admin)?, nothing);
            running.write("\u{3}")?;
        }
        let (code, said) = (running.end()?, running.lines().join("\n"));
        assert!(said.contains("Create it? [y/N]"), "{said}");
        assert_eq!(code == 0, agreed, "{answer:?} ends with {code}: {said}");
        assert_eq!(roles(&admin)?, nothing, "{said}");
        if !agreed {
            assert_eq!(created_since(&admin, &before)?, nothing, "{said}");
        }
    }
    Ok(())
}
