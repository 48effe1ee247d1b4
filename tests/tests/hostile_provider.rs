//! Providers that attack or fail, against the real gateway: O-01 … O-15 of docs/reference/statements.md.
//! Twenty-three issuers misbehave at once while a certified provider's people work.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts;
use tests::gateway::{Gateway, Options};
use tests::hostile::{Hostile, Way, signed_part};
use tests::http::Client;
use tests::wait::{PATIENCE, try_until};

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: dev-views }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-configmaps }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reads-configmaps }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list] }]
"#;
const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
/// Between two fetches that tokens cause (O-14).
const COOL_DOWN: Duration = Duration::from_secs(30);
const FLOOD: usize = 2_000;
/// Fetches that the story itself causes at the honest issuer, by `idp test`.
const OWN_FETCHES: usize = 2;

/// Good keys, and a token endpoint that attacks or fails.
const HOSTILE_TOKENS: [Way; 7] = [
    Way::SilentTokens,
    Way::PageTokens,
    Way::RedirectedTokens,
    Way::NoIdToken,
    Way::ForeignSignature,
    Way::OtherNonce,
    Way::OtherAccessToken,
];

struct World {
    cluster: Cluster,
    hostile: Hostile,
    gateway: Gateway,
    client: Client,
    began: Instant,
}

fn world() -> anyhow::Result<World> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(ROLES)?;
    let hostile = Hostile::start()?;
    let provider = |way: &Way| {
        json!({
            "name": way.name(), "issuer": hostile.issuer(*way), "clientId": "gatescribe",
            "claims": { "user": "email", "groups": "groups" },
        })
    };
    let began = Instant::now();
    let options = Options {
        providers: Way::ALL.iter().map(provider).collect(),
        shared_names: true,
        ..Options::default()
    };
    let gateway = Gateway::start(&cluster, &options)?;
    let client = gateway.client()?;
    Ok(World {
        cluster,
        hostile,
        gateway,
        client,
        began,
    })
}

impl World {
    fn ask(&self, token: &str) -> anyhow::Result<(u16, String)> {
        let answer = self
            .client
            .get(TARGET, &[("Authorization", &format!("Bearer {token}"))])?;
        let words = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        Ok((answer.status, words))
    }

    /// Fetches of one issuer's keys that may have been: one at the start, and one for each cool-down that has passed.
    fn most_fetches(&self) -> usize {
        let passed = self.began.elapsed().as_secs() / COOL_DOWN.as_secs();
        2 + OWN_FETCHES + usize::try_from(passed).unwrap_or(usize::MAX)
    }
}

