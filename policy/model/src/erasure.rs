//! Erasing what is sealed: whose data, asked for by whom, and what is held against it.
//!
//! Invariants: it takes two people, and neither is the one whose data go ([`Actor::may_decide`], [`Actor::is_another_than`]); while a hold
//! covers any of it, nothing of it goes ([`Hold::covers`]).
//!
//! Not here: the keys (crate `state`), who may ask (crate `console`).

use serde::{Deserialize, Serialize};

use crate::event::names::NAME_CLASS;
use crate::subject::{SubjectId, SubjectKind};
use crate::time::Timestamp;

/// The class of the key of one recording is this and the session's id.
const RECORDING: &str = "recording:";
/// Names all recordings where classes are asked for.
pub const RECORDINGS: &str = "recording";

/// The class of the key of this session's recording.
#[must_use]
pub fn recording_class(session: &str) -> String {
    format!("{RECORDING}{session}")
}

/// Whose recording a key of this class is for: the session's id. `None` where it is for something else.
#[must_use]
pub fn session_of(class: &str) -> Option<&str> {
    class.strip_prefix(RECORDING)
}

/// Whose data, and which of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Whose they are.
    pub subject: SubjectId,
    /// What kind of subject.
    pub kind: SubjectKind,
    /// Their Kubernetes user name.
    pub user: String,
    /// Their address, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Which classes: those of parts, and `recording`; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// One recording alone, by its session's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// Of recordings: those that began then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Of recordings: those that began before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl Scope {
    /// Whether a key of this class, made then, is among it.
    #[must_use]
    pub fn has(&self, class: &str, made: Timestamp) -> bool {
        // A name goes with everything or not at all: with what is left of somebody, keys could be told to be theirs.
        if class == NAME_CLASS {
            return self.is_all();
        }
        let Some(session) = session_of(class) else {
            return self.recording.is_none() && self.has_class(class);
        };
        match &self.recording {
            Some(one) => one == session,
            None => self.has_class(RECORDINGS) && self.has_time(made),
        }
    }

    /// Whether it is all that is sealed of somebody.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.classes.is_empty() && self.recording.is_none() && self.from.is_none() && self.to.is_none()
    }

    fn has_class(&self, name: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|class| class == name)
    }

    fn has_time(&self, made: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= made) && self.to.is_none_or(|to| made < to)
    }

    /// Whether it is about this person: the same subject, or somebody of the same user name.
    #[must_use]
    pub fn is_of(&self, subject: &SubjectId, kind: SubjectKind, user: &str) -> bool {
        self.subject == *subject
            || (self.kind == SubjectKind::Person && kind == SubjectKind::Person && self.user == user)
    }

    /// For a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { subject, user, .. } = self;
        if let Some(session) = &self.recording {
            return format!("the recording of session {session} of {user} ({subject})");
        }
        let what = if self.classes.is_empty() {
            "everything sealed".to_owned()
        } else {
            self.classes.join(", ")
        };
        let from = self.from.map(|from| format!(" from {from}")).unwrap_or_default();
        let to = self.to.map(|to| format!(" to {to}")).unwrap_or_default();
        format!("{what} of {user} ({subject}){from}{to}")
    }
}

