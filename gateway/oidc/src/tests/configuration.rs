//! Both ways to configure issuers.

use serde_json::json;

use super::kit::*;
use crate::issuer::{AuthenticationConfiguration, read_authentication_configuration};
use crate::{Issuer, Issuers, KeySet, Purpose, Unverified};

const WHOLE: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://idp.corp.example
    discoveryURL: https://discovery.corp.example/.well-known/openid-configuration
    audiences: [gatescribe, kube]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - claim: hd
    requiredValue: corp.example
  - expression: 'claims.exp - claims.nbf <= 86400'
    message: total token lifetime must not exceed 24 hours
  claimMappings:
    username:
      expression: 'claims.email_verified ? claims.email + ":external" : ""'
    groups:
      expression: "claims.roles.split(',').map(r, 'oidc:' + r)"
    uid:
      claim: sub
    extra:
    - key: example.org/tenant
      valueExpression: claims.tenant
    - key: example.org/empty
      valueExpression: "claims.?nothing.orValue('')"
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
    message: username cannot used reserved system prefix
"#;

fn read(text: &str) -> Result<AuthenticationConfiguration, Vec<String>> {
    read_authentication_configuration(text, &["https://kubernetes.default.svc"])
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn only(text: &str) -> Issuer {
    read(text).unwrap().issuers.remove(0)
}

fn problems(text: &str) -> Vec<String> {
    read(text).map(|_| ()).expect_err("must be refused")
}

/// One authenticator with these mappings and rules, as YAML flow style behind the fixed head of five lines.
fn file(rest: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: https://idp.corp.example\n    audiences: [gatescribe]\n{rest}"
    )
}

#[test]
fn o_23_a_whole_file_of_the_api_server_maps_a_token_as_it_does() {
    let issuer = only(WHOLE);
    assert_eq!(
        issuer.discovery_uri(),
        "https://discovery.corp.example/.well-known/openid-configuration"
    );
    assert_eq!(issuer.audiences(), ["gatescribe", "kube"]);
    let token = signed(&claims_with(
        json!({"hd": "corp.example", "roles": "dev,ops", "tenant": ["t1", ""], "groups": 7}),
    ));
    let token = verify_as(&issuer, &token, Purpose::Bearer).unwrap();
    assert_eq!(token.username, "ann@corp.example:external");
    assert_eq!(token.groups, ["oidc:dev", "oidc:ops"]);
    assert_eq!(token.uid.as_deref(), Some("u-1"));
    assert_eq!(token.extra["example.org/tenant"], ["t1"]);
    assert!(!token.extra.contains_key("example.org/empty"));
    for (changes, code) in [
        (json!({"roles": "dev", "tenant": "t"}), "missing_claim"),
        (
            json!({"hd": "evil.example", "roles": "dev", "tenant": "t"}),
            "required_claim",
        ),
        (
            json!({"hd": ["corp.example"], "roles": "dev", "tenant": "t"}),
            "wrong_type",
        ),
        (
            json!({"hd": "corp.example", "roles": "dev", "tenant": "t", "exp": NOW + 90_000}),
            "rule_refused",
        ),
        (
            json!({"hd": "corp.example", "roles": "dev", "tenant": "t", "email_verified": false}),
            "empty_username",
        ),
        (
            json!({"hd": "corp.example", "roles": ["dev"], "tenant": "t"}),
            "rule_failed",
        ),
        (json!({"hd": "corp.example", "roles": "dev", "tenant": 7}), "rule_type"),
        (json!({"hd": "corp.example", "roles": "dev"}), "rule_failed"),
        (
            json!({"hd": "corp.example", "roles": "dev", "tenant": "t", "email": "system:x"}),
            "system_name",
        ),
    ] {
        let refused = verify_as(&issuer, &signed(&claims_with(changes.clone())), Purpose::Bearer).unwrap_err();
        assert_eq!(refused.code(), code, "{changes}");
    }
}

#[test]
fn o_23_claims_with_prefixes_map_as_written() {
    let issuer = only(&file(
        "  claimMappings:\n    username: {claim: sub, prefix: \"corp:\"}\n    groups: {claim: groups, prefix: \"\"}\n",
    ));
    let token = verify_as(&issuer, &signed(&claims()), Purpose::Bearer).unwrap();
    assert_eq!((&*token.username, token.groups.len(), token.uid), ("corp:u-1", 2, None));
}

#[test]
fn o_17_email_by_claim_needs_a_verified_address_here_too() {
    let issuer = only(&file("  claimMappings:\n    username: {claim: email, prefix: \"\"}\n"));
    assert!(verify_as(&issuer, &signed(&claims()), Purpose::Bearer).is_ok());
    for verified in [json!(null), json!(false)] {
        let refused = verify_as(
            &issuer,
            &signed(&claims_with(json!({"email_verified": verified}))),
            Purpose::Bearer,
        )
        .unwrap_err();
        assert_eq!(refused.code(), "email_not_verified");
    }
}

