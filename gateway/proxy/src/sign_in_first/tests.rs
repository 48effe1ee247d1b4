//! Who is led to the sign-in, and who is told in a form of their own.

use proptest::prelude::*;

use super::*;

fn head(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse::<HeaderValue>().unwrap())
        })
        .collect()
}

const PAGE: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);
const SAID: Said<'static> = Said {
    why: "no credential was presented",
    sign_in: "https://gate.example.com/signin",
    sign_in_and_back: "https://gate.example.com/signin?return_host=grafana.example.com&return_to=%2Fd%2Fx%3Fa%3Db",
    id: "019aa0e4-0000-7000-8000-000000000000",
};

fn metadata<'a>(mode: &'a str, destination: &'a str, site: &'a str) -> [(&'a str, &'a str); 4] {
    [
        PAGE,
        ("sec-fetch-mode", mode),
        ("sec-fetch-dest", destination),
        ("sec-fetch-site", site),
    ]
}

/// N-03, WEB-11: one row for each kind of asker.
#[test]
fn n_03_web_11_who_asks_is_read_from_the_head() {
    use Asker::*;
    let get = Method::GET;
    for (lines, asker) in [
        // Browsers of today.
        (metadata("navigate", "document", "none"), Navigation),
        (metadata("navigate", "document", "cross-site"), Navigation),
        (metadata("navigate", "iframe", "same-origin"), Navigation),
        (metadata("navigate", "frame", "same-site"), Navigation),
        (metadata("navigate", "iframe", "cross-site"), Subresource),
        (metadata("navigate", "iframe", "none"), Subresource),
        (metadata("navigate", "object", "same-origin"), Subresource),
        (metadata("navigate", "embed", "same-origin"), Subresource),
        (metadata("navigate", "empty", "same-origin"), Subresource),
        (metadata("cors", "empty", "same-origin"), Subresource),
        (metadata("same-origin", "empty", "same-origin"), Subresource),
        (metadata("no-cors", "image", "cross-site"), Subresource),
        (metadata("no-cors", "script", "cross-site"), Subresource),
        (metadata("no-cors", "document", "cross-site"), Subresource),
        // Nobody writes it so.
        (metadata("Navigate", "document", "none"), Subresource),
        (metadata("navigate", "document;x", "none"), Subresource),
        (metadata("navigate", "", "none"), Subresource),
    ] {
        assert_eq!(Asker::of(&get, &head(&lines), None), asker, "{lines:?}");
    }
    for (lines, asker) in [
        // Browsers that say nothing of the request.
        (vec![PAGE], Navigation),
        (vec![PAGE, ("x-requested-with", "XMLHttpRequest")], Subresource),
        (vec![PAGE, ("origin", "https://evil.test")], Subresource),
        (vec![("accept", "*/*"), ("origin", "null")], Subresource),
        (vec![PAGE, ("authorization", "Bearer x")], Program),
        // Programs.
        (vec![("accept", "*/*"), ("user-agent", "curl/8")], Program),
        (
            vec![("accept", "application/json"), ("user-agent", "kubectl/v1.36.0")],
            Program,
        ),
        (vec![], Program),
        // gRPC.
        (vec![("content-type", "application/grpc")], Grpc),
        (
            vec![("content-type", "application/grpc+proto"), ("te", "trailers")],
            Grpc,
        ),
        (vec![("content-type", "Application/gRPC; charset=x"), PAGE], Grpc),
        (
            vec![
                ("content-type", "application/grpc-web+proto"),
                ("sec-fetch-mode", "cors"),
            ],
            GrpcWeb,
        ),
        (vec![("content-type", "application/grpc-web-text")], GrpcWeb),
        (vec![("content-type", "application/grpcx")], Program),
        (vec![("content-type", "application/json")], Program),
        // Two of what should be one, and half of what should be whole.
        (
            vec![
                PAGE,
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-mode", "cors"),
                ("sec-fetch-dest", "document"),
            ],
            Subresource,
        ),
        (vec![PAGE, ("sec-fetch-mode", "navigate")], Subresource),
        (vec![PAGE, ("sec-fetch-site", "none")], Subresource),
        (
            vec![("content-type", "application/grpc"), ("content-type", "text/plain")],
            Program,
        ),
    ] {
        assert_eq!(Asker::of(&get, &head(&lines), None), asker, "{lines:?}");
    }
    let page = head(&metadata("navigate", "document", "none"));
    assert_eq!(Asker::of(&get, &page, Some(Upgrade::WebSocket)), WebSocket);
    assert_eq!(Asker::of(&get, &page, Some(Upgrade::Spdy31)), Program);
    assert_eq!(
        Asker::of(&Method::POST, &head(&[PAGE]), None),
        Program,
        "an old browser's form says nothing of itself"
    );
}

