//! How claims became a person, told to the person (`gatescribe whoami --claims`). Not for deciding: nothing here admits
//! or refuses anything.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Issuer;
use crate::claims::Claims;
use crate::issuer::Source;

/// What the issuer's mapping does with a token's claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Where the user name comes from, in words.
    pub username: String,
    /// Where the groups come from, in words; `None`: no groups are taken from this issuer.
    pub groups: Option<String>,
    /// Groups that the provider named and that do not count.
    pub dropped_groups: Vec<DroppedGroup>,
    /// The provider left the groups out because there are too many, or names a place where they are.
    pub overage: bool,
}

/// One group that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedGroup {
    /// As the provider named it.
    pub group: String,
    /// Why it does not count.
    pub reason: &'static str,
}

impl Issuer {
    /// Explains claims of a token that this issuer's mapping has already accepted.
    #[must_use]
    pub fn explain(&self, claims: &Map<String, Value>) -> Explanation {
        let claims = Claims::new(claims.clone());
        Explanation {
            username: words(&self.mapping.username),
            groups: self.mapping.groups.as_ref().map(words),
            dropped_groups: self.dropped(&claims),
            overage: is_overage(&claims),
        }
    }

    fn dropped(&self, claims: &Claims) -> Vec<DroppedGroup> {
        let named = |claim| claims.texts(claim).ok().flatten().unwrap_or_default();
        let drop = |group: &str, reason| DroppedGroup {
            group: group.to_owned(),
            reason,
        };
        let Some(Source::Claim { name, .. }) = &self.mapping.groups else {
            let reason = match &self.mapping.groups {
                None => "no claim of this provider is mapped to groups; set `claims.groups`",
                // What an expression leaves out only it can tell.
                Some(_) => return Vec::new(),
            };
            return named("groups").into_iter().map(|group| drop(group, reason)).collect();
        };
        let mut seen = std::collections::BTreeSet::new();
        let reason = |group: &str, is_new: bool| match (group.is_empty(), is_new) {
            (true, _) => Some("its name is empty"),
            (false, false) => Some("it is named twice"),
            (false, true) => None,
        };
        named(name)
            .into_iter()
            .filter_map(|group| reason(group, seen.insert(group)).map(|reason| drop(group, reason)))
            .collect()
    }
}

fn words(source: &Source) -> String {
    match source {
        Source::Claim { name, prefix } if prefix.is_empty() => format!("claim `{name}`"),
        Source::Claim { name, prefix } => format!("claim `{name}` behind `{prefix}`"),
        Source::Expression(program) => format!("expression `{}`", program.source()),
    }
}

/// The two ways in which providers say that there were too many (distributed claims, OpenID Connect Core §5.6.2).
fn is_overage(claims: &Claims) -> bool {
    if claims.has("groups") {
        return false;
    }
    let elsewhere = claims.value("_claim_names").and_then(|names| names.get("groups"));
    let marked = claims
        .value("hasgroups")
        .is_some_and(|value| value != &Value::Bool(false));
    elsewhere.is_some() || marked
}
