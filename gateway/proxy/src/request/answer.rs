//! What becomes of the cluster's answer: its head is ours where only we may speak, and its body has the duty to write the end of
//! its request.

use std::time::Duration;

use http::header::WARNING;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use model::request::Verb;
use model::time::Timestamp;

use super::{Duties, Stop};
use crate::audit::{self, End, Trail};
use crate::body::{Ender, Outbound, Uplink};
use crate::decision::Permitted;
use crate::headers::{self, ResponseKind};
use crate::own_rights;
use crate::refusal::Refusal;
use crate::session::Grounds;
use crate::upstream::{self, UpstreamBody};

/// Whoever calls is told what the gateway's own operator has chosen.
const UNRECORDED: &str =
    "the gateway cannot record this call now and lets it pass, as its operator has chosen; it counts it";

/// A call that goes on is told the end of its sign-in where that is no further away.
const NAMED_WITHIN: Duration = Duration::from_hours(1);

/// Hands the cluster's answer on, with the duties that end with it.
pub(super) fn deliver(
    response: Response<UpstreamBody<Uplink>>,
    mut end: End,
    duties: Duties,
    trail: &Trail,
) -> Result<Response<Outbound>, Stop> {
    note_connection(&response, &mut end);
    end.answered(response.status().as_u16());
    if response.status() == StatusCode::UNAUTHORIZED {
        let refusal = Refusal::GatewayCredential;
        end.settle_instead(
            refusal.status().as_u16(),
            "the cluster did not accept the gateway's own credential",
        );
        return Err(Stop::Ended(refusal));
    }
    let (mut parts, body) = response.into_parts();
    if let Some(want) = trail.wants(parts.status) {
        end.scans(audit::Scan::new(&parts.headers, want));
    }
    end.keeps_answer(parts.status, &parts.headers);
    let is_watch = trail.facts.as_ref().is_some_and(|facts| *facts.verb() == Verb::Watch);
    if let Some(call) = &duties.call {
        duties.taking.ends_by(call.ending());
    }
    let ender = duties.call.map(|call| match parts.status {
        StatusCode::OK if is_watch => Ender::of_watch(call, &parts.headers),
        _ => Ender::new(call),
    });
    headers::strip_response(&mut parts.headers, ResponseKind::Kubernetes);
    if own_audit_id(&mut parts.headers, trail) {
        end.audit_id_differs();
    }
    if let Some(text) = trail.is_unrecorded().then(|| own_rights::warning(UNRECORDED)).flatten() {
        parts.headers.append(WARNING, text);
    }
    if let Some(text) = duties.warning {
        parts.headers.append(WARNING, text);
    }
    let body = Outbound::cluster(body, end, Some(duties.place), ender, duties.taking);
    Ok(Response::from_parts(parts, body))
}

/// When a call that goes on will end by the rules that allow it.
pub(super) fn end_by_rules(permit: &Permitted, grounds: Grounds, now: Timestamp) -> Timestamp {
    let longest = permit.obligations().longest_seconds;
    let longest = longest.map(|seconds| now.plus(Duration::from_secs(seconds)));
    grounds.not_after.min(longest.unwrap_or(Timestamp::MAX))
}

/// Names the end of a call that goes on, where it is known at its beginning; kubectl prints it. A sign-in always has an end:
/// it is named when it is near.
pub(super) fn end_warning(rules_end: Timestamp, proof_ends: Timestamp, now: Timestamp) -> Option<HeaderValue> {
    let near = now.plus(NAMED_WITHIN);
    let words = if proof_ends < rules_end && proof_ends < near {
        format!("your sign-in ends at {proof_ends}, and this with it")
    } else if rules_end < Timestamp::MAX {
        format!("the rules that allow this end it at {rules_end}")
    } else {
        return None;
    };
    own_rights::warning(&words)
}

/// By which connection the answer came, for the record.
pub(super) fn note_connection<B>(response: &Response<B>, end: &mut End) {
    if let Some(facts) = response.extensions().get::<upstream::Facts>() {
        end.asked(
            facts.peer.to_string().into(),
            facts.local.port(),
            facts.resends.saturating_add(1),
        );
    }
}

/// The answer names our record. True when the cluster gave another name.
pub(super) fn own_audit_id(headers: &mut HeaderMap, trail: &Trail) -> bool {
    let Ok(ours) = HeaderValue::from_str(trail.id.as_str()) else {
        return false;
    };
    if trail.is_unrecorded() {
        headers.remove(&headers::RECORD);
    } else {
        headers.insert(&headers::RECORD, ours.clone());
    }
    let before = headers.insert("audit-id", ours.clone());
    before.is_some_and(|theirs| theirs != ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_end_that_is_known_is_named_and_a_sign_in_s_only_where_it_is_near() {
        let now = Timestamp::EPOCH.plus(Duration::from_secs(1_000_000));
        let at = |minutes| now.plus(Duration::from_mins(minutes));
        let said = |rules, proof| {
            let value = end_warning(rules, proof, now)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let never = Timestamp::MAX;
        assert_eq!(said(never, never), None);
        assert_eq!(
            said(never, at(61)),
            None,
            "nobody is told in the morning when the day ends"
        );
        for (rules, proof, words) in [
            (
                never,
                at(59),
                format!("your sign-in ends at {}, and this with it", at(59)),
            ),
            (
                at(90),
                at(59),
                format!("your sign-in ends at {}, and this with it", at(59)),
            ),
            (
                at(58),
                at(59),
                format!("the rules that allow this end it at {}", at(58)),
            ),
            (
                at(600),
                at(90),
                format!("the rules that allow this end it at {}", at(600)),
            ),
        ] {
            let told = said(rules, proof).unwrap();
            assert!(told.starts_with("299 ") && told.contains(&words), "{told}");
        }
    }
}
