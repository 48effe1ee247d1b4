//! Real API servers under real conditions: few streams on a connection, one of two that dies, one that falls silent. What
//! those do at the level of frames is in `gateway/proxy/src/upstream/tests`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, both, roles};
use tests::cluster::audit::Event;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::http::Stream;
use tests::metrics::Scrape;
use tests::wait::{PATIENCE, try_until};

const MAPS: &str = "/api/v1/namespaces/pool/configmaps";

/// A watch, as bytes.
struct Watch {
    stream: Stream,
    received: Vec<u8>,
}

impl Watch {
    fn begin(gateway: &Gateway, caller: &Caller, tag: &str) -> anyhow::Result<Self> {
        let mut stream = gateway.client()?.open()?;
        stream.sock.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET /clusters/bench{MAPS}?watch=true&labelSelector=tag%21%3D{tag} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\r\n",
            gateway.address, caller.bearer
        );
        stream.write_all(request.as_bytes())?;
        let mut watch = Self {
            stream,
            received: Vec::new(),
        };
        watch.tells("\r\n\r\n")?;
        ensure!(watch.received.starts_with(b"HTTP/1.1 200 "), "{}", watch.text());
        Ok(watch)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Reads until it has told this.
    fn tells(&mut self, wanted: &str) -> anyhow::Result<()> {
        while !self.text().contains(wanted) {
            ensure!(self.more()? > 0, "it ended without `{wanted}`: {}", self.text());
        }
        Ok(())
    }

    fn more(&mut self) -> std::io::Result<usize> {
        let mut piece = [0; 4096];
        let read = self.stream.read(&mut piece)?;
        self.received.extend(piece.iter().take(read));
        Ok(read)
    }

    /// Reads to its end, which must be none that looks like one (RFC 9112 §8): only a clean end has a last chunk.
    fn breaks_off(mut self) -> anyhow::Result<()> {
        // Whether TLS says goodbye is no matter: the framing tells. Silence is no end.
        loop {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(error.into());
                }
                Err(_) => break,
            }
        }
        ensure!(
            !self.received.ends_with(b"0\r\n\r\n"),
            "it ended cleanly: {}",
            self.text()
        );
        Ok(())
    }
}

fn create(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    let object = json!({ "metadata": { "name": name } }).to_string();
    let made = cluster.client().send("POST", MAPS, &[JSON], object.as_bytes())?;
    ensure!(made.status == 201, "{}", String::from_utf8_lossy(&made.body));
    Ok(())
}

#[test]
fn i_03_a_server_that_allows_four_streams_serves_twelve_watches_and_everybody_else() -> anyhow::Result<()> {
    const WATCHES: usize = 12;
    let cluster = Cluster::start(ClusterOptions {
        apiserver_arguments: vec!["--http2-max-streams-per-connection=4".to_owned()],
        ..ClusterOptions::default()
    })?;
    cluster.admin()?.apply(&roles("pool", "dev"))?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let watches = (0..WATCHES).map(|number| Watch::begin(&gateway, &alice, &format!("w{number}")));
    let mut watches = watches.collect::<anyhow::Result<Vec<_>>>()?;
    let open = Scrape::of(gateway.admin())?.sum("gateway_upstream_open_connections", &[("class", "Watch")]);
    assert!(open >= 3.0, "{open} connections for twelve watches");

    // More at the same time than one connection has streams for.
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..WATCHES)
            .map(|_| scope.spawn(|| (0..5).try_for_each(|_| reads(&alice))))
            .collect();
        let joined = callers.into_iter().map(|caller| caller.join());
        joined
            .map(|joined| joined.map_err(|_| anyhow::anyhow!("a caller panicked"))?)
            .collect::<anyhow::Result<Vec<()>>>()
    })?;
    create(&cluster, "told-to-all")?;
    for watch in &mut watches {
        watch.tells("told-to-all")?;
    }
    Ok(())
}

