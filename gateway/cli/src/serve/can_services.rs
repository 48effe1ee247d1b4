//! `can` of a published service: the question is read as a request is, and answered by the evaluator and the rules that decide requests.

use access::decide::{ServiceQuery, decide_service};
use access::rule::{NamespaceLabels, Situation};
use console::api::{AskedService, Asking, CanAnswer, CannotExplain};
use model::request::Target;
use model::service::HostName;
use model::subject::Subject;
use model::time::Timestamp;
use proxy::decision::ServiceRules;
use proxy::refusal::Refusal;

/// What would be decided if `subject` did this at `now`, or somebody who has not signed in, where that is asked.
///
/// # Errors
/// No request can be so.
pub(super) fn judge(
    rules: &ServiceRules,
    (asking, subject): (&Asking, &Subject),
    asked: &AskedService,
    now: Timestamp,
) -> Result<CanAnswer, CannotExplain> {
    let host = HostName::new(&asked.host.to_ascii_lowercase());
    let host = host.map_err(|error| CannotExplain::Question(error.to_string()))?;
    if http::Method::from_bytes(asked.method.as_bytes()).is_err() {
        let method: String = asked.method.chars().take(64).collect();
        return Err(CannotExplain::Question(format!("`{method}` is no HTTP method")));
    }
    let target = Target::of_service(asked.path.as_bytes());
    let target = target.map_err(|error| CannotExplain::Question(format!("no request can have this path: {error}")))?;
    let path = String::from_utf8_lossy(target.path());
    let policy = rules.digest.to_string();
    let Some(service) = rules.services.find(&host, &path) else {
        let refusal = if rules.services.has_host(&host) {
            Refusal::NotPublished
        } else {
            Refusal::UnknownHost
        };
        return Ok(no(&refusal, policy));
    };
    let call = service.call(&host, &asked.method, &path);
    let who = Some(asking).filter(|_| !asked.public);
    let situation = Situation {
        now,
        source: asking.peer.as_ref().map(|peer| peer.ip),
        signed_in: who.and_then(|asking| asking.who.auth_time.map(Timestamp::from_unix_seconds)),
        acr: who.and_then(|asking| asking.who.acr.as_deref()),
        // As for requests: no labels are known of services.
        namespaces: &NamespaceLabels::new(),
        reason_stated: false,
        approved_by: &[],
    };
    let decision = decide_service(&ServiceQuery {
        call: &call,
        subject: who.map(|_| subject),
        situation: &situation,
        rules: &rules.rules,
    });
    Ok(match decision.verdict {
        Ok(allowed) => CanAnswer {
            allowed: true,
            rules: allowed.rules,
            policy,
            ..CanAnswer::default()
        },
        Err(denied) if who.is_some() => {
            let rules = denied.rules.clone();
            CanAnswer {
                rules,
                ..no(&Refusal::Denied(Box::new(denied)), policy)
            }
        }
        // As who has not signed in is told: nothing of rules.
        Err(_) => CanAnswer {
            words: vec!["who has not signed in is not let in".to_owned()],
            ..no(&Refusal::NoCredential, policy)
        },
    })
}

