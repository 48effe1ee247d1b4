//! How long kubectl waits for its credential plugin: `cargo xtask bench credential`. Each run is a process of its own,
//! from start to exit, as kubectl starts it, with a token in the cache and the gateway's address leading nowhere: an
//! answer that asked the network would fail.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::ThumbprintHash;
use serde_json::json;
use tests::counterparts;

/// Nobody listens on the discard port.
const GATEWAY: &str = "https://127.0.0.1:9";

fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runs = if quick { 20 } else { 300 };
    let binary = counterparts::own_binary("gatescribe")?;
    let home = tempfile::tempdir()?;
    keep_token(home.path())?;
    let info = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "spec": { "interactive": false, "cluster": { "server": "https://prod.example" } },
    });
    let run = || -> anyhow::Result<Duration> {
        let began = Instant::now();
        let output = Command::new(&binary)
            .args(["kube", "credential", "--gateway", GATEWAY, "--cluster", "prod"])
            .env_clear()
            .env("GATESCRIBE_HOME", home.path())
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(Stdio::null())
            .output()?;
        let took = began.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said.contains("the-token"),
            "no credential: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    };
    run()?; // the binary is in the page cache from here on, as it is for whoever works with kubectl
    let mut all = (0..runs).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
    all.sort_unstable();
    let at = |percent: usize| {
        all.get((all.len() * percent / 100).min(all.len() - 1))
            .map(|time| time.as_secs_f64() * 1e3)
            .context("no run")
    };
    writeln!(
        std::io::stdout(),
        "credential runs={runs} p50_ms={:.2} p95_ms={:.2} max_ms={:.2}",
        at(50)?,
        at(95)?,
        at(100)?
    )?;
    Ok(())
}

/// What a sign-in leaves behind (gateway/cli/src/client/store), with a token for an hour.
fn keep_token(home: &std::path::Path) -> anyhow::Result<()> {
    let hash = (DEFAULT_PROVIDER.key_utils.compute_digest)(GATEWAY.as_bytes(), ThumbprintHash::SHA256)?;
    let short = hex::encode(hash.get(..5).unwrap_or_default());
    let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
    let end = model::time::Timestamp::from_unix_seconds(i64::try_from(end)?);
    let at = |path: &str| format!("{GATEWAY}{path}");
    let kept = json!({
        "version": 1, "gateway": GATEWAY, "trust": { "by": "system" },
        "endpoints": {
            "authorization": at("/authorize"), "token": at("/token"), "device": at("/device_authorization"),
            "revocation": at("/revoke"), "userinfo": at("/userinfo"), "api": at("/api/v1"),
        },
        "clusters": [{ "name": "prod", "server": "https://prod.example" }],
        "session": { "handle": "the-handle", "username": "ann", "ends": null },
        "exchangeUnderWay": null,
        "tokens": { "prod": { "token": "the-token", "usableUntil": end.to_string() } },
        "promptedAt": null, "refusals": [],
    });
    let sessions = home.join("sessions");
    std::fs::create_dir_all(&sessions)?;
    std::fs::write(sessions.join(format!("127.0.0.1_9-{short}.json")), kept.to_string())?;
    std::fs::write(home.join("current"), format!("{GATEWAY}\n"))?;
    Ok(())
}
