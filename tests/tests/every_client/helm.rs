//! Helm on a chart of its own: installed, upgraded, listed, rolled back, uninstalled, each step waited for.

use anyhow::{Context as _, ensure};
use tests::kubectl::Kubectl;

use super::table::compared;
use super::talk::{Ended, Talk};
use super::words::comparable;
use super::world::{RELEASES, World};

const CHART: [(&str, &str); 4] = [
    (
        "Chart.yaml",
        "apiVersion: v2\nname: sample\nversion: 1.2.3\nappVersion: \"7\"\n",
    ),
    ("values.yaml", "replicas: 1\ngreeting: hello\n"),
    (
        "templates/deployment.yaml",
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ .Release.Name }} }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: {{ .Release.Name }} } }
  template:
    metadata: { labels: { app: {{ .Release.Name }} } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: main, image: none }]
"#,
    ),
    (
        "templates/rest.yaml",
        r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: {{ .Release.Name }}-config }
data: { greeting: {{ .Values.greeting | quote }} }
---
apiVersion: v1
kind: Service
metadata: { name: {{ .Release.Name }} }
spec: { selector: { app: {{ .Release.Name }} }, ports: [{ port: 80 }] }
"#,
    ),
];

/// A line, its exit code, and what has to be in its output.
const STEPS: [(&str, i32, &str); 12] = [
    ("install web CHART --wait --timeout 100s", 0, "STATUS: deployed"),
    ("install web CHART", 1, ""),
    ("list --time-format 2006", 0, "sample-1.2.3"),
    ("status web", 0, "REVISION: 1"),
    ("get manifest web", 0, "greeting: \"hello\""),
    (
        "upgrade web CHART --set replicas=2,greeting=bye --wait --timeout 100s",
        0,
        "REVISION: 2",
    ),
    ("get values web -o json", 0, "{\"greeting\":\"bye\",\"replicas\":2}"),
    ("history web", 0, "Upgrade complete"),
    ("rollback web 1 --wait --timeout 100s", 0, "Rollback was a success"),
    ("upgrade none CHART", 1, ""),
    ("uninstall web --wait --timeout 100s", 0, "release \"web\" uninstalled"),
    ("list --all -q", 0, ""),
];

#[test]
fn l_08_helm_installs_upgrades_and_uninstalls_the_same() -> anyhow::Result<()> {
    let world = World::shared()?;
    let before = world.gateway.records()?.len();
    let chart = world.folder("chart")?;
    std::fs::create_dir_all(chart.join("templates"))?;
    for (name, text) in CHART {
        std::fs::write(chart.join(name), text)?;
    }
    let chart = chart.to_str().context("UTF-8")?;
    let [direct, gate] = std::thread::scope(|scope| {
        let sides = [0, 1].map(|place| {
            let (kubectl, namespace) = (&world.sides[place].kubectl, RELEASES[place]);
            scope.spawn(move || release(kubectl, namespace, chart))
        });
        sides.map(|side| side.join().expect("a side"))
    });
    let mut problems = Vec::new();
    for ((step, direct), gate) in STEPS.iter().zip(direct?).zip(gate?) {
        let differs = compared(&direct, RELEASES[0], &gate, RELEASES[1]);
        if !differs.is_empty() {
            problems.push(format!("── helm {}\n{differs}", step.0));
        }
    }
    assert!(
        problems.is_empty(),
        "{}\n\nrecorded:\n{}",
        problems.join("\n\n"),
        world.recorded(before)
    );
    Ok(())
}

/// All steps on one side; what each said.
fn release(kubectl: &Kubectl, namespace: &str, chart: &str) -> anyhow::Result<Vec<Ended>> {
    let mut said = Vec::new();
    for (line, code, part) in STEPS {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "CHART" { chart } else { word })
            .collect();
        let helm = kubectl.clone().program("helm");
        let ended = Talk::run(helm.command(&[&words, ["-n", namespace].as_slice()].concat())?, b"")?;
        let stdout = comparable(std::str::from_utf8(&ended.stdout)?, namespace);
        ensure!(
            ended.code == code && stdout.contains(part),
            "{namespace}: helm {line}: exit code {}\n{stdout}\n{}",
            ended.code,
            ended.stderr
        );
        said.push(ended);
    }
    Ok(said)
}
