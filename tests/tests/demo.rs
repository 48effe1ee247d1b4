//! The README's first command, through a real process: it keeps what it prints, and leaves nothing behind.

use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{PoisonError, RwLock};
use tests::browser::Browser;
use tests::demo::{Demo, Surroundings};
use tests::kubectl::{Running, run};
use tests::wait::{PATIENCE, wait_until};

/// Held for reading by whoever starts a demo, which takes the usual ports if they are free, and for writing by whoever takes
/// them away from it.
static USUAL_PORTS: RwLock<()> = RwLock::new(());

#[test]
fn however_it_is_told_to_stop_it_leaves_nothing() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let demo = Demo::start(Surroundings::new(true)?, &[])?;
        demo.sign_in("alice")?;
        let read = demo.shell("alice", "kubectl get pods -n shop")?;
        assert_eq!(read.code, 0, "{read}");
        let (code, left) = demo.end(signal)?;
        assert_eq!((code, left), (0, Vec::new()), "{signal}");
    }
    Ok(())
}

#[test]
fn told_to_stop_while_it_starts_it_leaves_nothing() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    let surroundings = Surroundings::new(false)?;
    let mut running = Running::start(surroundings.demo(&[])?)?;
    wait_until("its folder is there", PATIENCE, || {
        std::fs::read_dir(surroundings.temporary()).ok()?.next().map(drop)
    })?;
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.end()?, 0, "{:?}", running.lines());
    assert_eq!(surroundings.left_in_the_end()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_start_that_fails_leaves_nothing() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    // With so few open files it fails somewhere on its way, each time further on.
    let mut failed = 0;
    for files in [16, 24, 32, 40] {
        let surroundings = Surroundings::new(false)?;
        let demo = surroundings.demo(&[])?;
        let mut command = Command::new("/bin/sh");
        surroundings.surround(&mut command);
        let line = format!(
            "ulimit -n {files}; exec '{}' demo",
            demo.get_program().to_string_lossy()
        );
        command.args(["-c", &line]);
        let mut running = Running::start(command)?;
        if running.line("ready", |line| line.contains("Ctrl-C stops it")).is_ok() {
            running.signal(Signal::SIGTERM)?;
        } else {
            failed += 1;
            assert!(
                running.lines().iter().any(|line| line.starts_with('✖')),
                "{files}: {:?}",
                running.lines()
            );
        }
        running.end()?;
        assert_eq!(
            surroundings.left_in_the_end()?,
            Vec::<String>::new(),
            "{files}: {:?}",
            running.lines()
        );
    }
    assert!(failed > 0, "every start succeeded");
    Ok(())
}

