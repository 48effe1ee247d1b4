//! What is asked: the request target as bytes, and what the API server would understand by it.
//!
//! [`Target`] is parsed once and keeps the raw bytes, so that what is authorised is what is forwarded (promise 2).
//! [`RequestFacts`] says what the API server's own `RequestInfo` says of the same bytes; a differential test against
//! the Go code holds the two together. Nothing here decides who may do it: that is the crate `access`.

mod action;
mod classify;
mod facts;
mod labels;
mod options;
mod query;
mod selector;
mod service_path;
mod target;
#[cfg(test)]
mod tests;
mod verb;

pub use self::action::{Action, Kind};
pub use self::classify::{ClassifyError, Wire};
pub use self::facts::RequestFacts;
pub use self::query::{Pairs, RawPairs, unescape};
pub use self::target::{MAX_PARAMETERS, MAX_TARGET_BYTES, Prefixed, Target, TargetError, split_cluster_prefix};
pub use self::verb::Verb;

/// Entry for the fuzzer: any bytes are a target or a refusal, never a panic, and an accepted target keeps its bytes.
pub fn fuzz_target(data: &[u8]) {
    if let Ok(target) = Target::parse(data) {
        assert_eq!(
            target.raw().as_bytes(),
            data,
            "an accepted target is kept byte for byte"
        );
        let rejoined = match target.query_raw() {
            Some(query) => format!("{}?{query}", target.path_raw()),
            None => target.path_raw().to_owned(),
        };
        assert_eq!(rejoined, target.raw(), "path and query are the whole target");
        let (read, raw) = (target.query(), target.query().raw());
        assert!(
            read.map(|(key, _)| key).eq(raw.map(|(key, _)| key)),
            "who writes down sees the parameters of who decides"
        );
    }
    let _ = split_cluster_prefix(data);
}

/// Entry for the fuzzer: any bytes are the target of a service or a refusal, never a panic; an accepted one keeps its bytes,
/// and its decoded path is text with as many segments as the raw one.
pub fn fuzz_service_target(data: &[u8]) {
    if let Ok(target) = Target::of_service(data) {
        assert_eq!(
            target.raw().as_bytes(),
            data,
            "an accepted target is kept byte for byte"
        );
        let path = std::str::from_utf8(target.path());
        let count = |text: &str| text.split('/').count();
        assert!(
            path.is_ok_and(|path| count(path) == count(target.path_raw())),
            "decoding makes no segment and takes none away"
        );
    }
}

/// Entry for the fuzzer: the first line is the method, the rest the target; classification never panics and never
/// calls a write a pure read.
pub fn fuzz_request_info(data: &[u8]) {
    let mut pieces = data.splitn(2, |byte| *byte == b'\n');
    let (Some(method), Some(rest)) = (pieces.next(), pieces.next()) else {
        return;
    };
    let (Ok(method), Ok(target)) = (std::str::from_utf8(method), Target::parse(rest)) else {
        return;
    };
    for (upgrade, nested) in [(false, false), (true, false), (false, true)] {
        let wire = Wire {
            method,
            wants_upgrade: upgrade,
            impersonates: nested,
        };
        if let Ok(facts) = RequestFacts::classify(&target, wire) {
            let reads = matches!(method.to_ascii_lowercase().as_str(), "get" | "head");
            assert!(
                facts.kind() == Kind::Effect || (reads && !upgrade && !nested),
                "only plain reads are pure"
            );
            assert!(
                facts.kind() == Kind::Effect || !facts.action().enters(),
                "entering is an effect"
            );
            let _ = (facts.parts().count(), facts.authorization_verb(), facts.long_running());
        }
    }
}
