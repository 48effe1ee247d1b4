//! What of a request's or an answer's body may be written down?
//!
//! Bytes in, a masked document out, or an honest "not read" with the reason. Everything that is not known to be harmless is
//! masked (promise 6): what is known stands in two tables that are reviewed, not in a list of secrets to look for. In place of a value
//! stands a keyed digest, so that equal secrets are seen as equal. [`diff`] compares documents, and so shows nothing that they do not.
//!
//! A crate of its own in `policy/`, because the rule decides what can never be taken back: it depends on no clock, file or
//! configuration, and the same body and key always give the same document. Why so, what it costs and what a digest is worth:
//! `docs/decisions/0015`.
//!
//! Invariants: no text of the body is in the output but under a key that `shown.txt` names and in the form that is named
//! there, and the words of its type as the table or the path says them; what could be read in two ways is opaque, masked, or noted in
//! [`Notes`]; memory and output are bounded by [`Limits`].

mod diff;
mod digest;
mod document;
mod fuzz;
mod json;
mod mask;
mod patch;
mod protobuf;
mod shape;
mod table;
#[cfg(test)]
mod tests;
mod types;
mod value;
pub mod wire;
mod yaml;

pub use self::diff::{Change, Diff, MOST_CHANGES, diff};
pub use self::digest::{Class, DigestKey, Domain, Mask};
pub use self::document::Node;
pub use self::fuzz::fuzz_payload;
pub use self::mask::Notes;
pub use self::value::Why;
pub use self::wire::fuzz_protobuf_wire;

#[cfg(test)]
use self::fuzz::FORMATS;
use self::mask::Walk;
use self::protobuf::Envelope;
use self::table::{Id, TABLE};
use self::value::{Room, Value};

/// A body as it passed.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    /// What there is of it.
    pub bytes: &'a [u8],
    /// Whether that is all.
    pub is_whole: bool,
    /// `Content-Type`; without one it is JSON, as for the API server.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
}

impl std::fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.bytes.len())
    }
}

/// What the call was about, from its path. A body that says otherwise is read as of an unknown kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// API group; the core group is empty.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty: the resource itself.
    pub subresource: &'a str,
    /// Which of the two bodies it is.
    pub side: Side,
}

impl About<'_> {
    /// `v1`, `apps/v1`.
    fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// Which body of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sent by the client.
    Request,
    /// Sent by the cluster.
    Answer,
}

/// What is read and written at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body. The API server takes 3 MiB.
    pub body: usize,
    /// How deep it may nest. An object of the built-in kinds has about 20 levels, a definition of a custom resource up to 60.
    pub depth: usize,
    /// Values in it.
    pub values: usize,
    /// Bytes of a document. What is longer is cut: see [`Document::cut_at`].
    pub document: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 3 << 20,
            depth: 100,
            values: 200_000,
            document: 64 << 10,
        }
    }
}

/// What may be written down of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was read.
    Document(Document),
    /// It was not.
    Opaque(Opaque),
}

/// A body that was read and masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    root: Node,
    json: String,
    notes: Notes,
    cut_at: Option<usize>,
}

impl Document {
    /// The masked document.
    #[must_use]
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// Its compact JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// What else was seen.
    #[must_use]
    pub const fn notes(&self) -> Notes {
        self.notes
    }

    /// It would have been too long: below this depth one digest stands in place of each object and list.
    #[must_use]
    pub const fn cut_at(&self) -> Option<usize> {
        self.cut_at
    }

    /// What is masked.
    #[must_use]
    pub fn masked(&self) -> Masked {
        let mut masked = Masked {
            keys: self.root.masked_keys(),
            ..Masked::default()
        };
        self.root.masks(&mut |path, mask| {
            if let Some(count) = masked.values.get_mut(mask.domain() as usize) {
                *count = count.saturating_add(1);
            }
            masked.alarms = masked.alarms.saturating_add(usize::from(mask.is_alarm()));
            if masked.paths.len() < MOST_PATHS {
                masked.paths.push(path.to_owned());
            }
        });
        masked
    }
}

/// Paths that [`Masked`] names at most; the counts are of all.
pub const MOST_PATHS: usize = 64;

