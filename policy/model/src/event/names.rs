//! Takes out of a record's body what may name a person, and puts it back for whoever may see names.
//!
//! In what stays, nothing says whose record it is but a pseudonym. What goes comes back as asides: JSON objects of the same shape, one
//! for each subject whose they are, to be sealed beside the record. Denied by default: a member that is not listed here goes, so that one
//! that is new names nobody by accident.
//!
//! What stays although it can be called after a person: names and paths of objects, addresses, what a credential's issuer is called.
//! They are what happened.
//!
//! Not here: pseudonyms, keys and sealing (the gateway's state file and its audit station).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Part, RecordKind};
use crate::erasure::Scope;
use crate::subject::SubjectId;

/// The class of the parts with names, and of their keys.
pub const NAME_CLASS: &str = "name";

/// Top-level members that name nobody.
const WHOLE: [&str; 24] = [
    "id",
    "pair",
    "t",
    "mono",
    "boot",
    "cluster",
    "service",
    "source",
    "presented",
    "upstream",
    "object",
    "items",
    "recording",
    "passed",
    "gap",
    "recovery",
    "refused",
    "unsigned",
    "checkpoint",
    "start",
    "clock",
    "body",
    "diff",
    "parts",
];
/// Of an erasure's or a hold's subject: which data are meant.
const OF_SCOPE: [&str; 6] = ["kind", "classes", "recording", "from", "to", "subject"];

/// Members of a top-level member that name nobody; the others of it go.
fn staying(member: &str) -> &'static [&'static str] {
    match member {
        "by" => &["id", "kind", "credential"],
        // Without the port: with the address it tells one connection, and who has one open is the same person under two pseudonyms.
        "net" => &["ip", "http", "listener"],
        // Without the rule: a policy may have one for one person.
        "audit" => &["level", "asked", "policy"],
        "req" => &[
            "method",
            "path",
            "query_keys",
            "query_count",
            "options",
            "verb",
            "action",
            "group",
            "version",
            "resource",
            "subresource",
            "namespace",
            "name",
            "content_type",
            "dry_run",
            "container",
            "pod",
        ],
        "decision" => &["allowed", "who", "reason", "rules_count", "policy"],
        "outcome" => &[
            "end",
            "status",
            "reason",
            "bytes_in",
            "bytes_out",
            "took",
            "body_sha256",
            "body_hmac",
            "exit_code",
            "unread",
            "diverged",
        ],
        "person" => &["what", "provider"],
        "issued" => &["what", "expires"],
        "policy" => &["digest", "before", "added", "changed", "removed"],
        "config" => &["digest"],
        "sum" => &["count", "from", "to", "what", "by"],
        // Without the hold: one that was set since the request stands under the new pseudonym, and this under the old one.
        "erasure" => &["what", "request", "until", "keys", "more"],
        "hold" => &["what", "id"],
        _ => &[],
    }
}

/// Whose an aside is, so under whose key it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// This subject's.
    Subject(SubjectId),
    /// This subject's, and to go with what is being erased of theirs: under a key that goes, where there is one.
    Leaving(SubjectId),
    /// Of nobody whom the gateway knows.
    Nobody,
}

/// Gives out the names under which subjects stand in records.
pub trait Pseudonyms {
    /// Why there is none.
    type Error;

    /// The pseudonym of this subject, the one that its erasure will leave behind where one is asked for (`leaving`).
    ///
    /// # Errors
    /// It cannot be had; the record may not be written then.
    fn pseudonym(&mut self, subject: &SubjectId, leaving: bool) -> Result<String, Self::Error>;
}

/// A body in two: what names nobody, and what does.
#[derive(Clone, Debug)]
pub struct Split {
    clear: Object,
    /// What names somebody, as JSON, by whose it is.
    pub asides: Vec<(Whose, Vec<u8>)>,
}

impl Split {
    /// The body that names nobody, with these parts behind those that it had.
    #[must_use]
    pub fn body(mut self, parts: &[Part]) -> Vec<u8> {
        let written = parts.iter().filter_map(|part| serde_json::to_string(part).ok());
        let added = written.collect::<Vec<_>>().join(",");
        if !added.is_empty() {
            let had = self.clear.0.iter().position(|(name, _)| name == "parts");
            let before = had.map(|at| self.clear.0.remove(at).1.text());
            let before = before.as_deref().and_then(|text| text.strip_suffix(']'));
            let list = match before {
                Some(before) if before.len() > 1 => format!("{before},{added}]"),
                _ => format!("[{added}]"),
            };
            self.clear.0.push(("parts".to_owned(), Json::Other(list)));
        }
        Json::Object(self.clear).text().into_bytes()
    }
}

