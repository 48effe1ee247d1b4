//! What the gateway asserts to services, and takes back from them.

use std::time::Duration;

use model::cluster::ClusterId;
use model::service::ServiceName;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::kit::{NOW, now};
use crate::encoding::{decode, encode};
use crate::gateway::assertion::*;
use crate::gateway::{GatewayClaims, GatewayVerifier, Mint, ProviderIdentity, SigningKey};
use crate::{KeySet, TokenError, Unverified, fuzz_assertion};

mod chains;
mod limits;
mod words;

const URL: &str = "https://gate.corp.example";
/// A day.
const DAY: Duration = Duration::from_secs(86_400);

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn subject(number: u8) -> SubjectId {
    SubjectId::from_digest([number; 16])
}

/// The workload of this number, that is the service `s<number>`.
fn actor(number: u8) -> Actor {
    Actor {
        workload: subject(number),
        username: format!("system:serviceaccount:team:s{number}"),
        service: service(&format!("s{number}")),
    }
}

/// The workloads of these numbers, the one that calls first.
fn chain(numbers: &[u8]) -> Chain {
    Chain::new(numbers.iter().map(|number| actor(*number)).collect()).unwrap()
}

fn claims() -> AssertionClaims {
    AssertionClaims {
        audience: service("grafana"),
        identity: AssertedIdentity {
            id: subject(0xaa),
            kind: SubjectKind::Person,
            issuer: "https://idp.corp.example".into(),
            subject: "u-1".into(),
            username: "ann".into(),
            email: Some("ann@corp.example".into()),
            groups: AssertedGroups::of(&["dev", "ops"]),
        },
        session: "s-1".into(),
        token_id: "t-1".into(),
        auth_time: Some(Timestamp::from_unix_seconds(NOW - 100)),
        acr: Some("mfa".into()),
        chain: Chain::default(),
        ends: now().plus(DAY),
    }
}

fn token_key() -> SigningKey {
    SigningKey::generate().unwrap().0
}

fn mint() -> AssertionMint {
    AssertionMint::new(URL, AssertionKey::of(&token_key()).unwrap())
}

fn verifier(mint: &AssertionMint) -> AssertionVerifier {
    AssertionVerifier::new(URL, AssertionKey::key_set([mint.key()]).unwrap(), Duration::ZERO)
}

fn signed(mint: &AssertionMint, claims: &AssertionClaims) -> String {
    mint.sign(claims, now()).unwrap().token.expose_secret().to_owned()
}

/// The verdict on a token that `grafana` presents now.
fn verdict(mint: &AssertionMint, token: &str) -> Result<VerifiedAssertion, AssertionError> {
    verifier(mint).verify(token, &service("grafana"), now())
}

fn payload_of(token: &str) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// Merges the changes into an object; `null` removes.
fn merge(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
}

/// An assertion with changed header and payload, signed by the right key.
fn forged_by_ourselves(mint: &AssertionMint, header: &Value, changes: &Value) -> String {
    let mut payload = payload_of(&signed(mint, &claims()));
    merge(&mut payload, changes);
    let mut full = json!({"alg": "ES256", "typ": ASSERTION_TYPE, "kid": mint.key().kid()});
    merge(&mut full, header);
    let text = format!(
        "{}.{}",
        encode(full.to_string().as_bytes()),
        encode(payload.to_string().as_bytes())
    );
    let signature = mint.key().sign_for_tests(text.as_bytes());
    format!("{text}.{signature}")
}

/// The code of the refusal of such a one.
fn refusal(header: Value, changes: Value) -> &'static str {
    let mint = mint();
    let token = forged_by_ourselves(&mint, &header, &changes);
    verdict(&mint, &token).map_or_else(|error| error.code(), |_| "accepted")
}

fn gateway_claims(audience: &str) -> GatewayClaims {
    GatewayClaims {
        issuer: URL.into(),
        audience: audience.into(),
        subject: subject(0xaa).to_string(),
        session: "s-1".into(),
        token_id: "t-1".into(),
        issued_at: now(),
        expires_at: now().plus(Duration::from_secs(100)),
        auth_time: now(),
        acr: None,
        identity: ProviderIdentity {
            iss: "https://idp.corp.example".into(),
            sub: "u-1".into(),
            username: "ann".into(),
            groups: Vec::new(),
            uid: None,
            email: None,
            extra: [].into(),
        },
    }
}

