//! What a document says of a service's headers, made ready for each call (N-01, N-07, N-14).
//!
//! Order of work: [`super::strip`] with [`ServiceHeaders::own`], which takes every spelling of these names away from clients; then
//! [`ServiceHeaders::to_service`]. On the way back [`super::confine_response`], then [`ServiceHeaders::to_client`]. Not here: which
//! `Host` goes out, which the upstream station writes.
//!
//! Invariant: of who calls, from where, and what was asked for, a service hears nothing but the gateway's word.

use std::fmt::Write as _;
use std::net::IpAddr;

use access::rule::{HeaderChanges, Published};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::origin::Origin;

/// The headers of one published service.
#[derive(Clone, Debug)]
pub struct ServiceHeaders {
    own: Vec<HeaderName>,
    request: Changes,
    response: Changes,
    assertion: HeaderName,
    user: Option<HeaderName>,
    groups: Option<HeaderName>,
    email: Option<HeaderName>,
    says_forwarded: bool,
    /// The path that the service does not see.
    stripped: Option<HeaderValue>,
}

/// From where a call comes and what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Came<'a> {
    /// The address that is taken for the caller's.
    pub from: IpAddr,
    /// The origin of the published address.
    pub to: &'a Origin,
}

/// Who calls, for plain headers and the assertion. On a public path there is nobody.
#[derive(Clone, Debug)]
pub struct Named<'a, G> {
    /// The user name.
    pub user: &'a str,
    /// All groups.
    pub groups: G,
    /// The address of mail, where it is known.
    pub email: Option<&'a str>,
    /// The signed assertion.
    pub assertion: HeaderValue,
}

/// Why a call does not go to a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// A header that says who calls would be longer than servers take.
    #[error(
        "`{header}` would be longer than 4096 bytes: the service's document asks for it in `identityHeaders`; leave it out there, and have \
         the service read the assertion"
    )]
    TooLong {
        /// Which.
        header: HeaderName,
    },
}

/// A document whose headers are no headers. None that was read is so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no header, or its value is none")]
pub struct NoHeader(String);

impl ServiceHeaders {
    /// # Errors
    /// None for a document that was read; its reader refuses what is no header.
    pub fn of(published: &Published) -> Result<Self, NoHeader> {
        let rules = &published.passing().headers;
        let optional = |header: Option<&str>| header.map(name).transpose();
        let stripped = published.strips_path().then(|| published.path());
        Ok(Self {
            own: rules.own().map(name).collect::<Result<_, _>>()?,
            request: Changes::of(rules.request())?,
            response: Changes::of(rules.response())?,
            assertion: name(rules.assertion())?,
            user: optional(rules.user())?,
            groups: optional(rules.groups())?,
            email: optional(rules.email())?,
            says_forwarded: published.passing().says_forwarded,
            stripped: stripped
                .map(|path| HeaderValue::try_from(&path).map_err(|_| NoHeader(path)))
                .transpose()?,
        })
    }

    /// Names that no client sends to this service, for [`super::strip`].
    #[must_use]
    pub fn own(&self) -> &[HeaderName] {
        &self.own
    }

    /// The headers that say who calls, whether there is anything to say or not.
    pub fn of_the_caller(&self) -> impl Iterator<Item = &HeaderName> {
        let more = [&self.user, &self.groups, &self.email];
        std::iter::once(&self.assertion).chain(more.into_iter().flatten())
    }

