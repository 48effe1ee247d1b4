//! `when:` of a rule: which variables an expression may use, and their values for one call.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use condition::{Budget, Context, Declarations, ObjectType, Program, Type, Value, compile};
use model::time::Timestamp;

use super::call::{Call, Situation, Who};
use super::service::ServiceCall;

/// What an expression may use, for the reference page: name and type. Only what something fills: a rule that asks for more
/// is refused at load, where it would otherwise fail at every call.
pub const DECLARED: [(&str, &str); 7] = [
    (
        "request",
        "of Kubernetes: cluster, verb, group, resource, subresource, namespace, name, path, method, action: string",
    ),
    ("request", "of services: service, namespace, host, path, method: string"),
    ("subject", "username, uid, issuer, email: string; groups: list(string)"),
    (
        "onBehalfOf",
        "in a rule with `onBehalfOf`, where `subject` is the workload: username, uid, issuer, email: string; groups: list(string)",
    ),
    ("source", "ip: net.IP"),
    ("now", "timestamp"),
    ("auth", "age: int (seconds); acr: string"),
];

/// Which calls a condition is asked about: it may name what each of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Kubernetes,
    Services,
    Both,
}

static OF_KUBERNETES: LazyLock<Declared> = LazyLock::new(|| {
    declarations(&[
        "cluster",
        "verb",
        "group",
        "resource",
        "subresource",
        "namespace",
        "name",
        "path",
        "method",
        "action",
    ])
});
static OF_SERVICES: LazyLock<Declared> =
    LazyLock::new(|| declarations(&["service", "namespace", "host", "path", "method"]));
static OF_BOTH: LazyLock<Declared> = LazyLock::new(|| declarations(&["namespace", "path", "method"]));

/// What may be named in a rule, and in one with `onBehalfOf`.
struct Declared {
    in_person: Declarations,
    on_behalf: Declarations,
}