/// What is masked in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    values: [usize; Domain::ALL.len()],
    /// Keys of members.
    pub keys: usize,
    /// Values in places that are shown and that look like a secret.
    pub alarms: usize,
    /// Where, at most [`MOST_PATHS`]: `spec.template.spec.containers[0].env[1].value`.
    pub paths: Vec<String>,
}

impl Masked {
    /// Values in one domain.
    #[must_use]
    pub fn values(&self, domain: Domain) -> usize {
        self.values.get(domain as usize).copied().unwrap_or_default()
    }
}

/// A body of which nothing is written down but this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque {
    /// Why it was not read.
    pub why: Why,
    /// `apiVersion` and `kind`, where a protobuf envelope says those that the path says, or that are built in.
    pub kind: Option<(Box<str>, Box<str>)>,
}

/// The rule, with the keys of one cluster.
#[derive(Debug)]
pub struct Masker {
    key: DigestKey,
    limits: Limits,
    omit_managed: bool,
}

impl Masker {
    /// `omit_managed`: `metadata.managedFields` is left out of documents, as `omitManagedFields` of an audit policy asks.
    #[must_use]
    pub const fn new(key: DigestKey, limits: Limits, omit_managed: bool) -> Self {
        Self {
            key,
            limits,
            omit_managed,
        }
    }

    /// Turns a body into what may be written down of it.
    #[must_use]
    pub fn mask(&self, body: &Body<'_>, about: &About<'_>) -> Recorded {
        let mut kind = None;
        match self.read(body, about, &mut kind) {
            Ok(document) => Recorded::Document(document),
            Err(why) => Recorded::Opaque(Opaque { why, kind }),
        }
    }

    fn read(
        &self,
        body: &Body<'_>,
        about: &About<'_>,
        kind: &mut Option<(Box<str>, Box<str>)>,
    ) -> Result<Document, Why> {
        let media = Media::of(body.content_type).ok_or(Why::OtherType)?;
        let encoding = body.content_encoding.unwrap_or_default().trim();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Err(Why::Compressed);
        }
        if body.bytes.len() > self.limits.body {
            return Err(Why::TooLong);
        }
        if !body.is_whole {
            return Err(Why::Cut);
        }
        if body.bytes.is_empty() {
            return Err(Why::Empty);
        }
        let mut room = Room::new(self.limits.values, self.limits.depth);
        let (value, message) = match media {
            Media::Protobuf => {
                let envelope = Envelope::open(body.bytes)?;
                let is_known =
                    types::is_known_version(envelope.api_version, about) && types::is_known_kind(envelope.kind, about);
                if is_known {
                    *kind = Some((envelope.api_version.into(), envelope.kind.into()));
                }
                if envelope.api_version.is_empty() || envelope.kind.is_empty() {
                    return Err(Why::HalfType);
                }
                let known = TABLE
                    .kind(envelope.api_version, envelope.kind)
                    .ok_or(Why::UnknownKind)?;
                let value = envelope.object(known.message, &mut room)?;
                let message = self::kind(&value, about)?;
                (value, message)
            }
            Media::Yaml | Media::ApplyPatch => {
                let value = yaml::read(body.bytes, &mut room)?;
                let message = self::kind(&value, about)?;
                (value, message)
            }
            Media::Json => {
                let value = json::read(body.bytes, &mut room)?;
                let message = self::kind(&value, about)?;
                (value, message)
            }
            Media::JsonPatch | Media::MergePatch | Media::StrategicPatch => {
                (json::read(body.bytes, &mut room)?, target(about))
            }
        };
        Ok(self.document(&value, message, media, about))
    }

    fn document(&self, value: &Value<'_>, message: Option<Id>, media: Media, about: &About<'_>) -> Document {
        let mut walk = Walk {
            key: &self.key,
            omit_managed: self.omit_managed,
            has_directives: media == Media::StrategicPatch,
            about: *about,
            notes: Notes::default(),
        };
        let mut root = match (media, message) {
            (Media::JsonPatch, message) => walk.patch(value, message),
            (_, Some(id)) => walk.message(value, id),
            (_, None) => walk.object(value),
        };
        let notes = walk.notes;
        let (mut json, mut cut_at) = (root.to_json(), None);
        for depth in [12, 10, 8, 6, 5, 4, 3, 2, 1, 0] {
            if json.len() <= self.limits.document {
                break;
            }
            root = self.cut(root, depth);
            (json, cut_at) = (root.to_json(), Some(depth));
        }
        Document {
            root,
            json,
            notes,
            cut_at,
        }
    }

    /// Below this depth one digest for each object and list: of what would have stood there, so that it can be compared.
    fn cut(&self, node: Node, depth: usize) -> Node {
        match (node, depth.checked_sub(1)) {
            (node @ (Node::List(_) | Node::Object(_)), None) => {
                Node::Mask(self.key.mask(Domain::Tree, node.to_json().as_bytes()))
            }
            (Node::List(items), Some(depth)) => {
                Node::List(items.into_iter().map(|item| self.cut(item, depth)).collect())
            }
            (Node::Object(members), Some(depth)) => {
                let cut = members.into_iter().map(|(key, value)| (key, self.cut(value, depth)));
                Node::Object(cut.collect())
            }
            (leaf, _) => leaf,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Json,
    Yaml,
    Protobuf,
    JsonPatch,
    MergePatch,
    StrategicPatch,
    ApplyPatch,
}

/// As what a body of this media type is read, in one word; `None`: it is not.
#[must_use]
pub fn read_as(content_type: Option<&str>) -> Option<&'static str> {
    Media::of(content_type).map(|media| match media {
        Media::Json => "json",
        Media::Yaml => "yaml",
        Media::Protobuf => "protobuf",
        Media::JsonPatch => "jsonPatch",
        Media::MergePatch => "mergePatch",
        Media::StrategicPatch => "strategicPatch",
        Media::ApplyPatch => "applyPatch",
    })
}

