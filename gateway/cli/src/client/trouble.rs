//! What a person reads when a command cannot do its work: what happened, because of what, what to do now.
//!
//! The edge of the client: typed errors of its modules become one of these once, beside the exit code. Text that came
//! from a server loses its control characters on the way ([`clean`]), so that no answer can move the cursor or forge a line of ours.

pub(crate) use model::chain::chain;

use crate::Exit;
use crate::terminal::{Unwritten, say};
pub(crate) use crate::terminal::{clean, clean_lines};

/// A command that did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// How the process ends.
    pub(crate) exit: Exit,
    what: String,
    because: Option<String>,
    remedies: Vec<String>,
}

impl Trouble {
    /// `what` is complete in itself: it is all that some tools show.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: clean(&what.into()),
            because: None,
            remedies: Vec::new(),
        }
    }

    /// The cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.because = Some(clean(&cause.into()));
        self
    }

    /// What the person can do; the first one said is the first to try.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(clean(&remedy.into()));
        self
    }

    /// The words, without a final line end.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![format!("✖ {}", self.what)];
        lines.extend(self.because.iter().map(|cause| format!("  because  {cause}")));
        lines.extend(self.remedies.iter().map(|remedy| format!("  do this  {remedy}")));
        lines.join("\n")
    }

    /// Says it on stderr.
    pub(crate) fn said(&self) -> Exit {
        say(&self.text());
        self.exit
    }
}

impl From<Unwritten> for Trouble {
    fn from(error: Unwritten) -> Self {
        Self::new(Exit::Fault, "not all could be written")
            .because(chain(&error))
            .remedy("see that there is room where it goes, and begin again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_says_what_because_and_what_to_do() {
        let trouble = Trouble::new(Exit::SignIn, "you are not signed in at https://gate.example")
            .because("the session has ended")
            .remedy("gatescribe login https://gate.example");
        assert_eq!(
            trouble.text(),
            "✖ you are not signed in at https://gate.example\n  because  the session has ended\n  do this  gatescribe \
             login https://gate.example"
        );
    }
}
