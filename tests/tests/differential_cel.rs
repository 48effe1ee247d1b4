//! Our CEL against the API server's own environment of structured authentication, expression by expression.
//!
//! 20,000 by default, as many as `GATESCRIBE_DIFFERENTIAL_PAIRS` says otherwise. Compared are the class (does not load,
//! fails when evaluated, gives a value) and the value. Nothing is excused: what we refuse as unsupported, which an error of
//! its own kind says, is counted apart and bounded. The oracle is `tests/counterparts/oracle/oracle-cel`.

#[path = "differential/expressions.rs"]
mod expressions;
#[path = "differential/oracle.rs"]
mod oracle;

use std::collections::BTreeMap;

use access::generate::Random;
use condition::{Budget, Context, Declarations, LoadErrorKind, ObjectType, Type, Value, compile};
use expressions::{Asked, Input, asked};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Answer {
    load: String,
    fault: String,
    value: String,
}

/// How each side classes an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    DoesNotLoad(String),
    /// Ours only: refused although the API server may take it, with what to write instead.
    Unsupported(String),
    Fails(String),
    Gives(String),
}

impl Verdict {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gives(ours), Self::Gives(theirs)) => ours == theirs,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

fn theirs(answer: Answer) -> Verdict {
    if !answer.load.is_empty() {
        return Verdict::DoesNotLoad(answer.load);
    }
    if !answer.fault.is_empty() {
        return Verdict::Fails(answer.fault);
    }
    Verdict::Gives(answer.value)
}

/// As `gateway/oidc` declares them.
fn declarations(input: &Input) -> Declarations {
    match input {
        Input::Claims(_) => Declarations::new().variable("claims", Type::map(Type::String, Type::Any)),
        Input::User(_) => {
            let user = ObjectType::new(
                "kubernetes.UserInfo",
                [
                    ("username", Type::String),
                    ("uid", Type::String),
                    ("groups", Type::list(Type::String)),
                    ("extra", Type::map(Type::String, Type::list(Type::String))),
                ],
            );
            Declarations::new().variable("user", Type::object(user))
        }
    }
    .as_kubernetes()
}

fn ours(asked: &Asked) -> Verdict {
    let (name, json) = match &asked.input {
        Input::Claims(claims) => ("claims", claims),
        Input::User(user) => ("user", user),
    };
    let program = match compile(&asked.expression, &declarations(&asked.input)) {
        Ok(program) => program,
        Err(error) if error.kind == LoadErrorKind::Unsupported => return Verdict::Unsupported(error.to_string()),
        Err(error) => return Verdict::DoesNotLoad(error.to_string()),
    };
    let context = Context::new().with(name, Value::from_json(json));
    match program.evaluate(&context, Budget::default()) {
        Ok(value) => Verdict::Gives(canonical(&value)),
        Err(error) => Verdict::Fails(error.to_string()),
    }
}

/// The oracle's spelling of a value.
fn canonical(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => format!("int {value}"),
        Value::Uint(value) => format!("uint {value}"),
        Value::Double(value) if value.is_nan() => "double NaN".to_owned(),
        Value::Double(value) => format!("double {:x}", value.to_bits()),
        Value::String(text) => format!("string {}", hex::encode(text.as_bytes())),
        Value::Bytes(bytes) => format!("bytes {}", hex::encode(bytes)),
        Value::Timestamp(nanos) | Value::Zoned(nanos, _) => {
            let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
            format!("timestamp {seconds}.{rest:09}")
        }
        Value::Duration(nanos) => format!("duration {nanos}"),
        Value::Ip(address) => format!("ip {address}"),
        Value::Cidr(network) => format!("cidr {}/{}", network.address, network.prefix),
        Value::List(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let mut entries: Vec<_> = map
                .keys()
                .map(|key| {
                    let value = map.find(&key).expect("a key of the map is in it");
                    format!("{}: {}", canonical(&key), canonical(value))
                })
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("some({})", canonical(inner)),
        Value::Type(name) => format!("type {name}"),
    }
}

