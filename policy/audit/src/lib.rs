//! How much of a call is written down? Kubernetes' audit `Policy` (`audit.k8s.io/v1`), with the API server's exact matching
//! rules (k8s.io/apiserver v0.36, `pkg/audit/policy`), evaluated on the person who calls.
//!
//! A crate of its own, because what is written down must not depend on what is allowed, nor the other way round: neither this
//! crate nor `access` can name the other (`docs/decisions/0013`).
//!
//! Invariants: a policy that the API server refuses is refused here; one that is taken here means the same there. What the API
//! server takes in spite of a mistake (an unknown member, a second document) is refused here (promise 9).

mod cover;
mod diff;
mod document;
mod evaluate;
mod explain;
mod finding;
mod known;
mod lint;
mod load;
mod mutant;
mod policy;
#[cfg(test)]
mod tests;

pub use self::diff::{Calls, Comparison, Difference, Effect, Line, MOST_ASKED, compare};
pub use self::evaluate::{Asked, Resource, User, Verdict};
pub use self::explain::Miss;
pub use self::finding::{Code, Finding, Severity};
pub use self::known::group_of;
pub use self::load::{Loaded, MAX_BYTES, load};
#[cfg(feature = "generate")]
pub use self::mutant::{MUTANTS, Mutant};
pub use self::policy::{Level, Policy, ResourceRule, Rule, Scope, Stage, Stages};

/// A policy to begin with: what people do whole, what machines do all day in short.
pub const PRESET: &str = include_str!("preset.yaml");

/// Entry for the fuzzer: any bytes are a policy or a list of reasons why not; what is taken can be evaluated and looked at.
pub fn fuzz_audit_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match load(text) {
        Err(findings) => {
            assert!(!findings.is_empty(), "a refusal says why");
            assert!(
                findings.iter().all(|finding| finding.severity == Severity::Refused),
                "a refusal gives its reasons alone"
            );
            places_are_in(text, &findings);
        }
        Ok(loaded) => {
            let shadowed = loaded.findings.iter().filter(|finding| finding.code == Code::Shadowed);
            let shadowed: Vec<_> = shadowed.filter_map(|finding| finding.rule).collect();
            for asked in PROBES {
                let verdict = loaded.policy.evaluate(&asked);
                assert!(
                    verdict.rule.is_none_or(|rule| !shadowed.contains(&rule)),
                    "a rule that never decides has decided"
                );
            }
            places_are_in(text, &loaded.findings);
        }
    }
}

fn places_are_in(text: &str, findings: &[Finding]) {
    for finding in findings {
        assert!(text.get(finding.place.clone()).is_some(), "a place lies in the file");
        let (line, column) = finding.line_and_column(text);
        assert!(line > 0 && column > 0, "lines and columns count from 1");
    }
}

const PROBES: [Asked<'static>; 4] = {
    let asked = Asked {
        user: Some(User {
            name: "alice",
            groups: &["dev", "system:authenticated"],
        }),
        verb: "get",
        path: "/api/v1/namespaces/shop/pods/web-0",
        resource: Some(Resource {
            group: "",
            resource: "pods",
            subresource: "",
            namespace: "shop",
            name: "web-0",
        }),
    };
    let logs = Asked {
        path: "/api/v1/namespaces/shop/pods/web-0/log",
        resource: Some(Resource {
            group: "",
            resource: "pods",
            subresource: "log",
            namespace: "shop",
            name: "web-0",
        }),
        ..asked
    };
    let metrics = Asked {
        path: "/metrics",
        resource: None,
        ..asked
    };
    let nobody = Asked { user: None, ..metrics };
    [asked, logs, metrics, nobody]
};