/// Takes out of the body of a record what may name somebody. `None`: it is no JSON object.
///
/// # Errors
/// Of `pseudonyms`.
pub fn split<P: Pseudonyms>(kind: RecordKind, body: &[u8], pseudonyms: &mut P) -> Result<Option<Split>, P::Error> {
    let Some(members) = object(body) else { return Ok(None) };
    let mut splitter = Splitter {
        kind,
        by: id_in(&members, &["by", "id"]),
        of: id_in(&members, &["erasure", "of", "subject"]).or_else(|| id_in(&members, &["hold", "of", "subject"])),
        takes_the_name: kind == RecordKind::Erasure && is_of_all(body),
        clear: Object::default(),
        asides: BTreeMap::new(),
        pseudonyms,
    };
    for (name, value) in members.0 {
        splitter.member(&name, value)?;
    }
    let asides = splitter.asides.into_iter();
    let asides = asides.map(|(whose, aside)| (whose, Json::Object(aside).text().into_bytes()));
    Ok(Some(Split {
        clear: splitter.clear,
        asides: asides.collect(),
    }))
}

struct Splitter<'p, P> {
    kind: RecordKind,
    by: Option<SubjectId>,
    of: Option<SubjectId>,
    /// An erasure of all that there is of somebody: their pseudonym goes with it.
    takes_the_name: bool,
    clear: Object,
    asides: BTreeMap<Whose, Object>,
    pseudonyms: &'p mut P,
}

impl<P: Pseudonyms> Splitter<'_, P> {
    fn member(&mut self, name: &str, value: Json) -> Result<(), P::Error> {
        if WHOLE.contains(&name) || (name == "note" && self.is_ours()) {
            self.clear.put(&[name], value);
            return Ok(());
        }
        let stays = staying(name);
        let parts = match value {
            Json::Object(parts) if !stays.is_empty() => parts,
            whole => {
                self.aside(self.words_of(name), &[name], whole);
                return Ok(());
            }
        };
        for (inner, value) in parts.0 {
            match (name, inner.as_str(), value) {
                ("erasure" | "hold", "of" | "asked" | "agreed", Json::Object(person)) => {
                    self.person(name, &inner, person)?;
                }
                ("by", "id", value) => {
                    let value = self.renamed(value, false)?;
                    self.clear.put(&[name, &inner], value);
                }
                ("sum", "what", value) => {
                    let value = self.summed(value)?;
                    self.clear.put(&[name, &inner], value);
                }
                (_, inner, value) if stays.contains(&inner) => self.clear.put(&[name, inner], value),
                (_, inner, value) => self.aside(self.words_of(name), &[name, inner], value),
            }
        }
        Ok(())
    }

    /// Sentences in which the gateway speaks of itself.
    const fn is_ours(&self) -> bool {
        matches!(self.kind, RecordKind::Start | RecordKind::Damage)
    }

    /// Whose the words of a member are. What is said about an erasure or a hold is the trace of whom it is on.
    fn words_of(&self, member: &str) -> Option<Whose> {
        match (&self.of, &self.by) {
            (Some(of), _) if matches!(member, "erasure" | "note") && self.takes_the_name => {
                Some(Whose::Leaving(of.clone()))
            }
            (Some(of), _) if matches!(member, "erasure" | "hold" | "note") => Some(Whose::Subject(of.clone())),
            (_, Some(by)) => Some(Whose::Subject(by.clone())),
            // These belong to a call, whose first record says whose it is; they do not.
            (_, None) if belongs_to_a_call(self.kind) => None,
            (_, None) => Some(Whose::Nobody),
        }
    }

    fn aside(&mut self, whose: Option<Whose>, path: &[&str], value: Json) {
        if let Some(whose) = whose {
            self.asides.entry(whose).or_default().put(path, value);
        }
    }

    /// Somebody whom an erasure or a hold is about, or who decides about it.
    fn person(&mut self, member: &str, role: &str, person: Object) -> Result<(), P::Error> {
        let is_leaving = role == "of" && self.takes_the_name;
        let whose = match role {
            "of" => self.words_of(member),
            _ => person
                .id("subject")
                .map(Whose::Subject)
                .or_else(|| self.words_of(member)),
        };
        for (inner, value) in person.0 {
            let path = [member, role, inner.as_str()];
            if inner == "subject" {
                let value = self.renamed(value, is_leaving)?;
                self.clear.put(&path, value);
            } else if OF_SCOPE.contains(&inner.as_str()) {
                self.clear.put(&path, value);
            } else {
                self.aside(whose.clone(), &path, value);
            }
        }
        Ok(())
    }

    fn renamed(&mut self, id: Json, is_leaving: bool) -> Result<Json, P::Error> {
        // What is no id of a subject says nothing that could be believed: it does not stay.
        let pseudonym = match id.string().as_deref().and_then(SubjectId::parse) {
            Some(subject) => self.pseudonyms.pseudonym(&subject, is_leaving)?,
            None => String::new(),
        };
        Ok(Json::of(&pseudonym))
    }

    fn summed(&mut self, what: Json) -> Result<Json, P::Error> {
        let text = what.string().unwrap_or_default();
        let Some((before, subject)) = text.rsplit_once(' ') else {
            return Ok(what);
        };
        match SubjectId::parse(subject) {
            Some(subject) => {
                let pseudonym = self.pseudonyms.pseudonym(&subject, false)?;
                Ok(Json::of(&format!("{before} {pseudonym}")))
            }
            None => Ok(what),
        }
    }
}

