//! Services at the pods that a real API server says, and Services that their owners publish by annotations: as they come, go and change,
//! and never a host that is somebody else's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::browser::Browser;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, plainly};
use tests::kubectl::Kubectl;
use tests::left_out::{Lack, left_out};
use tests::open::replace;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const DOCUMENTS: &str = "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {name: web}
spec:
  hosts: [web.localhost]
  upstream: {kubernetes: {cluster: bench, namespace: shop, name: web, port: http}}
---
apiVersion: gatescribe.dev/v1
kind: ServicePublication
metadata: {name: apps}
spec: {cluster: bench, namespaces: [shop, team], hosts: ['*.apps.localhost', web.localhost]}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: everybody}
spec:
  effect: allow
  subjects: {public: true}
  services: [{hosts: ['*.localhost'], methods: [GET], paths: ['/*']}]
";

const NAMESPACES: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: v1
kind: Namespace
metadata: {name: stranger}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
";

/// What whoever calls is told of a service that nobody answers for; why, only the operator is.
const UNREACHABLE: &str = "the service cannot be reached";

/// A server that says its name, and keeps its connections.
struct Pod(SocketAddr);

impl Pod {
    fn start(ip: IpAddr, name: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((ip, 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || drop(answer(&stream, name)));
            }
        });
        Ok(Self(address))
    }
}

fn answer(stream: &TcpStream, name: &str) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "it has gone");
            if line == "\r\n" {
                break;
            }
        }
        let length = name.len();
        write!(
            &mut &*stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}"
        )?;
    }
}

/// The address of this machine that a route outward would use: the API server takes no loopback one for a pod's, and N-10 dials
/// none. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then_some(ip)
}

/// A slice of a Service, one for each pod because each has a port of its own here; `conditions` as YAML has them.
fn slice(namespace: &str, service: &str, pod: &Pod, conditions: &str) -> String {
    let Pod(address) = pod;
    let (ip, port) = (address.ip(), address.port());
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-{port}, namespace: {namespace}, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{name: http, port: {port}}}]\nendpoints: \
         [{{addresses: [{ip}], conditions: {{{conditions}}}}}]\n"
    )
}

/// A Service that asks to be published.
fn annotated(namespace: &str, name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, annotations: {{{annotations}}}}}\nspec: \
         {{ports: [{{name: http, port: 80}}]}}\n"
    )
}

struct World {
    cluster: Cluster,
    admin: Kubectl,
    gateway: Gateway,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start(ClusterOptions::default())?;
        let admin = cluster.admin()?;
        admin.apply(NAMESPACES)?;
        let gateway = Gateway::start(&cluster, &Options::ruled(DOCUMENTS))?;
        Ok(Self {
            cluster,
            admin,
            gateway,
        })
    }

    fn ask(&self, host: &str) -> anyhow::Result<Answer> {
        let bare = self.gateway.url.strip_prefix("http://").context("plain http")?;
        let address: SocketAddr = bare.parse()?;
        plainly(address, &format!("{host}:{}", address.port()), ("GET", "/"), &[], b"")
    }

    /// Asks until this comes.
    fn says(&self, host: &str, status: u16, text: &str) -> anyhow::Result<()> {
        try_until(&format!("{host} says {status} {text}"), PATIENCE, || {
            let answer = self.ask(host)?;
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            ensure!(
                answer.status == status && body.contains(text),
                "{} {body}",
                answer.status
            );
            Ok(())
        })
    }

    /// Asks until nothing is there.
    fn has_nothing(&self, host: &str) -> anyhow::Result<()> {
        try_until(&format!("nothing is at {host}"), PATIENCE, || {
            let answer = self.ask(host)?;
            ensure!(matches!(answer.status, 404 | 421), "{answer:?}");
            Ok(())
        })
    }

    fn ready_says(&self, text: &str) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.gateway.admin());
        try_until(&format!("/readyz says {text}"), PATIENCE, || {
            let page = Browser::default().request("GET", &url, "")?;
            ensure!(page.status == 200 && page.body.contains(text), "{}", page.body);
            Ok(())
        })
    }

    /// The reason that the log gives for not publishing a Service.
    fn told(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        try_until(&format!("why {namespace}/{name} is not published"), PATIENCE, || {
            let log = self.gateway.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut about = lines.filter(|line| {
                line["message"] == "an annotated Service is not published"
                    && line["namespace"] == namespace
                    && line["name"] == name
            });
            let line = about.next_back().context("not said yet")?;
            Ok(line["why"].as_str().context("a reason")?.to_owned())
        })
    }
}

