//! Every refusal, and the one table from it to an HTTP status and a Kubernetes `Status` that plain kubectl prints well.
//!
//! Strangers learn how to sign in and nothing else; a signed-in person learns the rule, the nearest role and the next
//! command; the operator finds the rest in the record under the decision id. `Retry-After` is never sent: client-go
//! would repeat the call ten times before it prints a word (K-04).

mod again;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use model::decision::{Denial, Denied, Unmet};
use model::request::{RequestFacts, TargetError};
use serde::Serialize;

use crate::headers::RECORD;
use crate::listener::Violation;
use crate::observe::Reason;
use crate::page_origin::ForeignPage;
use crate::whom::Whom;

/// Why a request is not served, as a closed list.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The message breaks HTTP, or could be read in two ways.
    Malformed(Violation),
    /// The request target breaks our rules or could be read in two ways.
    Target(TargetError),
    /// Header lines that could be read in two ways.
    Headers(String),
    /// No site answers to this host name.
    UnknownHost,
    /// No service is published at this path of the host.
    NotPublished,
    /// A page of another origin asks with the cookie of whoever looks at it.
    ForeignPage(ForeignPage),
    /// The body is larger than the service's document lets pass, in bytes.
    TooLarge(u64),
    /// A workload may not act by the assertion that it shows.
    NotOnBehalf(String),
    /// The service cannot be told who calls.
    NotAsserted(String),
    /// Nothing was presented.
    NoCredential,
    /// What was presented does not prove anybody; the words never contain it.
    BadCredential(String),
    /// It may prove somebody, but that cannot be found out now.
    CannotVerify(String),
    /// The sign-in behind the credential has ended.
    SignInEnded(String),
    /// The caller is proved, and locked out by an administrator.
    Locked(String),
    /// Policy says no.
    Denied(Box<Denied>),
    /// It was allowed, and before it was sent the rules said no, or somebody ended it.
    Ended(String),
    /// It was sent, and had to end before its answer came.
    EndedWithin(String),
    /// A limit of this subject, or the shared one of strangers, is reached.
    Limit(Limit),
    /// The ledger cannot take the record: nothing is served that cannot be written down (promise 4).
    LedgerRefuses(String),
    /// No connection to the cluster; nothing was sent.
    UpstreamUnreachable(String),
    /// It was sent and the cluster did not answer.
    UpstreamLost(String),
    /// The cluster took too long.
    UpstreamSilent,
    /// The gateway's own credential was not accepted; never shown as the caller's fault.
    GatewayCredential,
    /// The process is about to stop.
    Draining,
    /// Our own fault.
    Internal,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests in flight of one subject.
    InFlight(u32),
    /// Records per second of one subject.
    RecordsPerSecond(u32),
    /// Ledger bytes per day of one subject.
    BytesPerDay(u64),
    /// Refusals of strangers, all together.
    Strangers,
    /// Long-running calls of one subject.
    Streams(u32),
    /// Long-running calls of all together.
    LongCalls(usize),
    /// Questions per second that only the cluster can answer, of one subject.
    Questions(u32),
    /// Logs that one subject reads at the same time.
    Logs(u32),
    /// Plain requests through `proxy` subresources that one subject has under way at the same time.
    Proxied(u32),
    /// Recordings that one subject has had made ready and that no session began with.
    Unbegun(u32),
    /// Subjects that are told apart at the same time.
    Subjects,
    /// What all who have not signed in have together.
    Public,
}

