//! Asks the configured witnesses to cosign the ledger's checkpoints (C2SP tlog-witness), and keeps what they say.
//!
//! One checkpoint is announced to all at most every two seconds, and once a minute where there is none that is newer, so that a
//! quiet ledger has fresh cosignatures, too. Each witness is asked in a task of its own, one request at a time; what it misses
//! meanwhile is not asked any more, only the newest. So a slow witness or one that is away delays neither the others nor the
//! ledger: nobody who appends waits for any of this.
//!
//! Where the ledger's key has changed, each witness is shown that before anything that the new key signed, so that it cosigns nothing more of the old one:
//! whoever has stolen that one would have been first otherwise.
//!
//! A witness that has seen another history under this ledger's name, or has forgotten what it cosigned, is an alarm: it stays until the
//! process ends, is one `damage` record, and stands in the metrics and on `/readyz`.

mod state;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use console::{Fetch as _, HyperFetch};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, Uri};
use ledger::note::{KeyTurn, Note, VerifierKey};
use ledger::witness::{Answer, Asker, NotCosigned, Reply, Rounds, Told, key_of};
use ledger::{Checkpoint, Published, Publisher, Tiles};
use proxy::audit::Station;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::state::{Cause, WitnessState};
pub(super) use self::state::{WitnessMetrics, Witnesses};
use super::books::Books;
use crate::config;

/// A checkpoint is announced at most so often.
const EVERY: Duration = Duration::from_secs(2);
/// The same one is announced again so much later, for a newer time.
const REFRESH: Duration = Duration::from_secs(60);
/// After a failure a witness is left alone for so long, twice as long after each further one.
const REST: Duration = Duration::from_secs(2);
/// Never longer.
const REST_MAX: Duration = Duration::from_secs(60);
/// Exchanges for one cosignature: the first may only tell what the witness knows, and meanwhile somebody else may have shown it more.
const TRIES: usize = 3;

/// A witness that can be asked.
struct Contact {
    key: VerifierKey,
    uri: Uri,
    fetch: HyperFetch,
}

/// Where requests are posted, below the witness's URL.
fn target(url: &str) -> anyhow::Result<Uri> {
    let url = url.trim_end_matches('/');
    format!("{url}/add-checkpoint").parse().context("`url` is no URL")
}

impl Contact {
    fn new(configured: &config::Witness) -> anyhow::Result<Self> {
        let authorities = configured
            .ca_file
            .as_ref()
            .map(|file| std::fs::read(file).with_context(|| format!("cannot read `{file}`")));
        Ok(Self {
            key: key_of(&configured.public_key).context("`publicKey`")?,
            uri: target(&configured.url)?,
            fetch: HyperFetch::new(authorities.transpose()?.as_deref())?,
        })
    }

    async fn ask(&self, body: String) -> Result<Response<Bytes>, String> {
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let answer = self.fetch.fetch(request).await;
        answer.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }
}

/// Looks whether the witnesses of a configuration can be asked at all; asks none.
///
/// # Errors
/// A CA file cannot be read.
pub(super) fn look(ledger: &config::Ledger) -> anyhow::Result<()> {
    contacts(ledger).map(drop)
}

fn contacts(ledger: &config::Ledger) -> anyhow::Result<Vec<(Arc<str>, Contact)>> {
    let one = |witness: &config::Witness| {
        let contact = Contact::new(witness).with_context(|| format!("witness `{}`", witness.name))?;
        Ok((Arc::from(witness.name.as_str()), contact))
    };
    ledger.witnesses.iter().map(one).collect()
}

/// Begins to ask the configured witnesses, until `stop`.
///
/// # Errors
/// As [`look`].
pub(super) fn begin(
    configured: &config::Ledger,
    books: &Books,
    stop: &CancellationToken,
) -> anyhow::Result<Arc<Witnesses>> {
    let contacts = contacts(configured)?;
    let keys: Vec<_> = contacts.iter().map(|(_, contact)| contact.key.clone()).collect();
    let quorum = configured
        .quorum
        .map_or(keys.len(), |quorum| usize::try_from(quorum).unwrap_or(usize::MAX));
    let names = contacts.iter().map(|(name, _)| Arc::clone(name));
    let publisher = Arc::clone(&books.publisher);
    let witnesses = Arc::new(Witnesses::new(names, quorum, publisher, super::now()));
    if contacts.is_empty() {
        return Ok(witnesses);
    }
    let rounds = Rounds::new(keys, quorum);
    let (kept, changes) = (kept(&books.publisher), changes(&books.publisher));
    go_on(&books.publisher, &kept, &rounds);
    let desk = Arc::new(Desk {
        publisher: Arc::clone(&books.publisher),
        tiles: books.ledger.tiles(),
        audit: Arc::clone(&books.audit),
        rounds: Mutex::new(rounds),
    });
    let stated = changes.iter().filter_map(|change| KeyTurn::read(&change.note));
    let mut own = books.publisher.keys();
    own.extend(stated.flat_map(|change| [change.old, change.next]));
    let (announce, announced) = watch::channel(None);
    for ((name, contact), state) in contacts.into_iter().zip(witnesses.all()) {
        tracing::info!(witness = &*name, key = %contact.key, url = %contact.uri, "checkpoints are shown to this witness");
        // Whoever configured something else than a key of cosignatures was told so above.
        let Some(asker) = Asker::new(contact.key.clone(), &kept) else {
            continue;
        };
        let asking = Asking {
            asker: asker.of_log(&own),
            contact: Arc::new(contact),
            desk: Arc::clone(&desk),
            state: Arc::clone(state),
            changes: changes.clone(),
        };
        tokio::spawn(asking.follow(announced.clone(), stop.clone()));
    }
    tokio::spawn(announce_all(desk, announce, stop.clone()));
    Ok(witnesses)
}

