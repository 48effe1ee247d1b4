//! Where two policies say something else of the same call: a shared policy for many clusters, and what one of them has.
//!
//! What is asked is made from the two: every user, group, verb, namespace, resource and path that either names, and one of each that
//! neither does, all together. As rules look at names alone, no call can be told apart from one of these, and so two policies between
//! which nothing is found mean the same, whatever their text. Kinds of callers, verbs and objects that all rules treat alike are asked
//! about once. Where that would be more than [`MOST_ASKED`] calls some of them are left out, and that is said.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::evaluate::{Asked, Resource, User, Verdict};
use crate::known;
use crate::mutant::Bend;
use crate::policy::{Level, Policy, Rule, Scope, Stage, Stages};

/// Calls that are asked about at most.
pub const MOST_ASKED: u64 = 1_000_000;
/// Kinds of callers, and of objects, that are looked at.
const MOST_KINDS: usize = 100_000;
/// Of more groups than these not all are combined.
const COMBINED: usize = 7;
/// Up to so many pairs of rules are compared for the shortest list of changes.
const MOST_PAIRS: usize = 4_000_000;
const VERBS_OF_PATHS: [&str; 6] = ["head", "post", "put", "options", "trace", "connect"];
const VERBS_OF_RESOURCES: [&str; 6] = ["list", "watch", "create", "update", "deletecollection", "proxy"];

/// What one policy says of a call, as far as it changes what is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Effect {
    /// How much is kept.
    pub level: Level,
    /// At which stages no event is written.
    pub omit_stages: Stages,
    /// Whether `managedFields` are taken out of bodies.
    pub omit_managed_fields: bool,
}

impl Effect {
    fn of(verdict: Verdict) -> Self {
        let omits_all = Stage::ALL.into_iter().all(|stage| verdict.omit_stages.contains(stage));
        if verdict.level == Level::None || omits_all {
            return Self {
                level: Level::None,
                omit_stages: Stages::default(),
                omit_managed_fields: false,
            };
        }
        Self {
            level: verdict.level,
            omit_stages: verdict.omit_stages,
            omit_managed_fields: verdict.omit_managed_fields && verdict.level >= Level::Request,
        }
    }
}

/// Calls of which the two say different things: each verb by each caller on each object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Callers.
    pub who: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Objects and paths.
    pub what: Vec<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What the shared policy says.
    pub shared: Effect,
    /// Which of its rules decides, from 0; `None` where none matches.
    pub shared_rule: Option<usize>,
    /// What the other one says.
    pub other: Effect,
    /// Which of its rules decides.
    pub other_rule: Option<usize>,
    /// Of what.
    pub calls: Vec<Calls>,
}

/// A rule that only one of them has, in words, with its place from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Only the shared policy has it, there.
    Shared(usize, String),
    /// Only the other one.
    Other(usize, String),
}

/// Two policies beside one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Where they say something else; what is kept less at the other one comes first.
    pub differences: Vec<Difference>,
    /// How their texts differ, rule by rule. Rules that differ may mean the same.
    pub lines: Vec<Line>,
    /// Kinds of calls that both were asked about.
    pub asked: u64,
    /// Whether these were all that could differ.
    pub whole: bool,
}

