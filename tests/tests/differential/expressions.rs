//! Random CEL expressions over a token's claims or a user, mostly well-typed, and the inputs they read.
//!
//! Only functions of the closed list are called (what is outside is refused at load, which has a test of its own).
//! Constants are chosen from where verdicts turn: ends of the number types, empty texts, borders of networks and days.

use access::generate::Random;
use serde_json::{Value as Json, json};

/// What an expression is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Length,
    Ip,
    Cidr,
    Texts,
    Ints,
    Optional,
    Dyn,
    Type,
}

const KINDS: [Kind; 15] = [
    Kind::Bool,
    Kind::Int,
    Kind::Uint,
    Kind::Double,
    Kind::Text,
    Kind::Bytes,
    Kind::Time,
    Kind::Length,
    Kind::Ip,
    Kind::Cidr,
    Kind::Texts,
    Kind::Ints,
    Kind::Optional,
    Kind::Dyn,
    Kind::Type,
];

const CLAIMS: [&str; 12] = [
    "sub",
    "hd",
    "email",
    "email_verified",
    "exp",
    "nbf",
    "groups",
    "roles",
    "n",
    "nested",
    "empty",
    "missing",
];
const TEXTS: [&str; 27] = [
    "''",
    "'a'",
    "'dev'",
    "'Ops'",
    "'119abc'",
    "'ann@corp.example'",
    "'corp.example'",
    "'dev,ops'",
    "'a-b-c'",
    "'héllo'",
    "'12'",
    "'-7'",
    "'1.5'",
    "'true'",
    "'10.0.0.7'",
    "'10.0.0.0/8'",
    "'2001:db8::1'",
    "'2026-11-21T09:30:00Z'",
    "'1h30m'",
    "'Europe/Berlin'",
    "'system:masters'",
    "'\\u00e9\\n'",
    "'0x1.8p-2'",
    "'1_0'",
    "'1e400'",
    "'2026-11-21T09:30:00.5+01:00'",
    "'a__dot__b'",
];
const PATTERNS: [&str; 13] = [
    "'^[a-z]+@corp'",
    "'a|b'",
    "'[0-9]+'",
    "'(dev)|(ops)'",
    "'^$'",
    "'.*'",
    "'\\\\d{2}'",
    "'[^a-c]'",
    "'(?i)OPS'",
    "'x{2,3}?'",
    "'\\\\bdev\\\\b'",
    "'(a)(b)?c'",
    "'[+--]|ev'",
];
const INTS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "-7",
    "86400",
    "9223372036854775807",
    "-9223372036854775808",
    "1700000000",
    "9007199254740993",
];
const UINTS: [&str; 7] = [
    "0u",
    "1u",
    "3u",
    "7u",
    "9223372036854775808u",
    "18446744073709551615u",
    "9007199254740993u",
];
const DOUBLES: [&str; 12] = [
    "0.0",
    "1.0",
    "-1.5",
    "3.0",
    "0.1",
    "1e300",
    "-1e-7",
    "9007199254740993.0",
    "9223372036854775808.0",
    "18446744073709551616.0",
    "5.6843418860808015e-14",
    "1700000000.0",
];
const BYTES: [&str; 5] = ["b''", "b'abc'", "b'\\xff'", "b'h\\xc3\\xa9'", "b'a\\x00'"];
const TIMES: [&str; 9] = [
    "timestamp('2026-11-21T09:30:00Z')",
    "timestamp('1970-01-01T00:00:00Z')",
    "timestamp('2024-02-29T23:59:59.999Z')",
    "timestamp('0001-01-01T00:00:00Z')",
    "timestamp('2026-03-29T00:30:00Z')",
    "timestamp(1700000000)",
    "timestamp('9999-12-31T23:59:59Z')",
    "timestamp('2026-11-21T09:30:00+01:00')",
    "timestamp('2026-11-21T09:30:00.25-08:30')",
];
const LENGTHS: [&str; 6] = [
    "duration('1h')",
    "duration('0s')",
    "duration('-90m')",
    "duration('1.5s')",
    "duration('2562047h')",
    "duration('3ns')",
];
const IPS: [&str; 6] = [
    "ip('10.0.0.7')",
    "ip('127.0.0.1')",
    "ip('0.0.0.0')",
    "ip('2001:db8::1')",
    "ip('fe80::1')",
    "ip('224.0.0.1')",
];
const CIDRS: [&str; 5] = [
    "cidr('10.0.0.0/8')",
    "cidr('10.1.2.3/8')",
    "cidr('0.0.0.0/0')",
    "cidr('2001:db8::/32')",
    "cidr('::1/128')",
];
const ZONES: [&str; 5] = ["'UTC'", "'Europe/Berlin'", "'America/New_York'", "'+05:30'", "'-08:00'"];
const TYPES: [&str; 9] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
];

