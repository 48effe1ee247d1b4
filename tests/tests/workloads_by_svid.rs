//! Workloads that prove themselves by X.509-SVIDs, through the real process: as whom the API server sees them, what the ledger
//! says of them, which rules are about them, and how their right ends with the bundle (protocol N-11). Bundles come from a file,
//! and from an agent on SPIFFE's own library, which gives a workload its SVID, too.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::caller::both;
use tests::cluster::Cluster;
use tests::cluster::audit::User;
use tests::gateway::{Gateway, Options};
use tests::http::{Client, field};
use tests::kubectl::{Credential, Kubectl};
use tests::person::Person;
use tests::pki::{Ca, Identity};
use tests::process::Folder;
use tests::spiffe::Agent;
use tests::wait::{PATIENCE, try_until};

const WEB: &str = "spiffe://example.org/ns/mesh/sa/web";
const PARTNER: &str = "spiffe://partner.example/billing";
const CONFIGMAPS: &str = "/api/v1/namespaces/mesh/configmaps";

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: mesh }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: mesh }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reads, namespace: mesh }
rules:
- { apiGroups: [""], resources: [configmaps, secrets], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reads, namespace: mesh }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: User, name: "spiffe://example.org/ns/mesh/sa/web" }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "of-partners" }
"#;

/// What RBAC allows to one is forbidden below a path, and what it allows to nobody by name is allowed to a workload of another
/// trust domain, with a group that it takes on.
const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: no-secrets-for-the-mesh }
spec:
  effect: forbid
  subjects: { workloads: ["spiffe://example.org/ns/mesh/*"] }
  kubernetes: { verbs: ["*"], resources: [secrets] }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: partners-read }
spec:
  effect: allow
  subjects: { workloads: ["spiffe://partner.example/billing"] }
  kubernetes: { verbs: [get, list], resources: [configmaps], namespaces: [mesh] }
  as: { groups: [of-partners] }
"#;

struct Answered {
    id: String,
    status: u16,
    words: String,
}

