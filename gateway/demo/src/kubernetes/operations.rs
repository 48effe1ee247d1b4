//! Create, replace, patch, delete: the rules that the API server keeps for every kind.
//!
//! Runs inside a write of the store. Conflicts by resourceVersion, preconditions, finalizers, generation, the status and
//! scale subresources. Not here: admission, quotas, and RBAC's guard against giving oneself more rights.

use serde_json::{Value, json};

use super::controllers::settle;
use super::defaults::{self, suffix};
use super::events;
use super::json::{At as _, set};
use super::kinds::{KindId, NAMESPACES, PODS};
use super::patch;
use super::rfc3339;
use super::status::Refusal;
use super::store::{Key, Object, World};

/// Which part of an object a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Status,
    Scale,
}

/// How a patch is to be read, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchFormat {
    Merge,
    Json,
    Strategic,
}

/// What a `DeleteOptions` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Deletion {
    /// Only said, not done.
    pub(super) is_dry_run: bool,
    /// Dependents stay.
    pub(super) is_orphaning: bool,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// How a deletion ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deleted {
    Gone(Object),
    /// Finalizers still hold it.
    Ending(Object),
}

/// Makes a new object.
///
/// # Errors
/// The object is of another kind, has no usable name, exists, is invalid, or its namespace does not exist.
pub(super) fn create(world: &mut World, kind: KindId, namespace: &str, mut object: Value) -> Result<Object, Refusal> {
    let row = kind.row();
    check_kind(kind, &object)?;
    let name = name(&mut object, world)?;
    check_name(kind, &name)?;
    place(&mut object, kind, namespace)?;
    let key = Key::new(kind, namespace, &name);
    if world.object(&key).is_some() {
        return Err(Refusal::exists(row, &name));
    }
    if row.is_namespaced {
        let home = world.object(&Key::new(NAMESPACES, "", namespace));
        let home = home.ok_or_else(|| Refusal::not_found(NAMESPACES.row(), namespace))?;
        if !home.at("metadata").at("deletionTimestamp").is_null() {
            return Err(Refusal::forbidden(format!("namespace {namespace} is being terminated")));
        }
    }
    check(kind, &name, &object)?;
    defaults::fill(&mut object, kind, world);
    let made = world.put(key.clone(), object)?;
    if kind == PODS {
        events::started(world, &made)?;
    }
    settle(world, namespace)?;
    Ok(world.object(&key).cloned().unwrap_or(made))
}

fn check_kind(kind: KindId, object: &Value) -> Result<(), Refusal> {
    let row = kind.row();
    let (api_version, found) = (object.at("apiVersion").as_str(), object.at("kind").as_str());
    if api_version == Some(row.api_version().as_str()) && found == Some(row.kind) {
        return Ok(());
    }
    let found = format!(
        "{}, Kind={}",
        api_version.unwrap_or_default(),
        found.unwrap_or_default()
    );
    Err(Refusal::bad_request(format!(
        "the object is `{found}`, the address wants `{}, Kind={}`",
        row.api_version(),
        row.kind
    )))
}

fn name(object: &mut Value, world: &World) -> Result<String, Refusal> {
    if let Some(name) = object
        .at("metadata")
        .at("name")
        .as_str()
        .filter(|name| !name.is_empty())
    {
        return Ok(name.to_owned());
    }
    let Some(base) = object
        .at("metadata")
        .at("generateName")
        .as_str()
        .filter(|base| !base.is_empty())
    else {
        return Err(Refusal::bad_request("resource name may not be empty"));
    };
    let name = format!("{base}{}", suffix(&format!("{base}{}", world.revision()), 5));
    set(object, &["metadata", "name"], json!(name));
    Ok(name)
}

fn check_name(kind: KindId, name: &str) -> Result<(), Refusal> {
    let row = kind.row();
    let is_rbac = row.group == "rbac.authorization.k8s.io";
    let is_path_segment = name != "." && name != ".." && !name.contains(['/', '%']) && name.len() <= 253;
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_subdomain = edge(name.chars().next())
        && edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.');
    if is_path_segment && (is_rbac || is_subdomain) {
        return Ok(());
    }
    let why = format!(
        "Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
    );
    Err(Refusal::invalid(row, name, "metadata.name", &why))
}

fn place(object: &mut Value, kind: KindId, namespace: &str) -> Result<(), Refusal> {
    let found = object.at("metadata").at("namespace").as_str().unwrap_or_default();
    if kind.row().is_namespaced {
        if !found.is_empty() && found != namespace {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(message));
        }
        set(object, &["metadata", "namespace"], json!(namespace));
    } else if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("namespace");
    }
    Ok(())
}