/// One question to both sides.
#[derive(Clone, Debug)]
pub struct Asked {
    pub expression: String,
    pub input: Input,
}

/// What the expression reads.
#[derive(Clone, Debug)]
pub enum Input {
    Claims(Json),
    User(Json),
}

impl Asked {
    /// As the oracle reads it.
    pub fn line(&self) -> String {
        match &self.input {
            Input::Claims(claims) => json!({"expression": self.expression, "claims": claims}),
            Input::User(user) => json!({"expression": self.expression, "user": user}),
        }
        .to_string()
    }
}

/// A random expression with a random input.
pub fn asked(random: &mut Random) -> Asked {
    let user = random.percent(20);
    let mut writer = Writer {
        random,
        locals: Vec::new(),
        user,
        next_local: 0,
    };
    let kind = writer.any_kind();
    let depth = 1 + writer.random.below(4);
    let expression = writer.expression(kind, depth);
    let input = if user {
        Input::User(a_user(writer.random))
    } else {
        Input::Claims(claims(writer.random))
    };
    Asked { expression, input }
}

fn a_user(random: &mut Random) -> Json {
    json!({
        "username": random.pick(&["ann", "system:admin", "", "ann@corp.example"]),
        "uid": random.pick(&["", "119abc"]),
        "groups": (0..random.below(3)).map(|_| random.pick(&["dev", "Ops", "system:masters"])).collect::<Vec<_>>(),
        "extra": if random.percent(50) { json!({"corp.example/team": ["a", "dev"]}) } else { json!({}) },
    })
}

fn claims(random: &mut Random) -> Json {
    let mut all = serde_json::Map::new();
    for name in CLAIMS {
        if name != "missing" && random.percent(85) {
            all.insert(name.to_owned(), claim(random, name));
        }
    }
    all.insert("kubernetes.io".to_owned(), json!({"x-y": 1, "a/b": ["dev"]}));
    Json::Object(all)
}

fn claim(random: &mut Random, name: &str) -> Json {
    if random.percent(10) {
        // Not what anybody expects under that name.
        return [
            json!(null),
            json!(7),
            json!("dev"),
            json!([]),
            json!({"a": {"b": 1}}),
            json!(true),
            json!([1, "a"]),
        ][random.below(7)]
        .clone();
    }
    match name {
        "email_verified" => json!(random.percent(50)),
        "exp" => json!(1_700_001_000 + random.below(3)),
        "nbf" => json!(1_700_000_000),
        "groups" => json!(
            (0..random.below(4))
                .map(|_| random.pick(&["dev", "Ops", "a"]))
                .collect::<Vec<_>>()
        ),
        "n" => [
            json!(0),
            json!(3),
            json!(-1.5),
            json!(1e300),
            json!(9_007_199_254_740_993_i64),
        ][random.below(5)]
        .clone(),
        "nested" => json!({"a": {"b": random.pick(&["dev", "deep"])}, "l": [{"a": 1}, {"a": "x"}]}),
        "empty" => [json!(null), json!(""), json!([]), json!({})][random.below(4)].clone(),
        "roles" => json!(random.pick(&["dev,ops", "", "a"])),
        "hd" => json!("corp.example"),
        "email" => json!(random.pick(&["ann@corp.example", "Ann@Corp.Example", "x"])),
        _ => json!(random.pick(&["119abc", "10.0.0.7", "12", "true"])),
    }
}

struct Writer<'a> {
    random: &'a mut Random,
    locals: Vec<(String, Kind)>,
    user: bool,
    next_local: usize,
}

