//! The node's pods are what kubectl expects of pods: exec, attach, port-forward, logs and cp on the real protocols.

use std::io::{Read, Write};
use std::net::TcpStream;
use tests::cluster::{Cluster, Options};
use tests::kubectl::{Kubectl, Running, Way};
use tests::left_out::{Lack, left_out};
use tests::once::Once;
use tests::pods::{listens, port};
use tests::terminal::in_window;
use tests::wait::{PATIENCE, try_until, wait_until};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: shell, namespace: default}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: shell
      image: none
      env: [{name: GREETING, value: hello}]
    - name: side
      image: none
      command: [sh, -c, "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000"]
    - name: loud
      image: none
      command: [sh, -c, "echo problem >&2; exec sleep 1000"]
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" http --listen "$POD_IP:0"']
      env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    - name: local
      image: none
      command: [sh, -c, 'exec "$NODE_BINARY" http --listen 127.0.0.1:0']
---
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: default}
spec:
  nodeName: node-1
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
    - name: reader
      image: none
      stdin: true
      stdinOnce: true
      command: [sh, -c, "while read line; do echo got $line; done; exit 7"]
"#;

/// One cluster with the pods above, for all tests here.
fn prepared() -> anyhow::Result<(&'static Cluster, Kubectl)> {
    static PREPARED: Once<Cluster> = Once::new();
    let cluster = PREPARED.get(|| {
        let cluster = Cluster::start(Options::whole())?;
        try_until("the namespace has its account", PATIENCE, || {
            cluster.admin()?.ok(&["get", "serviceaccount", "default"]).map(drop)
        })?;
        cluster.admin()?.apply(PODS)?;
        for pod in ["shell", "web", "reader"] {
            cluster.pod_is_ready("default", pod)?;
        }
        Ok(cluster)
    })?;
    Ok((cluster, cluster.admin()?))
}

#[test]
fn exec_carries_input_both_outputs_and_the_exit_code() -> anyhow::Result<()> {
    let (_, admin) = prepared()?;
    for way in Way::BOTH {
        let kubectl = admin.over(way);
        let script = "cat; echo $GREETING; echo trouble >&2; exit 3";
        let output = kubectl.run_with_input(
            &["exec", "-i", "shell", "-c", "shell", "--", "sh", "-c", script],
            "in\n",
        )?;
        assert_eq!(output.stdout, "in\nhello\n", "{way}: {output}");
        assert_eq!(
            output.stderr, "trouble\ncommand terminated with exit code 3\n",
            "{output}"
        );
        assert_eq!(output.code, 3);
        let missing = kubectl.run(&["exec", "shell", "-c", "shell", "--", "no-such-program"])?;
        assert_eq!(missing.code, 127, "{missing}");
        let nowhere = kubectl.run(&["exec", "shell", "-c", "nobody", "--", "true"])?;
        assert!(
            nowhere.stderr.contains("container nobody is not valid for pod shell"),
            "{nowhere}"
        );
    }
    Ok(())
}

#[test]
fn a_terminal_has_the_clients_size_and_follows_it() -> anyhow::Result<()> {
    let (cluster, admin) = prepared()?;
    let told = cluster.folder().path().join("first-size-seen");
    let inside =
        "while :; do size=$(stty size); echo size $size; [ \"$size\" = \"50 133\" ] && exit 9; sleep 0.1; done";
    let command = admin.command(&["exec", "-it", "shell", "-c", "shell", "--", "sh", "-c", inside])?;
    let larger = Some((told.as_path(), (50, 133)));
    let mut running = Running::start(in_window(&command, cluster.folder().path(), (24, 100), larger)?)?;
    running.line("the first size", |line| line.contains("size 24 100"))?;
    std::fs::write(&told, "")?;
    running.line("the second size", |line| line.contains("size 50 133"))?;
    assert_eq!(running.end()?, 9, "{:?}", running.lines());
    Ok(())
}

#[test]
fn logs_are_read_from_the_end_by_stream_and_followed() -> anyhow::Result<()> {
    let (_, admin) = prepared()?;
    wait_until("the last three lines", PATIENCE, || {
        let tail = admin.ok(&["logs", "shell", "-c", "side", "--tail=3"]).ok()?;
        (tail == "line 18\nline 19\nline 20\n").then_some(())
    })?;
    let limited = admin.ok(&["logs", "shell", "-c", "side", "--limit-bytes=6"])?;
    assert_eq!(limited, "line 1");
    let stamped = admin.ok(&["logs", "shell", "-c", "loud", "--timestamps", "--tail=1"])?;
    assert!(
        stamped.starts_with("20") && stamped.ends_with("Z problem\n"),
        "{stamped}"
    );

    // From its beginning: another test may have asked the service before, which writes down who came.
    let mut following = admin.start(&["logs", "-f", "web", "-c", "web"])?;
    following.line("what was there", |line| line.starts_with("listening on"))?;
    let (address, _) = sample_address(&admin, "web")?;
    ask(&address, "/followed")?;
    following.line("what came later", |line| line == "GET /followed")?;
    Ok(())
}

