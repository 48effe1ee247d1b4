//! A ledger in a temporary folder and the records of a small world, made from `model::event::Record` as the gateway makes them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::LazyLock;

use ledger::{Ledger, Options, OutcomeSlot, RealDisk};
use model::cluster::ClusterId;
use model::decision::{RuleEffect, RuleKind, RuleRef};
use model::event::{
    Answer, By, Called, Decided, Network, Object, Outcome, Record, RecordKind, Request, Span, Workload,
};
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use search::{Archive, Budget, Page, Query, Scope, Search, View};

pub(crate) const BEGIN: i64 = 1_795_000_000;
pub(crate) const BOOT: &str = "0199b000-0000-7000-8000-00000000b001";

pub(crate) struct Person {
    pub(crate) id: SubjectId,
    kind: SubjectKind,
    user: &'static str,
    email: Option<&'static str>,
    sub: &'static str,
}

fn person(number: u8, kind: SubjectKind, user: &'static str, email: Option<&'static str>, sub: &'static str) -> Person {
    Person {
        id: SubjectId::from_digest([number; 16]),
        kind,
        user,
        email,
        sub,
    }
}

pub(crate) static ALICE: LazyLock<Person> =
    LazyLock::new(|| person(1, SubjectKind::Person, "alice", Some("alice.lee@example.com"), "u-17"));
pub(crate) static BOB: LazyLock<Person> = LazyLock::new(|| person(2, SubjectKind::Person, "oidc:bob", None, "u-18"));
pub(crate) static ROBOT: LazyLock<Person> = LazyLock::new(|| {
    person(
        3,
        SubjectKind::ServiceAccount,
        "system:serviceaccount:ci:robot",
        None,
        "robot",
    )
});
/// A workload that acts for people.
static STOCK: LazyLock<Person> = LazyLock::new(|| {
    person(
        8,
        SubjectKind::Workload,
        "spiffe://example.org/stock",
        None,
        "spiffe://example.org/stock",
    )
});
static PROD: LazyLock<ClusterId> = LazyLock::new(|| ClusterId::new("prod").unwrap());
static RULES: LazyLock<Vec<RuleRef>> = LazyLock::new(|| {
    vec![RuleRef {
        kind: RuleKind::RoleBinding,
        name: "shop-developers".into(),
        namespace: Some("shop".into()),
        role: Some("ClusterRole/edit".into()),
        effect: RuleEffect::Allow,
        why: None,
    }]
});

static RULES_OF_SERVICES: LazyLock<Vec<RuleRef>> = LazyLock::new(|| {
    vec![RuleRef {
        kind: RuleKind::AccessRule,
        name: "dashboards".into(),
        namespace: None,
        role: None,
        effect: RuleEffect::Allow,
        why: None,
    }]
});
/// Whoever calls from an address without a sign-in.
static PUBLIC: LazyLock<Person> = LazyLock::new(|| person(9, SubjectKind::Public, "public", None, "public"));
pub(crate) const GRAFANA: Called<'static> = Called {
    name: Some("grafana"),
    host: "grafana.example.com",
    public: false,
};

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    ledger: RefCell<Option<Arc<Ledger>>>,
    slots: RefCell<HashMap<&'static str, OutcomeSlot>>,
    made: Cell<u32>,
    boot: Cell<&'static str>,
    pub(crate) now: Cell<i64>,
}

