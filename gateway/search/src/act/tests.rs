//! Lines as people would type them, and what cannot be smuggled into one.

use serde_json::json;

use super::*;

fn of(kind: RecordKind, leaf: serde_json::Value) -> String {
    line(kind, &Leaf::read(leaf.to_string().as_bytes()).unwrap())
}

fn request(verb: &str, resource: &str, more: serde_json::Value) -> String {
    let mut req = json!({"method": "GET", "path": "/x", "verb": verb, "group": "", "resource": resource});
    for (name, value) in more.as_object().unwrap() {
        req[name] = value.clone();
    }
    of(RecordKind::Access, json!({"id": "1", "req": req}))
}

#[test]
fn of_records_that_were_not_signed_one_is_told_as_one() {
    for (until, line) in [
        (6, "record 5 was not signed when the run before ended"),
        (7, "records 5 to 6 were not signed when the run before ended"),
    ] {
        let leaf = json!({"id": "1", "unsigned": {"from": 5, "until": until}});
        assert_eq!(of(RecordKind::Recovery, leaf), line);
    }
}

#[test]
fn a_call_of_a_service_reads_as_the_request_that_it_was_whatever_else_stands_there() {
    let called = |more: serde_json::Value| {
        let mut leaf = json!({"id": "1", "service": {"name": "web", "host": "web.example"},
                              "req": {"method": "PUT", "path": "/a%20b/c"}});
        for (name, value) in more.as_object().unwrap() {
            leaf["req"][name] = value.clone();
        }
        leaf
    };
    let line = "PUT web.example/a%20b/c";
    assert_eq!(of(RecordKind::Intent, called(json!({}))), line);
    let disguised = json!({"verb": "create", "group": "", "resource": "pods", "kubectl_command": "kubectl get"});
    assert_eq!(of(RecordKind::Intent, called(disguised.clone())), line);
    let leaf = Leaf::read(called(disguised).to_string().as_bytes()).unwrap();
    assert_eq!(
        Unnamed::of(RecordKind::Intent, &leaf),
        None,
        "no answer names what it made"
    );
    let turned = json!({"id": "1", "service": {"host": "a\u{202e}b"}, "req": {"method": "GET", "path": "/\u{7}"}});
    assert_eq!(of(RecordKind::Verdict, turned), "GET a\\u{202e}b/\\u{7}");
}

#[test]
fn ordinary_requests_read_as_the_commands_that_lead_to_them() {
    let shop = json!({"namespace": "shop"});
    let web = json!({"namespace": "shop", "name": "web-0"});
    assert_eq!(request("list", "pods", shop.clone()), "kubectl get pods -n shop");
    assert_eq!(request("get", "pods", web.clone()), "kubectl get pods web-0 -n shop");
    assert_eq!(request("delete", "pods", web), "kubectl delete pod web-0 -n shop");
    assert_eq!(request("list", "pods", json!({})), "kubectl get pods -A");
    assert_eq!(request("list", "nodes", json!({})), "kubectl get nodes");
    assert_eq!(
        request("watch", "pods", shop.clone()),
        "kubectl get pods -n shop --watch"
    );
    assert_eq!(
        request("create", "configmaps", shop.clone()),
        "kubectl create configmap -n shop"
    );
    assert_eq!(
        request("deletecollection", "pods", shop),
        "kubectl delete pods --all -n shop"
    );
    assert_eq!(
        request("get", "namespaces", json!({"namespace": "shop", "name": "shop"})),
        "kubectl get namespaces shop"
    );
    assert_eq!(
        request(
            "patch",
            "deployments",
            json!({"group": "apps", "namespace": "a", "name": "b", "dry_run": true})
        ),
        "kubectl patch deployment b -n a --dry-run=server"
    );
    assert_eq!(
        request(
            "list",
            "widgets",
            json!({"group": "shop.example.com", "namespace": "a"})
        ),
        "kubectl get widgets.shop.example.com -n a"
    );
}

#[test]
fn subresources_and_reviews_read_as_their_own_commands() {
    let sub = |verb: &str, resource: &str, sub: &str| {
        request(
            verb,
            resource,
            json!({"namespace": "shop", "name": "web", "subresource": sub}),
        )
    };
    assert_eq!(sub("get", "pods", "exec"), "kubectl exec web -n shop");
    assert_eq!(sub("create", "pods", "portforward"), "kubectl port-forward web -n shop");
    assert_eq!(sub("get", "pods", "log"), "kubectl logs web -n shop");
    assert_eq!(
        sub("create", "serviceaccounts", "token"),
        "kubectl create token web -n shop"
    );
    assert_eq!(
        sub("patch", "deployments", "scale"),
        "kubectl scale deployment web -n shop"
    );
    assert_eq!(sub("create", "pods", "eviction"), "GET /x");
    assert_eq!(
        request("create", "selfsubjectaccessreviews", json!({})),
        "kubectl auth can-i"
    );
    assert_eq!(
        request("create", "selfsubjectreviews", json!({})),
        "kubectl auth whoami"
    );
}

