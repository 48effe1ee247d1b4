//! Token exchange: both proofs, the sign-in, the rules, and what is given and written down.

use std::time::Duration;

use http::{Request, StatusCode};
use model::service::ServiceName;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use oidc::gateway::SigningKey;
use oidc::gateway::assertion::{
    Actor, AssertedGroups, AssertedIdentity, AssertionClaims, AssertionError, AssertionKey, AssertionMint, Chain,
    VerifiedAssertion,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::world::{Renewal, Seen, Setup, URL, World, subject, world};
use crate::{GatewayKeys, GatewayUrl, Leave, NoLeave, What};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

impl World {
    /// Alice signs in; her session, and what is asserted about her to `cart`.
    async fn alice(&self) -> (Value, AssertionClaims) {
        let tokens = self.signed_in().await;
        let events = self.ledger.events.lock().unwrap();
        let event = events.iter().find(|event| event.what == What::SignedIn).unwrap();
        let who = event.who.clone().unwrap();
        let claims = AssertionClaims {
            audience: service("cart"),
            identity: AssertedIdentity {
                id: who.subject_id,
                kind: SubjectKind::Person,
                issuer: who.identity.issuer,
                subject: who.identity.subject,
                username: who.identity.username,
                email: None,
                groups: AssertedGroups::of(&["of-then"]),
            },
            session: event.session.as_ref().unwrap().to_string(),
            token_id: "t-1".to_owned(),
            auth_time: None,
            acr: None,
            chain: Chain::default(),
            ends: Timestamp::MAX,
        };
        drop(events);
        (tokens, claims)
    }

    fn assert(&self, claims: &AssertionClaims) -> String {
        let signed = self.keys.assert(claims, self.at()).unwrap();
        signed.token.expose_secret().to_owned()
    }

    /// `cart` asks for an assertion for `stock`, with changes; an empty value leaves a parameter out.
    async fn exchange(&self, assertion: &str, changes: &[(&str, &str)]) -> Seen {
        let mut fields = vec![
            ("grant_type", GRANT),
            ("subject_token", assertion),
            ("subject_token_type", JWT),
            ("actor_token", "pod:cart"),
            ("actor_token_type", JWT),
            ("audience", "service:stock"),
        ];
        for (name, value) in changes {
            fields.retain(|(own, _)| own != name);
            fields.push((name, value));
        }
        fields.retain(|(_, value)| !value.is_empty());
        self.token(&fields).await
    }

    fn read(&self, seen: &Seen, by: &str) -> Result<VerifiedAssertion, AssertionError> {
        let token = seen.json()["access_token"].as_str().unwrap().to_owned();
        self.keys.assertion_verifier().verify(&token, &service(by), self.at())
    }

    /// The last event: what, why, and who acted.
    fn last(&self) -> (What, Option<&'static str>, Vec<String>) {
        let events = self.ledger.events.lock().unwrap();
        let event = events.last().unwrap();
        let act = event.act.iter().map(|actor| actor.username.clone()).collect();
        (event.what, event.why, act)
    }
}

/// An OAuth error: status, `error`, `reason`.
fn told(seen: &Seen) -> (u16, String, String) {
    let body = seen.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    assert!(!text("error_description").is_empty(), "{body}");
    assert!(body.get("access_token").is_none(), "{body}");
    (seen.status.as_u16(), text("error"), text("reason"))
}

fn bad(error: &str, reason: &str) -> (u16, String, String) {
    (400, error.to_owned(), reason.to_owned())
}

const CART: &str = "system:serviceaccount:shop:cart";

#[tokio::test]
async fn a_service_gets_an_assertion_for_the_next_one_that_names_the_person_and_it() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    world.pass(Duration::from_secs(30));
    let seen = world.exchange(&assertion, &[]).await;
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
    assert_eq!(seen.headers["cache-control"], "no-store");
    let body = seen.json();
    assert_eq!(
        (&body["issued_token_type"], &body["token_type"], &body["expires_in"]),
        (&json!(JWT), &json!("N_A"), &json!(90)),
        "no longer than the one that was handed back"
    );
    let given = world.read(&seen, "stock").unwrap();
    let given = given.claims();
    assert_eq!(
        (&given.identity.id, &given.session),
        (&claims.identity.id, &claims.session)
    );
    assert_ne!(given.token_id, claims.token_id);
    assert_eq!(
        given.identity.groups.named(),
        Some(&["dev".to_owned()][..]),
        "as they are now"
    );
    let cart = subject(SubjectKind::ServiceAccount, "cart");
    let actor = Actor {
        workload: cart.id().clone(),
        username: CART.to_owned(),
        service: service("cart"),
    };
    assert_eq!(given.chain.actors(), [actor]);
    // It is of no use to who asked for it, and opens nothing of the gateway's.
    assert!(matches!(
        world.read(&seen, "cart"),
        Err(AssertionError::Audience { .. })
    ));
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let whoami = world.send(Request::get("/userinfo").header("authorization", bearer), String::new());
    assert_eq!(whoami.await.status, StatusCode::UNAUTHORIZED);
    // The record names the person and the workload, and the answer the record.
    assert_eq!(seen.named(&world), Some(What::AssertionExchanged));
    let events = world.ledger.events.lock().unwrap();
    let event = events
        .iter()
        .find(|event| event.what == What::AssertionExchanged)
        .unwrap();
    assert_eq!(event.who.as_ref().unwrap().subject_id, claims.identity.id);
    assert_eq!(event.act.len(), 1);
    let note = event.note.as_deref().unwrap();
    assert!(
        note.starts_with("for service stock until ") && note.contains("AccessRule cart-reads-stock"),
        "{note}"
    );
    assert!(!note.contains("eyJ"), "{note}");
    let asked = world.pods.asked.lock().unwrap();
    let (whom, through, to) = asked.first().unwrap();
    assert_eq!((whom, to.as_str()), (&given.identity.username, "stock"));
    assert_eq!(*through, [CART]);
}

