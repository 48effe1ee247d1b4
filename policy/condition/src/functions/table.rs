//! Every form of every function and operator: name, how it is called, types, result; the forms of one in the order of
//! cel-go, which is the order in which they are tried.

use Function as F;
use Shape::{
    A, B, Bool, Bytes, Cidr, Double, Duration, Dyn, Int, Ip, List, Map, Optional, String, Timestamp, Type, Uint,
};
use Style::{Global, Member};

use crate::Value;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `f(x)`, also all operators.
    Global,
    /// `x.f(…)`; the receiver is the first parameter.
    Member,
}

/// A parameter's or result's type; `A` and `B` stand for any one type within a form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    A,
    B,
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    Ip,
    Cidr,
    Type,
    List(&'static Shape),
    Map(&'static Shape, &'static Shape),
    Optional(&'static Shape),
}

impl Shape {
    /// Whether a value met is of this type, of what it holds only the first one looked at, as cel-go does.
    pub(super) fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::A | Self::B | Self::Dyn, _)
            | (Self::Bool, Value::Bool(_))
            | (Self::Int, Value::Int(_))
            | (Self::Uint, Value::Uint(_))
            | (Self::Double, Value::Double(_))
            | (Self::String, Value::String(_))
            | (Self::Bytes, Value::Bytes(_))
            | (Self::Timestamp, Value::Timestamp(_) | Value::Zoned(..))
            | (Self::Duration, Value::Duration(_))
            | (Self::Ip, Value::Ip(_))
            | (Self::Cidr, Value::Cidr(_))
            | (Self::Type, Value::Type(_))
            | (Self::Map(..), Value::Map(_))
            | (Self::Optional(_), Value::Optional(_)) => true,
            (Self::List(element), Value::List(items)) => items.first().is_none_or(|first| element.admits(first)),
            _ => false,
        }
    }
}

/// One form.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) name: &'static str,
    pub(crate) style: Style,
    pub(crate) parameters: &'static [Shape],
    pub(crate) result: Shape,
    pub(crate) function: Function,
}

macro_rules! table {
    ($( $style:ident $name:literal $function:ident : $( ( $($parameter:expr),* ) $result:expr ),+ ; )*) => {
        static TABLE: &[Overload] = &[ $( $( Overload {
            name: $name, style: $style, parameters: &[$($parameter),*], result: $result, function: F::$function,
        } ),+ ),* ];
    };
}

const LIST: Shape = List(&A);
const MAP: Shape = Map(&A, &B);
const OPTIONAL: Shape = Optional(&A);
const STRINGS: Shape = List(&String);

