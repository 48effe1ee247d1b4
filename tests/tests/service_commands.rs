//! `gatescribe svc`: how published services stand, and what a call of one meets, station by station.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::open::replace;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

/// A server that keeps the heads of what it is asked.
struct Web {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, heads) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(head);
                // Whoever has left needs no answer.
                let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Ok(Self { address, heads })
    }

    /// What came since the last look.
    fn take(&self) -> anyhow::Result<Vec<String>> {
        let mut heads = self.heads.lock().map_err(|_| anyhow::anyhow!("it broke"))?;
        Ok(std::mem::take(&mut heads))
    }
}

/// Services that stand well, cannot be reached, may not be dialled, and speak TLS with and without an authority that vouches.
fn documents(web: &str, secure: &str, authorities: &str) -> String {
    let service = |name: &str, upstream: &str| {
        format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{hosts: [{name}.localhost], upstream: \
             {{{upstream}}}, timeouts: {{answer: 30s}}}}\n---\n"
        )
    };
    [
        &service("web", &format!("url: '{web}'")),
        &service("nobody", "url: 'http://127.0.0.1:1'"),
        &service("metadata", "url: 'http://169.254.169.254'"),
        &service(
            "secure",
            &format!("url: '{secure}', caFile: '{authorities}', serverName: localhost"),
        ),
        &service("unknown", &format!("url: '{secure}', serverName: localhost")),
        "apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {name: web-for-developers}
spec:
  effect: allow
  subjects: {groups: [dev]}
  services: [{hosts: [web.localhost], methods: [GET], paths: ['/*']}]
",
    ]
    .concat()
}

/// Each step's name with whether it is well.
fn steps(told: &Value) -> Vec<(String, bool)> {
    let steps = told["steps"].as_array().into_iter().flatten();
    let step = |step: &Value| Some((step["step"].as_str()?.to_owned(), step["ok"].as_bool()?));
    steps.filter_map(step).collect()
}

fn of(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names
        .iter()
        .map(|(name, is_well)| ((*name).to_owned(), *is_well))
        .collect()
}