/// Who decides: a person with a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Their subject.
    pub subject: SubjectId,
    /// Their Kubernetes user name.
    pub user: String,
    /// Who vouches for them.
    pub issuer: String,
    /// Their address, where the provider says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl Actor {
    /// Whether this is certainly another human than `other`.
    ///
    /// # Errors
    /// In words, why it may be the same one: subject, user name or address are the same, or two providers vouch and one of them tells no
    /// address, so that nothing shows that they are two.
    pub fn is_another_than(&self, other: &Self) -> Result<(), &'static str> {
        if self.subject == other.subject {
            return Err("it takes two people, and that is you as well");
        }
        if self.user.eq_ignore_ascii_case(&other.user) {
            return Err("it takes two people, and that one has your user name");
        }
        match (address(self.email.as_deref()), address(other.email.as_deref())) {
            (Some(one), Some(another)) if one.eq_ignore_ascii_case(another) => {
                Err("it takes two people, and that one has your e-mail address")
            }
            (Some(_), Some(_)) => Ok(()),
            _ if self.issuer == other.issuer => Ok(()),
            _ => Err(
                "it takes two people, and nothing shows that you are two: other providers vouch for you, and one of them tells no e-mail address",
            ),
        }
    }

    /// Whether they may decide about these data: nobody removes traces of their own.
    ///
    /// # Errors
    /// In words.
    pub fn may_decide(&self, scope: &Scope) -> Result<(), &'static str> {
        let same_address = match (address(self.email.as_deref()), address(scope.email.as_deref())) {
            (Some(one), Some(another)) => one.eq_ignore_ascii_case(another),
            _ => false,
        };
        let same_name = scope.kind == SubjectKind::Person && self.user.eq_ignore_ascii_case(&scope.user);
        if scope.is_of(&self.subject, SubjectKind::Person, &self.user) || same_name || same_address {
            return Err("those are your own data: two others have to decide about them");
        }
        Ok(())
    }

    /// Whether they may decide about the data of an account as which these people acted: such acts are traces of theirs.
    ///
    /// # Errors
    /// In words.
    pub fn may_decide_about_acts_of(&self, origins: &[String]) -> Result<(), &'static str> {
        if origins.iter().any(|origin| origin.eq_ignore_ascii_case(&self.user)) {
            return Err(
                "you acted as that account, so that those are your own data, too: two others have to decide about them",
            );
        }
        Ok(())
    }
}

fn address(email: Option<&str>) -> Option<&str> {
    email.map(str::trim).filter(|email| !email.is_empty())
}

/// Somebody asks that something be erased. It counts until `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its name: the id of its record.
    pub id: String,
    /// What.
    pub of: Scope,
    /// Who asks.
    pub asked: Actor,
    /// Why.
    pub why: String,
    /// Since when; recordings that began later are not meant.
    pub at: Timestamp,
    /// Nobody can agree any more then.
    pub until: Timestamp,
}

impl Request {
    /// Whether a key of this class, made then, is asked for: nothing of what came behind the asking.
    #[must_use]
    pub fn has(&self, class: &str, made: Timestamp) -> bool {
        self.of.has(class, made) && made <= self.at
    }
}

/// Nothing of this is erased while it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name: the id of its record.
    pub id: String,
    /// Of what.
    pub of: Scope,
    /// The user name of whoever set it.
    pub by: String,
    /// Who set it, as far as that is known: a release from before kept the user name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Why.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
}

impl Hold {
    /// Whether `actor` may end it: it takes two people to set and to release one, and nobody releases what holds traces of their own.
    ///
    /// # Errors
    /// In words.
    pub fn may_be_released_by(&self, actor: &Actor) -> Result<(), &'static str> {
        actor.may_decide(&self.of)?;
        match &self.actor {
            Some(set) => actor.is_another_than(set),
            None if actor.user.eq_ignore_ascii_case(&self.by) => {
                Err("it takes two people, and whoever set it has your user name")
            }
            None => Ok(()),
        }
    }

    /// Whether it is on what these people did, who acted as somebody else. One on a recording of their own is not.
    #[must_use]
    pub fn is_on_acts_of(&self, origins: &[String]) -> bool {
        self.of.recording.is_none()
            && self.of.kind == SubjectKind::Person
            && origins.iter().any(|origin| origin.eq_ignore_ascii_case(&self.of.user))
    }

    /// Whether it forbids that this key goes. A hold between two times covers the recordings that began in between; and every part of
    /// that person, since one key of theirs is for all times.
    #[must_use]
    pub fn covers(&self, of: &Scope, class: &str, made: Timestamp) -> bool {
        self.of.is_of(&of.subject, of.kind, &of.user)
            && match session_of(class) {
                None => self.of.recording.is_none(),
                Some(_) => self.of.has(class, made),
            }
    }
}

