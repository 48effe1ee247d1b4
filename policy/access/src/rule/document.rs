//! `AccessRule` as written: strict, every key known. What the words mean is settled in `compile`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::labels::LabelSelector;

/// The API version of our documents.
pub const API_VERSION: &str = "gatescribe.dev/v1";

/// A document of kind `AccessRule`, or `ClusterAccessRule` for a rule of the whole cluster stored in a cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRuleDocument {
    /// Always `gatescribe.dev/v1`.
    pub api_version: String,
    /// `AccessRule` or `ClusterAccessRule`.
    pub kind: String,
    /// Name, and namespace for a rule that reaches its namespace only.
    pub metadata: RuleMeta,
    /// What it says.
    pub spec: Spec,
    /// Written by controllers; not read.
    #[serde(default, skip_serializing)]
    pub status: Option<serde::de::IgnoredAny>,
}

/// The part of `ObjectMeta` that matters; a cluster adds more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMeta {
    /// The rule's name.
    pub name: String,
    /// A namespaced rule reaches its namespace only and cannot loosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What a rule says. An absent list of `clusters`, `namespaces` or `names` means any; an empty list is an error, as
/// nobody can know what its author meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// Allow or forbid.
    pub effect: Effect,
    /// Shadow rules are decided and reported without effect.
    #[serde(default)]
    pub mode: Mode,
    /// RFC 3339; from then on the rule is as if it were not there.
    #[serde(default)]
    pub until: Option<String>,
    /// Whom it is about: any of those listed.
    pub subjects: Subjects,
    /// Whom the workloads among the subjects act for. Such a rule is about calls on behalf of any of these and about no other; an
    /// allow lets the workloads act within what these may do themselves, and grants nobody anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Subjects>,
    /// Kubernetes calls.
    #[serde(default)]
    pub kubernetes: Option<KubernetesScope>,
    /// HTTP services.
    #[serde(default)]
    pub services: Vec<ServiceScope>,
    /// A condition in CEL that must be true; see [`super::DECLARED`].
    #[serde(default)]
    pub when: Option<String>,
    /// What an allowed call still owes.
    #[serde(default)]
    pub obligations: ObligationSpec,
    /// As which groups a call goes upstream that RBAC alone does not allow.
    #[serde(default, rename = "as")]
    pub act_as: ActAs,
    /// Examples; a document whose examples fail is not loaded.
    #[serde(default)]
    pub tests: Vec<Example>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allows, beyond or beside RBAC.
    Allow,
    /// Forbids, whatever else allows.
    Forbid,
}

/// Whether a rule counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It counts.
    #[default]
    Enforce,
    /// It is decided and reported, and changes nothing.
    Shadow,
}

/// Whom a rule is about. Kinds are never compared across.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subjects {
    /// User names of people, or `*` for any person.
    pub people: Vec<String>,
    /// Groups of people or workloads, or `*` for everyone.
    pub groups: Vec<String>,
    /// `<namespace>/<service account>`, `<namespace>/*`, `spiffe://…`, or `*` for any workload.
    pub workloads: Vec<String>,
    /// Everybody, also who has not signed in: calls of services only, which is what makes a path public.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public: bool,
}

/// Which Kubernetes calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesScope {
    /// Cluster names; absent: any.
    pub clusters: Option<Vec<String>>,
    /// Verbs as RBAC has them, or `*`. For exec, attach and port-forward that is always `create`.
    pub verbs: Option<Vec<String>>,
    /// `resource[.group][/subresource]`, `*/subresource`, `*.group`, or `*`.
    pub resources: Option<Vec<String>>,
    /// Classes of act, such as `enter` or `exec`, whatever their verb.
    pub actions: Option<Vec<String>>,
    /// Paths that are no resources, with a star at most at the end.
    pub paths: Option<Vec<String>>,
    /// Object names; absent: any.
    pub names: Option<Vec<String>>,
    /// Namespaces; absent: any, and cluster-wide calls too.
    pub namespaces: Option<Vec<String>>,
    /// Namespaces by their labels.
    pub namespace_selector: Option<LabelSelector>,
}

