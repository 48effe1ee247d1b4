//! Kubernetes' protobuf envelope (kubernetes/apimachinery `pkg/runtime/serializer/protobuf`): four magic bytes, then
//! `runtime.Unknown` with the object's own message inside. Whatever is not wanted is skipped by its length.
//!
//! Field numbers are those of the `generated.proto` files of apimachinery and api; they never change their meaning.

pub(super) use payload::wire::MAGIC;
use payload::wire::{self, Kind, Malformed, Varint};
use zeroize::Zeroizing;

use super::{Field, Seen, Want, Whose};

/// Wanted fields never lie deeper.
const MOST_DEPTH: usize = 6;

/// A message on the way to a wanted field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `runtime.Unknown`.
    Envelope,
    TypeMeta,
    /// The object itself, of the kind that `TypeMeta` named.
    Object,
    List,
    Status,
    ObjectMeta(Whose),
    ListMeta,
    Item,
    Details,
    /// `status` of what issues a credential.
    Issuing,
}

/// What a field leads to.
enum Leads {
    To(Place),
    Text(Field),
    /// A text that must be empty.
    Empty,
    Nowhere,
}

#[derive(Debug)]
enum State {
    Magic(usize),
    Tag(Varint),
    /// The length of a field.
    Length(u64, Varint),
    /// A number; its value does not matter.
    Number(Varint),
    Skip(u64),
    Text(Field, u64),
    Broken,
}

#[derive(Debug)]
pub(super) struct Scanner {
    want: Want,
    state: State,
    /// Where we are, and the bytes that are left of each message; the envelope's are not known.
    places: Vec<(Place, u64)>,
    text: Zeroizing<Vec<u8>>,
    seen: Seen,
    credential: Option<Zeroizing<Vec<u8>>>,
    has_object: bool,
}

impl Scanner {
    pub(super) fn new(want: Want) -> Self {
        Self {
            want,
            state: State::Magic(0),
            places: vec![(Place::Envelope, u64::MAX)],
            text: Zeroizing::default(),
            seen: Seen::default(),
            credential: None,
            has_object: false,
        }
    }

    pub(super) fn finish(self) -> Option<(Seen, Option<Zeroizing<Vec<u8>>>)> {
        let at_end = matches!(self.state, State::Tag(number) if !number.has_begun()) && self.places.len() == 1;
        (at_end && self.has_object).then_some((self.seen, self.credential))
    }

    /// The credential, once it has passed.
    pub(super) fn credential(self) -> Option<Zeroizing<Vec<u8>>> {
        self.credential
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.step(rest);
            let used_len = u64::try_from(used).unwrap_or(u64::MAX);
            for (place, left) in &mut self.places {
                match left.checked_sub(used_len) {
                    _ if *place == Place::Envelope => {}
                    Some(less) => *left = less,
                    None => self.state = State::Broken,
                }
            }
            if matches!(self.state, State::Broken) {
                return;
            }
            self.leave();
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Takes at least one byte; returns how many. Messages that are entered by it count their bytes from the next on.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let first = bytes.first().copied().unwrap_or_default();
        match &mut self.state {
            State::Magic(at) => {
                if MAGIC.get(*at) != Some(&first) {
                    self.state = State::Broken;
                } else if *at + 1 == MAGIC.len() {
                    self.state = State::Tag(Varint::default());
                } else {
                    *at += 1;
                }
                1
            }
            State::Tag(number) => {
                match number.take(first) {
                    Ok(None) => {}
                    Ok(Some(tag)) => self.state = after_tag(tag),
                    Err(Malformed) => self.state = State::Broken,
                }
                1
            }
            State::Number(number) => {
                match number.take(first) {
                    Ok(None) => {}
                    Ok(Some(_)) => self.state = State::Tag(Varint::default()),
                    Err(Malformed) => self.state = State::Broken,
                }
                1
            }
            State::Length(field, number) => {
                let field = *field;
                match number.take(first) {
                    Ok(None) => {}
                    Ok(Some(length)) => self.begin(field, length),
                    Err(Malformed) => self.state = State::Broken,
                }
                1
            }
            State::Skip(left) | State::Text(_, left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(take).unwrap_or(0);
                let is_over = *left == 0;
                if let State::Text(field, _) = self.state {
                    self.text.extend_from_slice(bytes.get(..take).unwrap_or_default());
                    if is_over {
                        self.put(field);
                    }
                }
                if is_over {
                    self.state = State::Tag(Varint::default());
                }
                take
            }
            State::Broken => bytes.len(),
        }
    }

