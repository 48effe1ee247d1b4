//! A person's browser, a service, another service, the Kubernetes API: all through the gateway, and the person goes with it. Three records, one
//! human, one trace, each workload by its own proof; what ends it; and what is no chain.

#[path = "human_chain/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::clock::Hand;
use tests::collector::Collector;
use tests::http::{Answer, Client, Stream, field};
use tests::open::replace;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};
use world::{ALICE, ASSERTION, CONFIGMAPS, FRONT, STOCK, World};

fn body(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn users(record: &Value) -> Vec<&str> {
    let act = record["act"].as_array().map(Vec::as_slice).unwrap_or_default();
    act.iter().filter_map(|workload| workload["user"].as_str()).collect()
}

/// The records with which calls of hers begin, oldest first, once there are so many.
fn calls_of_alice(world: &World, count: usize) -> anyhow::Result<Vec<Value>> {
    let begins =
        |record: &&Value| record["by"]["user"] == ALICE && (record["kind"] == "intent" || record["kind"] == "access");
    let records = world
        .gateway
        .records_with("her calls", |records| records.iter().filter(begins).count() >= count)?;
    Ok(records.into_iter().filter(|record| begins(&record)).collect())
}

#[test]
fn promise_1_a_person_reaches_the_api_through_two_services_as_one_human_in_three_records_and_one_trace()
-> anyhow::Result<()> {
    let collector = Collector::start()?;
    let world = World::start(Some(json!({ "otlp": { "endpoint": collector.endpoint() } })), None)?;
    let alice = world.alice()?;
    let before = calls_of_alice(&world, 1)?.len();
    let theirs = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{theirs}-b7ad6b7169203331-01");
    let answer = alice.asks("/items", &[("traceparent", &traceparent)])?;
    let said = body(&answer);
    ensure!(
        said.starts_with("stock 200: cluster 200: ") && said.contains("\"here\""),
        "{said}"
    );

    let calls = calls_of_alice(&world, before + 3)?;
    let [at_front, at_stock, at_cluster] = &calls[before..] else {
        anyhow::bail!("{calls:#?}")
    };
    for member in ["id", "session", "sub"] {
        let all = [at_front, at_stock, at_cluster].map(|call| call["by"][member].to_string());
        let different: BTreeSet<String> = all.into_iter().collect();
        ensure!(different.len() == 1, "one human and one sign-in, {member}: {calls:#?}");
    }
    ensure!(
        at_front["service"]["name"] == "front" && at_front["by"]["credential"] == "cookie",
        "{at_front:#}"
    );
    ensure!(
        at_stock["service"]["name"] == "stock" && at_stock["by"]["credential"] == "assertion",
        "{at_stock:#}"
    );
    ensure!(
        at_cluster["cluster"] == "bench" && at_cluster["by"]["credential"] == "assertion",
        "{at_cluster:#}"
    );
    ensure!(users(at_front).is_empty(), "{at_front:#}");
    ensure!(users(at_stock) == [FRONT], "{at_stock:#}");
    ensure!(users(at_cluster) == [FRONT, STOCK], "{at_cluster:#}");
    ensure!(field(&answer.head, "audit-id") == at_front["id"].as_str(), "{answer:?}");
    let rules = at_cluster["decision"]["rules"].to_string();
    ensure!(
        rules.contains("people-read") && rules.contains("stock-acts"),
        "{at_cluster:#}"
    );

    let id = at_cluster["id"].as_str().context("an id")?;
    let event = world.cluster.audit_event("her call", |event| event.audit_id == id)?;
    let seen = event.impersonated_user.context("it was impersonated")?;
    ensure!(
        seen.username == ALICE && seen.groups.iter().any(|group| group == "chain-readers"),
        "{seen:?}"
    );

    for name in ["front", "stock"] {
        let came = world.server(name)?.last()?;
        ensure!(came.field("traceparent") == Some(traceparent.as_str()), "{came:?}");
    }
    try_until("each of the three is linked to the one trace", PATIENCE, || {
        let spans = collector.spans();
        for call in [at_front, at_stock, at_cluster] {
            let own = call["id"].as_str().unwrap_or_default().replace('-', "");
            let mut links = spans
                .iter()
                .filter(|span| hex::encode(&span.trace_id) == own)
                .flat_map(|span| &span.links);
            ensure!(links.any(|link| hex::encode(&link.trace_id) == theirs), "{own}");
        }
        Ok(())
    })?;
    exchanged(&world, &alice, before + 3)
}

/// The same past the gateway in the middle, by an assertion that `front` had made for `stock`.
fn exchanged(world: &World, alice: &world::Alice<'_>, before: usize) -> anyhow::Result<()> {
    let said = body(&alice.asks("/directly", &[])?);
    ensure!(
        said.starts_with("stock 200: cluster 200: ") && said.contains("\"here\""),
        "{said}"
    );
    let calls = calls_of_alice(world, before + 2)?;
    let at_cluster = calls.last().context("a call")?;
    ensure!(
        calls.len() == before + 2 && users(at_cluster) == [FRONT, STOCK],
        "{calls:#?}"
    );
    let is_it = |record: &&Value| record["person"]["what"] == "assertionExchanged";
    let records = world
        .gateway
        .records_with("the exchange", |records| records.iter().any(|record| is_it(&record)))?;
    let exchange = records.iter().find(is_it).context("a record")?;
    ensure!(
        exchange["by"]["id"] == at_cluster["by"]["id"] && users(exchange) == [FRONT],
        "{exchange:#}"
    );
    let note = exchange["note"].to_string();
    let credential = at_cluster["by"]["credential_id"].as_str().context("an id")?;
    ensure!(
        note.contains(credential.trim_start_matches("JTI=")),
        "{note} names what was given: {credential}"
    );
    Ok(())
}

/// A watch at the end of the chain.
struct Watch {
    stream: Stream,
    id: String,
}

impl Watch {
    fn open(world: &World, assertion: &str) -> anyhow::Result<Self> {
        let mut stream = world.reach()?.svid().open()?;
        write!(
            stream,
            "GET {CONFIGMAPS}?watch=true HTTP/1.1\r\nHost: {}\r\n{ASSERTION}: {assertion}\r\n\r\n",
            world.gateway.address
        )?;
        let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
        while !heard.windows(6).any(|six| six == b"\"here\"") {
            let read = stream.read(&mut piece)?;
            heard.extend_from_slice(&piece[..read]);
            ensure!(read > 0, "no watch: {}", String::from_utf8_lossy(&heard));
        }
        let head = String::from_utf8_lossy(&heard).into_owned();
        let id = field(&head, "audit-id").context("an id")?.to_owned();
        Ok(Self { stream, id })
    }

    /// Waits for its end; returns why, as its record says it.
    fn ends(mut self, world: &World) -> anyhow::Result<String> {
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        while !heard.ends_with(b"0\r\n\r\n") {
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(read) => heard.extend_from_slice(&piece[..read]),
            }
        }
        let closes = |record: &&Value| record["id"] == self.id.as_str() && record["kind"] == "close";
        let records = world
            .gateway
            .records_with("its end", |records| records.iter().any(|record| closes(&record)))?;
        let close = records.iter().find(closes).context("a close")?;
        Ok(close["outcome"]["why"].as_str().unwrap_or_default().to_owned())
    }
}

