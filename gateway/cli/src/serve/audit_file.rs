//! The audit policy of the configuration (`audit.policyFile`): read whole or not at all, recorded before it counts, and read
//! again when the file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit_policy::{Finding, Loaded, Policy, Severity, load};
use proxy::audit::{AuditPolicy, Station};

use super::recorder::{self, PolicyFile};
use crate::config::Config;

/// A policy as its file has it.
#[derive(Clone, Debug)]
pub(super) struct Read {
    file: PathBuf,
    text: String,
    policy: Policy,
    findings: Vec<Finding>,
}

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It cannot be read.
    #[error("cannot read the audit policy `{file}`")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It has mistakes; all of them are here, each with its place and what to do.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

/// The policy that the configuration names, if it names one.
///
/// # Errors
/// See [`Unusable`].
pub(super) fn read(config: &Config) -> Result<Option<Read>, Unusable> {
    let file = config.audit.policy_file.as_deref();
    file.map(|file| read_file(Path::new(file))).transpose()
}

fn read_file(file: &Path) -> Result<Read, Unusable> {
    let text = std::fs::read_to_string(file).map_err(|source| Unusable::Unreadable {
        file: file.display().to_string(),
        source,
    })?;
    match load(&text) {
        Ok(Loaded { policy, findings }) => Ok(Read {
            file: file.to_owned(),
            text,
            policy,
            findings,
        }),
        Err(findings) => {
            let told = findings.iter().map(|finding| told(file, &text, finding));
            Err(Unusable::Wrong(told.collect()))
        }
    }
}

/// `file:line:column: rule 2: what; what to do`.
fn told(file: &Path, text: &str, finding: &Finding) -> String {
    let (line, column) = finding.line_and_column(text);
    let rule = finding.rule.map(|rule| format!(" rule {}:", rule.saturating_add(1)));
    let rule = rule.unwrap_or_default();
    format!(
        "{}:{line}:{column}:{rule} {}; {}",
        file.display(),
        finding.what,
        finding.help
    )
}

impl Read {
    /// What a person should know who uses it: warnings, and not what is worth a look only.
    pub(super) fn remarks(&self) -> Vec<String> {
        let warnings = self
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Warning);
        warnings.map(|finding| told(&self.file, &self.text, finding)).collect()
    }

    fn digest(&self) -> String {
        recorder::short_digest([self.text.as_bytes()])
    }
}

/// The policy in force.
#[derive(Debug, Default)]
pub(super) struct InForce(Option<Read>);

impl InForce {
    /// Records a change and lets it count. The same file again is no change.
    ///
    /// # Errors
    /// The ledger cannot take the record: what was in force stays so.
    pub(super) async fn put(&mut self, audit: &Station, next: Option<Read>) -> anyhow::Result<()> {
        if let Some(change) = self.change(next.as_ref()) {
            recorder::in_effect(audit, Some(&change), None).await?;
        }
        self.take(audit, next);
        Ok(())
    }

    /// What would be another one with this.
    fn change(&self, next: Option<&Read>) -> Option<PolicyFile> {
        let name = |read: &Read| (read.digest(), read.file.display().to_string());
        let (before, now) = (self.0.as_ref().map(name), next.map(name));
        let digest = |of: &Option<(String, String)>| of.as_ref().map(|(digest, _)| digest.clone());
        (digest(&before) != digest(&now)).then_some(PolicyFile { before, now })
    }

    /// Lets it count: it is recorded, or no change.
    fn take(&mut self, audit: &Station, next: Option<Read>) {
        if self.change(next.as_ref()).is_none() {
            self.0 = next;
            return;
        }
        let policy = next.as_ref().map(|read| {
            let digest = read.digest();
            for remark in read.remarks() {
                tracing::warn!(remark, "the audit policy counts, and may not do what it seems to say");
            }
            tracing::info!(
                file = %read.file.display(),
                rules = read.policy.rules().len(),
                digest,
                "the audit policy is in effect"
            );
            Arc::new(AuditPolicy::new(read.policy.clone(), digest.into()))
        });
        audit.set_policy(policy);
        self.0 = next;
    }
}

/// Follows the file in force. What stands there counts once two looks agree on it: whoever writes a file in place empties it
/// first, and half a policy is another policy.
#[derive(Debug, Default)]
pub(super) struct Follower {
    in_force: InForce,
    /// What stood there at the last look; `None`: nothing that can be read.
    seen: Option<String>,
    /// What was told to be no policy.
    refused: Option<String>,
    trouble: Option<String>,
}

impl Follower {
    pub(super) fn new(in_force: InForce) -> Self {
        Self {
            in_force,
            ..Self::default()
        }
    }

    /// What would be another one, where the configuration names this; `None`: it is the one in force.
    pub(super) fn change(&self, next: Option<&Read>) -> Option<PolicyFile> {
        self.in_force.change(next)
    }

    /// The configuration names another one, or the same one anew, and a change is recorded.
    pub(super) fn take(&mut self, audit: &Station, next: Option<Read>) {
        (self.seen, self.refused, self.trouble) = (None, None, None);
        self.in_force.take(audit, next);
    }

