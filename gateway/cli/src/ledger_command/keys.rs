//! `gatescribe ledger keys`: backups of the keys of parts and recordings, and how they come back.
//!
//! Works on the gateway's own data folder, with nobody to ask: whoever runs it has the keys anyway. A backup can be made beside a gateway
//! that runs. To put one back the gateway has to stand still: the ledger is opened for writing, which one process at a time does.
//!
//! Invariant: no key comes back that a record of the ledger says was erased. So the ledger is read before, all of it, and nothing is put back
//! where it is shorter than something says it was.
//!
//! Nor comes a key back that only somebody who knows the recipient put into a file: the ledger's key signs a backup ([`super::keys_signed`]).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use ledger::note::Signer;
use ledger::{Disk, Head, Ledger, OpenError, Publisher, RealDisk};
use model::event::{Person, Record, RecordKind};
use state::{Backup, BackupError, BackupIdentity, Recipient, Restored, Store, Unopened};

use super::Refused;
use super::keys_signed::{NotSigned, is_signed, sign};
use crate::Exit;
use crate::config::{self, Config};
use crate::config_command::explain;
use crate::serve::books::{STATE, ledger_dir, open_ledger, open_store};
use crate::serve::data::{DataDir, LEDGER_KEY, NEXT_SEAL, SEAL};
use crate::serve::{erasing, now};
use crate::terminal::say;

/// Larger files are no backup of ours.
const MOST_BYTES: u64 = 4 << 30;

/// Keys of parts and recordings.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Write the keys of parts and recordings into a file that only its recipients can open.
    ///
    /// Without these keys nobody can read what is sealed, also where the ledger and the recordings are whole. The file is of the public format age, and no
    /// key of this machine opens it. The ledger's key signs what is in it, so that nobody else's is put back. It can be made while the gateway runs. A backup keeps keys that are erased after it: end it after a fixed time.
    #[command(
        after_help = "Examples:\n  gatescribe ledger keys backup /backup/keys-2026-11-22.age --recipient \
        age1gyk3fjxz8ew36ynuaxgn8vvsrzrcavxvg7dtndecctps5ven950ql2mjv5\n  gatescribe ledger keys backup keys.age --recipient age1… --recipient age1… --config gw.yaml\n\n`age-keygen`, run \
        elsewhere, makes a recipient and the identity that opens. A file that is there is never written over.\n\nExit codes: 0 written, 1 mistakes in the configuration, 2 a \
        recipient cannot be read, 5 there is no state file, or no key that signs the ledger, 6 the file is there already, or the state file is another release's, 9 a fault\nSee also: gatescribe ledger keys restore"
    )]
    Backup {
        /// The new file.
        file: PathBuf,
        /// Who can open it: `age1…`; again for more, each alone can.
        #[arg(long, required = true, value_name = "AGE1…")]
        recipient: Vec<String>,
        /// The gateway's configuration.
        #[arg(
            short,
            long,
            env = "GATESCRIBE_CONFIG",
            default_value = "/etc/gatescribe/gatescribe.yaml"
        )]
        config: PathBuf,
    },
    /// Put the keys of a backup back that are lost, while the gateway stands still. Those that were erased stay erased.
    ///
    /// All of the ledger is read first: no key comes back that a record says was erased, and nothing is put back where the ledger is shorter than what was signed or
    /// than it was when the backup was made. The ledger's key has to have signed the backup. A record says what is put back, before it is.
    #[command(
        after_help = "Examples:\n  gatescribe ledger keys restore /backup/keys-2026-11-22.age --identity /media/key.txt\n  gatescribe ledger keys restore keys.age --identity \
        key.txt --config gw.yaml\n  gatescribe ledger keys restore old.age --identity key.txt --danger-unsigned 'of 2 November, from the safe'\n\nKeys that are there stay as they are. Those of parts open what they sealed, and new ones seal what comes.\n\nExit codes: 0 put back, 1 mistakes in the \
        configuration, 2 no identity can be read, or the backup is for another one, or signed and `--danger-unsigned` given, 6 the gateway runs, or there is no ledger, 8 the backup is damaged, or not signed by the ledger's key, or the ledger lacks records, 9 a \
        fault\nSee also: gatescribe ledger keys backup, gatescribe ledger verify"
    )]
    Restore {
        /// The backup.
        file: PathBuf,
        /// A file with the identity that opens it, `AGE-SECRET-KEY-1…`, as `age-keygen` writes it.
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Take a backup that the ledger's key did not sign: one of an earlier release, or of before a change of that key. Whoever knows its recipient can have
        /// written it, with keys of their own. Say why it is right all the same; a record has it.
        #[arg(long, value_name = "WHY")]
        danger_unsigned: Option<String>,
        /// The gateway's configuration.
        #[arg(
            short,
            long,
            env = "GATESCRIBE_CONFIG",
            default_value = "/etc/gatescribe/gatescribe.yaml"
        )]
        config: PathBuf,
    },
    /// Make another key for what the state file seals: tokens of sessions, and the keys of parts and recordings.
    ///
    /// It takes effect at the gateway's next start, which seals all of it anew at once, whole or not at all, and then destroys the key before. Sessions go on; a sign-in that is
    /// under way at that start has to begin again.
    #[command(
        after_help = "Examples:\n  gatescribe ledger keys rotate-seal\n  gatescribe ledger keys rotate-seal --config gw.yaml\n\nTo take it back before the next start, remove \
        `keys/seal.next` from the data folder. A copy of the state file from before the change opens only with the key from before: `ledger keys backup` needs neither.\n\nExit \
        codes: 0 made, 1 mistakes in the configuration, 5 there is no key that seals, 6 one is to take its place already, 9 a fault\nSee also: gatescribe ledger keys backup, gatescribe \
        ledger rotate-part-keys, gatescribe ledger rotate-key"
    )]
    RotateSeal {
        /// The gateway's configuration.
        #[arg(
            short,
            long,
            env = "GATESCRIBE_CONFIG",
            default_value = "/etc/gatescribe/gatescribe.yaml"
        )]
        config: PathBuf,
    },
}

