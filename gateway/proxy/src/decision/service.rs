//! May this caller do this at a published service, now? Facts and rules become a [`Permit`], or a refusal that says why.
//!
//! No cluster is asked and nothing is remembered: a service is decided on by access rules alone, and paths are of any number.
//! Every call is an effect (decision 0021).

use std::net::IpAddr;
use std::sync::Arc;

use access::decide::{Acting, ServiceAllowed, ServiceQuery, decide_service, decide_service_on_behalf};
use access::rule::{NamespaceLabels, RuleSet, ServiceCall, Services, Situation};
use model::decision::{Obligations, RuleRef};
use model::time::Timestamp;
use tokio::sync::watch;

use super::permit::{Effect, Outgoing, Permit};
use crate::audit::Trail;
use crate::chain::OnBehalf;
use crate::identity::{Authenticated, Identity};
use crate::refusal::Refusal;
use crate::session::Grounds;

/// The rules about services as they stand now. Immutable; a change is a new one with another version.
#[derive(Debug, Default)]
pub struct ServiceRules {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// What is published beside them.
    pub services: Arc<Services>,
    /// Digest over all of them, for records.
    pub digest: Arc<str>,
    /// Rises with each change.
    pub version: u64,
}

/// The circumstances of a call.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The client's address.
    pub source: Option<IpAddr>,
    /// Whether a reason was stated.
    pub reason_stated: bool,
    /// The point in time.
    pub now: Timestamp,
}

/// A yes before anything goes out, and what its record says.
#[derive(Debug)]
pub struct ServiceDecided {
    /// The rules that mattered.
    pub rules: Arc<[RuleRef]>,
    /// Digest of the policy.
    pub policy: Arc<str>,
    /// What a call that goes on rests on.
    pub grounds: Grounds,
    obligations: Obligations,
}

impl ServiceDecided {
    /// What is still owed.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The permit of a call that goes out with these headers of ours. It holds no longer than the rules say, nor than `proof_ends`.
    #[must_use]
    pub fn permit(&self, outgoing: Arc<Outgoing>, proof_ends: Timestamp) -> Permit<Effect> {
        let not_after = self.grounds.not_after.min(proof_ends);
        Permit::new(outgoing, self.obligations.clone(), not_after)
    }
}

/// Decides calls of services by the newest rules.
#[derive(Debug)]
pub struct ServiceStation {
    rules: watch::Receiver<Arc<ServiceRules>>,
    /// No labels of namespaces are known here: what a rule wants of them is not met.
    labels: NamespaceLabels,
}

impl ServiceStation {
    /// A station that decides by the newest of `rules`.
    #[must_use]
    pub fn new(rules: watch::Receiver<Arc<ServiceRules>>) -> Self {
        Self {
            rules,
            labels: NamespaceLabels::new(),
        }
    }

