//! Where the real counterparts are. Building them is `cargo xtask counterparts`' job, not ours.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// `target/` of the repository. Counterparts, tools and stamps live there whatever `CARGO_TARGET_DIR` says, so that they
/// are built once.
#[must_use]
pub fn target() -> PathBuf {
    repository().join("target")
}

/// The program `name` of the bench: from `KUBEBUILDER_ASSETS` if that folder has it, else from `target/counterparts/bin`.
///
/// # Errors
/// There is no such program; the error names the command that builds it.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    program_of(
        std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from).as_deref(),
        name,
    )
}

fn program_of(assets: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(given) = assets.map(|assets| assets.join(name)).filter(|given| given.is_file()) {
        return Ok(given);
    }
    let built = target().join("counterparts/bin").join(name);
    if built.is_file() {
        return Ok(built);
    }
    bail!("no `{name}` in target/counterparts/bin: run `cargo xtask counterparts`");
}

/// A binary that cargo built beside the running one: `gatescribe-supervise`, `gatescribe`.
///
/// # Errors
/// It was not built in the profile of the running program.
pub fn own_binary(name: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("find the running program")?;
    running
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!(
                "no `{name}` beside {}: build it with `cargo build --bin {name}`",
                running.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_given_assets_is_taken_from_there_and_the_rest_from_the_repository() -> anyhow::Result<()> {
        let assets = tempfile::tempdir()?;
        let own = assets.path().join("kubectl");
        std::fs::write(&own, "")?;
        // A folder of that name is no program.
        std::fs::create_dir(assets.path().join("etcd"))?;
        assert_eq!(program_of(Some(assets.path()), "kubectl")?, own);
        let ours = |name: &str| target().join("counterparts/bin").join(name);
        for name in ["etcd", "kube-apiserver"] {
            // Where nothing is built, the error says what builds it.
            match program_of(Some(assets.path()), name) {
                Ok(found) => assert_eq!(found, ours(name)),
                Err(error) => assert!(error.to_string().contains("cargo xtask counterparts"), "{error}"),
            }
        }
        Ok(())
    }
}
