//! Credentials besides the gateway's own sign-in, through the real process: client certificates, and the raw tokens of
//! three providers with name spaces of their own. One is configured by us, two by Kubernetes' own
//! `AuthenticationConfiguration`, with every claim mapped by CEL; the third signs whatever it is told.
//!
//! The API server's audit log says as whom each call arrived, the ledger whose it was and what was presented.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::caller::both;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options, Provider};
use tests::hostile::{Hostile, Way};
use tests::http::{Client, field};
use tests::kubectl::Credential;
use tests::pki::Ca;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: looks }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: looks, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looks }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "corp:dev" }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "people:dev" }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "ci:dev" }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "robots:dev" }
"#;

/// Without this the API server refuses whoever has such an extra: what is shipped names the gateway's own keys alone.
const EXTRAS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: gatescribe:impersonator-extras }
rules:
- apiGroups: [authentication.k8s.io]
  resources: [userextras/example.com/address]
  verbs: ["impersonate:user-info"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: gatescribe:impersonator-extras }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: gatescribe:impersonator-extras }
subjects: [{ kind: ServiceAccount, name: impersonator, namespace: gatescribe }]
"#;

/// What is in the file that `authenticationConfigurationFile` names.
fn structured(certified: &str, scripted: &str) -> String {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": { "url": certified, "audiences": ["kubernetes"] },
            "claimValidationRules": [{
                "expression": "claims.email_verified == true", "message": "nobody has verified this address",
            }],
            "claimMappings": {
                "username": { "expression": "'ci:' + claims.sub" },
                "groups": { "expression": "dyn(claims.groups).map(group, 'ci:' + group)" },
            },
            "userValidationRules": [{
                "expression": "!user.groups.exists(group, group == 'ci:sre')", "message": "operators sign in at the gateway",
            }],
        }, {
            "issuer": { "url": scripted, "audiences": ["kubernetes"] },
            "claimValidationRules": [{
                "expression": "claims.exp - claims.iat <= 3600", "message": "tokens live an hour at most",
            }],
            "claimMappings": {
                "username": { "expression": "'robots:' + claims.sub" },
                "groups": { "expression": "dyn(claims.groups).map(group, 'robots:' + group)" },
                "uid": { "expression": "claims.jti" },
                "extra": [{ "key": "example.com/address", "valueExpression": "claims.email" }],
            },
            "userValidationRules": [{
                "expression": "user.username != 'robots:mallory-the-second'", "message": "this one has left",
            }],
        }],
    })
    .to_string()
}

const TARGET: &str = "/api/v1/namespaces/shop/configmaps";

struct World {
    cluster: Cluster,
    gateway: Gateway,
    /// Configured by the file in Kubernetes' format, as the next one is.
    certified: Provider,
    scripted: Hostile,
    people: Ca,
}

/// Somebody who got in.
struct Arrived {
    /// As the API server saw the person.
    user: tests::cluster::audit::User,
    /// What the access record says about the caller.
    by: Value,
}

impl World {
    /// With a beginning for the names in certificates. Without one they could be anybody's, and that has to be said.
    fn start(prefix: &str) -> anyhow::Result<Self> {
        let shared: &[&str] = if prefix.is_empty() {
            &["certificates:kubernetes"]
        } else {
            &[]
        };
        let cluster = Cluster::start(ClusterOptions::default())?;
        cluster.admin()?.apply(WORLD)?;
        let certified = Provider::start("http://127.0.0.1:9")?;
        let scripted = Hostile::start()?;
        let people = Ca::new("people")?;
        let file = structured(&certified.issuer, &scripted.issuer(Way::Honest));
        let file = cluster.folder().write("issuers.yaml", file)?;
        let authorities = cluster.folder().write("people.crt", people.certificate())?;
        let more = Some(json!({
            "identity": {
                "authenticationConfigurationFile": file,
                "dangerSharedNames": shared,
                "providers": [{
                    "acceptAudiences": ["kubernetes"],
                    "claims": { "userPrefix": "corp:", "groupPrefix": "corp:" },
                }],
            },
            // What is refused here is written down one by one, as fast as this story goes.
            "limits": { "strangersPerSecond": 10_000 },
            "listeners": [{}, { "clientCertificates": {
                "caFile": authorities, "userPrefix": prefix, "groupPrefix": prefix,
            } }],
        }));
        let options = Options {
            more,
            ..Options::default()
        };
        let gateway = Gateway::start(&cluster, &options)?;
        Ok(Self {
            cluster,
            gateway,
            certified,
            scripted,
            people,
        })
    }

