//! `gatescribe observe` as the receiver of an API server's audit webhook.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::counterparts::own_binary;
use crate::pki::Ca;
use crate::ports::Port;
use crate::process::{Folder, Process};

/// A receiver with a ledger of its own, for the cluster `bench`. It can be killed and started again.
#[derive(Debug)]
pub struct Webhook {
    /// The folder of its ledger.
    pub ledger: PathBuf,
    command: Command,
    config: PathBuf,
    folder: Folder,
    _port: Port,
}

impl Webhook {
    /// One that takes events of whoever has a certificate of its own authority.
    ///
    /// # Errors
    /// There is no port, or the program is not built.
    pub fn new() -> anyhow::Result<Self> {
        let (folder, port, ca) = (Folder::held("observe-webhook")?, Port::reserve()?, Ca::new("observe")?);
        let (server, client) = (ca.server(&["127.0.0.1"])?, ca.client("kube-apiserver", &[])?);
        let authority = folder.write("ca.crt", ca.certificate())?;
        let files = [
            folder.write("tls.crt", &server.certificate)?,
            folder.write("tls.key", &server.key)?,
            folder.write("client.crt", &client.certificate)?,
            folder.write("client.key", &client.key)?,
        ];
        let [certificate, key, client_certificate, client_key] = files.each_ref().map(|file| file.display());
        let address = port.address();
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: observe\n  cluster: {{ server: 'https://{address}/', certificate-authority: '{}' }}\nusers:\n- name: \
             apiserver\n  user: {{ client-certificate: '{client_certificate}', client-key: '{client_key}' }}\ncontexts:\n- name: c\n  context: {{ cluster: observe, user: \
             apiserver }}\ncurrent-context: c\n",
            authority.display()
        );
        let config = folder.write("webhook.kubeconfig", config)?;
        let ledger = folder.path().join("observed");
        let mut command = Command::new(own_binary("gatescribe")?);
        command.args(["observe", "--cluster", "bench", "--listen", &address.to_string()]);
        command.args(["--tls-cert", &certificate.to_string(), "--tls-key", &key.to_string()]);
        command.arg("--client-ca").arg(&authority).arg("--ledger").arg(&ledger);
        Ok(Self {
            ledger,
            command,
            config,
            folder,
            _port: port,
        })
    }

    /// Starts it, also on what one before it left.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(&self) -> anyhow::Result<Process> {
        Process::start("observe", &self.command, &self.folder)
    }

    /// With these kube-apiserver posts its events here, soon and in small batches.
    #[must_use]
    pub fn apiserver_arguments(&self) -> Vec<String> {
        vec![
            format!("--audit-webhook-config-file={}", self.config.display()),
            "--audit-webhook-batch-max-wait=500ms".to_owned(),
            "--audit-webhook-batch-max-size=20".to_owned(),
            "--audit-webhook-batch-throttle-enable=false".to_owned(),
            "--audit-webhook-initial-backoff=2s".to_owned(),
        ]
    }

    /// Where its ledger, its keys and its log are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `auditID` and stage of each event that is durable in its ledger.
    ///
    /// # Errors
    /// There is no ledger yet, or it is damaged.
    pub fn received(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let mut received = BTreeSet::new();
        for record in ledger::Reader::open(&self.ledger)?.records_from(0) {
            let leaf: Value = serde_json::from_slice(&record?.leaf)?;
            let Some(said) = leaf.get("ingested") else { continue };
            let text = |name: &str| said[name].as_str().map(str::to_owned).context("a member of `ingested`");
            received.insert((text("audit_id")?, text("stage")?));
        }
        Ok(received)
    }
}
