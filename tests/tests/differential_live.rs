//! Our RBAC evaluator against a running API server: SubjectAccessReviews on the objects that it holds, its own default
//! roles and bindings among them.
//!
//! `differential_rbac` asks a thousand times as many questions of Kubernetes' evaluator alone; this shows that what the
//! cluster stores and lists is read as the cluster itself reads it.

use access::generate::{Question, Random, World, world};
use access::rbac::{Binding, Objects, Role, Snapshot, SubjectView};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::wait::{PATIENCE, try_until};

const GROUP: &str = "rbac.authorization.k8s.io";
const SEED: u64 = 20_261_121;
const WORLDS: usize = 10;
const QUESTIONS_PER_WORLD: usize = 60;

struct Live<'a> {
    cluster: &'a Cluster,
    accepted: usize,
    refused: usize,
}

impl Live<'_> {
    fn post(&self, target: &str, body: &Value) -> anyhow::Result<tests::http::Answer> {
        let headers = [("Content-Type", "application/json")];
        self.cluster
            .client()
            .send("POST", target, &headers, body.to_string().as_bytes())
    }

    /// Creates an object. What the API server's validation refuses cannot be in a cluster, and is left out.
    fn create(&mut self, resource: &str, namespace: Option<&str>, object: &Value) -> anyhow::Result<()> {
        let target = match namespace {
            Some(namespace) => format!("/apis/{GROUP}/v1/namespaces/{namespace}/{resource}"),
            None => format!("/apis/{GROUP}/v1/{resource}"),
        };
        let answer = self.post(&target, object)?;
        match answer.status {
            201 => self.accepted += 1,
            422 => self.refused += 1,
            other => anyhow::bail!("{other} for {object}: {}", String::from_utf8_lossy(&answer.body)),
        }
        Ok(())
    }

    fn create_role(&mut self, prefix: &str, role: &Role) -> anyhow::Result<()> {
        let mut object = serde_json::to_value(role)?;
        object["metadata"]["name"] = json!(format!("{prefix}-{}", role.metadata.name));
        let namespace = role.metadata.namespace.as_deref();
        if let (Some(_), Some(rules)) = (namespace, object["rules"].as_array_mut()) {
            // Validation keeps paths out of namespaces.
            rules.retain(|rule| rule.get("nonResourceURLs").is_none());
        }
        let resource = if namespace.is_some() { "roles" } else { "clusterroles" };
        self.create(resource, namespace, &object)
    }

    fn create_binding(&mut self, prefix: &str, binding: &Binding) -> anyhow::Result<()> {
        let mut object = serde_json::to_value(binding)?;
        object["metadata"]["name"] = json!(format!("{prefix}-{}", binding.metadata.name));
        object["roleRef"]["name"] = json!(format!("{prefix}-{}", binding.role_ref.name));
        object["roleRef"]["apiGroup"] = json!(GROUP);
        if let Some(subjects) = object["subjects"].as_array_mut() {
            subjects.retain(|subject| {
                ["User", "Group", "ServiceAccount"]
                    .iter()
                    .any(|kind| subject["kind"] == *kind)
            });
        }
        for subject in object["subjects"].as_array_mut().into_iter().flatten() {
            if subject["kind"] == "ServiceAccount" {
                continue;
            }
            subject["apiGroup"] = json!(GROUP);
            // Validation refuses a namespace there, and an absent one means the same to the evaluator.
            if let Some(fields) = subject.as_object_mut() {
                fields.remove("namespace");
            }
        }
        let namespace = binding.metadata.namespace.as_deref();
        let resource = if namespace.is_some() {
            "rolebindings"
        } else {
            "clusterrolebindings"
        };
        self.create(resource, namespace, &object)
    }

    fn create_world(&mut self, number: usize, world: &World) -> anyhow::Result<()> {
        let prefix = format!("w{number}");
        let objects = &world.objects;
        for role in objects.roles.iter().chain(&objects.cluster_roles) {
            self.create_role(&prefix, role)?;
        }
        for binding in objects.role_bindings.iter().chain(&objects.cluster_role_bindings) {
            self.create_binding(&prefix, binding)?;
        }
        Ok(())
    }

    /// The API server's evaluator reads its own caches, each in the order of writing: when it knows the last object of each
    /// kind, it knows all.
    fn create_last_and_wait(&mut self) -> anyhow::Result<()> {
        let rules = json!([{"apiGroups": ["last.test"], "resources": ["things"], "verbs": ["get"]}]);
        let subjects = json!([{"kind": "User", "name": "last", "apiGroup": GROUP}]);
        for (namespace, role, roles, bindings) in [
            (Some("a"), "Role", "roles", "rolebindings"),
            (None, "ClusterRole", "clusterroles", "clusterrolebindings"),
        ] {
            let reference = json!({"kind": role, "name": "last", "apiGroup": GROUP});
            self.create(roles, namespace, &json!({"metadata": {"name": "last"}, "rules": rules}))?;
            let binding = json!({"metadata": {"name": "last"}, "subjects": subjects, "roleRef": reference});
            self.create(bindings, namespace, &binding)?;
            let question = Question {
                user: "last".into(),
                verb: "get".to_owned(),
                group: "last.test".to_owned(),
                resource: "things".to_owned(),
                namespace: namespace.unwrap_or_default().to_owned(),
                is_resource: true,
                ..Question::default()
            };
            try_until("the API server knows the last binding", PATIENCE, || {
                ensure!(self.review(&question)?, "not allowed yet");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn list<T: for<'de> Deserialize<'de>>(&self, resource: &str) -> anyhow::Result<Vec<T>> {
        let answer = self
            .cluster
            .client()
            .get(&format!("/apis/{GROUP}/v1/{resource}"), &[])?;
        serde_json::from_value(answer.json()?["items"].take()).with_context(|| resource.to_owned())
    }

    fn objects(&self) -> anyhow::Result<Objects> {
        Ok(Objects {
            roles: self.list("roles")?,
            cluster_roles: self.list("clusterroles")?,
            role_bindings: self.list("rolebindings")?,
            cluster_role_bindings: self.list("clusterrolebindings")?,
        })
    }

    /// A review of a path has no room for a namespace, which Kubernetes' evaluator alone would look at.
    fn askable(question: &Question) -> Question {
        if question.is_resource {
            return question.clone();
        }
        Question {
            user: question.user.clone(),
            groups: question.groups.clone(),
            verb: question.verb.clone(),
            path: question.path.clone(),
            ..Question::default()
        }
    }

    fn review(&self, question: &Question) -> anyhow::Result<bool> {
        let mut spec = json!({"user": &*question.user, "groups": &question.groups});
        if question.is_resource {
            spec["resourceAttributes"] = json!({
                "verb": question.verb, "group": question.group, "resource": question.resource,
                "subresource": question.subresource, "namespace": question.namespace, "name": question.name,
            });
        } else {
            spec["nonResourceAttributes"] = json!({"verb": question.verb, "path": question.path});
        }
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let answer = self
            .post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review)?
            .json()?;
        answer["status"]["allowed"]
            .as_bool()
            .with_context(|| answer.to_string())
    }
}

/// What people and components ask of a cluster's default roles.
fn everyday(random: &mut Random) -> Question {
    let users = [
        "ann",
        "system:kube-scheduler",
        "system:kube-controller-manager",
        "system:serviceaccount:kube-system:job-controller",
    ];
    let groups = [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
        "system:monitoring",
    ];
    let (group, resource) = *random
        .choose(&[
            ("", "pods"),
            ("", "nodes"),
            ("", "secrets"),
            ("", "events"),
            ("apps", "replicasets"),
            ("batch", "jobs"),
            ("coordination.k8s.io", "leases"),
            ("authorization.k8s.io", "selfsubjectaccessreviews"),
            ("authentication.k8s.io", "tokenreviews"),
            ("rbac.authorization.k8s.io", "clusterroles"),
        ])
        .expect("there are some");
    Question {
        user: random.pick(&users).into(),
        groups: (0..=random.below(2)).map(|_| random.pick(&groups).into()).collect(),
        verb: random
            .pick(&["get", "list", "watch", "create", "update", "delete"])
            .to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: random.pick(&["", "", "", "status", "binding"]).to_owned(),
        namespace: random.pick(&["", "kube-system", "a"]).to_owned(),
        name: random.pick(&["", "kube-scheduler", "x"]).to_owned(),
        path: random
            .pick(&["/healthz", "/version", "/metrics", "/api", "/apis/apps", "/openapi/v3"])
            .to_owned(),
        is_resource: random.percent(70),
    }
}

#[test]
fn a_running_api_server_answers_every_review_as_we_decide() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let mut random = Random::new(SEED);
    let worlds: Vec<_> = (0..WORLDS).map(|_| world(&mut random, QUESTIONS_PER_WORLD)).collect();
    for namespace in ["a", "b", "c"] {
        cluster.admin()?.ok(&["create", "namespace", namespace])?;
    }
    let mut live = Live {
        cluster,
        accepted: 0,
        refused: 0,
    };
    for (number, world) in worlds.iter().enumerate() {
        live.create_world(number, world)?;
    }
    live.create_last_and_wait()?;
    let snapshot = Snapshot::new(&live.objects()?);

    let everyday_ones: Vec<_> = (0..200).map(|_| everyday(&mut random)).collect();
    let questions = worlds.iter().flat_map(|world| &world.questions).chain(&everyday_ones);
    let (mut asked, mut allowed, mut differences) = (0, 0, Vec::new());
    for question in questions.map(Live::askable) {
        let theirs = live.review(&question)?;
        let subject = SubjectView::exactly(&question.user, &question.groups);
        let ours = snapshot.decide(&subject, &question.attributes()).allowed_by.is_some();
        asked += 1;
        allowed += usize::from(theirs);
        if ours != theirs {
            differences.push(format!("we say {ours}, the cluster {theirs}: {question:?}"));
        }
    }
    println!(
        "differential_live reviews={asked} allowed={allowed} objects_made={} objects_refused={} differences={}",
        live.accepted,
        live.refused,
        differences.len()
    );
    ensure!(
        differences.is_empty(),
        "{} of {asked}:\n{}",
        differences.len(),
        differences.join("\n")
    );
    ensure!(
        asked >= 500 && live.accepted >= 40,
        "too little was asked: {asked} on {}",
        live.accepted
    );
    ensure!(
        (asked / 8..asked * 4 / 5).contains(&allowed),
        "{allowed} of {asked} allowed prove too little"
    );
    Ok(())
}
