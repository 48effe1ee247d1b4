//! Three of the four patch formats, as values: merge (RFC 7386), JSON (RFC 6902), and Kubernetes' strategic merge
//! (API conventions, "Strategic Merge Patch"), which kubectl uses for its built-in kinds. Server-side apply is not here.
//!
//! Strategic merge follows the kind's own merge keys from the schema table, with the directives `$patch`
//! (replace, delete, merge), `$deleteFromPrimitiveList`, `$setElementOrder` and `$retainKeys`.

use serde_json::{Map, Value};

use super::json::At as _;
use super::schema::{self, Merge};

/// The patch cannot be applied to this object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    #[error("the patch is not an array of operations")]
    NotOperations,
    #[error("operation {0} has no usable `op`, `path`, `from` or `value`")]
    Operation(usize),
    #[error("the path `{0}` does not exist in the object")]
    NoSuchPath(String),
    #[error("testing value {0} failed")]
    TestFailed(String),
    #[error("the patch has more than 10000 operations")]
    TooMany,
}

/// Applies a merge patch (RFC 7386): null removes, objects merge, all else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    let Some(members) = into_object(target) else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

fn into_object(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Applies a JSON patch (RFC 6902), all operations or none.
///
/// # Errors
/// An operation is malformed, its path does not exist, or a test failed.
pub(super) fn json(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let operations = patch.as_array().ok_or(PatchError::NotOperations)?;
    if operations.len() > 10_000 {
        return Err(PatchError::TooMany);
    }
    let mut result = target.clone();
    for (index, operation) in operations.iter().enumerate() {
        step(&mut result, operation, index)?;
    }
    *target = result;
    Ok(())
}

fn step(target: &mut Value, operation: &Value, index: usize) -> Result<(), PatchError> {
    let malformed = PatchError::Operation(index);
    let path = operation.at("path").as_str().ok_or(malformed.clone())?;
    let value = || operation.get("value").cloned().ok_or(malformed.clone());
    let from = || operation.at("from").as_str().ok_or(malformed.clone());
    match operation.at("op").as_str() {
        Some("add") => add(target, path, value()?),
        Some("remove") => remove(target, path).map(|_| ()),
        Some("replace") => {
            let value = value()?;
            *target
                .pointer_mut(path)
                .ok_or_else(|| PatchError::NoSuchPath(path.to_owned()))? = value;
            Ok(())
        }
        Some("move") => {
            let value = remove(target, from()?)?;
            add(target, path, value)
        }
        Some("copy") => {
            let from = from()?;
            let value = target
                .pointer(from)
                .cloned()
                .ok_or_else(|| PatchError::NoSuchPath(from.to_owned()))?;
            add(target, path, value)
        }
        Some("test") if target.pointer(path) == Some(&value()?) => Ok(()),
        Some("test") => Err(PatchError::TestFailed(path.to_owned())),
        _ => Err(malformed),
    }
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let missing = || PatchError::NoSuchPath(path.to_owned());
    let (parent, last) = parent(target, path).ok_or_else(missing)?;
    match parent {
        Value::Object(members) => {
            members.insert(last, value);
        }
        Value::Array(elements) if last == "-" => elements.push(value),
        Value::Array(elements) => {
            let place = index(&last)
                .filter(|place| *place <= elements.len())
                .ok_or_else(missing)?;
            elements.insert(place, value);
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<Value, PatchError> {
    let missing = || PatchError::NoSuchPath(path.to_owned());
    let (parent, last) = parent(target, path).ok_or_else(missing)?;
    match parent {
        Value::Object(members) => members.remove(&last).ok_or_else(missing),
        Value::Array(elements) => {
            let place = index(&last)
                .filter(|place| *place < elements.len())
                .ok_or_else(missing)?;
            Ok(elements.remove(place))
        }
        _ => Err(missing()),
    }
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    Some((target.pointer_mut(above)?, last.replace("~1", "/").replace("~0", "~")))
}

/// RFC 6901 §4: no sign, no leading zero.
fn index(text: &str) -> Option<usize> {
    let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    if is_plain { text.parse().ok() } else { None }
}

/// Applies a strategic merge patch to an object of this message.
pub(super) fn strategic(target: &mut Value, patch: &Value, message: Option<&str>) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    match changes.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return;
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return;
        }
        _ => {}
    }
    let Some(members) = into_object(target) else { return };
    if let Some(kept) = changes.get("$retainKeys").and_then(Value::as_array) {
        members.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(elements) = members.get_mut(list).and_then(Value::as_array_mut) {
                elements.retain(|element| change.as_array().is_none_or(|gone| !gone.contains(element)));
            }
        } else if !name.starts_with('$') {
            strategic_member(members, name, change, message);
        }
    }
    for (name, order) in changes {
        if let (Some(list), Some(order)) = (name.strip_prefix("$setElementOrder/"), order.as_array()) {
            sort(members, list, order, message);
        }
    }
}

