//! One cluster, one gateway before it, and the pods that every client meets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;
use tests::once::Once;
use tests::pods::{listens, port};
use tests::records::{close_of, opens};
use tests::wait::{PATIENCE, try_until};

/// The namespace of the pods.
pub(crate) const NAMESPACE: &str = "calls";
/// A namespace of Helm's on each side; as long as one another, as its tables are as wide as what is in them.
pub(crate) const RELEASES: [&str; 2] = ["releases-a", "releases-b"];

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: calls }
---
apiVersion: v1
kind: Namespace
metadata: { name: releases-a }
---
apiVersion: v1
kind: Namespace
metadata: { name: releases-b }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: everything-here }
rules:
- { apiGroups: ["*"], resources: ["*"], verbs: ["*"] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: calls }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything-here }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: releases-a }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything-here }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: releases-b }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything-here }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: drains }
rules:
- { apiGroups: [""], resources: [nodes], verbs: [get, patch] }
- { apiGroups: [""], resources: [pods], verbs: [list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: drains }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: drains }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: fixed, namespace: calls }
data: { k: v }
---
apiVersion: v1
kind: Pod
metadata: { name: shell, namespace: calls }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - { name: shell, image: none }
    - name: talker
      image: none
      command: [sh, -c, 'i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000']
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: calls, labels: { app: web } }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" http --listen "$POD_IP:0"']
      env: [{ name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }]
    - name: local
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" http --listen 127.0.0.1:0']
    - name: sink
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" sink --listen 127.0.0.1:0']
"#;

/// One way to the cluster, as alice.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) kubectl: Kubectl,
}

/// Where the sample services listen.
#[derive(Debug)]
pub(crate) struct Places {
    /// The port on the pod's own address, and whether the API server may proxy to that address.
    pub(crate) web: u16,
    pub(crate) proxied: bool,
    /// HTTP on loopback.
    pub(crate) local: u16,
    /// Answers when the other side has closed its direction.
    pub(crate) sink: u16,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: Gateway,
    pub(crate) sides: [Side; 2],
    pub(crate) places: Places,
    /// Whether every session is recorded.
    recorded: bool,
}

