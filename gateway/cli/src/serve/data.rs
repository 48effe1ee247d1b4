//! The data folder: who may read it, and the keys that are made in it at the first start.
//!
//! Invariant: the folder and every key are readable by their owner alone; a key file that others can read stops the start,
//! because a key that was readable is no key any more.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use console::GatewayUrl;
use ledger::note::{Algorithm, KeyName};
use oidc::gateway::SigningKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use state::{SealingKey, SealingKeys};

/// The data folder of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the folder, making it at the first start.
    ///
    /// # Errors
    /// It cannot be made, or others can read it.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let keys = root.join("keys");
        for folder in [root, &keys] {
            if !folder.exists() {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
            }
        }
        private(&keys)?;
        Ok(Self { root: root.to_owned() })
    }

    /// Looks at a folder that a gateway may be using, or that is not there yet. Nothing is made.
    ///
    /// # Errors
    /// [`DataDir::open`] would fail, or a key in it cannot be used.
    pub(super) fn look(root: &Path) -> anyhow::Result<Self> {
        let this = Self { root: root.to_owned() };
        let keys = this.at("keys");
        if keys.exists() {
            private(&keys)?;
            this.known_signing_key()?;
            this.known_random(SEAL)?;
            this.known_random(NEXT_SEAL)?;
            ledger_key_in(&this.at(WITNESS_KEY))?;
            this.known_random(DIGESTS)?;
            this.known_ledger_key()?;
            this.next_ledger_key()?;
        }
        can_be_made(root)?;
        Ok(this)
    }

    /// A path in it.
    #[must_use]
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The keys of the gateway's own tokens, of which the first signs: those of `files`, or where there are none the one of this
    /// folder, made at the first start.
    ///
    /// # Errors
    /// One cannot be read, made or kept, or stands there twice.
    pub(super) fn token_keys(&self, files: &[String]) -> anyhow::Result<TokenKeys> {
        match listed_token_keys(files)? {
            Some(keys) => Ok(keys),
            None => Ok(TokenKeys::of(self.signing_key()?)),
        }
    }

    /// As [`DataDir::token_keys`], for a gateway that runs: where its key is gone, none is made in its place.
    ///
    /// # Errors
    /// One cannot be read, is gone, or stands there twice.
    pub(super) fn token_keys_again(&self, files: &[String]) -> anyhow::Result<TokenKeys> {
        if let Some(keys) = listed_token_keys(files)? {
            return Ok(keys);
        }
        let path = self.at(SIGNING_KEY);
        let gone = || {
            format!(
                "the token key `{}` is gone: put it back, or name others",
                path.display()
            )
        };
        self.known_signing_key()?.map(TokenKeys::of).with_context(gone)
    }

    /// The key that signs the gateway's tokens; made at the first start.
    ///
    /// # Errors
    /// It cannot be read, made or kept.
    fn signing_key(&self) -> anyhow::Result<SigningKey> {
        match self.known_signing_key()? {
            Some(key) => Ok(key),
            None => {
                let path = self.at(SIGNING_KEY);
                let (key, bytes) = SigningKey::generate().context("cannot make the token key")?;
                write_key(&path, &bytes)?;
                Ok(key)
            }
        }
    }

    /// The keys of what the state file seals: the one that seals, made at the first start, and the one that opens besides. While another is to take its place,
    /// that one seals, and what either has sealed is opened.
    ///
    /// # Errors
    /// It cannot be read, made or kept.
    pub(crate) fn sealing_keys(&self) -> anyhow::Result<SealingKeys> {
        let key = |bytes: &[u8; 32]| SealingKey::new(bytes).context("the sealing key cannot be used");
        let known = key(&self.random_key(SEAL)?)?;
        Ok(match self.known_random(NEXT_SEAL)? {
            Some(next) => SealingKeys::new(key(&next)?, vec![known]),
            None => SealingKeys::new(known, Vec::new()),
        })
    }

    /// Whether another key is to take the place of the one that seals.
    #[must_use]
    pub(super) fn has_next_seal(&self) -> bool {
        self.at(NEXT_SEAL).exists()
    }

    /// Makes the key that takes the place of the one that seals; false where there is one already.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub(crate) fn make_next_seal(&self) -> anyhow::Result<bool> {
        let path = self.at(NEXT_SEAL);
        if path.symlink_metadata().is_ok() {
            return Ok(false);
        }
        self.random_key(NEXT_SEAL).map(|_| true)
    }

    /// Puts the next key in the place of the one that sealed until now, once that one opens nothing any more. Its bytes are written over before, as far as the disk
    /// writes in place.
    ///
    /// # Errors
    /// The disk says no; the next one is there then, as before.
    pub(super) fn take_next_seal(&self) -> anyhow::Result<()> {
        let (path, mut random) = (self.at(SEAL), [0; 32]);
        let cannot = || format!("cannot put the next key in the place of `{}`", path.display());
        if SystemRandom::new().fill(&mut random).is_err() {
            bail!("the system gives no random bytes");
        }
        let over = OpenOptions::new().write(true).open(&path);
        let over = over.and_then(|mut file| file.write_all(&random).and_then(|()| file.sync_all()));
        over.with_context(cannot)?;
        let renamed = fs::rename(self.at(NEXT_SEAL), &path);
        let synced = renamed.and_then(|()| File::open(self.at("keys"))?.sync_all());
        synced.with_context(cannot)
    }

    /// The key of the digests that stand in masked bodies in place of values; made at the first start. Another one in its place makes
    /// digests that do not compare with those before, and records name the key.
    ///
    /// # Errors
    /// It cannot be read, made or kept.
    pub(super) fn digest_key(&self) -> anyhow::Result<[u8; 32]> {
        self.random_key(DIGESTS)
    }

    fn random_key(&self, name: &str) -> anyhow::Result<[u8; 32]> {
        if let Some(bytes) = self.known_random(name)? {
            return Ok(bytes);
        }
        let mut bytes = [0; 32];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            bail!("the system gives no random bytes");
        }
        write_key(&self.at(name), &bytes)?;
        Ok(bytes)
    }

    /// The key that signs the ledger's checkpoints. Made at the first start of a ledger, and only then: where something was
    /// signed before, `is_signed`, another key would be another log.
    ///
    /// # Errors
    /// It cannot be read, made or kept, or it is gone though the ledger was signed.
    pub(super) fn ledger_key(&self, host: &str, is_signed: bool) -> anyhow::Result<ledger::note::SigningKey> {
        if let Some(key) = self.known_ledger_key()? {
            return Ok(key);
        }
        let path = self.at(LEDGER_KEY);
        if is_signed {
            bail!(
                "the ledger was signed before, and its key `{}` is gone: put the key back, or begin a new ledger in an empty folder",
                path.display()
            );
        }
        // One log, one name: a second ledger of the same host is another one.
        let name = KeyName::new(random_name(host, "audit")?);
        let name = name.with_context(|| format!("no key can be named after the host `{host}`"))?;
        let key =
            ledger::note::SigningKey::generate(name, Algorithm::Ed25519).context("cannot make the ledger's key")?;
        write_key(&path, format!("{}\n", key.to_private_text().as_str()).as_bytes())?;
        Ok(key)
    }

    /// The key that is to sign the ledger's checkpoints from the next start on, if one was made.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn next_ledger_key(&self) -> anyhow::Result<Option<ledger::note::SigningKey>> {
        ledger_key_in(&self.at(NEXT_LEDGER_KEY))
    }

    /// Puts the next key in the place of the one that signed until now, which is gone then.
    ///
    /// # Errors
    /// The disk says no; both are there then, as before.
    pub(super) fn take_next_ledger_key(&self) -> anyhow::Result<()> {
        let path = self.at(LEDGER_KEY);
        let renamed = fs::rename(self.at(NEXT_LEDGER_KEY), &path);
        let synced = renamed.and_then(|()| File::open(self.at("keys"))?.sync_all());
        synced.with_context(|| format!("cannot put the next key in the place of `{}`", path.display()))
    }

    /// The keys that sign the ledger's checkpoints now and from the next start on, as far as they are here.
    ///
    /// # Errors
    /// One cannot be read.
    pub(crate) fn known_ledger_keys(&self) -> anyhow::Result<Vec<ledger::note::SigningKey>> {
        let keys = [self.known_ledger_key()?, self.next_ledger_key()?];
        Ok(keys.into_iter().flatten().collect())
    }

    /// The key that signs the ledger's checkpoints now, if it is here.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn known_ledger_key(&self) -> anyhow::Result<Option<ledger::note::SigningKey>> {
        ledger_key_in(&self.at(LEDGER_KEY))
    }

    fn known_signing_key(&self) -> anyhow::Result<Option<SigningKey>> {
        let path = self.at(SIGNING_KEY);
        read_token_key(&path)
    }

    fn known_random(&self, name: &str) -> anyhow::Result<Option<[u8; 32]>> {
        let path = self.at(name);
        let known = read_key(&path)?.map(|bytes| bytes.as_slice().try_into());
        known
            .transpose()
            .ok()
            .with_context(|| format!("`{}` must hold 32 bytes", path.display()))
    }
}

