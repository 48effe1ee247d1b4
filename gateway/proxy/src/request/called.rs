//! One row of stations for calls of services, wherever they pass: here, or past us by an ingress that asks about each.
//!
//! ```text
//! target ─► service ─► identity or public ─► budget ─► page ─► chain ─► decision ─► obligations
//! ```
//!
//! What follows differs: a call is recorded as an intent and sent, an answer to an ingress is recorded and given.
//!
//! Invariant: nothing that is refused to a call that passes here is let pass at an ingress.

use std::net::IpAddr;
use std::sync::Arc;

use access::rule::Published;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use model::decision::Unmet;
use model::request::Target;
use model::service::HostName;
use model::time::Timestamp;

use super::service::{arrival_of, is_of_browser, path};
use super::upgrade::refused_as_unrecorded;
use super::{Gate, Stop, no_new_ones, unshared};
use crate::audit::{CalledService, Place, Trail};
use crate::decision::ServiceDecided;
use crate::identity::{AtService, Audience, Authenticated};
use crate::listener::{Conn, Upgrade, check_method};
use crate::refusal::Refusal;
use crate::services::ServiceGate;
use crate::sign_in_first::Asker;
use crate::site::OWN_PATHS;

/// What is asked of a service.
pub(super) struct Asked<'a> {
    pub(super) host: HostName,
    pub(super) method: Method,
    /// Path and query, as they came.
    pub(super) target: &'a [u8],
    pub(super) upgrade: Option<Upgrade>,
    pub(super) came: Came<'a>,
}

/// Where a call came to.
#[derive(Clone, Copy)]
pub(super) enum Came<'a> {
    /// To us, by this connection.
    Here(&'a Conn),
    /// To an ingress, from this address, which asks by this connection.
    ToIngress(&'a Conn, IpAddr),
}

impl<'a> Came<'a> {
    const fn conn(self) -> &'a Conn {
        match self {
            Self::Here(conn) | Self::ToIngress(conn, _) => conn,
        }
    }
}

/// What is published at the path of a call.
pub(super) enum Found {
    /// Reached from here.
    Here(Arc<ServiceGate>),
    /// An ingress forwards there.
    BehindIngress(Box<Published>),
}

impl Found {
    pub(super) fn published(&self) -> &Published {
        match self {
            Self::Here(gate) => &gate.published,
            Self::BehindIngress(published) => published,
        }
    }
}

/// A call that may be made, once it is recorded.
pub(super) struct Passed {
    pub(super) found: Found,
    pub(super) who: Option<Authenticated>,
    pub(super) target: Target,
    pub(super) decided: ServiceDecided,
    pub(super) place: Place,
}

impl Gate {
    /// From what is asked to a yes, station by station.
    ///
    /// # Errors
    /// The first station that refuses; the trail says as much as was known there.
    pub(super) async fn passed(
        &self,
        asked: Asked<'_>,
        headers: &mut HeaderMap,
        trail: &mut Arc<Trail>,
    ) -> Result<Passed, Stop> {
        let (found, target) = self.called(&asked, headers, unshared(trail)?)?;
        let who = self.proved_at_service(asked.came, headers, trail).await?;
        let early = match &who {
            Some(who) => Some(self.within_budgets(who, trail)?),
            None => None,
        };
        no_new_ones(asked.came.conn())?;
        // What stands at a path only somebody who is known is told.
        let found = found.ok_or(if who.is_some() {
            Refusal::NotPublished
        } else {
            Refusal::NoCredential
        })?;
        if who.as_ref().is_some_and(is_of_browser) {
            self.is_asked_by_own_page(&asked.host, &asked.method, headers, asked.upgrade)?;
        }
        self.on_behalf(who.as_ref(), headers, trail).await?;
        let decided = self.decided(found.published(), who.as_ref(), &target, trail)?;
        let place = match early {
            Some(place) => place,
            None => self.place_of_public(trail)?,
        };
        trail.passed_decision(self.audit.clock().mono());
        owes_nothing(&decided, trail)?;
        if matches!(asked.came, Came::ToIngress(..)) && goes_on(asked.upgrade, headers) {
            ends_by_itself(&decided)?;
        }
        Ok(Passed {
            found,
            who,
            target,
            decided,
            place,
        })
    }

