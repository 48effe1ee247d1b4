//! What was done at HTTP services, through the real process and by commands alone: who finds it, what they are told, and what they may do.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Client, plainly};
use tests::person::Person;
use tests::pki::Ca;
use tests::ports::Port;
use tests::process::Folder;
use tests::wait::{PATIENCE, try_until};

/// One service on a host, for developers; its pictures are for everybody, and nobody deletes.
fn documents(upstream: &str) -> String {
    let rule = |name: &str, effect: &str, subjects: &str, methods: &str, path: &str| {
        format!(
            "---\napiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{ name: {name} }}\nspec:\n  effect: {effect}\n  \
             subjects: {{ {subjects} }}\n  services: [{{ hosts: [web.localhost], methods: [{methods}], paths: ['{path}'] }}]\n"
        )
    };
    format!(
        "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{ name: web }}\nspec:\n  hosts: [web.localhost]\n  upstream: \
         {{ {upstream} }}\n{}{}{}",
        rule("developers", "allow", "groups: [dev]", "'*'", "/*"),
        rule("pictures", "allow", "public: true", "GET", "/pictures/*"),
        rule("nobody-deletes", "forbid", "groups: ['*']", "DELETE", "/*"),
    )
}

fn at(web: &FakeApiServer) -> String {
    format!("url: '{}'", web.upstream().server)
}

fn acts(found: &Value) -> Vec<&str> {
    let rows = found["records"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["act"].as_str()).collect()
}

const SECRET: &str = "b3ZlciB0aGUgaGlsbHMgYW5kIGZhciBhd2F5";

#[test]
fn what_an_ingress_asked_about_is_told_as_a_verdict_and_by_whom() -> anyhow::Result<()> {
    let (cluster, files, port) = (FakeApiServer::start()?, Folder::new("verdicts")?, Port::reserve()?);
    let ca = Ca::new("verdicts")?;
    let own = ca.server(&["127.0.0.1"])?;
    let write = |name: &str, text: &str| files.write(name, text).map(|path| path.display().to_string());
    let options = Options {
        identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
        more: Some(json!({
            "listeners": [{}, {}, {
                "name": "verdict", "address": port.address().to_string(), "serves": ["verdict"],
                "tls": { "certFile": write("verdict.crt", &own.certificate)?, "keyFile": write("verdict.key", &own.key)? },
            }],
            "forwardAuth": { "peers": [{ "name": "edge", "secretFiles": [write("edge.secret", SECRET)?] }] },
        })),
        ..Options::ruled(documents("ingress: true"))
    };
    let gateway = Gateway::before(&cluster.upstream(), &options)?;
    let [alice] = Person::all_signed_in(&gateway, ["alice"])?;
    let token = format!("Bearer {}", gateway.provider.raw_token("alice")?);
    let ingress = Client::new(port.address(), ca.certificate(), None)?;
    for (method, path, status) in [("GET", "/deep/link", 200), ("DELETE", "/deep/link", 403)] {
        let told = [
            ("X-Gatescribe-Ingress-Secret", SECRET),
            ("Authorization", token.as_str()),
            ("X-Original-Method", method),
            ("X-Original-Host", "web.localhost"),
            ("X-Original-URL", path),
            ("X-Original-Address", "192.0.2.7"),
        ];
        let answer = ingress.get("/auth/nginx", &told)?;
        ensure!(answer.status == status, "{answer:?}");
    }
    let line = "gatescribe audit search source:verdict ip:192.0.2.7";
    let found = try_until("both are found", PATIENCE, || {
        let found = alice.ok(&format!("{line} -o json"))?.json()?;
        ensure!(acts(&found).len() == 2, "{found:#}");
        Ok(found)
    })?;
    ensure!(
        acts(&found) == ["DELETE web.localhost/deep/link", "GET web.localhost/deep/link"],
        "{found:#}"
    );
    let table = alice.ok(line)?.stdout;
    ensure!(
        table.contains("✔ allowed (verdict)") && table.contains("✖ refused 403 Forbidden (verdict)"),
        "{table}"
    );
    for (row, words) in [
        (0, "AccessRule nobody-deletes forbids it."),
        (1, "AccessRule developers allows it."),
    ] {
        let id = found["records"][row]["id"].as_str().context("an id")?;
        let why = alice.ok(&format!("gatescribe why {id}"))?.stdout;
        ensure!(
            why.contains(words) && why.contains("asked by the ingress edge from 127.0.0.1, which forwards by itself"),
            "{why}"
        );
    }
    let told = alice.ok("gatescribe can GET https://web.localhost/deep/link")?.stdout;
    ensure!(
        told.contains("AccessRule developers"),
        "an ingress is told the same: {told}"
    );
    Ok(())
}

const KEY: &str = "T0a8Kd72Lq9xWv3mZpR5sYbN";