/// Runs it.
pub(super) fn run(command: &KeysCommand) -> Result<Exit, Refused> {
    let (KeysCommand::Backup { config: path, .. }
    | KeysCommand::Restore { config: path, .. }
    | KeysCommand::RotateSeal { config: path }) = command;
    let config = match config::load(path) {
        Ok(config) => config,
        Err(error) => return Ok(explain(error)),
    };
    let said = match command {
        KeysCommand::Backup { file, recipient, .. } => {
            let backup = back_up(&config, recipient, file)?;
            let each = if recipient.len() == 1 {
                "its recipient"
            } else {
                "each of its recipients"
            };
            format!(
                "✔ {} keys of parts and recordings stand in {}: {each} can open it, and no key of this machine",
                backup.keys(),
                file.display()
            )
        }
        KeysCommand::Restore {
            file,
            identity,
            danger_unsigned,
            ..
        } => {
            let done = restore(&config, file, identity, danger_unsigned.as_deref())?;
            format!(
                "✔ {} keys are here again; {} were here, and {} were erased and stay so",
                done.restored, done.known, done.erased
            )
        }
        KeysCommand::RotateSeal { .. } => {
            let next = rotate_seal(&config)?;
            format!(
                "✔ the next key that seals the state file stands in {}: the gateway takes it at its next start",
                next.display()
            )
        }
    };
    say(&said);
    Ok(Exit::Done)
}

fn fault(error: impl Into<anyhow::Error>) -> Refused {
    (Exit::Fault, error.into())
}

/// Makes the key that seals from the next start on.
fn rotate_seal(config: &Config) -> Result<PathBuf, Refused> {
    let root = Path::new(&config.data_dir);
    if !root.join(SEAL).exists() {
        let what = anyhow!(
            "there is no `{}`: no gateway has sealed anything here",
            root.join(SEAL).display()
        );
        return Err((Exit::NotFound, what));
    }
    let next = root.join(NEXT_SEAL);
    let data = DataDir::open(root).map_err(fault)?;
    if !data.make_next_seal().map_err(fault)? {
        let what = anyhow!(
            "`{}` is there already: the gateway takes it at its next start. Remove it first to make another",
            next.display()
        );
        return Err((Exit::Conflict, what));
    }
    Ok(next)
}