/// A line never says `--all` of a deletion that may have had a selector.
#[test]
fn a_deleted_collection_is_called_all_only_where_the_record_knows_it() {
    let deleted = |keys: &[&str], level: Option<&str>| {
        let req = json!({"method": "DELETE", "path": "/x", "verb": "deletecollection", "group": "", "resource": "pods",
            "namespace": "shop", "query_keys": keys});
        let audit = level.map(|level| json!({"level": level, "policy": "p"}));
        of(RecordKind::Intent, json!({"id": "1", "req": req, "audit": audit}))
    };
    let many: Vec<String> = (0..32).map(|number| format!("k{number}")).collect();
    let mut many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (keys, level, told) in [
        (&[][..], None, "--all"),
        (&["propagationPolicy"], Some("Metadata"), "--all"),
        (&["labelSelector"], Some("Metadata"), "-l …"),
        (&["dryRun", "fieldSelector"], None, "--field-selector …"),
        (&["fieldSelector", "labelSelector"], None, "-l … --field-selector …"),
        (&[], Some("None"), "…"),
        (&many, None, "…"),
        (&many[1..], None, "--all"),
    ] {
        assert_eq!(
            deleted(keys, level),
            format!("kubectl delete pods {told} -n shop"),
            "{keys:?} {level:?}"
        );
    }
    many[31] = "labelSelector";
    assert_eq!(deleted(&many, None), "kubectl delete pods -l … -n shop");
}

#[test]
fn a_signing_request_is_called_approved_only_where_somebody_says_so() {
    let judged = |claims: Option<&str>| {
        request(
            "update",
            "certificatesigningrequests",
            json!({"name": "csr-1", "subresource": "approval", "kubectl_command": claims}),
        )
    };
    assert_eq!(
        judged(Some("kubectl certificate approve")),
        "kubectl certificate approve csr-1"
    );
    assert_eq!(
        judged(Some("kubectl certificate deny")),
        "kubectl certificate deny csr-1"
    );
    for nothing in [None, Some("kubectl get"), Some("deny")] {
        assert_eq!(judged(nothing), "kubectl certificate approve|deny csr-1");
    }
}

#[test]
fn the_clients_own_command_is_believed_only_where_it_fits_the_verb() {
    let claims = |verb: &str, command: &str| {
        request(
            verb,
            "pods",
            json!({"namespace": "a", "name": "b", "kubectl_command": command}),
        )
    };
    assert_eq!(claims("get", "kubectl describe"), "kubectl describe pods b -n a");
    assert_eq!(claims("patch", "kubectl label"), "kubectl label pod b -n a");
    assert_eq!(claims("delete", "kubectl get"), "kubectl delete pod b -n a");
    assert_eq!(claims("patch", "kubectl get"), "kubectl patch pod b -n a");
}

#[test]
fn names_cannot_leave_their_place_or_turn_the_terminal() {
    let hostile = request(
        "get",
        "pods",
        json!({"namespace": "a; rm -rf /", "name": "x\u{1b}[31m'\u{202e}"}),
    );
    assert_eq!(
        hostile,
        "kubectl get pods 'x\\u{1b}[31m'\\''\\u{202e}' -n 'a; rm -rf /'"
    );
}

#[test]
fn acting_as_somebody_is_said_and_so_is_what_fits_no_command() {
    let leaf = json!({"id": "1", "as": {"user": "bob", "groups": ["dev"]},
        "req": {"method": "GET", "path": "/healthz", "verb": "get"}});
    assert_eq!(of(RecordKind::Access, leaf), "GET /healthz --as bob --as-group dev");
    assert_eq!(
        of(RecordKind::Refusal, json!({"id": "1", "net": {"ip": "1.2.3.4"}})),
        "connection without a request"
    );
    let session = json!({"id": "1", "person": {"what": "signedIn", "provider": "corp"}});
    assert_eq!(of(RecordKind::Session, session), "signed in at corp");
    let sum = json!({"id": "1", "sum": {"count": 7, "what": "limited requests of strangers"}});
    assert_eq!(of(RecordKind::Summary, sum), "7 × limited requests of strangers");
}

#[test]
fn a_creation_gets_the_name_that_only_its_end_says() {
    let intent = |verb: &str, name: Option<&str>| {
        let leaf = json!({"id": "1", "as": {"user": "bob"}, "req": {
            "method": "POST", "path": "/x", "verb": verb, "group": "", "resource": "pods",
            "namespace": "shop", "name": name, "kubectl_command": "kubectl run",
        }});
        Leaf::read(leaf.to_string().as_bytes()).unwrap()
    };
    let made = intent("create", None);
    assert_eq!(line(RecordKind::Intent, &made), "kubectl run pod -n shop --as bob");
    let unnamed = Unnamed::of(RecordKind::Intent, &made).unwrap();
    assert_eq!(
        unnamed.line("web-x7k\u{1b}", Some("shop")),
        "kubectl run pod 'web-x7k\\u{1b}' -n shop --as bob"
    );
    // A name that was decided on stays, and what is refused makes nothing.
    assert_eq!(Unnamed::of(RecordKind::Intent, &intent("create", Some("web"))), None);
    assert_eq!(Unnamed::of(RecordKind::Intent, &intent("deletecollection", None)), None);
    assert_eq!(Unnamed::of(RecordKind::Refusal, &made), None);
}