impl World {
    /// The one that all rows share. Every session is recorded, which no client may notice.
    pub(crate) fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: Once<World> = Once::new();
        SHARED.get(|| Self::with(Vec::new(), true))
    }

    /// Another one, whose API server is started with these arguments too, and whose sessions are recorded or not.
    pub(crate) fn with(apiserver_arguments: Vec<String>, recorded: bool) -> anyhow::Result<Self> {
        let cluster = Cluster::start(ClusterOptions {
            apiserver_arguments,
            ..ClusterOptions::whole()
        })?;
        let admin = cluster.admin()?;
        admin.apply(WORLD)?;
        let account = ["get", "serviceaccount", "default", "-n", NAMESPACE];
        try_until("the namespace has its account", PATIENCE, || {
            admin.ok(&account).map(drop)
        })?;
        let more = json!({
            "identity": { "providers": [{ "acceptAudiences": ["kubernetes"] }] },
            "recording": { "sessions": if recorded { "all" } else { "byRule" } },
        });
        let options = Options {
            more: Some(more),
            ..Options::default()
        };
        let gateway = Gateway::start(&cluster, &options)?;
        // The provider's own token is good for an hour. One of the gateway's ends after ten minutes, and all rows share it.
        let token = gateway.provider.raw_token("alice")?;
        let sides = [
            ("direct", cluster.as_person("alice@example.com", &["dev"])?),
            ("gate", gateway.kubectl("alice", &token)?),
        ];
        let sides = sides.map(|(name, kubectl)| Side { name, kubectl });
        for side in &sides {
            // Helm warns of one that others may read.
            std::fs::set_permissions(side.kubectl.kubeconfig(), PermissionsExt::from_mode(0o600))?;
        }
        for pod in ["shell", "web"] {
            running(&cluster, pod)?;
        }
        let tail = ["logs", "shell", "-c", "talker", "-n", NAMESPACE, "--tail=1"];
        try_until("all is said", PATIENCE, || {
            let last = admin.ok(&tail)?;
            ensure!(last == "line 20\n", "{last}");
            Ok(())
        })?;
        let places = places(&admin)?;
        Ok(Self {
            cluster,
            gateway,
            sides,
            places,
            recorded,
        })
    }

    /// A pod of one's own whose only container `main` runs a script and is not started again; standard input is kept open.
    pub(crate) fn pod(&self, name: &str, script: &str) -> anyhow::Result<()> {
        self.pod_by(name, script, false)
    }

    /// As [`World::pod`], in a terminal of its own.
    pub(crate) fn pod_with_terminal(&self, name: &str, script: &str) -> anyhow::Result<()> {
        self.pod_by(name, script, true)
    }

    fn pod_by(&self, name: &str, script: &str, tty: bool) -> anyhow::Result<()> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": {
                "nodeName": "node-1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": "none", "stdin": true, "stdinOnce": true, "tty": tty,
                    "command": ["sh", "-c", script],
                }],
            },
        });
        self.make(&format!("namespaces/{NAMESPACE}/pods"), &pod)?;
        running(&self.cluster, name)
    }

    /// A node that nobody runs, with a pod of the same name bound to it.
    pub(crate) fn empty_node(&self, name: &str) -> anyhow::Result<()> {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        self.make("nodes", &node)?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": {
                "nodeName": name, "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "main", "image": "none" }],
            },
        });
        self.make(&format!("namespaces/{NAMESPACE}/pods"), &pod)
    }

    fn make(&self, place: &str, object: &Value) -> anyhow::Result<()> {
        let answer = self.cluster.client().send(
            "POST",
            &format!("/api/v1/{place}"),
            &[("Content-Type", "application/json")],
            object.to_string().as_bytes(),
        )?;
        ensure!(answer.status == 201, "{}", String::from_utf8_lossy(&answer.body));
        Ok(())
    }

    /// A folder for files of one row.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.cluster.folder().path().join("rows").join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Every session that has begun by now ends with a whole recording, where sessions are recorded here, and else without one.
    pub(crate) fn sessions_are_recorded(&self) -> anyhow::Result<()> {
        let is_session = |open: &Value| {
            let action = open["req"]["action"].as_str();
            action.is_some_and(|action| ["exec", "attach", "portforward"].contains(&action))
        };
        let begun: Vec<Value> = opens(&self.gateway.records()?, is_session).cloned().collect();
        let records = self.gateway.records_with("the sessions have ended", |records| {
            begun.iter().all(|open| close_of(records, open).is_some())
        })?;
        let closes = begun.iter().filter_map(|open| close_of(&records, open));
        for close in closes.filter(|close| close["outcome"]["status"] == 101) {
            let kept = &close["recording"];
            let whole = kept["frames"].as_u64() > Some(0) && kept.get("incomplete").is_none();
            ensure!(if self.recorded { whole } else { kept.is_null() }, "{close}");
        }
        Ok(())
    }

    /// What the gateway has recorded behind the first `before` records, for somebody who looks for the reason of a failure.
    pub(crate) fn recorded(&self, before: usize) -> String {
        let Ok(records) = self.gateway.records() else {
            return "the ledger cannot be read".to_owned();
        };
        let lines = records.iter().skip(before).map(Value::to_string);
        let lines: Vec<String> = lines.filter(|line| !line.contains("\"kind\":\"checkpoint\"")).collect();
        let skipped = lines.len().saturating_sub(40);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

fn running(cluster: &Cluster, pod: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
    try_until("the pod runs", PATIENCE, || {
        let found = cluster.client().get(&path, &[])?.json()?;
        let phase = found.pointer("/status/phase").and_then(Value::as_str);
        let waiting = found.pointer("/status/containerStatuses").is_none();
        ensure!(phase == Some("Running") && !waiting, "{found}");
        Ok(())
    })
}

/// Asks the logs where the services listen, and makes the service that leads to the first.
fn places(admin: &Kubectl) -> anyhow::Result<Places> {
    let listens = |container: &str| listens(admin, NAMESPACE, "web", container);
    let (web, local, sink) = (listens("web")?, listens("local")?, listens("sink")?);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": port(&web)? }] },
    });
    admin.apply(&service.to_string())?;
    // The API server proxies to no loopback address, and this machine may have no other.
    let proxied = !web.starts_with("127.");
    if proxied {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services/web:80/proxy/");
        try_until("the service has an endpoint", PATIENCE, || {
            admin.ok(&["get", "--raw", &path]).map(drop)
        })?;
    }
    Ok(Places {
        web: port(&web)?,
        proxied,
        local: port(&local)?,
        sink: port(&sink)?,
    })
}

/// All regular files below a folder with their digests, in order.
pub(crate) fn digests(folder: &Path) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path.strip_prefix(folder)?.display().to_string();
            lines.push(format!("{name} {}", super::table::digest(&std::fs::read(&path)?)));
        }
    }
    lines.sort();
    Ok(lines.join("\n"))
}
