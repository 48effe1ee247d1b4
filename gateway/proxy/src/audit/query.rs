//! What a record says of a query, and what of it is sealed beside the record.
//!
//! Whoever calls chooses how many parameters there are and in which order. A record has a bound all the same, so what matters has its
//! place whatever stands before it, each parameter stands there once, and where there were more the record says of how many.
//!
//! Invariants: a value stands in the record only as a number or a fixed word under a key that Kubernetes itself knows (promise 6); where
//! Kubernetes takes one value of a key, the record has the one that it takes.

use std::borrow::Cow;

use model::request::{Pairs, unescape};

use super::words;

/// The names of a query's parameters that a record has; more, where Kubernetes knows more of them.
const MOST_KEYS: usize = 32;
/// Of all options together. A longer text of a record is cut, and what would be cut off is sealed beside it instead.
const MOST_OPTIONS: usize = 1_000;

/// Query parameters that Kubernetes defines (k8s.io/apimachinery and k8s.io/api v0.36: ListOptions, GetOptions, CreateOptions,
/// PatchOptions, UpdateOptions, DeleteOptions with its `uid`, TableOptions, PodLogOptions, PodExecOptions, PodPortForwardOptions; and what
/// the API server reads by itself). `command` has a class of its own.
const KUBERNETES_KEYS: [&str; 38] = [
    "allowWatchBookmarks",
    "container",
    "continue",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "includeObject",
    "insecureSkipTLSVerifyBackend",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "ports",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "uid",
    "watch",
];
/// Those of them that say what a call does to what it is about. They come first.
const EFFECT: [&str; 9] = [
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "insecureSkipTLSVerifyBackend",
    "orphanDependents",
    "propagationPolicy",
];
/// Those of them of which Kubernetes takes every value; of any other the first alone (k8s.io/apimachinery, `runtime/conversion.go`).
const LISTS: [&str; 2] = ["dryRun", "ports"];
/// Values that are one of a fixed list. A key without a value turns a switch on.
const FIXED: &[&str] = &[
    "",
    "true",
    "false",
    "All",
    "Background",
    "Foreground",
    "Orphan",
    "Exact",
    "NotOlderThan",
    "Strict",
    "Warn",
    "Ignore",
    "Metadata",
    "Object",
    "None",
];

/// The names of a query's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// Decoded, in order, each once; what is no name is only marked. All that Kubernetes knows, and of others the first.
    pub(super) named: Vec<String>,
    /// How many parameters there are, where those are not all.
    pub(super) count: Option<usize>,
}

