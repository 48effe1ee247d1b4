//! Annotated Services: what a namespace may have, and what it never gets.

use std::collections::BTreeMap;

use model::cluster::ClusterId;
use model::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::rule::load_files;

const FILES: &str = "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {name: grafana}
spec: {hosts: [grafana.apps.example.com], path: /g, upstream: {url: 'http://grafana'}}
---
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {name: shop-admin}
spec: {hosts: [admin.example.com], upstream: {url: 'http://admin'}}
---
apiVersion: gatescribe.dev/v1
kind: ServicePublication
metadata: {name: apps}
spec: {cluster: prod, namespaces: [shop, team, team-a], hosts: ['*.apps.example.com', shop.example.com]}
";

/// `namespace/name at ANNOTATIONS`, such as `shop/web 10 host=a.apps.example.com path=/x`.
fn annotated(text: &str) -> AnnotatedService {
    let mut words = text.split(' ');
    let (namespace, name) = words.next().unwrap().split_once('/').unwrap();
    let created = Timestamp::from_unix_seconds(words.next().unwrap().parse().unwrap());
    let annotations = words.map(|word| word.split_once('=').unwrap());
    AnnotatedService {
        cluster: ClusterId::new("prod").unwrap(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: BTreeMap::from([("exposure".to_owned(), "internal".to_owned())]),
        created,
        annotations: annotations
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        ports: vec![(80, Some("http".to_owned()))],
    }
}

fn refuses_its_own(host: &HostName) -> Option<String> {
    (host.as_str() == "gate.apps.example.com").then(|| format!("`{host}` is the gateway's own"))
}

fn publish(all: &[AnnotatedService]) -> (Vec<String>, Vec<String>) {
    let policy = load_files([("a.yaml", FILES)]).unwrap();
    let (services, unpublished) = policy
        .services
        .with_annotated(&policy.publications, all, refuses_its_own);
    assert_eq!(services.iter().take(2).count(), 2, "those of files stay");
    let published = services.iter().skip(2).map(|service| {
        let host = service.hosts()[0].as_str();
        format!(
            "{} {host}{} {}",
            service.name(),
            service.path(),
            service.upstream().asked_as()
        )
    });
    (
        published.collect(),
        unpublished.iter().map(ToString::to_string).collect(),
    )
}

fn one(text: &str) -> Result<String, String> {
    let (mut published, mut unpublished) = publish(&[annotated(text)]);
    assert_eq!(published.len() + unpublished.len(), 1);
    published.pop().ok_or_else(|| {
        let said = unpublished.remove(0);
        said.split_once(" is not published: ").unwrap().1.to_owned()
    })
}

#[test]
fn an_annotated_service_is_published_within_what_its_namespace_may_have() {
    for (text, published) in [
        (
            "shop/web 1 host=web.apps.example.com",
            "shop-web web.apps.example.com http://web.shop.svc:80",
        ),
        (
            "shop/web 1 host=shop.example.com path=/cart port=http",
            "shop-web shop.example.com/cart http://web.shop.svc",
        ),
        (
            "team/web 1 host=a.b.apps.example.com port=8080",
            "team-web a.b.apps.example.com http://web.team.svc:8080",
        ),
    ] {
        assert_eq!(one(text).as_deref(), Ok(published));
    }
}

#[test]
fn n_10_no_annotation_takes_what_is_not_its_namespaces() {
    for (text, said) in [
        (
            "other/web 1 host=web.apps.example.com",
            "no `ServicePublication` lets namespace `other` publish `web.apps.example.com`: ask who writes the gateway's rules",
        ),
        (
            "shop/web 1 host=apps.example.com",
            "no `ServicePublication` lets namespace `shop` publish `apps.example.com`",
        ),
        (
            "shop/web 1 host=xapps.example.com",
            "no `ServicePublication` lets namespace `shop`",
        ),
        (
            "shop/web 1 host=admin.example.com",
            "no `ServicePublication` lets namespace `shop`",
        ),
        (
            "shop/web 1 host=gate.apps.example.com",
            "`gate.apps.example.com` is the gateway's own",
        ),
        (
            "shop/web 1 host=grafana.apps.example.com",
            "`grafana.apps.example.com` is published by a file of the gateway's: take another host",
        ),
        (
            "shop/admin 1 host=a.apps.example.com",
            "another service is called `shop-admin` already",
        ),
        (
            "shop/web 1 host=Web.apps.example.com",
            "`Web.apps.example.com` is no host name",
        ),
        (
            "shop/web 1 host=*.apps.example.com",
            "`*.apps.example.com` is no host name",
        ),
        ("shop/web 1 path=/x", "it names no host: add `gatescribe.dev/host`"),
        (
            "shop/web 1 host=a.apps.example.com path=/../x",
            "a segment `..` is in no path",
        ),
        ("shop/web 1 host=a.apps.example.com port=0", "`0` is no port"),
        (
            "shop/web 1 host=a.apps.example.com port=99999999999",
            "is neither a port's number",
        ),
        (
            "shop/web 1 host=a.apps.example.com upstream=http://169.254.169.254",
            "`gatescribe.dev/upstream` is no annotation that it knows; they are `host`, `path` and `port`",
        ),
    ] {
        let told = one(text).unwrap_err();
        assert!(told.contains(said), "{text}: {told}");
    }
    let mut elsewhere = annotated("shop/web 1 host=web.apps.example.com");
    elsewhere.cluster = ClusterId::new("test").unwrap();
    assert_eq!(
        publish(&[elsewhere]).0,
        Vec::<String>::new(),
        "a namespace of another cluster is another one"
    );
    let mut several = annotated("shop/web 1 host=web.apps.example.com");
    several.ports.push((9100, None));
    assert_eq!(
        publish(&[several.clone()]).1,
        [
            "the annotated Service shop/web of prod is not published: it has several ports, 80 (`http`), 9100: say which one by \
             `gatescribe.dev/port`"
        ]
    );
    several.ports.clear();
    assert!(publish(&[several]).1[0].ends_with("it has no TCP port"));
}

#[test]
fn of_two_that_want_the_same_the_older_one_keeps_it() {
    let older = annotated("team/b-web 5 host=x.apps.example.com");
    for (younger, said) in [
        (
            "shop/a 9 host=x.apps.example.com path=/mine",
            "`x.apps.example.com` is published by team/b-web, which is older, and what shares a host shares its origin: take another host",
        ),
        (
            "team/a 9 host=x.apps.example.com",
            "an older Service of this namespace has this path of `x.apps.example.com`",
        ),
        // Both are `team-a-b-web`… to who reads a name.
        ("team-a/web 9 host=y.apps.example.com", ""),
    ] {
        let younger = annotated(younger);
        for order in [[older.clone(), younger.clone()], [younger, older.clone()]] {
            let (published, unpublished) = publish(&order);
            assert_eq!(published[0], "team-b-web x.apps.example.com http://b-web.team.svc:80");
            assert!(unpublished.iter().all(|told| told.contains(said)), "{unpublished:?}");
            assert_eq!(unpublished.is_empty(), said.is_empty());
        }
    }
    let same_name = [
        annotated("team/a-web 5 host=x.apps.example.com"),
        annotated("team-a/web 9 host=y.apps.example.com"),
    ];
    let (published, unpublished) = publish(&same_name);
    assert_eq!(published.len(), 1);
    assert!(
        unpublished[0].contains("another service is called `team-a-web` already"),
        "{unpublished:?}"
    );
    let neighbours = [
        annotated("team/a 5 host=x.apps.example.com"),
        annotated("team/b 9 host=x.apps.example.com path=/b"),
    ];
    assert_eq!(publish(&neighbours).0.len(), 2, "one namespace may part a host by path");
}

#[test]
fn what_one_document_cannot_let_anybody_have_is_refused_with_its_place() {
    for (spec, said) in [
        (
            "cluster: prod, namespaces: [], hosts: [a.example]",
            "spec.namespaces: nobody could publish anything",
        ),
        (
            "cluster: prod, namespaces: ['*'], hosts: [a.example]",
            "spec.namespaces: `*` is no namespace: each is named by itself",
        ),
        (
            "cluster: prod, namespaces: [shop], hosts: []",
            "spec.hosts: nothing could be published",
        ),
        (
            "cluster: prod, namespaces: [shop], hosts: ['*']",
            "spec.hosts: `*` would give every host away",
        ),
        (
            "cluster: prod, namespaces: [shop], hosts: ['a*.example']",
            "`a*.example` is no host name",
        ),
        (
            "cluster: Prod, namespaces: [shop], hosts: [a.example]",
            "spec.cluster: ",
        ),
        (
            "cluster: prod, namespaces: [shop], hosts: [a.example], path: /x",
            "unknown field `path`",
        ),
    ] {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: ServicePublication\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
        );
        let told: Vec<_> = load_files([("a.yaml", text.as_str())])
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(told.iter().any(|line| line.contains(said)), "{spec}: {told:?}");
    }
}

