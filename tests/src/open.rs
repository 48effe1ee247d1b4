//! Everything that a person has open at a cluster (watches, followed logs, commands, forwarded ports, over each protocol, by
//! programs of this bench and by real kubectl), and what an operator changes meanwhile: a story goes through it once, a soak
//! for hours.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::gateway::{Gateway, Options};
use crate::kubectl::{Kubectl, Running, Way};
use crate::measure::live::{Kind, Live, Place, says_back};
use crate::pods::{TALK, dev_does_all, namespace, runs, shell};
use crate::records::close_of;
use crate::wait::{PATIENCE, try_until};

const STOPS: &str = "ended by the gateway: it stops";
/// Seconds that tokens are good for here: the least that the gateway gives.
const BRIEF: u64 = 60;

/// A cluster with a namespace `shop`, in it a shell and a pod that talks, and a gateway whose tokens are good for a minute.
///
/// # Errors
/// A part does not start.
pub fn brief() -> anyhow::Result<(Cluster, Gateway)> {
    let world = [
        namespace("shop"),
        dev_does_all("shop"),
        BOB_LOOKS.to_owned(),
        shell("shop", "web"),
        runs("shop", "talker", TALK),
    ];
    let cluster = Cluster::with_pods(&world.concat())?;
    let gateway = Gateway::start(
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
    Ok((cluster, gateway))
}

/// A command of kubectl that says numbered lines.
#[derive(Debug)]
struct Talk {
    running: Running,
    /// Whether it has them from the first on: who attaches reads what is said from then on.
    from_the_first: bool,
}

/// What alice has open with two credentials, of which each is good for a minute.
#[derive(Debug)]
pub struct Open {
    tokens: [String; 2],
    streams: Vec<Live>,
    talks: Vec<Talk>,
    words: u64,
}

/// What was open, at its end.
#[derive(Debug)]
pub struct Stood {
    /// Streams of this bench.
    pub streams: usize,
    /// Commands of kubectl.
    pub talks: usize,
    /// Words that each stream brought back, or whose objects each watch has seen.
    pub words: u64,
    /// Lines that the commands brought, without a gap.
    pub lines: usize,
}

impl Open {
    /// Opens all of it in what [`brief`] has made.
    ///
    /// # Errors
    /// Something does not begin.
    pub fn begin(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<Self> {
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
            tokens,
            streams,
            talks,
            words: 0,
        };
        open.all_live("at first", cluster, gateway)?;
        Ok(open)
    }

    /// Every stream says a word back, byte for byte, or has seen a new object; every talk goes on; none has an end.
    ///
    /// # Errors
    /// One does not.
    pub fn all_live(&mut self, when: &str, cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<()> {
        self.words += 1;
        let word = format!("word-{}", self.words);
        cluster.admin()?.ok(&["create", "configmap", &word, "-n", "shop"])?;
        for stream in &mut self.streams {
            stream.lives(&word).with_context(|| when.to_owned())?;
        }
        for talk in &self.talks {
            talk.running.goes_on().with_context(|| when.to_owned())?;
        }
        for end in self.ends(gateway)? {
            ensure!(end.is_none(), "{when}: {end:?}");
        }
        Ok(())
    }

    /// How each stream and talk has ended, as the ledger says; none: it goes on.
    fn ends(&self, gateway: &Gateway) -> anyhow::Result<Vec<Option<Value>>> {
        let records = gateway.records()?;
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

    /// Waits until nobody begins anything with its tokens any more.
    ///
    /// # Errors
    /// They are good.
    pub fn tokens_have_expired(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let client = gateway.client()?;
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

    /// The gateway stops: everybody reads that, each has one end in the ledger, and no line is missing in what was said.
    ///
    /// # Errors
    /// One of these is not so.
    pub fn stop(self, gateway: &mut Gateway) -> anyhow::Result<Stood> {
        let kinds: Vec<Kind> = self.streams.iter().map(|stream| stream.kind).collect();
        let count = self.streams.len() + self.talks.len();
        let mut stood = Stood {
            streams: self.streams.len(),
            talks: self.talks.len(),
            words: self.words,
            lines: 0,
        };
        let waiting: Vec<_> = self
            .streams
            .into_iter()
            .map(|stream| std::thread::spawn(move || stream.ended()))
            .collect();
        gateway.process().signal(Signal::SIGTERM)?;
        for (kind, waiting) in kinds.into_iter().zip(waiting) {
            let ended = waiting.join().map_err(|_| anyhow::anyhow!("a thread broke"))??;
            let said = String::from_utf8_lossy(&ended.said).into_owned();
            ensure!(!kind.is_told() || said.contains(STOPS), "{kind:?}: {said}");
        }
        for mut talk in self.talks {
            talk.running.end()?;
            stood.lines += numbered(&talk.running.lines(), talk.from_the_first)?;
        }
        gateway.wait()?;
        let records = gateway.records()?;
        let ended = records.iter().filter(|record| {
            record["kind"] == "close" && record["outcome"]["end"] == "ended" && record["outcome"]["why"] == STOPS
        });
        let ended = ended.count();
        ensure!(ended == count, "{ended} of {count} have one end, and that is the stop");
        Ok(stood)
    }
}

/// How many numbered lines there are, once it is sure that there is none too few and none too many.
fn numbered(lines: &[String], from_the_first: bool) -> anyhow::Result<usize> {
    // An hour has tens of thousands.
    let few = || format!("{:?} … {:?}", lines.first(), lines.last());
    let numbers: Result<Vec<u64>, _> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("line "))
        .map(str::parse)
        .collect();
    let numbers = numbers.with_context(few)?;
    ensure!(numbers.len() > 10, few());
    ensure!(!from_the_first || numbers.first() == Some(&1), few());
    for pair in numbers.windows(2) {
        ensure!(pair[0] + 1 == pair[1], "{} came behind {}", pair[1], pair[0]);
    }
    Ok(numbers.len())
}

/// Puts another file in the place of one in the gateway's folder, in one step.
///
/// # Errors
/// The system refuses.
pub fn replace(gateway: &Gateway, name: &str, text: &str) -> anyhow::Result<()> {
    let draft = gateway.file("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, gateway.file(name))?)
}

/// Other limits, another level of logs, rules, and another certificate for new connections. `time` is another one each time.
///
/// # Errors
/// They do not come into force.
pub fn reload(gateway: &Gateway, time: u64) -> anyhow::Result<()> {
    const WORDS: [&str; 2] = [
        "the configuration was read again and is in force",
        "the rule files have changed and are in effect",
    ];
    let said = || {
        let log = gateway.log();
        WORDS.map(|words| log.matches(words).count())
    };
    let (before, said_before) = (gateway.client()?.certificate()?, said());
    let next = gateway.next_certificate()?;
    replace(gateway, "tls.key", &next.key)?;
    replace(gateway, "tls.crt", &next.certificate)?;
    replace(gateway, "more-rules.yaml", &elsewhere(time))?;
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config())?)?;
    config["limits"]["longCalls"] = json!(5_000 + time);
    config["log"] = json!({ "level": if time.is_multiple_of(2) { "debug" } else { "info" } });
    config["policy"] = json!({ "rules": [gateway.file("more-rules.yaml")] });
    replace(gateway, "gatescribe.yaml", &config.to_string())?;
    gateway.process().signal(Signal::SIGHUP)?;
    try_until("all of it is in force", PATIENCE, || {
        for ((words, before), now) in WORDS.into_iter().zip(said_before).zip(said()) {
            ensure!(now > before, "no `{words}`");
        }
        ensure!(gateway.client()?.certificate()? != before, "the old certificate");
        Ok(())
    })
}

fn elsewhere(time: u64) -> String {
    format!(
        r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: nothing-at-the-bank-{time} }}
spec:
  effect: forbid
  subjects: {{ groups: ["*"] }}
  kubernetes: {{ actions: [enter], namespaces: [bank] }}
"#
    )
}

