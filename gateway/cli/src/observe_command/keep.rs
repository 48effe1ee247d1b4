//! Where it is kept: the ledger's folder, and beside it the key that signs it and the place where reading left off.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::{Disk, Ledger, PublishError, Publisher, RealDisk, Tail, spanned};
use model::chain::chain;
use model::cluster::ClusterId;
use model::event::{Record, RecordKind, Source, Started};
use serde::{Deserialize, Deserializer, Serialize};

use super::intake::{Book, Memory};
use super::unproved::Doubt;
use crate::serve::unsigned::body;
use crate::serve::{self, data};
use crate::server_log::progress;
use crate::terminal::say;

/// Among so many records stands the one that says what a ledger is for.
const FIRST_RECORDS: u64 = 16;
/// Events that are remembered of a ledger.
const MOST_KNOWN: usize = 4_000_000;
/// Of records that nothing proves so many are held; what is not held is written again.
const MOST_UNPROVED: usize = 200_000;

/// An open ledger of what was observed.
pub(super) struct Kept {
    pub(super) ledger: Arc<Ledger>,
    publisher: Publisher,
    pub(super) places: Places,
}

/// The files of a ledger `DIR`: the key and the state in `DIR.keys`, since who can write the ledger shall not have its key.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) ledger: PathBuf,
    beside: PathBuf,
}

impl Places {
    pub(super) fn of(ledger: &Path) -> Self {
        let mut beside: PathBuf = ledger.components().collect();
        let mut name = beside.file_name().unwrap_or_default().to_owned();
        name.push(".keys");
        beside.set_file_name(name);
        Self {
            ledger: ledger.to_owned(),
            beside,
        }
    }

    fn key(&self) -> PathBuf {
        self.beside.join("ledger.key")
    }

    /// The public key, for the verifier.
    pub(super) fn public(&self) -> PathBuf {
        self.beside.join("ledger.pub")
    }

    /// Where reading left off.
    pub(super) fn state(&self) -> PathBuf {
        self.beside.join("observe.json")
    }
}

impl Kept {
    /// Opens the ledger, or makes one, and says what it has. The record of the start is durable then.
    ///
    /// # Errors
    /// It is the ledger of a gateway, or cannot be opened, read or signed.
    pub(super) fn open(folder: &Path, cluster: &ClusterId) -> anyhow::Result<(Self, Book, Memory)> {
        Self::open_with(folder, cluster, ledger::Options::default(), || {})
    }

    /// `meanwhile` is what may happen until nobody else can write to the ledger.
    pub(super) fn open_with(
        folder: &Path,
        cluster: &ClusterId,
        options: ledger::Options,
        meanwhile: impl FnOnce(),
    ) -> anyhow::Result<(Self, Book, Memory)> {
        let places = Places::of(folder);
        // Whose ledger it is, before anything is written, and once more when nobody else can write to it.
        is_ours(folder)?;
        for folder in [folder, &places.beside] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        }
        let boot: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let disks: [Arc<dyn Disk>; 2] = [Arc::new(RealDisk::new(folder)), Arc::new(RealDisk::new(&places.beside))];
        let [disk, beside] = disks;
        let options = ledger::Options {
            boot: Arc::clone(&boot),
            clock: Arc::new(serve::now),
            beside: Some(Arc::clone(&beside)),
            ..options
        };
        meanwhile();
        let (ledger, _) = Ledger::open(folder, options, Arc::clone(&disk))
            .with_context(|| format!("the ledger in `{}` cannot be opened", folder.display()))?;
        is_ours(folder)?;
        let ledger = Arc::new(ledger);
        let key = key(&places, folder)?;
        // All that stands there is signed from now on.
        let tail = Publisher::say_unsigned(&ledger, [&disk, &beside], &[key.key()], (&boot, serve::now()))
            .context("the ledger cannot be signed")?;
        tell(&tail, folder);
        let memory = memory(folder, cluster, &tail)?;
        let public = key.key().clone();
        let signers: Vec<Arc<dyn Signer>> = vec![Arc::new(key)];
        let publisher = Publisher::start(&ledger, disk, Some(beside), signers, Arc::new(serve::now))
            .context("the ledger cannot be signed")?;
        // From here on it is ended in order, whatever fails.
        let kept = Self {
            ledger: Arc::clone(&ledger),
            publisher,
            places,
        };
        write(&kept.places.public(), format!("{public}\n").as_bytes())?;
        // Behind the first signature: where the last run had ended in order, a record before it, and a kill, would be taken for somebody else's work.
        started(&ledger, cluster, &boot, &public.name().to_string())?;
        Ok((kept, Book { ledger, boot }, memory))
    }

    /// Ends the ledger in order, with its last signature.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(super) fn close(self) -> anyhow::Result<()> {
        self.end().context("the ledger's end cannot be signed")
    }

    /// A second time it does nothing.
    fn end(&self) -> Result<(), PublishError> {
        self.ledger.close_and(|| self.publisher.finish())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            say(&format!(
                "! the end of the ledger in `{}` is not signed: {}. The next run records that nothing proves who wrote its last records; see that the key \
                 and the disk can be used, and run it again",
                self.places.ledger.display(),
                chain(&error)
            ));
        }
    }
}

