//! How much of a call stands in its records: the audit policy's verdict on the person who calls, not on the gateway's account.
//!
//! Judged once for each request, when its first record is written, so that all its records have one level whatever is reloaded
//! meanwhile. Invariant: at every level a record remains that says who, what, when, from where, why it was allowed and how it
//! ended (promise 4); a level never decides whether a record is written.

use std::sync::Arc;

use access::rbac::SubjectView;
use audit_policy::{Asked, Level, Policy, User};
use model::event::{Audited, Request};

use super::trail::Trail;

/// The policy in force.
#[derive(Debug)]
pub struct AuditPolicy {
    policy: Policy,
    digest: Arc<str>,
}

impl AuditPolicy {
    /// `digest` names the file's content in each record.
    #[must_use]
    pub const fn new(policy: Policy, digest: Arc<str>) -> Self {
        Self { policy, digest }
    }

    /// Names the file's content.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it says about a request; nothing of one that was not understood.
    pub(super) fn judge(&self, trail: &Trail, keeps_bodies: bool) -> Option<Judged> {
        let facts = trail.facts.as_ref()?;
        let subject = trail.identity.as_deref().map(|identity| identity.subject());
        let view = subject.map(|subject| SubjectView::impersonated(subject.username(), subject.groups()));
        let groups: Vec<&str> = view.iter().flat_map(SubjectView::groups).collect();
        let user = view.as_ref().map(|view| User {
            name: view.username(),
            groups: &groups,
        });
        let verdict = self.policy.evaluate(&Asked::of(facts, user));
        let kept = if keeps_bodies {
            verdict.kept()
        } else {
            verdict.level.min(Level::Metadata)
        };
        Some(Judged {
            asked: verdict.level,
            kept,
            omits_managed: verdict.omit_managed_fields,
            rule: verdict.rule,
            policy: Arc::clone(&self.digest),
        })
    }
}

/// The verdict on one request.
#[derive(Debug)]
pub(super) struct Judged {
    asked: Level,
    kept: Level,
    omits_managed: bool,
    rule: Option<usize>,
    policy: Arc<str>,
}

impl Judged {
    /// Whether the least record is all that remains.
    pub(super) fn is_least(&self) -> bool {
        self.kept == Level::None
    }

    /// How much is kept.
    pub(super) const fn kept(&self) -> Level {
        self.kept
    }

    /// Whether `managedFields` are left out of bodies.
    pub(super) const fn omits_managed(&self) -> bool {
        self.omits_managed
    }

    pub(super) fn written(&self) -> Audited<'_> {
        Audited {
            level: self.kept.as_str(),
            asked: (self.kept != self.asked).then(|| self.asked.as_str()),
            rule: self.rule.map(|rule| rule.saturating_add(1)),
            policy: &self.policy,
        }
    }
}