/// What witnesses have cosigned before this run, so that one that has forgotten it since is found out. Files that cannot be read cost
/// this, and not the start: nothing is proved by them.
fn kept(publisher: &Publisher) -> Vec<Note> {
    publisher.kept_witnessed().unwrap_or_else(|error| {
        let why = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(
            why,
            "what witnesses have cosigned before cannot be read; that one has forgotten it would not be noticed"
        );
        Vec::new()
    })
}

/// Serves on what was witnessed before this run, as far as it has the cosignatures that are asked for today.
fn go_on(publisher: &Publisher, kept: &[Note], rounds: &Rounds) {
    let witnessed = kept.iter().filter(|note| rounds.is_witnessed(note));
    if let Err(error) = publisher.go_on_witnessed(witnessed) {
        let why = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(
            why,
            "what was witnessed before this start cannot be compared with the records, and is not served until witnesses answer"
        );
    }
}

/// How the ledger's key has changed, the oldest first: checkpoints that both keys of each signed. Where they cannot be read, witnesses have to be told by
/// their operators.
fn changes(publisher: &Publisher) -> VecDeque<Arc<Published>> {
    let notes = publisher.key_changes().unwrap_or_else(|error| {
        let why = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(
            why,
            "the changes of the ledger's key cannot be read, and so not shown to witnesses"
        );
        Vec::new()
    });
    let stated = notes.into_iter().filter_map(|note| {
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let at = super::now();
        Some(Arc::new(Published { note, checkpoint, at }))
    });
    stated.collect()
}

/// What all of them share.
struct Desk {
    publisher: Arc<Publisher>,
    tiles: Tiles,
    audit: Arc<Station>,
    rounds: Mutex<Rounds>,
}

impl Desk {
    fn rounds(&self) -> std::sync::MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest checkpoint, awaited from now on.
    fn newest(&self) -> Option<Arc<Published>> {
        let newest = self.publisher.newest()?;
        self.rounds().begin(&newest);
        Some(newest)
    }
}

type Announced = Option<Arc<Published>>;

async fn announce_all(desk: Arc<Desk>, announce: watch::Sender<Announced>, stop: CancellationToken) {
    let mut beat = tokio::time::interval(EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<(u64, Instant)> = None;
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let Some(newest) = desk.publisher.newest() else {
            continue;
        };
        let size = newest.checkpoint.size;
        if last.is_none_or(|(before, at)| before != size || at.elapsed() >= REFRESH) {
            last = Some((size, Instant::now()));
            announce.send_replace(desk.newest());
        }
    }
}

/// One witness, asked one request at a time.
struct Asking {
    asker: Asker,
    contact: Arc<Contact>,
    desk: Arc<Desk>,
    state: Arc<WitnessState>,
    /// What it has not been shown yet of how the ledger's key changed.
    changes: VecDeque<Arc<Published>>,
}

