//! What the built-in kinds look like, and which of their fields are known to be harmless.
//!
//! Two texts, so that facts and judgement are reviewed apart: `table.txt` says which fields there are, `shown.txt` which of them are
//! shown. Read once, at first use. The table ages with Kubernetes: a field that it does not know is masked.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use model::status;

use crate::digest::Domain;

/// Which texts of a field are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// None.
    Masked,
    Name,
    /// Keys and values of a map of labels.
    Labels,
    /// The keys of a map.
    Keys,
    Cron,
    Origin,
    /// A word of a list.
    Word(&'static [&'static str]),
    /// The plural of a resource: one that is built in, or the path's.
    Plural,
    /// A group: one that is built in, or the path's.
    Group,
    /// Nothing, of whatever form it is.
    Hidden,
}

/// The form of a field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Bytes,
    Bool,
    Integer,
    Double,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Duration,
    /// JSON; in protobuf in a message of its own.
    Json,
    /// A list of texts; in protobuf in a message of its own.
    TextList,
    /// No form is known.
    Any,
    Message(Id),
    List(Box<Form>),
    Map(Box<Form>),
}

/// A message of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(usize);

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) show: Show,
    pub(crate) domain: Domain,
    /// A pointer: absent and zero are different.
    pub(crate) is_optional: bool,
    /// Its fields stand in the parent.
    pub(crate) is_inline: bool,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// As protobuf has them.
    pub(crate) fields: Vec<Field>,
    /// As JSON has them, by name: embedded messages in their parent's place. Where: the message and the place in it.
    names: HashMap<&'static str, (usize, usize)>,
    /// The same, by the names as a reader compares them who does not care about upper and lower case.
    folded: HashMap<String, (usize, usize)>,
    /// What stands in it in a place that is not known.
    pub(crate) domain: Domain,
    /// It is a kind: `apiVersion` and `kind` stand in it.
    pub(crate) is_object: bool,
}

/// A kind that is built in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) message: Id,
    pub(crate) plural: &'static str,
}

pub(crate) struct Table {
    messages: Vec<Message>,
    kinds: HashMap<(&'static str, &'static str), Kind>,
    plurals: HashMap<(&'static str, &'static str), Id>,
    versions: HashSet<&'static str>,
    kind_names: HashSet<&'static str>,
    words: HashSet<String>,
}

pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let texts = [
        include_str!("table.txt"),
        include_str!("shown.txt"),
        include_str!("words.txt"),
    ];
    Table::read(texts)
});

/// Of every group: what is sent beside objects, and what stands for them.
const META_KINDS: [(&str, &str); 6] = [
    ("Status", "meta.Status"),
    ("List", "meta.List"),
    ("Table", "meta.Table"),
    ("PartialObjectMetadata", "meta.PartialObjectMetadata"),
    ("PartialObjectMetadataList", "meta.PartialObjectMetadataList"),
    ("DeleteOptions", "meta.DeleteOptions"),
];
/// The versions of those that are of a group of their own.
const META_VERSIONS: [&str; 2] = ["meta.k8s.io/v1", "meta.k8s.io/v1beta1"];