/// Says what nobody had signed before this run.
fn tell(tail: &Tail, folder: &Path) {
    let folder = folder.display();
    if !tail.foreign.is_empty() {
        say(&format!(
            "! {} behind the end of a run that had signed all of its own: this command did not write that, and no event counts as recorded by it; \
             somebody wrote into the ledger's files in `{folder}`. A record says so, and so does `gatescribe ledger verify`",
            spanned(&tail.foreign, ["stands", "stand"])
        ));
    }
    if tail.signed.size > 0 && !tail.unproved.is_empty() {
        say(&format!(
            "! the last run did not end in order: {} not signed yet in the ledger in `{folder}`, and nothing proves who wrote that",
            spanned(&tail.unproved, ["was", "were"])
        ));
    }
}

/// What the ledger has, but for what somebody put in.
fn memory(folder: &Path, cluster: &ClusterId, tail: &Tail) -> anyhow::Result<Memory> {
    let cannot = || format!("cannot read the ledger in `{}`", folder.display());
    let doubt = Doubt::of(folder, tail).with_context(cannot)?;
    let mut memory = Memory::default();
    each_record(folder, u64::MAX, &mut |record| {
        if doubt.is_foreign(record.seq) {
            return;
        }
        if doubt.is_unproved(record.seq) {
            memory.learn_unproved(cluster, record.kind, &body(record), MOST_UNPROVED);
        } else {
            memory.learn(record.kind, &record.leaf, MOST_KNOWN);
        }
    })?;
    Ok(memory)
}

/// Refuses the ledger of a gateway.
fn is_ours(folder: &Path) -> anyhow::Result<()> {
    each_record(folder, FIRST_RECORDS, &mut |_| {})
}