/// The few rules without which the rest of the world would make no sense.
fn check(kind: KindId, name: &str, object: &Value) -> Result<(), Refusal> {
    let row = kind.row();
    let invalid = |field: &str, why: &str| Err(Refusal::invalid(row, name, field, why));
    let is_pod_like = |spec: &Value| {
        spec.at("containers")
            .as_array()
            .is_some_and(|containers| !containers.is_empty())
    };
    let labels = object.at("metadata").at("labels");
    if !labels.is_null()
        && labels
            .as_object()
            .is_none_or(|labels| labels.values().any(|value| !value.is_string()))
    {
        return invalid("metadata.labels", "must be a map of texts");
    }
    match row.kind {
        "Pod" if !is_pod_like(object.at("spec")) => invalid("spec.containers", "Required value"),
        "Deployment" | "ReplicaSet" | "StatefulSet" => {
            let spec = object.at("spec");
            let labels = spec.at("template").at("metadata").at("labels");
            if !is_pod_like(spec.at("template").at("spec")) {
                return invalid("spec.template.spec.containers", "Required value");
            }
            if !spec["selector"].is_object() || !super::selector::label_selector_matches(spec.at("selector"), labels) {
                return invalid(
                    "spec.template.metadata.labels",
                    "`selector` does not match template `labels`",
                );
            }
            match spec.at("replicas").as_i64() {
                Some(replicas) if replicas < 0 => invalid("spec.replicas", "must be greater than or equal to 0"),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Replaces an object, or its status or scale.
///
/// # Errors
/// It does not exist, is of another kind, another version, or invalid.
pub(super) fn replace(world: &mut World, key: &Key, object: Value, part: Part) -> Result<Object, Refusal> {
    let row = key.kind.row();
    let old = found(world, key)?;
    let claimed = object.at("metadata");
    let is_stale = |name: &str| {
        let claim = claimed.at(name).as_str().unwrap_or_default();
        !claim.is_empty() && old.at("metadata").at(name) != claim
    };
    if is_stale("uid") {
        return Err(Refusal::conflict(
            row,
            &key.name,
            "the UID in the object differs from the one that is stored",
        ));
    }
    if is_stale("resourceVersion") {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Refusal::conflict(row, &key.name, why));
    }
    if claimed.at("name").as_str().is_some_and(|name| name != key.name) {
        return Err(Refusal::bad_request(
            "the name of the object does not match the name on the URL",
        ));
    }
    let mut next = match part {
        Part::Whole => whole(key, &old, object)?,
        Part::Status => {
            let mut next = Value::clone(&old);
            set(&mut next, &["status"], object.at("status").clone());
            next
        }
        Part::Scale => {
            let mut next = Value::clone(&old);
            set(
                &mut next,
                &["spec", "replicas"],
                json!(object.at("spec").at("replicas").as_i64().unwrap_or(0)),
            );
            next
        }
    };
    check(key.kind, &key.name, &next)?;
    if next.at("spec") != old.at("spec") && !old.at("metadata").at("generation").is_null() {
        let generation = old.at("metadata").at("generation").as_i64().unwrap_or(0);
        set(&mut next, &["metadata", "generation"], json!(generation + 1));
    }
    let written = world.put(key.clone(), next)?;
    if !written.at("metadata").at("deletionTimestamp").is_null() && has_no_finalizers(&written) {
        world.remove(key);
    }
    settle(world, &key.namespace)?;
    Ok(world.object(key).cloned().unwrap_or(written))
}

fn whole(key: &Key, old: &Value, mut object: Value) -> Result<Value, Refusal> {
    check_kind(key.kind, &object)?;
    set(&mut object, &["metadata", "name"], json!(key.name));
    place(&mut object, key.kind, &key.namespace)?;
    for server_side in ["uid", "creationTimestamp", "deletionTimestamp", "generation"] {
        match old.at("metadata").get(server_side) {
            Some(value) => set(&mut object, &["metadata", server_side], value.clone()),
            None => {
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove(server_side);
                }
            }
        }
    }
    if key.kind.row().has_status {
        match old.get("status") {
            Some(status) => set(&mut object, &["status"], status.clone()),
            None => {
                if let Some(members) = object.as_object_mut() {
                    members.remove("status");
                }
            }
        }
    }
    Ok(object)
}

fn found(world: &World, key: &Key) -> Result<Object, Refusal> {
    world
        .object(key)
        .cloned()
        .ok_or_else(|| Refusal::not_found(key.kind.row(), &key.name))
}

fn has_no_finalizers(object: &Value) -> bool {
    object
        .at("metadata")
        .at("finalizers")
        .as_array()
        .is_none_or(Vec::is_empty)
}

/// Patches an object, or its status or scale.
///
/// # Errors
/// As [`replace`]; or the patch does not fit the object.
pub(super) fn patch(
    world: &mut World,
    key: &Key,
    format: PatchFormat,
    change: &Value,
    part: Part,
) -> Result<Object, Refusal> {
    let old = found(world, key)?;
    let mut object = if part == Part::Scale {
        scale(&old)
    } else {
        Value::clone(&old)
    };
    match format {
        PatchFormat::Merge => patch::merge(&mut object, change),
        PatchFormat::Strategic => {
            let message = if part == Part::Scale {
                "autoscaling.Scale"
            } else {
                key.kind.row().message
            };
            patch::strategic(&mut object, change, Some(message));
        }
        PatchFormat::Json => patch::json(&mut object, change)
            .map_err(|error| Refusal::invalid(key.kind.row(), &key.name, "patch", &error.to_string()))?,
    }
    if !object.is_object() {
        return Err(Refusal::bad_request("the patch leaves no object"));
    }
    replace(world, key, object, part)
}

/// The `autoscaling/v1 Scale` of a workload.
pub(super) fn scale(object: &Value) -> Value {
    let labels = object
        .at("spec")
        .at("selector")
        .at("matchLabels")
        .as_object()
        .into_iter()
        .flatten();
    let selector: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let metadata = object.at("metadata");
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": metadata.at("name"), "namespace": metadata.at("namespace"), "uid": metadata.at("uid"),
            "resourceVersion": metadata.at("resourceVersion"), "creationTimestamp": metadata.at("creationTimestamp"),
        },
        "spec": {"replicas": object.at("spec").at("replicas")},
        "status": {"replicas": object.at("status").at("replicas").as_u64().unwrap_or(0), "selector": selector.join(",")},
    })
}