/// What became of a key, for whoever wants to open what it sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// The record that says so.
    pub record: String,
    /// When.
    pub at: Timestamp,
    /// The user name of whoever asked.
    pub asked: String,
    /// The user name of whoever agreed.
    pub agreed: String,
}

impl Erased {
    /// One sentence for whoever wants to see it.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self {
            record,
            at,
            asked,
            agreed,
        } = self;
        format!("erased on {at} by {asked} and {agreed}, record {record}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(number: u8) -> SubjectId {
        SubjectId::from_digest([number; 16])
    }

    fn actor(number: u8, user: &str, issuer: &str, email: Option<&str>) -> Actor {
        Actor {
            subject: subject(number),
            user: user.to_owned(),
            issuer: issuer.to_owned(),
            email: email.map(str::to_owned),
        }
    }

    fn scope(number: u8, user: &str) -> Scope {
        Scope {
            subject: subject(number),
            kind: SubjectKind::Person,
            user: user.to_owned(),
            email: None,
            classes: Vec::new(),
            recording: None,
            from: None,
            to: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn one_human_is_never_two_by_another_credential_provider_or_spelling() {
        let carol = actor(3, "carol", "https://a", Some("carol@example.com"));
        for same in [
            carol.clone(),
            actor(3, "c", "https://a", None),
            actor(9, "Carol", "https://b", Some("other@example.com")),
            actor(9, "other:c.okafor", "https://b", Some(" CAROL@example.com ")),
            actor(9, "other:c.okafor", "https://b", None),
            actor(9, "other:c.okafor", "https://b", Some("  ")),
        ] {
            assert!(carol.is_another_than(&same).is_err(), "{same:?}");
            assert!(same.is_another_than(&carol).is_err(), "{same:?}");
        }
        for other in [
            actor(4, "dave", "https://a", Some("dave@example.com")),
            actor(4, "dave", "https://a", None),
            actor(4, "dave", "https://b", Some("dave@example.com")),
        ] {
            assert_eq!(carol.is_another_than(&other), Ok(()), "{other:?}");
        }
    }

    #[test]
    fn nobody_decides_about_traces_of_their_own() {
        let mut alice = scope(1, "alice");
        assert!(actor(1, "a", "i", None).may_decide(&alice).is_err());
        assert!(actor(2, "alice", "i", None).may_decide(&alice).is_err());
        assert!(actor(2, "bob", "i", Some("A@x")).may_decide(&alice).is_ok());
        alice.email = Some("a@x".to_owned());
        assert!(actor(2, "bob", "i", Some("A@x")).may_decide(&alice).is_err());
        assert!(actor(2, "bob", "i", Some("b@x")).may_decide(&alice).is_ok());
    }

    #[test]
    fn a_request_is_for_what_it_names_and_for_nothing_that_came_later() {
        let mut of = scope(1, "alice");
        let ask = |of: &Scope| Request {
            id: "r".to_owned(),
            of: of.clone(),
            asked: actor(3, "carol", "i", None),
            why: "w".to_owned(),
            at: at(100),
            until: at(200),
        };
        assert!(ask(&of).has("query", at(100)) && ask(&of).has("recording:s", at(100)));
        assert!(!ask(&of).has("query", at(150)));
        assert!(!ask(&of).has("recording:s", at(101)), "it began after it was asked");
        of.classes = vec!["command".to_owned()];
        assert!(ask(&of).has("command", at(1)));
        assert!(!ask(&of).has("query", at(1)) && !ask(&of).has("recording:s", at(1)));
        of.classes = vec!["recording".to_owned()];
        (of.from, of.to) = (Some(at(10)), Some(at(20)));
        let began = |seconds| ask(&of).has("recording:s", at(seconds));
        assert_eq!([began(9), began(10), began(19), began(20)], [false, true, true, false]);
        of.recording = Some("s".to_owned());
        assert!(ask(&of).has("recording:s", at(50)) && !ask(&of).has("recording:t", at(15)));
        assert!(!ask(&of).has("command", at(15)));
    }

    #[test]
    fn a_hold_is_released_by_another_human_than_who_set_it_and_never_by_the_one_it_is_on() {
        let eve = actor(5, "eve", "i", Some("eve@x"));
        let mut hold = Hold {
            id: "h".to_owned(),
            of: Scope {
                email: Some("a@x".to_owned()),
                ..scope(1, "alice")
            },
            by: "eve".to_owned(),
            actor: Some(eve.clone()),
            why: "case".to_owned(),
            at: at(0),
        };
        for no in [
            eve,
            actor(6, "EVE", "i", None),
            actor(6, "e", "j", Some("Eve@x")),
            actor(1, "a", "i", None),
            actor(2, "Alice", "i", None),
            actor(2, "other", "i", Some("A@x")),
        ] {
            assert!(hold.may_be_released_by(&no).is_err(), "{no:?}");
        }
        let dave = actor(4, "dave", "i", Some("dave@x"));
        assert_eq!(hold.may_be_released_by(&dave), Ok(()));
        hold.actor = None;
        assert_eq!(hold.may_be_released_by(&dave), Ok(()));
        assert!(hold.may_be_released_by(&actor(9, "Eve", "j", None)).is_err());
    }

    #[test]
    fn what_somebody_did_as_an_account_is_theirs_to_no_one_s_deciding_and_held_with_them() {
        let origins = ["carol".to_owned(), "bob".to_owned()];
        assert!(actor(3, "Carol", "i", None).may_decide_about_acts_of(&origins).is_err());
        assert!(actor(4, "dave", "i", None).may_decide_about_acts_of(&origins).is_ok());
        let mut hold = Hold {
            id: "h".to_owned(),
            of: scope(3, "carol"),
            by: "eve".to_owned(),
            actor: None,
            why: "case".to_owned(),
            at: at(0),
        };
        assert!(hold.is_on_acts_of(&origins) && !hold.is_on_acts_of(&[]));
        hold.of.recording = Some("s".to_owned());
        assert!(!hold.is_on_acts_of(&origins));
        hold.of = scope(7, "carol");
        hold.of.kind = SubjectKind::ServiceAccount;
        assert!(!hold.is_on_acts_of(&origins));
    }

    #[test]
    fn a_hold_covers_its_person_by_any_of_their_names_and_every_part_whatever_its_times() {
        let hold = |of: Scope| Hold {
            id: "h".to_owned(),
            of,
            by: "eve".to_owned(),
            actor: None,
            why: "case".to_owned(),
            at: at(0),
        };
        let mut held = scope(1, "alice");
        let covers = |held: &Scope, of: &Scope, class: &str, made| hold(held.clone()).covers(of, class, at(made));
        assert!(covers(&held, &scope(1, "alice"), "command", 5));
        assert!(
            covers(&held, &scope(2, "alice"), "recording:s", 5),
            "the same user name"
        );
        assert!(!covers(&held, &scope(2, "bob"), "command", 5));
        (held.from, held.to) = (Some(at(10)), Some(at(20)));
        assert!(covers(&held, &scope(1, "alice"), "command", 5), "one key for all times");
        assert!(covers(&held, &scope(1, "alice"), "recording:s", 10));
        assert!(!covers(&held, &scope(1, "alice"), "recording:s", 20));
        held.recording = Some("s".to_owned());
        assert!(covers(&held, &scope(1, "alice"), "recording:s", 99));
        assert!(!covers(&held, &scope(1, "alice"), "recording:t", 15));
        assert!(!covers(&held, &scope(1, "alice"), "command", 15));
    }
}