#[test]
fn an_assertion_has_the_claims_of_the_standards() {
    let mint = mint();
    let token = signed(
        &mint,
        &AssertionClaims {
            chain: chain(&[2, 1]),
            ..claims()
        },
    );
    let header: Value = serde_json::from_slice(&decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(
        header,
        json!({"alg": "ES256", "typ": "gatescribe-assertion+jwt", "kid": mint.key().kid()})
    );
    let id = |byte: &str| byte.repeat(16);
    assert_eq!(
        payload_of(&token),
        json!({
            "iss": URL, "aud": "service:grafana", "sub": id("aa"), "sid": "s-1", "jti": "t-1", "iat": NOW, "exp": NOW + 120,
            "auth_time": NOW - 100, "acr": "mfa", "preferred_username": "ann", "email": "ann@corp.example",
            "email_verified": true, "groups": ["dev", "ops"],
            "gs": {"kind": "person", "iss": "https://idp.corp.example", "sub": "u-1"},
            "act": {"sub": id("02"), "preferred_username": "system:serviceaccount:team:s2", "service": "s2",
                    "act": {"sub": id("01"), "preferred_username": "system:serviceaccount:team:s1", "service": "s1"}},
        })
    );
    let plain = AssertionClaims {
        auth_time: None,
        acr: None,
        identity: AssertedIdentity {
            kind: SubjectKind::ServiceAccount,
            email: None,
            groups: AssertedGroups::of::<&str>(&[]),
            ..claims().identity
        },
        ..claims()
    };
    assert_eq!(
        payload_of(&signed(&mint, &plain)),
        json!({
            "iss": URL, "aud": "service:grafana", "sub": id("aa"), "sid": "s-1", "jti": "t-1", "iat": NOW, "exp": NOW + 120,
            "preferred_username": "ann", "groups": [],
            "gs": {"kind": "serviceAccount", "iss": "https://idp.corp.example", "sub": "u-1"},
        })
    );
}

fn any_claims() -> impl Strategy<Value = AssertionClaims> {
    let identity = (
        "\\PC{1,30}",
        proptest::option::of("[a-z]{1,8}@[a-z]{1,8}"),
        prop::collection::vec("\\PC{0,20}", 0..80),
        prop_oneof![
            Just(SubjectKind::Person),
            Just(SubjectKind::Workload),
            Just(SubjectKind::ServiceAccount)
        ],
    );
    let times = (proptest::option::of(0..NOW), 1_u64..200);
    (identity, "\\PC{1,20}", times, 0_usize..=MAX_DEPTH).prop_map(|(identity, text, (auth_time, lasts), depth)| {
        let (username, email, groups, kind) = identity;
        AssertionClaims {
            identity: AssertedIdentity {
                username,
                email,
                kind,
                subject: text.clone(),
                groups: AssertedGroups::of(&groups),
                ..claims().identity
            },
            session: text,
            auth_time: auth_time.map(Timestamp::from_unix_seconds),
            chain: chain(&[3, 2, 1][..depth]),
            ends: now().plus(Duration::from_secs(lasts)),
            ..claims()
        }
    })
}

proptest! {
    #[test]
    fn what_is_asserted_is_what_is_read_after_verification(said in any_claims()) {
        let mint = mint();
        let made = mint.sign(&said, now()).unwrap();
        let read = verdict(&mint, made.token.expose_secret()).unwrap();
        let ends = said.ends.min(now().plus(MAX_ASSERTION_LIFETIME));
        prop_assert_eq!(made.expires_at, ends);
        prop_assert_eq!(read.issued_at(), now());
        prop_assert_eq!(read.claims(), &AssertionClaims { ends, ..said });
    }

    #[test]
    fn an_assertion_with_one_character_changed_is_refused(at in any::<prop::sample::Index>(), put in "[A-Za-z0-9_.=+/ -]") {
        let mint = mint();
        let token = signed(&mint, &claims());
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &put);
        prop_assume!(changed != token);
        prop_assert!(verdict(&mint, &changed).is_err(), "{changed}");
        changed.truncate(at);
        prop_assert!(verdict(&mint, &changed).is_err(), "a beginning");
    }

    #[test]
    fn any_bytes_are_an_assertion_s_payload_or_a_refusal(changes in prop::collection::vec((0_usize..2000, any::<u8>()), 0..4)) {
        let mut payload = payload_of(&signed(&mint(), &AssertionClaims { chain: chain(&[3, 2, 1]), ..claims() })).to_string().into_bytes();
        for (at, byte) in changes {
            if let Some(place) = payload.get_mut(at) {
                *place = byte;
            }
        }
        fuzz_assertion(&payload);
    }
}

