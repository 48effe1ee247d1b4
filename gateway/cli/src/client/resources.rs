//! Which resource a person means: `deploy`, `deployment`, `deployments.apps`, as the cluster itself names them.
//!
//! Read through the gateway like every call, from the aggregated discovery (KEP-3352, two requests), or group by group
//! where an API server does not have it. Chosen as kubectl chooses: by the plural, the singular, then the short name; the
//! first group in the cluster's own order.

use http::{Request, header};
use serde_json::Value;

use super::http::{Client, HttpError};
use crate::Exit;
use crate::client::trouble::Trouble;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// One resource of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) group: String,
    pub(super) plural: String,
    singular: String,
    short: Vec<String>,
}

/// All resources of a cluster, in its own order of groups.
pub(super) async fn read(client: &Client, server: &str, token: &str) -> Result<Vec<Known>, HttpError> {
    let get = async |path: &str| fetch(client, &format!("{}{path}", server.trim_end_matches('/')), token).await;
    let mut known = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = get(path).await?;
        if answer.get("items").is_some() {
            known.extend(aggregated(&answer));
            continue;
        }
        for (group, path) in versions(&answer) {
            known.extend(of_version(&group, &get(&path).await?));
        }
    }
    Ok(known)
}

async fn fetch(client: &Client, url: &str, token: &str) -> Result<Value, HttpError> {
    let request = Request::get(url)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, AGGREGATED)
        .body(bytes::Bytes::new())
        .map_err(|_| HttpError::Address(url.to_owned()))?;
    let answer = client.send(request).await?;
    // What is no JSON, or a refusal, names no resources: the caller says that none were found.
    Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
}

fn aggregated(answer: &Value) -> Vec<Known> {
    let groups = list(answer, "items").iter().flat_map(|group| {
        let name = text(group.get("metadata").unwrap_or(&Value::Null), "name");
        let resources = list(group, "versions")
            .iter()
            .flat_map(|version| list(version, "resources"));
        resources.map(move |resource| known(&name, resource, "resource", "singularResource"))
    });
    groups.collect()
}

/// Group and path of each version that a list without resources names.
fn versions(answer: &Value) -> Vec<(String, String)> {
    let core = list(answer, "versions")
        .iter()
        .filter_map(|version| Some((String::new(), format!("/api/{}", version.as_str()?))));
    let groups = list(answer, "groups").iter().flat_map(|group| {
        let name = text(group, "name");
        list(group, "versions")
            .iter()
            .map(move |version| (name.clone(), format!("/apis/{}", text(version, "groupVersion"))))
    });
    core.chain(groups).collect()
}

fn of_version(group: &str, answer: &Value) -> Vec<Known> {
    let whole = |resource: &&Value| !text(resource, "name").contains('/');
    list(answer, "resources")
        .iter()
        .filter(whole)
        .map(|resource| known(group, resource, "name", "singularName"))
        .collect()
}

