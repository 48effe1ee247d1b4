//! What of a call passes, checked: how long, how large, which addresses and headers are written anew.

use std::time::Duration;

use super::document::{HostSpec, LimitSpec, RewriteSpec, ServiceSpec, TimeoutSpec};
use super::header_rules::HeaderRules;
use crate::rule::compile::Wrong;
use crate::rule::pattern;

/// What of a call of a service passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// How long it may take.
    pub timeouts: Timeouts,
    /// The largest body of a request in bytes; `None`: any.
    pub largest_body: Option<u64>,
    /// Whether `Location` and the `Path` of cookies say the published address in place of the service's own.
    pub rewrites_redirects: bool,
    /// Which `Host` the service sees.
    pub host: HostSpec,
    /// Whether the service is told the caller's address and what was asked for.
    pub says_forwarded: bool,
    /// Headers that are set or removed, and those that say who calls.
    pub headers: HeaderRules,
}

/// How long a call of a service may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the end of the request to the head of the answer.
    pub answer: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// A call's longest life, whatever passes; `None`: as long as the sign-in.
    pub longest: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(8),
            answer: Duration::from_secs(60),
            // That of sessions in a cluster.
            idle: Duration::from_secs(4 * 3_600),
            longest: None,
        }
    }
}

/// Whoever waits longer for a connection waits for nothing: what was asked for has been given up by then.
const LONGEST_CONNECT: Duration = Duration::from_secs(60);

impl Passing {
    /// `has_path`: the service stands on a path of its host.
    pub(super) fn read(spec: &ServiceSpec, has_path: bool, wrong: &mut Wrong) -> Self {
        let rewrite = spec.rewrite.clone().unwrap_or_default();
        let RewriteSpec { strip_path, redirects } = rewrite;
        if strip_path && !has_path {
            let what = "it has no effect: the service stands on no path; write `path`, or leave it out";
            wrong.say("spec.rewrite.stripPath", what);
        }
        Self {
            timeouts: timeouts(spec.timeouts.as_ref(), wrong),
            largest_body: largest_body(spec.limits.as_ref(), wrong),
            rewrites_redirects: redirects,
            host: spec.host.unwrap_or_default(),
            says_forwarded: spec.forwarded.unwrap_or(true),
            headers: HeaderRules::read(spec, has_path, wrong),
        }
    }
}

fn timeouts(spec: Option<&TimeoutSpec>, wrong: &mut Wrong) -> Timeouts {
    let usual = Timeouts::default();
    let Some(spec) = spec else { return usual };
    let mut read = |member, text: &Option<String>| {
        let text = text.as_deref()?;
        wrong.keep(member, pattern::duration(text))
    };
    let connect = read("spec.timeouts.connect", &spec.connect).unwrap_or(usual.connect);
    let answer = read("spec.timeouts.answer", &spec.answer).unwrap_or(usual.answer);
    let idle = read("spec.timeouts.idle", &spec.idle);
    let longest = read("spec.timeouts.longest", &spec.longest);
    if connect > LONGEST_CONNECT {
        wrong.say(
            "spec.timeouts.connect",
            "a connection that does not stand after `1m` does not come: write less",
        );
    }
    if let (Some(idle), Some(longest)) = (idle, longest)
        && idle > longest
    {
        let what = "it has no effect: every call ends at `longest` before it can be silent for so long";
        wrong.say("spec.timeouts.idle", what);
    }
    Timeouts {
        connect,
        answer,
        idle: idle.unwrap_or(usual.idle),
        longest,
    }
}

fn largest_body(spec: Option<&LimitSpec>, wrong: &mut Wrong) -> Option<u64> {
    let text = spec?.body.as_deref()?;
    wrong.keep("spec.limits.body", pattern::size(text))
}