table! {
    Global "_+_" Add: (Bytes, Bytes) Bytes, (Double, Double) Double, (Duration, Duration) Duration,
        (Duration, Timestamp) Timestamp, (Timestamp, Duration) Timestamp, (Int, Int) Int, (LIST, LIST) LIST,
        (String, String) String, (Uint, Uint) Uint;
    Global "_-_" Subtract: (Double, Double) Double, (Duration, Duration) Duration, (Int, Int) Int,
        (Timestamp, Duration) Timestamp, (Timestamp, Timestamp) Duration, (Uint, Uint) Uint;
    Global "_*_" Multiply: (Double, Double) Double, (Int, Int) Int, (Uint, Uint) Uint;
    Global "_/_" Divide: (Double, Double) Double, (Int, Int) Int, (Uint, Uint) Uint;
    Global "_%_" Remainder: (Int, Int) Int, (Uint, Uint) Uint;
    Global "-_" Negate: (Double) Double, (Int) Int;
    Global "!_" Not: (Bool) Bool;
    Global "_==_" Equal: (A, A) Bool;
    Global "_!=_" NotEqual: (A, A) Bool;
    Global "_<_" Less: (Bool, Bool) Bool, (Int, Int) Bool, (Int, Double) Bool, (Int, Uint) Bool, (Uint, Uint) Bool, (Uint, Double) Bool,
        (Uint, Int) Bool, (Double, Double) Bool, (Double, Int) Bool, (Double, Uint) Bool, (String, String) Bool,
        (Bytes, Bytes) Bool, (Timestamp, Timestamp) Bool, (Duration, Duration) Bool;
    Global "_<=_" LessEqual: (Bool, Bool) Bool, (Int, Int) Bool, (Int, Double) Bool, (Int, Uint) Bool, (Uint, Uint) Bool, (Uint, Double) Bool,
        (Uint, Int) Bool, (Double, Double) Bool, (Double, Int) Bool, (Double, Uint) Bool, (String, String) Bool,
        (Bytes, Bytes) Bool, (Timestamp, Timestamp) Bool, (Duration, Duration) Bool;
    Global "_>_" Greater: (Bool, Bool) Bool, (Int, Int) Bool, (Int, Double) Bool, (Int, Uint) Bool, (Uint, Uint) Bool, (Uint, Double) Bool,
        (Uint, Int) Bool, (Double, Double) Bool, (Double, Int) Bool, (Double, Uint) Bool, (String, String) Bool,
        (Bytes, Bytes) Bool, (Timestamp, Timestamp) Bool, (Duration, Duration) Bool;
    Global "_>=_" GreaterEqual: (Bool, Bool) Bool, (Int, Int) Bool, (Int, Double) Bool, (Int, Uint) Bool, (Uint, Uint) Bool, (Uint, Double) Bool,
        (Uint, Int) Bool, (Double, Double) Bool, (Double, Int) Bool, (Double, Uint) Bool, (String, String) Bool,
        (Bytes, Bytes) Bool, (Timestamp, Timestamp) Bool, (Duration, Duration) Bool;
    Global "@in" In: (A, LIST) Bool, (A, MAP) Bool;
    Global "_[_]" Index: (LIST, Int) A, (MAP, A) B, (Optional(&LIST), Int) OPTIONAL, (Optional(&MAP), A) Optional(&B);
    Global "_[?_]" OptionalIndex: (LIST, Int) OPTIONAL, (Optional(&LIST), Int) OPTIONAL, (MAP, A) Optional(&B),
        (Optional(&MAP), A) Optional(&B);

    Global "size" Size: (Bytes) Int, (LIST) Int, (MAP) Int, (String) Int;
    Member "size" Size: (Bytes) Int, (LIST) Int, (MAP) Int, (String) Int;
    Member "contains" Contains: (String, String) Bool;
    Member "startsWith" StartsWith: (String, String) Bool;
    Member "endsWith" EndsWith: (String, String) Bool;
    Member "matches" Matches: (String, String) Bool;
    Global "matches" Matches: (String, String) Bool;
    Member "find" Find: (String, String) String;
    Member "findAll" FindAll: (String, String) STRINGS, (String, String, Int) STRINGS;
    Member "lowerAscii" LowerAscii: (String) String;
    Member "upperAscii" UpperAscii: (String) String;
    Member "trim" Trim: (String) String;
    Member "split" Split: (String, String) STRINGS, (String, String, Int) STRINGS;
    Member "join" Join: (STRINGS) String, (STRINGS, String) String;
    Member "replace" Replace: (String, String, String) String, (String, String, String, Int) String;
    Member "substring" Substring: (String, Int) String, (String, Int, Int) String;
    Member "charAt" CharAt: (String, Int) String;
    Member "indexOf" IndexOf: (LIST, A) Int, (String, String) Int, (String, String, Int) Int;
    Member "lastIndexOf" LastIndexOf: (LIST, A) Int, (String, String) Int, (String, String, Int) Int;

    Member "isSorted" IsSorted: (List(&Int)) Bool, (List(&Uint)) Bool, (List(&Double)) Bool, (List(&Bool)) Bool,
        (List(&Duration)) Bool, (List(&Timestamp)) Bool, (STRINGS) Bool, (List(&Bytes)) Bool;
    Member "sum" Sum: (List(&Int)) Int, (List(&Uint)) Uint, (List(&Double)) Double, (List(&Duration)) Duration;
    Member "min" Min: (List(&Int)) Int, (List(&Uint)) Uint, (List(&Double)) Double, (List(&Bool)) Bool,
        (List(&Duration)) Duration, (List(&Timestamp)) Timestamp, (STRINGS) String, (List(&Bytes)) Bytes;
    Member "max" Max: (List(&Int)) Int, (List(&Uint)) Uint, (List(&Double)) Double, (List(&Bool)) Bool,
        (List(&Duration)) Duration, (List(&Timestamp)) Timestamp, (STRINGS) String, (List(&Bytes)) Bytes;
    Global "sets.contains" SetContains: (LIST, LIST) Bool;
    Global "sets.equivalent" SetEquivalent: (LIST, LIST) Bool;
    Global "sets.intersects" SetIntersects: (LIST, LIST) Bool;

    Global "int" ToInt: (Int) Int, (Double) Int, (Duration) Int, (String) Int, (Timestamp) Int, (Uint) Int;
    Global "uint" ToUint: (Uint) Uint, (Double) Uint, (Int) Uint, (String) Uint;
    Global "double" ToDouble: (Double) Double, (Int) Double, (String) Double, (Uint) Double;
    Global "string" ToString: (String) String, (Bool) String, (Bytes) String, (Double) String, (Duration) String,
        (Int) String, (Timestamp) String, (Uint) String, (Ip) String, (Cidr) String;
    Global "bytes" ToBytes: (Bytes) Bytes, (String) Bytes;
    Global "bool" ToBool: (Bool) Bool, (String) Bool;
    Global "timestamp" ToTimestamp: (Timestamp) Timestamp, (Int) Timestamp, (String) Timestamp;
    Global "duration" ToDuration: (Duration) Duration, (Int) Duration, (String) Duration;
    Global "dyn" ToDyn: (A) Dyn;
    Global "type" TypeOf: (A) Type;

    Member "getFullYear" FullYear: (Timestamp) Int, (Timestamp, String) Int;
    Member "getMonth" Month: (Timestamp) Int, (Timestamp, String) Int;
    Member "getDate" Date: (Timestamp) Int, (Timestamp, String) Int;
    Member "getDayOfMonth" DayOfMonth: (Timestamp) Int, (Timestamp, String) Int;
    Member "getDayOfWeek" DayOfWeek: (Timestamp) Int, (Timestamp, String) Int;
    Member "getDayOfYear" DayOfYear: (Timestamp) Int, (Timestamp, String) Int;
    Member "getHours" Hours: (Timestamp) Int, (Timestamp, String) Int, (Duration) Int;
    Member "getMinutes" Minutes: (Timestamp) Int, (Timestamp, String) Int, (Duration) Int;
    Member "getSeconds" Seconds: (Timestamp) Int, (Timestamp, String) Int, (Duration) Int;
    Member "getMilliseconds" Milliseconds: (Timestamp) Int, (Timestamp, String) Int, (Duration) Int;

    Global "optional.of" OptionalOf: (A) OPTIONAL;
    Global "optional.none" OptionalNone: () OPTIONAL;
    Global "optional.ofNonZeroValue" OptionalNonZero: (A) OPTIONAL;
    Member "hasValue" HasValue: (OPTIONAL) Bool;
    Member "value" OptionalValue: (OPTIONAL) A;
    Member "or" Or: (OPTIONAL, OPTIONAL) OPTIONAL;
    Member "orValue" OrValue: (OPTIONAL, A) A;

    Global "ip" ToIp: (String) Ip;
    Global "isIP" IsIp: (String) Bool;
    Global "cidr" ToCidr: (String) Cidr;
    Global "isCIDR" IsCidr: (String) Bool;
    Member "containsIP" ContainsIp: (Cidr, String) Bool, (Cidr, Ip) Bool;
    Member "containsCIDR" ContainsCidr: (Cidr, String) Bool, (Cidr, Cidr) Bool;
    Member "family" Family: (Ip) Int;
    Member "isLoopback" IsLoopback: (Ip) Bool;
    Member "isUnspecified" IsUnspecified: (Ip) Bool;
    Member "isLinkLocalUnicast" IsLinkLocalUnicast: (Ip) Bool;
    Member "isLinkLocalMulticast" IsLinkLocalMulticast: (Ip) Bool;
    Member "isGlobalUnicast" IsGlobalUnicast: (Ip) Bool;
    Member "prefixLength" PrefixLength: (Cidr) Int;
    Member "masked" Masked: (Cidr) Cidr;
    Member "ip" CidrIp: (Cidr) Ip;
}

