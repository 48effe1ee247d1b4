//! From views of a cluster and rule files to the rules that decide: off the request path, one after the other, and only what
//! has changed. A cluster of ten thousand bindings changes one of them at a time.
//!
//! Invariant: what comes out depends on the newest view and files alone; what is kept from the last time only saves work.

use std::collections::HashMap;
use std::sync::Arc;

use access::rbac::{Binding, Meta, Objects, Role, Snapshot};
use access::rule::{Consequence, LoadProblem, NamespaceLabels, RuleSet, load_objects, remarks_on_objects};
use feeds::cluster::{ClusterView, Namespace};
use feeds::rules::RuleFiles;
use model::cluster::ClusterId;
use proxy::decision::Rules;
use serde_json::Value;
use tokio::sync::watch;

use super::metrics::PolicyMetrics;
use super::outline::{Entry, PolicySet};
use super::recorder::short_digest;

/// Compiles as long as somebody listens; a request sees the old rules until the new ones are whole.
pub(super) fn compile(
    cluster: ClusterId,
    policy: PolicyMetrics,
    mut view: watch::Receiver<Arc<ClusterView>>,
    mut files: watch::Receiver<Arc<RuleFiles>>,
    publish: watch::Sender<Arc<PolicySet>>,
) -> watch::Receiver<Arc<Rules>> {
    let nothing = Rules {
        snapshot: Arc::default(),
        namespaces: Arc::default(),
        rules: Arc::default(),
        digest: "".into(),
        version: 0,
        complete: false,
    };
    let (compiled, rules) = watch::channel(Arc::new(nothing));
    tokio::spawn(async move {
        let mut compiler = Compiler::default();
        let mut told = Vec::new();
        loop {
            let (newest, newest_files) = (
                Arc::clone(&view.borrow_and_update()),
                Arc::clone(&files.borrow_and_update()),
            );
            let version = compiler.version.wrapping_add(1);
            let work = tokio::task::spawn_blocking(move || {
                compiler.version = version;
                let made = compiler.next(&newest, &newest_files);
                (compiler, made)
            });
            compiler = match work.await {
                Ok((compiler, Made { rules, set, problems })) => {
                    policy.in_effect(&cluster, rules.rules.rules().len(), &problems);
                    tell(&cluster, &problems, &mut told);
                    if rules.complete {
                        // Nobody writes them down in a run without a recorder.
                        let _ = publish.send(Arc::new(set));
                    }
                    if compiled.send(Arc::new(rules)).is_err() {
                        return;
                    }
                    compiler
                }
                Err(error) => {
                    tracing::error!(error = %error, "rules could not be compiled; the old ones stay");
                    Compiler {
                        version,
                        ..Compiler::default()
                    }
                }
            };
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                changed = files.changed() => if changed.is_err() { return },
            }
        }
    });
    rules
}

/// Says once what there is to say of each object, and again when it has changed.
fn tell(cluster: &ClusterId, problems: &[LoadProblem], told: &mut Vec<LoadProblem>) {
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        let meaning = match problem.effect {
            Consequence::CountsAsWritten => {
                tracing::warn!(
                    cluster = %cluster,
                    kind = problem.source,
                    rule = problem.rule,
                    remark = problem.what,
                    "a rule counts, and may not do what it seems to say"
                );
                continue;
            }
            Consequence::Forbids => "it forbids all that its readable part reaches",
            Consequence::GrantsNothing => "it grants nothing",
            Consequence::Demands => "it grants nothing, and what can be read of its obligations is owed",
            Consequence::NothingLoaded => "nothing of it is loaded",
        };
        tracing::error!(
            cluster = %cluster,
            kind = problem.source,
            rule = problem.rule,
            problem = problem.what,
            meaning,
            "an access rule of the cluster is invalid"
        );
    }
    *told = problems.to_vec();
}

/// What the last rules were made of.
#[derive(Default)]
struct Compiler {
    version: u64,
    snapshot: Arc<Snapshot>,
    roles: [Outline<Role>; 2],
    bindings: [Outline<Binding>; 2],
    own: Option<Own>,
    namespaces: Option<(Arc<[Namespace]>, Arc<NamespaceLabels>)>,
}

struct Made {
    rules: Rules,
    set: PolicySet,
    problems: Vec<LoadProblem>,
}

