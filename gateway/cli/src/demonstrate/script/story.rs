//! What happens in the story, and what each step must come to.

/// One command of one person.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Who sits at the keyboard.
    pub(super) who: &'static str,
    /// Said before it.
    pub(super) remark: Option<&'static str>,
    command: Command,
    code: i32,
    /// All of these must be said.
    says: &'static [&'static str],
}

#[derive(Clone, Debug)]
enum Command {
    Words(Vec<String>),
    /// What the last refusal told to do next.
    NextOfTheRefusal,
}

/// The story, told with kubectl or without.
pub(super) fn steps(gateway: &str, kubectl: bool) -> Vec<Step> {
    let sign_in = format!("gatescribe login {gateway}");
    let mut steps = vec![alice(&sign_in, &["✔ signed in", "alice@demo.example"]).remarked("alice, a developer")];
    steps.extend(if kubectl { with_kubectl() } else { without_kubectl() });
    steps.extend([
        Step {
            command: Command::NextOfTheRefusal,
            ..alice("", &["✖ refused", "payments"])
        },
        alice("gatescribe can delete pods -n payments", &["✖ no"]).ending(1),
        alice("gatescribe can delete pods -n shop", &["✔ yes", "dev-edit"]),
        alice(
            "gatescribe audit search --since 10m",
            &[
                "secrets -n payments",
                "✖ refused",
                "configmap",
                "✔ 201",
                "your own records",
            ],
        ),
        carol(&sign_in, &["✔ signed in", "carol@demo.example"])
            .remarked("carol, an auditor: what happened that night in payments?"),
        carol(
            "gatescribe audit search name:debug-erin --since 8d",
            &[
                "bob@demo.example",
                "kubectl create rolebinding",
                "kubectl delete rolebinding debug-erin -n payments",
                "(sample)",
            ],
        ),
        carol(
            "gatescribe audit search user:erin ip:203.0.113.77 --since 8d",
            &[
                "erin@demo.example",
                "kubectl exec",
                "kubectl get secrets bank-credentials -n payments",
                "✖ refused",
                "(sample)",
            ],
        ),
        carol(
            "gatescribe svc ls",
            &["shop.localhost", "http://127.0.0.1:", "✔", "rule files"],
        )
        .remarked("a service behind the same sign-in: where it is, and who may"),
        carol(
            "gatescribe svc test shop.localhost --as alice@demo.example --group dev",
            &[
                "alice@demo.example may",
                "shop-for-everybody",
                "in clear text",
                "✔ answer",
                "200 OK",
            ],
        ),
    ]);
    steps
}

fn with_kubectl() -> Vec<Step> {
    vec![
        alice("kubectl get deployments -n shop", &["catalog", "checkout", "2/2"]),
        alice(
            "kubectl create configmap greeting -n shop --from-literal=text=hello",
            &["configmap/greeting created"],
        ),
        alice("kubectl get secrets -n payments", REFUSAL).ending(1),
    ]
}

fn without_kubectl() -> Vec<Step> {
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"greeting"},"data":{"text":"hello"}}"#;
    let write = [
        "gatescribe",
        "api",
        "POST",
        "/api/v1/namespaces/shop/configmaps",
        "-d",
        body,
    ];
    vec![
        alice(
            "gatescribe api GET /apis/apps/v1/namespaces/shop/deployments/catalog",
            &["\"catalog\"", "\"readyReplicas\":2"],
        ),
        Step {
            command: Command::Words(write.map(str::to_owned).to_vec()),
            ..alice("", &["\"greeting\"", "\"text\":\"hello\""])
        },
        alice("gatescribe api GET /api/v1/namespaces/payments/secrets", REFUSAL).ending(4),
    ]
}

/// Who, what, why and what next: a refusal has all four.
const REFUSAL: &[&str] = &[
    "alice@demo.example may not list secrets in namespace payments",
    "because",
    "next",
    "decision",
    "refused by the gateway",
];

