//! `gatescribe demo --cluster CONTEXT`: a real cluster of the person's, borrowed for as long as the demo runs.
//!
//! What it creates there is listed and asked about first, carries one label of this run, and is removed at the end, also
//! after a signal, an error or a panic ([`Borrowed`]'s drop). Everything goes through the person's own kubectl, so that
//! whatever their kubeconfig needs (plugins, proxies) works; the gateway itself gets the two accounts' tokens only.

mod documents;

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use documents::Documents;
pub(super) use documents::PREFIX;

use super::world::written;
use crate::terminal::say;

/// Tokens of the two accounts; the cluster may give shorter ones.
const TOKENS_FOR: &str = "12h";

/// The cluster of a context.
struct Context {
    server: String,
    ca: Option<String>,
    server_name: Option<String>,
    /// Whether the cluster knows constrained impersonation (Kubernetes 1.36, KEP-5284).
    is_constrained: bool,
}

/// What was created in somebody's cluster. Dropping it removes that.
pub(super) struct Borrowed {
    kubectl: Kubectl,
    documents: Documents,
    cluster: Value,
}

/// What would be created, and whether it may be.
pub(super) struct Proposal {
    kubectl: Kubectl,
    cluster: Context,
    documents: Documents,
    /// The person's answer.
    pub(super) is_agreed: bool,
}

/// Lists what would be created, and asks. Blocks for as long as the person thinks; creates nothing.
///
/// # Errors
/// There is no such context, or nobody can be asked.
pub(super) fn propose(context: &str, folder: &Path, is_agreed: bool) -> anyhow::Result<Proposal> {
    let kubectl = Kubectl {
        context: context.to_owned(),
        cache: folder.join("kubectl-cache"),
    };
    let cluster = Context::look(&kubectl)?;
    let documents = Documents::new(&run_id(folder), cluster.is_constrained)?;
    say(&plan(context, &cluster, &documents));
    let is_agreed = is_agreed || agrees()?;
    Ok(Proposal {
        kubectl,
        cluster,
        documents,
        is_agreed,
    })
}

impl Proposal {
    /// Creates it and fetches the two tokens. Blocks for as long as kubectl needs, and is not to be left in between: who
    /// calls it owns what was created.
    ///
    /// # Errors
    /// The cluster refuses; whatever was created is removed then.
    pub(super) fn create(self, folder: &Path) -> anyhow::Result<Borrowed> {
        // From here on a drop removes whatever of it was created.
        let mut borrowed = Borrowed {
            kubectl: self.kubectl,
            documents: self.documents,
            cluster: Value::Null,
        };
        borrowed
            .kubectl
            .run(&["apply", "-f", "-"], &borrowed.documents.text())
            .context("the cluster does not take what the demo needs")?;
        borrowed.cluster = configured(&self.cluster, folder, &borrowed)?;
        Ok(borrowed)
    }
}

impl Borrowed {
    /// The cluster as the gateway's configuration names it.
    pub(super) const fn configured(&self) -> &Value {
        &self.cluster
    }

    /// The namespace in which bob may change things.
    pub(super) fn playground(&self) -> &str {
        self.documents.playground()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
        let context = &self.kubectl.context;
        match self.kubectl.run(&delete, &self.documents.text()) {
            Ok(_) => say(&format!("removed from `{context}` what was created there")),
            Err(error) => say(&format!(
                "✖ not everything could be removed from `{context}`: {error:#}\n  do this  kubectl --context {context} delete {} -l {}",
                documents::KINDS,
                self.documents.label(),
            )),
        }
    }
}

impl Context {
    fn look(kubectl: &Kubectl) -> anyhow::Result<Self> {
        let view = ["config", "view", "--raw", "--minify", "--flatten", "-o", "json"];
        let view: Value = serde_json::from_str(&kubectl.run(&view, "").context("the kubeconfig has no such context")?)?;
        let cluster = view
            .pointer("/clusters/0/cluster")
            .context("the context has no cluster")?;
        let word = |member: &str| cluster.get(member).and_then(Value::as_str).map(str::to_owned);
        ensure!(
            cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool) != Some(true),
            "the context does not verify the cluster's certificate, and the gateway always does: give it a CA"
        );
        ensure!(
            word("proxy-url").is_none(),
            "the context reaches the cluster through a proxy, which the gateway does not do"
        );
        let version: Value = serde_json::from_str(
            &kubectl
                .run(&["version", "-o", "json"], "")
                .context("the cluster cannot be reached")?,
        )?;
        let part = |member: &str| number(version.pointer(&format!("/serverVersion/{member}")));
        Ok(Self {
            server: word("server").context("the context names no server")?,
            ca: word("certificate-authority-data"),
            server_name: word("tls-server-name"),
            is_constrained: (part("major"), part("minor")) >= (1, 36),
        })
    }
}

