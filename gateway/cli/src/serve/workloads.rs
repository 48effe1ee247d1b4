//! Workloads that act for people: whose account a token is, which service it is, and what the rules let it do.
//!
//! What an exchange gives is used past the gateway, so it has leave for all calls of the service at once, on each of its hosts, and
//! never where something would have to be watched.

use std::net::IpAddr;
use std::sync::Arc;

use access::decide::{Acting, ServiceQuery, decide_service_on_behalf};
use access::rule::{NamespaceLabels, Published, Situation};
use console::{ActsFor, Leave, NoLeave, NotProved, Workloads};
use futures::future::BoxFuture;
use model::decision::{Denied, Obligations};
use model::service::ServiceName;
use model::subject::Subject;
use model::time::Timestamp;
use oidc::Unverified;
use proxy::clock::Clock;
use proxy::decision::ServiceRules;
use proxy::identity::Station;
use proxy::refusal::Refusal;
use tokio::sync::watch;

/// Proves workloads by the clusters' word, and asks the rules about services as they are in force.
pub(super) struct ServiceWorkloads {
    identity: Arc<Station>,
    rules: watch::Receiver<Arc<ServiceRules>>,
    clock: Clock,
}

impl ServiceWorkloads {
    pub(super) fn new(identity: &Arc<Station>, rules: watch::Receiver<Arc<ServiceRules>>, clock: &Clock) -> Self {
        Self {
            identity: Arc::clone(identity),
            rules,
            clock: clock.clone(),
        }
    }

    /// The one cluster whose accounts are believed.
    fn only(&self) -> Option<&str> {
        let mut clusters = self.identity.clusters_of_accounts();
        match (clusters.next(), clusters.next()) {
            (Some(one), None) => Some(one.as_str()),
            _ => None,
        }
    }

    fn locked(&self, acts: &ActsFor<'_>) -> Option<String> {
        // A name that nobody can have is no one's who was proved.
        let before = acts
            .chain
            .actors()
            .iter()
            .filter_map(|actor| proxy::chain::named(actor).ok());
        let all = [acts.person.clone(), acts.workload.clone()].into_iter().chain(before);
        let mut locks = all.filter_map(|somebody| self.identity.lock_over(&somebody, acts.now));
        locks.next().map(|lock| lock.in_words())
    }
}

impl Workloads for ServiceWorkloads {
    fn prove<'a>(&'a self, token: &'a str, from: Option<IpAddr>) -> BoxFuture<'a, Result<Subject, NotProved>> {
        Box::pin(async move {
            let refused = |why: String| NotProved::Refused(why);
            let unverified = Unverified::parse(token).map_err(|error| refused(error.to_string()))?;
            let cluster = self.identity.whose_account(&unverified);
            let cluster = cluster.map_err(|error| refused(error.to_string()))?;
            let from = from.ok_or_else(|| NotProved::Unknown("nobody knows from where it comes".to_owned()))?;
            let now = self.clock.read().wall;
            match self.identity.account(cluster, token, from, now).await {
                Ok(identity) => Ok(identity.subject().clone()),
                Err(Refusal::CannotVerify(why)) => Err(NotProved::Unknown(why)),
                Err(refusal) => Err(NotProved::Refused(refusal.in_words())),
            }
        })
    }

    fn is_service(&self, workload: &Subject, service: &ServiceName) -> bool {
        let rules = Arc::clone(&self.rules.borrow());
        let published = rules.services.named(service.as_str());
        published.is_some_and(|published| published.runs_as(workload, self.only()))
    }

    fn leave(&self, acts: &ActsFor<'_>) -> Result<Leave, NoLeave> {
        if let Some(lock) = self.locked(acts) {
            return Err(NoLeave::Locked(lock));
        }
        let rules = Arc::clone(&self.rules.borrow());
        leave(&rules, acts)
    }
}

fn leave(rules: &ServiceRules, acts: &ActsFor<'_>) -> Result<Leave, NoLeave> {
    let published = rules.services.named(acts.to.as_str()).ok_or(NoLeave::NoService)?;
    let labels = NamespaceLabels::new();
    let situation = Situation {
        now: acts.now,
        source: acts.from,
        signed_in: acts.signed_in,
        acr: acts.acr,
        namespaces: &labels,
        reason_stated: acts.reason_stated,
        approved_by: &[],
    };
    let through: Vec<&str> = acts
        .chain
        .actors()
        .iter()
        .skip(1)
        .map(|actor| actor.username.as_str())
        .collect();
    let acting = Acting {
        workload: acts.workload,
        through: &through,
    };
    let mut leave = Leave {
        until: Timestamp::MAX,
        rules: Vec::new(),
    };
    let below = published.path();
    for host in published.hosts() {
        let query = ServiceQuery {
            call: &published.call(host, "", &below).any(),
            subject: Some(acts.person),
            situation: &situation,
            rules: &rules.rules,
        };
        let allowed = decide_service_on_behalf(&query, &acting)
            .verdict
            .map_err(|denied| refused(published, denied))?;
        if is_watched(&allowed.obligations) {
            let why = "a rule demands that sessions of this service be recorded or end in time, and no call made with an exchanged assertion passes the gateway; call it through the gateway";
            return Err(NoLeave::Denied("obligation", why.to_owned()));
        }
        leave.until = leave.until.min(allowed.not_after);
        for rule in allowed.rules.iter().map(ToString::to_string) {
            if !leave.rules.contains(&rule) {
                leave.rules.push(rule);
            }
        }
    }
    Ok(leave)
}