impl Refusal {
    /// Its kind, for records, metrics and searches.
    #[must_use]
    pub fn kind(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::Malformed,
            Self::Target(_) => Reason::Target,
            Self::Headers(_) => Reason::Headers,
            Self::UnknownHost => Reason::UnknownHost,
            Self::NotPublished => Reason::NotPublished,
            Self::ForeignPage(_) => Reason::ForeignPage,
            Self::NotAsserted(_) => Reason::NotAsserted,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::NotOnBehalf(_) => Reason::BrokenChain,
            Self::NoCredential => Reason::NoCredential,
            Self::BadCredential(_) => Reason::BadCredential,
            Self::CannotVerify(_) => Reason::CannotVerify,
            Self::SignInEnded(_) => Reason::SignInEnded,
            Self::Locked(_) => Reason::Locked,
            Self::Denied(denied) => denial_kind(&denied.denial),
            Self::Ended(_) | Self::EndedWithin(_) => Reason::Ended,
            Self::Limit(_) => Reason::Limit,
            Self::LedgerRefuses(_) => Reason::Ledger,
            Self::UpstreamUnreachable(_) => Reason::UpstreamUnreachable,
            Self::UpstreamLost(_) => Reason::UpstreamLost,
            Self::UpstreamSilent => Reason::UpstreamSilent,
            Self::GatewayCredential => Reason::GatewayCredential,
            Self::Draining => Reason::Draining,
            Self::Internal => Reason::Internal,
        }
    }

    /// The name of its kind; stable.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The limit that was met.
    #[must_use]
    pub const fn limit(&self) -> Option<Limit> {
        match self {
            Self::Limit(limit) => Some(*limit),
            _ => None,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(violation) => violation.status(),
            Self::Target(_) | Self::Headers(_) => StatusCode::BAD_REQUEST,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NotPublished => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoCredential | Self::BadCredential(_) | Self::CannotVerify(_) | Self::SignInEnded(_) => {
                StatusCode::UNAUTHORIZED
            }
            Self::Denied(_)
            | Self::Ended(_)
            | Self::EndedWithin(_)
            | Self::Locked(_)
            | Self::ForeignPage(_)
            | Self::NotOnBehalf(_) => StatusCode::FORBIDDEN,
            Self::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::LedgerRefuses(_) | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable(_) | Self::UpstreamLost(_) | Self::GatewayCredential => StatusCode::BAD_GATEWAY,
            Self::UpstreamSilent => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal | Self::NotAsserted(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `reason` of the Kubernetes `Status` (API reference, `meta/v1` StatusReason).
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "Unauthorized",
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => "ServiceUnavailable",
            StatusCode::GATEWAY_TIMEOUT => "Timeout",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
            StatusCode::INTERNAL_SERVER_ERROR => "InternalError",
            _ => "BadRequest",
        }
    }

    /// One sentence for the record of a call to this upstream; no credential is ever part of it.
    #[must_use]
    pub fn in_words_of(&self, whom: Whom) -> String {
        match self {
            Self::UpstreamUnreachable(why) => format!("{whom} cannot be reached: {why}"),
            Self::UpstreamLost(why) => format!("{whom}'s answer was lost: {why}"),
            Self::UpstreamSilent => format!("{whom} did not answer in time"),
            // Roles say nothing of services.
            Self::Denied(denied) if whom == Whom::Service && denied.denial == Denial::NoRule => {
                "no rule allows it".to_owned()
            }
            other => other.in_words(),
        }
    }

    /// The same of a call to a cluster.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Malformed(violation) => violation.to_string(),
            Self::Target(error) => error.to_string(),
            Self::Headers(why)
            | Self::BadCredential(why)
            | Self::CannotVerify(why)
            | Self::SignInEnded(why)
            | Self::Ended(why)
            | Self::EndedWithin(why)
            | Self::NotOnBehalf(why)
            | Self::Locked(why) => why.clone(),
            Self::UnknownHost => "no site answers to this host name".to_owned(),
            Self::NotPublished => "no service is published at this path".to_owned(),
            Self::ForeignPage(page) => page.to_string(),
            Self::TooLarge(most) => {
                format!("the request's body is larger than the {most} bytes that the service takes")
            }
            Self::NotAsserted(why) => format!("the service cannot be told who calls: {why}"),
            Self::NoCredential => "no credential was presented".to_owned(),
            Self::Denied(denied) => denial_in_words(&denied.denial),
            Self::Limit(limit) => limit.to_string(),
            Self::LedgerRefuses(why) => format!("the ledger cannot take the record: {why}"),
            Self::UpstreamUnreachable(_) | Self::UpstreamLost(_) | Self::UpstreamSilent => {
                self.in_words_of(Whom::Cluster)
            }
            Self::GatewayCredential => "the cluster did not accept the gateway's own credential".to_owned(),
            Self::Draining => "the gateway is about to stop".to_owned(),
            Self::Internal => "a fault of the gateway".to_owned(),
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InFlight(limit) => write!(
                f,
                "you have {limit} requests in flight, which is the limit of one person"
            ),
            Self::RecordsPerSecond(limit) => write!(
                f,
                "you cause more than {limit} records a second, which is the limit of one person"
            ),
            Self::BytesPerDay(limit) => write!(
                f,
                "your calls have filled {limit} bytes of the ledger today, which is the limit of one person"
            ),
            Self::Strangers => {
                f.write_str("too many requests without a valid sign-in reach this gateway at the moment")
            }
            Self::Streams(limit) => write!(
                f,
                "you hold {limit} watches and other long calls, which is the limit of one person"
            ),
            Self::Public => f.write_str(
                "more is asked of this gateway by those who have not signed in than all of them together have",
            ),
            Self::Subjects => f.write_str("more people use this gateway at the moment than it can tell apart"),
            Self::LongCalls(limit) => write!(
                f,
                "{limit} watches and other long calls go through this gateway, which is its limit"
            ),
            Self::Questions(limit) => write!(
                f,
                "the cluster had to be asked whether you may do this, and you have used up the {limit} such questions a second of one person"
            ),
            Self::Logs(limit) => write!(
                f,
                "you read {limit} logs at the same time, which is the limit of one person"
            ),
            Self::Proxied(limit) => write!(
                f,
                "you have {limit} requests through `proxy` subresources under way, which is the limit of one person"
            ),
            Self::Unbegun(limit) => write!(
                f,
                "{limit} recordings were made ready for you of late, and no session has begun, which is the limit of one person"
            ),
        }
    }
}

