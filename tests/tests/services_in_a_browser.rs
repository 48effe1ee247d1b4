//! People with a browser and two services behind the gateway: Debian's Chromium, a certified provider and the real program. Each page of ours that a person comes
//! by is photographed below `target/screenshots/services/` and looked over for what people would stumble over.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::clock::Hand;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, try_until};
use tests::window::{Chromium, Site, Tab};

#[path = "services_in_a_browser/hostile.rs"]
mod hostile;

const HARDWARE: &str = "urn:example:hardware";

/// Two services for developers; what lies in the vault of one wants a stronger sign-in.
fn documents(notes: &str, shop: &str) -> String {
    format!(
        r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: notes }}
spec:
  hosts: [notes.localhost]
  upstream: {{ url: '{notes}' }}
---
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: shop }}
spec:
  hosts: [shop.localhost]
  upstream: {{ url: '{shop}' }}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: developers }}
spec:
  effect: allow
  subjects: {{ groups: [dev] }}
  services: [{{ hosts: ['notes.localhost', 'shop.localhost'], methods: ['*'], paths: ['/*'] }}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: vault }}
spec:
  effect: allow
  subjects: {{ groups: [dev] }}
  services: [{{ hosts: [shop.localhost], methods: [GET], paths: ['/vault/*'] }}]
  obligations: {{ stepUp: {{ acr: '{HARDWARE}' }} }}
"
    )
}

struct World {
    chromium: Chromium,
    gateway: Gateway,
    notes: Site,
    shop: Site,
    clock: Hand,
    cluster: FakeApiServer,
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let (notes, shop) = (Site::start("Notes")?, Site::start("Shop")?);
        let (cluster, clock) = (FakeApiServer::start()?, Hand::new()?);
        let options = Options {
            under: Some(clock.under()?),
            ..Options::ruled(documents(&notes.url, &shop.url))
        };
        let gateway = Gateway::before(&cluster.upstream(), &options)?;
        // The gateway's clock goes hours ahead of the provider's in one story.
        gateway.provider.control("/lifetimes", &json!({"idToken": 86_400}))?;
        Ok(Self {
            chromium: Chromium::start()?,
            gateway,
            notes,
            shop,
            clock,
            cluster,
        })
    }

    /// An address on the host of a service.
    fn at(&self, service: &str, target: &str) -> anyhow::Result<String> {
        let (_, port) = self.gateway.url.rsplit_once(':').context("a port")?;
        Ok(format!("http://{service}.localhost:{port}{target}"))
    }

    /// A new tab of somebody who has come to an address, by the provider's page if it asks.
    fn signed_in(&self, who: &str, url: &str) -> anyhow::Result<Tab<'_>> {
        let tab = self.chromium.tab(who)?;
        tab.go(url)?;
        self.answers(&tab, who)?;
        tab.is_at(url)?;
        Ok(tab)
    }

    /// Says at the provider who it is.
    fn answers(&self, tab: &Tab<'_>, who: &str) -> anyhow::Result<()> {
        tab.says("Who are you?")?;
        tab.click(&format!("button[value={who}]"))
    }

    /// Which of the addresses that a tab went by are the provider's.
    fn rounds(&self, tab: &Tab<'_>) -> anyhow::Result<Vec<String>> {
        let all = tab.visited()?.into_iter();
        Ok(all
            .filter(|url| url.starts_with(&self.gateway.provider.issuer))
            .collect())
    }

    /// How often something became of sessions, as the ledger tells it.
    fn told(&self, what: &str) -> anyhow::Result<usize> {
        let records = self.gateway.records()?;
        Ok(records.iter().filter(|record| record["person"]["what"] == what).count())
    }

    fn asked(&self, path: &str) -> anyhow::Result<u64> {
        let counts = format!("{}/counts", self.gateway.provider.control);
        let page = self.gateway.browser().request("GET", &counts, "")?;
        let counts: Value = serde_json::from_str(&page.body)?;
        Ok(counts[path].as_u64().unwrap_or(0))
    }

    /// Each request that came to a service has its one intent in the ledger, before all that is told of its end, and none is missing.
    fn nothing_is_lost(&self) -> anyhow::Result<usize> {
        let seen = [self.notes.seen()?, self.shop.seen()?].concat();
        ensure!(!seen.is_empty(), "nobody came");
        self.gateway.records_with("each request has its records", |records| {
            let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for record in records.iter().filter(|record| !record["service"].is_null()) {
                let text = |member: &str| record[member].as_str().unwrap_or_default();
                kinds.entry(text("id")).or_default().push(text("kind"));
            }
            let whole = |request: &Value| {
                let kinds = request["id"].as_str().and_then(|id| kinds.get(id));
                matches!(
                    kinds.map(Vec::as_slice),
                    Some(
                        ["intent", "outcome"]
                            | ["open"]
                            | ["open", "close"]
                            | ["intent", "open"]
                            | ["intent", "open", "close"]
                    )
                )
            };
            seen.iter().all(whole)
        })?;
        Ok(seen.len())
    }
}