#[tokio::test]
async fn a_chain_grows_to_three_comes_never_round_and_its_record_says_who_called_last() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let mut assertion = world.assert(&claims);
    for (pod, to) in [("cart", "stock"), ("stock", "prices"), ("prices", "rates")] {
        let actor = format!("pod:{pod}");
        let to = format!("service:{to}");
        // Nobody goes back to where the chain was, nor to itself.
        let back = world
            .exchange(&assertion, &[("actor_token", &actor), ("audience", "service:cart")])
            .await;
        assert_eq!(told(&back), bad("invalid_target", "assertion_loop"), "{pod}");
        let seen = world
            .exchange(&assertion, &[("actor_token", &actor), ("audience", &to)])
            .await;
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.body);
        assertion = seen.json()["access_token"].as_str().unwrap().to_owned();
    }
    let account = |name: &str| format!("system:serviceaccount:shop:{name}");
    assert_eq!(
        world.last(),
        (
            What::AssertionExchanged,
            None,
            vec![account("cart"), account("stock"), account("prices")]
        )
    );
    let deeper = world
        .exchange(
            &assertion,
            &[("actor_token", "pod:rates"), ("audience", "service:deep")],
        )
        .await;
    assert_eq!(told(&deeper), bad("invalid_request", "assertion_too_deep"));
    let (what, why, act) = world.last();
    assert_eq!(
        (what, why, act.len()),
        (What::ExchangeRefused, Some("assertion_too_deep"), 3)
    );
}