/// Keys of the gateway's own tokens.
#[derive(Debug)]
pub(super) struct TokenKeys {
    pub(super) signs: SigningKey,
    /// Accepted, too.
    pub(super) others: Vec<SigningKey>,
}

impl TokenKeys {
    const fn of(signs: SigningKey) -> Self {
        Self {
            signs,
            others: Vec::new(),
        }
    }

    /// Their names; first of that which signs.
    pub(super) fn names(&self) -> Vec<String> {
        let all = std::iter::once(&self.signs).chain(&self.others);
        all.map(|key| key.kid().to_owned()).collect()
    }
}

/// The keys of these files; `None` where there is no file.
///
/// # Errors
/// One cannot be read, or stands there twice.
pub(super) fn listed_token_keys(files: &[String]) -> anyhow::Result<Option<TokenKeys>> {
    let mut keys: Vec<(&String, SigningKey)> = Vec::new();
    for file in files {
        let key = read_token_key(Path::new(file))?.with_context(|| format!("there is no token key `{file}`"))?;
        if let Some((other, _)) = keys.iter().find(|(_, known)| known.kid() == key.kid()) {
            bail!("the token keys `{other}` and `{file}` are the same key: name it once");
        }
        keys.push((file, key));
    }
    let mut keys = keys.into_iter().map(|(_, key)| key);
    let Some(signs) = keys.next() else { return Ok(None) };
    let others = keys.collect();
    Ok(Some(TokenKeys { signs, others }))
}