fn call(gateway: &Gateway, identity: &Identity, headers: &[(&str, &str)], path: &str) -> anyhow::Result<Answered> {
    let client = Client::new(gateway.address, gateway.ca(), Some(identity))?;
    let answer = client.get(&format!("/clusters/bench{path}"), headers)?;
    Ok(Answered {
        id: field(&answer.head, "audit-id").context("an Audit-Id")?.to_owned(),
        status: answer.status,
        words: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

fn readiness(gateway: &Gateway, words: &str) -> anyhow::Result<()> {
    try_until(words, PATIENCE, || {
        let url = format!("http://{}/readyz", gateway.admin());
        let found = Browser::default().request("GET", &url, "")?.body;
        ensure!(found.contains(words), "no `{words}` in {found}");
        Ok(())
    })
}

/// As editors and projected volumes do: another file under the same name.
fn replace(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, file)?)
}

/// It is refused with these words, recorded as an SVID of nobody, and nothing of it reached the server.
fn is_refused(cluster: &Cluster, gateway: &Gateway, answered: &Answered, why: &str) -> anyhow::Result<()> {
    ensure!(
        answered.status == 401 && answered.words.contains(why),
        "{}: {}",
        answered.status,
        answered.words
    );
    let is_it = |record: &&Value| record["id"] == answered.id.as_str();
    let records = gateway.records_with("the refusal", |records| records.iter().any(|record| is_it(&record)))?;
    let record = records.iter().find(is_it).context("its record")?;
    assert_eq!(
        (&record["kind"], &record["presented"]),
        (&json!("refusal"), &json!({"credential": "svid"}))
    );
    assert_eq!(record["outcome"]["why"], why);
    assert!(record.get("by").is_none(), "nobody was proved: {record}");
    ensure!(
        cluster
            .audit_events()?
            .iter()
            .all(|event| event.audit_id != answered.id),
        "it reached the server"
    );
    Ok(())
}

fn start(cluster: &Cluster, workloads: &Value) -> anyhow::Result<Gateway> {
    cluster.admin()?.apply(WORLD)?;
    let options = Options {
        more: Some(
            json!({ "listeners": [{}, { "workloads": workloads }], "limits": { "strangersPerSecond": 10_000 } }),
        ),
        ..Options::ruled(RULES)
    };
    Gateway::start(cluster, &options)
}

/// What the SPIFFE federation of another trust domain publishes.
fn as_json(ca: &Ca) -> String {
    let base64: String = ca
        .certificate()
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = json!({"use": "x509-svid", "kty": "EC", "crv": "P-256", "x": "A", "y": "A", "x5c": [base64]});
    json!({"keys": [key], "spiffe_sequence": 1, "spiffe_refresh_hint": 300}).to_string()
}

/// A gateway with the bundles of two trust domains in files.
struct Mesh {
    cluster: &'static Cluster,
    gateway: Gateway,
    ours: Ca,
    partners: Ca,
    /// The file with the bundle of ours.
    bundle: std::path::PathBuf,
    _folder: Folder,
}

impl Mesh {
    fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::shared()?;
        let (ours, partners) = (Ca::new("ours")?, Ca::new("partners")?);
        let folder = Folder::new("bundles")?;
        let bundle = folder.write("ours.pem", ours.certificate())?;
        let theirs = folder.write("partners.json", as_json(&partners))?;
        let workloads = json!([
            { "trustDomain": "example.org", "bundleFile": bundle },
            { "trustDomain": "partner.example", "bundleFile": theirs, "accept": [PARTNER] },
        ]);
        let gateway = start(cluster, &workloads)?;
        readiness(&gateway, "workloads of example.org on kubernetes")?;
        Ok(Self {
            cluster,
            gateway,
            ours,
            partners,
            bundle,
            _folder: folder,
        })
    }

    /// In every place where it has a name.
    fn calls_as_itself(&self, web: &Identity) -> anyhow::Result<()> {
        let answered = call(&self.gateway, web, &[], CONFIGMAPS)?;
        ensure!(answered.status == 200, "{}", answered.words);
        let (access, _) = both(&self.gateway, &answered.id)?;
        let by = &access["by"];
        assert_eq!(
            [&by["kind"], &by["user"], &by["sub"], &by["iss"], &by["credential"]],
            ["workload", WEB, WEB, "spiffe://example.org", "svid"]
        );
        let event = self.cluster.audit_event("web", |event| event.audit_id == answered.id)?;
        let seen = event.impersonated_user.context("it was impersonated")?;
        assert_eq!(seen.username, WEB);
        assert_eq!(seen.groups, ["system:authenticated"]);
        Ok(())
    }

    /// By the beginning of its path, and by its name; a group that a rule lends reaches the cluster.
    fn rules_are_about_it(&self, web: &Kubectl) -> anyhow::Result<()> {
        let refused = web.run(&["get", "secrets", "-n", "mesh"])?;
        ensure!(
            refused.code == 1 && refused.stderr.contains("no-secrets-for-the-mesh"),
            "{refused}"
        );
        let billing = self.partners.workload(PARTNER)?;
        let billing = self
            .gateway
            .kubectl_with("billing", &Credential::Certificate(&billing))?;
        billing.ok(&["get", "configmaps", "-n", "mesh"])?;
        let has_it = |user: &User| user.username == PARTNER && user.groups.iter().any(|group| group == "of-partners");
        self.cluster.audit_event("the group of the rule", |event| {
            event.impersonated_user.as_ref().is_some_and(has_it)
        })?;
        let refused = billing.run(&["get", "secrets", "-n", "mesh"])?;
        ensure!(
            refused.code == 1 && refused.stderr.contains("may not list secrets"),
            "{refused}"
        );
        Ok(())
    }

    /// But the authority of its own trust domain, whatever else is presented.
    fn nobody_else_makes_it(&self) -> anyhow::Result<()> {
        let bearer = format!("Bearer {}", self.gateway.sign_in("alice")?.token);
        let with_token = [("Authorization", bearer.as_str())];
        let forged = self.partners.workload(WEB)?;
        let other = self.partners.workload("spiffe://partner.example/other")?;
        let stranger = self.ours.workload("spiffe://example.net/a")?;
        for (presented, headers, why) in [
            (&forged, &[][..], NOT_OURS),
            (&forged, &with_token, NOT_OURS),
            (
                &other,
                &[],
                "the workload `spiffe://partner.example/other` is not among those of its trust domain that are accepted here",
            ),
            (
                &stranger,
                &[],
                "workloads of the trust domain that the X.509-SVID names are not accepted here",
            ),
        ] {
            let answered = call(&self.gateway, presented, headers, CONFIGMAPS)?;
            is_refused(self.cluster, &self.gateway, &answered, why)?;
        }
        Ok(())
    }

    /// And let in again.
    fn can_be_locked_out(&self, web: &Identity) -> anyhow::Result<()> {
        let carol = Person::signed_in(&self.gateway, "carol")?;
        carol.ok(&format!("gatescribe user lock {WEB} --reason TICKET-4711"))?;
        let answered = call(&self.gateway, web, &[], CONFIGMAPS)?;
        ensure!(
            answered.status == 403 && answered.words.contains("TICKET-4711"),
            "{}",
            answered.words
        );
        carol.ok(&format!("gatescribe user unlock {WEB} --reason found"))?;
        let answered = call(&self.gateway, web, &[], CONFIGMAPS)?;
        ensure!(answered.status == 200, "{}", answered.words);
        Ok(())
    }
}

const NOT_OURS: &str = "no authority in the bundle of the trust domain `example.org` signed the X.509-SVID";

