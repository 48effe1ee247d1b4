//! `Accept` (RFC 9110 §12.5.1), read for one question: is a page wanted?

use http::{HeaderMap, header};

/// Whether `text/html` is named, nothing is wanted more, and JSON is wanted less. Programs that take anything do not name it;
/// scripts that name both can read JSON.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json, mut other) = (0, 0, 0);
    let lines = headers.get_all(header::ACCEPT).iter();
    let ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    for range in ranges {
        let (kind, weight) = read(range);
        let most = match &*kind {
            "text/html" => &mut html,
            kind if kind.ends_with("/json") || kind.ends_with("+json") => &mut json,
            _ => &mut other,
        };
        *most = weight.max(*most);
    }
    html > json && html >= other
}

/// A media range in lower case, and how much it is wanted in thousandths.
fn read(range: &str) -> (String, u16) {
    let mut parts = range.split(';');
    let kind = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    (kind, weight.unwrap_or(1000))
}

/// A weight (RFC 9110 §12.4.2). What is none counts as "not wanted": it makes nobody a browser.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let fraction = format!("{fraction:0<3}").parse().unwrap_or(0);
    match (whole, fraction) {
        ("0", fraction) => fraction,
        ("1", 0) => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_at_most_three_digits_and_is_at_most_one() {
        for (text, weight) in [
            ("1", 1000),
            ("1.", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.8", 800),
            ("0.85", 850),
            ("0.001", 1),
            ("0.0001", 0),
            ("1.1", 0),
            ("2", 0),
            (".8", 0),
            ("-1", 0),
            ("0.+8", 0),
            ("", 0),
            ("high", 0),
        ] {
            assert_eq!(thousandths(text), weight, "{text:?}");
        }
    }

    #[test]
    fn a_page_is_wanted_where_html_is_named_and_nothing_more_than_it() {
        let prefers = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, line.parse().unwrap());
            }
            prefers_html(&headers)
        };
        for (accept, expected) in [
            // Chrome, Firefox, Safari, Lynx.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
                true,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html, text/plain, text/sgml, */*;q=0.01", true),
            ("TEXT/HTML ; Q=0.5 , */*;q=0.5", true),
            // curl, kubectl, a script of a page, Prometheus.
            ("*/*", false),
            ("application/json", false),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", false),
            ("application/json, text/plain, */*", false),
            ("application/json, text/html", false),
            ("application/problem+json, text/html;q=0.9", false),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", false),
            ("image/avif,image/webp,*/*;q=0.8", false),
            // Wanted less than something else, or not at all.
            ("text/html;q=0.1, text/plain", false),
            ("text/html;q=0", false),
            ("text/html;q=2", false),
            ("text/*", false),
            ("", false),
        ] {
            assert_eq!(prefers(&[accept]), expected, "{accept}");
        }
        assert!(prefers(&["text/html", "*/*;q=0.8"]), "two lines are one list");
        assert!(
            !prefers(&["text/html;q=0.5", "application/json"]),
            "two lines are one list"
        );
        assert!(!prefers(&[]), "nothing said");
    }
}
