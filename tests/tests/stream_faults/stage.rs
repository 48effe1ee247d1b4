//! A gateway before an API server's stand-in, and a neighbour whose session has to go on whatever the story does.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::channels::{BINARY, EXIT, LAST, typed};
use tests::fake::{FakeApiServer, Then};
use tests::gateway::{Gateway, Options, SignedIn};
use tests::measure::cpu::peak_kib;
use tests::metrics::Scrape;
use tests::records::one_end_each;
use tests::rules::rule;
use tests::upgraded::{Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

/// Developers and operators enter every pod. In `kept`, `idle` and `short` that is recorded, in `free` it is not.
const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: enters }
rules:
- apiGroups: [""]
  resources: [pods, pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy, nodes/proxy]
  verbs: [create, get, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: enters }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enters }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }
"#;

/// Name, place and duties.
const DUTIES: [(&str, &str, &str); 4] = [
    ("kept-is-recorded", "namespaces: [kept]", "record: true"),
    ("nodes-are-recorded", "resources: [nodes/proxy]", "record: true"),
    (
        "idle-ends",
        "namespaces: [idle], resources: [pods/exec]",
        "record: true, idle: 10s",
    ),
    (
        "short-ends",
        "namespaces: [short], resources: [pods/exec]",
        "record: true, longest: 5s",
    ),
];

fn rules() -> String {
    let duties = DUTIES.map(|(name, place, duties)| {
        let place = format!("actions: [enter], {place}");
        rule("dev, sre", name, &place, duties)
    });
    [RIGHTS, &duties.concat()].concat()
}

/// The subprotocol of today's kubectl.
pub(crate) const V5: Switch<'static> = Switch::WebSocket("v5.channel.k8s.io");
/// The one of its fallback.
pub(crate) const SPDY: Switch<'static> = Switch::Spdy("v4.channel.k8s.io");

/// A forwarded port of an older kubectl, and of those that fall back.
pub(crate) const FORWARD: Switch<'static> = Switch::Spdy("portforward.k8s.io");
/// The same of today's: SPDY in the messages of a WebSocket.
pub(crate) const TUNNEL: Switch<'static> = Switch::WebSocket("SPDY/3.1+portforward.k8s.io");

pub(crate) struct Stage {
    pub(crate) fake: FakeApiServer,
    pub(crate) gateway: Gateway,
    pub(crate) alice: SignedIn,
}

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::with(None)
    }

    /// With more members in the gateway's configuration.
    pub(crate) fn with(more: Option<Value>) -> anyhow::Result<Self> {
        let fake = FakeApiServer::start()?;
        let options = Options {
            authorization: Some("enforce"),
            more,
            ..Options::ruled(rules())
        };
        let gateway = Gateway::before(&fake.upstream(), &options)?;
        let alice = gateway.sign_in("alice")?;
        Ok(Self { fake, gateway, alice })
    }

    /// Begins `exec`, or the forwarding of a port, in a pod whose server grants the switch, says `glued` right behind that, and goes
    /// on as ordered.
    pub(crate) fn exec(&self, place: &str, switch: Switch<'_>, glued: &[u8], then: Then) -> anyhow::Result<Upgraded> {
        let answer = [switch.granted().as_slice(), glued].concat();
        self.fake.answer_upgrades_of(&part(place), &answer, then);
        let client = Upgraded::ask(&self.gateway, &self.alice.token, &target_of(place, switch), switch, b"")?;
        ensure!(client.is_granted(), "{place}: {}", client.head);
        Ok(client)
    }

    /// Bob's session, which is recorded too.
    pub(crate) fn neighbour(&self) -> anyhow::Result<Neighbour> {
        let bob = self.gateway.sign_in("bob")?;
        Neighbour::begin(&self.fake, &self.gateway, &bob.token, "bench")
    }

    /// The end of a session, once it is recorded.
    pub(crate) fn end_of(&self, id: &str) -> anyhow::Result<Value> {
        self.gateway.end_of(id)
    }

    /// Waits until the stand-in has read a pod's connection to its end: nothing more of it can come.
    pub(crate) fn upstream_is_over(&self, place: &str) -> anyhow::Result<()> {
        try_until("the cluster's side has ended", PATIENCE, || {
            ensure!(self.fake.ended(&part(place)) == 1, "{place} goes on");
            Ok(())
        })
    }

    /// What reached a pod.
    pub(crate) fn came(&self, place: &str) -> Vec<u8> {
        self.fake.came(&part(place))
    }

    /// The most memory that the gateway has ever had, KiB.
    pub(crate) fn peak_kib(&self) -> anyhow::Result<f64> {
        peak_kib(self.gateway.process().pid()?.as_raw())
    }

    /// Waits until so many sessions are open, on both sides.
    pub(crate) fn has_open(&self, sessions: u32) -> anyhow::Result<()> {
        self.gateway.has_open(sessions)?;
        try_until("what has ended is given back", PATIENCE, || {
            let scrape = Scrape::of(self.gateway.admin())?;
            let open = scrape
                .series
                .get(r#"gateway_upstream_open_connections{class="Upgrade"}"#);
            ensure!(open == Some(&f64::from(sessions)), "{open:?}");
            Ok(())
        })
    }

    /// Stops the gateway, so that nothing more can be written, and looks at every session that it ever had.
    pub(crate) fn each_session_has_one_end(mut self) -> anyhow::Result<BTreeMap<String, Value>> {
        self.gateway.process().signal(Signal::SIGTERM)?;
        self.gateway.wait()?;
        one_end_each(&self.gateway.records()?)
    }
}