impl Table {
    fn read([table, shown, words]: [&'static str; 3]) -> Self {
        let rows = || table.lines().filter(|line| !line.starts_with(['#', '=']));
        let names = rows().filter(|line| !line.starts_with(' '));
        let ids: HashMap<&'static str, Id> = names.enumerate().map(|(at, name)| (name, Id(at))).collect();
        let mut messages: Vec<Message> = Vec::with_capacity(ids.len());
        for line in rows() {
            match (line.strip_prefix(' '), messages.last_mut()) {
                (Some(row), Some(message)) => message.fields.extend(Field::read(row, message.name, &ids)),
                _ => messages.push(Message {
                    name: line,
                    fields: Vec::new(),
                    names: HashMap::new(),
                    folded: HashMap::new(),
                    domain: domain_of(line, ""),
                    is_object: META_KINDS.iter().any(|(_, message)| *message == line),
                }),
            }
        }
        show(&mut messages, shown);
        for at in 0..messages.len() {
            let mut names = HashMap::new();
            flatten(&messages, at, &mut names);
            if let Some(message) = messages.get_mut(at) {
                message.folded = names.iter().map(|(name, place)| (fold(name), *place)).collect();
                message.names = names;
            }
        }
        let (kinds, plurals) = kinds(table, &ids);
        for kind in kinds.values() {
            if let Some(message) = messages.get_mut(kind.message.0) {
                message.is_object = true;
            }
        }
        let words = dictionary(&messages, words);
        let versions = kinds.keys().map(|(version, _)| *version).chain(META_VERSIONS);
        let names = kinds.keys().map(|(_, kind)| *kind);
        Self {
            versions: versions.collect(),
            kind_names: names.chain(META_KINDS.map(|(kind, _)| kind)).collect(),
            messages,
            kinds,
            plurals,
            words,
        }
    }

    pub(crate) fn message(&self, id: Id) -> Option<&Message> {
        self.messages.get(id.0)
    }

    /// The field of a message by its name in JSON.
    pub(crate) fn field(&self, id: Id, name: &str) -> Option<&Field> {
        let (message, place) = self.message(id)?.names.get(name)?;
        self.messages.get(*message)?.fields.get(*place)
    }

    /// The field that a reader who does not care about upper and lower case would take a name for, as Go's `encoding/json` does.
    pub(crate) fn field_in_any_case(&self, id: Id, name: &str) -> Option<&Field> {
        let (message, place) = self.message(id)?.folded.get(&fold(name))?;
        self.messages.get(*message)?.fields.get(*place)
    }

    /// A kind by the words in an object.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<Kind> {
        if let Some(known) = self.kinds.get(&(api_version, kind)) {
            return Some(*known);
        }
        if api_version.is_empty() {
            return None;
        }
        let (_, message) = META_KINDS.into_iter().find(|(name, _)| *name == kind)?;
        let place = self.messages.iter().position(|known| known.name == message)?;
        Some(Kind {
            message: Id(place),
            plural: "",
        })
    }

    /// Whether there are built-in kinds of this API version.
    pub(crate) fn is_version(&self, api_version: &str) -> bool {
        self.versions.contains(api_version)
    }

    /// Whether a built-in kind has this name, in whatever version.
    pub(crate) fn is_kind(&self, kind: &str) -> bool {
        self.kind_names.contains(kind)
    }

    /// Whether a built-in resource has this name, in whatever version.
    pub(crate) fn is_plural(&self, plural: &str) -> bool {
        self.plurals.keys().any(|(_, known)| *known == plural)
    }

    /// Whether there are built-in kinds of this group.
    pub(crate) fn is_group(&self, group: &str) -> bool {
        let mut groups = self.versions.iter().map(|version| version.split_once('/'));
        groups.any(|known| known.map_or("", |(known, _)| known) == group)
    }

    /// The message of a resource's objects.
    pub(crate) fn of_resource(&self, api_version: &str, plural: &str) -> Option<Id> {
        self.plurals.get(&(api_version, plural)).copied()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Id> {
        self.messages.iter().position(|message| message.name == name).map(Id)
    }

    /// Whether a key that stands in no table is made of technical words alone, and so says nothing that is secret.
    pub(crate) fn is_public_key(&self, key: &str) -> bool {
        let has_form = !key.is_empty()
            && key.len() <= 63
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        has_form
            && words_of(key).take(9).all(|word| self.words.contains(&word))
            && (1..=8).contains(&words_of(key).count())
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    #[cfg(test)]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str, Kind)> {
        self.kinds
            .iter()
            .map(|((version, kind), known)| (*version, *kind, *known))
    }
}

impl Field {
    fn read(row: &'static str, message: &str, ids: &HashMap<&'static str, Id>) -> Option<Self> {
        let mut words = row.split(' ');
        let number = words.next()?.parse().ok()?;
        let name = words.next()?;
        let form = Form::read(words.next()?, ids);
        let mut field = Self {
            number,
            name,
            form,
            show: Show::Masked,
            domain: domain_of(message, name),
            is_optional: false,
            is_inline: false,
        };
        for flag in words {
            match flag {
                "?" => field.is_optional = true,
                "^" => field.is_inline = true,
                _ => {}
            }
        }
        Some(field)
    }
}

impl Form {
    fn read(word: &str, ids: &HashMap<&'static str, Id>) -> Self {
        if let Some(element) = word.strip_prefix("[]") {
            return Self::List(Box::new(Self::read(element, ids)));
        }
        if let Some(element) = word.strip_prefix("map:") {
            return Self::Map(Box::new(Self::read(element, ids)));
        }
        match word {
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "bool" => Self::Bool,
            "int32" | "int64" => Self::Integer,
            "Double" => Self::Double,
            "Quantity" => Self::Quantity,
            "IntOrString" => Self::IntOrString,
            "Time" => Self::Time,
            "MicroTime" => Self::MicroTime,
            "Duration" => Self::Duration,
            "Json1" => Self::Json,
            "TextList" => Self::TextList,
            message => ids.get(message).map_or(Self::Any, |id| Self::Message(*id)),
        }
    }