/// Deletes an object and, unless told otherwise, what belongs to it.
///
/// # Errors
/// It does not exist, or a precondition does not hold.
pub(super) fn delete(world: &mut World, key: &Key, deletion: &Deletion) -> Result<Deleted, Refusal> {
    let old = found(world, key)?;
    let differs = |wanted: &Option<String>, name: &str| {
        wanted
            .as_ref()
            .is_some_and(|wanted| old.at("metadata").at(name) != wanted.as_str())
    };
    if differs(&deletion.uid, "uid") || differs(&deletion.resource_version, "resourceVersion") {
        return Err(Refusal::conflict(
            key.kind.row(),
            &key.name,
            "the precondition does not hold",
        ));
    }
    if deletion.is_orphaning {
        set_free(world, &old, &key.namespace)?;
    }
    if key.kind == NAMESPACES {
        for key in world.keys_within(&key.name) {
            world.remove(&key);
        }
    }
    if !has_no_finalizers(&old) {
        let mut ending = Value::clone(&old);
        if ending.at("metadata").at("deletionTimestamp").is_null() {
            set(
                &mut ending,
                &["metadata", "deletionTimestamp"],
                json!(rfc3339(world.now)),
            );
            set(&mut ending, &["metadata", "deletionGracePeriodSeconds"], json!(0));
        }
        return world.put(key.clone(), ending).map(Deleted::Ending);
    }
    world.remove(key);
    settle(world, &key.namespace)?;
    Ok(Deleted::Gone(old))
}