/// A token's key as its file has it; `None` where there is none.
fn read_token_key(path: &Path) -> anyhow::Result<Option<SigningKey>> {
    let Some(bytes) = read_key(path)? else {
        return Ok(None);
    };
    let no_key = || {
        format!(
            "`{}` is no P-256 key in PKCS#8: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one",
            path.display()
        )
    };
    // `openssl` writes PEM, the gateway itself what stands in it.
    let key = if bytes.starts_with(b"-----BEGIN") {
        let inner = PrivatePkcs8KeyDer::from_pem_slice(&bytes).with_context(no_key)?;
        SigningKey::from_pkcs8(inner.secret_pkcs8_der())
    } else {
        SigningKey::from_pkcs8(&bytes)
    };
    key.map(Some).with_context(no_key)
}

const SIGNING_KEY: &str = "keys/gateway-token.p8";
/// The key under which the state file's secrets are sealed.
pub(crate) const SEAL: &str = "keys/seal";
/// What the file of the key that signs the ledger is called.
pub(crate) const LEDGER_KEY_NAME: &str = "ledger.key";
/// The key that is to take its place.
pub(crate) const NEXT_SEAL: &str = "keys/seal.next";
/// The key with which this gateway cosigns ledgers of others.
pub(super) const WITNESS_KEY: &str = "keys/witness.key";
const DIGESTS: &str = "keys/digests";
/// The key that signs the ledger.
pub(crate) const LEDGER_KEY: &str = "keys/ledger.key";
const NEXT_LEDGER_KEY: &str = "keys/ledger.next.key";

