//! The forms that a shown text must have. What has another form than its field admits is masked, whatever the table says.

/// An identifier as Kubernetes has them: names, images, addresses, ranges, ports, groups, resources with subresource, roles.
/// Nothing with a space, a quote or a control character, and nothing longer than 253 bytes.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@*+%".contains(&byte))
}

/// A kind: letters, the first of them upper case, with three digits at most among them (`Pod`, `IPAddress`, `GRPCRoute`, `EC2Instance`).
pub(crate) fn is_kind(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() <= 63
        && digits <= 3
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `v1`, `apps/v1`, `example.com/v1beta2`: a domain, and a version as Kubernetes writes them.
pub(crate) fn is_api_version(text: &str) -> bool {
    let (group, version) = text.rsplit_once('/').unwrap_or(("", text));
    let digits = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = version.strip_prefix('v').is_some_and(|version| {
        let stage = version.split_once("alpha").or_else(|| version.split_once("beta"));
        stage.map_or_else(|| digits(version), |(major, minor)| digits(major) && digits(minor))
    });
    is_version && group.len() <= 253 && is_label_domain(group)
}

/// A label's value: at most 63 bytes.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.len() <= 63
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A label's key: a name of at most 63 bytes, with or without a domain before it.
pub(crate) fn is_label_key(text: &str) -> bool {
    let (domain, name) = text.rsplit_once('/').unwrap_or(("", text));
    !name.is_empty() && is_label_value(name) && domain.len() <= 253 && is_label_domain(domain)
}

fn is_label_domain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// A schedule of a CronJob: five fields of numbers, stars and names of months and days, or one of the words for such.
pub(crate) fn is_cron(text: &str) -> bool {
    const NAMES: [&str; 19] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu",
        "fri", "sat", "sun",
    ];
    const WORDS: [&str; 7] = [
        "@yearly",
        "@annually",
        "@monthly",
        "@weekly",
        "@daily",
        "@midnight",
        "@hourly",
    ];
    let is_item = |item: &str| {
        let is_number = item.len() <= 2 && item.bytes().all(|byte| byte.is_ascii_digit());
        let is_named = NAMES.iter().any(|name| name.eq_ignore_ascii_case(item));
        is_number || is_named || item == "*" || item == "?"
    };
    let is_field = |field: &str| field.len() <= 20 && field.split([',', '-', '/']).all(is_item);
    WORDS.contains(&text) || (text.split(' ').count() == 5 && text.split(' ').all(is_field))
}

/// A number that is shown: no longer than any that fits 128 bits.
pub(crate) fn is_short_number(text: &str) -> bool {
    text.len() <= 40
}

/// A quantity (`100m`, `1.5Gi`, `1e3`).
pub(crate) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at_checked(end).unwrap_or(("", ""));
    let is_known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ]
    .contains(&suffix);
    let is_exponent = || {
        let digits = suffix.strip_prefix(['e', 'E']);
        let digits = digits.map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits));
        digits.is_some_and(|digits| (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.len() <= 32
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && (is_known || is_exponent())
}

/// A port's name or a share in percent, where a number may stand too.
pub(crate) fn is_port_or_percent(text: &str) -> bool {
    let is_percent = text
        .strip_suffix('%')
        .is_some_and(|number| (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()));
    let is_port = !text.is_empty()
        && text.len() <= 15
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_percent || is_port
}

/// A time (RFC 3339), whatever its fraction.
pub(crate) fn is_time(text: &str) -> bool {
    text.len() <= 35
        && text.len() >= 20
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            0..19 => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || b".+-:Z".contains(&byte),
        })
}

/// A duration of Go (`1h30m0s`).
pub(crate) fn is_duration(text: &str) -> bool {
    text.len() <= 24
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".hmsnu-".contains(&byte))
}

/// Scheme, host and port of a URL, if it has no user in it. The rest of the URL is not among them.
pub(crate) fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let scheme = url.len().checked_sub(rest.len())?;
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..host)?;
    let is_plain = authority
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte));
    let is_origin = !authority.is_empty() && authority.len() <= 253 && is_plain;
    is_origin.then(|| url.get(..scheme.saturating_add(host))).flatten()
}

/// The last net: a text that is shown, and yet begins or looks like a secret. It is masked then, and an alarm says so.
///
/// Not what promise 6 rests on (that is the table), and short for that reason.
pub(crate) fn looks_like_a_secret(text: &str) -> bool {
    text.len() >= 12
        && (is_introduced(text.as_bytes())
            || has_userinfo(text)
            || text.split(['.', '/', ':', '@', '_', '-']).any(is_random))
}

