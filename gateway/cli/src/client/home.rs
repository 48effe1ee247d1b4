//! Where this program keeps what it holds for a person: `$GATESCRIBE_HOME`, else the configuration folder of the
//! platform with `gatescribe` behind it.
//!
//! Layout: `sessions/<host>-<digest>.json` one per gateway, `.lock` beside it, and `current`, the last gateway that was
//! signed in to; `verifications/<digest>.verification` what an interrupted `ledger verify --resume` left. The folders are for their owner only.

use std::path::PathBuf;

use aws_lc_rs::digest;
use console::GatewayUrl;

use super::store::{Place, StoreError, write_private};
use super::trouble::Trouble;
use crate::Exit;

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// Finds it; creates nothing.
    pub(crate) fn find() -> Result<Self, Trouble> {
        let named = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(own) = named("GATESCRIBE_HOME") {
            return Ok(Self(own));
        }
        let platform = if cfg!(windows) {
            named("APPDATA")
        } else {
            named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")))
        };
        platform.map(|folder| Self(folder.join("gatescribe"))).ok_or_else(|| {
            Trouble::new(Exit::Fault, "there is no folder to keep a session in")
                .because("neither GATESCRIBE_HOME nor HOME is set")
                .remedy("set GATESCRIBE_HOME to a folder of your own")
        })
    }

    /// A folder that a test made.
    #[cfg(test)]
    pub(crate) fn at(folder: &std::path::Path) -> Self {
        Self(folder.to_owned())
    }

    /// Where everything about one gateway lies.
    pub(crate) fn place(&self, gateway: &GatewayUrl) -> Place {
        Place::new(self.sessions(), &file_name(gateway))
    }

    /// Every gateway that something is kept of.
    pub(crate) fn places(&self) -> Result<Vec<Place>, StoreError> {
        let folder = self.sessions();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(StoreError::Unreadable { path: folder, cause }),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort();
        Ok(names.iter().map(|name| Place::new(folder.clone(), name)).collect())
    }

    /// The gateway that was signed in to last.
    pub(crate) fn current(&self) -> Option<GatewayUrl> {
        let text = std::fs::read_to_string(self.0.join("current")).ok()?;
        GatewayUrl::parse(text.trim()).ok()
    }

    /// Remembers it.
    pub(crate) fn make_current(&self, gateway: &GatewayUrl) -> Result<(), StoreError> {
        write_private(&self.0.join("current"), format!("{}\n", gateway.as_str()).as_bytes())
    }

    /// Where interrupted verifications lie.
    pub(crate) fn verifications(&self) -> PathBuf {
        self.0.join("verifications")
    }

    fn sessions(&self) -> PathBuf {
        self.0.join("sessions")
    }
}

/// Readable for a person, and different for different gateways whatever the file system does with letters.
fn file_name(gateway: &GatewayUrl) -> String {
    let bare = gateway.as_str().split("//").nth(1).unwrap_or_default();
    let readable: String = bare
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() || character == '.' {
                character
            } else {
                '_'
            }
        })
        .take(80)
        .collect();
    let digest = digest::digest(&digest::SHA256, gateway.as_str().as_bytes());
    let short = hex::encode(digest.as_ref().get(..5).unwrap_or_default());
    format!("{readable}-{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gateways_never_share_a_file() {
        let name = |url: &str| file_name(&GatewayUrl::parse(url).unwrap());
        assert!(name("https://gate.example:8443").starts_with("gate.example_8443-"));
        assert_ne!(name("https://gate.example:8443"), name("https://gate.example_8443"));
        assert_ne!(name("https://127.0.0.1"), name("http://127.0.0.1"));
    }

    #[test]
    fn the_current_gateway_is_remembered_across_processes() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        assert!(home.current().is_none() && home.places().unwrap().is_empty());
        let gateway = GatewayUrl::parse("https://gate.example").unwrap();
        home.make_current(&gateway).unwrap();
        assert_eq!(home.current(), Some(gateway));
    }
}