/// The provider signs with another key, and publishes the old one beside it.
///
/// # Errors
/// The gateway does not learn it.
pub fn issuers_key(gateway: &Gateway) -> anyhow::Result<()> {
    gateway.provider.control("/rotate", &json!({ "withdraw": false }))?;
    gateway.process().signal(Signal::SIGHUP)?;
    let newer = gateway.kubectl("newer", &gateway.provider.raw_token("bob")?)?;
    try_until("the new key is known", PATIENCE, || {
        newer.ok(&["get", "configmaps", "-n", "shop"]).map(drop)
    })
}

/// Both of the gateway's own credentials are other ones, and the cluster sees them.
///
/// # Errors
/// It does not.
pub fn own_credentials(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_missing_or_comes_twice_is_found() {
        let lines =
            |numbers: &[u64]| -> Vec<String> { numbers.iter().map(|number| format!("line {number}")).collect() };
        let whole: Vec<u64> = (1..=12).collect();
        assert_eq!(numbered(&lines(&whole), true).unwrap(), 12);
        assert!(numbered(&lines(&whole[1..]), true).is_err());
        assert_eq!(numbered(&lines(&whole[1..]), false).unwrap(), 11);
        let without = [&whole[..5], &whole[6..]].concat();
        let doubled = [&whole[..5], &whole[4..]].concat();
        for broken in [without, doubled] {
            assert!(numbered(&lines(&broken), true).is_err(), "{broken:?}");
        }
        assert!(numbered(&lines(&whole[..3]), true).is_err());
        assert!(numbered(&["line x".to_owned()], false).is_err());
    }
}
