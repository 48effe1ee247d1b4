//! Who asks: one of two fixed bearer tokens, and on whose behalf (impersonation headers, as the API server reads them).

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::constant_time;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::rbac::Attributes;
use super::status::Refusal;

/// Whom the impersonator's token stands for.
pub const IMPERSONATOR: &str = "system:serviceaccount:platform:gatescribe-impersonator";
/// Whom the observer's token stands for.
pub const OBSERVER: &str = "system:serviceaccount:platform:gatescribe-observer";

/// The two bearer tokens of the gateway, chosen by whoever starts the server.
#[derive(Clone)]
pub struct Credentials {
    /// May impersonate, and nothing else.
    pub impersonator: String,
    /// May list and watch what the feeds need, and ask for reviews.
    pub observer: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// An authenticated user, as `authentication.k8s.io/v1 UserInfo` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The user's uid, empty if none.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// Further facts, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    fn service_account(name: &str) -> Self {
        let groups = service_account_groups(name).unwrap_or_default();
        Self {
            name: name.to_owned(),
            groups,
            ..Self::default()
        }
    }

    pub(super) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if let Some(info) = info.as_object_mut() {
            if !self.uid.is_empty() {
                info.insert("uid".to_owned(), json!(self.uid));
            }
            if !self.extra.is_empty() {
                info.insert("extra".to_owned(), json!(self.extra));
            }
        }
        info
    }
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn service_account_groups(name: &str) -> Option<Vec<String>> {
    let (namespace, _) = service_account(name)?;
    let own = format!("system:serviceaccounts:{namespace}");
    Some(vec![
        "system:serviceaccounts".to_owned(),
        own,
        "system:authenticated".to_owned(),
    ])
}

/// The user behind the bearer token.
///
/// # Errors
/// 401 for any other token, and for none.
pub(super) fn authenticate(credentials: &Credentials, headers: &HeaderMap) -> Result<User, Refusal> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.ok_or_else(Refusal::unauthorized)?.as_bytes();
    let is = |known: &str| constant_time::verify_slices_are_equal(known.as_bytes(), token).is_ok();
    if is(&credentials.impersonator) {
        Ok(User::service_account(IMPERSONATOR))
    } else if is(&credentials.observer) {
        Ok(User::service_account(OBSERVER))
    } else {
        Err(Refusal::unauthorized())
    }
}

/// The user that the request is to be done as. `may` answers whether the authenticated one may impersonate.
///
/// # Errors
/// 400 for headers that make no sense, 403 when one of them is not permitted.
pub(super) fn impersonate(
    user: User,
    headers: &HeaderMap,
    may: impl Fn(&Attributes<'_>) -> bool,
) -> Result<User, Refusal> {
    let values = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    let asked = User {
        name: values("impersonate-user").into_iter().next().unwrap_or_default(),
        uid: values("impersonate-uid").into_iter().next().unwrap_or_default(),
        groups: values("impersonate-group"),
        extra: extras(headers)?,
    };
    if asked == User::default() {
        return Ok(user);
    }
    if asked.name.is_empty() {
        return Err(Refusal::bad_request(
            "requested groups, uid or extra without impersonating a user",
        ));
    }
    permitted(&user, &asked, may)?;
    Ok(complete(asked))
}

fn extras(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Refusal> {
    let mut extras: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix("impersonate-extra-") else {
            continue;
        };
        let key = percent_decode_str(key)
            .decode_utf8()
            .map_err(|_| Refusal::bad_request("an extra's key is not UTF-8"))?;
        extras
            .entry(key.into_owned())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Ok(extras)
}

fn permitted(user: &User, asked: &User, may: impl Fn(&Attributes<'_>) -> bool) -> Result<(), Refusal> {
    let ask = |group: &'static str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            user,
            verb: "impersonate",
            group,
            resource,
            subresource,
            namespace,
            name,
            path: None,
        };
        if may(&attributes) {
            Ok(())
        } else {
            Err(Refusal::forbidden(attributes.denial()))
        }
    };
    match service_account(&asked.name) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
        None => ask("", "users", "", "", &asked.name)?,
    }
    for group in &asked.groups {
        ask("", "groups", "", "", group)?;
    }
    if !asked.uid.is_empty() {
        ask("authentication.k8s.io", "uids", "", "", &asked.uid)?;
    }
    for (key, values) in &asked.extra {
        for value in values {
            ask("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    Ok(())
}

/// Adds the groups that the API server adds by itself.
fn complete(mut asked: User) -> User {
    if asked.groups.is_empty()
        && let Some(groups) = service_account_groups(&asked.name)
    {
        asked.groups = groups;
    }
    let own = if asked.name == "system:anonymous" {
        "system:unauthenticated"
    } else {
        "system:authenticated"
    };
    if !asked.groups.iter().any(|group| group == own) {
        asked.groups.push(own.to_owned());
    }
    asked
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn credentials() -> Credentials {
        Credentials {
            impersonator: "one".to_owned(),
            observer: "two".to_owned(),
        }
    }

    #[test]
    fn only_the_two_tokens_are_known() {
        let user = |token| authenticate(&credentials(), &headers(&[("authorization", token)]));
        assert_eq!(user("Bearer one").unwrap().name, IMPERSONATOR);
        assert_eq!(user("Bearer two").unwrap().name, OBSERVER);
        assert_eq!(user("Bearer three").unwrap_err(), Refusal::unauthorized());
        assert_eq!(
            authenticate(&credentials(), &HeaderMap::new()).unwrap_err(),
            Refusal::unauthorized()
        );
    }

    #[test]
    fn user_groups_uid_and_extras_are_taken_over() {
        let headers = headers(&[
            ("impersonate-user", "alice"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "all"),
            ("impersonate-uid", "u-1"),
            ("impersonate-extra-example.org%2fsid", "s"),
        ]);
        let alice = impersonate(User::service_account(IMPERSONATOR), &headers, |_| true).unwrap();
        assert_eq!(alice.name, "alice");
        assert_eq!(alice.uid, "u-1");
        assert_eq!(alice.groups, ["dev", "all", "system:authenticated"]);
        assert_eq!(alice.extra["example.org/sid"], ["s"]);
    }

    #[test]
    fn one_forbidden_group_refuses_the_whole_request() {
        let headers = headers(&[("impersonate-user", "alice"), ("impersonate-group", "system:masters")]);
        let may = |attributes: &Attributes<'_>| attributes.name != "system:masters";
        let refusal = impersonate(User::service_account(IMPERSONATOR), &headers, may).unwrap_err();
        assert_eq!(refusal.code, 403);
    }

    #[test]
    fn groups_without_a_user_are_refused() {
        let refusal = impersonate(User::default(), &headers(&[("impersonate-group", "dev")]), |_| true).unwrap_err();
        assert_eq!(refusal.code, 400);
    }
}
