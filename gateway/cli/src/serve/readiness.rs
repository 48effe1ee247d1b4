//! What `/readyz` says: one line for each thing that has to be well before a request can be served, with the reason when it
//! is not. What is only half well says so and does not take the gateway out of service; nor does one cluster of several.

use std::sync::Arc;
use std::time::Instant;

use feeds::issuers::IssuerFeed;
use ledger::{Ledger, Publisher};
use proxy::audit::Station;
use proxy::session::Registry;
use reach::{Identity, Trouble};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::account_issuers;
use super::admin::{Check, Health, Part};
use super::cluster::{Joined, STALE_AFTER};
use super::reload;
use super::room::Room;
use super::services::Standing;
use super::standing::Found;
use super::trust_domains::Source;
use super::unrecorded;
use super::witnesses::Witnesses;

/// What is looked at.
pub(super) struct Parts<'a> {
    pub(super) told_to_stop: CancellationToken,
    /// What goes on without a record while the ledger cannot write, in words.
    pub(super) weakened: Option<String>,
    pub(super) note: Arc<reload::Note>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) audit: Arc<Station>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) found: Arc<Found>,
    pub(super) witnesses: Arc<Witnesses>,
    pub(super) store: Arc<state::Store>,
    pub(super) calls: Arc<Registry>,
    pub(super) room: Room,
    pub(super) trust: watch::Receiver<Arc<oidc::Trust>>,
    pub(super) feed: Arc<IssuerFeed>,
    pub(super) workloads: &'a [Arc<Source>],
    pub(super) services: watch::Receiver<Arc<Standing>>,
    pub(super) clusters: &'a [Joined],
}

/// All lines, in the order in which they are shown.
pub(super) fn checks(parts: Parts<'_>) -> Vec<Part> {
    let Parts {
        told_to_stop,
        weakened,
        note,
        ledger,
        audit,
        publisher,
        found,
        witnesses,
        store,
        calls,
        room,
        trust,
        feed,
        workloads,
        services,
        clusters,
    } = parts;
    let mut checks: Vec<(String, Check)> = vec![
        ("shutdown".to_owned(), Box::new(move || shutdown(&told_to_stop))),
        ("configuration".to_owned(), Box::new(move || note.health())),
        (
            "ledger".to_owned(),
            Box::new(move || unrecorded::ledger_health(ledger.trouble().as_ref(), audit.unkept().as_ref())),
        ),
        ("checkpoints".to_owned(), Box::new(move || signed(publisher.trouble()))),
        ("state".to_owned(), Box::new(move || state(store.answers()))),
        ("recordings".to_owned(), Box::new(move || room.health())),
        (
            "long calls".to_owned(),
            Box::new(move || kept(calls.trouble(super::now()))),
        ),
    ];
    if let Some(warning) = weakened {
        checks.push(("fail modes".to_owned(), Box::new(move || Health::But(warning.clone()))));
    }
    // A line that always says `ok` of a check that is off would be a lie; what the start has found is said all the same.
    if found.is_on() || found.count() > 0 {
        checks.push(("ledger check".to_owned(), Box::new(move || found.health())));
    }
    if witnesses.health().is_some() {
        let check = move || witnesses.health().unwrap_or(Health::Good);
        checks.push(("witnesses".to_owned(), Box::new(check)));
    }
    let urls: Vec<String> = trust
        .borrow()
        .issuers
        .iter()
        .map(|issuer| issuer.url().to_owned())
        .collect();
    for url in urls {
        let (trust, feed) = (trust.clone(), Arc::clone(&feed));
        let name = format!("issuer {url}");
        let check = move || {
            let known = &trust.borrow().keys;
            issuer(known.contains_key(url.as_str()), !known.is_empty(), feed.trouble(&url))
        };
        checks.push((name, Box::new(check)));
    }
    for source in workloads.iter().map(Arc::clone) {
        checks.push((source.name(), Box::new(move || source.health())));
    }
    let started = Instant::now();
    let check = move || services.borrow().health(started);
    checks.push(("services".to_owned(), Box::new(check)));
    let ours = checks.into_iter().map(|(name, check)| Part {
        name,
        cluster: None,
        check,
    });
    ours.chain(clusters.iter().flat_map(of_cluster)).collect()
}