#[test]
fn n_04_two_tabs_that_leave_at_once_come_back_to_their_deep_links_and_a_stricter_sign_in_to_its_page()
-> anyhow::Result<()> {
    let world = World::start()?;
    let deep = world.at("notes", "/deep/link?x=1&y=a%20b&z=%2Fother")?;
    let other = world.at("shop", "/cart?item=7")?;
    let (one, two) = (world.chromium.tab("alice")?, world.chromium.tab("alice")?);
    one.go(&deep)?;
    two.go(&other)?;
    world.answers(&one, "alice")?;
    one.is_at(&deep)?;
    let text = one.says("alice@example.com")?;
    ensure!(text.contains("/deep/link?x=1&y=a%20b&z=%2Fother"), "{text}");
    world.answers(&two, "alice")?;
    two.is_at(&other)?;
    ensure!(!world.rounds(&one)?.is_empty(), "the first one was asked");
    // Nobody is asked for the next.
    let three = world.chromium.tab("alice")?;
    three.go(&world.at("shop", "/third")?)?;
    three.is_at(&world.at("shop", "/third")?)?;
    ensure!(world.rounds(&three)?.is_empty(), "the third one was asked");
    each_cookie_is_for_one_host(&world)?;

    let vault = world.at("shop", "/vault/1?key=v")?;
    world.rounds(&two)?;
    two.go(&vault)?;
    world.answers(&two, "alice")?;
    two.is_at(&vault)?;
    let rounds = world.rounds(&two)?;
    let asks = |url: &String| url.contains("prompt=login") && url.contains("acr_values=urn%3Aexample%3Ahardware");
    ensure!(rounds.iter().any(asks), "{rounds:#?}");
    // The session before has ended; the one in its place is found without another question.
    one.visited()?;
    one.go(&deep)?;
    one.is_at(&deep)?;
    ensure!(world.rounds(&one)?.is_empty(), "the first one was asked again");
    three.go(&vault)?;
    three.is_at(&vault)?;
    ensure!(world.told("signedIn")? >= 2, "a session of its own");
    world.nothing_is_lost()?;
    Ok(())
}

/// Host-only, out of reach of scripts, and not sent with what other sites ask for.
fn each_cookie_is_for_one_host(world: &World) -> anyhow::Result<()> {
    let kept = world.chromium.cookies("alice")?;
    for (name, domain) in [
        ("loopback-gatescribe-session", "127.0.0.1"),
        ("loopback-gatescribe-service", "notes.localhost"),
        ("loopback-gatescribe-service", "shop.localhost"),
    ] {
        let found = kept
            .iter()
            .find(|cookie| cookie["name"] == name && cookie["domain"] == domain);
        let cookie = found.with_context(|| format!("{name} of {domain} in {kept:#?}"))?;
        ensure!(cookie["httpOnly"] == true && cookie["sameSite"] == "Lax", "{cookie:#}");
    }
    let of_services = kept
        .iter()
        .filter(|cookie| cookie["name"] == "loopback-gatescribe-service");
    let values: Vec<&Value> = of_services.map(|cookie| &cookie["value"]).collect();
    ensure!(matches!(values.as_slice(), [one, other] if one != other), "{values:?}");
    Ok(())
}

/// Somebody signs in, keeps the address of their own arrival, and makes another person open it.
#[test]
fn web_14_in_a_real_browser_nobody_works_as_somebody_else_by_an_address_of_theirs() -> anyhow::Result<()> {
    let world = World::start()?;
    let page = world.at("notes", "/deep?x=1")?;
    let signs_in = |who: Value| world.gateway.provider.control("/auto", &json!({ "login": who }));
    signs_in(json!("bob"))?;
    let mut attacker = world.gateway.browser();
    let mut theirs = || -> anyhow::Result<String> {
        let stopped = attacker.open(&page, &world.at("notes", "/.gatescribe/arrive")?)?;
        stopped.location.context("an arrival")
    };
    let (fresh, another) = (theirs()?, theirs()?);
    signs_in(Value::Null)?;

    let victim = world.chromium.tab("alice")?;
    victim.go(&fresh)?;
    world.answers(&victim, "alice")?;
    victim.is_at(&page)?;
    victim.says("alice@example.com")?;
    // Who is signed in already stays who they are, by a new address and by a used one.
    for address in [&another, &fresh] {
        victim.go(address)?;
        victim.is_at(&page)?;
        victim.says("alice@example.com")?;
    }
    world.nothing_is_lost()?;
    Ok(())
}