/// Compares a policy with the shared one.
#[must_use]
pub fn compare(shared: &Policy, other: &Policy) -> Comparison {
    let rules: Vec<&Rule> = shared.rules.iter().chain(&other.rules).collect();
    let names = Names::of(&rules);
    let mut whole = true;
    let callers = kinds(&rules, names.callers(&mut whole), "anybody", |rule, caller: &Caller| {
        caller.asked(|user| rule.user(user, Bend::default()))
    });
    let verbs = |without: &[&str]| {
        let all = names.verbs.iter().filter(|verb| !without.contains(&verb.as_str()));
        let all = all.map(|verb| (verb.clone(), verb.clone()));
        let fresh = std::iter::once((fresh(&names.verbs, "other"), "any other verb".to_owned()));
        kinds(&rules, all.chain(fresh).collect(), "any verb", |rule, verb: &String| {
            rule.verb(verb, Bend::default())
        })
    };
    let about = |rule: &Rule, what: &What| what.asked(|asked| rule.scope_matches(&asked, Bend::default()));
    let resources = kinds(&rules, names.resources(&mut whole), "any resource", about);
    let paths = kinds(&rules, names.paths(), "any path that is no resource's", about);
    let halves = [(verbs(&VERBS_OF_PATHS), resources), (verbs(&VERBS_OF_RESOURCES), paths)];
    let mut found: BTreeMap<Key, BTreeMap<Spot, Vec<usize>>> = BTreeMap::new();
    let mut asked = 0;
    for (half, (verbs, objects)) in halves.iter().enumerate() {
        let sizes = [callers.len(), verbs.len(), objects.len()];
        let total = sizes.iter().fold(1_u64, |all, size| all.saturating_mul(to_u64(*size)));
        let most = total.min(MOST_ASKED / 2);
        whole &= most == total;
        for number in 0..most {
            let [caller, verb, object] = spot(spread(number, most, total), sizes);
            let (Some(by), Some(does), Some(what)) = (callers.get(caller), verbs.get(verb), objects.get(object)) else {
                continue;
            };
            asked += 1;
            let verdicts = by.first.asked(|user| {
                what.first.asked(|asked| {
                    let asked = Asked {
                        user: user.copied(),
                        verb: &does.first,
                        ..asked
                    };
                    (shared.evaluate(&asked), other.evaluate(&asked))
                })
            });
            let (here, there) = (Effect::of(verdicts.0), Effect::of(verdicts.1));
            if here != there {
                let key = (there.level, here, verdicts.0.rule, there, verdicts.1.rule);
                found
                    .entry(key)
                    .or_default()
                    .entry((half, caller, object))
                    .or_default()
                    .push(verb);
            }
        }
    }
    let differences = found
        .into_iter()
        .map(|((_, shared, shared_rule, other, other_rule), spots)| Difference {
            shared,
            shared_rule,
            other,
            other_rule,
            calls: merged(spots, &callers, &halves),
        });
    Comparison {
        differences: differences.collect(),
        lines: lines(shared, other),
        asked,
        whole,
    }
}

type Key = (Level, Effect, Option<usize>, Effect, Option<usize>);
/// Resources or paths, caller, object.
type Spot = (usize, usize, usize);

/// What all rules treat alike: one of them, and the words for all.
struct Kind<T> {
    first: T,
    words: Vec<String>,
}

/// Puts together what the same rules match.
fn kinds<T>(rules: &[&Rule], all: Vec<(T, String)>, every: &str, matches: impl Fn(&Rule, &T) -> bool) -> Vec<Kind<T>> {
    let mut known: HashMap<Vec<bool>, usize> = HashMap::new();
    let mut kinds: Vec<Kind<T>> = Vec::new();
    for (one, words) in all {
        let matching: Vec<bool> = rules.iter().map(|rule| matches(rule, &one)).collect();
        let at = *known.entry(matching).or_insert(kinds.len());
        match kinds.get_mut(at) {
            Some(kind) => kind.words.push(words),
            None => kinds.push(Kind {
                first: one,
                words: vec![words],
            }),
        }
    }
    if let [only] = kinds.as_mut_slice() {
        only.words = vec![every.to_owned()];
    }
    kinds
}

/// A number below `total` for each below `most`, far from one another, so that a part shows something of all.
fn spread(number: u64, most: u64, total: u64) -> u64 {
    if most == total {
        return number;
    }
    let at = u128::from(number) * u128::from(total) / u128::from(most.max(1));
    u64::try_from(at).unwrap_or(0)
}

