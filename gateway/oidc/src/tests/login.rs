//! Signing in and out: requests that are sent, answers that come.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::kit::*;
use crate::encoding::encode;
use crate::login::{
    CallbackError, Client, ClientAuthentication, Code, ExchangeError, LoginAttempt, LoginOptions, LoginSecrets,
    ProviderError, SeenLogouts, StartError, Tokens, callback_state,
};
use crate::verify::LOGOUT_EVENT;
use crate::{Answer, Discovery, TokenError, Unverified};

fn discovery(answers_with_issuer: bool) -> Discovery {
    let uri = |path: &str| format!("https://idp.corp.example{path}").parse().unwrap();
    Discovery {
        issuer: ISSUER.into(),
        jwks: uri("/jwks"),
        authorization: Some(uri("/auth?tenant=1")),
        token: Some(uri("/token")),
        revocation: Some(uri("/revoke")),
        end_session: Some(uri("/end")),
        answers_with_issuer,
    }
}

fn client(authentication: ClientAuthentication) -> Client {
    Client {
        issuer: ISSUER.into(),
        client_id: "gate scribe".into(),
        authentication,
        redirect_uri: "https://gate.corp.example/callback".into(),
        scopes: vec!["email".into(), "offline_access".into()],
    }
}

fn begin(answers_with_issuer: bool, options: &LoginOptions) -> (String, LoginAttempt) {
    let secrets = LoginSecrets::from_entropy(&std::array::from_fn(|at| u8::try_from(at).unwrap()));
    client(ClientAuthentication::None)
        .begin(&discovery(answers_with_issuer), options, secrets, now())
        .unwrap()
}

fn finish(answers_with_issuer: bool, parameters: &str) -> Result<Code, CallbackError> {
    let (_, attempt) = begin(answers_with_issuer, &LoginOptions::default());
    let parameters = parameters.replace("STATE", attempt.state());
    attempt.finish(&parameters, now())
}

fn body(request: &crate::Outgoing) -> String {
    String::from_utf8(request.body().to_vec()).unwrap()
}

fn read(status: u16, body: &str) -> Result<Tokens, ExchangeError> {
    let headers = HeaderMap::new();
    Tokens::read(&Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &headers,
        body: body.as_bytes(),
    })
}

#[test]
fn w_01_the_browser_is_sent_with_pkce_state_and_nonce() {
    let options = LoginOptions {
        max_age: Some(Duration::from_secs(900)),
        acr_values: vec!["mfa".into()],
        prompt: Some("login".into()),
        login_hint: Some("ann@corp.example".into()),
    };
    let (url, attempt) = begin(true, &options);
    let first = encode(&std::array::from_fn::<u8, 32, _>(|at| u8::try_from(at).unwrap()));
    assert_eq!(attempt.state(), first);
    assert_eq!(
        url,
        "https://idp.corp.example/auth?tenant=1&response_type=code&client_id=gate+scribe\
         &state=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\
         &code_challenge=9F3IKnUj0Ul0zqBQ4wKOi_BqjuhVqdYwNOu0-57MIwU&code_challenge_method=S256\
         &redirect_uri=https%3A%2F%2Fgate.corp.example%2Fcallback&scope=openid+email+offline_access\
         &nonce=ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8\
         &acr_values=mfa&login_hint=ann%40corp.example&max_age=900&prompt=login"
    );
}

#[test]
fn w_01_every_sign_in_has_its_own_secrets_and_shows_none() {
    let (one, two) = (LoginSecrets::generate().unwrap(), LoginSecrets::generate().unwrap());
    let start = |secrets| {
        client(ClientAuthentication::None)
            .begin(&discovery(true), &LoginOptions::default(), secrets, now())
            .unwrap()
    };
    let (one, two) = (start(one), start(two));
    assert_ne!(one.1.state(), two.1.state());
    assert!(!format!("{:?}", one.1).contains(one.1.state()));
}

#[test]
fn oidc_13_an_answer_without_the_right_state_burns_the_attempt() {
    for parameters in [
        "code=c&iss=https%3A%2F%2Fidp.corp.example",
        "code=c&state=",
        "code=c&state=other",
        "code=c&state=STATEx",
        "code=c&state=%00",
    ] {
        let error = finish(false, parameters).unwrap_err();
        assert!(
            matches!(error, CallbackError::State | CallbackError::Malformed),
            "{parameters}"
        );
    }
    assert!(finish(false, "code=c&state=STATE").is_ok());
    assert_eq!(finish(false, "state=STATE").unwrap_err(), CallbackError::NoCode);
    assert_eq!(finish(false, "state=STATE&code=").unwrap_err(), CallbackError::NoCode);
    assert_eq!(callback_state("code=c&state=s1").unwrap(), "s1");
}