#[test]
fn n_12_what_the_provider_says_later_counts_and_an_expired_session_leads_to_the_sign_in_and_back() -> anyhow::Result<()>
{
    let world = World::start()?;
    let deep = world.at("notes", "/deep?x=1")?;
    let tab = world.signed_in("alice", &deep)?;
    tab.visited()?;
    let groups = |groups: &[&str]| -> anyhow::Result<()> {
        let order = json!({"id": "alice", "claims": {"groups": groups}});
        world.gateway.provider.control("/people", &order).map(drop)
    };
    // Its word is old: it is asked, and the person notices nothing.
    let before = world.asked("/token")?;
    world.clock.set("+6m")?;
    tab.go(&deep)?;
    ensure!(world.rounds(&tab)?.is_empty(), "the person was asked");
    ensure!(world.asked("/token")? == before + 1, "the provider was not");
    // What it says counts.
    groups(&["guests"])?;
    world.clock.set("+12m")?;
    tab.go(&deep)?;
    let refused = tab.says("You may not do this")?;
    for part in [
        "No rule allows it",
        "notes",
        "alice@example.com",
        "name the decision",
        "Decision",
    ] {
        ensure!(refused.contains(part), "{part} in {refused}");
    }
    tab.looks_well("services", "refused")?;
    groups(&["dev"])?;
    world.clock.set("+18m")?;
    tab.go(&deep)?;
    tab.says("alice@example.com")?;

    // A working day later the browser still has its cookies.
    world.clock.set("+840m")?;
    tab.visited()?;
    tab.go(&deep)?;
    tab.is_at(&deep)?;
    tab.says("alice@example.com")?;
    ensure!(!world.rounds(&tab)?.is_empty(), "it was over");
    ensure!(world.told("signedIn")? == 2, "a new session");
    // An account that is gone.
    world.gateway.provider.control("/disable", &json!({"id": "alice"}))?;
    world.clock.set("+846m")?;
    tab.go(&deep)?;
    let provider = &world.gateway.provider.issuer;
    tab.until(&format!("location.href.startsWith('{provider}')"))?;
    ensure!(world.told("providerRefused")? == 1, "the session has ended");
    world.nothing_is_lost()?;
    Ok(())
}

/// The gateway, every service, terminals that signed in by the same browser, and what is open; nobody else's.
#[test]
fn n_09_one_sign_out_ends_everything_of_this_browser_and_nothing_of_anybody_elses() -> anyhow::Result<()> {
    let world = World::start()?;
    let group = json!({"id": "bob", "claims": {"groups": ["dev"]}});
    world.gateway.provider.control("/people", &group)?;
    let live = world.at("notes", "/live")?;
    let (alice, bob) = (world.signed_in("alice", &live)?, world.signed_in("bob", &live)?);
    alice.says("open: alice@example.com")?;
    bob.says("open: bob@example.com")?;
    let shop = world.chromium.tab("alice")?;
    shop.go(&world.at("shop", "/")?)?;
    shop.says("alice@example.com")?;
    let terminal = world.chromium.tab("alice")?;
    let loopback = format!("{}/callback", world.notes.url);
    terminal.go(&world.gateway.login_at(&loopback))?;
    let back = terminal.until(&format!("location.href.startsWith('{loopback}?') && location.href"))?;
    let login = world
        .gateway
        .finish_login(back.as_str().context("an address")?, &loopback)?;
    let login = world.gateway.renew(&login.handle, "bench")?;

    shop.go(&world.at("shop", "/.gatescribe/signout")?)?;
    let asks = shop.says("Sign out?")?;
    ensure!(asks.contains("alice@example.com"), "{asks}");
    shop.looks_well("services", "sign-out")?;
    alice.says("open: alice@example.com")?; // following a link ends nothing
    shop.click("form button")?;
    shop.click("button[name=logout]")?; // the provider asks, too
    shop.is_at(&format!("{}/signed-out", world.gateway.url))?;
    shop.says("You are signed out")?;
    shop.looks_well("services", "signed-out")?;

    // It says so itself, and not that the line broke (1006).
    alice.says("closed: 1008 ended by the gateway: ")?;
    for (tab, service) in [(&alice, "notes"), (&shop, "shop")] {
        tab.go(&world.at(service, "/")?)?;
        tab.says("Who are you?")?;
    }
    // Once: a handle that is used twice would prove nothing.
    let refused = world
        .gateway
        .renew(&login.handle, "bench")
        .err()
        .context("the terminal goes on")?;
    ensure!(refused.to_string().contains("invalid_grant"), "{refused}");
    bob.says("open: bob@example.com")?;
    world.nothing_is_lost()?;
    Ok(())
}