#[test]
fn cp_brings_files_there_and_back() -> anyhow::Result<()> {
    let (cluster, admin) = prepared()?;
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let there = cluster.folder().write("there.bin", &content)?;
    let back = cluster.folder().path().join("back.bin");
    admin.ok(&["cp", there.to_str().unwrap(), "default/shell:copied.bin", "-c", "shell"])?;
    admin.ok(&["cp", "default/shell:copied.bin", back.to_str().unwrap(), "-c", "shell"])?;
    assert!(std::fs::read(back)? == content);
    Ok(())
}

#[test]
fn port_forward_reaches_the_pods_port() -> anyhow::Result<()> {
    let (_, admin) = prepared()?;
    let (_, port) = sample_address(&admin, "local")?;
    for way in Way::BOTH {
        let mut forward = admin
            .over(way)
            .start(&["port-forward", "pod/web", &format!(":{port}")])?;
        let local = forward.forwards()?;
        for path in ["/one", "/two"] {
            assert!(ask(&local, path)?.contains(&format!("GET {path} HTTP/1.1")));
        }
    }
    Ok(())
}

#[test]
fn attach_joins_the_main_process() -> anyhow::Result<()> {
    let (_, admin) = prepared()?;
    let mut attached = admin.start(&["attach", "-i", "reader", "-c", "reader"])?;
    // kubectl says nothing before the first output, so the line is what shows that it is joined.
    attached.write("first\n")?;
    attached.line("an echo", |line| line == "got first")?;
    attached.close_input();
    attached.end()?;
    wait_until("the pod has failed with its code", PATIENCE, || {
        let path = "jsonpath={.status.phase} {.status.containerStatuses[0].state.terminated.exitCode}";
        admin
            .ok(&["get", "pod", "reader", "-o", path])
            .ok()
            .filter(|said| said == "Failed 7")
    })?;
    Ok(())
}

#[test]
fn the_api_server_proxies_to_pods_and_to_the_node() -> anyhow::Result<()> {
    let (_, admin) = prepared()?;
    let (address, port) = sample_address(&admin, "web")?;
    if address.starts_with("127.") {
        left_out("what pods and nodes answer through the API server", Lack::Route, "")?;
        let refused = admin.run(&["get", "--raw", "/api/v1/nodes/node-1/proxy/healthz"])?;
        assert!(refused.stderr.contains("not allowed"), "{refused}");
        return Ok(());
    }
    let answer = admin.ok(&[
        "get",
        "--raw",
        &format!("/api/v1/namespaces/default/pods/web:{port}/proxy/a/b?c=d"),
    ])?;
    assert!(answer.starts_with("GET /a/b?c=d HTTP/1.1\n"), "{answer}");
    assert_eq!(admin.ok(&["get", "--raw", "/api/v1/nodes/node-1/proxy/healthz"])?, "ok");
    Ok(())
}

#[test]
fn a_deployment_is_scheduled_restarted_and_deleted() -> anyhow::Result<()> {
    let (cluster, admin) = prepared()?;
    let script = "echo once; exit 1";
    admin.ok(&[
        "create",
        "deployment",
        "crash",
        "--image=none",
        "--",
        "sh",
        "-c",
        script,
    ])?;
    admin.ok(&["create", "deployment", "calm", "--image=none", "--replicas=2"])?;
    admin.ok(&["rollout", "status", "deployment/calm", "--timeout=170s"])?;
    wait_until("the other was restarted", PATIENCE, || {
        let path = "jsonpath={.items[0].status.containerStatuses[0].restartCount}";
        admin
            .ok(&["get", "pods", "-l", "app=crash", "-o", path])
            .ok()?
            .parse::<u32>()
            .ok()
            .filter(|count| *count > 0)
    })?;
    admin.ok(&[
        "delete",
        "deployment",
        "crash",
        "calm",
        "--cascade=foreground",
        "--timeout=170s",
    ])?;
    let folders = || {
        std::fs::read_dir(cluster.folder().path().join("pods"))
            .into_iter()
            .flatten()
            .flatten()
    };
    wait_until("their folders are gone", PATIENCE, || {
        let left = folders().any(|folder| {
            let name = folder.file_name().to_string_lossy().into_owned();
            name.contains("_crash-") || name.contains("_calm-")
        });
        (!left).then_some(())
    })?;
    Ok(())
}

#[test]
fn only_the_api_server_may_dial_the_node() -> anyhow::Result<()> {
    let (cluster, admin) = prepared()?;
    let path = "jsonpath={.status.addresses[0].address}:{.status.daemonEndpoints.kubeletEndpoint.Port}";
    let address = admin.ok(&["get", "node", "node-1", "-o", path])?.parse()?;
    let stranger = cluster.ca().client("kube-apiserver", &["system:masters"])?;
    for identity in [None, Some(&stranger)] {
        let client = tests::http::Client::new(address, cluster.ca().certificate(), identity)?;
        assert!(client.get("/healthz", &[]).is_err(), "{identity:?}");
    }
    Ok(())
}

/// Where a sample service of pod `web` listens, from its log: address with port, and port.
fn sample_address(kubectl: &Kubectl, container: &str) -> anyhow::Result<(String, u16)> {
    let address = listens(kubectl, "default", "web", container)?;
    let port = port(&address)?;
    Ok((address, port))
}

fn ask(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: sample\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
