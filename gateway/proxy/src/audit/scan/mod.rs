//! Reads the few fields of an answer that belong into its record, while the answer passes: name, uid and version of the
//! object, how many items a list has, its first and last, the reason of a `Status`, the id of a credential that was issued.
//!
//! It sees a copy of what passes and can neither change nor hold it. Invariants: memory is bounded whatever comes; nothing is
//! decompressed; what is not whole or not known is `unread` with the reason and never guessed; a credential is kept only
//! until its id is taken out of it, in memory that is wiped; a fault in here changes neither the answer nor that its end is
//! recorded.

mod issued;
mod json;
mod protobuf;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{HeaderMap, header};
use model::event::{ItemsSeen, Object};
use model::status;

pub(crate) use issued::Issued;

/// Bytes of an answer that are looked at. JSON has to be read byte by byte; an API server compresses what is longer
/// than 128 KiB for every client that lets it.
const MOST_JSON: usize = 1 << 20;
/// Protobuf skips what it does not need by its length.
const MOST_PROTOBUF: usize = 64 << 20;
/// The longest name that is kept. Kubernetes' own limit is 253.
const MOST_NAME: usize = 512;
/// Of an answer that hands a credential out all is looked at: whoever asks for it chooses what stands in front of the credential.
const MOST_WITH_CREDENTIAL: usize = MOST_PROTOBUF;
/// The longest token or certificate chain whose id is looked for: a line of a header, in which it would be presented here,
/// is no longer.
const MOST_CREDENTIAL: usize = 64 << 10;

/// Why fields are `unread`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// `Content-Encoding`.
    Compressed,
    /// Another media type.
    OtherType,
    /// Longer than what is looked at.
    TooLong,
    /// It broke off, or is not what its type says.
    NotWhole,
    /// Ours: reading it panicked.
    Fault,
}

impl Unread {
    /// In words, for the record.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Compressed => "the answer is compressed",
            Self::OtherType => "the answer is neither JSON nor protobuf",
            Self::TooLong => "the answer is longer than what is read of it",
            Self::NotWhole => "the answer is not whole, or not what its type says",
            Self::Fault => "a fault of the gateway",
        }
    }
}

/// What a scan looks for beyond names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Want {
    /// Names only.
    #[default]
    Names,
    /// `status.token` of a TokenRequest.
    Token,
    /// `status.certificate` of a CertificateSigningRequest.
    Certificate,
}

/// The fields of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: Option<Box<str>>,
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) uid: Option<Box<str>>,
    pub(crate) resource_version: Option<Box<str>>,
}

/// What was seen of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Box<str>,
    /// The answer's own metadata.
    pub(crate) top: Named,
    /// `details` of a `Status`: the object that it is about.
    about: Named,
    /// `reason` of a `Status`, as it came: [`Seen::reason`] says what of it is told.
    reason: Option<Box<str>>,
    pub(crate) count: u64,
    pub(crate) first: Option<Box<str>>,
    /// The last item.
    pub(crate) last: Named,
    pub(crate) issued: Option<Issued>,
}

impl Seen {
    fn is_list(&self) -> bool {
        self.kind.ends_with("List") || &*self.kind == "Table"
    }