/// What is lost, how, how it is had again, what the watch's record says, and what the next call is told.
struct Loss<'a> {
    what: &'a str,
    happens: &'a dyn Fn() -> anyhow::Result<()>,
    is_over: &'a dyn Fn() -> anyhow::Result<()>,
    ends: &'a str,
    told: &'a str,
}

impl Loss<'_> {
    fn ends_all(&self, world: &World) -> anyhow::Result<()> {
        let [_, told] = try_until("she can do it", PATIENCE, || {
            let alice = world.alice()?;
            let said = body(&alice.asks("/items", &[])?);
            ensure!(said.contains("cluster 200"), "{said}");
            alice.assertions()
        })?;
        let watch = Watch::open(world, &told)?;
        let began = Instant::now();
        (self.happens)()?;
        let why = watch.ends(world).with_context(|| self.what.to_owned())?;
        println!(
            "{}: the watch ended {} ms after it",
            self.what,
            began.elapsed().as_millis()
        );
        ensure!(why.contains(self.ends), "{}: {why}", self.what);
        let answer = world.reach()?.reads(CONFIGMAPS, &[(ASSERTION, &told)])?;
        let said = body(&answer);
        ensure!(
            answer.status == 403 && said.contains(self.told),
            "{}: {said}",
            self.what
        );
        (self.is_over)()
    }
}