#[test]
fn oidc_13_a_parameter_twice_or_unreadable_is_refused() {
    for parameters in [
        "code=a&code=b&state=STATE",
        "state=STATE&state=STATE&code=c",
        "code=%ff&state=STATE",
        "code=a%0d%0ab&state=STATE",
        &format!("code={}&state=STATE", "x".repeat(4097)),
        &"a=1&".repeat(9000),
    ] {
        assert_eq!(finish(false, parameters).unwrap_err(), CallbackError::Malformed);
    }
}

#[test]
fn oidc_14_an_answer_of_another_provider_never_reaches_the_token_endpoint() {
    assert_eq!(finish(true, "code=c&state=STATE").unwrap_err(), CallbackError::Issuer);
    for iss in ["https%3A%2F%2Fevil.example", "https%3A%2F%2Fidp.corp.example%2F", ""] {
        for announced in [true, false] {
            assert_eq!(
                finish(announced, &format!("code=c&state=STATE&iss={iss}")).unwrap_err(),
                CallbackError::Issuer
            );
        }
    }
    let code = finish(true, "code=c&state=STATE&iss=https%3A%2F%2Fidp.corp.example").unwrap();
    assert_eq!(code.token_request().unwrap().uri(), "https://idp.corp.example/token");
    let mut other = discovery(true);
    other.issuer = "https://evil.example".into();
    let started = client(ClientAuthentication::None).begin(
        &other,
        &LoginOptions::default(),
        LoginSecrets::from_entropy(&[0; 96]),
        now(),
    );
    assert_eq!(started.unwrap_err(), StartError::OtherIssuer);
}

#[test]
fn oidc_15_a_code_after_ten_minutes_is_refused() {
    for (seconds, accepted) in [(0, true), (599, true), (600, false), (86_400, false)] {
        let (_, attempt) = begin(false, &LoginOptions::default());
        let parameters = format!("code=c&state={}", attempt.state());
        let result = attempt.finish(&parameters, now().plus(Duration::from_secs(seconds)));
        assert_eq!(result.is_ok(), accepted, "{seconds}");
    }
}

#[test]
fn oidc_26_what_the_provider_says_in_words_is_never_shown() {
    let markup = "error=access_denied&error_description=%3Cscript%3E&error_uri=https%3A%2F%2Fevil&state=STATE";
    let error = finish(false, markup).unwrap_err();
    assert_eq!(error, CallbackError::Refused(ProviderError::AccessDenied));
    assert!(!error.to_string().contains("script"));
    let error = finish(false, "error=%3Cb%3E&state=STATE").unwrap_err();
    assert_eq!(error, CallbackError::Refused(ProviderError::Other));
    assert!(!error.to_string().contains("<b>"));
}

#[test]
fn w_03_the_code_is_exchanged_with_the_verifier_and_the_clients_proof() {
    let exchange = |authentication| {
        let secrets = LoginSecrets::from_entropy(&[7; 96]);
        let (_, attempt) = client(authentication)
            .begin(&discovery(false), &LoginOptions::default(), secrets, now())
            .unwrap();
        let parameters = format!("code=a%2Bb&state={}", attempt.state());
        attempt.finish(&parameters, now()).unwrap().token_request().unwrap()
    };
    let public = exchange(ClientAuthentication::None);
    assert_eq!(public.method(), "POST");
    let verifier = encode(&[7; 32]);
    let grant = format!("grant_type=authorization_code&code=a%2Bb&code_verifier={verifier}");
    let back = "redirect_uri=https%3A%2F%2Fgate.corp.example%2Fcallback";
    assert_eq!(body(&public), format!("{grant}&client_id=gate+scribe&{back}"));
    assert!(public.headers().get("authorization").is_none());
    let basic = exchange(ClientAuthentication::Basic("s:e c/ret".into()));
    assert_eq!(body(&basic), format!("{grant}&{back}"));
    assert_eq!(
        basic.headers()["authorization"],
        "Basic Z2F0ZStzY3JpYmU6cyUzQWUrYyUyRnJldA=="
    );
    assert!(
        !format!("{basic:?}").contains("Z2F0"),
        "the header is marked as sensitive"
    );
    let post = exchange(ClientAuthentication::Post("s&".into()));
    assert_eq!(
        body(&post),
        format!("{grant}&client_id=gate+scribe&client_secret=s%26&{back}")
    );
}