/// All forms of a function called so.
pub(crate) fn overloads(name: &str, style: Style) -> impl Iterator<Item = &'static Overload> {
    TABLE
        .iter()
        .filter(move |overload| overload.name == name && overload.style == style)
}

/// Names of all functions, with repetitions, without operators.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .map(|overload| overload.name)
        .filter(|name| !name.starts_with(['_', '@', '!', '-']))
}

macro_rules! functions {
    ($( $variant:ident ),* $(,)?) => {
        /// What a call does, whatever the operand types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Function { $( $variant ),* }
    };
}

functions! {
    Add, Subtract, Multiply, Divide, Remainder, Negate, Not, Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual,
    In, Index, OptionalIndex, Size, Contains, StartsWith, EndsWith, Matches, Find, FindAll, LowerAscii, UpperAscii,
    Trim, Split, Join, Replace, Substring, CharAt, IndexOf, LastIndexOf, ListIndexOf, ListLastIndexOf, IsSorted, Sum,
    Min, Max, SetContains, SetEquivalent, SetIntersects, ToInt, ToUint, ToDouble, ToString, ToBytes, ToBool,
    ToTimestamp, ToDuration, ToDyn, TypeOf, FullYear, Month, Date, DayOfMonth, DayOfWeek, DayOfYear, Hours, Minutes,
    Seconds, Milliseconds, OptionalOf, OptionalNone, OptionalNonZero, HasValue, OptionalValue, Or, OrValue, ToIp, IsIp,
    ToCidr, IsCidr, ContainsIp, ContainsCidr, Family, IsLoopback, IsUnspecified, IsLinkLocalUnicast,
    IsLinkLocalMulticast, IsGlobalUnicast, PrefixLength, Masked, CidrIp,
}