    /// The object of the answer. A table with one row is how kubectl asks for one object.
    pub(crate) fn object(&self, of: Asked<'_>) -> Option<Object<'_>> {
        let named = match (self.is_list(), of.is_for_one && self.count == 1) {
            (true, true) => &self.last,
            (false, _) if &*self.kind == "Status" => return self.about(of),
            (true, false) | (false, _) => &self.top,
        };
        let object = Object {
            name: named.name.as_deref(),
            namespace: named.namespace.as_deref(),
            uid: named.uid.as_deref(),
            resource_version: named.resource_version.as_deref(),
        };
        (*named != Named::default()).then_some(object)
    }

    /// The object that a `Status` is about. That of a no may be a webhook's, with any word in it (promise 6): then it is told only where it says
    /// what the path says.
    fn about(&self, of: Asked<'_>) -> Option<Object<'_>> {
        let (name, uid) = (self.about.name.as_deref(), self.about.uid.as_deref());
        let (name, uid) = if of.is_success {
            (name, uid)
        } else {
            (name.filter(|name| *name == of.name), None)
        };
        (name.is_some() || uid.is_some()).then_some(Object {
            name,
            namespace: None,
            uid,
            resource_version: None,
        })
    }

    /// The list in the answer.
    pub(crate) fn items(&self) -> Option<ItemsSeen<'_>> {
        self.is_list().then_some(ItemsSeen {
            count: self.count,
            first: self.first.as_deref(),
            last: self.last.name.as_deref(),
        })
    }

    /// `reason`, when the answer is a `Status`: one of Kubernetes' own, or that it was another. Whoever refuses chooses that word, a
    /// webhook too.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        let reason = self.reason.as_deref().filter(|_| &*self.kind == "Status")?;
        status::reason(reason)
    }
}

/// What was asked, as far as it says how the answer is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// One object was asked for by its name.
    pub(crate) is_for_one: bool,
    /// That name; empty: none.
    pub(crate) name: &'a str,
    /// It was answered with a yes.
    pub(crate) is_success: bool,
}

/// Where a field stands, as both scanners name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Kind,
    Reason,
    Name(Whose),
    Namespace(Whose),
    Uid(Whose),
    ResourceVersion(Whose),
    Credential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Top,
    About,
    Item,
}

impl Field {
    const fn most(self) -> usize {
        match self {
            Self::Credential => MOST_CREDENTIAL,
            _ => MOST_NAME,
        }
    }
}

impl Seen {
    /// One more item; what was known of the one before goes.
    fn begin_item(&mut self) {
        self.count = self.count.saturating_add(1);
        self.last = Named::default();
    }

    fn put(&mut self, field: Field, text: &str) {
        if text.is_empty() {
            return;
        }
        let kept = || Some(Box::<str>::from(text));
        match field {
            Field::Kind => self.kind = text.into(),
            Field::Reason => self.reason = kept(),
            Field::Name(Whose::Item) => {
                if self.count == 1 {
                    self.first = kept();
                }
                self.last.name = kept();
            }
            Field::Name(whose) => self.of(whose).name = kept(),
            Field::Namespace(whose) => self.of(whose).namespace = kept(),
            Field::Uid(whose) => self.of(whose).uid = kept(),
            Field::ResourceVersion(whose) => self.of(whose).resource_version = kept(),
            Field::Credential => {}
        }
    }

    const fn of(&mut self, whose: Whose) -> &mut Named {
        match whose {
            Whose::Top => &mut self.top,
            Whose::About => &mut self.about,
            Whose::Item => &mut self.last,
        }
    }
}

/// A scan of one answer.
#[derive(Debug)]
pub(crate) struct Scan {
    form: Form,
    left: usize,
    want: Want,
}

#[derive(Debug)]
enum Form {
    Json(Box<json::Scanner>),
    Protobuf(Box<protobuf::Scanner>),
    Unread(Unread),
    /// Panics at whatever it is shown.
    #[cfg(test)]
    Broken,
}

impl Scan {
    /// The scan that fits an answer with these headers.
    pub(crate) fn new(headers: &HeaderMap, want: Want) -> Self {
        let coded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let kind = headers
            .get(header::CONTENT_TYPE)
            .map_or(&[][..], http::HeaderValue::as_bytes);
        let media = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if coded {
            Self::unread(Unread::Compressed)
        } else if media.eq_ignore_ascii_case(b"application/json") {
            Self::json(want)
        } else if media.eq_ignore_ascii_case(b"application/vnd.kubernetes.protobuf") {
            Self::protobuf(want)
        } else {
            Self::unread(Unread::OtherType)
        }
    }

