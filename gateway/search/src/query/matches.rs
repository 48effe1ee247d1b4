//! Whether an act is what a query asks for.

use super::{Key, Pattern, Query, What};
use crate::act::names;
use crate::row::{Row, Who};

/// What stands in a record where the rest of a service's path is left out.
const LEFT_OUT: &str = "…";

impl Query {
    /// Whether the act is asked for, whatever its time.
    #[must_use]
    pub fn matches(&self, row: &Row) -> bool {
        self.terms.iter().all(|term| match term.negated {
            true => !term.what.holds(row),
            false => term.what.holds(row) || term.what.may_hold(row),
        })
    }
}

impl What {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::Words(words) => has_words(row, words),
            Self::Status(tests) => row
                .outcome
                .as_ref()
                .and_then(|outcome| outcome.status)
                .is_some_and(|status| tests.iter().any(|test| test.holds(status))),
            Self::Ended(ends) => ends.iter().any(|end| end.holds(row.outcome.as_ref(), row.refused)),
            Self::From(addresses) => row
                .net
                .as_ref()
                .is_some_and(|net| addresses.iter().any(|address| address.holds(&net.ip))),
            Self::Field(key, patterns) => patterns.iter().any(|pattern| field_holds(row, *key, pattern)),
        }
    }

    /// Whether it may hold for all that the record tells: whoever asks about a path, whose rest no record of such a call has, is not told that
    /// there was none.
    fn may_hold(&self, row: &Row) -> bool {
        let Self::Field(Key::Path, patterns) = self else {
            return false;
        };
        let Some(told) = row.path.strip_suffix(LEFT_OUT).filter(|_| row.service.is_some()) else {
            return false;
        };
        let begins = |asked: &str| asked.starts_with(&told.to_lowercase());
        patterns.iter().filter_map(Pattern::exact).any(begins)
    }
}

fn has_words(row: &Row, words: &str) -> bool {
    let who = row.who.as_ref();
    let outcome = row.outcome.as_ref();
    let service = row.service.as_ref();
    let places = [
        Some(row.act.as_str()),
        Some(row.path.as_str()),
        row.agent.as_deref(),
        who.map(|who| who.user.as_str()),
        who.and_then(|who| who.email.as_deref()),
        row.name.as_deref(),
        service.and_then(|called| called.name.as_deref()),
        row.note.as_deref(),
        row.reason.as_deref(),
        outcome.and_then(|outcome| outcome.why.as_deref()),
    ];
    let via = row.via.iter().map(|acting| acting.user.as_str());
    places
        .into_iter()
        .flatten()
        .chain(via)
        .any(|text| text.to_lowercase().contains(words))
}

fn field_holds(row: &Row, key: Key, pattern: &Pattern) -> bool {
    let is = |text: &Option<String>| text.as_deref().is_some_and(|text| pattern.matches(text));
    match key {
        Key::User => row.who.as_ref().is_some_and(|who| is_user(who, pattern)),
        Key::As => is(&row.effective),
        Key::Via => row.via.iter().any(|acting| {
            let names = [acting.user.as_str(), acting.id.as_str(), &acting.short()];
            names.into_iter().any(|name| pattern.matches(name))
        }),
        Key::Verb => pattern.matches(&row.verb) || is(&row.action),
        Key::Resource => is_resource(row, pattern),
        Key::Group => row
            .group
            .as_deref()
            .is_some_and(|group| pattern.matches(if group.is_empty() { "core" } else { group })),
        Key::Namespace => is(&row.namespace),
        Key::Name => is(&row.name),
        Key::Cluster => is(&row.cluster),
        Key::Service => row.service.as_ref().is_some_and(|called| is(&called.name)),
        Key::Host => row.service.as_ref().is_some_and(|called| pattern.matches(&called.host)),
        Key::Method => pattern.matches(&row.method),
        Key::Path => {
            pattern.matches(&row.path) || row.service.is_some() && pattern.matches(&row.path.replace("%20", " "))
        }
        Key::Public => row.service.is_some() && pattern.matches(if row.is_public() { "true" } else { "false" }),
        Key::Kind => row.kinds.iter().any(|kind| pattern.matches(kind.name())),
        Key::Id => pattern.matches(&row.id) || is(&row.audit_id),
        Key::Reason => {
            is(&row.reason)
                || row.decision.as_ref().is_some_and(|decision| is(&decision.reason))
                || row.outcome.as_ref().is_some_and(|outcome| is(&outcome.reason))
        }
        Key::Agent => row.agent.as_deref().is_some_and(|agent| pattern.is_in(agent)),
        Key::Session => row.who.as_ref().is_some_and(|who| is(&who.session)) || is(&row.kubectl_session),
        Key::Source => pattern.matches(&row.source),
        Key::Recorded => row.is_session() && pattern.matches(if row.recording.is_some() { "true" } else { "false" }),
        // The parser gives these another form.
        Key::Status | Key::Outcome | Key::Ip | Key::Since | Key::Until => false,
    }
}

/// A person is known by user name, e-mail address and subject; of a name with `@`, what stands before it is enough, and so
/// is what stands behind the prefix that an issuer's names were given (`oidc:bob`).
pub(crate) fn is_user(who: &Who, pattern: &Pattern) -> bool {
    let names = [
        Some(who.user.as_str()),
        who.email.as_deref(),
        Some(who.sub.as_str()),
        Some(who.id.as_str()),
        who.origin.as_deref(),
    ];
    let behind_prefix = who
        .user
        .split_once(':')
        .filter(|_| !who.is_machine())
        .map(|(_, name)| name);
    names.into_iter().chain([behind_prefix]).flatten().any(|name| {
        let before_at = name.split_once('@').map(|(local, _)| local);
        pattern.matches(name) || before_at.is_some_and(|local| !local.is_empty() && pattern.matches(local))
    })
}

/// `pods` finds what is under pods too; `pods/exec` finds that alone; `pod` is taken for `pods`; a group may follow a dot.
fn is_resource(row: &Row, pattern: &Pattern) -> bool {
    let Some(resource) = row.resource.as_deref() else {
        return false;
    };
    if pattern.matches(resource) || names::singular(resource).is_some_and(|one| pattern.matches(one)) {
        return true;
    }
    if let Some(subresource) = row.subresource.as_deref()
        && pattern.matches(&format!("{resource}/{subresource}"))
    {
        return true;
    }
    let group = row.group.as_deref().unwrap_or_default();
    !group.is_empty() && pattern.matches(&format!("{resource}.{group}"))
}