    /// Adds to a request, of which [`super::strip`] has taken all that a client could have written, what the service is told.
    /// `named` is `None` on a public path.
    ///
    /// # Errors
    /// [`Unsayable`]: a header that says who calls would be cut. Nothing was added then.
    pub fn to_service<'g, G>(
        &self,
        headers: &mut HeaderMap,
        came: Came<'_>,
        named: Option<Named<'_, G>>,
    ) -> Result<(), Unsayable>
    where
        G: IntoIterator<Item = &'g str>,
    {
        let said = named.map(|named| self.said(named)).transpose()?;
        self.request.apply(headers);
        if self.says_forwarded {
            say_forwarded(headers, came, self.stripped.as_ref());
        }
        for (name, value) in said.into_iter().flatten() {
            headers.insert(name, value);
        }
        Ok(())
    }

    /// Changes an answer as the document says. Nothing else is added to it (N-14).
    pub fn to_client(&self, headers: &mut HeaderMap) {
        self.response.apply(headers);
    }

    /// The headers that say who calls, for an ingress that sets them.
    ///
    /// # Errors
    /// As [`ServiceHeaders::to_service`].
    pub fn said<'g, G>(&self, named: Named<'_, G>) -> Result<Vec<(HeaderName, HeaderValue)>, Unsayable>
    where
        G: IntoIterator<Item = &'g str>,
    {
        let mut assertion = named.assertion;
        assertion.set_sensitive(true);
        let mut said = vec![(self.assertion.clone(), assertion)];
        let mut say = |header: Option<&HeaderName>, text: String| {
            let Some(header) = header else { return Ok(()) };
            let too_long = || Unsayable::TooLong { header: header.clone() };
            if text.len() > LONGEST_VALUE {
                return Err(too_long());
            }
            let value = HeaderValue::try_from(text).map_err(|_| too_long())?;
            said.push((header.clone(), value));
            Ok(())
        };
        say(self.user.as_ref(), sayable(named.user, false))?;
        if self.groups.is_some() {
            let groups: Vec<String> = named.groups.into_iter().map(|group| sayable(group, true)).collect();
            say(self.groups.as_ref(), groups.join(","))?;
        }
        if let Some(email) = named.email {
            say(self.email.as_ref(), sayable(email, false))?;
        }
        Ok(said)
    }
}

/// Headers that are set and removed.
#[derive(Clone, Debug, Default)]
struct Changes {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Changes {
    fn of(changes: &HeaderChanges) -> Result<Self, NoHeader> {
        let set = changes.set.iter().map(|(header, value)| {
            let value = HeaderValue::from_str(value).map_err(|_| NoHeader(header.to_string()))?;
            Ok((name(header)?, value))
        });
        Ok(Self {
            set: set.collect::<Result<_, NoHeader>>()?,
            remove: changes
                .remove
                .iter()
                .map(|header| name(header))
                .collect::<Result<_, _>>()?,
        })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn name(text: &str) -> Result<HeaderName, NoHeader> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| NoHeader(text.to_owned()))
}

/// In the words of RFC 7239 and in those that came before it.
fn say_forwarded(headers: &mut HeaderMap, came: Came<'_>, stripped: Option<&HeaderValue>) {
    // An IPv4 caller on an IPv6 socket is the same caller.
    let from = came.from.to_canonical();
    let (scheme, host) = came.to.as_str().split_once("://").unwrap_or_default();
    let node = match from {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    };
    let all = [
        (HeaderName::from_static("x-forwarded-for"), from.to_string()),
        (HeaderName::from_static("x-forwarded-host"), host.to_owned()),
        (HeaderName::from_static("x-forwarded-proto"), scheme.to_owned()),
        (
            HeaderName::from_static("forwarded"),
            format!("for={node};host=\"{host}\";proto={scheme}"),
        ),
    ];
    for (name, text) in all {
        // Addresses and origins are ASCII.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    if let Some(path) = stripped {
        headers.insert(HeaderName::from_static("x-forwarded-prefix"), path.clone());
    }
}

/// A name in visible ASCII, each other byte and `%` as an escape: no two names are said alike, and none holds a line's end, or, within
/// a list, what parts the list.
fn sayable(text: &str, in_list: bool) -> String {
    let mut said = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && !(in_list && byte == b',') {
            said.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(said, "%{byte:02X}");
        }
    }
    said
}

