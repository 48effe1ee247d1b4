//! The second picture of the README: a ledger that holds, and the same one when somebody has changed a word in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{compare, with_block};
use tests::counterparts::{own_binary, repository};
use tests::kubectl::{Output, run};
use tests::wait::PATIENCE;

const FROZEN: &str = "gateway/ledger/tests/frozen/v1-proofs";
const KEY: &str = "audit.example/frozen+dbec05fc+AYE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU\n";
const SEGMENT: &str = "ledger/00000000000000000000.seg";
const VERIFY: &str = "ledger verify ledger --key ledger.pub";
const EVIDENCE: &str = "evidence verify evidence.txt --key ledger.pub";

#[test]
fn the_picture_of_the_proof_in_the_readme_is_what_the_program_says_of_the_frozen_ledger() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("ledger"))?;
    for file in fs::read_dir(repository().join(FROZEN).join("ledger"))? {
        let file = file?;
        fs::copy(file.path(), folder.path().join("ledger").join(file.file_name()))?;
    }
    fs::copy(
        repository().join(FROZEN).join("evidence.txt"),
        folder.path().join("evidence.txt"),
    )?;
    fs::write(folder.path().join("ledger.pub"), KEY)?;
    let pack = said(folder.path(), EVIDENCE, 0)?;
    let whole = said(folder.path(), VERIFY, 0)?;
    let segment = folder.path().join(SEGMENT);
    let (before, after) = ("of all records as evidence", "of own records as evidence");
    let changed = replaced(&fs::read(&segment)?, before.as_bytes(), after.as_bytes());
    fs::write(&segment, changed)?;
    let broken = said(folder.path(), VERIFY, 8)?;
    let sed = format!("root$ sed -i 's/{before}/{after}/' {SEGMENT}\n");
    compare(
        "README.md",
        &with_block("README.md", "proof", &format!("{pack}\n{whole}\n{sed}\n{broken}")),
    );
    Ok(())
}

/// What the auditor types, and what it says but for what it does not show.
fn said(folder: &Path, line: &str, code: i32) -> anyhow::Result<String> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(line.split(' ')).current_dir(folder);
    let told: Output = run(command, "", PATIENCE)?;
    anyhow::ensure!(told.code == code, "{line}: {told}");
    let lines = told.stdout.lines().filter(|line| !line.starts_with("  not shown: "));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    Ok(format!("auditor$ gatescribe {line}\n{lines}"))
}

/// One place of the bytes with others of the same length.
fn replaced(bytes: &[u8], before: &[u8], after: &[u8]) -> Vec<u8> {
    let at = bytes.windows(before.len()).position(|window| window == before).unwrap();
    [&bytes[..at], after, &bytes[at + before.len()..]].concat()
}
