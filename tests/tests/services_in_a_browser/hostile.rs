//! Pages of somebody else's, open in the browser of who is signed in: on another site, on the gateway's own site behind another port, and on a service
//! that is published beside. What they can do by forms, scripts, pictures, frames and WebSockets is nothing, and they read nothing.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::http::{Answer, plainly};
use tests::window::{Chromium, Site, Tab};

use super::World;

/// All that a script can ask of an address of somebody else's with that one's cookies; says what became of each.
fn tries(url: &str) -> String {
    let script = r"(async () => {
        const url = URL_THERE, said = {};
        const tries = async (name, what) => { try { said[name] = await Promise.race([what(), new Promise((done) => setTimeout(() => done('never'), 20000))]); } catch (error) { said[name] = error.name; } };
        const asks = { credentials: 'include' };
        const change = { ...asks, method: 'POST', body: '{}', headers: { 'content-type': 'text/plain' } };
        await tries('reads', () => fetch(url, asks).then((answer) => answer.text()));
        await tries('changes', () => fetch(url, { ...change, mode: 'no-cors' }).then((answer) => answer.type));
        await tries('names', () => fetch(url, { ...change, headers: { 'impersonate-user': 'root' } }).then((answer) => answer.text()));
        await tries('shows', () => new Promise((done) => {
            const picture = new Image();
            picture.onload = () => done('loaded');
            picture.onerror = () => done('failed');
            picture.src = url;
        }));
        await tries('talks', () => new Promise((done) => {
            const socket = new WebSocket(url.replace('http', 'ws'));
            socket.onopen = () => done('open');
            socket.onclose = () => done('closed');
        }));
        await tries('sends', () => new Promise((done) => {
            const frame = Object.assign(document.createElement('iframe'), { name: 'there' + Math.random() });
            const form = document.body.appendChild(document.createElement('form'));
            Object.assign(form, { method: 'post', action: url, target: frame.name, enctype: 'text/plain' });
            form.innerHTML = '<input name=answer value=yes>';
            frame.onload = () => { frame.onload = () => done('sent'); form.submit(); };
            frame.src = '/empty';
            document.body.append(frame);
        }));
        return said;
    })()";
    script.replace("URL_THERE", &json!(url).to_string())
}

/// What the tries of a page of another origin come to.
fn in_vain() -> Value {
    json!({
        "reads": "TypeError", "changes": "opaque", "names": "TypeError", "shows": "failed", "talks": "closed", "sends": "sent",
    })
}

#[test]
fn web_03_web_04_web_05_web_07_a_page_of_another_origin_changes_nothing_and_reads_nothing() -> anyhow::Result<()> {
    let world = World::start()?;
    let deep = world.at("notes", "/deep?x=1")?;
    let alice = world.signed_in("alice", &deep)?;
    // What is tried has an effect where it may have one: from a page of the service itself.
    let own = alice.until(&tries(&world.at("notes", "/own")?))?;
    ensure!(own["talks"] == "open" && own["changes"] == "basic", "{own:#}");
    ensure!(
        own["reads"]
            .as_str()
            .is_some_and(|text| text.contains("alice@example.com")),
        "{own:#}"
    );

    let evil = Site::start("Evil")?;
    let shop = world.chromium.tab("alice")?;
    shop.go(&world.at("shop", "/page")?)?;
    shop.says("alice@example.com")?;
    let gate = world.gateway.url.as_str();
    for (page, from) in [
        (None, evil.url.replace("127.0.0.1", "evil.localhost")),
        (None, evil.url.clone()),
        (Some(&shop), world.at("shop", "/page")?),
    ] {
        let opened = world.chromium.tab("alice")?;
        let tab = page.unwrap_or(&opened);
        tab.go(&from)?;
        for target in [
            world.at("notes", "/hostile")?,
            world.at("notes", "/.gatescribe/signout")?,
            format!("{gate}/logout"),
            format!("{gate}/userinfo"),
            format!("{gate}/api/v1/audit/records"),
        ] {
            let said = tab.until(&tries(&target))?;
            ensure!(said == in_vain(), "{from} at {target}: {said:#}");
        }
    }

    let seen = world.notes.seen()?;
    let came = |target: &str| seen.iter().filter(|request| request["target"] == target).count();
    ensure!(came("/hostile") == 0 && came("/own") > 0, "{seen:#?}");
    ensure!(world.told("signedOut")? == 0, "nobody signed out");
    alice.visited()?;
    alice.go(&deep)?;
    alice.says("alice@example.com")?;
    ensure!(world.rounds(&alice)?.is_empty(), "she is signed in as before");
    world.nothing_is_lost()?;
    Ok(())
}

#[test]
fn web_06_no_page_of_ours_stands_in_a_frame_of_somebody_elses() -> anyhow::Result<()> {
    let world = World::start()?;
    let deep = world.at("notes", "/deep?x=1")?;
    world.signed_in("alice", &deep)?;
    let evil = Site::start("Evil")?;
    let gate = world.gateway.url.as_str();
    let tab = world.chromium.tab("alice")?;
    for target in [
        format!("{gate}/logout"),
        format!("{gate}/device"),
        world.at("notes", "/.gatescribe/arrive")?,
    ] {
        tab.go(&evil.url.replace("127.0.0.1", "evil.localhost"))?;
        tab.complaints()?;
        tab.until(&framed(&target))?;
        let said = tab.complaints()?;
        ensure!(
            said.iter()
                .any(|line| line.contains("frame-ancestors") || line.contains("X-Frame-Options")),
            "{target}: {said:?}"
        );
    }
    Ok(())
}

/// Puts an address into a frame, and is true when something stands there.
fn framed(target: &str) -> String {
    format!(
        "new Promise((done) => {{ const frame = document.createElement('iframe'); frame.onload = () => done(true); frame.src = {}; document.body.append(frame); }})",
        json!(target)
    )
}