    /// Whether its leaves are texts, which alone need a word in `shown.txt`.
    fn is_textual(&self) -> bool {
        match self {
            Self::Text | Self::TextList => true,
            Self::List(element) | Self::Map(element) => element.is_textual(),
            _ => false,
        }
    }
}

/// In which domain the values of a field are digested.
fn domain_of(message: &str, field: &str) -> Domain {
    match (message, field) {
        ("core.Secret", _) => Domain::Secret,
        ("core.ConfigMap", _) => Domain::Config,
        ("core.EnvVar", "value") => Domain::Env,
        ("meta.ObjectMeta", "annotations") => Domain::Annotation,
        ("authentication.TokenReviewSpec" | "authentication.TokenRequestStatus", _) => Domain::Token,
        _ => Domain::Text,
    }
}

fn show(messages: &mut [Message], shown: &str) {
    let mut wanted: HashMap<&str, Vec<(&str, Show)>> = HashMap::new();
    for line in shown.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(message) = words.next() else { continue };
        wanted.entry(message).or_default().extend(words.map(shown_field));
    }
    for message in messages {
        let everywhere = wanted.get("*").into_iter().flatten();
        for (name, show) in everywhere.chain(wanted.get(message.name).into_iter().flatten()) {
            for field in message.fields.iter_mut().filter(|field| field.name == *name) {
                let is_of_a_map = matches!(show, Show::Keys | Show::Labels);
                let is_map = matches!(field.form, Form::Map(_));
                let is_of_a_text = is_of_a_map == is_map && (is_of_a_map || field.form.is_textual());
                if is_of_a_text || *show == Show::Hidden {
                    field.show = *show;
                }
            }
        }
    }
}

fn shown_field(word: &str) -> (&str, Show) {
    match word.split_once(':') {
        None => (word, Show::Name),
        Some((name, "labels")) => (name, Show::Labels),
        Some((name, "keys")) => (name, Show::Keys),
        Some((name, "cron")) => (name, Show::Cron),
        Some((name, "origin")) => (name, Show::Origin),
        Some((name, "reason")) => (name, Show::Word(&status::REASONS)),
        Some((name, "cause")) => (name, Show::Word(&status::CAUSES)),
        Some((name, "end")) => (name, Show::Word(&status::ENDS)),
        Some((name, "plural")) => (name, Show::Plural),
        Some((name, "group")) => (name, Show::Group),
        Some((name, "hidden")) => (name, Show::Hidden),
        Some((name, _)) => (name, Show::Masked),
    }
}

fn flatten(messages: &[Message], at: usize, names: &mut HashMap<&'static str, (usize, usize)>) {
    let Some(message) = messages.get(at) else { return };
    for (place, field) in message.fields.iter().enumerate() {
        match (field.is_inline, &field.form) {
            (true, Form::Message(inner)) if inner.0 != at => flatten(messages, inner.0, names),
            _ => {
                let _ = names.entry(field.name).or_insert((at, place));
            }
        }
    }
}

type Kinds = HashMap<(&'static str, &'static str), Kind>;
type Plurals = HashMap<(&'static str, &'static str), Id>;

fn kinds(table: &'static str, ids: &HashMap<&'static str, Id>) -> (Kinds, Plurals) {
    let (mut kinds, mut plurals) = (HashMap::new(), HashMap::new());
    for line in table.lines().filter_map(|line| line.strip_prefix('=')) {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (message, api_version, kind, plural) = (word(), word(), word(), word());
        if let Some(message) = ids.get(message).copied() {
            kinds.insert((api_version, kind), Kind { message, plural });
            plurals.insert((api_version, plural), message);
        }
    }
    (kinds, plurals)
}