    /// Looks at the file.
    pub(super) async fn look(&mut self, audit: &Station) {
        let Some(now) = &self.in_force.0 else { return };
        let file = now.file.clone();
        let found = match std::fs::read_to_string(&file) {
            Ok(found) => found,
            Err(why) => {
                // A file that is being replaced is not there for a moment.
                if self.seen.take().is_none() && self.trouble.is_none() {
                    self.is_kept(format!("cannot read the audit policy `{}`: {why}", file.display()));
                }
                return;
            }
        };
        let is_in_force = found == now.text;
        let settled = self.seen.replace(found.clone()).is_some_and(|seen| seen == found);
        if is_in_force {
            (self.refused, self.trouble) = (None, None);
            return;
        }
        if !settled || self.refused.as_ref() == Some(&found) {
            return;
        }
        match read_file(&file) {
            Ok(read) if read.text == found => match self.in_force.put(audit, Some(read)).await {
                Ok(()) => (self.refused, self.trouble) = (None, None),
                // The ledger is asked again at the next look: nothing is wrong with the file.
                Err(why) => self.is_kept(format!("{why:#}")),
            },
            Ok(_) => {} // changed once more, between the two readings
            Err(why) => {
                self.is_kept(format!("{:#}", anyhow::Error::new(why)));
                self.refused = Some(found);
            }
        }
    }

    /// The policy in effect stays so, and why.
    fn is_kept(&mut self, why: String) {
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!(why, "the new audit policy cannot be used; the old one stays in effect");
        }
        self.trouble = Some(why);
    }

    /// Why what stands in the file is not what counts; for `/readyz`.
    pub(super) fn trouble(&self) -> Option<String> {
        let why = self.trouble.as_ref()?;
        Some(format!(
            "the new audit policy cannot be used, the old one stays in effect: {why}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use ledger::{Ledger, Options, Reader, RealDisk};
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use serde_json::Value;

    use super::*;

    const METADATA: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

    struct World {
        folder: tempfile::TempDir,
        audit: Arc<Station>,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let disk = Arc::new(RealDisk::new(folder.path()));
            let (ledger, _) = Ledger::open(folder.path(), Options::default(), disk).unwrap();
            let (clock, _) = Clock::manual(1_790_000_000_000_000_000);
            let audit = Station::new(Arc::new(ledger), clock, "boot".into(), Limits::default());
            Self { folder, audit }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("audit.yaml")
        }

        fn write(&self, text: &str) {
            std::fs::write(self.file(), text).unwrap();
        }

        fn changes(&self) -> Vec<Value> {
            let reader = Reader::open(self.folder.path()).unwrap();
            let leaves = reader.records_from(0).map(|record| record.unwrap().leaf);
            let records = leaves.map(|leaf| serde_json::from_slice::<Value>(&leaf).unwrap());
            records.filter_map(|record| record.get("policy").cloned()).collect()
        }
    }

    #[tokio::test]
    async fn a_policy_is_recorded_before_it_counts_and_one_that_is_no_change_is_not() {
        let world = World::new();
        world.write(METADATA);
        let mut in_force = InForce::default();
        for _ in 0..2 {
            in_force
                .put(&world.audit, Some(read_file(&world.file()).unwrap()))
                .await
                .unwrap();
        }
        in_force.put(&world.audit, None).await.unwrap();
        let changes = world.changes();
        let file = world.file().display().to_string();
        let digest = recorder::short_digest([METADATA.as_bytes()]);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert_eq!(changes[0]["digest"], digest);
        assert_eq!(changes[0]["names"][0], format!("+audit policy {file}"));
        assert_eq!(
            (&changes[1]["before"], &changes[1]["digest"]),
            (&digest.into(), &"".into())
        );
        assert_eq!(changes[1]["names"][0], format!("-audit policy {file}"));
    }

    #[tokio::test]
    async fn a_changed_file_counts_once_two_looks_agree_and_half_of_one_never_does() {
        let world = World::new();
        world.write(METADATA);
        let mut follower = Follower::default();
        let read = Some(read_file(&world.file()).unwrap());
        let change = follower.change(read.as_ref()).unwrap();
        recorder::in_effect(&world.audit, Some(&change), None).await.unwrap();
        follower.take(&world.audit, read);
        let none = METADATA.replace("Metadata", "None");
        for (text, changes, is_well) in [
            (METADATA, 1, true),
            ("", 1, true),
            (none.as_str(), 1, true),
            (none.as_str(), 2, true),
            (none.as_str(), 2, true),
            (METADATA.split_at(30).0, 2, true),
            (METADATA.split_at(30).0, 2, false),
            (METADATA.split_at(30).0, 2, false),
            (METADATA, 2, false),
            (none.as_str(), 2, true),
            (METADATA, 2, true),
            (METADATA, 3, true),
        ] {
            world.write(text);
            follower.look(&world.audit).await;
            assert_eq!(world.changes().len(), changes, "{text:?}");
            let trouble = follower.trouble();
            assert_eq!(trouble.is_none(), is_well, "{text:?}: {trouble:?}");
        }
        std::fs::remove_file(world.file()).unwrap();
        for is_well in [true, false, false] {
            follower.look(&world.audit).await;
            assert_eq!(follower.trouble().is_none(), is_well);
        }
        assert_eq!(
            world.changes().len(),
            3,
            "who takes a file away says so in the configuration"
        );
        world.write(METADATA);
        follower.look(&world.audit).await;
        assert_eq!(follower.trouble(), None);
    }

    #[test]
    fn a_wrong_file_says_everything_at_once_with_its_place() {
        let world = World::new();
        world.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: none\n- users: [x]\n");
        let told = read_file(&world.file()).unwrap_err().to_string();
        let file = world.file().display().to_string();
        assert_eq!(
            told,
            format!(
                "{file}:4:10: rule 1: there is no level `none`; is `None` meant?\n{file}:5:3: rule 2: a rule has no \
                 `level`; write one of None, Metadata, Request, RequestResponse"
            )
        );
    }
}
