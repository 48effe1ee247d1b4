//! Everyday work: what people do with a cluster, task by task, and what controllers do all day and night.

use std::time::Duration;

use model::time::Timestamp;

use super::dice::Dice;
use super::scene::{Desk, Scene};
use super::{Act, Actor, DAY, Happening, Plan};
use crate::identity::Person;

pub(super) const KUBECTL: &str = "kubectl/v1.36.0 (linux/amd64) kubernetes/demo";
const K9S: &str = "k9s/v0.50.16 (darwin/arm64)";
const ADDRESSES: [&str; 8] = [
    "198.51.100.21",
    "198.51.100.34",
    "198.51.100.47",
    "198.51.100.52",
    "198.51.100.66",
    "198.51.100.71",
    "198.51.100.83",
    "203.0.113.9",
];

const SHOP: [&str; 4] = ["web", "cart", "catalog", "checkout"];
const PAYMENTS: [&str; 4] = ["web", "api", "risk", "ledger-sync"];
const HOUR: u64 = 60 * 60;

/// What someone does in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    LookAround,
    ReadLogs,
    Debug,
    Deploy,
    Configure,
    Scale,
    Restart,
    Forward,
    Overview,
    Network,
    PeekSecret,
    Review,
    AskRights,
    Typo,
}

/// What each role does, the frequent things more often.
fn repertoire(person: &Person) -> &'static [Task] {
    use Task::{
        AskRights, Configure, Debug, Deploy, Forward, LookAround, Network, Overview, PeekSecret, ReadLogs, Restart,
        Review, Scale, Typo,
    };
    match person.groups.first() {
        Some(&"dev") => &[
            LookAround, LookAround, LookAround, ReadLogs, ReadLogs, ReadLogs, Debug, Debug, Deploy, Deploy, Configure,
            Forward, PeekSecret, AskRights, Typo, Scale,
        ],
        Some(&"sre") => &[
            Overview, Overview, LookAround, LookAround, ReadLogs, ReadLogs, Debug, Restart, Scale, Network, Configure,
            Typo,
        ],
        Some(&"audit") => &[Review, Review, Review, Overview, LookAround, PeekSecret],
        _ => &[AskRights, LookAround, PeekSecret],
    }
}

/// A working day of one person: mornings and afternoons with a sign-in each.
pub(super) fn working_day(
    plan: &Plan,
    day: u32,
    midnight: Timestamp,
    (number, person): (u32, &'static Person),
    scene: &mut Scene,
    all: &mut Vec<Happening>,
) {
    let mut dice = Dice::new(plan.seed, u64::from(day) * 64 + u64::from(number));
    let (presence, least, most) = match person.groups.first() {
        Some(&"dev") => (94, 11, 18),
        Some(&"sre") => (96, 12, 20),
        Some(&"audit") => (65, 5, 11),
        _ => (40, 1, 3),
    };
    let address = ADDRESSES
        .get(usize::try_from(number).unwrap_or(0))
        .copied()
        .unwrap_or("198.51.100.20");
    for (half, opens, closes) in [(0_u32, 8 * HOUR, 12 * HOUR), (1, 13 * HOUR, 18 * HOUR)] {
        if !dice.chance(presence) {
            continue;
        }
        let signed_in = midnight.plus(Duration::from_secs(opens + dice.between(0, HOUR)));
        let actor = Actor::Person {
            person,
            session: (day * 2 + half) * 16 + number,
            signed_in,
        };
        let client = if number % 3 == 1 && half == 1 { K9S } else { KUBECTL };
        let desk = Desk { actor, address, client };
        let tasks = dice.between(least, most);
        let closes = midnight.plus(Duration::from_secs(closes));
        for _ in 0..tasks {
            let span = closes.since(signed_in).as_secs();
            let begins = signed_in.plus(Duration::from_secs(20 + dice.between(0, span)));
            let Some(task) = dice.pick(repertoire(person)).copied() else {
                continue;
            };
            perform(task, begins, desk, scene, &mut dice, all);
        }
    }
}

/// One act, its status if let through, and the usual seconds until the next.
type Step = (Act, u16, u64);

fn perform(task: Task, begins: Timestamp, desk: Desk, scene: &mut Scene, dice: &mut Dice, all: &mut Vec<Happening>) {
    let (namespace, workloads): (&'static str, &[&'static str; 4]) = if dice.chance(68) {
        ("shop", &SHOP)
    } else {
        ("payments", &PAYMENTS)
    };
    let workload = dice.pick(workloads).copied().unwrap_or("web");
    let pods = scene.pods(namespace, workload);
    let pod = dice.pick(&pods).cloned().unwrap_or_else(|| format!("{workload}-0"));
    let mut at = begins;
    for (act, status, pause) in steps(task, namespace, workload, &pod, dice) {
        let took = Duration::from_micros(900 + dice.between(0, 60_000));
        all.push(scene.happening(at, desk, act, status, took));
        at = at.plus(Duration::from_millis(pause * 1000 + dice.between(40, 9_000)));
    }
}

