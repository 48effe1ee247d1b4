//! From claims to a person: names, groups, addresses, rules.

use serde_json::{Value, json};

use super::kit::*;
use crate::{Algorithm, Purpose, TokenError};

/// The members of an object without its opening brace.
fn members(object: &str) -> &str {
    object.strip_prefix('{').unwrap()
}

#[test]
fn o_16_imp_11_the_username_has_its_prefix_and_is_never_empty() {
    let prefixed = issuer(json!({"usernamePrefix": "corp:", "groupsPrefix": "corp:"}));
    let token = verify_as(&prefixed, &signed(&claims()), Purpose::Bearer).unwrap();
    assert_eq!(
        (&*token.username, &token.groups[..]),
        ("corp:u-1", &["corp:dev".to_owned(), "corp:ops".to_owned()][..])
    );
    let mut default = provider(json!({}));
    default.username_prefix = None;
    let token = verify_as(&default.compile().unwrap(), &signed(&claims()), Purpose::Bearer).unwrap();
    assert_eq!(token.username, "https://idp.corp.example#u-1");
    let by_name = issuer(json!({"usernameClaim": "preferred_username", "usernamePrefix": "corp:"}));
    for (name, code) in [
        (json!(""), "empty_username"),
        (json!(null), "missing_claim"),
        (json!(["ann"]), "wrong_type"),
        (json!("ann"), "accepted"),
    ] {
        let token = signed(&claims_with(json!({"preferred_username": name})));
        assert_eq!(
            verify_as(&by_name, &token, Purpose::Bearer).map_or_else(|error| error.code(), |_| "accepted"),
            code,
            "{name}"
        );
    }
}

#[test]
fn n_13_o_17_oidc_17_an_address_names_a_person_only_when_verified_and_plain() {
    let by_email = |changes: Value| {
        let issuer = issuer(json!({"usernameClaim": "email", "emailDomains": ["corp.example"]}));
        verify_as(&issuer, &signed(&claims_with(changes)), Purpose::Bearer)
            .map_or_else(|error| error.code(), |_| "accepted")
    };
    assert_eq!(by_email(json!({})), "accepted");
    assert_eq!(by_email(json!({"email": "A@CORP.example"})), "accepted");
    for verified in [json!(null), json!(false)] {
        assert_eq!(by_email(json!({"email_verified": verified})), "email_not_verified");
    }
    for verified in [json!("true"), json!(1)] {
        assert_eq!(by_email(json!({"email_verified": verified})), "wrong_type");
    }
    for email in [
        "a@evil.example@corp.example",
        "a@corp.example.",
        "\"a\"@corp.example",
        "a(x)@corp.example",
        "a@cörp.example",
        "@corp.example",
        "a@",
        "a",
        "a b@corp.example",
    ] {
        assert_eq!(by_email(json!({ "email": email })), "email_syntax", "{email}");
    }
    for email in ["a@corp.example.evil", "a@evil.example", "a@xn--crp-sna.example"] {
        assert_eq!(by_email(json!({ "email": email })), "email_domain", "{email}");
    }
    // For display, an unverified address does not exist.
    assert_eq!(
        verify(&signed(&claims_with(json!({"email_verified": false}))))
            .unwrap()
            .email,
        None
    );
    assert_eq!(
        verify(&signed(&claims_with(json!({"email_verified": "true"}))))
            .unwrap()
            .email,
        None
    );
}

