//! What people have open stays open through all that an operator changes meanwhile, and not a byte of it is lost: a reload of the
//! configuration, another certificate, another key of the provider, other credentials at the API server, and the expiry of the
//! token that it was begun with. Only when the gateway stops it ends, and the person reads that.
//!
//! Real kubectl, the real API server, a node whose pods are real processes. The gateway's own token key is made at its first
//! start and is no more changed.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Kubectl, Running, Way};
use tests::measure::live::{Kind, Live, Place, says_back};
use tests::pods::{TALK, dev_does_all, namespace, runs, shell};
use tests::records::close_of;
use tests::wait::{PATIENCE, try_until};

const STOPS: &str = "ended by the gateway: it stops";
/// Seconds that the tokens of this story are good for: the least that the gateway gives.
const BRIEF: u64 = 60;

/// A command of kubectl that says numbered lines.
struct Talk {
    running: Running,
    /// Whether it has them from the first on: who attaches reads what is said from then on.
    from_the_first: bool,
}

/// Everything that alice has open with two credentials, of which each is good for a minute.
struct Open<'w> {
    cluster: &'w Cluster,
    gateway: &'w Gateway,
    tokens: [String; 2],
    streams: Vec<Live>,
    talks: Vec<Talk>,
    words: usize,
}

impl<'w> Open<'w> {
    fn begin(cluster: &'w Cluster, gateway: &'w Gateway) -> anyhow::Result<Self> {
        gateway.provider.control("/lifetimes", &json!({ "idToken": BRIEF }))?;
        let tokens = [gateway.sign_in("alice")?.token, gateway.provider.raw_token("alice")?];
        let place = Place {
            namespace: "shop",
            pod: "web",
            port: says_back()?,
        };
        let (mut streams, mut talks) = (Vec::new(), Vec::new());
        for (name, token) in ["signed-in", "raw"].into_iter().zip(&tokens) {
            for kind in Kind::ALL {
                streams.push(Live::open(gateway, token, kind, &place)?);
            }
            let kubectl = gateway.kubectl(name, token)?;
            let mut begin = |kubectl: &Kubectl, words: &[&str]| -> anyhow::Result<()> {
                talks.push(Talk {
                    running: kubectl.start(words)?,
                    from_the_first: words.first() != Some(&"attach"),
                });
                Ok(())
            };
            begin(&kubectl, &["logs", "-f", "talker", "-n", "shop"])?;
            for way in Way::BOTH {
                let kubectl = kubectl.over(way);
                begin(&kubectl, &["exec", "web", "-n", "shop", "--", "sh", "-c", TALK])?;
                begin(&kubectl, &["attach", "talker", "-n", "shop"])?;
            }
        }
        for talk in &mut talks {
            talk.running.line("it talks", |line| line.starts_with("line "))?;
        }
        let mut open = Self {
            cluster,
            gateway,
            tokens,
            streams,
            talks,
            words: 0,
        };
        open.all_live("at first")?;
        Ok(open)
    }

    /// Every stream says a word back, byte for byte, or has seen a new object; every talk goes on; none has an end.
    fn all_live(&mut self, when: &str) -> anyhow::Result<()> {
        self.words += 1;
        let word = format!("word-{}", self.words);
        self.cluster
            .admin()?
            .ok(&["create", "configmap", &word, "-n", "shop"])?;
        for stream in &mut self.streams {
            stream.lives(&word).context(when.to_owned())?;
        }
        for talk in &self.talks {
            talk.running.goes_on().context(when.to_owned())?;
        }
        for end in self.ends()? {
            ensure!(end.is_none(), "{when}: {end:?}");
        }
        Ok(())
    }

    /// How each stream and talk has ended, as the ledger says; none: it goes on.
    fn ends(&self) -> anyhow::Result<Vec<Option<Value>>> {
        let records = self.gateway.records()?;
        let begins = |record: &Value| {
            let reads = record["req"]["verb"] == "watch" || record["req"]["subresource"] == "log";
            record["kind"] == "open" || (record["kind"] == "access" && reads)
        };
        let opens = records.iter().filter(|record| {
            begins(record) && record["by"]["user"] == "alice@example.com" && record["req"]["namespace"] == "shop"
        });
        let ends: Vec<Option<Value>> = opens.map(|open| close_of(&records, open).cloned()).collect();
        let wanted = self.streams.len() + self.talks.len();
        ensure!(ends.len() == wanted, "{} of {wanted} have begun", ends.len());
        Ok(ends)
    }