/// Which calls of HTTP services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceScope {
    /// Host names, `*.example.com` for all below one, or `*`.
    pub hosts: Vec<String>,
    /// HTTP methods, or `*`; `GET` is also `HEAD`.
    pub methods: Vec<String>,
    /// Decoded paths by whole segments: a star is one segment, and as the last one all that stands below.
    pub paths: Vec<String>,
    /// Namespaces in which an annotated Service stands; absent: any, and services of files, which stand in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Services by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What an allowed call still owes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ObligationSpec {
    /// The session is recorded.
    pub record: bool,
    /// A reason is stated.
    pub reason: bool,
    /// Somebody else approved.
    pub approval: Option<ApprovalSpec>,
    /// Sign-in is recent or strong enough.
    pub step_up: Option<StepUpSpec>,
    /// A session (exec, attach, port-forward) in which nothing passes ends after this, such as `15m`; units s, m, h, d.
    pub idle: Option<String>,
    /// A session ends after this, whatever passes.
    pub longest: Option<String>,
}

/// Who may approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalSpec {
    /// Members of any of these groups.
    pub from: Vec<String>,
}

/// What a sign-in must have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StepUpSpec {
    /// Such as `15m`; units s, m, h, d.
    pub max_age: Option<String>,
    /// The authentication context class.
    pub acr: Option<String>,
}

/// As whom a call goes upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActAs {
    /// Groups that a binding in the cluster names.
    pub groups: Vec<String>,
}

/// An example with its expected decision by the rules loaded together, without RBAC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Example {
    /// For people.
    pub name: String,
    /// Who asks.
    pub subject: ExampleSubject,
    /// For whom a workload acts. The example then asks whether it may act for them, not what they may do themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<ExampleSubject>,
    /// What is asked.
    pub request: ExampleRequest,
    /// What is to come of it.
    pub expect: Expected,
    /// All that it is to owe; `{}` for nothing, absent where that is not asked.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub owes: Option<ObligationSpec>,
}

/// A member that is written and empty is none that is absent.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObligationSpec>, D::Error> {
    ObligationSpec::deserialize(deserializer).map(Some)
}

/// Who asks in an example.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExampleSubject {
    /// A person's user name; either this, `workload` or `public`.
    pub person: Option<String>,
    /// A workload as in [`Subjects::workloads`], without star.
    pub workload: Option<String>,
    /// Somebody who has not signed in, which services alone let in.
    pub public: bool,
    /// Groups.
    pub groups: Vec<String>,
}

/// What is asked in an example: a call of Kubernetes, or with `host` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExampleRequest {
    /// The cluster's name.
    pub cluster: String,
    /// The verb.
    pub verb: String,
    /// `resource[.group][/subresource]`.
    pub resource: Option<String>,
    /// A path that is no resource, or the decoded one of a service.
    pub path: Option<String>,
    /// The host name of a service.
    pub host: Option<String>,
    /// The service's name; with `host` alone.
    pub service: Option<String>,
    /// The HTTP method; with `host` alone.
    pub method: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Labels of the namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Labels of the service; with `host` alone.
    pub service_labels: BTreeMap<String, String>,
    /// When; RFC 3339.
    pub at: Option<String>,
    /// From which address.
    pub from: Option<std::net::IpAddr>,
    /// How long ago the sign-in was, such as `5m`.
    pub signed_in_ago: Option<String>,
    /// The sign-in's authentication context class.
    pub acr: Option<String>,
}

/// The expected decision of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// An allow rule matches and no forbid does.
    Allow,
    /// A forbid rule matches.
    Forbid,
    /// No rule matches; RBAC alone would decide.
    Silent,
}
