//! Which headers a document sets, removes, or says by them who calls (protocol N-01, N-14).
//!
//! Invariant: no name here frames or routes a message, carries a cookie or a credential, or is one whose word is the gateway's for
//! another reason; and of all names here no two are one name to a lenient server (any letter case, `_` and `.` for `-`).

use std::collections::BTreeMap;

use model::header::{HOP_BY_HOP, Reduced, is_managed, is_plain};

use super::document::{HeaderChangeSpec, ServiceSpec};
use crate::rule::compile::Wrong;

/// The headers of a service. All names are as they are written, values hold visible ASCII and inner blanks only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRules {
    request: HeaderChanges,
    response: HeaderChanges,
    assertion: Box<str>,
    user: Option<Box<str>>,
    groups: Option<Box<str>>,
    email: Option<Box<str>>,
}

/// What happens to the headers of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Set to a value; what was there is gone.
    pub set: Vec<(Box<str>, Box<str>)>,
    /// Removed.
    pub remove: Vec<Box<str>>,
}

/// The header of the assertion where a document names no other. Its beginning never passes from a client.
pub const ASSERTION_HEADER: &str = "X-Gatescribe-Assertion";

impl HeaderRules {
    /// Of requests to the service.
    #[must_use]
    pub const fn request(&self) -> &HeaderChanges {
        &self.request
    }

    /// Of its answers.
    #[must_use]
    pub const fn response(&self) -> &HeaderChanges {
        &self.response
    }

    /// In which header the signed assertion of who calls comes.
    #[must_use]
    pub fn assertion(&self) -> &str {
        &self.assertion
    }

    /// In which header the user name comes.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// In which header the groups come.
    #[must_use]
    pub fn groups(&self) -> Option<&str> {
        self.groups.as_deref()
    }

    /// In which header the address of mail comes.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// All names whose word to the service is the gateway's by this document: none passes from a client, in any spelling (N-01).
    pub fn own(&self) -> impl Iterator<Item = &str> {
        let who = [
            Some(&self.assertion),
            self.user.as_ref(),
            self.groups.as_ref(),
            self.email.as_ref(),
        ];
        let set = self.request.set.iter().map(|(name, _)| name);
        who.into_iter()
            .flatten()
            .chain(set)
            .chain(&self.request.remove)
            .map(AsRef::as_ref)
    }

    pub(super) fn read(spec: &ServiceSpec, has_path: bool, wrong: &mut Wrong) -> Self {
        let changes = spec.headers.clone().unwrap_or_default();
        // Of one direction no name stands twice: reduced form → where it stands.
        let mut asked = BTreeMap::new();
        let request = changes
            .request
            .as_ref()
            .map(|change| REQUEST.read(change, has_path, &mut asked, wrong));
        let response = changes
            .response
            .as_ref()
            .map(|change| RESPONSE.read(change, has_path, &mut BTreeMap::new(), wrong));
        let assertion = spec.assertion.as_ref().and_then(|assertion| assertion.header.as_ref());
        let usual = ASSERTION_HEADER.to_owned();
        let mut who = |member, name: Option<&String>| {
            let name = name?;
            let read = says_who(name).and_then(|()| once(name, member, &mut asked));
            wrong.keep(member, read).map(|()| name.as_str().into())
        };
        let assertion: Option<Box<str>> = who("spec.assertion.header", Some(assertion.unwrap_or(&usual)));
        let identity = spec.identity_headers.clone().unwrap_or_default();
        let user = who("spec.identityHeaders.user", identity.user.as_ref());
        let groups = who("spec.identityHeaders.groups", identity.groups.as_ref());
        let email = who("spec.identityHeaders.email", identity.email.as_ref());
        let names_none = identity.user.is_none() && identity.groups.is_none() && identity.email.is_none();
        if spec.identity_headers.is_some() && names_none {
            let what = "it has no effect: name a header for `user`, `groups` or `email`, or leave it out";
            wrong.say("spec.identityHeaders", what);
        }
        Self {
            request: request.unwrap_or_default(),
            response: response.unwrap_or_default(),
            assertion: assertion.unwrap_or_else(|| ASSERTION_HEADER.into()),
            user,
            groups,
            email,
        }
    }
}

/// One direction: where it stands in the document, and which names are not the document's to change.
struct Direction {
    set: &'static str,
    remove: &'static str,
    untouchable: fn(&str, bool) -> Option<&'static str>,
}

const REQUEST: Direction = Direction {
    set: "spec.headers.request.set",
    remove: "spec.headers.request.remove",
    untouchable: of_requests,
};

const RESPONSE: Direction = Direction {
    set: "spec.headers.response.set",
    remove: "spec.headers.response.remove",
    untouchable: of_answers,
};

impl Direction {
    fn read(
        &self,
        change: &HeaderChangeSpec,
        has_path: bool,
        seen: &mut BTreeMap<Vec<u8>, &'static str>,
        wrong: &mut Wrong,
    ) -> HeaderChanges {
        let mut changes = HeaderChanges::default();
        if change.set.len() + change.remove.len() > MOST_NAMES {
            wrong.say(
                self.set,
                format!("at most {MOST_NAMES} headers are set and removed in one direction"),
            );
        }
        let may = |name: &str| match (self.untouchable)(&reduced(name), has_path) {
            Some(why) => Err(format!("`{name}` is not changed here: {why}")),
            None => is_name(name),
        };
        for (name, value) in &change.set {
            let read = may(name)
                .and_then(|()| once(name, self.set, seen))
                .and_then(|()| is_value(name, value));
            if wrong.keep(self.set, read).is_some() {
                changes.set.push((name.as_str().into(), value.as_str().into()));
            }
        }
        for (item, name) in change.remove.iter().enumerate() {
            match may(name).and_then(|()| once(name, self.remove, seen)) {
                Ok(()) => changes.remove.push(name.as_str().into()),
                Err(what) => wrong.say_of(self.remove, Some(item), what),
            }
        }
        changes
    }
}

