//! A call that goes out more than once is one call of one person, and its record says how often it was sent: a relay between
//! the gateway and the real API server refuses streams and ends connections, before and after the server saw the request.

use serde_json::{Value, json};
use tests::browser::Browser;
use tests::caller::{Caller, JSON, both, roles};
use tests::cluster::audit::Event;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::relay::Fate::{LostAfter, LostBefore, Refused};
use tests::relay::{Fate, Relay};
use tests::wait::{PATIENCE, try_until};

const MAPS: &str = "/api/v1/namespaces/again/configmaps";

struct World {
    cluster: Cluster,
    relay: Relay,
    gateway: Gateway,
    alice: Caller,
}

/// What became of one call.
struct Told {
    status: u16,
    end: Value,
    /// How often the record says that it was sent; it is silent about an ordinary once.
    attempts: Option<u64>,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default())?;
        cluster.admin()?.apply(&roles("again", "dev"))?;
        let relay = Relay::before(&cluster)?;
        let gateway = Gateway::before(&relay.upstream(&cluster)?, &Options::default())?;
        let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
        Ok(Self {
            cluster,
            relay,
            gateway,
            alice,
        })
    }

    /// Reads an object that meets these fates on its way; it must reach the relay `came` times and the server `arrived`
    /// times, always under the id of the one record.
    fn reads(&self, name: &str, fates: &[Fate], came: usize, arrived: usize) -> anyhow::Result<Told> {
        let target = format!("{MAPS}/{name}");
        self.relay.order(&target, fates);
        let (id, status, _) = self.alice.call("GET", &target, &[], b"")?;
        self.told(&id, status, &target, (came, arrived))
    }

    /// Creates an object, as [`World::reads`] reads one.
    fn creates(&self, name: &str, fates: &[Fate], came: usize, arrived: usize) -> anyhow::Result<Told> {
        let target = format!("{MAPS}?fieldManager={name}");
        self.relay.order(&target, fates);
        let object = json!({"metadata": {"name": name}}).to_string();
        let (id, status, _) = self.alice.call("POST", &target, &[JSON], object.as_bytes())?;
        self.told(&id, status, &target, (came, arrived))
    }

    fn told(&self, id: &str, status: u16, target: &str, (came, arrived): (usize, usize)) -> anyhow::Result<Told> {
        let (opening, end) = both(&self.gateway, id)?;
        assert_eq!(opening["by"]["user"], "alice@example.com");
        assert_eq!(self.relay.came(target), came, "{target}: {end}");
        // The server writes its event when it has answered, so none that is still to come is missed.
        let events = try_until("every arrival is in the server's log", PATIENCE, || {
            let events = self.events(target)?;
            anyhow::ensure!(events.len() >= arrived, "{} of {arrived}", events.len());
            Ok(events)
        })?;
        assert_eq!(events.len(), arrived, "{target}");
        for event in events {
            assert_eq!((event.audit_id.as_str(), event.person()), (id, "alice@example.com"));
        }
        let attempts = end["upstream"]["attempts"].as_u64();
        Ok(Told { status, end, attempts })
    }

    fn events(&self, target: &str) -> anyhow::Result<Vec<Event>> {
        let events = self.cluster.audit_events()?.into_iter();
        Ok(events.filter(|event| event.request_uri == target).collect())
    }

    fn exists(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.cluster.client().get(&format!("{MAPS}/{name}"), &[])?.status == 200)
    }
}

#[test]
fn a_read_that_was_sent_again_is_one_call_and_its_record_counts_the_sendings() -> anyhow::Result<()> {
    let world = World::start()?;
    world.cluster.client().send(
        "POST",
        MAPS,
        &[JSON],
        br#"{"metadata":{"name":"plain"},"data":{"k":"v"}}"#,
    )?;
    let told = world.reads("plain", &[], 1, 1)?;
    assert_eq!((told.status, told.attempts), (200, None), "{}", told.end);

    for (name, fates, came, arrived) in [
        ("refused", [Refused, Refused].as_slice(), 3, 1),
        ("lost-before", &[LostBefore], 2, 1),
        ("lost-after", &[LostAfter], 2, 2),
        ("refused-and-lost", &[Refused, LostAfter], 3, 2),
    ] {
        let told = world.reads(name, fates, came, arrived)?;
        let attempts = u64::try_from(came)?;
        assert_eq!(
            (told.status, told.attempts),
            (404, Some(attempts)),
            "{name}: {}",
            told.end
        );
        assert_eq!(told.end["outcome"]["end"], "answered", "{name}");
    }

    let told = world.reads("lost-twice", &[LostAfter, LostAfter], 2, 2)?;
    assert_eq!(
        (told.status, told.attempts),
        (502, Some(2)),
        "and no third time: {}",
        told.end
    );
    assert_eq!(told.end["outcome"]["end"], "unknown");
    assert!(
        told.end["upstream"].get("address").is_none(),
        "nobody answered: {}",
        told.end
    );
    Ok(())
}