#[test]
fn o_20_overage_is_told_for_expressions_over_groups_too() {
    let issuer = only(&file(
        "  claimMappings:\n    username: {claim: sub, prefix: \"\"}\n    groups: {expression: \"claims.?groups.orValue([])\"}\n",
    ));
    let token = signed(&claims_with(
        json!({"groups": null, "_claim_names": {"groups": "src1"}}),
    ));
    assert_eq!(
        verify_as(&issuer, &token, Purpose::Bearer).unwrap_err().code(),
        "groups_overage"
    );
    assert!(verify_as(&issuer, &signed(&claims_with(json!({"groups": null}))), Purpose::Bearer).is_ok());
}

#[test]
fn o_23_unknown_fields_and_wrong_types_are_refused_with_their_place() {
    for (text, place) in [
        (file("  claimMapings: {}\n"), "7:3: "),
        (
            file("  claimMappings:\n    username: {claim: sub, prefix: x, prefx: y}\n"),
            "8:39: ",
        ),
        (file("  claimMappings:\n    username: [sub]\n"), "8:15: "),
        (format!("{WHOLE}extra: 1\n"), "30:1: "),
        (
            WHOLE.replace("    audienceMatchPolicy: MatchAny\n", "    audience: x\n"),
            "9:5: ",
        ),
        ("apiVersion: [".to_owned(), ""),
    ] {
        let found = problems(&text);
        assert!(found[0].starts_with(place), "{found:?} {place}");
    }
    assert_eq!(problems("").len(), 1);
}

#[test]
fn o_23_every_other_problem_is_told_at_once_with_its_place() {
    let text = r#"apiVersion: apiserver.config.k8s.io/v1alpha1
kind: AuthenticationConfig
anonymous: {enabled: true}
jwt:
- issuer:
    url: http://idp.corp.example
    discoveryURL: http://idp.corp.example/
    audiences: [a, a, ""]
    certificateAuthority: "no pem"
    egressSelectorType: etcd
  claimValidationRules:
  - {claim: hd, expression: "true"}
  - {}
  - {claim: hd, message: x}
  - {claim: hd}
  - {expression: claims.hd, requiredValue: x}
  - {expression: "claims.a == 1"}
  - {expression: "claims.a == 1"}
  - {expression: "clams.a == 1"}
  claimMappings:
    username: {claim: sub, expression: claims.sub}
    groups: {claim: groups}
    uid: {claim: a, expression: b}
    extra:
    - {key: tenant, valueExpression: claims.a}
    - {key: Example.org/a, valueExpression: claims.a}
    - {key: x.k8s.io/a, valueExpression: claims.a}
    - {key: kubernetes.io/a, valueExpression: claims.a}
    - {key: example.org/a}
    - {key: example.org/a, valueExpression: claims.a}
    - {key: example.org/b, valueExpression: "1 + 1"}
  userValidationRules:
  - {message: x}
  - {expression: "user.name == ''"}
- issuer: {url: "https://kubernetes.default.svc", audiences: []}
  claimMappings: {username: {}}
"#;
    assert_eq!(problems(text), include_str!("problems.txt").lines().collect::<Vec<_>>());
}

#[test]
fn o_24_what_must_not_be_an_issuer_is_refused_at_load() {
    for (url, word) in [
        ("http://idp.corp.example", "https"),
        ("https://u:p@idp.corp.example", "password"),
        ("https://idp.corp.example?x=1", "query"),
        ("https://idp.corp.example#x", "fragment"),
        ("idp.corp.example", "https"),
        ("https://login.microsoftonline.com/common/v2.0", "tenant"),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "tenant"),
        ("ftp://x.example", "https"),
    ] {
        let text =
            file("  claimMappings:\n    username: {claim: sub, prefix: x}\n").replace("https://idp.corp.example", url);
        let found = read(&text.replace(&format!("url: {url}"), &format!("url: \"{url}\""))).expect_err(url);
        assert!(
            found[0].starts_with("5:10: `jwt[0].issuer.url`") && found[0].contains(word),
            "{found:?}"
        );
    }
    for url in ["http://127.0.0.1:8080", "http://[::1]:8080/realm", "http://localhost:1"] {
        let text = file("  claimMappings:\n    username: {claim: sub, prefix: x}\n")
            .replace("https://idp.corp.example", &format!("\"{url}\""));
        assert!(read(&text).is_ok(), "{url}");
    }
    let twice = format!("{WHOLE}{}", WHOLE.split_once("jwt:\n").unwrap().1);
    let found = problems(&twice);
    assert_eq!(found.len(), 2, "issuer and discovery URL: {found:?}");
    assert!(
        Issuers::new([issuer(json!({})), issuer(json!({}))])
            .unwrap_err()
            .to_string()
            .contains("configured twice")
    );
}

