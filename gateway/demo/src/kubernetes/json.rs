//! Reading JSON by name: what is not there is null, never a panic.

use serde_json::value::Index;
use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// Looks up members and elements.
pub(super) trait At {
    /// The member or element, or null.
    fn at(&self, index: impl Index) -> &Value;
}

impl At for Value {
    fn at(&self, index: impl Index) -> &Value {
        self.get(index).unwrap_or(&NULL)
    }
}

/// Sets a member at a path of names; what stands in the way and is no object is replaced by one.
pub(super) fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Some(members) = object.as_object_mut() {
        set(members.entry(*name).or_insert(Value::Null), rest, value);
    }
}

/// Sets a member only if it is not there.
pub(super) fn set_default(object: &mut Value, path: &[&str], value: Value) {
    let found = path.iter().fold(&*object, |at, name| at.at(*name));
    if found.is_null() {
        set(object, path, value);
    }
}

/// Takes a member out of its object.
pub(super) fn take(object: &mut Value, pointer: &str) -> Value {
    object.pointer_mut(pointer).map(Value::take).unwrap_or_default()
}

/// The elements of an array at a pointer, for changing them.
pub(super) fn elements_mut<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}
