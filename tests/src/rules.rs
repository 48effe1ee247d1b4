//! Access rules that demand something of what they allow, as YAML documents that can stand one behind another. Rules of another
//! shape a story writes itself.

/// All that enters the namespace `kept` is recorded.
#[must_use]
pub fn kept_is_recorded() -> String {
    entering("kept-is-recorded", "namespaces: [kept]", "record: true")
}

/// A rule about everybody who enters a place (members of `kubernetes`), and what it demands (members of `obligations`).
#[must_use]
pub fn entering(name: &str, place: &str, obligations: &str) -> String {
    rule("\"*\"", name, &format!("actions: [enter], {place}"), obligations)
}

/// A rule about some groups that do something (members of `kubernetes`), and what it demands (members of `obligations`).
#[must_use]
pub fn rule(groups: &str, name: &str, kubernetes: &str, obligations: &str) -> String {
    format!(
        r#"---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: {name} }}
spec:
  effect: allow
  subjects: {{ groups: [{groups}] }}
  kubernetes: {{ {kubernetes} }}
  obligations: {{ {obligations} }}
"#
    )
}
