//! What a bench takes away is what it has made: whoever names the folder of a ledger to it keeps the ledger.

#[path = "../examples/folder/mod.rs"]
mod folder;

use std::path::Path;

#[test]
fn a_bench_makes_its_folder_and_takes_it_away_also_where_it_fails() {
    let above = tempfile::tempdir().unwrap();
    let new = above.path().join("some/where");
    let held = folder::in_new(&new, |dir| {
        std::fs::create_dir(dir.join("one"))?;
        std::fs::write(dir.join("one/file"), "x")?;
        Ok(dir.to_owned())
    });
    assert_eq!(held.unwrap(), new);
    assert!(!new.exists());
    let failed: Result<(), _> = folder::in_new(&new, |_| Err("no figure".into()));
    assert_eq!(failed.unwrap_err().to_string(), "no figure");
    assert!(!new.exists());
}

/// The attack is a slip of a person's: the folder of a ledger, one with nothing in it yet, a file, a link to any of them or to nothing.
#[test]
fn a_bench_touches_nothing_that_was_there_before_it() {
    let above = tempfile::tempdir().unwrap();
    let at = |name: &str| above.path().join(name);
    std::fs::create_dir(at("ledger")).unwrap();
    std::fs::write(at("ledger/00000000000000000000.seg"), "records").unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    std::fs::write(at("file"), "text").unwrap();
    std::os::unix::fs::symlink(at("ledger"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nothing"), at("dangling")).unwrap();
    for name in ["ledger", "empty", "file", "link", "dangling"] {
        let done: Result<(), _> = folder::in_new(&at(name), |_| panic!("it works in `{name}`"));
        assert_eq!(
            done.unwrap_err().to_string(),
            format!(
                "`{}` is there; name a folder that is not, or take it away",
                at(name).display()
            )
        );
        assert!(at(name).symlink_metadata().is_ok(), "`{name}` is gone");
    }
    let kept = std::fs::read(at("link/00000000000000000000.seg")).unwrap();
    assert_eq!(kept, b"records");
}

#[test]
fn no_bench_takes_a_folder_away_by_itself() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(benches).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        assert!(!text.contains("remove_dir"), "{}: use `folder::in_new`", path.display());
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}