#[test]
fn an_assertion_with_one_claim_changed_is_refused() {
    let mint = mint();
    let token = signed(
        &mint,
        &AssertionClaims {
            chain: chain(&[1]),
            ..claims()
        },
    );
    let parts: Vec<&str> = token.split('.').collect();
    let payload = payload_of(&token);
    let mut names: Vec<&String> = payload.as_object().unwrap().keys().collect();
    let other = "another".to_owned();
    names.push(&other);
    for name in names {
        for value in [json!(null), json!("x"), json!(NOW + 60), json!([]), json!({})] {
            let mut changed = payload.clone();
            merge(&mut changed, &json!({ name: value }));
            if changed == payload {
                continue;
            }
            let token = format!("{}.{}.{}", parts[0], encode(changed.to_string().as_bytes()), parts[2]);
            assert_eq!(
                verdict(&mint, &token).unwrap_err(),
                AssertionError::Signature,
                "{name} {value}"
            );
        }
    }
}

#[test]
fn o_05_oidc_07_no_sign_in_token_passes_for_an_assertion_and_no_assertion_for_a_sign_in_token() {
    let key = token_key();
    let published = SigningKey::key_set([&key]).unwrap();
    let mint = AssertionMint::new(URL, AssertionKey::of(&key).unwrap());
    let assertions = AssertionKey::key_set([mint.key()]).unwrap();
    let assertion = signed(&mint, &claims());
    let sign_in = Mint::new(key).sign(&gateway_claims("service:grafana")).unwrap();

    // Also where both had the same keys, the same issuer and the same audience.
    let as_assertion = |keys: &KeySet, token: &str| {
        AssertionVerifier::new(URL, keys.clone(), Duration::ZERO).verify(token, &service("grafana"), now())
    };
    for keys in [&published, &assertions] {
        assert_eq!(as_assertion(keys, &sign_in).unwrap_err(), AssertionError::Type);
    }
    let as_sign_in = |keys: &KeySet, token: &str| {
        GatewayVerifier::new(URL, keys.clone(), Duration::ZERO).verify(
            &Unverified::parse(token).unwrap(),
            "service:grafana",
            now(),
        )
    };
    for keys in [&published, &assertions] {
        assert_eq!(as_sign_in(keys, &assertion).unwrap_err(), TokenError::Assertion);
    }
    assert!(as_assertion(&assertions, &assertion).is_ok());
    assert!(as_sign_in(&published, &sign_in).is_ok());

    // An issuer somewhere else is trusted that calls itself as the gateway: its tokens are no assertions, and none of ours signs in there.
    let issuer = super::kit::issuer(json!({"issuer": URL, "clientID": "service:grafana", "accessTokens": true}));
    let parsed = Unverified::parse(&assertion).unwrap();
    let refused = issuer
        .verify(&parsed, &assertions, now(), crate::Purpose::Bearer)
        .unwrap_err();
    assert_eq!(refused, TokenError::Assertion);
    assert_eq!(
        refused.to_string(),
        "this is an assertion of the gateway to a service about who calls it; it signs nobody in"
    );
}

#[test]
fn a_service_that_looks_at_nothing_but_the_signature_takes_no_sign_in_token() {
    let key = token_key();
    let mint = AssertionMint::new(URL, AssertionKey::of(&key).unwrap());
    let sign_in_keys = SigningKey::key_set([&key]).unwrap();
    let assertion_keys = AssertionKey::key_set([mint.key()]).unwrap();
    let assertion = signed(&mint, &claims());
    let sign_in = Mint::new(key).sign(&gateway_claims("production")).unwrap();
    let signature = |keys: &KeySet, token: &str| {
        let parsed = Unverified::parse(token).unwrap();
        crate::verify::check_signature(&parsed, keys, &[crate::Algorithm::ES256]).is_ok()
    };
    assert!(signature(&assertion_keys, &assertion) && signature(&sign_in_keys, &sign_in));
    assert!(!signature(&assertion_keys, &sign_in), "a token of a thief at a service");
    assert!(
        !signature(&sign_in_keys, &assertion),
        "an assertion at who trusts `/jwks`"
    );
}

