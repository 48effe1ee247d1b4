//! A person at a machine of their own: signs in by `gatescribe login` alone and types lines, nothing of the surrounding shell.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::counterparts::{own_binary, program};
use crate::gateway::Gateway;
use crate::kubectl::{Output, Running, Way, run};
use crate::pki::Ca;
use crate::wait::PATIENCE;

/// A person's machine: a home, a kubeconfig that only `gatescribe login` writes, and the two programs on the path.
#[derive(Debug)]
pub struct Person<'g> {
    gateway: &'g Gateway,
    name: &'static str,
    folder: tempfile::TempDir,
}

impl<'g> Person<'g> {
    /// A new machine of `name`, who has never signed in.
    ///
    /// # Errors
    /// A program is not built.
    pub fn new(gateway: &'g Gateway, name: &'static str) -> anyhow::Result<Self> {
        let folder = tempfile::TempDir::with_prefix("gatescribe-person-")?;
        for made in ["bin", "home"] {
            std::fs::create_dir(folder.path().join(made))?;
        }
        for (file, found) in [
            ("gatescribe", own_binary("gatescribe")?),
            ("kubectl", program("kubectl")?),
        ] {
            std::os::unix::fs::symlink(found, folder.path().join("bin").join(file))?;
        }
        std::fs::write(folder.path().join("system-ca.pem"), Ca::new("system")?.certificate())?;
        Ok(Self { gateway, name, folder })
    }

    /// A new machine of `name`, who has signed in.
    ///
    /// # Errors
    /// A program is not built, or the sign-in fails.
    pub fn signed_in(gateway: &'g Gateway, name: &'static str) -> anyhow::Result<Self> {
        let person = Self::new(gateway, name)?;
        person.signs_in(&format!("gatescribe login {}", gateway.url))?;
        Ok(person)
    }

    /// As [`Person::signed_in`], for several people one after another.
    ///
    /// # Errors
    /// As of [`Person::signed_in`].
    pub fn all_signed_in<const N: usize>(gateway: &'g Gateway, names: [&'static str; N]) -> anyhow::Result<[Self; N]> {
        let people = names.into_iter().map(|name| Self::signed_in(gateway, name));
        let people: Vec<Self> = people.collect::<anyhow::Result<_>>()?;
        people.try_into().ok().context("as many as there are names")
    }

    /// The gateway that they sign in at.
    #[must_use]
    pub const fn gateway(&self) -> &'g Gateway {
        self.gateway
    }

    /// The folder in which they work, with the home in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Their kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A line as it would be typed, without quotes in it.
    ///
    /// # Errors
    /// The line is empty.
    pub fn command(&self, line: &str) -> anyhow::Result<Command> {
        let mut words = line.split_whitespace();
        let name = words.next().context("an empty line")?;
        let mut command = Command::new(self.folder.path().join("bin").join(name));
        command.args(words).env_clear().current_dir(self.folder.path());
        command
            .env("PATH", self.folder.path().join("bin"))
            .env("HOME", self.folder.path().join("home"))
            .env("KUBECONFIG", self.kubeconfig())
            .env("GATESCRIBE_NO_BROWSER", "1")
            // The system trusts somebody, whatever this machine has: another authority than the gateway's.
            .env("SSL_CERT_FILE", self.folder.path().join("system-ca.pem"))
            .env("LC_ALL", "C.UTF-8");
        Ok(command)
    }

    /// `kubectl` with these words, its streams one of the two ways.
    ///
    /// # Errors
    /// kubectl is not built.
    pub fn kubectl(&self, way: Way, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.command("kubectl")?;
        command.args(words).envs(way.variables());
        Ok(command)
    }

    /// The sessions that `gatescribe session ls` lists for a search, the newest first.
    ///
    /// # Errors
    /// What it says is no list.
    pub fn sessions(&self, search: &str) -> anyhow::Result<Vec<Value>> {
        let said = self.types(&format!("gatescribe session ls {search} -o json"))?;
        let listed = said.json()?["sessions"].as_array().cloned();
        listed.with_context(|| format!("no sessions: {said}"))
    }

    /// Runs a line to its end.
    ///
    /// # Errors
    /// It does not end. An exit code other than 0 is no error.
    pub fn types(&self, line: &str) -> anyhow::Result<Output> {
        run(self.command(line)?, "", PATIENCE).with_context(|| line.to_owned())
    }

    /// Runs a line that has to succeed.
    ///
    /// # Errors
    /// It fails.
    pub fn ok(&self, line: &str) -> anyhow::Result<Output> {
        let output = self.types(line)?;
        ensure!(output.code == 0, "{line}: {output}\n{}", self.gateway.log());
        Ok(output)
    }

    /// Runs a line that asks for a sign-in, and signs in with a browser by script. Gives all that was said.
    ///
    /// # Errors
    /// No address is said, the sign-in fails, or the line does.
    pub fn signs_in(&self, line: &str) -> anyhow::Result<String> {
        let mut running = Running::start(self.command(line)?)?;
        let address = running.line("the address to sign in at", |line| line.trim().starts_with("http"))?;
        let page = self
            .gateway
            .browser()
            .open(&format!("{}&login_hint={}", address.trim(), self.name), "nowhere:")?;
        ensure!(
            page.status == 200,
            "the sign-in ends with {}: {}",
            page.status,
            page.body
        );
        let (code, said) = (running.end()?, running.lines().join("\n"));
        ensure!(code == 0, "{line} ends with {code}:\n{said}");
        Ok(said)
    }

    /// The line behind `next` in a refusal that kubectl has printed.
    ///
    /// # Errors
    /// There is none.
    pub fn next(refused: &Output) -> anyhow::Result<String> {
        let found = refused
            .stderr
            .lines()
            .find_map(|line| line.trim().strip_prefix("next "));
        Ok(found
            .with_context(|| format!("no next step: {refused}"))?
            .trim()
            .to_owned())
    }
}
