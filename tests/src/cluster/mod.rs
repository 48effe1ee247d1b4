//! A real Kubernetes control plane of one's own: etcd and kube-apiserver, and on request controller manager, scheduler,
//! a node whose pods are local processes, and kwok.
//!
//! It is not a conformant cluster: no network between pods, no images, no volumes. Invariant: a started [`Cluster`] is
//! ready, and whatever belongs to it ends with it.

pub mod audit;
mod files;
mod start;

use crate::http;
use crate::kubectl::{Credential, Kubectl, Output, kubeconfig};
use crate::once::Once;
use crate::pki::{Ca, Identity};
use crate::ports::Port;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, wait_until};
use anyhow::Context;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Which parts to start. The default is the least: etcd and kube-apiserver, about 300 MB.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Starts kube-controller-manager: default ServiceAccounts, garbage collection, namespaces that end, Deployments, and
    /// the aggregated roles `view`, `edit` and `admin`, which are *empty* without it. The ServiceAccount admission plugin
    /// is off without it, so that pods can be made.
    pub controller_manager: bool,
    /// Starts kube-scheduler; without it only pods with `nodeName: node-1` run.
    pub scheduler: bool,
    /// Starts the node `node-1`; its pods are local processes.
    pub node: bool,
    /// Starts kwok, which plays nodes annotated `kwok.x-k8s.io/node: fake` and their pods, by the thousand.
    pub kwok: bool,
    /// An `AuthenticationConfiguration` (apiserver.config.k8s.io), YAML.
    pub authentication_config: Option<String>,
    /// An audit policy instead of "everything at level Metadata, without RequestReceived".
    pub audit_policy: Option<String>,
    /// Further arguments of kube-apiserver; they come last, so they win.
    pub apiserver_arguments: Vec<String>,
    /// Starts a second kube-apiserver on the same etcd; all else uses the first.
    pub second_apiserver: bool,
}

impl Options {
    /// Everything but kwok: Deployments run, exec and logs work.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            controller_manager: true,
            scheduler: true,
            node: true,
            ..Self::default()
        }
    }
}

/// kubectl as administrator of the cluster that `GATESCRIBE_TEST_KUBECONFIG` names, for people who have one; else of the
/// shared cluster of this binary. For stories that need an API server and nothing of its inside (audit log, authority).
///
/// # Errors
/// The shared cluster could not be started.
pub fn any_admin() -> anyhow::Result<Kubectl> {
    any_admin_of(std::env::var_os("GATESCRIBE_TEST_KUBECONFIG").as_deref().map(Path::new))
}

/// [`any_admin`] with the variable's value given.
///
/// # Errors
/// The named file is not there, or the shared cluster could not be started.
pub fn any_admin_of(kubeconfig: Option<&Path>) -> anyhow::Result<Kubectl> {
    let Some(kubeconfig) = kubeconfig else {
        return Cluster::shared()?.admin();
    };
    anyhow::ensure!(
        kubeconfig.is_file(),
        "GATESCRIBE_TEST_KUBECONFIG: no file {}",
        kubeconfig.display()
    );
    let home = crate::counterparts::target().join("tests-home");
    std::fs::create_dir_all(&home)?;
    Ok(Kubectl::new(&std::path::absolute(kubeconfig)?, &home))
}