#[test]
fn the_whole_story_is_as_promised_with_kubectl_and_without() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    for kubectl in [true, false] {
        let surroundings = Surroundings::new(kubectl)?;
        let told = run(surroundings.demo(&["--script"])?, "", PATIENCE)?;
        assert_eq!(told.code, 0, "{told}");
        assert!(told.stderr.contains("✔ all 13 steps were as promised"), "{told}");
        assert_eq!(told.stdout.contains("$ kubectl get"), kubectl, "{told}");
        assert_eq!(surroundings.left_in_the_end()?, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn every_line_that_it_prints_can_be_run() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    for kubectl in [true, false] {
        let demo = Demo::start(Surroundings::new(kubectl)?, &[])?;
        // A shell without a terminal cannot be asked to sign in by kubectl; a person's can.
        demo.sign_in("alice")?;
        let said = demo.said();
        let commands: Vec<&str> = said
            .iter()
            .filter_map(|line| {
                let line = line.strip_prefix("  ")?;
                let typed = line.starts_with("kubectl ") || line.starts_with("gatescribe ");
                typed.then(|| line.split("  ").next().unwrap_or_default())
            })
            .collect();
        assert!(commands.len() >= 8, "{said:#?}");
        // The last sign-in of the list is carol's.
        let carols = commands
            .iter()
            .rposition(|command| command.starts_with("gatescribe login"));
        for (place, command) in commands.iter().copied().enumerate() {
            let person = if carols.is_some_and(|carols| place >= carols) {
                "carol"
            } else {
                "alice"
            };
            let output = demo.shell(person, command)?;
            let wanted = match command {
                "kubectl get secrets -n payments" => 1,
                refused if refused.ends_with("/payments/secrets") => 4,
                _ => 0,
            };
            assert_eq!(output.code, wanted, "{command}: {output}");
        }
        let (code, left) = demo.end(Signal::SIGTERM)?;
        assert_eq!((code, left), (0, Vec::new()));
    }
    Ok(())
}

#[test]
fn the_sample_service_is_behind_the_sign_in_and_its_own_address_is_said_to_ask_nobody() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    let demo = Demo::start(Surroundings::new(false)?, &[])?;
    let said = demo.said();
    let line = said.iter().position(|line| line.contains("sample service"));
    let [line, note, own] = line
        .and_then(|line| said.get(line..line + 3))
        .expect("the line and its notes")
    else {
        unreachable!("three lines");
    };
    assert!(note.contains("behind the same sign-in"), "{note}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let url = words(line)
        .into_iter()
        .find(|word| word.starts_with("http://shop.localhost:"))
        .expect("an address");
    let deep = format!("{url}/cart?item=7");

    // Who has not signed in is asked who they are, and comes back to what they asked for.
    let mut browser = Browser::default();
    let asked = browser.open(&deep, "stop:")?;
    assert!(asked.url.contains("/authorize?"), "{asked:?}");
    let page = browser.open(&format!("{}&login_hint=alice&prompt=none", asked.url), "stop:")?;
    assert_eq!((page.status, page.url.as_str()), (200, deep.as_str()), "{}", page.body);
    let body = page.body.to_lowercase();
    assert!(
        body.contains("alice@demo.example") && body.contains("x-gatescribe-assertion"),
        "{body}"
    );

    let own = words(own).pop().expect("an address");
    let address: SocketAddr = own.strip_prefix("http://").expect("a URL").parse()?;
    assert!(address.ip().is_loopback(), "{own}");
    let page = Browser::default().request("GET", &own, "")?;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(
        page.body.contains("These are the headers that reached it") && !page.body.contains("alice"),
        "{}",
        page.body
    );
    // It ends with the demo: a port is held by a process, and none is left.
    let (code, left) = demo.end(Signal::SIGTERM)?;
    assert_eq!((code, left), (0, Vec::new()));
    Ok(())
}

#[test]
fn busy_ports_are_replaced_and_said() -> anyhow::Result<()> {
    // Of no other story's demo, which would give them back before ours looks.
    let _usual = USUAL_PORTS.write().unwrap_or_else(PoisonError::into_inner);
    // Whether these are ours or another program's: they are busy.
    let _busy: Vec<_> = [7000, 7001, 7002, 7443]
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .into();
    let demo = Demo::start(Surroundings::new(false)?, &[])?;
    let addresses = demo.addresses();
    assert!(addresses.len() >= 3, "{:?}", demo.said());
    assert!(
        addresses
            .iter()
            .all(|address| ![7000, 7001, 7443].contains(&address.port())),
        "{addresses:?}"
    );
    demo.sign_in("bob")?;
    let (code, left) = demo.end(Signal::SIGTERM)?;
    assert_eq!((code, left), (0, Vec::new()));
    Ok(())
}

/// As bob, who may do everything; what each must say. Only the line breaks of an answer are left out.
#[rustfmt::skip]
const TABLE: [(&str, i32, &str); 44] = [
    ("kubectl version", 0, "Server Version: v1.36"),
    ("kubectl api-resources", 0, "networkpolicies"),
    ("kubectl api-versions", 0, "apps/v1"),
    ("kubectl auth whoami", 0, "bob@demo.example"),
    ("kubectl auth can-i delete pods -n payments", 0, "yes"),
    ("kubectl auth can-i --list -n shop", 0, "selfsubjectaccessreviews"),
    ("kubectl get namespaces", 0, "payments"),
    ("kubectl get nodes -o wide", 0, "node-a"),
    ("kubectl get pods -A", 0, "CrashLoopBackOff"),
    ("kubectl get pods -n payments -l app=web -o name", 0, "pod/web-0"),
    ("kubectl get pod web-0 -n payments -o yaml", 0, "kind: Pod"),
    ("kubectl get pod web-0 -n payments -o jsonpath={.status.phase}", 0, "Running"),
    ("kubectl get pods -n shop --field-selector status.phase=Running", 0, "Running"),
    ("kubectl get pods -A --chunk-size=7 -o name", 0, "pod/web-1"),
    ("kubectl get pods -n shop --sort-by .metadata.name", 0, "cart"),
    ("kubectl get all -n shop", 0, "deployment.apps/checkout"),
    ("kubectl get deployments,statefulsets -A", 0, "prometheus"),
    ("kubectl get services,endpointslices -n shop", 0, "IPv4"),
    ("kubectl get configmap web-settings -n shop -o json", 0, "currency"),
    ("kubectl get secret session-key -n shop -o jsonpath={.data.key}", 0, "bm90LWEtcmVhbC1zZWNyZXQ="),
    ("kubectl get networkpolicies -A", 0, "payments"),
    ("kubectl get roles,rolebindings,clusterroles,clusterrolebindings -A", 0, "sre-admin"),
    ("kubectl get events -n payments", 0, "BackOff"),
    ("kubectl events -n payments", 0, "BackOff"),
    ("kubectl describe pod web-0 -n payments", 0, "Controlled By:  StatefulSet/web"),
    ("kubectl describe deployment web -n shop", 0, "Replicas:"),
    ("kubectl logs web-0 -n payments --tail=2", 0, "request served"),
    ("kubectl explain deployment.spec.replicas", 0, "replicas <integer>"),
    ("kubectl create configmap table -n shop --from-literal=a=b", 0, "configmap/table created"),
    ("kubectl patch configmap table -n shop --type=merge -p '{\"data\":{\"a\":\"c\"}}'", 0, "patched"),
    ("kubectl patch configmap table -n shop --type=json -p '[{\"op\":\"add\",\"path\":\"/data/d\",\"value\":\"e\"}]'", 0, "patched"),
    ("kubectl get configmap table -n shop -o jsonpath={.data}", 0, r#"{"a":"c","d":"e"}"#),
    ("kubectl label configmap table -n shop kind=test", 0, "labeled"),
    ("kubectl annotate configmap table -n shop kind=test", 0, "annotated"),
    ("kubectl scale deployment cart -n shop --replicas=3", 0, "scaled"),
    ("kubectl rollout status deployment cart -n shop", 0, "successfully rolled out"),
    ("kubectl rollout restart deployment cart -n shop", 0, "restarted"),
    ("kubectl set image deployment/cart cart=cart:9 -n shop", 0, "image updated"),
    ("kubectl wait deployment cart -n shop --for=condition=Available --timeout=170s", 0, "condition met"),
    ("kubectl delete configmap table -n shop --dry-run=server", 0, "deleted"),
    ("kubectl delete configmap table -n shop", 0, "deleted"),
    ("kubectl get configmap table -n shop", 1, "NotFound"),
    ("kubectl delete pod web-1 -n payments", 0, "deleted"),
    ("kubectl get --raw /apis/batch/v1", 1, "not in the demo"),
];

#[test]
fn kubectl_finds_a_world_that_it_knows() -> anyhow::Result<()> {
    let _usual = USUAL_PORTS.read().unwrap_or_else(PoisonError::into_inner);
    let demo = Demo::start(Surroundings::new(true)?, &[])?;
    demo.sign_in("bob")?;
    let mut wrong = Vec::new();
    for (line, code, says) in TABLE {
        let output = demo.shell("bob", line)?;
        if output.code != code || !format!("{}{}", output.stdout, output.stderr).contains(says) {
            wrong.push(format!("{line}\n  wanted {code}, `{says}`\n  {output}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        TABLE.len(),
        wrong.join("\n")
    );
    let (code, left) = demo.end(Signal::SIGTERM)?;
    assert_eq!((code, left), (0, Vec::new()));
    Ok(())
}
