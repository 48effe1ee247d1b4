//! Nested impersonation (`kubectl --as`): each value that is asked for must have been granted.
//!
//! The questions are the API server's own (k8s.io/apiserver, pkg/endpoints/filters/impersonation): verb `impersonate`
//! on `users`, `groups`, `serviceaccounts`, and on `uids` and `userextras/<key>` of `authentication.k8s.io`. We are
//! stricter in one point: a name that begins with `system:` must be granted by that very name, and the cluster's
//! masters and nodes are nobody's to impersonate.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::decision::{Denial, RuleRef};

use super::Query;
use super::rules::{Rulings, ruled};
use crate::rbac::{Attributes, SubjectView, service_account};
use crate::rule::{Call, Who};

/// As whom the caller asks to act: the values of the `Impersonate-*` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`; never empty.
    pub user: Arc<str>,
    /// `Impersonate-Uid`.
    pub uid: Option<Arc<str>>,
    /// `Impersonate-Group`, each its own line.
    pub groups: Arc<[Arc<str>]>,
    /// `Impersonate-Extra-<key>`, keys decoded and in lower case.
    pub extra: Arc<BTreeMap<String, Vec<String>>>,
}

impl Impersonation {
    /// Who the API server will see.
    #[must_use]
    pub fn view(&self) -> SubjectView<'_> {
        SubjectView::impersonated(&self.user, &self.groups)
    }

    /// One question for each value, with words for a refusal.
    fn questions(&self) -> Vec<(Attributes<'_>, String)> {
        let mut questions = Vec::new();
        let user = match service_account(&self.user) {
            Some((namespace, name)) => Attributes {
                namespace,
                ..asking("", "serviceaccounts", "", name)
            },
            None => asking("", "users", "", &self.user),
        };
        questions.push((user, format!("user {}", self.user)));
        for group in self.groups.iter() {
            questions.push((asking("", "groups", "", group), format!("group {group}")));
        }
        for (key, values) in self.extra.iter() {
            for value in values {
                let asked = asking("authentication.k8s.io", "userextras", key, value);
                questions.push((asked, format!("extra {key}={value}")));
            }
        }
        if let Some(uid) = &self.uid {
            questions.push((asking("authentication.k8s.io", "uids", "", uid), format!("uid {uid}")));
        }
        questions
    }

    /// The first name that nobody may take on from outside.
    fn reserved(&self) -> Option<&str> {
        let user =
            Some(self.user.as_ref()).filter(|user| user.starts_with("system:node:") || *user == "system:anonymous");
        let group = |group: &&Arc<str>| {
            matches!(
                group.as_ref(),
                "system:masters" | "system:nodes" | "system:unauthenticated"
            )
        };
        user.or_else(|| self.groups.iter().find(group).map(AsRef::as_ref))
    }
}

const fn asking<'a>(group: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Attributes<'a> {
    Attributes {
        verb: "impersonate",
        group,
        resource,
        subresource,
        namespace: "",
        name,
        path: "",
        is_resource: true,
    }
}

/// Whether the caller may act so; the rules that granted it, or why not.
///
/// RBAC silence is a refusal here even under `confirm`: the cluster is asked about the person who acts, not about
/// every value that the person would take on.
pub(super) fn check(
    query: &Query<'_>,
    caller: &Who<'_>,
    wanted: &Impersonation,
    found: &mut Rulings,
) -> Result<(), Denial> {
    if wanted.user.is_empty() {
        return Err(Denial::MayNotImpersonate {
            what: "nobody: no user is named".to_owned(),
        });
    }
    if let Some(name) = wanted.reserved() {
        return Err(Denial::ReservedName { name: name.to_owned() });
    }
    for (asked, what) in wanted.questions() {
        match granted(query, caller, asked, found) {
            Some(rule) => found.mattered(rule),
            None => return Err(Denial::MayNotImpersonate { what }),
        }
    }
    Ok(())
}

fn granted(query: &Query<'_>, caller: &Who<'_>, asked: Attributes<'_>, found: &mut Rulings) -> Option<RuleRef> {
    let call = Call::asking(query.call.cluster, asked);
    let said = ruled(query, caller, &call);
    let forbidden = said.is_forbidden();
    // A service account's own name is shortened here, but what is taken on begins with `system:` too.
    let reserved = asked.resource == "serviceaccounts" || asked.name.starts_with("system:");
    let by_rule = said.allow_for(reserved.then_some(asked.name));
    // What a rule that lets somebody take on a name demands is owed by each call under it.
    found.take(said);
    if forbidden {
        return None;
    }
    by_rule.or_else(|| {
        let snapshot = query.fresh_snapshot()?;
        if reserved {
            snapshot.decide_by_exact_name(&caller.view, &asked)
        } else {
            snapshot.decide(&caller.view, &asked).allowed_by
        }
    })
}