#[test]
fn an_effect_is_sent_again_only_if_the_server_refused_to_begin_with_it() -> anyhow::Result<()> {
    let world = World::start()?;
    let told = world.creates("refused", &[Refused, Refused], 3, 1)?;
    assert_eq!((told.status, told.attempts), (201, Some(3)), "{}", told.end);
    assert_eq!(told.end["object"]["name"], "refused");
    assert!(world.exists("refused")?);

    // More often than is tried: nothing happened, and the record says that.
    let told = world.creates("never", &[Refused; 5], 5, 0)?;
    assert_eq!((told.status, told.attempts), (502, Some(5)), "{}", told.end);
    assert_eq!(told.end["outcome"]["end"], "notSent");
    assert!(!world.exists("never")?);

    for (name, fate, arrived) in [("lost-before", LostBefore, 0), ("lost-after", LostAfter, 1)] {
        let told = world.creates(name, &[fate], 1, arrived)?;
        assert_eq!((told.status, told.attempts), (502, None), "{name}: {}", told.end);
        assert_eq!(told.end["outcome"]["end"], "unknown", "{name}");
        assert_eq!(world.exists(name)?, arrived == 1, "{name}");
    }
    Ok(())
}

/// How many of each call go to a server that ends every fiftieth connection.
const CALLS: usize = 300;

/// I-09. The server itself says GOAWAY, as large clusters have it so that clients spread again.
#[test]
fn i_09_a_server_that_says_goaway_at_random_costs_no_call_and_makes_no_object_twice() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        apiserver_arguments: vec!["--goaway-chance=0.02".to_owned()],
        ..ClusterOptions::default()
    })?;
    cluster.admin()?.apply(&roles("again", "dev"))?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let token = gateway.sign_in("alice")?.token;
    let kubectl = gateway.kubectl("alice", &token)?;
    let watch = [
        "get",
        "configmaps",
        "-n",
        "again",
        "-l",
        "made=here",
        "--watch-only",
        "-o",
        "name",
    ];
    let mut watching = kubectl.start(&watch)?;
    cluster.audit_event("the watch has begun", |event| {
        event.verb == "watch" && event.request_uri.starts_with(MAPS) && event.request_uri.contains("made%3Dhere")
    })?;

    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), JSON];
    let mut connection = gateway.client()?.connect()?;
    let maps = format!("/clusters/bench{MAPS}");
    let before = dialled_by(&gateway)?;
    let mut made = std::collections::BTreeSet::new();
    for _ in 0..CALLS {
        // The server gives the name: a create that is sent twice makes two.
        let object = json!({ "metadata": { "generateName": "made-", "labels": { "made": "here" } } }).to_string();
        let answer = connection.exchange("POST", &maps, &headers, object.as_bytes())?;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let name = answer.json()?["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let read = connection.exchange("GET", &format!("{maps}/{name}"), &headers, b"")?;
        assert_eq!(read.status, 200, "{}", String::from_utf8_lossy(&read.body));
        assert!(made.insert(name), "a name is given once");
    }
    for _ in 0..5 {
        kubectl.ok(&["get", "configmaps", "-n", "again"])?;
    }
    let there = cluster.kubectl(&["get", "configmaps", "-n", "again", "-l", "made=here", "-o", "name"])?;
    assert_eq!(there.stdout.lines().count(), CALLS, "each was made exactly once");
    try_until("the watch has told every one", PATIENCE, || {
        let told: std::collections::BTreeSet<_> = watching.lines().into_iter().collect();
        anyhow::ensure!(told.len() >= CALLS, "{} of {CALLS}", told.len());
        Ok(())
    })?;
    let told = watching.lines();
    assert!(
        told.iter()
            .all(|line| line.strip_prefix("configmap/").is_some_and(|name| made.contains(name))),
        "{told:?}"
    );
    watching.signal(nix::sys::signal::Signal::SIGINT)?;
    watching.end()?;

    // Else the server never did what this is about: of 600 calls about twelve end their connection.
    let dialled = dialled_by(&gateway)? - before;
    println!("errors=0 creates={CALLS} reads={CALLS} more_connections={dialled}");
    assert!(dialled >= 1, "no connection more");
    Ok(())
}

/// How many connections to the cluster the gateway has opened.
fn dialled_by(gateway: &Gateway) -> anyhow::Result<u64> {
    let metrics = Browser::default().request("GET", &format!("http://{}/metrics", gateway.admin()), "")?;
    let lines = metrics
        .body
        .lines()
        .filter(|line| line.starts_with("gateway_upstream_connections_total"));
    Ok(lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}