fn alice(command: &str, says: &'static [&'static str]) -> Step {
    Step {
        who: "alice",
        remark: None,
        command: Command::Words(command.split_whitespace().map(str::to_owned).collect()),
        code: 0,
        says,
    }
}

fn carol(command: &str, says: &'static [&'static str]) -> Step {
    Step {
        who: "carol",
        ..alice(command, says)
    }
}

impl Step {
    fn remarked(self, remark: &'static str) -> Self {
        Self {
            remark: Some(remark),
            ..self
        }
    }

    fn ending(self, code: i32) -> Self {
        Self { code, ..self }
    }

    /// The step with its command, now that the refusal before it is known.
    pub(super) fn resolved(self, refusal: &str) -> Self {
        match self.command {
            Command::Words(_) => self,
            Command::NextOfTheRefusal => Self {
                command: Command::Words(next(refusal)),
                ..self
            },
        }
    }

    fn words(&self) -> &[String] {
        match &self.command {
            Command::Words(words) => words,
            Command::NextOfTheRefusal => &[],
        }
    }

    pub(super) fn program(&self) -> &str {
        self.words().first().map_or("gatescribe", String::as_str)
    }

    pub(super) fn arguments(&self) -> &[String] {
        self.words().get(1..).unwrap_or_default()
    }

    /// As a person would type it.
    pub(super) fn typed(&self) -> String {
        let quoted = |word: &String| {
            if word.contains(['{', '"', ' ']) {
                format!("'{word}'")
            } else {
                word.clone()
            }
        };
        self.words().iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Whether the story goes on with what this one is told.
    pub(super) fn is_refused(&self) -> bool {
        self.says == REFUSAL
    }

    /// In what it is not as promised.
    pub(super) fn fault(&self, said: &str, code: Option<i32>) -> Option<String> {
        if code != Some(self.code) {
            let ended = code.map_or("by a signal".to_owned(), |code| format!("with {code}"));
            return Some(format!("it ended {ended}, not with {}", self.code));
        }
        // Under kubectl's table the words are there, in a JSON answer their line breaks are escaped.
        let missing = self.says.iter().find(|words| !said.contains(**words))?;
        Some(format!("`{missing}` was not said"))
    }
}

/// The command behind `next` in a refusal, as kubectl prints it or as it stands in JSON.
fn next(refusal: &str) -> Vec<String> {
    let lines = refusal.replace("\\n", "\n");
    let line = lines.lines().find_map(|line| line.trim_start().strip_prefix("next "));
    let command = line.unwrap_or_default().split('"').next().unwrap_or_default();
    command.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_of_a_refusal_is_found_in_both_forms() {
        let wanted = ["gatescribe", "why", "last"];
        let plain =
            "Error from server (Forbidden): no\n  because   x\n  next      gatescribe why last\n  decision  1\n";
        assert_eq!(next(plain), wanted);
        let json = r#"{"message":"no\n  because   x\n  next      gatescribe why last\n  decision  1","code":403}"#;
        assert_eq!(next(json), wanted);
        assert_eq!(next("nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_step_that_is_not_as_promised_says_in_what() {
        let step = alice("gatescribe why", &["refused"]).ending(1);
        assert_eq!(step.fault("refused", Some(1)), None);
        assert_eq!(step.fault("refused", Some(0)).unwrap(), "it ended with 0, not with 1");
        assert_eq!(step.fault("refused", None).unwrap(), "it ended by a signal, not with 1");
        assert_eq!(step.fault("allowed", Some(1)).unwrap(), "`refused` was not said");
    }

    #[test]
    fn both_ways_of_telling_have_the_same_length_and_the_same_people() {
        let (with, without) = (steps("http://127.0.0.1:1", true), steps("http://127.0.0.1:1", false));
        let people = |steps: &[Step]| steps.iter().map(|step| step.who).collect::<Vec<_>>();
        assert_eq!(people(&with), people(&without));
        assert!(people(&with).contains(&"carol") && people(&with).contains(&"alice"));
    }
}
