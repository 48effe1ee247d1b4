//! `AccessRule` documents (`gatescribe.dev/v1`): what RBAC cannot say.
//!
//! Not a policy language: fixed members with one meaning each, and a condition in CEL for the rest. What cannot be
//! understood is refused at load, and at the latest a rule that cannot be evaluated grants nothing or forbids.

mod behalf;
#[cfg(test)]
mod behalf_tests;
mod call;
mod compile;
mod compiled;
mod condition;
mod document;
mod examples;
mod inquiry;
mod labels;
mod lasting;
mod load;
mod pattern;
mod place;
mod published;
mod remarks;
mod runs_as;
mod salvage;
mod scope;
mod service;
#[cfg(test)]
mod service_tests;
mod set;
#[cfg(test)]
mod tests;

pub(crate) use self::call::upstream_groups;
pub use self::call::{Call, NamespaceLabels, Situation, Who};
pub use self::compiled::{Miss, Reach, Rule};
pub use self::condition::DECLARED;
pub use self::document::{
    API_VERSION, AccessRuleDocument, ActAs, ApprovalSpec, Effect, Example, ExampleRequest, ExampleSubject, Expected,
    KubernetesScope, Mode, ObligationSpec, RuleMeta, ServiceScope, Spec, StepUpSpec, Subjects,
};
pub use self::inquiry::{Inquiry, ServiceInquiry};
pub use self::labels::{LabelOperator, LabelRequirement, LabelSelector};
pub use self::load::{Consequence, FilePolicy, LoadProblem, load_files, load_objects, remarks_on_objects};
pub use self::published::{
    ANNOTATIONS, ASSERTION_HEADER, AnnotatedService, AssertionSpec, ClientCertificateSpec, HeaderChangeSpec,
    HeaderChanges, HeaderRules, HeaderSpec, HostSpec, IdentityHeaderSpec, KubernetesService, KubernetesServiceSpec,
    LimitSpec, Passing, PortSpec, Publication, PublicationDocument, PublicationSpec, Published, RewriteSpec,
    ServiceDocument, ServiceMeta, ServicePort, ServiceSpec, Services, TimeoutSpec, Timeouts, Unpublished, Upstream,
    UpstreamPlace, UpstreamProtocol, UpstreamScheme, UpstreamSpec, UpstreamTls,
};
pub use self::service::{ServiceCall, ServiceLabels};
pub use self::set::{RuleSet, Rules};