#[test]
fn calls_go_to_the_pods_that_are_ready_as_they_come_and_go() -> anyhow::Result<()> {
    let Some(ip) = outward() else {
        left_out("calls of services at pods", Lack::Route, "")?;
        return Ok(());
    };
    let world = World::start()?;
    world.says("web.localhost", 502, UNREACHABLE)?;
    world.ready_says("[+] services ok, but: service `web`: the Service shop/web of bench has no pods\n")?;

    let (one, other) = (Pod::start(ip, "one")?, Pod::start(ip, "other")?);
    world.admin.apply(&slice("shop", "web", &one, "ready: true"))?;
    world.says("web.localhost", 200, "one")?;
    world.ready_says("[+] services ok\n")?;

    // One that is not ready gets nothing, not even by a connection that stands: the first one keeps its own.
    world.admin.apply(&slice("shop", "web", &other, "ready: true"))?;
    world.admin.apply(&slice("shop", "web", &one, "ready: false"))?;
    world.says("web.localhost", 200, "other")?;
    for _ in 0..20 {
        let answer = world.ask("web.localhost")?;
        ensure!(answer.body == b"other", "{answer:?}");
    }
    world.admin.apply(&slice("shop", "web", &other, "ready: false"))?;
    world.says("web.localhost", 502, UNREACHABLE)?;
    world.ready_says("service `web`: none of the 2 pods of the Service shop/web of bench is ready")?;
    // While none is ready, one that serves until it ends.
    world.admin.apply(&slice(
        "shop",
        "web",
        &one,
        "ready: false, serving: true, terminating: true",
    ))?;
    world.says("web.localhost", 200, "one")?;

    // The cluster falls silent: what was last known counts, and it is said.
    let apiserver = world.cluster.pid_of("kube-apiserver")?;
    nix::sys::signal::kill(apiserver, nix::sys::signal::Signal::SIGKILL)?;
    try_until("the silence is said", PATIENCE, || {
        let url = format!("http://{}/readyz", world.gateway.admin());
        let page = Browser::default().request("GET", &url, "")?;
        let line = page
            .body
            .lines()
            .find(|line| line.starts_with("[+] services ok, but: "));
        let line = line.with_context(|| page.body.clone())?;
        ensure!(line.contains("; the addresses that were last known count"), "{line}");
        Ok(())
    })?;
    world.says("web.localhost", 200, "one")
}