    /// Nobody begins anything with them any more.
    fn tokens_have_expired(&self) -> anyhow::Result<()> {
        let client = self.gateway.client()?;
        for token in &self.tokens {
            try_until("the token has expired", PATIENCE, || {
                let bearer = format!("Bearer {token}");
                let answer = client.get(
                    "/clusters/bench/api/v1/namespaces/shop/configmaps",
                    &[("Authorization", &bearer)],
                )?;
                ensure!(answer.status == 401, "{}", answer.status);
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn replace(gateway: &Gateway, name: &str, text: &str) -> anyhow::Result<()> {
    let draft = gateway.file("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, gateway.file(name))?)
}

/// Other limits, another level of logs, rules, and another certificate for new connections.
fn reload(gateway: &Gateway) -> anyhow::Result<()> {
    let before = gateway.client()?.certificate()?;
    let next = gateway.next_certificate()?;
    replace(gateway, "tls.key", &next.key)?;
    replace(gateway, "tls.crt", &next.certificate)?;
    replace(gateway, "more-rules.yaml", ELSEWHERE)?;
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config())?)?;
    config["limits"]["longCalls"] = json!(5_000);
    config["log"] = json!({ "level": "debug" });
    config["policy"] = json!({ "rules": [gateway.file("more-rules.yaml")] });
    replace(gateway, "gatescribe.yaml", &config.to_string())?;
    gateway.process().signal(Signal::SIGHUP)?;
    try_until("all of it is in force", PATIENCE, || {
        let log = gateway.log();
        for words in [
            "the configuration was read again and is in force",
            "the rule files have changed and are in effect",
        ] {
            ensure!(log.contains(words), "no `{words}`");
        }
        ensure!(gateway.client()?.certificate()? != before, "the old certificate");
        Ok(())
    })
}

const ELSEWHERE: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: nothing-at-the-bank }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [bank] }
"#;

/// The provider signs with another key, and publishes the old one beside it.
fn issuers_key(gateway: &Gateway) -> anyhow::Result<()> {
    gateway.provider.control("/rotate", &json!({ "withdraw": false }))?;
    gateway.process().signal(Signal::SIGHUP)?;
    let newer = gateway.kubectl("newer", &gateway.provider.raw_token("bob")?)?;
    try_until("the new key is known", PATIENCE, || {
        newer.ok(&["get", "configmaps", "-n", "shop"]).map(drop)
    })
}

/// Both of the gateway's own credentials are other ones, and the cluster sees them.
fn own_credentials(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<()> {
    for account in ["impersonator", "observer"] {
        let token = cluster.service_account_token("gatescribe", account)?;
        replace(gateway, account, &token)?;
        let id = format!("JTI={}", claim(&token, "jti")?);
        try_until("the new credential is used", PATIENCE, || {
            // His token is as brief. Of secrets no role says anything, so that the observer asks.
            let bob = gateway.kubectl_of("bob")?;
            bob.ok(&["get", "configmaps", "-n", "shop"])?;
            bob.run(&["get", "secrets", "-n", "shop"])?;
            let events = cluster.audit_events()?;
            let is_by_it = |ids: &Vec<String>| ids.contains(&id);
            let used = events.iter().any(|event| {
                let ids = event.user.extra.get("authentication.kubernetes.io/credential-id");
                ids.is_some_and(is_by_it)
            });
            ensure!(used, "not yet: {account}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A claim of a token, as anybody reads it.
fn claim(token: &str, name: &str) -> anyhow::Result<String> {
    let payload = token.split('.').nth(1).context("no token")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    Ok(claims[name].as_str().context("no such claim")?.to_owned())
}

#[test]
fn what_is_open_outlives_reload_rotation_and_expiry_byte_for_byte_and_ends_when_the_gateway_stops() -> anyhow::Result<()>
{
    let world = [
        namespace("shop"),
        dev_does_all("shop"),
        BOB_LOOKS.to_owned(),
        shell("shop", "web"),
        runs("shop", "talker", TALK),
    ];
    let cluster = Cluster::with_pods(&world.concat())?;
    let mut gateway = Gateway::start(
        &cluster,
        &Options {
            more: Some(json!({
                "limits": { "streams": 1_000 },
                "identity": {
                    "session": { "token": format!("{BRIEF}s") },
                    "providers": [{ "acceptAudiences": ["kubernetes"] }],
                },
            })),
            ..Options::default()
        },
    )?;
    let (streams, talks) = {
        let mut open = Open::begin(&cluster, &gateway)?;
        reload(&gateway)?;
        open.all_live("after a reload")?;
        issuers_key(&gateway)?;
        open.all_live("after a rotation of the provider's key")?;
        open.tokens_have_expired()?;
        open.all_live("after the expiry of its token")?;
        own_credentials(&cluster, &gateway)?;
        open.all_live("after a rotation of the gateway's credentials")?;
        (open.streams, open.talks)
    };
    let kinds: Vec<Kind> = streams.iter().map(|stream| stream.kind).collect();
    let count = streams.len() + talks.len();
    let waiting: Vec<_> = streams
        .into_iter()
        .map(|stream| std::thread::spawn(move || stream.ended()))
        .collect();
    gateway.process().signal(Signal::SIGTERM)?;
    for (kind, waiting) in kinds.into_iter().zip(waiting) {
        let ended = waiting.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
        let said = String::from_utf8_lossy(&ended.said).into_owned();
        ensure!(!kind.is_told() || said.contains(STOPS), "{kind:?}: {said}");
    }
    for mut talk in talks {
        talk.running.end()?;
        let lines = talk.running.lines();
        let numbers: Result<Vec<u64>, _> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("line "))
            .map(str::parse)
            .collect();
        let numbers = numbers.with_context(|| format!("{lines:?}"))?;
        ensure!(numbers.len() > 10, "{lines:?}");
        ensure!(!talk.from_the_first || numbers[0] == 1, "{lines:?}");
        ensure!(numbers.is_sorted_by(|one, next| one + 1 == *next), "{lines:?}");
    }
    gateway.wait()?;
    let records = gateway.records()?;
    let ended = records.iter().filter(|record| {
        record["kind"] == "close" && record["outcome"]["end"] == "ended" && record["outcome"]["why"] == STOPS
    });
    assert_eq!(ended.count(), count, "each has one end, and that is the stop");
    Ok(())
}

/// Somebody whose calls show what is in force by now.
const BOB_LOOKS: &str = r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: looks, namespace: shop }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: looks, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: looks }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }]
"#;
