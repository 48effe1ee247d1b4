//! The demo's folder: what lies in it, and that it goes.
//!
//! Everything that the demo writes is in this one folder, also what its client commands keep (`GATESCRIBE_HOME`), so that
//! removing it removes every trace. Only a folder that the person named (`--keep`) stays.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::terminal::say;

/// Where the demo keeps what it writes: a folder of its own that goes, or one that stays.
pub(super) enum Folder {
    Passing(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub(super) fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        match keep {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
                let whole = folder
                    .canonicalize()
                    .with_context(|| format!("cannot find `{}`", folder.display()))?;
                Ok(Self::Kept(whole))
            }
            None => Ok(Self::Passing(
                tempfile::Builder::new()
                    .prefix("gatescribe-demo-")
                    .tempdir()
                    .context("cannot make a folder")?,
            )),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Passing(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    /// Forgets what a first attempt wrote; `false` where that may be somebody's.
    pub(super) fn begin_again(&self) -> bool {
        let Self::Passing(folder) = self else { return false };
        let data = folder.path().join("data");
        !data.exists() || std::fs::remove_dir_all(data).is_ok()
    }

    /// Removes it, or says where it stays. Dropping does the same in silence.
    pub(super) fn leave(self) {
        match self {
            Self::Passing(folder) => {
                let path = folder.path().display().to_string();
                if let Err(error) = folder.close() {
                    say(&format!("could not remove {path}: {error}"));
                }
            }
            Self::Kept(folder) => say(&format!("kept in {}", folder.display())),
        }
    }
}

/// The addresses of all parts.
pub(super) struct Ports {
    pub(super) gateway: SocketAddr,
    pub(super) kubernetes: SocketAddr,
    pub(super) provider: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Held, so that nobody else takes them before the parts do.
    held: Vec<TcpListener>,
}

impl Ports {
    /// The usual ports where they are free, else others.
    pub(super) fn usual(kubernetes: u16) -> anyhow::Result<Self> {
        Self::take([7000, kubernetes, 7001, 7002])
    }

    /// Any that are free.
    pub(super) fn any() -> anyhow::Result<Self> {
        Self::take([0; 4])
    }

    fn take(wanted: [u16; 4]) -> anyhow::Result<Self> {
        let [gateway, kubernetes, provider, admin] = wanted.map(free);
        let held = [gateway?, kubernetes?, provider?, admin?];
        let [gateway, kubernetes, provider, admin] = held.each_ref().map(TcpListener::local_addr);
        Ok(Self {
            gateway: gateway?,
            kubernetes: kubernetes?,
            provider: provider?,
            admin: admin?,
            held: held.into(),
        })
    }

    /// Lets go of one, for the part that listens there next.
    pub(super) fn give(&mut self, address: SocketAddr) {
        self.held
            .retain(|listener| listener.local_addr().is_ok_and(|held| held != address));
    }
}

/// Whether an error says that somebody was faster with a port.
pub(super) fn was_taken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    })
}

/// The wanted port of 127.0.0.1, or any other when it is busy.
fn free(wanted: u16) -> anyhow::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    bind(wanted).or_else(|_| bind(0)).context("no free port on 127.0.0.1")
}

/// The gateway's own CA and certificate, the kubeconfig, and what a shell needs to use it all.
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
    pub(super) kubeconfig: PathBuf,
    /// Where the demo's own commands keep their sessions.
    pub(super) home: PathBuf,
    /// To be read by a shell: `. env`.
    pub(super) environment: PathBuf,
}

impl Files {
    pub(super) fn write(folder: &Path, ports: &Ports, cluster: &str) -> anyhow::Result<Self> {
        let at = |name: &str| folder.join(name);
        let files = Self {
            cert: at("tls.crt"),
            key: at("tls.key"),
            ca: at("ca.crt"),
            kubeconfig: at("kubeconfig"),
            home: at("home"),
            environment: at("env"),
        };
        let ca_pem = files.certify()?;
        let program = std::env::current_exe().context("cannot find this program")?;
        private(
            &files.kubeconfig,
            kubeconfig(ports, &ca_pem, cluster, &program, &files.home).as_bytes(),
        )?;
        let commands = at("bin");
        std::fs::create_dir_all(&commands).with_context(|| format!("cannot make `{}`", commands.display()))?;
        let link = commands.join("gatescribe");
        // One of an earlier run (`--keep`) may lead to a program that has moved since.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link).with_context(|| format!("cannot make `{}`", link.display()))?;
        private(
            &files.environment,
            environment(&files, &commands, &ports.gateway).as_bytes(),
        )?;
        Ok(files)
    }

