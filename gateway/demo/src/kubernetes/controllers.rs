//! What controllers and kubelets would do after a write, done at once: replica sets, pods, status, endpoints, garbage.
//!
//! Runs inside the write, so a client never sees a half-done world and no test has to wait. Not a scheduler: pods run
//! the moment they are made.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::defaults::{self, suffix};
use super::endpoints::publish;
use super::events::{note, started};
use super::json::{At as _, set};
use super::kinds::{DEPLOYMENTS, KindId, PODS, REPLICASETS, SERVICES, STATEFULSETS};
use super::status::Refusal;
use super::store::{Key, Object, World};

const REVISION: &str = "deployment.kubernetes.io/revision";
/// Pods of one workload; more would fill the demo's world with one command.
const REPLICAS: u64 = 100;

/// Brings a namespace to rest.
///
/// # Errors
/// 403 when the world is full.
pub(super) fn settle(world: &mut World, namespace: &str) -> Result<(), Refusal> {
    collect_garbage(world, namespace);
    for deployment in world.within(DEPLOYMENTS, namespace) {
        roll(world, &deployment)?;
    }
    for set in world.within(REPLICASETS, namespace) {
        fill_replicas(world, REPLICASETS, &set)?;
    }
    for set in world.within(STATEFULSETS, namespace) {
        fill_replicas(world, STATEFULSETS, &set)?;
    }
    for deployment in world.within(DEPLOYMENTS, namespace) {
        report(world, &deployment)?;
    }
    for service in world.within(SERVICES, namespace) {
        publish(world, &service)?;
    }
    Ok(())
}

pub(super) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.at("metadata").at(name).as_str().unwrap_or_default()
}

fn is_ending(object: &Value) -> bool {
    !object.at("metadata").at("deletionTimestamp").is_null()
}

fn is_owned(object: &Value, uid: &Value) -> bool {
    object
        .at("metadata")
        .at("ownerReferences")
        .as_array()
        .is_some_and(|owners| owners.iter().any(|owner| owner.at("uid") == uid))
}