#[test]
fn an_auditor_sees_how_services_stand_and_what_a_call_of_one_meets() -> anyhow::Result<()> {
    let (cluster, web) = (FakeApiServer::start()?, Web::start()?);
    let at = format!("http://{}", web.address);
    let gateway = Gateway::before(&cluster.upstream(), &Options::ruled("# no rules\n"))?;
    let secure = format!("https://127.0.0.1:{}", gateway.address.port());
    let authorities = gateway.file("ca.crt").display().to_string();
    replace(&gateway, "rules.yaml", &documents(&at, &secure, &authorities))?;
    let [carol, alice] = Person::all_signed_in(&gateway, ["carol", "alice"])?;

    let listed = try_until("all of them are published", PATIENCE, || {
        let listed = carol.ok("gatescribe svc ls")?.stdout;
        ensure!(listed.contains("unknown.localhost"), "{listed}");
        Ok(listed)
    })?;
    let row = |listed: &str, name: &str| -> anyhow::Result<String> {
        let found = listed.lines().find(|line| line.starts_with(name));
        found.map(str::to_owned).with_context(|| listed.to_owned())
    };
    let web_row = row(&listed, "web")?;
    ensure!(
        web_row.contains("web.localhost") && web_row.contains(&at) && web_row.ends_with("✔       rule files"),
        "{web_row}"
    );

    // Nobody else is told where anything is, and nobody else makes the gateway call anything.
    for line in ["svc ls", "svc show web", "svc test web.localhost"] {
        let refused = alice.types(&format!("gatescribe {line}"))?;
        ensure!(refused.code == 4, "{line}: {refused}");
    }
    ensure!(web.take()?.is_empty(), "nothing was called");

    let test = |line: &str| -> anyhow::Result<(i32, Value)> {
        let said = carol.types(&format!("gatescribe svc test {line} -o json"))?;
        let told = serde_json::from_str(&said.stdout).with_context(|| said.to_string())?;
        Ok((said.code, told))
    };
    let well = [
        ("published", true),
        ("access", true),
        ("address", true),
        ("connection", true),
        ("answer", true),
    ];
    let (code, told) = test("web.localhost/deep%20link?secret=1 --get --as alice@example.com --group dev")?;
    ensure!(code == 0 && steps(&told) == of(&well), "{told:#}");
    let what = |told: &Value, at: usize| told["steps"][at]["what"].as_str().unwrap_or_default().to_owned();
    ensure!(
        what(&told, 1).starts_with("alice@example.com may: ") && what(&told, 1).contains("web-for-developers"),
        "{told:#}"
    );
    ensure!(what(&told, 4) == "HTTP/1.1 200 OK", "{told:#}");
    let arrived = web.take()?;
    ensure!(
        arrived.len() == 1 && arrived[0].starts_with("GET /deep%20link?secret=1 HTTP/1.1\r\n"),
        "{arrived:?}"
    );
    let fields = arrived[0].to_ascii_lowercase();
    ensure!(fields.contains("host: web.localhost:"), "as a call has it: {fields}");
    for nobodys in ["authorization", "cookie", "assertion", "alice", "carol", "remote-user"] {
        ensure!(!fields.contains(nobodys), "{nobodys} in {fields}");
    }

    // The public may not, and the way goes on: what is wrong with the service is seen by whoever may not call it.
    let (code, told) = test("web.localhost")?;
    ensure!(code == 1 && steps(&told)[1] == ("access".to_owned(), false), "{told:#}");
    ensure!(
        steps(&told).len() == 5 && what(&told, 1).starts_with("the public may not"),
        "{told:#}"
    );
    ensure!(web.take()?.len() == 1, "and it was called");

    for (host, last, why) in [
        ("nobody", "connection", "cannot connect to 127.0.0.1:1: "),
        (
            "metadata",
            "address",
            "`169.254.169.254` leads to 169.254.169.254:80, which is refused: it is link-local, where clouds keep the credentials of machines",
        ),
        ("unknown", "connection", "no TLS connection to "),
        (
            "nothing",
            "published",
            "no service is published on nothing.localhost, and no `ServicePublication` lets a namespace have it",
        ),
    ] {
        let (code, told) = test(&format!("{host}.localhost"))?;
        let all = told["steps"].as_array().context("steps")?;
        let end = all.last().context("an end")?;
        ensure!(code == 1 && end["step"] == last && end["ok"] == false, "{told:#}");
        ensure!(
            end["what"].as_str().is_some_and(|what| what.starts_with(why)),
            "{told:#}"
        );
    }
    let (_, told) = test("secure.localhost")?;
    let connection = what(&told, 3);
    ensure!(
        connection.contains("by TLS 1.3, `h2` was agreed on; its certificate is of `localhost`, for which those in `")
            && connection.ends_with("ca.crt` vouch"),
        "{told:#}"
    );
    ensure!(what(&told, 4).starts_with("HTTP/2 "), "{told:#}");

    // What the last call met stands in the list.
    let listed = carol.ok("gatescribe svc ls -o json")?;
    let listed: Value = serde_json::from_str(&listed.stdout)?;
    let services = listed["services"].as_array().context("services")?;
    let trouble = |name: &str| {
        services
            .iter()
            .find(|one| one["name"] == name)
            .map(|one| one["trouble"].clone())
    };
    ensure!(trouble("web") == Some(Value::Null), "{listed:#}");
    ensure!(
        trouble("nobody").is_some_and(|told| told.as_str().unwrap_or_default().starts_with("cannot connect")),
        "{listed:#}"
    );

    let shown = carol.ok("gatescribe svc show web")?.stdout;
    for told in [
        "web.localhost",
        "answer 30s",
        "X-Gatescribe-Assertion",
        "web-for-developers",
    ] {
        ensure!(shown.contains(told), "{told} in {shown}");
    }
    let none = carol.types("gatescribe svc show other")?;
    ensure!(none.code == 5, "{none}");

    // Each was recorded: who, what, and of a test before anything went out.
    let records = gateway.records_with("the readings", |records| {
        let reads = records
            .iter()
            .filter(|record| record["read"]["what"] == "testedService");
        reads.count() >= 7
    })?;
    let first = records
        .iter()
        .find(|record| record["read"]["what"] == "testedService")
        .context("a test")?;
    ensure!(
        first["read"]["query"] == "GET web.localhost/" && first["by"]["email"] == "carol@example.com",
        "{first:#}"
    );
    let of_services = records.iter().filter(|record| !record["service"].is_null());
    ensure!(
        of_services.count() == 0,
        "no call of a person's is told that nobody made"
    );
    let records = json!(records).to_string();
    ensure!(
        !records.contains("secret=1") && !records.contains("deep%20link"),
        "what is no plain word may be a secret"
    );
    Ok(())
}