impl Compiler {
    fn next(&mut self, view: &ClusterView, files: &Arc<RuleFiles>) -> Made {
        let objects = with_files(&view.objects, &files.policy.rbac);
        self.snapshot = Arc::new(self.snapshot.next(&objects));
        let own = match self.own.take() {
            Some(own) if own.is_of(view, files) => own,
            before => Own::new(before, view, files),
        };
        let objects = self.outline(&objects, &own);
        let digest: Arc<str> = digest(&objects).into();
        let made = Made {
            rules: Rules {
                snapshot: Arc::clone(&self.snapshot),
                namespaces: self.labels(&view.namespaces),
                rules: Arc::clone(&own.rules),
                digest: Arc::clone(&digest),
                version: self.version,
                complete: view.complete,
            },
            set: PolicySet { digest, objects },
            problems: own.problems.clone(),
        };
        self.own = Some(own);
        made
    }

    fn outline(&mut self, objects: &Objects, own: &Own) -> Vec<Arc<Entry>> {
        let [roles, cluster_roles] = &mut self.roles;
        let [bindings, cluster_bindings] = &mut self.bindings;
        let mut all = roles.next("Role", &objects.roles, |role| &role.metadata);
        all.extend(cluster_roles.next("ClusterRole", &objects.cluster_roles, |role| &role.metadata));
        all.extend(bindings.next("RoleBinding", &objects.role_bindings, |one| &one.metadata));
        all.extend(
            cluster_bindings.next("ClusterRoleBinding", &objects.cluster_role_bindings, |one| {
                &one.metadata
            }),
        );
        all.extend(own.entries.iter().cloned());
        all
    }

    fn labels(&mut self, namespaces: &Arc<[Namespace]>) -> Arc<NamespaceLabels> {
        if let Some((of, labels)) = &self.namespaces
            && Arc::ptr_eq(of, namespaces)
        {
            return Arc::clone(labels);
        }
        let labels = namespaces
            .iter()
            .map(|namespace| (Arc::clone(&namespace.name), namespace.labels.clone()));
        let labels = Arc::new(labels.collect());
        self.namespaces = Some((Arc::clone(namespaces), Arc::clone(&labels)));
        labels
    }
}

fn with_files(cluster: &Objects, files: &Objects) -> Objects {
    let mut objects = cluster.clone();
    objects.roles.extend(files.roles.iter().cloned());
    objects.cluster_roles.extend(files.cluster_roles.iter().cloned());
    objects.role_bindings.extend(files.role_bindings.iter().cloned());
    objects
        .cluster_role_bindings
        .extend(files.cluster_role_bindings.iter().cloned());
    objects
}

/// Our own rules, of the cluster and of files, and what is wrong with some or else to say of them.
struct Own {
    of: [Arc<[Value]>; 2],
    files: Arc<RuleFiles>,
    rules: Arc<RuleSet>,
    problems: Vec<LoadProblem>,
    entries: Vec<Arc<Entry>>,
    /// What each object was read as, by the digest of its content: a change of one costs no reading of the others, however
    /// many examples tenants write.
    read: HashMap<String, Arc<Read>>,
}

/// One object of the cluster, read: its rule, and what is wrong with it.
type Read = (access::rule::Rules, Vec<LoadProblem>);

impl Own {
    fn new(before: Option<Self>, view: &ClusterView, files: &Arc<RuleFiles>) -> Self {
        let of = [Arc::clone(&view.access_rules), Arc::clone(&view.cluster_access_rules)];
        let before = before.map(|own| own.read).unwrap_or_default();
        let (mut objects, mut problems) = (access::rule::Rules::default(), Vec::new());
        let (mut entries, mut read) = (Vec::new(), HashMap::new());
        for rule in of.iter().flat_map(|rules| rules.iter()) {
            let entry = access_rule(rule);
            let one = before.get(&entry.content).map(Arc::clone);
            let one = one.unwrap_or_else(|| Arc::new(load_objects([rule])));
            objects.extend(one.0.clone());
            problems.extend(one.1.iter().cloned());
            read.insert(entry.content.clone(), one);
            entries.push(Arc::new(entry));
        }
        entries.push(Arc::new(Entry {
            name: "rule files".to_owned(),
            content: files.digest.clone(),
        }));
        let mut rules = files.policy.rules.clone();
        rules.extend(objects.clone());
        problems.extend(remarks_on_objects(&objects, &rules));
        Self {
            entries,
            read,
            files: Arc::clone(files),
            rules: Arc::new(RuleSet::new(rules)),
            problems,
            of,
        }
    }