impl Asking {
    async fn follow(mut self, mut announced: watch::Receiver<Announced>, stop: CancellationToken) {
        let mut failed = 0_u32;
        loop {
            let rest = match failed.checked_sub(1) {
                None => Duration::ZERO,
                Some(before) => REST.saturating_mul(1 << before.min(10)).min(REST_MAX),
            };
            let next = async {
                tokio::time::sleep(rest).await;
                // After a failure the newest one is asked for again, whether it was announced since or not.
                failed > 0 || announced.changed().await.is_ok()
            };
            tokio::select! {
                goes_on = next => if !goes_on { return },
                () = stop.cancelled() => return,
            }
            let Some(published) = announced.borrow_and_update().clone() else {
                continue;
            };
            tokio::select! {
                well = self.once_and_record(published) => failed = if well { 0 } else { failed.saturating_add(1) },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Asks for a cosignature of this checkpoint, or of the newest; says whether there is one.
    async fn once(&mut self, published: Arc<Published>) -> bool {
        match self.exchange(published).await {
            Ok(()) => {
                if self.state.is_well() {
                    tracing::info!(witness = &*self.state.name, "the witness cosigns");
                }
                true
            }
            Err(failure) => {
                self.fail(&failure);
                false
            }
        }
    }

    /// Also after a success: an alarm that could not be recorded is when it can.
    async fn once_and_record(&mut self, published: Arc<Published>) -> bool {
        let is_well = self.once(published).await;
        self.state.unrecorded.record(&self.desk.audit).await;
        is_well
    }

    async fn exchange(&mut self, mut published: Arc<Published>) -> Result<(), Failure> {
        self.show_changes().await?;
        for _ in 0..TRIES {
            if self.asker.known() > published.checkpoint.size {
                published = self.desk.newest().unwrap_or(published);
            }
            if let Reply::Cosigned { signature, time } = self.ask(&published).await? {
                self.state
                    .cosigned(published.checkpoint.size, time, self.desk.audit.clock().read().wall);
                return self.deliver(published, signature).await;
            }
        }
        Err(Failure::Said(NotCosigned::Answer))
    }

    /// Shows it how the ledger's key changed, as far as it has not cosigned more than that since. One that cannot take it, such as one that another
    /// program runs, is asked about the newest checkpoint all the same, and shown it again until it has cosigned more.
    async fn show_changes(&mut self) -> Result<(), Failure> {
        while let Some(change) = self.changes.front().cloned() {
            match self.show(&change).await {
                Ok(()) => drop(self.changes.pop_front()),
                Err(Failure::Said(said)) if said.is_refusal() => {
                    tracing::debug!(witness = &*self.state.name, why = %said, "the witness takes no change of the ledger's key");
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    async fn show(&mut self, change: &Arc<Published>) -> Result<(), Failure> {
        for _ in 0..TRIES {
            if self.asker.known() > change.checkpoint.size {
                return Ok(());
            }
            if let Reply::Cosigned { .. } = self.ask(change).await? {
                let size = change.checkpoint.size;
                tracing::info!(
                    witness = &*self.state.name,
                    size,
                    "the witness was shown that the ledger's key has changed"
                );
                return Ok(());
            }
        }
        Err(Failure::Said(NotCosigned::Answer))
    }

    /// Asks once for a cosignature of this checkpoint.
    async fn ask(&mut self, published: &Arc<Published>) -> Result<Reply, Failure> {
        let body = self.body(published).await?;
        let answer = self.contact.ask(body).await.map_err(Failure::Away)?;
        let newest = self.desk.publisher.newest();
        let newest = newest.map_or(0, |newest| newest.checkpoint.size);
        let content_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let answer = Answer {
            status: answer.status().as_u16(),
            content_type,
            body: answer.body(),
        };
        Ok(self.asker.take(published, newest, &answer)?)
    }

    /// The request; hashes are read from the disk for it.
    async fn body(&self, published: &Arc<Published>) -> Result<String, Failure> {
        let (asker, tiles, published) = (self.asker.clone(), self.desk.tiles.clone(), Arc::clone(published));
        let made = tokio::task::spawn_blocking(move || asker.request(&tiles, &published));
        let made = made.await.map_err(|error| Failure::Own(error.to_string()))?;
        Ok(made?.to_string())
    }

    async fn deliver(&self, published: Arc<Published>, signature: ledger::note::Signature) -> Result<(), Failure> {
        let told = self.desk.rounds().take(published.note.text(), signature);
        let Told::Witnessed(witnessed) = told else {
            return Ok(());
        };
        let publisher = Arc::clone(&self.desk.publisher);
        let kept = tokio::task::spawn_blocking(move || publisher.take_witnessed(&witnessed));
        let kept = kept.await.map_err(|error| Failure::Own(error.to_string()))?;
        kept.map_err(|error| Failure::Own(format!("{:#}", anyhow::Error::new(error))))
    }

    fn fail(&self, failure: &Failure) {
        let (cause, why) = (failure.cause(), failure.to_string());
        let name = &*self.state.name;
        match cause.alarm() {
            Some(what) if self.state.alarmed(cause, &why) => {
                tracing::error!(witness = name, why, "ALARM: this witness {what}");
                let words = format!("alarm: the witness `{name}` {what}: {why}");
                self.state.unrecorded.put(words);
            }
            None if self.state.failed(cause, &why) => {
                tracing::warn!(witness = name, why, "the witness does not cosign; it is asked again");
            }
            _ => {}
        }
    }
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Away(String),
    #[error(transparent)]
    Said(#[from] NotCosigned),
    #[error("its cosignature cannot be kept: {0}")]
    Own(String),
}

impl Failure {
    fn cause(&self) -> Cause {
        match self {
            Self::Away(_) => Cause::Unreachable,
            Self::Own(_) => Cause::Own,
            Self::Said(said) => match said {
                NotCosigned::Ahead { .. }
                | NotCosigned::Forked { .. }
                | NotCosigned::Inconsistent { .. }
                | NotCosigned::Followed { .. } => Cause::OtherHistory,
                NotCosigned::Forgot { .. } => Cause::Forgot,
                NotCosigned::Unknown { .. } => Cause::Unknown,
                NotCosigned::Status { .. } | NotCosigned::Answer | NotCosigned::Signature { .. } => Cause::Answer,
                NotCosigned::Files { .. } | NotCosigned::Proof(_) => Cause::Own,
            },
        }
    }
}

#[cfg(test)]
mod tests;
