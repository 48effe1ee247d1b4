//! The verb of a request as the API server computes it.

use std::fmt;

/// A verb. For resources one of Kubernetes' own or none; for other paths the method in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// A stream of changes.
    Watch,
    /// POST on a resource.
    Create,
    /// PUT on a resource.
    Update,
    /// PATCH, server-side apply included.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// The path form `/api/v1/proxy/…`, long gone from the API server but still parsed by it.
    Proxy,
    /// A method that means nothing on a resource: the API server computes an empty verb, and nobody is allowed it.
    Unknown,
    /// A method on a path that is no resource, in lower case, where it is none of the above.
    Method(Box<str>),
}

impl Verb {
    /// As RBAC rules spell it; empty for [`Verb::Unknown`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Proxy => "proxy",
            Self::Unknown => "",
            Self::Method(method) => method,
        }
    }

    /// The verb of a method on a resource. Methods are case-sensitive (RFC 9110 §9.1): `get` is unknown.
    pub(super) fn of_resource_method(method: &str) -> Self {
        match method {
            "POST" => Self::Create,
            "GET" | "HEAD" => Self::Get,
            "PUT" => Self::Update,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Unknown,
        }
    }

    /// The verb of a method on any other path: the method in lower case.
    pub(super) fn of_other_method(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::from_name(&method.to_lowercase()),
        }
    }

    /// The verb of this name; names that Kubernetes does not use for requests become [`Verb::Method`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "get" => Self::Get,
            "list" => Self::List,
            "watch" => Self::Watch,
            "create" => Self::Create,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "deletecollection" => Self::DeleteCollection,
            "proxy" => Self::Proxy,
            "" => Self::Unknown,
            other => Self::Method(other.into()),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