fn back_up(config: &Config, recipients: &[String], file: &Path) -> Result<Backup, Refused> {
    let read = |text: &String| {
        let wrong = || anyhow!("`{text}` is no recipient: it begins with `age1`, and `age-keygen` prints it");
        Recipient::parse(text.trim()).ok_or_else(|| (Exit::Usage, wrong()))
    };
    let recipients: Vec<Recipient> = recipients.iter().map(read).collect::<Result<_, _>>()?;
    let root = Path::new(&config.data_dir);
    for (needed, why) in [
        (STATE, "no gateway has kept keys here"),
        (SEAL, "no gateway has kept keys here"),
        (
            LEDGER_KEY,
            "nothing here could say later that the backup is of this ledger",
        ),
    ] {
        let path = root.join(needed);
        if !path.exists() {
            let what = anyhow!("there is no `{}`: {why}", path.display());
            return Err((Exit::NotFound, what));
        }
    }
    let data = DataDir::open(root).map_err(fault)?;
    let keys = data.sealing_keys().map_err(fault)?;
    let store = Store::open_beside(&data.at(STATE), keys, state::Limits::default());
    let store = store.map_err(|error| {
        let exit = match error {
            state::StateError::Older { .. } | state::StateError::Newer { .. } => Exit::Conflict,
            _ => Exit::Fault,
        };
        (exit, error.into())
    })?;
    let records = erasing::signed(&ledger_dir(config, &data));
    let backup = store.back_up_part_keys(records, now()).map_err(fault)?;
    let key = data.known_ledger_key().map_err(fault)?;
    let key = key.ok_or_else(|| fault(anyhow!("the ledger's key is gone")))?;
    let backup = sign(backup, &key).map_err(fault)?;
    let sealed = backup.sealed(&recipients);
    let sealed = sealed.ok_or_else(|| fault(anyhow!("the backup cannot be encrypted")))?;
    write_new(file, &sealed)?;
    Ok(backup)
}

/// A file that was not there, whole and on the disk, or none.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Refused> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let what = format!(
                "`{}` is there already: it may be the only backup of keys that are lost here; name another file",
                path.display()
            );
            (Exit::Conflict, anyhow!(what))
        }
        _ => fault(anyhow::Error::new(error).context(format!("cannot make `{}`", path.display()))),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a backup is none.
        let _ = fs::remove_file(path);
        fault(anyhow::Error::new(error).context(format!("cannot write `{}`", path.display())))
    })
}

fn restore(config: &Config, file: &Path, identity: &Path, unsigned: Option<&str>) -> Result<Restored, Refused> {
    let backup = opened(file, identity)?;
    let data = DataDir::open(Path::new(&config.data_dir)).map_err(fault)?;
    let unsigned = believed(&backup, file, &data, unsigned)?;
    let dir = ledger_dir(config, &data);
    is_there(&dir)?;
    // What was signed, as two places say it, before the ledger is opened and perhaps mended.
    let signed = erasing::signed(&dir).max(erasing::signed(&data.at("keys")));
    let boot: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let ledger = open_ledger(config, (&dir, &data.at("keys")), &boot).map_err(|error| {
        let is_used = matches!(error.downcast_ref(), Some(OpenError::InUse { .. }));
        (if is_used { Exit::Conflict } else { Exit::Fault }, error)
    })?;
    let least = signed.max(backup.records);
    let done = put_back(&backup, unsigned, &ledger, (&dir, least), &data, &boot);
    ledger.close();
    done
}

/// That the ledger's key signed it; else why it is taken all the same, if somebody said so. What was changed behind its signature is never taken.
fn believed<'w>(
    backup: &Backup,
    file: &Path,
    data: &DataDir,
    why: Option<&'w str>,
) -> Result<Option<&'w str>, Refused> {
    let key = data.known_ledger_key().map_err(fault)?;
    let Err(not_signed) = is_signed(backup, key.as_ref().map(Signer::key)) else {
        if why.is_none() {
            return Ok(None);
        }
        let what = format!(
            "the ledger's key signed `{}`: leave `--danger-unsigned` out",
            file.display()
        );
        return Err((Exit::Usage, anyhow!(what)));
    };
    let what = format!("`{}` is not put back", file.display());
    match why.filter(|why| !why.trim().is_empty()) {
        Some(why) if not_signed != NotSigned::Changed => Ok(Some(why)),
        _ => Err((Exit::Integrity, anyhow::Error::new(not_signed).context(what))),
    }
}