    /// What is addressed; none where no service stands at the path, or not for calls that come this way.
    fn called(
        &self,
        asked: &Asked<'_>,
        headers: &HeaderMap,
        trail: &mut Trail,
    ) -> Result<(Option<Found>, Target), Refusal> {
        trail.service = Some(CalledService {
            host: asked.host.clone(),
            name: None,
            is_public: false,
            asker: Asker::of(&asked.method, headers, asked.upgrade),
            arrival: arrival_of(headers, self.services.is_secure()),
        });
        trail.counted_in(self.observed.services());
        // The listener has looked at it where the call came here; an ingress tells what it will.
        check_method(asked.method.as_str().as_bytes()).map_err(Refusal::Malformed)?;
        let target = Target::of_service(asked.target).map_err(Refusal::Target)?;
        trail.target = Some(target.clone());
        let (table, path) = (self.services.now(), path(&target)?);
        let found = match asked.came {
            _ if is_own(path) => None,
            Came::Here(_) => table.find(&asked.host, path).cloned().map(Found::Here),
            Came::ToIngress(..) => {
                let published = table.judged(&asked.host, path).cloned();
                published.map(|published| Found::BehindIngress(Box::new(published)))
            }
        };
        if let Some(called) = &mut trail.service {
            called.name = found.as_ref().map(|found| found.published().name().clone());
        }
        Ok((found, target))
    }

    /// Who called; none where nobody has signed in, or whose cookie counts no longer.
    async fn proved_at_service(
        &self,
        came: Came<'_>,
        headers: &mut HeaderMap,
        trail: &mut Arc<Trail>,
    ) -> Result<Option<Authenticated>, Stop> {
        let Some(called) = trail.service.clone() else {
            return Err(Refusal::Internal.into());
        };
        let at = AtService {
            host: &called.host,
            name: called.name.as_ref(),
            secure: self.services.is_secure(),
        };
        let (station, received) = (&self.identity, trail.received);
        let proved = match came {
            Came::Here(conn) => {
                let audience = Audience::Service(at);
                station.authenticate(conn, audience, headers, received).await
            }
            Came::ToIngress(_, from) => station.authenticate_told(at, headers, from, received.wall).await,
        };
        let who = match proved {
            Ok(who) => who,
            Err(unproved) if matches!(unproved.refusal, Refusal::NoCredential) => return Ok(None),
            Err(unproved) if unproved.is_stale_cookie() => {
                unshared(trail)?.presented = Some((unproved.credential, None));
                return Ok(None);
            }
            Err(unproved) => return Err(self.turned_back(unproved, unshared(trail)?)),
        };
        let known = unshared(trail)?;
        known.identity = Some(Arc::clone(who.identity()));
        known.stated_reason = who.identity().stated_reason(received.wall).cloned();
        known.links_to(headers);
        trail.passed_identity(self.audit.clock().mono());
        Ok(Some(who))
    }
}

/// Whether a decoded path is one of ours in the eyes of some server: in any case of letters, and without the slash behind it. A yes to it at an
/// ingress would lead to whatever stands there.
fn is_own(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    let own = OWN_PATHS.trim_matches('/');
    segments.next().is_some_and(|first| first.eq_ignore_ascii_case(own))
}

/// Of no call of a service there is a recording.
fn owes_nothing(decided: &ServiceDecided, trail: &Trail) -> Result<(), Refusal> {
    if decided.obligations().record {
        return Err(refused_as_unrecorded(trail, Unmet::Recording));
    }
    Ok(())
}

/// Whether it may go on for as long as it likes: a switch of protocols, or an `EventSource`, which asks for its events by name (HTML Standard
/// §9.2).
fn goes_on(upgrade: Option<Upgrade>, headers: &HeaderMap) -> bool {
    let is_events = |line: &HeaderValue| {
        let kinds = line.as_bytes().split(|byte| *byte == b',');
        let mut essences = kinds.filter_map(|kind| kind.split(|byte| *byte == b';').next());
        essences.any(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    };
    upgrade.is_some() || headers.get_all(ACCEPT).iter().any(is_events)
}

/// What goes on behind an ingress nobody here ends: no rule may promise that somebody does.
fn ends_by_itself(decided: &ServiceDecided) -> Result<(), Refusal> {
    let owed = decided.obligations();
    let is_endless = decided.grounds.not_after == Timestamp::MAX;
    if is_endless && owed.longest_seconds.is_none() && owed.idle_seconds.is_none() {
        return Ok(());
    }
    Err(Refusal::Ended(
        "a rule limits how long this goes on, and behind this ingress nobody would end it".to_owned(),
    ))
}

#[cfg(test)]
mod tests;
