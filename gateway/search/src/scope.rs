//! Whose acts may be seen, and what of them.
//!
//! What a role hides is taken off an act before anything looks at it, the query included: who may not see an address cannot find
//! out about it by searching for one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use model::event::RecordKind;
use model::status;
use model::subject::SubjectId;
use serde::Serialize;

use crate::act::{at_service, plain, quoted};
use crate::row::{Row, Who};

/// What stands where something is hidden.
const HIDDEN: &str = "(hidden)";

/// The kinds whose line is no free text.
const LINED: [RecordKind; 10] = [
    RecordKind::Intent,
    RecordKind::Outcome,
    RecordKind::Access,
    RecordKind::Close,
    RecordKind::Open,
    RecordKind::Heartbeat,
    RecordKind::Refusal,
    RecordKind::Verdict,
    RecordKind::Issued,
    RecordKind::Session,
];

/// Whose records may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of this subject alone.
    Own(SubjectId),
    /// Those of this subject, and what roles show.
    Roles(Arc<Reach>),
    /// All: a member of an audit group, or somebody with the files in hand.
    All,
}

/// What one person sees by roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The person: of their own acts nothing is hidden.
    pub own: SubjectId,
    /// At least one.
    pub roles: Vec<Arc<AuditRole>>,
}

/// A part of the ledger that somebody may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRole {
    /// Its name, for those who ask what they may see, and in the record of each reading.
    pub name: String,
    /// Calls to these clusters; `None` is all, and what goes to no cluster besides: calls of services, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// Calls in these namespaces, each a name or the beginning of some with a `*` behind it; `None` is all, and what lies in no
    /// namespace besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// What is not shown.
    pub hides: BTreeSet<Hides>,
    /// What may be done besides reading rows and records.
    pub may: BTreeSet<May>,
    /// What makes the ids that stand for people.
    #[serde(skip)]
    pub pseudonyms: Pseudonyms,
}

/// Makes the ids that stand for people. The id in records is a hash of what an issuer calls somebody, which can be guessed: whoever may
/// not know names gets a keyed hash of it.
#[derive(Clone)]
pub struct Pseudonyms(Arc<[u8; 32]>);

impl Pseudonyms {
    /// From random bytes that nobody else has.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Arc::new(key))
    }

    fn of(&self, id: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), id.as_bytes());
        tag.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl PartialEq for Pseudonyms {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&*self.0, &*other.0).is_ok()
    }
}

impl Eq for Pseudonyms {}

/// What a role may hide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hides {
    /// Names of people, for each of which an id of the role's own stands. Free text, `User-Agent` and ids of sign-ins, which may name
    /// them, are hidden with them.
    People,
    /// Addresses of clients.
    Addresses,
    /// `User-Agent`.
    Agents,
    /// Free text: stated reasons, sentences of the gateway's, messages of the cluster's.
    Texts,
}

impl Hides {
    /// The name in the configuration and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Addresses => "addresses",
            Self::Agents => "agents",
            Self::Texts => "texts",
        }
    }
}

/// What a role may allow beyond reading rows and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum May {
    /// See what stands sealed beside a record: arguments of commands, values of queries.
    Details,
    /// Take receipts away.
    Receipts,
    /// Play, export and watch recordings.
    Recordings,
}

impl May {
    const ALL: [Self; 3] = [Self::Details, Self::Receipts, Self::Recordings];

    /// The name in the configuration and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::Receipts => "receipts",
            Self::Recordings => "recordings",
        }
    }
}

/// What of one act may be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// What is hidden: what every role hides that shows the act.
    pub hides: BTreeSet<Hides>,
    /// What may be done with it: what any role allows that shows the act.
    pub may: BTreeSet<May>,
    pseudonyms: Option<Pseudonyms>,
}

impl Sight {
    fn whole() -> Self {
        Self {
            hides: BTreeSet::new(),
            may: May::ALL.into(),
            pseudonyms: None,
        }
    }
}

impl Scope {
    /// The name in answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Own(_) => "own",
            Self::Roles(_) => "roles",
            Self::All => "all",
        }
    }

    /// What somebody who sees only a part has to know about it.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Own(_) => Some(
                "You see your own records only: nothing that other people did is shown without an audit role."
                    .to_owned(),
            ),
            Self::Roles(reach) => {
                let names: Vec<&str> = reach.roles.iter().map(|role| &*role.name).collect();
                let (names, s) = (names.join(", "), if names.len() == 1 { "" } else { "s" });
                Some(format!(
                    "You see your own records and what the audit role{s} {names} shows; `gatescribe audit can` says what that is."
                ))
            }
            Self::All => None,
        }
    }

    /// The part of it that is the person's own, where it is a part.
    #[must_use]
    pub fn without_roles(&self) -> Self {
        match self {
            Self::Roles(reach) => Self::Own(reach.own.clone()),
            other => other.clone(),
        }
    }

    /// What of this act may be seen; `None` where it may not.
    #[must_use]
    pub fn sight(&self, row: &Row) -> Option<Sight> {
        let is_of = |id: &SubjectId| row.who.as_ref().is_some_and(|who| who.id == id.as_str());
        match self {
            Self::All => Some(Sight::whole()),
            Self::Own(id) => is_of(id).then(Sight::whole),
            Self::Roles(reach) if is_of(&reach.own) => Some(Sight::whole()),
            Self::Roles(reach) => reach
                .roles
                .iter()
                .filter(|role| role.shows(row))
                .map(|role| role.sight())
                .reduce(|one, other| Sight {
                    hides: &one.hides & &other.hides,
                    may: &one.may | &other.may,
                    // That of the first one that hides people: where both do, either stands for the person.
                    pseudonyms: one.pseudonyms.or(other.pseudonyms),
                }),
        }
    }

    pub(crate) fn shows(&self, row: &Row) -> bool {
        self.sight(row).is_some()
    }

    /// The act without what is hidden of it; `None` where nothing of it may be seen.
    pub(crate) fn view(&self, mut row: Row) -> Option<Row> {
        let sight = self.sight(&row)?;
        row.hide(sight);
        Some(row)
    }
}

