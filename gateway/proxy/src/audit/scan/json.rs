//! JSON, as it passes: a machine that takes bytes in pieces of any size, follows the few members that are wanted, and
//! skips all others by counting brackets. It is no validator; what an API server writes is read right, and whatever else
//! comes ends in "not whole" or in harmless names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Field, Seen, Want, Whose};

/// The longest member name that is wanted.
const MOST_KEY: usize = 16;
/// Wanted members never lie deeper.
const MOST_DEPTH: usize = 6;

/// An object or list on the way to a wanted member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    Metadata(Whose),
    /// `details` of a `Status`.
    Details,
    /// `status` of a TokenRequest or CertificateSigningRequest.
    Status,
    /// `items` of a list.
    Items,
    Item,
    /// `rows` of a `Table`.
    Rows,
    Row,
    /// `object` of a row, which holds `metadata` as an item does.
    RowObject,
}

impl Place {
    const fn is_list(self) -> bool {
        matches!(self, Self::Items | Self::Rows)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the root object.
    Start,
    /// Where a key, or in a list a value, may begin.
    Next,
    /// After a key, before its value.
    Value,
    /// In the text of a key.
    Key,
    /// In a text value.
    Text,
    /// In a number, `true`, `false` or `null`.
    Plain,
    /// The root object is closed.
    Over,
    /// It is no JSON object.
    Broken,
}

#[derive(Debug)]
pub(super) struct Scanner {
    want: Want,
    state: State,
    /// The last byte in a text was a backslash that itself was not escaped.
    escaped: bool,
    places: Vec<Place>,
    /// Open brackets of a value that is skipped.
    skipped: u64,
    key: Vec<u8>,
    field: Option<Field>,
    text: Zeroizing<Vec<u8>>,
    /// The text is longer than its field may be.
    overlong: bool,
    seen: Seen,
    credential: Option<Zeroizing<Vec<u8>>>,
}

impl Scanner {
    pub(super) fn new(want: Want) -> Self {
        Self {
            want,
            state: State::Start,
            escaped: false,
            places: Vec::with_capacity(MOST_DEPTH),
            skipped: 0,
            key: Vec::with_capacity(MOST_KEY),
            field: None,
            text: Zeroizing::default(),
            overlong: false,
            seen: Seen::default(),
            credential: None,
        }
    }

    pub(super) fn finish(self) -> Option<(Seen, Option<Zeroizing<Vec<u8>>>)> {
        (self.state == State::Over).then_some((self.seen, self.credential))
    }

