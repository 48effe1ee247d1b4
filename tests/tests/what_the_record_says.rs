//! Whole records of real calls, field by field (docs/reference/record-fields.md names these stories).

use std::process::Command;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proxy::audit::{Class, PartKey, open_part};
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, PROTOBUF, both, roles};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::upgraded::{Switch, Upgraded};

#[test]
fn a_record_says_what_was_asked_by_whom_and_what_the_answer_was_about() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("fields", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let maps = "/api/v1/namespaces/fields/configmaps";

    let sent = br#"{"metadata":{"generateName":"made-"}}"#;
    let (id, status, body) = alice.call("POST", maps, &[JSON], sent)?;
    let made: Value = serde_json::from_slice(&body)?;
    assert_eq!(status, 201, "{made}");
    let (intent, outcome) = both(&gateway, &id)?;
    assert_eq!(
        (&intent["kind"], &outcome["kind"]),
        (&json!("intent"), &json!("outcome"))
    );
    for field in ["name", "namespace", "uid"] {
        assert_eq!(
            outcome["object"][field], made["metadata"][field],
            "{field} of what was created"
        );
    }
    assert_eq!(
        outcome["object"]["resource_version"],
        made["metadata"]["resourceVersion"]
    );
    assert_eq!(outcome["outcome"]["bytes_in"], sent.len());
    assert_eq!(outcome["outcome"]["bytes_out"], body.len());
    let digests = ["body_sha256", "body_hmac"].map(|name| outcome["outcome"][name].as_str().map(str::len));
    assert_eq!(digests, [None, Some(64)], "{outcome}");
    assert_eq!(outcome["upstream"]["address"], cluster.address().to_string());
    assert!(outcome["upstream"]["local_port"].as_u64().is_some_and(|port| port > 0));
    assert_eq!(intent["by"]["user"], "alice@example.com");
    assert_eq!(intent["net"]["ip"], "127.0.0.1");
    let asked = ["verb", "group", "version", "resource", "namespace"].map(|member| intent["req"][member].as_str());
    assert_eq!(asked, ["create", "", "v1", "configmaps", "fields"].map(Some));
    assert!(outcome["outcome"]["took"]["total"].as_u64() >= outcome["outcome"]["took"]["first"].as_u64());
    assert!(outcome["mono"].as_u64() > intent["mono"].as_u64() && outcome["boot"] == intent["boot"]);
    assert!(
        intent["by"]["credential_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("JTI="))
    );
    for hash in [
        &intent["by"]["groups_hash"],
        &intent["decision"]["sent_groups_hash"],
        &intent["decision"]["policy"],
    ] {
        assert_eq!(hash.as_str().map(str::len), Some(32), "{intent}");
    }
    assert_eq!(intent["decision"]["rules"].as_array().map(Vec::is_empty), Some(false));
    assert_eq!(intent["req"]["content_type"], "application/json");

    alice.call("POST", maps, &[JSON], br#"{"metadata":{"name":"zz-last"}}"#)?;
    let listed: Value = serde_json::from_slice(&alice.call("GET", maps, &[], b"")?.2)?;
    let listed = listed["items"].as_array().context("items")?;
    for accept in [
        ("Accept", "application/json"),
        PROTOBUF,
        ("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
    ] {
        let (id, _, _) = alice.call("GET", &format!("{maps}?limit=500"), &[accept], b"")?;
        let (access, close) = both(&gateway, &id)?;
        assert_eq!(access["req"]["query_keys"], json!(["limit"]));
        assert_eq!(close["items"]["last"], "zz-last", "{accept:?}: {close}");
        assert_eq!(close["items"]["count"], listed.len(), "{close}");
        assert_eq!(close["items"]["first"], listed[0]["metadata"]["name"]);
        let (id, _, _) = alice.call("GET", &format!("{maps}/zz-last"), &[accept], b"")?;
        let (_, close) = both(&gateway, &id)?;
        assert_eq!(close["object"]["name"], "zz-last", "{accept:?}: {close}");
        assert!(close["object"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
        let (id, status, _) = alice.call("GET", &format!("{maps}/missing"), &[accept], b"")?;
        let (_, close) = both(&gateway, &id)?;
        assert_eq!(
            (status, &close["outcome"]["reason"]),
            (404, &json!("NotFound")),
            "{accept:?}: {close}"
        );
    }
    let (id, _, _) = alice.call("GET", "/openapi/v2", &[("Accept-Encoding", "gzip")], b"")?;
    assert!(
        both(&gateway, &id)?.1["outcome"].get("unread").is_none(),
        "no object is asked for"
    );
    let big = json!({"metadata": {"name": "big"}, "data": {"a": "x".repeat(200_000)}}).to_string();
    alice.call("POST", maps, &[JSON], big.as_bytes())?;
    let (id, _, _) = alice.call("GET", &format!("{maps}/big"), &[("Accept-Encoding", "gzip")], b"")?;
    assert_eq!(both(&gateway, &id)?.1["outcome"]["unread"], "the answer is compressed");
    let forbidden = alice.call("GET", "/api/v1/namespaces/kube-system/secrets", &[], b"")?;
    let refusal = gateway.records_with("the refusal", |records| {
        records.iter().any(|record| record["id"] == *forbidden.0)
    })?;
    let refusal = refusal
        .iter()
        .find(|record| record["id"] == *forbidden.0)
        .context("the refusal")?;
    assert_eq!(
        (&refusal["kind"], &refusal["outcome"]["status"]),
        (&json!("refusal"), &json!(403))
    );
    Ok(())
}

/// A record that says "dry run" of what was stored would make less of it than it was.
#[test]
fn a_call_is_a_dry_run_only_where_the_cluster_stores_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("dry", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let maps = "/api/v1/namespaces/dry/configmaps";
    // Go leaves out a parameter with a semicolon (GO-2021-0317), so the server does not see the last one.
    let queries = [
        "",
        "dryRun=All",
        "dryRun=All&dryRun=All",
        "dr%79Run=%41ll",
        "dryRun",
        "dryRun=",
        "dryRun=all",
        "dryRun=All&dryRun=None",
        "dryRun=None",
        "dryrun=All",
        "dryRun=All;x=1",
    ];
    let mut dry = 0;
    for (at, query) in queries.into_iter().enumerate() {
        let name = format!("made-{at}");
        let object = json!({"metadata": {"name": name}}).to_string();
        let (id, status, _) = alice.call("POST", &format!("{maps}?{query}"), &[JSON], object.as_bytes())?;
        let is_stored = alice.call("GET", &format!("{maps}/{name}"), &[], b"")?.1 == 200;
        let says_dry = both(&gateway, &id)?.0["req"]["dry_run"] == true;
        assert_eq!(says_dry, status == 201 && !is_stored, "{query}: {status}");
        dry += usize::from(says_dry);
    }
    assert_eq!(dry, 3);

    let object = br#"{"metadata":{"name":"kept"},"data":{"a":"1"}}"#;
    alice.call("POST", maps, &[JSON], object)?;
    let kept = format!("{maps}/kept?dryRun=All");
    let patch = ("Content-Type", "application/merge-patch+json");
    for (method, header, body, is_dry) in [
        (
            "PUT",
            JSON,
            &br#"{"metadata":{"name":"kept"},"data":{"a":"2"}}"#[..],
            true,
        ),
        ("PATCH", patch, br#"{"data":{"a":"2"}}"#, true),
        // The body's options count where there is a body: this one deletes.
        ("DELETE", JSON, br#"{"kind":"DeleteOptions","apiVersion":"v1"}"#, false),
    ] {
        let (id, status, _) = alice.call(method, &kept, &[header], body)?;
        assert_eq!(status, 200, "{method}");
        let says = both(&gateway, &id)?.0["req"].get("dry_run").cloned();
        assert_eq!(says, is_dry.then_some(json!(true)), "{method}");
        let (_, status, now) = alice.call("GET", &format!("{maps}/kept"), &[], b"")?;
        match is_dry {
            true => assert_eq!(serde_json::from_slice::<Value>(&now)?["data"]["a"], "1", "{method}"),
            false => assert_eq!(status, 404, "{method}"),
        }
    }

    // A token is handed out, a backend reached and a session opened, whatever the query says.
    let token = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
    let path = "/api/v1/namespaces/dry/serviceaccounts/robot/token?dryRun=All";
    let (id, status, answer) = alice.call("POST", path, &[JSON], token)?;
    assert_eq!(status, 201);
    let handed_out = serde_json::from_slice::<Value>(&answer)?["status"]["token"].is_string();
    let says_dry = both(&gateway, &id)?.0["req"]["dry_run"] == true;
    assert!(
        handed_out && !says_dry,
        "handed out: {handed_out}, a dry run: {says_dry}"
    );
    for path in ["services/none/proxy/act", "pods/none/exec"] {
        let path = format!("/api/v1/namespaces/dry/{path}?dryRun=All&command=ls");
        let (id, status, _) = alice.call("POST", &path, &[], b"")?;
        assert!(status >= 400, "{path}: {status}");
        let of_it = |record: &&Value| record["id"] == *id && record.get("req").is_some();
        let records = gateway.records_with("the call", |records| records.iter().any(|record| of_it(&record)))?;
        assert!(
            records
                .iter()
                .filter(of_it)
                .all(|record| record["req"].get("dry_run").is_none()),
            "{path}"
        );
    }
    Ok(())
}

/// A part of a record, opened with the key that the data folder keeps.
fn opened(gateway: &Gateway, id: &str, class: Class) -> anyhow::Result<Option<String>> {
    let records = ledger::Reader::open(&gateway.ledger())?
        .records_from(0)
        .collect::<Result<Vec<_>, _>>()?;
    let leaf = |record: &ledger::Record| serde_json::from_slice::<Value>(&record.leaf);
    let record = records
        .iter()
        .find(|record| leaf(record).is_ok_and(|leaf| leaf["id"] == *id))
        .context("the record")?;
    let leaf = leaf(record)?;
    let parts = leaf["parts"].as_array().cloned().unwrap_or_default();
    assert_eq!(parts.len(), record.parts.len(), "{leaf}");
    let Some(at) = parts.iter().position(|part| part["name"] == class.name()) else {
        return Ok(None);
    };
    let data = gateway.folder().join("data");
    let seal = <[u8; 32]>::try_from(std::fs::read(data.join("keys/seal"))?).map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let keys = state::SealingKeys::new(state::SealingKey::new(&seal).context("a key")?, Vec::new());
    let store = state::Store::open(&data.join("state.sqlite"), keys, state::Limits::default())?;
    let subject = leaf["by"]["id"].as_str().context("a subject")?;
    let key = store.part_key(subject, class.name(), model::time::Timestamp::EPOCH)?;
    assert_eq!(parts[at]["key"], key.id);
    let key = PartKey::new(&key.id, &key.bytes).context("a key")?;
    let commitment = parts[at]["commitment"].as_str().context("a commitment")?;
    let bytes = open_part(&key, id, class, commitment, &record.parts[at]).context("the part opens")?;
    assert_eq!(parts[at]["len"], bytes.len());
    Ok(Some(String::from_utf8(bytes)?))
}

#[test]
fn what_may_not_stand_in_a_record_is_sealed_beside_it() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("parts", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let target = "/api/v1/namespaces/parts/configmaps?limit=5&labelSelector=app%3Dshop&token=never";
    let agent = "kubectl/v1.36.3 (linux/amd64) on behalf of: somebody@example.com";
    let (id, status, _) = alice.call("GET", target, &[("User-Agent", agent)], b"")?;
    assert_eq!(status, 200);
    let (access, _) = both(&gateway, &id)?;
    assert_eq!(access["req"]["options"], "limit=5");
    assert_eq!(access["req"]["agent"], "kubectl/v1.36.3 (linux/amd64) on behalf");
    assert_eq!(
        opened(&gateway, &id, Class::Query)?.as_deref(),
        Some("labelSelector=app%3Dshop")
    );
    assert_eq!(opened(&gateway, &id, Class::Agent)?.as_deref(), Some(agent));
    assert_eq!(opened(&gateway, &id, Class::Path)?, None);
    let reader = ledger::Reader::open(&gateway.ledger())?;
    let verified = reader.verify(*reader.segments().last().context("a segment")?)?;
    assert_eq!(verified.parts, 2);

    let (plain, _, _) = alice.call(
        "GET",
        "/api/v1/namespaces/parts/configmaps?limit=5",
        &[("User-Agent", "kubectl/v1.36.3")],
        b"",
    )?;
    assert!(
        both(&gateway, &plain)?.0.get("parts").is_none(),
        "an ordinary call has none"
    );
    let map = "/api/v1/namespaces/parts/configmaps?fieldManager=someone-else";
    let (made, status, _) = alice.call("POST", map, &[JSON], br#"{"metadata":{"name":"a"}}"#)?;
    assert_eq!(
        (status, opened(&gateway, &made, Class::Query)?.as_deref()),
        (201, Some("fieldManager=someone-else"))
    );
    Ok(())
}

/// The API server obeys what stands behind any number of other parameters, and of a key that is given twice the first value. Whoever
/// reads the record has to learn what it obeyed.
#[test]
fn promise_4_options_that_the_cluster_obeys_stand_in_the_record_whatever_stands_before_them() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("options", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let maps = "/api/v1/namespaces/options/configmaps";
    the_first_value_counts(&gateway, &alice, maps)?;
    a_switch_without_a_value_is_on(&gateway, &alice, maps)?;

    // Go leaves out a selector with a semicolon, so that everything is deleted: the record does not say that something was selected.
    let (id, status, _) = alice.call("DELETE", &format!("{maps}?labelSelector=a%3Db;c"), &[], b"")?;
    let intent = both(&gateway, &id)?.0;
    assert_eq!((status, &intent["req"]["query_keys"]), (200, &json!(["(not a name)"])));
    assert_eq!(alice.call("GET", &format!("{maps}/held"), &[], b"")?.1, 404);
    Ok(())
}

fn the_first_value_counts(gateway: &Gateway, alice: &Caller, maps: &str) -> anyhow::Result<()> {
    let padded = format!(
        "{}gracePeriodSeconds=0&propagationPolicy=Orphan",
        "pretty=true&".repeat(32)
    );
    let mut orphaned = 0;
    for (at, query) in [
        &*padded,
        "propagationPolicy=%4Frphan&propagationPolicy=Background",
        "propagationPolicy=Background&propagationPolicy=Orphan",
        "propagationPolicy=Background;&%70ropagationPolicy=Orphan",
    ]
    .into_iter()
    .enumerate()
    {
        let object = json!({"metadata": {"name": format!("left-{at}")}}).to_string();
        assert_eq!(alice.call("POST", maps, &[JSON], object.as_bytes())?.1, 201);
        let (id, status, answer) = alice.call("DELETE", &format!("{maps}/left-{at}?{query}"), &[], b"")?;
        let answer: Value = serde_json::from_slice(&answer)?;
        assert_eq!(status, 200, "{query}: {answer}");
        let obeyed = answer["metadata"]["finalizers"] == json!(["orphan"]);
        let intent = both(gateway, &id)?.0;
        let options = intent["req"]["options"].as_str().context("options")?;
        let says = options.split('&').any(|option| option == "propagationPolicy=Orphan");
        assert_eq!(says, obeyed, "{query}: {options}");
        orphaned += usize::from(says);
        if query == padded {
            assert_eq!(options, "gracePeriodSeconds=0&propagationPolicy=Orphan&pretty=true");
            let keys = json!(["pretty", "gracePeriodSeconds", "propagationPolicy"]);
            assert_eq!(
                (&intent["req"]["query_keys"], &intent["req"]["query_count"]),
                (&keys, &json!(34))
            );
            let rest = vec!["pretty=true"; 31].join("&");
            assert_eq!(opened(gateway, &id, Class::Query)?, Some(rest));
        }
    }
    assert_eq!(orphaned, 3);
    Ok(())
}

fn a_switch_without_a_value_is_on(gateway: &Gateway, alice: &Caller, maps: &str) -> anyhow::Result<()> {
    let apply = ("Content-Type", "application/apply-patch+yaml");
    for (manager, query, value) in [
        ("a", "", "1"),
        ("b", "&force=false", "2"),
        ("b", "&force", "3"),
        ("c", "&force=false&force", "4"),
        ("c", "&force=&force=false", "5"),
    ] {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}, "data": {"a": value}});
        let path = format!("{maps}/held?fieldManager={manager}{query}");
        let (id, status, _) = alice.call("PATCH", &path, &[apply], object.to_string().as_bytes())?;
        let intent = both(gateway, &id)?.0;
        let options = intent["req"]["options"].as_str().unwrap_or_default();
        let says = options.split('&').any(|option| option == "force=");
        assert_eq!(says || value == "1", status < 300, "{query}: {status}, {options}");
    }
    Ok(())
}

const ENTERS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: enters, namespace: commands }
rules: [{ apiGroups: [""], resources: [pods/exec], verbs: [create] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: enters, namespace: commands }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: enters }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// What runs may have a secret in it; that something runs, where and with which streams may not be hidden.
#[test]
fn h_20_of_a_session_its_streams_stand_in_the_record_and_its_command_sealed_beside_it() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("commands", "dev"))?;
    cluster.admin()?.apply(ENTERS)?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let token = gateway.sign_in("alice")?.token;
    let long = format!("command=sh&command=-c&command={}", "x".repeat(40 << 10));
    for (query, command, container) in [
        // The API server decodes keys, and drops what has a `;` in it.
        (
            "%63ommand=id&command=a;b&%63ontainer=main&stdout=true",
            "command=id",
            Some("main"),
        ),
        // As long as a request line may be, and nothing of it is cut.
        (&*format!("{long}&stdout=true"), &*long, None),
        (
            "command=sh&command=-c&command=echo%20a%20b&container=main&stdin=true&stdout=true&tty=true",
            "command=sh&command=-c&command=echo%20a%20b",
            Some("main"),
        ),
        // What cannot be a container's name is whatever a caller likes, and stands nowhere.
        ("command=id&container=Hunter_2&stdout=true", "command=id", None),
        (
            "command=tar&command=cf&command=-&command=%2Fetc&stdout=true&stderr=true",
            "command=tar&command=cf&command=-&command=%2Fetc",
            None,
        ),
        (
            "command=tar&command=-xmf&command=-&command=-C&command=%2Ftmp&stdin=true",
            "command=tar&command=-xmf&command=-&command=-C&command=%2Ftmp",
            None,
        ),
    ] {
        let target = format!("/clusters/bench/api/v1/namespaces/commands/pods/nobody/exec?{query}");
        let asked = Upgraded::ask(&gateway, &token, &target, Switch::Spdy("v4.channel.k8s.io"), b"")?;
        assert!(
            asked.head.starts_with("HTTP/1.1 404 "),
            "there is no such pod: {}",
            asked.head
        );
        let id = asked.id()?;
        let (open, end) = both(&gateway, &id)?;
        assert_eq!(
            (&open["kind"], &open["req"]["action"]),
            (&json!("open"), &json!("exec")),
            "{open}"
        );
        let options: Vec<&str> = query.split('&').filter(|pair| pair.ends_with("=true")).collect();
        assert_eq!(open["req"]["options"], options.join("&"), "{open}");
        assert_eq!(open["req"]["container"].as_str(), container, "{open}");
        assert_eq!(
            opened(&gateway, &id, Class::Command)?.as_deref(),
            Some(command),
            "{open}"
        );
        for record in [open, end] {
            let text = record.to_string();
            assert!(!text.contains("echo") && !text.contains("etc"), "{text}");
        }
    }
    Ok(())
}

#[test]
fn the_life_of_the_gateway_and_its_rules_stand_in_the_ledger() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("life", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let policies = |records: &[Value]| records.iter().filter(|record| record["kind"] == "policy").count();
    // Other tests change the roles of the shared cluster meanwhile, so that there may be more by now.
    let records = gateway.records_with("the first rules", |records| policies(records) >= 1)?;
    let of = |records: &[Value], kind: &str| records.iter().find(|record| record["kind"] == kind).cloned();
    let start = of(&records, "start").context("a start")?;
    assert_eq!(
        (&start["start"]["origin"], &start["start"]["epoch"]),
        (&json!(gateway.url), &json!(0))
    );
    let config = of(&records, "config").context("a configuration")?;
    assert_eq!(config["config"]["digest"].as_str().map(str::len), Some(32));
    let first = of(&records, "policy").context("rules")?;
    assert_eq!(first["cluster"], "bench");

    let binding = roles("life", "ops");
    cluster.admin()?.apply(&binding)?;
    let changed = |record: &&Value| {
        let names = record["policy"]["names"].as_array();
        names.is_some_and(|names| names.iter().any(|name| name == "~RoleBinding life/works"))
    };
    let records = gateway.records_with("the change of the binding", |records| {
        records.iter().any(|r| changed(&r))
    })?;
    let change = records.iter().find(changed).context("the change")?;
    assert_ne!(change["policy"]["digest"], change["policy"]["before"]);
    assert_eq!(change["boot"], start["boot"]);
    Ok(())
}

/// Who acted as this account, as the state file has it.
fn origins_of(gateway: &Gateway, subject: &str) -> anyhow::Result<Vec<String>> {
    let data = gateway.folder().join("data");
    let seal = <[u8; 32]>::try_from(std::fs::read(data.join("keys/seal"))?).map_err(|_| anyhow::anyhow!("32 bytes"))?;
    let keys = state::SealingKeys::new(state::SealingKey::new(&seal).context("a key")?, Vec::new());
    let store = state::Store::open_beside(&data.join("state.sqlite"), keys, state::Limits::default())?;
    let subject = model::subject::SubjectId::parse(subject).context("a subject id")?;
    Ok(store.origins_of(&subject)?)
}

#[test]
fn a_call_with_a_token_that_a_person_asked_for_names_that_person_also_after_a_restart() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("origin", "dev"))?;
    let more = json!({"identity": {"serviceAccounts": {"accept": true}}});
    let options = Options {
        more: Some(more),
        ..Options::default()
    };
    let mut gateway = Gateway::start(cluster, &options)?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [gateway.url]}});
    let path = "/api/v1/namespaces/origin/serviceaccounts/robot/token";
    let (id, status, body) = alice.call("POST", path, &[JSON], request.to_string().as_bytes())?;
    let answer: Value = serde_json::from_slice(&body)?;
    assert_eq!(status, 201, "{answer}");
    let token = answer["status"]["token"].as_str().context("a token")?;
    let is_issued = |record: &&Value| record["kind"] == "issued" && record["id"] == *id;
    let records = gateway.records_with("the issued credential", |records| records.iter().any(|r| is_issued(&r)))?;
    let issued = &records.iter().find(is_issued).context("issued")?["issued"];
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).context("claims")?)?;
    let claims: Value = serde_json::from_slice(&payload)?;
    assert_eq!(
        issued["id"],
        format!("JTI={}", claims["jti"].as_str().unwrap_or_default())
    );
    assert_eq!(issued["account"], "system:serviceaccount:origin:robot");
    assert_eq!(issued["origin"], "alice@example.com");
    assert_eq!(issued["expires"], claims["exp"]);

    let token = token.to_owned();
    let acts = |gateway: &Gateway| -> anyhow::Result<Value> {
        let robot = Caller::new(gateway, &token)?;
        let (id, status, body) = robot.call("GET", "/api/v1/namespaces/origin/configmaps", &[], b"")?;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        Ok(both(gateway, &id)?.0)
    };
    let access = acts(&gateway)?;
    assert_eq!(access["by"]["user"], "system:serviceaccount:origin:robot");
    assert_eq!(access["by"]["origin"], "alice@example.com", "{access}");
    let robot = access["by"]["id"].as_str().context("a subject id")?;
    assert_eq!(
        origins_of(&gateway, robot)?,
        ["alice@example.com"],
        "whoever decides about the account's data is compared with these"
    );
    gateway.process().signal(nix::sys::signal::Signal::SIGKILL)?;
    gateway.start_again()?;
    assert_eq!(
        acts(&gateway)?["by"]["origin"],
        "alice@example.com",
        "a restart forgets nobody"
    );
    Ok(())
}

