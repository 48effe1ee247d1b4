//! Addresses in a service's answers, where its document asks for them to be written anew (`rewrite.redirects`, N-07).
//!
//! A service that stands on `/app` without seeing it, or below a path of its own, says addresses as it knows them: `Location: /x`
//! leads a browser out of it, and a cookie for `/` goes to its neighbours. Here these become the published ones. What leads to
//! another host, what is relative, and what could be read in two ways stays byte for byte.
//!
//! Invariant: what is written anew leads to the published origin and nowhere else.

use access::rule::Published;
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Uri};
use model::origin::{Front, Origin, Scheme};
use model::service::HostName;

/// How addresses of one service on one of its hosts are written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewriting {
    /// What the service puts before its paths, without a slash at its end.
    inner: Box<str>,
    /// What stands there in the published address.
    outer: Box<str>,
    origin: Origin,
    /// Host and port of the service's own address.
    own: Option<(Box<str>, u16)>,
}

impl Rewriting {
    /// `origin` is that of the published address. `None`: the document does not ask for it.
    #[must_use]
    pub fn of(published: &Published, origin: &Origin) -> Option<Self> {
        published.passing().rewrites_redirects.then(|| {
            let own: Option<Uri> = published.upstream().asked_as().parse().ok();
            let path = own.as_ref().map_or("", Uri::path);
            let outer = if published.strips_path() {
                published.path()
            } else {
                String::new()
            };
            Self {
                inner: path.trim_end_matches('/').into(),
                outer: outer.into(),
                origin: origin.clone(),
                own: own.as_ref().and_then(host_and_port),
            }
        })
    }

    /// Writes an answer's `Location` and the `Path` of its cookies anew.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, SET_COOKIE] {
            let anew = |line: &HeaderValue| {
                let text = line.to_str().ok()?;
                let text = if name == LOCATION {
                    self.location(text)
                } else {
                    self.cookie(text)
                };
                text.and_then(|text| HeaderValue::try_from(text).ok())
            };
            let lines: Vec<_> = headers
                .get_all(&name)
                .iter()
                .map(|line| (line.clone(), anew(line)))
                .collect();
            if lines.iter().all(|(_, anew)| anew.is_none()) {
                continue;
            }
            headers.remove(&name);
            for (line, anew) in lines {
                headers.append(name.clone(), anew.unwrap_or(line));
            }
        }
    }

    /// `None`: it stays as it is.
    fn location(&self, text: &str) -> Option<String> {
        // Browsers drop tabs and line ends, and take a backslash for a slash.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => ("https", rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => ("http", rest),
            _ => (self.scheme(), text),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            // A path, or `https:x`, which means something else to each reader.
            let is_path = rest.len() == text.len() && rest.starts_with('/');
            let anew = is_path.then(|| self.path(rest)).flatten()?;
            // What would name a host is no path.
            return (!anew.starts_with("//")).then_some(anew);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        if !self.is_own(scheme, authority) {
            return None;
        }
        self.path(path).map(|path| format!("{}{path}", self.origin))
    }

    /// The published path in place of the service's own. `path` begins with a slash, or is empty but for query and fragment.
    fn path(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.inner.as_ref())?;
        if !rest.is_empty() && !rest.starts_with(['/', '?', '#']) {
            return None;
        }
        let slash = if rest.starts_with('/') || !self.outer.is_empty() {
            ""
        } else {
            "/"
        };
        Some(format!("{}{slash}{rest}", self.outer))
    }

    /// Whether an authority is the service's own or the published one. Behind the gateway's TLS a service takes the published host for
    /// one of plain http.
    fn is_own(&self, scheme: &str, authority: &str) -> bool {
        let Some((host, port)) = split(scheme, authority) else {
            return false;
        };
        let published = self.origin.as_str().split_once("://");
        let published = published.and_then(|(scheme, authority)| split(scheme, authority));
        let is = |known: Option<(&str, u16)>, any_port: bool| {
            known.is_some_and(|(known, its)| {
                known.eq_ignore_ascii_case(host) && (its == port || any_port && !authority.contains(':'))
            })
        };
        is(self.own.as_ref().map(|(host, port)| (host.as_ref(), *port)), false) || is(published, true)
    }

    fn scheme(&self) -> &str {
        self.origin
            .as_str()
            .split_once("://")
            .map_or("https", |(scheme, _)| scheme)
    }

    /// A `Set-Cookie` line (RFC 6265bis §5.6). `None`: it stays as it is.
    fn cookie(&self, line: &str) -> Option<String> {
        let mut pieces = line.split(';');
        let cookie = pieces.next()?;
        // It counts for all of its host or not at all (RFC 6265bis §4.1.3.2).
        let begins = cookie.trim_start().get(..HOST_PREFIX.len());
        if begins.is_some_and(|begins| begins.eq_ignore_ascii_case(HOST_PREFIX)) {
            return None;
        }
        let mut is_changed = false;
        let anew: Vec<String> = pieces
            .map(|piece| match self.cookie_path(piece) {
                Some(path) => {
                    is_changed = true;
                    format!(" Path={path}")
                }
                None => piece.to_owned(),
            })
            .collect();
        is_changed.then(|| [vec![cookie.to_owned()], anew].concat().join(";"))
    }

    fn cookie_path(&self, piece: &str) -> Option<String> {
        let (name, path) = piece.split_once('=')?;
        let path = path.trim();
        if !name.trim().eq_ignore_ascii_case("path") || !path.starts_with('/') {
            return None;
        }
        let anew = self.path(path)?;
        // `/app` is `/app` and all below it; `/app/` would not be `/app` (RFC 6265 §5.1.4).
        let bare = anew.strip_suffix('/').filter(|bare| path == "/" && !bare.is_empty());
        let anew = bare.unwrap_or(&anew);
        (anew != path).then(|| anew.to_owned())
    }
}

