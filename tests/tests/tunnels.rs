//! What happens to the bytes of an upgraded call, with an API server's stand-in that answers whatever a story says: the rows
//! of an upgrade that a real one cannot be made to play.

use std::io::Read as _;
use std::net::Shutdown;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::fake::{FakeApiServer, LAST_WORDS};
use tests::gateway::{Gateway, Options};
use tests::metrics::Scrape;
use tests::rules::kept_is_recorded;
use tests::upgraded::{Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: enters }
rules:
- { apiGroups: [""], resources: [pods, pods/exec, pods/portforward], verbs: [create, get, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: enters }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enters }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
"#;

const EXEC: &str = "/clusters/bench/api/v1/namespaces/default/pods/x/exec?command=true";
const FORWARD: &str = "/clusters/bench/api/v1/namespaces/default/pods/x/portforward";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n";

struct Stage {
    fake: FakeApiServer,
    gateway: Gateway,
    token: String,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        Self::ruled(ROLES)
    }

    fn ruled(rules: impl Into<String>) -> anyhow::Result<Self> {
        let fake = FakeApiServer::start()?;
        let options = Options {
            authorization: Some("enforce"),
            ..Options::ruled(rules)
        };
        let gateway = Gateway::before(&fake.upstream(), &options)?;
        let token = gateway.sign_in("alice")?.token;
        Ok(Self { fake, gateway, token })
    }

    /// Asks for a switch to SPDY with `early` right behind the head.
    fn ask(&self, target: &str, early: &[u8]) -> anyhow::Result<Upgraded> {
        Upgraded::ask(
            &self.gateway,
            &self.token,
            target,
            Switch::Spdy("v4.channel.k8s.io"),
            early,
        )
    }

    fn close(&self) -> anyhow::Result<Value> {
        let is_close = |record: &Value| record["kind"] == "close" && record["pair"].is_u64();
        let records = self
            .gateway
            .records_with("the close", |records| records.iter().any(is_close))?;
        records.into_iter().find(is_close).context("waited for")
    }
}

#[test]
fn h_08_h_10_what_comes_right_behind_a_head_passes_once_and_an_end_in_one_direction_leaves_the_other()
-> anyhow::Result<()> {
    let stage = Stage::new()?;
    stage
        .fake
        .answer_upgrades(&[GRANTED.as_bytes(), b"glued to the 101;"].concat());
    let mut client = stage.ask(FORWARD, b"glued to the head;")?;
    let head = &client.head;
    ensure!(client.is_granted(), "{head}");
    for field in [
        "upgrade: SPDY/3.1",
        "connection: Upgrade",
        "x-stream-protocol-version: v4.channel.k8s.io",
    ] {
        ensure!(
            head.to_lowercase().contains(&field.to_lowercase()),
            "no {field} in {head}"
        );
    }
    client.write(b"later;")?;
    // No more from here: TLS says goodbye, and so does TCP.
    let stream = &mut client.stream;
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock)?;
    stream.sock.shutdown(Shutdown::Write)?;
    let said = client.rest()?;
    let wanted = [b"glued to the 101;glued to the head;later;".as_slice(), LAST_WORDS].concat();
    assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&wanted));
    assert_eq!(stage.fake.upgraded().1, b"glued to the head;later;");
    let close = stage.close()?;
    assert_eq!(close["outcome"]["end"], "answered", "{close}");
    assert_eq!(close["outcome"]["status"], 101, "{close}");
    assert_eq!(close["outcome"]["bytes_in"], 24, "{close}");
    assert_eq!(
        close["outcome"]["bytes_out"].as_u64(),
        Some(wanted.len() as u64),
        "{close}"
    );
    Ok(())
}

#[test]
fn h_05_h_07_a_refused_upgrade_is_told_whole_and_nothing_more_reaches_that_connection() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let told = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"container gone","code":404}"#;
    let answer = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{told}",
        told.len()
    );
    stage.fake.answer_upgrades(answer.as_bytes());
    let mut client = stage.ask(EXEC, b"GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let head = &client.head;
    ensure!(
        head.starts_with("HTTP/1.1 404 ") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(String::from_utf8_lossy(&client.rest()?), told);
    let close = stage.close()?;
    assert_eq!(
        (&close["outcome"]["end"], &close["outcome"]["status"]),
        (&"answered".into(), &404.into()),
        "{close}"
    );
    assert_eq!(
        stage.fake.upgraded(),
        (1, Vec::new()),
        "what followed the head reached the cluster"
    );
    Ok(())
}

#[test]
fn h_06_an_answer_that_is_neither_switch_nor_refusal_leads_nowhere() -> anyhow::Result<()> {
    for (answer, status) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            302,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
    ] {
        let stage = Stage::new()?;
        stage.fake.answer_upgrades(answer.as_bytes());
        let mut client = stage.ask(EXEC, b"")?;
        let body = client.rest()?;
        let head = &client.head;
        ensure!(head.starts_with("HTTP/1.1 502 ") && !head.contains("169.254"), "{head}");
        ensure!(body.ends_with(b"}\n") || head.contains("content-length"), "a Status");
        let close = stage.close()?;
        assert_eq!(close["outcome"]["status"], 502, "{close}");
        assert_eq!(close["upstream"]["status"], status, "{close}");
        assert_eq!(stage.fake.upgraded().0, 1, "followed");
    }
    Ok(())
}

