//! Names on the pages: what looks like a test is one, and what follows `--test` is a file of tests.

use std::collections::BTreeSet;

use super::{files, pages};
use tests::counterparts::repository;

#[test]
fn every_test_that_the_book_names_exists() {
    let code = code();
    let tests: BTreeSet<String> = code.iter().flat_map(|(_, text)| functions(text)).collect();
    let benches = std::fs::read_to_string(repository().join("tests/xtask/src/bench.rs")).unwrap();
    let (mut found, mut missing) = (0, Vec::new());
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for word in inline_code(&text) {
            let place = || format!("{}: {word}", page.display());
            if let Some((_, file)) = word.split_once("--test ") {
                let file = format!("tests/{}.rs", file.split(' ').next().unwrap());
                if !code.iter().any(|(path, _)| path.ends_with(&file)) {
                    missing.push(place());
                }
            } else if is_a_name(word)
                && !word.starts_with("gateway_")
                && !OTHER_WORDS.contains(&word)
                && !OF_INGRESSES.contains(&word)
            {
                found += 1;
                if !tests.contains(word) && !benches.contains(&format!("\"{word}\"")) {
                    missing.push(place());
                }
            }
        }
    }
    assert!(found > 100, "the names were not found: {found}");
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

/// Words of the pages that are written as names of tests are: members of records, claims, errors of OAuth, directives of nginx, a crate, a macro of
/// CEL.
const OTHER_WORDS: &[&str] = &[
    "assertion_audience",
    "assertion_expired",
    "assertion_loop",
    "assertion_signature",
    "assertion_too_deep",
    "assertion_type",
    "at_hash",
    "auth_request",
    "auth_time",
    "aws_lc_rs",
    "bytes_out",
    "client_secret_basic",
    "error_description",
    "exists_one",
    "expires_in",
    "extra_count",
    "groups_count",
    "groups_hash",
    "invalid_request",
    "invalid_target",
    "no_service",
    "no_session",
    "no_workload",
    "node_modules",
    "not_after",
    "offline_access",
    "preferred_username",
    "proxy_pass",
    "rules_count",
    "session_ended",
    "underscores_in_headers",
];

/// What nginx, Caddy and Envoy are configured by.
const OF_INGRESSES: &[&str] = &[
    "allowed_headers",
    "auth_request",
    "auth_request_set",
    "copy_headers",
    "encode_raw_headers",
    "ext_authz",
    "forward_auth",
    "grpc_pass",
    "header_up",
    "initial_metadata",
    "merge_slashes",
    "normalize_path",
    "path_with_escaped_slashes_action",
    "proxy_pass",
    "proxy_set_header",
    "underscores_in_headers",
];

/// All sources with tests, by path.
pub(super) fn code() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for folder in [
        "gateway",
        "policy",
        "tests/bench",
        "tests/fuzz",
        "tests/src",
        "tests/tests",
        "tests/xtask",
    ] {
        files(&repository().join(folder), "rs", &mut sources);
    }
    sources
        .iter()
        .map(|file| {
            let path = file.strip_prefix(repository()).unwrap().display().to_string();
            (path, std::fs::read_to_string(file).unwrap())
        })
        .collect()
}

/// The names of the functions that are tests or fuzz targets.
pub(super) fn functions(text: &str) -> Vec<String> {
    let (mut names, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|(before, _)| MODIFIERS.contains(before)) {
            let name: String = rest
                .chars()
                .take_while(|one| one.is_alphanumeric() || *one == '_')
                .collect();
            if is_test || name.starts_with("fuzz_") {
                names.push(name);
            }
            is_test = false;
        }
    }
    names
}

/// What may stand in front of `fn` of a test.
const MODIFIERS: &[&str] = &["", "async ", "pub ", "pub(crate) "];

/// The code within lines, without the blocks.
fn inline_code(text: &str) -> Vec<&str> {
    let mut is_block = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            is_block ^= fence;
            !is_block && !fence
        })
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

fn is_a_name(text: &str) -> bool {
    text.contains('_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
