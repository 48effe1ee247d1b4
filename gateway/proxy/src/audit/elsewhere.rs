//! What may stand in a record of a target that another system's log names: by the same rules as of one that came here.

use super::{query, words};

/// The parts of a target that a record may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetWords<'a> {
    /// Its path, without what belongs to a backend or is neither short nor plain.
    pub path: &'a str,
    /// The names of its query's parameters, each once; what is no name is only marked.
    pub keys: Vec<String>,
    /// How many parameters there are, where those are not all.
    pub count: Option<usize>,
    /// Parameters of Kubernetes whose value is a number or a fixed word.
    pub options: String,
}

impl<'a> TargetWords<'a> {
    /// Of a target as it was sent, whatever it is.
    #[must_use]
    pub fn of(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let keys = query::keys(query);
        Self {
            path: words::path(path),
            keys: keys.named,
            count: keys.count,
            options: query::options(query),
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
        assert_eq!(words.keys, ["command", "stdin", "(not a name)"]);
        assert_eq!(words.count, Some(4));
        assert_eq!(words.options, "stdin=true");
        let words = TargetWords::of("/api/v1/namespaces/n/services/s/proxy/reset/hunter2");
        assert_eq!(words.path, "/api/v1/namespaces/n/services/s/proxy/");
        assert!(TargetWords::of("?").path.is_empty());
    }
}
