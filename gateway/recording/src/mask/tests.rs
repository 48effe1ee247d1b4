//! What is masked, what is not, and that cuts make no difference.

use proptest::prelude::*;

use super::*;

fn masked_in(pieces: &[&[u8]]) -> (Vec<u8>, Vec<(Secret, u64)>) {
    let (mut masker, mut found, mut out) = (Masker::default(), Counts::default(), Vec::new());
    for piece in pieces {
        let from = out.len();
        out.extend_from_slice(piece);
        masker.pass(&mut out, from, &mut found);
    }
    (out, found.drain().collect())
}

/// The text as it is kept; how it is cut is no matter.
fn masked(text: &str) -> String {
    let whole = masked_in(&[text.as_bytes()]);
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(masked_in(&bytes), whole, "byte by byte: {text}");
    String::from_utf8(whole.0).unwrap()
}

#[track_caller]
fn kind(text: &str) -> Secret {
    let (_, found) = masked_in(&[text.as_bytes()]);
    let [(secret, 1)] = found.as_slice() else {
        panic!("{text}: {found:?}");
    };
    *secret
}

#[test]
fn no_introduction_stands_inside_another_and_the_fast_search_is_used() {
    assert!(SEARCH.is_some());
    assert!(INTRODUCTIONS.len() <= 64);
    for one in INTRODUCTIONS {
        assert!(one.text.len() <= LONGEST, "{}", one.text);
        for other in INTRODUCTIONS.iter().filter(|other| other.text != one.text) {
            assert!(!other.text.contains(one.text), "{} in {}", one.text, other.text);
        }
    }
}

#[test]
fn known_tokens_are_masked_behind_what_introduces_them() {
    assert_eq!(masked("a ghp_0123abcd b"), "a ghp_******** b");
    assert_eq!(masked("AKIAIOSFODNN7EXAMPLE"), "AKIA****************");
    assert_eq!(masked("xoxb-12-ab\r\n$ "), "xoxb-*****\r\n$ ");
    assert_eq!(masked("glpat-abc_def."), "glpat-********");
    assert_eq!(
        masked("curl -H 'x' eyJhbGciOi.eyJzdWIi.c2ln;"),
        "curl -H 'x' eyJ*********************;"
    );
    assert_eq!(kind("glpat-abc"), Secret::GitlabToken);
    assert_eq!(kind("xapp-abc"), Secret::SlackToken);
    assert_eq!(kind("AIzaSyA"), Secret::ProviderKey);
}