/// Issue 6 §4: a replayed assertion without the workload's own proof is refused.
#[tokio::test]
async fn an_assertion_counts_only_with_the_proof_of_the_service_that_it_is_for() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    for (actor, reason, what) in [
        ("", "", None),
        ("stolen", "no_workload", Some(What::CredentialRefused)),
        ("person:alice", "no_workload", Some(What::CredentialRefused)),
        (&assertion, "no_workload", Some(What::CredentialRefused)),
        // Who replays it with a proof of their own is told apart in the records of the person.
        ("pod:stock", "assertion_audience", Some(What::ExchangeRefused)),
        ("pod:thief", "assertion_audience", Some(What::ExchangeRefused)),
    ] {
        let seen = world.exchange(&assertion, &[("actor_token", actor)]).await;
        assert_eq!(told(&seen), bad("invalid_request", reason), "{actor}");
        if let Some(what) = what {
            assert_eq!(world.last(), (what, Some(reason), Vec::new()), "{actor}");
        }
    }
    let events = world.ledger.events.lock().unwrap().clone();
    let replay = events.last().unwrap();
    assert_eq!(replay.who.as_ref().unwrap().subject_id, claims.identity.id);
    assert!(
        replay
            .note
            .as_ref()
            .unwrap()
            .contains("system:serviceaccount:shop:thief"),
        "{replay:?}"
    );
    assert!(
        world.pods.asked.lock().unwrap().is_empty(),
        "the rules are asked of nobody who is not proved"
    );
    *world.pods.silent.lock().unwrap() = true;
    let seen = world.exchange(&assertion, &[]).await;
    assert_eq!(
        (seen.status, &seen.json()["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("temporarily_unavailable"))
    );
}

#[tokio::test]
async fn what_is_no_assertion_of_this_gateway_for_now_is_refused_by_its_own_reason() {
    let world = world(Setup::One);
    let (tokens, claims) = world.alice().await;
    let good = world.assert(&claims);
    let other_keys =
        GatewayKeys::new(&GatewayUrl::parse(URL).unwrap(), SigningKey::generate().unwrap().0, &[]).unwrap();
    let forged = other_keys
        .assert(&claims, world.at())
        .unwrap()
        .token
        .expose_secret()
        .to_owned();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let foreign = AssertionMint::new(
        "https://other.example",
        AssertionKey::of(&SigningKey::generate().unwrap().0).unwrap(),
    );
    let foreign = foreign
        .sign(&claims, world.at())
        .unwrap()
        .token
        .expose_secret()
        .to_owned();
    let changed = format!("{signed}.{}", forged.rsplit_once('.').unwrap().1);
    let long = format!("{good}{}", "A".repeat(4_096));
    for (token, reason) in [
        (tokens["access_token"].as_str().unwrap(), "assertion_type"),
        (forged.as_str(), "assertion_unknown_key"),
        (&foreign, "assertion_unknown_key"),
        (&changed, "assertion_signature"),
        (signed, "assertion_unreadable"),
        (signature, "assertion_unreadable"),
        ("pod:cart", "assertion_unreadable"),
        (&long, "assertion_too_large"),
    ] {
        let seen = world.exchange(token, &[]).await;
        assert_eq!(told(&seen), bad("invalid_request", reason), "{token}");
        assert_eq!(world.last(), (What::CredentialRefused, Some(reason), Vec::new()));
        assert!(
            !world
                .ledger
                .events
                .lock()
                .unwrap()
                .last()
                .unwrap()
                .note
                .as_ref()
                .unwrap()
                .contains("eyJ")
        );
    }
    world.pass(Duration::from_secs(119));
    assert_eq!(world.exchange(&good, &[]).await.status, StatusCode::OK);
    world.pass(Duration::from_secs(1));
    assert_eq!(
        told(&world.exchange(&good, &[]).await),
        bad("invalid_request", "assertion_expired")
    );
}

#[tokio::test]
async fn the_sign_in_must_still_stand_and_be_the_same_persons() {
    let world = world(Setup::One);
    let (tokens, claims) = world.alice().await;
    for (changed, reason) in [
        (
            AssertionClaims {
                session: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                ..claims.clone()
            },
            "no_session",
        ),
        (
            AssertionClaims {
                identity: AssertedIdentity {
                    id: SubjectId::from_digest([9; 16]),
                    ..claims.identity.clone()
                },
                ..claims.clone()
            },
            "no_session",
        ),
        (
            AssertionClaims {
                identity: AssertedIdentity {
                    kind: SubjectKind::ServiceAccount,
                    ..claims.identity.clone()
                },
                ..claims.clone()
            },
            "no_session",
        ),
    ] {
        let seen = world.exchange(&world.assert(&changed), &[]).await;
        assert_eq!(told(&seen), bad("invalid_request", reason));
    }
    let assertion = world.assert(&claims);
    assert_eq!(world.exchange(&assertion, &[]).await.status, StatusCode::OK);
    // The provider vouches no longer: the sign-in ends, and with it what is done in its name.
    world.pass(Duration::from_secs(300));
    *world.idp.renewal.lock().unwrap() = Renewal::InvalidGrant;
    let _ = world.renew(tokens["refresh_token"].as_str().unwrap(), None).await;
    let assertion = world.assert(&claims);
    assert_eq!(
        told(&world.exchange(&assertion, &[]).await),
        bad("invalid_request", "session_ended")
    );
    let (what, _, act) = world.last();
    assert_eq!((what, act), (What::CredentialRefused, vec![CART.to_owned()]));
}

#[tokio::test]
async fn what_the_rules_refuse_is_a_record_with_the_person_and_every_workload() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    for (no, error, reason) in [
        (
            NoLeave::Denied("noOnBehalfOf", "no rule with `onBehalfOf` lets it".to_owned()),
            "invalid_target",
            "noOnBehalfOf",
        ),
        (NoLeave::NoService, "invalid_target", "no_service"),
        (
            NoLeave::Locked("alice is locked".to_owned()),
            "invalid_request",
            "locked",
        ),
    ] {
        *world.pods.says.lock().unwrap() = Some(Err(no.clone()));
        let seen = world.exchange(&assertion, &[]).await;
        assert_eq!(told(&seen), bad(error, reason));
        assert_eq!(seen.json()["error_description"], no.to_string());
        assert_eq!(
            world.last(),
            (What::ExchangeRefused, Some(reason), vec![CART.to_owned()])
        );
        assert_eq!(seen.named(&world), Some(What::ExchangeRefused));
    }
    // It lasts no longer than the rules say.
    *world.pods.says.lock().unwrap() = Some(Ok(Leave {
        until: world.at().plus(Duration::from_secs(7)),
        rules: Vec::new(),
    }));
    assert_eq!(world.exchange(&assertion, &[]).await.json()["expires_in"], 7);
    *world.pods.says.lock().unwrap() = Some(Ok(Leave {
        until: world.at(),
        rules: Vec::new(),
    }));
    let seen = world.exchange(&assertion, &[]).await;
    assert_eq!(told(&seen), bad("invalid_request", "assertion_not_made"));
}