fn of_cluster(joined: &Joined) -> [Part; 4] {
    let (view, heard) = (joined.view.clone(), joined.heard.clone());
    let gate = Arc::clone(&joined.gate);
    let snapshot = move || {
        let now = super::now();
        let silent = heard.silent(now, STALE_AFTER);
        cluster(gate.decision.is_ready(now), &view.borrow().missing, &silent)
    };
    let connection = Arc::clone(&joined.connection);
    let impersonator = move || credential(connection.impersonator());
    let connection = Arc::clone(&joined.connection);
    let observer = move || credential(connection.observer());
    let (issuer, is_said) = (joined.account_issuer.clone(), joined.says_account_issuer);
    let accounts = move || account_issuers::health(&issuer.borrow(), is_said);
    let part = |what: &str, check: Check| Part {
        name: format!("cluster {}{what}", joined.id),
        cluster: Some(joined.id.clone()),
        check,
    };
    [
        part("", Box::new(snapshot)),
        part(" impersonator", Box::new(impersonator)),
        part(" observer", Box::new(observer)),
        part(" service account issuer", Box::new(accounts)),
    ]
}

fn shutdown(told_to_stop: &CancellationToken) -> Health {
    let told = told_to_stop.is_cancelled();
    Health::unless(told.then(|| "told to stop: no new requests are taken, those under way may end".to_owned()))
}

/// Records that are not signed are durable all the same; the gateway goes on, and somebody should look.
fn signed(trouble: Option<String>) -> Health {
    trouble.map_or(Health::Good, |why| {
        Health::But(format!("new records are not signed: {why}"))
    })
}

/// What broke was begun again and ended what it could not judge; somebody should look.
fn kept(trouble: Option<String>) -> Health {
    trouble.map_or(Health::Good, Health::But)
}

fn state(answer: Result<(), state::StateError>) -> Health {
    Health::unless(answer.err().map(|error| format!("{:#}", anyhow::Error::new(error))))
}

/// One issuer that is not ready shuts its own people out only; without any nobody can sign in.
fn issuer(known: bool, any_known: bool, trouble: Option<String>) -> Health {
    match (known, trouble) {
        (true, None) => Health::Good,
        (true, Some(why)) => Health::But(format!(
            "its keys cannot be fetched anew, the last good ones stay: {why}"
        )),
        (false, why) => {
            let why = why.unwrap_or_else(|| "not fetched yet".to_owned());
            let text = format!("its keys are not known: {why}");
            if any_known {
                Health::But(text)
            } else {
                Health::NotReady(text)
            }
        }
    }
}

fn cluster(ready: bool, missing: &[&str], silent: &[&str]) -> Health {
    if ready {
        return Health::Good;
    }
    Health::NotReady(if !missing.is_empty() {
        format!("not listed yet: {}", missing.join(", "))
    } else if silent.is_empty() {
        "what was listed is being put together".to_owned()
    } else {
        format!("nothing heard for {} s: {}", STALE_AFTER.as_secs(), silent.join(", "))
    })
}

fn credential(identity: &Identity) -> Health {
    match identity.trouble() {
        None => Health::Good,
        Some(Trouble::Refused) => Health::NotReady("the cluster does not accept this credential (401)".to_owned()),
        Some(Trouble::Unreadable(why)) => Health::But(format!(
            "its files cannot be read anew, the previous content stays in use: {why}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_was_told_to_stop_is_not_ready() {
        let told = CancellationToken::new();
        assert_eq!(shutdown(&told), Health::Good);
        told.cancel();
        assert!(matches!(shutdown(&told), Health::NotReady(why) if why.starts_with("told to stop")));
    }

    #[test]
    fn an_issuer_without_keys_says_why_and_counts_only_when_it_is_the_last() {
        let why = || Some("connection refused".to_owned());
        assert_eq!(issuer(true, true, None), Health::Good);
        assert!(matches!(issuer(true, true, why()), Health::But(text) if text.ends_with("stay: connection refused")));
        assert_eq!(
            issuer(false, true, why()),
            Health::But("its keys are not known: connection refused".to_owned())
        );
        assert_eq!(
            issuer(false, false, why()),
            Health::NotReady("its keys are not known: connection refused".to_owned())
        );
        assert_eq!(
            issuer(false, false, None),
            Health::NotReady("its keys are not known: not fetched yet".to_owned())
        );
    }

    #[test]
    fn a_cluster_that_is_not_ready_names_the_kinds() {
        assert_eq!(cluster(true, &[], &[]), Health::Good);
        assert_eq!(
            cluster(false, &["Role", "Namespace"], &["Role"]),
            Health::NotReady("not listed yet: Role, Namespace".to_owned())
        );
        assert_eq!(
            cluster(false, &[], &["RoleBinding"]),
            Health::NotReady("nothing heard for 90 s: RoleBinding".to_owned())
        );
    }

    #[test]
    fn a_database_that_does_not_answer_is_said_with_its_reason() {
        assert_eq!(state(Ok(())), Health::Good);
        let broken = state(Err(state::StateError::Foreign { found: 1 }));
        assert!(matches!(broken, Health::NotReady(why) if why.contains("not one of Gatescribe")));
    }
}
