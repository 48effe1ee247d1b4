//! Real kubectl against the look-alike, over TLS, as the gateway would call it: the impersonator's token and a person.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use demo::kubernetes::{Credentials, Options, Server};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// The look-alike and a folder for kubectl.
struct Bench {
    server: Server,
    folder: TempDir,
}

/// What kubectl said.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

fn kubectl() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/counterparts/bin/kubectl");
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask counterparts`",
        path.display()
    );
    path
}

impl Bench {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let credentials = Credentials {
            impersonator: "one".to_owned(),
            observer: "two".to_owned(),
        };
        let mut options = Options::on("127.0.0.1:0".parse().unwrap(), credentials);
        options.tls = Some(Arc::new(tls));
        options.log_interval = Duration::from_millis(50);
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        Self {
            server: Server::start(options).await.unwrap(),
            folder,
        }
    }

    fn command(&self, group: &str, arguments: &str) -> Command {
        let mut command = Command::new(kubectl());
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", "/dev/null")
            .current_dir(self.folder.path())
            .args([
                "--server",
                &self.server.url(),
                "--certificate-authority",
                "ca.pem",
                "--token",
                "one",
            ])
            .args(["--as", "someone@demo.example", "--as-group", group])
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    async fn as_group(&self, group: &str, arguments: &str) -> Said {
        let mut command = tokio::process::Command::from(self.command(group, arguments));
        let Output { status, stdout, stderr } = command.kill_on_drop(true).output().await.unwrap();
        Said {
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
            code: status.code(),
        }
    }

    /// As someone of group sre; must succeed, without a word on standard error.
    async fn run(&self, arguments: &str) -> String {
        let said = self.as_group("sre", arguments).await;
        assert_eq!(
            (said.code, said.err.as_str()),
            (Some(0), ""),
            "kubectl {arguments}: {said:?}"
        );
        said.out
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

fn names(table: &str) -> Vec<&str> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

const SHOPPING: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: basket, labels: {app: basket}}
spec:
  replicas: 2
  selector: {matchLabels: {app: basket}}
  template:
    metadata: {labels: {app: basket}}
    spec:
      containers:
      - {name: basket, image: 'basket:1', ports: [{containerPort: 80}], env: [{name: A, value: b}]}
---
apiVersion: v1
kind: Service
metadata: {name: basket}
spec: {selector: {app: basket}, ports: [{port: 80}]}
";

#[tokio::test]
async fn get_pods_in_all_namespaces_prints_a_server_side_table() {
    let bench = Bench::start().await;
    let table = bench.run("get pods -A").await;
    assert_eq!(table.lines().count(), 42);
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert!(table.contains("CrashLoopBackOff"), "{table}");
    let wide = bench.run("get pods -n payments -o wide").await;
    assert!(wide.lines().next().unwrap().contains("NODE"), "{wide}");
    assert_eq!(names(&bench.run("get netpol -A").await).len(), 19);
}

#[tokio::test]
async fn get_as_json_yaml_and_names_reads_whole_objects() {
    let bench = Bench::start().await;
    let list: serde_json::Value = serde_json::from_str(&bench.run("get pods -n payments -o json").await).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 8);
    assert_eq!(list["items"][0]["kind"], "Pod");
    assert!(
        bench
            .run("get pod web-0 -n payments -o yaml")
            .await
            .contains("serviceAccountName: default")
    );
    assert_eq!(
        bench.run("get pods -n payments -l app=web -o name").await,
        "pod/web-0\npod/web-1\n"
    );
    assert_eq!(
        bench.run("get pod web-0 -n payments -o jsonpath={.status.phase}").await,
        "Running"
    );
    assert_eq!(
        names(&bench.run("get pods -A --chunk-size=5 --no-headers=false").await).len(),
        41
    );
    assert!(bench.run("get all -n shop").await.contains("deployment.apps/checkout"));
}

#[tokio::test]
async fn every_kind_can_be_listed() {
    let bench = Bench::start().await;
    let resources = bench.run("api-resources --verbs=list -o name").await;
    assert_eq!(resources.lines().count(), 17, "{resources}");
    for resource in resources.lines() {
        bench.run(&format!("get {resource} -A")).await;
        bench.run(&format!("get {resource} -A -o wide")).await;
    }
}

#[tokio::test]
async fn describe_works_for_what_people_describe() {
    let bench = Bench::start().await;
    let pod = bench.run("describe pod web-0 -n payments").await;
    assert!(
        pod.contains("Controlled By:  StatefulSet/web") && pod.contains("Successfully assigned payments/web-0"),
        "{pod}"
    );
    for what in [
        "deployment/web -n shop",
        "service/web -n shop",
        "networkpolicy -n shop",
        "node/node-a",
        "ns/shop",
        "clusterrole/view",
        "sts/web -n payments",
        "cm/web-settings -n shop",
    ] {
        assert!(!bench.run(&format!("describe {what}")).await.is_empty());
    }
}

#[tokio::test]
async fn create_sends_protobuf_and_is_understood() {
    let bench = Bench::start().await;
    bench.run("create configmap fresh -n shop --from-literal=a=b").await;
    assert_eq!(
        bench.run("get cm fresh -n shop -o jsonpath={.data}").await,
        r#"{"a":"b"}"#
    );
    bench.run("create secret generic hush -n shop --from-literal=a=b").await;
    assert_eq!(bench.run("get secret hush -n shop -o jsonpath={.data.a}").await, "Yg==");
    bench
        .run("create deployment tiny -n shop --image=tiny:1 --replicas=2 --port=80")
        .await;
    assert_eq!(
        bench
            .run("get deploy tiny -n shop -o jsonpath={.status.readyReplicas}")
            .await,
        "2"
    );
    bench.run("create namespace extra").await;
    bench.run("create serviceaccount robot -n extra").await;
    bench
        .run("create role reader -n extra --verb=get,list --resource=pods")
        .await;
    bench
        .run("create rolebinding reader -n extra --role=reader --serviceaccount=extra:robot")
        .await;
    assert_eq!(
        bench
            .run("get role reader -n extra -o jsonpath={.rules[0].apiGroups}")
            .await,
        r#"[""]"#
    );
    bench.run("run one -n extra --image=one:1").await;
    bench.run("expose pod one -n extra --port=80").await;
    assert!(bench.run("get endpointslices -n extra").await.contains("IPv4"));
    bench.run("delete namespace extra").await;
    assert_eq!(bench.as_group("sre", "get sa robot -n extra").await.code, Some(1));
}

#[tokio::test]
async fn apply_creates_changes_and_leaves_alone() {
    let bench = Bench::start().await;
    bench.file("shop.yaml", SHOPPING);
    let first = bench.run("apply -n shop -f shop.yaml").await;
    assert_eq!(first, "deployment.apps/basket created\nservice/basket created\n");
    let again = bench.run("apply -n shop -f shop.yaml").await;
    assert_eq!(again, "deployment.apps/basket unchanged\nservice/basket unchanged\n");
    bench.file(
        "shop.yaml",
        &SHOPPING.replace("basket:1", "basket:2").replace("value: b", "value: c"),
    );
    let changed = bench.run("apply -n shop -f shop.yaml").await;
    assert_eq!(changed, "deployment.apps/basket configured\nservice/basket unchanged\n");
    let container = bench
        .run("get deploy basket -n shop -o jsonpath={.spec.template.spec.containers}")
        .await;
    assert!(
        container.contains(r#""env":[{"name":"A","value":"c"}]"#) && container.contains("basket:2"),
        "{container}"
    );
    assert!(
        bench
            .run("rollout status deploy/basket -n shop")
            .await
            .contains("successfully rolled out")
    );
    bench.run("apply -n shop --dry-run=server -f shop.yaml").await;
    bench.file("bad.yaml", &SHOPPING.replace("replicas: 2", "replicaz: 2"));
    let bad = bench.as_group("sre", "apply -n shop -f bad.yaml").await;
    assert!(bad.err.contains(r#"unknown field "spec.replicaz""#), "{bad:?}");
    let server_side = bench.as_group("sre", "apply --server-side -n shop -f shop.yaml").await;
    assert!(
        server_side.err.contains("server-side apply is not in the demo"),
        "{server_side:?}"
    );
}

#[tokio::test]
async fn label_annotate_scale_set_and_patch_change_objects() {
    let bench = Bench::start().await;
    bench.run("label pod web-0 -n payments tier=front").await;
    assert_eq!(bench.run("get pods -A -l tier=front -o name").await, "pod/web-0\n");
    bench.run("label pod web-0 -n payments tier-").await;
    bench.run("annotate cm web-settings -n shop note=yes").await;
    assert_eq!(
        bench
            .run("get cm web-settings -n shop -o jsonpath={.metadata.annotations.note}")
            .await,
        "yes"
    );
    bench.run("scale deploy/web -n shop --replicas=5").await;
    assert!(
        bench
            .run("rollout status deploy/web -n shop")
            .await
            .contains("successfully rolled out")
    );
    assert_eq!(
        bench.run("get pods -n shop -l app=web -o name").await.lines().count(),
        5
    );
    bench.run("set image deploy/web -n shop web=web:9").await;
    bench.run("rollout restart deploy/web -n shop").await;
    assert!(bench.run("rollout history deploy/web -n shop").await.lines().count() >= 4);
    bench.run("rollout undo deploy/web -n shop").await;
    bench
        .run("patch deploy web -n shop --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]")
        .await;
    bench
        .run("patch deploy web -n shop --type=merge -p {\"spec\":{\"replicas\":2}}")
        .await;
    bench
        .run("patch deploy web -n shop -p {\"spec\":{\"replicas\":3}}")
        .await;
    assert_eq!(
        bench.run("get pods -n shop -l app=web -o name").await.lines().count(),
        3
    );
    bench
        .run("wait deploy/web -n shop --for=condition=Available --timeout=20s")
        .await;
    bench.run("cordon node-c").await;
    assert!(bench.run("get node node-c").await.contains("SchedulingDisabled"));
}

#[tokio::test]
async fn delete_waits_until_the_object_is_gone() {
    let bench = Bench::start().await;
    let said = bench.run("delete deploy web -n shop").await;
    assert!(said.contains("\"web\" deleted"), "{said}");
    assert_eq!(bench.run("get pods,rs -n shop -l app=web -o name").await, "");
    bench.run("delete pods --all -n default").await;
    let missing = bench.as_group("sre", "delete deploy web -n shop").await;
    assert_eq!(
        missing.err,
        "Error from server (NotFound): deployments.apps \"web\" not found\n"
    );
}

#[tokio::test]
async fn logs_print_and_follow() {
    let bench = Bench::start().await;
    let lines = bench.run("logs web-0 -n payments --tail=3").await;
    assert_eq!(lines.lines().count(), 3);
    let said = bench
        .as_group("sre", "logs deploy/api -n payments --tail=1 --timestamps")
        .await;
    assert!(
        said.out.contains("component=api") && said.err.starts_with("Found 3 pods"),
        "{said:?}"
    );
    let mut command = tokio::process::Command::from(bench.command("sre", "logs -f web-0 -n payments --tail=2"));
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..4 {
        assert!(lines.next_line().await.unwrap().unwrap().contains("request served"));
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_watch_prints_what_happens() {
    let bench = Bench::start().await;
    let arguments = "get configmaps -n shop -w --output-watch-events";
    let mut child = tokio::process::Command::from(bench.command("sre", arguments))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        lines
            .next_line()
            .await
            .unwrap()
            .unwrap()
            .split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(next().await, ["EVENT", "NAME"]);
    assert_eq!(next().await, ["ADDED", "kube-root-ca.crt"]);
    assert_eq!(next().await, ["ADDED", "web-settings"]);
    bench.run("create configmap seen -n shop").await;
    assert_eq!(next().await, ["ADDED", "seen"]);
    bench.run("label configmap seen -n shop a=b").await;
    assert_eq!(next().await, ["MODIFIED", "seen"]);
    bench.run("delete configmap seen -n shop").await;
    assert_eq!(next().await, ["DELETED", "seen"]);
    child.kill().await.unwrap();
}

#[tokio::test]
async fn whoami_and_can_i_tell_the_person_and_the_rights() {
    let bench = Bench::start().await;
    let me = bench.as_group("dev", "auth whoami").await.out;
    assert!(
        me.contains("someone@demo.example") && me.contains("[dev system:authenticated]"),
        "{me}"
    );
    for (question, answer, code) in [
        ("get pods -n payments", "yes\n", 0),
        ("create pods/exec -n payments", "no\n", 1),
        ("create pods/exec -n shop", "yes\n", 0),
        ("get secrets -n payments", "no\n", 1),
        ("get /version", "yes\n", 0),
    ] {
        let said = bench.as_group("dev", &format!("auth can-i {question}")).await;
        assert_eq!(
            (said.out.as_str(), said.code),
            (answer, Some(code)),
            "{question}: {said:?}"
        );
    }
    let list = bench.as_group("dev", "auth can-i --list -n shop").await.out;
    assert!(
        list.contains("deployments.apps/scale") && list.contains("selfsubjectreviews"),
        "{list}"
    );
}

#[tokio::test]
async fn a_refusal_is_printed_in_kubernetes_words() {
    let bench = Bench::start().await;
    let said = bench.as_group("dev", "get secrets -n payments").await;
    assert_eq!(
        said.err,
        "Error from server (Forbidden): secrets is forbidden: User \"someone@demo.example\" cannot list resource \"secrets\" in API group \"\" in the namespace \"payments\"\n"
    );
    let said = bench.as_group("sre", "exec -n payments web-0 -- id").await;
    assert!(said.err.contains("`pods/exec` is not in the demo"), "{said:?}");
}

#[tokio::test]
async fn discovery_version_events_and_explain_answer() {
    let bench = Bench::start().await;
    let resources = bench.run("api-resources").await;
    for known in ["deploy", "netpol", "selfsubjectreviews", "clusterrolebindings"] {
        assert!(resources.contains(known), "{resources}");
    }
    assert_eq!(bench.run("api-versions").await.lines().count(), 7);
    assert!(
        bench
            .run("version")
            .await
            .contains("Server Version: v1.36.0+gatescribe.demo")
    );
    assert!(bench.run("events -n payments").await.contains("BackOff"));
    assert!(
        bench
            .run("explain deployment.spec.replicas")
            .await
            .contains("FIELD: replicas <integer>")
    );
    assert!(bench.run("get --raw /livez").await.contains("ok"));
}

#[tokio::test]
async fn diff_edit_and_replace_work() {
    let bench = Bench::start().await;
    bench.file("shop.yaml", SHOPPING);
    bench.run("create -n shop -f shop.yaml").await;
    bench.file("shop.yaml", &SHOPPING.replace("basket:1", "basket:3"));
    bench.run("replace -n shop -f shop.yaml").await;
    assert!(
        bench
            .run("get deploy basket -n shop -o yaml")
            .await
            .contains("image: basket:3")
    );
    let gone = bench.run("delete -n shop -f shop.yaml").await;
    assert_eq!(gone.lines().count(), 2);
}