fn dictionary(messages: &[Message], words: &str) -> HashSet<String> {
    let listed = words.lines().filter(|line| !line.starts_with('#'));
    let listed = listed.flat_map(str::split_whitespace).map(str::to_owned);
    let fields = messages.iter().flat_map(|message| &message.fields);
    listed.chain(fields.flat_map(|field| words_of(field.name))).collect()
}

/// The words of a key in lower case: `tls.crt`, `DATABASE_URL`, `secretName`.
fn words_of(key: &str) -> impl Iterator<Item = String> + '_ {
    key.split(['-', '_', '.', '/'])
        .flat_map(humps)
        .filter(|word| !word.is_empty())
}

fn humps(text: &str) -> Vec<String> {
    let (mut words, mut word, mut was_lower) = (Vec::new(), String::new(), false);
    for character in text.chars() {
        if character.is_ascii_uppercase() && was_lower {
            words.push(std::mem::take(&mut word));
        }
        was_lower = !character.is_ascii_uppercase();
        word.push(character.to_ascii_lowercase());
    }
    words.push(word);
    words
}

/// As Go's `encoding/json` compares names: ASCII without case, and two letters of Unicode that fold to ASCII.
fn fold(name: &str) -> String {
    let fold = |character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_what_is_shown_names_only_what_there_is() {
        let shown = include_str!("shown.txt").lines().filter(|line| !line.starts_with('#'));
        for line in shown.filter(|line| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            let message = words.next().unwrap();
            let of = |known: &&Message| message == "*" || known.name == message;
            for (field, show) in words.map(shown_field) {
                let fields = TABLE.messages().iter().filter(of).flat_map(|known| &known.fields);
                assert!(
                    fields
                        .into_iter()
                        .any(|known| known.name == field && known.show == show),
                    "{message} {field}: no such field, or not of that form"
                );
            }
        }
    }

    #[test]
    fn what_holds_secrets_is_shown_nowhere() {
        for (message, field) in [
            ("core.Secret", "data"),
            ("core.Secret", "stringData"),
            ("core.ConfigMap", "data"),
            ("core.ConfigMap", "binaryData"),
            ("core.EnvVar", "value"),
            ("core.Container", "args"),
            ("core.Container", "command"),
            ("core.HTTPHeader", "value"),
            ("core.ExecAction", "command"),
            ("meta.ObjectMeta", "annotations"),
            ("authentication.TokenReviewSpec", "token"),
            ("authentication.TokenRequestStatus", "token"),
            ("certificates.CertificateSigningRequestSpec", "request"),
            ("certificates.CertificateSigningRequestStatus", "certificate"),
            ("admissionregistration.WebhookClientConfig", "caBundle"),
            ("storage.StorageClass", "parameters"),
            ("core.CSIVolumeSource", "volumeAttributes"),
            ("meta.Status", "message"),
            ("core.Event", "message"),
            ("meta.ManagedFieldsEntry", "fieldsV1"),
            ("apps.ControllerRevision", "data"),
            ("core.WindowsSecurityContextOptions", "gmsaCredentialSpec"),
            ("meta.ListMeta", "continue"),
        ] {
            let known = TABLE.field(TABLE.by_name(message).unwrap(), field);
            assert_eq!(known.map(|field| field.show), Some(Show::Masked), "{message} {field}");
        }
    }

    #[test]
    fn keys_are_shown_when_every_word_of_them_is_a_technical_one() {
        for key in [
            "tls.crt",
            "DATABASE_URL",
            "password",
            ".dockerconfigjson",
            "ca-bundle.crt",
            "secretName",
            "config/nginx.conf",
        ] {
            assert!(TABLE.is_public_key(key), "{key}");
        }
        for key in [
            "hunter2",
            "",
            "-",
            "correct-horse-battery",
            "a b",
            "pässword",
            "pin-1234",
            "tls.crt\n",
            &"config.".repeat(9),
        ] {
            assert!(!TABLE.is_public_key(key), "{key}");
        }
    }

    #[test]
    fn names_that_some_reader_takes_for_a_field_are_found() {
        let secret = TABLE.by_name("core.Secret").unwrap();
        for name in ["DATA", "Data", "ſtringData", "STRINGDATA"] {
            assert!(TABLE.field(secret, name).is_none(), "{name}");
            assert!(TABLE.field_in_any_case(secret, name).is_some(), "{name}");
        }
        assert!(TABLE.field_in_any_case(secret, "date").is_none());
    }
}