    /// Makes a CA and a certificate of it; gives the CA in PEM.
    fn certify(&self) -> anyhow::Result<String> {
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(rcgen::DnType::CommonName, "gatescribe demo");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.key_usages = vec![
            rcgen::KeyUsagePurpose::KeyCertSign,
            rcgen::KeyUsagePurpose::DigitalSignature,
        ];
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(ca, ca_key))?;
        private(&self.key, key.serialize_pem().as_bytes())?;
        private(&self.cert, leaf.pem().as_bytes())?;
        private(&self.ca, ca_pem.as_bytes())?;
        Ok(ca_pem)
    }
}

/// Writes a file that its owner alone can read.
pub(super) fn private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// With the names and members that `gatescribe login` would write, so that signing in as somebody else changes nothing in it.
fn kubeconfig(ports: &Ports, ca_pem: &str, cluster: &str, program: &Path, home: &Path) -> String {
    let name = format!("{cluster}@{}", ports.gateway);
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": cluster,
        "clusters": [{ "name": name, "cluster": {
            "server": format!("https://{}/clusters/{cluster}", ports.kubernetes), "certificate-authority-data": STANDARD.encode(ca_pem) } }],
        "contexts": [{ "name": cluster, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": program,
            "args": ["kube", "credential", "--gateway", format!("http://{}", ports.gateway), "--cluster", cluster],
            "installHint": "gatescribe is needed to sign in to this cluster. Install it, then run: gatescribe login",
            "interactiveMode": "IfAvailable", "provideClusterInfo": true,
            "env": [{ "name": "GATESCRIBE_HOME", "value": home }] } } }],
    });
    // JSON is YAML.
    format!("{config:#}\n")
}

/// For sh, bash and zsh.
fn environment(files: &Files, commands: &Path, gateway: &SocketAddr) -> String {
    format!(
        "export KUBECONFIG={}\nexport GATESCRIBE_HOME={}\nexport GATESCRIBE_GATEWAY=http://{gateway}\n\
         export KUBECACHEDIR={}\nexport PATH={}:\"$PATH\"\n",
        quoted(&files.kubeconfig),
        quoted(&files.home),
        quoted(&files.home.join("kubectl-cache")),
        quoted(commands),
    )
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_also_when_the_one_who_holds_it_panics() {
        let path = std::sync::Mutex::new(PathBuf::new());
        let broken = std::panic::catch_unwind(|| {
            let folder = Folder::new(None).unwrap();
            std::fs::write(folder.path().join("secret"), "x").unwrap();
            *path.lock().unwrap() = folder.path().to_owned();
            assert!(!folder.path().exists(), "the panic of this test");
        });
        assert!(broken.is_err());
        let path = path.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(path.ends_with(path.file_name().unwrap()) && !path.exists(), "{path:?}");
    }

    #[test]
    fn a_folder_that_was_named_stays() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::new(Some(&outer.path().join("kept"))).unwrap();
        let path = folder.path().to_owned();
        folder.leave();
        assert!(path.is_dir());
    }

    #[test]
    fn a_busy_port_is_replaced_and_no_port_is_given_twice() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = busy.local_addr().unwrap().port();
        let ports = Ports::usual(wanted).unwrap();
        let all = [ports.gateway, ports.kubernetes, ports.provider, ports.admin];
        assert_ne!(ports.kubernetes.port(), wanted);
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), 4, "{all:?}");
    }

    #[test]
    fn a_path_stays_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/it's here")), "'/tmp/it'\\''s here'");
    }
}
