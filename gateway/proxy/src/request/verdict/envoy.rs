//! Envoy's `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check` (envoyproxy/envoy `api/envoy/service/auth/v3`).
//!
//! A unary call of gRPC is one frame each way (grpc/grpc `doc/PROTOCOL-HTTP2.md`), and of Envoy's messages a dozen fields are looked at, so
//! they are written here by hand: a generated tree of Envoy's API would be a hundred times as much. Unknown fields are passed over, as
//! protobuf has it; what is read is read once and strictly.
//!
//! Envoy tells what it forwards: what its own settings make of a path happens before it asks. It does so to the byte only where it is told to
//! (`encode_raw_headers`); without that it is answered nothing.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use prost::Message as _;

use super::told::{self, Told, Untold};
use super::{OTHER_COOKIES, Yes};
use crate::chain::ASSERTION;
use crate::headers;

/// Where it asks.
pub(super) const CHECK: &[u8] = b"/envoy.service.auth.v3.Authorization/Check";
/// The largest question. A head of [`HeadLimits`](crate::listener::HeadLimits) fits, with what Envoy says beside it.
pub(super) const LARGEST: usize = 512 * 1024;

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attributes {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SocketAddress {
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

/// Of it Envoy says method, path, host and headers twice: as text, in which `!` stands for what is none and a comma between two lines of a
/// name, and raw, where that is switched on. Only the raw one is what it forwards.
#[derive(Clone, PartialEq, prost::Message)]
struct Http {
    #[prost(message, optional, tag = "13")]
    raw: Option<RawHeaders>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawHeaders {
    #[prost(message, repeated, tag = "1")]
    lines: Vec<RawHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawHeader {
    /// In lower case; of a pseudo-header with its colon.
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", tag = "3")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    allowed: Option<Allowed>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(int32, tag = "3")]
    append_action: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `APPEND_IF_EXISTS_OR_ADD` and `OVERWRITE_IF_EXISTS_OR_ADD`.
const APPEND: i32 = 0;
const OVERWRITE: i32 = 2;
/// `google.rpc.Code`.
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;

/// Reads the one frame of a question.
///
/// # Errors
/// See [`Untold`].
pub(super) fn read(body: &[u8]) -> Result<Told, Untold> {
    let message = unframed(body).ok_or(Untold::NoQuestion)?;
    let asked = CheckRequest::decode(message).map_err(|_| Untold::NoQuestion)?;
    let attributes = asked.attributes.ok_or(Untold::Missing("attributes"))?;
    let http = attributes.request.and_then(|request| request.http);
    let http = http.ok_or(Untold::Missing("request.http"))?;
    let from = attributes.source.and_then(|peer| peer.address);
    let from = from
        .and_then(|address| address.socket_address)
        .map(|socket| socket.address);
    let from = from.and_then(|address| told::address(address.as_bytes()));
    let lines = http.raw.ok_or(Untold::NotRaw)?.lines;
    let one = |pseudo: &'static str| {
        let mut of_it = lines.iter().filter(|line| line.key == pseudo);
        match (of_it.next(), of_it.next()) {
            (Some(line), None) => Ok(&line.value),
            _ => Err(Untold::Missing(pseudo)),
        }
    };
    let method = Method::from_bytes(one(":method")?).map_err(|_| Untold::Missing(":method"))?;
    let host = told::host(one(":authority")?).ok_or(Untold::Missing(":authority"))?;
    let target = one(":path")?.clone();
    let headers = header_map(&lines)?;
    let upgrade = told::upgrade(&headers);
    Ok(Told {
        method,
        host,
        target,
        from: from.ok_or(Untold::Missing("source.address"))?,
        upgrade,
        headers: told::of_the_call(headers),
    })
}

/// Exactly one frame, uncompressed.
fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_first_chunk::<5>()?;
    let [0, length @ ..] = head else { return None };
    (usize::try_from(u32::from_be_bytes(*length)).ok()? == message.len()).then_some(message)
}

fn header_map(lines: &[RawHeader]) -> Result<HeaderMap, Untold> {
    let mut headers = HeaderMap::new();
    for line in lines.iter().filter(|line| !line.key.starts_with(':')) {
        let name = HeaderName::from_lowercase(line.key.as_bytes()).map_err(|_| Untold::Missing("header_map"))?;
        let value = HeaderValue::from_maybe_shared(line.value.clone()).map_err(|_| Untold::Missing("header_map"))?;
        headers
            .try_append(name, value)
            .map_err(|_| Untold::Missing("header_map"))?;
    }
    Ok(headers)
}

/// The frame of a yes, whose record is `id`.
pub(super) fn yes(yes: &Yes, id: &str) -> Bytes {
    // Envoy removes what it is told to: nothing has to be set in its place.
    let said = yes.said.iter().filter(|(_, value)| !value.is_empty());
    let mut set: Vec<(HeaderName, HeaderValue)> = said.cloned().collect();
    if let Ok(id) = HeaderValue::from_str(id) {
        set.push((AUDIT_ID, id));
    }
    let mut to_remove: Vec<HeaderName> = vec![AUTHORIZATION];
    if yes.cookies.is_empty() {
        to_remove.push(COOKIE);
    } else {
        set.push((COOKIE, yes.cookies.clone()));
    }
    let forged = yes.asked.keys().filter(|name| is_forged(name, &yes.own));
    // Whoever has Envoy tell only some headers has these removed nevertheless.
    to_remove.extend(
        yes.own
            .iter()
            .chain(yes.said.iter().map(|(name, _)| name))
            .chain([&ASSERTION, &OTHER_COOKIES])
            .chain(forged)
            .cloned(),
    );
    // What is set is not removed: Envoy removes last.
    to_remove.retain(|name| !set.iter().any(|(own, _)| own == name));
    to_remove.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    to_remove.dedup();
    let allowed = Allowed {
        headers: set.iter().map(|(name, value)| option(name, value, OVERWRITE)).collect(),
        to_remove: to_remove.iter().map(ToString::to_string).collect(),
    };
    framed(&CheckResponse {
        status: Some(Status { code: OK }),
        denied: None,
        allowed: Some(allowed),
    })
}

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Whether a name, in some spelling, is one of which the gateway alone has the word to this service. What Envoy itself writes stays: it
/// does so before it asks, and takes what the caller wrote there away.
fn is_forged(name: &HeaderName, own: &[HeaderName]) -> bool {
    let text = name.as_str();
    let is_envoys =
        matches!(text, "x-forwarded-for" | "x-forwarded-proto" | "x-request-id") || text.starts_with("x-envoy-");
    headers::is_forbidden(name, own) && (own.contains(name) || !is_envoys) && !headers::is_hop_by_hop(name)
}

/// The frame of a no, which goes to the caller as `response`.
pub(super) fn no(response: &Response<Bytes>) -> Bytes {
    let headers = response.headers().iter().filter(|(name, _)| *name != CONTENT_LENGTH);
    let denied = Denied {
        status: Some(HttpStatus {
            code: i32::from(response.status().as_u16()),
        }),
        headers: headers
            .map(|(name, value)| option(name, value, if *name == SET_COOKIE { APPEND } else { OVERWRITE }))
            .collect(),
        body: String::from_utf8_lossy(response.body()).into_owned(),
    };
    framed(&CheckResponse {
        status: Some(Status {
            code: PERMISSION_DENIED,
        }),
        denied: Some(denied),
        allowed: None,
    })
}

fn option(name: &HeaderName, value: &HeaderValue, append_action: i32) -> HeaderOption {
    HeaderOption {
        header: Some(Header {
            key: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        }),
        append_action,
    }
}

fn framed(message: &CheckResponse) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(bytes.len().saturating_add(5));
    frame.put_u8(0);
    // An answer of ours is far from 4 GiB.
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    frame.put_slice(&bytes);
    frame.freeze()
}

/// Entry for the fuzzer: reads foreign bytes as a question of Envoy's.
pub fn fuzz_envoy_check(data: &[u8]) {
    let Ok(told) = read(data) else { return };
    assert!(
        !told.headers.keys().any(|name| name.as_str().starts_with(':')),
        "a pseudo-header is none"
    );
    assert!(told.from == told.from.to_canonical(), "an address has one form");
    assert!(
        !told.headers.contains_key(http::header::UPGRADE),
        "it is of the connection"
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn question(change: impl FnOnce(&mut CheckRequest)) -> Vec<u8> {
        let lines = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/a?b=1"),
            (":authority", "web.example:443"),
            ("cookie", "a=b"),
            ("x-gatescribe-assertion", "forged"),
        ];
        let lines = lines.map(|(name, value)| line(name, value.as_bytes()));
        let from = SocketAddress {
            address: "192.0.2.7".to_owned(),
        };
        let mut asked = CheckRequest {
            attributes: Some(Attributes {
                source: Some(Peer {
                    address: Some(Address {
                        socket_address: Some(from),
                    }),
                }),
                request: Some(Asked {
                    http: Some(Http {
                        raw: Some(RawHeaders { lines: lines.into() }),
                    }),
                }),
            }),
        };
        change(&mut asked);
        let bytes = asked.encode_to_vec();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &bytes].concat()
    }

    fn line(name: &str, value: &[u8]) -> RawHeader {
        RawHeader {
            key: name.to_owned(),
            value: Bytes::copy_from_slice(value),
        }
    }

    fn http(asked: &mut CheckRequest) -> &mut Http {
        let request = asked.attributes.as_mut().unwrap().request.as_mut();
        request.unwrap().http.as_mut().unwrap()
    }

    fn put(asked: &mut CheckRequest, name: &str, value: &[u8]) {
        http(asked).raw.as_mut().unwrap().lines.push(line(name, value));
    }

    fn replace(asked: &mut CheckRequest, name: &str, value: &[u8]) {
        let lines = &mut http(asked).raw.as_mut().unwrap().lines;
        lines.retain(|line| line.key != name);
        lines.push(line(name, value));
    }

    fn told(change: impl FnOnce(&mut CheckRequest)) -> Result<Told, Untold> {
        read(&question(change))
    }

    #[test]
    fn a_question_of_envoys_is_read() {
        let told = told(|_| {}).unwrap();
        assert_eq!((told.method.as_str(), told.host.as_str()), ("GET", "web.example"));
        assert_eq!(
            (&told.target[..], told.from.to_string().as_str()),
            (&b"/a?b=1"[..], "192.0.2.7")
        );
        assert_eq!(told.headers.len(), 2, "no pseudo-header is a header");
        assert_eq!(told.upgrade, None);
    }

    /// As text it would say `/a!b`, and `a=1,gatescribe-service=secret` of two cookies.
    #[test]
    fn what_envoy_forwards_is_read_byte_for_byte_and_line_for_line() {
        let told = told(|asked| {
            replace(asked, ":path", b"/a\xffb");
            put(asked, "cookie", b"c=\xff");
        });
        let told = told.unwrap();
        assert_eq!(&told.target[..], b"/a\xffb");
        let cookies: Vec<_> = told.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [&b"a=b"[..], b"c=\xff"]);
    }

    #[test]
    fn n_08_a_websocket_through_envoy_is_one() {
        for name in ["upgrade", "sec-websocket-key"] {
            let told = told(|asked| put(asked, name, b"websocket")).unwrap();
            assert!(told.upgrade.is_some(), "{name}");
            assert!(!told.headers.contains_key("upgrade"));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_question() {
        type Change = fn(&mut CheckRequest);
        let changes: [(Change, Untold); 14] = [
            (|asked| asked.attributes = None, Untold::Missing("attributes")),
            (
                |asked| asked.attributes.as_mut().unwrap().request = None,
                Untold::Missing("request.http"),
            ),
            (
                |asked| asked.attributes.as_mut().unwrap().source = None,
                Untold::Missing("source.address"),
            ),
            (|asked| http(asked).raw = None, Untold::NotRaw),
            (|asked| put(asked, ":method", b"POST"), Untold::Missing(":method")),
            (|asked| put(asked, ":path", b"/public"), Untold::Missing(":path")),
            (
                |asked| put(asked, ":authority", b"other.example"),
                Untold::Missing(":authority"),
            ),
            (|asked| put(asked, "a b", b"x"), Untold::Missing("header_map")),
            (|asked| put(asked, "Cookie", b"x"), Untold::Missing("header_map")),
            (|asked| put(asked, "x", b"a\r\nb: c"), Untold::Missing("header_map")),
            (|asked| put(asked, "x", b"\0"), Untold::Missing("header_map")),
            (
                |asked| replace(asked, ":authority", b"a/b"),
                Untold::Missing(":authority"),
            ),
            (|asked| replace(asked, ":method", b"G T"), Untold::Missing(":method")),
            (
                |asked| http(asked).raw.as_mut().unwrap().lines.clear(),
                Untold::Missing(":method"),
            ),
        ];
        for (change, what) in changes {
            assert_eq!(told(change).unwrap_err(), what);
        }
    }

    #[test]
    fn a_question_is_one_whole_frame() {
        let good = question(|_| {});
        let compressed = [&[1][..], &good[1..]].concat();
        let twice = [&good[..], &good[..]].concat();
        let cut = &good[..good.len() - 1];
        for bad in [
            &[][..],
            &[0],
            &good[..5],
            &compressed,
            &twice,
            cut,
            &[0, 0, 0, 0, 1, 0xff],
        ] {
            assert_eq!(read(bad).unwrap_err(), Untold::NoQuestion);
        }
    }

    #[test]
    fn n_01_a_yes_sets_our_words_and_removes_every_other_spelling_of_them() {
        let mut asked = HeaderMap::new();
        for name in [
            "authorization",
            "x-user",
            "x-gatescribe-cookie",
            "impersonate-user",
            "x_user",
            "x-forwarded-proto",
            "x-forwarded-user",
            "x-forwarded-host",
            "remote-user",
            "x-request-id",
            "x-envoy-internal",
            "accept",
            "te",
        ] {
            asked.insert(HeaderName::from_static(name), HeaderValue::from_static("forged"));
        }
        let set = HeaderName::from_static("x-gatescribe-assertion");
        let own = vec![set.clone(), HeaderName::from_static("x-user")];
        let said = Yes {
            said: vec![(set, HeaderValue::from_static("word"))],
            cookies: HeaderValue::from_static(""),
            own,
            asked,
        };
        let answer = yes(&said, "0198");
        let answer = CheckResponse::decode(unframed(&answer).unwrap()).unwrap();
        assert_eq!(answer.status.unwrap().code, OK);
        let allowed = answer.allowed.unwrap();
        let set: Vec<_> = allowed
            .headers
            .iter()
            .map(|one| (one.header.clone().unwrap().key, one.append_action))
            .collect();
        assert_eq!(
            set,
            [
                ("x-gatescribe-assertion".to_owned(), OVERWRITE),
                ("audit-id".to_owned(), OVERWRITE)
            ]
        );
        assert_eq!(
            allowed.to_remove,
            [
                "authorization",
                "cookie",
                "impersonate-user",
                "remote-user",
                "x-forwarded-host",
                "x-forwarded-user",
                "x-gatescribe-cookie",
                "x-user",
                "x_user"
            ]
        );
    }

    /// What a workload shows to act for somebody is for the gateway alone, also where nothing is said in its place or Envoy does not tell of it.
    #[test]
    fn n_01_an_assertion_that_was_shown_goes_no_further() {
        for asked in [
            HeaderMap::new(),
            HeaderMap::from_iter([(ASSERTION.clone(), HeaderValue::from_static("shown"))]),
        ] {
            let said = Yes {
                said: Vec::new(),
                cookies: HeaderValue::from_static("theme=dark"),
                own: vec![HeaderName::from_static("x-who")],
                asked,
            };
            let answer = CheckResponse::decode(unframed(&yes(&said, "0198")).unwrap()).unwrap();
            let removed = answer.allowed.unwrap().to_remove;
            assert_eq!(
                removed,
                [
                    "authorization",
                    "x-gatescribe-assertion",
                    "x-gatescribe-cookie",
                    "x-who"
                ]
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_what_holds_for_every_question(data in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..120, byte in any::<u8>()) {
            fuzz_envoy_check(&data);
            let mut altered = question(|_| {});
            if let Some(place) = altered.get_mut(at) {
                *place = byte;
            }
            fuzz_envoy_check(&altered);
        }
    }
}