    fn is_of(&self, view: &ClusterView, files: &Arc<RuleFiles>) -> bool {
        let [local, cluster] = &self.of;
        Arc::ptr_eq(&self.files, files)
            && Arc::ptr_eq(local, &view.access_rules)
            && Arc::ptr_eq(cluster, &view.cluster_access_rules)
    }
}

/// An access rule of the cluster by kind and name with the digest of its content.
fn access_rule(rule: &Value) -> Entry {
    let text = |pointer| rule.pointer(pointer).and_then(Value::as_str);
    let (kind, name) = (
        text("/kind").unwrap_or_default(),
        text("/metadata/name").unwrap_or_default(),
    );
    Entry {
        name: named(kind, text("/metadata/namespace"), name),
        content: content(rule),
    }
}

/// The entries of one kind, by the address of the object that each was made of. The objects are kept, so that no other gets
/// the same address.
struct Outline<T>(HashMap<usize, (Arc<T>, Arc<Entry>)>);

impl<T> Default for Outline<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: serde::Serialize> Outline<T> {
    fn next(&mut self, kind: &str, objects: &[Arc<T>], meta: impl Fn(&T) -> &Meta) -> Vec<Arc<Entry>> {
        let mut known = HashMap::with_capacity(objects.len());
        let entries = objects.iter().map(|object| {
            let address = Arc::as_ptr(object).addr();
            let entry = match self.0.remove(&address) {
                Some((_, entry)) => entry,
                None => {
                    let meta = meta(object);
                    Arc::new(Entry {
                        name: named(kind, meta.namespace.as_deref(), &meta.name),
                        content: content(object),
                    })
                }
            };
            known.insert(address, (Arc::clone(object), Arc::clone(&entry)));
            entry
        });
        let entries = entries.collect();
        self.0 = known;
        entries
    }
}