fn no(refusal: &Refusal, policy: String) -> CanAnswer {
    CanAnswer {
        allowed: false,
        reason: Some(refusal.code().to_owned()),
        words: vec![refusal.in_words()],
        policy,
        ..CanAnswer::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use access::rule::{RuleSet, load_files};
    use console::{Peer, Who};
    use model::subject::SubjectId;
    use state::{Identity, SessionId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_000_000);

    fn rules() -> ServiceRules {
        let text = r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: { name: web }
spec: { hosts: [web.example], path: /app, upstream: { url: 'http://web.internal:8080' } }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: developers }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: [web.example], methods: [GET, POST], paths: ['/app/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: pictures }
spec:
  effect: allow
  subjects: { public: true }
  services: [{ hosts: [web.example], methods: [GET], paths: ['/app/pictures/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-admin }
spec:
  effect: forbid
  subjects: { groups: ['*'] }
  services: [{ hosts: [web.example], methods: ['*'], paths: ['/app/admin/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: at-the-desk }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: [web.example], methods: [PUT], paths: ['/app/*'] }]
  when: cidr('10.0.0.0/8').containsIP(source.ip)
  obligations: { stepUp: { maxAge: 5m } }
";
        let policy = load_files([("rules.yaml", text)]).unwrap();
        ServiceRules {
            rules: Arc::new(RuleSet::new(policy.rules)),
            services: Arc::new(policy.services),
            digest: "sha256:7".into(),
            version: 1,
        }
    }

    fn asking(groups: &[&str], ip: &str) -> Asking {
        Asking {
            session: SessionId::parse(&"5e".repeat(16)).unwrap(),
            who: Who {
                subject_id: SubjectId::from_digest([1; 16]),
                identity: Identity {
                    issuer: "https://idp.example".to_owned(),
                    subject: "u-17".to_owned(),
                    username: "alice".to_owned(),
                    uid: None,
                    groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                    extra: std::collections::BTreeMap::new(),
                    email: None,
                },
                auth_time: Some(1_795_000_000 - 60),
                acr: None,
            },
            peer: Some(Peer {
                ip: ip.parse().unwrap(),
                port: 1,
                listener: "l".to_owned(),
            }),
        }
    }

    fn asked(
        asking: &Asking,
        now: Timestamp,
        (method, url): (&str, &str),
        public: bool,
    ) -> Result<CanAnswer, CannotExplain> {
        let (host, path) = url.split_at(url.find('/').unwrap());
        let subject = super::super::api::subject(&asking.who).unwrap();
        let question = AskedService {
            host: host.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            public,
        };
        judge(&rules(), (asking, &subject), &question, now)
    }

    fn told(answer: Result<CanAnswer, CannotExplain>) -> (bool, String, Vec<String>) {
        let answer = answer.unwrap();
        assert_eq!(answer.policy, "sha256:7");
        let names = answer.rules.iter().map(|rule| rule.name.to_string()).collect();
        (answer.allowed, answer.reason.unwrap_or_default(), names)
    }

    #[test]
    fn what_a_request_would_be_told_is_told_with_its_rules() {
        let alice = asking(&["dev"], "10.1.2.3");
        let is = |what| told(asked(&alice, NOW, what, false));
        let of = |allowed, reason: &str, rules: &[&str]| {
            (
                allowed,
                reason.to_owned(),
                rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(is(("GET", "web.example/app/x")), of(true, "", &["developers"]));
        assert_eq!(is(("HEAD", "WEB.example/app/x?y=1")), of(true, "", &["developers"]));
        assert_eq!(
            is(("GET", "web.example/app/b%C3%BCcher")),
            of(true, "", &["developers"])
        );
        assert_eq!(is(("DELETE", "web.example/app/x")), of(false, "noRule", &[]));
        assert_eq!(
            is(("GET", "web.example/app/ADMIN/")),
            of(false, "forbidden", &["no-admin", "developers"])
        );
        assert_eq!(is(("GET", "web.example/other")), of(false, "notPublished", &[]));
        assert_eq!(is(("GET", "nothing.example/app/x")), of(false, "unknownHost", &[]));
        assert_eq!(
            told(asked(
                &asking(&["ops"], "10.1.2.3"),
                NOW,
                ("GET", "web.example/app/x"),
                false
            ))
            .1,
            "noRule"
        );
    }

    #[test]
    fn where_from_and_how_long_ago_the_sign_in_was_count_as_for_a_request() {
        let put = ("PUT", "web.example/app/x");
        let later = Timestamp::from_unix_seconds(1_795_000_000 + 3_600);
        let said = |ip, now| told(asked(&asking(&["dev"], ip), now, put, false));
        assert!(said("10.1.2.3", NOW).0);
        assert_eq!(said("192.0.2.1", NOW).1, "noRule");
        assert_eq!(said("10.1.2.3", later).1, "obligation");
    }

    #[test]
    fn of_the_public_a_rule_is_told_where_it_lets_them_in_and_nothing_where_not() {
        let alice = asking(&["dev"], "10.1.2.3");
        let public = |url| asked(&alice, NOW, ("GET", url), true);
        assert_eq!(told(public("web.example/app/pictures/a")).2, ["pictures"]);
        for url in ["web.example/app/x", "web.example/app/admin/x"] {
            let answer = public(url).unwrap();
            assert_eq!(answer.words, ["who has not signed in is not let in"]);
            assert_eq!(
                (answer.allowed, answer.rules.len(), answer.reason.as_deref()),
                (false, 0, Some("noCredential"))
            );
        }
    }

    #[test]
    fn what_no_request_can_be_is_said_to_be_none() {
        let alice = asking(&["dev"], "10.1.2.3");
        for (method, url) in [
            ("GET", "web.example/app/../admin"),
            ("GET", "web.example/app/%2e%2e/admin"),
            ("GET", "web.example/app//x"),
            ("GET", "web.example/app/a b"),
            ("G T", "web.example/app/x"),
            ("GET", "127.0.0.1/app/x"),
            ("GET", "web.example:443/app/x"),
        ] {
            let answer = asked(&alice, NOW, (method, url), false);
            assert!(
                matches!(answer, Err(CannotExplain::Question(_))),
                "{method} {url}: {answer:?}"
            );
        }
    }
}
