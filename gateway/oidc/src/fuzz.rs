//! Entry for the fuzzer: the parser of untrusted bytes that stands before every signature check.

use crate::Unverified;

/// Reads any bytes as a token. Must not panic, and must not take long, whatever they are.
pub fn fuzz_jwt_preparse(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(token) = Unverified::parse(text)
    {
        // A parsed token has exactly one spelling.
        let _ = token.issuer();
    }
}