#[tokio::test]
async fn nothing_is_given_that_cannot_be_recorded() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    *world.ledger.full.lock().unwrap() = true;
    let seen = world.exchange(&assertion, &[]).await;
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!seen.body.contains("access_token"), "{}", seen.body);
}

/// RFC 8693 §2.1: what is asked for wrongly is told, and nothing that was asked is ignored.
#[tokio::test]
async fn an_exchange_that_is_asked_for_wrongly_is_told_which_parameter() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    let access = "urn:ietf:params:oauth:token-type:access_token";
    for (changes, error, part) in [
        ([("subject_token", "")], "invalid_request", "subject_token is required"),
        (
            [("subject_token_type", "")],
            "invalid_request",
            "subject_token_type is required",
        ),
        (
            [("subject_token_type", access)],
            "invalid_request",
            "subject_token_type must be",
        ),
        (
            [("actor_token_type", "")],
            "invalid_request",
            "actor_token_type is required",
        ),
        (
            [("actor_token_type", access)],
            "invalid_request",
            "actor_token_type must be",
        ),
        (
            [("requested_token_type", access)],
            "invalid_request",
            "requested_token_type must be",
        ),
        ([("scope", "openid")], "invalid_scope", "no scope"),
        (
            [("resource", "https://stock.example")],
            "invalid_target",
            "leave `resource` out",
        ),
        ([("audience", "")], "invalid_request", "audience is required"),
        ([("audience", "stock")], "invalid_target", "audience is `service:NAME`"),
        ([("audience", "prod")], "invalid_target", "call it through the gateway"),
        ([("audience", "service:Stock")], "invalid_target", "no service name"),
        ([("audience", "service:")], "invalid_target", "no service name"),
    ] {
        let seen = world.exchange(&assertion, &changes).await;
        let (status, told, _) = told(&seen);
        assert_eq!((status, told.as_str()), (400, error), "{changes:?}");
        let words = seen.json()["error_description"].as_str().unwrap().to_owned();
        assert!(words.contains(part), "{changes:?}: {words}");
    }
    let twice = [
        ("grant_type", GRANT),
        ("audience", "service:a"),
        ("audience", "service:b"),
    ];
    assert_eq!(told(&world.token(&twice).await), bad("invalid_request", ""));
    assert!(world.pods.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_tries_wrong_credentials_is_slowed_down_and_a_workload_has_its_own_bound() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let assertion = world.assert(&claims);
    for _ in 0..60 {
        assert_eq!(world.exchange("wrong", &[]).await.status, StatusCode::BAD_REQUEST);
    }
    let seen = world.exchange("wrong", &[]).await;
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(*world.ledger.counted.lock().unwrap(), [None]);
    assert_eq!(
        world.exchange(&assertion, &[]).await.status,
        StatusCode::OK,
        "a good one is served"
    );
}