#[test]
fn promise_3_the_last_hop_ends_with_the_persons_right_her_sign_in_and_a_lock_on_anybody_in_the_chain()
-> anyhow::Result<()> {
    let world = World::start(None, None)?;
    let gateway = &world.gateway;
    let carol = Person::signed_in(gateway, "carol")?;
    // Whoever has called once as themselves can be locked out by name, whatever was answered.
    let reach = world.reach()?;
    let refused = [
        reach.sends("stock", "/items", &[("Authorization", &reach.bearer("front")?)])?,
        reach.reads(CONFIGMAPS, &[])?,
    ];
    for answer in refused {
        ensure!(answer.status == 403, "as itself it may nothing: {answer:?}");
        world.record(field(&answer.head, "audit-id").context("an id")?)?;
    }
    let rules = |people_read: bool| replace(gateway, "rules.yaml", &world.rules(people_read));
    let locks = |line: String| carol.ok(&line).map(drop);
    let nothing = || Ok(());
    Loss {
        what: "her rule is taken away",
        happens: &|| rules(false),
        is_over: &|| rules(true),
        ends: "no role allows it, and the cluster agrees",
        told: "configmaps",
    }
    .ends_all(&world)?;
    Loss {
        what: "she signs out",
        happens: &|| {
            gateway
                .provider
                .control("/logout", &json!({ "sub": "alice" }))
                .map(drop)
        },
        is_over: &nothing,
        ends: "sign-in has ended",
        told: "the person's sign-in has ended",
    }
    .ends_all(&world)?;
    for (who, told) in [
        (ALICE, Some("an administrator has locked this account")),
        (FRONT, None),
        (STOCK, None),
    ] {
        let locked = format!("{who} is locked by carol@example.com: TICKET-7");
        Loss {
            what: &format!("a lock on {who}"),
            happens: &|| locks(format!("gatescribe user lock {who} --reason TICKET-7")),
            is_over: &|| locks(format!("gatescribe user unlock {who} --reason found")),
            ends: &locked,
            told: told.unwrap_or(&locked),
        }
        .ends_all(&world)?;
    }
    Ok(())
}

/// What is sent, how it is refused, and by which words; the record says the same, of whoever was proved.
struct Case<'a> {
    what: &'a str,
    answer: Answer,
    status: u16,
    words: &'a str,
    /// Who was proved; nobody.
    by: Option<&'a str>,
    through: &'a [&'a str],
}

impl Case<'_> {
    fn is_refused(&self, world: &World) -> anyhow::Result<()> {
        let Self { what, answer, .. } = self;
        let said = body(answer);
        ensure!(
            answer.status == self.status && said.contains(self.words),
            "{what}: {} {said}",
            answer.status
        );
        let id = field(&answer.head, "audit-id").with_context(|| format!("{what}: an id in {answer:?}"))?;
        let record = world.record(id)?;
        ensure!(record["kind"] == "refusal", "{what}: {record:#}");
        ensure!(record["by"]["user"].as_str() == self.by, "{what}: {record:#}");
        ensure!(users(&record) == self.through, "{what}: {record:#}");
        let why = record["outcome"]["why"].as_str().unwrap_or_default();
        ensure!(why.contains(self.words), "{what}: {record:#}");
        Ok(())
    }
}