const fn denial_kind(denial: &Denial) -> Reason {
    match denial {
        Denial::Forbidden => Reason::Forbidden,
        Denial::NoRule => Reason::NoRule,
        Denial::NoGroups => Reason::NoGroups,
        Denial::UnknownVerb => Reason::UnknownVerb,
        Denial::MayNotImpersonate { .. } => Reason::MayNotImpersonate,
        Denial::NoOnBehalfOf { .. } => Reason::NoOnBehalfOf,
        Denial::ReservedName { .. } => Reason::ReservedName,
        Denial::TooManyGroups { .. } => Reason::TooManyGroups,
        Denial::Obligation(_) => Reason::Obligation,
        Denial::StaleSnapshot { .. } => Reason::StaleSnapshot,
        Denial::ClusterSaysNo { .. } => Reason::ClusterSaysNo,
        Denial::ClusterSilent => Reason::ClusterSilent,
    }
}

fn denial_in_words(denial: &Denial) -> String {
    match denial {
        Denial::Forbidden => "a rule forbids it".to_owned(),
        Denial::NoRule => "no role and no rule allows it".to_owned(),
        Denial::NoGroups => "your sign-in gives you no group, and no role names you in person".to_owned(),
        Denial::UnknownVerb => "this method means nothing for a Kubernetes resource, so nobody can allow it".to_owned(),
        Denial::MayNotImpersonate { what } => format!("you may not act as {what}"),
        Denial::NoOnBehalfOf { workload } => {
            format!("no rule with `onBehalfOf` lets {workload} do this on your behalf")
        }
        Denial::ReservedName { name } => {
            format!("`{name}` belongs to the cluster itself and is never accepted from outside")
        }
        Denial::TooManyGroups { have, limit } => {
            format!(
                "you are in {have} groups that matter here, more than the {limit} that are sent to a cluster; they are never cut"
            )
        }
        Denial::Obligation(Unmet::Reason) => "this needs a stated reason".to_owned(),
        Denial::Obligation(Unmet::Recording) => {
            "this session has to be recorded, and it cannot be recorded now".to_owned()
        }
        Denial::Obligation(Unmet::NoSession) => {
            "what enters here has to be recorded, and a plain request passes in no session that could be".to_owned()
        }
        Denial::Obligation(Unmet::StepUp { acr }) if acr.is_empty() => "this needs a fresh sign-in".to_owned(),
        Denial::Obligation(Unmet::StepUp { acr }) => {
            format!("this needs a fresh sign-in of the kind {}", acr.join(" and "))
        }
        Denial::Obligation(Unmet::Approval { from }) => format!(
            "this needs approval from {}, and this release has no way to ask for it",
            from.join(" or ")
        ),
        Denial::StaleSnapshot { age_seconds: None } => {
            "the gateway has not learnt all rules of the cluster yet and decides nothing without them".to_owned()
        }
        Denial::StaleSnapshot {
            age_seconds: Some(seconds),
        } => {
            format!("the gateway has not heard from the cluster for {seconds} s and does not decide on old rules")
        }
        Denial::ClusterSaysNo { reason: Some(reason) } => {
            format!("no role allows it, and the cluster agrees: {reason}")
        }
        Denial::ClusterSaysNo { reason: None } => "no role allows it, and the cluster agrees".to_owned(),
        Denial::ClusterSilent => {
            "no role that the gateway knows allows it, and the cluster did not answer when asked".to_owned()
        }
    }
}