/// What remains of a request in the least record: nothing of its query, and no word that the client says about itself.
pub(super) fn least(request: Request<'_>) -> Request<'_> {
    Request {
        query_keys: &[],
        query_count: None,
        options: "",
        content_type: None,
        agent: None,
        kubectl_command: None,
        kubectl_session: None,
        client_audit_id: None,
        container: None,
        ..request
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures::future::BoxFuture;
    use http::{HeaderMap, HeaderValue, Method};
    use ledger::{Ledger, Options, Reader, RealDisk};
    use model::event::Answer;
    use model::request::{RequestFacts, Target, Wire};
    use model::subject::SubjectId;
    use serde_json::{Value, json};

    use super::*;
    use crate::audit::{Class, End, Limits, PartKey, PartKeys, Peer, Scan, Station, Want};
    use crate::clock::Clock;
    use crate::headers::RequestedImpersonation;
    use crate::identity::{Credential, for_bench};
    use crate::refusal::Refusal;

    #[derive(Debug)]
    struct OneKey;

    impl PartKeys for OneKey {
        fn key(&self, _: &SubjectId, _: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
            let key = PartKey::new("k", &[7; 32]).ok_or_else(|| "no key".to_owned());
            Box::pin(std::future::ready(key.map(Arc::new)))
        }

        fn acts_through(&self, _: &SubjectId, _: &str, _: &str) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    struct World {
        folder: tempfile::TempDir,
        ledger: Arc<Ledger>,
        station: Arc<Station>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let disk = Arc::new(RealDisk::new(folder.path()));
            let (ledger, _) = Ledger::open_by_hand(folder.path(), Options::default(), disk).unwrap();
            let (ledger, (clock, _)) = (Arc::new(ledger), Clock::manual(1_790_000_000_000_000_000));
            let (limits, keys) = (Limits::default(), Arc::new(OneKey));
            let station = Station::keeping_parts(Arc::clone(&ledger), clock, "boot".into(), limits, keys);
            Self {
                folder,
                ledger,
                station,
            }
        }

        fn set(&self, rules: &str) {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n");
            let policy = audit_policy::load(&text).unwrap().policy;
            self.station
                .set_policy(Some(Arc::new(AuditPolicy::new(policy, "d1".into()))));
        }

        fn trail(&self, target: &str, acts_as: Option<&str>) -> Arc<Trail> {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (
                    "user-agent",
                    "kubectl/v1.36.3 (linux/amd64) on behalf of: somebody@example.com",
                ),
                ("content-type", "application/json"),
                ("kubectl-command", "kubectl create"),
                ("audit-id", "their-own"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            let peer = Peer {
                ip: "127.0.0.1".into(),
                port: 1,
                listener: "test".into(),
            };
            let target = Target::parse(target.as_bytes()).unwrap();
            let wire = Wire {
                method: "POST",
                wants_upgrade: false,
                impersonates: acts_as.is_some(),
            };
            let now = self.station.clock().read();
            let mut trail = Trail::new(now, peer, "HTTP/1.1", Method::POST, &headers);
            trail.facts = Some(RequestFacts::classify(&target, wire).unwrap());
            trail.target = Some(target);
            trail.identity = Some(Arc::new(for_bench("al", &["dev"], Credential::GatewayToken)));
            trail.effective = acts_as.map(|user| RequestedImpersonation {
                user: user.to_owned(),
                groups: vec!["ops".to_owned()],
                uid: None,
                extra: Default::default(),
                reason: None,
            });
            Arc::new(trail)
        }

        /// The record that opens a call, and how many parts lie beside it.
        async fn opened(&self, trail: &Trail) -> (Value, usize) {
            let opened = self.station.opening(trail, |body, parts| (body, parts)).await;
            let (body, parts) = opened.unwrap();
            (serde_json::from_slice(&body).unwrap(), parts.len())
        }

        /// The record that ends it, whose answer has an object.
        fn ended(&self, trail: &Arc<Trail>) -> Value {
            let json =
                HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let mut end = End::of_read(Arc::clone(&self.station), Arc::clone(trail));
            end.digest("00".repeat(32));
            end.answered(201);
            end.scans(Scan::new(&json, Want::Names));
            end.passed(br#"{"kind":"ConfigMap","metadata":{"name":"made","uid":"u1"}}"#);
            end.settle(Answer::Answered, None);
            self.ledger.drive();
            records(self.folder.path()).pop().unwrap()
        }
    }

    fn records(folder: &Path) -> Vec<Value> {
        let records = Reader::open(folder).unwrap();
        let leaves = records.records_from(0).map(|record| record.unwrap().leaf);
        leaves.map(|leaf| serde_json::from_slice(&leaf).unwrap()).collect()
    }

    const TARGET: &str = "/api/v1/namespaces/shop/configmaps?dryRun=All&fieldManager=someone&limit=5";

    /// promise_4: a level never decides whether there is a record, and the least one says what happened.
    #[tokio::test]
    async fn promise_4_at_level_none_the_least_record_remains_and_is_whole_in_itself() {
        let world = World::new();
        world.set("[{level: None}]");
        let trail = world.trail(TARGET, None);
        let (record, parts) = world.opened(&trail).await;
        assert_eq!(parts, 0);
        assert_eq!(record["audit"], json!({"level": "None", "rule": 1, "policy": "d1"}));
        let asked = json!({"method": "POST", "path": "/api/v1/namespaces/shop/configmaps", "verb": "create", "group": "",
            "version": "v1", "resource": "configmaps", "namespace": "shop", "dry_run": true});
        assert_eq!(record["req"], asked);
        assert_eq!(record["by"]["user"], "al");
        assert_eq!(record["net"]["ip"], "127.0.0.1");
        let end = world.ended(&trail);
        assert_eq!(
            (&end["outcome"]["end"], &end["outcome"]["status"]),
            (&json!("answered"), &json!(201))
        );
        assert!(end["outcome"]["bytes_out"].as_u64() > Some(0) && end["outcome"].get("took").is_some());
        for member in ["object", "items", "parts"] {
            assert!(end.get(member).is_none(), "{member} in {end}");
        }
        assert!(end["outcome"].get("body_sha256").is_none(), "{end}");
    }

    #[tokio::test]
    async fn at_metadata_all_is_kept_but_bodies_and_who_asks_for_these_is_told_what_was_kept() {
        let world = World::new();
        for (level, audit) in [
            ("Metadata", json!({"level": "Metadata", "rule": 1, "policy": "d1"})),
            (
                "Request",
                json!({"level": "Metadata", "asked": "Request", "rule": 1, "policy": "d1"}),
            ),
            (
                "RequestResponse",
                json!({"level": "Metadata", "asked": "RequestResponse", "rule": 1, "policy": "d1"}),
            ),
        ] {
            world.set(&format!("[{{level: {level}}}]"));
            let trail = world.trail(TARGET, None);
            let (record, parts) = world.opened(&trail).await;
            assert_eq!(record["audit"], audit);
            assert_eq!(parts, 2, "the query's value and the whole agent: {record}");
            for (member, value) in [
                ("agent", json!("kubectl/v1.36.3 (linux/amd64) on behalf")),
                ("query_keys", json!(["dryRun", "fieldManager", "limit"])),
                ("content_type", json!("application/json")),
                ("kubectl_command", json!("kubectl create")),
                ("client_audit_id", json!("their-own")),
            ] {
                assert_eq!(record["req"][member], value, "{member}");
            }
            let end = world.ended(&trail);
            assert_eq!(
                (&end["object"]["name"], end["outcome"].get("body_sha256")),
                (&json!("made"), None)
            );
        }
        world.station.set_policy(None);
        let (record, parts) = world.opened(&world.trail(TARGET, None)).await;
        assert!(
            record.get("audit").is_none() && parts == 2,
            "without a policy nothing is left out: {record}"
        );
    }

    #[tokio::test]
    async fn the_level_is_that_of_the_person_who_calls_and_not_of_whom_they_act_as() {
        let world = World::new();
        let level = async |rules: &str, acts_as| {
            world.set(rules);
            let (record, _) = world.opened(&world.trail(TARGET, acts_as)).await;
            record["audit"].clone()
        };
        for rules in [
            "[{level: Metadata, users: [al]}]",
            "[{level: Metadata, userGroups: [dev]}]",
            "[{level: Metadata, userGroups: [\"system:authenticated\"]}]",
        ] {
            for acts_as in [None, Some("bob")] {
                assert_eq!(level(rules, acts_as).await["level"], "Metadata", "{rules} {acts_as:?}");
            }
        }
        for rules in [
            "[{level: Metadata, users: [bob]}]",
            "[{level: Metadata, userGroups: [ops]}]",
        ] {
            let unmatched = level(rules, Some("bob")).await;
            assert_eq!(unmatched, json!({"level": "None", "policy": "d1"}), "{rules}");
        }
    }

    #[tokio::test]
    async fn all_records_of_a_call_have_the_level_of_its_first() {
        let world = World::new();
        world.set("[{level: None}]");
        let least = world.trail(TARGET, None);
        world.opened(&least).await;
        world.set("[{level: Metadata}]");
        let whole = world.trail(TARGET, None);
        world.opened(&whole).await;
        assert!(world.ended(&least).get("object").is_none());
        world.set("[{level: None}]");
        assert_eq!(world.ended(&whole)["object"]["name"], "made");
    }

    #[tokio::test]
    async fn a_refusal_has_its_level_and_is_written_at_each() {
        let world = World::new();
        world.set("[{level: None}]");
        let trail = world.trail(TARGET, None);
        assert!(world.station.refuse(&trail, &Refusal::Internal));
        world.ledger.drive();
        let record = records(world.folder.path()).pop().unwrap();
        assert_eq!(
            (&record["kind"], &record["audit"]["level"]),
            (&json!("refusal"), &json!("None"))
        );
        assert_eq!(record["decision"]["allowed"], false);
        assert!(
            record["req"].get("agent").is_none() && record["req"]["verb"] == "create",
            "{record}"
        );
    }
}