fn refused(published: &Published, denied: Denied) -> NoLeave {
    let rules: Vec<String> = denied.rules.iter().map(ToString::to_string).collect();
    let refusal = Refusal::Denied(Box::new(denied));
    let by = if rules.is_empty() {
        String::new()
    } else {
        format!(" ({})", rules.join(", "))
    };
    let words = format!(
        "not all calls of service `{}` are allowed, as they must be where none passes the gateway: {}{by}",
        published.name(),
        refusal.in_words()
    );
    NoLeave::Denied(refusal.kind().as_str(), words)
}

/// Whether something would have to be watched while calls go on.
const fn is_watched(owed: &Obligations) -> bool {
    owed.record || owed.idle_seconds.is_some() || owed.longest_seconds.is_some()
}

#[cfg(test)]
mod tests {
    use access::rule::{RuleSet, load_files};
    use model::subject::{SubjectId, SubjectKind, SubjectParts};
    use oidc::gateway::assertion::{Actor, Chain};

    use super::*;

    fn rules(more: &str) -> ServiceRules {
        let text = format!(
            "apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{name: stock}}
spec: {{hosts: [stock.example, items.example], path: /v1, upstream: {{url: 'http://stock.shop.svc'}}, workloads: [shop/stock]}}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{name: buyers}}
spec:
  effect: allow
  subjects: {{groups: [buyers]}}
  services: [{{hosts: ['*.example'], methods: ['*'], paths: ['/*']}}]
{more}"
        );
        let policy = load_files([("rules.yaml", text.as_str())]).unwrap();
        ServiceRules {
            rules: Arc::new(RuleSet::new(policy.rules)),
            services: Arc::new(policy.services),
            digest: "".into(),
            version: 1,
        }
    }

    fn rule(name: &str, effect: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{name: {name}}}\nspec:\n  effect: {effect}\n  {spec}\n"
        )
    }

    fn acts_for(hosts: &str, more: &str) -> String {
        let spec = format!(
            "subjects: {{workloads: [shop/cart]}}\n  onBehalfOf: {{groups: [buyers]}}\n  services: [{{hosts: [{hosts}], methods: ['*'], paths: ['/v1/*']}}]{more}"
        );
        rule("cart", "allow", &spec)
    }

    fn subject(kind: SubjectKind, number: u8, username: &str, groups: &[&str]) -> Subject {
        Subject::new(SubjectParts {
            id: SubjectId::from_digest([number; 16]),
            kind,
            issuer: "cluster:prod".to_owned(),
            subject: username.to_owned(),
            username: username.to_owned(),
            uid: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: Default::default(),
            email: None,
        })
        .unwrap()
    }

    fn asked(rules: &ServiceRules, to: &str) -> Result<Leave, NoLeave> {
        let cart = subject(SubjectKind::ServiceAccount, 2, "system:serviceaccount:shop:cart", &[]);
        let actor = |workload: &Subject, service: &str| Actor {
            workload: workload.id().clone(),
            username: workload.username().to_owned(),
            service: ServiceName::new(service).unwrap(),
        };
        let front = subject(SubjectKind::ServiceAccount, 3, "system:serviceaccount:shop:front", &[]);
        let chain = Chain::new(vec![actor(&cart, "cart"), actor(&front, "front")]).unwrap();
        leave(
            rules,
            &ActsFor {
                person: &subject(SubjectKind::Person, 1, "alice", &["buyers"]),
                workload: &cart,
                chain: &chain,
                to: &ServiceName::new(to).unwrap(),
                from: None,
                signed_in: None,
                acr: None,
                reason_stated: false,
                now: Timestamp::from_unix_seconds(1_000),
            },
        )
    }

    fn reason(told: Result<Leave, NoLeave>) -> &'static str {
        match told.unwrap_err() {
            NoLeave::NoService => "noService",
            NoLeave::Locked(_) => "locked",
            NoLeave::Denied(reason, _) => reason,
        }
    }

    #[test]
    fn leave_for_a_service_is_leave_for_all_its_calls_on_each_of_its_hosts() {
        let both = acts_for("stock.example, items.example", "");
        let given = asked(&rules(&both), "stock").unwrap();
        assert_eq!(given.until, Timestamp::MAX);
        assert_eq!(given.rules, ["AccessRule buyers", "AccessRule cart"]);
        assert_eq!(reason(asked(&rules(&both), "other")), "noService");
        assert_eq!(reason(asked(&rules(""), "stock")), "noOnBehalfOf");
        assert_eq!(
            reason(asked(&rules(&acts_for("stock.example", "")), "stock")),
            "noOnBehalfOf"
        );
        let ends = acts_for("stock.example, items.example", "\n  until: '1970-01-01T00:20:00Z'");
        let given = asked(&rules(&ends), "stock").unwrap();
        assert_eq!(given.until, Timestamp::from_unix_seconds(1_200));
        // What is forbidden to whoever called the cart counts, on any host and any path of the service.
        let forbid = "subjects: {workloads: [shop/front]}\n  services: [{hosts: [items.example], methods: [GET], paths: ['/v1/secret']}]";
        let told = asked(&rules(&format!("{both}{}", rule("no", "forbid", forbid))), "stock");
        assert_eq!(
            told.clone().unwrap_err().to_string(),
            "not all calls of service `stock` are allowed, as they must be where none passes the gateway: a rule forbids it \
             (AccessRule no, AccessRule buyers, AccessRule cart)"
        );
        assert_eq!(reason(told), "forbidden");
        let watched = acts_for("stock.example, items.example", "\n  obligations: {longest: 10m}");
        assert_eq!(reason(asked(&rules(&watched), "stock")), "obligation");
        let reasoned = acts_for("stock.example, items.example", "\n  obligations: {reason: true}");
        assert_eq!(reason(asked(&rules(&reasoned), "stock")), "obligation");
    }
}