#[test]
fn other_types_algorithms_and_keys_are_refused_each_by_its_name() {
    assert_eq!(refusal(json!({}), json!({})), "accepted");
    for (header, code) in [
        (json!({"typ": null}), "assertion_type"),
        (json!({"typ": "JWT"}), "assertion_type"),
        (json!({"typ": "at+jwt"}), "assertion_type"),
        (json!({"typ": "logout+jwt"}), "assertion_type"),
        (json!({"typ": "gatescribe-assertion"}), "assertion_type"),
        (json!({"typ": "APPLICATION/Gatescribe-Assertion+JWT"}), "accepted"),
        (json!({"alg": "none"}), "assertion_algorithm"),
        (json!({"alg": "HS256"}), "assertion_algorithm"),
        (json!({"alg": "ES384"}), "assertion_algorithm"),
        (json!({"kid": "other"}), "assertion_unknown_key"),
        (json!({"crit": []}), "assertion_unreadable"),
        (json!({"zip": "DEF"}), "assertion_unreadable"),
    ] {
        assert_eq!(refusal(header.clone(), json!({})), code, "{header}");
    }
    let (mine, other) = (mint(), mint());
    let (own, foreign) = (signed(&mine, &claims()), signed(&other, &claims()));
    assert_eq!(verdict(&mine, &foreign).unwrap_err(), AssertionError::UnknownKey);
    let spliced = format!(
        "{}.{}",
        own.rsplit_once('.').unwrap().0,
        foreign.rsplit_once('.').unwrap().1
    );
    assert_eq!(verdict(&mine, &spliced).unwrap_err(), AssertionError::Signature);
    for token in ["", "a", "a.b", "a.b.c", "a.b.c.d.e", "e30.e30.AA"] {
        assert_eq!(
            verdict(&mine, token).unwrap_err(),
            AssertionError::Unreadable,
            "{token}"
        );
    }
    let long = |more: usize| "a".repeat(MAX_ASSERTION_BYTES + more);
    assert_eq!(verdict(&mine, &long(1)).unwrap_err(), AssertionError::TooLarge);
    assert_eq!(
        verdict(&mine, &long(0)).unwrap_err(),
        AssertionError::Unreadable,
        "so many may be"
    );
}

#[test]
fn every_claim_of_an_assertion_is_demanded_and_of_its_type() {
    for claim in ["iat", "exp", "sub", "sid", "jti", "preferred_username", "gs", "iss"] {
        assert_eq!(refusal(json!({}), json!({ claim: null })), "assertion_claim", "{claim}");
        assert_eq!(refusal(json!({}), json!({ claim: true })), "assertion_claim", "{claim}");
    }
    assert_eq!(refusal(json!({}), json!({"aud": null})), "assertion_audience");
    for (changes, code) in [
        (json!({"iss": "https://gate.corp.example/"}), "assertion_issuer"),
        (json!({"iss": "https://other.example"}), "assertion_issuer"),
        (json!({"aud": "grafana"}), "assertion_audience"),
        (json!({"aud": "service:grafan"}), "assertion_audience"),
        (json!({"aud": "service:Grafana"}), "assertion_audience"),
        (json!({"aud": ["service:grafana"]}), "assertion_claim"),
        (json!({"aud": ["service:grafana", "service:b"]}), "assertion_claim"),
        (json!({"sub": "u-1"}), "assertion_claim"),
        (json!({"auth_time": "now"}), "assertion_claim"),
        (json!({"acr": 1}), "assertion_claim"),
        (json!({"email_verified": null}), "assertion_claim"),
        (json!({"email_verified": false}), "assertion_claim"),
        (json!({"email": null}), "assertion_claim"),
        (json!({"groups": "dev"}), "assertion_claim"),
        (json!({"groups": ["dev", 1]}), "assertion_claim"),
        (json!({"groups": null}), "assertion_claim"),
        (json!({"groups_count": 2}), "assertion_claim"),
        (json!({"groups": null, "groups_count": 99}), "assertion_claim"),
        (
            json!({"groups": null, "groups_count": -1, "groups_hash": "0".repeat(32)}),
            "assertion_claim",
        ),
        (
            json!({"groups": null, "groups_count": 99, "groups_hash": "A".repeat(32)}),
            "assertion_claim",
        ),
        (json!({"groups": vec!["g"; 65]}), "assertion_claim"),
        (
            json!({"gs": {"kind": "public", "iss": "i", "sub": "s"}}),
            "assertion_claim",
        ),
        (
            json!({"gs": {"kind": "Person", "iss": "i", "sub": "s"}}),
            "assertion_claim",
        ),
        (
            json!({"gs": {"kind": "person", "iss": "i", "sub": ""}}),
            "assertion_claim",
        ),
        (
            json!({"gs": {"kind": "person", "iss": "i", "sub": "s", "x": 1}}),
            "assertion_claim",
        ),
        (json!({"nbf": NOW + 1}), "assertion_claim"),
        (json!({"exp": NOW + 121}), "assertion_lifetime"),
        (json!({"iat": NOW - 1}), "assertion_lifetime"),
        // What nobody knows is ignored, as RFC 7519 §4 has it.
        (json!({"a_claim_of_later": 1}), "accepted"),
    ] {
        assert_eq!(refusal(json!({}), changes.clone()), code, "{changes}");
    }
}

