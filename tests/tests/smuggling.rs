//! Requests that readers take apart in different ways, sent raw through the real gateway to nine servers: what each of them saw is
//! compared with what was recorded (issue 6, §4.2).
//!
//! alice sends the odd ones. Behind each of them bob asks for a page of his own, so that what was left on a connection to the server
//! would show as his. What must hold of every server: it saw each request that was recorded as answered once, with the method, the
//! target and the person of its record; it saw nothing that was not recorded; nobody got another one's answer; and no word of a client
//! stood where the gateway says who calls.

#[path = "smuggling/corpus.rs"]
mod corpus;
#[path = "smuggling/fields.rs"]
mod fields;
#[path = "smuggling/framing.rs"]
mod framing;
#[path = "smuggling/ledger.rs"]
mod ledger_says;
#[path = "smuggling/modern.rs"]
mod modern;
#[path = "smuggling/places.rs"]
mod places;
#[path = "smuggling/ways.rs"]
mod ways;
#[path = "smuggling/wire.rs"]
mod wire;

use std::collections::HashSet;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::backends::echo::{Echo, Kind};
use tests::backends::seen::Seen;
use tests::fake::FakeApiServer;
use tests::frames::Http2;
use tests::gateway::{Gateway, Options};
use tests::http::Client;

use corpus::{Answer, Call, Case, Expect};
use ledger_says::{Recorded, asserted, differences, said};
use places::Places;
use wire::{Answered, Wire};

fn documents(echoes: &[Echo]) -> String {
    let rule = "
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: everybody }
spec:
  effect: allow
  subjects: { groups: [dev, sre] }
  services: [{ hosts: ['*.gate.example'], methods: ['*'], paths: ['/*'] }]
";
    let service = |echo: &Echo| {
        let name = echo.kind.name();
        format!(
            "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: {name} }}
spec:
  hosts: [{name}.gate.example]
  upstream: {{ url: '{}' }}
  identityHeaders: {{ user: X-Remote-User, groups: X-Remote-Groups, email: X-Remote-Email }}
---",
            echo.server.url()
        )
    };
    echoes.iter().map(service).collect::<String>() + rule
}

struct World {
    gateway: Gateway,
    tokens: [String; 2],
}

impl World {
    fn start(echoes: &[Echo]) -> anyhow::Result<Self> {
        let options = Options {
            identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
            secure_host: true,
            ..Options::ruled(documents(echoes))
        };
        let gateway = Gateway::before(&FakeApiServer::start()?.upstream(), &options)?;
        let tokens = [gateway.provider.raw_token("alice")?, gateway.provider.raw_token("bob")?];
        Ok(Self { gateway, tokens })
    }

    fn authority(&self, kind: Kind) -> anyhow::Result<String> {
        let (_, port) = self.gateway.url.rsplit_once(':').context("a port")?;
        Ok(format!("{}.gate.example:{port}", kind.name()))
    }

    fn client(&self) -> anyhow::Result<Client> {
        let address = self.gateway.url.strip_prefix("https://").context("https")?;
        Client::new(address.parse()?, self.gateway.ca(), None)
    }
}

/// One server's part of the story.
struct Side<'w> {
    kind: Kind,
    client: Client,
    places: Places,
    token_of_bob: &'w str,
    bob: Option<Wire>,
    probes: usize,
    told: Told,
}

/// What a client was told.
#[derive(Default)]
struct Told {
    differences: Vec<String>,
    cases: usize,
    /// Ids of requests that the service answered.
    passed: Vec<String>,
    /// Ids of requests that the gateway refused.
    refused: Vec<String>,
    /// Refusals of the gateway. What is no HTTP has no id.
    gate_refusals: usize,
    /// Answers of the service that are refusals of its own.
    own_refusals: usize,
}

impl<'w> Side<'w> {
    fn new(world: &'w World, kind: Kind) -> anyhow::Result<Self> {
        let [alice, bob] = &world.tokens;
        let other = if kind == Kind::Go { Kind::Node } else { Kind::Go };
        Ok(Self {
            kind,
            client: world.client()?,
            places: Places {
                host: world.authority(kind)?,
                other: world.authority(other)?,
                alice: alice.clone(),
            },
            token_of_bob: bob,
            bob: None,
            probes: 0,
            told: Told::default(),
        })
    }

    fn goes(mut self) -> anyhow::Result<Told> {
        for case in corpus::all() {
            let gone = self.goes_through(&case).with_context(|| case.name.clone());
            self.note(&case.name, gone);
        }
        for case in modern::all() {
            let gone = self.goes_over_http2(&case).with_context(|| case.name.clone());
            self.note(&case.name, gone);
        }
        Ok(self.told)
    }