#[test]
fn no_namespace_takes_another_ones_places_by_number() {
    let crowd = (0..100).map(|number| annotated(&format!("shop/s{number} 1 host=s{number}.apps.example.com")));
    // Older than all, and never published: they take no place from anybody.
    let bogus = (0..100).map(|number| annotated(&format!("shop/b{number} 0 host=elsewhere.example.net")));
    let late = annotated("team/web 9 host=web.apps.example.com");
    let all: Vec<_> = crowd.chain(bogus).chain([late]).collect();
    let (published, unpublished) = publish(&all);
    assert_eq!(published.len(), 65);
    assert!(published.contains(&"team-web web.apps.example.com http://web.team.svc:80".to_owned()));
    let over = unpublished
        .iter()
        .filter(|told| told.ends_with("is not published: 64 older ones of this namespace are, and that is the limit"));
    assert_eq!(over.count(), 36);
}

proptest! {
    /// Whatever is annotated: what files publish answers as before, a host has one namespace, and names are each one service's.
    #[test]
    fn no_annotation_takes_anything_from_another(
        wanted in prop::collection::vec(
            (0_usize..3, "[ab](-web)?", 0_i64..3, "(grafana|gate|x|y)\\.apps\\.example\\.com|shop\\.example\\.com|admin\\.example\\.com", "(/(a|g))?"),
            0..8,
        ),
    ) {
        let all: BTreeMap<_, _> = wanted.iter().map(|(namespace, name, created, host, path)| {
            let namespace = ["shop", "team", "team-a"][*namespace];
            let path = if path.is_empty() { String::new() } else { format!(" path={path}") };
            ((namespace, name), annotated(&format!("{namespace}/{name} {created} host={host}{path}")))
        }).collect();
        let all: Vec<_> = all.into_values().collect();
        let policy = load_files([("a.yaml", FILES)]).unwrap();
            let (services, unpublished) = policy.services.with_annotated(&policy.publications, &all, refuses_its_own);
        prop_assert_eq!(services.iter().count() + unpublished.len(), all.len() + 2);
        prop_assert!(services.clashes().is_empty());
        let mut owners = BTreeMap::new();
        for service in services.iter().skip(2) {
            let UpstreamPlace::Kubernetes(place) = service.upstream().place() else { panic!("{service:?}") };
            let host = service.hosts()[0].as_str();
            prop_assert!(!["grafana.apps.example.com", "gate.apps.example.com", "admin.example.com"].contains(&host));
            prop_assert_eq!(owners.entry(host).or_insert(place.namespace()), &place.namespace());
        }
        for host in ["grafana.apps.example.com", "admin.example.com"] {
            let host = HostName::new(host).unwrap();
            for path in ["/", "/a", "/g", "/g/x"] {
                let name = |services: &Services| services.find(&host, path).map(|service| service.name().clone());
                prop_assert_eq!(name(&services), name(&policy.services));
            }
        }
    }
}