impl AuditRole {
    fn sight(&self) -> Sight {
        Sight {
            hides: self.hides.clone(),
            may: self.may.clone(),
            pseudonyms: self.hides.contains(&Hides::People).then(|| self.pseudonyms.clone()),
        }
    }

    fn shows(&self, row: &Row) -> bool {
        let among = |names: &Option<Vec<String>>, name: Option<&str>| match names {
            None => true,
            Some(names) => name.is_some_and(|name| names.iter().any(|one| is_named(one, name))),
        };
        among(&self.clusters, row.cluster.as_deref()) && among(&self.namespaces, row.place())
    }
}

/// `shop`, or `shop-*`.
fn is_named(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

impl Row {
    /// The namespace that it was in. A pod that is entered through its node lies in the pod's. What only the answer says gives nobody
    /// sight of an act: else it were there for whoever searches and not for who asks for it by its id.
    fn place(&self) -> Option<&str> {
        let of_pod = self.pod.as_deref().and_then(|pod| pod.split_once('/'));
        let asked = self.namespace.as_deref().filter(|_| !self.is_placed_by_answer);
        of_pod.map(|(namespace, _)| namespace).or(asked)
    }

    fn hide(&mut self, sight: Sight) {
        let Sight { hides, pseudonyms, .. } = sight;
        if hides.is_empty() {
            return;
        }
        let people = hides.contains(&Hides::People);
        if hides.contains(&Hides::Addresses) {
            self.net = None;
            self.hide_public_address();
        }
        if hides.contains(&Hides::Agents) || people {
            self.agent = None;
        }
        // Where a record says what happened in a sentence, the sentence is the line of the act, and may hold anything: what somebody
        // searched for. Of a call and of a sign-in the line is put together from its parts.
        if !LINED.iter().any(|kind| kind.name() == self.kind) {
            self.act = format!("{} {HIDDEN}", self.kind);
        }
        self.note = None;
        if people {
            self.hide_people(pseudonyms.as_ref());
        }
        self.hidden = hides;
        self.hide_again();
    }

    /// What stands for whoever has not signed in is made of the address, which could be found out by trying all.
    fn hide_public_address(&mut self) {
        if let Some(who) = self.who.as_mut().filter(|who| who.is_public()) {
            who.id.clear();
            who.session = None;
        }
    }

    /// What came by its end is hidden, too.
    pub(crate) fn hide_again(&mut self) {
        if !self.hides_texts() {
            return;
        }
        // Of an older record it may be a sentence of a webhook's.
        let is_known = |reason: &mut String| status::reason(reason) == Some(reason.as_str());
        if let Some(outcome) = &mut self.outcome {
            outcome.why = None;
            outcome.reason.take_if(|reason| !is_known(reason));
        }
        if let Some(decision) = &mut self.decision {
            decision.stated_reason = None;
            // Why a rule mattered is told about somebody.
            decision.rules.clear();
        }
        // Our own codes are a closed list.
        if self.refused_by != Some("gateway") {
            self.reason.take_if(|reason| !is_known(reason));
        }
    }

    /// Whether free text of it is hidden.
    #[must_use]
    pub fn hides_texts(&self) -> bool {
        self.hidden.contains(&Hides::Texts) || self.hidden.contains(&Hides::People)
    }

    fn hide_people(&mut self, pseudonyms: Option<&Pseudonyms>) {
        // They join acts of one person, also with those that another role shows with the name.
        self.kubectl_session = None;
        if let Some(who) = &mut self.who {
            who.origin = None;
            who.session = None;
        }
        if let Some(who) = self.who.as_mut().filter(|who| !who.is_machine()) {
            *who = Who {
                id: pseudonyms.map(|keyed| keyed.of(&who.id)).unwrap_or_default(),
                kind: std::mem::take(&mut who.kind),
                user: HIDDEN.to_owned(),
                credential: std::mem::take(&mut who.credential),
                ..Who::default()
            };
        }
        if self.effective.is_some() {
            // `--as` stands in the line, too.
            self.effective = Some(HIDDEN.to_owned());
            self.act = self.plain_act();
            self.forget_effective();
        }
    }

    /// The line of an act without anything that a caller says of people.
    fn plain_act(&self) -> String {
        if let Some(service) = &self.service {
            return at_service(service, &self.method, &self.path);
        }
        let Some(resource) = &self.resource else {
            return format!("{} {}", plain(&self.method), quoted(&self.path));
        };
        let said = |before: &str, text: &Option<String>| {
            let text = text.as_ref().map(|text| format!("{before}{}", quoted(text)));
            text.unwrap_or_default()
        };
        let (sub, name, place) = (
            said("/", &self.subresource),
            said(" ", &self.name),
            said(" -n ", &self.namespace),
        );
        format!("{} {}{sub}{name}{place}", plain(&self.verb), quoted(resource))
    }
}