/// Cuts the dependents loose.
fn set_free(world: &mut World, owner: &Value, namespace: &str) -> Result<(), Refusal> {
    for key in world.keys_within(namespace) {
        let Some(object) = world.object(&key).cloned() else {
            continue;
        };
        let owners = object
            .at("metadata")
            .at("ownerReferences")
            .as_array()
            .cloned()
            .unwrap_or_default();
        let others: Vec<Value> = owners
            .iter()
            .filter(|one| one.at("uid") != owner.at("metadata").at("uid"))
            .cloned()
            .collect();
        if others.len() < owners.len() {
            let mut free = Value::clone(&object);
            set(&mut free, &["metadata", "ownerReferences"], json!(others));
            world.put(key, free)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{DEPLOYMENTS, REPLICASETS};
    use super::*;

    fn world() -> World {
        let mut world = World::empty(500);
        create(
            &mut world,
            NAMESPACES,
            "",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .unwrap();
        world
    }

    fn config_map(extra: &Value) -> Value {
        let mut object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
        patch::merge(&mut object, extra);
        object
    }

    fn maps() -> KindId {
        KindId::by_plural("", "configmaps").unwrap()
    }

    fn key() -> Key {
        Key::new(maps(), "shop", "a")
    }

    fn deployment(replicas: i64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
    }

    #[test]
    fn an_update_of_an_old_version_is_a_conflict() {
        let mut world = world();
        let first = create(&mut world, maps(), "shop", config_map(&json!({}))).unwrap();
        let version = first["metadata"]["resourceVersion"].clone();
        let next = config_map(&json!({"data": {"x": "2"}, "metadata": {"resourceVersion": version}}));
        replace(&mut world, &key(), next.clone(), Part::Whole).unwrap();
        assert_eq!(replace(&mut world, &key(), next, Part::Whole).unwrap_err().code, 409);
    }

    #[test]
    fn finalizers_hold_an_object_until_the_last_is_gone() {
        let mut world = world();
        create(
            &mut world,
            maps(),
            "shop",
            config_map(&json!({"metadata": {"finalizers": ["demo/hold"]}})),
        )
        .unwrap();
        let ending = delete(&mut world, &key(), &Deletion::default()).unwrap();
        assert!(matches!(ending, Deleted::Ending(_)));
        assert!(world.object(&key()).is_some());
        patch(
            &mut world,
            &key(),
            PatchFormat::Merge,
            &json!({"metadata": {"finalizers": null}}),
            Part::Whole,
        )
        .unwrap();
        assert!(world.object(&key()).is_none());
    }

    #[test]
    fn a_deployment_has_its_pods_scales_rolls_and_takes_them_along() {
        let mut world = world();
        let key = Key::new(DEPLOYMENTS, "shop", "web");
        let made = create(&mut world, DEPLOYMENTS, "shop", deployment(3)).unwrap();
        assert_eq!(made["status"]["availableReplicas"], 3);
        assert_eq!(world.within(PODS, "shop").len(), 3);
        let scaled = patch(
            &mut world,
            &key,
            PatchFormat::Merge,
            &json!({"spec": {"replicas": 5}}),
            Part::Scale,
        )
        .unwrap();
        assert_eq!(
            (
                scaled["metadata"]["generation"].as_i64(),
                scaled["status"]["observedGeneration"].as_i64()
            ),
            (Some(2), Some(2))
        );
        assert_eq!(world.within(PODS, "shop").len(), 5);
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}});
        patch(&mut world, &key, PatchFormat::Strategic, &image, Part::Whole).unwrap();
        assert_eq!(world.within(REPLICASETS, "shop").len(), 2);
        assert!(
            world
                .within(PODS, "shop")
                .iter()
                .all(|pod| pod["spec"]["containers"][0]["image"] == "web:2")
        );
        delete(&mut world, &key, &Deletion::default()).unwrap();
        assert_eq!(
            (
                world.within(PODS, "shop").len(),
                world.within(REPLICASETS, "shop").len()
            ),
            (0, 0)
        );
    }

    #[test]
    fn orphans_stay() {
        let mut world = world();
        create(&mut world, DEPLOYMENTS, "shop", deployment(2)).unwrap();
        let deletion = Deletion {
            is_orphaning: true,
            ..Deletion::default()
        };
        delete(&mut world, &Key::new(DEPLOYMENTS, "shop", "web"), &deletion).unwrap();
        assert_eq!(world.within(PODS, "shop").len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_field() {
        let mut world = world();
        let mut bad = deployment(1);
        bad["spec"]["selector"]["matchLabels"]["app"] = json!("other");
        assert_eq!(create(&mut world, DEPLOYMENTS, "shop", bad).unwrap_err().code, 422);
        assert_eq!(
            create(&mut world, maps(), "gone", config_map(&json!({})))
                .unwrap_err()
                .code,
            404
        );
        let bad = config_map(&json!({"metadata": {"name": "Not_A_Name"}}));
        assert_eq!(create(&mut world, maps(), "shop", bad).unwrap_err().code, 422);
    }

    #[test]
    fn a_precondition_that_does_not_hold_keeps_the_object() {
        let mut world = world();
        create(&mut world, maps(), "shop", config_map(&json!({}))).unwrap();
        let deletion = Deletion {
            uid: Some("another".to_owned()),
            ..Deletion::default()
        };
        assert_eq!(delete(&mut world, &key(), &deletion).unwrap_err().code, 409);
        assert!(world.object(&key()).is_some());
    }
}