fn spot(number: u64, [callers, verbs, _]: [usize; 3]) -> [usize; 3] {
    let (callers, verbs) = (to_u64(callers).max(1), to_u64(verbs).max(1));
    let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    [
        at(number % callers),
        at(number / callers % verbs),
        at(number / callers / verbs),
    ]
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The kinds of verbs, and of what is asked for: of resources, and of paths that are none.
type Half = (Vec<Kind<String>>, Vec<Kind<What>>);

/// As few lists as say it exactly.
fn merged(spots: BTreeMap<Spot, Vec<usize>>, callers: &[Kind<Caller>], halves: &[Half; 2]) -> Vec<Calls> {
    let mut by_object: BTreeMap<(usize, Vec<usize>, usize), Vec<usize>> = BTreeMap::new();
    for ((half, caller, object), verbs) in spots {
        by_object.entry((half, verbs, object)).or_default().push(caller);
    }
    let mut whole: BTreeMap<(usize, Vec<usize>, Vec<usize>), Vec<usize>> = BTreeMap::new();
    for ((half, verbs, object), by) in by_object {
        whole.entry((half, verbs, by)).or_default().push(object);
    }
    let calls = whole.into_iter().filter_map(|((half, verbs, by), objects)| {
        let (all_verbs, all_objects) = halves.get(half)?;
        Some(Calls {
            who: words(callers, &by, "anybody"),
            verbs: words(all_verbs, &verbs, "any verb"),
            what: words(
                all_objects,
                &objects,
                if half == 0 {
                    "any resource"
                } else {
                    "any path that is no resource's"
                },
            ),
        })
    });
    calls.collect()
}

fn words<T>(kinds: &[Kind<T>], some: &[usize], every: &str) -> Vec<String> {
    if some.len() == kinds.len() {
        return vec![every.to_owned()];
    }
    some.iter()
        .filter_map(|at| kinds.get(*at))
        .flat_map(|kind| kind.words.iter().cloned())
        .collect()
}

/// Whoever calls.
struct Caller {
    name: Option<String>,
    groups: Vec<String>,
}

impl Caller {
    fn asked<T>(&self, ask: impl FnOnce(Option<&User<'_>>) -> T) -> T {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let user = self.name.as_deref().map(|name| User { name, groups: &groups });
        ask(user.as_ref())
    }
}

/// What a call is about.
struct What {
    path: String,
    /// Group, resource, subresource, namespace, name.
    resource: Option<[String; 5]>,
}

impl What {
    fn asked<T>(&self, ask: impl FnOnce(Asked<'_>) -> T) -> T {
        let resource = self
            .resource
            .as_ref()
            .map(|[group, resource, subresource, namespace, name]| Resource {
                group,
                resource,
                subresource,
                namespace,
                name,
            });
        ask(Asked {
            user: None,
            verb: "",
            path: &self.path,
            resource,
        })
    }
}

/// All that rules name.
#[derive(Default)]
struct Names {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    verbs: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    api_groups: BTreeSet<String>,
    /// With the API group that it is named for; `*` among them.
    resources: BTreeSet<(String, String)>,
    subresources: BTreeSet<String>,
    object_names: BTreeSet<String>,
    urls: BTreeSet<String>,
}

/// A word that is not among them.
fn fresh(among: &BTreeSet<String>, begin: &str) -> String {
    let mut word = format!("~{begin}");
    while among.iter().any(|one| one.starts_with(&word)) {
        word.push('~');
    }
    word
}

impl Names {
    fn of(rules: &[&Rule]) -> Self {
        let mut names = Self::default();
        let add = |set: &mut BTreeSet<String>, list: &[Box<str>]| set.extend(list.iter().map(ToString::to_string));
        for rule in rules {
            add(&mut names.users, &rule.users);
            add(&mut names.groups, &rule.user_groups);
            add(&mut names.verbs, &rule.verbs);
            match &rule.scope {
                Scope::Any => {}
                Scope::Paths(urls) => add(&mut names.urls, urls),
                Scope::Resources { namespaces, resources } => {
                    add(&mut names.namespaces, namespaces);
                    for one in resources {
                        add(&mut names.object_names, &one.names);
                        if &*one.group != "*" {
                            names.api_groups.insert(one.group.to_string());
                        }
                        for entry in &one.resources {
                            let (resource, below) = entry.split_once('/').unwrap_or((entry, ""));
                            if resource != "*" && !resource.is_empty() {
                                names.resources.insert((one.group.to_string(), resource.to_owned()));
                            }
                            if below != "*" && !below.is_empty() {
                                names.subresources.insert(below.to_owned());
                            }
                        }
                    }
                }
            }
        }
        names
    }

    /// Everybody who is signed in is in `system:authenticated`.
    fn callers(&self, whole: &mut bool) -> Vec<(Caller, String)> {
        const SIGNED_IN: &str = "system:authenticated";
        const NOT: &str = "system:unauthenticated";
        let groups: Vec<&String> = self
            .groups
            .iter()
            .filter(|group| *group != SIGNED_IN && *group != NOT)
            .collect();
        let mut sets: Vec<Vec<String>> = Vec::new();
        if groups.len() <= COMBINED {
            let all = 1_usize
                .checked_shl(u32::try_from(groups.len()).unwrap_or(0))
                .unwrap_or(1);
            for number in 0..all {
                let some = groups
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| number.checked_shr(u32::try_from(*at).unwrap_or(0)).unwrap_or(0) & 1 == 1);
                sets.push(some.map(|(_, group)| (*group).clone()).collect());
            }
        } else {
            *whole = false;
            sets.push(Vec::new());
            sets.extend(groups.iter().map(|group| vec![(*group).clone()]));
            sets.push(groups.iter().map(|group| (*group).clone()).collect());
        }
        let other = fresh(&self.users, "somebody");
        let mut users = self.users.clone();
        // Whoever has not signed in has a name, and is told apart by groups alone where these say who has.
        if self.groups.contains(SIGNED_IN) || self.groups.contains(NOT) {
            users.insert("system:anonymous".to_owned());
        }
        let named = users.iter().map(|user| (user, user.as_str()));
        let mut all = Vec::new();
        for (user, words) in named.chain([(&other, "anybody else")]) {
            for set in &sets {
                let own = if user == "system:anonymous" { NOT } else { SIGNED_IN };
                let words = match set.as_slice() {
                    [] => words.to_owned(),
                    some => format!("{words} in {}", some.join(" and ")),
                };
                let groups = set.iter().cloned().chain([own.to_owned()]).collect();
                let name = Some(user.clone());
                all.push((Caller { name, groups }, words));
            }
        }
        if all.len() > MOST_KINDS {
            *whole = false;
            all.truncate(MOST_KINDS);
        }
        let nobody = Caller {
            name: None,
            groups: Vec::new(),
        };
        all.push((nobody, "nobody who is known".to_owned()));
        all
    }

    /// API groups with their resources, as far as there are such.
    fn of_groups(&self) -> Vec<(String, String, String)> {
        let mut groups = self.api_groups.clone();
        for (_, resource) in &self.resources {
            groups.extend(known::groups_of(resource).map(str::to_owned));
        }
        let (no_group, no_resource) = (fresh(&groups, "group"), "~resource");
        let mut all = Vec::new();
        for group in &groups {
            let suffix = if group.is_empty() {
                String::new()
            } else {
                format!(".{group}")
            };
            for (named_for, resource) in &self.resources {
                let is_there = match known::is_known_group(group) {
                    true => known::resources(group).any(|one| one == resource),
                    false => named_for == group || (named_for == "*" && known::group_of(resource).is_none()),
                };
                if is_there {
                    all.push((group.clone(), resource.clone(), format!("{resource}{suffix}")));
                }
            }
            let words = match group.as_str() {
                "" => "any other resource of the core group".to_owned(),
                group => format!("any other resource of {group}"),
            };
            all.push((group.clone(), no_resource.to_owned(), words));
        }
        for (_, resource) in self
            .resources
            .iter()
            .filter(|(named_for, resource)| named_for == "*" && known::group_of(resource).is_none())
        {
            all.push((
                no_group.clone(),
                resource.clone(),
                format!("{resource} of any other group"),
            ));
        }
        all.push((
            no_group,
            no_resource.to_owned(),
            "any resource of any other group".to_owned(),
        ));
        all.dedup();
        all
    }

    fn resources(&self, whole: &mut bool) -> Vec<(What, String)> {
        let other_below = fresh(&self.subresources, "below");
        let mut namespaces = vec![(String::new(), String::new())];
        if !self.namespaces.is_empty() {
            namespaces = self
                .namespaces
                .iter()
                .filter(|one| !one.is_empty())
                .map(|one| (one.clone(), format!(" in {one}")))
                .collect();
            namespaces.push((String::new(), " without a namespace".to_owned()));
            namespaces.push((
                fresh(&self.namespaces, "namespace"),
                " in any other namespace".to_owned(),
            ));
        }
        let mut names = vec![(String::new(), String::new())];
        if !self.object_names.is_empty() {
            names = self
                .object_names
                .iter()
                .filter(|one| !one.is_empty())
                .map(|one| (one.clone(), format!(" named {one}")))
                .collect();
            names.push((String::new(), " without a name".to_owned()));
            names.push((fresh(&self.object_names, "name"), " of any other name".to_owned()));
        }
        let mut all = Vec::new();
        for (group, resource, words) in self.of_groups() {
            let built_in: Vec<&str> = known::subresources(&group, &resource).collect();
            let is_built_in = known::resources(&group).any(|one| one == resource);
            let mut below = vec![(String::new(), words.clone())];
            let there = self
                .subresources
                .iter()
                .filter(|one| !is_built_in || built_in.contains(&one.as_str()));
            below.extend(there.map(|one| (one.clone(), format!("{one} of {words}"))));
            if !is_built_in || built_in.iter().any(|one| !self.subresources.contains(*one)) {
                below.push((other_below.clone(), format!("any other subresource of {words}")));
            }
            for (subresource, words) in below {
                for (namespace, in_it) in &namespaces {
                    for (name, named) in &names {
                        let of = [&group, &resource, &subresource, namespace, name].map(Clone::clone);
                        let what = What {
                            path: String::new(),
                            resource: Some(of),
                        };
                        all.push((what, format!("{words}{named}{in_it}")));
                    }
                }
            }
            if all.len() > MOST_KINDS {
                *whole = false;
                break;
            }
        }
        all
    }

    /// Of each pattern with a star what it begins with, that with something behind it, and one that none matches.
    fn paths(&self) -> Vec<(What, String)> {
        let begins: BTreeSet<String> = self
            .urls
            .iter()
            .map(|url| url.trim_end_matches('*').to_owned())
            .collect();
        let other = fresh(&begins, "path");
        let mut all = vec![(format!("/{other}"), "any other path".to_owned())];
        for begin in &begins {
            if !begin.is_empty() {
                all.push((begin.clone(), begin.clone()));
                // Whatever follows, no other pattern begins so.
                all.push((format!("{begin}{other}"), format!("{begin}…")));
            }
        }
        all.into_iter()
            .map(|(path, words)| (What { path, resource: None }, words))
            .collect()
    }
}

/// A rule in words, by which two are compared as texts.
fn in_words(rule: &Rule) -> String {
    let mut words = vec![rule.level.to_string()];
    let mut list = |name: &str, list: &[Box<str>]| {
        if !list.is_empty() {
            words.push(format!("{name}: {}", list.join(", ")));
        }
    };
    list("users", &rule.users);
    list("userGroups", &rule.user_groups);
    list("verbs", &rule.verbs);
    match &rule.scope {
        Scope::Any => {}
        Scope::Paths(urls) => list("nonResourceURLs", urls),
        Scope::Resources { namespaces, resources } => {
            list("namespaces", namespaces);
            for one in resources {
                let group = match &*one.group {
                    "" => "core".to_owned(),
                    group => group.to_owned(),
                };
                let mut entry = format!(
                    "{group}/{}",
                    if one.resources.is_empty() {
                        "*".to_owned()
                    } else {
                        one.resources.join("|")
                    }
                );
                if !one.names.is_empty() {
                    entry.push_str(&format!(" named {}", one.names.join("|")));
                }
                words.push(format!("resources: {entry}"));
            }
        }
    }
    let stages: Vec<&str> = rule.omit_stages.iter().map(Stage::as_str).collect();
    if !stages.is_empty() {
        words.push(format!("omitStages: {}", stages.join(", ")));
    }
    if let Some(omitted) = rule.omit_managed_fields {
        words.push(format!("omitManagedFields: {omitted}"));
    }
    words.join("; ")
}

/// The rules that only one of them has, in their order.
fn lines(shared: &Policy, other: &Policy) -> Vec<Line> {
    let (a, b) = (&shared.rules, &other.rules);
    let before = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(before..).unwrap_or_default(), b.get(before..).unwrap_or_default());
    let behind = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (
        a.get(..a.len() - behind).unwrap_or_default(),
        b.get(..b.len() - behind).unwrap_or_default(),
    );
    let (mut own, mut theirs) = (vec![true; a.len()], vec![true; b.len()]);
    if a.len().saturating_mul(b.len()) <= MOST_PAIRS {
        for (at, with) in longest(a, b) {
            own.get_mut(at).into_iter().for_each(|is_own| *is_own = false);
            theirs.get_mut(with).into_iter().for_each(|is_own| *is_own = false);
        }
    }
    let place = |at: usize| at.saturating_add(before);
    let own = own.iter().enumerate().zip(a).filter(|((_, is_own), _)| **is_own);
    let own = own.map(|((at, _), rule)| (at, 0, Line::Shared(place(at), in_words(rule))));
    let theirs = theirs.iter().enumerate().zip(b).filter(|((_, is_own), _)| **is_own);
    let theirs = theirs.map(|((at, _), rule)| (at, 1, Line::Other(place(at), in_words(rule))));
    let mut all: Vec<(usize, u8, Line)> = own.chain(theirs).collect();
    all.sort_by_key(|(at, side, _)| (*at, *side));
    all.into_iter().map(|(_, _, line)| line).collect()
}

/// The longest list of rules that both have in the same order: pairs of places.
fn longest(a: &[Rule], b: &[Rule]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    let mut lengths = vec![0_u32; (a.len() + 1).saturating_mul(width)];
    let of = |lengths: &[u32], at: usize, with: usize| lengths.get(at * width + with).copied().unwrap_or(0);
    for (at, one) in a.iter().enumerate().rev() {
        for (with, other) in b.iter().enumerate().rev() {
            let length = if one == other {
                of(&lengths, at + 1, with + 1) + 1
            } else {
                of(&lengths, at + 1, with).max(of(&lengths, at, with + 1))
            };
            if let Some(place) = lengths.get_mut(at * width + with) {
                *place = length;
            }
        }
    }
    let (mut at, mut with, mut pairs) = (0, 0, Vec::new());
    while let (Some(one), Some(other)) = (a.get(at), b.get(with)) {
        if one == other {
            pairs.push((at, with));
            (at, with) = (at + 1, with + 1);
        } else if of(&lengths, at + 1, with) >= of(&lengths, at, with + 1) {
            at += 1;
        } else {
            with += 1;
        }
    }
    pairs
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