/// A running control plane. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: whoever depends on another goes first.
    parts: Mutex<Vec<Process>>,
    apiserver: Process,
    second: Option<(Process, SocketAddr)>,
    etcd: Process,
    folder: Folder,
    address: SocketAddr,
    ca: Ca,
    admin: Identity,
    client: http::Client,
    _ports: [Port; 4],
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    ///
    /// # Errors
    /// A counterpart is not built, or one did not become ready; the error has the end of its log.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        start::start(&options)
    }

    /// The default cluster that all tests of this binary share, started by the first who asks. Tests on it make their
    /// own namespaces and names.
    ///
    /// # Errors
    /// It could not be started.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: Once<Cluster> = Once::new();
        SHARED.get(|| Self::start(Options::default()))
    }

    /// Where the API server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where the second API server listens, if there is one.
    #[must_use]
    pub fn second_address(&self) -> Option<SocketAddr> {
        self.second.as_ref().map(|(_, address)| *address)
    }

    /// The authority that signed the API server's certificate, and whose client certificates it accepts.
    #[must_use]
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The folder of its data, logs and keys.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Asks the API server as `admin` (group `system:masters`), without kubectl.
    #[must_use]
    pub fn client(&self) -> &http::Client {
        &self.client
    }

    /// kubectl as `admin`, group `system:masters`.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn admin(&self) -> anyhow::Result<Kubectl> {
        self.as_holder("admin", &Credential::Certificate(&self.admin))
    }

    /// Runs kubectl as `admin`.
    ///
    /// # Errors
    /// kubectl is missing or did not end.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.admin()?.run(arguments)
    }

    /// kubectl as a person with a client certificate of this cluster and up to two groups.
    ///
    /// # Errors
    /// More than two groups.
    pub fn as_person(&self, user: &str, groups: &[&str]) -> anyhow::Result<Kubectl> {
        let identity = self.ca.client(user, groups)?;
        self.as_holder(user, &Credential::Certificate(&identity))
    }

    /// kubectl as a ServiceAccount, with a token for one hour.
    ///
    /// # Errors
    /// There is no such account.
    pub fn as_service_account(&self, namespace: &str, name: &str) -> anyhow::Result<Kubectl> {
        let token = self.service_account_token(namespace, name)?;
        self.as_holder(&format!("{namespace}-{name}"), &Credential::Token(&token))
    }

    /// A token of a ServiceAccount for the API server, for one hour.
    ///
    /// # Errors
    /// There is no such account.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        let token = self
            .admin()?
            .ok(&["create", "token", name, "-n", namespace, "--duration", "1h"])?;
        Ok(token.trim().to_owned())
    }

    /// kubectl with any credential. `name` names the files; each name has a home of its own.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn as_holder(&self, name: &str, credential: &Credential<'_>) -> anyhow::Result<Kubectl> {
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = self.kubeconfig_file(&name, credential)?;
        let home = self.folder.path().join(format!("home-{name}"));
        std::fs::create_dir_all(&home)?;
        Ok(Kubectl::new(&path, &home))
    }

    /// Writes a kubeconfig for this cluster, whole or not at all: tests in other threads may be reading it.
    fn kubeconfig_file(&self, name: &str, credential: &Credential<'_>) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        let mut draft = tempfile::NamedTempFile::new_in(self.folder.path())?;
        std::io::Write::write_all(
            &mut draft,
            kubeconfig(&self.url(), self.ca.certificate(), credential).as_bytes(),
        )?;
        draft.persist(&path)?;
        Ok(path)
    }

    /// What the API server's own audit log has by now.
    ///
    /// # Errors
    /// The log cannot be read, or a whole line of it is no event.
    pub fn audit_events(&self) -> anyhow::Result<Vec<audit::Event>> {
        audit::read(&self.audit_log())
    }

    /// What the second API server's own audit log has by now.
    ///
    /// # Errors
    /// There is none, or as of [`Cluster::audit_events`].
    pub fn audit_events_of_second(&self) -> anyhow::Result<Vec<audit::Event>> {
        audit::read(&self.folder.path().join("audit-2.log"))
    }

    /// Waits for the first audit event for which `wanted` holds.
    ///
    /// # Errors
    /// None came.
    pub fn audit_event(&self, what: &str, wanted: impl Fn(&audit::Event) -> bool) -> anyhow::Result<audit::Event> {
        wait_until(what, PATIENCE, || {
            self.audit_events().map(|all| all.into_iter().find(&wanted)).transpose()
        })?
    }

    /// The file of the API server's audit log.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// Applies what `deploy/kubernetes/` ships: the accounts and rights of the gateway.
    ///
    /// # Errors
    /// The server refuses a document.
    pub fn apply_gateway_rights(&self) -> anyhow::Result<()> {
        // kubectl looks whether an object is there and then creates it; two at once would both create it.
        static ONE_AFTER_THE_OTHER: Mutex<()> = Mutex::new(());
        let _turn = ONE_AFTER_THE_OTHER.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = crate::counterparts::repository().join("deploy/kubernetes");
        for file in [
            "namespace.yaml",
            "impersonator.yaml",
            "observer.yaml",
            "observer-pods.yaml",
            "observer-services.yaml",
        ] {
            self.apply_file(&folder.join(file))?;
        }
        Ok(())
    }

    /// Applies a file as `admin`.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn apply_file(&self, file: &Path) -> anyhow::Result<()> {
        let path = file.to_str().context("path is not UTF-8")?;
        self.admin()?.ok(&["apply", "-f", path]).map(drop)
    }

    /// The part `etcd`, `kube-apiserver`, `kube-apiserver-2`, `kube-controller-manager`, `kube-scheduler`, `node` or `kwok`: its pid.
    ///
    /// # Errors
    /// It was not started.
    pub fn pid_of(&self, part: &str) -> anyhow::Result<nix::unistd::Pid> {
        match part {
            "etcd" => self.etcd.pid(),
            "kube-apiserver" => self.apiserver.pid(),
            "kube-apiserver-2" => self.second.as_ref().context("there is one API server")?.0.pid(),
            _ => {
                let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
                let found = parts.iter().find(|process| process.name() == part);
                found.with_context(|| format!("`{part}` is not running"))?.pid()
            }
        }
    }
}
