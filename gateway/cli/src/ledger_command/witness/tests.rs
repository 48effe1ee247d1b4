//! The key of a witness and its memory belong together.

use super::*;

#[test]
fn a_key_is_made_with_its_folder_once_and_never_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("w.key"), folder.path().join("w.key.cosigned"));
    let marker = marker(&file);
    let key = |file: &Path, name, state: &Path| key(file, name, state, &marker);
    let unnamed = key(&file, None, &state).unwrap_err().to_string();
    assert!(unnamed.contains("--name"), "{unnamed}");
    assert!(!state.exists() && !file.exists());
    let first = key(&file, Some("witness.example/w1"), &state)
        .unwrap()
        .key()
        .to_string();
    assert!(first.starts_with("witness.example/w1+"), "{first}");
    assert_eq!(key(&file, None, &state).unwrap().key().to_string(), first);
    let said = std::fs::read_to_string(folder.path().join("w.key.begun")).unwrap();
    assert!(said.starts_with("gatescribe witness\nwitness.example/w1+"), "{said}");
    let renamed = key(&file, Some("other"), &state).unwrap_err().to_string();
    assert!(renamed.contains("and not `other`"), "{renamed}");

    std::fs::remove_dir(&state).unwrap();
    let forgetful = key(&file, None, &state).unwrap_err().to_string();
    assert!(forgetful.contains("put the folder back"), "{forgetful}");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("a.cosigned"), "").unwrap();
    std::fs::remove_file(&file).unwrap();
    let keyless = key(&file, Some("witness.example/w1"), &state).unwrap_err().to_string();
    assert!(keyless.contains("put the key back"), "{keyless}");
    assert!(!file.exists());
}
