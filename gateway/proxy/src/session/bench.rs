//! Many calls under way and a change of rules: how long until those that are now refused have ended. For the bench
//! `long_calls` and the tests of this module.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use access::decide::Authorization;
use access::rbac::{Objects, Snapshot};
use access::rule::{RuleSet, load_objects};
use model::ask::{AccessAnswer, AccessQuestion, CookieAnswer, KeyAnswer, SessionAnswer, SessionQuestion, TokenAnswer};
use model::cluster::ClusterId;
use model::request::{RequestFacts, Target, Wire};
use model::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Grounds, Keeper, LongCall, LongCallMetrics, Registry};
use crate::ask::{Ask, Asked};
use crate::audit::{Peer, Trail};
use crate::clock::Clock;
use crate::decision::{self, Rules, Settings};
use crate::identity::{self, Acceptance, Identity, Questions};
use crate::listener::Upgrade;

/// The cluster of this world.
pub const CLUSTER: &str = "bench";

/// A table with its keeper, and the hands that move the world around it.
#[derive(Debug)]
pub struct World {
    /// The table.
    pub registry: Arc<Registry>,
    /// What looks after it.
    pub keeper: Keeper,
    /// Its one cluster.
    pub cluster: ClusterId,
    /// The clock's hand.
    pub hand: Arc<AtomicI64>,
    /// Ends all calls as a drain does.
    pub draining: CancellationToken,
    /// Questions about sign-ins.
    pub sign_ins: mpsc::Receiver<Asked<SessionQuestion, SessionAnswer>>,
    /// The judgement that breaks, counted from now on; 0: none does.
    pub breaks: Arc<AtomicU64>,
    /// Questions to the cluster.
    pub reviews: mpsc::Receiver<Asked<AccessQuestion, AccessAnswer>>,
    pub(crate) station: Arc<decision::Station>,
    clock: Clock,
    rules: watch::Sender<Arc<Rules>>,
    trust: watch::Sender<Arc<oidc::Trust>>,
}

/// Who vouches for its people by tokens of their own.
pub(crate) const ISSUER: &str = "https://idp";
/// With the key of RFC 8037 appendix A.2.
const KEYS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// Its thumbprint (RFC 7638; RFC 8037 appendix A.3).
pub(crate) const SIGNED_BY: [u8; 32] = [
    0x90, 0xfa, 0xca, 0xfe, 0xa9, 0xb1, 0x55, 0x66, 0x98, 0x54, 0x0f, 0x70, 0xc0, 0x11, 0x7a, 0x22, 0xea, 0x37, 0xbd,
    0x5c, 0xf3, 0xed, 0x3c, 0x47, 0x09, 0x3c, 0x17, 0x07, 0x28, 0x2b, 0x4b, 0x89,
];

/// When this world begins.
pub const BEGIN: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

impl World {
    /// A world for `most` calls, without rules.
    ///
    /// # Panics
    /// There are no random bytes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a bench and tests, not the product")]
    pub fn new(most: usize, authorization: Authorization) -> Self {
        let cluster = ClusterId::new(CLUSTER).expect("a fixed name");
        let (clock, hand) = Clock::manual(BEGIN.unix_nanos());
        let (rules, newest) = watch::channel(Arc::new(rules(0, &[], &[])));
        let (confirm, reviews) = Ask::new(64, Duration::from_secs(5), |why| AccessAnswer::Unknown { why });
        let settings = Settings {
            cluster: cluster.clone(),
            authorization,
            max_groups: 64,
            stale_after: Duration::from_secs(90),
            cache_entries: 1_000,
        };
        let (heard, breaks) = (clock.clone(), Arc::<AtomicU64>::default());
        let breaking = Arc::clone(&breaks);
        let heard = Arc::new(move || {
            let less = |left: u64| left.checked_sub(1);
            let was = breaking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            assert_ne!(was, Ok(1), "a fault of the world");
            heard.read().wall
        });
        let station = Arc::new(decision::Station::new(settings, newest, heard, confirm));
        let (trust, trusted) = watch::channel(Arc::new(trust()));
        let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
        let (sign_ins, asked) = Ask::new(64, Duration::from_secs(2), |why| SessionAnswer::Unknown { why });
        let questions = Questions {
            keys,
            sign_ins,
            cookies: Ask::new(1, Duration::from_secs(1), |why| CookieAnswer::Unknown { why }).0,
            tokens: BTreeMap::<_, Ask<_, TokenAnswer>>::new(),
            issuers: None,
        };
        let acceptance = Acceptance {
            service_account_audience: String::new(),
            cache_entries: 16,
            sign_in_check: Duration::from_secs(60),
            longest_sign_in: Duration::from_secs(86_400),
            certificates: HashMap::new(),
            workloads: Vec::new(),
        };
        let (_, locks) = watch::channel(Arc::default());
        let identity = identity::Station::new(trusted, locks, questions, acceptance).expect("random bytes");
        let registry = Registry::new(most, LongCallMetrics::default());
        let keeper = Keeper::new(
            Arc::clone(&registry),
            Arc::new(identity),
            HashMap::from([(cluster.clone(), Arc::clone(&station))]),
            clock.clone(),
        );
        Self {
            registry,
            keeper,
            cluster,
            hand,
            draining: CancellationToken::new(),
            sign_ins: asked,
            breaks,
            reviews,
            station,
            clock,
            rules,
            trust,
        }
    }

    /// Puts other rules into effect: RBAC that lets each of `groups` watch pods in every namespace, and access rules.
    pub fn rules(&self, groups: &[&str], access_rules: &[Value]) {
        let version = self.rules.borrow().version.saturating_add(1);
        self.rules.send_replace(Arc::new(rules(version, groups, access_rules)));
    }

