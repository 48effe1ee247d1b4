//! What is written down and kept: the ledger, the state file, and the audit station that writes to them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use console::GatewayUrl;
use ledger::note::{Signer, SigningKey};
use ledger::{Disk, Ledger, OpenError, PublishError, Publisher, RealDisk};
use model::chain::chain;
use proxy::audit::{self, Station};
use proxy::clock::Clock;
use proxy::session::{RecordingMetrics, Recordings, SessionsToRecord, Writers};
use tokio_util::sync::CancellationToken;

use super::data::DataDir;
use super::room::Room;
use super::{
    audit_file, erasing, limits, names, now, origins, part_keys, recorder, standing, through, unrecorded, unsigned,
};
use crate::config::{Config, RecordedSessions};

/// The state file in the data folder.
pub(crate) const STATE: &str = "state.sqlite";

/// The ledger, the state file and the audit station.
pub(super) struct Books {
    pub(super) ledger: Arc<Ledger>,
    /// Who signs it.
    pub(super) publisher: Arc<Publisher>,
    /// Ends it.
    pub(super) ending: Ending,
    /// What the standing check finds in it.
    pub(super) found: Arc<standing::Found>,
    pub(super) store: Arc<state::Store>,
    pub(super) audit: Arc<Station>,
    /// How much of which call is recorded.
    pub(super) policy: audit_file::InForce,
    /// How sessions are recorded.
    pub(super) recordings: Recordings,
    /// Where the ledger lies.
    pub(super) dir: PathBuf,
    /// What opens the names in it, where they are sealed.
    pub(super) names: Option<Arc<dyn ledger::Names>>,
    /// How many records the origins in the state file stand on.
    origins_from: u64,
}

impl Books {
    /// Opens them, recovers what the last run left, and records the start and the configuration in force.
    ///
    /// # Errors
    /// One of them cannot be opened, read or written.
    pub(super) async fn open(
        config: &Config,
        data: &DataDir,
        url: &GatewayUrl,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let boot: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let dir = ledger_dir(config, data);
        let ledger = open_ledger(config, (&dir, &data.at("keys")), &boot)?;
        let store = Arc::new(open_store(data)?);
        let names = names::begin(config.ledger.names, &ledger, &dir, &store)?;
        let (publisher, before) = publisher(&ledger, &dir, data, url, (&boot, &store))?;
        let publisher = Arc::new(publisher);
        // What fails from here on ends the ledger in order.
        let ending = Ending::of(&ledger, &publisher);
        audit::gather(&ledger, stop.clone());
        let epoch = ledger.durable().size;
        let keys = Arc::new(part_keys::StoredKeys {
            store: Arc::clone(&store),
        });
        let recordings = recordings(config, data, Arc::clone(&keys))?;
        let audit = Station::keeping_parts(Arc::clone(&ledger), clock.clone(), boot, limits(&config.limits), keys);
        audit.keeps_bodies(audit::Bodies::new(data.digest_key()?));
        let origins_from =
            origins::restore(epoch, &store, &audit).context("who holds issued credentials cannot be read")?;
        let foreign = unsigned::foreign(&dir, origins_from, &before, &store);
        let foreign = foreign.context("which records are not the gateway's cannot be read")?;
        origins::read_on((&dir, names.as_ref(), &foreign), origins_from, &audit)
            .context("who holds issued credentials cannot be read")?;
        through::fill((&dir, names.as_ref(), &foreign), origins_from, epoch, &store)
            .context("who acted as which account cannot be read")?;
        let finished = erasing::finish((&dir, names.as_ref()), origins_from, &before, &store);
        let finished = finished.context("what was erased cannot be carried out")?;
        // What was read on the way was opened with keys that may be gone by now.
        ledger.forget_name_keys();
        // All of the end is signed by now.
        store.forget_words().context("the session store cannot be written")?;
        finished.say();
        recorder::start(&audit, url.as_str(), epoch, names.is_some()).await?;
        recorder::config(&audit, config).await?;
        unrecorded::begin(&audit, &config.ledger, data, (&dir, epoch), &publisher).await?;
        let mut policy = audit_file::InForce::default();
        policy.put(&audit, audit_file::read(config)?).await?;
        let found = standing::Found::new(config.ledger.check_rate.bytes() > 0);
        foreign.alarms().for_each(|words| found.say(&words));
        Ok(Self {
            ledger,
            publisher,
            ending,
            found: Arc::new(found),
            store,
            audit,
            policy,
            recordings,
            dir,
            names,
            origins_from,
        })
    }

    /// The room of recordings.
    pub(super) fn room(&self) -> Room {
        Room {
            folder: self.recordings.folder.clone(),
            keeps_free: self.recordings.keeps_free,
        }
    }

