//! What the configuration says of a witness.

use super::*;

#[test]
fn requests_go_below_the_witness_s_url() {
    for (url, wanted) in [
        ("https://w.example", "https://w.example/add-checkpoint"),
        ("https://w.example/", "https://w.example/add-checkpoint"),
        ("http://127.0.0.1:1/a/b", "http://127.0.0.1:1/a/b/add-checkpoint"),
    ] {
        assert_eq!(target(url).unwrap().to_string(), wanted);
    }
}

#[test]
fn a_log_s_key_is_no_witness_s() {
    let log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert!(key_of(log).unwrap_err().contains("0x04"));
    assert!(key_of("no key").is_err());
}