pub(super) fn core(verb: &'static str, resource: &'static str, namespace: &'static str, name: &str) -> Act {
    Act {
        verb,
        group: "",
        resource,
        subresource: "",
        namespace,
        name: name.to_owned(),
    }
}

pub(super) fn apps(verb: &'static str, resource: &'static str, namespace: &'static str, name: &str) -> Act {
    Act {
        group: "apps",
        ..core(verb, resource, namespace, name)
    }
}

pub(super) fn of_pod(subresource: &'static str, namespace: &'static str, name: &str) -> Act {
    let verb = if subresource == "log" { "get" } else { "create" };
    Act {
        subresource,
        ..core(verb, "pods", namespace, name)
    }
}

pub(super) fn rbac(verb: &'static str, resource: &'static str, namespace: &'static str, name: &str) -> Act {
    Act {
        group: "rbac.authorization.k8s.io",
        ..core(verb, resource, namespace, name)
    }
}

fn netpol(verb: &'static str, namespace: &'static str, name: &str) -> Act {
    Act {
        group: "networking.k8s.io",
        ..core(verb, "networkpolicies", namespace, name)
    }
}

fn can_i() -> Act {
    Act {
        group: "authorization.k8s.io",
        ..core("create", "selfsubjectaccessreviews", "", "")
    }
}

