//! Entries for the fuzzer.

use std::sync::LazyLock;

use crate::{About, Body, DigestKey, Limits, Masker, Node, Recorded, Side, diff};

/// Content types, chosen by the first byte of the input.
pub(crate) const FORMATS: [&str; 8] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/cbor",
];

const RESOURCES: [(&str, &str, &str); 6] = [
    ("", "v1", "secrets"),
    ("", "v1", "pods"),
    ("", "v1", "configmaps"),
    ("apps", "v1", "deployments"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("example.com", "v1", "widgets"),
];

static MASKER: LazyLock<Masker> = LazyLock::new(|| {
    let limits = Limits {
        document: MOST,
        ..Limits::default()
    };
    Masker::new(DigestKey::new(&[7; 32], "fuzz"), limits, true)
});

const MOST: usize = 4 << 10;

/// The first byte chooses the content type, what follows is the body: a document that keeps its limits and is read back as it
/// is, or a reason.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_payload(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    let choice = usize::from(*first);
    let content_type = FORMATS.get(choice % FORMATS.len()).copied();
    let Some((group, version, resource)) = RESOURCES.get(choice / FORMATS.len() % RESOURCES.len()).copied() else {
        return;
    };
    let about = About {
        group,
        version,
        resource,
        subresource: "",
        side: if choice < 128 { Side::Request } else { Side::Answer },
    };
    let body = Body {
        bytes,
        is_whole: true,
        content_type,
        content_encoding: None,
    };
    let recorded = MASKER.mask(&body, &about);
    assert_eq!(
        recorded,
        MASKER.mask(&body, &about),
        "the same body is another document"
    );
    let Recorded::Document(document) = recorded else { return };
    assert!(document.json().len() <= MOST, "a document is longer than its limit");
    assert_eq!(
        Node::of_json(document.json()).as_ref(),
        Some(document.root()),
        "a document is not read back as it is"
    );
    assert!(
        diff(document.root(), document.root()).changes.is_empty(),
        "a document differs from itself"
    );
}