fn host_and_port(uri: &Uri) -> Option<(Box<str>, u16)> {
    let (host, port) = split(uri.scheme_str()?, uri.authority()?.as_str())?;
    Some((host.into(), port))
}

/// Host and port of an authority without user information.
fn split<'a>(scheme: &str, authority: &'a str) -> Option<(&'a str, u16)> {
    let usual = if scheme == "https" { 443 } else { 80 };
    if authority.contains('@') || authority.is_empty() {
        return None;
    }
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address.
        Some((_, rest)) if rest.contains(']') => Some((authority, usual)),
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, usual)),
    }
}

const HOST_PREFIX: &str = "__host-";

/// Takes each line of the data for a `Location` and for a `Set-Cookie` of a service below a path; for fuzzing.
pub fn fuzz_rewrite(data: &[u8]) {
    let front = Front::new(Scheme::Https, None);
    let Some(origin) = HostName::new("a.example").ok().and_then(|host| front.origin_of(&host)) else {
        return;
    };
    let rewriting = Rewriting {
        inner: "/base".into(),
        outer: "/app".into(),
        origin,
        own: Some(("web".into(), 8080)),
    };
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if let Some(anew) = rewriting.location(text) {
            let path = anew.strip_prefix("https://a.example").unwrap_or(&anew);
            assert!(path.starts_with("/app"), "it leads elsewhere: {text} → {anew}");
            assert!(HeaderValue::try_from(anew).is_ok(), "it is no header: {text}");
        }
        if let Some(anew) = rewriting.cookie(text) {
            let cookie = |line: &str| line.split(';').next().map(str::to_owned);
            assert_eq!(cookie(&anew), cookie(text), "the cookie itself stays");
            assert_eq!(
                anew.matches(';').count(),
                text.matches(';').count(),
                "no attribute comes or goes"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewriting(spec: &str, upstream: &str) -> Option<Rewriting> {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], upstream: {{{upstream}}}, \
             {spec}}}\n"
        );
        let policy = access::rule::load_files([("a.yaml", text.as_str())]).unwrap();
        let front = Front::new(Scheme::Https, None);
        let origin = front.origin_of(&HostName::new("a.example").unwrap()).unwrap();
        Rewriting::of(policy.services.named("web").unwrap(), &origin)
    }

    const STRIPPED: &str = "path: /app, rewrite: {stripPath: true, redirects: true}";
    const WEB: &str = "url: 'http://web.shop.svc:8080'";

    fn written(rewriting: &Rewriting, name: &str, line: &str) -> String {
        let mut headers = HeaderMap::new();
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        rewriting.apply(&mut headers);
        String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn n_07_nothing_is_rewritten_unless_it_is_asked_for() {
        assert_eq!(rewriting("path: /app, rewrite: {stripPath: true}", WEB), None);
        assert_eq!(rewriting("path: /app", WEB), None);
    }

    #[test]
    fn n_07_a_redirect_to_the_service_leads_to_its_published_address() {
        let web = rewriting(STRIPPED, WEB).unwrap();
        for (location, anew) in [
            ("/", "/app/"),
            ("/x?y#z", "/app/x?y#z"),
            ("http://web.shop.svc:8080/x", "https://a.example/app/x"),
            ("HTTP://WEB.shop.svc:8080", "https://a.example/app"),
            ("http://web.shop.svc:8080?q", "https://a.example/app?q"),
            ("//a.example/x", "https://a.example/app/x"),
            ("http://a.example/x", "https://a.example/app/x"),
            ("https://a.example:443/x", "https://a.example/app/x"),
        ] {
            assert_eq!(written(&web, "location", location), anew, "{location}");
        }
        let based = rewriting("rewrite: {redirects: true}", "url: 'https://web/base/'").unwrap();
        for (location, anew) in [
            ("/base", "/"),
            ("/base/x", "/x"),
            ("/base?x", "/?x"),
            ("https://web/base/x", "https://a.example/x"),
            ("https://web:443/base", "https://a.example/"),
            ("/based", "/based"),
            ("/other", "/other"),
            ("https://web/other", "https://web/other"),
        ] {
            assert_eq!(written(&based, "location", location), anew, "{location}");
        }
        let pods = "kubernetes: {cluster: c, namespace: shop, name: web, port: 80}";
        let pods = rewriting("rewrite: {redirects: true}", pods).unwrap();
        assert_eq!(
            written(&pods, "location", "http://web.shop.svc/x"),
            "https://a.example/x"
        );
    }

    #[test]
    fn n_07_a_redirect_elsewhere_or_in_two_readings_stays_as_it_is() {
        let based = rewriting("rewrite: {redirects: true}", "url: 'https://web/base'").unwrap();
        let stripped = rewriting(STRIPPED, WEB).unwrap();
        for location in [
            "https://login.example/authorize?redirect_uri=http://web.shop.svc:8080/x",
            "http://web.shop.svc:8081/x",
            "http://web.shop.svc/x",
            "http://a.example:8080/x",
            "https://a.example@evil.example/",
            "http://web.shop.svc:8080@evil.example/",
            "https://web.evil.example/base/x",
            "//evil.example/x",
            "https:/x",
            "https:x",
            "javascript:alert(1)",
            "x",
            "../x",
            "?x",
            "#x",
            "",
            "/\\evil.example",
            "\\\\evil.example",
            "/base/\t/evil.example",
            "https://web\\@evil.example/base/",
            "http://[::1]:8080/x",
            "http://web.shop.svc:99999/x",
            "/\u{e4}",
            // Behind the path of the service a host would begin.
            "/base//evil.example",
        ] {
            assert_eq!(written(&based, "location", location), location);
            if !location.starts_with("/base") {
                assert_eq!(written(&stripped, "location", location), location);
            }
        }
    }

    #[test]
    fn n_07_a_cookie_counts_where_the_service_stands() {
        let web = rewriting(STRIPPED, WEB).unwrap();
        let based = rewriting("rewrite: {redirects: true}", "url: 'https://web/base'").unwrap();
        for (rewriting, line, anew) in [
            (&web, "a=b; Path=/; HttpOnly", "a=b; Path=/app; HttpOnly"),
            (&web, "a=b;path = /x ;Secure", "a=b; Path=/app/x;Secure"),
            (&web, "a=b; Path=/x/", "a=b; Path=/app/x/"),
            (&web, "a=b; Path=/; Path=/x", "a=b; Path=/app; Path=/app/x"),
            (&web, "a=b", "a=b"),
            (&web, "a=b; Path", "a=b; Path"),
            (&web, "a=b; Path=", "a=b; Path="),
            (&web, "a=b; Path=x", "a=b; Path=x"),
            (&web, "path=/; Secure", "path=/; Secure"),
            (&web, "__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
            (&web, " __HOST-a=b; Path=/", " __HOST-a=b; Path=/"),
            (&based, "a=b; Path=/base", "a=b; Path=/"),
            (&based, "a=b; Path=/base/", "a=b; Path=/"),
            (&based, "a=b; Path=/base/x", "a=b; Path=/x"),
            (&based, "a=b; Path=/", "a=b; Path=/"),
            (&based, "a=b; Path=/based", "a=b; Path=/based"),
        ] {
            assert_eq!(written(rewriting, "set-cookie", line), anew, "{line}");
        }
    }

    #[test]
    fn every_line_is_written_anew_and_their_order_stays() {
        let web = rewriting(STRIPPED, WEB).unwrap();
        let mut headers = HeaderMap::new();
        for line in ["a=1; Path=/", "b=2", "c=3; Path=/x"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(line));
        }
        web.apply(&mut headers);
        let lines: Vec<_> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|line| line.to_str().unwrap())
            .collect();
        assert_eq!(lines, ["a=1; Path=/app", "b=2", "c=3; Path=/app/x"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_rewritten_to_the_published_address_or_stay(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_rewrite(&data);
        }

        /// What is written anew leads to the published origin; everything else stays byte for byte.
        #[test]
        fn n_07_no_redirect_leads_elsewhere_because_it_was_rewritten(
            location in "(https?:|HTTP:)?(/|//|\\\\|)?(web|a\\.example|evil|web@evil|\\[::1\\])?(:80|:443|:x)?(/base|/|//evil|\\\\|\\?|#|@|\t){0,4}",
        ) {
            for rewriting in [
                rewriting("rewrite: {redirects: true}", "url: 'https://web/base'").unwrap(),
                rewriting(STRIPPED, "url: 'https://web/base'").unwrap(),
                rewriting(STRIPPED, "url: 'http://web'").unwrap(),
            ] {
                let Ok(value) = HeaderValue::from_str(&location) else { continue };
                let mut headers = HeaderMap::new();
                headers.insert(LOCATION, value);
                rewriting.apply(&mut headers);
                let anew = headers[LOCATION].to_str().unwrap().to_owned();
                let ours = anew.strip_prefix("https://a.example").unwrap_or(&anew);
                let leads_here = ours.starts_with('/') && !anew.starts_with("//") && !anew.contains('\\')
                    || ours != anew && (ours.is_empty() || ours.starts_with(['?', '#']));
                prop_assert!(anew == location || leads_here, "{} → {}", location, anew);
            }
        }
    }
}