fn keep(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Small, so that a world has several.
const SEGMENT: u64 = 160 << 10;

fn open(dir: &Path, boot: &'static str, segment_bytes: u64) -> Arc<Ledger> {
    let options = Options {
        segment_bytes,
        max_open: 128,
        outcome_bytes: 512,
        boot: boot.into(),
        clock: Arc::new(|| Timestamp::from_unix_seconds(BEGIN)),
        ..Options::default()
    };
    Arc::new(Ledger::open(dir, options, Arc::new(RealDisk::new(dir))).unwrap().0)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::in_segments(SEGMENT)
    }

    pub(crate) fn in_segments(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = RefCell::new(Some(open(dir.path(), BOOT, bytes)));
        Self {
            dir,
            ledger,
            slots: RefCell::default(),
            made: Cell::new(0),
            boot: Cell::new(BOOT),
            now: Cell::new(BEGIN),
        }
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(self.ledger.borrow().as_ref().unwrap())
    }

    /// Ends the process without the ends of its calls, and begins another one.
    pub(crate) fn crash(&self) {
        drop(self.ledger.take());
        self.slots.borrow_mut().clear();
        self.boot.set("0199b000-0000-7000-8000-00000000b002");
        *self.ledger.borrow_mut() = Some(open(self.dir.path(), self.boot.get(), SEGMENT));
    }

    pub(crate) fn close(&self) {
        self.ledger().close();
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.now.set(self.now.get() + seconds);
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.now.get())
    }

    /// A request id as the gateway makes it: UUIDv7 of the world's time.
    pub(crate) fn id(&self) -> &'static str {
        self.made.set(self.made.get() + 1);
        let millis = format!("{:012x}", self.now.get() * 1_000);
        keep(format!(
            "{}-{}-7000-8000-{:012x}",
            millis.get(..8).unwrap(),
            millis.get(8..).unwrap(),
            self.made.get()
        ))
    }

    pub(crate) fn record(&self, id: &'static str) -> Record<'static> {
        Record {
            id,
            t: self.time(),
            mono: u64::from(self.made.get()),
            boot: self.boot.get(),
            ..Record::default()
        }
    }

    /// Writes a record as its kind must be written; its sequence number.
    pub(crate) fn write(&self, kind: RecordKind, record: &Record<'static>) -> u64 {
        let (ledger, body) = (self.ledger(), record.body().unwrap());
        let slot = record.pair.and_then(|_| self.slots.borrow_mut().remove(record.id));
        let ticket = match (kind, slot) {
            (RecordKind::Intent | RecordKind::Open, _) => {
                let begin = if kind == RecordKind::Open {
                    Ledger::append_open
                } else {
                    Ledger::append_intent
                };
                let (ticket, slot) = begin(&ledger, body, Vec::new()).unwrap();
                self.slots.borrow_mut().insert(record.id, slot);
                ticket
            }
            (_, Some(slot)) => slot.fill(kind, body).unwrap(),
            (_, None) => ledger.append(kind, body, Vec::new()).unwrap(),
        };
        ticket.wait().unwrap().seq
    }

    /// A sign of life, which leaves the place of the end free.
    pub(crate) fn heartbeat(&self, record: &Record<'static>) {
        let body = record.body().unwrap();
        self.ledger()
            .append(RecordKind::Heartbeat, body, Vec::new())
            .unwrap()
            .wait()
            .unwrap();
    }

    pub(crate) fn asked(&self, id: &'static str, who: &'static Person, req: Request<'static>) -> Record<'static> {
        let by = By {
            id: &who.id,
            kind: who.kind,
            iss: "https://idp.example",
            sub: who.sub,
            user: who.user,
            email: who.email,
            groups_hash: "",
            session: Some("5e551011"),
            credential: "gatewayToken",
            credential_id: None,
            auth_time: None,
            origin: None,
            acr: None,
        };
        let decided = Decided {
            allowed: true,
            who: "gateway",
            reason: None,
            rules: &RULES,
            rules_count: None,
            policy: "sha256:77",
            sent_groups_hash: "",
            stated_reason: None,
        };
        let net = Network {
            ip: "10.1.2.3",
            port: 50_000,
            http: "HTTP/2.0",
            listener: "kubernetes",
        };
        Record {
            cluster: Some(&PROD),
            by: Some(by),
            net: Some(net),
            req: Some(req),
            decision: Some(decided),
            ..self.record(id)
        }
    }

    /// The same, done for whoever it was by two workloads.
    pub(crate) fn through(record: Record<'static>) -> Record<'static> {
        let actors: [&'static Person; 2] = [&ROBOT, &STOCK];
        let act = actors.map(|acting| Workload {
            id: &acting.id,
            user: acting.user,
        });
        Record {
            act: act.to_vec(),
            ..record
        }
    }

    /// The record that begins a call of a service; without somebody, one of the public.
    pub(crate) fn asked_of(
        &self,
        service: Called<'static>,
        who: Option<&'static Person>,
        (method, path): (&'static str, &'static str),
    ) -> Record<'static> {
        let req = Request {
            method,
            path,
            agent: Some("Mozilla/5.0 (X11; Linux x86_64)"),
            ..Request::default()
        };
        let mut record = self.asked(self.id(), who.unwrap_or(&PUBLIC), req);
        record.cluster = None;
        record.service = Some(service);
        record.by = record.by.map(|by| match who {
            Some(_) => By {
                credential: "cookie",
                ..by
            },
            None => By {
                iss: "public",
                session: Some(PUBLIC.id.as_str()),
                credential: "none",
                ..by
            },
        });
        record.by = record.by.filter(|_| who.is_some() || service.public);
        if let Some(decision) = &mut record.decision {
            decision.rules = &RULES_OF_SERVICES;
        }
        record
    }

    /// A call of a service that was forwarded and answered; its id.
    pub(crate) fn call_of(
        &self,
        service: Called<'static>,
        who: Option<&'static Person>,
        asked: (&'static str, &'static str),
        status: u16,
    ) -> &'static str {
        let record = self.asked_of(service, who, asked);
        let seq = self.write(RecordKind::Intent, &record);
        let mut ended = self.ended(record.id, seq, status);
        ended.service = Some(service);
        if let Some(outcome) = &mut ended.outcome {
            outcome.reason = None;
        }
        self.write(RecordKind::Outcome, &ended);
        record.id
    }

    pub(crate) fn ended(&self, id: &'static str, pair: u64, status: u16) -> Record<'static> {
        let outcome = Outcome {
            end: Answer::Answered,
            status: Some(status),
            reason: (status == 403).then_some("Forbidden"),
            bytes_in: 0,
            bytes_out: 120,
            took: Some(Span {
                first: 900,
                total: 1_000,
            }),
            body_sha256: None,
            body_hmac: None,
            exit_code: None,
            unread: None,
            diverged: false,
            why: None,
        };
        Record {
            pair: Some(pair),
            outcome: Some(outcome),
            ..self.record(id)
        }
    }

    /// A call that was forwarded and answered; its id.
    pub(crate) fn call(&self, who: &'static Person, req: Request<'static>, status: u16) -> &'static str {
        let reads = matches!(req.verb, "get" | "list" | "watch") && req.subresource != Some("exec");
        let (begin, end) = if reads {
            (RecordKind::Access, RecordKind::Close)
        } else {
            (RecordKind::Intent, RecordKind::Outcome)
        };
        let id = self.id();
        let seq = self.write(begin, &self.asked(id, who, req));
        self.write(end, &self.ended(id, seq, status));
        id
    }

    /// A creation, whose name only the answer says; its id.
    pub(crate) fn made(&self, who: &'static Person, req: Request<'static>, name: &'static str) -> &'static str {
        let id = self.id();
        let seq = self.write(RecordKind::Intent, &self.asked(id, who, req));
        self.write(RecordKind::Outcome, &self.named(id, seq, name));
        id
    }

    /// The end of a call whose answer holds an object of this name.
    pub(crate) fn named(&self, id: &'static str, pair: u64, name: &'static str) -> Record<'static> {
        let object = Object {
            name: Some(name),
            namespace: Some("shop"),
            uid: None,
            resource_version: None,
        };
        Record {
            object: Some(object),
            ..self.ended(id, pair, 201)
        }
    }

    pub(crate) fn refused(&self, who: &'static Person, req: Request<'static>) -> &'static str {
        let id = self.id();
        let mut record = self.asked(id, who, req);
        if let Some(decision) = &mut record.decision {
            (decision.allowed, decision.reason, decision.rules) = (false, Some("noRule"), &[]);
        }
        record.outcome = Some(Outcome {
            end: Answer::Refused,
            status: Some(403),
            reason: Some("Forbidden"),
            bytes_in: 0,
            bytes_out: 0,
            took: None,
            body_sha256: None,
            body_hmac: None,
            exit_code: None,
            unread: None,
            diverged: false,
            why: Some("no rule allows alice to delete secrets in shop"),
        });
        self.write(RecordKind::Refusal, &record);
        id
    }

    pub(crate) fn archive(&self) -> Archive {
        let ledger = self.ledger();
        Archive::live(self.dir.path(), move || ledger.durable().size)
    }

    pub(crate) fn search(&self, query: &str) -> Page {
        search(&self.archive(), query, self.time(), |_| {})
    }

    pub(crate) fn acts(&self, query: &str) -> Vec<String> {
        acts(&self.search(query))
    }
}