/// Whether one of them stands anywhere in the text. Looked for at every place at once: this is asked of each text that is shown.
fn is_introduced(text: &[u8]) -> bool {
    let begins = |at: usize, byte: u8| {
        let rest = text.get(at..).unwrap_or_default();
        let of_byte = INTRODUCTIONS.iter().map(|known| known.as_bytes());
        of_byte
            .filter(|known| known.first() == Some(&byte))
            .any(|known| rest.starts_with(known))
    };
    text.iter()
        .enumerate()
        .any(|(at, byte)| b"-LeAgxshnp".contains(byte) && begins(at, *byte))
}

const INTRODUCTIONS: [&str; 19] = [
    "-----BEGIN",
    "LS0tLS1CRUdJT",
    "eyJ",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "hvs.",
    "npm_",
    "AIza",
    "pypi-",
];

fn has_userinfo(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        authority.contains('@')
    })
}

/// A run of 24 and more letters of both cases and digits that is no hexadecimal number (uids and digests are): names are not made so.
fn is_random(run: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| run.bytes().any(|byte| wanted(&byte));
    run.len() >= 24
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !run.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_scheme_host_and_port_are_its_origin() {
        assert_eq!(
            origin("https://hooks.example:8443/x?token=1"),
            Some("https://hooks.example:8443")
        );
        assert_eq!(origin("https://hooks.example?x"), Some("https://hooks.example"));
        assert_eq!(origin("http://[::1]:80#x"), Some("http://[::1]:80"));
        for none in [
            "https://al:pw@hooks.example/",
            "ftp://x/",
            "https://",
            "https:///x",
            "https://%61/",
            "x",
            "https://h h/",
        ] {
            assert_eq!(origin(none), None, "{none}");
        }
    }

    #[test]
    fn quantities_times_and_ports_have_a_form_and_nothing_else_is_one() {
        for quantity in ["1", "100m", "1.5Gi", "-2", "1e3", "1E-3", "+.5", "0"] {
            assert!(is_quantity(quantity), "{quantity}");
        }
        for other in ["", "m", "1Kb", "1.2.3", "hunter2", "1e", "1e1234", "0x1", "1 ", "Gi"] {
            assert!(!is_quantity(other), "{other}");
        }
        assert!(is_time("2026-11-22T15:00:00Z") && is_time("2026-11-22T15:00:00.123456+01:00"));
        assert!(!is_time("2026-11-22 15:00:00Z") && !is_time("hunter2") && !is_time("2026-11-22T15:00:00"));
        assert!(
            is_port_or_percent("25%")
                && is_port_or_percent("http-web")
                && !is_port_or_percent("Hunter2")
                && !is_port_or_percent("")
        );
    }

    #[test]
    fn a_schedule_is_one_and_no_other_words() {
        for schedule in ["*/5 * * * *", "0 0,12 1-15 */2 MON-FRI", "@hourly", "5 4 ? JAN sun"] {
            assert!(is_cron(schedule), "{schedule}");
        }
        for other in [
            "hunter2 5",
            "@hunter",
            "hun ter pas swo rdx",
            "* * * *",
            "* * * * 1234",
            "CRON_TZ=UTC * * * * *",
        ] {
            assert!(!is_cron(other), "{other}");
        }
    }

    #[test]
    fn an_introduction_is_found_wherever_it_stands() {
        for introduction in INTRODUCTIONS {
            for text in [
                format!("{introduction}x"),
                format!("é--n{introduction}"),
                format!("gh{introduction}ghp"),
            ] {
                assert!(is_introduced(text.as_bytes()), "{text}");
            }
            let cut = introduction.strip_suffix(|_: char| true).unwrap();
            assert!(!is_introduced(cut.as_bytes()), "{cut}");
        }
    }

    #[test]
    fn the_last_net_knows_secrets_from_names() {
        for secret in [
            "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
            "AKIAIOSFODNN7EXAMPLE",
            "x-ghp_0123456789abcdef",
            "https://al:hunter2@example.com",
            "a.Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg",
        ] {
            assert!(looks_like_a_secret(secret), "{secret}");
        }
        for name in [
            "registry.example/team/app:v1.2.3@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "8a1f6c1e-6f2a-4f30-9a37-111111111111",
            "system:serviceaccount:kube-system:generic-garbage-collector",
            "web-7d4b9c6f5d-x2x4z",
            "node-role.kubernetes.io/control-plane",
        ] {
            assert!(!looks_like_a_secret(name), "{name}");
        }
    }
}