/// What a refusal may say about the request: only what the caller knows already.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The decision id, which is the request's `Audit-ID`.
    pub id: &'a str,
    /// The user name, once known.
    pub user: Option<&'a str>,
    /// The groups, once known.
    pub groups: &'a [Arc<str>],
    /// What was asked, once parsed.
    pub facts: Option<&'a RequestFacts>,
    /// Whether the caller signed in here: only then does our API answer what `gatescribe why` asks.
    pub signed_in: bool,
    /// Whether there is a record under that id; above a limit a refusal is only counted.
    pub recorded: bool,
    /// How to sign in, such as `gatescribe login https://gw.example.com`.
    pub sign_in: &'a str,
}

#[derive(Serialize)]
struct Status<'a> {
    kind: &'static str,
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    metadata: Empty,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
}

/// What to do about a refusal that is not about this caller's rights.
const fn next_step<'a>(refusal: &Refusal, asked: &Asked<'a>) -> Option<&'a str> {
    match refusal {
        Refusal::NoCredential
        | Refusal::BadCredential(_)
        | Refusal::SignInEnded(_)
        | Refusal::UnknownHost
        | Refusal::Limit(Limit::Strangers) => Some(asked.sign_in),
        Refusal::GatewayCredential | Refusal::Internal if asked.recorded => {
            Some("tell whoever runs the gateway, with the decision below")
        }
        other => next_of(other),
    }
}

/// The same where it does not depend on who asks.
const fn next_of(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::CannotVerify(_) => "try again in a moment; your sign-in itself was not refused",
        Refusal::Locked(_) => "ask whoever locked you out; signing in again does not help until then",
        Refusal::LedgerRefuses(_) => "tell whoever runs the gateway; the call was not sent",
        Refusal::UpstreamUnreachable(_) => "nothing was sent; try again in a moment",
        Refusal::UpstreamLost(_) | Refusal::UpstreamSilent | Refusal::EndedWithin(_) => {
            "the call may have had its effect: look before you repeat it"
        }
        Refusal::Malformed(_) | Refusal::Target(_) | Refusal::Headers(_) => {
            "no kubectl sends this: look at the program, or at what stands between it and the gateway"
        }
        Refusal::Limit(Limit::InFlight(_)) => "wait until some of them have ended",
        Refusal::Limit(Limit::Streams(_) | Limit::Logs(_) | Limit::Proxied(_)) => "end some of them first",
        Refusal::Limit(Limit::Unbegun(_)) => "enter fewer pods at a time, and none that is not there",
        Refusal::Limit(Limit::RecordsPerSecond(_) | Limit::Questions(_)) => "make fewer calls at a time",
        Refusal::Limit(Limit::BytesPerDay(_) | Limit::LongCalls(_)) => {
            "ask whoever runs the gateway for a higher limit"
        }
        Refusal::Limit(Limit::Subjects) => "try again in a moment",
        Refusal::Limit(Limit::Public) => {
            "try again in a moment, or sign in: who has signed in has a share of their own"
        }
        Refusal::GatewayCredential | Refusal::Internal => "tell whoever runs the gateway",
        Refusal::Draining => "try again in a moment",
        Refusal::NotPublished => "look at the address; whoever writes the rules knows what is published",
        Refusal::NotOnBehalf(_) => "nothing was sent; look at what the service hands back, and at its own proof",
        Refusal::TooLarge(_) => "send less at a time",
        Refusal::NotAsserted(_) => "tell whoever runs the gateway; nothing was sent",
        Refusal::ForeignPage(_) => "go to the service itself and do it there",
        Refusal::Ended(_) => "nothing was sent; the same call is now refused",
        Refusal::Denied(_)
        | Refusal::NoCredential
        | Refusal::BadCredential(_)
        | Refusal::SignInEnded(_)
        | Refusal::UnknownHost
        | Refusal::Limit(Limit::Strangers) => return None,
    })
}

