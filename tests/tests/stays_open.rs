//! What people have open stays open through all that an operator changes meanwhile, and not a byte of it is lost: a reload of the
//! configuration, another certificate, another key of the provider, other credentials at the API server, and the expiry of the
//! token that it was begun with. Only when the gateway stops it ends, and the person reads that.
//!
//! Real kubectl, the real API server, a node whose pods are real processes. What a rotation of the gateway's own token key changes, and
//! what not, is a story of its own.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use oidc::gateway::SigningKey;
use serde_json::{Value, json};
use tests::browser::Browser;
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

/// A new key of the gateway's tokens, as `openssl` writes one or as the gateway itself does.
fn token_key(gateway: &Gateway, name: &str, is_text: bool) -> anyhow::Result<(String, String)> {
    let (key, bytes) = SigningKey::generate()?;
    let path = gateway.file(name);
    if is_text {
        let inner = base64::engine::general_purpose::STANDARD.encode(&bytes);
        std::fs::write(
            &path,
            format!("-----BEGIN PRIVATE KEY-----\n{inner}\n-----END PRIVATE KEY-----\n"),
        )?;
    } else {
        std::fs::write(&path, bytes)?;
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok((path.display().to_string(), key.kid().to_owned()))
}

/// Lists these keys in the configuration, without a signal: the gateway compares the file.
fn list_token_keys(gateway: &Gateway, files: &[&str]) -> anyhow::Result<()> {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config())?)?;
    config["identity"]["tokenKeyFiles"] = json!(files);
    replace(gateway, "gatescribe.yaml", &config.to_string())
}

/// The names of the keys that the gateway publishes; the first one signs.
fn published(gateway: &Gateway) -> anyhow::Result<Vec<String>> {
    let page = Browser::default().request("GET", &format!("{}/jwks", gateway.url), "")?;
    let keys: Value = serde_json::from_str(&page.body)?;
    let names = keys["keys"].as_array().into_iter().flatten();
    Ok(names.filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect())
}

fn are_published(gateway: &Gateway, names: &[&String]) -> anyhow::Result<()> {
    try_until("the keys are in force", PATIENCE, || {
        let found = published(gateway)?;
        ensure!(
            found.iter().collect::<Vec<_>>() == names,
            "{found:?}\n{}",
            gateway.log()
        );
        Ok(())
    })
}

/// Which key signed a token.
fn signed_by(token: &str) -> anyhow::Result<String> {
    let header = token.split('.').next().context("no token")?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(header["kid"].as_str().context("no key's name")?.to_owned())
}

/// How a call with this token is answered: at the cluster, and at the gateway's own API with one for that.
fn answers(gateway: &Gateway, token: &str, api: &str) -> anyhow::Result<[(u16, String); 2]> {
    let bearer = format!("Bearer {token}");
    let at_cluster = gateway.client()?.get(
        "/clusters/bench/api/v1/namespaces/shop/configmaps",
        &[("Authorization", &bearer)],
    )?;
    let said = String::from_utf8_lossy(&at_cluster.body).into_owned();
    Ok([(at_cluster.status, said), of_api(gateway, api)?])
}

/// The list of sessions, asked of the gateway's own API.
fn of_api(gateway: &Gateway, token: &str) -> anyhow::Result<(u16, String)> {
    let host = gateway.url.strip_prefix("http://").context("plain http")?;
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /api/v1/sessions HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("a status line")?;
    Ok((status.parse()?, answer))
}

const RETIRED: &str = "the token is signed with a key that is none of the gateway's any more; sign in again";

