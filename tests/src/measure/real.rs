//! A real control plane with a gateway in front of it, for benches of what only real parts can carry: sessions in pods and
//! watches. Two ways lead to the same API server: straight, and through the gateway; in two namespaces, of which one is
//! recorded.

use crate::cluster::{Cluster, Options as ClusterOptions};
use crate::gateway::{Gateway, Options};
use crate::measure::cpu;
use crate::rules::kept_is_recorded;
use crate::wait::{PATIENCE, try_until};
use anyhow::ensure;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;

/// Sessions in this namespace are not recorded.
pub const PLAIN: &str = "plain";
/// Sessions in this one are.
pub const KEPT: &str = "kept";
/// The pod of both, and its container.
pub const POD: &str = "shell";

/// How long the API server is looked at, to see whether it rests.
const LOOK: std::time::Duration = std::time::Duration::from_secs(2);

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: plain }
---
apiVersion: v1
kind: Namespace
metadata: { name: kept }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: straight, namespace: plain }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: bench }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
- { kind: ServiceAccount, name: straight, namespace: plain }
"#;

/// The cluster and its gateway.
#[derive(Debug)]
pub struct Real {
    // Dropped first: it holds connections to the cluster.
    /// The gateway, on the measured core.
    pub gateway: Gateway,
    /// The cluster.
    pub cluster: Cluster,
    /// Good for everything, straight at the API server.
    pub straight: String,
}

/// Where requests go: whom to trust there, and what to say who one is.
#[derive(Debug, Clone)]
pub struct Way {
    /// Where to connect.
    pub address: SocketAddr,
    /// In front of each path.
    pub prefix: &'static str,
    /// The authority of the certificate there, PEM.
    pub ca: String,
    /// A bearer token.
    pub token: String,
}

impl Real {
    /// Starts both; with `pods`, a node with the pod [`POD`] in [`PLAIN`] and in [`KEPT`].
    ///
    /// # Errors
    /// A part does not start.
    pub fn start(pods: bool) -> anyhow::Result<Self> {
        let cluster = Cluster::start(ClusterOptions {
            node: pods,
            ..ClusterOptions::default()
        })?;
        let admin = cluster.admin()?;
        admin.apply(WORLD)?;
        if pods {
            for namespace in [PLAIN, KEPT] {
                admin.apply(&pod(namespace).to_string())?;
                let name = format!("pod/{POD}");
                admin.ok(&["wait", "--for=condition=Ready", &name, "-n", namespace, "--timeout=50s"])?;
            }
        }
        // What budgets do is measured elsewhere.
        let limits =
            json!({ "recordsPerSecond": 1_000_000, "bytesPerDay": "1024GiB", "inFlight": 100_000, "streams": 100_000 });
        let mut under = Command::new("taskset");
        under.args(["-c", cpu::MEASURED]);
        let gateway = Gateway::start(
            &cluster,
            &Options {
                more: Some(json!({ "limits": limits })),
                under: Some(under),
                ..Options::ruled(kept_is_recorded())
            },
        )?;
        let straight = cluster.service_account_token(PLAIN, "straight")?;
        Ok(Self {
            gateway,
            cluster,
            straight,
        })
    }

    /// Waits until the API server rests: for some time after its start it is busy with itself, which is no latency of a proxy.
    /// On a machine that is too slow for that it says so, and goes on.
    ///
    /// # Errors
    /// It is gone.
    pub fn settle(&self) -> anyhow::Result<()> {
        let pid = self.cluster.pid_of("kube-apiserver")?.as_raw();
        for _ in 0..30 {
            let before = cpu::used(pid)?;
            std::thread::sleep(LOOK);
            if (cpu::used(pid)? - before) / 1e6 < LOOK.as_secs_f64() * 0.05 {
                return Ok(());
            }
        }
        println!("kube-apiserver does not come to rest: latencies have its own work in them");
        Ok(())
    }

    /// Straight to the API server.
    #[must_use]
    pub fn directly(&self) -> Way {
        Way {
            address: self.cluster.address(),
            prefix: "",
            ca: self.cluster.ca().certificate().to_owned(),
            token: self.straight.clone(),
        }
    }

    /// Through the gateway, with a new token.
    ///
    /// # Errors
    /// The sign-in fails.
    pub fn through(&self) -> anyhow::Result<Way> {
        Ok(Way {
            address: self.gateway.address,
            prefix: "/clusters/bench",
            ca: self.gateway.ca().to_owned(),
            token: self.gateway.sign_in("alice")?.token,
        })
    }