fn reads(caller: &Caller) -> anyhow::Result<()> {
    let (_, status, body) = caller.call("GET", MAPS, &[], b"")?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// Two API servers on one etcd, a gateway before both, and a watch on one of them.
struct Pair {
    cluster: Cluster,
    gateway: Gateway,
    alice: Caller,
    watch: Watch,
    /// The server with the watch, and the other one.
    servers: [(&'static str, SocketAddr); 2],
}

impl Pair {
    fn new() -> anyhow::Result<Self> {
        let cluster = Cluster::start(ClusterOptions {
            second_apiserver: true,
            ..ClusterOptions::default()
        })?;
        cluster.admin()?.apply(&roles("pool", "dev"))?;
        let second = cluster.second_address().context("the second server")?;
        let servers = [cluster.url(), format!("https://{second}")];
        let options = Options {
            more: Some(json!({ "clusters": [{ "servers": servers }] })),
            ..Options::default()
        };
        let gateway = Gateway::start(&cluster, &options)?;
        let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
        reads(&alice)?;
        let watch = Watch::begin(&gateway, &alice, "here")?;
        let mut servers = [("kube-apiserver", cluster.address()), ("kube-apiserver-2", second)];
        let is_hers = |event: &Event| event.person() == "alice@example.com" && event.verb == "watch";
        let has_it = try_until("the watch is in a server's log", PATIENCE, || {
            match [cluster.audit_events()?, cluster.audit_events_of_second()?].map(|log| log.iter().any(is_hers)) {
                [true, false] => Ok(0),
                [false, true] => Ok(1),
                other => bail!("{other:?}"),
            }
        })?;
        servers.rotate_left(has_it);
        Ok(Self {
            cluster,
            gateway,
            alice,
            watch,
            servers,
        })
    }

    fn signal_the_one_with_the_watch(&self, signal: Signal) -> anyhow::Result<()> {
        let [(name, _), _] = self.servers;
        Ok(kill(self.cluster.pid_of(name)?, signal)?)
    }

    /// A read, which must be answered by the other server.
    fn goes_elsewhere(&self) -> anyhow::Result<()> {
        let (id, status, body) = self.alice.call("GET", MAPS, &[], b"")?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        let (_, end) = both(&self.gateway, &id)?;
        let [_, (_, other)] = self.servers;
        ensure!(end["upstream"]["address"] == other.to_string(), "{end}");
        Ok(())
    }

    /// The end of the watch, as its record says it.
    fn end_of_the_watch(&self) -> anyhow::Result<Value> {
        let is_watch = |record: &&Value| record["kind"] == "access" && record["req"]["verb"] == "watch";
        let find = |records: &[Value]| {
            let watch = records.iter().find(is_watch)?;
            let mut closes = records.iter().filter(|record| record["kind"] == "close");
            closes.find(|close| close["pair"] == watch["seq"]).cloned()
        };
        let told = |records: &[Value]| find(records).is_some();
        let records = self.gateway.records_with("the watch's close", told)?;
        find(&records).context("waited for")
    }
}

#[test]
fn i_10_ups_07_of_two_api_servers_one_dies_and_only_its_watches_end() -> anyhow::Result<()> {
    let mut pair = Pair::new()?;
    create(&pair.cluster, "before")?;
    pair.watch.tells("before")?;
    pair.signal_the_one_with_the_watch(Signal::SIGKILL)?;
    let watch = std::mem::replace(&mut pair.watch, Watch::begin(&pair.gateway, &pair.alice, "again")?);
    watch.breaks_off()?;
    let end = pair.end_of_the_watch()?;
    assert_eq!(end["outcome"]["end"], "upstreamLost", "{end}");
    for _ in 0..5 {
        pair.goes_elsewhere()?;
    }
    // Effects go there, too, each of them once; and so does the list that a client makes anew.
    for name in ["one", "two", "three"] {
        let object = json!({ "metadata": { "name": name } }).to_string();
        let (_, status, body) = pair.alice.call("POST", MAPS, &[JSON], object.as_bytes())?;
        ensure!(status == 201, "{status}: {}", String::from_utf8_lossy(&body));
        pair.watch.tells(&format!("\"name\":\"{name}\""))?;
    }
    Ok(())
}

/// Its sockets stay open and are even acknowledged, by the kernel: only what is said over them shows that nobody is there.
#[test]
fn i_08_ups_08_a_silent_api_server_is_noticed_and_the_other_takes_calls_watches_and_what_decisions_rest_on()
-> anyhow::Result<()> {
    let mut pair = Pair::new()?;
    create(&pair.cluster, "before")?;
    pair.watch.tells("before")?;
    pair.signal_the_one_with_the_watch(Signal::SIGSTOP)?;

    // Both are noticed by their pings: a read that was under way goes again, a watch ends as broken.
    pair.goes_elsewhere()?;
    let mut again = Watch::begin(&pair.gateway, &pair.alice, "again")?;
    let first = std::mem::replace(&mut pair.watch, Watch::begin(&pair.gateway, &pair.alice, "third")?);
    first.breaks_off()?;
    let end = pair.end_of_the_watch()?;
    assert_eq!(
        (&end["outcome"]["end"], &end["outcome"]["why"]),
        (
            &json!("upstreamLost"),
            &json!("the connection to the cluster went silent")
        ),
        "{end}"
    );
    for _ in 0..5 {
        pair.goes_elsewhere()?;
    }
    let object = json!({ "metadata": { "name": "elsewhere" } }).to_string();
    let (_, status, _) = pair.alice.call("POST", MAPS, &[JSON], object.as_bytes())?;
    assert_eq!(status, 201);
    again.tells("elsewhere")?;

    // The gateway's own watches, too, before what they said is too old to decide by.
    const OBSERVER: &str = "system:serviceaccount:gatescribe:observer";
    const KINDS: [&str; 5] = [
        "clusterrolebindings",
        "clusterroles",
        "namespaces",
        "rolebindings",
        "roles",
    ];
    let [_, (other, _)] = pair.servers;
    try_until("the gateway's own watches have gone over", PATIENCE, || {
        let log = match other {
            "kube-apiserver" => pair.cluster.audit_events()?,
            _ => pair.cluster.audit_events_of_second()?,
        };
        let watched = |kind: &&str| {
            log.iter().any(|event| {
                let resource = event.object_ref.as_ref().map_or("", |object| &object.resource);
                event.user.username == OBSERVER && event.verb == "watch" && resource == *kind
            })
        };
        let missing: Vec<_> = KINDS.iter().filter(|kind| !watched(kind)).collect();
        ensure!(missing.is_empty(), "not yet: {missing:?}");
        Ok(())
    })?;
    pair.goes_elsewhere()?;
    pair.signal_the_one_with_the_watch(Signal::SIGCONT)
}