#[test]
fn o_19_oidc_19_groups_have_one_type_rule_and_limits() {
    for (groups, code) in [
        (json!("dev"), "accepted"),
        (json!(["a,b"]), "accepted"),
        (json!([]), "accepted"),
        (json!(7), "wrong_type"),
        (json!({"a": 1}), "wrong_type"),
        (json!(["dev", 7]), "wrong_type"),
        (json!(["dev", null]), "wrong_type"),
        (json!([["dev"]]), "wrong_type"),
    ] {
        assert_eq!(refusal_with(json!({ "groups": groups })), code, "{groups}");
    }
    let text = claims_with(json!({"groups": null})).to_string();
    let null = format!("{{\"groups\":null,{}", members(&text));
    assert_eq!(
        refusal(&raw(r#"{"alg":"ES256","kid":"ec"}"#, null.as_bytes(), Algorithm::ES256)),
        "wrong_type"
    );
    let whole = verify(&signed(&claims_with(json!({"groups": "a, b"})))).unwrap();
    assert_eq!(whole.groups, ["a, b"], "a comma joins nothing and separates nothing");
    let many: Vec<String> = (0..5000).map(|n| format!("g{n}")).collect();
    assert_eq!(
        verify(&signed(&claims_with(json!({ "groups": many })))).unwrap_err(),
        TokenError::TooManyGroups { limit: 1000 }
    );
    let long: Vec<String> = (0..45).map(|n| format!("{n}{}", "g".repeat(1000))).collect();
    let wide = issuer(json!({"groupsPrefix": "p".repeat(800)}));
    let error = verify_as(&wide, &signed(&claims_with(json!({ "groups": long }))), Purpose::Bearer).unwrap_err();
    assert_eq!(error, TokenError::GroupsTooLarge { limit: 65_536 });
    assert_eq!(
        verify(&signed(&claims_with(json!({"groups": ["b", "a", "b", ""]}))))
            .unwrap()
            .groups,
        ["b", "a"]
    );
}

#[test]
fn o_20_o_21_claims_that_are_only_pointed_at_are_refused_and_never_fetched() {
    let pointer = json!({"groups": null, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "http://169.254.169.254/"}}});
    assert_eq!(
        verify(&signed(&claims_with(pointer.clone()))).unwrap_err(),
        TokenError::GroupsOverage
    );
    assert_eq!(
        refusal_with(json!({"groups": null, "hasgroups": true})),
        "groups_overage"
    );
    assert_eq!(
        refusal_with(json!({"groups": null})),
        "accepted",
        "no groups is a fact when nothing says otherwise"
    );
    assert_eq!(
        refusal_with(json!({"groups": null, "_claim_names": "groups"})),
        "wrong_type"
    );
    let roles = issuer(json!({"groupsClaim": "roles"}));
    let token = signed(&claims_with(json!({"_claim_names": {"roles": "src1"}})));
    assert_eq!(
        verify_as(&roles, &token, Purpose::Bearer).unwrap_err(),
        TokenError::DistributedClaim("roles".into())
    );
    assert!(
        verify_as(&roles, &signed(&claims_with(pointer)), Purpose::Bearer).is_ok(),
        "a pointer to what is not read matters to nobody"
    );
}

#[test]
fn imp_09_names_of_the_cluster_itself_never_come_from_a_claim() {
    for name in ["system:masters", "system:node:a", "System:Masters", "system:"] {
        assert_eq!(refusal_with(json!({"sub": name})), "system_name");
        assert_eq!(refusal_with(json!({"groups": ["dev", name]})), "system_name");
        let prefixed = issuer(json!({"usernamePrefix": "corp:", "groupsPrefix": "corp:"}));
        let token = signed(&claims_with(json!({"sub": name, "groups": [name]})));
        assert!(verify_as(&prefixed, &token, Purpose::Bearer).is_ok());
    }
}

#[test]
fn names_that_could_deceive_or_split_a_header_are_refused() {
    for name in [
        "a\r\nImpersonate-Group: system:masters",
        "a\nb",
        "a\0",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{2028}b",
        "ann\u{200b}",
        "\u{202e}nna",
        "a\u{feff}",
        " ann",
        "ann ",
        "\u{a0}ann",
        "\u{3000}ann",
        "a\tb",
        &"a".repeat(1025),
    ] {
        assert_eq!(refusal_with(json!({"sub": name})), "name_characters", "{name:?}");
        assert_eq!(refusal_with(json!({"groups": [name]})), "name_characters", "{name:?}");
    }
    for name in ["Ann Example", "Änne", "安", "мария", "a+b@c/d:e", "ann,ops"] {
        assert_eq!(
            refusal_with(json!({"sub": name, "groups": [name]})),
            "accepted",
            "{name}"
        );
    }
}

#[test]
fn o_26_the_credential_id_is_set_as_the_api_server_sets_it() {
    let token = verify(&signed(&claims())).unwrap();
    assert_eq!(token.extra["authentication.kubernetes.io/credential-id"], ["JTI=t-1"]);
    assert!(
        verify(&signed(&claims_with(json!({"jti": null}))))
            .unwrap()
            .extra
            .is_empty()
    );
}

