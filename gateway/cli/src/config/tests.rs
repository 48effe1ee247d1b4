//! A good file loads; every mistake is said, all at once, at its place.

use ledger::note::{Algorithm, KeyName, VerifierKey};

use super::*;

pub(super) const GOOD: &str = r#"apiVersion: gatescribe.dev/v1
url: https://gw.example.com
dataDir: /var/lib/gatescribe
listeners:
  - name: main
    address: 0.0.0.0:8443
    serves: [gateway, kubernetes]
    tls: { certFile: /tls/tls.crt, keyFile: /tls/tls.key }
identity:
  session: { idle: 4h, max: 12h }
  providers:
    - name: corp
      issuer: https://login.example.com/realms/corp
      clientId: gatescribe
      clientSecret: ${file:/run/secrets/oidc}
      claims: { user: email, groups: groups, groupPrefix: "oidc:" }
clusters:
  - name: prod
    servers: [https://10.0.0.1:6443]
    caFile: /cluster/ca.crt
    impersonator: { tokenFile: /cluster/impersonator }
    observer: { tokenFile: /cluster/observer }
"#;

pub(super) fn told(text: &str) -> Vec<(usize, usize, String, String)> {
    let problems = parse("gw.yaml", text).unwrap_err();
    let tell = |problem: &Problem| {
        let (line, column) = problems.line_and_column(problem);
        (line, column, problem.what.clone(), problem.help.clone())
    };
    problems.list().iter().map(tell).collect()
}

#[test]
fn a_good_file_is_read_with_its_defaults() {
    let config = parse("gw.yaml", GOOD)
        .map_err(|problems| problems.for_a_person(false, 100))
        .unwrap();
    assert_eq!(config.identity.session.token, Span::minutes(10));
    assert_eq!(config.identity.session.recheck, Span::minutes(5));
    assert_eq!(config.clusters[0].authorization, Authorization::Confirm);
    assert_eq!(config.ledger.segment_size, Size::mebibytes(64));
}

#[test]
fn all_mistakes_are_said_at_once_each_at_its_place() {
    let text = GOOD
        .replace("issuer:", "isuer:")
        .replace("idle: 4h", "idle: 4 hours")
        .replace("serves: [gateway, kubernetes]", "serves: [gatway, kubernetes]")
        .replace("dataDir: /var/lib/gatescribe\n", "");
    let expected = [
        (
            1,
            1,
            "`dataDir` is missing",
            "add `dataDir: …` (Folder for state, ledger and keys.)",
        ),
        (
            6,
            14,
            "`serves` cannot be `gatway`",
            "did you mean `gateway`? It may be: gateway, kubernetes, services, verdict, witness",
        ),
        (
            9,
            20,
            "`idle` cannot be read",
            "`4 hours` is no duration: write a number and s, m, h or d, such as `15m`",
        ),
        (
            11,
            7,
            "`issuer` is missing",
            "add `issuer: …` (The issuer URL, byte for byte as in its tokens. `https`, except on loopback.)",
        ),
        (12, 7, "unknown key `isuer`", "did you mean `issuer`?"),
    ];
    let told = told(&text);
    let told: Vec<_> = told
        .iter()
        .map(|(line, column, what, help)| (*line, *column, what.as_str(), help.as_str()))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_work_together_is_said_where_it_is_written() {
    let text = GOOD
        .replace("url: https://gw.example.com", "url: http://gw.example.com/path")
        .replace("    tls: { certFile: /tls/tls.crt, keyFile: /tls/tls.key }\n", "")
        .replace("name: prod", "name: Prod")
        .replace(
            "impersonator: { tokenFile: /cluster/impersonator }",
            "impersonator: { certFile: /c }",
        );
    let what: Vec<_> = told(&text).into_iter().map(|(line, _, what, _)| (line, what)).collect();
    assert_eq!(
        what,
        [
            (2, "`url` is no URL of a host".to_owned()),
            (6, "a listener without `tls` must be on a loopback address".to_owned()),
            (
                7,
                "Kubernetes needs `tls`: kubectl sends no credential over plain http".to_owned()
            ),
            (
                17,
                "`Prod` is no cluster name: use lower-case letters, digits and inner `-`, at most 63 characters"
                    .to_owned()
            ),
            (
                20,
                "`impersonator` needs either `tokenFile`, or `certFile` and `keyFile`".to_owned()
            ),
        ]
    );
}

#[test]
fn a_collector_of_traces_is_an_https_url_with_a_path_and_its_headers_are_references() {
    let with = |otlp: &str| format!("{GOOD}telemetry: {{ otlp: {{ {otlp} }} }}\n");
    let said = |otlp: &str| -> Vec<String> { told(&with(otlp)).into_iter().map(|(_, _, what, _)| what).collect() };
    for good in [
        "endpoint: 'https://otel.example.com:4318/v1/traces', sampleOneIn: 100",
        "endpoint: 'http://127.0.0.1:4318/v1/traces', headers: [{ name: x-key, value: '${env:KEY}' }]",
    ] {
        assert!(parse("gw.yaml", &with(good)).is_ok(), "{good}");
    }
    for (bad, what) in [
        (
            "endpoint: 'http://otel.example.com:4318/v1/traces'",
            "`endpoint` is no https URL of a collector",
        ),
        (
            "endpoint: otel.example.com",
            "`endpoint` is no https URL of a collector",
        ),
        ("endpoint: 'https://otel.example.com:4318'", "`endpoint` has no path"),
        (
            "endpoint: 'https://o/v1/traces', sampleOneIn: 0",
            "`sampleOneIn` must be at least 1",
        ),
        (
            "endpoint: 'https://o/v1/traces', headers: [{ name: 'a b', value: '${env:KEY}' }]",
            "this is no name of a header",
        ),
        (
            "endpoint: 'https://o/v1/traces', headers: [{ name: a, value: hunter2 }]",
            "`value` cannot be read",
        ),
    ] {
        assert_eq!(said(bad), [what], "{bad}");
    }
}

#[test]
fn a_gateway_witnesses_logs_on_a_listener_that_serves_nothing_else() {
    const LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const WITNESS: &str = "witness.example+0080fed4+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let listener = |serves: &str| {
        format!(
            "  - name: w\n    address: 0.0.0.0:8444\n    serves: {serves}\n    tls: {{ certFile: /t, keyFile: /k }}\nidentity:"
        )
    };
    let with = |serves: &str, logs: &str| {
        let text = GOOD.replacen("identity:", &listener(serves), 1);
        format!("{text}ledger: {{ witnessFor: [{logs}] }}\n")
    };
    let said = |text: &str| -> Vec<String> { told(text).into_iter().map(|(_, _, what, _)| what).collect() };
    let config = parse("gw.yaml", &with("[witness]", LOG)).unwrap();
    assert_eq!(config.ledger.witness_for, [LOG]);
    assert_eq!(
        said(&with("[witness, gateway]", LOG)),
        ["a listener that serves `witness` serves nothing else"]
    );
    assert_eq!(
        said(&with("[witness]", "")),
        ["`witness` has no effect: there is no log to witness"]
    );
    assert_eq!(
        said(&with("[gateway]", LOG)),
        ["no listener serves `witness`: nobody could ask for a cosignature"]
    );
    assert_eq!(
        said(&with("[witness]", &format!("{WITNESS}, no, {LOG}, {LOG}"))),
        [
            "this is the key of a witness, and not of a log",
            "this is no public key of a log: a verifier key is `NAME+ID+KEY`: a name, eight hexadecimal digits, base64",
            "two of the logs have this key",
        ]
    );
    let certificates =
        with("[witness]", LOG).replacen("name: w\n", "name: w\n    clientCertificates: { caFile: /c }\n", 1);
    assert_eq!(
        said(&certificates)[0],
        "client certificates need a TLS listener that serves `kubernetes` alone"
    );
    let many = (0..65_u8)
        .map(|number| {
            let name = KeyName::new(format!("log{number}")).unwrap();
            VerifierKey::new(name, Algorithm::Ed25519, [number; 32]).to_string()
        })
        .collect::<Vec<_>>();
    assert_eq!(
        said(&with("[witness]", &many.join(", "))),
        ["more than 64 keys of logs"]
    );
}

#[test]
fn witnesses_have_a_key_of_their_kind_and_a_quorum_that_can_be_reached() {
    const KEY: &str = "witness.example+0080fed4+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    const OF_A_LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let one = |name: &str, url: &str, key: &str| format!("{{ name: {name}, url: '{url}', publicKey: '{key}' }}");
    let with = |ledger: &str| format!("{GOOD}ledger: {{ {ledger} }}\n");
    let said = |ledger: &str| -> Vec<String> { told(&with(ledger)).into_iter().map(|(_, _, what, _)| what).collect() };
    let good = format!("witnesses: [ {} ], quorum: 1", one("a", "https://w.example/log", KEY));
    let config = parse("gw.yaml", &with(&good)).unwrap();
    assert_eq!((config.ledger.witnesses.len(), config.ledger.quorum), (1, Some(1)));

    assert_eq!(said("quorum: 1"), ["`quorum` has no effect without witnesses"]);
    let two = format!(
        "witnesses: [ {}, {} ], quorum: 3",
        one("a", "http://w.example", KEY),
        one("a", "http://127.0.0.1:1", KEY)
    );
    assert_eq!(
        said(&two),
        [
            "`url` is no https URL of a witness",
            "two witnesses have this name",
            "two witnesses have this key",
            "`quorum` is 3, and there are 2 witnesses: nothing would ever be witnessed",
        ]
    );
    for (key, why) in [
        (OF_A_LOG, "it is the key of a log"),
        ("x", "a verifier key is `NAME+ID+KEY`"),
    ] {
        let told = said(&format!("witnesses: [ {} ]", one("a", "https://w.example", key)));
        assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
    }
    let quoted = said(&format!("witnesses: [ {} ]", one("a b", "https://w.example", KEY)));
    assert_eq!(quoted, ["`name` is no name for metrics and logs"]);
    assert_eq!(said("quorum: 0").len(), 1);
}

#[test]
fn a_bound_without_a_bounded_class_and_one_that_lasts_for_ever_are_said() {
    let with = |modes: &str| format!("{GOOD}ledger: {{ dangerFailModes: {{ {modes} }} }}\n");
    let said = |modes: &str| -> Vec<String> { told(&with(modes)).into_iter().map(|(_, _, what, _)| what).collect() };
    for good in [
        "",
        "reads: open",
        "effects: bounded, bounded: { calls: 1, for: 1s }",
        "reads: bounded, bounded: {}",
    ] {
        parse("gw.yaml", &with(good)).unwrap();
    }
    assert_eq!(
        said("reads: open, bounded: { calls: 5 }"),
        ["`bounded` has no effect: no class is bounded"]
    );
    for lasts in ["0s", "25h"] {
        assert_eq!(
            said(&format!("reads: bounded, bounded: {{ for: {lasts} }}")),
            ["`for` has to be at least a second and at most a day"]
        );
    }
    for bad in ["reads: opne", "writes: open", "reads: bounded, bounded: { calls: 0 }"] {
        assert_eq!(said(bad).len(), 1, "{bad}");
    }
}

#[test]
fn what_would_be_ignored_or_never_work_is_said() {
    for (from, to, said) in [
        (
            "clusters:",
            "  serviceAccounts: { audience: https://gw }\nclusters:",
            vec!["`audience` has no effect without `accept: true`"],
        ),
        (
            "- name: prod",
            "- name: gatescribe-api",
            vec!["`gatescribe-api` is the gateway's own API"],
        ),
        (
            "identity:",
            "  - { name: second, address: '0.0.0.0:8444', serves: [kubernetes], tls: { certFile: /c, keyFile: /k, caFile: /ca } }\nidentity:",
            vec!["`caFile` has no effect on this listener"],
        ),
        (
            "claims: { user: email,",
            "claims: { user: sub, requireVerifiedEmail: true,",
            vec!["`requireVerifiedEmail` has no effect unless `user` is `email`"],
        ),
        (
            "clusters:",
            "limits: { strangersPerSecond: 0, strangersBytesPerSecond: 0, inFlight: 0, connections: 0 }\nclusters:",
            vec![
                "`strangersPerSecond` must be at least 1",
                "`strangersBytesPerSecond` must be at least 1024",
                "`inFlight` must be at least 1",
                "`connections` must be at least 16",
            ],
        ),
        (
            "session: { idle: 4h,",
            "session: { idle: 0s,",
            vec!["`idle` must be at least 1m"],
        ),
        (
            "clusters:",
            "ledger: { segmentSize: 0KiB, queueSize: 0KiB, partKeyAge: 59m }\nlimits: { bytesPerDay: 0KiB }\nclusters:",
            vec![
                "`segmentSize` must be at least 1MiB and at most 1GiB",
                "`queueSize` must be at least 1MiB and at most 4GiB",
                "`partKeyAge` must be at least 1h and at most 366d",
                "`bytesPerDay` must be at least 1MiB",
            ],
        ),
        (
            "    servers: [https://10.0.0.1:6443]\n    caFile: /cluster/ca.crt\n    impersonator: { tokenFile: /cluster/impersonator }\n",
            "    inCluster: true\n    tlsServerName: kubernetes\n    impersonator: { certFile: /c, keyFile: /k }\n",
            vec![
                "`tlsServerName` has no effect beside `inCluster`",
                "`certFile` has no effect beside `inCluster`",
                "`keyFile` has no effect beside `inCluster`",
            ],
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let what: Vec<_> = told(&GOOD.replace(from, to))
            .into_iter()
            .map(|(_, _, what, _)| what)
            .collect();
        assert_eq!(what, said);
    }
}

#[test]
fn an_audit_role_that_shows_nothing_or_more_than_it_says_is_refused() {
    let with = |roles: &str| GOOD.replace("clusters:\n", &format!("  auditRoles: [{roles}]\nclusters:\n"));
    let good = "{ name: council, groups: [wc], hide: [people, texts] }, { name: pay, groups: [p], clusters: [prod], namespaces: [pay, pay-*], may: [receipts] }";
    assert!(parse("gw.yaml", &with(good)).is_ok());
    for (role, said) in [
        ("{ name: 'a b', groups: [g] }", "the name of an audit role"),
        (
            "{ name: a, groups: [g] }, { name: a, groups: [h] }",
            "two audit roles have this name",
        ),
        ("{ name: a, groups: [] }", "`groups` names nothing"),
        ("{ name: a, groups: [''] }", "`groups` names nothing"),
        ("{ name: a, groups: [g], namespaces: [] }", "`namespaces` names nothing"),
        ("{ name: a, groups: [g], clusters: [] }", "`clusters` names nothing"),
        (
            "{ name: a, groups: [g], clusters: [test] }",
            "there is no cluster `test`",
        ),
        (
            "{ name: a, groups: [g], namespaces: ['*-pay'] }",
            "`*-pay` has a `*` elsewhere",
        ),
        (
            "{ name: a, groups: [g], hide: [people], may: [receipts] }",
            "can have no `may`",
        ),
        (
            "{ name: a, groups: [g], may: [recordings] }",
            "`recordings` needs `details`",
        ),
        ("{ name: a, groups: [g], hide: [everything] }", "cannot be `everything`"),
    ] {
        let problems = told(&with(role));
        assert!(
            problems.len() == 1 && problems[0].2.contains(said),
            "{role}: {problems:?}"
        );
    }
}

#[test]
fn a_provider_that_is_a_clusters_own_issuer_is_refused_at_its_place() {
    let issuer = GOOD
        .lines()
        .position(|line| line.trim_start().starts_with("issuer:"))
        .unwrap();
    let url = GOOD.lines().nth(issuer).unwrap().trim().trim_start_matches("issuer: ");
    let text = GOOD.replace(
        "    caFile: /cluster/ca.crt\n",
        &format!("    caFile: /cluster/ca.crt\n    serviceAccountIssuers: [https://other.example, {url}]\n"),
    );
    let found = told(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    let (line, column, what, _) = &found[0];
    assert_eq!((*line, *column), (issuer + 1, 15), "{found:?}");
    assert_eq!(
        what,
        "this issuer is that of the ServiceAccount tokens of cluster `prod`"
    );
    let text = text.replace(&format!(", {url}]"), "]");
    assert!(parse("gw.yaml", &text).is_ok());
}

/// Claims of the second provider, what is added, and what is to be told.
type Case = (&'static str, String, Vec<(usize, usize, String)>);

/// `GOOD` with a second provider, whose claims are `claims`.
fn two_providers(claims: &str, more: &str) -> String {
    GOOD.replace(
        "clusters:",
        &format!("    - name: partners\n      issuer: https://id.partner.example\n      clientId: us\n      claims: {claims}\n{more}clusters:"),
    )
}

#[test]
fn an_issuer_that_can_name_anothers_people_is_refused_unless_said_in_words() {
    let (corp, partner) = ("https://login.example.com/realms/corp", "https://id.partner.example");
    let danger = |list: &str| format!("  dangerSharedNames: [{list}]\n");
    let can = |from: &str, what: &str, of: &str| format!("the issuer `{from}` can name {what} of the issuer `{of}`");
    let cases: [Case; 8] = [
        // GOOD's own provider: no prefix of users, `oidc:` for groups.
        (
            "{ groupPrefix: 'p:' }",
            String::new(),
            vec![
                (13, 15, can(corp, "people", partner)),
                (18, 15, can(partner, "people", corp)),
            ],
        ),
        (
            "{ userPrefix: 'p:', groupPrefix: 'oidc:' }",
            String::new(),
            vec![
                (13, 15, can(corp, "people and groups", partner)),
                (20, 48, can(partner, "groups", corp)),
            ],
        ),
        // Who has a prefix of its own names nobody else; who has none names everybody.
        (
            "{ userPrefix: 'p:', groupPrefix: 'p:' }",
            String::new(),
            vec![(13, 15, can(corp, "people", partner))],
        ),
        ("{ userPrefix: 'p:', groupPrefix: 'p:' }", danger(corp), vec![]),
        ("{ groupPrefix: 'p:' }", danger(&format!("{corp}, {partner}")), vec![]),
        (
            "{ groupPrefix: 'p:' }",
            danger(corp),
            vec![(18, 15, can(partner, "people", corp))],
        ),
        // What is said without need would cover tomorrow's mistake.
        (
            "{ userPrefix: 'p:', groupPrefix: 'p:' }",
            danger(&format!("{corp}, {partner}")),
            vec![(21, 62, format!("no issuer `{partner}` names others' people or groups"))],
        ),
        (
            "{ userPrefix: 'p:', groupPrefix: 'p:' }",
            danger(&format!("{corp}, https://who.example")),
            vec![(
                21,
                62,
                "no issuer `https://who.example` names others' people or groups".to_owned(),
            )],
        ),
    ];
    for (claims, more, expected) in cases {
        let text = two_providers(claims, &more);
        let told: Vec<_> = match parse("gw.yaml", &text) {
            Ok(_) => Vec::new(),
            Err(_) => told(&text)
                .into_iter()
                .map(|(line, column, what, _)| (line, column, what))
                .collect(),
        };
        assert_eq!(told, expected, "{text}");
    }
    let shown = parse("gw.yaml", &two_providers("{ groupPrefix: 'p:' }", ""))
        .unwrap_err()
        .for_a_person(false, 300);
    for words in [
        "[gw.yaml:13:15]",
        "whose names may these be?",
        "give each its own prefixes",
        "`identity.dangerSharedNames`",
    ] {
        assert!(shown.contains(words), "{words} in:\n{shown}");
    }
}

/// `GOOD` with a second listener that takes client certificates.
fn with_certificates(prefixes: &str, more: &str) -> String {
    GOOD.replace("serves: [gateway, kubernetes]", "serves: [gateway]").replace(
        "identity:\n",
        &format!(
            "  - name: k8s\n    address: 0.0.0.0:6443\n    serves: [kubernetes]\n    tls: {{ certFile: /tls/tls.crt, keyFile: /tls/tls.key }}\n    clientCertificates: {{ caFile: /tls/people.crt{prefixes} }}\nidentity:\n{more}"
        ),
    )
}

#[test]
fn client_certificates_share_no_names_with_an_issuer_unless_said_in_words() {
    let corp = "https://login.example.com/realms/corp";
    let danger = |list: &str| format!("  dangerSharedNames: [{list}]\n");
    let certificates = (
        13,
        5,
        format!("the issuer `certificates:k8s` can name people and groups of the issuer `{corp}`"),
    );
    let people = |line: usize| {
        (
            line,
            15,
            format!("the issuer `{corp}` can name people of the issuer `certificates:k8s`"),
        )
    };
    let cases: [Case; 5] = [
        // GOOD's own provider: no prefix of users, `oidc:` for groups.
        ("", String::new(), vec![certificates.clone(), people(18)]),
        (
            ", userPrefix: 'cert:', groupPrefix: 'cert:'",
            String::new(),
            vec![people(18)],
        ),
        (", userPrefix: 'cert:', groupPrefix: 'cert:'", danger(corp), vec![]),
        ("", danger(corp), vec![certificates]),
        ("", danger(&format!("{corp}, 'certificates:k8s'")), vec![]),
    ];
    for (prefixes, more, expected) in cases {
        let text = with_certificates(prefixes, &more);
        let found: Vec<_> = match parse("gw.yaml", &text) {
            Ok(_) => Vec::new(),
            Err(_) => told(&text)
                .into_iter()
                .map(|(line, column, what, _)| (line, column, what))
                .collect(),
        };
        assert_eq!(found, expected, "{text}");
    }
    // The same authorities at two listeners speak of the same people.
    let twice = with_certificates(", userPrefix: 'cert:', groupPrefix: 'cert:'", &danger(corp)).replace(
        "identity:\n",
        "  - name: k8s-too\n    address: 0.0.0.0:7443\n    serves: [kubernetes]\n    tls: { certFile: /tls/tls.crt, keyFile: /tls/tls.key }\n    clientCertificates: { caFile: /tls/people.crt, userPrefix: 'cert:', groupPrefix: 'cert:' }\nidentity:\n",
    );
    assert!(parse("gw.yaml", &twice).is_ok(), "{twice}");
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let text = GOOD.replace("${file:/run/secrets/oidc}", "hunter2");
    let problems = parse("gw.yaml", &text).unwrap_err();
    assert_eq!(
        problems.list()[0].help,
        "a secret is never written here: use `${env:NAME}` or `${file:/path}`"
    );
}

#[test]
fn yaml_tricks_are_refused_in_words() {
    for (text, word) in [
        ("a: &x 1\nb: *x\n", "anchors"),
        ("a: 1\na: 2\n", "set twice"),
        ("a: !!binary x\n", "tags"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("", "empty"),
        ("a: [1, 2\n", "not valid"),
    ] {
        let all: String = told(text).into_iter().map(|(_, _, what, _)| what).collect();
        assert!(all.contains(word), "{text:?} → {all}");
    }
}

#[test]
fn a_problem_is_shown_with_a_caret_under_it() {
    let shown = parse("gw.yaml", &GOOD.replace("issuer:", "isuer:"))
        .unwrap_err()
        .for_a_person(false, 100);
    for line in [
        "unknown key `isuer`",
        "[gw.yaml:12:7]",
        "not a setting here",
        "did you mean `issuer`?",
        "gw.yaml: 2 problems",
    ] {
        assert!(shown.contains(line), "{line} in:\n{shown}");
    }
}

#[test]
fn every_key_of_the_schema_says_what_it_is_for() {
    fn walk(schema: &serde_json::Value, path: &str, silent: &mut Vec<String>) {
        for (key, of) in schema
            .get("properties")
            .and_then(|map| map.as_object())
            .into_iter()
            .flatten()
        {
            if of.get("description").is_none() {
                silent.push(format!("{path}/{key}"));
            }
        }
        for (name, of) in schema
            .get("$defs")
            .and_then(|map| map.as_object())
            .into_iter()
            .flatten()
        {
            walk(of, name, silent);
        }
    }
    let mut silent = Vec::new();
    walk(&json_schema(), "", &mut silent);
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn of_very_many_problems_a_person_is_shown_fifty_and_told_how_many_there_are() {
    let line = format!("{{ {} }}", "serves: 8443, ".repeat(500));
    let problems = parse("many.yaml", &line).unwrap_err();
    let count = problems.list().len();
    assert!(count > 50, "{count}");
    let shown = problems.for_a_person(false, 80);
    assert!(
        shown.ends_with(&format!(
            "many.yaml: {count} problems, of which the first 50 are shown\n"
        )),
        "{}",
        shown.lines().last().unwrap_or_default()
    );
    assert_eq!(problems.for_a_machine().lines().count(), count);
}

/// Every Rust file of the program but the configuration's own and tests.
fn readers(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("config") {
                readers(&path, text);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            let file = std::fs::read_to_string(&path).unwrap();
            text.push_str(file.split("#[cfg(test)]").next().unwrap());
        }
    }
}

/// An option that is read by nobody is an option without effect (promise 9). This finds a field whose name nobody outside
/// the configuration takes, whichever the value it is taken from.
#[test]
fn every_key_of_the_schema_is_taken_by_code_outside_the_configuration() {
    let mut text = String::new();
    readers(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let taken = |field: &str| {
        // A name that is also a word of the language is written `r#name`.
        text.match_indices(&format!(".{field}"))
            .chain(text.match_indices(&format!(".r#{field}")))
            .any(|(at, found)| !text.as_bytes().get(at + found.len()).copied().is_some_and(is_word))
    };
    let schema = json_schema();
    let of = |of: &serde_json::Value| -> Vec<String> {
        of["properties"]
            .as_object()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut keys = of(&schema);
    keys.extend(schema["$defs"].as_object().unwrap().values().flat_map(of));
    assert!(keys.len() > 60, "{keys:?}");
    let snake = |key: &str| {
        key.chars().fold(String::new(), |mut name, letter| {
            if letter.is_uppercase() {
                name.push('_');
            }
            name.extend(letter.to_lowercase());
            name
        })
    };
    // The version is held against its only value when the file is read.
    let unread: Vec<_> = keys
        .iter()
        .filter(|key| *key != "apiVersion" && !taken(&snake(key)))
        .collect();
    assert_eq!(unread, Vec::<&String>::new());
}