#[test]
fn the_code_carries_what_its_id_token_is_verified_for() {
    let code = finish(false, "code=c&state=STATE").unwrap();
    let tokens = read(200, r#"{"token_type":"Bearer","id_token":"i","access_token":"a"}"#).unwrap();
    let mut claims = claims_with(json!({"aud": "gate scribe"}));
    assert_eq!(
        verify_as(&issuer(json!({})), &signed(&claims), code.purpose(&tokens)).unwrap_err(),
        TokenError::Nonce
    );
    claims["nonce"] = json!(code.nonce());
    assert!(verify_as(&issuer(json!({})), &signed(&claims), code.purpose(&tokens)).is_ok());
}

#[test]
fn w_04_renewal_and_revocation_are_form_posts_to_their_endpoints() {
    let token = SecretString::from("r/1");
    let client = client(ClientAuthentication::None);
    let request = client.refresh_request(&discovery(true), &token).unwrap();
    assert_eq!(
        (request.uri().path(), &*body(&request)),
        (
            "/token",
            "grant_type=refresh_token&refresh_token=r%2F1&client_id=gate+scribe"
        )
    );
    let request = client.revocation_request(&discovery(true), &token).unwrap();
    assert_eq!(
        (request.uri().path(), &*body(&request)),
        (
            "/revoke",
            "token=r%2F1&token_type_hint=refresh_token&client_id=gate%20scribe"
        )
    );
    let bare = Discovery {
        token: None,
        revocation: None,
        end_session: None,
        ..discovery(true)
    };
    assert_eq!(
        client.refresh_request(&bare, &token).unwrap_err(),
        StartError::NoEndpoint("token_endpoint")
    );
    assert!(client.revocation_request(&bare, &token).is_none() && client.logout_url(&bare, None, None, None).is_none());
}

#[test]
fn idp_05_an_answer_that_is_not_tokens_gives_no_tokens() {
    let good = read(
        200,
        r#"{"token_type":"bearer","access_token":"a","id_token":"i","refresh_token":"r","expires_in":300,"x":1}"#,
    )
    .unwrap();
    assert_eq!(good.refresh_token.as_ref().unwrap().expose_secret(), "r");
    assert_eq!(good.expires_in, Some(Duration::from_secs(300)));
    assert!(!format!("{good:?}").contains("\"r\""));
    for (answer, problem) in [
        ("<html></html>", "no JSON object"),
        ("{} junk", "no JSON object"),
        (r#"{"access_token":"a"}"#, "`token_type` is not Bearer"),
        (
            r#"{"token_type":"DPoP","access_token":"a"}"#,
            "`token_type` is not Bearer",
        ),
        (
            r#"{"token_type":"Bearer","id_token":"i"}"#,
            "`access_token` is missing or a member has another type",
        ),
        (r#"{"token_type":"Bearer","id_token":7}"#, "id_token"),
        (r#"{"token_type":"Bearer","expires_in":-5}"#, "expires_in"),
        (r#"{"token_type":"Bearer","refresh_token":""}"#, "refresh_token"),
        (
            r#"{"token_type":"Bearer","id_token":"a","id_token":"b"}"#,
            "no JSON object",
        ),
    ] {
        assert_eq!(
            read(200, answer).unwrap_err(),
            ExchangeError::Malformed(problem),
            "{answer}"
        );
    }
    assert_eq!(
        read(200, &" ".repeat(300_000)).unwrap_err(),
        ExchangeError::Malformed("too long")
    );
    assert_eq!(
        read(200, r#"{"error":"invalid_grant"}"#).unwrap_err(),
        ExchangeError::Refused(ProviderError::InvalidGrant)
    );
}

#[test]
fn answers_of_providers_that_quote_numbers_or_list_scopes_are_read() {
    let odd = read(
        200,
        r#"{"token_type":"Bearer","access_token":"a","expires_in":"3599","scope":["openid"]}"#,
    );
    assert_eq!(odd.unwrap().expires_in, Some(Duration::from_secs(3599)));
}

#[test]
fn oidc_24_only_invalid_grant_ends_a_session() {
    for (status, answer, error, ends) in [
        (
            400,
            r#"{"error":"invalid_grant"}"#,
            ExchangeError::Refused(ProviderError::InvalidGrant),
            true,
        ),
        (
            401,
            r#"{"error":"invalid_client"}"#,
            ExchangeError::Refused(ProviderError::InvalidClient),
            false,
        ),
        (
            400,
            r#"{"error":"something"}"#,
            ExchangeError::Refused(ProviderError::Other),
            false,
        ),
        (
            500,
            r#"{"error":"invalid_grant"}"#,
            ExchangeError::Unavailable(500),
            false,
        ),
        (503, "", ExchangeError::Unavailable(503), false),
        (429, "slow down", ExchangeError::Unavailable(429), false),
        (302, "", ExchangeError::Unavailable(302), false),
    ] {
        let found = read(status, answer).unwrap_err();
        assert_eq!((found.ends_session(), found), (ends, error));
    }
}

#[test]
fn w_05_the_browser_signs_out_with_a_hint_and_an_exact_return() {
    let token = SecretString::from("id");
    let url = client(ClientAuthentication::None).logout_url(
        &discovery(true),
        Some(&token),
        Some("https://gate.corp.example/"),
        Some("s"),
    );
    assert_eq!(
        url.unwrap(),
        "https://idp.corp.example/end?client_id=gate+scribe&post_logout_redirect_uri=https%3A%2F%2Fgate.corp.example%2F&state=s&id_token_hint=id"
    );
}

fn logout(header: &Value, changes: Value) -> Result<crate::login::LogoutToken, TokenError> {
    let mut claims = json!({"iss": ISSUER, "aud": CLIENT, "sub": "u-1", "sid": "s-1", "iat": NOW - 5, "exp": NOW + 115, "jti": "l-1", "events": {LOGOUT_EVENT: {}}});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    let text = token(header, &claims);
    issuer(json!({})).verify_logout(&Unverified::parse(&text)?, &KEYS, CLIENT, now())
}

#[test]
fn r_06_oidc_25_only_a_whole_logout_token_ends_sessions() {
    let header = json!({"alg": "ES256", "kid": "ec", "typ": "logout+jwt"});
    let found = logout(&header, json!({})).unwrap();
    assert_eq!(
        (found.subject.as_deref(), found.session.as_deref(), &*found.token_id),
        (Some("u-1"), Some("s-1"), "l-1")
    );
    assert!(
        logout(&json!({"alg": "ES256", "kid": "ec"}), json!({})).is_ok(),
        "`typ` is recommended only"
    );
    assert!(logout(&header, json!({"sub": null})).is_ok() && logout(&header, json!({"sid": null})).is_ok());
    for (changes, code) in [
        (json!({"nonce": "n"}), "logout"),
        (json!({"events": null}), "logout"),
        (json!({"events": {}}), "logout"),
        (json!({"events": {LOGOUT_EVENT: 1}}), "logout"),
        (json!({"sub": null, "sid": null}), "logout"),
        (json!({"aud": "other"}), "audience"),
        (json!({"iss": "https://evil.example"}), "unknown_issuer"),
        (json!({"jti": null}), "missing_claim"),
        (json!({"iat": null}), "missing_claim"),
        (json!({"exp": null}), "missing_claim"),
        (json!({"exp": NOW - 60}), "expired"),
        (json!({"iat": NOW - 311}), "expired"),
        (json!({"iat": NOW + 60}), "issued_in_future"),
        (json!({"sub": 7}), "wrong_type"),
    ] {
        assert_eq!(logout(&header, changes.clone()).unwrap_err().code(), code, "{changes}");
    }
    for typ in ["at+jwt", "dpop+jwt"] {
        assert_eq!(
            logout(&json!({"alg": "ES256", "kid": "ec", "typ": typ}), json!({}))
                .unwrap_err()
                .code(),
            "logout"
        );
    }
    assert_eq!(
        logout(&json!({"alg": "none", "typ": "logout+jwt"}), json!({}))
            .unwrap_err()
            .code(),
        "algorithm"
    );
}

#[test]
fn r_06_a_logout_token_counts_once() {
    let token = logout(&json!({"alg": "ES256", "kid": "ec"}), json!({})).unwrap();
    let mut seen = SeenLogouts::new();
    assert!(seen.admit(&token, now()).is_ok());
    assert_eq!(
        seen.admit(&token, now()).unwrap_err(),
        TokenError::Logout("was used before (`jti`)")
    );
    // Once it may be forgotten the token itself is too old.
    let later = token.remember_until.plus(Duration::from_secs(1));
    let text = super::kit::token(
        &json!({"alg": "ES256", "kid": "ec"}),
        &json!({"iss": ISSUER, "aud": CLIENT, "sub": "u-1", "iat": NOW - 5, "exp": NOW + 9_000, "jti": "l-1", "events": {LOGOUT_EVENT: {}}}),
    );
    let replayed = issuer(json!({})).verify_logout(&Unverified::parse(&text).unwrap(), &KEYS, CLIENT, later);
    assert_eq!(replayed.unwrap_err(), TokenError::Expired);
}

proptest! {
    #[test]
    fn no_callback_makes_the_reader_panic(parameters in "[ -~]{0,200}") {
        let _ = callback_state(&parameters);
        let _ = finish(true, &parameters);
    }

    #[test]
    fn no_answer_makes_the_reader_panic(answer in "[\\[\\]{}\":,a-z0-9_]{0,100}", status in 100_u16..600) {
        let _ = read(status, &answer);
    }
}