/// Whether an erasure is of all that is sealed of somebody. Any other leaves the name, and so the pseudonym.
fn is_of_all(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Leaf {
        erasure: Said,
    }
    #[derive(Deserialize)]
    struct Said {
        of: Scope,
    }
    serde_json::from_slice::<Leaf>(body).is_ok_and(|leaf| leaf.erasure.of.is_all())
}

const fn belongs_to_a_call(kind: RecordKind) -> bool {
    matches!(
        kind,
        RecordKind::Outcome | RecordKind::Close | RecordKind::Heartbeat | RecordKind::Answer | RecordKind::Issued
    )
}

/// Who stands behind the pseudonyms of a record.
pub trait Known {
    /// The subject of this pseudonym, where that is known still.
    fn subject(&self, pseudonym: &str) -> Option<SubjectId>;

    /// What stands in the place of a name that was not put back: that it is sealed, or that it was erased.
    fn unnamed(&self, pseudonym: &str) -> String;
}

/// A leaf with what its asides say put back: as it would have been with names in the clear, but for the order of its members. What
/// the leaf itself says stays. `None`: it is no JSON object.
#[must_use]
pub fn join(leaf: &[u8], asides: &[Vec<u8>], known: &impl Known) -> Option<Vec<u8>> {
    let mut whole = object(leaf)?;
    for aside in asides {
        whole.merge(object(aside).unwrap_or_default());
    }
    if let Some(by) = whole.inner(&["by"]) {
        by.put_names("id", &["iss", "sub"], known);
    }
    for member in ["erasure", "hold"] {
        for role in ["of", "asked", "agreed"] {
            let Some(person) = whole.inner(&[member, role]) else {
                continue;
            };
            person.put_names("subject", if role == "of" { &[] } else { &["issuer"] }, known);
        }
    }
    if let Some(hold) = whole.inner(&["hold"]) {
        hold.default_to("set_by", "");
        hold.default_to("why", "");
    }
    Some(Json::Object(whole).text().into_bytes())
}

/// A leaf in which places of names that are missing say that they are sealed, for readers who open none.
#[must_use]
pub fn unnamed(leaf: &[u8]) -> Option<Vec<u8>> {
    struct Nobody;
    impl Known for Nobody {
        fn subject(&self, _: &str) -> Option<SubjectId> {
            None
        }

        fn unnamed(&self, pseudonym: &str) -> String {
            sealed_name(pseudonym)
        }
    }
    join(leaf, &[], &Nobody)
}

/// What stands for somebody whose name is not there.
#[must_use]
pub fn sealed_name(pseudonym: &str) -> String {
    format!("sealed name {}", short(pseudonym))
}

/// What stands for somebody whose name was erased.
#[must_use]
pub fn erased_name(pseudonym: &str) -> String {
    format!("erased person {}", short(pseudonym))
}

fn short(pseudonym: &str) -> &str {
    pseudonym.get(..8).unwrap_or(pseudonym)
}

/// A JSON object with the order of its members.
#[derive(Clone, Debug, Default)]
struct Object(Vec<(String, Json)>);

/// JSON as far as it has to be told apart here: objects down to a depth, and texts of everything else.
#[derive(Clone, Debug)]
enum Json {
    Object(Object),
    Other(String),
}

/// Deeper objects than persons in an erasure are not looked into.
const DEPTH: usize = 3;

fn object(text: &[u8]) -> Option<Object> {
    object_within(std::str::from_utf8(text).ok()?, DEPTH)
}