    /// Begins what keeps them in order beside requests.
    pub(super) fn keep_in_order(&self, config: &Config, data: &DataDir, clock: &Clock, stop: &CancellationToken) {
        if self.found.is_on() {
            let checker = standing::Checker {
                ledger: Arc::clone(&self.ledger),
                audit: Arc::clone(&self.audit),
                disk: Arc::new(RealDisk::new(&self.dir)),
                kept: data.at("ledger-check"),
                keys: self.publisher.keys(),
                rate: config.ledger.check_rate.bytes(),
                found: Arc::clone(&self.found),
            };
            tokio::spawn(checker.run(stop.clone()));
        }
        let (audit, store) = (Arc::clone(&self.audit), Arc::clone(&self.store));
        let origins = origins::keep(audit, Arc::clone(&self.ledger), store, self.origins_from, stop.clone());
        tokio::spawn(origins);
        tokio::spawn(super::chores::summaries(Arc::clone(&self.audit), stop.clone()));
        tokio::spawn(unrecorded::gaps(Arc::clone(&self.audit), stop.clone()));
        tokio::spawn(part_keys::renew(
            Arc::clone(&self.audit),
            Arc::clone(&self.store),
            config.ledger.part_key_age,
            stop.clone(),
        ));
        tokio::spawn(super::clock_steps::watch(Arc::clone(&self.audit), stop.clone()));
        tokio::spawn(super::chores::sweeps(
            Arc::clone(&self.store),
            clock.clone(),
            stop.clone(),
        ));
    }
}

/// Ends the ledger in order, whoever fails: a start that breaks off has recorded something, too, and where nobody signs it the next start says that nothing proves who wrote it.
#[derive(Debug)]
pub(super) struct Ending {
    ledger: Arc<Ledger>,
    publisher: Arc<Publisher>,
}

impl Ending {
    fn of(ledger: &Arc<Ledger>, publisher: &Arc<Publisher>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            publisher: Arc::clone(publisher),
        }
    }

    /// Closes the ledger and signs its end; nobody else opens it before. A second time it does nothing. Blocking.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(super) fn end(&self) -> Result<(), PublishError> {
        self.ledger.close_and(|| self.publisher.finish())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(
                error = chain(&error),
                "the ledger's end is not signed: the next start records that nothing proves who wrote its last records; see that the key and the disk can be used, and start again"
            );
        }
    }
}

/// Opens the ledger for writing; one process at a time does. `beside` is the folder of its key.
///
/// # Errors
/// Another one writes to it, or it cannot be opened.
pub(crate) fn open_ledger(
    config: &Config,
    (dir, beside): (&Path, &Path),
    boot: &Arc<str>,
) -> anyhow::Result<Arc<Ledger>> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the ledger's folder `{}`", dir.display()))?;
    let options = ledger::Options {
        segment_bytes: config.ledger.segment_size.bytes(),
        queue_bytes: usize::try_from(config.ledger.queue_size.bytes()).context("`ledger.queueSize` is too large")?,
        boot: Arc::clone(boot),
        clock: Arc::new(now),
        beside: Some(Arc::new(RealDisk::new(beside))),
        ..ledger::Options::default()
    };
    let (ledger, recovery) = Ledger::open(dir, options, Arc::new(RealDisk::new(dir))).map_err(|error| {
        let what_to_do = what_to_do(&error);
        anyhow::Error::new(error).context(format!("the ledger cannot be opened{what_to_do}"))
    })?;
    if recovery.dropped_bytes > 0 || !recovery.unfinished.is_empty() {
        tracing::warn!(
            dropped_bytes = recovery.dropped_bytes,
            unknown = recovery.unfinished.len(),
            "the last run did not end in order: calls without an end are recorded as `outcome unknown`"
        );
    }
    Ok(Arc::new(ledger))
}

/// What helps where the error does not say it itself.
fn what_to_do(error: &OpenError) -> &'static str {
    let OpenError::Io { source, .. } = error else { return "" };
    match source.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => {
            " (mount its file system for writing, or set `ledger.dir` to one that is; a disk that turned read-only by itself has \
             failed: look at it first)"
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            " (make room on its file system: no record is ever deleted for it)"
        }
        std::io::ErrorKind::PermissionDenied => " (it has to belong to whoever the gateway runs as)",
        _ => "",
    }
}