#[rustfmt::skip]
fn steps(task: Task, namespace: &'static str, workload: &'static str, pod: &str, dice: &mut Dice) -> Vec<Step> {
    // Now and then someone else was faster.
    let written = if dice.chance(6) { 409 } else { 200 };
    let deployment = |verb| apps(verb, "deployments", namespace, workload);
    let (map, no_secret) = if namespace == "shop" { ("web-settings", 404) } else { ("api-settings", 200) };
    let pods = (core("list", "pods", namespace, ""), 200, 6);
    let this_pod = (core("get", "pods", namespace, pod), 200, 4);
    let log = (of_pod("log", namespace, pod), 200, 27);
    match task {
        Task::LookAround => vec![pods, (apps("list", "deployments", namespace, ""), 200, 12), this_pod],
        Task::ReadLogs => vec![pods, log.clone(), log],
        Task::Debug => {
            vec![this_pod, (core("list", "events", namespace, ""), 200, 14), log, (of_pod("exec", namespace, pod), 101, 90)]
        }
        Task::Deploy => {
            vec![(deployment("get"), 200, 3), (deployment("patch"), written, 1), (deployment("watch"), 200, 35), pods]
        }
        Task::Configure => {
            let settings = |verb| core(verb, "configmaps", namespace, map);
            vec![(settings("get"), 200, 40), (settings("patch"), written, 3)]
        }
        Task::Scale => {
            vec![(deployment("get"), 200, 4), (Act { subresource: "scale", ..deployment("patch") }, written, 10), pods]
        }
        Task::Restart => {
            vec![pods, (core("delete", "pods", namespace, pod), 200, 3), (core("watch", "pods", namespace, ""), 200, 20)]
        }
        Task::Forward => vec![this_pod, (of_pod("portforward", namespace, pod), 101, 300)],
        Task::Overview => {
            let all = |resource| core("list", resource, "", "");
            vec![(all("nodes"), 200, 5), (all("pods"), 200, 9), (all("events"), 200, 15)]
        }
        Task::Network => {
            let name = format!("{workload}-from-web");
            let made = if dice.chance(20) { 409 } else { 201 };
            vec![(netpol("list", namespace, ""), 200, 20), (netpol("create", namespace, &name), made, 4), (netpol("delete", namespace, &name), 200, 6)]
        }
        Task::PeekSecret => {
            vec![(core("list", "secrets", namespace, ""), 200, 7), (core("get", "secrets", namespace, "bank-credentials"), no_secret, 5)]
        }
        Task::Review => vec![
            (rbac("list", "clusterrolebindings", "", ""), 200, 30),
            (rbac("list", "rolebindings", "", ""), 200, 45),
            (rbac("get", "clusterroles", "", "edit"), 200, 60),
            (netpol("list", "", ""), 200, 30),
        ],
        Task::AskRights => vec![(can_i(), 201, 5), (can_i(), 201, 5)],
        Task::Typo => vec![(core("get", "pods", namespace, &format!("{workload}-x")), 404, 4), this_pod],
    }
}

/// Controllers work evenly, day and night. The runner asks for a namespace that it has no role in.
pub(super) fn controllers(plan: &Plan, day: u32, midnight: Timestamp, scene: &mut Scene, all: &mut Vec<Happening>) {
    const GITOPS: &str = "system:serviceaccount:platform:gitops";
    const METRICS: &str = "system:serviceaccount:monitoring:kube-state-metrics";
    const RUNNER: &str = "system:serviceaccount:default:ci-runner";
    let mut dice = Dice::new(plan.seed, u64::from(day) * 64 + 63);
    for _ in 0..u64::from(plan.controllers_per_hour) * 24 {
        let at = midnight.plus(Duration::from_millis(dice.between(0, DAY * 1000)));
        let (account, client, address) = match dice.between(0, 20) {
            0..9 => (GITOPS, "gitops-server/v3.2.0", "10.42.1.17"),
            9..18 => (METRICS, "kube-state-metrics/v2.17.0", "10.42.2.31"),
            _ => (RUNNER, "gitlab-runner/18.5.0", "10.42.0.88"),
        };
        let namespace = *dice.pick(&["shop", "payments"]).unwrap_or(&"shop");
        let workload = *dice.pick(&SHOP).unwrap_or(&"web");
        let act = match (account, dice.between(0, 10)) {
            (GITOPS, 0..4) => apps("list", "deployments", namespace, ""),
            (GITOPS, 4..8) => apps("watch", "deployments", namespace, ""),
            (GITOPS, _) => apps("patch", "deployments", "shop", workload),
            (METRICS, 0..5) => core("watch", "pods", "", ""),
            (METRICS, _) => core(
                "list",
                dice.pick(&["pods", "services", "nodes", "configmaps"])
                    .copied()
                    .unwrap_or("pods"),
                "",
                "",
            ),
            (_, 0..9) => core("get", "pods", "shop", &format!("{workload}-0")),
            (_, _) => core("create", "pods", "payments", ""),
        };
        let status = if account == RUNNER { 404 } else { 200 };
        let desk = Desk {
            actor: Actor::Controller(account),
            address,
            client,
        };
        all.push(scene.happening(
            at,
            desk,
            act,
            status,
            Duration::from_micros(700 + dice.between(0, 9_000)),
        ));
    }
}