pub(super) fn owner(kind: KindId, object: &Value) -> Value {
    json!([{
        "apiVersion": kind.row().api_version(), "kind": kind.row().kind, "name": object.at("metadata").at("name"),
        "uid": object.at("metadata").at("uid"), "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Deletes what belongs to owners that are gone, until nothing more falls.
fn collect_garbage(world: &mut World, namespace: &str) {
    loop {
        let keys = world.keys_within(namespace);
        let objects: Vec<(Key, Object)> = keys
            .into_iter()
            .filter_map(|key| world.object(&key).cloned().map(|object| (key, object)))
            .collect();
        let alive: HashSet<String> = world.uids().map(str::to_owned).collect();
        let is_orphan = |object: &Object| {
            let owners = object.at("metadata").at("ownerReferences").as_array();
            owners.is_some_and(|owners| {
                !owners.is_empty()
                    && owners
                        .iter()
                        .all(|owner| !alive.contains(owner.at("uid").as_str().unwrap_or_default()))
            })
        };
        let gone: Vec<&Key> = objects
            .iter()
            .filter(|(_, object)| is_orphan(object))
            .map(|(key, _)| key)
            .collect();
        if gone.is_empty() {
            return;
        }
        for key in gone {
            world.remove(key);
        }
    }
}

/// One replica set per pod template; the newest has all replicas.
fn roll(world: &mut World, deployment: &Object) -> Result<(), Refusal> {
    if is_ending(deployment) {
        return Ok(());
    }
    let namespace = text(deployment, "namespace");
    let mine = |set: &Object| is_owned(set, deployment.at("metadata").at("uid"));
    let sets: Vec<Object> = world.within(REPLICASETS, namespace).into_iter().filter(mine).collect();
    let hash = suffix(&deployment.at("spec").at("template").to_string(), 10);
    let name = format!("{}-{hash}", text(deployment, "name"));
    let is_paused = deployment.at("spec").at("paused") == true && !sets.is_empty();
    let revision = |set: &Object| {
        set.at("metadata")
            .at("annotations")
            .at(REVISION)
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0_u64)
    };
    let newest = sets.iter().map(revision).max().unwrap_or(0);
    let current = sets.iter().find(|set| {
        if is_paused {
            revision(set) == newest
        } else {
            text(set, "name") == name
        }
    });
    let number = match current {
        Some(set) if revision(set) == newest => newest,
        _ => newest + 1,
    };
    let keep = current.map_or(name.clone(), |set| text(set, "name").to_owned());
    for set in sets.iter().filter(|set| text(set, "name") != keep) {
        rescale(world, set, json!(0), None)?;
    }
    match current {
        Some(current) => rescale(
            world,
            current,
            deployment.at("spec").at("replicas").clone(),
            Some(number),
        )?,
        None => new_replica_set(world, deployment, &name, &hash, number)?,
    }
    let mut changed = Value::clone(deployment);
    set(
        &mut changed,
        &["metadata", "annotations", REVISION],
        json!(number.to_string()),
    );
    world
        .put(Key::new(DEPLOYMENTS, namespace, text(deployment, "name")), changed)
        .map(|_| ())
}

fn rescale(world: &mut World, old: &Object, replicas: Value, revision: Option<u64>) -> Result<(), Refusal> {
    let mut changed = Value::clone(old);
    set(&mut changed, &["spec", "replicas"], replicas);
    if let Some(revision) = revision {
        set(
            &mut changed,
            &["metadata", "annotations", REVISION],
            json!(revision.to_string()),
        );
    }
    world
        .put(
            Key::new(REPLICASETS, text(old, "namespace"), text(old, "name")),
            changed,
        )
        .map(|_| ())
}

fn new_replica_set(
    world: &mut World,
    deployment: &Object,
    name: &str,
    hash: &str,
    revision: u64,
) -> Result<(), Refusal> {
    let mut template = deployment.at("spec").at("template").clone();
    set(&mut template, &["metadata", "labels", "pod-template-hash"], json!(hash));
    let mut selector = deployment.at("spec").at("selector").clone();
    set(&mut selector, &["matchLabels", "pod-template-hash"], json!(hash));
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": text(deployment, "namespace"), "labels": template.at("metadata").at("labels"),
            "annotations": {REVISION: revision.to_string()}, "ownerReferences": owner(DEPLOYMENTS, deployment),
        },
        "spec": {"replicas": deployment.at("spec").at("replicas"), "selector": selector, "template": template},
    });
    defaults::fill(&mut object, REPLICASETS, world);
    world.put(Key::new(REPLICASETS, text(deployment, "namespace"), name), object)?;
    let message = format!(
        "Scaled up replica set {name} to {}",
        deployment.at("spec").at("replicas")
    );
    note(
        world,
        DEPLOYMENTS,
        deployment,
        "ScalingReplicaSet",
        &message,
        "deployment-controller",
    )
}

/// As many pods as asked for, then the set's own status.
fn fill_replicas(world: &mut World, kind: KindId, owner: &Object) -> Result<(), Refusal> {
    let namespace = text(owner, "namespace").to_owned();
    let wanted = if is_ending(owner) {
        0
    } else {
        owner.at("spec").at("replicas").as_u64().unwrap_or(1).min(REPLICAS)
    };
    let mine = |pod: &Object| is_owned(pod, owner.at("metadata").at("uid"));
    let mut pods: Vec<Object> = world.within(PODS, &namespace).into_iter().filter(mine).collect();
    let mut attempt = 0_u64;
    while u64::try_from(pods.len()).unwrap_or(u64::MAX) < wanted {
        let name = match kind {
            STATEFULSETS => format!("{}-{attempt}", text(owner, "name")),
            _ => format!(
                "{}-{}",
                text(owner, "name"),
                suffix(&format!("{}/{attempt}/{}", text(owner, "uid"), world.revision()), 5)
            ),
        };
        attempt += 1;
        if world.object(&Key::new(PODS, &namespace, &name)).is_none() {
            pods.push(new_pod(world, kind, owner, &name)?);
        }
    }
    // The newest go first from a replica set, the highest number first from a stateful set.
    pods.sort_by_key(|pod| (text(pod, "creationTimestamp").to_owned(), text(pod, "name").to_owned()));
    while u64::try_from(pods.len()).unwrap_or(0) > wanted {
        let Some(pod) = pods.pop() else { break };
        world.remove(&Key::new(PODS, &namespace, text(&pod, "name")));
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let mut changed = Value::clone(owner);
    let mut status = json!({"replicas": pods.len(), "observedGeneration": owner.at("metadata").at("generation")});
    for name in ["readyReplicas", "availableReplicas"] {
        if ready > 0 {
            set(&mut status, &[name], json!(ready));
        }
    }
    match kind {
        STATEFULSETS => {
            let revision = format!(
                "{}-{}",
                text(owner, "name"),
                suffix(&owner.at("spec").at("template").to_string(), 10)
            );
            for (name, value) in [
                ("updatedReplicas", json!(pods.len())),
                ("currentReplicas", json!(pods.len())),
                ("currentRevision", json!(revision)),
                ("updateRevision", json!(revision)),
            ] {
                set(&mut status, &[name], value);
            }
        }
        _ => set(&mut status, &["fullyLabeledReplicas"], json!(pods.len())),
    }
    set(&mut changed, &["status"], status);
    world
        .put(Key::new(kind, &namespace, text(owner, "name")), changed)
        .map(|_| ())
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.at("status").at("conditions").as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.at("type") == "Ready" && one.at("status") == "True")
    })
}