#[test]
fn n_09_the_provider_signs_out_by_the_back_channel_and_by_a_frame_and_the_page_is_told() -> anyhow::Result<()> {
    let world = World::start()?;
    let live = world.at("notes", "/live")?;
    let tab = world.signed_in("alice", &live)?;
    tab.says("open: alice@example.com")?;
    let told = world.gateway.provider.control("/logout", &json!({"sub": "alice"}))?;
    ensure!(told["sent"][0]["outcome"] == "accepted", "{told}");
    tab.says("closed: 1008 ended by the gateway: the sign-in has ended: you signed out at the identity provider")?;
    world.gateway.records_with("the WebSocket's end says why", |records| {
        let why = |record: &Value| record["outcome"]["why"].as_str().unwrap_or_default().to_owned();
        let ends = |record: &Value| record["kind"] == "close";
        let mut closes = records.iter().filter(|record| ends(record));
        closes.any(|close| why(close).contains("signed out at the identity provider"))
    })?;
    ensure!(world.told("signedOutByProvider")? == 1);
    // The provider still knows her; the page comes back by it.
    tab.visited()?;
    tab.go(&live)?;
    tab.says("open: alice@example.com")?;
    ensure!(!world.rounds(&tab)?.is_empty(), "the session was over");

    let told = world.gateway.provider.control("/sids", &json!({"sub": "alice"}))?;
    let sid = told["sids"][0].as_str().context("a name of the session")?;
    let issuer = &world.gateway.provider.issuer;
    let address = format!("{}/frontchannel-logout?iss={issuer}&sid={sid}", world.gateway.url);
    // On another site than the gateway, as a provider is.
    let elsewhere = world.shop.url.replace("127.0.0.1", "localhost");
    let address = address.replace('%', "%25").replace('&', "%26").replace('?', "%3F");
    let frame = world.chromium.tab("alice")?;
    frame.go(&format!("{elsewhere}/frame?src={address}"))?;
    frame.until("document.title === 'loaded'")?;
    tab.says("closed: 1008 ended by the gateway: the sign-in has ended: you signed out at the identity provider")?;
    ensure!(world.told("signedOutByProvider")? == 2);
    world.nothing_is_lost()?;
    Ok(())
}

#[test]
fn n_12_without_the_provider_who_is_signed_in_goes_on_and_who_is_not_reads_why() -> anyhow::Result<()> {
    let mut world = World::start()?;
    let deep = world.at("notes", "/deep?x=1")?;
    world.signed_in("alice", &deep)?;
    world.gateway.provider.end()?;
    let tab = world.chromium.tab("alice")?;
    for minutes in ["+0", "+6m", "+50m"] {
        world.clock.set(minutes)?;
        for service in ["notes", "shop"] {
            let url = world.at(service, &format!("/page?at={minutes}"))?;
            tab.go(&url)?;
            tab.is_at(&url)?;
            tab.says("alice@example.com")?;
        }
    }
    tab.go(&world.at("notes", "/live")?)?;
    tab.says("open: alice@example.com")?;

    let stranger = world.chromium.tab("carol")?;
    // It was there a moment ago, and the gateway has looked at that moment.
    try_until("the gateway has noticed", PATIENCE, || stranger.go(&deep))?;
    let told = stranger.says("Nobody can sign in right now")?;
    ensure!(told.contains("Try again"), "{told}");
    stranger.looks_well("services", "provider-silent")?;
    stranger.visited()?;
    stranger.click("a.button")?;
    let mut went = Vec::new();
    try_until("the button leads somewhere", PATIENCE, || {
        went.extend(stranger.visited()?);
        ensure!(!went.is_empty(), "not yet");
        Ok(())
    })?;
    stranger.says("Nobody can sign in right now")?;
    went.extend(stranger.visited()?);
    let provider = world.gateway.provider.issuer.as_str();
    ensure!(!went.iter().any(|url| url.starts_with(provider)), "{went:#?}");
    let requests = world.nothing_is_lost()?;
    ensure!(requests == 9, "{requests} requests came to the services");
    Ok(())
}