#[test]
fn o_17_an_expression_over_email_must_look_at_email_verified_somewhere() {
    let with = |rest: &str| {
        file(&format!(
            "  claimMappings:\n    username: {{expression: \"claims.email\"}}\n{rest}"
        ))
    };
    let found = problems(&with(""));
    assert_eq!(
        found,
        [
            "8:28: `jwt[0].claimMappings.username.expression` uses `claims.email`, so `claims.email_verified` must be used in it, in an extra's `valueExpression`, or in a claim validation rule"
        ]
    );
    assert!(
        read(&with(
            "    extra: [{key: example.org/v, valueExpression: \"string(claims.email_verified)\"}]\n"
        ))
        .is_ok()
    );
    assert!(
        read(&with(
            "  claimValidationRules: [{expression: \"claims.?email_verified.orValue(true) == true\"}]\n"
        ))
        .is_ok()
    );
    assert!(
        read(&with(
            "  userValidationRules: [{expression: \"user.username != 'claims.email_verified'\"}]\n"
        ))
        .is_err()
    );
}

#[test]
fn o_22_a_loop_over_a_claim_is_written_as_the_api_server_wants_it() {
    let with = |expression: &str| {
        file(&format!(
            "  claimMappings:\n    username: {{claim: sub, prefix: x}}\n    groups: {{expression: \"{expression}\"}}\n"
        ))
    };
    assert!(problems(&with("claims.groups.map(g, 'x' + g)"))[0].contains("loop over `dyn(…)` of it"));
    let issuer = only(&with("dyn(claims.groups).map(g, 'x' + g)"));
    assert_eq!(
        verify_as(&issuer, &signed(&claims()), Purpose::Bearer).unwrap().groups,
        ["xdev", "xops"]
    );
}

#[test]
fn what_has_no_effect_here_is_told_as_a_notice() {
    let text = file("    egressSelectorType: cluster\n  claimMappings:\n    username: {claim: sub, prefix: x}\n");
    let configuration = read(&text).unwrap();
    assert_eq!(configuration.notices.len(), 1);
    assert_eq!(
        configuration.notices[0].to_string(),
        "7:25: `jwt[0].issuer.egressSelectorType` has no effect in the gateway, which dials the issuer itself"
    );
    assert!(read("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: false}\njwt: []\n").is_ok());
}

#[test]
fn certificates_are_read_at_load() {
    let indented = pem().replace('\n', "\n      ");
    let text = file(&format!(
        "    certificateAuthority: |\n      {indented}\n  claimMappings:\n    username: {{claim: sub, prefix: x}}\n"
    ));
    assert!(
        only(&text)
            .certificate_authority()
            .is_some_and(|pem| pem.contains("BEGIN CERTIFICATE"))
    );
}

#[test]
fn a_provider_tells_all_its_problems_at_once() {
    let mut broken = provider(json!({
        "issuer": "http://idp.corp.example", "clientID": "", "audiences": ["a", "a", ""], "usernamePrefix": "system:", "algorithms": [],
        "leewaySeconds": 90, "maxGroups": 0, "emailDomains": ["@x"], "certificateAuthority": "x", "groupsPrefix": "\u{202e}",
        "claimRules": [{"expression": "claims.a"}, {"expression": "claims.a =="}], "userRules": [{"expression": "user.mail == ''"}],
        "discoveryURL": "http://idp.corp.example/",
    }));
    broken.groups_claim = None;
    let problems: Vec<String> = broken.compile().unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        include_str!("provider_problems.txt").lines().collect::<Vec<_>>()
    );
}

#[test]
fn a_provider_accepts_no_unknown_field_and_no_symmetric_algorithm() {
    let base = json!({"name": "a", "issuer": ISSUER, "clientID": "c"});
    for (field, value) in [
        ("clientSecret", json!("x")),
        ("algorithms", json!(["HS256"])),
        ("algorithms", json!(["none"])),
        ("leewaySeconds", json!(-1)),
    ] {
        let mut settings = base.clone();
        settings[field] = value;
        assert!(
            serde_json::from_value::<crate::issuer::Provider>(settings).is_err(),
            "{field}"
        );
    }
    assert!(
        serde_json::from_value::<crate::issuer::Provider>(base)
            .unwrap()
            .compile()
            .is_ok()
    );
}

#[test]
fn r_o_13_a_key_from_a_rotation_verifies_after_the_fetch_it_caused() {
    let issuer = issuer(json!({}));
    let text = signed(&claims());
    let token = Unverified::parse(&text).unwrap();
    let before = key_set(&[rsa_jwk("rsa")]);
    assert_eq!(
        issuer
            .verify(&token, &before, now(), Purpose::Bearer)
            .unwrap_err()
            .code(),
        "unknown_key"
    );
    let after = KeySet::parse(json!({"keys": [ec_jwk(&EC, "P-256", "ec")]}).to_string().as_bytes()).unwrap();
    assert!(issuer.verify(&token, &after, now(), Purpose::Bearer).is_ok());
}
