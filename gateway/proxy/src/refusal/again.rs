//! A refused command once more, with what was missing in it: for callers without a sign-in at the gateway, whom `gatescribe reason`
//! does not help (tokens of providers, certificates, ServiceAccounts).
//!
//! What is printed runs as it stands in a shell. Where the request does not tell the command that led to it, flags are named and no
//! command.

use model::request::RequestFacts;

/// How `user` states a reason for what was refused.
pub(super) fn with_reason(user: &str, facts: Option<&RequestFacts>) -> String {
    let flags = format!("--as={} --as-user-extra=gatescribe.dev/reason='TEXT'", quoted(user));
    match facts.and_then(command) {
        Some((before, behind)) => format!("kubectl {before} {flags}{behind}"),
        None => format!("repeat the command with these flags in it: {flags}"),
    }
}

/// What stands before the flags, and behind them.
fn command(facts: &RequestFacts) -> Option<(String, &'static str)> {
    let verb = facts.verb().as_str();
    if !facts.is_resource_request() {
        return (verb == "get").then(|| (format!("get --raw {}", quoted(facts.path())), ""));
    }
    let (name, place) = (quoted(facts.name()), place(facts));
    match (facts.resource(), facts.subresource(), verb) {
        _ if facts.name().is_empty() && verb != "list" && verb != "watch" => None,
        ("pods", "exec", _) => Some((format!("exec -it {name} {place}"), " -- sh")),
        ("pods", "attach", _) => Some((format!("attach -it {name} {place}"), "")),
        ("pods", "log", _) => Some((format!("logs {name} {place}"), "")),
        (_, "", "get" | "list" | "watch" | "delete") => {
            let does = if verb == "delete" { "delete" } else { "get" };
            let words = [
                does,
                &kind(facts),
                if facts.name().is_empty() { "" } else { &name },
                &place,
            ];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            Some((words.join(" "), ""))
        }
        _ => None,
    }
}

fn kind(facts: &RequestFacts) -> String {
    quoted(&match facts.api_group() {
        "" => facts.resource().to_owned(),
        group => format!("{}.{group}", facts.resource()),
    })
}

fn place(facts: &RequestFacts) -> String {
    match (facts.namespace(), facts.name()) {
        ("", "") => "-A".to_owned(),
        ("", _) => String::new(),
        (namespace, _) => format!("-n {}", quoted(namespace)),
    }
}

/// As a shell takes it whole.
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use model::request::{Target, Wire};

    use super::*;

    fn told(user: &str, method: &'static str, target: &str) -> String {
        let target = Target::parse(target.as_bytes()).unwrap();
        let wire = Wire {
            method,
            wants_upgrade: false,
            impersonates: false,
        };
        with_reason(user, Some(&RequestFacts::classify(&target, wire).unwrap()))
    }

    /// The words as a shell gives them to the command.
    fn words(line: &str) -> Vec<String> {
        let script = format!("for word in {line}; do printf '%s\\n' \"$word\"; done");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_refused_is_told_as_a_command_that_runs_with_a_reason_in_it() {
        let shop = "/api/v1/namespaces/shop/pods";
        let flags = "--as=ci --as-user-extra=gatescribe.dev/reason='TEXT'";
        for (method, target, command) in [
            (
                "POST",
                format!("{shop}/web-0/exec?command=env"),
                format!("kubectl exec -it web-0 -n shop {flags} -- sh"),
            ),
            (
                "POST",
                format!("{shop}/web-0/attach"),
                format!("kubectl attach -it web-0 -n shop {flags}"),
            ),
            (
                "GET",
                format!("{shop}/web-0/log"),
                format!("kubectl logs web-0 -n shop {flags}"),
            ),
            (
                "GET",
                format!("{shop}/web-0"),
                format!("kubectl get pods web-0 -n shop {flags}"),
            ),
            ("GET", shop.to_owned(), format!("kubectl get pods -n shop {flags}")),
            (
                "GET",
                "/api/v1/pods?watch=true".to_owned(),
                format!("kubectl get pods -A {flags}"),
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/shop/deployments/web".to_owned(),
                format!("kubectl delete deployments.apps web -n shop {flags}"),
            ),
            (
                "DELETE",
                "/api/v1/nodes/n1".to_owned(),
                format!("kubectl delete nodes n1 {flags}"),
            ),
            (
                "GET",
                "/metrics".to_owned(),
                format!("kubectl get --raw /metrics {flags}"),
            ),
        ] {
            assert_eq!(told("ci", method, &target), command, "{method} {target}");
        }
        for (method, target) in [
            ("POST", shop.to_owned()),
            ("DELETE", shop.to_owned()),
            ("PATCH", format!("{shop}/web-0")),
            ("POST", format!("{shop}/web-0/portforward")),
        ] {
            let told = told("ci", method, &target);
            assert_eq!(
                told,
                format!("repeat the command with these flags in it: {flags}"),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn a_name_reaches_the_command_as_one_word_whatever_a_shell_makes_of_its_letters() {
        for user in [
            "o'brien; rm -rf $HOME",
            "a b",
            "`id`",
            "system:serviceaccount:shop:ci",
            "oidc:ann@example.com",
            "ä*?",
        ] {
            let told = told(user, "POST", "/api/v1/namespaces/shop/pods/web-0/exec");
            assert_eq!(
                words(&told)[5..],
                [
                    "shop".to_owned(),
                    format!("--as={user}"),
                    "--as-user-extra=gatescribe.dev/reason=TEXT".to_owned(),
                    "--".to_owned(),
                    "sh".to_owned()
                ]
            );
            assert!(!told.contains('…'), "{told}");
        }
    }
}