/// A prefetch would begin a sign-in that nobody asked for.
#[test]
fn a_page_that_is_fetched_before_anybody_wants_it_is_not_redirected() {
    for early in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ] {
        let mut lines = metadata("navigate", "document", "none").to_vec();
        lines.push(early);
        assert_eq!(
            Asker::of(&Method::GET, &head(&lines), None),
            Asker::Subresource,
            "{early:?}"
        );
    }
}

#[test]
fn n_03_only_what_is_asked_again_as_it_was_is_redirected() {
    for (method, form) in [
        (Method::GET, Form::Redirect),
        (Method::HEAD, Form::Redirect),
        (Method::POST, Form::Words),
        (Method::PUT, Form::Words),
        (Method::OPTIONS, Form::Words),
    ] {
        assert_eq!(Asker::Navigation.form(&method), form, "{method}");
        for asker in [Asker::Subresource, Asker::WebSocket, Asker::Program] {
            assert_eq!(asker.form(&method), Form::Problem, "{asker:?} {method}");
        }
        assert_eq!(Asker::Grpc.form(&method), Form::Grpc);
        assert_eq!(Asker::GrpcWeb.form(&method), Form::GrpcWeb);
    }
}

#[test]
fn the_address_of_the_sign_in_names_the_service_and_keeps_the_deep_link() {
    let host = HostName::new("grafana.example.com").unwrap();
    let address = |raw: &str| {
        let target = Target::of_service(raw.as_bytes()).unwrap();
        sign_in_and_back("https://gate.example.com:8443", &host, &target, "HASH")
    };
    let back = |text: &str| {
        format!("https://gate.example.com:8443/signin?return_host=grafana.example.com&return_to={text}&arrival=HASH")
    };
    assert_eq!(address("/"), back("%2F"));
    assert_eq!(
        address("/d/%C3%BC?a=1&b=+"),
        back("%2Fd%2F%25C3%25BC%3Fa%3D1%26b%3D%2B")
    );
    let long = "a".repeat(4090);
    assert_eq!(address(&format!("/d?{long}")), back(&format!("%2Fd%3F{long}")));
    assert_eq!(
        address(&format!("/d/?x={long}")),
        back(&format!("%2Fd%2F%3Fx%3D{long}"))
    );
    assert_eq!(
        address(&format!("/dash?x={long}")),
        back("%2Fdash"),
        "without its query"
    );
    assert_eq!(address(&format!("/{long}/{long}?x")), back("%2F"), "without its path");
}

fn lines_of(response: &Response<Bytes>) -> Vec<String> {
    let mut lines: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.insert(0, response.status().as_u16().to_string());
    lines
}

#[test]
fn a_navigation_is_sent_to_the_sign_in_from_which_it_comes_back() {
    let response = answer(Form::Redirect, &SAID);
    assert_eq!(
        lines_of(&response),
        [
            "303",
            "audit-id: 019aa0e4-0000-7000-8000-000000000000",
            "cache-control: no-store",
            "location: https://gate.example.com/signin?return_host=grafana.example.com&return_to=%2Fd%2Fx%3Fa%3Db",
            "x-content-type-options: nosniff",
        ]
    );
    assert!(response.body().is_empty());
}

#[test]
fn web_11_a_script_and_a_program_get_problem_details_with_the_address() {
    let response = answer(Form::Problem, &SAID);
    assert_eq!(
        lines_of(&response),
        [
            "401",
            "audit-id: 019aa0e4-0000-7000-8000-000000000000",
            "cache-control: no-store",
            "content-type: application/problem+json",
            "www-authenticate: Bearer realm=\"gatescribe\"",
            "x-content-type-options: nosniff",
        ]
    );
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "type": "tag:gatescribe.dev,2026:sign-in-first",
            "title": "Sign in first",
            "status": 401,
            "detail": "no credential was presented; nothing was sent to the service",
            "signIn": "https://gate.example.com/signin",
            "auditId": "019aa0e4-0000-7000-8000-000000000000",
        })
    );
}

