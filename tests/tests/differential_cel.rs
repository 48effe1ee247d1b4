//! Our CEL against the API server's own environment of structured authentication, expression by expression.
//!
//! 20,000 by default, as many as `GATESCRIBE_DIFFERENTIAL_PAIRS` says otherwise. Compared are the class (does not load,
//! fails when evaluated, gives a value) and the value. The oracle is `tests/counterparts/oracle/oracle-cel`.

#[path = "differential/expressions.rs"]
mod expressions;
#[path = "differential/oracle.rs"]
mod oracle;

use std::collections::BTreeMap;

use access::generate::Random;
use condition::{Budget, Context, Declarations, ObjectType, Type, Value, compile};
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
        Value::Timestamp(nanos) => {
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

/// The kinds of difference that stay, each described in `policy/condition`'s documentation.
fn known(asked: &Asked, ours: &Verdict, theirs: &Verdict) -> Option<&'static str> {
    use Verdict::{DoesNotLoad, Fails, Gives};
    let has = |part: &str| asked.expression.contains(part);
    match (ours, theirs) {
        (_, DoesNotLoad(why)) if why.starts_with("no answer") => Some("no answer there"),
        (Fails(_) | Gives(_), DoesNotLoad(why)) if why.starts_with("program instantiation failed") => {
            Some("constants that cannot be folded there")
        }
        (Gives(_), Fails(why)) if has("optMap") && why.contains("unsupported conversion") => {
            Some("constants that change by being folded there")
        }
        (Gives(_), Gives(_)) if has("optMap") => Some("constants that change by being folded there"),
        (Fails(_) | Gives(_), DoesNotLoad(_)) if has("{}.") || has("{}[") => {
            Some("the type of what an empty map holds")
        }
        (DoesNotLoad(why), Fails(_) | Gives(_))
            if why.starts_with("elements of types") && (has("{}.") || has("{}[") || has("optMap")) =>
        {
            Some("the type of what an empty map or an optional holds")
        }
        (Fails(_), Gives(_)) if has("dyn(") && (has(".find") || has(".matches")) => {
            Some("what is wrapped, taken for its text")
        }
        _ if has("ofNonZeroValue(claims") || has("ofNonZeroValue(user") => {
            Some("an empty list or map of the input is not zero there")
        }
        (Gives(ours), Gives(_)) if has("ofNonZeroValue") && ours.contains("none") => {
            Some("an empty list or map of the input is not zero there")
        }
        (Fails(why), Gives(_)) if has("dyn(") && (why.starts_with("`==`") || why.starts_with("`!=`")) => {
            Some("an address, wrapped, compared with what is none")
        }
        (Gives(_), Gives(_)) if has("double(") && (has("922337203685477580") || has("18446744073709551615u")) => {
            Some("a whole number beyond 2^53 compared with a double")
        }
        (Gives(_), Gives(_)) if has("string(") && has(" * ") => Some("a double between two shortest decimals"),
        _ => None,
    }
}

#[derive(Default)]
struct Tally {
    known: BTreeMap<&'static str, usize>,
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
            Verdict::DoesNotLoad(_) => tally.loads += 1,
            Verdict::Fails(_) => tally.faults += 1,
            Verdict::Gives(_) => tally.values += 1,
        }
        let ours = ours(asked);
        if ours.same(&theirs) {
            return;
        }
        if let Some(kind) = known(asked, &ours, &theirs) {
            *tally.known.entry(kind).or_default() += 1;
        } else {
            tally
                .differences
                .push(format!("{}\n  we:   {ours:?}\n  they: {theirs:?}", asked.line()));
        }
    });
    let known: usize = tally.known.values().sum();
    eprintln!(
        "cel pairs={count} values={} faults={} loads_refused={} known={known} differences={}\n{:?}",
        tally.values,
        tally.faults,
        tally.loads,
        tally.differences.len(),
        tally.known
    );
    assert!(
        known * 500 <= count,
        "{known} of {count} are of the known kinds: {:?}",
        tally.known
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