#[test]
fn what_stands_within_a_word_introduces_nothing() {
    for text in [
        "heyJude",
        "xAKIAB",
        "ZASIAN",
        "some secretary",
        "tokens: 5",
        "secretName: db",
        "tokenUrl=x",
        "secretKeyRef: a",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn values_of_what_is_called_a_secret_are_masked() {
    assert_eq!(masked("PASSWORD=hunter2 x"), "PASSWORD=******* x");
    assert_eq!(masked("export DB_PASSWORD='a b' c"), "export DB_PASSWORD='***' c");
    assert_eq!(masked("password: hunter2\n"), "password: *******\n");
    assert_eq!(
        masked("{\"client_secret\": \"s\\u0031\", \"x\": 1}"),
        "{\"client_secret\": \"*******\", \"x\": 1}"
    );
    assert_eq!(masked("{\\\"token\\\":\\\"abc\\\"}"), "{\\\"token\\\":\\\"***\\\"}");
    assert_eq!(masked("AWS_SECRET_ACCESS_KEY=abc/def"), "AWS_SECRET_ACCESS_KEY=*******");
    assert_eq!(masked("secretKey := abc"), "secretKey := ***");
    assert_eq!(
        masked("mysql --password hunter2 -h db"),
        "mysql --password ******* -h db"
    );
    assert_eq!(masked("x --registry-token=abc y"), "x --registry-token=*** y");
    assert_eq!(masked("apikey=a&b=c"), "apikey=*****");
    assert_eq!(kind("OPENAI_API_KEY=abc"), Secret::Assignment);
}

#[test]
fn words_without_a_value_stay() {
    for text in [
        "[sudo] password for bob: ",
        "Password: \r\nLast login",
        "kind: Secret\n",
        "  secret:\n    secretName: x",
        "\"secret\": {\"name\": 1}",
        "kubectl create secret generic x",
        "default-token-abcde  kubernetes.io/service-account-token  3",
        "a token is a thing",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn colours_between_a_word_and_its_value_change_nothing_and_stay() {
    let jq = "\x1b[34;1m\"password\"\x1b[0m\x1b[1;39m:\x1b[0m \x1b[0;32m\"hunter2\"\x1b[0m,";
    assert_eq!(masked(jq), jq.replace("hunter2", "*******"));
    let within = "ghp_ab\x1b[1mcd\x1b[0m ef";
    assert_eq!(masked(within), "ghp_**\x1b[1m**\x1b[0m ef");
}

#[test]
fn a_cursor_that_goes_elsewhere_ends_a_secret() {
    assert_eq!(masked("ghp_ab\x1b[5;1Hcd"), "ghp_**\x1b[5;1Hcd");
    assert_eq!(masked("password=ab\x1b[2Jcd"), "password=**\x1b[2Jcd");
}

#[test]
fn a_value_in_quotes_goes_on_behind_a_cursor_that_goes_elsewhere() {
    assert_eq!(masked("password = \"ab\x1b[9;3Hcd\";"), "password = \"**\x1b[9;3H**\";");
    let long = masked(&format!("password = \"ab\x1b[9;3H{}", "x".repeat(200)));
    assert!(long.ends_with('x'), "but not for long");
}

#[test]
fn a_line_that_is_edited_stays_masked() {
    assert_eq!(masked("TOKEN=ab\x08\x1b[Kcd\r\n"), "TOKEN=**\x08\x1b[K**\r\n");
}

#[test]
fn private_keys_keep_their_first_and_last_line() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\r\nMIIE+/=\r\nabc\r\n-----END RSA PRIVATE KEY-----\r\n$ ls";
    let kept = "-----BEGIN RSA PRIVATE KEY-----\r\n*******\r\n***\r\n-----END RSA PRIVATE KEY-----\r\n$ ls";
    assert_eq!(masked(key), kept);
    assert_eq!(
        masked("-----BEGIN PRIVATE KEY-----\\nMII\\n-----END"),
        "-----BEGIN PRIVATE KEY-----*******-----END"
    );
    let public = "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----";
    assert_eq!(masked(public), public);
}

#[test]
fn a_key_or_token_behind_a_masked_word_is_masked_too() {
    let key = "private_key: -----BEGIN RSA PRIVATE KEY-----\n  MIIE\n";
    assert_eq!(masked(key), "private_key: ********** RSA PRIVATE KEY-----\n  ****\n");
    assert_eq!(masked("token: Bearer abc"), "token: ****** ***");
    assert_eq!(
        masked("-----BEGIN PRIVATE KEY-----\nghp_abc"),
        "-----BEGIN PRIVATE KEY-----\n***_***"
    );
}

#[test]
fn the_first_line_of_a_key_hides_nothing_but_what_looks_like_one() {
    let shown = masked("-----BEGIN PRIVATE KEY-----\r\nroot@pod:/# cat /etc/passwd\r\n");
    assert!(shown.ends_with("@pod:/# cat /etc/passwd\r\n"), "{shown}");
}

#[test]
fn private_keys_in_base64_are_masked_and_certificates_are_not() {
    let encode = |text: &str| {
        // As `kubectl get secret -o yaml` shows them; by hand, so that no other encoder is needed.
        let mut out = String::new();
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for three in text.as_bytes().chunks(3) {
            let bits =
                three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..=three.len() {
                out.push(char::from(alphabet[bits >> (18 - 6 * place) & 63]));
            }
        }
        out
    };
    for name in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "] {
        let text = format!(
            "  tls.key: {}\n",
            encode(&format!("-----BEGIN {name}PRIVATE KEY-----\nMIIEsecret"))
        );
        assert!(masked(&text).ends_with("**********\n"), "{name}");
        assert_eq!(kind(&text), Secret::PrivateKey);
    }
    let public = encode("-----BEGIN CERTIFICATE-----\nMIIE");
    assert_eq!(masked(&public), public);
}

#[test]
fn authorization_is_masked_to_the_end_of_the_line() {
    assert_eq!(
        masked("> Authorization: Basic dXNlcg==\r\n> Host: a"),
        "> Authorization: **************\r\n> Host: a"
    );
    assert_eq!(masked("authorization.k8s.io/v1"), "authorization.k8s.io/v1");
    assert_eq!(masked("-H 'Bearer abc.def' x"), "-H 'Bearer *******' x");
}

#[test]
fn passwords_in_urls_are_masked_and_ports_are_not() {
    assert_eq!(masked("postgres://u:p4ss@db:5432/x"), "postgres://u:****@db:5432/x");
    assert_eq!(masked("amqp://u:12@h"), "amqp://u:**@h");
    assert_eq!(masked("amqp://u:1234567@h"), "amqp://u:*******@h");
    for text in [
        "http://host:8080/path",
        "http://host:8080\n",
        "http://h:80 x",
        "http://[::1]:80/",
        "see https://a.b/c:d@e",
    ] {
        assert_eq!(masked(text), text);
    }
    assert_eq!(masked("https://ghp_abc@github.com"), "https://ghp_***@github.com");
}

#[test]
fn digits_that_may_be_a_password_stay_masked_when_a_chunk_ends_behind_them() {
    let (mut masker, mut found) = (Masker::default(), Counts::default());
    let mut first = b"http://host:80".to_vec();
    masker.pass(&mut first, 0, &mut found);
    masker.cut(&mut found);
    let mut second = b"80/path".to_vec();
    masker.pass(&mut second, 0, &mut found);
    assert_eq!(first, b"http://host:**");
    assert_eq!(second, b"80/path");
    assert_eq!(found.drain().collect::<Vec<_>>(), [(Secret::UrlPassword, 1)]);
}

#[test]
fn masks_are_as_long_and_as_wide_as_what_they_hide() {
    let secret = "aé•漢😀z";
    let kept = masked(&format!("password={secret} x"));
    assert_eq!(kept, "password=*·•＊🔒* x");
    assert_eq!(kept.len(), "password= x".len() + secret.len());
    let columns = |text: &str| {
        let mut screen = vt100::Parser::new(2.try_into().unwrap(), 80.try_into().unwrap(), 0);
        screen.process(text.as_bytes());
        screen.screen().cursor_position()
    };
    assert_eq!(columns(&kept), columns(&format!("password={secret} x")));
}

#[test]
fn a_secret_has_a_longest_length() {
    let kept = masked(&format!("password={}", "x".repeat(6000)));
    assert_eq!(kept.matches('*').count(), 4095);
}

/// Words of which the interesting texts consist.
fn word() -> impl Strategy<Value = String> {
    let words: Vec<String> = INTRODUCTIONS
        .iter()
        .map(|introduction| introduction.text.to_owned())
        .chain(
            [
                "p",
                "t",
                "-----BEGIN ",
                "-----END ",
                "RSA ",
                "=",
                ": ",
                " ",
                "\"",
                "'",
                "\\",
                "\n",
                "\r\n",
                "\x1b[1m",
                "\x1b[3;4H",
                "\x1b]0;t\x07",
                "\x1b",
                "@",
                "/",
                "80",
                "key",
                "_access_",
                "é",
                "漢",
                "\x08",
                "abc",
                "--",
                ",",
                "{",
            ]
            .map(str::to_owned),
        )
        .collect();
    prop_oneof![9 => prop::sample::select(words), 1 => "[ -~]{1,8}"]
}

proptest! {
    #[test]
    fn cuts_make_no_difference_and_lengths_stay(
        words in prop::collection::vec(word(), 0..30),
        cuts in prop::collection::vec(1..12_usize, 1..40),
    ) {
        let text = words.concat().into_bytes();
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let whole = masked_in(&[&text]);
        prop_assert_eq!(whole.0.len(), text.len());
        prop_assert_eq!(masked_in(&pieces), whole);
    }

    #[test]
    fn a_known_token_never_stays_whatever_stands_in_front_of_it(
        words in prop::collection::vec(word(), 0..20),
        cuts in prop::collection::vec(1..12_usize, 1..40),
    ) {
        let text = format!("{}\n ghp_SECRETSECRET", words.concat()).into_bytes();
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let (kept, _) = masked_in(&pieces);
        prop_assert!(!kept.ends_with(b"SECRETSECRET"), "{}", String::from_utf8_lossy(&kept));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (kept, _) = masked_in(&[&bytes]);
        prop_assert_eq!(kept.len(), bytes.len());
    }
}