fn known(group: &str, resource: &Value, plural: &str, singular: &str) -> Known {
    let short = list(resource, "shortNames").iter();
    Known {
        group: group.to_owned(),
        plural: text(resource, plural),
        singular: text(resource, singular),
        short: short.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value
        .get(member)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn text(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The resource of this name, of this group where one is said.
pub(super) fn find<'k>(known: &'k [Known], name: &str, group: Option<&str>) -> Result<&'k Known, Trouble> {
    let name = name.to_ascii_lowercase();
    let group = group.map(without_version);
    let fits = |found: &&Known| group.is_none_or(|group| found.group == group);
    let by = |is: &dyn Fn(&Known) -> bool| known.iter().filter(fits).find(|found| is(found));
    by(&|found| found.plural == name)
        .or_else(|| by(&|found| found.singular == name))
        .or_else(|| by(&|found| found.short.contains(&name)))
        .ok_or_else(|| unknown(known, &name, group))
}

/// `v1.apps` is the group `apps`, as in kubectl.
fn without_version(group: &str) -> &str {
    let is_version = |text: &str| {
        text.strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    match group.split_once('.') {
        Some((version, rest)) if is_version(version) => rest,
        _ => group,
    }
}

fn unknown(known: &[Known], name: &str, group: Option<&str>) -> Trouble {
    let asked = group.map_or_else(|| name.to_owned(), |group| format!("{name}.{group}"));
    let elsewhere = known
        .iter()
        .find(|found| found.plural == name || found.singular == name || found.short.iter().any(|short| short == name));
    let trouble = Trouble::new(Exit::NotFound, format!("the cluster has no resource `{asked}`"));
    match elsewhere {
        Some(found) => trouble.remedy(format!("name it as it is: {}.{}", found.plural, found.group)),
        None => trouble.remedy("kubectl api-resources lists what there is"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster() -> Vec<Known> {
        let core = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "singularResource": "pod", "shortNames": ["po"], "subresources": [{"subresource": "log"}]},
            {"resource": "events", "singularResource": "event", "shortNames": ["ev"]},
        ]}]}]});
        let rest = json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "singularResource": "deployment", "shortNames": ["deploy"]}]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [
                {"resource": "events", "singularResource": "event", "shortNames": ["ev"]}]}]},
        ]});
        [aggregated(&core), aggregated(&rest)].concat()
    }

    fn named(name: &str, group: Option<&str>) -> Option<(String, String)> {
        let known = cluster();
        find(&known, name, group)
            .ok()
            .map(|found| (found.plural.clone(), found.group.clone()))
    }

    #[test]
    fn what_kubectl_understands_is_understood() {
        for name in ["deploy", "deployment", "deployments", "Deployment"] {
            for group in [None, Some("apps"), Some("v1.apps")] {
                assert_eq!(
                    named(name, group).unwrap(),
                    ("deployments".to_owned(), "apps".to_owned()),
                    "{name}"
                );
            }
        }
        assert_eq!(named("po", None).unwrap().0, "pods");
        assert_eq!(named("ev", None).unwrap().1, "", "the cluster's own order of groups");
        assert_eq!(named("ev", Some("events.k8s.io")).unwrap().1, "events.k8s.io");
    }

    #[test]
    fn what_there_is_not_is_said_with_where_it_is() {
        let known = cluster();
        let wrong = find(&known, "deploy", Some("extensions")).unwrap_err().text();
        assert!(
            wrong.contains("deploy.extensions") && wrong.contains("deployments.apps"),
            "{wrong}"
        );
        let none = find(&known, "deploymants", None).unwrap_err().text();
        assert!(
            none.contains("no resource `deploymants`") && none.contains("api-resources"),
            "{none}"
        );
    }

    #[test]
    fn an_api_server_without_aggregated_discovery_is_read_by_group() {
        let core = json!({"kind": "APIVersions", "versions": ["v1"]});
        let groups = json!({"groups": [{"name": "apps", "versions": [{"groupVersion": "apps/v1"}]}]});
        assert_eq!(versions(&core), [(String::new(), "/api/v1".to_owned())]);
        assert_eq!(versions(&groups), [("apps".to_owned(), "/apis/apps/v1".to_owned())]);
        let list = json!({"resources": [
            {"name": "deployments", "singularName": "deployment", "shortNames": ["deploy"]}, {"name": "deployments/scale"}]});
        let found = of_version("apps", &list);
        assert_eq!(found.len(), 1, "subresources are no resources");
        assert_eq!(find(&found, "deploy", None).unwrap().plural, "deployments");
    }

    #[test]
    fn answers_of_any_shape_name_nothing_and_break_nothing() {
        for odd in [
            json!(null),
            json!([]),
            json!({"items": {}}),
            json!({"items": [1, {"versions": [null]}], "groups": [[]]}),
        ] {
            assert_eq!((aggregated(&odd), of_version("", &odd)), (vec![], vec![]));
            versions(&odd);
        }
    }
}