#[test]
fn a_form_that_was_sent_is_answered_in_words() {
    for (form, back) in [
        (Form::Words, SAID.sign_in_and_back),
        (Form::Redirect, "https://gate.example.com/\r\nx: y"),
    ] {
        let said = Said {
            sign_in_and_back: back,
            ..SAID
        };
        let response = answer(form, &said);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        assert!(!response.headers().contains_key("location"));
        assert_eq!(
            std::str::from_utf8(response.body()).unwrap(),
            "Sign in first: no credential was presented.\n\nNothing was sent to the service. Sign in at \
             https://gate.example.com/signin , then go back and send it again.\n"
        );
    }
}

#[test]
fn grpc_is_answered_by_its_own_status_in_a_head_without_a_body() {
    let said = Said {
        why: "100 % of it is ä\n",
        ..SAID
    };
    for (form, kind) in [
        (Form::Grpc, "application/grpc"),
        (Form::GrpcWeb, "application/grpc-web+proto"),
    ] {
        let response = answer(form, &said);
        assert_eq!(
            lines_of(&response),
            [
                "200".to_owned(),
                "audit-id: 019aa0e4-0000-7000-8000-000000000000".to_owned(),
                "cache-control: no-store".to_owned(),
                format!("content-type: {kind}"),
                "grpc-message: sign in first: 100 %25 of it is %C3%A4%0A; sign in at https://gate.example.com/signin"
                    .to_owned(),
                "grpc-status: 16".to_owned(),
                "x-content-type-options: nosniff".to_owned(),
            ]
        );
        assert!(response.body().is_empty());
    }
}

/// Lines that a browser, a script or somebody who tries could send.
fn lines() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let one_of = |values: &'static [&'static str]| prop::sample::select(values).prop_map(str::to_owned);
    let line = prop_oneof![
        one_of(&[
            "navigate",
            "cors",
            "no-cors",
            "same-origin",
            "websocket",
            "Navigate",
            ""
        ])
        .prop_map(|v| ("sec-fetch-mode", v)),
        one_of(&[
            "document", "iframe", "frame", "image", "script", "empty", "object", "DOCUMENT", ""
        ])
        .prop_map(|v| ("sec-fetch-dest", v)),
        one_of(&["text/html", "*/*", "application/json", "text/html;q=0.9,*/*"]).prop_map(|v| ("accept", v)),
        one_of(&[
            "application/grpc",
            "application/grpc-web",
            "application/json",
            "text/html"
        ])
        .prop_map(|v| ("content-type", v)),
        one_of(&["XMLHttpRequest"]).prop_map(|v| ("x-requested-with", v)),
        one_of(&["null", "https://evil.test"]).prop_map(|v| ("origin", v)),
        one_of(&["prefetch"]).prop_map(|v| ("sec-purpose", v)),
        one_of(&["?1"]).prop_map(|v| ("sec-fetch-user", v)),
    ];
    prop::collection::vec(line, 0..7)
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ])
}

proptest! {
    /// WEB-11: what a page of another site embeds or fetches is answered, never sent anywhere.
    #[test]
    fn n_03_no_part_of_a_page_of_another_site_is_ever_redirected(
        method in method(),
        lines in lines(),
        mode in prop::sample::select(vec!["cors", "no-cors", "same-origin", "websocket", "navigate"]),
        destination in prop::sample::select(vec!["empty", "image", "script", "style", "iframe", "frame", "object", "embed", "font", "video", "worker"]),
    ) {
        let mut lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        lines.extend([("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)]);
        for upgrade in [None, Some(Upgrade::WebSocket), Some(Upgrade::Spdy31)] {
            let form = Asker::of(&method, &head(&lines), upgrade).form(&method);
            prop_assert_ne!(form, Form::Redirect, "{:?}", lines);
            prop_assert_ne!(answer(form, &SAID).status(), StatusCode::SEE_OTHER);
        }
    }

    #[test]
    fn whatever_a_head_says_the_answer_refuses_or_leads_to_the_sign_in(
        method in method(),
        lines in lines(),
        site in prop::sample::select(vec!["cross-site", "same-site", "same-origin", "none", "x"]),
        says in any::<bool>(),
    ) {
        let mut lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if says {
            lines.push(("sec-fetch-site", site));
        }
        holds(&method, &head(&lines));
    }

    #[test]
    fn no_bytes_break_what_holds_for_every_head(data in prop::collection::vec(any::<u8>(), 0..96)) {
        fuzz_sign_in_first(&data);
        fuzz_sign_in_first(&[b"GET\naccept: ", &*data].concat());
    }
}