    /// A field with a length begins. The byte that ended its length still counts for the messages around it.
    fn begin(&mut self, field: u64, length: u64) {
        // One byte, the last of the length, is subtracted after this.
        let room = self.places.last().map_or(0, |(_, left)| left.saturating_sub(1));
        if length > room {
            self.state = State::Broken;
            return;
        }
        let place = self.places.last().map_or(Place::Envelope, |(place, _)| *place);
        self.state = match self.leads(place, field) {
            Leads::To(inner) if self.places.len() < MOST_DEPTH => {
                if inner == Place::Item {
                    self.seen.begin_item();
                }
                self.has_object |= place == Place::Envelope && inner != Place::TypeMeta;
                self.places.push((inner, length.saturating_add(1)));
                State::Tag(Varint::default())
            }
            Leads::Empty if length > 0 => State::Broken,
            Leads::Text(field) if length > 0 && length <= u64::try_from(field.most()).unwrap_or(0) => {
                self.text.clear();
                State::Text(field, length)
            }
            Leads::To(_) | Leads::Text(_) | Leads::Empty | Leads::Nowhere if length == 0 => {
                State::Tag(Varint::default())
            }
            Leads::To(_) | Leads::Text(_) | Leads::Empty | Leads::Nowhere => State::Skip(length),
        };
    }

    fn leads(&self, place: Place, field: u64) -> Leads {
        match (place, field) {
            (Place::Envelope, 1) => Leads::To(Place::TypeMeta),
            (Place::Envelope, 2) => Leads::To(match &*self.seen.kind {
                "Status" => Place::Status,
                kind if kind.ends_with("List") => Place::List,
                _ => Place::Object,
            }),
            // `contentEncoding`: what is inside cannot be read.
            (Place::Envelope, 3) => Leads::Empty,
            (Place::TypeMeta, 2) => Leads::Text(Field::Kind),
            (Place::Object, 1) => Leads::To(Place::ObjectMeta(Whose::Top)),
            (Place::Object, 3) if self.want != Want::Names => Leads::To(Place::Issuing),
            (Place::List, 1) => Leads::To(Place::ListMeta),
            (Place::List, 2) => Leads::To(Place::Item),
            (Place::Item, 1) => Leads::To(Place::ObjectMeta(Whose::Item)),
            (Place::ObjectMeta(whose), 1) => Leads::Text(Field::Name(whose)),
            (Place::ObjectMeta(whose), 3) => Leads::Text(Field::Namespace(whose)),
            (Place::ObjectMeta(whose), 5) => Leads::Text(Field::Uid(whose)),
            (Place::ObjectMeta(whose), 6) => Leads::Text(Field::ResourceVersion(whose)),
            (Place::ListMeta, 2) => Leads::Text(Field::ResourceVersion(Whose::Top)),
            (Place::Status, 4) => Leads::Text(Field::Reason),
            (Place::Status, 5) => Leads::To(Place::Details),
            (Place::Details, 1) => Leads::Text(Field::Name(Whose::About)),
            (Place::Details, 6) => Leads::Text(Field::Uid(Whose::About)),
            (Place::Issuing, 1) if self.want == Want::Token => Leads::Text(Field::Credential),
            (Place::Issuing, 2) if self.want == Want::Certificate => Leads::Text(Field::Credential),
            _ => Leads::Nowhere,
        }
    }

    fn put(&mut self, field: Field) {
        if field == Field::Credential {
            self.credential = Some(std::mem::take(&mut self.text));
        } else if let Ok(text) = std::str::from_utf8(&self.text) {
            self.seen.put(field, text);
        }
    }

    /// Leaves every message that is at its end. One that ends inside a field is broken.
    fn leave(&mut self) {
        while self.places.len() > 1 && self.places.last().is_some_and(|(_, left)| *left == 0) {
            if !matches!(self.state, State::Tag(number) if !number.has_begun()) {
                self.state = State::Broken;
                return;
            }
            self.places.pop();
        }
    }
}

fn after_tag(tag: u64) -> State {
    match wire::field(tag) {
        Ok((_, Kind::Number)) => State::Number(Varint::default()),
        Ok((_, Kind::Eight)) => State::Skip(8),
        Ok((field, Kind::Length)) => State::Length(field, Varint::default()),
        Ok((_, Kind::Four)) => State::Skip(4),
        Err(Malformed) => State::Broken,
    }
}