impl Writer<'_> {
    fn any_kind(&mut self) -> Kind {
        KINDS[self.random.below(KINDS.len())]
    }

    fn expression(&mut self, kind: Kind, depth: usize) -> String {
        // A few do not fit: both sides have to say so at the same moment.
        let kind = if self.random.percent(2) { self.any_kind() } else { kind };
        if let Some(local) = self.local(kind) {
            return local;
        }
        if depth == 0 || self.random.percent(8) {
            return self.leaf(kind);
        }
        if self.random.percent(6) {
            let (when, yes, no) = (
                self.expression(Kind::Bool, depth - 1),
                self.expression(kind, depth - 1),
                self.expression(kind, depth - 1),
            );
            return format!("({when} ? {yes} : {no})");
        }
        let template = self.template(kind);
        self.filled(template, depth - 1)
    }

    fn local(&mut self, kind: Kind) -> Option<String> {
        if !self.random.percent(40) {
            return None;
        }
        let fitting: Vec<_> = self.locals.iter().filter(|(_, known)| *known == kind).collect();
        self.random.choose(&fitting).map(|(name, _)| name.clone())
    }

    /// `B` and the other letters in braces stand for an expression of that kind; `*` for a looped one with its own local.
    fn filled(&mut self, template: &str, depth: usize) -> String {
        let mut written = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            written.push_str(before);
            let (hole, after) = after.split_once('}').expect("a template closes its braces");
            match hole {
                "" => written.push_str("{}"),
                hole => written.push_str(&self.hole(hole, depth)),
            }
            rest = after;
        }
        written.push_str(rest);
        written
    }

    fn hole(&mut self, hole: &str, depth: usize) -> String {
        match hole {
            "pattern" => self.random.pick(&PATTERNS).to_owned(),
            "zone" => self.random.pick(&ZONES).to_owned(),
            "field" => self.random.pick(&CLAIMS).to_owned(),
            "map" => self.map(depth),
            "intmap" => self.map_of_numbers(depth),
            "any" => {
                let kind = self.any_kind();
                self.expression(kind, depth)
            }
            "odd" => self.odd(depth),
            "loop optional any" => {
                let kind = self.any_kind();
                self.looped("O", Kind::Text, kind, depth)
            }
            "loop optional optional" => self.looped("O", Kind::Text, Kind::Optional, depth),
            "loop texts bool" => self.looped("L", Kind::Text, Kind::Bool, depth),
            "loop ints bool" => self.looped("I", Kind::Int, Kind::Bool, depth),
            "loop texts text" => self.looped("L", Kind::Text, Kind::Text, depth),
            "loop texts int" => self.looped("L", Kind::Text, Kind::Int, depth),
            "loop ints int" => self.looped("I", Kind::Int, Kind::Int, depth),
            "loop optional text" => self.looped("O", Kind::Text, Kind::Text, depth),
            letter => {
                let kind = kind_of(letter);
                self.expression(kind, depth)
            }
        }
    }

    /// `local, body`: what stands in the parentheses of a macro.
    fn looped(&mut self, _: &str, element: Kind, body: Kind, depth: usize) -> String {
        let name = format!("x{}", self.next_local);
        self.next_local += 1;
        self.locals.push((name.clone(), element));
        let body = self.expression(body, depth);
        self.locals.pop();
        format!("{name}, {body}")
    }

    fn map(&mut self, depth: usize) -> String {
        let mut entries = Vec::new();
        let keys = ["'a'", "'dev'", "'x'", "'a'", "'a__dot__b'"];
        for _ in 0..self.random.below(4) {
            let key = self.random.pick(&keys);
            let value = self.expression(Kind::Text, depth.saturating_sub(1));
            entries.push(format!("{key}: {value}"));
        }
        format!("{{{}}}", entries.join(", "))
    }

    fn map_of_numbers(&mut self, depth: usize) -> String {
        let mut entries = Vec::new();
        for _ in 0..self.random.below(3) {
            let key = self.random.pick(&["1", "3", "7", "9007199254740993"]);
            let value = self.expression(Kind::Int, depth.saturating_sub(1));
            entries.push(format!("{key}: {value}"));
        }
        format!("{{{}}}", entries.join(", "))
    }

    /// What a loop or an optional value seldom holds.
    fn odd(&mut self, depth: usize) -> String {
        let kind = [Kind::Type, Kind::Optional, Kind::Time, Kind::Length, Kind::Ints][self.random.below(5)];
        self.expression(kind, depth)
    }

    fn leaf(&mut self, kind: Kind) -> String {
        let from: &[&str] = match kind {
            Kind::Bool => &["true", "false"],
            Kind::Int => &INTS,
            Kind::Uint => &UINTS,
            Kind::Double => &DOUBLES,
            Kind::Text => &TEXTS,
            Kind::Bytes => &BYTES,
            Kind::Time => &TIMES,
            Kind::Length => &LENGTHS,
            Kind::Ip => &IPS,
            Kind::Cidr => &CIDRS,
            Kind::Texts => &["['dev', 'Ops']", "['a']", "['b', 'a', 'b']", "[]"],
            Kind::Ints => &["[1, 2, 3]", "[0]", "[3, -1, 3]", "[]"],
            Kind::Optional => &["optional.of('dev')", "optional.of('a')", "optional.none()"],
            Kind::Type => &TYPES,
            Kind::Dyn => return self.read(),
        };
        if kind == Kind::Double && self.random.percent(20) {
            return self.double();
        }
        self.random.pick(from).to_owned()
    }

    /// Any double, often one with few bits: those lie between two decimals most often.
    fn double(&mut self) -> String {
        let bits = u64::try_from(self.random.below(1 << 20)).unwrap_or(1) * 2 + 1;
        let exponent = i32::try_from(self.random.below(120)).unwrap_or(0) - 80;
        let few = f64::from(u32::try_from(bits).unwrap_or(1)) * 2.0_f64.powi(exponent);
        let value = if self.random.percent(50) {
            few
        } else {
            few * std::f64::consts::PI
        };
        format!("{value:?}")
    }

    /// Something from the input.
    fn read(&mut self) -> String {
        if self.user {
            return self
                .random
                .pick(&[
                    "user.username",
                    "user.uid",
                    "user.groups",
                    "user.extra",
                    "user.extra.corp__dot__example__slash__team",
                    "user.extra['corp.example/team']",
                    "user.groups[0]",
                ])
                .to_owned();
        }
        if self.random.percent(20) {
            return self
                .random
                .pick(&[
                    "claims.nested.a.b",
                    "claims.nested.l",
                    "claims.nested.l[1].a",
                    "claims.?nested.?a.?b",
                    "claims.groups[0]",
                    "claims.kubernetes__dot__io.x__dash__y",
                    "claims['kubernetes.io']['x-y']",
                    "claims.kubernetes__dot__io.a__slash__b",
                    "claims.?kubernetes__dot__io.x__dash__y",
                    "claims.kubernetes__dot__io[?'x__dash__y']",
                    "claims",
                ])
                .to_owned();
        }
        let name = self.random.pick(&CLAIMS);
        match self.random.below(4) {
            0 => format!("claims['{name}']"),
            1 => format!("claims.?{name}"),
            _ => format!("claims.{name}"),
        }
    }

    fn template(&mut self, kind: Kind) -> &'static str {
        let from: &[&'static str] = match kind {
            Kind::Bool => &BOOLS,
            Kind::Int => &INT_TEMPLATES,
            Kind::Uint => &[
                "({U} + {U})",
                "({U} - {U})",
                "({U} * {U})",
                "({U} / {U})",
                "({U} % {U})",
                "uint({N})",
                "uint({F})",
                "uint({S})",
                "[{U}, {U}].max()",
                "[{U}].sum()",
            ],
            Kind::Double => &[
                "({F} + {F})",
                "({F} - {F})",
                "({F} * {F})",
                "({F} / {F})",
                "-({F})",
                "double({N})",
                "double({U})",
                "double({S})",
                "[{F}, {F}].min()",
                "[{F}, {F}].sum()",
            ],
            Kind::Text => &TEXT_TEMPLATES,
            Kind::Bytes => &["({Y} + {Y})", "bytes({S})", "[{Y}, {Y}].max()"],
            Kind::Time => &["({T} + {D})", "({T} - {D})", "timestamp({N})", "[{T}, {T}].max()"],
            Kind::Length => &[
                "({T} - {T})",
                "({D} + {D})",
                "({D} - {D})",
                "[{D}, {D}].sum()",
                "[{D}, {D}].min()",
            ],
            Kind::Ip => &["{C}.ip()", "ip({S})"],
            Kind::Cidr => &["{C}.masked()", "cidr({S})"],
            Kind::Texts => &[
                "{S}.split({S})",
                "{S}.split(',', {N})",
                "[{S}, {S}]",
                "({L} + {L})",
                "{L}.map({loop texts text})",
                "{L}.filter({loop texts bool})",
                "{S}.findAll({pattern})",
                "{S}.findAll({pattern}, {N})",
                "[?{O}, {S}]",
                "[].map({loop texts text})",
                "{L}.map({loop texts bool}, 'a')",
                "({X} + {L})",
                "{map}.map(k, k).filter(x, false)",
            ],
            Kind::Ints => &[
                "[{N}, {N}]",
                "({I} + {I})",
                "{I}.map({loop ints int})",
                "{I}.filter({loop ints bool})",
                "{L}.map({loop texts int})",
            ],
            Kind::Optional => &[
                "optional.of({S})",
                "optional.none().or({O})",
                "{O}.or({O})",
                "{L}[?{N}]",
                "{map}[?{S}]",
                "{O}.optMap({loop optional text})",
                "optional.ofNonZeroValue({S})",
                "optional.ofNonZeroValue({X})",
                "optional.ofNonZeroValue({any})",
                "{O}.optFlatMap({loop optional optional})",
                "{O}.optMap({loop optional any})",
                "optional.of({any})",
                "optional.of({odd})",
                "{X}",
            ],
            Kind::Type => &["type({B})", "type({N})", "type({X})", "type({S})", "type({L})"],
            Kind::Dyn => &[
                "dyn({N})",
                "dyn({S})",
                "dyn({L})",
                "{X}",
                "{X}",
                "dyn({F})",
                "dyn({any})",
                "{}.a",
                "{}[{S}]",
                "[][{N}]",
                "{intmap}[{X}]",
                "{O}.value()",
                "({B} ? optional.of({odd}) : optional.none()).value()",
                "[optional.of({odd})].map(o, o)[0].value()",
                "{odd}",
            ],
        };
        self.random.choose(from).copied().unwrap_or("true")
    }
}

