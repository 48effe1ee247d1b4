//! What a body may say that it is: `apiVersion` and `kind`, which stand in no message and which the writer chooses.
//!
//! Shown is a word of a closed list alone, the built-in types, or one that the path says, which is recorded as it is anyway: of a custom
//! resource there is no other source, as nobody here reads the cluster's discovery. The form of a type is no reason to show a word: a
//! password may have it.

use crate::About;
use crate::shape;
use crate::table::TABLE;

/// Whether this is an API version that is built in, or the path's.
pub(crate) fn is_known_version(text: &str, about: &About<'_>) -> bool {
    TABLE.is_version(text) || (shape::is_api_version(text) && text == about.api_version())
}

/// Whether this is the name of a kind that is built in, or the path is about it, or about a list of it.
pub(crate) fn is_known_kind(text: &str, about: &About<'_>) -> bool {
    TABLE.is_kind(text) || (shape::is_kind(text) && is_kind_of(text, about.resource))
}

/// Whether this is the plural of a resource that is built in, or the path's; or the name of its kind, which some write in its place.
pub(crate) fn is_known_plural(text: &str, about: &About<'_>) -> bool {
    TABLE.is_plural(text) || text == about.resource || is_known_kind(text, about)
}

/// Whether this is an API group that is built in, or the path's.
pub(crate) fn is_known_group(text: &str, about: &About<'_>) -> bool {
    TABLE.is_group(text) || text == about.group
}

/// Whether a resource is the plural of this kind, as Kubernetes makes one (`meta.UnsafeGuessKindToResource`) and its users do: in lower case
/// with `s`, `es`, `ies` or nothing at its end, with or without hyphens. Whoever chooses another plural for a custom resource has its kind
/// masked.
fn is_kind_of(kind: &str, resource: &str) -> bool {
    let is_plural_of = |kind: &str| {
        if kind.is_empty() {
            return false;
        }
        let plural: String = resource.chars().filter(|character| *character != '-').collect();
        let end = match kind.strip_suffix('y') {
            Some(stem) if plural.strip_prefix(stem) == Some("ies") => return true,
            _ => plural.strip_prefix(kind),
        };
        matches!(end, Some("" | "s" | "es"))
    };
    let kind = kind.to_ascii_lowercase();
    is_plural_of(&kind) || kind.strip_suffix("list").is_some_and(is_plural_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_that_of_the_path_or_none_that_is_known() {
        for (kind, resource) in [
            ("Widget", "widgets"),
            ("WidgetList", "widgets"),
            ("Proxy", "proxies"),
            ("Gateway", "gateways"),
            ("Ingress", "ingresses"),
            ("Endpoints", "endpoints"),
            ("NetworkAttachmentDefinition", "network-attachment-definitions"),
        ] {
            assert!(is_kind_of(kind, resource), "{kind} {resource}");
        }
        for (kind, resource) in [
            ("Hunter", "widgets"),
            ("Wid", "widgets"),
            ("List", "widgets"),
            ("Widgets", "widget"),
            ("", "widgets"),
            ("List", ""),
            ("WidgetHunter", "widgets"),
        ] {
            assert!(!is_kind_of(kind, resource), "{kind} {resource}");
        }
    }
}