#[test]
fn o_22_rules_judge_claims_and_users() {
    let ruled = issuer(json!({
        "claimRules": [{"expression": "claims.hd == 'corp.example'", "message": "use your work account"}, {"expression": "claims.exp - claims.nbf <= 86400"}],
        "userRules": [{"expression": "!user.username.startsWith('admin') && user.groups.all(g, g != 'guests') && user.uid == ''"}],
    }));
    let code = |changes: Value| {
        verify_as(&ruled, &signed(&claims_with(changes)), Purpose::Bearer)
            .map_or_else(|error| error.to_string(), |_| String::new())
    };
    assert_eq!(code(json!({"hd": "corp.example"})), "");
    assert_eq!(
        code(json!({"hd": "evil.example"})),
        "the rule `claims.hd == 'corp.example'` of the configuration refuses this token: use your work account"
    );
    assert_eq!(
        code(json!({})),
        "the expression `claims.hd == 'corp.example'` of the configuration failed on this token: no such key; ask with `has(…)` or `.?` first"
    );
    assert!(code(json!({"hd": "corp.example", "exp": NOW + 90_000})).contains("86400"));
    assert!(code(json!({"hd": "corp.example", "sub": "admin-1"})).contains("startsWith"));
    assert!(code(json!({"hd": "corp.example", "groups": ["guests"]})).contains("guests"));
}

#[test]
fn a_token_cannot_make_a_rule_slow() {
    let ruled = issuer(
        json!({"claimRules": [{"expression": "claims.l.all(a, claims.l.all(b, claims.l.all(c, a + b + c >= 0.0)))"}]}),
    );
    let token = signed(&claims_with(json!({"l": vec![1; 2000]})));
    let error = verify_as(&ruled, &token, Purpose::Bearer).unwrap_err();
    assert_eq!(error.code(), "rule_failed");
    assert!(
        error.to_string().contains("took more than the 100000 steps allowed"),
        "{error}"
    );
}

#[test]
fn whoever_asks_is_told_which_groups_do_not_count_and_why() {
    let told = |settings: Value, claims: Value| issuer(settings).explain(claims.as_object().unwrap());
    let mapped = told(
        json!({"usernameClaim": "email", "groupsPrefix": "corp:"}),
        json!({"groups": ["dev", "", "ops", "dev"]}),
    );
    assert_eq!(mapped.username, "claim `email`");
    assert_eq!(mapped.groups.as_deref(), Some("claim `groups` behind `corp:`"));
    let dropped: Vec<_> = mapped
        .dropped_groups
        .iter()
        .map(|dropped| (&*dropped.group, dropped.reason))
        .collect();
    assert_eq!(dropped, [("", "its name is empty"), ("dev", "it is named twice")]);
    assert!(!mapped.overage);
    let unmapped = told(json!({"groupsClaim": Value::Null}), json!({"groups": ["dev"]}));
    assert_eq!(unmapped.groups, None);
    assert!(unmapped.dropped_groups[0].reason.contains("no claim of this provider"));
    for claims in [
        json!({"hasgroups": true}),
        json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}),
    ] {
        assert!(told(json!({}), claims).overage);
    }
}

#[test]
fn o_18_oidc_27_a_tenants_person_is_named_by_ids_and_other_tenants_are_strangers() {
    let tenant = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0";
    let mine = issuer(json!({"issuer": tenant, "usernameClaim": "oid", "usernamePrefix": "entra:"}));
    let person = |iss: &str| {
        // Addresses of other tenants' people can be anything (nOAuth); they name nobody.
        let claims = claims_with(json!({"iss": iss, "oid": "o-1", "upn": "ceo@corp.example", "email_verified": false}));
        verify_as(&mine, &signed(&claims), Purpose::Bearer)
    };
    assert_eq!(person(tenant).unwrap().username, "entra:o-1");
    let foreign = tenant.replace("1111", "9999");
    assert_eq!(person(&foreign).unwrap_err(), TokenError::UnknownIssuer);
    for shared in ["common", "organizations", "consumers", "{tenantid}"] {
        let url = format!("https://login.microsoftonline.com/{shared}/v2.0");
        assert!(provider(json!({ "issuer": url })).compile().is_err(), "{shared}");
    }
}