    /// The gateway's process.
    ///
    /// # Errors
    /// It did not start.
    pub fn pid(&self) -> anyhow::Result<i32> {
        Ok(self.gateway.process().pid()?.as_raw())
    }

    /// The ends of sessions behind the record `after`, once there are `wanted` of them and no session is open.
    ///
    /// # Errors
    /// There are fewer.
    pub fn sessions(&self, after: u64, wanted: usize) -> anyhow::Result<Vec<Session>> {
        try_until("every session is closed in the ledger", PATIENCE, || {
            let records = self.gateway.records()?;
            let new = || records.iter().filter(|record| record["seq"].as_u64() > Some(after));
            let opened = new()
                .filter(|record| record["kind"] == "open" && enters(record))
                .count();
            let closed: Vec<Session> = new().filter_map(Session::of).collect();
            ensure!(
                closed.len() >= wanted && closed.len() == opened,
                "{opened} sessions were opened, {} are closed, {wanted} are wanted",
                closed.len()
            );
            Ok(closed)
        })
    }

    /// The newest record's number.
    ///
    /// # Errors
    /// The ledger is damaged.
    pub fn newest(&self) -> anyhow::Result<u64> {
        let records = self.gateway.records()?;
        Ok(records.last().and_then(|record| record["seq"].as_u64()).unwrap_or(0))
    }
}

/// What the ledger says of one session at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Bytes from the client and to it, frames and all.
    pub bytes: [u64; 2],
    /// How it ended.
    pub end: String,
    /// Bytes of its recording, if there is one and it is whole.
    pub recording: Option<u64>,
}

impl Session {
    fn of(record: &Value) -> Option<Self> {
        if record["kind"] != "close" || record["outcome"]["status"] != 101 {
            return None;
        }
        let outcome = &record["outcome"];
        let kept = &record["recording"];
        Some(Self {
            bytes: ["bytes_in", "bytes_out"].map(|name| outcome[name].as_u64().unwrap_or(0)),
            end: outcome["end"].as_str().unwrap_or_default().to_owned(),
            recording: kept["bytes"].as_u64().filter(|_| kept.get("incomplete").is_none()),
        })
    }
}

/// Sessions are recorded, all of them or none, and carried at least so many bytes from the client and to it.
///
/// # Errors
/// They are not, or did not; they are in the error.
pub fn held(sessions: &[Session], recorded: bool, bytes: [u64; 2]) -> anyhow::Result<()> {
    ensure!(
        sessions.iter().all(|session| session.recording.is_some() == recorded),
        "to be recorded: {recorded}: {sessions:?}"
    );
    for (direction, least) in bytes.into_iter().enumerate() {
        let counted: u64 = sessions.iter().map(|session| session.bytes[direction]).sum();
        ensure!(counted >= least, "{counted} bytes of {least} in {sessions:?}");
    }
    Ok(())
}

fn enters(record: &Value) -> bool {
    ["exec", "attach", "portforward"]
        .iter()
        .any(|name| record["req"]["subresource"] == *name)
}

fn pod(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD, "namespace": namespace },
        "spec": {
            "nodeName": "node-1", "terminationGracePeriodSeconds": 0, "containers": [{ "name": POD, "image": "none" }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_that_is_not_whole_is_none() {
        let mut close = json!({
            "kind": "close", "outcome": { "status": 101, "end": "answered", "bytes_in": 7, "bytes_out": 9 },
            "recording": { "bytes": 400 },
        });
        let whole = Session {
            bytes: [7, 9],
            end: "answered".to_owned(),
            recording: Some(400),
        };
        assert_eq!(Session::of(&close), Some(whole));
        close["recording"]["incomplete"] = json!(true);
        assert_eq!(Session::of(&close).unwrap().recording, None);
        // The end of a watch is none of a session.
        close["outcome"]["status"] = json!(200);
        assert_eq!(Session::of(&close), None);
    }

    #[test]
    fn a_session_without_its_recording_or_its_bytes_is_found() {
        let session = |bytes, recording| Session {
            bytes,
            end: "answered".to_owned(),
            recording,
        };
        let both = [session([5, 0], Some(1)), session([5, 7], Some(1))];
        held(&both, true, [10, 7]).unwrap();
        assert!(held(&both, true, [11, 7]).is_err());
        assert!(held(&both, true, [10, 8]).is_err());
        assert!(held(&both, false, [0, 0]).is_err());
        let one = [session([5, 5], Some(1)), session([5, 5], None)];
        assert!(held(&one, true, [0, 0]).is_err() && held(&one, false, [0, 0]).is_err());
    }
}