/// The names of a query's parameters.
pub(super) fn keys(query: &str) -> Keys {
    let (mut named, mut others, mut count): (Vec<(Cow<'_, str>, bool)>, usize, usize) = (Vec::new(), 0, 0);
    let mut seen = [false; KUBERNETES_KEYS.len()];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        count = count.saturating_add(1);
        let key = decoded(pair.split_once('=').map_or(pair, |(key, _)| key));
        let known = known(&key);
        // The API server leaves a parameter with a semicolon out: a selector with one selects nothing.
        if let Some(at) = known.filter(|_| !pair.contains(';')) {
            if note_first(&mut seen, at) {
                named.push((key, true));
            }
            continue;
        }
        let key = match (known, key) {
            (Some(_), _) => Cow::Borrowed(words::NOT_A_NAME),
            (None, Cow::Borrowed(key)) => Cow::Borrowed(words::query_key(key)),
            (None, Cow::Owned(key)) => Cow::Owned(words::query_key(&key).to_owned()),
        };
        let is_command = key == COMMAND;
        if (is_command || others < MOST_KEYS) && named.iter().all(|(other, _)| *other != key) {
            others = others.saturating_add(usize::from(!is_command));
            named.push((key, is_command));
        }
    }
    let mut left_out = named.len().saturating_sub(MOST_KEYS).min(others);
    let mut kept: Vec<String> = Vec::with_capacity(named.len());
    for (key, stays) in named.into_iter().rev() {
        if stays || left_out == 0 {
            kept.push(key.into_owned());
        } else {
            left_out = left_out.saturating_sub(1);
        }
    }
    kept.reverse();
    let count = Some(count).filter(|count| *count > kept.len());
    Keys { named: kept, count }
}

/// Words of what is run, sealed in a class of their own.
const COMMAND: &str = "command";

/// The part of a query that may stand in the record itself: `force=true&limit=500`.
pub(super) fn options(query: &str) -> String {
    Sorted::of(query).options.join("&")
}

/// What Kubernetes defines, and the record does not have: sealed beside it, as it came but for its keys, which are decoded.
pub(super) fn beside(query: &str) -> String {
    Sorted::of(query).beside.join("&")
}

/// The parameters that Kubernetes defines, by where they go. Each of them is in one of the two.
#[derive(Debug, Default)]
struct Sorted {
    options: Vec<String>,
    beside: Vec<String>,
}

impl Sorted {
    fn of(query: &str) -> Self {
        let (mut effects, mut sorted, mut others) = (Vec::new(), Self::default(), Vec::new());
        let mut seen = [false; KUBERNETES_KEYS.len()];
        let mut room = MOST_OPTIONS;
        for (key, value) in Pairs::new(query).raw() {
            let key = String::from_utf8_lossy(&key);
            let Some(at) = known(&key) else { continue };
            let is_first = note_first(&mut seen, at);
            let as_it_came = |value: Option<&str>| match value {
                Some(value) => format!("{key}={value}"),
                None => key.clone().into_owned(),
            };
            let plain = plain(value.unwrap_or_default());
            match plain.map(|plain| format!("{key}={plain}")) {
                // So few and so short that there is room for all of them.
                Some(option) if is_first && EFFECT.contains(&&*key) => {
                    room = room.saturating_sub(option.len().saturating_add(1));
                    effects.push(option);
                }
                Some(option) if is_first || LISTS.contains(&&*key) => others.push((option, as_it_came(value))),
                _ => sorted.beside.push(as_it_came(value)),
            }
        }
        sorted.options = effects;
        for (option, came) in others {
            let needed = option.len().saturating_add(1);
            if needed > room || sorted.options.contains(&option) {
                sorted.beside.push(came);
            } else {
                room = room.saturating_sub(needed);
                sorted.options.push(option);
            }
        }
        sorted
    }
}

/// Which of the parameters that Kubernetes knows it is.
fn known(key: &str) -> Option<usize> {
    KUBERNETES_KEYS.binary_search(&key).ok()
}

/// Notes that this one was seen, and says whether that was the first time.
fn note_first(seen: &mut [bool], at: usize) -> bool {
    seen.get_mut(at).is_none_or(|is_seen| !std::mem::replace(is_seen, true))
}

fn decoded(text: &str) -> Cow<'_, str> {
    match unescape(text) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The value as the API server reads it, where it is a number or a fixed word and so may stand in the record itself.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    let value = decoded(value);
    let digits = value.strip_suffix(['s', 'm', 'h']).unwrap_or(&value);
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let is_number = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number || FIXED.contains(&&*value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn named(query: &str) -> (Vec<String>, Option<usize>) {
        let Keys { named, count } = keys(query);
        (named, count)
    }

    fn of<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn of_a_query_only_numbers_and_fixed_words_under_known_names_stand_in_the_record() {
        let query =
            "limit=500&watch=true&token=1&labelSelector=app%3Da&dryRun=All&timeout=30s&limit=abc&x&resourceVersion=";
        assert_eq!(
            options(query),
            "dryRun=All&limit=500&watch=true&timeout=30s&resourceVersion="
        );
        assert_eq!(beside(query), "labelSelector=app%3Da&limit=abc");
        assert_eq!(
            options("gracePeriodSeconds=-1&limit=--1&limit=1-"),
            "gracePeriodSeconds=-1"
        );
    }

    /// promise_4: the API server obeys what stands behind any number of other parameters.
    #[test]
    fn promise_4_no_option_is_hidden_behind_others() {
        let asked = "&gracePeriodSeconds=0&propagationPolicy=Orphan&labelSelector=app%3Dshop";
        for before in [
            "pretty=true&".repeat(1_000),
            "pretty&".repeat(1_000),
            "dryRun=1&dryRun=2&".repeat(500),
            (0..1_000).map(|number| format!("x{number}=1&")).collect(),
            (0..1_000).map(|number| format!("ports={number}&")).collect(),
            (0..1_000).map(|number| format!("dryRun={number}&")).collect(),
            KUBERNETES_KEYS
                .iter()
                .filter(|key| !asked.contains(*key))
                .map(|key| format!("{key}={}s&", "9".repeat(20)))
                .collect(),
        ] {
            let query = format!("{before}{asked}");
            let said = options(&query);
            for option in ["gracePeriodSeconds=0", "propagationPolicy=Orphan"] {
                assert!(said.split('&').any(|other| other == option), "{before:.40}: {said}");
            }
            assert!(said.len() <= MOST_OPTIONS, "{before:.40}: {}", said.len());
            assert!(beside(&query).split('&').any(|kept| kept == "labelSelector=app%3Dshop"));
            let (named, count) = named(&query);
            for key in ["gracePeriodSeconds", "propagationPolicy", "labelSelector"] {
                assert!(named.iter().any(|other| other == key), "{before:.40}: {named:?}");
            }
            assert!(named.len() <= KUBERNETES_KEYS.len().max(MOST_KEYS), "{named:?}");
            let asked = query.split('&').filter(|pair| !pair.is_empty()).count();
            assert_eq!(count, (asked > named.len()).then_some(asked), "{before:.40}");
        }
        let command = format!(
            "{}command=id",
            "x=1&y&".repeat(20) + &(0..40).map(|n| format!("z{n}&")).collect::<String>()
        );
        assert!(named(&command).0.ends_with(&of(["command"])), "{command}");
    }

    /// promise_4: of `force=yes&force=false` the API server takes the first, and a key without a value is one that is on.
    #[test]
    fn promise_4_of_an_option_the_record_has_the_value_that_the_api_server_takes() {
        for (query, option, sealed) in [
            (
                "propagationPolicy=Orphan&propagationPolicy=Background",
                "propagationPolicy=Orphan",
                "propagationPolicy=Background",
            ),
            (
                "propagationPolicy=%4Frphan&propagationPolicy=Background",
                "propagationPolicy=Orphan",
                "propagationPolicy=Background",
            ),
            ("force=yes&force=false", "", "force=yes&force=false"),
            ("force&force=false", "force=", "force=false"),
            ("force=&force=false", "force=", "force=false"),
            ("force=true;x&force=false", "force=false", ""),
            ("f%6Frce=true&force=false", "force=true", "force=false"),
            (
                "dryRun=All&dryRun=None&dryRun=All",
                "dryRun=All&dryRun=None",
                "dryRun=All",
            ),
            ("dryRun=all&dryRun=All", "dryRun=All", "dryRun=all"),
            ("ports=80&ports=443&ports=80", "ports=80&ports=443", "ports=80"),
            (
                "insecureSkipTLSVerifyBackend=true",
                "insecureSkipTLSVerifyBackend=true",
                "",
            ),
            (
                "uid=0192f0c1-7c3e-7d00-a000-0000000007f3",
                "",
                "uid=0192f0c1-7c3e-7d00-a000-0000000007f3",
            ),
        ] {
            assert_eq!((&*options(query), &*beside(query)), (option, sealed), "{query}");
        }
    }

    #[test]
    fn each_key_is_named_once_and_more_are_counted() {
        for (query, keys, count) in [
            ("", of([]), None),
            ("limit=5&watch", of(["limit", "watch"]), None),
            ("&&limit=5&", of(["limit"]), None),
            ("command=sh&command=-c&x=1&%63ommand=y", of(["command", "x"]), Some(4)),
            // What the API server leaves out is not what it was asked.
            ("labelSelector=a%3Db;c", of(["(not a name)"]), None),
            ("q=a;b&hunter2%20pass=1&a;b", of(["q", "(not a name)"]), Some(3)),
            (
                "ignoreStoreReadErrorWithClusterBreakingPotential=true",
                of(["ignoreStoreReadErrorWithClusterBreakingPotential"]),
                None,
            ),
        ] {
            assert_eq!(named(query), (keys, count), "{query}");
        }
        let many: String = (0..40).map(|number| format!("k{number}&")).collect();
        let first: Vec<String> = (0..31).map(|number| format!("k{number}")).collect();
        let (named, count) = named(&format!("{many}watch=true"));
        assert_eq!((named, count), ([first, of(["watch"])].concat(), Some(41)));
    }

    #[test]
    fn the_lists_are_in_order_and_of_one_another() {
        assert!(KUBERNETES_KEYS.is_sorted());
        assert!(EFFECT.iter().chain(&LISTS).all(|key| known(key).is_some()));
    }

    proptest! {
        /// promise_6: whatever is asked, what stands in the record is harmless, and nothing that Kubernetes defines is lost.
        #[test]
        fn promise_6_each_parameter_of_kubernetes_is_plain_in_the_record_or_sealed_beside_it(
            query in "((force|f%6Frce|dryRun|limit|watch|token|labelSelector)(=(true|All|5|hunter2|%35|;|\\+)?)?&?){0,60}",
            any in any::<String>(),
        ) {
            for query in [&query, &any] {
                let said = options(query);
                for option in said.split('&').filter(|option| !option.is_empty()) {
                    let (key, value) = option.split_once('=').unwrap();
                    prop_assert!(known(key).is_some() && plain(value).is_some_and(|plain| plain == value), "{}", option);
                }
                prop_assert!(said.len() <= MOST_OPTIONS);
                let defined = Pairs::new(query).raw().filter(|(key, _)| known(&String::from_utf8_lossy(key)).is_some());
                let sorted = Sorted::of(query);
                prop_assert_eq!(defined.count(), sorted.options.len() + sorted.beside.len());
                let Keys { named, count } = keys(query);
                let once: BTreeSet<&String> = named.iter().collect();
                prop_assert_eq!(once.len(), named.len());
                prop_assert!(named.len() <= KUBERNETES_KEYS.len() + 1 && count.is_none_or(|count| count > named.len()));
            }
        }
    }
}