fn strategic_member(members: &mut Map<String, Value>, name: &str, change: &Value, message: Option<&str>) {
    let field = message.and_then(|message| schema::field(message, name));
    let inner = field.and_then(|field| field.shape.message());
    let rule = field.map_or(Merge::Replace, |field| field.merge);
    match (change, rule) {
        (Value::Null, _) => {
            members.remove(name);
        }
        (Value::Array(changes), Merge::ByKey(key)) => {
            let list = members.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(elements) = list {
                merge_by_key(elements, changes, key, inner);
            }
        }
        (Value::Array(changes), Merge::Values) => {
            let list = members.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(elements) = list {
                let new: Vec<_> = changes
                    .iter()
                    .filter(|change| !elements.contains(change))
                    .cloned()
                    .collect();
                elements.extend(new);
            }
        }
        (Value::Object(_), _) => strategic(members.entry(name).or_insert(Value::Null), change, inner),
        _ => {
            members.insert(name.to_owned(), without_directives(change));
        }
    }
}

fn merge_by_key(elements: &mut Vec<Value>, changes: &[Value], key: &str, message: Option<&str>) {
    let is_replaced = |change: &Value| change.at("$patch") == "replace" && change.get(key).is_none();
    if changes.iter().any(is_replaced) {
        *elements = changes
            .iter()
            .filter(|change| !is_replaced(change))
            .map(without_directives)
            .collect();
        return;
    }
    for change in changes {
        let place = elements
            .iter()
            .position(|element| element.get(key).is_some() && element.get(key) == change.get(key));
        match (change.at("$patch").as_str(), place) {
            (Some("delete"), place) => {
                if let Some(place) = place {
                    elements.remove(place);
                }
            }
            (_, Some(place)) => {
                if let Some(element) = elements.get_mut(place) {
                    strategic(element, change, message);
                }
            }
            (_, None) => elements.push(without_directives(change)),
        }
    }
}

/// Puts the named elements into the given order; others keep their place at the end.
fn sort(members: &mut Map<String, Value>, list: &str, order: &[Value], message: Option<&str>) {
    let rule = message
        .and_then(|message| schema::field(message, list))
        .map_or(Merge::Replace, |field| field.merge);
    let Some(Value::Array(elements)) = members.get_mut(list) else {
        return;
    };
    let place = |element: &Value| match rule {
        Merge::ByKey(key) => order.iter().position(|one| one.get(key) == element.get(key)),
        Merge::Values | Merge::Replace => order.iter().position(|one| one == element),
    };
    elements.sort_by_key(|element| place(element).unwrap_or(usize::MAX));
}

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
            .map(|(name, value)| (name.clone(), without_directives(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.iter().map(without_directives).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_follows_the_examples_of_rfc_7386() {
        // RFC 7386, appendix A.
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn json_patch_adds_removes_moves_copies_and_tests() {
        let mut object = json!({"a": [1, 3], "b": {"c/d": 1}});
        let patch = json!([
            {"op": "test", "path": "/b/c~1d", "value": 1},
            {"op": "add", "path": "/a/1", "value": 2},
            {"op": "add", "path": "/a/-", "value": 4},
            {"op": "move", "from": "/b/c~1d", "path": "/e"},
            {"op": "copy", "from": "/e", "path": "/f"},
            {"op": "replace", "path": "/f", "value": 9},
            {"op": "remove", "path": "/a/0"},
        ]);
        json(&mut object, &patch).unwrap();
        assert_eq!(object, json!({"a": [2, 3, 4], "b": {}, "e": 1, "f": 9}));
    }

    #[test]
    fn a_failed_json_patch_changes_nothing() {
        let mut object = json!({"a": 1});
        let patch = json!([{"op": "add", "path": "/b", "value": 2}, {"op": "remove", "path": "/gone"}]);
        assert_eq!(
            json(&mut object, &patch),
            Err(PatchError::NoSuchPath("/gone".to_owned()))
        );
        assert_eq!(object, json!({"a": 1}));
        let patch = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(json(&mut object, &patch), Err(PatchError::TestFailed("/a".to_owned())));
    }

    #[test]
    fn containers_merge_by_name_and_env_inside_them() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}], "args": ["old"]},
            {"name": "b", "image": "b:1"},
        ]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}], "args": ["new"]},
            {"name": "b", "$patch": "delete"},
            {"name": "c", "image": "c:1"},
        ]}});
        strategic(&mut pod, &patch, Some("core.Pod"));
        assert_eq!(
            pod,
            json!({"spec": {"containers": [
                {"name": "c", "image": "c:1"},
                {"name": "a", "image": "a:2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}], "args": ["new"]},
            ]}})
        );
    }

    #[test]
    fn finalizers_merge_as_values_and_can_be_taken_out() {
        let mut object = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c", "b"]}});
        strategic(&mut object, &patch, Some("core.ConfigMap"));
        assert_eq!(object, json!({"metadata": {"finalizers": ["b", "c"]}}));
    }

    #[test]
    fn retained_keys_drop_the_others_and_replace_replaces() {
        let mut deployment = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        strategic(&mut deployment, &patch, Some("apps.Deployment"));
        assert_eq!(deployment, json!({"spec": {"strategy": {"type": "Recreate"}}}));
        let mut map = json!({"data": {"a": "1"}});
        strategic(
            &mut map,
            &json!({"data": {"$patch": "replace", "b": "2"}}),
            Some("core.ConfigMap"),
        );
        assert_eq!(map, json!({"data": {"b": "2"}}));
    }
}
