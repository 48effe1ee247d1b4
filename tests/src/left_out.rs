//! Cases that a machine cannot show. A story that leaves one out says so where it is read, and shows what it can instead: a
//! silent skip is a defect.

use std::io::Write as _;

/// Says on standard error that a case is left out, and why. The test runner keeps back what a test that passes prints; this
/// goes past it.
pub fn left_out(case: &str, why: &str) {
    // Nobody may listen any more.
    let _ = writeln!(std::io::stderr(), "left out: {case}: {why}");
}

/// Why calls through the API server's proxy are shown as its refusals only.
pub const NO_ROUTE: &str =
    "the API server proxies to no loopback address, and without a route outward the pods of this machine have no other";