/// The first `most` records of a ledger of this command, oldest first; none where there is no ledger yet.
fn each_record(folder: &Path, most: u64, take: &mut dyn FnMut(&ledger::Record)) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let cannot = || format!("cannot read the ledger in `{}`", folder.display());
    let reader = ledger::Reader::open(folder).with_context(cannot)?;
    let Some(first) = reader.segments().first() else {
        return Ok(());
    };
    let bytes = reader.segments().len();
    let bar = progress(u64::try_from(bytes).unwrap_or(0));
    let (mut is_ours, mut segment) = (None, 0);
    for (at, record) in (0..most).zip(reader.records_from(first.first_seq)) {
        let record = record.with_context(cannot)?;
        if record.kind == RecordKind::Start && is_ours.is_none() {
            is_ours = Some(is_of_ours(&record.leaf));
        }
        let is_own = matches!(
            record.kind,
            RecordKind::Start | RecordKind::Checkpoint | RecordKind::Recovery | RecordKind::Gap
        );
        if is_ours == Some(false) || (is_ours.is_none() && (!is_own || at >= FIRST_RECORDS)) {
            bail!(
                "`{}` is the ledger of a gateway: what is read elsewhere never stands among what the gateway itself saw. Name \
                 another folder",
                folder.display()
            );
        }
        take(&record);
        let now = reader.segments().partition_point(|one| one.first_seq <= record.seq);
        if now != segment {
            segment = now;
            bar.set_position(u64::try_from(segment).unwrap_or(0));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn is_of_ours(leaf: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Start {
        source: String,
    }
    serde_json::from_slice::<Start>(leaf).is_ok_and(|start| start.source == "ingested")
}

fn started(ledger: &Ledger, cluster: &ClusterId, boot: &str, origin: &str) -> anyhow::Result<()> {
    let id = uuid::Uuid::now_v7().to_string();
    let record = Record {
        id: &id,
        t: serve::now(),
        boot,
        cluster: Some(cluster),
        source: Source::Ingested,
        start: Some(Started {
            version: env!("CARGO_PKG_VERSION"),
            origin,
            epoch: ledger.durable().size,
            names: None,
        }),
        ..Record::default()
    };
    let ticket = ledger.append(RecordKind::Start, record.body()?, Vec::new())?;
    ticket.wait().context("the start cannot be recorded")?;
    Ok(())
}

/// The key that signs: made with the ledger, and only then.
fn key(places: &Places, folder: &Path) -> anyhow::Result<SigningKey> {
    if let Some(key) = data::ledger_key_in(&places.key())? {
        return Ok(key);
    }
    if folder.join(ledger::NEWEST_CHECKPOINT).exists() {
        bail!(
            "the ledger was signed before, and its key `{}` is gone: put the key back, or begin a new ledger in an empty folder",
            places.key().display()
        );
    }
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    // The end of such an id is random: a second ledger of the same machine is another log.
    let random = uuid::Uuid::now_v7().simple().to_string();
    let named = |host: &str| KeyName::new(format!("{host}/observed-{}", random.get(24..).unwrap_or_default()));
    let name = host
        .as_deref()
        .map(named)
        .and_then(Result::ok)
        .map_or_else(|| named("gatescribe"), Ok)?;
    let key = SigningKey::generate(name, Algorithm::Ed25519).context("cannot make the ledger's key")?;
    data::write_key(
        &places.key(),
        format!("{}\n", key.to_private_text().as_str()).as_bytes(),
    )?;
    Ok(key)
}

/// Where reading of a file left off, and how the file is known again: by its inode where it was renamed, and by its beginning, as
/// inodes are used again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When the file was made: unix nanoseconds; 0 where nobody says so.
    #[serde(default)]
    pub(super) born: i64,
    /// So many bytes of zero stand before all else: a file that was cut to nothing while its writer stood behind them.
    #[serde(default)]
    pub(super) hole: u64,
    /// SHA-256 of the first bytes behind these, hexadecimal.
    pub(super) head: String,
    /// Of so many.
    pub(super) head_len: u64,
    /// All before it is in the ledger.
    pub(super) offset: u64,
    /// So many bytes behind it, a line without an end, were told as one that cannot be read.
    #[serde(default)]
    pub(super) rest: u64,
    /// When the file was last written, when that was seen: unix nanoseconds.
    pub(super) written: i64,
}

/// The state file: a place for each followed path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) files: BTreeMap<String, Place>,
    /// Files that the path leads to no more and that were seen and not read to their ends. They are looked for beside it.
    #[serde(deserialize_with = "one_or_more")]
    pub(super) left: BTreeMap<String, Vec<Place>>,
    /// Files beside it that were read to their ends, or were there before the first time; as long as they are there.
    pub(super) done: BTreeMap<String, Vec<Place>>,
}

/// Earlier versions kept one at most.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<Place>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Left {
        One(Place),
        More(Vec<Place>),
    }
    let read = BTreeMap::<String, Left>::deserialize(from)?;
    let all = |left| match left {
        Left::One(place) => vec![place],
        Left::More(places) => places,
    };
    Ok(read.into_iter().map(|(key, left)| (key, all(left))).collect())
}

impl State {
    /// Reads it; an empty one where there is none, or what is there is torn: then all is read again, and nothing written twice.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// # Errors
    /// The disk says no; the state before stands then.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write(path, &serde_json::to_vec(self)?)
    }
}

/// Whole or not at all, also after a crash.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    data::write_key(path, bytes)
}