/// Whoever has the cookie of somebody's browser, and sends it where tokens are read.
#[test]
fn web_05_web_07_a_cookie_proves_nobody_at_the_kubernetes_api_and_no_origin_is_let_in() -> anyhow::Result<()> {
    let world = World::start()?;
    world.signed_in("alice", &world.at("notes", "/deep")?)?;
    let cookies = sent(&world.chromium, "alice")?;
    ensure!(cookies.contains("loopback-gatescribe-session="), "{cookies}");
    let (_, host) = world.gateway.url.split_once("://").context("a host")?;
    let (_, port) = host.rsplit_once(':').context("a port")?;
    let notes = format!("notes.localhost:{port}");
    world.cluster.capture();
    let client = world.gateway.client()?;
    let configmaps = "/clusters/bench/api/v1/namespaces/default/configmaps";
    for origin in [
        "null",
        "https://corp.example.evil",
        world.gateway.url.as_str(),
        "http://notes.localhost.evil.example",
        "http://evil.example",
    ] {
        let asks = [
            ("Origin", origin),
            ("Cookie", cookies.as_str()),
            ("Content-Type", "text/plain"),
            ("X-HTTP-Method-Override", "DELETE"),
        ];
        let before = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "impersonate-user, authorization"),
        ];
        for (method, fields) in [("GET", &asks[..]), ("POST", &asks), ("OPTIONS", &before)] {
            let answer = client.send(method, configmaps, fields, b"{}")?;
            ensure!(answer.status == 401, "{method} {origin}: {}", answer.status);
            lets_nobody_in(&answer, &format!("{method} {configmaps} {origin}"))?;
            for (host, target) in [
                (host, "/api/v1/audit/records"),
                (host, "/userinfo"),
                (host, "/logout"),
                (notes.as_str(), "/hostile"),
            ] {
                // From a page of the gateway's own it is a sign-out like any other.
                if target == "/logout" && origin == world.gateway.url {
                    continue;
                }
                let address = format!("127.0.0.1:{port}").parse()?;
                let answer = plainly(address, host, (method, target), fields, b"{}")?;
                lets_nobody_in(&answer, &format!("{method} {host}{target} {origin}"))?;
                let changes = method != "GET" && origin != world.gateway.url;
                ensure!(
                    !changes || answer.status >= 400,
                    "{method} {target} {origin}: {}",
                    answer.status
                );
            }
        }
    }
    let arrived = world.cluster.take_arrived();
    ensure!(arrived.is_empty(), "{} calls reached the cluster", arrived.len());
    ensure!(world.told("signedOut")? == 0, "nobody signed out");
    Ok(())
}

/// No header of an answer lets a page of another origin read it (Fetch §3.3).
fn lets_nobody_in(answer: &Answer, what: &str) -> anyhow::Result<()> {
    let head = answer.head.to_ascii_lowercase();
    ensure!(!head.contains("access-control-"), "{what}: {head}");
    Ok(())
}

/// What the browser would send to the gateway and to services, all at once.
fn sent(chromium: &Chromium, who: &str) -> anyhow::Result<String> {
    let kept = chromium.cookies(who)?;
    let ours = kept.iter().filter_map(|cookie| {
        let name = cookie["name"].as_str().filter(|name| name.contains("gatescribe"))?;
        Some(format!("{name}={}", cookie["value"].as_str()?))
    });
    Ok(ours.collect::<Vec<_>>().join("; "))
}

#[test]
fn ses_11_no_secret_of_a_browser_stands_in_an_address_a_log_the_store_or_the_ledger() -> anyhow::Result<()> {
    let world = World::start()?;
    let deep = world.at("notes", "/deep?x=1")?;
    let alice = world.signed_in("alice", &deep)?;
    let shop = world.chromium.tab("alice")?;
    shop.go(&world.at("shop", "/cart")?)?;
    shop.says("alice@example.com")?;
    world.nothing_is_lost()?;
    let kept = world.chromium.cookies("alice")?;
    let of_sessions = kept.iter().filter(|cookie| {
        let name = cookie["name"].as_str().unwrap_or_default();
        name.ends_with("gatescribe-session") || name.ends_with("gatescribe-service")
    });
    let secrets: Vec<&str> = of_sessions.filter_map(|cookie| cookie["value"].as_str()).collect();
    ensure!(secrets.len() == 3, "the gateway's and those of two services: {kept:#?}");

    let addresses = [visited(&alice)?, visited(&shop)?].concat();
    ensure!(addresses.contains("/deep?x=1"), "{addresses}");
    let records = serde_json::to_string(&world.gateway.records()?)?;
    ensure!(records.contains("alice@example.com"), "the ledger has her");
    let mut written = vec![
        ("an address", addresses.into_bytes()),
        ("a record", records.into_bytes()),
    ];
    written.push(("the log", world.gateway.log().into_bytes()));
    let files = files(world.gateway.folder())?;
    ensure!(files.len() > 3, "the gateway's own files");
    written.extend(files.into_iter().map(|bytes| ("a file", bytes)));
    for secret in secrets {
        // 32 random bytes or what seals them, in base64url.
        ensure!(secret.len() >= 43, "{} letters", secret.len());
        for (place, bytes) in &written {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            ensure!(!found, "a secret stands in {place}");
        }
    }
    Ok(())
}

fn visited(tab: &Tab<'_>) -> anyhow::Result<String> {
    Ok(tab.visited()?.join("\n"))
}

/// All that lies below a folder.
fn files(folder: &std::path::Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            all.extend(files(&entry.path())?);
        } else if kind.is_file() {
            all.push(std::fs::read(entry.path())?);
        }
    }
    Ok(all)
}
