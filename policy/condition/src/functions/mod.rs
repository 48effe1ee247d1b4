//! The closed list of functions and what each does.
//!
//! `table` says which forms exist; the other modules compute. Dispatch is by the values met, since a checked `dyn` may
//! turn out to be anything: what no row allows is [`Fault::NoSuchOverload`].

mod convert;
mod decimal;
mod lists;
mod network;
mod numbers;
mod optionals;
mod strings;
mod table;
mod times;

pub(crate) use strings::search;
pub(crate) use table::{Function, Overload, Shape, Style, overloads};
pub(crate) use times::time_zone;

use crate::evaluate::Meter;
use crate::{Fault, Value};

/// Names of all functions an expression may call, sorted, operators not counted.
#[must_use]
pub fn function_names() -> Vec<&'static str> {
    let mut names: Vec<_> = table::names().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Applies a function to its evaluated arguments, the receiver first. With a form, to arguments of its types only.
pub(crate) fn apply(
    function: Function,
    form: Option<&'static [Shape]>,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, Fault> {
    use Function as F;
    if form.is_some_and(|form| !form.iter().zip(arguments).all(|(shape, value)| shape.admits(value))) {
        return Err(Fault::NoSuchOverload(function.name()));
    }
    let result = match function {
        F::Add | F::Subtract | F::Multiply | F::Divide | F::Remainder | F::Negate => {
            numbers::apply(function, arguments, meter)
        }
        F::Not | F::Equal | F::NotEqual | F::Less | F::LessEqual | F::Greater | F::GreaterEqual => {
            numbers::compare(function, arguments, meter)
        }
        F::In
        | F::Index
        | F::OptionalIndex
        | F::Size
        | F::ListIndexOf
        | F::ListLastIndexOf
        | F::IsSorted
        | F::Sum
        | F::Min
        | F::Max
        | F::SetContains
        | F::SetEquivalent
        | F::SetIntersects => lists::apply(function, arguments, meter),
        F::Contains
        | F::StartsWith
        | F::EndsWith
        | F::Matches
        | F::Find
        | F::FindAll
        | F::LowerAscii
        | F::UpperAscii
        | F::Trim
        | F::Split
        | F::Join
        | F::Replace
        | F::Substring
        | F::CharAt
        | F::IndexOf
        | F::LastIndexOf => strings::apply(function, arguments, meter),
        F::ToInt
        | F::ToUint
        | F::ToDouble
        | F::ToString
        | F::ToBytes
        | F::ToBool
        | F::ToTimestamp
        | F::ToDuration
        | F::ToDyn
        | F::TypeOf => convert::apply(function, arguments, meter),
        F::FullYear
        | F::Month
        | F::Date
        | F::DayOfMonth
        | F::DayOfWeek
        | F::DayOfYear
        | F::Hours
        | F::Minutes
        | F::Seconds
        | F::Milliseconds => times::apply(function, arguments),
        F::OptionalOf | F::OptionalNone | F::OptionalNonZero | F::HasValue | F::OptionalValue | F::Or | F::OrValue => {
            optionals::apply(function, arguments)
        }
        F::ToIp
        | F::IsIp
        | F::ToCidr
        | F::IsCidr
        | F::ContainsIp
        | F::ContainsCidr
        | F::Family
        | F::IsLoopback
        | F::IsUnspecified
        | F::IsLinkLocalUnicast
        | F::IsLinkLocalMulticast
        | F::IsGlobalUnicast
        | F::PrefixLength
        | F::Masked
        | F::CidrIp => network::apply(function, arguments),
    };
    result
        .ok_or(Fault::NoSuchOverload(function.name()))
        .and_then(|outcome| outcome)
}

/// `None`: no form for these operands.
pub(crate) type Outcome = Option<Result<Value, Fault>>;
