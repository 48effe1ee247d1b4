//! From a target and a method to [`RequestFacts`]: the API server's `RequestInfoFactory.NewRequestInfo`
//! (k8s.io/apiserver v0.36, pkg/endpoints/request/requestinfo.go), step by step.

use std::borrow::Cow;

use super::action::{Action, Kind};
use super::facts::{Name, RequestFacts, Span};
use super::options::{ListOptions, Selectors};
use super::target::Target;
use super::verb::Verb;

/// What the classifier must know besides the target.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    /// The HTTP method as it came; methods are case-sensitive.
    pub method: &'a str,
    /// The client asks to switch protocols (`Upgrade`, or a WebSocket).
    pub wants_upgrade: bool,
    /// The client asks to act as somebody else (`kubectl --as`).
    pub impersonates: bool,
}

/// Why an accepted target has no facts: the client's fault, 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// `/api/v1/watch` or `/api/v1/proxy` with nothing behind it.
    #[error("the path ends behind `watch` or `proxy`: no resource is named")]
    NoResource,
    /// A selector that is no UTF-8 once decoded; no client sends one, and readers disagree about it.
    #[error("a selector in the query is not valid UTF-8")]
    SelectorNotText,
}

impl RequestFacts {
    /// Classifies a request. Unknown groups, versions and resources are no error: they may be custom resources.
    ///
    /// # Errors
    /// See [`ClassifyError`].
    pub fn classify(target: &Target, wire: Wire<'_>) -> Result<Self, ClassifyError> {
        // Within a proxy tail the path may be any bytes; no decision reads that part.
        let path: Box<str> = String::from_utf8_lossy(target.path()).into();
        let mut facts = Self {
            method: known_method(wire.method),
            verb: Verb::of_other_method(wire.method),
            is_resource: false,
            prefix: Span::EMPTY,
            group: Span::EMPTY,
            version: Span::EMPTY,
            namespace: Span::EMPTY,
            resource: Span::EMPTY,
            subresource: Span::EMPTY,
            name: Name::Path(Span::EMPTY),
            parts: Span::EMPTY,
            field_selector: None,
            label_selector: None,
            action: Action::Plain,
            kind: Kind::Effect,
            path,
        };
        let resource = ResourcePath::read(&facts.path);
        facts.prefix = resource.prefix;
        if let Some(resource) = resource.inner {
            facts.fill(target, wire, &resource)?;
        }
        facts.kind = facts.kind_of(wire);
        Ok(facts)
    }

    fn fill(&mut self, target: &Target, wire: Wire<'_>, path: &InResource) -> Result<(), ClassifyError> {
        self.is_resource = true;
        self.group = path.group;
        self.version = path.version;
        let mut rest = path.rest;
        let special = match rest.first(&self.path) {
            "watch" => Some(Verb::Watch),
            "proxy" => Some(Verb::Proxy),
            _ => None,
        };
        let by_path = special.is_some();
        if by_path {
            rest = rest.after_first(&self.path).ok_or(ClassifyError::NoResource)?;
        }
        self.verb = special.unwrap_or_else(|| Verb::of_resource_method(wire.method));
        self.fill_object(rest);
        self.refine_verb(target, by_path)?;
        self.action = Action::of_resource(self.api_group(), self.resource(), self.subresource(), &self.verb);
        Ok(())
    }

    /// `namespaces/N/…` is the object behind it, unless that is a subresource of the namespace itself.
    fn fill_object(&mut self, mut rest: Segments) {
        if rest.first(&self.path) == "namespaces"
            && let Some(behind) = rest.after_first(&self.path)
        {
            self.namespace = behind.first_span(&self.path);
            if let Some(inner) = behind.after_first(&self.path)
                && !matches!(inner.first(&self.path), "status" | "finalize")
            {
                rest = inner;
            }
        }
        self.parts = rest.0;
        self.resource = rest.first_span(&self.path);
        let Some(rest) = rest.after_first(&self.path) else {
            return;
        };
        self.name = Name::Path(rest.first_span(&self.path));
        if self.verb != Verb::Proxy
            && let Some(rest) = rest.after_first(&self.path)
        {
            self.subresource = rest.first_span(&self.path);
        }
    }

    /// Without a name, a get is a list or watch and a delete is a deletecollection.
    fn refine_verb(&mut self, target: &Target, by_path: bool) -> Result<(), ClassifyError> {
        if self.name().is_empty() && self.verb == Verb::Get {
            let options = ListOptions::read(&target.query())?;
            self.verb = if options.watch { Verb::Watch } else { Verb::List };
            if let Some(name) = options.name {
                self.name = Name::Selector(name);
            }
        } else if self.name().is_empty() && self.verb == Verb::Delete {
            self.verb = Verb::DeleteCollection;
        }
        if !by_path && matches!(self.verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
            let selectors = Selectors::read(&target.query())?;
            self.field_selector = selectors.field;
            self.label_selector = selectors.label;
        }
        Ok(())
    }

    /// What is not known to be a plain read is an effect.
    fn kind_of(&self, wire: Wire<'_>) -> Kind {
        let reads = matches!(wire.method, "GET" | "HEAD");
        // Other groups have such subresources too (virtual machines, for one); they are no plain reads either.
        let streams = matches!(self.subresource(), "exec" | "attach" | "portforward" | "proxy");
        let plain = !wire.wants_upgrade && !wire.impersonates && !streams && !self.action.enters();
        if reads && plain { Kind::PureRead } else { Kind::Effect }
    }
}

fn known_method(method: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let known = KNOWN.iter().find(|known| **known == method);
    known.map_or_else(|| Cow::Owned(method.to_owned()), |known| Cow::Borrowed(*known))
}

/// A path as far as its first segments tell.
struct ResourcePath {
    /// `api` or `apis`; set as soon as the path has three segments, as in Go.
    prefix: Span,
    inner: Option<InResource>,
}

struct InResource {
    group: Span,
    version: Span,
    rest: Segments,
}

impl ResourcePath {
    fn read(path: &str) -> Self {
        let nothing = Self {
            prefix: Span::EMPTY,
            inner: None,
        };
        let all = Segments::of(path);
        let (Some(second), true) = (all.after_first(path), matches!(all.first(path), "api" | "apis")) else {
            return nothing;
        };
        let Some(third) = second.after_first(path) else {
            return nothing;
        };
        let prefix = all.first_span(path);
        if all.first(path) == "api" {
            let version = second.first_span(path);
            return Self {
                prefix,
                inner: Some(InResource {
                    group: Span::EMPTY,
                    version,
                    rest: third,
                }),
            };
        }
        let inner = third.after_first(path).map(|rest| InResource {
            group: second.first_span(path),
            version: third.first_span(path),
            rest,
        });
        Self { prefix, inner }
    }
}

/// One or more segments of a path, trimmed of slashes at both ends.
#[derive(Clone, Copy)]
struct Segments(Span);

impl Segments {
    fn of(path: &str) -> Self {
        let end = path.trim_end_matches('/').len();
        let start = path.len() - path.trim_start_matches('/').len();
        Self(Span::new(start.min(end), end))
    }

    fn first_span(self, path: &str) -> Span {
        let text = self.0.of(path);
        self.0.prefix(text.find('/').unwrap_or(text.len()))
    }

    fn first(self, path: &str) -> &str {
        self.first_span(path).of(path)
    }

    fn after_first(self, path: &str) -> Option<Self> {
        let at = self.0.of(path).find('/')?;
        Some(Self(self.0.skip(at + 1)))
    }
}