fn named(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

fn content(object: &impl serde::Serialize) -> String {
    short_digest([serde_json::to_vec(object).unwrap_or_default().as_slice()])
}

/// Over the names and contents of all, in their order.
fn digest(entries: &[Arc<Entry>]) -> String {
    short_digest(
        entries
            .iter()
            .flat_map(|entry| [entry.name.as_bytes(), b"\0", entry.content.as_bytes(), b"\n"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(bindings: Vec<Arc<Binding>>, rules: &Arc<[Value]>) -> ClusterView {
        let (views, _) = feeds::cluster::channel(ClusterId::new("c").unwrap());
        let objects = Objects {
            role_bindings: bindings,
            ..Objects::default()
        };
        ClusterView {
            objects: Arc::new(objects),
            access_rules: Arc::clone(rules),
            ..ClusterView::clone(&views.borrow())
        }
    }

    fn binding(name: &str, user: &str) -> Arc<Binding> {
        let object = json!({"metadata": {"name": name, "namespace": "a"},
            "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": user}]});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_the_very_same_and_the_digest_is_that_of_the_content() {
        let (files, rules): (_, Arc<[Value]>) = (
            Arc::new(RuleFiles::default()),
            Arc::from([json!({"kind": "AccessRule"})]),
        );
        let (one, two) = (binding("one", "ann"), binding("two", "bob"));
        let mut compiler = Compiler::default();
        let first = compiler.next(&view(vec![one.clone(), two], &rules), &files);
        let second = compiler.next(&view(vec![one, binding("two", "eve")], &rules), &files);
        assert!(Arc::ptr_eq(&first.set.objects[0], &second.set.objects[0]));
        assert!(!Arc::ptr_eq(&first.set.objects[1], &second.set.objects[1]));
        assert!(Arc::ptr_eq(&first.rules.rules, &second.rules.rules));
        assert_ne!(first.set.digest, second.set.digest);
        let afresh = Compiler::default().next(
            &view(vec![binding("one", "ann"), binding("two", "eve")], &rules),
            &files,
        );
        assert_eq!(afresh.set.digest, second.set.digest, "whatever was kept from before");
        let other: Arc<[Value]> = Arc::from([json!({"kind": "AccessRule", "spec": {}})]);
        let third = compiler.next(
            &view(vec![binding("one", "ann"), binding("two", "eve")], &other),
            &files,
        );
        assert_ne!(third.set.digest, second.set.digest);
        assert!(!Arc::ptr_eq(&third.rules.rules, &second.rules.rules));
        assert_eq!(third.problems.len(), 1, "an invalid rule is said");
    }

    #[test]
    fn what_is_to_say_of_an_object_is_said_unless_a_rule_of_a_file_answers_it() {
        let rule = |name: &str, kubernetes: Value| {
            json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule", "metadata": {"name": name},
                "spec": {"effect": "forbid", "subjects": {"groups": ["*"]}, "kubernetes": kubernetes}})
        };
        let shells: Arc<[Value]> = Arc::from([rule("no-shells", json!({"actions": ["exec"]}))]);
        let made = Compiler::default().next(&view(vec![], &shells), &Arc::default());
        let said: Vec<_> = made
            .problems
            .iter()
            .map(|said| (said.effect, said.rule.as_deref()))
            .collect();
        assert_eq!(said, [(Consequence::CountsAsWritten, Some("no-shells"))]);
        assert_eq!(made.rules.rules.rules().len(), 1, "it counts");
        let nodes = rule("no-nodes", json!({"actions": ["proxy"]}));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), nodes.to_string()).unwrap();
        let files = feeds::rules::read(&[file.path().to_owned()]).unwrap();
        let made = Compiler::default().next(&view(vec![], &shells), &Arc::new(files));
        assert_eq!((made.problems, made.rules.rules.rules().len()), (vec![], 2));
    }

    #[test]
    fn a_rule_of_the_cluster_about_services_is_said_to_have_no_effect() {
        let rules: Arc<[Value]> = Arc::from([json!({"apiVersion": "gatescribe.dev/v1", "kind": "ClusterAccessRule",
            "metadata": {"name": "web"}, "spec": {"effect": "allow", "subjects": {"groups": ["dev"]},
            "services": [{"hosts": ["web.example"], "methods": ["*"], "paths": ["/*"]}]}})]);
        let made = Compiler::default().next(&view(vec![], &rules), &Arc::default());
        let said: Vec<_> = made
            .problems
            .iter()
            .map(|said| (said.effect, said.what.as_str()))
            .collect();
        let what = "spec.services: calls of services are decided by the rules of files alone, so this has no effect: write it there";
        assert_eq!(said, [(Consequence::CountsAsWritten, what)]);
    }

    #[test]
    fn a_change_of_one_access_rule_reads_no_other_one_again() {
        let files = Arc::new(RuleFiles::default());
        let rule = |name: &str, verb: &str| {
            json!({"apiVersion": "gatescribe.dev/v1", "kind": "AccessRule", "metadata": {"name": name, "namespace": "a"},
                "spec": {"effect": "forbid", "subjects": {"groups": ["*"]}, "kubernetes": {"verbs": [verb], "resources": ["pods"]}}})
        };
        let mut compiler = Compiler::default();
        let mut next = |rules: Vec<Value>| {
            let made = compiler.next(&view(vec![], &rules.into()), &files);
            let read = compiler.own.as_ref().unwrap().read.clone();
            (made, read)
        };
        let (first, before) = next(vec![
            rule("one", "get"),
            rule("two", "get"),
            json!({"kind": "AccessRule"}),
        ]);
        let (second, after) = next(vec![
            rule("one", "get"),
            rule("two", "list"),
            json!({"kind": "AccessRule"}),
        ]);
        let same = |content: &&String| {
            before
                .get(*content)
                .is_some_and(|old| Arc::ptr_eq(old, &after[*content]))
        };
        assert_eq!((after.len(), after.keys().filter(same).count()), (3, 2));
        assert_eq!(second.problems, first.problems, "what is wrong is told all the same");
        assert_eq!(second.rules.rules.rules().len(), 2);
        let (third, after) = next(vec![]);
        assert_eq!(
            (third.rules.rules.rules().len(), after.len()),
            (0, 0),
            "what is gone is forgotten"
        );
    }
}
