//! Every stored input of every fuzz target is run once: what a fuzzer once reached or broke holds in each check. Finding new
//! ones is `cargo xtask soak fuzz`.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let targets: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&corpora()), targets);
}

#[test]
fn no_stored_input_breaks_what_holds_for_every_input() {
    let mut failed = Vec::new();
    for (name, target) in targets::TARGETS {
        let folder = corpora().join(name);
        let inputs = names(&folder);
        assert!(
            inputs.len() >= 10,
            "the corpus of {name} has only {} inputs",
            inputs.len()
        );
        for input in inputs {
            let bytes = std::fs::read(folder.join(&input)).unwrap();
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                failed.push(format!("{name}/{input}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