    pub(crate) fn json(want: Want) -> Self {
        Self {
            form: Form::Json(Box::new(json::Scanner::new(want))),
            left: match want {
                Want::Names => MOST_JSON,
                Want::Token | Want::Certificate => MOST_WITH_CREDENTIAL,
            },
            want,
        }
    }

    pub(crate) fn protobuf(want: Want) -> Self {
        Self {
            form: Form::Protobuf(Box::new(protobuf::Scanner::new(want))),
            left: MOST_PROTOBUF,
            want,
        }
    }

    const fn unread(why: Unread) -> Self {
        Self {
            form: Form::Unread(why),
            left: 0,
            want: Want::Names,
        }
    }

    /// Looks at the next bytes of the answer.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        match self.left.checked_sub(bytes.len()) {
            Some(left) => self.left = left,
            None if matches!(self.form, Form::Unread(_)) => return,
            None => self.form = Form::Unread(Unread::TooLong),
        }
        let form = &mut self.form;
        let fed = catch_unwind(AssertUnwindSafe(|| match form {
            Form::Json(scanner) => scanner.feed(bytes),
            Form::Protobuf(scanner) => scanner.feed(bytes),
            Form::Unread(_) => {}
            #[cfg(test)]
            Form::Broken => broken(),
        }));
        if fed.is_err() {
            self.form = Form::Unread(Unread::Fault);
        }
    }

    /// The end of the answer.
    ///
    /// # Errors
    /// Why nothing can be said of it.
    pub(crate) fn finish(self) -> Result<Seen, Unread> {
        catch_unwind(AssertUnwindSafe(|| self.finished())).unwrap_or(Err(Unread::Fault))
    }

    fn finished(self) -> Result<Seen, Unread> {
        let scanned = match self.form {
            Form::Json(scanner) => scanner.finish(),
            Form::Protobuf(scanner) => scanner.finish(),
            Form::Unread(why) => return Err(why),
            #[cfg(test)]
            Form::Broken => broken(),
        };
        let (mut seen, credential) = scanned.ok_or(Unread::NotWhole)?;
        seen.issued = credential.and_then(|bytes| Issued::read(self.want, &bytes));
        Ok(seen)
    }
}

impl Scan {
    /// The id of a credential that has passed, where the rest of the answer did not: whoever leaves holds it all the same.
    pub(crate) fn issued_so_far(self) -> Option<Issued> {
        catch_unwind(AssertUnwindSafe(|| self.issued_by_now())).ok().flatten()
    }

    fn issued_by_now(self) -> Option<Issued> {
        let credential = match self.form {
            Form::Json(scanner) => scanner.credential(),
            Form::Protobuf(scanner) => scanner.credential(),
            Form::Unread(_) => None,
            #[cfg(test)]
            Form::Broken => broken(),
        };
        credential.and_then(|bytes| Issued::read(self.want, &bytes))
    }
}

#[cfg(test)]
impl Scan {
    /// One that panics at whatever it is shown, and at the end.
    pub(crate) const fn broken() -> Self {
        Self {
            form: Form::Broken,
            left: usize::MAX,
            want: Want::Names,
        }
    }
}

#[cfg(test)]
fn broken() -> ! {
    panic!("a fault of the scanner")
}

/// Reads foreign bytes as an answer in either form. Never panics, whatever they are.
pub(crate) fn fuzz(data: &[u8]) {
    let (cut, data) = data
        .split_first()
        .map_or((0, data), |(cut, rest)| (usize::from(*cut), rest));
    for want in [Want::Names, Want::Token, Want::Certificate] {
        for mut scan in [Scan::json(want), Scan::protobuf(want)] {
            let (head, tail) = data.split_at(cut.min(data.len()));
            scan.feed(head);
            scan.feed(tail);
            assert_ne!(scan.finish(), Err(Unread::Fault));
        }
    }
    let mut behind_magic = Scan::protobuf(Want::Token);
    behind_magic.feed(protobuf::MAGIC);
    behind_magic.feed(data);
    assert_ne!(behind_magic.finish(), Err(Unread::Fault));
}