/// Begins to sign the ledger, when what nobody had signed of it was looked at. Says its public key, since whoever verifies it must have it from elsewhere than from the disk
/// that he verifies.
fn publisher(
    ledger: &Arc<Ledger>,
    dir: &Path,
    data: &DataDir,
    url: &GatewayUrl,
    (boot, store): (&str, &state::Store),
) -> anyhow::Result<(Publisher, erasing::Before)> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let beside: Arc<dyn Disk> = Arc::new(RealDisk::new(&data.at("keys")));
    let is_signed = dir.join(ledger::NEWEST_CHECKPOINT).exists();
    let host = url.as_str().parse::<http::Uri>().ok();
    let host = host.as_ref().and_then(http::Uri::host).unwrap_or("gatescribe");
    let mut key = data.ledger_key(host, is_signed)?;
    let next = data.next_ledger_key()?;
    let keys: Vec<_> = std::iter::once(&key).chain(&next).map(Signer::key).collect();
    let before = unsigned::refuse(ledger, (dir, &data.at("keys")), &keys, store, boot)?;
    if let Some(next) = next {
        key = turn(ledger, [&disk, &beside], data, [key, next], boot)?;
    }
    tracing::info!(key = %key.key(), "the ledger is signed: verifiers need this public key from you, not from its disk");
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::new(key)];
    let publisher =
        Publisher::start(ledger, disk, Some(beside), signers, Arc::new(now)).context("the ledger cannot be signed")?;
    for cut in publisher.mended() {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = %String::from_utf8_lossy(&cut.bytes),
            "half a checkpoint stood at the end of this file, as a crash or a full disk leaves it; it was cut off"
        );
    }
    Ok((publisher, before))
}

/// Has the next key follow the one that signed until now. What is interrupted is taken up at the next start, as long as both are there; so the old one goes
/// when the new one has signed.
fn turn(
    ledger: &Arc<Ledger>,
    [disk, beside]: [&Arc<dyn Disk>; 2],
    data: &DataDir,
    [old, next]: [SigningKey; 2],
    boot: &str,
) -> anyhow::Result<SigningKey> {
    let kept = next.to_private_text();
    let (old, next): (Arc<dyn Signer>, Arc<dyn Signer>) = (Arc::new(old), Arc::new(next));
    let (disk, beside) = (Arc::clone(disk), Some(Arc::clone(beside)));
    Publisher::turn(ledger, disk, beside, [&old, &next], Arc::new(now), boot)
        .context("the ledger's key cannot be changed")?;
    data.take_next_ledger_key()?;
    tracing::warn!(from = %old.key(), to = %next.key(), "the ledger's key has changed, and the ledger says so: give the new public key to witnesses and verifiers");
    kept.parse().context("the next key cannot be read again")
}

/// Where the ledger lies.
pub(crate) fn ledger_dir(config: &Config, data: &DataDir) -> PathBuf {
    config
        .ledger
        .dir
        .as_ref()
        .map_or_else(|| data.at("ledger"), PathBuf::from)
}

fn recordings(config: &Config, data: &DataDir, keys: Arc<part_keys::StoredKeys>) -> anyhow::Result<Recordings> {
    let folder = recordings_dir(config, data);
    // Not readable by others: names and times of sessions stand in the list of files.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("cannot make the folder of recordings `{}`", folder.display()))?;
    Ok(Recordings {
        folder,
        keys,
        keeps_free: config.recording.keep_free.bytes(),
        metrics: RecordingMetrics::default(),
        writers: Writers::default(),
        which: match config.recording.sessions {
            RecordedSessions::ByRule => SessionsToRecord::ByRule,
            RecordedSessions::All => SessionsToRecord::All,
        },
    })
}

/// Where recordings lie.
pub(super) fn recordings_dir(config: &Config, data: &DataDir) -> PathBuf {
    let dir = config.recording.dir.as_ref();
    dir.map_or_else(|| data.at("recordings"), PathBuf::from)
}

/// Opens the state file. Where another key is to seal it, all that the one before has sealed is sealed anew, and that one is gone. What is interrupted is taken up at
/// the next start: until all of it is sealed under the next one, both keys are there.
///
/// # Errors
/// It cannot be opened, or not be sealed anew: the key before stays then.
pub(crate) fn open_store(data: &DataDir) -> anyhow::Result<state::Store> {
    let store = state::Store::open(&data.at(STATE), data.sealing_keys()?, state::Limits::default());
    let store = store.context("the session store cannot be opened")?;
    if data.has_next_seal() {
        let done = store.reseal().context("the session store cannot be sealed anew")?;
        data.take_next_seal()?;
        tracing::warn!(
            values = done.values,
            interrupted = done.interrupted,
            "the key that seals the state file has changed, and all of it is sealed anew: the one before is gone, and so copies of the file from before cannot be read with this folder's keys"
        );
        if done.unopened > 0 {
            tracing::error!(
                values = done.unopened,
                "values in the state file open with no key that is here: they were sealed under another one, or changed"
            );
        }
    }
    Ok(store)
}
