//! The three people of the demo. Fixed: documentation, screenshots and the history name them.

/// One person of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// The short name, also what `login_hint` takes.
    pub username: &'static str,
    /// The provider's stable, opaque `sub`.
    pub subject: &'static str,
    /// The full name.
    pub name: &'static str,
    /// The e-mail address; always verified.
    pub email: &'static str,
    /// What the person does, in words.
    pub role: &'static str,
    /// The groups that the ID token carries.
    pub groups: &'static [&'static str],
}

/// Everyone there is.
pub const PEOPLE: [Person; 3] = [
    Person {
        username: "alice",
        subject: "d7c1a9e0-alice",
        name: "Alice Moreau",
        email: "alice@demo.example",
        role: "developer",
        groups: &["dev"],
    },
    Person {
        username: "bob",
        subject: "5b02f4c3-bob",
        name: "Bob Tanaka",
        email: "bob@demo.example",
        role: "site reliability engineer",
        groups: &["sre"],
    },
    Person {
        username: "carol",
        subject: "91e6d8b7-carol",
        name: "Carol Okafor",
        email: "carol@demo.example",
        role: "auditor",
        groups: &["audit"],
    },
];

/// Finds a person by short name or e-mail address.
#[must_use]
pub fn person(hint: &str) -> Option<&'static Person> {
    PEOPLE
        .iter()
        .find(|person| person.username == hint || person.email == hint)
}