fn opened(file: &Path, identity: &Path) -> Result<Backup, Refused> {
    let text = fs::read_to_string(identity)
        .with_context(|| format!("cannot read `{}`", identity.display()))
        .map_err(|error| (Exit::Usage, error))?;
    let identities = BackupIdentity::parse_file(&text).ok_or_else(|| {
        let what = format!(
            "`{}` is no file of identities: each line begins with `AGE-SECRET-KEY-1`, or with `#`",
            identity.display()
        );
        (Exit::Usage, anyhow!(what))
    })?;
    let cannot = || format!("cannot read `{}`", file.display());
    let size = fs::metadata(file).with_context(cannot).map_err(fault)?.len();
    if size > MOST_BYTES {
        return Err((
            Exit::Integrity,
            anyhow!("`{}` is too large to be a backup", file.display()),
        ));
    }
    let bytes = fs::read(file).with_context(cannot).map_err(fault)?;
    Backup::open(&bytes, &identities).map_err(|error| {
        let exit = match error {
            BackupError::Unopened(Unopened::Recipient) => Exit::Usage,
            BackupError::Newer { .. } => Exit::Conflict,
            _ => Exit::Integrity,
        };
        let what = format!("`{}` is not put back", file.display());
        (exit, anyhow::Error::new(error).context(what))
    })
}

/// There is a ledger: its records alone say which keys were erased.
fn is_there(dir: &Path) -> Result<(), Refused> {
    let mut files = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    if files.any(|file| file.path().extension().is_some_and(|end| end == "seg")) {
        return Ok(());
    }
    let what = format!(
        "there is no ledger in `{}`: its records say which keys were erased, so put it back first",
        dir.display()
    );
    Err((Exit::Conflict, anyhow!(what)))
}

/// Nobody else writes to the ledger meanwhile. It has to have so many records.
fn put_back(
    backup: &Backup,
    unsigned: Option<&str>,
    ledger: &Ledger,
    (dir, least): (&Path, u64),
    data: &DataDir,
    boot: &str,
) -> Result<Restored, Refused> {
    let size = ledger.durable().size;
    if size < least {
        let what = format!(
            "the ledger in `{}` has {size} records, and had {least}: those that say which keys were erased may be among the missing ones. Put the whole ledger back first",
            dir.display()
        );
        return Err((Exit::Integrity, anyhow!(what)));
    }
    let head = signed(ledger, dir, data)?;
    let erased = erasing::erased_keys(dir, size, &head).context("the ledger's records of erasures cannot be read");
    let erased = erased.map_err(|error| (Exit::Integrity, error))?;
    let store = open_store(data).map_err(fault)?;
    // What is appended now is signed by the next start, which has to know it from what was put in before.
    let noted = Publisher::note_found(ledger, &RealDisk::new(&data.at("keys")));
    noted.map_err(fault)?;
    record(backup, unsigned, ledger, boot).map_err(fault)?;
    store.restore_part_keys(backup, &erased, now()).map_err(fault)
}

/// What was signed of the ledger, by its key: the records have to be those.
fn signed(ledger: &Ledger, dir: &Path, data: &DataDir) -> Result<Head, Refused> {
    let keys = data.known_ledger_keys().map_err(fault)?;
    let disk = |dir: &Path| -> Arc<dyn Disk> { Arc::new(RealDisk::new(dir)) };
    let (disk, beside) = (disk(dir), disk(&data.at("keys")));
    let keys: Vec<_> = keys.iter().map(Signer::key).collect();
    Publisher::signed_before(ledger, &disk, Some(&beside), &keys).map_err(|error| {
        let error = anyhow::Error::new(error).context("the ledger is not known to be the one that was signed");
        (Exit::Integrity, error)
    })
}