/// A name for a new key of this gateway that nothing else has: `<host>/<what>-<eight digits>`.
///
/// # Errors
/// There is no randomness.
pub(super) fn named(url: &GatewayUrl, what: &str) -> anyhow::Result<String> {
    let host = url.as_str().parse::<http::Uri>().ok();
    random_name(host.as_ref().and_then(http::Uri::host).unwrap_or("gatescribe"), what)
}

fn random_name(host: &str, what: &str) -> anyhow::Result<String> {
    let mut random = [0; 4];
    if SystemRandom::new().fill(&mut random).is_err() {
        bail!("the system gives no random bytes");
    }
    Ok(format!("{host}/{what}-{}", hex::encode(random)))
}

/// The key that signs a ledger in this file, if there is one.
///
/// # Errors
/// It cannot be read, or others can read it, or it is no such key.
pub(crate) fn ledger_key_in(path: &Path) -> anyhow::Result<Option<ledger::note::SigningKey>> {
    let known = read_key(path)?.map(|bytes| {
        let text = std::str::from_utf8(&bytes).context("it is no text")?;
        text.trim_end().parse().map_err(anyhow::Error::new)
    });
    known
        .transpose()
        .with_context(|| format!("`{}` is no key that signs a ledger", path.display()))
}

/// Whether the folder is there, or could be: what stands on its way is a folder in which we may write.
pub(super) fn can_be_made(folder: &Path) -> anyhow::Result<()> {
    let mut there = folder
        .ancestors()
        .map(|up| if up.as_os_str().is_empty() { Path::new(".") } else { up });
    let nearest = there.find(|up| up.exists()).unwrap_or_else(|| Path::new("/"));
    anyhow::ensure!(nearest.is_dir(), "`{}` is no folder", nearest.display());
    let writable = nix::unistd::access(nearest, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK);
    anyhow::ensure!(writable.is_ok(), "`{}` cannot be written to", nearest.display());
    Ok(())
}

/// The bytes of a key's file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or others can read it.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read the key `{}`", path.display())),
    };
    private(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the key `{}`", path.display()))?;
    Ok(Some(bytes))
}

/// Writes a new key so that it is whole or not there, also after a crash.
///
/// # Errors
/// The disk says no.
pub(crate) fn write_key(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot keep the key `{}`", path.display());
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(cannot)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(cannot)?;
    fs::rename(&draft, path).with_context(cannot)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .with_context(cannot)
}