/// `36`, also of `36+`.
fn number(value: Option<&Value>) -> u32 {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Different for each run, and part of every name.
fn run_id(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("{name} {} {:?}", std::process::id(), std::time::SystemTime::now()).as_bytes(),
    );
    hex::encode(digest.as_ref().get(..3).unwrap_or_default())
}

fn plan(name: &str, cluster: &Context, documents: &Documents) -> String {
    let mut text = format!(
        "The demo would create this in `{}` ({}), all labelled {}:\n\n",
        name,
        cluster.server,
        documents.label()
    );
    for (kind, name, says) in documents.listed() {
        let _ = writeln!(text, "  {kind:<19} {name:<38} {says}");
    }
    if !cluster.is_constrained {
        text.push_str(
            "\n  ! the cluster is older than Kubernetes 1.36: there the impersonator's token is worth as much as\n    cluster-admin while the demo runs\n",
        );
    }
    text.push_str(
        "\nIt is removed when the demo ends. While it runs, whoever can reach 127.0.0.1 on this machine may sign in as\nalice, bob or carol without a password, and do in the cluster what is bound to them above.\n",
    );
    text
}

/// Asks a person.
fn agrees() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: add --yes");
    }
    let mut out = std::io::stderr().lock();
    write!(out, "Create it? [y/N] ").and_then(|()| out.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn configured(context: &Context, folder: &Path, borrowed: &Borrowed) -> anyhow::Result<Value> {
    let namespace = borrowed.documents.namespace();
    let token = |account: &str| -> anyhow::Result<Value> {
        let create = ["create", "token", account, "-n", namespace, "--duration", TOKENS_FOR];
        let token = borrowed
            .kubectl
            .run(&create, "")
            .context("the cluster gives no token")?;
        Ok(json!({ "tokenFile": written(folder, account, token.trim())? }))
    };
    let mut cluster = json!({
        "name": "demo", "servers": [context.server],
        "impersonator": token("impersonator")?, "observer": token("observer")?,
    });
    if let (Some(ca), Some(members)) = (&context.ca, cluster.as_object_mut()) {
        let pem = String::from_utf8(STANDARD.decode(ca)?).context("the cluster's CA is no PEM")?;
        members.insert("caFile".to_owned(), json!(written(folder, "cluster-ca.crt", &pem)?));
    }
    if let (Some(name), Some(members)) = (&context.server_name, cluster.as_object_mut()) {
        members.insert("tlsServerName".to_owned(), json!(name));
    }
    Ok(cluster)
}

/// The person's own kubectl, with one context of their kubeconfig.
struct Kubectl {
    context: String,
    /// In the demo's folder, so that nothing of it stays in the person's home.
    cache: PathBuf,
}

impl Kubectl {
    /// In a process group of its own: Ctrl-C is for the demo, which then still has to clean up by this.
    fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut child = Command::new("kubectl")
            .args(["--context", &self.context])
            .args(arguments)
            .env("KUBECACHEDIR", &self.cache)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl cannot be run; `--cluster` needs it")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Small enough for the pipe; a kubectl that ends without reading says why by itself.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_a_suffix_are_numbers_too() {
        assert_eq!(number(Some(&json!("36"))), 36);
        assert_eq!(number(Some(&json!("30+"))), 30);
        assert_eq!((number(Some(&json!("x"))), number(None)), (0, 0));
    }

    #[test]
    fn an_older_cluster_is_warned_about() {
        let said = |is_constrained| {
            let context = Context {
                server: "https://127.0.0.1:6443".to_owned(),
                ca: None,
                server_name: None,
                is_constrained,
            };
            plan("kind-dev", &context, &Documents::new("abc123", is_constrained).unwrap())
        };
        assert!(said(false).contains("cluster-admin while the demo runs"));
        assert!(!said(true).contains("cluster-admin"));
        assert!(said(true).contains("ClusterRole view"));
    }
}