#[derive(Default)]
struct Tally {
    unsupported: BTreeMap<String, usize>,
    loads: usize,
    faults: usize,
    values: usize,
    differences: Vec<String>,
}

#[test]
fn every_expression_means_what_it_means_to_the_api_server() {
    let mut random = Random::new(oracle::seed());
    let count = oracle::pairs_or(20_000);
    let all: Vec<Asked> = (0..count).map(|_| asked(&mut random)).collect();
    let mut tally = Tally::default();
    oracle::ask("oracle-cel", all.iter().map(Asked::line).collect(), |at, line| {
        let answer: Answer = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let (asked, theirs) = (&all[at], theirs(answer));
        match &theirs {
            Verdict::DoesNotLoad(_) | Verdict::Unsupported(_) => tally.loads += 1,
            Verdict::Fails(_) => tally.faults += 1,
            Verdict::Gives(_) => tally.values += 1,
        }
        let ours = ours(asked);
        if let Verdict::Unsupported(why) = &ours {
            let why = why.split(" (line").next().unwrap_or_default();
            *tally.unsupported.entry(why.to_owned()).or_default() += 1;
        } else if !ours.same(&theirs) {
            tally
                .differences
                .push(format!("{}\n  we:   {ours:?}\n  they: {theirs:?}", asked.line()));
        }
    });
    let unsupported: usize = tally.unsupported.values().sum();
    eprintln!(
        "cel pairs={count} values={} faults={} loads_refused={} unsupported={unsupported} differences={}\n{:?}",
        tally.values,
        tally.faults,
        tally.loads,
        tally.differences.len(),
        tally.unsupported
    );
    assert!(
        unsupported * 50 <= count,
        "{unsupported} of {count} are refused as unsupported: {:?}",
        tally.unsupported
    );
    assert!(
        tally.values * 10 >= count * 3,
        "only {} of {count} give a value",
        tally.values
    );
    assert!(
        tally.faults * 20 >= count,
        "only {} of {count} fail when evaluated",
        tally.faults
    );
    assert!(tally.loads * 50 >= count, "only {} of {count} do not load", tally.loads);
    assert!(
        tally.differences.is_empty(),
        "{} of {count} differ:\n{}",
        tally.differences.len(),
        tally
            .differences
            .iter()
            .take(40)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

/// Of Kubernetes' page on structured authentication (`AuthenticationConfiguration`), word for word, and of the words in its
/// API's own documentation; with what one is expected to give here.
const DOCUMENTED: &[(&str, &str)] = &[
    (r#"claims.hd == "example.com""#, "true"),
    ("claims.exp - claims.nbf <= 86400", "true"),
    (r#"claims.username + ":external-user""#, "string"),
    (r#""system:" + claims.username"#, "string"),
    (r#"claims.roles.split(",")"#, "["),
    ("claims.sub", "string"),
    ("claims.uid", "string"),
    ("claims.tenant", "string"),
    ("claims.some_claim", "string"),
    ("claims.email", "string"),
    ("claims.email_verified == true", "true"),
    ("claims.?email_verified.orValue(true)", "true"),
    ("claims.?email_verified.orValue(true) == true", "true"),
    ("claims.foo.bar.baz", "string"),
    ("has(claims.email)", "true"),
    ("claims.username in ['foo', 'bar']", "true"),
    ("!user.username.startsWith('system:')", "true"),
    ("user.groups.all(group, !group.startsWith('system:'))", "true"),
    ("user.username == 'foo:external-user'", "true"),
    ("user.uid.size() > 0", "true"),
    ("user.extra['example.com/tenant'] == ['t1']", "true"),
];

/// What a token of those examples holds, and the person made of it.
fn documented_input(expression: &str) -> Input {
    if expression.contains("user.") {
        return Input::User(json!({
            "username": "foo:external-user", "uid": "auth", "groups": ["user", "admin"],
            "extra": { "example.com/tenant": ["t1"] },
        }));
    }
    Input::Claims(json!({
        "hd": "example.com", "exp": 1_703_232_949_i64, "nbf": 1_703_146_549_i64, "username": "foo", "roles": "user,admin",
        "sub": "auth", "uid": "7", "tenant": "t1", "some_claim": "s", "email": "foo@example.com", "email_verified": true,
        "foo": { "bar": { "baz": "nested" } },
    }))
}

/// Asks the API server's environment the same, in order.
fn asked_there(all: &[Asked]) -> Vec<Verdict> {
    let mut there = Vec::new();
    oracle::ask("oracle-cel", all.iter().map(Asked::line).collect(), |_, line| {
        let answer: Answer = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        there.push(theirs(answer));
    });
    assert_eq!(there.len(), all.len(), "one answer for each");
    there
}

#[test]
fn every_example_of_the_documentation_of_structured_authentication_loads_and_means_the_same() {
    let all: Vec<Asked> = DOCUMENTED
        .iter()
        .map(|(expression, _)| Asked {
            expression: (*expression).to_owned(),
            input: documented_input(expression),
        })
        .collect();
    for ((asked, there), (_, begins)) in all.iter().zip(asked_there(&all)).zip(DOCUMENTED) {
        let Verdict::Gives(value) = ours(asked) else {
            panic!("{}: {:?}", asked.expression, ours(asked));
        };
        assert_eq!(Verdict::Gives(value.clone()), there, "{}", asked.expression);
        assert!(value.starts_with(begins), "{}: {value}", asked.expression);
    }
    eprintln!("documented={}", all.len());
}

/// Where random expressions seldom or never come: each is asked on both sides, and class and value are compared.
const CORNERS: &[&str] = &[
    // Doubles read from and printed as text.
    "double('1_0')",
    "double('0x1p3')",
    "double('0x_1p3')",
    "double('-0X1.8P-1')",
    "double('0x1.fffffffffffff8p0')",
    "double('0x1.00000000000008p0')",
    "double('0x1.000000000000080000000000000000000000001p0')",
    "double('0x0.8p-1074')",
    "double('0x1.8p-1074')",
    "double('0x1p-1075')",
    "double('0x1p1024')",
    "double('0x123456789abcdef123456789abcdef123456789.8p-10')",
    "double('0x1p99999999999999999999')",
    "double('0x1')",
    "double('0x.p1')",
    "double('1e400')",
    "double('1e-400')",
    "double('+nan')",
    "double('nan')",
    "double('-Infinity')",
    "double('.5')",
    "double('5.')",
    "double('.')",
    "double('_1')",
    "double('1__0')",
    "double('1_.5')",
    "double('1e_5')",
    "double(' 1')",
    "string(5.6843418860808015e-14)",
    "string(2.2250738585072014e-308)",
    "string(5e-324)",
    "string(1e21)",
    "string(123456.0)",
    "string(1234567.0)",
    // Times.
    "timestamp('9999-12-31T23:59:59Z').getFullYear('+01:00')",
    "timestamp('9999-12-31T23:59:59Z').getDayOfYear('+01:00')",
    "timestamp('9999-12-31T23:59:59Z').getDayOfWeek('+01:00')",
    "timestamp('9999-12-31T23:59:59Z').getMonth('+01:00')",
    "timestamp('0001-01-01T00:00:00Z').getFullYear('-01:00')",
    "timestamp('0001-01-01T00:00:00Z').getHours('-01:00')",
    "string(timestamp('2024-01-01T00:00:00+01:00'))",
    "string(timestamp('2024-01-01T00:00:00-08:30'))",
    "string(timestamp('2024-01-01T00:00:00-00:00'))",
    "string(timestamp('2024-01-01T00:00:00+01:00') + duration('1h'))",
    "string(timestamp('2024-01-01T00:00:00+01:00') - duration('90m'))",
    "string(timestamp(timestamp('2024-01-01T00:00:00+01:00')))",
    "string([timestamp('2024-01-01T00:00:00+01:00'), timestamp('2023-01-01T00:00:00Z')].max())",
    "string(timestamp('9999-12-31T22:59:59-01:00'))",
    "timestamp('2024-01-01T00:00:00+01:00') == timestamp('2023-12-31T23:00:00Z')",
    "timestamp('2024-01-01T00:00:00+01:00').getHours()",
    "timestamp('2024-01-01T0:00:00Z')",
    "timestamp('2024-01-01T00:00:00,5Z')",
    "timestamp('2024-01-01T24:00:00Z')",
    "timestamp('2024-01-01T00:00:60Z')",
    "timestamp('2024-01-01t00:00:00z')",
    "timestamp('2024-1-01T00:00:00Z')",
    "timestamp('2024-01-01T00:00:00.Z')",
    "timestamp('2024-01-01T00:00:00+25:00')",
    "timestamp('2024-01-01T00:00:00+0100')",
    "timestamp('10000-01-01T00:00:00Z')",
    "timestamp('0001-01-01T00:00:00+01:00')",
    "timestamp(253402300800)",
    "timestamp('2024-01-01T00:00:00Z').getHours('us/central')",
    "timestamp('2024-01-01T00:00:00Z').getHours('US/Central')",
    "timestamp('2024-01-01T00:00:00Z').getHours('5:30')",
    // What empty literals hold.
    "[].map(x, x != 'a', x)",
    "[].map(x, x.indexOf('a'))",
    "[].map(x, x + 1).map(y, y + 'a')",
    "{}.a",
    "{}.a == 1",
    "[{}.a, 1]",
    "has({}.a)",
    "{}['a'] + 1",
    "[[], ['a']]",
    "[[], [1], ['a']]",
    "[{}, {'a': 1}]",
    "{} == {1: 'a'}",
    "optional.none().optMap(v, v + 1).orValue('a')",
    "optional.none().optMap(v, v + 1).orValue(2)",
    "[].sum()",
    "[].min()",
    "{1: 2}.a",
    // Optional values.
    "[?claims.e]",
    "{?'a': claims.sub}",
    "[?dyn(1)]",
    "optional.ofNonZeroValue(claims.e)",
    "optional.ofNonZeroValue(claims.e + [])",
    "optional.ofNonZeroValue([] + claims.e)",
    "optional.ofNonZeroValue(claims.o)",
    "optional.ofNonZeroValue({})",
    "optional.of(claims.e).optFlatMap(x, optional.ofNonZeroValue(x))",
    "optional.of(claims.o).optFlatMap(x, optional.ofNonZeroValue(x))",
    "[].map(x, {'a': x}.a.findAll('a').indexOf(string(double(false ? x : x))))",
    "optional.ofNonZeroValue(optional.none())",
    "true ? optional.of(int) : optional.none()",
    "true ? optional.of(optional.of(1)) : optional.none()",
    "true ? optional.of(optional.none()) : optional.none()",
    "[optional.of(int)].map(x, x)",
    "optional.of(int).optMap(x, 1)",
    "[int].all(x, x == int)",
    "[int].all(x, true)",
    "claims.n.orValue(1)",
    "claims.n.value()",
    "claims.sub.or(optional.of('b'))",
    "uint(claims.n.orValue('1'))",
    "dyn(optional.of('abc')).find('b')",
    "dyn(string).matches('str')",
    "dyn(optional.of('abc')).find(claims.sub)",
    // Names and keys.
    "claims.?kubernetes__dot__io.x__dash__y",
    "optional.of(claims.kubernetes__dot__io).?x__dash__y",
    "claims['kubernetes__dot__io']['x__dash__y']",
    "claims[claims.escaped]",
    "claims.nested__unknown__x",
    "claims.deep.a__b__c",
    "claims.__namespace__",
    "claims.deep.__in__",
    "{'a__dot__b': 1}.a__dot__b",
    "{'a__dot__b': 1}['a__dot__b']",
    "'a__dot__b' in {'a.b': 1}",
    "'x__dash__y' in claims['kubernetes.io']",
    "{'a': 1, 'a': 2}",
    "{'a': 1, ?'a': optional.none()}",
    "{1: 'a', 2: 'b'}[dyn(1.0)]",
    "{1: 'a'}[dyn(1u)]",
    "claims[dyn(b'a')]",
    "claims[[1]]",
    "claims[type(1)]",
    "claims[null]",
    "claims[duration('1s')]",
    // Whole numbers beyond 2^53.
    "dyn(9007199254740993) == dyn(9007199254740992.0)",
    "9007199254740993 > 9007199254740992.0",
    "dyn(9007199254740993) in [9007199254740992.0]",
    "dyn(9007199254740992.0) in [9007199254740993]",
    "[9007199254740992.0].indexOf(dyn(9007199254740993))",
    "9223372036854775807 < 9223372036854775808.0",
    "18446744073709551615u >= 18446744073709551616.0",
    "0u > -0.5",
    "['a'][?dyn(9223372036854775808.0)]",
    "['a'][?dyn(9223372036854774784.0)]",
    "['a'][?dyn(-9223372036854775808.0)]",
    "['a'][?dyn(18446744073709551615u)]",
    // Addresses.
    "ip('10.0.0.1') == dyn('10.0.0.1')",
    "ip('10.0.0.1') != dyn('10.0.0.1')",
    "dyn('10.0.0.1') == ip('10.0.0.1')",
    "ip('10.0.0.1') in [ip('10.0.0.2'), ip('10.0.0.1')]",
    "ip('10.0.0.1') == null",
    "type(ip('10.0.0.1')) == type(ip('::1'))",
    // Macros.
    "[1].existsOne(x, x == 1)",
    "[1].exists_one(x, x == 1)",
    "'existsOne' == 'existsOne' && [1].exists_one(existsOne, true)",
    // Functions met with what is none of their types.
    "string(null)",
    "bytes(dyn(['a']))",
    "[dyn('a'), dyn(1)].sum()",
    "[dyn(1), dyn('a')].join()",
    "[dyn(1), dyn(2u)].max()",
];

#[test]
fn corners_of_the_language_mean_the_same_as_to_the_api_server() {
    let claims = json!({
        "sub": "a", "n": 3, "e": [], "o": {}, "kubernetes.io": {"x-y": 1}, "escaped": "kubernetes__dot__io",
        "nested__unknown__x": 1, "deep": {"a__b__c": 1, "in": 2}, "namespace": "n",
    });
    let all: Vec<Asked> = CORNERS
        .iter()
        .map(|expression| Asked {
            expression: (*expression).to_owned(),
            input: Input::Claims(claims.clone()),
        })
        .collect();
    let differences: Vec<String> = all
        .iter()
        .zip(asked_there(&all))
        .map(|(asked, there)| (&asked.expression, ours(asked), there))
        .filter(|(_, ours, there)| !ours.same(there))
        .map(|(expression, ours, there)| format!("{expression}\n  we:   {ours:?}\n  they: {there:?}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    eprintln!("corners={}", all.len());
}

/// Forms that the API server takes and we refuse as unsupported: what they mean there nobody means.
const REFUSED: &[&str] = &[
    // `claims` as a whole is looped over by values there, has a type of its own and no size.
    "claims",
    "claims.all(x, true)",
    "type(claims) == map",
    "[claims].size() == 1",
    "dyn(claims).sub == 'a'",
    // Keys of maps that are no texts or whole numbers, or of several types.
    "{1.5: 1}",
    "{dyn(1): 'a', dyn(1u): 'b'}",
    "{claims.sub: 1}",
    // Addresses where they meet what is none: to compare is an error at the top, and true within a list.
    "[dyn(ip('10.0.0.1'))] == [dyn('x')]",
    "(claims.sub == 'a' ? dyn(1) : ip('10.0.0.1')) == 1",
    "optional.of('a').optMap(x, ip('10.0.0.1'))",
    // Types, which have types there.
    "[int, int]",
    // Whatever the machine's zone is.
    "timestamp('2024-01-01T00:00:00Z').getHours('Local') >= 0",
    "timestamp('2024-01-01T00:00:00Z').getHours('99:00')",
    // The variable of `optMap` is changed there.
    "optional.of([]).optMap(v, v + ['a'] == v)",
    "claims.?e.optMap(v, (v + ['a']) == (v + ['b']))",
    "optional.of([]).optMap(v, [1, 2].map(x, v + [x]))",
    // Regular expressions that are read otherwise here.
    "'abc'.matches('\\\\B')",
    "'a'.matches('[+--]')",
];

#[test]
fn what_is_refused_as_unsupported_is_taken_by_the_api_server() {
    let all: Vec<Asked> = REFUSED
        .iter()
        .map(|expression| Asked {
            expression: (*expression).to_owned(),
            input: Input::Claims(json!({"sub": "a", "e": []})),
        })
        .collect();
    for (asked, there) in all.iter().zip(asked_there(&all)) {
        let ours = ours(asked);
        assert!(matches!(there, Verdict::Gives(_)), "{}: {there:?}", asked.expression);
        assert!(
            matches!(ours, Verdict::Unsupported(_)),
            "{}: {ours:?}",
            asked.expression
        );
    }
    eprintln!("unsupported_forms={}", all.len());
}

/// What the API server has and we have not: each row uses one function or macro outside our list.
const OUTSIDE: &[&str] = &[
    r#"quantity("1Gi").isGreaterThan(quantity("1Mi"))"#,
    r#"quantity("1Gi").isInteger()"#,
    r#"quantity("1Gi").asInteger() > 1"#,
    r#"isQuantity("1Gi")"#,
    r#"url("https://a.example/b").getHost() == "a.example""#,
    r#"url("https://a.example/b").getScheme() == "https""#,
    r#"isURL("https://a.example")"#,
    r#"semver("1.2.3").isLessThan(semver("2.0.0"))"#,
    r#"semver("1.2.3").major() == 1"#,
    r#"isSemver("1.2.3")"#,
    r#"format.named("dns1123Label").hasValue()"#,
    r#"format.dns1123Label().validate("a").hasValue()"#,
    r#""%s".format(["a"]) == "a""#,
    r#"strings.quote("a") == "a""#,
    "[[1]].flatten().size() == 1",
    "[1, 2].slice(0, 1).size() == 1",
    "[2, 1].sort() == [1, 2]",
    "[1, 1].distinct().size() == 1",
    "lists.range(2).size() == 2",
    "[1].all(i, v, v == 1)",
    "[1].exists(i, v, v == 1)",
    "[1].transformList(i, v, v).size() == 1",
    r#"{"a": 1}.transformMap(k, v, v).size() == 1"#,
];

#[test]
fn what_is_outside_our_list_of_functions_is_refused_at_load_though_the_api_server_has_it() {
    let all: Vec<Asked> = OUTSIDE
        .iter()
        .map(|expression| Asked {
            expression: (*expression).to_owned(),
            input: Input::Claims(json!({})),
        })
        .collect();
    let mut unsupported = 0;
    for (asked, there) in all.iter().zip(asked_there(&all)) {
        assert!(
            matches!(there, Verdict::Gives(_)),
            "not even there: {}: {there:?}",
            asked.expression
        );
        assert!(
            matches!(ours(asked), Verdict::DoesNotLoad(_)),
            "not refused at load: {}: {:?}",
            asked.expression,
            ours(asked)
        );
        unsupported += 1;
    }
    eprintln!("unsupported={unsupported}");
}