/// What of a request is not the document's to change.
fn of_requests(name: &str, _: bool) -> Option<&'static str> {
    frames(name).or(match name {
        "host" => Some("`host` says which one the service sees"),
        "cookie" => Some("cookies are the browser's and the service's, and the gateway takes out its own"),
        "authorization" => Some(
            "no credential of a caller reaches a service, and one of the gateway's would stand in the policy for all to read",
        ),
        "origin" | "referer" => Some("services compare it with their own address to know who asks"),
        _ if is_managed(name.as_bytes()) => Some(
            "its word is the gateway's (`identityHeaders` and `assertion` say who calls, `forwarded` from where), and no \
             client's of that name passes",
        ),
        _ => None,
    })
}

/// What of an answer is not the document's to change.
fn of_answers(name: &str, has_path: bool) -> Option<&'static str> {
    frames(name).or(match name {
        "set-cookie" | "set-cookie2" => Some("cookies are the service's, and none reaches beyond its host"),
        "location" => Some("`rewrite.redirects` writes it anew"),
        "clear-site-data" | "alt-svc" | "public-key-pins" => Some("it would reach beyond the service's host"),
        "service-worker-allowed" if has_path => Some("a service that stands on a path gives its scripts no other path"),
        "audit-id" | "gatescribe-record" => Some("it names the record of the call"),
        "www-authenticate" => Some("it asks for a credential, and none of a caller's reaches the service"),
        _ if name.starts_with("x-accel-") || matches!(name, "x-sendfile" | "x-reproxy-url") => {
            Some("it is an order to proxies in front")
        }
        _ if name.starts_with("x-gatescribe-") => Some("its word is the gateway's"),
        _ => None,
    })
}

/// What frames a message, or is about one connection.
fn frames(name: &str) -> Option<&'static str> {
    match name {
        "content-length" | "content-encoding" | "content-range" | "expect" | "range" | "if-range" => {
            Some("it says how the message's body is to be read")
        }
        _ if HOP_BY_HOP.contains(&name) || name.starts_with("proxy-") => {
            Some("it is about one connection, and the gateway has another one to the service")
        }
        _ if name.starts_with("sec-websocket-") => Some("it is of the handshake of a WebSocket"),
        _ => None,
    }
}

/// Whether a header may say who calls: a name of its own, or one of those that are there for it.
fn says_who(name: &str) -> Result<(), String> {
    let own = reduced(name);
    let is_for_it = FOR_IDENTITY.contains(&own.as_str())
        || ["x-remote-", "x-gatescribe-", "x-auth-request-"]
            .iter()
            .any(|family| own.starts_with(family));
    let why = match of_requests(&own, false) {
        _ if is_for_it => None,
        Some(why) if !is_managed(own.as_bytes()) || own == "authorization" => Some(why),
        Some(_) => Some("it says something else to servers than who calls"),
        None if own.starts_with("accept")
            || own.starts_with("content-")
            || own.starts_with("sec-")
            || own.starts_with("if-") =>
        {
            Some("it says something else to servers than who calls")
        }
        None => None,
    };
    match why {
        Some(why) => Err(format!(
            "`{name}` cannot say who calls: {why}; write a name such as `X-User`"
        )),
        None => is_name(name),
    }
}

/// Names of the managed families that are there to say who calls.
const FOR_IDENTITY: [&str; 6] = [
    "remote-user",
    "x-webauth-user",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
];

/// No two names that a lenient server takes for one.
fn once(name: &str, member: &'static str, seen: &mut BTreeMap<Vec<u8>, &'static str>) -> Result<(), String> {
    match seen.insert(Reduced::of(name.as_bytes()).as_bytes().to_vec(), member) {
        None => Ok(()),
        Some(other) => Err(format!(
            "`{name}` stands in `{other}` too, if only in another spelling: servers take both for one header"
        )),
    }
}

fn reduced(name: &str) -> String {
    String::from_utf8_lossy(Reduced::of(name.as_bytes()).as_bytes()).into_owned()
}

/// A name that every server reads as the same one.
fn is_name(name: &str) -> Result<(), String> {
    if name.len() > 64 {
        return Err("a header's name has at most 64 letters".to_owned());
    }
    if is_plain(name.as_bytes()) {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is no header's name that all servers read alike: letters, digits and single inner `-`"
        ))
    }
}

/// A value that every server reads as the same one (RFC 9110 §5.5, without obsolete bytes).
fn is_value(name: &str, value: &str) -> Result<(), String> {
    let fits = |byte: u8| matches!(byte, b' '..=b'~');
    if value.len() > LONGEST_VALUE {
        Err(format!("the value of `{name}` is longer than {LONGEST_VALUE} bytes"))
    } else if value.is_empty() {
        Err(format!(
            "the value of `{name}` is empty: list the name under `remove` where it should not be there"
        ))
    } else if !value.bytes().all(fits) || value.trim() != value {
        Err(format!(
            "the value of `{name}` holds something else than visible ASCII with inner blanks, which servers read in two ways"
        ))
    } else {
        Ok(())
    }
}

/// Headers of one direction.
const MOST_NAMES: usize = 64;
/// Bytes in a value. Servers take 8 KiB of headers by default.
const LONGEST_VALUE: usize = 2048;
