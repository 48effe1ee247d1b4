//! What the API server understands by a request, and what we call it besides.

use std::borrow::Cow;

use super::action::{Action, Kind};
use super::verb::Verb;

/// The facts of one request: the API server's `RequestInfo` (k8s.io/apiserver v0.36) and our own class of act.
///
/// Owned and cheap to move to another task: the path is one allocation, all fields but a name from a selector are
/// ranges of it. Made by [`RequestFacts::classify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    pub(super) path: Box<str>,
    pub(super) method: Cow<'static, str>,
    pub(super) verb: Verb,
    pub(super) is_resource: bool,
    pub(super) prefix: Span,
    pub(super) group: Span,
    pub(super) version: Span,
    pub(super) namespace: Span,
    pub(super) resource: Span,
    pub(super) subresource: Span,
    pub(super) name: Name,
    pub(super) parts: Span,
    pub(super) field_selector: Option<Box<str>>,
    pub(super) label_selector: Option<Box<str>>,
    pub(super) action: Action,
    pub(super) kind: Kind,
}

/// Where a name came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// A segment of the path.
    Path(Span),
    /// `fieldSelector=metadata.name=X` of a list or watch.
    Selector(Box<str>),
}

impl RequestFacts {
    /// The decoded path. Bytes of a proxy tail that are no UTF-8 stand as U+FFFD; no decision reads them.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The HTTP method as it came.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The verb as the API server computes it; see [`RequestFacts::authorization_verb`] for the one we ask about.
    #[must_use]
    pub const fn verb(&self) -> &Verb {
        &self.verb
    }

    /// Whether it is about an API resource; else only verb and path are authorised.
    #[must_use]
    pub const fn is_resource_request(&self) -> bool {
        self.is_resource
    }

    /// `api` or `apis`; empty for other paths.
    #[must_use]
    pub fn api_prefix(&self) -> &str {
        self.prefix.of(&self.path)
    }

    /// The API group; empty for the core group.
    #[must_use]
    pub fn api_group(&self) -> &str {
        self.group.of(&self.path)
    }

    /// The API version.
    #[must_use]
    pub fn api_version(&self) -> &str {
        self.version.of(&self.path)
    }

    /// The namespace; empty for cluster-scoped resources and lists over all namespaces. A namespace itself lies in
    /// itself.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.of(&self.path)
    }

    /// The resource, in plural as in the path.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resource.of(&self.path)
    }

    /// The subresource; empty when there is none. What lies deeper is not interpreted.
    #[must_use]
    pub fn subresource(&self) -> &str {
        self.subresource.of(&self.path)
    }

    /// The object's name; empty for creations and collections. For list and watch it may come from the selector.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Path(span) => span.of(&self.path),
            Name::Selector(name) => name,
        }
    }

    /// The segments from the resource on: resource, name, subresource and whatever follows. None for other paths.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let text = self.is_resource.then(|| self.parts.of(&self.path));
        text.into_iter().flat_map(|text| text.split('/'))
    }

    /// The field selector as written, for list, watch and deletecollection.
    #[must_use]
    pub fn field_selector(&self) -> Option<&str> {
        self.field_selector.as_deref()
    }

    /// The label selector as written, for list, watch and deletecollection.
    #[must_use]
    pub fn label_selector(&self) -> Option<&str> {
        self.label_selector.as_deref()
    }

    /// What sort of act it is.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// What must be durable before what.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The verb that rules are asked about: `create` for exec, attach and port-forward, whatever the HTTP method
    /// (a WebSocket is a GET), else the API server's own.
    #[must_use]
    pub fn authorization_verb(&self) -> &str {
        // A method without meaning stays without meaning: an empty verb is allowed to nobody.
        if self.action.streams() && self.verb != Verb::Unknown {
            Verb::Create.as_str()
        } else {
            self.verb.as_str()
        }
    }

    /// `resource/subresource`, or the resource alone, as RBAC rules spell it.
    #[must_use]
    pub fn combined_resource(&self) -> Cow<'_, str> {
        if self.subresource().is_empty() {
            Cow::Borrowed(self.resource())
        } else {
            Cow::Owned(format!("{}/{}", self.resource(), self.subresource()))
        }
    }

    /// Whether the API server lets it run without its request timeout (kube-apiserver's `LongRunningFunc`).
    #[must_use]
    pub fn long_running(&self) -> bool {
        let subresource = matches!(self.subresource(), "attach" | "exec" | "proxy" | "log" | "portforward");
        matches!(self.verb, Verb::Watch | Verb::Proxy)
            || (self.is_resource && subresource)
            || (!self.is_resource && self.path.starts_with("/debug/pprof/"))
    }
}

/// A range of the path. Paths are at most 64 KiB, so 32 bits hold any offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) const EMPTY: Self = Self { start: 0, end: 0 };

    pub(super) fn new(start: usize, end: usize) -> Self {
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: offset(start),
            end: offset(end),
        }
    }

    pub(super) fn of(self, path: &str) -> &str {
        path.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    pub(super) fn prefix(self, len: usize) -> Self {
        let end = self.start.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        Self {
            start: self.start,
            end: end.min(self.end),
        }
    }

    pub(super) fn skip(self, len: usize) -> Self {
        let start = self.start.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        Self {
            start: start.min(self.end),
            end: self.end,
        }
    }
}