/// What to do about a refusal at a service, as one sentence for whoever reads a page or problem details; none where a sign-in helps, which
/// is told in its own way.
pub(crate) fn remedy_at_service(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Denied(denied) => Some(match &denied.denial {
            Denial::Obligation(Unmet::Reason) => "state one in a terminal: gatescribe reason 'TEXT' --for 15m",
            Denial::Obligation(Unmet::StepUp { .. }) => "sign in again in a browser",
            _ => "ask whoever writes the rules, and name the decision",
        }),
        Refusal::Malformed(_) | Refusal::Target(_) | Refusal::Headers(_) => {
            Some("no browser sends this: look at the link or the program")
        }
        other => next_of(other),
    }
}

/// The text and the structured causes of a refusal.
fn explain(refusal: &Refusal, asked: &Asked<'_>) -> (String, Vec<Cause>) {
    let mut causes = Vec::new();
    if asked.recorded {
        causes.push(Cause {
            reason: "GatescribeDecision",
            message: asked.id.to_owned(),
        });
    }
    let mut lines = Lines {
        text: first_line(refusal, asked),
    };
    match refusal {
        Refusal::Denied(denied) => denied_lines(&mut lines, &mut causes, denied, asked),
        other => {
            if let Some(next) = next_step(other, asked) {
                lines.add("next", next);
            }
        }
    }
    causes.push(Cause {
        reason: "GatescribeReason",
        message: refusal.code().to_owned(),
    });
    if asked.recorded {
        lines.add(
            "decision",
            &format!("{} (refused by the gateway, not by the cluster)", asked.id),
        );
    } else {
        // No id is given out that nobody can look up.
        lines.add(
            "refused",
            "by the gateway, not by the cluster; counted, without a record of its own",
        );
    }
    (lines.text, causes)
}

fn denied_lines(lines: &mut Lines, causes: &mut Vec<Cause>, denied: &Denied, asked: &Asked<'_>) {
    let mut because = denial_in_words(&denied.denial);
    if matches!(
        denied.denial,
        Denial::NoRule | Denial::ClusterSaysNo { .. } | Denial::ClusterSilent
    ) {
        let _ = write!(
            because,
            " (your groups: {})",
            if asked.groups.is_empty() {
                "none".to_owned()
            } else {
                asked.groups.join(", ")
            }
        );
    }
    if !matches!(denied.denial, Denial::MayNotImpersonate { .. }) {
        lines.add("because", &because); // there the first line says it all
    }
    for rule in &denied.rules {
        lines.add("rule", &rule.to_string());
        causes.push(Cause {
            reason: "GatescribeRule",
            message: rule.to_string(),
        });
    }
    if let Some(nearest) = &denied.nearest {
        let place = nearest.namespace.as_ref().map_or_else(
            || "for the whole cluster".to_owned(),
            |namespace| format!("in {namespace}"),
        );
        lines.add("closest", &format!("{}, bound {place}", nearest.role));
    }
    if let Some(next) = next_after_denial(&denied.denial, asked) {
        lines.add("next", &next);
    }
}