impl Media {
    fn of(content_type: Option<&str>) -> Option<Self> {
        let essence = content_type
            .unwrap_or("application/json")
            .split(';')
            .next()
            .unwrap_or_default();
        Some(match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "application/yaml" => Self::Yaml,
            "application/vnd.kubernetes.protobuf" => Self::Protobuf,
            "application/json-patch+json" => Self::JsonPatch,
            "application/merge-patch+json" => Self::MergePatch,
            "application/strategic-merge-patch+json" => Self::StrategicPatch,
            "application/apply-patch+yaml" => Self::ApplyPatch,
            _ => return None,
        })
    }
}

/// The message of an object, by what it says of itself. In a request that has to be what the path is about: else the API server
/// refuses it, and what was meant is not known.
fn kind(value: &Value<'_>, about: &About<'_>) -> Result<Option<Id>, Why> {
    let Some((api_version, name)) = type_of(value)? else {
        return Ok(target(about).filter(|_| about.side == Side::Request));
    };
    let Some(known) = TABLE.kind(api_version, name) else {
        return Ok(None);
    };
    let is_meant = about.side == Side::Answer
        || known.plural.is_empty()
        || !matches!(about.subresource, "" | "status")
        || (known.plural == about.resource && api_version == about.api_version());
    Ok(is_meant.then_some(known.message))
}

/// `apiVersion` and `kind`, or neither. Of one without the other the API server guesses the other by the path, and others by nothing.
fn type_of<'v>(value: &'v Value<'_>) -> Result<Option<(&'v str, &'v str)>, Why> {
    let word = |name| match value.member(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::Text(text)) => Ok(&**text),
        Some(_) => Err(Why::HalfType),
    };
    match (word("apiVersion")?, word("kind")?) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(Why::HalfType),
        both => Ok(Some(both)),
    }
}

/// The message of the objects that the path is about.
fn target(about: &About<'_>) -> Option<Id> {
    match about.subresource {
        "scale" => TABLE.by_name("autoscaling1.Scale"),
        "" | "status" | "finalize" | "approval" | "ephemeralcontainers" | "resize" => {
            TABLE.of_resource(&about.api_version(), about.resource)
        }
        _ => None,
    }
}
