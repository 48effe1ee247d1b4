//! Entries for the fuzzer: the parser of untrusted bytes that stands before every signature check, and what reads an assertion
//! behind it.

use crate::Unverified;
use crate::claims::Claims;
use crate::encoding::object;
use crate::gateway::assertion::{Actor, MAX_ASSERTION_LIFETIME, MAX_DEPTH, Payload, read};

/// Reads any bytes as a token. Must not panic, and must not take long, whatever they are.
pub fn fuzz_jwt_preparse(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(token) = Unverified::parse(text)
    {
        // A parsed token has exactly one spelling.
        let _ = token.issuer();
    }
}

/// Reads any bytes as the payload of an assertion. Whatever is taken has a chain without a loop and a short life, and says the
/// same when it is written again.
pub fn fuzz_assertion(data: &[u8]) {
    let Ok(members) = object(data) else { return };
    let Ok((claims, issued_at)) = read(&Claims::new(members)) else {
        return;
    };
    let actors = claims.chain.actors();
    assert!(actors.len() <= MAX_DEPTH, "a chain is no longer than that");
    for (at, actor) in actors.iter().enumerate() {
        let comes_again = |other: &Actor| other.workload == actor.workload || other.service == actor.service;
        assert!(!actors.iter().skip(at + 1).any(comes_again), "no loop");
        assert!(
            actor.service != claims.audience && actor.workload != claims.identity.id,
            "nor back to where the call goes or comes from"
        );
    }
    assert!(claims.ends > issued_at && claims.ends <= issued_at.plus(MAX_ASSERTION_LIFETIME));
    let payload = Payload::new("", &claims, issued_at.unix_seconds(), claims.ends.unix_seconds());
    let written = serde_json::to_vec(&payload).unwrap_or_default();
    let again = object(&written)
        .ok()
        .and_then(|members| read(&Claims::new(members)).ok());
    assert_eq!(again, Some((claims, issued_at)), "one writing for one meaning");
}