/// Servers take 8 KiB of headers by default, and the assertion has 4 of them.
const LONGEST_VALUE: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::headers::{is_forbidden, strip};
    use model::origin::{Front, Scheme};
    use model::service::HostName;

    fn service(spec: &str) -> Published {
        let text = format!(
            "apiVersion: gatescribe.dev/v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{hosts: [a.example], upstream: {{url: \
             'http://web'}}, {spec}}}\n"
        );
        let policy = access::rule::load_files([("a.yaml", text.as_str())]).unwrap();
        policy.services.named("web").cloned().unwrap()
    }

    fn origin(port: Option<u16>) -> Origin {
        let front = Front::new(Scheme::Https, port);
        front.origin_of(&HostName::new("a.example").unwrap()).unwrap()
    }

    fn ada() -> Option<Named<'static, [&'static str; 2]>> {
        Some(Named {
            user: "ada",
            groups: ["dev", "on,call"],
            email: Some("ada@example.com"),
            assertion: HeaderValue::from_static("eyJ"),
        })
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    fn sent(spec: &str, from_client: &[(&str, &str)], named: Option<Named<'static, [&'static str; 2]>>) -> Vec<String> {
        let rules = ServiceHeaders::of(&service(spec)).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in from_client {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let _ = strip(&mut headers, rules.own());
        let to = origin(None);
        let came = Came {
            from: "192.0.2.7".parse().unwrap(),
            to: &to,
        };
        rules.to_service(&mut headers, came, named).unwrap();
        lines(&headers)
    }

    #[test]
    fn n_01_who_calls_is_the_gateways_word_in_every_spelling() {
        let spec = "forwarded: false, assertion: {header: X-Who}, identityHeaders: {user: X-User, groups: X-Groups, email: X-Mail}";
        let own = [
            "x-groups: dev,on%2Ccall",
            "x-mail: ada@example.com",
            "x-user: ada",
            "x-who: eyJ",
        ];
        assert_eq!(sent(spec, &[], ada()), own);
        let hostile = [
            ("X-User", "root"),
            ("x-user", "root"),
            ("X.User", "root"),
            ("X_User", "root"),
            ("X--User", "root"),
            ("x-user-", "root"),
            ("X'Groups", "admins"),
            ("X-Groups", "admins"),
            ("X-Who", "eyJforged"),
            ("X~Who", "eyJforged"),
            ("X-Mail", "root@example.com"),
            ("X-Gatescribe-Assertion", "eyJforged"),
            ("Connection", "x-user, x-who, x-groups"),
        ];
        assert_eq!(sent(spec, &hostile, ada()), own);
        // On a public path nobody is named, and nobody names themselves.
        assert_eq!(sent(spec, &hostile, None), Vec::<String>::new());
        let mut without_mail = ada().unwrap();
        without_mail.email = None;
        assert_eq!(sent(spec, &hostile, Some(without_mail)).len(), 3);
    }

    #[test]
    fn n_07_forwarded_headers_are_set_anew_or_not_at_all() {
        let hostile = [
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-Host", "evil.example"),
            ("X_Forwarded_Proto", "http"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-Prefix", "//evil.example"),
            ("X-Real-IP", "10.0.0.1"),
            ("Forwarded", "for=10.0.0.1"),
        ];
        let said = [
            "forwarded: for=192.0.2.7;host=\"a.example\";proto=https",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: a.example",
            "x-forwarded-proto: https",
        ];
        assert_eq!(sent("forwarded: true", &hostile, None), said);
        assert_eq!(sent("forwarded: false", &hostile, None), Vec::<String>::new());
        let stripped = sent("path: /app/, rewrite: {stripPath: true}", &hostile, None);
        assert_eq!(
            stripped
                .iter()
                .filter(|line| *line == "x-forwarded-prefix: /app")
                .count(),
            1
        );
        assert_eq!(stripped.len(), said.len() + 1);
        let (mut headers, to) = (HeaderMap::new(), origin(Some(8443)));
        for (from, node, plain) in [
            ("2001:db8::7", "\"[2001:db8::7]\"", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ] {
            let from = from.parse().unwrap();
            say_forwarded(&mut headers, Came { from, to: &to }, None);
            assert_eq!(
                headers["forwarded"],
                format!("for={node};host=\"a.example:8443\";proto=https")
            );
            assert_eq!(headers["x-forwarded-for"], plain);
        }
    }

    #[test]
    fn n_14_headers_are_set_and_removed_as_written_and_no_others_are_added() {
        let spec = "forwarded: false, headers: {request: {set: {X-Tenant: shop}, remove: [X-Debug]}, response: {set: \
                    {Content-Security-Policy: default-src 'self'}, remove: [Server, X-Powered-By]}}";
        let from_client = [
            ("X-Tenant", "other"),
            ("X.Tenant", "other"),
            ("X-Debug", "1"),
            ("x.debug", "1"),
            ("Accept", "*/*"),
        ];
        assert_eq!(sent(spec, &from_client, None), ["accept: */*", "x-tenant: shop"]);
        let answer = |spec: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("server", "x/1"), ("etag", "e"), ("content-security-policy", "none")] {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            ServiceHeaders::of(&service(spec)).unwrap().to_client(&mut headers);
            lines(&headers)
        };
        assert_eq!(answer(spec), ["content-security-policy: default-src 'self'", "etag: e"]);
        assert_eq!(
            answer("forwarded: true"),
            ["content-security-policy: none", "etag: e", "server: x/1"],
            "nothing is injected"
        );
    }

    #[test]
    fn a_name_that_no_header_holds_is_refused_and_never_cut() {
        let rules = ServiceHeaders::of(&service("identityHeaders: {groups: X-Groups}")).unwrap();
        let group = "g".repeat(100);
        let to = origin(None);
        let came = Came {
            from: "192.0.2.7".parse().unwrap(),
            to: &to,
        };
        let named = |count: usize| Named {
            user: "ada",
            groups: vec![group.as_str(); count],
            email: None,
            assertion: HeaderValue::from_static("eyJ"),
        };
        let mut headers = HeaderMap::new();
        let error = rules.to_service(&mut headers, came, Some(named(41))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`x-groups` would be longer than 4096 bytes: the service's document asks for it in `identityHeaders`; leave it out \
             there, and have the service read the assertion"
        );
        assert!(headers.is_empty(), "nothing goes out in part");
        rules.to_service(&mut headers, came, Some(named(40))).unwrap();
        assert!(headers["x-gatescribe-assertion"].is_sensitive());
    }

    proptest! {
        /// Whoever reads the header gets back what was said: no two people, and no two lists of groups, are one to the service.
        #[test]
        fn promise_1_two_names_are_never_said_alike(groups in prop::collection::vec("[a%,é \u{0}-\u{20}2C]{1,4}", 1..4)) {
            let said = groups.iter().map(|group| sayable(group, true)).collect::<Vec<_>>().join(",");
            prop_assert!(said.bytes().all(|byte| byte.is_ascii_graphic()));
            let read = said.split(',').map(|group| percent_encoding::percent_decode_str(group).decode_utf8().unwrap().into_owned());
            prop_assert_eq!(read.collect::<Vec<_>>(), groups);
        }

        /// Whatever a client sends, what is left of it is none of the names that are the gateway's.
        #[test]
        fn n_01_no_spelling_of_an_own_name_passes(spelt in "[xX][-_.~'+]{1,2}[uU][sS][eE][rR][-_.]{0,1}") {
            let rules = ServiceHeaders::of(&service("identityHeaders: {user: X-User}")).unwrap();
            prop_assert!(is_forbidden(&HeaderName::from_bytes(spelt.as_bytes()).unwrap(), rules.own()), "{}", spelt);
        }
    }
}
