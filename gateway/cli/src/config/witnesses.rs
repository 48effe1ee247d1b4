//! Who witnesses the ledger, and whose ledgers this gateway witnesses.

use std::collections::BTreeSet;

use ledger::note::{Algorithm, VerifierKey};
use ledger::witness::key_of;

use super::check::{Check, is_https_or_loopback, is_label};
use super::types::{Config, Listener, Serves, Witness};

/// What verifiers have to read of a note's signatures is 16 (signed-note), and one is the log's own.
const MOST_WITNESSES: usize = 15;
/// Keys of logs that a gateway witnesses; replicas are few.
const MOST_WITNESSED: usize = 64;

impl Check<'_> {
    pub(super) fn witnesses(&mut self, config: &Config) {
        let (witnesses, quorum) = (&config.ledger.witnesses, config.ledger.quorum);
        if let Some(quorum) = quorum.filter(|quorum| usize::try_from(*quorum).unwrap_or(usize::MAX) > witnesses.len()) {
            let (what, help) = if witnesses.is_empty() {
                (
                    "`quorum` has no effect without witnesses".to_owned(),
                    "add some under `witnesses`, or remove it",
                )
            } else {
                let many = witnesses.len();
                (
                    format!("`quorum` is {quorum}, and there are {many} witnesses: nothing would ever be witnessed"),
                    "lower it, or add witnesses",
                )
            };
            self.say("/ledger/quorum", what, "this number", help);
        }
        if witnesses.len() > MOST_WITNESSES {
            let what = format!("more than {MOST_WITNESSES} witnesses");
            self.say(
                "/ledger/witnesses",
                what,
                "this list",
                "most verifiers read no more signatures of a checkpoint",
            );
        }
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (i, witness) in witnesses.iter().enumerate() {
            let at = |key: &str| format!("/ledger/witnesses/{i}/{key}");
            if !names.insert(&witness.name) {
                let what = "two witnesses have this name";
                self.say(&at("name"), what, "the second one", "give each its own name");
            }
            if key_of(&witness.public_key).is_ok_and(|key| !keys.insert(key.to_string())) {
                let (what, help) = ("two witnesses have this key", "one entry per witness: each counts once");
                self.say(&at("publicKey"), what, "the second one", help);
            }
            self.witness(witness, &at);
        }
    }

    fn witness(&mut self, witness: &Witness, at: &dyn Fn(&str) -> String) {
        if !is_label(&witness.name) {
            let help = "write a short word of letters, digits, `-`, `_` and `.`, such as `site-b`";
            self.say(
                &at("name"),
                "`name` is no name for metrics and logs",
                "this value",
                help,
            );
        }
        if !is_https_or_loopback(&witness.url) {
            self.say(
                &at("url"),
                "`url` is no https URL of a witness",
                "this value",
                "write for example `https://witness.example.com`; plain http is accepted on loopback only",
            );
        }
        if let Err(why) = key_of(&witness.public_key) {
            self.say(
                &at("publicKey"),
                format!("`publicKey` is no key of a witness: {why}"),
                "this value",
                "write the `NAME+ID+KEY` that the witness says at its start",
            );
        }
    }

    /// Whom this gateway is a witness of, and where it is asked.
    pub(super) fn witness_for(&mut self, config: &Config) {
        let (logs, mut keys) = (&config.ledger.witness_for, BTreeSet::new());
        let is_asked = |listener: &Listener| listener.serves.contains(&Serves::Witness);
        if !logs.is_empty() && !config.listeners.iter().any(is_asked) {
            self.say(
                "/ledger/witnessFor",
                "no listener serves `witness`: nobody could ask for a cosignature",
                "these logs",
                "add a listener with `serves: [witness]`",
            );
        }
        if logs.len() > MOST_WITNESSED {
            let what = format!("more than {MOST_WITNESSED} keys of logs");
            let help = "run `gatescribe ledger witness` for so many, apart from a gateway";
            self.say("/ledger/witnessFor", what, "this list", help);
        }
        for (i, log) in logs.iter().enumerate() {
            let at = format!("/ledger/witnessFor/{i}");
            let (what, help) = match log.parse::<VerifierKey>() {
                Err(why) => (
                    format!("this is no public key of a log: {why}"),
                    "write the `NAME+ID+KEY` that the other gateway says at its start",
                ),
                Ok(key) if key.algorithm() != Algorithm::Ed25519 => (
                    "this is the key of a witness, and not of a log".to_owned(),
                    "write the `NAME+ID+KEY` that `gatescribe ledger key keys/ledger.key` prints there",
                ),
                Ok(key) if !keys.insert(key.to_string()) => (
                    "two of the logs have this key".to_owned(),
                    "name each key once, the newest of a log last",
                ),
                Ok(_) => continue,
            };
            self.say(&at, what, "this text", help);
        }
        for (i, listener) in config.listeners.iter().enumerate().filter(|(_, one)| is_asked(one)) {
            let at = format!("/listeners/{i}/serves");
            if listener.serves.len() > 1 {
                self.say(
                    &at,
                    "a listener that serves `witness` serves nothing else",
                    "not only `witness`",
                    "give it a listener of its own: whoever asks there is not signed in",
                );
            }
            if logs.is_empty() {
                self.say(
                    &at,
                    "`witness` has no effect: there is no log to witness",
                    "nobody is witnessed",
                    "name the public keys of logs in `ledger.witnessFor`, or remove it",
                );
            }
        }
    }
}