#[test]
fn a_rotated_token_key_counts_at_once_and_ends_nothing_that_is_open() -> anyhow::Result<()> {
    let world = [namespace("shop"), dev_does_all("shop"), shell("shop", "web")];
    let cluster = Cluster::with_pods(&world.concat())?;
    let mut gateway = Gateway::start(&cluster, &Options::default())?;
    let own = gateway
        .folder()
        .join("data/keys/gateway-token.p8")
        .display()
        .to_string();
    let first = published(&gateway)?;
    let [first] = first.as_slice() else {
        anyhow::bail!("{first:?}")
    };
    let old = gateway.sign_in("alice")?;
    let old_of_api = gateway.renew(&old.handle, "gatescribe-api")?;
    assert_eq!(
        (&signed_by(&old.token)?, &signed_by(&old_of_api.token)?),
        (first, first)
    );
    let place = Place {
        namespace: "shop",
        pod: "web",
        port: says_back()?,
    };
    let mut streams = Vec::new();
    for kind in Kind::ALL {
        streams.push(Live::open(&gateway, &old.token, kind, &place)?);
    }
    let mut all_live = |word: &str| -> anyhow::Result<()> {
        cluster.admin()?.ok(&["create", "configmap", word, "-n", "shop"])?;
        for stream in &mut streams {
            stream.lives(word)?;
        }
        Ok(())
    };
    all_live("with-the-first")?;
    let good = |token: &str, api: &str| -> anyhow::Result<()> {
        let answers = answers(&gateway, token, api)?;
        ensure!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        Ok(())
    };
    good(&old.token, &old_of_api.token)?;

    // Announced: published and accepted, and signs nothing yet.
    let (second_file, second) = token_key(&gateway, "second.pem", true)?;
    list_token_keys(&gateway, &[&own, &second_file])?;
    are_published(&gateway, &[first, &second])?;
    assert_eq!(&signed_by(&gateway.sign_in("alice")?.token)?, first);

    // It signs. Of the one before each token is good, and the sign-in goes on with the new one.
    list_token_keys(&gateway, &[&second_file, &own])?;
    are_published(&gateway, &[&second, first])?;
    let new = gateway.renew(&old_of_api.handle, "bench")?;
    let new_of_api = gateway.renew(&new.handle, "gatescribe-api")?;
    assert_eq!(
        (&signed_by(&new.token)?, &signed_by(&new_of_api.token)?),
        (&second, &second)
    );
    assert_eq!(signed_by(&gateway.sign_in("alice")?.token)?, second);
    good(&old.token, &old_of_api.token)?;
    good(&new.token, &new_of_api.token)?;
    all_live("with-both")?;

    // Taken away: from now on its tokens count for nothing, though they were verified a moment ago.
    list_token_keys(&gateway, &[&second_file])?;
    are_published(&gateway, &[&second])?;
    for (status, said) in answers(&gateway, &old.token, &old_of_api.token)? {
        assert!(status == 401 && said.contains(RETIRED), "{status}: {said}");
    }
    good(&new.token, &new_of_api.token)?;
    all_live("with-the-second")?;

    // One that others can read counts for nothing, and changes nothing.
    let (third_file, third) = token_key(&gateway, "third.p8", false)?;
    std::fs::set_permissions(&third_file, Permissions::from_mode(0o644))?;
    list_token_keys(&gateway, &[&third_file, &second_file])?;
    try_until("the list is refused", PATIENCE, || {
        let log = gateway.log();
        let told = log.contains("others can read") && log.contains("the old one stays in force");
        ensure!(told, "{log}");
        Ok(())
    })?;
    are_published(&gateway, &[&second])?;
    good(&new.token, &new_of_api.token)?;
    // Another content of the same files, at a signal.
    std::fs::set_permissions(&third_file, Permissions::from_mode(0o600))?;
    gateway.process().signal(Signal::SIGHUP)?;
    are_published(&gateway, &[&third, &second])?;
    good(&new.token, &new_of_api.token)?;
    all_live("with-the-third")?;

    let records = gateway.records()?;
    let notes: Vec<&str> = records
        .iter()
        .filter(|record| record["kind"] == "config")
        .filter_map(|record| record["note"].as_str())
        .filter(|note| note.starts_with("tokens are signed"))
        .collect();
    assert_eq!(
        notes,
        [
            format!("tokens are signed with key {first}, and accepted of {second}, too"),
            format!("tokens are signed with key {second}, and accepted of {first}, too"),
            format!("tokens are signed with key {second}, and no other one is accepted"),
            format!("tokens are signed with key {third}, and accepted of {second}, too"),
        ]
    );
    drop(streams);
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    let answers = answers(&gateway, &new.token, &new_of_api.token)?;
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "after a restart: {answers:?}"
    );
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
