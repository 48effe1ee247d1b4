//! What a rule is asked about: who, what, and under which circumstances.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::request::{Action, RequestFacts};
use model::subject::{Subject, SubjectKind};
use model::time::Timestamp;

use crate::rbac::{Attributes, SubjectView};

/// Who asks, as rules see it.
#[derive(Clone, Debug)]
pub struct Who<'a> {
    /// Person or workload; names are never compared across.
    pub kind: SubjectKind,
    /// Name and groups, those that the API server adds among them.
    pub view: SubjectView<'a>,
    /// The UID.
    pub uid: Option<&'a str>,
    /// Who vouches.
    pub issuer: &'a str,
    /// The verified e-mail address.
    pub email: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// An authenticated subject.
    #[must_use]
    pub fn of(subject: &'a Subject) -> Self {
        Self {
            kind: subject.kind(),
            view: SubjectView::impersonated(subject.username(), upstream_groups(subject)),
            uid: subject.uid(),
            issuer: subject.issuer(),
            email: subject.email(),
        }
    }
}

/// The groups that are sent upstream: a service account goes by its name alone, the API server knows its groups.
pub(crate) fn upstream_groups(subject: &Subject) -> &[Arc<str>] {
    if subject.kind() == SubjectKind::ServiceAccount {
        &[]
    } else {
        subject.groups()
    }
}

/// One Kubernetes call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// What is asked, with the verb that rules are asked about.
    pub asked: Attributes<'a>,
    /// What sort of act.
    pub action: Action,
    /// The HTTP method; empty where there is none, as in `can`.
    pub method: &'a str,
}

impl<'a> Call<'a> {
    /// A request.
    #[must_use]
    pub fn of(cluster: &'a str, facts: &'a RequestFacts) -> Self {
        Self {
            cluster,
            asked: Attributes::of(facts),
            action: facts.action(),
            method: facts.method(),
        }
    }

    /// A question such as `can alice create pods/exec`.
    #[must_use]
    pub fn asking(cluster: &'a str, asked: Attributes<'a>) -> Self {
        let verb = model::request::Verb::from_name(asked.verb);
        let action = if asked.is_resource {
            Action::of_resource(asked.group, asked.resource, asked.subresource, &verb)
        } else {
            Action::Plain
        };
        Self {
            cluster,
            asked,
            action,
            method: "",
        }
    }
}

/// The circumstances of a call.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The point in time that the decision is for.
    pub now: Timestamp,
    /// The client's address.
    pub source: Option<IpAddr>,
    /// When the person last proved who they are (`auth_time`).
    pub signed_in: Option<Timestamp>,
    /// The authentication context class of that.
    pub acr: Option<&'a str>,
    /// Labels of namespaces, as far as the snapshot knows them.
    pub namespaces: &'a NamespaceLabels,
    /// Whether a reason was stated.
    pub reason_stated: bool,
    /// Groups of somebody else who approved this very call.
    pub approved_by: &'a [Arc<str>],
}

/// The labels of a cluster's namespaces, by name.
pub type NamespaceLabels = std::collections::HashMap<Arc<str>, BTreeMap<String, String>>;
