//! Every member of every closed list has a number of its own, and no request makes a series.

use model::request::{Target, Wire};
use prometheus_client::registry::Registry;

use super::*;

fn scrape(requests: &Arc<Requests>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::clone(requests)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

fn series(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name))
        .collect()
}

#[test]
fn the_number_of_a_member_is_its_place_in_the_list() {
    for (number, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, number);
    }
    for (number, credential) in Credential::ALL.iter().enumerate() {
        assert_eq!(*credential as usize, number);
    }
}

#[test]
fn names_of_one_list_differ() {
    let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn all_series_are_there_before_the_first_request_and_none_comes_later() {
    let requests = Arc::new(Requests::new(["prod"]));
    let before = scrape(&requests);
    let of = requests.of(&ClusterId::new("prod").unwrap());
    for act in Act::ALL {
        for status in [None, Some(101), Some(200), Some(304), Some(404), Some(503), Some(999)] {
            of.ended(*act, Status::of(status), Kind::Long, 1);
        }
    }
    for reason in Reason::ALL {
        of.refused(*reason, Some(LimitKind::Logs));
    }
    of.proved(Credential::Certificate, 5);
    of.reviewed(Review::Unknown);
    of.decided_by(DecidedBy::Cluster);
    let after = scrape(&requests);
    assert_eq!(series(&before), series(&after));
    assert!(
        after.contains("gateway_requests_total{cluster=\"prod\",verb=\"path\",status=\"5xx\"} 2.0\n"),
        "{after}"
    );
    assert!(
        after.contains("gateway_refusals_total{cluster=\"prod\",reason=\"internal\"} 1.0\n"),
        "{after}"
    );
    assert!(after.contains("gateway_identities_proved_total{cluster=\"prod\",credential=\"certificate\"} 1.0\n"));
    assert!(after.contains("gateway_access_reviews_total{cluster=\"prod\",answer=\"unknown\"} 1.0\n"));
}

#[test]
fn a_cluster_that_is_not_configured_counts_as_nobodys() {
    let requests = Requests::new(["prod"]);
    assert_eq!(&*requests.of(&ClusterId::new("other").unwrap()).cluster, NOBODY);
}

#[test]
fn what_a_request_wants_is_one_of_a_few_words_whatever_its_path() {
    let act = |method: &str, path: &str| {
        let target = Target::parse(path.as_bytes()).unwrap();
        let wire = Wire {
            method,
            wants_upgrade: false,
            impersonates: false,
        };
        Act::of(RequestFacts::classify(&target, wire).ok().as_ref())
    };
    assert_eq!(act("GET", "/api/v1/namespaces/default/pods/web/log"), Act::Log);
    assert_eq!(act("GET", "/api/v1/pods?watch=1"), Act::Watch);
    assert_eq!(act("DELETE", "/api/v1/namespaces/default/pods"), Act::DeleteCollection);
    assert_eq!(act("POST", "/api/v1/namespaces/default/pods/web/exec"), Act::Enter);
    assert_eq!(act("GET", "/version"), Act::Path);
    assert_eq!(act("BREW", "/api/v1/pods"), Act::Unknown);
    assert_eq!(act("BREW", "/teapot"), Act::Path);
}