/// Services find the keys of assertions apart from those of tokens, and a turn of the token keys brings both.
#[tokio::test]
async fn the_keys_of_assertions_stand_at_an_address_of_their_own() {
    let world = world(Setup::One);
    let (_, claims) = world.alice().await;
    let get = |path: String| {
        let world = world.clone();
        async move { world.send(Request::get(path), String::new()).await }
    };
    let document = get("/.well-known/gatescribe".to_owned()).await.json();
    let address = document["assertionJwksUri"].as_str().unwrap().to_owned();
    assert_eq!(address, format!("{URL}/.well-known/gatescribe/assertions/jwks"));
    let kid = |keys: &Value| keys["keys"][0]["kid"].as_str().unwrap().to_owned();
    let seen = get(address.strip_prefix(URL).unwrap().to_owned()).await;
    assert_eq!(seen.headers["content-type"], "application/jwk-set+json");
    assert_eq!(seen.headers["cache-control"], "public, max-age=300");
    let (published, of_tokens) = (seen.json(), get("/jwks".to_owned()).await.json());
    assert_ne!(kid(&published), kid(&of_tokens));
    assert!(!seen.body.contains("\"d\""), "{}", seen.body);
    let url = GatewayUrl::parse(URL).unwrap();
    let assertion = world.assert(&claims);
    // The next key signs, the one before is still listed; then it is listed no more.
    let (old, next) = (SigningKey::generate().unwrap().0, || SigningKey::generate().unwrap().0);
    world.keys.replace(&GatewayKeys::new(&url, old, &[]).unwrap());
    assert_eq!(
        told(&world.exchange(&assertion, &[]).await),
        bad("invalid_request", "assertion_unknown_key")
    );
    let pkcs8 = SigningKey::generate().unwrap().1;
    let key = || SigningKey::from_pkcs8(&pkcs8).unwrap();
    world.keys.replace(&GatewayKeys::new(&url, key(), &[]).unwrap());
    let assertion = world.assert(&claims);
    world.keys.replace(&GatewayKeys::new(&url, next(), &[key()]).unwrap());
    assert_eq!(world.exchange(&assertion, &[]).await.status, StatusCode::OK);
    let keys = get(address.strip_prefix(URL).unwrap().to_owned()).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}