impl Function {
    /// Whether cel-go has one implementation for all of its forms, which takes what it can.
    pub(crate) fn takes_what_it_can(self) -> bool {
        matches!(
            self,
            F::Add
                | F::Subtract
                | F::Multiply
                | F::Divide
                | F::Remainder
                | F::Negate
                | F::Not
                | F::Equal
                | F::NotEqual
                | F::Less
                | F::LessEqual
                | F::Greater
                | F::GreaterEqual
                | F::In
                | F::Index
                | F::OptionalIndex
                | F::Size
                | F::Matches
                | F::ToDyn
                | F::TypeOf
        )
    }

    /// Whether it takes a time zone.
    pub(crate) fn reads_time(self) -> bool {
        matches!(
            self,
            F::FullYear
                | F::Month
                | F::Date
                | F::DayOfMonth
                | F::DayOfWeek
                | F::DayOfYear
                | F::Hours
                | F::Minutes
                | F::Seconds
                | F::Milliseconds
        )
    }

    /// The name as written in an expression; operators without the place-holders of the syntax tree.
    pub(crate) fn name(self) -> &'static str {
        let name = TABLE
            .iter()
            .find(|overload| overload.function == self)
            .map_or("", |overload| overload.name);
        match name {
            "_[_]" | "_[?_]" => "[]",
            "@in" => "in",
            operator => operator.trim_matches('_'),
        }
    }
}