#[test]
fn d_10_another_audit_id_behind_a_switch_is_told_in_its_record() -> anyhow::Result<()> {
    for (theirs, differs) in [("", false), ("Audit-Id: another\r\n", true)] {
        let stage = Stage::new()?;
        let granted = GRANTED.replacen("\r\n", &format!("\r\n{theirs}"), 1);
        stage.fake.answer_upgrades(granted.as_bytes());
        let client = stage.ask(EXEC, b"")?;
        ensure!(client.is_granted() && client.id()? != "another", "{}", client.head);
        drop(client);
        let close = stage.close()?;
        assert_eq!(close["upstream"]["audit_id_differs"] == true, differs, "{close}");
    }
    Ok(())
}

/// Where what enters has to be recorded, a plain answer to an offer to switch would be a way past the recording: whatever answers
/// there may ignore the offer.
#[test]
fn promise_3_no_plain_answer_passes_where_only_a_session_may() -> anyhow::Result<()> {
    const CANARY: &str = "a-canary-behind-the-proxy";
    for (status, media, told) in [
        ("500 Oops", "text/plain", "switch protocols with 500, and"),
        ("401 Who", "text/plain", "switch protocols with 401, and"),
        (
            "404 Not Found",
            "application/json",
            "switch protocols with 404 (NotFound), and",
        ),
        ("200 OK", "text/plain", "switch protocols with 200, and"),
    ] {
        let stage = Stage::ruled(format!("{ROLES}{}", kept_is_recorded()))?;
        let body = format!(r#"{{"kind":"Status","apiVersion":"v1","reason":"NotFound","message":"{CANARY}"}}"#);
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nX-Canary: {CANARY}\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stage.fake.answer_upgrades(answer.as_bytes());
        let target = "/clusters/bench/api/v1/namespaces/kept/pods/x/proxy/admin";
        let mut client = Upgraded::ask(&stage.gateway, &stage.token, target, Switch::WebSocket(""), b"")?;
        let body = String::from_utf8_lossy(&client.rest()?).into_owned();
        let said = format!("{}{body}", client.head);
        ensure!(said.starts_with("HTTP/1.1 502 ") && said.contains(told), "{said}");
        ensure!(!said.contains(CANARY), "{said}");
        let close = stage.close()?;
        assert_eq!(close["outcome"]["status"], 502, "{close}");
        let words = close["outcome"]["why"].as_str().unwrap_or_default();
        ensure!(words.contains(told), "{close}");
        let answered = close["upstream"]["status"].to_string();
        ensure!(status.starts_with(&answered), "{close}");
    }
    Ok(())
}

#[test]
fn ups_09_a_switch_that_was_not_asked_for_is_none() -> anyhow::Result<()> {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: v9.channel.k8s.io\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let stage = Stage::new()?;
        stage.fake.answer_upgrades(answer.as_bytes());
        let client = stage.ask(EXEC, b"early")?;
        ensure!(client.head.starts_with("HTTP/1.1 502 "), "{answer}: {}", client.head);
        let close = stage.close()?;
        assert_eq!(close["outcome"]["end"], "unknown", "{close}");
        assert_eq!(stage.fake.upgraded().1, b"", "bytes of a tunnel that never was");
    }
    Ok(())
}

#[test]
fn a_client_that_vanishes_ends_the_session_on_both_sides() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    stage.fake.answer_upgrades(GRANTED.as_bytes());
    let mut client = stage.ask(EXEC, b"hello")?;
    ensure!(client.is_granted(), "{}", client.head);
    client.read_exact(&mut [0; 5])?;
    // A reset, as of a process that was killed with bytes unread.
    socket2::SockRef::from(&client.stream.sock).set_linger(Some(std::time::Duration::ZERO))?;
    drop(client);
    let close = stage.close()?;
    assert_eq!(close["outcome"]["end"], "clientGone", "{close}");
    stage.gateway.has_open(0)?;
    try_until("nothing is open any more", PATIENCE, || {
        let scrape = Scrape::of(stage.gateway.admin())?;
        let series = r#"gateway_upstream_open_connections{class="Upgrade"}"#;
        ensure!(
            scrape.series.get(series) == Some(&0.0),
            "{:?}",
            scrape.series.get(series)
        );
        Ok(())
    })
}