/// The code of the refusal of exactly this payload, signed by the right key.
fn signed_payload(payload: &str) -> &'static str {
    let mint = mint();
    let header = json!({"alg": "ES256", "typ": ASSERTION_TYPE, "kid": mint.key().kid()});
    let text = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(payload.as_bytes())
    );
    let token = format!("{text}.{}", mint.key().sign_for_tests(text.as_bytes()));
    verdict(&mint, &token).map_or_else(|error| error.code(), |_| "accepted")
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let payload = payload_of(&signed(&mint(), &claims())).to_string();
    assert_eq!(signed_payload(&payload), "accepted");
    for twice in [
        r#""sub":"x","#,
        r#""aud":"service:grafana","#,
        r#""act":{"sub":"a","sub":"b"},"#,
    ] {
        let payload = format!("{{{twice}{}", payload.strip_prefix('{').unwrap());
        assert_eq!(signed_payload(&payload), "assertion_unreadable", "{twice}");
    }
}

#[test]
fn a_service_presents_only_what_it_was_sent() {
    let mint = mint();
    let token = signed(&mint, &claims());
    for other in ["grafan", "grafana2", "a", "gatescribe-api"] {
        assert_eq!(
            verifier(&mint).verify(&token, &service(other), now()).unwrap_err(),
            AssertionError::Audience {
                expected: format!("service:{other}")
            }
        );
    }
}

#[test]
fn no_cluster_and_no_api_has_the_audience_of_a_service() {
    for name in ["grafana", "gatescribe-api", "production", "0"] {
        let audience = service_audience(&service(name));
        assert_eq!(audience, format!("service:{name}"));
        assert!(ClusterId::new(&audience).is_err());
        assert!(ServiceName::new(&audience).is_err());
        assert_ne!(audience, "gatescribe-api");
    }
}

/// A service's library, with nothing but what is published.
#[test]
fn a_service_verifies_an_assertion_by_the_published_key_set() {
    let (mint, other) = (mint(), mint());
    let token = signed(&mint, &claims());
    let published = AssertionKey::render_jwks([other.key(), mint.key()]);
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&published).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let jwk = set.find(&header.kid.unwrap()).unwrap();
    let read = |audience: &str| {
        let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        rules.set_audience(&[audience]);
        rules.set_issuer(&[URL]);
        // Its times are those of the test.
        rules.validate_exp = false;
        let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
        jsonwebtoken::decode::<Value>(&token, &key, &rules)
    };
    assert_eq!(read("service:grafana").unwrap().claims["preferred_username"], "ann");
    assert!(read("service:prometheus").is_err());
}

#[test]
fn an_assertion_is_shown_nowhere() {
    let mint = mint();
    let made = mint.sign(&claims(), now()).unwrap();
    let shown = format!("{made:?} {mint:?} {:?}", verifier(&mint));
    for part in made.token.expose_secret().split('.') {
        assert!(!shown.contains(part));
    }
}

#[test]
fn payloads_of_the_corpus_are_taken_or_refused_as_their_names_say() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpora/assertion");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        fuzz_assertion(&bytes);
        let taken = crate::encoding::object(&bytes)
            .ok()
            .and_then(|members| read(&crate::claims::Claims::new(members)).ok());
        assert_eq!(taken.is_some(), name.starts_with("good-"), "{name}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}