/// A command that this caller can run: a workload, a certificate or a token from elsewhere has no session to ask with.
fn next_after_denial(denial: &Denial, asked: &Asked<'_>) -> Option<String> {
    match denial {
        Denial::Obligation(Unmet::Recording) => Some("tell whoever runs the gateway; nothing was sent".to_owned()),
        Denial::Obligation(Unmet::NoSession) => {
            Some("ask whoever writes the rules; what goes through kubectl port-forward is recorded".to_owned())
        }
        Denial::Obligation(Unmet::Approval { .. }) => {
            Some("ask whoever writes the rules: this obligation cannot be met yet".to_owned())
        }
        Denial::Obligation(Unmet::Reason) if asked.signed_in => Some(STATE_REASON.to_owned()),
        Denial::Obligation(Unmet::Reason) => asked.user.map(|user| again::with_reason(user, asked.facts)),
        _ if !asked.signed_in => None,
        Denial::NoGroups => Some("gatescribe whoami --claims".to_owned()),
        Denial::Obligation(Unmet::StepUp { acr }) => Some(sign_in_anew(asked.sign_in, acr)),
        _ if !asked.recorded => None,
        _ => Some(format!("gatescribe why {}", asked.id)),
    }
}

/// A person states it for what comes next.
const STATE_REASON: &str = "gatescribe reason 'TEXT' --for 15m";

/// The command to sign in, with which the provider asks again, in the ways that are owed.
fn sign_in_anew(sign_in: &str, acr: &[Arc<str>]) -> String {
    let mut command = sign_in.replacen("gatescribe login", "gatescribe login --fresh", 1);
    for class in acr {
        let _ = write!(command, " --acr {}", again::quoted(class));
    }
    command
}

fn first_line(refusal: &Refusal, asked: &Asked<'_>) -> String {
    match refusal {
        Refusal::Denied(denied) => {
            let user = asked.user.unwrap_or("this caller");
            match &denied.denial {
                Denial::MayNotImpersonate { what } => format!("{user} may not act as {what}"),
                _ => format!(
                    "{user} may not {}",
                    asked.facts.map_or_else(|| "do this".to_owned(), act_in_words)
                ),
            }
        }
        Refusal::NoCredential => "sign in first: no credential was presented".to_owned(),
        Refusal::BadCredential(why) => format!("sign in again: {why}"),
        Refusal::SignInEnded(why) => format!("sign in again: {why}"),
        Refusal::Ended(why) => format!("ended before it was sent: {why}"),
        other => other.in_words(),
    }
}

/// The act in words: `create pods/exec "web-0" in namespace payments`.
#[must_use]
pub fn act_in_words(facts: &RequestFacts) -> String {
    if !facts.is_resource_request() {
        return format!("{} the path {}", facts.verb().as_str(), facts.path());
    }
    let mut text = format!("{} {}", facts.authorization_verb(), facts.resource());
    if !facts.subresource().is_empty() {
        let _ = write!(text, "/{}", facts.subresource());
    }
    if !facts.api_group().is_empty() {
        let _ = write!(text, ".{}", facts.api_group());
    }
    if !facts.name().is_empty() {
        let _ = write!(text, " \"{}\"", facts.name());
    }
    match facts.namespace() {
        "" => text.push_str(" in all namespaces or the cluster"),
        namespace => {
            let _ = write!(text, " in namespace {namespace}");
        }
    }
    text
}

struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, label: &str, value: &str) {
        let _ = write!(self.text, "\n  {label:<9} {value}");
    }
}

/// The answer to a refused request.
#[must_use]
pub fn answer(refusal: &Refusal, asked: &Asked<'_>) -> Response<Bytes> {
    let (message, causes) = explain(refusal, asked);
    let code = refusal.status();
    let details = asked.facts.map_or(
        Details {
            name: "",
            group: "",
            kind: "",
            causes: Vec::new(),
        },
        |facts| Details {
            name: facts.name(),
            group: facts.api_group(),
            kind: facts.resource(),
            causes: Vec::new(),
        },
    );
    let status = Status {
        kind: "Status",
        api_version: "v1",
        metadata: Empty {},
        status: "Failure",
        message: &message,
        reason: refusal.reason(),
        details: Some(Details { causes, ..details }),
        code: code.as_u16(),
    };
    let body = serde_json::to_vec(&status).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(asked.id) {
        if asked.recorded {
            headers.insert(&RECORD, id.clone());
        }
        headers.insert("audit-id", id);
    }
    if code == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"gatescribe\""),
        );
    }
    response
}