    /// The rules as they change, for whoever looks after calls that go on.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Arc<ServiceRules>> {
        self.rules.clone()
    }

    /// The version of the rules now.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.rules.borrow().version
    }

    /// Decides one call of `who`; of nobody who has not signed in.
    ///
    /// # Errors
    /// The refusal, with every rule that mattered. Who has not signed in learns of the rules only whether a sign-in could help.
    pub fn decide(
        &self,
        who: Option<&Authenticated>,
        call: &ServiceCall<'_>,
        moment: Moment,
    ) -> Result<ServiceDecided, Refusal> {
        self.judge(who.map(|who| who.identity().as_ref()), None, call, moment)
    }

    /// Decides one call that a workload makes for `person`.
    ///
    /// # Errors
    /// As [`ServiceStation::decide`].
    pub(crate) fn decide_on_behalf(
        &self,
        person: &Identity,
        on_behalf: &OnBehalf,
        call: &ServiceCall<'_>,
        moment: Moment,
    ) -> Result<ServiceDecided, Refusal> {
        self.judge(Some(person), Some(on_behalf), call, moment)
    }

    /// The same of a call under way, by what its trail says; `who` as they are named by now.
    ///
    /// # Errors
    /// As [`ServiceStation::decide`]; its trail says of no service.
    pub(crate) fn anew(
        &self,
        trail: &Trail,
        who: Option<&Identity>,
        now: Timestamp,
    ) -> Result<ServiceDecided, Refusal> {
        let (Some(called), Some(target)) = (&trail.service, &trail.target) else {
            return Err(Refusal::Internal);
        };
        let path = std::str::from_utf8(target.path()).map_err(|_| Refusal::Internal)?;
        let service = called.name.as_ref().ok_or(Refusal::NotPublished)?;
        let services = Arc::clone(&self.rules.borrow().services);
        let published = services.find(&called.host, path);
        let published = published.filter(|published| published.name() == service);
        let published = published.ok_or(Refusal::NotPublished)?;
        let call = published.call(&called.host, trail.method.as_str(), path);
        let moment = Moment {
            source: trail.peer.ip.parse().ok(),
            reason_stated: trail.stated_reason.is_some(),
            now,
        };
        let who = who.filter(|_| !called.is_public);
        self.judge(who, trail.on_behalf.as_deref(), &call, moment)
    }

    /// As [`ServiceStation::decide`].
    pub(crate) fn judge(
        &self,
        who: Option<&Identity>,
        on_behalf: Option<&OnBehalf>,
        call: &ServiceCall<'_>,
        moment: Moment,
    ) -> Result<ServiceDecided, Refusal> {
        let rules = Arc::clone(&self.rules.borrow());
        let situation = Situation {
            now: moment.now,
            source: moment.source,
            signed_in: who.and_then(Identity::auth_time),
            acr: who.and_then(Identity::acr),
            namespaces: &self.labels,
            reason_stated: moment.reason_stated,
            approved_by: &[],
        };
        let query = ServiceQuery {
            call,
            subject: who.map(Identity::subject),
            situation: &situation,
            rules: &rules.rules,
        };
        let decision = match on_behalf {
            None => decide_service(&query),
            Some(on_behalf) => decide_service_on_behalf(
                &query,
                &Acting {
                    workload: on_behalf.workload.subject(),
                    through: &on_behalf.through(),
                },
            ),
        };
        let ServiceAllowed {
            obligations,
            rules: mattered,
            not_after,
        } = match (decision.verdict, who) {
            (Ok(allowed), _) => allowed,
            // It may be allowed to somebody, and this is nobody yet.
            (Err(_), None) => return Err(Refusal::NoCredential),
            (Err(denied), Some(_)) => return Err(Refusal::Denied(Box::new(denied))),
        };
        Ok(ServiceDecided {
            rules: mattered.into(),
            policy: Arc::clone(&rules.digest),
            grounds: Grounds {
                version: rules.version,
                not_after,
                from_cluster: false,
                momentary: !decision.cacheable,
            },
            obligations,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use access::rule::{Rules, load_files};
    use model::decision::{Denial, Unmet};
    use model::service::{HostName, ServiceName};

    use super::*;
    use crate::identity::{Credential, for_bench, proved};

    const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn rules(specs: &[&str]) -> Arc<ServiceRules> {
        let rule = |(at, spec): (usize, &&str)| {
            format!("apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{name: r{at}}}\nspec: {spec}\n")
        };
        let text: Vec<_> = specs.iter().enumerate().map(rule).collect();
        let loaded = load_files([("rules.yaml", text.join("---\n").as_str())]);
        let rules: Rules = loaded.map(|policy| policy.rules).unwrap();
        Arc::new(ServiceRules {
            rules: Arc::new(RuleSet::new(rules)),
            services: Arc::default(),
            digest: "digest".into(),
            version: specs.len() as u64,
        })
    }

    fn asked(
        station: &ServiceStation,
        who: Option<&Authenticated>,
        path: &str,
        now: Timestamp,
    ) -> Result<ServiceDecided, Refusal> {
        let (service, host) = (ServiceName::new("web").unwrap(), HostName::new("web.example").unwrap());
        let call = ServiceCall {
            service: &service,
            namespace: "",
            labels: &std::collections::BTreeMap::default(),
            host: &host,
            method: "GET",
            path,
        };
        let moment = Moment {
            source: None,
            reason_stated: false,
            now,
        };
        station.decide(who, &call, moment)
    }

    fn denial(decided: Result<ServiceDecided, Refusal>) -> Option<Denial> {
        match decided {
            Err(Refusal::Denied(denied)) => Some(denied.denial),
            _ => None,
        }
    }

    const WEB: &str = "services: [{hosts: [web.example], methods: [GET], paths: ['/*']}]";

    #[test]
    fn who_has_not_signed_in_learns_that_a_sign_in_could_help_and_nothing_of_rules() {
        let (publish, watched) = watch::channel(rules(&[
            &format!("{{effect: allow, subjects: {{groups: [dev]}}, {WEB}}}"),
            "{effect: allow, subjects: {public: true}, services: [{hosts: [web.example], methods: [GET], paths: [/logo.png]}]}",
        ]));
        let station = ServiceStation::new(watched);
        assert!(matches!(asked(&station, None, "/", BEGIN), Err(Refusal::NoCredential)));
        let public = asked(&station, None, "/logo.png", BEGIN).unwrap();
        assert_eq!(public.rules.len(), 1);
        let outgoing = Arc::new(Outgoing::to_service(Vec::new()));
        let until = BEGIN.plus(Duration::from_secs(5));
        assert_eq!(
            public.permit(outgoing, until).not_after(),
            until,
            "no longer than its proof"
        );
        let al = proved(&for_bench("al", &["dev"], Credential::GatewayToken));
        let bo = proved(&for_bench("bo", &["ops"], Credential::GatewayToken));
        assert!(asked(&station, Some(&al), "/", BEGIN).is_ok());
        assert_eq!(denial(asked(&station, Some(&bo), "/", BEGIN)), Some(Denial::NoRule));
        // A change counts for the next call.
        let forbid = format!("{{effect: forbid, subjects: {{groups: ['*']}}, {WEB}}}");
        publish.send(rules(&[&forbid])).unwrap();
        assert_eq!(station.version(), 1);
        assert_eq!(denial(asked(&station, Some(&al), "/", BEGIN)), Some(Denial::Forbidden));
        assert!(matches!(
            asked(&station, None, "/logo.png", BEGIN),
            Err(Refusal::NoCredential)
        ));
    }

    #[test]
    fn what_a_rule_demands_is_demanded_and_an_end_of_a_rule_ends_the_permit() {
        let until = BEGIN.plus(Duration::from_secs(60));
        let (_, watched) = watch::channel(rules(&[&format!(
            "{{effect: allow, subjects: {{groups: [dev]}}, until: '{until}', obligations: {{reason: true}}, {WEB}}}"
        )]));
        let station = ServiceStation::new(watched);
        let al = proved(&for_bench("al", &["dev"], Credential::GatewayToken));
        assert_eq!(
            denial(asked(&station, Some(&al), "/", BEGIN)),
            Some(Denial::Obligation(Unmet::Reason))
        );
        assert_eq!(
            denial(asked(&station, Some(&al), "/", until)),
            Some(Denial::NoRule),
            "it has ended"
        );
    }
}
