//! What a call of the API server's log asked for, in our own words: its address is read as the gateway would read it.

use model::request::{RequestFacts, Target, Wire};

use crate::ServerEvent;

/// Why an event's address says nothing that could be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// The gateway refuses such an address: it could be read in two ways.
    Target,
    /// The event's verb is not the one of its address.
    Verb,
}

/// The HTTP method of a call, which its event does not say. Of a resource the verb comes of the method; of another address it is
/// the method, in lower case.
#[must_use]
pub fn method_of(event: &ServerEvent) -> String {
    match event.verb.as_str() {
        "get" | "list" | "watch" | "proxy" => "GET".to_owned(),
        "create" => "POST".to_owned(),
        "update" => "PUT".to_owned(),
        "deletecollection" => "DELETE".to_owned(),
        other => other.to_ascii_uppercase(),
    }
}

/// The facts of the call.
///
/// # Errors
/// See [`Unclear`].
pub fn facts_of(event: &ServerEvent) -> Result<RequestFacts, Unclear> {
    let method = method_of(event);
    let target = Target::parse(event.uri.as_bytes()).map_err(|_| Unclear::Target)?;
    let wire = Wire {
        method: &method,
        wants_upgrade: false,
        impersonates: event.impersonated.is_some(),
    };
    let facts = RequestFacts::classify(&target, wire).map_err(|_| Unclear::Target)?;
    if facts.verb().as_str() == event.verb {
        Ok(facts)
    } else {
        Err(Unclear::Verb)
    }
}