/// `namespace/pod` as it stands in a target.
pub(crate) fn part(place: &str) -> String {
    let (namespace, pod) = place.split_once('/').unwrap_or(("kept", place));
    format!("/namespaces/{namespace}/pods/{pod}/")
}

/// The target of `exec` in `namespace/pod` of a cluster.
pub(crate) fn exec_target(cluster: &str, place: &str) -> String {
    let options = "command=cat&container=main&stdin=true&stdout=true&stderr=true";
    format!("/clusters/{cluster}/api/v1{}exec?{options}", part(place))
}

/// What a switch is asked of.
fn target_of(place: &str, switch: Switch<'_>) -> String {
    if [FORWARD, TUNNEL].contains(&switch) {
        return format!("/clusters/bench/api/v1{}portforward?ports=8080", part(place));
    }
    exec_target("bench", place)
}

/// Somebody else's session: whatever is typed comes back.
pub(crate) struct Neighbour {
    client: Upgraded,
    round: u32,
}

impl Neighbour {
    pub(crate) fn begin(fake: &FakeApiServer, gateway: &Gateway, token: &str, cluster: &str) -> anyhow::Result<Self> {
        let place = "kept/neighbour";
        fake.answer_upgrades_of(&part(place), &V5.granted(), Then::Cat);
        let client = Upgraded::ask(gateway, token, &exec_target(cluster, place), V5, b"")?;
        ensure!(client.is_granted(), "{}", client.head);
        let mut this = Self { client, round: 0 };
        this.echoes()?;
        Ok(this)
    }

    pub(crate) fn id(&self) -> anyhow::Result<String> {
        self.client.id()
    }

    /// One more line there and back.
    pub(crate) fn echoes(&mut self) -> anyhow::Result<()> {
        self.round += 1;
        let line = format!("round {}", self.round);
        self.client.write(&typed(false, 0, line.as_bytes()))?;
        let back = self.client.frame().context("the neighbour's session does not go on")?;
        ensure!(back.first == LAST | BINARY, "{back:?}");
        ensure!(back.payload == [b"\x01", line.as_bytes()].concat(), "{back:?}");
        Ok(())
    }

    /// Ends it well; its record says so, and so does its recording.
    pub(crate) fn leaves(mut self, gateway: &Gateway) -> anyhow::Result<()> {
        self.echoes()?;
        self.client.write(&typed(false, 0, EXIT))?;
        let status = self.client.frame()?;
        ensure!(status.payload.first() == Some(&3), "{status:?}");
        let id = self.client.id()?;
        drop(self);
        let end = gateway.end_of(&id)?;
        ensure!(end["outcome"]["exit_code"] == 0, "{end}");
        let kept = &end["recording"];
        ensure!(
            kept["chunks"].as_u64() >= Some(1) && kept.get("incomplete").is_none(),
            "{end}"
        );
        Ok(())
    }
}