const STOCK_ACCOUNT: &str = "system:serviceaccount:chain:stock";
const TILL: &str = "system:serviceaccount:chain:till";
const DOCK: &str = "system:serviceaccount:chain:dock";

#[test]
fn promise_1_what_is_no_chain_is_refused_with_its_words_and_recorded() -> anyhow::Result<()> {
    let world = World::start(None, None)?;
    let (alice, reach) = (world.alice()?, world.reach()?);
    let [at_front, at_stock] = alice.assertions()?;
    let hop = |from: &str, told: &str, to: &str| -> anyhow::Result<String> {
        let answer = reach.calls(from, told, to, &[])?;
        ensure!(answer.status == 200, "{from} calls {to}: {answer:?}");
        world.server(to)?.assertion()
    };
    let at_depot = hop("stock", &at_stock, "depot")?;
    let at_dock = hop("depot", &at_depot, "dock")?;
    let forged = {
        let (rest, signature) = at_front.rsplit_once('.').context("a signature")?;
        let (first, more) = signature.split_at(1);
        format!("{rest}.{}{more}", if first == "A" { "B" } else { "A" })
    };
    let sign_in = world.gateway.sign_in("alice")?.token;
    let bearer = format!("Bearer {sign_in}");
    let client = Client::new(world.gateway.address, world.gateway.ca(), None)?;
    let case = |what: &'static str, answer: anyhow::Result<Answer>, status, words, by, through| -> anyhow::Result<()> {
        let answer = answer.with_context(|| what.to_string())?;
        Case {
            what,
            answer,
            status,
            words,
            by,
            through,
        }
        .is_refused(&world)
    };
    let replayed =
        |headers: &[(&str, &str)]| client.get(CONFIGMAPS, &[headers, &[(ASSERTION, at_stock.as_str())]].concat());
    case(
        "replayed at a service without a proof",
        reach.sends("depot", "/", &[(ASSERTION, &at_stock)]),
        401,
        "no credential was presented",
        None,
        &[],
    )?;
    case("replayed at the API without a proof", replayed(&[]), 401, "", None, &[])?;
    case(
        "replayed by a person",
        replayed(&[("Authorization", &bearer)]),
        403,
        "an assertion counts only beside the proof of the workload",
        Some(ALICE),
        &[],
    )?;
    case(
        "by another workload",
        reach.calls("till", &at_stock, "depot", &[]),
        403,
        "`system:serviceaccount:chain:till` is no workload of the service `stock`",
        Some(TILL),
        &[],
    )?;
    case(
        "for another service",
        reach.calls("front", &at_stock, "depot", &[]),
        403,
        "`system:serviceaccount:chain:front` is no workload of the service `stock`",
        Some(FRONT),
        &[],
    )?;
    case(
        "forged",
        reach.calls("front", &forged, "stock", &[]),
        403,
        "signature is wrong",
        Some(FRONT),
        &[],
    )?;
    case(
        "a sign-in",
        reach.calls("front", &sign_in, "stock", &[]),
        403,
        "what is shown is no assertion for a service",
        Some(FRONT),
        &[],
    )?;
    case(
        "two",
        reach.calls("front", &at_front, "stock", &[(ASSERTION, &at_front)]),
        403,
        "two assertions are shown",
        Some(FRONT),
        &[],
    )?;
    case(
        "a loop",
        reach.calls("stock", &at_stock, "front", &[]),
        403,
        "comes round to the service `front`",
        Some(ALICE),
        &[FRONT, STOCK_ACCOUNT],
    )?;
    case(
        "too deep",
        reach.calls("dock", &at_dock, "till", &[]),
        403,
        "more than three workloads",
        Some(DOCK),
        &[],
    )?;
    case(
        "without a rule",
        reach.calls("front", &at_front, "till", &[]),
        403,
        "no rule with `onBehalfOf` lets system:serviceaccount:chain:front do this",
        Some(ALICE),
        &[FRONT],
    )?;
    case(
        "what the rule does not name",
        reach.reads(
            "/clusters/bench/api/v1/namespaces/chain/secrets",
            &[(ASSERTION, &at_stock)],
        ),
        403,
        "no rule with `onBehalfOf` lets spiffe://example.org/ns/chain/sa/stock do this",
        Some(ALICE),
        &[FRONT, STOCK],
    )?;
    no_exchange(&world, &at_front, &at_stock, &forged)
}