fn new_pod(world: &mut World, kind: KindId, parent: &Object, name: &str) -> Result<Object, Refusal> {
    let namespace = text(parent, "namespace");
    let template = parent.at("spec").at("template");
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "generateName": format!("{}-", text(parent, "name")),
            "labels": template.at("metadata").at("labels"), "ownerReferences": owner(kind, parent),
        },
        "spec": template.at("spec"),
    });
    if let Some(annotations) = template.at("metadata").get("annotations") {
        set(&mut pod, &["metadata", "annotations"], annotations.clone());
    }
    defaults::fill(&mut pod, PODS, world);
    let pod = world.put(Key::new(PODS, namespace, name), pod)?;
    note(
        world,
        kind,
        parent,
        "SuccessfulCreate",
        &format!("Created pod: {name}"),
        "controller",
    )?;
    started(world, &pod)?;
    Ok(pod)
}

/// A deployment's status, as its controller would report it.
fn report(world: &mut World, deployment: &Object) -> Result<(), Refusal> {
    let namespace = text(deployment, "namespace");
    let mine = |set: &Object| is_owned(set, deployment.at("metadata").at("uid"));
    let sets: Vec<Object> = world.within(REPLICASETS, namespace).into_iter().filter(mine).collect();
    let sum = |field: &str| {
        sets.iter()
            .filter_map(|set| set.at("status").at(field).as_u64())
            .sum::<u64>()
    };
    let revision = deployment.at("metadata").at("annotations").at(REVISION);
    let updated = sets
        .iter()
        .find(|set| set.at("metadata").at("annotations").at(REVISION) == revision);
    let wanted = deployment.at("spec").at("replicas").as_u64().unwrap_or(1);
    let ready = sum("readyReplicas");
    let since = deployment.at("metadata").at("creationTimestamp");
    let is_available = ready >= wanted.saturating_sub(wanted / 4);
    let condition = |kind: &str, is_true: bool, reason: &str, message: &str| {
        json!({"type": kind, "status": if is_true { "True" } else { "False" }, "reason": reason, "message": message,
            "lastUpdateTime": since, "lastTransitionTime": since})
    };
    let mut status = json!({
        "observedGeneration": deployment.at("metadata").at("generation"),
        "conditions": [
            condition("Available", is_available, if is_available { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }, ""),
            condition("Progressing", true, "NewReplicaSetAvailable", ""),
        ],
    });
    let updated = updated
        .and_then(|set| set.at("status").at("replicas").as_u64())
        .unwrap_or(0);
    let unready = wanted.min(REPLICAS).saturating_sub(ready);
    for (name, count) in [
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
        ("unavailableReplicas", unready),
    ] {
        if count > 0 {
            set(&mut status, &[name], json!(count));
        }
    }
    let mut changed = Value::clone(deployment);
    set(&mut changed, &["status"], status);
    world
        .put(Key::new(DEPLOYMENTS, namespace, text(deployment, "name")), changed)
        .map(|_| ())
}
