//! What a document may say beyond its host and its address: what it means, and what is refused with its place.

use super::*;
use crate::rule::load_files;
use std::time::Duration;

fn load(spec: &str) -> Result<Published, Vec<String>> {
    let text = format!(
        "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], {spec}}}\n"
    );
    match load_files([("services.yaml", text.as_str())]) {
        Ok(policy) => Ok(policy.services.named("web").cloned().unwrap()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

const WEB: &str = "upstream: {url: 'http://web.shop.svc'}";

fn refuses(spec: &str, said: &str) {
    let told = load(spec).expect_err(spec);
    assert!(told.iter().any(|line| line.contains(said)), "{spec}: {told:#?}");
}

#[test]
fn a_service_is_at_a_url_in_a_cluster_or_at_a_socket() {
    let at = |upstream: &str| load(&format!("upstream: {{{upstream}}}")).unwrap().upstream().clone();
    let url =
        at("url: 'https://web.example:8443/base', caFile: /ca.pem, clientCertificate: {certFile: /c, keyFile: /k}");
    assert_eq!(*url.place(), UpstreamPlace::Url("https://web.example:8443/base".into()));
    let tls = url.tls().unwrap();
    assert_eq!(tls.ca_file.as_deref(), Some("/ca.pem"));
    assert_eq!(tls.server_name, None);
    assert_eq!(tls.client_certificate, Some(("/c".to_owned(), "/k".to_owned())));

    let service = at("kubernetes: {cluster: prod, namespace: shop, name: web, port: http}, scheme: https");
    let UpstreamPlace::Kubernetes(place) = service.place() else {
        panic!("{service:?}")
    };
    assert_eq!(
        (place.cluster().as_str(), place.namespace(), place.name()),
        ("prod", "shop", "web")
    );
    assert_eq!(*place.port(), ServicePort::Name("http".into()));
    assert_eq!(service.tls().unwrap().server_name.as_deref(), Some("web.shop.svc"));

    assert_eq!(url.asked_as(), "https://web.example:8443/base");
    assert_eq!(service.asked_as(), "https://web.shop.svc");

    let number = at("kubernetes: {cluster: prod, namespace: shop, name: web, port: 80}, protocol: h2c");
    assert!(matches!(number.place(), UpstreamPlace::Kubernetes(place) if *place.port() == ServicePort::Number(80)));
    assert_eq!((number.protocol(), number.tls()), (UpstreamProtocol::H2c, None));

    assert_eq!(number.asked_as(), "http://web.shop.svc:80");

    let socket = at("unix: /run/web/http.sock");
    assert_eq!(*socket.place(), UpstreamPlace::Unix("/run/web/http.sock".into()));
    assert_eq!((socket.protocol(), socket.tls()), (UpstreamProtocol::Auto, None));
}

#[test]
fn a_service_behind_an_ingress_says_who_may_and_nothing_of_how_it_is_reached() {
    let service = load("upstream: {ingress: true}, path: /app, identityHeaders: {user: X-User}").unwrap();
    assert!(service.is_behind_ingress());
    assert_eq!(service.passing().headers.user(), Some("X-User"));
    assert!(!load(WEB).unwrap().is_behind_ingress());
    for place in [
        "url: 'http://a'",
        "unix: /a",
        "kubernetes: {cluster: a, namespace: b, name: c, port: 1}",
    ] {
        refuses(
            &format!("upstream: {{ingress: true, {place}}}"),
            "spec.upstream: a service is in one place",
        );
    }
    for (vain, said) in [
        ("scheme: https", "spec.upstream.scheme: it has no effect: your ingress"),
        ("protocol: h2", "spec.upstream.protocol: it has no effect: your ingress"),
        ("caFile: /a", "spec.upstream.caFile: it has no effect: your ingress"),
        (
            "serverName: a",
            "spec.upstream.serverName: it has no effect: your ingress",
        ),
        (
            "clientCertificate: {certFile: /c, keyFile: /k}",
            "spec.upstream.clientCertificate: it has no effect: your ingress",
        ),
    ] {
        refuses(&format!("upstream: {{ingress: true, {vain}}}"), said);
    }
    for (vain, member) in [
        ("timeouts: {answer: 5s}", "timeouts"),
        ("limits: {body: 1MiB}", "limits"),
        ("rewrite: {redirects: true}", "rewrite"),
        ("host: keep", "host"),
        ("forwarded: false", "forwarded"),
        ("headers: {request: {remove: [X-A]}}", "headers"),
    ] {
        refuses(
            &format!("upstream: {{ingress: true}}, {vain}"),
            &format!("spec.{member}: it has no effect: its calls pass your ingress and not the gateway"),
        );
    }
}

#[test]
fn an_upstream_that_cannot_be_meant_is_refused_with_its_place() {
    for (upstream, said) in [
        (
            "",
            "spec.upstream: it says nowhere to go: write `url`, `kubernetes`, `unix` or `ingress`",
        ),
        (
            "url: 'http://a', unix: /a",
            "spec.upstream: a service is in one place: keep one of `url`, `kubernetes`, `unix` and `ingress`",
        ),
        (
            "url: 'http://a', scheme: http",
            "spec.upstream.scheme: the URL says it: leave it out",
        ),
        (
            "url: 'http://a', protocol: h2",
            "spec.upstream.protocol: `h2` is HTTP/2 over TLS: write `h2c` for HTTP/2 in clear text, or `https`",
        ),
        (
            "url: 'https://a', protocol: h2c",
            "spec.upstream.protocol: `h2c` is HTTP/2 in clear text: write `h2` for HTTP/2 over TLS, or `http`",
        ),
        ("url: 'http://a', protocol: h3", "unknown variant `h3`"),
        (
            "url: 'http://a', clientCertificate: {certFile: /c, keyFile: /k}",
            "spec.upstream.clientCertificate: it has no effect: no certificate is looked at in clear text",
        ),
        (
            "url: 'https://a', clientCertificate: {certFile: /c, keyFile: ''}",
            "spec.upstream.clientCertificate: name both files: `certFile` and `keyFile`",
        ),
        (
            "kubernetes: {cluster: prod, namespace: shop, name: web, port: 0}",
            "spec.upstream.kubernetes.port: `0` is no port: 1 to 65535, or the port's name",
        ),
        (
            "kubernetes: {cluster: prod, namespace: shop, name: web, port: 70000}",
            "`70000` is no port",
        ),
        (
            "kubernetes: {cluster: prod, namespace: shop, name: web, port: '80'}",
            "spec.upstream.kubernetes.port: `80` is neither a port's number (without quotes) nor its name in the Service",
        ),
        (
            "kubernetes: {cluster: prod, namespace: shop, name: '../x', port: 80}",
            "spec.upstream.kubernetes.name: `../x` is no name of a Service",
        ),
        (
            "kubernetes: {cluster: prod, namespace: 'a,b', name: web, port: 80}",
            "spec.upstream.kubernetes.namespace: `a,b` is no name of a namespace",
        ),
        (
            "kubernetes: {cluster: Prod, namespace: shop, name: web, port: 80}",
            "spec.upstream.kubernetes.cluster",
        ),
        (
            "unix: run/web.sock",
            "spec.upstream.unix: `run/web.sock` is no absolute path",
        ),
        (
            "unix: /run/../etc/x",
            "spec.upstream.unix: `/run/../etc/x`: leave the segment `..` out",
        ),
        ("unix: /", "leave the segment `` out"),
        (
            "unix: /run/web.sock, scheme: https",
            "spec.upstream.serverName: the path of a socket is no name that a certificate carries",
        ),
    ] {
        refuses(&format!("upstream: {{{upstream}}}"), said);
    }
    refuses(
        &format!("upstream: {{unix: /{}}}", "a".repeat(107)),
        "too long for a socket",
    );
}

#[test]
fn what_a_call_may_take_is_written_as_elsewhere() {
    let plain = load(WEB).unwrap();
    assert_eq!(plain.passing().timeouts, Timeouts::default());
    assert_eq!(plain.passing().largest_body, None);
    let web = load(&format!(
        "{WEB}, timeouts: {{connect: 3s, answer: 5m, idle: 15m, longest: 8h}}, limits: {{body: 10MiB}}"
    ))
    .unwrap();
    let Timeouts {
        connect,
        answer,
        idle,
        longest,
    } = web.passing().timeouts;
    assert_eq!([connect, answer, idle].map(|time| time.as_secs()), [3, 300, 900]);
    assert_eq!(longest, Some(Duration::from_secs(8 * 3_600)));
    assert_eq!(web.passing().largest_body, Some(10 << 20));
    for (member, said) in [
        (
            "timeouts: {answer: 5}",
            "spec.timeouts.answer: `5` is no length of time",
        ),
        (
            "timeouts: {answer: 0s}",
            "spec.timeouts.answer: `0s` is no length of time",
        ),
        (
            "timeouts: {connect: 2m}",
            "spec.timeouts.connect: a connection that does not stand after `1m` does not come",
        ),
        (
            "timeouts: {idle: 2h, longest: 1h}",
            "spec.timeouts.idle: it has no effect: every call ends at `longest` before it can be silent for so long",
        ),
        ("timeouts: {read: 1h}", "unknown field `read`"),
        ("limits: {body: 10MB}", "spec.limits.body: `10MB` is no size"),
        ("limits: {body: 0KiB}", "spec.limits.body: `0KiB` is no size"),
        ("limits: {body: 99999999999999999GiB}", "is no size"),
        ("limits: {body: ' 1KiB'}", "is no size"),
    ] {
        refuses(&format!("{WEB}, {member}"), said);
    }
}

#[test]
fn n_07_addresses_and_hosts_are_rewritten_only_when_asked() {
    let plain = load(&format!("path: /app, {WEB}")).unwrap();
    let target = Target::of_service(b"/app/a%20b?c").unwrap();
    assert_eq!(plain.forwarded(&target).unwrap().raw(), "/app/a%20b?c");
    assert!(!plain.passing().rewrites_redirects);
    assert_eq!(plain.passing().host, HostSpec::Keep);
    assert!(plain.passing().says_forwarded);

    let web = load(&format!(
        "path: /team/app, {WEB}, rewrite: {{stripPath: true, redirects: true}}, host: upstream, forwarded: false"
    ))
    .unwrap();
    for (raw, left) in [
        ("/team/app/a%20b?c", "/a%20b?c"),
        ("/t%65am/app", "/"),
        ("/team/app/", "/"),
    ] {
        let target = Target::of_service(raw.as_bytes()).unwrap();
        assert_eq!(web.forwarded(&target).unwrap().raw(), left);
    }
    let elsewhere = Target::of_service(b"/team").unwrap();
    assert!(web.forwarded(&elsewhere).is_err());
    assert!(web.passing().rewrites_redirects && !web.passing().says_forwarded);
    assert_eq!(web.passing().host, HostSpec::Upstream);
    for path in ["", "path: /, "] {
        refuses(
            &format!("{path}{WEB}, rewrite: {{stripPath: true}}"),
            "spec.rewrite.stripPath: it has no effect: the service stands on no path",
        );
    }
    refuses(
        &format!("{WEB}, host: other.example"),
        "unknown variant `other.example`",
    );
}

#[test]
fn n_14_headers_are_set_and_removed_where_a_document_says_so() {
    let plain = load(WEB).unwrap();
    let rules = &plain.passing().headers;
    assert_eq!(
        (rules.request(), rules.response()),
        (&HeaderChanges::default(), &HeaderChanges::default())
    );
    assert_eq!(rules.assertion(), "X-Gatescribe-Assertion");
    assert_eq!(rules.own().collect::<Vec<_>>(), ["X-Gatescribe-Assertion"]);
    let web = load(&format!(
        "{WEB}, headers: {{request: {{set: {{X-Tenant: shop}}, remove: [X-Debug]}}, response: {{set: {{Strict-Transport-Security: \
         max-age=600}}, remove: [Server]}}}}, assertion: {{header: X-Who}}, identityHeaders: {{user: X-Webauth-User, groups: \
         X-Groups, email: X-Auth-Request-Email}}"
    ))
    .unwrap();
    let rules = &web.passing().headers;
    assert_eq!(rules.request().set, [("X-Tenant".into(), "shop".into())]);
    assert_eq!(rules.response().remove, ["Server".into()]);
    let own: Vec<_> = rules.own().collect();
    assert_eq!(
        own,
        [
            "X-Who",
            "X-Webauth-User",
            "X-Groups",
            "X-Auth-Request-Email",
            "X-Tenant",
            "X-Debug"
        ]
    );
}

#[test]
fn n_01_n_14_no_document_changes_what_frames_routes_or_says_who_calls() {
    for name in [
        "Connection",
        "Keep-Alive",
        "Transfer-Encoding",
        "transfer_encoding",
        "Content-Length",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "HTTP2-Settings",
        "Sec-WebSocket-Key",
        "Expect",
    ] {
        for direction in ["request", "response"] {
            refuses(
                &format!("{WEB}, headers: {{{direction}: {{remove: ['{name}']}}}}"),
                &format!("spec.headers.{direction}.remove: `{name}` is not changed here"),
            );
        }
    }
    for name in [
        "Host",
        "Cookie",
        "Authorization",
        "AUTHORIZATION",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "Remote-User",
        "Impersonate-User",
        "X-Gatescribe-Assertion",
        "X-HTTP-Method-Override",
        "Audit-ID",
        "Origin",
    ] {
        refuses(
            &format!("{WEB}, headers: {{request: {{set: {{'{name}': x}}}}}}"),
            &format!("spec.headers.request.set: `{name}` is not changed here"),
        );
    }
    for name in [
        "Set-Cookie",
        "set.cookie",
        "Clear-Site-Data",
        "Alt-Svc",
        "Location",
        "Gatescribe-Record",
        "X-Accel-Redirect",
        "WWW-Authenticate",
    ] {
        refuses(
            &format!("{WEB}, headers: {{response: {{set: {{'{name}': x}}}}}}"),
            &format!("spec.headers.response.set: `{name}` is not changed here"),
        );
    }
    refuses(
        &format!("path: /app, {WEB}, headers: {{response: {{set: {{Service-Worker-Allowed: /}}}}}}"),
        "gives its scripts no other path",
    );
    for (value, said) in [
        ("''", "the value of `X-A` is empty"),
        ("' a'", "holds something else than visible ASCII"),
        ("\"a\\r\\nX-B: c\"", "holds something else than visible ASCII"),
        ("ä", "holds something else than visible ASCII"),
    ] {
        refuses(&format!("{WEB}, headers: {{request: {{set: {{X-A: {value}}}}}}}"), said);
    }
    refuses(
        &format!("{WEB}, headers: {{request: {{set: {{X_A: b}}}}}}"),
        "`X_A` is no header's name that all servers read alike",
    );
    refuses(
        &format!("{WEB}, headers: {{request: {{set: {{X-A: b}}, remove: [x-a]}}}}"),
        "spec.headers.request.remove: `x-a` stands in `spec.headers.request.set` too, if only in another spelling",
    );
}

#[test]
fn n_01_only_a_name_of_its_own_says_who_calls() {
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Forwarded",
        "Authorization",
        "Cookie",
        "Host",
        "X-Real-IP",
        "Impersonate-User",
        "Connection",
        "Content-Type",
        "Accept",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "Audit-ID",
        "Proxy-User",
        "x_user",
        "X--User",
    ] {
        refuses(
            &format!("{WEB}, identityHeaders: {{user: {name}}}"),
            "spec.identityHeaders.user: `",
        );
        refuses(
            &format!("{WEB}, assertion: {{header: {name}}}"),
            "spec.assertion.header: `",
        );
    }
    for (members, said) in [
        (
            "identityHeaders: {user: X-Who, email: x-WHO}",
            "spec.identityHeaders.email: `x-WHO` stands in `spec.identityHeaders.user` too",
        ),
        (
            "assertion: {header: X-Who}, identityHeaders: {user: X-Who}",
            "spec.identityHeaders.user: `X-Who` stands in `spec.assertion.header` too",
        ),
        (
            "identityHeaders: {user: X-Who}, headers: {request: {set: {X-Who: root}}}",
            "spec.identityHeaders.user: `X-Who` stands in `spec.headers.request.set` too",
        ),
        (
            "identityHeaders: {user: X-Gatescribe-Assertion}",
            "spec.identityHeaders.user: `X-Gatescribe-Assertion` stands in `spec.assertion.header` too",
        ),
        ("identityHeaders: {}", "spec.identityHeaders: it has no effect"),
    ] {
        refuses(&format!("{WEB}, {members}"), said);
    }
}
