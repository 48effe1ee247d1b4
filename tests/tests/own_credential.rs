//! The gateway's own credential at the API server: when that is refused, nobody who calls is told that it is their fault, and
//! a good one in its file is taken up by the running gateway.

use std::time::Duration;

use anyhow::ensure;
use tests::caller;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::wait::try_until;

/// Files are looked at every few seconds, and a refused credential makes the gateway careful for up to a minute.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn a_refused_credential_of_the_gateways_is_no_ones_fault_and_the_next_one_is_taken_up() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(&caller::roles("vault", "dev"))?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let kubectl = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let get = ["get", "configmaps", "-n", "vault"];
    kubectl.ok(&get)?;
    let good = std::fs::read_to_string(gateway.file("impersonator"))?;

    std::fs::write(gateway.file("impersonator"), "garbage")?;
    let refused = try_until("the cluster refuses the gateway", PATIENCE, || {
        let answer = kubectl.run(&get)?;
        ensure!(answer.code != 0, "still served");
        Ok(answer)
    })?;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused
            .stderr
            .contains("the cluster did not accept the gateway's own credential"),
        "{refused}"
    );
    for blames in ["sign in", "gatescribe login", "Unauthorized", "logged in"] {
        assert!(!refused.stderr.contains(blames), "`{blames}` in {refused}");
    }
    let raw = caller::Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let (id, status, _) = raw.call("GET", "/api/v1/namespaces/vault/configmaps", &[], b"")?;
    assert_eq!(status, 502);
    let (_, end) = caller::both(&gateway, &id)?;
    let why = "the cluster did not accept the gateway's own credential";
    assert_eq!(end["outcome"]["why"], why, "{end}");

    std::fs::write(gateway.file("impersonator"), good)?;
    try_until("the next credential is taken up", PATIENCE, || kubectl.ok(&get))?;
    Ok(())
}