fn record(backup: &Backup, unsigned: Option<&str>, ledger: &Ledger, boot: &str) -> anyhow::Result<()> {
    let id = uuid::Uuid::now_v7().to_string();
    let mut note = format!(
        "a backup of {} keys of parts and recordings from {} is put back where they are lost; those that were erased stay so",
        backup.keys(),
        backup.made
    );
    if let Some(why) = unsigned {
        note.push_str(&format!(
            ". The ledger's key did not sign it, and it is taken because: {why}"
        ));
    }
    let record = Record {
        id: &id,
        t: now(),
        boot,
        person: Some(Person {
            what: "partKeysRestored",
            session: None,
            provider: None,
            why: None,
            amr: &[],
        }),
        note: Some(&note),
        ..Record::default()
    };
    let ticket = ledger.append(RecordKind::Session, record.body()?, Vec::new())?;
    ticket.wait().context("it cannot be recorded, so nothing is put back")?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use ledger::note::{Algorithm, KeyName, SigningKey};
    use ledger::{Options, Reader};
    use model::erasure::Erased;
    use model::subject::SubjectId;
    use model::time::Timestamp;

    use super::*;

    const RECIPIENT: &str = "age1gyk3fjxz8ew36ynuaxgn8vvsrzrcavxvg7dtndecctps5ven950ql2mjv5";
    const IDENTITY: &str = "AGE-SECRET-KEY-1FJJHFAY0KWM8CRP2CVQTZ79XUQYMRER02Z6SQ07MDZNJMDAPE7MSM9J60Q";

    /// A gateway's data folder after a run, with three keys of Alice.
    pub(in super::super) struct Place {
        folder: tempfile::TempDir,
        config: Config,
        pub(in super::super) keys: Vec<String>,
    }

    fn alice() -> SubjectId {
        SubjectId::from_digest([1; 16])
    }

    impl Place {
        pub(in super::super) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let text = format!(
                "apiVersion: gatescribe.dev/v1
url: https://gw.example.com
dataDir: {}/data
listeners:
  - name: main
    address: 127.0.0.1:8443
    serves: [gateway, kubernetes]
    tls: {{ certFile: /tls/tls.crt, keyFile: /tls/tls.key }}
identity:
  providers:
    - name: corp
      issuer: https://login.example.com
      clientId: gatescribe
      clientSecret: ${{file:/run/secrets/oidc}}
      claims: {{ user: email, groups: groups, groupPrefix: 'oidc:' }}
clusters:
  - name: prod
    servers: [https://10.0.0.1:6443]
    caFile: /cluster/ca.crt
    impersonator: {{ tokenFile: /cluster/impersonator }}
    observer: {{ tokenFile: /cluster/observer }}
",
                folder.path().display()
            );
            let config = config::parse("gw.yaml", &text).map_err(|problems| problems.for_a_person(false, 100));
            let config = config.unwrap();
            fs::write(folder.path().join("key.txt"), format!("# a comment\n{IDENTITY}\n")).unwrap();
            let mut this = Self {
                folder,
                config,
                keys: Vec::new(),
            };
            let store = this.store();
            this.signs_with("gate.example/audit-2");
            for class in ["command", "query", "recording:s"] {
                let key = store.part_key(alice().as_str(), class, Timestamp::EPOCH).unwrap();
                this.keys.push(key.id);
            }
            this.says("a-1", serde_json::json!({"note": "a record"}), RecordKind::Config);
            this
        }

        pub(in super::super) fn at(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// A new key signs the ledger.
        pub(in super::super) fn signs_with(&self, name: &str) {
            let key = SigningKey::generate(KeyName::new(name).unwrap(), Algorithm::Ed25519).unwrap();
            let text = format!("{}\n", key.to_private_text().as_str());
            crate::serve::data::write_key(&self.at("data").join(LEDGER_KEY), text.as_bytes()).unwrap();
        }

        pub(in super::super) fn store(&self) -> Store {
            let data = DataDir::open(&self.at("data")).unwrap();
            Store::open(&data.at(STATE), data.sealing_keys().unwrap(), state::Limits::default()).unwrap()
        }

        pub(in super::super) fn ids(&self) -> Vec<String> {
            let keys = self.store().part_keys_of(&alice()).unwrap();
            let mut ids: Vec<String> = keys.into_iter().map(|key| key.id).collect();
            ids.sort_by_key(|id| self.keys.iter().position(|known| known == id));
            ids
        }

        fn ledger(&self) -> Ledger {
            let dir = self.at("data/ledger");
            fs::create_dir_all(&dir).unwrap();
            Ledger::open(&dir, Options::default(), Arc::new(RealDisk::new(&dir)))
                .unwrap()
                .0
        }

        fn says(&self, id: &str, mut body: serde_json::Value, kind: RecordKind) {
            body["id"] = id.into();
            let body = serde_json::to_vec(&body).unwrap();
            let ledger = self.ledger();
            ledger.append(kind, body, Vec::new()).unwrap().wait().unwrap();
            ledger.close();
        }

        /// As the gateway does it, in the ledger alone or in the store, too.
        fn erases(&self, id: &str, key: &str, store: Option<&Store>) {
            let who = |number: u8, user: &str| serde_json::json!({"subject": SubjectId::from_digest([number; 16]), "user": user, "issuer": "i"});
            let erasure = serde_json::json!({"what": "erased", "request": "r", "asked": who(3, "carol"), "agreed": who(4, "dave"), "why": "asked",
                "of": {"subject": alice(), "kind": "person", "user": "alice"}, "keys": [{"id": key, "class": "command"}]});
            let body = serde_json::json!({"t": Timestamp::EPOCH, "erasure": erasure});
            self.says(id, body, RecordKind::Erasure);
            if let Some(store) = store {
                let said = Erased {
                    record: id.to_owned(),
                    at: Timestamp::EPOCH,
                    asked: "carol".to_owned(),
                    agreed: "dave".to_owned(),
                };
                let keys = [(key.to_owned(), "command".to_owned())];
                store.erased(&alice(), &keys, &said, None).unwrap();
            }
        }

        pub(in super::super) fn backs_up(&self, name: &str) -> Result<Backup, Refused> {
            back_up(&self.config, &[RECIPIENT.to_owned()], &self.at(name))
        }

        fn restores(&self, name: &str) -> Result<Restored, Refused> {
            self.restores_with(name, None)
        }

        pub(in super::super) fn restores_with(&self, name: &str, unsigned: Option<&str>) -> Result<Restored, Refused> {
            restore(&self.config, &self.at(name), &self.at("key.txt"), unsigned)
        }

        /// What the records of restores say.
        pub(in super::super) fn notes(&self) -> Vec<String> {
            let records = Reader::open(&self.at("data/ledger")).unwrap().records_from(0);
            let leaves = records.map(|record| serde_json::from_slice(&record.unwrap().leaf).unwrap());
            leaves
                .filter(|leaf: &serde_json::Value| leaf["person"]["what"] == "partKeysRestored")
                .map(|leaf| leaf["note"].as_str().unwrap().to_owned())
                .collect()
        }

        pub(in super::super) fn loses_the_store(&self) {
            for end in ["", "-wal", "-shm"] {
                let _ = fs::remove_file(self.at(&format!("data/{STATE}{end}")));
            }
        }
    }

    pub(in super::super) fn told(refused: Result<impl std::fmt::Debug, Refused>) -> (Exit, String) {
        let (exit, error) = refused.unwrap_err();
        (exit, format!("{error:#}"))
    }

    /// Whatever a gateway does at its start is interrupted somewhere: the keys of parts open all the same, and the start after goes on.
    #[test]
    fn the_key_that_seals_changes_at_the_next_start_wherever_that_one_is_interrupted() {
        let place = Place::new();
        let data = DataDir::open(&place.at("data")).unwrap();
        let (seal, next) = (data.at(SEAL), data.at(NEXT_SEAL));
        let opened = |store: &Store| -> Vec<[u8; 32]> {
            let keys = place.keys.iter();
            keys.map(|id| store.part_key_named(alice().as_str(), id).unwrap().unwrap().bytes)
                .collect()
        };
        let plain = opened(&place.store());
        let before = fs::read(&seal).unwrap();
        assert_eq!(rotate_seal(&place.config).unwrap(), next);
        let after = fs::read(&next).unwrap();
        let (exit, why) = told(rotate_seal(&place.config));
        assert_eq!(exit, Exit::Conflict, "{why}");
        assert_eq!(fs::read(&next).unwrap(), after, "and it is the same");
        let holds = |when: &str, backup: &str| {
            assert_eq!(opened(&place.store()), plain, "{when}");
            assert_eq!(place.backs_up(backup).unwrap().keys(), 3, "{when}");
        };
        holds("before the start", "0.age");
        // As the start does it, and no further than so far.
        place.store().reseal().unwrap();
        holds("sealed anew, and the key before is there", "1.age");
        fs::write(&seal, [&[7; 9][..], &before[9..]].concat()).unwrap();
        holds("half of the key before is written over", "2.age");
        fs::write(&seal, [7; 32]).unwrap();
        holds("all of it is", "3.age");
        for _ in 0..2 {
            assert_eq!(opened(&open_store(&data).unwrap()), plain);
            assert_eq!(fs::read(&seal).unwrap(), after);
            assert!(!next.exists());
            holds("done", &format!("{}.age", uuid::Uuid::now_v7()));
        }
        // The key before is nowhere, and would open nothing.
        for file in fs::read_dir(data.at("keys")).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(32).any(|bytes| bytes == before),
                "the key before is gone"
            );
        }
        fs::write(&seal, &before).unwrap();
        assert!(place.store().part_key_named(alice().as_str(), &place.keys[0]).is_err());
        // A restore finishes what a start would.
        fs::write(&seal, &after).unwrap();
        rotate_seal(&place.config).unwrap();
        place.restores("0.age").unwrap();
        assert!(!next.exists());
        assert_eq!(opened(&place.store()), plain);
        // Without a key there is nothing to change.
        fs::remove_file(&seal).unwrap();
        assert_eq!(told(rotate_seal(&place.config)).0, Exit::NotFound);
    }

    #[test]
    fn lost_keys_are_here_again_after_a_restore_and_a_record_says_so() {
        let place = Place::new();
        assert_eq!(place.backs_up("keys.age").unwrap().keys(), 3);
        place.loses_the_store();
        assert!(place.ids().is_empty());
        let done = place.restores("keys.age").unwrap();
        assert_eq!((done.restored, done.known, done.erased), (3, 0, 0));
        assert_eq!(place.ids(), place.keys);
        let said = place.notes();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("a backup of 3 keys") && !said[0].contains("did not sign"),
            "{said:?}"
        );
    }

    /// The attack: whoever wants an erased key back has a backup from before, and loses the store, which knew of it.
    #[test]
    fn promise_5_an_erased_key_does_not_come_back_from_a_backup_also_where_only_the_ledger_knows() {
        let place = Place::new();
        place.backs_up("keys.age").unwrap();
        place.erases("e-1", &place.keys[0], Some(&place.store()));
        let done = place.restores("keys.age").unwrap();
        assert_eq!((done.restored, done.known, done.erased), (0, 2, 1));
        assert_eq!(place.ids(), place.keys[1..]);
        place.loses_the_store();
        let done = place.restores("keys.age").unwrap();
        assert_eq!(
            (done.restored, done.known, done.erased),
            (2, 0, 1),
            "the ledger alone says it"
        );
        assert_eq!(place.ids(), place.keys[1..]);
        // Also before anybody signed the record.
        place.loses_the_store();
        place.erases("e-2", &place.keys[1], None);
        assert_eq!(place.restores("keys.age").unwrap().erased, 2);
        assert_eq!(place.ids(), place.keys[2..]);
    }

    /// The same attack on a part of it: the last segment says how many records there were, and not that they are there.
    #[test]
    fn promise_5_an_erased_key_does_not_come_back_where_the_first_records_are_taken_away() {
        let place = Place::new();
        place.backs_up("keys.age").unwrap();
        let dir = place.at("data/ledger");
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let small = || Options {
            segment_bytes: 256 << 10,
            max_open: 16,
            ..Options::default()
        };
        drop(Ledger::open(&dir, small(), Arc::new(RealDisk::new(&dir))).unwrap());
        place.erases("e-1", &place.keys[0], None);
        let (ledger, _) = Ledger::open(&dir, small(), Arc::new(RealDisk::new(&dir))).unwrap();
        let body = serde_json::to_vec(&serde_json::json!({"id": "a-2", "note": "x".repeat(2_000)})).unwrap();
        for _ in 0..600 {
            ledger
                .append(RecordKind::Config, body.clone(), Vec::new())
                .unwrap()
                .wait()
                .unwrap();
        }
        ledger.close();
        drop(ledger);
        assert_eq!(place.restores("keys.age").unwrap().erased, 1, "while all is there");
        let first = format!("{:020}", 0);
        let of_first = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
        for file in of_first.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with(&first)) {
            fs::remove_file(file).unwrap();
        }
        place.loses_the_store();
        let (exit, why) = told(place.restores("keys.age"));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(why.contains("the records from 0 to before"), "{why}");
        assert!(place.ids().is_empty());
    }

    /// The same attack on the ledger: without the records of erasures nothing comes back.
    #[test]
    fn nothing_is_put_back_where_the_ledger_is_gone_or_shorter_than_it_was() {
        let place = Place::new();
        place.backs_up("before.age").unwrap();
        // What was signed is said by the checkpoint that stands beside the keys.
        let checkpoint = "gate.example/audit-1\n7\nn6Dk9X8bGzq3wHSfTqSbZFZrHfB7q3G9vvn2ykxrAqs=\n\n— gate.example/audit-1 AAAAAAAA\n";
        fs::write(place.at("data/keys").join(ledger::NEWEST_CHECKPOINT), checkpoint).unwrap();
        let (exit, why) = told(place.restores("before.age"));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(
            why.contains("records, and had 7: those that say which keys were erased"),
            "{why}"
        );
        fs::remove_file(place.at("data/keys").join(ledger::NEWEST_CHECKPOINT)).unwrap();
        place.restores("before.age").unwrap();
        // As the backup says it.
        fs::write(place.at("data/ledger").join(ledger::NEWEST_CHECKPOINT), checkpoint).unwrap();
        place.backs_up("after.age").unwrap();
        fs::remove_dir_all(place.at("data/ledger")).unwrap();
        let (exit, why) = told(place.restores("after.age"));
        assert_eq!(exit, Exit::Conflict, "{why}");
        assert!(why.contains("there is no ledger"), "{why}");
        place.says("a-1", serde_json::json!({"note": "another ledger"}), RecordKind::Config);
        place.loses_the_store();
        let (exit, why) = told(place.restores("after.age"));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(place.ids().is_empty());
    }

    #[test]
    fn nothing_is_put_back_beside_a_gateway_that_runs_nor_by_an_erasure_that_is_not_understood() {
        let place = Place::new();
        place.backs_up("keys.age").unwrap();
        place.loses_the_store();
        let ledger = place.ledger();
        let (exit, why) = told(place.restores("keys.age"));
        assert_eq!(exit, Exit::Conflict, "{why}");
        assert!(why.contains("is in use"), "{why}");
        ledger.close();
        drop(ledger);
        place.says(
            "e-9",
            serde_json::json!({"erasure": {"what": "erasedOtherwise"}}),
            RecordKind::Erasure,
        );
        let (exit, why) = told(place.restores("keys.age"));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(why.contains("this release does not read"), "{why}");
        assert!(place.ids().is_empty());
    }

    #[test]
    fn what_is_no_backup_recipient_or_identity_is_refused_and_no_file_is_written_over() {
        let place = Place::new();
        place.backs_up("keys.age").unwrap();
        let (exit, why) = told(place.backs_up("keys.age"));
        assert_eq!(exit, Exit::Conflict, "{why}");
        let (exit, why) = told(back_up(&place.config, &["age1x".to_owned()], &place.at("no.age")));
        assert_eq!(exit, Exit::Usage, "{why}");
        assert!(!place.at("no.age").exists());
        let mut bytes = fs::read(place.at("keys.age")).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(place.at("changed.age"), &bytes).unwrap();
        let (exit, why) = told(place.restores("changed.age"));
        assert_eq!(exit, Exit::Integrity, "{why}");
        assert!(why.contains("was changed or cut"), "{why}");
        fs::write(place.at("key.txt"), "no identity\n").unwrap();
        assert_eq!(told(place.restores("keys.age")).0, Exit::Usage);
        fs::remove_file(place.at("data/keys/seal")).unwrap();
        let (exit, why) = told(place.backs_up("lost.age"));
        assert_eq!(exit, Exit::NotFound, "{why}");
        assert!(!place.at("data/keys/seal").exists(), "none is made by it");
    }
}