#[test]
fn n_10_who_annotates_a_service_publishes_it_within_what_a_file_lets_the_namespace_have() -> anyhow::Result<()> {
    let Some(ip) = outward() else {
        left_out("calls of services that their owners publish", Lack::Route, "")?;
        return Ok(());
    };
    let world = World::start()?;
    let pod = Pod::start(ip, "cart")?;
    let not_published = |host: &str| world.has_nothing(host);
    not_published("cart.apps.localhost")?;
    world
        .admin
        .apply(&annotated("shop", "cart", "gatescribe.dev/host: cart.apps.localhost"))?;
    world.admin.apply(&slice("shop", "cart", &pod, "ready: true"))?;
    world.says("cart.apps.localhost", 200, "cart")?;
    let records = world.gateway.records_with("what is published is recorded", |records| {
        records.iter().any(|record| {
            record["kind"] == "policy" && record.to_string().contains("+annotated Service shop/cart of bench")
        })
    })?;
    ensure!(!records.is_empty(), "{records:?}");

    // What is a file's, the gateway's, another namespace's or nobody's to give is not had, and each is told why.
    let (host, _) = world.gateway.url.rsplit_once(':').context("a port")?;
    let host = host.trim_start_matches("http://");
    ensure!(host == "127.0.0.1", "the gateway's own host is no name here: {host}");
    for (namespace, name, wanted, why) in [
        (
            "team",
            "thief",
            "cart.apps.localhost",
            "is published by shop/cart, which is older",
        ),
        (
            "team",
            "file",
            "web.localhost",
            "is published by a file of the gateway's",
        ),
        (
            "team",
            "outside",
            "admin.localhost",
            "no `ServicePublication` lets namespace `team` publish",
        ),
        (
            "shop",
            "away",
            "shop.example.com",
            "no `ServicePublication` lets namespace `shop` publish",
        ),
    ] {
        world
            .admin
            .apply(&annotated(namespace, name, &format!("gatescribe.dev/host: {wanted}")))?;
        let told = world.told(namespace, name)?;
        ensure!(told.contains(why), "{told}");
    }
    world
        .admin
        .apply(&annotated("stranger", "any", "gatescribe.dev/host: any.apps.localhost"))?;
    // Of an older Service that is looked at after it: by then the stranger's would be there.
    world
        .admin
        .apply(&annotated("team", "last", "gatescribe.dev/host: last.apps.localhost"))?;
    world.says("last.apps.localhost", 502, UNREACHABLE)?;
    not_published("any.apps.localhost")?;
    world.says("cart.apps.localhost", 200, "cart")?;
    world.says("web.localhost", 502, UNREACHABLE)?;

    // Whoever writes the gateway's rules sees all of it.
    let carol = Person::signed_in(&world.gateway, "carol")?;
    let listed = carol.ok("gatescribe svc ls")?.stdout;
    for (name, told) in [
        ("shop-cart", "✔ 1 ready"),
        ("shop-cart", "the annotations of shop/cart of bench"),
        (
            "team-thief",
            "✖ not published: `cart.apps.localhost` is published by shop/cart",
        ),
        ("web", "! 0 ready: the Service shop/web of bench has no pods"),
    ] {
        let row = listed.lines().find(|line| line.starts_with(name));
        ensure!(row.is_some_and(|row| row.contains(told)), "{name} {told}: {listed}");
    }
    let refused = carol.types("gatescribe svc show team-thief")?;
    ensure!(
        refused.code == 1 && refused.stdout.contains("which is older"),
        "{refused}"
    );
    let tested = carol.ok("gatescribe svc test cart.apps.localhost --get")?;
    ensure!(tested.stdout.contains("✔ answer      HTTP/1.1 200 OK"), "{tested}");
    let stranger = carol.types("gatescribe svc test any.apps.localhost")?;
    ensure!(
        stranger.code == 1
            && stranger
                .stdout
                .contains("those of others are not looked at: shop, team of bench"),
        "{stranger}"
    );

    // Its owner moves it, and takes it back.
    world
        .admin
        .apply(&annotated("shop", "cart", "gatescribe.dev/host: basket.apps.localhost"))?;
    world.says("basket.apps.localhost", 200, "cart")?;
    // The other one's turn: nobody older has the host any more.
    world.says("cart.apps.localhost", 502, UNREACHABLE)?;
    world
        .admin
        .ok(&["-n", "shop", "annotate", "service", "cart", "gatescribe.dev/host-"])?;
    not_published("basket.apps.localhost")?;

    // A file that names no such cluster is not in force, and changes nothing of what was published; one that takes the leave away ends it.
    replace(
        &world.gateway,
        "rules.yaml",
        &DOCUMENTS.replace("cluster: bench, namespace: shop", "cluster: other, namespace: shop"),
    )?;
    world.ready_says("service `web`: there is no cluster `other`; the configuration has `bench`")?;
    world.says("last.apps.localhost", 502, UNREACHABLE)?;
    replace(
        &world.gateway,
        "rules.yaml",
        &DOCUMENTS.replace("namespaces: [shop, team]", "namespaces: [shop]"),
    )?;
    not_published("last.apps.localhost")?;
    Ok(())
}

#[test]
fn an_observer_without_the_right_publishes_nothing_and_says_which_file_gives_it() -> anyhow::Result<()> {
    let world = World::start()?;
    world
        .admin
        .ok(&["delete", "clusterrolebinding", "gatescribe:observer-services"])?;
    let documents = DOCUMENTS.replace("namespaces: [shop, team]", "namespaces: [shop, stranger]");
    replace(&world.gateway, "rules.yaml", &documents)?;
    world.ready_says(
        "annotated Services of stranger of bench: the observer may not list `services` there: apply \
         deploy/kubernetes/observer-services.yaml",
    )?;
    world.has_nothing("any.apps.localhost")
}