    fn note(&mut self, name: &str, gone: anyhow::Result<()>) {
        self.told.cases += 1;
        let probed = self.probe();
        for outcome in [gone, probed] {
            if let Err(error) = outcome {
                let name: String = name.chars().take(160).collect();
                self.told.differences.push(format!("{name}: {error:#}"));
            }
        }
    }

    fn goes_through(&mut self, case: &Case) -> anyhow::Result<()> {
        let mut wire = Wire::new(self.client.open()?);
        let mut pieces = self.places.pieces(&case.bytes).into_iter();
        wire.send(&pieces.next().unwrap_or_default());
        for piece in pieces {
            wire.told_to_go_on()?;
            wire.send(&piece);
        }
        let Expect::Answers(answers) = &case.expect else {
            wire.leave();
            return wire.rest().map(drop);
        };
        for (at, expected) in answers.iter().enumerate() {
            let to_head = matches!(expected, Answer::Service(call) if call.method == "HEAD");
            let answer = wire.answer(to_head)?.with_context(|| format!("no answer {at}"))?;
            self.judge(expected, &answer).with_context(|| format!("answer {at}"))?;
            if answer.closes() {
                let rest = wire.rest()?;
                ensure!(
                    rest.is_empty(),
                    "behind the last answer: {:?}",
                    String::from_utf8_lossy(&rest)
                );
                ensure!(at + 1 == answers.len(), "no answer but {} of {}", at + 1, answers.len());
            }
        }
        Ok(())
    }