pub(crate) fn acts(page: &Page) -> Vec<String> {
    page.rows.iter().map(|row| row.act.clone()).collect()
}

pub(crate) fn search(archive: &Archive, query: &str, now: Timestamp, change: impl FnOnce(&mut Search<'_>)) -> Page {
    search_as(&Scope::All, archive, query, now, change)
}

pub(crate) fn search_as(
    scope: &Scope,
    archive: &Archive,
    query: &str,
    now: Timestamp,
    change: impl FnOnce(&mut Search<'_>),
) -> Page {
    let query = Query::parse(query).unwrap();
    let mut search = Search {
        query: &query,
        scope,
        view: View::Acts,
        limit: 100,
        after: None,
        now,
    };
    change(&mut search);
    archive
        .search(
            &search,
            Budget {
                bytes: u64::MAX,
                go_on: &mut || true,
            },
        )
        .unwrap()
}

pub(crate) fn on(verb: &'static str, resource: &'static str, name: Option<&'static str>) -> Request<'static> {
    let method = match verb {
        "create" => "POST",
        "delete" => "DELETE",
        "patch" => "PATCH",
        _ => "GET",
    };
    let path = keep(format!(
        "/api/v1/namespaces/shop/{resource}{}",
        name.map(|name| format!("/{name}")).unwrap_or_default()
    ));
    Request {
        method,
        path,
        verb,
        group: Some(""),
        version: Some("v1"),
        resource: Some(resource),
        namespace: Some("shop"),
        name,
        agent: Some("kubectl/v1.36.3 (linux/amd64) kubernetes/abc"),
        ..Request::default()
    }
}

pub(crate) fn path(path: &'static str) -> Request<'static> {
    Request {
        method: "GET",
        path,
        verb: "get",
        agent: Some("kubectl/v1.36.3"),
        ..Request::default()
    }
}

pub(crate) fn in_run(run: &'static str, req: Request<'static>) -> Request<'static> {
    Request {
        kubectl_session: Some(run),
        ..req
    }
}
