//! Services: what loads, what is refused, and which one answers.

use proptest::prelude::*;

use super::*;
use crate::rule::load_files;
use model::service::HostName;

fn load(documents: &[&str]) -> Result<Services, Vec<String>> {
    let text: Vec<String> = documents
        .iter()
        .map(|spec| {
            let (name, spec) = spec.split_once(' ').unwrap();
            format!("apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n")
        })
        .collect();
    match load_files([("services.yaml", text.join("---\n").as_str())]) {
        Ok(policy) => Ok(policy.services),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

const WEB: &str = "{url: 'http://web.shop.svc:8080'}";

#[test]
fn of_services_that_share_a_host_the_longest_path_answers_by_whole_segments() {
    let services = load(&[
        &format!("web {{hosts: [shop.example, www.shop.example], upstream: {WEB}}}"),
        &format!("cart {{hosts: [shop.example], path: /cart, upstream: {WEB}}}"),
        &format!("orders {{hosts: [shop.example], path: /cart/orders/, upstream: {WEB}}}"),
        &format!("admin {{hosts: [admin.shop.example], path: /admin, upstream: {WEB}}}"),
    ])
    .unwrap();
    let found = |host: &str, path: &str| {
        let host = HostName::new(host).unwrap();
        services
            .find(&host, path)
            .map(|service| service.name().as_str().to_owned())
    };
    for (host, path, name) in [
        ("shop.example", "/", Some("web")),
        ("shop.example", "/cart", Some("cart")),
        ("shop.example", "/cart/", Some("cart")),
        ("shop.example", "/cart/x", Some("cart")),
        ("shop.example", "/carts", Some("web")),
        ("shop.example", "/Cart", Some("web")),
        ("shop.example", "/cart/orders", Some("orders")),
        ("shop.example", "/cart/orders/7", Some("orders")),
        ("www.shop.example", "/cart", Some("web")),
        ("admin.shop.example", "/", None),
        ("admin.shop.example", "/admin/", Some("admin")),
        ("other.example", "/", None),
    ] {
        assert_eq!(found(host, path).as_deref(), name, "{host}{path}");
    }
    assert_eq!(
        services.named("orders").map(Published::path).as_deref(),
        Some("/cart/orders")
    );
    assert!(services.has_host(&HostName::new("www.shop.example").unwrap()));
}

#[test]
fn what_cannot_be_published_is_refused_with_its_place() {
    for (spec, said) in [
        (
            "Web {hosts: [a.example], upstream: {url: 'http://a'}}",
            ":3:18: service `Web`: metadata.name: `Web` is no service name",
        ),
        (
            "web {hosts: [], upstream: {url: 'http://a'}}",
            "spec.hosts: nobody could ask for it",
        ),
        (
            "web {hosts: [a.example, a.example], upstream: {url: 'http://a'}}",
            "spec.hosts: `a.example` stands twice",
        ),
        (
            "web {hosts: ['*.example'], upstream: {url: 'http://a'}}",
            "`*.example` is no host name",
        ),
        (
            "web {hosts: [a.example], path: app, upstream: {url: 'http://a'}}",
            "spec.path: `app`: a path begins with `/`",
        ),
        (
            "web {hosts: [a.example], path: /a//b, upstream: {url: 'http://a'}}",
            "spec.path: `/a//b`: a segment `` is in no path",
        ),
        (
            "web {hosts: [a.example], path: /a/../b, upstream: {url: 'http://a'}}",
            "a segment `..` is in no path",
        ),
        (
            "web {hosts: [a.example], path: /a%20b, upstream: {url: 'http://a'}}",
            "letters, digits and `-._~` only",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'ftp://a'}}",
            "spec.upstream.url: `ftp://a` begins with neither",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'http:///x'}}",
            "names no host",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'http://me:secret@a/'}}",
            "it carries user information",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'http://a/?b'}}",
            "no query, fragment",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'http://a', caFile: /ca.pem}}",
            "spec.upstream.caFile: it has no effect",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'https://a', serverName: ''}}",
            "spec.upstream.serverName: it is empty",
        ),
        (
            "web {hosts: [a.example], upstream: {url: 'http://a'}, allow: everyone}",
            "unknown field `allow`",
        ),
        ("web {hosts: [a.example]}", "missing field `upstream`"),
    ] {
        let told = load(&[spec]).unwrap_err();
        assert!(told.iter().any(|line| line.contains(said)), "{spec}: {told:?}");
        assert!(told.iter().all(|line| !line.contains("secret")), "{told:?}");
    }
}

#[test]
fn two_services_of_one_name_or_of_one_host_and_path_are_refused() {
    let told = load(&[
        &format!("web {{hosts: [a.example, b.example], upstream: {WEB}}}"),
        &format!("web {{hosts: [c.example], upstream: {WEB}}}"),
        &format!("shop {{hosts: [d.example, b.example], upstream: {WEB}}}"),
        &format!("cart {{hosts: [b.example], path: /cart, upstream: {WEB}}}"),
    ])
    .unwrap_err();
    assert_eq!(
        told,
        [
            "services.yaml:8:18: metadata.name: there are two services of this name; the other one is in services.yaml:1",
            "services.yaml:14:27: spec.hosts: `web` has `/` of this host too; the other one is in services.yaml:1",
        ]
    );
}

proptest! {
    /// Whoever finds the longest by looking at all of them finds the same.
    #[test]
    fn the_service_that_answers_is_that_of_the_longest_path_that_fits(
        paths in proptest::collection::btree_set("(/(a|b)){0,3}", 1..6),
        asked in "(/(a|b|ab)){1,4}/?",
    ) {
        let specs: Vec<_> = paths
            .iter()
            .enumerate()
            .map(|(at, path)| format!("s{at} {{hosts: [a.example], path: {}, upstream: {WEB}}}", if path.is_empty() { "/" } else { path }))
            .collect();
        let services = load(&specs.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let found = services.find(&HostName::new("a.example").unwrap(), &asked).map(Published::path);
        let fits = |path: &&String| asked == **path || asked.starts_with(&format!("{path}/"));
        let expected = paths.iter().filter(fits).max_by_key(|path| path.len()).cloned();
        prop_assert_eq!(found, expected);
    }
}
