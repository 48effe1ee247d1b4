//! The words of refusals.

use super::*;

#[test]
fn what_the_verifier_would_refuse_is_not_asserted() {
    let mint = mint();
    let who = |change: fn(&mut AssertedIdentity)| {
        let mut claims = claims();
        change(&mut claims.identity);
        claims
    };
    let nameless = Actor {
        username: String::new(),
        ..actor(1)
    };
    for (broken, text) in [
        (
            who(|identity| identity.kind = SubjectKind::Public),
            "nobody signed in, so there is nobody to assert; a public path gets no assertion",
        ),
        (
            who(|identity| identity.username.clear()),
            "the user name is empty, and an assertion must name it",
        ),
        (
            who(|identity| identity.issuer.clear()),
            "the issuer of the provider is empty, and an assertion must name it",
        ),
        (
            who(|identity| identity.subject.clear()),
            "the provider's name for the subject is empty, and an assertion must name it",
        ),
        (
            AssertionClaims {
                session: String::new(),
                ..claims()
            },
            "the id of the sign-in is empty, and an assertion must name it",
        ),
        (
            AssertionClaims {
                token_id: String::new(),
                ..claims()
            },
            "the id of the assertion is empty, and an assertion must name it",
        ),
        (
            AssertionClaims {
                chain: Chain::new(vec![nameless]).unwrap(),
                ..claims()
            },
            "the user name of a workload is empty, and an assertion must name it",
        ),
        (
            AssertionClaims {
                ends: now(),
                ..claims()
            },
            "the sign-in, or the assertion that it is made from, has ended; sign in again",
        ),
    ] {
        assert_eq!(mint.sign(&broken, now()).unwrap_err().to_string(), text);
    }
    let unnamed = AssertionMint::new("", AssertionKey::of(&token_key()).unwrap());
    assert_eq!(
        unnamed.sign(&claims(), now()).unwrap_err(),
        AssertionMintError::Empty("gateway's URL")
    );
}

#[test]
fn refusals_of_assertions_say_what_to_do() {
    for (error, text) in [
        (
            AssertionError::TooLarge,
            "the assertion is longer than 4096 bytes, and the gateway makes none so long; forward it as it came",
        ),
        (
            AssertionError::Unreadable,
            "the assertion is no signed token that could be read in one way; forward it byte for byte as it came",
        ),
        (
            AssertionError::Type,
            "the token is no assertion of the gateway (`typ` is not `gatescribe-assertion+jwt`); forward the one that came with the call, and no token that signs in",
        ),
        (
            AssertionError::Algorithm,
            "the assertion is not signed with ES256, with which alone the gateway signs; forward it as it came",
        ),
        (
            AssertionError::UnknownKey,
            "the assertion is signed with a key that is none of the gateway's for assertions, or is none any more; use the one of a call of now",
        ),
        (
            AssertionError::Signature,
            "the assertion's signature is wrong: it was changed on its way, or forged; forward it byte for byte as it came",
        ),
        (
            AssertionError::Issuer,
            "the assertion is another gateway's (`iss`), and counts only there",
        ),
        (
            AssertionError::Audience {
                expected: "service:a".into(),
            },
            "the assertion is not for `service:a`, which presents it; a service forwards only what it was sent itself",
        ),
        (
            AssertionError::Expired,
            "the assertion has expired: it counts for two minutes at most; use the one of a call of now",
        ),
        (
            AssertionError::IssuedInFuture,
            "the assertion was issued in the future (`iat`); compare the clocks of the gateway's replicas",
        ),
        (
            AssertionError::Lifetime,
            "the assertion does not live as long as the gateway makes them live; use the one of a call of now",
        ),
        (
            AssertionError::Claim("sid".into()),
            "the assertion's claim `sid` is missing or is not as the gateway writes it; forward it as it came",
        ),
        (
            ChainFault::TooDeep.into(),
            "more than three workloads would act for one caller in a row; let a service that stands nearer to the caller make this call",
        ),
        (
            ChainFault::WorkloadTwice.into(),
            "the same workload would act twice for one caller; a call that comes round again is refused (services that call one another need an identity each)",
        ),
        (
            ChainFault::ServiceTwice(service("a")).into(),
            "the call comes round to the service `a`, through which it has come already; such a call is refused",
        ),
        (
            ChainFault::ForItself.into(),
            "a workload would act for itself through others; let it call as itself",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