/// Whoever asks for a token chooses the form of the answer and what stands beside the token: none of it hides that they hold it.
#[test]
fn a_token_leaves_its_trace_in_whatever_form_it_was_asked_for() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("traces", "dev"))?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let path = "/api/v1/namespaces/traces/serviceaccounts/robot/token";
    let asking = |note: usize, audience: usize| {
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"annotations": {"note": "n".repeat(note)}},
            "spec": {"audiences": [gateway.url, "a".repeat(audience)]},
        })
        .to_string()
    };
    for (accept, note, audience) in [
        (("Accept", "application/yaml"), 0, 1),
        (("Accept", "application/yaml, application/json;q=0.5"), 0, 1),
        (("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), 0, 1),
        (("Accept", "application/cbor"), 0, 1),
        (("Accept-Encoding", "gzip"), 200_000, 1),
        (PROTOBUF, 1_200_000, 1),
        (("Accept", "*/*"), 1_200_000, 1),
        (("Accept", "application/json"), 0, 30_000),
    ] {
        let (id, status, body) = alice.call("POST", path, &[JSON, accept], asking(note, audience).as_bytes())?;
        let what = format!("{accept:?} {note} {audience}: {status}");
        let stands = |text: &[u8]| body.windows(text.len()).any(|window| window == text);
        assert!(status == 201 || !stands(b"eyJ"), "{what}: no token in a refusal");
        if status != 201 {
            assert_eq!(status, 400, "{what}: {}", String::from_utf8_lossy(&body));
            continue;
        }
        let is_issued = |record: &Value| record["kind"] == "issued" && record["id"] == *id;
        let records = gateway.records_with(&format!("the trace of {what}"), |all| all.iter().any(is_issued))?;
        let issued = records.iter().find(|record| is_issued(record)).context("issued")?;
        assert_eq!(issued["issued"]["origin"], "alice@example.com", "{what}");
    }
    Ok(())
}

#[test]
fn a_full_audit_disk_refuses_with_the_reason_and_recovers_by_itself() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("full", "dev"))?;
    let more = json!({"ledger": {"segmentSize": "8MiB"}});
    // An ignored signal stays ignored in what the shell becomes: a file that grows too long is an error and no end.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; exec \"$0\" \"$@\"");
    let options = Options {
        more: Some(more),
        under: Some(shell),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let token = gateway.sign_in("alice")?.token;
    let alice = Caller::new(&gateway, &token)?;
    let limit = |bytes: &str| -> anyhow::Result<()> {
        let pid = gateway.process().pid()?.to_string();
        let done = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
            .status()?;
        anyhow::ensure!(done.success(), "prlimit");
        Ok(())
    };
    let kubectl = gateway.kubectl("alice", &token)?;
    kubectl.ok(&["create", "configmap", "before", "-n", "full"])?;
    // Long names make long records, so that the allocated room is soon used up. Once before the disk is full: the path is
    // sealed beside its record, and its key is made at the first use, in another file.
    let long = format!("/api/v1/namespaces/full/configmaps/{}", "x".repeat(12_000));
    let _ = alice.call("GET", &long, &[], b"")?;
    // No new file of the ledger has room from now on; what is allocated already is still written.
    limit("8388608")?;
    limit("65536")?;
    let refused = (0..4_000).find_map(|_| {
        alice
            .call("GET", &long, &[], b"")
            .ok()
            .filter(|(_, status, _)| *status == 503)
    });
    let (_, _, body) = refused.with_context(|| format!("the disk never was full\n{}", gateway.log()))?;
    let status: Value = serde_json::from_slice(&body)?;
    assert_eq!(status["kind"], "Status");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("the audit disk is full")),
        "{status}"
    );
    assert!(status["details"].get("retryAfterSeconds").is_none(), "{status}");
    // What is left has room for shorter records yet.
    let is_refused = |_: u32| {
        let answer = alice
            .client
            .get("/clusters/bench/api", &[("Authorization", &alice.bearer)])
            .ok()?;
        (answer.status == 503).then_some(answer)
    };
    let answer = (0..4_000)
        .find_map(is_refused)
        .context("short records were taken without end")?;
    // What could not be recorded names no record, and nobody is invited to ask again.
    for field in ["retry-after", "gatescribe-record"] {
        assert!(!answer.head.to_ascii_lowercase().contains(field), "{}", answer.head);
    }
    // The places of calls whose end is not written yet come back, and each may give room to one call more: the first that
    // finds none is the one to look at.
    let refused = |number: u32| {
        let name = format!("never-{number}");
        let begun = std::time::Instant::now();
        let told = kubectl
            .run(&["create", "configmap", &name, "-n", "full", "-v=6"])
            .ok()?;
        (told.code != 0).then_some((name, told, begun.elapsed()))
    };
    let (name, told, took) = (0..200).find_map(refused).context("creates were taken without end")?;
    assert!(told.stderr.contains("the audit disk is full"), "{told}");
    println!("kubectl said so after {} ms", took.as_millis());
    // What would make a person wait is a second attempt; kubectl makes one where an answer invites it.
    let sent = told
        .stderr
        .lines()
        .filter(|line| line.contains("POST") && line.contains("503"))
        .count();
    assert_eq!(sent, 1, "{told}");
    let direct = cluster.admin()?.run(&["get", "configmap", &name, "-n", "full"])?;
    assert!(
        direct.stderr.contains("NotFound"),
        "nothing without a record reached the cluster: {direct}"
    );

    limit("unlimited")?;
    tests::wait::try_until("calls are taken again", tests::wait::PATIENCE, || {
        let again = kubectl.run(&["create", "configmap", "again", "-n", "full"])?;
        anyhow::ensure!(again.code == 0, "{again}");
        Ok(())
    })?;
    let gaps = |records: &[Value]| records.iter().any(|record| record["gap"]["refused"].as_u64() > Some(0));
    gateway.records_with("the gap says what was refused", gaps)?;
    Ok(())
}

