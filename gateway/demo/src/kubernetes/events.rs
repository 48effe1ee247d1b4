//! Events: what controllers and kubelets say about their objects.

use serde_json::json;

use super::controllers::text;
use super::defaults::{self, number};
use super::json::At as _;
use super::kinds::{EVENTS, KindId, PODS};
use super::rfc3339;
use super::status::Refusal;
use super::store::{Key, Object, World};

/// The two events that a new pod always has.
///
/// # Errors
/// 403 when the world is full.
pub(super) fn started(world: &mut World, pod: &Object) -> Result<(), Refusal> {
    let node = pod.at("spec").at("nodeName").as_str().unwrap_or_default();
    let assigned = format!(
        "Successfully assigned {}/{} to {node}",
        text(pod, "namespace"),
        text(pod, "name")
    );
    note(world, PODS, pod, "Scheduled", &assigned, "default-scheduler")?;
    note(world, PODS, pod, "Started", "Container started", "kubelet")
}

/// Writes an event about an object.
///
/// # Errors
/// 403 when the world is full.
pub(super) fn note(
    world: &mut World,
    kind: KindId,
    about: &Object,
    reason: &str,
    message: &str,
    from: &str,
) -> Result<(), Refusal> {
    let now = rfc3339(world.now);
    let namespace = if text(about, "namespace").is_empty() {
        "default"
    } else {
        text(about, "namespace")
    };
    let name = format!(
        "{}.{:016x}",
        text(about, "name"),
        number(&format!("{reason}/{message}/{}", world.revision()))
    );
    let is_warning = matches!(reason, "BackOff" | "Failed" | "Unhealthy");
    let mut event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": kind.row().api_version(), "kind": kind.row().kind, "name": about.at("metadata").at("name"),
            "namespace": namespace, "uid": about.at("metadata").at("uid"), "resourceVersion": about.at("metadata").at("resourceVersion"),
        },
        "reason": reason, "message": message, "type": if is_warning { "Warning" } else { "Normal" },
        "source": {"component": from}, "reportingComponent": from, "reportingInstance": "",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    defaults::fill(&mut event, EVENTS, world);
    world.put(Key::new(EVENTS, namespace, &name), event).map(|_| ())
}