    /// The credential, once it has passed.
    pub(super) fn credential(self) -> Option<Zeroizing<Vec<u8>>> {
        self.credential
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::Key | State::Text => self.in_text(rest),
                State::Plain if matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace() => {
                    self.state = State::Next;
                    rest
                }
                State::Plain => after,
                State::Broken => return,
                State::Start | State::Next | State::Value | State::Over => {
                    self.between(byte);
                    after
                }
            };
        }
    }

    fn between(&mut self, byte: u8) {
        match (self.state, byte) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (State::Start, b'{') => self.enter(Place::Root),
            (State::Start | State::Over, _) => self.state = State::Broken,
            (_, b'"') => self.begin_text(),
            (_, b'{') => self.open(false),
            (_, b'[') => self.open(true),
            (State::Next, b'}' | b']') => self.close(),
            (State::Next, b',') | (State::Value, b':') => {}
            (State::Next, b':') => {} // only where values are skipped: keys are not told from texts there
            (State::Next | State::Value, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.state = State::Plain,
            _ => self.state = State::Broken,
        }
    }

    fn enter(&mut self, place: Place) {
        if self.places.len() == MOST_DEPTH {
            self.state = State::Broken;
            return;
        }
        if matches!(place, Place::Item | Place::Row) {
            self.seen.begin_item();
        }
        self.places.push(place);
        self.state = State::Next;
    }

    fn open(&mut self, is_list: bool) {
        if self.skipped > 0 {
            self.skipped = self.skipped.saturating_add(1);
            self.state = State::Next;
            return;
        }
        match self.child().filter(|place| place.is_list() == is_list) {
            Some(place) => self.enter(place),
            None => {
                self.skipped = 1;
                self.state = State::Next;
            }
        }
    }

    fn close(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        self.places.pop();
        if self.places.is_empty() {
            self.state = State::Over;
        }
    }

    /// The place that an opening bracket leads to from here, if something wanted lies there.
    fn child(&self) -> Option<Place> {
        let is_value = self.state == State::Value;
        match (self.places.last()?, self.key.as_slice()) {
            (Place::Items, _) => Some(Place::Item),
            (Place::Rows, _) => Some(Place::Row),
            (Place::Root, b"metadata") if is_value => Some(Place::Metadata(Whose::Top)),
            (Place::Root, b"details") if is_value => Some(Place::Details),
            (Place::Root, b"items") if is_value => Some(Place::Items),
            (Place::Root, b"rows") if is_value => Some(Place::Rows),
            (Place::Root, b"status") if is_value && self.want != Want::Names => Some(Place::Status),
            (Place::Item, b"metadata") if is_value => Some(Place::Metadata(Whose::Item)),
            (Place::Row, b"object") if is_value => Some(Place::RowObject),
            (Place::RowObject, b"metadata") if is_value => Some(Place::Metadata(Whose::Item)),
            _ => None,
        }
    }

    fn begin_text(&mut self) {
        self.escaped = false;
        self.overlong = false;
        if self.skipped > 0 {
            self.field = None;
            self.state = State::Text;
        } else if self.state == State::Next && !self.places.last().is_some_and(|place| place.is_list()) {
            self.key.clear();
            self.state = State::Key;
        } else {
            self.field = if self.state == State::Value {
                self.wanted()
            } else {
                None
            };
            self.text.clear();
            self.state = State::Text;
        }
    }

    fn wanted(&self) -> Option<Field> {
        let field = match (*self.places.last()?, self.key.as_slice()) {
            (Place::Root, b"kind") => Field::Kind,
            (Place::Root, b"reason") => Field::Reason,
            (Place::Metadata(whose), b"name") => Field::Name(whose),
            (Place::Metadata(whose), b"namespace") => Field::Namespace(whose),
            (Place::Metadata(whose), b"uid") => Field::Uid(whose),
            (Place::Metadata(whose), b"resourceVersion") => Field::ResourceVersion(whose),
            (Place::Details, b"name") => Field::Name(Whose::About),
            (Place::Details, b"uid") => Field::Uid(Whose::About),
            (Place::Status, b"token") if self.want == Want::Token => Field::Credential,
            (Place::Status, b"certificate") if self.want == Want::Certificate => Field::Credential,
            _ => return None,
        };
        Some(field)
    }

    /// Goes on in a text as far as its next quote or backslash; returns what is left.
    fn in_text<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if std::mem::take(&mut self.escaped) {
            let (one, rest) = bytes.split_at(1.min(bytes.len()));
            self.keep(one);
            return rest;
        }
        let Some(end) = memchr::memchr2(b'"', b'\\', bytes) else {
            self.keep(bytes);
            return &[];
        };
        let (text, rest) = bytes.split_at(end);
        self.keep(text);
        let (stop, rest) = rest.split_at(1.min(rest.len()));
        if stop == b"\\" {
            self.keep(stop);
            self.escaped = true;
        } else {
            self.end_text();
        }
        rest
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (into, most) = match (self.state, self.field) {
            (State::Key, _) => (&mut self.key, MOST_KEY),
            (_, Some(field)) => (&mut *self.text, field.most()),
            (_, None) => return,
        };
        if into.len().saturating_add(bytes.len()) > most {
            self.overlong = true;
        } else if !self.overlong {
            into.extend_from_slice(bytes);
        }
    }

    fn end_text(&mut self) {
        if self.state == State::Key {
            if self.overlong {
                self.key.clear();
            }
            self.state = State::Value;
            return;
        }
        self.state = State::Next;
        let Some(field) = self.field.take().filter(|_| !self.overlong) else {
            return;
        };
        if field == Field::Credential {
            let raw = std::mem::take(&mut self.text);
            // A certificate is bytes, which JSON holds as base64; a token stands as it is.
            self.credential = match self.want {
                Want::Certificate => STANDARD.decode(&*raw).ok().map(Zeroizing::new),
                Want::Token | Want::Names => Some(raw),
            };
        } else if let Some(text) = plain(&self.text) {
            self.seen.put(field, &text);
        }
    }
}

/// The text between the quotes, escapes resolved.
fn plain(raw: &[u8]) -> Option<String> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}