    /// Puts other issuers and keys into effect.
    pub fn trust(&self, change: impl FnOnce(&mut oidc::Trust)) {
        let mut next = oidc::Trust::clone(&self.trust.borrow());
        change(&mut next);
        self.trust.send_replace(Arc::new(next));
    }

    /// A watch of pods by `identity`, as it stands after the decision.
    #[must_use]
    pub fn watch(&self, identity: Arc<Identity>, namespace: &str) -> Arc<Trail> {
        self.call(
            identity,
            &format!("/api/v1/namespaces/{namespace}/pods?watch=true"),
            false,
        )
    }

    /// A GET of `raw` by `identity`, as it stands after the decision.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a bench and tests, not the product")]
    pub fn call(&self, identity: Arc<Identity>, raw: &str, wants_upgrade: bool) -> Arc<Trail> {
        let target = Target::parse(raw.as_bytes()).expect("a good target");
        let wire = Wire {
            method: "GET",
            wants_upgrade,
            impersonates: false,
        };
        let peer = Peer {
            ip: "127.0.0.1".into(),
            port: 1,
            listener: "kubernetes".into(),
        };
        let mut trail = Trail::new(
            self.clock.read(),
            peer,
            "HTTP/1.1",
            http::Method::GET,
            &http::HeaderMap::new(),
        );
        trail.facts = Some(RequestFacts::classify(&target, wire).expect("a good request"));
        trail.cluster = Some(self.cluster.clone());
        trail.target = Some(target);
        trail.identity = Some(identity);
        trail.upgrade = wants_upgrade.then_some(Upgrade::WebSocket);
        Arc::new(trail)
    }

    /// Lets it into the table on what the rules say now.
    ///
    /// # Panics
    /// The table is full.
    #[expect(clippy::expect_used, reason = "a bench and tests, not the product")]
    pub fn enter(&self, trail: &Arc<Trail>) -> LongCall {
        let grounds = Grounds {
            version: self.station.version(),
            not_after: Timestamp::MAX,
            from_cluster: false,
            momentary: false,
        };
        self.registry
            .enter(Arc::clone(trail), None, &self.draining, grounds)
            .expect("a place")
    }
}

pub(crate) fn rules(version: u64, groups: &[&str], access_rules: &[Value]) -> Rules {
    let bindings: Vec<Value> = groups
        .iter()
        .map(|group| {
            json!({"metadata": {"name": format!("watchers-{group}")}, "roleRef": {"kind": "ClusterRole", "name": "watcher"},
                   "subjects": [{"kind": "Group", "name": group}]})
        })
        .collect();
    let objects = json!({
        "clusterRoles": [{"metadata": {"name": "watcher"}, "rules": [
            {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}]}],
        "clusterRoleBindings": bindings,
    });
    let objects: Objects = serde_json::from_value(objects).unwrap_or_default();
    Rules {
        snapshot: Arc::new(Snapshot::new(&objects)),
        namespaces: Arc::default(),
        rules: Arc::new(RuleSet::new(load_objects(access_rules).0)),
        digest: "".into(),
        version,
        complete: true,
    }
}

#[expect(clippy::expect_used, reason = "a bench and tests, not the product")]
pub(crate) fn trust() -> oidc::Trust {
    let (key, _) = oidc::gateway::SigningKey::generate().expect("a key");
    let published = oidc::gateway::SigningKey::key_set([&key]).expect("its public half");
    let verifier = oidc::gateway::GatewayVerifier::new("https://gate", published, Duration::ZERO);
    let provider = json!({"name": "idp", "issuer": ISSUER, "clientID": "us"});
    let provider: oidc::issuer::Provider = serde_json::from_value(provider).expect("a provider");
    let issuer = provider.compile().expect("its issuer");
    let keys = oidc::KeySet::parse(KEYS).expect("its key");
    oidc::Trust {
        issuers: Arc::new(oidc::Issuers::new([issuer]).expect("no two of them")),
        keys: BTreeMap::from([(ISSUER.into(), Arc::new(keys))]),
        discoveries: BTreeMap::new(),
        gateway: Arc::new(verifier),
        generation: 1,
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// From the change until every call was decided.
    pub took: Duration,
    /// Calls that ended.
    pub ended: usize,
    /// Calls that go on.
    pub open: usize,
}

/// `calls` watches of as many people in 100 groups, 10,000 bindings in force; then one binding is taken away.
pub async fn round(calls: usize) -> Round {
    const GROUPS: usize = 100;
    let world = World::new(calls, Authorization::Enforce);
    let groups: Vec<String> = (0..10_000).map(|number| format!("team-{number}")).collect();
    let mut names: Vec<&str> = groups.iter().map(String::as_str).collect();
    world.rules(&names, &[]);
    let held: Vec<LongCall> = (0..calls)
        .map(|number| {
            let group = groups.get(number % GROUPS).map_or("", String::as_str);
            let person = identity::for_bench(
                &format!("person-{number}"),
                &[group],
                identity::Credential::GatewayToken,
            );
            world.enter(&world.watch(Arc::new(person), "shop"))
        })
        .collect();
    names.remove(7);
    world.rules(&names, &[]);
    let began = Instant::now();
    world.keeper.rules_changed(&world.cluster).await;
    let took = began.elapsed();
    let ended = held.iter().filter(|call| call.is_over()).count();
    Round {
        took,
        ended,
        open: held.len().saturating_sub(ended),
    }
}
