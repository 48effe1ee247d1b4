//! Values that may be absent. `or` and `orValue` are no calls but nodes of their own: they evaluate lazily.

use std::sync::Arc;

use super::{Function, Outcome};
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value]) -> Outcome {
    use Function as F;
    Some(match (function, arguments) {
        (F::OptionalNone, []) => Ok(Value::Optional(None)),
        (F::OptionalOf, [value]) => Ok(Value::Optional(Some(Arc::new(value.clone())))),
        (F::OptionalNonZero, [value]) => Ok(Value::Optional((!value.is_zero()).then(|| Arc::new(value.clone())))),
        (F::HasValue, [Value::Optional(inner)]) => Ok(Value::Bool(inner.is_some())),
        (F::OptionalValue, [Value::Optional(inner)]) => inner.as_deref().cloned().ok_or(Fault::EmptyOptional),
        _ => return None,
    })
}