#[test]
fn a_webhooks_key_is_in_no_record_and_who_may_see_details_is_shown_the_whole_path() -> anyhow::Result<()> {
    let (cluster, web) = (FakeApiServer::start()?, FakeApiServer::start()?);
    let options = Options {
        identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
        ..Options::ruled(documents(&at(&web)))
    };
    let gateway = Gateway::before(&cluster.upstream(), &options)?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let token = format!("Bearer {}", gateway.provider.raw_token("alice")?);
    let address = gateway.url.strip_prefix("http://").context("plain http")?.parse()?;
    let (hook, report) = (format!("/hooks/{KEY}/run"), "/reports/2026-11/Q3%20final.pdf");
    for (method, path, bearer, status) in [
        ("GET", report, true, 200),
        ("GET", hook.as_str(), true, 200),
        ("DELETE", hook.as_str(), true, 403),
        ("GET", &format!("/pictures/{KEY}"), false, 200),
    ] {
        let headers = [("Authorization", token.as_str())];
        let headers = if bearer { &headers[..] } else { &[] };
        let answer = plainly(address, "web.localhost", (method, path), headers, b"")?;
        ensure!(answer.status == status, "{method} {path} {answer:?}");
    }
    let found = try_until("who did what under /hooks", PATIENCE, || {
        let found = carol.ok("gatescribe audit search host:web.localhost -o json")?.json()?;
        ensure!(acts(&found).len() == 4, "{found:#}");
        Ok(found)
    })?;
    ensure!(
        acts(&found)
            == [
                "GET web.localhost/pictures/…",
                "DELETE web.localhost/hooks/…",
                "GET web.localhost/hooks/…",
                "GET web.localhost/reports/2026-11/Q3%20final.pdf"
            ],
        "{found:#}"
    );
    let whose = carol
        .ok("gatescribe audit search path:/reports/2026-11/Q3%20final.pdf -o json")?
        .json()?;
    ensure!(whose["records"][0]["who"]["user"] == "alice@example.com", "{whose:#}");
    for (place, rest) in [(0, KEY.to_owned()), (2, format!("{KEY}/run"))] {
        let id = found["records"][place]["id"].as_str().context("an id")?;
        let shown = carol.ok(&format!("gatescribe audit show {id} -o json"))?.json()?;
        ensure!(shown["parts"]["path"] == rest.as_str(), "{shown:#}");
    }
    let own = found["records"][2]["id"].as_str().context("an id")?;
    let shown = alice.ok(&format!("gatescribe audit show {own}"))?.stdout;
    ensure!(shown.contains("GET web.localhost/hooks/…"), "{shown}");
    for record in gateway.records_with("all of them", |_| true)? {
        ensure!(!record.to_string().contains(&KEY[..8]), "{record:#}");
    }
    Ok(())
}

#[test]
fn what_was_done_at_services_is_found_explained_and_asked_about_by_commands_alone() -> anyhow::Result<()> {
    let (cluster, web) = (FakeApiServer::start()?, FakeApiServer::start()?);
    let options = Options {
        identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
        ..Options::ruled(documents(&at(&web)))
    };
    let gateway = Gateway::before(&cluster.upstream(), &options)?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let token = format!("Bearer {}", gateway.provider.raw_token("alice")?);
    let address = gateway.url.strip_prefix("http://").context("plain http")?.parse()?;
    for (act, bearer, status) in [
        (("GET", "/deep/link"), true, 200),
        (("DELETE", "/deep/link"), true, 403),
        (("GET", "/pictures/logo.png"), false, 200),
    ] {
        let headers = [("Authorization", token.as_str())];
        let headers = if bearer { &headers[..] } else { &[] };
        let answer = plainly(address, "web.localhost", act, headers, b"")?;
        ensure!(answer.status == status, "{act:?} {answer:?}");
    }

    let own = try_until("her own calls are found", PATIENCE, || {
        let found = alice.ok("gatescribe audit search service:web -o json")?.json()?;
        ensure!(acts(&found).len() == 2, "{found:#}");
        Ok(found)
    })?;
    ensure!(
        acts(&own) == ["DELETE web.localhost/deep/link", "GET web.localhost/deep/link"],
        "what the public did is not hers: {own:#}"
    );
    let public = "gatescribe audit search public:true";
    ensure!(alice.types(public)?.code == 1, "nor is it found as such");
    let table = carol.ok(public)?.stdout;
    ensure!(
        table.contains("(public)") && table.contains("GET web.localhost/pictures/logo.png"),
        "{table}"
    );
    let found = carol.ok(&format!("{public} -o json"))?.json()?;
    ensure!(
        found["records"][0]["decision"]["rules"][0]["name"] == "pictures",
        "{found:#}"
    );
    let folded = carol.ok("gatescribe audit search")?;
    ensure!(
        folded.stderr.contains("1 of the public") && !folded.stdout.contains("(public)"),
        "{folded}"
    );

    let why = alice.ok("gatescribe why")?.stdout;
    for words in [
        "✖ refused",
        "DELETE web.localhost/deep/link",
        "It was a call of the service `web` at `web.localhost`.",
        "AccessRule nobody-deletes forbids it.",
    ] {
        ensure!(why.contains(words), "no `{words}` in\n{why}");
    }

    for (line, code, words) in [
        ("GET http://web.localhost/deep/link", 0, "AccessRule developers"),
        (
            "GET http://web.localhost/pictures/logo.png --public",
            0,
            "AccessRule pictures",
        ),
        (
            "GET http://web.localhost/deep/link --public",
            1,
            "who has not signed in is not let in",
        ),
        ("DELETE http://web.localhost/deep/link", 1, "a rule forbids it"),
        ("GET http://other.localhost/", 1, "no site answers to this host name"),
    ] {
        let told = alice.types(&format!("gatescribe can {line}"))?;
        ensure!(told.code == code && told.stdout.contains(words), "{line}: {told}");
    }
    Ok(())
}
