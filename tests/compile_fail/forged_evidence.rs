// expect: E0423
// Only the audit station says what an answer stands on: its durable record, or its place in the count of those without one.
use proxy::audit::Evidence;

pub fn forge() -> Evidence {
    Evidence(7)
}