/// How many events the summaries count, for strangers and for this subject.
fn summed(records: &[Value], whose: &str) -> u64 {
    let sums = records
        .iter()
        .filter(|record| record["kind"] == "summary")
        .map(|record| &record["sum"]);
    sums.filter(|sum| sum["what"].as_str().is_some_and(|what| what.contains(whose)))
        .filter_map(|sum| sum["count"].as_u64())
        .sum()
}

#[test]
fn floods_fill_their_own_budget_only_and_are_counted_to_the_last_one() -> anyhow::Result<()> {
    const STRANGERS: u64 = 150;
    const CALLS: u64 = 120;
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("floods", "dev"))?;
    // So little that a slow machine sends more, too.
    let more = json!({"limits": {"strangersPerSecond": 1, "recordsPerSecond": 1}});
    let gateway = Gateway::start(
        cluster,
        &Options {
            more: Some(more),
            ..Options::default()
        },
    )?;
    let signed_in = gateway.sign_in("alice")?;
    let alice = Caller::new(&gateway, &signed_in.token)?;
    let bob = Caller::new(&gateway, &gateway.sign_in("bob")?.token)?;
    let earlier = |records: &[Value]| {
        let of_strangers = |record: &&Value| record["kind"] == "refusal" && record.get("by").is_none();
        u64::try_from(records.iter().filter(of_strangers).count()).unwrap_or(0)
    };
    let before = earlier(&gateway.records()?);
    let client = gateway.client()?;
    let target = "/api/v1/namespaces/floods/configmaps";
    let mut limited = 0;
    for round in 0..STRANGERS {
        let answer = client.get(
            &format!("/clusters/bench{target}"),
            &[("Authorization", "Bearer nobody")],
        )?;
        assert_eq!(answer.status, 401);
        if round < CALLS {
            let (_, status, body) = alice.call("GET", target, &[], b"")?;
            assert!(status == 200 || status == 429, "{status}");
            if status == 429 {
                limited += 1;
                assert!(
                    String::from_utf8_lossy(&body).contains("records"),
                    "the reason: {}",
                    String::from_utf8_lossy(&body)
                );
            }
        }
    }
    assert!(limited > 0, "alice has met her limit");
    assert_ne!(bob.call("GET", target, &[], b"")?.1, 429, "bob has a budget of his own");
    let whose = format!("subject {}", subject(&gateway.records()?, "alice@example.com")?);
    let records = gateway.records_with("every flood is counted", |records| {
        earlier(records) - before + summed(records, "strangers") == STRANGERS && summed(records, &whose) == limited
    })?;
    assert!(
        summed(&records, "strangers") > STRANGERS / 2,
        "most of them were only counted"
    );
    Ok(())
}

fn subject(records: &[Value], user: &str) -> anyhow::Result<String> {
    let by = records
        .iter()
        .map(|record| &record["by"])
        .find(|by| by["user"] == user && by["credential"] == "gatewayToken");
    Ok(by.context("a record of theirs")?["id"]
        .as_str()
        .context("an id")?
        .to_owned())
}