const BOOLS: [&str; 78] = [
    "({B} && {B})",
    "({B} || {B})",
    "!({B})",
    "({N} < {N})",
    "({N} <= {F})",
    "({U} > {N})",
    "({F} >= {U})",
    "({S} < {S})",
    "({S} == {S})",
    "({N} != {N})",
    "({X} == {X})",
    "({X} != {S})",
    "({X} == {N})",
    "({L} == {L})",
    "({map} == {map})",
    "({S} in {L})",
    "({X} in {L})",
    "({N} in {I})",
    "({S} in {map})",
    "{S}.contains({S})",
    "{S}.startsWith({S})",
    "{S}.endsWith({S})",
    "{S}.matches({pattern})",
    "matches({S}, {pattern})",
    "has(claims.{field})",
    "has(claims.{field})",
    "{L}.all({loop texts bool})",
    "{L}.exists({loop texts bool})",
    "{L}.exists_one({loop texts bool})",
    "{I}.all({loop ints bool})",
    "{I}.exists({loop ints bool})",
    "{L}.isSorted()",
    "{I}.isSorted()",
    "sets.contains({L}, {L})",
    "sets.equivalent({L}, {L})",
    "sets.intersects({L}, {L})",
    "sets.contains({I}, {I})",
    "bool({S})",
    "({T} < {T})",
    "({D} <= {D})",
    "({T} == {T})",
    "({Y} == {Y})",
    "({Y} < {Y})",
    "{O}.hasValue()",
    "isIP({S})",
    "isCIDR({S})",
    "{C}.containsIP({P})",
    "{C}.containsIP({S})",
    "{C}.containsCIDR({C})",
    "{P}.isLoopback()",
    "{P}.isGlobalUnicast()",
    "{P}.isUnspecified()",
    "{P}.isLinkLocalUnicast()",
    "{P}.isLinkLocalMulticast()",
    "({P} == {P})",
    "({Q} == {Q})",
    "({X} == null)",
    "({O} == {O})",
    "({X} == {F})",
    "({X} < {N})",
    "({F} == {X})",
    "({X} in [{F}, {F}])",
    "({X} in [{N}, {N}])",
    "({X} in [{U}])",
    "({X} in [{S}, {S}])",
    "({N} in {intmap})",
    "({intmap} == {intmap})",
    "({P} in [{P}, {P}])",
    "([{P}] == [{P}])",
    "[{P}, {P}].exists(p, p == {P})",
    "[{C}, {C}].exists(c, c.containsIP({P}))",
    "({P} == {X})",
    "({P} != {X})",
    "({X} != {C})",
    "{X}.matches({pattern})",
    "{map}.exists({loop texts bool})",
    "{map}.all({loop texts bool})",
    "{map}.exists_one({loop texts bool})",
];

