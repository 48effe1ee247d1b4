//! Questions instead of objects: who am I, may I, may they, whose token is this.

use http::StatusCode;
use serde_json::{Value, json};

use super::caller::User;
use super::json::{At as _, set};
use super::rbac::{Attributes, Authorizer, RbacObjects, Verdict};
use super::status::Refusal;

/// The review kinds: group, plural, kind, namespaced.
pub(super) const REVIEWS: [(&str, &str, &str, bool); 6] = [
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
        false,
    ),
    ("authentication.k8s.io", "tokenreviews", "TokenReview", false),
    (
        "authorization.k8s.io",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        true,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        false,
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "SubjectAccessReview",
        false,
    ),
];

/// Whether a group and plural name a review.
pub(super) fn is_review(group: &str, plural: &str) -> bool {
    REVIEWS.iter().any(|review| review.0 == group && review.1 == plural)
}

/// The message of a review kind, for reading protobuf.
pub(super) fn message(api_version: &str, kind: &str) -> Option<&'static str> {
    match (api_version, kind) {
        ("authentication.k8s.io/v1", "SelfSubjectReview") => Some("authentication.SelfSubjectReview"),
        ("authentication.k8s.io/v1", "TokenReview") => Some("authentication.TokenReview"),
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview") => Some("authorization.LocalSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => Some("authorization.SelfSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => Some("authorization.SelfSubjectRulesReview"),
        ("authorization.k8s.io/v1", "SubjectAccessReview") => Some("authorization.SubjectAccessReview"),
        _ => None,
    }
}

/// Answers a review.
///
/// # Errors
/// 400 when the body is no such review.
pub(super) fn answer(
    plural: &str,
    namespace: Option<&str>,
    mut review: Value,
    user: &User,
    objects: &RbacObjects,
    authorizer: &dyn Authorizer,
) -> Result<(StatusCode, Value), Refusal> {
    let kind = REVIEWS
        .iter()
        .find(|review| review.1 == plural)
        .map_or("", |review| review.2);
    if review.at("kind") != kind {
        return Err(Refusal::bad_request(format!("the body must be a `{kind}`")));
    }
    let status = match plural {
        "selfsubjectreviews" => json!({"userInfo": user.info()}),
        "tokenreviews" => {
            json!({"authenticated": false, "user": {}, "error": "the demo's cluster knows no token but the gateway's own"})
        }
        "selfsubjectrulesreviews" => rules(&review, user, objects),
        "selfsubjectaccessreviews" => access(review.at("spec"), user, objects, authorizer)?,
        _ => {
            let spec = review.at("spec");
            if namespace.is_some() && spec.at("resourceAttributes").at("namespace").as_str() != namespace {
                return Err(Refusal::bad_request(
                    "spec.resourceAttributes.namespace must match the namespace of the path",
                ));
            }
            access(spec, &subject(spec)?, objects, authorizer)?
        }
    };
    set(&mut review, &["status"], status);
    Ok((StatusCode::CREATED, review))
}

fn subject(spec: &Value) -> Result<User, Refusal> {
    let texts = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let user = User {
        name: spec.at("user").as_str().unwrap_or_default().to_owned(),
        uid: spec.at("uid").as_str().unwrap_or_default().to_owned(),
        groups: texts(spec.at("groups")),
        extra: spec
            .at("extra")
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), texts(values)))
            .collect(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        return Err(Refusal::bad_request("spec.user or spec.groups must be given"));
    }
    Ok(user)
}

fn access(spec: &Value, user: &User, objects: &RbacObjects, authorizer: &dyn Authorizer) -> Result<Value, Refusal> {
    let (resource, path) = (spec.at("resourceAttributes"), spec.at("nonResourceAttributes"));
    let of = |from: &'_ Value, name: &str| from.at(name).as_str().unwrap_or_default().to_owned();
    let verdict = if resource.is_object() && path.is_null() {
        let parts = ["verb", "group", "resource", "subresource", "namespace", "name"].map(|name| of(resource, name));
        let [verb, group, resource, subresource, namespace, name] = &parts;
        authorizer.decide(
            objects,
            &Attributes {
                user,
                verb,
                group,
                resource,
                subresource,
                namespace,
                name,
                path: None,
            },
        )
    } else if path.is_object() && resource.is_null() {
        let (verb, path) = (of(path, "verb"), of(path, "path"));
        let attributes = Attributes {
            user,
            verb: &verb,
            group: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: Some(&path),
        };
        authorizer.decide(objects, &attributes)
    } else {
        return Err(Refusal::bad_request(
            "exactly one of resourceAttributes and nonResourceAttributes must be given",
        ));
    };
    let Verdict { is_allowed, reason } = verdict;
    Ok(if reason.is_empty() {
        json!({"allowed": is_allowed})
    } else {
        json!({"allowed": is_allowed, "reason": reason})
    })
}

fn rules(review: &Value, user: &User, objects: &RbacObjects) -> Value {
    let namespace = review.at("spec").at("namespace").as_str().unwrap_or_default();
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for (_, rule) in objects.rules_for(user, namespace) {
        if rule.at("nonResourceURLs").is_array() {
            paths.push(json!({"verbs": rule.at("verbs"), "nonResourceURLs": rule.at("nonResourceURLs")}));
        } else {
            resources.push(rule.clone());
        }
    }
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