    fn judge(&mut self, expected: &Answer, answer: &Answered) -> anyhow::Result<()> {
        let id = answer.id().map(str::to_owned);
        match expected {
            Answer::Gate => {
                ensure!(answer.status >= 400, "it passes: {answer:?}");
                ensure!(doc(&answer.body).is_err(), "the service answered: {answer:?}");
                self.told.gate_refusals += 1;
                self.told.refused.extend(id);
            }
            Answer::Service(call) => {
                let id = id.with_context(|| format!("no id: {answer:?}"))?;
                self.told.passed.push(id.clone());
                if answer.status != 200 {
                    let is_own = (400..500).contains(&answer.status);
                    // Who reads no body ends the connection under whoever still sends one.
                    let is_cut = answer.status == 502 && self.kind == Kind::HttpServer && !call.body.is_empty();
                    ensure!(is_own || is_cut, "{answer:?}");
                    self.told.own_refusals += 1;
                } else if call.method != "HEAD" {
                    let seen = doc(&answer.body).with_context(|| format!("{answer:?}"))?;
                    let came = said(&seen, "audit-id");
                    ensure!(came.as_deref() == Some(id.as_bytes()), "another one's answer: {seen:?}");
                    self.sees(call, &seen)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the service saw what was sent.
    fn sees(&self, call: &Call, seen: &Seen) -> anyhow::Result<()> {
        let (method, target) = (
            String::from_utf8_lossy(&seen.method),
            String::from_utf8_lossy(&seen.target),
        );
        // uvicorn tells path and query apart.
        let expected = match self.kind {
            Kind::UvicornH11 | Kind::UvicornHttptools => call.target.trim_end_matches('?'),
            _ => &call.target,
        };
        ensure!(
            method == call.method && target == expected,
            "{method} {target} instead of {} {}",
            call.method,
            call.target
        );
        if self.kind != Kind::HttpServer {
            let length = self.places.filled(&call.body).len() as u64;
            ensure!(
                seen.body.length == length && seen.body.complete,
                "{length} bytes were sent: {:?}",
                seen.body
            );
        }
        Ok(())
    }

    fn goes_over_http2(&mut self, case: &modern::Case) -> anyhow::Result<()> {
        let filled = |fields: &[(String, String)]| -> Vec<(Vec<u8>, Vec<u8>)> {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone().into_bytes(), self.places.filled(value.as_bytes())))
                .collect()
        };
        let (fields, trailers) = (filled(&case.fields), filled(&case.trailers));
        let mut wire = Http2::begin(self.client.http2()?)?;
        let ends = case.pieces.is_empty();
        let _ = wire.fields(1, &borrowed(&fields), ends);
        for (at, piece) in case.pieces.iter().enumerate() {
            let ends = trailers.is_empty() && at + 1 == case.pieces.len();
            let _ = wire.data(1, &self.places.filled(piece), ends);
        }
        if !trailers.is_empty() {
            let _ = wire.fields(1, &borrowed(&trailers), true);
        }
        // Refused is also a stream that is reset, and a connection that ends.
        let body = wire.body(1).unwrap_or_default();
        let seen = doc(body.as_bytes());
        match (&case.expect, seen) {
            (modern::Expect::Either, _) | (modern::Expect::Refused, Err(_)) => Ok(()),
            (modern::Expect::Refused, Ok(seen)) => anyhow::bail!("it passes: {seen:?}"),
            (modern::Expect::Passes(_), Err(_)) if is_of_nginx_and_its_like(&body) => {
                self.told.own_refusals += 1;
                Ok(())
            }
            (modern::Expect::Passes(call), seen) => self.sees(call, &seen.with_context(|| body.clone())?),
        }
    }

    /// A page of bob's, on a connection that he keeps.
    fn probe(&mut self) -> anyhow::Result<()> {
        self.probes += 1;
        let target = format!("/probe/{}", self.probes);
        let bob = self.token_of_bob;
        let asked = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {bob}\r\n\r\n",
            self.places.host
        );
        let mut wire = match self.bob.take() {
            Some(wire) => wire,
            None => Wire::new(self.client.open()?),
        };
        wire.send(asked.as_bytes());
        let answer = wire.answer(false)?.context("bob: no answer")?;
        if !answer.closes() {
            self.bob = Some(wire);
        }
        let call = Call {
            method: "GET".to_owned(),
            target,
            body: Vec::new(),
        };
        ensure!(answer.status == 200, "bob: {answer:?}");
        self.judge(&Answer::Service(call), &answer).context("bob")?;
        let claims = asserted(&doc(&answer.body)?).context("bob")?.claims;
        ensure!(
            claims["email"] == "bob@example.com",
            "bob's page is somebody else's: {claims}"
        );
        Ok(())
    }
}

fn borrowed(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect()
}

/// A page of a server's own that says no.
fn is_of_nginx_and_its_like(body: &str) -> bool {
    body.contains("400 Bad") || body.contains("Bad Request") || body.contains("Invalid HTTP")
}

/// What a service says that it saw.
fn doc(body: &[u8]) -> anyhow::Result<Seen> {
    ensure!(body.starts_with(b"{\"method\""), "no answer of the service's");
    Seen::read(body.trim_ascii_end())
}

#[test]
fn promise_1_every_server_sees_exactly_the_requests_and_the_people_that_were_recorded() -> anyhow::Result<()> {
    let (counts, differences) = story(&Kind::ALL)?;
    println!("{counts}");
    assert_eq!(differences, Vec::<String>::new());
    Ok(())
}

/// It takes the bytes of a body for a request, whoever the connection is used for then.
#[test]
fn promise_7_what_a_server_leaves_unread_is_never_somebody_elses_request() -> anyhow::Result<()> {
    let (counts, differences) = story(&[Kind::HttpServer])?;
    println!("{counts}");
    assert_eq!(differences, Vec::<String>::new());
    Ok(())
}

/// A line of counts for each server, and all differences.
fn story(kinds: &[Kind]) -> anyhow::Result<(String, Vec<String>)> {
    let echoes: Vec<Echo> = kinds.iter().copied().map(Echo::start).collect::<anyhow::Result<_>>()?;
    let world = World::start(&echoes)?;
    let told: Vec<Told> = std::thread::scope(|scope| {
        let begin = |echo: &Echo| {
            let (world, kind) = (&world, echo.kind);
            scope.spawn(move || Side::new(world, kind)?.goes())
        };
        let sides: Vec<_> = echoes.iter().map(begin).collect();
        let joined = sides
            .into_iter()
            .map(|side| side.join().map_err(|_| anyhow::anyhow!("a side panicked"))?);
        joined.collect::<anyhow::Result<_>>()
    })?;
    let recorded = Recorded::all(&world.gateway)?;
    let (mut counts, mut all) = (Vec::new(), Vec::new());
    for (told, echo) in told.into_iter().zip(&echoes) {
        let name = echo.kind.name();
        let (count, found) = compared(told, &recorded.of(name), echo)?;
        counts.push(count);
        all.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    Ok((counts.join("\n"), all))
}

/// All that differs between what the client was told, what was recorded, and what the server saw.
fn compared(told: Told, recorded: &[&Recorded], echo: &Echo) -> anyhow::Result<(String, Vec<String>)> {
    let seen = echo.seen()?;
    let ids: HashSet<&str> = recorded.iter().map(|one| one.id.as_str()).collect();
    let mut found = told.differences;
    found.extend(differences(echo.kind, recorded, &seen));
    let lost = told.passed.iter().filter(|id| !ids.contains(id.as_str()));
    found.extend(lost.map(|id| format!("{id} was answered and is not recorded")));
    let sent = told.refused.iter().filter(|id| ids.contains(id.as_str()));
    found.extend(sent.map(|id| format!("{id} was refused and is recorded as sent")));
    let count = format!(
        "smuggling {}: cases={} recorded={} seen={} refused_by_gateway={} refused_by_service={} differences={}",
        echo.kind.name(),
        told.cases,
        recorded.len(),
        seen.len(),
        told.gate_refusals,
        told.own_refusals,
        found.len()
    );
    Ok((count, found))
}
