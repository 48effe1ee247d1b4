//! What the demo prints when it is ready: what runs, how to reach it, what to try. Fits 80 columns.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::sample::Written;

/// What the words are made from.
pub(super) struct Facts<'a> {
    pub(super) took: Duration,
    pub(super) issuer: &'a str,
    pub(super) service: SocketAddr,
    pub(super) gateway: SocketAddr,
    pub(super) kubernetes: SocketAddr,
    pub(super) environment: &'a Path,
    pub(super) history: Option<Written>,
    pub(super) kubectl: bool,
    pub(super) browser: bool,
    /// Before a real cluster: the namespace in which bob may change things.
    pub(super) playground: Option<&'a str>,
}

/// Whether a `kubectl` is on the path.
pub(super) fn has_kubectl() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("kubectl").is_file())
}

/// The whole text.
pub(super) fn ready(facts: &Facts<'_>) -> String {
    let mut text = format!(
        "gatescribe {} demo, ready after {:.1} s\n\n",
        env!("CARGO_PKG_VERSION"),
        facts.took.as_secs_f64()
    );
    for (what, is) in parts(facts) {
        let mark = if what.is_empty() { ' ' } else { '✔' };
        let _ = writeln!(text, "  {mark} {what:<18} {is}");
    }
    let _ = writeln!(
        text,
        "\nIn another terminal, once:\n\n  . {}",
        facts.environment.display()
    );
    if !facts.browser {
        let _ = writeln!(
            text,
            "  export BROWSER='gatescribe demo browse alice'   # no display here"
        );
    }
    text.push_str("\nThen try, one after the other:\n\n");
    for (command, says) in to_try(facts) {
        if command.chars().count() > 37 {
            let _ = writeln!(text, "  {command}\n{:41}{says}", "");
        } else {
            let _ = writeln!(text, "  {command:<37}  {says}");
        }
    }
    text.push_str(
        "\nEverything listens on this machine alone, and nothing here is safe for real\nuse. Ctrl-C stops it and removes all of it.",
    );
    text
}

fn parts(facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let history = facts.history.map_or_else(
        || "durable, without sample history".to_owned(),
        |written| format!("durable, {} days of history in it, marked \"sample\"", written.days),
    );
    let api = facts.playground.map_or_else(
        || {
            let (namespaces, pods) = (demo::kubernetes::NAMESPACES, demo::kubernetes::PODS);
            format!("embedded look-alike: {namespaces} namespaces, {pods} pods")
        },
        |_| "your cluster, as listed above".to_owned(),
    );
    vec![
        ("identity provider", facts.issuer.to_owned()),
        ("", "alice (dev), bob (sre), carol (auditor); no passwords".to_owned()),
        ("Kubernetes API", api),
        ("gateway", format!("http://{} to sign in", facts.gateway)),
        ("", format!("https://{} for kubectl", facts.kubernetes)),
        (
            "sample service",
            format!("http://{}:{} in a browser", super::world::SHOP, facts.gateway.port()),
        ),
        ("", "behind the same sign-in: it is told who asks".to_owned()),
        ("", format!("its own address asks nobody: http://{}", facts.service)),
        ("ledger", history),
    ]
}

fn to_try(facts: &Facts<'_>) -> Vec<(String, &'static str)> {
    let line = |command: &str, says| (command.to_owned(), says);
    let first = if facts.browser {
        "asks you to sign in, once: choose alice"
    } else {
        "signs alice in, once"
    };
    if let Some(playground) = facts.playground {
        return real(facts, playground, first);
    }
    let mut lines = if facts.kubectl {
        vec![
            line("kubectl get pods -n shop", first),
            line("kubectl get secrets -n payments", "refused, and it says why"),
            line("kubectl create configmap hi -n shop", "allowed, and written down first"),
        ]
    } else {
        vec![
            line(&format!("gatescribe login http://{}", facts.gateway), first),
            line("gatescribe api GET /api/v1/namespaces/shop/pods", "the pods, as JSON"),
            line(
                "gatescribe api GET /api/v1/namespaces/payments/secrets",
                "refused, and it says why",
            ),
        ]
    };
    lines.extend([
        line("gatescribe why", "the last refusal, rule by rule"),
        line("gatescribe can delete pods -n shop", "before one tries"),
        line("gatescribe audit search --since 10m", "what you just did"),
    ]);
    lines.extend(another_browser(facts, "carol"));
    lines.extend([
        line(
            &format!("gatescribe login http://{}", facts.gateway),
            "again, as carol: she sees all",
        ),
        line(
            "gatescribe audit search name:debug-erin",
            "who gave erin rights, that night?",
        ),
    ]);
    lines
}

/// Where no browser asks who one is, somebody else signs in by another word in the environment.
fn another_browser(facts: &Facts<'_>, name: &str) -> Option<(String, &'static str)> {
    let command = format!("export BROWSER='gatescribe demo browse {name}'");
    (!facts.browser).then_some((command, "from here on somebody else signs in"))
}

/// Before a real cluster nobody knows what is in it.
fn real(facts: &Facts<'_>, playground: &str, first: &'static str) -> Vec<(String, &'static str)> {
    let mut lines = vec![
        ("kubectl get namespaces".to_owned(), first),
        ("kubectl get secrets -A".to_owned(), "refused, and it says why"),
        ("gatescribe why".to_owned(), "the last refusal, rule by rule"),
    ];
    lines.extend(another_browser(facts, "bob"));
    lines.extend([
        (
            format!("gatescribe login http://{}", facts.gateway),
            "again, as bob: he may write here:",
        ),
        (
            format!("kubectl create configmap hi -n {playground}"),
            "allowed, and written down first",
        ),
        ("gatescribe audit search --since 10m".to_owned(), "what you just did"),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kubectl: bool, browser: bool, playground: Option<&str>) -> String {
        ready(&Facts {
            took: Duration::from_millis(700),
            issuer: "http://127.0.0.1:45001",
            service: SocketAddr::from(([127, 0, 0, 1], 45002)),
            gateway: SocketAddr::from(([127, 0, 0, 1], 45000)),
            kubernetes: SocketAddr::from(([127, 0, 0, 1], 45443)),
            environment: Path::new("/tmp/gatescribe-demo-LgZmof/env"),
            history: Some(Written { acts: 25_123, days: 14 }),
            kubectl,
            browser,
            playground,
        })
    }

    #[test]
    fn every_form_of_the_text_fits_eighty_columns() {
        for kubectl in [true, false] {
            for browser in [true, false] {
                for playground in [None, Some("gatescribe-demo-abc123-play")] {
                    let text = facts(kubectl, browser, playground);
                    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
                    assert!(long.is_empty(), "{long:#?}");
                    assert_eq!(text.contains("\n  kubectl"), kubectl || playground.is_some());
                    // Whoever follows the text without a browser is the one whom each step means.
                    let second = if playground.is_some() { "bob" } else { "carol" };
                    for name in ["alice", second] {
                        let by = format!("  export BROWSER='gatescribe demo browse {name}'");
                        assert_eq!(text.contains(&by), !browser, "{text}");
                    }
                }
            }
        }
    }
}