fn declarations(request: &[&'static str]) -> Declared {
    let somebody = || {
        let mut members: Vec<_> = ["username", "uid", "issuer", "email"]
            .map(|name| (name, Type::String))
            .into();
        members.push(("groups", Type::list(Type::String)));
        members
    };
    let whom = Type::object(ObjectType::new("onBehalfOf", somebody()));
    Declared {
        in_person: declared(request, somebody()),
        on_behalf: declared(request, somebody()).variable("onBehalfOf", whom),
    }
}

fn declared(request: &[&'static str], subject: Vec<(&'static str, Type)>) -> Declarations {
    let request: Vec<_> = request.iter().map(|name| (*name, Type::String)).collect();
    let auth = [("age", Type::Int), ("acr", Type::String)];
    Declarations::new()
        .variable("request", Type::object(ObjectType::new("request", request)))
        .variable("subject", Type::object(ObjectType::new("subject", subject)))
        .variable("source", Type::object(ObjectType::new("source", [("ip", Type::Ip)])))
        .variable("now", Type::Timestamp)
        .variable("auth", Type::object(ObjectType::new("auth", auth)))
}

/// The condition of a rule.
#[derive(Clone, Debug, Default)]
pub(super) enum Condition {
    /// None was written.
    #[default]
    Always,
    /// One that was checked at load.
    When(Arc<Program>),
    /// The rule could not be read in full; whoever asks gets an error, so that an allow grants nothing and a forbid
    /// forbids.
    Unreadable(Arc<str>),
}

impl Condition {
    /// `on_behalf`: of a rule about what workloads do for others.
    pub(super) fn parse(text: &str, about: About, on_behalf: bool) -> Result<Self, String> {
        let declared = match about {
            About::Kubernetes => &OF_KUBERNETES,
            About::Services => &OF_SERVICES,
            About::Both => &OF_BOTH,
        };
        let declared = if on_behalf {
            &declared.on_behalf
        } else {
            &declared.in_person
        };
        let program = compile(text, declared)
            .map_err(|error| format!("line {}, column {}: {}", error.line, error.column, error.message))?;
        if !program.result_type().fits(&Type::Bool) {
            return Err(format!(
                "it must say true or false, but gives {}",
                program.result_type()
            ));
        }
        Ok(Self::When(Arc::new(program)))
    }

    /// Whether the answer can change while subject, request and rules stay the same.
    pub(super) const fn depends_on_the_moment(&self) -> bool {
        matches!(self, Self::When(_))
    }

    pub(super) fn holds(&self, values: &Context, budget: &mut Budget) -> Result<bool, Arc<str>> {
        match self {
            Self::Always => Ok(true),
            Self::Unreadable(why) => Err(why.clone()),
            Self::When(program) => match program.evaluate_sharing(values, budget) {
                Ok(Value::Bool(holds)) => Ok(holds),
                Ok(other) => Err(format!("its condition gave {} instead of true or false", other.type_name()).into()),
                Err(error) => Err(format!("its condition failed: {error}").into()),
            },
        }
    }
}

/// The values for one call. What is not known is absent, so that an expression which needs it fails, and fails closed.
pub(super) fn context(who: &Who<'_>, whom: Option<&Who<'_>>, call: &Call<'_>, situation: &Situation<'_>) -> Context {
    of(request(call), who, whom, situation)
}

/// The same for a call of a service.
pub(super) fn of_service(
    who: &Who<'_>,
    whom: Option<&Who<'_>>,
    call: &ServiceCall<'_>,
    situation: &Situation<'_>,
) -> Context {
    let request = [
        ("service", Value::text(call.service.as_str())),
        ("namespace", Value::text(call.namespace)),
        ("host", Value::text(call.host.as_str())),
    ];
    // Of all calls at once neither is known.
    let one = (!call.is_any()).then(|| [("path", Value::text(call.path)), ("method", Value::text(call.method))]);
    let request = Value::record(request.into_iter().chain(one.into_iter().flatten()));
    of(request, who, whom, situation)
}

fn of(request: Value, who: &Who<'_>, whom: Option<&Who<'_>>, situation: &Situation<'_>) -> Context {
    let context = Context::new();
    let context = match whom {
        Some(whom) => context.with("onBehalfOf", subject(whom)),
        None => context,
    };
    context
        .with("request", request)
        .with("subject", subject(who))
        .with("source", source(situation.source))
        .with("now", Value::time(situation.now))
        .with("auth", auth(situation))
}

fn request(call: &Call<'_>) -> Value {
    let asked = &call.asked;
    Value::record([
        ("cluster", Value::text(call.cluster)),
        ("verb", Value::text(asked.verb)),
        ("group", Value::text(asked.group)),
        ("resource", Value::text(asked.resource)),
        ("subresource", Value::text(asked.subresource)),
        ("namespace", Value::text(asked.namespace)),
        ("name", Value::text(asked.name)),
        ("path", Value::text(asked.path)),
        ("method", Value::text(call.method)),
        ("action", Value::text(call.action.as_str())),
    ])
}

fn subject(who: &Who<'_>) -> Value {
    Value::record([
        ("username", Value::text(who.view.username())),
        ("uid", Value::text(who.uid.unwrap_or_default())),
        ("issuer", Value::text(who.issuer)),
        ("email", Value::text(who.email.unwrap_or_default())),
        ("groups", Value::texts(who.view.groups())),
    ])
}

fn source(address: Option<IpAddr>) -> Value {
    Value::record(address.map(|address| ("ip", Value::Ip(address))))
}

fn auth(situation: &Situation<'_>) -> Value {
    let age = |at: Timestamp| i64::try_from(situation.now.since(at).as_secs()).unwrap_or(i64::MAX);
    let age = situation.signed_in.map(|at| ("age", Value::Int(age(at))));
    let acr = situation.acr.map(|acr| ("acr", Value::text(acr)));
    Value::record(age.into_iter().chain(acr))
}