    /// A token of the provider that signs whatever it is told.
    fn scripted(&self, changes: &Value) -> anyhow::Result<String> {
        let mut claims = self.scripted.claims(Way::Honest);
        claims["aud"] = json!("kubernetes");
        for (name, value) in changes.as_object().context("an object")? {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        self.scripted.token(&header, &claims)
    }

    /// One call without kubectl, which of a 401 shows the number alone: its id, its status and its words.
    fn call(&self, credential: &Credential<'_>) -> anyhow::Result<(String, u16, String)> {
        let (identity, bearer) = match credential {
            Credential::Certificate(identity) => (Some(*identity), None),
            Credential::Token(token) => (None, Some(format!("Bearer {token}"))),
        };
        let client = Client::new(self.gateway.address, self.gateway.ca(), identity)?;
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = client.get(&format!("/clusters/bench{TARGET}"), &headers)?;
        let id = field(&answer.head, "audit-id").map(str::to_owned);
        let words = answer.json()?["message"].as_str().unwrap_or_default().to_owned();
        Ok((id.context("an Audit-Id")?, answer.status, words))
    }

    /// kubectl lists with this credential, and so does a call whose record is looked at.
    fn gets_in(&self, name: &str, credential: &Credential<'_>) -> anyhow::Result<Arrived> {
        let kubectl = self.gateway.kubectl_with(name, credential)?;
        let said = kubectl.run(&["get", "configmaps", "-n", "shop", "-o", "name"])?;
        ensure!(said.code == 0, "{said}");
        let (id, status, words) = self.call(credential)?;
        ensure!(status == 200, "{status}: {words}");
        let (access, _) = both(&self.gateway, &id)?;
        let event = self.cluster.audit_event(name, |event| event.audit_id == id)?;
        ensure!(
            event.user.username == "system:serviceaccount:gatescribe:impersonator",
            "{event:?}"
        );
        Ok(Arrived {
            user: event.impersonated_user.context("it was impersonated")?,
            by: access["by"].clone(),
        })
    }

    /// As [`World::gets_in`] with a token of an issuer that may not be known yet: the gateway is ready as soon as one is.
    fn gets_in_soon(&self, name: &str, token: &str) -> anyhow::Result<Arrived> {
        try_until("the issuer is known", PATIENCE, || {
            self.gets_in(name, &Credential::Token(token))
        })
    }

    /// kubectl is refused with this credential, and the caller is told why in the words that the record has; nothing of it
    /// reaches the server.
    fn is_refused(&self, name: &str, credential: &Credential<'_>, why: &str) -> anyhow::Result<()> {
        let kubectl = self.gateway.kubectl_with(name, credential)?;
        let said = kubectl.run(&["get", "configmaps", "-n", "shop"])?;
        ensure!(said.code == 1, "{said}");
        let (id, status, words) = self.call(credential)?;
        assert_eq!(status, 401, "{name}: {words}");
        let is_it = |record: &&Value| record["id"] == id;
        let records = self
            .gateway
            .records_with("the refusal", |records| records.iter().any(|record| is_it(&record)))?;
        let of_it: Vec<_> = records.iter().filter(is_it).collect();
        let [record] = of_it.as_slice() else {
            anyhow::bail!("{name}: one record, not {of_it:?}");
        };
        let recorded = record["outcome"]["why"].as_str().context("a reason")?;
        assert_eq!(
            (&record["kind"], &record["outcome"]["status"]),
            (&json!("refusal"), &json!(401))
        );
        assert!(recorded.contains(why), "{name}: {record}");
        assert!(
            words.starts_with(&format!("sign in again: {recorded}")),
            "{name}: {words}"
        );
        assert!(record.get("by").is_none(), "nobody was proved: {record}");
        let presented = &record["presented"];
        let is_told = match credential {
            Credential::Certificate(_) => *presented == json!({"credential": "certificate"}),
            Credential::Token(_) if presented["credential"] == "token" => presented.get("iss").is_none(),
            Credential::Token(_) => presented["credential"] == "providerToken" && presented["iss"].is_string(),
        };
        assert!(is_told, "{name}: what was presented: {record}");
        ensure!(
            self.cluster.audit_events()?.iter().all(|event| event.audit_id != id),
            "it reached the server"
        );
        Ok(())
    }
}

fn groups(of: &[&str]) -> Vec<String> {
    of.iter()
        .chain(&["system:authenticated"])
        .map(ToString::to_string)
        .collect()
}

#[test]
fn certificates_and_raw_tokens_of_several_issuers_arrive_and_are_recorded_as_the_right_people() -> anyhow::Result<()> {
    let world = World::start("people:")?;
    let (scripted, corp) = (world.scripted.issuer(Way::Honest), &world.gateway.provider);

    let certificate = world.people.client("erin@example.com", &["dev"])?;
    let erin = world.gets_in("erin", &Credential::Certificate(&certificate))?;
    assert_eq!(
        (erin.user.username.as_str(), erin.user.groups),
        ("people:erin@example.com", groups(&["people:dev"]))
    );
    assert_eq!(erin.by["sub"], "erin@example.com", "the authority's own name for them");
    assert_eq!(erin.by["credential"], "certificate");
    assert_eq!(erin.by["iss"], "certificate:people");

    // The same person at two providers, and at a third somebody of another kind: three people.
    let alice = world.gets_in_soon("alice", &corp.raw_token("alice")?)?;
    assert_eq!(alice.user.username, "corp:alice@example.com");
    assert_eq!(alice.user.groups, groups(&["corp:dev"]));
    let ci = world.gets_in_soon("ci", &world.certified.raw_token("alice")?)?;
    assert_eq!(
        (ci.user.username.as_str(), ci.user.groups),
        ("ci:alice", groups(&["ci:dev"]))
    );
    let token = world.scripted(&json!({"sub": "alice", "jti": "7", "acr": "phr"}))?;
    let (id, words) = try_until("the third issuer is known", PATIENCE, || {
        let (id, status, words) = world.call(&Credential::Token(&token))?;
        ensure!(status == 403, "{status}: {words}");
        Ok((id, words))
    })?;
    assert!(
        words.contains("cannot impersonate:user-info resource \"userextras/example.com/address\""),
        "{words}"
    );
    assert_eq!(
        both(&world.gateway, &id)?.1["outcome"]["diverged"],
        true,
        "the cluster's no is told apart"
    );
    world.cluster.admin()?.apply(EXTRAS)?;
    let robot = try_until("the server knows the new right", PATIENCE, || {
        world.gets_in("robot", &Credential::Token(&token))
    })?;
    assert_eq!(robot.user.username, "robots:alice");
    assert_eq!(
        (robot.user.uid.as_str(), robot.user.groups),
        ("7", groups(&["robots:dev"]))
    );
    assert_eq!(
        robot.user.extra.get("example.com/address").map(Vec::as_slice),
        Some(["mallory@example.com".to_owned()].as_slice())
    );
    // HDR-10: a name beyond ASCII is one line of UTF-8, and the server reads it so.
    let token = world.scripted(&json!({"sub": "\u{e5}lice \u{2603}", "groups": ["dev", "gr\u{fc}n"]}))?;
    let beyond = world.gets_in("beyond", &Credential::Token(&token))?;
    assert_eq!(beyond.user.username, "robots:\u{e5}lice \u{2603}");
    assert_eq!(beyond.user.groups, groups(&["robots:dev", "robots:gr\u{fc}n"]));
    for (who, issuer) in [
        (&alice.by, &corp.issuer),
        (&ci.by, &world.certified.issuer),
        (&robot.by, &scripted),
    ] {
        assert_eq!(who["credential"], "providerToken");
        assert_eq!(who["iss"], **issuer);
        assert_eq!(who["sub"], "alice", "the issuer's own name for them");
    }
    assert_eq!(robot.by["acr"], "phr", "in which way, where the issuer says it");
    assert!(alice.by.get("acr").is_none(), "{}", alice.by);
    assert_ne!(alice.by["id"], ci.by["id"]);
    assert_ne!(ci.by["id"], robot.by["id"]);
    Ok(())
}

#[test]
fn hdr_10_certificates_and_raw_tokens_that_break_a_rule_are_refused_and_recorded_with_the_rule() -> anyhow::Result<()> {
    let world = World::start("")?;
    // They have a good twin, so that each is refused for what is wrong with it.
    world.cluster.admin()?.apply(EXTRAS)?;
    let good = world.scripted(&json!({}))?;
    try_until("the server knows the new right", PATIENCE, || {
        world.gets_in("twin", &Credential::Token(&good))
    })?;
    let now = world.scripted.claims(Way::Honest)["iat"].as_u64().context("iat")?;
    let long_ago = json!({"iat": now - 7_200, "nbf": now - 7_200, "exp": now - 3_600});
    for (name, changes, why) in [
        ("audience", json!({"aud": "another-cluster"}), "another audience"),
        ("no-audience", json!({"aud": []}), "no claim `aud`"),
        ("expired", long_ago, "has expired"),
        ("too-long", json!({"exp": now + 7_200}), "tokens live an hour at most"),
        ("left", json!({"sub": "mallory-the-second"}), "this one has left"),
        // HDR-10: nothing that could end a header line makes a name.
        ("lines-user", json!({"sub": "a\r\nImpersonate-User: root"}), "a control"),
        ("nul-user", json!({"sub": "a\u{0}b"}), "a control"),
        (
            "line-group",
            json!({"groups": ["dev\nImpersonate-Group: system:masters"]}),
            "a control",
        ),
        ("line-uid", json!({"jti": "7\nImpersonate-Uid: 0"}), "a control"),
        (
            "line-extra",
            json!({"email": "a@b\r\nImpersonate-User: root"}),
            "a control",
        ),
        (
            "no-groups",
            json!({"groups": null}),
            "`dyn(claims.groups).map(group, 'robots:' + group)` of the configuration failed",
        ),
        (
            "no-text",
            json!({"email": 7}),
            "`claims.email` of the configuration must give text",
        ),
    ] {
        let token = world.scripted(&changes)?;
        world.is_refused(name, &Credential::Token(&token), why)?;
    }
    let known = world.certified.raw_token("alice")?;
    world.gets_in_soon("known", &known)?;
    let token = world.certified.raw_token("bob")?;
    world.is_refused("bob", &Credential::Token(&token), "operators sign in at the gateway")?;
    let unverified = json!({ "id": "alice", "claims": { "email_verified": false } });
    world.certified.control("/people", &unverified)?;
    let token = world.certified.raw_token("alice")?;
    world.is_refused(
        "unverified",
        &Credential::Token(&token),
        "nobody has verified this address",
    )?;

    // One provider's word counts for its own people alone.
    let spliced = spliced(&token, &world.gateway.provider.raw_token("carol")?)?;
    world.is_refused("spliced", &Credential::Token(&spliced), "signed with a key that")?;

    let stranger = Ca::new("strangers")?.client("erin@example.com", &["dev"])?;
    world.is_refused(
        "stranger",
        &Credential::Certificate(&stranger),
        "signed by no trusted authority",
    )?;
    for (name, user, group, reserved) in [
        ("admin", "system:admin", "dev", "system:admin"),
        ("masters", "erin", "system:masters", "system:masters"),
        (
            "account",
            "system:serviceaccount:shop:robot",
            "dev",
            "system:serviceaccount:shop:robot",
        ),
    ] {
        let certificate = world.people.client(user, &[group])?;
        let why = format!("`{reserved}` is reserved");
        world.is_refused(name, &Credential::Certificate(&certificate), &why)?;
    }
    Ok(())
}

/// The claims of `other` under the header and the signature of `token`.
fn spliced(token: &str, other: &str) -> anyhow::Result<String> {
    let part = |token: &str, at: usize| token.split('.').nth(at).map(str::to_owned).context("a token");
    Ok([part(token, 0)?, part(other, 1)?, part(token, 2)?].join("."))
}