/// The same at the endpoint that makes assertions.
fn no_exchange(world: &World, at_front: &str, at_stock: &str, forged: &str) -> anyhow::Result<()> {
    let reach = world.reach()?;
    for (workload, told, to, error, reason, recorded) in [
        (
            "till",
            at_stock,
            "service:depot",
            "invalid_request",
            json!("assertion_audience"),
            "exchangeRefused",
        ),
        (
            "front",
            forged,
            "service:stock",
            "invalid_request",
            json!("assertion_signature"),
            "credentialRefused",
        ),
        (
            "front",
            at_front,
            "service:till",
            "invalid_target",
            json!("noOnBehalfOf"),
            "exchangeRefused",
        ),
        (
            "stock",
            at_stock,
            "service:front",
            "invalid_target",
            json!("assertion_loop"),
            "exchangeRefused",
        ),
        ("front", at_front, "cluster:bench", "invalid_target", Value::Null, ""),
    ] {
        let answer = reach.exchanges(workload, told, to)?;
        let said = answer.json()?;
        ensure!(
            answer.status == 400 && said["error"] == error && said["reason"] == reason,
            "{workload} to {to}: {said}"
        );
        if let Some(reason) = reason.as_str() {
            let is_it = |record: &Value| record["person"]["what"] == recorded && record["person"]["why"] == reason;
            world
                .gateway
                .records_with(reason, |records| records.iter().any(is_it))?;
        }
    }
    Ok(())
}

/// A WebSocket at a service, opened for somebody.
fn socket(world: &World, told: &str) -> anyhow::Result<TcpStream> {
    let bearer = world.reach()?.bearer("front")?;
    let address = world.reach()?.gate();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /socket HTTP/1.1\r\nHost: stock.localhost:{}\r\nAuthorization: {bearer}\r\n{ASSERTION}: {told}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        address.port()
    )?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte)? == 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

#[test]
fn an_assertion_is_over_after_two_minutes_and_so_is_whatever_was_begun_by_it() -> anyhow::Result<()> {
    let hand = Hand::new()?;
    let world = World::start(None, Some(hand.under()?))?;
    let alice = world.alice()?;
    let [at_front, at_stock] = alice.assertions()?;
    let watch = Watch::open(&world, &at_stock)?;
    let mut socket = socket(&world, &at_front)?;
    hand.set("+150")?;
    let why = watch.ends(&world)?;
    ensure!(why.contains("its limit"), "{why}");
    socket.read_to_end(&mut Vec::new())?;
    let reach = world.reach()?;
    for answer in [
        reach.calls("front", &at_front, "stock", &[])?,
        reach.reads(CONFIGMAPS, &[(ASSERTION, &at_stock)])?,
    ] {
        let said = body(&answer);
        ensure!(
            answer.status == 403 && said.contains("the assertion has expired"),
            "{said}"
        );
    }
    let said = reach.exchanges("front", &at_front, "service:stock")?.json()?;
    ensure!(said["reason"] == "assertion_expired", "{said}");
    // She herself goes on.
    let said = body(&alice.asks("/items", &[])?);
    ensure!(said.starts_with("stock 200: cluster 200: "), "{said}");
    Ok(())
}
