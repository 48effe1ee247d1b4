//! What enters a pod through its node: the kubelet's own exec, asked for at `nodes/proxy`, with a real API server and a node whose
//! pods are real processes. A rule about the pod's namespace is not left that way.

use anyhow::{Context as _, ensure};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::person::Person;
use tests::pods::{namespace, shell};
use tests::records::find;
use tests::rules::kept_is_recorded;
use tests::upgraded::{Switch, Upgraded};

const DEV_DOES_ALL: &str = r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: dev-does-all }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

#[test]
fn a_kubelet_s_exec_through_its_node_is_recorded_as_any_other() -> anyhow::Result<()> {
    let cluster = Cluster::with_pods(&[DEV_DOES_ALL, &namespace("kept"), &shell("kept", "shell")].concat())?;
    let gateway = Gateway::start(&cluster, &Options::ruled(kept_is_recorded()))?;
    let alice = gateway.sign_in("alice")?;
    let words = "command=sh&command=-c&command=echo%20inside%3B%20exit%205";
    let target =
        format!("/clusters/bench/api/v1/nodes/node-1/proxy/exec/kept/shell/shell?{words}&input=0&output=1&error=1");
    let mut client = Upgraded::ask(
        &gateway,
        &alice.token,
        &target,
        Switch::WebSocket("v4.channel.k8s.io"),
        b"",
    )?;
    ensure!(client.is_granted(), "{}", client.head);
    let (mut output, mut status) = (Vec::new(), Vec::new());
    while status.is_empty() {
        let frame = client.frame()?;
        match frame.payload.split_first() {
            Some((1, said)) => output.extend_from_slice(said),
            Some((3, said)) => status.extend_from_slice(said),
            _ => {}
        }
    }
    assert_eq!(String::from_utf8_lossy(&output), "inside\n");
    let status = String::from_utf8(status)?;
    assert!(
        status.contains("NonZeroExitCode") && status.contains("\"5\""),
        "{status}"
    );
    let id = client.id()?;
    drop(client);

    let close = gateway.end_of(&id)?;
    let records = gateway.records()?;
    let open = find(&records, "open", &id)?;
    assert_eq!(
        (&open["req"]["action"], &open["req"]["resource"], &open["req"]["name"]),
        (&"proxy".into(), &"nodes".into(), &"node-1".into()),
        "{open}"
    );
    let rules = open["decision"]["rules"].to_string();
    assert!(
        rules.contains("kept-is-recorded") && rules.contains("the call may reach into every namespace"),
        "{open}"
    );
    assert_eq!(close["outcome"]["exit_code"], 5, "{close}");
    assert!(close["recording"].get("incomplete").is_none(), "{close}");
    let carol = Person::signed_in(&gateway, "carol")?;
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?.json()?;
    let command = shown["recording"]["head"]["command"].as_array().context("a command")?;
    assert_eq!(command, &["sh", "-c", "echo inside; exit 5"], "{shown}");
    let text = carol.ok(&format!("gatescribe session export {id} --format text"))?;
    assert!(text.stdout.contains("inside"), "{text}");
    Ok(())
}
