//! Sessions that have to be recorded are, with anchors in the ledger, or they do not begin.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context as _;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;
use tests::person::Person;

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: kept }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: kept }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: v1
kind: Pod
metadata: { name: shell, namespace: kept }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers: [{ name: shell, image: none }]
---
# On no node: whoever wants to enter it is refused by the cluster, which kubectl asks.
apiVersion: v1
kind: Pod
metadata: { name: nowhere, namespace: kept }
spec:
  containers: [{ name: shell, image: none }]
"#;

const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: kept-is-recorded }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [kept] }
  obligations: { record: true }
"#;

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD_OF_ALL: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let begin = || {
        let cluster = Cluster::start(ClusterOptions {
            node: true,
            ..ClusterOptions::default()
        })?;
        let admin = cluster.admin()?;
        admin.apply(WORLD)?;
        admin.ok(&[
            "wait",
            "--for=condition=Ready",
            "pod/shell",
            "-n",
            "kept",
            "--timeout=50s",
        ])?;
        anyhow::Ok(cluster)
    };
    WORLD_OF_ALL
        .get_or_init(|| begin().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn options() -> Options {
    Options {
        rules: Some(RULES.to_owned()),
        ..Options::default()
    }
}

fn files(gateway: &Gateway) -> anyhow::Result<Vec<PathBuf>> {
    let folder = gateway.file("data/recordings");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn ways(kubectl: &Kubectl) -> [Kubectl; 2] {
    ["true", "false"].map(|on| kubectl.clone().with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", on))
}

#[test]
fn a_recorded_session_leaves_one_sealed_file_and_its_anchors() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &options())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    for kubectl in ways(&alice) {
        let said = kubectl.run(&[
            "exec",
            "shell",
            "-n",
            "kept",
            "--",
            "sh",
            "-c",
            "echo a-secret-canary; exit 4",
        ])?;
        assert_eq!((said.stdout.as_str(), said.code), ("a-secret-canary\n", 4), "{said}");
    }
    let closed = |records: &[Value]| {
        records
            .iter()
            .filter(|record| record["kind"] == "close" && record["recording"].is_object())
            .count()
    };
    let records = gateway.records_with("both are closed", |records| closed(records) == 2)?;
    let files = files(&gateway)?;
    assert_eq!(files.len(), 2, "{files:?}");
    for close in records
        .iter()
        .filter(|record| record["kind"] == "close" && record["recording"].is_object())
    {
        let open = records
            .iter()
            .find(|record| record["seq"] == close["pair"])
            .context("its open")?;
        assert_eq!(
            open["recording"]["chunks"], 1,
            "who and where was on the disk before: {open}"
        );
        assert_eq!(close["outcome"]["exit_code"], 4, "{close}");
        let kept = &close["recording"];
        assert!(
            kept["chunks"].as_u64() >= Some(1) && kept["frames"].as_u64() >= Some(3),
            "{kept}"
        );
        assert!(
            kept.get("incomplete").is_none() && kept["hash"] != open["recording"]["hash"],
            "{kept}"
        );
        let id = close["id"].as_str().context("an id")?;
        let file = files
            .iter()
            .find(|file| file.to_string_lossy().contains(id))
            .context("its file")?;
        let bytes = std::fs::read(file)?;
        assert_eq!(Some(bytes.len() as u64), kept["bytes"].as_u64(), "{kept}");
        assert_eq!(std::fs::metadata(file)?.permissions().mode() & 0o777, 0o600);
        assert!(!bytes.windows(8).any(|window| window == b"a-secret"), "it is sealed");
    }
    Ok(())
}

#[test]
fn promise_3_without_a_place_to_write_no_session_begins() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &options())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let folder = gateway.file("data/recordings");
    std::fs::remove_dir(&folder)?;
    std::fs::write(&folder, "no folder")?;
    for kubectl in ways(&alice) {
        let said = kubectl.run(&["exec", "shell", "-n", "kept", "--", "touch", "it-ran"])?;
        assert_eq!(said.code, 1, "{said}");
        for words in [
            "this session has to be recorded, and it cannot be recorded now",
            "tell whoever runs the gateway",
        ] {
            assert!(said.stderr.contains(words), "no `{words}`: {said}");
        }
        // What is wrong with the disk is for whoever runs the gateway, and stands in the record.
        assert!(!said.stderr.contains("os error"), "{said}");
    }
    gateway.records_with("why it could not be recorded", |records| {
        let mut refused = records.iter().filter(|record| record["kind"] == "refusal");
        refused.any(|record| {
            let note = record["note"].as_str().unwrap_or_default();
            note.starts_with("not recorded: ") && note.contains("os error")
        })
    })?;
    let admin = cluster.admin()?;
    assert_ne!(
        admin.run(&["exec", "shell", "-n", "kept", "--", "ls", "it-ran"])?.code,
        0,
        "it ran"
    );
    // What is no session goes on.
    alice.ok(&["get", "pods", "-n", "kept"])?;
    Ok(())
}

#[test]
fn everything_is_recorded_where_the_configuration_says_so_and_a_refused_session_leaves_nothing() -> anyhow::Result<()> {
    let options = Options {
        more: Some(json!({ "recording": { "sessions": "all" } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let missing = alice.run(&["exec", "nowhere", "-n", "kept", "--", "true"])?;
    assert!(
        missing.code == 1 && missing.stderr.contains("does not have a host assigned"),
        "{missing}"
    );
    alice.ok(&["exec", "shell", "-n", "kept", "--", "true"])?;
    gateway.records_with("the end", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "close" && record["outcome"]["exit_code"] == 0)
    })?;
    assert_eq!(
        files(&gateway)?.len(),
        1,
        "one for the session, none for the refused one"
    );
    Ok(())
}

/// `cp` is an exec of `tar`: the recording names the files, both ways, and keeps none of what is in them.
#[test]
fn h_20_a_copy_is_known_by_its_files() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &options())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let carol = Person::new(&gateway, "carol")?;
    carol.signs_in(&format!("gatescribe login {}", gateway.url))?;
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("payroll.csv"), folder.path().join("back.csv"));
    std::fs::write(&there, "a-salary-canary\n")?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
    for kubectl in ways(&alice) {
        kubectl.ok(&["cp", &path(&there)?, "kept/shell:payroll.csv"])?;
        kubectl.ok(&["cp", "kept/shell:payroll.csv", &path(&back)?])?;
        assert_eq!(std::fs::read_to_string(&back)?, "a-salary-canary\n");
    }
    let closed = |records: &[Value]| {
        let closes = records.iter().filter(|record| record["kind"] == "close");
        closes.filter(|record| record["recording"].is_object()).count()
    };
    // To copy into a pod kubectl first asks whether the destination is a folder.
    let records = gateway.records_with("all sessions are closed", |records| closed(records) >= 6)?;
    let mut copies = 0;
    let is_kept = |record: &&Value| record["kind"] == "close" && record["recording"].is_object();
    for close in records.iter().filter(is_kept) {
        let id = close["id"].as_str().context("an id")?;
        let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
        let shown: Value = serde_json::from_str(&shown.stdout)?;
        let command = &shown["recording"]["head"]["command"];
        if command[0] != "tar" {
            continue;
        }
        copies += 1;
        assert_eq!(shown["recording"]["finish"]["files"], 1, "{shown}");
        let text = carol
            .ok(&format!("gatescribe session export {id} --format text"))?
            .stdout;
        assert!(
            text.contains("payroll.csv") && !text.contains("canary"),
            "{command}: {text}"
        );
    }
    assert_eq!(copies, 4, "two ways, two protocols");
    Ok(())
}
