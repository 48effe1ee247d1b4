//! What may stand in a record of a target that another system's log names: by the same rules as of one that came here.

use std::borrow::Cow;

use super::words;

/// Keys of a query that are named.
const MOST_KEYS: usize = 32;

/// The parts of a target that a record may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetWords<'a> {
    /// Its path, without what belongs to a backend or is neither short nor plain.
    pub path: &'a str,
    /// The names of its query's parameters; what is no name is only marked.
    pub keys: Vec<String>,
    /// Parameters of Kubernetes whose value is a number or a fixed word.
    pub options: String,
}

impl<'a> TargetWords<'a> {
    /// Of a target as it was sent, whatever it is.
    #[must_use]
    pub fn of(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let keys = query.split('&').filter(|pair| !pair.is_empty());
        let keys = keys.map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
        let decoded = |key: &str| {
            let key = key.replace('+', " ");
            let key: Cow<'_, str> = percent_encoding::percent_decode_str(&key).decode_utf8_lossy();
            words::query_key(&key).to_owned()
        };
        Self {
            path: words::path(path),
            keys: keys.take(MOST_KEYS).map(decoded).collect(),
            options: words::options(query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_6_values_of_a_query_and_a_backend_s_path_are_left_out() {
        let target = "/api/v1/namespaces/n/pods/p/exec?command=cat%20hunter2&stdin=true&%63ommand=x&hunter2%20pass=1";
        let words = TargetWords::of(target);
        assert_eq!(words.path, "/api/v1/namespaces/n/pods/p/exec");
        assert_eq!(words.keys, ["command", "stdin", "command", "(not a name)"]);
        assert_eq!(words.options, "stdin=true");
        let words = TargetWords::of("/api/v1/namespaces/n/services/s/proxy/reset/hunter2");
        assert_eq!(words.path, "/api/v1/namespaces/n/services/s/proxy/");
        assert!(TargetWords::of("?").path.is_empty());
    }
}