fn why(record: &Value) -> String {
    record["outcome"]["why"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn oidc_13_oidc_16_hostile_providers_get_refusals_with_reasons_and_nobody_else_feels_them() -> anyhow::Result<()> {
    let mut world = world()?;
    issuers_with_good_keys_become_ready(&world)?;
    // The gateway is ready as soon as one issuer is; the certified one may follow.
    let alice = try_until("alice signs in", PATIENCE, || world.gateway.sign_in("alice"))?;
    assert_eq!(world.ask(&alice.token)?.0, 200);
    forged_tokens_are_refused(&world)?;
    keys_that_cannot_be_used_leave_an_issuer_not_ready(&world)?;
    sign_ins_at_hostile_token_endpoints_begin_no_session(&world)?;
    an_operator_sees_what_is_wrong_with_each(&world)?;
    // A token ends after ten minutes.
    let later = world.gateway.renew(&alice.handle, "bench")?;
    floods_of_unknown_keys_cost_one_fetch_per_cool_down(&world, &later.token)?;
    an_outage_of_the_provider_is_not_felt_by_sessions(&mut world, &later.token)?;
    // Nothing that an attacker brought is in the ledger, the good tokens neither.
    let records = serde_json::to_string(&world.gateway.records()?)?;
    for secret in [&*alice.token, &*later.token, "provider-access-token"] {
        assert!(!records.contains(secret) && !world.gateway.log().contains(secret));
    }
    let arrived = world.cluster.audit_events()?;
    assert!(
        !arrived.iter().any(|event| event.user.username.contains("stranger")),
        "nobody forged arrived upstream"
    );
    Ok(())
}

/// Each issuer's keys come when they come, and no issuer waits for a silent one.
fn issuers_with_good_keys_become_ready(world: &World) -> anyhow::Result<()> {
    let good = [Way::Honest, Way::OddTypeKeys, Way::KeyOfTwoNames];
    for way in good.into_iter().chain(HOSTILE_TOKENS) {
        let token = world.hostile.good_token(way)?;
        try_until("an issuer with good keys is ready", PATIENCE, || {
            let (status, words) = world.ask(&token)?;
            ensure!(status == 200, "{way:?}: {words}");
            Ok(())
        })?;
    }
    Ok(())
}

/// O-03 … O-08, OIDC-01 … 05, 09 … 12: each spoilt token, and the words with which it is refused.
fn forged_tokens_are_refused(world: &World) -> anyhow::Result<()> {
    let hostile = &world.hostile;
    let good = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
    let claims = hostile.claims(Way::Honest);
    let (status, words) = world.ask(&hostile.token(&good, &claims)?)?;
    assert_eq!(status, 200, "the honest issuer's own token: {words}");
    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let header = |changes: Value| {
        let mut header = good.clone();
        for (name, value) in changes.as_object().into_iter().flatten() {
            header[name.as_str()] = value.clone();
        }
        header
    };
    let elsewhere = json!({"jku": format!("{}/jwks-of-the-attacker", hostile.issuer(Way::Honest)), "kid": "theirs"});
    let far = claims["exp"].as_u64().unwrap_or_default() + 100_000;
    let mut without_audience = claims.clone();
    without_audience.as_object_mut().expect("claims").remove("aud");
    let cases = [
        (
            "none",
            format!("{}.", signed_part(&json!({"alg": "none"}), &claims)),
            "signature",
        ),
        (
            "none with a signature",
            hostile.token(&json!({"alg": "none"}), &claims)?,
            "algorithm",
        ),
        (
            "hs256 with the public key",
            hostile.token_with_secret(
                &json!({"alg": "HS256", "kid": "k1"}),
                &claims,
                hostile.key().pem().as_bytes(),
            )?,
            "algorithm",
        ),
        (
            "rs256 for an ec key",
            hostile.token(&header(json!({"alg": "RS256"})), &claims)?,
            "algorithm",
        ),
        (
            "ps256 for an ec key",
            hostile.token(&header(json!({"alg": "PS256"})), &claims)?,
            "algorithm",
        ),
        (
            "another issuer's claims under this issuer's key",
            hostile.token(&good, &changed("iss", json!(world.gateway.provider.issuer)))?,
            "key",
        ),
        (
            "an issuer that nobody knows",
            hostile.token(&good, &changed("iss", json!("https://evil.example")))?,
            "issuer",
        ),
        (
            "another audience",
            hostile.token(&good, &changed("aud", json!("another")))?,
            "audience",
        ),
        ("no audience", hostile.token(&good, &without_audience)?, "aud"),
        (
            "expired",
            hostile.token(&good, &changed("exp", json!(1_000)))?,
            "expired",
        ),
        ("not yet", hostile.token(&good, &changed("nbf", json!(far)))?, "not"),
        (
            "exp as text",
            hostile.token(&good, &changed("exp", json!("9999999999")))?,
            "exp",
        ),
        (
            "a name of the cluster",
            hostile.token(&good, &changed("groups", json!(["system:masters"])))?,
            "system:",
        ),
        (
            "accounts of the cluster",
            hostile.token(&good, &changed("groups", json!(["system:serviceaccounts"])))?,
            "system:",
        ),
        (
            "a critical extension",
            hostile.token(&header(json!({"crit": ["x"], "x": 1})), &claims)?,
            "critical",
        ),
        (
            "a logout token",
            hostile.token(&header(json!({"typ": "logout+jwt"})), &claims)?,
            "logout",
        ),
        (
            "a key of the attacker by address",
            hostile.token(&header(elsewhere), &claims)?,
            "key",
        ),
    ];
    let mut said = Vec::new();
    for (name, token, word) in &cases {
        let (status, words) = world.ask(token)?;
        assert_eq!(status, 401, "{name}: {words}");
        assert!(words.contains(word), "{name} is refused for `{word}`, not for: {words}");
        said.push(word);
    }
    assert_eq!(
        hostile.asked("/honest/jwks-of-the-attacker"),
        0,
        "an address in a token is never called"
    );
    let is_ours = |record: &&Value| record["kind"] == "refusal" && record["outcome"]["status"] == 401;
    let records = world.gateway.records_with("each attack is a refusal", |records| {
        records.iter().filter(is_ours).count() >= cases.len()
    })?;
    let reasons: Vec<String> = records.iter().filter(is_ours).map(why).collect();
    for word in said {
        assert!(
            reasons.iter().any(|reason| reason.contains(*word)),
            "a reason with `{word}` in {reasons:?}"
        );
    }
    Ok(())
}

/// O-01, O-02, OIDC-20, 22, 23, IDP-03, IDP-10.
fn keys_that_cannot_be_used_leave_an_issuer_not_ready(world: &World) -> anyhow::Result<()> {
    for way in [
        Way::SilentKeys,
        Way::DrippingKeys,
        Way::HugeKeys,
        Way::ManyKeys,
        Way::PageKeys,
        Way::NoKeys,
        Way::FailingKeys,
        Way::RedirectedKeys,
        Way::PrivateKeys,
        Way::WrongIssuer,
        Way::Elsewhere,
        Way::RedirectedDiscovery,
    ] {
        let (status, words) = world.ask(&world.hostile.good_token(way)?)?;
        assert_eq!(status, 401, "{way:?}: {words}");
        assert!(words.contains("keys are not known yet"), "{way:?}: {words}");
        assert!(
            world.hostile.keys_asked(way) <= world.most_fetches(),
            "{way:?} is asked at most once per cool-down"
        );
    }
    let (status, words) = world.ask(&world.hostile.good_token(Way::NameOfTwoKeys)?)?;
    assert_eq!(status, 401, "only the first key of a name counts: {words}");
    assert_eq!(
        world.hostile.asked("/redirectedkeys/jwks-behind"),
        0,
        "redirects are not followed"
    );
    for way in [Way::WrongIssuer, Way::Elsewhere, Way::RedirectedDiscovery] {
        assert_eq!(world.hostile.keys_asked(way), 0, "{way:?}: no key set is fetched");
    }
    Ok(())
}

/// IDP-05, IDP-10, OIDC-13, OIDC-16: no session begins, and the ledger says why not.
fn sign_ins_at_hostile_token_endpoints_begin_no_session(world: &World) -> anyhow::Result<()> {
    let before = world.hostile.asked("/honest/token");
    for way in HOSTILE_TOKENS {
        let page = world.gateway.visit(&way.name(), "mallory")?;
        let code = page.location.as_deref().is_some_and(|url| url.contains("code="));
        assert!(!code, "{way:?} gives no code: {page:?}");
    }
    assert_eq!(
        world.hostile.asked("/honest/token"),
        before,
        "a code is never sent behind a redirect"
    );
    let refused = |record: &&Value| record["person"]["what"] == "signInRefused";
    let records = world.gateway.records_with("each is a refused sign-in", |records| {
        records.iter().filter(refused).count() >= HOSTILE_TOKENS.len()
    })?;
    let refused: Vec<&Value> = records.iter().filter(refused).collect();
    assert!(
        refused
            .iter()
            .all(|record| record["outcome"]["why"].is_string() || record["person"]["why"].is_string()),
        "with its reason: {refused:?}"
    );
    let signed_in = records
        .iter()
        .filter(|record| record["person"]["what"] == "signedIn")
        .count();
    assert_eq!(signed_in, 1, "alice alone has a session");
    Ok(())
}

/// `gatescribe idp test --config`: exit code and words for each kind of trouble, and whom a token would be.
fn an_operator_sees_what_is_wrong_with_each(world: &World) -> anyhow::Result<()> {
    let look = |way: Way, more: &[&str]| -> anyhow::Result<(Option<i32>, String)> {
        let output = Command::new(counterparts::own_binary("gatescribe")?)
            .args(["idp", "test", "--provider", &way.name(), "--config"])
            .arg(world.gateway.config())
            .args(more)
            .output()?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), said))
    };
    let mut claims = world.hostile.claims(Way::Honest);
    claims["groups"] = json!(["dev", "dev", "ops"]);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token.txt");
    let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
    std::fs::write(&file, world.hostile.token(&header, &claims)?)?;
    let token = ["--token", file.to_str().expect("a path")];
    let (code, said) = look(Way::Honest, &token)?;
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "✔ keys       1 usable",
        "mallory@example.com (from claim `email`)",
        "dev, ops (from claim `groups`)",
        "`dev` does not count: it is named twice",
    ] {
        assert!(said.contains(part), "`{part}` in {said}");
    }
    claims["aud"] = json!("another");
    std::fs::write(&file, world.hostile.token(&header, &claims)?)?;
    let (code, said) = look(Way::Honest, &token)?;
    assert!(code == Some(1) && said.contains("for another audience"), "{said}");
    for (way, exit, words) in [
        (Way::WrongIssuer, 1, "they must be equal byte for byte"),
        (Way::Elsewhere, 1, "`jwks_uri` is missing or not an https URL"),
        (Way::RedirectedKeys, 1, "status 302"),
        (Way::PrivateKeys, 1, "private key material"),
        (Way::PageKeys, 1, "not a JSON key set"),
        (Way::SilentKeys, 7, "✘ keys"),
        (Way::HugeKeys, 7, "✘ keys"),
    ] {
        let (code, said) = look(way, &[])?;
        assert!(
            code == Some(exit) && said.contains(words),
            "{way:?} ends with {code:?}: {said}"
        );
    }
    Ok(())
}

