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
    if let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS") {
        let given = Path::new(&assets).join(name);
        if given.is_file() {
            return Ok(given);
        }
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