fn private(path: &Path) -> anyhow::Result<()> {
    let mode = fs::metadata(path)
        .with_context(|| format!("cannot look at `{}`", path.display()))?
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "others can read `{}` (mode {:03o}): run `chmod go= {}`, and replace the keys if it was ever shared",
            path.display(),
            mode & 0o777,
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_readable_by_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let first = data.signing_key().unwrap().kid().to_owned();
        assert_eq!(data.signing_key().unwrap().kid(), first);
        let mode = fs::metadata(data.at("keys/gateway-token.p8"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn written(path: &Path, bytes: &[u8]) -> String {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn token_keys_are_those_of_the_files_in_their_order_and_else_the_folder_s_own() {
        use base64::Engine as _;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let at = |name: &str| folder.path().join(name);
        let (first, bytes) = SigningKey::generate().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let pem = written(&at("first.pem"), pem.as_bytes());
        let (second, bytes) = SigningKey::generate().unwrap();
        let der = written(&at("second.p8"), &bytes);

        let listed = [pem.clone(), der.clone()];
        let keys = data.token_keys(&listed).unwrap();
        assert_eq!(keys.names(), [first.kid(), second.kid()]);
        assert_eq!(keys.signs.kid(), first.kid());
        assert!(!data.at(SIGNING_KEY).exists(), "none is made that nobody uses");
        let own = data.token_keys(&[]).unwrap().names();
        assert_eq!(data.token_keys_again(&[]).unwrap().names(), own);
        let own_file = data.at(SIGNING_KEY).display().to_string();
        let both = data.token_keys_again(&[der.clone(), own_file]).unwrap();
        assert_eq!(both.names(), [second.kid(), &own[0]]);

        fs::remove_file(data.at(SIGNING_KEY)).unwrap();
        let said = |files: &[String]| format!("{:#}", data.token_keys_again(files).unwrap_err());
        assert!(said(&[]).ends_with("gateway-token.p8` is gone: put it back, or name others"));
        assert!(!data.at(SIGNING_KEY).exists(), "a running gateway makes no key");
        let again = written(&at("again"), &bytes);
        let twice = said(&[der.clone(), pem, again.clone()]);
        assert_eq!(
            twice,
            format!("the token keys `{der}` and `{again}` are the same key: name it once")
        );
        let nowhere = at("nowhere").display().to_string();
        assert_eq!(
            said(std::slice::from_ref(&nowhere)),
            format!("there is no token key `{nowhere}`")
        );
        for bytes in [&b""[..], b"-----BEGIN EC PRIVATE KEY-----\n", b"no key", &bytes[1..]] {
            let wrong = said(&[written(&at("wrong"), bytes)]);
            assert!(
                wrong.contains("is no P-256 key in PKCS#8: `openssl genpkey "),
                "{wrong}"
            );
        }
        fs::set_permissions(&der, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            said(&[der]).starts_with("others can read"),
            "a key that others read is none"
        );
    }

    #[test]
    fn the_ledger_s_key_is_made_once_and_never_in_place_of_one_that_has_signed() {
        use ledger::note::Signer as _;
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let first = data.ledger_key("gate.example", false).unwrap().key().to_string();
        assert!(first.starts_with("gate.example/audit-"), "{first}");
        assert_eq!(data.ledger_key("other.example", true).unwrap().key().to_string(), first);
        fs::remove_file(data.at(LEDGER_KEY)).unwrap();
        let error = data.ledger_key("gate.example", true).unwrap_err().to_string();
        assert!(
            error.contains("ledger.key") && error.contains("put the key back"),
            "{error}"
        );
        assert!(!data.at(LEDGER_KEY).exists());
        fs::write(data.at(LEDGER_KEY), "no key").unwrap();
        fs::set_permissions(data.at(LEDGER_KEY), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(data.ledger_key("gate.example", false).is_err());
    }

    #[test]
    fn the_key_of_digests_is_made_once_and_half_of_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let first = data.digest_key().unwrap();
        assert_eq!(data.digest_key().unwrap(), first);
        DataDir::look(&folder.path().join("data")).unwrap();
        fs::remove_file(data.at(DIGESTS)).unwrap();
        assert_ne!(data.digest_key().unwrap(), first, "another one is made in its place");
        written(&data.at(DIGESTS), &first[1..]);
        for said in [
            data.digest_key().unwrap_err(),
            DataDir::look(&folder.path().join("data")).unwrap_err(),
        ] {
            assert!(said.to_string().ends_with("digests` must hold 32 bytes"), "{said}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        data.signing_key().unwrap();
        fs::set_permissions(data.at("keys/gateway-token.p8"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = data.signing_key().unwrap_err().to_string();
        assert!(error.contains("others can read") && error.contains("chmod"), "{error}");
    }
}