/// O-14, OIDC-20: random key names, and alice between them.
fn floods_of_unknown_keys_cost_one_fetch_per_cool_down(world: &World, alice: &str) -> anyhow::Result<()> {
    let claims = world.hostile.claims(Way::Honest);
    let mut slowest = Duration::ZERO;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    let before = world.hostile.keys_asked(Way::Honest);
    let mut n = 0;
    // Until one fetch is due to the flood: behind the cool-down in which it begins, wherever that ends.
    let (flooded, is_due) = (Instant::now(), || world.hostile.keys_asked(Way::Honest) > before);
    while n < FLOOD || (!is_due() && flooded.elapsed() < PATIENCE) {
        n += 1;
        let token = world
            .hostile
            .token(&json!({"alg": "ES256", "kid": format!("flood-{n}")}), &claims)?;
        *statuses.entry(world.ask(&token)?.0).or_default() += 1;
        if n % 50 == 0 {
            let before = Instant::now();
            assert_eq!(world.ask(alice)?.0, 200, "alice is not refused for it");
            slowest = slowest.max(before.elapsed());
        }
    }
    assert!(
        statuses.keys().all(|status| matches!(status, 401 | 429)),
        "{statuses:?}"
    );
    let (fetches, most) = (world.hostile.keys_asked(Way::Honest), world.most_fetches());
    assert!(fetches <= most, "{fetches} fetches, at most {most}");
    assert!(fetches > before, "a key that might be new is asked for");
    assert_eq!(
        world.ask(&world.hostile.good_token(Way::Honest)?)?.0,
        200,
        "no good key was lost"
    );
    eprintln!(
        "kid_flood tokens={n} fetches={} seconds={} statuses={statuses:?} slowest_good_ms={}",
        fetches - before,
        world.began.elapsed().as_secs(),
        slowest.as_millis()
    );
    Ok(())
}

/// O-02, IDP-02: the certified provider goes; who is signed in works on.
fn an_outage_of_the_provider_is_not_felt_by_sessions(world: &mut World, alice: &str) -> anyhow::Result<()> {
    world.gateway.provider.end()?;
    for _ in 0..50 {
        let (status, words) = world.ask(alice)?;
        assert_eq!(status, 200, "{words}");
    }
    let page = world.gateway.visit("corp", "bob");
    let code = page.is_ok_and(|page| page.location.is_some_and(|url| url.contains("code=")));
    assert!(!code, "nobody signs in at a provider that is gone");
    Ok(())
}