const INT_TEMPLATES: [&str; 37] = [
    "({N} + {N})",
    "({N} - {N})",
    "({N} * {N})",
    "({N} / {N})",
    "({N} % {N})",
    "-({N})",
    "int({U})",
    "int({F})",
    "int({S})",
    "int({T})",
    "size({S})",
    "{S}.size()",
    "size({L})",
    "size({map})",
    "size({Y})",
    "{S}.indexOf({S})",
    "{S}.indexOf({S}, {N})",
    "{S}.lastIndexOf({S})",
    "{S}.lastIndexOf({S}, {N})",
    "{L}.indexOf({S})",
    "{I}.lastIndexOf({N})",
    "{I}.sum()",
    "{I}.min()",
    "{I}.max()",
    "{I}[{N}]",
    "{T}.getFullYear()",
    "{T}.getMonth({zone})",
    "{T}.getDate({zone})",
    "{T}.getDayOfMonth()",
    "{T}.getDayOfWeek({zone})",
    "{T}.getDayOfYear()",
    "{T}.getHours({zone})",
    "{D}.getMinutes()",
    "{D}.getHours()",
    "{T}.getMilliseconds()",
    "{P}.family()",
    "{C}.prefixLength()",
];

const TEXT_TEMPLATES: [&str; 37] = [
    "({S} + {S})",
    "{S}.lowerAscii()",
    "{S}.upperAscii()",
    "{S}.trim()",
    "{S}.replace({S}, {S})",
    "{S}.replace({S}, {S}, {N})",
    "{S}.substring({N})",
    "{S}.substring({N}, {N})",
    "{S}.charAt({N})",
    "{L}.join({S})",
    "{L}.join()",
    "{L}[{N}]",
    "{map}[{S}]",
    "{map}.a",
    "{S}.find({pattern})",
    "string({N})",
    "string({U})",
    "string({F})",
    "string({B})",
    "string({Y})",
    "string({T})",
    "string({D})",
    "string({P})",
    "string({C})",
    "{L}.min()",
    "{L}.max()",
    "{O}.orValue({S})",
    "{O}.value()",
    "{X}",
    "{X}",
    "string({X})",
    "{X}.find({pattern})",
    "string(double({S}))",
    "{X}.lowerAscii()",
    "({X} + {S})",
    "{}[{S}]",
    "{map}.a__dot__b",
];

fn kind_of(letter: &str) -> Kind {
    match letter {
        "B" => Kind::Bool,
        "N" => Kind::Int,
        "U" => Kind::Uint,
        "F" => Kind::Double,
        "S" => Kind::Text,
        "Y" => Kind::Bytes,
        "T" => Kind::Time,
        "D" => Kind::Length,
        "P" => Kind::Ip,
        "C" => Kind::Cidr,
        "L" => Kind::Texts,
        "I" => Kind::Ints,
        "O" => Kind::Optional,
        "Q" => Kind::Type,
        "X" => Kind::Dyn,
        other => panic!("no kind {other}"),
    }
}
