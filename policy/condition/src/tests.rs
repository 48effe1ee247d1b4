//! The language as tables: expressions and what they come to, expressions that must not load, and limits.

use proptest::prelude::*;
use serde_json::json;

use crate::{Budget, Context, Declarations, Fault, LoadErrorKind, ObjectType, Type, Value, compile, function_names};

fn declared() -> Declarations {
    let user = ObjectType::new(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    Declarations::new()
        .variable("claims", Type::map(Type::String, Type::Dyn))
        .variable("user", Type::object(user))
        .variable("now", Type::Timestamp)
}

fn context() -> Context {
    let claims = json!({
        "sub": "119abc", "hd": "corp.example", "email": "ann@corp.example", "email_verified": true,
        "exp": 1_700_001_000, "nbf": 1_700_000_000, "groups": ["dev", "ops"], "roles": "dev,ops", "n": 3,
        "nested": {"a": {"b": "deep"}}, "kubernetes.io": {"x-y": 1}, "empty": null, "upn": "Ann@Corp.Example",
    });
    let user = json!({"username": "ann", "uid": "", "groups": ["dev", "system:authenticated"], "extra": {}});
    Context::new()
        .with("claims", Value::from_json(&claims))
        .with("user", Value::from_json(&user))
        .with("now", Value::Timestamp(1_732_000_000_123_000_000))
}

fn run(source: &str) -> Result<Value, Fault> {
    let program = compile(source, &declared()).unwrap_or_else(|error| panic!("{source}: {error}"));
    program
        .evaluate(&context(), Budget::default())
        .map_err(|error| error.fault)
}

#[track_caller]
fn all_true(sources: &[&str]) {
    for source in sources {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
}

#[track_caller]
fn refused(source: &str, message: &str) {
    let error = compile(source, &declared())
        .err()
        .unwrap_or_else(|| panic!("{source} loaded"));
    assert_eq!(error.to_string(), message, "{source}");
}

#[test]
fn every_example_of_the_structured_authentication_documentation_holds() {
    all_true(&[
        "claims.hd == 'corp.example'",
        "claims.hd == \"corp.example\"",
        "claims.exp - claims.nbf <= 86400",
        "!user.username.startsWith('system:')",
        "user.groups.all(group, !group.startsWith('admin:'))",
        "claims.?email_verified.orValue(true) == true",
        "has(claims.email) && claims.email_verified",
        "(has(claims.is_admin) && claims.is_admin ? 'true' : '') == ''",
        "sets.equivalent(claims.groups, ['ops', 'dev', 'ops'])",
        "claims.roles.split(',') == ['dev', 'ops']",
        "(claims.sub + ':external-user') == '119abc:external-user'",
        "claims.email.split('@')[1] == 'corp.example'",
        "'bar' in [claims.sub] || claims.?missing.hasValue() == false",
    ]);
}

#[test]
fn strings_behave_as_in_cel_go() {
    all_true(&[
        "'héllo'.size() == 5 && size('héllo') == 5",
        "'AbÉ'.lowerAscii() == 'abÉ' && 'abé'.upperAscii() == 'ABé'",
        "' x '.trim() == 'x'",
        "'a-b-c'.replace('-', '+') == 'a+b+c' && 'a-b-c'.replace('-', '+', 1) == 'a+b-c'",
        "'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b'] && 'a,b'.split(',', 0) == []",
        "['a','b'].join('-') == 'a-b' && ['a','b'].join() == 'ab'",
        "'hello'.substring(1) == 'ello' && 'hello'.substring(1, 3) == 'el' && 'hé'.charAt(1) == 'é' && 'h'.charAt(1) == ''",
        "'hello'.indexOf('l') == 2 && 'hello'.indexOf('l', 3) == 3 && 'hello'.indexOf('x') == -1",
        "'hello'.lastIndexOf('l') == 3 && 'hello'.lastIndexOf('l', 2) == 2 && 'hello'.lastIndexOf('') == 5",
        "'ann@corp.example'.matches('^[a-z]+@corp\\\\.example$')",
        "'٣'.matches('^\\\\d$') == false && '3'.matches(r'^\\d$') && '[a'.matches('^[[a]+$')",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'a1b2'.findAll('[0-9]', 1) == ['1']",
        "b'ab' + b'c' == b'abc' && size(b'abc') == 3 && string(b'abc') == 'abc'",
    ]);
    assert_eq!(run("'a'.substring(2)"), Err(Fault::IndexOutOfRange));
    assert_eq!(
        run("'a'.matches(claims.email + '(')"),
        Err(Fault::InvalidArgument("matches"))
    );
}

#[test]
fn numbers_compare_across_types_and_never_wrap() {
    all_true(&[
        "1 < 1.5 && 2u > 1 && dyn(1) == dyn(1.0) && dyn(1) == dyn(1u) && !(dyn(1) == dyn('1'))",
        "claims.n == 3 && claims.n in [dyn(3)] && claims.n + 1.0 == 4.0",
        "7 / 2 == 3 && -7 % 2 == -1 && -(3) == -3",
        "int('12') == 12 && int(3.9) == 3 && int(-3.9) == -3 && uint(3) == 3u && double('1.5') == 1.5",
        "string(1000000.0) == '1e+06' && string(0.0001) == '0.0001' && string(1.5) == '1.5' && string(3u) == '3'",
        "bool('true') && !bool('F')",
        "dyn(9007199254740993) == dyn(9007199254740992.0) && dyn(9007199254740993) != dyn(9007199254740994.0)",
    ]);
    for (source, fault) in [
        ("9223372036854775807 + 1", Fault::Overflow("+")),
        ("-9223372036854775807 - 2", Fault::Overflow("-")),
        ("1 / 0", Fault::DivisionByZero),
        ("1u - 2u", Fault::Overflow("-")),
        ("int(claims.exp * 1e300)", Fault::Overflow("int")),
        ("int(claims.sub)", Fault::InvalidArgument("int")),
        ("claims.n + 1", Fault::NoSuchOverload("+")),
    ] {
        assert_eq!(run(source), Err(fault), "{source}");
    }
}

#[test]
fn logic_takes_the_side_that_decides_even_when_the_other_fails() {
    all_true(&[
        "claims.missing == 'x' || true",
        "true || claims.missing == 'x'",
        "!(false && claims.missing) && !(claims.missing == 1 && false)",
        "['x', 'y'].exists(k, claims[k] == 1 || k == 'y')",
        "!['x', 'y'].all(k, claims[k] == 1 && k == 'x' && false)",
    ]);
    assert_eq!(run("claims.missing == 'x' || false"), Err(Fault::NoSuchKey));
    assert_eq!(run("claims.sub || false"), Err(Fault::NoSuchOverload("||")));
    assert_eq!(run("claims.sub ? 1 : 2"), Err(Fault::NoSuchOverload("?:")));
}

#[test]
fn loops_lists_and_maps() {
    all_true(&[
        "[1, 2, 3].exists_one(x, x > 2) && ![1, 2, 3].exists_one(x, x > 1)",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "claims.groups.filter(g, g != 'ops') == ['dev'] && claims.groups.map(g, 'oidc:' + g)[1] == 'oidc:ops'",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1}.a == 1 && {1: 'x'}[1] == 'x'",
        "'dev' in claims.groups && !('x' in claims.nested) && 'a' in claims.nested",
        "[1, 2].map(x, [3].map(y, x * y)) == [[3], [6]]",
        "[3, 1, 2].max() == 3 && [3, 1].min() == 1 && [1, 2].sum() == 3 && [1, 2].isSorted() && [1, 2, 1].lastIndexOf(1) == 2",
        "claims.groups.indexOf('ops') == 1",
        "size({'a': 1}) == 1 && [1] + [2] == [1, 2] && [[]] == [[]]",
        "claims.nested.a.b == 'deep' && claims['nested']['a']['b'] == 'deep'",
        "type(claims.groups) == list && type(claims.sub) == string && type(claims.n) == double && type(1) == int",
        "claims.empty == null && has(claims.empty)",
    ]);
    assert_eq!(run("[1][1]"), Err(Fault::IndexOutOfRange));
    assert_eq!(run("{'a': 1, 'a': 2}"), Err(Fault::DuplicateKey));
    assert_eq!(
        run("claims.sub.exists(x, true)"),
        Err(Fault::NoSuchOverload("comprehension"))
    );
}

#[test]
fn optional_values_chain_and_default() {
    all_true(&[
        "claims.?nested.a.b.orValue('x') == 'deep' && claims.?no.a.b.orValue('x') == 'x'",
        "claims[?'no'].orValue('x') == 'x' && [1][?1].orValue(5) == 5 && claims.?groups[0].orValue('-') == 'dev'",
        "claims.?sub.optMap(s, s + '!').value() == '119abc!' && !claims.?no.optMap(s, s).hasValue()",
        "claims.?sub.optFlatMap(s, optional.ofNonZeroValue('')).orValue('none') == 'none'",
        "optional.none().or(optional.of(1)).value() == 1 && optional.of(2).or(optional.none()).value() == 2",
        "[?claims.?no, ?claims.?sub] == [claims.sub] && {?'a': claims.?no} == {}",
        "has(user.uid) && user.uid == '' && !has(claims.no)",
    ]);
    assert_eq!(run("optional.none().value()"), Err(Fault::EmptyOptional));
}

#[test]
fn times_and_durations() {
    all_true(&[
        "timestamp('2024-11-19T07:06:40.123Z') == now && timestamp(0) < now",
        "now.getFullYear() == 2024 && now.getMonth() == 10 && now.getDate() == 19 && now.getDayOfMonth() == 18",
        "now.getDayOfWeek() == 2 && now.getHours() == 7 && now.getMinutes() == 6 && now.getSeconds() == 40",
        "now.getMilliseconds() == 123 && now.getDayOfYear() == 323",
        "now.getHours('Europe/Berlin') == 8 && now.getHours('+02:30') == 9 && now.getMinutes('-00:07') == 59",
        "now - timestamp('2024-11-19T06:06:40.123Z') == duration('1h') && now + duration('1m') > now",
        "duration('1h30m').getMinutes() == 90 && string(duration('1.5s')) == '1.5s' && duration('-1ms') < duration('0')",
        "string(timestamp('2024-01-01T00:00:00+01:00')) == '2024-01-01T00:00:00+01:00' && int(timestamp(7)) == 7",
    ]);
    assert_eq!(
        run("timestamp('9999-12-31T23:59:59Z') + duration('1s')"),
        Err(Fault::Overflow("+"))
    );
    assert_eq!(run("timestamp(claims.sub)"), Err(Fault::InvalidArgument("timestamp")));
}

#[test]
fn addresses_and_networks() {
    all_true(&[
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('2001:db8::/32').containsIP('2001:db8::1') && !cidr('::/0').containsIP('10.0.0.1')",
        "ip('127.0.0.1').isLoopback() && ip('::1').family() == 6 && ip('8.8.8.8').isGlobalUnicast()",
        "!isIP('10.0.0.256') && !isIP('::ffff:10.0.0.1') && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/08')",
        "string(cidr('10.1.2.3/8').masked()) == '10.0.0.0/8' && cidr('10.0.0.0/8').prefixLength() == 8",
        "ip('169.254.1.1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast() && ip('0.0.0.0').isUnspecified()",
    ]);
}

#[test]
fn what_cannot_work_is_refused_at_load_with_its_place() {
    refused(
        "claim.sub",
        "no variable is called `claim`; there are `claims`, `user`, `now` (line 1, column 1 of the expression)",
    );
    refused(
        "true &&\n  user.name == 'x'",
        "`kubernetes.UserInfo` has no field `name`; it has `extra`, `groups`, `uid`, `username` (line 2, column 7 of the expression)",
    );
    refused(
        "claims.sub.format(['x'])",
        "there is no function `format` here (line 1, column 18 of the expression)",
    );
    refused(
        "getenv('HOME')",
        "there is no function `getenv` here (line 1, column 1 of the expression)",
    );
    refused(
        "user.username == 1",
        "`==` has no form for `string`, `int` (line 1, column 15 of the expression)",
    );
    refused(
        "startsWith('a', 'b')",
        "`startsWith` is called as `x.startsWith(…)` (line 1, column 1 of the expression)",
    );
    refused(
        "[1, 'a']",
        "elements of types `int` and `string` in one literal; wrap each in `dyn(…)` (line 1, column 5 of the expression)",
    );
    refused(
        "'a'.matches('(')",
        "not a regular expression in RE2 syntax, or too large (line 1, column 12 of the expression)",
    );
    refused(
        "timestamp('yesterday')",
        "`timestamp` cannot read its argument (line 1, column 1 of the expression)",
    );
    refused(
        "now.getHours('Europe/Atlantis')",
        "there is no time zone `Europe/Atlantis`; write `Europe/Berlin` or `+02:00` (line 1, column 13 of the expression)",
    );
    refused(
        "cidr('10.0.0.0/33')",
        "`cidr` cannot read its argument (line 1, column 1 of the expression)",
    );
    refused(
        "1 == 1u",
        "`==` has no form for `int`, `uint` (line 1, column 3 of the expression)",
    );
    refused(
        "true ? 1 : 'a'",
        "the branches have different types, `int` and `string` (line 1, column 12 of the expression)",
    );
    refused(
        "user.groups.all(g, g)",
        "must be true or false, is `string` (line 1, column 20 of the expression)",
    );
    refused(
        "user.uid.all(g, true)",
        "only lists and maps can be looped over, not `string` (line 1, column 5 of the expression)",
    );
    refused(
        "user.uid.x",
        "a value of type `string` has no fields (`.x`) (line 1, column 9 of the expression)",
    );
    refused(
        "Foo{a: 1}",
        "messages such as `Foo` cannot be built here; use a map (line 1, column 1 of the expression)",
    );
    refused("", "the expression is empty (line 1, column 1 of the expression)");
    for source in [
        "1 +",
        "claims.",
        "'a",
        "a b",
        "f(",
        ")",
        "has(claims)",
        "claims.all(1, true)",
    ] {
        let error = compile(source, &declared()).err();
        assert!(
            error.is_some_and(|error| error.message.starts_with("not a CEL expression: ")),
            "{source}"
        );
    }
}

#[test]
fn limits_of_length_size_depth_and_loops_are_kept_at_load() {
    let long = format!("'{}' == ''", "x".repeat(crate::MAX_EXPRESSION_BYTES));
    let deep = format!("{}1{}", "[".repeat(150), "]".repeat(150));
    let chain = vec!["1"; 300].join("+");
    let many = format!("[{}]", vec!["1"; 2100].join(","));
    let negations = format!("{}true", "!".repeat(4001));
    let ternaries = "true ? true : ".repeat(300) + "true";
    let loops = "[1].all(a, [1].all(b, [1].all(c, [1].all(d, [1].all(e, true)))))";
    for source in [&long, &deep, &chain, &many, &ternaries, loops] {
        assert!(
            compile(source, &declared()).is_err(),
            "{}",
            source.get(..40).unwrap_or(source)
        );
    }
    // Whether the parser folds signs and parentheses or nests them, the stack holds.
    let _ = compile(&negations, &declared());
    let _ = compile(&format!("{}true{}", "(".repeat(4000), ")".repeat(4000)), &declared());
    let _ = compile(&"[".repeat(8000), &declared());
    let _ = compile(&"-".repeat(8000), &declared());
    let _ = compile(&"{1:".repeat(2600), &declared());
    let _ = compile(&"a?".repeat(4000), &declared());
    let members = format!("claims{}", ".a".repeat(2000));
    assert!(compile(&members, &declared()).is_err());
    let indexes = format!("claims{}", "['a']".repeat(1500));
    assert!(compile(&indexes, &declared()).is_err());
}

#[test]
fn a_spent_budget_ends_the_evaluation_and_logic_does_not_swallow_it() {
    let list = Value::list((0..1000).map(Value::Int).collect());
    let declared = Declarations::new().variable("l", Type::list(Type::Int));
    let context = Context::new().with("l", list);
    for (source, fault) in [
        ("l.all(a, l.all(b, a + b >= 0)) || true", Fault::TooManySteps(100_000)),
        ("true || l.all(a, true)", Fault::TooManySteps(0)),
    ] {
        let program = compile(source, &declared).unwrap();
        let budget = if source.starts_with("true") {
            Budget { steps: 0, bytes: 0 }
        } else {
            Budget::default()
        };
        assert_eq!(program.evaluate(&context, budget).unwrap_err().fault, fault);
    }
    let program = compile("l.map(a, l).size() == 0", &declared).unwrap();
    assert!(program.evaluate(&context, Budget::default()).is_ok());
    let program = compile("l.map(a, l.map(b, b)).size() == 0", &declared).unwrap();
    let fault = program
        .evaluate(
            &context,
            Budget {
                steps: 10_000_000,
                bytes: 1 << 20,
            },
        )
        .unwrap_err()
        .fault;
    assert_eq!(fault, Fault::TooManyBytes(1 << 20));
}

#[test]
fn repeated_doubling_is_stopped_by_the_byte_budget() {
    let source = "[claims.sub].map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a)\
                  .map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a)\
                  .map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a).size() == 1";
    assert!(matches!(run(source), Err(Fault::TooManyBytes(_))));
}

#[test]
fn mentions_sees_every_way_to_select_a_field() {
    for source in [
        "claims.email == ''",
        "has(claims.email)",
        "claims.?email.hasValue()",
        "claims['email'] == ''",
        "[1].all(x, claims.email == '')",
    ] {
        let program = compile(source, &declared()).unwrap();
        assert!(
            program.mentions("claims", "email") && !program.mentions("claims", "email_verified"),
            "{source}"
        );
        assert_eq!(program.variables().collect::<Vec<_>>(), ["claims"]);
    }
    assert!(
        !compile("'claims.email' == ''", &declared())
            .unwrap()
            .mentions("claims", "email")
    );
}

#[test]
fn the_beginning_of_all_texts_is_read_off_and_never_guessed() {
    for (source, beginning) in [
        ("'ci:' + claims.sub", "ci:"),
        ("'ci:' + claims.sub + ':' + claims.job", "ci:"),
        ("'ci:' + 'prod:' + claims.sub", "ci:prod:"),
        ("claims.groups.map(g, 'ci:' + g)", "ci:"),
        ("claims.groups.filter(g, g != 'x').map(g, 'ci:' + g)", "ci:"),
        ("['ci:all', 'ci:' + claims.sub]", "ci:"),
        ("['ci:all'] + claims.groups.map(g, 'ci:' + g)", "ci:"),
        ("claims.ok ? 'ci:' + claims.sub : ''", "ci:"),
        ("claims.ok ? ['ci:all'] : []", "ci:all"),
        ("claims.ok ? 'ci:a' : 'cd:b'", "c"),
        ("'ci:' + (claims.ok ? 'prod' : 'preview')", "ci:pr"),
        // Joined behind another, the empty text is a text.
        ("'ci:' + (claims.ok ? 'prod:' : '') + claims.sub", "ci:"),
        ("'ci:' + ''", "ci:"),
        // Whatever could be anything has no beginning.
        ("claims.sub", ""),
        ("claims.sub + ':ci'", ""),
        ("claims.ok ? 'ci:' + claims.sub : claims.email", ""),
        ("['ci:all'] + claims.groups", ""),
        ("claims.groups + ['ci:all']", ""),
        ("claims.groups.filter(g, g.startsWith('ci:'))", ""),
        ("[dyn('ci:all'), dyn(claims.sub)]", ""),
        ("('ci:' + claims.sub).replace('ci:', '')", ""),
    ] {
        assert_eq!(compile(source, &declared()).unwrap().beginning(), beginning, "{source}");
    }
}

#[test]
fn result_types_are_known_where_they_can_be() {
    for (source, expected) in [
        ("claims.sub", "dyn"),
        ("claims.sub == ''", "bool"),
        ("user.groups", "list(string)"),
        ("user.groups.map(g, size(g))", "list(int)"),
        ("claims.?sub", "optional_type(dyn)"),
        ("[]", "list(dyn)"),
        ("[] + [1]", "list(int)"),
        ("user.?uid.orValue('')", "string"),
        ("now - now", "duration"),
        ("{'a': [1]}", "map(string, list(int))"),
        ("true ? 'a' : claims.sub", "dyn"),
    ] {
        assert_eq!(
            compile(source, &declared()).unwrap().result_type().to_string(),
            expected,
            "{source}"
        );
    }
}

#[test]
fn as_kubernetes_reads_escapes_and_defers_what_the_api_server_defers() {
    let claims = Type::map(Type::String, Type::Any);
    let declared = Declarations::new()
        .variable("claims", claims)
        .variable("now", Type::Timestamp)
        .as_kubernetes();
    let outcome = |source: &str| {
        let program = compile(source, &declared).map_err(|error| error.message)?;
        program
            .evaluate(&context(), Budget::default())
            .map_err(|error| error.fault.to_string())
    };
    for source in [
        "claims.kubernetes__dot__io.x__dash__y == 1.0",
        "claims['kubernetes__dot__io']['x-y'] == 1.0",
        "has(claims.kubernetes__dot__io)",
    ] {
        assert_eq!(outcome(source), Ok(Value::Bool(true)), "{source}");
    }
    assert_eq!(
        outcome("cidr('x').prefixLength() == 8"),
        Err("`cidr` cannot read its argument".to_owned())
    );
    assert_eq!(
        outcome("claims.groups.exists(g, g == 'dev')"),
        Err("its type is not known; loop over `dyn(…)` of it".to_owned())
    );
    assert_eq!(
        outcome("dyn(claims.groups).exists(g, g == 'dev')"),
        Ok(Value::Bool(true))
    );
}

#[test]
fn what_means_something_else_to_the_api_server_is_refused_by_a_kind_of_its_own_there_only() {
    let declared = || {
        Declarations::new()
            .variable("claims", Type::map(Type::String, Type::Any))
            .variable("address", Type::Ip)
    };
    for (source, message) in [
        (
            "claims.exists(x, x == 'a')",
            "a variable is read by its members here, `v.name`, `v['name']` or `has(v.name)`",
        ),
        (
            "{1.5: 1} == {}",
            "keys of a map are texts, whole numbers or truth values here, not `double`; write `string(…)`",
        ),
        (
            "[dyn(address)] == [dyn('x')]",
            "an address stands here together with what may be anything; write `string(…)` of it",
        ),
        (
            "optional.of(address).hasValue()",
            "an address is no optional value here; write `string(…)` of it",
        ),
        (
            "type(claims.a) in [int, int]",
            "several types in one literal are not supported here; compare with each by `==`",
        ),
        (
            "timestamp(0).getHours('Local') == 0",
            "`Local` is another zone on each machine; write `Europe/Berlin` or `+02:00`",
        ),
        (
            "claims.?a.optMap(v, v + [1] == v).hasValue()",
            "adding to the variable of `optMap` changes it for its other uses there; add to `v.map(e, e)`, \
             or to `string(v)` if it is a text",
        ),
    ] {
        let error = compile(source, &declared().as_kubernetes()).expect_err(source);
        assert_eq!(
            (error.message.as_str(), error.kind),
            (message, LoadErrorKind::Unsupported),
            "{source}"
        );
    }
    for source in [
        "{1.5: 1} == {}",
        "optional.of(address).hasValue()",
        "optional.of(address).optMap(a, a.isLoopback()).orValue(false)",
        "[dyn(address)] == [dyn('x')]",
        "claims.?a.optMap(v, v + [1] == v).hasValue()",
    ] {
        assert!(compile(source, &declared()).is_ok(), "{source}");
    }
}

#[test]
fn what_an_empty_literal_holds_is_settled_by_its_use() {
    for (source, message) in [
        (
            "[].map(x, x != 'a', x).exists(y, y == 1)",
            "`==` has no form for `string`, `int`",
        ),
        (
            "[[], [1], ['a']] == []",
            "elements of types `list(int)` and `list(string)` in one literal; wrap each in `dyn(…)`",
        ),
        ("[].all(x, x == 'a' && x > 1)", "`>` has no form for `string`, `int`"),
        (
            "optional.none().optMap(v, v + 1).orValue('a')",
            "`orValue` has no form for `optional_type(int)`, `string`",
        ),
    ] {
        let error = compile(source, &declared()).expect_err(source);
        assert_eq!(
            (error.message.as_str(), error.kind),
            (message, LoadErrorKind::Invalid),
            "{source}"
        );
    }
    all_true(&[
        "[].map(x, x != 'a', x) == [] && [[], ['a']].size() == 2 && {} == {1: 'a'} == false",
        "[].map(x, x + 1).map(y, y * 2).size() == 0 && !has({}.a) && [{}, {'a': 1}][1].a == 1",
    ]);
}

#[test]
fn types_that_grow_with_every_step_are_refused_at_load() {
    let maps = format!("[0]{}.size() == 1", ".map(a, {a: a})".repeat(40));
    let names: Vec<String> = (0..30).map(|at| format!("v{at}")).collect();
    let open = names
        .iter()
        .map(|name| format!("optional.none().optMap({name}, "))
        .collect::<String>();
    // The last first, so that each is bound to what has grown already.
    let equal: Vec<String> = names
        .windows(2)
        .rev()
        .map(|pair| format!("{} == {{{1}: {1}}}", pair[0], pair[1]))
        .collect();
    let equal = equal.join(" && ");
    let unified = format!("{open}{equal}{}.hasValue()", ")".repeat(names.len()));
    for source in [&maps, &unified] {
        let error = compile(source, &declared()).expect_err("too large a type");
        assert!(
            error.message.starts_with("its type is too large") || error.message.contains(" has no form for "),
            "{error}"
        );
    }
}

#[test]
fn patterns_mean_what_re2_means_or_are_refused() {
    all_true(&[
        "'a&b'.matches('^[a&&b]+$') && 'a[b'.matches('^[a[b]+$') && 'a]'.matches('^[]a]+$') && '-'.matches('^[a-]$')",
        "!'é'.matches('^\\\\w$') && !'a\\u00a0b'.matches('\\\\s') && 'ab'.matches('^[[:alpha:]]+$')",
        "'a.b'.matches('^\\\\Qa.b\\\\E$') && !'axb'.matches('^\\\\Qa.b\\\\E$') && 'A'.matches('^\\\\101$')",
        "'a{x'.matches('^a{x$') && 'aaa'.matches('^a{3}$') && 'aaa'.matches('^a{2,}?$') && 'X'.matches('(?i)x')",
    ]);
    for pattern in [
        "a++",
        "a**",
        "a{2}{3}",
        "a{1001}",
        "(?x) x",
        "(?=a)",
        "[a--b]",
        "\\\\1",
        "\\\\B",
        "a{1000}{1000}",
        "(",
        &"a".repeat(2000),
    ] {
        assert!(
            compile(&format!("'a'.matches('{pattern}')"), &declared()).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn an_unbound_variable_is_an_error_and_never_a_default() {
    let program = compile("user.username == ''", &declared()).unwrap();
    let error = program.evaluate(&Context::new(), Budget::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "variable `user` was not given (line 1, column 1 of the expression)"
    );
}

#[test]
fn errors_never_show_a_value() {
    let declared = Declarations::new().variable("claims", Type::map(Type::String, Type::Dyn));
    let context = Context::new().with(
        "claims",
        Value::from_json(&json!({"secret": "hunter2", "list": ["hunter2"]})),
    );
    for source in [
        "int(claims.secret)",
        "claims[claims.secret]",
        "claims.secret + 1",
        "claims.list[3]",
        "duration(claims.secret)",
        "''.matches(claims.secret + '(')",
        "claims.secret.all(x, true)",
    ] {
        let error = compile(source, &declared)
            .unwrap()
            .evaluate(&context, Budget::default())
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{source}");
    }
}

#[test]
fn the_function_list_is_the_documented_one() {
    let names = function_names();
    for name in [
        "contains",
        "startsWith",
        "matches",
        "size",
        "sets.contains",
        "optional.of",
        "getHours",
        "cidr",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names.len(), 65);
}

proptest! {
    #[test]
    fn every_double_is_read_back_from_its_text(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        let declared = Declarations::new().variable("x", Type::Double);
        let program = compile("double(string(x)) == x && string(x).size() < 25", &declared).unwrap();
        let context = Context::new().with("x", Value::Double(value));
        prop_assert_eq!(program.evaluate(&context, Budget::default()), Ok(Value::Bool(true)));
    }

    #[test]
    fn hexadecimal_numbers_with_few_digits_are_exact(digits in 0_u32..=0xf_ffff, exponent in -1_000_i32..900) {
        let declared = Declarations::new().variable("t", Type::String).variable("x", Type::Double);
        let program = compile("double(t) == x", &declared).unwrap();
        let text = Value::text(&format!("0x{digits:x}p{exponent}"));
        let half = 2.0_f64.powi(exponent / 2);
        let number = f64::from(digits) * half * 2.0_f64.powi(exponent - exponent / 2);
        let context = Context::new().with("t", text).with("x", Value::Double(number));
        prop_assert_eq!(program.evaluate(&context, Budget::default()), Ok(Value::Bool(true)));
    }

    #[test]
    fn no_text_read_as_number_time_zone_or_name_panics(text in "[-+0-9a-fxXpPeEinN_.:TZ]{0,40}", name in "[_adot]{0,24}") {
        let claims = Type::map(Type::String, Type::Any);
        let declared = Declarations::new().variable("claims", claims).variable("t", Type::String).as_kubernetes();
        let context = context().with("t", Value::text(&text));
        for source in ["double(t) > 0.0", "timestamp(t) > timestamp(0)", "timestamp(0).getHours(t) > 0", "claims[t] == 1"] {
            let program = compile(source, &declared).unwrap();
            let _ = program.evaluate(&context, Budget::default());
        }
        let named = compile(&format!("claims.a{name} == 1"), &declared);
        let _ = named.map(|program| program.evaluate(&context, Budget::default()));
    }

    #[test]
    fn no_text_makes_the_compiler_panic(source in "[ -~\n]{0,120}") {
        let _ = compile(&source, &declared());
    }

    #[test]
    fn no_mix_of_tokens_makes_compiler_or_evaluator_panic(tokens in proptest::collection::vec(proptest::sample::select(vec![
        "claims", ".", "sub", "groups", "[", "]", "(", ")", "'a'", "1", "2.5", "3u", "+", "-", "*", "/", "%", "==", "<", "&&", "||", "!",
        "?", ":", "has(", ".all(x,", ".map(x,", ".size()", ".split(", ",", "in", "{", "}", "x", "user", ".?", "null", "true", "b'x'",
        "duration('1s')", "now", ".getHours()", "int(", "string(", "'\\u00e9'", "optional.of(", ".orValue(",
    ]), 0..24)) {
        if let Ok(program) = compile(&tokens.join(" "), &declared()) {
            let _ = program.evaluate(&context(), Budget::default());
        }
    }
}