fn object_within(text: &str, depth: usize) -> Option<Object> {
    let Raw(members) = serde_json::from_str(text).ok()?;
    let members = members.into_iter().map(|(name, raw)| {
        let text = raw.get();
        let inner = (depth > 1 && text.starts_with('{')).then(|| object_within(text, depth - 1));
        let value = inner
            .flatten()
            .map_or_else(|| Json::Other(text.to_owned()), Json::Object);
        (name, value)
    });
    Some(Object(members.collect()))
}

/// The members of an object in their order, unread.
struct Raw<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Raw(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Json {
    fn of(text: &str) -> Self {
        Self::Other(serde_json::Value::from(text).to_string())
    }

    fn string(&self) -> Option<String> {
        match self {
            Self::Object(_) => None,
            Self::Other(text) => serde_json::from_str(text).ok(),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Other(text) => out.push_str(text),
            Self::Object(object) => {
                out.push('{');
                for (index, (name, value)) in object.0.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl Object {
    fn find(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    fn id(&self, name: &str) -> Option<SubjectId> {
        SubjectId::parse(&self.find(name)?.string()?)
    }

    /// Puts a value behind the members that are there, in the object at the path's beginning.
    fn put(&mut self, path: &[&str], value: Json) {
        match path {
            [] => {}
            [name] => self.0.push(((*name).to_owned(), value)),
            [name, rest @ ..] => {
                if !matches!(self.find(name), Some(Json::Object(_))) {
                    self.0.push(((*name).to_owned(), Json::Object(Self::default())));
                }
                if let Some(inner) = self.inner(&[name]) {
                    inner.put(rest, value);
                }
            }
        }
    }

    fn inner(&mut self, path: &[&str]) -> Option<&mut Self> {
        let [name, rest @ ..] = path else { return Some(self) };
        let found = self
            .0
            .iter_mut()
            .find(|(member, value)| member == name && matches!(value, Json::Object(_)));
        match found {
            Some((_, Json::Object(inner))) => inner.inner(rest),
            _ => None,
        }
    }

    /// Adds what `other` has and this one has not.
    fn merge(&mut self, other: Self) {
        for (name, value) in other.0 {
            match (self.0.iter_mut().find(|(member, _)| *member == name), value) {
                (Some((_, Json::Object(mine))), Json::Object(theirs)) => mine.merge(theirs),
                (Some(_), _) => {}
                (None, value) => self.0.push((name, value)),
            }
        }
    }

    fn default_to(&mut self, name: &str, text: &str) {
        if self.find(name).is_none() {
            self.0.push((name.to_owned(), Json::of(text)));
        }
    }

    /// The subject behind the pseudonym, and words where names are missing.
    fn put_names(&mut self, id: &str, others: &[&str], known: &impl Known) {
        let pseudonym = self.find(id).and_then(Json::string).unwrap_or_default();
        self.default_to("user", &known.unnamed(&pseudonym));
        for other in others {
            self.default_to(other, "");
        }
        if let Some(subject) = known.subject(&pseudonym)
            && let Some((_, value)) = self.0.iter_mut().find(|(member, _)| member == id)
        {
            *value = Json::of(subject.as_str());
        }
    }
}

fn id_in(members: &Object, path: &[&str]) -> Option<SubjectId> {
    let (last, before) = path.split_last()?;
    let mut at = members;
    for name in before {
        let Some(Json::Object(inner)) = at.find(name) else {
            return None;
        };
        at = inner;
    }
    at.id(last)
}

/// Entry for the fuzzer: foreign bytes are split and put together again, or are no object; never a panic.
pub fn fuzz_names(data: &[u8]) {
    struct Any;
    impl Pseudonyms for Any {
        type Error = std::convert::Infallible;

        fn pseudonym(&mut self, subject: &SubjectId, _: bool) -> Result<String, Self::Error> {
            Ok(subject.as_str().chars().rev().collect())
        }
    }
    impl Known for Any {
        fn subject(&self, pseudonym: &str) -> Option<SubjectId> {
            SubjectId::parse(&pseudonym.chars().rev().collect::<String>())
        }

        fn unnamed(&self, pseudonym: &str) -> String {
            sealed_name(pseudonym)
        }
    }
    for kind in [
        RecordKind::Access,
        RecordKind::Erasure,
        RecordKind::Hold,
        RecordKind::Close,
    ] {
        let Ok(Some(split)) = split(kind, data, &mut Any) else {
            return;
        };
        let asides: Vec<Vec<u8>> = split.asides.iter().map(|(_, aside)| aside.clone()).collect();
        let _ = join(&split.body(&[]), &asides, &Any);
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "names_joins_tests.rs"]
mod joins;