#[test]
fn n_11_a_workload_calls_as_itself_until_its_bundle_vouches_no_more() -> anyhow::Result<()> {
    let mesh = Mesh::start()?;
    let (gateway, next) = (&mesh.gateway, Ca::new("next")?);
    let web = mesh.ours.workload(WEB)?;
    let kubectl = gateway.kubectl_with("web", &Credential::Certificate(&web))?;
    let list = ["get", "configmaps", "-n", "mesh"];
    kubectl.ok(&list)?;
    mesh.calls_as_itself(&web)?;
    mesh.rules_are_about_it(&kubectl)?;
    mesh.nobody_else_makes_it()?;
    mesh.can_be_locked_out(&web)?;

    // A new authority beside the old one changes nothing for what is open; without the old one it ends.
    let mut watch = kubectl.start(&["get", "configmaps", "-n", "mesh", "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    replace(&mesh.bundle, "{ a half-written bundle")?;
    readiness(gateway, "their bundle may be old, the last good one counts")?;
    kubectl.ok(&list)?;
    replace(
        &mesh.bundle,
        &format!("{}{}", mesh.ours.certificate(), next.certificate()),
    )?;
    let of_next = gateway.kubectl_with("next", &Credential::Certificate(&next.workload(WEB)?))?;
    try_until("the new authority counts", PATIENCE, || of_next.ok(&list).map(drop))?;
    kubectl.ok(&list)?;
    replace(&mesh.bundle, next.certificate())?;
    watch.end()?;
    let answered = call(gateway, &web, &[], CONFIGMAPS)?;
    is_refused(mesh.cluster, gateway, &answered, NOT_OURS)?;
    of_next.ok(&list)?;
    let why = format!("ended by the gateway: {NOT_OURS}");
    gateway.records_with("the close says why", |records| {
        records.iter().any(|record| record["outcome"]["why"] == why.as_str())
    })?;
    Ok(())
}

#[test]
fn n_11_bundles_come_from_an_agent_and_stay_while_it_is_away() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let (ours, next) = (Ca::new("ours")?, Ca::new("next")?);
    let folder = Folder::new("agent")?;
    let socket = folder.path().join("agent.sock");
    let gateway = start(
        cluster,
        &json!([{ "trustDomain": "example.org", "workloadApi": format!("unix://{}", socket.display()) }]),
    )?;
    let web = ours.workload(WEB)?;
    let unheard = "workloads of example.org on kubernetes";
    readiness(&gateway, unheard)?;
    readiness(
        &gateway,
        "none is accepted, their bundle is not known: the Workload API at",
    )?;
    let no_bundle = "no bundle of the trust domain `example.org` is loaded";
    is_refused(cluster, &gateway, &call(&gateway, &web, &[], CONFIGMAPS)?, no_bundle)?;

    let mut agent = Agent::at(&socket)?;
    readiness(
        &gateway,
        "it gives this process no bundles (PermissionDenied: no identity issued)",
    )?;
    agent.knows(
        &[("example.org", &ours), ("other.example", &next)],
        &(WEB, ours.workload(WEB)?),
    )?;
    let said = try_until("a workload on go-spiffe calls", PATIENCE, || {
        let said = agent.calls(&gateway, CONFIGMAPS)?;
        ensure!(said.code == 0 && said.stdout.starts_with("200 "), "{said}");
        Ok(said)
    })?;
    let id = said
        .stdout
        .lines()
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("an id")?;
    let (access, _) = both(&gateway, id)?;
    assert_eq!(
        (&access["by"]["user"], &access["by"]["credential"]),
        (&json!(WEB), &json!("svid"))
    );

    // It turns its key: at once, and nothing of the old one is left.
    agent.knows(&[("example.org", &next)], &(WEB, next.workload(WEB)?))?;
    try_until("the new authority counts", PATIENCE, || {
        let said = agent.calls(&gateway, CONFIGMAPS)?;
        ensure!(said.stdout.starts_with("200 "), "{said}");
        Ok(())
    })?;
    is_refused(cluster, &gateway, &call(&gateway, &web, &[], CONFIGMAPS)?, NOT_OURS)?;

    // It goes, and takes nothing with it.
    drop(agent);
    readiness(
        &gateway,
        "their bundle may be old, the last good one counts: the Workload API at",
    )?;
    let of_next = next.workload(WEB)?;
    let answered = call(&gateway, &of_next, &[], CONFIGMAPS)?;
    ensure!(answered.status == 200, "{}", answered.words);
    let mut agent = Agent::at(&socket)?;
    agent.knows(&[("example.org", &ours)], &(WEB, ours.workload(WEB)?))?;
    try_until("it is heard again", PATIENCE, || {
        let answered = call(&gateway, &web, &[], CONFIGMAPS)?;
        ensure!(answered.status == 200, "{}", answered.words);
        Ok(())
    })?;

    // What it has no more is gone, and so is all where it has nothing for the gateway.
    agent.knows(&[("other.example", &next)], &(WEB, ours.workload(WEB)?))?;
    readiness(&gateway, "the agent has no authority of the trust domain `example.org`")?;
    is_refused(cluster, &gateway, &call(&gateway, &web, &[], CONFIGMAPS)?, no_bundle)?;
    agent.knows(&[("example.org", &ours)], &(WEB, ours.workload(WEB)?))?;
    try_until("it counts again", PATIENCE, || {
        let answered = call(&gateway, &web, &[], CONFIGMAPS)?;
        ensure!(answered.status == 200, "{}", answered.words);
        Ok(())
    })?;
    agent.denies()?;
    readiness(&gateway, "none is accepted, their bundle is not known")?;
    is_refused(cluster, &gateway, &call(&gateway, &web, &[], CONFIGMAPS)?, no_bundle)
}
