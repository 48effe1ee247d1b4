//! From the request line to what is asked: Kubernetes' RequestInfo, as far as the demo serves it.

use http::Method;
use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A resource, a collection or a subresource.
    Resource(Resource),
    /// Anything else: discovery, version, health.
    Path(String),
}

/// A resource path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) group: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Reads a path. None: its escapes or its form make no sense.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .ok()
                .map(std::borrow::Cow::into_owned)
        };
        let parts = path
            .trim_matches('/')
            .split('/')
            .map(decode)
            .collect::<Option<Vec<_>>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["api", "v1", rest @ ..] if !rest.is_empty() => resource("", rest),
            ["apis", group, "v1", rest @ ..] if !rest.is_empty() => resource(group, rest),
            _ => Some(Self::Path(format!("/{}", parts.join("/")))),
        }
    }
}

fn resource(group: &str, rest: &[&str]) -> Option<Target> {
    let mut found = Resource {
        group: group.to_owned(),
        ..Resource::default()
    };
    let owned = |text: &&str| (*text).to_owned();
    let rest = match rest {
        // A namespace itself, and its own subresources, as RequestInfo reads them.
        ["namespaces", name] | ["namespaces", name, "status" | "finalize"] if group.is_empty() => {
            found.namespace = Some(owned(name));
            rest
        }
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
            found.namespace = Some(owned(namespace));
            rest
        }
        _ => rest,
    };
    let mut rest = rest.iter();
    found.plural = owned(rest.next()?);
    found.name = rest.next().map(owned);
    found.subresource = rest.next().map(owned);
    let is_empty = |part: &Option<String>| part.as_ref().is_some_and(String::is_empty);
    if is_empty(&found.name) || is_empty(&found.namespace) || found.plural == "watch" {
        return None;
    }
    Some(Target::Resource(found))
}

/// The verb of a resource request.
pub(super) fn verb(method: &Method, has_name: bool, is_watch: bool) -> Option<&'static str> {
    Some(match (method.as_str(), has_name) {
        ("GET" | "HEAD", _) if is_watch => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> (String, String, String, String, String) {
        match Target::parse(path) {
            Some(Target::Resource(r)) => (
                r.group,
                r.namespace.unwrap_or_default(),
                r.plural,
                r.name.unwrap_or_default(),
                r.subresource.unwrap_or_default(),
            ),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn resource_paths_are_read_as_request_info_does() {
        let cases = [
            ("/api/v1/pods", ["", "", "pods", "", ""]),
            ("/api/v1/namespaces", ["", "", "namespaces", "", ""]),
            ("/api/v1/namespaces/shop", ["", "shop", "namespaces", "shop", ""]),
            (
                "/api/v1/namespaces/shop/status",
                ["", "shop", "namespaces", "shop", "status"],
            ),
            (
                "/api/v1/namespaces/shop/pods/web-0/log",
                ["", "shop", "pods", "web-0", "log"],
            ),
            (
                "/apis/apps/v1/namespaces/shop/deployments/web",
                ["apps", "shop", "deployments", "web", ""],
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab",
                ["rbac.authorization.k8s.io", "", "clusterroles", "a:b", ""],
            ),
        ];
        for (path, [group, namespace, plural, name, subresource]) in cases {
            let expected = (
                group.into(),
                namespace.into(),
                plural.into(),
                name.into(),
                subresource.into(),
            );
            assert_eq!(read(path), expected, "{path}");
        }
        assert_eq!(
            Target::parse("/apis/apps/v1"),
            Some(Target::Path("/apis/apps/v1".to_owned()))
        );
        assert_eq!(Target::parse("/api/v1/namespaces//pods"), None);
    }
}
