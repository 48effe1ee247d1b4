//! The gateway's own credential at the API server: when that is refused, nobody who calls is told that it is their fault, and
//! a good one in its file is taken up by the running gateway.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tests::browser::Browser;
use tests::caller;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::wait::try_until;

/// Files are looked at every few seconds, and a refused credential makes the gateway careful for up to a minute.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn imp_10_a_refused_credential_of_the_gateways_is_no_ones_fault_and_the_next_one_is_taken_up() -> anyhow::Result<()> {
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
    // What the person was told, and what the cluster had said to the gateway.
    assert_eq!(end["outcome"]["status"], 502, "{end}");
    assert_eq!(end["upstream"]["status"], 401, "{end}");

    std::fs::write(gateway.file("impersonator"), good)?;
    try_until("the next credential is taken up", PATIENCE, || kubectl.ok(&get))?;
    Ok(())
}

#[test]
fn a_cluster_that_refuses_the_gateway_takes_no_other_cluster_out_of_service() -> anyhow::Result<()> {
    let (bench, east) = (FakeApiServer::start()?, FakeApiServer::start()?);
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, "credential")?;
    let second = json!({
        "name": "east", "servers": [east.upstream().server],
        "impersonator": { "tokenFile": token }, "observer": { "tokenFile": token }, "authorization": "observe",
    });
    let options = Options {
        authorization: Some("observe"),
        more: Some(json!({ "clusters": [{}, second] })),
        ..Options::default()
    };
    let gateway = Gateway::before(&bench.upstream(), &options)?;
    let readyz = || Browser::default().request("GET", &format!("http://{}/readyz", gateway.admin()), "");
    let page = readyz()?;
    ensure!(page.body.ends_with("\nreadyz check passed\n"), "{}", page.body);
    let alice = gateway.sign_in("alice")?;
    let at_east = gateway.renew(&alice.handle, "east")?.token;
    let client = gateway.client()?;
    let status = |cluster: &str, token: &str| {
        let target = format!("/clusters/{cluster}/api/v1/namespaces/default/configmaps/x");
        let answer = client.get(&target, &[("Authorization", &format!("Bearer {token}"))]);
        answer.map(|answer| answer.status)
    };

    east.refuse_the_gateway(true);
    ensure!(status("east", &at_east)? == 502, "east serves");
    // In the first half minute every cluster is waited for.
    let page = try_until("it is ready without east", PATIENCE, || {
        ensure!(status("east", &at_east)? == 502, "east serves");
        let page = readyz()?;
        ensure!(page.status == 200, "{}", page.body);
        Ok(page.body)
    })?;
    let line = "[-] cluster east impersonator not ready: the cluster does not accept this credential (401)\n";
    ensure!(page.contains(line), "{page}");
    ensure!(
        page.ends_with("\nreadyz check passed, without cluster east\n"),
        "{page}"
    );
    ensure!(status("bench", &alice.token)? == 200, "the other cluster is served");

    bench.refuse_the_gateway(true);
    let page = try_until("no cluster is left", PATIENCE, || {
        ensure!(status("east", &at_east)? == 502 && status("bench", &alice.token)? == 502);
        let page = readyz()?;
        ensure!(page.status == 503, "{}", page.body);
        Ok(page.body)
    })?;
    ensure!(page.ends_with("\nreadyz check failed\n"), "{page}");
    Ok(())
}
